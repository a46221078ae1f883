"""The official Python SDK as its examples use it: Info.subscribe with a callback, Exchange.order in it."""

import sys
import threading
from typing import Any

import eth_account
from game import KEY, STOP, first_price  # type: ignore[import-not-found]
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info

url = sys.argv[1]
wallet = eth_account.Account.from_key(KEY)
info = Info(url)
exchange = Exchange(wallet, url)
armed = True
seen = False


def on_trades(message: Any) -> None:
    global armed, seen
    if not seen:
        seen = True
        first_price()
    for trade in message["data"]:
        if float(trade["px"]) > STOP:
            armed = True
        elif armed:
            exchange.order("BTC", False, 0.01, 46550, {"limit": {"tif": "Ioc"}}, reduce_only=True)
            armed = False


info.subscribe({"type": "trades", "coin": "BTC"}, on_trades)
threading.Event().wait()
