"""The venue is right (P7): an account snapshot against what we believe, every difference named."""

from decimal import Decimal

import msgspec

from core import account, holdings, oco, positions, protection, records, working
from core.exits import reprice
from core.messages import AccountSnapshot
from core.model import ZERO, Side, VenuePosition
from core.positions import close_position, held, set_position
from core.state import MarketState, open_pnl
from core.turn import Turn

NEVER_MS = 60_000
SURE_MS_MIN = records.DISPUTED_MS
WEIGHT_SHORT = 400  # of 1200 a minute; an account and its fills, read every 5 s, take 504, prices and orders theirs


def on_account(turn: Turn, snapshot: AccountSnapshot) -> None:
    first = not turn.state.synced
    turn.set(synced=True)
    venue = {position.symbol: position for position in snapshot.positions if position.size != 0}
    ours = {s: p for s, p in venue.items() if holdings.is_managed(p, turn.rules)}
    skipped = False
    sure_ms = NEVER_MS  # until a read is newer than a fill for certain, where this one says something else than we do
    for symbol in turn.state.markets:
        if is_outdated(turn.market(symbol), snapshot):
            skipped = True
            sure_ms = min(sure_ms, sure_in_ms(turn, symbol, ours.get(symbol), snapshot))
            if not turn.rules.can_reduce_only:
                know_if_agreed(turn, symbol, ours.get(symbol), snapshot)
            continue
        reconcile_position(turn, symbol, ours.get(symbol), snapshot)
        protection.apply_listing(turn, symbol, snapshot.orders, snapshot.requested_ms)
    for symbol in turn.state.markets:
        protection.protect(turn, symbol)
    if not first:
        account.watch_months(turn, venue.values())
    note_unmanaged(turn, venue)
    inside = ZERO
    if snapshot.has_open_pnl:
        inside = sum((pnl_inside(turn, symbol, venue.get(symbol)) for symbol in turn.state.markets), ZERO)
    else:
        before = outside_sizes(turn)
        holdings.follow_outside(turn, snapshot.positions)
        if outside_sizes(turn) != before:
            miss_fills(turn)  # unless their fills have come: nobody counts them
    turn.set(
        equity=snapshot.equity,
        equity_open_pnl=inside,
        available=snapshot.available,
        balance=snapshot.balance,
        window_left=turn.state.window_left if snapshot.requests_left is None else snapshot.requests_left,
        disputed=sure_ms < NEVER_MS,
        answered_ms=snapshot.requested_ms,
        account_due_ms=turn.now_ms + min(next_read_ms(turn, skipped, snapshot), sure_ms),
    )
    if not snapshot.missed_fills:
        records.close_gap(turn, snapshot.requested_ms)
    account.watch_lock(turn, snapshot.can_trade)
    if first:
        turn.note("INFO", "account_synced", equity=snapshot.equity, available=snapshot.available, positions=len(venue))


def outside_sizes(turn: Turn) -> dict[str, Decimal]:
    return {name: other.size for name, other in turn.state.outside.items()}


def next_read_ms(turn: Turn, skipped: bool, snapshot: AccountSnapshot) -> int:
    """The net under the streams: wider where fills tell the size they met (Hyperliquid), else page 2.11 of TopstepX.

    Later where no stream tells of fills and the minute's weight runs out: prices need theirs (page 7.1 of Hyperliquid).
    Sooner when a market was `skipped`; on TopstepX, where a read takes up to four of 200 requests a minute and each
    news of an order asks for one of its own, not by much.
    """
    if skipped:
        return 500 if turn.rules.can_reduce_only else 3_000
    if snapshot.missed_fills:
        return 5_000
    if not turn.state.fills_up:
        left = snapshot.requests_left
        return 10_000 if turn.rules.can_reduce_only and left is not None and left < WEIGHT_SHORT else 5_000
    return 30_000 if turn.rules.can_reduce_only else 10_000


def sure_in_ms(turn: Turn, symbol: str, venue: VenuePosition | None, snapshot: AccountSnapshot) -> int:
    """After so long a read cannot be older than our latest fill, by the lowest the venue's clock may show.

    Where that clock is known to a second, a position found at the start would else stay bare for the usual pause (P2).
    """
    market = turn.market(symbol)
    if (ZERO if venue is None else venue.size) == held(market):
        return NEVER_MS
    return max(SURE_MS_MIN, market.moved_ms - snapshot.time_ms)


