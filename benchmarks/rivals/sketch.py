"""The sketch of a fast bot: a websocket-client thread, a queue, one HTTP library, the order signed beforehand.

`plain` is how most bots begin: WebSocketApp with its defaults, json, requests; everything in one callback.
"""

import http.client
import queue
import sys
import threading
from collections.abc import Callable

import requests
import urllib3
import websocket
from game import Game, first_price, game_of, split  # type: ignore[import-not-found]


def sender(kind: str, url: str, game: Game) -> Callable[[], object]:
    """A warm connection that posts the order."""
    path, body, headers = game.path, game.body, game.headers
    if kind == "http.client":
        host, port = split(url)
        connection = http.client.HTTPConnection(host, port)

        def post() -> bytes:
            connection.request("POST", path, body, headers)
            return connection.getresponse().read()

        return post
    if kind == "urllib3":
        pool = urllib3.HTTPConnectionPool(*split(url))
        return lambda: pool.urlopen("POST", path, body=body, headers=headers).data
    session = requests.Session()
    return lambda: session.post(url + path, data=body, headers=headers).content


def warm_up(kind: str, url: str, game: Game) -> Callable[[], object]:
    post = sender(kind, url, game)
    post()  # the venue overlooks an order before the first crossing
    return post


def sketch(kind: str, url: str, game: Game) -> None:
    inbox: queue.Queue[float] = queue.Queue()
    post = warm_up(kind, url, game)

    def stream() -> None:
        ws = websocket.create_connection("ws" + url[4:] + game.stream, skip_utf8_validation=True)
        for said in game.greetings:
            ws.send(said)
        while True:
            _, data = ws.recv_data()
            for price in game.prices(data):
                inbox.put(price)

    threading.Thread(target=stream, daemon=True).start()
    play(inbox.get, post, game)


def play(next_price: Callable[[], float], post: Callable[[], object], game: Game) -> None:
    armed = True
    price = next_price()
    first_price()
    while True:
        if price <= game.stop:
            if armed:
                post()
                armed = False
        else:
            armed = True
        price = next_price()


def plain(url: str, game: Game) -> None:
    post = warm_up("requests", url, game)
    state = {"armed": True, "seen": False}

    def on_open(ws: websocket.WebSocket) -> None:
        for said in game.greetings:
            ws.send(said)

    def on_message(_: websocket.WebSocketApp, text: str) -> None:
        for price in game.prices(text.encode()):
            if not state["seen"]:
                state["seen"] = True
                first_price()
            if price > game.stop:
                state["armed"] = True
            elif state["armed"]:
                post()
                state["armed"] = False

    app = websocket.WebSocketApp("ws" + url[4:] + game.stream, on_open=on_open, on_message=on_message)
    app.run_forever()


if __name__ == "__main__":
    url, game, kind = sys.argv[1], game_of(sys.argv[2]), sys.argv[3]
    plain(url, game) if kind == "plain" else sketch(kind, url, game)
