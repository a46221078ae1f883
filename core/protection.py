"""Keep what the venue holds equal to what the position needs: one stop, the right one, confirmed; none when flat.

Called after everything that could have changed either. It compares and takes the next step; it never waits, and asking
it twice does no harm. Recipes: protocol page 8.4.
"""

from decimal import Decimal

import msgspec

from core import oco, orders, records, working
from core.exits import inside_liquidation, is_crossed, stop_level, tighter_tick
from core.messages import Arm
from core.model import ZERO, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce, WorkingOrder
from core.state import ExitReason, MarketState, OrderRecord, Position, VenueStop
from core.turn import Turn

NAKED_MS_MAX = 1_800  # after that without an accepted stop, the position goes: 2 s (P2) less a tick
UNSEEN_MS_MAX = 5_000  # accepted, but the venue does not list it
READ_AGAIN_MS = 150
LISTING_MS = 1_500  # the venue may take some 100 ms to list an accepted trigger (page 10.6)
STOP_LIFE_MS = 10_000
RETRY_MS = 250  # after a refused stop, doubled each time
RETRY_MS_MAX = 4_000
READ_AGAIN_MS_MAX = 5_000
MOVE_MS_MIN = 3_000  # each move of the venue's stop costs two of the address's requests and a read of weight 20
CANCEL_AGAIN_MS = 2_000
FIRED_MS = 1_000  # after the venue said a stop fired, its fill is given this long before a new stop is placed
STOP_REACH = Decimal("0.1")  # limit of a market trigger, away from its trigger: right under both readings of page 8.1
ARM_AGAIN_MS = 60_000
ARM_LIFE_MS = 150_000
ARM_DRIFT = Decimal("0.01")  # of the price, before an armed exit is signed anew
ARM_SPARE_MS = 10_000


def protect(turn: Turn, symbol: str) -> None:
    if not turn.rules.can_reduce_only:
        oco.protect(turn, symbol)
        return
    market = turn.market(symbol)
    if market.position is None:
        clean_up(turn, market)
        return
    pursue_exit(turn, symbol)
    market = turn.market(symbol)
    position = market.position
    if position is None or not market.known:
        return
    best = tightest(market, position)
    market = watch_nakedness(turn, market, best)
    exits = [record for record in market.live_orders() if record.purpose is Purpose.EXIT]
    if exits and (best is not None or not orders.are_doubtful(turn, exits)):
        return  # the exit decides; a stop placed now could outlive the position
    pending = [record for record in market.live_orders() if record.purpose is Purpose.STOP]
    if pending:
        await_listing(turn, market, pending)
        return
    level = inside_liquidation(
        stop_level(position), position, market.liquidation_price, turn.market_rules(symbol).instrument
    )
    if best is None:
        place_missing(turn, market, position, level)
    else:
        trail(turn, market, position, best, level)
    arm_exit(turn, symbol)


def tightest(market: MarketState, position: Position) -> VenueStop | None:
    """The stop that protects; one beyond the liquidation price does not."""
    sign, liquidation = position.side.sign, market.liquidation_price
    covering = [
        stop
        for stop in market.stops
        if stop.cancel_ms is None
        and stop.covers(position)
        and (liquidation is None or sign * (stop.trigger_price - liquidation) > 0)
    ]
    return max(covering, key=lambda stop: position.side.sign * stop.trigger_price, default=None)


def watch_nakedness(turn: Turn, market: MarketState, best: VenueStop | None) -> MarketState:
    """Time the moments without a listed stop; past the bound, the position goes (P2)."""
    symbol, since = market.symbol, market.naked_since_ms
    if best is not None:
        if since is not None:
            turn.note(
                "INFO", "protected", symbol=symbol, order_id=best.order_id, stop=best.trigger_price,
                unprotected_ms=turn.now_ms - since,
            )  # fmt: skip
            return turn.change(symbol, naked_since_ms=None)
        return market
    if since is None:
        return turn.change(symbol, naked_since_ms=turn.now_ms)
    accepted = any(
        record.purpose is Purpose.STOP and record.accepted_ms is not None and record.accepted_ms - since <= NAKED_MS_MAX
        for record in market.orders.values()
    )
    if turn.now_ms - since > (UNSEEN_MS_MAX if accepted else NAKED_MS_MAX) and market.exit_reason is None:
        turn.note(
            "ERROR", "unprotected", symbol=symbol, for_ms=turn.now_ms - since, text="closing the position", notify=True
        )
        begin_exit(turn, symbol, ExitReason.UNPROTECTED)
    return turn.market(symbol)


