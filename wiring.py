"""The parts of a bot, made from its settings: addresses, account, client, rules, stream. It knows the venues' files.

Used by `trading_bot.py` and `commands.py`; whatever fails here fails before anything is traded.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import filelock
import msgspec

import strategies
from config.credentials import Secrets, account_address
from config.faults import ConfigFault
from config.rules import Addresses, addresses, market_rules
from config.settings import Settings
from core.messages import AnyEvent
from core.model import Instrument
from core.rules import Rules
from core.turn import Strategies
from hyperliquid_client import HyperliquidClient
from hyperliquid_frames import FrameReader
from hyperliquid_signing import Signer, keccak
from hyperliquid_websocket import HyperliquidWebSocketClient
from runtime.budget import WeightBudget
from runtime.clock import Clock
from runtime.logs import line
from runtime.recovery import Decode
from runtime.venue import VenueUnavailable
from sim.paper import PaperVenue

log = logging.getLogger("bot")

ROOT = Path(__file__).resolve().parent
LOGS = ROOT / "logs"
SIMULATOR_READY_S = 20.0
FIRST_START_SEED = "92"  # a path on which the first-start config enters, trails and exits within the first minute
READ_AGAIN_S = (1.0, 2.0, 5.0, 10.0, 30.0)
CANDLES = {60_000: "1m", 180_000: "3m", 300_000: "5m", 900_000: "15m", 1_800_000: "30m", 3_600_000: "1h",
           7_200_000: "2h", 14_400_000: "4h", 28_800_000: "8h", 43_200_000: "12h", 86_400_000: "1d"}  # fmt: skip


class AlreadyRunning(Exception):
    """Another bot holds this account (P11). The text is for the user."""


class Account(msgspec.Struct, frozen=True):
    """Whose positions, and what signs for them."""

    address: str | None  # lower case; None: nobody's (a dry run without an address)
    signer: Signer | None

    def tag(self, settings: Settings) -> str:
        """Tells accounts apart without naming one."""
        text = f"{settings.venue}:{settings.network}:{settings.is_paper}:{self.address}"
        if settings.network == "simulator":
            text += f":{settings.api_url}"  # each simulated venue has accounts of its own
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Simulator:
    """The embedded venue: a process of its own on a free loopback port, gone when the bot is."""

    def __init__(self, arguments: Sequence[str] = ("--seed", FIRST_START_SEED)) -> None:
        command = [
            sys.executable,
            "-m",
            "sim",
            "--venue",
            "hyperliquid",
            "--port",
            "0",
            "--exit-with-stdin",
            *arguments,
        ]
        self._process = subprocess.Popen(
            [*command, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
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


def account_of(settings: Settings, secrets: Secrets) -> Account:
    """The account and key this run uses; the embedded simulator funds a made-up one."""
    if settings.network == "simulator":
        made_up = Signer(keccak(b"trading bot, simulator account").hex(), mainnet=False)
        return Account(made_up.address, made_up)
    if settings.is_paper:
        return Account(None, None)
    key = secrets.hyperliquid_private_key
    assert key is not None, "missing_secrets() refuses a live run without a key"
    signer = Signer(key.reveal(), mainnet=settings.network == "mainnet")
    return Account(account_address(settings, secrets) or signer.address, signer)


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


def make_client(where: Addresses, account: Account, clock: Clock, budget: WeightBudget) -> HyperliquidClient:
    """A client that has read nothing yet. Raises ConfigFault for an address that may not be used."""
    try:
        return HyperliquidClient(where.api_url, account.signer, account.address, clock=clock, budget=budget)
    except ValueError as e:
        raise ConfigFault([f"api_url: {e}"]) from None


def resolve(settings: Settings, simulator: Simulator | None) -> Addresses:
    """The addresses to use. Raises ConfigFault when there are none."""
    if simulator is not None:
        return Addresses(simulator.url, "ws" + simulator.url.removeprefix("http") + "/ws")
    found = addresses(settings)
    if found is None:
        raise ConfigFault([f"network = {settings.network}: has no address"])
    return found


def read_instruments(
    client: HyperliquidClient, stop: threading.Event, clock: Clock, until_ms: int | None
) -> dict[str, Instrument]:
    """The venue's markets; tries until it answers, `stop` is set or `until_ms` has come (VenueUnavailable then)."""
    for attempt in range(1_000_000):
        try:
            return client.instruments()
        except VenueUnavailable as e:
            delay_s = READ_AGAIN_S[min(attempt, len(READ_AGAIN_S) - 1)]
            log.warning(line("venue_unavailable", {"error": str(e), "retry_s": delay_s}))
            if clock.wait(stop, delay_s) or (until_ms is not None and clock.now_ms() >= until_ms):
                break
    raise VenueUnavailable("stopped before the venue answered")


