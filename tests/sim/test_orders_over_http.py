"""Exact answers of /exchange and /info, HTTP-level errors, faults of the order's way. Protocol page 2.1, 3, 8.2, 10."""

import time

import pytest
import requests

from core.model import Side
from sim.faults import FAULTS, Faults, read_script
from sim.server import SimServer
from tests.sim.conftest import USER, Venue, limit, stop

NO_MATCH = "Order could not immediately match against any resting orders."
CLOID = "0x" + "0" * 31 + "7"


def held(sim):
    return sim.position(USER, "BTC")


# --- HTTP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body, content_type, status, text",
    [
        ('{"type":"meta"}', "text/plain", 415, "Expected request with `Content-Type: application/json`"),
        ("{nope", "application/json", 400, "Failed to parse the request body as JSON"),
        ('{"type":"nope"}', "application/json", 422, "Failed to deserialize the JSON body into the target type"),
        ('{"type":"meta","type":"meta"}', "application/json", 422, "Failed to deserialize"),
        ('{"type":"clearinghouseState"}', "application/json", 422, "Failed to deserialize"),
        ('{"type":"clearinghouseState","user":"0x12"}', "application/json", 422, "Failed to deserialize"),
        ('{"type":"portfolio"}', "application/json", 422, "Failed to deserialize"),
        ('{"type":"l2Book","coin":"BTC","nSigFigs":6}', "application/json", 500, "null"),
        ('{"type":"l2Book","coin":"BTC","nSigFigs":5,"mantissa":1}', "application/json", 500, "null"),
        ('{"type":"l2Book","coin":"NOPE"}', "application/json", 200, "null"),
        ('{"type":"exchangeStatus"} trailing', "application/json", 200, '"specialStatuses":null'),
        ('{"type":"exchangeStatus","extra":1}', "application/json; charset=utf-8", 200, '"time":'),
    ],
)
def test_http_level_answers(sim, body, content_type, status, text):
    answer = requests.post(sim.url + "/info", data=body, headers={"Content-Type": content_type}, timeout=5)
    assert answer.status_code == status and text in answer.text


def test_request_weight_is_limited_to_1200_a_minute():
    with SimServer(limits=True) as sim:
        venue = Venue(sim)
        for _ in range(20):
            venue.info("userRole", user=USER)  # 60 each
        refused = venue.post("/info", {"type": "allMids"})
        assert (refused.status_code, refused.text) == (429, "null")


def test_aggregated_book(venue):
    book = venue.info("l2Book", coin="BTC", nSigFigs=3)
    bids, asks = book["levels"]
    assert (bids[0]["px"], asks[0]["px"], book["spread"]) == ("49900.0", "50100.0", "200.0")
    total = sum(float(row["sz"]) for row in venue.info("l2Book", coin="BTC")["levels"][0])
    assert sum(float(row["sz"]) for row in bids) == pytest.approx(total)


def test_an_idle_connection_is_closed():
    with SimServer(idle_close_s=0.1) as sim:
        venue = Venue(sim)
        venue.info("meta")
        sim.wait_until(lambda: sim.counters()["http_connections"] == 1)
        deadline = time.monotonic() + 5
        connection = next(iter(venue.session.get_adapter(sim.url).poolmanager.pools._container.values())).pool.queue[-1]
        while time.monotonic() < deadline and connection.sock.recv(1) != b"":
            pass
        assert time.monotonic() < deadline
        venue.info("meta")
        assert sim.counters()["http_connections"] == 2


# --- orders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order, error",
    [
        (limit(price="49000.5"), "Price must be divisible by tick size. asset=0"),
        (limit(size="0.000001"), "Order has invalid size. asset=0"),
        (limit(size="0"), "Order has zero size. asset=0"),
        (limit(price="9000"), "Order price cannot be more than 80% away from the reference price asset=0"),
    ],
)
def test_a_static_fault_answers_once_for_the_whole_batch(venue, order, error):
    assert venue.order(limit(), order, limit()) == [{"error": error}]
    assert venue.info("openOrders", user=USER) == [] == venue.info("historicalOrders", user=USER)


