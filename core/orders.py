"""The life of our orders: sent once, answered, doubted, settled, ended. What fills do: `positions.py`."""

from decimal import Decimal

import msgspec

from core import records
from core.messages import (
    Cancel,
    CancelAnswered,
    Note,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    OrderUpdate,
    Reconnect,
    RejectReason,
    Settle,
    Submit,
)
from core.model import Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from core.positions import raise_filled
from core.state import OrderRecord
from core.turn import Turn, note

ENTRY_LIFE_MS = 5_000  # an entry that arrives later than this is not wanted any more
EXIT_LIFE_MS = 15_000
ANSWER_MS = 12_000  # a sent order without any answer for this long is in doubt
SETTLE_AGAIN_MS = 15_000  # a question about an order that nobody answered is asked again
EXIT_SETTLE_MS = (
    500  # an exit is given its usual answer time: a noop sent at once could overtake and kill it (page 3.8)
)
LIMITED_MS_MAX = 1_200  # after "too many requests" about a stop: there may be room at any moment, and nobody tells
DOUBT_MS_MAX = 1_500  # between two questions about one order: what it did may stand without a stop (P2)
FILLS_LATE_MS = 5_000
BRIDGE_MS = 1_000  # no word of an exit for so long: a stop goes beside it
BARE_MS, BRIDGE_BARE_MS = 1_500, 300  # bare for so long already: an exit whose answer is lost is given less
KEPT_MS = 60_000  # final orders are kept this long for late fills
FILL_MS = 500  # where a market order's answer names no fill: asked about when none has come for so long
FILL_MS_POLLED = 150  # the same while no stream would bring it
FILL_MS_MAX = 5_000  # doubled each time: a market that stands still may keep the order open
EXIT_RETRY_MS = 500  # after a refused exit, doubled each time
EXIT_RETRY_MS_MAX = 8_000
NOT_OUR_MISTAKE = frozenset(
    {
        *(RejectReason.NO_LIQUIDITY, RejectReason.WOULD_INCREASE, RejectReason.BAD_TRIGGER),
        *(RejectReason.BRACKETS, RejectReason.OUTSIDE_HOURS, RejectReason.NOT_SENT),
    }
)


def aggressive_order(turn: Turn, symbol: str, side: Side, size: Decimal, purpose: Purpose) -> Order:
    """An IOC at the worst price we take, measured from the newest one; the caller has made sure there is one."""
    market, rules = turn.market(symbol), turn.rules.risk
    price = market.reference_price(side)
    if price is None and market.position is not None and not turn.rules.can_reduce_only:
        price = market.position.entry_price  # a market order there carries no price; this one is for our own books
    assert price is not None, "an order needs a price"
    is_entry = purpose is Purpose.ENTRY
    slippage = rules.entry_slippage_pct if is_entry else rules.exit_slippage_pct
    limit = turn.market_rules(symbol).instrument.round_away(price * (1 + side.sign * slippage / 100), side)
    return Order(
        client_id=turn.next_client_id(),
        symbol=symbol,
        side=side,
        size=size,
        type=OrderType.MARKET,
        price=limit,
        time_in_force=TimeInForce.IOC,
        reduce_only=not is_entry and turn.rules.can_reduce_only,
        nonce=turn.next_nonce(),
        expires_ms=turn.venue_now_ms + (ENTRY_LIFE_MS if is_entry else EXIT_LIFE_MS),
    )


def send(turn: Turn, order: Order, purpose: Purpose, reason: str) -> None:
    """Record the order as SENT and hand it out, in this order in the journal too."""
    record = OrderRecord(order, purpose, OrderStatus.SENT, turn.now_ms, reason)
    kept = {**turn.market(order.symbol).orders, order.client_id: record}
    turn.dirty(order.symbol, orders=kept, clean=False, armed=None)
    turn.act(Submit(order, purpose, reason))  # the shell says order_sent: made here, the line would delay the order


def sent_note(action: Submit) -> Note:
    """The log line of an order that was handed out."""
    order = action.order
    return note(
        "INFO",
        "order_sent",
        client_id=order.client_id,
        symbol=order.symbol,
        purpose=action.purpose.value,
        side=order.side.value,
        size="position" if order.whole_position else order.size,
        price=order.price if order.trigger_price is None else None,
        trigger_price=order.trigger_price,
        reason=action.reason,
    )


