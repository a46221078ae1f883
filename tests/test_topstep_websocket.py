"""Both TopstepX streams on real sockets, against a scripted hub: every wire case of page 4 and 3.5."""

import json
import logging
import queue
import socket
import time

import pytest

from core.messages import AccountUpdate, Frame, OrderUpdate, PositionUpdate, StreamDown, StreamUp
from core.model import Book, Fill, Quote, Trade
from runtime import journal
from runtime.clock import ManualClock, SystemClock
from runtime.venue import VenueUnavailable
from runtime.wire import BINARY, CONTINUATION, PING, PONG, TEXT
from tests.topstep_hub import (
    ACCOUNT,
    ACCOUNT_ROW,
    CONTRACTS,
    FILL_ROW,
    MGC,
    MNQ,
    NOW,
    ORDER_ROW,
    POSITION_ROW,
    RS,
    TOKEN,
    Hub,
    a_print,
    event,
    level,
    prints,
    quote,
    wrapped,
)
from tests.wsserver import WAIT_S, WsServer, frame
from topstep_websocket import (
    MARKET_STREAM,
    USER_STREAM,
    Timing,
    TopstepFrameReader,
    TopstepWebSocketClient,
    hub_url,
)


class Tokens:
    """token() and refresh_token(): a new one each time it is refreshed."""

    def __init__(self) -> None:
        self.refreshed = 0
        self.error: Exception | None = None

    def __call__(self) -> str:
        if self.error:
            error, self.error = self.error, None
            raise error
        return self.current

    @property
    def current(self) -> str:
        return f"{TOKEN}{self.refreshed}"

    def refresh(self) -> None:
        self.refreshed += 1


class Venue:
    """One hub on a real socket."""

    def __init__(self, path: str) -> None:
        self.hub = Hub()
        self.server = WsServer(self.hub)
        self.url = f"http://127.0.0.1:{self.server.port}/hubs/{path}"

    def accept(self):
        return self.server.accept()


@pytest.fixture
def tokens():
    return Tokens()


@pytest.fixture
def market():
    venue = Venue("market")
    yield venue
    venue.server.close()


@pytest.fixture
def user():
    venue = Venue("user")
    yield venue
    venue.server.close()


@pytest.fixture
def start(tokens, request):
    """start(market, user, ...) -> (client, inbox); ended after the test."""

    def _start(market, user=None, contracts=(MGC,), clock=None, **options):
        inbox: queue.Queue = queue.Queue()
        client = TopstepWebSocketClient(
            market and market.url,
            user and user.url,
            {c: CONTRACTS[c] for c in contracts},
            ACCOUNT,
            tokens,
            tokens.refresh,
            inbox,
            clock or ManualClock(NOW),
            **({"connect_spacing_s": 0.0, "poll_s": 0.02, "jitter": lambda: 0.5} | options),
        )
        request.addfinalizer(client.stop)
        client.start()
        return client, inbox

    return _start


def wait_for(inbox, kind):
    """The next event of this kind; what comes before it is let go."""
    while not isinstance(found := inbox.get(timeout=WAIT_S), kind):
        pass
    return found


def come_up(venue, inbox):
    conn = venue.accept()
    wait_for(inbox, StreamUp)
    return conn


def send(conn, *records: str) -> None:
    """Each record in a message of its own."""
    conn.send(*[record + RS for record in records])


def events(inbox, count):
    found = []
    while len(found) < count:
        found += wait_for(inbox, Frame).events
    return found


QUOTE = quote(bestBid=4100.0, bestAsk=4100.2)
PRINT = prints(a_print())


# --- a day in the life ------------------------------------------------------------------------------------------------


