"""The game's constants. Imported by path, so that it also works in a rival's own virtual environment."""

import json
from typing import Any, NamedTuple

STOP = 49_500.0
KEY = "0x" + "42" * 32  # made up; the loopback venue believes every signature
ACTION = {
    "type": "order",
    "orders": [
        {
            "a": 0,
            "b": False,
            "p": "46550",
            "s": "0.01",
            "r": True,
            "t": {"limit": {"tif": "Ioc"}},
            "c": "0x00000000000000000000000000000001",
        }
    ],
    "grouping": "na",
}
BODY = json.dumps(
    {
        "action": ACTION,
        "nonce": 1_790_000_000_000,
        "signature": {"r": "0x" + "1" * 64, "s": "0x" + "2" * 64, "v": 27},
        "vaultAddress": None,
        "expiresAfter": 1_790_000_015_000,
    }
).encode()
SUBSCRIBE = json.dumps({"method": "subscribe", "subscription": {"type": "trades", "coin": "BTC"}})
TYPE = {"Content-Type": "application/json"}

CONTRACT, ACCOUNT_ID = "CON.F.US.MGC.Z26", 20_000_001
TRAIL = 4103.0  # where the trailing stop of the TopstepX game lies: the price comes from 4105 and falls to 4102
HUB_SUBSCRIBE = {"type": 1, "invocationId": "1", "target": "SubscribeContractTrades", "arguments": [CONTRACT]}


class Game(NamedTuple):
    """What differs between the venues for the simple contestants."""

    stream: str  # path of the socket
    greetings: tuple[str, ...]
    path: str  # of the first request of the exit
    body: bytes
    headers: dict[str, str]
    stop: float
    below: bytes  # in a frame that crosses
    above: bytes
    end: bytes | None = None  # of each record in a message

    @property
    def header(self) -> bytes:
        """Without the type of the content."""
        return b"".join(f"{k}: {v}\r\n".encode() for k, v in self.headers.items() if k not in TYPE)

    def prices(self, data: bytes) -> list[float]:
        """Of every trade in one message."""
        found: list[float] = []
        for record in [data] if self.end is None else data.split(self.end)[:-1]:
            message: dict[str, Any] = json.loads(record)
            if message.get("channel") == "trades":
                found += [float(trade["px"]) for trade in message["data"]]
            elif message.get("target") == "GatewayTrade":
                found += [float(trade["price"]) for trade in message["arguments"][1]]
        return found


HYPERLIQUID = Game("/ws", (SUBSCRIBE,), "/exchange", BODY, TYPE, STOP, b'"px":"49000', b'"px":"5')
TOPSTEPX = Game(
    "/hubs/market?access_token=believed",
    ('{"protocol":"json","version":1}\x1e', json.dumps(HUB_SUBSCRIBE) + "\x1e"),
    "/api/Order/cancel",
    json.dumps({"accountId": ACCOUNT_ID, "orderId": 3_400_000_001}).encode(),
    {**TYPE, "Authorization": "Bearer " + "believed" * 24},
    TRAIL,
    b'"price":4102',
    b'"price":4105',
    b"\x1e",
)


def game_of(venue: str) -> Game:
    return {"hyperliquid": HYPERLIQUID, "topstepx": TOPSTEPX}[venue]


def split(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def first_price() -> None:
    """What the start-up benchmark waits for."""
    print("first price", flush=True)
