"""P2, P3, P4, and P7 as far as the venue's own record shows them."""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from core.model import ZERO, OrderStatus, Purpose
from sim.verdict import Bounds, Verdict
from sim.world_read import OUR_ID, Reading, acts, clock, is_closing, is_working
from sim.world_types import Exchange, VenueFill, VenueOrder

AWAY = frozenset({"lost", "refused"})  # fates of a request that the venue has never seen


class Place(msgspec.Struct):
    """One market of the account as the story goes on."""

    held: Decimal = ZERO
    orders: dict[int, VenueOrder] = {}  # working, and able to act by themselves
    since_ms: int | None = None  # without a stop
    why: str = ""
    loose_ms: dict[str, int] = {}  # what could open a position, since when
    level: Decimal | None = None  # of the tightest stop that covered
    outside_ms: int = -(1 << 60)  # the last doing of a hand or of the venue

    def take(self, news: VenueOrder | VenueFill) -> None:
        if news.by != "bot":
            self.outside_ms = news.true_ms
        if isinstance(news, VenueFill):
            self.held = news.after
        elif is_working(news) and (news.whole_position or news.trigger_price is not None or not news.is_stop):
            self.orders[news.order_id] = news
        else:
            self.orders.pop(news.order_id, None)

    def stops(self) -> list[VenueOrder]:
        return [o for o in self.orders.values() if o.is_stop and is_closing(o, self.held)]

    @property
    def is_covered(self) -> bool:
        stops = self.stops()
        return any(o.whole_position for o in stops) or sum((o.left for o in stops), ZERO) >= abs(self.held)


def walk(reading: Reading) -> Iterator[tuple[Place, VenueOrder | VenueFill]]:
    """The story with each market's place as it is after each piece of news."""
    places: dict[str, Place] = {}
    for news in reading.story:
        place = places.setdefault(news.symbol, Place())
        place.take(news)
        yield place, news


# --- P2 ---------------------------------------------------------------------------------------------------------------


def p2_protected(reading: Reading, bounds: Bounds) -> Verdict:
    """No stop for the full size for longer than the bound, and no way out begun: a violation. A false word too."""
    verdict = Verdict("P2_protected")
    stretches: dict[str, list[tuple[int, int]]] = {}
    opens: dict[str, Place] = {}
    for place, news in walk(reading):
        opens[news.symbol] = place
        naked = place.held != 0 and not place.is_covered
        if naked and place.since_ms is None:
            place.since_ms, place.why = news.true_ms, describe(news)
            verdict.looked_at += 1
        elif not naked and place.since_ms is not None:
            judge_stretch(reading, bounds, verdict, news.symbol, place, news.true_ms)
            stretches.setdefault(news.symbol, []).append((place.since_ms, news.true_ms))
            place.since_ms = None
    for symbol, place in opens.items():
        if place.since_ms is not None:
            judge_stretch(reading, bounds, verdict, symbol, place, reading.tape.end_ms)
            stretches.setdefault(symbol, []).append((place.since_ms, reading.tape.end_ms))
    judge_words(reading, bounds, verdict, stretches)
    return verdict


def describe(news: VenueOrder | VenueFill) -> str:
    if isinstance(news, VenueFill):
        return f"after a fill of order {news.order_id} ({news.side.value} {news.size}, by {news.by})"
    return f"after order {news.order_id} became {news.status.value} {news.text} (by {news.by})".replace("  ", " ")


def judge_stretch(reading: Reading, bounds: Bounds, verdict: Verdict, symbol: str, place: Place, end_ms: int) -> None:
    since_ms, limit_ms = place.since_ms, bounds.naked_ms + bounds.slack_ms
    assert since_ms is not None
    fair_ms = reading.fair.within(since_ms, end_ms)
    if fair_ms <= limit_ms:
        return
    tries = [ms for ms, of in ways_out(reading) if of == symbol and ms >= since_ms - 1 and ms <= end_ms]
    until_ms = reading.fair.after(since_ms, limit_ms)
    for at_ms in [*tries, end_ms]:
        if at_ms > until_ms:
            what = "and no exit" if until_ms == reading.fair.after(since_ms, limit_ms) else "and no further exit"
            verdict.say(
                until_ms,
                f"P2 Protected: {symbol} {place.why} at {clock(reading.tape, since_ms)}: {fair_ms} ms without a stop "
                f"for its full size (the bot able to act), {what} was sent until {clock(reading.tape, until_ms)}",
            )
            return
        until_ms = reading.fair.after(at_ms, bounds.retry_ms)


def ways_out(reading: Reading) -> list[tuple[int, str]]:
    """When the bot sent an order that closes, or asked the venue to close, and in which market."""
    contracts = {rules.instrument.contract_id: symbol for symbol, rules in reading.tape.rules.markets.items()}
    found = [
        (request.sent_ms, contracts[str(name)])
        for request in reading.tape.requests
        for kind, name in acts(request)
        if kind == "close" and str(name) in contracts
    ]
    for request, client_id in reading.sent:
        submit = reading.submits.get(client_id)
        if submit is not None and reading.purpose(client_id) is Purpose.EXIT:
            found.append((request.sent_ms, submit.order.symbol))
    return sorted(found)


