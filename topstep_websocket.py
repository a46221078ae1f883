"""The streams the bot starts; `venues/topstepx/` has the reading of records (`frames`) and the talk (`dialect`)."""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

from runtime.clock import Clock
from runtime.heartbeat import Heartbeat
from runtime.stream import Inbox, ReconnectingStream, StreamStatus, check_url
from venues.topstepx.dialect import MarketDialect, UserDialect
from venues.topstepx.frames import TopstepFrameReader
from venues.topstepx.hub import IsOpen, Timing, TokenSource

__all__ = ["MARKET_STREAM", "USER_STREAM", "Timing", "TopstepFrameReader", "TopstepWebSocketClient", "hub_url"]

MARKET_STREAM, USER_STREAM = "topstepx-market", "topstepx-user"


def hub_url(url: str) -> str:
    """`url` as the WebSocket address it stands for: the venue writes its hubs with https:// (page 3.1).

    Raises ValueError for what is neither encrypted nor on this machine, or carries a query (the token is added here).
    """
    parts = urlsplit(url)
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    address = parts._replace(scheme=scheme).geturl()
    check_url(address)
    if parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("a hub's address has no query, fragment or password")
    return address


def always_open(symbol: str, now_ms: int) -> bool:
    return True


class TopstepWebSocketClient:
    """Prices of `contracts` (id: symbol) and the news of one account, one socket and thread a hub. A `VenueStream`.

    A hub whose address is None is left out. `token` is asked before each connection, `refresh_token` when the last one
    was refused; both run on the streams' threads. `depth` names contracts whose book is wanted. `is_open` tells when
    silence of a market is to be expected.
    """

    def __init__(
        self,
        market_hub_url: str | None,
        user_hub_url: str | None,
        contracts: Mapping[str, str],
        account_id: int,
        token: TokenSource,
        refresh_token: Callable[[], None],
        inbox: Inbox,
        clock: Clock,
        *,
        reconnect_interval: float = 5.0,
        max_reconnect_attempts: int = 10,
        depth: Collection[str] = (),
        multipliers: Mapping[str, Decimal] | None = None,
        is_open: IsOpen = always_open,
        timing: Timing | None = None,
        connect_spacing_s: float = 2.1,
        poll_s: float = 0.2,
        jitter: Callable[[], float] = random.random,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        timing, symbols = timing or Timing(), list(contracts.values())
        dialects: dict[str, MarketDialect | UserDialect] = {}
        self._market: MarketDialect | None = None
        if market_hub_url is not None:
            reader = TopstepFrameReader(account_id, contracts, multipliers)
            url = hub_url(market_hub_url)
            self._market = MarketDialect(url, contracts, depth, reader, token, refresh_token, clock, is_open, timing)
            dialects[MARKET_STREAM] = self._market
        if user_hub_url is not None:
            reader = TopstepFrameReader(account_id, contracts, multipliers)
            url = hub_url(user_hub_url)
            dialects[USER_STREAM] = UserDialect(
                url, account_id, reader, token, refresh_token, clock, is_open, symbols, timing
            )
        self._streams = {
            name: ReconnectingStream(
                name,
                dialect,
                inbox,
                clock,
                reconnect_interval=reconnect_interval,
                max_reconnect_attempts=max_reconnect_attempts,
                connect_spacing_s=connect_spacing_s,
                poll_s=poll_s,
                heartbeat=Heartbeat(timing.beat_s, timing.beaten_s),
                jitter=jitter,
                monotonic_s=monotonic_s,
            )
            for name, dialect in dialects.items()
        }

    def start(self) -> None:
        for stream in self._streams.values():
            stream.start()

    def reconnect(self, reason: str, name: str | None = None) -> None:
        """Both hubs, or the one of this name."""
        for stream_name, stream in self._streams.items():
            if name in (None, stream_name):
                stream.reconnect(reason)

    def watch(self, contract_ids: Sequence[str]) -> None:
        """Bring the prices of these as well, and of no others; also after a reconnect; safe from any thread."""
        if self._market is not None:
            self._market.watch(contract_ids)

    def stay_keen(self, on: bool) -> None:
        for stream in self._streams.values():
            stream.stay_keen(on)

    def stop(self, timeout_s: float = 5.0) -> None:
        for stream in self._streams.values():
            stream.stop(0.0)  # both first: they end side by side
        for stream in self._streams.values():
            stream.stop(timeout_s)

    def is_alive(self) -> bool:
        return any(stream.is_alive() for stream in self._streams.values())

    def statuses(self) -> dict[str, StreamStatus]:
        return {name: stream.status() for name, stream in self._streams.items()}

    def status(self) -> StreamStatus:
        """Of all hubs together: connected when each one is, the attempts of the one that is worse off."""
        all_of_them = list(self.statuses().values())
        heard = [s.last_message_ms for s in all_of_them if s.last_message_ms is not None]
        return StreamStatus(
            connected=bool(all_of_them) and all(s.connected for s in all_of_them),
            subscriptions=sum(s.subscriptions for s in all_of_them),
            last_message_ms=max(heard, default=None),
            reconnects=sum(s.reconnects for s in all_of_them),
            attempt=max((s.attempt for s in all_of_them), default=0),
            bad_frames=sum(s.bad_frames for s in all_of_them),
            quarantined=tuple(what for s in all_of_them for what in s.quarantined),
        )
