"""What an account holds, and the arithmetic of margin: protocol page 2.4, 6.3 and 6.4."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from core.model import ZERO, Side


class Tier(msgspec.Struct, frozen=True):
    """From lower_bound of notional on, leverage is at most max_leverage."""

    lower_bound: Decimal
    max_leverage: int


class MarginTable:
    """Maintenance margin by notional: notional * rate(k) - deduction(k)."""

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self.tiers = tuple(tiers)
        self._rows: list[tuple[Decimal, Decimal, Decimal]] = []  # lower bound, rate, deduction
        deduction, rate = ZERO, ZERO
        for tier in self.tiers:
            new_rate = 1 / (2 * Decimal(tier.max_leverage))
            deduction += tier.lower_bound * (new_rate - rate)
            self._rows.append((tier.lower_bound, new_rate, deduction))
            rate = new_rate

    def _row(self, notional: Decimal) -> tuple[Decimal, Decimal, Decimal]:
        return next((row for row in reversed(self._rows) if notional >= row[0]), self._rows[0])

    def rate(self, notional: Decimal) -> Decimal:
        return self._row(notional)[1]

    def maintenance(self, notional: Decimal) -> Decimal:
        _, rate, deduction = self._row(notional)
        return notional * rate - deduction


class Leverage(msgspec.Struct, frozen=True):
    value: int
    is_cross: bool = True


class Position(msgspec.Struct):
    """A net position. closing and opening are split by `apply`; fees are no part of it."""

    symbol: str
    size: Decimal = ZERO  # signed
    entry_price: Decimal = ZERO
    multiplier: Decimal = Decimal(1)
    leverage: Leverage = Leverage(20)  # as it was when opened or last increased
    isolated_margin: Decimal = ZERO  # collateral set aside, isolated positions only
    funding: Decimal = ZERO  # paid since it was opened; negative: received

    def pnl(self, price: Decimal) -> Decimal:
        return self.size * (price - self.entry_price) * self.multiplier

    def notional(self, price: Decimal) -> Decimal:
        return abs(self.size) * price * self.multiplier

    def closable(self, side: Side) -> Decimal:
        """How much an order of `side` can reduce."""
        return abs(self.size) if self.size * side.sign < 0 else ZERO

    def apply(self, side: Side, price: Decimal, size: Decimal) -> Decimal:
        """Take a fill into the position; return the realised profit of the closed part."""
        closing = min(size, self.closable(side))
        realised = closing * (price - self.entry_price) * -side.sign * self.multiplier if closing else ZERO
        opening = size - closing
        held = abs(self.size) - closing
        if opening:
            self.entry_price = (self.entry_price * held + price * opening) / (held + opening)
        self.size += side.sign * size
        if not self.size:
            self.entry_price = ZERO
        return realised


class Account:
    """One account: free collateral, positions, chosen leverages. `balance` holds no open profit."""

    def __init__(self, name: str, balance: Decimal) -> None:
        self.name = name
        self.balance = balance
        self.spot_balance = ZERO
        self.positions: dict[str, Position] = {}  # open ones only
        self.leverages: dict[str, Leverage] = {}
        self.volume = ZERO  # traded notional, ever
        self.maker_volume = ZERO
        self.liquidated_ms: int | None = None  # the last partial liquidation
        self.funding_ever: dict[str, Decimal] = {}

    def held(self, symbol: str) -> Decimal:
        position = self.positions.get(symbol)
        return position.size if position else ZERO
