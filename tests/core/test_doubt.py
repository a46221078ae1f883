"""An order nobody has answered for, and a position without a stop beside it (P2, P3, P4)."""

import pytest

from core.messages import (
    CancelAnswered,
    ClockOffset,
    CloseAnswered,
    CloseContract,
    FlattenRequested,
    ReadAccount,
    ReadOrders,
    RejectReason,
    Settle,
    Started,
    StreamUp,
)
from core.model import Order, OrderStatus, OrderType, Side, Trade
from core.oco import CLOSE_ANSWER_MS, CLOSED_MS
from core.orders import BRIDGE_MS, DOUBT_MS_MAX
from core.records import SWEEP_BACK_MS, SWEEP_MS
from core.state import ExitReason
from tests.core.futures import ENTRY, STOP, TARGET, Pit, canceled_ids, exits, row, sent
from tests.core.gateway import MGC
from tests.core.world import D, Desk, of


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.start()
    return desk


@pytest.fixture
def pit() -> Pit:
    pit = Pit()
    pit.start()
    return pit


# --- Hyperliquid ------------------------------------------------------------------------------------------------------


def leave(desk: Desk) -> Order:
    [close] = desk.exits(desk.feed(FlattenRequested(received_ms=desk.now_ms)))
    return close


def test_an_exit_in_doubt_whose_stop_is_taken_away_is_bridged(desk: Desk) -> None:
    """Seen in a simulated day: the exit lost, and its stop cancelled by hand; bare until the exit was settled."""
    stop = desk.protected()
    desk.unknown(leave(desk))
    assert desk.sent(desk.wait(BRIDGE_MS)) == []  # the stop still rests there
    [bridge] = desk.sent(desk.update(stop.order_id, OrderStatus.CANCELED))
    assert bridge.type is OrderType.STOP and bridge.trigger_price == stop.trigger_price and bridge.reduce_only


def test_no_bridge_while_the_exit_may_still_be_answered(desk: Desk) -> None:
    """A stop beside an exit that fills would be left over."""
    stop = desk.protected()
    close = leave(desk)
    desk.update(stop.order_id, OrderStatus.CANCELED)
    assert desk.sent(desk.wait(BRIDGE_MS - 300)) == []
    desk.accept(close, filled="0.01", price="50000")
    assert desk.market.position is None and desk.sent(desk.wait(2_000)) == []


def test_an_order_in_doubt_is_asked_about_soon_again_however_long_the_venue_was_away(desk: Desk) -> None:
    """Seen in a simulated day: the pauses had grown to eight seconds, and the position was bare for them (P2)."""
    desk.protected()
    close = leave(desk)
    for _ in range(12):
        desk.unknown(close)
        assert of(Settle, desk.wait(DOUBT_MS_MAX + 200))


# --- TopstepX ---------------------------------------------------------------------------------------------------------


def bare_with_an_exit_in_doubt(pit: Pit) -> Order:
    """The price is beyond the stop's level: no stop would be taken there."""
    pit.enter()
    pit.feed(FlattenRequested(received_ms=pit.later()))
    pit.canceled(TARGET)
    pit.canceled(STOP)
    [close] = sent(pit.snapshot("2"))
    pit.unknown(close)
    pit.trade("4095")
    return close


def test_the_venue_is_asked_to_close_what_no_order_of_ours_may(pit: Pit) -> None:
    """An exit that nobody answers for forbids another (P3); closing by contract closes what is held, so never more."""
    close = bare_with_an_exit_in_doubt(pit)
    assert of(CloseContract, pit.wait(1_600)) == []
    [asked] = of(CloseContract, pit.wait(400))
    assert (asked.symbol, asked.contract_id, asked.reason) == ("MGC", MGC.contract_id, "FLATTEN")
    pit.feed(CloseAnswered(
        symbol="MGC", contract_id=MGC.contract_id, done=True, error=None, received_ms=pit.later()
    ))  # fmt: skip
    pit.fill(77, Side.SELL, "2", "4095")
    pit.settled(close, OrderStatus.REJECTED, "0", None)
    pit.snapshot()
    assert pit.market.position is None and pit.market.clean


def test_it_is_not_asked_in_the_moment_in_which_an_exit_of_ours_leaves(pit: Pit) -> None:
    """Seen after a kill: a stop in doubt, both closes in one turn, and a position of the other side (P4)."""
    pit.trade("4100")
    [stop] = sent(pit.fill(99, Side.BUY, "2", "4100"))
    pit.unknown(stop)
    pit.snapshot("2")
    actions = pit.wait(2_600)
    assert len(exits(actions)) + len(of(CloseContract, actions)) == 1


def answered(pit: Pit, done: bool | None) -> CloseAnswered:
    return CloseAnswered(
        symbol="MGC", contract_id=MGC.contract_id, done=done, error=None if done else "?", received_ms=pit.later()
    )


def test_it_is_not_asked_again_before_it_has_answered(pit: Pit) -> None:
    """Two closes at once open a position, and a slow venue takes longer than any pause of ours (P4)."""
    bare_with_an_exit_in_doubt(pit)
    assert len(of(CloseContract, pit.wait(CLOSE_ANSWER_MS))) == 1
    assert len(of(CloseContract, pit.wait(3_000))) == 1  # nor is it waited for for ever


