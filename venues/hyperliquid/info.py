"""Hyperliquid `/info`: answers to the market's own words. Pure; protocol page 2. Whatever does not fit is BadAnswer."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec

from core.model import ZERO, Bar, Instrument, OrderStatus, Side, VenuePosition, WorkingOrder
from runtime import decoding

INTERVALS = {
    60_000: "1m",
    180_000: "3m",
    300_000: "5m",
    900_000: "15m",
    1_800_000: "30m",
    3_600_000: "1h",
    7_200_000: "2h",
    14_400_000: "4h",
    28_800_000: "8h",
    43_200_000: "12h",
    86_400_000: "1d",
    259_200_000: "3d",
    604_800_000: "1w",
}
PRICE_DECIMALS_MAX = 6  # perps, less szDecimals (page 6.1)
MIN_NOTIONAL = Decimal(10)
SIDES = {"B": Side.BUY, "A": Side.SELL}
PRICE_LEAST, PRICE_MOST = Decimal("1E-12"), Decimal("1E+12")  # of a price or a size: beyond it is none
MONEY_MOST = Decimal("1E+15")
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Millis = Annotated[int, msgspec.Meta(ge=0, lt=10**14)]
T = TypeVar("T")


class BadAnswer(Exception):
    """The venue answered, and not what the page says it answers. The text quotes no value."""


def decode(body: bytes, shape: type[T]) -> T:
    """Raises BadAnswer."""
    try:
        return decoding.decode(body, shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BadAnswer(str(e)) from None


def finite(value: Decimal, what: str) -> Decimal:
    if not value.is_finite() or value.copy_abs() > MONEY_MOST:
        raise BadAnswer(f"{what} is not a number")
    return value


def above_zero(value: Decimal, what: str) -> Decimal:
    if not value.is_finite() or not PRICE_LEAST <= value <= PRICE_MOST:
        raise BadAnswer(f"{what} is not above 0, or beyond any sense")
    return value


def _not_below_zero(value: Decimal, what: str) -> Decimal:
    if not value.is_finite() or not (value == 0 or PRICE_LEAST <= value <= PRICE_MOST):
        raise BadAnswer(f"{what} is below 0, or beyond any sense")
    return value


def side_of(text: str) -> Side:
    if text not in SIDES:
        raise BadAnswer("unknown side")
    return SIDES[text]


def is_first_dex_perp(coin: str) -> bool:
    """Spot is PURR/USDC or @107, builder dexes are dex:COIN, outcomes #12090."""
    return not any(c in coin for c in "/@:#")


# --- meta -----------------------------------------------------------------------------------------------------------


class _Asset(msgspec.Struct):
    name: str
    szDecimals: Annotated[int, msgspec.Meta(ge=0, le=PRICE_DECIMALS_MAX)]
    maxLeverage: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    isDelisted: bool = False
    onlyIsolated: bool = False
    marginMode: str | None = None


class Meta(msgspec.Struct):
    universe: list[_Asset]


def instruments_of(meta: Meta) -> dict[str, Instrument]:
    """Delisted rows are left out and keep their index: the asset id counts them."""
    if not meta.universe:
        raise BadAnswer("the universe is empty")
    found = {}
    for asset_id, asset in enumerate(meta.universe):
        if not asset.isDelisted:
            found[asset.name] = Instrument(
                symbol=asset.name,
                asset_id=asset_id,
                lot_size=Decimal(1).scaleb(-asset.szDecimals),
                price_decimals=PRICE_DECIMALS_MAX - asset.szDecimals,
                min_notional=MIN_NOTIONAL,
                max_leverage=asset.maxLeverage,
            )
    return found


def isolated_only_of(meta: Meta) -> frozenset[str]:
    """Markets that refuse cross margin."""
    return frozenset(a.name for a in meta.universe if a.onlyIsolated or a.marginMode in ("strictIsolated", "noCross"))


# --- account --------------------------------------------------------------------------------------------------------


class _Leverage(msgspec.Struct):
    type: str
    value: Annotated[int, msgspec.Meta(ge=1, le=1_000)]


