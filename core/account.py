"""News of the account as a whole: locked or not, what it holds by the stream's word, and a contract that has rolled."""

from collections.abc import Iterable

from core import holdings, orders, records
from core.messages import RESTART, AccountUpdate, ContractRolled, PositionsSeen, PositionUpdate, Stop
from core.model import ZERO, VenuePosition
from core.positions import held
from core.turn import Turn

HINT_MS = 500  # fill and position come by ways of their own; after this they should agree


def on_update(turn: Turn, event: AccountUpdate) -> None:
    """The balance has fees and closed profit in it already; open profit is counted by us (TopstepX page 6.11)."""
    turn.set(balance=event.balance, equity=event.balance, equity_open_pnl=ZERO)
    watch_lock(turn, event.can_trade)


def watch_lock(turn: Turn, can_trade: bool) -> None:
    if can_trade == turn.state.can_trade:
        return
    turn.set(can_trade=can_trade)
    if can_trade:
        turn.note("WARNING", "account_unlocked", notify=True, text="entries stay off until the bot is started again")
        return
    turn.note("CRITICAL", "account_locked", notify=True, text="the venue has locked the account: look at its page")
    orders.halt(turn, "the venue has locked the account")


# --- positions by the stream's word -----------------------------------------------------------------------------------


def on_position(turn: Turn, event: PositionUpdate) -> None:
    """A hint: fills move the position. Where the two do not agree after a moment, the account is read."""
    position = event.position
    symbol = position.symbol
    if not holdings.is_managed(position, turn.rules):
        other = turn.state.outside.get(symbol)
        if (ZERO if other is None else other.size) != position.size:
            records.look(turn, "a position outside the config has changed")
        return
    ours = held(turn.market(symbol))
    if position.size == ours:
        turn.change(symbol, hint=None)
        return
    turn.change(symbol, hint=position.size, hint_ms=turn.now_ms)
    if position.size == 0:
        records.look(turn, "the venue says flat")


def on_glance(turn: Turn, event: PositionsSeen) -> None:
    """What differs is read at once, with all that belongs to it: a mute stream tells of no hand's trade (P2)."""
    if not turn.state.synced:
        return
    sizes = {
        position.symbol: position.size for position in event.positions if holdings.is_managed(position, turn.rules)
    }
    for symbol, market in turn.state.markets.items():
        size = sizes.get(symbol, ZERO)
        if size == held(market):
            turn.change(symbol, hint=None)
        elif event.requested_ms < market.dirty_ms or any(not record.rests for record in market.live_orders()):
            turn.change(symbol, hint=size, hint_ms=turn.now_ms)  # older than what is under way
        elif turn.state.read_account_ms != turn.now_ms:
            records.read_account(turn, "the venue holds something else", with_fills=True)


def check_hint(turn: Turn, symbol: str) -> None:
    market = turn.market(symbol)
    if market.hint is None or turn.now_ms - market.hint_ms < HINT_MS:
        return
    turn.change(symbol, hint=None)
    if market.hint != held(market):
        turn.note("INFO", "position_unclear", symbol=symbol, ours=held(market), venue=market.hint)
        records.look(turn, "the venue's position is not ours")


# --- roll -------------------------------------------------------------------------------------------------------------


def on_rolled(turn: Turn, event: ContractRolled) -> None:
    """No new position in the old month; what is open stays, with its stop (page 2.3: never roll with one open)."""
    rules = turn.rules.markets.get(event.symbol)
    if rules is None or event.symbol in turn.state.rolled:
        return
    if rules.instrument.contract_id == event.instrument.contract_id:
        return
    turn.set(rolled=(*turn.state.rolled, event.symbol))
    turn.note(
        "WARNING", "contract_rolled", symbol=event.symbol, contract=event.instrument.contract_id,
        before=rules.instrument.contract_id, notify=True,
        text="no entries here; the bot starts anew with the new month once every market is flat",
    )  # fmt: skip
    leave_for_roll(turn)


def watch_months(turn: Turn, positions: Iterable[VenuePosition]) -> None:
    """What an order nobody knew of has opened in a month left behind needs a stop too: a start takes that month up.

    Only what comes while this run lasts: what a start has not taken up, another start would not take up either.
    """
    for position in positions:
        symbol = month_of(turn, position)
        if symbol is None or symbol in turn.state.rolled or position.symbol in turn.state.unmanaged:
            continue
        turn.set(rolled=(*turn.state.rolled, symbol))
        turn.note(
            "CRITICAL", "other_month", symbol=symbol, contract=position.contract_id, size=position.size, notify=True,
            text="no stop of the bot's protects it yet; it starts anew with that month as soon as every market is flat",
        )  # fmt: skip


def month_of(turn: Turn, position: VenuePosition) -> str | None:
    """The market of which this is another month: `CON.F.US.MGC.Z26` is one of `CON.F.US.MGC.G27` (page 2.3)."""
    product = position.contract_id.rpartition(".")[0]
    for symbol, rules in turn.rules.markets.items():
        contract_id = rules.instrument.contract_id
        if product and contract_id != position.contract_id and contract_id.rpartition(".")[0] == product:
            return symbol
    return None


def leave_for_roll(turn: Turn) -> None:
    """Once nothing is held, wanted or resting anywhere, the shell starts again and reads the instruments anew.

    Not while halted: a new start takes entries up again, and that is for a person to decide.
    """
    rolled = turn.state.rolled
    if not rolled or turn.state.halted is not None:
        return
    for market in turn.state.markets.values():
        busy = market.position is not None or market.unclaimed or market.live_orders()
        if busy or not market.clean:
            return
    turn.set(rolled=(), halted="contract rolled")  # said once
    turn.note("INFO", "restart", symbols=",".join(rolled), reason="contract rolled")
    turn.act(Stop(RESTART, "contract rolled"))
