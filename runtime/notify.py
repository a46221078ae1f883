"""Messages to the user's own channels through apprise: on a thread, from a bounded queue, best effort.

The addresses hold tokens, so they are named by position only, and apprise's own logger is silenced (runtime/logs.py).
"""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

from runtime.logs import NAME, line

log = logging.getLogger(NAME)

QUEUE_MAX = 100  # messages waiting; a channel this slow has nothing useful to say any more


class Notifier:
    """`send` from any thread; it never waits. Without addresses it does nothing at all."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._queue: queue.Queue[tuple[str, str] | None] = queue.Queue(QUEUE_MAX)
        self._failing: set[str] = set()  # kinds of trouble already logged; only the thread touches it
        self._dropping = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        if self._urls:
            self._thread.start()

    def send(self, title: str, body: str) -> None:
        if not self._urls:
            return
        try:
            self._queue.put_nowait((title, body))
            self._dropping = False
        except queue.Full:
            if not self._dropping:
                log.warning(line("notify_dropped", {"waiting": QUEUE_MAX}))
            self._dropping = True

    def stop(self, timeout_s: float = 3.0) -> None:
        """Send what waits, within the time given."""
        if not self._thread.is_alive():
            return
        deadline = time.monotonic() + timeout_s
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return  # a daemon thread: it ends with the process
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        channels = self._open()
        while (message := self._queue.get()) is not None:
            title, body = message
            for index, channel in channels:
                try:
                    delivered = bool(channel.notify(title=title, body=body))
                except Exception as e:  # noqa: BLE001 - a hundred services' code: none of it may end this thread
                    self._trouble(f"notify_failed {index}", {"index": index, "error": type(e).__name__})
                    continue
                if delivered:
                    self._failing.discard(f"notify_failed {index}")
                else:
                    self._trouble(f"notify_failed {index}", {"index": index, "error": "not delivered"})

    def _open(self) -> list[tuple[int, Any]]:
        """One apprise object an address, so that each can fail alone."""
        import apprise  # here, not at the top: 0.1 s that start-up need not wait for

        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
        channels = []
        for index, url in enumerate(self._urls):
            channel = apprise.Apprise()
            if channel.add(url):
                channels.append((index, channel))
            else:
                self._trouble(f"notify_refused {index}", {"index": index, "error": "not an address apprise knows"})
        return channels

    def _trouble(self, kind: str, fields: dict[str, object]) -> None:
        if kind not in self._failing:
            self._failing.add(kind)
            log.warning(line(kind.split()[0], fields))
