"""Answers that do not come, or are no answers: one execution at the venue, and the position protected (P2, P3)."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from core.model import Side
from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, ENTER, BotThread, eventually, executed, field, held, market, stops

LOST = {  # the order may have gone through, or not; the answer does not say
    "answer lost": ("drop_answer", {"action": "order"}),
    "request lost": ("lost_request", {"action": "order"}),
    "429": ("http_429", {"path": "/exchange"}),
    "500 in HTML": ("http_error", {"path": "/exchange", "status": 500}),
    "half a body": ("partial_json", {"path": "/exchange"}),
    "HTML with 200": ("html_200", {"path": "/exchange"}),
    "empty body": ("empty_body", {"path": "/exchange"}),
}
ORDER_LOST = dict(list(LOST.items())[:4])


@pytest.mark.parametrize(("fault", "args"), ORDER_LOST.values(), ids=ORDER_LOST)
def test_an_exit(sim: SimServer, bot: Callable[..., BotThread], fault: str, args: dict[str, Any]) -> None:
    running = bot(markets=[market(take_profit_pct=1.0)]).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.fault("late_user_frames", ms=300)  # or the fill would tell before the answer is missed
    sim.fault(fault, times=1, **args)
    sim.move("BTC", "50600")
    running.log.wait("order_unknown")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A"] and stops(sim) == []


@pytest.mark.parametrize(("fault", "args"), LOST.values(), ids=LOST)
def test_a_stop(sim: SimServer, bot: Callable[..., BotThread], fault: str, args: dict[str, Any]) -> None:
    running = bot().start()
    sim.fault(fault, times=1, **args)
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    protected = running.log.wait("protected ")
    assert int(field(protected, "unprotected_ms")) < 2_000
    assert held(sim) == D("0.01") and stops(sim) == [D("49500")]


def test_entries(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """What was not executed is not sent again; what was is found, and protected."""
    running = bot(markets=[market(ENTER)]).start()
    sim.fault("http_error", times=1, path="/exchange", status=500)
    sim.move("BTC", "50100")
    settled = running.log.wait("order_settled")
    assert field(settled, "status") == "REJECTED" and executed(sim) == []
    running.log.wait("market_clean", 2)
    sim.fault("drop_answer", times=1, action="order")
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    assert executed(sim) == ["B"] and held(sim) == D("0.01") and len(stops(sim)) == 1


@pytest.mark.parametrize("late_ms", [100, 900])
def test_an_exit_that_arrives_late(sim: SimServer, bot: Callable[..., BotThread], late_ms: int) -> None:
    """The connection breaks, the order goes on its way all the same: the noop and it race, and the book says once."""
    running = bot(markets=[market(take_profit_pct=1.0)]).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.fault("late_order", times=1, action="order", ms=late_ms)
    sim.move("BTC", "50600")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A"]


def test_a_slow_answer_in_one_market_delays_no_exit_in_another(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """P5."""
    sim.move("ETH", "2000")
    both = [market(take_profit_pct=1.0), market(symbol="ETH", take_profit_pct=1.0)]
    running = bot(markets=both).start(until="market_clean symbol=ETH")
    for symbol, size in (("BTC", "0.01"), ("ETH", "0.1")):
        sim.deal(ACCOUNT, symbol, Side.BUY, size)
        running.log.wait(f"protected symbol={symbol}")
    sim.fault("slow_answer", times=1, action="order", ms=1_500)
    sim.move("BTC", "50600")
    eventually(lambda: held(sim) == 0)
    sim.move("ETH", "2030")
    eventually(lambda: held(sim, "ETH") == 0, 0.5, "the other market's exit")
    running.log.wait("market_clean", 4)


def test_a_stop_the_venue_lists_late(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot().start()
    sim.fault("hide_triggers", ms=700)
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    assert stops(sim) == [D("49500")] and len(sim.received("order")) == 1


def test_a_stop_that_is_always_refused_ends_the_position(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """P2: not longer than two seconds without one."""
    running = bot().start()
    sim.fault("reject", error="Too many open orders")
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    late = running.log.wait("unprotected ")
    assert 2_000 < int(field(late, "for_ms")) < 2_500
    sim.clear_fault()
    running.log.wait("market_clean", 2)
    assert executed(sim) == ["B", "A"]


def test_refused_entries_end_in_a_halt(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(markets=[market(ENTER)], risk={"max_daily_loss": None, "max_price_age_s": 10, "max_order_errors": 1})
    running.start()
    sim.fault("reject", error="Insufficient margin to place order. asset=0")
    sim.move("BTC", "50100")
    running.log.wait("order_rejected")
    running.log.wait("halted")
    assert executed(sim) == []


def test_the_whole_venue_away_and_back(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """Nothing answers for a while; when it does again the crossing is acted on."""
    running = bot(markets=[market(take_profit_pct=1.0)]).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.fault("refuse_sockets")
    sim.fault("http_drop")
    sim.drop_connections()
    running.log.wait("read_failed")
    sim.move("BTC", "50600")
    sim.clear_fault()
    running.log.wait("market_clean", 2, timeout_s=8)
    assert held(sim) == 0 and executed(sim) == ["B", "A"]
    running.log.wait("WebSocket restored", timeout_s=8)


def test_broken_frames_are_skipped(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot().start()
    for text in ("{", "[]", '{"channel":"trades","data":[{"coin":"BTC","px":"-1"}]}', '{"channel":"trades","data":7}',
                 '{"channel":"nobody","data":1}', "null"):  # fmt: skip
        sim.fault("raw_frame", text=text)
    running.log.wait("bad_frame")
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    assert "WebSocket connection closed" not in running.log.text()


def test_fills_before_answers_and_frames_in_any_order(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(markets=[market(take_profit_pct=1.0)]).start()
    for fault, args in (("fill_before_ack", {"ms": 200}), ("late_user_frames", {"ms": 200}),
                        ("duplicate_frames", {}), ("reorder_frames", {})):  # fmt: skip
        cleaned = len(running.log.lines("market_clean"))
        protected = len(running.log.lines("protected "))
        sim.fault(fault, **args)
        sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
        running.log.wait("protected ", protected + 1)
        sim.move("BTC", "50600")
        running.log.wait("market_clean", cleaned + 1)
        sim.clear_fault()
        assert held(sim) == 0 and stops(sim) == []
        sim.move("BTC", "50000")
    assert executed(sim) == ["B", "A"] * 4
