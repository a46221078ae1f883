"""RFC 6455 as a client receives it: the bytes of one connection cut into messages. Pure: no socket, no clock.

Why not websocket-client's own reader: it asks the kernel two or three times a frame and takes three locks.
"""

from collections.abc import Iterator

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MESSAGE_BYTES_MAX = 32 * 1024 * 1024


class ProtocolError(Exception):
    """The peer does not speak WebSocket; the connection is of no further use."""


class MessageCutter:
    """Feed it what recv() returned; it yields (opcode, payload) of every message that is complete by now.

    Fragments are joined. Control frames come out where they stand, also between the fragments of a message.
    """

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._max = message_bytes_max
        self._held: list[bytes] = []  # received, and not yet a whole frame
        self._held_bytes = 0
        self._needed_bytes = 2  # no use looking again before so many are held
        self._opcode = CONTINUATION  # of the fragmented message under way; CONTINUATION: none
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Exhaust it before feeding more. Raises ProtocolError."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes < self._needed_bytes:
            return  # joined once, when all is there: a long frame in small pieces costs no more than one in large ones
        buffer = data if len(self._held) == 1 else b"".join(self._held)
        end = len(buffer)
        at, needed = 0, 2
        try:
            while end - at >= 2:
                first, size = buffer[at], buffer[at + 1]
                start = at + 2
                if size >= 126:
                    start += 2 if size == 126 else 8 if size == 127 else 0
                    if size > 127:
                        raise ProtocolError("masked frame from a server")
                    needed = start - at
                    if end < start:
                        break
                    size = int.from_bytes(buffer[at + 2 : start], "big")
                    if size > self._max:
                        raise ProtocolError(f"a frame of {size} bytes")
                needed = start - at + size
                if end - at < needed:
                    break
                at, needed = at + needed, 2
                payload = buffer[start:at]
                if first == 0x81:  # a whole text message: nearly every frame
                    if self._opcode:
                        raise ProtocolError("a new message inside a fragmented one")
                    yield TEXT, payload
                else:
                    yield from self._other(first, payload)
        finally:
            self._held, self._held_bytes = ([buffer[at:]], end - at) if at < end else ([], 0)
            self._needed_bytes = needed

    def _other(self, first: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
        final, opcode = first & 0x80, first & 0x0F
        if first & 0x70:
            raise ProtocolError("reserved bits are set, no extension was agreed")
        if opcode in (CLOSE, PING, PONG):
            if not final or len(payload) > 125:
                raise ProtocolError("a control frame is fragmented or too long")
            yield opcode, payload
        elif opcode in (CONTINUATION, TEXT, BINARY):
            yield from self._data(opcode, bool(final), payload)
        else:
            raise ProtocolError(f"unknown opcode {opcode}")

    def _data(self, opcode: int, final: bool, payload: bytes) -> Iterator[tuple[int, bytes]]:
        if (opcode == CONTINUATION) != (self._opcode != CONTINUATION):
            raise ProtocolError("fragments out of order")
        if final and opcode != CONTINUATION:
            yield opcode, payload
            return
        self._opcode = opcode or self._opcode
        self._parts.append(payload)
        self._parts_bytes += len(payload)
        if self._parts_bytes > self._max:
            raise ProtocolError(f"a message beyond {self._max} bytes")
        if final:
            message = self._opcode, b"".join(self._parts)
            self._opcode, self._parts, self._parts_bytes = CONTINUATION, [], 0
            yield message
