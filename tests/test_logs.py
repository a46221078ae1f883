"""Log lines: their form, that nobody waits for them, that a disk may refuse, and that secrets stay out."""

import io
import logging
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import logs
from runtime.logs import Logs, line, trace, utc
from runtime.redaction import Redactor

log = logging.getLogger(logs.NAME)
KEY = "a1" * 32


class Blocking(io.StringIO):
    """A terminal somebody holds: writing waits until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.release = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        assert self.release.wait(10)
        return super().write(text)


@pytest.fixture(autouse=True)
def calm_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    log.setLevel(logging.NOTSET)
    logging.captureWarnings(False)


def written(folder: Path) -> list[str]:
    return (folder / "bot.log").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "fields, text, expected",
    [
        ({}, "", "order_sent"),
        ({"side": "SELL", "size": 1}, "", "order_sent side=SELL size=1"),
        ({"error": "timed out"}, "", "order_sent error='timed out'"),
        ({"error": ""}, "", "order_sent error=''"),
        ({"error": "it's = so"}, "", 'order_sent error="it\'s = so"'),
        ({"error": "a\nINFO main order_filled"}, "", "order_sent error='a\\nINFO main order_filled'"),
        ({"a": "x=y"}, "", "order_sent a='x=y'"),
        ({}, "Real-time price update: $50000.00", "order_sent Real-time price update: $50000.00"),
        ({"symbol": "BTC"}, "two\nlines", "order_sent symbol=BTC two\\nlines"),
        ({"name": "Zürich"}, "", "order_sent name=Zürich"),
    ],
)
def test_line(fields: dict[str, object], text: str, expected: str) -> None:
    assert line("order_sent", fields, text) == expected


def test_utc() -> None:
    assert utc(1767623467.482) == "2026-01-05T14:31:07.482Z"
    assert utc(0) == "1970-01-01T00:00:00.000Z"


def test_a_line_in_the_file_and_on_the_console(tmp_path: Path) -> None:
    console = io.StringIO()
    out = Logs(tmp_path / "logs", console=console)
    out.start()
    log.info(line("order_sent", {"client_id": "r7-12", "side": "SELL"}))
    log.debug("not at this level")
    thread = threading.Thread(target=lambda: log.warning("feed_down"), name="stream")
    thread.start()
    thread.join()
    out.flush_and_stop()
    first, second = written(tmp_path / "logs")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO main order_sent client_id=r7-12 side=SELL", first)
    assert second.endswith(" WARNING stream feed_down")
    assert console.getvalue().splitlines() == [first, second]


def test_other_libraries_and_warnings_are_marked(tmp_path: Path) -> None:
    out = Logs(tmp_path)
    out.start()
    logging.getLogger("urllib3.connectionpool").warning("Retrying %s", "GET /")
    logging.getLogger("urllib3.connectionpool").info("chatter")
    logging.getLogger("apprise").error("https://service/token")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", stacklevel=1)
    out.flush_and_stop()
    first, second = written(tmp_path)
    assert "WARNING main library_note logger=urllib3.connectionpool text='Retrying GET /'" in first
    assert "library_note logger=py.warnings" in second and "old thing" in second


def fail() -> None:
    try:
        raise KeyError(f"key {KEY}")
    except KeyError as e:
        raise ValueError("first line\nsecond") from e


def test_an_exception_is_one_line_with_its_place(tmp_path: Path) -> None:
    out = Logs(tmp_path)
    out.start()
    try:
        fail()
    except ValueError as e:
        assert trace(e).endswith(":fail")
        log.exception("core_fault")
    out.flush_and_stop()
    (only,) = written(tmp_path)
    assert "core_fault exception='ValueError: first line\\nsecond'" in only
    assert "cause=" in only and "KeyError" in only and KEY not in only
    assert re.search(r"at=tests/test_logs\.py:\d+:test_an_exception\w+>tests/test_logs\.py:\d+:fail$", only)


@pytest.mark.parametrize(
    "text",
    [
        f"key 0x{KEY} here",
        f"key {KEY.upper()} here",
        f"private_key={'c0ffee' * 4}",
        "Authorization: Bearer c0ffee.c0ffee-c0ffee",
        "headers={'Authorization': 'Bearer c0ffeec0ffeec0ffee'}",
        "wss://host/hubs/user?access_token=c0ffee.c0ffee.c0ffee&x=1",
        '{"token":"c0ffeec0ffee","success":true}',
        '{"userName":"me","apiKey":"c0ffeec0ffee"}',
        'body="{\\"apiKey\\": \\"c0ffeec0ffee\\"}"',
        '{"signature":{"r":"0x' + "c0ffee" * 8 + '","s":"0x' + "c0ffee" * 10 + '","v":27}}',
        "discord://c0ffee:c0ffee@host/path",
        "jwt eyJhbGciOiJIc0ffee.eyJc0ffee.c0ffee",
        "password = c0ffee",
        "it says c0ffee-known-secret",
    ],
)
def test_redaction(text: str) -> None:
    shown = Redactor(["c0ffee-known-secret", "", "abc"])(text)
    assert "c0ffee" not in shown.lower() and KEY not in shown.lower()
    assert "<hidden>" in shown


@pytest.mark.parametrize(
    "text",
    [
        "order_sent client_id=0x0123456789abcdef0123456789abcdef side=BUY price=50000.0",
        "stop_accepted order_id=556696349186 trigger=49954.0",
        "Subscribed to WebSocket trades for BTC",
        "config https://api.hyperliquid.xyz/info answered 200",
        "tokens left 12, signed in 30 us",
    ],
)
def test_redaction_leaves_the_rest(text: str) -> None:
    assert Redactor(["hunter2hunter2"])(text) == text


def test_addresses_are_shortened() -> None:
    address = "0x14791697260e4c9a71f18484c9f997b308e59325"
    assert Redactor()(f"wallet {address} does not exist") == "wallet 0x1479..9325 does not exist"


def test_secrets_are_hidden_wherever_they_come_in(tmp_path: Path) -> None:
    console = io.StringIO()
    out = Logs(tmp_path, console=console, secrets=["my-topstep-key"])
    out.start()
    log.error("failed with %s", "MY-TOPSTEP-KEY")
    logging.getLogger("requests").error("sent my-topstep-key")
    try:
        raise RuntimeError(f"cannot sign with {KEY}")
    except RuntimeError:
        log.exception("fault")
    out.flush_and_stop()
    text = (tmp_path / "bot.log").read_text(encoding="utf-8") + console.getvalue()
    assert len(text.splitlines()) == 6 and "topstep-key" not in text.lower() and KEY not in text


def test_a_held_terminal_delays_neither_the_caller_nor_the_file(tmp_path: Path) -> None:
    console = Blocking()
    out = Logs(tmp_path, console=console)
    out.start()
    log.info("first")
    assert console.entered.wait(5)
    for index in range(500):
        log.info("later %d", index)  # would hang here if it waited
    file_writer = next(writer for writer in out._writers if writer._thread.name == "log-file")
    file_writer.finish()
    file_writer.close(5)
    assert written(tmp_path)[-1].endswith("later 499")
    console.release.set()
    out.flush_and_stop()


def test_a_flood_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "QUEUE_MAX", 10)
    console = Blocking()
    out = Logs(tmp_path, console=console)
    out.start()
    log.info("first")
    assert console.entered.wait(5)
    for index in range(50):
        log.info("later %d", index)
    console.release.set()
    out.flush_and_stop()
    lines = console.getvalue().splitlines()
    assert len(lines) < 50 and any(re.search(r"WARNING log log_lines_dropped lines=\d+$", text) for text in lines)


def test_a_folder_that_cannot_be_made_costs_one_line_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way", encoding="utf-8")
    complaint, console = io.StringIO(), io.StringIO()
    out = Logs(tmp_path / "logs", console=console, stderr=complaint)
    out.start()
    for index in range(20):
        log.info("line %d", index)
    out.flush_and_stop()
    assert len(complaint.getvalue().splitlines()) == 1 and "log_write_failed" in complaint.getvalue()
    assert len(console.getvalue().splitlines()) == 20  # the other place goes on


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_costs_one_line_and_logging_returns_with_the_space(tmp_path: Path) -> None:
    (tmp_path / "bot.log").symlink_to("/dev/full")
    complaint = io.StringIO()
    out = Logs(tmp_path, stderr=complaint)
    out.start()
    for index in range(20):
        log.info("lost %d", index)
    deadline = time.monotonic() + 5
    while "No space left" not in complaint.getvalue() or not out._writers[0]._queue.empty():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    (tmp_path / "bot.log").unlink()
    log.info("kept")
    out.flush_and_stop()
    assert len(complaint.getvalue().splitlines()) == 1
    assert written(tmp_path)[-1].endswith("kept")


def test_files_rotate_within_their_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 2_000)
    monkeypatch.setattr(logs, "FILES_KEPT", 2)
    out = Logs(tmp_path)
    out.start()
    for index in range(200):
        log.info("line %d", index)
    out.flush_and_stop()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["bot.log", "bot.log.1", "bot.log.2"]
    assert all(path.stat().st_size <= 2_000 for path in tmp_path.iterdir())
    assert written(tmp_path)[-1].endswith("line 199")


def test_a_rotation_that_is_refused_goes_on_in_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: another program holds bot.log open, and it cannot be renamed."""
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 500)
    (tmp_path / "bot.log.1").mkdir()
    (tmp_path / "bot.log.1" / "busy").write_text("", encoding="utf-8")
    monkeypatch.setattr(logs, "FILES_KEPT", 1)
    complaint = io.StringIO()
    out = Logs(tmp_path, stderr=complaint)
    out.start()
    for index in range(50):
        log.info("line %d", index)
    out.flush_and_stop()
    assert len(written(tmp_path)) == 50
    assert len(complaint.getvalue().splitlines()) == 1


def test_a_console_of_an_old_code_page(tmp_path: Path) -> None:
    raw = io.BytesIO()
    out = Logs(tmp_path, console=io.TextIOWrapper(raw, encoding="cp437", write_through=True))
    out.start()
    log.info("price €")
    out.flush_and_stop()
    assert b"price \\u20ac" in raw.getvalue()


def test_without_any_stderr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").write_text("in the way", encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", None)  # pythonw
    out = Logs(tmp_path / "logs")
    out.start()
    log.info("nowhere to go")
    out.flush_and_stop()
