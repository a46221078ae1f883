"""Everything the bot knows, as one frozen value. The shell keeps it, the journal can hold it, `decide` replaces it."""

import enum
from decimal import Decimal

import msgspec

from core.model import ZERO, Bar, Fill, Order, OrderStatus, Purpose, Side, WorkingOrder
from core.prop_values import PropState


class ExitReason(enum.Enum):
    STOP_LOSS = "STOP_LOSS"
    TRAILING_STOP = "TRAILING_STOP"
    TAKE_PROFIT = "TAKE_PROFIT"
    TIME_LIMIT = "TIME_LIMIT"
    SIGNAL = "SIGNAL"  # the strategy wants out
    UNPROTECTED = "UNPROTECTED"  # no stop at the venue in time (P2)
    DAILY_LOSS = "DAILY_LOSS"
    FLATTEN = "FLATTEN"  # the user asked
    PROP_RULES = "PROP_RULES"  # a limit of the prop firm is near, or its session ends
    FLIPPED = "FLIPPED"  # an exit opened the other side: repaired at once (P4)


class Position(msgspec.Struct, frozen=True, gc=False):
    """What we hold in one market, with its exit levels settled so that a trade needs three comparisons."""

    side: Side
    size: Decimal  # > 0
    entry_price: Decimal
    entry_ms: int  # our clock
    best_price: Decimal  # the most favourable trade since entry
    stop_price: Decimal  # initial stop, tick-rounded
    target_price: Decimal | None
    trail_price: Decimal | None  # None until activated
    adopted: bool = False  # opened by hand, or found at start


class OrderRecord(msgspec.Struct, frozen=True):
    """An order of ours from the decision to its final state, and a little longer (late fills)."""

    order: Order
    purpose: Purpose
    status: OrderStatus
    sent_ms: int
    reason: str
    order_id: int | None = None
    filled_size: Decimal = ZERO  # the most we have been told, by answers or by fills
    booked_size: Decimal = ZERO  # the part of it that has arrived as fills
    noops_sent: int = 0
    settle_ms: int | None = None  # when to ask (again) what became of it; UNKNOWN only
    accepted_ms: int | None = None
    final_ms: int | None = None
    fills_asked: bool = False  # its fills stayed away and were asked for over REST
    # venues without reduce-only, where `order` follows what the venue says of it: level and whole size
    seen_ms: int | None = None  # since when the venue shows it working
    parent_id: int | None = None  # the entry that this bracket child belongs to
    cancel_ms: int | None = None  # when we asked for its cancellation
    wanted: Order | None = None  # what it becomes if the venue takes the change that is on its way
    modify_ms: int = 0  # when that change was asked for
    modify_again_ms: int = 0  # no other change before this
    tries: int = 0  # cancellations asked for, and changes refused in a row: each makes the next one wait longer
    limited: bool = False  # the last cancellation was turned away for too many requests

    @property
    def is_live(self) -> bool:
        return not self.status.is_final

    @property
    def rests(self) -> bool:
        """Whether it is of the kind that waits at the venue: entries and exits execute or end at once."""
        return self.purpose is Purpose.STOP or self.purpose is Purpose.TARGET

    @property
    def is_in_air(self) -> bool:
        """Whether an answer is still to come; a stop that the venue shows working, unchanged, has had it."""
        works = self.seen_ms is not None and self.cancel_ms is None and self.wanted is None
        return self.is_live and not works

    @property
    def size_left(self) -> Decimal:
        return self.order.size - self.filled_size


class VenueStop(msgspec.Struct, frozen=True):
    """A stop as the venue lists it: what protects the position if the bot dies now."""

    order_id: int
    side: Side
    trigger_price: Decimal
    size: Decimal  # 0 with whole_position
    whole_position: bool
    is_stop: bool = True  # False: a reduce-only take-profit trigger, listed because it outlives a position too
    cancel_ms: int | None = None  # when we asked for its cancellation

    def covers(self, position: Position) -> bool:
        enough = self.whole_position or self.size >= position.size
        return self.is_stop and enough and self.side is position.side.opposite


class Feed(msgspec.Struct, frozen=True, gc=False):
    """What one source has brought of one market, as far as its freshness goes (`core.freshness`)."""

    count: int = 0  # updates since the start
    time_ms: int = 0  # venue clock, in the newest
    received_ms: int = 0  # our clock
    late_since_ms: int = 0  # our clock: since when every update was late; 0: the newest was not


