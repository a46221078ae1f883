"""Talking to Hyperliquid's WebSocket: what to subscribe, which answers to expect, when to call it mute (page 1)."""

import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from core.messages import AnyEvent, BarUpdate
from core.model import Book, MarkPrice, Quote, Trade
from runtime.dialect import BadFrame, Mute
from runtime.rhythm import Rhythm
from runtime.stream import scrub
from venues.hyperliquid.frames import (
    Ack,
    Control,
    Deduper,
    FillsSnapshot,
    FrameReader,
    Pong,
    VenueError,
    decode,
)

log = logging.getLogger("stream")

PING = '{"method":"ping"}'
SUBSCRIPTIONS_MAX = 1000  # page 1.5
SAMPLE_BYTES_MAX = 2_000
LATEST_MS = 10**14  # later than any time that a frame may hold
SNAPSHOT_BYTES_PER_S = 20_000  # what probing the fill stream may cost on average
SLOW_LINK_BYTES_PER_S = 100_000

EVENTS: dict[str, type] = {
    "trades": Trade,
    "bbo": Quote,
    "activeAssetCtx": MarkPrice,
    "l2Book": Book,
    "candle": BarUpdate,
}
_PUBLIC = frozenset(EVENTS.values())
PRICES = ("activeAssetCtx", "trades", "bbo")  # a coin that says none of these is mute


class Timing(msgspec.Struct, frozen=True):
    """Seconds. Silences are noticed within 5."""

    ping_s: float = 20.0  # between pings; the venue drops a connection it has sent nothing on for 60
    pong_s: float = 5.0  # answer to a ping
    quiet_s: float = 2.0  # no frame at all: ask with a ping
    mute_s: float = 4.5  # no frame at all, the answer to that ping included
    ack_s: float = 5.0  # acknowledgement of a subscription
    market_s: float = 3.0  # least silence of a market worth a question; contexts come about every second
    market_s_max: float = 60.0
    repair_s: float = 0.9  # data after a subscription was renewed: a context follows at once (page 1.6)
    probe_s: float = 2.5  # between questions to the fill stream, which has no heartbeat
    answer_s: float = 2.0  # its answer


class Subscription:
    """One thing asked for, and how it fares on the connection of the moment."""

    def __init__(self, now_s: float, timing: Timing, **wire: str) -> None:
        self.wire = wire
        self.channel, self.coin = wire["type"], wire.get("coin")
        self.subscribe = _request("subscribe", wire)
        self.unsubscribe = _request("unsubscribe", wire)
        pause_s = 1.0 if self.channel == "activeAssetCtx" else timing.market_s_max / Rhythm.FACTOR
        self.rhythm = Rhythm(now_s, floor_s=timing.market_s, cap_s=timing.market_s_max, pause_s=pause_s)
        self.drops = 0  # connections that died while this one was being asked for
        self.quarantined = False
        self.reported = False  # its refusal is in the log
        self.reset()

    def reset(self) -> None:
        self.asked_s: float | None = None
        self.tries = 0
        self.acked = False
        self.given_up = False  # on this connection: refused, or never answered
        self.renewed_s: float | None = None  # asked for again after a silence, data still to come
        self.quiet_since_s = 0.0  # a renewal without effect is not repeated before its limit has passed again

    @property
    def name(self) -> str:
        return f"{self.channel} for {self.coin}" if self.coin else self.channel

    def matches(self, echo: Mapping[str, Any]) -> bool:
        """The venue echoes with defaults filled in, and addresses in lower case."""
        return all(echo.get(key) == value for key, value in self.wire.items())


def _request(method: str, wire: Mapping[str, str]) -> str:
    return msgspec.json.encode({"method": method, "subscription": wire}).decode()


