"""Whatever order answers, fills, losses, hands and restarts come in, the brain keeps its promises.

A small venue that is right about itself and hostile about everything else: it serves requests and delivers answers
when the drawn program says so, loses some, repeats some, refuses some, lets stops fire, and lets a hand trade.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.decide import decide
from core.freshness import price_age_ms
from core.messages import (
    AccountSnapshot,
    AnyAction,
    Cancel,
    CancelAnswered,
    Note,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    OrderUpdate,
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
from core.model import Fill, Order, OrderStatus, OrderType, Purpose, Side, Trade, VenuePosition, WorkingOrder
from core.positions import held
from core.protection import NAKED_MS_MAX, UNSEEN_MS_MAX, can_still_fill
from core.signals import Signal
from core.state import ExitReason, MarketState, State
from tests.core.world import RULES, T0, D, rules_with

TICK_MS = 200  # how often the main loop looks while something is open
ZERO = Decimal(0)
FEE = Decimal("0.001")
Program = list[tuple[str, int]]


class Resting(msgspec.Struct):
    """A trigger order as the venue keeps it."""

    order_id: int
    side: Side
    trigger: Decimal
    client_id: str | None
    listed_ms: int  # reads before this do not show it
    size: Decimal = ZERO  # 0: whatever is held


class Venue:
    """The truth: one market's position and triggers. What it tells goes to `mail`, to be delivered or not."""

    def __init__(self) -> None:
        self.position, self.entry_price, self.price = ZERO, ZERO, D(50000)
        self.stops: list[Resting] = []
        self.nonces: set[int] = set()
        self.known: dict[str, tuple[OrderStatus, Decimal, int]] = {}  # by client_id, of orders that executed
        self.fills: list[Fill] = []
        self.last_id = 100
        self.list_lag_ms = 0

    def execute(self, side: Side, size: Decimal, order_id: int, client_id: str | None, now_ms: int) -> Fill:
        before = self.position
        after = before + side.sign * size
        if before == 0 or (after > 0) != (before > 0):
            self.entry_price = self.price
        elif abs(after) > abs(before):
            self.entry_price = (self.entry_price * abs(before) + self.price * size) / abs(after)
        self.position = after
        if after == 0:
            self.stops.clear()  # page 8.3: a full close takes the position's stops with it
        fill = Fill(
            symbol="BTC", side=side, price=self.price, size=size, fee=FEE, closed_pnl=ZERO, order_id=order_id,
            client_id=client_id, fill_id=f"{now_ms}:BTC:{len(self.fills)}", time_ms=now_ms, received_ms=now_ms,
            start_position=before,
        )  # fmt: skip
        self.fills.append(fill)
        return fill

    def take(self, order: Order, part: int, now_ms: int) -> tuple[Any, list[Any]]:
        """The answer, and what the user stream tells. `part`: 0 fills whole, else only some of it."""
        self.last_id += 1
        common = {"client_id": order.client_id, "symbol": "BTC", "received_ms": now_ms}
        if order.nonce in self.nonces:
            return OrderRejected(reason=RejectReason.NONCE, text="duplicate nonce", **common), []
        self.nonces.add(order.nonce)
        if order.type is OrderType.STOP:
            assert order.trigger_price is not None
            self.stops.append(
                Resting(self.last_id, order.side, order.trigger_price, order.client_id, now_ms + self.list_lag_ms)
            )
            return OrderAccepted(
                order_id=None, status=OrderStatus.ACCEPTED, filled_size=ZERO, average_price=None, **common
            ), []
        size = order.size
        if order.reduce_only:
            if self.position * order.side.sign >= 0:
                return OrderRejected(reason=RejectReason.WOULD_INCREASE, text="would increase", **common), []
            size = min(size, abs(self.position))
        if part and size > D("0.001"):
            size = (size / 2).quantize(D("0.001"))
        halves = [size] if size <= D("0.002") else [D("0.002"), size - D("0.002")]
        fills = [self.execute(order.side, half, self.last_id, order.client_id, now_ms) for half in halves]
        status = OrderStatus.FILLED
        self.known[order.client_id] = (status, size, self.last_id)
        answer = OrderAccepted(
            order_id=self.last_id, status=status, filled_size=size, average_price=self.price, **common
        )
        return answer, list(fills)

    def move_price(self, price: Decimal, now_ms: int) -> list[Any]:
        """News of the stops that fired at `price`."""
        self.price = price
        news: list[Any] = []
        for stop in list(self.stops):
            crossed = price <= stop.trigger if stop.side is Side.SELL else price >= stop.trigger
            if not crossed or self.position * stop.side.sign >= 0 or stop not in self.stops:
                continue
            self.stops.remove(stop)
            size = abs(self.position) if stop.size == 0 else min(stop.size, abs(self.position))
            news.append(self.execute(stop.side, size, stop.order_id, None, now_ms))
            news.append(OrderUpdate(
                symbol="BTC", order_id=stop.order_id, client_id=None, status=OrderStatus.FILLED, venue_status="filled",
                size_left=ZERO, time_ms=now_ms, received_ms=now_ms,
            ))  # fmt: skip
        return news

    def settle(self, order: Order, now_ms: int) -> OrderSettled:
        self.nonces.add(order.nonce)  # the noop burns it
        status, size, order_id = self.known.get(order.client_id, (OrderStatus.REJECTED, ZERO, None))
        stop = next((s for s in self.stops if s.client_id == order.client_id), None)
        if stop is not None:
            status, order_id = OrderStatus.ACCEPTED, stop.order_id
        return OrderSettled(
            client_id=order.client_id, symbol="BTC", order_id=order_id, status=status, filled_size=size, text="",
            received_ms=now_ms,
        )  # fmt: skip

    def listing(self, now_ms: int) -> tuple[WorkingOrder, ...]:
        return tuple(
            WorkingOrder("BTC", s.side, s.order_id, None, s.size, s.trigger, s.trigger, True, True, s.size == 0, 0)
            for s in self.stops
            if s.listed_ms <= now_ms
        )

    def snapshot(self, now_ms: int) -> AccountSnapshot:
        positions = ()
        if self.position != 0:
            positions = (VenuePosition("BTC", self.position, self.entry_price, ZERO, None, 10, True),)
        return AccountSnapshot(
            equity=D(10000), available=D(10000), positions=positions, orders=self.listing(now_ms),
            requested_ms=now_ms, time_ms=now_ms, received_ms=now_ms,
        )  # fmt: skip


