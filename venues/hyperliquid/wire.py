"""Hyperliquid `/exchange`: actions to bytes, answers to outcomes. Pure; protocol page 3, 4.4, 4.5."""

import enum
import re
from decimal import Decimal
from typing import Any

import msgspec

from core.messages import CancelAnswered, OrderAccepted, OrderRejected, OrderUnknown, RejectReason
from core.model import ZERO, Order, OrderStatus, OrderType, Side, TimeInForce
from runtime.venue import OrderAnswer
from venues.hyperliquid.info import PRICE_LEAST, PRICE_MOST, Id

NOOP: dict[str, Any] = {"type": "noop"}
TEXT_LENGTH_MAX = 200
_DECIMALS_MAX = 8
_CLOID = re.compile(r"0x[0-9a-f]{32}")
_LONG_HEX = re.compile(r"(0x[0-9a-fA-F]{6})[0-9a-fA-F]{34}(?![0-9a-fA-F])|(?:0x)?[0-9a-fA-F]{41,}")
_TIF = {TimeInForce.GTC: "Gtc", TimeInForce.IOC: "Ioc", TimeInForce.ALO: "Alo"}


# --- out ------------------------------------------------------------------------------------------------------------


def to_wire(value: Decimal) -> str:
    """The one spelling that hashes as the venue hashes: no trailing zero, no exponent, no "-0" (page 4.5).

    Raises ValueError for what 8 decimals cannot say exactly, and for NaN and infinity.
    """
    if not value.is_finite():
        raise ValueError(f"{value} is not a number the venue takes")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
        if len(text.partition(".")[2]) > _DECIMALS_MAX:
            raise ValueError(f"{value} has more than {_DECIMALS_MAX} decimals")
    return "0" if text == "-0" else text


def order_action(order: Order, asset_id: int) -> dict[str, Any]:
    """Keys in hashing order (page 4.4). Raises ValueError for an order that must never be sent."""
    is_trigger = order.type in (OrderType.STOP, OrderType.TAKE_PROFIT)
    if order.price <= 0 or (order.size <= 0 and not order.whole_position):
        raise ValueError("an order needs a price and a size above 0")
    if is_trigger and not order.reduce_only:  # the venue would take it, and open a position when it fires (page 8.1)
        raise ValueError("a stop or take-profit must be reduce-only")
    if order.whole_position and not is_trigger:
        raise ValueError("only a stop or take-profit can cover the whole position")
    wire: dict[str, Any] = {
        "a": asset_id,
        "b": order.side is Side.BUY,
        "p": to_wire(order.price),
        "s": "0" if order.whole_position else to_wire(order.size),
        "r": order.reduce_only,
        "t": _trigger(order) if is_trigger else {"limit": {"tif": _tif(order)}},
    }
    if not order.whole_position:  # whether a cloid on a position stop is kept, or taken at all, is unmeasured (8.2)
        wire["c"] = cloid_of(order.client_id)
    return {"type": "order", "orders": [wire], "grouping": "positionTpsl" if order.whole_position else "na"}


def _tif(order: Order) -> str:
    return "Ioc" if order.type is OrderType.MARKET else _TIF[order.time_in_force]


def _trigger(order: Order) -> dict[str, Any]:
    if order.trigger_price is None or order.trigger_price <= 0:
        raise ValueError("a stop or take-profit needs a trigger price above 0")
    tpsl = "sl" if order.type is OrderType.STOP else "tp"
    return {"trigger": {"isMarket": True, "triggerPx": to_wire(order.trigger_price), "tpsl": tpsl}}


def cloid_of(client_id: str) -> str:
    """Raises ValueError unless it is 0x and 32 hex digits."""
    if not _CLOID.fullmatch(cloid := client_id.lower()):
        raise ValueError("client_id must be 0x and 32 hexadecimal digits")
    return cloid


def cancel_action(asset_id: int, order_id: int) -> dict[str, Any]:
    return {"type": "cancel", "cancels": [{"a": asset_id, "o": order_id}]}


