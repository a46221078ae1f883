"""One socket of a hub of the simulated TopstepX: its outbox, and what faults do to records on their way out."""

import asyncio

from aiohttp import web

from sim.faults import Faults
from sim.topstepx_events import Topic
from sim.topstepx_wire import JSON, encode

RS = "\x1e"  # ends every record
JOINED = 4  # records that wait travel together, at most so many
PING: JSON = {"type": 6}


class HubClient:
    """One connected socket."""

    def __init__(self, name: str, ws: web.WebSocketResponse, transport: asyncio.Transport, faults: Faults) -> None:
        self.name = name  # market or user
        self.ws = ws
        self.transport = transport
        self.topics: set[Topic] = set()
        self.unread = ""  # the cut tail of what the client has sent
        self.is_shaken = False  # the handshake is done
        self.has_pinged = False
        self.spoke_s = self.heard_s = asyncio.get_running_loop().time()
        self.is_ending = False
        self._faults = faults
        self._outbox: asyncio.Queue[str | None] = asyncio.Queue()  # None: close the socket
        self._held: str | None = None  # a record that waits to swap places with the next

    def say(self, record: JSON) -> None:
        """Into the outbox, whatever is wrong at the moment."""
        self.put(text_of(record))

    def put(self, text: str) -> None:
        self._outbox.put_nowait(text)

    def end(self) -> None:
        """Close the socket once everything before has gone out."""
        self.is_ending = True
        self._outbox.put_nowait(None)

    def deliver(self, record: JSON, target: str) -> None:
        """Into the outbox, through whatever is wrong at the moment. `target`: an event's, or Completion or Ping."""
        text, faults, hub = text_of(record), self._faults, self.name
        if not any(True for _ in faults):
            self.put(text)
            return
        is_event = record["type"] == 1
        if faults.take("stall", hub=hub) or (record["type"] == 6 and faults.take("no_pings", hub=hub)):
            return
        if is_event and faults.take("silent_data", hub=hub, channel=target):
            return
        texts = [text] * (2 if is_event and faults.take("duplicate_frames", hub=hub, channel=target) else 1)
        if is_event and faults.take("reorder_frames", hub=hub, channel=target):
            if self._held is None:
                self._held = text
                return
            texts, self._held = [text, self._held], None
        late = faults.take("delay_frames", hub=hub, channel=target)
        if late is None and hub == "user" and is_event:
            late = faults.take("late_user_frames")
        for each in texts:
            if late is None:
                self.put(each)
            else:
                asyncio.get_running_loop().call_later(float(late.get("ms", 500)) / 1000, self.put, each)

    async def write(self) -> None:
        """Send what is put into the outbox until `end`, or until the client is gone."""
        loop = asyncio.get_running_loop()
        try:
            while (text := await self._outbox.get()) is not None:
                is_last = False
                for _ in range(JOINED - 1):
                    if self._outbox.empty():
                        break
                    following = self._outbox.get_nowait()
                    is_last = following is None
                    if following is None:
                        break
                    text += following
                await self._send(text)
                self.spoke_s = loop.time()
                if is_last:
                    break
            await self.ws.close()
        except (ConnectionError, RuntimeError):
            self.transport.abort()  # it went away; the reading side ends with it

    async def _send(self, text: str) -> None:
        faults, hub = self._faults, self.name
        if faults.take("two_records", hub=hub):
            text += text_of(PING)
        if faults.take("ws_ping", hub=hub):
            await self.ws.ping(b"are you there")
        if faults.take("fragment_frames", hub=hub):
            _send_fragments(self.transport, text.encode())
        elif faults.take("split_records", hub=hub):
            await self.ws.send_str(text[: len(text) // 2])
            await self.ws.send_str(text[len(text) // 2 :])
        else:
            await self.ws.send_str(text)


def text_of(record: JSON) -> str:
    return encode(record).decode() + RS


def _send_fragments(transport: asyncio.Transport, payload: bytes) -> None:
    """One text message as three WebSocket frames (server frames carry no mask)."""
    third = max(1, len(payload) // 3)
    parts = [payload[:third], payload[third : 2 * third], payload[2 * third :]]
    for i, part in enumerate(parts):
        first = (1 if i == 0 else 0) | (0x80 if i == 2 else 0)
        size = bytes([len(part)]) if len(part) < 126 else bytes([126]) + len(part).to_bytes(2, "big")
        transport.write(bytes([first]) + size + part)