@pytest.mark.parametrize("done", [True, False, None])
def test_it_is_asked_again_soon_after_an_answer_that_did_not_help(pit: Pit, done: bool | None) -> None:
    bare_with_an_exit_in_doubt(pit)
    assert len(of(CloseContract, pit.wait(1_900))) == 1
    pit.feed(answered(pit, done))
    assert of(CloseContract, pit.wait(CLOSED_MS - 200)) == []
    assert len(of(CloseContract, pit.wait(600))) == 1


def test_it_is_asked_again_at_once_when_no_answer_came_for_seconds(pit: Pit) -> None:
    bare_with_an_exit_in_doubt(pit)
    actions = pit.wait(1_900) + pit.wait(5_000)
    pit.feed(answered(pit, None))
    assert len(of(CloseContract, actions)) == 1 and len(of(CloseContract, pit.wait(500))) == 1


def test_after_that_no_exit_of_ours_overtakes_its_fill(pit: Pit) -> None:
    """Two closes at once open a position where nothing is reduce-only (P4)."""
    close = bare_with_an_exit_in_doubt(pit)
    assert of(CloseContract, pit.wait(1_900))
    pit.settled(close, OrderStatus.REJECTED, "0", None)
    pit.snapshot("2")
    assert sent(pit.wait(CLOSED_MS - 400)) == []
    assert exits(pit.wait(1_000) + pit.snapshot("2"))  # it did not help: ours again


def test_an_entry_in_doubt_does_not_keep_a_hands_position_bare(pit: Pit) -> None:
    """Seen in a simulated day: its exit had to wait for an entry that could not be looked up."""
    entry = pit.send_entry()
    pit.unknown(entry)
    [stop] = sent(pit.fill(99, Side.SELL, "1", "4100"))
    pit.unknown(stop)
    assert of(CloseContract, pit.wait(2_400))


def test_a_position_whose_month_takes_no_stop_is_closed_before_two_seconds_are_over(pit: Pit) -> None:
    """Seen in simulated days: rolled with a position open, and nothing but closing by contract works (page 2.9)."""
    pit.trade("4100")
    [stop] = sent(pit.fill(99, Side.BUY, "2", "4100"))
    actions = pit.reject(stop, RejectReason.HALTED)
    assert of(CloseContract, actions) == []  # the venue may be closing it, and two closes at once would open one
    while not of(CloseContract, actions):
        [stop] = sent(pit.wait(700))
        actions = pit.reject(stop, RejectReason.HALTED)
    assert pit.now_ms - (pit.market.naked_since_ms or 0) < 1_500
    [asked] = of(CloseContract, actions)
    assert asked.contract_id == MGC.contract_id
    assert pit.market.exit_reason is ExitReason.UNPROTECTED
    assert sent(pit.wait(CLOSED_MS - 200)) == []


def test_an_order_that_arrives_after_all_is_found_at_once_and_withdrawn(pit: Pit) -> None:
    """Seen in a simulated day: a request was on its way for 16 s, and its stop worked while flat for nine more (P4)."""
    pit.trade("4100")
    [stop] = sent(pit.fill(99, Side.BUY, "2", "4100"))
    pit.unknown(stop)
    pit.fill(98, Side.SELL, "2", "4100")
    pit.snapshot()
    pit.settled(stop, OrderStatus.REJECTED, "0", None)
    pit.wait(1_000)
    late = row(40, Side.SELL, "2", "4096", tag=stop.client_id)
    assert len(of(ReadOrders, pit.works(late))) == 1
    assert of(ReadOrders, pit.works(late)) == []  # news that come twice ask once
    assert canceled_ids(pit.listing(late)) == [40]


def test_an_entry_that_is_known_late_has_its_stop_after_one_look(pit: Pit) -> None:
    """Seen in a simulated day: the user hub silent, and the bracket's stop waited for as if the fill were new (P2)."""
    entry = pit.send_entry()
    pit.unknown(entry)
    pit.wait(2_500)
    assert of(ReadOrders, pit.settled(entry, OrderStatus.FILLED, "2", ENTRY))
    pit.listing()
    assert [order.type for order in sent(pit.wait(400))] == [OrderType.STOP]


# --- a restart --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [OrderStatus.ACCEPTED, OrderStatus.PARTIAL])
def test_an_exit_that_was_taken_and_whose_end_was_missed_is_asked_about(pit: Pit, status: OrderStatus) -> None:
    """Seen in a simulated day: no account read was believed any more, for an exit was in the air for ever (P7)."""
    pit.enter()
    pit.feed(FlattenRequested(received_ms=pit.later()))
    pit.canceled(TARGET)
    pit.canceled(STOP)
    [close] = sent(pit.snapshot("2"))
    pit.accept(close, 30)
    if status is OrderStatus.PARTIAL:
        pit.fill(30, Side.SELL, "1", "4100")
    actions = pit.feed(Started(run_id=8, rules=pit.rules, received_ms=pit.later())) + pit.wait(200)
    assert [action.order.client_id for action in of(Settle, actions)] == [close.client_id]


