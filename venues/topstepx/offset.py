"""The venue's clock by the Date headers of its answers, which count whole seconds."""

import threading
from email.utils import parsedate_to_datetime

DRIFT_PER_MS = 1e-4  # how fast two clocks may part: twice what a poor crystal does; a faster one contradicts itself
RESOLUTION_MS = 1_000


def date_ms(header: str) -> int | None:
    try:
        return int(parsedate_to_datetime(header).timestamp()) * 1000
    except (ValueError, OverflowError, OSError, TypeError):  # a date of no calendar
        return None


class OffsetBounds:
    """Venue clock minus ours, between two bounds which every Date header may narrow. Shared by all clients.

    One header says: at some moment between `before` and `after` the venue's clock stood in the second that begins at
    its date. That is half a second of resolution; the next one, asked at another part of a second, cuts it down.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._low = self._high = 0.0
        self._measured_ms: int | None = None  # our clock

    def narrow(self, before_ms: int, date_ms: int, after_ms: int) -> tuple[int, int]:
        """The bounds after this measurement, in ms; where they contradict the earlier ones a clock was set: anew."""
        low, high = float(date_ms - after_ms), float(date_ms + RESOLUTION_MS - before_ms)
        with self._lock:
            if self._measured_ms is not None:
                drift = abs(after_ms - self._measured_ms) * DRIFT_PER_MS
                old_low, old_high = self._low - drift, self._high + drift
                if max(low, old_low) <= min(high, old_high):
                    low, high = max(low, old_low), min(high, old_high)
            self._low, self._high, self._measured_ms = low, high, after_ms
            return int(low), int(high)

    @property
    def low_ms(self) -> int:
        """The venue's clock is at least this much ahead of ours; 0 while nobody has measured."""
        return int(self._low)

    @property
    def middle_ms(self) -> int:
        return int((self._low + self._high) / 2)
