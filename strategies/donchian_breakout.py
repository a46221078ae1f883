"""Go with a breakout: long when a bar closes above the highest high of the bars before it, short below their low."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from talipp.indicators import DonchianChannels
from talipp.ohlcv import OHLCV

from core.model import Bar
from core.signals import Signal


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    period: Annotated[int, msgspec.Meta(ge=2, le=500, description="Bars of the channel that must be broken")] = 20
    direction: Annotated[
        Literal["both", "long", "short"], msgspec.Meta(description="One-sided: the other breakout only leaves")
    ] = "both"


def warmup(params: Params) -> int:
    return params.period + 1  # the channel, and the bar that breaks it


def signal(bars: Sequence[Bar], params: Params) -> Signal | None:
    before = bars[-params.period - 1 : -1]  # without the newest bar, which could never close above its own high
    rows = [OHLCV(float(b.open), float(b.high), float(b.low), float(b.close)) for b in before]
    channel = DonchianChannels(params.period, rows)[-1]
    close = float(bars[-1].close)
    if close > channel.ub:
        return Signal.FLAT if params.direction == "short" else Signal.LONG
    if close < channel.lb:
        return Signal.FLAT if params.direction == "long" else Signal.SHORT
    return None
