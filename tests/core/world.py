"""A few values for tests of the brain: one market, plain rules, and a driver that feeds events by the clock."""

from decimal import Decimal
from typing import Any

import msgspec

from core.decide import decide
from core.messages import (
    AccountSnapshot,
    AnyAction,
    Arm,
    Note,
    OrderAccepted,
    Started,
    StreamUp,
    Submit,
    Tick,
    WorkingOrders,
)
from core.model import Fill, Instrument, Order, OrderStatus, Quote, Side, Trade, VenuePosition, WorkingOrder
from core.rules import Distance, ExitRules, MarketRules, RiskRules, Rules, SizeRules, StrategyRules
from core.signals import Signal
from core.state import MarketState, State

D = Decimal
BTC = Instrument("BTC", 0, D("0.00001"), price_decimals=1, min_notional=D(10), max_leverage=40)
EXITS = ExitRules(
    stop_loss=Distance(pct=D(1)),
    take_profit=Distance(pct=D(2)),
    trailing_stop=Distance(pct=D("0.5")),
    trailing_activate=Distance(pct=D("0.5")),
    trailing_step=Distance(pct=D("0.1")),
)
MARKET = MarketRules(
    instrument=BTC,
    timeframe_ms=1_000,
    strategy=StrategyRules("scripted"),
    size=SizeRules(quantity=D("0.01")),
    leverage=10,
    exits=EXITS,
    bars_from_trades=True,
)
RISK = RiskRules(max_daily_loss=D(100), max_open_positions=2, max_price_age_ms=3_000, max_order_errors=3)
RULES = Rules("hyperliquid", "simulator", False, {"BTC": MARKET}, RISK)
T0 = 1_790_000_000_000


def rules_with(**changes: Any) -> Rules:
    """RULES with fields of the market or of the exits, risk or the whole replaced, whichever has the field."""
    market, exits, risk, rules = MARKET, EXITS, RISK, RULES
    for name, value in changes.items():
        if name in ExitRules.__struct_fields__:
            exits = msgspec.structs.replace(exits, **{name: value})
        elif name in MarketRules.__struct_fields__:
            market = msgspec.structs.replace(market, **{name: value})
        elif name in RiskRules.__struct_fields__:
            risk = msgspec.structs.replace(risk, **{name: value})
        else:
            rules = msgspec.structs.replace(rules, **{name: value})
    market = msgspec.structs.replace(market, exits=exits)
    return msgspec.structs.replace(rules, markets={"BTC": market}, risk=risk)


class Desk:
    """Feeds events to `decide` and keeps what comes out. Time moves only through `at` and `wait`."""

    def __init__(self, rules: Rules = RULES, state: State | None = None) -> None:
        self.rules = rules
        self.now_ms = T0
        self.state = state or State()
        self.signal: Signal | None = None
        self.actions: list[AnyAction] = []
        self.log: list[Note] = []
        self._trade_id = 0

    def feed(self, event: Any) -> list[AnyAction]:
        """The actions of this one event, notes aside."""
        self.state, actions = decide(self.state, event, self.rules, {"BTC": lambda bars: self.signal})
        self.log += [action for action in actions if isinstance(action, Note)]
        self.actions = [action for action in actions if not isinstance(action, Note | Arm)]
        return self.actions

    @property
    def market(self) -> MarketState:
        return self.state.markets["BTC"]

    def names(self) -> list[str]:
        return [note.name for note in self.log]

    def wait(self, ms: int) -> list[AnyAction]:
        """Let time pass in ticks of 200 ms; every action that came."""
        seen: list[AnyAction] = []
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms = min(end_ms, self.now_ms + 200)
            seen += self.feed(Tick(received_ms=self.now_ms))
        return seen

    def start(self, equity: str = "10000", positions: tuple = (), orders: tuple = ()) -> None:
        self.feed(Started(run_id=7, rules=self.rules, received_ms=self.now_ms))
        self.now_ms += 1
        self.feed(StreamUp(stream="market", subscriptions=5, received_ms=self.now_ms))
        self.snapshot(equity, positions, orders)

    def snapshot(self, equity: str = "10000", positions: tuple = (), orders: tuple = ()) -> list[AnyAction]:
        self.now_ms += 10
        return self.feed(AccountSnapshot(
            equity=D(equity), available=D(equity), positions=positions, orders=orders, requested_ms=self.now_ms - 1,
            time_ms=self.now_ms, received_ms=self.now_ms,
        ))  # fmt: skip

    def trade(self, price: str, after_ms: int = 1) -> list[AnyAction]:
        self.now_ms += after_ms
        self._trade_id += 1
        return self.feed(Trade("BTC", D(price), D("0.1"), Side.BUY, self._trade_id, self.now_ms, self.now_ms))

    def quote(self, bid: str, ask: str) -> list[AnyAction]:
        return self.feed(Quote("BTC", D(bid), D(1), D(ask), D(1), self.now_ms, self.now_ms))

    def listing(self, *orders: WorkingOrder) -> list[AnyAction]:
        self.now_ms += 10
        return self.feed(WorkingOrders(orders=orders, requested_ms=self.now_ms - 1, received_ms=self.now_ms))

    def accept(self, order: Order, filled: str = "0", price: str | None = None, order_id: int | None = 1) -> list:
        self.now_ms += 5
        done = D(filled) > 0
        return self.feed(OrderAccepted(
            client_id=order.client_id, symbol="BTC", order_id=order_id,
            status=OrderStatus.FILLED if done else OrderStatus.ACCEPTED, filled_size=D(filled),
            average_price=None if price is None else D(price), received_ms=self.now_ms,
        ))  # fmt: skip

    def fill(self, order_id: int, side: Side, size: str, price: str, start: str | None, **changes: Any) -> list:
        self.now_ms += 5
        values = dict(
            fill_id=f"{self.now_ms}:BTC:{order_id}", fee=D("0.1"), closed_pnl=D(0), client_id=None,
            start_position=None if start is None else D(start),
        ) | changes  # fmt: skip
        return self.feed(Fill(
            symbol="BTC", side=side, price=D(price), size=D(size), order_id=order_id, time_ms=self.now_ms,
            received_ms=self.now_ms, **values,
        ))  # fmt: skip

    def sent(self, actions: list[AnyAction] | None = None) -> list[Order]:
        return [a.order for a in (self.actions if actions is None else actions) if isinstance(a, Submit)]

    def enter(self, price: str = "50000") -> Order:
        """Signal, entry sent and filled; returns the stop that was sent because of it."""
        self.listing()
        self.trade(price)
        self.signal = Signal.LONG
        entry = self.sent(self.trade(price, after_ms=1_000))[0]
        self.signal = None
        return self.sent(self.accept(entry, filled="0.01", price=price))[0]

    def protected(self, price: str = "50000") -> WorkingOrder:
        """An open long whose stop is listed."""
        stop = self.enter(price)
        self.accept(stop, order_id=None)
        listed = listed_stop(stop, 100)
        self.listing(listed)
        return listed


def listed_stop(order: Order, order_id: int) -> WorkingOrder:
    return WorkingOrder(
        order.symbol, order.side, order_id, None, D(0), order.price, order.trigger_price, True, True, True, T0
    )


def venue_position(size: str, entry: str, liquidation: str | None = None) -> VenuePosition:
    return VenuePosition("BTC", D(size), D(entry), D(0), None if liquidation is None else D(liquidation), 10, True)
