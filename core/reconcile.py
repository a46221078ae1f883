"""The venue is right (P7): an account snapshot against what we believe, every difference named."""

from decimal import Decimal

import msgspec

from core import orders, protection
from core.exits import reprice
from core.messages import AccountSnapshot
from core.model import ZERO, Purpose, Side, VenuePosition
from core.risk import total_open_pnl
from core.state import MarketState
from core.turn import Turn


def on_account(turn: Turn, snapshot: AccountSnapshot) -> None:
    first = not turn.state.synced
    turn.set(synced=True)
    venue = {position.symbol: position for position in snapshot.positions if position.size != 0}
    skipped = False
    for symbol in turn.state.markets:
        if is_outdated(turn.market(symbol), snapshot):
            skipped = True
            continue
        reconcile_position(turn, symbol, venue.get(symbol))
        turn.change(symbol, dirty_ms=snapshot.requested_ms)  # the listing comes from the same round of reads
        protection.apply_listing(turn, symbol, snapshot.orders, snapshot.requested_ms)
    for symbol in turn.state.markets:
        protection.protect(turn, symbol)
    note_unmanaged(turn, venue)
    turn.set(
        equity=snapshot.equity,
        equity_open_pnl=total_open_pnl(turn.state, turn.rules),
        available=snapshot.available,
        account_due_ms=turn.now_ms + (500 if skipped else 30_000 if turn.state.stream_up else 5_000),
    )
    if first:
        turn.note("INFO", "account_synced", equity=snapshot.equity, available=snapshot.available, positions=len(venue))


def is_outdated(market: MarketState, snapshot: AccountSnapshot) -> bool:
    """A snapshot cannot speak of a market in which something of ours was in flight or moved after it was asked for."""
    in_flight = any(record.is_live and record.purpose is not Purpose.STOP for record in market.orders.values())
    return in_flight or snapshot.requested_ms < market.dirty_ms


def reconcile_position(turn: Turn, symbol: str, venue: VenuePosition | None) -> None:
    market = turn.market(symbol)
    ours = orders.held(market)
    theirs = ZERO if venue is None else venue.size
    if ours != theirs:
        turn.note(
            "WARNING",
            "reconcile_difference",
            symbol=symbol,
            ours=ours,
            venue=theirs,
            text="the venue is right",
            notify=True,
        )
        correct_position(turn, symbol, ours, theirs, venue)
    if venue is None:
        return
    market = turn.market(symbol)
    assert market.position is not None
    if market.position.entry_price != venue.entry_price:
        rules = turn.market_rules(symbol)
        changed = reprice(market.position, market.position.size, venue.entry_price, rules.exits, rules.instrument)
        turn.change(symbol, position=changed)
    turn.change(symbol, liquidation_price=venue.liquidation_price)


def correct_position(turn: Turn, symbol: str, ours: Decimal, theirs: Decimal, venue: VenuePosition | None) -> None:
    if venue is None:
        orders.close_position(turn, symbol)
        turn.note("INFO", "position_closed", symbol=symbol, reason="CLOSED_AT_VENUE", size=abs(ours))
        return
    side = Side.BUY if theirs > 0 else Side.SELL
    position = turn.market(symbol).position
    if position is not None and position.side is side:
        turn.change(symbol, position=msgspec.structs.replace(position, size=abs(theirs)), armed=None)
        return
    orders.set_position(turn, symbol, side, abs(theirs), venue.entry_price, adopted=True)
    turn.note(
        "INFO", "position_adopted", symbol=symbol, side=side.value, size=abs(theirs), entry_price=venue.entry_price,
        notify=True,
    )  # fmt: skip


def note_unmanaged(turn: Turn, venue: dict[str, VenuePosition]) -> None:
    """Positions in markets the config does not name: the bot does not touch them, and says so."""
    unmanaged = tuple(sorted(symbol for symbol in venue if symbol not in turn.state.markets))
    for symbol in unmanaged:
        if symbol not in turn.state.unmanaged:
            turn.note(
                "WARNING", "position_unmanaged", symbol=symbol, size=venue[symbol].size,
                text="not in the config: this bot does not protect it", notify=True,
            )  # fmt: skip
    turn.set(unmanaged=unmanaged)