def test_prices_and_news_of_a_day(market, user, start, tokens, caplog):
    caplog.set_level(logging.DEBUG)
    client, inbox = start(market, user, [MGC, MNQ], depth=[MNQ])
    ups = {wait_for(inbox, StreamUp).stream: True, wait_for(inbox, StreamUp).stream: True}
    assert ups == {MARKET_STREAM: True, USER_STREAM: True}
    prices, news = market.accept(), user.accept()
    assert prices.path == f"/hubs/market?access_token={tokens.current}"
    assert news.path == f"/hubs/user?access_token={tokens.current}"
    send(prices, QUOTE, PRINT, event("GatewayDepth", MNQ, [level(4, 29547, 2)]))
    assert [type(e) for e in events(inbox, 3)] == [Quote, Trade, Book]
    send(
        news,
        wrapped("GatewayUserOrder", ORDER_ROW),
        wrapped("GatewayUserTrade", FILL_ROW, 0),
        wrapped("GatewayUserPosition", POSITION_ROW),
        wrapped("GatewayUserAccount", ACCOUNT_ROW),
    )
    assert [type(e) for e in events(inbox, 4)] == [OrderUpdate, Fill, PositionUpdate, AccountUpdate]
    status = client.status()
    assert (status.connected, status.subscriptions, status.reconnects, status.bad_frames) == (True, 9, 0, 0)
    assert {name: s.subscriptions for name, s in client.statuses().items()} == {MARKET_STREAM: 5, USER_STREAM: 4}
    assert sorted(user.hub.calls) == sorted(
        [("SubscribeAccounts", []), *((f"Subscribe{w}", [ACCOUNT]) for w in ("Orders", "Positions", "Trades"))]
    )
    assert any(m.endswith("Subscribed to WebSocket trades for MGC") for m in caplog.messages)
    assert any(m.endswith("WebSocket connected successfully") for m in caplog.messages)
    client.stop()
    assert not client.is_alive()
    assert not client.status().connected
    assert TOKEN not in caplog.text
    assert str(ACCOUNT) not in caplog.text


@pytest.mark.parametrize("which", ["market", "user"])
def test_one_hub_can_be_left_out(request, start, which):
    venue = request.getfixturevalue(which)
    client, inbox = start(venue, None) if which == "market" else start(None, venue)
    assert wait_for(inbox, StreamUp).stream == f"topstepx-{which}"
    assert list(client.statuses()) == [f"topstepx-{which}"]
    assert client.status().connected
    client.watch([MNQ])
    client.stay_keen(True)


def test_what_is_journalled_is_read_again_and_holds_no_token(market, user, start, tokens):
    _, inbox = start(market, user)
    wait_for(inbox, StreamUp), wait_for(inbox, StreamUp)
    prices, news = market.accept(), user.accept()
    send(prices, QUOTE, quote(updated="2026-08-19T20:51:32Z", bestBid=4100.1), PRINT, quote(updated="", volume=7))
    send(prices, event("GatewayLogout", tokens.current), event("GatewayQuote", MNQ, {"bestBid": tokens.current}))
    send(news, wrapped("GatewayUserTrade", FILL_ROW), wrapped("GatewayUserPosition", POSITION_ROW))
    frames = [wait_for(inbox, Frame) for _ in range(6)]
    reader = TopstepFrameReader(ACCOUNT, {MGC: "MGC"})
    for heard in frames:
        line = journal.frame_line(heard)
        assert TOKEN.encode() not in line
        record = journal.decode_line(line)
        assert reader.read(bytes(record.frame), record.ms) == heard.events
        fresh = TopstepFrameReader(ACCOUNT, {MGC: "MGC"})
        assert fresh.read(bytes(record.frame), record.ms) == heard.events  # from anywhere


# --- the wire ---------------------------------------------------------------------------------------------------------


def test_several_records_in_one_message(market, start):
    _, inbox = start(market)
    conn = come_up(market, inbox)
    conn.send(QUOTE + RS + PRINT + RS + '{"type":6}' + RS + PRINT + RS)
    frames = [wait_for(inbox, Frame) for _ in range(3)]
    assert [type(f.events[0]) for f in frames] == [Quote, Trade, Trade]
    assert [f.raw.decode() for f in frames[1:]] == [PRINT, PRINT]  # a record each, so that each is a journal line


