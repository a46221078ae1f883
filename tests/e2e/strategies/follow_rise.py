"""Go long when a bar closes higher than the one before. One move of the market is one entry: made for tests."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from core.model import Bar
from core.signals import Signal


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rise_pct: Annotated[float, msgspec.Meta(gt=0, description="Least rise that counts")] = 0.1


def warmup(params: Params) -> int:
    return 1


def signal(bars: Sequence[Bar], params: Params) -> Signal | None:
    before = bars[-2].close if len(bars) > 1 else bars[-1].open
    return Signal.LONG if float(bars[-1].close / before - 1) * 100 >= params.rise_pct else None