def judge_words(
    reading: Reading, bounds: Bounds, verdict: Verdict, stretches: dict[str, list[tuple[int, int]]]
) -> None:
    """Health says `protected_at_venue`, and for some time now nothing has protected."""
    for health in reading.tape.health:
        for symbol, market in (health.body.get("markets") or {}).items():
            position = market.get("position")
            if not position or not position.get("protected_at_venue"):
                continue
            for begin, end in stretches.get(symbol, []):
                if begin < health.true_ms < end and reading.fair.within(begin, health.true_ms) > bounds.agree_ms:
                    verdict.say(
                        health.true_ms,
                        f"P2 Protected: health says {symbol} is protected, and no stop for its full size has worked "
                        f"since {clock(reading.tape, begin)}",
                    )


# --- P3 ---------------------------------------------------------------------------------------------------------------


def p3_once(reading: Reading, bounds: Bounds) -> Verdict:
    verdict = Verdict("P3_once", looked_at=len(reading.sent))
    judge_resends(reading, verdict)
    judge_copies(reading, verdict)
    judge_entries(reading, bounds, verdict)
    judge_doubts(reading, bounds, verdict)
    return verdict


def judge_resends(reading: Reading, verdict: Verdict) -> None:
    """A client id is sent again only after the venue has refused it for certain, or never saw it."""
    last: dict[str, Exchange] = {}
    for request, client_id in reading.sent:
        before = last.get(client_id)
        last[client_id] = request
        if before is None or before.arrived_ms is None:
            continue
        if before.answer is not None and before.answer.status in (401, 429):
            continue
        verdict.say(
            request.sent_ms,
            f"P3 Once: {client_id} was sent again at {clock(reading.tape, request.sent_ms)}; the first one "
            f"({before.fate or 'no answer'}) arrived at {clock(reading.tape, before.arrived_ms)}",
        )


def judge_copies(reading: Reading, verdict: Verdict) -> None:
    """No two orders of the venue carry one client id, and none executes more than was written."""
    ids: dict[str, int] = {}
    for order in reading.tape.orders:
        if order.client_id is None or order.status is OrderStatus.REJECTED:
            continue
        first = ids.setdefault(order.client_id, order.order_id)
        if first != order.order_id:
            verdict.say(order.true_ms, f"P3 Once: {order.client_id} is two orders, {first} and {order.order_id}")
    filled: dict[str, Decimal] = {}
    for fill in reading.tape.fills:
        submit = reading.submits.get(fill.client_id or "")
        if submit is None or fill.client_id is None:
            continue
        written = submit.order
        filled[fill.client_id] = filled.get(fill.client_id, ZERO) + fill.size
        one_shot = reading.purpose(fill.client_id) in (Purpose.ENTRY, Purpose.EXIT)
        if one_shot and filled[fill.client_id] > written.size:
            verdict.say(
                fill.true_ms, f"P3 Once: {fill.client_id} of {written.size} has filled {filled[fill.client_id]}"
            )


def judge_entries(reading: Reading, bounds: Bounds, verdict: Verdict) -> None:
    """Two entries in one position are one intent executed twice: the bot enters only while flat."""
    entries: dict[str, set[str]] = {}
    for fill in reading.tape.fills:
        mine = entries.setdefault(fill.symbol, set())
        if fill.before == 0 or fill.before * fill.after < 0:
            mine.clear()
        if fill.client_id is not None and reading.purpose(fill.client_id) is Purpose.ENTRY:
            mine.add(fill.client_id)
            if len(mine) > 1 and not any(came_late(reading, bounds, client_id) for client_id in mine):
                verdict.say(
                    fill.true_ms,
                    f"P3 Once: {fill.symbol} at {clock(reading.tape, fill.true_ms)}: entry {fill.client_id} filled "
                    f"into the position of {', '.join(sorted(mine - {fill.client_id}))}",
                )


def judge_doubts(reading: Reading, bounds: Bounds, verdict: Verdict) -> None:
    """By the word of health: no order stays in doubt."""
    since: int | None = None
    for health in reading.tape.health:
        unknown = (health.body.get("orders") or {}).get("unknown", 0)
        since = (health.true_ms if since is None else since) if unknown else None
        if since is not None and reading.able.within(since, health.true_ms) > bounds.agree_ms:
            verdict.say(
                health.true_ms, f"P3 Once: {unknown} orders have been in doubt since {clock(reading.tape, since)}"
            )
            return


# --- P4 ---------------------------------------------------------------------------------------------------------------

TOGETHER_MS = 50  # a whip of the price through a target and a stop that no venue links


def p4_only_down(reading: Reading, bounds: Bounds) -> Verdict:
    verdict = Verdict("P4_only_down")
    judge_closes(reading, bounds, verdict)
    judge_loose(reading, bounds, verdict)
    return verdict


