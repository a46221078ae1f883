"""A small venue without reduce-only, right about itself: brackets and their OCO, netting, orders that always execute.

What it tells goes out as values of the core; who delivers them, when and in which order is the test's business.
"""

from decimal import Decimal
from typing import Any

import msgspec

from core.messages import (
    AccountSnapshot,
    AccountUpdate,
    CancelAnswered,
    Modify,
    ModifyAnswered,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUpdate,
    PositionUpdate,
    RejectReason,
    WorkingOrders,
)
from core.model import Fill, Instrument, Order, OrderStatus, OrderType, Side, VenuePosition, WorkingOrder
from core.rules import Distance, ExitRules, MarketRules, RiskRules, Rules, SizeRules, StrategyRules

D = Decimal
ZERO = Decimal(0)
TICK = D("0.1")
FEE = D("0.96")
MGC = Instrument("MGC", 0, D(1), tick_size=TICK, multiplier=D(10), contract_id="CON.F.US.MGC.Z26", has_margin=False)
EXITS = ExitRules(
    stop_loss=Distance(ticks=D(40)),
    take_profit=Distance(ticks=D(80)),
    trailing_stop=Distance(ticks=D(20)),
    trailing_activate=Distance(ticks=D(20)),
    trailing_step=Distance(ticks=D(4)),
)
MARKET = MarketRules(MGC, 1_000, StrategyRules("scripted"), SizeRules(quantity=D(2)), None, EXITS, True)
RISK = RiskRules(max_daily_loss=None, max_open_positions=2, max_price_age_ms=3_000, max_order_errors=100)
RULES = Rules(
    "topstepx", "simulator", False, {"MGC": MARKET}, RISK, can_reduce_only=False, position_stops=False,
    entry_brackets=True, price_stream="topstepx-market", fill_stream="topstepx-user",
)  # fmt: skip


def rules_with(**changes: Any) -> Rules:
    """RULES with fields of the exits, the market, the risk or the whole replaced, whichever has the field."""
    exits, market, risk, rules = EXITS, MARKET, RISK, RULES
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
    return msgspec.structs.replace(rules, markets={"MGC": market}, risk=risk)


class Placed(msgspec.Struct):
    """An order as the venue keeps it; working while `status` is ACCEPTED."""

    order_id: int
    tag: str | None
    side: Side
    size: Decimal
    kind: OrderType
    level: Decimal
    status: OrderStatus = OrderStatus.ACCEPTED
    filled: Decimal = ZERO
    parent_id: int | None = None
    bracket: Any = None
    closes: bool = False  # by its owner's intention
    due_ms: int = 0

    @property
    def left(self) -> Decimal:
        return self.size - self.filled


