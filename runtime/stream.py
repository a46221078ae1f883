"""A background thread that holds one WebSocket, reconnects for ever, and puts what it hears on the inbox.

`ReconnectingStream` knows sockets, waits and threads; a `Dialect` knows one venue's frames. The thread owns both.
"""

import http.cookies
import logging
import queue
import random
import re
import ssl
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import msgspec
import websocket

from core.messages import Frame, StreamDown, StreamFailed, StreamUp
from runtime.clock import Clock
from runtime.dialect import BadFrame, Closed, Dialect, Mute
from runtime.heartbeat import Heartbeat
from runtime.pacing import SendBudget, reconnect_delay_s
from runtime.redaction import Redactor
from runtime.venue import VenueUnavailable
from runtime.warm_http import is_loopback, tls_context
from runtime.wire import CLOSE, PING, PONG, MessageCutter, ProtocolError

log = logging.getLogger("stream")

CONNECT_S = 4.0  # each of: TCP connect, TLS, one read of the upgrade answer
UPGRADE_S = 8.0  # TCP, TLS and upgrade together, however slowly they drip
SEND_S = 3.0  # a peer that takes no bytes for so long is gone
SETTLED_S = 30.0  # a connection that was up for so long was of use, whatever it brought
JUMP_S = 5.0  # clocks that part by more, or a thread that was away for longer: the machine slept
KEEN_POLL_S = 0.005
RECV_BYTES = 65_536

Inbox = queue.Queue | queue.SimpleQueue
COMING = object()  # on the inbox of a keen stream: bytes are here, and what they say follows at once


class StreamStatus(msgspec.Struct, frozen=True):
    """What health shows of a stream."""

    connected: bool = False  # and every subscription acknowledged
    subscriptions: int = 0
    last_message_ms: int | None = None
    reconnects: int = 0
    attempt: int = 0  # failures in a row
    bad_frames: int = 0
    quarantined: tuple[str, ...] = ()


def check_url(url: str) -> None:
    """Refuse (ValueError) what is neither wss:// nor a loopback address."""
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("ws", "wss"):
        raise ValueError(f"not a WebSocket address: {scrub(url)}")
    if parts.scheme == "ws" and not is_loopback(parts.hostname):
        raise ValueError(f"ws:// is for this machine only, use wss://: {scrub(url)}")


_query = re.compile(r"\?[^\s'\"]+")
_redact = Redactor()


def scrub(text: str) -> str:
    """`text` for a log or an event: secrets and all query strings cut, one line, at most 300 characters."""
    return " ".join(_redact(_query.sub("?…", text)).split())[:300]


def describe(error: Exception) -> str:
    if isinstance(error, websocket.WebSocketBadStatusException):
        return f"the venue refused the upgrade with HTTP {error.status_code}"  # its text holds headers and cookies
    return f"{type(error).__name__}: {scrub(str(error))}"


