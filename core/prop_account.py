"""What the guard knows of the account: the days it remembers, what it is worth now, how far the limits are. Pure.

Formulas and their sources: protocol page 6.
"""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal

from msgspec.structs import replace

from core.model import ZERO
from core.prop_values import Consistency, Flatten, Holding, Limit, PropRules, PropState, Room, Valuation
from core.sessions import day_ends_ms, next_day, trading_day

OVERTAKEN_MS_MAX = 60_000  # older still: our clock was wrong when the last one came
UNKNOWN_TICK_SLIPPAGE = Decimal("0.001")  # of the price, for a contract whose tick nobody told us


# --- what is remembered ---------------------------------------------------------------------------------------------


def roll(state: PropState, rules: PropRules, balance: Decimal, told_ms: int) -> PropState:
    """The state after the venue has told `balance`: days end here.

    `told_ms` by the venue's clock; for a REST answer the moment it was asked for. A word that was overtaken is dropped.
    """
    if state.balance_ms - OVERTAKEN_MS_MAX < told_ms < state.balance_ms:
        return state
    day = trading_day(told_ms)
    if day != state.day:  # also an earlier one, after a clock that was ahead
        state = _begin_day(state, rules, balance, day)
    told = rules.highest_eod_balance
    if told is not None and told != state.told_highest:
        highest = max(told, state.highest_balance)
        state = replace(state, highest_balance=highest, highest_known=True, told_highest=told)
    return replace(state, balance=balance, balance_ms=told_ms)


def _begin_day(state: PropState, rules: PropRules, balance: Decimal, day: str) -> PropState:
    """The day before ended with what is there now, less what this day's fills have brought already."""
    opening = balance - (state.net if state.net_day == day else ZERO)
    if not state.day:
        known, best_day = opening == rules.start_balance, ZERO
    else:
        # an end of day that nobody saw, with trades around it, may have been the highest
        known = state.highest_known and (next_day(state.day) == day or opening == state.balance)
        best_day = max(state.best_day, opening - state.day_start_balance)
    return replace(
        state,
        day=day,
        day_ends_ms=day_ends_ms(day),
        day_start_balance=opening,
        highest_balance=max(rules.start_balance, state.highest_balance, opening),
        highest_known=known,
        best_day=best_day,
    )


def as_of(state: PropState, now_ms: int) -> PropState:
    """Without a day once it is over: its limits end with it, and how the next began has yet to be told."""
    return state if now_ms < state.day_ends_ms else replace(state, day="")


def book(state: PropState, net: Decimal, time_ms: int) -> PropState:
    """A fill's closed profit minus its costs, each fill once: after a first start they tell how the day began."""
    day = trading_day(time_ms)
    if day < state.net_day:
        return state
    return replace(state, net_day=day, net=net + (state.net if day == state.net_day else ZERO))


def moved(state: PropState, now_ms: int) -> PropState:
    """After a fill (an opening one costs fees): until the balance is told again, it and the position disagree."""
    return replace(state, moved_ms=now_ms)


def in_doubt(state: PropState) -> PropState:
    """The balance that came last and the positions may not know of the same fills: unsettled until told again."""
    return replace(state, moved_ms=state.balance_ms, balance_ms=state.balance_ms - 1)


def is_settled(state: PropState) -> bool:
    return state.balance_ms >= state.moved_ms


def watch_high(state: PropState, rules: PropRules, valuation: Valuation) -> PropState:
    """Remember the best equity, which raises the floor in the intraday variant. The same object when nothing rose."""
    best = valuation.balance + valuation.best_profit
    if rules.trailing != "intraday" or (state.equity_high is not None and best <= state.equity_high):
        return state
    return replace(state, equity_high=best)


def lock(state: PropState, flatten: Flatten, now_ms: int) -> PropState:
    """No entries until the next trading day."""
    return replace(state, locked_until_ms=day_ends_ms(trading_day(now_ms)), lock_reason=flatten.name)


def is_locked(state: PropState, now_ms: int) -> bool:
    return now_ms < state.locked_until_ms


# --- what the account is worth --------------------------------------------------------------------------------------


