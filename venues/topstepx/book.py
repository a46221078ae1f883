"""The order book of one contract, level by level as GatewayDepth tells it (page 3.4). Pure."""

from collections.abc import Callable, Collection
from decimal import Decimal

from core.model import ZERO, Book
from venues.topstepx.hub_shapes import WireLevel
from venues.topstepx.numbers import not_negative, positive

ASK, BID, BEST_ASK, BEST_BID, RESET, NEW_BEST_BID, NEW_BEST_ASK = 1, 2, 3, 4, 6, 9, 10  # page 2.1, DomType
_ASKS, _BESTS = frozenset({ASK, BEST_ASK, NEW_BEST_ASK}), frozenset({BEST_ASK, BEST_BID, NEW_BEST_BID, NEW_BEST_ASK})
_BIDS = frozenset({BID, BEST_BID, NEW_BEST_BID})
SHOWN = 10  # levels a side of an event
KEPT = 1_000  # a venue that adds levels and never removes one must not fill the memory


class Depth:
    """Bids and asks since the last reset."""

    def __init__(self) -> None:
        self._bids: dict[Decimal, Decimal] = {}
        self._asks: dict[Decimal, Decimal] = {}
        self._time_ms = 0

    def apply(self, levels: Collection[WireLevel], time_of: Callable[[str], int]) -> None:
        """All or nothing. Raises BadFrame. Other types (trades, session high and low) are informational."""
        steps = [
            (
                level.type,
                *((ZERO, ZERO) if level.type == RESET else (positive(level.price), not_negative(level.volume))),
            )
            for level in levels
            if level.type in _BIDS or level.type in _ASKS or level.type == RESET
        ]
        times = [time_of(level.timestamp) for level in levels]
        for kind, price, size in steps:
            if kind == RESET:
                self._bids.clear()
                self._asks.clear()
            else:
                self._set(kind, price, size)
        self._time_ms = max([self._time_ms, *times])

    def _set(self, kind: int, price: Decimal, size: Decimal) -> None:
        is_ask = kind in _ASKS
        own, other = (self._asks, self._bids) if is_ask else (self._bids, self._asks)
        if size == 0:
            own.pop(price, None)
            return
        own[price] = size
        if kind in _BESTS:  # nothing of its side is better, nothing of the other side is within
            sign = -1 if is_ask else 1
            for stale in [p for p in own if sign * (p - price) > 0]:
                del own[stale]
            for stale in [p for p in other if sign * (p - price) <= 0]:
                del other[stale]
        if len(own) > KEPT:
            del own[max(own) if is_ask else min(own)]

    def events(self, symbol: str, received_ms: int) -> tuple[Book, ...]:
        if not self._time_ms:
            return ()
        bids = tuple(sorted(self._bids.items(), reverse=True)[:SHOWN])
        asks = tuple(sorted(self._asks.items())[:SHOWN])
        return (Book(symbol, bids, asks, self._time_ms, received_ms),)
