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
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec

from core.messages import RESTART
from runtime import collector
from sim import world_faults
from sim.invariants import check
from sim.world_faults import SHORT, WHOLE, Day, Episode, draw_day
from sim.world_kernel import BEGIN_MS, World
from sim.world_process import DeathPoint, Process
from sim.world_shell import Disk, ledger_rows
from sim.world_types import Adapter, Ending, Fault, LogLine, Tape, Violation

ADAPTERS = {"hyperliquid": "sim.world_hyperliquid", "topstepx": "sim.world_topstepx"}
BLOCK_MS = 330
IDLE_BLOCK_MS = 2_000  # while the bot is away or asleep
GAP_BLOCKS = 12  # over the hours between two stretches
HUNG_UP_US = 60_000_000  # a connection that was left alone for so long is gone
RESTART_US = 3_000_000  # a bot that ended by itself is started again after this long
MANY = 100  # days after which every kind of fault must have struck


class Result(msgspec.Struct):
    """What became of one day."""

    seed: int
    violations: list[Violation]
    counts: dict[str, int]
    faults: list[Fault]
    digest: str  # of all journal bytes
    cpu_s: float


class Director:
    """Plays one day: prices, stretches, faults and restarts, in true time."""

    def __init__(self, venue: str, seed: int, only: Collection[int] | None = None, short: bool = False) -> None:
        self.world = World(venue, seed, ())
        make: Callable[..., Adapter] = importlib.import_module(ADAPTERS[venue]).make
        self.adapter = make(self.world, seed)
        self.day: Day = draw_day(seed, self.adapter.fault_kinds(), SHORT if short else WHOLE)
        self.faults = [f for f in self.day.faults if only is None or f.number in only]
        self.world.tape.faults = list(self.faults)
        self.disk = Disk()
        self._generic = {kind.name for kind in world_faults.KINDS}
        self._runs = 0
        self._down_until_us = self._asleep_until_us = 0
        self._block_us = self._asleep_us = 0
        self._gap_block_us: int | None = None

    def play(self) -> Tape:
        world, day = self.world, self.day
        world.tape.bot_offsets.append((BEGIN_MS, 0))
        world.wall_us = day.episodes[0].wall_ms * 1_000
        self._block_us = world.now_us()
        self._block()
        for fault in self.faults:
            world.after(fault.at_ms * 1_000, lambda fault=fault: self._begin(fault))  # type: ignore[misc]
        for episode, following in zip(day.episodes, [*day.episodes[1:], None], strict=True):
            if following is not None:
                world.after(episode.to_ms * 1_000, lambda e=episode, f=following: self._rest(e, f))  # type: ignore[misc]
        self._start()
        world.after((day.end_ms - day.quiet_ms) * 1_000, self.adapter.quieten)
        world.run_until((BEGIN_MS + day.end_ms) * 1_000)
        self._finish()
        return world.tape

    # --- prices -----------------------------------------------------------------------------------------------------

    def _block(self) -> None:
        world = self.world
        elapsed_us = world.now_us() - self._block_us
        if world.venue_up:
            self._block_us = world.now_us()
            self.adapter.step(elapsed_us // 1_000)
            world.counts["blocks"] += 1
        away = world.process is None or world.is_asleep
        next_us = self._gap_block_us or (IDLE_BLOCK_MS if away else BLOCK_MS) * 1_000
        world.after(next_us, self._block)

    # --- the bot ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self.world.process is None and self.world.now_us() >= self._down_until_us:
            self._runs += 1
            process = Process(self.world, self.adapter, self.disk, self._runs)
            process.on_end = self._ended

    def _ended(self, ending: Ending) -> None:
        """Somebody starts it again, unless it was taken down for a while."""
        self.world.after(100_000 if ending.exit_code == RESTART else RESTART_US, self._start)

    def _down_for(self, ms: int) -> None:
        """No bot until then."""
        self._down_until_us = max(self._down_until_us, self.world.now_us() + ms * 1_000)
        self.world.after(ms * 1_000, self._start)

    def _sleep(self, ms: int) -> None:
        world = self.world
        began_us = world.now_us()
        self._asleep_until_us = max(self._asleep_until_us, began_us + ms * 1_000)
        if not world.is_asleep:
            world.is_asleep, self._asleep_us = True, began_us
            world.open_span("asleep")

        def wake() -> None:
            if not world.is_asleep or world.now_us() < self._asleep_until_us:
                return
            world.is_asleep = False
            world.has_slept(world.now_us() - self._asleep_us)
            world.close_span("asleep")
            if world.now_us() - self._asleep_us > HUNG_UP_US:  # the venue has hung up meanwhile
                world.http_epoch += 1
                for link in list(world.open_links):
                    link.break_off()  # type: ignore[attr-defined]
            if world.process is not None:
                world.process.awake()

        world.after(ms * 1_000, wake)

    def _rest(self, episode: Episode, following: Episode) -> None:
        """The hours until the next stretch."""
        world = self.world
        ms = following.from_ms - episode.to_ms
        world.counts[f"gap {episode.then}"] += 1
        self._gap_block_us = ms * 1_000 // GAP_BLOCKS
        world.after(ms * 1_000 - 500_000, lambda: setattr(self, "_gap_block_us", None))
        world.after(ms * 1_000 - 400_000, lambda: world.wall_moved(following.wall_ms * 1_000))
        process = world.process
        if episode.then == "asleep" and process is not None:
            self._sleep(ms)
            return
        self._down_for(ms)
        if process is not None:
            if episode.then == "stopped" and not world.is_asleep:
                process.ask_to_stop()
                world.after(9_000_000, lambda: process.end("killed", None))  # it would have been by then
            else:
                process.end("killed", None)

    # --- faults -----------------------------------------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        world = self.world
        if fault.for_ms:
            world.begin_fault(fault)
            world.after(fault.for_ms * 1_000, lambda: self._end(fault))
        if fault.kind not in self._generic:
            if self.adapter.begin(fault):
                world.fired(fault)
            return
        if span := world_faults.SPANS.get(fault.kind):
            world.open_span(span, f"{fault.kind} {fault.number}")
        strike = getattr(self, f"_strike_{fault.kind}", None)
        if strike is not None and strike(fault):
            world.fired(fault)

    def _end(self, fault: Fault) -> None:
        self.world.end_fault(fault)
        if fault.kind not in self._generic:
            self.adapter.end(fault)
        elif span := world_faults.SPANS.get(fault.kind):
            self.world.close_span(span, f"{fault.kind} {fault.number}")

    def _strike_cut_stream(self, fault: Fault) -> bool:
        links = list(self.world.open_links)
        if links:
            self.world.dice(fault).choice(links).break_off()  # type: ignore[attr-defined]
        return bool(links)

    def _strike_bot_killed(self, fault: Fault) -> bool:
        process = self.world.process
        if process is None or process.bot is None:
            return False
        process.death = DeathPoint(fault.args["steps"], fault.args["how"])
        self._down_for(fault.args["down_ms"] + 1_000)

        def at_last() -> None:
            process.end("killed", None)

        self.world.after(1_000_000, at_last)
        return True

    def _strike_bot_stopped(self, fault: Fault) -> bool:
        process = self.world.process
        if process is None or self.world.is_asleep:
            return False
        self._down_for(fault.args["down_ms"] + 6_000)
        process.ask_to_stop()
        self.world.after(5_000_000, lambda: process.end("killed", None))
        return True

    def _strike_asleep(self, fault: Fault) -> bool:
        if self.world.is_asleep or self.world.process is None:
            return False
        self._sleep(fault.for_ms)
        return True

    def _strike_clock_jump(self, fault: Fault) -> bool:
        self.world.wall_moved(self.world.wall_us + fault.args["ms"] * 1_000)
        return True

    def _strike_venue_restart(self, fault: Fault) -> bool:
        world = self.world
        if not world.venue_up:
            return False
        world.venue_up = False
        world.http_epoch += 1
        world.open_span("venue_down")
        for link in list(world.open_links):
            link.break_off()  # type: ignore[attr-defined]

        def back() -> None:
            world.venue_up = True
            world.close_span("venue_down")
            self.adapter.restarted()

        world.after(fault.for_ms * 1_000, back)
        return True

    def _strike_flatten(self, fault: Fault) -> bool:
        if self.world.process is None:
            return False
        self.world.process.flatten_asked = True
        return True

    # --- the end ----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        world = self.world
        self.adapter.finish()
        if world.process is not None:
            world.process.end("over", None)
        world.run_until(world.now_us() + 1_000_000)
        world.crew.dismiss()
        tape = world.tape
        tape.end_ms = BEGIN_MS + self.day.end_ms
        tape.ledger_fills, tape.ledger_orders = ledger_rows(self.disk)
        tape.counts = dict(world.counts)


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
