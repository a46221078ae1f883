"""Simulated days at TopstepX: a seed repeats itself, every promise is looked at. A hundred of them: test_world.py."""

from collections import Counter

from sim.invariants import verdicts
from sim.world import play_day, run_day

VENUE = "topstepx"


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
