"""The stream goes and comes back; REST takes over in between (design 4.3)."""

import time
from collections.abc import Callable
from decimal import Decimal as D

from core.model import Side
from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, ENTER, BotThread, eventually, executed, field, held, market, stops

MINUTE_MS = 60_000


def test_disconnect_and_return(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot().start()
    sim.drop_connections()
    running.log.wait("WebSocket restored, REST polling stopped")
    running.log.in_order("WebSocket connected successfully", "WebSocket connection closed",
                         "Falling back to REST polling", "WebSocket restored, REST polling stopped")  # fmt: skip
    running.log.in_order("WebSocket connection closed", "Error in WebSocket listener: ",
                         "Reconnecting in 0.1s (attempt 1/3)...", "Subscribed to WebSocket trades for BTC",
                         "WebSocket connected successfully", "REST polling stopped")  # fmt: skip
    sim.trade("BTC", "50050")
    running.log.wait("Real-time price update: $50050.00")


def test_a_fill_missed_while_away_is_found(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot().start()
    sim.fault("refuse_sockets")
    sim.drop_connections()
    running.log.wait("Falling back to REST polling")
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    sim.clear_fault()
    running.log.wait("protected ")
    assert stops(sim) == [D("49500")]


def test_an_exit_during_fallback(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    once = {"enabled": True, "reconnect_interval": 0.1, "max_reconnect_attempts": 1}
    running = bot(markets=[market(take_profit_pct=1.0)], websocket=once).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.fault("refuse_sockets")
    sim.drop_connections()
    running.log.wait("fallback_declared")
    sim.set_price("BTC", "50600")  # no trade: only who asks knows
    running.log.wait("position_closed")
    assert eventually(lambda: running.status().get("websocket", {}).get("mode") == "rest_fallback")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A"] and stops(sim) == []
    assert field(running.log.wait("position_closed"), "reason") == "TAKE_PROFIT"
    sim.clear_fault()
    running.log.wait("WebSocket restored, REST polling stopped", timeout_s=20)


def test_silence_is_noticed_within_seconds(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """P1: the socket stays open and says nothing."""
    running = bot().start()
    sim.fault("stall")
    before_s = time.monotonic()
    running.log.wait("Falling back to REST polling", timeout_s=8)
    assert time.monotonic() - before_s < 6  # five, and what a busy machine needs
    assert "mute" in running.log.wait("Error in WebSocket listener: ")


def test_rest_only(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """websocket.enabled false: adopted, protected, trailed and closed by polled prices."""
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    rules = market(trailing_stop_pct=0.5, trailing_activate_pct=0.4, take_profit_pct=3)
    running = bot(markets=[rules], websocket={"enabled": False}).start(until="protected ")
    sim.set_price("BTC", "50600")
    eventually(lambda: stops(sim) == [D("50347")], what="the venue's stop has moved")
    sim.set_price("BTC", "51600")
    running.log.wait("market_clean", timeout_s=20)
    assert held(sim) == 0 and executed(sim) == ["B", "A"] and stops(sim) == []
    assert sim.counters()["sockets_ever"] == 0
    assert "WebSocket connected" not in running.log.text()
    assert "Polled price update: $50600.00" in running.log.text()


def test_rest_only_strategy_on_the_venues_bars(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """The strategy is asked when a bar read over REST has closed; by the venue's clock, which is not ours here."""
    into_minute_ms = sim.call(lambda server: server.venue.now_ms()) % MINUTE_MS
    sim.advance(2 * MINUTE_MS - into_minute_ms - 5_000)  # before a bar ends; a busy machine needs time to start
    sim.move("BTC", "50100")
    rules = market(ENTER) | {"timeframe": "1m"}
    running = bot(markets=[rules], websocket={"enabled": False}, check_interval=3).start()
    running.log.wait("protected ", timeout_s=25)
    assert executed(sim) == ["B"] and held(sim) == D("0.01")


def test_delayed_data_stop_entries(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """P1: fifteen minutes old, however lively; said in the log and in health."""
    sim.fault("delayed_data", ms=15 * MINUTE_MS)
    running = bot(markets=[market(ENTER)]).start()
    sim.move("BTC", "50100")
    running.log.wait("verdict=delayed")
    assert eventually(lambda: running.status().get("markets", {}).get("BTC", {}).get("verdict") == "delayed")
    sim.move("BTC", "50100")
    eventually(lambda: running.log.lines("order_denied") or running.log.lines("signal "))
    running.log.wait("order_denied")
    assert executed(sim) == []
