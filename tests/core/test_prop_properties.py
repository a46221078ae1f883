"""No price path reaches the venue's limits while the guard is asked on every price and obeyed.

The venue here is as harsh as it may be: it marks at the worst price, liquidates at a touch, and lets us out badly.
What is assumed: between two looks a contract moves no further than `slippage_ticks`, getting in and out together costs
no more than the safety buffer beyond that, and a hand that trades beside the bot stops when the day is locked.
"""

from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.prop_account import book, equity, lock, loss_limits, roll, watch_high
from core.prop_rules import must_flatten, refusal
from core.prop_size import size_cap
from core.prop_values import Entry, PropRules, PropState
from core.sessions import next_day
from tests.core.test_prop_rules import Held, rules
from tests.core.test_sessions import ct

D = Decimal
ZERO = D(0)
GAP = 6  # ticks, the slippage allowance
TICKS = {"MGC": (D("0.1"), D(10)), "MES": (D("0.25"), D(5)), "ES": (D("0.25"), D(50))}
STEPS = st.one_of(
    st.tuples(st.sampled_from(["price", "storm"]), st.sampled_from(sorted(TICKS)), st.integers(-GAP, GAP)),
    st.tuples(st.sampled_from(["trend"]), st.sampled_from(sorted(TICKS)), st.integers(-60, 60)),
    st.tuples(st.sampled_from(["enter", "hand"]), st.sampled_from(sorted(TICKS)), st.integers(-40, 40)),
    st.tuples(st.sampled_from(["leave", "night"]), st.just("MGC"), st.just(0)),
)


class Account:
    """The venue's books, and the guard beside them."""

    def __init__(self, guard: PropRules, day: str = "2026-11-16") -> None:
        self.guard, self.balance, self.day = guard, guard.start_balance, day
        self.last = {"MGC": D(4000), "MES": D(6000), "ES": D(6000)}
        self.held: dict[str, tuple[Decimal, Decimal]] = {}  # size and entry price
        self.highest = self.equity_high = self.day_start = self.balance
        self.hand_cost = ZERO
        self.entries = self.flattened = 0
        self.state = PropState()
        self.tell()

    @property
    def now_ms(self) -> int:
        return ct(f"{self.day} 12:00")

    def holdings(self) -> list[Held]:
        found = []
        for symbol, (size, entry) in self.held.items():
            tick, multiplier = TICKS[symbol]
            last = self.last[symbol]
            found.append(Held(symbol, size, entry, last - tick, last + tick, last, self.now_ms, multiplier, tick))
        return found

    def marked(self, sign: int) -> Decimal:
        """Equity at the worst (-1) or best (+1) marks there are."""
        profits = []
        for held in self.holdings():
            worst = held.tick_size if held.size > 0 else -held.tick_size
            mark = self.last[held.symbol] + sign * worst
            profits.append(held.size * held.multiplier * (mark - held.entry_price))
        return self.balance + sum(profits, ZERO)

    def check(self) -> None:
        """The venue looks: a touch is enough."""
        self.equity_high = max(self.equity_high, self.marked(1))
        most, daily, start = self.guard.max_loss_limit, self.guard.daily_loss_limit, self.guard.start_balance
        if most is not None:
            top = self.equity_high if self.guard.trailing == "intraday" else self.highest
            assert self.marked(-1) > min(start, max(start, top) - most)
        if daily is not None:
            assert self.marked(-1) - self.day_start > -daily

    def tell(self) -> None:
        self.state = roll(self.state, self.guard, self.balance, self.now_ms)

    def look(self, exit_slip: Decimal) -> None:
        """The guard looks, and is obeyed; the way out costs `exit_slip` of the buffer (0 to 1)."""
        self.check()
        valuation = equity(self.guard, self.balance, self.holdings(), self.now_ms)
        assert valuation is not None
        self.state = watch_high(self.state, self.guard, valuation)
        found = must_flatten(self.guard, self.state, valuation, self.holdings(), self.now_ms)
        if found is not None:
            self.flattened += 1
            if found.locks:
                self.state = lock(self.state, found, self.now_ms)
            left = max(self.guard.safety_buffer - self.hand_cost, ZERO)
            self.leave(left * exit_slip)
        self.hand_cost = ZERO

    def leave(self, slip: Decimal) -> None:
        """Everything out at the worst marks, `slip` dollars beyond them."""
        if self.held:
            fees = sum((abs(size) * self.guard.side_cost(symbol) for symbol, (size, _) in self.held.items()), ZERO)
            self.balance = self.marked(-1) - fees - slip
            self.held = {}
            self.check()
            self.tell()

    def enter(self, symbol: str, wanted: int, by_hand: bool) -> None:
        tick, multiplier = TICKS[symbol]
        tick_value, side = tick * multiplier, 1 if wanted > 0 else -1
        valuation = equity(self.guard, self.balance, self.holdings(), self.now_ms)
        entry = Entry(symbol, D(abs(wanted)), stop_value=20 * tick_value, tick_value=tick_value)
        free = size_cap(self.guard, self.state, entry, valuation, self.holdings())
        if by_hand:  # the venue keeps the caps; the hand keeps nothing
            free = D(3) if self.state.locked_until_ms <= self.now_ms else ZERO
        size = min(entry.size, free)
        entry = msgspec.structs.replace(entry, size=size)
        refused = refusal(self.guard, self.state, entry, valuation, self.holdings(), self.now_ms)
        if symbol in self.held or size < 1 or (refused is not None and not by_hand):
            return
        self.entries += 1
        fee = size * self.guard.side_cost(symbol)
        self.balance -= fee
        self.held[symbol] = (side * size, self.last[symbol] + side * tick)
        if by_hand:
            self.hand_cost = 2 * fee + 2 * size * tick_value
        self.tell()

    def night(self) -> None:
        self.leave(ZERO)
        self.day = next_day(self.day)
        self.highest = max(self.highest, self.balance)
        self.day_start = self.balance
        self.tell()

    def step(self, kind: str, symbol: str, number: int, exit_slip: Decimal) -> None:
        if kind == "trend":
            for _ in range(abs(number)):
                self.move([symbol], GAP if number > 0 else -GAP, exit_slip)
        elif kind in ("price", "storm"):
            self.move([symbol] if kind == "price" else list(TICKS), number, exit_slip)
        elif kind == "night":
            self.night()
        elif kind == "leave":
            self.leave(ZERO)
        elif number:
            self.enter(symbol, number, by_hand=kind == "hand")
        self.look(exit_slip)

    def move(self, symbols: list[str], ticks: int, exit_slip: Decimal) -> None:
        for symbol in symbols:
            self.last[symbol] += ticks * TICKS[symbol][0]
        self.look(exit_slip)


