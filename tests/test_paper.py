"""The dry run's venue: answers, fills and reads like the real one's, matched against the real market."""

import queue
from decimal import Decimal as D
from pathlib import Path
from typing import Any, TypeVar

import pytest

from core.messages import (
    AccountSnapshot,
    AnyAction,
    Cancel,
    CancelAnswered,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUpdate,
    PolledPrice,
    ReadAccount,
    ReadBars,
    ReadOrders,
    RejectReason,
    Settle,
    Submit,
    WorkingOrders,
)
from core.model import Book, Fill, MarkPrice, Order, OrderStatus, OrderType, Purpose, Quote, Side, TimeInForce, Trade
from runtime.clock import ManualClock
from sim.paper import PaperVenue
from tests.core.world import BTC, T0

T = TypeVar("T")


class Bench:
    """A PaperVenue with its inbox; it also plays the real venue behind it, and keeps what was passed on."""

    def __init__(self, path: Path) -> None:
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.clock = ManualClock(T0)
        self.passed: list[AnyAction] = []
        self.venue = PaperVenue([BTC], {"BTC": 10}, self, self.inbox, self.clock, path / "paper.json")
        self._last = 0

    def act(self, action: AnyAction, body: bytes | None) -> None:
        self.passed.append(action)

    def do(self, action: AnyAction) -> list[Any]:
        self.venue.act(action, None)
        return self.answers()

    def quote(self, bid: str, ask: str, size: str = "5") -> list[Any]:
        now_ms = self.clock.now_ms()
        self.venue.on_market_data(Quote("BTC", D(bid), D(size), D(ask), D(size), now_ms, now_ms))
        return self.answers()

    def mark(self, price: str) -> list[Any]:
        self.venue.on_market_data(MarkPrice("BTC", D(price), D(price), None, self.clock.now_ms()))
        return self.answers()

    def answers(self) -> list[Any]:
        found = []
        while not self.inbox.empty():
            found.append(self.inbox.get_nowait())
        return found

    def order(self, side: Side = Side.BUY, size: str = "0.01", price: str = "51000", **changes: Any) -> Order:
        self._last += 1
        self.clock.advance(1)
        fields: dict[str, Any] = {"type": OrderType.MARKET, "time_in_force": TimeInForce.IOC} | changes
        return Order(
            client_id=f"0x{self.clock.now_ms():016x}{self._last:016x}", symbol="BTC", side=side, size=D(size),
            price=D(price), nonce=self.clock.now_ms(), **fields,
        )  # fmt: skip

    def stop(self, trigger: str = "49500") -> Order:
        return self.order(
            Side.SELL, "0", "44550", type=OrderType.STOP, trigger_price=D(trigger), time_in_force=TimeInForce.GTC,
            reduce_only=True, whole_position=True,
        )  # fmt: skip

    def submit(self, order: Order) -> list[Any]:
        return self.do(Submit(order, Purpose.ENTRY, "test"))

    def long(self) -> None:
        self.quote("50000", "50001")
        self.mark("50000")
        self.submit(self.order())

    def snapshot(self) -> AccountSnapshot:
        return one(AccountSnapshot, self.do(ReadAccount(None, "test")))

    def listed(self) -> tuple[Any, ...]:
        return one(WorkingOrders, self.do(ReadOrders("test"))).orders


def one(kind: type[T], events: list[Any]) -> T:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_entry_fills_at_the_markets_price_with_a_fee(bench: Bench) -> None:
    bench.quote("50000", "50001")
    order = bench.order()
    events = bench.submit(order)
    accepted, fill = one(OrderAccepted, events), one(Fill, events)
    assert (accepted.status, accepted.filled_size, accepted.average_price) == (OrderStatus.FILLED, D("0.01"), D(50001))
    assert (fill.price, fill.size, fill.client_id, fill.start_position) == (D(50001), D("0.01"), order.client_id, 0)
    assert fill.fee > 0 and not fill.is_snapshot
    (position,) = bench.snapshot().positions
    assert (position.size, position.entry_price) == (D("0.01"), D(50001))


def test_only_what_the_book_shows_is_filled(bench: Bench) -> None:
    bench.quote("50000", "50001", size="0.004")
    assert one(OrderAccepted, bench.submit(bench.order())).filled_size == D("0.004")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": "0.0001"}, RejectReason.MIN_NOTIONAL),
        ({"price": "50000.55"}, RejectReason.BAD_PRICE),
        ({"size": "0.000001"}, RejectReason.BAD_SIZE),
        ({"size": "9"}, RejectReason.MARGIN),
        ({"price": "49000"}, RejectReason.NO_LIQUIDITY),
        ({"side": Side.SELL, "price": "49000", "reduce_only": True}, RejectReason.WOULD_INCREASE),
    ],
)
def test_it_refuses_as_the_venue_does(bench: Bench, changes: dict[str, Any], reason: RejectReason) -> None:
    bench.quote("50000", "50001", size="20")
    bench.mark("50000")
    refused = one(OrderRejected, bench.submit(bench.order(**changes)))
    assert refused.reason is reason


