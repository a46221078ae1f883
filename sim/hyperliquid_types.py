"""Signed actions as Hyperliquid reads them: typed, brought into canonical form, hashed, and the signer recovered.

Field order in these structs is the hashed key order of protocol page 4.4; optional keys are absent when unset.
Whatever does not fit raises BadShape, which the server answers with 422.
"""

import json
import re
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from venues.hyperliquid.signing import action_hash, keccak, l1_digest, recover

_DECIMAL = re.compile(r"\d+(?:\.\d{1,8})?")
_CLOID = re.compile(r"0x[0-9a-fA-F]{32}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class BadShape(Exception):
    """Valid JSON of the wrong shape."""


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Limit(Struct, frozen=True):
    tif: Literal["Gtc", "Ioc", "Alo", "FrontendMarket"]


class TriggerSpec(Struct, frozen=True):
    isMarket: bool
    triggerPx: str
    tpsl: Literal["tp", "sl"]


class Kind(Struct, frozen=True):
    limit: Limit | UnsetType = UNSET
    trigger: TriggerSpec | UnsetType = UNSET


class OrderWire(msgspec.Struct, frozen=True):  # extra keys inside an order are ignored
    a: int
    b: bool
    p: str
    s: str
    r: bool
    t: Kind
    c: str | UnsetType | None = UNSET


class Builder(Struct, frozen=True):
    b: str
    f: int


class Priority(Struct, frozen=True):
    p: int


class OrderAction(Struct, frozen=True, tag_field="type", tag="order"):
    orders: list[OrderWire]
    grouping: Literal["na", "normalTpsl", "positionTpsl"] | Priority
    builder: Builder | UnsetType | None = UNSET


class CancelWire(Struct, frozen=True):
    a: int
    o: int


class CancelAction(Struct, frozen=True, tag_field="type", tag="cancel"):
    cancels: list[CancelWire]
    f: bool | UnsetType = UNSET


class CancelByCloidWire(Struct, frozen=True):
    asset: int
    cloid: str


class CancelByCloidAction(Struct, frozen=True, tag_field="type", tag="cancelByCloid"):
    cancels: list[CancelByCloidWire]
    f: bool | UnsetType = UNSET


class ModifyAction(Struct, frozen=True, tag_field="type", tag="modify"):
    oid: int | str
    order: OrderWire
    a: bool | UnsetType = UNSET


class ModifyWire(Struct, frozen=True):
    oid: int | str
    order: OrderWire


class BatchModifyAction(Struct, frozen=True, tag_field="type", tag="batchModify"):
    modifies: list[ModifyWire]
    a: bool | UnsetType = UNSET


class UpdateLeverageAction(Struct, frozen=True, tag_field="type", tag="updateLeverage"):
    asset: int
    isCross: bool
    leverage: int


class UpdateIsolatedMarginAction(Struct, frozen=True, tag_field="type", tag="updateIsolatedMargin"):
    asset: int
    isBuy: bool
    ntli: int


class ScheduleCancelAction(Struct, frozen=True, tag_field="type", tag="scheduleCancel"):
    time: int | UnsetType | None = UNSET


class NoopAction(Struct, frozen=True, tag_field="type", tag="noop"):
    pass


class ReserveRequestWeightAction(Struct, frozen=True, tag_field="type", tag="reserveRequestWeight"):
    weight: int
    destination: str | UnsetType | None = UNSET


class UserSigned(Struct, frozen=True, kw_only=True):
    signatureChainId: str
    hyperliquidChain: Literal["Mainnet", "Testnet"]


class ApproveAgentAction(UserSigned, frozen=True, kw_only=True, tag_field="type", tag="approveAgent"):
    agentAddress: str
    agentName: str | None = None
    nonce: int


class ApproveBuilderFeeAction(UserSigned, frozen=True, kw_only=True, tag_field="type", tag="approveBuilderFee"):
    maxFeeRate: str
    builder: str
    nonce: int


class UsdClassTransferAction(UserSigned, frozen=True, kw_only=True, tag_field="type", tag="usdClassTransfer"):
    amount: str
    toPerp: bool
    nonce: int


Action = (
    OrderAction
    | CancelAction
    | CancelByCloidAction
    | ModifyAction
    | BatchModifyAction
    | UpdateLeverageAction
    | UpdateIsolatedMarginAction
    | ScheduleCancelAction
    | NoopAction
    | ReserveRequestWeightAction
    | ApproveAgentAction
    | ApproveBuilderFeeAction
    | UsdClassTransferAction
)


class Signature(Struct, frozen=True):
    r: str
    s: str
    v: int


class Envelope(Struct, frozen=True):
    action: Action
    nonce: int
    signature: Signature
    vaultAddress: str | None = None
    expiresAfter: int | None = None


# --- reading --------------------------------------------------------------------------------------------------------


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadShape("a key comes twice")
    return found


_decoder = json.JSONDecoder(object_pairs_hook=_unique)


def read_json(raw: bytes) -> Any:
    """The first JSON value of a body; what follows it is ignored. Raises ValueError, or BadShape for doubled keys."""
    return _decoder.raw_decode(raw.decode("utf-8").lstrip())[0]


def read_envelope(value: Any) -> Envelope:
    """Raises BadShape for anything the venue would not deserialise. The action comes out canonical."""
    try:
        envelope = msgspec.convert(value, Envelope)
    except msgspec.ValidationError as e:
        raise BadShape(str(e)) from None
    vault = address(envelope.vaultAddress) if envelope.vaultAddress is not None else None
    return msgspec.structs.replace(envelope, action=canonical(envelope.action), vaultAddress=vault)


def address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise BadShape("not an address")
    return text.lower()


def _cloid(text: str) -> str:
    if not _CLOID.fullmatch(text):
        raise BadShape("not a cloid")
    return text.lower()


def _number(text: str) -> str:
    """A decimal string without padding; more than 8 decimals or an exponent is a wrong shape."""
    if not _DECIMAL.fullmatch(text):
        raise BadShape("not a decimal")
    whole, _, places = text.partition(".")
    whole, places = whole.lstrip("0") or "0", places.rstrip("0")
    return f"{whole}.{places}" if places else whole


def _order(order: OrderWire) -> OrderWire:
    kind = order.t
    if (kind.limit is UNSET) == (kind.trigger is UNSET):
        raise BadShape("an order is a limit or a trigger")
    if kind.trigger is not UNSET:
        assert not isinstance(kind.trigger, UnsetType)
        kind = Kind(trigger=msgspec.structs.replace(kind.trigger, triggerPx=_number(kind.trigger.triggerPx)))
    cloid = _cloid(order.c) if isinstance(order.c, str) else UNSET
    return msgspec.structs.replace(order, p=_number(order.p), s=_number(order.s), t=kind, c=cloid)


def canonical(action: Action) -> Action:
    """The form the venue hashes: lower case, no padding, optional keys absent."""
    replace = msgspec.structs.replace
    if isinstance(action, OrderAction):
        builder = action.builder
        builder = Builder(address(builder.b), builder.f) if isinstance(builder, Builder) else UNSET
        return replace(action, orders=[_order(o) for o in action.orders], builder=builder)
    if isinstance(action, CancelByCloidAction):
        return replace(action, cancels=[replace(c, cloid=_cloid(c.cloid)) for c in action.cancels])
    if isinstance(action, ModifyAction):
        return replace(action, oid=_oid(action.oid), order=_order(action.order))
    if isinstance(action, BatchModifyAction):
        return replace(action, modifies=[ModifyWire(_oid(m.oid), _order(m.order)) for m in action.modifies])
    if isinstance(action, ScheduleCancelAction) and action.time is None:
        return ScheduleCancelAction()
    return action


def _oid(oid: int | str) -> int | str:
    return _cloid(oid) if isinstance(oid, str) else oid


# --- signatures -----------------------------------------------------------------------------------------------------

_USER_SIGNED: dict[type, tuple[str, tuple[tuple[str, str], ...]]] = {
    ApproveAgentAction: (
        "ApproveAgent",
        (("agentAddress", "address"), ("agentName", "string"), ("nonce", "uint64")),
    ),
    ApproveBuilderFeeAction: (
        "ApproveBuilderFee",
        (("maxFeeRate", "string"), ("builder", "address"), ("nonce", "uint64")),
    ),
    UsdClassTransferAction: (
        "UsdClassTransfer",
        (("amount", "string"), ("toPerp", "bool"), ("nonce", "uint64")),
    ),
}
_DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")


def is_user_signed(action: Action) -> bool:
    return isinstance(action, UserSigned)


def signer_of(envelope: Envelope, mainnet: bool) -> str:
    """Lowercase address that signed. Raises ValueError when the signature belongs to nobody."""
    signature = envelope.signature
    try:
        r, s = int(signature.r, 16), int(signature.s, 16)
    except ValueError:
        raise BadShape("r and s are hexadecimal") from None
    if is_user_signed(envelope.action):
        return recover(user_digest(envelope.action), r, s, signature.v)
    action = msgspec.to_builtins(envelope.action)
    connection_id = action_hash(action, envelope.vaultAddress, envelope.nonce, envelope.expiresAfter)
    return recover(l1_digest(connection_id, mainnet), r, s, signature.v)


def user_digest(action: Action) -> bytes:
    """EIP-712 digest of a user-signed action (page 4.6)."""
    name, fields = _USER_SIGNED[type(action)]
    assert isinstance(action, UserSigned)
    listed = ",".join(f"{kind} {key}" for key, kind in (("hyperliquidChain", "string"), *fields))
    type_hash = keccak(f"HyperliquidTransaction:{name}({listed})".encode())
    values = [type_hash, _word("string", action.hyperliquidChain)]
    values += [_word(kind, getattr(action, key)) for key, kind in fields]
    chain_id = int(action.signatureChainId, 16)
    domain = [
        _DOMAIN_TYPE,
        keccak(b"HyperliquidSignTransaction"),
        keccak(b"1"),
        chain_id.to_bytes(32, "big"),
        bytes(32),
    ]
    return keccak(b"\x19\x01" + keccak(b"".join(domain)) + keccak(b"".join(values)))


def _word(kind: str, value: Any) -> bytes:
    if kind == "string":
        return keccak((value or "").encode())
    if kind == "address":
        return bytes(12) + bytes.fromhex(address(value)[2:])
    return int(value).to_bytes(32, "big")
