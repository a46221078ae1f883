"""Can this be true at all? What comes in is looked at before it is believed, whoever made it. Pure.

The adapters refuse most of it, each in its venue's words. Here is the last door: behind it every number is one, every
price is above zero, and no time of the venue lies so far ahead that everything after it would look old.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from core.messages import (
    AccountSnapshot,
    AccountUpdate,
    AnyEvent,
    BarHistory,
    BarUpdate,
    CancelAnswered,
    ClockOffset,
    KeyExpiry,
    ModifyAnswered,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    OrderUpdate,
    PolledPrice,
    PositionsSeen,
    PositionUpdate,
    RequestBudget,
    RestSample,
    WorkingOrders,
)
from core.model import Bar, Book, Fill, MarkPrice, Quote, Trade, VenuePosition, WorkingOrder
from core.state import State

LEAST, MOST = Decimal("1E-12"), Decimal("1E+12")  # of a price or a size
MONEY_MOST = Decimal("1E+15")  # of profit, fees and balances, either sign
CLOCK_MS = range(10**14)  # to the year 5138: what calendars can still say
VENUE_MS = range(946_684_800_000, 4_102_444_800_000)  # 2000 to 2100: what an offset may make of our clock
AHEAD_MS_MAX = 86_400_000  # of a venue's time: no clock of ours is so far behind
BAR_MS_MAX = 8 * 86_400_000  # the longest bars are of a week
IDS = range(2**63)


def nonsense(state: State, event: AnyEvent) -> str | None:
    """Why `event` cannot be true, in a few words for the log; None when it can."""
    if event.received_ms not in CLOCK_MS:
        return "our own clock"
    look = _LOOKS.get(type(event))
    return None if look is None else look(state, event)


# --- values -----------------------------------------------------------------------------------------------------------


def is_amount(value: Decimal | None) -> bool:
    """A price or a size above 0; None, which says nothing, will do."""
    return value is None or (value.is_finite() and LEAST <= value <= MOST)


def is_size(value: Decimal) -> bool:
    """A size, perhaps none."""
    return value.is_finite() and (LEAST <= value <= MOST or value == 0)


def is_money(*values: Decimal | None) -> bool:
    return all(value is None or (value.is_finite() and -MONEY_MOST <= value <= MONEY_MOST) for value in values)


def is_time(state: State, venue_ms: int, received_ms: int) -> bool:
    return 0 <= venue_ms <= received_ms + state.offset_ms + AHEAD_MS_MAX


def is_id(value: int | None) -> bool:
    return value is None or value in IDS


# --- prices -----------------------------------------------------------------------------------------------------------


def _trade(state: State, e: Trade) -> str | None:
    price, size = e.price, e.size  # on every trade: spelled out, for each call here delays the exit
    if not (price.is_finite() and LEAST <= price <= MOST and size.is_finite() and LEAST <= size <= MOST):
        return "price or size"
    return None if is_time(state, e.time_ms, e.received_ms) else "time"


def _quote(state: State, e: Quote) -> str | None:
    if not (is_amount(e.bid) and is_amount(e.ask)):
        return "price"
    return None if is_time(state, e.time_ms, e.received_ms) else "time"


def _book(state: State, e: Book) -> str | None:
    if not all(is_amount(side[0][0]) for side in (e.bids, e.asks) if side):  # only the best ones are used
        return "price"
    return None if is_time(state, e.time_ms, e.received_ms) else "time"


def _mark(state: State, e: MarkPrice) -> str | None:
    return None if is_amount(e.mark) else "price"


def _polled(state: State, e: PolledPrice) -> str | None:
    if not all(map(is_amount, (e.price, e.bid, e.ask, e.mark))):
        return "price"
    return None if e.time_ms is None or is_time(state, e.time_ms, e.received_ms) else "time"


def _sample(state: State, e: RestSample) -> str | None:
    return None if is_amount(e.price) and is_time(state, e.time_ms, e.received_ms) else "price or time"


def _bars(state: State, bars: Iterable[Bar], received_ms: int) -> str | None:
    for bar in bars:
        if not (all(map(is_amount, (bar.open, bar.high, bar.low, bar.close))) and is_size(bar.volume)):
            return "a bar's prices"
        if not (is_time(state, bar.open_ms, received_ms) and bar.open_ms <= bar.close_ms <= bar.open_ms + BAR_MS_MAX):
            return "a bar's time"
    return None


# --- orders -----------------------------------------------------------------------------------------------------------


def _market(state: State, e: Any) -> str | None:
    """Of a question that only a market of ours can have asked."""
    return None if e.symbol in state.markets else "no such market"


def _numbered(state: State, e: CancelAnswered | ModifyAnswered) -> str | None:
    return _market(state, e) or (None if is_id(e.order_id) else "order id")


def _accepted(state: State, e: OrderAccepted) -> str | None:
    if not (is_size(e.filled_size) and is_amount(e.average_price) and is_id(e.order_id)):
        return "size, price or order id"
    return _market(state, e) or _more_than_asked(state, e)


def _settled(state: State, e: OrderSettled) -> str | None:
    if not (is_size(e.filled_size) and is_id(e.order_id)):
        return "size or order id"
    return _market(state, e) or _more_than_asked(state, e)


def _more_than_asked(state: State, e: OrderAccepted | OrderSettled) -> str | None:
    record = state.markets[e.symbol].orders.get(e.client_id)
    if record is None or record.order.whole_position or e.filled_size <= max(record.order.size, record.filled_size):
        return None
    return "more filled than was asked for"


def _update(state: State, e: OrderUpdate) -> str | None:
    if not (is_size(e.size_left) and is_amount(e.average_price) and is_id(e.order_id)):
        return "size, price or order id"
    if e.working is not None and (e.working.symbol != e.symbol or not _rests(state, e.working, e.received_ms)):
        return "the order as it works"
    return None if is_time(state, e.time_ms, e.received_ms) else "time"


def _rests(state: State, order: WorkingOrder, received_ms: int) -> bool:
    """A bracket's child may have no price yet."""
    return (
        is_size(order.size)
        and is_size(order.price)
        and is_amount(order.trigger_price)
        and is_id(order.order_id)
        and is_id(order.parent_id)
        and is_time(state, order.time_ms, received_ms)
    )


