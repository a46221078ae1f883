"""The brain under arbitrary events, with a judge who knows nothing of its insides but its state and its actions."""

import contextlib
import logging
import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from config.prop import prop_rules
from config.prop_settings import PropSettings
from core.decide import decide
from core.messages import (
    AccountSnapshot,
    Action,
    Cancel,
    CloseContract,
    Modify,
    Note,
    PolledPrice,
    ReadAccount,
    ReadOrders,
    Settle,
    Started,
    StreamUp,
    Submit,
    Tick,
    Watch,
)
from core.model import Book, Instrument, OrderType, Purpose, Quote, Side, Trade
from core.rules import MarketRules, Rules
from core.signals import Signal
from core.state import State
from runtime.journal import action_line, decode_line, event_line
from tests.core import gateway, world
from tests.fuzz.events import Maker

D = Decimal
SETTLED_EVERY = 40  # events between two looks at the journal's spelling of the state
PRICE_MAX = D(10) ** 12


def _more(rules: Rules, symbol: str, instrument: Instrument) -> Rules:
    """`rules` with a second market like the first."""
    first = next(iter(rules.markets.values()))
    markets: dict[str, MarketRules] = rules.markets | {symbol: msgspec.structs.replace(first, instrument=instrument)}
    return msgspec.structs.replace(rules, markets=markets)


def hyperliquid_rules() -> Rules:
    eth = Instrument("ETH", 1, D("0.0001"), price_decimals=2, min_notional=D(10), max_leverage=25)
    rules = _more(world.rules_with(max_daily_loss=D(1_000_000), max_order_errors=50), "ETH", eth)
    return msgspec.structs.replace(rules, price_stream="hyperliquid", fill_stream="hyperliquid")


def topstepx_rules() -> Rules:
    mnq = Instrument(
        "MNQ", 0, D(1), tick_size=D("0.25"), multiplier=D(2), contract_id="CON.F.US.MNQ.Z26", has_margin=False
    )
    guard = prop_rules(msgspec.convert({"preset": "practice"}, PropSettings))
    rules = _more(gateway.RULES, "MNQ", mnq)
    return msgspec.structs.replace(rules, prop=guard, hours=guard.sessions)


VENUES = {"hyperliquid": hyperliquid_rules, "topstepx": topstepx_rules}
BASES = {"hyperliquid": {"BTC": D(50_000), "ETH": D(2_800)}, "topstepx": {"MGC": D(4_100), "MNQ": D(29_000)}}


