"""From the files of config/topstep/ and the `prop_rules` of config.json to the rules of the guard.

Every figure of the venue is in those files, each with its source and the day it was read; every one can be changed in
config.json, because the venue changes them faster than this program.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import UNSET

from config.prop_settings import HolidaySettings, HoursSettings, NewsSettings, Preset, PropSettings
from config.topstep_data import (
    CapsFile,
    FeesFile,
    HolidaysFile,
    NewsFile,
    PresetRow,
    PresetsFile,
    ProductsFile,
    ScalingFile,
    SessionsFile,
    read,
)
from core.prop_values import PropRules, ScalingStep
from core.sessions import Blackout, Holiday, Hours, Sessions, chicago_ms


def prop_rules(settings: PropSettings) -> PropRules:
    """The rules of this run: the preset's row, then whatever the user changed. Raises ConfigFault for a broken file."""
    row = preset_row(settings.preset)
    products = read("products", ProductsFile)
    caps = {symbol: by_size[row.size] for symbol, by_size in read("caps", CapsFile).caps.items()}
    permitted = _given(settings.products, products.symbols)
    return PropRules(
        preset=settings.preset,
        sessions=sessions(settings),
        **{name: _given(getattr(settings, name), getattr(row, name)) for name in _FROM_PRESET},
        payout_taken=settings.payout_taken,
        highest_eod_balance=settings.highest_eod_balance,
        best_day_profit=settings.best_day_profit,
        own_daily_loss=settings.own_daily_loss,
        own_daily_profit=settings.own_daily_profit,
        slippage_ticks=settings.slippage_ticks,
        max_price_age_ms=int(settings.max_price_age_s * 1000),
        max_order_size=None if settings.max_order_size is None else Decimal(settings.max_order_size),
        scaling=_scaling(settings, row),
        caps=caps | {symbol: Decimal(cap) for symbol, cap in settings.product_caps.items()},
        families=products.families,
        weights=products.weights | settings.mini_weights,
        products=tuple(permitted or ()),
        round_turn_costs=round_turn_costs() | settings.round_turn_costs,
        default_cost=read("fees", FeesFile).default_mini,
        blackouts=_blackouts(settings),
    )


_FROM_PRESET = (
    *("start_balance", "max_loss_limit", "trailing", "daily_loss_limit", "profit_target", "consistency_pct"),
    *("max_position", "safety_buffer", "entry_buffer"),
)


def preset_row(preset: Preset) -> PresetRow:
    return read("presets", PresetsFile).presets[preset]


def preset_of(account_name: str) -> Preset | None:
    """The preset an account's name speaks of (page 2.2: 50KTC-V2-..., PRAC-...); None: it says too little.

    The name of an Express account does not tell its size.
    """
    name = account_name.upper()
    if name.startswith("PRAC"):
        return "practice"
    starts: dict[str, Preset] = {"50KTC": "combine_50k", "100KTC": "combine_100k", "150KTC": "combine_150k"}
    return next((preset for start, preset in starts.items() if name.startswith(start)), None)


def doubt(settings: PropSettings, account_name: str) -> str | None:
    """What of the rules does not suit the account's name, in words for a warning."""
    named, name = preset_of(account_name), account_name.upper()
    if named is not None and named != settings.preset:
        return f"the account looks like {named}, prop_rules.preset is {settings.preset}"
    if name.startswith("EXPRESS") and not settings.preset.startswith("xfa"):
        return f"the account is an Express account, prop_rules.preset is {settings.preset}"
    if "-DLL-" in name and settings.daily_loss_limit is None:
        return "the account has a daily loss limit, prop_rules.daily_loss_limit is null"
    return None


def sessions(settings: PropSettings) -> Sessions:
    groups = read("products", ProductsFile).groups
    holidays = read("holidays", HolidaysFile)
    hours = {
        group: Hours(minute(row.opens), minute(row.flat_by), tuple((minute(a), minute(b)) for a, b in row.pauses))
        for group, row in read("sessions", SessionsFile).hours.items()
    }
    days = {
        day: Holiday(_minute(row.flat_by), {name: _minute(time) for name, time in row.products.items()})
        for day, row in holidays.days.items()
    }
    return Sessions(
        hours=hours | {name: _hours(own) for own in settings.hours for name in own.products},
        groups={symbol: group for group, symbols in groups.items() for symbol in symbols},
        holidays=_with_own(days, settings.holidays),
        known_until=settings.holidays_until or holidays.until,
        flat_lead=settings.flat_lead_minutes,
        entry_lead=settings.entry_lead_minutes,
        flat_by=_minute(settings.flat_by),
        no_entries_after=_minute(settings.no_entries_after),
    )


def minute(time: str) -> int:
    """Minute of the day of "15:05"."""
    return int(time[:2]) * 60 + int(time[3:])


def _minute(time: str | None) -> int | None:
    return None if time is None else minute(time)


def _given(own: Any, preset: Any) -> Any:
    """The user's value, which may be null; without one the preset's."""
    return preset if own is UNSET else own


def _scaling(settings: PropSettings, row: PresetRow) -> tuple[ScalingStep, ...]:
    if settings.scaling is UNSET:
        return read("scaling", ScalingFile).steps[row.size] if row.scaling else ()
    return tuple(ScalingStep(step.above, step.lots) for step in settings.scaling or ())


def round_turn_costs() -> dict[str, Decimal]:
    """Every permitted product's, by symbol; the dearest known one of its kind where nothing is known."""
    fees, products = read("fees", FeesFile), read("products", ProductsFile)
    micros = {symbol: fees.default_micro for symbol, weight in products.weights.items() if weight < 1}
    return {symbol: fees.round_turn.get(symbol, micros.get(symbol, fees.default_mini)) for symbol in products.symbols}


def _hours(own: HoursSettings) -> Hours:
    pauses = tuple((minute(pause[:5]), minute(pause[6:])) for pause in own.pauses)
    return Hours(minute(own.opens), minute(own.flat_by), pauses)


def _with_own(days: Mapping[str, Holiday], own: list[HolidaySettings]) -> dict[str, Holiday]:
    """The days of the file, then the user's: one for all products replaces the whole day, others a part of it."""
    merged = dict(days)
    for holiday in own:
        time = _minute(holiday.flat_by)
        if holiday.products is None:
            merged[holiday.date] = Holiday(time)
            continue
        before = merged.get(holiday.date, Holiday(24 * 60))
        products = before.products | dict.fromkeys(holiday.products, time)
        merged[holiday.date] = Holiday(before.flat_by, products)
    return merged


def _blackouts(settings: PropSettings) -> tuple[Blackout, ...]:
    own = settings.news_blackouts
    rows = read("news", NewsFile).blackouts if own is UNSET else own or []
    return tuple(_blackout(row) for row in rows)


def _blackout(row: NewsSettings) -> Blackout:
    time = minute(row.at[-5:])
    is_daily = len(row.at) == 5
    return Blackout(
        name=row.name,
        before_ms=row.before_minutes * 60_000,
        after_ms=row.after_minutes * 60_000,
        minute=time if is_daily else None,
        at_ms=None if is_daily else chicago_ms(row.at[:10], time),
        products=None if row.products is None else tuple(row.products),
    )
