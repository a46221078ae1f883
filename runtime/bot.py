"""The main loop: drain the inbox, write, decide, write, act. It owns the state and the journal; nothing else does.

It never waits for the network or for a disk sync (P5): what takes time goes to a thread that answers by the inbox.
"""

import contextlib
import logging
import queue
import traceback
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from core import records
from core.decide import decide
from core.exits import stop_level
from core.messages import (
    AnyAction,
    AnyEvent,
    CoreFault,
    FlattenRequested,
    Frame,
    JournalFailed,
    JournalRestored,
    Note,
    OrderRejected,
    PolledPrice,
    RejectReason,
    Started,
    Stop,
    StopRequested,
    Submit,
    Tick,
)
from core.model import Book, MarkPrice, Order, Purpose, Quote, Trade
from core.orders import sent_note
from core.protection import unprotected_side
from core.risk import daily_pnl, equity_now
from core.rules import Rules
from core.state import State
from core.turn import Strategies
from runtime import collector
from runtime import ledger as books
from runtime.clock import Clock
from runtime.journal import Journal, action_line, event_line, frame_line
from runtime.ledger import Ledger
from runtime.logs import line, say_at, utc
from runtime.orders import Armed
from runtime.redaction import Redactor
from runtime.stream import COMING

log = logging.getLogger("bot")
_redact = Redactor()

BATCH = 512  # items decided between two looks at the clock
TICK_MS = 1_000
REHEARSE_S = 0.005
BUSY_TICK_MS = 200  # while something is in flight or unprotected
SNAPSHOT_MS = 30_000
SNAPSHOT_LATE_MS = 30_000  # how long a snapshot waits for a ledger that cannot write
STOP_MS = 3_500  # how long a stop waits for answers in flight and for missing stops
ARMED_KEPT = 64
TELL_AFTER_S = 0.002  # quiet for so long: what was put off is told
TELL_MS_MAX = 50  # in a busy market at the latest
MARKET_DATA = (Trade, Quote, Book, MarkPrice, PolledPrice)


class Executor(Protocol):
    """Carries out what leaves the brain. None of these may wait."""

    def act(self, action: AnyAction, body: bytes | None) -> None: ...

    def on_market_data(self, event: AnyEvent) -> None:
        """Sees every price before it is decided on: the dry run matches its orders against it."""

    def stay_keen(self, on: bool) -> None:
        """A position is open (or no longer): be quick to look."""

    def rehearse(self) -> None:
        """Go through the motions of sending an order, without sending one."""