# --- records --------------------------------------------------------------------------------------------------------


def drop_old_records(turn: Turn, symbol: str) -> None:
    orders = turn.market(symbol).orders
    kept = {
        client_id: record
        for client_id, record in orders.items()
        if record.final_ms is None or turn.now_ms - record.final_ms < KEPT_MS
    }
    if len(kept) != len(orders):
        turn.change(symbol, orders=kept)


def with_status(turn: Turn, record: OrderRecord, status: OrderStatus, order_id: int | None) -> OrderRecord:
    """The record after news of its status. What is final stays final; an IOC that "rests" is still in doubt.

    The venue never lets an IOC rest, so a row that says so is older than its end: ask again.
    """
    order_id = order_id or record.order_id
    if record.status.is_final:
        record = msgspec.structs.replace(record, order_id=order_id)
    elif record.order.time_in_force is TimeInForce.IOC and not status.is_final and not turn.rules.can_reduce_only:
        # TopstepX page 2.6: accepted is not filled; the fill follows within some 30 ms.
        wait_ms = (FILL_MS if turn.state.fills_up else FILL_MS_POLLED) * 2 ** min(record.noops_sent, 6)
        wait_ms = min(wait_ms, FILL_MS_MAX)
        record = msgspec.structs.replace(
            record, status=status, order_id=order_id, settle_ms=turn.now_ms + wait_ms, accepted_ms=turn.now_ms
        )
    elif record.order.time_in_force is TimeInForce.IOC and not status.is_final:
        record = msgspec.structs.replace(
            record, status=OrderStatus.UNKNOWN, order_id=order_id, settle_ms=turn.now_ms + EXIT_SETTLE_MS
        )
    else:
        accepted_ms = turn.now_ms if status is OrderStatus.ACCEPTED else None
        record = msgspec.structs.replace(
            record, status=status, order_id=order_id, settle_ms=None, accepted_ms=record.accepted_ms or accepted_ms
        )
    return records.put_record(turn, record)


# --- answers --------------------------------------------------------------------------------------------------------


def on_accepted(turn: Turn, event: OrderAccepted) -> None:
    record = records.find_record(turn.market(event.symbol), event.client_id, event.order_id)
    if record is None or record.status.is_final:
        _note_late(turn, event.client_id, event.symbol, "accepted")
        if record is None:
            return
    turn.set(order_errors=0)
    is_partial = event.filled_size > 0 and record.order.time_in_force is not TimeInForce.IOC
    record = with_status(turn, record, OrderStatus.PARTIAL if is_partial else event.status, event.order_id)
    if event.filled_size > 0:
        turn.change(event.symbol, exit_refusals=0)
        turn.note(
            "INFO", "order_filled", client_id=event.client_id, symbol=event.symbol, order_id=event.order_id,
            filled=event.filled_size, of=record.order.size, average_price=event.average_price,
        )  # fmt: skip
        raise_filled(turn, record, event.filled_size, event.average_price or record.order.price)
        return
    level = "DEBUG" if record.purpose is Purpose.STOP else "INFO"  # for a stop, stop_confirmed is what counts
    turn.note(level, "order_accepted", client_id=event.client_id, symbol=event.symbol, order_id=event.order_id)
    if record.purpose is Purpose.STOP and record.is_live:
        turn.dirty(event.symbol)
        records.read_orders(turn, "confirm stop")


def on_rejected(turn: Turn, event: OrderRejected) -> OrderRecord | None:
    """Record the refusal; the caller decides what it means for exit and protection."""
    record = records.find_record(turn.market(event.symbol), event.client_id, None)
    if record is None or record.status.is_final:
        _note_late(turn, event.client_id, event.symbol, "rejected")
        return None
    record = with_status(turn, record, OrderStatus.REJECTED, None)
    expected = event.reason in NOT_OUR_MISTAKE
    turn.note(
        "INFO" if expected else "WARNING",
        "order_rejected",
        client_id=event.client_id,
        symbol=event.symbol,
        purpose=record.purpose.value,
        reason=event.reason.value,
        error=event.text,
    )
    if not expected:
        count_error(turn, event)
    return record


