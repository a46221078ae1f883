"""A guardian and the venue it stands before, on either venue, with everything that may go wrong between them.

Each position is opened by hand and left by the bot's own decision at its take-profit. What must hold is asked of the
venue's own book (`VenueWatch`), of the log, and of the journal.
"""

import itertools
import re
import socket
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

import pytest
from rich.console import Console

import commands
import trading_bot
from core.model import Side
from runtime.budget import WeightBudget
from runtime.clock import Clock, SystemClock
from sim.control import control as perp_control
from sim.server import SimServer
from sim.topstepx_control import control as future_control
from sim.topstepx_sim import TopstepxSim
from tests.e2e import futures, harness
from tests.e2e.harness import ACCOUNT, KEY, BotThread, eventually
from tests.e2e.venue_watch import VenueWatch, assert_only_down, assert_reduced_only, assert_sent_once, secrets_in
from tests.faults.wire import Wire
from venues.topstepx.rest import RequestLimits

HOST = "localhost"  # a name, so that it can fail to resolve
PRICE_LINE = re.compile(r"^(\S+Z) .*(Real-time|Polled) price update")
AGREE_S = 30.0  # the promise; a healthy run is far below


class Unlimited(RequestLimits):
    """A year of trades in some seconds; the simulated gateway does not count either."""

    made: "list[Unlimited]" = []

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.rest = WeightBudget(clock, capacity=9_000, reserve=80, window_ms=60_000)
        self.made.append(self)


