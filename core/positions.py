"""What answers and fills make of the position. They tell of the same executions, and may come in any order.

Double counting is the danger. Each order record keeps the most it has been told (`filled_size`); only what goes beyond
that moves the position. Fills that are not of an order of this run are chained by the size held before them.
"""

from decimal import Decimal

import msgspec

from core import records
from core.exits import open_position, reprice
from core.model import ZERO, Fill, OrderStatus, Purpose, Side
from core.state import ExitReason, MarketState, OrderRecord, Position
from core.turn import Turn

DAY_MS = 86_400_000
READ_SPACING_MS = 500
FILL_IDS_KEPT = 2_000
READ_AHEAD_MS_MAX = 5_000  # of a read's time, else it was dated by a clock that was wrong
AHEAD_MS_MAX = 600_000  # of a fill's time; a clock that has not been measured yet may be wrong by less
HOLD_MS = 400  # a fill that may belong to an order without an id waits this long for the id


def held(market: MarketState) -> Decimal:
    """Signed size, 0 when flat."""
    position = market.position
    return ZERO if position is None else position.side.sign * position.size


def on_fill(turn: Turn, fill: Fill) -> None:
    """Book one execution, once. Whose it was decides how the position follows."""
    if fill.fill_id in turn.state.fill_ids or fill.symbol not in turn.state.markets:
        return
    market = turn.market(fill.symbol)
    record = records.find_record(market, fill.client_id, fill.order_id)
    if fill.is_snapshot and record is None and fill.time_ms < turn.state.history_from_ms:
        return  # history from before this bot looked: neither today's profit nor news
    if fill.time_ms > turn.venue_now_ms + AHEAD_MS_MAX:  # else no account read would be believed until then
        fill = msgspec.structs.replace(fill, time_ms=turn.venue_now_ms)
    book(turn, fill)
    turn.note(
        "INFO", "fill", symbol=fill.symbol, side=fill.side.value, size=fill.size, price=fill.price, fee=fill.fee,
        closed_pnl=fill.closed_pnl, order_id=fill.order_id, fill_id=fill.fill_id,
        client_id=record.order.client_id if record else fill.client_id,
        liquidation=True if fill.is_liquidation else None, notify=fill.is_liquidation,
    )  # fmt: skip
    if record is not None:
        _fill_of_ours(turn, record, fill)
    elif not turn.rules.can_reduce_only and claimant(market, fill) is not None:
        turn.dirty(fill.symbol, unclaimed=(*market.unclaimed, fill))
    elif not fill.is_snapshot:
        _fill_of_others(turn, fill)
    elif turn.now_ms - turn.state.read_account_ms >= READ_SPACING_MS:
        records.read_account(turn, "fill found in the history")
    turn.change(fill.symbol, moved_ms=max(turn.market(fill.symbol).moved_ms, fill.time_ms))
    if not turn.rules.can_reduce_only and not fill.is_snapshot:
        records.look(turn, "fill")  # no fill names the size held before it: the venue's word confirms our count


def book(turn: Turn, fill: Fill) -> None:
    """Profit, and the memory of what has been booked; the ledger writes the same row."""
    net = fill.closed_pnl - fill.fee
    day = fill.time_ms // DAY_MS
    roll_day(turn, day)
    remember(turn, fill)
    turn.set(
        last_fill_ms=max(turn.state.last_fill_ms, fill.time_ms),
        day_realized=turn.state.day_realized + (net if day == turn.state.day else ZERO),
    )
    if not fill.is_snapshot and turn.state.equity is not None and turn.state.balance is None:
        turn.set(equity=turn.state.equity + net)


def remember(turn: Turn, fill: Fill) -> None:
    fill_ids = {**turn.state.fill_ids, fill.fill_id: fill.time_ms}
    while len(fill_ids) > FILL_IDS_KEPT:
        del fill_ids[next(iter(fill_ids))]
    turn.set(fill_ids=fill_ids)


def roll_day(turn: Turn, day: int) -> None:
    """A new UTC day by the venue's clock: the daily figures begin anew. Never back."""
    state = turn.state
    if day > state.day:
        turn.set(day=day, day_realized=ZERO, brackets_refused=False)
        turn.note("INFO", "new_day", realized_before=f"{state.day_realized:.2f}")


def _fill_of_ours(turn: Turn, record: OrderRecord, fill: Fill) -> None:
    booked = record.booked_size + fill.size
    was_final = record.status.is_final
    is_whole = not record.order.whole_position and booked >= record.order.size
    if is_whole and not was_final:  # the answer may be lost: nothing more can come of this order
        record = msgspec.structs.replace(record, status=OrderStatus.FILLED, final_ms=turn.now_ms, settle_ms=None)
    record = msgspec.structs.replace(record, booked_size=booked, order_id=fill.order_id)
    records.put_record(turn, record)
    if booked <= record.filled_size or (fill.is_snapshot and was_final):
        return
    market = turn.market(fill.symbol)
    chained = fill.start_position is not None and fill.time_ms <= market.snapshot_ms and _after(fill) == held(market)
    if chained or is_contained(turn, market, record, fill):
        records.put_record(turn, msgspec.structs.replace(record, filled_size=booked))
        watch_turned(turn, record, fill)
        return  # a snapshot of the account has told us already
    raise_filled(turn, record, booked, fill.price)


