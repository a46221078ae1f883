"""A small loopback TopstepX: REST and both hubs on one port, every token believed and every order filled.

The simulator in `sim/` knows rules, rates and faults; what is measured here is the client.
"""

from email.utils import formatdate

import msgspec

from benchmarks.futures import MGC, WRITES, Events, Futures, Write, quote_record
from benchmarks.server import Peer, Received, Server, frame, http

PING_EVERY = 10  # seconds
SPREAD = 0.1
NEGOTIATED = msgspec.json.encode(
    {
        "negotiateVersion": 1,
        "connectionId": "bench",
        "connectionToken": "bench",
        "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text"]}],
    }
)
CHANNELS = {  # by what follows Subscribe and Unsubscribe, in small letters
    "contractquotes": "GatewayQuote",
    "contracttrades": "GatewayTrade",
    "contractmarketdepth": "GatewayDepth",
    "accounts": "GatewayUserAccount",
    "orders": "GatewayUserOrder",
    "positions": "GatewayUserPosition",
    "trades": "GatewayUserTrade",
}


def channel(target: str, contract: str) -> str:
    return f"{target} {contract}"


class Gateway(Server):
    trades = channel("GatewayTrade", MGC)

    def __init__(self, idle_close_s: float | None = None) -> None:
        super().__init__(idle_close_s)
        self.futures = Futures()
        self.has_own_quotes = False  # a soak sends them itself
        self._seconds = 0

    def respond(self, peer: Peer, path: str, body: bytes, at_ns: int) -> None:
        what = path.partition("?")[0].removeprefix("/api/")
        if what == "Status/ping":
            answer = b"pong"
        elif what.endswith("/negotiate"):
            answer = NEGOTIATED
        elif what in WRITES:
            self._write(peer, Received(at_ns, Write(what, msgspec.json.decode(body)), peer.number))
            return
        else:
            self.reads += 1
            answer = self.futures.read(what, msgspec.json.decode(body or b"{}"))
        self.send(peer, http(answer, formatdate(usegmt=True).encode()))

    def _write(self, peer: Peer, received: Received) -> None:
        answer, events = self.futures.act(received.action)
        self.actions.append(received)
        self.send(peer, http(answer, formatdate(usegmt=True).encode()))
        self.tell(events)

    def tell(self, events: Events) -> None:
        for target, record in events:
            self.publish(target, frame(record))

    # --- hubs -------------------------------------------------------------------------------------------------------

    def said(self, peer: Peer, text: bytes) -> None:
        for raw in text.split(b"\x1e")[:-1]:
            message = msgspec.json.decode(raw)
            if "protocol" in message:
                self.send(peer, frame(b"{}\x1e"))
            elif message["type"] == 1:
                self._invoked(peer, message["target"], message["arguments"])
                if "invocationId" in message:
                    done = {"type": 3, "invocationId": message["invocationId"], "result": 0}
                    self.send(peer, frame(msgspec.json.encode(done) + b"\x1e"))

    def _invoked(self, peer: Peer, method: str, arguments: list[str | int]) -> None:
        target = CHANNELS[method.lower().partition("subscribe")[2]]
        contracts = [argument for argument in arguments if isinstance(argument, str)]
        name = channel(target, contracts[0]) if contracts else target
        if method.startswith("Un"):
            peer.subscriptions.discard(name)
        else:
            peer.subscriptions.add(name)

    def each_second(self) -> None:
        self._seconds += 1
        if not self.has_own_quotes:
            for contract, price in self.futures.last.items():
                record = quote_record(contract, price - SPREAD, price + SPREAD)
                self.publish(channel("GatewayQuote", contract), frame(record))
        if self._seconds % PING_EVERY == 0:
            for peer in [p for p in self._peers if p.is_websocket]:
                self.send(peer, frame(b'{"type":6}\x1e'))

    def is_exit(self, action: Write) -> bool:
        """The way out begins with the cancellation of what rests (page 2.11)."""
        return action.what == "Order/cancel"
