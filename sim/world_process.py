"""One run of the bot: the real `runtime.bot.Bot` and everything around it, put together as `trading_bot.py` does.

What has a thread there is a fibre here. A process may die between any two steps, and in the middle of writing.
"""

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from core.messages import AnyAction
from core.rules import Rules
from core.state import State
from runtime.bot import Bot
from runtime.clock import LEAP_MS
from runtime.executor import LiveExecutor
from runtime.journal import parted, since_snapshot
from runtime.poller import BUDGET_S
from runtime.recovery import Decode, Restored, rebuild
from runtime.report_health import build
from runtime.venue import CredentialsRefused
from sim.world_fibres import Fibre, Killed
from sim.world_http import Network, WorldReads, WorldWarm
from sim.world_kernel import World
from sim.world_shell import (
    Disk,
    WorldInbox,
    WorldJournal,
    WorldLanes,
    WorldLedger,
    WorldListing,
    WorldPoller,
    WorldReader,
    WorldWatch,
)
from sim.world_socket import WorldStream
from sim.world_types import Adapter, Ending, Health
from wiring import read_instruments, remember_left

log = logging.getLogger("bot")
HEALTH_EVERY = 10  # of the bot's publications


class DeathPoint(msgspec.Struct):
    """Die at one of the next steps that matter: before a write, in the middle of it, after it, or after a send."""

    steps: int  # to let pass
    how: str  # before, torn, after


