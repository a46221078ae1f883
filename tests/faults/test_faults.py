"""Every fault of the table, at each venue, while flat, while holding, and with an exit in flight.

A run of all tests takes a tenth of the cases, with one variant each. Which tenth goes with the day; FAULTS_ROUND
chooses it (0 to 9, or "all" for everything, as `python -m tests.faults` does).
"""

import datetime
import os

import pytest

from tests.faults import case
from tests.faults.conftest import MakeStand
from tests.faults.row import STATES, Row
from tests.faults.table import TABLE

ROUNDS = 10
ROUND = os.environ.get("FAULTS_ROUND") or str(datetime.datetime.now(datetime.UTC).toordinal() % ROUNDS)
IS_WHOLE = ROUND == "all"

Case = tuple[Row, str]
CASES: list[Case] = [(row, state) for row in TABLE for state in row.states if not row.in_process]
SHORT = [(row, state) for row, state in CASES if not row.is_long]


def sample(number: int) -> list[Case]:
    """Each tenth of the short ones (neighbours differ in state), and one of each group and venue that is missing."""
    taken = SHORT[number % ROUNDS :: ROUNDS]
    for kind in dict.fromkeys((row.group, row.venue) for row, _ in SHORT):
        own = [one for one in SHORT if (one[0].group, one[0].venue) == kind]
        if not any(one in own for one in taken):
            taken.append(own[number % len(own)])
    return taken


def name_of(one: Case) -> str:
    row, state = one
    return f"{row.name}-{row.venue}-{state}".replace(" ", "_").replace(",", "")


@pytest.mark.parametrize("one", CASES if IS_WHOLE else sample(int(ROUND)), ids=name_of)
def test_a_fault(stand_of: MakeStand, one: Case) -> None:
    row, state = one
    variants = case.fit(row, state)
    if not IS_WHOLE:
        at = int(ROUND) % len(variants)
        variants = variants[at : at + 1]
    with stand_of(row.venue, variants[0] if row.from_start else ()) as stand:
        case.run(stand, row, state, variants)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_each_round_has_something_of_everything(number: int) -> None:
    taken = sample(number)
    assert {(row.group, row.venue) for row, _ in taken} == {(row.group, row.venue) for row in TABLE}
    assert {state for _, state in taken} == set(STATES)


def test_each_case_has_its_round() -> None:
    taken = [one for number in range(ROUNDS) for one in sample(number)]
    assert all(one in taken for one in SHORT)
