"""Candles of one market: some made-up history before the start, then real ones from the trades."""

import bisect
import random
from decimal import Decimal

import msgspec

from core.model import ZERO, Instrument

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
INTERVALS = {
    "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS, "2h": 2 * HOUR_MS, "4h": 4 * HOUR_MS, "8h": 8 * HOUR_MS, "12h": 12 * HOUR_MS,
    "1d": DAY_MS, "3d": 3 * DAY_MS, "1w": 7 * DAY_MS, "1M": 30 * DAY_MS,
}  # fmt: skip
MINUTES_KEPT = 5_000
LEEWAY = Decimal("1.1")  # how far a made-up candle may go from its close


class Candle(msgspec.Struct):
    open_ms: int
    span_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO
    trades: int = 0

    def add(self, price: Decimal, size: Decimal, trades: int = 1) -> None:
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.volume += size
        self.trades += trades


class Candles:
    """Keeps minutes of the newest days and hours before them; larger intervals are summed when asked for."""

    def __init__(
        self, instrument: Instrument, price: Decimal, now_ms: int, seed: int | str, value: float = 200_000
    ) -> None:
        """History leads up to `price` at now_ms; it is made up when somebody first asks. A made-up candle trades about
        `value` (price times size)."""
        self._origin = (instrument, price, now_ms, seed)
        self._value = value
        self._made = False
        self._hours: list[Candle] = []
        self._minutes: list[Candle] = []
        self._day_ago: tuple[int, Decimal] | None = None  # minute it was asked in, price

    def _make_history(self) -> None:
        """Walk back from the first price: hourly for a hundred days, by the minute for the last three."""
        if self._made:
            return
        self._made = True
        instrument, price, now_ms, seed = self._origin
        rnd = random.Random(f"{seed}/{instrument.symbol}/history")
        newest = now_ms // MINUTE_MS * MINUTE_MS - MINUTE_MS
        border = (newest - 3 * DAY_MS) // HOUR_MS * HOUR_MS
        minutes = walk_back(instrument, price, newest, border, MINUTE_MS, 0.0004, rnd, self._value)
        first = minutes[0].open if minutes else price
        oldest = border - 97 * DAY_MS
        hours = walk_back(instrument, first, border - HOUR_MS, oldest, HOUR_MS, 0.004, rnd, self._value)
        self._hours, self._minutes = hours, minutes + self._minutes

    def add(self, price: Decimal, size: Decimal, time_ms: int) -> None:
        open_ms = time_ms // MINUTE_MS * MINUTE_MS
        if not self._minutes or self._minutes[-1].open_ms < open_ms:
            self._minutes.append(Candle(open_ms, MINUTE_MS, price, price, price, price))
            if len(self._minutes) > MINUTES_KEPT + 500:
                del self._minutes[:500]
        self._minutes[-1].add(price, size)

    def read(self, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Candles of `interval` (a key of INTERVALS) that open in [start_ms, end_ms], oldest first; 5000 at most."""
        return self.read_span(INTERVALS[interval], start_ms, end_ms)[-5000:]

    def read_span(self, span_ms: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Like `read`, of any whole number of minutes, as many as there are."""
        self._make_history()
        first_ms = start_ms // span_ms * span_ms
        rows: list[Candle] = []
        for base in self._since(first_ms):
            open_ms = base.open_ms // span_ms * span_ms
            if open_ms > end_ms:
                break
            if base.span_ms > span_ms or open_ms < start_ms:
                continue
            if not rows or rows[-1].open_ms != open_ms:
                rows.append(Candle(open_ms, span_ms, base.open, base.high, base.low, base.close))
            row = rows[-1]
            row.high, row.low, row.close = max(row.high, base.high), min(row.low, base.low), base.close
            row.volume += base.volume
            row.trades += base.trades
        return rows

    def _since(self, open_ms: int) -> list[Candle]:
        """Hours and minutes that open at open_ms or later."""
        hour, minute = (
            bisect.bisect_left(rows, open_ms, key=lambda row: row.open_ms) for rows in (self._hours, self._minutes)
        )
        return self._hours[hour:] + self._minutes[minute:]

    def forming(self, interval: str) -> Candle | None:
        """The candle of the newest trade."""
        if not self._minutes:
            return None
        newest_ms = self._minutes[-1].open_ms
        if interval == "1m":
            return self._minutes[-1]
        return self.read(interval, newest_ms // INTERVALS[interval] * INTERVALS[interval], newest_ms)[-1]

    def day_ago(self, now_ms: int) -> Decimal:
        """Price 24 hours ago, or the oldest known."""
        minute = now_ms // MINUTE_MS
        if self._day_ago is None or self._day_ago[0] != minute:
            self._make_history()
            rows = [*self._hours, *self._minutes]
            place = bisect.bisect_right(rows, now_ms - DAY_MS, key=lambda row: row.open_ms)
            self._day_ago = (minute, rows[max(0, place - 1)].open if rows else ZERO)
        return self._day_ago[1]


def walk_back(
    instrument: Instrument,
    price: Decimal,
    newest_ms: int,
    oldest_ms: int,
    span_ms: int,
    noise: float,
    rnd: random.Random,
    value: float,
) -> list[Candle]:
    """Made-up candles that lead up to `price`, oldest first.

    Counted in ticks: a venue that is asked for the first time makes up thousands, and nothing else moves meanwhile.
    """
    rows, close, lot = [], price, float(instrument.lot_size)
    for open_ms in range(newest_ms, oldest_ms - 1, -span_ms):
        tick = instrument.tick_at(close * LEEWAY)  # coarse enough for the whole candle
        ends_at = float(close / tick)
        begins_at = ends_at * (1 + max(-0.05, min(0.05, rnd.gauss(0, noise))))
        wick = 1 + abs(rnd.gauss(0, noise / 2))
        start = max(1, round(begins_at)) * tick
        high, low = round(max(begins_at, ends_at) * wick) * tick, round(min(begins_at, ends_at) / wick) * tick
        lots = int(rnd.lognormvariate(0, 0.5) * value / float(close) / lot)
        count = rnd.randint(20, 400)
        rows.append(
            Candle(
                open_ms, span_ms, start, max(high, start, close), max(tick, min(low, start, close)), close,
                lots * instrument.lot_size, count,
            )
        )  # fmt: skip
        close = start
    return rows[::-1]
