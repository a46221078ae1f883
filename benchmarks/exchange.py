"""What the loopback venue knows and answers: one market, one account, every order filled at once. No sockets here."""

import time
from typing import Any

import msgspec

START_PRICE = "50000.0"
CROSSING_PRICE = "49000.0"  # beyond the stop of every contestant, which is one percent below the start
SIZE = "0.01"
OID = 556_696_349_186

Events = list[tuple[str, bytes]]  # channel, payload


def ms_now() -> int:
    return time.time_ns() // 1_000_000


class Action(msgspec.Struct):
    """The part of a request to /exchange that the venue looks at."""

    kind: str
    orders: list[dict[str, Any]] = []
    cancels: list[dict[str, Any]] = []

    @property
    def is_market_order(self) -> bool:
        return self.kind == "order" and all("trigger" not in order["t"] for order in self.orders)

    @property
    def is_stop(self) -> bool:
        return self.kind == "order" and not self.is_market_order


class Exchange:
    def __init__(self) -> None:
        self.mark = START_PRICE
        self.is_open = False  # a long of SIZE at START_PRICE
        self.stops: dict[int, dict[str, Any]] = {}  # by oid
        self.listed_stops = 0  # how many stops the last list of working orders held
        self.seen_clean = False  # a list of working orders has been read since the account became flat
        self.stops_placed = 0
        self.user = ""
        self._serial = 0

    def next_id(self) -> int:
        self._serial += 1
        return self._serial

    # --- reads ------------------------------------------------------------------------------------------------------

    def info(self, request: dict[str, Any]) -> bytes:
        kind = request["type"]
        if "user" in request:
            self.user = request["user"].lower()
        answer = ANSWERS.get(kind)
        if answer is not None:
            return answer
        match kind:
            case "exchangeStatus":
                return b'{"time":%d,"specialStatuses":null}' % ms_now()
            case "clearinghouseState":
                return msgspec.json.encode(self._account())
            case "frontendOpenOrders" | "openOrders":
                self.listed_stops = len(self.stops)
                self.seen_clean = not self.stops and not self.is_open
                return msgspec.json.encode(list(self.stops.values()))
            case "userFillsByTime" | "userFills" | "historicalOrders" | "candleSnapshot":
                return b"[]"
            case "l2Book":
                mid = float(self.mark)
                levels = [[{"px": f"{px:.1f}", "sz": "1.0", "n": 1}] for px in (mid - 1, mid + 1)]
                return msgspec.json.encode({"coin": "BTC", "time": ms_now(), "levels": levels})
            case "allMids":
                return msgspec.json.encode({"BTC": self.mark})
            case "metaAndAssetCtxs":
                return msgspec.json.encode([_META, [context(self.mark)]])
        return b"null"

    def _account(self) -> dict[str, Any]:
        summary = {
            "accountValue": "10000.0",
            "totalNtlPos": "500.0" if self.is_open else "0.0",
            "totalRawUsd": "10000.0",
            "totalMarginUsed": "12.5" if self.is_open else "0.0",
        }
        position = {
            "coin": "BTC",
            "szi": SIZE,
            "leverage": {"type": "cross", "value": 40},
            "entryPx": START_PRICE,
            "positionValue": "500.0",
            "unrealizedPnl": "0.0",
            "returnOnEquity": "0.0",
            "liquidationPx": None,
            "marginUsed": "12.5",
            "maxLeverage": 40,
            "cumFunding": {"allTime": "0.0", "sinceOpen": "0.0", "sinceChange": "0.0"},
        }
        return {
            "marginSummary": summary,
            "crossMarginSummary": summary,
            "crossMaintenanceMarginUsed": "0.0",
            "withdrawable": "9000.0",
            "assetPositions": [{"type": "oneWay", "position": position}] if self.is_open else [],
            "time": ms_now(),
        }

    def first_frame(self, channel: str) -> bytes | None:
        if channel == "userFills":
            return self._fills([], is_snapshot=True)
        if channel == "activeAssetCtx":
            return context_frame(self.mark)
        return None

    # --- actions ----------------------------------------------------------------------------------------------------

    def read_action(self, body: bytes) -> Action:
        action = msgspec.json.decode(body)["action"]
        return Action(action["type"], action.get("orders", []), action.get("cancels", []))

    def act(self, action: Action) -> tuple[bytes, Events]:
        """The answer, and what the user's streams say of it."""
        if action.kind in ("cancel", "cancelByCloid"):
            for cancel in action.cancels:
                self.stops.pop(cancel.get("o", 0), None)
            return statuses("cancel", ["success"] * len(action.cancels)), []
        if action.kind != "order":
            return b'{"status":"ok","response":{"type":"default"}}', []
        if action.is_stop:
            for order in action.orders:
                self._rest(order)
            return statuses("order", ["waitingForTrigger"] * len(action.orders)), []
        return self._fill(action.orders[0])

    def _rest(self, order: dict[str, Any]) -> None:
        oid = OID + self.next_id()
        self.stops_placed += 1
        self.stops[oid] = {
            "coin": "BTC",
            "side": "B" if order["b"] else "A",
            "limitPx": order["p"],
            "sz": "0.0",
            "oid": oid,
            "timestamp": ms_now(),
            "triggerCondition": f"Price below {order['t']['trigger']['triggerPx']}",
            "isTrigger": True,
            "triggerPx": order["t"]["trigger"]["triggerPx"],
            "children": [],
            "isPositionTpsl": True,
            "reduceOnly": True,
            "orderType": "Stop Market",
            "origSz": "0.0",
            "tif": None,
            "cloid": None,
        }

    def _fill(self, order: dict[str, Any]) -> tuple[bytes, Events]:
        oid = OID + self.next_id()
        cloid = order.get("c")
        was_open, self.is_open = self.is_open, False
        self.seen_clean = False
        filled = {"totalSz": order["s"], "avgPx": CROSSING_PRICE, "oid": oid} | ({"cloid": cloid} if cloid else {})
        answer = statuses("order", [{"filled": filled}])
        if not was_open:
            return answer, []  # the simple contestants' exit: nobody listens to fills
        gone = [
            {"order": stop, "status": "reduceOnlyCanceled", "statusTimestamp": ms_now()} for stop in self.stops.values()
        ]
        self.stops.clear()
        fill = self._one_fill("A", CROSSING_PRICE, SIZE, "Close Long", oid) | ({"cloid": cloid} if cloid else {})
        updates = msgspec.json.encode({"channel": "orderUpdates", "data": gone})
        return answer, [("userFills", self._fills([fill])), ("orderUpdates", updates)]

    def open_by_hand(self) -> bytes:
        """The account's owner buys: the frame that tells the bot of it."""
        self.is_open = True
        return self._fills([self._one_fill("B", START_PRICE, "0.0", "Open Long", OID + self.next_id())])

    def _fills(self, fills: list[dict[str, Any]], is_snapshot: bool = False) -> bytes:
        data: dict[str, Any] = {"user": self.user, "fills": fills}
        return msgspec.json.encode(
            {"channel": "userFills", "data": data | ({"isSnapshot": True} if is_snapshot else {})}
        )

    def _one_fill(self, side: str, price: str, before: str, direction: str, oid: int) -> dict[str, Any]:
        return {
            "coin": "BTC",
            "px": price,
            "sz": SIZE,
            "side": side,
            "time": ms_now(),
            "startPosition": before,
            "dir": direction,
            "closedPnl": "0.0",
            "hash": "0x" + "0" * 64,
            "oid": oid,
            "crossed": True,
            "fee": "0.1",
            "tid": 100_000 + self.next_id(),
            "feeToken": "USDC",
            "twapId": None,
        }


