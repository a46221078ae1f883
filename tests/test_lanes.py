"""Lanes and readers while the venue keeps answers back: who waits for whom, and who does not (P5)."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.messages import (
    AccountSnapshot,
    BarHistory,
    Cancel,
    CancelAnswered,
    ClockOffset,
    CoreFault,
    OrderAccepted,
    OrderSettled,
    ReadAccount,
    ReadBars,
    ReadFailed,
    RequestBudget,
    Settle,
    Submit,
    WorkingOrders,
)
from core.model import Fill, Purpose
from hyperliquid_client import HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import SystemClock
from runtime.orders import LANES_MAX, WARM_LANES, OrderLanes
from runtime.poller import AccountReader, ListingReader
from tests.loopback import BOUND_S, LoopbackVenue, Reply, http, loopback_venue
from tests.test_hyperliquid_client_network import FILLED, ORDER, client_of
from tests.test_hyperliquid_client_reads import STATE
from tests.test_hyperliquid_client_settle import DEFAULT, UNKNOWN, fill_row
from tests.test_runtime_threads import Inbox
from tests.test_topstep_client_orders import ping, row
from tests.topstep_answers import Answers, ok
from tests.topstep_answers import client_of as topstep_client
from topstep_client import TopstepClient

CLOCK = SystemClock()
EVERY = 1_000  # more than any test holds
CANCEL = Cancel("BTC", 77, ORDER.nonce + 1, "test")
SETTLE = Settle(ORDER, 0)
EXIT = Submit(ORDER, Purpose.EXIT, "STOP_LOSS")
CANCELED = {"status": "ok", "response": {"type": "cancel", "data": {"statuses": ["success"]}}}
CANDLE = {"t": 0, "T": 59_999, "o": "1", "h": "1", "l": "1", "c": "1", "v": "1"}
REFUSED = http(b"no", 400)


class Gate:
    """Answers every request by its kind; those of the kinds in `held` wait until they are let go."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.answers: dict[str, Any] = {
            "exchangeStatus": {"time": ORDER.nonce},
            "order": FILLED,
            "cancel": CANCELED,
            "orderStatus": UNKNOWN,
            "noop": DEFAULT,
            "frontendOpenOrders": [],
            "userAbstraction": "default",
            "clearinghouseState": STATE,
            "userFillsByTime": [fill_row()],
            "userRateLimit": {"nRequestsUsed": 1, "nRequestsCap": 10_000},
            "candleSnapshot": [CANDLE],
        }
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._passes = threading.Semaphore(0)

    def __call__(self, path: str, body: dict[str, Any]) -> Reply:
        kind = kind_of(path, body)
        if kind in self.held:
            self._waiting.put(kind)
            self._passes.acquire(timeout=BOUND_S)
        answer = self.answers[kind]
        return answer if isinstance(answer, bytes) else http(answer)

    def await_held(self, *kinds: str) -> None:
        """Until requests of exactly these kinds have come to wait, in any order."""
        assert sorted(self._waiting.get(timeout=BOUND_S) for _ in kinds) == sorted(kinds)

    def let_go(self, count: int = EVERY) -> None:
        """Answer so many of those that wait now or come to wait later."""
        self._passes.release(count)


def kind_of(path: str, body: dict[str, Any]) -> str:
    return body["action"]["type"] if path == "/exchange" else body["type"]


def kinds(venue: LoopbackVenue) -> list[str]:
    return [kind_of(path, body) for path, body in venue.requests]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def venue(gate: Gate) -> Iterator[LoopbackVenue]:
    with loopback_venue(gate) as venue:
        yield venue


@pytest.fixture
def client(venue: LoopbackVenue) -> HyperliquidClient:
    return client_of(venue.url)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


# --- lanes ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def make_lanes(client: HyperliquidClient, inbox: Inbox, gate: Gate) -> Iterator[Callable[..., OrderLanes]]:
    made: list[OrderLanes] = []

    def make(**settings: Any) -> OrderLanes:
        made.append(OrderLanes(client.clone, inbox, CLOCK, **settings))
        made[-1].start()
        return made[-1]

    yield make
    gate.let_go()
    for one in made:
        one.stop()


@pytest.fixture
def lanes(make_lanes: Callable[..., OrderLanes], inbox: Inbox) -> OrderLanes:
    """All warm."""
    lanes = make_lanes()
    for _ in range(WARM_LANES):
        inbox.next(ClockOffset)
    return lanes


def test_an_exit_leaves_at_once_while_all_lanes_wait(lanes: OrderLanes, gate: Gate, inbox: Inbox) -> None:
    gate.held = {"cancel", "orderStatus"}
    for action in (CANCEL, SETTLE, CANCEL):
        lanes.dispatch(action)
    gate.await_held("cancel", "cancel", "orderStatus")
    lanes.dispatch(EXIT)
    assert isinstance(inbox.get(timeout=BOUND_S), OrderAccepted), "the others are still held"
    gate.let_go()
    others = {type(inbox.get(timeout=BOUND_S)) for _ in range(3)}
    assert others == {CancelAnswered, OrderSettled}