def test_a_record_cut_over_messages(market, start):
    _, inbox = start(market)
    conn = come_up(market, inbox)
    text = PRINT + RS + QUOTE + RS
    for cut in (1, 40, len(PRINT), len(PRINT) + 1, len(text) - 1):
        conn.send(text[:cut], text[cut:])
        assert [type(e) for e in events(inbox, 2)] == [Trade, Quote]
    conn.send(*text)  # one character each
    assert [type(e) for e in events(inbox, 2)] == [Trade, Quote]


def test_half_a_record_does_not_reach_into_the_next_connection(market, start):
    _, inbox = start(market)
    conn = come_up(market, inbox)
    conn.send(PRINT[:50])
    conn.drop()
    wait_for(inbox, StreamDown)
    send(come_up(market, inbox), PRINT)
    assert isinstance(events(inbox, 1)[0], Trade)


def test_fragments_around_a_ping(market, start):
    _, inbox = start(market)
    conn = come_up(market, inbox)
    data = (PRINT + RS).encode()
    fragments = [frame(data[:20], TEXT, final=False), frame(b"there?", PING), frame(data[20:], CONTINUATION)]
    conn.send_bytes(b"".join(fragments))
    assert isinstance(events(inbox, 1)[0], Trade)
    while (control := conn.controls.get(timeout=WAIT_S))[0] != PONG:
        pass  # pings of our own
    assert control[1] == b"there?"


def test_the_handshakes_answer_may_share_its_message(market, start):
    market.hub.handshake = "{}" + RS + PRINT
    _, inbox = start(market)
    assert isinstance(wait_for(inbox, Frame).events[0], Trade)  # before anything is subscribed: data is data
    wait_for(inbox, StreamUp)


def test_large_records(market, start):
    _, inbox = start(market, depth=[MGC])
    conn = come_up(market, inbox)
    rows = [level(1, 5000 + i, 1, note="x" * 100) for i in range(8_000)]
    send(conn, event("GatewayDepth", MGC, rows))  # above 1 MiB
    assert isinstance(events(inbox, 1)[0], Book)


def test_noise_is_counted_and_prices_go_on(market, start, caplog):
    client, inbox = start(market)
    conn = come_up(market, inbox)
    noise = [
        "", "not json", PRINT[:50], "[]", "{}", '{"type":"1"}', event("GatewayNews", 1), quote(MNQ, bestBid=1),
        prints(a_print(-1)), event("GatewayTrade", MGC, None), '{"type":1,"target":"GatewayTrade"}',
    ]  # fmt: skip
    send(conn, *noise)
    conn.send_bytes(frame(b"\xff\xfe\x1e", BINARY))
    send(conn, '{"type":42}', '{"type":8,"sequenceId":1}', '{"type":3,"invocationId":"77","error":"late"}', PRINT)
    assert wait_for(inbox, Frame).raw.decode() == PRINT
    assert client.status().bad_frames == len(noise) + 1
    kinds = {m.split("kind=")[1].split()[0] for m in caplog.messages if m.startswith("bad_frame")}
    assert kinds == {"truncated", "not_json", "wrong_type", "unknown_target", "not_asked_for", "bad_number"}


def test_pings_go_out_and_none_come_back(market, start):
    client, inbox = start(market, timing=Timing(ping_s=0.05, server_s=0.3))
    conn = come_up(market, inbox)
    for _ in range(5):
        while json.loads(conn.receive().rstrip(RS)) != {"type": 6}:
            pass
        send(conn, '{"type":6}')
    assert "no record" in wait_for(inbox, StreamDown).error  # the venue says nothing more
    come_up(market, inbox)
    assert client.status().reconnects == 1


# --- the end of connections, and new ones -----------------------------------------------------------------------------


CLOSES = [
    '{"type":7,"error":"Connection closed with an error.","allowReconnect":true}',
    '{"type":7,"allowReconnect":true}',
    '{"type":7}',
    '{"type":7,"error":"Connection closed with an error."}',
]