GUARDS = [
    rules(preset, slippage_ticks=GAP, **keys)
    for preset in ("combine_50k", "combine_150k", "xfa_50k")
    for keys in ({}, {"daily_loss_limit": None}, {"trailing": "intraday", "daily_loss_limit": None})
]


@given(st.sampled_from(GUARDS), st.lists(STEPS, max_size=40), st.integers(0, 100))
@settings(max_examples=400, deadline=None)
def test_no_path_reaches_a_limit(guard: PropRules, program: list[tuple[str, str, int]], slip_pct: int) -> None:
    account = Account(guard)
    for kind, symbol, number in program:
        account.step(kind, symbol, number, D(slip_pct) / 100)


@given(st.sampled_from(GUARDS), st.integers(1, 40), st.booleans())
@settings(max_examples=50, deadline=None)
def test_whoever_loses_day_after_day_keeps_the_account(guard: PropRules, size: int, long: bool) -> None:
    """The worst trader: always in, always wrong, always badly out. The guard is reached, the limit is not."""
    account = Account(guard)
    sign = 1 if long else -1
    for _ in range(12):
        for symbol in TICKS:
            account.step("hand", symbol, sign * size, D(1))
        for symbol in TICKS:
            account.step("trend", symbol, -sign * 60, D(1))
        account.step("night", "MGC", 0, D(1))
    assert account.flattened > 0 and account.entries > 0
    limit = loss_limits(guard, account.state)[0]
    assert account.balance > limit.level
    entry = Entry("MGC", D(1), D(1), D(1))
    valuation = equity(guard, account.balance, [], account.now_ms)
    assert "max_loss_limit" in str(refusal(guard, account.state, entry, valuation, [], account.now_ms))


def creep(account: Account, symbol: str, sign: int, exit_slip: Decimal) -> None:
    """Lose tick by tick until one more would wake the guard, then a whole gap at once: the worst way there is."""
    worth = abs(account.held[symbol][0]) * TICKS[symbol][0] * TICKS[symbol][1]
    while account.held:
        valuation = equity(account.guard, account.balance, account.holdings(), account.now_ms)
        assert valuation is not None
        limits = loss_limits(account.guard, account.state)
        ticks = min((valuation.in_hand - limit.level - limit.flatten_within) / worth for limit in limits)
        account.move([symbol], -sign * (1 if 1 < ticks <= GAP else GAP), exit_slip)


@given(
    st.sampled_from(GUARDS), st.sampled_from(sorted(TICKS)), st.integers(1, 40), st.booleans(), st.integers(0, 120),
    st.integers(1, 4),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_the_worst_way_to_a_limit_ends_before_it(
    guard: PropRules, symbol: str, size: int, long: bool, gaps_up: int, days: int
) -> None:
    """First in profit, which an intraday floor follows; then down to the guard with nothing to spare, badly out."""
    account = Account(guard)
    sign = 1 if long else -1
    for _ in range(days):
        account.step("enter", symbol, sign * size, D(1))
        for _ in range(gaps_up if account.held else 0):
            account.move([symbol], sign * GAP, D(1))
        if account.held:
            creep(account, symbol, sign, D(1))
            assert account.flattened > 0
        account.night()


def test_fills_told_before_the_first_balance_agree_with_a_guard_that_was_there() -> None:
    guard = GUARDS[0]
    there = Account(guard)
    late = PropState()
    for wanted in (2, -2, 3):
        before = there.balance
        there.enter("MGC", wanted, by_hand=False)
        there.leave(ZERO)
        late = book(late, there.balance - before, there.now_ms)
    late = roll(late, guard, there.balance, there.now_ms)
    assert late.day_start_balance == there.state.day_start_balance == guard.start_balance
