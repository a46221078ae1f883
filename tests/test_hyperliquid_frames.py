"""Hyperliquid frames: every example of the protocol page and every way to break one."""

import json
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.messages import BarUpdate, OrderUpdate
from core.model import Bar, Book, Fill, MarkPrice, OrderStatus, Quote, Side, Trade
from runtime.dialect import BadFrame
from tests.hyperliquid_frames import (
    BBO,
    BOOK,
    CANDLE,
    CTX,
    FILLS,
    NO_FILLS,
    NOW,
    SNAPSHOT,
    TRADES,
    UPDATES,
    USER,
    USER_FILLS,
    swap,
)
from tests.wsserver import trade, trades
from venues.hyperliquid.frames import (
    Ack,
    Deduper,
    FillsSnapshot,
    FrameReader,
    Pong,
    VenueError,
    chain_fills,
    decode,
    decode_frame,
    order_status,
)

DATA = Path(__file__).resolve().parents[1] / "../shared/data/hyperliquid"

EXAMPLES = [TRADES, BOOK, BBO, CANDLE, CTX, FILLS, SNAPSHOT, USER_FILLS, UPDATES]

A_FILL = Fill(
    symbol="BTC",
    side=Side.SELL,
    price=D("83843.0"),
    size=D("0.31975"),
    fee=D("12.063959"),
    closed_pnl=D("86.62649561"),
    order_id=556657630865,
    client_id="0x1234567890abcdef1234567890abcdef",
    fill_id="1790357129742:BTC:246814713305894",
    time_ms=1790357129742,
    received_ms=NOW,
    start_position=D("1.5197585293"),
)


# --- decode: what the page shows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw, expected",
    [
        (
            TRADES,
            Trade("BTC", D("84143.0"), D("0.00036"), Side.SELL, 1045359869404765, 1790232216193, NOW),
        ),
        (
            BOOK,
            Book(
                "BTC",
                ((D("84143.0"), D("10.25923")), (D("84142.0"), D("1.65875"))),
                ((D("84144.0"), D("50.66449")),),
                1790232236546,
                NOW,
            ),
        ),
        (BBO, Quote("BTC", D("84143.0"), D("10.25923"), D("84144.0"), D("50.66422"), 1790232237145, NOW)),
        (
            BBO.replace(b'{"px":"84144.0","sz":"50.66422","n":18}', b"null"),
            Quote("BTC", D("84143.0"), D("10.25923"), None, None, 1790232237145, NOW),
        ),
        (
            CANDLE,
            BarUpdate(
                symbol="BTC",
                bar=Bar(
                    1790232180000, 1790232239999, D("84143.0"), D("84144.0"), D("84143.0"), D("84143.0"), D("14.27847")
                ),
                received_ms=NOW,
            ),
        ),
        (CTX, MarkPrice("BTC", D("84148.0"), D("84198.0"), D("84143.5"), NOW)),
        (
            CTX.replace(b'"midPx":"84143.5"', b'"midPx":null'),  # a delisted coin
            MarkPrice("BTC", D("84148.0"), D("84198.0"), None, NOW),
        ),
        (FILLS, A_FILL),
        (USER_FILLS, A_FILL),
        (SNAPSHOT, msgspec.structs.replace(A_FILL, is_snapshot=True)),
    ],
)
def test_decode_one(raw, expected):
    assert decode_frame(raw, NOW, USER) == (expected,)


def test_key_order_does_not_matter():
    swapped = b'{"data":' + TRADES[len(b'{"channel":"trades","data":') : -1] + b',"channel":"trades"}'
    assert decode_frame(swapped, NOW) == decode_frame(TRADES, NOW)


def test_decode_order_updates():
    first, second = decode_frame(UPDATES, NOW)
    assert first == OrderUpdate(
        symbol="BTC",
        order_id=556696349186,
        client_id="0x1234567890abcdef1234567890abcdef",
        status=OrderStatus.ACCEPTED,
        venue_status="open",
        size_left=D("0.01"),
        time_ms=1790360256851,
        received_ms=NOW,
    )
    assert (second.client_id, second.status, second.venue_status) == (None, OrderStatus.CANCELED, "reduceOnlyCanceled")


