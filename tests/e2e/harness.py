"""The real bot in a test: `trading_bot.run` on a thread, or the whole process, against a simulated venue.

Nothing of the bot is replaced. On a thread, two names are turned to the test: where secrets are read, and how the
request to stop arrives (Python delivers signals to the main thread only).
"""

import contextlib
import functools
import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest

import runtime.bot
import runtime.collector
import strategies
import trading_bot
import wiring
from config.credentials import load_secrets
from core.model import Side
from hyperliquid_websocket import HyperliquidWebSocketClient
from sim.server import SimServer
from topstep_websocket import TopstepWebSocketClient
from venues.hyperliquid.signing import Signer

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
KEY = "0x" + "5e" * 32
ACCOUNT = Signer(KEY, mainnet=False).address
START_S = 30.0
UP = "WebSocket connected successfully"
BAD_LINES = re.compile(r"Traceback|thread_died|stream_failed| CRITICAL \S+ fault |AssertionError|log_lines_dropped")


def eventually(check: Callable[[], T], timeout_s: float = 15.0, what: str = "") -> T:
    """The first truthy `check()`. Fails the test when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        if time.monotonic() >= deadline:
            pytest.fail(f"not within {timeout_s} s: {what or check}")
        time.sleep(0.01)
    return found


def config(sim: SimServer, **changes: Any) -> dict[str, Any]:
    """A live bot on the simulated venue, quick in everything; a guardian of BTC unless `changes` say otherwise."""
    return {
        "venue": "hyperliquid",
        "network": "testnet",
        "api_url": sim.url,
        "ws_url": sim.ws_url,
        "dry_run": False,
        "markets": [market()],
        "risk": {"max_daily_loss": None, "max_price_age_s": 10},
        "websocket": {"enabled": True, "reconnect_interval": 0.1, "max_reconnect_attempts": 3},
        "fallback": {"poll_interval": 0.2},
        "health": {"enabled": False},
        "logging": {"level": "INFO", "price_every_s": 0},
    } | changes


def market(strategy: dict[str, Any] | None = None, symbol: str = "BTC", **exits: Any) -> dict[str, Any]:
    """One market; `exits` are added to a stop-loss of 1 %."""
    return {
        "symbol": symbol,
        "timeframe": "1s" if strategy else "1m",
        "strategy": strategy,
        "size": {"quantity": 0.01},
        "leverage": None,
        "exits": {"stop_loss_pct": 1.0} | exits,
    }


ENTER = {"name": "enter_at"}  # long at 50100, short at 49900: at the close of a bar of one second


class Log:
    """bot.log as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size, self._text = -1, ""  # as last read: it is looked at a hundred times a second

    def text(self) -> str:
        try:
            size = self.path.stat().st_size
            if size != self._size:
                self._size, self._text = size, self.path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            self._size, self._text = -1, ""
        return self._text

    def lines(self, name: str) -> list[str]:
        """Lines that contain `name`, oldest first."""
        text = self.text()
        return [line for line in text.splitlines() if name in line] if name in text else []

    def comes(self, name: str, count: int, within_s: float) -> bool:
        """Whether the `count`th line that contains `name` comes in time."""
        deadline = time.monotonic() + within_s
        while len(self.lines(name)) < count:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def wait(self, name: str, count: int = 1, timeout_s: float = 15.0) -> str:
        """The `count`th line that contains `name`, once it is there."""
        if not self.comes(name, count, timeout_s):
            pytest.fail(f"no line {count} with {name!r} within {timeout_s} s in:\n{self.text()}")
        return self.lines(name)[count - 1]

    def in_order(self, *names: str) -> None:
        """Fails unless a line with each name follows one with the name before it."""
        rest = self.text().splitlines()
        for name in names:
            at = next((i for i, line in enumerate(rest) if name in line), None)
            assert at is not None, f"{name!r} is missing, or not after the ones before it:\n{self.text()}"
            rest = rest[at + 1 :]

    def check(self) -> None:
        """No bug has shown itself."""
        bad = [line for line in self.text().splitlines() if BAD_LINES.search(line)]
        assert not bad, "\n".join(bad)


