"""What became of an order in doubt: looked for by its tag until it is found, or has been absent for long enough.

There is no noop here and no expiry: what proves absence is time. The tag is unique for ever (protocol page 2.6).
"""

from core.messages import OrderSettled, OrderUnknown
from core.model import ZERO, Order, OrderStatus
from runtime.clock import Clock
from runtime.venue import VenueUnavailable
from venues.topstepx import shapes
from venues.topstepx.orders import SEARCH_OPEN, OrdersAnswer
from venues.topstepx.rest import TopstepRest, checked
from venues.topstepx.wire import unknown

LOOK_WAITS_S = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.25)  # 5 s: "several times over a few seconds"
LATE_MS = 10_000  # an answer is waited for 5 s, and then looked for 5 s: after so long absent once is absent
EARLIER_MS = 300_000  # how far before its decision an order is looked for: the venue's clock is known to a second
SEARCH = "Order/search"
NEVER_ARRIVED = (
    f"never arrived: absent from the venue's orders for {sum(LOOK_WAITS_S):.0f} s after its outcome became unknown"
)
LONG_AGO = "never arrived: absent from the venue's orders, long after it could have been on its way"


class Settler:
    def __init__(self, rest: TopstepRest, account_id: int, clock: Clock) -> None:
        self._rest, self._account_id, self._clock = rest, account_id, clock

    def settle(self, order: Order) -> OrderSettled | OrderUnknown:
        """Takes 5 s to say that an order never arrived; OrderUnknown means: ask again, the venue could not be asked.

        Less for one that was sent LATE_MS ago (a restart, a sleep or a silent venue has left it in doubt), for until it
        is known nothing else is done in its market.
        """
        try:
            for number, wait_s in enumerate(LOOK_WAITS_S):
                self._rest.pause(wait_s)
                is_late = self._clock.now_ms() - order.nonce > LATE_MS
                is_last = is_late or number == len(LOOK_WAITS_S) - 1
                row = self._find(order, SEARCH) or (self._find(order, SEARCH_OPEN) if is_last or not number else None)
                if row is not None:
                    return self._from_row(order, row)
                if is_last:
                    break
        except VenueUnavailable as e:
            return unknown(order, str(e), self._clock.now_ms())
        return self._settled(
            order, None, OrderStatus.REJECTED, text=NEVER_ARRIVED if number == len(LOOK_WAITS_S) - 1 else LONG_AGO
        )

    def _find(self, order: Order, what: str) -> shapes.OrderRow | None:
        """A repeat that was refused for its tag may be listed under it too: what was not refused counts first.

        Raises VenueUnavailable.
        """
        body: dict[str, object] = {"accountId": self._account_id}
        if what == SEARCH:
            body["startTimestamp"] = shapes.time_text(order.nonce - EARLIER_MS)
        rows = checked(what, shapes.present, self._rest.ask_now(what, body, OrdersAnswer).orders, "orders")
        ours = [row for row in rows if row.customTag == order.client_id]
        return min(ours, key=lambda row: shapes.order_status(row) is OrderStatus.REJECTED, default=None)

    def _from_row(self, order: Order, row: shapes.OrderRow) -> OrderSettled:
        status = shapes.order_status(row)
        if status is None or checked(SEARCH, shapes.side_of, row.side) is not order.side:
            raise VenueUnavailable(f"{SEARCH}: another order, or status {row.status}, under our tag", status=200)
        filled = row.fillVolume or 0
        if status is OrderStatus.FILLED and filled == 0:
            filled = row.size
        text = f"venue status {row.status}"
        if status is OrderStatus.REJECTED:
            text += ": refused; the reason was in the answer that did not come"
        return self._settled(order, row.id, status, filled, text=text)

    def _settled(
        self, order: Order, order_id: int | None, status: OrderStatus, filled: int = 0, *, text: str
    ) -> OrderSettled:
        return OrderSettled(
            received_ms=self._clock.now_ms(),
            client_id=order.client_id,
            symbol=order.symbol,
            order_id=order_id,
            status=status,
            filled_size=ZERO + filled,
            text=text,
        )