def test_a_position_stop_has_no_size():
    (update, _) = decode_frame(UPDATES.replace(b'"sz":"0.01"', b'"sz":"0.0"'), NOW)
    assert (update.size_left, update.status) == (0, OrderStatus.ACCEPTED)


@pytest.mark.parametrize(
    "raw, control",
    [
        (b'{"channel":"pong"}', Pong()),
        (b'{"channel":"pong","data":null}', Pong()),
        (
            b'{"channel":"subscriptionResponse","data":{"method":"subscribe","subscription":'
            b'{"type":"l2Book","coin":"BTC","nSigFigs":null,"mantissa":null,"fast":false}}}',
            Ack("subscribe", {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False}),
        ),
        (NO_FILLS, FillsSnapshot(0)),
        (SNAPSHOT, FillsSnapshot(1)),
        (FILLS, None),
        (b'{"channel":"post","data":{"id":1,"response":{"type":"info","payload":{}}}}', None),
        (b"Websocket connection established.", None),
        (b'{"channel":"user","data":{"funding":{"time":1790352000015,"coin":"BTC","usdc":"-3.6"}}}', None),
        (b'{"channel":"user","data":{"nonUserCancel":[{"coin":"ETH","oid":123}]}}', None),
        (b'{"channel":"trades","data":[]}', None),
    ],
)
def test_decode_controls(raw, control):
    assert decode(raw, NOW, USER)[1] == control


@pytest.mark.parametrize(
    "text, subscription, is_success",
    [
        ('Already subscribed: {"type":"bbo","coin":"SOL"}', {"type": "bbo", "coin": "SOL"}, True),
        ('Already unsubscribed: {"type":"trades","coin":"BTC"}', {"type": "trades", "coin": "BTC"}, True),
        ('Invalid subscription {"type":"trades","coin":"BTC"}', {"type": "trades", "coin": "BTC"}, False),
        (
            "Error parsing JSON into valid websocket request: "
            '{"method":"subscribe","subscription":{"type":"bbo","coin":["BTC","ETH"]}}',
            {"type": "bbo", "coin": ["BTC", "ETH"]},
            False,
        ),
        ("Error parsing JSON into valid websocket request: {garbage", None, False),
        ("Error parsing JSON into valid websocket request: " + "{" * 5000, None, False),
        ('Invalid subscription {"subscription":7}', None, False),
        ("Cannot track more than 15 total users.", None, False),
        ("too many pending post requests id=1234", None, False),
    ],
)
def test_decode_errors(text, subscription, is_success):
    events, error = decode(json.dumps({"channel": "error", "data": text}).encode(), NOW)
    assert events == ()
    assert error == VenueError(text, subscription)
    assert error.is_success is is_success


@pytest.mark.parametrize(
    "venue_status, expected",
    [
        ("open", OrderStatus.ACCEPTED),
        ("triggered", OrderStatus.ACCEPTED),
        ("filled", OrderStatus.FILLED),
        ("canceled", OrderStatus.CANCELED),
        ("scheduledCancel", OrderStatus.CANCELED),
        *((f"{w}Canceled", OrderStatus.CANCELED) for w in ("margin", "reduceOnly", "siblingFilled", "selfTrade")),
        *((f"{w}Canceled", OrderStatus.CANCELED) for w in ("liquidated", "delisted", "openInterestCap", "internal")),
        ("internalCancel", OrderStatus.CANCELED),
        ("rejected", OrderStatus.REJECTED),
        *(
            (f"{w}Rejected", OrderStatus.REJECTED)
            for w in ("tick", "iocCancel", "perpMargin", "marketOrderNoLiquidity")
        ),
        ("", OrderStatus.UNKNOWN),
        ("Filled", OrderStatus.UNKNOWN),
        ("paused", OrderStatus.UNKNOWN),
    ],
)
def test_order_status(venue_status, expected):
    assert order_status(venue_status) is expected


@pytest.mark.parametrize(
    "liquidated, expected", [(USER, True), (USER.upper().replace("X", "x"), True), ("0x" + "2" * 40, False)]
)
def test_a_liquidation_is_ours_only_if_we_were_liquidated(liquidated, expected):
    extra = f',"liquidation":{{"liquidatedUser":"{liquidated}","markPx":"66607.0","method":"market"}}'.encode()
    (fill,) = decode_frame(FILLS.replace(b',"twapId":null', extra), NOW, USER)
    assert fill.is_liquidation is expected


