"""A small loopback Hyperliquid.

The simulator in `sim/` checks signatures, matches and charges fees; what is measured here is the client, so the venue
answers at once, believes every signature and fills every order.
"""

import msgspec

from benchmarks.exchange import Action, Exchange, context_frame, ms_now
from benchmarks.server import Peer, Received, Server, frame, http


class Venue(Server):
    trades = "trades"

    def __init__(self, idle_close_s: float | None = None) -> None:
        super().__init__(idle_close_s)
        self.exchange = Exchange()

    def respond(self, peer: Peer, path: str, body: bytes, at_ns: int) -> None:
        if not path.endswith("/exchange"):
            self.reads += 1
            self.send(peer, http(self.exchange.info(msgspec.json.decode(body))))
            return
        received = Received(at_ns, self.exchange.read_action(body), peer.number)
        answer, events = self.exchange.act(received.action)
        self.actions.append(received)
        self.send(peer, http(answer))
        for channel, payload in events:
            self.publish(channel, frame(payload))

    def said(self, peer: Peer, text: bytes) -> None:
        request = msgspec.json.decode(text)
        method = request["method"]
        if method == "ping":
            self.send(peer, frame(b'{"channel":"pong"}'))
            return
        channel = request["subscription"]["type"]
        ack = {"channel": "subscriptionResponse", "data": {"method": method, "subscription": request["subscription"]}}
        self.send(peer, frame(msgspec.json.encode(ack)))
        if method == "unsubscribe":
            peer.subscriptions.discard(channel)
            return
        peer.subscriptions.add(channel)
        first = self.exchange.first_frame(channel)
        if first is not None:
            self.send(peer, frame(first))

    def each_second(self) -> None:
        self.publish("activeAssetCtx", frame(context_frame(self.exchange.mark)))

    def is_exit(self, action: Action) -> bool:
        """An order that is no stop."""
        return action.is_market_order


def trade_frames(prices: list[str], first_id: int, trades_a_frame: int = 1) -> bytes:
    """Encoded trades in the venue's own spelling, `trades_a_frame` to a frame, all of this millisecond."""
    now_ms = ms_now()
    rows = [
        b'{"coin":"BTC","side":"A","px":"%b","sz":"0.00036","time":%d,"hash":"0x%064x","tid":%d,"users":'
        b'["0x9aa589355bf745db9784c8ef3c646360f11b58af","0x8269c0a4f5f1a14582e0aa46856a234893c41970"]}'
        % (price.encode(), now_ms, first_id + i, first_id + i)
        for i, price in enumerate(prices)
    ]
    groups = (rows[i : i + trades_a_frame] for i in range(0, len(rows), trades_a_frame))
    return b"".join(frame(b'{"channel":"trades","data":[' + b",".join(group) + b"]}") for group in groups)
