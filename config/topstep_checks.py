"""Cross checks of what only TopstepX knows: hubs, brackets, whole contracts, and the prop-firm rules.

Like `checks.py`, it works on the raw JSON and looks only at parts of the right shape.
"""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, TypeGuard, get_args

from config.faults import did_you_mean, show
from config.prop import minute, preset_row
from config.prop_settings import Preset
from config.topstep_data import PresetRow, ProductsFile, SessionsFile, read

ONLY_TOPSTEPX = ("hubs", "brackets", "prop_rules")
MONTH_CODE = re.compile(r"([A-Z0-9]{1,4})[FGHJKMNQUVXZ]\d{1,2}")
TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def topstep_faults(raw: dict[str, Any]) -> Iterator[str]:
    if raw.get("venue") == "hyperliquid":
        for key in ONLY_TOPSTEPX:
            if raw.get(key) is not None:
                yield f'{key}: belongs to venue "topstepx", must be left out for "hyperliquid"'
    if raw.get("venue") != "topstepx":
        return
    if raw.get("network") == "live" and raw.get("dry_run") is False and "prop_rules" not in raw:
        yield 'prop_rules: is missing, must be an object such as {"preset": "combine_50k"}, or null for no guard'
    markets = raw.get("markets")
    for index, market in enumerate(markets if isinstance(markets, list) else []):
        if isinstance(market, dict):
            yield from _market_faults(market, f"markets[{index}]", raw)
    rules = raw.get("prop_rules")
    if isinstance(rules, dict):
        yield from _rules_faults(rules)


def _market_faults(market: dict[str, Any], path: str, raw: dict[str, Any]) -> Iterator[str]:
    if market.get("leverage") is not None:
        yield f'{path}.leverage = {show(market["leverage"])}: must be null for venue "topstepx", futures have none'
    size = market.get("size")
    for key in ("quantity", "max_quantity"):
        value = size.get(key) if isinstance(size, dict) else None
        number = _number(value)
        if number is not None and (number < 1 or number != number.to_integral_value()):
            yield f"{path}.size.{key} = {show(value)}: must be whole contracts, 1 or more"
    if isinstance(market.get("symbol"), str):
        yield from _symbol_faults(market["symbol"], path, raw)


def _symbol_faults(symbol: str, path: str, raw: dict[str, Any]) -> Iterator[str]:
    known = read("products", ProductsFile).symbols
    month = MONTH_CODE.fullmatch(symbol)
    if symbol.startswith("CON.") or (month and symbol not in known):
        ticker = f': "{month[1]}"' if month else ', such as "MGC"'
        yield f"{path}.symbol = {show(symbol)}: must be the ticker without its month{ticker}; the bot finds the month"
        return
    rules = raw.get("prop_rules")
    if not isinstance(rules, dict):
        return
    own = rules.get("products", known)
    permitted = own if isinstance(own, list) else None
    if permitted is not None and symbol not in permitted:
        near = did_you_mean(symbol, [name for name in permitted if isinstance(name, str)])
        yield f"{path}.symbol = {show(symbol)}: is not a product that prop_rules permits{near}"


def _rules_faults(rules: dict[str, Any]) -> Iterator[str]:
    yield from _time_faults(rules)
    yield from _date_faults(rules)
    yield from _name_faults(rules)
    preset = next((name for name in get_args(Preset) if name == rules.get("preset")), None)
    if preset is not None:
        yield from _money_faults(rules, preset_row(preset))
        if rules.get("payout_taken") is True and not preset.startswith("xfa"):
            yield f"prop_rules.payout_taken = true: only Express accounts (xfa_...) pay out, preset is {show(preset)}"


