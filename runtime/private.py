"""Files that nobody but their owner may read: .env, journal, ledger. On Windows the folder's rights say so: skipped."""

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from runtime.logs import line

log = logging.getLogger("bot")

OTHERS = stat.S_IRWXG | stat.S_IRWXO
OURS = ("journal-*", "ledger.db*")


def open_to_others(path: Path) -> int | None:
    """The mode of a file that others may read or write; None when they may not, or where modes say nothing."""
    if os.name == "nt":
        return None
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None  # not there, or not ours to look at: who opens it will say so
    return mode if mode & OTHERS else None


def check_files(folder: Path, env_path: Path) -> None:
    """At start: what the bot writes is closed to others, and said; a .env that others can read is only spoken of."""
    if (mode := open_to_others(env_path)) is not None:
        advice = "other users of this machine may read the keys: chmod 600 .env"
        log.warning(line("file_mode", {"path": env_path.name, "mode": f"{mode:04o}"}, advice))
    for path in _ours(folder):
        if (mode := open_to_others(path)) is None:
            continue
        fields = {"path": path.name, "mode": f"{mode:04o}"}
        try:
            path.chmod(mode & ~OTHERS)
        except OSError as e:
            log.warning(line("file_mode", fields | {"error": e.strerror or str(e)}, "others may read it"))
        else:
            log.warning(line("file_mode", fields, "others could read it; now they cannot"))


def _ours(folder: Path) -> Iterator[Path]:
    for pattern in OURS:
        yield from sorted(folder.glob(pattern))
