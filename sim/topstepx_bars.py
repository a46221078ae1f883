"""Bars of one contract in any unit of `retrieveBars` (protocol page 2.4): seconds of the newest hours, and minutes."""

import bisect
import random
from decimal import Decimal

from core.model import Instrument
from sim.candles import DAY_MS, HOUR_MS, MINUTE_MS, Candle, Candles, walk_back

SECOND_MS = 1_000
UNIT_MS = {1: SECOND_MS, 2: MINUTE_MS, 3: HOUR_MS, 4: DAY_MS, 5: 7 * DAY_MS, 6: 30 * DAY_MS}
SECONDS_KEPT = 3 * 3600
MADE_UP_S = 600  # seconds of history before the first trade


class Bars:
    def __init__(self, instrument: Instrument, price: Decimal, now_ms: int, seed: int | str, volume: float) -> None:
        """`volume`: contracts of a made-up minute."""
        value = volume * float(price)
        self._minutes = Candles(instrument, price, now_ms, seed, value)
        rnd, newest = random.Random(f"{seed}/{instrument.symbol}/seconds"), now_ms // SECOND_MS * SECOND_MS - SECOND_MS
        oldest = newest - MADE_UP_S * SECOND_MS
        self._seconds = walk_back(instrument, price, newest, oldest, SECOND_MS, 0.00002, rnd, value / 60)

    def add(self, price: Decimal, size: int, time_ms: int) -> None:
        self._minutes.add(price, Decimal(size), time_ms)
        open_ms = time_ms // SECOND_MS * SECOND_MS
        if not self._seconds or self._seconds[-1].open_ms < open_ms:
            self._seconds.append(Candle(open_ms, SECOND_MS, price, price, price, price))
            if len(self._seconds) > SECONDS_KEPT + 600:
                del self._seconds[:600]
        self._seconds[-1].add(price, Decimal(size))

    def read(self, unit: int, number: int, start_ms: int, end_ms: int) -> list[Candle]:
        """Bars that open in [start_ms, end_ms], oldest first. An interval without trades has no bar."""
        span_ms = UNIT_MS[unit] * number
        if span_ms % MINUTE_MS == 0:
            return self._minutes.read_span(span_ms, start_ms, end_ms)
        rows: list[Candle] = []
        place = bisect.bisect_left(self._seconds, start_ms // span_ms * span_ms, key=lambda row: row.open_ms)
        for base in self._seconds[place:]:
            open_ms = base.open_ms // span_ms * span_ms
            if open_ms > end_ms:
                break
            if open_ms < start_ms:
                continue
            if not rows or rows[-1].open_ms != open_ms:
                rows.append(Candle(open_ms, span_ms, base.open, base.high, base.low, base.close, base.volume))
            else:
                row = rows[-1]
                row.high, row.low, row.close = max(row.high, base.high), min(row.low, base.low), base.close
                row.volume += base.volume
        return rows
