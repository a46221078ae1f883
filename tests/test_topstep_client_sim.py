"""The TopstepX client against the simulated gateway: the story of a position, and orders whose answers are lost."""

import itertools
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from core.messages import CloseContract, Modify, OrderAccepted, OrderRejected, OrderSettled, OrderUnknown, RejectReason
from core.model import Bracket, Order, OrderStatus, OrderType, Side, TimeInForce
from runtime.clock import ManualClock, SystemClock
from runtime.venue import CredentialsRefused, VenueUnavailable
from sim.topstepx_sim import TopstepxSim
from topstep_client import TopstepClient
from venues.topstepx.settle import NEVER_ARRIVED
from venues.topstepx.shapes import TERMINAL

_ids = itertools.count(1)
PRICE = D(4100)


@pytest.fixture
def sim() -> Iterator[TopstepxSim]:
    with TopstepxSim(seed=1) as sim:
        sim.set_price("MGC", PRICE)
        sim.trade("MGC", PRICE)
        yield sim


@pytest.fixture
def client(sim: TopstepxSim) -> Iterator[TopstepClient]:
    client = client_for(sim)
    client.check_credentials()
    client.measure_clock()
    client.instruments()
    yield client
    client.close()


def client_for(sim: TopstepxSim, account: str | None = None, clock: Any = None, **options: Any) -> TopstepClient:
    account, clock = account or str(sim.practice_id), clock or SystemClock()
    return TopstepClient(sim.url, sim.user, sim.api_key, account, clock=clock, symbols=["MGC"], **options)


def unhurried(sim: TopstepxSim) -> TopstepClient:
    """A client that waits by the clock's hands alone: looking for five seconds takes it none."""
    client = client_for(sim, clock=ManualClock(SystemClock().now_ms()))
    client.instruments()
    return client


def order(side: Side = Side.BUY, size: int = 1, **changes: Any) -> Order:
    fields = {
        "client_id": f"0x{0xBEEF:016x}{next(_ids):016x}",
        "symbol": "MGC",
        "side": side,
        "size": D(size),
        "type": OrderType.MARKET,
        "price": PRICE,
        "nonce": SystemClock().now_ms(),
    }
    return Order(**(fields | changes))


def stop(side: Side, level: str, size: int = 1) -> Order:
    return order(side, size, type=OrderType.STOP, trigger_price=D(level))


def target(side: Side, level: str, size: int = 1) -> Order:
    return order(side, size, type=OrderType.LIMIT, price=D(level), time_in_force=TimeInForce.GTC)


def placed(client: TopstepClient, sent: Order) -> int:
    said = client.submit(sent)
    assert isinstance(said, OrderAccepted) and said.order_id is not None, said
    return said.order_id


def working(client: TopstepClient) -> dict[str, Any]:
    return {row.client_id or "": row for row in client.working_orders().orders}


def seen(sim: TopstepxSim, check: Callable[[], Any]) -> Any:
    return sim.wait_until(check)


