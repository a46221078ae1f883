"""Pure half of the client: spelling of numbers and actions, and what each answer of `/exchange` means."""

import json
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN
from decimal import Decimal as D
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import OrderAccepted, OrderRejected, OrderUnknown, RejectReason
from core.model import Instrument, Order, OrderStatus, OrderType, Side, TimeInForce
from venues.hyperliquid.wire import (
    REASONS,
    NoopVerdict,
    cancel_answer,
    clean,
    noop_verdict,
    order_action,
    order_answer,
    reject_reason,
    to_wire,
)

CLOID = "0x1234567890abcdef1234567890abcdef"
IOC = Order(
    client_id=CLOID, symbol="BTC", side=Side.BUY, size=D("0.02"), type=OrderType.MARKET, price=D("43250.5"), nonce=1
)
GTC = msgspec.structs.replace(IOC, type=OrderType.LIMIT, time_in_force=TimeInForce.GTC)
STOP = msgspec.structs.replace(
    IOC, side=Side.SELL, type=OrderType.STOP, trigger_price=D("2578.60"), price=D("2320.7"), reduce_only=True
)
POSITION_STOP = msgspec.structs.replace(STOP, size=D(0), whole_position=True)
R = RejectReason


# --- out ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, text",
    [
        ("50000.0", "50000"),
        ("100000.0", "100000"),
        ("1E+5", "100000"),
        ("0.00076", "0.00076"),
        ("1e-08", "0.00000001"),
        ("87654321.1234", "87654321.1234"),
        ("100.10", "100.1"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0E+3", "0"),
        ("12345678901234567890123456789012345.5", "12345678901234567890123456789012345.5"),
    ],
)
def test_to_wire(value: str, text: str):
    assert to_wire(D(value)) == text


@pytest.mark.parametrize("value", ["0.123456789", "1e-9", "NaN", "Infinity", "-Infinity", "sNaN"])
def test_to_wire_refuses_what_cannot_be_said_exactly(value: str):
    with pytest.raises(ValueError):
        to_wire(D(value))


@pytest.mark.parametrize(
    "order, expected",
    [
        (
            IOC,
            {"a": 0, "b": True, "p": "43250.5", "s": "0.02", "r": False, "t": {"limit": {"tif": "Ioc"}}, "c": CLOID},
        ),
        (
            GTC,
            {"a": 0, "b": True, "p": "43250.5", "s": "0.02", "r": False, "t": {"limit": {"tif": "Gtc"}}, "c": CLOID},
        ),
        (
            STOP,
            {
                "a": 0,
                "b": False,
                "p": "2320.7",
                "s": "0.02",
                "r": True,
                "t": {"trigger": {"isMarket": True, "triggerPx": "2578.6", "tpsl": "sl"}},
                "c": CLOID,
            },
        ),
    ],
)
def test_order_action(order: Order, expected: dict[str, Any]):
    action = order_action(order, 0)
    assert list(action) == ["type", "orders", "grouping"]
    assert action["grouping"] == "na"
    assert action["orders"] == [expected]
    assert list(action["orders"][0]) == list(expected)


def test_position_stop_is_vector_v22():
    assert json.dumps(order_action(POSITION_STOP, 4)) == (
        '{"type": "order", "orders": [{"a": 4, "b": false, "p": "2320.7", "s": "0", "r": true, "t": {"trigger": '
        '{"isMarket": true, "triggerPx": "2578.6", "tpsl": "sl"}}}], "grouping": "positionTpsl"}'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"price": D(0)},
        {"price": D(-1)},
        {"size": D(0)},
        {"size": D("NaN")},
        {"type": OrderType.STOP, "trigger_price": D(5)},  # not reduce-only: it would open a position
        {"type": OrderType.STOP, "reduce_only": True},  # no trigger
        {"type": OrderType.TAKE_PROFIT, "reduce_only": True, "trigger_price": D(0)},
        {"whole_position": True},
        {"client_id": "r7-12"},
    ],
)
def test_an_order_that_must_not_be_sent_is_refused_here(change: dict[str, Any]):
    with pytest.raises((ValueError, ArithmeticError)):
        order_action(msgspec.structs.replace(IOC, **change), 0)


