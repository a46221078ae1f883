"""Every fault, on both venues: what strikes, and what must hold. `tests/faults/README.md` is made from this table."""

from collections.abc import Iterable
from typing import Any

from tests.faults.row import (
    BOTH,
    FLAT,
    HOLDING,
    HYPERLIQUID,
    LEAVING,
    TOPSTEPX,
    Absent,
    Fault,
    Row,
    Variant,
    hand,
    host,
    rows,
    venue,
    wire,
)

# --- the places where a request may fail ------------------------------------------------------------------------------

READS_HL = ("clearinghouseState", "frontendOpenOrders", "orderStatus", "userFillsByTime")
READS_TS = ("Account/search", "Position/searchOpen", "Order/searchOpen", "Order/searchById", "Trade/search")
WRITES_TS = ("Order/place", "Order/cancel", "Order/modify")
USER = ("GatewayUserOrder", "GatewayUserPosition", "GatewayUserTrade", "GatewayUserAccount")


# Some questions are only asked after something else went wrong.
WHY_ASK: dict[str, Fault] = {
    "orderStatus": venue("lost_request", action="order", times=1),
    "userFillsByTime": venue("drop_connections"),
    "Trade/search": venue("drop_connections", hub="user"),
}


def asked(question: str, fault: Fault) -> Variant:
    return (fault, WHY_ASK[question]) if question in WHY_ASK else (fault,)


def reads_hl(name: str, **args: Any) -> list[Variant]:
    return [asked(kind, venue(name, type=kind, times=2, **args)) for kind in READS_HL]


def http_hl(name: str, **args: Any) -> list[Variant]:
    return [(venue(name, path="/exchange", times=1, **args),), *reads_hl(name, **args)]


def http_ts(name: str, actions: Iterable[str] = READS_TS + WRITES_TS, **args: Any) -> list[Variant]:
    return [asked(a, venue(name, action=a, times=1 if a in WRITES_TS else 2, **args)) for a in actions]


def order_hl(name: str, **args: Any) -> list[Fault]:
    return [venue(name, action="order", times=1, **args)]


def order_ts(name: str, **args: Any) -> list[Fault]:
    return [venue(name, action=a, times=1, **args) for a in WRITES_TS]


def away(**args: Any) -> Variant:
    """A stream that has gone, and is not taken again."""
    return venue("refuse_sockets", status=503, **args), venue("drop_connections", **args)


def user_ts(name: str, channels: Iterable[str] = USER, **args: Any) -> list[Fault]:
    return [venue(name, channel=channel, **args) for channel in channels]


JUNK = (
    '{"a":',
    "[]",
    "\x00\x01",
    '{"channel":"trades","data":[{"coin":"BTC","px":"-1"}]}',
    '{"type":1,"target":7}\x1e',
)
SOCKET = {"kind": "socket"}
CLOSED = "Connection closed with an error."
UNNOTICED: dict[str, float] = {"hl_blind_s": 5.0, "ts_blind_s": 15.0}  # silence shows late
MUTE: dict[str, Any] = UNNOTICED | {"hl_dwell_s": 8.0, "ts_dwell_s": 18.0, "is_long": True}
MAINTENANCE = (venue("http_error", status=503), *away())