@pytest.mark.parametrize("record, refreshed", [*zip(CLOSES, [0, 0, 1, 1], strict=True)])
def test_after_a_close_all_is_asked_for_again(market, start, tokens, record, refreshed):
    clock = ManualClock(NOW)
    client, inbox = start(market, clock=clock)
    conn = come_up(market, inbox)
    send(conn, QUOTE)
    first = list(market.hub.calls)
    send(conn, record)
    down = wait_for(inbox, StreamDown)
    assert (down.stream, down.attempt, down.retry_s) == (MARKET_STREAM, 1, 5.0)
    assert down.error.startswith("Closed: the hub closed: ")
    conn = come_up(market, inbox)
    assert market.hub.calls[len(first) :] == first
    assert conn.path.endswith(tokens.current)
    assert tokens.refreshed == refreshed
    send(conn, quote(bestAsk=4100.5))
    assert events(inbox, 1)[0].bid is None  # what the last connection told is no longer known
    assert client.status().reconnects == 1


@pytest.mark.parametrize("how", ["close", "drop", "record"])
@pytest.mark.parametrize("which, record", [("market", QUOTE), ("user", wrapped("GatewayUserAccount", ACCOUNT_ROW))])
def test_seventeen_closes_in_a_row_come_back(request, start, which, record, how):
    """As one recorded day had them (page 3.5), with data or without.

    One hub at a time: the pauses of either move the manual clock, which the other would take for a machine that slept.
    """
    venue = request.getfixturevalue(which)
    client, inbox = start(venue, None) if which == "market" else start(None, venue)
    for turn in range(17):
        conn = venue.accept()
        if turn % 2:
            send(conn, record)
        if how == "close":
            conn.close(1011, b"restart")
        elif how == "drop":
            conn.drop()
        else:
            send(conn, CLOSES[turn % len(CLOSES)])
    conn = venue.accept()
    deadline_s = time.monotonic() + WAIT_S
    while not client.status().connected:
        wait_for(inbox, (StreamUp, StreamDown))
        assert time.monotonic() < deadline_s
    send(conn, record)
    assert isinstance(wait_for(inbox, Frame).events[0], Quote | AccountUpdate)
    assert client.status().quarantined == ()
    assert client.is_alive()


def answer_http(server, head: bytes, paths: list[bytes], times: int = 1):
    """Answer the next upgrades with these bytes; their request lines are kept in `paths`."""
    left = [times]

    def on_tcp(sock: socket.socket) -> bool:
        if not left[0]:
            return False
        left[0] -= 1
        paths.append(sock.recv(65_536).split(b"\r\n")[0])
        sock.sendall(head)
        sock.close()
        return True

    server.on_tcp = on_tcp


UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"


def test_a_401_on_upgrade_logs_in_again(market, start, tokens, caplog):
    caplog.set_level(logging.DEBUG)
    paths: list[bytes] = []
    answer_http(market.server, UNAUTHORIZED, paths, times=3)
    clock = ManualClock(NOW)
    _, inbox = start(market, clock=clock)
    downs = [wait_for(inbox, StreamDown) for _ in range(3)]
    assert all("HTTP 401" in d.error for d in downs)
    conn = come_up(market, inbox)
    used = [p.split(b"access_token=")[1].split()[0].decode() for p in paths]
    assert used == [f"{TOKEN}{i}" for i in range(3)]
    assert conn.path.endswith(f"{TOKEN}3")
    assert clock.waits == [5.0, 10.0, 20.0]  # no hammering
    assert TOKEN not in caplog.text + "".join(d.error for d in downs)


@pytest.mark.parametrize("status", [b"404 Not Found", b"429 Too Many Requests", b"502 Bad Gateway", b"503 Unavailable"])
def test_other_refusals_keep_the_token(market, start, tokens, status):
    answer_http(market.server, b"HTTP/1.1 " + status + b"\r\n\r\n", [], times=2)
    _, inbox = start(market)
    wait_for(inbox, StreamDown)
    come_up(market, inbox)
    assert tokens.refreshed == 0


