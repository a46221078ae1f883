"""State from a journal (P7), and the journal played again (P12)."""

import sqlite3
from contextlib import closing
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from core.decide import decide
from core.messages import AnyAction, AnyEvent, Frame, Note, OrderAccepted, Settle, Started, Submit, Tick, WorkingOrders
from core.model import Order, OrderStatus, Purpose, Side, Trade, WorkingOrder
from core.rules import Rules
from core.signals import Signal
from core.state import ExitReason, State
from runtime import journal, ledger
from runtime.journal import Journal
from runtime.recovery import Replayed, Restored, replay, restore
from tests.core import futures, gateway
from tests.core.world import RULES, T0, Desk, rules_with

TAG = "abc"
RULES_HERE = msgspec.structs.replace(RULES, account_tag=TAG)


class Recorder(Desk):
    """A Desk that writes as the bot does: the event, then what came of it."""

    def __init__(self, folder: Path, rules: Rules = RULES_HERE) -> None:
        super().__init__(rules)
        self.journal = Journal(folder, TAG, 100)
        self.journal.rotate(self.now_ms, self.state, rules)
        self.writes_actions = True

    def feed(self, event: AnyEvent) -> list[AnyAction]:
        self.journal.write(journal.event_line(event))
        self.state, actions = decide(self.state, event, self.rules, {"BTC": lambda bars: self.signal})
        if self.writes_actions:
            self.journal.write(b"".join(map(journal.action_line, actions)))
        self.actions = [action for action in actions if not isinstance(action, Note)]
        return self.actions


def restored(folder: Path, rules: Rules = RULES_HERE) -> Restored:
    return restore(folder, rules, lambda raw, now_ms: ())


def test_a_position_comes_back_with_its_trail(tmp_path: Path) -> None:
    desk = Recorder(tmp_path)
    desk.start()
    desk.protected()
    desk.trade("50600")
    assert desk.market.position is not None and desk.market.position.trail_price == D("50347")
    desk.journal.close()
    found = restored(tmp_path)
    assert found.why_fresh is None
    assert found.state.markets["BTC"].position == desk.market.position
    assert found.state.last_nonce == desk.state.last_nonce


def test_an_order_that_was_written_may_have_been_sent(tmp_path: Path) -> None:
    """The strategy is not asked again at a start: the order is in the journal, and that is enough."""
    desk = Recorder(tmp_path)
    desk.start()
    entry = desk.enter()
    desk.journal.close()
    orders = restored(tmp_path).state.markets["BTC"].orders
    assert {record.purpose for record in orders.values()} == {Purpose.ENTRY, Purpose.STOP}
    assert orders[entry.client_id].status is OrderStatus.SENT


def test_an_order_that_was_not_written_was_not_sent(tmp_path: Path) -> None:
    """Killed between the event and its actions: deciding again must not make an order that never was."""
    desk = Recorder(tmp_path)
    desk.start()
    desk.protected()
    desk.writes_actions = False
    assert desk.sent(desk.trade("49000")), "it would have left"
    desk.journal.close()
    market = restored(tmp_path).state.markets["BTC"]
    assert all(record.purpose is not Purpose.EXIT for record in market.orders.values())
    assert market.position is not None


def test_what_was_in_flight_is_doubted_after_the_start(tmp_path: Path) -> None:
    desk = Recorder(tmp_path)
    desk.start()
    entry = desk.enter()
    desk.journal.close()
    state = restored(tmp_path).state
    _, actions = decide(state, Started(run_id=9, rules=RULES_HERE, received_ms=T0 + 60_000), RULES_HERE, {})
    doubted = {action.order.client_id for action in actions if isinstance(action, Settle)}
    assert entry.client_id in doubted and doubted <= set(state.markets["BTC"].orders)
    assert not [action for action in actions if isinstance(action, Submit)], "nothing is sent again (P3)"


