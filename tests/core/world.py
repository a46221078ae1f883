"""A few values for tests of the brain: one market, plain rules, and a driver that feeds events by the clock."""

from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from core.decide import decide
from core.messages import (
    AccountSnapshot,
    AnyAction,
    Arm,
    Note,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    OrderUpdate,
    RejectReason,
    Started,
    StreamUp,
    Submit,
    Tick,
    WorkingOrders,
)
from core.model import (
    Fill,
    Instrument,
    MarkPrice,
    Order,
    OrderStatus,
    OrderType,
    Quote,
    Side,
    Trade,
    VenuePosition,
    WorkingOrder,
)
from core.rules import Distance, ExitRules, MarketRules, RiskRules, Rules, SizeRules, StrategyRules
from core.signals import Signal
from core.state import MarketState, Position, State

D = Decimal
T = TypeVar("T")
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

    @property
    def position(self) -> Position:
        """What is held; something must be."""
        assert self.market.position is not None
        return self.market.position

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

    def snapshot(
        self, equity: str = "10000", positions: tuple = (), orders: tuple = (), *, requested_ms: int | None = None,
        time_ms: int | None = None, requests_left: int | None = None,
    ) -> list[AnyAction]:  # fmt: skip
        """An account read, as new as can be unless told otherwise: `requested_ms` by our clock, `time_ms` by theirs."""
        self.now_ms += 10
        return self.feed(AccountSnapshot(
            equity=D(equity), available=D(equity), positions=positions, orders=orders,
            requested_ms=self.now_ms - 1 if requested_ms is None else requested_ms,
            time_ms=self.now_ms if time_ms is None else time_ms, received_ms=self.now_ms, requests_left=requests_left,
        ))  # fmt: skip

    def trade(self, price: str, after_ms: int = 1) -> list[AnyAction]:
        self.now_ms += after_ms
        self._trade_id += 1
        return self.feed(Trade("BTC", D(price), D("0.1"), Side.BUY, self._trade_id, self.now_ms, self.now_ms))

    def quote(self, bid: str, ask: str) -> list[AnyAction]:
        return self.feed(Quote("BTC", D(bid), D(1), D(ask), D(1), self.now_ms, self.now_ms))

    def mark(self, price: str) -> list[AnyAction]:
        return self.feed(MarkPrice("BTC", D(price), None, None, self.now_ms))

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

    def reject(self, order: Order, reason: RejectReason = RejectReason.OTHER, text: str = "no") -> list[AnyAction]:
        self.now_ms += 5
        return self.feed(OrderRejected(
            client_id=order.client_id, symbol="BTC", reason=reason, text=text, received_ms=self.now_ms
        ))  # fmt: skip

    def unknown(self, order: Order) -> list[AnyAction]:
        self.now_ms += 5
        return self.feed(OrderUnknown(
            client_id=order.client_id, symbol="BTC", error="timed out", received_ms=self.now_ms
        ))  # fmt: skip

    def settled(
        self, order: Order, status: OrderStatus, filled: str = "0", order_id: int | None = None
    ) -> list[AnyAction]:
        self.now_ms += 5
        return self.feed(OrderSettled(
            client_id=order.client_id, symbol="BTC", order_id=order_id, status=status, filled_size=D(filled), text="",
            received_ms=self.now_ms,
        ))  # fmt: skip

    def update(
        self, order_id: int, status: OrderStatus, order: Order | None = None, size_left: str = "0"
    ) -> list[AnyAction]:
        """News from the user stream; without `order` it names no client_id, as of a position stop."""
        self.now_ms += 5
        return self.feed(OrderUpdate(
            symbol="BTC", order_id=order_id, client_id=None if order is None else order.client_id, status=status,
            venue_status=status.value.lower(), size_left=D(size_left), time_ms=self.now_ms, received_ms=self.now_ms,
        ))  # fmt: skip

    def fill(self, order_id: int, side: Side, size: str, price: str, start: str | None, **changes: Any) -> list:
        self.now_ms += 5
        values: dict[str, Any] = dict(
            fill_id=f"{self.now_ms}:BTC:{order_id}", fee=D("0.1"), closed_pnl=D(0), client_id=None,
            start_position=None if start is None else D(start),
        ) | changes  # fmt: skip
        return self.feed(Fill(
            symbol="BTC", side=side, price=D(price), size=D(size), order_id=order_id, time_ms=self.now_ms,
            received_ms=self.now_ms, **values,
        ))  # fmt: skip

    def sent(self, actions: list[AnyAction] | None = None) -> list[Order]:
        return [a.order for a in (self.actions if actions is None else actions) if isinstance(a, Submit)]

    def exits(self, actions: list[AnyAction] | None = None) -> list[Order]:
        """The orders among them that close, stops aside."""
        return [order for order in self.sent(actions) if order.type is OrderType.MARKET and order.reduce_only]

    def send_entry(self, price: str = "50000") -> Order:
        """Signal at the end of a bar; returns the entry, which nobody has answered yet."""
        self.listing()
        self.trade(price)
        self.signal = Signal.LONG
        entry = self.sent(self.trade(price, after_ms=1_000))[0]
        self.signal = None
        return entry

    def enter(self, price: str = "50000") -> Order:
        """Signal, entry sent and filled; returns the stop that was sent because of it."""
        return self.sent(self.accept(self.send_entry(price), filled="0.01", price=price))[0]

    def protected(self, price: str = "50000") -> WorkingOrder:
        """An open long whose stop is listed."""
        stop = self.enter(price)
        self.accept(stop, order_id=None)
        listed = listed_stop(stop, 100)
        self.listing(listed)
        return listed


def of(kind: type[T], actions: list[AnyAction]) -> list[T]:
    return [action for action in actions if isinstance(action, kind)]


def listed_stop(order: Order, order_id: int) -> WorkingOrder:
    return WorkingOrder(
        order.symbol, order.side, order_id, None, D(0), order.price, order.trigger_price, True, True, True, T0
    )


def venue_position(size: str, entry: str, liquidation: str | None = None, unrealized_pnl: str = "0") -> VenuePosition:
    level = None if liquidation is None else D(liquidation)
    return VenuePosition("BTC", D(size), D(entry), D(unrealized_pnl), level, 10, True)
