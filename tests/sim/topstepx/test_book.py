"""The matching of the simulated TopstepX by itself: it keeps its books whatever is done to it, and it is pure."""

import itertools
import random
from collections import deque
from datetime import date
from decimal import Decimal as D
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.topstepx_book import Book
from sim.topstepx_products import PRODUCTS, active_contract
from sim.topstepx_types import TERMINAL, Account, Bracket, OrderType, Request, Status
from tests.test_imports import ROOT, imports, tops

MGC = active_contract(PRODUCTS["MGC"], date(2026, 11, 20))
ACTING = {"time", "asyncio", "socket", "aiohttp", "threading", "os", "subprocess", "logging", "pathlib"}

sides, sizes, ticks = st.integers(0, 1), st.integers(1, 5), st.integers(-60, 60)
steps = st.one_of(
    st.tuples(st.just("market"), sides, sizes, st.booleans()),
    st.tuples(st.just("limit"), sides, sizes, ticks),
    st.tuples(st.just("stop"), sides, sizes, ticks),
    st.tuples(st.just("price"), ticks),
    st.tuples(st.just("wait"), st.integers(0, 40_000)),
    st.tuples(st.just("close"), st.integers(1, 5)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("modify"), st.integers(0, 9), ticks),
)


class Desk:
    """A book with one account, moved step by step."""

    def __init__(self, part):
        self.book = Book(random.Random(1))
        self.book.rules.part = part
        self.account = self.book.accounts[1] = Account(1, "PRAC", D(150_000))
        self.book.active[MGC.id] = MGC
        self.now_us = 0
        self.price(0)

    def level(self, tick):
        return D(4_100) + tick * MGC.tick

    def price(self, tick):
        level = self.level(tick)
        self.book.quote(MGC.id, level - MGC.tick, level + MGC.tick)
        self.book.trade(MGC.id, level, self.now_us)

    def order(self, kind, side, size, **fields):
        self.book.place(Request(1, MGC.id, kind, side, size, **fields), MGC, self.now_us)

    def market(self, side, size, is_bracketed):
        sign = 1 if side == 0 else -1
        pair = {"stop_loss": Bracket(-20 * sign, OrderType.STOP), "take_profit": Bracket(25 * sign, OrderType.LIMIT)}
        self.order(OrderType.MARKET, side, size, **(pair if is_bracketed else {}))

    def limit(self, side, size, tick):
        self.order(OrderType.LIMIT, side, size, limit_price=self.level(tick))

    def stop(self, side, size, tick):
        self.order(OrderType.STOP, side, size, stop_price=self.level(tick))

    def wait(self, us):
        self.now_us += us
        self.book.advance(self.now_us)

    def close(self, size):
        if held := self.account.held(MGC.id):
            self.book.close(self.account, MGC.id, min(size, abs(held)), self.now_us)

    def cancel(self, which):
        if live := self.book.live(1):
            self.book.cancel(live[which % len(live)], self.now_us)

    def modify(self, which, tick):
        if live := self.book.live(1):
            self.book.modify(live[which % len(live)], None, self.level(tick), self.level(tick), None, self.now_us)


def first_in_first_out(rows):
    """Signed size and gross profit of a list of executions, worked out anew."""
    lots, profit = deque(), D(0)
    for row in rows:
        sign, left = (1 if row.side == 0 else -1), row.size
        while left and lots and lots[0][0] != sign:
            held_sign, size, price = lots.popleft()
            part = min(left, size)
            profit += held_sign * (row.price - price) * 10 * part
            left -= part
            if size > part:
                lots.appendleft((held_sign, size - part, price))
        if left:
            lots.append((sign, left, row.price))
    return sum(sign * size for sign, size, _ in lots), profit


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40), st.sampled_from([None, D("0.4")]))
def test_the_books_are_kept(script, part):
    desk = Desk(part)
    for name, *args in script:
        getattr(desk, name)(*args)
        rows = desk.book.executions
        held, profit = first_in_first_out(rows)
        assert desk.account.held(MGC.id) == held
        assert sum((r.profit or D(0)) for r in rows) == profit
        assert desk.account.balance == 150_000 + profit - sum(r.size for r in rows) * D("0.96")
        assert all(r.id < s.id for r, s in itertools.pairwise(rows))
        for order in desk.book.orders_of(1):
            assert 0 <= order.filled <= order.size and (order.filled == order.size) is (order.status is Status.FILLED)
            assert (order in desk.book.live(1)) is (order.status not in TERMINAL)
    desk.wait(10_000_000)
    assert desk.book.next_due_us() is None  # nothing stays on the time table for ever
    for order in desk.book.live(1):
        assert order.status in (Status.OPEN, Status.SUSPENDED)
        assert order.status is Status.OPEN or desk.book.orders[order.parent_id].status is Status.OPEN


def test_the_book_is_pure():
    waiting, seen = [ROOT / "sim/topstepx_book.py"], set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        assert not tops(path) & ACTING, path.name
        used = {ROOT / "sim" / f"{name.split('.')[1]}.py" for name in imports(path) if name.startswith("sim.")}
        waiting += [other for other in used - seen if Path(other).is_file()]
    assert len(seen) >= 4