def test_an_armed_exit_is_written_before_dispatch_returns(
    lanes: OrderLanes, client: HyperliquidClient, venue: LoopbackVenue, inbox: Inbox
) -> None:
    """Its bytes do not wait for a thread to wake, and they go once."""
    opened = venue.connections
    lanes.dispatch(EXIT, client.presign(ORDER))
    assert isinstance(inbox.get(timeout=BOUND_S), OrderAccepted)
    assert kinds(venue).count("order") == 1
    assert venue.connections == opened


def test_a_cancellation_that_needs_no_signature_is_written_by_who_dispatches_it(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At TopstepX an exit begins with one: it does not wait for a thread to wake, and it goes once."""
    answers = Answers(Order__cancel=ok(), Order__searchById=ok(order=row(3)))
    ping(answers)
    writers = []
    begin_cancel = TopstepClient.begin_cancel

    def seen(client: TopstepClient, order_id: int) -> bool:
        writers.append((threading.current_thread(), begin_cancel(client, order_id)))
        return writers[-1][1]

    monkeypatch.setattr(TopstepClient, "begin_cancel", seen)
    with loopback_venue(answers.play) as venue:
        client = topstep_client(venue.url)
        client.check_credentials()
        lanes = OrderLanes(client.clone, inbox, CLOCK, warm_lanes=1)
        lanes.start()
        inbox.next(ClockOffset)
        while lanes._free.empty():  # given back right after
            time.sleep(0.001)
        lanes.dispatch(Cancel("MGC", 5, 1, "leaving"))
        assert inbox.next(CancelAnswered).gone
        lanes.stop()
    assert writers == [(threading.current_thread(), True)]
    assert answers.kinds().count("Order/cancel") == 1


def test_rehearsals_open_dead_connections_again(lanes: OrderLanes, venue: LoopbackVenue, inbox: Inbox) -> None:
    opened = venue.connections
    venue.hang_up()
    for _ in range(WARM_LANES):
        lanes.rehearse()
    for _ in range(WARM_LANES):
        inbox.next(ClockOffset)
    assert venue.connections == opened + WARM_LANES


def test_a_lane_that_opens_its_connection_is_not_counted_free(
    make_lanes: Callable[..., OrderLanes], gate: Gate, inbox: Inbox
) -> None:
    gate.held = {"exchangeStatus"}
    lanes = make_lanes()
    gate.await_held(*["exchangeStatus"] * WARM_LANES)
    lanes.dispatch(EXIT)
    assert isinstance(inbox.get(timeout=BOUND_S), OrderAccepted)


def test_a_lane_that_keeps_its_connection_warm_is_not_counted_free(
    make_lanes: Callable[..., OrderLanes], gate: Gate, inbox: Inbox
) -> None:
    """Nothing is to do and every lane asks for the time, which the venue keeps to itself."""
    lanes = make_lanes(warm_lanes=2, keep_warm_s=0.01)
    for _ in range(4):
        inbox.next(ClockOffset)
    gate.held = {"exchangeStatus"}
    gate.await_held("exchangeStatus", "exchangeStatus")
    lanes.dispatch(EXIT)
    inbox.next(OrderAccepted)


def test_with_all_lanes_open_the_next_action_takes_the_first_that_is_free(
    lanes: OrderLanes, venue: LoopbackVenue, gate: Gate, inbox: Inbox
) -> None:
    gate.held = {"cancel", "order"}
    for _ in range(LANES_MAX):
        lanes.dispatch(CANCEL)
    gate.await_held(*["cancel"] * LANES_MAX)
    lanes.dispatch(EXIT)
    gate.let_go(1)
    gate.await_held("order")
    assert venue.connections == LANES_MAX
    gate.let_go()
    inbox.next(OrderAccepted)


def test_lanes_are_opened_only_where_none_is_free(lanes: OrderLanes, venue: LoopbackVenue, inbox: Inbox) -> None:
    """One action after the other, for longer than there are lanes: the warm ones carry them all."""
    for _ in range(LANES_MAX + 1):
        lanes.dispatch(CANCEL)
        inbox.next(CancelAnswered)
    assert venue.connections <= 2 * WARM_LANES  # an answer is there a moment before its lane is free again


def test_stop_lets_leave_what_was_handed_over_and_closes_the_connections(
    lanes: OrderLanes, venue: LoopbackVenue, inbox: Inbox
) -> None:
    lanes.dispatch(EXIT)
    lanes.stop()
    assert isinstance(inbox.get_nowait(), OrderAccepted)
    assert venue.actions() == ["order"]
    assert all(venue.closed.acquire(timeout=BOUND_S) for _ in range(venue.connections))


def test_stop_does_not_wait_for_a_venue_that_never_answers(lanes: OrderLanes, gate: Gate) -> None:
    gate.held = {"cancel"}
    for _ in range(WARM_LANES):
        lanes.dispatch(CANCEL)
    gate.await_held(*["cancel"] * WARM_LANES)
    before_s = time.monotonic()
    lanes.stop(timeout_s=0.2)
    assert time.monotonic() - before_s < BOUND_S / 2


# --- listing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def listing(client: HyperliquidClient, inbox: Inbox, gate: Gate) -> Iterator[ListingReader]:
    listing = ListingReader(client.clone(), inbox, CLOCK)
    listing.start()
    yield listing
    gate.let_go()
    listing.stop()


def test_what_asks_for_the_listing_during_a_read_shares_the_next(
    listing: ListingReader, venue: LoopbackVenue, gate: Gate, inbox: Inbox
) -> None:
    """Not this one: it may have been answered before they asked."""
    gate.held = {"frontendOpenOrders"}
    listing.ask()
    gate.await_held("frontendOpenOrders")
    for _ in range(5):
        listing.ask()
    gate.let_go()
    for _ in range(2):
        inbox.next(WorkingOrders)
    listing.stop()
    assert kinds(venue) == ["frontendOpenOrders"] * 2


def test_a_listing_that_is_refused_is_told_and_the_next_is_read(
    listing: ListingReader, gate: Gate, inbox: Inbox
) -> None:
    good, gate.answers["frontendOpenOrders"] = gate.answers["frontendOpenOrders"], REFUSED
    listing.ask()
    failed = inbox.get(timeout=BOUND_S)
    assert isinstance(failed, ReadFailed) and failed.what == "working orders" and "HTTP 400" in failed.error
    gate.answers["frontendOpenOrders"] = good
    listing.ask()
    assert isinstance(inbox.get(timeout=BOUND_S), WorkingOrders)


def test_a_stop_outranks_requests_for_the_listing_that_wait(
    listing: ListingReader, venue: LoopbackVenue, gate: Gate
) -> None:
    gate.held = {"frontendOpenOrders"}
    listing.ask()
    gate.await_held("frontendOpenOrders")
    listing.ask()
    listing.stop(timeout_s=0.01)  # asked to, while it reads
    gate.let_go()
    listing.stop()
    assert kinds(venue) == ["frontendOpenOrders"]
    assert venue.closed.acquire(timeout=BOUND_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_listing_is_heard(venue: LoopbackVenue, inbox: Inbox) -> None:
    """P9: stops cannot be confirmed any more, so the main thread must halt."""
    nobody = HyperliquidClient(venue.url, None, None, clock=CLOCK, budget=WeightBudget(CLOCK))
    listing = ListingReader(nobody, inbox, CLOCK)
    listing.start()
    listing.ask()
    assert inbox.next(CoreFault).error.startswith("listing: ")
    listing.stop()


# --- reader -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(client: HyperliquidClient, inbox: Inbox, gate: Gate) -> Iterator[AccountReader]:
    reader = AccountReader(client.clone(), {"BTC": 60_000}, inbox, CLOCK)
    reader.start()
    yield reader
    gate.let_go()
    reader.stop()


def test_what_asks_during_an_account_read_shares_the_next(
    reader: AccountReader, venue: LoopbackVenue, gate: Gate, inbox: Inbox
) -> None:
    """With the fills since the earliest time that any of them asked for, and one read of the bars."""
    gate.held = {"userAbstraction"}
    reader.ask(ReadAccount(None, "test"))
    gate.await_held("userAbstraction")
    for since_ms in (500, None, 300, 400):
        reader.ask(ReadAccount(since_ms, "test"))
        reader.ask(ReadBars("BTC"))
    gate.let_go()
    inbox.next(BarHistory)
    reader.stop()
    assert kinds(venue) == [
        *("clearinghouseState", "userAbstraction", "frontendOpenOrders"),
        *("userFillsByTime", "clearinghouseState", "frontendOpenOrders", "userRateLimit", "candleSnapshot"),
    ]
    [asked] = [body for _, body in venue.requests if body["type"] == "userFillsByTime"]
    assert asked["startTime"] == 300


def test_fills_come_before_the_account_they_explain(reader: AccountReader, inbox: Inbox) -> None:
    reader.ask(ReadAccount(5, "test"))
    came = [type(inbox.get(timeout=BOUND_S)) for _ in range(3)]
    assert came == [Fill, AccountSnapshot, RequestBudget]


def test_the_address_budget_is_not_asked_for_with_every_read(
    reader: AccountReader, venue: LoopbackVenue, inbox: Inbox
) -> None:
    for _ in range(3):
        reader.ask(ReadAccount(5, "test"))
        inbox.next(AccountSnapshot)
    reader.stop()
    assert kinds(venue).count("userFillsByTime") == 3 and kinds(venue).count("userRateLimit") == 1


def test_an_account_is_read_though_its_fills_are_missing(
    reader: AccountReader, venue: LoopbackVenue, gate: Gate, inbox: Inbox
) -> None:
    gate.answers["userFillsByTime"] = REFUSED
    reader.ask(ReadAccount(5, "the reason"))
    failed = inbox.get(timeout=BOUND_S)
    assert isinstance(failed, ReadFailed) and failed.what == "fills (the reason)"
    assert inbox.next(AccountSnapshot).missed_fills and kinds(venue).count("userFillsByTime") == 1
