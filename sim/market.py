"""Where simulated prices come from: a seeded path, or a recorded file played again. Pure, but for reading the file.

Each `step()` is one block of the venue: the trades of the block, the book after it, sometimes a new mark and oracle.
The same seed gives the same steps, however fast they are taken.
"""

import csv
import gzip
import io
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from core.model import Instrument, Side
from sim.book import Level

MARK_MS = 3_000  # mark and oracle move this often (page 6.4)
DEPTH = 20  # levels a side


class Print(NamedTuple):
    price: Decimal
    size: Decimal
    side: Side  # of the aggressor


class Step(msgspec.Struct):
    prints: list[Print]
    bids: list[Level]
    asks: list[Level]
    mark: Decimal | None = None  # None: unchanged
    oracle: Decimal | None = None


class PriceSource(Protocol):
    random: random.Random

    def step(self) -> Step:
        """The next block."""

    def jump(self, price: Decimal) -> None:
        """Go on from this price."""


class Preset(msgspec.Struct, frozen=True):
    """How a market moves. Rates are per second, sizes of moves are fractions of the price."""

    noise: float  # standard deviation over one second
    trend: float  # largest drift a minute of a trending spell
    spell_s: tuple[float, float]  # how long a spell (trend, range, quiet) lasts
    quiet_share: float  # share of spells that are quiet
    gap_per_hour: float
    gap: float  # typical size of a gap
    trades_per_s: float


PRESETS = {
    # Trends that a 1-second-bar strategy sees, and a move of 0.3 to 1 % within a minute.
    "lively": Preset(0.00008, 0.011, (18.0, 45.0), 0.12, 6.0, 0.0025, 5.0),
    "calm": Preset(0.00006, 0.0008, (60.0, 600.0), 0.3, 0.5, 0.004, 2.0),
}


class PricePath:
    """A random walk with trends, clustered volatility, gaps and quiet spells."""

    def __init__(self, instrument: Instrument, start: Decimal, seed: int | str, preset: Preset, block_ms: int) -> None:
        self.instrument = instrument
        self._preset = preset
        self.random = random.Random(f"{seed}/{instrument.symbol}")
        self._price = float(start)
        self._block_ms = block_ms
        self._heat = 0.0  # log of the volatility factor: mean-reverting, so that wild times cluster
        self._drift = 0.0  # a second
        self._is_quiet = False
        self._spell_ms = 0.0
        self._mark_ms = 0.0
        self._basis = 0.0  # oracle against mid
        self._direction = self.random.choice((-1, 1))

    def jump(self, price: Decimal) -> None:
        self._price = float(price)
        self._mark_ms = 0.0

    def step(self) -> Step:
        self._spell_ms -= self._block_ms
        if self._spell_ms <= 0:
            self._new_spell()
        self._move(self._block_ms / 1000)
        mid = Decimal(repr(round(self._price, 9)))
        bids, asks = ladder(self.instrument, mid, self.random)
        step = Step(self._prints(bids, asks), bids, asks)
        self._mark_ms -= self._block_ms
        if self._mark_ms <= 0:
            self._mark_ms += MARK_MS
            self._basis = 0.9 * self._basis + self.random.gauss(0, 0.00003)
            step.mark = self.instrument.round_price(mid)
            step.oracle = self.instrument.round_price(mid * Decimal(repr(round(1 + self._basis, 9))))
        return step

    def _new_spell(self) -> None:
        preset, rnd = self._preset, self.random
        self._spell_ms = rnd.uniform(*preset.spell_s) * 1000
        self._is_quiet = rnd.random() < preset.quiet_share
        self._direction = -self._direction if rnd.random() < 0.75 else self._direction
        strength = 0.0 if self._is_quiet else rnd.uniform(0.45, 1.0)
        self._drift = self._direction * strength * preset.trend / 60

    def _move(self, seconds: float) -> None:
        preset, rnd = self._preset, self.random
        self._heat += -self._heat * seconds / 30 + rnd.gauss(0, 0.15) * math.sqrt(seconds)
        noise = preset.noise * math.exp(self._heat) * (0.3 if self._is_quiet else 1.0)
        move = self._drift * seconds + rnd.gauss(0, noise) * math.sqrt(seconds)
        if rnd.random() < preset.gap_per_hour * seconds / 3600:
            move += rnd.choice((-1, 1)) * preset.gap * rnd.uniform(0.5, 1.5)
        self._price *= math.exp(max(-0.2, min(0.2, move)))

    def _prints(self, bids: Sequence[Level], asks: Sequence[Level]) -> list[Print]:
        rnd, seconds = self.random, self._block_ms / 1000
        rate = self._preset.trades_per_s * math.exp(self._heat / 2) * (0.3 if self._is_quiet else 1.0)
        prints: list[Print] = []
        # Arrivals of a Poisson process within the block.
        waited = rnd.expovariate(rate)
        while waited < seconds and len(prints) < 20:
            waited += rnd.expovariate(rate)
            side = Side.BUY if rnd.random() < 0.5 + 2000 * self._drift else Side.SELL
            price = (asks if side is Side.BUY else bids)[0][0]
            prints.append(Print(price, _size(self.instrument, price, rnd, 1500), side))
        return prints


