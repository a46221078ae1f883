"""TopstepX orders to bytes, answers to outcomes. Pure; protocol page 2.6 to 2.9."""

import enum
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from core.messages import Modify, ModifyAnswered, OrderAccepted, OrderRejected, OrderUnknown, RejectReason
from core.model import ZERO, Bracket, Instrument, Order, OrderStatus, OrderType, Side, TimeInForce
from runtime.venue import OrderAnswer
from runtime.warm_http import Answer
from venues.topstepx import shapes
from venues.topstepx.codes import CODES, code_name

PLACE, MODIFY, CANCEL = "Order/place", "Order/modify", "Order/cancel"
CLOSE, PARTIAL_CLOSE = "Position/closeContract", "Position/partialCloseContract"
CHILD_ENDINGS = ("-SL", "-TP")  # the venue's own, behind the tag of the entry (page 2.6)
TICKS_MIN = 4  # nearer brackets are refused (page 2.6)
Hide = Callable[[str], str]
_encode = msgspec.json.Encoder(decimal_format="number").encode
_TAG = re.compile(r"[\x21-\x7e]{1,60}")  # its longest is unverified; 36 and the endings work


# --- out ------------------------------------------------------------------------------------------------------------


def order_body(order: Order, account_id: int, instrument: Instrument) -> bytes:
    """Raises ValueError for an order that must never be sent."""
    if order.reduce_only or order.whole_position:
        raise ValueError("the venue has no reduce-only orders and none for a whole position: it would open one")
    if not _TAG.fullmatch(order.client_id) or order.client_id.endswith(CHILD_ENDINGS):
        raise ValueError("the client_id is no tag the venue takes")
    limit, stop = _prices(order, instrument)
    body: dict[str, Any] = {
        "accountId": account_id,
        "contractId": instrument.contract_id,
        "type": _type(order),
        "side": shapes.BUY if order.side is Side.BUY else shapes.SELL,
        "size": whole(order.size),
        "limitPrice": limit,
        "stopPrice": stop,
        "trailPrice": None,
        "customTag": order.client_id,
    }
    if order.bracket is not None:
        body |= _brackets(order, order.bracket)
    return _encode(body)


def _type(order: Order) -> int:
    """There is no time in force: what may not rest must be a market order."""
    match order.type:
        case OrderType.MARKET:
            return shapes.MARKET
        case OrderType.STOP:
            return shapes.STOP
        case OrderType.LIMIT if order.time_in_force is TimeInForce.GTC:
            return shapes.LIMIT
        case _:
            raise ValueError(f"the venue has no {order.type.value} order {order.time_in_force.value}")


def _prices(order: Order, instrument: Instrument) -> tuple[Decimal | None, Decimal | None]:
    """(limitPrice, stopPrice). A market order has none: `price` is our worst, which the venue cannot be told."""
    if order.type is OrderType.LIMIT:
        return on_tick(order.price, instrument), None
    if order.type is OrderType.STOP:
        if order.trigger_price is None:
            raise ValueError("a stop needs a trigger price")
        return None, on_tick(order.trigger_price, instrument)
    return None, None


def on_tick(price: Decimal, instrument: Instrument) -> Decimal:
    """The price, which must be a multiple of the tick, without an exponent. Raises ValueError."""
    tick = instrument.tick_size
    assert tick is not None, "every contract has a tick"
    if not price.is_finite() or price % tick != 0:
        raise ValueError(f"{price} is no multiple of the tick {tick}")
    return Decimal(f"{price:f}")


def whole(size: Decimal) -> int:
    """Contracts. Raises ValueError."""
    if not size.is_finite() or size <= 0 or size != size.to_integral_value():
        raise ValueError(f"{size} is no number of contracts")
    return int(size)


