"""A small loopback server whose own time does not blur the figures: one thread, one selector, no framework.

It knows sockets, HTTP and WebSocket; what is answered is the business of the venues (`venue.py`, `gateway.py`). They
answer at once and believe everything, for what is measured is the client. A write is stamped when its last byte has
been read.
"""

import base64
import hashlib
import selectors
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
IDLE_LOOK_S = 1.0
SECOND_S = 1.0
PIECE_BYTES = 1 << 18


class Received(msgspec.Struct):
    """One write of a client's, stamped when its last byte had been read."""

    at_ns: int
    action: Any  # in the venue's own words
    connection: int  # which of the accepted connections, from 1


class Peer:
    """One accepted connection: HTTP until it asks for the upgrade."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock, self.number = sock, number
        self.held = bytearray()
        self.waiting: deque[memoryview] = deque()  # to be written, oldest first
        self.is_websocket = False
        self.path = ""  # of the upgrade
        self.subscriptions: set[str] = set()
        self.sent_s = time.monotonic()  # the last time the venue sent anything


class Server(ABC):
    """Serves only while one of its methods runs: whoever drives it is its thread."""

    trades: ClassVar[str]  # the channel whose crossing trade makes a contestant send its exit

    def __init__(self, idle_close_s: float | None = None) -> None:
        self.accepts = 0
        self.actions: list[Received] = []
        self.crossed_ns = 0
        self.reads = 0  # requests that change nothing
        self._idle_close_s = idle_close_s
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._peers: set[Peer] = set()
        self._second_s = self._idle_look_s = 0.0
        self._heard_s = time.monotonic()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    # --- what a venue adds ------------------------------------------------------------------------------------------

    @abstractmethod
    def respond(self, peer: Peer, path: str, body: bytes, at_ns: int) -> None:
        """Send the answer of one request, and whatever it brings about."""

    @abstractmethod
    def said(self, peer: Peer, text: bytes) -> None:
        """One text message of a client's."""

    @abstractmethod
    def each_second(self) -> None:
        """What streams say unasked."""

    @abstractmethod
    def is_exit(self, action: Any) -> bool:
        """Whether this write is the first of a contestant's exit."""

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
                self.send(peer, frames)

    def drop_streams(self) -> None:
        """Every WebSocket ends in the middle of what it does; clients may come back."""
        for peer in [peer for peer in self._peers if peer.is_websocket]:
            self._drop(peer)

    def cross(self, frames: bytes) -> None:
        """Publish trades and note the moment just before."""
        self.crossed_ns = time.perf_counter_ns()
        self.publish(self.trades, frames)

    def is_drained(self) -> bool:
        """Whether the kernel has taken everything that was published."""
        return not any(peer.waiting for peer in self._peers)

    def next_exit(self, timeout_s: float = 10.0) -> Received:
        """The first write of an exit after `cross`; it may have come before this is called."""
        found: list[Received] = []

        def is_there() -> bool:
            found[:] = [r for r in self.actions if r.at_ns >= self.crossed_ns and self.is_exit(r.action)]
            return bool(found)

        self.wait_for(is_there, timeout_s, "the exit")
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
        if now_s - self._second_s >= SECOND_S:
            self._second_s = now_s
            self.each_second()
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

    def send(self, peer: Peer, data: bytes) -> None:
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
        path = start_line.split()[1].decode("ascii")
        if b"upgrade" in headers.get(b"connection", b"").lower():
            self._upgrade(peer, headers[b"sec-websocket-key"])
            peer.path = path
        else:
            self.respond(peer, path, body, at_ns)
        return True

    def _upgrade(self, peer: Peer, key: bytes) -> None:
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT_KEY).digest())
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        )
        self.send(peer, head + accept + b"\r\n\r\n")
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
            self.send(peer, frame(text, 0x8A))
        elif opcode == 0x1:
            self.said(peer, text)
        return True


def http(body: bytes, date: bytes = b"Sun, 22 Nov 2026 00:00:00 GMT") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: " + date + b"\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def frame(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + struct.pack(">H", size) + payload
    return bytes((first, 127)) + struct.pack(">Q", size) + payload
