"""The only place that reads the time; tests bring a ManualClock instead."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int: ...

    def wait(self, stop: threading.Event, delay_s: float) -> bool:
        """Wait until `stop` is set (True) or `delay_s` have passed (False)."""


class SystemClock:
    """UTC milliseconds of this machine. It may jump (NTP, a lid that closes); waits use the monotonic clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wait(self, stop: threading.Event, delay_s: float) -> bool:
        return stop.wait(delay_s)


class ManualClock:
    """Time that moves only when told; remembers every wait and makes nobody wait."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self._now_ms = now_ms
        self.waits: list[float] = []

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        self._now_ms += ms

    def wait(self, stop: threading.Event, delay_s: float) -> bool:
        self.waits.append(delay_s)
        self._now_ms += int(delay_s * 1000)
        return stop.is_set()
