"""decide(): the story of a position, and what must hold when the story goes wrong."""

import msgspec
import pytest

from core.messages import (
    Cancel,
    CancelAnswered,
    ClockOffset,
    CoreFault,
    FlattenRequested,
    JournalFailed,
    JournalRestored,
    KeyExpiry,
    PolledPrice,
    PollPrices,
    ReadAccount,
    ReadOrders,
    Reconnect,
    RejectReason,
    Settle,
    Started,
    Stop,
    StreamDown,
    StreamUp,
    Submit,
)
from core.model import OrderStatus, OrderType, Purpose, Side, Trade, WorkingOrder
from core.orders import sent_note
from core.rules import Distance
from core.signals import Signal
from core.state import ExitReason
from tests.core.world import RULES, T0, D, Desk, listed_stop, of, rules_with, venue_position


@pytest.fixture
def desk():
    desk = Desk()
    desk.start()
    return desk


# --- the story of a day -----------------------------------------------------------------------------------------------


def test_story_of_a_position(desk):
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    [entry] = desk.sent(desk.trade("50000", after_ms=1_000))
    assert (entry.side, entry.size, entry.price, entry.reduce_only) == (Side.BUY, D("0.01"), D(50250), False)
    desk.signal = None

    [stop] = desk.sent(desk.accept(entry, filled="0.01", price="50000"))
    assert (stop.type, stop.side, stop.trigger_price) == (OrderType.STOP, Side.SELL, D(49500))
    assert stop.whole_position and stop.reduce_only and stop.price == D(44550)

    assert of(ReadOrders, desk.accept(stop, order_id=None))  # an answer without an id proves nothing yet
    assert desk.market.naked_since_ms is not None
    desk.listing(listed_stop(stop, 100))
    assert desk.market.naked_since_ms is None

    desk.trade("50400", after_ms=4_000)
    [tighter] = desk.sent(desk.wait(200))
    assert tighter.trigger_price == D(50148)
    desk.accept(tighter, order_id=None)
    [cancel] = of(Cancel, desk.listing(listed_stop(stop, 100), listed_stop(tighter, 101)))
    assert cancel.order_id == 100  # the looser one, and only once the tighter is listed
    desk.feed(CancelAnswered(symbol="BTC", order_id=100, gone=True, error=None, received_ms=desk.now_ms))

    [exit_] = desk.sent(desk.trade("50148"))
    assert (exit_.side, exit_.size, exit_.reduce_only, exit_.whole_position) == (Side.SELL, D("0.01"), True, False)
    answered = desk.accept(exit_, filled="0.01", price="50140")
    assert desk.market.position is None
    assert of(ReadAccount, answered) and not of(Cancel, answered)  # flat is what the venue says, not what we believe
    [leftover] = of(Cancel, desk.snapshot(orders=(listed_stop(tighter, 101),)))
    assert leftover.order_id == 101 and not desk.market.clean
    desk.feed(CancelAnswered(symbol="BTC", order_id=101, gone=True, error=None, received_ms=desk.now_ms))
    desk.snapshot()
    assert desk.market.clean


def test_every_exit_reason_is_logged_with_its_order(desk):
    desk.protected()
    sent = sent_note(of(Submit, desk.trade("51000"))[-1])
    assert sent.name == "order_sent" and sent.fields["reason"] == "TAKE_PROFIT"


# --- P1: fresh --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lag_ms", "enters"), [(3_000, True), (3_001, False), (900_000, False)])
def test_old_prices_stop_entries(lag_ms, enters):
    desk = Desk()
    desk.start()
    desk.listing()
    desk.feed(ClockOffset(offset_ms=lag_ms, round_trip_ms=1, received_ms=desk.now_ms))  # so that prices lag by it
    desk.trade("50000")
    desk.signal = Signal.LONG
    assert bool(desk.sent(desk.trade("50000", after_ms=1_000))) is enters
    if lag_ms == 900_000:
        desk.wait(200)
        assert desk.market.verdict == "delayed"


def test_silence_is_a_verdict(desk):
    desk.trade("50000")
    desk.wait(1_000)
    assert desk.market.verdict == "real-time"
    desk.wait(10_000)
    assert desk.market.verdict == "silent"


