"""One socket of `GET /ws` as the venue keeps it, and the way of a frame into its outbox, through the faults."""

import asyncio
import itertools

from aiohttp import web

from sim.faults import Faults
from sim.hyperliquid_wire import JSON

ANSWERS = ("pong", "subscriptionResponse", "error", "post")


class Client:
    """One connected socket."""

    def __init__(
        self, ws: web.WebSocketResponse, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.ws = ws
        self.transport = transport
        self.topics: dict[str, JSON] = {}
        self.outbox: asyncio.Queue[str] = asyncio.Queue()
        self.spoke_s = loop.time()  # when the server last said something
        self.posts = 0  # in flight
        self.held: str | None = None  # a frame that waits to swap places with the next

    def users(self) -> set[str]:
        return {s["user"] for s in self.topics.values() if "user" in s}


def deliver(client: Client, faults: Faults, text: str, channel: str, coin: str | None) -> None:
    """Into the outbox, through whatever is wrong at the moment."""
    if not any(True for _ in faults):
        client.outbox.put_nowait(text)
        return
    if faults.take("stall", channel=channel, coin=coin):
        return
    if channel not in ANSWERS and faults.take("silent_data", channel=channel):
        return
    copies = 2 if faults.take("duplicate_frames", channel=channel) else 1
    if faults.take("reorder_frames", channel=channel):
        if client.held is None:
            client.held = text
            return
        texts, client.held = [text, client.held], None
    else:
        texts = [text]
    late = faults.take("delay_frames", channel=channel)
    if late is None and channel in ("userFills", "user", "orderUpdates"):
        late = faults.take("late_user_frames")
    for each in itertools.chain.from_iterable([t] * copies for t in texts):
        if late is None:
            client.outbox.put_nowait(each)
        else:
            asyncio.get_running_loop().call_later(float(late.get("ms", 500)) / 1000, client.outbox.put_nowait, each)
