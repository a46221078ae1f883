"""The simulated TopstepX behind its sockets: the book, the price paths, the clocks, the accounts.

Lives on the server's loop alone. Two clocks: `now_us` stamps everything and is the wall clock (plus what a test or
`--clock` adds); `session_us` decides what is open. Without `--clock` the session clock starts at 9:30 AM Chicago of
the newest ordinary trading day, whatever the hour: a newcomer can trade at once, and 3:10 PM comes 5 h 40 min later.
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
from sim.topstepx_checks import NEEDS_OCO
from sim.topstepx_guard import Programme, breach, end_of_day
from sim.topstepx_market import Late, Market, Print, Record, instrument_of, thin
from sim.topstepx_products import PRODUCTS, Contract, Product, active_contract, next_contract, parse_contract
from sim.topstepx_sessions import OUTSIDE, chicago, closed, is_flatten_time, morning_of, quotes_flow, trading_day
from sim.topstepx_types import Account, AccountChanged, BookEvent, OrderType, Placed, Refused, Request, Status

PRACTICE_ID, COMBINE_ID = 20_000_101, 20_000_102
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


class TopstepxVenue:
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
        self.programmes: dict[int, Programme] = {}
        self.paused = config.paused
        self.on_record: Callable[[Record], None] = lambda record: None
        self.on_events: Callable[[list[BookEvent]], None] = lambda events: None
        self.on_due: Callable[[], None] = lambda: None  # the book's time table has changed
        self._late_hub = Late(self.delay_us("hub"), lambda record: self.on_record(record))
        self._day = trading_day(self.session_us())
        self._list_contracts()
        self._open_accounts()

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

    # --- orders -----------------------------------------------------------------------------------------------------

    def place(self, request: Request, contract: Contract | None) -> Placed:
        """An order for a known account, through whatever is wrong at the moment."""
        now = self.now_us()
        if contract is not None and contract.id in self.book.active:
            self.market(contract)
            brackets = request.stop_loss is not None or request.take_profit is not None
            if brackets and self.faults.take("position_brackets"):
                return self._done(self.book.reject(request, contract, Refused(2, NEEDS_OCO), now))
            if refused := self.faults.take("reject", coin=contract.product.ticker):
                why = Refused(int(refused.get("code", 2)), refused.get("error"))
                return self._done(self.book.reject(request, contract, why, now))
            return self._done(self.book.place(request, contract, now, self.closed(contract)))
        return self.book.place(request, contract, now)

    def _done(self, answer: Placed) -> Placed:
        self.flush()
        return answer

    def apply_switches(self) -> None:
        """Bring the book's rules in line with the faults."""
        rules, on = self.book.rules, self.faults.on
        part, late = on("partial_fill"), on("late_children")
        rules.part = Decimal(str(part.get("fraction", "0.5"))) if part else None
        rules.part_us = int(part.get("ms", 300)) * 1_000 if part else 0
        rules.opens_children = on("no_children") is None
        rules.children_late_us = int(late.get("ms", 1000)) * 1_000 if late else 0
        rules.races_cancel = on("fill_beats_cancel") is not None

    # --- prices -----------------------------------------------------------------------------------------------------

    def _set_mid(self, market: Market, mid: Decimal) -> None:
        bid, ask = market.touch_at(mid)
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
        self._set_mid(market, self.mids[product.price_name])
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

    # --- accounts ---------------------------------------------------------------------------------------------------

    def _open_accounts(self) -> None:
        practice = Account(PRACTICE_ID, "PRAC-V2-100001-10000101", Decimal(150_000))
        combine = Account(COMBINE_ID, "50KTC-V2-100001-10000102", Decimal(50_000))
        for account in (combine, practice):
            account.is_auto_oco = self.config.brackets == "auto-oco"
            self.book.accounts[account.id] = account
        self.programmes[combine.id] = Programme(combine.balance, Decimal(2_000))

    def replace_account(self, account_id: int) -> Account:
        """A reset: the old one turns invisible, a new one with another id and name takes its place (page 2.2)."""
        old = self.book.accounts[account_id]
        programme = self.programmes.pop(old.id, None)
        balance = programme.start if programme else Decimal(150_000)
        new_id = max(self.book.accounts) + 1
        name = old.name.rsplit("-", 1)[0] + f"-{new_id - 10_000_000}"
        new = Account(new_id, name, balance, is_auto_oco=old.is_auto_oco)
        self.book.accounts[new_id] = new
        if programme:
            self.programmes[new_id] = Programme(programme.start, programme.max_loss, programme.daily_loss)
        self.clear_account(old)
        old.can_trade = old.is_visible = False
        self.book.tell(AccountChanged(old.id))
        self.book.tell(AccountChanged(new_id))
        self.flush()
        return new

    def lock(self, account: Account, locked: bool = True) -> None:
        """Lock out: orders go, positions are closed at market, nothing more is taken (or: unlock)."""
        if locked:
            self.clear_account(account)
        account.can_trade = not locked
        self.book.tell(AccountChanged(account.id))
        self.flush()

    def clear_account(self, account: Account, contract_id: str | None = None) -> None:
        """Cancel and flatten, as the platform does at the cut-off."""
        now = self.now_us()
        closing = {o.contract.id for o in self.book.live(account.id) if self.book.is_closing(o)}
        for order in self.book.live(account.id, contract_id):
            if not self.book.is_closing(order):
                self.book.cancel_now(order, now)
        for held in list(account.positions):
            if contract_id in (None, held) and held not in closing:
                self.book.close(account, held, abs(account.held(held)), now)
        self.flush()

    def set_balance(self, account: Account, balance: Decimal) -> None:
        account.balance = balance
        self.book.tell(AccountChanged(account.id))
        self.flush()

    def deal(self, account: Account, contract: Contract, side: int, size: int, price: Decimal | None) -> None:
        """A trade by hand, filled at once at `price` (None: the touch)."""
        self.market(contract)
        touch = self.book.prices_of(contract.id).touch(1 if side == 0 else -1)
        at = touch if price is None else price
        if at is None:
            raise ValueError("there is no price")
        self.book.deal(Request(account.id, contract.id, OrderType.MARKET, side, size), contract, at, self.now_us())
        self.flush()

    def fill_children(self, account_id: int | None) -> None:
        """The bracket children that work without a position to guard fill, as if the market had come by."""
        for account in self.book.accounts.values():
            if account_id in (None, account.id):
                for order in self.book.live(account.id):
                    is_child = order.parent_id is not None and order.status is Status.OPEN
                    price = order.stop_price or order.limit_price
                    if is_child and price is not None and not account.held(order.contract.id):
                        self.book.fill(order, price, order.left, self.now_us())
        self.flush()

    def equity(self, account: Account) -> Decimal:
        """Balance and open profit, longs marked at the bid, shorts at the ask."""
        profit = Decimal(0)
        for contract_id, position in account.positions.items():
            mark = self.book.prices_of(contract_id).touch(-position.sign)
            profit += position.profit(mark) if mark is not None else Decimal(0)
        return account.balance + profit

    # --- what the clock brings --------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Due fills, late data, the cut-off, a new day, broken limits."""
        now = self.now_us()
        self.apply_switches()
        self.book.advance(now)
        self._late_hub.flush(now)
        for market in self.markets.values():
            market.late_bars.flush(now)
        self._keep_hours()
        self._keep_limits()
        self.flush()

    def flush(self) -> None:
        if events := self.book.take_events():
            self.on_events(events)
        self.on_due()

    def _keep_hours(self) -> None:
        session = self.session_us()
        for account in self.book.accounts.values():
            busy = {o.contract.id: o.contract for o in self.book.live(account.id)}
            busy |= {p.contract.id: p.contract for p in account.positions.values()}
            for contract in busy.values():
                if is_flatten_time(session, contract.product.hours):
                    self.clear_account(account, contract.id)
        day = trading_day(session)
        if day != self._day:
            self._day = day
            for market in self.markets.values():
                market.new_session()
            for account_id, programme in self.programmes.items():
                account = self.book.accounts[account_id]
                if end_of_day(programme, account.balance) and not account.can_trade and account.is_visible:
                    self.lock(account, False)

    def _keep_limits(self) -> None:
        if not self.config.guards:
            return
        for account_id, programme in self.programmes.items():
            account = self.book.accounts[account_id]
            if account.can_trade and breach(programme, self.equity(account)):
                programme.is_broken = True
                self.lock(account)

    def is_quiet(self) -> bool:
        return closed(self.session_us()) == OUTSIDE


def _busiest(lead: Product) -> float:
    """Trades a second of the product that trades most on this price path."""
    return max(p.trades_per_s for p in PRODUCTS.values() if p.price_name == lead.ticker)
