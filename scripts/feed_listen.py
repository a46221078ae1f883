"""Listen to the configured venue for a while: its stream and its REST, by the bot's own clients. Orders nothing."""

import contextlib
import queue
from collections.abc import Callable
from typing import Any

import msgspec

import wiring
from config.credentials import Secrets
from config.settings import MarketSettings, Settings, WebSocketSettings
from core.messages import (
    ClockOffset,
    CoreFault,
    Frame,
    PolledPrice,
    PollPrices,
    ReadFailed,
    StreamDown,
    StreamFailed,
    StreamUp,
)
from core.model import Book, MarkPrice, Quote, Trade
from runtime.clock import Clock
from runtime.poller import PricePoller
from runtime.venue import VenueClient, VenueUnavailable
from scripts.feed_samples import BarRead, Listening, Update

LOOK_S = 0.2
READ_EVERY_MS = 10_000  # clock and bars; TopstepX gives 50 bar requests in 30 s to prices and bars together
BAR_MS = 60_000
TROUBLES_KEPT = 8

Heard = dict[str, tuple[list[Update], list[BarRead]]]


def listen(
    settings: Settings,
    secrets: Secrets,
    seconds: float,
    clock: Clock,
    progress: Callable[[float, int], None] = lambda elapsed_s, updates: None,
) -> tuple[Listening, Heard]:
    """What came within `seconds`; Ctrl-C ends it early. `progress` hears of it five times a second.

    Raises ConfigFault, CredentialsRefused, and VenueUnavailable when the venue cannot be asked at all.
    """
    settings = watching(settings)
    with contextlib.ExitStack() as cleanup:
        kit = wiring.kit_of(settings, secrets, wiring.simulator_of(settings, cleanup), clock)
        client = kit.client()
        cleanup.callback(client.close)
        rules = msgspec.structs.replace(wiring.make_rules(settings, kit.instruments(), kit), dry_run=True)
        kit.prepare(rules)  # a dry run's: it refuses bad credentials and sets nothing
        inbox: queue.Queue[Any] = queue.Queue()
        stream = kit.stream(rules, inbox)
        assert stream is not None, "watching() switches it on"
        poller = PricePoller(client.clone(), list(rules.markets), settings.fallback.poll_interval, inbox, clock)
        poller.switch(PollPrices(True, "comparison"))
        notes = _Notes(list(rules.markets), client, clock)
        notes.read()
        began_ms = clock.now_ms()
        for part in (stream, poller):
            part.start()
            cleanup.callback(part.stop)
        with contextlib.suppress(KeyboardInterrupt):
            notes.take_until(inbox, began_ms, began_ms + int(seconds * 1000), progress)
        return notes.listening(began_ms, rules.risk.max_price_age_ms), notes.heard


def watching(settings: Settings) -> Settings:
    """The same account and venue, its markets without strategies, all prices streamed, whatever the config says."""
    markets = [MarketSettings(symbol=m.symbol, strategy=None, exits=m.exits) for m in settings.markets]
    websocket = msgspec.structs.replace(settings.websocket or WebSocketSettings(), enabled=True)
    changes: dict[str, Any] = {"markets": markets, "websocket": websocket}
    if settings.venue == "topstepx":
        changes["hubs"] = msgspec.structs.replace(settings.hubs, market=True)
    return msgspec.structs.replace(settings, **changes)


class _Notes:
    """What was heard so far. The main thread's."""

    def __init__(self, symbols: list[str], client: VenueClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self.heard: Heard = {symbol: ([], []) for symbol in symbols}
        self._offsets: list[ClockOffset] = []
        self._was_up = False
        self._troubles: dict[str, None] = {}
        self._read_ms = 0
        self._count = 0

    def take_until(
        self, inbox: "queue.Queue[Any]", began_ms: int, end_ms: int, progress: Callable[[float, int], None]
    ) -> None:
        while (now_ms := self._clock.now_ms()) < end_ms:
            progress((now_ms - began_ms) / 1000, self._count)
            if now_ms - self._read_ms >= READ_EVERY_MS:
                self.read()
            with contextlib.suppress(queue.Empty):
                self._take(inbox.get(timeout=min(LOOK_S, (end_ms - now_ms) / 1000)))
                while True:
                    self._take(inbox.get_nowait())

    def read(self) -> None:
        """Clock and newest bars over REST. What the stream brings meanwhile is stamped by its own thread."""
        self._read_ms = self._clock.now_ms()
        try:
            self._offsets.append(self._client.measure_clock())
            for symbol, (_, bars) in self.heard.items():
                newest = self._client.bars(symbol, BAR_MS, 2)[-1:]
                bars.extend(BarRead(self._clock.now_ms(), bar.close_ms) for bar in newest)
        except VenueUnavailable as e:
            self._trouble(f"REST: {e}")

    def _take(self, event: Any) -> None:
        match event:
            case Frame():
                for inner in event.events:
                    self._take(inner)
            case Trade():
                self._note(event.symbol, Update("trades", event.received_ms, event.time_ms, event.price))
            case Quote():
                both = event.bid is not None and event.ask is not None
                middle = (event.bid + event.ask) / 2 if both else None  # type: ignore[operator]
                self._note(event.symbol, Update("quotes", event.received_ms, event.time_ms, middle))
            case Book():
                self._note(event.symbol, Update("quotes", event.received_ms, event.time_ms))
            case MarkPrice():
                self._note(event.symbol, Update("other", event.received_ms))
            case PolledPrice():
                self._note(event.symbol, Update("rest", event.received_ms, event.time_ms, event.price))
            case StreamUp():
                self._was_up = True
            case StreamDown() | StreamFailed() | CoreFault():
                self._trouble(f"stream: {event.error}")
            case ReadFailed():
                self._trouble(f"REST: {event.what}: {event.error}")

    def _note(self, symbol: str, update: Update) -> None:
        if symbol in self.heard:
            self.heard[symbol][0].append(update)
            self._count += 1

    def _trouble(self, text: str) -> None:
        if len(self._troubles) < TROUBLES_KEPT:
            self._troubles[text] = None

    def listening(self, began_ms: int, max_age_ms: int) -> Listening:
        """The offset of the quickest measurement counts, of equals the last."""
        best = min(reversed(self._offsets), key=lambda offset: offset.round_trip_ms, default=None)
        return Listening(
            began_ms=began_ms,
            ended_ms=self._clock.now_ms(),
            offset_ms=None if best is None else best.offset_ms,
            max_age_ms=max_age_ms,
            was_up=self._was_up,
            troubles=tuple(self._troubles),
        )
