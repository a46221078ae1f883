"""scripts/test_websocket_data.py: tables for the analysis, then the whole script over real sockets."""

import json
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from config.credentials import NAMES, load_secrets
from scripts import test_websocket_data as script
from scripts.feed_analysis import analyse, percentiles, price_gap
from scripts.feed_report import show
from scripts.feed_samples import BarRead, Lags, Listening, Report, Update
from scripts.feed_words import duration
from sim.server import SimServer
from sim.topstepx_sim import TopstepxSim

ROOT = Path(__file__).resolve().parents[1]
T0 = 1_790_000_000_000  # our clock at the start
MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
SECONDS = 30


def stream(source: str, lag_ms: int, *, offset_ms: int = 0, every_ms: int = 250, until_ms: int = SECONDS * 1000,
           price: str = "100") -> list[Update]:  # fmt: skip
    """Updates of `source` that come `lag_ms` late by the venue's clock, which is `offset_ms` ahead of ours."""
    return [
        Update(source, T0 + at_ms, T0 + at_ms + offset_ms - lag_ms, D(price))
        for at_ms in range(100, until_ms, every_ms)
    ]


def rest(lag_ms: int, *, offset_ms: int = 0, price: str = "100") -> list[Update]:
    return stream("rest", lag_ms, offset_ms=offset_ms, every_ms=1_000, price=price)


def bars(lag_ms: int, *, offset_ms: int = 0) -> list[BarRead]:
    """Reads every five seconds of a newest bar that forms `lag_ms` ago."""
    reads = []
    for at_ms in range(0, SECONDS * 1000, 5_000):
        venue_ms = T0 + at_ms + offset_ms - lag_ms
        reads.append(BarRead(T0 + at_ms, venue_ms - venue_ms % MINUTE_MS + MINUTE_MS - 1))
    return reads


def judged(*parts: list[Update], reads: list[BarRead] | None = None, **changes: Any) -> Report:
    updates = sorted((update for part in parts for update in part), key=lambda update: update.received_ms)
    listening = Listening(began_ms=T0, ended_ms=T0 + SECONDS * 1000, offset_ms=0, max_age_ms=3_000)
    listening = msgspec.structs.replace(listening, **changes)
    return analyse(listening, {"MGC": (updates, bars(0) if reads is None else reads)})


def frozen(source: str) -> list[Update]:
    return [msgspec.structs.replace(update, time_ms=T0) for update in stream(source, 0)]


BOTH = (stream("trades", 80), stream("quotes", 60))
BOTH_LATE = (stream("trades", QUARTER_MS), stream("quotes", QUARTER_MS))
REPLAY = [Update("trades", T0 + 50, T0 - age_ms, D(100)) for age_ms in (400_000, 120_000, 61_000)]

