"""The socket of the simulated venue: protocol page 1."""

import json
import time

import pytest

from core.model import Side
from sim.server import SimServer
from tests.sim.conftest import USER, Socket, limit


def ack(**subscription):
    data = {"method": "subscribe", "subscription": subscription}
    return {"channel": "subscriptionResponse", "data": data}


def test_the_acknowledgement_comes_first_and_is_normalised(connect):
    ws = connect()
    ws.subscribe(type="l2Book", coin="BTC")
    assert ws.next() == ack(type="l2Book", coin="BTC", nSigFigs=None, mantissa=None, fast=False)
    book = ws.next()
    assert book["channel"] == "l2Book" and [len(side) for side in book["data"]["levels"]] == [20, 20]
    ws.subscribe(type="l2Book", coin="BTC", fast=True)
    assert ws.next()["data"]["subscription"]["fast"] is True
    fast = ws.next()["data"]
    assert fast["fast"] is True and [len(side) for side in fast["levels"]] == [5, 5]
    ws.subscribe(type="userFills", user=USER.upper().replace("0X", "0x"))
    assert ws.next() == ack(type="userFills", user=USER, aggregateByTime=False)


def test_trades_replay_on_subscribe_then_live(connect, sim):
    sim.trade("BTC", "50010", "0.5", Side.SELL)
    ws = connect()
    ws.subscribe(type="trades", coin="BTC")
    assert ws.next() == ack(type="trades", coin="BTC")
    replay = ws.next()["data"]
    assert replay[-1]["px"] == "50010.0" and replay[-1]["side"] == "A"
    assert [t["time"] for t in replay] == sorted(t["time"] for t in replay)
    sim.trade("BTC", "50020", "0.25")
    (trade,) = ws.next()["data"]
    assert (trade["px"], trade["sz"], trade["side"]) == ("50020.0", "0.25", "B")
    assert trade["tid"] not in [t["tid"] for t in replay] and trade["tid"] < 1 << 50


def test_fills_snapshot_then_live_without_the_flag(connect, sim):
    sim.deal(USER, "BTC", Side.BUY, "0.1", "50000")
    ws = connect()
    ws.subscribe(type="userFills", user=USER)
    ws.next()
    snapshot = ws.next()["data"]
    assert snapshot["isSnapshot"] is True and [f["dir"] for f in snapshot["fills"]] == ["Open Long"]
    sim.deal(USER, "BTC", Side.SELL, "0.3", "50100")
    live = ws.next()["data"]
    assert "isSnapshot" not in live
    assert [(f["dir"], f["closedPnl"]) for f in live["fills"]] == [("Long > Short", "10.0")]


def test_user_channels_have_no_snapshot(connect, sim, venue):
    ws = connect()
    ws.subscribe(type="orderUpdates", user=USER)
    ws.subscribe(type="userEvents", user=USER)
    assert [ws.next()["channel"] for _ in range(2)] == ["subscriptionResponse"] * 2
    venue.order(limit(price="50001", tif="Ioc", cloid="0x" + "0" * 31 + "1"))
    assert list(ws.until("user")["data"]) == ["fills"]
    (update,) = ws.until("orderUpdates")["data"]
    assert update["status"] == "filled" and update["order"]["cloid"].endswith("1") and update["order"]["sz"] == "0.0"
    assert "reduceOnly" not in update["order"]
    sim.settle_funding()
    assert ws.until("user")["data"]["funding"]["coin"] == "BTC"


def test_state_channels_send_at_once(connect, sim):
    ws = connect()
    for kind, key in (
        ("clearinghouseState", "clearinghouseState"),
        ("openOrders", "orders"),
        ("webData3", "userState"),
    ):
        ws.subscribe(type=kind, user=USER)
        assert ws.next()["channel"] == "subscriptionResponse"
        assert key in ws.next()["data"]
    ws.subscribe(type="activeAssetCtx", coin="BTC")
    assert ws.until("activeAssetCtx")["data"]["ctx"]["markPx"] == "50000.0"
    ws.subscribe(type="allMids")
    assert ws.until("allMids")["data"]["mids"]["ETH"] == "2500.0"


def test_bbo_only_when_the_best_changes(connect, sim):
    ws = connect()
    ws.subscribe(type="bbo", coin="BTC")
    assert ws.until("bbo")["data"]["bbo"][0]["px"] == "49999.0"
    sim.set_book("BTC", [("50000", 1)], [("50001", 1)])
    assert ws.until("bbo")["data"]["bbo"][0] == {"px": "50000.0", "sz": "1.0", "n": 8}
    sim.trade("BTC", "50000", "0.1")
    sim.set_book("BTC", [], [("50001", 1)])
    assert ws.next()["data"]["bbo"][0] is None  # the trade before it changed nothing


