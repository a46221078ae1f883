"""Events for the brain, from the plausible to what no adapter would ever make."""

from collections.abc import Callable
from typing import Any

from core import messages as m
from core.model import Book, Fill, MarkPrice, Order, OrderStatus, OrderType, Quote, Trade, VenuePosition, WorkingOrder
from core.state import State
from tests.fuzz.values import ODD_INTEGERS, D, Values


class Maker(Values):
    """Makes one event at a time, with an eye on the state, so that much of the nonsense concerns what is there."""

    # --- answers to what was asked ----------------------------------------------------------------------------------

    def answer(self, state: State) -> Any:
        """A half-plausible answer to something that was asked, or None when nothing waits."""
        if not self.asked:
            return None
        action = self.asked.pop(self.rng.randrange(len(self.asked)))
        match action:
            case m.Submit():
                return self.order_answer(action.order)
            case m.Settle():
                return self.settled(action.order)
            case m.Cancel():
                return m.CancelAnswered(
                    symbol=action.symbol, order_id=action.order_id, gone=self.rng.random() < 0.8, error=None,
                    received_ms=self.received(),
                )  # fmt: skip
            case m.Modify():
                return m.ModifyAnswered(
                    symbol=action.symbol, order_id=action.order_id, done=self.rng.choice((True, True, False, None)),
                    reason=self.rng.choice((None, *m.RejectReason)), error=None, received_ms=self.received(),
                )  # fmt: skip
            case m.ReadOrders():
                return self.listing(state)
            case m.ReadAccount():
                return self.snapshot(state)
        return None

    def order_answer(self, order: Order) -> Any:
        common = {"client_id": order.client_id, "symbol": order.symbol, "received_ms": self.received()}
        luck = self.rng.random()
        if luck < 0.12:
            return m.OrderUnknown(error=self.text(), **common)
        if luck < 0.2:
            reasons = [r for r in m.RejectReason if r not in (m.RejectReason.CREDENTIALS, m.RejectReason.ACCOUNT)]
            return m.OrderRejected(reason=self.rng.choice(reasons), text=self.text(), **common)
        rests = order.type in (OrderType.STOP, OrderType.LIMIT) or not self.rules.can_reduce_only
        return m.OrderAccepted(
            order_id=None if order.whole_position else self.id(),
            status=OrderStatus.ACCEPTED if rests else OrderStatus.FILLED,
            filled_size=self.number(D(0) if rests else order.size), average_price=self.number(order.price), **common,
        )  # fmt: skip

    def settled(self, order: Order) -> Any:
        status = self.rng.choice(tuple(OrderStatus))
        return m.OrderSettled(
            client_id=order.client_id, symbol=order.symbol, order_id=self.id(), status=status,
            filled_size=self.number(order.size if status is OrderStatus.FILLED else D(0)), text=self.text(),
            received_ms=self.received(),
        )  # fmt: skip

    def listing(self, state: State) -> m.WorkingOrders:
        return m.WorkingOrders(orders=self.truth(state), requested_ms=self.now_ms, received_ms=self.received())

    def truth(self, state: State) -> tuple[WorkingOrder, ...]:
        """What an honest venue would list, at times with a wild row."""
        rows = []
        for symbol, market in state.markets.items():
            for record in market.live_orders():
                order = record.order
                if record.rests and record.accepted_ms is not None:
                    rows.append(WorkingOrder(
                        symbol, order.side, record.order_id or self.id(), order.client_id, order.size,
                        order.price, order.trigger_price, order.type is OrderType.STOP, order.reduce_only,
                        order.whole_position, self.now_ms,
                    ))  # fmt: skip
        if self.odd():
            rows.append(self.working(state, self.symbol()))
        return tuple(rows)

    def snapshot(self, state: State) -> m.AccountSnapshot:
        """What an honest venue would say, at times with a wild position; at times flat."""
        positions = []
        for symbol, market in state.markets.items():
            if market.position is not None and self.rng.random() < 0.9:
                position = market.position
                rules = self.rules.markets[symbol]
                positions.append(VenuePosition(
                    symbol, position.side.sign * position.size, position.entry_price, D(0), None, 1, True,
                    contract_id=rules.instrument.contract_id,
                ))  # fmt: skip
        if self.odd():
            positions.append(self.held(self.symbol()))
        has_pnl = self.rules.can_reduce_only
        equity = self.number(D(50_000))
        return m.AccountSnapshot(
            equity=equity, available=self.number(D(50_000)), positions=tuple(positions), orders=self.truth(state),
            requested_ms=self.when(5), time_ms=self.when(5), balance=None if has_pnl else equity,
            has_open_pnl=has_pnl, can_trade=not (self.odd() and self.odd()), received_ms=self.received(),
        )  # fmt: skip

    # --- anything at all ----------------------------------------------------------------------------------------------

    def any_event(self, state: State) -> Any:
        weight = self.rng.random()
        if weight < 0.01:
            return self.rng.choice(RARE)(self, state)
        return self.rng.choice(COMMON)(self, state)

    def trade(self, state: State) -> Trade:
        symbol = self.symbol()
        price = self.a_price(symbol)
        if price.is_finite() and symbol in self.price and D("0.5") < price / self.price[symbol] < 2:
            self.price[symbol] = price
        return Trade(symbol, price, self.size(symbol), self.side(), self.id(), self.when(), self.received())

    def quote(self, state: State) -> Quote:
        symbol = self.symbol()
        price = self.a_price(symbol)
        market = self.rules.markets.get(symbol)
        tick = D("0.1") if market is None or not price.is_finite() else market.instrument.tick_at(D(50_000))
        bid = None if self.odd() else price
        ask = None if self.odd() else self.number(price + tick) if price.is_finite() and abs(price) < 10**12 else price
        return Quote(symbol, bid, self.size(symbol), ask, self.size(symbol), self.when(), self.received())

    def book(self, state: State) -> Book:
        symbol = self.symbol()
        sides = [
            tuple((self.a_price(symbol), self.size(symbol)) for _ in range(self.rng.randint(0, 3))) for _ in range(2)
        ]
        return Book(symbol, sides[0], sides[1], self.when(), self.received())

    def mark(self, state: State) -> MarkPrice:
        symbol = self.symbol()
        price = self.a_price(symbol)
        return MarkPrice(symbol, price, self.rng.choice((None, price)), self.rng.choice((None, price)), self.received())

    def polled(self, state: State) -> m.PolledPrice:
        symbol = self.symbol()
        price = self.a_price(symbol)
        return m.PolledPrice(
            symbol=symbol, price=price, bid=self.rng.choice((None, price)), ask=self.rng.choice((None, price)),
            mark=self.rng.choice((None, price)), time_ms=None if self.rng.random() < 0.3 else self.when(),
            received_ms=self.received(),
        )  # fmt: skip

    def fill(self, state: State) -> Fill:
        symbol = self.symbol()
        market = state.markets.get(symbol)
        position = None if market is None else market.position
        start = D(0) if position is None else position.side.sign * position.size
        return Fill(
            symbol=symbol, side=self.side(), price=self.a_price(symbol), size=self.size(symbol),
            fee=self.number(D("0.1")), closed_pnl=self.number(D(1)), order_id=self.order_id(state, symbol),
            client_id=self.rng.choice((None, self.client_id(state, symbol))), fill_id=f"f{self.id()}",
            time_ms=self.when(), received_ms=self.received(),
            start_position=self.rng.choice((None, start, self.number(start))) if self.rules.can_reduce_only else None,
            is_snapshot=self.rng.random() < 0.3, is_liquidation=self.rng.random() < 0.05,
        )  # fmt: skip

    def update(self, state: State) -> m.OrderUpdate:
        symbol = self.symbol()
        return m.OrderUpdate(
            symbol=symbol, order_id=self.order_id(state, symbol),
            client_id=self.rng.choice((None, self.client_id(state, symbol))),
            status=self.rng.choice(tuple(OrderStatus)),
            venue_status=self.text(), size_left=self.size(symbol), time_ms=self.when(),
            average_price=self.rng.choice((None, self.a_price(symbol))),
            working=self.working(state, symbol) if self.rng.random() < 0.3 else None, received_ms=self.received(),
        )  # fmt: skip

    def stray_answer(self, state: State) -> Any:
        """An answer to an order that may never have been, may have ended, or is another market's."""
        symbol = self.symbol()
        common = {"client_id": self.client_id(state, symbol), "symbol": symbol, "received_ms": self.received()}
        what = self.rng.randrange(6)
        if what == 0:
            return m.OrderAccepted(
                order_id=self.order_id(state, symbol), status=self.rng.choice(tuple(OrderStatus)),
                filled_size=self.size(symbol), average_price=self.rng.choice((None, self.a_price(symbol))), **common,
            )  # fmt: skip
        if what == 1:
            reasons = [r for r in m.RejectReason if r not in (m.RejectReason.CREDENTIALS, m.RejectReason.ACCOUNT)]
            return m.OrderRejected(reason=self.rng.choice(reasons), text=self.text(), **common)
        if what == 2:
            return m.OrderUnknown(error=self.text(), **common)
        if what == 3:
            return m.OrderSettled(
                order_id=self.order_id(state, symbol), status=self.rng.choice(tuple(OrderStatus)),
                filled_size=self.size(symbol), text=self.text(), **common,
            )  # fmt: skip
        if what == 4:
            return m.CancelAnswered(
                symbol=symbol, order_id=self.order_id(state, symbol), gone=self.rng.random() < 0.5, error=self.text(),
                received_ms=self.received(), reason=self.rng.choice((None, *m.RejectReason)),
            )  # fmt: skip
        return m.ModifyAnswered(
            symbol=symbol, order_id=self.order_id(state, symbol), done=self.rng.choice((True, False, None)),
            reason=self.rng.choice((None, *m.RejectReason)), error=self.text(), received_ms=self.received(),
        )  # fmt: skip

    def wild_listing(self, state: State) -> m.WorkingOrders:
        rows = tuple(self.working(state, self.symbol()) for _ in range(self.rng.randint(0, 3)))
        return m.WorkingOrders(orders=rows, requested_ms=self.when(5), received_ms=self.received())

    def an_account(self, state: State) -> m.AccountSnapshot:
        return self.snapshot(state)

    def account_update(self, state: State) -> m.AccountUpdate:
        return m.AccountUpdate(balance=self.number(D(50_000)), can_trade=True, received_ms=self.received())

    def position_update(self, state: State) -> m.PositionUpdate:
        return m.PositionUpdate(position=self.held(self.symbol()), received_ms=self.received())

    def glance(self, state: State) -> m.PositionsSeen:
        held = tuple(self.held(self.symbol()) for _ in range(self.rng.randint(0, 2)))
        return m.PositionsSeen(positions=held, requested_ms=self.when(5), received_ms=self.received())

    def bar_update(self, state: State) -> m.BarUpdate:
        symbol, at = self.symbol(), self.when(2_000)
        return m.BarUpdate(symbol=symbol, bar=self.bar(symbol, at - at % 1_000), received_ms=self.received())

    def history(self, state: State) -> m.BarHistory:
        symbol = self.symbol()
        first = self.now_ms - self.now_ms % 1_000 - 5_000
        bars = tuple(self.bar(symbol, self.when() if self.odd() else first + n * 1_000) for n in range(5))
        return m.BarHistory(symbol=symbol, bars=bars, received_ms=self.received())

    def sample(self, state: State) -> m.RestSample:
        symbol = self.symbol()
        return m.RestSample(symbol=symbol, price=self.a_price(symbol), time_ms=self.when(), received_ms=self.received())

    def clock(self, state: State) -> m.ClockOffset:
        offset = self.rng.choice(ODD_INTEGERS) if self.odd() else self.rng.choice((0, 1, -40, 90_000, -90_000))
        if self.rng.random() < 0.7:
            offset = 0
        return m.ClockOffset(
            offset_ms=offset, round_trip_ms=self.rng.choice((20, 1000, *ODD_INTEGERS)), received_ms=self.received()
        )

    def stream(self, state: State) -> Any:
        names = [name for name in (self.rules.price_stream, self.rules.fill_stream) if name is not None] or ["market"]
        name = self.text() if self.odd() else self.rng.choice(names)
        if self.rng.random() < 0.8:
            return m.StreamUp(stream=name, subscriptions=4, received_ms=self.received())
        return m.StreamDown(
            stream=name, error=self.text(), retry_s=self.rng.choice((0.0, 1.5, -1.0, 1e300)),
            attempt=self.rng.choice((1, 3, 10, *ODD_INTEGERS)), received_ms=self.received(),
        )  # fmt: skip

    def budget(self, state: State) -> m.RequestBudget:
        used, cap = self.rng.choice((10, *ODD_INTEGERS)), self.rng.choice((10_000, 10_000, *ODD_INTEGERS))
        return m.RequestBudget(used=used, cap=cap, received_ms=self.received())

    def key_expiry(self, state: State) -> m.KeyExpiry:
        return m.KeyExpiry(expires_ms=self.when(), received_ms=self.received())

    def read_failed(self, state: State) -> m.ReadFailed:
        return m.ReadFailed(what=self.text(), error=self.text(), received_ms=self.received())

    def close_answered(self, state: State) -> m.CloseAnswered:
        return m.CloseAnswered(
            symbol=self.symbol(), contract_id=self.text(), done=self.rng.choice((True, False, None)), error=None,
            received_ms=self.received(),
        )  # fmt: skip

    def rolled(self, state: State) -> m.ContractRolled:
        market = self.rng.choice(list(self.rules.markets.values()))
        return m.ContractRolled(symbol=self.symbol(), instrument=market.instrument, received_ms=self.received())

    def tick(self, state: State) -> m.Tick:
        return m.Tick(received_ms=self.received())

    def journal(self, state: State) -> Any:
        if self.rng.random() < 0.3:
            return m.JournalFailed(error=self.text(), received_ms=self.received())
        return m.JournalRestored(received_ms=self.received())

    # --- what ends entries or the run -------------------------------------------------------------------------------

    def flatten(self, state: State) -> m.FlattenRequested:
        return m.FlattenRequested(received_ms=self.received())

    def stop(self, state: State) -> m.StopRequested:
        return m.StopRequested(received_ms=self.received())

    def core_fault(self, state: State) -> m.CoreFault:
        return m.CoreFault(error=self.text(), received_ms=self.received())

    def stream_failed(self, state: State) -> m.StreamFailed:
        return m.StreamFailed(stream=self.rules.price_stream or "", error=self.text(), received_ms=self.received())

    def bad_credentials(self, state: State) -> m.OrderRejected:
        symbol = self.symbol()
        return m.OrderRejected(
            client_id=self.client_id(state, symbol), symbol=symbol,
            reason=self.rng.choice((m.RejectReason.CREDENTIALS, m.RejectReason.ACCOUNT)), text=self.text(),
            received_ms=self.received(),
        )  # fmt: skip

    def started(self, state: State) -> m.Started:
        return m.Started(run_id=self.rng.getrandbits(64), rules=self.rules, received_ms=self.now_ms)


Make = Callable[[Maker, State], Any]
COMMON: tuple[Make, ...] = (
    *(Maker.trade, Maker.trade, Maker.quote, Maker.quote, Maker.book, Maker.mark, Maker.polled, Maker.fill),
    *(Maker.update, Maker.stray_answer, Maker.stray_answer, Maker.wild_listing, Maker.an_account),
    *(Maker.account_update, Maker.position_update, Maker.glance, Maker.bar_update, Maker.history),
    *(Maker.sample, Maker.clock),
    *(Maker.stream, Maker.budget, Maker.key_expiry, Maker.read_failed, Maker.close_answered, Maker.tick, Maker.tick),
    *(Maker.journal,),
)
RARE: tuple[Make, ...] = (
    *(Maker.flatten, Maker.stop, Maker.core_fault, Maker.stream_failed, Maker.bad_credentials, Maker.rolled),
    *(Maker.started,) * 6,
)
