"""The flight recorder: what is written is there, whatever was torn, full or compressed in between."""

import errno
import gzip
import os
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.messages import Frame, Submit, Tick
from core.model import Fill, Order, OrderType, Purpose, Side
from core.state import MarketState, State
from runtime import journal
from runtime.journal import Journal
from tests.core.world import RULES, T0

DAY_MS = 86_400_000
TAG = "abc"
LATER = f"journal-20991231-{TAG}.jsonl"
FLAT = State(markets={"BTC": MarketState("BTC")})
ORDER = Order(client_id="0x01", symbol="BTC", side=Side.BUY, size=D("0.01"), type=OrderType.MARKET, price=D("50000.5"))


def open_journal(folder: Path, now_ms: int = T0, state: State = FLAT) -> Journal:
    one = Journal(folder, TAG, 100)
    one.rotate(now_ms, state, RULES)
    return one


def tick(number: int) -> bytes:
    return journal.event_line(Tick(received_ms=number))


def ticks(records: list[journal.Record]) -> list[int]:
    return [record.event.received_ms for record in records if isinstance(record.event, Tick)]


def current(folder: Path) -> Path:
    return [path for path in journal.files(folder, TAG) if path.suffix == ".jsonl"][-1]


def test_every_kind_of_line_comes_back(tmp_path: Path) -> None:
    one = open_journal(tmp_path)
    frame = Frame(b'{"channel":"trades",\n"data":[]}', T0 + 1, ())
    submit = Submit(ORDER, Purpose.ENTRY, "why")
    one.write(tick(1) + journal.frame_line(frame) + journal.action_line(submit))
    one.close()
    state, rules, records = journal.read_tail(tmp_path, TAG)
    assert state == FLAT and rules == RULES
    assert records[0].event == Tick(received_ms=1)
    assert msgspec.json.decode(bytes(records[1].frame)) == {"channel": "trades", "data": []} and records[1].ms == T0 + 1
    assert records[2].action == submit, "prices keep their digits"


@pytest.mark.parametrize("torn", [b'{"event":{"type":"Ti', b'{"snapshot":{"markets"', b"\x00\x00", b'{"event":'])
def test_a_torn_end_is_left_out_and_the_next_line_is_whole(tmp_path: Path, torn: bytes) -> None:
    one = open_journal(tmp_path)
    one.write(tick(1))
    one.close()
    with current(tmp_path).open("ab") as file:
        file.write(torn)
    assert ticks(journal.read_tail(tmp_path, TAG)[2]) == [1]

    again = open_journal(tmp_path, T0 + 10)
    again.write(tick(2))
    again.close()
    assert ticks(list(journal.read_records(current(tmp_path)))) == [1, 2]


def test_a_start_reads_from_the_newest_snapshot_on(tmp_path: Path) -> None:
    one = open_journal(tmp_path)
    one.write(tick(1))
    newer = msgspec.structs.replace(FLAT, last_nonce=7)
    one.write_snapshot(newer, RULES)
    one.write(tick(2))
    one.close()
    state, _, records = journal.read_tail(tmp_path, TAG)
    assert state == newer and ticks(records) == [2]


def test_a_new_day_is_a_new_file_that_stands_by_itself(tmp_path: Path) -> None:
    one = open_journal(tmp_path)
    assert not one.is_due(T0)
    assert one.is_due(T0 + DAY_MS)
    one.rotate(T0 + DAY_MS, FLAT, RULES)
    one.write(tick(3))
    one.close()
    assert ticks(list(journal.read_records(current(tmp_path)))) == [3]
    assert journal.read_tail(tmp_path, TAG)[0] == FLAT


def test_accounts_do_not_read_each_other(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    assert journal.read_tail(tmp_path, "other") == (None, None, [])


def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    one = open_journal(tmp_path)
    one.close()
    with pytest.raises(OSError):
        one.write(tick(1))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_it_says_why_it_failed_for_as_long_as_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = open_journal(tmp_path)
    assert one.error is None

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError):
            one.write(tick(1))
    assert one.error == "No space left on device"
    one.write(tick(2))
    assert one.error is None


def test_a_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way", encoding="utf-8")
    one = Journal(tmp_path / "logs", TAG, 100)
    with pytest.raises(OSError):
        one.rotate(T0, FLAT, RULES)
    with pytest.raises(OSError, match="not open"):
        one.write(tick(1))
    assert one.error == os.strerror(errno.ENOTDIR)  # the cause, not what follows from it


