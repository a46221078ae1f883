"""Protection and exits at a venue without reduce-only: whatever rests there may open a position (TopstepX page 2.11).

So the bot links stop and target itself, and leaves a position in this order: cancel what rests, see it ended, read what
is held, close exactly that. Called after everything that could have changed either; it takes the next step and never
waits. Which stop: `guard.py`. What rests: `working.py`.
"""

from decimal import Decimal

from core import guard, orders, positions, records, working
from core.exits import check_exit, is_crossed, stop_level, tighter_tick
from core.messages import CloseAnswered, CloseContract
from core.model import Order, OrderStatus, Purpose, Side
from core.state import ExitReason, MarketState, OrderRecord, Position, VenueStop
from core.turn import Turn

STUCK_MS = 1_000  # cancels or the read take longer than this: close what we believe is held
STUCK_BARE_MS = 500  # the same for what has been bare for two seconds already
STUCK_FLIPPED_MS = 2_000  # what turned round against our count is believed less easily
ENTRY_MS = 1_000  # an entry that has filled in part may fill on: an exit waits so long for its end
LOOK_MS = 300
BEYOND_MS = 1_000  # price past the venue's stop or target, and no fill: the bot leaves by itself
STOP_TICKS = 4  # so near to the level that was crossed, the venue's stop is left to do it
TRAIL_TICKS = 1
READ_AGAIN_MS = 150
READ_AGAIN_MS_MAX = 5_000
TURNED_MS = 3_000
CLOSE_ANSWER_MS = 10_000  # a close by contract that nobody has answered may be on its way for so long
CLOSED_MS = 1_500  # after the venue was asked to close: no order of ours, which could open what it has closed


def protect(turn: Turn, symbol: str) -> None:
    positions.release(turn, symbol)
    market = turn.market(symbol)
    if market.position is None:
        clean_up(turn, symbol)
    elif market.known:
        watch_beyond(turn, symbol)
        if not pursue(turn, symbol):
            reason = guard.keep(turn, symbol)
            if reason is not None:
                begin_exit(turn, symbol, reason)
        watch_doubt(turn, symbol)
    publish(turn, symbol)


def publish(turn: Turn, symbol: str) -> None:
    """What protects the position if the bot dies now, where status, health and the last log line look for it."""
    market = turn.market(symbol)
    stops: tuple[VenueStop, ...] = ()
    if market.position is not None:
        stops = tuple(guard.guards(market, market.position)[:1])
    if stops != market.stops:
        turn.change(symbol, stops=stops)


# --- leaving ----------------------------------------------------------------------------------------------------------


def begin_exit(turn: Turn, symbol: str, reason: ExitReason) -> None:
    """From here on the position is wanted closed; unless an order at the venue is at it."""
    market = turn.market(symbol)
    position = market.position
    if position is None or market.exit_reason is not None:
        return
    if is_left_to_venue(turn, market, position, reason):
        if market.beyond_ms is None:
            if market.left_reason is not reason:  # said once, though the price may come and go at the level
                turn.note("INFO", "left_to_venue", symbol=symbol, reason=reason.value)
            turn.change(symbol, beyond_ms=turn.now_ms, left_reason=reason)
        if turn.now_ms - (market.beyond_ms or turn.now_ms) < BEYOND_MS:
            return
        turn.note("WARNING", "venue_did_not_fill", symbol=symbol, reason=reason.value, notify=True)
    turn.change(symbol, exit_reason=reason, leaving_ms=None, beyond_ms=None)
    protect(turn, symbol)


def is_left_to_venue(turn: Turn, market: MarketState, position: Position, reason: ExitReason) -> bool:
    """Whether a working stop or target sits where the price has come to: two closes at once would open a position."""
    tick = guard.instrument_of(turn, market.symbol).tick_at(position.entry_price)
    sign = position.side.sign
    if reason is ExitReason.TAKE_PROFIT:
        return any(r.purpose is Purpose.TARGET and is_whole(r, position) for r in working.resting(market))
    if reason not in (ExitReason.STOP_LOSS, ExitReason.TRAILING_STOP):
        return False
    stop = next(iter(guard.guards(market, position)), None)
    level = position.stop_price if reason is ExitReason.STOP_LOSS else stop_level(position)
    ticks = STOP_TICKS if reason is ExitReason.STOP_LOSS else TRAIL_TICKS
    return stop is not None and sign * (level - stop.trigger_price) <= ticks * tick


def is_whole(record: OrderRecord, position: Position) -> bool:
    works = record.seen_ms is not None and record.cancel_ms is None
    return works and record.order.side is position.side.opposite and record.size_left == position.size


def watch_beyond(turn: Turn, symbol: str) -> None:
    """Price is past an order of ours at the venue: it has a second to say so."""
    market = turn.market(symbol)
    position = market.position
    if market.beyond_ms is None or position is None or market.current_price is None:
        return
    reason = check_exit(position, market.current_price, turn.now_ms, turn.market_rules(symbol).exits)
    if reason is None:
        turn.change(symbol, beyond_ms=None)
    elif turn.now_ms - market.beyond_ms >= BEYOND_MS and not is_at_target(position, market.current_price):
        begin_exit(turn, symbol, reason)


