"""Tokens and request budgets of the simulated TopstepX: protocol page 1.4 and 1.6. Pure."""

import base64
import hashlib
import hmac
from typing import Any

import msgspec

from sim.limits import WeightLimit

BARS_LIMIT, BARS_WINDOW_MS = 50, 30_000
LIMIT, WINDOW_MS = 200, 60_000


class Tokens:
    """JWTs signed with a key of this run. Times are the venue's."""

    def __init__(self, key: bytes, life_s: float) -> None:
        self._key = key
        self._life_s = life_s
        self._count = 0
        self._revoked: set[str] = set()
        self._known: set[str] = set()

    def issue(self, user: str, now_us: int) -> str:
        self._count += 1
        now_s = now_us / 1e6
        claims = {"sub": user, "jti": str(self._count), "nbf": int(now_s), "exp": int(now_s + self._life_s)}
        head = _part({"alg": "HS256", "typ": "JWT"}) + "." + _part(claims)
        token = f"{head}.{self._sign(head)}"
        self._known.add(token)
        return token

    def _sign(self, head: str) -> str:
        return _text(hmac.new(self._key, head.encode(), hashlib.sha256).digest())

    def is_good(self, token: str | None, now_us: int) -> bool:
        if token is None or token in self._revoked or token.count(".") != 2:
            return False
        head, signature = token.rsplit(".", 1)
        if not hmac.compare_digest(self._sign(head).encode(), signature.encode()):
            return False
        claims = msgspec.json.decode(_bytes(head.split(".")[1]))
        return bool(claims["exp"] * 1_000_000 > now_us)

    def revoke(self, token: str | None = None) -> None:
        """End one token, or all that were ever issued."""
        self._revoked |= self._known if token is None else {token}


def _part(value: Any) -> str:
    return _text(msgspec.json.encode(value))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Budgets:
    """The two rate limits of the one user, as sliding windows."""

    def __init__(self, is_limited: bool) -> None:
        self._bars = WeightLimit(BARS_LIMIT if is_limited else None, BARS_WINDOW_MS)
        self._others = WeightLimit(LIMIT if is_limited else None, WINDOW_MS)

    def spend(self, is_bars: bool, now_ms: int) -> bool:
        """False: 429. A refused request costs nothing."""
        return (self._bars if is_bars else self._others).spend(1, now_ms)