class PitRecorder(futures.Pit):
    """The same at a venue whose brackets make orders that nobody here has submitted."""

    def __init__(self, folder: Path) -> None:
        rules = msgspec.structs.replace(gateway.RULES, account_tag=TAG)
        super().__init__(rules)
        self.journal = Journal(folder, TAG, 100)
        self.journal.rotate(self.now_ms, self.state, rules)

    def feed(self, event: AnyEvent) -> list[AnyAction]:
        before = self.state
        actions = super().feed(event)
        _, everything = decide(before, event, self.rules, {"MGC": lambda bars: self.signal})
        self.journal.write(journal.event_line(event) + b"".join(map(journal.action_line, everything)))
        return actions


def test_the_stop_of_a_bracket_is_not_forgotten(tmp_path: Path) -> None:
    """Else the position would look bare for as long as it was held, and be closed at the start."""
    pit = PitRecorder(tmp_path)
    pit.start()
    entry = pit.enter()
    pit.wait(5_000)
    pit.journal.close()
    market = restored(tmp_path, pit.rules).state.markets["MGC"]
    assert f"{entry.client_id}-SL" in market.orders and market.orders.keys() == pit.market.orders.keys()
    assert market.exit_reason is None and market.naked_since_ms is None and market.position == pit.market.position


def test_an_exit_that_was_written_is_wanted_still(tmp_path: Path) -> None:
    """A strategy is not asked again at a start; that it wanted out is told by the order that was sent."""
    desk = Recorder(tmp_path)
    desk.start()
    desk.protected()
    desk.signal = Signal.FLAT
    assert desk.exits(desk.trade("50001", after_ms=1_000))
    desk.journal.close()
    assert restored(tmp_path).state.markets["BTC"].exit_reason is ExitReason.SIGNAL


def test_a_list_from_before_an_order_is_not_believed(tmp_path: Path) -> None:
    """Nor by the one that reads the journal: it would take the stop for confirmed, and its record off the books."""
    desk = Recorder(tmp_path)
    desk.start()
    stop = desk.enter()
    desk.accept(stop)
    asked_ms = desk.now_ms
    desk.signal = Signal.FLAT
    assert desk.exits(desk.trade("50001", after_ms=1_000))
    desk.feed(WorkingOrders(orders=(working(stop),), requested_ms=asked_ms, received_ms=desk.now_ms + 1))
    desk.journal.close()
    assert stop.client_id in desk.market.orders
    orders = restored(tmp_path).state.markets["BTC"].orders
    assert orders.keys() == desk.market.orders.keys()


def working(stop: Order) -> WorkingOrder:
    return WorkingOrder("BTC", stop.side, 8, None, D(0), stop.price, stop.trigger_price, True, True, True, T0)


def test_what_a_killed_run_has_not_booked_is_booked(tmp_path: Path) -> None:
    """The ledger is written behind the journal: a process may die between the two."""
    desk = Recorder(tmp_path)
    desk.start()
    entry = desk.send_entry()
    desk.accept(entry, filled="0.01", price="50000", order_id=77)
    desk.fill(77, Side.BUY, "0.01", "50000", "0", client_id=entry.client_id)
    desk.journal.close()
    for _ in range(2):  # twice is once
        ledger.write(tmp_path / "ledger.db", restored(tmp_path).rows)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        orders = db.execute("SELECT account, client_id, status, order_id FROM orders WHERE type = 'MARKET'").fetchall()
        fills = db.execute("SELECT account, client_id, size FROM fills").fetchall()
    assert orders == [(TAG, entry.client_id, "FILLED", 77)]
    assert fills == [(TAG, entry.client_id, "0.01")]


def test_frames_are_read_again(tmp_path: Path) -> None:
    desk = Recorder(tmp_path)
    desk.start()
    frame = Frame(b'{"price":51000}', T0 + 500, ())
    desk.journal.write(journal.frame_line(frame))
    desk.journal.close()

    def decode(raw: bytes, now_ms: int) -> tuple[AnyEvent, ...]:
        price = D(msgspec.json.decode(raw)["price"])
        return (Trade("BTC", price, D(1), Side.BUY, 1, now_ms, now_ms),)

    found = restore(tmp_path, RULES_HERE, decode)
    assert found.state.markets["BTC"].current_price == D(51000)


def test_no_journal_and_a_strange_one_start_afresh(tmp_path: Path) -> None:
    assert restored(tmp_path).why_fresh == "this account has no journal yet"
    desk = Recorder(tmp_path)
    desk.journal.write(b'{"event":{"type":"FromTheFuture","received_ms":1}}\n')
    desk.journal.close()
    found = restored(tmp_path)
    assert found.state == State() and "another version" in str(found.why_fresh)


