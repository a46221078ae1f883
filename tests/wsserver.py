"""A scripted WebSocket server on a real socket, port 0: the test decides every byte the client gets.

Either drive a connection step by step (`server.accept()`, `conn.receive()`, `conn.send()`), or give the server an
`on_text` that answers by itself; both may be mixed.
"""

import base64
import contextlib
import hashlib
import json
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

WAIT_S = 20.0  # bound of every wait in a test; a passing test never gets near it


def frame(payload: bytes, opcode: int = 1, final: bool = True) -> bytes:
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 65_536:
        length = b"\x7e" + struct.pack("!H", size)
    else:
        length = b"\x7f" + struct.pack("!Q", size)
    return bytes([opcode | (0x80 if final else 0)]) + length + payload


class Connection:
    """One client, upgraded. `texts` holds what it sent; `closed` is set when it hung up."""

    def __init__(self, sock: socket.socket, path: str, on_text: "OnText | None") -> None:
        self._sock, self.path, self._on_text = sock, path, on_text
        self.texts: queue.Queue[str] = queue.Queue()
        self.controls: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self.closed = threading.Event()
        self.alive = True  # False: an automatic venue says nothing more
        self._send_lock = threading.Lock()

    def send(self, *texts: str | dict[str, Any]) -> None:
        data = b"".join(frame(t.encode() if isinstance(t, str) else json.dumps(t).encode()) for t in texts)
        self.send_bytes(data)

    def send_bytes(self, data: bytes) -> None:
        with self._send_lock, contextlib.suppress(OSError):
            self._sock.sendall(data)

    def receive(self) -> str:
        return self.texts.get(timeout=WAIT_S)

    def receive_json(self) -> Any:
        return json.loads(self.receive())

    def close(self, code: int = 1000, reason: bytes = b"") -> None:
        self.send_bytes(frame(struct.pack("!H", code) + reason, 8))
        self.drop()

    def drop(self) -> None:
        """End TCP without a word, as the venue does with an unknown coin."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def read_until_closed(self) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            for opcode, payload in _client_frames(self._sock):
                if opcode in (1, 2):
                    self.texts.put(payload.decode())
                    if self._on_text and self.alive:
                        self._on_text(self, payload.decode())
                else:
                    self.controls.put((opcode, payload))
        self.closed.set()


OnText = Callable[[Connection, str], None]


def _client_frames(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    while True:
        first, second = _read(sock, 2)
        assert second & 0x80, "a client must mask its frames"
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", _read(sock, 2))[0]
        elif size == 127:
            size = struct.unpack("!Q", _read(sock, 8))[0]
        mask = _read(sock, 4)
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(_read(sock, size)))
        yield first & 0x0F, payload


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError("the client hung up")
        data += piece
    return data


class WsServer:
    """Listens on 127.0.0.1; `on_tcp` may take over a connection before the upgrade (return True: it did)."""

    def __init__(self, on_text: OnText | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.on_text, self._tls = on_text, tls
        self.on_tcp: Callable[[socket.socket], bool] | None = None
        self.upgrade_headers = ""  # more of them, each ended by CRLF
        self.connections: queue.Queue[Connection] = queue.Queue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://{'localhost' if tls else '127.0.0.1'}:{self.port}/ws"
        threading.Thread(target=self._accept, daemon=True).start()

    def accept(self) -> Connection:
        return self.connections.get(timeout=WAIT_S)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept() of our thread
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            if self.on_tcp and self.on_tcp(sock):
                return
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._open.append(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            path, key = _read_upgrade(sock)
            sock.sendall(_upgrade_answer(key, self.upgrade_headers))
            conn = Connection(sock, path, self.on_text)
            self.connections.put(conn)
            conn.read_until_closed()


def _read_upgrade(sock: socket.socket) -> tuple[str, str]:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _read(sock, 1)
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    return lines[0].split()[1], headers["sec-websocket-key"]


def _upgrade_answer(key: str, more_headers: str) -> bytes:
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    accept = base64.b64encode(digest).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n{more_headers}\r\n"
    ).encode()


class ListedVenue:
    """An `on_text` that behaves like Hyperliquid's socket (page 1.3) for `coins`; other coins end the connection."""

    def __init__(self, *coins: str) -> None:
        self.coins = set(coins)
        self.fills: list[dict[str, Any]] = []
        self.pongs = True
        self.snapshots = True
        self.unacknowledged: set[str] = set()  # types that are never answered
        self.refused: set[str] = set()  # coins refused by an error frame instead of a drop
        self.asked: list[dict[str, Any]] = []  # every subscribe, in order
        self._live: dict[int, list[dict[str, Any]]] = {}

    def __call__(self, conn: Connection, text: str) -> None:
        request = json.loads(text)
        if request["method"] == "ping":
            if self.pongs:
                conn.send({"channel": "pong"})
            return
        sub = request["subscription"]
        live = self._live.setdefault(id(conn), [])
        if request["method"] == "unsubscribe":
            if sub in live:
                live.remove(sub)
            conn.send({"channel": "subscriptionResponse", "data": {"method": "unsubscribe", "subscription": sub}})
            return
        self.asked.append(sub)
        coin = sub.get("coin")
        if sub["type"] in self.unacknowledged:
            return
        if coin in self.refused:
            conn.send({"channel": "error", "data": f"Invalid subscription {json.dumps(sub)}"})
        elif coin is not None and coin not in self.coins:
            conn.drop()
        elif sub in live:
            conn.send({"channel": "error", "data": f"Already subscribed: {json.dumps(sub)}"})
        else:
            live.append(sub)
            self._acknowledge(conn, sub)

    def _acknowledge(self, conn: Connection, sub: dict[str, Any]) -> None:
        echo = dict(sub)
        if sub["type"] == "userFills":
            echo["aggregateByTime"] = False
        if sub["type"] == "l2Book":
            echo |= {"nSigFigs": None, "mantissa": None, "fast": False}
        conn.send({"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": echo}})
        if sub["type"] == "userFills" and self.snapshots:
            data = {"user": sub["user"], "isSnapshot": True, "fills": self.fills}
            conn.send({"channel": "userFills", "data": data})
        if sub["type"] == "activeAssetCtx":
            conn.send(ctx(sub["coin"]))


def ctx(coin: str, mark: str = "84148.0") -> dict[str, Any]:
    return {"channel": "activeAssetCtx", "data": {"coin": coin, "ctx": {"markPx": mark, "oraclePx": "84198.0"}}}


def trade(coin: str, tid: int, px: str = "84143.0", time_ms: int = 1_790_232_216_193) -> dict[str, Any]:
    return {"coin": coin, "side": "A", "px": px, "sz": "0.00036", "time": time_ms, "hash": "0x0", "tid": tid}


def trades(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"channel": "trades", "data": list(rows)}
