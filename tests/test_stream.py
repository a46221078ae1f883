"""The reconnecting thread on real sockets: what it sends, what it survives, when it waits, how it ends."""

import logging
import queue
import socket
import ssl
import threading
import time
from collections import deque

import pytest
from Crypto.Hash import SHA1, SHA256
from Crypto.PublicKey import ECC
from Crypto.Signature import DSS
from Crypto.Util.asn1 import DerBitString, DerBoolean, DerInteger, DerObjectId, DerOctetString, DerSequence, DerSetOf
from hypothesis import given
from hypothesis import strategies as st

from core.messages import Frame, StreamDown, StreamFailed, StreamUp, Tick
from runtime import stream as stream_module
from runtime.clock import ManualClock, SystemClock
from runtime.dialect import BadFrame, Mute
from runtime.pacing import SendBudget, reconnect_delay_s
from runtime.stream import ReconnectingStream, check_url, scrub
from runtime.wire import BINARY, CLOSE, PING, TEXT, MessageCutter, ProtocolError
from tests.wsserver import WAIT_S, WsServer, frame


class WordDialect:
    """A venue of one word each: `tick` is an event, `ok` an acknowledgement, anything else is a bad frame."""

    cut = kept = None

    def __init__(self, url: str) -> None:
        self._url = url
        self.outgoing: deque[str] = deque()
        self.is_up, self.subscriptions, self.quarantined = False, 1, ()
        self.raising: Exception | None = None
        self.ended: list[bool] = []  # `dropped` of each connection
        self.statuses: list[int] = []  # of refused upgrades

    def url(self) -> str:
        return self._url

    def refused(self, status):
        self.statuses.append(status)

    def opened(self, now_s):
        self.is_up = False
        self.outgoing.append("hello")

    def received(self, raw, received_ms, now_s):
        if raw == b"ok":
            self.is_up = True
            return ()
        if raw.startswith(b"tick"):
            return (Tick(received_ms=received_ms),)
        if raw == b"bug":
            raise ZeroDivisionError("a bug at https://venue/?token=geheim")
        raise BadFrame(raw[:8].decode("latin-1"), "not a word of ours")

    def tend(self, now_s):
        if self.raising:
            error, self.raising = self.raising, None
            raise error

    def closed(self, now_s, dropped):
        self.ended.append(dropped)


@pytest.fixture
def server():
    server = WsServer()
    yield server
    server.close()


@pytest.fixture
def start(request):
    """start(url, clock=..., ...) -> (stream, inbox, dialect); ended after the test, and surely gone."""

    def _start(url, clock=None, **options):
        inbox: queue.Queue = queue.Queue()
        dialect = WordDialect(url)
        options = {"connect_spacing_s": 0.0, "poll_s": 0.02, "jitter": lambda: 0.5} | options
        stream = ReconnectingStream("test", dialect, inbox, clock or ManualClock(), **options)
        request.addfinalizer(lambda: (stream.stop(), inbox.queue.clear()))
        stream.start()
        return stream, inbox, dialect

    return _start


def expect(inbox, kind):
    event = inbox.get(timeout=WAIT_S)
    assert isinstance(event, kind), event
    return event


def come_up(server, inbox):
    conn = server.accept()
    assert conn.receive() == "hello"
    conn.send("ok")
    expect(inbox, StreamUp)
    return conn


def refuse(server, times):
    """Hang up on the next `times` connections before the upgrade."""
    left = [times]

    def on_tcp(sock: socket.socket) -> bool:
        if not left[0]:
            return False
        left[0] -= 1
        sock.close()
        return True

    server.on_tcp = on_tcp


def answer_http(server, head: bytes):
    """Answer the next upgrade with these bytes."""

    def on_tcp(sock: socket.socket) -> bool:
        server.on_tcp = None
        sock.recv(65_536)
        sock.sendall(head)
        sock.close()
        return True

    server.on_tcp = on_tcp


# --- a day in the life ----------------------------------------------------------------------------------------------


