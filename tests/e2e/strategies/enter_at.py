"""Go long, or short, when a bar closes at exactly the price given: a test says when."""

from collections.abc import Sequence

import msgspec

from core.model import Bar
from core.signals import Signal


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    long: int = 50_100
    short: int = 49_900


def warmup(params: Params) -> int:
    return 1


def signal(bars: Sequence[Bar], params: Params) -> Signal | None:
    return {params.long: Signal.LONG, params.short: Signal.SHORT}.get(int(bars[-1].close))
