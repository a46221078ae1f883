"""One bot on one account, and one in one folder (P11)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wiring

HOLD = """
import os, pathlib, sys, filelock
held = filelock.FileLock(sys.argv[1] + ".lock")
held.acquire()
pathlib.Path(sys.argv[1] + ".pid").write_text(str(os.getpid()))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_bot_on_an_account_is_refused_and_told_who_has_it() -> None:
    held = wiring.lock_account("0123456789ab")
    with pytest.raises(wiring.AlreadyRunning, match=rf"trades this account already, process id {os.getpid()}$"):
        wiring.lock_account("0123456789ab")
    wiring.lock_account("ba9876543210").release()  # another account is nobody's yet
    held.release()
    wiring.lock_account("0123456789ab").release()


def test_a_second_bot_in_a_folder_is_refused(tmp_path: Path) -> None:
    held = wiring.lock_folder(tmp_path)
    with pytest.raises(wiring.AlreadyRunning, match="--logs gives this one its own"):
        wiring.lock_folder(tmp_path)
    held.release()
    wiring.lock_folder(tmp_path).release()


def test_the_lock_of_a_killed_bot_is_free(tmp_path: Path) -> None:
    """Nothing is left to tidy up: the kernel lets go of it."""
    path = tmp_path / "bot"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdout is not None and other.stdout.readline().strip() == b"held"
        with pytest.raises(wiring.AlreadyRunning, match=rf"process id {other.pid}$"):
            wiring.lock(path, "no")
        other.kill()
    wiring.lock(path, "no").release()
