"""Matching as TopstepX's simulator does it: protocol page 2.6 to 2.10 and 8. No I/O and no clock.

A market order fills 8 to 25 ms later at the touch, a stop when a trade reaches it, a limit when one goes through it.
What happens later is put on a time table; `advance` plays it, `next_due_us` tells when it wants to be called. What
happened is fetched with `take_events`.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from decimal import Decimal

import msgspec

from sim.topstepx_checks import (
    BAD_LIMIT,
    BAD_STOP,
    BAD_TRAIL,
    MODIFY_REJECTED,
    PLACE_NO_CONTRACT,
    PLACE_NOT_ACTIVE,
    Prices,
    check_account,
    check_brackets,
    check_prices,
    is_bad_stop,
    trail_ticks,
)
from sim.topstepx_positions import Positions
from sim.topstepx_products import Contract
from sim.topstepx_types import (
    TERMINAL,
    Account,
    Bracket,
    Order,
    OrderChanged,
    OrderType,
    Placed,
    Refused,
    Request,
    Status,
)

FIRST_ORDER_ID = 3_400_000_000  # above 2^31, as in production
MARKET_US, CHILDREN_US, OCO_US, CANCEL_US = (8_000, 25_000), (500, 4_000), (11_000, 14_000), (500, 3_000)


class Rules(msgspec.Struct):
    """Behaviours that a fault or a test may change while running."""

    slip_ticks: tuple[int, ...] = (0, 1, 2)  # how much worse than its price a stop fills
    band: Decimal = Decimal("0.008")  # how far from the market a price may be; the venue's own is not known
    part: Decimal | None = None  # a market order or limit fills this part of its size first
    part_us: int = 300_000  # and the rest so much later
    opens_children: bool = True  # False: the children of an entry stay suspended
    children_late_us: int = 0
    races_cancel: bool = False  # an order that is to be canceled fills first


class Book(Positions):
    """Orders of all accounts. Prices come in through `quote` and `trade`."""

    def __init__(self, rng: random.Random, rules: Rules | None = None) -> None:
        super().__init__()
        self.rules = rules or Rules()
        self.prices: dict[str, Prices] = {}  # by contract id
        self.active: dict[str, Contract] = {}  # the contracts that take orders, by id
        self.orders: dict[int, Order] = {}  # every one ever
        self._live: dict[int, Order] = {}  # those that are not terminal
        self._closing: set[int] = set()
        self._rng = rng
        self._next_id = FIRST_ORDER_ID
        self._due: list[tuple[int, int, Callable[[int], None]]] = []
        self._sequence = itertools.count()

    # --- time -------------------------------------------------------------------------------------------------------

    def _later(self, now_us: int, window: tuple[int, int], action: Callable[[int], None]) -> None:
        heapq.heappush(self._due, (now_us + self._rng.randint(*window), next(self._sequence), action))

    def next_due_us(self) -> int | None:
        return self._due[0][0] if self._due else None

    def advance(self, now_us: int) -> None:
        """Do what has fallen due, in order."""
        while self._due and self._due[0][0] <= now_us:
            due_us, _, action = heapq.heappop(self._due)
            action(due_us)

    # --- reading ----------------------------------------------------------------------------------------------------

    def orders_of(self, account_id: int) -> list[Order]:
        """Every order ever, oldest first."""
        return [o for o in self.orders.values() if o.account_id == account_id]

    def live(self, account_id: int, contract_id: str | None = None) -> list[Order]:
        """Not terminal, oldest first; suspended children included."""
        return [o for o in self._live.values() if o.account_id == account_id and contract_id in (None, o.contract.id)]

    def prices_of(self, contract_id: str) -> Prices:
        return self.prices.setdefault(contract_id, Prices())

    # --- placing ----------------------------------------------------------------------------------------------------

    def place(self, request: Request, contract: Contract | None, now_us: int, closed: str | None = None) -> Placed:
        """Store first, then judge: a refused order has an id and status Rejected, its tag is used up."""
        account = self.accounts[request.account_id]
        if contract is None:
            return Placed(None, PLACE_NO_CONTRACT)
        if contract.id not in self.active:
            return Placed(None, PLACE_NOT_ACTIVE)
        order = self._store(request, contract, now_us)
        prices = self.prices_of(contract.id)
        refusal = (
            check_account(account, request, account.tags, closed)
            or check_prices(order, request, prices, self.rules.band)
            or check_brackets(account, request)
        )
        if request.tag is not None:
            account.tags.add(request.tag)
        if refusal is not None:
            self._set(order, Status.REJECTED, now_us)
            return Placed(order.id, refusal.code, refusal.message)
        self._accept(order, request, prices, now_us)
        return Placed(order.id)

    def reject(self, request: Request, contract: Contract, refusal: Refused, now_us: int) -> Placed:
        """Store an order and refuse it for a reason from outside."""
        order = self._store(request, contract, now_us)
        if request.tag is not None:
            self.accounts[request.account_id].tags.add(request.tag)
        self._set(order, Status.REJECTED, now_us)
        return Placed(order.id, refusal.code, refusal.message)

    def _new_id(self) -> int:
        self._next_id += 1 if self._rng.random() < 0.8 else self._rng.randint(2, 9)
        return self._next_id

    def _store(self, request: Request, contract: Contract, now_us: int) -> Order:
        known = request.type in OrderType.__members__.values()
        order = Order(
            self._new_id(),
            request.account_id,
            contract,
            OrderType(request.type) if known else OrderType.UNKNOWN,
            request.side,
            request.size,
            now_us,
            limit_price=request.limit_price,
            stop_price=request.stop_price,
            tag=request.tag,
        )
        self.orders[order.id] = order
        return order

    def _accept(self, order: Order, request: Request, prices: Prices, now_us: int) -> None:
        self._live[order.id] = order
        if order.type is OrderType.TRAILING_STOP:
            assert request.trail_price is not None and prices.last is not None
            self._trail(order, trail_ticks(order, request.trail_price, prices), prices.last)
        elif order.type in (OrderType.JOIN_BID, OrderType.JOIN_ASK):
            order.limit_price = prices.bid if order.type is OrderType.JOIN_BID else prices.ask
        order.children = self._make_children(order, request, now_us)
        is_market = order.type is OrderType.MARKET
        self._set(order, Status.PENDING if is_market else Status.OPEN, now_us)
        for child_id in order.children:
            self._set(self.orders[child_id], Status.SUSPENDED, now_us)
        if is_market or self._is_marketable(order):
            self._later(now_us, MARKET_US, lambda due_us: self._take_touch(order, due_us))

    def _make_children(self, entry: Order, request: Request, now_us: int) -> tuple[int, ...]:
        made: list[Order] = []
        for bracket, ending in ((request.stop_loss, "-SL"), (request.take_profit, "-TP")):
            if bracket is not None:
                made.append(self._make_child(entry, bracket, ending, now_us))
        if len(made) == 2:
            made[0].sibling_id, made[1].sibling_id = made[1].id, made[0].id
        return tuple(child.id for child in made)

    def _make_child(self, entry: Order, bracket: Bracket, ending: str, now_us: int) -> Order:
        child = Order(
            self._new_id(),
            entry.account_id,
            entry.contract,
            OrderType(bracket.type),
            1 - entry.side,
            entry.size,
            now_us,
            tag=None if entry.tag is None else entry.tag + ending,
            parent_id=entry.id,
            bracket=bracket,
        )
        self.orders[child.id] = self._live[child.id] = child
        return child

    def _set(self, order: Order, status: Status, now_us: int) -> None:
        """A new status, told to everybody; a final one ends the children that still wait for the order."""
        order.status = status
        if status is not Status.FILLED and now_us != order.created_us:
            order.updated_us = now_us
        if status in TERMINAL:
            self._live.pop(order.id, None)
        self.tell(OrderChanged(msgspec.structs.replace(order), now_us))
        if status in TERMINAL and not order.filled:
            for child_id in order.children:
                if (child := self._live.get(child_id)) is not None and child.status is Status.SUSPENDED:
                    self._set(child, Status.CANCELLED, now_us)

    # --- changing ---------------------------------------------------------------------------------------------------

    def modify(
        self,
        order: Order,
        size: int | None,
        limit: Decimal | None,
        stop: Decimal | None,
        trail: Decimal | None,
        now_us: int,
    ) -> Refused | None:
        """In place; None leaves a value as it is. A refusal leaves all of them."""
        prices = self.prices_of(order.contract.id)
        if order.status is not Status.OPEN or (size is not None and size <= order.filled):
            return Refused(MODIFY_REJECTED, None if size is None else f"Invalid order size ({size}).")
        if stop is not None and is_bad_stop(order, stop, prices):
            return Refused(MODIFY_REJECTED, BAD_STOP)
        if limit is not None and not order.contract.is_aligned(limit):
            return Refused(MODIFY_REJECTED, BAD_LIMIT)
        if trail is not None and (prices.last is None or not order.contract.is_aligned(trail)):
            return Refused(MODIFY_REJECTED, BAD_TRAIL)
        order.size = size or order.size
        if limit is not None and order.type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
            order.limit_price = limit
        if stop is not None and order.type in (OrderType.STOP, OrderType.STOP_LIMIT):
            order.stop_price = stop
        if trail is not None and order.type is OrderType.TRAILING_STOP and prices.last is not None:
            self._trail(order, trail_ticks(order, trail, prices), prices.last)
        self._set(order, Status.OPEN, now_us)
        if self._is_marketable(order):
            self._later(now_us, MARKET_US, lambda due_us: self._take_touch(order, due_us))
        return None

    def cancel(self, order: Order, now_us: int) -> bool:
        """Take the request; a fill within the next moments still wins. False: the order is terminal."""
        if order.status in TERMINAL:
            return False
        price = order.limit_price or self.prices_of(order.contract.id).touch(order.sign)
        if self.rules.races_cancel and order.status is not Status.SUSPENDED and price is not None:
            self.fill(order, price, order.left, now_us)
            return False
        self._later(now_us, CANCEL_US, lambda due_us: self.cancel_now(order, due_us))
        return True

    def close(self, account: Account, contract_id: str, size: int, now_us: int) -> Order:
        """A market order of the venue's own against what is held. The children of the entry go on working (2.7)."""
        position = account.positions[contract_id]
        side = 1 if position.sign > 0 else 0
        request = Request(account.id, contract_id, OrderType.MARKET, side, size)
        order = self._store(request, position.contract, now_us)
        self._closing.add(order.id)
        self._accept(order, request, self.prices_of(contract_id), now_us)
        return order

    def deal(self, request: Request, contract: Contract, price: Decimal, now_us: int) -> Order:
        """A market order that fills at once, at `price`: a trade by hand."""
        order = self._store(request, contract, now_us)
        self._live[order.id] = order
        self.fill(order, price, order.size, now_us)
        return order

    def is_closing(self, order: Order) -> bool:
        """Made by `close`."""
        return order.id in self._closing

    def cancel_now(self, order: Order, now_us: int) -> None:
        if order.status not in TERMINAL:
            self._set(order, Status.CANCELLED, now_us)

    # --- prices -----------------------------------------------------------------------------------------------------

    def quote(self, contract_id: str, bid: Decimal | None, ask: Decimal | None) -> None:
        """A new touch; it fills nothing (limits want a trade, page 6.8)."""
        prices = self.prices_of(contract_id)
        prices.bid, prices.ask = bid, ask

    def trade(self, contract_id: str, price: Decimal, now_us: int) -> None:
        """One public print: limits that it goes through fill, stops that it reaches fire."""
        self.prices_of(contract_id).last = price
        for order in [o for o in self._live.values() if o.contract.id == contract_id and o.status is Status.OPEN]:
            if order.status is Status.OPEN:  # an earlier one of this print may have ended it
                self._meet(order, price, now_us)

    def _meet(self, order: Order, price: Decimal, now_us: int) -> None:
        sign, limit, stop = order.sign, order.limit_price, order.stop_price
        if order.type in (OrderType.LIMIT, OrderType.JOIN_BID, OrderType.JOIN_ASK):
            if limit is not None and sign * (limit - price) > 0:
                self._fill_some(order, limit, now_us)
        elif stop is not None and sign * (price - stop) >= 0:
            if order.type is OrderType.STOP_LIMIT:
                order.type = OrderType.LIMIT
                self._set(order, Status.OPEN, now_us)
                self._take_touch(order, now_us)
            else:
                self.fill(order, self._stop_price(order, stop), order.left, now_us)
        elif order.type is OrderType.TRAILING_STOP and order.trail_ticks is not None:
            self._trail(order, abs(order.trail_ticks), price)

    def _stop_price(self, order: Order, stop: Decimal) -> Decimal:
        """A market order's price, never better than the stop, and a little worse at times."""
        sign = order.sign
        worse = stop + sign * self._rng.choice(self.rules.slip_ticks) * order.contract.tick
        touch = self.prices_of(order.contract.id).touch(sign)
        return worse if touch is None or sign * (worse - touch) >= 0 else touch

    def _trail(self, order: Order, ticks: int, price: Decimal) -> None:
        """Set or follow: the level only ever comes closer."""
        level = price + order.sign * ticks * order.contract.tick
        is_new = order.trail_ticks is None or abs(order.trail_ticks) != ticks
        if is_new or order.stop_price is None or order.sign * (order.stop_price - level) > 0:
            order.stop_price = level
        order.trail_ticks = order.sign * ticks

    def _is_marketable(self, order: Order) -> bool:
        if order.type is not OrderType.LIMIT or order.limit_price is None:
            return False
        touch = self.prices_of(order.contract.id).touch(order.sign)
        return touch is not None and order.sign * (order.limit_price - touch) >= 0

    def _take_touch(self, order: Order, now_us: int) -> None:
        """A market order, or a limit that crosses, trades at the touch; without one a market order is refused."""
        touch = self.prices_of(order.contract.id).touch(order.sign)
        if order.status in TERMINAL or (order.type is not OrderType.MARKET and not self._is_marketable(order)):
            return
        if touch is None:
            self._set(order, Status.REJECTED, now_us)
            return
        self._fill_some(order, touch, now_us)

    def _fill_some(self, order: Order, price: Decimal, now_us: int) -> None:
        """All that is left, or (rules.part) some now and the rest later."""
        part = self.rules.part
        if part is None or order.left < 2 or order.filled:
            self.fill(order, price, order.left, now_us)
            return
        self.fill(order, price, max(1, int(order.left * part)), now_us)
        late = (self.rules.part_us, self.rules.part_us)
        self._later(now_us, late, lambda due_us: self._finish_part(order, price, due_us))

    def _finish_part(self, order: Order, price: Decimal, now_us: int) -> None:
        if order.status not in TERMINAL:
            self.fill(order, price, order.left, now_us)

    # --- fills ------------------------------------------------------------------------------------------------------

    def fill(self, order: Order, price: Decimal, size: int, now_us: int) -> None:
        """Order first, then trade, position and account, then what it does to the pair."""
        order.filled += size
        order.filled_value += price * size
        self._set(order, Status.OPEN if order.left else Status.FILLED, now_us)
        self.net(order, price, size, now_us)
        if order.children and self.rules.opens_children:
            late = self.rules.children_late_us
            window = (CHILDREN_US[0] + late, CHILDREN_US[1] + late)
            self._later(now_us, window, lambda due_us: self._open_children(order, due_us))
        sibling = self.orders.get(order.sibling_id) if order.sibling_id is not None else None
        if sibling is not None and not order.left:
            self._later(now_us, OCO_US, lambda due_us: self.cancel_now(sibling, due_us))

    def _open_children(self, entry: Order, now_us: int) -> None:
        """Prices hang on the entry's average; the pair covers what has filled so far."""
        assert entry.average is not None
        for child_id in entry.children:
            child = self._live.get(child_id)
            if child is None or child.bracket is None or child.filled:
                continue
            average = (entry.average / child.contract.tick).to_integral_value() * child.contract.tick
            level = average + child.bracket.ticks * child.contract.tick
            if child.status is Status.SUSPENDED:
                if child.type is OrderType.LIMIT:
                    child.limit_price = level
                else:
                    child.stop_price = level
                if child.type is OrderType.TRAILING_STOP:
                    child.trail_ticks = (
                        -child.bracket.ticks if child.sign * child.bracket.ticks < 0 else child.bracket.ticks
                    )
            child.size = entry.filled
            self._set(child, Status.OPEN, now_us)
