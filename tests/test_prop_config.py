"""The data files of config/topstep/ against the protocol page, and what config.json may change of them."""

import json
from datetime import date
from decimal import Decimal as D
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from config import topstep_data
from config.faults import ConfigFault
from config.prop import doubt, preset_of, preset_row, prop_rules
from config.prop_settings import Preset, PropSettings
from config.topstep_data import FOLDER, CapsFile, FeesFile, HolidaysFile, ProductsFile, read
from core.prop_values import PropRules

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data" / "topstepx" / "Contract_available.json"


def settings(preset: str = "combine_50k", **keys: Any) -> PropSettings:
    return msgspec.convert({"preset": preset} | keys, PropSettings)


def rules(preset: str = "combine_50k", **keys: Any) -> PropRules:
    return prop_rules(settings(preset, **keys))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_every_file_names_its_source_and_its_day(path: Path) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["source"] and all(source.startswith("https://") for source in data["source"])
    assert date(2026, 9, 1) <= date.fromisoformat(data["captured"]) and data["notes"]


@pytest.mark.parametrize(
    "size, start, most, daily, target, lots",
    [("50k", 50_000, 2_000, 1_000, 3_000, 5), ("100k", 100_000, 3_000, 2_000, 6_000, 10),
     ("150k", 150_000, 4_500, 3_000, 9_000, 15)],
)  # fmt: skip
def test_presets_are_the_page_s(size: str, start: int, most: int, daily: int, target: int, lots: int) -> None:
    combine, express = rules(f"combine_{size}"), rules(f"xfa_{size}")
    for guard in (combine, express):
        assert (guard.max_loss_limit, guard.daily_loss_limit, guard.max_position) == (most, daily, lots)
        assert guard.trailing == "end_of_day" and 0 < guard.safety_buffer < guard.entry_buffer < most
    assert (combine.start_balance, combine.profit_target, combine.consistency_pct) == (start, target, 55)
    assert (express.start_balance, express.profit_target, express.consistency_pct) == (0, None, None)
    assert express.scaling and not combine.scaling


def test_the_practice_account_has_no_limits_of_its_own() -> None:
    guard = rules("practice")
    assert (guard.max_loss_limit, guard.daily_loss_limit, guard.start_balance) == (None, None, 150_000)
    rehearsal = rules("practice", max_loss_limit=2000, daily_loss_limit=1000)
    assert (rehearsal.max_loss_limit, rehearsal.daily_loss_limit) == (2000, 1000)


def test_costs_of_a_round_turn() -> None:
    """The page's cross-check: a side is the recorded fee plus commission."""
    guard = rules()
    assert guard.side_cost("MNQ") == D("0.36") + D("0.25")
    assert guard.side_cost("MGC") == D("0.71") + D("0.25")
    assert guard.side_cost("MCL") == D("0.86")  # since October 2026
    assert guard.side_cost("ES") * 2 == D("3.78")
    dearest = max(read("fees", FeesFile).round_turn.values())
    assert guard.round_turn_costs["NKD"] == guard.default_cost == dearest  # nobody told us: the dearest
    assert guard.round_turn_costs["M6A"] == D("2.82")
    assert set(read("products", ProductsFile).symbols) <= set(guard.round_turn_costs)


def test_holidays_are_weekdays_within_the_calendar() -> None:
    calendar = read("holidays", HolidaysFile)
    days = [date.fromisoformat(day) for day in calendar.days]
    assert days == sorted(days) and all(day.weekday() < 5 for day in days)
    assert days[-1] <= date.fromisoformat(calendar.until)
    assert {day.year for day in days} == {2026, 2027}


def test_names_agree_between_the_files() -> None:
    products = read("products", ProductsFile)
    symbols = products.symbols
    assert len(symbols) == len(set(symbols)) == 51
    assert set(products.weights) | set(products.families) | set(read("caps", CapsFile).caps) <= set(symbols)
    assert set(products.groups) == set(rules().sessions.hours)
    assert set(read("fees", FeesFile).round_turn) <= set(symbols)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded catalogue is not here")
def test_the_product_list_is_the_venue_s_catalogue() -> None:
    names = [row["name"] for row in json.loads(RECORDED.read_bytes())["contracts"]]
    tickers = {name[:-2] for name in names}
    assert set(read("products", ProductsFile).symbols) == tickers


