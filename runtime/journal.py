"""The flight recorder: every event before it is decided on, every action before it is sent.

`logs/journal-YYYYMMDD-ACCOUNT.jsonl` (ACCOUNT is a tag that names nobody; each account has its own memory), one JSON
object a line, of one of five kinds:

    {"event": {"type": "Tick", ...}}     what entered the brain
    {"frame": <text as received>, "ms": 1790000000000}   a WebSocket frame; replay decodes it again
    {"action": {"type": "Submit", ...}}  what left it
    {"snapshot": {...}, "rules": {...}}  the whole state, so that a start need not read everything
    {"gap": true}                        the disk has refused lines that belong here; a snapshot follows soon

Each write is handed to the kernel at once (it survives `kill -9`), never synced on the hot path. A torn last line is
dropped when read. Old files are compressed and the oldest deleted, days without fills first.
"""

import datetime
import gzip
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.messages import AnyAction, AnyEvent, Frame
from core.model import Fill
from core.rules import Rules
from core.state import State

PART_BYTES = 256 * 1024 * 1024
SNAPSHOT = b'{"snapshot":'  # how the line of one begins
GAP = b'\n{"gap":true}\n'  # ends whatever was torn
log = logging.getLogger("journal")
_encoder = msgspec.json.Encoder()


class Record(msgspec.Struct):
    """One line, decoded. One of the first four is set, or `gap`."""

    event: AnyEvent | None = None
    frame: msgspec.Raw = msgspec.Raw()  # empty: none
    action: AnyAction | None = None
    snapshot: State | None = None
    rules: Rules | None = None
    ms: int = 0
    gap: bool = False  # a replay cannot follow from here to the next start


_decoder = msgspec.json.Decoder(Record)


def event_line(event: AnyEvent) -> bytes:
    return b'{"event":' + _encoder.encode(event) + b"}\n"


def frame_line(frame: Frame) -> bytes:
    text = frame.raw.replace(b"\n", b" ") if b"\n" in frame.raw else frame.raw
    return b'{"frame":%b,"ms":%d}\n' % (text, frame.received_ms)


def action_line(action: AnyAction) -> bytes:
    return b'{"action":' + _encoder.encode(action) + b"}\n"


class Journal:
    """Appends lines to today's file. Owned by the main thread; `write` may raise OSError (disk full, read-only)."""

    def __init__(self, folder: Path, tag: str, max_mb: int) -> None:
        self._folder, self._tag = folder, tag
        self._max_bytes = max_mb * 1024 * 1024
        self._fd: int | None = None
        self._path: Path | None = None
        self._day = ""
        self._torn = False  # the last write failed half-way: the next one begins a new line
        self.bytes_written = 0  # in the current file
        self.error: str | None = None  # why the last attempt failed; None once one has not

    def write(self, lines: bytes) -> None:
        """Append whole lines. After an error the next call starts on a fresh line."""
        if self._fd is None:
            raise OSError("journal is not open")
        if self._torn:
            lines = GAP + lines
        try:
            while lines:
                written = self._hand_over(lines)
                self.bytes_written += written
                lines = lines[written:]
        except OSError as e:
            self._torn = True
            self.error = e.strerror or str(e)
            raise
        self._torn = False
        self.error = None

    def _hand_over(self, lines: bytes) -> int:
        """How much of it the kernel has taken. Raises OSError."""
        assert self._fd is not None, "write() looks"
        return os.write(self._fd, lines)

    def rehearse(self) -> None:
        """Go to the kernel with nothing."""
        if self._fd is not None:
            os.write(self._fd, b"")

    def write_snapshot(self, state: State, rules: Rules, with_bars: bool = False) -> None:
        """The whole state; bars only where a replay begins (a restart reads them from the venue anyway)."""
        if not with_bars:
            markets = {
                symbol: msgspec.structs.replace(market, bars=(), forming=None)
                for symbol, market in state.markets.items()
            }
            state = msgspec.structs.replace(state, markets=markets)
        self.write(b'{"snapshot":' + _encoder.encode(state) + b',"rules":' + _encoder.encode(rules) + b"}\n")

    def is_due(self, now_ms: int) -> bool:
        """Whether a new file should begin: a new day, or a part that grew large."""
        return self._fd is None or day_of(now_ms) != self._day or self.bytes_written > PART_BYTES

    def rotate(self, now_ms: int, state: State, rules: Rules) -> None:
        """Begin a new file with the whole state, so that it can be replayed by itself; tidy the others behind it."""
        self.close()
        self._day = day_of(now_ms)
        self._path = next_path(self._folder, self._day, self._tag)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._fd = os.open(self._path, flags, 0o600)
        except OSError as e:
            self.error = e.strerror or str(e)
            raise
        self.bytes_written = self._path.stat().st_size
        self._torn = self.bytes_written > 0 and not ends_with_newline(self._path)
        self.write_snapshot(state, rules, with_bars=True)
        threading.Thread(
            target=tidy, args=(self._folder, self._path.name, self._max_bytes), name="journal-tidy", daemon=True
        ).start()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def day_of(now_ms: int) -> str:
    return datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC).strftime("%Y%m%d")


