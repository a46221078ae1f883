"""When a position must close, and where its stop belongs. Pure; levels are settled once, not on every trade."""

from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import msgspec

from core.model import Bracket, Instrument, Side
from core.rules import Distance, ExitRules
from core.state import ExitReason, Position

BRACKET_TICKS_MIN = 4  # TopstepX page 2.6: nearer ones are refused


def open_position(
    side: Side,
    size: Decimal,
    entry_price: Decimal,
    now_ms: int,
    rules: ExitRules,
    instrument: Instrument,
    adopted: bool,
) -> Position:
    """A position with its levels settled from the entry price."""
    sign = side.sign
    stop = entry_price - sign * rules.stop_loss.at(entry_price, instrument)
    target = None
    if rules.take_profit is not None:
        target = entry_price + sign * rules.take_profit.at(entry_price, instrument)
    position = Position(
        side=side,
        size=size,
        entry_price=entry_price,
        entry_ms=now_ms,
        best_price=entry_price,
        stop_price=tighter_tick(stop, side, instrument),
        target_price=target,
        trail_price=None,
        adopted=adopted,
    )
    return follow(position, entry_price, rules, instrument)


def reprice(
    position: Position, size: Decimal, entry_price: Decimal, rules: ExitRules, instrument: Instrument
) -> Position:
    """The same position after a further fill or a venue correction: new size and entry, trailing kept."""
    fresh = open_position(
        position.side, size, entry_price, position.entry_ms, rules, instrument, adopted=position.adopted
    )
    followed = follow(fresh, position.best_price, rules, instrument)
    old, new = position.trail_price, followed.trail_price
    if rules.trailing_stop is None or old is None or (new is not None and position.side.sign * (new - old) >= 0):
        return followed
    return msgspec.structs.replace(followed, trail_price=old)  # a trail never loosens, nor is it taken back


def tighter_tick(level: Decimal, side: Side, instrument: Instrument) -> Decimal:
    """A stop level on the venue's grid, never looser than asked: a long's stop is rounded up, a short's down.

    One tick at the lowest: a distance may be larger than the price it is taken from, and no order has a price of 0.
    """
    return instrument.round_away(level, side)


def follow(position: Position, price: Decimal, rules: ExitRules, instrument: Instrument) -> Position:
    """Position after a trade at `price`: best price and trailing level. The same object when nothing improved."""
    sign = position.side.sign
    improved = sign * (price - position.best_price) > 0
    if not improved and not (price == position.best_price and position.trail_price is None):
        return position
    trail = position.trail_price
    if rules.trailing_stop is not None and is_activated(position, price, rules, instrument):
        level = tighter_tick(price - sign * rules.trailing_stop.at(price, instrument), position.side, instrument)
        if trail is None or sign * (level - trail) > 0:
            trail = level
    if not improved and trail is position.trail_price:
        return position
    return msgspec.structs.replace(position, best_price=price, trail_price=trail)


def is_activated(position: Position, best: Decimal, rules: ExitRules, instrument: Instrument) -> bool:
    """Whether the gain at `best` is enough for the trail to count."""
    if rules.trailing_activate is None:
        return True
    gain = position.side.sign * (best - position.entry_price)
    return gain >= rules.trailing_activate.at(position.entry_price, instrument)


def check_exit(position: Position, price: Decimal, now_ms: int, rules: ExitRules) -> ExitReason | None:
    """Why `position` must close at `price`, or None to stay in.

    Most cautious rule first, so one price that meets two rules is reported as the worse one.
    """
    long = position.side is Side.BUY
    if price <= position.stop_price if long else price >= position.stop_price:
        return ExitReason.STOP_LOSS
    trail = position.trail_price
    if trail is not None and (price <= trail if long else price >= trail):
        return ExitReason.TRAILING_STOP
    target = position.target_price
    if target is not None and (price >= target if long else price <= target):
        return ExitReason.TAKE_PROFIT
    if rules.hold_ms_max is not None and now_ms - position.entry_ms >= rules.hold_ms_max:
        return ExitReason.TIME_LIMIT
    return None


def bracket_at(price: Decimal, rules: ExitRules, instrument: Instrument) -> Bracket:
    """Stop and target of an entry near `price`, in ticks: the stop never looser than asked, neither too near.

    The venue counts them from the fill, so that slippage moves them along (TopstepX page 2.7).
    """
    tick = instrument.tick_at(price)

    def ticks(distance: Distance, rounding: str) -> int:
        return max(BRACKET_TICKS_MIN, int((distance.at(price, instrument) / tick).to_integral_value(rounding)))

    target = None if rules.take_profit is None else ticks(rules.take_profit, ROUND_HALF_EVEN)
    return Bracket(ticks(rules.stop_loss, ROUND_FLOOR), target)


def stop_level(position: Position) -> Decimal:
    """Where the venue's stop belongs now: the tighter of the initial stop and the trail."""
    trail = position.trail_price
    if trail is None:
        return position.stop_price
    return max(trail, position.stop_price) if position.side is Side.BUY else min(trail, position.stop_price)


def is_crossed(position: Position, level: Decimal, price: Decimal) -> bool:
    """Whether a stop at `level` would fire at once at `price`."""
    return price <= level if position.side is Side.BUY else price >= level


def inside_liquidation(
    level: Decimal, position: Position, liquidation_price: Decimal | None, instrument: Instrument
) -> Decimal:
    """`level`, or the loosest level that still lies a tenth of the way inside the liquidation price (P2).

    A stop beyond liquidation protects nothing: the venue closes first, at its own price.
    """
    if liquidation_price is None:
        return level
    sign = position.side.sign
    limit = liquidation_price + (position.entry_price - liquidation_price) / 10
    if sign * (level - limit) >= 0 or sign * (position.entry_price - liquidation_price) <= 0:
        return level
    return tighter_tick(limit, position.side, instrument)
