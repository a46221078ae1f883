"""The order sender: a few threads, each with its own warm connection, that take actions from one queue.

A slow answer holds up one thread only, so it never delays another market's exit (P5). Answers go to the inbox.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from core.messages import Arm, Cancel, CancelAnswered, CoreFault, OrderUnknown, Settle, Submit
from runtime.clock import Clock
from runtime.venue import VenueClient, VenueUnavailable

log = logging.getLogger("orders")

WARM_LANES = 3  # connections kept open at all times: two markets at once, and one to spare
LANES_MAX = 12
KEEP_WARM_S = 20.0  # well under the 60 s after which servers drop idle connections


class Armed(msgspec.Struct, frozen=True):
    """The signed bytes of an order, for the main thread's drawer. Never journalled: whoever has them can send them."""

    client_id: str
    body: bytes


class Rehearsal(msgspec.Struct, frozen=True):
    """Everything but the sending."""


REHEARSAL = Rehearsal()


class Task(msgspec.Struct, frozen=True):
    action: Any
    body: bytes | None  # signed in advance
    has_token: bool = True  # False: it had to queue, for every lane was at work and no more may be opened


class OrderLanes:
    """Carries out actions on threads of its own; `dispatch` never waits, and what it hands over never queues.

    A lane that is free to work has left a token in `_free`. Whoever hands out a task takes a token with it; where none
    is left every lane is waiting for the venue, and another is opened for this very task.
    """

    def __init__(
        self,
        make_client: Callable[[], VenueClient],
        outbox: Any,
        clock: Clock,
        *,
        warm_lanes: int = WARM_LANES,
        keep_warm_s: float = KEEP_WARM_S,
    ) -> None:
        self._make_client, self._outbox, self._clock = make_client, outbox, clock
        self._warm_lanes, self._keep_warm_s = warm_lanes, keep_warm_s
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []  # only the main thread touches it

    def start(self) -> None:
        for _ in range(self._warm_lanes):
            self._add_lane(None)

    def dispatch(self, action: Submit | Arm | Cancel | Settle | Rehearsal, body: bytes | None = None) -> None:
        task = Task(action, body)
        try:
            self._free.get_nowait()
        except queue.Empty:
            if len(self._threads) < LANES_MAX:
                self._add_lane(task)
                return
            task = Task(action, body, has_token=False)
        self._tasks.put(task)

    def rehearse(self) -> None:
        """Wake one free lane for nothing, so that it is awake in earnest when it is needed."""
        if self._free.qsize() > 1:  # never the last one
            self.dispatch(REHEARSAL)

    def stop(self, timeout_s: float = 3.0) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))

    def _add_lane(self, first: Task | None) -> None:
        number = len(self._threads) + 1
        thread = threading.Thread(target=self._run, args=(first, number), name=f"orders-{number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, first: Task | None, number: int) -> None:
        client = self._make_client()
        if first is None:
            self._keep_warm(client)
        else:
            self._carry_out(client, first)
        pause_s = self._keep_warm_s * (1 - 0.1 * (number % 4))  # so that the lanes do not all warm up at once
        while True:
            self._free.put(None)
            try:
                task = self._tasks.get(timeout=pause_s)
            except queue.Empty:
                task = self._warm_up(client)
            if task is None:
                client.close()
                return
            self._carry_out(client, task)

    def _warm_up(self, client: VenueClient) -> Task | None:
        """Keep the connection warm while nothing is to do, a token at a time; returns the next task (None: stop)."""
        while True:
            try:
                self._free.get_nowait()  # not free while it warms
            except queue.Empty:
                return self._tasks.get()  # the token went with a task that is on its way here
            self._keep_warm(client)
            self._free.put(None)
            try:
                return self._tasks.get(timeout=self._keep_warm_s)
            except queue.Empty:
                continue

    def _take_token(self) -> None:
        """The one that this lane left when it went to wait: nobody took it for this task."""
        with contextlib.suppress(queue.Empty):
            self._free.get_nowait()

    def _keep_warm(self, client: VenueClient) -> None:
        try:
            self._outbox.put(client.measure_clock())
        except VenueUnavailable as e:
            log.debug("keep_warm_failed error=%r", str(e))

    def _carry_out(self, client: VenueClient, task: Task) -> None:
        action = task.action
        if not task.has_token:
            self._take_token()
        if action is REHEARSAL:
            client.rehearse()
            return
        try:
            self._outbox.put(answer(client, action, task.body, self._clock.now_ms()))
        except Exception as e:  # a bug: the order is in doubt, and the main thread must halt
            now_ms = self._clock.now_ms()
            if isinstance(action, Submit | Settle):
                order = action.order
                self._outbox.put(
                    OrderUnknown(client_id=order.client_id, symbol=order.symbol, error=repr(e), received_ms=now_ms)
                )
            self._outbox.put(CoreFault(error=f"order sender: {e!r}", received_ms=now_ms))
            raise


def answer(client: VenueClient, action: Any, body: bytes | None, now_ms: int) -> Any:
    """Do one action and return the event that tells of it."""
    match action:
        case Submit():
            return client.submit(action.order, body)
        case Arm():
            return Armed(action.order.client_id, client.presign(action.order))
        case Settle():
            return client.settle(action.order, action.noops_sent)
        case Cancel():
            try:
                return client.cancel(action.symbol, action.order_id, action.nonce)
            except VenueUnavailable as e:
                return CancelAnswered(
                    symbol=action.symbol, order_id=action.order_id, gone=False, error=str(e), received_ms=now_ms
                )
    raise AssertionError(f"not an order action: {action!r}")