CASES: dict[str, tuple[tuple[list[Update], ...], list[BarRead], str, str | None, str]] = {
    # what came, newest bars, word of the stream, word of REST, a part of the last line
    "both real-time": ((*BOTH, rest(300)), bars(0), "real-time", "real-time", "lag 80 ms; REST real-time"),
    "REST 15 minutes late": (
        (*BOTH, rest(QUARTER_MS)), bars(QUARTER_MS), "real-time", "delayed", "REST delayed, 15.0 min: no fallback"
    ),
    "both late": ((*BOTH_LATE, rest(QUARTER_MS)), bars(QUARTER_MS), "delayed", "delayed", "data come 15.0 min late"),
    "only the hub late": ((*BOTH_LATE, rest(300)), bars(0), "delayed", "real-time", "late; REST real-time"),
    "silent hub": ((rest(300),), bars(0), "silent", "real-time", "nothing current is heard; REST real-time"),
    "silent after ten seconds": (
        (stream("trades", 80, until_ms=10_000), rest(300)), bars(0), "silent", "real-time", "nothing current"
    ),
    "frozen timestamps": ((frozen("trades"), frozen("quotes"), rest(300)), bars(0), "lagging", "real-time",
                          "time in trades and quotes stands still"),
    "frozen quotes beside live trades": ((stream("trades", 80), frozen("quotes"), rest(300)), bars(0), "real-time",
                                         "real-time", "time in quotes stands still"),
    "trades late, quotes fresh": ((stream("trades", QUARTER_MS), stream("quotes", 60), rest(300)), bars(0), "delayed",
                                  "real-time", "15.0 min"),
    "quotes late, trades fresh": ((stream("trades", 80), stream("quotes", QUARTER_MS), rest(300)), bars(0),
                                  "real-time", "real-time", "MGC real-time (lag 80 ms; REST"),
    "quotes late, no trade lately": ((stream("trades", 80)[:20], stream("quotes", QUARTER_MS), rest(300)), bars(0),
                                     "delayed", "real-time", "data come 15.0 min late"),
    "five seconds late": ((stream("trades", 5_000), stream("quotes", 5_000), rest(300)), bars(0), "lagging",
                          "real-time", "lag 5000 ms"),
    "a replay, then quotes": (
        (REPLAY, stream("quotes", 60), rest(300)), bars(0), "real-time", "real-time", "lag 60 ms"
    ),
    "nothing but a replay": ((REPLAY, rest(300)), bars(0), "silent", "real-time", "nothing current"),
    "no trade in minutes": ((stream("quotes", 60), REPLAY, rest(300)), bars(0), "real-time", "real-time", "lag 60 ms"),
    "late for five seconds": (
        (stream("trades", 80)[:60], stream("trades", 20_000)[60:80], stream("trades", 80)[80:], rest(300)),
        bars(0), "lagging", "real-time", "lag 20.0 s",
    ),
    "REST silent": (BOTH, [], "real-time", None, "REST gave no price with a time"),
    "REST prices without a time": (
        (*BOTH, [msgspec.structs.replace(update, time_ms=None) for update in rest(0)]), bars(QUARTER_MS), "real-time",
        "delayed", "REST delayed",
    ),
    "nothing at all": ((), [], "silent", None, "silent: MGC silent"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "reads", "word", "rest_word", "text"), CASES.values(), ids=CASES.keys())
def test_verdicts(parts: Any, reads: Any, word: str, rest_word: str | None, text: str) -> None:
    report = judged(*parts, reads=reads)
    assert (report.verdict, report.markets[0].sources["rest"].verdict) == (word, rest_word)
    assert text in report.line


@pytest.mark.parametrize("offset_ms, side", [(90_000, "behind"), (-90_000, "ahead of")])
@pytest.mark.parametrize("lag_ms, word", [(80, "real-time"), (QUARTER_MS, "delayed")])
def test_a_clock_that_is_wrong_here(offset_ms: int, side: str, lag_ms: int, word: str) -> None:
    parts = [stream(source, lag_ms, offset_ms=offset_ms) for source in ("trades", "quotes")]
    report = judged(
        *parts, rest(lag_ms, offset_ms=offset_ms), reads=bars(lag_ms, offset_ms=offset_ms), offset_ms=offset_ms
    )
    assert report.verdict == word and f"this machine's clock is 90.0 s {side} the venue's" in report.line
    [found] = report.markets
    assert found.sources["trades"].lag_ms == Lags(lag_ms, lag_ms, lag_ms, lag_ms)
    assert found.bar_age_s is not None and abs(found.bar_age_s * 1000 - lag_ms) <= MINUTE_MS


def test_a_clock_nobody_could_compare_is_said() -> None:
    report = judged(*BOTH, reads=[], offset_ms=None)
    assert report.verdict == "real-time" and "could not be read" in report.line


def test_the_worst_market_is_the_verdict() -> None:
    listening = Listening(began_ms=T0, ended_ms=T0 + SECONDS * 1000, offset_ms=0, max_age_ms=3_000)
    report = analyse(listening, {"MGC": (BOTH[0], []), "MES": (BOTH_LATE[0], [])})
    assert report.verdict == "delayed" and "MGC real-time" in report.line and "MES delayed" in report.line
    assert analyse(listening, {}).verdict == "silent"


def test_rest_is_not_late_where_nothing_has_traded() -> None:
    """REST tells the last trade, of two minutes ago, and the stream knows no newer one."""
    last = [Update("trades", T0 + 10, T0 - 60, D(100))]
    polled = [Update("rest", T0 + at_ms, T0 - 900, D(100)) for at_ms in range(1_000, SECONDS * 1000, 1_000)]
    found = judged(last, stream("quotes", 60), polled).markets[0].sources["rest"]
    assert found.verdict == "real-time" and found.lag_ms == Lags(840, 1_900, 2_900, 2_900)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_figures_of_a_source() -> None:
    quiet = [u for u in stream("trades", 80) if not 5_000 < u.received_ms - T0 < 12_000]
    found = judged([*REPLAY, *quiet], reads=bars(QUARTER_MS)).markets[0]
    trades = found.sources["trades"]
    assert (trades.count, trades.replayed) == (len(quiet) + 3, 3)
    assert trades.per_s == pytest.approx((len(quiet) + 3) / SECONDS, abs=0.01)
    assert trades.silence_s == pytest.approx(7.25, abs=0.26) and trades.lag_ms == Lags(80, 80, 80, 80)
    assert found.bar_age_s is not None and 14 * 60 - 30 < found.bar_age_s < 15 * 60
    assert found.sources["quotes"].lag_ms is None and found.sources["quotes"].silence_s == SECONDS


