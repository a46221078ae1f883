"""The market's own words: sides, instruments, prints, bars, orders, fills, positions.

All prices and sizes are `Decimal`, exactly as received; all times are `int` milliseconds UTC.
"""

import enum
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import msgspec

ZERO = Decimal(0)


class Side(enum.Enum):
    BUY = "BUY"
    SELL = "SELL"

    sign: int  # +1 for a buy or a long, -1 for a sell or a short
    opposite: "Side"


# Plain attributes, here and below: every trade asks for them.
Side.BUY.sign, Side.SELL.sign = 1, -1
Side.BUY.opposite, Side.SELL.opposite = Side.SELL, Side.BUY


class OrderType(enum.Enum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"  # Hyperliquid: sent as an aggressive IOC limit at `price`
    STOP = "STOP"  # stop-market at `trigger_price`
    TAKE_PROFIT = "TAKE_PROFIT"  # market order once `trigger_price` is reached in our favour


class TimeInForce(enum.Enum):
    GTC = "GTC"
    IOC = "IOC"
    ALO = "ALO"  # post-only


class OrderStatus(enum.Enum):
    """Life of an order. DENIED never left this machine; UNKNOWN left it and nobody has said what became of it."""

    DENIED = "DENIED"
    SENT = "SENT"
    ACCEPTED = "ACCEPTED"  # rests at the venue, or waits for its trigger
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"

    is_final: bool  # nothing more can come of it


for _status in OrderStatus:
    _status.is_final = _status.value in ("DENIED", "FILLED", "CANCELED", "REJECTED")


class Purpose(enum.Enum):
    """What an order of ours is for."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"
    STOP = "STOP"  # the protection that rests at the venue
    TARGET = "TARGET"  # a take-profit that rests there too (TopstepX)


class Instrument(msgspec.Struct, frozen=True):
    """What may be traded, in which steps, and what a step is worth."""

    symbol: str
    asset_id: int  # the venue's number in orders; Hyperliquid: index in meta.universe, delisted rows counted
    lot_size: Decimal  # smallest size step, units of the base asset or contracts
    tick_size: Decimal | None = None  # fixed price step; None: the figures rule below (Hyperliquid)
    price_figures: int = 5  # significant figures allowed when tick_size is None; integers are always allowed
    price_decimals: int = 6  # most decimals allowed when tick_size is None
    multiplier: Decimal = Decimal(1)  # account currency per 1.0 of price, per unit (tick_value / tick_size)
    min_notional: Decimal = ZERO  # account currency; a full close is exempt
    max_leverage: int = 1
    has_margin: bool = True  # False: the venue limits contracts, not margin (TopstepX)
    contract_id: str = ""  # TopstepX: the month traded under this symbol, CON.F.US.MGC.Z26; Hyperliquid: none

    def tick_at(self, price: Decimal) -> Decimal:
        """Smallest price step at `price` (> 0). Hyperliquid rule: protocol page 6.1."""
        if self.tick_size is not None:
            return self.tick_size
        places = min(self.price_decimals, self.price_figures - 1 - price.adjusted())
        return Decimal(1).scaleb(-max(0, places))

    def round_price(self, price: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
        """Nearest price the venue takes, in the direction of `rounding` (a `decimal` constant).

        Returns 0 when the price is too small to be expressed.
        """
        if self.tick_size is None and price == price.to_integral_value():
            return price.quantize(Decimal(1))
        tick = self.tick_at(price)
        return (price / tick).quantize(Decimal(1), rounding=rounding) * tick

    def round_away(self, price: Decimal, side: Side) -> Decimal:
        """Round towards the more aggressive price for `side`: a buy up, a sell down, to one tick at the lowest."""
        rounded = self.round_price(price, ROUND_CEILING if side is Side.BUY else ROUND_FLOOR)
        return rounded if rounded > 0 else self.tick_at(price)

    def round_size(self, size: Decimal) -> Decimal:
        """Largest multiple of the lot that is not above `size`."""
        return (size / self.lot_size).quantize(Decimal(1), rounding=ROUND_DOWN) * self.lot_size


class Trade(msgspec.Struct, frozen=True, gc=False, tag=True):
    """One public trade, as the venue printed it. Source: Hyperliquid WebSocket channel `trades`."""

    symbol: str
    price: Decimal  # quote currency per unit, exactly as received
    size: Decimal  # units of the base asset
    side: Side  # of the aggressor
    trade_id: int  # the venue's id; may repeat after a reconnect
    time_ms: int  # venue clock, UTC
    received_ms: int  # our clock, UTC: the "now" of every decision made from this trade


class Quote(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Best bid and ask. A side that is empty at the venue is None."""

    symbol: str
    bid: Decimal | None
    bid_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None
    time_ms: int  # venue clock
    received_ms: int


class Book(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A whole book as sent, best level first: rows of (price, size). Replaces the one before it."""

    symbol: str
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    time_ms: int
    received_ms: int


class MarkPrice(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The price the venue triggers stops and liquidates by. It carries no venue time on Hyperliquid."""

    symbol: str
    mark: Decimal
    oracle: Decimal | None
    mid: Decimal | None
    received_ms: int


class Bar(msgspec.Struct, frozen=True, gc=False):
    """Open, high, low, close and volume of [open_ms, close_ms]; close_ms is the last millisecond inside."""

    open_ms: int
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Bracket(msgspec.Struct, frozen=True):
    """Stop and target that the venue hangs on an entry, in ticks from its fill price; both above 0.

    The venue wants them signed by side: that is the client's business (TopstepX page 2.7).
    """

    stop_ticks: int
    target_ticks: int | None = None


class Order(msgspec.Struct, frozen=True):
    """Our request, complete: whoever holds it can send it without asking anything."""

    client_id: str  # ours, unique for ever; Hyperliquid: the cloid, 0x and 32 hex digits
    symbol: str
    side: Side
    size: Decimal  # units; 0 with whole_position: whatever is held when it fires
    type: OrderType
    price: Decimal  # limit, or the worst price accepted; already rounded for the venue
    time_in_force: TimeInForce = TimeInForce.IOC
    trigger_price: Decimal | None = None  # STOP and TAKE_PROFIT only
    reduce_only: bool = False
    whole_position: bool = False  # Hyperliquid positionTpsl, page 8.2
    nonce: int = (
        0  # Hyperliquid: signing nonce, ms; chosen by the decision so that the journal knows it before it is sent
    )
    expires_ms: int | None = None  # venue clock: refused on arrival after this; does not end a resting order
    bracket: Bracket | None = None  # TopstepX entries in Auto OCO mode


class Fill(msgspec.Struct, frozen=True, tag=True):
    """One execution of ours, as the venue reported it."""

    symbol: str
    side: Side  # ours
    price: Decimal
    size: Decimal
    fee: Decimal  # account currency; negative is a rebate
    closed_pnl: Decimal  # realised by the closed part, before fees
    order_id: int  # the venue's; a fired stop keeps the stop's id
    client_id: str | None
    fill_id: str  # unique per account: "time:symbol:tid"
    time_ms: int  # venue clock
    received_ms: int
    start_position: Decimal | None = None  # signed size held before this fill, if the venue says
    is_snapshot: bool = False  # sent as history (after a subscribe, or read over REST), not as news
    is_liquidation: bool = False  # of our own account


class WorkingOrder(msgspec.Struct, frozen=True):
    """An order as the venue lists it now. Sources: Hyperliquid `frontendOpenOrders`; TopstepX `Order/searchOpen`.

    TopstepX has no reduce-only: `client_id` is the whole customTag (children inherit it with -SL or -TP behind it), a
    stop has its level in `trigger_price` and in `price`, a target (a limit order) has `trigger_price` None.
    """

    symbol: str
    side: Side
    order_id: int
    client_id: str | None
    size: Decimal  # remaining; 0 for a position stop, which covers whatever is held
    price: Decimal
    trigger_price: Decimal | None  # None: not a trigger
    is_stop: bool  # a stop-loss trigger (a take-profit trigger is not)
    reduce_only: bool
    whole_position: bool
    time_ms: int
    parent_id: int | None = None  # TopstepX: the entry this bracket child belongs to


class VenuePosition(msgspec.Struct, frozen=True):
    """A position as the venue states it; flat markets have none."""

    symbol: str
    size: Decimal  # signed: + long, - short
    entry_price: Decimal
    unrealized_pnl: Decimal
    liquidation_price: Decimal | None
    leverage: int
    is_cross: bool
    multiplier: Decimal = Decimal(1)  # of its instrument: account currency per 1.0 of price, per unit
    contract_id: str = ""  # TopstepX: what to subscribe for its price
