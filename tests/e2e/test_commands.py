"""check, status, flatten and replay, beside a running bot and without one."""

import contextlib
import io
import json
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

import commands
import trading_bot
from config.credentials import load_secrets
from core.model import Side
from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, ENTER, BotThread, config, eventually, executed, held, market, stops


class Shown:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def ask(sim: SimServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shown]:
    """`ask("check")`: one command with the config of these tests (`changes` of it), as the user types it."""
    monkeypatch.setattr(commands, "load_secrets", lambda: load_secrets(tmp_path / ".env"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, **changes: Any) -> Shown:
        path = tmp_path / "command.json"
        path.write_text(json.dumps(config(sim, **changes)), encoding="utf-8")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = trading_bot.main(["--config", str(path), "--logs", str(tmp_path / "logs"), *arguments])
        assert "Traceback" not in out.getvalue() + err.getvalue()
        return Shown(code, out.getvalue(), err.getvalue())

    return run


Ask = Callable[..., Shown]


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_passes(sim: SimServer, ask: Ask) -> None:
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    shown = ask("check")
    assert shown.code == 0 and "FAIL" not in shown.out
    for question in ("venue reachable", "credentials", "clock", "account", "request budget", "BTC data", "BTC rules"):
        assert question in shown.out
    assert sim.received() == [], "nothing is traded"


def test_check_names_what_fails(sim: SimServer, ask: Ask) -> None:
    sim.fault("delayed_data", ms=900_000)
    shown = ask("check")
    assert shown.code == 1 and "FAIL" in shown.out


def test_check_without_the_venue(sim: SimServer, ask: Ask) -> None:
    sim.fault("http_error", status=502)
    shown = ask("check")
    assert shown.code == 1 and "venue reachable" in shown.out


def test_check_with_a_refused_key(ask: Ask) -> None:
    assert ask("check", account="0x" + "ab" * 20).code == 3


def test_check_with_an_unknown_symbol(ask: Ask) -> None:
    shown = ask("check", markets=[market(symbol="BTC-USD")])
    assert shown.code != 0 and 'did you mean "BTC"?' in shown.out + shown.err


def test_check_without_a_key(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("", encoding="utf-8")
    shown = ask("check")
    assert shown.code == 2 and "HYPERLIQUID_PRIVATE_KEY" in shown.err


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_of_a_running_bot(sim: SimServer, bot: Callable[..., BotThread], ask: Ask) -> None:
    assert ask("status").code == 1, "none has run here yet"
    running = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    eventually(lambda: "venue stop at 49500" in ask("status").out)
    shown = ask("status", "--json")
    position = json.loads(shown.out)["markets"]["BTC"]["position"]
    assert shown.code == 0 and position["protected_at_venue"] and D(position["stop"]) == D("49500")


def test_status_after_the_bot_has_ended(sim: SimServer, bot: Callable[..., BotThread], ask: Ask) -> None:
    bot().start().stop()
    assert ask("status").code == 1


# --- flatten ----------------------------------------------------------------------------------------------------------


def test_flatten_without_a_bot(sim: SimServer, ask: Ask) -> None:
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    sim.deal(ACCOUNT, "ETH", Side.SELL, "0.5")
    sim.place(ACCOUNT, "BTC", Side.SELL, trigger="49000")
    sim.place(ACCOUNT, "BTC", Side.BUY, "0.01", price="40000")
    shown = ask("flatten", "--yes")
    assert shown.code == 0 and "flat: no positions, no working orders" in shown.out
    assert held(sim) == 0 and held(sim, "ETH") == 0 and sim.orders(ACCOUNT) == []
    again = ask("flatten", "--yes")
    assert again.code == 0 and "flat already" in again.out


def test_flatten_beside_a_running_bot(sim: SimServer, bot: Callable[..., BotThread], ask: Ask) -> None:
    """The bot does not fight it, and opens nothing any more."""
    running = bot(markets=[market(ENTER)]).start()
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    assert ask("flatten", "--yes").code == 0
    assert held(sim) == 0 and sim.orders(ACCOUNT) == []
    running.log.wait("market_clean", 2)
    assert executed(sim) == ["B", "A"]
    sim.move("BTC", "50100")
    assert "flatten" in running.log.wait("order_denied")


def test_flatten_of_a_flat_account_stands_the_bot_down_too(
    sim: SimServer, bot: Callable[..., BotThread], ask: Ask
) -> None:
    """Or the next signal opens what was to stay closed."""
    running = bot(markets=[market(ENTER)]).start()
    shown = ask("flatten", "--yes")
    assert shown.code == 0 and "flat already" in shown.out
    running.log.wait("flatten was asked for")
    sim.move("BTC", "50100")
    assert "flatten" in running.log.wait("order_denied")
    assert executed(sim) == []


def test_flatten_over_lost_answers(sim: SimServer, ask: Ask) -> None:
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    sim.fault("drop_answer", action="order", times=1)
    assert ask("flatten", "--yes").code == 0
    assert executed(sim) == ["B", "A"] and held(sim) == 0


def test_flatten_asks_first(sim: SimServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    for answer in ("", "no\n", "y\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        shown = ask("flatten")
        assert shown.code == 1 and "nothing was done" in shown.out and "0.01" in shown.out
    assert held(sim) == D("0.01")
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert ask("flatten").code == 0 and held(sim) == 0


def test_flatten_while_the_venue_stumbles(sim: SimServer, ask: Ask) -> None:
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    sim.fault("http_429", path="/exchange", times=1)
    assert ask("flatten", "--yes").code == 0 and held(sim) == 0
    sim.fault("http_error", status=502)
    shown = ask("flatten", "--yes")
    assert shown.code == 1 and shown.err.startswith("flatten: ")


def test_flatten_on_paper_asks_the_bot(sim: SimServer, bot: Callable[..., BotThread], ask: Ask) -> None:
    running = bot(dry_run=True, markets=[market(ENTER)]).start()
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    shown = ask("flatten", "--yes", dry_run=True)
    assert shown.code == 0 and "flat" in shown.out
    running.log.wait("position_closed")
    assert sim.received() == []


# --- replay -----------------------------------------------------------------------------------------------------------


def journal_of(folder: Path) -> Path:
    (path,) = (folder / "logs").glob("journal-*.jsonl")
    return path


def a_busy_day(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """A trade of the strategy, a lost answer, a broken connection, and a restart with a position."""
    rules = [market(ENTER, take_profit_pct=0.5)]
    running = bot(markets=rules).start()
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    sim.fault("drop_answer", action="order", times=1)
    sim.move("BTC", "50600")
    running.log.wait("market_clean", 2)
    sim.drop_connections()
    running.log.wait("WebSocket restored")
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ", 2)
    running.stop()
    running = bot(markets=rules).start(until="account_synced")
    sim.move("BTC", "51200")
    running.log.wait("market_clean", 3)
    running.stop()


def test_a_recorded_day_replays_equal(sim: SimServer, bot: Callable[..., BotThread], ask: Ask, tmp_path: Path) -> None:
    """P12: the same events give the same actions, byte for byte."""
    a_busy_day(sim, bot)
    shown = ask("replay", str(journal_of(tmp_path)))
    assert shown.code == 0, shown.out
    assert "equal" in shown.out and stops(sim) == []

    path = journal_of(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    order = next(line for line in lines if b'"Submit"' in line)
    (tmp_path / "other.jsonl").write_bytes(
        b"".join(lines).replace(order, order.replace(b'"size":"0.01', b'"size":"0.02'))
    )
    changed = ask("replay", str(tmp_path / "other.jsonl"))
    assert changed.code == 1 and "different" in changed.out


@pytest.mark.parametrize("content", [None, b"", b"no journal\n", b'{"event":{"type":"Tick","received_ms":1}}\n'])
def test_replay_of_something_else(ask: Ask, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "odd.jsonl"
    if content is not None:
        path.write_bytes(content)
    shown = ask("replay", str(path))
    assert shown.code == 2 and shown.err.startswith("replay: ")
