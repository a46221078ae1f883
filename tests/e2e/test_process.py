"""The program as a user meets it: one bot an account, a clean stop, and what is said when something is wrong."""

import contextlib
import errno
import json
import os
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

import trading_bot
from config.faults import ConfigFault
from core.model import Side
from sim.server import SimServer
from tests.e2e.harness import ACCOUNT, KEY, BotProcess, BotThread, eventually, executed, held, market, stops
from venues.hyperliquid.signing import Signer

OTHER_KEY = "0x" + "6f" * 32
windows = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGTERM from outside")


def test_a_second_bot_is_refused(sim: SimServer, bot: Callable[..., BotThread], tmp_path: Path) -> None:
    bot().start()
    (tmp_path / "second").mkdir()
    second = BotProcess(tmp_path / "second", json.loads((tmp_path / "config.json").read_text()))
    ended = second.run()
    assert ended.returncode == 2
    assert f"another bot trades this account already, process id {os.getpid()}" in ended.stdout
    assert sim.received("order") == []


@windows
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_within_five_seconds(
    sim: SimServer, process: Callable[..., BotProcess], number: signal.Signals
) -> None:
    running = process().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    before_s = time.monotonic()
    assert running.terminate(number=number) == 0 and time.monotonic() - before_s < 5
    assert re.search(r"left_protected .*stop=49500", running.shown())
    running.log.in_order("stopping", "left_protected", "stopped exit_code=0")
    assert stops(sim) == [D("49500")] and held(sim) == D("0.01")


def test_a_stop_waits_for_the_protection(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """Asked to stop in the moment between fill and stop: the stop comes first."""
    running = bot().start()
    sim.fault("hide_triggers", ms=60_000)
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("order_sent")
    running.ask_to_stop()
    running.log.wait("stopping")
    sim.clear_fault("hide_triggers")
    assert running.join() == 0
    running.log.in_order("stopping", "stop_confirmed", "left_protected")


def test_it_stops_while_the_venue_is_away(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot().start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    sim.fault("http_slow", ms=30_000)
    sim.fault("stall")
    before_s = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - before_s < 5
    assert "left_protected" in running.log.text()


def test_it_stops_while_the_venue_has_never_answered(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    sim.fault("http_error", status=503)
    running = bot()
    running.begin()
    running.log.wait("venue_unavailable")
    before_s = time.monotonic()
    assert running.stop() == 1
    assert time.monotonic() - before_s < 3


def test_an_unknown_symbol_is_refused_with_near_names(sim: SimServer, process: Callable[..., BotProcess]) -> None:
    ended = process(markets=[market(symbol="BTC-USD"), market(symbol="ETHH")]).run()
    assert ended.returncode == 2
    assert 'did you mean "BTC"?' in ended.stderr and 'did you mean "ETH"?' in ended.stderr
    assert sim.counters()["sockets_ever"] == 0


def test_a_refused_key_ends_with_3(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    """An account that is not the key's, nor its master's."""
    running = bot(account="0x" + "ab" * 20)
    running.begin()
    assert running.join() == 3
    assert "credentials_refused" in running.log.text()
    assert KEY not in running.log.text() and KEY[2:] not in running.console.getvalue()


def test_a_missing_key_is_named(sim: SimServer, bot: Callable[..., BotThread], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("", encoding="utf-8")
    running = bot()
    running.begin()
    with pytest.raises(ConfigFault, match="HYPERLIQUID_PRIVATE_KEY is missing"):
        running.join()
    assert sim.counters()["http_connections"] == 0


@pytest.mark.parametrize("text", ["{", "[]", "", '{"venue": "hyperliquid"}', '{"venu": 1}'])
def test_a_broken_config_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    assert trading_bot.main(["--config", str(path), "--logs", str(tmp_path / "logs")]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("config: ") and "Traceback" not in shown.err


def test_a_port_in_use_is_said_and_survived(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        running = bot(health={"enabled": True, "host": "127.0.0.1", "port": port}).start()
        assert f"port={port}" in running.log.wait("health_unavailable")
        sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
        running.log.wait("protected ")


def ask_health(url: str) -> dict[str, Any]:
    """/health, well or not. Little is published before the first second is over."""
    try:
        with urllib.request.urlopen(url + "/health", timeout=5) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as e:
        assert e.code == 503
        return dict(json.load(e))


def test_health_is_served(sim: SimServer, bot: Callable[..., BotThread]) -> None:
    running = bot(health={"enabled": True, "host": "127.0.0.1", "port": 0}).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    url = re.search(r"http://127\.0\.0\.1:\d+", running.log.wait("http://127.0.0.1:"))
    assert url is not None

    health = eventually(lambda: (h := ask_health(url[0])).get("markets") and h["markets"]["BTC"]["position"] and h)
    position = health["markets"]["BTC"]["position"]
    assert health["status"] == "ok" and health["websocket"]["mode"] == "websocket"
    assert position["protected_at_venue"] is True and D(position["stop"]) == D("49500")
    assert position["side"] == "BUY" and D(position["size"]) == D("0.01")


def test_logs_that_cannot_be_written(sim: SimServer, bot: Callable[..., BotThread], tmp_path: Path) -> None:
    """No file can be made below a file: no log, no journal, no ledger. Said once; exits go on."""
    (tmp_path / "logs").write_text("in the way", encoding="utf-8")
    running = bot(markets=[market(take_profit_pct=1)], health={"enabled": True, "host": "127.0.0.1", "port": 0})
    running.begin()
    eventually(lambda: "journal_failed" in running.console.getvalue() and "market_clean" in running.console.getvalue())
    url = eventually(lambda: re.search(r"http://127\.0\.0\.1:\d+", running.console.getvalue()))[0]
    shown = eventually(lambda: ask_health(url).get("journal"))
    assert shown["ok"] is False and shown["error"] == os.strerror(errno.ENOTDIR)
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    eventually(lambda: "protected " in running.console.getvalue())
    sim.move("BTC", "50600")
    eventually(lambda: held(sim) == 0)
    assert executed(sim) == ["B", "A"]
    assert running.console.getvalue().count("journal_failed") == 1
    assert running.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk that can be filled and emptied from outside")
def test_a_full_disk_stops_entries_not_exits(sim: SimServer, process: Callable[..., BotProcess]) -> None:
    import resource

    breakout = market({"name": "donchian_breakout", "period": 2}, take_profit_pct=1) | {"timeframe": "1s"}
    running = process(markets=[breakout]).start()
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # no file may grow
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    eventually(lambda: stops(sim) == [D("49500")])
    sim.move("BTC", "50600")
    eventually(lambda: "order_denied" in running.shown())
    assert executed(sim) == ["B", "A"]
    assert running.shown().count("journal_failed") == 1
    assert "reason='the journal cannot be written'" in running.shown()

    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    eventually(lambda: "journal_restored" in running.shown())
    assert running.terminate() == 0


def test_an_agents_key_trades_its_masters_account(
    sim: SimServer, bot: Callable[..., BotThread], tmp_path: Path
) -> None:
    sim.approve_agent(ACCOUNT, Signer(OTHER_KEY, mainnet=False).address)
    (tmp_path / ".env").write_text(f"HYPERLIQUID_PRIVATE_KEY={OTHER_KEY}\n", encoding="utf-8")
    running = bot(account=ACCOUNT).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    assert stops(sim) == [D("49500")]


def test_it_ends_by_itself(sim: SimServer, process: Callable[..., BotProcess]) -> None:
    ended = process().run("--for", "0.5")
    assert ended.returncode == 0 and "the time asked for is over" in ended.stdout