class _Position(msgspec.Struct):
    coin: str
    szi: Decimal
    leverage: _Leverage
    unrealizedPnl: Decimal
    entryPx: Decimal | None = None
    liquidationPx: Decimal | None = None


class _AssetPosition(msgspec.Struct):
    position: _Position


class _Summary(msgspec.Struct):
    accountValue: Decimal
    totalMarginUsed: Decimal


class Clearinghouse(msgspec.Struct):
    marginSummary: _Summary
    withdrawable: Decimal
    assetPositions: list[_AssetPosition]
    time: Millis


class _Balance(msgspec.Struct):
    coin: str
    total: Decimal
    hold: Decimal = ZERO


class SpotState(msgspec.Struct):
    balances: list[_Balance]


UNIFIED = ("unifiedAccount", "portfolioMargin")


def positions_of(state: Clearinghouse) -> tuple[VenuePosition, ...]:
    rows = (row.position for row in state.assetPositions)
    return tuple(_position(row) for row in rows if finite(row.szi, "szi") != 0)


def _position(row: _Position) -> VenuePosition:
    if row.entryPx is None:
        raise BadAnswer("a position without entryPx")
    return VenuePosition(
        symbol=row.coin,
        size=row.szi,
        entry_price=above_zero(row.entryPx, "entryPx"),
        unrealized_pnl=finite(row.unrealizedPnl, "unrealizedPnl"),
        liquidation_price=None if row.liquidationPx is None else finite(row.liquidationPx, "liquidationPx"),
        leverage=row.leverage.value,
        is_cross=row.leverage.type == "cross",
    )


def classic_equity(state: Clearinghouse) -> tuple[Decimal, Decimal]:
    """(equity, available) where perps have a balance of their own (page 2.4)."""
    return finite(state.marginSummary.accountValue, "accountValue"), finite(state.withdrawable, "withdrawable")


def unified_equity(state: Clearinghouse, spot: SpotState) -> tuple[Decimal, Decimal]:
    """(equity, available) of a unified or portfolio-margin account: both are lower bounds.

    All collateral is in the spot balances there, and accountValue shows only what is posted to perps. Whether the
    USDC total contains open profit is unverified (page 2.4), so open losses are taken off, perhaps twice, and open
    gains are not added. Collateral in other coins is not counted.
    """
    usdc = [row for row in spot.balances if row.coin == "USDC"]
    open_loss = min(ZERO, sum((finite(r.position.unrealizedPnl, "pnl") for r in state.assetPositions), ZERO))
    total = sum((finite(row.total, "total") for row in usdc), ZERO)
    used = finite(state.marginSummary.totalMarginUsed, "totalMarginUsed")
    locked = sum((finite(row.hold, "hold") for row in usdc), ZERO) + used
    return total + open_loss, max(ZERO, finite(total + open_loss - locked, "available"))


# --- orders ---------------------------------------------------------------------------------------------------------


class OrderRow(msgspec.Struct):
    """A row of frontendOpenOrders, and the order inside orderStatus and historicalOrders."""

    coin: str
    side: str
    limitPx: Decimal
    sz: Decimal
    oid: Id
    timestamp: Millis
    isTrigger: bool
    triggerPx: Decimal
    isPositionTpsl: bool
    reduceOnly: bool
    orderType: str
    origSz: Decimal | None = None
    cloid: str | None = None


class StatusRow(msgspec.Struct):
    order: OrderRow
    status: str
    statusTimestamp: Millis


class OrderStatusAnswer(msgspec.Struct):
    status: str  # "order" or "unknownOid"
    order: StatusRow | None = None


def working_order(row: OrderRow) -> WorkingOrder:
    return WorkingOrder(
        symbol=row.coin,
        side=side_of(row.side),
        order_id=row.oid,
        client_id=row.cloid.lower() if row.cloid else None,
        size=_not_below_zero(row.sz, "sz"),
        price=_not_below_zero(row.limitPx, "limitPx"),
        trigger_price=above_zero(row.triggerPx, "triggerPx") if row.isTrigger else None,
        # a stop-limit is no protection: a gap leaves it unfilled behind the price (page 8.1)
        is_stop=row.isTrigger and row.orderType == "Stop Market",
        reduce_only=row.reduceOnly,
        whole_position=row.isPositionTpsl,
        time_ms=row.timestamp,
    )


