"""The `prop_rules` part of config.json: a preset, and whatever of it is different for this account.

A key that is left out has the preset's value, one that is null switches its limit off.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from config.values import Amount, Part, number, pattern, text

Preset = Literal[
    "combine_50k", "combine_100k", "combine_150k", "xfa_50k", "xfa_100k", "xfa_150k", "practice"
]  # fmt: skip
Trailing = Literal["end_of_day", "intraday", "static"]

_TIME = r"([01]\d|2[0-3]):[0-5]\d"
_DATE = r"\d{4}-\d{2}-\d{2}"
Time = Annotated[str, pattern(f"^{_TIME}$", 'a time in Chicago such as "15:05"')]
Date = Annotated[str, pattern(f"^{_DATE}$", 'a date such as "2026-11-26"')]
Moment = Annotated[
    str, pattern(f"^({_DATE} )?{_TIME}$", 'a time in Chicago such as "07:30" (daily) or "2026-12-10 07:30"')
]
Balance = Annotated[Decimal, msgspec.Meta(extra_json_schema={"minimum": -1_000_000_000, "maximum": 1_000_000_000})]
NotNegative = Annotated[Decimal, msgspec.Meta(extra_json_schema={"minimum": 0, "maximum": 1_000_000_000})]
Share = Annotated[Decimal, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 100})]
Contracts = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Lead = Annotated[int, msgspec.Meta(ge=0, le=240)]
Span = Annotated[int, msgspec.Meta(ge=0, le=720)]
Names = Annotated[list[str], msgspec.Meta(min_length=1)]


class ScalingSettings(Part, frozen=True, kw_only=True):
    """One row of the scaling plan."""

    above: Annotated[Balance | None, text("End-of-day balance above which the row counts; null: always")]
    lots: Annotated[Amount, text("Most mini lots (10 micros each) of the whole account")]


class HoursSettings(Part, frozen=True, kw_only=True):
    """Other hours of some products, Chicago time."""

    products: Annotated[Names, text("Tickers or groups (metals, energy, ...)")]
    opens: Annotated[Time, text("Start of the session; later than flat_by: the evening before")]
    flat_by: Annotated[Time, text("When the venue liquidates")]
    pauses: Annotated[
        list[Annotated[str, pattern(f"^{_TIME}-{_TIME}$", 'a pause such as "07:45-08:30"')]],
        text("When nothing trades in between"),
    ] = []


class HolidaySettings(Part, frozen=True, kw_only=True):
    """A day that ends early or is none, in place of what the data file says."""

    date: Annotated[Date, text("The day the session ends on")]
    flat_by: Annotated[Time | None, text("Time in Chicago by which the venue wants it flat; null: closed all day")]
    products: Annotated[Names | None, text("Tickers or groups it holds for; null: all")] = None


class NewsSettings(Part, frozen=True, kw_only=True):
    """No entries around a piece of news. Both ends count."""

    at: Annotated[Moment, text("Chicago time: HH:MM for every day, YYYY-MM-DD HH:MM for once")]
    before_minutes: Annotated[Span, text("Minutes before it")] = 5
    after_minutes: Annotated[Span, text("Minutes after it")] = 5
    name: Annotated[str, text("What it is, for the log")] = "news"
    products: Annotated[Names | None, text("Tickers or groups it holds for; null: all")] = None


class PropSettings(Part, frozen=True, kw_only=True):
    """topstepx: what the bot holds the account to. All money in account currency, all times in Chicago."""

    preset: Annotated[Preset, text("The kind of account; every other key changes one of its figures")]
    # the account's own limits
    start_balance: Annotated[Balance | UnsetType, text("Balance the account began with; Express accounts: 0")] = UNSET
    max_loss_limit: Annotated[
        Amount | UnsetType | None, text("Maximum Loss Limit: distance of the floor below the highest balance")
    ] = UNSET
    trailing: Annotated[
        Trailing | UnsetType, text("What raises the floor: end_of_day balances, intraday equity, or nothing (static)")
    ] = UNSET
    payout_taken: Annotated[bool, text("Express: true from the first payout on, the floor is 0 then")] = False
    highest_eod_balance: Annotated[
        Balance | None, text("Highest end-of-day balance so far, from the dashboard; the bot keeps it from then on")
    ] = None
    daily_loss_limit: Annotated[
        Amount | UnsetType | None, text("Daily Loss Limit, open profit and fees counted; null: bought without one")
    ] = UNSET
    profit_target: Annotated[Amount | UnsetType | None, text("Profit target, for the display")] = UNSET
    consistency_pct: Annotated[
        Share | UnsetType | None, text("Most of the total profit one day may have made, percent, for the display")
    ] = UNSET
    best_day_profit: Annotated[NotNegative, text("Profit of the best day so far, from the dashboard")] = Decimal(0)
    # our own
    own_daily_loss: Annotated[
        Amount | None, text("Own daily loss limit since 5:00 PM: everything is closed and the day is over")
    ] = None
    own_daily_profit: Annotated[Amount | None, text("Own daily profit: the same, when it is reached")] = None
    safety_buffer: Annotated[
        NotNegative | UnsetType, text("Everything is closed when a limit of the venue is as near as this")
    ] = UNSET
    entry_buffer: Annotated[
        NotNegative | UnsetType, text("No entries when a limit of the venue is as near as this")
    ] = UNSET
    slippage_ticks: Annotated[
        Decimal, number("Ticks a contract may lose on the way out, taken off the equity", minimum=0, maximum=1000)
    ] = Decimal(4)
    max_price_age_s: Annotated[
        Decimal,
        number("Oldest price of a held contract, seconds; older: the equity is unknown", minimum=0.1, maximum=60),
    ] = Decimal(5)
    # how much
    max_position: Annotated[Amount | UnsetType | None, text("Most mini lots of the whole account")] = UNSET
    max_order_size: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None, text("Most contracts of one entry")
    ] = None
    scaling: Annotated[
        list[ScalingSettings] | UnsetType | None, text("Scaling plan by end-of-day balance, in place of the preset's")
    ] = UNSET
    product_caps: Annotated[
        dict[str, Contracts], text("Most contracts of a product, by ticker, in place of caps.json; 0: not allowed")
    ] = {}
    mini_weights: Annotated[dict[str, Share], text("Mini lots a contract counts for, by ticker")] = {}
    products: Annotated[Names | UnsetType | None, text("Permitted tickers, in place of products.json; null: all")] = (
        UNSET
    )
    round_turn_costs: Annotated[dict[str, NotNegative], text("All-in cost of a round turn, by ticker")] = {}
    # when
    flat_by: Annotated[Time | None, text("Own time to be flat by; early closes count where they are earlier")] = None
    no_entries_after: Annotated[Time | None, text("Own time of the last entry")] = None
    flat_lead_minutes: Annotated[Lead, text("Flat so many minutes before the venue liquidates: 15:05 on most days")] = 5
    entry_lead_minutes: Annotated[Lead, text("No entries so many minutes before it: from 15:00 on most days")] = 10
    hours: Annotated[list[HoursSettings], text("Other hours of some products")] = []
    holidays: Annotated[list[HolidaySettings], text("Days in place of those in holidays.json")] = []
    holidays_until: Annotated[Date | None, text("The last day the holidays are known for; no entries after it")] = None
    news_blackouts: Annotated[
        list[NewsSettings] | UnsetType | None, text("No entries around these, in place of news.json; null: none")
    ] = UNSET
