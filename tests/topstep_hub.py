"""Hub records as the protocol page (3.4, 2) shows them, and a scripted hub (page 4) to hold them against."""

import json
from typing import Any

from tests.wsserver import Connection

ACCOUNT = 20000001
MGC, MNQ, MES = "CON.F.US.MGC.Z26", "CON.F.US.MNQ.U26", "CON.F.US.MES.U26"
CONTRACTS = {MGC: "MGC", MNQ: "MNQ", MES: "MES"}
NOW = 1_787_172_691_500  # 2026-08-19T20:51:31.5Z
RS = "\x1e"
TOKEN = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2lnbmF0dXJl"


def event(target: str, *arguments: Any) -> str:
    return json.dumps({"type": 1, "target": target, "arguments": list(arguments)}, separators=(",", ":"))


def quote(contract: str = MGC, updated: str = "2026-08-19T20:51:31.4347534+00:00", **fields: Any) -> str:
    """bid and ask as given; `updated` "" leaves the time out."""
    times = {"lastUpdated": updated, "timestamp": "2026-08-19T20:51:31.348+00:00"} if updated else {}
    return event("GatewayQuote", contract, {"symbol": "F.US.X", **fields, **times})


def a_print(price: Any = 4100.2, **fields: Any) -> dict[str, Any]:
    row = {"symbolId": "F.US.MGC", "price": price, "timestamp": "2026-08-19T20:51:30.052+00:00", "type": 1, "volume": 1}
    return row | fields


def prints(*rows: Any, contract: str = MGC) -> str:
    return event("GatewayTrade", contract, list(rows))


def level(kind: int, price: Any, volume: Any, **fields: Any) -> dict[str, Any]:
    return {"timestamp": "2026-08-19T20:51:31.4173693+00:00", "type": kind, "price": price, "volume": volume} | fields


def wrapped(target: str, data: Any, action: int = 1) -> str:
    return event(target, {"action": action, "data": data})


ACCOUNT_ROW = {
    "id": ACCOUNT, "name": "PRAC-V2-100001-12345678", "balance": 149848.64, "canTrade": True, "isVisible": True,
    "simulated": True,
}  # fmt: skip
ORDER_ROW = {
    "id": 3425270858, "accountId": ACCOUNT, "contractId": MNQ, "symbolId": "F.US.MNQ",
    "creationTimestamp": "2026-08-19T20:49:25.3938333+00:00", "updateTimestamp": "2026-08-19T20:49:25.3962105+00:00",
    "status": 5, "type": 2, "side": 1, "size": 1, "fillVolume": 0, "customTag": "bot-42",
}  # fmt: skip
POSITION_ROW = {
    "id": 825245547, "accountId": ACCOUNT, "contractId": MNQ, "contractDisplayName": "MNQU26",
    "creationTimestamp": "2026-08-19T14:15:48.611387+00:00", "type": 2, "size": 2, "averagePrice": 29398.5,
}  # fmt: skip
FILL_ROW = {
    "id": 3004518356, "accountId": ACCOUNT, "contractId": MNQ,
    "creationTimestamp": "2026-08-19T14:16:01.4061289+00:00", "price": 29423, "profitAndLoss": -49, "fees": 0.36,
    "commissions": 0.25, "side": 0, "size": 1, "voided": False, "orderId": 3423462488,
}  # fmt: skip


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in names}


class Hub:
    """An `on_text` that behaves like a hub: handshake, completions; remembers what was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []  # method, arguments
        self.errors: dict[str, str] = {}  # by method: what it is refused with
        self.silent: set[str] = set()  # methods that get no answer
        self.handshake = "{}"
        self.pings = 0

    def __call__(self, conn: Connection, text: str) -> None:
        assert text.endswith(RS)
        for record in text.split(RS)[:-1]:
            self._record(conn, json.loads(record))

    def _record(self, conn: Connection, record: dict[str, Any]) -> None:
        if "protocol" in record:
            assert record == {"protocol": "json", "version": 1}
            conn.send(self.handshake + RS)
        elif record["type"] == 6:
            self.pings += 1
        else:
            method = record["target"]
            self.calls.append((method, record["arguments"]))
            if method in self.silent:
                return
            answer = {"type": 3, "invocationId": record["invocationId"]}
            answer |= {"error": self.errors[method]} if method in self.errors else {"result": 0}
            conn.send(json.dumps(answer) + RS)
