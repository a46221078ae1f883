"""Where a bot is killed: a kind of journal line, and the moment of its writing."""

from typing import NamedTuple

BEFORE = "before"  # nothing of the line is written
TORN = "torn"  # half of it
AFTER = "after"  # all of it; what it tells of is not decided on, not sent, yet
ACTED = "acted"  # it has been acted upon: the bot is about to write the next thing
MOMENTS = (BEFORE, TORN, AFTER, ACTED)
RANDOM = "random"

# What a journal line of each kind contains; an empty second part: what it must not contain.
LINES: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "snapshot": ((b'{"snapshot":',), b""),
    "started": ((b'"event":{"type":"Started"',), b""),
    "account": ((b'"event":{"type":"AccountSnapshot"',), b""),
    "listing": ((b'"event":{"type":"WorkingOrders"',), b""),
    "entry": ((b'"action":{"type":"Submit"', b'"purpose":"ENTRY"'), b""),
    "stop": ((b'"action":{"type":"Submit"', b'"purpose":"STOP"'), b""),
    "target": ((b'"action":{"type":"Submit"', b'"purpose":"TARGET"'), b""),
    "exit": ((b'"action":{"type":"Submit"', b'"purpose":"EXIT"'), b""),
    "accepted": ((b'"event":{"type":"OrderAccepted"',), b""),
    "rejected": ((b'"event":{"type":"OrderRejected"',), b""),
    "unknown": ((b'"event":{"type":"OrderUnknown"',), b""),
    "settle": ((b'"action":{"type":"Settle"',), b""),
    "settled": ((b'"event":{"type":"OrderSettled"',), b""),
    "cancel": ((b'"action":{"type":"Cancel"',), b""),
    "cancel_answered": ((b'"event":{"type":"CancelAnswered"',), b""),
    "modify": ((b'"action":{"type":"Modify"',), b""),
    "modify_answered": ((b'"event":{"type":"ModifyAnswered"',), b""),
    "fill_read": ((b'"event":{"type":"Fill"',), b""),
    # frames of the user streams
    "userFills": ((b'{"frame":', b'"channel":"userFills"'), b'"isSnapshot":true'),
    "orderUpdates": ((b'{"frame":', b'"channel":"orderUpdates"'), b""),
    "GatewayUserTrade": ((b'{"frame":', b"GatewayUserTrade"), b""),
    "GatewayUserOrder": ((b'{"frame":', b"GatewayUserOrder"), b""),
    "GatewayUserPosition": ((b'{"frame":', b"GatewayUserPosition"), b""),
}
BOTH = (
    "snapshot", "started", "account", "listing", "entry", "stop", "exit", "accepted", "rejected", "unknown", "settle",
    "settled", "cancel", "cancel_answered", "fill_read",
)  # fmt: skip
KINDS = {
    "hyperliquid": (*BOTH, "userFills", "orderUpdates"),
    "topstepx": (
        *BOTH, "target", "modify", "modify_answered",
        "GatewayUserTrade", "GatewayUserOrder", "GatewayUserPosition",
    ),
}  # fmt: skip

OFTEN = frozenset({"account", "listing", "accepted", "userFills", "orderUpdates", "GatewayUserOrder"})
WITHOUT_BRACKETS = frozenset({"stop", "target"})  # TopstepX: lines that an account with them hardly knows


class Place(NamedTuple):
    kind: str
    moment: str
    number: int = 1  # which line of its kind in the life of the process

    def __str__(self) -> str:
        return f"{self.kind}:{self.moment}:{self.number}"

    @property
    def name(self) -> str:
        """Without the count: what must have occurred."""
        return f"{self.kind}:{self.moment}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        kind, moment, number = text.split(":")
        assert kind in LINES and moment in MOMENTS
        return cls(kind, moment, int(number))

    def is_in(self, line: bytes) -> bool:
        marks, without = LINES[self.kind]
        return all(mark in line for mark in marks) and not (without and without in line)


def all_places(venue: str) -> list[Place]:
    return [Place(kind, moment) for kind in KINDS[venue] for moment in MOMENTS]
