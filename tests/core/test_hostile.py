"""What a hostile venue, a hand on the mouse or a clock once broke: each stays mended."""

from collections.abc import Callable

import msgspec
import pytest

from core.freshness import price_age_ms
from core.messages import (
    AnyAction,
    Cancel,
    CancelAnswered,
    ClockOffset,
    FlattenRequested,
    PolledPrice,
    ReadAccount,
    RequestBudget,
    Settle,
    Started,
    Tick,
)
from core.model import Order, OrderStatus, OrderType, Purpose, Side, Trade, WorkingOrder
from core.positions import DAY_MS, held
from core.risk import daily_pnl, equity_now
from core.signals import Signal
from core.state import ExitReason, State
from tests.core.world import RULES, T0, D, Desk, of, rules_with, venue_position

READ_WEIGHT = 22  # clearinghouseState and frontendOpenOrders (page 7.1)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.start()
    return desk


def refuse_stops(desk: Desk, ms: int) -> list[AnyAction]:
    """Let time pass while the venue refuses every stop; what was done meanwhile."""
    actions: list[AnyAction] = []
    end_ms = desk.now_ms + ms
    while desk.now_ms < end_ms:
        for record in list(desk.market.orders.values()):
            if record.is_live and record.purpose is Purpose.STOP:
                actions += desk.reject(record.order)
        actions += desk.wait(200)
    return actions


def foreign_stop(trigger: str, limit: str, is_stop: bool = True) -> WorkingOrder:
    return WorkingOrder("BTC", Side.SELL, 44, None, D("0.01"), D(limit), D(trigger), is_stop, True, False, T0)


# --- reads that lag ---------------------------------------------------------------------------------------------------


def test_a_read_older_than_the_fill_is_not_believed(desk: Desk) -> None:
    """Asked for afterwards, and answered by a server that is a block behind; the fill's own block counts."""
    desk.listing()
    desk.trade("50000")
    desk.fill(9, Side.BUY, "0.01", "50000", start="0")
    fill_ms = desk.now_ms
    desk.snapshot(time_ms=fill_ms - 1)
    assert held(desk.market) == D("0.01")
    desk.snapshot(time_ms=fill_ms)
    assert held(desk.market) == 0


def test_the_stop_stays_until_the_venue_says_flat(desk: Desk) -> None:
    """A hand may have added at the venue: its fill is on the way when our exit is answered, and the stop guards it."""
    listed = desk.protected()
    [exit_] = desk.exits(desk.trade("49400"))
    actions = desk.accept(exit_, filled="0.01", price="49400", order_id=7)
    actions += desk.listing(listed)
    actions += desk.wait(3_000)
    assert of(Cancel, actions) == []
    assert [cancel.order_id for cancel in of(Cancel, desk.snapshot(orders=(listed,)))] == [100]


def test_no_stop_of_a_position_that_was_never_read_is_canceled() -> None:
    """After a restart the first account read is outdated, for an entry is in flight: the venue has not said flat."""
    before = Desk()
    before.start()
    entry = before.send_entry()
    desk = Desk(state=before.state)
    desk.now_ms = before.now_ms + 1_000
    desk.feed(Started(run_id=8, rules=RULES, received_ms=desk.now_ms))
    stop = foreign_stop("49500", "44000")
    actions = desk.snapshot(positions=(venue_position("0.01", "50000"),), orders=(stop,))
    actions += desk.settled(entry, OrderStatus.REJECTED)
    actions += desk.listing(stop)
    assert of(Cancel, actions) == []


def test_a_leftover_that_cannot_be_canceled_costs_little(desk: Desk) -> None:
    """Reads and cancels thin out: less than the weight of a minute, and a cancel every few seconds."""
    listed = desk.protected()
    [exit_] = desk.exits(desk.trade("49400"))
    desk.accept(exit_, filled="0.01", price="49400", order_id=7)
    reads = cancels = 0
    end_ms = desk.now_ms + 60_000
    while desk.now_ms < end_ms:
        for action in desk.wait(200):
            if isinstance(action, ReadAccount):
                reads += 1
                cancels += len(of(Cancel, desk.snapshot(orders=(listed,))))
            elif isinstance(action, Cancel):
                cancels += 1
                desk.feed(CancelAnswered(
                    symbol="BTC", order_id=action.order_id, gone=False, error="busy", received_ms=desk.now_ms
                ))  # fmt: skip
    assert 0 < reads * READ_WEIGHT < 1_000
    assert 0 < cancels <= 30