def await_listing(turn: Turn, market: MarketState, pending: list[OrderRecord]) -> None:
    """Accepted stops answer without an id: only the venue's list shows that one exists (page 8.4, step 2)."""
    for record in pending:
        if record.accepted_ms is not None and turn.now_ms - record.accepted_ms > LISTING_MS:
            turn.note("WARNING", "stop_not_listed", symbol=market.symbol, client_id=record.order.client_id)
            records.put_record(turn, msgspec.structs.replace(record, status=OrderStatus.CANCELED))
    if (
        any(record.status is OrderStatus.ACCEPTED for record in pending)
        and turn.now_ms - turn.state.read_orders_ms >= READ_AGAIN_MS
    ):
        records.read_orders(turn, "confirm stop")


def place_missing(turn: Turn, market: MarketState, position: Position, level: Decimal) -> None:
    if turn.now_ms < market.stop_retry_ms or turn.now_ms - market.stop_fired_ms < FIRED_MS:
        return
    price = market.reference_price(position.side.opposite)
    if any(p is not None and is_crossed(position, level, p) for p in (price, market.mark)):
        begin_exit(turn, market.symbol, ExitReason.STOP_LOSS)  # a stop there would be refused or fire at once (8.1)
        return
    place_stop(turn, market.symbol, position, level, "protect")


def trail(turn: Turn, market: MarketState, position: Position, best: VenueStop, level: Decimal) -> None:
    """Tighter stop first, cancel the looser ones once it is listed: never a gap (page 8.4, step 3)."""
    rules = turn.market_rules(market.symbol)
    step = rules.exits.trailing_step.at(position.best_price, rules.instrument)
    improvement = position.side.sign * (level - best.trigger_price)
    price = market.mark or market.current_price
    is_loose = position.side.sign * (position.stop_price - best.trigger_price) >= step  # looser than the rules allow
    may_move = turn.now_ms - market.stop_moved_ms >= MOVE_MS_MIN and (is_loose or has_budget(turn))
    if improvement >= step and may_move and (price is None or not is_crossed(position, level, price)):
        turn.change(market.symbol, stop_moved_ms=turn.now_ms)
        place_stop(turn, market.symbol, position, level, "trail")
        return
    for stop in market.stops:
        redundant = stop.is_stop and stop.order_id != best.order_id
        asked_lately = stop.cancel_ms is not None and turn.now_ms - stop.cancel_ms < CANCEL_AGAIN_MS
        if redundant and not asked_lately:
            orders.cancel(turn, market.symbol, stop.order_id, "looser than the new stop")


def has_budget(turn: Turn) -> bool:
    """Trailing leaves enough of the address budget for getting out (page 7.2)."""
    return turn.state.budget_left is None or turn.state.budget_left > 200


def retry_wait_ms(market: MarketState) -> int:
    """After a refused stop: longer with each one refused since there is none, for the venue may take no orders now."""
    since = market.naked_since_ms
    if since is None:
        return RETRY_MS
    stops = [r for r in market.orders.values() if r.purpose is Purpose.STOP and r.sent_ms >= since]
    refused = sum(1 for record in stops if record.status is OrderStatus.REJECTED)
    return min(RETRY_MS * 2 ** max(refused - 1, 0), RETRY_MS_MAX)


