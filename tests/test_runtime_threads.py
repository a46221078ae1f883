"""The threads that talk REST: order lanes, account reader, price poller. Against the simulated venue."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any, TypeVar

import pytest

from core.messages import (
    AccountSnapshot,
    Arm,
    BarHistory,
    Cancel,
    CancelAnswered,
    ClockOffset,
    CoreFault,
    OrderAccepted,
    OrderSettled,
    OrderUnknown,
    PolledPrice,
    PollPrices,
    ReadAccount,
    ReadBars,
    ReadFailed,
    ReadOrders,
    RequestBudget,
    Settle,
    Submit,
    WorkingOrders,
)
from core.model import Fill, Order, OrderStatus, OrderType, Purpose, Side, TimeInForce
from hyperliquid_client import HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import ManualClock, SystemClock
from runtime.executor import LiveExecutor
from runtime.orders import Armed, OrderLanes
from runtime.poller import AccountReader, ListingReader, PricePoller
from runtime.venue import VenueUnavailable
from sim.server import SimServer
from venues.hyperliquid.signing import Signer

SIGNER = Signer("0x" + "7c" * 32, mainnet=False)
ACCOUNT = SIGNER.address
CLOCK = SystemClock()
T = TypeVar("T")
_numbers = itertools.count(1)


class Inbox(queue.Queue):
    """What the main thread would get."""

    def next(self, kind: type[T], timeout_s: float = 5.0) -> T:
        """The next event of that kind; others are dropped."""
        deadline = time.monotonic() + timeout_s
        while True:
            event = self.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(event, kind):
                return event


@pytest.fixture(scope="module")
def server() -> Iterator[SimServer]:
    with SimServer(seed=1) as server:
        yield server


@pytest.fixture
def sim(server: SimServer) -> Iterator[SimServer]:
    server.move("BTC", "50000")
    server.move("ETH", "2000")
    yield server
    server.clear_fault()
    server.cancel(ACCOUNT)
    if held := server.position(ACCOUNT, "BTC"):
        server.deal(ACCOUNT, "BTC", Side.SELL if held > 0 else Side.BUY, abs(held))


@pytest.fixture
def client(sim: SimServer) -> Iterator[HyperliquidClient]:
    client = HyperliquidClient(sim.url, SIGNER, ACCOUNT, clock=CLOCK, budget=WeightBudget(CLOCK))
    client.instruments()
    yield client
    client.close()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def lanes(client: HyperliquidClient, inbox: Inbox) -> Iterator[Callable[..., OrderLanes]]:
    made: list[OrderLanes] = []

    def make(**settings: Any) -> OrderLanes:
        made.append(OrderLanes(client.clone, inbox, CLOCK, **settings))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def order(**changes: Any) -> Order:
    nonce = CLOCK.now_ms() + next(_numbers)
    fields: dict[str, Any] = {
        "symbol": "BTC", "side": Side.BUY, "size": D("0.01"), "type": OrderType.MARKET, "price": D("51000"),
        "time_in_force": TimeInForce.IOC,
    }  # fmt: skip
    return Order(client_id=f"0x{nonce:032x}", nonce=nonce, **(fields | changes))


def submit(one: Order) -> Submit:
    return Submit(one, Purpose.ENTRY, "test")


# --- lanes ------------------------------------------------------------------------------------------------------------


def test_every_action_is_answered(sim: SimServer, lanes: Callable[..., OrderLanes], inbox: Inbox) -> None:
    sender = lanes()
    resting = order(price=D(45000), type=OrderType.LIMIT, time_in_force=TimeInForce.GTC)
    sender.dispatch(submit(resting))
    accepted = inbox.next(OrderAccepted)
    assert accepted.client_id == resting.client_id and accepted.order_id is not None
    sender.dispatch(Settle(resting, 0))
    assert inbox.next(OrderSettled).status is OrderStatus.ACCEPTED
    sender.dispatch(Cancel("BTC", accepted.order_id, CLOCK.now_ms() + next(_numbers), "test"))
    assert inbox.next(CancelAnswered).gone


def test_an_armed_order_goes_out_as_it_was_signed(
    sim: SimServer, lanes: Callable[..., OrderLanes], inbox: Inbox
) -> None:
    sender, exit_order = lanes(), order()
    sender.dispatch(Arm(exit_order))
    armed = inbox.next(Armed)
    assert armed.client_id == exit_order.client_id
    sender.dispatch(submit(exit_order), armed.body)
    assert inbox.next(OrderAccepted).filled_size == D("0.01")
    assert sim.received("order")[-1].nonce == exit_order.nonce


def test_a_backlog_opens_more_lanes(sim: SimServer, lanes: Callable[..., OrderLanes], inbox: Inbox) -> None:
    """P5: four orders wait for slow answers on what was one lane; a fifth is not behind them."""
    sender = lanes(warm_lanes=1)
    inbox.next(ClockOffset)
    sim.fault("slow_answer", action="order", ms=1_000, times=4)
    slow = [order() for _ in range(4)]
    for one in slow:
        sender.dispatch(submit(one))
    sim.wait_until(lambda: len({r.nonce for r in sim.received("order")} & {one.nonce for one in slow}) == 4)
    quick = order()
    before_s = time.monotonic()
    sender.dispatch(submit(quick))
    assert inbox.next(OrderAccepted).client_id == quick.client_id
    assert time.monotonic() - before_s < 0.5
    assert {inbox.next(OrderAccepted).client_id for _ in slow} == {one.client_id for one in slow}


def test_lanes_keep_their_connection_warm(sim: SimServer, lanes: Callable[..., OrderLanes], inbox: Inbox) -> None:
    """An exit after a quiet hour pays no handshake: the same few connections, used again and again."""
    before = sim.counters()["http_connections"]
    sender = lanes(warm_lanes=2, keep_warm_s=0.05)
    for _ in range(12):
        inbox.next(ClockOffset)
    sender.dispatch(submit(order()))
    inbox.next(OrderAccepted)
    assert sim.counters()["http_connections"] - before <= 3  # two, and one more if both were busy keeping warm


def test_an_answer_that_never_came_is_unknown(sim: SimServer, lanes: Callable[..., OrderLanes], inbox: Inbox) -> None:
    sender, one = lanes(), order()
    sim.fault("drop_answer", action="order", times=1)
    sender.dispatch(submit(one))
    assert inbox.next(OrderUnknown).client_id == one.client_id
    sender.dispatch(Settle(one, 0))
    settled = inbox.next(OrderSettled)
    assert (settled.status, settled.filled_size) == (OrderStatus.FILLED, D("0.01"))


def test_a_cancel_that_fails_says_so(sim: SimServer, lanes: Callable[..., OrderLanes], inbox: Inbox) -> None:
    sender = lanes()
    inbox.next(ClockOffset)
    sim.fault("http_error", status=503)
    sender.dispatch(Cancel("BTC", 1, CLOCK.now_ms() + next(_numbers), "test"))
    answer = inbox.next(CancelAnswered)
    assert not answer.gone and answer.error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_lane_is_heard(sim: SimServer, lanes: Callable[..., OrderLanes], inbox: Inbox) -> None:
    """P9: the order is in doubt, and the main thread is told to halt; other lanes go on."""
    sender = lanes()
    strange = order(symbol="NOPE")
    sender.dispatch(submit(strange))
    events = [inbox.get(timeout=5)]
    while not isinstance(events[-1], CoreFault):
        events.append(inbox.get(timeout=5))
    if doubts := [event for event in events if isinstance(event, OrderUnknown)]:
        assert doubts[0].client_id == strange.client_id
    sender.dispatch(submit(order()))
    assert inbox.next(OrderAccepted).filled_size == D("0.01")


# --- reader -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(client: HyperliquidClient, inbox: Inbox) -> Iterator[AccountReader]:
    reader = AccountReader(client.clone(), {"BTC": 60_000, "ETH": 60_000}, inbox, CLOCK)
    yield reader
    reader.stop()


def test_the_account_with_the_fills_before_it(sim: SimServer, reader: AccountReader, inbox: Inbox) -> None:
    """Fills first: a snapshot that shows a position is then already explained."""
    since_ms = CLOCK.now_ms() - 5
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    reader.ask(ReadAccount(since_ms, "test"))
    reader.start()
    fill = inbox.get(timeout=5)
    assert isinstance(fill, Fill) and fill.is_snapshot
    snapshot = inbox.next(AccountSnapshot)
    assert [position.size for position in snapshot.positions] == [D("0.01")]
    assert inbox.next(RequestBudget).cap >= 10_000


def test_requests_that_wait_are_merged(sim: SimServer, reader: AccountReader, inbox: Inbox) -> None:
    before = sim.counters()["requests"].get("clearinghouseState", 0)
    for _ in range(20):
        reader.ask(ReadAccount(None, "test"))
        reader.ask(ReadBars("BTC"))
    reader.ask(ReadBars("ETH"))
    reader.start()
    inbox.next(AccountSnapshot)
    assert [inbox.next(BarHistory).symbol for _ in range(2)] == ["BTC", "ETH"]
    assert sim.counters()["requests"]["clearinghouseState"] == before + 1


def test_half_an_account_is_no_account(sim: SimServer, reader: AccountReader, inbox: Inbox) -> None:
    reader.start()
    sim.fault("http_error", type="frontendOpenOrders", status=502)
    reader.ask(ReadAccount(None, "the reason"))
    failed = inbox.get(timeout=5)
    assert isinstance(failed, ReadFailed) and "the reason" in failed.what
    sim.clear_fault()
    reader.ask(ReadAccount(None, "again"))
    inbox.next(AccountSnapshot)


# --- listing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def listing(client: HyperliquidClient, inbox: Inbox) -> Iterator[ListingReader]:
    listing = ListingReader(client.clone(), inbox, CLOCK)
    yield listing
    listing.stop()


def test_one_read_of_the_working_orders_answers_all_that_wait(
    sim: SimServer, listing: ListingReader, inbox: Inbox
) -> None:
    oid = sim.place(ACCOUNT, "BTC", Side.BUY, "0.01", price="45000")
    before = sim.counters()["requests"].get("frontendOpenOrders", 0)
    for _ in range(10):
        listing.ask()
    listing.start()
    assert [row.order_id for row in inbox.next(WorkingOrders).orders] == [oid]
    assert sim.counters()["requests"]["frontendOpenOrders"] <= before + 2


def test_a_listing_that_fails_says_so_and_goes_on(sim: SimServer, listing: ListingReader, inbox: Inbox) -> None:
    listing.start()
    sim.fault("http_error", status=503)
    listing.ask()
    assert inbox.next(ReadFailed).error
    sim.clear_fault()
    listing.ask()
    inbox.next(WorkingOrders)


# --- poller -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def poller(client: HyperliquidClient, inbox: Inbox) -> Iterator[PricePoller]:
    poller = PricePoller(client.clone(), ["BTC", "ETH"], 0.02, inbox, CLOCK)
    poller.start()
    yield poller
    poller.stop()


def test_prices_while_switched_on(sim: SimServer, poller: PricePoller, inbox: Inbox) -> None:
    poller.switch(PollPrices(True, "test"))
    seen = {inbox.next(PolledPrice).symbol for _ in range(4)}
    assert seen == {"BTC", "ETH"}
    sim.set_price("BTC", "50123")
    while inbox.next(PolledPrice).price != D("50123"):
        pass
    poller.switch(PollPrices(False, "test"))
    with pytest.raises(queue.Empty):
        for _ in range(20):  # what was under way may still come
            inbox.get(timeout=0.2)


def test_a_failed_poll_says_so_and_goes_on(sim: SimServer, poller: PricePoller, inbox: Inbox) -> None:
    sim.fault("http_error", status=500)
    poller.switch(PollPrices(True, "test"))
    assert inbox.next(ReadFailed).what == "prices"
    sim.clear_fault()
    inbox.next(PolledPrice)


def test_a_poller_that_was_never_on_stops_at_once(poller: PricePoller) -> None:
    before_s = time.monotonic()
    poller.stop()
    assert time.monotonic() - before_s < 1


class Rounds:
    """The part of a client that a poller needs; keeps the markets of every round and ends the polling after four."""

    def __init__(self, room: bool) -> None:
        self.room, self.asked, self.done = room, [], threading.Event()

    def has_room(self) -> bool:
        return self.room

    def polled_prices(self, symbols: list[str]) -> list[PolledPrice]:
        self.asked.append(symbols)
        if len(self.asked) == 4:
            self.poller.switch(PollPrices(False, "test"))
        return []

    def measure_clock(self) -> ClockOffset:
        self.done.set()
        raise VenueUnavailable("switched off")

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("room", "interval_s", "markets", "pause_s"),
    [(True, 0.2, [5, 5, 5, 5], 0.2), (False, 0.2, [3, 3, 3, 3], 1.0), (False, 4.0, [3, 3, 3, 3], 4.0)],
)
def test_prices_leave_the_account_its_requests(
    inbox: Inbox, room: bool, interval_s: float, markets: list[int], pause_s: float
) -> None:
    """Five books a second and the account every five seconds are more than a minute holds: no prices for 5 s."""
    clock, client = ManualClock(), Rounds(room)
    client.poller = PricePoller(client, list("ABCDE"), interval_s, inbox, clock)
    client.poller.switch(PollPrices(True, "test"))
    client.poller.start()
    assert client.done.wait(5)
    client.poller.stop()
    assert [len(symbols) for symbols in client.asked] == markets
    assert set(client.asked[0] + client.asked[1]) == set("ABCDE")
    assert set(clock.waits) == {pause_s}


# --- executor ---------------------------------------------------------------------------------------------------------


def test_the_executor_hands_everything_on(
    lanes: Callable[..., OrderLanes],
    listing: ListingReader,
    reader: AccountReader,
    poller: PricePoller,
    inbox: Inbox,
) -> None:
    reader.start()
    listing.start()
    executor = LiveExecutor(lanes(), listing, reader, poller, None)
    executor.act(ReadOrders("test"), None)
    inbox.next(WorkingOrders)
    executor.act(ReadAccount(None, "test"), None)
    inbox.next(AccountSnapshot)
    executor.act(PollPrices(True, "test"), None)
    inbox.next(PolledPrice)
