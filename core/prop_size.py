"""How many contracts an entry may have: position caps over the whole account, and what it may lose. Pure.

Caps and their sources: config/topstep/, protocol page 6.1, 6.4, 6.5.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from core.model import ZERO
from core.prop_account import loss_limits
from core.prop_values import Entry, Holding, PropRules, PropState, SizeCap, Valuation, smallest

FOR_EVER = Decimal(1_000_000)  # contracts: more than anybody may hold


def size_cap(
    rules: PropRules,
    state: PropState,
    entry: Entry,
    valuation: Valuation | None,
    holdings: Sequence[Holding],
    pending: Sequence[Entry] = (),
) -> Decimal:
    """The most whole contracts an entry may have now, 0 for none; `entry.size` does not matter.

    The loss at its stop, with costs, slippage and what `pending` entries may lose, must leave every limit more than its
    buffer away.
    """
    cap = smallest(size_caps(rules, state, entry, valuation, holdings, pending))
    return FOR_EVER if cap is None else cap.contracts


def size_caps(
    rules: PropRules,
    state: PropState,
    entry: Entry,
    valuation: Valuation | None,
    holdings: Sequence[Holding],
    pending: Sequence[Entry],
) -> Iterator[SizeCap]:
    held = _contracts(holdings, pending)
    if rules.max_order_size is not None:
        yield SizeCap(rules.max_order_size.to_integral_value(ROUND_FLOOR), "most in one order")
    lots = position_limit(rules, state)
    if lots is not None:
        free = lots - sum((size * rules.weight(symbol) for symbol, size in held.items()), ZERO)
        yield SizeCap(_whole(free / rules.weight(entry.symbol)), f"{lots} mini lots for the whole account")
    if entry.symbol in rules.caps:
        yield SizeCap(_product_room(rules, entry.symbol, held), f"temporary cap of {entry.symbol}")
    loss = _loss_per_contract(rules, entry)
    taken = sum((other.size * _loss_per_contract(rules, other) for other in pending), ZERO)
    for limit in loss_limits(rules, state):
        if valuation is None or loss <= 0:
            yield SizeCap(ZERO, "the equity is unknown" if valuation is None else "the loss at the stop is unknown")
            continue
        room = valuation.in_hand - limit.level - limit.flatten_within - taken
        # the largest n with n * loss < room
        contracts = (room / loss).to_integral_value(ROUND_CEILING) - 1
        yield SizeCap(max(contracts, ZERO), f"room to {limit.name}")


def _loss_per_contract(rules: PropRules, entry: Entry) -> Decimal:
    return entry.stop_value + 2 * rules.side_cost(entry.symbol) + rules.slippage_ticks * entry.tick_value


def position_limit(rules: PropRules, state: PropState) -> Decimal | None:
    """Mini lots the account may hold; with a scaling plan by the balance at the end of the last day.

    A balance that has fallen since counts at once (a payout does), one that has risen from the next day on.
    """
    limits = [] if rules.max_position is None else [rules.max_position]
    if rules.scaling:
        balance = min(state.day_start_balance, state.balance)
        reached = [step for step in rules.scaling if step.above is None or balance > step.above]
        highest = max(
            reached, key=lambda step: Decimal("-Infinity") if step.above is None else step.above, default=None
        )
        limits.append(ZERO if highest is None else highest.lots)
    return min(limits, default=None)


def excess(rules: PropRules, state: PropState, holdings: Sequence[Holding]) -> str | None:
    """What of the account is above a cap or not permitted (opened by hand, or before a cap came), in words."""
    held = _contracts(holdings, ())
    lots = position_limit(rules, state)
    total = sum((size * rules.weight(symbol) for symbol, size in held.items()), ZERO)
    if lots is not None and total > lots:
        return f"{total} mini lots are held, {lots} are allowed"
    for symbol, size in held.items():
        if rules.products and symbol not in rules.products:
            return f"{symbol} is held and not permitted"
        if size > rules.caps.get(symbol, FOR_EVER):
            return f"{size} {symbol} are held, {rules.caps[symbol]} are allowed"
    return None


def _contracts(holdings: Sequence[Holding], pending: Sequence[Entry]) -> dict[str, Decimal]:
    """Contracts by symbol, long and short counted alike: nothing says that they cancel out."""
    sizes: dict[str, Decimal] = {}
    named = [(held.symbol, held.size) for held in holdings] + [(entry.symbol, entry.size) for entry in pending]
    for symbol, size in named:
        sizes[symbol] = sizes.get(symbol, ZERO) + abs(size)
    return sizes


def _product_room(rules: PropRules, symbol: str, held: Mapping[str, Decimal]) -> Decimal:
    """What a temporary cap leaves; products on one underlying use it up together, pro rata."""
    cap, family = rules.caps[symbol], rules.families.get(symbol, symbol)
    used = ZERO
    for other, size in held.items():
        other_cap = rules.caps.get(other)
        if rules.families.get(other, other) != family or other_cap is None:
            continue
        if other_cap == 0:
            return ZERO
        used += size * cap / other_cap
    return _whole(cap - used)


def _whole(contracts: Decimal) -> Decimal:
    return max(contracts.to_integral_value(ROUND_FLOOR), ZERO)
