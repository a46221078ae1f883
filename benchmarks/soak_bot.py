"""The whole bot as its own process, with a stopwatch in it: run by `python -m benchmarks.soak`.

The watch starts when the stream's thread has received the bytes and stops when the main thread has decided on the batch
they came in. Figures go to `lag.jsonl`, a line each period; what it remembers does not grow.
"""

import os
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import msgspec

import hyperliquid_websocket
import topstep_websocket
import trading_bot
from benchmarks.whole_bot import config, run
from core.messages import Frame
from runtime.bot import Bot
from runtime.stream import ReconnectingStream

BUCKET_S = 5e-6
BUCKETS = 40_000  # up to 0.2 s; what is longer counts as that, and is told by the worst
LAG_FILE = "lag.jsonl"


class Line(msgspec.Struct):
    """One period, and everything until then. Milliseconds."""

    frames: int
    p50: float
    p95: float
    p99: float
    worst: float
    total_frames: int
    total_p50: float
    total_p95: float
    total_p99: float
    total_worst: float
    inbox: int  # the most that waited at once
    threads: int
    files: int | None  # open; None where the system does not tell


class Lags:
    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * BUCKETS))
        self.worst_s = 0.0
        self.count = 0

    def add(self, lag_s: float) -> None:
        self._counts[min(BUCKETS - 1, int(lag_s / BUCKET_S))] += 1
        self.worst_s = max(self.worst_s, lag_s)
        self.count += 1

    def percentile_ms(self, part: float) -> float:
        """The upper edge of the bucket it lies in, the worst at most."""
        left = part * self.count
        for number, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return min((number + 1) * BUCKET_S, self.worst_s) * 1000
        return self.worst_s * 1000


class Watch:
    def __init__(self, path: Path, period_s: float) -> None:
        self._path, self._period_s = path, period_s
        self._received_s: dict[int, float] = {}  # by id of a frame that is on its way
        self._period, self._total = Lags(), Lags()
        self._inbox = 0
        self._next_s = time.monotonic() + period_s

    def received(self, frame: Frame, at_s: float) -> None:
        """On a stream's thread."""
        self._received_s[id(frame)] = at_s

    def decided(self, batch: list[Any], waiting: int) -> None:
        """On the main thread, which holds the frames until then."""
        now_s = time.monotonic()
        self._inbox = max(self._inbox, waiting)
        for frame in batch:
            if type(frame) is Frame:
                lag_s = now_s - self._received_s.pop(id(frame))
                self._period.add(lag_s)
                self._total.add(lag_s)
        if now_s >= self._next_s:
            self._next_s += self._period_s
            self._write()

    def _write(self) -> None:
        figures = [figure for lags in (self._period, self._total) for figure in told(lags)]
        line = Line(*figures, self._inbox, threading.active_count(), open_files())  # type: ignore[call-arg]
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        self._period, self._inbox = Lags(), 0


def told(lags: Lags) -> tuple[int, float, float, float, float]:
    return lags.count, *(lags.percentile_ms(part) for part in (0.5, 0.95, 0.99)), lags.worst_s * 1000


def open_files() -> int | None:
    try:
        return len(os.listdir("/dev/fd")) - 1  # noqa: PTH208  # without the one that the look itself opens
    except OSError:
        return None


def install(watch: Watch) -> None:
    """Put the watch at both ends of the inbox."""

    class Stamping:
        """The inbox as one stream sees it."""

        def __init__(self, inbox: Any) -> None:
            self._inbox, self.at_s = inbox, 0.0

        def put(self, item: Any) -> None:
            if type(item) is Frame:
                watch.received(item, self.at_s)
            self._inbox.put(item)

    class WatchedStream(ReconnectingStream):
        def __init__(self, name: str, dialect: Any, inbox: Any, *args: Any, **options: Any) -> None:
            self._stamping = Stamping(inbox)
            super().__init__(name, dialect, self._stamping, *args, **options)  # type: ignore[arg-type]

        def _message(self, payload: bytes, received_ms: int, now_s: float) -> None:
            self._stamping.at_s = now_s  # taken when the bytes had been read
            super()._message(payload, received_ms, now_s)

    class WatchedBot(Bot):
        def take(self, batch: list[Any]) -> None:
            waiting = len(batch) + self._inbox.qsize()
            super().take(batch)
            watch.decided(batch, waiting)

    hyperliquid_websocket.ReconnectingStream = WatchedStream  # type: ignore[misc]
    topstep_websocket.ReconnectingStream = WatchedStream  # type: ignore[misc]
    trading_bot.Bot = WatchedBot  # type: ignore[attr-defined]


def futures_config(url: str) -> dict[str, Any]:
    """A guardian of two contracts that moves its stops now and then."""
    exits = {
        "stop_loss_ticks": 100,
        "take_profit_ticks": 10_000,
        "trailing_stop_ticks": 80,
        "trailing_activate_ticks": 20,
        "trailing_step_ticks": 5,
        "max_hold_minutes": 100_000,
    }
    markets = [{"symbol": s, "timeframe": "1m", "strategy": None, "exits": exits} for s in ("MGC", "MNQ")]
    return config(url) | {"venue": "topstepx", "markets": markets}


def perpetual_config(url: str) -> dict[str, Any]:
    """A guardian of one market that moves its stop now and then; the price rises by seven percent in an hour."""
    exits = {
        "stop_loss_pct": 1.0,
        "take_profit_pct": 90.0,
        "trailing_stop_pct": 0.8,
        "trailing_activate_pct": 0.1,
        "trailing_step_pct": 0.05,
        "max_hold_minutes": 100_000,
    }
    return config(url) | {"markets": [{"symbol": "BTC", "timeframe": "1m", "strategy": None, "exits": exits}]}


def main(venue: str, period_s: float, url: str, folder: Path) -> int:
    install(Watch(folder / LAG_FILE, period_s))
    return run(futures_config(url) if venue == "topstepx" else perpetual_config(url), folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