def ladder(instrument: Instrument, mid: Decimal, rnd: random.Random) -> tuple[list[Level], list[Level]]:
    """A book around `mid`, one to three ticks between levels, deeper away from it."""
    tick = instrument.tick_at(mid * Decimal("1.05"))  # coarse enough for every level
    bids, asks = [], []
    bid, ask = math.ceil(mid / tick) - 1, math.floor(mid / tick) + 1  # a mid on the tick lies between the two
    for depth in range(DEPTH):
        value = 20_000 * (1 + depth / 3)
        bids.append((bid * tick, _size(instrument, mid, rnd, value)))
        asks.append((ask * tick, _size(instrument, mid, rnd, value)))
        bid -= rnd.randint(1, 3)
        ask += rnd.randint(1, 3)
    return [level for level in bids if level[0] > 0], asks


def _size(instrument: Instrument, price: Decimal, rnd: random.Random, value: float) -> Decimal:
    """A lognormal size worth about `value`, at least one lot."""
    units = value * rnd.lognormvariate(0, 0.7) / float(price)
    return max(instrument.round_size(Decimal(repr(round(units, 8)))), instrument.lot_size)


# --- replay ---------------------------------------------------------------------------------------------------------


class Replay:
    """Plays recorded trades `speed` times as fast as they happened, then stays at the last price."""

    def __init__(
        self,
        instrument: Instrument,
        rows: Iterator[tuple[int, Print]],
        speed: float,
        block_ms: int,
        seed: int | str = 0,
    ) -> None:
        self.instrument = instrument
        self._rows = rows
        self._step_ms = block_ms * speed
        self.random = random.Random(f"{seed}/{instrument.symbol}")
        self._next = next(self._rows, None)
        if self._next is None:
            raise ValueError("the replay file holds no rows")
        self._now_ms = float(self._next[0])
        self.price = self._next[1].price
        self._mark_ms = 0.0

    def jump(self, price: Decimal) -> None:
        self.price = price

    def step(self) -> Step:
        self._now_ms += self._step_ms
        prints = []
        while self._next is not None and self._next[0] <= self._now_ms:
            prints.append(self._next[1])
            self._next = next(self._rows, None)
        if prints:
            self.price = prints[-1].price
        bids, asks = ladder(self.instrument, self.price, self.random)
        step = Step(prints, bids, asks)
        self._mark_ms -= self._step_ms
        if self._mark_ms <= 0:
            self._mark_ms = MARK_MS
            step.mark = step.oracle = self.instrument.round_price(self.price)
        return step


def read_replay(path: Path, instrument: Instrument) -> Iterator[tuple[int, Print]]:
    """Trades of a CSV (plain or .gz), oldest first: columns time_ms,price,size,side, or bars
    timestamp,open,high,low,close,volume, which are walked open, near extreme, far extreme, close.

    Raises ValueError naming the file when the columns are neither.
    """
    with path.open("rb") as raw:
        plain = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        reader = csv.DictReader(io.TextIOWrapper(plain, encoding="utf-8", newline=""))
        columns = set(reader.fieldnames or ())
        if {"time_ms", "price", "size", "side"} <= columns:
            for row in reader:
                side = Side.BUY if row["side"].upper() in ("BUY", "B") else Side.SELL
                yield int(row["time_ms"]), Print(_priced(instrument, row["price"]), Decimal(row["size"]), side)
        elif {"timestamp", "open", "high", "low", "close"} <= columns:
            for row in reader:
                yield from _walk_bar(instrument, row)
        else:
            raise ValueError(f"{path.name}: neither trades nor bars, its columns are {sorted(columns)}")


def _priced(instrument: Instrument, text: str) -> Decimal:
    return instrument.round_price(Decimal(text))


def _walk_bar(instrument: Instrument, row: dict[str, str], trades: int = 58) -> Iterator[tuple[int, Print]]:
    """A bar as `trades` evenly spaced trades through its four prices; a minute is assumed.

    `trades` is one more than a multiple of three, so that each of the four is met exactly.
    """
    start_ms = int(datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC).timestamp() * 1000)
    first, high, low, last = (Decimal(row[key]) for key in ("open", "high", "low", "close"))
    middle = [low, high] if last >= first else [high, low]
    corners = [first, *middle, last]
    value = Decimal(row.get("volume") or 0) / trades  # quote currency or units: only its order of size matters
    units = instrument.round_size(min(value / first, Decimal(50))) or instrument.lot_size
    previous = first
    for i in range(trades):
        place = Decimal(3 * i) / (trades - 1)
        leg = min(2, int(place))
        price = instrument.round_price(corners[leg] + (corners[leg + 1] - corners[leg]) * (place - leg))
        yield start_ms + i * 60_000 // trades, Print(price, units, Side.BUY if price >= previous else Side.SELL)
        previous = price