def field(line: str, key: str) -> str:
    """The value of `key=` in a log line."""
    found = re.search(rf"(?:^| ){key}=('[^']*'|\S+)", line)
    assert found is not None, f"no {key}= in {line}"
    return found[1].strip("'")


class BotThread:
    """`trading_bot.run` on a thread of this process, from its first line to its exit code."""

    def __init__(self, folder: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.logs = folder, folder / "logs"
        self.log = Log(self.logs / "bot.log")
        self.console = io.StringIO()
        self.exit_code: int | None = None
        self._streams = (config.get("websocket") or {}).get("enabled", False)
        self._asks: list[Callable[[], object]] = []
        self._config_path = folder / "config.json"
        self._config_path.write_text(json.dumps(config), encoding="utf-8")
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="bot", daemon=True)
        monkeypatch.setattr(trading_bot, "load_secrets", functools.partial(load_secrets, folder / ".env"))
        monkeypatch.setattr(trading_bot, "stop_signals", self._take_stop)

    @contextlib.contextmanager
    def _take_stop(self, handler: Callable[[], object]) -> Iterator[None]:
        self._asks.append(handler)
        yield

    def _run(self) -> None:
        try:
            self.exit_code = trading_bot.run(self._config_path, self.logs, None)
        except BaseException as e:  # noqa: BLE001  # for stop() to raise on the test's own thread
            self._error = e

    def start(self, until: str = "market_clean") -> "BotThread":
        """Returns once a new line with `until` is in the log, and the stream is up."""
        wanted = {until: len(self.log.lines(until))}
        if self._streams:
            wanted[UP] = len(self.log.lines(UP))
        with contextlib.redirect_stdout(self.console):  # pytest's own stream ends with the test, the bot a little later
            self._thread.start()
            eventually(lambda: not self.is_running or self._shows(wanted), START_S, f"a line with {until}")
        if not self.is_running:
            pytest.fail(f"it ended with {self.join()}:\n{self.log.text()}")
        return self

    def begin(self) -> None:
        """Start without waiting for anything: for a run that is not expected to come up."""
        with contextlib.redirect_stdout(self.console):
            self._thread.start()
            eventually(lambda: self._asks or not self.is_running, START_S, "its first signs of life")

    def _shows(self, wanted: dict[str, int]) -> bool:
        return all(len(self.log.lines(text)) > seen for text, seen in wanted.items())

    def ask_to_stop(self) -> None:
        """What SIGTERM does."""
        for ask in self._asks:
            ask()

    def stop(self) -> int:
        self.ask_to_stop()
        return self.join()

    def join(self, timeout_s: float = 15.0) -> int:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"still running:\n{self.log.text()}"
        if self._error is not None:
            raise self._error
        assert self.exit_code is not None
        return self.exit_code

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def status(self) -> dict[str, Any]:
        """logs/status.json; {} before the first."""
        try:
            return dict(json.loads((self.logs / "status.json").read_bytes()))
        except (FileNotFoundError, PermissionError):
            return {}


