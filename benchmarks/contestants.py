"""Who takes part: our bot, and every rival that is installed."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import futures
from benchmarks.exchange import CROSSING_PRICE, START_PRICE
from benchmarks.gateway import Gateway
from benchmarks.server import Received, Server, frame
from benchmarks.venue import Venue, trade_frames

ROOT = Path(__file__).resolve().parent.parent
RIVALS = Path(__file__).resolve().parent / "rivals"
READY_S = 30.0
GAP_S = 0.05  # of silence before each crossing trade, the same for everybody
BOT = "the whole bot"
HYPERLIQUID, TOPSTEPX = "hyperliquid", "topstepx"
FLOOR = "raw sockets, order built beforehand (floor)"
OPENED, RISEN, FALLEN = futures.START_PRICE[futures.MGC], 4105.0, 4102.0  # the last is beyond the trail of everybody


class Contestant(msgspec.Struct, frozen=True):
    name: str
    command: tuple[str, ...]  # the venue's address is put behind it; the bot gets its folder as well
    packages: tuple[Path, ...] = ()  # where it is installed, for its size
    version: str = ""
    venue: str = HYPERLIQUID

    @property
    def is_bot(self) -> bool:
        return self.name == BOT

    @property
    def is_elsewhere(self) -> bool:
        """In an environment of its own, so that its size can be told."""
        return self.command[0] != sys.executable


def whole_bot(venue: str = HYPERLIQUID) -> Contestant:
    return Contestant(BOT, (sys.executable, "-m", "benchmarks.whole_bot", venue), venue=venue)


def floor(venue: str = HYPERLIQUID) -> Contestant:
    return Contestant(FLOOR, (*_script("floor.py"), "{url}", venue), venue=venue)


def sketches(venue: str = HYPERLIQUID) -> list[Contestant]:
    how = "signed beforehand" if venue == HYPERLIQUID else "body built beforehand"
    return [
        Contestant(
            f"websocket-client thread, queue, {kind}, {how}",
            (*_script("sketch.py"), "{url}", venue, kind),
            venue=venue,
        )
        for kind in ("http.client", "urllib3", "requests")
    ]


def plain(venue: str = HYPERLIQUID) -> Contestant:
    name = "plain websocket-client, json, requests"
    return Contestant(name, (*_script("sketch.py"), "{url}", venue, "plain"), venue=venue)


def _script(name: str, python: str = sys.executable) -> tuple[str, ...]:
    return python, str(RIVALS / name)


LIBRARIES = (  # venue, name, module, distribution, script
    (HYPERLIQUID, "official Python SDK, as in its examples", "hyperliquid", "hyperliquid-python-sdk", "sdk.py"),
    (HYPERLIQUID, "ccxt pro, throttle off", "ccxt", "ccxt", "ccxt_pro.py"),
    (TOPSTEPX, "topstep-client-py, as in its examples", "topstep", "topstep-client-py", "topstep_client_py.py"),
)


def libraries(folder: Path | None) -> list[Contestant]:
    """Public clients, if installed: from the environments in `folder`, or from this one."""
    found = []
    for venue, name, module, distribution, script in LIBRARIES:
        for python in _pythons(folder):
            installed = _installed(python, module, distribution)
            if installed is not None:
                where, version = installed
                command = _script(script, str(python))
                found.append(Contestant(name, command, (where,), f"{distribution} {version}", venue))
                break
    return found


def _pythons(folder: Path | None) -> list[Path]:
    own = [Path(sys.executable)]
    if folder is None:
        return own
    return [path for kind in ("*/bin/python", "*/Scripts/python.exe") for path in sorted(folder.glob(kind))] + own


def _installed(python: Path, module: str, distribution: str) -> tuple[Path, str] | None:
    """Where a package lies and its version; None when `python` has no such package."""
    code = f"""
