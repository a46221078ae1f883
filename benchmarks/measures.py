"""The measurements. Each takes a contestant and returns figures; none of them judges."""

import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.contestants import ROOT, Contestant, Running, running
from benchmarks.exchange import CROSSING_PRICE

WARM_UP_ROUNDS = 10
IDLE_CLOSE_S = 60.0  # the venue closes connections on which it has sent nothing for so long
TRADES_A_SECOND = 10_000  # for the memory: a very busy market
TRADES_A_FRAME = 10
MB = 1024 * 1024


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from the venue's write of the crossing trade to its receipt of the whole order."""

    median: float
    p95: float
    p99: float
    worst: float
    rounds: int


class Burst(msgspec.Struct, frozen=True):
    seconds: float
    decided: int | None = None  # trades in the journal before the exit; None: no journal
    mb: float | None = None  # resident afterwards


class Idle(msgspec.Struct, frozen=True):
    handshakes: int
    ms: float


def latency(samples_ms: list[float]) -> Latency:
    ordered = sorted(samples_ms)

    def percentile(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    return Latency(statistics.median(ordered), percentile(0.95), percentile(0.99), ordered[-1], len(ordered))


def took_ms(contest: Running) -> float:
    received = contest.cross()
    return (received.at_ns - contest.venue.crossed_ns) / 1e6


def tick_to_order(contestant: Contestant, rounds: int, warm_up: int = WARM_UP_ROUNDS) -> list[float]:
    """Milliseconds of each round, on a process and a venue of its own."""
    samples_ms = []
    with running(contestant) as contest, no_collector():
        contest.get_ready()
        for number in range(rounds + warm_up):
            sample_ms = took_ms(contest)
            if number >= warm_up:
                samples_ms.append(sample_ms)
            contest.arm()
    return samples_ms


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """The venue's own garbage collector does not run: it would come in the same rounds of everybody, and count."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def burst(contestant: Contestant, frames: int) -> Burst:
    """`frames` of one trade each as fast as they are taken, the crossing one behind them."""
    with running(contestant) as contest:
        contest.get_ready()
        prices = [f"{50_000 + i % 40}.0" for i in range(frames)]
        contest.venue.cross(contest.trades([*prices, CROSSING_PRICE]))
        received = contest.venue.next_exit(60.0)
        seconds = (received.at_ns - contest.venue.crossed_ns) / 1e9
        decided = trades_before_exit(contest.folder / "logs") if contestant.is_bot else None
        return Burst(seconds, decided, resident_mb(contest.process.pid))


def trades_before_exit(logs: Path) -> int:
    """Trades of the journal that stand before the exit's line: each has been through the exit rules (P6, P8)."""
    count = 0
    for path in sorted(logs.glob("journal-*.jsonl")):
        for line in path.read_bytes().splitlines():
            if line.startswith(b'{"action":') and b'"Submit"' in line and b'"purpose":"EXIT"' in line:
                return count
            if line.startswith(b'{"frame":') and b'"channel":"trades"' in line:
                count += len(json.loads(line)["frame"]["data"])
    return count


def idle(contestant: Contestant, minutes: float, close_after_s: float = IDLE_CLOSE_S) -> Idle:
    """The first exit after a quiet spell: how many TCP connections it opens on its way."""
    with running(contestant, idle_close_s=close_after_s) as contest:
        contest.get_ready()
        took_ms(contest)  # everything has been used once
        contest.arm()
        contest.venue.pause(minutes * 60)
        before = contest.venue.accepts
        sample_ms = took_ms(contest)
        return Idle(contest.venue.accepts - before, sample_ms)


def memory(contestant: Contestant, trades: int, steps: int = 5) -> list[float]:
    """Resident MB before the first trade and after each step."""
    with running(contestant) as contest:
        contest.get_ready()
        found = [resident_mb(contest.process.pid)]
        piece = TRADES_A_SECOND // 10
        for _ in range(steps):
            for _ in range(trades // steps // piece):
                started_s = time.monotonic()
                prices = [f"{50_000 + i % 40}.0" for i in range(piece)]
                contest.venue.publish("trades", contest.trades(prices, TRADES_A_FRAME))
                contest.venue.wait_for(contest.venue.is_drained, 60.0, "the trades to be taken")
                contest.venue.pause(max(0.0, started_s + 0.1 - time.monotonic()))
            contest.venue.pause(1.0)
            found.append(resident_mb(contest.process.pid))
        return found


def start_up(contestant: Contestant, price_every_s: float = 0.02) -> float:
    """Seconds from the process's start to the first price it shows."""
    with running(contestant, watch_output=True) as contest:
        venue = contest.venue

        def has_price() -> bool:
            venue.publish("trades", contest.trades(["50000.0"]))
            venue.pause(price_every_s)
            return contest.first_price_ns > 0

        contest.wait_until(has_price, "the first price")
        return (contest.first_price_ns - contest.started_ns) / 1e9


def median_of(measure: Callable[[], float], times: int = 3) -> float:
    return statistics.median(measure() for _ in range(times))


# --- sizes ----------------------------------------------------------------------------------------------------------


def resident_mb(pid: int) -> float:
    """Resident memory of a process; NaN where the system's own tools cannot tell."""
    if sys.platform == "win32":
        command = ["tasklist", "/FI", f"PID eq {pid}", "/FO", "CSV", "/NH"]
        text = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False).stdout
        digits = "".join(c for c in text.strip().rpartition(',"')[2] if c.isdigit())
    else:
        command = ["ps", "-o", "rss=", "-p", str(pid)]
        digits = subprocess.run(command, capture_output=True, encoding="utf-8", check=False).stdout.strip()
    return int(digits) / 1024 if digits else float("nan")


def folder_mb(folder: Path) -> float:
    """What the files of `folder` hold, without pip and setuptools, which every environment has."""
    total = 0
    for path in folder.rglob("*"):
        top = path.relative_to(folder).parts[0].lower()
        if path.is_file() and not path.is_symlink() and not top.startswith(("pip", "setuptools", "_distutils")):
            total += path.stat().st_size
    return total / MB


def installed_mb() -> float:
    """`requirements.txt` in a fresh virtual environment. Raises CalledProcessError without a package index."""
    with tempfile.TemporaryDirectory(prefix="bench-venv-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
        python = Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
        subprocess.run([*install, str(ROOT / "requirements.txt")], check=True, capture_output=True)
        code = "import sysconfig; print(sysconfig.get_paths()['platlib'])"
        where = subprocess.run([python, "-c", code], check=True, capture_output=True, encoding="utf-8").stdout.strip()
        return folder_mb(Path(where))
