"""What became of an order in doubt: a noop on its nonce, then look-ups (protocol page 3.8).

After BURNT or USED the order cannot newly go live. Whether it rests, filled or never was, the look-up tells.
"""

from decimal import Decimal
from typing import TypeVar

from core.messages import OrderSettled, OrderUnknown
from core.model import ZERO, Order, OrderStatus, OrderType, WorkingOrder
from runtime.clock import Clock
from runtime.venue import VenueUnavailable
from runtime.warm_http import NETWORK_ERRORS
from venues.hyperliquid import info, wire
from venues.hyperliquid.fills import FillRow
from venues.hyperliquid.rest import HyperliquidRest, checked, network_text
from venues.hyperliquid.wire import NoopVerdict

LOOKUP_WAITS_S = (0.0, 0.1, 0.15, 0.25, 0.3)  # a fresh order may be unknown to reads for some hundred ms (page 2.8)
EARLIER_MS = 5_000  # how far before its nonce an order's traces are believed, for clocks differ
FILLS_BEFORE_MS = 60_000
NOT_PLACED = "not placed, and cannot be: its nonce is burnt"
LEFT_NO_RECORD = "admitted, then refused without a record: the venue knows no such order"
NOT_LIVE = "its nonce is used and the venue knows no such order"
T = TypeVar("T")


