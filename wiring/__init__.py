"""The parts of a bot that are the same at every venue, and the choice of the venue's own (`Kit`).

Used by `trading_bot.py` and `commands.py`; whatever fails here fails before anything is traded.
"""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import filelock
import msgspec

import strategies
from config.credentials import NAMES, Secrets
from config.rules import market_rules
from config.settings import Settings
from core.model import Instrument
from core.rules import Rules
from core.state import State
from core.turn import Strategies
from runtime.clock import Clock, SystemClock
from runtime.logs import line
from runtime.recovery import Decode
from runtime.venue import VenueClient, VenueUnavailable
from sim.paper import PaperVenue
from wiring import hyperliquid, topstep
from wiring.kit import Kit

log = logging.getLogger("bot")

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "logs"
SIMULATOR_READY_S = 20.0
# paths on which the first-start config enters, trails and exits within the first minute
FIRST_START_SEED = {"hyperliquid": "92", "topstepx": "1"}
READ_AGAIN_S = (0.25, 0.5, *(1.0,) * 5, *(2.0,) * 10, 5.0)  # a position may stand there without a stop


class ListsMarkets(Protocol):
    def instruments(self) -> dict[str, Instrument]: ...


class AlreadyRunning(Exception):
    """Another bot holds this account (P11). The text is for the user."""


def kit_of(settings: Settings, secrets: Secrets, simulator_url: str | None, clock: Clock) -> Kit:
    """Raises ConfigFault when the network has no address."""
    if settings.venue == "topstepx":
        return topstep.TopstepKit(settings, secrets, simulator_url, clock)
    return hyperliquid.HyperliquidKit(settings, secrets, simulator_url, clock)


def decoder_of(rules: Rules) -> Decode:
    """Reads the frames of any journal played by `rules`."""
    return topstep.decoder(rules) if rules.venue == "topstepx" else hyperliquid.decoder(rules)


class Simulator:
    """The embedded venue: a process of its own on a free loopback port, gone when the bot is."""

    def __init__(self, venue: str, arguments: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "sim", "--venue", venue, "--port", "0", "--exit-with-stdin"]
        self._process = subprocess.Popen(
            [*command, "--seed", FIRST_START_SEED[venue], *arguments],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name not in NAMES},  # no secret of ours
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.url = self._await_url()

    def _await_url(self) -> str:
        """The address in the one line it prints when ready. Raises VenueUnavailable."""
        lines: list[str] = []
        assert self._process.stdout is not None
        reader = threading.Thread(target=lambda out: lines.append(out.readline()), args=(self._process.stdout,))
        reader.daemon = True
        reader.start()
        reader.join(SIMULATOR_READY_S)
        words = lines[0].split() if lines else []
        if not words or not words[-1].startswith("http"):
            self.stop()
            raise VenueUnavailable("the simulator did not start")
        return words[-1]

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


def is_embedded(settings: Settings) -> bool:
    """The bot brings its own venue, which nobody else can reach."""
    return settings.network == "simulator" and settings.api_url is None


def simulator_of(settings: Settings, cleanup: contextlib.ExitStack) -> str | None:
    """Start the embedded venue if the settings want one; its address. Raises VenueUnavailable."""
    if not is_embedded(settings):
        return None
    is_futures = settings.venue == "topstepx"
    arguments = topstep.simulator_arguments(settings, SystemClock().now_ms()) if is_futures else ()
    simulator = Simulator(settings.venue, arguments)
    cleanup.callback(simulator.stop)
    return simulator.url


def lock_account(tag: str) -> filelock.BaseFileLock:
    """Refuse a second bot on the same account, from whichever folder it runs (P11)."""
    folder = Path(tempfile.gettempdir()) / "trading-bot"
    folder.mkdir(mode=0o700, exist_ok=True)
    return lock(folder / tag, "another bot trades this account already")


def lock_folder(folder: Path) -> filelock.BaseFileLock:
    """Refuse a second bot that would write to the same files. A folder that cannot be written is not refused here."""
    try:
        return lock(folder / "bot", f"another bot writes to {folder} already (--logs gives this one its own)")
    except OSError as e:
        log.warning(line("folder_not_locked", {"folder": folder, "error": e.strerror}))
        return filelock.SoftFileLock(folder / "bot.lock")  # never acquired: releasing it does nothing


def lock(path: Path, refusal: str) -> filelock.BaseFileLock:
    """Hold PATH.lock for this process. Raises AlreadyRunning with the holder's process id, OSError."""
    held = filelock.FileLock(path.with_name(path.name + ".lock"))
    note = path.with_name(path.name + ".pid")
    try:
        held.acquire(timeout=0)
    except filelock.Timeout:
        holder = note.read_text(encoding="utf-8").strip() if note.exists() else "unknown"
        raise AlreadyRunning(f"{refusal}, process id {holder}") from None
    note.write_text(str(os.getpid()), encoding="utf-8")
    return held


def read_instruments(
    venue: ListsMarkets, stop: threading.Event, clock: Clock, until_ms: int | None
) -> dict[str, Instrument]:
    """The venue's markets; tries until it answers, `stop` is set or `until_ms` has come (VenueUnavailable then)."""
    for attempt in range(1_000_000):
        try:
            return venue.instruments()
        except VenueUnavailable as e:
            delay_s = READ_AGAIN_S[min(attempt, len(READ_AGAIN_S) - 1)]
            log.warning(line("venue_unavailable", {"error": str(e), "retry_s": delay_s}))
            if clock.wait(stop, delay_s) or (until_ms is not None and clock.now_ms() >= until_ms):
                break
    raise VenueUnavailable("stopped before the venue answered")


def remember_left(client: VenueClient, state: State) -> None:
    """The venue's window of requests goes on over a restart."""
    client.remember_left(state.window_left, max(state.read_account_ms, state.tick_ms))


def make_rules(settings: Settings, instruments: dict[str, Instrument], kit: Kit) -> Rules:
    rules = market_rules(settings, instruments)
    interval_ms = int(settings.check_interval * 1000)
    return msgspec.structs.replace(rules, account_tag=kit.tag, check_interval_ms=interval_ms)


def load_strategies(rules: Rules) -> Strategies:
    return {
        symbol: strategies.load_strategy(market.strategy)
        for symbol, market in rules.markets.items()
        if market.strategy is not None
    }


def make_paper(rules: Rules, inner: Any, inbox: Any, clock: Clock, folder: Path) -> PaperVenue:
    """The dry run's venue: orders stay here, everything else goes on to `inner`."""
    instruments = [market.instrument for market in rules.markets.values()]
    leverages = {symbol: market.leverage or market.instrument.max_leverage for symbol, market in rules.markets.items()}
    path = folder / f"paper-{rules.network}.json"
    if rules.venue == "topstepx":
        terms, fund = topstep.paper_terms(rules)
        return PaperVenue(instruments, leverages, inner, inbox, clock, path, terms, fund)
    return PaperVenue(instruments, leverages, inner, inbox, clock, path)
