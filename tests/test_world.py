"""Simulated days: no promise is broken, the same seed runs the same, and a planted bug is caught by name."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

import runtime.bot
from core import decide as brain
from core.messages import AnyAction, OrderUnknown, Submit
from core.model import Purpose
from core.state import State
from sim.world import command, never_fired, run_day, run_days, shrink, told
from sim.world_fibres import Crew, Fibre

ROOT = Path(__file__).resolve().parent.parent
DAYS = 100
VENUE = "hyperliquid"


@pytest.mark.parametrize("venue, more_than", [
    ("hyperliquid", {"fills": 5, "starts": 1.2, "requests": 50}),
    ("topstepx", {"hub GatewayUserTrade": 2, "starts": 1, "requests": 50}),
])  # fmt: skip
def test_a_hundred_days_without_a_violation(
    capsys: pytest.CaptureFixture[str], venue: str, more_than: dict[str, float]
) -> None:
    """`more_than`: how often a day, for days on which nothing happens prove nothing."""
    total: Counter[str] = Counter()
    faults = []
    for result in run_days(venue, range(1, DAYS + 1), workers=1, short=True):
        total.update(result.counts)
        faults += [f"{v.name} {v.text}\n  {command(venue, result.seed, short=True)}" for v in result.violations]
    with capsys.disabled():
        sys.stdout.write(f"\n{DAYS} days of {venue}:\n{told(total)}\n")
    assert not faults, "\n".join(faults)
    assert never_fired(venue, total) == []
    for what, times in more_than.items():
        assert total[what] > times * DAYS, what


def run_command(seed: int, hash_seed: str) -> str:
    """What the command prints, but for its figure of processor time."""
    words = [sys.executable, "-m", "sim.world", "--venue", VENUE, "--seed", str(seed), "--short"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return re.sub(r", [0-9.]+ s\n", "\n", done.stdout)


def test_the_same_seed_runs_the_same_way() -> None:
    """To the byte of the journal, whatever order sets and dicts come in."""
    first = run_command(7, "1")
    assert re.search(r"journal [0-9a-f]{16}", first)
    assert run_command(7, "2") == first


def plant(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """`change(event, actions)` stands between the brain and the main loop."""

    def bugged(state: State, event: Any, *rest: Any) -> tuple[State, list[AnyAction]]:
        state, actions = brain.decide(state, event, *rest)
        return state, change(event, actions)

    monkeypatch.setattr(runtime.bot, "decide", bugged)


def names_of(days: int) -> set[str]:
    return {violation.name for seed in range(1, days + 1) for violation in run_day(VENUE, seed, None, True).violations}


def without_stops(event: Any, actions: list[AnyAction]) -> list[AnyAction]:
    return [a for a in actions if not (isinstance(a, Submit) and a.purpose in (Purpose.STOP, Purpose.EXIT))]


def entries_twice(event: Any, actions: list[AnyAction]) -> list[AnyAction]:
    twice = []
    for action in actions:
        twice.append(action)
        if isinstance(action, Submit) and action.purpose is Purpose.ENTRY:
            again = msgspec.structs.replace(
                action.order, nonce=action.order.nonce + 1, client_id=action.order.client_id[:-4] + "beef"
            )
            twice.append(msgspec.structs.replace(action, order=again))
    return twice


@pytest.mark.parametrize(
    "change, name", [(without_stops, "P2_protected"), (entries_twice, "P3_once")], ids=["no stop", "entry twice"]
)
def test_a_planted_bug_is_caught_by_name(monkeypatch: pytest.MonkeyPatch, change: Any, name: str) -> None:
    plant(monkeypatch, change)
    assert name in names_of(2)


def test_the_shrinker_keeps_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that only an order in doubt wakes up: it sends it again."""
    orders: dict[str, Submit] = {}

    def resends(event: Any, actions: list[AnyAction]) -> list[AnyAction]:
        orders.update({a.order.client_id: a for a in actions if isinstance(a, Submit)})
        if isinstance(event, OrderUnknown) and event.client_id in orders:
            return [*actions, orders[event.client_id]]
        return actions

    plant(monkeypatch, resends)
    seeds = range(98, 140)  # the first wakes it up
    result = next(
        r for r in (run_day(VENUE, s, None, True) for s in seeds) if any(v.name == "P3_once" for v in r.violations)
    )
    needed = shrink(VENUE, result.seed, "P3_once", result.faults, True)
    assert 1 <= len(needed) < len(result.faults)
    kinds = {fault.kind for fault in result.faults if fault.number in needed}
    assert kinds & {"lost_answers", "cut_answers", "slow_answers", "slow_requests", "http_error", "lost_requests"}
    assert any(v.name == "P3_once" for v in run_day(VENUE, result.seed, needed, True).violations)


def test_fibres_take_turns() -> None:
    crew, story = Crew(), []

    def work() -> None:
        story.append("begins")
        story.append(crew.park())
        crew.park()

    fibre: Fibre = crew.start(work)
    story.append("waits")
    crew.wake(fibre, "woken")
    assert story == ["begins", "waits", "woken"] and not fibre.done
    crew.kill(fibre)
    assert fibre.done and fibre.error is None
    crew.dismiss()