class Bot:
    def __init__(
        self,
        *,
        state: State,
        rules: Rules,
        strategies: Strategies,
        run_id: int,
        inbox: "queue.Queue[Any]",
        executor: Executor,
        journal: Journal,
        ledger: Ledger,
        clock: Clock,
        publish: Callable[[State, str | None], None],
        notify: Callable[[str, str], None],
        is_flatten_asked: Callable[[], bool] = lambda: False,
        is_booked: Callable[[], bool] = lambda: True,
        order_counts: "Counter[str] | None" = None,
        recent: "deque[str] | None" = None,
        keeper: str = "the venue keeps this stop while the bot is away",
    ) -> None:
        """`publish` takes the state, and a word that overrides its status. `keeper` says who watches stops afterwards.

        `is_booked`: whether the ledger's file has all it was given. A start books again what the journal tells since
        the last snapshot, so that none is written before.
        `recent` holds the newest lines for people, for the status page.
        """
        self.state = state
        self._rules, self._strategies, self._run_id = rules, strategies, run_id
        self._inbox, self._executor, self._clock = inbox, executor, clock
        self._journal, self._ledger = journal, ledger
        self._publish, self._notify, self._is_flatten_asked = publish, notify, is_flatten_asked
        self._is_booked = is_booked
        self._counts: Counter[str] = Counter() if order_counts is None else order_counts  # order notes by name
        self._recent: deque[str] = deque(maxlen=1) if recent is None else recent
        self._keeper = keeper
        self._armed: dict[str, bytes] = {}
        self._untold: list[tuple[AnyEvent | Submit | Note, int]] = []  # for log and ledger, each with its moment
        self._untold_since_ms = 0
        self._matches_paper = rules.dry_run
        self._is_keen = False  # a position is open: the exit path is kept warm
        self._stop: Stop | None = None
        self._stop_by_ms = 0
        self._journal_fails = False
        self._next_tick_ms = 0
        self._next_second_ms = 0
        self._next_snapshot_ms = 0
        self._until_ms: int | None = None

    def run(self, until_ms: int | None = None) -> int:
        """Until a Stop, or until `until_ms` (our clock); returns the exit code."""
        self._until_ms = until_ms
        self.begin()
        while not self._is_over():
            self.take(self._drain())
            self._on_time()
        return self._leave()

    def begin(self) -> None:
        now_ms = self._next_snapshot_ms = self._clock.now_ms()
        refused = self._begin_journal(now_ms)
        self.take([Started(run_id=self._run_id, rules=self._rules, received_ms=now_ms)])
        if refused is not None:  # not before: a start begins with a journal that is well
            self._step(JournalFailed(error=str(refused), received_ms=now_ms))

    def turn(self, batch: list[Any]) -> int | None:
        """What `run` does between two waits, for who does the waiting himself; the exit code once it is over."""
        self.take(batch)
        self._on_time()
        if self._untold:
            self._tell()
        return self._leave() if self._is_over() else None

    @property
    def next_tick_ms(self) -> int:
        """Our clock: when `turn` is due though nothing has come."""
        return self._next_tick_ms

    def ask_to_stop(self, reason: str, exit_code: int = 0) -> None:
        """From a signal handler: only plain assignments."""
        if self._stop is None:
            self._stop = Stop(exit_code, reason)

    # --- one batch ----------------------------------------------------------------------------------------------------

    def _drain(self) -> list[Any]:
        """Everything that waits, at most a batch; waits itself until the next tick is due."""
        now_ms = self._clock.now_ms()
        wait_s = min(max(0, self._next_tick_ms - now_ms), TICK_MS) / 1000
        if self._untold:
            wait_s = min(wait_s, TELL_AFTER_S)
        elif self._is_keen:
            wait_s = min(wait_s, REHEARSE_S)
        batch: list[Any] = []
        try:
            item = self._inbox.get(timeout=wait_s)
            while True:
                if item is not COMING:
                    batch.append(item)
                if len(batch) == BATCH:
                    break
                item = self._inbox.get_nowait()
        except queue.Empty:
            pass
        if self._untold and (not batch or now_ms - self._untold_since_ms >= TELL_MS_MAX):
            self._tell()
        elif self._is_keen and not batch and self._stop is None:  # a rehearsal that fails is said once
            self._rehearse()
        return batch

    def _rehearse(self) -> None:
        """Play the exit that may come next and throw it away: `decide` is pure, so nothing happens.

        After some ten milliseconds of silence the processor has forgotten this path, and the tick that matters would
        pay for it: a fifth of the time to the order.
        """
        for symbol, market in self.state.markets.items():
            position = market.position
            if position is not None and market.exit_reason is None:
                time_ms, now_ms = max(market.price_time_ms, market.exits_from_ms), self._clock.now_ms()
                side, price = position.side.opposite, stop_level(position)
                trade = Trade(symbol, price, position.size, side, 0, time_ms, now_ms)
                try:
                    _, actions = decide(self.state, trade, self._rules, self._strategies)
                except Exception as e:  # noqa: BLE001  # the exit itself would fail: better known now than then (P9)
                    self._fault(e, "rehearsal", now_ms)
                    return
                b"".join(map(action_line, actions))
        with contextlib.suppress(OSError):  # a disk that refuses is noticed by the next line
            self._journal.rehearse()
        self._executor.rehearse()

    def take(self, batch: list[Any]) -> None:
        """Write all of it, then decide on each in order."""
        lines = []
        for item in batch:
            if type(item) is Frame:
                lines.append(frame_line(item))
            elif type(item) is Armed:
                self._keep_armed(item)
            else:
                lines.append(event_line(item))
        if lines:
            self._write(b"".join(lines))
        for item in batch:
            if type(item) is Frame:
                for event in item.events:
                    self._step(event)
            elif type(item) is not Armed:
                self._step(item)

    def _step(self, event: AnyEvent) -> None:
        try:
            if self._matches_paper and isinstance(event, MARKET_DATA):
                self._executor.on_market_data(event)
            self.state, actions = decide(self.state, event, self._rules, self._strategies)
        except Exception as e:  # a bug: the state before the event stands, entries end, stops stay (P9)
            if isinstance(event, CoreFault):
                self._tell()
                raise
            self._fault(e, type(event).__name__, event.received_ms)
            return
        if type(event) not in MARKET_DATA:
            self._put_off(event, event.received_ms)
        if actions:
            self._act(actions, event.received_ms)

    def _fault(self, error: Exception, on: str, now_ms: int) -> None:
        """Say where it went wrong, and let the brain halt."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{error!r} at {Path(where.filename).name}:{where.lineno} on {on}"
        log.critical(line("fault", {"error": text}))
        self.take([CoreFault(error=text, received_ms=now_ms)])

    def _act(self, actions: list[AnyAction], now_ms: int) -> None:
        refused: list[Submit] = []
        written = self._write(b"".join(map(action_line, actions)))  # before anything is sent (P6)
        for action in actions:
            match action:
                case Note():
                    self._put_off(action, now_ms)
                case Stop():
                    self.ask_to_stop(action.reason, action.exit_code)
                case Submit() if action.purpose is Purpose.ENTRY and not written:
                    refused.append(action)  # a crash would hide it; an exit goes all the same
                case Submit():
                    self._executor.act(action, self._armed.pop(action.order.client_id, None))
                    self._put_off(action, now_ms)
                case _:
                    self._executor.act(action, None)
        for entry in refused:
            self._step(not_sent(entry.order, now_ms))

    def _put_off(self, item: AnyEvent | Submit | Note, now_ms: int) -> None:
        """To be told when the inbox has been quiet for a moment: until then the interpreter is the order lane's."""
        if not self._untold:
            self._untold_since_ms = self._clock.now_ms()
        self._untold.append((item, now_ms))

    def _tell(self) -> None:
        """Log lines and ledger rows of what was put off."""
        untold, self._untold = self._untold, []
        for item, now_ms in untold:
            if isinstance(item, Submit):
                self._say(sent_note(item), now_ms)
            if isinstance(item, Note):
                self._say(item, now_ms)
            else:
                self._ledger.book(books.rows_of(item, self._rules.account_tag, now_ms))

    def _say(self, note: Note, now_ms: int) -> None:
        """One log line, with the time at which it was decided."""
        if note.name.startswith("order_"):
            self._counts[note.name.removeprefix("order_")] += 1
        text = _redact(line(note.name, note.fields, note.text))  # it also goes to the status page, and to services
        if note.name == "stop_confirmed":
            self._ledger.book(books.rows_of(note, self._rules.account_tag, now_ms))
        level = logging.getLevelNamesMapping()[note.level]
        say_at(level, text, now_ms / 1000)
        if level >= logging.INFO and note.name != "price":
            self._recent.append(f"{utc(now_ms / 1000)} {text}")
        if note.notify:
            self._notify(note.name, text)

    def _keep_armed(self, armed: Armed) -> None:
        self._armed[armed.client_id] = armed.body
        while len(self._armed) > ARMED_KEPT:  # signed and never needed: the oldest have long expired
            self._armed.pop(next(iter(self._armed)))

    # --- time ---------------------------------------------------------------------------------------------------------

    def _on_time(self) -> None:
        now_ms = self._clock.now_ms()
        keen = any(market.position is not None for market in self.state.markets.values())
        if keen is not self._is_keen:
            self._is_keen = keen
            self._executor.stay_keen(keen)
        if now_ms >= self._next_tick_ms:
            self._next_tick_ms = now_ms + (BUSY_TICK_MS if self._is_busy() else TICK_MS)
            self.take([Tick(received_ms=now_ms)])
        elif self._is_busy():
            self._next_tick_ms = min(self._next_tick_ms, now_ms + BUSY_TICK_MS)
        if now_ms >= self._next_second_ms:
            self._next_second_ms = now_ms + 1_000
            self._each_second(now_ms)
        if self._until_ms is not None and now_ms >= self._until_ms:
            self.ask_to_stop("the time asked for is over")

    def _each_second(self, now_ms: int) -> None:
        self._publish(self.state, None if self._stop is None else "stopping")
        if self._is_flatten_asked():
            self.take([FlattenRequested(received_ms=now_ms)])
        if self._journal.is_due(now_ms):
            self._open_journal(now_ms)
        if self._journal_fails:
            self._try_journal(now_ms)
        if now_ms >= self._next_snapshot_ms and self._may_snapshot(now_ms):
            self._next_snapshot_ms = now_ms + SNAPSHOT_MS
            self._snapshot()
            collector.sweep_all()
            equity = equity_now(self.state, self._rules)
            if equity is not None:
                pnl = daily_pnl(self.state, self._rules)
                self._ledger.book([books.equity_row(self._rules.account_tag, now_ms, f"{equity:.6f}", f"{pnl:.6f}")])
        else:
            collector.sweep()

    def _may_snapshot(self, now_ms: int) -> bool:
        self._tell()
        return self._is_booked() or now_ms >= self._next_snapshot_ms + SNAPSHOT_LATE_MS

    def _is_busy(self) -> bool:
        if records.read_again_ms(self.state, self._clock.now_ms()) is not None:
            return True
        for market in self.state.markets.values():
            if market.naked_since_ms is not None or (market.position is None and not market.clean):
                return True
            if market.live_orders() or market.exit_reason is not None:
                return True
        return False

    # --- journal ------------------------------------------------------------------------------------------------------

    def _begin_journal(self, now_ms: int) -> OSError | None:
        try:
            self._journal.rotate(now_ms, self.state, self._rules)
        except OSError as e:
            self._journal_fails = True
            return e
        return None

    def _open_journal(self, now_ms: int) -> None:
        try:
            self._journal.rotate(now_ms, self.state, self._rules)
        except OSError as e:
            self._journal_failed(e)

    def _snapshot(self) -> None:
        try:
            self._journal.write_snapshot(self.state, self._rules)
        except OSError as e:
            self._journal_failed(e)

    def _write(self, lines: bytes) -> bool:
        """Whether the lines are with the kernel. After a failure none is written until a snapshot begins anew.

        A line behind a gap would be played on a state that lacks what the gap held.
        """
        if self._journal_fails:
            return False
        try:
            self._journal.write(lines)
        except OSError as e:
            self._journal_failed(e)
            return False
        return True

    def _try_journal(self, now_ms: int) -> None:
        """The disk takes lines again: begin with the whole state, for what came meanwhile is missing."""
        try:
            self._journal.write_snapshot(self.state, self._rules, with_bars=True)
        except OSError:
            return
        self._journal_fails = False
        self.take([JournalRestored(received_ms=now_ms)])

    def _journal_failed(self, error: OSError) -> None:
        """Said once, not written: there is nowhere to write it. Exits go on, entries end (design section 3)."""
        if not self._journal_fails:
            self._journal_fails = True
            self._step(JournalFailed(error=str(error), received_ms=self._clock.now_ms()))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        """Whether to end now: asked to, and nothing is in the air any more (or its time is up)."""
        if self._stop is None:
            return False
        now_ms = self._clock.now_ms()
        if self._stop_by_ms == 0:
            self._stop_by_ms = now_ms + STOP_MS
            log.info(line("stopping", {"reason": self._stop.reason}))
            self.take([StopRequested(received_ms=now_ms)])
        in_air = any(record.is_in_air for market in self.state.markets.values() for record in market.orders.values())
        naked = any(unprotected_side(market) is not None for market in self.state.markets.values())
        return now_ms >= self._stop_by_ms or not (in_air or naked)

    def _leave(self) -> int:
        """Say what is left at the venue, close the books; the exit code."""
        self._tell()
        for symbol, market in self.state.markets.items():
            position = market.position
            if position is None:
                continue
            stop = next((s for s in market.stops if s.covers(position)), None)
            fields = {"symbol": symbol, "side": position.side.value, "size": str(position.size)}
            if stop is None:
                log.critical(line("left_unprotected", fields, "NO stop is confirmed at the venue: act by hand"))
                self._notify("left_unprotected", line("left_unprotected", fields))
            else:
                fields |= {"order_id": str(stop.order_id), "stop": str(stop.trigger_price)}
                log.warning(line("left_protected", fields, self._keeper))
        self._snapshot()
        self._journal.close()
        self._publish(self.state, "stopped")
        assert self._stop is not None, "the reason to leave"
        return self._stop.exit_code


def not_sent(order: Order, now_ms: int) -> OrderRejected:
    """The answer of an order that stayed here."""
    text = "not sent: the journal cannot be written"
    return OrderRejected(
        client_id=order.client_id, symbol=order.symbol, reason=RejectReason.OTHER, text=text, received_ms=now_ms
    )
