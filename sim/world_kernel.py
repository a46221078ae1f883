"""Time, turns and trouble of a deterministic world: what `sim.world_types.Kernel` promises, and who may go next.

One heap of calls ordered by true time. Nothing else decides what happens when, so equal seeds run equally.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from core.rules import Rules
from sim.world_fibres import Crew, Fibre
from sim.world_types import Fault, Link, Span, Tape

BEGIN_MS = 1_790_006_400_000  # 2026-09-21 16:00 UTC, a Monday: 11:00 in Chicago
TIMEOUT = object()
NO_RULES = Rules("none", "none", False, {}, None)  # type: ignore[arg-type]  # until the bot has made its own


class World:
    """The kernel. `process` is the bot's at the moment, None while none runs."""

    def __init__(self, venue: str, seed: int, faults: Sequence[Fault]) -> None:
        self.seed = seed
        self.random = random.Random(f"{seed}/venue")
        self.net = random.Random(f"{seed}/net")
        self.crew = Crew()
        self.tape = Tape(venue, seed, NO_RULES, BEGIN_MS, faults=list(faults))
        self.counts: Counter[str] = Counter()
        self.died: list[tuple[int, str]] = []  # threads of the bot, by a bug: when, and of what
        self.open_links: list[Link] = []
        self.process: Any = None
        self.is_asleep = False
        self.venue_up = True
        self.http_epoch = 0  # of the connections that are still good
        self.wall_us = 0  # the machine's clock minus true time
        self._us = BEGIN_MS * 1_000
        self._slept_us = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._active: dict[str, list[Fault]] = {}
        self._dice: dict[int, random.Random] = {}
        self._struck: set[int] = set()
        self._spans: dict[tuple[str, str], Span] = {}

    # --- clocks -----------------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        return self._us

    @property
    def now_ms(self) -> int:
        return self._us // 1_000

    def venue_us(self) -> int:
        return self._us

    def bot_ms(self) -> int:
        return int(self.process.clock.now_ms())

    @property
    def bot_clock(self) -> Any:
        return self.process.clock

    def monotonic_s(self) -> float:
        return (self._us - self._slept_us) / 1e6

    def has_slept(self, us: int) -> None:
        self._slept_us += us

    # --- turns ------------------------------------------------------------------------------------------------------

    def after(self, delay_us: int, call: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self._us + max(0, delay_us), self._number, call))

    def run_until(self, us: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= us:
            self._us, _, call = heapq.heappop(heap)
            call()
        self._us = us

    def wait(self, delay_us: int | None) -> Any:
        """In a fibre: until somebody resumes it, or TIMEOUT."""
        fibre = self.crew.current
        assert fibre is not None, "only a fibre may wait"
        if delay_us is not None and not fibre.doomed:
            ticket, process = fibre.ticket, self.process
            process.later(delay_us, lambda: self.resume(fibre, ticket, TIMEOUT))
        return self.crew.park()

    def resume(self, fibre: Fibre, ticket: int, given: Any = None) -> None:
        """For the main thread: end the wait that had this ticket, unless something else has."""
        if fibre.ticket == ticket and not fibre.done:
            self.crew.wake(fibre, given)

    # --- trouble ----------------------------------------------------------------------------------------------------

    def begin_fault(self, fault: Fault) -> None:
        self._active.setdefault(fault.kind, []).append(fault)

    def end_fault(self, fault: Fault) -> None:
        self._active[fault.kind].remove(fault)

    def dice(self, fault: Fault) -> random.Random:
        """Its own generator: cutting another fault away leaves this one's rolls alone."""
        if fault.number not in self._dice:
            self._dice[fault.number] = random.Random(f"{self.seed}/fault/{fault.number}")
        return self._dice[fault.number]

    def strikes(self, kind: str, default: float = 1.0, **facts: Any) -> Fault | None:
        """The fault of this kind that strikes now, if one is on, fits the facts, and its dice say so."""
        for fault in self._active.get(kind, ()):
            if any(fault.args.get(key, value) != value for key, value in facts.items()):
                continue
            if self.dice(fault).random() < fault.args.get("p", default):
                self.fired(fault)
                return fault
        return None

    def fired(self, fault: Fault) -> None:
        self.counts[f"fault {fault.kind}"] += 1
        if fault.number not in self._struck:
            self._struck.add(fault.number)
            self.tape.fired.append((self.now_ms, fault))

    # --- the tape ---------------------------------------------------------------------------------------------------

    def links(self) -> Sequence[Link]:
        return self.open_links

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] += number

    def open_span(self, kind: str, detail: str = "") -> None:
        if (kind, detail) not in self._spans:
            span = self._spans[kind, detail] = Span(kind, self.now_ms, None, detail)
            self.tape.spans.append(span)

    def close_span(self, kind: str, detail: str = "") -> None:
        span = self._spans.pop((kind, detail), None)
        if span is not None:
            span.to_ms = self.now_ms

    def wall_moved(self, offset_us: int) -> None:
        """The machine's clock is set; a running bot follows it forwards only (`runtime.clock.SystemClock`)."""
        self.wall_us = offset_us
        if self.process is not None:
            self.process.clock.follow()