def test_a_stop_refused_for_too_many_requests_is_tried_again_soon_however_often(pit: Pit) -> None:
    """Under faults: a minute of 429, and four seconds bare after it, for the pauses had grown (P2)."""
    pit.trade("4100")
    [stop] = sent(pit.fill(99, Side.BUY, "2", "4100"))
    for _ in range(12):
        actions = pit.reject(stop, RejectReason.RATE_LIMIT)
        for _ in range(27):
            stops = [order for order in sent(actions) if order.type is OrderType.STOP]
            for close in exits(actions):
                actions = pit.reject(close, RejectReason.RATE_LIMIT)
                stops += [order for order in sent(actions) if order.type is OrderType.STOP]
            if stops:
                break
            actions = pit.wait(100)
        [stop] = stops


def test_a_stop_that_is_not_listed_is_gone_though_the_clock_was_set_back_meanwhile(pit: Pit) -> None:
    """Seen in a simulated day: it counted as accepted a moment ago for a minute, and the position was bare (P2)."""
    pit.enter()
    pit.now_ms -= 60_000
    pit.feed(Started(run_id=8, rules=pit.rules, received_ms=pit.later()))
    pit.snapshot("2", ahead_ms=60_000)
    pit.listing()
    assert [record for record in pit.market.live_orders() if record.rests] == []
    assert pit.market.naked_since_ms is not None


# --- what account reads say -------------------------------------------------------------------------------------------


def test_a_read_that_contradicts_us_and_may_be_old_makes_the_next_one_urgent(pit: Pit) -> None:
    """Seen in a simulated day: the budget of reads was spent, and for half a minute nobody knew what was held (P7)."""
    pit.fill(99, Side.BUY, "2", "4100")
    pit.snapshot("1", ago_ms=50)
    assert pit.state.disputed
    pit.wait(1_000)
    assert pit.state.disputed
    [read, *_] = of(ReadAccount, pit.wait(4_000))
    assert read.is_urgent
    pit.snapshot("2")
    assert not pit.state.disputed


def test_a_read_that_fails_when_fills_may_be_missing_is_tried_again_soon_and_not_for_ever(pit: Pit) -> None:
    """Seen under faults: a hand's trade while the hub was cut, and the read after it answered 404 (P2)."""
    pit.feed(StreamUp(stream="topstepx-user", subscriptions=2, received_ms=pit.later()))
    assert len(of(ReadAccount, pit.wait(2_000))) >= 3
    pit.wait(4_000)
    assert len(of(ReadAccount, pit.wait(2_000))) <= 2
    pit.snapshot()
    assert of(ReadAccount, pit.wait(2_000)) == []


def test_a_read_dated_by_a_clock_that_had_jumped_hides_no_fill(pit: Pit) -> None:
    """Seen in a simulated day: for 90 s each fill was taken for one that the read had contained."""
    pit.snapshot(ahead_ms=90_000)
    pit.fill(99, Side.BUY, "2", "4100")
    assert pit.market.position is not None and pit.market.position.size == D(2)


def test_a_position_found_while_the_clock_had_jumped_has_its_exits_at_once(pit: Pit) -> None:
    """Under faults: dated 90 s ahead, it ran past its take-profit for 90 s, for every trade was older than it (P8)."""
    pit.now_ms += 90_000
    pit.trade("4100")
    pit.snapshot("2", orders=(row(40, Side.SELL, "2", "4096", tag=None),))
    assert pit.market.position is not None
    pit.feed(ClockOffset(offset_ms=-90_000, round_trip_ms=50, received_ms=pit.later()))
    late_ms = pit.now_ms - 90_000
    pit.feed(Trade("MGC", D(4120), D(1), Side.BUY, 999, late_ms, pit.later()))
    assert pit.market.exit_reason is ExitReason.TAKE_PROFIT


def test_fills_are_read_now_and_then_for_a_hub_may_swallow_one_and_look_alive(pit: Pit) -> None:
    """Seen in a simulated day: bought and sold by hand within seconds, and missing in the ledger for ever (P6)."""
    pit.wait(11_000)
    pit.snapshot()  # the gap of the start is closed
    seen: list[ReadAccount] = []
    for _ in range(5):
        seen += of(ReadAccount, pit.wait(12_000))
        pit.snapshot()
    with_fills = [read for read in seen if read.fills_since_ms is not None]
    assert 60_000 // (SWEEP_MS + 10_000) <= len(with_fills) <= 60_000 // SWEEP_MS + 1 < len(seen)
    assert not any(read.is_urgent for read in with_fills)
    assert with_fills[-1].fills_since_ms is not None
    assert with_fills[-1].fills_since_ms <= pit.now_ms - SWEEP_BACK_MS


def test_nothing_is_closed_by_contract_where_all_is_well(pit: Pit) -> None:
    pit.enter()
    actions = pit.wait(10_000)
    pit.feed(CancelAnswered(symbol="MGC", order_id=ENTRY, gone=True, error=None, received_ms=pit.later()))
    assert of(CloseContract, actions) == []