def test_frames_come_in_order_with_their_bytes(server, start, caplog):
    caplog.set_level(logging.INFO, "stream")
    stream, inbox, _ = start(server.url)
    conn = come_up(server, inbox)
    words = [f"tick{i}" for i in range(2000)]
    conn.send(*words)
    frames = [expect(inbox, Frame) for _ in words]
    assert [f.raw.decode() for f in frames] == words
    assert frames[0].events == (Tick(received_ms=frames[0].received_ms),)
    status = stream.status()
    assert (status.connected, status.reconnects, status.attempt) == (True, 0, 0)
    assert status.last_message_ms == frames[-1].received_ms
    assert any(line.endswith("WebSocket connected successfully") for line in caplog.messages)


def test_it_comes_back_after_a_drop(server, start, caplog):
    caplog.set_level(logging.INFO, "stream")
    clock = ManualClock()
    stream, inbox, dialect = start(server.url, clock)
    conn = come_up(server, inbox)
    conn.send("tick")
    expect(inbox, Frame)
    conn.drop()
    down = expect(inbox, StreamDown)
    assert (down.stream, down.attempt, down.retry_s) == ("test", 1, 5.0)
    come_up(server, inbox)
    assert clock.waits == [5.0]
    assert stream.status().reconnects == 1
    assert dialect.ended == [True]
    story = "\n".join(caplog.messages)
    assert "WebSocket connection closed" in story
    assert "Error in WebSocket listener: " in story
    assert "Reconnecting in 5.0s (attempt 1/10)..." in story


