"""The commands beside the main job: check, status, flatten, replay. They print for people and end with an exit code."""

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

import wiring
from config.credentials import Secrets, load_secrets, missing_secrets
from config.faults import ConfigFault
from config.settings import Settings, load
from core.messages import AccountSnapshot, OrderUnknown
from core.model import ZERO, Instrument, Order, OrderType, Side, TimeInForce
from core.rules import Rules
from hyperliquid_client import HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import Clock, SystemClock
from runtime.recovery import replay
from runtime.snapshot import HealthSnapshot, grown_older, read_status, source_lines
from runtime.venue import CredentialsRefused, OrderAnswer, VenueUnavailable

EXIT_OK, EXIT_FAULT, EXIT_USAGE, EXIT_CREDENTIALS = 0, 1, 2, 3
STATUS_OLD_S = 3.5  # the bot writes every second
FLATTEN_S = 90.0  # a spent request budget answers again within a minute
FLATTEN_WAIT_S = 20.0
SLIPPAGE = Decimal("0.05")


def run(arguments: argparse.Namespace, folder: Path) -> int:
    """Exit code of one command. Raises ConfigFault."""
    console = Console()
    if arguments.command == "status":
        return show_status(console, folder, arguments.json)
    if arguments.command == "replay":
        return play_again(console, arguments.journal)
    settings = load(arguments.config)
    secrets = load_secrets()
    missing = missing_secrets(settings, secrets)
    if missing:
        raise ConfigFault(missing)
    if arguments.command == "check":
        return check(console, settings, secrets)
    return flatten(console, settings, secrets, folder, arguments.yes)


# --- status -----------------------------------------------------------------------------------------------------------


def show_status(console: Console, folder: Path, as_json: bool) -> int:
    """What logs/status.json says, grown older; 1 when no bot runs or it is not well."""
    path = folder / "status.json"
    try:
        snapshot = read_status(path)
    except FileNotFoundError:
        print("no bot has run here yet: there is no status.json", file=sys.stderr)
        return EXIT_FAULT
    except (OSError, ValueError) as e:
        print(f"{path.name} cannot be read: {e}", file=sys.stderr)
        return EXIT_FAULT
    now_ms = SystemClock().now_ms()
    age_s = (now_ms - snapshot.published_ms) / 1000
    if as_json:
        print(msgspec.json.encode(grown_older(snapshot, now_ms)).decode())
    else:
        console.print(status_table(snapshot, age_s))
    return EXIT_OK if age_s < STATUS_OLD_S and snapshot.status in ("ok", "starting") else EXIT_FAULT


