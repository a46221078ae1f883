"""Without reduce-only, whatever answers, fills, losses, hands and restarts come in, the brain keeps its promises.

The gateway is right about itself; the post between it and the brain is what the drawn program makes of it.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.decide import decide
from core.messages import (
    AccountSnapshot,
    AnyAction,
    Cancel,
    CancelAnswered,
    Modify,
    ModifyAnswered,
    Note,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    ReadAccount,
    ReadOrders,
    RejectReason,
    Settle,
    Started,
    StreamDown,
    StreamUp,
    Submit,
    Tick,
    WorkingOrders,
)
from core.model import Order, OrderStatus, OrderType, Purpose, Side, Trade
from core.orders import BRIDGE_MS
from core.positions import held
from core.rules import Rules
from core.signals import Signal
from core.state import ExitReason, MarketState, State
from tests.core.gateway import FEE, RULES, TICK, Gateway, rules_with
from tests.core.world import T0, D

TICK_MS = 200
Program = list[tuple[str, int]]

DOUBTFUL = (OrderStatus.SENT, OrderStatus.UNKNOWN)


class World:
    """The brain on one side, the gateway on the other, and the post between them in the drawn order."""

    def __init__(self, rules: Rules = RULES, brackets: bool = True) -> None:
        self.rules, self.state, self.venue = rules, State(), Gateway()
        self.venue.brackets = brackets
        self.now_ms = T0
        self.signal: Signal | None = None
        self.requests: list[AnyAction] = []  # handed out, not yet at the venue
        self.asked_ms: dict[int, int] = {}  # when each of them was handed out
        self.mail: list[list[Any]] = []  # told by the venue, not yet here
        self.delivered: list[Any] = []
        self.refuse: list[RejectReason] = []
        self.lose = 0
        self.deaf = False
        self.runs = 0
        self.trades = 0
        self.tags: set[str] = set()
        self.notes: set[str] = set()
        self.reasons: set[ExitReason | None] = set()
        self.begin()

    @property
    def market(self) -> MarketState:
        return self.state.markets["MGC"]

    def begin(self) -> None:
        """A start, or a restart: what was on its way is lost, the state comes from the journal."""
        self.runs += 1
        self.mail.clear()
        self.requests.clear()
        self.delivered.clear()
        self.deaf = False
        self.feed(Started(run_id=self.runs, rules=self.rules, received_ms=self.now_ms))
        for name in ("topstepx-market", "topstepx-user"):
            self.feed(StreamUp(stream=name, subscriptions=4, received_ms=self.now_ms))

    # --- the brain ----------------------------------------------------------------------------------------------------

    def feed(self, item: Any) -> None:
        before = self.state
        self.state, actions = decide(before, item, self.rules, {"MGC": lambda bars: self.signal})
        for action in actions:
            if isinstance(action, Note):
                self.notes.add(action.name)
            elif isinstance(action, Submit):
                self.check_submit(before, action)
            elif isinstance(action, Modify) and action.size is not None:
                self.check_resize(action)
            if isinstance(action, Submit | Cancel | Modify | Settle | ReadOrders | ReadAccount):
                self.requests.append(action)
                self.asked_ms[id(action)] = self.now_ms
        self.reasons.add(self.market.exit_reason)
        self.check_state()

    def check_submit(self, before: State, action: Submit) -> None:
        order, market = action.order, self.market
        assert order.client_id not in self.tags, "P3: one order was sent twice"
        self.tags.add(order.client_id)
        others = [r for r in market.orders.values() if r.is_live and r.order.client_id != order.client_id]
        if action.purpose is Purpose.ENTRY:
            assert self.state.synced and before.halted is None, "P1, P9"
            assert not others and market.position is None, "P3: something is in doubt"
            return
        position = market.position
        assert position is not None and order.side is position.side.opposite
        assert order.size == position.size, "P4: not what is held"
        exits = [r for r in others if r.purpose is Purpose.EXIT]
        assert not exits or action.purpose is not Purpose.EXIT, "P3: two closes in the air"
        closing = [r for r in exits if r.order.side is not position.side]
        doubtful = [r for r in closing if r.status in DOUBTFUL and self.now_ms - r.sent_ms >= BRIDGE_MS]
        assert closing == doubtful, "a stop that could outlive the position"
        assert not closing or (action.purpose is Purpose.STOP and "exit_bridged" in self.notes)
        alike = [r for r in others if r.purpose is action.purpose and r.cancel_ms is None]
        assert not alike, "a second order of the same kind"
        if action.purpose is Purpose.EXIT and "exit_unconfirmed" not in self.notes:
            assert not [r for r in others if r.rests], "P4: a close beside a stop or target"

    def check_resize(self, action: Modify) -> None:
        position = self.market.position
        record = next(r for r in self.market.orders.values() if r.order_id == action.order_id)
        assert position is not None and action.size is not None
        assert action.size - record.filled_size <= position.size, "a stop larger than the position"

    def check_state(self) -> None:
        market = self.market
        exits = [r for r in market.orders.values() if r.is_live and r.purpose is Purpose.EXIT]
        assert len(exits) <= 1, "two closes in the air"
        if market.position is None:
            assert market.exit_reason is None and market.naked_since_ms is None

    def check_naked(self) -> None:
        """P2, as the brain sees it: past the bound the position is being closed."""
        market = self.market
        if market.naked_since_ms is None or not market.known:
            return
        if self.now_ms - market.naked_since_ms > 2_000 + TICK_MS:
            assert market.exit_reason is not None, "P2: naked for too long"

    # --- the post -----------------------------------------------------------------------------------------------------

    def serve(self, number: int) -> None:
        """One request reaches the venue."""
        if not self.requests:
            return
        action = self.requests.pop(number % len(self.requests))
        self.now_ms += 1
        venue, now_ms, asked_ms = self.venue, self.now_ms, self.asked_ms.pop(id(action), self.now_ms)
        match action:
            case Submit():
                self.serve_order(action.order, action.purpose is not Purpose.ENTRY)
            case Settle():
                self.mail.append([venue.settle(action.order, now_ms)])
            case Cancel():
                self.serve_cancel(action)
            case Modify():
                self.serve_modify(action)
            case ReadOrders():
                self.mail.append([venue.listing(now_ms, asked_ms)])
            case ReadAccount():
                since = action.fills_since_ms
                history = venue.history(since) if since is not None else []
                self.mail.append([*history, venue.snapshot(now_ms, asked_ms)])
        self.collect()

    def is_lost(self) -> tuple[bool, bool]:
        """Whether this answer is lost, and whether the request arrives."""
        if not self.lose:
            return False, True
        self.lose -= 1
        return True, self.lose % 2 == 0

    def serve_order(self, order: Order, closes: bool) -> None:
        lost, arrives = self.is_lost()
        answer: Any = None
        if arrives and self.refuse:
            answer = OrderRejected(
                client_id=order.client_id, symbol="MGC", reason=self.refuse.pop(), text="no", received_ms=self.now_ms
            )
        elif arrives:
            answer = self.venue.place(order, closes, self.now_ms)
        if lost:
            answer = OrderUnknown(client_id=order.client_id, symbol="MGC", error="timed out", received_ms=self.now_ms)
        self.mail.append([answer])

    def serve_cancel(self, action: Cancel) -> None:
        lost, arrives = self.is_lost()
        answer = self.venue.cancel(action.order_id, self.now_ms) if arrives else None
        if lost or answer is None:
            answer = CancelAnswered(
                symbol="MGC", order_id=action.order_id, gone=False, error="timed out", received_ms=self.now_ms
            )
        self.mail.append([answer])

    def serve_modify(self, action: Modify) -> None:
        lost, arrives = self.is_lost()
        answer = self.venue.modify(action, self.now_ms) if arrives else None
        if lost or answer is None:
            answer = ModifyAnswered(
                symbol="MGC", order_id=action.order_id, done=None, reason=None, error="?", received_ms=self.now_ms
            )
        self.mail.append([answer])

    def collect(self) -> None:
        news = self.venue.take_news()
        if not self.deaf:
            self.mail.extend([item] for item in news)

    def deliver(self, number: int) -> None:
        if self.mail:
            letter = self.mail.pop(number % len(self.mail))
            self.delivered = [*self.delivered[-8:], letter]
            self.open(letter)

    def open(self, letter: list[Any]) -> None:
        for item in letter:
            self.feed(msgspec.structs.replace(item, received_ms=self.now_ms))

    # --- the program --------------------------------------------------------------------------------------------------

    def step(self, name: str, number: int) -> None:
        OPS[name](self, number)
        if name == "tick":
            self.check_naked()

    def tick(self, number: int) -> None:
        for _ in range(1 + number % 10):
            self.pass_time(TICK_MS)

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        self.venue.match(self.now_ms)
        self.collect()
        self.feed(Tick(received_ms=self.now_ms))

    def trade(self, number: int) -> None:
        """A print up to six dollars away."""
        self.now_ms += 1
        self.venue.move(max(self.venue.price + (number % 41 - 20) * 3 * TICK, D(3000)), self.now_ms)
        self.collect()
        self.tell_price()

    def tell_price(self) -> None:
        self.trades += 1
        self.feed(Trade("MGC", self.venue.price, D(1), Side.BUY, self.trades, self.now_ms, self.now_ms))

    def bar(self, number: int) -> None:
        self.signal = (Signal.LONG, Signal.SHORT, Signal.FLAT, Signal.LONG)[number % 4]
        for _ in range(5):
            self.pass_time(TICK_MS)
        self.trade(20)
        self.signal = None

    def hand(self, number: int) -> None:
        self.venue.hand(Side.BUY if number % 2 else Side.SELL, 1 + number % 3, self.now_ms)
        self.collect()

    def hand_stop(self, number: int) -> None:
        """The user rests a stop, of the position's size or not."""
        venue = self.venue
        side = Side.SELL if venue.position > 0 else Side.BUY
        size = int(abs(venue.position)) if number % 3 and venue.position else 1
        venue.hand_order(side, size, OrderType.STOP, venue.price + side.sign * (10 + number % 30) * TICK, self.now_ms)
        self.collect()

    def hand_cancel(self, number: int) -> None:
        """The user takes an order away, whosever it is."""
        working = self.venue.working()
        if working:
            self.venue.cancel(working[number % len(working)].order_id, self.now_ms)
            self.collect()

    def repeat(self, number: int) -> None:
        once = AccountSnapshot | WorkingOrders | OrderSettled
        old = [letter for letter in self.delivered if not isinstance(letter[-1], once)]
        if old:
            self.open(old[number % len(old)])

    def refuse_next(self, number: int) -> None:
        reasons = (RejectReason.OTHER, RejectReason.OUTSIDE_HOURS, RejectReason.BRACKETS, RejectReason.BAD_TRIGGER)
        self.refuse = [reasons[number % 4]] * (1 + number % 10)

    def lose_next(self, number: int) -> None:
        self.lose = 1 + number % 3

    def partly(self, number: int) -> None:
        self.venue.partly = bool(number % 2)

    def slow_fill(self, number: int) -> None:
        self.venue.delay_ms = (0, 30, 300, 1_500)[number % 4]

    def stream(self, number: int) -> None:
        """The user hub goes or comes; prices go on."""
        name = "topstepx-user"
        self.deaf = not self.deaf
        if self.deaf:
            self.feed(StreamDown(stream=name, error="reset", retry_s=1.0, attempt=1, received_ms=self.now_ms))
        else:
            self.feed(StreamUp(stream=name, subscriptions=4, received_ms=self.now_ms))

    def restart(self, number: int) -> None:
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=State)
        self.now_ms += 500 * (number % 20)
        self.venue.match(self.now_ms)
        self.venue.take_news()
        self.begin()

    def sleep(self, number: int) -> None:
        self.signal = Signal.LONG
        self.pass_time(4_000 if number % 2 else 600_000)
        self.signal = None

    def calm(self, seconds: int = 45) -> None:
        """The dust settles: everything is served and delivered in order, time goes on, nothing else happens."""
        self.refuse, self.lose, self.venue.partly, self.venue.delay_ms = [], 0, False, 0
        if self.deaf:
            self.stream(0)
        for ms in [TICK_MS] * 50 + [1_000] * (seconds - 10):
            self.pass_time(ms)
            self.now_ms += 1
            self.tell_price()
            self.flush(0)
            self.check_naked()

    def flush(self, number: int) -> None:
        """A quick and faithful post: everything on its way arrives, in order."""
        began_ms = self.now_ms
        while self.requests or self.mail:
            assert self.now_ms - began_ms < 1_000, "a storm of requests"
            self.now_ms += 1
            while self.mail:
                self.deliver(0)
            self.serve(0)


