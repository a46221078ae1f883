"""A read that may be older than our latest fill: when it is enough to begin to protect, and when it is not."""

import msgspec
import pytest

from core.messages import AccountSnapshot, AnyAction, ReadAccount, ReadOrders, Started, StreamUp
from core.model import OrderType, Side, WorkingOrder
from core.state import MarketState, State
from tests.core import futures
from tests.core.futures import Pit, position, row, sent
from tests.core.world import D, Desk, of


def bare(held: bool = True) -> Pit:
    """A start with a remembered position that nothing protects, as far as the bot knows; nothing has been read yet."""
    before = Pit()
    before.start()
    if held:
        before.fill(99, Side.BUY, "2", "4100")
    market = msgspec.structs.replace(before.market, orders={})
    pit = Pit(state=msgspec.structs.replace(before.state, markets={"MGC": market}))
    pit.now_ms = before.now_ms + 5_000
    pit.feed(Started(run_id=8, rules=pit.rules, received_ms=pit.later()))
    for name in ("topstepx-market", "topstepx-user"):
        pit.feed(StreamUp(stream=name, subscriptions=2, received_ms=pit.later()))
    pit.trade("4100")
    assert not pit.market.known and not any(record.rests for record in pit.market.orders.values())
    return pit


def read_behind(pit: Pit, size: str, *orders: WorkingOrder) -> list[AnyAction]:
    """An account read by a server whose clock says that it is older than our latest fill."""
    return pit.snapshot(size, ahead_ms=-60_000, orders=orders)


def test_a_read_that_agrees_is_enough_to_protect() -> None:
    pit = bare()
    [stop] = sent(read_behind(pit, "2"))
    assert pit.market.known
    assert (stop.type, stop.side, stop.size) == (OrderType.STOP, Side.SELL, D(2))


@pytest.mark.parametrize("is_there", [True, False])
def test_a_stop_that_it_names_is_looked_for_before_another_is_placed(is_there: bool) -> None:
    """Seen after a kill: a second one was placed beside the bracket's, and its removal left the looser of the two."""
    pit = bare()
    bracket = row(futures.STOP, Side.SELL, "2", "4094", "0xfeed-SL", parent=99)
    actions = read_behind(pit, "2", bracket)
    assert pit.market.known and sent(actions) == [] and of(ReadOrders, actions)
    actions = pit.listing(bracket) if is_there else pit.listing()
    actions += pit.wait(400)
    if is_there:
        assert sent(actions) == [] and [stop.order_id for stop in pit.market.stops] == [futures.STOP]
    else:
        [stop] = sent(actions)
        assert (stop.side, stop.size) == (Side.SELL, D(2))


@pytest.mark.parametrize("size", ["0", "1", "3", "-2"])
def test_one_that_differs_decides_nothing(size: str) -> None:
    """It may not know our latest fill: what we believe stands, and nothing is sent on either word."""
    pit = bare()
    assert sent(read_behind(pit, size)) == []
    assert not pit.market.known and pit.position.size == 2 and pit.position.side is Side.BUY
    assert "reconcile_difference" not in pit.names()


def test_a_regular_read_leaves_what_is_kept_for_orders_and_one_that_is_overdue_does_not() -> None:
    desk = Desk()
    desk.start()
    asked = of(ReadAccount, desk.wait(30_500))
    assert asked and not any(read.is_urgent for read in asked)
    assert of(ReadAccount, desk.wait(20_000))[-1].is_urgent  # nobody has answered


def test_the_next_read_decides() -> None:
    pit = bare()
    read_behind(pit, "3")
    assert pit.state.account_due_ms - pit.now_ms == 3_000  # sooner than the regular one
    [stop] = sent(pit.snapshot("3"))
    assert pit.market.known and pit.position.size == 3 and stop.size == 3
    assert "reconcile_difference" in pit.names()


def test_it_does_not_say_that_we_are_flat() -> None:
    """Flat is acted upon too: orders are withdrawn. A read that may be old is not enough for that."""
    pit = bare(held=False)
    pit.state = with_moved(pit.state, pit.now_ms + 60_000)
    read_behind(pit, "0")
    assert not pit.market.known


def test_one_asked_for_before_an_order_in_the_air_counts_as_well() -> None:
    """Outdated by our clock, not by theirs."""
    pit = bare()
    pit.snapshot("2", ago_ms=10_000)
    assert pit.market.known and not pit.market.confirmed  # to protect is allowed, to close or to grow a stop is not


def test_it_counts_for_its_own_market_alone() -> None:
    pit = bare()
    pit.snapshot("0", ahead_ms=-60_000, more=(position("2", "4100", "MNQ", "CON.F.US.MNQ.Z26"),))
    assert not pit.market.known


def test_where_stops_only_reduce_there_is_no_need() -> None:
    """Hyperliquid: the bot protects what it remembers at once, and an outdated read says nothing."""
    desk = Desk()
    desk.start()
    desk.protected()
    desk.now_ms += 5_000
    desk.feed(Started(run_id=8, rules=desk.rules, received_ms=desk.now_ms))
    desk.now_ms += 10
    desk.feed(AccountSnapshot(
        equity=D(10_000), available=D(10_000), positions=(futures.position("0.01", "50000", "BTC"),), orders=(),
        requested_ms=desk.now_ms - 1, time_ms=desk.now_ms - 60_000, received_ms=desk.now_ms,
    ))  # fmt: skip
    assert not desk.market.known and desk.position.size == D("0.01")


def with_moved(state: State, moved_ms: int) -> State:
    market: MarketState = msgspec.structs.replace(state.markets["MGC"], moved_ms=moved_ms)
    return msgspec.structs.replace(state, markets={"MGC": market})