class Settler:
    def __init__(self, rest: HyperliquidRest, user: str, clock: Clock, timeout_s: float, offset_ms: int) -> None:
        self._rest, self._user, self._clock = rest, user, clock
        self._timeout_s, self._offset_ms = timeout_s, offset_ms

    def settle(self, order: Order, noop: bytes, noops_sent: int) -> OrderSettled | OrderUnknown:
        """Never waits longer than about a second, network apart; OrderUnknown means: ask again."""
        try:
            if not order.whole_position and (settled := self._look_up(order)) is not None:
                return settled  # found, hence admitted: a noop could prove nothing more
        except VenueUnavailable:
            pass  # the noop matters more
        verdict, error = self._send(noop)
        if verdict is NoopVerdict.NOTHING:
            return wire.unknown(order, f"noop: {error}", self._clock.now_ms())
        try:
            if verdict is NoopVerdict.BURNT:
                return self._never_placed(order)
            return self._trace(order) or self._settled(
                order, None, OrderStatus.REJECTED, text=NOT_LIVE if noops_sent else LEFT_NO_RECORD
            )
        except VenueUnavailable as e:
            return wire.unknown(order, str(e), self._clock.now_ms())

    def _send(self, noop: bytes) -> tuple[NoopVerdict, str]:
        try:
            answer = self._rest.exchange(noop, timeout_s=self._timeout_s)
        except NETWORK_ERRORS as e:
            return NoopVerdict.NOTHING, network_text(e)
        text = answer.body[: wire.TEXT_LENGTH_MAX].decode("utf-8", "replace")
        return wire.noop_verdict(answer.status, answer.body), wire.clean(f"HTTP {answer.status} {text}")

    def _never_placed(self, order: Order) -> OrderSettled:
        """The noop proves it; the look-up cross-checks. A position stop has no name to look up by."""
        settled = None if order.whole_position else self._look_up(order)
        return settled or self._settled(order, None, OrderStatus.REJECTED, text=NOT_PLACED)

    def _trace(self, order: Order) -> OrderSettled | None:
        """Look for an order whose nonce is used, again and again for some hundred ms, then everywhere else."""
        look = self._find_stop if order.whole_position else self._look_up
        for wait_s in LOOKUP_WAITS_S:
            self._rest.pause(wait_s)
            if (settled := look(order)) is not None:
                return settled
        return self._stop_history(order) if order.whole_position else self._cross_check(order)

    # --- orders with a cloid ----------------------------------------------------------------------------------------

    def _look_up(self, order: Order) -> OrderSettled | None:
        """None: the venue does not know it (yet). Raises VenueUnavailable, also for a status nobody can read."""
        answer = self._ask("orderStatus", info.OrderStatusAnswer, oid=order.client_id.lower())
        row = checked("orderStatus", info.found_order, answer)
        return None if row is None else self._from_row(order, row)

    def _from_row(self, order: Order, row: info.StatusRow) -> OrderSettled:
        status = info.order_status(row.status)
        if status is None or row.order.coin != order.symbol or info.SIDES.get(row.order.side) is not order.side:
            raise VenueUnavailable(f"orderStatus: unexpected order or status {wire.clean(row.status)}", status=200)
        filled = checked("orderStatus", info.filled_size, row, status)
        if status is OrderStatus.ACCEPTED and filled > 0:
            status = OrderStatus.PARTIAL
        return self._settled(order, row.order.oid, status, filled, text=f"venue status {wire.clean(row.status)}")

    def _cross_check(self, order: Order) -> OrderSettled | None:
        cloid = order.client_id.lower()
        for row in self._working():
            if row.client_id == cloid:
                return self._settled(order, row.order_id, OrderStatus.ACCEPTED, text="found among open orders")
        start_ms = max(0, self._earliest_ms(order) - FILLS_BEFORE_MS)
        rows = self._ask("userFillsByTime", list[FillRow], startTime=start_ms)
        self._rest.charge_rows(len(rows), 20)
        ours = [row for row in rows if row.cloid and row.cloid.lower() == cloid]
        if not ours:
            return None
        size = sum((row.sz for row in ours), ZERO)
        return self._settled(order, ours[0].oid, OrderStatus.FILLED, size, text="found among fills")

    # --- position stops ---------------------------------------------------------------------------------------------

    def _find_stop(self, order: Order) -> OrderSettled | None:
        """The newest listed position stop with this side, kind and trigger; an equal older one protects as well."""
        rows = [row for row in self._working() if _same_stop(row, order)]
        if not rows:
            return None
        newest = max(rows, key=lambda row: row.time_ms)
        return self._settled(order, newest.order_id, OrderStatus.ACCEPTED, text="found among open orders")

    def _stop_history(self, order: Order) -> OrderSettled | None:
        """It may have fired or been removed before anybody looked."""
        rows = self._ask("historicalOrders", list[info.StatusRow])
        self._rest.charge_rows(len(rows), 20)
        since_ms = self._earliest_ms(order) - EARLIER_MS
        ours = [
            row
            for row in rows
            if row.order.timestamp >= since_ms
            and row.order.isPositionTpsl
            and row.order.coin == order.symbol
            and _same_stop(checked("historicalOrders", info.working_order, row.order), order)
        ]
        return self._from_row(order, max(ours, key=lambda row: row.statusTimestamp)) if ours else None

    def _earliest_ms(self, order: Order) -> int:
        """Venue clock; whether the nonce was told by that clock or by ours, the order is not older than this."""
        return order.nonce + min(0, self._offset_ms)

    def _ask(self, what: str, shape: type[T], **keys: object) -> T:
        return self._rest.info_now({"type": what, "user": self._user, **keys}, shape, self._timeout_s)

    def _working(self) -> tuple[WorkingOrder, ...]:
        rows = self._ask("frontendOpenOrders", list[info.OrderRow])
        return checked("frontendOpenOrders", info.working_orders_of, rows)

    def _settled(
        self, order: Order, order_id: int | None, status: OrderStatus, filled_size: Decimal = ZERO, *, text: str
    ) -> OrderSettled:
        return OrderSettled(
            received_ms=self._clock.now_ms(),
            client_id=order.client_id,
            symbol=order.symbol,
            order_id=order_id,
            status=status,
            filled_size=filled_size,
            text=text,
        )


def _same_stop(row: WorkingOrder, order: Order) -> bool:
    return (
        row.symbol == order.symbol
        and row.side is order.side
        and row.whole_position
        and row.is_stop is (order.type is OrderType.STOP)
        and row.trigger_price == order.trigger_price
    )
