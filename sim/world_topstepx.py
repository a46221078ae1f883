"""TopstepX in the deterministic world: the real client and dialects on one side, the pure gateway on the other."""

import math
import random
import threading
from collections.abc import Sequence
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import msgspec

from core.model import Instrument, Side
from core.rules import Distance, ExitRules, MarketRules, RiskRules, Rules, SizeRules, StrategyRules
from core.turn import Strategies
from runtime.heartbeat import Heartbeat
from runtime.poller import Seldom
from runtime.recovery import Decode
from runtime.warm_http import Answer
from sim import world_strategy
from sim.faults import Faults
from sim.topstepx_auth import Budgets, Tokens
from sim.topstepx_bodies import BadBody, read_body
from sim.topstepx_market import Market, Print
from sim.topstepx_products import Contract
from sim.topstepx_rest import ROUTES, no, ok
from sim.topstepx_tape import BookTape
from sim.topstepx_types import BookEvent
from sim.topstepx_venue import PRACTICE_ID, TopstepxConfig, TopstepxVenue
from sim.topstepx_wire import JSON, encode
from sim.world_topstepx_faults import KINDS, TopstepxFaults
from sim.world_topstepx_hubs import WorldHubs
from sim.world_types import Fault, FaultKind, Kernel, Link, StreamPlan, VenuePrice, Wire
from topstep_client import TopstepClient
from topstep_websocket import MARKET_STREAM, USER_STREAM, always_open
from venues.topstepx.dialect import MarketDialect, Timing, UserDialect
from venues.topstepx.frames import TopstepFrameReader
from wiring import topstep

ADDRESS = "http://127.0.0.1:1"
HUBS = "ws://127.0.0.1:1/hubs"
ACCOUNT = "PRAC-V2-100001-10000101"
USER, KEY = "canary-user-7f3a", "canary-key-c0ffee51"
ROLL_EVERY_MS = 60_000
SESSION_BACK_US = 15 * 3_600_000_000  # the day begins in the evening session, so that no cut-off meets it
HOURS_EVERY_US = 1_000_000
LIVES_S = 3 * 3_600.0
SPELL_S = (4.0, 25.0)  # how long a trend lasts


class QuietFaults(Faults):
    """The table of faults on the venue's clock."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel.monotonic_s)


class WorldVenue(TopstepxVenue):
    """The gateway on the world's clock; it looks at the session once a second."""

    def __init__(self, kernel: Kernel, config: TopstepxConfig) -> None:
        self._kernel = kernel
        self._hours_us = 0
        super().__init__(config)
        self.faults = QuietFaults(kernel)
        self._session_shift_us -= SESSION_BACK_US

    def now_us(self) -> int:
        return self._kernel.venue_us()

    def _keep_hours(self) -> None:
        now_us = self.now_us()
        if not 0 <= now_us - self._hours_us < HOURS_EVERY_US:
            self._hours_us = now_us
            super()._keep_hours()


