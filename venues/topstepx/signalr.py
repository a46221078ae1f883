"""The SignalR JSON hub protocol, version 1, as a client speaks it (protocol page 4). Pure."""

import msgspec

from runtime.dialect import BadFrame
from runtime.wire import MESSAGE_BYTES_MAX, ProtocolError

SEPARATOR = "\x1e"
HANDSHAKE = '{"protocol":"json","version":1}' + SEPARATOR
PING = '{"type":6}' + SEPARATOR
INVOCATION, STREAM_ITEM, COMPLETION, CLOSE = 1, 2, 3, 7

_end = SEPARATOR.encode()


class RecordCutter:
    """The messages of one connection cut into records; a record may begin in one message and end in another (4.1)."""

    def __init__(self, record_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._max = record_bytes_max
        self._held: list[bytes] = []  # the unfinished tail, normally none
        self._held_bytes = 0

    def feed(self, message: bytes) -> list[bytes]:
        """The records that `message` completes, separators cut off. Raises ProtocolError for one without end."""
        *records, tail = message.split(_end)
        if records and self._held:
            records[0] = b"".join([*self._held, records[0]])
            self._held, self._held_bytes = [], 0
        if tail:
            self._held.append(tail)
            self._held_bytes += len(tail)
            if self._held_bytes > self._max:
                raise ProtocolError(f"a record beyond {self._max} bytes")
        return records


class Record(msgspec.Struct, rename="camel"):
    """One record after the handshake; which fields mean something depends on `type` (4.3)."""

    type: int
    target: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"")  # JSON text, not looked into yet
    invocation_id: str | None = None
    error: str | None = None
    allow_reconnect: bool | None = None  # absent means no (4.5)
    known: msgspec.Raw = msgspec.Raw(b"")  # ours, on a record that was kept: see frames


class _HandshakeAnswer(msgspec.Struct):
    type: int | None = None  # it has none: that tells it from all later records
    error: str | None = None


_decode_record = msgspec.json.Decoder(Record).decode
_decode_handshake = msgspec.json.Decoder(_HandshakeAnswer).decode


def parse(raw: bytes) -> Record:
    """Raises only BadFrame."""
    try:
        return _decode_record(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise bad_json(e) from None


def handshake_error(raw: bytes) -> str | None:
    """What the venue has against our handshake, by the first record of a connection; None: it agrees.

    Raises BadFrame when that record answers no handshake.
    """
    try:
        answer = _decode_handshake(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise bad_json(e) from None
    if answer.type is not None:
        raise BadFrame("before_handshake", f"a record of type {answer.type}")
    return answer.error


def invocation(invocation_id: str, target: str, *arguments: str | int) -> str:
    """A call that is answered by a Completion with this id; without an id there would be no answer at all (4.3)."""
    record = {"type": INVOCATION, "invocationId": invocation_id, "target": target, "arguments": arguments}
    return msgspec.json.encode(record).decode() + SEPARATOR


def bad_json(error: Exception) -> BadFrame:
    """`error` of a decoder as the fault of the frame it was given."""
    if isinstance(error, RecursionError):
        return BadFrame("too_deep", "nested beyond any sense")
    if isinstance(error, msgspec.ValidationError):
        return BadFrame("wrong_type", str(error)[:80])
    return BadFrame("truncated" if "truncated" in str(error) else "not_json", str(error)[:80])
