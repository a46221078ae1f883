"""The stream's numbers and times in ours: text to Decimal, and no time that has not come. Pure."""

import re
from decimal import Decimal
from functools import lru_cache

from runtime.dialect import BadFrame

AHEAD_MS_MAX = 24 * 3_600_000  # of the venue's time before ours: everything after it would look old

# Plain decimals below 10^12 with at most 20 places: no sign, exponent, NaN, blank or foreign digit gets through.
_plain = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,20})?").fullmatch
_signed = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,20})?").fullmatch


@lru_cache(maxsize=8192)  # the same prices come again and again; the shapes let no long text through
def positive(text: str) -> Decimal:
    value = Decimal(text) if _plain(text) else None
    if not value:
        raise BadFrame("bad_number", f"{text[:40]!r} is not a plain positive number")
    return value


def not_negative(text: str) -> Decimal:
    if not _plain(text):
        raise BadFrame("bad_number", f"{text[:40]!r} is not a plain number")
    return Decimal(text)


def any_sign(text: str) -> Decimal:
    if not _signed(text):
        raise BadFrame("bad_number", f"{text[:40]!r} is not a plain number")
    return Decimal(text)


def timely(time_ms: int, now_ms: int) -> int:
    """Raises BadFrame for a time beyond any error of our clock."""
    if time_ms > now_ms + AHEAD_MS_MAX:
        raise BadFrame("bad_time", f"{time_ms} is in the future")
    return time_ms
