"""Request bodies of the simulated TopstepX, and the HTTP 400 that a wrong one gets (protocol page 1.5 and 2)."""

from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
MAX_PAGE = 100  # of v2/query


class Body(msgspec.Struct, rename="camel"):
    """Unknown fields are ignored; a missing or mistyped one is HTTP 400."""


class AccountsBody(Body):
    only_active_accounts: bool


class SearchContracts(Body):
    live: bool
    search_text: str | None = None


class ContractBody(Body):
    contract_id: str


class AvailableBody(Body):
    live: bool


class BarsBody(Body):
    contract_id: str
    live: bool
    start_time: str
    end_time: str
    unit: Int32
    unit_number: Int32
    limit: Int32
    include_partial_bar: bool


class BracketBody(Body):
    ticks: Int32
    type: Int32


class PlaceBody(Body):
    account_id: Int32
    contract_id: str
    type: Int32
    side: Int32
    size: Int32
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    custom_tag: str | None = None
    stop_loss_bracket: BracketBody | None = None
    take_profit_bracket: BracketBody | None = None


class ModifyBody(Body):
    account_id: Int32
    order_id: Int64
    size: Int32 | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None


class OrderBody(Body):
    account_id: Int32
    order_id: Int64


class AccountBody(Body):
    account_id: Int32


class WindowBody(Body):
    account_id: Int32
    start_timestamp: str
    end_timestamp: str | None = None


class TradesBody(Body):
    account_id: Int32
    start_timestamp: str | None = None
    end_timestamp: str | None = None


class CloseBody(Body):
    account_id: Int32
    contract_id: str


class PartialCloseBody(Body):
    account_id: Int32
    contract_id: str
    size: Int32


class Filter(Body):
    account_id: Int32
    statuses: list[Int32] | None = None
    contract_id: str | None = None  # does not filter (page 2.5)
    created_after: str | None = None
    created_before: str | None = None


class QueryBody(Body):
    filter: Filter
    page_size: Int32 = MAX_PAGE
    page_offset: Int32 = 0
    sort_by: Int32 = 0
    sort_direction: Int32 = 1
    include_total_count: bool = False


class BadBody(Exception):
    """HTTP 400; `problem` is its ProblemDetails."""

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__(str(errors))
        self.problem = {
            "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
            "title": "One or more validation errors occurred.",
            "status": 400,
            "errors": errors,
        }


B = TypeVar("B", bound=Body)


def read_body(raw: bytes, kind: type[B]) -> B:
    """Raises BadBody, worded as ASP.NET words it (page 1.5)."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as e:
        raise BadBody(_errors(raw, kind, str(e))) from e


def _errors(raw: bytes, kind: type[Body], text: str) -> dict[str, list[str]]:
    also = {"request": ["The request field is required."]}
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {"$": ["The JSON value could not be read."]} | also
    fields = msgspec.structs.fields(kind)
    missing = [
        f.encode_name for f in fields if f.required and (not isinstance(value, dict) or f.encode_name not in value)
    ]
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        return {
            "$": [
                f"JSON deserialization for type '{kind.__name__}' was missing required properties including: {names}."
            ]
        } | also
    path = text.rsplit("`", 2)[1] if text.count("`") >= 2 and "`$" in text else "$"
    return {path: [f"The JSON value could not be converted. Path: {path}."]} | also
