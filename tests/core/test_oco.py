"""Protection without reduce-only, point by point: one stop of the exact size, changed in place."""

import pytest
from msgspec.structs import replace

from core.exits import bracket_at
from core.messages import ReadAccount, ReadOrders, RejectReason
from core.model import Bracket, OrderStatus, OrderType, Purpose, Side
from core.positions import held
from core.rules import Distance
from core.signals import Signal
from core.state import ExitReason
from tests.core.futures import ENTRY, STOP, TARGET, Pit, canceled_ids, changes, children, exits, row, sent
from tests.core.gateway import EXITS, MGC, rules_with
from tests.core.world import D, of


@pytest.fixture
def pit() -> Pit:
    pit = Pit()
    pit.start()
    return pit


def ticks(number: int | str) -> Distance:
    return Distance(ticks=D(number))


# --- entry ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "target", "bracket"), [
    (ticks(40), ticks(80), Bracket(40, 80)),
    (ticks(40), None, Bracket(40, None)),
    (ticks(4), ticks(4), Bracket(4, 4)),
    (ticks(3), ticks(1), Bracket(4, 4)),  # the venue refuses nearer ones
    (Distance(pct=D("0.1")), Distance(pct=D("0.2")), Bracket(41, 82)),  # 4.1000 is 41 ticks
    (Distance(pct=D("0.1045")), None, Bracket(42, None)),  # 42.8: never looser than asked
])  # fmt: skip
def test_a_bracket_has_the_distances_of_the_exit_rules(stop, target, bracket):
    assert bracket_at(D(4100), replace(EXITS, stop_loss=stop, take_profit=target), MGC) == bracket


def test_an_entry_carries_its_bracket(pit: Pit) -> None:
    entry = pit.send_entry()
    assert (entry.type, entry.size, entry.bracket) == (OrderType.MARKET, D(2), Bracket(40, 80))
    assert not entry.reduce_only


def test_refused_brackets_are_remembered_and_replaced_by_own_orders(pit: Pit) -> None:
    entry = pit.send_entry()
    pit.reject(entry, RejectReason.BRACKETS)
    assert pit.state.brackets_refused and pit.state.order_errors == 0
    assert "Auto OCO" in next(note for note in pit.log if note.name == "brackets_refused").text
    pit.snapshot()
    second = pit.send_entry()
    assert second.bracket is None
    pit.accept(second, ENTRY)
    [stop] = sent(pit.fill(ENTRY, Side.BUY, "2", "4100"))  # at once
    assert (stop.type, stop.side, stop.size, stop.trigger_price) == (OrderType.STOP, Side.SELL, D(2), D(4096))
    assert not stop.whole_position and not stop.reduce_only
    pit.accept(stop, STOP)
    [target] = sent(pit.works(row(STOP, Side.SELL, "2", "4096", tag=stop.client_id)))
    assert (target.type, target.side, target.size, target.price) == (OrderType.LIMIT, Side.SELL, D(2), D(4108))
    assert pit.market.orders[target.client_id].purpose is Purpose.TARGET


def test_a_new_day_tries_brackets_again(pit: Pit) -> None:
    pit.reject(pit.send_entry(), RejectReason.BRACKETS)
    pit.now_ms += 86_400_000
    pit.wait(100)
    assert not pit.state.brackets_refused


@pytest.mark.parametrize("fired", [STOP, TARGET])
def test_own_stop_and_target_are_linked_by_us_at_once(pit: Pit, fired: int) -> None:
    """On our own count: waiting for the venue to say flat would leave an order that opens a position."""
    pit.enter_bare()
    actions = pit.fill(fired, Side.SELL, "2", "4096" if fired == STOP else "4108")
    assert canceled_ids(actions) == [STOP if fired == TARGET else TARGET]
    assert pit.market.position is None


def test_a_position_closed_by_hand_takes_its_orders_with_it(pit: Pit) -> None:
    pit.enter_bare()
    assert sorted(canceled_ids(pit.fill(99, Side.SELL, "2", "4101"))) == [STOP, TARGET]


# --- what protects ----------------------------------------------------------------------------------------------------


def test_the_child_of_the_bracket_protects(pit: Pit) -> None:
    pit.enter()
    assert [stop.trigger_price for stop in pit.market.stops] == [D(4096)]
    assert sent(pit.wait(5_000)) == []


