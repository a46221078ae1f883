"""P7: a stop never loosens, also over a restart, and what health shows is what the venue holds."""

from decimal import Decimal
from typing import Any

from core.model import ZERO, OrderStatus, Purpose, Side
from sim.invariants_venue import describe, walk, ways_out
from sim.verdict import Bounds, Verdict
from sim.world_read import Reading, clock, is_working, side_of
from sim.world_types import VenueFill, VenueOrder


def judge_levels(reading: Reading, verdict: Verdict) -> None:
    """A stop never loosens by our doing while a position lasts, over restarts too."""
    for place, news in walk(reading):
        if place.held == 0 or news.by != "bot" or is_new_position(reading, news):
            place.level = None
        if place.held == 0:
            continue
        if isinstance(news, VenueOrder) and news.status is OrderStatus.FILLED:
            continue  # its fill comes next
        if isinstance(news, VenueFill) and is_followed(reading, news):
            continue  # by more of the same order at once
        levels = [o.trigger_price for o in place.stops() if o.trigger_price is not None]
        if not levels:
            continue
        if any(o.by == "hand" for o in place.stops()):
            place.level = None  # the bot leaves the position to it
            continue
        sign = side_of(place.held).sign
        level = max(levels) if sign > 0 else min(levels)
        verdict.looked_at += 1
        tick = tick_of(reading, news.symbol, level)
        if (
            place.level is not None
            and sign * (place.level - level) > tick
            and not (is_passing(reading, news, place.level, sign))
        ):
            verdict.say(
                news.true_ms,
                f"P7 Restart is start: {news.symbol} at {clock(reading.tape, news.true_ms)}: the stop went from "
                f"{place.level} back to {level} ({describe(news)})",
            )
        place.level = level


def is_passing(reading: Reading, news: VenueOrder | VenueFill, level: Decimal, sign: int) -> bool:
    """An exit follows at once, before which all that rests is canceled; or a stop at the old level does."""
    soon = [o for o in reading.tape.orders if 0 <= o.true_ms - news.true_ms <= 3_000 and o.symbol == news.symbol]
    if any(o.is_stop and is_working(o) and o.trigger_price and sign * (o.trigger_price - level) >= 0 for o in soon):
        return True
    return any(of == news.symbol and -2_000 <= ms - news.true_ms <= 3_000 for ms, of in ways_out(reading))


def is_followed(reading: Reading, fill: VenueFill) -> bool:
    return any(
        other.order_id == fill.order_id and other.true_ms == fill.true_ms and abs(other.before) < abs(fill.before)
        for other in reading.tape.fills
    )


def is_new_position(reading: Reading, news: VenueOrder | VenueFill) -> bool:
    """Or what is left of one whose stop has fired: a hand had added to it while nobody was there."""
    if not isinstance(news, VenueFill):
        return False
    return abs(news.after) >= abs(news.before) or reading.purpose(news.client_id) is Purpose.STOP


def tick_of(reading: Reading, symbol: str, price: Decimal) -> Decimal:
    return reading.tape.rules.markets[symbol].instrument.tick_at(price)


def judge_agreement(reading: Reading, bounds: Bounds, verdict: Verdict) -> None:
    """What health shows is what the venue holds, after some time at the latest, and at the end."""
    since: dict[str, int] = {}
    for health in reading.tape.health:
        for symbol in reading.tape.rules.markets:
            said, held = said_of(health.body, symbol), reading.held_at(symbol, health.true_ms)
            verdict.looked_at += 1
            if said == held:
                since.pop(symbol, None)
                continue
            begin = since.setdefault(symbol, health.true_ms)
            last = health is reading.tape.health[-1] and not is_moving(reading, symbol, health.true_ms)
            if reading.able.within(begin, health.true_ms) > bounds.agree_ms or last:
                verdict.say(
                    health.true_ms,
                    f"P7 Restart is start: {symbol} at {clock(reading.tape, health.true_ms)}: health says {said}, the "
                    f"venue holds {held}, since {clock(reading.tape, begin)}",
                )
                since[symbol] = FAR


FAR = 1 << 60


def is_moving(reading: Reading, symbol: str, true_ms: int) -> bool:
    return any(f.symbol == symbol and 0 <= true_ms - f.true_ms < 3_000 for f in reading.tape.fills)


def said_of(body: dict[str, Any], symbol: str) -> Decimal:
    position = ((body.get("markets") or {}).get(symbol) or {}).get("position")
    return ZERO if not position else Side(position["side"]).sign * Decimal(str(position["size"]))
