"""What a test may do to the simulated TopstepX: one table of commands, for `POST /sim/control` and `TopstepxSim`.

`symbol` is a ticker (its active month) or a contract id; `account` an id, by default the practice account's.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from core.model import Side
from sim.control import ControlError
from sim.topstepx_products import Contract
from sim.topstepx_types import Account, Bracket, Order, OrderType, Request, Status
from sim.topstepx_venue import PRACTICE_ID
from sim.topstepx_wire import JSON, account_row, contract_row, order_row, parse_time, position_row, trade_row

if TYPE_CHECKING:
    from sim.topstepx_server import TopstepxServer

__all__ = ["COMMANDS", "ControlError", "control"]
Args = dict[str, Any]


def control(server: "TopstepxServer", args: Args) -> Any:
    """Run the command `args["do"]`. Raises ControlError."""
    if not isinstance(args, dict):
        raise ControlError("a command is an object")
    # {"symbol": "MGC", "price": "4100"} alone means set_price.
    name = args.get("do", "set_price" if {"symbol", "price"} == set(args) else None)
    if name not in COMMANDS:
        raise ControlError(f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
    try:
        answer = COMMANDS[name](server, args)
    except (KeyError, TypeError, ValueError, InvalidOperation) as e:
        raise ControlError(f"{name}: {e!r}") from e
    if name not in READS:
        server.changed()
    return answer


def _contract(server: "TopstepxServer", args: Args) -> Contract:
    return server.venue.contract(str(args["symbol"]))


def _account(server: "TopstepxServer", args: Args) -> Account:
    wanted = args.get("account")
    return server.venue.book.accounts[PRACTICE_ID if wanted is None else int(wanted)]


def _number(value: Any) -> Decimal:
    return Decimal(str(value))


def _maybe(value: Any) -> Decimal | None:
    return None if value is None else _number(value)


def _side(value: Any) -> Side:
    return value if isinstance(value, Side) else Side(str(value).upper())


# --- prices -----------------------------------------------------------------------------------------------------------


def _set_price(server: "TopstepxServer", args: Args) -> None:
    """Pause the model; bid and ask go one tick each side of `price`, without a trade."""
    contract, price = _contract(server, args), _number(args["price"])
    server.venue.paused = True
    server.venue.set_touch(contract, price - contract.tick, price + contract.tick)


def _quote(server: "TopstepxServer", args: Args) -> None:
    """`bid` and `ask` as given; null: that side is empty."""
    server.venue.set_touch(_contract(server, args), _maybe(args["bid"]), _maybe(args["ask"]))


def _trade(server: "TopstepxServer", args: Args) -> None:
    """One public print; the touch stays. Limits that it goes through fill, stops that it reaches fire."""
    side = _side(args.get("side", "BUY"))
    server.venue.print_trade(_contract(server, args), _number(args["price"]), int(args.get("size", 1)), side)


def _step(server: "TopstepxServer", args: Args) -> None:
    for _ in range(int(args.get("count", 1))):
        server.venue.step()


def _pause(server: "TopstepxServer", args: Args) -> None:
    server.venue.paused = True


def _resume(server: "TopstepxServer", args: Args) -> None:
    server.venue.paused = False


# --- clock and calendar -----------------------------------------------------------------------------------------------


def _advance(server: "TopstepxServer", args: Args) -> None:
    """Move the venue's clock on (both of them), and do what falls due."""
    server.venue.skew_us += int(args["ms"]) * 1_000
    server.venue.tend()


def _session(server: "TopstepxServer", args: Args) -> None:
    """Set the session clock alone to the ISO time `time`: what is open, the cut-off, the trading day."""
    server.venue.set_session(parse_time(str(args["time"])))


def _roll(server: "TopstepxServer", args: Args) -> str:
    """The next month becomes the active one; returns its id."""
    return server.venue.roll(_contract(server, args).product.ticker).id


def _contracts(server: "TopstepxServer", args: Args) -> list[JSON]:
    return [contract_row(contract, True) for contract in server.venue.active.values()]


# --- accounts ---------------------------------------------------------------------------------------------------------


def _lock(server: "TopstepxServer", args: Args) -> None:
    """Lock out: orders canceled, positions closed, canTrade false. `locked: false` undoes it."""
    server.venue.lock(_account(server, args), bool(args.get("locked", True)))


def _brackets(server: "TopstepxServer", args: Args) -> None:
    """`mode`: auto-oco or position."""
    if args["mode"] not in ("auto-oco", "position"):
        raise ValueError("mode is auto-oco or position")
    _account(server, args).is_auto_oco = args["mode"] == "auto-oco"


def _balance(server: "TopstepxServer", args: Args) -> None:
    server.venue.set_balance(_account(server, args), _number(args["amount"]))


def _replace_account(server: "TopstepxServer", args: Args) -> int:
    """Returns the new account's id."""
    return server.venue.replace_account(_account(server, args).id).id


