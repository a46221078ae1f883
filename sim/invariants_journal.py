"""P1, P6, P8, P9, P12, and P7 as far as the journal shows them."""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from core.messages import (
    AccountSnapshot,
    Cancel,
    CloseContract,
    CoreFault,
    JournalRestored,
    Modify,
    Note,
    PolledPrice,
    Started,
    Stop,
    StreamFailed,
    Submit,
)
from core.model import ZERO, Book, Purpose, Quote, Side, Trade
from core.state import MarketState, State
from runtime import journal
from runtime.recovery import replay_records
from sim import world_strategy
from sim.verdict import Bounds, Verdict
from sim.world_read import Line, Reading, Times, acts, clock, decoder_of, side_of
from sim.world_types import Exchange, VenueFill

PRICES = (Trade, Quote, Book, PolledPrice)

# --- P1 ---------------------------------------------------------------------------------------------------------------


def p1_fresh(reading: Reading, bounds: Bounds) -> Verdict:
    """At each entry: how old was the newest price of its market, by the venue's clock and by the bot's?"""
    verdict = Verdict("P1_fresh")
    newest: dict[str, tuple[int, int]] = {}  # received (bot's clock), stamped (venue's)
    now_ms, snapshot = 0, State()
    for line in reading.lines:
        item = line.item
        if isinstance(item, Started):
            newest.clear()
        elif isinstance(item, State):
            snapshot = item
        elif isinstance(item, JournalRestored):  # what came while the disk was full stands nowhere else
            newest.update((symbol, newest_in(market)) for symbol, market in snapshot.markets.items())
        if isinstance(item, PRICES):
            before = newest.get(item.symbol, (0, 0))
            stamped_ms = item.time_ms if item.time_ms is not None else 0
            newest[item.symbol] = (max(before[0], item.received_ms), max(before[1], stamped_ms))
        if isinstance(item, Submit):
            if item.purpose is Purpose.ENTRY:
                verdict.looked_at += 1
                judge_age(reading, bounds, verdict, line, item, newest.get(item.order.symbol), now_ms)
        elif hasattr(item, "received_ms"):
            now_ms = item.received_ms
    return verdict


def newest_in(market: MarketState) -> tuple[int, int]:
    received_ms = max(market.price_received_ms, market.quote_received_ms)
    return received_ms, max(market.price_time_ms, market.quote_time_ms)


def judge_age(
    reading: Reading,
    bounds: Bounds,
    verdict: Verdict,
    line: Line,
    action: Submit,
    newest: tuple[int, int] | None,
    now_ms: int,
) -> None:
    limit_ms = reading.tape.rules.risk.max_price_age_ms
    at = f"entry {action.order.client_id} in {action.order.symbol} at {clock(reading.tape, line.true_ms)}"
    if newest is None:
        verdict.say(line.true_ms, f"P1 Fresh: {at} without any price")
        return
    ours_ms = now_ms - newest[0]
    venues_ms = now_ms + nearest_ahead_ms(reading, bounds, line.true_ms, newest[1] - now_ms) - newest[1]
    if ours_ms > limit_ms or venues_ms > limit_ms + bounds.offset_ms:
        verdict.say(
            line.true_ms,
            f"P1 Fresh: {at} on a price that came {ours_ms} ms ago and was {venues_ms} ms old by the venue's clock; "
            f"{limit_ms} ms are allowed",
        )


def nearest_ahead_ms(reading: Reading, bounds: Bounds, true_ms: int, wanted_ms: int) -> int:
    """Venue clock minus the bot's, as the bot could have measured it: a jump takes its time to be seen."""
    moments = [ms for ms, _ in (*reading.tape.venue_offsets, *reading.tape.bot_offsets)]
    recent = [ms for ms in moments if true_ms - bounds.offset_news_ms <= ms <= true_ms]
    known = {reading.ahead_ms(ms) for ms in (true_ms, *recent, *(ms - 1 for ms in recent))}
    return min(known, key=lambda ahead_ms: abs(ahead_ms - wanted_ms))