# --- P2: protected ----------------------------------------------------------------------------------------------------


def test_no_stop_within_two_seconds_closes_the_position(desk):
    stop = desk.enter()
    assert desk.sent(desk.wait(1_800)) == []  # the stop was sent and nobody answers: wait out the bound
    [exit_] = desk.sent(desk.wait(400))
    assert (exit_.side, exit_.reduce_only) == (Side.SELL, True)
    assert desk.market.exit_reason is ExitReason.UNPROTECTED
    assert stop.client_id in desk.market.orders


def test_rejected_stop_is_sent_again_and_the_bound_still_holds(desk):
    stop = desk.enter()
    desk.reject(stop, RejectReason.OTHER)
    again = desk.sent(desk.wait(600))
    assert len(again) == 1 and again[0].trigger_price == stop.trigger_price
    assert again[0].client_id != stop.client_id
    desk.reject(again[0], RejectReason.OTHER)
    orders = desk.sent(desk.wait(2_000))
    assert any(not order.whole_position for order in orders)  # the close


def test_stop_refused_because_already_crossed_closes_at_once(desk):
    stop = desk.enter()
    [exit_] = desk.sent(desk.reject(stop, RejectReason.BAD_TRIGGER))
    assert exit_.type is OrderType.MARKET and exit_.reduce_only


def test_accepted_but_never_listed_closes_in_the_end(desk):
    stop = desk.enter()
    desk.accept(stop, order_id=None)
    orders = desk.sent(desk.wait(6_000))
    assert any(not order.whole_position for order in orders)


def test_a_stop_that_vanishes_is_replaced(desk):
    desk.protected()
    desk.now_ms += 1_000
    desk.update(100, OrderStatus.CANCELED)
    assert [order.trigger_price for order in desk.sent()] == [D(49500)]


def test_a_fired_stop_is_not_replaced_while_its_fill_is_on_the_way(desk):
    desk.protected()
    desk.now_ms += 1_000
    desk.update(100, OrderStatus.FILLED)
    assert desk.sent() == []
    desk.fill(100, Side.SELL, "0.01", "49490", start="0.01")
    assert desk.market.position is None


def test_partial_fills_are_protected_from_the_first(desk):
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    [entry] = desk.sent(desk.trade("50000", after_ms=1_000))
    desk.signal = None
    [stop] = desk.sent(desk.fill(5, Side.BUY, "0.004", "50000", start="0", client_id=entry.client_id))
    assert stop.whole_position
    assert desk.sent(desk.fill(5, Side.BUY, "0.006", "50010", start="0.004", client_id=entry.client_id)) == []
    assert desk.market.position.size == D("0.010")
    desk.accept(entry, filled="0.01", price="50006", order_id=5)
    assert desk.market.position.size == D("0.010")


@pytest.mark.parametrize(
    "signal, held, level",
    [
        (Signal.LONG, True, "DEBUG"),  # a strategy may say the same at every bar
        (Signal.SHORT, True, "INFO"),
        (Signal.FLAT, True, "INFO"),
        (Signal.FLAT, False, "DEBUG"),
        (Signal.LONG, False, "INFO"),
    ],
)
def test_a_signal_that_changes_nothing_is_for_people_who_debug(desk, signal, held, level):
    if held:
        desk.protected()
    else:
        desk.listing()
        desk.trade("50000")
    desk.signal = signal
    desk.trade("50000", after_ms=1_000)
    assert [note.level for note in desk.log if note.name == "signal"][-1] == level


def test_entry_whose_stop_would_lie_beyond_liquidation_is_denied():
    desk = Desk(rules_with(stop_loss=Distance(pct=D(30)), size=msgspec.structs.replace(
        RULES.markets["BTC"].size, quantity=D("0.1"))))  # fmt: skip
    desk.start(equity="1000")
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    assert desk.sent(desk.trade("50000", after_ms=1_000)) == []
    assert "liquidation" in [note for note in desk.log if note.name == "order_denied"][-1].fields["reason"]


