"""WebSocket pings of our own (RFC 6455): a dead peer is noticed within seconds also where the venue is often silent."""

from runtime.dialect import Mute


class Heartbeat:
    """When to ping, and when the missing answer means that nobody is there. Times are monotonic seconds.

    Only a peer that has answered once is held to it.
    """

    def __init__(self, every_s: float, answer_s: float) -> None:
        self._every_s, self._answer_s = every_s, answer_s
        self._is_trusted = False
        self._pinged_s = 0.0
        self._waits = False  # for an answer

    def begin(self, now_s: float) -> None:
        """A new connection."""
        self._pinged_s, self._waits = now_s, False

    def answered(self) -> None:
        self._is_trusted, self._waits = True, False

    def is_due(self, now_s: float) -> bool:
        """Whether to ping now. Raises Mute."""
        silent_s = now_s - self._pinged_s
        if self._waits and self._is_trusted and silent_s > self._answer_s:
            raise Mute(f"no answer to a WebSocket ping in {self._answer_s:.0f}s")
        if silent_s < self._every_s or (self._waits and self._is_trusted):
            return False
        self._pinged_s, self._waits = now_s, True
        return True
