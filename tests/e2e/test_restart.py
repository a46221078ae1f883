"""Restart is start (P7): what the journal remembers, then what the venue says. A killed process loses no order (P6)."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal as D

from core.model import Side
from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, ENTER, BotProcess, BotThread, eventually, executed, field, held, market, stops

TRAIL = market(trailing_stop_pct=0.5, trailing_activate_pct=0.4)


def test_kill_9_with_a_trailing_position(sim: SimServer, process: Callable[..., BotProcess]) -> None:
    running = process(markets=[TRAIL]).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.move("BTC", "50600")
    sim.wait_until(lambda: stops(sim) == [D("50347")])
    running.kill()
    sim.move("BTC", "50400")
    before = sim.counters()["requests"]

    running = process(markets=[TRAIL]).start(until="account_synced")
    remembered = running.log.wait("position_remembered")
    assert D(field(remembered, "trail_price")) == D("50347")
    eventually(lambda: sim.counters()["requests"]["frontendOpenOrders"] > before["frontendOpenOrders"])
    assert stops(sim) == [D("50347")]
    assert running.terminate() == 0
    assert "left_protected" in running.shown() and "stop=50347" in running.shown()
    assert sim.counters()["requests"]["order"] == before["order"], "no second order"
    assert "reconcile_difference" not in running.log.text()


def test_kill_9_with_an_unanswered_entry(sim: SimServer, process: Callable[..., BotProcess]) -> None:
    """Written before it was sent: the next run asks what became of it, and protects what it finds."""
    sim.fault("slow_answer", action="order", ms=60_000, times=1)
    sim.fault("late_user_frames", ms=60_000)
    breakout = market({"name": "donchian_breakout", "period": 2}) | {"timeframe": "1s"}
    running = process(markets=[breakout]).start()
    sim.move("BTC", "50200")
    sim.wait_until(lambda: executed(sim) == ["B"])
    running.kill()
    assert "position_opened" not in running.log.text()
    sim.clear_fault()

    running = process(markets=[market()]).start(until="stop_confirmed")
    settled = running.log.wait("order_settled")
    assert field(settled, "status") == "FILLED"
    assert field(running.log.wait("purpose=STOP"), "client_id") != field(settled, "client_id")
    assert executed(sim) == ["B"] and held(sim) == D("0.01") and len(stops(sim)) == 1


def test_a_stop_that_fired_meanwhile(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    first = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    first.log.wait("protected ")
    assert first.stop() == 0
    assert "left_protected" in first.log.text()
    sim.set_price("BTC", "49400")
    assert held(sim) == 0

    second = bot().start()
    assert executed(sim) == ["B", "A"] and stops(sim) == []
    assert second.stop() == 0
    assert "position_closed" in second.log.text()
    with closing(sqlite3.connect(second.logs / "ledger.db")) as ledger:
        rows = ledger.execute("SELECT side, price FROM fills ORDER BY time_ms").fetchall()
    assert [side for side, _ in rows] == ["BUY", "SELL"], "both executions are booked, each once"


def test_a_position_that_grew_meanwhile(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    first = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    first.log.wait("protected ")
    first.stop()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.02", "50100")

    second = bot(markets=[market(take_profit_pct=1)]).start(until="account_synced")
    sim.move("BTC", "50700")
    second.log.wait("market_clean", 2)
    assert held(sim) == 0 and D(sim.fills(ACCOUNT)[-1]["sz"]) == D("0.03")


def test_a_stop_taken_away_meanwhile_is_placed_again(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    first = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    first.log.wait("protected ")
    first.stop()
    sim.cancel(ACCOUNT)
    bot().start(until="protected ")
    assert stops(sim) == [D("49500")]


def test_a_crossed_level_is_acted_on_at_start(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """The market went through the stop while nobody watched, and the venue's stop was gone."""
    first = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    first.log.wait("protected ")
    first.stop()
    sim.cancel(ACCOUNT)
    sim.move("BTC", "49300")
    second = bot().start()
    assert held(sim) == 0 and executed(sim) == ["B", "A"]
    assert field(second.log.wait("position_closed"), "reason") == "STOP_LOSS"


def test_each_account_has_its_own_memory(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    first = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    first.log.wait("protected ")
    first.stop()
    paper = bot(dry_run=True).start()
    assert "position_remembered" not in paper.log.text() and "position_adopted" not in paper.log.text()
    paper.stop()
    third = bot().start(until="account_synced")
    assert "position_remembered" in third.log.text() and "reconcile_difference" not in third.log.text()


def test_orders_in_the_ledger(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(markets=[market(ENTER, take_profit_pct=0.5)]).start()
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    sim.move("BTC", "50600")
    running.log.wait("market_clean", 2)
    running.stop()
    with closing(sqlite3.connect(running.logs / "ledger.db")) as ledger:
        orders = ledger.execute("SELECT side, type, status FROM orders ORDER BY sent_ms, client_id").fetchall()
        fills = ledger.execute("SELECT side, client_id FROM fills ORDER BY time_ms").fetchall()
    assert orders == [("BUY", "MARKET", "FILLED"), ("SELL", "STOP", "CANCELED"), ("SELL", "MARKET", "FILLED")]
    assert [side for side, _ in fills] == ["BUY", "SELL"] and None not in dict(fills).values()