def place_stop(turn: Turn, symbol: str, position: Position, level: Decimal, reason: str) -> None:
    side = position.side.opposite
    instrument = turn.market_rules(symbol).instrument
    whole = turn.rules.position_stops
    order = Order(
        client_id=turn.next_client_id(),
        symbol=symbol,
        side=side,
        size=ZERO if whole else position.size,
        type=OrderType.STOP,
        price=instrument.round_away(level * (1 + side.sign * STOP_REACH), side),
        time_in_force=TimeInForce.GTC,
        trigger_price=tighter_tick(level, position.side, instrument),
        reduce_only=turn.rules.can_reduce_only,
        whole_position=whole,
        nonce=turn.next_nonce(),
        expires_ms=turn.venue_now_ms + STOP_LIFE_MS,
    )
    orders.send(turn, order, Purpose.STOP, reason)


# --- leaving --------------------------------------------------------------------------------------------------------


def begin_exit(turn: Turn, symbol: str, reason: ExitReason) -> None:
    """From here on the position is wanted closed; `pursue_exit` sees to it until it is."""
    if not turn.rules.can_reduce_only:
        oco.begin_exit(turn, symbol, reason)
        return
    market = turn.market(symbol)
    if market.position is None or market.exit_reason is not None:
        return
    turn.change(symbol, exit_reason=reason)
    pursue_exit(turn, symbol)


def pursue_exit(turn: Turn, symbol: str) -> None:
    """Send the next exit order when one is wanted and none is in flight: size exactly what is held (P4)."""
    market = turn.market(symbol)
    position = market.position
    if market.exit_reason is None or position is None or turn.now_ms < market.exit_retry_ms:
        return
    price = market.reference_price(position.side.opposite)
    if price is None:
        return  # no price to bound the order by; the venue's stop stands, and polling brings one
    if any(can_still_fill(record) for record in market.live_orders()):
        return
    order = market.armed if is_armed(turn, market, position, price) else None
    if order is None:
        order = orders.aggressive_order(turn, symbol, position.side.opposite, position.size, Purpose.EXIT)
    orders.send(turn, order, Purpose.EXIT, market.exit_reason.value)


def can_still_fill(record: OrderRecord) -> bool:
    """Whether an entry or exit is in the air. An entry that has filled in part cannot fill more: it was an IOC."""
    if not record.is_live or record.purpose is Purpose.STOP:
        return False
    return record.purpose is Purpose.EXIT or record.booked_size == 0


def is_armed(turn: Turn, market: MarketState, position: Position, price: Decimal) -> bool:
    """Whether the order signed in advance is still the one that would be built at `price`, near enough."""
    order = market.armed
    if order is None or order.size != position.size or order.side is not position.side.opposite:
        return False
    assert order.expires_ms is not None
    return market.armed_from <= price <= market.armed_to and order.expires_ms - turn.venue_now_ms >= ARM_SPARE_MS


def armed_range(order: Order, slippage_pct: Decimal) -> tuple[Decimal, Decimal]:
    """Between which prices the order's limit lies as far off as it should, twice ARM_DRIFT more or less."""
    sign, wanted = order.side.sign, slippage_pct / 100
    ends = [order.price / (1 + sign * (wanted + drift)) for drift in (2 * ARM_DRIFT, -2 * ARM_DRIFT)]
    return min(ends), max(ends)


def arm_exit(turn: Turn, symbol: str) -> None:
    """Have the exit built and signed before the tick that needs it; again when size, price or age make it stale."""
    market = turn.market(symbol)
    position, order = market.position, market.armed
    if position is None or market.exit_reason is not None:
        return
    price = market.reference_price(position.side.opposite)
    if price is None:
        return
    if order is not None and order.size == position.size and turn.now_ms - market.armed_ms < ARM_AGAIN_MS:
        wanted = price * (1 + order.side.sign * turn.rules.risk.exit_slippage_pct / 100)
        if abs(order.price - wanted) <= ARM_DRIFT * price:
            return
    fresh = orders.aggressive_order(turn, symbol, position.side.opposite, position.size, Purpose.EXIT)
    fresh = msgspec.structs.replace(fresh, expires_ms=turn.venue_now_ms + ARM_LIFE_MS)
    low, high = armed_range(fresh, turn.rules.risk.exit_slippage_pct)
    turn.change(symbol, armed=fresh, armed_ms=turn.now_ms, armed_from=low, armed_to=high)
    turn.act(Arm(fresh))
    turn.note("DEBUG", "order_armed", client_id=fresh.client_id, symbol=symbol, size=fresh.size, price=fresh.price)