def test_contexts_come_on_their_own_clock_without_trades():
    with SimServer(context_s=0.05) as sim:
        ws = Socket(sim)
        ws.subscribe(type="activeAssetCtx", coin="BTC")
        assert [ws.until("activeAssetCtx")["data"]["coin"] for _ in range(3)] == ["BTC"] * 3
        ws.ws.shutdown()


def test_candles_follow_trades(connect, sim):
    ws = connect()
    ws.subscribe(type="candle", coin="BTC", interval="1m")
    ws.until("candle")
    sim.trade("BTC", "51234", "0.5")
    candle = ws.until("candle")["data"]
    assert (candle["c"], candle["s"], candle["i"]) == ("51234.0", "BTC", "1m") and candle["T"] - candle["t"] == 59_999


def test_json_pong_has_no_data(connect):
    ws = connect()
    ws.send({"method": "ping"})
    assert ws.next() == {"channel": "pong"}


def test_doubled_and_missing_subscriptions(connect, sim):
    ws = connect()
    ws.subscribe(type="activeAssetCtx", coin="BTC")
    ws.until("activeAssetCtx")
    ws.subscribe(type="activeAssetCtx", coin="BTC")
    assert ws.next() == {"channel": "error", "data": 'Already subscribed: {"type":"activeAssetCtx","coin":"BTC"}'}
    ws.send({"method": "unsubscribe", "subscription": {"type": "activeAssetCtx", "coin": "BTC"}})
    assert ws.next()["data"]["method"] == "unsubscribe"
    ws.send({"method": "unsubscribe", "subscription": {"type": "activeAssetCtx", "coin": "BTC"}})
    assert ws.next() == {"channel": "error", "data": 'Already unsubscribed: {"type":"activeAssetCtx","coin":"BTC"}'}


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "[]",
        '{"method":"nope"}',
        '{"method":"subscribe"}',
        '{"method":"subscribe","subscription":{"type":"nope"}}',
        '{"method":"subscribe","subscription":{"type":"bbo","coin":["BTC","ETH"]}}',
        '{"method":"subscribe","subscription":{"type":"candle","coin":"BTC","interval":"2m"}}',
        '{"method":"subscribe","subscription":{"type":"userFills","user":"0x12"}}',
        '{"method":"post","request":{"type":"info","payload":{"type":"meta"}}}',
    ],
)
def test_what_cannot_be_read_gets_an_error_and_the_socket_stays(connect, text):
    ws = connect()
    ws.send(text)
    assert ws.next() == {"channel": "error", "data": f"Error parsing JSON into valid websocket request: {text}"}
    ws.send({"method": "ping"})
    assert ws.next() == {"channel": "pong"}


@pytest.mark.parametrize(
    "subscription",
    [
        {"type": "trades", "coin": "NOPE"},
        {"type": "trades", "coin": "btc"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 6},
        {"type": "l2Book", "coin": "BTC", "mantissa": 2},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 5, "mantissa": 3},
    ],
)
def test_a_wrong_coin_cuts_the_connection_without_a_close_frame(connect, subscription):
    ws = connect()
    ws.subscribe(**subscription)
    assert ws.is_cut()


def test_a_wrong_coin_may_also_be_answered_or_ignored(connect, sim):
    ws = connect()
    sim.fault("unknown_coin", how="error")
    ws.subscribe(type="trades", coin="NOPE")
    assert ws.next()["data"] == 'Invalid subscription {"type":"trades","coin":"NOPE"}'
    sim.fault("unknown_coin", how="silent")
    ws.subscribe(type="trades", coin="NOPE")
    assert ws.next() == ack(type="trades", coin="NOPE")


def test_a_delisted_coin_is_acknowledged_and_empty(connect):
    ws = connect()
    ws.subscribe(type="l2Book", coin="MATIC")
    assert ws.next()["channel"] == "subscriptionResponse"
    assert ws.next()["data"]["levels"] == [[], []]
    ws.subscribe(type="activeAssetCtx", coin="MATIC")
    assert ws.until("activeAssetCtx")["data"]["ctx"]["midPx"] is None


def test_silence_of_the_server_ends_the_connection():
    with SimServer(silence_s=0.4, context_s=30.0) as sim:
        quiet, pinging = Socket(sim), Socket(sim)
        start = time.monotonic()
        while time.monotonic() - start < 0.7:
            pinging.send({"method": "ping"})
            assert pinging.next() == {"channel": "pong"}  # the pong is what keeps it
        assert quiet.is_cut()
        pinging.send({"method": "ping"})
        assert pinging.next() == {"channel": "pong"}
        pinging.ws.shutdown()