# --- orders and their end ---------------------------------------------------------------------------------------------


ENDS: dict[OrderStatus, Callable[[Desk, Order], object]] = {
    OrderStatus.CANCELED: lambda desk, order: desk.update(55, OrderStatus.CANCELED, order),
    OrderStatus.REJECTED: lambda desk, order: desk.reject(order),
}
LATE: dict[str, Callable[[Desk, Order], object]] = {
    "accepted": lambda desk, order: desk.accept(order, order_id=None),
    "rejected": lambda desk, order: desk.reject(order),
    "settled": lambda desk, order: desk.settled(order, OrderStatus.ACCEPTED, order_id=3),
    "unknown": lambda desk, order: desk.unknown(order),
    "updated": lambda desk, order: desk.update(55, OrderStatus.FILLED, order),
}


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.value)
def test_a_final_order_stays_final(desk: Desk, end: OrderStatus, late: str) -> None:
    stop = desk.enter()
    ENDS[end](desk, stop)
    assert desk.market.orders[stop.client_id].status is end
    LATE[late](desk, stop)
    assert desk.market.orders[stop.client_id].status is end


def test_an_order_in_doubt_is_asked_about_once_at_a_time(desk: Desk) -> None:
    """One tick finds the entry silent for too long and the stop's next question due: a question each."""
    entry = desk.send_entry()
    [stop] = desk.sent(desk.fill(5, Side.BUY, "0.004", "50000", start="0", client_id=entry.client_id))
    desk.unknown(stop)
    desk.unknown(stop)  # the look-up got no answer either
    desk.now_ms += 12_500
    asked = [settle.order.client_id for settle in of(Settle, desk.feed(Tick(received_ms=desk.now_ms)))]
    assert sorted(asked) == sorted([entry.client_id, stop.client_id])


def test_an_exit_that_was_said_to_rest_is_settled_and_replaced(desk: Desk) -> None:
    """The venue lets no IOC rest: a look-up that says so is older than its end, and must not block the next exit."""
    desk.protected()
    [exit_] = desk.exits(desk.trade("49400"))
    desk.unknown(exit_)
    desk.wait(800)
    actions = desk.settled(exit_, OrderStatus.PARTIAL, filled="0.004", order_id=9)
    actions += desk.update(9, OrderStatus.CANCELED, exit_, size_left="0.006")
    actions += desk.wait(20_000)
    assert [order.size for order in desk.exits(actions)] == [D("0.006")]


@pytest.mark.parametrize("rests", [OrderStatus.ACCEPTED, OrderStatus.PARTIAL])
def test_an_exit_that_was_said_to_rest_is_asked_about_again(desk: Desk, rests: OrderStatus) -> None:
    desk.protected()
    [exit_] = desk.exits(desk.trade("49400"))
    desk.unknown(exit_)
    desk.wait(800)
    desk.settled(exit_, rests, order_id=9)
    assert [settle.order for settle in of(Settle, desk.wait(800))] == [exit_]


def test_equal_fills_in_reverse_order_add_up(desk: Desk) -> None:
    """The chain of sizes held before each fill does not tell them from fills that are known already."""
    entry = desk.send_entry()
    desk.fill(5, Side.BUY, "0.005", "50000", start="0.005", client_id=entry.client_id)
    desk.fill(5, Side.BUY, "0.005", "50000", start="0", client_id=entry.client_id)
    desk.accept(entry, filled="0.01", price="50000", order_id=5)
    assert held(desk.market) == D("0.01")


def test_an_exit_clamped_by_the_venue_does_not_flip(desk: Desk) -> None:
    """Our stop filled 0.006 first, so reduce-only left 0.004 to the exit; its look-up names the size asked for."""
    desk.protected()
    [exit_] = desk.exits(desk.trade("49400"))
    desk.fill(100, Side.SELL, "0.006", "49500", start="0.01")
    desk.unknown(exit_)
    desk.wait(600)
    desk.settled(exit_, OrderStatus.FILLED, filled="0.01", order_id=9)
    assert held(desk.market) == 0
    assert "position_flipped" not in desk.names()