def test_every_figure_can_be_changed() -> None:
    changed: dict[str, Any] = {
        "start_balance": 1, "max_loss_limit": 2, "trailing": "static", "payout_taken": True, "highest_eod_balance": 3,
        "daily_loss_limit": 4, "profit_target": 5, "consistency_pct": 40, "best_day_profit": 6, "own_daily_loss": 7,
        "own_daily_profit": 8, "safety_buffer": 9, "entry_buffer": 10, "slippage_ticks": 11, "max_position": 12,
        "max_order_size": 13,
    }  # fmt: skip
    guard = rules(max_price_age_s=2.5, **changed)
    assert {name: getattr(guard, name) for name in changed} == changed
    assert guard.max_price_age_ms == 2500
    maps = rules(product_caps={"MGC": 5}, mini_weights={"MGC": 1}, round_turn_costs={"MGC": 9}, products=["MGC"])
    assert (maps.caps["MGC"], maps.weight("MGC"), maps.side_cost("MGC")) == (5, 1, D("4.5"))
    assert maps.caps["GC"] == 3 and maps.products == ("MGC",)
    off = rules(max_loss_limit=None, daily_loss_limit=None, max_position=None, products=None, news_blackouts=None)
    assert (off.max_loss_limit, off.daily_loss_limit, off.max_position) == (None, None, None)
    assert (off.products, off.blackouts) == ((), ())


@pytest.mark.parametrize(
    "name, expected",
    [
        ("PRAC-V2-100001-12345678", "practice"),
        ("50KTC-V2-DLL-1-2", "combine_50k"),
        ("100ktc-v2-1-2", "combine_100k"),
        ("150KTC-V2-1-2", "combine_150k"),
        ("EXPRESS-V2-1-2", None),
        ("20000001", None),
    ],
)
def test_what_an_account_s_name_tells(name: str, expected: str | None) -> None:
    assert preset_of(name) == expected


@pytest.mark.parametrize(
    "name, keys, expected",
    [
        ("50KTC-V2-1-2", {}, None),
        ("100KTC-V2-1-2", {}, "the account looks like combine_100k, prop_rules.preset is combine_50k"),
        ("PRAC-V2-1-2", {}, "the account looks like practice"),
        ("EXPRESS-V2-1-2", {}, "the account is an Express account, prop_rules.preset is combine_50k"),
        ("EXPRESS-V2-CT-1", {"preset": "xfa_100k"}, None),
        ("50KTC-V2-DLL-1-2", {}, None),
        ("50KTC-V2-DLL-1-2", {"daily_loss_limit": None}, "the account has a daily loss limit"),
        ("50KTC-V2-1-2", {"daily_loss_limit": None}, None),
        ("20000001", {}, None),
    ],
)
def test_rules_that_do_not_suit_the_account(name: str, keys: dict[str, Any], expected: str | None) -> None:
    found = doubt(settings(**keys), name)
    assert (found is None) if expected is None else (found is not None and expected in found)


@pytest.mark.parametrize(
    "name, old, new, expected",
    [
        ("caps", '"50k": 30,', "", "no row for 50k"),
        ("presets", '"practice": {', '"practise": {', "Invalid enum value"),
        ("scaling", '"50k"', '"51k"', "Invalid enum value"),
        ("sessions", '"15:10"', '"15.10"', "Expected `str` matching regex"),
        ("holidays", '"2026-01-01"', '"1 Jan 2026"', "Expected `str` matching regex"),
        ("fees", '"MES": 1.22', '"MES": "x"', "Invalid decimal"),
        ("products", '"groups"', '"group"', "unknown field"),
        ("news", "{", "", "Expected `object`"),
    ],
)
def test_a_broken_data_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str, expected: str
) -> None:
    for path in FOLDER.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert path.stem != name or old in text
        text = text.replace(old, new, 1) if path.stem == name else text
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(topstep_data, "FOLDER", tmp_path)
    read.cache_clear()
    try:
        with pytest.raises(ConfigFault) as caught:
            rules("xfa_50k")
    finally:
        monkeypatch.undo()
        read.cache_clear()
    assert f"{name}.json: " in caught.value.lines[0] and expected in caught.value.lines[0]


def test_a_row_for_every_preset() -> None:
    assert all(preset_row(preset) for preset in get_args(Preset))
