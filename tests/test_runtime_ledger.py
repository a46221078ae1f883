"""The ledger: every execution once, an order's last word, and patience with the disk."""

import sqlite3
import threading
from contextlib import closing
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from core.messages import OrderAccepted, OrderRejected, OrderSettled, OrderUnknown, RejectReason, Submit, Tick
from core.model import Fill, Order, OrderStatus, OrderType, Purpose, Side
from runtime import ledger
from runtime.ledger import Ledger
from tests.core.world import T0

ORDER = Order(client_id="0x01", symbol="BTC", side=Side.BUY, size=D("0.01"), type=OrderType.MARKET, price=D("50000.10"))
ACCOUNT = "abc"


def fill(fill_id: str = "1", **changes: Any) -> Fill:
    fields: dict[str, Any] = {
        "symbol": "BTC", "side": Side.BUY, "price": D("50000.10"), "size": D("0.010"), "fee": D("0.2250"),
        "closed_pnl": D(0), "order_id": 7, "client_id": "0x01", "fill_id": fill_id, "time_ms": T0, "received_ms": T0,
    }  # fmt: skip
    return Fill(**(fields | changes))


def book(path: Path, *items: Any) -> None:
    books = Ledger(path)
    books.start()
    for item in items:
        books.book(ledger.rows_of(item, ACCOUNT, T0))
    books.stop()


def ask(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def test_a_fill_is_booked_once_and_keeps_its_digits(tmp_path: Path) -> None:
    book(tmp_path / "l.db", fill(), fill(), fill("2"))
    book(tmp_path / "l.db", fill())
    rows = ask(tmp_path / "l.db", "SELECT fill_id, price, size, fee FROM fills ORDER BY fill_id")
    assert rows == [("1", "50000.10", "0.010", "0.2250"), ("2", "50000.10", "0.010", "0.2250")]


def test_an_order_is_followed_to_its_last_word(tmp_path: Path) -> None:
    word: dict[str, Any] = {"client_id": "0x01", "symbol": "BTC", "received_ms": T0 + 1}
    lives: dict[str, list[Any]] = {
        "FILLED": [OrderAccepted(order_id=7, status=OrderStatus.FILLED, filled_size=D(1), average_price=D(1), **word)],
        "REJECTED": [OrderRejected(reason=RejectReason.MARGIN, text="no money", **word)],
        "UNKNOWN": [OrderUnknown(error="reset", **word)],
        "CANCELED": [
            OrderUnknown(error="reset", **word),
            OrderSettled(order_id=8, status=OrderStatus.CANCELED, filled_size=D(0), text="", **word),
        ],
        "SENT": [Tick(received_ms=T0)],
    }
    for status, events in lives.items():
        path = tmp_path / f"{status}.db"
        book(path, Submit(ORDER, Purpose.ENTRY, "why"), *events)
        assert ask(path, "SELECT status, reason FROM orders") == [(status, "why")]


def test_rows_wait_for_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept and written with the next ones; nobody waits meanwhile."""
    path = tmp_path / "later" / "l.db"
    books = Ledger(path)
    tried = threading.Event()
    write = ledger.write

    def watched(where: Path, rows: Any) -> None:
        try:
            write(where, rows)
        finally:
            tried.set()

    monkeypatch.setattr(ledger, "write", watched)
    books.start()
    books.book(ledger.rows_of(fill("1"), ACCOUNT, T0))
    assert tried.wait(5)
    path.parent.mkdir()
    books.book(ledger.rows_of(fill("2"), ACCOUNT, T0))
    books.stop()
    assert ask(path, "SELECT fill_id FROM fills ORDER BY fill_id") == [("1",), ("2",)]


def test_it_knows_when_everything_is_in_the_file(tmp_path: Path) -> None:
    """What was handed over and not written would be lost with the process: no snapshot may pass it by."""
    books = Ledger(tmp_path / "gone" / "l.db")
    books.start()
    assert books.is_settled()
    books.book(ledger.rows_of(fill(), ACCOUNT, T0))
    assert not books.is_settled()
    (tmp_path / "gone").mkdir()
    books.book(ledger.rows_of(fill("2"), ACCOUNT, T0))
    books.stop()
    assert books.is_settled() and len(ask(tmp_path / "gone" / "l.db", "SELECT * FROM fills")) == 2


@pytest.mark.parametrize("changes", [{"price": D("NaN")}, {"size": D("Infinity")}, {"order_id": 2**63}, {"size": D(0)}])
def test_a_fill_that_cannot_be_is_not_booked(changes: dict[str, Any]) -> None:
    """The brain does not believe it either; and SQLite takes no larger number."""
    assert ledger.rows_of(fill(**changes), ACCOUNT, T0) == []