# --- protection -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("filled", "status"), [("0.01", OrderStatus.FILLED), ("0.004", OrderStatus.SENT)])
def test_an_entry_that_has_filled_does_not_block_the_close(desk: Desk, filled: str, status: OrderStatus) -> None:
    """Its REST answer is lost, the fill came by the stream, and every stop is refused: the position must go (P2)."""
    entry = desk.send_entry()
    desk.fill(5, Side.BUY, filled, "50000", start="0", client_id=entry.client_id)
    assert desk.market.orders[entry.client_id].status is status
    actions = refuse_stops(desk, 2_600)
    assert desk.market.exit_reason is ExitReason.UNPROTECTED
    assert [order.size for order in desk.exits(actions)] == [D(filled)]


@pytest.mark.parametrize(("after_ms", "reason"), [(1_600, None), (1_795, None), (1_800, ExitReason.UNPROTECTED)])
def test_a_stop_accepted_within_the_bound_gets_time_to_be_listed(
    desk: Desk, after_ms: int, reason: ExitReason | None
) -> None:
    stop = desk.enter()
    desk.wait(after_ms)
    desk.accept(stop, order_id=None)  # 5 ms later
    desk.wait(600)  # the read-back takes that long
    assert "stop_not_listed" not in desk.names()
    assert desk.market.exit_reason is reason


def test_a_stop_found_by_its_look_up_gets_time_to_be_listed(desk: Desk) -> None:
    stop = desk.enter()
    desk.unknown(stop)
    desk.wait(1_600)
    desk.settled(stop, OrderStatus.ACCEPTED, order_id=100)
    assert "stop_not_listed" not in desk.names()
    assert desk.market.orders[stop.client_id].is_live


def test_a_long_sleep_is_not_taken_for_a_missing_stop(desk: Desk) -> None:
    """A lid was closed between the stop's answer and its listing: protection gets its time anew."""
    stop = desk.enter()
    desk.accept(stop, order_id=None)
    desk.now_ms += 600_000
    desk.feed(Tick(received_ms=desk.now_ms))
    assert desk.market.exit_reason is None
    assert "stop_not_listed" not in desk.names()


@pytest.mark.parametrize(("trigger", "limit", "reason"), [
    ("22000", "20000", "protect"),  # beyond liquidation, it is no stop at all
    ("47000", "42300", "trail"),  # it would fire in time, and lose more than the rules allow
])  # fmt: skip
def test_a_stop_far_away_is_not_enough(desk: Desk, trigger: str, limit: str, reason: str) -> None:
    """Also with few requests left: those are saved on trailing, not on protection."""
    desk.feed(RequestBudget(used=9_900, cap=10_000, received_ms=desk.now_ms))
    desk.listing()
    desk.trade("50000")
    position = venue_position("0.01", "50000", liquidation="45000")
    [stop] = desk.sent(desk.snapshot(positions=(position,), orders=(foreign_stop(trigger, limit),)))
    assert stop.type is OrderType.STOP and stop.trigger_price == D(49500)
    assert desk.market.orders[stop.client_id].reason == reason


@pytest.mark.parametrize(("size", "places"), [("0.01", False), ("0.00999", True)])
def test_a_stop_for_less_than_is_held_is_not_enough(desk: Desk, size: str, places: bool) -> None:
    by_hand = msgspec.structs.replace(foreign_stop("49500", "44550"), size=D(size), whole_position=False)
    orders = desk.sent(desk.snapshot(positions=(venue_position("0.01", "50000"),), orders=(by_hand,)))
    assert [order.trigger_price for order in orders] == ([D(49500)] if places else [])
    assert (desk.market.naked_since_ms is not None) is places


@pytest.mark.parametrize("size", ["0.02", "0.005"])
def test_another_size_at_the_venue_is_taken_over(desk: Desk, size: str) -> None:
    """The same side, and more or less of it than we know of: what closes and what is watched follows."""
    listed = desk.protected()
    desk.snapshot(positions=(venue_position(size, "50000"),), orders=(listed,))
    assert desk.position.size == D(size) and "reconcile_difference" in desk.names()
    [exit_] = desk.exits(desk.trade("49400"))
    assert exit_.size == D(size)