def is_at_target(position: Position, price: Decimal) -> bool:
    """A limit order fills when price goes through it; at its price it may have to wait."""
    return price == position.target_price


def pursue(turn: Turn, symbol: str) -> bool:
    """The next step out. True: the exit has the word, and no stop is kept that could outlive the position."""
    market = turn.market(symbol)
    position = market.position
    assert position is not None
    exits = [r for r in market.live_orders() if r.purpose is Purpose.EXIT]
    if exits:  # its outcome comes first; one that closed what a hand has turned round since is no reason not to protect
        closing = any(record.order.side is position.side.opposite for record in exits)
        if closing:
            guard.watch_nakedness(turn, symbol, next(iter(guard.guards(market, position)), None))
            bridge(turn, symbol, exits)
        return closing
    if market.exit_reason is None or turn.now_ms < market.exit_retry_ms or waits_for_entry(turn, market):
        return False
    if market.leaving_ms is None:
        if not turn.rules.takes_orders(symbol, turn.venue_now_ms):
            return False  # a close would be refused, and so would a new stop: the one that rests stays
        market = turn.change(symbol, leaving_ms=turn.now_ms)
    best = next(iter(guard.guards(market, position)), None)
    guard.watch_nakedness(turn, symbol, best)
    bound_ms = stuck_ms(market.exit_reason)
    stuck = turn.now_ms - (market.leaving_ms or turn.now_ms) > bound_ms
    ended = has_ended_resting(turn, symbol)
    if not ((ended or is_all_in_doubt(turn.market(symbol))) and has_read(turn, symbol)) and not stuck:
        return True
    close(turn, symbol, unconfirmed=stuck or not ended)
    return True


def stuck_ms(reason: ExitReason | None) -> int:
    if reason is ExitReason.FLIPPED:
        return STUCK_FLIPPED_MS
    return STUCK_BARE_MS if reason is ExitReason.UNPROTECTED else STUCK_MS


def bridge(turn: Turn, symbol: str, exits: list[OrderRecord]) -> None:
    """A stop while nobody can say what became of an exit: the five seconds until it counts as lost are too long (P2).

    Two or three looks have not found it by then. Should it work all the same, the stop is left over, and is withdrawn
    like any other. Where price is beyond the stop's level no stop would be taken, and only the exit helps.
    """
    market = turn.market(symbol)
    position = market.position
    assert position is not None
    if not orders.are_doubtful(turn, exits) or turn.now_ms < market.stop_retry_ms or market.unclaimed:
        return
    if guard.own_stops(market) or guard.guards(market, position) or market.naked_since_ms is None:
        return
    level, price = stop_level(position), market.reference_price(position.side.opposite)
    if price is None or is_crossed(position, level, price):
        return
    turn.note("WARNING", "exit_bridged", symbol=symbol, text="no word of the exit: a stop until there is one")
    level = tighter_tick(level, position.side, guard.instrument_of(turn, symbol))
    guard.place(turn, symbol, position, Purpose.STOP, level)


def watch_doubt(turn: Turn, symbol: str) -> None:
    """Bare for two seconds, and an order nobody has answered for forbids a stop, or an exit, of our own (P3, P4)."""
    market = turn.market(symbol)
    since = market.naked_since_ms
    if market.position is None or since is None or turn.now_ms - since < guard.NAKED_MS_MAX:
        return
    live = market.live_orders()
    if any(r.purpose is Purpose.EXIT and turn.now_ms - r.sent_ms < guard.NAKED_MS_MAX for r in live):
        return  # one of ours is at it: two closes at once would open a position
    doubtful = [record for record in live if record.status in (OrderStatus.SENT, OrderStatus.UNKNOWN)]
    if doubtful and turn.now_ms - min(record.sent_ms for record in doubtful) >= guard.NAKED_MS_MAX:
        close_at_venue(turn, symbol, "an order is in doubt")


def close_at_venue(turn: Turn, symbol: str, why: str) -> None:
    """Closing by contract needs no order of ours, and closes what the venue knows to be held, so never more (page 2.9).

    For where no order is taken (the old month after a roll), or none may be sent. Then its fill is waited for.
    """
    market = turn.market(symbol)
    if market.position is None or turn.now_ms < market.venue_close_again_ms:
        return
    if not turn.rules.takes_orders(symbol, turn.venue_now_ms):
        return  # it cancels what rests before it closes, and the close would be refused
    reason = market.exit_reason or ExitReason.UNPROTECTED
    turn.dirty(
        symbol, exit_reason=reason, leaving_ms=None, venue_close_again_ms=turn.now_ms + CLOSE_ANSWER_MS,
        exit_retry_ms=turn.now_ms + CLOSED_MS, stop_retry_ms=turn.now_ms + CLOSED_MS,
    )  # fmt: skip
    turn.act(CloseContract(symbol, turn.market_rules(symbol).instrument.contract_id, reason.value))
    turn.note(
        "WARNING", "leaving", symbol=symbol, reason=reason.value, notify=True,
        text=f"{why}: the venue is asked to close what is held",
    )  # fmt: skip


