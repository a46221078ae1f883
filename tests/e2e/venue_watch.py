"""What must hold whatever goes wrong, looked at from the venue's side while a bot runs there.

A thread reads the venue's own book every few milliseconds. It knows our orders by their tag, as the bot does.
"""

import threading
import time
from types import TracebackType

import msgspec

from core.working import TAG
from sim.topstepx_server import TopstepxServer
from sim.topstepx_sim import TopstepxSim
from sim.topstepx_types import Status
from tests.e2e.futures import MGC
from tests.e2e.harness import Log, field

EVERY_S = 0.005


class Moment(msgspec.Struct, frozen=True):
    """How things stand at the venue."""

    held: int
    guarded: bool  # a stop of exactly the size held works on the other side
    loose: tuple[int, ...]  # orders of ours that work while flat


class VenueWatch:
    """`with VenueWatch(sim): ...`; then `naked_s` and `loose_s` are the longest such times in a row."""

    def __init__(self, sim: TopstepxSim, symbol: str = MGC) -> None:
        self._sim, self._contract = sim, sim.contract(symbol)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="venue-watch", daemon=True)
        self.naked_s = self.loose_s = 0.0

    def __enter__(self) -> "VenueWatch":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(5)

    def _moment(self, server: TopstepxServer) -> Moment:
        book, account = server.venue.book, server.venue.book.accounts[self._sim.practice_id]
        held = account.held(self._contract)
        works = [o for o in book.live(account.id, self._contract) if o.status is Status.OPEN and o.type != 2]
        guarded = any(o.type in (4, 5) and o.left == abs(held) and o.sign * held < 0 for o in works)
        loose = () if held else tuple(o.id for o in works if TAG.fullmatch(o.tag or ""))
        return Moment(held, guarded, loose)

    def _run(self) -> None:
        naked = loose = None
        while not self._stop.wait(EVERY_S):
            try:
                now = self._sim.call(self._moment)
            except RuntimeError:  # the venue has closed
                return
            at = time.monotonic()
            naked = (naked or at) if now.held and not now.guarded else None
            loose = (loose or at) if now.loose else None
            self.naked_s = max(self.naked_s, at - (naked or at))
            self.loose_s = max(self.loose_s, at - (loose or at))


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


def secrets_in(text: str) -> list[str]:
    """What of the login stands in `text`."""
    return [secret for secret in ("eyJ", '"demo"', "apiKey", "access_token=") if secret in text]