def _money_faults(rules: dict[str, Any], row: PresetRow) -> Iterator[str]:
    def figure(key: str) -> Decimal | None:
        return _number(rules[key]) if key in rules else getattr(row, key, None)

    most, daily, start = figure("max_loss_limit"), figure("daily_loss_limit"), figure("start_balance")
    safety, entry = figure("safety_buffer"), figure("entry_buffer")
    own, highest = figure("own_daily_loss"), figure("highest_eod_balance")
    for name, limit in (("max_loss_limit", most), ("daily_loss_limit", daily)):
        if safety is not None and limit is not None and 0 < limit <= safety:
            yield f"prop_rules.safety_buffer = {_plain(safety)}: must be below {name} = {_plain(limit)}"
    if safety is not None and entry is not None and entry < safety:
        yield f"prop_rules.entry_buffer = {_plain(entry)}: must not be below safety_buffer = {_plain(safety)}"
    if own is not None and daily is not None and own > daily:
        yield f"prop_rules.own_daily_loss = {_plain(own)}: must not be above daily_loss_limit = {_plain(daily)}"
    if highest is not None and start is not None and highest < start:
        yield (
            f"prop_rules.highest_eod_balance = {_plain(highest)}: must not be below start_balance = {_plain(start)},"
            " where it begins"
        )


def _time_faults(rules: dict[str, Any]) -> Iterator[str]:
    """Own times later than what the venue's time and the leads allow would have no effect: say so."""
    latest = max(minute(row.flat_by) for row in read("sessions", SessionsFile).hours.values())
    flat_by, until = rules.get("flat_by"), rules.get("no_entries_after")
    for key, time, lead_key, lead in (
        ("flat_by", flat_by, "flat_lead_minutes", 5),
        ("no_entries_after", until, "entry_lead_minutes", 10),
    ):
        lead = rules.get(lead_key, lead)
        if _is_time(time) and isinstance(lead, int) and minute(time) > latest - lead:
            shown = f"{(latest - lead) // 60:02}:{(latest - lead) % 60:02}"
            yield f"prop_rules.{key} = {show(time)}: must not be after {shown}; {lead_key} = {lead} closes the day then"
    if _is_time(flat_by) and _is_time(until) and minute(until) > minute(flat_by):
        yield f"prop_rules.no_entries_after = {show(until)}: must not be after flat_by = {show(flat_by)}"


def _date_faults(rules: dict[str, Any]) -> Iterator[str]:
    dates = [("holidays_until", rules.get("holidays_until"))]
    dates += [(f"holidays[{index}].date", row.get("date")) for index, row in _rows(rules, "holidays")]
    dates += [
        (f"news_blackouts[{index}].at", row["at"][:10])
        for index, row in _rows(rules, "news_blackouts")
        if isinstance(row.get("at"), str) and len(row["at"]) > 10
    ]
    for path, text in dates:
        if isinstance(text, str) and not _is_date(text):
            yield f"prop_rules.{path} = {show(text)}: there is no such day"


def _name_faults(rules: dict[str, Any]) -> Iterator[str]:
    """Tickers and groups that nobody knows have no effect: a misspelt one must not go unseen."""
    products = read("products", ProductsFile)
    own = rules.get("products")
    tickers = [*products.symbols, *(name for name in (own if isinstance(own, list) else []) if isinstance(name, str))]
    for key in ("product_caps", "mini_weights", "round_turn_costs"):
        names = rules.get(key)
        for name in names if isinstance(names, dict) else []:
            if name not in tickers:
                yield f"prop_rules.{key}: {show(name)} is no known ticker{did_you_mean(name, tickers)}"
    both = [*tickers, *products.groups]
    for key in ("hours", "holidays", "news_blackouts"):
        for index, row in _rows(rules, key):
            names = row.get("products")
            for name in names if isinstance(names, list) else []:
                if isinstance(name, str) and name not in both:
                    path = f"prop_rules.{key}[{index}].products"
                    yield f"{path} = {show(name)}: is no known ticker or group{did_you_mean(name, both)}"


def _rows(rules: dict[str, Any], key: str) -> list[tuple[int, dict[str, Any]]]:
    rows = rules.get(key)
    return [(index, row) for index, row in enumerate(rows if isinstance(rows, list) else []) if isinstance(row, dict)]


def _number(value: Any) -> Decimal | None:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    number = Decimal(value) if is_number else None
    return number if number is not None and number.is_finite() else None


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f")


def _is_time(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and TIME.fullmatch(value) is not None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
