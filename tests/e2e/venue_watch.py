"""What must hold whatever goes wrong, looked at from the venue's side while a bot runs there.

The venue's own book is read every few milliseconds, on the loop of the venue itself. It knows our orders by their tag
(TopstepX), as the bot does, or by not being a hand's (Hyperliquid, where what rests is reduce-only).
"""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from types import TracebackType
from typing import Any

import msgspec

from core.working import TAG
from sim.harness import Harness
from sim.hyperliquid_server import HyperliquidServer
from sim.server import SimServer
from sim.topstepx_server import TopstepxServer
from sim.topstepx_sim import TopstepxSim
from sim.topstepx_types import Status
from tests.e2e.futures import MGC
from tests.e2e.harness import ACCOUNT, Log, field

EVERY_S = 0.005


class Moment(msgspec.Struct, frozen=True):
    """How things stand at the venue."""

    held: Decimal
    guarded: bool  # a stop of exactly the size held works on the other side
    loose: bool  # orders of ours work while flat


def moment_of(sim: SimServer | TopstepxSim, symbol: str | None = None) -> Callable[[Any], Moment]:
    """What looks at the venue; call it on the venue's loop."""
    if isinstance(sim, SimServer):
        return lambda server: _perpetual(server, symbol or "BTC")
    contract, account_id = sim.contract(symbol or MGC), sim.practice_id
    return lambda server: _future(server, contract, account_id)


def _future(server: TopstepxServer, contract: str, account_id: int) -> Moment:
    book, account = server.venue.book, server.venue.book.accounts[account_id]
    held = account.held(contract)
    works = [o for o in book.live(account.id, contract) if o.status is Status.OPEN and o.type != 2]
    guarded = any(o.type in (4, 5) and o.left == abs(held) and o.sign * held < 0 for o in works)
    return Moment(Decimal(held), guarded, not held and any(TAG.fullmatch(o.tag or "") for o in works))


def _perpetual(server: HyperliquidServer, symbol: str) -> Moment:
    exchange = server.venue.exchange
    held = server.venue.touch(ACCOUNT.lower()).held(symbol)
    rests = [o for o in exchange.orders_of(ACCOUNT.lower()) if o.request.symbol == symbol and o.request.trigger]
    guarded = any(
        o.request.side.sign * held < 0 and (o.request.whole_position or o.request.size == abs(held)) for o in rests
    )
    return Moment(held, guarded, not held and bool(rests))


class VenueWatch:
    """`with VenueWatch(sim): ...`; then `naked_s` and `loose_s` are the longest such times in a row.

    `beat` is called on the venue's loop ten times a second. While `is_reachable` is False nothing is counted: nobody
    can protect a position at a venue that does not answer.
    """

    def __init__(
        self,
        sim: SimServer | TopstepxSim,
        symbol: str | None = None,
        beat: Callable[[Any], object] = lambda server: None,
    ) -> None:
        self._sim: Harness[Any] = sim
        self._look, self._beat = moment_of(sim, symbol), beat
        self._timer: asyncio.TimerHandle | None = None
        self._naked: float | None = None
        self._loose: float | None = None
        self._looks = 0
        self.is_reachable = True
        self.naked_s = self.loose_s = 0.0

    def __enter__(self) -> "VenueWatch":
        self._sim.call(self._watch)
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._sim.call(self._end)
        assert self._looks, "it has never looked"

    def _end(self, server: Any) -> None:
        assert self._timer is not None
        self._timer.cancel()

    def now(self) -> Moment:
        found: Moment = self._sim.call(self._look)
        return found

    def _watch(self, server: Any) -> None:
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._watch, server)
        self._looks += 1
        if self._looks % 20 == 0:
            self._beat(server)
        now, at = self._look(server), time.monotonic()
        self._naked = (self._naked or at) if now.held and not now.guarded and self.is_reachable else None
        self._loose = (self._loose or at) if now.loose and self.is_reachable else None
        self.naked_s = max(self.naked_s, at - (self._naked or at))
        self.loose_s = max(self.loose_s, at - (self._loose or at))


def assert_sent_once(sim: TopstepxSim) -> None:
    """P3: no tag came twice, but for a repeat after a 401."""
    tags = [received.body["customTag"] for received in sim.received("Order/place")]
    assert len(tags) == len(set(tags)), "a tag was sent twice"


def assert_only_down(sim: TopstepxSim, log: Log, repaired: bool = False) -> None:
    """P4: nothing of ours but an entry has opened, added to or turned round a position, by the venue's own record."""
    entries = {field(line, "client_id") for line in log.lines("order_sent") if "purpose=ENTRY" in line}
    tags = {order["id"]: order["customTag"] or "" for order in sim.history()}
    held: dict[str, int] = {}
    for row in sim.trades():
        tag, change = tags.get(row["orderId"], ""), row["size"] * (1 if row["side"] == 0 else -1)
        before = held.get(row["contractId"], 0)
        held[row["contractId"]] = after = before + change
        if TAG.fullmatch(tag) and tag not in entries and not repaired:
            assert abs(after) < abs(before) and after * before >= 0, f"{tag} took {before} to {after}:\n{log.text()}"


def assert_reduced_only(sim: SimServer) -> None:
    """P4 on Hyperliquid: no order of a guardian has opened, added to or turned round a position."""
    orders = [record["order"] for record in sim.history(ACCOUNT)]
    ours = {order["oid"] for order in orders if order["cloid"] or order["isTrigger"]}
    for row in sim.fills(ACCOUNT):
        before = Decimal(row["startPosition"])
        after = before + Decimal(row["sz"]) * (1 if row["side"] == "B" else -1)
        if row["oid"] in ours:
            assert abs(after) < abs(before) and after * before >= 0, f"order {row['oid']} took {before} to {after}"


def secrets_in(text: str) -> list[str]:
    """What of the login stands in `text`."""
    return [secret for secret in ("eyJ", '"demo"', "apiKey", "access_token=") if secret in text]
