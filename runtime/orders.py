"""The order sender: a few threads, each with its own warm connection, that take actions from one queue.

A slow answer holds up one thread only, so it never delays another market's exit (P5). Answers go to the inbox.
"""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from core.messages import Arm, Cancel, CancelAnswered, CoreFault, OrderUnknown, ReadFailed, ReadOrders, Settle, Submit
from runtime.clock import Clock
from runtime.venue import VenueClient, VenueUnavailable

log = logging.getLogger("orders")

WARM_LANES = 3  # connections kept open at all times: an exit, its stop's read-back, and one to spare
LANES_MAX = 12
KEEP_WARM_S = 20.0  # well under the 60 s after which servers drop idle connections


class Armed(msgspec.Struct, frozen=True):
    """The signed bytes of an order, for the main thread's drawer. Never journalled: whoever has them can send them."""

    client_id: str
    body: bytes


Task = tuple[Any, bytes | None]  # an action, and the signed body when it was armed


class OrderLanes:
    """Carries out actions on threads of its own; `dispatch` never waits."""

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
        self._threads: list[threading.Thread] = []  # only the main thread touches it

    def start(self) -> None:
        for _ in range(self._warm_lanes):
            self._add_lane()

    def dispatch(self, action: Submit | Arm | Cancel | Settle | ReadOrders, body: bytes | None = None) -> None:
        """Queue one action. A backlog means every lane is waiting for the venue: open another."""
        if self._tasks.qsize() > 0 and len(self._threads) < LANES_MAX:
            self._add_lane()
        self._tasks.put((action, body))

    def stop(self, timeout_s: float = 3.0) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))

    def _add_lane(self) -> None:
        thread = threading.Thread(target=self._run, name=f"orders-{len(self._threads) + 1}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        client = self._make_client()
        self._keep_warm(client)
        while True:
            try:
                task = self._tasks.get(timeout=self._keep_warm_s)
            except queue.Empty:
                self._keep_warm(client)
                continue
            if task is None:
                client.close()
                return
            self._carry_out(client, *task)

    def _keep_warm(self, client: VenueClient) -> None:
        try:
            self._outbox.put(client.measure_clock())
        except VenueUnavailable as e:
            log.debug("keep_warm_failed error=%r", str(e))

    def _carry_out(self, client: VenueClient, action: Any, body: bytes | None) -> None:
        try:
            self._outbox.put(answer(client, action, body, self._clock.now_ms()))
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
        case ReadOrders():
            try:
                return client.working_orders()
            except VenueUnavailable as e:
                return ReadFailed(what="working orders", error=str(e), received_ms=now_ms)
    raise AssertionError(f"not an order action: {action!r}")