@pytest.mark.parametrize(
    "order, error, status",
    [
        (limit(size="0.0002"), "Order must have minimum value of $10. asset=0", "minTradeNtlRejected"),
        (limit(size="100"), "Insufficient margin to place order. asset=0", "perpMarginRejected"),
        (
            limit(tif="Ioc"),
            "Order could not immediately match against any resting orders. asset=0",
            "iocCancelRejected",
        ),
        (limit(reduce=True), "Reduce only order would increase position. asset=0", "reduceOnlyRejected"),
        (
            limit(price="50001", tif="Alo"),
            "Post only order would have immediately matched, bbo was 49999@50001. asset=0",
            "badAloPxRejected",
        ),
        (stop(level="50000", size="0.01"), "Invalid TP/SL price. asset=0", "badTriggerPxRejected"),
    ],
)
def test_a_runtime_refusal_is_its_own_and_leaves_a_record(venue, order, error, status):
    first, second, third = venue.order(limit(), order | {"c": CLOID}, limit())
    assert "resting" in first and second == {"error": error} and "resting" in third
    record = venue.info("orderStatus", user=USER, oid=CLOID)
    assert record["order"]["status"] == status


@pytest.mark.parametrize(
    "orders, grouping, error",
    [
        ([], "na", "Orders are empty."),
        ([stop()], "normalTpsl", "Main order cannot be trigger order."),
        ([stop(), stop(level="51000", price="56100", buy=True)], "positionTpsl", "Trigger order has unexpected side."),
        ([stop(), stop(level="49000", price="44000")], "positionTpsl", "Trigger order has unexpected side."),
        ([limit()], "positionTpsl", "Invalid TP/SL price."),
        ([stop(reduce=False, size="0.01")], "positionTpsl", "Invalid TP/SL price."),
    ],
)
def test_wrong_groups(venue, orders, grouping, error):
    assert venue.order(*orders, grouping=grouping) == [{"error": error}]
    assert venue.info("openOrders", user=USER) == []


def test_unknown_assets_refuse_the_whole_action(venue):
    for asset, text in ((2, "Asset 2 is not tradable."), (99, "Asset 99 is not tradable."), (10_000, "Invalid spot")):
        answer = venue.act({"type": "order", "orders": [limit(), limit(asset=asset)], "grouping": "na"})
        assert answer == {"status": "err", "response": text}
    assert venue.info("openOrders", user=USER) == []


def test_weight_limit_of_a_batch(venue):
    cancels = [{"a": 0, "o": i} for i in range(201)]
    answer = venue.act({"type": "cancel", "cancels": cancels})
    assert answer == {"status": "err", "response": "Signed action over weight limit of 200."}
    assert len(venue.act({"type": "cancel", "cancels": cancels[:200]})["response"]["data"]["statuses"]) == 200


def test_position_stop_rows_and_open_orders(venue):
    assert venue.order(stop(), grouping="positionTpsl") == ["waitingForTrigger"]
    (row,) = venue.info("frontendOpenOrders", user=USER)
    expected = {"triggerPx": "49500.0", "triggerCondition": "Price below 49500", "isPositionTpsl": True, "cloid": None}
    assert row | expected == row
    (plain,) = venue.info("openOrders", user=USER)
    assert set(plain) == {"coin", "side", "limitPx", "sz", "oid", "timestamp", "origSz", "reduceOnly"}
    assert venue.order(stop(size="0.01"), grouping="positionTpsl") == ["waitingForTrigger"]
    assert [row["isPositionTpsl"] for row in venue.info("frontendOpenOrders", user=USER)] == [False, True]


def test_modify_of_a_position_stop(venue, sim):
    venue.order(stop(), grouping="positionTpsl")
    (row,) = venue.info("frontendOpenOrders", user=USER)
    moved = {"type": "batchModify", "modifies": [{"oid": row["oid"], "order": stop(level="49600", price="44640")}]}
    (status,) = venue.act(moved)["response"]["data"]["statuses"]
    (new,) = venue.info("frontendOpenOrders", user=USER)
    assert new["oid"] == status["resting"]["oid"] != row["oid"] and new["triggerPx"] == "49600.0"
    sim.fault("modify_needs_a")
    moved["modifies"][0]["oid"] = new["oid"]
    assert "error" in venue.act(moved)["response"]["data"]["statuses"][0]
    assert "resting" in venue.act(moved | {"a": True})["response"]["data"]["statuses"][0]
    # always_place puts the new one there although the old one is gone
    assert "resting" in venue.act(moved | {"a": True})["response"]["data"]["statuses"][0]
    assert len(venue.info("frontendOpenOrders", user=USER)) == 2