# --- P6 ---------------------------------------------------------------------------------------------------------------


JOURNAL_AGAIN_MS = 2_500  # the disk has room again: until the bot has tried
LANE_MS = 1_000  # what was decided before may have waited for a lane


def p6_written_first(reading: Reading, bounds: Bounds) -> Verdict:
    """Every order that left stands in the journal before it left; every fill of the venue is in the ledger, once."""
    verdict = Verdict("P6_written_first")
    written = written_acts(reading)
    for request in reading.tape.requests:
        for kind, name in acts(request):
            verdict.looked_at += 1
            judge_written(reading, verdict, request, kind, name, written)
    judge_ledger(reading, verdict)
    return verdict


def written_acts(reading: Reading) -> dict[tuple[int, str, str | int], int]:
    """By run, kind and id: where in the run's journal it was first whole."""
    found: dict[tuple[int, str, str | int], int] = {}
    for line in reading.lines:
        item = line.item
        match item:
            case Submit():
                key: tuple[str, str | int] = ("place", item.order.client_id)
            case Cancel():
                key = ("cancel", item.order_id)
            case Modify():
                key = ("modify", item.order_id)
            case CloseContract():
                key = ("close", item.contract_id)
                found.setdefault((line.run, "sweep", ""), line.end)  # it cancels what works there, by itself
            case _:
                continue
        found.setdefault((line.run, *key), line.end)
    return found


def judge_written(
    reading: Reading,
    verdict: Verdict,
    request: Exchange,
    kind: str,
    name: str | int,
    written: dict[tuple[int, str, str | int], int],
) -> None:
    end = written.get((request.run, kind, name))
    sweep = written.get((request.run, "sweep", ""))
    if kind == "cancel" and sweep is not None:
        end = sweep if end is None else min(end, sweep)
    if end is not None and end <= request.journal_bytes:
        return
    at = f"{kind} {name} left at {clock(reading.tape, request.sent_ms)}"
    if request.sent_ms in gaps(reading, request.run):
        if reading.purpose(str(name)) is not Purpose.ENTRY:
            return  # a full disk keeps nobody in a position (design section 3)
        verdict.say(request.sent_ms, f"P6 Written first: entry {name} left while the disk was full")
        return
    what = "and never stood in the journal" if end is None else "before it stood in the journal"
    verdict.say(request.sent_ms, f"P6 Written first: {at} {what} of run {request.run}")


def gaps(reading: Reading, run: int) -> Times:
    """When the disk took no lines of this run: from a torn write, or a full disk, until the journal was restored."""
    restored = [line.true_ms for line in reading.lines if isinstance(line.item, JournalRestored) and line.run == run]
    stretches = []
    for from_ms, to_ms in reading.times("disk_full").parts:
        later = (true_ms for true_ms in restored if true_ms >= from_ms)
        stretches.append(
            (from_ms, max(to_ms, min(next(later, to_ms) + LANE_MS, reading.able.after(to_ms, JOURNAL_AGAIN_MS))))
        )
    for part in reading.tape.written:
        if part.torn and part.run == run:
            later = (true_ms for true_ms in restored if true_ms >= part.true_ms)
            stretches.append((part.true_ms, next(later, reading.tape.end_ms) + LANE_MS))
    return Times(stretches)


def judge_ledger(reading: Reading, verdict: Verdict) -> None:
    tape = reading.tape
    booked: dict[str, Decimal] = {}
    for row in tape.ledger_fills:
        fill_id, size = str(row[1]), Decimal(str(row[5]))
        if fill_id in booked:
            verdict.say(tape.end_ms, f"P6 Written first: fill {fill_id} is in the ledger twice")
        booked[fill_id] = size
    for fill in tape.fills:
        if fill.true_ms > tape.end_ms:
            continue  # an order was on its way when the last bot ended: nobody is there to hear of it
        verdict.looked_at += 1
        size = booked.pop(fill.fill_id, ZERO)
        if size != fill.size:
            found = "is not in the ledger" if not size else f"is in the ledger with {size}"
            what = f"fill {fill.fill_id} ({fill.symbol} {fill.side.value} {fill.size} by {fill.by})"
            verdict.say(fill.true_ms, f"P6 Written first: {what} {found}")
    for fill_id in booked:
        verdict.say(tape.end_ms, f"P6 Written first: the ledger has a fill {fill_id} that the venue has not")


