import threading

import pytest

from runtime.budget import WINDOW_MS, WeightBudget
from runtime.clock import ManualClock
from runtime.venue import VenueUnavailable

STOP = threading.Event()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_weight_is_forgotten_after_a_minute(clock: ManualClock):
    budget = WeightBudget(clock)
    budget.charge(7)
    clock.advance(WINDOW_MS // 2)
    budget.take(20, STOP)
    assert budget.used() == 27
    clock.advance(WINDOW_MS // 2 - 1)
    assert budget.used() == 27
    clock.advance(1)
    assert budget.used() == 20
    clock.advance(WINDOW_MS)
    assert budget.used() == 0


def test_reads_leave_the_reserve_to_actions(clock: ManualClock):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.take(70, STOP)
    with pytest.raises(VenueUnavailable, match="70 of 100") as caught:
        budget.take(1, STOP)
    assert caught.value.retry_s == 60
    budget.charge(50)  # an action asks nobody
    assert budget.used() == 120
    assert clock.waits == []


def test_a_read_waits_for_its_turn_when_it_is_near(clock: ManualClock):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.take(10, STOP)
    clock.advance(1_000)
    budget.take(60, STOP)
    clock.advance(WINDOW_MS - 3_000)
    budget.take(5, STOP)
    assert clock.waits == [2.0]  # until the first ten were forgotten
    assert budget.used() == 65


def test_stop_ends_a_wait(clock: ManualClock):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.take(70, STOP)
    clock.advance(WINDOW_MS - 1_000)
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(VenueUnavailable):
        budget.take(1, stopped)


def test_a_refusal_by_the_venue_holds_reads_not_actions(clock: ManualClock):
    budget = WeightBudget(clock)
    budget.hold(3.0)
    budget.charge(1)
    assert clock.waits == []
    budget.take(1, STOP)
    assert clock.waits == [3.0]


def test_a_read_heavier_than_the_whole_budget_goes_when_nothing_else_does(clock: ManualClock):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.take(80, STOP)
    assert budget.used() == 80


@pytest.mark.parametrize("jump_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_jumps_neither_frees_weight_early_nor_locks_it_up(clock: ManualClock, jump_ms: int):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.hold(5.0)
    budget.charge(70)
    clock.leap(jump_ms)
    assert budget.used() == 70
    clock.advance(WINDOW_MS)
    assert budget.used() == 0
    budget.take(70, STOP)
    assert clock.waits == []


def test_threads_share_one_count(clock: ManualClock):
    budget = WeightBudget(clock, capacity=10**9)
    threads = [threading.Thread(target=lambda: [budget.charge(1) for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert budget.used() == 8_000


def test_what_an_exit_waits_for_may_use_the_reserve_and_goes_on_slowly_beyond_it(clock: ManualClock):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.take(70, STOP)
    for _ in range(30):
        budget.take(1, STOP, urgent=True)
    assert clock.waits == [] and budget.used() == 100
    for _ in range(3):
        budget.take(1, STOP, urgent=True)
    assert clock.waits == [0.5, 0.5]  # 120 a minute at most
    with pytest.raises(VenueUnavailable):
        budget.take(1, STOP)


def test_prices_in_the_place_of_a_stream_may_use_the_reserve_and_no_more(clock: ManualClock):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.take(70, STOP)
    clock.advance(1_000)
    budget.take(30, STOP, with_reserve=True)
    assert clock.waits == [] and budget.used() == 100
    with pytest.raises(VenueUnavailable):
        budget.take(1, STOP, with_reserve=True)
    clock.advance(58_000)
    budget.take(1, STOP, with_reserve=True)
    assert clock.waits == [1.0]
    budget = WeightBudget(clock, capacity=100)
    budget.charge(100)
    with pytest.raises(VenueUnavailable):
        budget.take(1, STOP, with_reserve=True)


def test_what_an_exit_waits_for_does_not_wait_for_the_end_of_a_429(clock: ManualClock):
    budget = WeightBudget(clock)
    budget.hold(60)
    budget.take(1, STOP, urgent=True)
    budget.take(1, STOP, urgent=True)
    assert clock.waits == [1.5]
    with pytest.raises(VenueUnavailable):
        budget.take(1, STOP)


def test_an_answer_after_a_429_means_that_the_next_one_need_not_wait(clock: ManualClock):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.hold(60)
    for _ in range(3):
        budget.take(1, STOP, urgent=True)
        budget.answered()
    assert clock.waits == []
    clock.advance(60_000)
    budget.charge(100)
    for _ in range(2):  # too much was asked for: an answer changes nothing
        budget.take(1, STOP, urgent=True)
        budget.answered()
    assert clock.waits == [0.5]


@pytest.mark.parametrize(("ago_ms", "used"), [(0, 80), (WINDOW_MS - 1, 80), (WINDOW_MS, 5), (-90_000, 80)])
def test_what_a_bot_before_this_one_has_spent_is_remembered(clock: ManualClock, ago_ms: int, used: int):
    """Seen in a simulated day: restarts emptied our count, not the venue's, and then stops were answered 429."""
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.charge(5)
    budget.remember(20, clock.now_ms() - ago_ms)
    assert budget.used() == used
    budget.remember(90, clock.now_ms())  # less than is known
    assert budget.used() == max(used, 10)


def test_what_is_remembered_at_the_start_is_forgotten_like_the_rest(clock: ManualClock):
    budget = WeightBudget(clock, capacity=100, reserve=30)
    budget.remember(40, clock.now_ms())
    assert budget.used() == 60
    clock.advance(WINDOW_MS)
    assert budget.used() == 0
    budget.take(70, STOP)
    assert clock.waits == []
