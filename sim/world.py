"""The deterministic world: one seed, one trading day of the real bot at a simulated venue, with everything going wrong.

    python -m sim.world --venue hyperliquid --seeds 1000
    python -m sim.world --venue hyperliquid --seed 123 --faults 3,7

Real: `decide`, the main loop, journal and restore, order lanes, readers, streams, clients, dialects and the exchange.
Played: time, threads, sockets and disks. The same seed runs the same way, byte for byte.
"""

import argparse
import contextlib
import hashlib
import importlib
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from runtime import collector
from sim import world_faults
from sim.invariants import check
from sim.world_director import ADAPTERS, Director
from sim.world_kernel import BEGIN_MS, World
from sim.world_types import Fault, LogLine, Tape, Violation

MANY = 100  # days after which every kind of fault must have struck


class Result(msgspec.Struct):
    """What became of one day."""

    seed: int
    violations: list[Violation]
    counts: dict[str, int]
    faults: list[Fault]
    digest: str  # of all journal bytes
    cpu_s: float


class TapeHandler(logging.Handler):
    """The log of the bot, as lines of the tape."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        world = self._world
        text = record.getMessage()
        run = world.process.run if world.process is not None else 0
        world.tape.log.append(LogLine(world.now_ms, run, record.levelname, text.split(" ", 1)[0], text))


def play_day(venue: str, seed: int, only: Collection[int] | None = None, short: bool = False) -> Tape:
    """The day of a seed, with all of its faults or those of the given numbers."""
    return play(Director(venue, seed, only, short))


def play(director: Director) -> Tape:
    with unswept():
        return _play(director)


@contextlib.contextmanager
def unswept() -> Iterator[None]:
    """The bot collects garbage in quiet moments; here that takes longer than all the rest."""
    kept = collector.sweep, collector.sweep_all
    collector.sweep = collector.sweep_all = lambda: None
    try:
        yield
    finally:
        collector.sweep, collector.sweep_all = kept


def _play(director: Director) -> Tape:
    handler, root = TapeHandler(director.world), logging.getLogger()
    before, root.handlers, level = root.handlers, [handler], root.level
    root.setLevel(logging.INFO)
    try:
        return director.play()
    finally:
        root.handlers = before
        root.setLevel(level)


def run_day(venue: str, seed: int, only: Collection[int] | None = None, short: bool = False) -> Result:
    began_s = time.process_time()
    director = Director(venue, seed, only, short)
    tape = play(director)
    violations = check(tape) + [
        Violation("P9_safe_side", true_ms, f"P9 Safe side: a thread died of {error}")
        for true_ms, error in director.world.died
    ]
    digest = hashlib.sha256(tape.journal()).hexdigest()
    return Result(seed, violations, tape.counts, tape.faults, digest, time.process_time() - began_s)


# --- shrinking --------------------------------------------------------------------------------------------------------


def shrink(venue: str, seed: int, name: str, faults: Sequence[Fault], short: bool = False) -> list[int]:
    """The fewest faults found with which the violation of this name still comes: halves first, then one by one."""
    kept = [fault.number for fault in faults]

    def fails(numbers: list[int]) -> bool:
        return any(violation.name == name for violation in run_day(venue, seed, numbers, short).violations)

    if fails([]):
        return []
    size = max(1, len(kept) // 2)
    while size >= 1:
        at, shorter = 0, False
        while at < len(kept):
            fewer = kept[:at] + kept[at + size :]
            if fewer and fails(fewer):
                kept, shorter = fewer, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return kept


# --- many days --------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def pin() -> None:
    """Turns are handed between threads: on one core that costs a third."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        worker = multiprocessing.current_process()._identity
        os.sched_setaffinity(0, {cores[(worker[0] if worker else 0) % len(cores)]})


def run_days(venue: str, seeds: Sequence[int], workers: int, short: bool = False) -> Iterator[Result]:
    if workers <= 1:
        yield from (run_day(venue, seed, None, short) for seed in seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=pin) as pool:
        yield from pool.imap(_run_one, [(venue, seed, None, short) for seed in seeds], chunksize=5)