class World:
    """The brain on one side, the venue on the other, and the post between them in the drawn order."""

    def __init__(self, rules: Any = RULES) -> None:
        self.rules, self.state, self.venue = rules, State(), Venue()
        self.now_ms = T0
        self.signal: Signal | None = None
        self.requests: list[AnyAction] = []  # handed out, not yet at the venue
        self.mail: list[list[Any]] = []  # told by the venue, not yet here
        self.delivered: list[Any] = []
        self.refuse: list[RejectReason] = []  # for the next orders
        self.lose = 0  # how many of the next answers are lost; bit 0 says whether the order arrived
        self.part = 0
        self.deaf = False  # the stream is down: fills are not told
        self.runs = 0
        self.client_ids: set[str] = set()
        self.nonces: set[int] = set()
        self.trades = 0
        self.notes: set[str] = set()
        self.exit_reasons: set[ExitReason | None] = set()
        self.begin()

    @property
    def market(self) -> MarketState:
        return self.state.markets["BTC"]

    def begin(self) -> None:
        """A start, or a restart: what was on its way is lost, the state comes from the journal."""
        self.runs += 1
        self.mail.clear()
        self.requests.clear()
        self.delivered.clear()
        self.deaf = False
        self.feed(Started(run_id=self.runs, rules=self.rules, received_ms=self.now_ms))
        self.stream_up()

    def stream_up(self) -> None:
        """The fill channel begins with its history (page 1.8)."""
        self.deaf = False
        self.feed(StreamUp(stream="market", subscriptions=5, received_ms=self.now_ms))
        if self.venue.fills:
            self.mail.append([msgspec.structs.replace(fill, is_snapshot=True) for fill in self.venue.fills])

    # --- the brain ----------------------------------------------------------------------------------------------

    def feed(self, item: Any) -> None:
        before = self.state
        self.state, actions = decide(before, item, self.rules, {"BTC": lambda bars: self.signal})
        self.notes.update(action.name for action in actions if isinstance(action, Note))
        self.exit_reasons.add(self.market.exit_reason)
        for action in actions:
            if isinstance(action, Submit):
                self.check_submit(before, action)
            if isinstance(action, Submit | Cancel):
                nonce = action.order.nonce if isinstance(action, Submit) else action.nonce
                assert nonce not in self.nonces, "a nonce was used twice"
                self.nonces.add(nonce)
            if isinstance(action, Submit | Cancel | Settle | ReadOrders | ReadAccount):
                self.requests.append(action)
        self.check_state()

    def check_submit(self, before: State, action: Submit) -> None:
        order = action.order
        assert order.client_id not in self.client_ids, "P3: one order was sent twice"
        self.client_ids.add(order.client_id)
        if action.purpose is Purpose.ENTRY:
            market = self.market
            age_ms = price_age_ms(market, self.state, self.now_ms)
            assert age_ms is not None and age_ms <= self.rules.risk.max_price_age_ms, "P1"
            assert before.synced and before.halted is None and before.journal_ok, "P1, P9"
            assert not [r for r in before.markets["BTC"].orders.values() if r.is_live], "P3: something is in doubt"
            return
        assert order.reduce_only, "P4: an exit or stop that could open"
        if action.purpose is Purpose.EXIT:
            assert self.market.position is not None
            assert order.size <= self.market.position.size, "P4: larger than what is held"
            assert order.side is self.market.position.side.opposite

    def check_state(self) -> None:
        live = [r for r in self.market.orders.values() if can_still_fill(r)]
        assert len(live) <= 1, "two orders in flight in one market"
        position = self.market.position
        assert position is None or position.size > 0
        if position is None:
            assert self.market.exit_reason is None and self.market.naked_since_ms is None

    def check_naked(self) -> None:
        """P2, as the brain sees it: past the bound the position is being closed."""
        market = self.market
        since = market.naked_since_ms
        if since is None or not self.state.synced:
            return
        accepted = any(r.accepted_ms is not None for r in market.orders.values() if r.purpose is Purpose.STOP)
        limit_ms = UNSEEN_MS_MAX if accepted else NAKED_MS_MAX
        if self.now_ms - since > limit_ms + TICK_MS and 0 < market.price_received_ms < self.now_ms - TICK_MS:
            assert market.exit_reason is not None, "P2: naked for too long"
            in_flight = any(r.is_live and r.purpose is not Purpose.STOP for r in market.orders.values())
            assert in_flight or self.now_ms < market.exit_retry_ms + TICK_MS, "P2: no close is on its way"

    # --- the post -----------------------------------------------------------------------------------------------

    def serve(self, index: int) -> None:
        """One request reaches the venue."""
        if not self.requests:
            return
        action = self.requests.pop(index % len(self.requests))
        self.now_ms += isinstance(action, Submit)  # a block has one time: a read of that time knows its fills
        venue, now_ms = self.venue, self.now_ms
        match action:
            case Submit():
                self.serve_order(action.order)
            case Settle():
                self.mail.append([venue.settle(action.order, now_ms)])
            case Cancel():
                venue.stops = [s for s in venue.stops if s.order_id != action.order_id]
                self.mail.append([CancelAnswered(
                    symbol="BTC", order_id=action.order_id, gone=True, error=None, received_ms=now_ms
                )])  # fmt: skip
            case ReadOrders():
                self.mail.append([WorkingOrders(
                    orders=venue.listing(now_ms), requested_ms=now_ms, received_ms=now_ms
                )])  # fmt: skip
            case ReadAccount():
                since = action.fills_since_ms
                history = [f for f in venue.fills if since is not None and f.time_ms >= since]
                told = [msgspec.structs.replace(fill, is_snapshot=True) for fill in history]
                self.mail.append([*told, venue.snapshot(now_ms)])

    def serve_order(self, order: Order) -> None:
        arrives = True
        lost = self.lose > 0
        if lost:
            self.lose -= 1
            arrives = self.lose % 2 == 0
        answer: Any = None
        news: list[Any] = []
        if arrives and self.refuse:
            answer = OrderRejected(
                client_id=order.client_id, symbol="BTC", reason=self.refuse.pop(), text="no", received_ms=self.now_ms
            )
            self.venue.nonces.add(order.nonce)
        elif arrives:
            answer, news = self.venue.take(order, self.part, self.now_ms)
        if lost:
            answer = OrderUnknown(client_id=order.client_id, symbol="BTC", error="timed out", received_ms=self.now_ms)
        self.mail.append([answer])
        self.tell(news)

    def tell(self, news: list[Any]) -> None:
        if not self.deaf:
            self.mail.extend([item] for item in news)

    def deliver(self, index: int) -> None:
        if self.mail:
            letter = self.mail.pop(index % len(self.mail))
            self.delivered = [*self.delivered[-8:], letter]
            self.open(letter)

    def open(self, letter: list[Any]) -> None:
        for item in letter:
            self.feed(msgspec.structs.replace(item, received_ms=self.now_ms))

    # --- the program --------------------------------------------------------------------------------------------

    def step(self, name: str, number: int) -> None:
        OPS[name](self, number)
        if name == "tick":
            self.check_naked()

    def tick(self, number: int) -> None:
        """Time passes, up to two seconds, and nobody says anything."""
        for _ in range(1 + number % 10):
            self.pass_time(TICK_MS)

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        self.feed(Tick(received_ms=self.now_ms))

    def trade(self, number: int) -> None:
        """A print up to 2 % away; the mark follows at once."""
        self.now_ms += 1
        price = self.venue.price + (number % 41 - 20) * 50
        self.tell(self.venue.move_price(max(price, D(40000)), self.now_ms))
        if self.deaf:
            return
        self.trades += 1
        self.feed(Trade("BTC", self.venue.price, D("0.1"), Side.BUY, self.trades, self.now_ms, self.now_ms))

    def bar(self, number: int) -> None:
        """A second passes and the strategy says something."""
        self.signal = (Signal.LONG, Signal.SHORT, Signal.FLAT, Signal.LONG)[number % 4]
        for _ in range(5):
            self.pass_time(TICK_MS)
        self.trade(20)
        self.signal = None

    def hand(self, number: int) -> None:
        """The user trades by hand."""
        side = Side.BUY if number % 2 else Side.SELL
        self.venue.last_id += 1
        size = D("0.003") * (1 + number % 5)
        self.tell([self.venue.execute(side, size, self.venue.last_id, None, self.now_ms)])

    def hand_stop(self, number: int) -> None:
        """The user rests a stop, of fixed size or whole."""
        venue = self.venue
        venue.last_id += 1
        side = Side.SELL if venue.position > 0 else Side.BUY
        away = -side.sign * D(number % 40) * 25
        size = D("0.004") if number % 2 else ZERO
        venue.stops.append(Resting(venue.last_id, side, venue.price - away * -1, None, self.now_ms, size))

    def hand_cancel(self, number: int) -> None:
        """The user takes a stop away."""
        if self.venue.stops:
            stop = self.venue.stops.pop(number % len(self.venue.stops))
            self.tell([OrderUpdate(
                symbol="BTC", order_id=stop.order_id, client_id=None, status=OrderStatus.CANCELED,
                venue_status="canceled", size_left=ZERO, time_ms=self.now_ms, received_ms=self.now_ms,
            )])  # fmt: skip

    def repeat(self, number: int) -> None:
        """An answer or a fill comes again; reads and settlements, which our own threads ask for, do not."""
        once = AccountSnapshot | WorkingOrders | OrderSettled
        old = [letter for letter in self.delivered if not isinstance(letter[-1], once)]
        if old:
            self.open(old[number % len(old)])

    def refuse_next(self, number: int) -> None:
        reasons = (RejectReason.MARGIN, RejectReason.NO_LIQUIDITY, RejectReason.RATE_LIMIT, RejectReason.BAD_TRIGGER)
        self.refuse = [reasons[number % 4]] * (1 + number % 20)

    def lose_next(self, number: int) -> None:
        self.lose = 1 + number % 3

    def partly(self, number: int) -> None:
        self.part = number % 2

    def slow_list(self, number: int) -> None:
        self.venue.list_lag_ms = (0, 300, 1_000, 3_000)[number % 4]

    def stream(self, number: int) -> None:
        if self.deaf:
            self.stream_up()
        else:
            self.deaf = True
            self.feed(StreamDown(stream="market", error="reset", retry_s=1.0, attempt=1, received_ms=self.now_ms))

    def restart(self, number: int) -> None:
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=State)
        self.now_ms += 500 * (number % 20)
        self.begin()

    def sleep(self, number: int) -> None:
        """The lid closes, for seconds or for ten minutes, and the strategy wants in when it opens."""
        self.signal = Signal.LONG
        self.pass_time(4_000 if number % 2 else 600_000)
        self.signal = None

    def calm(self, seconds: int = 45) -> None:
        """The dust settles: everything is served and delivered in order, time goes on, nothing else happens."""
        self.refuse, self.lose, self.part, self.venue.list_lag_ms = [], 0, 0, 0
        if self.deaf:
            self.stream(0)
        for ms in [TICK_MS] * 50 + [1_000] * (seconds - 10):
            self.pass_time(ms)
            self.trade(20)
            self.flush(0)
            self.check_naked()

    def flush(self, number: int) -> None:
        """A quick and faithful post: everything on its way arrives, in order."""
        while self.requests or self.mail:
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
    "slow_list": World.slow_list,
    "stream": World.stream,
    "restart": World.restart,
    "sleep": World.sleep,
    "hand": World.hand,
    "hand_stop": World.hand_stop,
    "hand_cancel": World.hand_cancel,
}
BUSY = ("tick", "trade", "trade", "bar", "bar", "serve", "serve", "serve", "deliver", "deliver", "deliver", "flush")
VENUE_OPS = (*BUSY, "repeat", "refuse", "lose", "partly", "slow_list", "stream", "restart", "sleep")
ALL_OPS = (*VENUE_OPS, "hand", "hand_stop", "hand_cancel")


