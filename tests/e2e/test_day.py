"""The story of a day: connect, enter, protect, trail at the venue, exit, clean up."""

from collections.abc import Callable
from decimal import Decimal as D

from sim.server import SimServer
from tests.e2e.harness import FOLLOW, BotThread, eventually, executed, field, held, market, stops


def test_enters_protects_trails_and_exits(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    exits = {"trailing_stop_pct": 0.5, "trailing_activate_pct": 0.4, "trailing_step_pct": 0.1}
    running = bot(markets=[market(strategy=FOLLOW, **exits)]).start()
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    assert held(sim) == D("0.01")
    first = stops(sim)
    assert len(first) == 1 and D("49500") < first[0] < D("49650")  # 1 % under the entry

    sim.move("BTC", "50600")  # 1 % up: the trail is on, 0.5 % under the best price
    eventually(lambda: stops(sim) == [D("50347")], what="the venue's stop has moved, and the old one is gone")

    sim.move("BTC", "50340")  # through the trail
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A"] and stops(sim) == []
    running.log.in_order(
        "WebSocket connected successfully", "signal ", "order_sent", "position_opened", "stop_confirmed", "protected ",
        "position_closed", "market_clean",
    )  # fmt: skip
    assert field(running.log.wait("position_closed"), "reason") in ("TRAILING_STOP", "VENUE_STOP")
    assert running.stop() == 0
