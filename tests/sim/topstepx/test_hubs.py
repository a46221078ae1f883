"""Both hubs of the simulated TopstepX: protocol page 3 and 4."""

import re
import socket
from decimal import Decimal

import pytest
import requests
import websocket

from core.model import Side
from sim.topstepx_sim import TopstepxSim
from tests.sim.topstepx.conftest import RS, Gateway, Hub

PING = {"type": 6}
CLOSED = "Connection closed with an error."


def ends(hub):
    """What is said until the socket is closed."""
    said = []
    try:
        while True:
            said.append(hub.next())
    except EOFError:
        return said


# --- upgrade and handshake --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hub", ["market", "user"])
def test_the_token_in_the_query_or_in_the_header(sim, user, hub):
    url = sim.market_hub_url if hub == "market" else sim.user_hub_url
    header = {"Authorization": f"Bearer {user.token}"}
    websocket.create_connection(url, header=header, timeout=5).close()
    Hub(url, user.token).ws.close()
    for wrong in (url, f"{url}?access_token=x.y.z"):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            websocket.create_connection(wrong, timeout=5)
        assert refused.value.status_code == 401
    sim.expire_tokens()
    with pytest.raises(websocket.WebSocketBadStatusException):
        Hub(url, user.token)


@pytest.mark.parametrize(
    "record, error",
    [
        ({"protocol": "xml", "version": 1}, "The protocol 'xml' is not supported."),
        ({"protocol": "json", "version": 9}, "The server does not support version 9 of the 'json' protocol."),
        ({"type": 6}, "Expected a handshake request message."),
        ("nonsense", "Expected a handshake request message."),
    ],
)
def test_a_bad_handshake_is_answered_and_closed(connect, record, error):
    hub = connect(shake=False)
    hub.send(record)
    assert ends(hub) == [{"error": error}]


def test_a_handshake_that_never_comes():
    with TopstepxSim(handshake_s=0.1) as sim:
        hub = Hub(sim.market_hub_url, Gateway(sim).token, shake=False)
        assert ends(hub) == [{"error": "Handshake was canceled."}]


def test_a_handshake_and_a_call_in_one_message_or_cut_in_two(connect):
    hub = connect(shake=False)
    call = '{"type":1,"invocationId":"a","target":"SubscribeContractQuotes","arguments":["nope"]}' + RS
    hub.ws.send('{"protocol":"json","version":1}' + RS + call[:30])
    hub.ws.send(call[30:])
    assert [hub.next(), hub.next()] == [{}, {"type": 3, "invocationId": "a", "result": 0}]


# --- invocations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hub, target, arguments, error",
    [
        ("market", "SubscribeContractDepth", ["x"], "HubException: Method does not exist."),
        ("market", "SubscribeOrders", [1], "HubException: Method does not exist."),
        ("market", "SubscribeContractQuotes", [], "Failed to invoke 'SubscribeContractQuotes' due to an error"),
        ("market", "SubscribeContractQuotes", [7], "Failed to invoke 'SubscribeContractQuotes' due to an error"),
        ("user", "SubscribeOrders", ["20000101"], "Failed to invoke 'SubscribeOrders' due to an error"),
        ("user", "SubscribeAccounts", [1], "Failed to invoke 'SubscribeAccounts' due to an error"),
        ("user", "SubscribeOrders", [1], "Failed to invoke 'SubscribeOrders' because user is unauthorized"),
    ],
)
def test_calls_that_fail(connect, hub, target, arguments, error):
    answer = connect(hub).invoke(target, *arguments)
    assert error in answer["error"] and "result" not in answer


def test_a_call_without_an_id_gets_no_answer_not_even_an_error(connect, sim):
    hub = connect()
    for target in ("Nope", "SubscribeContractTrades"):
        hub.send({"type": 1, "target": target, "arguments": [sim.contract("MGC")]})
    sim.wait_until(lambda: sim.subscriptions())
    sim.trade("MGC", "4101")
    assert hub.next()["target"] == "GatewayTrade"