def _flatten(server: "TopstepxServer", args: Args) -> None:
    """What the platform does at the cut-off, now: cancel all, close all."""
    server.venue.clear_account(_account(server, args))


def _deal(server: "TopstepxServer", args: Args) -> None:
    """A trade made by hand in the platform: filled at once, at `price` (default: the touch)."""
    contract, account = _contract(server, args), _account(server, args)
    side = 0 if _side(args["side"]) is Side.BUY else 1
    server.venue.deal(account, contract, side, int(args.get("size", 1)), _maybe(args.get("price")))


def _place(server: "TopstepxServer", args: Args) -> int:
    """An order placed by hand; returns its id. `type` (default: market), `limit`, `stop`, `trail`, `tag`, `stop_ticks`,
    `target_ticks`. Raises ValueError with the venue's text when it is refused."""
    contract = _contract(server, args)
    stop, target = args.get("stop_ticks"), args.get("target_ticks")
    request = Request(
        _account(server, args).id,
        contract.id,
        int(args.get("type", OrderType.MARKET)),
        0 if _side(args["side"]) is Side.BUY else 1,
        int(args.get("size", 1)),
        _maybe(args.get("limit")),
        _maybe(args.get("stop")),
        _maybe(args.get("trail")),
        args.get("tag"),
        None if stop is None else Bracket(int(stop), OrderType.STOP),
        None if target is None else Bracket(int(target), OrderType.LIMIT),
    )
    answer = server.venue.place(request, contract)
    if answer.code or answer.order_id is None:
        raise ValueError(f"{answer.code} {answer.message}")
    return answer.order_id


def _cancel(server: "TopstepxServer", args: Args) -> int:
    """Cancel `order`, or every order of the account, at once; returns how many went."""
    venue, account = server.venue, _account(server, args)
    wanted = args.get("order")
    gone: list[Order] = [o for o in venue.book.live(account.id) if wanted in (None, o.id)]
    for order in gone:
        venue.book.cancel_now(order, venue.now_us())
    venue.flush()
    return len(gone)


# --- reading ----------------------------------------------------------------------------------------------------------


def _show_account(server: "TopstepxServer", args: Args) -> JSON:
    """The account's row, its positions and equity, live orders (suspended ones too) as REST writes them."""
    venue, account = server.venue, _account(server, args)
    return account_row(account) | {
        "equity": str(venue.equity(account)),
        "positions": [position_row(account.id, p) for p in account.positions.values()],
        "orders": [order_row(order) for order in venue.book.live(account.id)],
        "brackets": "auto-oco" if account.is_auto_oco else "position",
    }


def _accounts(server: "TopstepxServer", args: Args) -> list[JSON]:
    return [account_row(account) for account in server.venue.book.accounts.values()]


def _history(server: "TopstepxServer", args: Args) -> list[JSON]:
    """Every order ever, oldest first."""
    return [order_row(o) for o in server.venue.book.orders_of(_account(server, args).id)]


def _trades(server: "TopstepxServer", args: Args) -> list[JSON]:
    """Oldest first."""
    account = _account(server, args)
    return [trade_row(row) for row in server.venue.book.executions if row.account_id == account.id]


def _open_orders(server: "TopstepxServer", args: Args) -> list[JSON]:
    account = _account(server, args)
    return [order_row(o) for o in server.venue.book.live(account.id) if o.status is Status.OPEN]


def _drop(server: "TopstepxServer", args: Args) -> None:
    server.hubs.drop_all(args.get("hub"))


def _counters(server: "TopstepxServer", args: Args) -> JSON:
    clients = server.hubs.clients
    return {
        "http_connections": server.http_connections,
        "requests": dict(server.requests),
        "sockets_open": len(clients),
        "sockets_ever": server.hubs.accepted,
        "subscriptions": sorted([kind, value] for c in clients for kind, value in c.topics),
        "faults_struck": dict(server.venue.faults.struck),
    }


COMMANDS: dict[str, Callable[["TopstepxServer", Args], Any]] = {
    "set_price": _set_price,
    "quote": _quote,
    "trade": _trade,
    "step": _step,
    "pause": _pause,
    "resume": _resume,
    "advance": _advance,
    "session": _session,
    "roll": _roll,
    "contracts": _contracts,
    "lock": _lock,
    "brackets": _brackets,
    "balance": _balance,
    "replace_account": _replace_account,
    "flatten": _flatten,
    "deal": _deal,
    "place": _place,
    "cancel": _cancel,
    "drop_connections": _drop,
    "account": _show_account,
    "accounts": _accounts,
    "history": _history,
    "trades": _trades,
    "orders": _open_orders,
    "counters": _counters,
}
READS = frozenset({"contracts", "account", "accounts", "history", "trades", "orders", "counters"})
