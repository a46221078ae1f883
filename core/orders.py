"""The life of our orders, and what their fills make of the position. Answers and fills may come in any order.

Double counting is the danger: the answer to an order and the fills on the stream tell of the same execution. Each
record keeps the most it has been told (`filled_size`); only what goes beyond that moves the position.
"""

from decimal import Decimal

import msgspec

from core.exits import open_position, reprice
from core.messages import (
    Cancel,
    CancelAnswered,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    OrderUpdate,
    ReadAccount,
    ReadOrders,
    Reconnect,
    RejectReason,
    Settle,
    Submit,
)
from core.model import ZERO, Fill, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from core.state import ExitReason, MarketState, OrderRecord, Position
from core.turn import Turn

DAY_MS = 86_400_000
ENTRY_LIFE_MS = 5_000  # an entry that arrives later than this is not wanted any more
EXIT_LIFE_MS = 15_000
ANSWER_MS = 12_000  # a sent order without any answer for this long is in doubt
EXIT_SETTLE_MS = (
    500  # an exit is given its usual answer time: a noop sent at once could overtake and kill it (page 3.8)
)
FILLS_LATE_MS = 5_000
READ_SPACING_MS = 500
KEPT_MS = 60_000  # final orders are kept this long for late fills
FILL_IDS_KEPT = 2_000
NOT_OUR_MISTAKE = frozenset({RejectReason.NO_LIQUIDITY, RejectReason.WOULD_INCREASE, RejectReason.BAD_TRIGGER})


def aggressive_order(turn: Turn, symbol: str, side: Side, size: Decimal, purpose: Purpose) -> Order:
    """An IOC at the worst price we take. The price comes from the newest one; the caller has made sure there is one."""
    market, rules = turn.market(symbol), turn.rules.risk
    price = market.reference_price(side)
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
    market = turn.market(order.symbol)
    record = OrderRecord(order, purpose, OrderStatus.SENT, turn.now_ms, reason)
    turn.change(
        order.symbol, orders={**market.orders, order.client_id: record}, clean=False, dirty_ms=turn.now_ms, armed=None
    )
    turn.act(Submit(order, purpose, reason))
    turn.note(
        "INFO",
        "order_sent",
        client_id=order.client_id,
        symbol=order.symbol,
        purpose=purpose.value,
        side=order.side.value,
        size="position" if order.whole_position else order.size,
        price=order.price if order.trigger_price is None else None,
        trigger_price=order.trigger_price,
        reason=reason,
    )


def put_record(turn: Turn, record: OrderRecord) -> None:
    market = turn.market(record.order.symbol)
    if record.status.is_final and record.final_ms is None:
        record = msgspec.structs.replace(record, final_ms=turn.now_ms)
    turn.change(market.symbol, orders={**market.orders, record.order.client_id: record})


def drop_old_records(turn: Turn, symbol: str) -> None:
    orders = turn.market(symbol).orders
    kept = {
        client_id: record
        for client_id, record in orders.items()
        if record.final_ms is None or turn.now_ms - record.final_ms < KEPT_MS
    }
    if len(kept) != len(orders):
        turn.change(symbol, orders=kept)


def find_record(market: MarketState, client_id: str | None, order_id: int | None) -> OrderRecord | None:
    if client_id is not None and client_id in market.orders:
        return market.orders[client_id]
    if order_id is None:
        return None
    return next((record for record in market.orders.values() if record.order_id == order_id), None)


def on_accepted(turn: Turn, event: OrderAccepted) -> None:
    record = find_record(turn.market(event.symbol), event.client_id, event.order_id)
    if record is None or record.status.is_final:
        _note_late(turn, event.client_id, event.symbol, "accepted")
        if record is None:
            return
    turn.set(order_errors=0)
    status = (
        event.status if event.filled_size == 0 or record.order.time_in_force is TimeInForce.IOC else OrderStatus.PARTIAL
    )
    record = msgspec.structs.replace(record, status=status, order_id=event.order_id or record.order_id, settle_ms=None)
    put_record(turn, record)
    if event.filled_size > 0:
        turn.note(
            "INFO",
            "order_filled",
            client_id=event.client_id,
            symbol=event.symbol,
            order_id=event.order_id,
            filled=event.filled_size,
            of=record.order.size,
            average_price=event.average_price,
        )
        _raise_filled(turn, record, event.filled_size, event.average_price or record.order.price)
    else:
        turn.note("INFO", "order_accepted", client_id=event.client_id, symbol=event.symbol, order_id=event.order_id)
        if record.purpose is Purpose.STOP:
            turn.change(event.symbol, dirty_ms=turn.now_ms)
            read_orders(turn, "confirm stop")