OPS: dict[str, Callable[[World, int], None]] = {
    "tick": World.tick,
    "trade": World.trade,
    "bar": World.bar,
    "serve": World.serve,
    "deliver": World.deliver,
    "flush": World.flush,
    "repeat": World.repeat,
    "refuse": World.refuse_next,
    "lose": World.lose_next,
    "partly": World.partly,
    "slow_fill": World.slow_fill,
    "stream": World.stream,
    "restart": World.restart,
    "sleep": World.sleep,
    "hand": World.hand,
    "hand_stop": World.hand_stop,
    "hand_cancel": World.hand_cancel,
}
BUSY = ("tick", "trade", "trade", "bar", "bar", "serve", "serve", "serve", "deliver", "deliver", "deliver", "flush")
VENUE_OPS = (*BUSY, "repeat", "refuse", "lose", "partly", "slow_fill", "stream", "restart", "sleep")
ALL_OPS = (*VENUE_OPS, "hand", "hand_stop", "hand_cancel")


def programs(ops: tuple[str, ...], size: int = 90) -> st.SearchStrategy[Program]:
    return st.lists(st.tuples(st.sampled_from(ops), st.integers(0, 99)), min_size=size // 2, max_size=size)


def run(program: Program, rules: Rules = RULES, brackets: bool = True) -> World:
    world = World(rules, brackets)
    for _ in range(4):
        world.flush(0)
        world.tick(0)
    for name, number in program:
        world.step(name, number)
    return world


def check_settled(world: World) -> None:
    """The brain and the venue agree; the position has one stop of its size, or nothing of ours is left."""
    world.calm()
    market, venue = world.market, world.venue
    assert held(market) == venue.position, "the brain is wrong about the position"
    gains = sum((fill.closed_pnl for fill in venue.fills), Decimal(0))
    assert world.state.day_realized == gains - FEE * len(venue.fills), "a fill was booked twice, or not at all"
    assert world.state.equity == venue.balance
    ours = [order for order in venue.working() if order.tag is not None]
    if venue.position == 0:
        assert not ours, "an order was left over"
        assert market.clean
        return
    side = Side.SELL if venue.position > 0 else Side.BUY
    assert all(order.side is side and order.left == abs(venue.position) for order in ours), "it would turn round"
    if market.exit_reason is not None:
        return
    assert all(record.rests for record in market.orders.values() if record.is_live), "an order without an end"
    whole = [o for o in venue.working() if o.kind is OrderType.STOP and (o.side, o.left) == (side, abs(venue.position))]
    by_hand = [order for order in whole if order.tag is None]
    assert whole, "a position without a stop"
    assert len(whole) == 1 or len(whole) == len(by_hand), "two stops would open a position"
    assert len([order for order in ours if order.kind is OrderType.LIMIT]) <= 1


def profile(examples: int) -> settings:
    """The same examples in every run: a red build means a change, not luck."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=slow)


@profile(120)
@given(programs(VENUE_OPS), st.booleans())
def test_a_hostile_venue_breaks_no_promise(program, brackets):
    check_settled(run(program, brackets=brackets))


@profile(120)
@given(programs(ALL_OPS))
def test_a_hand_on_the_mouse_breaks_no_promise(program):
    check_settled(run(program, rules_with(strategy=None)))


@profile(120)
@given(programs(("bar", "tick", "serve", "serve", "serve", "deliver", "deliver", "deliver")), st.booleans())
def test_late_post_is_no_news(program, brackets):
    """Answers, fills and reads that only come in a strange order leave nothing to be corrected."""
    world = run([(name, number) for name, number in program if name != "tick" or number % 10 < 2], brackets=brackets)
    check_settled(world)
    if "exit_unconfirmed" not in world.notes:  # post that takes more than a second is not only late
        assert not world.notes & {"position_flipped", "fault"}
        assert not world.venue.turned


@profile(60)
@given(programs(("bar", "trade", "tick", "flush", "flush"), 40), st.booleans())
def test_a_friendly_venue_keeps_every_position_protected(program, brackets):
    """With a quick post nothing is ever closed for want of a stop, and nothing that closes ever opens."""
    world = World(brackets=brackets)
    for name, number in program:
        world.step(name, 1 if name == "tick" else number)
        world.flush(0)
    check_settled(world)
    assert ExitReason.UNPROTECTED not in world.reasons
    assert "exit_unconfirmed" not in world.notes
    assert not world.venue.turned


@profile(60)
@given(programs(ALL_OPS))
def test_the_state_survives_the_journal(program):
    """And nothing but the events decides (P12): the same program again makes the same state."""
    state = run(program).state
    line = msgspec.json.encode(state)
    again = msgspec.json.decode(line, type=State)
    assert again == state
    assert msgspec.json.encode(again) == line
    assert run(program).state == state
