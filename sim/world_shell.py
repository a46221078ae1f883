"""What a run of the bot works with: the real journal, order lanes, readers and poller over a world without threads.

Each of them does what its namesake in `runtime/` does; its loop alone is replaced.
"""

import contextlib
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.rules import Rules
from core.state import State
from runtime import ledger as books
from runtime.alarm import told
from runtime.journal import Journal, day_of
from runtime.orders import WARM_LANES, OrderLanes, Task
from runtime.poller import BUDGET_S, SAMPLE_S, AccountReader, ListingReader, PricePoller
from runtime.watch import PositionWatch
from sim.world_kernel import World
from sim.world_types import Written

if TYPE_CHECKING:
    from sim.world_process import Process

NO_FILE = -1
POLL_S = 1.0
WARM_S = 20.0


class Disk:
    """What outlives a process: the journal's bytes, and the rows of the ledger."""

    def __init__(self) -> None:
        self.journal = bytearray()
        self.rows: list[books.Row] = []


def ledger_rows(disk: Disk) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Fills and orders as the ledger has them, the rows booked in order."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.executescript(books.SCHEMA)
        for sql, values in disk.rows:
            db.execute(sql, values)
        return db.execute("SELECT * FROM fills").fetchall(), db.execute("SELECT * FROM orders").fetchall()


class WorldJournal(Journal):
    """The real one over bytes in memory."""

    def __init__(self, world: World, process: "Process", disk: Disk, tag: str) -> None:
        super().__init__(Path(), tag, 1)
        self._world, self._process, self._disk = world, process, disk
        self.total = 0  # bytes of this run

    def _hand_over(self, lines: bytes) -> int:
        how = self._process.dies_at_write()
        if full := self._world.strikes("disk_full"):
            size = self._world.dice(full).randrange(len(lines))
            self._append(lines[:size], torn=True)
            raise OSError(28, "No space left on device")
        if how is not None:
            cut = {"before": 0, "torn": max(1, len(lines) - 7), "after": len(lines)}[how]
            self._append(lines[:cut], torn=how == "torn")
            self._process.die_here()
        self._append(lines)
        return len(lines)

    def _append(self, lines: bytes, torn: bool = False) -> None:
        world = self._world
        self._disk.journal += lines
        self.total += len(lines)
        world.tape.written.append(Written(world.now_ms, world.bot_ms(), self._process.run, lines, torn))

    def is_due(self, now_ms: int) -> bool:
        return self._fd is None or day_of(now_ms) != self._day

    def rotate(self, now_ms: int, state: State, rules: Rules) -> None:
        self._day = day_of(now_ms)
        if self._world.strikes("disk_full"):
            self.error = "No space left on device"
            raise OSError(28, self.error)
        self._fd, self.bytes_written = NO_FILE, 0
        self._torn = len(self._disk.journal) > 0 and not self._disk.journal.endswith(b"\n")
        self.write_snapshot(state, rules, with_bars=True)

    def rehearse(self) -> None:
        pass

    def close(self) -> None:
        self._fd = None


class WorldInbox:
    """The one queue."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self.items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self.items.append(item)
        self._process.rouse()


class WorldLedger:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def book(self, rows: Sequence[books.Row]) -> None:
        self._disk.rows += rows


class _Free:
    """The clients that nobody uses, and the tasks that wait for one."""

    def __init__(self) -> None:
        self._clients: deque[Any] = deque()
        self.waiting: deque[Callable[[Any], None]] = deque()

    def get_nowait(self) -> Any:
        if not self._clients:
            raise queue.Empty
        return self._clients.popleft()

    def put(self, client: Any) -> None:
        if self.waiting:
            self.waiting.popleft()(client)
        else:
            self._clients.append(client)


class WorldLanes(OrderLanes):
    """The real lanes; each task is a fibre."""

    def __init__(self, world: World, process: "Process", make_client: Callable[[], Any]) -> None:
        super().__init__(make_client, process.inbox, process.clock)
        self._world, self._process = world, process
        self._free: Any = _Free()
        self._tasks: Any = self

    def put(self, task: Task) -> None:
        def begin(client: Any) -> None:
            self._process.spawn(lambda: self._carry_out(client, task), self._world.net.randrange(20, 300))

        if task.client is not None:
            begin(task.client)
        else:
            self._free.waiting.append(begin)

    def _add_lane(self, first: Task) -> None:
        self._threads.append(threading.current_thread())  # only counted
        self._process.spawn(lambda: self._carry_out(self._make_client(), first), self._world.net.randrange(100, 900))

    def keep_warm(self) -> None:
        self._process.later(int(WARM_S * 1e6), self.keep_warm)
        for _ in range(WARM_LANES):
            try:
                client = self._free.get_nowait()
            except queue.Empty:
                return
            self.put(Task(client, None))


class WorldListing(ListingReader):
    def __init__(self, process: "Process", client: Any) -> None:
        super().__init__(client, process.inbox, process.clock)
        self._process, self._is_busy, self._is_asked, self._is_urgent = process, False, False, False

    def ask(self, is_urgent: bool = False) -> None:
        self._is_asked = True
        self._is_urgent |= is_urgent
        if not self._is_busy:
            self._is_busy = True
            self._process.spawn(self._serve)

    def _serve(self) -> None:
        while self._is_asked:
            self._is_asked = False
            self._client.hurry(self._is_urgent)
            self._is_urgent = False
            with told("listing", self._outbox, self._clock):
                self._read()
        self._is_busy = False


class WorldReader(AccountReader):
    def __init__(self, process: "Process", client: Any, timeframes_ms: dict[str, int], seldom: Any) -> None:
        super().__init__(client, timeframes_ms, process.inbox, process.clock, seldom)
        self._process, self._is_busy = process, False

    def ask(self, action: Any) -> None:
        super().ask(action)
        self._begin(self._serve_all)

    def now_and_then(self) -> None:
        self._process.later(int(BUDGET_S * 1e6), self.now_and_then)
        self._begin(self._read_budget)

    def _begin(self, work: Callable[[], None]) -> None:
        if self._is_busy:
            return
        self._is_busy = True

        def run() -> None:
            with told("reader", self._outbox, self._clock):
                work()
            self._is_busy = False
            if not self._asked.empty():
                self._begin(self._serve_all)

        self._process.spawn(run)

    def _serve_all(self) -> None:
        while not self._asked.empty():
            self._serve()


class WorldPoller(PricePoller):
    def __init__(self, process: "Process", client: Any, symbols: list[str]) -> None:
        super().__init__(client, symbols, POLL_S, process.inbox, process.clock)
        self._process = process

    def switch(self, action: Any) -> None:
        super().switch(action)
        self._process.nudge()

    def go_on(self) -> None:
        with told("poller", self._outbox, self._clock):
            while True:
                if self._on.is_set():
                    self._poll()
                    self._clock.wait(self._stop, self._interval_s)
                else:
                    self._sample()
                    self._clock.wait(self._on, SAMPLE_S)


class WorldWatch(PositionWatch):
    def __init__(
        self, process: "Process", client: Any, is_open: Callable[[int], bool], read_ms: Callable[[], int]
    ) -> None:
        super().__init__(client, is_open, read_ms, process.inbox, process.clock)
        self._process = process

    def go_on(self) -> None:
        with told("watch", self._outbox, self._clock):
            while not self._clock.wait(self._stop, self._pause_s()):
                self._look()
