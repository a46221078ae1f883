"""A whole exchange in memory: books, orders, triggers, margin, liquidation, funding. No I/O and no clock.

Time comes in as an argument, what happened goes out as a list of events (`sim.orders`), so a server, the dry run, a
backtest and the deterministic simulation share it. Rules: protocol page 3.3, 6 and 8; where sources conflict
`ExchangeRules` has a switch.
"""

from collections.abc import Iterable
from decimal import Decimal

from core.model import ZERO, Side, TimeInForce
from sim.accounts import Leverage
from sim.book import Level
from sim.engine import Engine, ExchangeRules, state_of
from sim.liquidation import liquidate_if_due
from sim.margin import Market, cross_value, order_margin, worst_exposure
from sim.orders import Answer, ExchangeEvent, FundingPaid, LiveOrder, Refused, Request, Status

__all__ = ["Exchange", "ExchangeRules", "state_of"]


class Exchange(Engine):
    """What may be asked of the exchange. Every method that changes something returns what happened, in order."""

    # --- accounts ---------------------------------------------------------------------------------------------------

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
        left, outside = size, ZERO
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
                outside += passed
            filled = min(left, order.left)
            if filled > 0:
                self.execute(market, order.request.price, filled, None, order, side, now_ms)
                left -= filled
        if left + outside > 0:
            self._print(market, price, left + outside, side, None, None, now_ms)
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
                    liquidate_if_due(self, account, market, now_ms)
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
        order = LiveOrder(self.new_order_id(), account, request, request.size, now_ms, group=group, parent=parent)
        refusal = self._runtime_fault(order)
        if refusal is not None:
            self.finish(order, refusal, now_ms)
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
        order = LiveOrder(self.new_order_id(), account, entry, entry.size, now_ms)
        refusal = self._runtime_fault(order)
        if refusal is not None:
            self.finish(order, refusal, now_ms)
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
        self.finish(order, status, now_ms)
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
        order = LiveOrder(self.new_order_id(), account, request, size, now_ms)
        self.execute(self.markets[symbol], price, size, order, None, side, now_ms)
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