def know_if_agreed(turn: Turn, symbol: str, venue: VenuePosition | None, snapshot: AccountSnapshot) -> None:
    """A read that may be older than our latest fill, and says what we believe, is enough to begin to protect.

    Where the venue's clock is known to a second (TopstepX), a start would else wait for seconds with a position bare.
    """
    market = turn.market(symbol)
    position = market.position
    if venue is None or position is None or venue.size != held(market):
        return
    turn.change(symbol, known=True)
    if any(order.symbol == symbol and working.covers(order, position) for order in snapshot.orders):
        turn.change(symbol, stop_named_ms=turn.now_ms)


def is_outdated(market: MarketState, snapshot: AccountSnapshot) -> bool:
    """A snapshot cannot speak of a market in which something of ours was in flight or moved after it was taken.

    By both clocks: asked for before our latest order, or answered by a server that is behind our latest fill.
    """
    in_flight = any(not record.rests for record in market.live_orders())
    return in_flight or snapshot.requested_ms < market.dirty_ms or snapshot.time_ms < market.moved_ms


def pnl_inside(turn: Turn, symbol: str, venue: VenuePosition | None) -> Decimal:
    """The open profit that the venue's equity contains, at our price where there is one."""
    market = turn.market(symbol)
    if market.current_price is None and venue is not None:
        return venue.unrealized_pnl
    return open_pnl(market, turn.market_rules(symbol).instrument.multiplier)


def reconcile_position(turn: Turn, symbol: str, venue: VenuePosition | None, snapshot: AccountSnapshot) -> None:
    ours = held(turn.market(symbol))
    theirs = ZERO if venue is None else venue.size
    if ours != theirs:
        turn.note(
            "WARNING", "reconcile_difference", symbol=symbol, ours=ours, venue=theirs, text="the venue is right",
            notify=True,
        )  # fmt: skip
        correct_position(turn, symbol, ours, venue, snapshot.time_ms)
        miss_fills(turn)
    # whatever was corrected comes from this round of reads, and so does the listing that is applied next
    turn.change(
        symbol, known=True, flat_seen=venue is None, snapshot_ms=snapshot.time_ms, dirty_ms=snapshot.requested_ms,
        confirmed=True, read_ms=snapshot.requested_ms,
    )  # fmt: skip
    if venue is None:
        return
    position = turn.market(symbol).position
    assert position is not None
    if position.entry_price != venue.entry_price:
        rules = turn.market_rules(symbol)
        changed = reprice(position, position.size, venue.entry_price, rules.exits, rules.instrument)
        turn.change(symbol, position=changed)
    turn.change(symbol, liquidation_price=venue.liquidation_price)


def miss_fills(turn: Turn) -> None:
    """What is held has changed and no fill has told: a hub that looks alive has swallowed it; the books need it.

    Not at Hyperliquid, whose stream tells its history anew at each subscription.
    """
    if not turn.rules.can_reduce_only and turn.state.fills_up:
        records.mark_gap(turn)
        records.read_account(turn, "fills have been missed")


def correct_position(turn: Turn, symbol: str, ours: Decimal, venue: VenuePosition | None, time_ms: int) -> None:
    if venue is None:
        close_position(turn, symbol)
        turn.note("INFO", "position_closed", symbol=symbol, reason="CLOSED_AT_VENUE", size=abs(ours))
        return
    side = Side.BUY if venue.size > 0 else Side.SELL
    position = turn.market(symbol).position
    if position is not None and position.side is side:
        turn.change(symbol, position=msgspec.structs.replace(position, size=abs(venue.size)), armed=None)
        return
    if oco.has_turned(turn, symbol, side, abs(venue.size)):
        positions.turn_round(turn, symbol, side, abs(venue.size), venue.entry_price, time_ms, by_hand=False)
        return
    set_position(turn, symbol, side, abs(venue.size), venue.entry_price, time_ms, adopted=True)
    turn.note(
        "INFO", "position_adopted", symbol=symbol, side=side.value, size=abs(venue.size),
        entry_price=venue.entry_price, notify=True,
    )  # fmt: skip


def note_unmanaged(turn: Turn, venue: dict[str, VenuePosition]) -> None:
    """Positions in markets the config does not name: the bot does not touch them, and says so."""
    unmanaged = tuple(sorted(symbol for symbol, held in venue.items() if not holdings.is_managed(held, turn.rules)))
    for symbol in unmanaged:
        if symbol not in turn.state.unmanaged:
            turn.note(
                "WARNING", "position_unmanaged", symbol=symbol, size=venue[symbol].size,
                text="not in the config: this bot does not protect it", notify=True,
            )  # fmt: skip
    turn.set(unmanaged=unmanaged)
