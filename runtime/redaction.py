"""The last line of defence against secrets in text (P10): nothing should carry them this far."""

import base64
import re
import string
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "<hidden>"
_SHORTEST = 6  # a known secret shorter than this would blank out innocent words

_PATTERNS = (
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,2}"), HIDDEN),  # a JSON web token
    (
        re.compile(
            r"\b(access_token|token|api_?key|password|passwd|secret|private_?key|signature)"
            r"((?:\\?[\"'])?\s*[=:]\s*(?:\\?[\"'])?)(?!<hidden>|bearer\b|basic\b)[^\s\"'&,;)}\\]+",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"://[^/\s@'\"]+@"), f"://{HIDDEN}@"),  # user:password in an address
    (
        re.compile(r"((?:\\?[\"'])[rs](?:\\?[\"'])\s*:\s*(?:\\?[\"']))0x[0-9a-fA-F]+"),
        rf"\1{HIDDEN}",
    ),  # signature halves
    (re.compile(r"(?:\b0x)?[0-9a-fA-F]{56,}"), HIDDEN),  # private keys; also hashes, which nobody misses in a log
    (re.compile(r"\b(0x[0-9a-fA-F]{4})[0-9a-fA-F]{32}([0-9a-fA-F]{4})\b"), r"\1..\2"),  # account addresses: shortened
)


def spellings(secret: str) -> set[str]:
    """The secret, and what an address, a form or a header would make of it (inside a longer base64 text too)."""
    raw = [secret.encode()]
    bare = secret.removeprefix("0x")
    if len(bare) == 64 and all(c in string.hexdigits for c in bare):
        raw.append(bytes.fromhex(bare))
    found = {secret, quote(secret, safe=""), quote_plus(secret)}
    for content in raw:
        for before in range(3):  # three ways to lie on base64's grid; what depends on the neighbours is left out
            grid = base64.b64encode(b"\0" * before + content).decode().rstrip("=")
            inner = grid[(0, 2, 3)[before] : len(grid) - bool((before + len(content)) % 3)]
            found |= {inner, inner.replace("+", "-").replace("/", "_"), quote(inner, safe="")}
    return {form for form in found if len(form) >= _SHORTEST}


class Redactor:
    """Hides what looks like a secret, and the secrets it was told of, whatever they look like."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        spelt = {form for secret in known if len(secret) >= _SHORTEST for form in spellings(secret)}
        longest_first = sorted(spelt, key=len, reverse=True)
        joined = "|".join(re.escape(secret) for secret in longest_first)
        self._known = re.compile(joined, re.IGNORECASE) if joined else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text
