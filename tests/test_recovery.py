"""What a kill, a torn file or a full disk once broke in journal and restart: each stays mended."""

import errno
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.decide import HANDLERS
from core.messages import AnyEvent, OrderSettled, Submit
from core.model import Fill, OrderStatus, Side, Trade
from core.signals import Signal
from core.state import State
from runtime import journal
from runtime.bot import Bot
from runtime.clock import Clock, ManualClock, SystemClock
from runtime.executor import LiveExecutor
from runtime.journal import Journal
from runtime.ledger import Ledger
from runtime.orders import OrderLanes
from runtime.poller import AccountReader, ListingReader, PricePoller
from runtime.recovery import replay
from tests.core.world import D, Desk
from tests.loopback import LoopbackVenue, loopback_venue
from tests.test_hyperliquid_client_network import FILLED, client_of
from tests.test_hyperliquid_client_settle import Script
from tests.test_runtime_recovery import RULES_HERE, TAG, Recorder, only_file, restored

ALWAYS_LONG = {"BTC": lambda bars: Signal.LONG}


@pytest.fixture
def desk(tmp_path: Path) -> Recorder:
    desk = Recorder(tmp_path)
    desk.start()
    return desk


def orders_of(state: State) -> dict[str, tuple[str, OrderStatus]]:
    return {key: (record.purpose.name, record.status) for key, record in state.markets["BTC"].orders.items()}


def trade(now_ms: int, price: str = "50000") -> Trade:
    return Trade("BTC", D(price), D("0.1"), Side.BUY, now_ms, now_ms, now_ms)


# --- restart ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exited", [False, True])
def test_orders_come_back_as_they_were(desk: Recorder, tmp_path: Path, exited: bool) -> None:
    """A stop that the listing confirmed lives on in the listing only; what has ended has ended."""
    desk.protected()
    if exited:
        [exit_] = desk.exits(desk.trade("49400"))
        desk.accept(exit_, filled="0.01", price="49400", order_id=7)
    desk.journal.close()
    state = restored(tmp_path).state
    assert orders_of(state) == orders_of(desk.state)
    assert state.markets["BTC"].position == desk.market.position


def test_a_fill_that_names_no_size_before_it_counts_once(desk: Recorder, tmp_path: Path) -> None:
    entry = desk.send_entry()
    desk.accept(entry, filled="0.01", price="50000", order_id=5)
    desk.fill(5, Side.BUY, "0.01", "50000", start=None, client_id=entry.client_id)
    desk.journal.close()
    position = restored(tmp_path).state.markets["BTC"].position
    assert position is not None and position.size == D("0.01")


def test_a_fill_that_came_before_its_answer_counts_once(desk: Recorder, tmp_path: Path) -> None:
    entry = desk.send_entry()
    desk.fill(5, Side.BUY, "0.01", "50000", start="0", client_id=entry.client_id)
    desk.accept(entry, filled="0.01", price="50000", order_id=5)
    desk.trade("50300")
    desk.journal.close()
    assert desk.position.trail_price is not None
    assert restored(tmp_path).state.markets["BTC"].position == desk.position


def test_a_torn_first_snapshot_does_not_hide_the_lines_behind_it(desk: Recorder, tmp_path: Path) -> None:
    """The disk was full at midnight, for a moment: the new day's lines belong to the state of the day before."""
    desk.listing()
    desk.trade("50000")
    desk.now_ms += 86_400_000
    desk.journal.rotate(desk.now_ms, desk.state, desk.rules)
    for thread in threading.enumerate():
        if thread.name == "journal-tidy":
            thread.join()
    entry = desk.send_entry()
    desk.journal.close()
    today = journal.files(tmp_path, TAG)[-1]
    snapshot, *lines = today.read_bytes().splitlines(keepends=True)
    today.write_bytes(snapshot[:24] + b"\n" + b"".join(lines))
    assert entry.client_id in restored(tmp_path).state.markets["BTC"].orders


