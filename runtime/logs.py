"""Log lines: `2026-01-05T14:31:07.482Z INFO main order_sent client_id=... side=SELL`, one event a line.

The caller only puts a record on a queue. Two background threads write, one the file and one the console, so that
neither a slow disk nor a terminal that is held (a mouse selection on Windows) delays an exit, or the other one.
"""

import contextlib
import logging
import logging.handlers
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO

from runtime.redaction import Redactor

NAME = "bot"
OURS = (NAME, "stream", "orders", "poller", "ledger", "journal")  # everybody else's lines are marked as library_note
QUEUE_MAX = 20_000  # lines that may wait for a slow disk; more are counted and dropped
FILE_BYTES_MAX = 20_000_000
FILES_KEPT = 5
FRAMES_SHOWN = 8  # of a traceback, innermost last
_PLAIN = re.compile(r"[^\s'\"=\\]+")
_ROOT = Path(__file__).resolve().parent.parent

log = logging.getLogger(NAME)


def line(name: str, fields: Mapping[str, object] | None = None, text: str = "") -> str:
    """`name key=value ... text`: the message of a log line. Values that a reader could misread are quoted."""
    parts = [name]
    for key, value in (fields or {}).items():
        shown = str(value)
        parts.append(f"{key}={shown if _PLAIN.fullmatch(shown) and shown.isprintable() else repr(shown)}")
    if text:
        parts.append(one_line(text))
    return " ".join(parts)


def say_at(level: int, message: str, created_s: float) -> None:
    """A line of ours that tells of an earlier moment than now."""
    if log.isEnabledFor(level):
        record = log.makeRecord(NAME, level, "", 0, message, (), None)
        record.created = created_s
        log.handle(record)


def one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def trace(error: BaseException) -> str:
    """Where an exception came from and why, in one line: `main.py:12:run>core/decide.py:88:decide`."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_SHOWN:]
    return ">".join(f"{_short(frame.filename)}:{frame.lineno}:{frame.name}" for frame in frames)


def _short(filename: str) -> str:
    path = Path(filename)
    return path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.name


class LogFormatter(logging.Formatter):
    """The whole line, redacted. Runs on the writing thread."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        message = one_line(record.getMessage())
        if record.name not in OURS:
            message = line("library_note", {"logger": record.name, "text": message})
        thread = "main" if record.threadName == "MainThread" else record.threadName
        return self._redact(f"{utc(record.created)} {record.levelname} {thread} {message}")


def utc(seconds: float) -> str:
    """`2026-01-05T14:31:07.482Z`."""
    ms = int(seconds * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1000))}.{ms % 1000:03d}Z"


class Entry(NamedTuple):
    """A log record as text only: an exception's objects must not live on in a queue."""

    created: float
    levelname: str
    threadName: str | None
    name: str
    msg: str


class _Handoff(logging.Handler):
    """Takes a record from whatever thread and hands it to the writers; never waits for anything."""

    def __init__(self, writers: "list[_Writer]") -> None:
        super().__init__()
        self._writers = writers

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the handler's lock: nothing here needs one, and a thread that is paused could hold it."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError) as e:  # somebody's format string does not fit its arguments
            message = f"{record.msg!r} {_named(e)}"
        if record.exc_info and (error := record.exc_info[1]) is not None:
            cause = f" cause={_named(error.__cause__)!r}" if error.__cause__ is not None else ""
            message += f" exception={_named(error)!r}{cause} at={trace(error)}"
        entry = Entry(record.created, record.levelname, record.threadName, record.name, message)
        for writer in self._writers:
            writer.offer(entry)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


class _Complaints:
    """One line on stderr when writing fails, and not again until it has worked."""

    def __init__(self, what: str, stderr: TextIO | None) -> None:
        self._what, self._stderr, self._failing = what, stderr, False

    def failed(self, error: BaseException | None) -> None:
        if not self._failing:
            self._failing = True
            with contextlib.suppress(OSError, ValueError):  # stderr closed or full: nowhere left to say it
                stream = self._stderr or sys.stderr
                if stream is not None:  # pythonw on Windows has none
                    stream.write(
                        f"{utc(time.time())} ERROR log log_write_failed to={self._what} error={str(error)!r}\n"
                    )
                    stream.flush()

    def worked(self) -> None:
        self._failing = False


