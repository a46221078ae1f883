"""The official JavaScript client, @microsoft/signalr, cannot tell the simulated hubs from the real ones.

It is installed once, into pytest's cache; without Node or npm, or when they cannot install, these tests are skipped.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from tests.sim.topstepx.conftest import cache_folder

HERE = Path(__file__).resolve().parent / "js"
CLOSED = "Connection closed with an error."


@pytest.fixture(scope="session")
def modules(request, tmp_path_factory):
    """The folder where the client is installed, as NODE_PATH wants it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("Node.js and npm are not installed")
    folder = cache_folder(request, tmp_path_factory, "topstepx-signalr")
    with FileLock(folder / "lock"):
        done = folder / "installed"
        lock = (HERE / "package-lock.json").read_text(encoding="utf-8")
        if not done.exists() or done.read_text(encoding="utf-8") != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder / name)
            command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
            try:
                result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90)
            except subprocess.TimeoutExpired:
                pytest.skip("npm could not install @microsoft/signalr within 90 s")
            if result.returncode:
                pytest.skip(f"npm cannot install @microsoft/signalr: {result.stderr.strip()[-300:]}")
            done.write_text(lock, encoding="utf-8")
    return folder / "node_modules"


class Listener:
    """The script js/listen.js, running."""

    def __init__(self, modules, url, token, how, calls, events):
        arguments = [url.replace("ws:", "http:"), token, how, json.dumps(calls), json.dumps(events)]
        self.process = subprocess.Popen(
            ["node", str(HERE / "listen.js"), *arguments],
            env=os.environ | {"NODE_PATH": str(modules)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def next(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def until(self, kind):
        while (line := self.next())[0] != kind:
            pass
        return line[1:]

    def event(self, target):
        while (said := self.until("event"))[0] != target:
            pass
        return said[1]

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        return self.process.stdout.read()


@pytest.fixture
def listen(modules, sim, user):
    running = []

    def start(hub, how, calls, events, token=None):
        url = sim.market_hub_url if hub == "market" else sim.user_hub_url
        running.append(Listener(modules, url, token or user.token, how, calls, events))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.wait(10)


@pytest.mark.parametrize("how", ["skip", "negotiate"])
def test_the_market_hub(listen, sim, how):
    contract = sim.contract("MGC")
    calls = [[f"SubscribeContract{what}", contract] for what in ("Quotes", "Trades", "MarketDepth")]
    client = listen("market", how, calls, ["GatewayQuote", "GatewayTrade", "GatewayDepth"])
    assert client.next() == ["started"]
    (text,) = client.until("refused")
    assert text == "Failed to invoke 'Nope' due to an error on the server. HubException: Method does not exist."
    assert client.event("GatewayQuote")[1]["bestBid"] == 4099.9
    assert client.until("subscribed") == [[0, 0, 0]]
    sim.trade("MGC", "4101.5", 2)
    key, (row,) = client.event("GatewayTrade")
    assert (key, row["price"], row["volume"]) == (contract, 4101.5, 2)

    sim.close_hubs(CLOSED, True)  # it survives a close of the server, and comes back
    (text,) = client.until("reconnecting")
    assert CLOSED in text
    assert client.until("subscribed") == [[0, 0, 0]]
    sim.trade("MGC", "4102")
    assert client.event("GatewayTrade")[1][0]["price"] == 4102

    sim.drop_connections()  # and a reset
    client.until("reconnecting")
    client.until("subscribed")
    for name in ("two_records", "fragment_frames", "ws_ping"):
        sim.fault(name, times=1)
        sim.trade("MGC", "4103")
        assert client.event("GatewayTrade")[1][0]["price"] == 4103
    assert '["closed",null]' in client.stop()
    sim.wait_until(lambda: sim.counters()["sockets_open"] == 0)


@pytest.mark.parametrize("how", ["skip", "negotiate"])
def test_the_user_hub(listen, sim, user, how):
    calls = [["SubscribeAccounts"], *([f"Subscribe{what}", user.account] for what in ("Orders", "Positions", "Trades"))]
    names = [f"GatewayUser{what}" for what in ("Account", "Order", "Position", "Trade")]
    client = listen("user", how, calls, names)
    assert client.until("subscribed") == [[0, 0, 0, 0]]
    entry = user.bracketed()["orderId"]
    seen = {name: client.event(name)[0]["data"] for name in ("GatewayUserOrder", "GatewayUserTrade")}
    assert (seen["GatewayUserOrder"]["id"], seen["GatewayUserTrade"]["orderId"]) == (entry, entry)
    assert client.event("GatewayUserPosition")[0]["data"]["size"] == 1
    assert client.event("GatewayUserAccount")[0]["data"]["balance"] < 150_000

    sim.close_hubs(CLOSED, None)  # without allowReconnect this client gives up
    (text,) = client.until("closed")
    assert CLOSED in text


@pytest.mark.parametrize("how", ["skip", "negotiate"])
def test_a_bad_token_fails_at_the_door(listen, how):
    (text,) = listen("user", how, [], [], token="x.y.z").until("failed")
    assert "WebSocket failed to connect" in text if how == "skip" else "401" in text