class HyperliquidDialect:
    """What the venue is asked, and what is made of its answers. Only the stream's thread calls it."""

    cut = None  # a frame is a message
    kept: bytes | None = None

    def __init__(
        self,
        ws_url: str,
        coins: Sequence[str],
        user: str | None,
        candles: Mapping[str, str],
        books: Collection[str],
        timing: Timing,
    ) -> None:
        self._url, self._timing = ws_url, timing
        self._user = user.lower() if user else None
        self.outgoing: deque[str] = deque()
        self._subs = self._wanted(coins, candles, books)
        if len(self._subs) > SUBSCRIPTIONS_MAX:
            raise ValueError(f"{len(self._subs)} subscriptions, the venue allows {SUBSCRIPTIONS_MAX}")
        self._by_event = {(EVENTS[s.channel], s.coin): s for s in self._subs if s.channel in EVENTS}
        self._markets = {c: [s for s in self._subs if s.coin == c and s.channel in PRICES] for c in coins}
        self._fills = next((s for s in self._subs if s.channel == "userFills"), None)
        self._deduper = Deduper()
        self._sample = b""  # a small frame of trades, for rehearsals
        self._careful = False  # after a drop while subscribing: one at a time, to see which one it was
        self._mutes: dict[str, int] = {}  # by coin: reconnects it did not answer
        self._probe_works = False  # a renewed userFills has been seen to answer with a snapshot
        self._answer_s = timing.answer_s * 1.5 / 4  # slowest recent answer, fading
        self._begin(0.0)

    def _wanted(self, coins: Sequence[str], candles: Mapping[str, str], books: Collection[str]) -> list[Subscription]:
        wires: list[dict[str, str]] = []
        if self._user:
            wires += [{"type": "userFills", "user": self._user}, {"type": "orderUpdates", "user": self._user}]
        for coin in coins:
            wires += [{"type": channel, "coin": coin} for channel in PRICES]
            if coin in candles:
                wires.append({"type": "candle", "coin": coin, "interval": candles[coin]})
            if coin in books:
                wires.append({"type": "l2Book", "coin": coin})
        return [Subscription(0.0, self._timing, **wire) for wire in wires]

    def _begin(self, now_s: float) -> None:
        self.outgoing.clear()
        self._waiting: deque[Subscription] = deque()  # not asked for yet
        self._in_flight: list[Subscription] = []  # asked for, not answered
        self._alive = False  # the venue has said something that makes sense
        self._heard_s = now_s
        self._ping_s: float | None = None  # sent, not answered
        self._pinged_s = now_s
        self._probed_s: float | None = None  # sent, not answered
        self._probe_acked = False
        self._answered_s = now_s
        self._snapshot: bytes | None = None  # the user's fill history as last sent
        for sub in self._subs:
            sub.reset()
            sub.rhythm.restart(now_s)

    # --- what the stream asks ---

    @property
    def is_up(self) -> bool:
        return not self._waiting and not self._in_flight and any(s.acked for s in self._subs)

    @property
    def subscriptions(self) -> int:
        return sum(s.acked for s in self._subs)

    @property
    def quarantined(self) -> tuple[str, ...]:
        return tuple(s.name for s in self._subs if s.quarantined)

    def url(self) -> str:
        return self._url

    def refused(self, status: int) -> None:
        """Nothing to change: there is no token."""

    def opened(self, now_s: float) -> None:
        self._begin(now_s)
        self.outgoing.append(PING)
        self._ping_s = now_s
        wanted = [s for s in self._subs if not s.quarantined]
        self._waiting.extend(sorted(wanted, key=lambda s: s.drops))  # suspects last
        if not self._careful:
            self._ask(now_s)

    def _ask(self, now_s: float) -> None:
        while self._waiting and not (self._careful and self._in_flight):
            sub = self._waiting.popleft()
            sub.asked_s, sub.tries = now_s, sub.tries + 1
            self._in_flight.append(sub)
            self.outgoing.append(sub.subscribe)

    def received(self, raw: bytes, received_ms: int, now_s: float) -> tuple[AnyEvent, ...]:
        if raw == self._snapshot:  # the fill history again, word for word: a probe's answer with nothing new in it
            self._answered(now_s, by_history=True)
            return ()
        events, control = decode(raw, received_ms, self._user)
        if events and len(raw) < SAMPLE_BYTES_MAX and type(events[0]) is Trade:
            self._sample = raw
        self._alive = True
        self._heard_s = now_s
        if control is not None:
            self._answer(control, raw, now_s)
        if not events:
            return ()
        first = events[0]
        sub = self._by_event.get((type(first), first.symbol))  # type: ignore[union-attr]
        if sub is not None:
            sub.rhythm.heard(now_s)
            if not sub.acked or sub.renewed_s is not None or self._mutes:
                self._spoke(sub, now_s)
        elif type(first) in _PUBLIC:
            raise BadFrame("not_asked_for", repr(first.symbol[:40]))  # type: ignore[union-attr]
        return self._deduper.fresh(events)

    def rehearse(self) -> None:
        if self._sample:
            FrameReader(self._user).read(self._sample, LATEST_MS)

    def _spoke(self, sub: Subscription, now_s: float) -> None:
        sub.renewed_s = None
        self._mutes.pop(sub.coin or "", None)
        if not sub.acked:  # data is as good as an acknowledgement
            self._acked(sub, now_s)

    def closed(self, now_s: float, dropped: bool) -> None:
        if dropped and self._in_flight:
            self._careful = True
            if self._alive:  # the venue served us, until it was asked for this one
                self._suspect(self._in_flight[0])
        self._begin(now_s)

    def _suspect(self, sub: Subscription) -> None:
        """An unknown coin gets no answer: the venue drops the whole socket (page 1.3). Twice is proof enough."""
        of_one_coin = [s for s in self._subs if s is sub or (sub.coin is not None and s.coin == sub.coin)]
        for each in of_one_coin:
            each.drops += 1
        if sub.drops < 2:
            return
        for each in of_one_coin:
            each.quarantined = True
        log.error("subscription_quarantined name='%s' the venue drops the connection when asked for it", sub.name)

    # --- answers ---

    def _answer(self, control: Control, raw: bytes, now_s: float) -> None:
        if isinstance(control, Pong):
            self._ping_s = None
            if self._careful:
                self._ask(now_s)
        elif isinstance(control, FillsSnapshot):
            self._snapshot = raw
            self._answered(now_s, by_history=True)
        elif isinstance(control, Ack):
            if control.method == "subscribe" and (sub := self._find(control.subscription)):
                self._acked(sub, now_s)
        else:
            self._refused(control, now_s)

    def _find(self, echo: Mapping[str, Any]) -> Subscription | None:
        return next((s for s in self._subs if s.matches(echo)), None)

    def _acked(self, sub: Subscription, now_s: float) -> None:
        if sub is self._fills and self._probed_s is not None:
            self._probe_acked = True
        if sub.acked:
            return
        sub.acked, sub.given_up, sub.reported, sub.drops = True, False, False, 0
        sub.rhythm.restart(now_s)
        if sub is self._fills:
            self._answered_s = now_s
        log.info("stream_subscribed Subscribed to WebSocket %s", sub.name)
        self._settled(sub, now_s)

    def _settled(self, sub: Subscription, now_s: float) -> None:
        if sub in self._in_flight:
            self._in_flight.remove(sub)
        self._ask(now_s)
        if not self._waiting and not self._in_flight:
            self._careful = False

    def _refused(self, error: VenueError, now_s: float) -> None:
        sub = self._find(error.subscription) if error.subscription else None
        if error.is_success:
            if sub is not None and error.text.startswith("Already subscribed"):
                self._acked(sub, now_s)
                if sub is self._fills and self._probed_s is not None:
                    self._answered(now_s)
            return
        if sub is None or sub.acked:
            log.warning("venue_error text='%s'", scrub(error.text))
            return
        self._give_up(sub, scrub(error.text), now_s)

    def _give_up(self, sub: Subscription, why: str, now_s: float) -> None:
        """For this connection; the next one asks again, for that costs nothing here."""
        level = logging.DEBUG if sub.reported else logging.ERROR
        log.log(level, "subscription_refused name='%s' why='%s'", sub.name, why)
        sub.given_up = sub.reported = True
        self._settled(sub, now_s)

    # --- timers ---

    def tend(self, now_s: float) -> None:
        self._tend_ping(now_s)
        self._tend_acks(now_s)
        for coin, subs in self._markets.items():
            for sub in subs:
                if sub.acked:
                    self._tend_market(coin, sub, subs, now_s)
        if self._fills is not None and self._fills.acked:
            self._tend_fills(self._fills, now_s)

    def _tend_ping(self, now_s: float) -> None:
        silent_s = now_s - self._heard_s
        if silent_s > self._timing.mute_s:
            raise Mute(f"no frame in {silent_s:.1f}s, a ping included")
        if self._ping_s is not None:
            if now_s - self._ping_s > self._timing.pong_s:
                raise Mute(f"no pong in {self._timing.pong_s:.0f}s")
        elif silent_s > self._timing.quiet_s or now_s - self._pinged_s > self._timing.ping_s:
            self._ping_s = self._pinged_s = now_s
            self.outgoing.append(PING)

    def _tend_acks(self, now_s: float) -> None:
        for sub in list(self._in_flight):
            if sub.asked_s is None or now_s - sub.asked_s <= self._timing.ack_s + len(self._subs) / 20:
                continue  # a long list takes its time, also to send (the stream's budget)
            if not any(s.acked for s in self._subs):
                raise Mute(f"no subscription was acknowledged, {sub.name} the first")
            if sub.tries > 1:
                self._give_up(sub, "no acknowledgement", now_s)
            else:
                log.warning("subscription_overdue name='%s' no acknowledgement, asking again", sub.name)
                sub.asked_s, sub.tries = now_s, sub.tries + 1
                self.outgoing.append(sub.subscribe)

    def _tend_market(self, coin: str, sub: Subscription, siblings: list[Subscription], now_s: float) -> None:
        """Far beyond its rhythm: subscribe anew. If the whole market stays silent then: connect anew."""
        rhythm = sub.rhythm
        if sub.renewed_s is None:
            if now_s - max(rhythm.heard_s, sub.quiet_since_s) > rhythm.limit_s:
                log.warning("market_silent name='%s' silent_s=%.1f asking again", sub.name, rhythm.silent_s(now_s))
                self._renew(sub)
                sub.renewed_s = now_s
            return
        if now_s - sub.renewed_s <= self._timing.repair_s:
            return
        rhythm.pause_s = max(rhythm.pause_s, rhythm.silent_s(now_s))  # if it is no fault, it is its rhythm
        since_s, sub.renewed_s, sub.quiet_since_s = sub.renewed_s, None, now_s
        if sub.channel != "activeAssetCtx" or any(s.rhythm.heard_s >= since_s for s in siblings):
            return  # only a context is sure to follow its subscribe (page 1.6)
        mutes = self._mutes[coin] = self._mutes.get(coin, 0) + 1
        if mutes == 1:
            raise Mute(f"{coin} is silent for {rhythm.silent_s(now_s):.1f}s")
        if mutes == 2:  # it did not come back with a new connection: the others are not to suffer for it
            log.error("market_mute coin=%s acknowledged, and says nothing", coin)

    def _renew(self, sub: Subscription) -> None:
        self.outgoing += (sub.unsubscribe, sub.subscribe)

    def _tend_fills(self, sub: Subscription, now_s: float) -> None:
        """The fill stream has no heartbeat: subscribing anew makes it send the history, which proves it alive."""
        if self._probed_s is None:
            if now_s - self._answered_s > max(self._timing.probe_s, self._snapshot_bytes / SNAPSHOT_BYTES_PER_S):
                self._renew(sub)
                self._probed_s, self._probe_acked = now_s, False
            return
        limit_s = min(max(4 * self._answer_s, self._timing.answer_s), 10.0)
        limit_s += self._snapshot_bytes / SLOW_LINK_BYTES_PER_S
        if now_s - self._probed_s <= limit_s:
            return
        if self._probe_works or not self._probe_acked:
            raise Mute(f"the fill stream did not answer in {limit_s:.1f}s")
        self._answered(now_s)  # a venue that sends no history again: its acknowledgement must do

    @property
    def _snapshot_bytes(self) -> int:
        return len(self._snapshot or b"")

    def _answered(self, now_s: float, by_history: bool = False) -> None:
        self._heard_s = now_s
        if self._probed_s is not None:
            self._probe_works = self._probe_works or by_history
            self._answer_s = max(now_s - self._probed_s, self._answer_s * 0.9)
        self._probed_s, self._answered_s = None, now_s
