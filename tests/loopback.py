"""A venue of raw sockets on 127.0.0.1: reads whole requests, remembers them, answers as told, also badly."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Reply = bytes | str | tuple["Reply", ...]  # bytes are sent as they are; the words below act on the connection
CLOSE = "close"  # an orderly end
RESET = "reset"  # a torn connection
STALL = "stall"  # nothing more, until the client gives up
DRIP = "drip"  # a byte now and then, until the client gives up
BOUND_S = 10.0  # no test waits longer


def http(body: bytes | Any, status: int = 200, headers: str = "") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


class LoopbackVenue:
    def __init__(self, play: Callable[[str, dict[str, Any]], Reply], wrap: Callable[..., Any] | None = None) -> None:
        self.play = play
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.heads: list[str] = []  # of each request: its first line and its header, as they came
        self.connections = 0
        self.closed = threading.Semaphore(0)  # released each time this end has closed a connection
        self._wrap = wrap or (lambda sock: sock)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads[0].start()

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def actions(self) -> list[str]:
        return [body["action"]["type"] for path, body in self.requests if path == "/exchange"]

    def hang_up(self) -> None:
        """End every connection; back when all have ended."""
        ended, self._open = self._open, []
        for sock in ended:
            sock.shutdown(socket.SHUT_RDWR)
        for _ in ended:
            assert self.closed.acquire(timeout=BOUND_S)

    def stop(self) -> None:
        self._stop.set()
        with socket.create_connection(("127.0.0.1", self.port), timeout=BOUND_S):
            pass  # wakes the listener
        self._threads[0].join(BOUND_S)
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            raw, _ = self._listener.accept()
            if self._stop.is_set():
                raw.close()
                self._listener.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(raw,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(BOUND_S)
        try:
            sock = self._wrap(raw)
            self._open.append(sock)
            with sock, sock.makefile("rb") as reader:
                while (request := _read_request(reader)) is not None:
                    head, path, body = request
                    self.heads.append(head)
                    self.requests.append((path, body))
                    if not self._perform(sock, self.play(path, body)):
                        break
        except OSError:
            pass  # the client went away, or stop()
        self.closed.release()

    def _perform(self, sock: socket.socket, reply: Reply) -> bool:
        """False when the connection ends here."""
        if isinstance(reply, tuple):
            return all([self._perform(sock, part) for part in reply])
        if isinstance(reply, bytes):
            sock.sendall(reply)
            return True
        if reply == RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while reply == DRIP and not self._stop.wait(0.02):
            sock.sendall(b" ")
        while reply == STALL and sock.recv(1024):
            pass
        return False


def _read_request(reader: Any) -> tuple[str, str, dict[str, Any]] | None:
    """(head, path, body); an empty body is {}."""
    line = head = reader.readline()
    if not line:
        return None
    length = 0
    while (header := reader.readline()).strip() != b"":
        head += header
        if header.lower().startswith(b"content-length:"):
            length = int(header.split(b":")[1])
    return head.decode(), line.split()[1].decode(), json.loads(reader.read(length) or b"{}")


@contextmanager
def loopback_venue(play: Callable[[str, dict[str, Any]], Reply], **options: Any) -> Iterator[LoopbackVenue]:
    venue = LoopbackVenue(play, **options)
    try:
        yield venue
    finally:
        venue.stop()
