"""The words of the simulated exchange: what is asked of it, and the events that come out.

Values only. Prices and sizes are Decimal, times milliseconds UTC, accounts any string.
"""

import enum
from decimal import Decimal

import msgspec

from core.model import ZERO, Side, TimeInForce


class Status(enum.Enum):
    """What became of an order, in the vocabulary of protocol page 2.9 (other venues translate)."""

    OPEN = "open"
    FILLED = "filled"
    CANCELED = "canceled"
    TRIGGERED = "triggered"
    MARGIN_CANCELED = "marginCanceled"
    SELF_TRADE = "selfTradeCanceled"
    REDUCE_ONLY_CANCELED = "reduceOnlyCanceled"
    SIBLING_FILLED = "siblingFilledCanceled"
    LIQUIDATED = "liquidatedCanceled"
    SCHEDULED = "scheduledCancel"
    REJECTED = "rejected"
    TICK = "tickRejected"
    LOT = "lotRejected"  # static: never listed by the venue
    ZERO_SIZE = "zeroSizeRejected"  # static
    BAND = "bandRejected"  # static: more than 80 % from the reference price
    MIN_NOTIONAL = "minTradeNtlRejected"
    MARGIN = "perpMarginRejected"
    REDUCE_ONLY = "reduceOnlyRejected"
    WOULD_CROSS = "badAloPxRejected"
    NO_MATCH = "iocCancelRejected"
    BAD_TRIGGER = "badTriggerPxRejected"
    NO_LIQUIDITY = "marketOrderNoLiquidityRejected"
    TOO_MANY = "tooManyOpenOrdersRejected"


class Trigger(msgspec.Struct, frozen=True):
    """An order that waits until the trigger price is met, then trades as a market or a limit order."""

    price: Decimal
    is_stop: bool  # False: take-profit
    is_market: bool = True  # False: rests at the request's price once triggered


class Request(msgspec.Struct, frozen=True):
    """An order as asked for. `price` of a market trigger is the worst price (see ExchangeRules.trigger_price_binds)."""

    symbol: str
    side: Side
    size: Decimal  # 0 with whole_position
    price: Decimal
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    client_id: str | None = None
    trigger: Trigger | None = None
    whole_position: bool = False  # covers whatever is held when it fires
    is_market: bool = False  # for display only: an IOC that its sender calls a market order


class LiveOrder(msgspec.Struct):
    """An order the exchange still holds. Changed only by the exchange; events carry frozen copies."""

    order_id: int
    account: str
    request: Request
    left: Decimal  # size still to fill; 0 for a waiting whole-position trigger
    time_ms: int
    ahead: Decimal = ZERO  # external size queued before it at its price
    group: int = 0  # orders with the same group (> 0) are siblings: one fills, the others go
    parent: int | None = None  # set while it waits for its entry to fill
    is_triggered: bool = False
    filled: Decimal = ZERO
    filled_value: Decimal = ZERO  # sum of price * size
    children: list[int] = []

    @property
    def is_waiting_trigger(self) -> bool:
        return self.request.trigger is not None and not self.is_triggered

    @property
    def average(self) -> Decimal | None:
        return self.filled_value / self.filled if self.filled else None


class OrderState(msgspec.Struct, frozen=True):
    """An order as it was at one moment."""

    order_id: int
    account: str
    request: Request
    left: Decimal
    time_ms: int  # when it was placed
    is_triggered: bool
    children: tuple[int, ...]
    is_child: bool = False  # waits for its entry to fill


# --- answers --------------------------------------------------------------------------------------------------------


class Placed(msgspec.Struct, frozen=True):
    """Taken. `status` is OPEN (rests or waits) or FILLED; filled is what traded at once."""

    order_id: int
    status: Status
    filled: Decimal
    average: Decimal | None
    client_id: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """Not taken. order_id is set when the refusal left a record (runtime refusals do, static ones do not)."""

    status: Status
    order_id: int | None = None
    best_bid: Decimal | None = None  # with WOULD_CROSS
    best_ask: Decimal | None = None


Answer = Placed | Refused


# --- events ---------------------------------------------------------------------------------------------------------


class Liquidation(msgspec.Struct, frozen=True):
    account: str
    mark: Decimal
    is_backstop: bool


class Execution(msgspec.Struct, frozen=True):
    """One account's side of one trade."""

    account: str
    order_id: int
    client_id: str | None
    symbol: str
    side: Side
    price: Decimal
    size: Decimal
    fee: Decimal
    closed_pnl: Decimal  # before fees
    start_position: Decimal  # signed, before this fill
    crossed: bool  # True: taker
    trade_id: int
    time_ms: int
    liquidation: Liquidation | None = None


class OrderChanged(msgspec.Struct, frozen=True):
    order: OrderState
    status: Status
    time_ms: int


class Printed(msgspec.Struct, frozen=True):
    """A public trade; buyer and seller are None for outside participants."""

    symbol: str
    price: Decimal
    size: Decimal
    side: Side  # of the aggressor
    trade_id: int
    time_ms: int
    buyer: str | None
    seller: str | None


class FundingPaid(msgspec.Struct, frozen=True):
    account: str
    symbol: str
    amount: Decimal  # change of the balance: negative is paid
    size: Decimal  # signed position
    rate: Decimal  # of this hour
    time_ms: int


ExchangeEvent = Execution | OrderChanged | Printed | FundingPaid