# --- rounding, against an independent statement of page 6.1 ---------------------------------------------------------


def is_valid_price(text: str, decimals_max: int) -> bool:
    """An integer, or at most five significant figures and decimals_max decimals; said with strings, not arithmetic."""
    whole, _, part = text.partition(".")
    if not part:
        return True
    return len(part) <= decimals_max and len((whole + part).lstrip("0")) <= 5


@settings(max_examples=1500, deadline=None)
@given(
    digits=st.integers(1, 10**9),
    places=st.integers(0, 12),
    lot_decimals=st.integers(0, 5),
    rounding=st.sampled_from([ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING, ROUND_DOWN]),
)
def test_prices_are_valid_and_no_coarser_than_needed(digits: int, places: int, lot_decimals: int, rounding: str):
    price, decimals_max = D(digits).scaleb(-places), 6 - lot_decimals
    instrument = Instrument("X", 0, D(1).scaleb(-lot_decimals), price_decimals=decimals_max)
    rounded = instrument.round_price(price, rounding)
    assert is_valid_price(to_wire(rounded), decimals_max)
    if is_valid_price(to_wire(price) if places <= 8 else format(price.normalize(), "f"), decimals_max):
        assert rounded == price
    step = _finest_step(price, decimals_max)
    assert abs(Fraction(rounded) - Fraction(price)) < step
    assert rounding is not ROUND_FLOOR or rounded <= price
    assert rounding is not ROUND_CEILING or rounded >= price


def _finest_step(price: D, decimals_max: int) -> Fraction:
    """Distance of neighbouring valid prices around `price`, found by trying: the least power of ten that works."""
    for places in range(decimals_max, 0, -1):
        whole = int(Fraction(price) * 10**places)
        if len(str(whole)) <= 5:
            return Fraction(1, 10**places)
    return Fraction(1)


# --- back: single orders --------------------------------------------------------------------------------------------


