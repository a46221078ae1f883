"""Measure, print, write `benchmarks/results.md`: `python -m benchmarks [--only PART ...] [--rivals DIR]`."""

import argparse
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import measures
from benchmarks.contestants import (
    FLOOR,
    HYPERLIQUID,
    TOPSTEPX,
    Contestant,
    floor,
    libraries,
    plain,
    sketches,
    whole_bot,
)
from benchmarks.report import Table, number, page, text, verdict

RESULTS = Path(__file__).resolve().parent / "results.md"
BLOCKS = 5
PARTS = ("latency", "latency-topstepx", "burst", "start", "size", "memory", "idle")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the bot beside its rivals.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rivals", type=Path, metavar="DIR", help="folder of virtual environments with ccxt, ...")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--frames", type=int, default=20_000, help="of the burst")
    parser.add_argument("--trades", type=int, default=1_000_000, help="of the memory test")
    parser.add_argument("--idle-minutes", type=float, default=10.0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    arguments = parse(argv)
    rivals = libraries(arguments.rivals)
    others = [rival for rival in rivals if rival.venue == HYPERLIQUID]
    parts: dict[str, Callable[[argparse.Namespace, list[Contestant]], Table]] = {
        "latency": latency,
        "latency-topstepx": lambda arguments, _: latency_topstepx(arguments, rivals),
        "burst": burst,
        "memory": memory,
        "start": start_up,
        "size": size,
        "idle": idle,
    }
    tables = []
    for part in arguments.only:
        table = parts[part](arguments, others)
        tables.append(table)
        print(text(table), flush=True)
    versions = [rival.version for rival in rivals]
    before = arguments.output.read_text(encoding="utf-8") if arguments.output.exists() else ""
    arguments.output.write_text(page(tables, versions, command(arguments), before), encoding="utf-8")
    print(f"\nwritten to {arguments.output.name}")
    return 0


def command(arguments: argparse.Namespace) -> str:
    """What was asked for, without the folders of this machine."""
    words = ["python -m benchmarks"]
    if tuple(arguments.only) != PARTS:
        words += ["--only", *arguments.only]
    for name in ("rounds", "frames", "trades", "idle_minutes"):
        words += [f"--{name.replace('_', '-')}", f"{getattr(arguments, name)}"]
    return " ".join([*words, "--rivals DIR"] if arguments.rivals else words)


def each(contestants: list[Contestant], measure: Callable[[Contestant], Any]) -> list[tuple[Contestant, Any]]:
    """One after the other; a rival that breaks loses its row, and the bot may not break."""
    found = []
    for contestant in contestants:
        print(f"  measuring {contestant.name} ...", file=sys.stderr, flush=True)
        try:
            found.append((contestant, measure(contestant)))
        except (RuntimeError, TimeoutError) as e:
            if contestant.is_bot:
                raise
            print(f"  {contestant.name}: {e}", file=sys.stderr, flush=True)
    return found


def in_turns(contestants: list[Contestant], rounds: int) -> list[tuple[Contestant, measures.Latency]]:
    """Everybody plays some rounds, then everybody some more: a machine that slows down slows all of them."""
    samples: dict[str, list[float]] = {}
    blocks = min(BLOCKS, rounds)
    for block in range(blocks):
        share = rounds * (block + 1) // blocks - rounds * block // blocks
        for contestant, samples_ms in each(contestants, lambda c, share=share: measures.tick_to_order(c, share)):  # type: ignore[misc]
            samples.setdefault(contestant.name, []).extend(samples_ms)
    return [(c, measures.latency(samples[c.name])) for c in contestants if c.name in samples]


def latency(arguments: argparse.Namespace, others: list[Contestant]) -> Table:
    found = in_turns([floor(), *sketches(), whole_bot(), *others], arguments.rounds)
    medians = {c.name: f.median for c, f in found}
    bot = next(f for c, f in found if c.is_bot)
    extra = [
        ("median at most 0.4 x SDK", bot.median / median, bot.median <= 0.4 * median)
        for name, median in medians.items()
        if "official" in name
    ]
    return Table(
        "1. Tick to order, milliseconds",
        f"From the venue's write of the crossing trade to its receipt of the whole order; {how(arguments.rounds)} "
        "The whole bot runs as a user's does (journal, ledger, log, health page, armed exit, a stop resting at the "
        "venue); each round opens a new position. "
        "Only its budget of read weight is enlarged, or 200 rounds would take a quarter of an hour.",
        ("", "median", "p95", "p99", "worst"),
        latency_rows(found, extra),
    )


def latency_topstepx(arguments: argparse.Namespace, rivals: list[Contestant]) -> Table:
    others = [rival for rival in rivals if rival.venue == TOPSTEPX]
    found = in_turns([floor(TOPSTEPX), *sketches(TOPSTEPX), whole_bot(TOPSTEPX), *others], arguments.rounds)
    return Table(
        "7. Tick to order on TopstepX, milliseconds",
        "From the write of the crossing GatewayTrade to the receipt of the whole first request of the exit, which is "
        "Order/cancel: without reduce-only the stop at the venue must go before the position is closed. "
        f"{how(arguments.rounds).capitalize()} The price has risen and falls below the trail, which lies above the "
        "venue's stop; the whole bot then cancels, reads, closes and finds itself flat before the next round. "
        "Only its request limits are enlarged.",
        ("", "median", "p95", "p99", "worst"),
        latency_rows(found, []),
    )


def how(rounds: int) -> str:
    return (
        f"{rounds} rounds, each after 50 ms of silence, in {BLOCKS} turns, so that a machine that slows down slows "
        "everybody."
    )


def latency_rows(
    found: list[tuple[Contestant, measures.Latency]], extra: list[tuple[str, float, bool]]
) -> list[tuple[str, ...]]:
    rows = [(c.name, *(number(v) for v in (f.median, f.p95, f.p99, f.worst))) for c, f in found]
    bot = next(f for c, f in found if c.is_bot)
    low = next(f.median for c, f in found if c.name == FLOOR)
    goals = [
        ("median at most 3 x floor", bot.median / low, bot.median <= 3 * low),
        *extra,
        ("p99 at most 3 x floor + 0.5 ms", (bot.p99 - 0.5) / low, bot.p99 <= 3 * low + 0.5),
    ]
    return rows + [(f"goal: {name}", f"{ratio:.2f} x", verdict(ok), "", "") for name, ratio, ok in goals]


def burst(arguments: argparse.Namespace, others: list[Contestant]) -> Table:
    found = each([*sketches()[:1], plain(), whole_bot(), *others], lambda c: measures.burst(c, arguments.frames))
    rows: list[tuple[str, ...]] = [
        (c.name, number(f.seconds, 3), str(f.decided or ""), number(f.mb, 0)) for c, f in found
    ]
    bot = next(f for c, f in found if c.is_bot)
    rows.append(("goal: within 0.8 s (aim 0.2 s)", number(bot.seconds, 3), verdict(bot.seconds <= 0.8), ""))
    whole = bot.decided is not None and bot.decided > arguments.frames
    rows.append(("goal: every trade passes the exit rules", str(bot.decided), verdict(whole), ""))
    return Table(
        "2. Burst, seconds",
        f"{arguments.frames} trade frames at once, then the crossing one: until the exit has reached the venue. "
        "Trades are counted in the journal, before the exit's line; the last column is resident MB afterwards.",
        ("", "exit after", "trades decided", "MB"),
        rows,
    )


def memory(arguments: argparse.Namespace, others: list[Contestant]) -> Table:
    found = each([whole_bot(), *others], lambda c: measures.memory(c, arguments.trades))
    rows = [(c.name, *(number(mb, 0) for mb in f)) for c, f in found]
    bot = next(f for c, f in found if c.is_bot)
    rows.append(("goal: at most 90 MB", number(bot[-1], 0), verdict(bot[-1] <= 90), *[""] * (len(bot) - 2)))
    growth = bot[-1] - bot[1]
    rows.append(("goal: flat (last four steps)", number(growth, 1), verdict(growth <= 3), *[""] * (len(bot) - 2)))
    steps = [f"{arguments.trades * n // 5 / 1e6:g} M" for n in range(1, 6)]
    return Table(
        "5. Memory, resident MB",
        f"After so many trades, at {measures.TRADES_A_SECOND} a second in frames of {measures.TRADES_A_FRAME}.",
        ("", "start", *steps),
        rows,
    )


def start_up(arguments: argparse.Namespace, others: list[Contestant]) -> Table:
    found = each([whole_bot(), *others], lambda c: measures.median_of(lambda: measures.start_up(c)))
    rows: list[tuple[str, ...]] = [(c.name, number(f)) for c, f in found]
    bot = next(f for c, f in found if c.is_bot)
    rows.append(("goal: at most 2 s", verdict(bot <= 2)))
    return Table(
        "3. Start to first price, seconds",
        "From the start of the process, interpreter included, to the first price it shows; median of 3.",
        ("", "seconds"),
        rows,
    )


def size(arguments: argparse.Namespace, others: list[Contestant]) -> Table:
    try:
        ours = measures.installed_mb()
    except subprocess.CalledProcessError:
        ours = float("nan")  # no package index within reach
    rows: list[tuple[str, ...]] = [("requirements.txt", number(ours, 0))]
    rows += [(c.name, number(measures.folder_mb(c.packages[0]), 0)) for c in others if c.packages and c.is_elsewhere]
    rows.append(("goal: at most 100 MB", verdict(ours <= 100)))
    return Table(
        "4. Installed, MB", "Files in a fresh virtual environment, pip and setuptools left out.", ("", "MB"), rows
    )


def idle(arguments: argparse.Namespace, others: list[Contestant]) -> Table:
    """All at the same time, each on its own venue: the time is spent waiting."""
    contestants = [whole_bot(), *sketches()[-1:], *others]
    found: dict[str, measures.Idle] = {}

    def run(contestant: Contestant) -> None:
        for _, figures in each([contestant], lambda c: measures.idle(c, arguments.idle_minutes)):
            found[contestant.name] = figures

    threads = [threading.Thread(target=run, args=(contestant,)) for contestant in contestants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows: list[tuple[str, ...]] = [
        (c.name, str(found[c.name].handshakes), number(found[c.name].ms)) for c in contestants if c.name in found
    ]
    bot = found[contestants[0].name]
    rows.append(("goal: no handshake", verdict(bot.handshakes == 0), ""))
    return Table(
        "6. The first exit after a quiet spell",
        f"After {arguments.idle_minutes:g} minutes without a trade, on a venue that closes HTTP connections on "
        "which it has sent nothing for 60 s. TCP connections accepted between the crossing trade and the order.",
        ("", "handshakes", "milliseconds"),
        rows,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
