"""Chicago's clock: trading days, sessions, early closes, changes of the clocks, news."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from config.prop import prop_rules
from config.prop_settings import PropSettings
from core import sessions as hours
from core.sessions import Blackout, Hours, Sessions, chicago_ms, day_ends_ms, next_day, trading_day, window


def ct(text: str) -> int:
    """UTC ms of Chicago's wall clock, independently of the code under test."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/Chicago")).timestamp() * 1000)


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


def sessions(**keys: Any) -> Sessions:
    settings = msgspec.convert({"preset": "combine_50k"} | keys, PropSettings)
    return prop_rules(settings).sessions


@pytest.mark.parametrize(
    "instant, day",
    [
        ("2026-11-24 16:59:59.999", "2026-11-24"),
        ("2026-11-24 17:00:00", "2026-11-25"),  # the instant itself belongs to the new day
        ("2026-11-25 00:00:00", "2026-11-25"),
        ("2026-11-20 16:59:59.999", "2026-11-20"),  # Friday
        ("2026-11-20 17:00:00", "2026-11-23"),
        ("2026-11-21 12:00:00", "2026-11-23"),
        ("2026-11-22 16:59:59.999", "2026-11-23"),
        ("2026-11-22 17:00:00", "2026-11-23"),
        ("2026-12-31 17:00:00", "2027-01-01"),
        ("2026-11-26 17:00:00", "2026-11-27"),  # Thanksgiving's evening: merged by the exchange, not by Topstep
    ],
)
def test_trading_day(instant: str, day: str) -> None:
    assert trading_day(ct(instant)) == day
    assert day_ends_ms(day) > ct(instant)
    assert trading_day(day_ends_ms(day)) == next_day(day)
    assert trading_day(day_ends_ms(day) - 1) == day


@pytest.mark.parametrize(
    "day, opens, flat_by, closes",
    [
        ("2026-03-06", "2026-03-05 23:00", "2026-03-06 21:05", "2026-03-06 21:10"),  # Friday, winter: UTC-6
        ("2026-03-09", "2026-03-08 22:00", "2026-03-09 20:05", "2026-03-09 20:10"),  # the clocks went on that Sunday
        ("2026-10-30", "2026-10-29 22:00", "2026-10-30 20:05", "2026-10-30 20:10"),
        ("2026-11-02", "2026-11-01 23:00", "2026-11-02 21:05", "2026-11-02 21:10"),  # and back on this one
    ],
)
def test_the_clocks_change(day: str, opens: str, flat_by: str, closes: str) -> None:
    session = window(sessions(), "MGC", utc(closes) - 1)
    assert session.day == day
    assert (session.opens_ms, session.flat_by_ms, session.closes_ms) == (utc(opens), utc(flat_by), utc(closes))


def test_a_day_lasts_longer_when_the_clocks_go_back() -> None:
    assert day_ends_ms("2026-11-02") - day_ends_ms("2026-10-30") == (72 + 1) * 3_600_000
    assert day_ends_ms("2026-03-09") - day_ends_ms("2026-03-06") == (72 - 1) * 3_600_000
    assert chicago_ms("2026-11-02", -420) == ct("2026-11-01 17:00")


