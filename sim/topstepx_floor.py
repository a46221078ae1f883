"""The trading floor of the simulated TopstepX: its clocks, its contracts, the price paths and who hears of them when.

Two clocks: `now_us` stamps everything and is the wall clock (plus what a test or `--clock` adds); `session_us` decides
what is open. Without `--clock` the session clock starts at 9:30 AM Chicago of the newest ordinary trading day, whatever
the hour: a newcomer can trade at once, and 3:10 PM comes 5 h 40 min later.
"""

import random
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec

from core.model import Side
from sim.faults import Faults
from sim.market import PRESETS, PricePath, PriceSource, Replay, read_replay
from sim.topstepx_book import Book
from sim.topstepx_market import Late, Market, Print, Record, instrument_of, thin
from sim.topstepx_products import PRODUCTS, Contract, Product, active_contract, next_contract, parse_contract
from sim.topstepx_sessions import chicago, closed, morning_of, quotes_flow
from sim.topstepx_types import BookEvent

CARRY = Decimal("0.003")  # the next month trades that much higher
PRIME_STEPS = 900  # with a delay: prices made up for the time before the start


class TopstepxConfig(msgspec.Struct, kw_only=True):
    """How the simulated venue is set up. Seconds and milliseconds are of the wall clock."""

    seed: int = 1
    preset: str = "lively"  # a key of sim.market.PRESETS
    paused: bool = False  # no price moves by itself
    replay: Path | None = None  # prices of `replay_symbol`
    replay_symbol: str = "MGC"
    speed: float = 1.0
    block_ms: int = 24  # about 42 quotes a second on the busiest contract (page 3.5)
    limits: bool = True  # 50 bar requests in 30 s, 200 others in 60 s
    brackets: str = "auto-oco"  # or "position"
    delay_s: float = 0.0
    delay_what: str = "both"  # rest, hub, both
    clock_us: int = 0  # added to the wall clock
    real_hours: bool = False  # the session clock is the venue's clock
    user: str = "demo"
    api_key: str = "demo"
    token_s: float = 86_400.0
    latency_ms: int = 0  # before every REST answer
    ping_s: float = 15.0
    client_timeout_s: float = 30.0
    handshake_s: float = 15.0
    idle_close_s: float = 75.0
    guards: bool = True  # the venue locks accounts that break their programme's limits


