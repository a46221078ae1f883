"""What a venue lets us ask in a window of time, counted before it is spent."""

import threading
from collections import deque

from runtime.clock import Clock
from runtime.venue import VenueUnavailable

WINDOW_MS = 60_000
URGENT_MS = 500  # 120 a minute: fewer than the strictest venue allows
HELD_MS = 1_500  # after a 429: if refused requests count as well, more of them would keep the window full


class WeightBudget:
    """A sliding window of request weight, shared by every client of this process.

    Hyperliquid: weight by IP and minute (page 7.1). TopstepX: requests, in two windows (page 1.6); whether those slide
    or are fixed is unverified, and what fits every sliding window fits every fixed one.
    Actions (orders, cancels, noops) always go and are only written down; reads leave `reserve` to them (prices in the
    stream's place may use it) and wait for their turn, or give up. A read that an exit or a stop waits for is `urgent`:
    it may use the reserve, and beyond that goes all the same every URGENT_MS, after a 429 every HELD_MS. The lock is
    the exception to "no locks": the count belongs to the IP, hence to all threads at once, and it is held for
    microseconds, never while anybody waits.
    Times are steady milliseconds: a wall clock that is set forward must not empty the count.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        capacity: int = 1200,
        reserve: int = 200,
        wait_s_max: float = 5.0,
        window_ms: int = WINDOW_MS,
    ) -> None:
        self._clock, self._window_ms = clock, window_ms
        self._reserve = reserve
        self._wait_s_max = wait_s_max
        self._lock = threading.Lock()
        self._spent: deque[tuple[int, int]] = deque()  # (when, weight), oldest first
        self._used = 0
        self._held_until_ms = 0
        self._urgent_ms: int | None = None  # when a read went that had no room
        self.capacity = capacity

    def used(self) -> int:
        """Weight spent in the window that ends now; may exceed what reads are allowed, for actions always go."""
        with self._lock:
            self._forget(self._clock.steady_ms())
            return self._used

    def remember(self, left: int, at_ms: int) -> None:
        """A bot before this one had `left` at `at_ms` (our clock): in the same window, the rest is spent.

        So it is when that lies ahead: the clock was set back since, and nobody knows by how much.
        """
        with self._lock:
            now_ms = self._clock.steady_ms()
            self._forget(now_ms)
            spent = self.capacity - left
            if self._clock.now_ms() - at_ms < self._window_ms and spent > self._used:
                self._add(now_ms, spent - self._used)

    def charge(self, weight: int) -> None:
        """Write down weight that is spent in any case: an action, or the surcharge of a long answer."""
        with self._lock:
            self._add(self._clock.steady_ms(), weight)

    def hold(self, delay_s: float) -> None:
        """The venue said 429: no reads for this long, by any thread."""
        with self._lock:
            self._held_until_ms = max(self._held_until_ms, self._clock.steady_ms() + int(delay_s * 1000))

    def answered(self) -> None:
        """A read was answered. After a 429, the next urgent one need not wait for its turn: there is room again."""
        with self._lock:
            if self._clock.steady_ms() < self._held_until_ms:
                self._urgent_ms = None

    def is_held(self) -> bool:
        with self._lock:
            return self._clock.steady_ms() < self._held_until_ms

    def take(self, weight: int, stop: threading.Event, *, urgent: bool = False, with_reserve: bool = False) -> None:
        """Spend `weight` on a read, waiting for room if need be.

        Raises VenueUnavailable when there would be none within the longest wait, or `stop` is set meanwhile.
        """
        waited_s = 0.0
        while (delay_s := self._try(weight, urgent, 0 if with_reserve else self._reserve)) > 0:
            if waited_s + delay_s > self._wait_s_max or self._clock.wait(stop, delay_s):
                text = f"request budget: {self.used()} of {self.capacity} in {self._window_ms // 1000} s"
                raise VenueUnavailable(text, retry_s=delay_s)
            waited_s += delay_s

    def _try(self, weight: int, urgent: bool, leave: int) -> float:
        """Take it and return 0, or return the seconds until it is worth trying again."""
        with self._lock:
            now_ms = self._clock.steady_ms()
            self._forget(now_ms)
            if urgent:
                return self._try_urgent(now_ms, weight)
            if (held_ms := self._held_until_ms - now_ms) > 0:
                return held_ms / 1000
            excess = self._used + weight - (self.capacity - leave)
            if excess <= 0 or not self._used:
                self._add(now_ms, weight)
                return 0.0
            return max(self._ms_until_free(now_ms, excess), 1) / 1000

    def _try_urgent(self, now_ms: int, weight: int) -> float:
        if self._used + weight > self.capacity or now_ms < self._held_until_ms:
            held_ms = self._held_until_ms - now_ms
            pause_ms = URGENT_MS if held_ms <= 0 else max(URGENT_MS, min(HELD_MS, held_ms))
            wait_ms = 0 if self._urgent_ms is None else self._urgent_ms + pause_ms - now_ms
            if wait_ms > 0:
                return wait_ms / 1000
            self._urgent_ms = now_ms
        self._add(now_ms, weight)
        return 0.0

    def _ms_until_free(self, now_ms: int, excess: int) -> int:
        for spent_ms, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return spent_ms + self._window_ms - now_ms
        return self._window_ms  # more than reads may ever use: wait for an empty window

    def _add(self, now_ms: int, weight: int) -> None:
        self._spent.append((now_ms, weight))
        self._used += weight

    def _forget(self, now_ms: int) -> None:
        while self._spent and self._spent[0][0] <= now_ms - self._window_ms:
            self._used -= self._spent.popleft()[1]
