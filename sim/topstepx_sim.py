"""The simulated TopstepX inside a test: the whole gateway on a thread of its own, driven from any thread.

    with TopstepxSim() as sim:
        sim.move("MGC", "4100")
        order_id = sim.place("MGC", Side.BUY, stop_ticks=-40, target_ticks=80)
        sim.wait_until(lambda: sim.position("MGC") == 1)

Prices stand still unless asked (`paused=False`, `step`, `resume`), nothing limits the request rate (`limits=True`
does), and it is half past nine on a trading day whatever the hour (`sim.topstepx_venue`). `account` is an id;
None is the practice account.
"""

import time
from decimal import Decimal
from typing import Any

from core.model import Side
from sim.harness import Harness
from sim.topstepx_control import control
from sim.topstepx_server import Received, TopstepxServer
from sim.topstepx_venue import COMBINE_ID, PRACTICE_ID, TopstepxConfig

Number = str | int | Decimal


class TopstepxSim(Harness[TopstepxServer]):
    practice_id = PRACTICE_ID
    combine_id = COMBINE_ID
    user = api_key = "demo"

    def __init__(self, *, port: int = 0, **config: Any) -> None:
        """Keywords are the fields of `TopstepxConfig`; paused and unlimited by default."""
        self.config = TopstepxConfig(**({"paused": True, "limits": False} | config))
        super().__init__(lambda changed: TopstepxServer(self.config, changed), port)

    @property
    def market_hub_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/hubs/market"

    @property
    def user_hub_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/hubs/user"

    def do(self, command: str, /, **args: Any) -> Any:
        """A command of `sim.topstepx_control.COMMANDS`. Raises ControlError."""
        return self.call(lambda server: control(server, {"do": command} | args))

    # --- contracts and prices ---------------------------------------------------------------------------------------

    def contract(self, symbol: str) -> str:
        """The id of its active month."""
        return self.call(lambda server: server.venue.contract(symbol).id)

    def roll(self, symbol: str) -> str:
        """The next month becomes the active one; returns its id."""
        return str(self.do("roll", symbol=symbol))

    def set_price(self, symbol: str, price: Number) -> None:
        """Pause the model; bid and ask one tick each side of `price`. Prints no trade."""
        self.do("set_price", symbol=symbol, price=price)

    def quote(self, symbol: str, bid: Number | None, ask: Number | None) -> None:
        self.do("quote", symbol=symbol, bid=bid, ask=ask)

    def trade(self, symbol: str, price: Number, size: int = 1, side: Side = Side.BUY) -> int:
        """Print one public trade (the touch stays); return time.perf_counter_ns() of the moment."""

        def run(server: TopstepxServer) -> int:
            now_ns = time.perf_counter_ns()
            control(server, {"do": "trade", "symbol": symbol, "price": price, "size": size, "side": side})
            return now_ns

        return self.call(run)

    def move(self, symbol: str, price: Number, size: int = 1) -> None:
        """The market goes to `price`: set_price and one trade there."""
        self.set_price(symbol, price)
        self.trade(symbol, price, size)

    def step(self, count: int = 1) -> None:
        """Let the price model make `count` blocks."""
        self.do("step", count=count)

    def pause(self) -> None:
        self.do("pause")

    def resume(self) -> None:
        self.do("resume")

    # --- clocks -----------------------------------------------------------------------------------------------------

    def advance(self, ms: int) -> None:
        """Move the venue's clocks on, timestamps and sessions."""
        self.do("advance", ms=ms)

    def set_session(self, iso: str) -> None:
        """Set the session clock alone: "2026-11-20T15:09:55-06:00" is five seconds before the cut-off."""
        self.do("session", time=iso)

    # --- accounts ---------------------------------------------------------------------------------------------------

    def deal(
        self, symbol: str, side: Side, size: int = 1, price: Number | None = None, account: int | None = None
    ) -> None:
        """A trade made by hand in the platform: a fill at once, at `price` (default: the touch)."""
        self.do("deal", account=account, symbol=symbol, side=side, size=size, price=price)

    def place(self, symbol: str, side: Side, size: int = 1, account: int | None = None, **args: Any) -> int:
        """An order placed by hand; returns its id. `type`, `limit`, `stop`, `trail`, `tag`, `stop_ticks`,
        `target_ticks`. Raises ControlError when it is refused."""
        return int(self.do("place", account=account, symbol=symbol, side=side, size=size, **args))

    def cancel(self, order: int | None = None, account: int | None = None) -> int:
        """Cancel one order by hand, or all of the account; returns how many went."""
        return int(self.do("cancel", account=account, order=order))

    def lock(self, account: int | None = None, locked: bool = True) -> None:
        """Lock the account out: orders go, positions are closed, canTrade false."""
        self.do("lock", account=account, locked=locked)

    def flatten(self, account: int | None = None) -> None:
        """What the platform does at the cut-off, now."""
        self.do("flatten", account=account)

    def set_brackets(self, mode: str, account: int | None = None) -> None:
        """`mode`: auto-oco or position."""
        self.do("brackets", account=account, mode=mode)

    def set_balance(self, amount: Number, account: int | None = None) -> None:
        self.do("balance", account=account, amount=amount)

    def replace_account(self, account: int | None = None) -> int:
        """A reset: returns the id of the new account."""
        return int(self.do("replace_account", account=account))

    def position(self, symbol: str, account: int | None = None) -> int:
        """Signed size; 0 when flat."""
        contract_id = self.contract(symbol)
        number = PRACTICE_ID if account is None else account
        return self.call(lambda server: server.venue.book.accounts[number].held(contract_id))

    def account(self, account: int | None = None) -> dict[str, Any]:
        """Its row with `positions`, `orders` (suspended ones too), `equity`, `brackets`."""
        return dict(self.do("account", account=account))

    def balance(self, account: int | None = None) -> Decimal:
        return Decimal(str(self.account(account)["balance"]))

    def orders(self, account: int | None = None) -> list[dict[str, Any]]:
        """Open orders as REST writes them, oldest first; suspended children are in `account`."""
        return list(self.do("orders", account=account))

    def history(self, account: int | None = None) -> list[dict[str, Any]]:
        """Every order ever, oldest first."""
        return list(self.do("history", account=account))

    def trades(self, account: int | None = None) -> list[dict[str, Any]]:
        """Every half-turn, oldest first."""
        return list(self.do("trades", account=account))

    # --- trouble, and what was seen ---------------------------------------------------------------------------------

    def drop_connections(self, hub: str | None = None) -> None:
        """Reset every socket (of one hub), without a word."""
        self.do("drop_connections", hub=hub)

    def close_hubs(self, error: str | None = None, allow_reconnect: bool | None = True, hub: str | None = None) -> None:
        """A Close record, then the end. None leaves a field out."""
        self.fault("hub_close", error=error, allow_reconnect=allow_reconnect, hub=hub)

    def expire_tokens(self, close: bool = False) -> None:
        """No token issued so far is good any more; `close` ends the hubs too."""
        self.fault("expire_tokens", close=close)

    def counters(self) -> dict[str, Any]:
        """http_connections, requests by kind, sockets_open, sockets_ever, subscriptions, faults_struck."""
        return dict(self.do("counters"))

    def received(self, kind: str | None = None) -> list[Received]:
        """The newest requests and hub calls, oldest first; `kind` is such as "Order/place" or "SubscribeOrders"."""
        return self.call(lambda server: [r for r in server.received if kind in (None, r.kind)])

    def subscriptions(self) -> list[list[Any]]:
        """What all sockets listen to now: [event, contract or account]."""
        return list(self.counters()["subscriptions"])
