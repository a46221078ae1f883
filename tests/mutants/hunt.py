"""A throw-away copy of the tree, and the question put to it: which test notices this bug?"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.mutants.patches import Mutant, Planted

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "logs", "node_modules", ".env", ".hypothesis", ".*_cache", "*.tmp", "config.json"
)
HINT_S = 150.0  # far above what any list of hints needs; a bug that makes a test hang is not caught by it
QUICK_S = 600.0
_BROKEN = re.compile(r"^ERROR (tests/[^\s:]+)( |$)", re.MULTILINE)  # a module that cannot even be imported
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+::.+?)(?: - .*)?$", re.MULTILINE)
SIMULATION = "python -m sim.world --venue "
VENUES, DAYS = ("hyperliquid", "topstepx"), 20


class Verdict(msgspec.Struct, frozen=True):
    """What became of one mutant; `caught_by` empty: it lives."""

    mutant: Mutant
    caught_by: str
    seconds: float
    trouble: str = ""  # why it does not count, in words
    by_hint: bool = True


def copy_tree(source: Path, target: Path) -> Path:
    """The sources with their compiled files, without what is private, large or about version control."""
    shutil.copytree(source, target, ignore=LEFT_OUT, symlinks=True)
    (target / "logs").mkdir(exist_ok=True)
    return target


class Outcome(msgspec.Struct, frozen=True):
    passed: bool
    failed_test: str = ""
    trouble: str = ""


def run_tests(copy: Path, tests: Sequence[str], workers: int = 0, timeout_s: float = HINT_S) -> Outcome:
    """The first test that fails. Trouble: they took too long, or could not be collected."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", str(workers), *tests]
    try:
        done = subprocess.run(command, cwd=copy, env=_environment(), capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return Outcome(False, trouble=f"no end within {timeout_s:.0f} s")
    if done.returncode == 0:
        return Outcome(True)
    said = done.stdout + done.stderr
    broken, failed = _BROKEN.search(said), _FAILED.search(said)
    if failed is None or (broken is not None and workers == 0):
        return Outcome(False, trouble="not a failing test: " + " ".join(said.split())[-300:])
    return Outcome(False, failed.group(1))


def _environment() -> dict[str, str]:
    """Without what would lead the tests back to the tree they were copied from."""
    unwanted = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {name: value for name, value in kept.items() if not name.startswith("PYTEST_XDIST")}


def simulate(copy: Path) -> Outcome:
    """Some days of the deterministic simulation at each venue: it says no with an exit code."""
    for venue in VENUES:
        command = [sys.executable, "-m", "sim.world", "--venue", venue, "--seeds", str(DAYS)]
        try:
            done = subprocess.run(command, cwd=copy, env=_environment(), capture_output=True, timeout=QUICK_S)
        except subprocess.TimeoutExpired:
            return Outcome(False, trouble="the simulation did not end")
        if done.returncode != 0:
            return Outcome(False, f"{SIMULATION}{venue} --seeds {DAYS}")
    return Outcome(True)


def quick_suite(copy: Path) -> list[str]:
    """All but the whole bot over sockets and processes, and this runner itself."""
    runner = ("tests/mutants", "tests/test_mutants.py")
    left_out = ("tests/e2e", "tests/faults", "tests/kill", "tests/test_benchmarks.py", *runner)
    return ["tests", *(f"--ignore={path}" for path in left_out if (copy / path).exists())]


def hunt(copy: Path, mutant: Mutant, wide: bool = True) -> Verdict:
    """Plant the bug and look who notices: the hinted tests, then (`wide`) the quick suite and the simulation."""
    began = time.monotonic()
    with Planted(mutant, copy):
        outcome = run_tests(copy, mutant.tests)
        by_hint = not (outcome.passed and wide)
        if not by_hint:
            outcome = run_tests(copy, quick_suite(copy), workers=2, timeout_s=QUICK_S)
            if outcome.passed:
                outcome = simulate(copy)
    if outcome.failed_test and not by_hint and not passes(copy, outcome.failed_test):
        outcome = Outcome(False, trouble=f"fails without the bug too: {outcome.failed_test}")
    return Verdict(mutant, outcome.failed_test, time.monotonic() - began, outcome.trouble, by_hint)


def passes(copy: Path, test: str) -> bool:
    """Whether a test that has failed passes by itself, with nothing planted."""
    if test.startswith(SIMULATION):
        return simulate(copy).passed
    return run_tests(copy, [test.partition("[")[0]]).passed  # all its cases: their names may hold anything
