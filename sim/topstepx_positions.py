"""What fills do to the accounts of the simulated TopstepX: netting, lots first in first out, costs. Pure.

Protocol page 2.9 and 2.10: one position a contract, `profitAndLoss` only on rows that close, a row for each lot.
"""

from decimal import Decimal

from sim.topstepx_types import (
    Account,
    AccountChanged,
    BookEvent,
    Execution,
    Lot,
    Order,
    Position,
    PositionChanged,
    gross,
)

FIRST_TRADE_ID = 2_900_000_000
FIRST_POSITION_ID = 825_000_000
ROW_US = 25  # between the rows of one fill


class Positions:
    """Accounts with what they hold, the executions of all time, and the events nobody has fetched yet."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.executions: list[Execution] = []
        self._events: list[BookEvent] = []
        self._trade_id = FIRST_TRADE_ID
        self._position_id = FIRST_POSITION_ID

    def tell(self, event: BookEvent) -> None:
        self._events.append(event)

    def take_events(self) -> list[BookEvent]:
        events, self._events = self._events, []
        return events

    def net(self, order: Order, price: Decimal, size: int, now_us: int) -> None:
        """Apply a fill: close what is held the other way, lot by lot, then open what is left of it."""
        account = self.accounts[order.account_id]
        position = account.positions.get(order.contract.id)
        left = size
        if position is not None and position.sign != order.sign:
            left, now_us = self._close(account, position, order, price, left, now_us)
        if left:
            self._open(account, order, price, left, now_us)
        self.tell(AccountChanged(account.id))

    def _close(
        self, account: Account, position: Position, order: Order, price: Decimal, size: int, now_us: int
    ) -> tuple[int, int]:
        """Returns the size that is left, and the time of the next row."""
        average = position.average
        while size and position.lots:
            lot = position.lots[0]
            part = min(size, lot.size)
            profit = gross(position.contract, position.sign, lot.price, price, part)
            self._book(account, order, price, part, profit, now_us)
            lot.size -= part
            size -= part
            now_us += ROW_US
            if not lot.size:
                del position.lots[0]
        if position.lots:
            self._position_changed(account, position, position.size, position.average)
        else:
            del account.positions[position.contract.id]
            self._position_changed(account, position, 0, average)
        return size, now_us

    def _open(self, account: Account, order: Order, price: Decimal, size: int, now_us: int) -> None:
        position = account.positions.get(order.contract.id)
        if position is None:
            self._position_id += 1
            position = Position(self._position_id, order.contract, order.sign, now_us, [])
            account.positions[order.contract.id] = position
        position.lots.append(Lot(size, price))
        self._book(account, order, price, size, None, now_us)
        self._position_changed(account, position, position.size, position.average)

    def _book(
        self, account: Account, order: Order, price: Decimal, size: int, profit: Decimal | None, now_us: int
    ) -> None:
        product = order.contract.product
        self._trade_id += 1
        row = Execution(
            self._trade_id,
            account.id,
            order.contract,
            order.id,
            order.side,
            size,
            price,
            profit,
            product.fees * size,
            product.commission * size,
            now_us,
        )
        account.balance += (profit or 0) - row.fees - row.commissions
        self.executions.append(row)
        self.tell(row)

    def _position_changed(self, account: Account, position: Position, size: int, average: Decimal) -> None:
        self.tell(
            PositionChanged(
                position.id, account.id, position.contract, position.sign, size, average, position.created_us
            )
        )