@pytest.mark.parametrize(("size", "side", "protects"), [
    ("2", Side.SELL, True),
    ("3", Side.SELL, False),  # would turn the position round
    ("1", Side.SELL, False),  # does not cover
    ("2", Side.BUY, False),
])  # fmt: skip
def test_a_stop_by_hand_counts_when_it_has_the_exact_size(size: str, side: Side, protects: bool) -> None:
    pit = Pit()
    pit.start()
    pit.trade("4100")
    by_hand = row(44, side, size, "4095" if side is Side.SELL else "4105")
    actions = pit.snapshot("2", orders=(by_hand,))
    assert [order.type for order in sent(actions)] == ([] if protects else [OrderType.STOP])
    assert ("foreign_stop" if protects else "foreign_order") in pit.names()
    assert canceled_ids(actions + pit.wait(3_000)) == []


def test_ours_goes_when_a_hand_has_set_one(pit: Pit) -> None:
    """Two stops that nothing links would open a position when both fire."""
    pit.enter()
    actions = pit.works(row(44, Side.SELL, "2", "4097"))
    assert canceled_ids(actions) == [STOP]
    pit.canceled(STOP)
    pit.snapshot("2", orders=(row(44, Side.SELL, "2", "4097"),))
    assert sent(pit.wait(3_000)) == [] and pit.market.naked_since_ms is None


def test_and_comes_back_when_the_hand_takes_its_stop_away(pit: Pit) -> None:
    pit.enter()
    pit.works(row(44, Side.SELL, "2", "4097"))
    pit.canceled(STOP)
    pit.update(44, OrderStatus.CANCELED)
    target = children(next(r.order for r in pit.market.orders.values() if r.purpose is Purpose.ENTRY))[1]
    [stop] = sent(pit.snapshot("2", orders=(target,)))  # not before the account is read: it may have filled
    assert (stop.size, stop.trigger_price) == (D(2), D(4096))


def test_foreign_orders_are_named_once_and_stop_entries(pit: Pit) -> None:
    by_hand = row(44, Side.BUY, "1", "4000", is_stop=False)
    for _ in range(3):
        pit.snapshot(orders=(by_hand,))
    assert pit.names().count("foreign_order") == 1
    pit.trade("4100")
    pit.signal = Signal.LONG
    assert sent(pit.trade("4100", after_ms=1_000)) == []
    assert "is not this bot's" in [note for note in pit.log if note.name == "order_denied"][-1].fields["reason"]


def test_no_child_within_a_second_brings_an_own_stop(pit: Pit) -> None:
    entry = pit.send_entry()
    pit.accept(entry, ENTRY)
    assert sent(pit.fill(ENTRY, Side.BUY, "2", "4100")) == []
    pit.snapshot("2")
    assert sent(pit.wait(900)) == []
    [stop] = sent(pit.wait(200))
    assert (stop.type, stop.size) == (OrderType.STOP, D(2))


def test_no_stop_within_two_seconds_closes_the_position(pit: Pit) -> None:
    entry = pit.send_entry()
    pit.accept(entry, ENTRY)
    pit.fill(ENTRY, Side.BUY, "2", "4100")
    pit.snapshot("2")
    [stop] = sent(pit.wait(1_200))
    pit.reject(stop)
    [again] = sent(pit.wait(500))
    pit.reject(again)
    actions = pit.snapshot("2") + pit.wait(500)
    assert pit.market.exit_reason is ExitReason.UNPROTECTED
    assert [order.size for order in exits(actions)] == [D(2)]


def test_a_child_that_comes_late_replaces_the_own_stop(pit: Pit) -> None:
    entry = pit.send_entry()
    pit.accept(entry, ENTRY)
    pit.fill(ENTRY, Side.BUY, "2", "4100")
    pit.snapshot("2")
    [own] = sent(pit.wait(1_100))
    pit.accept(own, 50)
    pit.works(row(50, Side.SELL, "2", "4096", tag=own.client_id))
    assert canceled_ids(pit.works(children(entry)[0])) == [50]


def test_a_stop_that_ends_unasked_is_replaced_once_the_position_is_known(pit: Pit) -> None:
    """It may have filled: a new one before the account is read could open a position."""
    _, target = children(pit.enter())
    actions = pit.update(STOP, OrderStatus.CANCELED)
    assert sent(actions) == [] and of(ReadAccount, actions)
    assert [order.size for order in sent(pit.snapshot("2", orders=(target,)))] == [D(2)]
    other = Pit()
    other.start()
    other.enter()
    other.update(STOP, OrderStatus.CANCELED)
    assert sent(other.snapshot()) == [] and other.market.position is None


