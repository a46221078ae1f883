"""The floor: two raw sockets, no decoding worth the name, the order's bytes built beforehand."""

import socket
import sys

from game import BODY, split  # type: ignore[import-not-found]

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def connect(url: str) -> socket.socket:
    sock = socket.create_connection(split(url))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def subscribe(sock: socket.socket) -> None:
    head = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    sock.sendall(head + KEY + b"\r\n")
    while not sock.recv(4096).endswith(b"\r\n\r\n"):
        pass
    text = b'{"method":"subscribe","subscription":{"type":"trades","coin":"BTC"}}'
    sock.sendall(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)  # a mask of zeros


def main(url: str) -> None:
    feed, orders = connect(url), connect(url)
    request = b"POST /exchange HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    request = request % len(BODY) + BODY
    subscribe(feed)
    armed = True
    while data := feed.recv(65_536):
        if b'"px":"49000' in data:
            if armed:
                orders.sendall(request)
                orders.recv(65_536)
                armed = False
        elif b'"px":"5' in data:
            armed = True


main(sys.argv[1])
