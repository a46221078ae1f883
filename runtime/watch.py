"""A glance at the positions about once a second: what a hand has opened needs a stop, whatever the streams are at (P2).

A stream that is mute is noticed after 5 s at Hyperliquid and 15 s at TopstepX, and the account as a whole is too dear
to be read each second.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Protocol

from core.messages import PositionsSeen
from core.model import VenuePosition
from runtime.alarm import told
from runtime.clock import Clock
from runtime.venue import CredentialsRefused, VenueUnavailable, believed

log = logging.getLogger("watch")

PAUSE_S_MIN = 0.05


class Glances(Protocol):
    """The part of a `VenueClient` that a glance needs."""

    watch_s: float

    def has_room(self) -> bool: ...

    def positions(self) -> Sequence[VenuePosition]: ...

    def close(self) -> None: ...


class PositionWatch:
    """Tells of the positions when they are not those of the glance before."""

    def __init__(
        self,
        client: Glances,
        is_open: Callable[[int], bool],
        read_ms: Callable[[], int],
        outbox: Any,
        clock: Clock,
    ) -> None:
        """`is_open`: whether anything can be traded at that time (our clock). `read_ms`: when the account was read."""
        self._client, self._is_open, self._read_ms, self._outbox, self._clock = client, is_open, read_ms, outbox, clock
        self._sizes: dict[str, Decimal] | None = None  # by the last glance; None: it failed, or there was none
        self._looked_ms = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with contextlib.closing(self._client), told("watch", self._outbox, self._clock):
            while not self._clock.wait(self._stop, self._pause_s()):
                self._look()

    def _pause_s(self) -> float:
        """Until a glance is due: the account's own reads tell of positions too."""
        since_ms = self._clock.now_ms() - max(self._looked_ms, self._read_ms())
        return max(PAUSE_S_MIN, self._client.watch_s - max(0, since_ms) / 1000)

    def _look(self) -> None:
        """A glance that fails is left to the log: the account is read as well, and that tells."""
        requested_ms = self._clock.now_ms()
        if 0 <= requested_ms - self._read_ms() < self._client.watch_s * 1000:
            return
        self._looked_ms = requested_ms
        if not self._is_open(requested_ms) or not self._client.has_room():
            return
        try:
            positions = tuple(self._client.positions())
            received_ms = self._clock.now_ms()
            seen = believed(PositionsSeen(positions=positions, requested_ms=requested_ms, received_ms=received_ms), 0)
        except (VenueUnavailable, CredentialsRefused) as e:
            log.debug("glance_failed error=%r", str(e))
            self._sizes = None
            return
        sizes = {position.symbol: position.size for position in positions if position.size != 0}
        if sizes != self._sizes:
            self._sizes = sizes
            self._outbox.put(seen)