def test_an_unknown_contract_is_answered_then_silent(connect, sim):
    hub = connect()
    assert hub.invoke("SubscribeContractQuotes", "CON.F.US.NOPE.Z26")["result"] == 0
    hub.subscribe("SubscribeContractTrades", sim.contract("MGC"))
    sim.trade("MGC", "4101")
    assert hub.next()["target"] == "GatewayTrade"


def test_unsubscribe(connect, sim):
    hub, contract = connect(), sim.contract("MGC")
    hub.subscribe("SubscribeContractTrades", contract)
    hub.subscribe("SubscribeContractQuotes", contract)
    assert sim.subscriptions() == [["GatewayQuote", contract], ["GatewayTrade", contract]]
    hub.subscribe("UnsubscribeContractQuotes", contract)
    sim.trade("MGC", "4101")
    assert hub.next()["target"] == "GatewayTrade"
    assert [r.kind for r in sim.received()][-2:] == ["SubscribeContractQuotes", "UnsubscribeContractQuotes"]


def test_what_is_no_record_closes_the_connection(connect):
    hub = connect()
    hub.send("nonsense")
    assert ends(hub) == [{"type": 7, "error": CLOSED, "allowReconnect": True}]


def test_unknown_record_types_are_ignored_and_a_close_is_obeyed(connect, sim):
    hub = connect()
    hub.send({"type": 99})
    hub.send(PING)
    hub.subscribe("SubscribeContractTrades", sim.contract("MGC"))
    hub.send({"type": 7})
    assert ends(hub) == []


# --- market events ----------------------------------------------------------------------------------------------------


def test_quotes_are_whole_first_then_partial(connect, sim):
    hub, contract = connect(), sim.contract("MGC")
    hub.subscribe("SubscribeContractQuotes", contract)
    key, quote = hub.until("GatewayQuote")
    assert key == contract and quote["symbol"] == "F.US.MGC" and quote["symbolName"] == "/MGC"
    assert (quote["bestBid"], quote["bestAsk"], quote["lastPrice"]) == (4099.9, 4100.1, 4100)
    assert {"open", "high", "low", "volume", "change", "changePercent", "contract"} < quote.keys()
    sim.quote("MGC", "4100", "4100.2")
    stamps = {"symbol", "lastUpdated", "timestamp", "contract"}
    changed = hub.until("GatewayQuote")[1]
    assert changed.keys() == stamps | {"bestBid", "bestAsk"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}(\.\d{1,7})?\+00:00", changed["lastUpdated"])
    sim.quote("MGC", "4100", "4100.3")
    assert hub.until("GatewayQuote")[1].keys() == stamps | {"bestAsk"}
    sim.trade("MGC", "4102")
    traded = hub.until("GatewayQuote")[1]
    assert traded.keys() == stamps | {"lastPrice", "high", "volume", "change", "changePercent"}


def test_prints_come_as_arrays(connect, sim):
    hub, contract = connect(), sim.contract("MGC")
    hub.subscribe("SubscribeContractTrades", contract)
    sim.trade("MGC", "4101.5", 3, Side.SELL)
    key, rows = hub.until("GatewayTrade")
    assert key == contract and len(rows) == 1
    row = rows[0]
    assert re.fullmatch(r".*\.\d{3}\+00:00", row.pop("timestamp"))
    assert row == {"symbolId": "F.US.MGC", "price": 4101.5, "type": 1, "volume": 3, "contractId": contract}


def test_depth(connect, sim):
    hub, contract = connect(), sim.contract("MGC")
    hub.subscribe("SubscribeContractMarketDepth", contract)
    first = hub.until("GatewayDepth")[1]
    assert first[0]["type"] == 6 and {row["type"] for row in first[1:]} == {1, 2}
    sim.quote("MGC", "4100", "4100.2")
    assert [(row["type"], row["price"]) for row in hub.until("GatewayDepth")[1]] == [(9, 4100), (10, 4100.2)]
    sim.fault("large_depth")
    hub.subscribe("SubscribeContractMarketDepth", contract)
    hub.until("GatewayDepth")
    assert max(map(len, hub.texts)) > 10_240


