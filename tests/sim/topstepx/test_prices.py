"""Prices, rates and delays of the simulated TopstepX, and `python -m sim --venue topstepx`."""

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from sim.__main__ import clock_us
from sim.topstepx_sim import TopstepxSim
from tests.sim.topstepx.conftest import Gateway, Hub

ROOT = Path(__file__).resolve().parents[3]


def quote_of(sim, symbol):
    return sim.call(lambda server: server.venue.market(server.venue.contract(symbol)).quote)


def age_s(text):
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


def test_the_same_seed_gives_the_same_prices():
    seen = []
    for seed in (7, 7, 8):
        with TopstepxSim(seed=seed) as sim:
            quote_of(sim, "MGC")
            sim.step(200)
            seen.append(quote_of(sim, "MGC"))
    assert seen[0] == seen[1] != seen[2]


def test_a_micro_moves_with_its_mini_on_the_tick(sim):
    for symbol in ("MES", "ES", "MCL", "QM"):
        quote_of(sim, symbol)
    for _ in range(40):
        sim.step(10)
        micro, mini, crude, mini_crude = (quote_of(sim, s) for s in ("MES", "ES", "MCL", "QM"))
        assert abs(micro.bid - mini.bid) <= Decimal("0.25") and abs(micro.ask - mini.ask) <= Decimal("0.25")
        assert abs(crude.bid - mini_crude.bid) <= Decimal("0.05")
        for quote, tick in ((micro, "0.25"), (crude, "0.01"), (mini_crude, "0.025")):
            assert quote.bid < quote.ask and not quote.bid % Decimal(tick) and not quote.ask % Decimal(tick)
    assert micro.volume > 0 and micro.low < micro.high


def test_about_as_many_messages_as_recorded():
    """Page 3.5, MNQ in New York hours: 42 quotes and 20 trade messages a second."""
    with TopstepxSim(seed=2) as sim:
        token, contract = Gateway(sim).token, sim.contract("MNQ")
        hub = Hub(sim.market_hub_url, token)
        hub.subscribe("SubscribeContractQuotes", contract)
        hub.subscribe("SubscribeContractTrades", contract)
        blocks = 2_000
        sim.step(blocks)
        counts = {"GatewayQuote": 0, "GatewayTrade": 0}
        sim.fault("raw_frame", text='{"type":1,"target":"End","arguments":[]}\x1e')
        while (record := hub.next()).get("target") != "End":
            counts[record["target"]] += 1
        seconds = blocks * sim.config.block_ms / 1000
        assert 30 <= counts["GatewayQuote"] / seconds <= 45
        assert 12 <= counts["GatewayTrade"] / seconds <= 28


@pytest.mark.parametrize("what, rest_is_late, hub_is_late", [("rest", 1, 0), ("hub", 0, 1), ("both", 1, 1)])
def test_delayed_data_are_old_and_say_so(what, rest_is_late, hub_is_late):
    with TopstepxSim(delay_s=900, delay_what=what) as sim:
        user = Gateway(sim)
        contract = sim.contract("MGC")
        hub = Hub(sim.market_hub_url, user.token)
        hub.subscribe("SubscribeContractQuotes", contract)
        hub.subscribe("SubscribeContractTrades", contract)
        sim.move("MGC", "4108")
        body = {"contractId": contract, "live": False, "startTime": "2020-01-01T00:00:00Z", "unit": 1}
        body |= {"endTime": "2099-01-01T00:00:00Z", "unitNumber": 1, "limit": 1, "includePartialBar": True}
        (bar,) = user.call("History/retrieveBars", **body)["bars"]
        assert (bar["c"] == 4100) is bool(rest_is_late) and abs(age_s(bar["t"]) - 900 * rest_is_late) < 10
        (day,) = user.call("History/retrieveBars", **body | {"unit": 4})["bars"]
        assert (day["c"] == 4100) is bool(rest_is_late)  # nor does a longer bar know what is to come
        trade = hub.until("GatewayTrade")[1][0]
        assert (trade["price"] == 4100) is bool(hub_is_late)
        assert abs(age_s(trade["timestamp"]) - 900 * hub_is_late) < 10
        assert user.settle(user.order()["orderId"], 2)["filledPrice"] == 4108.1  # orders meet the market as it is


