"""Every position of the account with the newest prices: what a guard of the whole account needs to know.

Positions in markets that the config does not name are the account's too. The bot does not touch them; where the venue
names no open profit (TopstepX) it follows their prices, so that equity is known.
"""

from decimal import Decimal

import msgspec

from core.messages import Watch
from core.model import Quote, Trade, VenuePosition
from core.positions import held
from core.rules import Rules
from core.state import Outside, State
from core.turn import Turn


class Holding(msgspec.Struct, frozen=True):
    """A position and what is known of its price. Prices are None before the first; their age is for the reader."""

    symbol: str
    contract_id: str
    size: Decimal  # signed
    entry_price: Decimal
    multiplier: Decimal  # account currency per 1.0 of price, per unit
    tick_size: Decimal | None  # None: not configured here, or not fixed
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    price_received_ms: int  # our clock; 0: there is none


def holdings(state: State, rules: Rules) -> tuple[Holding, ...]:
    """Managed markets in the order of the config, then the others by symbol; flat ones are left out."""
    found = []
    for symbol, market_rules in rules.markets.items():
        market, instrument = state.markets.get(symbol), market_rules.instrument
        if market is None or market.position is None:
            continue
        found.append(
            Holding(
                symbol, instrument.contract_id, held(market), market.position.entry_price, instrument.multiplier,
                instrument.tick_size, market.bid, market.ask, market.current_price,
                max(market.price_received_ms, market.quote_received_ms),
            )
        )  # fmt: skip
    for _, other in sorted(state.outside.items()):
        found.append(
            Holding(
                other.symbol, other.contract_id, other.size, other.entry_price, other.multiplier, None, other.bid,
                other.ask, other.last, other.price_received_ms,
            )
        )  # fmt: skip
    return tuple(found)


def dearest_tick(rules: Rules) -> Decimal | None:
    """Worth of a tick of one contract, the largest of the config: what distances in ticks mean while all is flat."""
    instruments = (market.instrument for market in rules.markets.values())
    return max((i.tick_size * i.multiplier for i in instruments if i.tick_size is not None), default=None)


def is_managed(position: VenuePosition, rules: Rules) -> bool:
    """Whether the config names its market; another month under the same symbol is another contract."""
    market = rules.markets.get(position.symbol)
    if market is None:
        return False
    ours, theirs = market.instrument.contract_id, position.contract_id
    return not ours or not theirs or ours == theirs


def follow_outside(turn: Turn, positions: tuple[VenuePosition, ...]) -> None:
    """Keep what the account holds elsewhere, with the prices known of it, and ask for those of new contracts."""
    before = turn.state.outside
    outside: dict[str, Outside] = {}
    for position in positions:
        if position.size == 0 or is_managed(position, turn.rules):
            continue
        name = position.symbol if position.symbol not in turn.rules.markets else position.contract_id
        known = before.get(name) or Outside(name, "", position.size, position.entry_price, position.multiplier)
        outside[name] = msgspec.structs.replace(
            known, size=position.size, entry_price=position.entry_price, multiplier=position.multiplier,
            contract_id=position.contract_id,
        )  # fmt: skip
    if outside != before:
        turn.set(outside=outside)
    wanted, watched = contract_ids(outside), contract_ids(before)
    if wanted != watched:
        turn.act(Watch(wanted))


def contract_ids(outside: dict[str, Outside]) -> tuple[str, ...]:
    return tuple(sorted({other.contract_id for other in outside.values() if other.contract_id}))


def on_price(turn: Turn, event: Trade | Quote) -> None:
    """A price of a contract that is not configured."""
    other = turn.state.outside.get(event.symbol)
    if other is None:
        return
    if isinstance(event, Trade):
        other = msgspec.structs.replace(other, last=event.price, price_received_ms=event.received_ms)
    else:
        other = msgspec.structs.replace(other, bid=event.bid, ask=event.ask, price_received_ms=event.received_ms)
    turn.set(outside={**turn.state.outside, event.symbol: other})
