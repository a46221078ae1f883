"""What the hubs of the simulated TopstepX send: topics, market rows, and user events as faults bend them. Pure.

Protocol page 3.3 and 3.4.
"""

from decimal import Decimal
from typing import Any

from core.model import Side
from sim.faults import Faults
from sim.topstepx_market import Quote, Record, changed_fields
from sim.topstepx_types import BookEvent, OrderChanged
from sim.topstepx_wire import JSON, hub_time, num, print_time

Topic = tuple[str, Any]  # event target, and the contract or account it is about

# Method without its Subscribe or Unsubscribe: what it brings, and the type of its argument.
METHODS: dict[str, dict[str, tuple[str, type | None]]] = {
    "user": {
        "Accounts": ("GatewayUserAccount", None),
        "Orders": ("GatewayUserOrder", int),
        "Positions": ("GatewayUserPosition", int),
        "Trades": ("GatewayUserTrade", int),
    },
    "market": {
        "ContractQuotes": ("GatewayQuote", str),
        "ContractTrades": ("GatewayTrade", str),
        "ContractMarketDepth": ("GatewayDepth", str),
    },
}


def topic_of(hub: str, target: str) -> tuple[str, type | None, bool] | None:
    """Event, argument type, and whether it subscribes; None: no such method. Letter case is ignored, as .NET does."""
    for verb, is_on in (("unsubscribe", False), ("subscribe", True)):
        if target.lower().startswith(verb):
            for name, (event, wants) in METHODS[hub].items():
                if target.lower() == verb + name.lower():
                    return event, wants, is_on
    return None


def user_topic(event: BookEvent) -> int:
    """The account that an event is about."""
    return event.order.account_id if isinstance(event, OrderChanged) else event.account_id


# --- the market hub ---------------------------------------------------------------------------------------------------


def first_quote(record: Record, shift_us: int) -> JSON:
    row = quote_row(None, record, shift_us, (None, False))
    assert row is not None
    return row


def quote_row(before: Quote | None, record: Record, shift_us: int, frozen: tuple[int | None, bool]) -> JSON | None:
    """A partial quote; None when nothing has changed. `frozen`: see Hubs._frozen."""
    changed = changed_fields(before, record.quote)
    if not changed:
        return None
    stands_us, both = frozen
    time_us = record.time_us + shift_us
    row: JSON = {"symbol": record.contract.symbol_id}
    if before is None:
        row["symbolName"] = f"/{record.contract.product.ticker}"
    row |= {name: num(Decimal(value)) for name, value in changed.items()}
    row["lastUpdated"] = hub_time(stands_us if both and stands_us is not None else time_us)
    row["timestamp"] = print_time(time_us if stands_us is None else stands_us)
    return row | {"contract": record.contract.id}


def trade_rows(record: Record, shift_us: int) -> list[JSON]:
    return [
        {
            "symbolId": record.contract.symbol_id,
            "price": num(price),
            "timestamp": print_time(record.time_us + shift_us),
            "type": 0 if side is Side.BUY else 1,
            "volume": size,
            "contractId": record.contract.id,
        }
        for price, size, side in record.prints
    ]


def _level(record: Record, kind: int, price: Decimal, volume: int) -> JSON:
    row = {"timestamp": hub_time(record.time_us), "type": kind, "price": num(price), "volume": volume}
    return row | {"currentVolume": volume, "contractId": record.contract.id}


def depth_rows(record: Record) -> list[JSON]:
    """The new best bid (9) and ask (10), and the trade (5) if there was one."""
    quote = record.quote
    rows = [_level(record, 5, price, size) for price, size, _ in record.prints]
    rows += [_level(record, 9, quote.bid, 5)] if quote.bid is not None else []
    return rows + ([_level(record, 10, quote.ask, 5)] if quote.ask is not None else [])


def depth_snapshot(record: Record, levels: int) -> list[JSON]:
    """A reset (6), then bids (2) and asks (1)."""
    quote, tick = record.quote, record.contract.tick
    rows = [_level(record, 6, Decimal(0), 0)]
    for i in range(levels):
        if quote.bid is not None:
            rows.append(_level(record, 2, quote.bid - i * tick, 3 + 2 * i))
        if quote.ask is not None:
            rows.append(_level(record, 1, quote.ask + i * tick, 3 + 2 * i))
    return rows


# --- the user hub -----------------------------------------------------------------------------------------------------


def twist_user_event(faults: Faults, target: str, row: JSON) -> list[Any]:
    """The wrapped event as it goes out: usually itself alone."""
    if faults.take("null_payload", channel=target, action=None):
        row = {"action": row["action"], "data": None}
    elif odd := faults.take("unknown_enum", channel=target, action=None):
        row = bent(row, odd.get("field", "action"))
    elif gone := faults.take("missing_fields", channel=target):
        fields = gone.get("fields", ["creationTimestamp"])
        row = row | {"data": {key: value for key, value in row["data"].items() if key not in fields}}
    if faults.take("bare_events", channel=target):
        return [row["data"]]
    return [row]


def bent(value: Any, field: str) -> Any:
    """The same with an enum value that nobody knows wherever `field` stands."""
    if isinstance(value, list):
        return [bent(each, field) for each in value]
    if isinstance(value, dict):
        return {key: 77 if key == field else bent(each, field) for key, each in value.items()}
    return value


def salted(value: Any) -> Any:
    """The same with a field that nobody knows in every object."""
    if isinstance(value, list):
        return [salted(each) for each in value]
    if isinstance(value, dict):
        return {key: salted(each) for key, each in value.items()} | {"someNewField": {"a": [1]}}
    return value
