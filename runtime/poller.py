"""Reads over REST on threads of their own: the account and bars when asked, prices while the stream is away."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from core.messages import AnyEvent, BarHistory, CoreFault, PollPrices, ReadAccount, ReadBars, ReadFailed, RestSample
from runtime.alarm import told
from runtime.clock import Clock
from runtime.venue import CredentialsRefused, VenueClient, VenueUnavailable

log = logging.getLogger("poller")

BARS_KEPT = 500
BUDGET_S = 300.0  # how often the address budget is read
BUDGET_MS_MIN = 60_000  # at least between two of those: it weighs 20, and fills are read every 5 s without a stream
SAMPLE_S = 30.0  # how often REST is looked at while the stream brings prices
BOOKS_AT_ONCE = 5  # markets a round: their books carry the venue's time, and the weight of more is too much
# With little left of the minute's requests; else nothing is left for any price at its end.
BOOKS_WHEN_SHORT = 3  # a round
INTERVAL_S_WHEN_SHORT = 1.0


class Seldom(msgspec.Struct, frozen=True):
    """A question that is asked once in a long while: when the key ends, whether a contract has rolled."""

    what: str  # for the log
    every_ms: int
    ask: Callable[[], Sequence[AnyEvent]]  # may raise VenueUnavailable or CredentialsRefused


class AccountReader:
    """Answers ReadAccount and ReadBars, one at a time; equal requests that wait are merged into one."""

    def __init__(
        self,
        client: VenueClient,
        timeframes_ms: dict[str, int],
        outbox: Any,
        clock: Clock,
        seldom: Sequence[Seldom] = (),
    ) -> None:
        """The questions of `seldom` are asked on this reader's thread, the first time with the first read."""
        self._client, self._timeframes_ms, self._seldom = client, timeframes_ms, seldom
        self._asked_ms = {question.what: clock.now_ms() - question.every_ms for question in seldom}
        self._outbox, self._clock = outbox, clock
        self._asked: queue.SimpleQueue[ReadAccount | ReadBars | None] = queue.SimpleQueue()
        self._budget_ms = -BUDGET_MS_MIN  # when the address budget was asked for
        self.read_ms = 0  # our clock: when the newest account that came was asked for; written by this thread alone
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, action: ReadAccount | ReadBars) -> None:
        self._asked.put(action)

    def stop(self, timeout_s: float = 3.0) -> None:
        self._asked.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with told("reader", self._outbox, self._clock):
            while self._serve():
                pass

    def _serve(self) -> bool:
        """Wait for requests, answer them; False when told to stop."""
        try:
            actions = [self._asked.get(timeout=BUDGET_S)]
        except queue.Empty:
            self._read_budget()
            self._ask_seldom()
            return True
        self._ask_seldom()
        while not self._asked.empty():
            actions.append(self._asked.get())
        if None in actions:
            self._client.close()
            return False
        accounts = [action for action in actions if isinstance(action, ReadAccount)]
        if accounts:
            since = [action.fills_since_ms for action in accounts if action.fills_since_ms is not None]
            self._client.hurry(any(action.is_urgent for action in accounts))
            self._read_account(min(since, default=None), accounts[-1].reason)
            self._client.hurry(False)
        for symbol in dict.fromkeys(action.symbol for action in actions if isinstance(action, ReadBars)):
            self._read_bars(symbol)
        return True

    def _read_account(self, fills_since_ms: int | None, reason: str) -> None:
        try:
            missed_fills = fills_since_ms is not None and not self._read_fills(fills_since_ms, reason)
            account = self._client.account()
            self._outbox.put(msgspec.structs.replace(account, missed_fills=missed_fills))
            self.read_ms = account.requested_ms
            if fills_since_ms is not None and not 0 <= self._clock.now_ms() - self._budget_ms < BUDGET_MS_MIN:
                self._read_budget()
        except VenueUnavailable as e:
            self._failed(f"account ({reason})", e)
        except CredentialsRefused as e:  # the account is gone: no other may be traded in its place
            self._outbox.put(CoreFault(error=str(e), received_ms=self._clock.now_ms()))

    def _read_fills(self, since_ms: int, reason: str) -> bool:
        """Whether they came: positions and orders are asked for in any case, for what is bare waits for those."""
        try:
            for fill in self._client.fills_since(since_ms):
                self._outbox.put(fill)
        except VenueUnavailable as e:
            self._failed(f"fills ({reason})", e)
            return False
        return True

    def _read_bars(self, symbol: str) -> None:
        try:
            bars = self._client.bars(symbol, self._timeframes_ms[symbol], BARS_KEPT)
        except VenueUnavailable as e:
            self._failed(f"bars of {symbol}", e)
            return
        if bars:
            self._outbox.put(BarHistory(symbol=symbol, bars=bars, received_ms=self._clock.now_ms()))

    def _read_budget(self) -> None:
        self._budget_ms = self._clock.now_ms()
        try:
            budget = self._client.request_budget()
        except VenueUnavailable as e:
            self._failed("request budget", e)
            return
        if budget is not None:
            self._outbox.put(budget)

    def _ask_seldom(self) -> None:
        """What must not come as a surprise with a position open."""
        now_ms = self._clock.now_ms()
        for question in self._seldom:
            if 0 <= now_ms - self._asked_ms[question.what] < question.every_ms:
                continue
            self._asked_ms[question.what] = now_ms
            try:
                for event in question.ask():
                    self._outbox.put(event)
            except VenueUnavailable as e:
                self._failed(question.what, e)
            except CredentialsRefused as e:
                self._outbox.put(ReadFailed(what=question.what, error=str(e), received_ms=now_ms))

    def _failed(self, what: str, error: VenueUnavailable) -> None:
        self._outbox.put(ReadFailed(what=what, error=str(error), received_ms=self._clock.now_ms()))