# --- replay -----------------------------------------------------------------------------------------------------------


def only_file(folder: Path) -> Path:
    (path,) = journal.files(folder, TAG)
    return path


def play(path: Path) -> Replayed:
    return replay(path, lambda rules: lambda raw, now_ms: (), lambda rules: {})


def guardian_day(folder: Path) -> Recorder:
    desk = Recorder(folder, msgspec.structs.replace(rules_with(strategy=None), account_tag=TAG))
    desk.start()
    desk.fill(5, side=Side.BUY, size="0.01", price="50000", start="0")
    desk.wait(2_000)
    desk.trade("49000")
    desk.journal.close()
    return desk


def test_a_day_replays_equal(tmp_path: Path) -> None:
    guardian_day(tmp_path)
    result = play(only_file(tmp_path))
    assert result.difference is None and result.actions >= 10 and result.events > 10


def test_the_first_difference_is_shown(tmp_path: Path) -> None:
    guardian_day(tmp_path)
    path = only_file(tmp_path)
    text = path.read_bytes()
    assert b'"trigger_price":"49500"' in text
    path.write_bytes(text.replace(b'"trigger_price":"49500"', b'"trigger_price":"49400"', 1))
    difference = play(path).difference
    assert difference is not None
    assert isinstance(difference.recorded, Submit) and difference.recorded.order.trigger_price == D(49400)
    assert isinstance(difference.replayed, Submit) and difference.replayed.order.trigger_price == D(49500)


def test_an_action_too_many_or_too_few_is_a_difference(tmp_path: Path) -> None:
    guardian_day(tmp_path)
    path = only_file(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if line.startswith(b'{"action"'))
    path.write_bytes(b"".join(lines[:last] + lines[last + 1 :]))
    assert play(path).difference is not None
    path.write_bytes(b"".join([*lines, lines[last]]))
    assert play(path).difference is not None


def test_a_journal_without_a_beginning_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(journal.event_line(Tick(received_ms=1)))
    with pytest.raises(ValueError, match="no snapshot"):
        play(path)


def test_late_answers_do_not_revive_an_order(tmp_path: Path) -> None:
    """An answer in the journal of an order whose Submit is not there: another run's; it changes nothing."""
    desk = Recorder(tmp_path)
    desk.start()
    stranger = OrderAccepted(
        client_id="0xff", symbol="BTC", order_id=1, status=OrderStatus.FILLED, filled_size=D(1), average_price=D(1),
        received_ms=T0 + 9,
    )  # fmt: skip
    desk.journal.write(journal.event_line(stranger))
    desk.journal.close()
    market = restored(tmp_path).state.markets["BTC"]
    assert market.position is None and market.orders == {}


def test_a_replay_passes_over_what_a_full_disk_has_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of an event are missing, its effects are not: no difference is reported, also not after the hole."""
    desk = Recorder(tmp_path)
    desk.start()
    desk.trade("50000")

    def full(lines: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(desk.journal, "_hand_over", full)
        with pytest.raises(OSError):
            desk.journal.write(b"lost")
        desk.now_ms += 60_000  # a line about the price is due again
        lost = Trade("BTC", D("50050"), D("0.1"), Side.BUY, 99, desk.now_ms, desk.now_ms)
        desk.state, notes = decide(desk.state, lost, RULES_HERE, {})
        assert notes
    desk.trade("50100")  # whole lines again, of a state that the file does not tell
    desk.journal.close()
    raw = journal.files(tmp_path, TAG)[0].read_bytes()
    assert b'\n{"gap":true}\n' in raw
    found = replay(journal.files(tmp_path, TAG)[0], lambda rules: lambda raw, now_ms: (), lambda rules: {})
    assert found.difference is None
    (tmp_path / "whole").mkdir()
    path = tmp_path / "whole" / "journal.jsonl"
    path.write_bytes(raw.replace(b'{"gap":true}\n', b""))
    assert replay(path, lambda rules: lambda raw, now_ms: (), lambda rules: {}).difference is not None
