"""JSON into typed values, from any thread.

msgspec (0.22) readies a type when it is first decoded. Two threads that do so at the same moment meet it half-built,
and the process dies of a segmentation fault: no exception, no log line. So each type is readied under a lock, once.
"""

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_decoders: dict[Any, "msgspec.json.Decoder[Any]"] = {}  # by type; one that is in here is whole
_lock = threading.Lock()


def decode(body: bytes, shape: type[T]) -> T:
    """Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError."""
    decoder = _decoders.get(shape)
    if decoder is None:
        with _lock:
            decoder = _decoders.setdefault(shape, msgspec.json.Decoder(shape))
    found: T = decoder.decode(body)
    return found
