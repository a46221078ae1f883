"""What must hold after a day of kills, by the venue's own record, the journal, the ledger and the log.

Nothing of the bot's insides is trusted. Each check returns its violations, each beginning with its promise.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Collection
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec

import wiring
from core.messages import OrderSettled, Started, Submit
from core.model import Purpose
from core.state import MarketState, State
from runtime import journal
from runtime.recovery import replay
from tests.e2e.harness import BAD_LINES
from tests.kill.day import Life
from tests.kill.venues import Moment, Venue, VenueFill, VenueOrder

DAY_LIVES = 10  # a day of so many must have traded
ORDERS_A_SECOND = 15  # written by all runs together: more is a storm, whatever each is good for
NAKED_MS_MAX = 2_000 + 2_000  # P2: after two seconds it is closed; a start reads first, and the machine may be loaded
DOUBT_MS_MAX = 5_000 + 4_000  # look-ups by its tag, and the load of the machine
LOOSE_MS_MAX = 5_000


class Exit(msgspec.Struct):
    """An order that was to close. Times: our clock, milliseconds."""

    sent_ms: int
    settled_ms: int | None = None


class Record(msgspec.Struct):
    """What the journal of the day holds, read once."""

    purposes: dict[str, Purpose] = {}  # of every order that was written, by client id
    sent_ms: list[int] = []  # when each of them was
    exits: dict[str, Exit] = {}
    started_ms: list[int] = []
    last: State | None = None  # the newest snapshot
    lines: int = 0


def read(logs: Path) -> Record:
    found, now_ms = Record(), 0
    for path in journal.files(logs):
        for record in journal.read_records(path):
            found.lines += 1
            now_ms = record.ms or now_ms if record.event is None else record.event.received_ms
            if isinstance(record.action, Submit):
                client_id, purpose = record.action.order.client_id, record.action.purpose
                found.purposes[client_id] = purpose
                found.sent_ms.append(now_ms)
                if purpose is Purpose.EXIT:
                    found.exits[client_id] = Exit(now_ms)
            elif isinstance(record.event, Started):
                found.started_ms.append(now_ms)
            elif isinstance(record.event, OrderSettled) and record.event.client_id in found.exits:
                found.exits[record.event.client_id].settled_ms = now_ms
            found.last = record.snapshot or found.last
    return found


# --- P2 -------------------------------------------------------------------------------------------------------------


class Spans(msgspec.Struct):
    """The longest time in one piece, in milliseconds."""

    alive: int = 0  # counted while a bot had begun and was not killed
    with_start: int = 0  # counted from the moment its process was started
    in_all: int = 0  # counted whether or not anybody was there

    def add(self, since_ms: int, until_ms: int, lives: list[Life], started_ms: list[int]) -> None:
        self.in_all = max(self.in_all, until_ms - since_ms)
        for life in lives:
            end_ms = min(until_ms, life.ended_ms)
            self.with_start = max(self.with_start, end_ms - max(since_ms, life.spawned_ms))
            for began_ms in started_ms:
                if life.spawned_ms <= began_ms <= life.ended_ms:
                    self.alive = max(self.alive, end_ms - max(since_ms, began_ms))


def spans_of(times: list[tuple[int, bool]], lives: list[Life], started_ms: list[int]) -> Spans:
    """`times`: when it began to be so (or not), oldest first; it lasts until the end of the last life."""
    spans, since_ms = Spans(), None
    for at_ms, on in [*times, (lives[-1].ended_ms, False)]:
        if on and since_ms is None:
            since_ms = at_ms
        elif not on and since_ms is not None:
            spans.add(since_ms, at_ms, lives, started_ms)
            since_ms = None
    return spans


def bare_times(
    moments: list[Moment], lost: list[Exit], end_ms: int
) -> tuple[list[tuple[int, bool]], list[tuple[int, bool]]]:
    """When a position was without a stop: by itself, and because an exit that never arrived was still in doubt.

    The second is TopstepX's: stops are canceled before a close, and only time proves that an order has not arrived.
    """
    times = sorted({m.at_ms for m in moments} | {t for e in lost for t in (e.sent_ms, e.settled_ms or end_ms)})
    bare, doubted, at = [], [], 0
    for time_ms in times:
        while at + 1 < len(moments) and moments[at + 1].at_ms <= time_ms:
            at += 1
        is_bare = moments[at].held != 0 and moments[at].level is None
        in_doubt = any(e.sent_ms <= time_ms < (e.settled_ms or end_ms) for e in lost)
        bare.append((time_ms, is_bare and not in_doubt))
        doubted.append((time_ms, is_bare and in_doubt))
    return bare, doubted


def check_protected(naked: Spans, doubted: Spans, loose: Spans, slack_ms: int) -> list[str]:
    """`slack_ms`: what the machine is granted beyond the bounds."""
    bad = []
    if doubted.alive > DOUBT_MS_MAX + slack_ms:
        bad.append(f"P2 protected: {doubted.alive} ms without a stop over an exit in doubt while a bot was running")
    if naked.alive > NAKED_MS_MAX + slack_ms:
        bad.append(f"P2 protected: {naked.alive} ms without a stop while a bot was running")
    if loose.alive > LOOSE_MS_MAX + slack_ms:
        bad.append(f"P4 only down: an order of ours worked for {loose.alive} ms while flat and a bot was running")
    return bad


# --- P3, P4, P6: orders ---------------------------------------------------------------------------------------------


def check_orders(venue: Venue, record: Record, lives: list[Life]) -> list[str]:
    sent = Counter(venue.sent_ids())
    bad = [f"P3 once: {client_id} was sent {count} times" for client_id, count in sent.items() if count > 1]
    bad += [f"P6 written first: {client_id} was sent and is not in the journal" for client_id in sent - known(record)]
    times = record.sent_ms
    bad += [
        f"P3 once: {ORDERS_A_SECOND} orders within {after - before} ms at {after}"
        for before, after in zip(times, times[ORDERS_A_SECOND - 1 :], strict=False) if after - before < 1_000
    ][:1]  # fmt: skip
    unattended = unattended_fills(venue, record, lives)
    return bad + check_only_down(venue.fills(), venue.orders(), record, venue.size, unattended)


def unattended_fills(venue: Venue, record: Record, lives: list[Life]) -> set[str]:
    return {fill_id for fill_id, at_ms in venue.fill_times().items() if not is_attended(at_ms, lives, record)}


def count_unattended(venue: Venue, record: Record, lives: list[Life]) -> int:
    """Openings that `check_orders` lets pass."""
    fills, orders, size = venue.fills(), venue.orders(), venue.size
    passed = check_only_down(fills, orders, record, size, unattended_fills(venue, record, lives))
    return len(check_only_down(fills, orders, record, size)) - len(passed)


def is_attended(at_ms: int, lives: list[Life], record: Record) -> bool:
    """Whether a bot was running then, and had been for a moment: long enough to have withdrawn what is left over."""
    return any(
        began_ms + LOOSE_MS_MAX < at_ms <= life.ended_ms
        for life in lives for began_ms in record.started_ms if life.spawned_ms <= began_ms <= life.ended_ms
    )  # fmt: skip


def known(record: Record) -> "Counter[str]":
    return Counter(dict.fromkeys(record.purposes, 1_000))


def check_only_down(
    fills: list[VenueFill], orders: list[VenueOrder], record: Record, size: Decimal, unattended: Collection[str] = ()
) -> list[str]:
    """Entries open, up to the size asked for; everything else of ours only reduces.

    `unattended`: fills while no bot was there. Two orders that nothing links at the venue (stop and target of an
    account without brackets) may both fill then, and the second opens: nobody can be blamed for that but their pair.
    """
    tags = {order.order_id: order.client_id or "" for order in orders}
    bad, held, opened_by = [], Decimal(0), None
    for fill in fills:
        before, held = held, held + fill.size * (1 if fill.side == "BUY" else -1)
        is_entry = record.purposes.get(tags.get(fill.order_id, "")) is Purpose.ENTRY
        if is_entry and (abs(held) > size or (before != 0 and opened_by != fill.order_id)):
            bad.append(f"P3 once: entry {fill.order_id} took {before} to {held}")
        opens = abs(held) >= abs(before) or held * before < 0
        if not is_entry and opens and fill.fill_id not in unattended:
            bad.append(f"P4 only down: order {fill.order_id} took {before} to {held}")
        opened_by = fill.order_id if is_entry else opened_by
    return bad


# --- P7 -------------------------------------------------------------------------------------------------------------


def check_trail(moments: list[Moment]) -> tuple[list[str], int]:
    """Of one position, the stop at the venue never loosens, whoever was killed meanwhile; and how often it moved."""
    bad, moved, best = [], 0, None
    held = Decimal(0)
    for moment in moments:
        if moment.held * held <= 0:
            best = None
        held = moment.held
        if moment.level is None:
            continue
        if best is not None and (moment.level - best) * held < 0:
            bad.append(f"P7 restart is start: the stop of {held} went from {best} back to {moment.level}")
        moved += best is not None and moment.level != best
        best = moment.level
    return bad, moved


def check_memory(lives: list[Life], record: Record) -> tuple[list[str], int]:
    """What a run remembers when it begins is what the one before knew when it died; and how many could be compared."""
    bad, compared = [], 0
    for before, after in pairwise(lives):
        if before.death is None or before.death.state is None or after.began is None:
            continue
        compared += 1
        found = differences(before.death.state, after.began, set(record.purposes), before.death.ahead)
        bad += [f"P7 restart is start: life {before.number} ({before.place}): {text}" for text in found]
    return bad, compared


def differences(died: State, began: State, written: set[str], ahead: bool) -> list[str]:
    """`ahead`: the journal tells more than the dead one knew, so that only what cannot be undone is compared."""
    found = []
    if lost := died.fill_ids.keys() - began.fill_ids.keys():
        found.append(f"fills forgotten: {sorted(lost)}")
    if not ahead and died.day_realized != began.day_realized:
        found.append(f"profit of the day {died.day_realized}, now {began.day_realized}")
    for symbol, market in died.markets.items():
        found += market_differences(market, began.markets[symbol], written, ahead)
    return found


def market_differences(died: MarketState, began: MarketState, written: set[str], ahead: bool) -> list[str]:
    found = []
    # a stop that a list has confirmed lives on there, not as an order
    live = {r.order.client_id for r in died.live_orders() if not (ahead and r.purpose is Purpose.STOP)}
    live = {client_id for client_id in live if client_id.removesuffix("-SL").removesuffix("-TP") in written}
    if lost := live - began.orders.keys():
        found.append(f"orders forgotten: {sorted(lost)}")
    old, new = died.position, began.position
    if not ahead and old != new:
        found.append(f"position {old}, now {new}")
    if not ahead and new is not None and died.exit_reason is None and began.exit_reason is not None:
        found.append(f"to be kept, now to be left for {began.exit_reason}")
    if old is None or new is None or (old.side, old.entry_ms) != (new.side, new.entry_ms) or old.trail_price is None:
        return found
    if new.trail_price is None or old.side.sign * (new.trail_price - old.trail_price) < 0:
        found.append(f"trail {old.trail_price}, now {new.trail_price}")
    return found


# --- ledger, replay, the end ----------------------------------------------------------------------------------------


def check_ledger(logs: Path, venue: Venue, record: Record) -> list[str]:
    """Every execution of the venue once, with its money; and every order that was sent."""
    with contextlib.closing(sqlite3.connect(logs / "ledger.db")) as ledger:
        rows = ledger.execute("SELECT fill_id, order_id, side, price, size, fee, closed_pnl FROM fills").fetchall()
        orders = dict(ledger.execute("SELECT client_id, status FROM orders").fetchall())
    booked = Counter(VenueFill(*row[:3], *map(Decimal, row[3:])) for row in rows)
    theirs = Counter(venue.fills())
    bad = [f"ledger: missing {fill}" for fill in theirs - booked]
    bad += [f"ledger: not at the venue {fill}" for fill in booked - theirs]
    sent = set(venue.sent_ids())
    return bad + [f"ledger: order {client_id} is missing" for client_id in sorted(sent - orders.keys())]


def check_replays(logs: Path) -> list[str]:
    bad = []
    for path in journal.files(logs):
        result = replay(path, wiring.decoder_of, wiring.load_strategies)
        if result.difference is not None:
            bad.append(f"P12 one brain: {path.name} replays otherwise: {result.difference}")
    return bad


def check_end(lives: list[Life], logs: Path, venue: Venue, record: Record, last: Moment) -> list[str]:
    """No life ended by itself; the last one agrees with the venue."""
    bad = [
        f"P9 safe side: life {life.number} ({life.place}) ended by itself with {life.exit_code}"
        for life in lives[:-1] if life.exit_code != -9
    ]  # fmt: skip
    if lives[-1].exit_code != 0:
        bad.append(f"P9 safe side: the last run ended with {lives[-1].exit_code}")
    text = (logs / "bot.log").read_text(encoding="utf-8", errors="replace")
    bad += [f"P9 safe side: {line}" for line in text.splitlines() if BAD_LINES.search(line)]
    position = record.last.markets[venue.symbol].position if record.last else None
    ours = Decimal(0) if position is None else position.side.sign * position.size
    if ours != last.held:
        bad.append(f"P7 restart is start: at the end the bot holds {ours}, the venue {last.held}")
    if last.held and last.level is None:
        bad.append("P2 protected: at the end a position without a stop")
    if not venue.fills() and len(lives) > DAY_LIVES:
        bad.append("nothing was traded: the day proves nothing")
    if last.loose:
        bad.append("P4 only down: at the end an order of ours works while flat")
    return bad