def on_close_answered(turn: Turn, event: CloseAnswered) -> None:
    """Two closes by contract at once could open a position: the next one only after this one's answer.

    It has a moment to fill, from its answer on; where none came for seconds, what it did would have been told.
    """
    if event.symbol in turn.state.markets:
        market = turn.market(event.symbol)
        again_ms = turn.now_ms + CLOSED_MS
        if event.done is None:
            asked_ms = market.venue_close_again_ms - CLOSE_ANSWER_MS
            again_ms = max(turn.now_ms + LOOK_MS, asked_ms + CLOSED_MS)
        turn.change(event.symbol, venue_close_again_ms=min(market.venue_close_again_ms, again_ms))


def is_all_in_doubt(market: MarketState) -> bool:
    """Whether two seconds went by over stops that nobody has answered for: without an id there is nothing to cancel."""
    return market.exit_reason is ExitReason.UNPROTECTED and all(r.order_id is None for r in working.resting(market))


def waits_for_entry(turn: Turn, market: MarketState) -> bool:
    """Whether an entry is in the air whose fill would come after the close."""
    entries = [r for r in market.live_orders() if r.purpose is Purpose.ENTRY]
    return any(record.filled_size == 0 or turn.now_ms - record.sent_ms < ENTRY_MS for record in entries)


def has_ended_resting(turn: Turn, symbol: str) -> bool:
    """Cancel target and stop; whether each has ended: by the stream, by its answer, or by a list without it."""
    left = working.resting(turn.market(symbol))
    for record in left:
        working.cancel(turn, record, "leaving")
    asked_ms = [record.cancel_ms for record in left if record.cancel_ms is not None]
    now_ms = turn.now_ms
    if asked_ms and now_ms - max(asked_ms) >= LOOK_MS and now_ms - turn.state.read_orders_ms >= LOOK_MS:
        records.read_orders(turn, "is it canceled")
    return not left


def has_read(turn: Turn, symbol: str) -> bool:
    """Whether the venue has said what is held since the last thing happened here; else it is asked."""
    market, state = turn.market(symbol), turn.state
    if market.confirmed:
        return True
    if state.read_account_ms < market.dirty_ms or turn.now_ms - state.read_account_ms >= LOOK_MS:
        records.look(turn, "what is left to close")
    return False


def close(turn: Turn, symbol: str, unconfirmed: bool) -> None:
    """Exactly what is held, or what we believe is held when unconfirmed: whatever rests still is swept afterwards."""
    market = turn.market(symbol)
    position, reason = market.position, market.exit_reason
    assert position is not None and reason is not None
    if unconfirmed:
        turn.note("WARNING", "exit_unconfirmed", symbol=symbol, size=position.size, text="the venue is slow: closing")
    order = orders.aggressive_order(turn, symbol, position.side.opposite, position.size, Purpose.EXIT)
    turn.change(symbol, leaving_ms=None)
    orders.send(turn, order, Purpose.EXIT, reason.value)


# --- flat -------------------------------------------------------------------------------------------------------------


def clean_up(turn: Turn, symbol: str) -> None:
    """Flat by our own count: what rests is canceled at once, for it could open a position; then the venue is asked."""
    market = turn.market(symbol)
    if not market.known or market.unclaimed:
        return
    entry = next((r.order for r in market.live_orders() if r.purpose is Purpose.ENTRY), None)
    for record in working.resting(market):
        if entry is None or not is_child(market, record, entry):
            working.cancel(turn, record, "left over while flat")
    market = turn.market(symbol)
    if market.clean or not turn.state.synced or any(not r.rests for r in market.live_orders()):
        return
    pause_ms = min(READ_AGAIN_MS * 2**market.clean_tries, READ_AGAIN_MS_MAX)
    if turn.now_ms - max(market.clean_read_ms, turn.state.read_account_ms) >= pause_ms:
        turn.change(symbol, clean_tries=min(market.clean_tries + 1, 10), clean_read_ms=turn.now_ms)
        records.look(turn, "verify flat")


def is_child(market: MarketState, record: OrderRecord, entry: Order) -> bool:
    """Whether `record` belongs to an entry whose fill is still on its way."""
    parent = market.orders[entry.client_id].order_id
    return record.order.client_id.startswith(entry.client_id) or (parent is not None and record.parent_id == parent)


def has_turned(turn: Turn, symbol: str, side: Side, size: Decimal) -> bool:
    """Whether a position that the venue names is one that a close of ours has opened just now (P4)."""
    if turn.rules.can_reduce_only:
        return False
    return any(
        record.purpose is not Purpose.ENTRY
        and record.order.side is side
        and record.order.size >= size
        and (record.booked_size > 0 or record.status is OrderStatus.FILLED)
        and turn.now_ms - (record.final_ms or turn.now_ms) < TURNED_MS
        for record in turn.market(symbol).orders.values()
    )