def test_trailing_stop_moves_only_by_a_step_and_not_too_often(desk):
    stop = desk.protected()
    desk.now_ms += 10_000
    desk.trade("50300")
    [first] = desk.sent(desk.wait(200))
    desk.accept(first, order_id=None)
    desk.listing(stop, listed_stop(first, 101))
    desk.trade("50310")  # less than a step
    assert desk.sent(desk.wait(5_000)) == []
    desk.trade("50400")
    assert len(desk.sent(desk.wait(200))) == 1


# --- P3: once ---------------------------------------------------------------------------------------------------------


def test_unknown_entry_is_settled_and_never_sent_again(desk):
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    [entry] = desk.sent(desk.trade("50000", after_ms=1_000))
    desk.signal = None
    [settle] = of(Settle, desk.unknown(entry))
    assert (settle.order, settle.noops_sent) == (entry, 0)
    assert desk.sent(desk.wait(3_000)) == []
    desk.unknown(entry)  # the look-up got no answer either
    again = of(Settle, desk.wait(2_000))
    assert [s.noops_sent for s in again] == [1]
    desk.settled(entry, OrderStatus.REJECTED)
    assert desk.market.position is None
    assert desk.sent(desk.wait(2_000)) == []


def test_unknown_blocks_entries_in_its_market(desk):
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    [entry] = desk.sent(desk.trade("50000", after_ms=1_000))
    desk.unknown(entry)
    assert desk.sent(desk.trade("50000", after_ms=1_000)) == []
    assert desk.log[-1].name == "order_denied"


def test_unknown_entry_that_had_filled_is_protected(desk):
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    [entry] = desk.sent(desk.trade("50000", after_ms=1_000))
    desk.signal = None
    desk.unknown(entry)
    [stop] = desk.sent(desk.settled(entry, OrderStatus.FILLED, filled="0.01", order_id=9))
    assert stop.type is OrderType.STOP
    desk.fill(9, Side.BUY, "0.01", "50000", start="0")  # the fill comes last
    assert desk.market.position.size == D("0.01")


def test_unknown_exit_waits_before_its_noop_and_is_replaced_only_when_settled(desk):
    desk.protected()
    [exit_] = desk.sent(desk.trade("49400"))
    assert of(Settle, desk.unknown(exit_)) == []  # a noop now could kill an exit that is about to fill
    assert of(Settle, desk.wait(400)) == []
    assert len(of(Settle, desk.wait(400))) == 1
    assert desk.sent(desk.wait(2_000)) == []
    [second] = desk.sent(desk.settled(exit_, OrderStatus.REJECTED))
    assert second.client_id != exit_.client_id and second.nonce > exit_.nonce and second.size == D("0.01")


def test_silence_counts_as_unknown(desk):
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    [entry] = desk.sent(desk.trade("50000", after_ms=1_000))
    assert [s.order for s in of(Settle, desk.wait(13_000))] == [entry]


def test_fills_are_booked_once(desk):
    desk.protected()
    fill = dict(fill_id="1:BTC:1", closed_pnl=D(5), fee=D(1))
    desk.fill(100, Side.SELL, "0.01", "50500", start="0.01", **fill)
    desk.fill(100, Side.SELL, "0.01", "50500", start="0.01", **fill)
    assert desk.state.day_realized == D(4)
    assert desk.market.position is None


@pytest.mark.parametrize("answer_first", [True, False])
def test_answer_and_fill_of_one_order_count_once(desk, answer_first):
    desk.protected()
    [exit_] = desk.sent(desk.trade("49400"))
    steps = [
        lambda: desk.accept(exit_, filled="0.01", price="49400", order_id=7),
        lambda: desk.fill(7, Side.SELL, "0.01", "49400", start="0.01", client_id=exit_.client_id),
    ]
    for step in steps if answer_first else reversed(steps):
        step()
    assert desk.market.position is None
    assert desk.names().count("position_closed") == 1
    assert "position_flipped" not in desk.names()


# --- P4: only down ----------------------------------------------------------------------------------------------------


def test_exit_and_venue_stop_together(desk):
    desk.protected()
    [exit_] = desk.sent(desk.trade("49400"))
    desk.fill(100, Side.SELL, "0.01", "49450", start="0.01")  # the venue's stop was faster
    assert desk.market.position is None
    desk.reject(exit_, RejectReason.WOULD_INCREASE)
    assert desk.market.position is None
    assert desk.state.order_errors == 0
    assert desk.sent(desk.wait(1_000)) == []