def test_waits_double_until_a_minute_and_a_good_frame_starts_anew(server, start):
    clock = ManualClock()
    refuse(server, 6)
    _, inbox, _ = start(server.url, clock)
    assert [expect(inbox, StreamDown).attempt for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    conn = come_up(server, inbox)
    assert clock.waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    conn.send("tick")
    expect(inbox, Frame)
    conn.drop()
    assert expect(inbox, StreamDown).attempt == 1
    come_up(server, inbox)
    assert clock.waits[6:] == [5.0]


def test_a_connection_without_data_is_another_failure(server, start):
    clock = ManualClock()
    _, inbox, _ = start(server.url, clock)
    for attempt in (1, 2, 3):
        come_up(server, inbox).drop()  # up, and never a price
        assert expect(inbox, StreamDown).attempt == attempt
    come_up(server, inbox)
    assert clock.waits == [5.0, 10.0, 20.0]


@pytest.mark.parametrize(
    "failures, jitter, expected",
    [
        (1, 0.0, 5.0),
        (1, 0.99, 5.0),  # the first wait is what the config says
        (2, 0.0, 7.5),
        (2, 0.5, 10.0),
        (3, 1.0, 25.0),
        (4, 0.5, 40.0),
        (5, 0.5, 60.0),
        (5, 0.0, 45.0),  # spread also at the cap, or all bots of the world return at once
        (5, 1.0, 60.0),
        (10**9, 0.5, 60.0),
    ],
)
def test_reconnect_delay(failures, jitter, expected):
    assert reconnect_delay_s(failures, 5.0, jitter) == expected


# --- requests from other threads ------------------------------------------------------------------------------------


def test_stop_ends_a_silent_connection(server, start):
    stream, inbox, dialect = start(server.url)
    conn = come_up(server, inbox)
    stream.stop()
    assert not stream.is_alive()
    assert conn.closed.wait(WAIT_S)
    assert conn.controls.get(timeout=WAIT_S)[0] == CLOSE
    assert not stream.status().connected
    assert dialect.ended == [False]
    stream.stop()  # again does no harm
    assert inbox.empty()


def test_stop_cuts_a_wait_short(server, start):
    refuse(server, 1000)
    stream, inbox, _ = start(server.url, SystemClock(), reconnect_interval=60.0)
    expect(inbox, StreamDown)
    began_s = time.monotonic()
    stream.stop()
    assert not stream.is_alive()
    assert time.monotonic() - began_s < 2.0


def test_stop_cuts_an_upgrade_without_an_answer_short(server, start):
    asked = threading.Event()

    def on_tcp(sock: socket.socket) -> bool:
        sock.recv(65_536)
        asked.set()
        return True

    server.on_tcp = on_tcp
    stream, _, _ = start(server.url)
    assert asked.wait(WAIT_S)
    began_s = time.monotonic()
    stream.stop()
    assert not stream.is_alive()
    assert time.monotonic() - began_s < 2.0


def test_stop_before_start_returns(server):
    ReconnectingStream("test", WordDialect(server.url), queue.Queue(), ManualClock()).stop()


def test_reconnect_drops_a_live_connection_and_does_not_wait(server, start):
    clock = ManualClock()
    stream, inbox, dialect = start(server.url, clock)
    conn = come_up(server, inbox)
    conn.send("tick")
    expect(inbox, Frame)
    stream.reconnect("prices are stale")
    down = expect(inbox, StreamDown)
    assert "prices are stale" in down.error
    assert down.retry_s == 0.0
    come_up(server, inbox)
    assert clock.waits == []
    assert dialect.ended == [False]


def test_reconnect_cuts_a_wait_short(server, start):
    refuse(server, 1)
    stream, inbox, _ = start(server.url, SystemClock(), reconnect_interval=60.0)
    expect(inbox, StreamDown)
    stream.reconnect("now")
    come_up(server, inbox)


def test_new_connections_keep_their_distance(server, start):
    """Thirty a minute (page 1.5), also when somebody asks again and again."""
    clock = ManualClock()
    stream, inbox, _ = start(server.url, clock, connect_spacing_s=2.1)
    for _ in range(3):
        conn = come_up(server, inbox)
        conn.send("tick")
        expect(inbox, Frame)
        stream.reconnect("again")
        assert expect(inbox, StreamDown).retry_s == 2.1
    come_up(server, inbox)
    assert clock.waits == [2.1] * 3


def test_send_budget_stays_below_two_thousand_a_minute():
    budget = SendBudget()
    sent = sum(budget.take(1000.0 + i * 0.001) for i in range(60_000))
    assert 1650 < sent <= 1700


# --- what the wire brings -------------------------------------------------------------------------------------------


def test_a_dialect_may_cut_messages_and_say_what_is_kept(server, start):
    stream, inbox, dialect = start(server.url)
    conn = come_up(server, inbox)
    dialect.cut = lambda message: message.split(b" ")
    dialect.kept = b"kept"
    stream.reconnect("cut from now on")
    expect(inbox, StreamDown)
    conn = come_up(server, inbox)
    conn.send("tick junk tick ok")
    assert [expect(inbox, Frame).raw for _ in range(2)] == [b"kept", b"kept"]
    assert stream.status().bad_frames == 1  # one bad message costs its neighbours nothing


@pytest.mark.parametrize("settled_s, attempts", [(0.0, [1, 1, 1]), (30.0, [1, 2, 3])])
def test_a_connection_that_stays_up_was_of_use(server, start, monkeypatch, settled_s, attempts):
    monkeypatch.setattr(stream_module, "SETTLED_S", settled_s)
    stream, inbox, _ = start(server.url)
    for attempt in attempts:
        conn = come_up(server, inbox)
        deadline_s = time.monotonic() + WAIT_S
        while settled_s == 0 and stream.status().attempt and time.monotonic() < deadline_s:
            time.sleep(0.001)
        conn.drop()
        assert expect(inbox, StreamDown).attempt == attempt


def test_half_a_frame_and_then_the_end(server, start):
    _, inbox, _ = start(server.url)
    conn = come_up(server, inbox)
    conn.send_bytes(frame(b"tick-tock")[:5])
    conn.drop()
    expect(inbox, StreamDown)  # and no Frame before it
    come_up(server, inbox)


def test_fragments_are_joined_around_a_ping(server, start):
    _, inbox, _ = start(server.url)
    conn = come_up(server, inbox)
    conn.send_bytes(frame(b"ti", TEXT, final=False) + frame(b"there?", PING) + frame(b"ck", 0))
    assert expect(inbox, Frame).raw == b"tick"
    assert conn.controls.get(timeout=WAIT_S) == (0xA, b"there?")


def test_a_frame_in_single_bytes(server, start):
    _, inbox, _ = start(server.url)
    conn = come_up(server, inbox)
    for byte in frame(b"tick" + b"." * 300):
        conn.send_bytes(bytes([byte]))
    assert len(expect(inbox, Frame).raw) == 304


def test_a_close_frame_names_its_code(server, start):
    _, inbox, _ = start(server.url)
    come_up(server, inbox).close(1012, b"service restart")
    assert "1012 'service restart'" in expect(inbox, StreamDown).error
    come_up(server, inbox)


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x84abcdtick",  # masked
        b"\xc1\x04tick",  # compressed, which nobody agreed to
        b"\x83\x00",  # unknown opcode
        b"\x80\x04tick",  # continuation of nothing
        b"\x01\x02ti\x81\x04tick",  # a new message inside another
        b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",  # endless
        b"\x89\x7e\x00\x80" + b"x" * 128,  # a long ping
        b"\x09\x00",  # a fragmented ping
    ],
)
def test_a_broken_protocol_ends_the_connection(server, start, data):
    _, inbox, _ = start(server.url)
    conn = come_up(server, inbox)
    conn.send_bytes(data)
    assert "ProtocolError" in expect(inbox, StreamDown).error
    come_up(server, inbox)


