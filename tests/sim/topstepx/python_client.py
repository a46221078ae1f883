"""Run by test_python_client.py with topstep-client-py on its path: logs in, reads, listens, places and cancels.

Arguments: the gateway's address and a contract id. Prints one JSON object of what it saw.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

from topstep import TopstepClient
from topstep.exceptions import APIError
from topstep.models.order import Bracket, PlaceOrderRequest
from topstep.realtime.market_hub import MarketHub
from topstep.realtime.user_hub import UserHub


async def main(url: str, contract: str) -> dict:
    async with await TopstepClient.create("demo", "demo", base_url=url) as client:
        client._market_hub = MarketHub(client.token, f"{url}/hubs/market")
        client._user_hub = UserHub(client.token, f"{url}/hubs/user")
        accounts = await client.accounts.search()
        account = next(a for a in accounts if a.name.startswith("PRAC-"))
        now = datetime.now(UTC)
        bars = await client.history.retrieve_bars(contract, now - timedelta(hours=1), now + timedelta(hours=1))
        heard = await listen(client, account.id, contract)

        market = PlaceOrderRequest(
            account_id=account.id, contract_id=contract, type=2, side=0, size=1, custom_tag="py-1",
            stop_loss_bracket=Bracket(ticks=-40, type=4), take_profit_bracket=Bracket(ticks=80, type=1),
        )  # fmt: skip
        entry = await client.orders.place(market)
        order = await asyncio.wait_for(heard["orders"].get(), 5)
        try:
            await client.orders.place(market)
            refused = None
        except APIError as e:
            refused = str(e)
        while len(working := await client.orders.search_open(account.id)) < 2:
            await asyncio.sleep(0.02)
        await client.orders.modify(account.id, working[0].id, stop_price=working[0].stop_price + 1)
        for each in working:
            await client.orders.cancel(account.id, each.id)
        while await client.orders.search_open(account.id):
            await asyncio.sleep(0.02)
        positions = await client.positions.search_open(account.id)
        await client.positions.close(account.id, contract)
        while await client.positions.search_open(account.id):
            await asyncio.sleep(0.02)
        history = await client.orders.search(account.id, now - timedelta(minutes=5))
        trades = await client.trades.search(account.id, now - timedelta(minutes=5))
        await client.refresh_token()
        return {
            "accounts": [a.name for a in accounts],
            "contracts": [c.name for c in await client.contracts.available()],
            "bars": len(bars),
            "quote": await asyncio.wait_for(heard["quotes"].get(), 5),
            "entry": entry,
            "order": order,
            "refused": refused,
            "working": [str(o.custom_tag) for o in working],
            "position": positions[0].size,
            "history": [(o.id, int(o.status)) for o in history],
            "trades": [t.profit_and_loss for t in trades],
            "balance": (await client.accounts.search())[1].balance,
        }


async def listen(client: TopstepClient, account: int, contract: str) -> dict:
    heard = {"quotes": asyncio.Queue(), "orders": asyncio.Queue()}
    client.market.on_quote(lambda args: heard["quotes"].put_nowait(args))
    client.user.on_order(lambda args: heard["orders"].put_nowait(args))
    for hub in (client.market, client.user):
        opened = asyncio.Event()
        hub.on_open(opened.set)
        await hub.connect()
        await asyncio.wait_for(opened.wait(), 5)
    await client.market.subscribe_quotes(contract)
    await client.user.subscribe_orders(account)
    first = await asyncio.wait_for(heard["quotes"].get(), 5)  # both subscriptions were sent one after the other
    heard["quotes"].put_nowait(first)
    return heard


sys.stdout.write(json.dumps(asyncio.run(main(*sys.argv[1:]))))
