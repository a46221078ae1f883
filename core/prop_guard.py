"""The prop-firm guard at its post: what it is told, when it is asked, and what comes of its word.

The rules themselves are in `prop_rules`, `prop_account` and `prop_size`; here they meet the state. Called after every
event (`after`), and before every entry (`allow`).
"""

from decimal import Decimal

from core import prop_account, prop_rules, prop_size, records
from core.holdings import Holding, dearest_tick, holdings
from core.messages import (
    AccountSnapshot,
    AccountUpdate,
    AnyEvent,
    CloseAnswered,
    CloseContract,
    Note,
    PolledPrice,
    PositionUpdate,
    Tick,
)
from core.model import ZERO, Fill, Purpose, Quote, Trade
from core.positions import remember
from core.prop_values import Entry, Flatten, PropRules, Valuation, smallest
from core.protection import begin_exit
from core.reconcile import is_outdated
from core.sessions import is_known, is_open
from core.state import ExitReason, State
from core.turn import Turn, shown_as

ROOM_EVERY_MS = 60_000  # between two lines about the distances
SETTLE_MS = 1_000  # a balance that has not followed its fill by then is asked for
CLOSE_AGAIN_MS = 5_000  # a position outside the config is closed once in this time, doubled each time
CLOSE_AGAIN_MS_MAX = 300_000
PRICES = (Trade, Quote, PolledPrice)
ACCOUNT = (AccountSnapshot, AccountUpdate, PositionUpdate, Fill)


def after(turn: Turn, event: AnyEvent, before: State) -> None:
    """Take in what `event` tells of the account, then close what must be closed. Nothing without rules."""
    rules = turn.rules.prop
    if rules is None:
        return
    is_price = isinstance(event, PRICES)
    if not is_price and not isinstance(event, (Tick, *ACCOUNT)):
        return
    held = holdings(turn.state, turn.rules)
    if isinstance(event, AccountUpdate):
        learn_balance(turn, rules, event.balance, held)
    elif isinstance(event, AccountSnapshot):
        learn_round(turn, rules, event, held, before)
        forget_closed(turn)
    elif isinstance(event, Fill):
        book(turn, event, before)
    if held or not is_price:
        watch(turn, rules, held)
    if isinstance(event, Tick):
        on_tick(turn, rules, held)


def learn_balance(turn: Turn, rules: PropRules, balance: Decimal, held: tuple[Holding, ...]) -> None:
    """By the stream. It may bring the balance before the fill that changed it, and fills do not move what is outside
    the config: a closed loss would count twice, as balance and as open loss. Then only a read of both settles it.
    """
    before, is_answer = turn.state.prop, not prop_account.is_settled(turn.state.prop)
    prop = prop_account.roll(before, rules, balance, turn.venue_now_ms)
    if held and prop.balance != before.balance and (turn.state.outside or not is_answer):
        prop = prop_account.in_doubt(prop)
        records.look(turn, "the balance has moved")
    turn.set(prop=prop)


def learn_round(
    turn: Turn, rules: PropRules, snapshot: AccountSnapshot, held: tuple[Holding, ...], before: State
) -> None:
    """By REST: of the same round as the positions, hence not believed where one of those was not."""
    prop = turn.state.prop
    is_partial = any(is_outdated(market, snapshot) for market in before.markets.values())
    if snapshot.balance is None or (prop.day and held and is_partial):
        return
    turn.set(prop=prop_account.roll(prop, rules, snapshot.balance, snapshot.requested_ms + turn.state.offset_ms))


def book(turn: Turn, fill: Fill, before: State) -> None:
    """Each fill once, also of markets the config does not name: they are the account's too."""
    if fill.fill_id in before.fill_ids:
        return
    if fill.fill_id not in turn.state.fill_ids:  # not ours to manage, so nobody has remembered it
        remember(turn, fill)
    prop = prop_account.book(turn.state.prop, fill.closed_pnl - fill.fee, fill.time_ms)
    if not fill.is_snapshot:
        prop = prop_account.moved(prop, turn.venue_now_ms)
    turn.set(prop=prop)


def valued(turn: Turn, rules: PropRules, held: tuple[Holding, ...]) -> Valuation | None:
    return prop_account.equity(rules, turn.state.prop.balance, held, turn.now_ms) if turn.state.prop.day else None


def watch(turn: Turn, rules: PropRules, held: tuple[Holding, ...]) -> None:
    valuation = valued(turn, rules, held)
    if valuation is not None and prop_account.is_settled(turn.state.prop):
        prop = prop_account.watch_high(turn.state.prop, rules, valuation)
        if prop is not turn.state.prop:
            turn.set(prop=prop)
    flatten = prop_rules.must_flatten(rules, turn.state.prop, valuation, held, turn.venue_now_ms)
    if flatten is not None:
        obey(turn, flatten, held)


def obey(turn: Turn, flatten: Flatten, held: tuple[Holding, ...]) -> None:
    if flatten.locks:
        turn.set(prop=prop_account.lock(turn.state.prop, flatten, turn.venue_now_ms))
        turn.note(
            "CRITICAL", "prop_limit", limit=flatten.name, notify=True,
            text=f"{flatten.text}: closing everything; no entries until the next trading day",
        )  # fmt: skip
    for holding in held:
        if holding.symbol not in flatten.symbols:
            continue
        market = turn.state.markets.get(holding.symbol)
        if market is None:
            close_outside(turn, flatten, holding)
        elif market.position is not None and market.exit_reason is None:
            turn.note("WARNING", "leaving", symbol=holding.symbol, reason=flatten.name, notify=True, text=flatten.text)
            begin_exit(turn, holding.symbol, ExitReason.PROP_RULES)