@pytest.mark.parametrize(("reason", "reads"), [(RejectReason.NO_LIQUIDITY, 4), (RejectReason.OTHER, 0)])
def test_tries_over_an_empty_book_leave_the_weight_to_the_orders(desk, reason, reads):
    """Seen in a simulated day: a read for each spent the minute's weight, and then exits were answered 429."""
    desk.protected()
    actions = desk.trade("49400")
    asked, tries, end_ms = 0, 0, desk.now_ms + 20_000
    while desk.now_ms < end_ms:
        for exit_ in desk.sent(actions):
            tries += 1
            answered = desk.reject(exit_, reason)
            asked += sum(isinstance(action, ReadAccount) for action in answered)
        actions = desk.wait(100)
    assert tries > 10 or reason is not RejectReason.NO_LIQUIDITY
    assert 1 <= asked <= reads if reads else asked == tries


def test_partial_exit_is_followed_by_the_rest_exactly(desk):
    desk.protected()
    [exit_] = desk.sent(desk.trade("49400"))
    [rest] = desk.sent(desk.accept(exit_, filled="0.004", price="49400"))
    assert rest.size == D("0.006")


def test_a_hand_that_turns_round_is_followed(desk):
    desk.protected()
    [stop] = desk.sent(desk.fill(55, Side.SELL, "0.03", "50000", start="0.01"))
    assert (stop.side, stop.whole_position) == (Side.BUY, True)
    assert desk.market.position.adopted and desk.market.exit_reason is None


def test_a_stop_by_hand_is_kept_when_its_position_is_adopted():
    desk = Desk()
    desk.start()
    desk.trade("50000")
    by_hand = WorkingOrder("BTC", Side.SELL, 7, None, D(0), D(44000), D(49700), True, True, True, T0)
    actions = desk.snapshot(positions=(venue_position("0.01", "50000"),), orders=(by_hand,))
    assert desk.sent(actions) == []
    assert desk.market.naked_since_ms is None


def test_a_flip_by_our_own_order_is_repaired_at_once(desk):
    desk.protected()
    [repair] = desk.sent(desk.fill(100, Side.SELL, "0.03", "50000", start="0.01"))  # the stop, larger than it should be
    assert (repair.side, repair.size, repair.reduce_only) == (Side.BUY, D("0.02"), True)
    assert "position_flipped" in desk.names()


# --- P7: restart is start, and the venue is right ---------------------------------------------------------------------


def test_guardian_adopts_a_position_opened_by_hand_from_its_fill(desk):
    desk.listing()
    desk.trade("50000")
    [stop] = desk.sent(desk.fill(77, Side.SELL, "0.02", "50000", start="0"))
    assert (stop.side, stop.trigger_price) == (Side.BUY, D(50500))
    assert desk.market.position.adopted


def test_guardian_adopts_from_a_snapshot_and_names_the_difference(desk):
    desk.listing()
    desk.trade("50000")
    [stop] = desk.sent(desk.snapshot(positions=(venue_position("0.02", "49900"),)))
    assert stop.trigger_price == D(49401)
    assert "reconcile_difference" in desk.names() and "position_adopted" in desk.names()


def test_a_position_gone_at_the_venue_is_gone(desk):
    stop = desk.protected()
    desk.now_ms += 1_000
    desk.snapshot(orders=(stop,))
    assert desk.market.position is None
    assert [c.order_id for c in of(Cancel, desk.actions)] == [100]


def test_a_snapshot_asked_for_before_our_fill_is_not_believed(desk):
    desk.enter()
    early_ms = desk.now_ms - 20
    desk.snapshot(requested_ms=early_ms, time_ms=early_ms)
    assert desk.market.position is not None


def test_restart_keeps_the_trail_and_doubts_what_was_in_flight(desk):
    desk.protected()
    desk.trade("50400", after_ms=4_000)
    desk.wait(200)
    trail = desk.market.position.trail_price
    [exit_] = desk.sent(desk.trade("50100"))
    desk.now_ms += 60_000
    actions = desk.feed(Started(run_id=8, rules=RULES, received_ms=desk.now_ms))
    assert desk.market.position.trail_price == trail
    assert not desk.state.synced
    assert exit_ in [settle.order for settle in of(Settle, actions)]
    assert of(ReadAccount, actions)
    desk.trade("50100")
    assert desk.sent(desk.wait(1_000)) == []  # nothing before it is known what became of the exit


