"""The stream the bot starts; `venues/hyperliquid/` has the reading of frames (`frames`) and the talk (`dialect`)."""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from runtime.clock import Clock
from runtime.stream import Inbox, ReconnectingStream, StreamStatus, check_url
from venues.hyperliquid.dialect import HyperliquidDialect, Timing
from venues.hyperliquid.frames import FrameReader, decode_frame

__all__ = ["FrameReader", "HyperliquidWebSocketClient", "Timing", "decode_frame"]


class HyperliquidWebSocketClient:
    """Prices of `coins`, fills and order updates of `user`, on one socket. A `runtime.venue.VenueStream`.

    `coins` are names from `meta`, spelt exactly (the caller checks: a misspelt one costs the others two reconnects).
    `candles` maps coins to an interval, `books` names those whose whole book is wanted.
    """

    def __init__(
        self,
        ws_url: str,
        coins: Sequence[str],
        user: str | None,
        inbox: Inbox,
        clock: Clock,
        *,
        reconnect_interval: float = 5.0,
        max_reconnect_attempts: int = 10,
        candles: Mapping[str, str] | None = None,
        books: Collection[str] = (),
        timing: Timing | None = None,
        connect_spacing_s: float = 2.1,
        poll_s: float = 0.2,
        jitter: Callable[[], float] = random.random,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        check_url(ws_url)
        dialect = HyperliquidDialect(ws_url, coins, user, candles or {}, books, timing or Timing())
        self._stream = ReconnectingStream(
            "hyperliquid",
            dialect,
            inbox,
            clock,
            reconnect_interval=reconnect_interval,
            max_reconnect_attempts=max_reconnect_attempts,
            connect_spacing_s=connect_spacing_s,
            poll_s=poll_s,
            jitter=jitter,
            monotonic_s=monotonic_s,
        )

    def start(self) -> None:
        self._stream.start()

    def reconnect(self, reason: str, name: str | None = None) -> None:
        self._stream.reconnect(reason)

    def watch(self, contract_ids: Sequence[str]) -> None:
        """Nothing to do: the venue itself states what positions in other markets are worth."""

    def stay_keen(self, on: bool) -> None:
        self._stream.stay_keen(on)

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stream.stop(timeout_s)

    def is_alive(self) -> bool:
        return self._stream.is_alive()

    def status(self) -> StreamStatus:
        return self._stream.status()