# --- flat -----------------------------------------------------------------------------------------------------------


def clean_up(turn: Turn, market: MarketState) -> None:
    """Flat, as we believe: ask the venue; once it says so too, cancel what is left and ask until nothing is.

    A leftover stop would guard the next trade (page 8.3); a stop canceled on our belief alone might be the only one.
    """
    if market.clean or not turn.state.synced:
        return
    live = market.live_orders()
    if any(record.purpose is not Purpose.STOP for record in live):
        return  # an entry or exit in flight: its outcome comes first
    for record in live:
        if record.accepted_ms is not None and turn.now_ms - record.accepted_ms > LISTING_MS:
            records.put_record(turn, msgspec.structs.replace(record, status=OrderStatus.CANCELED))
    if market.flat_seen:
        for stop in market.stops:
            if stop.cancel_ms is None or turn.now_ms - stop.cancel_ms >= CANCEL_AGAIN_MS:
                orders.cancel(turn, market.symbol, stop.order_id, "left over while flat")
    pause_ms = min(READ_AGAIN_MS * 2**market.clean_tries, READ_AGAIN_MS_MAX)
    if turn.now_ms - max(market.clean_read_ms, turn.state.read_account_ms) >= pause_ms:
        turn.change(market.symbol, clean_tries=min(market.clean_tries + 1, 10), clean_read_ms=turn.now_ms)
        records.read_account(turn, "verify flat")


def apply_listing(turn: Turn, symbol: str, listed: tuple[WorkingOrder, ...], requested_ms: int) -> None:
    """The venue's list of working orders becomes what we believe rests there for this market."""
    if not turn.rules.can_reduce_only:
        working.apply_listing(turn, symbol, listed, requested_ms)
        return
    market = turn.market(symbol)
    if requested_ms < market.dirty_ms:
        return  # asked before our latest order or fill: it cannot know
    asked = {stop.order_id: stop.cancel_ms for stop in market.stops}
    stops = tuple(
        VenueStop(o.order_id, o.side, o.trigger_price, o.size, o.whole_position, o.is_stop, asked.get(o.order_id))
        for o in listed
        if o.symbol == symbol and o.reduce_only and o.trigger_price is not None
    )
    market = turn.change(symbol, stops=stops)
    for record in [r for r in market.live_orders() if r.purpose is Purpose.STOP]:
        match = next((s for s in stops if is_same(s, record.order)), None)
        if match is not None:
            confirm_stop(turn, record, match)
    market = turn.market(symbol)
    if market.position is not None:
        return
    if stops:
        turn.change(symbol, clean=False)
    elif market.flat_seen and not market.clean and not market.live_orders():
        turn.change(symbol, clean=True, clean_tries=0)
        turn.note("INFO", "market_clean", symbol=symbol)


def is_same(stop: VenueStop, order: Order) -> bool:
    """The list names no client_id for position stops: side, kind and level identify one (page 8.4, step 6)."""
    return stop.side is order.side and stop.is_stop and stop.trigger_price == order.trigger_price


def confirm_stop(turn: Turn, record: OrderRecord, stop: VenueStop) -> None:
    """From here on the stop lives in `stops`; the record is done."""
    symbol = record.order.symbol
    market = turn.market(symbol)
    rest = {key: value for key, value in market.orders.items() if key != record.order.client_id}
    turn.change(symbol, orders=rest)
    turn.note(
        "INFO", "stop_confirmed", symbol=symbol, client_id=record.order.client_id, order_id=stop.order_id,
        trigger_price=stop.trigger_price, after_ms=turn.now_ms - record.sent_ms,
    )  # fmt: skip


def unprotected_side(market: MarketState) -> Side | None:
    """The side of an open position without a listed stop; None when flat or protected."""
    position = market.position
    if position is None or tightest(market, position) is not None:
        return None
    return position.side
