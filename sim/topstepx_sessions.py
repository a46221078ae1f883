"""When the simulated TopstepX trades: protocol page 6.6. Times of day are America/Chicago. Pure.

Between 3:10 and 5:00 PM nothing is accepted; on the weekend and on holidays the market is closed.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

CHICAGO = ZoneInfo("America/Chicago")
OPENS, FLAT_BY = time(17), time(15, 10)
NOT_ACTIVE = "Instrument is not in an active trading status."
OUTSIDE = "Outside of trading hours."
FLATTEN_LEAD_S = 10  # the platform flattens that long before the cut-off

# Time by which all is flat; None: closed for the day until 17:00 (or, before a closed day, altogether).
HOLIDAYS: dict[date, time | None] = {
    date(2026, 1, 1): None, date(2026, 1, 19): time(11, 45), date(2026, 2, 16): time(11, 45),
    date(2026, 4, 3): time(8), date(2026, 5, 25): time(11, 45), date(2026, 6, 19): time(11, 45),
    date(2026, 7, 3): time(11, 45), date(2026, 9, 7): time(11, 45), date(2026, 11, 26): time(11, 45),
    date(2026, 11, 27): time(12), date(2026, 12, 24): time(12), date(2026, 12, 25): None, date(2027, 1, 1): None,
}  # fmt: skip


class Pause(msgspec.Struct, frozen=True):
    start: time
    end: time
    is_flat: bool = True  # nothing may be held into it


HOURS: dict[str, tuple[Pause, ...]] = {  # besides the common break
    "globex": (),
    "grains": (Pause(time(7, 45), time(8, 30), False), Pause(time(13, 20), time(19))),
    "livestock": (Pause(time(0), time(8, 30)), Pause(time(13, 5), time(23, 59, 59, 999999))),
}


def chicago(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, UTC).astimezone(CHICAGO)


def flat_by(day: date) -> time | None:
    """The cut-off of that calendar day; None: it does not trade before 5 PM."""
    return None if day.weekday() >= 5 else HOLIDAYS.get(day, FLAT_BY)


def closed(time_us: int, hours: str = "globex") -> str | None:
    """Why an order is refused at that moment, in the venue's words; None: it is taken."""
    local = chicago(time_us)
    day, clock = local.date(), local.time()
    if clock >= OPENS:
        # An evening belongs to the next day: it opens if that one trades at all.
        return OUTSIDE if flat_by(day + timedelta(days=1)) is None else _paused(clock, hours)
    cutoff = flat_by(day)
    if cutoff is None:
        return OUTSIDE
    if clock >= cutoff:
        return OUTSIDE if day.weekday() == 4 and clock >= time(16) else NOT_ACTIVE
    return _paused(clock, hours)


def _paused(clock: time, hours: str) -> str | None:
    return OUTSIDE if any(pause.start <= clock < pause.end for pause in HOURS[hours]) else None


def trading_day(time_us: int) -> date:
    """The day that a moment belongs to: from 5 PM on it is the next one."""
    local = chicago(time_us)
    return local.date() + timedelta(days=local.time() >= OPENS)


def is_flatten_time(time_us: int, hours: str = "globex") -> bool:
    """Within the last seconds before the cut-off, or past it while nothing may be held."""
    for moment_us in (time_us, time_us + FLATTEN_LEAD_S * 1_000_000):
        clock = chicago(moment_us).time()
        if closed(moment_us) is not None or any(p.is_flat and p.start <= clock < p.end for p in HOURS[hours]):
            return True
    return False


def quotes_flow(time_us: int) -> bool:
    """The exchange stays open until 4 PM, when Topstep takes orders no more."""
    local = chicago(time_us)
    is_break = time(16) <= local.time() < OPENS
    return closed(time_us) != OUTSIDE and not is_break


def morning_of(time_us: int) -> int:
    """9:30 AM Chicago of the newest ordinary trading day, as UTC microseconds: every product is open then."""
    day = chicago(time_us).date()
    while flat_by(day) != FLAT_BY:
        day -= timedelta(days=1)
    return int(datetime.combine(day, time(9, 30), CHICAGO).timestamp()) * 1_000_000
