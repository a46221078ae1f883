"""When a product trades and by when it must be flat: Chicago's clock, with its daylight saving and its holidays. Pure.

A trading day begins at 5:00 PM in Chicago and bears the date it ends on; from Friday 5:00 PM on it is Monday's.
Sources of the times: config/topstep/, protocol page 6.6.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

CHICAGO = ZoneInfo("America/Chicago")
DAY_MINUTES = 1_440
DAY_BEGINS = 17 * 60  # minutes of the Chicago day
MINUTE_MS = 60_000


class Hours(msgspec.Struct, frozen=True):
    """One product's trading day, in minutes of the Chicago day."""

    opens: int  # later than flat_by: of the evening before
    flat_by: int  # when the venue liquidates
    pauses: tuple[tuple[int, int], ...] = ()  # of the day itself; nothing trades from the first minute to the second


class Holiday(msgspec.Struct, frozen=True):
    """A day that ends early (minute of the Chicago day by which to be flat), or is none at all (None)."""

    flat_by: int | None
    products: dict[str, int | None] = {}  # by symbol or group, where one differs


class Sessions(msgspec.Struct, frozen=True):
    hours: dict[str, Hours]  # by group, and by symbol where one differs from its group
    groups: dict[str, str]  # symbol -> group
    holidays: dict[str, Holiday] = {}  # by trading day, "2026-11-26"
    known_until: str = "9999-12-31"  # the last trading day the holidays are known for
    flat_lead: int = 5  # minutes before the venue's time
    entry_lead: int = 10
    flat_by: int | None = None  # own times of every day, where they are earlier
    no_entries_after: int | None = None


class Window(msgspec.Struct, frozen=True, gc=False):
    """The session of one product on one trading day, UTC ms. A day without one has all four times alike."""

    day: str
    opens_ms: int
    entries_until_ms: int  # no entry from here on
    flat_by_ms: int  # flat from here on
    closes_ms: int  # the venue liquidates
    pauses: tuple[tuple[int, int], ...]

    def is_open(self, ms: int) -> bool:
        """Whether orders are taken; our own, earlier times do not count here."""
        return self.opens_ms <= ms < self.closes_ms and not any(start <= ms < end for start, end in self.pauses)