def _fill_of_others(turn: Turn, fill: Fill) -> None:
    """A stop of the venue's list, or a hand on the mouse: the chain of start positions tells what is already known."""
    market = turn.market(fill.symbol)
    if is_contained(turn, market, None, fill):
        return
    is_stop = any(stop.order_id == fill.order_id for stop in market.stops)
    if fill.start_position is None or fill.start_position == held(market):
        if is_stop:
            turn.change(fill.symbol, stop_fired_ms=turn.now_ms)
        reason = "VENUE_STOP" if is_stop else "LIQUIDATION" if fill.is_liquidation else "MANUAL"
        move_position(turn, fill.symbol, fill.side, fill.size, fill.price, reason, fill.time_ms, by_hand=not is_stop)
    elif _after(fill) != held(market):
        turn.note(
            "WARNING", "position_unclear", symbol=fill.symbol, ours=held(market), venue_before=fill.start_position
        )
    records.read_account(turn, "fill not of an order of this run")


def _after(fill: Fill) -> Decimal:
    assert fill.start_position is not None
    return fill.start_position + fill.side.sign * fill.size


def raise_filled(turn: Turn, record: OrderRecord, total: Decimal, price: Decimal) -> None:
    """The order has filled `total` in all: move the position by what is new of it.

    An exit's answer cannot take it past flat: reduce-only is clamped by the venue, and the answer may name the size
    asked for. Only a fill can flip.
    """
    news = total - record.filled_size
    if news <= 0:
        return
    market = turn.market(record.order.symbol)
    is_answer = total > record.booked_size
    if is_answer:  # it names no time: it is news at least to reads as old as the last price
        turn.change(market.symbol, moved_ms=max(market.moved_ms, market.price_time_ms))
    if is_answer and record.order.reduce_only:
        ours = held(market)
        news = min(news, abs(ours)) if ours * record.order.side.sign < 0 else ZERO
    closes = not turn.rules.can_reduce_only and record.purpose is not Purpose.ENTRY
    if closes and record.rests and is_answer:
        ours = held(market)  # its size may be older than the position: past flat, only its fills are believed
        news = min(news, abs(ours)) if ours * record.order.side.sign < 0 else ZERO
    records.put_record(turn, msgspec.structs.replace(record, filled_size=record.filled_size + news))
    if news > 0 and closes:
        _close_by(turn, record, news, price)
    elif news > 0:
        order = record.order
        move_position(turn, order.symbol, order.side, news, price, record.reason, None)


def _close_by(turn: Turn, record: OrderRecord, size: Decimal, price: Decimal) -> None:
    """An order that was to close has filled where nothing reduces only: where nothing was left, it has opened."""
    order = record.order
    if record.rests:
        turn.change(order.symbol, gone_ms=turn.now_ms)
    reason = {Purpose.STOP: "VENUE_STOP", Purpose.TARGET: "VENUE_TARGET"}.get(record.purpose, record.reason)
    if turn.market(order.symbol).position is None:
        turn_round(turn, order.symbol, order.side, size, price, None, by_hand=False)
    else:
        move_position(turn, order.symbol, order.side, size, price, reason, None)


def is_contained(turn: Turn, market: MarketState, record: OrderRecord | None, fill: Fill) -> bool:
    """Whether an account read has told us already, where fills name no size held before them.

    By the venue's clock; an entry or exit also by ours, for no read is believed while one is in the air. A read that is
    ahead of that clock was dated while ours had jumped.
    """
    if turn.rules.can_reduce_only or fill.time_ms > market.snapshot_ms:
        return False
    if market.snapshot_ms > turn.venue_now_ms + READ_AHEAD_MS_MAX:
        return False
    return record is None or record.rests or market.read_ms > record.sent_ms


def watch_turned(turn: Turn, record: OrderRecord, fill: Fill) -> None:
    """The read came before the fill and was taken for a hand's doing: a close of ours has opened what it named (P4)."""
    market = turn.market(fill.symbol)
    position = market.position
    if turn.rules.can_reduce_only or record.purpose is Purpose.ENTRY or position is None:
        return
    if position.adopted and position.side is fill.side and position.size <= fill.size and market.exit_reason is None:
        turn.change(fill.symbol, exit_reason=ExitReason.FLIPPED)
        turn.note(
            "ERROR", "position_flipped", symbol=fill.symbol, size=position.size, text="closing it again", notify=True
        )