def test_a_login_that_fails_is_tried_again(market, start, tokens):
    tokens.error = VenueUnavailable("Auth/loginKey: timed out")
    _, inbox = start(market)
    assert "Auth/loginKey: timed out" in wait_for(inbox, StreamDown).error
    come_up(market, inbox)


def test_a_refused_handshake_is_tried_again(market, start):
    market.hub.handshake = '{"error":"Handshake was canceled."}'
    _, inbox = start(market)
    assert "Handshake was canceled." in wait_for(inbox, StreamDown).error
    market.hub.handshake = "{}"
    wait_for(inbox, StreamUp)


def test_a_handshake_without_an_answer(market, start):
    market.hub.handshake = ""
    _, inbox = start(market, timing=Timing(handshake_s=0.1))
    assert "handshake" in wait_for(inbox, StreamDown).error
    market.hub.handshake = "{}"
    wait_for(inbox, StreamUp)


def test_calls_without_answers(user, start):
    user.hub.silent = {"SubscribeTrades"}
    client, inbox = start(None, user, timing=Timing(answer_s=0.05, retry_s=0.05))
    assert "fills: no answer" in wait_for(inbox, StreamDown).error
    assert user.hub.calls.count(("SubscribeTrades", [ACCOUNT])) == 2
    user.hub.silent = set()
    wait_for(inbox, StreamUp)
    assert client.status().connected


def test_a_refused_contract_does_not_cost_the_others(market, start, caplog):
    market.hub.errors = {"SubscribeContractMarketDepth": "HubException: Method does not exist."}
    client, inbox = start(market, depth=[MGC], timing=Timing(retry_s=0.02))
    assert wait_for(inbox, StreamUp).subscriptions == 2
    assert client.status().quarantined == ("depth for MGC",)
    assert "subscription_refused name='depth for MGC'" in caplog.text


def test_a_close_frame_that_repeats_our_token(market, start, tokens, caplog):
    caplog.set_level(logging.DEBUG)
    _, inbox = start(market)
    conn = come_up(market, inbox)
    conn.close(1008, f"bad {tokens.current}".encode())
    down = wait_for(inbox, StreamDown)
    assert "1008" in down.error
    assert tokens.current not in down.error + caplog.text


# --- silence ----------------------------------------------------------------------------------------------------------


def test_a_silent_market_is_asked_again_then_connected_anew(market, start):
    timing = Timing(market_s_first=1.0, market_s=1.0, repair_s=0.5)
    _, inbox = start(market, timing=timing)
    conn = come_up(market, inbox)
    send(conn, PRINT)
    down = wait_for(inbox, StreamDown)
    assert "MGC is silent" in down.error
    assert down.retry_s == 0.0  # it was of use: at once
    assert ("UnsubscribeContractQuotes", [MGC]) in market.hub.calls
    assert market.hub.calls.count(("SubscribeContractQuotes", [MGC])) == 2
    come_up(market, inbox)


def test_a_socket_whose_pings_are_no_longer_answered(user, start):
    client, inbox = start(None, user, timing=Timing(beat_s=0.05, beaten_s=0.2))
    conn = come_up(user, inbox)
    while conn.controls.get(timeout=WAIT_S)[0] != PING:  # a venue that never answers one is not held to it
        pass
    assert conn.controls.get(timeout=WAIT_S)[0] == PING
    conn.send_bytes(frame(b"", PONG))
    assert "WebSocket ping" in wait_for(inbox, StreamDown).error
    come_up(user, inbox)
    assert client.status().reconnects == 1


# --- requests from other threads --------------------------------------------------------------------------------------