def on_rejected(turn: Turn, event: OrderRejected) -> OrderRecord | None:
    """Record the refusal; the caller decides what it means for exit and protection."""
    record = find_record(turn.market(event.symbol), event.client_id, None)
    if record is None or record.status.is_final:
        _note_late(turn, event.client_id, event.symbol, "rejected")
        return None
    record = msgspec.structs.replace(record, status=OrderStatus.REJECTED, settle_ms=None)
    put_record(turn, record)
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
    elif errors >= turn.rules.risk.max_order_errors:
        halt(turn, f"{errors} order errors in a row, the last: {event.text}")


def halt(turn: Turn, reason: str) -> None:
    """No entries from here on; protection and exits go on."""
    if turn.state.halted is None:
        turn.set(halted=reason)
        turn.note("CRITICAL", "halted", reason=reason, text="no new entries; positions stay protected", notify=True)


def on_unknown(turn: Turn, event: OrderUnknown) -> None:
    record = find_record(turn.market(event.symbol), event.client_id, None)
    if record is None or record.status.is_final:
        _note_late(turn, event.client_id, event.symbol, "unknown")
        return
    delay_ms = min(10_000, 500 * 2 ** min(record.noops_sent, 5)) if record.noops_sent else 0
    if record.noops_sent == 0 and record.purpose is Purpose.EXIT:
        delay_ms = EXIT_SETTLE_MS
    put_record(turn, msgspec.structs.replace(record, status=OrderStatus.UNKNOWN, settle_ms=turn.now_ms + delay_ms))
    turn.note(
        "WARNING", "order_unknown", client_id=event.client_id, symbol=event.symbol, error=event.error,
        purpose=record.purpose.value, tries=record.noops_sent, notify=record.noops_sent == 3,
    )  # fmt: skip
    settle_due(turn, event.symbol)


def settle_due(turn: Turn, symbol: str) -> None:
    """Ask what became of orders in doubt, each when its time has come; silence counts as doubt too."""
    for record in turn.market(symbol).orders.values():
        if record.status is OrderStatus.SENT and turn.now_ms - record.sent_ms > ANSWER_MS:
            on_unknown(turn, OrderUnknown(
                client_id=record.order.client_id, symbol=symbol, error="no answer", received_ms=turn.now_ms
            ))  # fmt: skip
        elif record.status is OrderStatus.UNKNOWN and record.settle_ms is not None and record.settle_ms <= turn.now_ms:
            turn.act(Settle(record.order, record.noops_sent))
            put_record(turn, msgspec.structs.replace(record, settle_ms=None, noops_sent=record.noops_sent + 1))


def ask_missing_fills(turn: Turn, symbol: str) -> None:
    """An order filled by its answer, and the stream is silent about it: the fill stream is mute."""
    for record in turn.market(symbol).orders.values():
        late = record.final_ms is not None and turn.now_ms - record.final_ms > FILLS_LATE_MS
        if late and record.booked_size < record.filled_size and not record.fills_asked:
            put_record(turn, msgspec.structs.replace(record, fills_asked=True))
            turn.note("WARNING", "fills_missing", client_id=record.order.client_id, symbol=symbol)
            read_account(turn, "fills missing", with_fills=True)
            if turn.state.stream_up:
                turn.act(Reconnect("fills are missing on the stream"))


def on_settled(turn: Turn, event: OrderSettled) -> OrderRecord | None:
    record = find_record(turn.market(event.symbol), event.client_id, event.order_id)
    if record is None:
        _note_late(turn, event.client_id, event.symbol, "settled")
        return None
    record = msgspec.structs.replace(
        record, status=event.status, order_id=event.order_id or record.order_id, settle_ms=None
    )
    put_record(turn, record)
    turn.change(event.symbol, dirty_ms=turn.now_ms)
    turn.note(
        "INFO", "order_settled", client_id=event.client_id, symbol=event.symbol, order_id=event.order_id,
        status=event.status.value, filled=event.filled_size, detail=event.text,
    )  # fmt: skip
    if event.filled_size > record.filled_size:
        _raise_filled(turn, record, event.filled_size, turn.market(event.symbol).current_price or record.order.price)
    read_account(turn, "order settled", with_fills=True)
    return record