def programs(ops: tuple[str, ...], size: int = 90) -> st.SearchStrategy[Program]:
    return st.lists(st.tuples(st.sampled_from(ops), st.integers(0, 99)), min_size=size // 2, max_size=size)


def run(program: Program, rules: Any = RULES) -> World:
    world = World(rules)
    for _ in range(4):
        world.flush(0)
        world.tick(0)
    for name, number in program:
        world.step(name, number)
    return world


def check_settled(world: World) -> None:
    """The brain and the venue agree, and the position is protected or there is nothing left."""
    world.calm()
    market, venue = world.market, world.venue
    assert held(market) == venue.position, "the brain is wrong about the position"
    assert world.state.day_realized == -FEE * len(venue.fills), "a fill was booked twice, or not at all"
    assert not [r for r in market.orders.values() if r.is_live], "an order without an end"
    if venue.position == 0:
        assert not venue.stops, "a stop was left over"
        assert market.clean
    else:
        side = Side.SELL if venue.position > 0 else Side.BUY
        whole = [s for s in venue.stops if s.side is side and (s.size == 0 or s.size >= abs(venue.position))]
        assert market.exit_reason is not None or whole, "a position without a stop"


def profile(examples: int) -> settings:
    """The same examples in every run: a red build means a change, not luck."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=slow)


@profile(120)
@given(programs(VENUE_OPS))
def test_a_hostile_venue_breaks_no_promise(program):
    check_settled(run(program))


@profile(120)
@given(programs(ALL_OPS))
def test_a_hand_on_the_mouse_breaks_no_promise(program):
    check_settled(run(program, rules_with(strategy=None)))


@profile(120)
@given(programs(("bar", "tick", "serve", "serve", "serve", "deliver", "deliver", "deliver")))
def test_late_post_is_no_news(program):
    """Answers, fills and reads that only come in a strange order leave nothing to be corrected."""
    world = run([(name, number) for name, number in program if name != "tick" or number % 10 < 2])
    check_settled(world)
    assert not world.notes & {"reconcile_difference", "position_unclear", "position_flipped", "fault"}


@profile(60)
@given(programs(("bar", "trade", "tick", "flush", "flush"), 40))
def test_a_friendly_venue_keeps_every_position_protected(program):
    """With a quick post nothing is ever closed for want of a stop."""
    world = World()
    for name, number in program:
        world.step(name, 1 if name == "tick" else number)
        world.flush(0)
    check_settled(world)
    assert ExitReason.UNPROTECTED not in world.exit_reasons


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
