"""The trading bot: command line, wiring, main loop.

    python trading_bot.py                       run with config/config.json
    python trading_bot.py --config FILE --for 60
    python trading_bot.py check | status | flatten [--yes] | replay JOURNAL

Exit codes: 0 done; 1 stopped on a fault; 2 bad config or usage; 3 credentials refused.
"""

import argparse
import contextlib
import logging
import queue
import secrets as entropy
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import wiring
from config.credentials import DEFAULT_ENV_PATH, Secrets, load_secrets, missing_secrets
from config.faults import ConfigFault
from config.settings import DEFAULT_PATH, Settings, ensure_config, load
from core.messages import RESTART
from core.rules import Rules
from core.state import State
from runtime import collector
from runtime.bot import Bot
from runtime.clock import Clock, SystemClock
from runtime.executor import LiveExecutor
from runtime.health import HealthServer, StatusWriter
from runtime.journal import Journal
from runtime.ledger import Ledger
from runtime.ledger import write as write_ledger
from runtime.logs import Logs, line
from runtime.notify import Notifier
from runtime.orders import OrderLanes
from runtime.poller import AccountReader, ListingReader, PricePoller
from runtime.private import check_files
from runtime.recovery import restore
from runtime.report_health import build
from runtime.snapshot import Published
from runtime.venue import CredentialsRefused, VenueUnavailable
from runtime.watch import PositionWatch

log = logging.getLogger("bot")

EXIT_OK, EXIT_FAULT, EXIT_USAGE, EXIT_CREDENTIALS = 0, 1, 2, 3
RECENT_LINES = 20
LEAVE_S = 0.8  # after the bot's own wait for what is in flight: within five seconds together
SWITCH_INTERVAL_S = 0.0005  # background threads give the interpreter back to the exit path sooner than the default 5 ms