class BotClock:
    """`runtime.clock.SystemClock` on the machine of the world: follows the wall clock forwards, never back."""

    def __init__(self, world: World, process: "Process") -> None:
        self._world, self._process = world, process
        self._offset_us = world.wall_us
        world.tape.bot_offsets.append((world.now_ms, self._offset_us // 1_000))

    def now_ms(self) -> int:
        return (self._world.now_us() + self._offset_us) // 1_000

    def steady_ms(self) -> int:
        return self._world.now_us() // 1_000

    def follow(self) -> None:
        if self._world.wall_us - self._offset_us > LEAP_MS * 1_000:
            self._offset_us = self._world.wall_us
            self._world.tape.bot_offsets.append((self._world.now_ms, self._offset_us // 1_000))

    def wait(self, stop: threading.Event, delay_s: float) -> bool:
        if not stop.is_set():
            fibre = self._world.crew.current
            assert fibre is not None, "only a fibre may wait"
            waiter = (fibre, fibre.ticket, stop)
            self._process.waiters.append(waiter)
            self._world.wait(int(delay_s * 1e6))
            self._process.waiters.remove(waiter)
        return stop.is_set()


class Streams:
    """All streams as the one `VenueStream` that the executor knows."""

    def __init__(self, streams: Sequence[WorldStream], watch: Callable[[Sequence[str]], None]) -> None:
        self._streams, self.watch = streams, watch

    def reconnect(self, reason: str, name: str | None = None) -> None:
        for stream in self._streams:
            if name is None or stream._name == name:
                stream.reconnect(reason)

    def stay_keen(self, on: bool) -> None:
        pass


class WorldExecutor(LiveExecutor):
    process: "Process"

    def act(self, action: AnyAction, body: bytes | None) -> None:
        super().act(action, body)
        self.process.world.counts[f"action {type(action).__name__}"] += 1
        if self.process.dies_at_write() is not None:
            self.process.die_here()


class Process:
    def __init__(self, world: World, adapter: Adapter, disk: Disk, run: int) -> None:
        self.world, self.adapter, self.disk, self.run = world, adapter, disk, run
        self.is_alive = True
        self.clock = BotClock(world, self)
        self.inbox = WorldInbox(self)
        self.waiters: list[tuple[Fibre, int, threading.Event]] = []
        self.bot: Bot | None = None
        self.death: DeathPoint | None = None
        self.flatten_asked = False
        self.is_stopping = False
        self.on_end: Callable[[Ending], None] = lambda ending: None
        self.journal = WorldJournal(world, self, disk, "")
        self._fibres: list[Fibre] = []
        self._postponed: list[Callable[[], None]] = []
        self._turn_us: int | None = None
        self._published = 0
        self._network = Network(world, self, adapter)
        world.process = self
        world.open_span("bot_up", str(run))
        world.counts["starts"] += 1
        self.spawn(self._boot)

    # --- what runs when ---------------------------------------------------------------------------------------------

    def later(self, delay_us: int, call: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
        """On this machine: not while it sleeps, and not after the process has died."""

        def due() -> None:
            if not self.is_alive:
                if otherwise is not None:
                    otherwise()
            elif self.world.is_asleep:
                self._postponed.append(due)
            else:
                call()

        self.world.after(delay_us, due)

    def awake(self) -> None:
        postponed, self._postponed = self._postponed, []
        for call in postponed:
            self.world.after(0, call)

    def spawn(self, work: Callable[[], None], delay_us: int = 50) -> None:
        def begin() -> None:
            fibre = self.world.crew.start(work)
            if fibre.error is not None:
                self._lost(fibre)
            elif not fibre.done:
                self._fibres = [each for each in self._fibres if not each.done]
                self._fibres.append(fibre)

        self.later(delay_us, begin)

    def _lost(self, fibre: Fibre) -> None:
        """A thread has died of a bug."""
        self.world.counts["threads died"] += 1
        self.world.died.append((self.world.now_ms, repr(fibre.error)))
        log.critical("thread_died error=%r", fibre.error)

    def nudge(self) -> None:
        """Something was set that a fibre may wait for."""
        for fibre, ticket, event in self.waiters:
            if event.is_set():
                self.later(20, lambda fibre=fibre, ticket=ticket: self.world.resume(fibre, ticket))  # type: ignore[misc]

    # --- a start ----------------------------------------------------------------------------------------------------

    def warm(self) -> WorldWarm:
        return WorldWarm(self._network)

    def reads(self) -> WorldReads:
        return WorldReads(self._network)

    def _boot(self) -> None:
        adapter, world = self.adapter, self.world
        client = adapter.client(self)
        try:
            instruments = read_instruments(client, threading.Event(), self.clock, None)
            rules = adapter.rules(instruments)
            adapter.prepare(client, rules)
        except CredentialsRefused as e:
            self.end("stopped", 3, str(e))
            return
        world.tape.rules = rules
        restored = self._restore(rules, adapter.decoder(rules))
        world.counts["events restored"] += restored.events
        self.journal._tag = rules.account_tag
        remember_left(client, restored.state)
        self._assemble(client, rules, restored.state)

    def _restore(self, rules: Rules, decode: Decode) -> Restored:
        lines = since_snapshot(bytes(self.disk.journal))
        if lines is None:
            return Restored(State(), 0, "this account has no journal yet")
        state, old_rules, records = parted(lines)
        assert state is not None and old_rules is not None, "a snapshot holds both"
        return rebuild(state, old_rules, records, decode)

    def _assemble(self, client: Any, rules: Rules, state: State) -> None:
        adapter, world = self.adapter, self.world
        lanes = WorldLanes(world, self, client.clone)
        listing = WorldListing(self, client.clone())
        reading = client.clone()
        timeframes_ms = {symbol: market.timeframe_ms for symbol, market in rules.markets.items()}
        reader = WorldReader(self, reading, timeframes_ms, adapter.seldom(reading, rules))
        poller = WorldPoller(self, client.clone(), list(rules.markets))
        plans = adapter.streams(client, rules)
        streams = [WorldStream(world, self, adapter, plan) for plan in plans]

        def watch(contract_ids: Sequence[str]) -> None:
            for plan in plans:
                if hasattr(plan.dialect, "watch"):
                    plan.dialect.watch(contract_ids)

        together: Any = Streams(streams, watch)
        executor = WorldExecutor(lanes, listing, reader, poller, together)
        executor.process = self
        counts: Counter[str] = Counter()

        def publish(state: State, word: str | None) -> None:
            self._published += 1
            if self._published % HEALTH_EVERY:
                return
            body = build(
                state, rules, now_ms=self.clock.now_ms(), started_ms=0,
                stream_status=streams[0].status() if streams else None, order_counts=counts, weight_used=0,
                weight_limit=1, journal_bytes=self.journal.bytes_written, journal_error=self.journal.error, word=word,
                recent=(),
            )  # fmt: skip
            world.tape.health.append(Health(world.now_ms, self.run, msgspec.to_builtins(body)))

        self.bot = Bot(
            state=state, rules=rules, strategies=adapter.strategies(rules),
            run_id=random.Random(f"{world.seed}/run/{self.run}").getrandbits(64),
            inbox=self.inbox, executor=executor, journal=self.journal, ledger=WorldLedger(self.disk),  # type: ignore[arg-type]
            clock=self.clock, publish=publish, notify=lambda name, text: world.count("notified"),
            is_flatten_asked=self._is_flatten_asked, order_counts=counts,
        )  # fmt: skip
        lanes.start()
        self.later(0, lanes.keep_warm)
        self.later(int(BUDGET_S * 1e6), reader.now_and_then)
        self.spawn(poller.go_on)
        self.spawn(WorldWatch(self, client.clone(), rules.is_open, lambda: reader.read_ms).go_on)
        for stream in streams:
            stream.start()
        self.bot.begin()
        if self.is_stopping:
            self.bot.ask_to_stop("asked to stop")
        self.rouse()

    def _is_flatten_asked(self) -> bool:
        asked, self.flatten_asked = self.flatten_asked, False
        return asked

    # --- the main thread --------------------------------------------------------------------------------------------

    def rouse(self, delay_us: int | None = None) -> None:
        """The main thread looks at its inbox, soon, or after `delay_us`."""
        world = self.world
        us = world.now_us() + (world.net.randrange(30, 900) if delay_us is None else delay_us)
        if self.bot is None or (self._turn_us is not None and self._turn_us <= us):
            return
        self._turn_us = us
        self.later(us - world.now_us(), lambda: self._turn(us))

    def _turn(self, us: int) -> None:
        if self._turn_us != us or self.bot is None:  # an earlier one took its place
            return
        self._turn_us = None
        items = self.inbox.items
        batch = [items.popleft() for _ in range(min(len(items), 512))]
        self.world.counts["messages"] += len(batch)
        try:
            exit_code = self.bot.turn(batch)
        except Killed:
            return
        except Exception as e:  # noqa: BLE001  # a bug that got out of the loop: the process would end here
            self.end("crashed", 1, repr(e))
            return
        if exit_code is not None:
            self.end("stopped", exit_code)
        elif items:
            self.rouse()
        else:
            self.rouse(max(0, self.bot.next_tick_ms - self.clock.now_ms()) * 1_000 + 1_000)

    def ask_to_stop(self) -> None:
        self.is_stopping = True
        if self.bot is None:
            self.end("stopped", 0)
        else:
            self.bot.ask_to_stop("asked to stop")

    # --- the end ----------------------------------------------------------------------------------------------------

    def dies_at_write(self) -> str | None:
        """How, if it is to die at this step."""
        if self.death is None:
            return None
        self.death.steps -= 1
        return self.death.how if self.death.steps < 0 else None

    def die_here(self) -> None:
        """In the middle of whatever runs."""
        self.end("killed", None)
        raise Killed

    def end(self, kind: str, exit_code: int | None, error: str = "") -> None:
        if not self.is_alive:
            return
        self.is_alive = False
        world = self.world
        ending = Ending(world.now_ms, self.run, kind, exit_code, error)
        world.tape.endings.append(ending)
        world.counts[f"ended {kind}"] += 1
        world.close_span("bot_up", str(self.run))
        world.after(0, lambda: self._clean_up(ending))

    def _clean_up(self, ending: Ending) -> None:
        for fibre in self._fibres:
            self.world.crew.kill(fibre)
        self._fibres.clear()
        for link in list(self.world.open_links):
            link.break_off()
        for call in self._postponed:
            self.world.after(0, call)
        if self.world.process is self:
            self.world.process = None
        self.on_end(ending)