def test_a_stop_has_no_id_in_its_answer_and_is_listed(bench: Bench) -> None:
    bench.long()
    accepted = one(OrderAccepted, bench.submit(bench.stop()))
    assert (accepted.status, accepted.order_id) == (OrderStatus.ACCEPTED, None)
    (row,) = bench.listed()
    assert (row.trigger_price, row.is_stop, row.whole_position, row.reduce_only) == (D(49500), True, True, True)
    assert one(CancelAnswered, bench.do(Cancel("BTC", row.order_id, T0, "test"))).gone
    assert bench.listed() == ()


def test_the_mark_fires_the_stop(bench: Bench) -> None:
    bench.long()
    bench.submit(bench.stop())
    assert bench.mark("49501") == []
    bench.quote("49480", "49490")
    events = bench.mark("49490")
    fill = one(Fill, events)
    assert (fill.side, fill.price, fill.size) == (Side.SELL, D(49480), D("0.01"))
    assert OrderStatus.FILLED in [event.status for event in events if isinstance(event, OrderUpdate)]
    assert bench.snapshot().positions == () and bench.listed() == ()


def test_an_exit_takes_the_stop_with_it(bench: Bench) -> None:
    bench.long()
    bench.submit(bench.stop())
    bench.submit(bench.order(Side.SELL, price="49000", reduce_only=True))
    assert bench.snapshot().positions == () and bench.listed() == ()


def test_polled_prices_match_too(bench: Bench) -> None:
    now_ms = bench.clock.now_ms()
    bench.venue.on_market_data(
        PolledPrice(
            symbol="BTC", price=D(50000), bid=D(49999), ask=D(50001), mark=None, time_ms=None, received_ms=now_ms
        )
    )
    assert one(OrderAccepted, bench.submit(bench.order())).average_price == D(50001)


def test_a_whole_book_matches_level_by_level(bench: Bench) -> None:
    now_ms = bench.clock.now_ms()
    asks = ((D(50001), D("0.004")), (D(50010), D("0.006")))
    bench.venue.on_market_data(Book("BTC", ((D(50000), D(1)),), asks, now_ms, now_ms))
    accepted = one(OrderAccepted, bench.submit(bench.order()))
    assert accepted.average_price == (D(50001) * 4 + D(50010) * 6) / 10


def test_other_markets_are_not_its_business(bench: Bench) -> None:
    bench.venue.on_market_data(Trade("DOGE", D(1), D(1), Side.BUY, 1, T0, T0))
    assert bench.answers() == []


def test_what_is_not_an_order_goes_on(bench: Bench) -> None:
    bench.do(ReadBars("BTC"))
    assert bench.passed == [ReadBars("BTC")]


def test_equity_is_cash_and_open_profit(bench: Bench) -> None:
    bench.long()
    before = bench.snapshot().equity
    bench.mark("51000")
    assert bench.snapshot().equity - before == D("0.01") * 1000


def test_it_remembers_over_a_restart(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    first.long()
    first.submit(first.stop())
    before = first.snapshot()
    second = Bench(tmp_path)
    after = second.snapshot()
    assert [(p.size, p.entry_price) for p in after.positions] == [(p.size, p.entry_price) for p in before.positions]
    (stop,) = after.orders
    assert stop.trigger_price == D(49500) and stop.whole_position
    assert stop.order_id not in {row.order_id for row in before.orders}, "ids go on"
    second.quote("49000", "49001")
    assert one(Fill, second.mark("49000")).side is Side.SELL


def test_an_order_in_doubt_after_a_restart(tmp_path: Path) -> None:
    """Listed, or it never was: this venue answers at once, so nothing else can have happened."""
    first = Bench(tmp_path)
    first.long()
    order = first.order()
    settled = one(OrderSettled, first.do(Settle(order, 0)))
    assert settled.status is OrderStatus.REJECTED and settled.filled_size == 0


@pytest.mark.parametrize("content", [b"", b"{", b'{"balance": "x"}'])
def test_a_broken_memory_is_a_fresh_account(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "paper.json").write_bytes(content)
    assert Bench(tmp_path).snapshot().equity == D(10_000)


def test_a_memory_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "nowhere")
    bench.long()
    assert bench.snapshot().positions
