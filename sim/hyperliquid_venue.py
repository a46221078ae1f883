"""The simulated Hyperliquid behind its sockets: the exchange, and everything the venue remembers about it.

Lives on the server's loop alone; nothing in here is shared between threads.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import islice
from pathlib import Path

import msgspec

from core.model import ZERO, Side
from sim.accounts import Account
from sim.candles import HOUR_MS, Candles
from sim.exchange import Exchange, ExchangeRules
from sim.faults import RULE_SWITCHES, Faults
from sim.hyperliquid_wire import JSON, instrument_of, listings, margin_table, num, trade_row
from sim.limits import AddressBudget, Nonces
from sim.margin import Market
from sim.market import PRESETS, PricePath, PriceSource, Replay, ladder, read_replay
from sim.orders import ExchangeEvent, Execution, FundingPaid, OrderChanged, OrderState, Printed, Status

FIRST_ID = 500_000_000_000  # ids of the real venue are about this large
FUNDING_RATE = Decimal("0.0000125")  # of an hour, the flat case of page 6.5
TRADES_KEPT = 300
AGENT_LIFE_MS = 180 * 86_400_000
FILLS_KEPT = 10_000
ORDERS_KEPT = 2_000


class SimConfig(msgspec.Struct, kw_only=True):
    """How the simulated venue is set up. Seconds and milliseconds are of the wall clock."""

    seed: int = 1
    fund: Decimal = Decimal(10_000)  # USDC of every account at first sight
    coins: tuple[str, ...] = ("BTC", "ETH", "SOL")
    preset: str = "lively"  # a key of sim.market.PRESETS
    block_ms: int = 70
    paused: bool = False  # no price moves by itself
    replay: Path | None = None  # prices of the first coin
    speed: float = 1.0
    latency_ms: int = 0  # before every answer of /exchange
    mainnet: bool = False  # verify signatures as mainnet
    limits: bool = True  # request weight, connections and messages are limited
    user_limit: int = 10  # distinct users on one socket's server
    idle_close_s: float = 75.0  # an HTTP connection without requests
    silence_s: float = 60.0  # a socket on which the server has said nothing
    book_s: float = 5.4
    fast_book_s: float = 0.54
    context_s: float = 1.0
    mids_s: float = 5.0
    feed_s: float = 5.0  # clearinghouseState, openOrders and other state feeds


class Agent(msgspec.Struct):
    master: str
    name: str
    valid_until_ms: int


class OrderRecord(msgspec.Struct):
    """The newest word about an order."""

    order: OrderState
    status: Status
    status_ms: int
    placed_ms: int  # wall clock, for reads that lag


class Memory:
    """What the venue remembers about one account."""

    def __init__(self) -> None:
        self.fills: deque[Execution] = deque(maxlen=FILLS_KEPT)
        self.history: deque[OrderRecord] = deque(maxlen=ORDERS_KEPT)
        self.fundings: list[FundingPaid] = []
        self.ledger: list[JSON] = []
        self.budget = AddressBudget()
        self.cancel_all_ms: int | None = None  # scheduleCancel
        self.cancel_all_fired: list[int] = []
        self.builder_fees: dict[str, str] = {}


class HyperliquidVenue:
    def __init__(self, config: SimConfig, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self.config = config
        self._wall_ns = wall_ns
        self.faults = Faults()
        self.skew_ms = 0  # moved by tests that advance time
        self.listings = listings(config.coins)
        self.live = tuple(row.name for row in self.listings if not row.is_delisted)
        instruments = [instrument_of(row, i) for i, row in enumerate(self.listings)]
        tables = {row.name: margin_table(row) for row in self.listings}
        self.exchange = Exchange(instruments, ExchangeRules(), tables, FIRST_ID)
        self.nonces = Nonces()
        self.agents: dict[str, Agent] = {}
        self.memories: dict[str, Memory] = {}
        self.records: dict[int, OrderRecord] = {}
        self._by_cloid: dict[tuple[str, str], int] = {}
        self.trades: dict[str, deque[Printed]] = {c: deque(maxlen=TRADES_KEPT) for c in self.exchange.markets}
        self.volume: dict[str, tuple[Decimal, Decimal]] = dict.fromkeys(self.exchange.markets, (ZERO, ZERO))
        self.fundings: dict[str, list[tuple[int, Decimal]]] = {}
        self.candles: dict[str, Candles] = {}
        self.listeners: list[Callable[[list[ExchangeEvent]], None]] = []
        self.sources: dict[str, PriceSource] = {}
        self.paused = config.paused
        self._next_funding_ms = (self.now_ms() // HOUR_MS + 1) * HOUR_MS
        self._open_markets()

    def _open_markets(self) -> None:
        config, now = self.config, self.now_ms()
        for i, coin in enumerate(c for c in config.coins if c in self.live):
            row = next(r for r in self.listings if r.name == coin)
            instrument, source = self.exchange.markets[coin].instrument, None
            if i == 0 and config.replay is not None:
                rows = read_replay(config.replay, instrument)
                source = Replay(instrument, rows, config.speed, config.block_ms, config.seed)
            self.sources[coin] = source or PricePath(
                instrument, row.start, config.seed, PRESETS[config.preset], config.block_ms
            )
            start = source.price if source else row.start
            self.candles[coin] = Candles(instrument, start, now, config.seed)
            self.set_price(coin, start)
            self._print_history(coin)

    def _print_history(self, coin: str) -> None:
        """A few trades before the start, for the replay on subscribe."""
        market = self.exchange.markets[coin]
        for i in range(5):
            self.record(
                self.exchange.trade(
                    coin, market.mark, market.instrument.lot_size, Side.BUY, self.now_ms() - 500 * (5 - i)
                )
            )

    # --- time and prices --------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        skew = self.faults.on("clock_skew")
        return self._wall_ns() // 1_000_000 + self.skew_ms + (int(skew.get("ms", 0)) if skew else 0)

    def wall_ms(self) -> int:
        """The wall clock, whatever skew the venue's own clock has: ages are measured on it."""
        return self._wall_ns() // 1_000_000

    def market(self, coin: str) -> Market:
        return self.exchange.markets[coin]

    def set_price(self, coin: str, price: Decimal) -> None:
        """Book, mark and oracle at `price`, with the model going on from there. No trade is printed."""
        source = self.sources[coin]
        source.jump(price)
        bids, asks = ladder(self.market(coin).instrument, price, source.random)
        now = self.now_ms()
        self.record(self.exchange.set_book(coin, bids, asks, now))
        self.record(self.exchange.set_mark(coin, price, now, price))

    def step(self) -> None:
        """One block of every market."""
        for coin, source in self.sources.items():
            step, now = source.step(), self.now_ms()
            events = self.exchange.set_book(coin, step.bids, step.asks, now)
            for price, size, side in step.prints:
                events += self.exchange.trade(coin, price, size, side, now)
            if step.mark is not None:
                events += self.exchange.set_mark(coin, step.mark, now, step.oracle)
            self.record(events)
        self.tend()

    def tend(self) -> None:
        """What the clock brings: funding, scheduled cancels, switches whose time is over."""
        self.apply_switches()
        now = self.now_ms()
        while now >= self._next_funding_ms:
            self.settle_funding(self._next_funding_ms)
            self._next_funding_ms += HOUR_MS
        for name, memory in self.memories.items():
            if memory.cancel_all_ms is not None and now >= memory.cancel_all_ms:
                memory.cancel_all_ms = None
                memory.cancel_all_fired.append(now)
                for order in self.exchange.orders_of(name):
                    self.record(self.exchange.cancel(name, order.order_id, now, Status.SCHEDULED))

    def settle_funding(self, time_ms: int) -> None:
        for coin in self.sources:
            self.fundings.setdefault(coin, []).append((time_ms, FUNDING_RATE))
            self.record(self.exchange.settle_funding(coin, FUNDING_RATE, time_ms + 15))

    # --- accounts ---------------------------------------------------------------------------------------------------

    def touch(self, address: str) -> Account:
        """The account of a lowercase address, funded if it was never seen."""
        if address not in self.memories:
            self.memories[address] = Memory()
            delta = {"type": "deposit", "usdc": num(self.config.fund)}
            self.memories[address].ledger.append({"time": self.now_ms(), "hash": "0x" + "0" * 64, "delta": delta})
        return self.exchange.open_account(address, self.config.fund)

    def read_account(self, address: str) -> Account:
        """For reads: an agent's address shows an empty account (page 2)."""
        return Account(address, ZERO) if self.agent(address) else self.touch(address)

    def memory(self, address: str) -> Memory:
        self.touch(address)
        return self.memories[address]

    def agent(self, address: str) -> Agent | None:
        agent = self.agents.get(address)
        return agent if agent is not None and agent.valid_until_ms > self.now_ms() else None

    def account_of_signer(self, signer: str, nonce: int) -> str | None:
        """The account a signer trades for; None: the venue knows no such wallet.

        A stranger may walk in by signing only as long as nobody is known: later, an unknown address is what a wrong
        signature recovers to, and funding it would hide the mistake.
        """
        if agent := self.agent(signer):
            return agent.master
        if signer in self.memories:
            return signer
        is_current = abs(nonce - self.now_ms()) < 86_400_000
        if self.memories or signer in self.agents or not is_current:
            return None
        self.touch(signer)
        return signer

    def budget_cap(self, address: str) -> int:
        """Requests the account may send in its life."""
        memory, spent = self.memory(address), self.faults.on("budget")
        if spent is not None:
            return int(spent.get("cap", 0))
        return memory.budget.cap(self.exchange.accounts[address].volume)

    def is_unified(self) -> bool:
        return self.faults.on("unified_account") is not None

    def apply_switches(self) -> None:
        """Bring the exchange's rules in line with the faults."""
        for name in RULE_SWITCHES:
            setattr(self.exchange.rules, name, self.faults.on(name) is not None)

    # --- memory -----------------------------------------------------------------------------------------------------

    def record(self, events: list[ExchangeEvent]) -> None:
        """Remember what happened, then tell the listeners; without events too, for the book may have changed."""
        for event in events:
            if isinstance(event, OrderChanged):
                self._record_order(event)
            elif isinstance(event, Execution):
                self.memory(event.account).fills.append(event)
            elif isinstance(event, Printed):
                self._record_trade(event)
            else:
                self.memory(event.account).fundings.append(event)
        for listener in self.listeners:
            listener(events)

    def _record_order(self, event: OrderChanged) -> None:
        order = event.order
        known = self.records.get(order.order_id)
        placed_ms = known.placed_ms if known else self.wall_ms()
        record = OrderRecord(order, event.status, event.time_ms, placed_ms)
        self.records[order.order_id] = record
        self.memory(order.account).history.append(record)
        if order.request.client_id is not None:
            self._by_cloid[order.account, order.request.client_id] = order.order_id
        if len(self.records) > 50_000:
            for order_id in [i for i in islice(self.records, 5_000) if i not in self.exchange.orders]:
                del self.records[order_id]

    def _record_trade(self, trade: Printed) -> None:
        self.trades[trade.symbol].append(trade)
        self.candles[trade.symbol].add(trade.price, trade.size, trade.time_ms)
        base, quote = self.volume[trade.symbol]
        self.volume[trade.symbol] = (base + trade.size, quote + trade.size * trade.price)

    def find_order(self, account: str, oid: int | str) -> OrderRecord | None:
        """By the venue's oid or by cloid (the newest of that cloid)."""
        order_id = self._by_cloid.get((account, oid)) if isinstance(oid, str) else oid
        record = self.records.get(order_id) if order_id is not None else None
        return record if record is not None and record.order.account == account else None

    # --- views ------------------------------------------------------------------------------------------------------

    def mid(self, coin: str) -> Decimal | None:
        market = self.market(coin)
        bid, ask = market.book.best(Side.BUY), market.book.best(Side.SELL)
        if bid is None or ask is None:
            return market.last or None
        return (bid + ask) / 2

    def context(self, coin: str) -> JSON:
        """The asset context of `metaAndAssetCtxs` and `activeAssetCtx`."""
        market, mid = self.market(coin), self.mid(coin)
        bid, ask = market.book.best(Side.BUY), market.book.best(Side.SELL)
        base, quote = self.volume[coin]
        held = sum((abs(a.held(coin)) for a in self.exchange.accounts.values()), ZERO)
        premium = (mid - market.oracle) / market.oracle if mid and market.oracle else None
        has_book = bid is not None and ask is not None
        return {
            "funding": num(FUNDING_RATE),
            "openInterest": num(Decimal(1000) + held),
            "prevDayPx": num(self.candles[coin].day_ago(self.now_ms())) if coin in self.candles else "0.0",
            "dayNtlVlm": num(quote),
            "premium": None if premium is None else num(premium),
            "oraclePx": num(market.oracle),
            "markPx": num(market.mark),
            "midPx": None if mid is None else num(mid),
            "impactPxs": [num(bid), num(ask)] if has_book and bid is not None and ask is not None else None,
            "dayBaseVlm": num(base),
        }

    def trade_rows(self, trades: Iterable[Printed]) -> list[JSON]:
        shift_ms = self.time_shift_ms()
        return [trade_row(trade, shift_ms) for trade in trades]

    def time_shift_ms(self) -> int:
        """How far back the times in market data lie (fault delayed_data)."""
        delayed = self.faults.on("delayed_data")
        return -int(delayed.get("ms", 900_000)) if delayed else 0
