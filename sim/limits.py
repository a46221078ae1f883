"""What venues count. Hyperliquid: nonces, request weight per network address, requests per account (page 5, 7)."""

import bisect
from collections import deque
from decimal import Decimal

from core.model import ZERO

DAY_MS = 86_400_000
SLACK_MS = 120_000  # the accepted window is that much narrower at both ends (page 5)
REMEMBERED = 100
MINUTE_MS = 60_000
THROTTLED_MS = 10_000  # one request in this time once the budget is spent


class Nonces:
    """Used nonces by signer."""

    def __init__(self) -> None:
        self._used: dict[str, set[int]] = {}
        self._sorted: dict[str, list[int]] = {}

    def admit(self, signer: str, nonce: int, now_ms: int) -> str | None:
        """Use the nonce up and return None, or return the venue's error text."""
        used, ordered = self._used.setdefault(signer, set()), self._sorted.setdefault(signer, [])
        if nonce in used:
            return f"Invalid nonce: duplicate nonce {nonce}"
        lowest, highest = now_ms - 2 * DAY_MS + SLACK_MS, now_ms + DAY_MS - SLACK_MS
        if nonce > highest:
            return f"Invalid nonce: nonce too high {nonce} > {highest}"
        floor = max(lowest, ordered[-REMEMBERED] if len(ordered) >= REMEMBERED else 0)
        if nonce < floor:
            return f"Invalid nonce: nonce too low {nonce} < {floor}"
        used.add(nonce)
        bisect.insort(ordered, nonce)
        return None


class WeightLimit:
    """A sliding window (a minute) of request weight for one caller; `limit` None never refuses."""

    def __init__(self, limit: int | None, window_ms: int = MINUTE_MS) -> None:
        self._limit = limit
        self._window_ms = window_ms
        self._spent: deque[tuple[int, int]] = deque()
        self._sum = 0

    def spend(self, weight: int, now_ms: int) -> bool:
        """False when the window's weight is used up; then nothing is spent."""
        while self._spent and self._spent[0][0] <= now_ms - self._window_ms:
            self._sum -= self._spent.popleft()[1]
        if self._limit is not None and self._sum + weight > self._limit:
            return False
        self._spent.append((now_ms, weight))
        self._sum += weight
        return True


class AddressBudget:
    """Requests an account may send in its life: 10,000 and one for each USDC traded."""

    def __init__(self) -> None:
        self.used = 0
        self.reserved = 0  # bought
        self._throttled_ms = 0  # when the last one passed although the budget was spent

    def cap(self, volume: Decimal) -> int:
        return 10_000 + int(volume) + self.reserved

    def spend(self, count: int, volume: Decimal, now_ms: int, *, is_cancel: bool, cap: int | None = None) -> str | None:
        """Take `count` requests, or return the venue's refusal. `cap` overrides the budget."""
        cap = self.cap(volume) if cap is None else cap
        limit = min(cap + 100_000, 2 * cap) if is_cancel else cap
        if self.used + count > limit:
            if now_ms - self._throttled_ms < THROTTLED_MS:
                return (
                    f"Too many cumulative requests sent ({self.used + count} > {limit}) for cumulative volume traded "
                    f"${max(volume, ZERO):.2f}. Place taker orders to free up 1 request per USDC traded."
                )
            self._throttled_ms = now_ms
        self.used += count
        return None


_LIGHT = frozenset({
    "l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus",
})  # fmt: skip
_BY_ROWS = {
    "recentTrades": 20, "historicalOrders": 20, "userFills": 20, "userFillsByTime": 20, "fundingHistory": 20,
    "userFunding": 20, "userNonFundingLedgerUpdates": 20, "candleSnapshot": 60,
}  # fmt: skip


def info_weight(kind: str) -> int:
    return 2 if kind in _LIGHT else 60 if kind == "userRole" else 20


def rows_weight(kind: str, rows: int) -> int:
    """The surcharge for a long answer."""
    return rows // _BY_ROWS[kind] if kind in _BY_ROWS else 0


def action_weight(batch_length: int) -> int:
    return 1 + batch_length // 40