def on_update(turn: Turn, event: OrderUpdate) -> None:
    """News from the user stream. Fills move the position, not this; it ends orders and stops."""
    market = turn.market(event.symbol)
    record = find_record(market, event.client_id, event.order_id)
    if record is not None and record.order_id is None:
        record = msgspec.structs.replace(record, order_id=event.order_id)
        put_record(turn, record)
    if not event.status.is_final:
        return
    stop = next((stop for stop in market.stops if stop.order_id == event.order_id), None)
    if stop is not None:
        fired = event.status is OrderStatus.FILLED
        turn.change(
            event.symbol,
            stops=tuple(other for other in turn.market(event.symbol).stops if other.order_id != event.order_id),
            stop_fired_ms=turn.now_ms if fired else market.stop_fired_ms,
            dirty_ms=turn.now_ms,
        )
        turn.note(
            "INFO", "stop_fired" if fired else "stop_gone", symbol=event.symbol, order_id=event.order_id,
            trigger_price=stop.trigger_price, status=event.venue_status,
        )  # fmt: skip
        read_account(turn, "stop gone")
    elif record is not None and record.is_live and record.purpose is Purpose.STOP:
        put_record(turn, msgspec.structs.replace(record, status=event.status))
        turn.change(event.symbol, dirty_ms=turn.now_ms)
        turn.note(
            "INFO", "order_ended", client_id=record.order.client_id, symbol=event.symbol, status=event.venue_status
        )
        read_account(turn, "stop ended")


def on_cancel_answered(turn: Turn, event: CancelAnswered) -> None:
    market = turn.market(event.symbol)
    if event.gone:
        stops = tuple(stop for stop in market.stops if stop.order_id != event.order_id)
        turn.change(event.symbol, stops=stops, dirty_ms=turn.now_ms)
        turn.note("INFO", "order_canceled", symbol=event.symbol, order_id=event.order_id)
        read_orders(turn, "after a cancel")
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


def on_fill(turn: Turn, fill: Fill) -> None:
    """Book one execution, once. Whose it was decides how the position follows."""
    if fill.fill_id in turn.state.fill_ids or fill.symbol not in turn.state.markets:
        return
    market = turn.market(fill.symbol)
    record = find_record(market, fill.client_id, fill.order_id)
    if fill.is_snapshot and record is None and fill.time_ms < turn.state.history_from_ms:
        return  # history from before this bot looked: neither today's profit nor news
    book(turn, fill)
    turn.note(
        "INFO", "fill", symbol=fill.symbol, side=fill.side.value, size=fill.size, price=fill.price, fee=fill.fee,
        closed_pnl=fill.closed_pnl, order_id=fill.order_id, fill_id=fill.fill_id,
        client_id=record.order.client_id if record else fill.client_id,
        liquidation=True if fill.is_liquidation else None, notify=fill.is_liquidation,
    )  # fmt: skip
    if record is not None:
        _fill_of_ours(turn, record, fill)
    elif not fill.is_snapshot:
        _fill_of_others(turn, fill)
    elif turn.now_ms - turn.state.read_account_ms >= READ_SPACING_MS:
        read_account(turn, "fill found in the history")


def book(turn: Turn, fill: Fill) -> None:
    """Profit and the memory of what has been booked; the ledger writes the same row."""
    net = fill.closed_pnl - fill.fee
    today = fill.time_ms // DAY_MS == turn.state.day
    fill_ids = {**turn.state.fill_ids, fill.fill_id: fill.time_ms}
    while len(fill_ids) > FILL_IDS_KEPT:
        del fill_ids[next(iter(fill_ids))]
    turn.set(
        fill_ids=fill_ids,
        last_fill_ms=max(turn.state.last_fill_ms, fill.time_ms),
        day_realized=turn.state.day_realized + (net if today else ZERO),
    )
    if not fill.is_snapshot and turn.state.equity is not None:
        turn.set(equity=turn.state.equity + net)


def _fill_of_ours(turn: Turn, record: OrderRecord, fill: Fill) -> None:
    booked = record.booked_size + fill.size
    was_final = record.status.is_final
    record = msgspec.structs.replace(record, booked_size=booked, order_id=fill.order_id)
    put_record(turn, record)
    if booked <= record.filled_size or (fill.is_snapshot and was_final):
        return
    if fill.start_position is not None and _after(fill) == held(turn.market(fill.symbol)):
        put_record(turn, msgspec.structs.replace(record, filled_size=booked))
        return  # a snapshot of the account told us already
    _raise_filled(turn, record, booked, fill.price)


def _fill_of_others(turn: Turn, fill: Fill) -> None:
    """A stop of the venue's list, or a hand on the mouse: the chain of start positions tells what is already known."""
    market = turn.market(fill.symbol)
    is_stop = any(stop.order_id == fill.order_id for stop in market.stops)
    if fill.start_position is None or fill.start_position == held(market):
        reason = "VENUE_STOP" if is_stop else "MANUAL"
        if is_stop:
            turn.change(fill.symbol, stop_fired_ms=turn.now_ms)
        move_position(turn, fill.symbol, fill.side, fill.size, fill.price, reason, adopted=not is_stop)
    elif _after(fill) != held(market):
        turn.note(
            "WARNING", "position_unclear", symbol=fill.symbol, ours=held(market), venue_before=fill.start_position
        )
    read_account(turn, "fill not of an order of this run")


