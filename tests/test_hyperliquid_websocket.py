"""Hyperliquid frames: every example of the protocol page and every way to break one; the client on real sockets."""

import json
import logging
import queue
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.messages import BarUpdate, Frame, OrderUpdate, StreamDown, StreamUp
from core.model import Bar, Book, Fill, MarkPrice, OrderStatus, Quote, Side, Trade
from hyperliquid_frames import Ack, Deduper, FillsSnapshot, FrameReader, Pong, VenueError, chain_fills, decode
from hyperliquid_websocket import HyperliquidDialect, HyperliquidWebSocketClient, Timing, decode_frame, order_status
from runtime.clock import ManualClock, SystemClock
from runtime.stream import BadFrame, Mute
from tests.wsserver import WAIT_S, ListedVenue, WsServer, ctx, frame, trade, trades

DATA = Path(__file__).resolve().parents[1] / "../shared/data/hyperliquid"
USER = "0x1111111111111111111111111111111111111111"
NOW = 1_790_232_217_000

TRADES = (
    b'{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"84143.0","sz":"0.00036","time":1790232216193,'
    b'"hash":"0x7ab608dad75f7ce37c2f044516391f02023a00c072529bb51e7eb42d965356ce","tid":1045359869404765,'
    b'"users":["0x9aa589355bf745db9784c8ef3c646360f11b58af","0x8269c0a4f5f1a14582e0aa46856a234893c41970"]}]}'
)
BOOK = (
    b'{"channel":"l2Book","data":{"coin":"BTC","time":1790232236546,"levels":[[{"px":"84143.0","sz":"10.25923","n":36},'
    b'{"px":"84142.0","sz":"1.65875","n":7}],[{"px":"84144.0","sz":"50.66449","n":18}]]}}'
)
BBO = (
    b'{"channel":"bbo","data":{"coin":"BTC","time":1790232237145,"bbo":[{"px":"84143.0","sz":"10.25923","n":36},'
    b'{"px":"84144.0","sz":"50.66422","n":18}]}}'
)
CANDLE = (
    b'{"channel":"candle","data":{"t":1790232180000,"T":1790232239999,"s":"BTC","i":"1m","o":"84143.0","c":"84143.0",'
    b'"h":"84144.0","l":"84143.0","v":"14.27847","n":114}}'
)
CTX = (
    b'{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"funding":"0.0000018952","openInterest":"36585.31848",'
    b'"prevDayPx":"86627.0","dayNtlVlm":"4161029539.6949653625","premium":"-0.0006413454","oraclePx":"84198.0",'
    b'"markPx":"84148.0","midPx":"84143.5","impactPxs":["84143.0","84144.0"],"dayBaseVlm":"49116.08533"}}}'
)
FILL = (
    b'{"coin":"BTC","px":"83843.0","sz":"0.31975","side":"A","time":1790357129742,"startPosition":"1.5197585293",'
    b'"dir":"Close Long","closedPnl":"86.62649561","hash":"0xaa","oid":556657630865,"crossed":true,"fee":"12.063959",'
    b'"tid":246814713305894,"cloid":"0x1234567890abcdef1234567890abcdef","feeToken":"USDC","twapId":null}'
)
FILLS = b'{"channel":"userFills","data":{"user":"' + USER.encode() + b'","fills":[' + FILL + b"]}}"
SNAPSHOT = b'{"channel":"userFills","data":{"user":"' + USER.encode() + b'","isSnapshot":true,"fills":[' + FILL + b"]}}"
NO_FILLS = b'{"channel":"userFills","data":{"user":"' + USER.encode() + b'","isSnapshot":true,"fills":[]}}'
USER_FILLS = b'{"channel":"user","data":{"fills":[' + FILL + b"]}}"
UPDATES = (
    b'{"channel":"orderUpdates","data":[{"order":{"coin":"BTC","side":"B","limitPx":"83000.0","sz":"0.01",'
    b'"oid":556696349186,"timestamp":1790360256851,"origSz":"0.01","cloid":"0x1234567890abcdef1234567890abcdef"},'
    b'"status":"open","statusTimestamp":1790360256851},{"order":{"coin":"ETH","side":"A","limitPx":"2822.5","sz":"0.01",'
    b'"oid":62014739273,"timestamp":1791318870000,"origSz":"0.01","reduceOnly":true},"status":"reduceOnlyCanceled",'
    b'"statusTimestamp":1791318879266}]}'
)
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