def working_orders_of(rows: Iterable[OrderRow]) -> tuple[WorkingOrder, ...]:
    """Perps of the first dex. Children of a bracket also have rows of their own, so each oid is taken once."""
    return tuple({row.oid: working_order(row) for row in rows if is_first_dex_perp(row.coin)}.values())


def found_order(answer: OrderStatusAnswer) -> StatusRow | None:
    """None: the venue knows no such order. Raises BadAnswer for anything between."""
    if answer.status == "order" and answer.order is not None:
        return answer.order
    if answer.status == "unknownOid":
        return None
    raise BadAnswer("orderStatus is neither an order nor unknownOid")


def order_status(venue_status: str) -> OrderStatus | None:
    """Page 2.9; None for a text that is not there. `triggered` still works: its fill or refusal comes later."""
    if venue_status in ("open", "triggered"):
        return OrderStatus.ACCEPTED
    if venue_status == "filled":
        return OrderStatus.FILLED
    if venue_status.endswith("Rejected") or venue_status == "rejected":
        return OrderStatus.REJECTED
    if venue_status.endswith(("Canceled", "canceled")) or venue_status in ("scheduledCancel", "internalCancel"):
        return OrderStatus.CANCELED
    return None


def filled_size(row: StatusRow, status: OrderStatus) -> Decimal:
    """As far as the row tells: `sz` moves only when the status does, and some rows say filled with sz == origSz."""
    if status is OrderStatus.REJECTED or row.order.origSz is None:
        return ZERO
    asked, left = _not_below_zero(row.order.origSz, "origSz"), _not_below_zero(row.order.sz, "sz")
    done = max(ZERO, asked - left)
    return row.order.origSz if status is OrderStatus.FILLED and done == 0 else done


# --- prices ---------------------------------------------------------------------------------------------------------


class _Level(msgspec.Struct):
    px: Decimal
    sz: Decimal


class BookAnswer(msgspec.Struct):
    coin: str
    time: Millis
    levels: tuple[list[_Level], list[_Level]]


def best_prices(book: BookAnswer, symbol: str) -> tuple[Decimal | None, Decimal | None]:
    """(bid, ask); None for an empty side."""
    if book.coin != symbol:
        raise BadAnswer("the book of another coin")
    bid, ask = (above_zero(side[0].px, "px") if side else None for side in book.levels)
    return bid, ask


class _Context(msgspec.Struct):
    markPx: Decimal | None = None


class MetaAndContexts(msgspec.Struct, array_like=True):
    meta: Meta
    contexts: list[_Context]  # aligned with the universe by position


def marks_of(both: MetaAndContexts) -> dict[str, Decimal]:
    if len(both.meta.universe) != len(both.contexts):
        raise BadAnswer("contexts do not match the universe")
    pairs = zip(both.meta.universe, both.contexts, strict=True)
    return {asset.name: above_zero(ctx.markPx, "markPx") for asset, ctx in pairs if ctx.markPx is not None}


class Candle(msgspec.Struct):
    t: Millis
    T: Millis
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 - the venue's name
    c: Decimal
    v: Decimal


def bar_of(row: Candle) -> Bar:
    for price in (row.o, row.h, row.l, row.c):
        above_zero(price, "a candle's price")
    return Bar(row.t, row.T, row.o, row.h, row.l, row.c, _not_below_zero(row.v, "v"))


# --- the rest -------------------------------------------------------------------------------------------------------


class RateLimit(msgspec.Struct):
    nRequestsUsed: Id
    nRequestsCap: Id


class ExchangeStatus(msgspec.Struct):
    time: Millis


class _RoleData(msgspec.Struct):
    user: str | None = None
    master: str | None = None


class UserRole(msgspec.Struct):
    role: str
    data: _RoleData | None = None


class ExtraAgent(msgspec.Struct):
    name: str
    address: str
    validUntil: Millis | None = None


class ActiveAsset(msgspec.Struct):
    leverage: _Leverage
