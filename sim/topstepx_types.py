"""The words of the simulated TopstepX: orders, accounts, positions, and what comes out of the book. Values only.

Prices are Decimal, times UTC microseconds (`_us`): the venue writes them so fine.
"""

import enum
from decimal import Decimal

import msgspec

from core.model import ZERO
from sim.topstepx_products import Contract


class OrderType(enum.IntEnum):
    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7


class Status(enum.IntEnum):
    NONE = 0
    OPEN = 1
    FILLED = 2
    CANCELLED = 3
    EXPIRED = 4
    REJECTED = 5
    PENDING = 6
    PENDING_CANCELLATION = 7
    SUSPENDED = 8


TERMINAL = frozenset({Status.FILLED, Status.CANCELLED, Status.EXPIRED, Status.REJECTED})


class Bracket(msgspec.Struct, frozen=True):
    """A child to come: `ticks` is signed, from the entry's fill price."""

    ticks: int
    type: int  # OrderType, if it is one


class Request(msgspec.Struct, frozen=True):
    """An order as asked for, types not yet judged. side: 0 buy, 1 sell."""

    account_id: int
    contract_id: str
    type: int
    side: int
    size: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    tag: str | None = None
    stop_loss: Bracket | None = None
    take_profit: Bracket | None = None


class Order(msgspec.Struct):
    """An order as the venue keeps it, whatever became of it. Changed only by the book."""

    id: int
    account_id: int
    contract: Contract
    type: OrderType
    side: int  # 0 buy, 1 sell
    size: int
    created_us: int
    status: Status = Status.PENDING
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_ticks: int | None = None  # signed, as the venue shows it
    tag: str | None = None
    updated_us: int | None = None  # fills do not touch it (page 2.5)
    filled: int = 0
    filled_value: Decimal = ZERO  # sum of price * size
    parent_id: int | None = None
    sibling_id: int | None = None  # the other child of the pair
    bracket: Bracket | None = None  # of a child: where its price comes from
    children: tuple[int, ...] = ()

    @property
    def sign(self) -> int:
        return 1 if self.side == 0 else -1

    @property
    def left(self) -> int:
        return self.size - self.filled

    @property
    def average(self) -> Decimal | None:
        return self.filled_value / self.filled if self.filled else None


class Lot(msgspec.Struct):
    size: int
    price: Decimal


class Position(msgspec.Struct):
    """What is held of one contract: lots, oldest first."""

    id: int
    contract: Contract
    sign: int  # +1 long, -1 short
    created_us: int
    lots: list[Lot]

    @property
    def size(self) -> int:
        return sum(lot.size for lot in self.lots)

    @property
    def average(self) -> Decimal:
        """Weighted mean of the lots still held, so that it agrees with the profit that closing them will book."""
        return sum((lot.price * lot.size for lot in self.lots), ZERO) / self.size

    def profit(self, price: Decimal) -> Decimal:
        return sum((gross(self.contract, self.sign, lot.price, price, lot.size) for lot in self.lots), ZERO)


class Account(msgspec.Struct):
    id: int
    name: str
    balance: Decimal
    can_trade: bool = True
    is_visible: bool = True
    is_auto_oco: bool = True  # False: Position Brackets
    positions: dict[str, Position] = {}  # by contract id
    tags: set[str] = set()  # ever used

    def held(self, contract_id: str) -> int:
        """Signed size."""
        position = self.positions.get(contract_id)
        return position.sign * position.size if position else 0


class Placed(msgspec.Struct, frozen=True):
    """The answer to `place`. `order_id` may be set although `code` (page 1.7) is not 0."""

    order_id: int | None
    code: int = 0
    message: str | None = None


class Refused(msgspec.Struct, frozen=True):
    code: int
    message: str | None = None


# --- events -----------------------------------------------------------------------------------------------------------


class OrderChanged(msgspec.Struct, frozen=True):
    order: Order  # a copy
    time_us: int


class Execution(msgspec.Struct, frozen=True):
    """A half-turn. `profit` is gross, None on a row that opens."""

    id: int
    account_id: int
    contract: Contract
    order_id: int
    side: int
    size: int
    price: Decimal
    profit: Decimal | None
    fees: Decimal
    commissions: Decimal
    time_us: int
    is_voided: bool = False


class PositionChanged(msgspec.Struct, frozen=True):
    """`size` 0: closed; `average` is then the last one."""

    id: int
    account_id: int
    contract: Contract
    sign: int
    size: int
    average: Decimal
    created_us: int


class AccountChanged(msgspec.Struct, frozen=True):
    account_id: int


BookEvent = OrderChanged | Execution | PositionChanged | AccountChanged


def gross(contract: Contract, sign: int, entry: Decimal, price: Decimal, size: int) -> Decimal:
    """Profit before costs of `size` contracts, held long (+1) or short (-1)."""
    return sign * (price - entry) / contract.tick * contract.product.tick_value * size
