"""The client against the simulated venue: the story of a position, and orders whose answers are lost."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from core.messages import OrderAccepted, OrderRejected, OrderSettled, OrderUnknown, RejectReason
from core.model import Order, OrderStatus, OrderType, Side, TimeInForce
from hyperliquid_client import HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import SystemClock
from runtime.venue import CredentialsRefused, VenueUnavailable
from sim.server import SimServer
from venues.hyperliquid.rest import Timeouts
from venues.hyperliquid.settle import LEFT_NO_RECORD, NOT_PLACED
from venues.hyperliquid.signing import Signer

KEY = "0x" + "7a" * 32
AGENT_KEY = "0x" + "7b" * 32
SIGNER = Signer(KEY, mainnet=False)
AGENT = Signer(AGENT_KEY, mainnet=False)
ACCOUNT = SIGNER.address
_ids = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[SimServer]:
    with SimServer(seed=1) as server:
        yield server


@pytest.fixture
def sim(server: SimServer) -> Iterator[SimServer]:
    server.clear_fault()
    server.cancel(ACCOUNT)
    held = server.position(ACCOUNT, "BTC")
    server.set_price("BTC", "50000")
    if held:
        server.deal(ACCOUNT, "BTC", Side.SELL if held > 0 else Side.BUY, abs(held))
    yield server
    server.clear_fault()


@pytest.fixture
def client(sim: SimServer) -> Iterator[HyperliquidClient]:
    client = client_for(sim)
    yield client
    client.close()


def client_for(sim: SimServer, signer: Signer | None = SIGNER, timeouts: Timeouts | None = None) -> HyperliquidClient:
    clock = SystemClock()
    client = HyperliquidClient(sim.url, signer, ACCOUNT, clock=clock, budget=WeightBudget(clock), timeouts=timeouts)
    client.instruments()
    return client


def nonce() -> int:
    return SystemClock().now_ms() + next(_ids)


def order(side: Side = Side.BUY, size: str = "0.01", price: str = "51000", **changes: Any) -> Order:
    fields = {"type": OrderType.MARKET, **changes}
    return Order(
        client_id=f"0x{nonce():032x}", symbol="BTC", side=side, size=D(size), price=D(price), nonce=nonce(), **fields
    )


def position_stop(trigger: str = "49000") -> Order:
    return order(
        Side.SELL,
        "0",
        str(int(trigger) * 9 // 10),
        type=OrderType.STOP,
        trigger_price=D(trigger),
        reduce_only=True,
        whole_position=True,
    )


def test_enter_protect_trail_and_leave(sim: SimServer, client: HyperliquidClient):
    client.set_leverage("BTC", 7, nonce())
    entered = client.submit(order())
    assert isinstance(entered, OrderAccepted)
    assert (entered.status, entered.filled_size) == (OrderStatus.FILLED, D("0.01"))

    placed = client.submit(position_stop("49000"))
    assert isinstance(placed, OrderAccepted)
    assert (placed.status, placed.order_id) == (OrderStatus.ACCEPTED, None)
    (stop,) = client.working_orders().orders
    assert (stop.is_stop, stop.whole_position, stop.trigger_price, stop.size) == (True, True, D(49000), D(0))

    client.submit(position_stop("49500"))
    assert client.cancel("BTC", stop.order_id, nonce()).gone
    account = client.account()
    (tighter,) = account.orders
    assert tighter.trigger_price == D(49500)
    (position,) = account.positions
    assert (position.symbol, position.size, position.leverage) == ("BTC", D("0.01"), 7)
    (seen,) = client.positions()
    assert (seen.symbol, seen.size, seen.entry_price) == ("BTC", D("0.01"), position.entry_price)
    assert account.equity > 0

    left = client.submit(order(Side.SELL, price="49000", reduce_only=True))
    assert isinstance(left, OrderAccepted)
    account = client.account()
    assert (account.positions, account.orders) == ((), ())
    assert client.cancel("BTC", tighter.order_id, nonce()).gone  # gone with the position
    again = client.submit(order(Side.SELL, price="49000", reduce_only=True))
    assert isinstance(again, OrderRejected)
    assert again.reason is RejectReason.WOULD_INCREASE
    fills = client.fills_since(account.time_ms - 60_000)[-2:]
    assert [(fill.side, fill.size, fill.start_position) for fill in fills] == [
        (Side.BUY, D("0.01"), D(0)),
        (Side.SELL, D("0.01"), D("0.01")),
    ]
    assert [fill.order_id for fill in fills] == [entered.order_id, left.order_id]


def test_a_resting_order_is_canceled_by_our_id(sim: SimServer, client: HyperliquidClient):
    resting = order(price="45000", type=OrderType.LIMIT, time_in_force=TimeInForce.GTC)
    said = client.submit(resting)
    assert isinstance(said, OrderAccepted) and said.status is OrderStatus.ACCEPTED
    (row,) = client.working_orders().orders
    assert (row.client_id, row.order_id, row.size) == (resting.client_id, said.order_id, D("0.01"))
    assert client.cancel_by_client_id("BTC", resting.client_id, nonce()).gone
    assert client.working_orders().orders == ()


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"size": "0.0001"}, RejectReason.MIN_NOTIONAL),
        ({"price": "51000.5"}, RejectReason.BAD_PRICE),
        ({"size": "0.000001"}, RejectReason.BAD_SIZE),
        ({"size": "900"}, RejectReason.MARGIN),
        ({"price": "45000"}, RejectReason.NO_LIQUIDITY),
        ({"type": OrderType.LIMIT, "time_in_force": TimeInForce.ALO}, RejectReason.POST_ONLY),
        ({"expires_ms": 1}, RejectReason.EXPIRED),
    ],
)
def test_refusals(sim: SimServer, client: HyperliquidClient, changes: dict[str, Any], reason: RejectReason):
    said = client.submit(order(**changes))
    assert isinstance(said, OrderRejected), said
    assert said.reason is reason


def test_a_strangers_key_is_refused(sim: SimServer):
    stranger = HyperliquidClient(
        sim.url,
        Signer(KEY, mainnet=True),
        ACCOUNT,
        clock=SystemClock(),
        budget=WeightBudget(SystemClock()),
        instruments=client_for(sim).instruments(),
    )
    said = stranger.submit(order())
    assert isinstance(said, OrderRejected)
    assert said.reason is RejectReason.CREDENTIALS


def test_credentials(sim: SimServer, client: HyperliquidClient):
    sim.fund(ACCOUNT)
    assert not client.check_credentials().is_agent
    agent = client_for(sim, AGENT)
    with pytest.raises(CredentialsRefused):
        agent.check_credentials()
    sim.approve_agent(ACCOUNT, AGENT.address)
    found = agent.check_credentials()
    assert found.is_agent and found.expires_ms is not None
    assert isinstance(agent.submit(order()), OrderAccepted)
    assert sim.position(ACCOUNT, "BTC") == D("0.01")


def test_unified_equity_is_never_above_the_truth(sim: SimServer, client: HyperliquidClient):
    client.submit(order())
    sim.set_price("BTC", "49000")
    truth = sim.equity(ACCOUNT)
    sim.fault("unified_account")
    account = client.account()
    assert 0 < account.equity <= truth + 10
    assert 0 <= account.available < account.equity


def test_prices_bars_budget_and_clock(sim: SimServer, client: HyperliquidClient):
    sim.trade("BTC", "50000")
    (price,) = client.polled_prices(["BTC"])
    assert price.bid is not None and price.ask is not None and price.bid < price.price < price.ask
    assert price.time_ms is not None
    assert client.bars("BTC", 60_000, 5)[-1].close == D(50000)
    assert client.request_budget().cap >= 10_000
    sim.fault("clock_skew", ms=60_000)
    assert 55_000 < client.measure_clock().offset_ms < 65_000


# --- lost answers ---------------------------------------------------------------------------------------------------


def lose(sim: SimServer, client: HyperliquidClient, fault: str, lost: Order, **args: Any) -> None:
    sim.fault(fault, action="order", times=1, **args)
    assert isinstance(client.submit(lost), OrderUnknown)


def test_an_executed_order_whose_answer_was_lost_is_found(sim: SimServer, client: HyperliquidClient):
    lost = order()
    lose(sim, client, "drop_answer", lost)
    sim.fault("unknown_oid", ms=300)
    settled = client.settle(lost, 0)
    assert isinstance(settled, OrderSettled)
    assert (settled.status, settled.filled_size) == (OrderStatus.FILLED, D("0.01"))
    assert sim.position(ACCOUNT, "BTC") == D("0.01")


def test_an_order_that_was_lost_on_its_way_can_never_arrive(sim: SimServer, client: HyperliquidClient):
    lost = order()
    body = client.presign(lost)
    lose(sim, client, "lost_request", lost)
    settled = client.settle(lost, 0)
    assert isinstance(settled, OrderSettled)
    assert (settled.status, settled.text) == (OrderStatus.REJECTED, NOT_PLACED)
    assert isinstance(client.submit(lost, body), OrderUnknown)  # the late copy: its nonce is burnt
    assert sim.position(ACCOUNT, "BTC") == 0


def test_a_noop_whose_answer_was_lost_is_sent_again(sim: SimServer, client: HyperliquidClient):
    lost = order()
    lose(sim, client, "lost_request", lost)
    sim.fault("drop_answer", action="noop", times=1)
    assert isinstance(client.settle(lost, 0), OrderUnknown)
    settled = client.settle(lost, 1)
    assert isinstance(settled, OrderSettled)
    assert settled.status is OrderStatus.REJECTED
    assert sim.position(ACCOUNT, "BTC") == 0


def test_an_order_given_up_on_cannot_execute_late(sim: SimServer, client: HyperliquidClient):
    lost = order()
    lose(sim, client, "late_order", lost, ms=300)
    too_late = threading.Event()
    sim.call(lambda server: asyncio.get_running_loop().call_later(0.3, too_late.set))  # behind the order's own
    settled = client.settle(lost, 0)
    assert isinstance(settled, OrderSettled)
    assert too_late.wait(5)
    assert settled.filled_size == sim.position(ACCOUNT, "BTC")  # on a slow machine the order may have come first


def test_a_refused_order_whose_answer_was_lost_is_told_by_its_record(sim: SimServer, client: HyperliquidClient):
    lost = order(price="45000")
    lose(sim, client, "drop_answer", lost)
    settled = client.settle(lost, 0)
    assert isinstance(settled, OrderSettled)
    assert settled.status is OrderStatus.REJECTED
    assert "iocCancelRejected" in settled.text


def test_a_statically_refused_order_leaves_no_record(sim: SimServer, client: HyperliquidClient):
    lost = order(size="0.000001")
    lose(sim, client, "drop_answer", lost)
    settled = client.settle(lost, 0)
    assert isinstance(settled, OrderSettled)
    assert (settled.status, settled.text) == (OrderStatus.REJECTED, LEFT_NO_RECORD)


def test_a_position_stop_whose_answer_was_lost_is_found_by_what_it_is(sim: SimServer, client: HyperliquidClient):
    client.submit(order())
    lost = position_stop("48000")
    sim.fault("hide_triggers", ms=200)
    lose(sim, client, "drop_answer", lost)
    settled = client.settle(lost, 0)
    assert isinstance(settled, OrderSettled)
    assert settled.status is OrderStatus.ACCEPTED
    assert settled.order_id == sim.orders(ACCOUNT)[0]["oid"]


def test_a_position_stop_that_fired_unseen_is_found_in_the_history(sim: SimServer, client: HyperliquidClient):
    client.submit(order())
    lost = position_stop("48000")
    lose(sim, client, "drop_answer", lost)
    sim.set_price("BTC", "47000")
    settled = client.settle(lost, 0)
    assert isinstance(settled, OrderSettled)
    assert settled.status is OrderStatus.FILLED
    assert sim.position(ACCOUNT, "BTC") == 0


@pytest.mark.parametrize("fault", ["http_429", "http_error", "partial_json", "html_200", "empty_body", "http_drop"])
def test_http_faults(sim: SimServer, client: HyperliquidClient, fault: str):
    sim.fault(fault, path="/exchange", times=1)
    doubtful = order()
    assert isinstance(client.submit(doubtful), OrderUnknown)
    settled = client.settle(doubtful, 0)
    assert isinstance(settled, OrderSettled)
    assert settled.filled_size == sim.position(ACCOUNT, "BTC")
    sim.fault(fault, path="/info")
    with pytest.raises(VenueUnavailable):
        client.working_orders()
    sim.clear_fault()
    client.working_orders()