def close_outside(turn: Turn, flatten: Flatten, holding: Holding) -> None:
    """The venue would close this one too: it counts towards the same limits.

    Told once. Where the product is known not to trade, it waits for the opening; a close that does not help is repeated
    ever more seldom.
    """
    if not is_tradable(turn, holding.symbol):
        return
    asked_ms, times = turn.state.prop_closes.get(holding.contract_id, (0, 0))
    if times and turn.now_ms - asked_ms < min(CLOSE_AGAIN_MS * 2 ** min(times - 1, 10), CLOSE_AGAIN_MS_MAX):
        return
    turn.set(prop_closes={**turn.state.prop_closes, holding.contract_id: (turn.now_ms, times + 1)})
    if holding.contract_id:  # without one nobody can be asked to close it: only said
        turn.act(CloseContract(holding.symbol, holding.contract_id, flatten.name))
    turn.note(
        "WARNING", "leaving", symbol=holding.symbol, reason=flatten.name, notify=not times, tries=times + 1,
        text=f"outside the config. {flatten.text}",
    )  # fmt: skip


def is_tradable(turn: Turn, symbol: str) -> bool:
    """Whether orders may be taken: what nobody told us of may trade at any hour."""
    hours = turn.rules.hours
    return hours is None or not is_known(hours, symbol) or is_open(hours, symbol, turn.venue_now_ms)


def forget_closed(turn: Turn) -> None:
    """A contract that is no longer held begins anew, should it come back."""
    held = {other.contract_id for other in turn.state.outside.values()}
    if not turn.state.prop_closes.keys() <= held:
        turn.set(prop_closes={k: v for k, v in turn.state.prop_closes.items() if k in held})


def on_close_answered(turn: Turn, event: CloseAnswered) -> None:
    level = "INFO" if event.done else "WARNING"
    turn.note(level, "outside_closed", symbol=event.symbol, done=event.done, error=event.error)
    records.read_account(turn, "closed outside the config")


def on_tick(turn: Turn, rules: PropRules, held: tuple[Holding, ...]) -> None:
    """The distances, now and then; what is above a cap, once; a balance that does not come, again."""
    prop, state = turn.state.prop, turn.state
    unsettled = not prop_account.is_settled(prop) and turn.venue_now_ms - prop.moved_ms >= SETTLE_MS
    if unsettled and turn.now_ms - state.read_account_ms >= SETTLE_MS:
        records.read_account(turn, "the balance has not followed a fill")
    words = prop_size.excess(rules, prop, held) or ""
    if words != state.prop_excess:
        turn.set(prop_excess=words)
        if words:
            turn.note("CRITICAL", "prop_excess", text=words, notify=True)
    if prop.day and turn.now_ms - state.prop_noted_ms >= ROOM_EVERY_MS:
        turn.set(prop_noted_ms=turn.now_ms)
        note_room(turn, rules, held)


def note_room(turn: Turn, rules: PropRules, held: tuple[Holding, ...]) -> None:
    valuation = valued(turn, rules, held)
    rooms = prop_account.distances(rules, turn.state.prop, valuation, held, dearest_tick(turn.rules))
    fields = {"balance": shown_as(turn.state.prop.balance)}
    for room in rooms:
        fields[room.name] = "unknown" if room.dollars is None else f"{room.dollars:.2f}"
        if room.ticks is not None:
            fields[f"{room.name}_ticks"] = shown_as(room.ticks)
    turn.act(Note("INFO", "prop_room", fields))


# --- entries --------------------------------------------------------------------------------------------------------


def allow(turn: Turn, symbol: str, size: Decimal, price: Decimal) -> tuple[Decimal, str | None]:
    """The size an entry may have, and why there may be none. `size` is what the sizing rules want."""
    rules, prop = turn.rules.prop, turn.state.prop
    if rules is None:
        return size, None
    held = holdings(turn.state, turn.rules)
    valuation, pending = valued(turn, rules, held), entries_under_way(turn, symbol)
    wanted = entry_of(turn, symbol, size, price)
    cap = smallest(prop_size.size_caps(rules, prop, wanted, valuation, held, pending))
    given = size if cap is None else min(size, cap.contracts)
    entry = entry_of(turn, symbol, given, price)
    reason = prop_rules.refusal(rules, prop, entry, valuation, held, turn.venue_now_ms, pending)
    if reason is None and given <= 0:
        reason = "prop rules leave no room for one contract"
    if reason is None and cap is not None and given < size:
        turn.note("INFO", "size_cut", symbol=symbol, wanted=shown_as(size), size=shown_as(given), reason=cap.words)
    return given, reason


def entry_of(turn: Turn, symbol: str, size: Decimal, price: Decimal) -> Entry:
    rules = turn.market_rules(symbol)
    instrument = rules.instrument
    stop = rules.exits.stop_loss.at(price, instrument) * instrument.multiplier
    return Entry(symbol, size, stop, instrument.tick_at(price) * instrument.multiplier)


def entries_under_way(turn: Turn, except_symbol: str) -> tuple[Entry, ...]:
    """Entries of other markets that have not become a position yet."""
    found = []
    for symbol, market in turn.state.markets.items():
        for record in market.live_orders():
            left = record.order.size - record.filled_size
            if symbol != except_symbol and record.purpose is Purpose.ENTRY and left > ZERO:
                found.append(entry_of(turn, symbol, left, record.order.price))
    return tuple(found)
