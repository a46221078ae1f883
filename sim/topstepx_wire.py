"""How the simulated TopstepX writes things: protocol page 1.1, 2 and 3.4. Pure."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from sim.candles import Candle
from sim.topstepx_products import Contract
from sim.topstepx_types import (
    Account,
    BookEvent,
    Execution,
    Order,
    OrderChanged,
    OrderType,
    Position,
    PositionChanged,
)

JSON = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
encode = msgspec.json.Encoder(decimal_format="number").encode


def num(value: Decimal) -> int | Decimal:
    """A JSON number without needless zeros (28589, 0.36) and with ten decimals at most: averages have no end."""
    value = round(value, 10)
    return int(value) if value == value.to_integral_value() else value.normalize()


def maybe(value: Decimal | None) -> int | Decimal | None:
    return None if value is None else num(value)


def rest_time(time_us: int) -> str:
    """Up to six digits, trailing zeros dropped."""
    return _time(time_us, f"{time_us % 1_000_000:06d}")


def hub_time(time_us: int) -> str:
    """Up to seven digits: .NET counts in tenths of a microsecond."""
    return _time(time_us, f"{time_us % 1_000_000:06d}{time_us * 7 % 10}")


def print_time(time_us: int) -> str:
    """Three digits, as on market prints."""
    return _time(time_us, f"{time_us // 1000 % 1000:03d}", keep=True)


def _time(time_us: int, digits: str, keep: bool = False) -> str:
    whole = (EPOCH + timedelta(seconds=time_us // 1_000_000)).strftime("%Y-%m-%dT%H:%M:%S")
    digits = digits if keep else digits.rstrip("0")
    return f"{whole}.{digits}+00:00" if digits else f"{whole}+00:00"


def parse_time(text: str) -> int:
    """UTC microseconds of an ISO text; without an offset it is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - EPOCH) // timedelta(microseconds=1)


# --- objects ----------------------------------------------------------------------------------------------------------


def account_row(account: Account) -> JSON:
    return {
        "id": account.id,
        "name": account.name,
        "balance": num(account.balance),
        "canTrade": account.can_trade,
        "isVisible": account.is_visible,
        "simulated": True,
    }


def contract_row(contract: Contract, is_active: bool) -> JSON:
    return {
        "id": contract.id,
        "name": contract.name,
        "description": contract.description,
        "tickSize": num(contract.tick),
        "tickValue": num(contract.product.tick_value),
        "activeContract": is_active,
        "symbolId": contract.symbol_id,
    }


def bar_row(bar: Candle) -> JSON:
    prices = {"o": num(bar.open), "h": num(bar.high), "l": num(bar.low), "c": num(bar.close)}
    return {"t": rest_time(bar.open_ms * 1000)} | prices | {"v": int(bar.volume)}


def order_row(order: Order, time: Any = rest_time, updated_us: int | None = None) -> JSON:
    """On REST the older nullable fields are there as null, the newer ones are left out when empty."""
    updated_us = order.updated_us if updated_us is None else updated_us
    is_trailing = order.type is OrderType.TRAILING_STOP
    row: JSON = {
        "id": order.id,
        "accountId": order.account_id,
        "contractId": order.contract.id,
        "symbolId": order.contract.symbol_id,
        "creationTimestamp": time(order.created_us),
        "updateTimestamp": time(order.created_us if updated_us is None else updated_us),
        "status": int(order.status),
        "type": int(order.type),
        "side": order.side,
        "size": order.size,
        "limitPrice": maybe(order.limit_price),
        "stopPrice": maybe(order.stop_price),
        "fillVolume": order.filled,
        "filledPrice": maybe(order.average),
        "customTag": order.tag,
    }
    if order.parent_id is not None:
        row["parentOrderId"] = order.parent_id
    if order.sibling_id is not None and order.type is OrderType.LIMIT:
        row["linkedOrderId"] = order.sibling_id
    ticks = order.trail_ticks if is_trailing else order.bracket.ticks if order.bracket else None
    if ticks is not None and (is_trailing or time is hub_time):
        row |= {"trailPrice": num(ticks * order.contract.tick), "trailDistance": ticks}
    return row


def position_row(account_id: int, position: Position) -> JSON:
    change = PositionChanged(
        position.id,
        account_id,
        position.contract,
        position.sign,
        position.size,
        position.average,
        position.created_us,
    )
    return _position(change, rest_time)


def _position(change: PositionChanged, time: Any) -> JSON:
    return {
        "id": change.id,
        "accountId": change.account_id,
        "contractId": change.contract.id,
        "contractDisplayName": change.contract.display_name,
        "creationTimestamp": time(change.created_us),
        "type": 0 if not change.size else 1 if change.sign > 0 else 2,
        "size": change.size,
        "averagePrice": num(change.average),
    }


def trade_row(row: Execution, time: Any = rest_time, has_commissions: bool = True) -> JSON:
    commissions = {"commissions": num(row.commissions)} if has_commissions else {}
    return {
        "id": row.id,
        "accountId": row.account_id,
        "contractId": row.contract.id,
        "creationTimestamp": time(row.time_us),
        "price": num(row.price),
        "profitAndLoss": maybe(row.profit),
        "fees": num(row.fees),
        **commissions,
        "side": row.side,
        "size": row.size,
        "voided": row.is_voided,
        "orderId": row.order_id,
    }


# --- the user hub -----------------------------------------------------------------------------------------------------


def user_event(event: BookEvent, account: Account) -> tuple[str, JSON]:
    """Target and wrapped object of an event, nulls left out (page 3.4). `account`: the one it is about."""
    if isinstance(event, OrderChanged):
        row = order_row(event.order, hub_time, event.time_us)
        return "GatewayUserOrder", wrapped(1, row)
    if isinstance(event, Execution):
        return "GatewayUserTrade", wrapped(0, trade_row(event, hub_time))
    if isinstance(event, PositionChanged):
        return "GatewayUserPosition", wrapped(1 if event.size else 2, _position(event, hub_time))
    return "GatewayUserAccount", wrapped(1, account_row(account))


def wrapped(action: int, data: JSON) -> JSON:
    return {"action": action, "data": {key: value for key, value in data.items() if value is not None}}