def cancel_by_client_id_action(asset_id: int, client_id: str) -> dict[str, Any]:
    return {"type": "cancelByCloid", "cancels": [{"asset": asset_id, "cloid": cloid_of(client_id)}]}


def leverage_action(asset_id: int, is_cross: bool, leverage: int) -> dict[str, Any]:
    return {"type": "updateLeverage", "asset": asset_id, "isCross": is_cross, "leverage": leverage}


def request_body(
    action: dict[str, Any], nonce: int, signature: dict[str, Any], vault_address: str | None, expires_after: int | None
) -> bytes:
    return msgspec.json.encode(
        {
            "action": action,
            "nonce": nonce,
            "signature": signature,
            "vaultAddress": vault_address,
            "expiresAfter": expires_after,
        }
    )


# --- error texts ----------------------------------------------------------------------------------------------------

# Page 3.9, matched by substring without regard to case, first match wins: many texts end in " asset=N".
REASONS: tuple[tuple[str, RejectReason], ...] = (
    ("more aggressive than oracle while at open interest cap", RejectReason.OPEN_INTEREST_CAP),
    ("order would increase open interest", RejectReason.OPEN_INTEREST_CAP),
    ("reduce only order would increase position", RejectReason.WOULD_INCREASE),
    ("must be divisible by tick size", RejectReason.BAD_PRICE),
    ("order has invalid price", RejectReason.BAD_PRICE),
    ("more than 80% away from the reference price", RejectReason.BAD_PRICE),
    ("price too far from oracle", RejectReason.BAD_PRICE),
    ("must have minimum value of", RejectReason.MIN_NOTIONAL),
    ("insufficient margin to place order", RejectReason.MARGIN),
    ("exceed margin tier limit", RejectReason.MARGIN),
    ("insufficient spot balance", RejectReason.MARGIN),
    ("does not have sufficient margin", RejectReason.MARGIN),
    ("post only order would have immediately matched", RejectReason.POST_ONLY),
    ("only post-only orders allowed", RejectReason.POST_ONLY_PHASE),
    ("could not immediately match", RejectReason.NO_LIQUIDITY),
    ("no liquidity available", RejectReason.NO_LIQUIDITY),
    ("invalid tp/sl price", RejectReason.BAD_TRIGGER),
    ("order has invalid size", RejectReason.BAD_SIZE),
    ("order has zero size", RejectReason.BAD_SIZE),
    ("too many open orders", RejectReason.TOO_MANY_ORDERS),  # this wording is not on the page, only its status text
    ("too many cumulative requests", RejectReason.RATE_LIMIT),
    ("action already expired", RejectReason.EXPIRED),
    ("invalid nonce", RejectReason.NONCE),
    ("nonce mismatch", RejectReason.NONCE),
    ("user or api wallet", RejectReason.CREDENTIALS),
    ("must deposit before performing actions", RejectReason.CREDENTIALS),
    ("unable to recover signer", RejectReason.CREDENTIALS),
    ("vault not registered", RejectReason.CREDENTIALS),
    ("vault may not perform", RejectReason.CREDENTIALS),
    ("is not registered to", RejectReason.CREDENTIALS),
    ("pending agent removal", RejectReason.CREDENTIALS),
    ("builder fee has not been approved", RejectReason.CREDENTIALS),
    ("trading is halted", RejectReason.HALTED),
    ("orders are empty", RejectReason.MALFORMED),
    ("main order cannot be trigger order", RejectReason.MALFORMED),
    ("trigger order has unexpected side", RejectReason.MALFORMED),
    ("reduce-only is invalid", RejectReason.MALFORMED),
    ("invalid spot", RejectReason.MALFORMED),
    ("over weight limit", RejectReason.MALFORMED),
    ("does not support expires_after", RejectReason.MALFORMED),
    ("invalid leverage value", RejectReason.MALFORMED),
)
_NONCE_USED = ("duplicate nonce", "nonce too low")  # an earlier copy of these bytes may be live (page 3.8)
_CANCEL_TOO_LATE = "was never placed, already canceled, or filled"

