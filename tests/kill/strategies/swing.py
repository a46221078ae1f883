"""Go with the last bar, whatever it was: an entry within two seconds, and a reversal as soon as the market turns."""

from collections.abc import Sequence

import msgspec

from core.model import Bar
from core.signals import Signal


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""


def warmup(params: Params) -> int:
    return 1


def signal(bars: Sequence[Bar], params: Params) -> Signal | None:
    """A bar that stood still says nothing."""
    move = bars[-1].close - bars[-1].open
    return None if move == 0 else Signal.LONG if move > 0 else Signal.SHORT
