"""flatten and replay on TopstepX, beside a running bot and without one."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import commands
import trading_bot
from config.credentials import load_secrets
from core.model import Side
from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import ENTER, MGC, calls, config, executed, market
from tests.e2e.harness import BotThread, eventually
from tests.e2e.test_commands import Shown
from tests.e2e.test_topstep_day import enter

Make = Callable[..., BotThread]
Ask = Callable[..., Shown]


@pytest.fixture
def ask(gateway: TopstepxSim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`ask("flatten", "--yes")`, as the user types it."""
    monkeypatch.setattr(commands, "load_secrets", lambda: load_secrets(tmp_path / ".env"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, **changes: Any) -> Shown:
        path = tmp_path / "command.json"
        path.write_text(json.dumps(config(gateway, **changes)), encoding="utf-8")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = trading_bot.main(["--config", str(path), "--logs", str(tmp_path / "logs"), *arguments])
        assert "Traceback" not in out.getvalue() + err.getvalue()
        return Shown(code, out.getvalue(), err.getvalue())

    return run


def net(gateway: TopstepxSim) -> int:
    return sum(size if side == 0 else -size for side, size in executed(gateway))


# --- flatten ----------------------------------------------------------------------------------------------------------


def test_flatten_without_a_bot(gateway: TopstepxSim, ask: Ask) -> None:
    """Orders first, then each contract once, whether the config names it or not."""
    gateway.move("MES", "6900")
    gateway.place(MGC, Side.BUY, 2, stop_ticks=-50, target_ticks=100)
    gateway.deal("MES", Side.SELL, 1)
    gateway.place("MES", Side.BUY, type=4, stop="6905")
    eventually(lambda: gateway.position(MGC) == 2 and len(gateway.orders()) == 3)
    shown = ask("flatten", "--yes")
    assert shown.code == 0 and "flat: no positions, no working orders" in shown.out, shown.out + shown.err
    assert gateway.position(MGC) == gateway.position("MES") == 0 and gateway.orders() == []
    done = calls(gateway, "Order/cancel", "Position/closeContract")
    assert done == ["Order/cancel"] * 3 + ["Position/closeContract"] * 2


def test_flatten_asks_first(gateway: TopstepxSim, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.deal(MGC, Side.BUY, 1)
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert ask("flatten").code == 1
    assert gateway.position(MGC) == 1 and calls(gateway, "Position/closeContract") == []


def test_flatten_beside_a_running_bot(gateway: TopstepxSim, desk: Make, ask: Ask) -> None:
    """The bot closes its own; what it does not manage is closed by the command; nobody turns anything round."""
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    gateway.deal("MES", Side.BUY, 1)
    running.log.wait("position_unmanaged")
    shown = ask("flatten", "--yes")
    assert shown.code == 0, shown.out + shown.err
    assert gateway.position(MGC) == gateway.position("MES") == 0 and gateway.orders() == []
    assert net(gateway) == 0 and len(executed(gateway)) == 4
    assert "flatten was asked for" in running.log.wait("halted")
    gateway.move(MGC, "4101")
    assert "flatten" in running.log.wait("order_denied")


@pytest.mark.parametrize("fault", ["drop_answer", "lost_request", "error_answer", "pending"])
def test_flatten_whose_close_is_in_doubt(gateway: TopstepxSim, ask: Ask, fault: str) -> None:
    gateway.deal(MGC, Side.BUY, 2)
    gateway.fault(fault, action="Position/closeContract", times=1)
    shown = ask("flatten", "--yes")
    assert shown.code == 0 and gateway.position(MGC) == 0 and net(gateway) == 0, shown.out + shown.err


# --- replay -----------------------------------------------------------------------------------------------------------


def assert_replays(running: BotThread, ask: Ask) -> None:
    journals = list(running.logs.glob("journal-*.jsonl"))
    assert journals
    for journal in journals:
        shown = ask("replay", str(journal))
        assert shown.code == 0 and "equal" in shown.out, shown.out + shown.err


def test_a_journal_plays_again(gateway: TopstepxSim, desk: Make, ask: Ask) -> None:
    """With a position outside the config, across a restart with a bracket working, and a day on it."""
    gateway.deal("MES", Side.BUY, 1)
    first = desk(markets=[market(ENTER, trailing_stop_ticks=20)]).start()
    first.log.wait("position_unmanaged")
    enter(gateway, first)
    gateway.move("MES", "6910")
    gateway.move(MGC, "4103")
    eventually(lambda: calls(gateway, "Order/modify"))
    first.stop()
    assert_replays(first, ask)
    gateway.deal("MES", Side.BUY, 1)
    second = desk(markets=[market(ENTER, trailing_stop_ticks=20)]).start(until="account_synced")
    gateway.move("MES", "6911")
    gateway.move(MGC, "4110")
    gateway.move(MGC, "4090")
    second.log.wait("market_clean", 2)
    second.stop()
    assert_replays(second, ask)


def test_a_dry_run_plays_again(gateway: TopstepxSim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    """On paper a position survives a restart, and the journal of both runs says how."""
    (tmp_path / ".env").write_text("TOPSTEPX_USERNAME=demo\nTOPSTEPX_API_KEY=demo\n", encoding="utf-8")
    account = gateway.call(lambda server: server.venue.book.accounts[gateway.practice_id].name)
    changes = {"network": "live", "dry_run": True, "account": account, "markets": [market(ENTER)]}
    changes |= {"market_hub_url": gateway.market_hub_url, "user_hub_url": gateway.user_hub_url}
    first = BotThread(tmp_path, config(gateway, **changes), monkeypatch).start()
    for price in ("4101", "4101.1", "4101.2"):  # one told late belongs to a bar that is over
        gateway.move(MGC, price)
        if first.log.comes("protected ", 1, 5.0):
            break
    first.log.wait("protected ")
    first.stop()
    second = BotThread(tmp_path, config(gateway, **changes), monkeypatch).start(until="account_synced")
    second.log.wait("position_remembered")
    assert "reconcile_difference" not in second.log.text()
    gateway.move(MGC, "4090")
    second.log.wait("position_closed")
    second.log.wait("market_clean", 2)
    second.stop()
    second.log.check()
    assert gateway.trades() == [] and calls(gateway, "Order/place") == []
    assert_replays(second, ask)
    assert "demo" not in second.log.text()
