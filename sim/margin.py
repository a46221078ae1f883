"""Margin sums of an account at given mark prices: protocol page 2.4, 6.3 and 6.4. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from core.model import ZERO, Instrument, Side
from sim.accounts import Account, Leverage, MarginTable, Position
from sim.book import OrderBook


class Market(msgspec.Struct):
    """One market as the exchange keeps it."""

    instrument: Instrument
    table: MarginTable
    book: OrderBook
    mark: Decimal = ZERO  # 0: not known yet
    oracle: Decimal = ZERO
    last: Decimal = ZERO  # price of the last trade


Markets = Mapping[str, Market]
TENTH = Decimal("0.1")


def leverage_of(account: Account, market: Market) -> Leverage:
    """As chosen, or the venue's default: cross, 20 at most."""
    chosen = account.leverages.get(market.instrument.symbol)
    return chosen or Leverage(min(20, market.instrument.max_leverage))


def cross_value(account: Account, markets: Markets) -> Decimal:
    """Free collateral with the open profit of cross positions."""
    cross = (p for p in account.positions.values() if p.leverage.is_cross)
    return account.balance + sum((p.pnl(markets[p.symbol].mark) for p in cross), ZERO)


def account_value(account: Account, markets: Markets) -> Decimal:
    isolated = (p for p in account.positions.values() if not p.leverage.is_cross)
    return cross_value(account, markets) + sum(
        (p.isolated_margin + p.pnl(markets[p.symbol].mark) for p in isolated), ZERO
    )


def margin_used(position: Position, mark: Decimal) -> Decimal:
    if position.leverage.is_cross:
        return position.notional(mark) / position.leverage.value
    return position.isolated_margin + position.pnl(mark)


def total_notional(account: Account, markets: Markets) -> Decimal:
    return sum((p.notional(markets[p.symbol].mark) for p in account.positions.values()), ZERO)


def cross_maintenance(account: Account, markets: Markets) -> Decimal:
    return sum((maintenance(p, markets[p.symbol]) for p in account.positions.values() if p.leverage.is_cross), ZERO)


def maintenance(position: Position, market: Market) -> Decimal:
    return market.table.maintenance(position.notional(market.mark))


def worst_exposure(held: Decimal, resting: Iterable[tuple[Side, Decimal]]) -> Decimal:
    """Largest position that filling all resting orders of one side could lead to, in units."""
    buys = sells = ZERO
    for side, size in resting:
        if side is Side.BUY:
            buys += size
        else:
            sells += size
    return max(abs(held), abs(held + buys), abs(held - sells))


def order_margin(account: Account, market: Market, exposure: Decimal) -> Decimal:
    """Free collateral that `exposure` units of this market need; isolated positions already hold their own."""
    leverage = leverage_of(account, market)
    position = account.positions.get(market.instrument.symbol)
    if position is not None:
        leverage = position.leverage
        if not leverage.is_cross:
            exposure -= abs(position.size)
    return exposure * market.mark * market.instrument.multiplier / leverage.value


def withdrawable(account: Account, markets: Markets, initial: Decimal) -> Decimal:
    """`initial`: what positions and resting orders need, from `order_margin`."""
    free = cross_value(account, markets)
    cross = sum((p.notional(markets[p.symbol].mark) for p in account.positions.values() if p.leverage.is_cross), ZERO)
    return max(ZERO, free - max(initial, TENTH * cross))


def liquidation_price(account: Account, markets: Markets, symbol: str) -> Decimal | None:
    """Mark at which the position is liquidated; None when that would be at or below zero."""
    position, market = account.positions[symbol], markets[symbol]
    side = 1 if position.size > 0 else -1
    if position.leverage.is_cross:
        available = cross_value(account, markets) - cross_maintenance(account, markets)
    else:
        available = position.isolated_margin + position.pnl(market.mark) - maintenance(position, market)
    rate = market.table.rate(position.notional(market.mark))
    size = abs(position.size) * market.instrument.multiplier
    price = market.mark - side * available / size / (1 - rate * side)
    return price if price > 0 else None
