"""The wire between a bot and a simulated venue: a forwarder on loopback that cuts, holds, drips and spoils bytes.

What the venue's own switches cannot do happens here, below HTTP and WebSocket, to `socket` or `rest` connections alone
or to all.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Literal

from sim.faults import TimedFault
from sim.harness import Harness

Kind = Literal["socket", "rest"]
GARBAGE = bytes(range(0x80, 0x100))  # no frame and no status line begins so
CHUNK = 65_536
LASTING = frozenset({"black_hole", "drip", "refuse"})
ONCE = frozenset({"cut", "reset", "half", "garbage"})
ON_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # SO_LINGER: close with RST, not FIN


class Link:
    """One connection of the bot, and ours to the venue for it."""

    def __init__(self, kind: Kind, bot: asyncio.StreamWriter, venue: asyncio.StreamWriter) -> None:
        self.kind, self.bot, self.venue = kind, bot, venue
        self.is_to_break = False  # in the middle of the next piece

    def close(self) -> None:
        for writer in (self.bot, self.venue):
            writer.close()

    def reset(self) -> None:
        for writer in (self.bot, self.venue):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ON_RESET)
            writer.transport.abort()


class WireServer:
    """Belongs to one loop. A fault narrowed by `kind` leaves the other kind of connection alone."""

    def __init__(self, venue_port: int, changed: Callable[[], None]) -> None:
        self._venue_port, self._changed = venue_port, changed
        self._active: dict[str, dict[str, Any]] = {}
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.links: set[Link] = set()
        self.struck: dict[str, int] = {}

    async def start(self, port: int = 0) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self._port

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for link in list(self.links):
            link.reset()
        if self._server is not None:
            self._server.close()

    def run_script(self, script: list[TimedFault]) -> None:
        raise NotImplementedError("the wire plays no scripts")

    # --- trouble ----------------------------------------------------------------------------------------------------

    def fault(self, name: str, args: dict[str, Any]) -> None:
        if name not in LASTING | ONCE:
            raise ValueError(f"unknown fault {name!r}")
        if name in LASTING:
            self._active[name] = args
        if name == "black_hole":
            self._flows.clear()
        if name == "refuse" and self._server is not None:
            self._server.close()
        for link in list(self.links):
            if args.get("kind") in (None, link.kind):
                self._strike(name, link)

    def _strike(self, name: str, link: Link) -> None:
        if name in ("cut", "refuse"):
            self._count(name)
            link.close()
        elif name == "reset":
            self._count(name)
            link.reset()
        elif name == "garbage":
            self._count(name)
            link.bot.write(GARBAGE)
        elif name == "half":
            link.is_to_break = True

    def clear_fault(self, name: str | None) -> None:
        cleared = set(self._active) if name is None else {name} & set(self._active)
        for each in cleared:
            del self._active[each]
        self._flows.set()
        if "refuse" in cleared:
            self._spawn(self._listen_again())

    async def _listen_again(self) -> None:
        await self.start(self._port)

    def _count(self, name: str) -> None:
        self.struck[name] = self.struck.get(name, 0) + 1

    def _on(self, name: str, kind: Kind) -> dict[str, Any] | None:
        args = self._active.get(name)
        return args if args is not None and args.get("kind") in (None, kind) else None

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- carrying ---------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.read(CHUNK)
            venue_reader, venue_writer = await asyncio.open_connection("127.0.0.1", self._venue_port)
        except OSError:
            writer.transport.abort()
            return
        link = Link("socket" if b"upgrade: websocket" in first.lower() else "rest", writer, venue_writer)
        self.links.add(link)
        try:
            await asyncio.gather(
                self._carry(link, reader, venue_writer, first), self._carry(link, venue_reader, writer, b"")
            )
        finally:
            self.links.discard(link)

    async def _carry(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes
    ) -> None:
        """Until one side ends; then both do."""
        try:
            piece = piece or await reader.read(CHUNK)
            while piece:
                while self._on("black_hole", link.kind) is not None:  # held, as by a network that repeats: not lost
                    self._count("black_hole")
                    await self._flows.wait()
                await self._pass(link, writer, piece)
                piece = await reader.read(CHUNK)
        except OSError:
            pass
        finally:
            link.close()

    async def _pass(self, link: Link, writer: asyncio.StreamWriter, piece: bytes) -> None:
        is_to_bot = writer is link.bot
        if is_to_bot and link.is_to_break:
            self._count("half")
            writer.write(piece[: len(piece) // 2 + 1])
            await asyncio.sleep(0.02)  # or the reset would take the half with it
            link.reset()
        elif is_to_bot and (drip := self._on("drip", link.kind)) is not None:
            self._count("drip")
            size, pause_s = int(drip.get("bytes", 16)), float(drip.get("ms", 10)) / 1000
            for start in range(0, len(piece), size):
                writer.write(piece[start : start + size])
                if self._on("drip", link.kind) is not None:
                    await asyncio.sleep(pause_s)
        else:
            writer.write(piece)
            await writer.drain()


class Wire(Harness[WireServer]):
    """`with Wire(port of the venue) as wire`: the bot is given `wire.url`."""

    def __init__(self, venue_port: int) -> None:
        super().__init__(lambda changed: WireServer(venue_port, changed))

    @property
    def port(self) -> int:
        return self._port

    def struck(self, name: str) -> int:
        return self.call(lambda server: server.struck.get(name, 0))
