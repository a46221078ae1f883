"""Orders of TopstepX: placed, changed, cancelled and seen to end; positions closed in an emergency (page 2.6 to 2.9).

Everything is sent once. A 401 alone, which means that nothing was executed, is followed by a login and one repeat.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from core.messages import (
    CancelAnswered,
    CloseAnswered,
    CloseContract,
    Modify,
    ModifyAnswered,
    OrderRejected,
    RejectReason,
)
from core.model import Instrument, Order
from runtime.clock import Clock
from runtime.venue import CredentialsRefused, OrderAnswer, VenueUnavailable
from runtime.warm_http import NETWORK_ERRORS, Answer, NotSent
from venues.topstepx import shapes, wire
from venues.topstepx.rest import Envelope, Refusal, TopstepRest, checked, network_text
from venues.topstepx.token import LoginRefused
from venues.topstepx.wire import Said, Verdict

SEARCH_OPEN, SEARCH_BY_ID = "Order/searchOpen", "Order/searchById"
CANCEL_LOOKS_S = (0.0, 0.03, 0.06, 0.1, 0.2, 0.3, 0.4)  # about a second; the simulator needs 10 to 30 ms
LOOK_FAILURES_MAX = 2  # each may take seconds


class OrdersAnswer(Envelope):
    orders: list[shapes.OrderRow] | None = None


class _OneOrder(Envelope):
    order: shapes.OrderRow | None = None


class Closed(msgspec.Struct, frozen=True):
    """`done`: taken, not filled yet, so read the position; False: refused, `text` says why; None: nobody knows."""

    done: bool | None
    text: str


def cancel_body(account_id: int, order_id: int) -> bytes:
    return b'{"accountId":%d,"orderId":%d}' % (account_id, order_id)


class OrderDesk:
    """Owned by one thread."""

    def __init__(self, rest: TopstepRest, clock: Clock, hide: wire.Hide) -> None:
        self._rest, self._clock, self._hide = rest, clock, hide

    def submit(self, order: Order, body: bytes, until_ms: int | None) -> OrderAnswer:
        return self._placed(order, lambda: self._rest.act(wire.PLACE, body, until_ms=until_ms))

    def finish(self, order: Order, until_ms: int | None) -> OrderAnswer:
        return self._placed(order, lambda: self._rest.finish(until_ms))

    def _placed(self, order: Order, post: Callable[[], Answer]) -> OrderAnswer:
        try:
            answer = post()
        except NotSent as e:  # no doubt about this one, and no five seconds of looking for it
            return wire.rejected(order, RejectReason.NOT_SENT, network_text(e), self._clock.now_ms())
        except NETWORK_ERRORS as e:
            return wire.unknown(order, network_text(e), self._clock.now_ms())
        except (VenueUnavailable, CredentialsRefused) as e:
            return self.not_executed(order, e)
        return wire.order_answer(order, wire.read_answer(wire.PLACE, answer, self._hide), self._clock.now_ms())

    def not_executed(self, order: Order, e: Exception) -> OrderRejected:
        """The login failed, before the order was sent or after the authentication had refused it.

        A login that could not be asked for says nothing about the key.
        """
        is_refused = isinstance(e, CredentialsRefused | LoginRefused)
        reason = RejectReason.CREDENTIALS if is_refused else RejectReason.OTHER
        return wire.rejected(order, reason, f"not executed: {e}", self._clock.now_ms())

    def _write(self, what: str, body: bytes) -> Said:
        """Sent now, unless it was begun. Raises VenueUnavailable, CredentialsRefused: nothing was executed."""
        try:
            answer = self._rest.finish() if self._rest.has_begun else self._rest.act(what, body)
        except NETWORK_ERRORS as e:
            return Said(Verdict.OPEN, network_text(e))
        return wire.read_answer(what, answer, self._hide)

    # --- cancel -----------------------------------------------------------------------------------------------------

    def begin_cancel(self, account_id: int, order_id: int) -> bool:
        return self._rest.begin(wire.CANCEL, cancel_body(account_id, order_id))

    def cancel(self, account_id: int, symbol: str, order_id: int) -> CancelAnswered:
        """Whatever the answer, the order itself tells whether it has ended (page 2.8). Raises as _write().

        Not after "too many requests": it was not looked at, and looks at the order would be turned away as well.
        """
        said = self._write(wire.CANCEL, cancel_body(account_id, order_id))
        is_limited = said.reason is RejectReason.RATE_LIMIT
        gone, error = (False, said.text) if is_limited else self._await_end(account_id, order_id, said)
        return CancelAnswered(
            received_ms=self._clock.now_ms(),
            symbol=symbol,
            order_id=order_id,
            gone=gone,
            error=None if gone else error,
            reason=RejectReason.RATE_LIMIT if is_limited else None,
        )

    def _await_end(self, account_id: int, order_id: int, said: Said) -> tuple[bool, str]:
        """(it has ended, what was seen last)"""
        error, failures = said.text, 0
        for wait_s in CANCEL_LOOKS_S:
            self._rest.pause(wait_s)
            try:
                row = self._look_up(account_id, order_id)
            except VenueUnavailable as e:
                error, failures = str(e), failures + 1
                if failures == LOOK_FAILURES_MAX:
                    break
                continue
            if row is None:
                if said.name == "OrderNotFound":
                    return True, ""  # two calls agree that there is no such order
                error = "the venue says it knows no such order"
            elif row.status in shapes.TERMINAL:
                return True, ""
            elif said.verdict is Verdict.NO:
                return False, said.text  # refused, and it works on
            else:
                error = f"{said.text or 'accepted'}; venue status {row.status}"
        return False, error

    def _look_up(self, account_id: int, order_id: int) -> shapes.OrderRow | None:
        """None: the venue says it knows no such order. Raises VenueUnavailable."""
        body = {"accountId": account_id, "orderId": order_id}
        try:
            row = self._rest.ask_now(SEARCH_BY_ID, body, _OneOrder).order
        except Refusal as e:
            if e.code == 1:  # OrderNotFound
                return None
            raise
        if row is None or row.id != order_id:
            raise VenueUnavailable(f"{SEARCH_BY_ID}: unexpected answer: not the order asked for", status=200)
        return row

    # --- the rest ---------------------------------------------------------------------------------------------------

    def modify(self, account_id: int, action: Modify, instrument: Instrument) -> ModifyAnswered:
        """Raises ValueError for a price off the tick, and as _write()."""
        body = wire.modify_body(account_id, action, instrument)
        said = self._write(wire.MODIFY, body)
        return wire.modify_answer(action.symbol, action.order_id, said, self._clock.now_ms())

    def close_outside(self, account_id: int, action: CloseContract) -> CloseAnswered:
        """Cancel what works in the contract, then close it; what cannot be cancelled in time does not keep us (2.11).

        Raises as _write().
        """
        problems = self._sweep(account_id, action)
        closed = self.close(account_id, action.contract_id, None)
        if closed.text.startswith("PositionNotFound"):  # what was to be cancelled had filled and closed it
            closed = Closed(True, "")
        if problems:  # an order left behind would open a new position (page 2.7)
            problems = self._sweep(account_id, action)
        error = "; ".join(filter(None, [closed.text, *problems]))
        return CloseAnswered(
            received_ms=self._clock.now_ms(),
            symbol=action.symbol,
            contract_id=action.contract_id,
            done=closed.done,
            error=error or None,
        )

    def _sweep(self, account_id: int, action: CloseContract) -> list[str]:
        """Cancel every working order of the contract; what went wrong, [] when none is left."""
        try:
            answer = self._rest.ask_now(SEARCH_OPEN, {"accountId": account_id}, OrdersAnswer)
            rows = checked(SEARCH_OPEN, shapes.present, answer.orders, "orders")
        except VenueUnavailable as e:
            return [str(e)]
        ids = [row.id for row in rows if row.contractId == action.contract_id and row.status not in shapes.TERMINAL]
        answers = [self.cancel(account_id, action.symbol, order_id) for order_id in ids]
        return [f"order {answer.order_id} not cancelled: {answer.error}" for answer in answers if not answer.gone]

    def close(self, account_id: int, contract_id: str, size: Decimal | None) -> Closed:
        """Raises ValueError for a size that is no number of contracts, and as _write()."""
        body: dict[str, object] = {"accountId": account_id, "contractId": contract_id}
        if size is not None:
            body["size"] = wire.whole(size)
        said = self._write(wire.CLOSE if size is None else wire.PARTIAL_CLOSE, msgspec.json.encode(body))
        return Closed(wire.DONE[said.verdict], said.text)
