"""Reading a `Tape`: stretches of time, and the journal decoded. Pure; what the invariants are written with."""

import bisect
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from core.messages import AnyAction, AnyEvent, Started, Submit
from core.model import OrderStatus, Purpose, Side
from core.rules import Rules
from core.state import State
from runtime import journal
from runtime.recovery import Decode, events_of, nothing
from sim.world_types import Exchange, Tape, VenueFill, VenueOrder
from wiring import hyperliquid, topstep

FOREVER = 1 << 60
CHILDREN = {"-SL": Purpose.STOP, "-TP": Purpose.TARGET}  # the venue's endings behind an entry's tag (TopstepX page 2.6)
OUR_ID = re.compile(r"0x[0-9a-f]{32}(-SL|-TP)?")
UNABLE = ("asleep", "rest_down", "venue_down", "slow")


class Times:
    """A set of moments: disjoint stretches [from, to), in order."""

    def __init__(self, stretches: Iterable[tuple[int, int]] = ()) -> None:
        self.parts: list[tuple[int, int]] = []
        for begin, end in sorted(stretches):
            if self.parts and begin <= self.parts[-1][1]:
                self.parts[-1] = (self.parts[-1][0], max(end, self.parts[-1][1]))
            elif end > begin:
                self.parts.append((begin, end))

    def __contains__(self, moment: int) -> bool:
        at = bisect.bisect_right(self.parts, (moment, FOREVER)) - 1
        return at >= 0 and moment < self.parts[at][1]

    def within(self, begin: int, end: int) -> int:
        """How much of [begin, end) belongs to it."""
        first = max(0, bisect.bisect_right(self.parts, (begin, FOREVER)) - 1)
        total = 0
        for start, stop in self.parts[first:]:
            if start >= end:
                break
            total += max(0, min(stop, end) - max(start, begin))
        return total

    def after(self, begin: int, length: int) -> int:
        """The moment at which `length` of it have passed since `begin`; FOREVER if they never do."""
        for start, stop in self.parts:
            start = max(start, begin)
            if stop > start:
                if stop - start >= length:
                    return start + length
                length -= stop - start
        return FOREVER

    def minus(self, other: "Times") -> "Times":
        left: list[tuple[int, int]] = []
        for begin, end in self.parts:
            for start, stop in other.parts:
                if stop <= begin or start >= end:
                    continue
                if start > begin:
                    left.append((begin, start))
                begin = max(begin, stop)
            if begin < end:
                left.append((begin, end))
        return Times(left)

    def touches(self, begin: int, end: int) -> bool:
        return any(start <= end and stop >= begin for start, stop in self.parts)


class Line(NamedTuple):
    """One event or action of the journal, or a snapshot of the state."""

    true_ms: int
    bot_ms: int
    run: int
    end: int  # of its write, in bytes of the run's journal
    item: AnyEvent | AnyAction | State


