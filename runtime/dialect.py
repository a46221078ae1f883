"""What `runtime.stream` asks of a venue's way to talk, and the two faults a dialect may raise."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from core.messages import AnyEvent


class BadFrame(Exception):
    """A frame that must not be acted on. `kind` is one of a few words, for counting; `why` is for the log."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind, self.why = kind, why


class Mute(Exception):
    """The socket looks alive and is not: connect again."""


class Closed(Exception):
    """The venue ended the connection, in good order or not."""


class Dialect(Protocol):
    """What one venue adds to a socket. Only the stream's thread calls it; `now_s` is monotonic seconds."""

    outgoing: deque[str]  # text frames to send, oldest first
    kept: bytes | None  # what the journal keeps of the message last received; None: the message itself

    @property
    def cut(self) -> Callable[[bytes], list[bytes]] | None:
        """Cuts a WebSocket message into the messages that `received` is given; None where they are the same."""

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

    def refused(self, status: int) -> None:
        """The venue answered the upgrade with this HTTP status."""

    def opened(self, now_s: float) -> None:
        """A new connection: forget the last one, queue what to send first."""

    def received(self, raw: bytes, received_ms: int, now_s: float) -> tuple[AnyEvent, ...]:
        """Events of one message, () if it holds none. Raises BadFrame, or Mute or Closed to connect again."""

    def rehearse(self) -> None:
        """Decode a message that was seen before and throw the result away, to keep that path warm."""

    def tend(self, now_s: float) -> None:
        """Whatever is due by time (pings, overdue answers); called several times a second. Raises Mute, Closed."""

    def closed(self, now_s: float, dropped: bool) -> None:
        """The connection is gone; `dropped` when it was not our doing."""
