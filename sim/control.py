"""What a test may do to the simulated venue: one table of commands, for `POST /sim/control` and for `SimServer`."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import msgspec

from core.model import Side, TimeInForce
from sim.exchange import state_of
from sim.hyperliquid_types import BadShape, address
from sim.hyperliquid_venue import AGENT_LIFE_MS, Agent
from sim.hyperliquid_views import account_state, fill_rows, frontend_orders, record_row
from sim.hyperliquid_wire import JSON
from sim.orders import Placed, Request, Trigger

if TYPE_CHECKING:
    from sim.hyperliquid_server import HyperliquidServer


class ControlError(Exception):
    """A command that makes no sense; the text says why."""


Args = dict[str, Any]


def control(server: "HyperliquidServer", args: Args) -> Any:
    """Run the command `args["do"]`. Raises ControlError."""
    if not isinstance(args, dict):
        raise ControlError("a command is an object")
    # {"symbol": "BTC", "price": "50000"} alone means set_price.
    name = args.get("do", "set_price" if {"symbol", "price"} == set(args) else None)
    if name not in COMMANDS:
        raise ControlError(f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
    try:
        answer = COMMANDS[name](server, args)
    except (KeyError, TypeError, ValueError, InvalidOperation, BadShape) as e:
        raise ControlError(f"{name}: {e!r}") from e
    if name not in READS:
        server.changed()
    return answer


def _symbol(server: "HyperliquidServer", args: Args) -> str:
    if args["symbol"] not in server.venue.sources:
        raise ValueError(f"no live market {args['symbol']!r}")
    return str(args["symbol"])


def _number(value: Any) -> Decimal:
    return Decimal(str(value))


def _side(value: Any) -> Side:
    return value if isinstance(value, Side) else Side(str(value).upper())


def _set_price(server: "HyperliquidServer", args: Args) -> None:
    """Pause the model; book, mark and oracle go to `price`, without a trade."""
    server.venue.paused = True
    server.venue.set_price(_symbol(server, args), _number(args["price"]))


def _set_mark(server: "HyperliquidServer", args: Args) -> None:
    venue, mark = server.venue, _number(args["mark"])
    oracle = _number(args["oracle"]) if args.get("oracle") is not None else None
    venue.record(venue.exchange.set_mark(_symbol(server, args), mark, venue.now_ms(), oracle))


def _set_book(server: "HyperliquidServer", args: Args) -> None:
    """`bids` and `asks`: rows of [price, size]. Lasts until the model's next step."""
    venue = server.venue
    sides = [[(_number(p), _number(s)) for p, s in args[key]] for key in ("bids", "asks")]
    venue.record(venue.exchange.set_book(_symbol(server, args), sides[0], sides[1], venue.now_ms()))


def _trade(server: "HyperliquidServer", args: Args) -> None:
    """One public trade between outsiders; it fills users' resting orders that it reaches."""
    venue = server.venue
    price, size, side = _number(args["price"]), _number(args.get("size", "0.01")), _side(args.get("side", "BUY"))
    venue.record(venue.exchange.trade(_symbol(server, args), price, size, side, venue.now_ms()))


def _step(server: "HyperliquidServer", args: Args) -> None:
    for _ in range(int(args.get("count", 1))):
        server.venue.step()


def _pause(server: "HyperliquidServer", args: Args) -> None:
    server.venue.paused = True


def _resume(server: "HyperliquidServer", args: Args) -> None:
    server.venue.paused = False


def _advance(server: "HyperliquidServer", args: Args) -> None:
    """Move the venue's clock on; funding and scheduled cancels that fall due happen."""
    server.venue.skew_ms += int(args["ms"])
    server.venue.tend()


def _fund(server: "HyperliquidServer", args: Args) -> None:
    """Make an account known; with `amount`, set its free collateral."""
    account = server.venue.touch(address(args["address"]))
    if args.get("amount") is not None:
        account.balance = _number(args["amount"])


def _funding(server: "HyperliquidServer", args: Args) -> None:
    server.venue.settle_funding(server.venue.now_ms())


def _deal(server: "HyperliquidServer", args: Args) -> None:
    """A trade made by hand: the account gets a fill at `price` (default: the mark), against nobody."""
    venue, symbol, user = server.venue, _symbol(server, args), address(args["address"])
    venue.touch(user)
    price = _number(args["price"]) if args.get("price") is not None else venue.market(symbol).mark
    side, size = _side(args["side"]), _number(args["size"])
    venue.record(venue.exchange.deal(user, symbol, side, size, price, venue.now_ms()))