# --- the story of a position ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_a_bracketed_entry_its_children_a_trail_and_the_exit(sim: TopstepxSim, client: TopstepClient, side: Side):
    sign = side.sign
    began_ms = SystemClock().now_ms() - 60_000
    entry = order(side, 2, bracket=Bracket(40, 80))
    entry_id = placed(client, entry)
    seen(sim, lambda: sim.position("MGC") == 2 * sign and len(sim.orders()) == 2)
    account = client.account()
    (position,) = account.positions
    assert (position.symbol, position.size, position.multiplier) == ("MGC", D(2) * sign, D(10))
    assert client.positions() == (position,)
    filled = position.entry_price
    rows = {row.client_id: row for row in account.orders}
    guard, goal = rows[f"{entry.client_id}-SL"], rows[f"{entry.client_id}-TP"]
    assert (guard.is_stop, guard.side, guard.size) == (True, side.opposite, D(2))
    assert guard.trigger_price == guard.price == filled - sign * D(4)
    assert (goal.is_stop, goal.trigger_price, goal.price) == (False, None, filled + sign * D(8))
    assert guard.parent_id == goal.parent_id == entry_id

    tighter = guard.trigger_price + sign
    assert client.modify(Modify("MGC", guard.order_id, None, tighter, None, "trail")).done is True
    seen(sim, lambda: working(client)[f"{entry.client_id}-SL"].trigger_price == tighter)

    for child in (goal, guard):  # first the children, then the position (page 2.11)
        answered = client.cancel("MGC", child.order_id, 1)
        assert answered.gone, answered.error
    placed(client, order(side.opposite, 2))
    seen(sim, lambda: sim.position("MGC") == 0)
    account = client.account()
    assert (account.positions, account.orders) == ((), ())
    fills = client.fills_since(began_ms)
    assert sum(fill.side.sign * fill.size for fill in fills) == 0
    paid = sum((fill.closed_pnl - fill.fee for fill in fills), D(0))
    assert account.balance == D(150_000) + paid == sim.balance()


def test_own_stop_and_target_where_the_account_has_position_brackets(sim: TopstepxSim, client: TopstepClient):
    sim.set_brackets("position")
    said = client.submit(order(bracket=Bracket(40)))
    assert isinstance(said, OrderRejected) and said.reason is RejectReason.BRACKETS
    placed(client, order())
    seen(sim, lambda: sim.position("MGC") == 1)
    guard, goal = stop(Side.SELL, "4095.5"), target(Side.SELL, "4111.1")
    placed(client, guard)
    goal_id = placed(client, goal)
    rows = working(client)
    assert (rows[guard.client_id].trigger_price, rows[guard.client_id].is_stop) == (D("4095.5"), True)
    assert (rows[goal.client_id].price, rows[goal.client_id].is_stop) == (D("4111.1"), False)
    sim.move("MGC", "4095")
    seen(sim, lambda: sim.position("MGC") == 0)
    assert list(working(client)) == [goal.client_id], "nothing links the two"
    assert client.cancel("MGC", goal_id, 1).gone


def test_a_begun_order_is_written_on_the_warm_connection(sim: TopstepxSim, client: TopstepClient):
    sent = order()
    assert client.rehearse() and client.begin(client.presign(sent))
    assert isinstance(client.finish(sent), OrderAccepted)
    seen(sim, lambda: sim.position("MGC") == 1)
    assert client.handshakes == 1


def test_closing_leaves_children_working(sim: TopstepxSim, client: TopstepClient):
    """The warning of page 2.7, which the emergency exit must heed."""
    placed(client, order(size=3, bracket=Bracket(40, 80)))
    seen(sim, lambda: sim.position("MGC") == 3 and len(sim.orders()) == 2)
    contract = sim.contract("MGC")
    assert client.partial_close(contract, D(1)).done is True
    seen(sim, lambda: sim.position("MGC") == 2)
    assert client.partial_close(contract, D(9)).text.startswith("InvalidCloseSize")
    assert client.close_contract(contract).done is True
    seen(sim, lambda: sim.position("MGC") == 0)
    assert len(client.working_orders().orders) == 2
    assert client.close_contract(contract).text.startswith("PositionNotFound")


def test_a_position_outside_the_config_is_cleared_and_closed(sim: TopstepxSim, client: TopstepClient):
    sim.set_price("MNQ", 29_500)
    sim.place("MNQ", Side.BUY, 2, stop_ticks=-40, target_ticks=80)
    seen(sim, lambda: sim.position("MNQ") == 2 and len(sim.orders()) == 2)
    (held,) = client.account().positions
    assert (held.symbol, held.multiplier) == ("MNQ", D(2))
    said = client.close_outside(CloseContract(held.symbol, held.contract_id, "test"))
    assert (said.done, said.error) == (True, None)
    seen(sim, lambda: sim.position("MNQ") == 0)
    assert sim.orders() == []


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"type": OrderType.STOP, "trigger_price": D(4200)}, RejectReason.BAD_TRIGGER),
        ({"type": OrderType.STOP, "trigger_price": D(2000)}, RejectReason.BAD_PRICE),
    ],
)
def test_refused_orders_exist_all_the_same(
    sim: TopstepxSim, client: TopstepClient, changes: dict[str, Any], reason: RejectReason
):
    said = client.submit(order(Side.SELL, **changes))
    assert isinstance(said, OrderRejected)
    assert said.reason is reason and f"[order {sim.history()[-1]['id']}]" in said.text