def test_what_may_be_a_replay_is_counted_apart() -> None:
    old = judged(REPLAY).markets[0].sources["trades"]
    assert old.replayed == 3 and old.lag_ms is None
    slow_start = judged(stream("trades", 20_000)[:20], stream("trades", 80)[20:]).markets[0].sources["trades"]
    assert slow_start.replayed == 0 and slow_start.lag_ms is not None and slow_start.lag_ms.max == 20_000


@pytest.mark.parametrize(
    "lags, expected",
    [
        ([], None),
        ([7], Lags(7, 7, 7, 7)),
        ([4, 3, 2, 1], Lags(2, 4, 4, 4)),
        (list(range(1, 101)), Lags(50, 95, 99, 100)),
        (list(range(1, 102)), Lags(51, 96, 100, 101)),
    ],
)
def test_percentiles(lags: list[int], expected: Lags | None) -> None:
    assert percentiles(lags) == expected


def test_the_price_gap_is_against_the_nearer_of_trade_and_quote() -> None:
    updates = [
        Update("rest", 1, 1, D(90)),  # nothing to compare with yet
        Update("trades", 2, 2, D(100)),
        Update("quotes", 3, 3, D(101)),
        Update("rest", 4, 4, D("100.5")),
        Update("rest", 5, 5, D(103)),
        Update("rest", 6, 6, D(101)),
    ]
    gap = price_gap(updates)
    assert gap is not None and (gap.median, gap.max, gap.max_pct) == (D("0.5"), D(2), pytest.approx(1.9417))
    assert price_gap(updates[:3]) is None


@pytest.mark.parametrize(
    "ms, text",
    [
        (0, "0 ms"),
        (-12, "-12 ms"),
        (9_999, "9999 ms"),
        (10_000, "10.0 s"),
        (900_000, "15.0 min"),
        (169_200_000, "47.0 h"),
    ],
)
def test_durations(ms: int, text: str) -> None:
    assert duration(ms) == text


def test_the_table_fits_a_terminal_and_ends_with_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    report = judged(*BOTH_LATE, rest(QUARTER_MS), reads=bars(QUARTER_MS), troubles=("REST: [bold]no answer",))
    show(Console(width=80), report, "topstepx live")
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 and "…" not in line for line in lines[: lines.index("clock offset to the venue: 0 ms")])
    rows = [line.split() for line in lines]
    assert ["MGC", "trades", "delayed", "4", "15.0", "min", "15.0", "min", "15.0", "min", "0.2", "s"] in rows
    assert ["REST", "delayed", "1", "15.0", "min", "15.0", "min", "15.0", "min", "1.0", "s"] in rows
    assert "trouble: REST: [bold]no answer" in lines
    assert lines[-1].startswith("VERDICT delayed: MGC delayed (data come 15.0 min late")


# --- the whole script, over real sockets ------------------------------------------------------------------------------


def config(**changes: Any) -> dict[str, Any]:
    return {
        "network": "simulator",
        "dry_run": True,
        "risk": {"max_daily_loss": None},
        "websocket": {"enabled": False},  # as configured before a roll-out: the script listens all the same
        "fallback": {"poll_interval": 0.5},
        "health": {"enabled": False},
    } | changes


def hyperliquid(sim: SimServer, **changes: Any) -> dict[str, Any]:
    return config(venue="hyperliquid", api_url=sim.url, ws_url=sim.ws_url, markets=[market("BTC")]) | changes


def market(symbol: str) -> dict[str, Any]:
    strategy = {"name": "ema_cross", "fast": 3, "slow": 8}
    return {"symbol": symbol, "strategy": strategy, "size": {"quantity": 1}, "exits": {"stop_loss_pct": 1.0}}