class Pace(msgspec.Struct, frozen=True, gc=False):
    """The last full window of a market's stream, and how the running one began."""

    since_ms: int = 0  # our clock: the beginning of the running window
    trades: Feed = Feed()  # as they stood then
    quotes: Feed = Feed()
    trades_per_s: float | None = None  # None: no window is over yet
    quotes_per_s: float | None = None
    frozen_trades: bool = False  # they kept coming, and the venue's time in them stood still
    frozen_quotes: bool = False


class MarketState(msgspec.Struct, frozen=True):
    symbol: str
    # prices
    current_price: Decimal | None = None
    price_time_ms: int = 0  # venue clock of the newest price
    price_received_ms: int = 0  # our clock, the same price
    price_source: str = "none"  # websocket, rest
    moved_ms: int = 0  # venue clock: the position has moved then; older account reads do not know
    snapshot_ms: int = 0  # venue clock of the last account read that was believed
    exits_from_ms: int = 0  # venue clock: older trades say nothing about the position (replays after a start)
    trade_feed: Feed = Feed()
    quote_feed: Feed = Feed()
    rest_feed: Feed = Feed()  # prices asked for, whether they are used or not
    pace: Pace = Pace()
    heard_ms: int = 0  # anything at all about this market
    verdict: str = "silent"
    rest_verdict: str | None = None  # the same word for rest_feed; None: not known yet
    bid: Decimal | None = None
    ask: Decimal | None = None
    quote_time_ms: int = 0  # venue clock
    quote_received_ms: int = 0
    mark: Decimal | None = None
    noted_ms: int = 0  # last price line
    # bars
    bars: tuple[Bar, ...] = ()  # closed, oldest first
    forming: Bar | None = None
    bars_read_ms: int = 0  # when history was last asked for
    signal_bar_ms: int | None = None  # open_ms of the last bar the strategy has seen
    # what we hold, want and have sent
    position: Position | None = None
    orders: dict[str, OrderRecord] = {}
    stops: tuple[VenueStop, ...] = ()
    liquidation_price: Decimal | None = None
    exit_reason: ExitReason | None = None  # set until flat: the exit is pursued
    exit_retry_ms: int = 0
    exit_refusals: int = 0  # in a row: each makes the next try wait longer
    wish: Side | None = None  # the strategy's reversal, waiting for flat and clean
    wish_until_ms: int = 0
    armed: Order | None = None
    armed_ms: int = 0
    armed_from: Decimal = ZERO  # prices between which the armed order is near enough to what would be built
    armed_to: Decimal = ZERO
    # protection
    naked_since_ms: int | None = None
    stop_retry_ms: int = 0
    stop_moved_ms: int = 0
    stop_fired_ms: int = 0  # the venue reported our stop as filled; the fill may still be on its way
    known: bool = False  # the venue has told in this run what we hold here
    flat_seen: bool = False  # the venue has said flat since we believe it: leftovers may be canceled
    clean: bool = False  # flat by the venue's word, and no leftover order that could act
    clean_tries: int = 0
    clean_read_ms: int = 0
    dirty_ms: int = 0  # our clock: reads requested before this do not know the latest fill or order
    # venues without reduce-only
    foreign: tuple[WorkingOrder, ...] = ()  # working orders that are not ours
    unclaimed: tuple[Fill, ...] = ()  # booked; the order they belong to is not known yet
    confirmed: bool = False  # an account read knows everything that we know here
    read_ms: int = 0  # our clock: when the last account read that was believed had been asked for
    stop_named_ms: int | None = None  # our clock: when one that may be too old named a stop that covers what is held
    gone_ms: int = 0  # one of our resting orders has ended unasked: look before another is placed
    beyond_ms: int | None = None  # since when the price is past the venue's stop or target, which has not filled
    left_reason: ExitReason | None = None  # the last one that was said to be left to it, of this position
    leaving_ms: int | None = None  # since when the next close is being prepared
    naked_said: bool = False
    venue_close_again_ms: int = 0  # not before this is the venue asked (again) to close what is held
    target_retry_ms: int = 0
    hint: Decimal | None = None  # size by the user stream's word, other than ours
    hint_ms: int = 0

    def live_orders(self) -> list[OrderRecord]:
        """Those that may still do something. In a busy minute most of `orders` have ended and wait for late fills."""
        return [record for record in self.orders.values() if not record.status.is_final]

    def is_quoted(self, side: Side) -> bool:
        """Whether there is a best opposite price for an order on `side`, and it is newer than the last trade."""
        quoted = self.ask if side is Side.BUY else self.bid
        return quoted is not None and (self.current_price is None or self.quote_time_ms > self.price_time_ms)

    def reference_price(self, side: Side) -> Decimal | None:
        """What an order on `side` would meet: the best opposite price when that is news, else the last trade.

        Without either, the mark: a position must be left also where nothing has traded yet. None: no price at all.
        """
        if self.is_quoted(side):
            return self.ask if side is Side.BUY else self.bid
        return self.current_price if self.current_price is not None else self.mark


