"""P1 on TopstepX, the whole bot against the simulated gateway: what is late is named, and nothing is opened on it."""

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sim.topstepx_sim import TopstepxSim
from tests.e2e.harness import BotThread, eventually, field

QUARTER_S = 900.0
MARKET_DATA = (b'"GatewayQuote"', b'"GatewayTrade"')


def settings(sim: TopstepxSim) -> dict[str, Any]:
    """A strategy that wants in at every bar."""
    strategy = {"name": "always_long"}
    exits = {"stop_loss_ticks": 40}
    market = {"symbol": "MGC", "timeframe": "1s", "strategy": strategy, "size": {"quantity": 1}, "exits": exits}
    return {
        "venue": "topstepx",
        "network": "simulator",
        "api_url": sim.url,
        "dry_run": False,
        "markets": [market],
        "risk": {"max_daily_loss": None},
        "websocket": {"enabled": True, "reconnect_interval": 0.1, "max_reconnect_attempts": 2},
        "fallback": {"poll_interval": 1.0},
        "health": {"enabled": False},
    }


@pytest.fixture
def trade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[TopstepxSim, BotThread]]]:
    """A gateway whose prices move, and a bot on it: `trade(fault, **fields of TopstepxConfig)`."""
    made: list[tuple[TopstepxSim, BotThread]] = []

    def make(fault: dict[str, Any] | None = None, **fields: Any) -> tuple[TopstepxSim, BotThread]:
        sim = TopstepxSim(paused=False, **fields).start()
        if fault is not None:
            sim.fault(**fault)
        bot = BotThread(tmp_path, settings(sim), monkeypatch)
        made.append((sim, bot))
        bot.start()
        return sim, bot

    yield make
    for sim, bot in made:
        if bot.is_running:
            bot.stop()
        sim.stop()
        bot.log.check()


def first_data_ms(bot: BotThread) -> int:
    """When the first quote or trade was received, by the journal."""
    [journal] = bot.logs.glob("journal-*.jsonl")
    line = next(line for line in journal.read_bytes().splitlines() if any(kind in line for kind in MARKET_DATA))
    return int(json.loads(line)["ms"])


def logged_ms(line: str) -> int:
    return int(datetime.datetime.fromisoformat(line.split()[0]).timestamp() * 1000)


def source(bot: BotThread, name: str) -> dict[str, Any]:
    return dict(bot.status().get("markets", {}).get("MGC", {}).get("sources", {}).get(name, {}))


@pytest.mark.parametrize("what", ["hub", "both"])
def test_fifteen_minutes_are_named_within_five_seconds(
    trade: Callable[..., tuple[TopstepxSim, BotThread]], what: str
) -> None:
    sim, bot = trade(delay_s=QUARTER_S, delay_what=what)
    line = bot.log.wait("feed_verdict symbol=MGC verdict=delayed", timeout_s=8)
    assert logged_ms(line) - first_data_ms(bot) <= 5_000
    assert 899_000 < int(field(line, "trade_lag_ms")) < 905_000
    assert eventually(lambda: source(bot, "trades").get("verdict") == "delayed")
    bot.log.wait("Late price update", 2)  # ten bars later: each was over for the clock before its trades came
    assert sim.history() == []


def test_late_rest_beside_a_live_hub_is_said_and_is_no_fallback(
    trade: Callable[..., tuple[TopstepxSim, BotThread]],
) -> None:
    sim, bot = trade(delay_s=QUARTER_S, delay_what="rest")
    bot.log.wait("feed_verdict symbol=MGC verdict=real-time")
    line = bot.log.wait("rest_verdict symbol=MGC verdict=delayed")
    assert "would move neither entries nor exits" in line
    assert eventually(lambda: source(bot, "rest").get("verdict") == "delayed")
    assert source(bot, "quotes")["verdict"] == "real-time"
    eventually(lambda: (source(bot, "quotes").get("per_s") or 0) > 5, timeout_s=8)
    sim.fault("refuse_sockets")
    sim.drop_connections()
    bot.log.wait("Falling back to REST polling")
    bot.log.wait("feed_verdict symbol=MGC verdict=delayed before=real-time")


def test_a_clock_ninety_seconds_off_is_no_delay(trade: Callable[..., tuple[TopstepxSim, BotThread]]) -> None:
    _, bot = trade({"name": "clock_skew", "ms": 90_000})
    bot.log.wait("feed_verdict symbol=MGC verdict=real-time")
    assert eventually(lambda: 88_000 < bot.status().get("clock_offset_ms", 0) < 92_000)
    assert len(bot.log.lines("feed_verdict")) == 1