def ok(*statuses: Any, kind: str = "order") -> bytes:
    return json.dumps({"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}).encode()


def err(text: str) -> bytes:
    return json.dumps({"status": "err", "response": text}).encode()


def answer(body: bytes, order: Order = IOC, status: int = 200):
    return order_answer(order, status, body, 5)


@pytest.mark.parametrize(
    "order, status, expected",
    [
        (GTC, {"resting": {"oid": 7}}, (7, OrderStatus.ACCEPTED, "0", None)),
        (GTC, {"resting": {"oid": 7, "cloid": CLOID.upper().replace("X", "x")}}, (7, OrderStatus.ACCEPTED, "0", None)),
        (IOC, {"filled": {"totalSz": "0.02", "avgPx": "1891.4", "oid": 8}}, (8, OrderStatus.FILLED, "0.02", "1891.4")),
        (IOC, {"filled": {"totalSz": "0.01", "avgPx": "1.5", "oid": 8}}, (8, OrderStatus.FILLED, "0.01", "1.5")),
        (GTC, {"filled": {"totalSz": "0.01", "avgPx": "1.5", "oid": 8}}, (8, OrderStatus.ACCEPTED, "0.01", "1.5")),
        (GTC, {"filled": {"totalSz": "0.02", "avgPx": "1.5", "oid": 8}}, (8, OrderStatus.FILLED, "0.02", "1.5")),
        (IOC, {"filled": {"totalSz": 0.02, "avgPx": 1.5, "oid": 8}}, (8, OrderStatus.FILLED, "0.02", "1.5")),
        (STOP, {"resting": {"oid": 9}}, (9, OrderStatus.ACCEPTED, "0", None)),
        (POSITION_STOP, "waitingForTrigger", (None, OrderStatus.ACCEPTED, "0", None)),
        (STOP, "waitingForFill", (None, OrderStatus.ACCEPTED, "0", None)),
    ],
)
def test_accepted(order: Order, status: Any, expected: tuple[Any, ...]):
    said = answer(ok(status), order)
    assert isinstance(said, OrderAccepted)
    assert (said.client_id, said.symbol, said.received_ms) == (CLOID, "BTC", 5)
    price = None if expected[3] is None else D(expected[3])
    assert (said.order_id, said.status, said.filled_size, said.average_price) == (*expected[:2], D(expected[2]), price)


# Page 3.9, every text of it: (text, reason)
PER_ORDER = [
    ("Price must be divisible by tick size.", R.BAD_PRICE),
    ("Order must have minimum value of $10.", R.MIN_NOTIONAL),
    ("Order must have minimum value of 10 USDC.", R.MIN_NOTIONAL),
    ("Insufficient margin to place order.", R.MARGIN),
    ("Reduce only order would increase position.", R.WOULD_INCREASE),
    ("Post only order would have immediately matched, bbo was 1@2.", R.POST_ONLY),
    ("Order could not immediately match against any resting orders.", R.NO_LIQUIDITY),
    ("Invalid TP/SL price.", R.BAD_TRIGGER),
    ("No liquidity available for market order.", R.NO_LIQUIDITY),
    ("Order would increase open interest while open interest is capped", R.OPEN_INTEREST_CAP),
    ("Order rejected due to price more aggressive than oracle while at open interest cap", R.OPEN_INTEREST_CAP),
    ("Order would increase open interest too quickly", R.OPEN_INTEREST_CAP),
    ("(Spot-only) Order has insufficient spot balance to trade", R.MARGIN),
    ("Insufficient spot balance", R.MARGIN),
    ("Order price too far from oracle", R.BAD_PRICE),
    ("Price too far from oracle", R.BAD_PRICE),
    ("Order would cause position to exceed margin tier limit at current leverage", R.MARGIN),
    ("Order has invalid price.", R.BAD_PRICE),
    ("Order has invalid size.", R.BAD_SIZE),
    ("Order has zero size.", R.BAD_SIZE),
    ("Order price cannot be more than 80% away from the reference price", R.BAD_PRICE),
    ("Orders are empty.", R.MALFORMED),
    ("Reduce-only is invalid for spot trading.", R.MALFORMED),
    ("Only post-only orders allowed immediately after network upgrade", R.POST_ONLY_PHASE),
    ("Main order cannot be trigger order.", R.MALFORMED),
    ("Trigger order has unexpected side.", R.MALFORMED),
    ("Builder fee has not been approved", R.CREDENTIALS),
    ("Trading is halted.", R.HALTED),
    ("Something new under the sun.", R.OTHER),
]
WHOLE_ACTION = [
    ("User or API Wallet 0x14791697260e4c9a71f18484c9f997b308e59325 does not exist.", R.CREDENTIALS),
    ("L1 error: User or API Wallet 0x14791697260e4c9a71f18484c9f997b308e59325 does not exist.", R.CREDENTIALS),
    (
        "Must deposit before performing actions. User: 0x14791697260e4c9a71f18484c9f997b308e59325",
        R.CREDENTIALS,
    ),
    ("Unable to recover signer.", R.CREDENTIALS),
    ("Invalid nonce: nonce too high 5 > 4", R.NONCE),
    ("Nonce mismatch.", R.NONCE),
    ("Action already expired", R.EXPIRED),
    (
        "Too many cumulative requests sent (10001 > 10000) for cumulative volume traded $0. Place taker orders to free "
        "up 1 request per USDC traded.",
        R.RATE_LIMIT,
    ),
    ("Signed action over weight limit of 200.", R.MALFORMED),
    ("Vault not registered: 0x14791697260e4c9a71f18484c9f997b308e59325", R.CREDENTIALS),
    ("Vault may not perform this action.", R.CREDENTIALS),
    ("Sub-account 0x14791697260e4c9a71f18484c9f997b308e59325 is not registered to you", R.CREDENTIALS),
    ("User has pending agent removal", R.CREDENTIALS),
    ("Invalid leverage value", R.MALFORMED),
    ("Isolated position does not have sufficient margin available to decrease leverage.", R.MARGIN),
    ("Invalid spot", R.MALFORMED),
    ("Action does not support expires_after", R.MALFORMED),
    ("Cannot switch leverage type with open position.", R.OTHER),
    ("Action disabled when unified account is active", R.OTHER),
    ("Something new under the sun.", R.OTHER),
]


@pytest.mark.parametrize("text, reason", PER_ORDER)
def test_order_error(text: str, reason: RejectReason):
    for wire_text in (text, f"{text} asset=4"):
        said = answer(ok({"error": wire_text}))
        assert isinstance(said, OrderRejected)
        assert (said.reason, said.text) == (reason, wire_text)


@pytest.mark.parametrize("text, reason", WHOLE_ACTION)
def test_action_error(text: str, reason: RejectReason):
    said = answer(err(text))
    assert isinstance(said, OrderRejected)
    assert said.reason is reason
    assert "14791697260e4c9a71f18484c9f997b308e59325" not in said.text  # whole addresses stay out of logs


def test_every_row_of_the_table_is_needed_by_a_text_of_the_page():
    texts = [text.lower() for text, _ in PER_ORDER + WHOLE_ACTION]
    unused = [part for part, _ in REASONS if not any(part in text for text in texts)]
    assert unused == ["too many open orders"]


@pytest.mark.parametrize("text", ["Invalid nonce: duplicate nonce 5", "Invalid nonce: nonce too low 5 < 9"])
def test_a_used_nonce_means_an_earlier_copy_may_be_live(text: str):
    said = answer(err(text))
    assert isinstance(said, OrderUnknown)
    assert said.error == text


UNKNOWN_BODIES = [
    b"",
    b"null",
    b"[]",
    b"true",
    b"{}",
    b'{"status":"ok"}',
    b'{"status":"ok","response":"no"}',
    b'{"status":"err","response":{"type":"order"}}',
    b'{"status":"maybe","response":"x"}',
    b'{"status":"ok","response":{"type":"order"}}',
    b"<html><body>Bad gateway</body></html>",
    ok({"resting": {"oid": 7}})[:-9],  # half of it
    ok({"resting": {"oid": 7}}) + b"}",
    b"\xff\xfe\x00",
    ok(),  # fewer statuses than orders
    ok({"resting": {"oid": 7}}, {"resting": {"oid": 8}}),  # more than orders
    ok({"resting": {"oid": 7}}, kind="cancel"),
    ok("success"),
    ok("something"),
    ok({}),
    ok(None),
    ok(5),
    ok({"other": {"oid": 7}}),
    ok({"resting": {}}),
    ok({"resting": {"oid": "7"}}),
    ok({"resting": {"oid": 7}, "error": "no"}),
    ok({"resting": {"oid": 7, "cloid": "0x" + "0" * 32}}),  # somebody else's
    ok({"filled": {"totalSz": "NaN", "avgPx": "1", "oid": 7}}),
    ok({"filled": {"totalSz": "0.02", "avgPx": "-1", "oid": 7}}),
    ok({"filled": {"totalSz": "0.03", "avgPx": "1", "oid": 7}}),  # more than asked
    ok({"filled": {"totalSz": "0", "avgPx": "1", "oid": 7}}),
    ok({"filled": {"totalSz": "x", "avgPx": "1", "oid": 7}}),
    b'{"status":"ok","response":{"type":"default"}}',
]


@pytest.mark.parametrize("body", UNKNOWN_BODIES)
def test_an_answer_that_does_not_tell_is_unknown(body: bytes):
    assert isinstance(answer(body), OrderUnknown)


FRONT_DOOR = [
    (400, b"Failed to parse the request body as JSON"),
    (415, b"Expected request with `Content-Type: application/json`"),
    (422, b"Failed to deserialize the JSON body into the target type"),
    (422, b"Failed to deserialize the JSON body into the target type: orders[0].p: invalid"),
    (404, b"404: Not Found"),
    (404, b""),
]


@pytest.mark.parametrize("status, body", FRONT_DOOR)
def test_refused_at_the_front_door(status: int, body: bytes):
    said = answer(body, status=status)
    assert isinstance(said, OrderRejected)
    assert said.reason is R.MALFORMED
    assert str(status) in said.text


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 408, 415, 418, 422, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"<html>no</html>", b"<!doctype html>" + b"x" * 5000])
def test_every_other_status_is_unknown(status: int, body: bytes):
    said = answer(body, status=status)
    assert isinstance(said, OrderUnknown)
    assert str(status) in said.error
    assert len(said.error) <= 200


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_null_of_an_overloaded_venue_is_unknown(status: int):
    assert isinstance(answer(b"null", status=status), OrderUnknown)


