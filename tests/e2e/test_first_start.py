"""What a newcomer sees: the shipped configs on the venue that the bot starts by itself."""

import json
import sys
from pathlib import Path

import pytest

from config.settings import EXAMPLE_PATH, FOLDER
from tests.e2e.harness import BotProcess

SHIPPED = [EXAMPLE_PATH, FOLDER / "examples" / "topstepx-simulator.json"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_whole_trade_within_a_minute(path: Path, tmp_path: Path) -> None:
    """The embedded venue, prices, an entry, its stop at the venue, an exit, nothing left over; then a clean end."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    running = BotProcess(tmp_path, settings | {"health": {"enabled": True, "port": 0}})
    try:
        running.start()
        running.log.wait("position_closed", timeout_s=60)
        running.log.wait("market_clean", 2)
        running.log.in_order("starting", "WebSocket connected", "position_opened", "protected ", "position_closed")
        assert "orders=simulated" in running.log.wait("starting")
        if sys.platform != "win32":
            assert running.terminate() == 0
            assert "stopped exit_code=0" in running.log.text()
    finally:
        running.close()
    running.log.check()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_check_finds_nothing_wrong(path: Path, tmp_path: Path) -> None:
    ended = BotProcess(tmp_path, json.loads(path.read_text(encoding="utf-8"))).run("check", timeout_s=40)
    assert ended.returncode == 0 and "FAIL" not in ended.stdout, ended.stdout + ended.stderr