def _swap(raw, old, new):
    assert old in raw
    return raw.replace(old, new, 1)


@pytest.mark.parametrize(
    "raw, kind",
    [
        (b"", "truncated"),
        (b"hello", "not_json"),
        (b"\x00\x01", "not_json"),
        (b"\xff\xfe", "not_json"),
        (TRADES + b"x", "not_json"),
        (_swap(TRADES, b"BTC", b"B\xffC"), "not_json"),
        (TRADES[:-1], "truncated"),
        (TRADES[:100], "truncated"),
        (b'{"channel":"trades","data":' + b"[" * 100_000, "too_deep"),
        (b"null", "no_channel"),
        (b"[]", "no_channel"),
        (b'{"data":[]}', "no_channel"),
        (b'{"channel":7,"data":[]}', "no_channel"),
        (b'{"channel":"allMids","data":{"mids":{}}}', "unknown_channel"),
        (b'{"channel":"trades"}', "wrong_type"),
        (b'{"channel":"trades","data":null}', "wrong_type"),
        (b'{"channel":"trades","data":{}}', "wrong_type"),
        (_swap(TRADES, b'"side":"A"', b'"side":"C"'), "wrong_type"),
        (_swap(TRADES, b'"px":"84143.0",', b""), "wrong_type"),
        (_swap(TRADES, b'"84143.0"', b"84143.0"), "wrong_type"),  # a number where the venue sends a string
        (_swap(TRADES, b"1790232216193", b'"1790232216193"'), "wrong_type"),  # and the reverse
        (_swap(TRADES, b"1790232216193", b"-1"), "wrong_type"),
        (_swap(TRADES, b"1790232216193", b"1790232216193000"), "wrong_type"),  # microseconds
        (_swap(TRADES, b"1790232216193", b"1.5"), "wrong_type"),
        (_swap(TRADES, b"1045359869404765", b"9" * 30), "wrong_type"),
        (_swap(TRADES, b"1045359869404765", b"true"), "wrong_type"),
        (_swap(TRADES, b'"BTC"', b'""'), "wrong_type"),
        *(
            (_swap(TRADES, b'"84143.0"', b'"' + px + b'"'), "bad_number")
            for px in (
                b"0", b"0.0", b"-1", b"-84143.0", b"NaN", b"sNaN", b"Infinity", b"-inf", b"1e5", b"1E999999999",
                b"1e-999999999", b"1000000000000", b"9" * 5000, b"", b" 84143.0", b"84_143", b"+84143", b"84143,0",
                b"0x10", b".5", b"5.", b"null", "٣".encode(), b"0.000000000000000000001", b"84143.0\\n",
            )
        ),
        (_swap(TRADES, b'"0.00036"', b'"0"'), "bad_number"),
        (_swap(BBO, b'"84143.0"', b'"-84143.0"'), "bad_number"),
        (_swap(BBO, b'"bbo":[', b'"bbo":[null,'), "wrong_type"),
        (_swap(BOOK, b'"84142.0"', b'"0"'), "bad_number"),
        (_swap(CTX, b'"84148.0"', b"null"), "wrong_type"),
        (_swap(CTX, b'"84148.0"', b'"1e3"'), "bad_number"),
        (_swap(CANDLE, b'"v":"14.27847"', b'"v":"-1"'), "bad_number"),
        (_swap(CANDLE, b'"h":"84144.0"', b'"h":"84142.0"'), "bad_bar"),
        (_swap(CANDLE, b'"l":"84143.0"', b'"l":"84143.5"'), "bad_bar"),
        (_swap(CANDLE, b'"T":1790232239999', b'"T":1790232179999'), "bad_bar"),
        (_swap(FILLS, b'"fee":"12.063959"', b'"fee":"NaN"'), "bad_number"),
        (_swap(FILLS, b'"startPosition":"1.5197585293"', b'"startPosition":"1e9"'), "bad_number"),
        (_swap(FILLS, b'"oid":556657630865', b'"oid":"556657630865"'), "wrong_type"),
        (_swap(FILLS, USER.encode(), b"0x" + b"2" * 40), "other_user"),
        (_swap(UPDATES, b'"sz":"0.01"', b'"sz":"-0.01"'), "bad_number"),
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
    raw = _swap(_swap(FILLS, b'"12.063959"', b'"-0.5"'), b'"1.5197585293"', b'"-1.5"')
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


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
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


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
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
        ([_fill(9, "5", "1"), _fill(2, "1", "1"), _fill(1, "0", "1")], [9, 2, 1]),  # a gap: 9 starts nobody's end
        ([_fill(2, "1", "1", Side.SELL), _fill(1, "0", "1")], [2, 1]),  # a ring: no telling, kept as sent
        ([_fill(2, "1", "1"), _fill(7, "0", "3", coin="ETH"), _fill(1, "0", "1")], [1, 2, 7]),
    ],
)
def test_fills_of_one_millisecond_are_chained(fills, order):
    assert sorted(f.order_id for f in chain_fills(fills)) == sorted(order)
    got = [f.order_id for f in chain_fills(fills)]
    if order[0] != 9:
        assert got == order
    else:
        assert got[0] == 9  # nothing is lost or invented


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
    deduper.connection_lost()
    assert deduper.fresh((_trade(1),)) == ()  # replays come after a reconnect: that is what it is for


