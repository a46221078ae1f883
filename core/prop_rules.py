"""The guard of a prop-firm account: entries are refused first, then everything is closed before the venue would do it.

Pure. Every doubt is settled on the cautious side: a limit counts as reached when it is touched, a figure nobody knows
stops entries. Formulas and their sources: protocol page 6.
"""

from collections.abc import Sequence

from core.prop_account import as_of, is_locked, is_settled, loss_limits, profit_level
from core.prop_size import size_caps
from core.prop_values import Entry, Flatten, Holding, PropRules, PropState, Valuation, smallest
from core.sessions import is_calendar_over, is_late, window


def must_flatten(
    rules: PropRules, state: PropState, valuation: Valuation | None, holdings: Sequence[Holding], now_ms: int
) -> Flatten | None:
    """What must be closed now, and why; None: nothing. With an unknown equity only the clock speaks.

    A limit reached while flat names no symbols: entries on their way must still be stopped, and the day is over.
    `now_ms` by the venue's clock.
    """
    symbols = tuple(dict.fromkeys(held.symbol for held in holdings))
    if is_locked(state, now_ms):
        if not symbols:
            return None
        return Flatten("locked", f"locked for the day: {state.lock_reason}", symbols, locks=False)
    if valuation is not None and is_settled(state):
        reached = _reached(rules, as_of(state, now_ms), valuation)
        if reached is not None:
            return Flatten(*reached, symbols, locks=True)
    late = tuple(symbol for symbol in symbols if is_late(rules.sessions, symbol, now_ms))
    return Flatten("flat_by", "the session ends: " + ", ".join(late), late, locks=False) if late else None


def _reached(rules: PropRules, state: PropState, valuation: Valuation) -> tuple[str, str] | None:
    worth = valuation.in_hand
    for limit in loss_limits(rules, state):
        room = worth - limit.level
        if room <= limit.flatten_within:
            return limit.name, f"{room:.2f} above {limit.level:.2f}, buffer {limit.flatten_within:.2f}"
    target = profit_level(rules, state)
    if target is not None and worth >= target:
        return "own_daily_profit", f"{worth - state.day_start_balance:.2f} gained today"
    return None


def refusal(
    rules: PropRules,
    state: PropState,
    entry: Entry,
    valuation: Valuation | None,
    holdings: Sequence[Holding],
    now_ms: int,
    pending: Sequence[Entry] = (),
) -> str | None:
    """Why this entry may not be sent, in words for the log; None when it may.

    `pending`: other entries on their way. Ask `size_cap` first: a size above it is refused here.
    `now_ms` by the venue's clock.
    """
    if is_locked(state, now_ms):
        return f"locked until the next trading day: {state.lock_reason}"
    words = _clock_refusal(rules, entry.symbol, now_ms) or _money_refusal(rules, state, valuation, now_ms)
    if words is not None:
        return words
    cap = smallest(size_caps(rules, state, entry, valuation, holdings, pending))
    if cap is not None and entry.size > cap.contracts:
        return f"size {entry.size} is above {cap.contracts}: {cap.words}"
    return None


def _clock_refusal(rules: PropRules, symbol: str, now_ms: int) -> str | None:
    if rules.products and symbol not in rules.products:
        return f"{symbol} is not a permitted product"
    if is_calendar_over(rules.sessions, now_ms):
        return f"the holidays are known until {rules.sessions.known_until} only: update config/topstep/holidays.json"
    session = window(rules.sessions, symbol, now_ms)
    if not session.is_open(now_ms):
        return "the session is closed"
    if now_ms >= session.entries_until_ms:
        return "too late in the session for entries"
    names = {symbol, rules.sessions.groups.get(symbol, "")}
    for blackout in rules.blackouts:
        if (blackout.products is None or names & set(blackout.products)) and blackout.covers(now_ms):
            return f"news: {blackout.name}"
    return None


def _money_refusal(rules: PropRules, state: PropState, valuation: Valuation | None, now_ms: int) -> str | None:
    if not state.day or now_ms >= state.day_ends_ms:
        return "the balance at the start of the day is not known"
    if valuation is None or not is_settled(state):
        return "the equity is unknown"
    if rules.max_loss_limit is not None and not state.highest_known and not _is_floor_certain(rules):
        return "the highest end-of-day balance is not known: set prop_rules.highest_eod_balance from the dashboard"
    for limit in loss_limits(rules, state):
        room = valuation.in_hand - limit.level
        if room <= limit.refuse_within:
            return f"{limit.name}: {room:.2f} left"
    target = profit_level(rules, state)
    if target is not None and valuation.in_hand >= target:
        return "own_daily_profit is reached"
    return None


def _is_floor_certain(rules: PropRules) -> bool:
    return rules.trailing == "static" or rules.payout_taken