def test_modify_answers_default_or_err(venue):
    (resting,) = venue.order(limit())
    modify = {"type": "modify", "oid": resting["resting"]["oid"], "order": limit(price="48000")}
    assert venue.act(modify) == {"status": "ok", "response": {"type": "default"}}
    assert venue.act(modify) == {"status": "err", "response": "Cannot modify canceled or filled order asset=0"}


def test_cancels(venue):
    (resting,) = venue.order(limit(cloid=CLOID))
    wrong = venue.act({"type": "cancel", "cancels": [{"a": 1, "o": resting["resting"]["oid"]}]})
    assert "never placed" in wrong["response"]["data"]["statuses"][0]["error"]
    by_cloid = {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": CLOID}]}
    assert venue.act(by_cloid)["response"]["data"]["statuses"] == ["success"]
    venue.order(stop(), grouping="positionTpsl")
    (row,) = venue.info("frontendOpenOrders", user=USER)
    fast = {"type": "cancel", "cancels": [{"a": 0, "o": row["oid"]}], "f": True}
    assert "error" in venue.act(fast)["response"]["data"]["statuses"][0]


def test_fills_of_the_account(venue, sim):
    venue.order(limit(price="50001", tif="Ioc", cloid=CLOID))
    sim.set_price("BTC", "50100")
    venue.order(limit(price="50000", buy=False, tif="Ioc", reduce=True))
    close, opened = venue.info("userFills", user=USER)
    assert (opened["dir"], close["dir"], close["closedPnl"]) == ("Open Long", "Close Long", "0.98")
    assert opened["closedPnl"] == opened["startPosition"] == "0.0"
    assert opened["cloid"] == CLOID and "cloid" not in close and close["startPosition"] == "0.01"
    by_time = venue.info("userFillsByTime", user=USER, startTime=opened["time"], endTime=close["time"])
    assert [f["tid"] for f in by_time] == [opened["tid"], close["tid"]]
    assert venue.info("userFillsByTime", user=USER, startTime=close["time"] + 1) == []


def test_clearinghouse_algebra(venue, sim):
    sim.deal(USER, "BTC", Side.BUY, "0.1", "50000")
    sim.deal(USER, "ETH", Side.SELL, "1", "2500")
    sim.set_mark("BTC", "50100")
    state = venue.info("clearinghouseState", user=USER)
    summary = {key: float(value) for key, value in state["marginSummary"].items()}
    positions = {p["position"]["coin"]: p["position"] for p in state["assetPositions"]}
    assert positions["BTC"]["unrealizedPnl"] == "10.0" and positions["ETH"]["szi"] == "-1.0"
    signed = 0.1 * 50100 - 1 * 2500
    assert summary["accountValue"] == pytest.approx(summary["totalRawUsd"] + signed)
    assert summary["totalNtlPos"] == pytest.approx(7510) and summary["totalMarginUsed"] == pytest.approx(7510 / 20)
    assert positions["BTC"]["liquidationPx"] is None  # well funded
    assert float(positions["ETH"]["liquidationPx"]) > 2500


def test_funding_and_scheduled_cancel_by_the_clock(venue, sim):
    sim.deal(USER, "BTC", Side.BUY, "0.1", "50000")
    venue.order(limit())
    venue.order(stop(), grouping="positionTpsl")
    sim.fault("no_volume_gate")
    now = venue.info("exchangeStatus")["time"]
    assert venue.act({"type": "scheduleCancel", "time": now + 4_000})["status"] == "err"
    assert venue.act({"type": "scheduleCancel", "time": now + 10_000})["status"] == "ok"
    sim.advance(3_600_000)
    assert venue.info("openOrders", user=USER) == []  # stops too
    assert {row["status"] for row in sim.history(USER)} == {"filled", "open", "scheduledCancel"}
    (paid,) = venue.info("userFunding", user=USER, startTime=now)
    assert paid["delta"]["usdc"] == "-0.0625" and len(venue.info("fundingHistory", coin="BTC", startTime=now)) == 1
    assert venue.info("exchangeStatus")["time"] >= now + 3_600_000


# --- faults ---------------------------------------------------------------------------------------------------------


def test_every_fault_is_in_the_table_and_no_other(sim):
    with pytest.raises(ValueError, match="unknown fault"):
        sim.fault("nope")
    assert all(text for text in FAULTS.values())


@pytest.mark.parametrize("fault, executed", [("drop_answer", True), ("lost_request", False)])
def test_a_lost_answer_and_a_lost_request_look_the_same(venue, sim, fault, executed):
    sim.fault(fault, times=1, action="order")
    with pytest.raises(requests.ConnectionError):
        venue.order(limit(price="50001", tif="Ioc", cloid=CLOID))
    assert (held(sim) != 0) is executed
    assert (venue.info("orderStatus", user=USER, oid=CLOID)["status"] == "order") is executed
    assert venue.act({"type": "noop"})["status"] == "ok"


def test_a_noop_can_lose_its_answer_too(venue, sim):
    sim.fault("drop_answer", times=1, action="noop")
    nonce = int(time.time() * 1000) + 40_000
    with pytest.raises(requests.ConnectionError):
        venue.act({"type": "noop"}, nonce=nonce)
    assert "duplicate" in venue.act({"type": "noop"}, nonce=nonce)["response"]


def test_an_order_arrives_after_it_was_given_up_on_unless_a_noop_was_first(venue, sim):
    sim.fault("late_order", times=2, ms=500, action="order")
    nonce = int(time.time() * 1000) + 45_000
    with pytest.raises(requests.ConnectionError):
        venue.order(limit(price="50001", tif="Ioc"), nonce=nonce)
    assert venue.act({"type": "noop"}, nonce=nonce)["status"] == "ok"
    with pytest.raises(requests.ConnectionError):
        venue.order(limit(price="50001", tif="Ioc"))
    sim.wait_until(lambda: held(sim) != 0)
    assert len(sim.fills(USER)) == 1  # the first one met a used nonce


@pytest.mark.parametrize(
    "fault, args, status, text",
    [
        ("http_429", {}, 429, "null"),
        ("http_error", {"status": 502}, 502, "502 Bad Gateway"),
        ("http_error", {"status": 500}, 500, "<html>"),
        ("html_200", {}, 200, "<html>"),
        ("empty_body", {}, 200, ""),
        ("partial_json", {}, 200, "{"),
    ],
)
def test_http_faults_strike_where_told(venue, sim, fault, args, status, text):
    sim.fault(fault, path="/info", type="clearinghouseState", times=1, **args)
    assert venue.info("meta")
    answer = venue.post("/info", {"type": "clearinghouseState", "user": USER})
    assert answer.status_code == status and text in answer.text
    if status == 200:
        with pytest.raises(ValueError):
            answer.json()
    assert venue.info("clearinghouseState", user=USER)


def test_refusals_on_demand(venue, sim):
    sim.fault("reject", times=1, error="Trading is halted.")
    assert venue.order(limit(), limit())[0] == {"error": "Trading is halted. asset=0"}
    sim.fault("reject", times=1, status="err", error="Trading is halted.")
    answer = venue.act({"type": "order", "orders": [limit()], "grouping": "na"})
    assert answer == {"status": "err", "response": "Trading is halted."}
    sim.fault("post_only")
    refused = venue.order(limit())[0]["error"]
    assert refused == "Only post-only orders allowed immediately after network upgrade asset=0"
    assert "resting" in venue.order(limit(tif="Alo"))[0]
    sim.clear_fault("post_only")
    sim.fault("budget", cap=0)
    venue.act({"type": "noop"})  # one in ten seconds
    answer = venue.act({"type": "order", "orders": [limit()], "grouping": "na"})
    assert answer["response"].startswith("Too many cumulative requests sent (")


def test_thin_book(venue, sim):
    sim.fault("thin_book", fraction="0.4", times=1)
    (answer,) = venue.order(limit(price="50001", size="0.1", tif="Ioc"))
    assert answer["filled"]["totalSz"] == "0.04"
    assert venue.info("orderStatus", user=USER, oid=answer["filled"]["oid"])["order"]["order"]["sz"] == "0.06"


def test_reads_that_lag(venue, sim):
    sim.fault("unknown_oid", ms=60_000)
    sim.fault("hide_triggers", ms=60_000)
    (resting,) = venue.order(limit())
    venue.order(stop(), grouping="positionTpsl")
    assert venue.info("orderStatus", user=USER, oid=resting["resting"]["oid"]) == {"status": "unknownOid"}
    assert len(venue.info("frontendOpenOrders", user=USER)) == 1
    sim.clear_fault()
    assert venue.info("orderStatus", user=USER, oid=resting["resting"]["oid"])["status"] == "order"
    assert len(venue.info("frontendOpenOrders", user=USER)) == 2


def test_switches_reach_the_exchange(venue, sim):
    sim.deal(USER, "BTC", Side.BUY, "0.01", "50000")
    sim.fault("reject_oversize")
    assert "error" in venue.order(limit(price="49000", size="0.02", buy=False, tif="Ioc", reduce=True))[0]
    sim.clear_fault("reject_oversize")
    assert "filled" in venue.order(limit(price="49000", size="0.02", buy=False, tif="Ioc", reduce=True))[0]
    sim.fault("fire_met_trigger")
    assert "resting" in venue.order(stop(level="50500", price="45450", size="0.01"))[0]


def test_clock_skew_and_unified_account(venue, sim):
    sim.fault("clock_skew", ms=-30_000)
    assert venue.info("exchangeStatus")["time"] < time.time() * 1000 - 29_000
    assert venue.info("userAbstraction", user=USER) == "disabled"
    sim.fault("unified_account")
    assert venue.info("userAbstraction", user=USER) == "unifiedAccount"
    assert venue.info("clearinghouseState", user=USER)["marginSummary"]["accountValue"] == "0.0"
    assert venue.info("spotClearinghouseState", user=USER)["balances"][0]["total"] == "10000.0"


def test_faults_and_control_over_http(venue, sim):
    assert venue.post("/sim/faults", {"fault": "http_429", "args": {"path": "/info", "times": 1}}).json() == {
        "active": [{"fault": "http_429", "path": "/info"}]
    }
    assert venue.post("/info", {"type": "meta"}).status_code == 429
    assert venue.post("/sim/faults", {"fault": "nope"}).status_code == 400
    assert venue.post("/sim/control", {"symbol": "BTC", "price": "51000"}).status_code == 200
    assert venue.info("allMids")["BTC"] == "51000.0"
    assert venue.post("/sim/control", {"do": "nope"}).status_code == 400
    assert venue.post("/sim/control", {"do": "trade", "symbol": "NOPE", "price": "1"}).status_code == 400
    oid = venue.post(
        "/sim/control", {"do": "place", "address": USER, "symbol": "BTC", "side": "SELL", "trigger": 50000}
    )
    assert venue.info("frontendOpenOrders", user=USER)[0]["oid"] == oid.json()
    counters = venue.post("/sim/control", {"do": "counters"}).json()
    assert counters["requests"]["allMids"] == 1


def test_a_script_strikes_by_the_clock(sim, venue):
    sim.script([{"at_s": 0.02, "fault": "http_429", "args": {"path": "/info"}, "for_s": 0.1}])
    sim.wait_until(lambda: venue.post("/info", {"type": "meta"}).status_code == 429)
    sim.wait_until(lambda: venue.post("/info", {"type": "meta"}).status_code == 200)
    with pytest.raises(ValueError):
        read_script(b'[{"at_s": 1, "fault": "nope"}]')


def test_a_fault_ends_by_count_or_by_time():
    now = [0.0]
    faults = Faults(lambda: now[0])
    faults.set("stall", {"times": 2, "channel": "trades"})
    assert faults.take("stall", channel="bbo") is None
    assert [faults.take("stall", channel="trades") is not None for _ in range(3)] == [True, True, False]
    faults.set("stall", {"for_s": 5})
    now[0] = 4.9
    assert faults.on("stall") is not None
    now[0] = 5.0
    assert faults.on("stall") is None


def test_what_was_received_is_known_with_its_time(venue, sim):
    before_ns = time.perf_counter_ns()
    venue.order(limit(cloid=CLOID))
    (received,) = sim.received("order")
    assert before_ns < received.received_ns < time.perf_counter_ns()
    assert received.action["orders"][0]["c"] == CLOID


def test_faults_that_are_over_may_be_met_while_looking_through_them():
    now = [0.0]
    faults = Faults(lambda: now[0])
    for name in ("stall", "ws_ping"):
        faults.set(name, {"for_s": 1})
    faults.set("no_pings", {})
    now[0] = 1.5
    assert [fault.name for fault in faults] == ["no_pings"]
