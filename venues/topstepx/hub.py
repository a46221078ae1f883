"""One connection to a TopstepX hub: token, handshake, calls and their answers, pings, the end (page 3.2, 3.5, 4)."""

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar
from urllib.parse import quote

import msgspec

from core.messages import AnyEvent
from runtime.clock import Clock
from runtime.dialect import BadFrame, Closed, Mute
from runtime.redaction import Redactor
from runtime.stream import scrub
from runtime.venue import CredentialsRefused, VenueUnavailable
from venues.topstepx.frames import TopstepFrameReader, completed, unclaimed
from venues.topstepx.signalr import (
    CLOSE,
    COMPLETION,
    HANDSHAKE,
    INVOCATION,
    PING,
    Record,
    RecordCutter,
    handshake_error,
    invocation,
    parse,
)

log = logging.getLogger("stream")

TRIES = 2  # of a call, before it is given up for a while
DROPS = 3  # connections in a row that ended while something was asked for: be careful
GUILTY = 3  # of them at one and the same call, made in a calm moment: it is not made again
CALM_S = 0.5
LOGOUT = "GatewayLogout"
SAMPLE_BYTES_MAX = 2_000
TokenSource = Callable[[], str]
IsOpen = Callable[[str, int], bool]  # symbol, our clock in ms: whether its market trades


class Timing(msgspec.Struct, frozen=True):
    """Seconds."""

    ping_s: float = 15.0  # between pings of ours (page 4.4)
    server_s: float = 30.0  # no record at all, pings included: the connection is dead (page 4.4)
    handshake_s: float = 5.0
    answer_s: float = 5.0  # to a call
    retry_s: float = 2.0  # before a failed call is made again
    again_s: float = 60.0  # before one that was given up is
    market_s: float = 5.0  # least silence of an open market worth a question
    market_s_first: float = 15.0  # the same before its rhythm is known (page 3.5)
    market_s_max: float = 600.0
    repair_s: float = 3.0  # data after a subscription was renewed
    beat_s: float = 4.0  # between WebSocket pings, which a server must answer whatever the hub does
    beaten_s: float = 4.0  # for that answer
    renew_s: float = 6 * 3600.0  # age at which a connection is made anew, with a fresh token, while markets are closed


class Subscription:
    """One call that starts a flow of events, and how it fares on the connection of the moment."""

    def __init__(self, what: str, target: str, *arguments: str | int, name: str) -> None:
        self.what, self.target, self.arguments = what, target, arguments
        self.name = name  # for the log
        self.drops = 0
        self.quarantined = False
        self.reported = False  # its refusal is in the log
        self.reset()

    def reset(self) -> None:
        self.call: str | None = None  # id of the call that is not answered yet
        self.asked_s: float | None = None
        self.retry_s: float | None = None  # when to call again
        self.tries = 0
        self.acked = False
        self.given_up = False

    @property
    def settled(self) -> bool:
        return self.acked or self.given_up or self.quarantined