def test_deduper_is_bounded():
    deduper = Deduper(trades_kept=10)
    for tid in range(25):
        assert deduper.fresh((_trade(tid),))
    assert deduper.fresh((_trade(24), _trade(15), _trade(10))) == ()
    assert deduper.fresh((_trade(9),)) == (_trade(9),)  # long forgotten


def test_fills_repeat_only_in_a_new_connection():
    deduper = Deduper()
    assert deduper.fresh((A_FILL,)) == (A_FILL,)
    assert deduper.fresh((A_FILL,)) == ()
    deduper.connection_lost()
    assert deduper.fresh((A_FILL,)) == (A_FILL,)


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


# --- the dialect, without a socket: time is a number ----------------------------------------------------------------


class Talk:
    """One connection of a dialect: what it sends, answered by hand, at times of our choosing."""

    def __init__(self, dialect: HyperliquidDialect, now_s: float = 100.0) -> None:
        self.dialect, self.now_s = dialect, now_s
        dialect.opened(now_s)

    def sent(self) -> list[str]:
        """What was queued since the last look: `ping`, `+trades:BTC`, `-userFills`."""
        out = []
        while self.dialect.outgoing:
            request = json.loads(self.dialect.outgoing.popleft())
            sub = request.get("subscription", {})
            sign = {"subscribe": "+", "unsubscribe": "-"}.get(request["method"], "")
            name = ":".join(v for v in (sub.get("type"), sub.get("coin")) if v)
            out.append(f"{sign}{name}" if sign else request["method"])
        return out

    def hear(self, *messages):
        return [e for m in messages for e in self.dialect.received(_raw(m), NOW, self.now_s)]

    def ack(self, *names):
        for name in names:
            channel, _, coin = name.partition(":")
            sub = {"type": channel, "coin": coin} if coin else {"type": channel, "user": USER, "aggregateByTime": False}
            self.hear({"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": sub}})

    def up(self):
        """Acknowledge all that was asked for."""
        self.ack(*(name[1:] for name in self.sent() if name[0] == "+"))
        self.hear(PONG)
        assert self.dialect.is_up
        return self

    def after(self, seconds: float):
        """Tend in small steps, as the thread does, for `seconds`."""
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self.now_s = min(self.now_s + 0.25, end_s)
            self.dialect.tend(self.now_s)
        return self.sent()


PONG = {"channel": "pong"}


def _raw(message):
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def _dialect(*coins, user=None, candles=None, books=(), timing=None):
    return HyperliquidDialect("ws://127.0.0.1/ws", coins, user, candles or {}, books, timing or Timing())


def test_what_is_asked_for():
    talk = Talk(_dialect("BTC", "ETH", user=USER, candles={"BTC": "1m"}, books=["ETH"]))
    assert talk.sent() == [
        "ping",
        "+userFills",
        "+orderUpdates",
        "+activeAssetCtx:BTC",
        "+trades:BTC",
        "+bbo:BTC",
        "+candle:BTC",
        "+activeAssetCtx:ETH",
        "+trades:ETH",
        "+bbo:ETH",
        "+l2Book:ETH",
    ]
    assert not talk.dialect.is_up


def test_more_than_the_venue_allows_is_refused():
    with pytest.raises(ValueError, match="1002"):
        _dialect(*(f"C{i}" for i in range(334)))