def statuses(kind: str, rows: list[Any]) -> bytes:
    return msgspec.json.encode({"status": "ok", "response": {"type": kind, "data": {"statuses": rows}}})


CONTEXT = {
    "funding": "0.0000125",
    "openInterest": "36585.3",
    "prevDayPx": "50000.0",
    "dayNtlVlm": "4161029539.6",
    "premium": "0.0",
    "oraclePx": START_PRICE,
    "markPx": START_PRICE,
    "midPx": START_PRICE,
    "impactPxs": ["49999.0", "50001.0"],
    "dayBaseVlm": "49116.0",
}


def context(mark: str) -> dict[str, Any]:
    return CONTEXT | {"oraclePx": mark, "markPx": mark, "midPx": mark}


def context_frame(mark: str) -> bytes:
    return msgspec.json.encode({"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": context(mark)}})


_META = {
    "universe": [{"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56}],
    "marginTables": [[56, {"description": "40x", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": 40}]}]],
    "collateralToken": 0,
}
_USDC = {
    "name": "USDC",
    "szDecimals": 8,
    "weiDecimals": 8,
    "index": 0,
    "tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054",
    "isCanonical": True,
    "evmContract": None,
    "fullName": None,
}
_SPOT_META: dict[str, Any] = {"tokens": [_USDC], "universe": []}
_FIXED: dict[str, Any] = {
    "meta": _META,
    "allPerpMetas": [_META],
    "spotMeta": _SPOT_META,
    "spotMetaAndAssetCtxs": [_SPOT_META, []],
    "outcomeMeta": {"outcomes": [], "questions": []},
    "perpDexs": [None],
    "userAbstraction": "disabled",
    "userDexAbstraction": None,
    "userRole": {"role": "user"},
    "userRateLimit": {"cumVlm": "0.0", "nRequestsUsed": 0, "nRequestsCap": 1_000_000, "nRequestsSurplus": 0},
    "userFees": {"userCrossRate": "0.00045", "userAddRate": "0.00015"},
    "spotClearinghouseState": {"balances": [{"coin": "USDC", "total": "10000.0", "hold": "0.0", "token": 0}]},
}
ANSWERS = {kind: msgspec.json.encode(answer) for kind, answer in _FIXED.items()}