def test_bad_frames_are_counted_logged_at_powers_of_ten_and_skipped(server, start, caplog):
    caplog.set_level(logging.INFO, "stream")
    stream, inbox, _ = start(server.url)
    conn = come_up(server, inbox)
    conn.send(*["junk"] * 25, "rubbish", "tick")
    assert expect(inbox, Frame).raw == b"tick"
    bad = [m for m in caplog.messages if m.startswith("bad_frame")]
    assert [m.split(" why=")[0] for m in bad] == [
        "bad_frame stream=test kind=junk count=1",
        "bad_frame stream=test kind=junk count=10",
        "bad_frame stream=test kind=rubbish count=1",
    ]
    assert stream.status().bad_frames == 26


@given(
    messages=st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.binary(max_size=200), st.integers(1, 4))),
    cuts=st.lists(st.integers(1, 50), min_size=1),
)
def test_the_cutter_does_not_care_how_bytes_arrive(messages, cuts):
    data = b""
    for opcode, payload, pieces in messages:
        step = len(payload) // pieces + 1
        parts = [payload[i : i + step] for i in range(0, len(payload), step)] or [b""]
        for i, part in enumerate(parts):
            data += frame(part, opcode if i == 0 else 0, final=i == len(parts) - 1)
    cutter, heard, at, turn = MessageCutter(), [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        heard += cutter.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert heard == [(opcode, payload) for opcode, payload, _ in messages]


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_the_cutter_raises_nothing_but_protocol_errors(chunks):
    cutter = MessageCutter(message_bytes_max=1000)
    try:
        for chunk in chunks:
            list(cutter.feed(chunk))
    except ProtocolError:
        pass


def test_fragments_have_a_limit_together():
    cutter = MessageCutter(message_bytes_max=100)
    with pytest.raises(ProtocolError):
        list(cutter.feed(frame(b"x" * 60, TEXT, final=False) + frame(b"x" * 60, 0, final=False)))


# --- doors that do not open -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head, error",
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nnull", "HTTP 429"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>", "HTTP 502"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "edirect"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "HTTP 200"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "Invalid WebSocket"),
        (b"\xff\xfe\r\n\r\n", ""),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ""),
        (b"", ""),
    ],
)
def test_an_upgrade_refused_in_any_way_is_tried_again(server, start, head, error):
    answer_http(server, head)
    _, inbox, _ = start(server.url)
    assert error in expect(inbox, StreamDown).error
    come_up(server, inbox)