# --- decode: every way to break it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw, kind",
    [
        (b"", "truncated"),
        (b"hello", "not_json"),
        (b"\x00\x01", "not_json"),
        (b"\xff\xfe", "not_json"),
        (TRADES + b"x", "not_json"),
        (swap(TRADES, b"BTC", b"B\xffC"), "not_json"),
        (TRADES[:-1], "truncated"),
        (TRADES[:100], "truncated"),
        (b'{"channel":"trades","data":' + b"[" * 100_000, "too_deep"),
        (b'{"channel":"trades","data":[],"more":' + b"[" * 100_000, "too_deep"),
        (b"null", "no_channel"),
        (b"[]", "no_channel"),
        (b'{"data":[]}', "no_channel"),
        (b'{"channel":7,"data":[]}', "no_channel"),
        (b'{"channel":"allMids","data":{"mids":{}}}', "unknown_channel"),
        (b'{"channel":"trades"}', "wrong_type"),
        (b'{"channel":"trades","data":null}', "wrong_type"),
        (b'{"channel":"trades","data":{}}', "wrong_type"),
        (swap(TRADES, b'"side":"A"', b'"side":"C"'), "wrong_type"),
        (swap(TRADES, b'"px":"84143.0",', b""), "wrong_type"),
        (swap(TRADES, b'"84143.0"', b"84143.0"), "wrong_type"),  # a number where the venue sends a string
        (swap(TRADES, b"1790232216193", b'"1790232216193"'), "wrong_type"),  # and the reverse
        (swap(TRADES, b"1790232216193", b"-1"), "wrong_type"),
        (swap(TRADES, b"1790232216193", b"1790232216193000"), "wrong_type"),  # microseconds
        (swap(TRADES, b"1790232216193", b"1.5"), "wrong_type"),
        (swap(TRADES, b"1045359869404765", b"9" * 30), "wrong_type"),
        (swap(TRADES, b"1045359869404765", b"true"), "wrong_type"),
        (swap(TRADES, b'"BTC"', b'""'), "wrong_type"),
        *(
            (swap(TRADES, b'"84143.0"', b'"' + px + b'"'), "bad_number")
            for px in (
                b"0", b"0.0", b"-1", b"-84143.0", b"NaN", b"sNaN", b"Infinity", b"-inf", b"1e5", b"1E999999999",
                b"1e-999999999", b"1000000000000", b"", b" 84143.0", b"84_143", b"+84143", b"84143,0",
                b"0x10", b".5", b"5.", b"null", "٣".encode(), b"0.000000000000000000001", b"84143.0\\n",
            )
        ),
        (swap(TRADES, b'"84143.0"', b'"' + b"9" * 5000 + b'"'), "wrong_type"),
        (swap(TRADES, b'"0.00036"', b'"0"'), "bad_number"),
        (swap(BBO, b'"84143.0"', b'"-84143.0"'), "bad_number"),
        (swap(BBO, b'"bbo":[', b'"bbo":[null,'), "wrong_type"),
        (swap(BOOK, b'"84142.0"', b'"0"'), "bad_number"),
        (swap(CTX, b'"84148.0"', b"null"), "wrong_type"),
        (swap(CTX, b'"84148.0"', b'"1e3"'), "bad_number"),
        (swap(CANDLE, b'"v":"14.27847"', b'"v":"-1"'), "bad_number"),
        (swap(CANDLE, b'"h":"84144.0"', b'"h":"84142.0"'), "bad_bar"),
        (swap(CANDLE, b'"l":"84143.0"', b'"l":"84143.5"'), "bad_bar"),
        (swap(CANDLE, b'"T":1790232239999', b'"T":1790232179999'), "bad_bar"),
        (swap(FILLS, b'"fee":"12.063959"', b'"fee":"NaN"'), "bad_number"),
        (swap(FILLS, b'"startPosition":"1.5197585293"', b'"startPosition":"1e9"'), "bad_number"),
        (swap(FILLS, b'"oid":556657630865', b'"oid":"556657630865"'), "wrong_type"),
        (swap(FILLS, USER.encode(), b"0x" + b"2" * 40), "other_user"),
        (swap(UPDATES, b'"sz":"0.01"', b'"sz":"-0.01"'), "bad_number"),
        (b'{"channel":"error","data":{}}', "wrong_type"),
        (b'{"channel":"subscriptionResponse","data":{"method":"subscribe"}}', "wrong_type"),
    ],
)  # fmt: skip
def test_a_broken_frame_is_a_bad_frame(raw, kind):
    with pytest.raises(BadFrame) as e:
        decode_frame(raw, NOW, USER)
    assert e.value.kind == kind
    assert len(e.value.why) < 200


