"""The game's constants. Imported by path, so that it also works in a rival's own virtual environment."""

import json

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


def split(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def first_price() -> None:
    """What the start-up benchmark waits for."""
    print("first price", flush=True)
