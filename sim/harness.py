"""A simulated venue inside a test: the whole server on a thread of its own, driven from any thread."""

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec

from sim.faults import TimedFault

T = TypeVar("T")
CALL_S = 10.0  # the longest a call may take


class Server(Protocol):
    """What a venue's server offers to its harness."""

    async def start(self, port: int = 0) -> int: ...

    async def stop(self) -> None: ...

    def fault(self, name: str, args: dict[str, Any]) -> None: ...

    def clear_fault(self, name: str | None) -> None: ...

    def run_script(self, script: list[TimedFault]) -> None: ...


S = TypeVar("S", bound=Server)


class Harness(Generic[S]):
    """Every method waits for the server's loop, so what it returns is already true."""

    def __init__(self, make: Callable[[Callable[[], None]], S], port: int = 0) -> None:
        """`make` builds the server, on its loop; it is given what to call when something has changed."""
        self._make = make
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._changed = threading.Condition()
        self._version = 0  # counts what a waiting test may want to look at again
        self._thread = threading.Thread(target=self._run, name="sim", daemon=True)
        self._server: S | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen on a free port (or the given one). Raises OSError when the port is in use."""
        self._thread.start()
        try:
            self._port = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(CALL_S)
        except BaseException:
            self._end_loop()
            raise
        return self

    def stop(self) -> None:
        """Close everything; connections that are open are reset."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(CALL_S)
        self._end_loop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    async def _open(self) -> int:
        self._server = self._make(self._notify)
        return await self._server.start(self._port)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def server(self) -> S:
        """The server itself: touch it only inside `call`."""
        assert self._server is not None, "start() first"
        return self._server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # --- calling into the loop --------------------------------------------------------------------------------------

    def call(self, function: Callable[[S], T]) -> T:
        """Run `function` on the server's loop and return what it returns."""

        async def run() -> T:
            return function(self.server)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CALL_S)

    def _notify(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def wait_until(self, check: Callable[[], T], timeout_s: float = 5.0) -> T:
        """Return the first truthy `check()`, asked again after everything that happens. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                version = self._version
            if found := check():
                return found
            with self._changed:
                if self._version == version:
                    # Something outside the simulator may make it true: look again after a while all the same.
                    self._changed.wait(min(0.05, max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                raise TimeoutError(f"not true within {timeout_s} s")

    # --- trouble ----------------------------------------------------------------------------------------------------

    def fault(self, name: str, **args: Any) -> None:
        """Start a fault of `sim.faults.FAULTS`; `times` and `for_s` bound it."""
        self.call(lambda server: server.fault(name, args))

    def clear_fault(self, name: str | None = None) -> None:
        """End one fault, or all."""
        self.call(lambda server: server.clear_fault(name))

    def script(self, lines: list[dict[str, Any]]) -> None:
        """Play faults by the clock: {"at_s", "fault", "args", "for_s"}."""
        timed = sorted(msgspec.convert(lines, list[TimedFault]), key=lambda line: line.at_s)
        self.call(lambda server: server.run_script(timed))
