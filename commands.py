"""The commands beside the main job: check, status, flatten, replay. They print for people and end with an exit code."""

import argparse
import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

import wiring
from config.credentials import Secrets, load_secrets, missing_secrets
from config.faults import ConfigFault
from config.settings import Settings, load
from core.decide import decide
from core.freshness import newest_lag_ms
from core.messages import AccountSnapshot, AnyEvent, Frame, Started, Tick
from core.model import ZERO
from core.rules import Rules
from core.state import State
from runtime.clock import Clock, SystemClock
from runtime.recovery import replay, restore
from runtime.snapshot import HealthSnapshot, grown_older, prop_lines, read_status, source_lines
from runtime.venue import CredentialsRefused, VenueClient, VenueUnavailable
from wiring.flatten import Flattener
from wiring.kit import Kit, Row

EXIT_OK, EXIT_FAULT, EXIT_USAGE, EXIT_CREDENTIALS = 0, 1, 2, 3
STATUS_OLD_S = 3.5  # the bot writes every second
LISTEN_MS = 6_000  # a delay of minutes shows within five seconds of the first data
FLATTEN_S = 90.0  # a spent request budget answers again within a minute
FLATTEN_WAIT_S = 20.0


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
        return check(console, settings, secrets, folder)
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
        target = "" if position.target is None else f", target {position.target}"
        table.add_row("", f"stop {position.stop} {where}{target}")
    money = "not read yet" if snapshot.equity is None else f"{snapshot.equity}, today {snapshot.daily_pnl}"
    table.add_row("equity", money)
    table.add_row("stream", snapshot.websocket.mode)
    if snapshot.prop is not None:
        for name, text in prop_lines(snapshot.prop):
            table.add_row(name, text)
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
        result = replay(path, wiring.decoder_of, wiring.load_strategies)
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


def check(console: Console, settings: Settings, secrets: Secrets, folder: Path) -> int:
    """One row a question; nothing is traded. 0 all passed, 1 not, 3 credentials refused."""
    with contextlib.ExitStack() as cleanup:
        kit = wiring.kit_of(settings, secrets, wiring.simulator_of(settings, cleanup), SystemClock())
        cleanup.callback(kit.client().close)
        rows = list(check_rows(settings, kit, folder))
    table = Table(title=f"check: {settings.venue} {settings.network}{' dry run' if settings.is_paper else ''}")
    for name in ("", "question", "answer"):
        table.add_column(name)
    for row in rows:
        table.add_row("pass" if row.passed else "FAIL", row.name, row.detail)
    console.print(table)
    if any(row.is_credential and not row.passed for row in rows):
        return EXIT_CREDENTIALS
    return EXIT_OK if all(row.passed for row in rows) else EXIT_FAULT


def check_rows(settings: Settings, kit: Kit, folder: Path) -> Iterator[Row]:
    clock, client = SystemClock(), kit.client()
    yield Row("config", True, "markets: " + ", ".join(market.symbol for market in settings.markets))
    try:
        instruments = kit.instruments()
    except VenueUnavailable as e:
        yield Row("venue reachable", False, str(e))
        return
    except CredentialsRefused as e:
        yield Row("credentials", False, str(e), is_credential=True)
        return
    yield Row("venue reachable", True, f"{len(instruments)} markets")
    try:
        rules = wiring.make_rules(settings, instruments, kit)
    except ConfigFault as e:
        for fault in e.lines:
            yield Row("markets", False, fault)
        return
    yield asked("credentials", kit.credentials_row)
    yield asked("clock", lambda: clock_row(client, is_simulated=settings.network == "simulator"))
    if kit.has_account:
        yield asked("account", lambda: account_row(client))
    heard = listen(kit, rules, clock)
    for symbol in rules.markets:
        if heard is not None:
            yield stream_row(heard, symbol)
        yield asked(f"{symbol} data", lambda symbol=symbol: freshness_row(client, symbol, rules, clock))  # type: ignore[misc]
        yield instrument_row(rules, symbol, kit)
    try:
        yield from kit.own_rows(rules, restore(folder, rules, kit.decoder(rules)).state)
    except VenueUnavailable as e:
        yield Row(f"{settings.venue}", False, str(e))


def listen(kit: Kit, rules: Rules, clock: Clock) -> State | None:
    """What the brain makes of some seconds of the stream, acting on nothing; None when the config has no stream."""
    inbox: queue.Queue[Any] = queue.Queue()
    stream = kit.stream(rules, inbox)
    if stream is None:
        return None
    state, _ = decide(State(), Started(run_id=0, rules=rules, received_ms=clock.now_ms()), rules, {})
    with contextlib.suppress(VenueUnavailable):
        for _ in range(2):  # an offset of hours is believed when it is measured twice
            inbox.put(kit.client().measure_clock())
    stream.start()
    until_ms = clock.now_ms() + LISTEN_MS
    try:
        while clock.now_ms() < until_ms:
            if all(market.verdict == "real-time" for market in state.markets.values()):
                break
            events: tuple[AnyEvent, ...] = ()
            with contextlib.suppress(queue.Empty):
                item = inbox.get(timeout=0.2)
                events = item.events if isinstance(item, Frame) else (item,)
            for event in (*events, Tick(received_ms=clock.now_ms())):
                state, _ = decide(state, event, rules, {})
    finally:
        stream.stop()
    return state


def stream_row(heard: State, symbol: str) -> Row:
    market = heard.markets[symbol]
    lag_ms = newest_lag_ms(market, heard)
    lag = "" if lag_ms is None else f", {lag_ms} ms from the venue"
    return Row(f"{symbol} stream", market.verdict == "real-time", f"{market.verdict}{lag}")