import importlib.metadata, importlib.util, json
spec = importlib.util.find_spec({module!r})
print(json.dumps([spec.origin, importlib.metadata.version({distribution!r})] if spec else None))
"""
    done = subprocess.run([python, "-c", code], capture_output=True, encoding="utf-8", timeout=30, check=False)
    found = json.loads(done.stdout) if done.returncode == 0 else None
    return (Path(found[0]).parent.parent, found[1]) if found and found[0] else None


class Running:
    """A contestant's process, and how to bring it to the point where a crossing trade makes it send its exit."""

    def __init__(self, contestant: Contestant, venue: Server, watch_output: bool = False) -> None:
        self.contestant, self.venue = contestant, venue
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.first_price_ns = 0
        self._trade_id = 1
        command = [part.format(url=venue.url) for part in contestant.command]
        if venue.url not in command:
            command.append(venue.url)
        if contestant.is_bot:
            command.append(str(self.folder))
        self._output = (self.folder / "output.txt").open("wb")
        self.started_ns = time.perf_counter_ns()
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE if watch_output else self._output, stderr=self._output
        )
        if watch_output:
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not self.first_price_ns and (b"first price" in line or b"price update: $" in line):
                self.first_price_ns = time.perf_counter_ns()

    def close(self) -> None:
        self.process.kill()  # a bot asked to stop would take its time over an open position
        self.process.wait(10)
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_until(self, condition: Any, what: str, timeout_s: float = READY_S) -> None:
        def is_met() -> bool:
            if self.process.poll() is not None:
                text = (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"{self.contestant.name} ended by itself: {text[-600:]}")
            return bool(condition())

        self.venue.wait_for(is_met, timeout_s, what)

    # --- the game ---------------------------------------------------------------------------------------------------

    def get_ready(self) -> None:
        """Subscribed, and at the start price."""
        self.wait_until(lambda: self.venue.listens(self.venue.trades), "a subscription to trades")
        self.venue.settle(0.3, READY_S)
        self.arm()

    def arm(self) -> None:
        """The next crossing trade will make it send an exit, after a spell of silence."""
        raise NotImplementedError

    def cross(self) -> Received:
        raise NotImplementedError


class HyperliquidRun(Running):
    venue: Venue

    def trades(self, prices: list[str], trades_a_frame: int = 1) -> bytes:
        frames = trade_frames(prices, self._trade_id, trades_a_frame)
        self._trade_id += len(prices)
        return frames

    def arm(self) -> None:
        venue = self.venue
        venue.publish("trades", self.trades([START_PRICE]))
        if self.contestant.is_bot:
            self._open_position()
        venue.settle(GAP_S)

    def _open_position(self) -> None:
        """Flat and clean; a purchase by hand; its stop at the venue, listed. The exit is signed after that."""
        venue, exchange = self.venue, self.venue.exchange
        self.wait_until(lambda: exchange.seen_clean, "a clean market")
        venue.settle(GAP_S)
        placed = exchange.stops_placed
        exchange.listed_stops = 0
        venue.publish("userFills", frame(exchange.open_by_hand()))
        self.wait_until(lambda: exchange.stops_placed > placed and exchange.listed_stops, "a listed stop")

    def cross(self) -> Received:
        self.venue.cross(self.trades([CROSSING_PRICE]))
        return self.venue.next_exit()


class TopstepRun(Running):
    """The price rises after the purchase, so that the bot's trail lies above the venue's stop, which stays behind."""

    venue: Gateway

    def arm(self) -> None:
        if self.contestant.is_bot:
            self._open_position()
        self.venue.publish(self.venue.trades, self._trade(RISEN))
        self.venue.settle(GAP_S)

    def _trade(self, price: float) -> bytes:
        self.venue.futures.last[futures.MGC] = price
        return frame(futures.trade_record(futures.MGC, price))

    def _open_position(self) -> None:
        """Flat and clean; a purchase by hand; its stop at the venue."""
        gateway, account = self.venue, self.venue.futures
        self.wait_until(lambda: account.seen_clean and gateway.listens("GatewayUserTrade"), "a clean market")
        gateway.settle(GAP_S)
        placed = account.stops_placed
        gateway.tell(account.buy_by_hand(futures.MGC, OPENED))
        self.wait_until(lambda: account.stops_placed > placed, "a stop")
        gateway.settle(GAP_S)  # its news and its answer have been heard

    def cross(self) -> Received:
        self.venue.cross(self._trade(FALLEN))
        return self.venue.next_exit()


@contextlib.contextmanager
def running(contestant: Contestant, idle_close_s: float | None = None, watch_output: bool = False) -> Iterator[Any]:
    """A contestant on a venue of its own, taken down at the end: a HyperliquidRun or a TopstepRun."""
    is_futures = contestant.venue == TOPSTEPX
    venue: Server = Gateway(idle_close_s) if is_futures else Venue(idle_close_s)
    contest = (TopstepRun if is_futures else HyperliquidRun)(contestant, venue, watch_output)
    try:
        yield contest
    finally:
        contest.close()
        venue.close()
