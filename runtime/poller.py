"""Reads over REST on threads of their own: the account and bars when asked, prices while the stream is away."""

import logging
import queue
import threading
from typing import Any

from core.messages import BarHistory, CoreFault, PollPrices, ReadAccount, ReadBars, ReadFailed
from runtime.clock import Clock
from runtime.venue import VenueClient, VenueUnavailable

log = logging.getLogger("poller")

BARS_KEPT = 500
BUDGET_S = 300.0  # how often the address budget is read
BARS_AGAIN_S = 10.0


class AccountReader:
    """Answers ReadAccount and ReadBars, one at a time; equal requests that wait are merged into one."""

    def __init__(self, client: VenueClient, timeframes_ms: dict[str, int], outbox: Any, clock: Clock) -> None:
        self._client, self._timeframes_ms = client, timeframes_ms
        self._outbox, self._clock = outbox, clock
        self._asked: queue.SimpleQueue[ReadAccount | ReadBars | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, action: ReadAccount | ReadBars) -> None:
        self._asked.put(action)

    def stop(self, timeout_s: float = 3.0) -> None:
        self._asked.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while self._serve():
                pass
        except Exception as e:  # a bug: without account reads nothing is safe, so the main thread must halt
            self._outbox.put(CoreFault(error=f"reader: {e!r}", received_ms=self._clock.now_ms()))
            raise

    def _serve(self) -> bool:
        """Wait for requests, answer them; False when told to stop."""
        try:
            actions = [self._asked.get(timeout=BUDGET_S)]
        except queue.Empty:
            self._read_budget()
            return True
        while not self._asked.empty():
            actions.append(self._asked.get())
        if None in actions:
            self._client.close()
            return False
        accounts = [action for action in actions if isinstance(action, ReadAccount)]
        if accounts:
            since = [action.fills_since_ms for action in accounts if action.fills_since_ms is not None]
            self._read_account(min(since, default=None), accounts[-1].reason)
        for symbol in dict.fromkeys(action.symbol for action in actions if isinstance(action, ReadBars)):
            self._read_bars(symbol)
        return True

    def _read_account(self, fills_since_ms: int | None, reason: str) -> None:
        try:
            if fills_since_ms is not None:
                for fill in self._client.fills_since(fills_since_ms):
                    self._outbox.put(fill)
            self._outbox.put(self._client.account())
            if fills_since_ms is not None:
                self._read_budget()
        except VenueUnavailable as e:
            self._failed(f"account ({reason})", e)

    def _read_bars(self, symbol: str) -> None:
        try:
            bars = self._client.bars(symbol, self._timeframes_ms[symbol], BARS_KEPT)
        except VenueUnavailable as e:
            self._failed(f"bars of {symbol}", e)
            return
        if bars:
            self._outbox.put(BarHistory(symbol=symbol, bars=bars, received_ms=self._clock.now_ms()))

    def _read_budget(self) -> None:
        try:
            budget = self._client.request_budget()
        except VenueUnavailable as e:
            self._failed("request budget", e)
            return
        if budget is not None:
            self._outbox.put(budget)

    def _failed(self, what: str, error: VenueUnavailable) -> None:
        self._outbox.put(ReadFailed(what=what, error=str(error), received_ms=self._clock.now_ms()))


class PricePoller:
    """Asks for the prices of all markets every `interval_s` while switched on."""

    def __init__(self, client: VenueClient, symbols: list[str], interval_s: float, outbox: Any, clock: Clock) -> None:
        self._client, self._symbols, self._interval_s = client, symbols, interval_s
        self._outbox, self._clock = outbox, clock
        self._stop = threading.Event()
        self._on = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def switch(self, action: PollPrices) -> None:
        if action.on:
            self._on.set()
        else:
            self._on.clear()

    def stop(self, timeout_s: float = 3.0) -> None:
        self._stop.set()
        self._on.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._on.wait()
                if not self._stop.is_set():
                    self._poll()
                    self._clock.wait(self._stop, self._interval_s)
        except Exception as e:  # a bug: the main thread must hear of it, and halt
            self._outbox.put(CoreFault(error=f"poller: {e!r}", received_ms=self._clock.now_ms()))
            raise
        finally:
            self._client.close()

    def _poll(self) -> None:
        try:
            for price in self._client.polled_prices(self._symbols):
                self._outbox.put(price)
        except VenueUnavailable as e:
            self._outbox.put(ReadFailed(what="prices", error=str(e), received_ms=self._clock.now_ms()))
