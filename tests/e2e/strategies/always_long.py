"""Want to be long at the close of every bar."""

from collections.abc import Sequence

import msgspec

from core.model import Bar
from core.signals import Signal


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose."""


def warmup(params: Params) -> int:
    return 1


def signal(bars: Sequence[Bar], params: Params) -> Signal | None:
    return Signal.LONG