def judge_closes(reading: Reading, bounds: Bounds, verdict: Verdict) -> None:
    """Nothing of ours but an entry opens, adds to, or turns round a position."""
    doings: dict[str, int] = {}
    for news in reading.story:
        if news.by != "bot":
            doings[news.symbol] = news.true_ms
        if isinstance(news, VenueOrder):
            continue
        purpose = reading.purpose(news.client_id)
        if purpose is None or purpose is Purpose.ENTRY:
            continue
        verdict.looked_at += 1
        if abs(news.after) < abs(news.before) and news.after * news.before >= 0:
            continue
        outside_ms = doings.get(news.symbol)
        if outside_ms is not None and reading.able.within(outside_ms, news.true_ms) <= bounds.race_ms:
            continue  # a hand, or the venue, was at it too: what comes of that is protected like any position
        if news.true_ms in reading.times("hand") or came_late(reading, bounds, news.client_id):
            continue
        text = (
            f"{news.symbol} at {clock(reading.tape, news.true_ms)}: {purpose.value} {news.client_id} (order "
            f"{news.order_id}, {news.side.value} {news.size}) took {news.before} to {news.after}"
        )
        if not (was_announced(reading, news) or filled_together(reading, news)):
            verdict.say(news.true_ms, f"P4 Only down: {text}")
        elif not is_repaired(reading, bounds, news):
            verdict.say(news.true_ms, f"P4 Only down: {text}, and it was not closed again in time")


def was_announced(reading: Reading, fill: VenueFill) -> bool:
    """Whether the venue was too slow to wait for, and the bot said that it closes what it believes is held."""
    said = ("exit_unconfirmed", "venue_did_not_fill")
    slow = reading.times("slow", "rest_down", "venue_down", "asleep", "mute")
    near = any(line.name in said and 0 <= fill.true_ms - line.true_ms <= 8_000 for line in reading.tape.log)
    nobody_there = (
        reading.able.within(fill.true_ms - 1_000, fill.true_ms) < 500
    )  # a stop and a target that no one links
    return near or nobody_there or slow.touches(fill.true_ms - 5_000, fill.true_ms)


def filled_together(reading: Reading, fill: VenueFill) -> bool:
    """Whether another stop or target of ours filled so shortly before that no news could have come between."""
    return any(
        other is not fill
        and other.symbol == fill.symbol
        and 0 <= fill.true_ms - other.true_ms <= TOGETHER_MS
        and reading.purpose(other.client_id) in (Purpose.STOP, Purpose.TARGET)
        for other in reading.tape.fills
    )


def came_late(reading: Reading, bounds: Bounds, client_id: str | None) -> bool:
    """Whether the network has kept the order for longer than anybody can wait for it to be known."""
    for request in reading.tape.requests:
        if ("place", client_id) in acts(request):
            return (request.arrived_ms or request.sent_ms) - request.sent_ms > bounds.late_ms
    return False


def is_repaired(reading: Reading, bounds: Bounds, fill: VenueFill) -> bool:
    until_ms = reading.fair.after(fill.true_ms, bounds.repair_ms)
    later = [f for f in reading.tape.fills if f.symbol == fill.symbol and fill.true_ms <= f.true_ms <= until_ms]
    return any(f.after == 0 or f.by != "bot" for f in later) or reading.tape.end_ms <= until_ms


def judge_loose(reading: Reading, bounds: Bounds, verdict: Verdict) -> None:
    """An order of ours that would open a position, or turn it round, is not left working."""
    places: dict[str, Place] = {}
    for place, news in walk(reading):
        places[news.symbol] = place
        end_loose(reading, bounds, verdict, news.symbol, place, news.true_ms, loose(place))
    for symbol, place in places.items():
        end_loose(reading, bounds, verdict, symbol, place, reading.tape.end_ms, {})


def loose(place: Place) -> dict[str, str]:
    """What could open, in words, by a name that stays the same while it lasts."""
    ours = [o for o in place.orders.values() if OUR_ID.fullmatch(o.client_id or "") and not o.reduce_only]
    if place.held == 0:
        return {f"order {o.order_id}": "works while flat" for o in ours}
    found = {f"order {o.order_id}": "would add to the position" for o in ours if not is_closing(o, place.held)}
    closing = [o for o in ours if is_closing(o, place.held)]
    for kind, orders in (
        ("stops", [o for o in closing if o.is_stop]),
        ("targets", [o for o in closing if not o.is_stop]),
    ):
        if sum((o.left for o in orders), ZERO) > abs(place.held):
            found[kind] = "of more than the position would turn it round"
    return found


def end_loose(
    reading: Reading, bounds: Bounds, verdict: Verdict, symbol: str, place: Place, now_ms: int, found: dict[str, str]
) -> None:
    for name in [name for name in place.loose_ms if name not in found]:
        since_ms = place.loose_ms.pop(name)
        verdict.looked_at += 1
        lasted_ms = reading.hearing.within(since_ms, now_ms)
        if lasted_ms > bounds.loose_ms:
            verdict.say(
                reading.hearing.after(since_ms, bounds.loose_ms),
                f"P4 Only down: {symbol} {name} could open a position from {clock(reading.tape, since_ms)} for "
                f"{lasted_ms} ms (the bot able to act)",
            )
    for name in found:
        place.loose_ms.setdefault(name, now_ms)
