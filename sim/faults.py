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
    "refuse_sockets": "a new socket is answered `status` (default 503; TopstepX 401); `hub` narrows it",
    "stall": "sockets stay open and say nothing, pongs and pings included; `channel`, `coin`, `hub` narrow it",
    "delay_frames": "frames come `ms` late; `channel` narrows it",
    "duplicate_frames": "every frame is sent twice; `channel` narrows it",
    "reorder_frames": "frames swap places in pairs; `channel` narrows it",
    "delayed_data": "times in market data lie `ms` back, as on a delayed feed (TopstepX: of the market hub)",
    "raw_frame": "now: send `text` to every socket as it is",
    "greeting": "a text that is no JSON comes first on each new socket",
    "silent_data": "no data; pings, pongs and answers go on; `channel`, `hub` narrow it",
    "unknown_coin": "a wrong coin gets `how`: error (a frame) or silent (an acknowledgement), not a drop",
    "fill_before_ack": "fills go out at once, the order's answer `ms` later",
    "late_user_frames": "user channels come `ms` late, after the answer",
    # TopstepX hubs; `hub` (market, user) and `channel` (an event's target) narrow those that last
    "hub_close": "now: a Close record with `error`, `allow_reconnect` (null leaves one out), then the end",
    "handshake_error": "the handshake is answered with `error`, then the end",
    "no_pings": "the server sends no pings",
    "two_records": "a ping travels in the same WebSocket message as each record",
    "fragment_frames": "WebSocket messages come as three frames",
    "split_records": "a record is cut over two WebSocket messages, which no server is known to do",
    "ws_ping": "a WebSocket ping before each message",
    "old_first_quote": "the quote after a subscription is `ms` (900000) old",
    "stale_quotes": "times of quotes lie `ms` back, prints are fresh",
    "frozen_timestamp": "`timestamp` of quotes stands still; with `last_updated` so does lastUpdated",
    "large_depth": "the first depth message has 200 levels, over 10 KB",
    "unknown_enum": "`field` (default action; status, type…) of user events is 77, or of REST answers (`action`)",
    "missing_fields": "user events lack `fields`",
    "bare_events": "user events come without the action/data wrapper",
    "null_payload": "user events carry `data: null`; REST answers (`action`) null instead of their payload",
    "extra_fields": "every object of answers and events carries a field that nobody knows",
    "replay": "after a subscription its newest events come again",
    "snapshot": "after a subscription the newest event of each order, position and account comes again",
    "expire_tokens": "now: no token issued so far is good any more; `close` ends the hubs too",
    # TopstepX orders and accounts
    "refuse": "nothing is done, `success: false` with `code`, `message` answered; `action`, `type` (4: stop) narrow it",
    "pending": "executed, then `success: false` with `code` (6) is answered; `action` narrows it",
    "error_answer": "executed, then `status` (500) is answered; `action` narrows it",
    "position_brackets": "brackets are refused as in Position Brackets mode",
    "no_children": "the children of a filled entry stay suspended",
    "late_children": "the children of a filled entry open `ms` late",
    "partial_fill": "orders fill `fraction` (0.5) first, the rest `ms` (300) later",
    "fill_beats_cancel": "an order that is to be canceled fills first: cancel answers code 2",
    "orphan_fills": "now: bracket children that work without a position fill; `account` narrows it",
    "venue_cancels": "now: the venue cancels every order; `account` narrows it",
    "lock_out": "now: canTrade false, orders gone, positions closed by the venue; `account` narrows it",
    "replace_account": "now: `account` turns invisible, another id and name takes its place",
    "roll": "now: the next month of `symbol` becomes the active one",
    "no_commissions": "REST trades lack `commissions`",
    "frozen_bars": "no bars newer than `ms` (75 minutes)",
    # the order's way; `action` of TopstepX: what follows /api/, Order/place
    "drop_answer": "executed, then the connection is reset instead of an answer; `action` narrows it (order, noop)",
    "lost_request": "the connection is reset and nothing executed; `action` narrows it",
    "late_order": "the connection is reset at once, the action executes `ms` later; `action` narrows it",
    "slow_answer": "the answer to an action comes `ms` late; `action` narrows it",
    "reject": "an order is refused with `error`; `status: err`: the whole action; `coin`, `trigger` (stops) narrow it",
    "post_only": "only post-only orders are taken, as after a network upgrade",
    "budget": "the address budget ends at `cap` requests (0: spent)",
    "expire_agent": "now: the agent `address` (or every agent) is no longer known",
    "thin_book": "an IOC fills only `fraction` of its size",
    # HTTP
    "http_429": "answers 429 `null` (TopstepX: nothing, `retry_after` adds the header); `path`, `type` narrow it",
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
INSTANT = frozenset({
    "drop_connections", "raw_frame", "expire_agent", "hub_close", "expire_tokens", "orphan_fills", "venue_cancels",
    "lock_out", "replace_account", "roll",
})  # fmt: skip
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
        args = self.seen(name, **facts)
        if args is not None:
            self.count(name)
        return args

    def count(self, name: str) -> None:
        self.struck[name] = self.struck.get(name, 0) + 1

    def seen(self, name: str, **facts: Any) -> dict[str, Any] | None:
        """Like `on`, for a look that has no effect by itself."""
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
        return args

    def __iter__(self) -> Iterator[ActiveFault]:
        return iter([f for f in list(self._active.values()) if self.seen(f.name) is not None])


def read_script(raw: bytes) -> list[TimedFault]:
    """A fault script, in order of time. Raises ValueError (msgspec's included) on anything that is not one."""
    script = msgspec.json.decode(raw, type=list[TimedFault])
    for line in script:
        if line.fault not in FAULTS:
            raise ValueError(f"unknown fault {line.fault!r}")
    return sorted(script, key=lambda line: line.at_s)
