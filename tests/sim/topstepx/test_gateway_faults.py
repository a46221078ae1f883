"""Each switch of the fault list at the end of protocol page 8, on the wire."""

import json
import time
from datetime import UTC, datetime

import pytest
import requests
import websocket

from sim.faults import FAULTS, INSTANT
from tests.sim.topstepx.conftest import Hub

PLACE = {"action": "Order/place"}


def market_order(user, **fields):
    body = {"accountId": user.account, "contractId": user.sim.contract("MGC"), "type": 2, "side": 0, "size": 1}
    return user.post("Order/place", body | fields)


def listen(connect, sim, *topics):
    hub = connect()
    for topic in topics or ("Trades",):
        hub.subscribe(f"SubscribeContract{topic}", sim.contract("MGC"))
    return hub


def age_s(text):
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


# --- REST -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["drop_answer", "slow_answer"])
def test_a_timeout_after_the_order_was_accepted(user, name):
    user.sim.fault(name, times=1, ms=5_000, **PLACE)
    with pytest.raises(requests.RequestException):
        user.session.post(
            f"{user.sim.url}/api/Order/place",
            json={"accountId": user.account, "contractId": user.sim.contract("MGC"), "type": 2, "side": 0, "size": 1},
            timeout=0.3,
        )
    user.sim.wait_until(lambda: user.sim.position("MGC") == 1)
    assert len(user.sim.received("Order/place")) == 1


def test_a_request_that_never_arrives(user):
    user.sim.fault("lost_request", times=1, **PLACE)
    with pytest.raises(requests.ConnectionError):
        market_order(user)
    assert user.sim.history() == []


def test_a_reset_and_the_order_later(user):
    user.sim.fault("late_order", times=1, ms=100, **PLACE)
    with pytest.raises(requests.ConnectionError):
        market_order(user)
    assert user.sim.history() == []
    user.sim.wait_until(lambda: user.sim.position("MGC") == 1)


@pytest.mark.parametrize(
    "name, args, status, executed",
    [
        ("http_429", {}, 429, False),
        ("http_error", {"status": 500}, 500, False),
        ("http_error", {"status": 502}, 502, False),
        ("error_answer", {"status": 500}, 500, True),
        ("html_200", {}, 200, False),
        ("empty_body", {}, 200, False),
        ("partial_json", {}, 200, True),
    ],
)
def test_answers_that_are_none(user, name, args, status, executed):
    user.sim.fault(name, times=1, **args, **PLACE)
    answer = market_order(user)
    assert answer.status_code == status
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)
    assert bool(user.sim.history()) is executed
    assert market_order(user).json()["success"]  # once only


def test_retry_after(user):
    user.sim.fault("http_429", times=1, retry_after=7, path="/api/Account/search")
    assert user.ask("Order/searchOpen")["success"]
    assert user.post("Account/search", {"onlyActiveAccounts": True}).headers["Retry-After"] == "7"


@pytest.mark.parametrize("message", ["No.", None])
def test_success_false(user, message):
    user.sim.fault("refuse", times=1, code=7, message=message, **PLACE)
    assert market_order(user).json() == {"success": False, "errorCode": 7, "errorMessage": message}
    user.sim.fault("reject", times=1, error=message, code=3, coin="MGC")
    answer = market_order(user).json()
    assert (answer["errorCode"], answer["errorMessage"], user.status(answer["orderId"])) == (3, message, 5)


def test_extra_fields_and_null_payloads(user, events):
    user.sim.fault("extra_fields")
    assert market_order(user).json()["someNewField"]
    assert "someNewField" in events.until("GatewayUserOrder")[0]["data"]
    assert "someNewField" in user.ask("Order/search", startTimestamp="2020-01-01T00:00:00Z")["orders"][0]
    user.sim.clear_fault()
    user.sim.fault("null_payload", times=1, action="Account/search")
    answer = user.call("Account/search", onlyActiveAccounts=True)
    assert answer == {"accounts": None, "success": True, "errorCode": 0, "errorMessage": None}


def test_an_order_that_is_pending(user):
    user.sim.fault("pending", times=1, **PLACE)
    assert market_order(user).json() == {"success": False, "errorCode": 6, "errorMessage": None}
    user.sim.wait_until(lambda: user.sim.position("MGC") == 1)


def test_an_unknown_status_in_an_answer(user):
    order = market_order(user).json()["orderId"]
    user.sim.fault("unknown_enum", times=1, action="Order/searchById", field="status")
    assert [user.status(order), user.status(order) != 77] == [77, True]


def test_events_before_the_rest_reply(user, events):
    user.sim.fault("fill_before_ack", times=1, ms=150, **PLACE)
    began = time.monotonic()
    placed = market_order(user).json()["orderId"]
    assert time.monotonic() - began > 0.14
    rows = [events.until("GatewayUserOrder")[0]["data"] for _ in range(2)]
    assert [(row["id"], row["status"]) for row in rows] == [(placed, 6), (placed, 2)]


