"""Follow the trend: long when the fast average crosses above the slow one, short when it crosses below."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from talipp.indicators import EMA

from core.model import Bar
from core.signals import Signal


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fast: Annotated[int, msgspec.Meta(ge=1, le=199, description="Bars of the fast average")] = 9
    slow: Annotated[int, msgspec.Meta(ge=2, le=200, description="Bars of the slow average")] = 21
    direction: Annotated[
        Literal["both", "long", "short"], msgspec.Meta(description="One-sided: the other cross only leaves")
    ] = "both"

    def __post_init__(self) -> None:
        if self.fast >= self.slow:
            raise ValueError(f"fast = {self.fast}: must be below slow = {self.slow}")


def warmup(params: Params) -> int:
    return params.slow + 1  # two values of the slow average make a cross


def signal(bars: Sequence[Bar], params: Params) -> Signal | None:
    closes = [float(bar.close) for bar in bars]
    fast, slow = EMA(params.fast, closes), EMA(params.slow, closes)
    before, now = fast[-2] - slow[-2], fast[-1] - slow[-1]
    if before <= 0 < now:
        return Signal.FLAT if params.direction == "short" else Signal.LONG
    if before >= 0 > now:
        return Signal.FLAT if params.direction == "long" else Signal.SHORT
    return None