@contextlib.contextmanager
def hushed(name: str) -> Iterator[None]:
    """Thousands of refusals, each with its line: nobody reads them."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


class Nonsense(AssertionError):
    """The brain did what it must not."""


class Brain:
    """One run of one venue: feeds, judges, counts. `finite` events go in as they come, wild ones too."""

    def __init__(self, venue: str, rng: random.Random, oddity: float | None = None, now_ms: int = world.T0) -> None:
        self.venue, self.rng, self.rules = venue, rng, VENUES[venue]()
        self.maker = Maker(
            rng, self.rules, BASES[venue], rng.choice((0.0, 0.02, 0.1, 0.4)) if oddity is None else oddity
        )
        self.maker.now_ms = now_ms
        self.state = State()
        self.counts: Counter[str] = Counter()
        self.client_ids: set[str] = set()
        self.nonces: set[int] = set()
        self.prices: dict[str, list[tuple[int, int, Decimal]]] = {}  # by market: received, venue time, price
        self.fed = 0
        self.now_ms = 0  # of the event that is fed
        self._begin()

    def _begin(self) -> None:
        self.feed(Started(run_id=self.rng.getrandbits(64), rules=self.rules, received_ms=self.maker.now_ms))
        for name in dict.fromkeys((self.rules.price_stream, self.rules.fill_stream)):
            self.feed(StreamUp(stream=name or "market", subscriptions=4, received_ms=self.maker.now_ms))
        has_pnl = self.rules.can_reduce_only
        self.feed(AccountSnapshot(
            equity=D(50_000), available=D(50_000), positions=(), orders=(), requested_ms=self.maker.now_ms,
            time_ms=self.maker.now_ms, balance=None if has_pnl else D(50_000), has_open_pnl=has_pnl,
            received_ms=self.maker.now_ms,
        ))  # fmt: skip

    def signal(self, bars: Any) -> Signal | None:
        return self.rng.choice((None, Signal.LONG, Signal.LONG, Signal.SHORT, Signal.SHORT, Signal.FLAT))

    # --- one step ---------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Time goes on a little; then an answer to what was asked, an honest price, or anything at all."""
        maker, luck = self.maker, self.rng.random()
        maker.now_ms += self.rng.choice((1, 5, 20, 150, 400, 1_000)) if luck > 0.003 else 600_000
        if luck < 0.35:
            event = maker.answer(self.state)
            event = Tick(received_ms=maker.now_ms) if event is None else event
        elif luck < 0.55:
            event = self.honest_price()
        else:
            event = maker.any_event(self.state)
        self.feed(event)

    def honest_price(self) -> Trade:
        maker = self.maker
        symbol = self.rng.choice(list(self.rules.markets))
        price = self.rules.markets[symbol].instrument.round_price(maker.near(symbol))
        maker.price[symbol] = price
        return Trade(symbol, price, D(1), Side.BUY, maker.id(), maker.now_ms - 20, maker.now_ms)

    def feed(self, event: Any) -> None:
        self.fed += 1
        self.counts[f"event {type(event).__name__}"] += 1
        before, self.now_ms = self.state, event.received_ms
        self._remember(event)
        try:
            strategies = {symbol: self.signal for symbol in self.rules.markets}
            self.state, actions = decide(before, event, self.rules, strategies)
            for action in actions:
                self.judge(before, event, action)
            self.judge_state()
            self._journal(event, actions)
        except Exception as e:
            raise Nonsense(f"{type(e).__name__}: {e}\n  on event {self.fed}: {event!r}"[:3_000]) from e
        self.maker.asked += [
            a for a in actions if isinstance(a, Submit | Settle | Cancel | Modify | ReadOrders | ReadAccount)
        ]
        del self.maker.asked[:-12]

    def _remember(self, event: Any) -> None:
        """The prices an entry may lean on: sane, and not from the future."""
        if not isinstance(event, Trade | Quote | Book | PolledPrice):
            return
        time_ms = getattr(event, "time_ms", None)
        if time_ms is None:
            time_ms = event.received_ms + self.state.offset_ms
        found: list[Decimal | None] = []
        match event:
            case Trade() | PolledPrice():
                found = [event.price]
                if isinstance(event, PolledPrice):
                    found += [event.bid, event.ask]
            case Quote():
                found = [event.bid, event.ask]
            case Book():
                found = [side[0][0] for side in (event.bids, event.asks) if side]
        kept = self.prices.setdefault(event.symbol, [])
        kept += [
            (event.received_ms, time_ms, p) for p in found if p is not None and p.is_finite() and 0 < p <= PRICE_MAX
        ]
        del kept[:-64]

    # --- the judge ----------------------------------------------------------------------------------------------------

    def judge(self, before: State, event: Any, action: Action) -> None:
        self.counts[f"action {type(action).__name__}"] += 1
        match action:
            case Submit():
                self.counts[f"order {action.purpose.value}"] += 1
                self.judge_order(before, action)
            case Cancel():
                assert action.symbol in self.rules.markets, "a cancel for a market nobody named"
                self.use_nonce(action.nonce)
            case Modify():
                assert action.symbol in self.rules.markets, "a change for a market nobody named"
                for value in (action.size, action.trigger_price, action.price):
                    assert value is None or is_amount(value), f"P4: a change to {value}"
            case CloseContract():
                assert action.contract_id, "nobody can be asked to close it"
            case Watch():
                assert all(action.contract_ids)
            case ReadAccount():
                assert action.fills_since_ms is None or isinstance(action.fills_since_ms, int)
            case Note():
                self.counts[f"note {action.name}"] += 1
                assert all(isinstance(value, str) for value in action.fields.values())

    def use_nonce(self, nonce: int) -> None:
        assert 0 < nonce < 2**63, f"nonce {nonce}"
        assert nonce not in self.nonces, "P3: a nonce was used twice"
        self.nonces.add(nonce)

    def judge_order(self, before: State, action: Submit) -> None:
        order = action.order
        assert order.symbol in self.rules.markets, "an order for a market nobody named"
        assert order.client_id not in self.client_ids, "P3: one order was sent twice"
        self.client_ids.add(order.client_id)
        self.use_nonce(order.nonce)
        assert is_amount(order.price), f"an order at {order.price}"
        if order.whole_position:
            assert self.rules.position_stops and order.size == 0
        else:
            assert is_amount(order.size), f"an order of {order.size}"
        assert order.trigger_price is None or is_amount(order.trigger_price), f"a trigger at {order.trigger_price}"
        assert (order.type is OrderType.STOP) == (action.purpose is Purpose.STOP)
        if action.purpose is Purpose.ENTRY:
            self.judge_entry(before, action)
            return
        position = self.state.markets[order.symbol].position or before.markets[order.symbol].position
        assert position is not None, "P4: an order that closes nothing"
        assert order.side is position.side.opposite, "P4: an exit that adds"
        assert order.whole_position or order.size <= position.size, "P4: larger than what is held"
        assert order.reduce_only == self.rules.can_reduce_only, "P4: an exit or stop that could open"

    def judge_entry(self, before: State, action: Submit) -> None:
        order, now_ms = action.order, self.now_ms
        market, instrument = before.markets[order.symbol], self.rules.markets[order.symbol].instrument
        assert before.halted is None and before.journal_ok, "P9: an entry while halted"
        assert before.synced or self.state.synced, "P7: an entry before the venue was asked"
        live = [r for r in market.live_orders() if not r.rests and r.order.client_id != order.client_id]
        assert not live or not self.state.markets[order.symbol].live_orders()[:-1], "P3: one is in the air"
        assert instrument.round_size(order.size) == order.size, "a size that is no multiple of the lot"
        slip = self.rules.risk.entry_slippage_pct / 100
        leaned_on = [
            p for received, time, p in self.prices.get(order.symbol, ()) if self.is_fresh(received, time, now_ms)
        ]
        tick = instrument.tick_at(order.price)
        limits = [p * (1 + order.side.sign * slip) for p in leaned_on]
        assert any(abs(limit - order.price) <= 2 * tick for limit in limits), (
            f"P1: an entry at {order.price} that no fresh price explains: {leaned_on[-6:]}"
        )

    def is_fresh(self, received_ms: int, time_ms: int, now_ms: int) -> bool:
        offset_ms, max_ms = self.state.offset_ms, self.rules.risk.max_price_age_ms
        return now_ms - received_ms <= max_ms and now_ms + offset_ms - time_ms <= max_ms

    def judge_state(self) -> None:
        for symbol, market in self.state.markets.items():
            position = market.position
            if position is not None:
                assert is_amount(position.size) and is_amount(position.entry_price), f"a position of {position}"
                assert position.best_price.is_finite() and position.stop_price.is_finite()
            flying = [r for r in market.live_orders() if not r.rests and r.booked_size == r.filled_size == 0]
            assert len(flying) <= 1, f"P3: {len(flying)} entries and exits of {symbol} in the air"

    # --- the journal --------------------------------------------------------------------------------------------------

    def _journal(self, event: Any, actions: list[Any]) -> None:
        for action in actions:
            if not isinstance(action, Note):
                record = decode_line(action_line(action))
                assert record is not None and record.action == action, "an action the journal cannot give back"
        if self.fed % SETTLED_EVERY == 0:
            self.counts["state restored"] += 1
            line = msgspec.json.encode(self.state)
            again = msgspec.json.decode(line, type=State)
            assert again == self.state, "the state from the journal is another one"
            assert msgspec.json.encode(again) == line
            event_line(event)


def is_amount(value: Decimal) -> bool:
    return value.is_finite() and 0 < value < D(10) ** 20


def play(venue: str, rng: random.Random, events: int) -> Counter[str]:
    """A run of about `events` events. Raises Nonsense."""
    brain = Brain(venue, rng)
    while brain.fed < events:
        brain.step()
    return brain.counts
