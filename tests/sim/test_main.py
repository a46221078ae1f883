"""`python -m sim` as a process, and SimServer as an object."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from core.model import Side
from sim.server import SimServer
from tests.sim.conftest import USER

ROOT = Path(__file__).resolve().parents[2]


def launch(*args, **kw):
    return subprocess.Popen(
        [sys.executable, "-m", "sim", *args],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **kw,
    )


def address_of(process):
    line = process.stdout.readline()
    found = re.fullmatch(r"simulated hyperliquid ready at (http://127\.0\.0\.1:\d+)\n", line)
    assert found, line + process.stderr.read()
    return found[1]


def ask(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


@pytest.mark.parametrize("how", ["stdin", "signal"])
def test_one_line_when_ready_and_a_clean_end(how):
    if how == "signal" and os.name == "nt":
        pytest.skip("Windows has no SIGTERM to send")
    process = launch("--port", "0", "--seed", "3", "--fund", "5000", "--coins", "ETH,BTC", "--exit-with-stdin")
    try:
        url = address_of(process)
        state = ask(url + "/info", {"type": "clearinghouseState", "user": USER})
        assert state["withdrawable"] == "5000.0"
        if how == "stdin":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stdout.read() == "" == process.stderr.read()
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    "args, text",
    [
        (["--faults", "nowhere.json"], "cannot start: "),
        (["--replay", "README.nowhere"], "cannot start: "),
    ],
)
def test_what_cannot_start_says_so_in_one_line(args, text):
    process = launch(*args)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "") and err.startswith(text) and err.count("\n") == 1


def test_a_port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = launch("--port", str(port))
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (1, "")
        assert err == f"cannot listen on 127.0.0.1:{port}: the port is in use\n"
        with pytest.raises(OSError):
            SimServer(port=port).start()


def test_everything_that_a_test_may_ask():
    with SimServer(seed=1, block_ms=5) as sim:
        sim.move("BTC", "50000")
        sim.deal(USER, "BTC", Side.BUY, "0.1")
        oid = sim.place(USER, "BTC", Side.SELL, trigger="49000")
        assert sim.position(USER, "BTC") > 0 and [row["oid"] for row in sim.orders(USER)] == [oid]
        sim.set_mark("BTC", "49000")
        assert sim.position(USER, "BTC") == 0 and [f["oid"] for f in sim.fills(USER)][1] == oid
        assert [row["status"] for row in sim.history(USER)][-2:] == ["triggered", "filled"]
        assert sim.equity(USER) < 10_000
        sim.fund(USER, "777")
        assert sim.equity(USER) == 777
        sim.place(USER, "ETH", Side.BUY, "1", price="2000")
        assert sim.cancel(USER) == 1 and sim.orders(USER) == []
        before = sim.server.venue.trades["BTC"][-1].trade_id
        sim.resume()
        sim.wait_until(lambda: sim.call(lambda s: s.venue.trades["BTC"][-1].trade_id) > before)
        sim.pause()
        sim.step(3)
        with pytest.raises(TimeoutError):
            sim.wait_until(lambda: False, timeout_s=0.05)


def test_stop_leaves_no_thread_behind():
    sim = SimServer().start()
    sim.stop()
    sim.stop()
    assert "sim" not in [thread.name for thread in threading.enumerate()]