@pytest.mark.parametrize("tag", [None, f"0x{7:032x}", f"0x{7:032x}-TP"], ids=["a hand's", "ours", "a child of ours"])
def test_an_order_of_ours_keeps_its_month_in_use(sim: TopstepxSim, tag: str | None):
    """Seen in a simulated day: killed before a roll, flat after it, and its target worked on in the old month."""
    old = sim.contract("MGC")
    sim.place("MGC", Side.BUY, type=1, limit="4090", tag=tag)
    new = sim.roll("MGC")
    other = client_for(sim)
    assert other.instruments()["MGC"].contract_id == (new if tag is None else old)
    assert [o.symbol for o in other.working_orders().orders] == ["MGC" if tag else "MGCZ6"]
    other.close()


def test_outside_the_hours(sim: TopstepxSim, client: TopstepClient):
    sim.set_session("2026-11-20T15:30:00-06:00")
    said = client.submit(order())
    assert isinstance(said, OrderRejected) and said.reason is RejectReason.OUTSIDE_HOURS


def test_a_stop_moved_behind_the_market_is_refused_and_works_on(sim: TopstepxSim, client: TopstepClient):
    guard = stop(Side.SELL, "4095.5")
    guard_id = placed(client, guard)
    said = client.modify(Modify("MGC", guard_id, None, D(4150), None, "trail"))
    assert (said.done, said.reason) == (False, RejectReason.BAD_TRIGGER)
    assert working(client)[guard.client_id].trigger_price == D("4095.5")


def test_cancels_of_what_is_gone(sim: TopstepxSim, client: TopstepClient):
    guard_id = placed(client, stop(Side.SELL, "4095.5"))
    assert client.cancel("MGC", guard_id, 1).gone
    assert client.cancel("MGC", guard_id, 2).gone
    assert client.cancel("MGC", 1, 3).gone  # nobody ever knew it


def test_a_fill_that_beats_the_cancel_is_gone_too(sim: TopstepxSim, client: TopstepClient):
    guard_id = placed(client, stop(Side.SELL, "4095.5"))
    sim.fault("fill_beats_cancel")
    said = client.cancel("MGC", guard_id, 1)
    assert said.gone, said.error
    assert seen(sim, lambda: sim.position("MGC")) == -1


# --- orders in doubt ------------------------------------------------------------------------------------------------


def doubt(sim: TopstepxSim, client: TopstepClient, fault: str, **args: Any) -> tuple[Order, Any]:
    sim.fault(fault, action="Order/place", times=1, **args)
    sent = order()
    said = client.submit(sent)
    assert isinstance(said, OrderUnknown), said
    return sent, said


@pytest.mark.parametrize("fault, args", [("drop_answer", {}), ("error_answer", {"status": 500}), ("partial_json", {})])
def test_an_order_whose_answer_is_lost_is_found(sim: TopstepxSim, client: TopstepClient, fault: str, args: Any):
    sent, _ = doubt(sim, client, fault, **args)
    seen(sim, lambda: sim.position("MGC") == 1)
    said = client.settle(sent, 0)
    assert isinstance(said, OrderSettled)
    assert (said.status, said.filled_size) == (OrderStatus.FILLED, D(1))
    assert len(sim.received("Order/place")) == 1


