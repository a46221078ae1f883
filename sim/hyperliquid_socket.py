"""`GET /ws`: subscriptions, and the frames that what happens turns into (protocol page 1).

Everything here runs on the server's loop. A client's frames go through its outbox, so a slow reader delays nobody.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from sim.hyperliquid_channels import (
    WrongCoin,
    best,
    fills_frame,
    first_frames,
    is_account_feed,
    normalise,
    state_frame,
    topic,
)
from sim.hyperliquid_outbox import Client, deliver
from sim.hyperliquid_types import BadShape
from sim.hyperliquid_venue import HyperliquidVenue
from sim.hyperliquid_views import fill_rows, funding_row, record_row
from sim.hyperliquid_wire import JSON, basic_order
from sim.orders import ExchangeEvent, Execution, FundingPaid, OrderChanged, Printed, Status
from sim.upgrade import upgrade

CANDLE_S = 0.5
MAX_CONNECTIONS, MAX_CONNECTS, MAX_SUBSCRIPTIONS, MAX_MESSAGES, MAX_POSTS = 10, 30, 1000, 2000, 100
MINUTE_S = 60.0

_SYSTEM_CANCELS = {Status.SELF_TRADE, Status.MARGIN_CANCELED, Status.LIQUIDATED, Status.SCHEDULED}

Post = Callable[[Client, Any], Awaitable[Any]]


class Hub:
    """All sockets, who listens to what, and the clocks of the channels."""

    def __init__(self, venue: HyperliquidVenue, post: Post, changed: Callable[[], None]) -> None:
        self.venue = venue
        self.clients: set[Client] = set()
        self.accepted = 0  # sockets ever
        self._post = post
        self._changed = changed
        self._listening: dict[str, dict[Client, JSON]] = {}
        self._bbo: dict[str, Any] = {}
        self._bbo_topics = [(coin, topic({"type": "bbo", "coin": coin})) for coin in venue.live]
        self._dirty_candles: set[str] = set()
        self._connects: deque[float] = deque()
        self._messages: deque[float] = deque()
        self._tasks: set[asyncio.Task] = set()
        venue.listeners.append(self.publish)

    def start(self) -> None:
        config = self.venue.config
        for every_s, beat in (
            (config.book_s, lambda: self._books(False)),
            (config.fast_book_s, lambda: self._books(True)),
            (config.context_s, self._contexts),
            (config.mids_s, self._mids),
            (config.feed_s, self._feeds),
            (CANDLE_S, self._candles),
            (min(1.0, config.silence_s / 10), self._drop_silent),
        ):
            self._spawn(self._repeat(every_s, beat))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _repeat(self, every_s: float, beat: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(every_s)
            beat()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        self.drop_all()

    def drop_all(self) -> None:
        """Reset every connection, without a close frame."""
        for client in list(self.clients):
            client.transport.abort()

    # --- one connection ---------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if refused := self.venue.faults.take("refuse_sockets"):
            return web.Response(status=int(refused.get("status", 503)), text="refused")
        if not self._may_connect():
            return web.Response(status=429, text="null", content_type="application/json")
        ws = web.WebSocketResponse(compress=False, max_msg_size=1 << 20, timeout=1.0)
        transport = await upgrade(request, ws)
        if transport is None:
            return web.Response()  # nobody reads it
        client = Client(ws, transport, asyncio.get_running_loop())
        self.clients.add(client)
        self.accepted += 1
        self._changed()
        writer = asyncio.ensure_future(self._write(client))
        try:
            if self.venue.faults.on("greeting"):
                client.outbox.put_nowait("Websocket connection established.")
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    self._receive(client, message.data)
                    self._changed()
        finally:
            writer.cancel()
            self._forget(client)
            self._changed()
        return ws

    def _may_connect(self) -> bool:
        if not self.venue.config.limits:
            return True
        now = asyncio.get_running_loop().time()
        while self._connects and self._connects[0] < now - MINUTE_S:
            self._connects.popleft()
        if len(self.clients) >= MAX_CONNECTIONS or len(self._connects) >= MAX_CONNECTS:
            return False
        self._connects.append(now)
        return True

    async def _write(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await client.ws.send_str(await client.outbox.get())
                client.spoke_s = loop.time()
        except (ConnectionError, RuntimeError):
            client.transport.abort()  # it went away; the reading side ends with it

    def _forget(self, client: Client) -> None:
        self.clients.discard(client)
        for name in client.topics:
            self._listening.get(name, {}).pop(client, None)

    def _drop_silent(self) -> None:
        now, limit = asyncio.get_running_loop().time(), self.venue.config.silence_s
        for client in list(self.clients):
            if self.venue.faults.on("stall"):
                client.spoke_s = now  # the fault keeps the socket open
            elif now - client.spoke_s > limit:
                client.transport.abort()

    # --- requests ---------------------------------------------------------------------------------------------------

    def _receive(self, client: Client, text: str) -> None:
        if not self._may_send():
            client.transport.abort()
            return
        try:
            frame = json.loads(text)
            method = frame.get("method") if isinstance(frame, dict) else None
            if method == "ping":
                self.send(client, {"channel": "pong"}, "pong")
            elif method == "subscribe":
                self._subscribe(client, normalise(frame.get("subscription"), self.venue.exchange.markets))
            elif method == "unsubscribe":
                self._unsubscribe(client, normalise(frame.get("subscription"), self.venue.exchange.markets))
            elif method == "post" and isinstance(frame.get("id"), int):
                self._start_post(client, frame)
            else:
                raise BadShape("method")
        except WrongCoin:
            self._wrong_coin(client, text)
        except (ValueError, BadShape):
            self.error(client, f"Error parsing JSON into valid websocket request: {text}")

    def _may_send(self) -> bool:
        if not self.venue.config.limits:
            return True
        now = asyncio.get_running_loop().time()
        self._messages.append(now)
        while self._messages[0] < now - MINUTE_S:
            self._messages.popleft()
        return len(self._messages) <= MAX_MESSAGES

    def _wrong_coin(self, client: Client, text: str) -> None:
        how = (self.venue.faults.on("unknown_coin") or {}).get("how")
        subscription = json.loads(text)["subscription"]
        if how == "error":
            self.error(client, f"Invalid subscription {json.dumps(subscription, separators=(',', ':'))}")
        elif how == "silent":
            self._acknowledge(client, "subscribe", subscription)
        else:
            client.transport.abort()

    def error(self, client: Client, text: str) -> None:
        self.send(client, {"channel": "error", "data": text}, "error")

    def _acknowledge(self, client: Client, method: str, subscription: JSON) -> None:
        data = {"method": method, "subscription": subscription}
        self.send(client, {"channel": "subscriptionResponse", "data": data}, "subscriptionResponse")

    def _subscribe(self, client: Client, subscription: JSON) -> None:
        name = topic(subscription)
        if name in client.topics:
            self.error(client, f"Already subscribed: {name}")
            return
        if len(client.topics) >= MAX_SUBSCRIPTIONS:
            self.error(client, f"Cannot subscribe to more than {MAX_SUBSCRIPTIONS} channels.")
            return
        limit = self.venue.config.user_limit
        known = set().union(*(c.users() for c in self.clients))
        if "user" in subscription and len(known | {subscription["user"]}) > limit:
            self.error(client, f"Cannot track more than {limit} total users.")
            return
        if "user" in subscription:
            self.venue.read_account(subscription["user"])
        self._acknowledge(client, "subscribe", subscription)
        client.topics[name] = subscription
        self._listening.setdefault(name, {})[client] = subscription
        for channel, data in first_frames(self.venue, subscription):
            self.send(client, {"channel": channel, "data": data}, channel, subscription.get("coin"))

    def _unsubscribe(self, client: Client, subscription: JSON) -> None:
        name = topic(subscription)
        if name not in client.topics:
            self.error(client, f"Already unsubscribed: {name}")
            return
        del client.topics[name]
        del self._listening[name][client]
        self._acknowledge(client, "unsubscribe", subscription)

    def _start_post(self, client: Client, frame: JSON) -> None:
        if client.posts >= MAX_POSTS:
            self.error(client, f"too many pending post requests id={frame['id']}")
            return
        client.posts += 1
        self._spawn(self._answer_post(client, frame["id"], frame.get("request")))

    async def _answer_post(self, client: Client, request_id: int, request: Any) -> None:
        try:
            response = await self._post(client, request)
        finally:
            client.posts -= 1
        self.send(client, {"channel": "post", "data": {"id": request_id, "response": response}}, "post")

    # --- beats ------------------------------------------------------------------------------------------------------

    def _resend(self, wanted: Callable[[JSON], bool]) -> None:
        """Send the whole state again to everybody subscribed to a wanted channel."""
        for listeners in list(self._listening.values()):
            subscription = next(iter(listeners.values()), None)
            if subscription is None or not wanted(subscription):
                continue
            if frame := state_frame(self.venue, subscription):
                self._broadcast(listeners, *frame, subscription.get("coin"))

    def _books(self, fast: bool) -> None:
        self._resend(lambda s: s["type"] == "l2Book" and s["fast"] is fast)

    def _contexts(self) -> None:
        self._resend(lambda s: s["type"] == "activeAssetCtx")

    def _mids(self) -> None:
        self._resend(lambda s: s["type"] in ("allMids", "assetCtxs", "allDexsAssetCtxs"))

    def _feeds(self) -> None:
        feeds = ("clearinghouseState", "openOrders", "spotState", "activeAssetData", "webData3", "twapStates")
        self._resend(lambda s: s["type"] in feeds)

    def _candles(self) -> None:
        dirty, self._dirty_candles = self._dirty_candles, set()
        if dirty:
            self._resend(lambda s: s["type"] == "candle" and s["coin"] in dirty)

    # --- events -----------------------------------------------------------------------------------------------------

    def publish(self, events: list[ExchangeEvent]) -> None:
        """Turn what just happened into frames: one a channel, trades before fills before order updates."""
        trades: dict[str, list[Printed]] = {}
        fills: dict[str, list[Execution]] = {}
        orders: dict[str, list[OrderChanged]] = {}
        for event in events:
            if isinstance(event, Printed):
                trades.setdefault(event.symbol, []).append(event)
            elif isinstance(event, Execution):
                fills.setdefault(event.account, []).append(event)
            elif isinstance(event, OrderChanged):
                orders.setdefault(event.order.account, []).append(event)
            else:
                self._publish_funding(event)
        for coin, prints in trades.items():
            self._dirty_candles.add(coin)
            self._tell({"type": "trades", "coin": coin}, "trades", partial(self.venue.trade_rows, prints))
        for user, executions in fills.items():
            self._publish_fills(user, executions)
        for user, changes in orders.items():
            self._publish_orders(user, changes)
        for user in {*fills, *orders}:
            self._resend(partial(is_account_feed, user))
        self._publish_bbo()
        self._changed()

    def _publish_bbo(self) -> None:
        for coin, name in self._bbo_topics:
            if listeners := self._listening.get(name):
                data = best(self.venue, coin)
                if data["bbo"] != self._bbo.get(coin):
                    self._bbo[coin] = data["bbo"]
                    self._broadcast(listeners, "bbo", data, coin)

    def _publish_fills(self, user: str, fills: list[Execution]) -> None:
        for by_time in (False, True):
            subscription = {"type": "userFills", "user": user, "aggregateByTime": by_time}
            self._tell(subscription, "userFills", partial(fills_frame, user, fills, by_time))
        events = {"type": "userEvents", "user": user}
        self._tell(events, "user", lambda: {"fills": fill_rows(fills, False)})
        if fills[0].liquidation is not None and fills[0].liquidation.account == user:
            value = str(sum(f.price * f.size for f in fills))
            notice = {"lid": fills[0].trade_id, "liquidator": "0x" + "0" * 40, "liquidated_user": user}
            notice |= {"liquidated_ntl_pos": value, "liquidated_account_value": "0.0"}
            self._tell(events, "user", lambda: {"liquidation": notice})

    def _publish_orders(self, user: str, changes: list[OrderChanged]) -> None:
        def rows() -> list[JSON]:
            return [
                {"order": basic_order(c.order), "status": c.status.value, "statusTimestamp": c.time_ms} for c in changes
            ]

        self._tell({"type": "orderUpdates", "user": user}, "orderUpdates", rows)
        records = [self.venue.records[c.order.order_id] for c in changes]
        history = {"type": "userHistoricalOrders", "user": user}
        self._tell(history, "userHistoricalOrders", lambda: {"user": user, "orderHistory": [*map(record_row, records)]})
        system = [c.order for c in changes if c.status in _SYSTEM_CANCELS]
        if system:
            cancels = [{"coin": o.request.symbol, "oid": o.order_id} for o in system]
            self._tell({"type": "userEvents", "user": user}, "user", lambda: {"nonUserCancel": cancels})

    def _publish_funding(self, paid: FundingPaid) -> None:
        row = funding_row(paid.time_ms, paid.symbol, paid.amount, paid.size, paid.rate)
        user = paid.account
        self._tell({"type": "userEvents", "user": user}, "user", lambda: {"funding": row})
        self._tell({"type": "userFundings", "user": user}, "userFundings", lambda: {"user": user, "fundings": [row]})

    def _tell(self, subscription: JSON, channel: str, data: Callable[[], Any]) -> None:
        """Send to who is subscribed; `data` is made only if somebody is."""
        if listeners := self._listening.get(topic(subscription)):
            self._broadcast(listeners, channel, data(), subscription.get("coin"))

    def _broadcast(self, listeners: Iterable[Client], channel: str, data: Any, coin: str | None = None) -> None:
        text = msgspec.json.encode({"channel": channel, "data": data}).decode()
        for client in list(listeners):
            deliver(client, self.venue.faults, text, channel, coin)

    def send(self, client: Client, frame: JSON, channel: str, coin: str | None = None) -> None:
        deliver(client, self.venue.faults, msgspec.json.encode(frame).decode(), channel, coin)

    def send_raw(self, text: str) -> None:
        """A text to every socket, as it is."""
        for client in self.clients:
            client.outbox.put_nowait(text)
