"""What the loopback TopstepX knows and answers: two contracts, one account, every order filled at once. No sockets.

Wire facts: protocol page 1.3, 2 and 3.4.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from benchmarks.exchange import ms_now

MGC, MNQ = "CON.F.US.MGC.Z26", "CON.F.US.MNQ.Z26"
ACCOUNT_ID, ACCOUNT = 20_000_001, "PRAC-V2-100001-10000101"  # what the bot takes on a simulated venue
START_PRICE = {MGC: 4100.0, MNQ: 21_000.0}
ORDER_ID, TRADE_ID = 3_400_000_000, 2_900_000_000  # beyond 32 bits, as the venue's are
KEPT = 200
OPEN, FILLED, CANCELED = 1, 2, 3  # OrderStatus
LIMIT, MARKET, STOP = 1, 2, 4  # OrderType
WRITES = frozenset({"Order/place", "Order/cancel", "Order/modify", "Position/closeContract"})

Events = list[tuple[str, bytes]]  # channel, record
ORDER, FILL, POSITION, BALANCE = "GatewayUserOrder", "GatewayUserTrade", "GatewayUserPosition", "GatewayUserAccount"


class Write(msgspec.Struct):
    """A request that changes something."""

    what: str  # below /api/
    body: dict[str, Any]


def ok(**payload: Any) -> bytes:
    return msgspec.json.encode({"success": True, "errorCode": 0, "errorMessage": None, **payload})


def time_text(time_ms: int | None = None) -> str:
    moment_ms = ms_now() if time_ms is None else time_ms
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds")


def token() -> str:
    """Good for a day."""
    now_s = ms_now() // 1000
    parts = ({"alg": "HS256"}, {"iat": now_s, "exp": now_s + 86_400})
    texts = [base64.urlsafe_b64encode(msgspec.json.encode(part)).decode().rstrip("=") for part in parts]
    return ".".join([*texts, "believed"])


class Futures:
    def __init__(self) -> None:
        self.last = dict(START_PRICE)
        self.held: dict[str, tuple[int, float]] = {}  # signed size and average price, by contract
        self.orders: dict[int, dict[str, Any]] = {}  # the newest, ended ones too
        self.listed_stops = 0  # how many stops the last list of working orders held
        self.seen_clean = False  # such a list has been read since the account became flat, and was empty
        self.stops_placed = 0
        self._serial = 0
        self._reads: dict[str, Callable[[dict[str, Any]], bytes]] = {
            "Auth/loginKey": lambda _: ok(token=token()),
            "Auth/validate": lambda _: ok(newToken=token()),
            "Account/search": lambda _: ok(accounts=[self._account()]),
            "Contract/available": lambda _: CONTRACTS,
            "Contract/search": lambda _: CONTRACTS,
            "Position/searchOpen": lambda _: ok(positions=[self._position(contract) for contract in self.held]),
            "Order/searchOpen": lambda _: self._list_orders(),
            "Order/searchById": lambda body: ok(order=self.orders.get(body["orderId"])),
            "Order/search": lambda _: ok(orders=list(self.orders.values())),
            "Trade/search": lambda _: ok(trades=[]),
            "History/retrieveBars": lambda body: ok(bars=[self._bar(body["contractId"])]),
        }

    def next_id(self) -> int:
        self._serial += 1
        return self._serial

    # --- reads ------------------------------------------------------------------------------------------------------

    def read(self, what: str, body: dict[str, Any]) -> bytes:
        return self._reads[what](body)

    def _account(self) -> dict[str, Any]:
        row = {"id": ACCOUNT_ID, "name": ACCOUNT, "balance": 150_000.0}
        return row | {"canTrade": True, "isVisible": True, "simulated": True}

    def _position(self, contract: str) -> dict[str, Any]:
        size, price = self.held.get(contract, (0, self.last[contract]))
        return {
            "id": 825_245_547,
            "accountId": ACCOUNT_ID,
            "contractId": contract,
            "contractDisplayName": contract,
            "creationTimestamp": time_text(),
            "type": (size > 0) + 2 * (size < 0),
            "size": abs(size),
            "averagePrice": price,
        }

    def _list_orders(self) -> bytes:
        working = [order for order in self.orders.values() if order["status"] == OPEN]
        self.listed_stops = sum(order["type"] == STOP for order in working)
        self.seen_clean = not working and not self.held
        return ok(orders=working)

    def _bar(self, contract: str) -> dict[str, Any]:
        price = self.last[contract]
        return {"t": time_text(ms_now() // 1000 * 1000), "o": price, "h": price, "l": price, "c": price, "v": 1}

    # --- writes -----------------------------------------------------------------------------------------------------

    def act(self, write: Write) -> tuple[bytes, Events]:
        """The answer, and what the user hub says of it."""
        body = write.body
        if write.what == "Order/place":
            return self._place(body)
        if write.what == "Position/closeContract":
            contract = body["contractId"]
            return ok(), self._fill(self._new(body | {"type": MARKET, "side": 1, "size": 1}), self.last[contract])
        order = self.orders.get(body["orderId"])
        if order is None:  # of a contestant that placed none
            return ok(), []
        if write.what == "Order/cancel":
            order["status"] = CANCELED
        else:
            order |= {name: body[name] for name in ("size", "stopPrice", "limitPrice") if body.get(name) is not None}
        return ok(), [self._news(order)]

    def _place(self, body: dict[str, Any]) -> tuple[bytes, Events]:
        order = self._new(body)
        answer = ok(orderId=order["id"])
        if order["type"] == MARKET:
            return answer, self._fill(order, self.last[order["contractId"]])
        self.stops_placed += order["type"] == STOP
        return answer, [self._news(order)]

    def _new(self, body: dict[str, Any]) -> dict[str, Any]:
        order = {
            "id": ORDER_ID + self.next_id(),
            "accountId": ACCOUNT_ID,
            "contractId": body["contractId"],
            "creationTimestamp": time_text(),
            "updateTimestamp": None,
            "status": OPEN,
            "type": body["type"],
            "side": body["side"],
            "size": body["size"],
            "limitPrice": body.get("limitPrice"),
            "stopPrice": body.get("stopPrice"),
            "fillVolume": 0,
            "filledPrice": None,
            "customTag": body.get("customTag"),
        }
        self.orders[order["id"]] = order
        while len(self.orders) > KEPT:
            self.orders.pop(next(iter(self.orders)))
        return order

    def _fill(self, order: dict[str, Any], price: float) -> Events:
        contract, size = order["contractId"], order["size"] * (-1 if order["side"] else 1)
        order |= {"status": FILLED, "fillVolume": order["size"], "filledPrice": price}
        held = self.held.get(contract, (0, 0.0))[0] + size
        self.held[contract] = (held, price)
        if held == 0:
            del self.held[contract]
        self.seen_clean = False
        fill = {
            "id": TRADE_ID + self.next_id(),
            "accountId": ACCOUNT_ID,
            "contractId": contract,
            "creationTimestamp": time_text(),
            "price": price,
            "profitAndLoss": 0.0 if held == 0 else None,
            "fees": 0.71,
            "commissions": 0.25,
            "side": order["side"],
            "size": order["size"],
            "voided": False,
            "orderId": order["id"],
        }
        position = wrapped(POSITION, 1 if held else 2, self._position(contract))
        return [self._news(order), wrapped(FILL, 0, fill), position, wrapped(BALANCE, 1, self._account())]

    def _news(self, order: dict[str, Any]) -> tuple[str, bytes]:
        return wrapped(ORDER, 1, order)

    def buy_by_hand(self, contract: str, price: float) -> Events:
        """The account's owner buys one: what the user hub says of it."""
        self.listed_stops = 0
        return self._fill(self._new({"contractId": contract, "type": MARKET, "side": 0, "size": 1}), price)


