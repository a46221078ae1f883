"""ccxt pro: watch_trades in a loop, create_order, its throttle off."""

import asyncio
import sys
from typing import Any

import ccxt.pro  # type: ignore[import-not-found]
from game import KEY, STOP, first_price  # type: ignore[import-not-found]

ADDRESS = "0x" + "a1" * 20
SYMBOL = "BTC/USDC:USDC"


def open_exchange(url: str) -> Any:
    exchange = ccxt.pro.hyperliquid(
        {
            "walletAddress": ADDRESS,
            "privateKey": KEY,
            "enableRateLimit": False,
            "options": {"builderFee": False, "refSet": True, "fetchMarkets": {"types": ["swap"]}},
        }
    )
    exchange.urls["api"] = {"public": url, "private": url, "ws": {"public": "ws" + url[4:] + "/ws"}}
    return exchange


async def main(url: str) -> None:
    exchange = open_exchange(url)
    await exchange.load_markets()
    armed, seen = True, False
    while True:
        for trade in await exchange.watch_trades(SYMBOL):
            if not seen:
                seen = True
                first_price()
            if trade["price"] > STOP:
                armed = True
            elif armed:
                params = {"reduceOnly": True, "timeInForce": "Ioc"}
                await exchange.create_order(SYMBOL, "limit", "sell", 0.01, 46550, params)
                armed = False


asyncio.run(main(sys.argv[1]))
