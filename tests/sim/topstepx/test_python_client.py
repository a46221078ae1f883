"""A public Python client, topstep-client-py from PyPI (httpx, signalrcore), works against the simulated gateway.

It pins packages that the bot needs in other versions, so it is installed once into pytest's cache and run as a process
of its own; without pip, or when it cannot install, the test is skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from sim.topstepx_sim import TopstepxSim
from tests.sim.topstepx.conftest import cache_folder

HERE = Path(__file__).resolve().parent
PACKAGES = ["topstep-client-py==0.1.1", "signalrcore==1.0.2"]


@pytest.fixture(scope="session")
def packages(request, tmp_path_factory):
    """The folder where the client and what it needs are installed, as PYTHONPATH wants it."""
    folder = cache_folder(request, tmp_path_factory, f"topstepx-python-{sys.version_info[0]}.{sys.version_info[1]}")
    with FileLock(folder / "lock"):
        done, target = folder / "installed", folder / "site"
        if not done.exists() or done.read_text(encoding="utf-8") != str(PACKAGES):
            options = ["--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--upgrade"]
            options += ["--retries", "0", "--timeout", "5"]  # without a network: skipped at once
            command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), *PACKAGES]
            try:
                result = subprocess.run(command, capture_output=True, text=True, timeout=120)
            except subprocess.TimeoutExpired:
                pytest.skip("pip could not install topstep-client-py within 120 s")
            if result.returncode:
                pytest.skip(f"pip cannot install topstep-client-py: {result.stderr.strip()[-300:]}")
            done.write_text(str(PACKAGES), encoding="utf-8")
    return target


def test_it_logs_in_reads_listens_places_and_cancels(packages):
    # The client's stop() waits for one more frame of the hub: frequent pings keep that short.
    with TopstepxSim(ping_s=0.3) as sim:
        sim.move("MGC", "4100")
        result = subprocess.run(
            [sys.executable, str(HERE / "python_client.py"), sim.url, sim.contract("MGC")],
            env=os.environ | {"PYTHONPATH": str(packages)},
            capture_output=True, text=True, encoding="utf-8", timeout=60,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        saw = json.loads(result.stdout)
        assert [name.split("-")[0] for name in saw["accounts"]] == ["50KTC", "PRAC"] and len(saw["contracts"]) == 51
        assert saw["bars"] >= 58 and saw["quote"][1]["bestBid"] == 4099.9
        assert saw["order"][0]["data"]["id"] == saw["entry"] > 2**31
        assert saw["refused"] == "[2] Specified custom tag is already in use"
        assert saw["working"] == ["py-1-SL", "py-1-TP"] and saw["position"] == 1
        assert [status for _, status in saw["history"]] == [2, 3, 3, 5, 2]
        assert saw["trades"] == [-2, None] and saw["balance"] == 149_996.08
        assert sim.position("MGC") == 0 and sim.orders() == []