def _brackets(order: Order, bracket: Bracket) -> dict[str, Any]:
    """Signed from the entry: the stop against us, the target with us (page 2.7), contrary to the docs' example."""
    if order.type is not OrderType.MARKET:
        raise ValueError("brackets are for market entries: the children of a resting one cannot be seen")
    if bracket.stop_ticks < TICKS_MIN or (bracket.target_ticks is not None and bracket.target_ticks < TICKS_MIN):
        raise ValueError(f"brackets must be at least {TICKS_MIN} ticks away")
    sign = order.side.sign
    body: dict[str, Any] = {"stopLossBracket": {"ticks": -sign * bracket.stop_ticks, "type": shapes.STOP}}
    if bracket.target_ticks is not None:
        body["takeProfitBracket"] = {"ticks": sign * bracket.target_ticks, "type": shapes.LIMIT}
    return body


def modify_body(account_id: int, action: Modify, instrument: Instrument) -> bytes:
    """null leaves a value as it is (page 2.8). Raises ValueError."""
    stop, limit = action.trigger_price, action.price
    return _encode(
        {
            "accountId": account_id,
            "orderId": action.order_id,
            "size": None if action.size is None else whole(action.size),
            "limitPrice": None if limit is None else on_tick(limit, instrument),
            "stopPrice": None if stop is None else on_tick(stop, instrument),
            "trailPrice": None,
        }
    )


# --- why not --------------------------------------------------------------------------------------------------------

# Page 2.6, matched by substring without regard to case, first match wins: the wording is as users reported it.
REASONS: tuple[tuple[str, RejectReason], ...] = (
    ("position brackets", RejectReason.BRACKETS),
    ("auto oco", RejectReason.BRACKETS),
    ("tag is already in use", RejectReason.DUPLICATE_ID),
    ("trading hours", RejectReason.OUTSIDE_HOURS),
    ("active trading status", RejectReason.OUTSIDE_HOURS),
    ("market is closed", RejectReason.OUTSIDE_HOURS),
    ("ticks away", RejectReason.BAD_TRIGGER),
    ("invalid stop price", RejectReason.BAD_TRIGGER),
    ("outside allowed range", RejectReason.BAD_PRICE),
    ("not aligned to tick size", RejectReason.BAD_PRICE),
    ("invalid price", RejectReason.BAD_PRICE),
    ("invalid limit price", RejectReason.BAD_PRICE),
    ("ticks should be", RejectReason.MALFORMED),
    ("invalid stop loss type", RejectReason.MALFORMED),
    ("invalid take profit type", RejectReason.MALFORMED),
    ("invalid order type", RejectReason.MALFORMED),
    ("trail", RejectReason.MALFORMED),
    ("invalid symbol", RejectReason.MALFORMED),
    ("invalid order size", RejectReason.BAD_SIZE),
    ("invalid size", RejectReason.BAD_SIZE),
    ("insufficient", RejectReason.MARGIN),
    ("follower accounts", RejectReason.ACCOUNT),
    ("live accounts", RejectReason.ACCOUNT),
    ("violat", RejectReason.ACCOUNT),
    ("locked", RejectReason.ACCOUNT),
)
_BY_NAME = {
    "AccountNotFound": RejectReason.ACCOUNT,
    "AccountViolation": RejectReason.ACCOUNT,
    "AccountRejected": RejectReason.ACCOUNT,
    "InsufficientFunds": RejectReason.MARGIN,
    "OutsideTradingHours": RejectReason.OUTSIDE_HOURS,
    "ContractNotFound": RejectReason.HALTED,
    "ContractNotActive": RejectReason.HALTED,
    "InvalidCloseSize": RejectReason.BAD_SIZE,
}
_OPEN_NAMES = frozenset({"OrderPending", "Pending", "UnknownError"})  # no final answer in time (page 1.7)


def reject_reason(name: str, message: str) -> RejectReason:
    lowered = message.lower()
    by_text = next((reason for part, reason in REASONS if part in lowered), None)
    return by_text or _BY_NAME.get(name, RejectReason.OTHER)


# --- back -----------------------------------------------------------------------------------------------------------


class Verdict(enum.Enum):
    YES = "YES"  # taken; for an order that is not yet filled
    NO = "NO"  # refused, and nothing was executed
    OPEN = "OPEN"  # executed or not: the answer does not tell


DONE = {Verdict.YES: True, Verdict.NO: False, Verdict.OPEN: None}