def test_signed_amounts_may_be_negative():
    raw = swap(swap(FILLS, b'"12.063959"', b'"-0.5"'), b'"1.5197585293"', b'"-1.5"')
    (fill,) = decode_frame(raw, NOW, USER)
    assert (fill.fee, fill.start_position) == (D("-0.5"), D("-1.5"))


EVENT_TYPES = (Trade, Quote, Book, MarkPrice, BarUpdate, Fill, OrderUpdate)


def _decodes_or_is_bad(raw):
    try:
        events = decode_frame(raw, NOW, USER)
    except BadFrame:
        return
    assert all(isinstance(e, EVENT_TYPES) for e in events)
    for e in events:
        if isinstance(e, Trade | Fill):
            assert 0 < e.price < 10**12 and 0 < e.size < 10**12


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(EXAMPLES), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutated_bytes_never_raise_anything_else(raw, changes):
    mutable = bytearray(raw)
    for at, byte in changes:
        mutable[at % len(mutable)] = byte
    _decodes_or_is_bad(bytes(mutable))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.decimals().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _leaves(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _leaves(inner, (*path, key))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(EXAMPLES), st.integers(0, 10_000), VALUES)
def test_mutated_values_never_raise_anything_else(raw, where, value):
    tree = {"root": json.loads(raw)}
    paths = list(_leaves(tree))[1:]
    *parents, last = paths[where % len(paths)]
    node = tree
    for key in parents:
        node = node[key]
    node[last] = value
    _decodes_or_is_bad(json.dumps(tree["root"]).encode())


# --- fills in order, repeats dropped --------------------------------------------------------------------------------


def _fill(tid, start, size, side=Side.BUY, time_ms=1000, coin="BTC"):
    return msgspec.structs.replace(
        A_FILL,
        symbol=coin,
        side=side,
        size=D(size),
        start_position=D(start),
        time_ms=time_ms,
        order_id=tid,
        fill_id=f"{time_ms}:{coin}:{tid}",
    )


@pytest.mark.parametrize(
    "fills, order",
    [
        ([_fill(1, "0", "1"), _fill(2, "1", "1"), _fill(3, "2", "1")], [1, 2, 3]),
        ([_fill(3, "2", "1"), _fill(1, "0", "1"), _fill(2, "1", "1")], [1, 2, 3]),
        ([_fill(2, "-1", "2", Side.SELL), _fill(1, "0", "1", Side.SELL)], [1, 2]),
        ([_fill(2, "1", "1", time_ms=2000), _fill(1, "0", "1")], [1, 2]),  # newest first, as histories come
        ([_fill(9, "5", "1"), _fill(2, "1", "1"), _fill(1, "0", "1")], [9, 1, 2]),  # a gap
        ([_fill(2, "1", "1", Side.SELL), _fill(1, "0", "1")], [2, 1]),  # a ring: no telling, kept as sent
        ([_fill(2, "1", "1"), _fill(7, "0", "3", coin="ETH"), _fill(1, "0", "1")], [1, 2, 7]),
    ],
)
def test_fills_of_one_millisecond_are_chained(fills, order):
    assert [f.order_id for f in chain_fills(fills)] == order


