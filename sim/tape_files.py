"""What a real bot has left on disk, read onto a `Tape`: journal, ledger, log, and what its venue has received.

With it the invariants judge real processes: the venue's record comes from the venue (`sim.topstepx_tape` for TopstepX),
the spans from who starts, kills and cuts. All clocks are one machine's here, so true time is the bot's.
"""

import bisect
import contextlib
import gzip
import re
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from core.messages import Started
from runtime import journal
from sim.world_types import Exchange, LogLine, Tape, Written

SOME_LINE = re.compile(r"(?P<time>\S+Z) (?P<level>[A-Z]+) \S+ (?P<name>[a-z_]+)\b")
NOWHERE = 1 << 60  # journal bytes at the moment of sending: unknown among processes, so never too few


class Arrival(Protocol):
    """A request as a simulated server remembers it (`sim.topstepx_server.Received`)."""

    time_ms: int
    kind: str
    body: object


def read_journal(tape: Tape, folder: Path, tag: str = "*") -> None:
    """Every whole line of the journals, oldest first; a start begins a run. Actions bear the time of their cause."""
    run, now_ms = 0, tape.begin_ms
    for path in journal.files(folder, tag):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            for line in file:
                record = journal.decode_line(line) if line.endswith(b"\n") and line != b"\n" else None
                if record is None:
                    continue
                if isinstance(record.event, Started):
                    run += 1
                if record.event is not None or record.ms:
                    now_ms = record.event.received_ms if record.event is not None else record.ms
                # the snapshot that a start begins its file with comes before the start
                tape.written.append(Written(now_ms, now_ms, max(run, 1), line))


def read_ledger(tape: Tape, path: Path) -> None:
    """The table of fills. Raises sqlite3.Error."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        tape.ledger_fills += db.execute("SELECT * FROM fills ORDER BY time_ms, fill_id").fetchall()
        tape.ledger_orders += db.execute("SELECT * FROM orders ORDER BY sent_ms").fetchall()


def read_log(tape: Tape, path: Path) -> None:
    for text in path.read_text(encoding="utf-8").splitlines():
        found = SOME_LINE.match(text)
        if found is not None:
            true_ms = int(datetime.fromisoformat(found["time"]).timestamp() * 1000)
            tape.log.append(LogLine(true_ms, 0, found["level"], found["name"], text))


def add_arrivals(tape: Tape, arrivals: Iterable[Arrival]) -> None:
    """Requests by the venue's memory of them, after the journal was read: those that never arrived are not there."""
    starts = [part.true_ms for part in tape.written if b'"type":"Started"' in part.lines]
    for arrival in arrivals:
        run = bisect.bisect_right(starts, arrival.time_ms)
        body, at_ms = msgspec.json.encode(arrival.body), arrival.time_ms
        path, number = f"/api/{arrival.kind}", len(tape.requests)
        tape.requests.append(Exchange(number, run, path, body, at_ms, NOWHERE, at_ms, fate="arrived"))
