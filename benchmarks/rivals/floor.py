"""The floor: two raw sockets, no decoding worth the name, the order's bytes built beforehand."""

import socket
import sys

from game import Game, game_of, split  # type: ignore[import-not-found]

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def connect(url: str) -> socket.socket:
    sock = socket.create_connection(split(url))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def subscribe(sock: socket.socket, game: Game) -> None:
    head = "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    sock.sendall((head % game.stream).encode() + KEY + b"\r\n")
    while not sock.recv(4096).endswith(b"\r\n\r\n"):
        pass
    for said in game.greetings:
        text = said.encode()
        sock.sendall(bytes((0x81, 0x80 | len(text))) + bytes(4) + text)  # a mask of zeros


def main(url: str, game: Game) -> None:
    feed, orders = connect(url), connect(url)
    request = b"POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    request = request % (game.path.encode(), game.header, len(game.body)) + game.body
    subscribe(feed, game)
    armed = True
    below, above = game.below, game.above
    while data := feed.recv(65_536):
        if below in data:
            if armed:
                orders.sendall(request)
                orders.recv(65_536)
                armed = False
        elif above in data:
            armed = True


main(sys.argv[1], game_of(sys.argv[2]))
