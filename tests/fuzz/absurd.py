"""What no event may say, whoever made it: written down apart from the code that sees to it."""

from decimal import Decimal
from typing import Any

import msgspec

from core.model import VenuePosition

DAY_MS = 86_400_000
ABOVE_ZERO = {"price", "bid", "ask", "mark", "oracle", "mid", "open", "high", "low", "close", "trigger_price",
              "average_price", "tick_size", "lot_size", "multiplier"}  # fmt: skip
NOT_BELOW = {"size", "bid_size", "ask_size", "volume", "filled_size", "size_left", "entry_price"}
MOST = Decimal(10) ** 15


def absurd(value: Any, now_ms: int, path: str = "") -> str | None:
    """Where `value` is absurd and why; None when it is not."""
    if isinstance(value, Decimal):
        return _number(value, path)
    if isinstance(value, int):
        if path.endswith("offset_ms"):
            return None if abs(value) < 100 * 366 * DAY_MS else f"{path} = {value}"
        if path.endswith("_ms"):
            ahead_ms = DAY_MS * (8 if path.endswith("close_ms") else 1)
            return None if 0 <= value <= now_ms + ahead_ms else f"{path} = {value}"
        return None if -(2**63) <= value < 2**63 else f"{path} = {value}"
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            item = getattr(value, name)
            if isinstance(value, VenuePosition) and name == "size":
                item = item.copy_abs()
            if item is not None and (found := absurd(item, now_ms, f"{path}.{name}")) is not None:
                return found
        return None
    if isinstance(value, tuple | list):
        return next((found for item in value if (found := absurd(item, now_ms, path)) is not None), None)
    if isinstance(value, dict):
        return next((found for item in value.values() if (found := absurd(item, now_ms, path)) is not None), None)
    return None


def _number(value: Decimal, path: str) -> str | None:
    name = path.rpartition(".")[2]
    if not value.is_finite() or value.copy_abs() > MOST:
        return f"{path} = {value}"
    is_child = path.endswith(("orders.price", "working.price"))  # a bracket's child may have no price yet
    if (name in ABOVE_ZERO and not is_child and value <= 0) or (name in NOT_BELOW | {"price"} and value < 0):
        return f"{path} = {value}"
    return None