class ListingReader:
    """Reads the working orders when asked: what confirms a stop must wait neither behind bars nor behind orders.

    Requests that wait are merged: one read answers them all.
    """

    def __init__(self, client: VenueClient, outbox: Any, clock: Clock) -> None:
        self._client, self._outbox, self._clock = client, outbox, clock
        self._asked: queue.SimpleQueue[bool | None] = queue.SimpleQueue()  # whether it is urgent; None: stop
        self._thread = threading.Thread(target=self._run, name="listing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self, is_urgent: bool = False) -> None:
        self._asked.put(is_urgent)

    def stop(self, timeout_s: float = 3.0) -> None:
        self._asked.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with contextlib.closing(self._client), told("listing", self._outbox, self._clock):
            while (is_urgent := self._asked.get()) is not None:
                while not self._asked.empty():
                    if (another := self._asked.get()) is None:
                        return
                    is_urgent |= another
                self._client.hurry(is_urgent)
                self._read()

    def _read(self) -> None:
        try:
            self._outbox.put(self._client.working_orders())
        except VenueUnavailable as e:
            self._outbox.put(ReadFailed(what="working orders", error=str(e), received_ms=self._clock.now_ms()))


class PricePoller:
    """Asks for the prices of all markets every `interval_s` while switched on.

    While off it asks every SAMPLE_S, and measures the clock: whether REST would do is known before it is needed.
    """

    def __init__(self, client: VenueClient, symbols: list[str], interval_s: float, outbox: Any, clock: Clock) -> None:
        self._client, self._symbols, self._interval_s = client, symbols, interval_s
        self._outbox, self._clock = outbox, clock
        self._next = 0  # where the next round begins
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
        with contextlib.closing(self._client), told("poller", self._outbox, self._clock):
            while not self._stop.is_set():
                if self._on.is_set():
                    self._poll()
                    self._clock.wait(self._stop, self._pause_s())
                else:
                    self._sample()
                    self._on.wait(SAMPLE_S)

    def _pause_s(self) -> float:
        return self._interval_s if self._client.has_room() else max(self._interval_s, INTERVAL_S_WHEN_SHORT)

    def _poll(self) -> None:
        try:
            for price in self._client.polled_prices(self._next_symbols()):
                self._outbox.put(price)
        except VenueUnavailable as e:
            self._outbox.put(ReadFailed(what="prices", error=str(e), received_ms=self._clock.now_ms()))

    def _sample(self) -> None:
        """A round that is only looked at; one that fails is left to the log, for nothing waits for it."""
        try:
            self._outbox.put(self._client.measure_clock())
            for price in self._client.polled_prices(self._next_symbols()):
                if price.time_ms is not None:
                    sample = RestSample(
                        symbol=price.symbol, price=price.price, time_ms=price.time_ms, received_ms=price.received_ms
                    )
                    self._outbox.put(sample)
        except VenueUnavailable as e:
            log.info("rest_sample_failed error=%r", str(e))

    def _next_symbols(self) -> list[str]:
        """Those of one round: all markets, or the next few of many, in turn."""
        doubled = self._symbols + self._symbols
        count = min(BOOKS_AT_ONCE if self._client.has_room() else BOOKS_WHEN_SHORT, len(self._symbols))
        symbols = doubled[self._next : self._next + count]
        self._next = (self._next + count) % len(self._symbols)
        return symbols
