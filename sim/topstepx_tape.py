"""What the book of the simulated TopstepX does, written on a `Tape`: orders, fills, and whose doing each was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from core.model import ZERO, OrderStatus, Side
from sim.topstepx_floor import Floor
from sim.topstepx_types import BookEvent, Execution, Order, OrderChanged, OrderType, Status
from sim.world_read import OUR_ID
from sim.world_types import Tape, VenueFill, VenueOrder

STATUSES = {
    Status.OPEN: OrderStatus.ACCEPTED,
    Status.PENDING: OrderStatus.ACCEPTED,
    Status.FILLED: OrderStatus.FILLED,
    Status.CANCELLED: OrderStatus.CANCELED,
    Status.EXPIRED: OrderStatus.CANCELED,
    Status.REJECTED: OrderStatus.REJECTED,
}
STOPS = (OrderType.STOP, OrderType.TRAILING_STOP)
RESTING = (*STOPS, OrderType.LIMIT, OrderType.STOP_LIMIT)


class BookTape:
    """One account's part of a book. Hand it the book's events as they come, before anything else happens."""

    def __init__(self, tape: Tape, account_id: int, true_ms: Callable[[], int]) -> None:
        self.tape, self._account_id, self._true_ms = tape, account_id, true_ms
        self._held: dict[str, Decimal] = {}  # by contract
        self._tags: dict[int, str | None] = {}
        self._doer: str | None = None
        self.doings: list[tuple[int, str]] = []  # true ms and kind (orders, fills) of what was not the bot's

    @contextmanager
    def doing(self, by: str) -> Iterator[None]:
        """What the book tells of in here is a hand's or the venue's doing. The caller flushes the book within."""
        self._doer = by
        try:
            yield
        finally:
            self._doer = None

    def attach(self, venue: Floor) -> None:
        """Hear of all that the book of a running venue does, before its hubs do. On the venue's loop."""
        told = venue.on_events

        def both(events: list[BookEvent]) -> None:
            self.take(events)
            told(events)

        venue.on_events = both

    def take(self, events: list[BookEvent]) -> None:
        for event in events:
            if isinstance(event, OrderChanged) and event.order.account_id == self._account_id:
                self._order(event.order)
            elif isinstance(event, Execution) and event.account_id == self._account_id:
                self._fill(event)

    def _by(self, tag: str | None) -> str:
        if self._doer is not None:
            return self._doer
        return "bot" if OUR_ID.fullmatch(tag or "") else "venue"

    def _note(self, by: str, kind: str) -> None:
        if by != "bot":
            self.doings.append((self._true_ms(), kind))

    def _order(self, order: Order) -> None:
        self._tags[order.id] = order.tag
        if order.status not in STATUSES:
            return  # a suspended child is no order yet
        status, by = STATUSES[order.status], self._by(order.tag)
        is_partial = status is OrderStatus.ACCEPTED and order.filled
        is_stop = order.type in STOPS
        self.tape.orders.append(
            VenueOrder(
                true_ms=self._true_ms(),
                symbol=order.contract.product.ticker,
                order_id=order.id,
                client_id=order.tag,
                status=OrderStatus.PARTIAL if is_partial else status,
                side=Side.BUY if order.side == 0 else Side.SELL,
                size=Decimal(order.size),
                left=Decimal(order.left),
                reduce_only=False,
                trigger_price=order.stop_price if is_stop else None,
                is_stop=is_stop,
                by=by,
                text=f"{order.type.name} {order.status.name}",
            )
        )
        if order.type in RESTING:
            self._note(by, "orders")

    def _fill(self, row: Execution) -> None:
        before = self._held.get(row.contract.id, ZERO)
        side = Side.BUY if row.side == 0 else Side.SELL
        self._held[row.contract.id] = before + side.sign * row.size
        tag = self._tags.get(row.order_id)
        by = self._by(tag)
        self.tape.fills.append(
            VenueFill(
                true_ms=self._true_ms(),
                symbol=row.contract.product.ticker,
                side=side,
                price=row.price,
                size=Decimal(row.size),
                order_id=row.order_id,
                client_id=tag,
                fill_id=str(row.id),
                before=before,
                by=by,
            )
        )
        self._note(by, "fills")