def equity(rules: PropRules, balance: Decimal, holdings: Sequence[Holding], now_ms: int) -> Valuation | None:
    """Balance and open profit of every position of the account (page 6.11). `now_ms` by our clock, as the prices' age.

    None: a held contract has no price we could leave it at, or one too old. That is unknown, not unchanged.
    """
    profit = best = cost = slippage = ZERO
    for held in holdings:
        marks = _marks(held)
        if marks is None or now_ms - held.price_received_ms >= rules.max_price_age_ms:
            return None
        mark, best_mark = marks
        unit = held.size * held.multiplier
        profit += unit * (mark - held.entry_price)
        best += unit * (best_mark - held.entry_price)
        cost += abs(held.size) * rules.side_cost(held.symbol)
        slip = mark * UNKNOWN_TICK_SLIPPAGE if held.tick_size is None else held.tick_size * rules.slippage_ticks
        slippage += abs(unit) * slip
    return Valuation(balance, profit, best, cost, slippage)


def _marks(held: Holding) -> tuple[Decimal, Decimal] | None:
    """The worst and the best price the venue may mark with; None when only the far side of the quote is there."""
    is_long = held.size > 0
    near = [price for price in (held.bid if is_long else held.ask, held.last) if price is not None]
    if not near:
        return None
    every = [price for price in (held.bid, held.ask, held.last) if price is not None]
    return (min(near), max(every)) if is_long else (max(near), min(every))


def floor(rules: PropRules, state: PropState) -> Decimal | None:
    """The equity at which the venue closes the account (page 6.2); None: no such limit."""
    if rules.max_loss_limit is None:
        return None
    if rules.payout_taken:
        return rules.start_balance
    highest = rules.start_balance
    if rules.trailing != "static":
        highest = max(highest, state.highest_balance)
    if rules.trailing == "intraday" and state.equity_high is not None:
        highest = max(highest, state.equity_high)
    return min(rules.start_balance, highest - rules.max_loss_limit)


def loss_limits(rules: PropRules, state: PropState) -> list[Limit]:
    """The limits below us, the deadliest first. Our own need no buffer: reaching them costs nothing but the day."""
    limits = []
    level = floor(rules, state)
    if level is not None:
        limits.append(Limit("max_loss_limit", level, rules.safety_buffer, rules.entry_buffer))
    if state.day and rules.daily_loss_limit is not None:
        level = state.day_start_balance - rules.daily_loss_limit
        limits.append(Limit("daily_loss_limit", level, rules.safety_buffer, rules.entry_buffer))
    if state.day and rules.own_daily_loss is not None:
        limits.append(Limit("own_daily_loss", state.day_start_balance - rules.own_daily_loss, ZERO, ZERO))
    return limits


def profit_level(rules: PropRules, state: PropState) -> Decimal | None:
    if rules.own_daily_profit is None or not state.day:
        return None
    return state.day_start_balance + rules.own_daily_profit


def distances(
    rules: PropRules,
    state: PropState,
    valuation: Valuation | None,
    holdings: Sequence[Holding],
    tick_value: Decimal | None = None,
) -> tuple[Room, ...]:
    """How far each limit is, for people. `tick_value`: of one contract, what a tick means while nothing is held.

    With a contract among the holdings whose tick is unknown, the distance is in dollars only.
    """
    if holdings:
        steps = [abs(held.size) * held.multiplier * (held.tick_size or ZERO) for held in holdings]
        tick_value = sum(steps, ZERO) if all(steps) else None
    levels = [(limit.name, limit.level, 1) for limit in loss_limits(rules, state)]
    target = profit_level(rules, state)
    if target is not None:
        levels.append(("own_daily_profit", target, -1))
    rooms = []
    for name, level, sign in levels:
        dollars = None if valuation is None else sign * (valuation.in_hand - level)
        ticks = None if dollars is None or not tick_value else (dollars / tick_value).to_integral_value(ROUND_FLOOR)
        rooms.append(Room(name, level, dollars, ticks))
    return tuple(rooms)


def consistency(rules: PropRules, state: PropState, balance: Decimal) -> Consistency | None:
    """How far the profit target is (page 6.1); None where there is none."""
    if rules.profit_target is None or not state.day:
        return None
    best_day = max(rules.best_day_profit, state.best_day, balance - state.day_start_balance, ZERO)
    needed = rules.profit_target
    if rules.consistency_pct is not None:
        needed = max(needed, best_day * 100 / rules.consistency_pct)
    return Consistency(balance - rules.start_balance, best_day, needed)
