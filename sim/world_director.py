"""Who plays a day of the deterministic world: prices, stretches, faults and restarts, each at its time."""

import importlib
from collections.abc import Callable, Collection
from functools import partial

from core.messages import RESTART
from sim import world_faults
from sim.world_faults import SHORT, WHOLE, Day, Episode, draw_day
from sim.world_kernel import BEGIN_MS, World
from sim.world_process import DeathPoint, Process
from sim.world_shell import Disk, ledger_rows
from sim.world_types import Adapter, Ending, Fault, Tape

ADAPTERS = {"hyperliquid": "sim.world_hyperliquid", "topstepx": "sim.world_topstepx"}
BLOCK_MS = 330
IDLE_BLOCK_MS = 2_000  # while the bot is away or asleep
GAP_BLOCKS = 12  # over the hours between two stretches
HUNG_UP_US = 60_000_000  # a connection that was left alone for so long is gone
RESTART_US = 3_000_000  # a bot that ended by itself is started again after this long


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
            world.after(fault.at_ms * 1_000, partial(self._begin, fault))
        for episode, following in zip(day.episodes, [*day.episodes[1:], None], strict=True):
            if following is not None:
                world.after(episode.to_ms * 1_000, partial(self._rest, episode, following))
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
                    link.break_off()
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
            self.world.dice(fault).choice(links).break_off()
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
            link.break_off()

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