def wrapped(target: str, action: int, data: dict[str, Any]) -> tuple[str, bytes]:
    """A user event as the venue sends it: wrapped, nulls left out."""
    shown = {name: value for name, value in data.items() if value is not None}
    return target, record(target, {"action": action, "data": shown})


def record(target: str, *arguments: Any) -> bytes:
    return msgspec.json.encode({"type": 1, "target": target, "arguments": arguments}) + b"\x1e"


def trade_record(contract: str, price: float) -> bytes:
    """One print of this millisecond."""
    print_ = {"symbolId": contract[4:12], "price": price, "timestamp": time_text(), "type": 1, "volume": 1}
    return record("GatewayTrade", contract, [print_ | {"contractId": contract}])


def quote_record(contract: str, bid: float, ask: float) -> bytes:
    changed = {"symbol": contract[4:12], "bestBid": bid, "bestAsk": ask}
    return record("GatewayQuote", contract, changed | {"lastUpdated": time_text(), "timestamp": time_text()})


def _contract(contract: str, name: str, tick_size: float, tick_value: float) -> dict[str, Any]:
    ticks = {"tickSize": tick_size, "tickValue": tick_value}
    return {"id": contract, "name": name, "description": name, "activeContract": True, "symbolId": name[:3]} | ticks


CONTRACTS = ok(contracts=[_contract(MGC, "MGCZ6", 0.1, 1), _contract(MNQ, "MNQZ6", 0.25, 0.5)])