# --- P7 ---------------------------------------------------------------------------------------------------------------


def judge_starts(reading: Reading, verdict: Verdict) -> None:
    """After each start the account is read before anything is entered."""
    is_read = False
    for line in reading.lines:
        item = line.item
        if isinstance(item, Started):
            is_read = False
            verdict.looked_at += 1
        elif isinstance(item, AccountSnapshot | JournalRestored):  # a gap in the journal may hide the read
            is_read = True
        elif isinstance(item, Submit) and item.purpose is Purpose.ENTRY and not is_read:
            verdict.say(
                line.true_ms,
                f"P7 Restart is start: entry {item.order.client_id} at {clock(reading.tape, line.true_ms)} before the "
                f"account was read in run {line.run}",
            )


# --- P8 ---------------------------------------------------------------------------------------------------------------


class Watched(msgspec.Struct):
    """A position by the venue's fills, and the trades that the bot was told of while it was open."""

    side: Side
    entry: Decimal
    since_ms: int
    best: Decimal


def p8_no_missed_touch(reading: Reading, bounds: Bounds) -> Verdict:
    """A trade clearly beyond the stop distance was told: the position is left within the bound, or an exit is tried."""
    verdict = Verdict("P8_no_missed_touch")
    for symbol, rules in reading.tape.rules.markets.items():
        for fill, until_ms in plain_positions(reading, symbol):
            watched = Watched(side_of(fill.after), fill.price, fill.true_ms, fill.price)
            stop = rules.exits.stop_loss.at(fill.price, rules.instrument)
            margin = bounds.touch_ticks * rules.instrument.tick_at(fill.price)
            for line in trades_of(reading, symbol, fill.true_ms, until_ms):
                trade = line.item
                assert isinstance(trade, Trade)
                verdict.looked_at += 1
                if watched.side.sign * (trade.price - watched.entry) < -(stop + margin):
                    judge_touch(reading, bounds, verdict, symbol, line, watched, until_ms)
                    break
    return verdict


def plain_positions(reading: Reading, symbol: str) -> Iterator[tuple[VenueFill, int]]:
    """Each position that one fill opened and nothing has added to, until the next fill changes it."""
    fills = [f for f in reading.tape.fills if f.symbol == symbol]
    for number, fill in enumerate(fills):
        if fill.before == 0 and fill.after != 0:
            later = fills[number + 1].true_ms if number + 1 < len(fills) else reading.tape.end_ms
            yield fill, later


def trades_of(reading: Reading, symbol: str, from_ms: int, to_ms: int) -> Iterator[Line]:
    """Trades that the bot was told of in that time, made after it began (by the venue's clock, a second to spare)."""
    for line in reading.lines:
        item = line.item
        if isinstance(item, Trade) and item.symbol == symbol and from_ms < line.true_ms < to_ms:
            stamped_ms = item.time_ms - reading.offset(reading.tape.venue_offsets, line.true_ms)
            if stamped_ms > from_ms + 1_000:
                yield line