def status_table(snapshot: HealthSnapshot, age_s: float) -> Table:
    """Two columns, so that nothing is cut at 80: what, and how it stands."""
    state = snapshot.status if age_s < STATUS_OLD_S else f"not running, last seen {age_s:.0f} s ago ({snapshot.status})"
    kind = " dry run" if snapshot.dry_run else ""
    table = Table(title=f"{snapshot.venue} {snapshot.network}{kind}: {state}", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for symbol, market in snapshot.markets.items():
        age = "" if market.price_age_s is None else f", {market.price_age_s:.1f} s old"
        price = "no price yet" if market.current_price is None else f"{market.current_price} ({market.verdict}{age})"
        table.add_row(symbol, price)
        for text in source_lines(market):
            table.add_row("", text)
        position = market.position
        if position is None:
            table.add_row("", "flat")
            continue
        profit = "" if position.unrealized_pnl is None else f", open profit {position.unrealized_pnl}"
        table.add_row("", f"{position.side} {position.size} from {position.entry_price}{profit}")
        where = "at the venue" if position.protected_at_venue else "NOT AT THE VENUE"
        table.add_row("", f"stop {position.stop} {where}")
    table.add_row("equity", f"{snapshot.equity}, today {snapshot.daily_pnl}")
    table.add_row("stream", snapshot.websocket.mode)
    if snapshot.halted:
        table.add_row("HALTED", snapshot.halted)
    table.add_row("if it dies now", snapshot.protection)
    return table


# --- replay -----------------------------------------------------------------------------------------------------------


def play_again(console: Console, path: Path) -> int:
    """0: the same actions; 1: the first difference is shown; 2: no such journal."""
    if not path.is_file():
        print(f"replay: {path} is no file", file=sys.stderr)
        return EXIT_USAGE
    try:
        result = replay(path, lambda: wiring.make_decoder(None), wiring.load_strategies)
    except (ValueError, OSError) as e:
        print(f"replay: {path}: {e}", file=sys.stderr)
        return EXIT_USAGE
    console.print(f"{result.events} events, {result.actions} actions compared")
    if result.difference is None:
        console.print("equal: every action came out the same")
        return EXIT_OK
    console.print(f"different at event {result.difference.at_event}")
    console.print(f"  recorded {result.difference.recorded}")
    console.print(f"  replayed {result.difference.replayed}")
    return EXIT_FAULT


# --- check ------------------------------------------------------------------------------------------------------------


class Row(msgspec.Struct):
    name: str
    passed: bool
    detail: str
    is_credential: bool = False


def check(console: Console, settings: Settings, secrets: Secrets) -> int:
    """One row a question; nothing is traded. 0 all passed, 1 not, 3 credentials refused."""
    is_embedded = settings.network == "simulator" and settings.api_url is None
    simulator = wiring.Simulator() if is_embedded else None
    try:
        rows = list(check_rows(settings, secrets, simulator))
    finally:
        if simulator is not None:
            simulator.stop()
    table = Table(title=f"check: {settings.venue} {settings.network}{' dry run' if settings.is_paper else ''}")
    for name in ("", "question", "answer"):
        table.add_column(name)
    for row in rows:
        table.add_row("pass" if row.passed else "FAIL", row.name, row.detail)
    console.print(table)
    if any(row.is_credential and not row.passed for row in rows):
        return EXIT_CREDENTIALS
    return EXIT_OK if all(row.passed for row in rows) else EXIT_FAULT


def check_rows(settings: Settings, secrets: Secrets, simulator: wiring.Simulator | None) -> Iterator[Row]:
    clock = SystemClock()
    yield Row("config", True, "markets: " + ", ".join(market.symbol for market in settings.markets))
    account = wiring.account_of(settings, secrets)
    client = wiring.make_client(wiring.resolve(settings, simulator), account, clock, WeightBudget(clock))
    try:
        instruments = client.instruments()
    except VenueUnavailable as e:
        yield Row("venue reachable", False, str(e))
        return
    yield Row("venue reachable", True, f"{len(instruments)} markets")
    try:
        rules = wiring.make_rules(settings, instruments, account)
    except ConfigFault as e:
        for fault in e.lines:
            yield Row("markets", False, fault)
        return
    yield check_credential_row(client, settings)
    yield asked("clock", lambda: clock_row(client))
    if account.address is not None:
        yield asked("account", lambda: account_row(client))
        yield asked("request budget", lambda: budget_row(client))
    for symbol in rules.markets:
        yield asked(f"{symbol} data", lambda symbol=symbol: freshness_row(client, symbol, rules, clock))  # type: ignore[misc]
        yield instrument_row(rules, symbol)
    client.close()


def asked(name: str, ask: Callable[[], Row]) -> Row:
    try:
        return ask()
    except VenueUnavailable as e:
        return Row(name, False, str(e))


def check_credential_row(client: HyperliquidClient, settings: Settings) -> Row:
    if settings.is_paper or settings.network == "simulator":
        return Row("credentials", True, "none needed here")
    try:
        found = client.check_credentials()
    except CredentialsRefused as e:
        return Row("credentials", False, str(e), is_credential=True)
    except VenueUnavailable as e:
        return Row("credentials", False, str(e))
    kind = "agent key" if found.is_agent else "the account's own key (an agent key is safer)"
    days = ""
    if found.expires_ms is not None:
        days = f", expires in {(found.expires_ms - SystemClock().now_ms()) / 86_400_000:.0f} days"
    return Row("credentials", True, kind + days)


def clock_row(client: HyperliquidClient) -> Row:
    offset = min((client.measure_clock() for _ in range(3)), key=lambda o: o.round_trip_ms)
    good = abs(offset.offset_ms) < 60_000
    return Row("clock", good, f"offset {offset.offset_ms} ms, round trip {offset.round_trip_ms} ms")


def account_row(client: HyperliquidClient) -> Row:
    account = client.account()
    held = ", ".join(f"{p.symbol} {p.size}" for p in account.positions) or "flat"
    return Row("account", account.equity > 0, f"equity {account.equity}, available {account.available}, {held}")


def budget_row(client: HyperliquidClient) -> Row:
    budget = client.request_budget()
    return Row("request budget", budget.cap - budget.used > 200, f"{budget.used} of {budget.cap} actions used")


def freshness_row(client: HyperliquidClient, symbol: str, rules: Rules, clock: Clock) -> Row:
    offset = client.measure_clock()
    prices = client.polled_prices([symbol])
    if not prices:
        return Row(f"{symbol} data", False, "no price: one side of the book is empty")
    price = prices[0]
    if price.time_ms is None:
        return Row(f"{symbol} data", True, f"{price.price}, the answer carries no time")
    age_ms = clock.now_ms() + offset.offset_ms - price.time_ms
    fresh = age_ms <= rules.risk.max_price_age_ms
    return Row(f"{symbol} data", fresh, f"{price.price}, {age_ms} ms old by the venue's clock")


def instrument_row(rules: Rules, symbol: str) -> Row:
    market = rules.markets[symbol]
    instrument = market.instrument
    detail = (
        f"size step {instrument.lot_size}, smallest order {instrument.min_notional}, leverage up to "
        f"{instrument.max_leverage}; protection: a stop at the venue for the whole position"
        f"{', moved behind the price' if market.exits.trailing_stop else ''}"
    )
    return Row(f"{symbol} rules", True, detail)


# --- flatten ----------------------------------------------------------------------------------------------------------


def flatten(console: Console, settings: Settings, secrets: Secrets, folder: Path, yes: bool) -> int:
    """Cancel and close everything in the account, and prove it by a last read. A running bot is told to stand down."""
    if settings.is_paper or (settings.network == "simulator" and settings.api_url is None):
        return flatten_by_bot(console, folder)
    clock = SystemClock()
    account = wiring.account_of(settings, secrets)
    client = wiring.make_client(wiring.resolve(settings, None), account, clock, WeightBudget(clock))
    try:
        instruments = client.instruments()
        wiring.check_credentials(client, settings)
        before = client.account()
    except VenueUnavailable as e:
        print(f"flatten: {e}", file=sys.stderr)
        return EXIT_FAULT
    except CredentialsRefused as e:
        print(f"flatten: {e}", file=sys.stderr)
        return EXIT_CREDENTIALS
    show_account(console, before)
    if not before.positions and not before.orders:
        console.print("flat already, no working orders")
        return EXIT_OK
    if not yes and not agrees(console, "close and cancel all of this at market? type yes: "):
        console.print("nothing was done")
        return EXIT_OK
    request = folder / "flatten.request"
    # A running bot stops its entries and closes its own markets; it must not fight this. Without one, or without a
    # folder to ask in, the account is closed all the same.
    with contextlib.suppress(OSError):
        request.touch()
    try:
        return flatten_account(console, client, instruments, clock)
    finally:
        await_taken(request, 2.0)  # a running bot looks once a second
        with contextlib.suppress(OSError):
            request.unlink()


def agrees(console: Console, question: str) -> bool:
    try:
        return console.input(question).strip().lower() == "yes"
    except EOFError:  # nobody is there to answer
        console.print()
        return False


def await_taken(request: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while request.exists() and time.monotonic() < deadline:
        threading.Event().wait(0.1)


def flatten_by_bot(console: Console, folder: Path) -> int:
    """On the embedded simulator and in a dry run only the bot itself holds the positions: ask it."""
    path = folder / "status.json"
    request = folder / "flatten.request"
    try:
        request.touch()
    except OSError as e:
        print(f"flatten: no bot can be asked in {folder}: {e.strerror}", file=sys.stderr)
        return EXIT_FAULT
    deadline = time.monotonic() + FLATTEN_WAIT_S
    while time.monotonic() < deadline:
        threading.Event().wait(0.5)
        try:
            snapshot = read_status(path)
        except (OSError, ValueError):
            continue
        taken = not request.exists()
        if taken and all(market.position is None for market in snapshot.markets.values()):
            console.print("flat: the bot holds nothing, and opens nothing until it is started again")
            return EXIT_OK
    request.unlink(missing_ok=True)
    print("flatten: no running bot answered, or it could not close in time", file=sys.stderr)
    return EXIT_FAULT


def flatten_account(
    console: Console, client: HyperliquidClient, instruments: dict[str, Instrument], clock: Clock
) -> int:
    """Rounds of close, cancel, read; positions first, while their stops still stand."""
    nonce = clock.now_ms()
    until_ms = clock.now_ms() + int(FLATTEN_S * 1000)
    while clock.now_ms() < until_ms:
        pause_s = 0.5
        try:
            account = client.account()
            if not account.positions and not account.orders:
                console.print("flat: no positions, no working orders")
                return EXIT_OK
            for position in account.positions:
                if position.symbol not in instruments:
                    console.print(f"{position.symbol} cannot be traded any more: the venue settles it")
                    continue
                nonce = max(nonce + 1, clock.now_ms())
                answer = close_one(client, instruments[position.symbol], position.size, nonce, clock)
                console.print(f"close {position.symbol} {position.size}: {type(answer).__name__}")
            if not account.positions:
                for order in account.orders:
                    nonce = max(nonce + 1, clock.now_ms())
                    client.cancel(order.symbol, order.order_id, nonce)
        except VenueUnavailable as e:
            console.print(f"not yet: {e}")
            pause_s = min(10.0, e.retry_s or 1.0)
        clock.wait(threading.Event(), pause_s)
    print(f"flatten: NOT flat after {FLATTEN_S:.0f} s; look at the venue and act by hand", file=sys.stderr)
    return EXIT_FAULT


def close_one(
    client: HyperliquidClient, instrument: Instrument, size: Decimal, nonce: int, clock: Clock
) -> OrderAnswer:
    """Reduce-only IOC for exactly what is held; an unknown outcome is settled before the next round."""
    side = Side.SELL if size > 0 else Side.BUY
    prices = client.polled_prices([instrument.symbol])
    if not prices:
        raise VenueUnavailable(f"{instrument.symbol} has no price: one side of its book is empty")
    price = prices[0].price
    order = Order(
        client_id=f"0x{nonce:032x}",
        symbol=instrument.symbol,
        side=side,
        size=abs(size),
        type=OrderType.MARKET,
        price=instrument.round_away(price * (1 + side.sign * SLIPPAGE), side),
        time_in_force=TimeInForce.IOC,
        reduce_only=True,
        nonce=nonce,
        expires_ms=nonce + 60_000,
    )
    answer = client.submit(order)
    if isinstance(answer, OrderUnknown):
        clock.wait(threading.Event(), 0.5)
        client.settle(order, 0)
    return answer


def show_account(console: Console, account: AccountSnapshot) -> None:
    table = Table(title="account")
    for name in ("market", "what", "size", "price"):
        table.add_column(name)
    for position in account.positions:
        table.add_row(position.symbol, "position", str(position.size), str(position.entry_price))
    for order in account.orders:
        what = "stop" if order.is_stop else "trigger" if order.trigger_price is not None else "order"
        size = "position" if order.size == ZERO else str(order.size)
        table.add_row(order.symbol, f"{what} {order.side.value}", size, str(order.trigger_price or order.price))
    console.print(table)
