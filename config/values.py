"""The kinds of value that config.json holds, shared by its parts."""

from decimal import Decimal
from typing import Annotated

import msgspec

Url = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z]+://[^\s/]+\S*$",
        extra_json_schema={"x-allowed": "an address such as https://host or wss://host/ws"},
    ),
]
NotifyUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://\S+$",
        extra_json_schema={"x-allowed": 'an apprise address such as "ntfy://topic"', "writeOnly": True},
    ),
]


def number(description: str, **limits: float) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra_json_schema={"type": "number", **limits})


def text(description: str) -> msgspec.Meta:
    return msgspec.Meta(description=description)


def pattern(regex: str, allowed: str) -> msgspec.Meta:
    """A text of one form, which `allowed` tells people."""
    return msgspec.Meta(pattern=regex, extra_json_schema={"x-allowed": allowed})


Pct = Annotated[Decimal, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "exclusiveMaximum": 100})]
TargetPct = Annotated[Decimal, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 1000})]
Ticks = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Amount = Annotated[Decimal, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 1_000_000_000_000})]
Minutes = Annotated[Decimal, msgspec.Meta(extra_json_schema={"minimum": 0.05, "maximum": 525_600})]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the configuration: unknown keys are refused."""