def judge_touch(
    reading: Reading, bounds: Bounds, verdict: Verdict, symbol: str, line: Line, watched: Watched, until_ms: int
) -> None:
    limit_ms = reading.fair.after(line.true_ms, bounds.touch_ms)
    if until_ms <= limit_ms:
        return
    begun_ms = line.true_ms - bounds.naked_ms  # the bot may have been on its way out already
    soon = [other.item for other in reading.lines if begun_ms <= other.true_ms <= limit_ms]
    exits = [item for item in soon if isinstance(item, Submit) and item.purpose is Purpose.EXIT]
    if any(item.order.symbol == symbol for item in exits):
        return
    assert isinstance(line.item, Trade)
    verdict.say(
        limit_ms,
        f"P8 No missed touch: {symbol} was told of {line.item.price} at {clock(reading.tape, line.true_ms)}, past the "
        f"stop of a position from {watched.entry} ({watched.side.value}); no exit tried in {bounds.touch_ms} ms",
    )


# --- P9 ---------------------------------------------------------------------------------------------------------------


def p9_safe_side(reading: Reading, bounds: Bounds) -> Verdict:
    """After a fault: no entry in that run, a loud line that is sent on, an exit code that is not 0. No crash ever."""
    verdict = Verdict("P9_safe_side", looked_at=len({part.run for part in reading.tape.written}))
    faults: dict[int, Line] = {}
    told: set[int] = set()
    stopped: dict[int, int] = {}
    for line in reading.lines:
        item = line.item
        if isinstance(item, CoreFault | StreamFailed):
            faults.setdefault(line.run, line)
        elif line.run in faults:
            if isinstance(item, Note) and item.level == "CRITICAL" and item.notify:
                told.add(line.run)
            elif isinstance(item, Stop):
                stopped[line.run] = item.exit_code
            elif isinstance(item, Submit) and item.purpose is Purpose.ENTRY:
                verdict.say(line.true_ms, f"P9 Safe side: entry {item.order.client_id} after a fault in run {line.run}")
    for run, line in faults.items():
        at = f"the fault at {clock(reading.tape, line.true_ms)} in run {run} ({getattr(line.item, 'error', '')})"
        if run not in told:
            verdict.say(line.true_ms, f"P9 Safe side: {at} was not told loudly")
        if not stopped.get(run):
            verdict.say(line.true_ms, f"P9 Safe side: {at} led to exit code {stopped.get(run)}")
        verdict.say(line.true_ms, f"P9 Safe side: {at} is a bug in itself, or an impossible state")
    for ending in reading.tape.endings:
        if ending.kind == "crashed":
            verdict.say(ending.true_ms, f"P9 Safe side: run {ending.run} crashed: {ending.error}")
    return verdict


# --- P12 --------------------------------------------------------------------------------------------------------------


def p12_one_brain(reading: Reading, bounds: Bounds) -> Verdict:
    """Each run's journal played again gives the same actions; a run that was killed may lack the last ones."""
    verdict = Verdict("P12_one_brain")
    tape = reading.tape
    killed = {ending.run for ending in tape.endings if ending.kind in ("killed", "crashed")}
    for run, records, is_cut in passages(reading):
        try:
            replayed = replay_records(records, lambda rules: decoder_of(tape.venue, rules), world_strategy.load)
        except ValueError:
            continue  # killed before its first snapshot was whole
        verdict.looked_at += replayed.actions
        found = replayed.difference
        if found is not None and not (found.recorded is None and (is_cut or run in killed)):
            verdict.say(
                tape.end_ms,
                f"P12 One brain: run {run} replayed differs at event {found.at_event}: recorded {found.recorded}, "
                f"replayed {found.replayed}",
            )
    return verdict


def passages(reading: Reading) -> Iterator[tuple[int, list[journal.Record], bool]]:
    """What can be replayed: each run up to its first torn write, and whether there was one.

    Not from where the disk took lines again: which frames the stream had seen by then is not written anywhere.
    """
    torn = {(part.run, part.true_ms) for part in reading.tape.written if part.torn}
    for run in dict.fromkeys(part.run for part in reading.tape.written):
        found: list[journal.Record] = []
        is_whole = True
        for part, _, record in reading.records:
            if part.run == run:
                is_whole = is_whole and (run, part.true_ms) not in torn
                if is_whole:
                    found.append(record)
        yield run, found, not is_whole