def test_a_request_that_arrives_late_is_found_while_it_is_looked_for(sim: TopstepxSim, client: TopstepClient):
    sent, _ = doubt(sim, client, "late_order", ms=1_200)
    said = client.settle(sent, 0)
    assert isinstance(said, OrderSettled) and said.order_id is not None
    assert said.status in (OrderStatus.FILLED, OrderStatus.ACCEPTED)
    seen(sim, lambda: sim.position("MGC") == 1)


def test_a_request_that_never_arrived_is_not_placed(sim: TopstepxSim, client: TopstepClient):
    sent, _ = doubt(sim, client, "lost_request")
    said = unhurried(sim).settle(sent, 0)
    assert isinstance(said, OrderSettled)
    assert (said.status, said.text) == (OrderStatus.REJECTED, NEVER_ARRIVED)
    assert sim.position("MGC") == 0


def test_the_same_tag_twice_is_one_order(sim: TopstepxSim, client: TopstepClient):
    """What a client that resends would do: the venue refuses the copy, and the look-up finds the one that counts."""
    sent = order()
    order_id = placed(client, sent)
    assert isinstance(client.submit(sent), OrderUnknown)
    seen(sim, lambda: sim.position("MGC") == 1)
    said = client.settle(sent, 1)
    assert isinstance(said, OrderSettled)
    assert (said.order_id, said.status) == (order_id, OrderStatus.FILLED)


@pytest.mark.parametrize("fault", ["http_429", "http_error", "html_200", "empty_body"])
def test_answers_of_others_than_the_gateway(sim: TopstepxSim, client: TopstepClient, fault: str):
    sim.fault(fault, times=1)
    said = client.submit(order())
    assert isinstance(said, OrderRejected if fault == "http_429" else OrderUnknown)
    assert sim.position("MGC") == 0


# --- token, account, contracts --------------------------------------------------------------------------------------


def test_a_token_that_ends_is_renewed_and_nothing_is_lost(sim: TopstepxSim, client: TopstepClient):
    placed(client, order())
    sim.expire_tokens()
    placed(client, order())
    sim.expire_tokens()
    seen(sim, lambda: sim.position("MGC") == 2)
    assert client.account().positions[0].size == D(2)
    sim.expire_tokens()
    sent = order(Side.SELL, 2)
    assert client.begin(client.presign(sent))
    assert isinstance(client.finish(sent), OrderAccepted)
    seen(sim, lambda: sim.position("MGC") == 0)


