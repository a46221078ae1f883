"""What happens to the account itself: its key ends, the venue liquidates it, its money lies elsewhere."""

import contextlib
import functools
import http.server
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

import runtime.bot
from core.decide import decide
from core.messages import AnyEvent
from core.model import Trade
from core.state import State
from sim.server import SimServer
from tests.e2e.harness import (
    ACCOUNT,
    ENTER,
    BotThread,
    buy_by_hand,
    config,
    eventually,
    executed,
    field,
    held,
    market,
    stops,
)
from venues.hyperliquid.signing import Signer

AGENT_KEY = "0x" + "6f" * 32
AGENT = Signer(AGENT_KEY, mainnet=False).address


class Pager(http.server.BaseHTTPRequestHandler):
    """A service that takes notifications."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append(f"{body['title']} {body['message']}")  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pager() -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pager)
    server.told = []
    server.url = f"json://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def told(pager: Any, *words: str) -> str:
    """The notification that holds all `words`, once it has come."""
    found = eventually(lambda: [t for t in pager.told if all(w in t for w in words)], what=f"{words} in {pager.told}")
    return str(found[0])


# --- the key ends ---------------------------------------------------------------------------------------------------


def test_an_agents_key_that_ends_halts_and_is_told(
    sim: SimServer, bot: Callable[..., BotThread], tmp_path: Path, pager: Any
) -> None:
    """The exit is refused and says so, again and again; what protects is the stop that rests at the venue."""
    sim.approve_agent(ACCOUNT, AGENT)
    (tmp_path / ".env").write_text(f"HYPERLIQUID_PRIVATE_KEY={AGENT_KEY}\n", encoding="utf-8")
    running = bot(account=ACCOUNT, markets=[market(take_profit_pct=1.0)], notify=[pager.url]).start()
    buy_by_hand(sim)
    running.log.wait("protected ")
    sim.fault("expire_agent")
    sim.move("BTC", "50600")

    refused = running.log.wait("order_rejected", 2)
    assert "purpose=EXIT" in refused and "does not exist" in refused
    halted = running.log.wait("halted")
    assert "credentials refused" in halted and halted.split()[1] == "CRITICAL"
    told(pager, "halted", "credentials refused")
    eventually(lambda: running.status().get("status") == "halted")
    assert running.status()["markets"]["BTC"]["position"]["exit_reason"] == "TAKE_PROFIT"
    assert held(sim) == D("0.01") and stops(sim) == [D("49500")] and executed(sim) == ["B"]
    assert AGENT not in running.log.text() and AGENT not in "".join(pager.told)
    assert running.stop() == 0
    assert "stop=49500" in running.log.wait("left_protected")


def test_without_a_key_a_new_position_is_not_protected_and_that_is_told(
    sim: SimServer, bot: Callable[..., BotThread], tmp_path: Path, pager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.approve_agent(ACCOUNT, AGENT)
    (tmp_path / ".env").write_text(f"HYPERLIQUID_PRIVATE_KEY={AGENT_KEY}\n", encoding="utf-8")
    monkeypatch.setattr(runtime.bot, "STOP_MS", 500)  # how long it hopes for a stop once it is asked to end
    running = bot(account=ACCOUNT, notify=[pager.url]).start()
    sim.fault("expire_agent")
    buy_by_hand(sim)
    running.log.wait("halted")
    told(pager, "halted", "credentials refused")
    told(pager, "unprotected")
    assert running.stop() == 0
    running.log.wait("left_unprotected")
    told(pager, "left_unprotected")


# --- liquidation ----------------------------------------------------------------------------------------------------


def hold_too_much(sim: SimServer, running: BotThread) -> None:
    """A position that the bot cannot protect, for the venue takes no orders."""
    sim.fault("reject", error="Too many open orders")
    buy_by_hand(sim, "8")
    running.log.wait("order_rejected")


def booked(running: BotThread) -> list[tuple[str, D]]:
    """(side, size) of the fills in the ledger."""
    with contextlib.closing(sqlite3.connect(running.logs / "ledger.db")) as ledger:
        rows = ledger.execute("SELECT side, size FROM fills ORDER BY time_ms").fetchall()
    return [(side, D(size)) for side, size in rows]


def test_a_liquidation_is_told_and_booked_once(sim: SimServer, bot: Callable[..., BotThread], pager: Any) -> None:
    running = bot(notify=[pager.url]).start()
    hold_too_much(sim, running)
    sim.set_price("BTC", "48600")
    running.log.wait("position_closed")
    running.log.wait("market_clean", 2)
    told(pager, "fill", "liquidation=True")
    assert field(running.log.wait("position_closed"), "reason") == "LIQUIDATION"
    sim.drop_connections()  # what the stream repeats on its return is no second liquidation
    running.log.wait("WebSocket connected successfully", 2)
    running.log.wait("WebSocket restored")
    eventually(lambda: running.status().get("protection") == "flat, nothing to protect")
    assert running.stop() == 0
    assert len(running.log.lines("liquidation=True")) == 1
    assert held(sim) == 0 and booked(running) == [("BUY", D(8)), ("SELL", D(8))]


def test_a_liquidation_while_the_stream_is_away(sim: SimServer, bot: Callable[..., BotThread], pager: Any) -> None:
    running = bot(notify=[pager.url]).start()
    hold_too_much(sim, running)
    sim.fault("refuse_sockets")
    sim.drop_connections()
    running.log.wait("Falling back to REST polling")
    sim.set_price("BTC", "48600")
    running.log.wait("liquidation=True", timeout_s=20)
    running.log.wait("market_clean", 2)
    told(pager, "fill", "liquidation=True")
    sim.clear_fault()
    running.log.wait("WebSocket restored")
    assert running.stop() == 0
    assert len(running.log.lines("liquidation=True")) == 1
    assert held(sim) == 0 and booked(running) == [("BUY", D(8)), ("SELL", D(8))]


# --- unified accounts -----------------------------------------------------------------------------------------------


def test_the_money_of_a_unified_account_is_found(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """Its perps account shows no balance (page 2.4): sizes come from the spot balance."""
    sim.fault("unified_account")
    by_risk = market(ENTER, take_profit_pct=1.0) | {"size": {"risk_pct": 0.1}}
    running = bot(markets=[by_risk]).start()
    eventually(lambda: running.status().get("equity") is not None)
    assert D(running.status()["equity"]) == D("10000")
    sim.move("BTC", "50100")
    running.log.wait("protected ")
    assert held(sim) == D("0.01996")  # 0.1 % of 10,000, lost at a stop 1 % under 50,101
    assert len(stops(sim)) == 1
    sim.move("BTC", "50700")
    running.log.wait("market_clean", 2)
    assert held(sim) == 0 and executed(sim) == ["B", "A"] and stops(sim) == []
    closed = field(running.log.wait("position_closed"), "reason")
    assert closed == "TAKE_PROFIT"


# --- the exit that is played beforehand -----------------------------------------------------------------------------


def test_a_rehearsed_exit_that_fails_halts(
    sim: SimServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pager: Any
) -> None:
    """The exit itself would have failed: found out while the stop rests at the venue, not by the tick that needs it."""

    def decide_but_not(state: State, event: AnyEvent, *rest: Any) -> Any:
        if type(event) is Trade and event.trade_id == 0:  # only what is played carries it
            raise ZeroDivisionError("a bug")
        return decide(state, event, *rest)

    monkeypatch.setattr(runtime.bot, "decide", decide_but_not)
    running = BotThread(tmp_path, config(sim, notify=[pager.url]), monkeypatch)
    running.start()
    buy_by_hand(sim)
    assert running.join() == 1
    fault = running.log.wait(" fault ")
    assert "ZeroDivisionError" in fault and "on rehearsal" in fault and "test_account.py" in fault
    assert "internal fault" in running.log.wait("halted")
    assert "stop=49500" in running.log.wait("left_protected")
    assert held(sim) == D("0.01") and stops(sim) == [D("49500")] and executed(sim) == ["B"]
    told(pager, "halted", "ZeroDivisionError")
