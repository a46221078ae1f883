"""The official SDK, unchanged, against the simulated venue."""

import queue
import time

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

from core.model import Side
from sim.server import SimServer

WALLET = Account.from_key("0x0123456789012345678901234567890123456789012345678901234567890123")
USER = WALLET.address


@pytest.fixture
def sim():
    with SimServer(seed=1) as server:
        server.set_price("BTC", "50000")
        server.set_price("ETH", "2500")
        yield server


@pytest.fixture
def exchange(sim):
    return Exchange(WALLET, sim.url)


@pytest.fixture
def info(sim):
    return Info(sim.url, skip_ws=True)


def status(answer):
    """The only status of an answer that must be ok."""
    assert answer["status"] == "ok", answer
    (only,) = answer["response"]["data"]["statuses"]
    return only


def test_reads_of_an_account_never_seen_before(info):
    state = info.user_state(USER)
    assert state["marginSummary"]["accountValue"] == "10000.0" and state["assetPositions"] == []
    assert info.open_orders(USER) == info.frontend_open_orders(USER) == info.user_fills(USER) == []
    assert info.user_fees(USER)["userCrossRate"] == "0.00045"
    assert info.spot_user_state(USER)["balances"][0]["total"] == "0.0"
    assert info.historical_orders(USER) == []
    assert info.user_role(USER) == {"role": "user"}
    assert info.extra_agents(USER) == []
    assert info.user_rate_limit(USER)["nRequestsCap"] == 10_000


def test_reads_of_the_market(info):
    now = int(time.time() * 1000)
    assert [row["name"] for row in info.meta()["universe"]] == ["BTC", "ETH", "MATIC", "SOL"]
    assert info.name_to_asset("SOL") == 3  # the delisted row before it keeps its index
    meta, contexts = info.meta_and_asset_ctxs()
    assert len(contexts) == len(meta["universe"]) and contexts[0]["markPx"] == "50000.0"
    assert info.all_mids()["BTC"] == "50000.0"
    book = info.l2_snapshot("BTC")
    assert [book["levels"][0][0]["px"], book["levels"][1][0]["px"]] == ["49999.0", "50001.0"]
    for interval, count in (("1m", 500), ("1h", 500), ("1d", 90)):
        span = {"1m": 60_000, "1h": 3_600_000, "1d": 86_400_000}[interval]
        candles = info.candles_snapshot("BTC", interval, now - count * span, now)
        assert count - 2 <= len(candles) <= count + 1
        assert all(c["T"] == c["t"] + span - 1 for c in candles)
        assert [c["t"] for c in candles] == sorted({c["t"] for c in candles})
    assert info.funding_history("BTC", now - 1000) == []
    assert len(info.spot_meta_and_asset_ctxs()) == 2 and info.perp_dexs() == [None]


def test_limit_order_rests_and_is_canceled(exchange, info):
    oid = status(exchange.order("BTC", True, 0.01, 49000, {"limit": {"tif": "Gtc"}}))["resting"]["oid"]
    assert info.open_orders(USER)[0]["oid"] == oid
    assert info.query_order_by_oid(USER, oid)["order"]["status"] == "open"
    assert status(exchange.cancel("BTC", oid)) == "success"
    assert "never placed, already canceled, or filled" in status(exchange.cancel("BTC", oid))["error"]
    assert info.query_order_by_oid(USER, oid)["order"]["status"] == "canceled"


def test_ioc_fills_and_pays_the_taker_fee(exchange, info):
    filled = status(exchange.order("BTC", True, 0.01, 50100, {"limit": {"tif": "Ioc"}}))["filled"]
    assert filled["totalSz"] == "0.01" and filled["avgPx"] == "50001.0"
    (fill,) = info.user_fills(USER)
    assert (fill["oid"], fill["dir"], fill["fee"]) == (filled["oid"], "Open Long", "0.2250045")
    assert info.user_state(USER)["assetPositions"][0]["position"]["szi"] == "0.01"


def test_trigger_order_waits_and_fires_on_the_mark_with_the_same_oid(exchange, info, sim):
    exchange.market_open("BTC", True, 0.01)
    trigger = {"trigger": {"triggerPx": 49500, "isMarket": True, "tpsl": "sl"}}
    oid = status(exchange.order("BTC", False, 0.01, 45000, trigger, reduce_only=True))["resting"]["oid"]
    sim.trade("BTC", "49000", "1", Side.SELL)  # trades move no trigger
    assert sim.position(USER, "BTC") != 0
    sim.set_mark("BTC", "49500")
    assert sim.position(USER, "BTC") == 0
    assert info.user_fills(USER)[0]["oid"] == oid
    assert [row["status"] for row in sim.history(USER) if row["order"]["oid"] == oid] == ["open", "triggered", "filled"]


