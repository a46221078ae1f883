"""Leaving without reduce-only: cancel what rests, see it ended, read what is held, close exactly that."""

import pytest

from core.messages import CloseContract, FlattenRequested, ReadAccount
from core.model import Order, OrderStatus, OrderType, Side
from core.positions import held
from core.state import ExitReason
from tests.core.futures import ENTRY, STOP, TARGET, Pit, canceled_ids, children, exits, row, sent
from tests.core.world import D, of


@pytest.fixture
def pit() -> Pit:
    pit = Pit()
    pit.start()
    return pit


# --- leaving ----------------------------------------------------------------------------------------------------------


def leave(pit: Pit) -> list:
    return pit.feed(FlattenRequested(received_ms=pit.later()))


def test_the_order_of_steps(pit: Pit) -> None:
    """Cancel target and stop, see both ended, read what is held, close exactly that."""
    pit.enter()
    actions = leave(pit)
    assert canceled_ids(actions) == [TARGET, STOP] and sent(actions) == []
    actions = pit.canceled(TARGET)
    assert sent(actions) == []
    actions = pit.update(STOP, OrderStatus.CANCELED)
    assert sent(actions) == [] and of(ReadAccount, actions)
    assert sent(pit.snapshot("2", ago_ms=5)) == []  # asked for before the stop had ended
    [close] = sent(pit.snapshot("2"))
    assert (close.type, close.side, close.size, close.reduce_only) == (OrderType.MARKET, Side.SELL, D(2), False)
    pit.accept(close, 30)
    actions = pit.fill(30, Side.SELL, "2", "4099")
    assert pit.market.position is None and of(ReadAccount, actions)
    pit.snapshot()
    assert pit.market.clean
    assert "unprotected" not in pit.names()


def test_a_stop_in_doubt_does_not_keep_an_unprotected_position_waiting(pit: Pit) -> None:
    """P2: two seconds are over, and nothing can be canceled that has no id; should it work after all, it is swept."""
    pit.trade("4100")
    [stop] = sent(pit.fill(99, Side.BUY, "2", "4100"))
    pit.unknown(stop)
    assert of(CloseContract, pit.wait(1_600)) == []
    assert len(of(CloseContract, pit.wait(400))) == 1 and "unprotected" in pit.names()
    pit.fill(30, Side.SELL, "2", "4100")  # an order of the venue's own
    pit.wait(1_000)  # might it be the stop's?
    assert pit.market.position is None
    assert canceled_ids(pit.settled(stop, OrderStatus.ACCEPTED, "0", 40)) == [40]


