"""The simulated Hyperliquid inside a test: the whole server on a thread of its own, driven from any thread.

    with SimServer(seed=1) as sim:
        sim.set_price("BTC", "50000")
        sim.trade("BTC", "49900", "0.1", Side.SELL)
        sim.wait_until(lambda: sim.position(address, "BTC") == 0)

Prices stand still unless asked (`paused=False`, `step`, `resume`), and nothing limits the request rate
(`limits=True` does). Every method waits for the server's loop, so what it returns is already true.
"""

import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from core.model import Side
from sim.control import control
from sim.harness import Harness
from sim.hyperliquid_server import HyperliquidServer, Received
from sim.hyperliquid_types import address as canonical_address
from sim.hyperliquid_venue import SimConfig

Number = str | int | Decimal


class SimServer(Harness[HyperliquidServer]):
    def __init__(self, *, port: int = 0, **config: Any) -> None:
        """Keywords are the fields of `SimConfig`; paused and unlimited by default."""
        self.config = SimConfig(**({"paused": True, "limits": False} | config))
        super().__init__(lambda changed: HyperliquidServer(self.config, changed), port)

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/ws"

    def do(self, command: str, /, **args: Any) -> Any:
        """A command of `sim.control.COMMANDS`. Raises ControlError."""
        return self.call(lambda server: control(server, {"do": command} | args))

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
