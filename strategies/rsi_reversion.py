"""Against the extreme: long when RSI comes back up out of oversold, short when it comes back down out of overbought.

Either is left when RSI passes the middle, where the stretch it was entered for has gone.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from talipp.indicators import RSI

from core.model import Bar
from core.signals import Signal


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    period: Annotated[int, msgspec.Meta(ge=2, le=200, description="Bars of the RSI")] = 14
    oversold: Annotated[float, msgspec.Meta(ge=1, le=99, description="Back above it: long")] = 30.0
    middle: Annotated[float, msgspec.Meta(ge=1, le=99, description="Passing it: leave")] = 50.0
    overbought: Annotated[float, msgspec.Meta(ge=1, le=99, description="Back below it: short")] = 70.0
    direction: Annotated[
        Literal["both", "long", "short"], msgspec.Meta(description="One-sided: the other entry is ignored")
    ] = "both"

    def __post_init__(self) -> None:
        if not self.oversold < self.middle < self.overbought:
            levels = f"oversold = {self.oversold}, middle = {self.middle}, overbought = {self.overbought}"
            raise ValueError(f"{levels}: must rise in this order")


def warmup(params: Params) -> int:
    return params.period + 2  # one change less than bars, and two values make a crossing


def signal(bars: Sequence[Bar], params: Params) -> Signal | None:
    rsi = RSI(params.period, [float(bar.close) for bar in bars])
    before, now = rsi[-2], rsi[-1]
    if before < params.oversold <= now < params.middle and params.direction != "short":
        return Signal.LONG
    if before > params.overbought >= now > params.middle and params.direction != "long":
        return Signal.SHORT
    if before < params.middle <= now or before > params.middle >= now:
        return Signal.FLAT
    return None
