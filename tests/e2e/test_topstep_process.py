"""The program on TopstepX as its user meets it: a clean stop, one bot an account, and nothing secret in any file."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.model import Side
from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import MGC, config, stops
from tests.e2e.harness import BotProcess
from tests.e2e.test_process import windows


@pytest.fixture
def program(
    gateway: TopstepxSim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., BotProcess]]:
    """Makes the program with real orders on the practice account: `program(**changes of the config)`."""
    monkeypatch.setenv("TOPSTEPX_USERNAME", gateway.user)
    monkeypatch.setenv("TOPSTEPX_API_KEY", gateway.api_key)
    made: list[BotProcess] = []

    def make(folder: Path = tmp_path, **changes: Any) -> BotProcess:
        asked = {"network": "live", "dry_run": False, "account": str(gateway.practice_id), "prop_rules": None}
        folder.mkdir(exist_ok=True)
        made.append(BotProcess(folder, config(gateway, **(asked | changes))))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.log.check()


Program = Callable[..., BotProcess]


@windows
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_within_five_seconds(gateway: TopstepxSim, program: Program, number: signal.Signals) -> None:
    running = program().start()
    gateway.deal(MGC, Side.BUY, 2)
    running.log.wait("protected ")
    [(level, size)] = stops(gateway)
    before_s = time.monotonic()
    assert running.terminate(number=number) == 0 and time.monotonic() - before_s < 5
    assert re.search(rf"left_protected .*stop={level}", running.shown())
    running.log.in_order("stopping", "left_protected", "stopped exit_code=0")
    assert stops(gateway) == [(level, size)] and gateway.position(MGC) == size == 2


@windows
def test_it_stops_within_five_seconds_while_the_venue_hangs(gateway: TopstepxSim, program: Program) -> None:
    """With a change of the stop, a read and both hubs hanging: their waits do not add up."""
    running = program().start()
    gateway.deal(MGC, Side.BUY, 1)
    running.log.wait("protected ")
    gateway.fault("slow_answer", ms=30_000)
    gateway.deal(MGC, Side.BUY, 1)
    running.log.wait("position_changed")
    gateway.fault("stall")
    before_s = time.monotonic()
    assert running.terminate() == 0 and time.monotonic() - before_s < 5
    assert "left_" in running.shown()


def test_a_second_bot_on_the_same_account_is_refused(gateway: TopstepxSim, program: Program, tmp_path: Path) -> None:
    """By the account, not by how the config names it (P11)."""
    first = program().start()
    name = gateway.account()["name"]
    ended = program(tmp_path / "second", account=name).run()
    assert ended.returncode == 2
    assert f"another bot trades this account already, process id {first.pid}" in ended.stdout


def test_a_login_that_is_missing_or_refused(
    gateway: TopstepxSim, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOPSTEPX_API_KEY", "somebody-elses-key")
    ended = program().run()
    assert ended.returncode == 3 and "credentials_refused" in ended.stdout
    assert "somebody-elses-key" not in ended.stdout + ended.stderr
    assert gateway.counters()["sockets_ever"] == 0


def test_an_unknown_account_or_ticker_is_refused_with_near_names(gateway: TopstepxSim, program: Program) -> None:
    name = gateway.account()["name"]
    ended = program(account=name[:-1]).run()
    assert ended.returncode == 3 and "no account PRAC-V2-" in ended.stdout and "it has PRAC-V2-" in ended.stdout
    assert name not in ended.stdout and name[:-1] not in ended.stdout  # shortened: a log is shown to others
    ended = program(markets=[{"symbol": "MGCC", "strategy": None, "exits": {"stop_loss_ticks": 50}}]).run()
    assert ended.returncode == 2 and 'did you mean "MGC"?' in ended.stderr


def test_nothing_secret_in_any_file(gateway: TopstepxSim, program: Program) -> None:
    """P10, through logins, refused tokens, closed hubs and a lost answer, with everything logged that can be."""
    running = program(logging={"level": "DEBUG", "price_every_s": 0}).start()
    gateway.deal(MGC, Side.BUY, 1)
    running.log.wait("protected ")
    gateway.expire_tokens(close=True)
    running.log.wait("stream_up", 4)
    gateway.close_hubs("Invalid token", allow_reconnect=False)
    running.log.wait("stream_up", 6)
    gateway.fault("drop_answer", action="Order/modify", times=1)
    gateway.deal(MGC, Side.BUY, 1)
    running.log.wait("position_changed")
    running.close()
    tokens = gateway.call(lambda server: {name for token in server.tokens._known for name in token.split(".")[1:]})
    assert len(tokens) >= 3
    secrets = [gateway.api_key, *tokens]
    files = [path for path in running.logs.iterdir() if path.is_file()]
    assert {path.suffix for path in files} >= {".log", ".jsonl", ".db", ".json"}
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path.name
    assert not [secret for secret in secrets if secret in running.shown()]
    name, number = gateway.account()["name"], str(gateway.practice_id)
    for path in files:
        if path.suffix != ".jsonl":  # the journal keeps the venue's frames as they came
            assert name.encode() not in path.read_bytes() and number.encode() not in path.read_bytes(), path.name
