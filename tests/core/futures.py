"""A driver for tests of one futures market without reduce-only: events by the clock, in the words of the venue."""

from decimal import Decimal
from typing import Any

from core.decide import decide
from core.messages import (
    AccountSnapshot,
    AnyAction,
    Cancel,
    CancelAnswered,
    Modify,
    ModifyAnswered,
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
from core.model import Fill, Order, OrderStatus, OrderType, Quote, Side, Trade, VenuePosition, WorkingOrder
from core.rules import Rules
from core.signals import Signal
from core.state import MarketState, Position, State
from tests.core.gateway import MGC, RULES
from tests.core.world import T0, D

ZERO = Decimal(0)
ENTRY, STOP, TARGET = 10, 11, 12  # ids that the venue gives to an entry with a bracket


class Pit:
    """Time moves only through `wait` and a few milliseconds with each event."""

    def __init__(self, rules: Rules = RULES, state: State | None = None) -> None:
        self.rules, self.state = rules, state or State()
        self.now_ms = T0
        self.signal: Signal | None = None
        self.log: list[Note] = []
        self.fills = 0
        self.trades = 0

    def feed(self, event: Any) -> list[AnyAction]:
        self.state, actions = decide(self.state, event, self.rules, {"MGC": lambda bars: self.signal})
        self.log += [action for action in actions if isinstance(action, Note)]
        return [action for action in actions if not isinstance(action, Note)]

    @property
    def market(self) -> MarketState:
        return self.state.markets["MGC"]

    @property
    def position(self) -> Position:
        assert self.market.position is not None
        return self.market.position

    def names(self) -> list[str]:
        return [note.name for note in self.log]

    def later(self, ms: int = 1) -> int:
        self.now_ms += ms
        return self.now_ms

    def wait(self, ms: int) -> list[AnyAction]:
        seen: list[AnyAction] = []
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms = min(end_ms, self.now_ms + 100)
            seen += self.feed(Tick(received_ms=self.now_ms))
        return seen

    # --- what the venue tells -----------------------------------------------------------------------------------------

    def start(self, run_id: int = 7, streams: tuple[str, ...] = ("topstepx-market", "topstepx-user")) -> None:
        self.feed(Started(run_id=run_id, rules=self.rules, received_ms=self.later()))
        for name in streams:
            self.feed(StreamUp(stream=name, subscriptions=2, received_ms=self.later()))
        self.snapshot()

    def snapshot(
        self, size: str = "0", entry: str = "4100", orders: tuple[WorkingOrder, ...] = (), ago_ms: int = 0,
        more: tuple[VenuePosition, ...] = (), ahead_ms: int = 0, **changes: Any,
    ) -> list[AnyAction]:  # fmt: skip
        """An account read that was asked for `ago_ms` before now; `ahead_ms`: its venue time, if that is misjudged."""
        self.later(2)
        held = (position(size, entry),) if D(size) else ()
        values: dict[str, Any] = {"balance": D(50_000), "has_open_pnl": False} | changes
        return self.feed(AccountSnapshot(
            equity=values["balance"], available=D(50_000), positions=(*held, *more), orders=orders,
            requested_ms=self.now_ms - ago_ms, time_ms=self.now_ms - ago_ms + ahead_ms, received_ms=self.now_ms,
            **values,
        ))  # fmt: skip

    def listing(self, *orders: WorkingOrder, ago_ms: int = 0) -> list[AnyAction]:
        self.later(2)
        return self.feed(WorkingOrders(orders=orders, requested_ms=self.now_ms - ago_ms, received_ms=self.now_ms))

    def trade(self, price: str, after_ms: int = 1) -> list[AnyAction]:
        self.later(after_ms)
        self.trades += 1
        return self.feed(Trade("MGC", D(price), D(1), Side.BUY, self.trades, self.now_ms, self.now_ms))

    def quote(self, bid: str, ask: str) -> list[AnyAction]:
        return self.feed(Quote("MGC", D(bid), None, D(ask), None, self.later(), self.now_ms))

    def accept(self, order: Order, order_id: int) -> list[AnyAction]:
        return self.feed(OrderAccepted(
            client_id=order.client_id, symbol="MGC", order_id=order_id, status=OrderStatus.ACCEPTED, filled_size=ZERO,
            average_price=None, received_ms=self.later(),
        ))  # fmt: skip

    def reject(self, order: Order, reason: RejectReason = RejectReason.OTHER) -> list[AnyAction]:
        return self.feed(OrderRejected(
            client_id=order.client_id, symbol="MGC", reason=reason, text="no", received_ms=self.later()
        ))  # fmt: skip

    def unknown(self, order: Order) -> list[AnyAction]:
        return self.feed(OrderUnknown(client_id=order.client_id, symbol="MGC", error="?", received_ms=self.later()))

    def settled(self, order: Order, status: OrderStatus, filled: str, order_id: int | None) -> list[AnyAction]:
        return self.feed(OrderSettled(
            client_id=order.client_id, symbol="MGC", order_id=order_id, status=status, filled_size=D(filled), text="",
            received_ms=self.later(),
        ))  # fmt: skip

    def update(self, order_id: int, status: OrderStatus, tag: str | None = None, left: str = "0") -> list[AnyAction]:
        return self.feed(OrderUpdate(
            symbol="MGC", order_id=order_id, client_id=tag, status=status, venue_status=status.value.lower(),
            size_left=D(left), time_ms=self.later(), received_ms=self.now_ms,
        ))  # fmt: skip

    def works(self, order: WorkingOrder) -> list[AnyAction]:
        """The stream shows an order working."""
        return self.feed(OrderUpdate(
            symbol="MGC", order_id=order.order_id, client_id=order.client_id, status=OrderStatus.ACCEPTED,
            venue_status="open", size_left=order.size, time_ms=self.later(), received_ms=self.now_ms, working=order,
        ))  # fmt: skip

    def fill(self, order_id: int, side: Side, size: str, price: str, **changes: Any) -> list[AnyAction]:
        self.later()
        self.fills += 1
        values: dict[str, Any] = {"fill_id": str(self.fills), "time_ms": self.now_ms, "closed_pnl": ZERO} | changes
        return self.feed(Fill(
            symbol="MGC", side=side, price=D(price), size=D(size), fee=D(1), order_id=order_id, client_id=None,
            received_ms=self.now_ms, **values,
        ))  # fmt: skip

    def canceled(self, order_id: int, gone: bool = True, reason: RejectReason | None = None) -> list[AnyAction]:
        return self.feed(CancelAnswered(
            symbol="MGC", order_id=order_id, gone=gone, error=None if gone else "?", received_ms=self.later(),
            reason=reason,
        ))  # fmt: skip

    def modified(self, order_id: int, done: bool | None, reason: RejectReason | None = None) -> list[AnyAction]:
        return self.feed(ModifyAnswered(
            symbol="MGC", order_id=order_id, done=done, reason=reason, error=None, received_ms=self.later()
        ))  # fmt: skip

    # --- stories ------------------------------------------------------------------------------------------------------

    def send_entry(self, price: str = "4100") -> Order:
        self.trade(price)
        self.signal = Signal.LONG
        [entry] = sent(self.trade(price, after_ms=1_000))
        self.signal = None
        return entry

    def enter(self, size: str = "2", price: str = "4100") -> Order:
        """An entry with its bracket: answered, filled and read."""
        entry = self.send_entry(price)
        self.accept(entry, ENTRY)
        self.fill(ENTRY, Side.BUY, size, price)
        for child in children(entry, size, price):
            self.works(child)
        self.snapshot(size, price, orders=children(entry, size, price))
        assert self.market.naked_since_ms is None and self.market.confirmed
        return entry

    def enter_bare(self, target: bool = True) -> tuple[Order, Order | None]:
        """An entry at a venue that refuses brackets; its own stop, and its own target, confirmed."""
        self.reject(self.send_entry(), RejectReason.BRACKETS)
        self.snapshot()
        entry = self.send_entry()
        assert entry.bracket is None
        self.accept(entry, ENTRY)
        [stop] = sent(self.fill(ENTRY, Side.BUY, "2", "4100"))
        self.accept(stop, STOP)
        own = sent(self.works(row(STOP, Side.SELL, "2", "4096", tag=stop.client_id)))
        if own:
            self.accept(own[0], TARGET)
            self.works(row(TARGET, Side.SELL, "2", "4108", tag=own[0].client_id, is_stop=False))
        self.snapshot("2", orders=tuple(
            row(r.order_id or 0, Side.SELL, "2", str(r.order.price), r.order.client_id, r.order.type is OrderType.STOP)
            for r in self.market.orders.values() if r.rests
        ))  # fmt: skip
        return stop, own[0] if own else None


def row(
    order_id: int, side: Side, size: str, level: str, tag: str | None = None, is_stop: bool = True,
    parent: int | None = None,
) -> WorkingOrder:  # fmt: skip
    trigger = D(level) if is_stop else None
    return WorkingOrder("MGC", side, order_id, tag, D(size), D(level), trigger, is_stop, False, False, T0, parent)


def children(entry: Order, size: str = "2", price: str = "4100") -> tuple[WorkingOrder, WorkingOrder]:
    """Stop 40 and target 80 ticks from the fill, as the rules of these tests want them."""
    side, sign, tag = entry.side.opposite, entry.side.sign, entry.client_id
    stop, target = str(D(price) - sign * 4), str(D(price) + sign * 8)
    return (
        row(STOP, side, size, stop, f"{tag}-SL", parent=ENTRY),
        row(TARGET, side, size, target, f"{tag}-TP", is_stop=False, parent=ENTRY),
    )


def position(size: str, entry: str, symbol: str = "MGC", contract_id: str = MGC.contract_id) -> VenuePosition:
    return VenuePosition(symbol, D(size), D(entry), ZERO, None, 1, False, D(10), contract_id)


def sent(actions: list[AnyAction]) -> list[Order]:
    return [action.order for action in actions if isinstance(action, Submit)]


def exits(actions: list[AnyAction]) -> list[Order]:
    return [order for order in sent(actions) if order.type is OrderType.MARKET]


def canceled_ids(actions: list[AnyAction]) -> list[int]:
    return [action.order_id for action in actions if isinstance(action, Cancel)]


def changes(actions: list[AnyAction]) -> list[Modify]:
    return [action for action in actions if isinstance(action, Modify)]
