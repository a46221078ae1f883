"""Both simulated venues, and a client that is stopped in the middle of its upgrade: no word of it reaches the user."""

import socket
import struct
from urllib.parse import urlparse

import pytest
import requests
import websocket

from sim.server import SimServer
from sim.topstepx_sim import TopstepxSim

HEAD = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def hang_up(url: str) -> None:
    """Ask for the upgrade, and reset the connection at once."""
    where = urlparse(url)
    with socket.create_connection((where.hostname, where.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(HEAD.format(path=f"{where.path}?{where.query}").encode())


def hubs_url(sim: TopstepxSim) -> str:
    login = {"userName": sim.user, "apiKey": sim.api_key}
    token = requests.post(f"{sim.url}/api/Auth/loginKey", json=login, timeout=5).json()["token"]
    return f"{sim.market_hub_url}?access_token={token}"


@pytest.mark.parametrize("venue", ["hyperliquid", "topstepx"])
def test_a_client_that_hangs_up_while_it_connects(venue: str, caplog: pytest.LogCaptureFixture) -> None:
    with SimServer(seed=1) if venue == "hyperliquid" else TopstepxSim(seed=1) as sim:
        url = sim.ws_url if isinstance(sim, SimServer) else hubs_url(sim)
        for _ in range(20):
            hang_up(url)
        websocket.create_connection(url, timeout=5).close()  # the venue lives, and has come to the end of the others
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
