"""topstep-client-py as its examples use it: a trade handler of the market hub, orders.cancel in it."""

import asyncio
import sys
from typing import Any

from game import ACCOUNT_ID, CONTRACT, TRAIL, first_price  # type: ignore[import-not-found]
from topstep import TopstepClient  # type: ignore[import-not-found]
from topstep.realtime.market_hub import MarketHub  # type: ignore[import-not-found]


async def main(url: str) -> None:
    async with await TopstepClient.create("demo", "demo", base_url=url) as client:
        state = {"armed": True, "seen": False}

        async def on_trade(arguments: list[Any]) -> None:
            if not state["seen"]:
                state["seen"] = True
                first_price()
            for trade in arguments[1]:
                if trade["price"] > TRAIL:
                    state["armed"] = True
                elif state["armed"]:
                    state["armed"] = False
                    await client.orders.cancel(ACCOUNT_ID, 3_400_000_001)

        hub = MarketHub(client.token, f"{url}/hubs/market")
        opened = asyncio.Event()
        hub.on_open(opened.set)
        hub.on_trade(on_trade)
        await hub.connect()
        await opened.wait()
        await hub.subscribe_trades(CONTRACT)
        await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