def test_a_stop_at_a_level_that_price_has_passed_is_an_exit(pit: Pit) -> None:
    _, target = children(pit.enter())
    pit.update(STOP, OrderStatus.CANCELED)
    pit.quote("4095", "4095.2")
    pit.snapshot("2", orders=(target,))
    assert pit.market.exit_reason is ExitReason.STOP_LOSS


def test_a_stop_by_hand_that_vanishes_may_have_filled(pit: Pit) -> None:
    by_hand = row(44, Side.SELL, "2", "4095")
    pit.trade("4100")
    pit.snapshot("2", orders=(by_hand,))
    pit.later(3_000)
    actions = pit.snapshot("2")  # positions may have been read before it filled
    assert sent(actions) == [] and of(ReadAccount, actions)
    assert [order.size for order in sent(pit.snapshot("2"))] == [D(2)]


def test_a_list_from_before_a_child_was_told_does_not_end_it(pit: Pit) -> None:
    entry = pit.send_entry()
    pit.accept(entry, ENTRY)
    pit.fill(ENTRY, Side.BUY, "2", "4100")
    pit.later(50)
    pit.works(children(entry)[0])
    pit.listing(ago_ms=10)
    assert len(pit.market.stops) == 1


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_partial_exit_by_hand_shrinks_both_at_once(pit: Pit) -> None:
    pit.enter()
    actions = pit.fill(99, Side.SELL, "1", "4101")
    assert {(m.order_id, m.size) for m in changes(actions)} == {(STOP, D(1)), (TARGET, D(1))}
    assert pit.wait(300) and changes(pit.wait(300)) == []  # one change of an order in the air
    pit.modified(STOP, done=True)
    pit.modified(TARGET, done=True)
    assert pit.market.naked_since_ms is None
    assert pit.market.stops[0].size == D(1)


def test_an_addition_by_hand_grows_them_when_it_is_confirmed(pit: Pit) -> None:
    pit.enter()
    assert changes(pit.fill(99, Side.BUY, "1", "4100")) == []
    assert {m.size for m in changes(pit.snapshot("3", orders=listed(pit)))} == {D(3)}


def test_an_addition_that_nobody_confirms_grows_them_after_a_second(pit: Pit) -> None:
    pit.enter()
    pit.fill(99, Side.BUY, "1", "4100")
    assert changes(pit.wait(900)) == []
    assert {m.size for m in changes(pit.wait(200))} == {D(3)}


def listed(pit: Pit) -> tuple:
    return tuple(
        row(r.order_id, r.order.side, str(r.size_left), str(r.order.price), r.order.client_id,
            r.purpose is Purpose.STOP, r.parent_id)
        for r in pit.market.orders.values() if r.is_live and r.rests and r.order_id is not None
    )  # fmt: skip


def test_a_target_filled_in_part_shrinks_the_stop(pit: Pit) -> None:
    pit.enter()
    actions = pit.fill(TARGET, Side.SELL, "1", "4108")
    assert [(m.order_id, m.size) for m in changes(actions)] == [(STOP, D(1))]
    assert pit.position.size == D(1)


def test_a_stop_filled_in_part_keeps_what_it_has_filled(pit: Pit) -> None:
    """A change names the whole size of the order, as the venue counts it."""
    pit.enter()
    pit.fill(STOP, Side.SELL, "1", "4096")
    pit.fill(99, Side.BUY, "1", "4096")
    actions = pit.snapshot("2", orders=listed(pit))
    assert [m.size for m in changes(actions) if m.order_id == STOP] == [D(3)]


def test_a_stop_that_filled_short_of_the_position_is_followed_by_one_for_the_rest(pit: Pit) -> None:
    entry = pit.enter()
    pit.fill(99, Side.BUY, "1", "4100")
    assert sent(pit.fill(STOP, Side.SELL, "2", "4096")) == []  # not before the account is read
    pit.quote("4097", "4097.2")
    assert [order.size for order in sent(pit.snapshot("1", orders=(children(entry)[1],)))] == [D(1)]


def test_a_hand_that_turns_round_leaves_no_order_on_its_own_side(pit: Pit) -> None:
    pit.enter()
    actions = pit.fill(99, Side.SELL, "4", "4100")
    assert held(pit.market) == D(-2) and sorted(canceled_ids(actions)) == [STOP, TARGET]
    assert pit.market.exit_reason is None


