"""One market's book: outside liquidity that is replaced as a whole, and users' resting orders, by price and time."""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from core.model import ZERO, Side
from sim.orders import LiveOrder

Level = tuple[Decimal, Decimal]  # price, size


class Maker(msgspec.Struct, frozen=True):
    """The next counterparty of an aggressor: a user's order, or outside liquidity when order is None."""

    price: Decimal
    size: Decimal
    order: LiveOrder | None


class OrderBook:
    def __init__(self) -> None:
        self._outside: dict[Side, list[list[Decimal]]] = {Side.BUY: [], Side.SELL: []}  # [price, size], best first
        self._resting: dict[Side, list[LiveOrder]] = {Side.BUY: [], Side.SELL: []}  # best first, then oldest first

    def replace(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Set the outside liquidity. Users' orders keep their place, or gain when the queue before them shrank."""
        self._outside[Side.BUY] = [[p, s] for p, s in sorted(bids, reverse=True) if s > 0]
        self._outside[Side.SELL] = [[p, s] for p, s in sorted(asks) if s > 0]
        for side, orders in self._resting.items():
            for order in orders:
                order.ahead = min(order.ahead, self.outside_at(side, order.request.price))

    def outside_at(self, side: Side, price: Decimal) -> Decimal:
        return next((s for p, s in self._outside[side] if p == price), ZERO)

    def rest(self, order: LiveOrder) -> None:
        side, price = order.request.side, order.request.price
        order.ahead = self.outside_at(side, price)
        queue = self._resting[side]
        place = next((i for i, o in enumerate(queue) if side.sign * (o.request.price - price) < 0), len(queue))
        queue.insert(place, order)

    def remove(self, order: LiveOrder) -> None:
        """Do nothing when it does not rest here (a waiting trigger, for one)."""
        queue = self._resting[order.request.side]
        for i, resting in enumerate(queue):
            if resting is order:
                del queue[i]
                return

    def resting(self, side: Side) -> list[LiveOrder]:
        """Best first; a copy, safe to walk while orders go."""
        return list(self._resting[side])

    def best(self, side: Side) -> Decimal | None:
        """Best price of `side`, outside and users' orders together."""
        prices = [levels[0][0]] if (levels := self._outside[side]) else []
        if self._resting[side]:
            prices.append(self._resting[side][0].request.price)
        return (max(prices) if side is Side.BUY else min(prices)) if prices else None

    def best_maker(self, side: Side, limit: Decimal) -> Maker | None:
        """Who an aggressor of the other side trades with next, at `limit` or better; `side` is the maker's."""
        outside = self._outside[side][0] if self._outside[side] else None
        order = self._resting[side][0] if self._resting[side] else None
        if order is not None and outside is not None:
            gap = side.sign * (outside[0] - order.request.price)  # > 0: the outside level is better
            if gap > 0 or (gap == 0 and order.ahead > 0):
                order = None
        if order is not None:
            price, size = order.request.price, order.left
        elif outside is not None:
            price, size = outside
            ahead = [o.ahead for o in self._resting[side] if o.request.price == price and o.ahead > 0]
            size = min([size, *ahead])  # stop where the next user's turn comes
        else:
            return None
        return Maker(price, size, order) if side.sign * (price - limit) >= 0 else None

    def consume_outside(self, side: Side, price: Decimal, size: Decimal) -> None:
        levels = self._outside[side]
        assert levels and levels[0][0] == price, "only the best level trades"
        levels[0][1] -= size
        if levels[0][1] <= 0:
            del levels[0]
        self.pass_queue(side, price, size)

    def pass_queue(self, side: Side, price: Decimal, size: Decimal) -> None:
        """`size` traded at `price` before any user's order there: everybody moves up."""
        for order in self._resting[side]:
            if order.request.price == price:
                order.ahead = max(ZERO, order.ahead - size)

    def top(self, side: Side) -> tuple[Decimal, Decimal, int] | None:
        """The best level, as in `levels`."""
        price = self.best(side)
        if price is None:
            return None
        outside = self.outside_at(side, price)
        here = [o.left for o in self._resting[side] if o.request.price == price]
        return price, sum(here, outside), len(here) + (_crowd(outside) if outside else 0)

    def levels(self, side: Side) -> list[tuple[Decimal, Decimal, int]]:
        """(price, size, orders) best first, users' orders included."""
        total: dict[Decimal, list] = {p: [s, _crowd(s)] for p, s in self._outside[side]}
        for order in self._resting[side]:
            row = total.setdefault(order.request.price, [ZERO, 0])
            row[0] += order.left
            row[1] += 1
        return [(p, total[p][0], total[p][1]) for p in sorted(total, reverse=side is Side.BUY)]


def _crowd(size: Decimal) -> int:
    """How many outside orders a level pretends to hold: the same for the same size."""
    return 1 + int(size * 7) % 20