class Outside(msgspec.Struct, frozen=True):
    """A position in a contract that the config does not name: not ours to touch, but its profit is the account's."""

    symbol: str
    contract_id: str
    size: Decimal  # signed
    entry_price: Decimal
    multiplier: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    price_received_ms: int = 0  # our clock


class State(msgspec.Struct, frozen=True):
    markets: dict[str, MarketState] = {}
    run_id: int = 0
    last_id: int = 0
    last_nonce: int = 0
    offset_ms: int = 0  # venue clock minus ours
    disputed: bool = False  # the latest account read says something else of a market, and may be older than our news
    synced: bool = False  # an account snapshot has been applied in this run
    halted: str | None = None  # why entries are off until a restart
    journal_ok: bool = True
    order_errors: int = 0  # rejections in a row
    stream_up: bool = False  # the one that brings prices
    fills_up: bool = False  # the one that brings fills and order news; may be the same
    stream_attempt: int = 0
    stream_mode: str = "reconnecting"  # websocket, reconnecting, rest_fallback
    polling: bool = False
    equity: Decimal | None = None  # at equity_ms, open profit included
    equity_open_pnl: Decimal = ZERO  # open profit contained in `equity`
    available: Decimal | None = None
    day: int = 0  # UTC day number of the figures below
    day_realized: Decimal = ZERO  # closed profit minus fees since 00:00 UTC
    fill_ids: dict[str, int] = {}  # the newest ones with their venue time, to book each once; oldest first
    last_fill_ms: int = 0  # venue clock
    history_from_ms: int = 0  # venue clock: fills in histories that are older are not looked at
    flatten: bool = False  # the user wants out: whatever opens is closed
    loss_day: int = -1  # UTC day number on which the daily loss was reached: no entries while it lasts
    tick_ms: int = 0  # our clock: the last look at the time
    odd_offset_ms: int | None = None  # an offset too far from the last to be believed before it is measured again
    unmanaged: tuple[str, ...] = ()  # positions in markets that are not configured
    read_orders_ms: int = 0  # when the last read of each kind was asked for
    read_account_ms: int = 0
    account_due_ms: int = 0  # when the next account read is due
    prop: PropState = PropState()  # what the prop-firm guard remembers
    prop_noted_ms: int = 0  # the last line about its distances
    prop_excess: str = ""  # what is above a cap, as last said
    prop_closes: dict[str, tuple[int, int]] = {}  # by contract outside the config: close asked for last (ms), how often
    answered_ms: int = 0  # when the latest account read that was answered had been asked for
    swept_ms: int = 0  # when the fills were last asked for where no stream tells its history; 0: that failed
    window_left: int | None = None  # requests, or their weight, in the venue's window at the latest account read
    budget_left: int | None = None  # actions the venue still takes from this address (Hyperliquid)
    budget_used: int | None = None
    balance: Decimal | None = None  # realised cash, where the venue names it
    gap_from_ms: int | None = None  # venue clock: fills from here on may have been missed
    gap_ms: int = 0  # our clock: the latest reason to think so
    can_trade: bool = True  # False: the venue has locked the account
    brackets_refused: bool = False  # on this day: the account is not in Auto OCO mode
    rolled: tuple[str, ...] = ()  # symbols under which the venue trades another month now
    refused_ms: int = 0  # our clock: when an event that cannot be true was last spoken of
    outside: dict[str, Outside] = {}  # by symbol, where the venue's equity leaves their open profit out


def outside_pnl(position: Outside) -> Decimal:
    """Open profit at the price it could be closed at (account currency); 0 as long as there is no price."""
    long = position.size > 0
    prices = [price for price in ((position.bid if long else position.ask), position.last) if price is not None]
    if not prices:
        return ZERO
    price = min(prices) if long else max(prices)
    return (price - position.entry_price) * position.size * position.multiplier


def open_pnl(market: MarketState, multiplier: Decimal) -> Decimal:
    """Open profit at the newest price (account currency), 0 when flat or priceless."""
    position = market.position
    if position is None or market.current_price is None:
        return ZERO
    return position.side.sign * (market.current_price - position.entry_price) * position.size * multiplier