class Reading:
    """A tape with what the judges ask of it, worked out once."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    # --- time ---------------------------------------------------------------------------------------------------------

    def times(self, *kinds: str) -> Times:
        end = max(self.tape.end_ms, self.tape.begin_ms) + 1
        spans = [s for s in self.tape.spans if s.kind in kinds]
        return Times((s.from_ms, end if s.to_ms is None else s.to_ms) for s in spans)

    @cached_property
    def able(self) -> Times:
        """When the bot could act: it runs, and requests are answered within a second."""
        return self.times("bot_up").minus(self.times(*UNABLE))

    @cached_property
    def fair(self) -> Times:
        """The part of it in which no hand has moved what nobody has told the bot yet."""
        return self.able.minus(self.times("hand"))

    @cached_property
    def hearing(self) -> Times:
        """The part of that in which no stream is mute: what one swallows, the next regular read tells."""
        return self.fair.minus(self.times("mute"))

    def offset(self, offsets: list[tuple[int, int]], true_ms: int) -> int:
        at = bisect.bisect_right(offsets, (true_ms, FOREVER)) - 1
        return offsets[at][1] if at >= 0 else 0

    def ahead_ms(self, true_ms: int) -> int:
        """Venue clock minus the bot's, as it really was."""
        return self.offset(self.tape.venue_offsets, true_ms) - self.offset(self.tape.bot_offsets, true_ms)

    # --- the journal --------------------------------------------------------------------------------------------------

    @cached_property
    def records(self) -> list[tuple[Any, int, journal.Record]]:
        """(the write, its end in the run's journal, a record) in the order of writing; torn lines are left out."""
        ends: dict[int, int] = {}
        found = []
        for part in self.tape.written:
            ends[part.run] = end = ends.get(part.run, 0) + len(part.lines)
            for line in part.lines.split(b"\n"):
                record = journal.decode_line(line) if line else None
                if record is not None:
                    found.append((part, end, record))
        return found

    @cached_property
    def lines(self) -> list[Line]:
        """Snapshots, events (frames taken apart) and actions, as written."""
        return list(self._lines())

    def _lines(self) -> Iterator[Line]:
        decode: Decode = nothing
        run = None
        for part, end, record in self.records:
            if record.rules is not None and part.run != run:
                decode, run = decoder_of(self.tape.venue, record.rules), part.run
            for item in (record.snapshot, record.action):
                if item is not None:
                    yield Line(part.true_ms, part.bot_ms, part.run, end, item)
            for event in events_of(record, decode):
                if isinstance(event, Started):
                    decode = decoder_of(self.tape.venue, event.rules)
                yield Line(part.true_ms, part.bot_ms, part.run, end, event)

    @cached_property
    def submits(self) -> dict[str, Submit]:
        """Every order that was written, by its client id; the first writing of it."""
        found: dict[str, Submit] = {}
        for line in self.lines:
            if isinstance(line.item, Submit):
                found.setdefault(line.item.order.client_id, line.item)
        return found

    def purpose(self, client_id: str | None) -> Purpose | None:
        """What an order of ours is for; None: not ours, or never written."""
        if client_id is None:
            return None
        if client_id[-3:] in CHILDREN:
            return CHILDREN[client_id[-3:]] if client_id[:-3] in self.submits else None
        submit = self.submits.get(client_id)
        return submit.purpose if submit is not None else None

    # --- the venue ----------------------------------------------------------------------------------------------------

    @cached_property
    def story(self) -> list[VenueOrder | VenueFill]:
        """Orders and fills of the bot's markets as they happened; at one moment the order's news first."""
        rows: list[tuple[int, int, int, VenueOrder | VenueFill]] = [
            (order.true_ms, 0, number, order) for number, order in enumerate(self.tape.orders)
        ]
        rows += [(fill.true_ms, 1, number, fill) for number, fill in enumerate(self.tape.fills)]
        managed = self.tape.rules.markets
        return [row[3] for row in sorted(rows, key=lambda row: row[:3]) if row[3].symbol in managed]

    @cached_property
    def sent(self) -> list[tuple[Exchange, str]]:
        """Requests that place an order, each with its client id, in the order of sending."""
        found = []
        for request in self.tape.requests:
            for kind, name in acts(request):
                if kind == "place":
                    found.append((request, str(name)))
        return found

    def held_at(self, symbol: str, true_ms: int) -> Decimal:
        size = Decimal(0)
        for fill in self.tape.fills:
            if fill.symbol == symbol and fill.true_ms <= true_ms:
                size = fill.after
        return size


# --- requests ---------------------------------------------------------------------------------------------------------


def acts(request: Exchange) -> list[tuple[str, str | int]]:
    """What a request does: (place, client id), (cancel or modify, order id), (close, contract id); [] for reads."""
    path = request.path.removeprefix("/api/").removeprefix("/")
    if path not in ("Order/place", "Order/cancel", "Order/modify", "Position/closeContract", "exchange"):
        return []
    body = msgspec.json.decode(request.body)
    match path:
        case "Order/place":
            return [("place", body["customTag"])] if body.get("customTag") else []
        case "Order/cancel":
            return [("cancel", body["orderId"])]
        case "Order/modify":
            return [("modify", body["orderId"])]
        case "Position/closeContract":
            return [("close", body["contractId"])]
    action = body["action"]
    if action["type"] == "order":
        return [("place", order["c"]) for order in action["orders"] if order.get("c")]
    if action["type"] == "cancel":
        return [("cancel", row["o"]) for row in action["cancels"]]
    return []


def decoder_of(venue: str, rules: Rules) -> Decode:
    return topstep.decoder(rules) if venue == "topstepx" else hyperliquid.decoder(rules)


def is_working(order: VenueOrder) -> bool:
    return order.status in (OrderStatus.ACCEPTED, OrderStatus.PARTIAL)


def is_closing(order: VenueOrder, held: Decimal) -> bool:
    """Whether it stands against a position of this signed size."""
    return held * order.side.sign < 0


def side_of(held: Decimal) -> Side:
    return Side.BUY if held > 0 else Side.SELL


def clock(tape: Tape, true_ms: int) -> str:
    """A moment of the day, for people: hours, minutes and seconds since its beginning."""
    seconds, ms = divmod(true_ms - tape.begin_ms, 1_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"