def test_bars_and_prints_agree(sim, user):
    sim.trade("MGC", "4101", 2)
    sim.trade("MGC", "4099", 3)
    body = {"contractId": sim.contract("MGC"), "live": False, "startTime": "2020-01-01T00:00:00Z", "unit": 4}
    body |= {"endTime": "2099-01-01T00:00:00Z", "unitNumber": 1, "limit": 1, "includePartialBar": True}
    (day,) = user.call("History/retrieveBars", **body)["bars"]
    assert day["c"] == 4099 and day["h"] >= 4101 and day["l"] <= 4099


def test_replay(tmp_path):
    rows = ["time_ms,price,size,side", *(f"{i * 100},{4000 + i},1,BUY" for i in range(50))]
    recording = tmp_path / "mgc.csv"
    recording.write_text("\n".join(rows))
    with TopstepxSim(replay=recording) as sim:
        assert quote_of(sim, "MGC").last == 4000
        sim.step(300)
        assert quote_of(sim, "MGC").high >= 4040


@pytest.mark.parametrize("text, seconds", [("+0", 0), ("-3600", -3600), ("90.5", 90.5)])
def test_clock_offsets(text, seconds):
    assert clock_us(text) == seconds * 1e6


def test_clock_times_are_chicagos():
    at = datetime.now(UTC).timestamp() + clock_us("2026-11-20T15:05") / 1e6 + 1
    assert datetime.fromtimestamp(at, UTC).isoformat()[:16] == "2026-11-20T21:05"  # rounded: the wall clock has gone on
    with pytest.raises(ValueError):
        clock_us("noon")


def test_the_process(tmp_path):
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"at_s": 0, "fault": "http_429", "args": {"path": "/api/Trade/search"}}]))
    args = ["--port", "0", "--seed", "3", "--brackets", "position", "--clock", "2026-11-20T10:00", "--no-limits"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sim", "--venue", "topstepx", *args, "--faults", str(faults), "--exit-with-stdin"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"simulated topstepx ready at (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line + process.stderr.read()
        url = found[1]
        token = requests.post(f"{url}/api/Auth/loginKey", json={"userName": "demo", "apiKey": "demo"}, timeout=5)
        headers = {"Authorization": "Bearer " + token.json()["token"]}
        assert requests.post(f"{url}/api/Trade/search", json={}, headers=headers, timeout=5).status_code == 429
        account = requests.post(f"{url}/sim/control", json={"do": "account"}, timeout=5).json()
        assert account["brackets"] == "position"
        hub = Hub(url.replace("http", "ws") + "/hubs/market", token.json()["token"])
        contracts = requests.post(f"{url}/api/Contract/available", json={"live": False}, headers=headers, timeout=5)
        mgc = next(c["id"] for c in contracts.json()["contracts"] if c["name"] == "MGCZ6")
        hub.subscribe("SubscribeContractQuotes", mgc)
        moment = [hub.until("GatewayQuote")[1]["lastUpdated"] for _ in range(5)][-1]  # it moves by itself
        assert moment.startswith("2026-11-20T16:0")
        hub.ws.shutdown()
        process.stdin.close()
        assert process.wait(10) == 0
        assert process.stdout.read() == "" == process.stderr.read()
    finally:
        process.kill()
        process.wait(10)


def test_the_market_moves_by_itself_when_asked():
    with TopstepxSim(paused=False) as sim:
        before = quote_of(sim, "NQ").volume
        sim.wait_until(lambda: quote_of(sim, "NQ").volume > before)
        sim.pause()
        time.sleep(0.05)
        still = quote_of(sim, "NQ")
        assert quote_of(sim, "NQ") == still
