"""The benchmarks run, with tiny rounds. No time is asserted: this is a test of the harness, not of the machine."""

import sys
from pathlib import Path

import pytest

from benchmarks import measures, reliability, soak
from benchmarks.__main__ import main
from benchmarks.contestants import HYPERLIQUID, TOPSTEPX, floor, plain, sketches, whole_bot
from benchmarks.soak_bot import BUCKET_S, Lags


@pytest.mark.parametrize("venue", [HYPERLIQUID, TOPSTEPX])
def test_tick_to_order_of_floor_and_bot(venue: str) -> None:
    assert len(measures.tick_to_order(floor(venue), rounds=2, warm_up=1)) == 2
    found = measures.latency(measures.tick_to_order(whole_bot(venue), rounds=2, warm_up=1))
    assert found.rounds == 2 and 0 < found.median <= found.worst


@pytest.mark.parametrize("contestant", [*sketches(TOPSTEPX), plain(TOPSTEPX)], ids=lambda c: c.command[-1])
def test_simple_contestants_play_on_topstepx(contestant) -> None:
    assert len(measures.tick_to_order(contestant, rounds=1, warm_up=1)) == 1


@pytest.mark.parametrize("venue", [HYPERLIQUID, TOPSTEPX])
def test_a_soak_measures_every_period_and_holds_its_positions(venue: str) -> None:
    found = soak.soak(venue, minutes=0.05, rate=100, period_s=1.0, drop_every_s=0.5)
    assert len(found.minutes) == 3 and found.still_open == found.positions
    assert found.drops and found.away_s > 0
    last = found.minutes[-1].line
    assert last.total_frames >= sum(minute.line.frames for minute in found.minutes) > 20
    assert 0 < last.total_p50 <= last.total_p99 <= last.total_worst


def test_percentiles_of_lags() -> None:
    lags = Lags()
    for ms in range(1, 101):
        lags.add(ms / 1000)
    assert lags.percentile_ms(0.99) == pytest.approx(99, abs=BUCKET_S * 1000 + 1e-6)
    assert lags.percentile_ms(0.5) == pytest.approx(50, abs=BUCKET_S * 1000 + 1e-6)
    lags.add(7.0)  # beyond the last bucket
    assert lags.worst_s == 7.0 and lags.percentile_ms(1.0) < 1000


def test_every_trade_of_a_burst_is_decided_on_before_the_exit() -> None:
    found = measures.burst(whole_bot(), frames=200)
    assert found.decided == 202  # the first price, the burst, the crossing trade


def test_idle_counts_the_handshakes_of_the_first_exit() -> None:
    assert measures.idle(plain(), minutes=0.04, close_after_s=1.0).handshakes == 1


def test_memory_is_measured_at_every_step() -> None:
    assert len(measures.memory(plain(), trades=4_000, steps=2)) == 3


def test_the_command_writes_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "median_of", lambda measure, times=1: measure())  # once is enough for a page
    page = tmp_path / "results.md"
    page.write_text("# Old\n\n## 1. Tick to order\n\nkept\n\n## 2. Burst, seconds\n\nreplaced\n", encoding="utf-8")
    assert main(["--only", "burst", "start", "--frames", "50", "--output", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "## 2. Burst" in text and "the whole bot" in text and "## 3. Start" in text
    assert "\nkept\n" in text and "replaced" not in text
    assert "goal: at most 2 s" in capsys.readouterr().out


def test_an_attack_is_kept_as_it_was_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "docs" / "reliability.md"
    monkeypatch.setattr(reliability, "PAGE", page)
    script = "import sys; print('day 1'); print(); print('7 of 8 held'); sys.exit(1)"
    assert reliability.main(["mutants", "--", sys.executable, "-c", "print('30 of 30')"]) == 0
    assert reliability.main(["kill-topstepx", "--", sys.executable, "-c", script]) == 1
    text = page.read_text(encoding="utf-8")
    assert text.index("## 5. Kills") < text.index("7 of 8 held") < text.index("## 10. Planted") < text.index("30 of 30")
    assert "ended with exit code 1" in text and "\nday 1" not in text
    assert reliability.main(["kill-topstepx", "--", sys.executable, "-c", "print('8 of 8 held')"]) == 0
    assert "7 of 8" not in page.read_text(encoding="utf-8")