def test_trades_from_before_a_restart_are_not_judged_again(desk):
    """The venue repeats recent trades on a subscribe: one from before the trail had moved would close the position."""
    desk.protected()
    old = desk.trade("50020")
    desk.trade("50400", after_ms=4_000)  # the trail is at 50148 from here on
    assert old == []
    early_ms = desk.now_ms - 2_000
    desk.now_ms += 1_000
    desk.feed(Started(run_id=8, rules=RULES, received_ms=desk.now_ms))
    desk.snapshot(positions=(venue_position("0.01", "50000"),), orders=())
    replayed = Trade("BTC", D(50020), D(1), Side.BUY, 99, early_ms, desk.now_ms)
    assert [order for order in desk.sent(desk.feed(replayed)) if not order.whole_position] == []
    missed = Trade("BTC", D(50020), D(1), Side.BUY, 100, desk.now_ms - 500, desk.now_ms)
    assert [order.reduce_only for order in desk.sent(desk.feed(missed)) if not order.whole_position] == [True]


def test_trades_from_before_an_adoption_are_not_judged():
    desk = Desk()
    desk.start(positions=(venue_position("0.01", "50000"),))
    early = Trade("BTC", D(40000), D(1), Side.BUY, 99, desk.now_ms - 10_000, desk.now_ms)
    assert desk.sent(desk.feed(early)) == []
    assert desk.market.exit_reason is None


def test_a_late_trade_does_not_set_the_price_back(desk):
    desk.trade("50000")
    desk.feed(Trade("BTC", D(49000), D(1), Side.BUY, 99, desk.now_ms - 50, desk.now_ms))
    assert desk.market.current_price == D(50000)


def test_no_entry_before_the_account_was_read():
    desk = Desk()
    desk.feed(Started(run_id=1, rules=RULES, received_ms=desk.now_ms))
    desk.feed(StreamUp(stream="market", subscriptions=1, received_ms=desk.now_ms))
    desk.trade("50000")
    desk.signal = Signal.LONG
    assert desk.sent(desk.trade("50000", after_ms=1_000)) == []


def test_unmanaged_positions_are_named_once(desk):
    eth = msgspec.structs.replace(venue_position("1", "2000"), symbol="ETH")
    desk.snapshot(positions=(eth,))
    desk.snapshot(positions=(eth,))
    assert desk.names().count("position_unmanaged") == 1


# --- P8, P9 and limits ------------------------------------------------------------------------------------------------


def test_core_fault_halts_protects_and_ends_with_1(desk):
    desk.enter()
    actions = desk.feed(CoreFault(error="boom", received_ms=desk.now_ms))
    assert of(Stop, actions)[0].exit_code == 1
    assert desk.state.halted


def test_daily_loss_closes_and_denies(desk):
    desk.protected()
    desk.fill(900, Side.BUY, "0.00001", "50000", start="0.01", closed_pnl=D(-99), fee=D("0.5"))
    desk.trade("49990")
    assert desk.sent(desk.wait(200)) == []  # 99.5 + 0.1 open: inside
    desk.trade("49940")
    orders = desk.sent(desk.wait(200))
    assert orders and desk.market.exit_reason is ExitReason.DAILY_LOSS


def test_errors_in_a_row_halt_entries(desk):
    for _ in range(3):
        desk.listing()
        desk.trade("50000")
        desk.signal = Signal.LONG
        [entry] = desk.sent(desk.trade("50000", after_ms=1_000))
        desk.signal = None
        desk.reject(entry, RejectReason.MARGIN)
    assert desk.state.halted
    desk.listing()
    desk.signal = Signal.LONG
    assert desk.sent(desk.trade("50000", after_ms=1_000)) == []


def test_bad_credentials_halt_at_once(desk):
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    [entry] = desk.sent(desk.trade("50000", after_ms=1_000))
    desk.reject(entry, RejectReason.CREDENTIALS, "User or API Wallet does not exist.")
    assert desk.state.halted