def count_error(turn: Turn, event: OrderRejected) -> None:
    """Errors in a row halt entries; bad credentials do at once, for nothing will work any more."""
    errors = turn.state.order_errors + 1
    turn.set(order_errors=errors)
    if event.reason is RejectReason.CREDENTIALS:
        halt(turn, f"credentials refused: {event.text}")
    elif event.reason is RejectReason.ACCOUNT:
        halt(turn, f"the venue refuses this account: {event.text}")
    elif errors >= turn.rules.risk.max_order_errors:
        halt(turn, f"{errors} order errors in a row, the last: {event.text}")


def delay_exit(turn: Turn, symbol: str) -> None:
    """An exit was refused: the next one waits, each time longer."""
    market = turn.market(symbol)
    wait_ms = min(EXIT_RETRY_MS * 2**market.exit_refusals, EXIT_RETRY_MS_MAX)
    refusals = min(market.exit_refusals + 1, 10)
    turn.change(symbol, exit_retry_ms=turn.now_ms + wait_ms, exit_refusals=refusals)


def halt(turn: Turn, reason: str) -> None:
    """No entries from here on; protection and exits go on."""
    if turn.state.halted is None:
        turn.set(halted=reason)
        turn.note("CRITICAL", "halted", reason=reason, text="no new entries; positions stay protected", notify=True)


def are_doubtful(turn: Turn, exits: list[OrderRecord]) -> bool:
    """Whether there has been no word of any of them for so long that a stop goes beside them (P2).

    One whose answer is lost is given less when the way to it has been long and bare.
    """
    waited_ms = turn.now_ms - max(record.sent_ms for record in exits)
    if waited_ms >= BRIDGE_MS:
        return all(record.status in (OrderStatus.SENT, OrderStatus.UNKNOWN) for record in exits)
    bare_ms = turn.now_ms - (turn.market(exits[0].order.symbol).naked_since_ms or turn.now_ms)
    is_long = bare_ms >= BARE_MS and waited_ms >= BRIDGE_BARE_MS
    return is_long and all(record.status is OrderStatus.UNKNOWN for record in exits)


# --- doubt ----------------------------------------------------------------------------------------------------------


def on_unknown(turn: Turn, event: OrderUnknown) -> None:
    """Note the doubt and when to ask; `settle_due` asks."""
    record = records.find_record(turn.market(event.symbol), event.client_id, None)
    if record is None or record.status.is_final:
        _note_late(turn, event.client_id, event.symbol, "unknown")
        return
    delay_ms = min(DOUBT_MS_MAX, 300 * record.noops_sent)
    if record.noops_sent == 0 and record.purpose is Purpose.EXIT:
        delay_ms = EXIT_SETTLE_MS
    records.put_record(
        turn, msgspec.structs.replace(record, status=OrderStatus.UNKNOWN, settle_ms=turn.now_ms + delay_ms)
    )
    turn.note(
        "WARNING", "order_unknown", client_id=event.client_id, symbol=event.symbol, error=event.error,
        purpose=record.purpose.value, tries=record.noops_sent, notify=record.noops_sent == 3,
    )  # fmt: skip


def settle_due(turn: Turn, symbol: str) -> None:
    """Ask what became of orders in doubt, each when its time has come; silence counts as doubt too."""
    for client_id in list(turn.market(symbol).orders):
        record = turn.market(symbol).orders[client_id]
        if record.status is OrderStatus.SENT and turn.now_ms - record.sent_ms > ANSWER_MS:
            silence = OrderUnknown(client_id=client_id, symbol=symbol, error="no answer", received_ms=turn.now_ms)
            on_unknown(turn, silence)
            record = turn.market(symbol).orders[client_id]
        if record.is_live and record.settle_ms is not None and record.settle_ms <= turn.now_ms:
            turn.act(Settle(record.order, record.noops_sent))
            again_ms = turn.now_ms + SETTLE_AGAIN_MS
            records.put_record(
                turn, msgspec.structs.replace(record, settle_ms=again_ms, noops_sent=record.noops_sent + 1)
            )


