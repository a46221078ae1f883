"""Small tools of the simulator's tests: raw requests, signed actions, a raw socket."""

import itertools
import json
import time

import pytest
import requests
import websocket

from sim.server import SimServer
from venues.hyperliquid.signing import Signer

KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
USER = "0x14791697260e4c9a71f18484c9f997b308e59325"
_nonces = itertools.count(int(time.time() * 1000))


class Venue:
    """A simulated venue with one account, spoken to as plainly as possible."""

    def __init__(self, sim):
        self.sim = sim
        self.session = requests.Session()
        self.signer = Signer(KEY, mainnet=sim.config.mainnet)

    def post(self, path, body, **kw):
        return self.session.post(self.sim.url + path, json=body, timeout=5, **kw)

    def info(self, kind, **args):
        answer = self.post("/info", {"type": kind} | args)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def body(self, action, nonce=None, expires=None, vault=None):
        nonce = next(_nonces) if nonce is None else nonce
        signature = self.signer.sign_action(action, nonce, vault, expires)
        return {
            "action": action,
            "nonce": nonce,
            "signature": signature,
            "vaultAddress": vault,
            "expiresAfter": expires,
        }

    def act(self, action, **kw):
        answer = self.post("/exchange", self.body(action, **kw))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, *orders, grouping="na", **kw):
        """The statuses of an order action."""
        answer = self.act({"type": "order", "orders": list(orders), "grouping": grouping}, **kw)
        assert answer["status"] == "ok", answer
        return answer["response"]["data"]["statuses"]


def limit(price="49000", size="0.01", buy=True, tif="Gtc", reduce=False, asset=0, cloid=None):
    order = {"a": asset, "b": buy, "p": price, "s": size, "r": reduce, "t": {"limit": {"tif": tif}}}
    return order | ({"c": cloid} if cloid else {})


def stop(level="49500", price="44550", buy=False, size="0", kind="sl", reduce=True):
    trigger = {"isMarket": True, "triggerPx": level, "tpsl": kind}
    return {"a": 0, "b": buy, "p": price, "s": size, "r": reduce, "t": {"trigger": trigger}}


class Socket:
    """A WebSocket that hands out decoded frames one by one."""

    def __init__(self, sim):
        self.ws = websocket.create_connection(sim.ws_url, timeout=5)

    def send(self, frame):
        self.ws.send(frame if isinstance(frame, str) else json.dumps(frame))

    def subscribe(self, **subscription):
        self.send({"method": "subscribe", "subscription": subscription})

    def next(self):
        return json.loads(self.ws.recv())

    def until(self, channel):
        """The next frame of a channel; earlier ones are skipped."""
        while True:
            frame = self.next()
            if frame["channel"] == channel:
                return frame

    def is_cut(self):
        """True once the connection ends; frames before that are skipped. Fails by timeout."""
        try:
            while True:
                opcode, data = self.ws.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return False  # a polite end
                assert data
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            return True


@pytest.fixture
def sim():
    with SimServer(seed=1, context_s=30.0) as server:
        server.set_price("BTC", "50000")
        server.set_price("ETH", "2500")
        server.fund(USER)
        yield server


@pytest.fixture
def venue(sim):
    return Venue(sim)


@pytest.fixture
def connect(sim):
    """Opens sockets that are closed at the end."""
    opened = []

    def open_one():
        opened.append(Socket(sim))
        return opened[-1]

    yield open_one
    for each in opened:
        each.ws.shutdown()