class Turn:
    """`login_turn` of the client, for fibres: a real lock would hold up the whole world."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self._taken, self._never = kernel, False, threading.Event()

    def acquire(self, timeout: float) -> bool:
        while self._taken:
            if timeout <= 0:
                return False
            self._kernel.bot_clock.wait(self._never, 0.02)
            timeout -= 0.02
        self._taken = True
        return True

    def release(self) -> None:
        self._taken = False


class Path:
    """The mid of one product: ticks, in trends and rests."""

    def __init__(self, rnd: random.Random, start: Decimal, tick: Decimal) -> None:
        self.random, self.tick = rnd, tick
        self.ticks = float(start / tick)
        self._drift, self._left_s = 0.0, 0.0

    def move(self, seconds: float) -> Decimal:
        self._left_s -= seconds
        if self._left_s <= 0:
            self._left_s = self.random.uniform(*SPELL_S)
            self._drift = self.random.choice((-1, 0, 1)) * self.random.uniform(0.5, 5.0)
        seconds = min(seconds, 60.0)
        self.ticks += self._drift * min(seconds, 5.0) + self.random.gauss(0, 2.5) * math.sqrt(seconds)
        self.ticks = max(self.ticks, 1_000.0)
        return self.mid

    @property
    def mid(self) -> Decimal:
        return Decimal(round(self.ticks * 2)) / 2 * self.tick


class TopstepxAdapter:
    """See `sim.world_types.Adapter`."""

    def __init__(self, kernel: Kernel, seed: int) -> None:
        self.kernel, self.seed = kernel, seed
        draw = random.Random(f"{seed}/topstepx/setup")
        self.symbols = ("MGC", "MNQ") if draw.random() < 0.25 else ("MGC",)
        self.is_guardian = draw.random() < 0.15
        self.has_brackets = draw.random() < 0.7
        mode = "auto-oco" if draw.random() < 0.8 else "position"
        config = TopstepxConfig(seed=seed, paused=True, brackets=mode, user=USER, api_key=KEY, guards=False)
        self.venue = WorldVenue(kernel, config)
        self.tape = BookTape(kernel.tape, PRACTICE_ID, lambda: kernel.now_us() // 1_000)
        self.tokens = Tokens(f"world/{seed}".encode(), LIVES_S)
        self.hubs = WorldHubs(kernel, self.venue, self._is_good, random.Random(f"{seed}/topstepx/hubs"))
        self._budgets = Budgets(True)
        self._paths: dict[str, Path] = {}
        self._armed_us: int | None = None
        self._is_quiet = False  # nobody trades any more
        self.market: MarketDialect | None = None  # of the bot's newest run
        self.trouble = TopstepxFaults(self)
        self.venue.on_record = self.hubs.on_record
        self.venue.on_events = self._on_events
        self.venue.on_due = self._arm
        kernel.tape.secrets = (USER, KEY, "eyJ")
        for symbol in self.symbols:
            self._wake(self.venue.contract(symbol))

    # --- the bot's side -----------------------------------------------------------------------------------------------

    def rules(self, instruments: dict[str, Instrument]) -> Rules:
        markets = {symbol: self._market_rules(instruments[symbol]) for symbol in self.symbols}
        self.trouble.in_use = {symbol: instruments[symbol].contract_id for symbol in self.symbols}
        risk = RiskRules(max_daily_loss=None, max_open_positions=2, max_price_age_ms=3_000, max_order_errors=1_000)
        return Rules(
            "topstepx", "simulator", False, markets, risk, account_tag="world", can_reduce_only=False,
            entry_brackets=self.has_brackets, price_stream=MARKET_STREAM, fill_stream=USER_STREAM, position_stops=False,
        )  # fmt: skip

    def _market_rules(self, instrument: Instrument) -> MarketRules:
        draw = random.Random(f"{self.seed}/{instrument.symbol}/exits")
        trails = draw.random() < 0.7
        exits = ExitRules(
            stop_loss=Distance(ticks=Decimal(draw.randint(25, 60))),
            take_profit=Distance(ticks=Decimal(draw.randint(30, 90))) if draw.random() < 0.8 else None,
            trailing_stop=Distance(ticks=Decimal(draw.randint(12, 30))) if trails else None,
            trailing_activate=Distance(ticks=Decimal(draw.randint(5, 25))) if draw.random() < 0.6 else None,
            trailing_step=Distance(ticks=Decimal(draw.randint(1, 6))),
            hold_ms_max=draw.choice((None, None, 15_000)),
        )
        strategy = None if self.is_guardian else StrategyRules("world")
        return MarketRules(
            instrument, 1_000, strategy, SizeRules(quantity=Decimal(draw.randint(1, 3))), None, exits, True
        )

    def strategies(self, rules: Rules) -> Strategies:
        return world_strategy.load(rules)

    def client(self, wire: Wire) -> TopstepClient:
        client = TopstepClient(ADDRESS, USER, KEY, ACCOUNT, clock=self.kernel.bot_clock, symbols=self.symbols)
        client._keeper.login_turn = Turn(self.kernel)  # type: ignore[assignment]
        make = client._make_rest

        def over_wire() -> Any:
            rest = make()
            rest.warm, rest._session = wire.warm(), wire.reads()
            return rest

        client.__dict__["_make_rest"] = over_wire  # clones copy it
        client._start()
        return client

    def prepare(self, client: TopstepClient, rules: Rules) -> None:
        """Nothing, as in `wiring`."""

    def streams(self, client: TopstepClient, rules: Rules) -> Sequence[StreamPlan]:
        timing, clock = Timing(), self.kernel.bot_clock
        contracts = {market.instrument.contract_id: symbol for symbol, market in rules.markets.items()}
        multipliers = {m.instrument.contract_id: m.instrument.multiplier for m in rules.markets.values()}
        prices, news = client.token_provider(), client.token_provider()
        account_id = client.account_id
        self.market = MarketDialect(
            f"{HUBS}/market", contracts, (), TopstepFrameReader(account_id, contracts, multipliers), prices,
            prices.refused, clock, always_open, timing,
        )  # fmt: skip
        user = UserDialect(
            f"{HUBS}/user", account_id, TopstepFrameReader(account_id, contracts, multipliers), news, news.refused,
            clock, always_open, list(contracts.values()), timing,
        )  # fmt: skip
        beat_s, beaten_s = timing.beat_s, timing.beaten_s
        return [
            StreamPlan(MARKET_STREAM, self.market, Heartbeat(beat_s, beaten_s), 1.0),
            StreamPlan(USER_STREAM, user, Heartbeat(beat_s, beaten_s), 1.0),
        ]

    def seldom(self, client: TopstepClient, rules: Rules) -> Sequence[Seldom]:
        return (Seldom("active contracts", ROLL_EVERY_MS, lambda: client.rolled(list(rules.markets))),)

    def decoder(self, rules: Rules) -> Decode:
        return topstep.decoder(rules)

    # --- requests -----------------------------------------------------------------------------------------------------

    def answer(self, path: str, body: bytes, headers: bytes) -> Answer:
        self._tend()
        status, content = self._act(path.removeprefix("/api/"), body, headers)
        return Answer(status, content, formatdate(self.venue.now_us() / 1e6, usegmt=True))

    def _is_good(self, token: str) -> bool:
        return self.tokens.is_good(token, self.venue.now_us())

    def _act(self, action: str, body: bytes, headers: bytes) -> tuple[int, bytes]:
        if action == "Status/ping":
            return 200, b"pong"
        token = headers.partition(b"Bearer ")[2].partition(b"\r\n")[0].decode()
        if action != "Auth/loginKey" and not self._is_good(token):
            return 401, b""
        if not self._budgets.spend(action == "History/retrieveBars", self.venue.now_us() // 1_000):
            self.kernel.count("rate limited")
            return 429, b""
        if action.startswith("Auth/"):
            return 200, encode(self._log_in(action, body))
        kind, handler = ROUTES[action]
        try:
            request = read_body(body, kind)
        except BadBody as e:
            return 400, encode(e.problem)
        refusal = self.trouble.refusal(action, request)
        said = refusal if refusal is not None else handler(self.venue, request)
        return 200, encode(self.trouble.bend(action, said))

    def _log_in(self, action: str, body: bytes) -> JSON:
        token = self.tokens.issue(USER, self.venue.now_us())
        if action == "Auth/validate":
            return ok(newToken=token)
        said = msgspec.json.decode(body)
        return ok(token=token) if said == {"userName": USER, "apiKey": KEY} else no(3, token=None)

    # --- streams ------------------------------------------------------------------------------------------------------

    def opened(self, link: Link) -> int | None:
        return self.hubs.opened(link)

    def received(self, link: Link, payload: bytes) -> None:
        self.hubs.received(link, payload)

    def closed(self, link: Link) -> None:
        link.state = None

    # --- the market ---------------------------------------------------------------------------------------------------

    def _wake(self, contract: Contract) -> Market:
        market = self.venue.market(contract)
        name = contract.product.price_name
        if name not in self._paths:
            rnd = random.Random(f"{self.seed}/{name}/path")
            self._paths[name] = Path(rnd, contract.product.start, contract.tick)
        return market

    def path(self, contract: Contract) -> Path:
        self._wake(contract)
        return self._paths[contract.product.price_name]

    def step(self, elapsed_ms: int) -> None:
        quiet, rnd = self._is_quiet, self.kernel.random
        moved = {name: path.mid if quiet else path.move(elapsed_ms / 1_000) for name, path in self._paths.items()}
        self.venue.mids.update(moved)
        for market in list(self.venue.markets.values()):
            mid = moved.get(market.contract.product.price_name)
            if mid is not None:
                self.print(market, mid, 0 if quiet else self.trouble.prints(rnd))
        self._tend()
        self.hubs.keep_alive()

    def print(self, market: Market, mid: Decimal, count: int) -> None:
        """The touch goes to `mid`, and `count` trades are made there."""
        rnd, venue = self.kernel.random, self.venue
        venue._set_mid(market, mid, rnd.random() < 0.2, rnd.random() < 0.2)
        bid, ask = market.quote.bid, market.quote.ask
        assert bid is not None and ask is not None
        prints = []
        for _ in range(count):
            side = rnd.choice((Side.BUY, Side.SELL))
            prints.append(Print(ask if side is Side.BUY else bid, rnd.randint(1, 5), side))
        self.publish(market, tuple(prints))

    def publish(self, market: Market, prints: tuple[Print, ...]) -> None:
        true_ms, ticker = self.kernel.now_us() // 1_000, market.contract.product.ticker
        for each in prints:
            self.kernel.tape.prices.append(VenuePrice(true_ms, ticker, each.price))
        self.venue._publish(market, prints, self.venue.now_us())
        self.venue._trade(market, prints)

    # --- the book -----------------------------------------------------------------------------------------------------

    def _on_events(self, events: list[BookEvent]) -> None:
        self.tape.take(events)
        self.hubs.on_events(events)

    def _arm(self) -> None:
        """Wake up when the book wants to act."""
        due_us = self.venue.book.next_due_us()
        if due_us is None or (self._armed_us is not None and self._armed_us <= due_us):
            return
        self._armed_us = due_us
        self.kernel.after(max(0, due_us - self.venue.now_us()), self._tend)

    def _tend(self) -> None:
        self._armed_us = None
        self.venue.tend()

    def restarted(self) -> None:
        self._tend()

    # --- faults -------------------------------------------------------------------------------------------------------

    def fault_kinds(self) -> Sequence[FaultKind]:
        return KINDS

    def begin(self, fault: Fault) -> bool:
        return self.trouble.begin(fault)

    def end(self, fault: Fault) -> None:
        self.trouble.end(fault)

    def quieten(self) -> None:
        self._is_quiet = True

    def finish(self) -> None:
        self._tend()
        self.trouble.finish()


def make(kernel: Kernel, seed: int) -> TopstepxAdapter:
    return TopstepxAdapter(kernel, seed)