class Run:
    """`main` with a config file of this test."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._capsys = folder / "config.json", capsys
        self.out = self.err = ""

    def __call__(self, settings: dict[str, Any], *arguments: str, seconds: float = 4) -> int:
        self.path.write_text(json.dumps(settings), encoding="utf-8")
        code = script.main(["--config", str(self.path), "--seconds", str(seconds), *arguments])
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def report(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(script, "load_secrets", lambda: load_secrets(tmp_path / ".env"))
    return Run(tmp_path, capsys)


@pytest.fixture
def sim() -> Iterator[SimServer]:
    with SimServer(seed=1, paused=False) as server:
        yield server
        assert server.received() == [], "it orders nothing"


def test_a_real_time_feed(sim: SimServer, run: Run) -> None:
    assert run(hyperliquid(sim)) == 0
    lines = run.out.splitlines()
    assert lines[-1].startswith("VERDICT real-time: BTC real-time (lag ") and lines[-1].endswith("; REST real-time)")
    assert any(line.startswith("BTC: stream and REST differ by ") for line in lines)
    assert run.err == ""


def test_a_bar_shows_on_a_terminal_while_it_listens(sim: SimServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, so that --json stays JSON."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(hyperliquid(sim), "--json") == 0
    assert run.report["verdict"] == "real-time"
    counts = [int(count) for count in re.findall(r"(\d+)\D{0,12}updates", run.err)]
    assert "listening" in run.err and counts == sorted(counts) and counts[-1] > 10


def test_the_same_for_programs(sim: SimServer, run: Run) -> None:
    assert run(hyperliquid(sim), "--json", "--symbol", "ETH", "--symbol", "BTC", "--symbol", "ETH") == 0
    assert run.report["verdict"] == "real-time" and [m["symbol"] for m in run.report["markets"]] == ["ETH", "BTC"]
    sources = run.report["markets"][1]["sources"]
    assert {name: source["verdict"] for name, source in sources.items()} == dict.fromkeys(sources, "real-time")
    lags = sources["quotes"]["lag_ms"]
    assert -500 < lags["p50"] <= lags["p95"] <= lags["p99"] <= lags["max"] < 3_000  # the offset is known to a little
    assert sources["quotes"]["per_s"] > 1 and sources["quotes"]["silence_s"] < 4
    assert run.report["markets"][1]["bar_age_s"] == 0 and run.report["markets"][1]["price_gap"] is not None


def test_a_feed_that_is_delayed(sim: SimServer, run: Run) -> None:
    sim.fault("delayed_data", ms=QUARTER_MS)
    assert run(hyperliquid(sim), "--json") == 1
    assert run.report["verdict"] == "delayed" and "data come 15.0 min late" in run.report["line"]
    assert run.report["markets"][0]["sources"]["quotes"]["lag_ms"]["p50"] == pytest.approx(QUARTER_MS, abs=3_000)


def test_a_stream_that_says_nothing(sim: SimServer, run: Run) -> None:
    sim.fault("stall")
    assert run(hyperliquid(sim), "--json") == 1
    assert run.report["verdict"] == "silent" and "the stream did not come up; REST real-time" in run.report["line"]


@pytest.mark.parametrize("skew_ms", [90_000, -90_000])
def test_a_clock_that_is_wrong(sim: SimServer, run: Run, skew_ms: int) -> None:
    sim.fault("clock_skew", ms=skew_ms)
    assert run(hyperliquid(sim), "--json") == 0
    assert run.report["clock_offset_ms"] == pytest.approx(skew_ms, abs=500)
    assert "this machine's clock is 90.0 s" in run.report["line"]
    assert abs(run.report["markets"][0]["sources"]["quotes"]["lag_ms"]["p50"]) < 1_000


def test_a_venue_that_is_away(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    assert run(config(venue="hyperliquid", api_url=url, markets=[market("BTC")]), "--json") == 1
    assert run.report["verdict"] == "silent" and "cannot be reached" in run.report["line"]


def test_refused_credentials(sim: SimServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERLIQUID_PRIVATE_KEY", "0x" + "5e" * 32)  # not the account's, nor its agent's
    assert run(hyperliquid(sim, network="testnet", dry_run=False, account="0x" + "11" * 20)) == 3
    assert run.err.startswith("credentials refused: ") and "5e5e" not in run.err


def test_bad_config_and_usage(sim: SimServer, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(hyperliquid(sim, network="testnet", dry_run=False)) == 2
    assert "HYPERLIQUID_PRIVATE_KEY is missing" in run.err
    assert run(hyperliquid(sim), "--symbol", "BTX") == 2 and "BTX" in run.err
    assert run(hyperliquid(sim, venu="x")) == 2 and "venu" in run.err
    assert script.main(["--config", str(run.path.with_name("none.json"))]) == 2
    for wrong in (["--seconds", "0"], ["--seconds", "nan"], ["--seconds", "x"], ["--secs", "3"]):
        with pytest.raises(SystemExit) as usage:
            script.main(wrong)
        assert usage.value.code == 2


def test_run_as_a_file_from_anywhere(sim: SimServer, run: Run, tmp_path: Path) -> None:
    run.path.write_text(json.dumps(hyperliquid(sim)), encoding="utf-8")
    command = [
        sys.executable,
        ROOT / "scripts" / "test_websocket_data.py",
        "--config",
        run.path,
        "--json",
        "--seconds",
        "3",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr, json.loads(done.stdout)["verdict"]) == (0, "", "real-time")


def test_pytest_does_not_take_it_for_a_test() -> None:
    """Its name is the user's; tests are looked for in tests/ alone."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert options["testpaths"] == ["tests"]