def test_several_records_in_one_message_each_ended(connect, sim):
    hub, contract = connect(), sim.contract("MGC")
    hub.subscribe("SubscribeContractTrades", contract)
    mgc = sim.call(lambda server: server.venue.contract("MGC"))
    sim.call(lambda server: [server.venue.print_trade(mgc, Decimal(4100), 1, Side.BUY) for _ in "ab"])
    hub.until("GatewayTrade"), hub.until("GatewayTrade")
    assert hub.texts[-1].count(RS) == 2 and all(text.endswith(RS) for text in hub.texts)


# --- life of a connection ---------------------------------------------------------------------------------------------


def test_pings_after_own_silence_and_a_silent_client_is_dropped_after_its_first_ping():
    with TopstepxSim(ping_s=0.1, client_timeout_s=0.8) as sim:
        token = Gateway(sim).token
        talker, mute = Hub(sim.user_hub_url, token), Hub(sim.user_hub_url, token)
        talker.send(PING)
        said = ends(talker)
        assert said[:-1] and all(record == PING for record in said[:-1])
        assert said[-1] == {"type": 7, "error": CLOSED, "allowReconnect": True}
        assert [mute.next() for _ in range(4)] == [PING] * 4  # never pinged, never dropped
        sim.fault("no_pings", hub="user")
        mute.ws.settimeout(0.4)
        with pytest.raises(websocket.WebSocketTimeoutException):
            [mute.next() for _ in range(99)]


@pytest.mark.parametrize(
    "error, allow, record",
    [
        (CLOSED, True, {"type": 7, "error": CLOSED, "allowReconnect": True}),
        (CLOSED, None, {"type": 7, "error": CLOSED}),
        (None, True, {"type": 7, "allowReconnect": True}),
        (None, None, {"type": 7}),
    ],
)
def test_a_close_record_then_the_end(connect, sim, error, allow, record):
    market, user = connect(), connect("user")
    sim.close_hubs(error, allow, hub="user")
    assert ends(user) == [record]
    assert sim.counters()["sockets_open"] == 1
    sim.close_hubs(error, allow)
    assert ends(market) == [record]


def test_expired_tokens_may_close_the_hubs(connect, sim):
    hub = connect()
    sim.expire_tokens(close=True)
    assert ends(hub) == [{"type": 7, "error": CLOSED}]


def test_a_reset(connect, sim):
    hub = connect()
    sim.drop_connections(hub="market")
    with pytest.raises((websocket.WebSocketException, OSError)):
        hub.next()


def test_too_large_a_message_is_refused(connect):
    hub = connect()
    hub.ws.send("x" * 33_000)
    opcode, raw = hub.ws.recv_data()
    assert opcode == websocket.ABNF.OPCODE_CLOSE and int.from_bytes(raw[:2], "big") == 1009


# --- negotiation ------------------------------------------------------------------------------------------------------


def test_negotiate(sim, user):
    url = f"{sim.url}/hubs/user/negotiate"
    assert requests.post(url, timeout=5).status_code == 401
    one = user.session.post(f"{url}?negotiateVersion=1", timeout=5).json()
    assert one["negotiateVersion"] == 1 and one["availableTransports"][0]["transport"] == "WebSockets"
    zero = user.session.post(url, timeout=5).json()
    assert "connectionToken" not in zero
    for answer in (one["connectionToken"], zero["connectionId"]):
        target = f"{sim.user_hub_url}?id={answer}&access_token={user.token}"
        websocket.create_connection(target, timeout=5).close()
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            websocket.create_connection(target, timeout=5)  # used up
        assert refused.value.status_code == 404


def test_a_plain_get_of_a_hub_is_no_websocket(sim, user):
    answer = user.session.get(f"{sim.url}/hubs/user", timeout=5)
    assert answer.status_code == 405


def test_many_sockets_see_the_same(sim, user):
    hubs = [Hub(sim.market_hub_url, user.token) for _ in range(3)]
    for hub in hubs:
        hub.subscribe("SubscribeContractTrades", sim.contract("MGC"))
    sim.trade("MGC", "4103")
    assert {hub.until("GatewayTrade")[1][0]["price"] for hub in hubs} == {4103}
    for hub in hubs:
        hub.ws.sock.shutdown(socket.SHUT_RDWR)
    sim.wait_until(lambda: sim.counters()["sockets_open"] == 0)
