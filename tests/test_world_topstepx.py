"""A hundred simulated days at TopstepX: none breaks a promise, every kind of fault strikes, a seed repeats itself."""

import sys
from collections import Counter

import pytest

from sim.invariants import verdicts
from sim.world import command, never_fired, play_day, run_day, run_days, told

VENUE, DAYS = "topstepx", 100


def test_a_hundred_days_without_a_violation(capsys: pytest.CaptureFixture[str]) -> None:
    total: Counter[str] = Counter()
    faults = []
    for result in run_days(VENUE, range(1, DAYS + 1), workers=1, short=True):
        total.update(result.counts)
        faults += [f"{v.name} {v.text}\n  {command(VENUE, result.seed, short=True)}" for v in result.violations]
    with capsys.disabled():
        sys.stdout.write(f"\n{DAYS} days of {VENUE}:\n{told(total)}\n")
    assert not faults, "\n".join(faults)
    assert never_fired(VENUE, total) == []
    assert total["hub GatewayUserTrade"] > 2 * DAYS and total["requests"] > 50 * DAYS and total["starts"] > DAYS


def test_the_same_seed_is_the_same_day() -> None:
    first, again, other = (run_day(VENUE, seed, None, True) for seed in (3, 3, 4))
    assert (first.digest, first.counts) == (again.digest, again.counts)
    assert first.digest != other.digest


def test_every_promise_was_looked_at() -> None:
    looked: Counter[str] = Counter()
    for seed in (5, 6, 7):
        for verdict in verdicts(play_day(VENUE, seed, None, True)):
            looked[verdict.name] += verdict.looked_at
            assert verdict.not_judged is None or verdict.name in ("P5_never_waits", "P11_one_bot")
    assert [name for name, count in looked.items() if not count] == ["P5_never_waits", "P11_one_bot"]