class _File(logging.handlers.RotatingFileHandler):
    """bot.log, rotated by size. A disk that refuses costs lines, never an exception."""

    def __init__(self, path: Path, complaints: _Complaints) -> None:
        super().__init__(path, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8", delay=True)
        self._complaints, self._rotation_refused = complaints, False

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        super().emit(record)
        if not self._failed and not self._rotation_refused:
            self._complaints.worked()

    def doRollover(self) -> None:
        try:
            super().doRollover()
            self._rotation_refused = False
        except OSError as e:  # Windows: somebody else holds the file open; go on in the same one
            self._rotation_refused = True
            self._complaints.failed(e)
            if self.stream is None:
                self.stream = self._open()

    def handleError(self, record: logging.LogRecord) -> None:
        self._failed = True
        self._complaints.failed(sys.exc_info()[1])
        with contextlib.suppress(OSError, ValueError):  # what it could not write must not be tried for ever
            if self.stream is not None:
                self.stream.close()
        self.stream = None  # opened again for the next line


class _Console(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO, complaints: _Complaints) -> None:
        super().__init__(stream)
        self._complaints = complaints

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, UnicodeEncodeError):  # a console with an old code page
            with contextlib.suppress(OSError, ValueError):
                self.stream.write(self.format(record).encode("ascii", "backslashreplace").decode() + "\n")
            return
        self._complaints.failed(error)


class _Writer:
    """One queue, one thread, one place the lines go to."""

    def __init__(self, name: str, target: logging.Handler) -> None:
        self._target = target
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._dropped = 0  # ever, and how many of them a line has told of
        self._reported = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, entry: Entry) -> None:
        if self._queue.qsize() < QUEUE_MAX:
            self._queue.put(entry)
        else:
            self._dropped += 1

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            self._write(entry)
            if self._dropped > self._reported and self._queue.empty():
                self._report()
        if self._dropped > self._reported:
            self._report()

    def _write(self, entry: Entry) -> None:
        self._target.handle(logging.makeLogRecord(entry._asdict()))

    def _report(self) -> None:
        dropped = self._dropped
        message = line("log_lines_dropped", {"lines": dropped - self._reported})
        self._reported = dropped
        self._write(Entry(time.time(), "WARNING", "log", NAME, message))

    def finish(self) -> None:
        """Nothing more comes."""
        self._queue.put(None)

    def close(self, timeout_s: float) -> None:
        """After finish(): wait for what is still to be written, within the time given."""
        self._thread.join(max(0.0, timeout_s))
        if not self._thread.is_alive():
            with contextlib.suppress(OSError, ValueError):
                self._target.close()


class Logs:
    """Logging of the whole process, from start to flush_and_stop."""

    def __init__(
        self,
        folder: Path,
        level: str = "INFO",
        *,
        console: TextIO | None = None,
        secrets: Iterable[str] = (),
        stderr: TextIO | None = None,
    ) -> None:
        """`console`: where lines are also shown, None for nowhere. `secrets`: values that must never appear.

        `stderr`: where a failing disk is named; the process's own unless given.
        """
        redact = Redactor(secrets)
        with contextlib.suppress(OSError):  # said once the first line cannot be written
            folder.mkdir(parents=True, exist_ok=True)
        targets: list[tuple[str, logging.Handler]] = [
            ("log-file", _File(folder / "bot.log", _Complaints(str(folder / "bot.log"), stderr)))
        ]
        if console is not None:
            targets.append(("log-console", _Console(console, _Complaints("console", stderr))))
        for _, target in targets:
            target.setFormatter(LogFormatter(redact))
        self._writers = [_Writer(name, target) for name, target in targets]
        self._handoff = _Handoff(self._writers)
        self._level = level

    def start(self) -> None:
        root = logging.getLogger()
        root.setLevel(logging.WARNING)  # other people's libraries
        for name in OURS:
            logging.getLogger(name).setLevel(self._level)
        for name in ("apprise", "werkzeug"):  # they log addresses with tokens in them, and every request
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        logging.captureWarnings(True)
        for writer in self._writers:
            writer.start()
        root.addHandler(self._handoff)

    def flush_and_stop(self, timeout_s: float = 2.0) -> None:
        """Write what waits and close the files; what a stuck disk does not take in time is lost."""
        logging.getLogger().removeHandler(self._handoff)
        deadline = time.monotonic() + timeout_s
        for writer in self._writers:
            writer.finish()
        for writer in self._writers:
            writer.close(deadline - time.monotonic())