TABLE: list[Row] = [
    # --- the connection
    *rows(
        "connection",
        "connection cut",
        [wire("cut", **SOCKET), wire("cut")],
        [
            wire("cut", **SOCKET),
            wire("cut"),
            *(venue("hub_close", error=CLOSED, allow_reconnect=a) for a in (True, False)),
        ],
    ),
    *rows("connection", "reset", *[[wire("reset", **SOCKET), wire("reset", kind="rest"), wire("reset")]] * 2),
    *rows("connection", "black hole, streams", *[[wire("black_hole", **SOCKET)]] * 2, **MUTE),
    *rows("connection", "black hole, everything", *[[wire("black_hole")]] * 2, dwell_s=8.0, hides=True, is_long=True),
    *rows("connection", "slow drip", *[[wire("drip", **SOCKET), wire("drip", kind="rest")]] * 2, dwell_s=3.0),
    *rows("connection", "silence with pings", *[[venue("silent_data")]] * 2, **MUTE),
    *rows("connection", "silence without", *[[venue("stall")]] * 2, **MUTE),
    *rows("connection", "DNS failure", *[[(host("dns"), wire("reset"))]] * 2, dwell_s=4.0, hides=True),
    # --- frames
    *rows(
        "frames",
        "half frames",
        [wire("half", **SOCKET)],
        [wire("half", **SOCKET), venue("split_records"), venue("fragment_frames"), venue("two_records")],
        dwell_s=1.0,
    ),
    *rows(
        "frames",
        "garbage",
        *[
            [
                tuple(venue("raw_frame", text=text) for text in JUNK),
                wire("garbage", **SOCKET),
                wire("garbage", kind="rest"),
            ]
        ]
        * 2,
        **UNNOTICED,
    ),
    *rows(
        "frames", "duplicates", [venue("duplicate_frames")], [venue("duplicate_frames"), *user_ts("duplicate_frames")]
    ),
    *rows("frames", "reordering", [venue("reorder_frames")], [venue("reorder_frames"), *user_ts("reorder_frames")]),
    *rows(
        "frames",
        "late frames",
        [venue("late_user_frames", ms=300), venue("fill_before_ack", ms=200)],
        [venue("late_user_frames", ms=300), venue("fill_before_ack", ms=200), *user_ts("delay_frames", ms=300)],
    ),
    *rows(
        "frames", "replay after reconnect", [venue("drop_connections")], [(venue("replay"), venue("drop_connections"))]
    ),
    *rows(
        "frames",
        "snapshot after reconnect",
        [venue("drop_connections")],
        [(venue("snapshot"), venue("drop_connections"))],
    ),
    *rows(
        "frames",
        "odd news",
        [],
        [
            *user_ts("null_payload"),
            *user_ts("unknown_enum"),
            *user_ts("bare_events"),
            *(venue("unknown_enum", field=field, channel="GatewayUserOrder") for field in ("status", "type", "side")),
            *user_ts("missing_fields", fields=["id", "orderId", "status"]),
            venue("extra_fields"),
            *user_ts("silent_data"),
        ],
    ),
    *rows(
        "frames",
        "odd prices",
        [],
        [
            venue("frozen_timestamp"),
            venue("frozen_timestamp", last_updated=True),
            venue("stale_quotes", ms=1000),
            venue("ws_ping"),
            venue("stall", hub="market", for_s=0.5),
        ],
    ),
    # --- HTTP
    *rows("http", "429", http_hl("http_429"), http_ts("http_429", retry_after=1)),
    *rows(
        "http",
        "429 for a minute",
        [venue("http_429")],
        [venue("http_429")],
        dwell_s=60.0,
        hides=True,
        is_long=True,
        ts_may_halt=True,
    ),
    *rows(
        "http",
        "5xx",
        http_hl("http_error", status=500) + http_hl("http_error", status=503),
        http_ts("http_error", status=500) + http_ts("http_error", status=503),
    ),
    *rows("http", "4xx", [], [f for status in (400, 401, 403, 404) for f in http_ts("http_error", status=status)]),
    *rows("http", "HTML with 200", http_hl("html_200"), http_ts("html_200")),
    *rows("http", "empty body", http_hl("empty_body"), http_ts("empty_body")),
    *rows(
        "http",
        "cut body",
        [venue("partial_json", type="order", times=1), *reads_hl("partial_json")],
        http_ts("partial_json"),
    ),
    *rows("http", "connection dropped", http_hl("http_drop"), http_ts("http_drop")),
    *rows(  # nobody tells of fills: positions and stops must not wait for them
        "http",
        "fills unreadable",
        [(*away(), venue("http_error", type="userFillsByTime", status=500))],
        [(*away(hub="user"), venue("http_error", action="Trade/search", status=500))],
        dwell_s=8.0,
        is_long=True,
    ),
    *rows("http", "slow", [venue("http_slow", ms=100)], [venue("http_slow", ms=100)], dwell_s=1.0),
    *rows(
        "http",
        "null or odd answer",
        [],
        [
            *http_ts("null_payload"),
            *http_ts("unknown_enum", field="status"),
            *http_ts("refuse", READS_TS, code=1),
            venue("no_commissions"),
        ],
    ),
    # --- orders
    *rows(
        "orders",
        "answer lost after commit",
        order_hl("drop_answer"),
        [*order_ts("drop_answer"), *order_ts("error_answer")],
    ),
    *rows(
        "orders",
        "request lost",
        order_hl("lost_request"),
        order_ts("lost_request"),
        must=f"{BOTH}, or closed",
    ),
    *rows(
        "orders",
        "request late",
        [*order_hl("late_order", ms=300), *order_hl("late_order", ms=900)],
        order_ts("late_order", ms=300),
    ),
    *rows(
        "orders",
        "answer minutes late",
        order_hl("slow_answer", ms=7_000),
        order_ts("slow_answer", ms=7_000),
        is_long=True,
    ),
    *rows(
        "orders",
        "answer slow",
        order_hl("slow_answer", ms=800),
        [*order_ts("slow_answer", ms=800), *order_ts("pending")],
    ),
    *rows(
        "orders",
        "order refused",
        [venue("reject", error="Insufficient margin to place order. asset=0", times=1)],
        [f for code in (2, 99) for f in http_ts("refuse", WRITES_TS, code=code, message="?")],
        must=f"{BOTH}, or closed",
    ),
    *rows(
        "orders",
        "stop refused",
        [venue("reject", error="Too many open orders", trigger=True)],
        [venue("refuse", action="Order/place", type=4, code=2, message="?")],
        states=(FLAT,),
        ends_it=True,
        must="closed by the bot at 2 s",
    ),
    *rows("orders", "stop gone", [hand("cancel")], [hand("cancel"), venue("venue_cancels")], states=(HOLDING, LEAVING)),
    *rows("orders", "stop listed late", [venue("hide_triggers", ms=700)], [], dwell_s=1.0, states=(FLAT, HOLDING)),
    *rows(
        "orders",
        "partial fill, then cancel",
        [venue("thin_book", fraction="0.5", times=1)],
        [venue("partial_fill", ms=100), venue("partial_fill", ms=700)],
        states=(LEAVING,),
        dwell_s=0.5,
    ),
    *rows(
        "orders",
        "venue stop and own exit together",
        [hand("whip")],
        [hand("whip"), (venue("fill_beats_cancel"), hand("whip"))],
        states=(LEAVING,),
        ends_it=True,
    ),
    # --- the venue
    *rows("venue", "restart", [wire("refuse")], [(wire("refuse"), venue("expire_tokens"))], dwell_s=3.0, hides=True),
    *rows(
        "venue", "maintenance for ten minutes", [MAINTENANCE], [MAINTENANCE], dwell_s=600.0, hides=True, is_long=True
    ),
    *rows("venue", "token expiry", [], [venue("expire_tokens"), venue("expire_tokens", close=True)]),
    *rows(
        "venue",
        "nonce faults",
        [
            venue("reject", status="err", error=e, times=1)
            for e in (
                "Invalid nonce: nonce too low 1 < 2",
                "Invalid nonce: duplicate nonce 1",
                "Invalid nonce: nonce too high 3 > 2",
            )
        ],
        [],
    ),
    *rows("venue", "rate budget spent", [venue("budget", cap=0)], [host("spend")], hl_may_halt=True),
    *rows(
        "venue",
        "contract roll",
        [],
        [venue("roll", symbol="MGC")],
        may_halt=True,
        must="protected within 2 s, or closed: the old month takes no orders",
    ),
    *rows(
        "venue",
        "lock-out",
        [],
        [venue("lock_out")],
        must="the venue closes; the bot stays flat and says so",
        ends_it=True,
        may_halt=True,
    ),
    # --- clock and host
    *rows("host", "clock 90 s behind", *[[venue("clock_skew", ms=90_000)]] * 2, from_start=True),
    *rows("host", "clock 90 s ahead", *[[venue("clock_skew", ms=-90_000)]] * 2, from_start=True),
    *rows("host", "clock jumping", *[[host("leap", seconds=90), host("leap", seconds=-90)]] * 2, dwell_s=1.0),
    *rows("host", "asleep for ten minutes", *[[(host("sleep", seconds=600), wire("cut"))]] * 2, dwell_s=1.0),
    *rows("host", "disk full", *[[host("full")]] * 2, in_process=True, must=f"{BOTH}; entries stop, said once"),
    *rows("host", "log folder read-only", *[[host("no folder")]] * 2, in_process=True, must=f"{BOTH}; said once"),
    # --- a hand
    *rows(
        "hand",
        "position changed by hand",
        *[[hand("add"), hand("reduce"), hand("close"), hand("turn")]] * 2,
        states=(HOLDING, LEAVING),
        ends_it=True,
    ),
]

ABSENT = [
    Absent("token expiry", HYPERLIQUID, "no tokens; an agent's key that ends: tests/e2e/test_account.py"),
    Absent("nonce faults", TOPSTEPX, "no nonces; a tag that came before: tests/core/test_oco.py"),
    Absent("contract roll", HYPERLIQUID, "perpetuals do not roll"),
    Absent("lock-out", HYPERLIQUID, "no such thing; liquidation: tests/e2e/test_account.py"),
]
