"""The story of a day: connect, enter, protect, trail at the venue, exit, clean up."""

from collections.abc import Callable
from decimal import Decimal as D

from core.model import Side
from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, ENTER, BotThread, eventually, executed, field, held, market, stops


def test_enters_protects_trails_and_exits(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    rules = market(ENTER, trailing_stop_pct=0.5, trailing_activate_pct=0.4, trailing_step_pct=0.1)
    running = bot(markets=[rules]).start()
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


def test_the_next_trade_follows_the_last(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(markets=[market(ENTER, take_profit_pct=0.5)]).start()
    for number in (1, 2):
        sim.move("BTC", "50100")
        running.log.wait("protected ", number)
        sim.move("BTC", "50500")
        running.log.wait("market_clean", number + 1)
    assert executed(sim) == ["B", "A", "B", "A"] and stops(sim) == []
    assert field(running.log.wait("position_closed", 2), "reason") == "TAKE_PROFIT"


def test_the_venues_stop_closes_it(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """The mark alone moves: no trade tells the bot, the stop at the venue does the work."""
    running = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.set_price("BTC", "49400")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A"]
    assert field(running.log.wait("position_closed"), "reason") == "VENUE_STOP"


def test_both_exits_fire_together(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """P4: book, mark and trade cross the stop in one moment; however it ends, the position is closed once."""
    running = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.trade("BTC", "49400")  # ours, by the trade
    sim.set_mark("BTC", "49400")  # theirs, by the mark
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A"]


def test_a_partly_filled_exit_goes_on(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(markets=[market(take_profit_pct=1.0)]).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.fault("thin_book", fraction="0.5", times=1)
    sim.move("BTC", "50600")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A", "A"] and stops(sim) == []


def test_the_daily_loss_ends_the_day(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """Out of what is open, and no entry after it."""
    rules = market(ENTER, stop_loss_pct=5)
    running = bot(markets=[rules], risk={"max_daily_loss": 3, "max_price_age_s": 10}).start()
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    sim.move("BTC", "49700")  # 0.01 * 400 = 4
    running.log.wait("market_clean", 2)
    assert field(running.log.wait("position_closed"), "reason") == "DAILY_LOSS"
    sim.move("BTC", "50100")
    assert "daily loss" in running.log.wait("order_denied")
    assert executed(sim) == ["B", "A"]