def test_position_stop_answers_without_an_oid(exchange, info, sim):
    stop = {
        "coin": "BTC",
        "is_buy": False,
        "sz": 0,
        "limit_px": 44550,
        "order_type": {"trigger": {"triggerPx": 49500, "isMarket": True, "tpsl": "sl"}},
        "reduce_only": True,
    }
    take = stop | {"limit_px": 49500, "order_type": {"trigger": {"triggerPx": 51000, "isMarket": True, "tpsl": "tp"}}}
    answer = exchange.bulk_orders([stop, take], grouping="positionTpsl")
    assert answer["response"]["data"]["statuses"] == ["waitingForTrigger", "waitingForTrigger"]
    rows = info.frontend_open_orders(USER)
    assert {row["orderType"] for row in rows} == {"Stop Market", "Take Profit Market"}
    assert all(row["isPositionTpsl"] and row["sz"] == row["origSz"] == "0.0" and row["tif"] is None for row in rows)
    exchange.market_open("BTC", True, 0.01)
    sim.set_mark("BTC", "51000")
    assert sim.position(USER, "BTC") == 0 and info.frontend_open_orders(USER) == []


def test_bracket_children_wait_for_the_entry(exchange, info):
    entry = {"coin": "BTC", "is_buy": True, "sz": 0.01, "limit_px": 49000, "order_type": {"limit": {"tif": "Gtc"}}}
    stop = {
        "coin": "BTC",
        "is_buy": False,
        "sz": 0.01,
        "limit_px": 43000,
        "order_type": {"trigger": {"triggerPx": 48000, "isMarket": True, "tpsl": "sl"}},
        "reduce_only": True,
    }
    resting = exchange.bulk_orders([entry | {"reduce_only": False}, stop], grouping="normalTpsl")
    first, child = resting["response"]["data"]["statuses"]
    assert child == "waitingForFill"
    parent = next(row for row in info.frontend_open_orders(USER) if row["oid"] == first["resting"]["oid"])
    assert [row["orderType"] for row in parent["children"]] == ["Stop Market"]
    exchange.cancel("BTC", first["resting"]["oid"])
    assert info.frontend_open_orders(USER) == []
    at_once = entry | {"reduce_only": False, "limit_px": 50100, "order_type": {"limit": {"tif": "Ioc"}}}
    filled = exchange.bulk_orders([at_once, stop], grouping="normalTpsl")["response"]["data"]["statuses"]
    assert "filled" in filled[0] and filled[1] == "waitingForTrigger"


def test_cancel_by_cloid_and_lookup(exchange, info):
    cloid = Cloid.from_int(7)
    resting = status(exchange.order("ETH", False, 0.1, 2600, {"limit": {"tif": "Alo"}}, cloid=cloid))["resting"]
    assert resting["cloid"] == cloid.to_raw()
    assert info.query_order_by_cloid(USER, cloid)["order"]["order"]["oid"] == resting["oid"]
    assert status(exchange.cancel_by_cloid("ETH", cloid)) == "success"
    assert info.query_order_by_cloid(USER, Cloid.from_int(8)) == {"status": "unknownOid"}


def test_modify_gives_a_new_oid(exchange, info):
    old = status(exchange.order("BTC", True, 0.01, 49000, {"limit": {"tif": "Gtc"}}))["resting"]["oid"]
    new = status(exchange.modify_order(old, "BTC", True, 0.02, 48900, {"limit": {"tif": "Gtc"}}))["resting"]["oid"]
    assert new != old
    (row,) = info.frontend_open_orders(USER)
    assert (row["oid"], row["sz"], row["limitPx"], row["tif"]) == (new, "0.02", "48900.0", "Alo")
    assert info.query_order_by_oid(USER, old)["order"]["status"] == "canceled"
    gone = status(exchange.modify_order(old, "BTC", True, 0.02, 48900, {"limit": {"tif": "Gtc"}}))
    assert "Cannot modify canceled or filled order" in gone["error"]


