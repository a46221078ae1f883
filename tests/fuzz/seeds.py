"""Sound messages of both venues to start from: recorded ones where there are any, else as the protocol pages show them.

The pages' own are kept in the tests that decode them; recorded ones lie outside the repository, so they may be missing.
"""

import json
import os
from pathlib import Path
from typing import Any

from tests import hyperliquid_frames as pages
from tests import topstep_answers, topstep_hub

DATA = Path(os.environ.get("RECORDED_DATA", Path(__file__).parents[3] / "shared" / "data"))
ROWS = 3  # of a long list: more of the same finds nothing new and costs time


def is_recorded() -> bool:
    return (DATA / "hyperliquid").is_dir()


def recorded(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def short(value: Any) -> Any:
    """`value` with every list cut to its first rows."""
    if isinstance(value, list):
        return [short(item) for item in value[:ROWS]]
    return {key: short(item) for key, item in value.items()} if isinstance(value, dict) else value


# --- Hyperliquid ------------------------------------------------------------------------------------------------------

_FRAMES = ("TRADES", "BOOK", "BBO", "CANDLE", "CTX", "FILLS", "SNAPSHOT", "NO_FILLS", "USER_FILLS", "UPDATES")


def retimed(value: Any, now_ms: int) -> Any:
    """`value` with every time of Hyperliquid's set to just before `now_ms`: what is old opens no position."""
    if isinstance(value, list):
        return [retimed(item, now_ms) for item in value]
    if not isinstance(value, dict):
        return value
    times = {"time": now_ms - 40, "statusTimestamp": now_ms - 40, "t": now_ms - 60_000, "T": now_ms - 1}
    return {
        key: times[key] if key in times and isinstance(item, int) else retimed(item, now_ms)
        for key, item in value.items()
    }


def hyperliquid_frames() -> list[Any]:
    return retimed(_hyperliquid_frames(), pages.NOW)


def _hyperliquid_frames() -> list[Any]:
    frames = [json.loads(getattr(pages, name)) for name in _FRAMES]
    subscription = {"type": "trades", "coin": "BTC"}
    frames += [
        {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": subscription}},
        {"channel": "error", "data": 'Invalid subscription {"type":"trades","coin":"NOPE"}'},
        {"channel": "pong"},
        {"channel": "post", "data": {"id": 1, "response": {"type": "info"}}},
    ]
    if is_recorded():
        fills = recorded("hyperliquid/info_userFills.json")[0]["response"][: 2 * ROWS]
        fills = [fill | {"coin": "BTC", "tid": number} for number, fill in enumerate(fills)]
        frames.append({"channel": "userFills", "data": {"user": pages.USER, "fills": fills}})
        book = next(a for a in recorded("hyperliquid/info_l2Book.json") if a["request"]["type"] == "l2Book")["response"]
        frames.append({"channel": "l2Book", "data": short(book) | {"coin": "BTC"}})
    return frames


def hyperliquid_answers() -> dict[str, Any]:
    """By request type."""
    found = {
        "meta": {"universe": [{"name": "BTC", "szDecimals": 5, "maxLeverage": 40},
                              {"name": "ETH", "szDecimals": 4, "maxLeverage": 25, "onlyIsolated": True}]},
        "clearinghouseState": {
            "marginSummary": {"accountValue": "10000.5", "totalMarginUsed": "12.5"}, "withdrawable": "9000.0",
            "assetPositions": [{"position": {
                "coin": "BTC", "szi": "-0.01", "leverage": {"type": "cross", "value": 10}, "unrealizedPnl": "1.5",
                "entryPx": "50000.0", "liquidationPx": "90000.0",
            }}], "time": pages.NOW,
        },
        "spotClearinghouseState": {"balances": [{"coin": "USDC", "total": "100.5", "hold": "1.0"}]},
        "userAbstraction": ["default"],
        "frontendOpenOrders": [{
            "coin": "BTC", "side": "A", "limitPx": "45000.0", "sz": "0.0", "oid": 91, "timestamp": pages.NOW,
            "isTrigger": True, "triggerPx": "49000.0", "isPositionTpsl": True, "reduceOnly": True,
            "orderType": "Stop Market", "origSz": "0.0", "cloid": None,
        }],
        "userFillsByTime": [json.loads(pages.FILL)],
        "candleSnapshot": [{"t": pages.NOW - 60_000, "T": pages.NOW - 1, "s": "BTC", "i": "1m", "o": "50000.0",
                            "c": "50001.0", "h": "50002.0", "l": "49999.0", "v": "1.5", "n": 3}],
        "l2Book": {"coin": "BTC", "time": pages.NOW, "levels": [[{"px": "50000.0", "sz": "1.0", "n": 1}],
                                                               [{"px": "50001.0", "sz": "2.0", "n": 1}]]},
        "allMids": {symbol: "50000.5" for symbol in ("BTC", "ETH", "A", "B", "C", "D")},
        "metaAndAssetCtxs": [{"universe": [{"name": "BTC", "szDecimals": 5, "maxLeverage": 40}]}, [{"markPx": "5.0"}]],
        "userRateLimit": {"cumVlm": "0.0", "nRequestsUsed": 10, "nRequestsCap": 10_000},
        "exchangeStatus": {"time": pages.NOW, "specialStatuses": None},
        "userRole": {"role": "user"},
        "extraAgents": [{"name": "bot", "address": "0x" + "22" * 20, "validUntil": pages.NOW + 86_400_000}],
        "activeAssetData": {"leverage": {"type": "cross", "value": 5}},
        "orderStatus": {"status": "order", "order": {"order": {
            "coin": "BTC", "side": "B", "limitPx": "50000.0", "sz": "0.0", "oid": 77, "timestamp": pages.NOW,
            "isTrigger": False, "triggerPx": "0.0", "isPositionTpsl": False, "reduceOnly": False,
            "orderType": "Limit", "origSz": "0.01", "cloid": "0x" + "1" * 32,
        }, "status": "filled", "statusTimestamp": pages.NOW}},
        "order": {"status": "ok", "response": {"type": "order", "data": {"statuses": [
            {"filled": {"totalSz": "0.01", "avgPx": "50000.0", "oid": 77, "cloid": "0x" + "1" * 32}}]}}},
        "cancel": {"status": "ok", "response": {"type": "cancel", "data": {"statuses": ["success"]}}},
        "updateLeverage": {"status": "ok", "response": {"type": "default"}},
        "noop": {"status": "err", "response": "Invalid nonce: duplicate nonce 1"},
    }  # fmt: skip
    found["historicalOrders"] = [found["orderStatus"]["order"]]  # type: ignore[index]
    if is_recorded():
        for path in sorted((DATA / "hyperliquid").glob("info_*.json")):
            for answer in json.loads(path.read_text(encoding="utf-8")):
                what = (
                    answer["request"]["type"].replace("userFills", "userFillsByTime").replace("ByTimeByTime", "ByTime")
                )
                if what in found and what not in ("meta", "allMids"):
                    found[what] = short(answer["response"])
        found["l2Book"]["coin"] = "BTC"
    return found


# --- TopstepX ---------------------------------------------------------------------------------------------------------


def topstepx_records() -> list[Any]:
    hub = topstep_hub
    texts = [
        hub.quote(bestBid=4100.1, bestAsk=4100.3),
        hub.quote(bestAsk=4100.4, updated=""),
        hub.prints(hub.a_print(), hub.a_print(4100.3)),
        hub.event("GatewayDepth", hub.MNQ, [hub.level(4, 29547, 2), hub.level(3, 29548, 1)]),
        hub.wrapped("GatewayUserAccount", hub.ACCOUNT_ROW),
        hub.wrapped("GatewayUserOrder", hub.ORDER_ROW),
        hub.wrapped(
            "GatewayUserOrder", hub.ORDER_ROW | {"type": 4, "status": 1, "stopPrice": 29300, "contractId": hub.MGC}
        ),
        hub.wrapped("GatewayUserPosition", hub.POSITION_ROW | {"contractId": hub.MGC}),
        hub.wrapped("GatewayUserTrade", hub.FILL_ROW | {"contractId": hub.MGC}),
    ]
    records = [json.loads(text) for text in texts]
    records += [{"type": 6}, {"type": 7, "error": "x", "allowReconnect": True}, {"type": 3, "invocationId": "1"}]
    if is_recorded():
        lines = (DATA / "topstepx" / "hub_frames.jsonl").read_text(encoding="utf-8").splitlines()
        records += [json.loads(line) for line in lines if line.strip()]
    return records


def topstepx_answers() -> dict[str, Any]:
    """By endpoint."""
    ok, account = topstep_answers.ok, topstep_answers.ACCOUNT_ID
    at = "2026-09-25T18:27:40.123+00:00"
    order = {"id": 5, "accountId": account, "contractId": "CON.F.US.MGC.Z26", "creationTimestamp": at, "status": 1,
             "type": 4, "side": 1, "size": 2, "limitPrice": None, "stopPrice": 4090.0, "fillVolume": 0,
             "filledPrice": None, "customTag": "0x" + "1" * 32 + "-SL", "parentOrderId": 4}  # fmt: skip
    trade = {"id": 8, "accountId": account, "contractId": "CON.F.US.MGC.Z26", "creationTimestamp": at, "price": 4100.2,
             "profitAndLoss": None, "fees": 0.74, "side": 0, "size": 1, "voided": False, "orderId": 5}  # fmt: skip
    held = {"id": 3, "accountId": account, "contractId": "CON.F.US.MGC.Z26", "creationTimestamp": at, "type": 1,
            "size": 2, "averagePrice": 4100.25}  # fmt: skip
    bar = {"t": "2026-09-25T18:27:00+00:00", "o": 4100.1, "h": 4100.4, "l": 4099.9, "c": 4100.2, "v": 12}
    found = {
        "Auth/loginKey": ok(token=topstep_answers.TOKENS[0]),
        "Auth/validate": ok(newToken=topstep_answers.TOKENS[1]),
        "Account/search": ok(accounts=[topstep_answers.ACCOUNT_ROW]),
        "Contract/available": ok(contracts=topstep_answers.CONTRACTS),
        "Contract/searchById": ok(contract=topstep_answers.CONTRACTS[0]),
        "Contract/search": ok(contracts=topstep_answers.CONTRACTS),
        "Position/searchOpen": ok(positions=[held]),
        "Order/searchOpen": ok(orders=[order]),
        "Order/search": ok(orders=[order | {"customTag": "0x" + "1" * 32, "type": 2, "status": 2, "side": 0}]),
        "Order/searchById": ok(order=order | {"status": 3}),
        "Trade/search": ok(trades=[trade]),
        "History/retrieveBars": ok(bars=[bar]),
        "Order/place": ok(orderId=9),
        "Order/cancel": ok(),
        "Order/modify": ok(),
        "Position/closeContract": ok(),
    }
    if is_recorded():
        found["History/retrieveBars"] = short(recorded("topstepx/History_retrieveBars_MNQ_1m.json"))
        found["Account/search"] = short(recorded("topstepx/Account_search.json"))
    return found
