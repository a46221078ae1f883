"""The dry run: real prices, orders matched here by the simulated exchange. Runs on the main thread, touches no network.

An account survives restarts in `logs/paper-account.json`: cash, positions and the stops that rest.
"""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from core.messages import (
    AccountSnapshot,
    AnyAction,
    AnyEvent,
    Arm,
    Cancel,
    CancelAnswered,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUpdate,
    PolledPrice,
    ReadAccount,
    ReadOrders,
    RejectReason,
    Settle,
    Submit,
    WorkingOrders,
)
from core.model import (
    ZERO,
    Book,
    Fill,
    Instrument,
    MarkPrice,
    Order,
    OrderStatus,
    OrderType,
    Quote,
    Side,
    TimeInForce,
    Trade,
    VenuePosition,
    WorkingOrder,
)
from sim.accounts import Leverage, Position
from sim.book import Level
from sim.exchange import Exchange, ExchangeRules
from sim.margin import account_value, leverage_of, liquidation_price, withdrawable
from sim.orders import ExchangeEvent, Execution, OrderChanged, Placed, Refused, Request, Status, Trigger

ACCOUNT = "paper"
FUND = Decimal(10_000)
DEPTH = Decimal(1_000_000)  # money assumed behind a best price whose size is unknown
REASONS = {
    Status.TICK: RejectReason.BAD_PRICE,
    Status.BAND: RejectReason.BAD_PRICE,
    Status.LOT: RejectReason.BAD_SIZE,
    Status.ZERO_SIZE: RejectReason.BAD_SIZE,
    Status.MIN_NOTIONAL: RejectReason.MIN_NOTIONAL,
    Status.MARGIN: RejectReason.MARGIN,
    Status.REDUCE_ONLY: RejectReason.WOULD_INCREASE,
    Status.WOULD_CROSS: RejectReason.POST_ONLY,
    Status.NO_MATCH: RejectReason.NO_LIQUIDITY,
    Status.NO_LIQUIDITY: RejectReason.NO_LIQUIDITY,
    Status.BAD_TRIGGER: RejectReason.BAD_TRIGGER,
    Status.TOO_MANY: RejectReason.TOO_MANY_ORDERS,
}


class Inner(Protocol):
    """Carries out what needs the real venue: bars, prices, the stream."""

    def act(self, action: AnyAction, body: bytes | None) -> None: ...

    def stay_keen(self, on: bool) -> None: ...


class Clock(Protocol):
    def now_ms(self) -> int: ...


class SavedOrder(msgspec.Struct):
    symbol: str
    side: Side
    trigger_price: Decimal
    price: Decimal


class SavedAccount(msgspec.Struct):
    balance: Decimal
    sizes: dict[str, Decimal]
    entry_prices: dict[str, Decimal]
    stops: list[SavedOrder]
    first_id: int  # ids go on where they ended: a fill id may not repeat