# --- back: cancels, noops -------------------------------------------------------------------------------------------

TOO_LATE = "Order was never placed, already canceled, or filled."


@pytest.mark.parametrize(
    "status, body, gone",
    [
        (200, ok("success", kind="cancel"), True),
        (200, ok({"error": TOO_LATE}, kind="cancel"), True),
        (200, ok({"error": TOO_LATE + " asset=0"}, kind="cancel"), True),
        (200, ok({"error": "Trading is halted."}, kind="cancel"), False),
        (200, ok(kind="cancel"), False),
        (200, ok("success", kind="order"), False),
        (200, ok("waitingForFill", kind="cancel"), False),
        (200, err("User or API Wallet 0x00 does not exist."), False),
        (200, err("Invalid nonce: duplicate nonce 5"), False),
        (200, b"<html>", False),
        (429, b"null", False),
        (502, b"<html>", False),
    ],
)
def test_cancel_answer(status: int, body: bytes, gone: bool):
    said = cancel_answer("BTC", 7, status, body, 5)
    assert (said.order_id, said.gone, said.error is None) == (7, gone, gone)


@pytest.mark.parametrize(
    "status, body, verdict",
    [
        (200, b'{"status":"ok","response":{"type":"default"}}', NoopVerdict.BURNT),
        (200, err("Invalid nonce: duplicate nonce 5"), NoopVerdict.USED),
        (200, err("Invalid nonce: nonce too low 5 < 9"), NoopVerdict.USED),
        (200, err("Invalid nonce: nonce too high 5 > 4"), NoopVerdict.NOTHING),
        (200, err("User or API Wallet 0x00 does not exist."), NoopVerdict.NOTHING),
        (200, err("Too many cumulative requests sent (2 > 1)"), NoopVerdict.NOTHING),
        (200, ok("success", kind="cancel"), NoopVerdict.NOTHING),
        (200, b"", NoopVerdict.NOTHING),
        (500, err("Invalid nonce: duplicate nonce 5"), NoopVerdict.NOTHING),
        (429, b"null", NoopVerdict.NOTHING),
        (422, b"Failed to deserialize the JSON body into the target type", NoopVerdict.NOTHING),
    ],
)
def test_noop_verdict(status: int, body: bytes, verdict: NoopVerdict):
    assert noop_verdict(status, body) is verdict


def test_clean_keeps_lines_short_printable_and_free_of_long_hex():
    said = clean("a\nb\t" + "0x" + "ab" * 32 + " " + "x" * 900)
    assert "\n" not in said
    assert "ab" * 5 not in said
    assert len(said) == 200
    assert clean(CLOID) == CLOID  # our own ids stay whole


def test_reasons_are_found_in_any_case():
    assert reject_reason("REDUCE ONLY ORDER WOULD INCREASE POSITION.") is R.WOULD_INCREASE


@pytest.mark.parametrize("key", ["5e" * 32, "0x" + "5e" * 32, "0X" + "5E" * 32])
def test_a_key_that_the_venue_quotes_is_hidden_and_an_address_shortened(key):
    address = "0x" + "ab" * 20
    assert clean(f"key {key}, wallet {address}") == (
        f"key {'0X' if key[:2] == '0X' else ''}<hidden>, wallet 0xababab..."
    )
    cloid = "0x" + "1f" * 16
    assert clean(cloid) == cloid