def test_a_cookie_nobody_can_read_is_a_failed_upgrade(server, start):
    server.upgrade_headers = "Set-Cookie: a{b=1\r\n"
    _, inbox, _ = start(server.url)
    assert "CookieError" in expect(inbox, StreamDown).error
    assert expect(inbox, StreamDown).attempt == 2  # the thread lives on


def test_an_upgrade_that_drips_is_bounded(server, start, monkeypatch):
    monkeypatch.setattr(stream_module, "UPGRADE_S", 0.2)
    tick = threading.Event()

    def on_tcp(sock: socket.socket) -> bool:
        sock.recv(65_536)
        while not tick.wait(0.01):
            sock.sendall(b"x")
        return True

    server.on_tcp = on_tcp
    _, inbox, _ = start(server.url)
    expect(inbox, StreamDown)
    tick.set()


def test_no_token_reaches_a_log_or_an_event(server, start, caplog):
    caplog.set_level(logging.DEBUG)
    answer_http(server, b"HTTP/1.1 401 Unauthorized\r\nSet-Cookie: session=geheim\r\n\r\n")
    _, inbox, dialect = start(server.url + "?access_token=geheim")
    down = expect(inbox, StreamDown)
    assert "HTTP 401" in down.error
    assert dialect.statuses == [401]
    come_up(server, inbox).close(1008, b"no geheim of mine")
    down = expect(inbox, StreamDown)
    assert "1008" in down.error
    assert "geheim" not in down.error + caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_ends_the_thread_and_is_told(server, start, caplog):
    stream, inbox, _ = start(server.url)
    conn = come_up(server, inbox)
    conn.send("bug")
    failed = expect(inbox, StreamFailed)
    assert "ZeroDivisionError" in failed.error
    assert "geheim" not in failed.error + "".join(caplog.messages)
    stream.stop()
    assert not stream.is_alive()
    assert not stream.status().connected


def test_a_mute_socket_is_replaced_at_once(server, start):
    clock = ManualClock()
    _, inbox, dialect = start(server.url, clock)
    conn = come_up(server, inbox)
    conn.send("tick")
    expect(inbox, Frame)
    dialect.raising = Mute("no pong")
    assert expect(inbox, StreamDown).error == "mute: no pong"
    come_up(server, inbox)
    assert clock.waits == []


def test_one_mute_from_the_start_backs_off(server, start):
    clock = ManualClock()
    _, inbox, dialect = start(server.url, clock)
    for _ in range(2):
        come_up(server, inbox)
        dialect.raising = Mute("never a word")
        expect(inbox, StreamDown)
    come_up(server, inbox)
    assert clock.waits == [5.0, 10.0]


@pytest.mark.parametrize("ms", [60_000, -60_000])
def test_a_clock_that_jumps_means_the_machine_slept(server, start, ms):
    clock = ManualClock()
    _, inbox, _ = start(server.url, clock)
    come_up(server, inbox)
    clock.advance(ms)
    assert "slept" in expect(inbox, StreamDown).error
    come_up(server, inbox)


def test_a_thread_that_was_away_means_the_machine_slept(server, start):
    """Windows: the monotonic clock counts sleep, so both clocks move together."""
    away_s = [0.0]
    clock = ManualClock()
    _, inbox, _ = start(server.url, clock, monotonic_s=lambda: time.monotonic() + away_s[0])
    come_up(server, inbox)
    clock.advance(600_000)
    away_s[0] = 600.0
    assert "slept" in expect(inbox, StreamDown).error