class Blackout(msgspec.Struct, frozen=True):
    """No entries around a piece of news: every day at a minute of Chicago's day, or once at an instant."""

    name: str
    before_ms: int
    after_ms: int
    minute: int | None = None
    at_ms: int | None = None
    products: tuple[str, ...] | None = None  # symbols or groups; None: all

    def covers(self, ms: int) -> bool:
        """Both ends count."""
        return any(at - self.before_ms <= ms <= at + self.after_ms for at in self._instants(ms))

    def _instants(self, ms: int) -> list[int]:
        if self.minute is None:
            return [] if self.at_ms is None else [self.at_ms]
        day = datetime.fromtimestamp(ms // 1000, CHICAGO).date().isoformat()
        return [chicago_ms(day, self.minute + days * DAY_MINUTES) for days in (-1, 0, 1)]


def trading_day(ms: int) -> str:
    """The trading day of an instant, "2026-11-26"; break, weekend and holiday belong to a day too."""
    return _day_at(ms // MINUTE_MS)


@lru_cache(maxsize=64)
def _day_at(minute: int) -> str:
    local = datetime.fromtimestamp(minute * 60, CHICAGO)
    day = local.date() + timedelta(days=local.hour * 60 + local.minute >= DAY_BEGINS)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    return day.isoformat()


def next_day(day: str) -> str:
    """The trading day after `day`; holidays count, weekends do not."""
    after = date.fromisoformat(day) + timedelta(days=1)
    while after.weekday() >= 5:
        after += timedelta(days=1)
    return after.isoformat()


def day_ends_ms(day: str) -> int:
    """The instant at which the next trading day begins: 5:00 PM in Chicago."""
    return chicago_ms(day, DAY_BEGINS)


@lru_cache(maxsize=4096)
def chicago_ms(day: str, minute: int) -> int:
    """UTC ms of a minute of Chicago's calendar day; a negative minute is of the day before.

    The day before is meant by the calendar: 5:00 PM stays 5:00 PM across a change of the clocks.
    """
    days, minute = divmod(minute, DAY_MINUTES)
    local = datetime.combine(date.fromisoformat(day) + timedelta(days=days), datetime.min.time(), CHICAGO)
    return int(local.replace(hour=minute // 60, minute=minute % 60).astimezone(UTC).timestamp()) * 1000


def window(sessions: Sessions, symbol: str, ms: int) -> Window:
    """The session of `symbol` on the trading day of this instant."""
    day = trading_day(ms)
    hours = hours_of(sessions, symbol)
    flat_by = _flat_by(sessions, symbol, hours, day)
    opens = hours.opens - DAY_MINUTES if hours.opens > hours.flat_by else hours.opens
    if flat_by is None or flat_by <= opens:
        start_ms = chicago_ms(day, DAY_BEGINS - DAY_MINUTES)
        return Window(day, start_ms, start_ms, start_ms, start_ms, ())
    own_flat = _earliest(flat_by - sessions.flat_lead, sessions.flat_by)
    until = _earliest(min(flat_by - sessions.entry_lead, own_flat), sessions.no_entries_after)
    return Window(
        day=day,
        opens_ms=chicago_ms(day, opens),
        entries_until_ms=chicago_ms(day, until),
        flat_by_ms=chicago_ms(day, own_flat),
        closes_ms=chicago_ms(day, flat_by),
        pauses=tuple((chicago_ms(day, start), chicago_ms(day, end)) for start, end in hours.pauses),
    )


def is_open(sessions: Sessions, symbol: str, ms: int) -> bool:
    return window(sessions, symbol, ms).is_open(ms)


def entries_until_ms(sessions: Sessions, symbol: str, ms: int) -> int:
    """No entry on this trading day from this instant on."""
    return window(sessions, symbol, ms).entries_until_ms


def flat_by_ms(sessions: Sessions, symbol: str, ms: int) -> int:
    """The instant by which we want out on this trading day; it may have passed."""
    return window(sessions, symbol, ms).flat_by_ms


def is_late(sessions: Sessions, symbol: str, ms: int) -> bool:
    """Whether nothing may be held: from flat-by on, and before the session opens (a weekend, a night of the meats).

    When an unknown product opens we do not know: for it only the weekend counts.
    """
    session = window(sessions, symbol, ms)
    opens_ms = session.opens_ms if is_known(sessions, symbol) else chicago_ms(session.day, DAY_BEGINS - DAY_MINUTES)
    return ms >= session.flat_by_ms or ms < opens_ms


def is_known(sessions: Sessions, symbol: str) -> bool:
    """Whether we were told when it trades."""
    return symbol in sessions.hours or symbol in sessions.groups


def is_calendar_over(sessions: Sessions, ms: int) -> bool:
    """The list of holidays does not reach this day: an early close would come as a surprise."""
    return trading_day(ms) > sessions.known_until


def hours_of(sessions: Sessions, symbol: str) -> Hours:
    """A product nobody told us of gets the strictest hours of all: the latest opening, the earliest close."""
    known = sessions.hours.get(symbol) or sessions.hours.get(sessions.groups.get(symbol, ""))
    return known or strictest(sessions.hours.values())


def strictest(all_hours: Iterable[Hours]) -> Hours:
    rows = list(all_hours)
    flat_by = min(row.flat_by for row in rows)
    opens = max(row.opens - DAY_MINUTES if row.opens > row.flat_by else row.opens for row in rows)
    pauses = tuple(sorted({pause for row in rows for pause in row.pauses}))
    return Hours(opens % DAY_MINUTES, flat_by, pauses)


def _flat_by(sessions: Sessions, symbol: str, hours: Hours, day: str) -> int | None:
    """The venue's time on this day: the holiday's where that is earlier; None: no session."""
    holiday = sessions.holidays.get(day)
    if holiday is None:
        return hours.flat_by
    group = sessions.groups.get(symbol, "")
    own = [holiday.products[key] for key in (symbol, group) if key in holiday.products]
    if not group and symbol not in holiday.products:  # unknown: whatever is earliest for anyone
        own = [None] if None in holiday.products.values() else [holiday.flat_by]
    time = own[0] if own else holiday.flat_by
    return None if time is None else min(time, hours.flat_by)


def _earliest(time: int, own: int | None) -> int:
    return time if own is None else min(time, own)