def test_a_frozen_history(user):
    body = {"contractId": user.sim.contract("MGC"), "live": False, "startTime": "2020-01-01T00:00:00Z"}
    body |= {"endTime": "2099-01-01T00:00:00Z", "unit": 2, "unitNumber": 1, "limit": 1, "includePartialBar": True}
    user.sim.fault("frozen_bars")
    assert 4_400 < age_s(user.call("History/retrieveBars", **body)["bars"][0]["t"]) < 4_700


# --- sockets ----------------------------------------------------------------------------------------------------------


def test_401_on_upgrade(user):
    user.sim.fault("refuse_sockets", times=1, hub="user")
    Hub(user.sim.market_hub_url, user.token).ws.close()
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Hub(user.sim.user_hub_url, user.token)
    assert refused.value.status_code == 401


def test_a_handshake_error(connect, sim):
    sim.fault("handshake_error", times=1, error="Busy.")
    hub = connect(shake=False)
    hub.send({"protocol": "json", "version": 1})
    assert hub.next() == {"error": "Busy."}
    with pytest.raises(EOFError):
        hub.next()


def test_silence_with_the_socket_open(connect, sim):
    hub = listen(connect, sim)
    sim.fault("silent_data", hub="market")
    sim.trade("MGC", "4101")
    assert hub.invoke("SubscribeContractQuotes", sim.contract("MGC"))["result"] == 0  # answers go on
    sim.clear_fault()
    sim.fault("stall", hub="market")
    sim.trade("MGC", "4102")
    hub.send({"type": 1, "invocationId": "x", "target": "Nope", "arguments": []})
    sim.wait_until(lambda: sim.received("Nope"))
    sim.clear_fault()
    sim.trade("MGC", "4103")
    assert hub.until("GatewayTrade")[1][0]["price"] == 4103


def test_two_records_fragments_splits_and_websocket_pings(connect, sim):
    hub = listen(connect, sim)
    for name in ("two_records", "fragment_frames", "split_records", "ws_ping"):
        sim.fault(name, times=1)
        count = len(hub.texts)
        sim.trade("MGC", "4101")
        assert hub.until("GatewayTrade")[1][0]["price"] == 4101
        assert len(hub.texts) - count == (2 if name == "split_records" else 1)
        assert hub.texts[-1].count("\x1e") == (2 if name == "two_records" else 1)


def test_fragments_of_long_messages(connect, sim):
    hub = listen(connect, sim, "MarketDepth")
    sim.fault("large_depth")
    sim.fault("fragment_frames")
    hub.subscribe("SubscribeContractMarketDepth", sim.contract("MGC"))  # skips the first, small one
    assert len(hub.until("GatewayDepth")[1]) == 201


def test_duplicates_and_swapped_events(connect, sim):
    hub = listen(connect, sim)
    sim.fault("duplicate_frames", times=1, channel="GatewayTrade")
    sim.trade("MGC", "4101")
    assert [hub.until("GatewayTrade")[1][0]["price"] for _ in range(2)] == [4101] * 2
    sim.fault("reorder_frames", times=2)
    sim.trade("MGC", "4102")
    sim.trade("MGC", "4103")
    assert [hub.until("GatewayTrade")[1][0]["price"] for _ in range(2)] == [4103, 4102]


def test_late_user_events(user, events):
    user.sim.fault("late_user_frames", ms=200)
    began = time.monotonic()
    market_order(user)
    events.until("GatewayUserOrder")
    assert time.monotonic() - began > 0.19


def test_raw_frames(connect, sim):
    hub = connect()
    sim.fault("raw_frame", hub="market", text='{"type":1,"target":"GatewayLogout","arguments":[]}\x1e')
    assert hub.until("GatewayLogout") == []


# --- times in market data ---------------------------------------------------------------------------------------------


def test_an_old_quote_first(connect, sim):
    sim.fault("old_first_quote", times=1)
    hub = listen(connect, sim, "Quotes")
    assert 890 < age_s(hub.until("GatewayQuote")[1]["lastUpdated"]) < 910
    sim.quote("MGC", "4101", "4101.2")
    assert age_s(hub.until("GatewayQuote")[1]["lastUpdated"]) < 5


@pytest.mark.parametrize("name, trades_too", [("stale_quotes", False), ("delayed_data", True)])
def test_stale_quotes_and_delayed_data(connect, sim, name, trades_too):
    hub = listen(connect, sim, "Quotes", "Trades")
    sim.fault(name, ms=60_000)
    sim.trade("MGC", "4101")
    quote, trade = hub.until("GatewayQuote")[1], None
    while trade is None or age_s(quote["lastUpdated"]) < 5:
        record = hub.next()
        if record["target"] == "GatewayQuote":
            quote = record["arguments"][1]
        else:
            trade = record["arguments"][1][0]
    assert 59 < age_s(quote["lastUpdated"]) < 65
    assert (age_s(trade["timestamp"]) > 59) is trades_too


