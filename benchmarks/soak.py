"""The whole bot under a steady stream for a long time: `python -m benchmarks.soak --venue topstepx --hours 1`."""

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.contestants import BOT, HYPERLIQUID, TOPSTEPX, Contestant, running
from benchmarks.measures import resident_mb
from benchmarks.report import Table, number, page, text, verdict
from benchmarks.server import Server
from benchmarks.soak_bot import LAG_FILE, Line
from benchmarks.soak_feeds import FEEDS, Feed

RESULTS = Path(__file__).resolve().parent / "results.md"
NUMBERS = {(TOPSTEPX, False): 8, (HYPERLIQUID, True): 9, (TOPSTEPX, True): 10, (HYPERLIQUID, False): 11}  # sections
LAG_MS_MAX = 5.0
GROWTH_MB_MAX = 2.0
SEED = 7


class Minute(msgspec.Struct):
    line: Line
    mb: float


class Soak(msgspec.Struct):
    venue: str
    what: str
    positions: int
    start_mb: float
    minutes: list[Minute] = []
    sent: int = 0
    unheard: int = 0  # while the streams were away
    seconds: float = 0.0
    drops: int = 0
    away_s: float = 0.0  # the longest from a drop to the last subscription
    stops_set: int = 0
    still_open: int = 0


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--venue", choices=[HYPERLIQUID, TOPSTEPX], default=HYPERLIQUID)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=1_000.0, help="messages a second, all markets together")
    parser.add_argument("--drop-every", type=float, default=60.0, help="seconds between two disconnects; 0: none")
    parser.add_argument("--period", type=float, default=60.0, help="seconds between two lines of figures")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    found = soak(arguments.venue, arguments.hours * 60, arguments.rate, arguments.period, arguments.drop_every)
    result = table(found, arguments)
    print(text(result))
    words = f"--venue {arguments.venue} --hours {arguments.hours:g} --rate {arguments.rate:g}"
    words += f" --drop-every {arguments.drop_every:g}"
    before = arguments.output.read_text(encoding="utf-8") if arguments.output.exists() else ""
    arguments.output.write_text(page([result], [], f"python -m benchmarks.soak {words}", before), encoding="utf-8")
    print(f"\nwritten to {arguments.output.name}")
    return 0


def soak(venue: str, minutes: float, rate: float, period_s: float, drop_every_s: float = 0.0) -> Soak:
    """Positions held, prices at `rate` messages a second at random moments, a line of figures each period."""
    bot = Contestant(BOT, (sys.executable, "-m", "benchmarks.soak_bot", venue, f"{period_s}"), venue=venue)
    with running(bot) as contest:
        dice = random.Random(SEED)
        feed: Feed = FEEDS[venue](contest, dice)
        feed.hold()
        lines, drops = Lines(contest.folder / LAG_FILE), Drops(contest.venue, feed, drop_every_s)
        lines.fresh()  # of the time before
        stops = feed.stops_set()
        found = Soak(venue, feed.what, feed.positions, resident_mb(contest.process.pid))
        started_s = now_s = next_s = due_s = time.monotonic()
        while now_s - started_s < minutes * 60 + period_s and len(found.minutes) * period_s < minutes * 60:
            while next_s <= now_s:
                found.sent += 1
                found.unheard += not feed.send(now_s - started_s)
                next_s += dice.expovariate(rate)
            contest.venue.pause(max(next_s - time.monotonic(), 0.0005))
            now_s = time.monotonic()
            drops.look(now_s)
            if now_s >= due_s:
                due_s = now_s + min(1.0, period_s / 4)
                contest.wait_until(lambda: True, "")  # raises when the bot has ended
                mb = resident_mb(contest.process.pid)
                found.minutes += [tell(Minute(line, mb), found) for line in lines.fresh()]
        found.seconds, found.drops, found.away_s = now_s - started_s, drops.count, drops.longest_s
        found.stops_set, found.still_open = feed.stops_set() - stops, feed.still_open()
        return found


