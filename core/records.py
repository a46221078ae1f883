"""Order records, and the questions to the venue: what `orders.py` and `positions.py` both need."""

import msgspec

from core.messages import ReadAccount, ReadOrders
from core.state import MarketState, OrderRecord, State
from core.turn import Turn

LATE_MS = 10_000  # an order's fills are looked for from so long before it was sent, or before a resting one has ended
GAP_MS = 10_000
MISSED_FOR_MS = 5_000
# No read was answered for so long, half again as long as is usual at the venue (reconcile.next_read_ms): the next one
# may use what the budget keeps for orders.
OVERDUE_MS, OVERDUE_FUTURES_MS = 45_000, 15_000
DISPUTED_MS, MISSED_MS = 200, 500  # between two reads then
# A hub without history may swallow a fill and look alive (TopstepX): so often fills are read in any case, so far back.
SWEEP_MS, SWEEP_BACK_MS = 25_000, 60_000


def put_record(turn: Turn, record: OrderRecord) -> OrderRecord:
    """Keep `record`, stamped when it is final; returns it as kept."""
    market = turn.market(record.order.symbol)
    if record.status.is_final and record.final_ms is None:
        record = msgspec.structs.replace(record, final_ms=turn.now_ms)
    turn.change(market.symbol, orders={**market.orders, record.order.client_id: record})
    return record


def find_record(market: MarketState, client_id: str | None, order_id: int | None) -> OrderRecord | None:
    if client_id is not None and client_id in market.orders:
        return market.orders[client_id]
    if order_id is None:
        return None
    return next((record for record in market.orders.values() if record.order_id == order_id), None)


def read_orders(turn: Turn, reason: str, hurry: bool = False) -> None:
    turn.set(read_orders_ms=turn.now_ms)
    turn.act(ReadOrders(reason, hurry or is_urgent(turn)))


def is_urgent(turn: Turn) -> bool:
    """Whether a position is on its way out, bare, or in dispute: nothing else may use up what can be asked."""
    return turn.state.disputed or any(
        market.position is not None and (market.exit_reason is not None or market.naked_since_ms is not None)
        for market in turn.state.markets.values()
    )


def read_account(turn: Turn, reason: str, with_fills: bool = False) -> None:
    """Ask for the account; requests pile up to one: the shell runs one at a time and remembers that another is due.

    With the fills since the last one known when the stream may have missed some: each read costs IP weight (page 7.1).
    """
    turn.set(read_account_ms=turn.now_ms)
    since_ms: int | None = turn.state.last_fill_ms
    if not turn.rules.can_reduce_only:
        with_fills = with_fills or turn.state.gap_from_ms is not None
        since_ms = fills_from_ms(turn)
    # where fills may have been missed a hand may have opened what nobody protects: that read must not wait for room
    is_swept = turn.rules.can_reduce_only or turn.state.swept_ms > 0
    overdue_ms = OVERDUE_MS if turn.rules.can_reduce_only else OVERDUE_FUTURES_MS
    is_overdue = turn.now_ms - turn.state.answered_ms >= overdue_ms or not is_swept
    is_hurried = with_fills or is_overdue or is_urgent(turn)
    if not turn.rules.can_reduce_only and (with_fills or turn.now_ms - turn.state.swept_ms >= SWEEP_MS):
        turn.set(swept_ms=turn.now_ms)
        since_ms = min(since_ms or 0, turn.venue_now_ms - SWEEP_BACK_MS)
    elif not with_fills:
        since_ms = None
    turn.act(ReadAccount(since_ms, reason, is_hurried))


def read_again_ms(state: State, now_ms: int) -> int | None:
    """How soon after a read the next one is wanted where it is in dispute, or not answered since fills may be missing.

    The latter for some seconds only: at a venue that is away, quick questions would use up what orders need. None: as
    usual.
    """
    if state.disputed:
        return DISPUTED_MS
    missed = state.gap_from_ms is not None and state.answered_ms < state.gap_ms
    return MISSED_MS if missed and now_ms - state.gap_ms < MISSED_FOR_MS else None


def fills_from_ms(turn: Turn) -> int:
    """Where the fills must be read from (venue clock), if no stream tells its history after a subscribe.

    Before the newest one known: from where the stream had its gap, and from orders that have filled more than was told.
    """
    state = turn.state
    since_ms = state.last_fill_ms if state.gap_from_ms is None else min(state.gap_from_ms, state.last_fill_ms)
    for market in state.markets.values():
        for record in market.orders.values():
            if record.booked_size < record.filled_size or (record.is_live and not record.rests):
                began_ms = (record.final_ms or turn.now_ms) - LATE_MS if record.rests else record.sent_ms - LATE_MS
                since_ms = min(since_ms, began_ms + state.offset_ms)
    return since_ms


def mark_gap(turn: Turn) -> None:
    """Fills may have been missed: until some time after their stream has come, reads reach back to here."""
    if not turn.rules.can_reduce_only:
        state = turn.state
        since_ms = state.last_fill_ms - LATE_MS if state.gap_from_ms is None else state.gap_from_ms
        turn.set(gap_from_ms=since_ms, gap_ms=turn.now_ms)


def close_gap(turn: Turn, requested_ms: int) -> None:
    """An account has been read, with fills as every read since the gap; those asked for before it are over by now."""
    if turn.state.gap_from_ms is not None and requested_ms - turn.state.gap_ms >= GAP_MS:
        turn.set(gap_from_ms=None)


def look(turn: Turn, reason: str) -> None:
    """Ask for the account unless this event has done so already; with fills where no stream brings them."""
    if turn.state.read_account_ms != turn.now_ms:
        read_account(turn, reason, with_fills=not turn.state.fills_up)
