"""`logs/ledger.db`: orders, fills and equity for people and reports. Derived from the journal; SQLite, WAL.

Writes happen on a thread of its own: the main thread hands values over and never waits for the disk.
Every fill is booked exactly once, by the venue's fill id.
"""

import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from core.messages import (
    AnyEvent,
    CancelAnswered,
    Note,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    OrderUpdate,
    Submit,
)
from core.model import Fill
from core.sane import is_execution

log = logging.getLogger("ledger")

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    account TEXT NOT NULL, client_id TEXT PRIMARY KEY,
    symbol TEXT NOT NULL, side TEXT NOT NULL, type TEXT NOT NULL, size TEXT NOT NULL,
    price TEXT NOT NULL, trigger_price TEXT, reason TEXT NOT NULL, sent_ms INTEGER NOT NULL,
    status TEXT NOT NULL, order_id INTEGER, detail TEXT, changed_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS fills (
    account TEXT NOT NULL, fill_id TEXT NOT NULL,
    symbol TEXT NOT NULL, side TEXT NOT NULL, price TEXT NOT NULL, size TEXT NOT NULL,
    fee TEXT NOT NULL, closed_pnl TEXT NOT NULL, order_id INTEGER NOT NULL, client_id TEXT, time_ms INTEGER NOT NULL,
    PRIMARY KEY (account, fill_id));
CREATE INDEX IF NOT EXISTS fills_by_time ON fills (time_ms);
CREATE TABLE IF NOT EXISTS equity (
    account TEXT NOT NULL, time_ms INTEGER NOT NULL, equity TEXT NOT NULL, daily_pnl TEXT NOT NULL,
    PRIMARY KEY (account, time_ms));
"""
# decimals are TEXT: SQLite's REAL would round money

Row = tuple[str, tuple[object, ...]]


def rows_of(item: AnyEvent | Submit | Note, account: str, now_ms: int) -> list[Row]:
    """The SQL that books one event or action; [] for those the ledger does not keep. `account` is a tag, no name."""
    match item:
        case Submit():
            order = item.order
            values = (
                account,
                order.client_id, order.symbol, order.side.value, order.type.value, str(order.size), str(order.price),
                None if order.trigger_price is None else str(order.trigger_price), item.reason, now_ms, "SENT", now_ms,
            )  # fmt: skip
            return [(
                "INSERT OR IGNORE INTO orders (account, client_id, symbol, side, type, size, price, trigger_price,"
                " reason, sent_ms, status, changed_ms) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                values,
            )]  # fmt: skip
        case Fill() if is_execution(item):  # the brain believes no other
            fill_values = (
                account, item.fill_id, item.symbol, item.side.value, str(item.price), str(item.size), str(item.fee),
                str(item.closed_pnl), item.order_id, item.client_id, item.time_ms,
            )  # fmt: skip
            return [("INSERT OR IGNORE INTO fills VALUES (?,?,?,?,?,?,?,?,?,?,?)", fill_values)]
        case OrderAccepted() | OrderSettled():
            detail = f"filled {item.filled_size}" if item.filled_size else None
            return [_status(item.client_id, item.status.value, item.order_id, detail, item.received_ms)]
        case OrderRejected():
            return [_status(item.client_id, "REJECTED", None, item.text, item.received_ms)]
        case OrderUnknown():
            return [_status(item.client_id, "UNKNOWN", None, item.error, item.received_ms)]
        case OrderUpdate() if item.status.is_final:
            return [_by_order_id(item.order_id, item.status.value, item.venue_status, item.received_ms)]
        case CancelAnswered() if item.gone:
            return [_by_order_id(item.order_id, "CANCELED", None, item.received_ms)]
        case Note(name="stop_confirmed"):  # a position stop's answer names no id: the listing does
            fields = item.fields
            return [_status(fields["client_id"], "ACCEPTED", int(fields["order_id"]), None, now_ms)]
    return []


def _status(client_id: str, status: str, order_id: int | None, detail: str | None, now_ms: int) -> Row:
    return (
        "UPDATE orders SET status=?, order_id=COALESCE(?, order_id), detail=COALESCE(?, detail), changed_ms=?"
        " WHERE client_id=?",
        (status, order_id, detail, now_ms, client_id),
    )


def _by_order_id(order_id: int, status: str, detail: str | None, now_ms: int) -> Row:
    return (
        "UPDATE orders SET status=?, detail=COALESCE(?, detail), changed_ms=? WHERE order_id=? AND status != 'FILLED'",
        (status, detail, now_ms, order_id),
    )


def equity_row(account: str, time_ms: int, equity: str, daily_pnl: str) -> Row:
    return ("INSERT OR REPLACE INTO equity VALUES (?,?,?,?)", (account, time_ms, equity, daily_pnl))


class Ledger:
    """Books rows on its own thread, in order, several in one transaction when they pile up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._asked = 0  # rows handed over; only the main thread counts
        self._written = 0  # rows on disk; only the ledger's thread counts

    def start(self) -> None:
        self._thread.start()

    def book(self, rows: Sequence[Row]) -> None:
        self._asked += len(rows)
        for row in rows:
            self._rows.put(row)

    def is_settled(self) -> bool:
        """Whether every row handed over is in the file."""
        return self._written == self._asked

    def stop(self, timeout_s: float = 3.0) -> None:
        self._rows.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        waiting: list[Row] = []
        open_ = True
        while open_:
            row = self._rows.get()
            while row is not None:
                waiting.append(row)
                if self._rows.empty():
                    break
                row = self._rows.get()
            open_ = row is not None
            try:
                write(self._path, waiting)
                self._written += len(waiting)
                waiting = []
            except sqlite3.Error as e:  # a full or read-only disk: keep the rows, the next batch tries again
                log.warning("ledger_failed error=%r rows_waiting=%d", str(e), len(waiting))


def write(path: Path, rows: Sequence[Row]) -> None:
    """Book rows in one transaction. Raises sqlite3.Error."""
    with contextlib.closing(connect(path)) as db, db:
        for sql, values in rows:
            db.execute(sql, values)


def connect(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(OSError):  # sqlite says it better
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # its -wal and -shm take the mode after it
    db = sqlite3.connect(path, timeout=10)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.executescript(SCHEMA)
    return db
