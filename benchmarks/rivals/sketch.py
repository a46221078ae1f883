"""The sketch of a fast bot: a websocket-client thread, a queue, one HTTP library, the order signed beforehand.

`plain` is how most bots begin: WebSocketApp with its defaults, json, requests; everything in one callback.
"""

import http.client
import json
import queue
import sys
import threading
from collections.abc import Callable

import requests
import urllib3
import websocket
from game import BODY, STOP, SUBSCRIBE, TYPE, first_price, split  # type: ignore[import-not-found]


def sender(kind: str, url: str) -> Callable[[], object]:
    """A warm connection that posts the order."""
    if kind == "http.client":
        host, port = split(url)
        connection = http.client.HTTPConnection(host, port)

        def post() -> bytes:
            connection.request("POST", "/exchange", BODY, TYPE)
            return connection.getresponse().read()

        return post
    if kind == "urllib3":
        pool = urllib3.HTTPConnectionPool(*split(url))
        return lambda: pool.urlopen("POST", "/exchange", body=BODY, headers=TYPE).data
    session = requests.Session()
    return lambda: session.post(url + "/exchange", data=BODY, headers=TYPE).content


def warm_up(kind: str, url: str) -> Callable[[], object]:
    post = sender(kind, url)
    post()  # the venue overlooks an order before the first crossing
    return post


def sketch(kind: str, url: str) -> None:
    inbox: queue.Queue[float] = queue.Queue()
    post = warm_up(kind, url)

    def stream() -> None:
        ws = websocket.create_connection("ws" + url[4:] + "/ws", skip_utf8_validation=True)
        ws.send(SUBSCRIBE)
        while True:
            _, data = ws.recv_data()
            message = json.loads(data)
            if message["channel"] == "trades":
                for trade in message["data"]:
                    inbox.put(float(trade["px"]))

    threading.Thread(target=stream, daemon=True).start()
    play(inbox.get, post)


def play(next_price: Callable[[], float], post: Callable[[], object]) -> None:
    armed = True
    price = next_price()
    first_price()
    while True:
        if price <= STOP:
            if armed:
                post()
                armed = False
        else:
            armed = True
        price = next_price()


def plain(url: str) -> None:
    post = warm_up("requests", url)
    state = {"armed": True, "seen": False}

    def on_message(_: websocket.WebSocketApp, text: str) -> None:
        message = json.loads(text)
        if message["channel"] != "trades":
            return
        if not state["seen"]:
            state["seen"] = True
            first_price()
        for trade in message["data"]:
            if float(trade["px"]) > STOP:
                state["armed"] = True
            elif state["armed"]:
                post()
                state["armed"] = False

    app = websocket.WebSocketApp("ws" + url[4:] + "/ws", on_open=lambda ws: ws.send(SUBSCRIBE), on_message=on_message)
    app.run_forever()


if __name__ == "__main__":
    plain(sys.argv[1]) if sys.argv[2] == "plain" else sketch(sys.argv[2], sys.argv[1])