def is_execution(e: Fill) -> bool:
    """Whether its numbers are some."""
    amounts = is_amount(e.price) and is_amount(e.size) and is_id(e.order_id)
    return amounts and is_money(e.fee, e.closed_pnl, e.start_position)


def _fill(state: State, e: Fill) -> str | None:
    if not is_execution(e):
        return "price, size, fee, profit or order id"
    return None if is_time(state, e.time_ms, e.received_ms) else "time"


# --- the account ------------------------------------------------------------------------------------------------------


def _is_held(position: VenuePosition) -> bool:
    if not (is_size(position.size.copy_abs()) and is_money(position.unrealized_pnl, position.liquidation_price)):
        return False
    return position.size == 0 or (is_amount(position.entry_price) and is_amount(position.multiplier))


def _listing(state: State, e: WorkingOrders) -> str | None:
    if not all(_rests(state, order, e.received_ms) for order in e.orders):
        return "a working order"
    return None if 0 <= e.requested_ms <= e.received_ms else "when it was asked for"


def _account(state: State, e: AccountSnapshot) -> str | None:
    if not is_money(e.equity, e.available, e.balance):
        return "money"
    if not all(map(_is_held, e.positions)):
        return "a position"
    if not all(_rests(state, order, e.received_ms) for order in e.orders):
        return "a working order"
    if not 0 <= e.requested_ms <= e.received_ms:
        return "when it was asked for"
    return None if is_time(state, e.time_ms, e.received_ms) else "time"


def _balance(state: State, e: AccountUpdate) -> str | None:
    return None if is_money(e.balance) else "money"


def _position(state: State, e: PositionUpdate) -> str | None:
    return None if _is_held(e.position) else "a position"


def _seen(state: State, e: PositionsSeen) -> str | None:
    if not all(map(_is_held, e.positions)):
        return "a position"
    return None if 0 <= e.requested_ms <= e.received_ms else "when it was asked for"


# --- the rest ---------------------------------------------------------------------------------------------------------


def _offset(state: State, e: ClockOffset) -> str | None:
    return None if e.received_ms + e.offset_ms in VENUE_MS and e.round_trip_ms in CLOCK_MS else "offset"


def _budget(state: State, e: RequestBudget) -> str | None:
    return None if e.used in IDS and e.cap in IDS else "a count"


def _expiry(state: State, e: KeyExpiry) -> str | None:
    return None if e.expires_ms in CLOCK_MS else "time"


_LOOKS: dict[type, Callable[[State, Any], str | None]] = {
    Trade: _trade,
    Quote: _quote,
    Book: _book,
    MarkPrice: _mark,
    PolledPrice: _polled,
    RestSample: _sample,
    BarUpdate: lambda state, e: _bars(state, (e.bar,), e.received_ms),
    BarHistory: lambda state, e: _bars(state, e.bars, e.received_ms),
    Fill: _fill,
    OrderAccepted: _accepted,
    OrderRejected: _market,
    OrderUnknown: _market,
    OrderSettled: _settled,
    OrderUpdate: _update,
    CancelAnswered: _numbered,
    ModifyAnswered: _numbered,
    WorkingOrders: _listing,
    AccountSnapshot: _account,
    AccountUpdate: _balance,
    PositionUpdate: _position,
    PositionsSeen: _seen,
    ClockOffset: _offset,
    RequestBudget: _budget,
    KeyExpiry: _expiry,
}
