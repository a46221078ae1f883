"""The Hyperliquid stream on real sockets, against a scripted venue."""

import json
import logging
import queue
from decimal import Decimal as D

import pytest

from core.messages import Frame, OrderUpdate, StreamDown, StreamUp
from core.model import Trade
from hyperliquid_websocket import HyperliquidWebSocketClient
from runtime.clock import ManualClock, SystemClock
from runtime.stream import COMING
from tests.hyperliquid_frames import (
    FILL,
    FILLS,
    NOW,
    TRADES,
    UPDATES,
    USER,
    swap,
)
from tests.wsserver import WAIT_S, ListedVenue, WsServer, frame, trade, trades
from venues.hyperliquid.dialect import Timing


@pytest.fixture
def venue():
    return ListedVenue("BTC", "ETH")


@pytest.fixture
def server(venue):
    server = WsServer(venue)
    yield server
    server.close()


@pytest.fixture
def start(server, request):
    def _start(*coins, user=None, clock=None, **options):
        inbox: queue.Queue = queue.Queue()
        options = {"connect_spacing_s": 0.0, "poll_s": 0.02, "jitter": lambda: 0.5} | options
        client = HyperliquidWebSocketClient(server.url, coins, user, inbox, clock or ManualClock(NOW), **options)
        request.addfinalizer(client.stop)
        client.start()
        return client, inbox

    return _start


def wait_for(inbox, kind):
    """The next event of this kind; what comes before it is let go."""
    while not isinstance(event := inbox.get(timeout=WAIT_S), kind):
        pass
    return event


def prices(inbox, count):
    """The next `count` trade prices."""
    got = []
    while len(got) < count:
        got += [e.price for e in wait_for(inbox, Frame).events if isinstance(e, Trade)]
    return got


def test_prices_and_fills_of_a_day(server, venue, start, caplog):
    caplog.set_level(logging.INFO, "stream")
    venue.fills = [json.loads(FILL)]
    client, inbox = start("BTC", "ETH", user=USER, candles={"BTC": "1m"})
    assert wait_for(inbox, Frame).events[0].is_snapshot
    assert wait_for(inbox, StreamUp).subscriptions == 9
    conn = server.accept()
    conn.send_bytes(frame(TRADES) + frame(UPDATES) + frame(FILLS.replace(b"246814713305894", b"8")))
    assert wait_for(inbox, Frame).raw == TRADES
    assert isinstance(wait_for(inbox, Frame).events[0], OrderUpdate)
    assert not wait_for(inbox, Frame).events[0].is_snapshot
    status = client.status()
    assert (status.connected, status.subscriptions, status.reconnects, status.bad_frames) == (True, 9, 0, 0)
    assert any(m.endswith("Subscribed to WebSocket trades for BTC") for m in caplog.messages)
    assert sum("Subscribed to WebSocket" in m for m in caplog.messages) == 9
    assert USER not in caplog.text


def test_after_a_drop_all_is_asked_for_again_and_replays_are_dropped(server, venue, start):
    client, inbox = start("BTC", user=USER)
    wait_for(inbox, StreamUp)
    server_side = server.accept()
    server_side.send(trades(trade("BTC", 1, "100.0"), trade("BTC", 2, "101.0")))
    assert prices(inbox, 2) == [100, 101]
    first = list(venue.asked)
    server_side.drop()
    assert wait_for(inbox, StreamDown).attempt == 1
    wait_for(inbox, StreamUp)
    assert venue.asked[len(first) :] == first
    replay = trades(trade("BTC", 1, "100.0"), trade("BTC", 2, "101.0"), trade("BTC", 3, "102.0"))
    server.accept().send(replay, trades(trade("BTC", 2, "101.0")), trades(trade("BTC", 4, "103.0")))
    assert prices(inbox, 2) == [102, 103]
    assert client.status().reconnects == 1