def test_full_disk_stops_entries_not_exits(desk):
    desk.protected()
    desk.feed(JournalFailed(error="No space left", received_ms=desk.now_ms))
    assert len(desk.sent(desk.trade("49400"))) == 1
    assert not desk.state.journal_ok
    desk.feed(JournalRestored(received_ms=desk.now_ms))
    assert desk.state.journal_ok


def test_flatten_closes_and_halts(desk):
    desk.protected()
    orders = desk.sent(desk.feed(FlattenRequested(received_ms=desk.now_ms)))
    assert len(orders) == 1 and desk.state.halted


def test_strategy_reversal_enters_after_flat_and_clean(desk):
    stop = desk.protected()
    desk.signal = Signal.SHORT
    [exit_] = desk.sent(desk.trade("50010", after_ms=1_000))
    desk.signal = None
    desk.accept(exit_, filled="0.01", price="50010")
    desk.snapshot(orders=(stop,))
    desk.feed(CancelAnswered(symbol="BTC", order_id=100, gone=True, error=None, received_ms=desk.now_ms))
    [entry] = desk.sent(desk.snapshot())
    assert (entry.side, entry.reduce_only) == (Side.SELL, False)
    assert desk.market.orders[entry.client_id].purpose is Purpose.ENTRY


# --- stream and fallback ----------------------------------------------------------------------------------------------


def test_fallback_and_back(desk):
    down = StreamDown(stream="market", error="timed out", retry_s=5.0, attempt=1, received_ms=desk.now_ms)
    assert of(PollPrices, desk.feed(down)) == [PollPrices(True, "timed out")]
    assert desk.log[-1].text == "Falling back to REST polling"
    assert of(PollPrices, desk.feed(msgspec.structs.replace(down, attempt=2))) == []
    assert desk.state.stream_mode == "reconnecting"
    desk.feed(msgspec.structs.replace(down, attempt=10))
    assert desk.state.stream_mode == "rest_fallback"
    actions = desk.feed(StreamUp(stream="market", subscriptions=5, received_ms=desk.now_ms))
    assert of(PollPrices, actions) == [PollPrices(False, "stream is back")]
    assert of(ReadAccount, actions)[0].fills_since_ms is not None
    assert "WebSocket restored, REST polling stopped" in [note.text for note in desk.log]


@pytest.mark.parametrize(("age_ms", "exits"), [(3_000, True), (3_001, False)])
def test_polled_prices_move_exits_only_while_fresh(desk, age_ms, exits):
    desk.protected()
    desk.now_ms += 5_000
    price = PolledPrice(
        symbol="BTC", price=D(49400), bid=D(49399), ask=D(49401), mark=None, time_ms=desk.now_ms - age_ms,
        received_ms=desk.now_ms,
    )  # fmt: skip
    assert bool(desk.sent(desk.feed(price))) is exits


@pytest.mark.parametrize(("days", "level"), [(30, None), (13, "WARNING"), (1, "CRITICAL")])
def test_a_key_that_ends_is_announced(desk, days, level):
    desk.log.clear()
    desk.feed(KeyExpiry(expires_ms=desk.now_ms + days * 86_400_000 + 1_000, received_ms=desk.now_ms))
    assert [note.level for note in desk.log] == ([] if level is None else [level])


def test_fills_that_never_come_reconnect_the_stream(desk):
    desk.protected()
    actions = desk.wait(6_000)
    assert len(of(Reconnect, actions)) == 1  # the entry was filled by its answer alone
    assert any(read.fills_since_ms is not None for read in of(ReadAccount, actions))


def test_holding_time_ends_by_the_clock():
    desk = Desk(rules_with(hold_ms_max=10_000))
    desk.start()
    desk.protected()
    assert desk.sent(desk.wait(9_000)) == []
    assert len(desk.sent(desk.wait(1_200))) == 1


def test_same_events_same_actions():
    runs = []
    for _ in range(2):
        desk = Desk()
        desk.start()
        desk.protected()
        desk.trade("50400", after_ms=4_000)
        desk.wait(1_000)
        desk.trade("50100")
        runs.append((msgspec.json.encode(desk.state), [msgspec.json.encode(n) for n in desk.log]))
    assert runs[0] == runs[1]
