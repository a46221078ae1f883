"""The stop, and the target, of an open position at a venue without reduce-only (TopstepX page 2.11).

What protects is one working stop on the other side for exactly the position's size: a larger one would turn the
position round, a smaller one does not cover. It is changed in place, never canceled and placed anew: that is a gap.
"""

from decimal import Decimal

import msgspec

from core import orders, records, working
from core.exits import is_crossed, stop_level, tighter_tick
from core.messages import Modify, ModifyAnswered, RejectReason
from core.model import Instrument, Order, OrderType, Purpose, Side, TimeInForce
from core.state import ExitReason, MarketState, OrderRecord, Position, VenueStop
from core.turn import Turn

NAKED_MS_MAX = 1_800  # after that without a working stop, the position goes: 2 s (P2) less a tick
CHILD_MS = 1_000  # a bracket's stop is there within some 30 ms; after this the bot places its own
LATE_CHILD_MS = 2_000  # so long after its entry was sent, a bracket's stop is there or will not come
LOOK_MS = 300  # between two reads of the working orders while one is awaited
GONE_MS = 1_000  # after a stop ended unasked the account is read first, for so long at most
GROW_MS = 1_000  # the same before a stop grows
STOP_LIFE_MS = 10_000
MOVE_MS_MIN = 3_000  # between two moves of the stop: each is one of 200 calls a minute
MODIFY_MS = 3_000  # a change that nobody answered is looked up after this
AGAIN_MS = 500  # between an answer and the next change: where venue and bot count differently, none chases the other
AGAIN_MS_MAX = 8_000  # after refusals: doubled each time
SAFE_TICKS = 4  # between price and a stop that is moved (page 2.11)
TARGET_RETRY_MS = 30_000


def own_stops(market: MarketState) -> list[OrderRecord]:
    return [record for record in working.resting(market) if record.purpose is Purpose.STOP]


def guards(market: MarketState, position: Position) -> list[VenueStop]:
    """Every stop that protects the position, tightest first; ours unless their end was asked for."""
    side, size = position.side.opposite, position.size
    found = [
        VenueStop(r.order_id, side, r.order.trigger_price, size, False)
        for r in market.live_orders()
        if r.purpose is Purpose.STOP and r.cancel_ms is None and r.seen_ms is not None
        and r.order.side is side and r.size_left == size
        and r.order_id is not None and r.order.trigger_price is not None
    ]  # fmt: skip
    if market.foreign:
        found += by_hand(market, position)
    if len(found) > 1:
        found.sort(key=lambda s: -position.side.sign * s.trigger_price)
    return found


def by_hand(market: MarketState, position: Position) -> list[VenueStop]:
    """Stops that are not ours and cover exactly what is held: they count, and are never touched."""
    return [
        VenueStop(order.order_id, order.side, order.trigger_price, order.size, False)
        for order in market.foreign
        if order.trigger_price is not None and working.covers(order, position)
    ]  # fmt: skip


def keep(turn: Turn, symbol: str) -> ExitReason | None:
    """The next step towards one stop of the right size and level; a reason when the position must be left instead."""
    forget_unanswered(turn, symbol)
    withdraw_spare(turn, symbol)
    market = turn.market(symbol)
    position = market.position
    assert position is not None
    found = next(iter(guards(market, position)), None)
    reason = watch_nakedness(turn, symbol, found)
    if reason is not None and market.exit_reason is None:
        return reason
    for record in working.resting(market):
        resize(turn, record, position)
    if found is None:
        return place_missing(turn, symbol, position)
    trail(turn, symbol, position, found)
    keep_target(turn, symbol, position)
    return None


def watch_nakedness(turn: Turn, symbol: str, found: VenueStop | None) -> ExitReason | None:
    """Time the moments without a working stop; past the bound the position goes (P2)."""
    market = turn.market(symbol)
    since = market.naked_since_ms
    if found is not None:
        if since is not None:
            turn.note(
                "INFO", "protected", symbol=symbol, order_id=found.order_id, stop=found.trigger_price,
                unprotected_ms=turn.now_ms - since,
            )  # fmt: skip
            turn.change(symbol, naked_since_ms=None, naked_said=False)
        return None
    if since is None:
        turn.change(symbol, naked_since_ms=turn.now_ms)
        return None
    if turn.now_ms - since <= NAKED_MS_MAX:
        return None
    if not market.naked_said:
        turn.change(symbol, naked_said=True)
        turn.note(
            "ERROR", "unprotected", symbol=symbol, for_ms=turn.now_ms - since, text="closing the position", notify=True
        )
    return ExitReason.UNPROTECTED


# --- one, and of the right size ---------------------------------------------------------------------------------------


