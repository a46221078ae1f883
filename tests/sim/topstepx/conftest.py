"""Small tools of the gateway's tests: plain requests, and a hub spoken to record by record."""

import json
from pathlib import Path

import pytest
import requests
import websocket

from sim.topstepx_sim import TopstepxSim

RS = "\x1e"
LONG_AGO = "2020-01-01T00:00:00Z"


def cache_folder(request, tmp_path_factory, name):
    """A folder that outlives this run, for what has to be installed once; without pytest's cache, a temporary one."""
    cache = getattr(request.config, "cache", None)
    return Path(cache.mkdir(name)) if cache is not None else tmp_path_factory.mktemp(name)


class Gateway:
    """A logged-in user of the gateway, on the practice account unless told otherwise."""

    def __init__(self, sim):
        self.sim = sim
        self.session = requests.Session()
        self.account = sim.practice_id
        self.token = self.login()

    def login(self):
        answer = self.call("Auth/loginKey", userName="demo", apiKey="demo")
        self.token = answer["token"]
        self.session.headers["Authorization"] = f"Bearer {self.token}"
        return self.token

    def post(self, path, body=None, **kw):
        """The raw HTTP answer."""
        return self.session.post(f"{self.sim.url}/api/{path}", json=body, timeout=5, **kw)

    def call(self, path, **body):
        """The envelope of a 200."""
        answer = self.post(path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, path, **body):
        """Like `call`, about the account."""
        return self.call(path, accountId=self.account, **body)

    def order(self, symbol="MGC", kind=2, side=0, size=1, **fields):
        """Place; the envelope."""
        contract = self.sim.contract(symbol)
        return self.ask("Order/place", contractId=contract, type=kind, side=side, size=size, **fields)

    def bracketed(self, stop=-40, target=80, **fields):
        return self.order(
            stopLossBracket={"ticks": stop, "type": 4}, takeProfitBracket={"ticks": target, "type": 1}, **fields
        )

    def look(self, order_id):
        return self.ask("Order/searchById", orderId=order_id)["order"]

    def status(self, order_id):
        return self.look(order_id)["status"]

    def children(self, entry_id):
        """Stop and target of a bracketed entry."""
        rows = [row for row in self.sim.history(self.account) if row.get("parentOrderId") == entry_id]
        return sorted(rows, key=lambda row: row["type"], reverse=True)

    def settle(self, order_id, status):
        """Wait for a status; the row."""
        return self.sim.wait_until(lambda: (row := self.look(order_id))["status"] == status and row)

    def open_bracket(self, **fields):
        """A filled entry with both children working: (entry, stop, target) rows."""
        entry = self.settle(self.bracketed(**fields)["orderId"], 2)
        stop, target = self.sim.wait_until(
            lambda: (pair := self.children(entry["id"])) and all(c["status"] == 1 for c in pair) and pair
        )
        return entry, stop, target


class Hub:
    """A hub connection, handshake done unless told otherwise."""

    def __init__(self, url, token, shake=True):
        self.ws = websocket.create_connection(f"{url}?access_token={token}", timeout=5)
        self._records = []
        self._unread = ""
        self.texts = []  # WebSocket messages as they came
        if shake:
            self.send({"protocol": "json", "version": 1})
            assert self.next() == {}

    def send(self, record):
        self.ws.send((record if isinstance(record, str) else json.dumps(record)) + RS)

    def next(self):
        """The next record; raises EOFError when the hub has closed the socket."""
        while not self._records:
            opcode, raw = self.ws.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise EOFError
            text = raw.decode()
            self.texts.append(text)
            *records, self._unread = (self._unread + text).split(RS)
            self._records += map(json.loads, records)
        return self._records.pop(0)

    def until(self, target):
        """Arguments of the next event of a target; everything before it is skipped."""
        while True:
            record = self.next()
            if record.get("target") == target:
                return record["arguments"]

    def invoke(self, target, *arguments, call="1"):
        """The completion; events before it are skipped."""
        self.send({"type": 1, "invocationId": call, "target": target, "arguments": list(arguments)})
        while True:
            record = self.next()
            if record.get("type") == 3:
                assert record.pop("invocationId") == call
                return record

    def subscribe(self, target, *arguments):
        assert self.invoke(target, *arguments) == {"type": 3, "result": 0}


@pytest.fixture
def sim():
    with TopstepxSim() as gateway:
        gateway.move("MGC", "4100")
        gateway.call(lambda server: setattr(server.venue.book.rules, "slip_ticks", (0,)))
        yield gateway


@pytest.fixture
def user(sim):
    return Gateway(sim)


@pytest.fixture
def connect(sim, user):
    """Opens hub connections that are closed at the end."""
    opened = []

    def open_one(hub="market", **kw):
        url = sim.market_hub_url if hub == "market" else sim.user_hub_url
        opened.append(Hub(url, kw.pop("token", user.token), **kw))
        return opened[-1]

    yield open_one
    for each in opened:
        each.ws.shutdown()


@pytest.fixture
def events(connect, user):
    """A user hub that listens to everything of the practice account."""
    hub = connect("user")
    hub.subscribe("SubscribeAccounts")
    for what in ("Orders", "Positions", "Trades"):
        hub.subscribe(f"Subscribe{what}", user.account)
    return hub
