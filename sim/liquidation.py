"""Forced closing of accounts whose margin is gone (protocol page 6.4)."""

from decimal import Decimal

from core.model import ZERO, Side, TimeInForce
from sim.accounts import Account, Position
from sim.engine import Engine
from sim.margin import Market, cross_maintenance, cross_value, maintenance
from sim.orders import Liquidation, LiveOrder, Request, Status

PARTIAL_LIQUIDATION_ABOVE = Decimal(100_000)  # notional
COOLDOWN_MS = 30_000
NO_LIMIT = {Side.BUY: Decimal("Infinity"), Side.SELL: ZERO}


def liquidate_if_due(engine: Engine, account: Account, market: Market, now_ms: int) -> None:
    position = account.positions.get(market.instrument.symbol)
    if position is None:
        return
    if position.leverage.is_cross:
        equity, needed = cross_value(account, engine.markets), cross_maintenance(account, engine.markets)
        due = [p for p in account.positions.values() if p.leverage.is_cross]
    else:
        equity, needed = position.isolated_margin + position.pnl(market.mark), maintenance(position, market)
        due = [position]
    if equity >= needed:
        return
    for order in engine.orders_of(account.name):
        if not order.request.reduce_only and not order.is_waiting_trigger:
            engine.finish(order, Status.LIQUIDATED, now_ms)
    for each in due:
        _liquidate(engine, account, each, equity < needed * 2 / 3, now_ms)


def _liquidate(engine: Engine, account: Account, position: Position, is_backstop: bool, now_ms: int) -> None:
    market = engine.markets[position.symbol]
    side = Side.SELL if position.size > 0 else Side.BUY
    size = abs(position.size)
    recent = account.liquidated_ms is not None and now_ms - account.liquidated_ms < COOLDOWN_MS
    if not is_backstop and not recent and position.notional(market.mark) > PARTIAL_LIQUIDATION_ABOVE:
        size = max(market.instrument.round_size(size / 5), market.instrument.lot_size)
        account.liquidated_ms = now_ms
    request = Request(position.symbol, side, size, market.mark, TimeInForce.IOC, reduce_only=True, is_market=True)
    order = LiveOrder(engine.new_order_id(), account.name, request, size, now_ms)
    engine.orders[order.order_id] = order
    about = Liquidation(account.name, market.mark, is_backstop)
    while order.order_id in engine.orders and order.left > 0:
        maker = None if is_backstop else market.book.best_maker(side.opposite, NO_LIMIT[side])
        if maker is None and not is_backstop:
            engine.finish(order, Status.FILLED if order.filled else Status.NO_LIQUIDITY, now_ms)
        elif maker is None:
            engine.execute(market, market.mark, order.left, order, None, side, now_ms, about)
        elif maker.order is not None and maker.order.account == account.name:
            engine.finish(maker.order, Status.SELF_TRADE, now_ms)
        else:
            size = min(order.left, maker.size)
            if maker.order is None:
                market.book.consume_outside(side.opposite, maker.price, size)
            engine.execute(market, maker.price, size, order, maker.order, side, now_ms, about)
    if is_backstop and not account.positions:
        account.balance = ZERO  # what is left belongs to the liquidator