def main(argv: list[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console with an old code page
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        folder = arguments.logs or wiring.LOGS
        if arguments.command is not None:
            import commands

            return commands.run(arguments, folder)
        return run(arguments.config, folder, arguments.for_s)
    except ConfigFault as e:
        for fault in e.lines:
            print(f"config: {fault}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_OK


def parse(argv: list[str]) -> argparse.Namespace:
    """Usage faults end with exit code 2, argparse's own."""
    parser = argparse.ArgumentParser(
        prog="trading_bot.py", description="Trade Hyperliquid perpetuals or TopstepX futures, protected."
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="config file (default config/config.json)")
    again = argparse.ArgumentParser(add_help=False)  # the same two after the command, where everybody types them
    for name in ("--config", "--logs"):
        again.add_argument(name, type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.add_argument("--for", dest="for_s", type=seconds, default=None, metavar="SECONDS", help="stop by itself")
    parser.add_argument(
        "--logs", type=Path, default=None, metavar="FOLDER", help="log, journal, ledger (default logs/)"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser(
        "check", parents=[again], help="config, credentials, reachability, freshness: pass or fail a row"
    )
    status = commands.add_parser("status", parents=[again], help="what the running bot holds and sees")
    status.add_argument("--json", action="store_true", help="the status object as it is")
    flatten = commands.add_parser("flatten", parents=[again], help="cancel everything, close everything, prove it flat")
    flatten.add_argument("--yes", action="store_true", help="do not ask")
    replay = commands.add_parser(
        "replay", parents=[again], help="play a journal again: equal actions, or the first difference"
    )
    replay.add_argument("journal", type=Path)
    return parser.parse_args(argv)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def run(config_path: Path, folder: Path, for_s: float | None) -> int:
    """The main job. Faults of config and credentials end it before anything is connected."""
    if ensure_config(config_path):
        print(f"created {config_path} for the simulator: no real money is involved")
    settings = load(config_path)
    secrets = load_secrets()
    missing = missing_secrets(settings, secrets)
    if missing:
        raise ConfigFault(missing)
    hidden = (*secrets.values(), *settings.notify)
    logs = Logs(folder, settings.logging.level, console=sys.stdout, secrets=hidden)
    logs.start()
    check_files(folder, DEFAULT_ENV_PATH)
    threading.excepthook = log_thread_death
    try:
        exit_code = run_until_done(settings, secrets, folder, for_s)
        log.info(line("stopped", {"exit_code": exit_code}))
        return exit_code
    except ConfigFault as e:
        for fault in e.lines:
            log.critical(line("config_fault", text=fault))
        raise
    except CredentialsRefused as e:
        log.critical(line("credentials_refused", text=str(e)))
        return EXIT_CREDENTIALS
    except wiring.AlreadyRunning as e:
        log.critical(line("already_running", text=str(e)))
        return EXIT_USAGE
    except VenueUnavailable as e:
        log.critical(line("venue_unavailable", text=str(e)))
        return EXIT_FAULT
    except Exception as e:  # the last line of P9: a bug ends the bot loudly, without a traceback
        log.critical(line("fault", text="ended by a bug; stops stay at the venue"), exc_info=e)
        return EXIT_FAULT
    finally:
        logs.flush_and_stop()


def run_until_done(settings: Settings, secrets: Secrets, folder: Path, for_s: float | None) -> int:
    """One bot after another, while the one before asks for a fresh start (another contract month)."""
    clock = SystemClock()
    started_ms = clock.now_ms()
    until_ms = None if for_s is None else started_ms + int(for_s * 1000)
    with contextlib.ExitStack() as whole:
        stopping = threading.Event()
        whole.enter_context(stop_signals(stopping.set))
        simulator_url = wiring.simulator_of(settings, whole)
        whole.callback(wiring.lock_folder(folder).release)
        is_fresh = simulator_url is not None  # an embedded venue begins with the bot: nothing can be open there
        exit_code = RESTART
        while exit_code == RESTART and not stopping.is_set():
            with contextlib.ExitStack() as cleanup:
                kit = wiring.kit_of(settings, secrets, simulator_url, clock)
                exit_code = assemble(settings, kit, folder, clock, cleanup, stopping, until_ms, is_fresh)
            is_fresh = False
    return EXIT_OK if exit_code == RESTART else exit_code


def log_thread_death(hook: threading.ExceptHookArgs) -> None:
    """A thread's bug reaches the log in one line; the thread itself has told the inbox."""
    error = hook.exc_value or hook.exc_type()
    log.critical(line("thread_died", {"thread": hook.thread.name if hook.thread else "?"}), exc_info=error)


class Parts:
    """Everything that has a thread, in the order it is started."""

    def __init__(self, settings: Settings, rules: Rules, folder: Path, clock: Clock) -> None:
        self.published = Published()
        self.journal = Journal(folder, rules.account_tag, settings.logging.journal_max_mb)
        self.ledger = Ledger(folder / "ledger.db")
        self.notifier = Notifier(settings.notify)
        self.status = StatusWriter(self.published, folder / "status.json", clock)
        health = settings.health
        self.health = HealthServer(self.published, health.host, health.port, clock) if health.enabled else None
        self.lanes: OrderLanes | None = None
        self.listing: ListingReader | None = None
        self.reader: AccountReader | None = None
        self.poller: PricePoller | None = None
        self.watch: PositionWatch | None = None
        self.stream: Any = None

    def start(self, cleanup: contextlib.ExitStack) -> None:
        for part in (self.ledger, self.notifier, self.status, self.health):
            if part is not None:
                part.start()
                cleanup.callback(part.stop)
        started: list[Any] = []
        cleanup.callback(stop_together, started)
        for asking in (self.lanes, self.listing, self.reader, self.poller, self.watch, self.stream):
            if asking is not None:
                asking.start()
                started.append(asking)


def stop_together(parts: Sequence[Any]) -> None:
    """Of those that talk to the venue each may hang for seconds with it: they are told all at once and share the wait.

    Who has not ended by then ends with the process; the bot has waited for what was in flight.
    """
    until_s = time.monotonic() + LEAVE_S
    for part in reversed(parts):
        part.stop(0.0)
    for part in reversed(parts):
        part.stop(max(0.0, until_s - time.monotonic()))


def assemble(
    settings: Settings,
    kit: wiring.Kit,
    folder: Path,
    clock: Clock,
    cleanup: contextlib.ExitStack,
    stopping: threading.Event,
    until_ms: int | None,
    is_fresh: bool,
) -> int:
    """Build every part, connect them by the inbox, run; `cleanup` takes them down in reverse order."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    collector.keep_lean()
    started_ms = clock.now_ms()
    is_embedded = wiring.is_embedded(settings)
    kind = "paper" if settings.is_paper else "simulated" if settings.network == "simulator" else "REAL"
    log.info(line("starting", {"venue": settings.venue, "network": settings.network, "orders": kind}))
    client = kit.client()
    cleanup.callback(client.close)
    instruments = wiring.read_instruments(kit, stopping, clock, until_ms)
    if not is_embedded:  # an embedded venue is nobody else's
        cleanup.callback(wiring.lock_account(kit.tag).release)
    rules = wiring.make_rules(settings, instruments, kit)
    kit.prepare(rules)
    state = State() if is_fresh else take_over(folder, rules, kit)

    inbox: queue.Queue[Any] = queue.Queue()
    parts = Parts(settings, rules, folder, clock)
    parts.lanes = None if rules.dry_run else OrderLanes(client.clone, inbox, clock)
    parts.listing = ListingReader(client.clone(), inbox, clock)
    timeframes_ms = {symbol: market.timeframe_ms for symbol, market in rules.markets.items()}
    reading = client.clone()
    parts.reader = AccountReader(reading, timeframes_ms, inbox, clock, kit.seldom(reading, rules))
    parts.poller = PricePoller(client.clone(), list(rules.markets), settings.fallback.poll_interval, inbox, clock)
    reader = parts.reader
    if not rules.dry_run:
        parts.watch = PositionWatch(client.clone(), rules.is_open, lambda: reader.read_ms, inbox, clock)
    parts.stream = kit.stream(rules, inbox)
    executor: Any = LiveExecutor(parts.lanes, parts.listing, parts.reader, parts.poller, parts.stream)
    if rules.dry_run:
        executor = wiring.make_paper(rules, executor, inbox, clock, folder)
    counts: Counter[str] = Counter()

    recent: deque[str] = deque(maxlen=RECENT_LINES)

    def publish(state: State, word: str | None) -> None:
        weight_used, weight_limit = kit.usage()
        parts.published.publish(build(
            state, rules, now_ms=clock.now_ms(), started_ms=started_ms,
            stream_status=None if parts.stream is None else parts.stream.status(), order_counts=counts,
            weight_used=weight_used, weight_limit=weight_limit, journal_bytes=parts.journal.bytes_written,
            journal_error=parts.journal.error,
            word=word, recent=recent,
        ))  # fmt: skip

    bot = Bot(
        state=state,
        rules=rules,
        strategies=wiring.load_strategies(rules),
        run_id=entropy.randbits(64),
        inbox=inbox,
        executor=executor,
        journal=parts.journal,
        ledger=parts.ledger,
        clock=clock,
        publish=publish,
        notify=parts.notifier.send,
        is_flatten_asked=flatten_request(folder / "flatten.request"),
        is_booked=parts.ledger.is_settled,
        order_counts=counts,
        recent=recent,
        keeper=keeper(is_embedded, rules.dry_run),
    )

    def stop() -> None:
        stopping.set()
        bot.ask_to_stop("asked to stop")

    cleanup.enter_context(stop_signals(stop))
    if stopping.is_set():  # asked while all of this was being put together
        stop()
    parts.start(cleanup)
    collector.settle()
    return bot.run(until_ms)


def keeper(is_embedded: bool, dry_run: bool) -> str:
    """Who watches a position's stop once the bot has ended, for the log."""
    if is_embedded:
        return "the simulated venue ends with the bot: position and stop are gone"
    if dry_run:
        return "a dry run: nobody watches this stop until the bot is started again"
    return "the venue keeps this stop while the bot is away"


def take_over(folder: Path, rules: Rules, kit: wiring.Kit) -> State:
    """State of the last run, as far as the journal tells; the ledger gets what that run may have failed to book."""
    restored = restore(folder, rules, kit.decoder(rules))
    try:
        write_ledger(folder / "ledger.db", restored.rows)
    except sqlite3.Error as e:  # a full disk, another program's lock: trading does not wait for it
        log.warning(line("ledger_failed", {"error": str(e), "rows_lost": len(restored.rows)}))
    text = restored.why_fresh or "state taken over from the journal"
    log.info(line("restored", {"events": restored.events}, text))
    wiring.remember_left(kit.client(), restored.state)
    return restored.state


@contextlib.contextmanager
def stop_signals(handler: Callable[[], object]) -> Iterator[None]:
    """SIGINT and SIGTERM call `handler` while the context lasts."""
    before = {number: signal.signal(number, lambda *_: handler()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def flatten_request(path: Path) -> Callable[[], bool]:
    """Whether `flatten` has asked, once a request: its file is taken away. One that cannot be taken asks nothing."""

    def is_asked() -> bool:
        try:
            path.unlink()
        except OSError:
            return False
        return True

    is_asked()  # a request for an earlier run is not for this one
    return is_asked


if __name__ == "__main__":
    sys.exit(main())
