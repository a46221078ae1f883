"""Every fault and behaviour switch of the simulated venues, by name: the one table.

A fault is set by `POST /sim/faults`, by a timed script (`--faults FILE`) or by `SimServer.fault`; arguments of all:
`times` (how often it strikes; absent: until cleared) and `for_s` (how long it lasts). Server code asks `take` when a
chance to strike comes, or `on` for a state that lasts.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

FAULTS: dict[str, str] = {
    # the socket
    "drop_connections": "now: every socket is reset, without a close frame",
    "refuse_sockets": "GET /ws answers `status` (default 503)",
    "stall": "sockets stay open and say nothing, pongs included; `channel`, `coin` narrow it",
    "delay_frames": "frames come `ms` late; `channel` narrows it",
    "duplicate_frames": "every frame is sent twice; `channel` narrows it",
    "reorder_frames": "frames swap places in pairs; `channel` narrows it",
    "delayed_data": "times in market data lie `ms` back, as on a delayed feed",
    "raw_frame": "now: send `text` to every socket as it is",
    "greeting": "a text that is no JSON comes first on each new socket",
    "unknown_coin": "a wrong coin gets `how`: error (a frame) or silent (an acknowledgement), not a drop",
    "fill_before_ack": "fills go out at once, the order's answer `ms` later",
    "late_user_frames": "user channels come `ms` late, after the answer",
    # the order's way
    "drop_answer": "executed, then the connection is reset instead of an answer; `action` narrows it (order, noop)",
    "lost_request": "the connection is reset and nothing executed; `action` narrows it",
    "late_order": "the connection is reset at once, the action executes `ms` later; `action` narrows it",
    "slow_answer": "the answer to an action comes `ms` late; `action` narrows it",
    "reject": "an order is refused with `error`; `status: err` refuses the whole action; `coin` narrows it",
    "post_only": "only post-only orders are taken, as after a network upgrade",
    "budget": "the address budget ends at `cap` requests (0: spent)",
    "expire_agent": "now: the agent `address` (or every agent) is no longer known",
    "thin_book": "an IOC fills only `fraction` of its size",
    # HTTP
    "http_429": "answers 429 `null`; `path` narrows it (/info or /exchange), `type` an info type",
    "http_error": "answers `status` (502) with an HTML page; `path`, `type` narrow it",
    "http_drop": "the connection is reset before anything is read; `path`, `type` narrow it",
    "http_slow": "answers `ms` late; `path`, `type` narrow it",
    "partial_json": "the body ends half-way; `path`, `type` narrow it",
    "html_200": "200 with an HTML page; `path`, `type` narrow it",
    "empty_body": "200 with nothing in it; `path`, `type` narrow it",
    # reads that lag or lie
    "unknown_oid": "orderStatus says unknownOid for `ms` after an order was placed",
    "hide_triggers": "new triggers are missing in frontendOpenOrders for `ms`",
    "clock_skew": "the venue's clock is `ms` off",
    "unified_account": "balances live in spotClearinghouseState",
    # behaviours on which sources differ
    "reject_oversize": "reduce-only larger than the position is refused, not clamped",
    "fire_met_trigger": "a trigger already met fires at once, instead of Invalid TP/SL price",
    "allow_wrong_side_price": "a trigger's price on the wrong side of its trigger price is taken",
    "trigger_price_binds": "a market trigger fills only down to its price, not to 10 % past the trigger",
    "keep_stops_on_close": "stops survive the close of their position",
    "modify_needs_a": "a trigger cannot be modified without always_place",
    "no_volume_gate": "scheduleCancel works for everybody",
}
RULE_SWITCHES = (
    "reject_oversize", "fire_met_trigger", "allow_wrong_side_price", "trigger_price_binds", "keep_stops_on_close",
)  # fmt: skip
INSTANT = frozenset({"drop_connections", "raw_frame", "expire_agent"})
_LIMITS = ("times", "for_s")


class ActiveFault(msgspec.Struct):
    name: str
    args: dict[str, Any]
    times: int | None
    until_s: float | None  # monotonic


class TimedFault(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a fault script: `fault` strikes at_s after the start, for for_s or until the end."""

    at_s: float
    fault: str
    args: dict[str, Any] = {}
    for_s: float | None = None


class Faults:
    """What is wrong at the moment. Belongs to the server's loop."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._active: dict[str, ActiveFault] = {}
        self._monotonic = monotonic
        self.struck: dict[str, int] = {}  # how often each took effect

    def set(self, name: str, args: dict[str, Any]) -> None:
        """Start a fault, or replace it. Raises ValueError for a name that is not in FAULTS."""
        if name not in FAULTS:
            raise ValueError(f"unknown fault {name!r}; there are {', '.join(FAULTS)}")
        for_s = args.get("for_s")
        until_s = None if for_s is None else self._monotonic() + float(for_s)
        plain = {"fault": name} | {key: value for key, value in args.items() if key not in _LIMITS}
        self._active[name] = ActiveFault(name, plain, args.get("times"), until_s)

    def clear(self, name: str | None = None) -> None:
        if name is None:
            self._active.clear()
        else:
            self._active.pop(name, None)

    def on(self, name: str, **facts: Any) -> dict[str, Any] | None:
        """The fault's arguments (and its name, so never empty) if it is active and its narrowing arguments agree with
        `facts`; else None."""
        fault = self._active.get(name)
        if fault is None:
            return None
        if fault.until_s is not None and self._monotonic() >= fault.until_s:
            del self._active[name]
            return None
        if any(key in facts and facts[key] != value for key, value in fault.args.items()):
            return None
        return fault.args

    def take(self, name: str, **facts: Any) -> dict[str, Any] | None:
        """Like `on`, and uses up one of its times."""
        args = self.on(name, **facts)
        if args is None:
            return None
        fault = self._active[name]
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                del self._active[name]
        self.struck[name] = self.struck.get(name, 0) + 1
        return args

    def __iter__(self) -> Iterator[ActiveFault]:
        return iter([f for f in self._active.values() if self.on(f.name) is not None])


def read_script(raw: bytes) -> list[TimedFault]:
    """A fault script, in order of time. Raises ValueError (msgspec's included) on anything that is not one."""
    script = msgspec.json.decode(raw, type=list[TimedFault])
    for line in script:
        if line.fault not in FAULTS:
            raise ValueError(f"unknown fault {line.fault!r}")
    return sorted(script, key=lambda line: line.at_s)
