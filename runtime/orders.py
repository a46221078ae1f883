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

from core.messages import (
    Arm,
    Cancel,
    CancelAnswered,
    CloseContract,
    CoreFault,
    Modify,
    ModifyAnswered,
    OrderUnknown,
    Settle,
    Submit,
)
from runtime.clock import Clock
from runtime.venue import VenueClient, VenueUnavailable

log = logging.getLogger("orders")

OrderAction = Submit | Arm | Cancel | Modify | CloseContract | Settle

WARM_LANES = 3  # connections kept open at all times: two markets at once, and one to spare
LANES_MAX = 12
KEEP_WARM_S = 20.0  # well under the 60 s after which servers drop idle connections


class Armed(msgspec.Struct, frozen=True):
    """The signed bytes of an order, for the main thread's drawer. Never journalled: whoever has them can send them."""

    client_id: str
    body: bytes


class Task(msgspec.Struct, frozen=True):
    client: VenueClient | None  # None: it had to queue, for every connection was in use; take the first that is free
    action: Any  # None: only warm the connection up
    body: bytes | None = None  # signed in advance
    has_begun: bool = False  # the order's bytes are on their way: only the answer is to be awaited


class OrderLanes:
    """Carries out actions on threads of its own; `dispatch` never waits, and what it hands over never queues.

    `_free` holds the clients that nobody uses, each with its warm connection; whoever takes one out owns it until it is
    put back. The main thread takes one for each action and hands it over with it; the bytes of an armed order, or of a
    cancellation that needs no signature, it writes itself, which does not wait, so that the tick that matters costs no
    change of threads. Where no client is free all are waiting for the venue, and another is opened.
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
        self._free: queue.SimpleQueue[VenueClient] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []  # only the main thread touches it

    def start(self) -> None:
        for _ in range(self._warm_lanes):
            self._add_lane(Task(None, None))

    def dispatch(self, action: OrderAction, body: bytes | None = None) -> None:
        try:
            client = self._free.get_nowait()
        except queue.Empty:
            if len(self._threads) < LANES_MAX:
                self._add_lane(Task(None, action, body))
            else:
                self._tasks.put(Task(None, action, body))
            return
        has_begun = False
        if isinstance(action, Cancel):  # the first step out at a venue without reduce-only
            client.begin_cancel(action.order_id)  # `cancel` knows
        elif body is not None and isinstance(action, Submit):
            has_begun = client.begin(body)
        self._tasks.put(Task(client, action, body, has_begun))

    def rehearse(self) -> None:
        """Look at one connection, so that the order that may come next need not; a dead one is opened again."""
        try:
            client = self._free.get_nowait()
        except queue.Empty:
            return
        if client.rehearse():
            self._free.put(client)
        else:
            self._tasks.put(Task(client, None))

    def stop(self, timeout_s: float = 3.0) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()

    def _add_lane(self, first: Task) -> None:
        number = len(self._threads) + 1
        thread = threading.Thread(target=self._run, args=(first, number), name=f"orders-{number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, first: Task, number: int) -> None:
        self._carry_out(self._make_client(), first)
        pause_s = self._keep_warm_s * (1 - 0.1 * (number % 4))  # so that they do not all warm up at once
        while True:
            try:
                task = self._tasks.get(timeout=pause_s)
            except queue.Empty:
                self._warm_one()
                continue
            if task is None:
                return
            self._carry_out(task.client or self._free.get(), task)

    def _warm_one(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._carry_out(self._free.get_nowait(), Task(None, None))

    def _keep_warm(self, client: VenueClient) -> None:
        try:
            self._outbox.put(client.measure_clock())
        except VenueUnavailable as e:
            log.debug("keep_warm_failed error=%r", str(e))

    def _carry_out(self, client: VenueClient, task: Task) -> None:
        """Do it, tell the inbox, and give the client back."""
        action = task.action
        try:
            if action is None:
                self._keep_warm(client)
            else:
                self._outbox.put(answer(client, task, self._clock.now_ms()))
            self._free.put(client)
        except Exception as e:  # a bug: the order is in doubt, and the main thread must halt
            now_ms = self._clock.now_ms()
            if isinstance(action, Submit | Settle):
                order = action.order
                self._outbox.put(
                    OrderUnknown(client_id=order.client_id, symbol=order.symbol, error=repr(e), received_ms=now_ms)
                )
            self._outbox.put(CoreFault(error=f"order sender: {e!r}", received_ms=now_ms))
            raise


def answer(client: VenueClient, task: Task, now_ms: int) -> Any:
    """Do one action and return the event that tells of it."""
    action = task.action
    match action:
        case Submit():
            return client.finish(action.order) if task.has_begun else client.submit(action.order, task.body)
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
        case CloseContract():
            return client.close_outside(action)
        case Modify():
            try:
                return client.modify(action)
            except VenueUnavailable as e:
                return ModifyAnswered(
                    symbol=action.symbol, order_id=action.order_id, done=None, reason=None, error=str(e),
                    received_ms=now_ms,
                )  # fmt: skip
    raise AssertionError(f"not an order action: {action!r}")
