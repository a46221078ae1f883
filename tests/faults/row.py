"""What a line of the table of faults is made of."""

from collections.abc import Iterable
from typing import Any

import msgspec

FLAT, HOLDING, LEAVING = STATES = ("flat", "holding", "leaving")
HYPERLIQUID, TOPSTEPX = VENUES = ("hyperliquid", "topstepx")
BOTH = "protected within 2 s, one order an intent, only down"


class Fault(msgspec.Struct, frozen=True):
    """`at`: "venue" (a switch of the simulator), "wire" (between the two), "host" (this machine), "hand" (a person)."""

    at: str
    name: str
    args: dict[str, Any] = {}

    @property
    def counter(self) -> str:
        return f"wire {self.name}" if self.at == "wire" else self.name


Variant = tuple[Fault, ...]  # these strike together


class Row(msgspec.Struct, frozen=True):
    """One fault of the list at one venue; each variant is gone through in each state."""

    group: str
    name: str
    venue: str
    variants: tuple[Variant, ...]
    must: str = BOTH
    states: tuple[str, ...] = STATES
    dwell_s: float = 0.0  # how long it lasts; 0: until it has struck as often as it may
    hides: bool = False  # nothing can be asked of the venue meanwhile
    naked_s: float = 2.0  # the bound of the promise, and what a loaded machine may add is SLACK_S
    blind_s: float = 2.0
    ends_it: bool = False  # the position is changed, or gone, by the fault itself
    may_halt: bool = False  # the bot takes no more entries, and says why
    from_start: bool = False  # it is so before the bot starts, and stays so
    in_process: bool = False  # the whole program, for what a thread cannot be done to: test_disk.py
    is_long: bool = False  # not for every run of the tests


class Absent(msgspec.Struct, frozen=True):
    """A fault that a venue does not have."""

    name: str
    venue: str
    why: str


def venue(name: str, **args: Any) -> Fault:
    return Fault("venue", name, args)


def wire(name: str, **args: Any) -> Fault:
    return Fault("wire", name, args)


def host(name: str, **args: Any) -> Fault:
    return Fault("host", name, args)


def hand(name: str, **args: Any) -> Fault:
    return Fault("hand", name, args)


def rows(group: str, name: str, hl: Iterable[Any], ts: Iterable[Any], **rest: Any) -> list[Row]:
    """A row a venue; one without variants has none. `hl_x` and `ts_x` are x of one venue."""
    made = []
    for where, prefix, found in ((HYPERLIQUID, "hl_", hl), (TOPSTEPX, "ts_", ts)):
        own = {k.removeprefix(prefix): v for k, v in rest.items() if not k.startswith(("hl_", "ts_"))}
        own |= {k.removeprefix(prefix): v for k, v in rest.items() if k.startswith(prefix)}
        variants = tuple(v if isinstance(v, tuple) else (v,) for v in found)
        if variants:
            made.append(Row(group, name, where, variants, **own))
    return made