@pytest.mark.parametrize("start", ["0", None])
def test_history_is_no_news(desk: Desk, start: str | None) -> None:
    """The fills that follow every subscribe: one that nobody here knows asks for an account read, and moves nothing."""
    desk.now_ms += 1_000
    actions = desk.fill(31, Side.BUY, "0.01", "50000", start=start, is_snapshot=True)
    assert desk.market.position is None and of(ReadAccount, actions)
    assert desk.state.fill_ids, "booked it is"


def test_an_answer_of_rest_that_was_overtaken_moves_nothing(desk: Desk) -> None:
    """It was on its way while the stream spoke: below the stop, and older than the last trade."""
    desk.protected()
    desk.trade("50100", after_ms=500)
    late = PolledPrice(
        symbol="BTC", price=D(49400), bid=D(49399), ask=D(49401), mark=None, time_ms=desk.now_ms - 1,
        received_ms=desk.now_ms + 5,
    )  # fmt: skip
    assert desk.sent(desk.feed(late)) == []
    assert (desk.market.current_price, desk.market.price_source) == (D(50100), "websocket")


def test_a_stop_limit_does_not_replace_our_stop(desk: Desk) -> None:
    """A hand's stop-limit sits tighter than ours, but a gap would leave it behind: ours is not the looser one."""
    listed = desk.protected()
    stop_limit = foreign_stop("49800", "49799", is_stop=False)
    assert of(Cancel, desk.listing(listed, stop_limit) + desk.wait(1_000)) == []
    assert [c.order_id for c in of(Cancel, desk.listing(listed, foreign_stop("49800", "44820")))] == [100]


def test_a_corrected_entry_price_keeps_the_trail(desk: Desk) -> None:
    listed = desk.protected("50000")
    desk.trade("50250")
    trail = desk.position.trail_price
    assert trail is not None
    desk.now_ms += 1_000
    desk.snapshot(positions=(venue_position("0.01", "50000.1"),), orders=(listed,))
    assert desk.position.entry_price == D("50000.1")
    assert desk.position.trail_price == trail


# --- getting out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quoted", [True, False])
def test_a_position_is_left_also_where_nothing_has_traded(desk: Desk, quoted: bool) -> None:
    desk.mark("50000")
    if quoted:
        desk.quote("49999", "50001")
    desk.fill(9, Side.BUY, "0.01", "50000", start="0")
    assert desk.exits(refuse_stops(desk, 3_000))


def test_an_exit_is_bounded_by_the_book_where_the_last_trade_is_old(desk: Desk) -> None:
    """The book is 8 % below the last trade: 5 % below that trade is a limit which never matches."""
    desk.protected("50000")
    desk.quote("46000", "46010")
    [exit_] = desk.exits(desk.feed(FlattenRequested(received_ms=desk.now_ms)))
    assert exit_.price < D(46000)


def test_flatten_also_closes_what_an_entry_in_flight_opens(desk: Desk) -> None:
    entry = desk.send_entry()
    desk.feed(FlattenRequested(received_ms=desk.now_ms))
    actions = desk.accept(entry, filled="0.01", price="50000")
    actions += desk.wait(1_000)
    assert [order.size for order in desk.exits(actions)] == [D("0.01")]


# --- the strategy and the day -----------------------------------------------------------------------------------------


def test_the_newest_signal_ends_the_wish_for_a_reversal(desk: Desk) -> None:
    """SHORT, and FLAT before the old position was gone: nothing is opened."""
    desk.protected()
    desk.signal = Signal.SHORT
    [exit_] = desk.exits(desk.trade("50000", after_ms=1_000))
    desk.signal = Signal.FLAT
    desk.trade("50000", after_ms=1_000)
    desk.signal = None
    desk.accept(exit_, filled="0.01", price="50000", order_id=7)
    actions = desk.snapshot()
    desk.trade("50000")
    actions += desk.snapshot()
    assert desk.market.clean
    assert desk.sent(actions) == []