def test_only_what_is_left_is_closed(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    pit.canceled(STOP)
    assert [order.size for order in sent(pit.snapshot("1"))] == [D(1)]


@pytest.mark.parametrize("end", ["update", "fill", "snapshot"])
def test_a_child_that_filled_after_all_has_closed_the_position(pit: Pit, end: str) -> None:
    pit.enter()
    leave(pit)
    actions = pit.canceled(TARGET)
    if end == "update":
        actions += pit.update(STOP, OrderStatus.FILLED)
    elif end == "fill":
        actions += pit.fill(STOP, Side.SELL, "2", "4096")
    else:
        actions += pit.canceled(STOP)  # "no longer there"
        actions += pit.snapshot()
    actions += pit.snapshot() + pit.wait(3_000)
    assert sent(actions) == [] and pit.market.position is None


def test_its_fill_may_come_last_and_counts_once(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    pit.canceled(STOP)
    pit.snapshot()
    pit.fill(STOP, Side.SELL, "2", "4096", time_ms=pit.now_ms - 20, closed_pnl=D(-80))
    pit.update(STOP, OrderStatus.FILLED)
    assert pit.market.position is None and "position_flipped" not in pit.names()
    assert pit.state.day_realized == D(-82)


@pytest.mark.parametrize("stuck", ["cancel", "read"])
def test_stuck_for_a_second_it_closes_anyway(pit: Pit, stuck: str) -> None:
    pit.enter()
    actions = leave(pit)
    if stuck == "read":
        pit.canceled(TARGET)
        pit.canceled(STOP)
    actions += pit.wait(900)
    assert exits(actions) == []
    assert [order.size for order in exits(pit.wait(300))] == [D(2)]
    assert "exit_unconfirmed" in pit.names()


def test_what_was_bare_for_two_seconds_is_closed_sooner(pit: Pit) -> None:
    pit.fill(99, Side.BUY, "2", "4100")
    pit.wait(200)
    [first] = [order for order in pit.market.orders.values() if order.rests]
    pit.works(row(STOP, Side.SELL, "1", "4096", first.order.client_id))  # it covers half of what is held
    pit.wait(1_700)
    assert pit.market.exit_reason is ExitReason.UNPROTECTED
    actions = pit.wait(300)
    assert exits(actions) == []
    assert [order.size for order in exits(pit.wait(400))] == [D(2)]


def test_a_refused_cancel_is_tried_again_and_what_is_left_is_swept(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    pit.canceled(STOP, gone=False)
    assert canceled_ids(pit.wait(700)) == [STOP]
    [close] = exits(pit.wait(600))
    pit.accept(close, 30)
    actions = pit.fill(30, Side.SELL, "2", "4099")
    assert set(canceled_ids(actions + pit.wait(700))) == {STOP}


def test_a_list_without_it_is_an_end_as_well(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    actions = pit.listing()
    assert not [r for r in pit.market.orders.values() if r.is_live and r.rests] and of(ReadAccount, actions)


def doubt(pit: Pit) -> Order:
    """An exit that nobody has answered for."""
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    pit.canceled(STOP)
    [close] = sent(pit.snapshot("2"))
    pit.unknown(close)
    return close


def test_an_exit_in_doubt_is_not_followed_by_another_but_bridged_by_a_stop(pit: Pit) -> None:
    """P2: five seconds until it counts as lost are three too many."""
    close = doubt(pit)
    assert sent(pit.wait(800)) == []
    [stop] = sent(pit.wait(300))
    assert (stop.type, stop.size, stop.trigger_price) == (OrderType.STOP, D(2), D(4096))
    pit.accept(stop, 40)
    pit.works(row(40, Side.SELL, "2", "4096", tag=stop.client_id))
    assert sent(pit.wait(8_000)) == [] and "unprotected" not in pit.names()
    assert canceled_ids(pit.settled(close, OrderStatus.REJECTED, "0", None)) == [40]
    pit.canceled(40)
    assert [order.size for order in exits(pit.snapshot("2"))] == [D(2)]


def test_a_bridge_is_withdrawn_when_the_exit_has_worked_after_all(pit: Pit) -> None:
    close = doubt(pit)
    [stop] = sent(pit.wait(1_100))
    pit.accept(stop, 40)
    pit.works(row(40, Side.SELL, "2", "4096", tag=stop.client_id))
    pit.accept(close, 41)
    assert canceled_ids(pit.fill(41, Side.SELL, "2", "4110")) == [40]
    assert pit.market.position is None


def test_no_bridge_where_the_price_is_beyond_it(pit: Pit) -> None:
    """No stop would be taken there; the exit is looked up, and then there is another."""
    close = doubt(pit)
    pit.trade("4095")
    assert sent(pit.wait(8_000)) == [] and "unprotected" in pit.names()
    actions = pit.settled(close, OrderStatus.REJECTED, "0", None) + pit.snapshot("2")
    assert [order.size for order in exits(actions)] == [D(2)]


def test_a_refused_close_restores_the_stop_and_tries_again(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    pit.canceled(STOP)
    [close] = sent(pit.snapshot("2"))
    [stop] = sent(pit.reject(close))
    assert (stop.type, stop.size, stop.trigger_price) == (OrderType.STOP, D(2), D(4096))
    pit.accept(stop, 40)
    pit.works(row(40, Side.SELL, "2", "4096", tag=stop.client_id))
    assert canceled_ids(pit.wait(600)) == [40]
    pit.canceled(40)
    assert len(exits(pit.snapshot("2"))) == 1


def test_an_entry_in_the_air_ends_before_the_close(pit: Pit) -> None:
    entry = pit.send_entry()
    pit.accept(entry, ENTRY)
    pit.fill(ENTRY, Side.BUY, "1", "4100")
    actions = leave(pit)
    actions += pit.fill(ENTRY, Side.BUY, "1", "4100")
    assert exits(actions) == []
    assert [order.size for order in exits(pit.snapshot("2"))] == [D(2)]


def test_an_entry_that_may_fill_on_is_waited_for(pit: Pit) -> None:
    entry = pit.send_entry()
    pit.accept(entry, ENTRY)
    pit.fill(ENTRY, Side.BUY, "1", "4100")
    assert exits(leave(pit) + pit.wait(1_800)) == []
    assert [order.size for order in exits(pit.wait(500))] == [D(1)]


def test_an_exit_that_ended_without_a_fill_is_tried_again_later(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    pit.canceled(STOP)
    [close] = sent(pit.snapshot("2"))
    pit.accept(close, 30)
    [stop] = sent(pit.update(30, OrderStatus.CANCELED, left="2") + pit.snapshot("2"))
    assert stop.type is OrderType.STOP and pit.market.exit_refusals == 1


def test_a_hand_that_turns_round_while_the_exit_is_in_the_air_is_protected(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    pit.canceled(STOP)
    [close] = sent(pit.snapshot("2"))
    [stop] = sent(pit.fill(99, Side.SELL, "4", "4100"))
    assert close.side is Side.SELL and (stop.type, stop.side, stop.size) == (OrderType.STOP, Side.BUY, D(2))
    assert exits(pit.wait(3_000)) == []


def test_a_lid_that_was_closed_is_not_a_slow_venue(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    pit.canceled(STOP)
    pit.later(600_000)
    assert exits(pit.wait(100)) == [] and "woke_up" in pit.names()
    assert exits(pit.snapshot("2"))


# --- left to the venue ------------------------------------------------------------------------------------------------


def test_a_stop_loss_is_left_to_the_venues_stop(pit: Pit) -> None:
    pit.enter()
    actions = pit.trade("4096")
    actions += pit.trade("4095.8", after_ms=500)
    assert canceled_ids(actions) == [] and sent(actions) == []
    assert canceled_ids(pit.fill(STOP, Side.SELL, "2", "4095.9")) == [TARGET]
    assert pit.market.position is None


@pytest.mark.parametrize(("after_ms", "leaves"), [(999, False), (1_000, True)])
def test_for_a_second_at_most(pit: Pit, after_ms: int, leaves: bool) -> None:
    pit.enter()
    pit.trade("4096")
    assert bool(canceled_ids(pit.trade("4095.9", after_ms=after_ms))) is leaves
    assert (pit.market.exit_reason is ExitReason.STOP_LOSS) is leaves


def test_price_that_comes_back_resets_the_second(pit: Pit) -> None:
    pit.enter()
    pit.trade("4096")
    pit.trade("4096.1", after_ms=600)
    pit.trade("4096", after_ms=100)
    assert canceled_ids(pit.trade("4096", after_ms=600)) == []
    assert pit.names().count("left_to_venue") == 1  # said once, though it came to the stop twice
    pit.fill(STOP, Side.SELL, "2", "4096")
    assert pit.market.left_reason is None  # the next position has its own


def test_silence_beyond_the_stop_is_no_reprieve(pit: Pit) -> None:
    pit.enter()
    pit.trade("4096")
    assert canceled_ids(pit.wait(1_100)) == [TARGET, STOP]


@pytest.mark.parametrize(("venue_stop", "left"), [("4101", True), ("4100.9", True), ("4100.8", False)])
def test_a_trail_is_left_to_a_stop_within_a_tick(pit: Pit, venue_stop: str, left: bool) -> None:
    """Otherwise the bot leaves by itself: the venue's stop is looser than the rules."""
    entry = pit.enter()
    pit.trade("4103")  # the trail is at 4101
    stop, _ = children(entry)
    pit.works(row(STOP, Side.SELL, "2", venue_stop, stop.client_id, parent=ENTRY))
    actions = pit.trade("4100.8")
    assert bool(canceled_ids(actions)) is not left


def test_a_target_is_left_to_the_target_that_rests(pit: Pit) -> None:
    pit.enter()
    assert canceled_ids(pit.trade("4108") + pit.wait(3_000)) == []  # at its price a limit order may have to wait
    assert canceled_ids(pit.fill(TARGET, Side.SELL, "2", "4108")) == [STOP]


def test_without_one_the_bot_takes_the_profit(pit: Pit) -> None:
    pit.enter()
    pit.update(TARGET, OrderStatus.CANCELED)
    assert canceled_ids(pit.trade("4108")) == [STOP]
    assert pit.market.exit_reason is ExitReason.TAKE_PROFIT


# --- turned round -----------------------------------------------------------------------------------------------------


def test_a_close_and_a_stop_that_both_filled_are_repaired(pit: Pit) -> None:
    """Stuck, the close went out while the stop still rested: both filled, and what they opened is closed again."""
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    [close] = exits(pit.wait(1_200))
    pit.accept(close, 30)
    pit.fill(30, Side.SELL, "2", "4096")
    pit.fill(STOP, Side.SELL, "2", "4096")
    assert held(pit.market) == D(-2) and pit.market.exit_reason is ExitReason.FLIPPED
    assert "position_flipped" in pit.names()
    [repair] = exits(pit.snapshot("-2", "4096"))
    assert (repair.side, repair.size) == (Side.BUY, D(2))


@pytest.mark.parametrize("fill_first", [True, False])
def test_what_the_read_tells_before_the_fill_is_no_hand(pit: Pit, fill_first: bool) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    [close] = exits(pit.wait(1_200))
    pit.accept(close, 30)
    pit.fill(30, Side.SELL, "2", "4096")
    late_ms = pit.now_ms + 1
    pit.later(5)
    if fill_first:
        pit.fill(STOP, Side.SELL, "2", "4096", time_ms=late_ms)
        pit.snapshot("-2", "4096")
    else:
        pit.snapshot("-2", "4096")
        pit.fill(STOP, Side.SELL, "2", "4096", time_ms=late_ms)
    assert held(pit.market) == D(-2) and pit.market.exit_reason is ExitReason.FLIPPED


def test_an_orphan_that_fired_is_no_hand(pit: Pit) -> None:
    """A hand had closed; our stop filled before its cancel arrived, and the read tells of it before the fill does."""
    pit.enter()
    pit.trade("4096.5")
    pit.fill(99, Side.SELL, "2", "4096.5")
    pit.later(50)
    pit.snapshot("-2", "4096", orders=())
    pit.fill(STOP, Side.SELL, "2", "4096", time_ms=pit.market.snapshot_ms - 1)
    assert held(pit.market) == D(-2) and pit.market.exit_reason is ExitReason.FLIPPED


def test_a_turn_that_the_venue_does_not_confirm_is_not_closed_blindly(pit: Pit) -> None:
    pit.enter()
    leave(pit)
    pit.canceled(TARGET)
    [close] = exits(pit.wait(1_200))
    pit.accept(close, 30)
    pit.fill(30, Side.SELL, "2", "4096")
    pit.fill(STOP, Side.SELL, "2", "4096")
    assert exits(pit.wait(1_800)) == []
    assert exits(pit.snapshot()) == [] and pit.market.position is None


def test_an_orphan_of_an_earlier_trade_goes_at_once(pit: Pit) -> None:
    entry = pit.enter()
    pit.fill(99, Side.SELL, "2", "4101")
    pit.canceled(STOP)
    pit.canceled(TARGET)
    pit.snapshot()
    assert pit.market.clean
    assert canceled_ids(pit.works(children(entry)[0])) == []  # late news of an order that has ended
    assert canceled_ids(pit.listing(children(entry)[0])) == [STOP]  # no: it does work
    assert not pit.market.clean


def test_children_that_come_before_the_fill_are_not_orphans(pit: Pit) -> None:
    entry = pit.send_entry()
    actions = [action for child in children(entry) for action in pit.works(child)]
    assert canceled_ids(actions) == []
    pit.fill(ENTRY, Side.BUY, "2", "4100")
    pit.accept(entry, ENTRY)
    assert pit.market.naked_since_ms is None and pit.position.size == D(2)
