"""The clock that timers may trust."""

import threading

from runtime.clock import ManualClock, SystemClock


class Hands:
    """A wall clock and a monotonic clock that move as told."""

    def __init__(self) -> None:
        self.wall_ms, self.monotonic_ms = 1_790_000_000_000, 5_000

    def pass_ms(self, ms: int) -> None:
        self.wall_ms += ms
        self.monotonic_ms += ms

    def clock(self) -> SystemClock:
        return SystemClock(lambda: self.wall_ms * 1_000_000, lambda: self.monotonic_ms * 1_000_000)


def test_follows_the_wall_clock():
    hands = Hands()
    clock = hands.clock()
    hands.pass_ms(1_234)
    assert clock.now_ms() == 1_790_000_001_234


def test_set_back_by_an_hour_goes_on_from_where_it_was():
    hands = Hands()
    clock = hands.clock()
    hands.wall_ms -= 3_600_000
    hands.pass_ms(500)
    assert clock.now_ms() == 1_790_000_000_500


def test_a_closed_lid_is_noticed():
    hands = Hands()
    clock = hands.clock()
    hands.wall_ms += 600_000  # the monotonic clock slept too
    hands.pass_ms(10)
    assert clock.now_ms() == 1_790_000_600_010
    hands.pass_ms(10)
    assert clock.now_ms() == 1_790_000_600_020


def test_the_steady_clock_does_not_care():
    hands = Hands()
    clock = hands.clock()
    before_ms = clock.steady_ms()
    for leap_ms in (3_600_000, -7_200_000):
        hands.wall_ms += leap_ms
        hands.pass_ms(10)
        clock.now_ms()
    assert clock.steady_ms() - before_ms == 20


def test_the_manual_clock_can_leap():
    clock = ManualClock(1_000)
    before_ms = clock.steady_ms()
    clock.advance(10)
    clock.leap(-500)
    assert (clock.now_ms(), clock.steady_ms() - before_ms) == (510, 10)


def test_the_manual_clock_remembers_waits():
    clock = ManualClock(1_000)
    assert clock.wait(threading.Event(), 2.5) is False
    assert (clock.waits, clock.now_ms()) == ([2.5], 3_500)
