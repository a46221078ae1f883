"""TopstepX REST objects to the market's own words. Pure; protocol page 2. Whatever does not fit is BadAnswer."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec

from core.model import ZERO, Bar, Fill, Instrument, OrderStatus, Side, VenuePosition, WorkingOrder
from runtime import decoding
from runtime.dialect import BadFrame
from venues.topstepx.costs import commission
from venues.topstepx.numbers import millis

LIMIT, MARKET, STOP_LIMIT, STOP, TRAILING_STOP = 1, 2, 3, 4, 5  # OrderType, page 2.1
BUY, SELL = 0, 1  # OrderSide
LONG, SHORT = 1, 2  # PositionType
SIDES = {BUY: Side.BUY, SELL: Side.SELL}
STATUSES = {  # OrderStatus, page 2.1; pending and suspended orders are alive
    0: OrderStatus.ACCEPTED,
    1: OrderStatus.ACCEPTED,
    2: OrderStatus.FILLED,
    3: OrderStatus.CANCELED,
    4: OrderStatus.CANCELED,
    5: OrderStatus.REJECTED,
    6: OrderStatus.ACCEPTED,
    7: OrderStatus.ACCEPTED,
    8: OrderStatus.ACCEPTED,
}
TERMINAL = frozenset({2, 3, 4, 5})
_NAME = re.compile(r"(.+)[FGHJKMNQUVXZ]\d{1,2}")  # ticker, month letter, year
T = TypeVar("T")
PRICE_LEAST, PRICE_MOST = Decimal("1E-12"), Decimal("1E+12")  # of a price or a size: beyond it is none
MONEY_MOST = Decimal("1E+15")
TICK_MOST = Decimal("1E+6")
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Code = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]  # of an enum, known or not


class BadAnswer(Exception):
    """The venue answered, and not what the page says it answers. The text quotes no value."""


def decode(body: bytes, shape: type[T]) -> T:
    """Raises BadAnswer."""
    try:
        return decoding.decode(body, shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BadAnswer(str(e)) from None


def time_of(text: str) -> int:
    """UTC ms. Raises BadAnswer."""
    try:
        return millis(text)
    except BadFrame:
        raise BadAnswer("a timestamp that is none") from None


def time_text(time_ms: int) -> str:
    """UTC ms as the venue reads it; before 1970 is 1970."""
    seconds, ms = divmod(max(0, time_ms), 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=ms * 1000).isoformat(timespec="milliseconds")


def ticker_of(name: str) -> str:
    """MGCZ6 -> MGC, the user's word for it; the root in the contract id is often another (page 2.3)."""
    found = _NAME.fullmatch(name)
    return found.group(1) if found else name


def present(rows: list[T] | None, what: str) -> list[T]:
    """A list is null when success is false; null beside success says nothing, least of all that there is none."""
    if rows is None:
        raise BadAnswer(f"success without {what}")
    return rows


def finite(value: Decimal, what: str) -> Decimal:
    if not value.is_finite() or value.copy_abs() > MONEY_MOST:
        raise BadAnswer(f"{what} is not a number")
    return value


def above_zero(value: Decimal | int, what: str) -> Decimal:
    if not (number := Decimal(value)).is_finite() or not PRICE_LEAST <= number <= PRICE_MOST:
        raise BadAnswer(f"{what} is not above 0, or beyond any sense")
    return number


def not_below_zero(value: Decimal, what: str) -> Decimal:
    return ZERO if value.is_finite() and value == 0 else above_zero(value, what)


def side_of(number: int) -> Side:
    if number not in SIDES:
        raise BadAnswer("unknown side")
    return SIDES[number]


# --- contracts ------------------------------------------------------------------------------------------------------


class Contract(msgspec.Struct, frozen=True):
    id: str
    name: str
    tickSize: Decimal
    tickValue: Decimal
    activeContract: bool = False
    description: str | None = None
    symbolId: str | None = None


def instrument_of(row: Contract) -> Instrument:
    """`symbol` is the ticker, whatever the month."""
    if not is_usable(row):
        raise BadAnswer("a tick or its value is no number")
    tick = row.tickSize
    return Instrument(
        symbol=ticker_of(row.name),
        asset_id=0,
        lot_size=Decimal(1),
        tick_size=tick,
        multiplier=row.tickValue / tick,
        has_margin=False,
        contract_id=row.id,
    )


def is_usable(row: Contract) -> bool:
    """A product whose ticks are no numbers cannot be traded, and must not keep others from it."""
    return all(v.is_finite() and PRICE_LEAST <= v <= TICK_MOST for v in (row.tickSize, row.tickValue))


def month_of(contract_id: str) -> tuple[str, str]:
    """(year, month letter) of CON.F.US.MGC.Z26, to sort by; the letters follow the calendar."""
    last = contract_id.rpartition(".")[2]
    return last[1:], last[:1]