class Drops:
    """Cuts the streams now and then, and times how long the bot is away. Raises TimeoutError when it stays away."""

    AWAY_S_MAX = 30.0

    def __init__(self, venue: Server, feed: Feed, every_s: float) -> None:
        self._venue, self._feed, self._every_s = venue, feed, every_s
        self._next_s = time.monotonic() + every_s if every_s else float("inf")
        self._since_s: float | None = None
        self.count, self.longest_s = 0, 0.0

    def look(self, now_s: float) -> None:
        if self._since_s is not None:
            if self._feed.is_back():
                self.longest_s, self._since_s = max(self.longest_s, now_s - self._since_s), None
            elif now_s - self._since_s > self.AWAY_S_MAX:
                raise TimeoutError(f"the bot has not come back within {self.AWAY_S_MAX:.0f} s")
        elif now_s >= self._next_s:
            self._venue.drop_streams()
            self._next_s, self._since_s = now_s + self._every_s, now_s
            self.count += 1


class Lines:
    """What the bot has written since the last look."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def fresh(self) -> list[Line]:
        if not self._path.exists():
            return []
        whole = self._path.read_bytes().split(b"\n")[:-1]
        new, self._read = whole[self._read :], len(whole)
        return [msgspec.json.decode(line, type=Line) for line in new]


def tell(minute: Minute, found: Soak) -> Minute:
    """Progress for whoever waits."""
    line = minute.line
    print(
        f"  {len(found.minutes) + 1}: {line.frames} messages, p99 {line.p99:.2f} ms, worst {line.worst:.2f} ms, "
        f"{minute.mb:.1f} MB",
        file=sys.stderr,
        flush=True,
    )
    return minute


def table(found: Soak, arguments: argparse.Namespace) -> Table:
    rows: list[tuple[str, ...]] = [("start", "", "", "", "", "", number(found.start_mb, 1), "", "", "")]
    for count, minute in enumerate(found.minutes, 1):
        rows.append((f"{count}", *lag_cells(minute.line), number(minute.mb, 1), *house_cells(minute.line)))
    last = found.minutes[-1].line
    total = (last.total_p50, last.total_p95, last.total_p99, last.total_worst)
    rows.append(("all", f"{last.total_frames}", *(number(v) for v in total), "", "", "", ""))
    rows += [(f"goal: {name}", figure, verdict(ok), *[""] * 7) for name, figure, ok in goals(found)]
    cut = found.drops > 0
    away = f", the streams cut {found.drops} times (away {found.away_s:.1f} s at most)" if cut else ""
    return Table(
        f"{NUMBERS[found.venue, cut]}. Soak on {names[found.venue]}{', with disconnects' if cut else ''}, milliseconds",
        f"{found.sent} {found.what} in {found.seconds / 60:.1f} minutes, {found.sent / found.seconds:.0f} a second at "
        f"random moments{away}, {found.positions} positions held; the bot set {found.stops_set} stops on its way and "
        f"held {found.still_open} at the end. Lag of the bot itself: from the moment the stream's thread has received "
        "the bytes to the end of the decision on the main thread. "
        f"A line each {arguments.period:g} s; `inbox` is the most that waited at once.",
        ("", "messages", "p50", "p95", "p99", "worst", "MB", "files", "threads", "inbox"),
        rows,
    )


names = {HYPERLIQUID: "Hyperliquid", TOPSTEPX: "TopstepX"}


def goals(found: Soak) -> list[tuple[str, str, bool]]:
    """Flat: from the end of the first period on, and the last fifth as the first one."""
    first, last = found.minutes[0], found.minutes[-1]
    growth = last.mb - first.mb
    fifth = max(1, len(found.minutes) // 5)
    lags = [statistics.median(m.line.p99 for m in part) for part in (found.minutes[:fifth], found.minutes[-fifth:])]
    files = None if first.line.files is None or last.line.files is None else last.line.files - first.line.files
    threads = last.line.threads - first.line.threads
    return [
        ("p99 over all under 5 ms", number(last.line.total_p99), last.line.total_p99 < LAG_MS_MAX),
        ("p99 of the last fifth as of the first", f"{lags[0]:.2f}, {lags[1]:.2f}", lags[1] <= 2 * lags[0] + 0.5),
        ("memory grows by at most 2 MB", number(growth, 1), growth <= GROWTH_MB_MAX),
        ("files and threads flat", f"{files}, {threads}", abs(files or 0) <= 2 and abs(threads) <= 2),
        ("every position still held", f"{found.still_open}", found.still_open == found.positions),
    ]


def lag_cells(line: Line) -> tuple[str, ...]:
    return f"{line.frames}", *(number(value) for value in (line.p50, line.p95, line.p99, line.worst))


def house_cells(line: Line) -> tuple[str, ...]:
    return "not measured" if line.files is None else f"{line.files}", f"{line.threads}", f"{line.inbox}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
