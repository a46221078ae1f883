"""The short forms of the fuzz: thousands of each kind with fixed seeds, and hypothesis, which shrinks what it finds.

In bulk: `make fuzz`, or `python -m tests.fuzz`.
"""

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import answers, brain, configs, frames
from tests.fuzz.brain import Brain, Nonsense
from tests.fuzz.expected import missing
from tests.fuzz.mutate import KINDS

VENUES = ("hyperliquid", "topstepx")
WORK = settings(deadline=None, max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("venue", VENUES)
@given(rng=st.randoms(use_true_random=False), oddity=st.sampled_from((0.0, 0.02, 0.1, 0.4)))
@WORK
def test_the_brain_makes_no_action_of_nonsense(venue: str, rng: random.Random, oddity: float) -> None:
    one = Brain(venue, rng, oddity)
    while one.fed < 40:
        one.step()


@pytest.mark.parametrize("venue", VENUES)
def test_thousands_of_events_of_every_kind(venue: str) -> None:
    counts = Counter[str]()
    absent = ["all"]
    for seed in range(40):  # ten are enough, or a few more for what is seldom
        counts += brain.play(venue, random.Random(seed), 250)
        absent = [name for name in missing("decide", venue, counts) if name.startswith(("event", "order", "state"))]
        if seed >= 9 and not absent:
            break
    assert absent == []


@pytest.mark.parametrize("venue", VENUES)
def test_thousands_of_broken_frames(venue: str) -> None:
    counts = frames.play(venue, random.Random(1), 3_500)
    assert counts["frames with events"] > 300
    assert [kind for kind in KINDS if not counts[f"mutation {kind}"]] == []


@pytest.mark.parametrize("venue", VENUES)
def test_thousands_of_broken_answers(venue: str) -> None:
    counts = answers.play(venue, random.Random(1), 2_500)
    assert missing("answers", venue, counts) == []


def test_hundreds_of_broken_configs() -> None:
    counts = configs.play(random.Random(1), 200)
    assert [n for n in missing("configs", "both", counts) if n.startswith(("accepted", "fault", "env"))] == []


# --- the judges can say no --------------------------------------------------------------------------------------------


def test_a_brain_that_believes_nonsense_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.sane.nonsense", lambda state, event: None)
    with pytest.raises(Nonsense):
        for seed in range(20):
            brain.play("hyperliquid", random.Random(seed), 250)


def test_a_dialect_that_lets_nonsense_through_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venues.hyperliquid.frames.timely", lambda time_ms, now_ms: time_ms)
    with pytest.raises(Nonsense, match="absurd"):
        for seed in range(20):
            frames.play("hyperliquid", random.Random(seed), 2_000)


def test_a_client_that_hands_on_nonsense_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperliquid_client.believed", lambda event, offset_ms: event)
    with pytest.raises(Nonsense, match="absurd"):
        for seed in range(20):
            answers.play("hyperliquid", random.Random(seed), 2_000)