def _place(server: "HyperliquidServer", args: Args) -> int:
    """An order placed by hand; returns its oid. `trigger` makes it a stop (or a take: `is_stop` false); a trigger of
    size 0 covers the whole position. Raises ValueError with the status when it is refused."""
    venue, symbol, user = server.venue, _symbol(server, args), address(args["address"])
    venue.touch(user)
    side, size = _side(args["side"]), _number(args.get("size", 0))
    trigger, price = None, args.get("price")
    if args.get("trigger") is not None:
        level = _number(args["trigger"])
        trigger = Trigger(level, bool(args.get("is_stop", True)))
        instrument = venue.market(symbol).instrument
        worst = instrument.round_away(level * (1 + side.sign * Decimal("0.1")), side)
        price = worst if price is None else price
    request = Request(
        symbol,
        side,
        size,
        _number(price),
        TimeInForce(args.get("tif", "GTC").upper()),
        bool(args.get("reduce_only", trigger is not None)),
        args.get("cloid"),
        trigger,
        whole_position=trigger is not None and size == 0,
    )
    if fault := venue.exchange.check(request):
        raise ValueError(fault.value)
    answer, events = venue.exchange.submit(user, request, venue.now_ms())
    venue.record(events)
    if not isinstance(answer, Placed):
        raise ValueError(answer.status.value)
    return answer.order_id


def _cancel(server: "HyperliquidServer", args: Args) -> int:
    """Cancel `oid`, or every order of the account; returns how many went."""
    venue, user = server.venue, address(args["address"])
    wanted = [args["oid"]] if args.get("oid") is not None else [o.order_id for o in venue.exchange.orders_of(user)]
    gone = 0
    for order_id in wanted:
        events = venue.exchange.cancel(user, int(order_id), venue.now_ms())
        gone += bool(events)
        venue.record(events)
    return gone


def _approve_agent(server: "HyperliquidServer", args: Args) -> None:
    venue, master = server.venue, address(args["master"])
    venue.touch(master)
    venue.agents[address(args["agent"])] = Agent(master, args.get("name", "bot"), venue.now_ms() + AGENT_LIFE_MS)


def _drop(server: "HyperliquidServer", args: Args) -> None:
    server.hub.drop_all()


def _account(server: "HyperliquidServer", args: Args) -> JSON:
    """clearinghouseState, orders and balance of an account."""
    user = address(args["address"])
    account = server.venue.touch(user)
    state = account_state(server.venue, user)
    return {"balance": str(account.balance), "state": state, "orders": frontend_orders(server.venue, user)}


def _fills(server: "HyperliquidServer", args: Args) -> list[JSON]:
    """Oldest first."""
    return fill_rows(server.venue.memory(address(args["address"])).fills, False)


def _history(server: "HyperliquidServer", args: Args) -> list[JSON]:
    """Every change of every order of an account, oldest first."""
    return [record_row(record) for record in server.venue.memory(address(args["address"])).history]


def _counters(server: "HyperliquidServer", args: Args) -> JSON:
    counters = server.counters
    return {
        "http_connections": counters.http_connections,
        "requests": dict(counters.requests),
        "sockets_open": len(server.hub.clients),
        "sockets_ever": server.hub.accepted,
        "subscriptions": sorted(
            (msgspec.to_builtins(s) for c in server.hub.clients for s in c.topics.values()), key=lambda s: str(s)
        ),
        "faults_struck": dict(server.venue.faults.struck),
        "received": msgspec.to_builtins(counters.received),
    }


def _orders(server: "HyperliquidServer", args: Args) -> list[Any]:
    return [msgspec.to_builtins(state_of(o)) for o in server.venue.exchange.orders_of(address(args["address"]))]


COMMANDS: dict[str, Callable[["HyperliquidServer", Args], Any]] = {
    "set_price": _set_price,
    "set_mark": _set_mark,
    "set_book": _set_book,
    "trade": _trade,
    "step": _step,
    "pause": _pause,
    "resume": _resume,
    "advance": _advance,
    "fund": _fund,
    "funding": _funding,
    "deal": _deal,
    "place": _place,
    "cancel": _cancel,
    "approve_agent": _approve_agent,
    "drop_connections": _drop,
    "account": _account,
    "fills": _fills,
    "history": _history,
    "orders": _orders,
    "counters": _counters,
}
READS = frozenset({"account", "fills", "history", "orders", "counters"})
