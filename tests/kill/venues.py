"""The two simulated venues of the kill sweep, as one face: config, price, weather, the venue's own record of a day."""

import asyncio
import time
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from core.model import Side
from core.working import TAG
from sim.server import SimServer
from sim.topstepx_sim import TopstepxSim
from sim.topstepx_types import OrderType, Status
from tests.kill.market import Move
from venues.hyperliquid.signing import Signer
from venues.topstepx.numbers import millis

KEY = "0x" + "5e" * 32
ACCOUNT = Signer(KEY, mainnet=False).address
SAMPLE_S = 0.01
QUICK = {
    "risk": {"max_daily_loss": None, "max_price_age_s": 10},
    "websocket": {"enabled": True, "reconnect_interval": 0.1, "max_reconnect_attempts": 3},
    "fallback": {"poll_interval": 0.2},
    "health": {"enabled": False},
    "logging": {"level": "INFO", "price_every_s": 10},
}  # fmt: skip
SWING = {"timeframe": "1s", "strategy": {"name": "swing"}}


class Moment(NamedTuple):
    """How things stand at the venue."""

    at_ms: int
    held: Decimal
    level: Decimal | None  # of the tightest stop that covers what is held
    loose: bool  # flat, and an order of ours works that could open a position, or outlive the next one


class VenueFill(NamedTuple):
    fill_id: str
    order_id: int
    side: str
    price: Decimal
    size: Decimal
    fee: Decimal
    closed_pnl: Decimal


class VenueOrder(NamedTuple):
    order_id: int
    client_id: str | None
    parent_id: int | None
    status: str


class Venue(Protocol):
    """One day's venue."""

    symbol: str
    size: Decimal
    move: Move

    def config(self) -> dict[str, Any]: ...

    def set_price(self, price: Decimal) -> None: ...

    def moments(self) -> list[Moment]:
        """Every change so far, oldest first."""

    def fills(self) -> list[VenueFill]: ...

    def fill_times(self) -> dict[str, int]:
        """UTC milliseconds of each fill, by its id."""

    def orders(self) -> list[VenueOrder]: ...

    def sent_ids(self) -> list[str]:
        """Client ids of the orders that came over the wire, each as often as it came."""

    def weather(self, name: str) -> None:
        """What is wrong with the way of orders and news; "fair": nothing."""

    def struck(self) -> dict[str, int]: ...


def faults_of(weather: str, order: str) -> list[tuple[str, dict[str, Any]]]:
    """The faults (`sim/faults.py`) that make a weather; `order`: what the venue calls the sending of one."""
    match weather:
        case "slow answers":
            return [("slow_answer", {"ms": 150})]
        case "late news":
            return [("late_user_frames", {"ms": 250})]
        case "answers lost":
            return [("drop_answer", {"action": order, "times": 2})]
        case "requests lost":
            return [("lost_request", {"action": order, "times": 1})]
        case "orders refused":
            return [("reject", {"times": 2})]
    return []


