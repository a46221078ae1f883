"""Dry run: the venue's prices, no order ever sent there; no key needed."""

from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path

import pytest

from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, ENTER, BotThread, field, market


@pytest.fixture(autouse=True)
def no_key(own_world: None, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("", encoding="utf-8")


def signed(sim: SimServer) -> list[str]:
    """Everything that reached /exchange."""
    return [received.kind for received in sim.received()]


def test_a_day_on_paper(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    rules = market(ENTER, trailing_stop_pct=0.5, trailing_activate_pct=0.4)
    running = bot(dry_run=True, markets=[rules]).start()
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    sim.move("BTC", "50600")
    trailed = running.log.wait("stop_confirmed", 2)
    assert D(field(trailed, "trigger_price")) == D("50347")
    sim.move("BTC", "50340")
    closed = running.log.wait("position_closed")
    running.log.wait("market_clean", 2)
    assert field(closed, "reason") in ("TRAILING_STOP", "VENUE_STOP")
    assert signed(sim) == [] and sim.fills(ACCOUNT) == []


def test_a_position_on_paper_survives_a_restart(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    first = bot(dry_run=True, markets=[market(ENTER)]).start()
    sim.move("BTC", "50100")
    first.log.wait("protected ")
    assert first.stop() == 0
    assert "left_protected" in first.log.text()
    second = bot(dry_run=True, markets=[market(ENTER, take_profit_pct=1)]).start(until="account_synced")
    assert field(second.log.wait("position_remembered"), "side") == "BUY"
    assert "reconcile_difference" not in second.log.text()
    sim.move("BTC", "50700")
    second.log.wait("market_clean", 2)
    assert signed(sim) == []


def test_on_paper_without_a_stream(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    first = bot(dry_run=True, markets=[market(ENTER)]).start()
    sim.move("BTC", "50100")
    first.log.wait("protected ")
    first.stop()
    second = bot(dry_run=True, markets=[market()], websocket={"enabled": False}).start(until="account_synced")
    sim.set_price("BTC", "49400")
    second.log.wait("position_closed")
    assert signed(sim) == [] and sim.counters()["sockets_open"] == 0