def active_of(rows: list[Contract]) -> dict[str, Instrument]:
    """The month traded now by ticker. The catalogue has one a product; of several the nearest is taken."""
    found: dict[str, Instrument] = {}
    for row in sorted((row for row in rows if row.activeContract), key=lambda row: month_of(row.id)):
        instrument = instrument_of(row)
        found.setdefault(instrument.symbol, instrument)
    if not found:
        raise BadAnswer("no active contract")
    return found


# --- orders ---------------------------------------------------------------------------------------------------------


class OrderRow(msgspec.Struct):
    """On REST absent values are null or left out (page 2.5)."""

    id: Id
    contractId: str
    creationTimestamp: str
    status: Code
    type: Code
    side: Code
    size: Count
    accountId: Id | None = None
    limitPrice: Decimal | None = None
    stopPrice: Decimal | None = None
    fillVolume: Count | None = None
    filledPrice: Decimal | None = None
    customTag: str | None = None
    parentOrderId: Id | None = None
    linkedOrderId: Id | None = None


def order_status(row: OrderRow) -> OrderStatus | None:
    """None for a number that is not on the page."""
    status = STATUSES.get(row.status)
    return OrderStatus.PARTIAL if status is OrderStatus.ACCEPTED and row.fillVolume else status


def working_order(row: OrderRow, symbol: str) -> WorkingOrder:
    """Suspended children have no price yet: 0. A stop-limit is no protection: a gap leaves it unfilled behind."""
    level = row.stopPrice if row.stopPrice else None  # 0 is none yet
    is_stop = row.type in (STOP, TRAILING_STOP) and level is not None
    trigger = level if is_stop or row.type == STOP_LIMIT else None
    price = trigger if is_stop else row.limitPrice
    return WorkingOrder(
        symbol=symbol,
        side=side_of(row.side),
        order_id=row.id,
        client_id=row.customTag,
        size=Decimal(max(0, row.size - (row.fillVolume or 0))),
        price=not_below_zero(price if price is not None else ZERO, "price"),
        trigger_price=None if trigger is None else above_zero(trigger, "stopPrice"),
        is_stop=is_stop,
        reduce_only=False,
        whole_position=False,
        time_ms=time_of(row.creationTimestamp),
        parent_id=row.parentOrderId,
    )


# --- positions, trades, bars ----------------------------------------------------------------------------------------


class PositionRow(msgspec.Struct):
    contractId: str
    type: Code
    size: Count
    averagePrice: Decimal
    accountId: Id | None = None


def signed_size(row: PositionRow) -> Decimal:
    if row.size > 0 and row.type not in (LONG, SHORT):
        raise BadAnswer("a position that is neither long nor short")
    return Decimal(-row.size if row.type == SHORT else row.size)


def position_of(row: PositionRow, symbol: str, multiplier: Decimal) -> VenuePosition:
    """The venue states no open profit, no leverage and no liquidation price (page 2.9)."""
    return VenuePosition(
        symbol=symbol,
        size=signed_size(row),
        entry_price=above_zero(row.averagePrice, "averagePrice") if row.size else ZERO,
        unrealized_pnl=ZERO,
        liquidation_price=None,
        leverage=1,
        is_cross=False,
        multiplier=multiplier,
        contract_id=row.contractId,
    )


class TradeRow(msgspec.Struct):
    id: Id
    contractId: str
    creationTimestamp: str
    price: Decimal
    side: Code
    size: Count
    orderId: Id
    accountId: Id | None = None
    profitAndLoss: Decimal | None = None
    fees: Decimal | None = None
    commissions: Decimal | None = None
    voided: bool | None = None


def fill_of(row: TradeRow, symbol: str, ticker: str, received_ms: int) -> Fill:
    """`profitAndLoss` is gross, null where the row opens; `fees` and `commissions` are the row's own (page 2.10)."""
    size = above_zero(row.size, "size")
    cost = row.commissions if row.commissions is not None else size * commission(ticker)
    return Fill(
        symbol=symbol,
        side=side_of(row.side),
        price=above_zero(row.price, "price"),
        size=size,
        fee=finite(row.fees or ZERO, "fees") + finite(cost, "commissions"),
        closed_pnl=finite(row.profitAndLoss or ZERO, "profitAndLoss"),
        order_id=row.orderId,
        client_id=None,
        fill_id=str(row.id),
        time_ms=time_of(row.creationTimestamp),
        received_ms=received_ms,
        is_snapshot=True,
    )


class BarRow(msgspec.Struct):
    t: str
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 - the venue's name
    c: Decimal
    v: Decimal


def bar_of(row: BarRow, timeframe_ms: int) -> Bar:
    open_ms = time_of(row.t)
    for number in (row.o, row.h, row.l, row.c):
        above_zero(number, "a bar's price")
    not_below_zero(row.v, "a bar's volume")
    return Bar(open_ms, open_ms + timeframe_ms - 1, row.o, row.h, row.l, row.c, row.v)
