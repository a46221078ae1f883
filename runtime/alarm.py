"""What a thread owes the main thread when it dies of a bug."""

import contextlib
from collections.abc import Iterator
from typing import Any

from core.messages import CoreFault
from runtime.clock import Clock


@contextlib.contextmanager
def told(who: str, outbox: Any, clock: Clock) -> Iterator[None]:
    """A bug in here reaches the main thread, which halts, and then goes on its way as it was (P9)."""
    try:
        yield
    except Exception as e:
        outbox.put(CoreFault(error=f"{who}: {e!r}", received_ms=clock.now_ms()))
        raise
