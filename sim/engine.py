"""The inside of the simulated exchange: matching, what a fill does to the account, and triggers.

`sim.exchange.Exchange` is the face of it. No I/O and no clock: rules of protocol page 3.3 and 8.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from core.model import ZERO, Instrument, Side, TimeInForce
from sim.accounts import Account, MarginTable, Position, Tier
from sim.book import OrderBook
from sim.margin import Market, leverage_of
from sim.orders import (
    ExchangeEvent,
    Execution,
    Liquidation,
    LiveOrder,
    OrderChanged,
    OrderState,
    Placed,
    Printed,
    Request,
    Status,
)

TEN_PERCENT = Decimal("0.1")


class ExchangeRules(msgspec.Struct):
    """Fees, and the behaviours on which sources differ; may be changed while running."""

    taker_rate: Decimal = Decimal("0.00045")
    maker_rate: Decimal = Decimal("0.00015")
    fee_per_unit: Decimal | None = None  # a fixed fee instead of the rates
    has_margin: bool = True  # False: no margin check, no liquidation
    triggers_on_last: bool = False  # triggers follow trades, not the mark
    price_band: Decimal | None = Decimal("0.8")  # largest distance from the mark; None: any
    reject_oversize: bool = False  # reduce-only larger than the position: refuse instead of clamping
    fire_met_trigger: bool = False  # a trigger already met when placed: fire instead of refusing
    allow_wrong_side_price: bool = False  # a trigger whose price is on the wrong side of its trigger price
    trigger_price_binds: bool = False  # market triggers fill down to their price, not to 10 % past the trigger
    keep_stops_on_close: bool = False  # position stops and reduce-only orders survive a full close
    max_open_orders: int = 1000  # of one account
    ioc_fraction: Decimal | None = None  # an IOC finds liquidity for no more than this part of its size


class Engine:
    """Markets, accounts and live orders; every change leaves an event in `_events`."""

    def __init__(
        self,
        instruments: Iterable[Instrument],
        rules: ExchangeRules | None = None,
        tables: Mapping[str, MarginTable] | None = None,
        first_id: int = 1,
    ) -> None:
        """Margin tables by symbol; without one, maintenance is half the margin at the largest leverage."""
        self.rules = rules or ExchangeRules()
        self.markets: dict[str, Market] = {}
        for i in instruments:
            table = (tables or {}).get(i.symbol) or MarginTable([Tier(ZERO, i.max_leverage)])
            self.markets[i.symbol] = Market(i, table, OrderBook())
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, LiveOrder] = {}  # every order that is not final
        self._next_order_id = first_id
        self._next_trade_id = first_id
        self._next_group = 1
        self._events: list[ExchangeEvent] = []

    # --- accounts and orders ----------------------------------------------------------------------------------------

    def open_account(self, name: str, balance: Decimal) -> Account:
        """The account of that name, made with `balance` if it is new."""
        return self.accounts.setdefault(name, Account(name, balance))

    def orders_of(self, account: str, symbol: str | None = None) -> list[LiveOrder]:
        """Oldest first, waiting triggers and waiting children included."""
        return [o for o in self.orders.values() if o.account == account and symbol in (None, o.request.symbol)]

    def new_order_id(self) -> int:
        self._next_order_id += 1
        return self._next_order_id

    def _placed(self, order: LiveOrder, status: Status) -> Placed:
        return Placed(order.order_id, status, order.filled, order.average, order.request.client_id)

    def finish(self, order: LiveOrder, status: Status, now_ms: int) -> None:
        """The end of an order, and of the children that still waited for it."""
        self.orders.pop(order.order_id, None)
        self.markets[order.request.symbol].book.remove(order)
        self._changed(order, status, now_ms)
        if order.left > 0:
            for child_id in order.children:
                child = self.orders.get(child_id)
                if child is not None and child.parent is not None:
                    self.finish(child, Status.CANCELED, now_ms)

    def _changed(self, order: LiveOrder, status: Status, now_ms: int) -> None:
        self._events.append(OrderChanged(state_of(order), status, now_ms))

    def _take_events(self) -> list[ExchangeEvent]:
        events, self._events = self._events, []
        return events

    # --- matching ---------------------------------------------------------------------------------------------------

    def _work(self, order: LiveOrder, now_ms: int, limit: Decimal | None = None) -> Status:
        """Match an order at once, then rest or end what is left. Returns OPEN, FILLED or why nothing traded."""
        request, market = order.request, self.markets[order.request.symbol]
        limit = request.price if limit is None else limit
        rests = not request.trigger.is_market if request.trigger else request.time_in_force is not TimeInForce.IOC
        self._match(market, order, limit, now_ms)
        if order.order_id not in self.orders:
            return Status.FILLED if order.filled else Status.CANCELED
        if rests:
            market.book.rest(order)
            self._changed(order, Status.OPEN, now_ms)
            return Status.OPEN
        none = Status.NO_LIQUIDITY if order.is_triggered else Status.NO_MATCH
        status = Status.FILLED if order.filled else none
        self.finish(order, status, now_ms)
        return status

    def _match(self, market: Market, order: LiveOrder, limit: Decimal, now_ms: int) -> None:
        side, floor = order.request.side, ZERO
        if self.rules.ioc_fraction is not None and order.request.time_in_force is TimeInForce.IOC:
            floor = order.left - market.instrument.round_size(order.left * self.rules.ioc_fraction)
        while order.order_id in self.orders and order.left > floor:
            maker = market.book.best_maker(side.opposite, limit)
            if maker is None:
                return
            if maker.order is not None and maker.order.account == order.account:
                self.finish(maker.order, Status.SELF_TRADE, now_ms)
                continue
            size = min(order.left - floor, maker.size)
            if maker.order is None:
                market.book.consume_outside(side.opposite, maker.price, size)
            self.execute(market, maker.price, size, order, maker.order, side, now_ms)

    def _fill_from_outside(self, market: Market, order: LiveOrder, now_ms: int) -> None:
        side = order.request.side
        while order.order_id in self.orders and order.left > 0:
            maker = market.book.best_maker(side.opposite, order.request.price)
            if maker is None or maker.order is not None:
                return
            size = min(order.left, maker.size)
            market.book.consume_outside(side.opposite, maker.price, size)
            self.execute(market, order.request.price, size, None, order, side.opposite, now_ms)

    def execute(
        self,
        market: Market,
        price: Decimal,
        size: Decimal,
        taker: LiveOrder | None,
        maker: LiveOrder | None,
        side: Side,
        now_ms: int,
        liquidation: Liquidation | None = None,
    ) -> None:
        """One trade; `side` is the aggressor's. None stands for an outside participant."""
        names = (taker.account if taker else None, maker.account if maker else None)
        buyer, seller = names if side is Side.BUY else names[::-1]
        trade_id = self._print(market, price, size, side, buyer, seller, now_ms)
        filled = [(o, self.accounts[o.account].held(market.instrument.symbol)) for o in (taker, maker) if o]
        for order, _ in filled:
            self._book_fill(market, order, price, size, order is taker, trade_id, now_ms, liquidation)
        for order, start in filled:
            if order.left <= 0:
                self.finish(order, Status.FILLED, now_ms)
            self._after_fill(market, order, start, now_ms)

    def _print(
        self,
        market: Market,
        price: Decimal,
        size: Decimal,
        side: Side,
        buyer: str | None,
        seller: str | None,
        now_ms: int,
    ) -> int:
        self._next_trade_id += 1
        market.last = price
        symbol = market.instrument.symbol
        self._events.append(Printed(symbol, price, size, side, self._next_trade_id, now_ms, buyer, seller))
        return self._next_trade_id

    def _book_fill(
        self,
        market: Market,
        order: LiveOrder,
        price: Decimal,
        size: Decimal,
        is_taker: bool,
        trade_id: int,
        now_ms: int,
        liquidation: Liquidation | None,
    ) -> None:
        account, side, instrument = self.accounts[order.account], order.request.side, market.instrument
        value = price * size * instrument.multiplier
        rate = self.rules.taker_rate if is_taker else self.rules.maker_rate
        fee = value * rate if self.rules.fee_per_unit is None else size * self.rules.fee_per_unit
        start = account.held(instrument.symbol)
        realised = self._move_position(account, market, side, price, size)
        account.balance -= fee
        account.volume += value
        account.maker_volume += ZERO if is_taker else value
        order.left -= size
        order.filled += size
        order.filled_value += price * size
        self._events.append(
            Execution(
                order.account,
                order.order_id,
                order.request.client_id,
                instrument.symbol,
                side,
                price,
                size,
                fee,
                realised,
                start,
                is_taker,
                trade_id,
                now_ms,
                liquidation,
            )
        )

    def _move_position(self, account: Account, market: Market, side: Side, price: Decimal, size: Decimal) -> Decimal:
        """Apply a fill and move isolated collateral with it; return the realised profit."""
        symbol = market.instrument.symbol
        leverage = leverage_of(account, market)
        fresh = Position(symbol, multiplier=market.instrument.multiplier, leverage=leverage)
        position = account.positions.setdefault(symbol, fresh)
        before = abs(position.size)
        closing = min(size, position.closable(side))
        realised = position.apply(side, price, size)
        account.balance += realised
        if closing:
            released = position.isolated_margin * closing / before
            position.isolated_margin -= released
            account.balance += released
        if size > closing:
            position.leverage = leverage
            if not leverage.is_cross:
                posted = (size - closing) * price * market.instrument.multiplier / leverage.value
                position.isolated_margin += posted
                account.balance -= posted
            if closing:
                position.funding = ZERO
        if not position.size:
            del account.positions[symbol]
        return realised

    def _after_fill(self, market: Market, order: LiveOrder, start: Decimal, now_ms: int) -> None:
        """What a fill does to the account's other orders: children, siblings, reduce-only ones."""
        if order.left <= 0:
            for child_id in order.children:
                if child := self.orders.get(child_id):
                    child.parent = None
                    if self._is_met(market, child):
                        self._fire(market, child, now_ms)
        if order.group:
            for sibling in self.orders_of(order.account, order.request.symbol):
                if sibling.group == order.group and sibling is not order:
                    self.finish(sibling, Status.SIBLING_FILLED, now_ms)
        held = self.accounts[order.account].held(order.request.symbol)
        for other in self.orders_of(order.account, order.request.symbol):
            if other is not order and other.parent is None and other.request.reduce_only:
                self._follow_position(other, start, held, now_ms)

    def _follow_position(self, order: LiveOrder, start: Decimal, held: Decimal, now_ms: int) -> None:
        """Reduce-only orders go when the position closes and never exceed it (8.3)."""
        is_useless = held == 0 or held * order.request.side.sign > 0
        if order.is_waiting_trigger:
            closed = start != 0 and held == 0
            flipped = start * held < 0 and is_useless  # a stop of the new side, placed beforehand, stays
            if (closed or flipped) and not self.rules.keep_stops_on_close:
                self.finish(order, Status.REDUCE_ONLY_CANCELED, now_ms)
        elif is_useless:
            self.finish(order, Status.REDUCE_ONLY_CANCELED, now_ms)
        else:
            order.left = min(order.left, abs(held))

    # --- triggers ---------------------------------------------------------------------------------------------------

    def _reached(self, market: Market, request: Request) -> bool:
        trigger = request.trigger
        assert trigger is not None
        price = market.last if self.rules.triggers_on_last else market.mark
        upwards = (request.side is Side.BUY) == trigger.is_stop
        return bool(price) and (price >= trigger.price if upwards else price <= trigger.price)

    def _is_met(self, market: Market, order: LiveOrder) -> bool:
        """A whole-position trigger waits while there is no position for it to close."""
        if not order.is_waiting_trigger or order.parent is not None or not self._reached(market, order.request):
            return False
        position = self.accounts[order.account].positions.get(order.request.symbol)
        return not order.request.whole_position or (position is not None and position.closable(order.request.side) > 0)

    def _fire_triggers(self, market: Market, now_ms: int) -> None:
        symbol = market.instrument.symbol
        for order in [o for o in self.orders.values() if o.request.symbol == symbol and o.request.trigger]:
            if order.order_id in self.orders and self._is_met(market, order):
                self._fire(market, order, now_ms)

    def _fire(self, market: Market, order: LiveOrder, now_ms: int) -> None:
        request, trigger = order.request, order.request.trigger
        assert trigger is not None
        order.is_triggered = True
        position = self.accounts[order.account].positions.get(request.symbol)
        closable = position.closable(request.side) if position else ZERO
        self._changed(order, Status.TRIGGERED, now_ms)
        if request.reduce_only and not closable:
            self.finish(order, Status.REDUCE_ONLY, now_ms)
            return
        if request.whole_position:
            order.left = closable
        elif request.reduce_only:
            order.left = min(order.left, closable)
        limit = request.price
        if trigger.is_market and not self.rules.trigger_price_binds:
            limit = trigger.price * (1 + request.side.sign * TEN_PERCENT)
        self._work(order, now_ms, limit)


def state_of(order: LiveOrder) -> OrderState:
    return OrderState(
        order.order_id,
        order.account,
        order.request,
        order.left,
        order.time_ms,
        order.is_triggered,
        tuple(order.children),
        order.parent is not None,
    )