def test_a_keen_stream_rouses_its_reader_before_it_reads(server, start):
    client, inbox = start("BTC")
    wait_for(inbox, StreamUp)
    conn = server.accept()
    conn.send(trades(trade("BTC", 1, "101.0")))
    assert type(inbox.get(timeout=WAIT_S)) is Frame, "nobody is in a hurry"
    client.stay_keen(True)
    conn.send(trades(trade("BTC", 2, "102.0")))  # after this one at the latest it has heard of it
    assert prices(inbox, 1) == [102]
    conn.send(trades(trade("BTC", 3, "103.0")))
    assert inbox.get(timeout=WAIT_S) is COMING
    assert prices(inbox, 1) == [103]


def test_noise_is_skipped_and_prices_go_on(server, start, caplog):
    client, inbox = start("BTC")
    conn = server.accept()
    conn.send("Websocket connection established.")
    wait_for(inbox, StreamUp)
    noise = [b"", b"not json", TRADES[:50], b'{"channel":"news","data":1}', swap(TRADES, b'"84143.0"', b'"-1"')]
    conn.send_bytes(b"".join(frame(n) for n in noise))
    conn.send({"channel": "error", "data": "too many pending post requests id=1234"})
    conn.send({"channel": "error", "data": f"Cannot track {USER}, more than 15 total users."})
    conn.send_bytes(frame(TRADES))
    assert prices(inbox, 1) == [D("84143.0")]
    assert client.status().bad_frames == len(noise)
    assert "too many pending" in caplog.text
    assert USER not in caplog.text


def test_an_unknown_coin_is_left_out_after_drops_and_the_others_live(server, start, caplog):
    """Two drops prove it; a third is needed when the first took the pong, the proof of life, with it."""
    client, inbox = start("NOPE", "BTC")
    assert wait_for(inbox, StreamUp).subscriptions == 3
    assert client.status().quarantined == ("activeAssetCtx for NOPE", "trades for NOPE", "bbo for NOPE")
    assert caplog.text.count("subscription_quarantined") == 1
    connections = [server.accept() for _ in range(server.connections.qsize())]
    assert len(connections) in (3, 4)
    connections[-1].send_bytes(frame(TRADES))
    assert prices(inbox, 1) == [D("84143.0")]


def test_a_coin_refused_by_an_error_frame_does_not_cost_the_socket(venue, start, caplog):
    venue.refused = {"NOPE"}
    _, inbox = start("NOPE", "BTC")
    assert wait_for(inbox, StreamUp).subscriptions == 3
    assert "subscription_refused name='trades for NOPE'" in caplog.text


FAST = Timing(quiet_s=0.1, mute_s=0.3, probe_s=0.1, answer_s=0.2)


def test_an_open_socket_that_says_nothing_is_replaced(server, start):
    _, inbox = start("BTC", timing=FAST)
    wait_for(inbox, StreamUp)
    server.accept().alive = False
    assert "mute: no frame" in wait_for(inbox, StreamDown).error
    assert wait_for(inbox, StreamUp)


def test_a_fill_stream_that_went_mute_is_replaced(server, venue, start):
    _, inbox = start("BTC", user=USER, timing=FAST)
    wait_for(inbox, StreamUp)
    conn = server.accept()
    for _ in range(4):  # it proves itself a few times
        while '"subscribe","subscription":{"type":"userFills"' not in conn.receive():
            pass
    venue.snapshots = False
    assert "the fill stream did not answer" in wait_for(inbox, StreamDown).error


def test_a_reconnect_asked_for_and_a_stop(server, start):
    client, inbox = start("BTC", clock=SystemClock())
    wait_for(inbox, StreamUp)
    client.reconnect("no price of BTC for 3s")
    assert "no price of BTC for 3s" in wait_for(inbox, StreamDown).error
    wait_for(inbox, StreamUp)
    client.stop()
    assert not client.is_alive()
    server.accept()
    assert server.accept().closed.wait(WAIT_S)


def test_an_unencrypted_address_elsewhere_is_refused():
    with pytest.raises(ValueError, match="wss"):
        HyperliquidWebSocketClient("ws://api.hyperliquid.xyz/ws", ["BTC"], None, queue.Queue(), ManualClock())
