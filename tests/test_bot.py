"""The main loop: written before it is decided on, written before it is sent, and loud when something in it breaks."""

import logging
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.messages import AnyAction, AnyEvent, Frame, Submit
from core.model import Bar, Side, Trade
from core.rules import Rules
from core.signals import Signal
from core.state import State
from core.turn import Strategies
from runtime import journal
from runtime.bot import Bot
from runtime.clock import Clock, ManualClock, SystemClock
from runtime.journal import Journal
from runtime.ledger import Ledger
from runtime.stream import COMING
from tests.core.world import D, Desk
from tests.test_runtime_recovery import RULES_HERE, TAG

Make = Callable[..., "Watched"]


class Executor:
    """Sends nothing; remembers what it was given, and what the journal held at that moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.given: list[tuple[AnyAction, bytes]] = []

    def written(self) -> bytes:
        return b"".join(path.read_bytes() for path in journal.files(self._folder, TAG))

    def act(self, action: AnyAction, body: bytes | None) -> None:
        self.given.append((action, self.written()))

    @property
    def submits(self) -> list[Submit]:
        return [action for action, _ in self.given if isinstance(action, Submit)]

    def on_market_data(self, event: AnyEvent) -> None: ...

    def stay_keen(self, on: bool) -> None: ...

    def rehearse(self) -> None: ...


class Watched(msgspec.Struct):
    bot: Bot
    inbox: queue.Queue[Any]
    executor: Executor
    said: list[str]  # notifications


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Journal] = []

    def bot(state: State, clock: Clock, strategies: Strategies, rules: Rules = RULES_HERE, **more: Any) -> Watched:
        inbox: queue.Queue[Any] = queue.Queue()
        executor, said = Executor(tmp_path), []
        made.append(Journal(tmp_path, TAG, 100))
        made[-1].rotate(clock.now_ms(), state, rules)
        bot = Bot(
            state=state, rules=rules, strategies=strategies, run_id=7, inbox=inbox, executor=executor,
            journal=made[-1], ledger=Ledger(tmp_path / "ledger.db"), clock=clock, publish=lambda state, word: None,
            notify=lambda name, text: said.append(name), **more,
        )  # fmt: skip
        return Watched(bot, inbox, executor, said)

    yield bot
    for each in made:
        each.close()


def ready(held: bool = False) -> Desk:
    """A market with a price, flat and clean or with a protected position."""
    desk = Desk(RULES_HERE)
    desk.start()
    if held:
        desk.protected()
    else:
        desk.listing()
        desk.trade("50000")
    return desk


def trade(now_ms: int, price: str = "50000") -> Trade:
    return Trade("BTC", D(price), D("0.1"), Side.BUY, now_ms, now_ms, now_ms)


def always_long(bars: Sequence[Bar]) -> Signal:
    return Signal.LONG


# --- P6, P8 -----------------------------------------------------------------------------------------------------------


def test_an_order_is_in_the_journal_before_it_is_handed_out(make: Make) -> None:
    """Killed right here, the next start would find it."""
    desk = ready()
    watched = make(desk.state, ManualClock(desk.now_ms), {"BTC": always_long})
    watched.bot.take([trade(desk.now_ms + 1_000)])
    [entry] = watched.executor.submits
    for action, written in watched.executor.given:
        assert journal.action_line(action) in written
    assert entry.order.client_id.encode() in watched.executor.written()


def test_an_event_is_in_the_journal_before_it_is_decided_on(make: Make) -> None:
    desk = ready()
    seen: list[bytes] = []
    watched = make(desk.state, ManualClock(desk.now_ms), {"BTC": lambda bars: seen.append(watched.executor.written())})
    crossing = trade(desk.now_ms + 1_000)
    watched.bot.take([crossing])
    framed = trade(desk.now_ms + 2_000)
    watched.bot.take([Frame(b'{"a":1}', framed.received_ms, (framed,))])
    assert len(seen) == 2, "asked at the end of each bar"
    assert journal.event_line(crossing) in seen[0] and b'{"frame":{"a":1}' in seen[1]


@pytest.mark.parametrize("prices", [("49400", "50000"), ("50000", "49400", "50000"), ("50000", "49400")])
def test_every_trade_of_a_frame_is_judged(make: Make, prices: tuple[str, ...]) -> None:
    """The price was at the stop and is back: the position must go all the same."""
    desk = ready(held=True)
    watched = make(desk.state, ManualClock(desk.now_ms), {})
    trades = tuple(trade(desk.now_ms + number, price) for number, price in enumerate(prices, 1))
    watched.bot.take([Frame(b"{}", desk.now_ms + 9, trades)])
    assert [submit.reason for submit in watched.executor.submits] == ["STOP_LOSS"]


# --- P9 ---------------------------------------------------------------------------------------------------------------

LONG_MS = 60_000  # of the hurried clock: three seconds, for a bot that does not end by itself


def hurried(start_ms: int) -> SystemClock:
    """Twenty times as fast: what takes a bot seconds is over before anybody yawns."""
    began_ns = time.monotonic_ns()
    return SystemClock(
        wall_ns=lambda: start_ms * 1_000_000 + (time.monotonic_ns() - began_ns) * 20,
        monotonic_ns=lambda: (time.monotonic_ns() - began_ns) * 20,
    )


def test_a_bug_in_the_brain_ends_entries_and_then_the_bot(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    def broken(bars: Sequence[Bar]) -> Signal:
        raise ZeroDivisionError("a strategy's bug")

    desk = ready()
    clock = hurried(desk.now_ms)
    watched = make(desk.state, clock, {"BTC": broken})
    for ms in (1, 1_100):
        watched.inbox.put(trade(desk.now_ms + ms))
    with caplog.at_level(logging.INFO, "bot"):
        assert watched.bot.run(until_ms=clock.now_ms() + LONG_MS) == 1
    assert "ZeroDivisionError" in str(watched.bot.state.halted)
    assert "halted" in watched.said and not watched.executor.submits
    assert any(record.levelname == "CRITICAL" and "on Trade" in record.message for record in caplog.records)


def test_an_exit_that_would_fail_is_known_before_it_is_needed(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """While a position is open the exit is rehearsed: a bug in it halts the bot now, not at the stop."""
    desk = ready(held=True)
    risk = msgspec.structs.replace(RULES_HERE.risk, exit_slippage_pct=D("sNaN"))  # whoever reckons with it fails
    clock = hurried(desk.now_ms)
    watched = make(desk.state, clock, {}, msgspec.structs.replace(RULES_HERE, risk=risk))
    with caplog.at_level(logging.INFO, "bot"):
        assert watched.bot.run(until_ms=clock.now_ms() + LONG_MS) == 1
    assert "on rehearsal" in str(watched.bot.state.halted)
    assert "halted" in watched.said
    faults = [record for record in caplog.records if record.message.startswith("fault ")]
    assert len(faults) == 1, "said once, not every five milliseconds"
    assert watched.bot.state.markets["BTC"].position is not None and not watched.executor.submits


def test_a_rehearsal_leaves_no_trace(make: Make) -> None:
    desk = ready(held=True)
    clock = hurried(desk.now_ms)
    watched = make(desk.state, clock, {})
    assert watched.bot.run(until_ms=clock.now_ms() + 4_000) == 0
    market = watched.bot.state.markets["BTC"]
    assert market.position == desk.position and market.exit_reason is None
    assert not watched.executor.submits and b"STOP_LOSS" not in watched.executor.written()


def test_what_only_wakes_us_is_neither_written_nor_decided_on(make: Make) -> None:
    """A stream says COMING before it reads what has come; nothing may ever follow it."""
    desk = ready()
    clock = hurried(desk.now_ms)
    watched = make(desk.state, clock, {})
    for item in (COMING, trade(desk.now_ms + 1, "50001"), COMING, COMING, trade(desk.now_ms + 2, "50002"), COMING):
        watched.inbox.put(item)
    assert watched.bot.run(until_ms=clock.now_ms() + 2_000) == 0
    assert watched.bot.state.markets["BTC"].current_price == D("50002") and "halted" not in watched.said
    assert watched.executor.written().count(b'"type":"Trade"') == 2


@pytest.mark.parametrize("is_booked", [True, False])
def test_no_snapshot_passes_by_what_is_not_booked(make: Make, is_booked: bool) -> None:
    """A start books again what the journal tells since the last snapshot: what is older must be in the ledger."""
    desk = ready()
    clock = hurried(desk.now_ms)
    watched = make(desk.state, clock, {}, is_booked=lambda: is_booked)
    before = watched.executor.written().count(b'{"snapshot":')
    assert watched.bot.run(until_ms=clock.now_ms() + 10_000) == 0
    begin_and_end = 2
    assert watched.executor.written().count(b'{"snapshot":') - before == begin_and_end + is_booked


def test_nothing_is_written_behind_a_gap(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full for one line: what follows waits for a whole state; half of one would be played on."""
    desk = ready()
    watched = make(desk.state, ManualClock(desk.now_ms), {})
    write, disk_is_full = Journal.write, True

    def refuse(self: Journal, lines: bytes) -> None:
        if disk_is_full:
            raise OSError(28, "No space left on device")
        write(self, lines)

    monkeypatch.setattr(Journal, "write", refuse)
    watched.bot.take([trade(desk.now_ms, "50001")])
    disk_is_full = False
    watched.bot.take([trade(desk.now_ms, "50002")])
    assert b'"price":"5000' not in watched.executor.written(), "neither of them"
    watched.bot._each_second(desk.now_ms)
    watched.bot.take([trade(desk.now_ms, "50003")])
    lines = watched.executor.written().splitlines()
    [restored] = [number for number, line in enumerate(lines) if b"JournalRestored" in line]
    assert b'"snapshot"' in lines[restored - 1] and b'"50002"' in lines[restored - 1]
    assert b'"price":"50003"' in lines[-1]