class Ahead(SystemClock):
    """This machine's time and `ahead_ms`."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


def test_a_token_near_its_end_is_renewed_by_reads():
    clock = Ahead()
    with TopstepxSim(seed=1, token_s=60.0) as sim:
        client = client_for(sim, clock=clock)
        client.check_credentials()
        sim.advance(57_000)
        clock.ahead_ms = 57_000
        client.account()
        sim.advance(50_000)
        clock.ahead_ms = 107_000
        client.account()
        assert len(sim.received("Auth/validate")) == 1 and len(sim.received("Auth/loginKey")) == 1
        client.close()


def test_many_threads_share_one_login(sim: TopstepxSim, client: TopstepClient):
    sim.expire_tokens()
    before = len(sim.received("Auth/loginKey"))
    clones = [client.clone() for _ in range(8)]
    threads = [threading.Thread(target=clone.account) for clone in clones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(sim.received("Auth/loginKey")) == before + 1
    for clone in clones:
        clone.close()


def test_wrong_credentials_and_accounts(sim: TopstepxSim):
    clock = SystemClock()
    with pytest.raises(CredentialsRefused, match="InvalidCredentials"):
        TopstepClient(sim.url, "demo", "wrong", "PRAC", clock=clock).check_credentials()
    with pytest.raises(CredentialsRefused, match=r"no account PRAC-V2; it has .*PRAC"):
        client_for(sim, "PRAC-V2").check_credentials()
    assert client_for(sim, str(sim.combine_id)).check_credentials().kind == "combine"


def test_a_replaced_account_is_locked_and_the_new_one_is_not_taken(sim: TopstepxSim, client: TopstepClient):
    """A reset leaves the old one listed, locked and hidden (page 2.2)."""
    new_id = sim.replace_account()
    assert client.account().can_trade is False
    said = client.submit(order())
    assert isinstance(said, OrderRejected) and said.reason is RejectReason.ACCOUNT
    assert sim.position("MGC", account=new_id) == 0
    assert client.account_id == sim.practice_id != new_id


def test_a_locked_account_says_so(sim: TopstepxSim, client: TopstepClient):
    sim.lock()
    assert client.account().can_trade is False
    said = client.submit(order())
    assert isinstance(said, OrderRejected) and said.reason is RejectReason.ACCOUNT


def test_a_roll_with_an_open_position_keeps_the_old_month(sim: TopstepxSim, client: TopstepClient):
    old = client.instruments()["MGC"].contract_id
    placed(client, order())
    seen(sim, lambda: sim.position("MGC") == 1)
    new = sim.roll("MGC")
    (event,) = client.rolled(["MGC"])
    assert event.instrument.contract_id == new != old
    other = client_for(sim)  # the bot is started anew
    assert other.instruments()["MGC"].contract_id == old
    assert other.account().positions[0].symbol == "MGC"
    client.close_contract(old)
    seen(sim, lambda: not client.account().positions)
    client.use([event.instrument])
    placed(client, order())
    seen(sim, lambda: sim.position("MGC") == 1)
    assert [row.contract_id for row in client.account().positions] == [new]
    other.close()


# --- prices and the clock -------------------------------------------------------------------------------------------


def test_bars_and_polled_prices_agree_with_the_market(sim: TopstepxSim, client: TopstepClient):
    sim.move("MGC", "4123.4")
    (price,) = client.polled_prices(["MGC"])
    assert price.price == D("4123.4")
    assert price.time_ms is not None and 0 <= SystemClock().now_ms() - price.time_ms < 3_000
    bars = client.bars("MGC", 60_000, 50)
    assert len(bars) == 50 and bars[-1].close == D("4123.4")
    assert all(bar.open_ms % 60_000 == 0 for bar in bars)
    assert len(client.bars("MGC", 14_400_000, 3)) == 3


def test_delayed_rest_prices_are_seen_to_be_old():
    with TopstepxSim(seed=1, delay_s=900.0, delay_what="rest") as sim:
        client = client_for(sim)
        client.instruments()
        sim.move("MGC", "4123.4")
        prices = client.polled_prices(["MGC"])
        assert all(SystemClock().now_ms() - (price.time_ms or 0) > 890_000 for price in prices)
        client.close()


def test_a_clock_that_is_wrong_is_measured():
    with TopstepxSim(seed=1, clock_us=-90_000_000) as sim:
        client = client_for(sim)
        offset = client.measure_clock()
        assert abs(offset.offset_ms + 90_000) <= offset.round_trip_ms / 2 + 1
        assert offset.round_trip_ms <= 1_500
        client.close()


def test_limits_of_the_venue_are_kept():
    """Whatever is asked of the client, the gateway never says 429."""
    with TopstepxSim(seed=1, limits=True) as sim:
        client = client_for(sim)
        client.instruments()
        refused = 0
        for _ in range(140):
            try:
                client.account()
                client.bars("MGC", 60_000, 5)
            except VenueUnavailable as e:
                assert "request budget" in str(e), e
                refused += 1
                break
        assert refused == 1
        assert isinstance(client.submit(order()), OrderAccepted)
        client.close()


def test_orders_of_the_past_are_not_taken_for_ours(sim: TopstepxSim, client: TopstepClient):
    sent = order()
    placed(client, sent)
    seen(sim, lambda: sim.position("MGC") == 1)
    assert all(row["status"] in TERMINAL for row in sim.history())
    other = order(nonce=sent.nonce)
    said = unhurried(sim).settle(other, 0)
    assert isinstance(said, OrderSettled) and said.text == NEVER_ARRIVED
