"""Bars of TopstepX: which to ask for, and how to put them together (protocol page 2.4). Pure."""

from collections.abc import Iterable

from core.model import Bar

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
UNITS = ((HOUR_MS, 3), (MINUTE_MS, 2), (SECOND_MS, 1))  # AggregateBarUnit
CLOSED_MS = 5 * 86_400_000  # a long weekend: the market may have made no bars for so long


def asked_ms(timeframe_ms: int) -> int | None:
    """The timeframe to ask the venue for; None where it offers nothing that bars of `timeframe_ms` can be made of.

    What does not divide an hour is made of hours here: the venue's own days do not even start with the session.
    """
    if timeframe_ms >= SECOND_MS and HOUR_MS % timeframe_ms == 0 and timeframe_ms % SECOND_MS == 0:
        return timeframe_ms
    return HOUR_MS if timeframe_ms > 0 and timeframe_ms % HOUR_MS == 0 else None


def unit_of(timeframe_ms: int) -> tuple[int, int]:
    """(unit, unitNumber)"""
    size_ms, unit = next(row for row in UNITS if timeframe_ms % row[0] == 0)
    return unit, timeframe_ms // size_ms


def merged(bars: Iterable[Bar], timeframe_ms: int) -> tuple[Bar, ...]:
    """Oldest first; shorter ones are put together, from multiples of the timeframe since 1970 on (UTC)."""
    found: dict[int, Bar] = {}
    for bar in sorted(bars, key=lambda bar: bar.open_ms):
        open_ms = bar.open_ms // timeframe_ms * timeframe_ms
        before = found.get(open_ms)
        found[open_ms] = Bar(
            open_ms=open_ms,
            close_ms=open_ms + timeframe_ms - 1,
            open=before.open if before else bar.open,
            high=max(before.high, bar.high) if before else bar.high,
            low=min(before.low, bar.low) if before else bar.low,
            close=bar.close,
            volume=before.volume + bar.volume if before else bar.volume,
        )
    return tuple(found.values())