def asked(name: str, ask: Callable[[], Row]) -> Row:
    try:
        return ask()
    except VenueUnavailable as e:
        return Row(name, False, str(e))


def clock_row(client: VenueClient, is_simulated: bool) -> Row:
    offset = min((client.measure_clock() for _ in range(3)), key=lambda o: o.round_trip_ms)
    near = abs(offset.offset_ms) < 60_000
    own_time = "" if near or not is_simulated else "; the simulated venue keeps a time of its own"
    text = f"offset {offset.offset_ms} ms, give or take {(offset.round_trip_ms + 1) // 2} ms{own_time}"
    return Row("clock", near or is_simulated, text)


def account_row(client: VenueClient) -> Row:
    account = client.account()
    held = ", ".join(f"{p.symbol} {p.size}" for p in account.positions) or "flat"
    good = account.equity > 0 and account.can_trade
    locked = "" if account.can_trade else ", LOCKED by the venue"
    return Row("account", good, f"equity {account.equity}, available {account.available}, {held}{locked}")


def freshness_row(client: VenueClient, symbol: str, rules: Rules, clock: Clock) -> Row:
    offset = client.measure_clock()
    prices = client.polled_prices([symbol])
    if not prices:
        return Row(f"{symbol} data", False, "no price")
    price = prices[0]
    if price.time_ms is None:
        return Row(f"{symbol} data", True, f"{price.price}, the answer carries no time")
    age_ms = clock.now_ms() + offset.offset_ms - price.time_ms
    fresh = age_ms <= rules.risk.max_price_age_ms
    return Row(f"{symbol} data", fresh, f"{price.price}, {age_ms} ms old by the venue's clock")


def instrument_row(rules: Rules, symbol: str, kit: Kit) -> Row:
    market = rules.markets[symbol]
    instrument = market.instrument
    steps = f"size step {instrument.lot_size}"
    if instrument.tick_size is not None:
        steps += f", tick {instrument.tick_size} worth {instrument.tick_size * instrument.multiplier:f}"
    if instrument.min_notional:
        steps += f", smallest order {instrument.min_notional}"
    return Row(f"{symbol} rules", True, f"{steps}; protection: {kit.protection(market)}")


# --- flatten ----------------------------------------------------------------------------------------------------------


def flatten(console: Console, settings: Settings, secrets: Secrets, folder: Path, yes: bool) -> int:
    """Cancel and close everything in the account, and prove it by a last read. A running bot is told to stand down."""
    if settings.is_paper or (settings.network == "simulator" and settings.api_url is None):
        return flatten_by_bot(console, folder)
    clock = SystemClock()
    kit = wiring.kit_of(settings, secrets, None, clock)
    client = kit.client()
    try:
        instruments = kit.instruments()
        kit.prepare_flatten()
        before = client.account()
    except VenueUnavailable as e:
        print(f"flatten: {e}", file=sys.stderr)
        return EXIT_FAULT
    except CredentialsRefused as e:
        print(f"flatten: {e}", file=sys.stderr)
        return EXIT_CREDENTIALS
    show_account(console, before)
    if not before.positions and not before.orders:
        console.print("flat already, no working orders")  # and a running bot is to keep it so
    elif not yes and not agrees(console, "close and cancel all of this at market? type yes: "):
        console.print("nothing was done")
        return EXIT_FAULT
    request = folder / "flatten.request"
    # A running bot stops its entries and closes its own markets; it must not fight this. Without one, or without a
    # folder to ask in, the account is closed all the same.
    is_asked = False
    with contextlib.suppress(OSError):
        request.touch()
        is_asked = True
    flattener = kit.flattener(instruments)
    try:
        if flattener.yields_to_bot and is_asked and await_taken(request, 2.0):
            await_flat(client, {market.symbol for market in settings.markets}, clock)
        return flatten_account(console, client, flattener, clock)
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


def await_taken(request: Path, timeout_s: float) -> bool:
    """Whether a running bot has taken the request."""
    deadline = time.monotonic() + timeout_s
    while (waits := request.exists()) and time.monotonic() < deadline:
        threading.Event().wait(0.1)
    return not waits


def await_flat(client: VenueClient, managed: set[str], clock: Clock) -> None:
    """Give the running bot time to close what it manages; what is left then is for us."""
    until_ms = clock.now_ms() + int(FLATTEN_WAIT_S * 1000)
    while clock.now_ms() < until_ms:
        clock.wait(threading.Event(), 1.0)
        with contextlib.suppress(VenueUnavailable):
            account = client.account()
            open_symbols = {p.symbol for p in account.positions} | {o.symbol for o in account.orders}
            if not open_symbols & managed:
                return


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


def flatten_account(console: Console, client: VenueClient, flattener: Flattener, clock: Clock) -> int:
    """Rounds of the venue's own order of steps, until a read says flat and empty."""
    until_ms = clock.now_ms() + int(FLATTEN_S * 1000)
    while clock.now_ms() < until_ms:
        pause_s = 0.5
        try:
            account = client.account()
            if not account.positions and not account.orders:
                console.print("flat: no positions, no working orders")
                return EXIT_OK
            flattener.round(account, console.print)
        except VenueUnavailable as e:
            console.print(f"not yet: {e}")
            pause_s = min(10.0, e.retry_s or 1.0)
        clock.wait(threading.Event(), pause_s)
    print(f"flatten: NOT flat after {FLATTEN_S:.0f} s; look at the venue and act by hand", file=sys.stderr)
    return EXIT_FAULT


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
