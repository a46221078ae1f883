"""What goes wrong beyond the table of `tests/faults`: with entries, with two markets, with frames that are nonsense."""

from collections.abc import Callable
from decimal import Decimal as D

from core.model import Side
from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, ENTER, BotThread, eventually, executed, field, held, market, stops


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


def test_refused_entries_end_in_a_halt(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(markets=[market(ENTER)], risk={"max_daily_loss": None, "max_price_age_s": 10, "max_order_errors": 1})
    running.start()
    sim.fault("reject", error="Insufficient margin to place order. asset=0")
    sim.move("BTC", "50100")
    running.log.wait("order_rejected")
    running.log.wait("halted")
    assert executed(sim) == []


def test_broken_frames_are_skipped(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot().start()
    for text in ("{", "[]", '{"channel":"trades","data":[{"coin":"BTC","px":"-1"}]}', '{"channel":"trades","data":7}',
                 '{"channel":"nobody","data":1}', "null"):  # fmt: skip
        sim.fault("raw_frame", text=text)
    running.log.wait("bad_frame")
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    assert "WebSocket connection closed" not in running.log.text()
