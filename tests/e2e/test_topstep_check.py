"""`check` on TopstepX: which account, which contract, how old the data are, how far the limits, and from where."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import commands
import trading_bot
from config.credentials import NAMES, load_secrets
from core.model import Side
from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import ENTER, MGC, config, market
from tests.e2e.harness import BotThread
from tests.e2e.test_commands import Shown

TRADES = ("Order/place", "Order/modify", "Order/cancel", "Position/closeContract")


@pytest.fixture
def lively() -> Iterator[Callable[..., TopstepxSim]]:
    """Makes a gateway whose prices move: `lively(**fields of TopstepxConfig)`."""
    made: list[TopstepxSim] = []

    def make(**fields: Any) -> TopstepxSim:
        made.append(TopstepxSim(**({"seed": 1, "paused": False} | fields)).start())
        return made[-1]

    yield make
    for one in made:
        asked = [received.kind for received in one.received()]
        one.stop()
        assert not set(asked) & set(TRADES), "it trades nothing"


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shown]:
    """`check(sim, **changes of the config)`: on the practice account with real orders, as the user types it."""
    monkeypatch.setattr(commands, "load_secrets", lambda: load_secrets(tmp_path / ".env"))
    monkeypatch.setenv("COLUMNS", "200")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("TOPSTEPX_USERNAME=demo\nTOPSTEPX_API_KEY=demo\n", encoding="utf-8")

    def run(sim: TopstepxSim, **changes: Any) -> Shown:
        asked = {
            "network": "live",
            "dry_run": False,
            "account": str(sim.practice_id),
            "markets": [market(ENTER)],
            "prop_rules": {"preset": "practice"},
        }
        path = tmp_path / "command.json"
        path.write_text(json.dumps(config(sim, **(asked | changes))), encoding="utf-8")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = trading_bot.main(["--config", str(path), "--logs", str(tmp_path / "logs"), "check"])
        assert "Traceback" not in out.getvalue() + err.getvalue()
        return Shown(code, out.getvalue(), err.getvalue())

    return run


Check = Callable[..., Shown]
Lively = Callable[..., TopstepxSim]


def row(shown: Shown, question: str) -> tuple[str, str]:
    """Verdict and answer of one row."""
    for line in shown.out.splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        if len(cells) == 5 and cells[2] == question:
            return cells[1], cells[3]
    pytest.fail(f"no row {question!r} in\n{shown.out}{shown.err}")


def test_all_is_well_on_the_practice_account(lively: Lively, check: Check) -> None:
    sim = lively()
    shown = check(sim)
    assert shown.code == 0 and "FAIL" not in shown.out, shown.out + shown.err
    name = sim.account()["name"]
    assert row(shown, "credentials") == ("pass", f"account {name}, simulated, balance 150000")
    assert row(shown, "MGC contract") == ("pass", sim.contract(MGC))
    assert "Auto OCO" in row(shown, "brackets")[1]
    assert row(shown, "MGC stream")[1].startswith("real-time, ")
    assert "ms old by the venue's clock" in row(shown, "MGC data")[1]
    assert "size step 1, tick 0.1 worth 1" in row(shown, "MGC rules")[1]
    assert "stop at the venue" in row(shown, "MGC rules")[1]
    assert row(shown, "prop rules") == ("pass", "practice, balance 150000")
    assert row(shown, "this device")[1].startswith("orders must come from your own device: no VPS")


def test_the_distances_of_a_combine(lively: Lively, check: Check) -> None:
    sim = lively()
    rules = {"preset": "combine_50k", "own_daily_loss": 300}
    shown = check(sim, account=str(sim.combine_id), prop_rules=rules)
    assert shown.code == 0, shown.out + shown.err
    assert row(shown, "max_loss_limit") == (
        "pass",
        "2000 away, 2000 ticks of one contract, at an equity of 48000",
    )
    assert row(shown, "own_daily_loss")[1].startswith("300 away, 300 ticks")


def test_with_a_position_the_distances_are_left_to_health(lively: Lively, check: Check) -> None:
    sim = lively()
    sim.deal(MGC, Side.BUY, 2, account=sim.combine_id)
    shown = check(sim, account=str(sim.combine_id), prop_rules={"preset": "combine_50k"})
    assert "a position is open" in row(shown, "distances")[1]
    assert "MGC 2" in row(shown, "account")[1]


@pytest.mark.parametrize(
    "late, stream, data",
    [
        ("hub", ("FAIL", "delayed"), "pass"),
        ("rest", ("pass", "real-time"), "FAIL"),
        ("both", ("FAIL", "delayed"), "FAIL"),
    ],
)
def test_data_a_quarter_of_an_hour_old(
    lively: Lively, check: Check, late: str, stream: tuple[str, str], data: str
) -> None:
    shown = check(lively(delay_s=900, delay_what=late))
    verdict, answer = row(shown, "MGC stream")
    assert shown.code == 1 and (verdict, answer.split(",")[0]) == stream
    assert row(shown, "MGC data")[0] == data


@pytest.mark.parametrize(
    "changes, question, text",
    [
        ({"prop_rules": None}, "prop rules", 'none are set: this looks like "combine_50k"'),
        ({"prop_rules": {"preset": "combine_150k"}}, "prop rules", "combine_50k"),
    ],
)
def test_rules_that_do_not_suit_the_account(
    lively: Lively, check: Check, changes: dict[str, Any], question: str, text: str
) -> None:
    sim = lively()
    shown = check(sim, account=str(sim.combine_id), **changes)
    verdict, answer = row(shown, question)
    assert shown.code == 1 and verdict == "FAIL" and text in answer


def test_an_account_the_venue_has_locked(lively: Lively, check: Check) -> None:
    sim = lively()
    sim.lock()
    shown = check(sim)
    assert shown.code == 1 and row(shown, "account")[0] == "FAIL" and "LOCKED" in row(shown, "account")[1]


def test_no_other_account_is_taken(lively: Lively, check: Check) -> None:
    sim = lively()
    shown = check(sim, account="PRAC-V2-1")
    assert shown.code == 3 and row(shown, "credentials")[0] == "FAIL"
    assert [received for received in sim.received() if received.kind == "SubscribeContractQuotes"] == []


def test_a_refused_key(lively: Lively, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPSTEPX_API_KEY", "some-other-key")
    shown = check(lively())
    assert shown.code == 3 and row(shown, "credentials")[0] == "FAIL" and "some-other-key" not in shown.out


def test_without_a_login(lively: Lively, check: Check, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOPSTEPX_USERNAME=demo\n", encoding="utf-8")
    shown = check(lively())
    assert shown.code == 2 and "TOPSTEPX_API_KEY is missing" in shown.err


def test_brackets_the_venue_has_refused_are_remembered(
    noon_gateway: TopstepxSim, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = noon_gateway
    gateway.set_brackets("position")
    rules = {"network": "live", "dry_run": False, "account": str(gateway.practice_id), "prop_rules": None}
    monkeypatch.setenv("TOPSTEPX_USERNAME", "demo")
    monkeypatch.setenv("TOPSTEPX_API_KEY", "demo")
    running = BotThread(tmp_path, config(gateway, markets=[market(ENTER)], **rules), monkeypatch).start()
    for price in ("4101", "4101.1", "4101.2"):  # one told late belongs to a bar that is over
        gateway.move(MGC, price)
        if running.log.comes("brackets_refused", 1, 5.0):
            break
    running.log.wait("brackets_refused")
    running.stop()
    verdict, answer = row(check(gateway, prop_rules=None), "brackets")
    assert verdict == "FAIL" and "enable Auto OCO" in answer
    assert "own" in row(check(gateway, brackets="own", prop_rules=None), "brackets")[1]
