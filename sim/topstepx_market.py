"""One contract's public face on the simulated TopstepX: quote, prints, bars, and how late they reach anybody. Pure."""

import random
from collections import deque
from collections.abc import Callable, Iterable
from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

import msgspec

from core.model import ZERO, Instrument, Side
from sim.topstepx_bars import Bars
from sim.topstepx_products import Contract, Product

VOLUME_A_MINUTE = 300.0  # contracts, made-up history


class Print(NamedTuple):
    price: Decimal
    size: int
    side: Side  # of the aggressor


class Quote(msgspec.Struct, frozen=True):
    """The touch and the session's figures."""

    bid: Decimal | None
    ask: Decimal | None
    last: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal  # of the session before
    volume: int


class Record(NamedTuple):
    """What one moment of one contract brought."""

    contract: Contract
    time_us: int
    quote: Quote
    prints: tuple[Print, ...]


class Late:
    """Hands records on `delay_us` after they came in."""

    def __init__(self, delay_us: int, sink: Callable[[Record], None]) -> None:
        self.delay_us = delay_us
        self._sink = sink
        self._waiting: deque[Record] = deque()

    def put(self, record: Record, now_us: int) -> None:
        if not self.delay_us and not self._waiting:
            self._sink(record)
            return
        self._waiting.append(record)
        self.flush(now_us)

    def flush(self, now_us: int) -> None:
        while self._waiting and self._waiting[0].time_us + self.delay_us <= now_us:
            self._sink(self._waiting.popleft())


def instrument_of(product: Product) -> Instrument:
    multiplier = product.tick_value / product.tick
    return Instrument(product.ticker, 0, Decimal(1), tick_size=product.tick, multiplier=multiplier)


class Market:
    """`offset`: how far this month trades from the product's own price path."""

    def __init__(self, contract: Contract, price: Decimal, offset: Decimal, bars_us: int, seed: int | str) -> None:
        """`bars_us`: where the made-up bars end."""
        self.contract = contract
        self.offset = offset
        last = self._round(price + offset)
        self.quote = Quote(None, None, last, last, last, last, last, 0)
        instrument = instrument_of(contract.product)
        self.bars = Bars(instrument, last, bars_us // 1000, f"{seed}/{contract.id}", VOLUME_A_MINUTE)
        self.late_bars = Late(0, self._to_bars)

    def _round(self, price: Decimal) -> Decimal:
        tick = self.contract.tick
        return (price / tick).to_integral_value() * tick

    def touch_at(self, mid: Decimal) -> tuple[Decimal, Decimal]:
        """Bid and ask around the product's price: one tick apart, two when it lies on a tick."""
        tick = self.contract.tick
        bid = ((mid + self.offset) / tick).to_integral_value(ROUND_FLOOR) * tick
        on_tick = bid == mid + self.offset
        return (bid - tick, bid + tick) if on_tick else (bid, bid + tick)

    def set_touch(self, bid: Decimal | None, ask: Decimal | None) -> None:
        self.quote = msgspec.structs.replace(self.quote, bid=bid, ask=ask)

    def print(self, prints: Iterable[Print]) -> None:
        """Take trades into the session's figures."""
        quote = self.quote
        for price, size, _ in prints:
            quote = msgspec.structs.replace(
                quote,
                last=price,
                high=max(quote.high, price),
                low=min(quote.low, price),
                volume=quote.volume + size,
            )
        self.quote = quote

    def new_session(self) -> None:
        last = self.quote.last
        self.quote = msgspec.structs.replace(self.quote, open=last, high=last, low=last, close=last, volume=0)

    def _to_bars(self, record: Record) -> None:
        for price, size, _ in record.prints:
            self.bars.add(price, size, record.time_us // 1000)


def thin(
    prints: Iterable[tuple[Decimal, Decimal, Side]],
    share: float,
    bid: Decimal,
    ask: Decimal,
    rnd: random.Random,
) -> tuple[Print, ...]:
    """The prints of a price path as prints of one contract: `share` of them, at its touch, a few contracts each."""
    return tuple(
        Print(ask if side is Side.BUY else bid, max(1, int(rnd.lognormvariate(0.2, 0.8))), side)
        for _, _, side in prints
        if share >= 1 or rnd.random() < share
    )


def changed_fields(old: Quote | None, new: Quote) -> dict[str, Decimal | int]:
    """What a partial GatewayQuote carries: the fields that differ, all of them when there is no old one."""
    names = {"bid": "bestBid", "ask": "bestAsk", "last": "lastPrice", "open": "open", "high": "high", "low": "low"}
    row: dict[str, Decimal | int] = {}
    for field, name in (*names.items(), ("volume", "volume")):
        value = getattr(new, field)
        if value is not None and (old is None or getattr(old, field) != value):
            row[name] = value
    if old is None or old.last != new.last or old.close != new.close:
        change = new.last - new.close
        row["change"] = change
        row["changePercent"] = round(100 * change / new.close, 2) if new.close else ZERO
    return row