def test_up_when_all_is_acknowledged_in_any_spelling():
    dialect = _dialect("BTC", user=USER.upper().replace("X", "x"), books=["BTC"])
    talk = Talk(dialect)
    talk.ack("userFills", "orderUpdates", "activeAssetCtx:BTC", "trades:BTC")
    assert not dialect.is_up
    talk.hear({"channel": "error", "data": 'Already subscribed: {"type":"bbo","coin":"BTC"}'})
    assert not dialect.is_up
    echo = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False}
    talk.hear({"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": echo}})
    assert dialect.is_up
    assert dialect.subscriptions == 6


def test_data_is_as_good_as_an_acknowledgement():
    talk = Talk(_dialect("BTC"))
    talk.ack("trades:BTC", "bbo:BTC")
    talk.hear(CTX)
    assert talk.dialect.is_up


def test_a_price_nobody_asked_for_is_a_bad_frame():
    with pytest.raises(BadFrame, match="not_asked_for"):
        Talk(_dialect("BTC")).hear(ctx("DOGE"))


def test_a_missing_acknowledgement_is_asked_for_once_more_then_named(caplog):
    talk = Talk(_dialect("BTC", "ETH"))
    talk.sent()
    talk.ack("activeAssetCtx:BTC", "bbo:BTC", "activeAssetCtx:ETH", "trades:ETH", "bbo:ETH")
    sent = []
    for _ in range(12):
        talk.hear(PONG, CTX, ctx("ETH"))
        sent += [s for s in talk.after(1.0) if s != "ping"]
    assert sent == ["+trades:BTC"]
    assert talk.dialect.is_up  # the others live
    (error,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert "trades for BTC" in error and "no acknowledgement" in error


def test_no_acknowledgement_at_all_is_a_mute_socket():
    talk = Talk(_dialect("BTC"))
    with pytest.raises(Mute, match="activeAssetCtx for BTC"):
        for _ in range(10):
            talk.hear(PONG)
            talk.after(1.0)


def test_a_refused_coin_is_named_once_and_the_others_live(caplog):
    dialect = _dialect("BTC", "NOPE")
    for turn in range(2):
        talk = Talk(dialect)
        talk.ack("activeAssetCtx:BTC", "trades:BTC", "bbo:BTC")
        for channel in ("activeAssetCtx", "trades", "bbo"):
            text = f'Invalid subscription {{"type":"{channel}","coin":"NOPE"}}'
            talk.hear({"channel": "error", "data": text})
        assert dialect.is_up
        assert dialect.subscriptions == 3
        errors = [r for r in caplog.records if r.levelname == "ERROR"]
        assert len(errors) == 3, turn  # each once, not again after the reconnect
        dialect.closed(talk.now_s, dropped=True)


def test_a_drop_while_subscribing_is_narrowed_down_and_quarantined(caplog):
    dialect = _dialect("NOPE", "BTC")
    first = Talk(dialect)
    first.sent()
    first.hear(PONG)
    dialect.closed(first.now_s, dropped=True)  # first unanswered: activeAssetCtx of NOPE
    second = Talk(dialect)
    assert second.sent() == ["ping"]  # one at a time now, and only once it lives
    second.hear(PONG)
    asked = []
    while (sent := second.sent()) and "NOPE" not in sent[0]:
        asked += sent
        second.ack(sent[0][1:])
    assert asked == ["+activeAssetCtx:BTC", "+trades:BTC", "+bbo:BTC"]  # the suspect comes last
    assert sent == ["+activeAssetCtx:NOPE"]
    dialect.closed(second.now_s, dropped=True)
    assert set(dialect.quarantined) == {"activeAssetCtx for NOPE", "trades for NOPE", "bbo for NOPE"}
    third = Talk(dialect)
    third.hear(PONG)
    while sent := third.sent():
        for name in sent:
            assert "NOPE" not in name
            if name[0] == "+":
                third.ack(name[1:])
    assert dialect.is_up
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1


def test_a_venue_that_only_hangs_up_makes_nobody_a_suspect():
    dialect = _dialect("BTC")
    for _ in range(10):
        talk = Talk(dialect)
        talk.sent()
        dialect.closed(talk.now_s, dropped=True)  # it never said a word
    assert dialect.quarantined == ()


def test_our_own_reconnects_make_nobody_a_suspect():
    dialect = _dialect("BTC")
    for _ in range(10):
        talk = Talk(dialect)
        talk.hear(PONG)
        dialect.closed(talk.now_s, dropped=False)
    assert dialect.quarantined == ()


# --- silence --------------------------------------------------------------------------------------------------------


def test_a_mute_socket_is_asked_and_then_given_up_within_five_seconds():
    talk = Talk(_dialect("BTC")).up()
    talk.hear(CTX)
    assert talk.after(2.5) == ["ping"]
    with pytest.raises(Mute, match="no frame"):
        talk.after(2.5)


def test_a_socket_that_answers_pings_is_not_mute():
    talk = Talk(_dialect("BTC")).up()
    for _ in range(40):
        assert talk.after(0.5) in ([], ["ping"])
        talk.hear(PONG, CTX)


def test_a_ping_every_twenty_seconds_must_be_answered():
    talk = Talk(_dialect("BTC")).up()
    sent = []
    for _ in range(21):
        talk.hear(CTX)
        sent += talk.after(1.0)
    assert sent == ["ping"]
    with pytest.raises(Mute, match="pong"):
        for _ in range(6):
            talk.hear(CTX)
            talk.after(1.0)


def _both_speak(talk, seconds, *, silent=()):
    """Contexts of BTC and ETH once a second, less those in `silent`; returns what was sent besides pings."""
    sent = []
    for _ in range(seconds):
        talk.hear(*(ctx(coin) for coin in ("BTC", "ETH") if coin not in silent), PONG)
        sent += [s for s in talk.after(1.0) if s != "ping"]
    return sent


def test_a_mute_market_is_asked_for_again_within_five_seconds_and_then_costs_the_connection():
    talk = Talk(_dialect("BTC", "ETH")).up()
    assert _both_speak(talk, 30) == []
    assert _both_speak(talk, 5, silent=["BTC"]) == ["-activeAssetCtx:BTC", "+activeAssetCtx:BTC"]
    with pytest.raises(Mute, match="BTC is silent"):
        _both_speak(talk, 4, silent=["BTC"])


def test_a_market_that_answers_when_asked_is_quiet_not_mute():
    talk = Talk(_dialect("BTC", "ETH")).up()
    renewals = 0
    for _ in range(300):
        if "+activeAssetCtx:BTC" in _both_speak(talk, 1, silent=["BTC"]):
            talk.hear(ctx("BTC"))  # a context follows every subscribe
            renewals += 1
    assert 5 <= renewals <= 9  # it learns: once a minute in the end


def test_a_market_that_woke_up_is_held_to_its_new_rhythm():
    talk = Talk(_dialect("BTC", "ETH")).up()
    for _ in range(300):
        if "+activeAssetCtx:BTC" in _both_speak(talk, 1, silent=["BTC"]):
            talk.hear(ctx("BTC"))
    assert _both_speak(talk, 10, silent=["BTC"]) == []
    _both_speak(talk, 900)
    assert _both_speak(talk, 6, silent=["BTC"]) == ["-activeAssetCtx:BTC", "+activeAssetCtx:BTC"]


def test_a_coin_that_never_speaks_does_not_cost_the_others_more_than_one_reconnect(caplog):
    dialect = _dialect("BTC", "ETH")
    talk = Talk(dialect).up()
    with pytest.raises(Mute, match="BTC"):
        _both_speak(talk, 10, silent=["BTC"])
    dialect.closed(talk.now_s, dropped=False)
    talk = Talk(dialect, talk.now_s).up()
    _both_speak(talk, 600, silent=["BTC"])  # acknowledged, and silent for ever: the third form of an unknown coin
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert errors == ["market_mute coin=BTC acknowledged, and says nothing"]


def test_one_silent_channel_is_renewed_and_does_not_cost_the_connection():
    talk = Talk(_dialect("BTC", "ETH")).up()
    for i in range(900):  # trades every second, long enough to learn their rhythm
        talk.hear(trades(trade("BTC", i)))
        assert _both_speak(talk, 1) in ([], ["-bbo:BTC", "+bbo:BTC"], ["-bbo:ETH", "+bbo:ETH"]) or i > 50
    assert "+trades:BTC" in _both_speak(talk, 15)


# --- the fill stream ------------------------------------------------------------------------------------------------


def _user_talk():
    talk = Talk(_dialect("BTC", user=USER))
    talk.up()
    talk.hear(SNAPSHOT)
    return talk


def _pass(talk, seconds):
    """Time passes, prices flow; returns what was sent besides pings."""
    sent = []
    for _ in range(seconds):
        talk.hear(CTX, PONG)
        sent += [s for s in talk.after(1.0) if s != "ping"]
    return sent


def test_the_fill_stream_is_asked_to_prove_itself():
    talk = _user_talk()
    assert _pass(talk, 3) == ["-userFills", "+userFills"]
    assert talk.hear(SNAPSHOT) == []  # word for word what we know
    other = _swap(_swap(SNAPSHOT, b"246814713305894", b"7"), b"[", b"[" + FILL + b",")
    assert _pass(talk, 3) == ["-userFills", "+userFills"]
    (fill,) = talk.hear(other)  # one more than before: that one is news
    assert fill.fill_id == "1790357129742:BTC:7"


def test_a_mute_fill_stream_is_noticed_within_seconds():
    talk = _user_talk()
    for _ in range(12):
        if _pass(talk, 1):
            talk.hear(SNAPSHOT)
    with pytest.raises(Mute, match="fill stream"):
        _pass(talk, 6)


def test_already_subscribed_is_an_answer():
    talk = _user_talk()
    for _ in range(30):
        if _pass(talk, 1):
            text = f'Already subscribed: {{"type":"userFills","user":"{USER}","aggregateByTime":false}}'
            talk.hear({"channel": "error", "data": text})


def test_a_venue_without_a_second_history_is_believed_by_its_acknowledgement():
    talk = _user_talk()
    for _ in range(30):
        if _pass(talk, 1):
            talk.ack("userFills")


def test_a_long_history_is_asked_for_less_often():
    talk = Talk(_dialect("BTC", user=USER)).up()
    rows = b",".join(_swap(FILL, b"246814713305894", str(i).encode()) for i in range(1000))
    history = _swap(SNAPSHOT, FILL, rows)
    assert len(talk.hear(history)) == 1000
    assert _pass(talk, len(history) // 20_000) == []
    assert _pass(talk, 2) == ["-userFills", "+userFills"]


# --- the client on a real socket ------------------------------------------------------------------------------------


@pytest.fixture
def venue():
    return ListedVenue("BTC", "ETH")


@pytest.fixture
def server(venue):
    server = WsServer(venue)
    yield server
    server.close()


@pytest.fixture
def start(server, request):
    def _start(*coins, user=None, clock=None, **options):
        inbox: queue.Queue = queue.Queue()
        options = {"connect_spacing_s": 0.0, "poll_s": 0.02, "jitter": lambda: 0.5} | options
        client = HyperliquidWebSocketClient(server.url, coins, user, inbox, clock or ManualClock(), **options)
        request.addfinalizer(client.stop)
        client.start()
        return client, inbox

    return _start


def wait_for(inbox, kind):
    """The next event of this kind; what comes before it is let go."""
    while not isinstance(event := inbox.get(timeout=WAIT_S), kind):
        pass
    return event


def prices(inbox, count):
    """The next `count` trade prices."""
    got = []
    while len(got) < count:
        got += [e.price for e in wait_for(inbox, Frame).events if isinstance(e, Trade)]
    return got


def test_prices_and_fills_of_a_day(server, venue, start, caplog):
    caplog.set_level(logging.INFO, "stream")
    venue.fills = [json.loads(FILL)]
    client, inbox = start("BTC", "ETH", user=USER, candles={"BTC": "1m"})
    assert wait_for(inbox, Frame).events[0].is_snapshot
    assert wait_for(inbox, StreamUp).subscriptions == 9
    conn = server.accept()
    conn.send_bytes(frame(TRADES) + frame(UPDATES) + frame(FILLS.replace(b"246814713305894", b"8")))
    assert wait_for(inbox, Frame).raw == TRADES
    assert isinstance(wait_for(inbox, Frame).events[0], OrderUpdate)
    assert not wait_for(inbox, Frame).events[0].is_snapshot
    status = client.status()
    assert (status.connected, status.subscriptions, status.reconnects, status.bad_frames) == (True, 9, 0, 0)
    assert any(m.endswith("Subscribed to WebSocket trades for BTC") for m in caplog.messages)
    assert sum("Subscribed to WebSocket" in m for m in caplog.messages) == 9
    assert USER not in caplog.text


def test_after_a_drop_all_is_asked_for_again_and_replays_are_dropped(server, venue, start):
    client, inbox = start("BTC", user=USER)
    wait_for(inbox, StreamUp)
    server_side = server.accept()
    server_side.send(trades(trade("BTC", 1, "100.0"), trade("BTC", 2, "101.0")))
    assert prices(inbox, 2) == [100, 101]
    first = list(venue.asked)
    server_side.drop()
    assert wait_for(inbox, StreamDown).attempt == 1
    wait_for(inbox, StreamUp)
    assert venue.asked[len(first) :] == first
    replay = trades(trade("BTC", 1, "100.0"), trade("BTC", 2, "101.0"), trade("BTC", 3, "102.0"))
    server.accept().send(replay, trades(trade("BTC", 2, "101.0")), trades(trade("BTC", 4, "103.0")))
    assert prices(inbox, 2) == [102, 103]
    assert client.status().reconnects == 1


def test_noise_is_skipped_and_prices_go_on(server, start, caplog):
    client, inbox = start("BTC")
    conn = server.accept()
    conn.send("Websocket connection established.")
    wait_for(inbox, StreamUp)
    noise = [b"", b"not json", TRADES[:50], b'{"channel":"news","data":1}', _swap(TRADES, b'"84143.0"', b'"-1"')]
    conn.send_bytes(b"".join(frame(n) for n in noise))
    conn.send({"channel": "error", "data": "too many pending post requests id=1234"})
    conn.send({"channel": "error", "data": f"Cannot track {USER}, more than 15 total users."})
    conn.send_bytes(frame(TRADES))
    assert prices(inbox, 1) == [D("84143.0")]
    assert client.status().bad_frames == len(noise)
    assert "too many pending" in caplog.text
    assert USER not in caplog.text


def test_an_unknown_coin_is_left_out_after_two_drops(server, venue, start, caplog):
    client, inbox = start("NOPE", "BTC")
    wait_for(inbox, StreamDown)
    wait_for(inbox, StreamDown)
    assert wait_for(inbox, StreamUp).subscriptions == 3
    assert client.status().quarantined == ("activeAssetCtx for NOPE", "trades for NOPE", "bbo for NOPE")
    assert caplog.text.count("subscription_quarantined") == 1
    for _ in range(2):
        server.accept()
    server.accept().send_bytes(frame(TRADES))
    assert prices(inbox, 1) == [D("84143.0")]


def test_a_coin_refused_by_an_error_frame_does_not_cost_the_socket(venue, start, caplog):
    venue.refused = {"NOPE"}
    _, inbox = start("NOPE", "BTC")
    assert wait_for(inbox, StreamUp).subscriptions == 3
    assert "subscription_refused name='trades for NOPE'" in caplog.text


FAST = Timing(quiet_s=0.1, mute_s=0.3, probe_s=0.1, answer_s=0.2)


def test_an_open_socket_that_says_nothing_is_replaced(server, start):
    _, inbox = start("BTC", timing=FAST)
    wait_for(inbox, StreamUp)
    server.accept().alive = False
    assert "mute: no frame" in wait_for(inbox, StreamDown).error
    assert wait_for(inbox, StreamUp)


def test_a_fill_stream_that_went_mute_is_replaced(server, venue, start):
    _, inbox = start("BTC", user=USER, timing=FAST)
    wait_for(inbox, StreamUp)
    conn = server.accept()
    for _ in range(4):  # it proves itself a few times
        while '"subscribe","subscription":{"type":"userFills"' not in conn.receive():
            pass
    venue.snapshots = False
    assert "the fill stream did not answer" in wait_for(inbox, StreamDown).error


def test_a_reconnect_asked_for_and_a_stop(server, start):
    client, inbox = start("BTC", clock=SystemClock())
    wait_for(inbox, StreamUp)
    client.reconnect("no price of BTC for 3s")
    assert "no price of BTC for 3s" in wait_for(inbox, StreamDown).error
    wait_for(inbox, StreamUp)
    client.stop()
    assert not client.is_alive()
    server.accept()
    assert server.accept().closed.wait(WAIT_S)


def test_an_unencrypted_address_elsewhere_is_refused():
    with pytest.raises(ValueError, match="wss"):
        HyperliquidWebSocketClient("ws://api.hyperliquid.xyz/ws", ["BTC"], None, queue.Queue(), ManualClock())
