"""The only place that reads the time; tests bring a ManualClock instead."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

LEAP_MS = 1_000  # less than this between wall and monotonic clock is slewing and drift, which the offset absorbs


class Clock(Protocol):
    def now_ms(self) -> int: ...

    def steady_ms(self) -> int:
        """From any beginning, and moved by no change of the wall clock: for windows that the venue counts."""

    def wait(self, stop: threading.Event, delay_s: float) -> bool:
        """Wait until `stop` is set (True) or `delay_s` have passed (False)."""


class SystemClock:
    """UTC milliseconds of this machine, made fit for timers: it never goes back.

    It runs on the monotonic clock. When the wall clock leaps ahead of that (a lid that was closed, a step by NTP) it
    follows; when the wall clock is set back it does not, or every bound of ours would wait for the time to come round
    again. What it is then off by is part of the measured offset to the venue.
    """

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._shift_ms = (wall_ns() - monotonic_ns()) // 1_000_000

    def now_ms(self) -> int:
        monotonic_ms = self._monotonic_ns() // 1_000_000
        wall_ms = self._wall_ns() // 1_000_000
        if wall_ms - monotonic_ms - self._shift_ms > LEAP_MS:
            self._shift_ms = wall_ms - monotonic_ms
        return monotonic_ms + self._shift_ms

    def steady_ms(self) -> int:
        return self._monotonic_ns() // 1_000_000

    def wait(self, stop: threading.Event, delay_s: float) -> bool:
        return stop.wait(delay_s)


class ManualClock:
    """Time that moves only when told; remembers every wait and makes nobody wait."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self._now_ms, self._leapt_ms = now_ms, now_ms - 5_000  # two clocks that nobody can mistake for one
        self.waits: list[float] = []

    def now_ms(self) -> int:
        return self._now_ms

    def steady_ms(self) -> int:
        return self._now_ms - self._leapt_ms

    def leap(self, ms: int) -> None:
        """The wall clock is set."""
        self._now_ms += ms
        self._leapt_ms += ms

    def advance(self, ms: int) -> None:
        self._now_ms += ms

    def wait(self, stop: threading.Event, delay_s: float) -> bool:
        self.waits.append(delay_s)
        self._now_ms += int(delay_s * 1000)
        return stop.is_set()
