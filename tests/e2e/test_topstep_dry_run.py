"""Real prices of the gateway, orders matched here: nothing is placed there, not even looked at."""

from pathlib import Path

import pytest

from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import ENTER, MGC, calls, config, market
from tests.e2e.harness import BotThread, field


def test_a_dry_run_trades_on_paper(gateway: TopstepxSim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("TOPSTEPX_USERNAME=demo\nTOPSTEPX_API_KEY=demo\n", encoding="utf-8")
    account = gateway.call(lambda server: server.venue.book.accounts[gateway.practice_id].name)
    changes = {"network": "live", "dry_run": True, "account": account, "markets": [market(ENTER)]}
    changes |= {"market_hub_url": gateway.market_hub_url, "user_hub_url": gateway.user_hub_url}
    monkeypatch.setattr("config.rules._hours", lambda settings: None)  # whatever the time in Chicago
    running = BotThread(tmp_path, config(gateway, **changes), monkeypatch).start()
    for _ in range(4):  # a bar that closes before the bot may enter is followed by another
        gateway.move(MGC, "4101")
        if running.log.comes("protected ", 1, within_s=2.5):
            break
        gateway.move(MGC, "4100")
    running.log.wait("protected ")
    gateway.move(MGC, "4113")
    line = running.log.wait("position_closed")
    assert field(line, "reason") in ("TAKE_PROFIT", "VENUE_TARGET")
    running.log.wait("market_clean", 2)
    assert gateway.trades() == [] and calls(gateway, "Order/place", "SubscribeOrders") == []
    assert "orders=paper" in running.log.wait("starting")
    assert running.stop() == 0
    running.log.check()
    assert "demo" not in running.log.text()
