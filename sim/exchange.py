"""A whole exchange in memory: matching, triggers, margin, liquidation, funding. No I/O and no clock.

Time comes in as an argument, what happened goes out as a list of events (`sim.orders`), so a server, the dry run, a
backtest and the deterministic simulation share it. Rules: protocol page 3.3, 6 and 8; where sources conflict
`ExchangeRules` has a switch.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from core.model import ZERO, Instrument, Side, TimeInForce
from sim.accounts import Account, Leverage, MarginTable, Position, Tier
from sim.book import Level, OrderBook
from sim.margin import Market, cross_maintenance, cross_value, leverage_of, maintenance, order_margin, worst_exposure
from sim.orders import (
    Answer,
    ExchangeEvent,
    Execution,
    FundingPaid,
    Liquidation,
    LiveOrder,
    OrderChanged,
    OrderState,
    Placed,
    Printed,
    Refused,
    Request,
    Status,
)

TEN_PERCENT = Decimal("0.1")
PARTIAL_LIQUIDATION_ABOVE = Decimal(100_000)  # notional
COOLDOWN_MS = 30_000
NO_LIMIT = {Side.BUY: Decimal("Infinity"), Side.SELL: ZERO}


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


class Exchange:
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

    # --- accounts ---------------------------------------------------------------------------------------------------

    def open_account(self, name: str, balance: Decimal) -> Account:
        """The account of that name, made with `balance` if it is new."""
        return self.accounts.setdefault(name, Account(name, balance))

    def orders_of(self, account: str, symbol: str | None = None) -> list[LiveOrder]:
        """Oldest first, waiting triggers and waiting children included."""
        return [o for o in self.orders.values() if o.account == account and symbol in (None, o.request.symbol)]

    def set_leverage(self, account: str, symbol: str, leverage: Leverage) -> None:
        """An open position takes the new number without being margined again; its mode must not change (3.6)."""
        held = self.accounts[account]
        held.leverages[symbol] = leverage
        if position := held.positions.get(symbol):
            assert position.leverage.is_cross == leverage.is_cross, "the caller refuses a change of mode"
            position.leverage = leverage

    def initial_margin(self, account: str) -> Decimal:
        """Free collateral that positions and resting orders of the account need."""
        return sum((self._needed(account, symbol) for symbol in self._symbols_of(account)), ZERO)

    def _symbols_of(self, account: str) -> list[str]:
        symbols = dict.fromkeys(self.accounts[account].positions)
        symbols.update(dict.fromkeys(o.request.symbol for o in self.orders.values() if o.account == account))
        return list(symbols)

    def _exposure(self, account: str, symbol: str, extra: tuple[Side, Decimal] | None = None) -> Decimal:
        resting = [
            (o.request.side, o.left)
            for o in self.orders_of(account, symbol)
            if not o.request.reduce_only and not o.is_waiting_trigger and o.parent is None
        ]
        return worst_exposure(self.accounts[account].held(symbol), [*resting, extra] if extra else resting)

    def _needed(self, account: str, symbol: str, extra: tuple[Side, Decimal] | None = None) -> Decimal:
        return order_margin(self.accounts[account], self.markets[symbol], self._exposure(account, symbol, extra))

    # --- prices -----------------------------------------------------------------------------------------------------

    def set_book(self, symbol: str, bids: Iterable[Level], asks: Iterable[Level], now_ms: int) -> list[ExchangeEvent]:
        """Replace all outside liquidity; users' resting orders that it crosses are filled at their own price."""
        market = self.markets[symbol]
        market.book.replace(bids, asks)
        for side in Side:
            for order in market.book.resting(side):
                self._fill_from_outside(market, order, now_ms)
        return self._take_events()

    def trade(self, symbol: str, price: Decimal, size: Decimal, side: Side, now_ms: int) -> list[ExchangeEvent]:
        """Print an outside trade. Users' orders at better prices fill first, then at `price` in the queue's order."""
        market = self.markets[symbol]
        left = size
        for order in market.book.resting(side.opposite):
            gap = side.sign * (price - order.request.price)  # > 0: the order is better than the trade
            if gap < 0 or left <= 0:
                break
            if order.order_id not in self.orders:
                continue  # went with an earlier fill
            if gap == 0 and order.ahead > 0:
                passed = min(order.ahead, left)
                market.book.pass_queue(order.request.side, price, passed)
                left -= passed
            filled = min(left, order.left)
            if filled > 0:
                self._execute(market, order.request.price, filled, None, order, side, now_ms)
                left -= filled
        if left > 0:
            self._print(market, price, left, side, None, None, now_ms)
        if self.rules.triggers_on_last:
            self._fire_triggers(market, now_ms)
        return self._take_events()

    def set_mark(self, symbol: str, mark: Decimal, now_ms: int, oracle: Decimal | None = None) -> list[ExchangeEvent]:
        """Move the mark (and the oracle): triggers fire, then accounts without margin are liquidated."""
        market = self.markets[symbol]
        market.mark = mark
        market.oracle = mark if oracle is None else oracle
        if not self.rules.triggers_on_last:
            self._fire_triggers(market, now_ms)
        if self.rules.has_margin:
            for account in list(self.accounts.values()):
                if symbol in account.positions:
                    self._liquidate_if_due(account, market, now_ms)
        return self._take_events()

    def settle_funding(self, symbol: str, rate: Decimal, now_ms: int) -> list[ExchangeEvent]:
        """One hour's payment on the oracle price; a positive rate is paid by longs."""
        market = self.markets[symbol]
        for account in self.accounts.values():
            if position := account.positions.get(symbol):
                amount = -position.size * market.oracle * rate * market.instrument.multiplier
                account.balance += amount
                position.funding -= amount
                account.funding_ever[symbol] = account.funding_ever.get(symbol, ZERO) - amount
                self._events.append(FundingPaid(account.name, symbol, amount, position.size, rate, now_ms))
        return self._take_events()

    # --- orders -----------------------------------------------------------------------------------------------------

    def check(self, request: Request) -> Status | None:
        """The static fault of a request, if it has one: refused without a record, with its whole batch (3.9)."""
        market = self.markets[request.symbol]
        instrument = market.instrument
        prices = [request.price] + ([request.trigger.price] if request.trigger else [])
        if any(p <= 0 or instrument.round_price(p) != p for p in prices):
            return Status.TICK
        if request.size == 0 and not request.whole_position:
            return Status.ZERO_SIZE
        if request.size < 0 or instrument.round_size(request.size) != request.size:
            return Status.LOT
        band = self.rules.price_band
        if (
            band is not None
            and market.mark
            and not market.mark * (1 - band) < request.price <= market.mark / (1 - band)
        ):
            return Status.BAND
        return None

    def submit(
        self, account: str, request: Request, now_ms: int, group: int = 0, parent: int | None = None
    ) -> tuple[Answer, list[ExchangeEvent]]:
        """Place one order that passed `check`. Its account must be open."""
        order = LiveOrder(self._new_order_id(), account, request, request.size, now_ms, group=group, parent=parent)
        refusal = self._runtime_fault(order)
        if refusal is not None:
            self._finish(order, refusal, now_ms)
            book = self.markets[request.symbol].book
            bbo = (book.best(Side.BUY), book.best(Side.SELL)) if refusal is Status.WOULD_CROSS else (None, None)
            return Refused(refusal, order.order_id, *bbo), self._take_events()
        self.orders[order.order_id] = order
        if parent is not None:
            self.orders[parent].children.append(order.order_id)
            self._changed(order, Status.OPEN, now_ms)
            return self._placed(order, Status.OPEN), self._take_events()
        if request.trigger is not None:
            self._changed(order, Status.OPEN, now_ms)
            if self._is_met(self.markets[request.symbol], order):
                self._fire(self.markets[request.symbol], order, now_ms)
            return self._placed(order, Status.OPEN), self._take_events()
        status = self._work(order, now_ms)
        if status in (Status.OPEN, Status.FILLED):
            return self._placed(order, status), self._take_events()
        return Refused(status, order.order_id), self._take_events()

    def submit_bracket(
        self, account: str, entry: Request, children: Iterable[Request], now_ms: int
    ) -> tuple[Answer, list[Answer], list[ExchangeEvent]]:
        """An entry with children that wait until it has filled completely (8.2, normalTpsl)."""
        group, events, answers = self.new_group(), [], []
        order = LiveOrder(self._new_order_id(), account, entry, entry.size, now_ms)
        refusal = self._runtime_fault(order)
        if refusal is not None:
            self._finish(order, refusal, now_ms)
            return Refused(refusal, order.order_id), [], self._take_events()
        self.orders[order.order_id] = order
        for child in children:
            answer, more = self.submit(account, child, now_ms, group, order.order_id)
            answers.append(answer)
            events += more
        status = self._work(order, now_ms)
        is_taken = status in (Status.OPEN, Status.FILLED)
        answer = self._placed(order, status) if is_taken else Refused(status, order.order_id)
        return answer, answers, events + self._take_events()

    def cancel(self, account: str, order_id: int, now_ms: int, status: Status = Status.CANCELED) -> list[ExchangeEvent]:
        """No events: the account has no such order (never placed, canceled or filled)."""
        order = self.orders.get(order_id)
        if order is None or order.account != account:
            return []
        self._finish(order, status, now_ms)
        return self._take_events()

    def new_group(self) -> int:
        """A number that ties siblings: when one of them fills, the others are canceled."""
        self._next_group += 1
        return self._next_group

    def would_cross(self, request: Request) -> bool:
        best = self.markets[request.symbol].book.best(request.side.opposite)
        return best is not None and request.side.sign * (request.price - best) >= 0

    def deal(
        self, account: str, symbol: str, side: Side, size: Decimal, price: Decimal, now_ms: int
    ) -> list[ExchangeEvent]:
        """Give an account a fill at `price` against nobody: a trade made by hand, elsewhere."""
        request = Request(symbol, side, size, price, TimeInForce.IOC, is_market=True)
        order = LiveOrder(self._new_order_id(), account, request, size, now_ms)
        self._execute(self.markets[symbol], price, size, order, None, side, now_ms)
        return self._take_events()

    # --- checks -----------------------------------------------------------------------------------------------------

    def _runtime_fault(self, order: LiveOrder) -> Status | None:
        request, account = order.request, self.accounts[order.account]
        market = self.markets[request.symbol]
        if len(self.orders) >= self.rules.max_open_orders:
            count = len(self.orders_of(order.account))
            if count >= self.rules.max_open_orders:
                return Status.TOO_MANY
        if request.trigger is not None:
            return self._trigger_fault(market, request) if order.parent is None else None
        position = account.positions.get(request.symbol)
        closable = position.closable(request.side) if position else ZERO
        if request.reduce_only and (not closable or (self.rules.reject_oversize and request.size > closable)):
            return Status.REDUCE_ONLY
        if request.reduce_only:
            order.left = min(order.left, closable)
        closes_all = closable > 0 and order.left == closable
        value = order.left * request.price * market.instrument.multiplier
        if value < market.instrument.min_notional and not closes_all:
            return Status.MIN_NOTIONAL
        if request.time_in_force is TimeInForce.ALO and self.would_cross(request):
            return Status.WOULD_CROSS
        if self.rules.has_margin and not request.reduce_only and not self._has_margin(order):
            return Status.MARGIN
        return None

    def _has_margin(self, order: LiveOrder) -> bool:
        account, symbol = self.accounts[order.account], order.request.symbol
        extra = (order.request.side, order.left)
        if self._exposure(account.name, symbol, extra) <= self._exposure(account.name, symbol):
            return True
        others = sum((self._needed(account.name, s) for s in self._symbols_of(account.name) if s != symbol), ZERO)
        return others + self._needed(account.name, symbol, extra) <= cross_value(account, self.markets)

    def _trigger_fault(self, market: Market, request: Request) -> Status | None:
        trigger = request.trigger
        assert trigger is not None
        wrong_side = trigger.is_market and request.side.sign * (request.price - trigger.price) < 0
        if wrong_side and not self.rules.allow_wrong_side_price:
            return Status.BAD_TRIGGER
        if not self.rules.fire_met_trigger and self._reached(market, request):
            return Status.BAD_TRIGGER
        return None

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
        self._finish(order, status, now_ms)
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
                self._finish(maker.order, Status.SELF_TRADE, now_ms)
                continue
            size = min(order.left - floor, maker.size)
            if maker.order is None:
                market.book.consume_outside(side.opposite, maker.price, size)
            self._execute(market, maker.price, size, order, maker.order, side, now_ms)

    def _fill_from_outside(self, market: Market, order: LiveOrder, now_ms: int) -> None:
        side = order.request.side
        while order.order_id in self.orders and order.left > 0:
            maker = market.book.best_maker(side.opposite, order.request.price)
            if maker is None or maker.order is not None:
                return
            size = min(order.left, maker.size)
            market.book.consume_outside(side.opposite, maker.price, size)
            self._execute(market, order.request.price, size, None, order, side.opposite, now_ms)

    def _execute(
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
                self._finish(order, Status.FILLED, now_ms)
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
                    self._finish(sibling, Status.SIBLING_FILLED, now_ms)
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
                self._finish(order, Status.REDUCE_ONLY_CANCELED, now_ms)
        elif is_useless:
            self._finish(order, Status.REDUCE_ONLY_CANCELED, now_ms)
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
            self._finish(order, Status.REDUCE_ONLY, now_ms)
            return
        if request.whole_position:
            order.left = closable
        elif request.reduce_only:
            order.left = min(order.left, closable)
        limit = request.price
        if trigger.is_market and not self.rules.trigger_price_binds:
            limit = trigger.price * (1 + request.side.sign * TEN_PERCENT)
        self._work(order, now_ms, limit)

    # --- liquidation ------------------------------------------------------------------------------------------------

    def _liquidate_if_due(self, account: Account, market: Market, now_ms: int) -> None:
        position = account.positions.get(market.instrument.symbol)
        if position is None:
            return
        if position.leverage.is_cross:
            equity, needed = cross_value(account, self.markets), cross_maintenance(account, self.markets)
            due = [p for p in account.positions.values() if p.leverage.is_cross]
        else:
            equity, needed = position.isolated_margin + position.pnl(market.mark), maintenance(position, market)
            due = [position]
        if equity >= needed:
            return
        for order in self.orders_of(account.name):
            if not order.request.reduce_only and not order.is_waiting_trigger:
                self._finish(order, Status.LIQUIDATED, now_ms)
        for each in due:
            self._liquidate(account, each, equity < needed * 2 / 3, now_ms)

    def _liquidate(self, account: Account, position: Position, is_backstop: bool, now_ms: int) -> None:
        market = self.markets[position.symbol]
        side = Side.SELL if position.size > 0 else Side.BUY
        size = abs(position.size)
        recent = account.liquidated_ms is not None and now_ms - account.liquidated_ms < COOLDOWN_MS
        if not is_backstop and not recent and position.notional(market.mark) > PARTIAL_LIQUIDATION_ABOVE:
            size = max(market.instrument.round_size(size / 5), market.instrument.lot_size)
            account.liquidated_ms = now_ms
        request = Request(position.symbol, side, size, market.mark, TimeInForce.IOC, reduce_only=True, is_market=True)
        order = LiveOrder(self._new_order_id(), account.name, request, size, now_ms)
        self.orders[order.order_id] = order
        about = Liquidation(account.name, market.mark, is_backstop)
        while order.order_id in self.orders and order.left > 0:
            maker = None if is_backstop else market.book.best_maker(side.opposite, NO_LIMIT[side])
            if maker is None and not is_backstop:
                self._finish(order, Status.FILLED if order.filled else Status.NO_LIQUIDITY, now_ms)
            elif maker is None:
                self._execute(market, market.mark, order.left, order, None, side, now_ms, about)
            elif maker.order is not None and maker.order.account == account.name:
                self._finish(maker.order, Status.SELF_TRADE, now_ms)
            else:
                size = min(order.left, maker.size)
                if maker.order is None:
                    market.book.consume_outside(side.opposite, maker.price, size)
                self._execute(market, maker.price, size, order, maker.order, side, now_ms, about)
        if is_backstop and not account.positions:
            account.balance = ZERO  # what is left belongs to the liquidator

    # --- book-keeping -----------------------------------------------------------------------------------------------

    def _new_order_id(self) -> int:
        self._next_order_id += 1
        return self._next_order_id

    def _placed(self, order: LiveOrder, status: Status) -> Placed:
        return Placed(order.order_id, status, order.filled, order.average, order.request.client_id)

    def _finish(self, order: LiveOrder, status: Status, now_ms: int) -> None:
        """The end of an order, and of the children that still waited for it."""
        self.orders.pop(order.order_id, None)
        self.markets[order.request.symbol].book.remove(order)
        self._changed(order, status, now_ms)
        if order.left > 0:
            for child_id in order.children:
                child = self.orders.get(child_id)
                if child is not None and child.parent is not None:
                    self._finish(child, Status.CANCELED, now_ms)

    def _changed(self, order: LiveOrder, status: Status, now_ms: int) -> None:
        self._events.append(OrderChanged(state_of(order), status, now_ms))

    def _take_events(self) -> list[ExchangeEvent]:
        events, self._events = self._events, []
        return events


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