class Gateway:
    def __init__(self) -> None:
        self.position, self.entry_price, self.price = ZERO, ZERO, D("4100.0")
        self.orders: dict[int, Placed] = {}
        self.fills: list[Fill] = []
        self.balance = D(150_000)
        self.last_id = 3_400_000_000
        self.news: list[Any] = []  # told by the user stream, oldest first
        self.delay_ms = 0  # from accepting a market order to filling it
        self.partly = False  # market orders fill in two parts
        self.brackets = True  # Auto OCO
        self.turned = 0  # how often an order meant to close has opened

    # --- looking ------------------------------------------------------------------------------------------------------

    def working(self) -> list[Placed]:
        resting = (OrderType.STOP, OrderType.LIMIT)
        return [o for o in self.orders.values() if o.status is OrderStatus.ACCEPTED and o.kind in resting]

    def row(self, order: Placed) -> WorkingOrder:
        is_stop = order.kind is OrderType.STOP
        return WorkingOrder(
            "MGC", order.side, order.order_id, order.tag, order.left, order.level, order.level if is_stop else None,
            is_stop, False, False, 0, order.parent_id,
        )  # fmt: skip

    def listing(self, now_ms: int, asked_ms: int) -> WorkingOrders:
        rows = tuple(self.row(order) for order in self.working())
        return WorkingOrders(orders=rows, requested_ms=asked_ms, received_ms=now_ms)

    def stated(self) -> VenuePosition:
        return VenuePosition("MGC", self.position, self.entry_price, ZERO, None, 1, False, D(10), MGC.contract_id)

    def snapshot(self, now_ms: int, asked_ms: int) -> AccountSnapshot:
        """As things are now; what it knows for sure is only that it is not older than its request."""
        return AccountSnapshot(
            equity=self.balance, available=self.balance, positions=(self.stated(),) if self.position else (),
            orders=self.listing(now_ms, asked_ms).orders, requested_ms=asked_ms, time_ms=asked_ms, received_ms=now_ms,
            balance=self.balance, has_open_pnl=False,
        )  # fmt: skip

    def history(self, since_ms: int) -> list[Fill]:
        return [msgspec.structs.replace(fill, is_snapshot=True) for fill in self.fills if fill.time_ms >= since_ms]

    # --- orders -------------------------------------------------------------------------------------------------------

    def place(self, order: Order, closes: bool, now_ms: int) -> OrderAccepted | OrderRejected:
        common = {"client_id": order.client_id, "symbol": "MGC", "received_ms": now_ms}
        if any(placed.tag == order.client_id for placed in self.orders.values()):
            return OrderRejected(reason=RejectReason.DUPLICATE_ID, text="tag is already in use", **common)
        level = order.trigger_price if order.trigger_price is not None else order.price
        refused = self.refusal(order, level)
        placed = self.keep(order.client_id, order.side, order.size, order.type, level, bracket=order.bracket)
        placed.closes = closes
        if refused is not None:
            placed.status = OrderStatus.REJECTED
            self.tell_order(placed, now_ms)
            return OrderRejected(reason=refused, text="no", **common)
        if order.type is OrderType.MARKET:
            placed.due_ms = now_ms + self.delay_ms
        self.tell_order(placed, now_ms)
        if order.type is OrderType.MARKET and not self.delay_ms:
            self.match(now_ms)
        return OrderAccepted(
            order_id=placed.order_id, status=OrderStatus.ACCEPTED, filled_size=ZERO, average_price=None, **common
        )

    def refusal(self, order: Order, level: Decimal) -> RejectReason | None:
        if order.bracket is not None and not self.brackets:
            return RejectReason.BRACKETS
        if order.type is OrderType.STOP and self.is_crossed(order.side, level):
            return RejectReason.BAD_TRIGGER
        return None

    def is_crossed(self, side: Side, level: Decimal) -> bool:
        return self.price <= level if side is Side.SELL else self.price >= level

    def keep(self, tag: str | None, side: Side, size: Decimal, kind: OrderType, level: Decimal, **more: Any) -> Placed:
        self.last_id += 1
        placed = Placed(self.last_id, tag, side, size, kind, level, **more)
        self.orders[placed.order_id] = placed
        return placed

    def cancel(self, order_id: int, now_ms: int) -> CancelAnswered:
        """Gone, also where a fill was faster: the answer does not tell the two apart (page 2.8)."""
        placed = self.orders.get(order_id)
        if placed is not None and placed.status is OrderStatus.ACCEPTED:
            placed.status = OrderStatus.CANCELED
            self.tell_order(placed, now_ms)
        return CancelAnswered(symbol="MGC", order_id=order_id, gone=True, error=None, received_ms=now_ms)

    def modify(self, action: Modify, now_ms: int) -> ModifyAnswered:
        placed = self.orders.get(action.order_id)
        reason = None
        if placed is None or placed.status is not OrderStatus.ACCEPTED:
            reason = RejectReason.OTHER
        elif action.trigger_price is not None and self.is_crossed(placed.side, action.trigger_price):
            reason = RejectReason.BAD_TRIGGER
        if reason is None and placed is not None:
            placed.size = placed.size if action.size is None else action.size
            placed.level = placed.level if action.trigger_price is None else action.trigger_price
            self.tell_order(placed, now_ms)
        return ModifyAnswered(
            symbol="MGC", order_id=action.order_id, done=reason is None, reason=reason, error=None, received_ms=now_ms
        )

    def settle(self, order: Order, now_ms: int) -> OrderSettled:
        placed = next((p for p in self.orders.values() if p.tag == order.client_id), None)
        return OrderSettled(
            client_id=order.client_id, symbol="MGC", order_id=None if placed is None else placed.order_id,
            status=OrderStatus.REJECTED if placed is None else placed.status,
            filled_size=ZERO if placed is None else placed.filled, text="", received_ms=now_ms,
        )  # fmt: skip

    # --- executing ----------------------------------------------------------------------------------------------------

    def match(self, now_ms: int) -> None:
        """Market orders whose time has come."""
        for placed in list(self.orders.values()):
            if placed.kind is OrderType.MARKET and placed.status is OrderStatus.ACCEPTED and placed.due_ms <= now_ms:
                parts = [D(1), placed.left - 1] if self.partly and placed.left > 1 else [placed.left]
                for part in parts:
                    self.execute(placed, part, self.price, now_ms)

    def move(self, price: Decimal, now_ms: int) -> None:
        """A print: stops at or beyond it fill there, targets behind it at their own price."""
        self.price = price
        for placed in self.working():
            if placed.status is not OrderStatus.ACCEPTED:
                continue  # its sibling filled a moment ago
            if placed.kind is OrderType.STOP and self.is_crossed(placed.side, placed.level):
                self.execute(placed, placed.left, price, now_ms)
            elif placed.kind is OrderType.LIMIT and placed.side.sign * (placed.level - price) > 0:
                self.execute(placed, placed.left, placed.level, now_ms)

    def execute(self, placed: Placed, size: Decimal, price: Decimal, now_ms: int) -> None:
        before, sign = self.position, placed.side.sign
        after = before + sign * size
        if placed.closes and (after * sign > 0):
            self.turned += 1
        closed = min(size, abs(before)) if before * sign < 0 else ZERO
        gain = -sign * (price - self.entry_price) * closed * 10
        if before == 0 or before * after < 0:
            self.entry_price = price
        elif abs(after) > abs(before):
            self.entry_price = (self.entry_price * abs(before) + price * size) / abs(after)
        self.position = after
        self.balance += gain - FEE
        placed.filled += size
        if placed.left == 0:
            placed.status = OrderStatus.FILLED
        fill = Fill(
            symbol="MGC", side=placed.side, price=price, size=size, fee=FEE, closed_pnl=gain, order_id=placed.order_id,
            client_id=None, fill_id=str(len(self.fills) + 1), time_ms=now_ms, received_ms=now_ms,
        )  # fmt: skip
        self.fills.append(fill)
        self.tell_order(placed, now_ms)
        self.news += [
            fill,
            PositionUpdate(position=self.stated(), received_ms=now_ms),
            AccountUpdate(balance=self.balance, can_trade=True, received_ms=now_ms),
        ]
        if placed.bracket is not None:
            self.hang(placed, price, now_ms)
        self.link(placed, now_ms)

    def hang(self, entry: Placed, price: Decimal, now_ms: int) -> None:
        """The bracket covers what has filled."""
        children = [o for o in self.orders.values() if o.parent_id == entry.order_id]
        if children:
            for child in children:
                child.size = entry.filled
                self.tell_order(child, now_ms)
            return
        side, bracket = entry.side.opposite, entry.bracket
        legs = [(OrderType.STOP, "-SL", -bracket.stop_ticks)]
        if bracket.target_ticks is not None:
            legs.append((OrderType.LIMIT, "-TP", bracket.target_ticks))
        for kind, suffix, ticks in legs:
            level = price + entry.side.sign * ticks * TICK
            tag = f"{entry.tag}{suffix}"
            child = self.keep(tag, side, entry.filled, kind, level, parent_id=entry.order_id, closes=True)
            self.tell_order(child, now_ms)

    def link(self, placed: Placed, now_ms: int) -> None:
        """One child has filled whole: the other goes."""
        if placed.parent_id is None or placed.status is not OrderStatus.FILLED:
            return
        for other in self.working():
            if other.parent_id == placed.parent_id:
                other.status = OrderStatus.CANCELED
                self.tell_order(other, now_ms)

    def tell_order(self, placed: Placed, now_ms: int) -> None:
        works = placed.status is OrderStatus.ACCEPTED
        partial = works and placed.filled > 0
        self.news.append(OrderUpdate(
            symbol="MGC", order_id=placed.order_id, client_id=placed.tag,
            status=OrderStatus.PARTIAL if partial else placed.status, venue_status=placed.status.value.lower(),
            size_left=placed.left, time_ms=now_ms, received_ms=now_ms,
            working=self.row(placed) if works and placed.kind is not OrderType.MARKET else None,
        ))  # fmt: skip

    def take_news(self) -> list[Any]:
        news, self.news = self.news, []
        return news

    # --- a hand on the mouse ------------------------------------------------------------------------------------------

    def hand(self, side: Side, size: int, now_ms: int) -> None:
        placed = self.keep(None, side, D(size), OrderType.MARKET, self.price)
        self.execute(placed, placed.size, self.price, now_ms)

    def hand_order(self, side: Side, size: int, kind: OrderType, level: Decimal, now_ms: int) -> Placed:
        placed = self.keep(None, side, D(size), kind, level)
        self.tell_order(placed, now_ms)
        return placed
