"""Whether risk may be added, and how much. Every refusal names its reason; reducing risk never asks."""

from decimal import Decimal

from core.exits import open_position
from core.freshness import reference_age_ms
from core.model import ZERO, Purpose, Side
from core.rules import MarketRules, Rules
from core.state import MarketState, State, open_pnl, outside_pnl

# What an entry, its stop, the way out and the reads between them take of a minute's 200 requests, or weight of 1200.
WINDOW_LEFT_MIN, WEIGHT_LEFT_MIN = 100, 300
ACTIONS_LEFT_MIN = 20


def daily_pnl(state: State, rules: Rules) -> Decimal:
    """Realised since 00:00 UTC plus open profit now, account currency; of every position that is known to count."""
    return state.day_realized + total_open_pnl(state, rules)


def total_open_pnl(state: State, rules: Rules) -> Decimal:
    """Open profit of all managed markets at their newest prices, and of the others where the equity leaves them out."""
    managed = (open_pnl(state.markets[name], market.instrument.multiplier) for name, market in rules.markets.items())
    return sum(managed, sum((outside_pnl(position) for position in state.outside.values()), ZERO))


def equity_now(state: State, rules: Rules) -> Decimal | None:
    """The venue's last figure, carried on with the open profit since; None before the first account read."""
    if state.equity is None:
        return None
    return state.equity - state.equity_open_pnl + total_open_pnl(state, rules)


def is_daily_loss_hit(state: State, rules: Rules) -> bool:
    limit = rules.risk.max_daily_loss
    return limit is not None and daily_pnl(state, rules) <= -limit


def refusal(market: MarketState, side: Side, state: State, rules: Rules, now_ms: int) -> str | None:
    """Why no entry on `side` may be sent now, in words for the log; None when it may."""
    age_ms = reference_age_ms(market, side, state, now_ms)
    if state.halted is not None:
        return f"halted: {state.halted}"
    if not state.journal_ok:
        return "the journal cannot be written"
    if not state.synced:
        return "the account has not been read yet"
    if age_ms is None or age_ms > rules.risk.max_price_age_ms:
        return f"price is {'missing' if age_ms is None else f'{age_ms} ms old'}"
    if market.verdict != "real-time":
        return f"data are {market.verdict}"
    if is_daily_loss_hit(state, rules) or state.loss_day == state.day:
        return f"daily loss limit reached ({daily_pnl(state, rules):.2f})"
    if not rules.takes_orders(market.symbol, now_ms + state.offset_ms):
        return "the session is closed"
    if market.position is not None:
        return "a position is open"
    if any(not record.rests for record in market.live_orders()):
        return "an order is in flight"
    if market.symbol in state.rolled:
        return "the venue trades another month under this symbol: the bot starts anew once it is flat"
    if market.foreign:
        return f"order {market.foreign[0].order_id} works here and is not this bot's"
    if not market.clean:
        return "leftover orders are not ruled out yet"
    exposed = sum(1 for other in state.markets.values() if is_exposed(other)) + len(state.unmanaged)
    if exposed >= rules.risk.max_open_positions:
        return f"{exposed} positions are open"
    if state.budget_left is not None and state.budget_left < ACTIONS_LEFT_MIN:
        return f"only {state.budget_left} requests left at the venue"
    window_left_min = WEIGHT_LEFT_MIN if rules.can_reduce_only else WINDOW_LEFT_MIN
    if state.window_left is not None and state.window_left < window_left_min:
        return f"only {state.window_left} left of what the venue answers in a minute"
    return None


def is_exposed(market: MarketState) -> bool:
    """Whether the market holds a position or may soon: an entry counts from the moment it is sent."""
    return market.position is not None or any(record.purpose is Purpose.ENTRY for record in market.live_orders())


def entry_size(price: Decimal, side: Side, market: MarketRules, equity: Decimal | None) -> Decimal:
    """Units to buy or sell, a multiple of the lot; 0 when the rules or the equity allow nothing."""
    size_rules, instrument = market.size, market.instrument
    unit_value = price * instrument.multiplier
    if size_rules.quantity is not None:
        size = size_rules.quantity
    elif size_rules.notional is not None:
        size = size_rules.notional / unit_value
    else:
        assert size_rules.risk_pct is not None, "settings make exactly one of the three"
        at_risk = (equity or ZERO) * size_rules.risk_pct / 100
        size = at_risk / (market.exits.stop_loss.at(price, instrument) * instrument.multiplier)
    if size_rules.max_notional is not None:
        size = min(size, size_rules.max_notional / unit_value)
    if size_rules.max_quantity is not None:
        size = min(size, size_rules.max_quantity)
    return instrument.round_size(max(size, ZERO))


def size_refusal(
    size: Decimal, price: Decimal, side: Side, market: MarketRules, equity: Decimal | None, available: Decimal | None
) -> str | None:
    """Why an entry of `size` at `price` makes no sense: nothing left, below the venue's minimum, or not affordable.

    A stop beyond the liquidation price is refused here, before there is a position (P2).
    """
    instrument = market.instrument
    value = size * price * instrument.multiplier
    if size <= 0:
        return "the size rounds to zero"
    if value < instrument.min_notional:
        return f"order value {value:.2f} is below the venue's minimum {instrument.min_notional}"
    leverage = market.leverage or instrument.max_leverage
    if instrument.has_margin and available is not None and value / leverage > available:
        return f"margin {value / leverage:.2f} exceeds the available {available:.2f}"
    stop = open_position(side, size, price, 0, market.exits, instrument, adopted=False).stop_price
    liquidation = estimated_liquidation(price, size, side, market, equity)
    if liquidation is not None and side.sign * (stop - liquidation) <= 0:
        return f"stop {stop} lies beyond the estimated liquidation price {liquidation:.6g}"
    return None


def estimated_liquidation(
    price: Decimal, size: Decimal, side: Side, market: MarketRules, equity: Decimal | None
) -> Decimal | None:
    """Cross-margin liquidation price of a fresh position when nothing else is open (page 6.4); None: out of reach.

    `liq = price - side * marginAvailable / size / (1 - l * side)` with maintenance rate l = 1 / (2 * max leverage).
    """
    instrument = market.instrument
    if equity is None or instrument.max_leverage <= 1:
        return None
    rate = Decimal(1) / (2 * instrument.max_leverage)
    free = equity - size * price * instrument.multiplier * rate
    level = price - side.sign * free / (size * instrument.multiplier) / (1 - rate * side.sign)
    return level if level > 0 else None
