"""Which of the login's accounts is traded: the configured one or none (protocol page 2.2). Pure.

Names and ids are shown shortened, for the text ends in a log (P10).
"""

import difflib
import re
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from runtime.venue import CredentialsRefused

KINDS = (("PRAC", "practice"), ("EXPRESS", "express funded"))
NEAR_MAX = 5
_NUMBER = re.compile(r"\d{5,}")
_COMBINE = re.compile(r"\d+KTC", re.IGNORECASE)


class AccountRow(msgspec.Struct, frozen=True):
    """`balance` is realised cash, fees taken off; open profit is not in it and is nowhere to be read."""

    id: int
    name: str
    balance: Decimal
    canTrade: bool
    isVisible: bool = True
    simulated: bool = True

    def __repr__(self) -> str:
        return f"AccountRow({shortened(self.name)})"

    @property
    def kind(self) -> str:
        """By the pattern of its name, which is no contract: unknown where nothing fits."""
        if _COMBINE.match(self.name):
            return "combine"
        return next((kind for start, kind in KINDS if self.name.upper().startswith(start)), "unknown")


def shortened(name: str) -> str:
    """PRAC-V2-100001-12345678 -> PRAC-V2-…001-…678: the owner knows it again, nobody else learns it."""
    return _NUMBER.sub(lambda number: f"…{number.group()[-3:]}", name)


def pick(rows: Sequence[AccountRow], wanted: str) -> AccountRow:
    """The account with this name or id, never another. Raises CredentialsRefused, which names those that are near."""
    text = wanted.strip().lower()
    found = [row for row in rows if row.name.lower() == text] or [row for row in rows if str(row.id) == text]
    if len(found) == 1:
        return found[0]
    if found:
        raise CredentialsRefused(f"several accounts are called {shortened(wanted)}: configure the id instead")
    raise CredentialsRefused(f"the login has no account {shortened(wanted)}; {_near(rows, text)}")


def _near(rows: Sequence[AccountRow], text: str) -> str:
    names = {row.name.lower(): row.name for row in sorted(rows, key=lambda row: not row.canTrade)}
    if not names:
        return "it has none at all: the subscription or the account has ended"
    near = difflib.get_close_matches(text, names, n=NEAR_MAX, cutoff=0.5)
    shown = [names[name] for name in near] or list(names.values())[:NEAR_MAX]
    return f"it has {', '.join(shortened(name) for name in shown)} (set account in config.json; shortened here)"
