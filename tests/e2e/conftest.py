import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sim.__main__ import clock_us
from sim.server import SimServer
from sim.topstepx_sim import TopstepxSim
from tests.e2e import futures
from tests.e2e.harness import (
    ACCOUNT,
    KEY,
    BotProcess,
    BotThread,
    assert_once,
    config,
    extend_strategies,
    hurry,
    process_settings,
)


@pytest.fixture
def sim() -> Iterator[SimServer]:
    with SimServer(seed=1) as server:
        server.fund(ACCOUNT)
        server.move("BTC", "50000")
        yield server
        assert_once(server)


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Locks and secrets of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("HYPERLIQUID_PRIVATE_KEY", "HYPERLIQUID_ACCOUNT_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text(f"HYPERLIQUID_PRIVATE_KEY={KEY}\n", encoding="utf-8")
    extend_strategies(monkeypatch)
    hurry(monkeypatch)
    with process_settings():
        yield


@pytest.fixture
def bot(sim: SimServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., BotThread]]:
    """Makes a bot on a thread: `bot(**changes of the config)`. Stopped at the end, and its log looked through."""
    yield from bots(lambda changes: config(sim, **changes), tmp_path, monkeypatch)


def bots(
    config_of: Callable[[dict[str, Any]], dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., BotThread]]:
    made: list[BotThread] = []

    def make(**changes: Any) -> BotThread:
        made.append(BotThread(folder, config_of(changes), monkeypatch))
        return made[-1]

    yield make
    for one in made:
        if one.is_running:
            one.stop()
    for one in made:
        one.log.check()
        assert "Traceback" not in one.console.getvalue()


@pytest.fixture
def process(sim: SimServer, tmp_path: Path) -> Iterator[Callable[..., BotProcess]]:
    """Makes a bot process: `process(**changes of the config)`."""
    made: list[BotProcess] = []

    def make(key: str = KEY, **changes: Any) -> BotProcess:
        made.append(BotProcess(tmp_path, config(sim, **changes), key))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.log.check()


@pytest.fixture
def gateway() -> Iterator[TopstepxSim]:
    with TopstepxSim(seed=1) as server:
        server.move("MGC", "4100")
        yield server


@pytest.fixture
def noon_gateway() -> Iterator[TopstepxSim]:
    """Where it is noon in Chicago on a trading day: a bot of the live network keeps the exchange's hours."""
    with TopstepxSim(seed=1, clock_us=clock_us("2026-11-24T12:00:00-06:00")) as server:
        server.move("MGC", "4100")
        yield server


@pytest.fixture
def desk(gateway: TopstepxSim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., BotThread]]:
    """Makes a bot on the simulated TopstepX: `desk(**changes of the config)`."""
    yield from bots(lambda changes: futures.config(gateway, **changes), tmp_path, monkeypatch)