class ReconnectingStream:
    """One socket kept alive from start() to stop(): Frames and stream events on `inbox`, in the order heard."""

    def __init__(
        self,
        name: str,
        dialect: Dialect,
        inbox: Inbox,
        clock: Clock,
        *,
        reconnect_interval: float = 5.0,
        max_reconnect_attempts: int = 10,
        connect_spacing_s: float = 2.1,  # Hyperliquid: 30 new connections a minute (page 1.5)
        poll_s: float = 0.2,  # the longest that stop() and reconnect() can go unnoticed
        heartbeat: Heartbeat | None = None,  # for a venue that is often silent
        jitter: Callable[[], float] = random.random,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._dialect, self._inbox, self._clock = name, dialect, inbox, clock
        self._first_s, self._attempts_max = reconnect_interval, max_reconnect_attempts
        self._spacing_s, self._poll_s, self._heartbeat = connect_spacing_s, poll_s, heartbeat
        self._is_keen = False  # written by the main thread, read by this one: it only changes how often it looks
        self._jitter, self._monotonic_s = jitter, monotonic_s
        self._stop = threading.Event()
        self._wake = threading.Event()  # set with a request from another thread: stop, or reconnect
        self._reconnect_reason: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream-{name}", daemon=True)
        # From here on: the thread's own.
        self._failures = 0  # in a row; a frame with events clears it
        self._ups = 0
        self._is_up = False
        self._up_s = 0.0  # since when
        self._was_of_use = False  # this connection
        self._redact = Redactor()  # knows the secrets in the address
        self._budget = SendBudget()
        self._bad: dict[str, int] = {}
        self._bad_frames = 0
        self._tls: ssl.SSLContext | None = None
        self._connecting: websocket.WebSocket | None = None
        self._last_message_ms: int | None = None
        self._status = StreamStatus()
        self._then = (0.0, 0)  # monotonic seconds and wall milliseconds of the last look at the clocks

    # --- for other threads ---

    def start(self) -> None:
        self._thread.start()

    def reconnect(self, reason: str) -> None:
        """Drop the connection and connect again at once; cuts a wait short."""
        self._reconnect_reason = reason
        self._wake.set()

    def stay_keen(self, on: bool) -> None:
        """A position is open (or no longer): keep the reading path warm, and say COMING. From any thread."""
        self._is_keen = on

    def stop(self, timeout_s: float = 5.0) -> None:
        """Idempotent; returns when the thread has ended, or after `timeout_s`."""
        self._stop.set()
        self._wake.set()
        _hang_up(self._connecting)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def status(self) -> StreamStatus:
        return msgspec.structs.replace(self._status, last_message_ms=self._last_message_ms, bad_frames=self._bad_frames)

    # --- the thread ---

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._live_once()
        except Exception as e:  # a bug: the main thread must hear of it, and halt
            log.critical("stream_failed stream=%s error=%s", self._name, describe(e))
            self._publish(connected=False)
            self._inbox.put(StreamFailed(stream=self._name, error=describe(e), received_ms=self._clock.now_ms()))
            raise
        self._publish(connected=False)

    def _live_once(self) -> None:
        """One connection from first to last, then the wait that follows it."""
        started_ms = self._clock.now_ms()
        self._is_up = self._was_of_use = False
        error, at_once = "", False
        try:
            self._connection()
            error, at_once = f"reconnect asked for: {self._reconnect_reason}", True
        except Mute as e:
            error, at_once = f"mute: {e}", True
        except (
            Closed,
            ProtocolError,
            websocket.WebSocketException,
            OSError,
            VenueUnavailable,
            http.cookies.CookieError,  # websocket-client parses the cookies of the upgrade answer
        ) as e:
            error = describe(e)
        if not self._stop.is_set():
            # At once only if this connection was of use: one that is mute from the start would make us hammer.
            self._wait_after(scrub(self._redact(error)), at_once and self._was_of_use, started_ms)

    def _wait_after(self, error: str, at_once: bool, started_ms: int) -> None:
        self._failures += 1
        delay_s = 0.0 if at_once else reconnect_delay_s(self._failures, self._first_s, self._jitter())
        delay_s = max(delay_s, self._spacing_left_s(started_ms))
        log.warning("stream_error stream=%s Error in WebSocket listener: %s", self._name, error)
        attempt = f"attempt {self._failures}/{self._attempts_max}"
        log.info("stream_retry stream=%s Reconnecting in %.1fs (%s)...", self._name, delay_s, attempt)
        self._publish(connected=False)
        down = StreamDown(
            stream=self._name,
            error=error,
            retry_s=delay_s,
            attempt=self._failures,
            received_ms=self._clock.now_ms(),
        )
        self._inbox.put(down)
        self._clear_request()  # it was about the connection that is gone
        if delay_s > 0 and self._clock.wait(self._wake, delay_s) and not self._stop.is_set():
            self._clear_request()  # asked to hurry: as far as the venue's limit on new connections lets us
            if left_s := self._spacing_left_s(started_ms):
                self._clock.wait(self._stop, left_s)

    def _spacing_left_s(self, started_ms: int) -> float:
        """Until a new connection is allowed; bounded also when the wall clock was set back."""
        left_s = self._spacing_s - (self._clock.now_ms() - started_ms) / 1000
        return min(max(left_s, 0.0), self._spacing_s)

    def _clear_request(self) -> None:
        self._wake.clear()
        if self._stop.is_set():  # stop() sets it before it wakes us: seen here or still to come
            self._wake.set()

    def _connection(self) -> None:
        """Pump one connection until stop() or reconnect() (returns) or until it breaks (raises)."""
        url = self._dialect.url()
        check_url(url)
        self._redact = Redactor(value for _, value in parse_qsl(urlsplit(url).query))
        try:
            ws = self._open(url)
        except websocket.WebSocketBadStatusException as e:
            self._dialect.refused(e.status_code)
            raise
        dropped = False
        try:
            self._pump(ws)
        except (Closed, ProtocolError, websocket.WebSocketException, OSError):
            dropped = True
            raise
        finally:
            self._is_up = False
            self._dialect.closed(self._monotonic_s(), dropped)
            _close(ws)
            log.info("stream_down stream=%s WebSocket connection closed", self._name)

    def _open(self, url: str) -> websocket.WebSocket:
        if url.startswith("wss:") and self._tls is None:
            self._tls = tls_context()
        ws = websocket.WebSocket(
            sslopt={"context": self._tls} if self._tls else None, skip_utf8_validation=True, enable_multithread=False
        )
        self._connecting = ws
        overdue = threading.Timer(UPGRADE_S, _hang_up, [ws])  # an answer that drips in is not bounded by read timeouts
        overdue.daemon = True
        overdue.start()
        try:
            ws.connect(url, timeout=CONNECT_S, redirect_limit=0)  # a redirect could lead to an unencrypted address
        finally:
            overdue.cancel()
            self._connecting = None
        return ws

    def _pump(self, ws: websocket.WebSocket) -> None:
        cutter = MessageCutter()
        ws.settimeout(self._look_s())
        was_keen = self._is_keen
        assert ws.sock is not None, "connect() raises or leaves a socket"
        recv = ws.sock.recv
        hear = self._message if self._dialect.cut is None else self._records
        tend_s = now_s = self._monotonic_s()
        self._then = now_s, self._clock.now_ms()
        self._dialect.opened(now_s)
        if self._heartbeat is not None:
            self._heartbeat.begin(now_s)
        while not self._wake.is_set():
            if now_s >= tend_s:
                self._look_at_clocks(now_s)
                if self._failures and self._is_up and now_s - self._up_s > SETTLED_S:
                    self._prove_useful()
                if self._heartbeat is not None and self._heartbeat.is_due(now_s):
                    self._send(ws, b"", PING)
                self._dialect.tend(now_s)
                self._flush(ws, now_s)
                tend_s = now_s + self._poll_s
            if was_keen is not self._is_keen:
                was_keen = self._is_keen
                ws.settimeout(self._look_s())
            try:
                data = recv(RECV_BYTES)
            except TimeoutError:
                now_s = self._monotonic_s()
                if was_keen:
                    self._dialect.rehearse()
                continue
            if not data:
                raise Closed("the venue hung up without a word")
            if was_keen:  # who waits for the inbox wakes up, which takes as long as reading what has come
                self._inbox.put(COMING)
            now_s = self._monotonic_s()
            received_ms = self._clock.now_ms()
            for opcode, payload in cutter.feed(data):
                if opcode < CLOSE:
                    hear(payload, received_ms, now_s)
                else:
                    self._control(ws, opcode, payload)
            self._flush(ws, now_s)
            if not self._is_up and self._dialect.is_up:
                self._went_up()

    def _message(self, payload: bytes, received_ms: int, now_s: float) -> None:
        try:
            events = self._dialect.received(payload, received_ms, now_s)
        except BadFrame as e:
            self._count_bad(e)
            return
        self._last_message_ms = received_ms
        if events:
            self._was_of_use = True
            if self._failures:
                self._prove_useful()
            self._inbox.put(Frame(self._dialect.kept or payload, received_ms, events))

    def _records(self, payload: bytes, received_ms: int, now_s: float) -> None:
        cut = self._dialect.cut
        assert cut is not None, "the reason to come here"
        for record in cut(payload):
            self._message(record, received_ms, now_s)

    def _prove_useful(self) -> None:
        self._failures, self._was_of_use = 0, True
        self._publish(connected=self._is_up)

    def _control(self, ws: websocket.WebSocket, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._send(ws, payload, websocket.ABNF.OPCODE_PONG)
        elif opcode == PONG:
            if self._heartbeat is not None:
                self._heartbeat.answered()
        else:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            raise Closed(f"the venue closed with code {code} {payload[2:].decode('utf-8', 'replace')!r}")

    def _flush(self, ws: websocket.WebSocket, now_s: float) -> None:
        outgoing = self._dialect.outgoing
        while outgoing and self._budget.take(now_s):
            self._send(ws, outgoing.popleft().encode(), websocket.ABNF.OPCODE_TEXT)

    def _send(self, ws: websocket.WebSocket, payload: bytes, opcode: int) -> None:
        ws.settimeout(SEND_S)
        try:
            ws.send(payload, opcode)
        finally:
            ws.settimeout(self._look_s())

    def _look_s(self) -> float:
        """How long one read waits: what stop() can go unnoticed, or the pace of rehearsals."""
        return KEEN_POLL_S if self._is_keen else self._poll_s

    def _look_at_clocks(self, now_s: float) -> None:
        """Raise Mute after a sleep or a jump: whatever the socket says, nobody knows what was missed."""
        then_s, then_ms = self._then
        now_ms = self._clock.now_ms()
        self._then = now_s, now_ms
        gap_s, wall_s = now_s - then_s, (now_ms - then_ms) / 1000
        if gap_s > JUMP_S or abs(wall_s - gap_s) > JUMP_S:
            raise Mute(f"the clock moved {wall_s:.0f}s while the thread ran {gap_s:.0f}s: the machine slept?")

    def _went_up(self) -> None:
        self._is_up, self._up_s = True, self._monotonic_s()
        self._ups += 1
        self._publish(connected=True)
        count = self._dialect.subscriptions
        log.info("stream_up stream=%s subscriptions=%d WebSocket connected successfully", self._name, count)
        self._inbox.put(StreamUp(stream=self._name, subscriptions=count, received_ms=self._clock.now_ms()))

    def _count_bad(self, bad: BadFrame) -> None:
        """Log the first of a kind, then the 10th, the 100th, ..."""
        self._bad_frames += 1
        count = self._bad[bad.kind] = self._bad.get(bad.kind, 0) + 1
        if str(count).strip("0") == "1":
            why = scrub(self._redact(bad.why))
            log.warning("bad_frame stream=%s kind=%s count=%d why=%s", self._name, bad.kind, count, why)

    def _publish(self, connected: bool) -> None:
        self._status = StreamStatus(
            connected=connected,
            subscriptions=self._dialect.subscriptions,
            reconnects=max(0, self._ups - 1),
            attempt=self._failures,
            quarantined=self._dialect.quarantined,
        )


def _hang_up(ws: websocket.WebSocket | None) -> None:
    """Make a blocking read of `ws` return; safe from any thread."""
    sock = ws.sock if ws else None
    if sock is not None:
        try:
            sock.shutdown(2)
        except OSError:
            pass  # not connected yet, or no longer


def _close(ws: websocket.WebSocket) -> None:
    """A close frame if it can be had for nothing, then the end."""
    try:
        ws.settimeout(0.2)
        ws.send_close()
    except (websocket.WebSocketException, OSError):
        pass  # it was broken: that is why we are here
    finally:
        ws.shutdown()