class HubDialect(ABC):
    """What is alike on both hubs. `_subs` is what the connection is for; only the stream's thread calls it."""

    kind: ClassVar[str]
    needs_all: ClassVar[bool]  # without one of its subscriptions the connection is of no use

    def __init__(
        self,
        url: str,
        subs: Iterable[Subscription],
        reader: TopstepFrameReader,
        token: TokenSource,
        refresh_token: Callable[[], None],
        clock: Clock,
        is_open: IsOpen,
        symbols: Sequence[str],
        timing: Timing,
    ) -> None:
        self._url, self._subs, self._reader = url, list(subs), reader
        self._token, self._refresh_token = token, refresh_token
        self._clock, self._is_open, self._symbols, self._timing = clock, is_open, tuple(symbols), timing
        self.outgoing: deque[str] = deque()
        self.kept: bytes | None = None
        self._used = ""  # the token of this connection
        self._spent: str | None = None  # the token that must not be used again
        self._redact = Redactor()
        self._calls = 0
        self._sample = b""  # a small record, for rehearsals
        self._drops = 0  # connections in a row that ended while something was asked for
        self._begin(0.0)

    def _begin(self, now_s: float) -> None:
        self.outgoing.clear()
        self._cutter = RecordCutter()
        self._shaken = False  # hands, that is
        self._opened_s = self._heard_s = self._pinged_s = self._looked_s = self._settled_s = now_s
        self._reader.begin()
        for sub in self._subs:
            sub.reset()

    # --- what the stream asks ---

    @property
    def is_up(self) -> bool:
        return self._shaken and all(s.settled for s in self._subs) and any(s.acked for s in self._subs)

    @property
    def subscriptions(self) -> int:
        return sum(s.acked for s in self._subs)

    @property
    def quarantined(self) -> tuple[str, ...]:
        return tuple(s.name for s in self._subs if s.quarantined or s.given_up)

    def url(self) -> str:
        """With a token in it (page 3.2), a fresh one if the last was refused. Raises VenueUnavailable."""
        try:
            token = self._token()
            if token == self._spent:  # the other hub may have seen to it already
                self._refresh_token()
                token = self._token()
        except CredentialsRefused as e:  # who reads over REST says so; the stream must be there when it is settled
            raise VenueUnavailable(f"no token: {e}") from None
        self._spent, self._used, self._redact = None, token, Redactor([token])
        return f"{self._url}?access_token={quote(token, safe='')}"

    def refused(self, status: int) -> None:
        if status in (401, 403):
            self._spent = self._used

    def opened(self, now_s: float) -> None:
        self._begin(now_s)
        self.outgoing.append(HANDSHAKE)

    def cut(self, message: bytes) -> list[bytes]:
        return self._cutter.feed(message)

    def received(self, raw: bytes, received_ms: int, now_s: float) -> tuple[AnyEvent, ...]:
        self.kept = None
        if not self._shaken:
            self._shake(raw, now_s)
            return ()
        record = parse(raw)
        self._heard_s = now_s
        if record.type == INVOCATION:
            return self._event(record, raw, received_ms, now_s)
        if record.type == COMPLETION:
            self._answer(record, now_s)
        elif record.type == CLOSE:
            self._close(record)
        return ()  # pings, and types nobody knows (page 4.1)

    def rehearse(self) -> None:
        if self._sample:
            self._reader.rehearse(self._sample)

    def closed(self, now_s: float, dropped: bool) -> None:
        asked = [s for s in self._subs if s.call is not None and not s.acked]
        if not dropped or not self._shaken or not asked:
            self._drops = 0
        else:
            self._drops += 1
            self._suspect(asked)
        self._begin(now_s)

    # --- the hub's records ---

    def _shake(self, raw: bytes, now_s: float) -> None:
        try:
            error = handshake_error(raw)
        except BadFrame:
            if (record := parse(raw)).type == CLOSE:
                self._close(record)
            raise
        if error is not None:
            raise Closed(f"handshake refused: {self._say(error)}")
        self._shaken, self._heard_s, self._settled_s = True, now_s, now_s
        self._ping(now_s)
        self._ask(now_s)

    def _event(self, record: Record, raw: bytes, received_ms: int, now_s: float) -> tuple[AnyEvent, ...]:
        if record.target == LOGOUT:
            if self._spent is None:  # once a connection
                log.warning("hub_logout hub=%s the venue speaks of a logout", self.kind)
            self._spent = self._used  # if the connection ends, the next one begins with a fresh token
            return ()
        if not self._knows(record.target):
            raise BadFrame("unknown_target", repr(record.target[:40]))
        is_claimed = bool(bytes(record.known))  # ours alone: see frames.completed
        if is_claimed:
            raw, record.known = unclaimed(raw), msgspec.Raw(b"")
        events = self._reader.events(record, received_ms)
        if not self._wants(record.target, now_s):
            return ()
        if events and self._reader.known is not None:
            self.kept = completed(raw, self._reader.known)
        elif events and is_claimed:
            self.kept = raw
        if events and len(raw) < SAMPLE_BYTES_MAX:
            self._sample = self.kept or raw
        return events

    @abstractmethod
    def _knows(self, target: str) -> bool: ...

    def _wants(self, target: str, now_s: float) -> bool:
        """An event came and made sense; the reader says of which contract. Raises BadFrame if nobody asked for it."""
        return True

    def _close(self, record: Record) -> None:
        if not record.allow_reconnect:  # refused, or ended on purpose: our token may be the reason (page 4.5)
            self._spent = self._used
        raise Closed(f"the hub closed: {self._say(record.error or 'without a reason')}")

    def _say(self, text: str) -> str:
        """The venue's words, fit for a log."""
        return scrub(self._redact(text))

    # --- calls and answers ---

    def _ask(self, now_s: float) -> None:
        """All that is not asked for yet; after repeated drops one at a time, suspects last, to see which one it is.

        A pause before each: a hub that ends connections whatever is asked does not wait for the call.
        """
        careful = self._drops >= DROPS
        for sub in sorted(self._subs, key=lambda s: s.drops):
            if careful and (now_s - self._settled_s < CALM_S or any(s.call is not None for s in self._subs)):
                return
            if sub.asked_s is None and not sub.quarantined:
                self._call(sub, now_s)

    def _call(self, sub: Subscription, now_s: float) -> None:
        sub.call = self._invoke(f"Subscribe{sub.what}", sub)
        sub.asked_s, sub.retry_s, sub.tries = now_s, None, sub.tries + 1

    def _invoke(self, method: str, sub: Subscription) -> str:
        self._calls += 1
        call = str(self._calls)
        self.outgoing.append(invocation(call, method, *sub.arguments))
        return call

    def _answer(self, record: Record, now_s: float) -> None:
        sub = next((s for s in self._subs if s.call is not None and s.call == record.invocation_id), None)
        if sub is None:
            return  # of an unsubscription, or too late
        if record.error is None:
            self._accepted(sub, now_s)
        else:
            self._failed(sub, self._say(record.error), now_s)

    def _accepted(self, sub: Subscription, now_s: float) -> None:
        was, sub.call, sub.retry_s, sub.tries = sub.acked, None, None, 0
        sub.acked, sub.given_up, sub.reported, sub.drops = True, False, False, 0
        if not was:
            log.info("stream_subscribed Subscribed to WebSocket %s", sub.name)
            self._settled_s = now_s
        self._ask(now_s)

    def _failed(self, sub: Subscription, why: str, now_s: float) -> None:
        sub.call, sub.acked = None, False
        if sub.tries < TRIES:
            log.warning("subscription_failed name='%s' why='%s' asking again", sub.name, why)
            sub.retry_s = now_s + self._timing.retry_s
            return
        level = logging.DEBUG if sub.reported else logging.ERROR
        log.log(level, "subscription_refused name='%s' why='%s'", sub.name, why)
        sub.given_up = sub.reported = True
        sub.retry_s = now_s + self._timing.again_s
        if self.needs_all or all(s.given_up or s.quarantined for s in self._subs):
            raise Closed(f"subscription refused: {sub.name}: {why}")
        self._ask(now_s)

    def _suspect(self, asked: list[Subscription]) -> None:
        """A hub that ends the connection at a call: known of no method, and not to be ruled out."""
        if self.needs_all or self._drops <= DROPS or len(asked) != 1 or not any(s.acked for s in self._subs):
            return
        (sub,) = asked
        sub.drops += 1
        if sub.drops >= GUILTY:
            sub.quarantined = True
            log.error("subscription_quarantined name='%s' the venue drops the connection when asked for it", sub.name)

    # --- timers ---

    def tend(self, now_s: float) -> None:
        timing = self._timing
        if not self._shaken:
            if now_s - self._opened_s > timing.handshake_s:
                raise Mute(f"no answer to the handshake in {timing.handshake_s:.0f}s")
            return
        if now_s - self._heard_s > timing.server_s:
            raise Mute(f"no record in {timing.server_s:.0f}s, pings included")
        if now_s - self._pinged_s >= timing.ping_s:
            self._ping(now_s)
        for sub in self._subs:
            is_owed = sub.call is not None and not sub.acked  # a renewal is judged by the data that come, or not
            if is_owed and sub.asked_s is not None and now_s - sub.asked_s > timing.answer_s:
                self._failed(sub, "no answer", now_s)
            elif sub.retry_s is not None and now_s >= sub.retry_s:
                self._call(sub, now_s)
        if self._drops >= DROPS:
            self._ask(now_s)
        if now_s - self._looked_s >= 1.0:
            self._looked_s = now_s
            self._tend_second(now_s)

    def _tend_second(self, now_s: float) -> None:
        """A connection outlives its token, as far as known: make it anew while nobody misses it (page 3.5)."""
        if now_s - self._opened_s < self._timing.renew_s:
            return
        now_ms = self._clock.now_ms()
        if not any(self._is_open(symbol, now_ms) for symbol in self._symbols):
            self._spent = self._used
            raise Mute("markets are closed: connecting anew with a fresh token")

    def _ping(self, now_s: float) -> None:
        self._pinged_s = now_s
        self.outgoing.append(PING)
