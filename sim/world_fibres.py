"""Blocking code inside a world without waiting: threads that take turns, exactly one of which runs at a time.

The real clients and streams wait in the middle of a call; here each call runs on a thread of its own (a fibre) that
hands the turn back whenever it would wait. Who runs next is the world's decision alone, so a run repeats exactly.
"""

import _thread
import threading
from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """The process that this code belongs to is dead. No `except Exception` may stop it."""


class Fibre:
    """A piece of work and where it stands."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work = work
        self.done = False
        self.doomed = False
        self.error: BaseException | None = None  # what got out of it
        self.given: Any = None  # to the park() that waits
        self.ticket = 0  # of that park(): a wake-up that comes late must not end the next one


class _Worker:
    def __init__(self, crew: "Crew") -> None:
        self.go = _thread.allocate_lock()
        self.go.acquire()
        self.fibre: Fibre | None = None
        self._crew = crew
        threading.Thread(target=self._run, name="fibre", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.go.acquire()
            fibre = self.fibre
            if fibre is None:
                return
            try:
                fibre.work()
            except Killed:
                pass
            except BaseException as e:  # noqa: BLE001  # looked at by who started it
                fibre.error = e
            fibre.done = True
            self.fibre = None
            self._crew.idle.append(self)
            self._crew.back.release()


class Crew:
    """Owns the threads. `start`, `wake` and `kill` are for the main thread, `park` for a fibre."""

    def __init__(self) -> None:
        self.idle: list[_Worker] = []
        self.back = _thread.allocate_lock()
        self.back.acquire()
        self.current: Fibre | None = None
        self.switches = 0
        self._workers: dict[Fibre, _Worker] = {}

    def start(self, work: Callable[[], None]) -> Fibre:
        """Run it until it parks or ends."""
        fibre = Fibre(work)
        worker = self.idle.pop() if self.idle else _Worker(self)
        worker.fibre = fibre
        self._workers[fibre] = worker
        self._switch(fibre)
        return fibre

    def park(self) -> Any:
        """Wait until woken; returns what `wake` brings. Raises Killed."""
        fibre = self.current
        assert fibre is not None, "only a fibre may wait"
        worker = self._workers[fibre]
        if fibre.doomed:  # it cleans up after itself: nothing answers any more
            raise Killed
        self.current = None
        self.back.release()
        worker.go.acquire()
        if fibre.doomed:
            raise Killed
        return fibre.given

    def wake(self, fibre: Fibre, given: Any = None) -> None:
        """Let it go on until it parks again or ends."""
        if not fibre.done:
            fibre.given = given
            fibre.ticket += 1
            self._switch(fibre)

    def kill(self, fibre: Fibre) -> None:
        while not fibre.done:
            fibre.doomed = True
            self._switch(fibre)

    def dismiss(self) -> None:
        """End the threads; nothing may be parked any more."""
        for worker in self.idle:
            worker.go.release()
        self.idle.clear()

    def _switch(self, fibre: Fibre) -> None:
        assert self.current is None, "fibres do not start each other"
        self.switches += 1
        self.current = fibre
        self._workers[fibre].go.release()
        self.back.acquire()
        self.current = None
        if fibre.done:
            self._workers.pop(fibre, None)
