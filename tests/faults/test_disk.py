"""Disk and log folder that cannot be written, at both venues and in each state.

It is the whole program, for its limit on file sizes is set from outside. It takes no entries then, and protects and
leaves as ever.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.model import Side
from sim.server import SimServer
from sim.topstepx_sim import TopstepxSim
from tests.e2e import futures, harness
from tests.e2e.harness import ACCOUNT, BotProcess, eventually
from tests.e2e.venue_watch import VenueWatch, assert_reduced_only, assert_sent_once
from tests.faults.case import SLACK_S, Result
from tests.faults.row import FLAT, HYPERLIQUID, STATES, VENUES
from tests.faults.table import TABLE
from tests.faults.test_faults import IS_WHOLE, ROUND

# One of the six is enough for a run of all tests: a program takes its time to start.
PAIRS = [(venue, state) for venue in VENUES for state in STATES]
SOME = PAIRS if IS_WHOLE else [PAIRS[int(ROUND) % len(PAIRS)]]
BOUND_S = {row.name: row.naked_s for row in TABLE if row.in_process}


class Program:
    """The bot as a process, and what a hand does at its venue."""

    def __init__(self, sim: SimServer | TopstepxSim, folder: Path) -> None:
        self.sim = sim
        self.process = BotProcess(folder, self._config(sim))

    @staticmethod
    def _config(sim: SimServer | TopstepxSim) -> dict[str, Any]:
        if isinstance(sim, SimServer):
            return harness.config(sim, markets=[harness.market(take_profit_pct=1.0)])
        real = {"network": "live", "dry_run": False, "account": str(sim.practice_id), "prop_rules": None}
        return futures.config(sim, **real)

    def deal(self) -> None:
        if isinstance(self.sim, SimServer):
            self.sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
        else:
            self.sim.deal(futures.MGC, Side.BUY, 1)

    def cross(self) -> None:
        """The price comes to the take-profit."""
        if isinstance(self.sim, SimServer):
            self.sim.move("BTC", "50600")
        else:
            self.sim.move(futures.MGC, "4110.5")

    def check(self) -> None:
        if isinstance(self.sim, SimServer):
            harness.assert_once(self.sim)
            assert_reduced_only(self.sim)
        else:
            assert_sent_once(self.sim)


@pytest.fixture
def program(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Program]]:
    made: list[Program] = []

    def make(venue: str) -> Program:
        sim: Any = request.getfixturevalue("sim" if venue == HYPERLIQUID else "noon_gateway")
        monkeypatch.setenv("TOPSTEPX_USERNAME", TopstepxSim.user)
        monkeypatch.setenv("TOPSTEPX_API_KEY", TopstepxSim.api_key)
        made.append(Program(sim, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.process.close()


def limit_files(pid: int, is_full: bool) -> None:
    """No file of the process may grow."""
    import resource

    size = 0 if is_full else resource.RLIM_INFINITY
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def walk(one: Program, venue: str, state: str, name: str, strike: Callable[[], None]) -> None:
    """Into the state, the fault, and out; then the promises."""
    began_s = time.monotonic()
    with VenueWatch(one.sim) as watch:
        if state == FLAT:
            strike()
        one.deal()
        eventually(lambda: watch.now().guarded, 10, "a stop")
        if state == "holding":
            strike()
        one.cross()
        if state == "leaving":
            strike()
        eventually(lambda: not watch.now().held and not watch.now().loose, 10, "flat, and nothing works")
        agree_s = time.monotonic() - began_s
        eventually(lambda: "journal_failed" in one.process.shown(), what="said")
    assert watch.naked_s <= BOUND_S[name] + SLACK_S and watch.loose_s <= 2 + SLACK_S
    one.check()
    assert one.process.shown().count("journal_failed") == 1
    Result(name, venue, state, 1, {name: 1}, watch.naked_s, None, agree_s).record()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk that can be filled and emptied from outside")
@pytest.mark.parametrize(("venue", "state"), SOME)
def test_a_full_disk(program: Callable[[str], Program], venue: str, state: str) -> None:
    one = program(venue)
    one.process.start()
    walk(one, venue, state, "disk full", lambda: limit_files(one.process.pid, True))
    limit_files(one.process.pid, False)
    eventually(lambda: "journal_restored" in one.process.shown(), what="the journal goes on")
    assert one.process.terminate() == 0


@pytest.mark.parametrize(("venue", "state"), SOME)
def test_a_folder_that_cannot_be_written(
    program: Callable[[str], Program], tmp_path: Path, venue: str, state: str
) -> None:
    """No file can be made below a file, whoever the user is."""
    (tmp_path / "logs").write_text("in the way", encoding="utf-8")
    one = program(venue)
    one.process.start()
    walk(one, venue, state, "log folder read-only", lambda: None)
    assert one.process.terminate() == 0