def next_path(folder: Path, day: str, tag: str) -> Path:
    """Today's file, or its next part when that one is full or compressed already."""
    part = 1
    while True:
        path = folder / (f"journal-{day}-{tag}.jsonl" if part == 1 else f"journal-{day}-{tag}.{part}.jsonl")
        packed = any(folder.glob(path.name.removesuffix(".jsonl") + ".*gz"))
        if not packed and (not path.exists() or path.stat().st_size < PART_BYTES):
            return path
        part += 1


def ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def files(folder: Path, tag: str = "*") -> list[Path]:
    """All journal files, or those of one account, oldest first."""
    found = {*folder.glob(f"journal-*-{tag}.jsonl*"), *folder.glob(f"journal-*-{tag}.*.jsonl*")}
    return sorted((path for path in found if path.suffix in (".jsonl", ".gz")), key=sort_key)


def sort_key(path: Path) -> tuple[str, int]:
    name, *rest = path.name.removeprefix("journal-").split(".")
    return name.split("-")[0], int(rest[0]) if rest[0].isdigit() else 1


def read_records(path: Path) -> Iterator[Record]:
    """Every whole line, oldest first. A line that is torn (a crash, a full disk) is left out.

    Raises msgspec.ValidationError for a line that is whole and means nothing to this version.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n") and line != b"\n" and (record := decode_line(line)) is not None:
                yield record


def decode_line(line: bytes) -> Record | None:
    """The record of a line; None when it is torn. Raises msgspec.ValidationError."""
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return None


def read_tail(folder: Path, tag: str) -> tuple[State | None, Rules | None, list[Record]]:
    """The newest snapshot and every record after it: what a start rebuilds its state from.

    Raises msgspec.ValidationError when another version wrote it.
    """
    newer: list[Record] = []  # of files whose own first snapshot is torn
    for path in reversed(files(folder, tag)):
        lines = lines_since_snapshot(path)
        if lines is None:
            newer = [*read_records(path), *newer]
            continue
        state, rules, records = parted(lines)
        return state, rules, [*records, *newer]
    return None, None, []


def parted(lines: list[bytes]) -> tuple[State | None, Rules | None, list[Record]]:
    """The snapshot that the lines begin with, and the records after it; torn ones are left out."""
    records = [record for line in lines if (record := decode_line(line)) is not None]
    assert records and records[0].snapshot is not None, "lines_since_snapshot() begins with one"
    return records[0].snapshot, records[0].rules, records[1:]


def lines_since_snapshot(path: Path) -> list[bytes] | None:
    """Lines from the last decodable snapshot on, read from the end; None when the file holds none."""
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as packed:
            return since_snapshot(packed.read())
    return since_snapshot(tail_with(path, SNAPSHOT))


def since_snapshot(data: bytes) -> list[bytes] | None:
    """Lines of a journal's end from the last decodable snapshot on; None when it holds none."""
    end = len(data)
    while True:
        at = data.rfind(SNAPSHOT, 0, end)
        if at < 0:
            return None
        if at == 0 or data[at - 1 : at] == b"\n":
            lines = [line for line in data[at:].split(b"\n") if line]
            if decode_line(lines[0]) is not None:
                return lines
        end = at  # torn while it was written: the one before it counts


def tail_with(path: Path, mark: bytes) -> bytes:
    """The end of the file, large enough to hold two snapshots (the last may be torn), or all of it."""
    size = path.stat().st_size
    length = 1 << 20
    with path.open("rb") as file:
        while True:
            file.seek(max(0, size - length))
            data = file.read()
            if length >= size or data.count(b"\n" + mark) >= 2:
                return data
            length *= 4


def tidy(folder: Path, current: str, max_bytes: int) -> None:
    """Compress finished files; while all together are too large, delete the oldest, those without fills first."""
    try:
        _tidy(folder, current, max_bytes)
    except OSError as e:  # a full disk, a file held open elsewhere: the next rotation tries again
        log.warning("journal_tidy_failed error=%r", str(e))


def _tidy(folder: Path, current: str, max_bytes: int) -> None:
    now = sort_key(Path(current))  # what is as new or newer may be written to: packing takes minutes, days begin
    for path in files(folder):
        if sort_key(path) >= now or path.suffix == ".gz":
            continue
        kind = "fills.jsonl.gz" if holds_fills(path) else "jsonl.gz"
        packed = path.with_name(path.name.removesuffix("jsonl") + kind)
        draft = packed.with_suffix(".tmp")  # half a file must not be taken for the whole
        draft.unlink(missing_ok=True)
        draft.touch(0o600)  # as private as what it is made of
        with path.open("rb") as source, gzip.open(draft, "wb", compresslevel=3) as target:
            shutil.copyfileobj(source, target, 64 * 1024)
        draft.replace(packed)
        path.unlink()
    kept = [path for path in files(folder) if sort_key(path) < now]
    total = sum(path.stat().st_size for path in kept)
    for path in sorted(kept, key=lambda p: (".fills." in p.name, sort_key(p))):
        if total <= max_bytes:
            return
        total -= path.stat().st_size
        path.unlink()


def holds_fills(path: Path) -> bool:
    told = (b'"type":"' + Fill.__name__.encode() + b'"', b'"target":"GatewayUserTrade"')
    streamed = b'"channel":"userFills"'
    with path.open("rb") as file:
        return any(
            any(mark in line for mark in told) or (streamed in line and b"isSnapshot" not in line) for line in file
        )
