"""A market in which everything happens within seconds: legs up and down, now and then a gap. Seeded, by the clock."""

import random
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

STEP_S = 0.1
LEG_S = (1.2, 4.5)
GAPS_A_SECOND = 0.06


class Move(NamedTuple):
    """How far prices go, as fractions of the price."""

    start: Decimal
    tick: Decimal
    swing: tuple[float, float]  # of a leg
    gap: float


class Market:
    """Moves the price on a thread of its own until it is stopped."""

    def __init__(self, move: Move, seed: str, set_price: Callable[[Decimal], None]) -> None:
        self._move, self._set_price = move, set_price
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="market", daemon=True)
        self.error: BaseException | None = None
        self.steps = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._walk()
        except BaseException as e:  # noqa: BLE001  # for stop() to raise
            self.error = e

    def _walk(self) -> None:
        rnd, price = self._random, float(self._move.start)
        drift = leg_ends_s = 0.0
        while not self._stop.wait(STEP_S):
            now_s = time.monotonic()
            if now_s >= leg_ends_s:
                leg_s = rnd.uniform(*LEG_S)
                leg_ends_s = now_s + leg_s
                drift = self._direction(price) * rnd.uniform(*self._move.swing) * STEP_S / leg_s
            change = drift + rnd.gauss(0, self._move.swing[0] / 20)
            if rnd.random() < GAPS_A_SECOND * STEP_S:
                change += rnd.choice((-1, 1)) * self._move.gap
            price *= 1 + change
            self._set_price((Decimal(price) / self._move.tick).quantize(Decimal(1)) * self._move.tick)
            self.steps += 1

    def _direction(self, price: float) -> int:
        """More likely home than away, so that prices stay in the neighbourhood."""
        away = price / float(self._move.start) - 1
        return 1 if self._random.random() < 0.5 - 20 * away else -1