OPEN = [
    ("MGC", "2026-11-23 17:00:00", True),
    ("MGC", "2026-11-23 16:59:59.999", False),
    ("MGC", "2026-11-24 15:09:59.999", True),
    ("MGC", "2026-11-24 15:10:00", False),  # quotes flow until 16:00, orders fail
    ("MGC", "2026-11-22 16:59:59.999", False),  # Sunday
    ("MGC", "2026-11-22 17:00:00", True),
    ("MGC", "2026-11-20 17:00:00", False),  # Friday evening
    ("MGC", "2026-11-26 11:44:59.999", True),  # Thanksgiving
    ("MGC", "2026-11-26 11:45:00", False),
    ("MGC", "2026-11-26 17:00:00", True),
    ("MGC", "2026-11-27 12:00:00", False),
    ("MES", "2026-04-03 07:59:59.999", True),  # Good Friday
    ("MES", "2026-04-03 08:00:00", False),
    ("MES", "2026-12-24 11:59:59.999", True),
    ("MES", "2026-12-24 12:00:00", False),
    ("MES", "2026-12-24 17:00:00", False),  # Christmas Day is no trading day
    ("MES", "2026-12-25 12:00:00", False),
    ("MES", "2026-12-27 16:59:59.999", False),
    ("MES", "2026-12-27 17:00:00", True),
    ("MES", "2026-12-31 17:00:00", False),
    ("ZC", "2026-11-23 18:59:59.999", False),
    ("ZC", "2026-11-23 19:00:00", True),
    ("ZC", "2026-11-24 07:44:59.999", True),
    ("ZC", "2026-11-24 07:45:00", False),  # the pause
    ("ZC", "2026-11-24 08:30:00", True),
    ("ZC", "2026-11-24 13:19:59.999", True),
    ("ZC", "2026-11-24 13:20:00", False),
    ("ZC", "2026-11-26 10:00:00", False),  # closed on Thanksgiving
    ("LE", "2026-11-24 08:29:59.999", False),
    ("LE", "2026-11-24 08:30:00", True),
    ("LE", "2026-11-24 13:04:59.999", True),
    ("LE", "2026-11-24 13:05:00", False),
    ("XYZ", "2026-11-24 08:29:59.999", False),  # unknown: the latest opening, the earliest close
    ("XYZ", "2026-11-24 08:30:00", True),
    ("XYZ", "2026-11-24 13:05:00", False),
    ("XYZ", "2026-11-26 10:00:00", False),
]


@pytest.mark.parametrize("symbol, instant, expected", OPEN)
def test_is_open(symbol: str, instant: str, expected: bool) -> None:
    assert hours.is_open(sessions(), symbol, ct(instant)) is expected


@pytest.mark.parametrize(
    "symbol, day, entries_until, flat_by",
    [
        ("MGC", "2026-11-24", "15:00", "15:05"),
        ("MGC", "2026-11-26", "11:35", "11:40"),
        ("MGC", "2026-04-03", "07:50", "07:55"),
        ("ZS", "2026-11-24", "13:10", "13:15"),
        ("HE", "2026-11-24", "12:55", "13:00"),
        ("XYZ", "2026-11-24", "12:55", "13:00"),
        ("HE", "2026-11-27", "11:50", "11:55"),  # the earlier of the day's and the product's
    ],
)
def test_own_times_before_the_venue_s(symbol: str, day: str, entries_until: str, flat_by: str) -> None:
    noon = ct(f"{day} 12:00")
    assert hours.entries_until_ms(sessions(), symbol, noon) == ct(f"{day} {entries_until}")
    assert hours.flat_by_ms(sessions(), symbol, noon) == ct(f"{day} {flat_by}")


def test_own_times_in_the_config() -> None:
    own = sessions(flat_by="14:30", no_entries_after="14:00")
    assert hours.flat_by_ms(own, "MGC", ct("2026-11-24 12:00")) == ct("2026-11-24 14:30")
    assert hours.entries_until_ms(own, "MGC", ct("2026-11-24 12:00")) == ct("2026-11-24 14:00")
    assert hours.flat_by_ms(own, "MGC", ct("2026-11-26 11:00")) == ct("2026-11-26 11:40")  # the early close counts
    only_flat = sessions(flat_by="14:30")  # no entry may outlive the time to be flat by
    assert hours.entries_until_ms(only_flat, "MGC", ct("2026-11-24 12:00")) == ct("2026-11-24 14:30")
    leads = sessions(flat_lead_minutes=0, entry_lead_minutes=2)
    assert hours.flat_by_ms(leads, "MGC", ct("2026-11-24 12:00")) == ct("2026-11-24 15:10")
    assert hours.entries_until_ms(leads, "MGC", ct("2026-11-24 12:00")) == ct("2026-11-24 15:08")


