"""The simulated venue inside a test: the whole server on a thread of its own, driven from any thread.

    with SimServer(seed=1) as sim:
        sim.set_price("BTC", "50000")
        sim.trade("BTC", "49900", "0.1", Side.SELL)
        sim.wait_until(lambda: sim.position(address, "BTC") == 0)

Prices stand still unless asked (`paused=False`, `step`, `resume`), and nothing limits the request rate
(`limits=True` does). Every method waits for the server's loop, so what it returns is already true.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from core.model import Side
from sim.control import control
from sim.faults import TimedFault
from sim.hyperliquid_server import HyperliquidServer, Received
from sim.hyperliquid_types import address as canonical_address
from sim.hyperliquid_venue import SimConfig

T = TypeVar("T")
Number = str | int | Decimal
CALL_S = 10.0  # the longest a call may take


class SimServer:
    def __init__(self, *, port: int = 0, **config: Any) -> None:
        """Keywords are the fields of `SimConfig`; paused and unlimited by default."""
        self.config = SimConfig(**({"paused": True, "limits": False} | config))
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._changed = threading.Condition()
        self._version = 0  # counts what a waiting test may want to look at again
        self._thread = threading.Thread(target=self._run, name="sim", daemon=True)
        self._server: HyperliquidServer | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> "SimServer":
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
        self._server = HyperliquidServer(self.config, self._notify)
        return await self._server.start(self._port)

    def __enter__(self) -> "SimServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def server(self) -> HyperliquidServer:
        """The server itself: touch it only inside `call`."""
        assert self._server is not None, "start() first"
        return self._server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/ws"

    # --- calling into the loop --------------------------------------------------------------------------------------

    def call(self, function: Callable[[HyperliquidServer], T]) -> T:
        """Run `function` on the server's loop and return what it returns."""

        async def run() -> T:
            return function(self.server)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CALL_S)

    def do(self, command: str, /, **args: Any) -> Any:
        """A command of `sim.control.COMMANDS`. Raises ControlError."""
        return self.call(lambda server: control(server, {"do": command} | args))

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

    # --- prices -----------------------------------------------------------------------------------------------------

    def set_price(self, symbol: str, price: Number) -> None:
        """Pause the model; book (one tick each side), mark and oracle at `price`. Prints no trade."""
        self.do("set_price", symbol=symbol, price=price)

    def trade(self, symbol: str, price: Number, size: Number = "0.01", side: Side = Side.BUY) -> int:
        """Print one public trade (the book stays); return time.perf_counter_ns() of the moment."""

        def run(server: HyperliquidServer) -> int:
            now_ns = time.perf_counter_ns()
            control(server, {"do": "trade", "symbol": symbol, "price": price, "size": size, "side": side})
            return now_ns

        return self.call(run)

    def move(self, symbol: str, price: Number, size: Number = "0.01") -> None:
        """The market goes to `price`: set_price and one trade there."""
        self.set_price(symbol, price)
        self.trade(symbol, price, size)

    def set_mark(self, symbol: str, mark: Number, oracle: Number | None = None) -> None:
        """Move mark (and oracle) alone: triggers fire and liquidations happen by it."""
        self.do("set_mark", symbol=symbol, mark=mark, oracle=oracle)

    def set_book(
        self, symbol: str, bids: Iterable[tuple[Number, Number]], asks: Iterable[tuple[Number, Number]]
    ) -> None:
        """Replace the outside liquidity by rows of (price, size)."""
        self.do("set_book", symbol=symbol, bids=list(bids), asks=list(asks))

    def step(self, count: int = 1) -> None:
        """Let the price model make `count` blocks."""
        self.do("step", count=count)

    def pause(self) -> None:
        self.do("pause")

    def resume(self) -> None:
        self.do("resume")

    def advance(self, ms: int) -> None:
        """Move the venue's clock on; funding and scheduled cancels that fall due happen."""
        self.do("advance", ms=ms)

    # --- accounts ---------------------------------------------------------------------------------------------------

    def fund(self, address: str, amount: Number | None = None) -> None:
        """Make the account known; with `amount`, set its free collateral."""
        self.do("fund", address=address, amount=amount)

    def approve_agent(self, master: str, agent: str, name: str = "bot") -> None:
        self.do("approve_agent", master=master, agent=agent, name=name)

    def deal(self, address: str, symbol: str, side: Side, size: Number, price: Number | None = None) -> None:
        """A trade made by hand, outside the bot: a fill at `price` (default: mark) against nobody."""
        self.do("deal", address=address, symbol=symbol, side=side, size=size, price=price)

    def place(self, address: str, symbol: str, side: Side, size: Number = 0, **args: Any) -> int:
        """An order placed by hand; returns its oid. `price`, `tif`, `reduce_only`, `cloid`, `trigger`, `is_stop`;
        a trigger of size 0 covers the whole position."""
        return int(self.do("place", address=address, symbol=symbol, side=side, size=size, **args))

    def cancel(self, address: str, oid: int | None = None) -> int:
        """Cancel one order, or all of the account; returns how many went."""
        return int(self.do("cancel", address=address, oid=oid))

    def settle_funding(self) -> None:
        """One hour's funding, now."""
        self.do("funding")

    def account(self, address: str) -> dict[str, Any]:
        """{"balance": text, "state": clearinghouseState, "orders": frontendOpenOrders}."""
        return dict(self.do("account", address=address))

    def position(self, address: str, symbol: str) -> Decimal:
        """Signed size; 0 when flat."""
        user = canonical_address(address)
        return self.call(lambda server: server.venue.touch(user).held(symbol))

    def equity(self, address: str) -> Decimal:
        return Decimal(self.account(address)["state"]["marginSummary"]["accountValue"])

    def orders(self, address: str) -> list[dict[str, Any]]:
        """Open orders as frontendOpenOrders lists them, newest first."""
        return list(self.account(address)["orders"])

    def fills(self, address: str) -> list[dict[str, Any]]:
        """Fill rows as the venue writes them, oldest first."""
        return list(self.do("fills", address=address))

    def history(self, address: str) -> list[dict[str, Any]]:
        """Every change of every order: {"order", "status", "statusTimestamp"}, oldest first."""
        return list(self.do("history", address=address))

    # --- trouble ----------------------------------------------------------------------------------------------------

    def fault(self, name: str, **args: Any) -> None:
        """Start a fault of `sim.faults.FAULTS`; `times` and `for_s` bound it."""
        self.call(lambda server: server.fault(name, args))

    def clear_fault(self, name: str | None = None) -> None:
        """End one fault, or all."""

        def run(server: HyperliquidServer) -> None:
            server.venue.faults.clear(name)
            server.venue.apply_switches()

        self.call(run)

    def script(self, lines: list[dict[str, Any]]) -> None:
        """Play faults by the clock: {"at_s", "fault", "args", "for_s"}."""
        timed = sorted(msgspec.convert(lines, list[TimedFault]), key=lambda line: line.at_s)
        self.call(lambda server: server.run_script(timed))

    def drop_connections(self) -> None:
        """Reset every socket, without a close frame."""
        self.do("drop_connections")

    # --- what was seen ----------------------------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """http_connections, requests by type, sockets_open, sockets_ever, subscriptions, faults_struck."""
        return {k: v for k, v in self.do("counters").items() if k != "received"}

    def received(self, kind: str | None = None) -> list[Received]:
        """The newest actions received, oldest first; `kind` is an action type such as "order"."""
        return self.call(lambda server: [r for r in server.counters.received if kind in (None, r.kind)])

    def subscriptions(self) -> list[dict[str, Any]]:
        """What all sockets are subscribed to now."""
        return list(self.do("counters")["subscriptions"])