def claimant(market: MarketState, fill: Fill) -> OrderRecord | None:
    """The order in the air that the fill may belong to: it has no id yet, for its fill was faster than its answer."""
    nameless = [r for r in market.live_orders() if r.order_id is None and r.order.side is fill.side]
    fitting = [record for record in nameless if record.booked_size + fill.size <= record.order.size]
    return min(fitting, key=lambda record: record.rests, default=None)  # a market order sooner than one that waits


def release(turn: Turn, symbol: str) -> None:
    """Fills that wait for an id: given to their order when it has its id, and after a short while to the likely one."""
    waiting = turn.market(symbol).unclaimed
    if not waiting:
        return
    turn.change(symbol, unclaimed=())
    for fill in waiting:
        market = turn.market(symbol)
        record = records.find_record(market, None, fill.order_id)
        likely = claimant(market, fill)
        if record is None and likely is not None and turn.now_ms - fill.received_ms < HOLD_MS:
            turn.change(symbol, unclaimed=(*market.unclaimed, fill))
            continue
        if record is None and likely is not None and not likely.rests:
            record = likely  # a stop or target that fills before it has been answered is less likely than a hand
        if record is None:
            _fill_of_others(turn, fill)
        else:
            _fill_of_ours(turn, record, fill)


def move_position(
    turn: Turn, symbol: str, side: Side, size: Decimal, price: Decimal, reason: str, time_ms: int | None,
    by_hand: bool = False,
) -> None:  # fmt: skip
    """Open, add to, reduce, close or flip the position of a market by one execution at `time_ms` (venue clock)."""
    market, rules = turn.market(symbol), turn.market_rules(symbol)
    position = market.position
    if position is None:
        set_position(turn, symbol, side, size, price, time_ms, adopted=by_hand)
        turn.note(
            "INFO", "position_opened", symbol=symbol, side=side.value, size=size, entry_price=price, reason=reason,
            notify=True,
        )  # fmt: skip
        return
    if side is position.side:
        total = position.size + size
        average = (position.entry_price * position.size + price * size) / total
        turn.dirty(symbol, position=reprice(position, total, average, rules.exits, rules.instrument), armed=None)
        turn.note("INFO", "position_changed", symbol=symbol, side=side.value, size=total, entry_price=average)
        return
    left = position.size - size
    if left > 0:
        turn.dirty(symbol, position=msgspec.structs.replace(position, size=left), armed=None)
        turn.note("INFO", "position_changed", symbol=symbol, side=position.side.value, size=left, reason=reason)
        return
    _close(turn, symbol, position, price, reason)
    if left < 0:
        turn_round(turn, symbol, position.side.opposite, -left, price, time_ms, by_hand)


def _close(turn: Turn, symbol: str, position: Position, price: Decimal, reason: str) -> None:
    multiplier = turn.market_rules(symbol).instrument.multiplier
    gain = position.side.sign * (price - position.entry_price) * position.size * multiplier
    close_position(turn, symbol)
    turn.note(
        "INFO", "position_closed", symbol=symbol, side=position.side.value, size=position.size, price=price,
        pnl_before_fees=f"{gain:.4f}", reason=reason, notify=True,
    )  # fmt: skip
    records.read_account(turn, "verify flat")


def turn_round(
    turn: Turn, symbol: str, side: Side, size: Decimal, price: Decimal, time_ms: int | None, by_hand: bool
) -> None:
    """More was closed than was held. By hand: a position like any other. By us or our stop: repaired at once (P4)."""
    set_position(turn, symbol, side, size, price, time_ms, adopted=by_hand)
    if by_hand:
        turn.note("INFO", "position_adopted", symbol=symbol, size=size, entry_price=price, notify=True)
        return
    turn.change(symbol, exit_reason=ExitReason.FLIPPED)
    turn.note("ERROR", "position_flipped", symbol=symbol, size=size, text="closing it again", notify=True)


def set_position(
    turn: Turn, symbol: str, side: Side, size: Decimal, entry_price: Decimal, time_ms: int | None, adopted: bool
) -> None:
    """A new position, held since `time_ms` (venue clock; None: the last price seen). Older trades do not judge it."""
    rules = turn.market_rules(symbol)
    position = open_position(side, size, entry_price, turn.now_ms, rules.exits, rules.instrument, adopted)
    turn.dirty(
        symbol, position=position, exits_from_ms=time_ms or turn.market(symbol).price_time_ms, exit_reason=None,
        exit_retry_ms=0, exit_refusals=0, stop_retry_ms=0, clean=False, flat_seen=False, known=True, armed=None,
        naked_since_ms=None, naked_said=False, beyond_ms=None, left_reason=None, leaving_ms=None, target_retry_ms=0,
    )  # fmt: skip


def close_position(turn: Turn, symbol: str) -> None:
    turn.dirty(
        symbol, position=None, exit_reason=None, armed=None, naked_since_ms=None, clean=False, flat_seen=False,
        liquidation_price=None, naked_said=False, beyond_ms=None, left_reason=None, leaving_ms=None,
    )  # fmt: skip