# Page 2.1: with these texts the front door refused the request before it was an action.
_FRONT_DOOR = {
    400: "failed to parse the request body as json",
    415: "expected request with `content-type: application/json`",
    422: "failed to deserialize the json body into the target type",
}


def reject_reason(text: str) -> RejectReason:
    lowered = text.lower()
    return next((reason for part, reason in REASONS if part in lowered), RejectReason.OTHER)


def clean(text: str) -> str:
    """One short printable line without whole addresses or signatures, fit for logs."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * TEXT_LENGTH_MAX])
    return _LONG_HEX.sub(_shorter, printable)[:TEXT_LENGTH_MAX]


def _shorter(found: re.Match[str]) -> str:
    """Of an address its beginning; of a key, a signature or a hash nothing."""
    return f"{found[1]}..." if found[1] else "<hidden>"


# --- back -----------------------------------------------------------------------------------------------------------


class _Resting(msgspec.Struct):
    oid: Id
    cloid: str | None = None


class _Filled(msgspec.Struct):
    totalSz: Decimal
    avgPx: Decimal
    oid: Id
    cloid: str | None = None


class _Status(msgspec.Struct):
    resting: _Resting | None = None
    filled: _Filled | None = None
    error: str | None = None


class _Data(msgspec.Struct):
    statuses: list[str | _Status] = []


class _Done(msgspec.Struct):
    type: str
    data: _Data | None = None


class _Answer(msgspec.Struct):
    status: str
    response: str | _Done


_answers = msgspec.json.Decoder(_Answer)


class Refused(msgspec.Struct):
    """The venue said no and nothing was executed."""

    reason: RejectReason
    text: str


class Unclear(msgspec.Struct):
    """Executed or not: the answer does not tell."""

    text: str
    nonce_used: bool = False  # it tells this much


def read_answer(status: int, body: bytes) -> _Done | Refused | Unclear:
    """What one HTTP answer of `/exchange` says about the whole action (page 2.1, 3.2, 3.9)."""
    if status != 200:
        text = body[:TEXT_LENGTH_MAX].decode("utf-8", "replace")
        front_door = _FRONT_DOOR.get(status)
        if front_door and text.lower().startswith(front_door):
            return Refused(RejectReason.MALFORMED, clean(f"HTTP {status}: {text}"))
        if status == 404 and "<" not in text:  # no such path there, so no exchange behind it; a web page proves nothing
            return Refused(RejectReason.MALFORMED, clean(f"HTTP 404: {text}"))
        return Unclear(clean(f"HTTP {status}: {text}"))
    try:
        answer = _answers.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return Unclear(clean(f"unreadable answer: {e}"))
    if answer.status == "err" and isinstance(answer.response, str):
        if any(part in answer.response.lower() for part in _NONCE_USED):
            return Unclear(clean(answer.response), nonce_used=True)
        return Refused(reject_reason(answer.response), clean(answer.response))
    if answer.status == "ok" and isinstance(answer.response, _Done):
        return answer.response
    return Unclear(clean(f"unknown answer with status {answer.status!r}"))


def _only_status(done: _Done, kind: str) -> str | _Status | None:
    """The status of the one item we sent; None when the answer fits no such action."""
    if done.type != kind or done.data is None or len(done.data.statuses) != 1:
        return None
    return done.data.statuses[0]


def order_answer(order: Order, status: int, body: bytes, received_ms: int) -> OrderAnswer:
    """What became of `order`, by the HTTP answer to the action that carried it alone."""
    said = read_answer(status, body)
    if isinstance(said, Refused):
        return rejected(order, said.reason, said.text, received_ms)
    if isinstance(said, Unclear):
        return unknown(order, said.text, received_ms)
    match _only_status(said, "order"):
        case "waitingForTrigger" | "waitingForFill":
            return _accepted(order, None, ZERO, None, received_ms)
        case _Status(error=str(text), resting=None, filled=None):
            return rejected(order, reject_reason(text), clean(text), received_ms)
        case _Status(resting=_Resting(oid=oid, cloid=cloid), filled=None, error=None) if _is_ours(order, cloid):
            return _accepted(order, oid, ZERO, None, received_ms)
        case _Status(filled=_Filled() as filled, resting=None, error=None) if _is_ours(order, filled.cloid):
            if _is_possible(order, filled):
                return _accepted(order, filled.oid, filled.totalSz, filled.avgPx, received_ms)
    return unknown(order, clean(f"unknown answer: {body[:TEXT_LENGTH_MAX].decode('utf-8', 'replace')}"), received_ms)


def _is_ours(order: Order, cloid: str | None) -> bool:
    return cloid is None or cloid.lower() == order.client_id.lower()


def _is_possible(order: Order, filled: _Filled) -> bool:
    amounts = (filled.totalSz, filled.avgPx)
    if not all(value.is_finite() and PRICE_LEAST <= value <= PRICE_MOST for value in amounts):
        return False
    return order.whole_position or filled.totalSz <= order.size


def _accepted(
    order: Order, order_id: int | None, filled_size: Decimal, average_price: Decimal | None, received_ms: int
) -> OrderAccepted:
    """FILLED is final. A limit order that filled partly may rest with the remainder (page 3.2: unverified)."""
    ends_at_once = order.type is OrderType.MARKET or order.time_in_force is TimeInForce.IOC
    is_over = filled_size > 0 and (ends_at_once or order.whole_position or filled_size == order.size)
    return OrderAccepted(
        received_ms=received_ms,
        client_id=order.client_id,
        symbol=order.symbol,
        order_id=order_id,
        status=OrderStatus.FILLED if is_over else OrderStatus.ACCEPTED,
        filled_size=filled_size,
        average_price=average_price,
    )


def rejected(order: Order, reason: RejectReason, text: str, received_ms: int) -> OrderRejected:
    return OrderRejected(
        received_ms=received_ms, client_id=order.client_id, symbol=order.symbol, reason=reason, text=text
    )


def unknown(order: Order, error: str, received_ms: int) -> OrderUnknown:
    return OrderUnknown(received_ms=received_ms, client_id=order.client_id, symbol=order.symbol, error=error)


def cancel_answer(symbol: str, order_id: int, status: int, body: bytes, received_ms: int) -> CancelAnswered:
    """Never placed, canceled before and filled share one error text: in each case the order is gone."""
    said = read_answer(status, body)
    error: str | None
    if isinstance(said, Refused | Unclear):
        error = said.text
    else:
        match _only_status(said, "cancel"):
            case "success":
                error = None
            case _Status(error=str(text)):
                error = None if _CANCEL_TOO_LATE in text.lower() else clean(text)
            case _:
                error = clean(f"unknown answer: {body[:TEXT_LENGTH_MAX].decode('utf-8', 'replace')}")
    return CancelAnswered(received_ms=received_ms, symbol=symbol, order_id=order_id, gone=error is None, error=error)


def default_answer(status: int, body: bytes) -> Refused | Unclear | None:
    """Answer of an action without statuses (leverage, noop); None is yes."""
    said = read_answer(status, body)
    if isinstance(said, Refused | Unclear):
        return said
    return None if said.type == "default" else Unclear(clean(f"unknown answer of type {said.type!r}"))


class NoopVerdict(enum.Enum):
    """What the answer to a noop proves about the order that shares its nonce (page 3.8)."""

    BURNT = "BURNT"  # nothing had used the nonce, and now nothing can
    USED = "USED"  # it was used, by the order or by an earlier noop, or is too old: nothing new can go live
    NOTHING = "NOTHING"


def noop_verdict(status: int, body: bytes) -> NoopVerdict:
    said = default_answer(status, body)
    if said is None:
        return NoopVerdict.BURNT
    return NoopVerdict.USED if isinstance(said, Unclear) and said.nonce_used else NoopVerdict.NOTHING