def test_market_open_and_close(exchange, sim):
    assert "filled" in status(exchange.market_open("ETH", False, 0.5))
    assert sim.position(USER, "ETH") < 0
    assert "filled" in status(exchange.market_close("ETH"))
    assert sim.position(USER, "ETH") == 0
    assert exchange.market_close("ETH") is None  # nothing held: the SDK sends nothing


def test_leverage(exchange, info):
    assert exchange.update_leverage(5, "BTC") == {"status": "ok", "response": {"type": "default"}}
    assert exchange.update_leverage(41, "BTC")["response"] == "Invalid leverage value"
    exchange.market_open("BTC", True, 0.01)
    assert info.user_state(USER)["assetPositions"][0]["position"]["leverage"] == {"type": "cross", "value": 5}
    switch = exchange.update_leverage(5, "BTC", is_cross=False)
    assert switch == {"status": "err", "response": "Cannot switch leverage type with open position."}


def test_isolated_margin(exchange, info):
    exchange.update_leverage(10, "BTC", is_cross=False)
    exchange.market_open("BTC", True, 0.01)
    assert exchange.update_isolated_margin(10, "BTC")["status"] == "ok"
    (row,) = info.user_state(USER)["assetPositions"]
    # 10 % of the entry and 10 more, less the open loss of one tick of half spread.
    assert row["position"]["marginUsed"] == "59.991" and row["position"]["leverage"]["type"] == "isolated"


def test_schedule_cancel_is_refused_for_volume(exchange):
    refused = exchange.schedule_cancel(int(time.time() * 1000) + 60_000)
    assert refused["status"] == "err"
    assert refused["response"].startswith(
        "Cannot set scheduled cancel time until enough volume traded. Required: $1000000."
    )


def test_noop_and_class_transfer(exchange, info):
    assert exchange.noop(int(time.time() * 1000))["response"] == {"type": "default"}
    assert exchange.usd_class_transfer(100.0, False)["status"] == "ok"
    assert info.user_state(USER)["withdrawable"] == "9900.0"
    assert info.spot_user_state(USER)["balances"][0]["total"] == "100.0"


def test_an_approved_agent_trades_for_its_master(exchange, sim, info):
    answer, agent_key = exchange.approve_agent("bot1")
    assert answer["status"] == "ok"
    agent = Account.from_key(agent_key)
    by_agent = Exchange(agent, sim.url, account_address=USER)
    assert "filled" in status(by_agent.market_open("BTC", True, 0.01))
    assert sim.position(USER, "BTC") > 0
    assert info.user_state(agent.address)["marginSummary"]["accountValue"] == "0.0"
    assert info.extra_agents(USER)[0]["address"] == agent.address.lower()
    assert info.user_role(agent.address) == {"role": "agent", "data": {"user": USER.lower()}}
    sim.fault("expire_agent")
    refused = by_agent.market_open("BTC", True, 0.01)
    assert refused["response"] == f"User or API Wallet {agent.address.lower()} does not exist."


def test_sockets_of_the_sdk(exchange, sim):
    info, inbox = Info(sim.url), queue.Queue()
    try:
        for subscription in (
            {"type": "trades", "coin": "BTC"},
            {"type": "l2Book", "coin": "BTC"},
            {"type": "bbo", "coin": "BTC"},
            {"type": "allMids"},
            {"type": "candle", "coin": "BTC", "interval": "1m"},
            {"type": "activeAssetCtx", "coin": "BTC"},
            {"type": "activeAssetData", "coin": "BTC", "user": USER},
            {"type": "userEvents", "user": USER},
            {"type": "userFills", "user": USER},
            {"type": "orderUpdates", "user": USER},
            {"type": "userFundings", "user": USER},
            {"type": "userNonFundingLedgerUpdates", "user": USER},
        ):
            info.subscribe(subscription, inbox.put)
        sim.wait_until(lambda: len(sim.subscriptions()) == 12)
        exchange.market_open("BTC", True, 0.01)
        seen = {}
        while not {"orderUpdates", "user", "trades", "l2Book", "candle"} <= seen.keys() or len(seen["userFills"]) < 2:
            frame = inbox.get(timeout=5)
            seen.setdefault(frame["channel"], []).append(frame["data"])
        assert seen["userFills"][0]["isSnapshot"] is True and "isSnapshot" not in seen["userFills"][1]
        assert seen["orderUpdates"][0][0]["status"] == "filled"
        assert seen["user"][0]["fills"][0]["tid"] == seen["userFills"][1]["fills"][0]["tid"]
    finally:
        info.disconnect_websocket()
