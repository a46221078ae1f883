"""A WebSocket between the bot's real stream and the venue: RFC 6455 in bytes; late, doubled, cut, silent."""

from typing import Any

import websocket

from runtime.stream import ReconnectingStream
from runtime.wire import CLOSE, PING, PONG
from sim.world_fibres import Fibre
from sim.world_kernel import TIMEOUT, World
from sim.world_types import Adapter, StreamPlan

POLL_S = 0.4  # of the stream's looks at its timers: half as often as in life, for each costs two turns
GARBAGE = (b"{", b"not json at all", b"", b'{"channel":"trades","data":[{"coin":"BTC"}]}', b"\xff\xfe\x00", b"[1,2,3]")


def frame_of(payload: bytes, opcode: int = 0x1) -> bytes:
    """As a server sends it: whole and unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


class WorldLink:
    """The venue's end."""

    def __init__(self, world: World, process: Any, adapter: Adapter, name: str, url: str) -> None:
        self.name, self.url = name, url
        self.state: Any = None
        self.is_broken = False
        self.socket = WorldSocket(world, self)
        self._world, self._process, self._adapter = world, process, adapter
        self._last_us = 0  # when the last bytes arrive: later ones do not overtake them
        self._held: bytes | None = None  # waits to swap places with the next

    def send(self, payload: bytes) -> None:
        world = self._world
        if self.is_broken or world.strikes("mute_stream", stream=self.name):
            return
        if self._held is None and world.strikes("reorder_frames", 0.3):
            self._held = payload
            return
        copies = 2 if world.strikes("duplicate_frames", 0.3) else 1
        if bad := world.strikes("bad_frames", 0.1):
            self._deliver(frame_of(spoilt(world.dice(bad), payload)))
            if world.dice(bad).random() < 0.5:  # in place of the true one, else before it
                return
        for _ in range(copies):
            self._deliver(frame_of(payload))
        if self._held is not None:
            held, self._held = self._held, None
            self._deliver(frame_of(held))

    def _deliver(self, data: bytes) -> None:
        world = self._world
        delay_us = world.net.randrange(300, 9_000)
        if late := world.strikes("late_frames", 0.4):
            delay_us += world.dice(late).randrange(int(late.args.get("ms", 3_000)) * 1_000)
        world.counts["frames"] += 1
        if len(data) > 8 and (halves := world.strikes("half_frames", 0.5)):
            at = world.dice(halves).randrange(1, len(data))
            self._bytes(data[:at], delay_us)
            data = data[at:]
        self._bytes(data, delay_us)

    def _bytes(self, data: bytes, delay_us: int) -> None:
        us = self._last_us = max(self._world.now_us() + delay_us, self._last_us + 1)
        self._process.later(us - self._world.now_us(), lambda: self.socket.arrive(data))

    def receive(self, payload: bytes, opcode: int) -> None:
        """From the bot."""
        self._world.counts["sent to streams"] += 1
        if self.is_broken or not self._world.venue_up:
            return
        if opcode == PING:
            if not self._world.strikes("mute_stream", stream=self.name):
                self._bytes(frame_of(payload, PONG), self._world.net.randrange(300, 9_000))
        elif opcode == CLOSE:
            self.break_off()
        else:
            self._adapter.received(self, payload)

    def close(self) -> None:
        self.break_off(frame_of((1000).to_bytes(2, "big"), CLOSE))

    def break_off(self, last: bytes = b"") -> None:
        """The connection is gone for both; the bot hears of it after what is under way."""
        if self.is_broken:
            return
        self.is_broken = True
        self._world.open_links.remove(self)
        self._world.close_span("stream_up", self.name)
        self._adapter.closed(self)
        if last:
            self._bytes(last, 1_000)
        us = max(self._world.now_us() + 1_000, self._last_us + 1)
        self._process.later(us - self._world.now_us(), self.socket.end)


def spoilt(dice: Any, payload: bytes) -> bytes:
    """A text that must not be acted on: cut, changed, or something else altogether."""
    way = dice.randrange(3)
    if way == 0:
        return payload[: dice.randrange(len(payload))]
    if way == 1:
        return bytes(dice.choice(GARBAGE))
    at = dice.randrange(len(payload))
    return payload[:at] + b'"' + payload[at + 1 :]


class WorldSocket:
    """The bot's end: what `websocket.WebSocket` is to `runtime.stream`, its `sock` included."""

    def __init__(self, world: World, link: WorldLink) -> None:
        self._world, self._link = world, link
        self._data = bytearray()
        self._is_over = False
        self._timeout_s = 0.2
        self._sent_us = 0  # when the last message arrives
        self._waiting: tuple[Fibre, int] | None = None

    @property
    def sock(self) -> "WorldSocket":
        return self

    def settimeout(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def recv(self, size: int) -> bytes:
        while True:
            if self._data:
                data, self._data = bytes(self._data), bytearray()
                return data
            if self._is_over:
                return b""
            fibre = self._world.crew.current
            assert fibre is not None, "only a fibre may wait"
            self._waiting = fibre, fibre.ticket
            if self._world.wait(int(self._timeout_s * 1e6)) is TIMEOUT:
                raise TimeoutError

    def arrive(self, data: bytes) -> None:
        self._data += data
        self._rouse()

    def end(self) -> None:
        self._is_over = True
        self._rouse()

    def _rouse(self) -> None:
        if self._waiting is not None:
            (fibre, ticket), self._waiting = self._waiting, None
            self._world.resume(fibre, ticket)

    def send(self, payload: bytes, opcode: int) -> None:
        if self._is_over:
            raise ConnectionResetError("Broken pipe")
        world = self._world
        us = self._sent_us = max(world.now_us() + world.net.randrange(300, 9_000), self._sent_us + 1)  # in order
        world.after(us - world.now_us(), lambda: self._link.receive(payload, opcode))

    def send_close(self) -> None:
        self.send(b"", CLOSE)

    def shutdown(self, how: int = 2) -> None:
        self._is_over = True


class WorldStream(ReconnectingStream):
    """The real stream; only its thread is a fibre and its socket the world's."""

    def __init__(self, world: World, process: Any, adapter: Adapter, plan: StreamPlan) -> None:
        super().__init__(
            plan.name,
            plan.dialect,
            process.inbox,
            process.clock,
            reconnect_interval=plan.reconnect_interval,
            poll_s=POLL_S,
            heartbeat=plan.heartbeat,
            jitter=world.net.random,
            monotonic_s=world.monotonic_s,
        )
        self._world, self._process, self._adapter = world, process, adapter

    def start(self) -> None:
        self._process.spawn(self._run)

    def reconnect(self, reason: str) -> None:
        super().reconnect(reason)
        self._process.nudge()

    def stay_keen(self, on: bool) -> None:
        """Nothing to keep warm here."""

    def _open(self, url: str) -> Any:
        world = self._world
        world.wait(2 * world.net.randrange(300, 9_000))
        if refused := world.strikes("stream_refused"):
            raise websocket.WebSocketBadStatusException("Handshake status %d %s", int(refused.args.get("status", 503)))
        if not world.venue_up or world.strikes("no_connection"):
            raise ConnectionRefusedError(111, "Connection refused")
        link = WorldLink(world, self._process, self._adapter, self._name, url)
        status = self._adapter.opened(link)
        if status is not None:
            raise websocket.WebSocketBadStatusException("Handshake status %d %s", status)
        world.open_links.append(link)
        world.open_span("stream_up", self._name)
        world.counts["connections"] += 1
        return link.socket
