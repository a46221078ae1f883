"""What `runtime.stream` asks of a venue's way to talk, and the two faults a dialect may raise."""

from collections import deque
from typing import Protocol

from core.messages import AnyEvent


class BadFrame(Exception):
    """A frame that must not be acted on. `kind` is one of a few words, for counting; `why` is for the log."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind, self.why = kind, why


class Mute(Exception):
    """The socket looks alive and is not: connect again."""


class Dialect(Protocol):
    """What one venue adds to a socket. Only the stream's thread calls it; `now_s` is monotonic seconds."""

    outgoing: deque[str]  # text frames to send, oldest first

    @property
    def is_up(self) -> bool:
        """Everything asked for on this connection has been answered."""

    @property
    def subscriptions(self) -> int:
        """How many of them are live."""

    @property
    def quarantined(self) -> tuple[str, ...]:
        """What the venue refuses, for the health page."""

    def url(self) -> str:
        """Where to connect now; a token in it stays out of every log. May raise VenueUnavailable."""

    def opened(self, now_s: float) -> None:
        """A new connection: forget the last one, queue what to send first."""

    def received(self, raw: bytes, received_ms: int, now_s: float) -> tuple[AnyEvent, ...]:
        """Events of one message, () if it holds none. Raises BadFrame, or Mute to connect again."""

    def rehearse(self) -> None:
        """Decode a message that was seen before and throw the result away, to keep that path warm."""

    def tend(self, now_s: float) -> None:
        """Whatever is due by time (pings, overdue answers); called several times a second. Raises Mute."""

    def closed(self, now_s: float, dropped: bool) -> None:
        """The connection is gone; `dropped` when it was not our doing."""