def _after(fill: Fill) -> Decimal:
    assert fill.start_position is not None
    return fill.start_position + fill.side.sign * fill.size


def held(market: MarketState) -> Decimal:
    """Signed size, 0 when flat."""
    position = market.position
    return ZERO if position is None else position.side.sign * position.size


def _raise_filled(turn: Turn, record: OrderRecord, total: Decimal, price: Decimal) -> None:
    """The order has filled `total` in all: move the position by what is new of it."""
    news = total - record.filled_size
    if news <= 0:
        return
    put_record(turn, msgspec.structs.replace(record, filled_size=total))
    move_position(turn, record.order.symbol, record.order.side, news, price, record.reason)


def move_position(
    turn: Turn, symbol: str, side: Side, size: Decimal, price: Decimal, reason: str, adopted: bool = False
) -> None:
    """Open, add to, reduce, close or flip the position of a market by one execution."""
    market, rules = turn.market(symbol), turn.market_rules(symbol)
    position = market.position
    if position is None:
        set_position(turn, symbol, side, size, price, adopted)
        turn.note(
            "INFO", "position_opened", symbol=symbol, side=side.value, size=size, entry_price=price, reason=reason,
            notify=True,
        )  # fmt: skip
        return
    if side is position.side:
        total = position.size + size
        average = (position.entry_price * position.size + price * size) / total
        changed = reprice(position, total, average, rules.exits, rules.instrument)
        turn.change(symbol, position=changed, dirty_ms=turn.now_ms, armed=None)
        turn.note("INFO", "position_changed", symbol=symbol, side=side.value, size=total, entry_price=average)
        return
    _reduce(turn, symbol, position, size, price, reason, adopted)


def _reduce(
    turn: Turn, symbol: str, position: Position, size: Decimal, price: Decimal, reason: str, by_hand: bool
) -> None:
    gain = position.side.sign * (price - position.entry_price) * turn.market_rules(symbol).instrument.multiplier
    left = position.size - size
    if left > 0:
        smaller = msgspec.structs.replace(position, size=left)
        turn.change(symbol, position=smaller, dirty_ms=turn.now_ms, armed=None)
        turn.note("INFO", "position_changed", symbol=symbol, side=position.side.value, size=left, reason=reason)
        return
    close_position(turn, symbol)
    turn.note(
        "INFO", "position_closed", symbol=symbol, side=position.side.value, size=position.size, price=price,
        pnl_before_fees=f"{gain * position.size:.4f}", reason=reason, notify=True,
    )  # fmt: skip
    if left < 0:
        set_position(turn, symbol, position.side.opposite, -left, price, adopted=by_hand)
        if by_hand:  # the user turned round: that is a position opened by hand, and is protected as one
            turn.note("INFO", "position_adopted", symbol=symbol, size=-left, entry_price=price, notify=True)
            return
        turn.change(symbol, exit_reason=ExitReason.FLIPPED)
        turn.note("ERROR", "position_flipped", symbol=symbol, size=-left, text="closing it again", notify=True)


def set_position(turn: Turn, symbol: str, side: Side, size: Decimal, entry_price: Decimal, adopted: bool) -> None:
    rules = turn.market_rules(symbol)
    position = open_position(side, size, entry_price, turn.now_ms, rules.exits, rules.instrument, adopted)
    from_ms = turn.venue_now_ms if adopted else turn.market(symbol).price_time_ms
    turn.change(
        symbol, position=position, exits_from_ms=from_ms, exit_reason=None, exit_retry_ms=0, exit_refusals=0,
        stop_retry_ms=0, clean=False,
        dirty_ms=turn.now_ms, armed=None, naked_since_ms=None,
    )  # fmt: skip


def close_position(turn: Turn, symbol: str) -> None:
    turn.change(
        symbol, position=None, exit_reason=None, armed=None, naked_since_ms=None, clean=False, dirty_ms=turn.now_ms,
        liquidation_price=None,
    )  # fmt: skip


def read_orders(turn: Turn, reason: str) -> None:
    turn.set(read_orders_ms=turn.now_ms)
    turn.act(ReadOrders(reason))


def read_account(turn: Turn, reason: str, with_fills: bool = False) -> None:
    """Ask for the account; requests pile up to one: the shell runs one at a time and remembers that another is due.

    With the fills since the last one known when the stream may have missed some: each read costs IP weight (page 7.1).
    """
    turn.set(read_account_ms=turn.now_ms)
    turn.act(ReadAccount(turn.state.last_fill_ms if with_fills else None, reason))


def _note_late(turn: Turn, client_id: str, symbol: str, what: str) -> None:
    turn.note("WARNING", "order_late_answer", client_id=client_id, symbol=symbol, answer=what)