def test_after_a_refused_write_a_new_line_begins(tmp_path: Path) -> None:
    one = open_journal(tmp_path)
    assert one._fd is not None
    kept = os.dup(one._fd)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, one._fd)
    with pytest.raises(OSError, match="No space left"):
        one.write(tick(1))
    os.write(kept, tick(1)[:10])  # what a disk that fills up leaves behind
    os.dup2(kept, one._fd)
    one.write(tick(2))
    one.close()
    assert ticks(list(journal.read_records(current(tmp_path)))) == [2]
    os.close(kept)
    os.close(full)


def write_old(folder: Path, day: str, lines: bytes) -> None:
    (folder / f"journal-{day}-{TAG}.jsonl").write_bytes(lines)


def fill_line() -> bytes:
    return journal.event_line(
        Fill(
            symbol="BTC", side=Side.BUY, price=D(1), size=D(1), fee=D(0), closed_pnl=D(0), order_id=1, client_id=None,
            fill_id="1", time_ms=T0, received_ms=T0,
        )
    )  # fmt: skip


def test_finished_days_are_compressed_and_readable(tmp_path: Path) -> None:
    write_old(tmp_path, "20260101", tick(1))
    write_old(tmp_path, "20260102", fill_line())
    write_old(tmp_path, "20260103", tick(3))
    now = f"journal-20260103-{TAG}.jsonl"
    journal.tidy(tmp_path, now, 1_000_000)
    names = [path.name for path in journal.files(tmp_path, TAG)]
    assert names == [f"journal-20260101-{TAG}.jsonl.gz", f"journal-20260102-{TAG}.fills.jsonl.gz", now]
    assert ticks(list(journal.read_records(tmp_path / names[0]))) == [1]


def test_room_is_made_from_the_oldest_day_without_fills(tmp_path: Path) -> None:
    write_old(tmp_path, "20260101", fill_line())
    write_old(tmp_path, "20260102", tick(1))
    write_old(tmp_path, "20260103", tick(2))
    journal.tidy(tmp_path, LATER, 1_000_000)
    sizes = {path.name: path.stat().st_size for path in journal.files(tmp_path, TAG)}
    journal.tidy(tmp_path, LATER, sum(sizes.values()) - 1)
    assert [path.name[8:16] for path in journal.files(tmp_path, TAG)] == ["20260101", "20260103"]
    journal.tidy(tmp_path, LATER, 0)
    assert journal.files(tmp_path, TAG) == []


def test_a_day_that_began_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Tidying up after the first file of a run is slow, and the second one has begun."""
    for day in ("20260101", "20260102", "20260103"):
        write_old(tmp_path, day, tick(1))
    journal.tidy(tmp_path, f"journal-20260102-{TAG}.jsonl", 0)
    assert [path.name[8:16] for path in journal.files(tmp_path, TAG)] == ["20260102", "20260103"]
    assert all(path.suffix == ".jsonl" for path in journal.files(tmp_path, TAG))


def test_a_compression_that_was_killed_is_done_again(tmp_path: Path) -> None:
    """Half a .gz must never stand for the day."""
    write_old(tmp_path, "20260101", tick(1))
    half = tmp_path / f"journal-20260101-{TAG}.jsonl.tmp"
    half.write_bytes(gzip.compress(tick(1))[:12])
    assert ticks(list(journal.read_records(journal.files(tmp_path, TAG)[0]))) == [1]
    journal.tidy(tmp_path, LATER, 1_000_000)
    (packed,) = journal.files(tmp_path, TAG)
    assert ticks(list(journal.read_records(packed))) == [1] and not half.exists()


def test_a_compressed_day_is_not_written_to_again(tmp_path: Path) -> None:
    day = journal.day_of(T0)
    write_old(tmp_path, day, tick(1))
    journal.tidy(tmp_path, LATER, 1_000_000)
    open_journal(tmp_path).close()
    assert [path.name for path in journal.files(tmp_path, TAG)][-1] == f"journal-{day}-{TAG}.2.jsonl"


@pytest.mark.parametrize(("ms", "day"), [(0, "19700101"), (DAY_MS - 1, "19700101"), (DAY_MS, "19700102")])
def test_days_are_utc(ms: int, day: str) -> None:
    assert journal.day_of(ms) == day


def test_a_line_of_another_version_is_no_torn_line() -> None:
    with pytest.raises(msgspec.ValidationError):
        journal.decode_line(b'{"event":{"type":"NeverHeardOf","received_ms":1}}')
    assert journal.decode_line(b'{"event":{"type"') is None


def test_a_write_in_pieces_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = open_journal(tmp_path)
    whole = os.write

    def a_few(fd: int, data: Any) -> int:
        return whole(fd, data[:5])

    monkeypatch.setattr(os, "write", a_few)
    one.write(tick(12345))
    monkeypatch.undo()
    one.close()
    assert ticks(list(journal.read_records(current(tmp_path)))) == [12345]