# --- addresses and secrets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "wss://api.hyperliquid.xyz/ws",
        "ws://127.0.0.1:3001/ws",
        "ws://localhost:1",
        "ws://[::1]:5/ws",
        "ws://127.8.0.1/",
    ],
)
def test_good_urls(url):
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "ws://api.hyperliquid.xyz/ws",
        "ws://127.0.0.1.example.com/ws",
        "ws://10.0.0.1/ws?token=geheim",
        "https://api.hyperliquid.xyz",
        "api.hyperliquid.xyz/ws",
        "ws:///ws",
        "",
    ],
)
def test_bad_urls_are_refused_without_their_secrets(url):
    with pytest.raises(ValueError) as e:
        check_url(url)
    assert "geheim" not in str(e.value)


@pytest.mark.parametrize(
    "text",
    [
        "GET wss://h/ws?access_token=geheim failed",
        "https://user:geheim@host/path",
        "Authorization: Bearer geheimgeheim",
        "token eyJhbGciOiJIUzI1NiJ9.geheim.signature",
        "user 0x1111111111111111111111111111111111111111 unknown",
    ],
)
def test_scrub(text):
    assert "geheim" not in scrub(text)
    assert "0x11111" not in scrub(text)


def test_scrub_is_one_short_line():
    assert scrub("a\nb" + "z" * 500) == "a b" + "z" * 297


# --- TLS ------------------------------------------------------------------------------------------------------------


def _certificate() -> tuple[str, str]:
    """A self-signed certificate for `localhost` and its key, PEM: made on the spot, so that no key is kept anywhere."""
    key = ECC.generate(curve="P-256")

    def seq(*parts: bytes) -> bytes:
        return DerSequence(list(parts)).encode()

    def oid(dotted: str) -> bytes:
        return DerObjectId(dotted).encode()

    def extension(dotted: str, value: bytes, critical: bool = False) -> bytes:
        return seq(oid(dotted), *([DerBoolean(True).encode()] if critical else []), DerOctetString(value).encode())

    spki = key.public_key().export_key(format="DER")
    name = seq(DerSetOf([seq(oid("2.5.4.3"), b"\x0c\x09localhost")]).encode())
    dates = seq(b"\x17\x0d200101000000Z", b"\x17\x0d491231235959Z")
    algorithm = seq(oid("1.2.840.10045.4.3.2"))  # ecdsa-with-SHA256
    extensions = seq(
        extension("2.5.29.17", seq(b"\x82\x09localhost")),
        extension("2.5.29.19", seq(DerBoolean(True).encode()), critical=True),
        extension("2.5.29.15", b"\x03\x02\x01\x86", critical=True),
        extension("2.5.29.14", DerOctetString(SHA1.new(spki).digest()).encode()),
    )
    version, serial = b"\xa0\x03\x02\x01\x02", DerInteger(1).encode()
    wrapped = b"\xa3\x81" + bytes([len(extensions)]) if len(extensions) > 127 else b"\xa3" + bytes([len(extensions)])
    body = seq(version, serial, algorithm, name, dates, name, spki, wrapped + extensions)
    signature = DSS.new(key, "fips-186-3", encoding="der").sign(SHA256.new(body))
    certificate = seq(body, algorithm, DerBitString(signature).encode())
    return ssl.DER_cert_to_PEM_cert(certificate), key.export_key(format="PEM")


@pytest.fixture
def tls_server(tmp_path):
    certificate, key = _certificate()
    (tmp_path / "cert.pem").write_text(certificate, encoding="ascii")
    (tmp_path / "key.pem").write_text(key, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = WsServer(tls=context)
    yield server
    server.close()


def test_frames_come_over_tls(tls_server, start, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    _, inbox, _ = start(tls_server.url)
    conn = come_up(tls_server, inbox)
    words = [f"tick{i}" + "." * 200 for i in range(500)]  # several TLS records, several frames in each
    conn.send(*words)
    assert [expect(inbox, Frame).raw.decode() for _ in words] == words


def test_a_certificate_nobody_vouches_for_is_refused(tls_server, start):
    _, inbox, _ = start(tls_server.url)
    assert "CERTIFICATE_VERIFY_FAILED" in expect(inbox, StreamDown).error