def test_an_event_that_ended_the_last_run_is_skipped(
    desk: Recorder, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Fill("BTC", Side.BUY, D(50000), D("0.01"), D(0), D(0), 1, None, "x", desk.now_ms, desk.now_ms, D(0))
    desk.journal.write(journal.event_line(poison))
    desk.protected()
    desk.journal.close()
    sound = HANDLERS[Fill]

    def stumbling(turn: Any, fill: Any) -> None:
        assert fill.fill_id != "x", "a bug that nobody has found yet"
        sound(turn, fill)

    monkeypatch.setitem(HANDLERS, Fill, stumbling)
    with caplog.at_level(logging.WARNING):
        state = restored(tmp_path).state
    assert [message for message in caplog.messages if message.startswith("restore_skipped event=Fill")]
    assert state.markets["BTC"].position == desk.market.position


# --- the bot ----------------------------------------------------------------------------------------------------------


class Parts(msgspec.Struct):
    bot: Bot
    inbox: queue.Queue[Any]
    journal: Journal
    lanes: OrderLanes


@pytest.fixture
def venue() -> Iterator[LoopbackVenue]:
    with loopback_venue(Script(order=[FILLED], cancel=[])) as venue:
        yield venue


@pytest.fixture
def make_bot(venue: LoopbackVenue, tmp_path: Path) -> Iterator[Callable[[State, Clock], Parts]]:
    """A whole bot of real parts that always wants to be long; lanes open as they are needed, nothing is read."""
    made: list[Parts] = []

    def make(state: State, clock: Clock) -> Parts:
        client = client_of(venue.url)
        inbox: queue.Queue[Any] = queue.Queue()
        lanes = OrderLanes(client.clone, inbox, clock)
        bot = Bot(
            state=state,
            rules=RULES_HERE,
            strategies=ALWAYS_LONG,
            run_id=7,
            inbox=inbox,
            executor=LiveExecutor(
                lanes,
                ListingReader(client.clone(), inbox, clock),
                AccountReader(client.clone(), {}, inbox, clock),
                PricePoller(client.clone(), ["BTC"], 1.0, inbox, clock),
                None,
            ),
            journal=(written := Journal(tmp_path, TAG, 100)),
            ledger=Ledger(tmp_path / "ledger.db"),
            clock=clock,
            publish=lambda state, status: None,
            notify=lambda name, text: None,
        )
        made.append(Parts(bot, inbox, written, lanes))
        return made[-1]

    yield make
    for parts in made:
        parts.lanes.stop()
        parts.journal.close()


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, mark: bytes) -> None:
    """From here on there is no room for lines with `mark` in them."""
    write = os.write

    def refuse(fd: int, data: Any) -> int:
        if mark in bytes(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", refuse)


@pytest.mark.parametrize(("full", "held", "sent"), [
    (False, False, ["order"]),
    (True, False, []),  # a crash would hide the entry
    (True, True, ["order"]),  # the exit leaves all the same
])  # fmt: skip
def test_no_entry_leaves_without_its_line(
    make_bot: Callable[[State, Clock], Parts],
    venue: LoopbackVenue,
    monkeypatch: pytest.MonkeyPatch,
    full: bool,
    held: bool,
    sent: list[str],
) -> None:
    desk = Desk(RULES_HERE)
    desk.start()
    if held:
        desk.protected()
    else:
        desk.listing()
        desk.trade("50000")
    parts = make_bot(desk.state, ManualClock(desk.now_ms))
    parts.journal.rotate(desk.now_ms, desk.state, RULES_HERE)
    if full:
        fill_the_disk(monkeypatch, mark=b'"action"')
    parts.bot.take([trade(desk.now_ms + 1_000, "49400" if held else "50000")])
    parts.lanes.stop()
    assert venue.actions() == sent
    assert parts.bot.state.journal_ok is not full


def test_what_a_stopping_bot_decides_replays_equal(make_bot: Callable[[State, Clock], Parts], tmp_path: Path) -> None:
    """Asked to stop while an entry is in doubt: it lingers, and refuses entries for a reason that is in the journal."""
    clock = SystemClock()
    desk = Desk(RULES_HERE)
    desk.now_ms = clock.now_ms() - 5_000
    desk.start()
    entry = desk.send_entry()
    parts = make_bot(desk.state, clock)
    now_ms = clock.now_ms()
    for event in (trade(now_ms), trade(now_ms + 1_000)):
        parts.inbox.put(event)
    parts.bot.ask_to_stop("signal")
    assert parts.bot.run() == 0
    path = only_file(tmp_path)
    records = list(journal.read_records(path))
    settled = [record.event for record in records if isinstance(record.event, OrderSettled)]
    assert [event.client_id for event in settled] == [entry.client_id]
    assert b"halted: stopping" in path.read_bytes()
    assert not [record for record in records if isinstance(record.action, Submit)]
    assert replay(path, lambda rules: no_frames, lambda rules: ALWAYS_LONG).difference is None


def no_frames(raw: bytes, now_ms: int) -> tuple[AnyEvent, ...]:
    return ()