def make_rules(settings: Settings, instruments: dict[str, Instrument], account: Account) -> Rules:
    rules = market_rules(settings, instruments)
    interval_ms = int(settings.check_interval * 1000)
    return msgspec.structs.replace(rules, account_tag=account.tag(settings), check_interval_ms=interval_ms)


def load_strategies(rules: Rules) -> Strategies:
    return {
        symbol: strategies.load_strategy(market.strategy)
        for symbol, market in rules.markets.items()
        if market.strategy is not None
    }


def set_leverages(client: HyperliquidClient, rules: Rules, clock: Clock) -> list[str]:
    """Set what the config asks for; returns what went wrong, one line each. An entry checks margin by itself."""
    problems = []
    for number, (symbol, market) in enumerate(rules.markets.items()):
        if market.leverage is None:
            continue
        try:
            client.set_leverage(symbol, market.leverage, nonce=clock.now_ms() - 1_000 + number)
        except (VenueUnavailable, ValueError) as e:
            problems.append(f"{symbol}: {e}")
    return problems


def check_credentials(client: HyperliquidClient, settings: Settings) -> None:
    """Raises CredentialsRefused. The dry run needs none; the simulator knows every address it has funded."""
    if settings.is_paper or settings.network == "simulator":
        return
    try:
        client.check_credentials()
    except VenueUnavailable as e:
        log.warning(line("credentials_unchecked", {"error": str(e)}))


def key_expiry(client: HyperliquidClient, settings: Settings) -> Callable[[], int | None]:
    """Asks when the key ends; None where it does not, or where no key is used."""
    if settings.is_paper or settings.network == "simulator":
        return lambda: None
    return lambda: client.check_credentials().expires_ms


def make_stream(
    settings: Settings, where: Addresses, rules: Rules, account: Account, inbox: Any, clock: Clock
) -> HyperliquidWebSocketClient | None:
    """The price and fill stream, or None when the config switches it off."""
    websocket = settings.websocket
    if websocket is None or not websocket.enabled:
        return None
    candles = {
        symbol: CANDLES[market.timeframe_ms]
        for symbol, market in rules.markets.items()
        if market.strategy is not None and not market.bars_from_trades
    }
    return HyperliquidWebSocketClient(
        where.ws_url,
        list(rules.markets),
        None if rules.dry_run else account.address,
        inbox,
        clock,
        reconnect_interval=websocket.reconnect_interval,
        max_reconnect_attempts=websocket.max_reconnect_attempts,
        candles=candles,
    )


def make_decoder(account_address: str | None) -> Decode:
    """Frames of a journal back into events, with the same dropping of duplicates as the stream does."""
    reader = FrameReader(account_address)

    def decode(raw: bytes, received_ms: int) -> tuple[AnyEvent, ...]:
        return reader.read(raw, received_ms)

    return decode


def make_paper(rules: Rules, inner: Any, inbox: Any, clock: Clock, folder: Path) -> PaperVenue:
    """The dry run's venue: orders stay here, everything else goes on to `inner`."""
    instruments = [market.instrument for market in rules.markets.values()]
    leverages = {symbol: market.leverage or market.instrument.max_leverage for symbol, market in rules.markets.items()}
    return PaperVenue(instruments, leverages, inner, inbox, clock, folder / f"paper-{rules.network}.json")
