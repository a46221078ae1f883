"""The kill sweep in short: a few kills at the writes that matter most, on both venues. `make kill` is the long form."""

import sys

import pytest

from tests.kill.places import Place
from tests.kill.sweep import run_day

SLACK_MS = 6_000  # many tests at once: what is timed here is not the bot
PLACES = {
    "hyperliquid": ("entry:after:1", "userFills:before:1", "stop:torn:1", "exit:acted:1"),
    "topstepx": ("entry:after:1", "GatewayUserTrade:torn:1", "exit:acted:1"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
@pytest.mark.parametrize("venue", PLACES)
def test_nothing_is_lost_by_a_kill(venue: str) -> None:
    report = run_day(venue, 1, 1, [Place.parse(text) for text in PLACES[venue]], slack_ms=SLACK_MS)
    assert not report.bad, "\n".join(report.bad) + f"\n{report.folder}"
    assert report.kills == len(PLACES[venue]) and report.fills > 0
    assert report.by_place.get("random", 0) < report.kills / 2, f"the places did not come: {report.missed}"
