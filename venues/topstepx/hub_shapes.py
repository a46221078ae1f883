"""The shapes of the hubs' events (page 3.4): only what is read; unknown keys are skipped.

Numbers stay JSON text (`Raw`): `numbers` decides what is a price. The venue leaves null fields out.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Raw

Contract = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Id = Annotated[int, msgspec.Meta(gt=0, le=2**63 - 1)]
Code = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]  # of an enum, known or not
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
NONE = Raw(b"")
Row = TypeVar("Row")


class WireQuote(msgspec.Struct, rename="camel"):
    """What changed; a field that is missing is as it was before."""

    best_bid: Raw = NONE
    best_ask: Raw = NONE
    last_updated: str | None = None
    timestamp: str | None = None


class WirePrint(msgspec.Struct):
    price: Raw
    volume: Raw
    type: Code
    timestamp: str


class WireLevel(msgspec.Struct):
    type: Code
    timestamp: str
    price: Raw = NONE
    volume: Raw = NONE


class Wrapper(msgspec.Struct):
    """User events are wrapped live and bare in the docs; `action` is not documented and not needed."""

    data: Raw = NONE


class Known(msgspec.Struct, omit_defaults=True):
    """What a reader knew beyond the record itself: ours, added to the record that is kept. Prices as JSON text."""

    quote: tuple[Raw, Raw, int] | None = None  # bid, ask, venue ms
    begins: bool = False  # the first of a book
    multiplier: str | None = None


class WireAccount(msgspec.Struct, rename="camel"):
    id: Id
    balance: Raw
    can_trade: bool


class WireOrder(msgspec.Struct, rename="camel"):
    id: Id
    account_id: Id
    contract_id: Contract
    creation_timestamp: str
    status: Code
    type: Code
    side: Code
    size: Count
    fill_volume: Count | None = None
    filled_price: Raw = NONE
    limit_price: Raw = NONE
    stop_price: Raw = NONE
    update_timestamp: str | None = None
    custom_tag: str | None = None
    parent_order_id: Id | None = None


class WirePosition(msgspec.Struct, rename="camel"):
    account_id: Id
    contract_id: Contract
    type: Code
    size: Count
    average_price: Raw = NONE


class WireFill(msgspec.Struct, rename="camel"):
    id: Id
    account_id: Id
    contract_id: Contract
    creation_timestamp: str
    price: Raw
    side: Code
    size: Count
    order_id: Id
    profit_and_loss: Raw = NONE
    fees: Raw = NONE
    commissions: Raw = NONE
    voided: bool | None = None


class QuoteArguments(msgspec.Struct, array_like=True):
    """As all of these: further arguments are skipped."""

    contract_id: Contract
    quote: WireQuote


class PrintArguments(msgspec.Struct, array_like=True):
    contract_id: Contract
    prints: list[WirePrint] | WirePrint  # an array live, a single object in the docs


class DepthArguments(msgspec.Struct, array_like=True):
    contract_id: Contract
    levels: list[WireLevel] | WireLevel


class UserArguments(msgspec.Struct, array_like=True):
    event: Raw


decode_quote = msgspec.json.Decoder(QuoteArguments).decode
decode_prints = msgspec.json.Decoder(PrintArguments).decode
decode_levels = msgspec.json.Decoder(DepthArguments).decode
decode_known = msgspec.json.Decoder(Known).decode
decode_account = msgspec.json.Decoder(WireAccount).decode
decode_order = msgspec.json.Decoder(WireOrder).decode
decode_position = msgspec.json.Decoder(WirePosition).decode
decode_fill = msgspec.json.Decoder(WireFill).decode
_decode_argument = msgspec.json.Decoder(UserArguments).decode
_decode_wrapper = msgspec.json.Decoder(Wrapper).decode


def unwrapped(arguments: bytes | Raw) -> Raw:
    """The object of a user event, out of its wrapper if it has one."""
    argument = _decode_argument(arguments).event
    data = _decode_wrapper(argument).data
    return data if bytes(data) else argument


def rows(found: list[Row] | Row) -> list[Row]:
    return found if isinstance(found, list) else [found]