# --- TopstepX ---------------------------------------------------------------------------------------------------------


def topstepx(sim: TopstepxSim, **changes: Any) -> dict[str, Any]:
    return config(venue="topstepx", api_url=sim.url, markets=[market("MGC")], fallback={"poll_interval": 1}) | changes


@pytest.fixture
def gateway() -> Iterator[Callable[..., TopstepxSim]]:
    """Makes a gateway whose prices move: `gateway(**fields of TopstepxConfig)`."""
    made: list[TopstepxSim] = []

    def make(**fields: Any) -> TopstepxSim:
        made.append(TopstepxSim(paused=False, **fields).start())
        return made[-1]

    yield make
    for one in made:
        assert one.history() == [], "it orders nothing"
        one.stop()


@pytest.mark.parametrize(
    "late, code, words",
    [
        (None, 0, ("real-time", "real-time", "real-time")),
        ("rest", 0, ("real-time", "real-time", "delayed")),
        ("hub", 1, ("delayed", "delayed", "real-time")),
        ("both", 1, ("delayed", "delayed", "delayed")),
    ],
)
def test_topstepx_fifteen_minutes_late(
    gateway: Callable[..., TopstepxSim], run: Run, late: str | None, code: int, words: tuple[str, ...]
) -> None:
    sim = gateway() if late is None else gateway(delay_s=QUARTER_MS / 1000, delay_what=late)
    assert run(topstepx(sim), "--json") == code
    [found] = run.report["markets"]
    assert tuple(source["verdict"] for source in found["sources"].values()) == words
    assert run.report["verdict"] == words[0]
    is_old = found["bar_age_s"] > 13 * 60
    assert is_old is (words[2] == "delayed")


@pytest.mark.parametrize(
    "fault, args, code, text",
    [
        ("silent_data", {}, 1, "nothing current is heard"),
        ("refuse_sockets", {}, 1, "the stream did not come up"),
        ("frozen_timestamp", {}, 0, "real-time: MGC real-time (lag"),
        ("frozen_timestamp", {"last_updated": True}, 0, "the venue's time in quotes stands still"),
        ("stale_quotes", {"ms": QUARTER_MS}, 0, "real-time: MGC real-time (lag"),
        ("clock_skew", {"ms": 90_000}, 0, "s behind the venue's, which is corrected for"),
    ],
)
def test_topstepx_in_trouble(
    gateway: Callable[..., TopstepxSim], run: Run, fault: str, args: dict[str, Any], code: int, text: str
) -> None:
    sim = gateway()
    sim.fault(fault, **args)
    assert run(topstepx(sim), "--json", seconds=6) == code
    assert text in run.report["line"]


def test_topstepx_refuses_the_key(
    gateway: Callable[..., TopstepxSim], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPSTEPX_USERNAME", "demo")
    monkeypatch.setenv("TOPSTEPX_API_KEY", "not-the-key")
    assert run(topstepx(gateway(), network="live", account="PRAC-V2-100001-10000101")) == 3
    assert run.err.startswith("credentials refused: ") and "not-the-key" not in run.err