def test_watch_brings_more_prices(market, start):
    client, inbox = start(market)
    conn = come_up(market, inbox)
    client.watch(["CON.F.US.ENQ.Z26", MGC])
    wanted = [("SubscribeContractQuotes", ["CON.F.US.ENQ.Z26"]), ("SubscribeContractTrades", ["CON.F.US.ENQ.Z26"])]
    while '"SubscribeContractTrades","arguments":["CON.F.US.ENQ' not in conn.receive():
        pass
    assert market.hub.calls[2:] == wanted
    send(conn, prints(a_print(), contract="CON.F.US.ENQ.Z26"))
    assert events(inbox, 1)[0].symbol == "NQ"
    conn.drop()
    wait_for(inbox, StreamDown)
    come_up(market, inbox)
    assert market.hub.calls[-2:] == wanted


def test_a_reconnect_asked_for_is_for_both_or_for_one(market, user, start):
    client, inbox = start(market, user, clock=SystemClock(), reconnect_interval=0.01)
    wait_for(inbox, StreamUp), wait_for(inbox, StreamUp)
    client.reconnect("fills are missing")
    assert {wait_for(inbox, StreamDown).stream for _ in range(2)} == {MARKET_STREAM, USER_STREAM}
    wait_for(inbox, StreamUp), wait_for(inbox, StreamUp)
    client.reconnect("prices are stale", MARKET_STREAM)
    assert wait_for(inbox, StreamDown).stream == MARKET_STREAM
    wait_for(inbox, StreamUp)
    assert {name: s.reconnects for name, s in client.statuses().items()} == {MARKET_STREAM: 2, USER_STREAM: 1}


def test_a_keen_stream_reads_on(market, start):
    client, inbox = start(market)
    conn = come_up(market, inbox)
    client.stay_keen(True)
    for i in range(20):
        send(conn, quote(updated=f"2026-08-19T20:52:{i:02}Z", bestBid=4100 + i, bestAsk=4200))
        assert events(inbox, 1)[0].bid == 4100 + i


def test_stop_ends_both_side_by_side_also_without_a_venue(start, market, user):
    market.server.close()
    user.server.close()
    client, inbox = start(market, user, clock=SystemClock(), reconnect_interval=60.0)
    wait_for(inbox, StreamDown), wait_for(inbox, StreamDown)
    began_s = time.monotonic()
    client.stop()
    assert not client.is_alive()
    assert time.monotonic() - began_s < 2.0


def test_a_quiet_user_hub_that_stays_up_was_of_use(user, start, monkeypatch):
    """Nothing ever happens on it: its failures must not add up over the day."""
    monkeypatch.setattr("runtime.stream.SETTLED_S", 0.0)
    client, inbox = start(None, user)
    for _ in range(12):
        conn = come_up(user, inbox)
        deadline_s = time.monotonic() + WAIT_S
        while client.status().attempt and time.monotonic() < deadline_s:
            time.sleep(0.001)
        conn.drop()
        assert wait_for(inbox, StreamDown).attempt == 1


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, address",
    [
        ("https://rtc.topstepx.com/hubs/market", "wss://rtc.topstepx.com/hubs/market"),
        ("wss://rtc.topstepx.com/hubs/user", "wss://rtc.topstepx.com/hubs/user"),
        ("http://127.0.0.1:9000/hubs/user", "ws://127.0.0.1:9000/hubs/user"),
        ("ws://localhost:9000/hubs/user", "ws://localhost:9000/hubs/user"),
    ],
)
def test_hub_urls(url, address):
    assert hub_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://rtc.topstepx.com/hubs/market",
        "ws://rtc.topstepx.com/hubs/market",
        "ftp://rtc.topstepx.com",
        "rtc.topstepx.com/hubs/market",
        "https://",
        "https://rtc.topstepx.com/hubs/market?access_token=geheim",
        "https://user:geheim@rtc.topstepx.com/hubs/market",
    ],
)
def test_bad_hub_urls_are_refused_without_their_secrets(url, start, tokens):
    with pytest.raises(ValueError) as e:
        TopstepWebSocketClient(url, None, CONTRACTS, ACCOUNT, tokens, tokens.refresh, queue.Queue(), ManualClock())
    assert "geheim" not in str(e.value)
