"""The venue's numbers and times in ours: JSON number text to Decimal, ISO 8601 to milliseconds. Pure."""

import datetime
import re
from decimal import Decimal
from functools import lru_cache

import msgspec

from runtime.dialect import BadFrame

Json = bytes | msgspec.Raw
TEXT_BYTES_MAX = 32

# Below 10^10, at most 15 places; an exponent as serialisers write it for small ticks (6.5E-05), never a large one.
_number = re.compile(rb"-?(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,15})?(?:[eE]-0?[0-9])?").fullmatch
_time = re.compile(
    r"(20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}):([0-5][0-9])(?:\.([0-9]{1,7}))?(Z|[+-][0-9]{2}:[0-9]{2})"
).fullmatch


def is_given(text: Json) -> bool:
    """Neither left out nor null."""
    return bytes(text) not in (b"", b"null")


@lru_cache(maxsize=8192)  # the same prices come again and again; keys are short
def _known_number(text: bytes) -> Decimal:
    if not _number(text):
        raise BadFrame("bad_number", f"{text[:40]!r} is not a plain number")
    return Decimal(text.decode())


def number(text: Json) -> Decimal:
    """Any sign. Raises BadFrame for what is no plain JSON number, a quoted one included."""
    found = bytes(text)
    if len(found) > TEXT_BYTES_MAX:  # a long one is never put in the cache
        raise BadFrame("bad_number", f"{len(found)} characters")
    return _known_number(found)


def positive(text: Json) -> Decimal:
    value = number(text)
    if value <= 0:
        raise BadFrame("bad_number", f"{value} is not above 0")
    return value


def not_negative(text: Json) -> Decimal:
    value = number(text)
    if value < 0:
        raise BadFrame("bad_number", f"{value} is below 0")
    return value


@lru_cache(maxsize=256)
def _minute_ms(minute: str, offset: str) -> int:
    moment = datetime.datetime.fromisoformat(minute + (":00+00:00" if offset == "Z" else f":00{offset}"))
    return int(moment.timestamp()) * 1000


def millis(text: str) -> int:
    """ISO 8601 with an offset and 0 to 7 fractional digits (page 1.1), cut to the millisecond. Raises BadFrame."""
    found = _time(text)
    if found is None:
        raise BadFrame("bad_time", repr(text[:40]))
    minute, seconds, fraction, offset = found.groups()
    try:
        whole_ms = _minute_ms(minute, offset)
    except ValueError:  # a thirteenth month, an hour 25
        raise BadFrame("bad_time", repr(text[:40])) from None
    return whole_ms + int(seconds) * 1000 + (int(f"{fraction:0<3}"[:3]) if fraction else 0)
