"""The whole bot under a steady stream for a long time: `python -m benchmarks.soak --venue topstepx --minutes 60`."""

import argparse
import random
import sys
import time
from pathlib import Path

import msgspec

from benchmarks import futures
from benchmarks.contestants import BOT, READY_S, TOPSTEPX, Contestant, TopstepRun, running
from benchmarks.gateway import Gateway, channel
from benchmarks.measures import resident_mb
from benchmarks.report import Table, number, page, text, verdict
from benchmarks.server import frame
from benchmarks.soak_bot import LAG_FILE, Line

RESULTS = Path(__file__).resolve().parent / "results.md"
QUOTES_PART = 42 / 62  # of quotes and trades together (page 3.5)
TICKS = {futures.MGC: 0.1, futures.MNQ: 0.25}
RISE_S = 10.0  # a tick up in so many seconds, so that stops are moved
SWING_TICKS = 15  # around that; the trail is 80 ticks behind
LAG_MS_MAX = 5.0
GROWTH_MB_MAX = 3.0
SEED = 7


class Market:
    """Prices of one contract: quotes and prints around a level that rises slowly."""

    def __init__(self, contract: str, dice: random.Random) -> None:
        self._contract, self._dice = contract, dice
        self._tick, self._start = TICKS[contract], futures.START_PRICE[contract]
        self._swing = 0

    def next(self, elapsed_s: float) -> tuple[str, float, bytes]:
        """Channel, price and record of the next message."""
        dice, tick = self._dice, self._tick
        self._swing = max(-SWING_TICKS, min(SWING_TICKS, self._swing + dice.choice((-1, 0, 1))))
        price = round(self._start + (int(elapsed_s / RISE_S) + self._swing) * tick, 2)
        if dice.random() < QUOTES_PART:
            record = futures.quote_record(self._contract, round(price - tick, 2), round(price + tick, 2))
            return channel("GatewayQuote", self._contract), price, record
        return channel("GatewayTrade", self._contract), price, futures.trade_record(self._contract, price)


class Minute(msgspec.Struct):
    line: Line
    mb: float


class Soak(msgspec.Struct):
    start_mb: float
    minutes: list[Minute]
    sent: int
    seconds: float
    stops_moved: int
    still_open: int  # positions


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--venue", choices=[TOPSTEPX], default=TOPSTEPX)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=200.0, help="messages a second, both contracts together")
    parser.add_argument("--period", type=float, default=60.0, help="seconds between two lines of figures")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    found = soak(arguments.minutes, arguments.rate, arguments.period)
    result = table(found, arguments)
    print(text(result))
    words = f"--venue {arguments.venue} --minutes {arguments.minutes:g} --rate {arguments.rate:g}"
    before = arguments.output.read_text(encoding="utf-8") if arguments.output.exists() else ""
    arguments.output.write_text(page([result], [], f"python -m benchmarks.soak {words}", before), encoding="utf-8")
    print(f"\nwritten to {arguments.output}")
    return 0


def soak(minutes: float, rate: float, period_s: float) -> Soak:
    """Two positions held, prices at `rate` messages a second, a line of figures each period."""
    bot = Contestant(BOT, (sys.executable, "-m", "benchmarks.soak_bot", f"{period_s}"), venue=TOPSTEPX)
    with running(bot) as contest:
        gateway: Gateway = contest.venue
        gateway.has_own_quotes = True
        hold_both(contest)
        lines = Lines(contest.folder / LAG_FILE)
        pid, writes = contest.process.pid, len(gateway.actions)
        found = Soak(resident_mb(pid), [], 0, 0.0, 0, 0)
        lines.fresh()  # of the time before
        dice = random.Random(SEED)
        markets = [Market(contract, dice) for contract in TICKS]
        started_s = now_s = next_s = time.monotonic()
        due_s = started_s
        while now_s - started_s < minutes * 60 + period_s and len(found.minutes) * period_s < minutes * 60:
            while next_s <= now_s:
                send(gateway, dice.choice(markets), now_s - started_s)
                found.sent += 1
                next_s += dice.expovariate(rate)
            gateway.pause(max(next_s - time.monotonic(), 0.0005))
            now_s = time.monotonic()
            if now_s >= due_s:
                due_s = now_s + min(1.0, period_s / 4)
                contest.wait_until(lambda: True, "")  # raises when the bot has ended
                found.minutes += [tell(Minute(line, resident_mb(pid)), found) for line in lines.fresh()]
        found.seconds = now_s - started_s
        found.stops_moved = sum(r.action.what == "Order/modify" for r in gateway.actions[writes:])
        found.still_open = len(gateway.futures.held)
        return found


def hold_both(contest: TopstepRun) -> None:
    """A position opened by hand in each contract, each with its stop at the venue."""
    gateway, account = contest.venue, contest.venue.futures
    contest.wait_until(lambda: all(gateway.listens(channel("GatewayTrade", c)) for c in TICKS), "both subscriptions")
    contest.wait_until(lambda: account.seen_clean and gateway.listens("GatewayUserTrade"), "a clean account")
    gateway.settle(0.3, READY_S)
    for contract, price in futures.START_PRICE.items():
        gateway.tell(account.buy_by_hand(contract, price))
    contest.wait_until(lambda: account.stops_placed == len(TICKS), "a stop for each position")
    gateway.pause(1.0)


def send(gateway: Gateway, market: Market, elapsed_s: float) -> None:
    name, price, record = market.next(elapsed_s)
    gateway.futures.last[name.partition(" ")[2]] = price
    gateway.publish(name, frame(record))


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
    late = max(minute.line.p99 for minute in found.minutes)
    base = found.minutes[max(0, len(found.minutes) // 5 - 1)]
    growth = found.minutes[-1].mb - base.mb
    more = [f"{after - before}" if after is not None and before is not None else "not measured"
            for after, before in ((last.files, base.line.files), (last.threads, base.line.threads))]  # fmt: skip
    goals = (
        ("p99 over all under 5 ms", number(last.total_p99), verdict(last.total_p99 < LAG_MS_MAX)),
        ("p99 of the worst period under 5 ms", number(late), verdict(late < LAG_MS_MAX)),
        ("memory flat (MB after the first fifth)", number(growth, 1), verdict(growth <= GROWTH_MB_MAX)),
        ("files and threads flat", f"{more[0]}, {more[1]}", verdict(not any(m.isdigit() and int(m) > 2 for m in more))),
    )
    rows += [(f"goal: {name}", figure, ok, *[""] * 7) for name, figure, ok in goals]
    return Table(
        "8. Soak on TopstepX, milliseconds",
        f"{found.sent} quotes and trades (42 to 20) of MGC and MNQ in {found.seconds / 60:.1f} minutes, "
        f"{found.sent / found.seconds:.0f} a second at random moments, a position held in both; the bot moved its "
        f"stops {found.stops_moved} times and held {found.still_open} positions at the end. Lag of the bot itself: "
        "from the moment the stream's thread has received the bytes to the end of the decision on the main thread. "
        f"A line each {arguments.period:g} s; `inbox` is the most that waited at once.",
        ("", "messages", "p50", "p95", "p99", "worst", "MB", "files", "threads", "inbox"),
        rows,
    )


def lag_cells(line: Line) -> tuple[str, ...]:
    return f"{line.frames}", *(number(value) for value in (line.p50, line.p95, line.p99, line.worst))


def house_cells(line: Line) -> tuple[str, ...]:
    return "not measured" if line.files is None else f"{line.files}", f"{line.threads}", f"{line.inbox}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