def test_a_frozen_timestamp(connect, sim):
    hub = listen(connect, sim, "Quotes")
    hub.until("GatewayQuote")
    sim.fault("frozen_timestamp")
    seen = []
    for ask in ("4100.3", "4100.4"):
        sim.quote("MGC", "4100", ask)
        sim.advance(1000)
        seen.append(hub.until("GatewayQuote")[1])
    assert seen[0]["timestamp"] == seen[1]["timestamp"] and seen[0]["lastUpdated"] < seen[1]["lastUpdated"]
    sim.fault("frozen_timestamp", last_updated=True)
    sim.quote("MGC", "4100", "4100.5")
    assert hub.until("GatewayQuote")[1]["lastUpdated"][:19] == seen[0]["timestamp"][:19]


# --- user events ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, args, check",
    [
        ("unknown_enum", {}, lambda row: row["action"] == 77),
        ("unknown_enum", {"field": "status"}, lambda row: row["data"]["status"] == 77),
        ("missing_fields", {"fields": ["status", "size"]}, lambda row: not {"status", "size"} & row["data"].keys()),
        ("null_payload", {}, lambda row: row["data"] is None),
        ("bare_events", {}, lambda row: row["status"] == 6),
    ],
)
def test_bent_user_events(user, events, name, args, check):
    user.sim.fault(name, times=1, channel="GatewayUserOrder", **args)
    market_order(user)
    assert check(events.until("GatewayUserOrder")[0])
    assert events.until("GatewayUserOrder")[0]["data"]["status"] == 2


# --- orders and accounts ----------------------------------------------------------------------------------------------


def test_the_venue_cancels(user):
    _, stop, target = user.open_bracket()
    user.sim.fault("venue_cancels", account=user.account)
    assert [user.status(o["id"]) for o in (stop, target)] == [3, 3] and user.sim.position("MGC") == 1


def test_an_orphan_fills_after_the_close(user):
    _, stop, _ = user.open_bracket()
    user.sim.fault("orphan_fills")
    assert user.status(stop["id"]) == 1  # it still guards something
    user.ask("Position/closeContract", contractId=user.sim.contract("MGC"))
    user.sim.wait_until(lambda: user.sim.position("MGC") == 0)
    user.sim.fault("orphan_fills")
    assert user.status(stop["id"]) == 2 and user.sim.position("MGC") == -1


def test_children_that_stay_away_or_come_late(user):
    user.sim.fault("no_children")
    entry = user.settle(user.bracketed()["orderId"], 2)["id"]
    user.sim.advance(1_000)
    assert [c["status"] for c in user.children(entry)] == [8, 8]
    user.sim.clear_fault()
    user.sim.fault("late_children", ms=60_000)
    late = user.settle(user.bracketed()["orderId"], 2)["id"]
    assert [c["status"] for c in user.children(late)] == [8, 8]
    user.sim.advance(65_000)
    assert [c["status"] for c in user.children(late)] == [1, 1]


@pytest.mark.parametrize("name, args", [("roll", {"symbol": "MGC"}), ("replace_account", {"account": 20000102})])
def test_instant_switches_over_http(sim, name, args):
    before = sim.contract("MGC"), len(sim.do("accounts"))
    answer = requests.post(f"{sim.url}/sim/faults", json={"fault": name, "args": args}, timeout=5)
    assert answer.json() == {"active": []}
    assert (sim.contract("MGC"), len(sim.do("accounts"))) != before


# --- the table --------------------------------------------------------------------------------------------------------


def test_faults_and_commands_over_http(sim):
    def post(path, body):
        return requests.post(f"{sim.url}/sim/{path}", json=body, timeout=5)

    assert post("faults", {"fault": "stall", "args": {"hub": "user"}}).json() == {
        "active": [{"fault": "stall", "hub": "user"}]
    }
    assert post("faults", {"clear": None}).json() == {"active": []}
    assert post("faults", [{"at_s": 0, "fault": "http_429", "for_s": 60}]).status_code == 200
    sim.wait_until(lambda: sim.call(lambda server: server.venue.faults.on("http_429")))
    assert post("faults", {"fault": "nope"}).status_code == 400
    assert post("control", {"symbol": "MES", "price": "6800.25"}).json() is None
    assert post("control", {"do": "place", "symbol": "MES", "side": "buy", "stop_ticks": -8}).json() > 2**31
    sim.wait_until(lambda: sim.position("MES") == 1)
    assert post("control", {"do": "nope"}).status_code == 400
    assert "MES" not in post("control", {"do": "account"}).json()["name"]


def test_every_name_is_explained():
    assert all(FAULTS.values()) and set(FAULTS) >= INSTANT