class PaperVenue:
    """Answers order actions from an exchange of its own, fed with the real market's quotes and trades."""

    def __init__(
        self,
        instruments: Iterable[Instrument],
        leverages: dict[str, int],
        inner: Inner,
        inbox: Any,
        clock: Clock,
        path: Path,
        rules: ExchangeRules | None = None,
        fund: Decimal = FUND,
    ) -> None:
        """`rules` of the matching; `fund` is what a new account begins with."""
        self._inner, self._inbox, self._clock, self._path = inner, inbox, clock, path
        instruments = list(instruments)
        saved = load(path, fund)
        self._exchange = Exchange(instruments, rules, first_id=saved.first_id)
        account = self._exchange.open_account(ACCOUNT, saved.balance)
        for instrument in instruments:
            leverage = leverages.get(instrument.symbol) or instrument.max_leverage
            account.leverages[instrument.symbol] = Leverage(leverage)
        for symbol, size in saved.sizes.items():
            if symbol in self._exchange.markets:
                account.positions[symbol] = Position(
                    symbol, size, saved.entry_prices[symbol], leverage=account.leverages[symbol]
                )
        for stop in saved.stops:
            if stop.symbol in self._exchange.markets:
                self._exchange.submit(ACCOUNT, stop_request(stop), clock.now_ms())
        self._last_id = saved.first_id

    # --- prices -------------------------------------------------------------------------------------------------------

    def on_market_data(self, event: AnyEvent) -> None:
        now_ms = event.received_ms
        match event:
            case Trade() if event.symbol in self._exchange.markets:
                self._tell(self._exchange.trade(event.symbol, event.price, event.size, event.side, now_ms))
                if self._exchange.rules.triggers_on_last:  # a venue without a mark price
                    self._tell(self._exchange.set_mark(event.symbol, event.price, now_ms))
            case Quote() if event.symbol in self._exchange.markets:
                bids = self._level(event.symbol, event.bid, event.bid_size)
                asks = self._level(event.symbol, event.ask, event.ask_size)
                self._tell(self._exchange.set_book(event.symbol, bids, asks, now_ms))
            case Book() if event.symbol in self._exchange.markets:
                self._tell(self._exchange.set_book(event.symbol, event.bids, event.asks, now_ms))
            case MarkPrice() if event.symbol in self._exchange.markets:
                self._tell(self._exchange.set_mark(event.symbol, event.mark, now_ms, event.oracle))
            case PolledPrice() if event.symbol in self._exchange.markets:
                bid, ask = event.bid or event.price, event.ask or event.price
                bids, asks = self._level(event.symbol, bid, None), self._level(event.symbol, ask, None)
                self._tell(self._exchange.set_book(event.symbol, bids, asks, now_ms))
                self._tell(self._exchange.set_mark(event.symbol, event.mark or event.price, now_ms))

    def _level(self, symbol: str, price: Decimal | None, size: Decimal | None) -> list[Level]:
        """The best level of one side; a size that nobody names is taken to be enough."""
        if price is None:
            return []
        if size is None:
            instrument = self._exchange.markets[symbol].instrument
            size = instrument.round_size(DEPTH / (price * instrument.multiplier)) or instrument.lot_size
        return [(price, size)]

    def stay_keen(self, on: bool) -> None:
        self._inner.stay_keen(on)

    def rehearse(self) -> None:
        """Nothing leaves this machine."""

    # --- actions ------------------------------------------------------------------------------------------------------

    def act(self, action: AnyAction, body: bytes | None) -> None:
        now_ms = self._clock.now_ms()
        match action:
            case Submit():
                self._submit(action.order, now_ms)
            case Arm():
                pass  # nothing to sign
            case Cancel():
                self._tell(self._exchange.cancel(ACCOUNT, action.order_id, now_ms))
                self._inbox.put(CancelAnswered(
                    symbol=action.symbol, order_id=action.order_id, gone=True, error=None, received_ms=now_ms
                ))  # fmt: skip
            case Settle():
                self._inbox.put(self._settled(action.order, now_ms))
            case ReadOrders():
                self._inbox.put(WorkingOrders(orders=self._listing(), requested_ms=now_ms, received_ms=now_ms))
            case ReadAccount():
                self._inbox.put(self._snapshot(now_ms))
            case _:
                self._inner.act(action, body)

    def _submit(self, order: Order, now_ms: int) -> None:
        request = request_of(order)
        fault = self._exchange.check(request)
        if fault is not None:
            self._inbox.put(self._rejected(order, fault, now_ms))
            return
        group = self._exchange.new_group() if order.whole_position else 0
        answer, events = self._exchange.submit(ACCOUNT, request, now_ms, group)
        match answer:
            case Refused():
                self._inbox.put(self._rejected(order, answer.status, now_ms))
            case Placed():
                self._last_id = max(self._last_id, answer.order_id)
                filled = answer.filled > 0
                self._inbox.put(OrderAccepted(
                    client_id=order.client_id, symbol=order.symbol,
                    order_id=None if order.whole_position else answer.order_id,
                    status=OrderStatus.FILLED if filled else OrderStatus.ACCEPTED, filled_size=answer.filled,
                    average_price=answer.average, received_ms=now_ms,
                ))  # fmt: skip
        self._tell(events)

    def _rejected(self, order: Order, status: Status, now_ms: int) -> OrderRejected:
        reason = REASONS.get(status, RejectReason.OTHER)
        return OrderRejected(
            client_id=order.client_id, symbol=order.symbol, reason=reason, text=status.value, received_ms=now_ms
        )

    def _settled(self, order: Order, now_ms: int) -> OrderSettled:
        """Only after a restart: what was answered is known, what was not never reached this exchange."""
        match = next((o for o in self._exchange.orders_of(ACCOUNT) if o.request.client_id == order.client_id), None)
        status = OrderStatus.REJECTED if match is None else OrderStatus.ACCEPTED
        return OrderSettled(
            client_id=order.client_id, symbol=order.symbol, order_id=None if match is None else match.order_id,
            status=status, filled_size=ZERO if match is None else match.filled,
            text="not placed" if match is None else "listed", received_ms=now_ms,
        )  # fmt: skip

    # --- what happened ----------------------------------------------------------------------------------------------

    def _tell(self, events: list[ExchangeEvent]) -> None:
        changed = False
        for event in events:
            match event:
                case Execution():
                    changed = True
                    self._inbox.put(fill_of(event))
                case OrderChanged() if event.status is not Status.OPEN:
                    changed = True
                    self._inbox.put(update_of(event))
        if changed:
            self.save()

    def _listing(self) -> tuple[WorkingOrder, ...]:
        return tuple(
            WorkingOrder(
                symbol=o.request.symbol, side=o.request.side, order_id=o.order_id, client_id=o.request.client_id,
                size=o.left, price=o.request.price,
                trigger_price=None if o.request.trigger is None else o.request.trigger.price,
                is_stop=o.request.trigger is not None and o.request.trigger.is_stop,
                reduce_only=o.request.reduce_only, whole_position=o.request.whole_position, time_ms=o.time_ms,
            )
            for o in self._exchange.orders_of(ACCOUNT)
        )  # fmt: skip

    def _snapshot(self, now_ms: int) -> AccountSnapshot:
        account, markets = self._exchange.accounts[ACCOUNT], self._exchange.markets
        positions = tuple(
            VenuePosition(
                symbol=symbol, size=position.size, entry_price=position.entry_price,
                unrealized_pnl=position.pnl(markets[symbol].mark or position.entry_price),
                liquidation_price=liquidation_price(account, markets, symbol) if markets[symbol].mark else None,
                leverage=leverage_of(account, markets[symbol]).value, is_cross=position.leverage.is_cross,
            )
            for symbol, position in account.positions.items()
        )  # fmt: skip
        initial = self._exchange.initial_margin(ACCOUNT)
        self.save()
        return AccountSnapshot(
            equity=account_value(account, markets), available=withdrawable(account, markets, initial),
            positions=positions, orders=self._listing(), requested_ms=now_ms, time_ms=now_ms, received_ms=now_ms,
            balance=None if self._exchange.rules.has_margin else account.balance,
        )  # fmt: skip

    def save(self) -> None:
        """Small, and only when something changed; a failure costs a restart its paper positions, nothing else."""
        account = self._exchange.accounts[ACCOUNT]
        stops = [
            SavedOrder(o.request.symbol, o.request.side, o.request.trigger.price, o.request.price)
            for o in self._exchange.orders_of(ACCOUNT)
            if o.request.trigger is not None
        ]
        saved = SavedAccount(
            balance=account.balance,
            sizes={symbol: position.size for symbol, position in account.positions.items()},
            entry_prices={symbol: position.entry_price for symbol, position in account.positions.items()},
            stops=stops,
            first_id=self._last_id + 1_000,
        )
        draft = self._path.with_suffix(".tmp")
        try:
            draft.write_bytes(msgspec.json.encode(saved))
            draft.replace(self._path)
        except OSError:
            return  # the journal's own failure on the same disk is what gets reported


