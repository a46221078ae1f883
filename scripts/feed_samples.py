"""What is heard of a feed, and the figures made of it: plain values."""

from decimal import Decimal

import msgspec

STREAM = ("trades", "quotes")  # the sources that the stream brings; the third is rest


class Update(msgspec.Struct, frozen=True):
    """Something heard of a market. `source` is trades, quotes, rest, or other for what carries no time of the venue."""

    source: str
    received_ms: int  # our clock
    time_ms: int | None = None  # venue clock
    price: Decimal | None = None  # of quotes the middle


class BarRead(msgspec.Struct, frozen=True):
    """The newest bar that REST gave at `received_ms`."""

    received_ms: int
    close_ms: int  # venue clock; the last millisecond inside


class Listening(msgspec.Struct, frozen=True):
    """Under which conditions it was listened."""

    began_ms: int  # our clock
    ended_ms: int
    offset_ms: int | None  # venue clock minus ours; None: it could not be measured
    max_age_ms: int
    was_up: bool = True  # the stream connected, and every subscription was acknowledged
    troubles: tuple[str, ...] = ()  # of stream and REST, each once


class Lags(msgspec.Struct, frozen=True):
    """Milliseconds from the venue to us."""

    p50: int
    p95: int
    p99: int
    max: int


class SourceFigures(msgspec.Struct, frozen=True):
    count: int
    per_s: float
    verdict: str | None  # None: nothing came, or nothing that can be judged
    lag_ms: Lags | None
    silence_s: float  # the longest; start and end of the listening count
    replayed: int = 0  # old updates sent after the subscribe; not in lag_ms
    frozen: bool = False  # updates kept coming and the venue's time in them stood still


class PriceGap(msgspec.Struct, frozen=True):
    """Stream against REST, at the moments REST answered: median and largest difference, and the latter in percent."""

    median: Decimal
    max: Decimal
    max_pct: float


class MarketFigures(msgspec.Struct, frozen=True):
    symbol: str
    verdict: str
    why: str
    sources: dict[str, SourceFigures]
    bar_age_s: float | None  # since the newest REST bar closed, 0 while it forms, at the last read
    price_gap: PriceGap | None


class Report(msgspec.Struct, frozen=True):
    verdict: str
    line: str  # the verdict in one sentence
    seconds: float
    clock_offset_ms: int | None
    markets: tuple[MarketFigures, ...]
    troubles: tuple[str, ...] = ()