class Said(msgspec.Struct, frozen=True):
    verdict: Verdict
    text: str = ""
    name: str = ""  # of the error code
    reason: RejectReason = RejectReason.OTHER
    order_id: int | None = None  # refused orders have one as well (page 2.6)


class _Envelope(msgspec.Struct):
    success: bool
    errorCode: int = 0
    errorMessage: str | None = None
    orderId: shapes.Id | None = None


_envelopes = msgspec.json.Decoder(_Envelope)


def read_answer(what: str, answer: Answer, hide: Hide) -> Said:
    """What one HTTP answer says about a write (page 1.3, 1.5, 1.7)."""
    if answer.status != 200:
        return _http_answer(answer, hide)
    try:
        said = _envelopes.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return Said(Verdict.OPEN, hide(f"unreadable answer: {e}"))
    if said.success:
        if said.errorCode == 0:
            return Said(Verdict.YES, order_id=said.orderId)
        return Said(Verdict.OPEN, hide(f"success with {code_name(what, said.errorCode)}"), order_id=said.orderId)
    name, message = CODES[what].get(said.errorCode, ""), said.errorMessage or ""
    text = hide(f"{code_name(what, said.errorCode)}{': ' + message if message else ''}")
    is_open = not name or name in _OPEN_NAMES  # the lists have grown: a new code may be another "pending"
    verdict = Verdict.OPEN if is_open else Verdict.NO
    return Said(verdict, text, name, reject_reason(name, message), said.orderId)


def _http_answer(answer: Answer, hide: Hide) -> Said:
    """Refused for certain: by the authentication, the limiter, the model validation, or for want of such a path."""
    body = answer.body[:1000].decode("utf-8", "replace")
    text = hide(f"HTTP {answer.status} {body}").rstrip()
    if answer.status == 401:
        return Said(Verdict.NO, text, reason=RejectReason.CREDENTIALS)
    if answer.status == 429:
        return Said(Verdict.NO, text, reason=RejectReason.RATE_LIMIT)
    if answer.status in (404, 405) and "<" not in body:  # a web page may be a proxy's, and proves nothing
        return Said(Verdict.NO, text, reason=RejectReason.MALFORMED)
    if answer.status == 400 and _is_problem(answer.body):
        return Said(Verdict.NO, text, reason=RejectReason.MALFORMED)
    return Said(Verdict.OPEN, text)


def _is_problem(body: bytes) -> bool:
    """ProblemDetails of the model validation (page 1.5)."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("status") == 400 and "title" in said


def order_answer(order: Order, said: Said, received_ms: int) -> OrderAnswer:
    """Success means accepted, not filled (page 2.6)."""
    if said.verdict is Verdict.YES and said.order_id is not None:
        return OrderAccepted(
            received_ms=received_ms,
            client_id=order.client_id,
            symbol=order.symbol,
            order_id=said.order_id,
            status=OrderStatus.ACCEPTED,
            filled_size=ZERO,
            average_price=None,
        )
    if said.verdict is Verdict.NO and said.reason is not RejectReason.DUPLICATE_ID:
        kept = f" [order {said.order_id}]" if said.order_id is not None else ""
        return rejected(order, said.reason, said.text + kept, received_ms)
    # A repeated tag is no proof that ours was refused: the order under it may be an earlier copy of the same request.
    return unknown(order, said.text or "success without an order id", received_ms)


def rejected(order: Order, reason: RejectReason, text: str, received_ms: int) -> OrderRejected:
    return OrderRejected(
        received_ms=received_ms, client_id=order.client_id, symbol=order.symbol, reason=reason, text=text
    )


def unknown(order: Order, error: str, received_ms: int) -> OrderUnknown:
    return OrderUnknown(received_ms=received_ms, client_id=order.client_id, symbol=order.symbol, error=error)


def modify_answer(symbol: str, order_id: int, said: Said, received_ms: int) -> ModifyAnswered:
    done = DONE[said.verdict]
    return ModifyAnswered(
        received_ms=received_ms,
        symbol=symbol,
        order_id=order_id,
        done=done,
        reason=said.reason if done is False else None,
        error=said.text or None,
    )
