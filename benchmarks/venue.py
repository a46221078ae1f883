"""A small loopback Hyperliquid whose own time does not blur the figures: one thread, one selector, no framework.

The simulator in `sim/` checks signatures, matches and charges fees; what is measured here is the client, so the venue
answers at once, believes every signature and fills every order. It stamps when it writes and when an order is whole.
"""

import base64
import hashlib
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.exchange import Action, Exchange, context_frame, ms_now

ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
IDLE_LOOK_S = 1.0
CONTEXT_EVERY_S = 1.0
PIECE_BYTES = 1 << 18


class Received(msgspec.Struct):
    """One signed action, stamped when its last byte had been read."""

    at_ns: int
    action: Action
    connection: int  # which of the accepted connections, from 1


class Peer:
    """One accepted connection: HTTP until it asks for the upgrade."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock, self.number = sock, number
        self.held = bytearray()
        self.waiting: deque[memoryview] = deque()  # to be written, oldest first
        self.is_websocket = False
        self.subscriptions: set[str] = set()
        self.sent_s = time.monotonic()  # the last time the venue sent anything


class Venue:
    """Serves only while one of its methods runs: whoever drives it is its thread."""

    def __init__(self, idle_close_s: float | None = None) -> None:
        self.exchange = Exchange()
        self.accepts = 0
        self.actions: list[Received] = []
        self.crossed_ns = 0
        self.reads = 0  # answers of /info
        self._idle_close_s = idle_close_s
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._peers: set[Peer] = set()
        self._context_s = self._idle_look_s = 0.0
        self._heard_s = time.monotonic()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        for peer in list(self._peers):
            self._drop(peer)
        self._selector.close()
        self._listener.close()

    # --- what a benchmark asks for ----------------------------------------------------------------------------------

    def wait_for(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Serve until `condition` holds. Raises TimeoutError, naming `what`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"waited {timeout_s:.0f} s for {what}")
            self._serve(min(left_s, 0.25))

    def settle(self, quiet_s: float, timeout_s: float = 10.0) -> None:
        """Serve until nobody has asked anything for `quiet_s`. Raises TimeoutError."""
        self._heard_s = started_s = time.monotonic()
        while (left_s := self._heard_s + quiet_s - time.monotonic()) > 0:
            if time.monotonic() - started_s > timeout_s:
                raise TimeoutError(f"no silence within {timeout_s:.0f} s")
            self._serve(left_s)

    def pause(self, delay_s: float) -> None:
        """Serve for this long."""
        until_s = time.monotonic() + delay_s
        while (left_s := until_s - time.monotonic()) > 0:
            self._serve(min(left_s, 0.25))

    def listens(self, channel: str) -> bool:
        return any(channel in peer.subscriptions for peer in self._peers)

    def publish(self, channel: str, frames: bytes) -> None:
        """Send encoded frames to whoever has subscribed to `channel`, as fast as they are taken."""
        for peer in self._peers:
            if channel in peer.subscriptions:
                self._send(peer, frames)

    def cross(self, frames: bytes) -> None:
        """Publish trades and note the moment just before."""
        self.crossed_ns = time.perf_counter_ns()
        self.publish("trades", frames)

    def is_drained(self) -> bool:
        """Whether the kernel has taken everything that was published."""
        return not any(peer.waiting for peer in self._peers)

    def next_exit(self, timeout_s: float = 10.0) -> Received:
        """The first order after `cross` that is no stop; it may have come before this is called."""
        found: list[Received] = []

        def is_there() -> bool:
            found[:] = [r for r in self.actions if r.at_ns >= self.crossed_ns and r.action.is_market_order]
            return bool(found)

        self.wait_for(is_there, timeout_s, "the exit order")
        return found[0]

    # --- sockets ----------------------------------------------------------------------------------------------------

    def _serve(self, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            peer = key.data
            if peer is None:
                self._accept()
                continue
            try:
                if events & selectors.EVENT_READ:
                    self._read(peer)
                if events & selectors.EVENT_WRITE and peer in self._peers:
                    self._flush(peer)
            except OSError:
                self._drop(peer)
        now_s = time.monotonic()
        if now_s - self._context_s >= CONTEXT_EVERY_S:
            self._context_s = now_s
            self.publish("activeAssetCtx", frame(context_frame(self.exchange.mark)))
        if self._idle_close_s is not None and now_s - self._idle_look_s >= IDLE_LOOK_S:
            self._idle_look_s = now_s
            for peer in [p for p in self._peers if not p.is_websocket and now_s - p.sent_s > self._idle_close_s]:
                self._drop(peer)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepts += 1
        peer = Peer(sock, self.accepts)
        self._peers.add(peer)
        self._selector.register(sock, selectors.EVENT_READ, peer)

    def _drop(self, peer: Peer) -> None:
        self._peers.discard(peer)
        self._selector.unregister(peer.sock)
        peer.sock.close()

    def _read(self, peer: Peer) -> None:
        data = peer.sock.recv(PIECE_BYTES)
        at_ns = time.perf_counter_ns()
        if not data:
            self._drop(peer)
            return
        peer.held += data
        self._heard_s = time.monotonic()
        while peer in self._peers and (self._frame(peer) if peer.is_websocket else self._request(peer, at_ns)):
            pass

    def _send(self, peer: Peer, data: bytes) -> None:
        peer.waiting.append(memoryview(data))
        if len(peer.waiting) == 1:
            self._flush(peer)

    def _flush(self, peer: Peer) -> None:
        peer.sent_s = time.monotonic()
        while peer.waiting:
            head = peer.waiting[0]
            try:
                sent = peer.sock.send(head[:PIECE_BYTES])
            except BlockingIOError:
                break
            if sent < len(head):
                peer.waiting[0] = head[sent:]
            else:
                peer.waiting.popleft()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.waiting else 0)
        if self._selector.get_key(peer.sock).events != events:
            self._selector.modify(peer.sock, events, peer)

    # --- HTTP -------------------------------------------------------------------------------------------------------

    def _request(self, peer: Peer, at_ns: int) -> bool:
        """Answer one whole request; False when there is none yet."""
        end = peer.held.find(b"\r\n\r\n")
        if end < 0:
            return False
        start_line, *lines = bytes(peer.held[:end]).split(b"\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (h.partition(b":") for h in lines)}
        length = int(headers.get(b"content-length", b"0"))
        if len(peer.held) < end + 4 + length:
            return False
        body = bytes(peer.held[end + 4 : end + 4 + length])
        del peer.held[: end + 4 + length]
        if b"upgrade" in headers.get(b"connection", b"").lower():
            self._upgrade(peer, headers[b"sec-websocket-key"])
        elif start_line.split()[1].endswith(b"/exchange"):
            received = Received(at_ns, self.exchange.read_action(body), peer.number)
            answer, events = self.exchange.act(received.action)
            self.actions.append(received)
            self._send(peer, http(answer))
            for channel, payload in events:
                self.publish(channel, frame(payload))
        else:
            self.reads += 1
            self._send(peer, http(self.exchange.info(msgspec.json.decode(body))))
        return True

    def _upgrade(self, peer: Peer, key: bytes) -> None:
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT_KEY).digest())
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        )
        self._send(peer, head + accept + b"\r\n\r\n")
        peer.is_websocket = True

    # --- WebSocket --------------------------------------------------------------------------------------------------

    def _frame(self, peer: Peer) -> bool:
        """Answer one whole frame of the client's; False when there is none yet."""
        held = peer.held
        if len(held) < 6:
            return False
        opcode, size, at = held[0] & 0x0F, held[1] & 0x7F, 2
        if size == 126:
            size, at = int.from_bytes(held[2:4], "big"), 4
        if len(held) < at + 4 + size:
            return False
        mask, payload = held[at : at + 4], held[at + 4 : at + 4 + size]
        text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        del held[: at + 4 + size]
        if opcode == 0x8:
            self._drop(peer)
        elif opcode == 0x9:
            self._send(peer, frame(text, 0x8A))
        elif opcode == 0x1:
            self._said(peer, msgspec.json.decode(text))
        return True

    def _said(self, peer: Peer, request: dict[str, Any]) -> None:
        method = request["method"]
        if method == "ping":
            self._send(peer, frame(b'{"channel":"pong"}'))
            return
        channel = request["subscription"]["type"]
        ack = {"channel": "subscriptionResponse", "data": {"method": method, "subscription": request["subscription"]}}
        self._send(peer, frame(msgspec.json.encode(ack)))
        if method == "unsubscribe":
            peer.subscriptions.discard(channel)
            return
        peer.subscriptions.add(channel)
        first = self.exchange.first_frame(channel)
        if first is not None:
            self._send(peer, frame(first))


def http(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sun, 22 Nov 2026 00:00:00 GMT\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def frame(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + struct.pack(">H", size) + payload
    return bytes((first, 127)) + struct.pack(">Q", size) + payload


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