def _run_one(what: tuple[str, int, None, bool]) -> Result:
    return run_day(*what)


def kinds_of(venue: str) -> list[str]:
    """Every kind of fault that may strike there."""
    adapter: Any = importlib.import_module(ADAPTERS[venue])
    return [kind.name for kind in (*world_faults.KINDS, *adapter.KINDS)]


def never_fired(venue: str, counts: Counter[str]) -> list[str]:
    return [kind for kind in kinds_of(venue) if not counts[f"fault {kind}"]]


def told(counts: Counter[str]) -> str:
    """What was done, in a few lines."""
    plain = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()) if not name.startswith(("fault ", "action ")))
    acted = ", ".join(f"{n} {name[7:]}" for name, n in sorted(counts.items()) if name.startswith("action "))
    faults = ", ".join(f"{n} {name[6:]}" for name, n in sorted(counts.items()) if name.startswith("fault "))
    return f"  {plain}\n  actions: {acted}\n  faults: {faults}"


def command(venue: str, seed: int, faults: Sequence[int] | None = None, short: bool = False) -> str:
    numbers = "" if faults is None else f" --faults {','.join(map(str, faults)) or 'none'}"
    return f"python -m sim.world --venue {venue} --seed {seed}{numbers}{' --short' if short else ''}"


def tell_violations(venue: str, result: Result, short: bool = False) -> None:
    for violation in result.violations:
        step_s = (violation.true_ms - BEGIN_MS) / 1_000
        say(f"{violation.name} seed={result.seed} step={step_s:.3f}s {violation.text}")
    if result.violations:
        say(f"  replay: {command(venue, result.seed, short=short)}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sim.world", description="Simulated days of the bot")
    parser.add_argument("--venue", choices=sorted(ADAPTERS), default="hyperliquid")
    parser.add_argument("--seed", type=int, help="one day")
    parser.add_argument("--seeds", type=int, default=100, help="so many days")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--faults", help="numbers of the faults to keep, or none")
    parser.add_argument("--short", action="store_true", help="days of half a minute, as the tests have them")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep-all", action="store_true", help="do not look for the faults that matter")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _one(options)
    return _many(options)


def _one(options: argparse.Namespace) -> int:
    pin()
    only = None if options.faults is None else [int(n) for n in options.faults.split(",") if n.isdigit()]
    result = run_day(options.venue, options.seed, only, options.short)
    for fault in result.faults:
        say(f"  {fault.number}: {fault.kind} at {fault.at_ms / 1000:.3f}s for {fault.for_ms} ms {fault.args}")
    say(told(Counter(result.counts)))
    say(f"  journal {result.digest[:16]}, {result.cpu_s:.2f} s")
    tell_violations(options.venue, result, options.short)
    if result.violations and not options.keep_all and only is None:
        needed = shrink(options.venue, options.seed, result.violations[0].name, result.faults, options.short)
        say(f"  needed: {command(options.venue, options.seed, needed, options.short)}")
    return 1 if result.violations else 0


def _many(options: argparse.Namespace) -> int:
    began_s = time.monotonic()
    total: Counter[str] = Counter()
    names: Counter[str] = Counter()
    cpu_s, failed = 0.0, 0
    seeds = range(options.first, options.first + options.seeds)
    for result in run_days(options.venue, seeds, options.workers, options.short):
        total.update(result.counts)
        cpu_s += result.cpu_s
        failed += bool(result.violations)
        names.update({violation.name for violation in result.violations})
        tell_violations(options.venue, result, options.short)
    say(f"{options.venue}: {options.seeds} days, {failed} with a violation {dict(names) or ''}")
    say(told(total))
    say(f"  {time.monotonic() - began_s:.0f} s, {cpu_s:.0f} s of processors, {cpu_s / options.seeds:.3f} s a day")
    mute = never_fired(options.venue, total) if options.seeds >= MANY else []
    for kind in mute:
        say(f"  NEVER FIRED: {kind}")
    return 1 if failed or mute else 0


if __name__ == "__main__":
    sys.exit(main())
