"""Both hubs of the simulated TopstepX: the SignalR JSON hub protocol on WebSocket (protocol page 3 and 4).

Everything here runs on the server's loop. A client's records go through its outbox, so a slow reader delays nobody.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec
from aiohttp import WSMessage, WSMsgType, web

from sim.topstepx_events import (
    Topic,
    depth_rows,
    depth_snapshot,
    first_quote,
    quote_row,
    salted,
    topic_of,
    trade_rows,
    twist_user_event,
    user_topic,
)
from sim.topstepx_market import Record
from sim.topstepx_socket import PING, RS, HubClient
from sim.topstepx_types import BookEvent
from sim.topstepx_venue import TopstepxVenue
from sim.topstepx_wire import JSON, encode, user_event
from sim.upgrade import upgrade

CLOSED = "Connection closed with an error."
FAILED = "Failed to invoke '{0}' due to an error on the server."
NO_METHOD = FAILED + " HubException: Method does not exist."
UNAUTHORIZED = "Failed to invoke '{0}' because user is unauthorized"
TOLD = 20  # newest events kept of each topic
MAX_CLIENT_MESSAGE = 32 * 1024
TRANSPORTS = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]


class Hubs:
    """All sockets and who listens to what. `good(token)` judges a token; `invoked(hub, target, arguments)` is told of
    every call."""

    def __init__(
        self,
        venue: TopstepxVenue,
        good: Callable[[web.Request], bool],
        changed: Callable[[], None],
        invoked: Callable[[str, str, Any], None],
    ) -> None:
        self.venue = venue
        self.clients: set[HubClient] = set()
        self.accepted = 0  # sockets ever
        self._good, self._changed, self._invoked = good, changed, invoked
        self._negotiated: set[str] = set()
        self._latest: dict[str, Record] = {}  # what the hub has told of each contract
        self._frozen_us: dict[str, int] = {}
        self._told: dict[Topic, deque[list[Any]]] = {}  # the newest events, for `replay` and `snapshot`
        self._tasks: set[asyncio.Task] = set()
        venue.on_record = self.publish_record
        venue.on_events = self.publish_events

    def start(self) -> None:
        config = self.venue.config
        self._spawn(self._keep_alive(min(1.0, config.ping_s / 5, config.client_timeout_s / 5)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        self.drop_all()

    def drop_all(self, hub: str | None = None) -> None:
        """Reset every connection, without a word."""
        for client in self._of(hub):
            client.transport.abort()

    def _of(self, hub: str | None) -> list[HubClient]:
        return [client for client in self.clients if hub in (None, client.name)]

    # --- one connection ---------------------------------------------------------------------------------------------

    async def negotiate(self, request: web.Request) -> web.StreamResponse:
        if not self._good(request):
            return web.Response(status=401)
        connection = secrets.token_urlsafe(16)
        answer: JSON = {"negotiateVersion": 0, "connectionId": connection, "availableTransports": TRANSPORTS}
        if request.query.get("negotiateVersion") == "1":
            token = secrets.token_urlsafe(16)
            answer |= {"negotiateVersion": 1, "connectionToken": token}
            self._negotiated.add(token)
        else:
            self._negotiated.add(connection)
        return web.Response(body=encode(answer), content_type="application/json")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["hub"]
        if refused := self.venue.faults.take("refuse_sockets", hub=name):
            return web.Response(status=int(refused.get("status", 401)))
        if not self._good(request):
            return web.Response(status=401)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=405)
        if "id" in request.query:
            if request.query["id"] not in self._negotiated:
                return web.Response(status=404)
            self._negotiated.discard(request.query["id"])
        ws = web.WebSocketResponse(compress=False, max_msg_size=MAX_CLIENT_MESSAGE, timeout=1.0)
        transport = await upgrade(request, ws)
        if transport is None:
            return web.Response()  # nobody reads it
        client = HubClient(name, ws, transport, self.venue.faults)
        self.clients.add(client)
        self.accepted += 1
        self._changed()
        await self._converse(client)
        return ws

    async def _converse(self, client: HubClient) -> None:
        writer = self._spawn(client.write())
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.venue.config.handshake_s, self._handshake_late, client)
        try:
            async for message in client.ws:
                self._read(client, message)
                if client.is_shaken:
                    timer.cancel()
                self._changed()
        finally:
            timer.cancel()
            self.clients.discard(client)
            if not client.is_ending:
                writer.cancel()
            self._changed()

    def _handshake_late(self, client: HubClient) -> None:
        if not client.is_shaken:
            self._refuse_handshake(client, "Handshake was canceled.")

    # --- what a client says -----------------------------------------------------------------------------------------

    def _read(self, client: HubClient, message: WSMessage) -> None:
        if message.type is not WSMsgType.TEXT or client.is_ending:
            return
        client.heard_s = asyncio.get_running_loop().time()
        *records, client.unread = (client.unread + message.data).split(RS)
        for record in records:
            try:
                value = msgspec.json.decode(record)
                if not isinstance(value, dict):
                    raise ValueError("a record is an object")
            except ValueError:  # msgspec's included
                value = None
            if not client.is_shaken:
                self._shake(client, value)
            elif value is None:
                self.close(CLOSED, True, client=client)
            else:
                self._obey(client, value)
            if client.is_ending:
                return

    def _shake(self, client: HubClient, record: JSON | None) -> None:
        if fault := self.venue.faults.take("handshake_error", hub=client.name):
            self._refuse_handshake(client, str(fault.get("error", "Handshake failed.")))
        elif record is None or "protocol" not in record:
            self._refuse_handshake(client, "Expected a handshake request message.")
        elif record["protocol"] != "json":
            self._refuse_handshake(client, f"The protocol '{record['protocol']}' is not supported.")
        elif record.get("version") not in (0, 1):
            version = record.get("version")
            self._refuse_handshake(client, f"The server does not support version {version} of the 'json' protocol.")
        else:
            client.is_shaken = True
            client.say({})

    def _refuse_handshake(self, client: HubClient, error: str) -> None:
        client.say({"error": error})
        client.end()

    def _obey(self, client: HubClient, record: JSON) -> None:
        kind = record.get("type")
        if kind == 6:
            client.has_pinged = True
        elif kind == 7:
            client.end()
        elif kind == 1:
            target, arguments = str(record.get("target")), record.get("arguments")
            self._invoked(client.name, target, arguments)
            error, topic = self._invoke(client, target, arguments)
            if (invocation := record.get("invocationId")) is not None:
                answer: JSON = {"type": 3, "invocationId": invocation}
                answer |= {"result": 0} if error is None else {"error": error}
                client.deliver(answer, "Completion")
            if topic is not None:
                self._greet(client, topic)

    def _invoke(self, client: HubClient, target: str, arguments: Any) -> tuple[str | None, Topic | None]:
        """What went wrong, and the topic that is newly listened to."""
        found = topic_of(client.name, target)
        if found is None:
            return NO_METHOD.format(target), None
        kind, wants, is_on = found
        values = arguments if isinstance(arguments, list) else []
        if [type(value) for value in values] != ([] if wants is None else [wants]):
            return FAILED.format(target), None
        value = values[0] if values else None
        if wants is int and value not in self.venue.book.accounts:
            return UNAUTHORIZED.format(target), None
        topic = (kind, value)
        if wants is str and (contract := self.venue.find(str(value))) is not None:
            self.venue.market(contract)  # before it is listened to: the first quote is `_greet`'s
        if not is_on:
            client.topics.discard(topic)
            return None, None
        client.topics.add(topic)
        return None, topic

    def _greet(self, client: HubClient, topic: Topic) -> None:
        """The first word on a topic: a whole quote, or the book. An unknown contract gets silence."""
        self._repeat(client, topic)
        kind, contract_id = topic
        contract = self.venue.find(str(contract_id))
        if client.name != "market" or contract is None:
            return
        record = self._latest.get(contract.id)
        if record is None:
            return
        if kind == "GatewayQuote":
            shift_us = self._shift_us("old_first_quote") or self._shift_us("stale_quotes", "delayed_data")
            self.venue.faults.take("old_first_quote")
            self._event(client, kind, [contract.id, first_quote(record, shift_us)])
        elif kind == "GatewayDepth":
            levels = 100 if self.venue.faults.on("large_depth") else 5
            self._event(client, kind, [contract.id, depth_snapshot(record, levels)])

    def _repeat(self, client: HubClient, topic: Topic) -> None:
        """What was told of a topic comes again: all of it, or the last word on each thing."""
        told, faults = list(self._told.get(topic, ())), self.venue.faults
        if client.name == "user" and told and faults.take("snapshot"):
            told = list({str(changed["data"].get("id")): [changed] for [changed] in told if "data" in changed}.values())
        elif not told or not faults.take("replay"):
            return
        for arguments in told:
            self._event(client, topic[0], arguments)

    # --- what the venue says ----------------------------------------------------------------------------------------

    def publish_record(self, record: Record) -> None:
        """A moment of one contract as quote, prints and depth; quotes only what has changed."""
        contract_id = record.contract.id
        before, self._latest[contract_id] = self._latest.get(contract_id), record
        if listeners := self._listening("GatewayQuote", contract_id):
            shift_us = self._shift_us("stale_quotes", "delayed_data")
            row = quote_row(None if before is None else before.quote, record, shift_us, self._frozen(contract_id))
            if row is not None:
                self._tell(listeners, "GatewayQuote", [contract_id, row])
        if record.prints and (listeners := self._listening("GatewayTrade", contract_id)):
            arguments = [contract_id, trade_rows(record, self._shift_us("delayed_data"))]
            self._told.setdefault(("GatewayTrade", contract_id), deque(maxlen=TOLD)).append(arguments)
            self._tell(listeners, "GatewayTrade", arguments)
        if listeners := self._listening("GatewayDepth", contract_id):
            self._tell(listeners, "GatewayDepth", [contract_id, depth_rows(record)])

    def _shift_us(self, *faults: str) -> int:
        """How far back the times in market data lie, by the first of these faults that is on."""
        on = (self.venue.faults.on(name, hub="market") for name in faults)
        fault = next((each for each in on if each is not None), None)
        return 0 if fault is None else -int(fault.get("ms", 900_000)) * 1_000

    def _frozen(self, contract_id: str) -> tuple[int | None, bool]:
        """Where `timestamp` stands still, and whether `lastUpdated` does too (fault frozen_timestamp)."""
        fault = self.venue.faults.on("frozen_timestamp")
        if fault is None:
            self._frozen_us.pop(contract_id, None)
            return None, False
        return self._frozen_us.setdefault(contract_id, self.venue.now_us()), bool(fault.get("last_updated"))

    def publish_events(self, events: list[BookEvent]) -> None:
        for event in events:
            account = self.venue.book.accounts[user_topic(event)]
            target, row = user_event(event, account)
            value = None if target == "GatewayUserAccount" else account.id
            self._told.setdefault((target, value), deque(maxlen=TOLD)).append([row])
            if listeners := self._listening(target, value):
                for changed in twist_user_event(self.venue.faults, target, row):
                    self._tell(listeners, target, [changed])
        self._changed()

    def _listening(self, kind: str, value: Any) -> list[HubClient]:
        return [client for client in self.clients if (kind, value) in client.topics]

    def _tell(self, listeners: Iterable[HubClient], target: str, arguments: list[Any]) -> None:
        for client in listeners:
            self._event(client, target, arguments)

    def _event(self, client: HubClient, target: str, arguments: list[Any]) -> None:
        if self.venue.faults.on("extra_fields"):
            arguments = salted(arguments)
        client.deliver({"type": 1, "target": target, "arguments": arguments}, target)

    def send_raw(self, text: str, hub: str | None = None) -> None:
        """A text to every socket, as it is."""
        for client in self._of(hub):
            client.put(text)

    def close(
        self,
        error: str | None,
        allow_reconnect: bool | None,
        hub: str | None = None,
        client: HubClient | None = None,
    ) -> None:
        """A Close record, then the end; None leaves a field out."""
        record: JSON = {"type": 7}
        record |= {} if error is None else {"error": error}
        record |= {} if allow_reconnect is None else {"allowReconnect": allow_reconnect}
        for each in self._of(hub) if client is None else [client]:
            each.say(record)
            each.end()

    # --- keepalive --------------------------------------------------------------------------------------------------

    async def _keep_alive(self, every_s: float) -> None:
        """Pings after own silence; a client that has pinged once and then says nothing is dropped (page 4.4)."""
        config, loop = self.venue.config, asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every_s)
            now = loop.time()
            for client in [c for c in self.clients if c.is_shaken and not c.is_ending]:
                if client.has_pinged and now - client.heard_s > config.client_timeout_s:
                    self.close(CLOSED, True, client=client)
                elif now - client.spoke_s >= config.ping_s:
                    client.spoke_s = now
                    client.deliver(PING, "Ping")