def ask_missing_fills(turn: Turn, symbol: str) -> None:
    """An order filled by its answer, and the stream is silent about it: the fill stream is mute."""
    for record in turn.market(symbol).orders.values():
        late = record.final_ms is not None and turn.now_ms - record.final_ms > FILLS_LATE_MS
        if late and record.booked_size < record.filled_size and not record.fills_asked:
            records.put_record(turn, msgspec.structs.replace(record, fills_asked=True))
            turn.note("WARNING", "fills_missing", client_id=record.order.client_id, symbol=symbol)
            records.read_account(turn, "fills missing", with_fills=True)
            if turn.state.fills_up:
                turn.act(Reconnect("fills are missing on the stream", turn.rules.fill_stream))


def on_settled(turn: Turn, event: OrderSettled) -> OrderRecord | None:
    record = records.find_record(turn.market(event.symbol), event.client_id, event.order_id)
    if record is None or record.status.is_final:
        _note_late(turn, event.client_id, event.symbol, "settled")
        if record is None:
            return None
    record = with_status(turn, record, event.status, event.order_id)
    turn.dirty(event.symbol)
    turn.note(
        "INFO", "order_settled", client_id=event.client_id, symbol=event.symbol, order_id=event.order_id,
        status=event.status.value, filled=event.filled_size, detail=event.text,
    )  # fmt: skip
    if event.filled_size > record.filled_size:
        price = turn.market(event.symbol).reference_price(record.order.side)
        raise_filled(turn, record, event.filled_size, price or record.order.price)
    records.read_account(turn, "order settled", with_fills=True)
    return record


# --- news from the user stream ----------------------------------------------------------------------------------------


def on_update(turn: Turn, event: OrderUpdate) -> OrderRecord | None:
    """It ends orders and stops; returns the one that has ended without having been filled whole, if any.

    The position follows fills, not this. The news of a refusal may come before its answer.
    """
    market = turn.market(event.symbol)
    record = records.find_record(market, event.client_id, event.order_id)
    if record is not None and record.order_id is None:
        record = msgspec.structs.replace(record, order_id=event.order_id)
        records.put_record(turn, record)
    if not event.status.is_final:
        return None
    ended = None
    stop = next((stop for stop in market.stops if stop.order_id == event.order_id), None)
    fired = event.status is OrderStatus.FILLED
    if stop is not None:
        asked = stop.cancel_ms is not None and not fired
        turn.dirty(event.symbol, stops=tuple(s for s in market.stops if s.order_id != event.order_id))
        turn.note(
            "DEBUG" if asked else "INFO", "stop_fired" if fired else "stop_gone", symbol=event.symbol,
            order_id=event.order_id, trigger_price=stop.trigger_price, status=event.venue_status,
        )  # fmt: skip
        if not asked:
            records.read_account(turn, "stop gone")
    elif record is not None and record.is_live:
        record = with_status(turn, record, event.status, event.order_id)
        turn.dirty(event.symbol)
        turn.note(
            "INFO", "order_ended", client_id=record.order.client_id, symbol=event.symbol, status=event.venue_status
        )
        records.read_account(turn, "order ended")
        ended = None if fired else record
    if fired and (stop is not None or (record is not None and record.purpose is Purpose.STOP)):
        turn.change(event.symbol, stop_fired_ms=turn.now_ms)
    return ended


def on_cancel_answered(turn: Turn, event: CancelAnswered) -> None:
    market = turn.market(event.symbol)
    if event.gone:
        turn.dirty(event.symbol, stops=tuple(stop for stop in market.stops if stop.order_id != event.order_id))
        turn.note("DEBUG", "order_canceled", symbol=event.symbol, order_id=event.order_id)
        if market.position is None:
            records.read_account(turn, "after a cancel")
        return
    turn.note("WARNING", "cancel_failed", symbol=event.symbol, order_id=event.order_id, error=event.error)


def cancel(turn: Turn, symbol: str, order_id: int, reason: str) -> None:
    market = turn.market(symbol)
    stops = tuple(
        msgspec.structs.replace(stop, cancel_ms=turn.now_ms) if stop.order_id == order_id else stop
        for stop in market.stops
    )
    turn.change(symbol, stops=stops)
    turn.act(Cancel(symbol, order_id, turn.next_nonce(), reason))
    turn.note("INFO", "cancel_sent", symbol=symbol, order_id=order_id, reason=reason)


def _note_late(turn: Turn, client_id: str, symbol: str, what: str) -> None:
    turn.note("DEBUG", "order_late_answer", client_id=client_id, symbol=symbol, answer=what)