def test_distinct_users_are_limited(connect, sim):
    ws = connect()
    for i in range(10):
        ws.subscribe(type="orderUpdates", user=f"0x{i:040x}")
        assert ws.next()["channel"] == "subscriptionResponse"
    ws.subscribe(type="orderUpdates", user=f"0x{10:040x}")
    assert ws.next() == {"channel": "error", "data": "Cannot track more than 10 total users."}
    ws.subscribe(type="userFills", user=f"0x{9:040x}")  # known already
    assert ws.next()["channel"] == "subscriptionResponse"


def test_post_requests(connect, venue):
    ws = connect()
    ws.send({"method": "post", "id": 1, "request": {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}})
    data = ws.next()["data"]
    assert data["id"] == 1 and data["response"]["payload"]["data"]["coin"] == "BTC"
    ws.send({"method": "post", "id": 2, "request": {"type": "info", "payload": {"type": "l2Book", "coin": "NOPE"}}})
    assert ws.next()["data"]["response"] == {"type": "info", "payload": {"type": "l2Book", "data": None}}
    body = venue.body({"type": "order", "orders": [limit()], "grouping": "na"})
    ws.send({"method": "post", "id": 3, "request": {"type": "action", "payload": body}})
    response = ws.next()["data"]["response"]
    assert response["type"] == "action" and "resting" in response["payload"]["response"]["data"]["statuses"][0]
    ws.send({"method": "post", "id": 4, "request": {"type": "action", "payload": {}}})
    assert ws.next()["data"]["response"]["type"] == "error"


def test_connections_are_limited_when_asked():
    with SimServer(limits=True) as sim:
        opened = [Socket(sim) for _ in range(10)]
        with pytest.raises(Exception, match="429"):
            Socket(sim)
        for ws in opened:
            ws.ws.shutdown()


# --- faults ---------------------------------------------------------------------------------------------------------


def test_drop_and_refuse(connect, sim):
    ws = connect()
    sim.wait_until(lambda: sim.counters()["sockets_open"] == 1)
    sim.fault("refuse_sockets", times=1)
    sim.drop_connections()
    assert ws.is_cut()
    with pytest.raises(Exception, match="503"):
        connect()
    connect().send({"method": "ping"})


def test_stall_is_a_socket_that_lives_and_says_nothing(connect, sim):
    ws = connect()
    ws.subscribe(type="trades", coin="BTC")
    ws.until("trades")
    sim.fault("stall", channel="trades")
    sim.trade("BTC", "50001")
    ws.send({"method": "ping"})
    assert ws.next() == {"channel": "pong"}  # only trades are mute
    sim.fault("stall")
    ws.send({"method": "ping"})
    sim.trade("BTC", "50002")
    sim.clear_fault()
    sim.trade("BTC", "50003")
    assert ws.next()["data"][0]["px"] == "50003.0"
    assert sim.counters()["faults_struck"]["stall"] >= 2


def test_doubled_reordered_late_and_raw_frames(connect, sim):
    ws = connect()
    ws.subscribe(type="trades", coin="BTC")
    ws.until("trades")
    sim.fault("duplicate_frames", times=1)
    sim.trade("BTC", "50001")
    assert ws.next() == ws.next()
    sim.fault("reorder_frames", times=2)
    sim.trade("BTC", "50002")
    sim.trade("BTC", "50003")
    assert [ws.next()["data"][0]["px"] for _ in range(2)] == ["50003.0", "50002.0"]
    sim.fault("delay_frames", times=1, ms=80)
    sim.trade("BTC", "50004")
    sim.trade("BTC", "50005")
    assert [ws.next()["data"][0]["px"] for _ in range(2)] == ["50005.0", "50004.0"]
    sim.fault("raw_frame", text='{"channel":"trades","data":[{"coin":"B')
    assert ws.ws.recv() == '{"channel":"trades","data":[{"coin":"B'


def test_delayed_data_and_greeting(connect, sim):
    sim.fault("delayed_data", ms=900_000)
    sim.fault("greeting", times=1)
    ws = connect()
    assert ws.ws.recv() == "Websocket connection established."
    ws.subscribe(type="trades", coin="BTC")
    age_ms = time.time() * 1000 - ws.until("trades")["data"][-1]["time"]
    assert 890_000 < age_ms < 930_000


def test_fills_may_come_long_before_the_answer(connect, sim, venue):
    ws = connect()
    ws.subscribe(type="userFills", user=USER)
    ws.until("userFills")
    sim.fault("fill_before_ack", ms=150)
    body = json.dumps(venue.body({"type": "order", "orders": [limit(price="50001", tif="Ioc")], "grouping": "na"}))
    import threading

    answered = threading.Event()

    def post():
        venue.session.post(sim.url + "/exchange", data=body, headers={"Content-Type": "application/json"}, timeout=5)
        answered.set()

    thread = threading.Thread(target=post)
    thread.start()
    assert ws.until("userFills")["data"]["fills"] and not answered.is_set()
    thread.join(5)
    assert answered.is_set()
