"""What enters the brain (events) and what leaves it (actions). Each is a frozen value that the journal can hold.

Every event carries `received_ms`, our clock: the only "now" a decision may use.
`Trade`, `Quote`, `Book`, `MarkPrice` and `Fill` of `core.model` are events too.
"""

import enum
from decimal import Decimal

import msgspec

from core.model import (
    Bar,
    Book,
    Fill,
    Instrument,
    MarkPrice,
    Order,
    OrderStatus,
    Purpose,
    Quote,
    Trade,
    VenuePosition,
    WorkingOrder,
)
from core.rules import Rules


class Event(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    received_ms: int  # our clock, UTC


# --- the bot itself -------------------------------------------------------------------------------------------------


class Started(Event, frozen=True):
    """First line of every run: the rules it plays by, so that a replay needs nothing else."""

    run_id: int  # 64 random bits; the upper half of every client_id of this run
    rules: Rules


class Tick(Event, frozen=True):
    """Made by the main thread after a quiet interval, so that time limits and staleness are still seen."""


class FlattenRequested(Event, frozen=True):
    """The user wants out of everything."""


class StopRequested(Event, frozen=True):
    """The bot is asked to end."""


class JournalFailed(Event, frozen=True):
    """The disk refuses: no new entries, exits go on."""

    error: str


class JournalRestored(Event, frozen=True):
    pass


class CoreFault(Event, frozen=True):
    """The shell caught a bug or an impossible state: no new entries, positions stay protected (P9)."""

    error: str


# --- prices ---------------------------------------------------------------------------------------------------------


class BarUpdate(Event, frozen=True):
    """A bar as far as it is known; later ones with the same open_ms replace it."""

    symbol: str
    bar: Bar


class BarHistory(Event, frozen=True):
    """Bars read over REST, oldest first; the last may still be forming."""

    symbol: str
    bars: tuple[Bar, ...]


class PolledPrice(Event, frozen=True):
    """A price asked for over REST while the stream is down or switched off."""

    symbol: str
    price: Decimal  # mid of best bid and ask
    bid: Decimal | None
    ask: Decimal | None
    mark: Decimal | None
    time_ms: int | None  # venue clock; None where the answer carries none


class RestSample(Event, frozen=True):
    """A price asked for over REST beside the stream, only to see how late REST is: nothing trades on it."""

    symbol: str
    price: Decimal
    time_ms: int  # venue clock


class ClockOffset(Event, frozen=True):
    """Venue clock minus ours, measured at the middle of a request; the error is at most half the round trip."""

    offset_ms: int
    round_trip_ms: int


# --- the stream -----------------------------------------------------------------------------------------------------


class StreamUp(Event, frozen=True):
    """Connected, and every subscription acknowledged."""

    stream: str
    subscriptions: int


class StreamDown(Event, frozen=True):
    """The connection is gone; the next try comes in retry_s."""

    stream: str
    error: str
    retry_s: float
    attempt: int  # failures in a row


class StreamFailed(Event, frozen=True):
    """A bug in the stream thread, which has ended: the bot must halt."""

    stream: str
    error: str


# --- orders ---------------------------------------------------------------------------------------------------------


class RejectReason(enum.Enum):
    """Why a venue refused, as far as a decision depends on it. Hyperliquid strings: page 3.9."""

    WOULD_INCREASE = "WOULD_INCREASE"  # reduce-only with nothing to reduce: re-read the position
    NO_LIQUIDITY = "NO_LIQUIDITY"  # IOC without a match
    MARGIN = "MARGIN"
    MIN_NOTIONAL = "MIN_NOTIONAL"
    BAD_PRICE = "BAD_PRICE"  # tick, band, too far from oracle
    BAD_SIZE = "BAD_SIZE"
    BAD_TRIGGER = "BAD_TRIGGER"  # the trigger level is already crossed
    POST_ONLY = "POST_ONLY"
    POST_ONLY_PHASE = "POST_ONLY_PHASE"  # only post-only orders just after a network upgrade
    OPEN_INTEREST_CAP = "OPEN_INTEREST_CAP"
    TOO_MANY_ORDERS = "TOO_MANY_ORDERS"
    RATE_LIMIT = "RATE_LIMIT"  # address budget spent
    EXPIRED = "EXPIRED"  # expiresAfter passed
    NONCE = "NONCE"
    CREDENTIALS = "CREDENTIALS"  # signature, agent, account
    MALFORMED = "MALFORMED"  # 4xx about the request itself
    HALTED = "HALTED"  # trading halted or market delisted
    BRACKETS = "BRACKETS"  # the account is in Position Brackets mode (TopstepX page 2.7)
    OUTSIDE_HOURS = "OUTSIDE_HOURS"
    DUPLICATE_ID = "DUPLICATE_ID"  # the client_id has been used before: our order exists already
    ACCOUNT = "ACCOUNT"  # locked out, violated, or not ours to trade
    NOT_SENT = "NOT_SENT"  # there was no connection: not one byte has left this machine
    OTHER = "OTHER"


class OrderAccepted(Event, frozen=True):
    """The venue took it. `filled_size` may be less than asked (an IOC that filled partly has status FILLED)."""

    client_id: str
    symbol: str
    order_id: int | None  # None: the venue named none (position stops)
    status: OrderStatus  # ACCEPTED (rests or waits) or FILLED
    filled_size: Decimal
    average_price: Decimal | None


class OrderRejected(Event, frozen=True):
    client_id: str
    symbol: str
    reason: RejectReason
    text: str


class OrderUnknown(Event, frozen=True):
    """Sent, and no clear answer: it must be settled before anything else adds risk in this market."""

    client_id: str
    symbol: str
    error: str


class OrderSettled(Event, frozen=True):
    """What became of an order in doubt, by the venue's own word; final (see `status`).

    REJECTED with reason NOT_PLACED text covers "never arrived and never can": its nonce is burnt.
    """

    client_id: str
    symbol: str
    order_id: int | None
    status: OrderStatus  # ACCEPTED, PARTIAL, FILLED, CANCELED or REJECTED
    filled_size: Decimal  # so far; exact sizes come with the fills
    text: str


class OrderUpdate(Event, frozen=True):
    """News of an order from the user stream."""

    symbol: str
    order_id: int
    client_id: str | None
    status: OrderStatus
    venue_status: str  # as the venue spells it, for the log
    size_left: Decimal
    time_ms: int
    average_price: Decimal | None = None  # of what has filled, where the news says so (TopstepX)
    working: WorkingOrder | None = None  # the order as it works now, where the news says so (TopstepX)


class CancelAnswered(Event, frozen=True):
    symbol: str
    order_id: int
    gone: bool  # canceled now, or no longer there: either way it cannot fill from here on
    error: str | None  # why it is unknown or refused, when not gone
    reason: RejectReason | None = None  # when it was turned away before anybody looked at it


class ModifyAnswered(Event, frozen=True):
    """What the venue said to a Modify. `done`: taken (read the new level back); None: nobody knows, read the order."""

    symbol: str
    order_id: int
    done: bool | None
    reason: RejectReason | None  # when refused
    error: str | None


class CloseAnswered(Event, frozen=True):
    """What the venue said to a CloseContract: taken (not filled yet), refused, or None: nobody knows."""

    symbol: str
    contract_id: str
    done: bool | None
    error: str | None


class AccountUpdate(Event, frozen=True):
    """News of the account from the user stream (TopstepX GatewayUserAccount)."""

    balance: Decimal  # realised, fees taken off; open profit is not in it
    can_trade: bool


class PositionUpdate(Event, frozen=True):
    """News of a position from the user stream (TopstepX GatewayUserPosition); `position.size` 0: it is closed."""

    position: VenuePosition


class PositionsSeen(Event, frozen=True):
    """All positions by a glance over REST, when they are not those of the glance before: no stream has to tell."""

    positions: tuple[VenuePosition, ...]
    requested_ms: int  # our clock, before the request left


class ContractRolled(Event, frozen=True):
    """The venue trades another month under this symbol now."""

    symbol: str
    instrument: Instrument  # the new month's


class WorkingOrders(Event, frozen=True):
    """All working orders of the account in one read. `requested_ms` is ours, before the request left."""

    orders: tuple[WorkingOrder, ...]
    requested_ms: int


class AccountSnapshot(Event, frozen=True):
    """Positions, orders and equity of the account in one round of reads."""

    equity: Decimal  # account currency, open profit included
    available: Decimal
    positions: tuple[VenuePosition, ...]
    orders: tuple[WorkingOrder, ...]
    requested_ms: int  # our clock, before the first request left
    time_ms: int  # venue clock of the position read
    balance: Decimal | None = None  # realised cash, fees taken off, where the venue names it (TopstepX)
    has_open_pnl: bool = True  # False: `equity` is the balance alone (TopstepX names no open profit)
    can_trade: bool = True  # False: the venue has locked the account
    missed_fills: bool = False  # those that belong to this round could not be read
    requests_left: int | None = None  # in the venue's window of requests (TopstepX) or of their weight (Hyperliquid)


class RequestBudget(Event, frozen=True):
    """How many more actions the venue lets this address send (Hyperliquid page 7.2)."""

    used: int
    cap: int


class KeyExpiry(Event, frozen=True):
    """When the signing key stops being accepted (an approved agent lives at most 180 days, page 4.6)."""

    expires_ms: int  # venue clock


class ReadFailed(Event, frozen=True):
    what: str
    error: str


AnyEvent = (
    Started
    | Tick
    | FlattenRequested
    | StopRequested
    | JournalFailed
    | JournalRestored
    | CoreFault
    | Trade
    | Quote
    | Book
    | MarkPrice
    | Fill
    | BarUpdate
    | BarHistory
    | PolledPrice
    | RestSample
    | ClockOffset
    | StreamUp
    | StreamDown
    | StreamFailed
    | OrderAccepted
    | OrderRejected
    | OrderUnknown
    | OrderSettled
    | OrderUpdate
    | CancelAnswered
    | WorkingOrders
    | AccountSnapshot
    | ModifyAnswered
    | CloseAnswered
    | AccountUpdate
    | PositionUpdate
    | PositionsSeen
    | ContractRolled
    | RequestBudget
    | KeyExpiry
    | ReadFailed
)


class Frame(msgspec.Struct, frozen=True):
    """A WebSocket text frame with the events it holds, in order. The journal keeps the raw text."""

    raw: bytes
    received_ms: int
    events: tuple[AnyEvent, ...]


# --- actions --------------------------------------------------------------------------------------------------------


class Action(msgspec.Struct, frozen=True, tag=True):
    pass


class Submit(Action, frozen=True):
    """Send this order now, once."""

    order: Order
    purpose: Purpose
    reason: str


class Arm(Action, frozen=True):
    """Build and sign this order now, so that a later Submit of the same client_id only hands over bytes."""

    order: Order


class Cancel(Action, frozen=True):
    symbol: str
    order_id: int
    nonce: int
    reason: str


class Modify(Action, frozen=True):
    """Change a working order in place; what is None stays as it is. The answer is `ModifyAnswered`."""

    symbol: str
    order_id: int
    size: Decimal | None
    trigger_price: Decimal | None
    price: Decimal | None
    reason: str


class Watch(Action, frozen=True):
    """Subscribe the prices of contracts outside the config, because the account holds them (TopstepX)."""

    contract_ids: tuple[str, ...]


class CloseContract(Action, frozen=True):
    """Cancel the working orders of a contract outside the config, then close what the account holds of it, once."""

    symbol: str
    contract_id: str
    reason: str


class Settle(Action, frozen=True):
    """Find out what became of `order`: look-ups by client_id until it is known; first a noop, where there is one."""

    order: Order
    noops_sent: int  # earlier tries: from the second on, "duplicate nonce" proves nothing (page 3.8)


class ReadOrders(Action, frozen=True):
    """Ask for all working orders; the answer is `WorkingOrders`."""

    reason: str
    is_urgent: bool = False  # an exit or a stop waits for it: it may use what the request budget keeps for orders


class ReadAccount(Action, frozen=True):
    """Ask for an `AccountSnapshot`, and before it for the fills since `fills_since_ms`."""

    fills_since_ms: int | None  # venue clock; None: the stream has brought them all
    reason: str
    is_urgent: bool = False  # as in ReadOrders


class ReadBars(Action, frozen=True):
    symbol: str


class Reconnect(Action, frozen=True):
    """Tear the stream down and connect again: it looks alive and is not."""

    reason: str
    stream: str | None = None  # its name, where the venue has several; None: all of them


class PollPrices(Action, frozen=True):
    """Start (on) or stop asking for prices over REST."""

    on: bool
    reason: str


class Note(Action, frozen=True):
    """One log line. `notify` also sends it to the user's channels."""

    level: str  # DEBUG, INFO, WARNING, ERROR, CRITICAL
    name: str  # stable event name, listed in README.md
    fields: dict[str, str]
    text: str = ""  # a sentence for people, at the end of the line
    notify: bool = False


RESTART = 75  # exit code: start again at once, with the instruments read anew


class Stop(Action, frozen=True):
    """End with this exit code (RESTART: and begin anew); positions keep their stop at the venue."""

    exit_code: int
    reason: str


AnyAction = (
    Submit
    | Arm
    | Cancel
    | Modify
    | Settle
    | ReadOrders
    | ReadAccount
    | ReadBars
    | Reconnect
    | PollPrices
    | Watch
    | CloseContract
    | Note
    | Stop
)