@given(st.lists(st.integers(-5, 5).filter(bool), min_size=1, max_size=12), st.randoms())
def test_a_chain_is_found_from_any_order(sizes, rng):
    position, fills = 0, []
    for tid, size in enumerate(sizes):
        fills.append(_fill(tid, str(position), str(abs(size)), Side.BUY if size > 0 else Side.SELL))
        position += size
    shuffled = list(fills)
    rng.shuffle(shuffled)
    chained = chain_fills(shuffled)
    assert sorted(f.order_id for f in chained) == list(range(len(sizes)))
    starts = [f.start_position for f in fills]
    if len(set(starts)) == len(starts) and position not in starts:  # only then is the order certain
        assert list(chained) == fills


def _trade(tid, time_ms=1000, coin="BTC"):
    return Trade(coin, D(1), D(1), Side.BUY, tid, time_ms, NOW)


def test_deduper_drops_replayed_trades_by_time_coin_and_tid():
    deduper = Deduper()
    assert len(deduper.fresh((_trade(1), _trade(2), _trade(1)))) == 2
    assert deduper.fresh((_trade(2), _trade(2, coin="ETH"), _trade(2, time_ms=1001))) == (
        _trade(2, coin="ETH"),
        _trade(2, time_ms=1001),
    )


def test_deduper_is_bounded():
    deduper = Deduper(trades_kept=10)
    for tid in range(25):
        assert deduper.fresh((_trade(tid),))
    assert deduper.fresh((_trade(24), _trade(15), _trade(10))) == ()
    assert deduper.fresh((_trade(9),)) == (_trade(9),)  # long forgotten


def test_deduper_passes_a_fill_once():
    deduper = Deduper()
    assert deduper.fresh((A_FILL,)) == (A_FILL,)
    assert deduper.fresh((msgspec.structs.replace(A_FILL, is_snapshot=True), _fill(1, "0", "1"))) == (
        _fill(1, "0", "1"),
    )


@given(st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=5), max_size=30))
def test_a_replay_of_the_kept_frames_gives_the_same_events(batches):
    """The journal keeps only the frames that had something new; from them the same events must come."""
    live, replay = FrameReader(None), FrameReader(None)
    for batch in batches:
        raw = json.dumps(trades(*(trade("BTC", tid, time_ms=1_790_000_000_000 + t) for tid, t in batch))).encode()
        if events := live.read(raw, NOW):
            assert replay.read(raw, NOW) == events


@pytest.mark.skipif(not DATA.is_dir(), reason="no recorded data here")
def test_recorded_answers_decode_as_frames():
    """REST rows have the shape of the frames (page 2.3, 2.7)."""
    rows = [row | {"tid": i} for i, row in enumerate(_recorded("userFills"))]  # recorded before fills had one
    fills = decode_frame(_raw({"channel": "userFills", "data": {"user": USER, "fills": rows}}), NOW, USER)
    assert len(fills) == len(rows) > 0
    assert [f.time_ms for f in fills] == sorted(f.time_ms for f in fills)
    (book,) = decode_frame(_raw({"channel": "l2Book", "data": _recorded("l2Book")}), NOW)
    assert book.bids[0][0] < book.asks[0][0]
    candles = _recorded("candleSnapshot")
    assert len(decode_frame(_raw({"channel": "candle", "data": candles}), NOW)) == len(candles) > 0


def _recorded(kind):
    answers = json.loads((DATA / f"info_{kind}.json").read_text(encoding="utf-8"))
    return next(a["response"] for a in answers if a["request"]["type"] == kind)


def _raw(message):
    return message if isinstance(message, bytes) else json.dumps(message).encode()


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw, old",
    [
        (TRADES, b'"time":1790232216193'), (BOOK, b'"time":1790232236546'), (BBO, b'"time":1790232237145'),
        (FILLS, b'"time":1790357129742'), (UPDATES, b'"statusTimestamp":1790360256851'), (CANDLE, b'"t":1790232180000'),
        (CANDLE, b'"T":1790232239999'),
    ],
)  # fmt: skip
def test_a_time_that_has_not_come_is_no_time(raw: bytes, old: bytes) -> None:
    """One such price would make everything after it look old."""
    name = old.partition(b":")[0]
    with pytest.raises(BadFrame, match="bad_"):
        decode_frame(swap(raw, old, name + b":%d" % (NOW + 9 * 86_400_000)), NOW, USER)