class BotProcess:
    """The whole program, with logs, config and secrets of the test."""

    def __init__(self, folder: Path, config: dict[str, Any], key: str = KEY) -> None:
        self.logs = folder / "logs"
        self.log = Log(self.logs / "bot.log")
        self._key = key
        self._config_path = folder / "config.json"
        self._config_path.write_text(json.dumps(config), encoding="utf-8")
        self._process: subprocess.Popen[str] | None = None
        self._shown: list[str] = []
        self._reader = threading.Thread()

    def _open(self, arguments: tuple[str, ...], stderr: int) -> "subprocess.Popen[str]":
        own = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), tempfile.gettempdir())
        own |= {"HYPERLIQUID_PRIVATE_KEY": self._key, "HYPERLIQUID_ACCOUNT_ADDRESS": ACCOUNT}
        places = ["--config", str(self._config_path), "--logs", str(self.logs)]
        return subprocess.Popen(
            [sys.executable, str(ROOT / "trading_bot.py"), *places, *arguments],
            env=os.environ | own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
            text=True, encoding="utf-8",
        )  # fmt: skip

    def run(self, *arguments: str, timeout_s: float = 20.0) -> "subprocess.CompletedProcess[str]":
        """Run to the end, as a user would; never a traceback."""
        process = self._open(arguments, subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"{arguments} did not end in {timeout_s} s:\n{out}\n{err}")
        assert not BAD_LINES.search(out + err), out + err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def start(self, *arguments: str, until: str = "market_clean") -> "BotProcess":
        self._process = self._open(arguments, subprocess.STDOUT)
        self._shown = []
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout, self._shown), daemon=True)
        self._reader.start()
        eventually(lambda: until in self.shown() or not self._reader.is_alive(), START_S, f"{until} in {self.shown()}")
        assert until in self.shown(), self.shown()
        return self

    @staticmethod
    def _read(out: IO[str], lines: list[str]) -> None:
        lines.extend(iter(out.readline, ""))

    def shown(self) -> str:
        """What the process that was started last has printed so far."""
        return "".join(self._shown)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """At once, as kill -9 does: nothing of it runs any more."""
        assert self._process is not None
        self._process.kill()
        self._end(5)

    def terminate(self, timeout_s: float = 15.0, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._end(timeout_s)

    def _end(self, timeout_s: float) -> int:
        assert self._process is not None and self._process.stdout is not None
        code = self._process.wait(timeout_s)
        self._reader.join(timeout_s)
        self._process.stdout.close()
        return code

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


def extend_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bot on a thread find the strategies of these tests too."""
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(HERE / "strategies")])


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect as soon as asked, for this venue does not count connections; and look at the clock more often."""
    quick = functools.partial(HyperliquidWebSocketClient, connect_spacing_s=0.05, poll_s=0.02)
    monkeypatch.setattr(wiring.hyperliquid, "HyperliquidWebSocketClient", quick)
    quick_hubs = functools.partial(TopstepWebSocketClient, connect_spacing_s=0.05, poll_s=0.02)
    monkeypatch.setattr(wiring.topstep, "TopstepWebSocketClient", quick_hubs)
    monkeypatch.setattr(runtime.collector, "settle", gc.collect)  # what one bot leaves behind must not stay for ever
    monkeypatch.setattr(runtime.bot, "TICK_MS", 100)
    monkeypatch.setattr(runtime.bot, "BUSY_TICK_MS", 100)


@contextlib.contextmanager
def process_settings() -> Iterator[None]:
    """What a run changes for the whole process, changed back."""
    hook, interval = threading.excepthook, sys.getswitchinterval()
    try:
        yield
    finally:
        threading.excepthook = hook
        sys.setswitchinterval(interval)
        gc.collect()
        gc.freeze()  # what the next bot need not walk through


# --- the venue's side of a story ------------------------------------------------------------------------------------


def stops(sim: SimServer) -> list[Decimal]:
    """Trigger prices of the stops that rest at the venue."""
    return [Decimal(order["triggerPx"]) for order in sim.orders(ACCOUNT) if order["isTrigger"]]


def held(sim: SimServer, symbol: str = "BTC") -> Decimal:
    return sim.position(ACCOUNT, symbol)


def executed(sim: SimServer) -> list[str]:
    """Sides of the account's executions, oldest first: "B" or "A"."""
    return [fill["side"] for fill in sim.fills(ACCOUNT)]


def buy_by_hand(sim: SimServer, size: str = "0.01", symbol: str = "BTC") -> None:
    """A position the bot has not opened."""
    sim.deal(ACCOUNT, symbol, Side.BUY, size)


def assert_once(sim: SimServer) -> None:
    """P3: no client id was sent in two orders."""
    ids = [order["c"] for r in sim.received("order") for order in r.action["orders"] if "c" in order]
    assert len(ids) == len(set(ids)), "a client id was sent twice"
