"""The values of the prop-firm guard: its rules, what it remembers, and what it says. All money in account currency."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Protocol

import msgspec

from core.model import ZERO
from core.sessions import Blackout, Sessions


class Holding(Protocol):
    """A position of the account with its newest quote, whoever opened it, in whatever market."""

    @property
    def symbol(self) -> str: ...
    @property
    def contract_id(self) -> str: ...
    @property
    def size(self) -> Decimal: ...  # signed contracts
    @property
    def entry_price(self) -> Decimal: ...
    @property
    def multiplier(self) -> Decimal: ...  # account currency per 1.0 of price and contract
    @property
    def tick_size(self) -> Decimal | None: ...
    @property
    def bid(self) -> Decimal | None: ...
    @property
    def ask(self) -> Decimal | None: ...
    @property
    def last(self) -> Decimal | None: ...
    @property
    def price_received_ms(self) -> int: ...  # our clock; 0: never


class ScalingStep(msgspec.Struct, frozen=True):
    """So many mini lots while the end-of-day balance is above a figure; the figure itself is not above it."""

    above: Decimal | None  # None: always
    lots: Decimal


class PropRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard holds the account to; None: no such limit. Sources: config/topstep/, protocol page 6."""

    preset: str
    sessions: Sessions
    start_balance: Decimal
    max_loss_limit: Decimal | None = None  # distance of the floor below the highest balance
    trailing: str = "end_of_day"  # what raises the floor: end_of_day, intraday (open profit too), static (nothing)
    payout_taken: bool = False  # Express: the floor is at the start balance from the first payout on
    highest_eod_balance: Decimal | None = None  # as the user read it on the dashboard
    best_day_profit: Decimal = ZERO  # the same
    daily_loss_limit: Decimal | None = None
    own_daily_loss: Decimal | None = None
    own_daily_profit: Decimal | None = None  # the day ends when it is reached
    profit_target: Decimal | None = None
    consistency_pct: Decimal | None = None  # most of the total profit that one day may have made
    safety_buffer: Decimal = ZERO  # everything is closed when a limit of the venue is as near as this
    entry_buffer: Decimal = ZERO  # and no entries when it is as near as this
    slippage_ticks: Decimal = Decimal(4)  # a contract may lose this much on the way out
    max_price_age_ms: int = 5_000  # of a held contract, before its worth is unknown
    max_position: Decimal | None = None  # mini lots, all positions together
    max_order_size: Decimal | None = None  # contracts
    scaling: tuple[ScalingStep, ...] = ()
    caps: dict[str, Decimal] = {}  # contracts, by symbol
    families: dict[str, str] = {}  # symbols that share their caps pro rata
    weights: dict[str, Decimal] = {}  # mini lots a contract; 1 where nothing is said
    products: tuple[str, ...] = ()  # permitted; none: all
    round_turn_costs: dict[str, Decimal] = {}
    default_cost: Decimal = ZERO  # round turn of a product without a row
    blackouts: tuple[Blackout, ...] = ()

    def weight(self, symbol: str) -> Decimal:
        return self.weights.get(symbol, Decimal(1))

    def side_cost(self, symbol: str) -> Decimal:
        """Commission and fees of one contract, in or out."""
        return self.round_turn_costs.get(symbol, self.default_cost) / 2


class PropState(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue does not tell and a restart must not lose (protocol page 6.11). Times by the venue's clock."""

    day: str = ""  # trading day of the figures below; "": the account has not been seen yet
    day_ends_ms: int = 0
    day_start_balance: Decimal = ZERO
    balance: Decimal = ZERO  # the newest
    balance_ms: int = 0  # when it was told
    moved_ms: int = 0  # the newest fill or doubt: a balance from before does not fit the positions
    highest_balance: Decimal = ZERO  # of all ends of days
    highest_known: bool = False  # False: it may have been higher before we looked
    equity_high: Decimal | None = None  # open profit included; for the intraday variant
    told_highest: Decimal | None = None  # the user's figure that has been taken over
    best_day: Decimal = ZERO  # the largest profit of a finished day
    net_day: str = ""  # trading day of the next figure
    net: Decimal = ZERO  # closed profit minus costs of its fills, as far as they were booked
    locked_until_ms: int = 0
    lock_reason: str = ""


class Valuation(msgspec.Struct, frozen=True):
    """What the account is worth now, marked cautiously."""

    balance: Decimal
    open_profit: Decimal  # long at the lower of bid and last, short at the higher of ask and last
    best_profit: Decimal  # the same at the best of the three prices: what an intraday floor may follow
    cost: Decimal  # of getting out
    slippage: Decimal  # allowance for getting out

    @property
    def equity(self) -> Decimal:
        return self.balance + self.open_profit

    @property
    def in_hand(self) -> Decimal:
        """What would be left after closing everything now: the figure that is held against the limits."""
        return self.equity - self.cost - self.slippage


class Limit(msgspec.Struct, frozen=True):
    """An equity that must not be reached from above, and how near is too near."""

    name: str
    level: Decimal
    flatten_within: Decimal
    refuse_within: Decimal


class Room(msgspec.Struct, frozen=True):
    """Distance to one limit."""

    name: str
    level: Decimal  # the equity at which it is reached
    dollars: Decimal | None  # None: the equity is unknown
    ticks: Decimal | None  # of all that is held, together; flat: of one contract, as asked for


class Entry(msgspec.Struct, frozen=True):
    """What somebody wants to open."""

    symbol: str
    size: Decimal  # contracts
    stop_value: Decimal  # lost per contract at its stop
    tick_value: Decimal  # per tick and contract


class Flatten(msgspec.Struct, frozen=True):
    """These positions must go, now. With `locks` no entry is taken until the next trading day."""

    name: str  # max_loss_limit, daily_loss_limit, own_daily_loss, own_daily_profit, flat_by, locked
    text: str
    symbols: tuple[str, ...]
    locks: bool


class Consistency(msgspec.Struct, frozen=True):
    """The profit target as the best day moves it (protocol page 6.1); today counts as a day."""

    total: Decimal
    best_day: Decimal
    needed: Decimal

    @property
    def is_met(self) -> bool:
        """With a dollar to spare: the venue's pages disagree on the exact figure."""
        return self.total >= self.needed + 1


class SizeCap(msgspec.Struct, frozen=True):
    """The most contracts that one rule allows, and which."""

    contracts: Decimal
    words: str


def smallest(caps: Iterator[SizeCap]) -> SizeCap | None:
    return min(caps, key=lambda cap: cap.contracts, default=None)