class Stand(ABC):
    """One bot before one venue. `sim` is real, and so is the wire; what the host does wrong is done to this process."""

    venue = ""
    home: str
    target: str  # where the bot leaves a long
    beyond: tuple[str, str]  # the stops of a long and of a short

    def __init__(self, sim: Any, make: Callable[..., BotThread], monkeypatch: pytest.MonkeyPatch) -> None:
        self.sim, self._make, self._monkeypatch = sim, make, monkeypatch
        self.wire = Wire(sim._port)
        self.watch = VenueWatch(sim, beat=self._print)
        self.price = self.home
        self._shift_ns = 0
        self.jumps_s: list[float] = []
        self._has_names = True
        self._done: Counter[str] = Counter()
        self._spans: list[tuple[float, float]] = []  # when REST could not be reached, by our own clock
        self._hidden_from: float | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        self.wire.start()
        clock = lambda: SystemClock(wall_ns=lambda: time.time_ns() + self._shift_ns)  # noqa: E731
        self._monkeypatch.setattr(trading_bot, "SystemClock", clock)
        self._monkeypatch.setattr(socket, "getaddrinfo", self._resolve(socket.getaddrinfo))
        self.running = self._make(**self.config())
        self.running.start()
        self.watch.__enter__()
        return self

    def _resolve(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def resolve(host: Any, *args: Any, **kw: Any) -> Any:
            if host == HOST:
                if not self._has_names:
                    self._done["dns"] += 1
                    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
                host = "127.0.0.1"
            return ask(host, *args, **kw)

        return resolve

    def close(self) -> None:
        self.watch.__exit__(None, None, None)
        if self.running.is_running:
            self.running.stop()
        self.wire.stop()

    @abstractmethod
    def config(self) -> dict[str, Any]: ...

    # --- prices, and what a hand does -------------------------------------------------------------------------------

    @abstractmethod
    def _print(self, server: Any) -> None: ...

    def move(self, price: str) -> None:
        self.price = price
        self.sim.move(self.symbol, price)

    symbol = ""

    @abstractmethod
    def deal(self, change: int) -> None: ...

    def hold(self, change: int) -> None:
        """A hand changes the position; what is held then is protected, or closed by the bot (P2)."""
        self.deal(change)
        self.await_settled()

    def is_over(self) -> bool:
        now = self.watch.now()
        return not now.held and not now.loose

    @property
    def is_holding(self) -> bool:
        return bool(self.watch.now().held)

    def await_settled(self) -> None:
        """Flat with nothing left over, or protected; the bot may be on its way out."""
        eventually(lambda: self.is_over() or self.watch.now().guarded, AGREE_S, "flat, or protected")

    def far(self) -> str:
        """Beyond the stop of what is held."""
        low, high = self.beyond
        return low if self.watch.now().held > 0 else high

    # --- faults -----------------------------------------------------------------------------------------------------

    def hide(self, is_hidden: bool) -> None:
        """Whether the venue answers anything at all: what it cannot be asked for is nobody's fault."""
        self.watch.is_reachable = not is_hidden
        if is_hidden:
            self._hidden_from = time.time()
        elif self._hidden_from is not None:
            self._spans.append((self._hidden_from, time.time()))
            self._hidden_from = None

    def host_leap(self, seconds: float) -> None:
        """The wall clock of this machine is set anew."""
        self._shift_ns += int(seconds * 1e9)
        self.jumps_s.append(seconds)
        self._done["leap"] += 1

    def host_sleep(self, seconds: float) -> None:
        """A lid was closed: the world's clocks have moved on, and nothing here has felt it."""
        self.host_leap(seconds)
        self.sim.advance(int(seconds * 1000))
        self._done["sleep"] += 1

    def host_dns(self) -> None:
        self._has_names = False

    def hand_add(self) -> None:
        self._by_hand("add", 1)

    def hand_reduce(self) -> None:
        self._by_hand("reduce", -1)

    def hand_close(self) -> None:
        self._by_hand("close", -2)

    def hand_turn(self) -> None:
        self._by_hand("turn", -4)

    def _by_hand(self, name: str, change: int) -> None:
        self._done[name] += 1
        self.deal(change)

    def hand_cancel(self) -> None:
        """Everything that rests."""
        self._done["cancel"] += self.cancel_all()

    def hand_whip(self) -> None:
        """The price crosses the take-profit and falls through the stop in one breath."""
        self._done["whip"] += 1
        self.move(self.target)
        self.move(self.far())

    @abstractmethod
    def cancel_all(self) -> int: ...

    def struck(self) -> dict[str, int]:
        """How often each fault has taken effect, wherever it sits."""
        on_wire = self.wire.call(lambda server: {f"wire {name}": n for name, n in server.struck.items()})
        at_venue: dict[str, int] = self.sim.call(lambda server: dict(server.venue.faults.struck))
        return at_venue | on_wire | dict(self._done)

    def clear(self) -> None:
        self.sim.clear_fault()
        self.wire.clear_fault()
        self._has_names = True

    # --- what must hold ---------------------------------------------------------------------------------------------

    def price_times(self) -> list[float]:
        """When the bot had a new price, by its own clock."""
        stamps = [match[1] for line in self.running.log.text().splitlines() if (match := PRICE_LINE.match(line))]
        return [datetime.fromisoformat(stamp).timestamp() for stamp in stamps]

    def blind_s(self, known: int) -> float:
        """The longest time without a price since the last of `known` ones, while REST could be asked."""
        times = self.price_times()[max(known - 1, 0) :] + ([] if self.jumps_s else [time.time()])
        return max((self._gap_s(a, b) for a, b in itertools.pairwise(times)), default=0.0)

    def _gap_s(self, a: float, b: float) -> float:
        for begin, end in self._spans:
            if a < end and b > begin:
                a = max(a, end) if b > end else b
        jumped = max((jump for jump in self.jumps_s if 0 < jump <= b - a), default=0.0)
        return b - a - jumped

    def check(self, may_halt: bool = False) -> None:
        """The promises that need no stop-watch. Ends the bot."""
        self.check_orders()
        eventually(lambda: self._agrees(may_halt), AGREE_S, "status agrees with the venue")
        assert self.running.stop() == 0
        self.running.log.check()
        journals = sorted(self.running.logs.glob("journal-*.jsonl"))
        assert journals
        for path in (self.running.log.path, self.running.logs / "status.json", *journals):
            found = self.secrets_in(path.read_text(encoding="utf-8"))
            assert not found, f"{found} in {path.name}"
        for path in journals:
            assert commands.play_again(Console(quiet=True), path) == 0

    def _agrees(self, may_halt: bool) -> bool:
        status = self.running.status()
        shown = status.get("markets", {}).get(self.symbol, {}).get("position")
        return (
            bool(status)
            and shown is None
            and status["orders"]["unknown"] == 0
            and (may_halt or status["halted"] is None)
        )

    @abstractmethod
    def check_orders(self) -> None: ...

    @abstractmethod
    def secrets_in(self, text: str) -> list[str]: ...


class PerpetualStand(Stand):
    venue, symbol = "hyperliquid", "BTC"
    home, target, beyond = "50000", "50600", ("49000", "52000")
    unit = Decimal("0.01")
    sim: SimServer

    def config(self) -> dict[str, Any]:
        wide = {"fallback": {"poll_interval": 1.0}, "markets": [harness.market(take_profit_pct=1.0)]}
        url = f"{HOST}:{self.wire.port}"
        return wide | {"api_url": f"http://{url}", "ws_url": f"ws://{url}/ws"}

    def _print(self, server: Any) -> None:
        perp_control(server, {"do": "trade", "symbol": self.symbol, "price": self.price})

    def deal(self, change: int) -> None:
        side = Side.BUY if change > 0 else Side.SELL
        self.sim.deal(ACCOUNT, self.symbol, side, str(self.unit * abs(change)))

    def cancel_all(self) -> int:
        return self.sim.cancel(ACCOUNT)

    def check_orders(self) -> None:
        harness.assert_once(self.sim)
        assert_reduced_only(self.sim)

    def secrets_in(self, text: str) -> list[str]:
        return [KEY[2:]] if KEY[2:] in text.lower() else []


class FutureStand(Stand):
    venue, symbol = "topstepx", futures.MGC
    home, target, beyond = "4100", "4110.5", ("4080", "4130")
    sim: TopstepxSim
    month: str  # the contract that is traded, whatever the active one becomes

    def config(self) -> dict[str, Any]:
        return {"api_url": f"http://{HOST}:{self.wire.port}", "fallback": {"poll_interval": 1.0}}

    def start(self) -> Self:
        self.month = self.sim.contract(self.symbol)
        return super().start()

    def move(self, price: str) -> None:
        self.price = price
        self.sim.move(self.month, price)

    def _print(self, server: Any) -> None:
        future_control(server, {"do": "trade", "symbol": self.month, "price": self.price})

    def deal(self, change: int) -> None:
        self.sim.deal(self.month, Side.BUY if change > 0 else Side.SELL, abs(change))

    def cancel_all(self) -> int:
        return self.sim.cancel()

    def host_spend(self) -> None:
        """All that reads may ask for in this minute is used up."""
        self._done["spend"] += 1
        for limits in Unlimited.made:
            limits.rest.charge(limits.rest.capacity - limits.rest.used())

    def check_orders(self) -> None:
        assert_sent_once(self.sim)
        assert_only_down(self.sim, self.running.log)

    def secrets_in(self, text: str) -> list[str]:
        return secrets_in(text)