def test_a_holiday_of_the_config_for_one_product_or_for_all() -> None:
    metals = sessions(holidays=[{"date": "2026-11-26", "flat_by": "13:15", "products": ["MGC"]}])
    assert window(metals, "MGC", ct("2026-11-26 10:00")).closes_ms == ct("2026-11-26 13:15")
    assert window(metals, "GC", ct("2026-11-26 10:00")).closes_ms == ct("2026-11-26 11:45")  # the earliest by default
    assert not hours.is_open(metals, "ZC", ct("2026-11-26 10:00"))
    group = sessions(holidays=[{"date": "2026-12-07", "flat_by": "10:00", "products": ["metals"]}])
    assert window(group, "GC", ct("2026-12-07 09:00")).closes_ms == ct("2026-12-07 10:00")
    assert window(group, "MES", ct("2026-12-07 09:00")).closes_ms == ct("2026-12-07 15:10")
    closed = sessions(holidays=[{"date": "2026-12-07", "flat_by": None}])
    assert not hours.is_open(closed, "MES", ct("2026-12-06 18:00"))
    whole = sessions(holidays=[{"date": "2026-11-26", "flat_by": "15:10"}])
    assert hours.is_open(whole, "ZC", ct("2026-11-26 10:00"))


def test_hours_of_the_config() -> None:
    own = sessions(hours=[{"products": ["MGC"], "opens": "18:00", "flat_by": "14:00", "pauses": ["09:00-09:15"]}])
    assert not hours.is_open(own, "MGC", ct("2026-11-23 17:59"))
    assert hours.is_open(own, "MGC", ct("2026-11-23 18:00"))
    assert not hours.is_open(own, "MGC", ct("2026-11-24 09:00"))
    assert hours.flat_by_ms(own, "MGC", ct("2026-11-24 09:00")) == ct("2026-11-24 13:55")
    assert hours.is_open(own, "GC", ct("2026-11-23 17:00"))


def test_the_calendar_ends() -> None:
    assert not hours.is_calendar_over(sessions(), ct("2027-12-31 10:00"))
    assert hours.is_calendar_over(sessions(), ct("2027-12-31 17:00"))
    assert hours.is_calendar_over(sessions(holidays_until="2026-11-24"), ct("2026-11-25 10:00"))


def test_strictest_of_evening_sessions_is_an_evening_session() -> None:
    assert hours.strictest([Hours(1020, 910), Hours(1140, 900, ((465, 510),))]) == Hours(1140, 900, ((465, 510),))


@pytest.mark.parametrize(
    "instant, expected",
    [
        ("2026-11-24 07:24:59.999", False),
        ("2026-11-24 07:25:00", True),
        ("2026-11-24 07:35:00", True),
        ("2026-11-24 07:35:00.001", False),
        ("2026-11-22 07:30:00", True),  # every day
        ("2026-07-14 07:30:00", True),  # also in summer
    ],
)
def test_daily_news(instant: str, expected: bool) -> None:
    assert Blackout("CPI", 300_000, 300_000, minute=450).covers(ct(instant)) is expected


def test_news_once_and_around_midnight() -> None:
    once = Blackout("FOMC", 60_000, 600_000, at_ms=ct("2026-12-09 13:00"))
    assert [once.covers(ct(f"2026-12-09 {time}")) for time in ("12:58:59", "12:59", "13:10", "13:10:01")] == [
        False, True, True, False,
    ]  # fmt: skip
    assert not once.covers(ct("2026-12-10 13:00"))
    midnight = Blackout("x", 600_000, 600_000, minute=0)
    assert midnight.covers(ct("2026-12-09 23:50")) and midnight.covers(ct("2026-12-10 00:10"))
    assert not Blackout("never", 1, 1).covers(0)