class Floor:
    """Contracts wake when somebody first asks about them; the others cost nothing."""

    def __init__(self, config: TopstepxConfig) -> None:
        self.config = config
        self.faults = Faults()
        self.skew_us = config.clock_us
        start_us = self.now_us()
        self._session_shift_us = 0 if config.real_hours else morning_of(start_us) - start_us
        self.random = random.Random(f"{config.seed}/topstepx")
        self.book = Book(random.Random(f"{config.seed}/book"))
        self.active: dict[str, Contract] = {}  # by ticker
        self.markets: dict[str, Market] = {}  # by contract id; those somebody has asked about
        self.sources: dict[str, PriceSource] = {}  # by Product.price_name
        self.mids: dict[str, Decimal] = {}
        self.paused = config.paused
        self.on_record: Callable[[Record], None] = lambda record: None
        self.on_events: Callable[[list[BookEvent]], None] = lambda events: None
        self.on_due: Callable[[], None] = lambda: None  # the book's time table has changed
        self._late_hub = Late(self.delay_us("hub"), lambda record: self.on_record(record))
        self._list_contracts()

    # --- clocks -----------------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        skew = self.faults.on("clock_skew")
        return time.time_ns() // 1_000 + self.skew_us + (int(skew.get("ms", 0)) * 1_000 if skew else 0)

    def session_us(self) -> int:
        return self.now_us() + self._session_shift_us

    def set_session(self, session_us: int) -> None:
        """Move the session clock alone."""
        self._session_shift_us = session_us - self.now_us()
        self.tend()

    def delay_us(self, what: str) -> int:
        return int(self.config.delay_s * 1e6) if self.config.delay_what in (what, "both") else 0

    def closed(self, contract: Contract) -> str | None:
        """Why orders are refused at the moment, if they are."""
        return closed(self.session_us(), contract.product.hours)

    # --- contracts --------------------------------------------------------------------------------------------------

    def _list_contracts(self) -> None:
        day = chicago(self.now_us()).date()
        for product in PRODUCTS.values():
            self.activate(active_contract(product, day))

    def activate(self, contract: Contract) -> None:
        """Make it the month that takes orders."""
        previous = self.active.get(contract.product.ticker)
        if previous is not None:
            self.book.active.pop(previous.id, None)
        self.active[contract.product.ticker] = contract
        self.book.active[contract.id] = contract

    def roll(self, ticker: str) -> Contract:
        self.activate(next_contract(self.active[ticker]))
        return self.active[ticker]

    def find(self, contract_id: str) -> Contract | None:
        return self.book.active.get(contract_id) or parse_contract(contract_id)

    def contract(self, symbol: str) -> Contract:
        """By ticker (the active month) or id. Raises ValueError."""
        contract = self.active.get(symbol) or self.find(symbol)
        if contract is None:
            raise ValueError(f"no contract {symbol!r}")
        return contract

    def market(self, contract: Contract) -> Market:
        """Its market; the first call wakes its price path."""
        if contract.id not in self.markets:
            self._wake(contract)
        return self.markets[contract.id]

    def _wake(self, contract: Contract) -> None:
        product, now = contract.product, self.now_us()
        name = product.price_name
        if name not in self.sources:
            self.sources[name] = self._source(PRODUCTS[name])
        rest_us, longest_us = self.delay_us("rest"), max(self.delay_us("rest"), self.delay_us("hub"))
        months = (contract.year * 12 + contract.month) - self._listed_months(product)
        offset = self._on_tick(self.mids[name] * CARRY * months, product.tick)
        market = Market(contract, self.mids[name], offset, now - longest_us, self.config.seed)
        market.late_bars.delay_us = rest_us
        self.markets[contract.id] = market
        self._prime(market, now, longest_us)
        self._set_mid(market, self.mids[name])
        self._publish(market, (), now)

    def _listed_months(self, product: Product) -> int:
        first = active_contract(product, chicago(self.now_us()).date())
        return first.year * 12 + first.month

    @staticmethod
    def _on_tick(price: Decimal, tick: Decimal) -> Decimal:
        return (price / tick).to_integral_value() * tick

    def _source(self, lead: Product) -> PriceSource:
        config, instrument = self.config, instrument_of(lead)
        self.mids[lead.ticker] = lead.start
        if config.replay is not None and PRODUCTS[config.replay_symbol].price_name == lead.ticker:
            rows = read_replay(config.replay, instrument)
            replay = Replay(instrument, rows, config.speed, config.block_ms, config.seed)
            self.mids[lead.ticker] = replay.price
            return replay
        rate = _busiest(lead) * PRESETS[config.preset].trades_per_s / PRESETS["lively"].trades_per_s
        preset = msgspec.structs.replace(PRESETS[config.preset], trades_per_s=rate)
        return PricePath(instrument, lead.start, config.seed, preset, config.block_ms)

    def _prime(self, market: Market, now_us: int, longest_us: int) -> None:
        """With delayed data: what happened before the start, so that late listeners have something to hear."""
        price, tick = market.quote.last, market.contract.tick
        for ago_us in range(longest_us, 0, -max(1_000_000, longest_us // PRIME_STEPS)):
            step = 0 if self.paused else self.random.choice((-1, 0, 1))
            price = price + step * tick
            market.set_touch(price - tick, price + tick)
            self._publish(market, (Print(price, 1, Side.BUY if step >= 0 else Side.SELL),), now_us - ago_us)

    # --- prices -----------------------------------------------------------------------------------------------------

    def _set_mid(self, market: Market, mid: Decimal, bid_away: int = 0, ask_away: int = 0) -> None:
        """The touch around `mid`, further away by so many ticks."""
        bid, ask = market.touch_at(mid)
        bid, ask = bid - bid_away * market.contract.tick, ask + ask_away * market.contract.tick
        market.set_touch(bid, ask)
        self.book.quote(market.contract.id, bid, ask)
        prices = self.book.prices_of(market.contract.id)
        prices.last = market.quote.last if prices.last is None else prices.last

    def _publish(self, market: Market, prints: tuple[Print, ...], time_us: int) -> None:
        """Into the session's figures, the bars and the hub, each as late as it is set to be."""
        market.print(prints)
        record = Record(market.contract, time_us, market.quote, prints)
        now = self.now_us()
        market.late_bars.put(record, now)
        self._late_hub.put(record, now)

    def step(self) -> None:
        """One block of every market that somebody has asked about."""
        if quotes_flow(self.session_us()):
            for name, source in self.sources.items():
                step = source.step()
                self.mids[name] = (step.bids[0][0] + step.asks[0][0]) / 2
                for market in [m for m in self.markets.values() if m.contract.product.price_name == name]:
                    self._step_market(market, step.prints)
        self.tend()

    def _step_market(self, market: Market, prints: list) -> None:
        product, before = market.contract.product, market.quote
        # Makers come and go at the touch: that, more than the price, is what makes so many quotes.
        away = self.random.random()
        self._set_mid(market, self.mids[product.price_name], away < 0.25, away > 0.75)
        share = product.trades_per_s / _busiest(PRODUCTS[product.price_name])
        bid, ask = market.quote.bid, market.quote.ask
        assert bid is not None and ask is not None
        mine = thin(prints, share, bid, ask, self.random)
        if mine or market.quote != before:
            self._publish(market, mine, self.now_us())
        self._trade(market, mine)

    def _trade(self, market: Market, prints: tuple[Print, ...]) -> None:
        now = self.now_us()
        for each in prints:
            self.book.trade(market.contract.id, each.price, now)
        self.flush()

    def set_touch(self, contract: Contract, bid: Decimal | None, ask: Decimal | None) -> None:
        """A quote by hand; the price path goes on from there."""
        market = self.market(contract)
        if bid is not None and ask is not None:
            mid = (bid + ask) / 2 - market.offset
            name = contract.product.price_name
            self.mids[name] = mid
            self.sources[name].jump(mid)
        market.set_touch(bid, ask)
        self.book.quote(contract.id, bid, ask)
        self._publish(market, (), self.now_us())
        self.tend()

    def print_trade(self, contract: Contract, price: Decimal, size: int, side: Side) -> None:
        """A public print by hand; the touch stays."""
        market, prints = self.market(contract), (Print(price, size, side),)
        self._publish(market, prints, self.now_us())
        self._trade(market, prints)
        self.tend()

    # --- what has happened ------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Tell what the book has done, and when it wants to act next."""
        if events := self.book.take_events():
            self.on_events(events)
        self.on_due()

    def tend(self) -> None:
        """Do what has fallen due: fills, late data."""
        now = self.now_us()
        self.book.advance(now)
        self._late_hub.flush(now)
        for market in self.markets.values():
            market.late_bars.flush(now)


def _busiest(lead: Product) -> float:
    """Trades a second of the product that trades most on this price path."""
    return max(p.trades_per_s for p in PRODUCTS.values() if p.price_name == lead.ticker)
