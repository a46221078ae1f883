"""Values for events, from the plausible to what no adapter would ever make. All chance comes from one `Random`."""

import random
from decimal import Decimal
from typing import Any

from core.model import Bar, Side, VenuePosition, WorkingOrder
from core.rules import Rules
from core.state import State

D = Decimal
ODD_NUMBERS = tuple(
    D(text)
    for text in (
        *("NaN", "sNaN", "Infinity", "-Infinity", "0", "-0", "-1", "1E+400", "1E-400", "1E+999999", "-1E+999999"),
        *("1E-999999", "123456789012345678901234567890.123456789012345678901234567890", "0.000000000000000000001"),
        *("1E+12", "1E+15", "-0.00001", "1E+3", "9.99E-13", "1E-12"),
    )
)
ODD_INTEGERS = (0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 10**13, 10**14, 10**18, 10**30)
ODD_TEXTS = ("", " ", "\n", "\x00", "0x", "BTC ", "btc", "€💥", "a" * 5_000, "null", "'; --", "-SL", "\u202e")
DAY_MS = 86_400_000


class Values:
    """Numbers, times, names and rows for events, some of them wild."""

    def __init__(self, rng: random.Random, rules: Rules, base: dict[str, Decimal], oddity: float) -> None:
        """`oddity`: the share of values that are wild, 0 to 1."""
        self.rng, self.rules, self.price, self.oddity = rng, rules, dict(base), oddity
        self.now_ms = 0
        self.asked: list[Any] = []  # actions that wait for an answer
        self._id = 0

    # --- values -----------------------------------------------------------------------------------------------------

    def odd(self) -> bool:
        return self.rng.random() < self.oddity

    def id(self) -> int:
        self._id += 1
        return self._id

    def symbol(self) -> str:
        return self.rng.choice(ODD_TEXTS) if self.odd() else self.rng.choice(list(self.rules.markets))

    def text(self) -> str:
        return self.rng.choice(ODD_TEXTS) if self.odd() else "words"

    def number(self, around: Decimal) -> Decimal:
        if self.odd():
            return self.rng.choice(ODD_NUMBERS)
        if self.odd():
            return around * D(self.rng.choice(("-1", "0.001", "0.5", "1.5", "2", "1000", "1.00000000000000000001")))
        return around

    def near(self, symbol: str) -> Decimal:
        """A price a little off the last one."""
        return self.price.get(symbol, D(100)) * (1000 + self.rng.randint(-8, 8)) / 1000

    def a_price(self, symbol: str) -> Decimal:
        market = self.rules.markets.get(symbol)
        price = self.near(symbol)
        return self.number(price if market is None else market.instrument.round_price(price))

    def size(self, symbol: str) -> Decimal:
        market = self.rules.markets.get(symbol)
        lot = D(1) if market is None else market.instrument.lot_size
        return self.number(lot * self.rng.choice((1, 1, 1, 2, 3, 10, 1000)))

    def when(self, back_ms: int = 200) -> int:
        """A venue time, mostly of just now."""
        if not self.odd():
            return self.now_ms - self.rng.randint(0, back_ms)
        if self.odd():
            return self.rng.choice(ODD_INTEGERS)
        return self.now_ms + self.rng.choice((-DAY_MS, DAY_MS, -900_000, 900_000, 60_000, -60_000, 20 * DAY_MS))

    def received(self) -> int:
        return self.rng.choice(ODD_INTEGERS) if self.odd() and self.odd() else self.now_ms

    def signed(self, size: Decimal) -> Decimal:
        return size.copy_negate() if self.rng.random() < 0.5 else size

    def side(self) -> Side:
        return self.rng.choice((Side.BUY, Side.SELL))

    # --- what the state knows ---------------------------------------------------------------------------------------

    def client_id(self, state: State, symbol: str) -> str:
        market = state.markets.get(symbol)
        known = list(market.orders) if market is not None else []
        return self.rng.choice(known) if known and not self.odd() else self.text()

    def order_id(self, state: State, symbol: str) -> int:
        market = state.markets.get(symbol)
        ids = [] if market is None else [r.order_id for r in market.orders.values() if r.order_id is not None]
        if market is not None:
            ids += [stop.order_id for stop in market.stops]
        if ids and self.rng.random() < 0.7:
            return self.rng.choice(ids)
        return self.rng.choice(ODD_INTEGERS) if self.odd() else self.id()

    def working(self, state: State, symbol: str) -> WorkingOrder:
        is_stop = self.rng.random() < 0.6
        price = self.a_price(symbol)
        return WorkingOrder(
            symbol=symbol, side=self.side(), order_id=self.order_id(state, symbol),
            client_id=self.rng.choice((None, self.client_id(state, symbol))), size=self.size(symbol), price=price,
            trigger_price=price if is_stop else None, is_stop=is_stop, reduce_only=self.rng.random() < 0.8,
            whole_position=self.rng.random() < 0.5, time_ms=self.when(),
            parent_id=self.rng.choice((None, self.order_id(state, symbol))),
        )  # fmt: skip

    def held(self, symbol: str) -> VenuePosition:
        market = self.rules.markets.get(symbol)
        contract = "" if market is None else market.instrument.contract_id
        return VenuePosition(
            symbol=symbol, size=self.signed(self.size(symbol)), entry_price=self.a_price(symbol),
            unrealized_pnl=self.number(D(1)),
            liquidation_price=None if self.rng.random() < 0.7 else self.number(self.near(symbol) / 2),
            leverage=1, is_cross=True, multiplier=self.number(D(10)),
            contract_id=self.text() if self.odd() else contract,
        )  # fmt: skip

    def bar(self, symbol: str, open_ms: int) -> Bar:
        prices = [self.a_price(symbol) for _ in range(4)]
        return Bar(open_ms, open_ms + 999 if not self.odd() else self.when(), *prices, self.size(symbol))