def load(path: Path, fund: Decimal = FUND) -> SavedAccount:
    """The saved account, or a fresh one with `fund`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=SavedAccount)
    except (FileNotFoundError, msgspec.MsgspecError):
        return SavedAccount(fund, {}, {}, [], 1)


def request_of(order: Order) -> Request:
    trigger = None
    if order.trigger_price is not None:
        trigger = Trigger(order.trigger_price, is_stop=order.type is OrderType.STOP)
    return Request(
        symbol=order.symbol, side=order.side, size=order.size, price=order.price,
        time_in_force=order.time_in_force, reduce_only=order.reduce_only, client_id=order.client_id, trigger=trigger,
        whole_position=order.whole_position,
    )  # fmt: skip


def stop_request(stop: SavedOrder) -> Request:
    return Request(
        symbol=stop.symbol, side=stop.side, size=ZERO, price=stop.price, time_in_force=TimeInForce.GTC,
        reduce_only=True, trigger=Trigger(stop.trigger_price, is_stop=True), whole_position=True,
    )  # fmt: skip


def fill_of(execution: Execution) -> Fill:
    return Fill(
        symbol=execution.symbol, side=execution.side, price=execution.price, size=execution.size, fee=execution.fee,
        closed_pnl=execution.closed_pnl, order_id=execution.order_id, client_id=execution.client_id,
        fill_id=f"paper:{execution.time_ms}:{execution.symbol}:{execution.trade_id}", time_ms=execution.time_ms,
        received_ms=execution.time_ms, start_position=execution.start_position,
        is_liquidation=execution.liquidation is not None,
    )  # fmt: skip


def update_of(changed: OrderChanged) -> OrderUpdate:
    status = OrderStatus.CANCELED
    if changed.status is Status.FILLED:
        status = OrderStatus.FILLED
    elif changed.status is Status.TRIGGERED:
        status = OrderStatus.ACCEPTED
    elif changed.status.value.endswith("Rejected"):
        status = OrderStatus.REJECTED
    order = changed.order
    return OrderUpdate(
        symbol=order.request.symbol, order_id=order.order_id, client_id=order.request.client_id, status=status,
        venue_status=changed.status.value, size_left=order.left, time_ms=changed.time_ms, received_ms=changed.time_ms,
    )  # fmt: skip
