"""Guardian: positions opened by hand are adopted and protected, whatever the hand does next."""

from collections.abc import Callable
from decimal import Decimal as D

import pytest

from core.model import Side
from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, BotThread, eventually, executed, field, held, market, stops


@pytest.mark.parametrize(("side", "stop"), [(Side.BUY, "49500"), (Side.SELL, "50500")])
def test_adopts_what_it_finds(sim: SimServer, bot: Callable[..., BotThread], side: Side, stop: str) -> None:
    sim.deal(ACCOUNT, "BTC", side, "0.01")
    running = bot().start(until="protected ")
    assert stops(sim) == [D(stop)]
    assert field(running.log.wait("position_adopted"), "side") == side.value


def test_adopts_a_fill_made_by_hand_within_two_seconds(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    eventually(lambda: stops(sim) == [D("49500")], 2.0)
    sim.move("BTC", "49480")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A"]


def test_a_position_made_larger_by_hand_is_covered_whole(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(markets=[market(take_profit_pct=1)]).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.02")
    running.log.wait("position_changed")
    sim.move("BTC", "50600")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and D(sim.fills(ACCOUNT)[-1]["sz"]) == D("0.03")


def test_a_position_made_smaller_by_hand_is_never_oversold(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(markets=[market(take_profit_pct=1)]).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.03")
    running.log.wait("protected ")
    sim.deal(ACCOUNT, "BTC", Side.SELL, "0.02")
    running.log.wait("position_changed")
    sim.move("BTC", "50600")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A", "A"]


def test_a_position_closed_by_hand_leaves_no_stop(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """A leftover stop would guard the next trade at an old price (page 8.3)."""
    sim.fault("keep_stops_on_close")
    running = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.deal(ACCOUNT, "BTC", Side.SELL, "0.01")
    running.log.wait("market_clean", 2)
    assert stops(sim) == [] and held(sim) == 0


def test_markets_that_are_not_configured_are_named_and_left_alone(
    sim: SimServer, bot: Callable[..., BotThread]
) -> None:
    sim.deal(ACCOUNT, "ETH", Side.BUY, "0.5")
    running = bot().start()
    assert field(running.log.wait("position_unmanaged"), "symbol") == "ETH"
    assert sim.received("order") == []


def test_two_markets_are_guarded_apart(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    sim.move("ETH", "2000")
    running = bot(markets=[market(), market(symbol="ETH")]).start(until="market_clean symbol=ETH")
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    sim.deal(ACCOUNT, "ETH", Side.SELL, "0.1")
    running.log.wait("protected symbol=BTC")
    running.log.wait("protected symbol=ETH")
    sim.move("ETH", "2021")
    running.log.wait("market_clean symbol=ETH", 2)
    assert held(sim, "ETH") == 0 and held(sim) == D("0.01") and stops(sim) == [D("49500")]


def test_keeps_a_stop_that_is_there_and_tight_enough(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    sim.place(ACCOUNT, "BTC", Side.SELL, trigger="49700")
    bot().start(until="account_synced")
    eventually(lambda: sim.counters()["requests"].get("frontendOpenOrders", 0) > 0)
    assert stops(sim) == [D("49700")] and sim.received("order") == []


def test_a_position_flipped_by_hand_gets_a_stop_of_the_other_side(
    sim: SimServer, bot: Callable[..., BotThread]
) -> None:
    """What a hand has turned round is the hand's wish: guarded, not closed."""
    running = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.deal(ACCOUNT, "BTC", Side.SELL, "0.02")
    eventually(lambda: stops(sim) == [D("50500")] or held(sim) == 0)
    assert held(sim) == D("-0.01") and stops(sim) == [D("50500")]