def test_the_daily_loss_stays_reached_until_the_day_is_over(desk: Desk) -> None:
    """Closing brought some of it back: still no entry."""
    desk.protected("50000")
    desk.fill(77, Side.BUY, "0.00001", "50000", start="0.01", closed_pnl=D("-100.5"))
    [exit_] = desk.exits(desk.wait(200))
    desk.accept(exit_, filled=str(exit_.size), price="50000", order_id=7)
    desk.fill(7, Side.SELL, str(exit_.size), "50000", start=None, client_id=exit_.client_id, closed_pnl=D(1), fee=D(0))
    desk.snapshot()
    assert daily_pnl(desk.state, desk.rules) > -100
    desk.signal = Signal.LONG
    desk.trade("50000")
    assert desk.sent(desk.trade("50000", after_ms=1_000)) == []
    assert "daily loss" in [note for note in desk.log if note.name == "order_denied"][-1].fields["reason"]


def test_the_day_of_the_loss_is_the_venues() -> None:
    """A start just after our midnight and before the venue's: yesterday's loss is still today's."""
    midnight_ms = (T0 // DAY_MS + 1) * DAY_MS
    desk = Desk(state=State(day=T0 // DAY_MS, day_realized=D(-90), offset_ms=-300_000))  # ours is five minutes ahead
    desk.now_ms = midnight_ms + 60_000
    desk.feed(Started(run_id=7, rules=RULES, received_ms=desk.now_ms))
    desk.wait(200)
    assert desk.state.day_realized == D(-90)
    desk.now_ms = midnight_ms + 300_000
    desk.wait(200)
    assert desk.state.day_realized == 0


def test_open_profit_from_before_the_first_price_counts_once() -> None:
    desk = Desk()
    desk.feed(Started(run_id=7, rules=RULES, received_ms=desk.now_ms))
    desk.snapshot(equity="10500", positions=(venue_position("0.1", "50000", unrealized_pnl="40"),))
    desk.trade("50400")  # which makes the 40 that the equity contains
    assert equity_now(desk.state, RULES) == D(10500)
    desk.trade("50500")
    assert equity_now(desk.state, RULES) == D(10510)


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_nonces_recover_from_a_clock_that_was_days_ahead(desk: Desk) -> None:
    """The venue refuses them as too high: the next ones follow its clock again, below those that were lost."""
    desk.listing()
    desk.trade("50000")

    def measure(offset_ms: int) -> None:
        for _ in range(2):  # so far off, it is believed only when it is measured again
            desk.feed(ClockOffset(offset_ms=offset_ms, round_trip_ms=20, received_ms=desk.now_ms))

    measure(3 * DAY_MS)
    [lost] = desk.sent(desk.fill(9, Side.BUY, "0.01", "50000", start="0"))
    assert lost.nonce > desk.now_ms + 2 * DAY_MS
    measure(0)
    desk.reject(lost, text="nonce too high")
    [again] = desk.sent(desk.wait(1_000))
    assert desk.now_ms - 1_000 <= again.nonce <= desk.now_ms


def test_a_position_adopted_by_a_clock_that_is_ahead_still_exits() -> None:
    """Adopted before the clocks were compared: "older than the adoption" is judged by the venue's clock."""
    desk = Desk(rules_with(strategy=None))
    desk.now_ms = T0 + 600_000
    desk.feed(Started(run_id=7, rules=desk.rules, received_ms=desk.now_ms))
    desk.snapshot(positions=(venue_position("0.01", "50000"),), time_ms=T0)
    desk.feed(ClockOffset(offset_ms=-600_000, round_trip_ms=20, received_ms=desk.now_ms))
    desk.now_ms += 60_000
    desk.feed(Trade("BTC", D("49400"), D("0.1"), Side.BUY, 1, T0 + 60_000, desk.now_ms))
    assert desk.market.exit_reason is ExitReason.STOP_LOSS


def test_a_quote_keeps_the_price_fresh_where_nothing_trades(desk: Desk) -> None:
    desk.listing()
    desk.trade("50000")
    desk.now_ms += 3_500
    assert price_age_ms(desk.market, desk.state, desk.now_ms) == 3_500
    desk.quote("50000", "50001")
    assert price_age_ms(desk.market, desk.state, desk.now_ms) == 0