def withdraw_spare(turn: Turn, symbol: str) -> None:
    """Cancel what could open a position: orders on its own side, a second stop or target, a stop beside a hand's."""
    market = turn.market(symbol)
    position = market.position
    assert position is not None
    seen = [record for record in working.resting(market) if record.order_id is not None]
    for record in seen:
        if record.order.side is position.side:
            working.cancel(turn, record, "left over from an earlier position")
    for purpose in (Purpose.STOP, Purpose.TARGET):
        alike = [r for r in seen if r.purpose is purpose and r.order.side is not position.side and r.cancel_ms is None]
        good = [record for record in alike if record.seen_ms is not None]
        best = max(good, key=lambda r: (r.size_left == position.size, r.parent_id is not None), default=None)
        for record in alike:
            if best is not None and record is not best:
                working.cancel(turn, record, "one is enough")
        if purpose is Purpose.STOP and best is not None and by_hand(market, position):
            working.cancel(turn, best, "a stop set by hand covers the position")
    for record in seen:
        if record.cancel_ms is not None:
            working.cancel(turn, turn.market(symbol).orders[record.order.client_id], "still there")


def resize(turn: Turn, record: OrderRecord, position: Position) -> None:
    """In place. Smaller at once; larger only when the venue has confirmed what is held, or has had its time to."""
    market = turn.market(record.order.symbol)
    record = market.orders[record.order.client_id]
    left = record.size_left
    if record.seen_ms is None or record.cancel_ms is not None or record.order.side is position.side:
        return
    naked_ms = 0 if market.naked_since_ms is None else turn.now_ms - market.naked_since_ms
    if left == position.size or (left < position.size and not market.confirmed and naked_ms < GROW_MS):
        return
    modify(turn, record, "size", size=record.filled_size + position.size)


def modify(
    turn: Turn, record: OrderRecord, reason: str, size: Decimal | None = None, level: Decimal | None = None
) -> None:
    """Ask for a change of a working stop or target. One is on its way at a time."""
    order, order_id = record.order, record.order_id
    if record.wanted is not None or turn.now_ms < record.modify_again_ms or order_id is None:
        return
    wanted = msgspec.structs.replace(
        order,
        size=order.size if size is None else size,
        trigger_price=order.trigger_price if level is None else level,
        price=order.price if level is None else level,
    )
    records.put_record(turn, msgspec.structs.replace(record, wanted=wanted, modify_ms=turn.now_ms))
    turn.change(order.symbol, dirty_ms=max(turn.market(order.symbol).dirty_ms, turn.now_ms))  # older lists do not know
    turn.act(Modify(order.symbol, order_id, size, level, None, reason))
    turn.note(
        "INFO", "modify_sent", symbol=order.symbol, client_id=order.client_id, order_id=order_id, size=size,
        trigger_price=level, reason=reason,
    )  # fmt: skip


def on_modify_answered(turn: Turn, event: ModifyAnswered) -> ExitReason | None:
    """A reason to leave, when a level was refused because price is there already (page 2.8)."""
    record = records.find_record(turn.market(event.symbol), None, event.order_id)
    if record is None or record.wanted is None:
        return None
    turn.dirty(event.symbol)
    if event.done is None:
        turn.note("WARNING", "modify_unknown", symbol=event.symbol, order_id=event.order_id, error=event.error)
        records.read_orders(turn, "a change in doubt")
        return None
    wanted, before = record.wanted, record.order
    is_limited = event.reason is RejectReason.RATE_LIMIT and wanted.size != before.size
    wait_ms_max = orders.LIMITED_MS_MAX if is_limited else AGAIN_MS_MAX
    wait_ms = AGAIN_MS if event.done else min(AGAIN_MS * 2**record.tries, wait_ms_max)
    records.put_record(
        turn,
        msgspec.structs.replace(
            record, order=wanted if event.done else before, wanted=None, modify_again_ms=turn.now_ms + wait_ms,
            tries=0 if event.done else min(record.tries + 1, 10),
        ),
    )  # fmt: skip
    if event.done:
        if not turn.state.fills_up:
            records.read_orders(turn, "read a change back")
        return None
    reason = None if event.reason is None else event.reason.value
    turn.note(
        "WARNING", "modify_refused", symbol=event.symbol, order_id=event.order_id, reason=reason, error=event.error
    )
    if event.reason is RejectReason.BAD_TRIGGER and wanted.trigger_price != before.trigger_price:
        return ExitReason.TRAILING_STOP
    records.look(turn, "a change was refused")
    return None


def forget_unanswered(turn: Turn, symbol: str) -> None:
    for record in working.resting(turn.market(symbol)):
        if record.wanted is not None and turn.now_ms - record.modify_ms > MODIFY_MS:
            records.put_record(turn, msgspec.structs.replace(record, wanted=None))
            turn.note("WARNING", "modify_unanswered", symbol=symbol, order_id=record.order_id)
            records.read_orders(turn, "a change that nobody answered")


# --- a stop that is missing -------------------------------------------------------------------------------------------