@pytest.mark.parametrize("done", [None, False])
def test_a_change_in_doubt_or_refused_is_looked_up(pit: Pit, done: bool | None) -> None:
    pit.enter()
    pit.fill(99, Side.SELL, "1", "4101")
    actions = pit.modified(STOP, done=done, reason=None if done is None else RejectReason.OTHER)
    assert of(ReadOrders if done is None else ReadAccount, actions)
    assert changes(actions) == []
    entry = next(r.order for r in pit.market.orders.values() if r.purpose is Purpose.ENTRY)
    pit.modified(TARGET, done=True)
    pit.listing(*children(entry, "1"))  # it was taken after all
    assert pit.market.naked_since_ms is None


def test_a_venue_that_counts_differently_is_not_chased(pit: Pit) -> None:
    """One of 200 calls a minute each: a change follows the last answer after half a second at the earliest."""
    entry = pit.enter()
    pit.fill(99, Side.SELL, "1", "4101")
    pit.modified(STOP, done=True)
    pit.modified(TARGET, done=True)
    stop, _ = children(entry)
    assert changes(pit.works(stop) + pit.wait(400)) == []
    assert [m.size for m in changes(pit.wait(200))] == [D(1)]


# --- trailing ---------------------------------------------------------------------------------------------------------


def test_the_stop_is_moved_in_place(pit: Pit) -> None:
    pit.enter()
    pit.trade("4103", after_ms=4_000)
    [move] = changes(pit.wait(100))
    assert (move.order_id, move.trigger_price, move.size) == (STOP, D(4101), None)
    assert changes(pit.wait(3_500)) == []  # not answered: one in the air; the next look comes after a read
    assert canceled_ids(pit.wait(100)) == []


@pytest.mark.parametrize(("best", "level"), [
    ("4101.9", None),  # not activated
    ("4102", "4100"),
    ("4103.3", "4101.3"),
])  # fmt: skip
def test_the_trail_follows_the_rules(pit: Pit, best: str, level: str | None) -> None:
    pit.enter()
    pit.trade(best, after_ms=4_000)
    assert [str(m.trigger_price.normalize()) for m in changes(pit.wait(100)) if m.trigger_price] == (
        [] if level is None else [str(D(level).normalize())]
    )


@pytest.mark.parametrize(("bid", "level"), [("4101.4", "4101.0"), ("4101.3", "4100.9"), ("4110", "4101.0")])
def test_the_stop_keeps_four_ticks_from_the_bid(pit: Pit, bid: str, level: str) -> None:
    pit.enter()
    pit.trade("4103", after_ms=4_000)
    pit.quote(bid, str(D(bid) + D("0.1")))
    assert [m.trigger_price for m in changes(pit.wait(100))] == [D(level)]


@pytest.mark.parametrize(("better", "moves"), [("4103.3", False), ("4103.4", True)])
def test_it_is_moved_by_a_step_at_least(pit: Pit, better: str, moves: bool) -> None:
    pit.enter()
    pit.trade("4103", after_ms=4_000)
    pit.wait(100)
    pit.modified(STOP, done=True)
    pit.trade(better, after_ms=3_000)
    assert bool(changes(pit.wait(100))) is moves


def test_moves_are_spaced(pit: Pit) -> None:
    pit.enter()
    pit.trade("4103", after_ms=4_000)
    pit.wait(100)
    pit.modified(STOP, done=True)
    pit.trade("4105")
    assert changes(pit.wait(2_800)) == []
    assert changes(pit.wait(300))


def test_a_level_refused_because_price_is_there_is_an_exit(pit: Pit) -> None:
    pit.enter()
    pit.trade("4103", after_ms=4_000)
    pit.wait(100)
    actions = pit.modified(STOP, done=False, reason=RejectReason.BAD_TRIGGER)
    assert pit.market.exit_reason is ExitReason.TRAILING_STOP
    assert canceled_ids(actions) == [TARGET, STOP]


def test_a_short_trails_the_other_way() -> None:
    pit = Pit(rules_with(strategy=None))
    pit.start()
    pit.trade("4100")
    [stop] = sent(pit.snapshot("-2"))
    assert (stop.side, stop.trigger_price) == (Side.BUY, D(4104))
    pit.accept(stop, 20)
    pit.works(row(20, Side.BUY, "2", "4104", tag=stop.client_id))
    pit.trade("4097", after_ms=4_000)
    pit.quote("4098", "4098.5")
    assert [m.trigger_price for m in changes(pit.wait(100))] == [D(4099)]