class Simulated(ABC):
    """What is alike on both. The venue is looked at on its own loop every few milliseconds, and what is new is kept."""

    symbol: str
    sending: str  # what the venue calls the sending of an order

    def __init__(self, sim: Any) -> None:
        self.sim = sim
        self._moments: list[Moment] = []

    @abstractmethod
    def _look(self, server: Any) -> tuple[Decimal, Decimal | None, bool]:
        """What of a Moment is to be seen now."""

    def _sample(self, server: Any) -> None:
        held, level, loose = self._look(server)
        last = self._moments[-1] if self._moments else None
        if last is None or (held, level, loose) != last[1:]:
            self._moments.append(Moment(time.time_ns() // 1_000_000, held, level, loose))
        asyncio.get_running_loop().call_later(SAMPLE_S, self._sample, server)

    def __exit__(self, *_: object) -> None:
        self.sim.stop()

    def set_price(self, price: Decimal) -> None:
        self.sim.move(self.symbol, price)

    def moments(self) -> list[Moment]:
        return self.sim.call(lambda _: list(self._moments))

    def weather(self, name: str) -> None:
        self.sim.clear_fault()
        for fault, args in faults_of(name, self.sending):
            self.sim.fault(fault, **args)

    def struck(self) -> dict[str, int]:
        return dict(self.sim.counters()["faults_struck"])


def tightest(held: Decimal | int, levels: list[Decimal]) -> Decimal | None:
    return (max(levels) if held > 0 else min(levels)) if levels else None


class Hyperliquid(Simulated):
    sim: SimServer
    symbol, size, sending = "BTC", Decimal("0.01"), "order"
    move = Move(start=Decimal(50_000), tick=Decimal(1), swing=(0.002, 0.006), gap=0.006)

    def __init__(self, seed: int) -> None:
        super().__init__(SimServer(seed=seed))

    def __enter__(self) -> "Hyperliquid":
        self.sim.start()
        self.sim.fund(ACCOUNT)
        self.sim.move(self.symbol, self.move.start)
        self.sim.call(self._sample)
        return self

    def config(self) -> dict[str, Any]:
        exits = {
            "stop_loss_pct": 0.4, "take_profit_pct": 0.9, "trailing_stop_pct": 0.25, "trailing_activate_pct": 0.1,
            "trailing_step_pct": 0.02,
        }  # fmt: skip
        market = SWING | {"symbol": self.symbol, "size": {"quantity": 0.01}, "leverage": None, "exits": exits}
        where = {"venue": "hyperliquid", "network": "testnet", "api_url": self.sim.url, "ws_url": self.sim.ws_url}
        return QUICK | where | {"dry_run": False, "markets": [market]}

    def _look(self, server: Any) -> tuple[Decimal, Decimal | None, bool]:
        venue = server.venue
        held = venue.touch(ACCOUNT).held(self.symbol)
        waiting = [o.request for o in venue.exchange.orders_of(ACCOUNT) if o.is_waiting_trigger]
        levels = [
            r.trigger.price for r in waiting
            if r.trigger is not None and r.trigger.is_stop and r.side.sign * held < 0
            and (r.whole_position or r.size >= abs(held))
        ]  # fmt: skip
        return held, tightest(held, levels), not held and bool(waiting)

    def fills(self) -> list[VenueFill]:
        return [
            VenueFill(
                f"{row['time']}:{row['coin']}:{row['tid']}", row["oid"], "BUY" if row["side"] == "B" else "SELL",
                Decimal(row["px"]), Decimal(row["sz"]), Decimal(row["fee"]), Decimal(row["closedPnl"]),
            )
            for row in self.sim.fills(ACCOUNT)
        ]  # fmt: skip

    def fill_times(self) -> dict[str, int]:
        return {f"{row['time']}:{row['coin']}:{row['tid']}": row["time"] for row in self.sim.fills(ACCOUNT)}

    def orders(self) -> list[VenueOrder]:
        rows = {row["order"]["oid"]: row for row in self.sim.history(ACCOUNT)}  # the newest word on each
        return [VenueOrder(oid, row["order"].get("cloid"), None, row["status"]) for oid, row in rows.items()]

    def sent_ids(self) -> list[str]:
        return [order["c"] for r in self.sim.received("order") for order in r.action["orders"] if "c" in order]


class Topstepx(Simulated):
    sim: TopstepxSim
    symbol, size, sending = "MGC", Decimal(2), "Order/place"
    move = Move(start=Decimal(4_100), tick=Decimal("0.1"), swing=(0.0008, 0.0025), gap=0.002)

    def __init__(self, seed: int) -> None:
        """Every other account is in Position Brackets mode: there the bot places stop and target by itself."""
        super().__init__(TopstepxSim(seed=seed))
        self._brackets = "auto-oco" if seed % 2 else "position"

    def __enter__(self) -> "Topstepx":
        self.sim.start()
        self.sim.set_brackets(self._brackets)
        self.sim.move(self.symbol, self.move.start)
        self._contract = self.sim.contract(self.symbol)
        self.sim.call(self._sample)
        return self

    def config(self) -> dict[str, Any]:
        exits = {
            "stop_loss_ticks": 60, "take_profit_ticks": 120, "trailing_stop_ticks": 30, "trailing_activate_ticks": 15,
            "trailing_step_ticks": 3,
        }  # fmt: skip
        market = SWING | {"symbol": self.symbol, "size": {"quantity": 2}, "exits": exits}
        where = {"venue": "topstepx", "network": "simulator", "api_url": self.sim.url}
        return QUICK | where | {"markets": [market]}

    def _look(self, server: Any) -> tuple[Decimal, Decimal | None, bool]:
        book = server.venue.book
        held = book.accounts[self.sim.practice_id].held(self._contract)
        works = [
            o for o in book.live(self.sim.practice_id, self._contract)
            if o.status is Status.OPEN and o.type is not OrderType.MARKET
        ]  # fmt: skip
        levels = [o.stop_price for o in works if o.type is OrderType.STOP and o.left == abs(held) and o.sign * held < 0]
        is_loose = not held and any(TAG.fullmatch(o.tag or "") for o in works)
        return Decimal(held), tightest(held, levels), is_loose

    def fills(self) -> list[VenueFill]:
        return [
            VenueFill(
                str(row["id"]), row["orderId"], Side.BUY.value if row["side"] == 0 else Side.SELL.value,
                Decimal(str(row["price"])), Decimal(row["size"]),
                Decimal(str(row["fees"])) + Decimal(str(row["commissions"])),
                Decimal(str(row["profitAndLoss"] or 0)),
            )
            for row in self.sim.trades()
        ]  # fmt: skip

    def fill_times(self) -> dict[str, int]:
        return {str(row["id"]): millis(row["creationTimestamp"]) for row in self.sim.trades()}

    def orders(self) -> list[VenueOrder]:
        return [
            VenueOrder(row["id"], row["customTag"], self._parent(row["id"]), Status(row["status"]).name)
            for row in self.sim.history()
        ]

    def _parent(self, order_id: int) -> int | None:
        return self.sim.call(
            lambda s: next(o.parent_id for o in s.venue.book.orders_of(self.sim.practice_id) if o.id == order_id)
        )

    def sent_ids(self) -> list[str]:
        return [received.body["customTag"] for received in self.sim.received("Order/place")]


VENUES: dict[str, type[Hyperliquid] | type[Topstepx]] = {"hyperliquid": Hyperliquid, "topstepx": Topstepx}
WEATHERS = ("fair", "fair", "fair", "slow answers", "late news", "answers lost", "requests lost")
DOUBT = ("answers lost", "requests lost")
# what makes lines of these kinds
WEATHERS_FOR = {"unknown": DOUBT, "settle": DOUBT, "settled": DOUBT, "rejected": ("orders refused",)}