def place_missing(turn: Turn, symbol: str, position: Position) -> ExitReason | None:
    market = turn.market(symbol)
    since = market.naked_since_ms if market.naked_since_ms is not None else turn.now_ms
    naked_ms = turn.now_ms - since
    patience_ms = child_patience_ms(turn, market)
    awaited = bool(own_stops(market)) or naked_ms < patience_ms
    if awaited:
        is_due = naked_ms >= LOOK_MS or patience_ms == LOOK_MS
        if is_due and turn.now_ms - turn.state.read_orders_ms >= LOOK_MS:
            records.read_orders(turn, "confirm stop")
        return None
    if turn.now_ms < market.stop_retry_ms:
        return None
    if not market.confirmed and turn.now_ms - market.gone_ms < GONE_MS:
        read_ms = turn.state.read_account_ms
        if read_ms < market.dirty_ms or turn.now_ms - read_ms >= LOOK_MS:
            records.look(turn, "a stop is gone")
        return None
    level = stop_level(position)
    price = market.reference_price(position.side.opposite)
    if price is not None and is_crossed(position, level, price) and market.exit_reason is None:
        return ExitReason.STOP_LOSS  # a stop there would be refused, or fire at once
    place(turn, symbol, position, Purpose.STOP, tighter_tick(level, position.side, instrument_of(turn, symbol)))
    return None


def child_patience_ms(turn: Turn, market: MarketState) -> int:
    """For how long a bracket's stop is awaited; one look is enough where we learn late that its entry has filled.

    And where a list that may be too old to be believed names one: it would become two, and both could fire.
    """
    entries = expecting(market)
    if not entries:
        named_ms = market.stop_named_ms
        return LOOK_MS if named_ms is not None and turn.now_ms - named_ms <= LOOK_MS else 0
    return CHILD_MS if any(turn.now_ms - record.sent_ms < LATE_CHILD_MS for record in entries) else LOOK_MS


def expecting(market: MarketState) -> list[OrderRecord]:
    """Entries with a bracket that have filled, and whose stop has not been seen yet."""
    stops = [record for record in market.orders.values() if record.purpose is Purpose.STOP]
    tags = {record.order.client_id for record in stops}
    parents = {record.parent_id for record in stops}
    return [
        record
        for record in market.orders.values()
        if record.order.bracket is not None
        and record.filled_size > 0
        and f"{record.order.client_id}-SL" not in tags
        and (record.order_id is None or record.order_id not in parents)
    ]


def instrument_of(turn: Turn, symbol: str) -> Instrument:
    return turn.market_rules(symbol).instrument


def place(turn: Turn, symbol: str, position: Position, purpose: Purpose, level: Decimal) -> None:
    is_stop = purpose is Purpose.STOP
    order = Order(
        client_id=turn.next_client_id(),
        symbol=symbol,
        side=position.side.opposite,
        size=position.size,
        type=OrderType.STOP if is_stop else OrderType.LIMIT,
        price=level,
        time_in_force=TimeInForce.GTC,
        trigger_price=level if is_stop else None,
        nonce=turn.next_nonce(),
        expires_ms=turn.venue_now_ms + STOP_LIFE_MS,
    )
    orders.send(turn, order, purpose, "protect" if is_stop else "target")


# --- moving with the market -------------------------------------------------------------------------------------------


def trail(turn: Turn, symbol: str, position: Position, found: VenueStop) -> None:
    """Move our stop in place when that improves it by a step and leaves the venue room."""
    market = turn.market(symbol)
    record = records.find_record(market, None, found.order_id)
    if record is None or turn.now_ms - market.stop_moved_ms < MOVE_MS_MIN:
        return
    rules, instrument = turn.market_rules(symbol).exits, instrument_of(turn, symbol)
    level = safe_level(market, position, tighter_tick(stop_level(position), position.side, instrument), instrument)
    step = max(rules.trailing_step.at(position.best_price, instrument), instrument.tick_at(level))
    if position.side.sign * (level - found.trigger_price) < step:
        return
    modify(turn, record, "trail", level=level)
    if turn.market(symbol).orders[record.order.client_id].wanted is not None:
        turn.change(symbol, stop_moved_ms=turn.now_ms)


def safe_level(market: MarketState, position: Position, level: Decimal, instrument: Instrument) -> Decimal:
    """`level`, or the nearest one that keeps four ticks from the price a long would be sold at, a short bought at."""
    long = position.side is Side.BUY
    quoted = market.bid if long else market.ask
    price = quoted if quoted is not None else market.current_price
    if price is None:
        return level
    limit = price - position.side.sign * SAFE_TICKS * instrument.tick_at(price)
    limit = instrument.round_away(limit, position.side.opposite)
    return min(level, limit) if long else max(level, limit)


def keep_target(turn: Turn, symbol: str, position: Position) -> None:
    """A target of our own where entries go without a bracket; elsewhere the bracket's, or the bot itself."""
    market = turn.market(symbol)
    target = position.target_price
    if turn.rules.entry_brackets and not turn.state.brackets_refused:
        return
    if target is None or position.adopted or market.exit_reason is not None or turn.now_ms < market.target_retry_ms:
        return
    if any(record.purpose is Purpose.TARGET for record in working.resting(market)) or market.foreign:
        return
    instrument = instrument_of(turn, symbol)
    price = market.reference_price(position.side.opposite)
    level = instrument.round_price(target)
    if level <= 0:
        return  # a short's target further away than the price is high
    if price is None or position.side.sign * (target - price) <= 0:
        return  # reached: the exit rules see to it
    place(turn, symbol, position, Purpose.TARGET, level)
