"""Hyperliquid in the deterministic world: the real client and dialect before the pure venue and its channels."""

import math
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from core.model import ZERO, Instrument, OrderStatus, Side
from core.rules import Distance, ExitRules, MarketRules, RiskRules, Rules, SizeRules, StrategyRules
from core.turn import Strategies
from hyperliquid_client import HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import Clock
from runtime.poller import Seldom
from runtime.recovery import Decode
from runtime.venue import VenueClient, VenueUnavailable
from runtime.warm_http import Answer
from sim import world_strategy
from sim.candles import Candles
from sim.hyperliquid_actions import batch_length, perform
from sim.hyperliquid_info import read
from sim.hyperliquid_socket import Hub
from sim.hyperliquid_types import BadShape, read_envelope, read_json
from sim.hyperliquid_venue import HyperliquidVenue, SimConfig
from sim.hyperliquid_views import Unsupported
from sim.hyperliquid_wire import trade_id
from sim.limits import WeightLimit, action_weight, info_weight, rows_weight
from sim.orders import ExchangeEvent, Execution, OrderChanged, OrderState, Printed
from sim.world_hyperliquid_faults import KINDS, Trouble
from sim.world_types import Fault, FaultKind, Kernel, Link, StreamPlan, VenueFill, VenueOrder, VenuePrice, Wire
from venues.hyperliquid.dialect import HyperliquidDialect, Timing
from venues.hyperliquid.frames import FrameReader, order_status
from venues.hyperliquid.rest import HyperliquidRest, Timeouts
from venues.hyperliquid.signing import Signer, keccak

IP_WEIGHT = 1200
CONTEXT_US = 1_000_000
MARK_US = 900_000
SIGMA = 0.0005  # of the price, over the root of a second
LEVELS = 4
NOWHERE = "http://127.0.0.1:1"  # nothing is ever opened there
STYLES: tuple[tuple[str, str | None, str | None], ...] = (  # stop-loss, take-profit, trailing stop, in percent
    ("0.3", "0.6", "0.2"), ("0.4", None, "0.25"), ("0.25", "0.35", None), ("0.5", "0.5", "0.15"),
)  # fmt: skip
USER_CHANNELS = ("userFills", "user", "orderUpdates")
PRICE_CHANNELS = ("trades", "bbo")
KEY = keccak(b"trading bot, deterministic world").hex()
SIGNER = Signer(KEY, mainnet=False)


class WorldRest(HyperliquidRest):
    """The real one, over connections of the world."""

    def __init__(self, wire: Wire, clock: Clock, budget: WeightBudget, timeouts: Timeouts) -> None:
        super().__init__(NOWHERE, clock, budget, timeouts, None)
        self.warm: Any = wire.warm()
        self._reads: Any = wire.reads()


class WorldClient(HyperliquidClient):
    wire: Wire

    def _start(self) -> None:
        super()._start()
        self._rest = WorldRest(self.wire, self._clock, self._budget, self._timeouts)


class Fresh(Candles):
    """Without a made-up history, which takes longer than a day."""

    def day_ago(self, now_ms: int) -> Decimal:
        return self._origin[1]

    def _make_history(self) -> None:
        pass


class Peer:
    """What the hub takes for a connected socket."""

    def __init__(self, adapter: "HyperliquidAdapter", link: Link) -> None:
        self.topics: dict[str, Any] = {}
        self.outbox = self.transport = self
        self.spoke_s, self.posts, self.held = 0.0, 0, None
        self.is_gone = False
        self._adapter, self._link = adapter, link

    def users(self) -> set[str]:
        return {s["user"] for s in self.topics.values() if "user" in s}

    def put_nowait(self, text: str) -> None:
        """The outbox."""
        self._adapter.send(self._link, text)

    def abort(self) -> None:
        """The transport."""
        self._link.close()


class HyperliquidAdapter:
    """A `sim.world_types.Adapter`."""

    def __init__(self, kernel: Kernel, seed: int) -> None:
        self._kernel, self._random = kernel, kernel.random
        rnd = random.Random(f"{seed}/rules")
        coins = ("BTC", "ETH") if rnd.random() < 0.3 else ("BTC",)
        config = SimConfig(seed=seed, coins=coins, paused=True, limits=False, fund=Decimal(10_000))
        self.coins = coins
        self.venue = HyperliquidVenue(config, lambda: kernel.venue_us() * 1_000)
        self.user = SIGNER.address
        for coin in coins:
            market = self.venue.market(coin)
            self.venue.candles[coin] = Fresh(market.instrument, market.mark, kernel.venue_us() // 1_000, seed)
        self.venue.touch(self.user)
        self.by = "venue"
        self.owner: dict[int, str] = {}
        self._style = rnd.randrange(4)
        self._guards_second = rnd.random() < 0.5
        self._weight = WeightLimit(IP_WEIGHT)
        self._is_quiet = False
        self._drift = dict.fromkeys(coins, 0.0)
        self._marked_us = self._told_us = 0
        self.trouble = Trouble(kernel, self)
        self.venue.listeners.append(self._note)
        self._hub = Hub(self.venue, self._no_post, lambda: None)
        kernel.tape.secrets = (KEY,)

    async def _no_post(self, client: Any, request: Any) -> Any:
        raise AssertionError("the bot posts nothing over its socket")

    # --- the bot's side ---------------------------------------------------------------------------------------------

    def rules(self, instruments: dict[str, Instrument]) -> Rules:
        pct = [("0.3", "0.6", "0.2"), ("0.4", None, "0.25"), ("0.25", "0.35", None), ("0.5", "0.5", "0.15")][
            self._style
        ]
        exits = ExitRules(
            stop_loss=Distance(pct=Decimal(pct[0])),
            take_profit=None if pct[1] is None else Distance(pct=Decimal(pct[1])),
            trailing_stop=None if pct[2] is None else Distance(pct=Decimal(pct[2])),
            trailing_activate=None if pct[2] is None else Distance(pct=Decimal("0.1")),
            trailing_step=Distance(pct=Decimal("0.05")),
            hold_ms_max=None if self._style % 2 else 20_000,
        )
        markets = {
            coin: MarketRules(
                instrument=instruments[coin],
                timeframe_ms=1_000,
                strategy=None if number and self._guards_second else StrategyRules("world"),
                size=SizeRules(notional=Decimal(400 + 300 * self._style)),
                leverage=5,
                exits=exits,
                bars_from_trades=True,
            )
            for number, coin in enumerate(self.coins)
        }
        risk = RiskRules(
            max_daily_loss=Decimal(40) if self._style == 3 else None, max_open_positions=2, max_price_age_ms=3_000,
            max_order_errors=8,
        )  # fmt: skip
        return Rules(
            venue="hyperliquid", network="testnet", dry_run=False, markets=markets, risk=risk, account_tag="world",
            price_stream="hyperliquid", fill_stream="hyperliquid",
        )  # fmt: skip

    def strategies(self, rules: Rules) -> Strategies:
        return world_strategy.load(rules)

    def client(self, wire: Wire) -> VenueClient:
        clock = self._kernel.bot_clock
        made = object.__new__(WorldClient)
        made.wire = wire
        made.__init__(  # type: ignore[misc]  # `wire` has to be there before
            NOWHERE, SIGNER, self.user, clock=clock, budget=WeightBudget(clock)
        )
        return made

    def prepare(self, client: VenueClient, rules: Rules) -> None:
        for number, (symbol, market) in enumerate(rules.markets.items()):
            if market.leverage is not None:
                try:
                    client.set_leverage(symbol, market.leverage, nonce=self._kernel.bot_ms() - 1_000 + number)
                except (VenueUnavailable, ValueError):
                    self._kernel.count("leverage not set")

    def streams(self, client: VenueClient, rules: Rules) -> Sequence[StreamPlan]:
        dialect = HyperliquidDialect("ws://127.0.0.1:1/ws", list(rules.markets), self.user, {}, (), Timing())
        return [StreamPlan("hyperliquid", dialect, reconnect_interval=1.0)]

    def seldom(self, client: VenueClient, rules: Rules) -> Sequence[Seldom]:
        return ()

    def decoder(self, rules: Rules) -> Decode:
        return FrameReader(self.user).read

    # --- HTTP -------------------------------------------------------------------------------------------------------

    def answer(self, path: str, body: bytes, headers: bytes) -> Answer:
        try:
            request = read_json(body)
            return self._exchange(request) if path == "/exchange" else self._info(request)
        except (ValueError, BadShape):
            return Answer(422, b"Failed to deserialize the JSON body into the target type")
        except Unsupported:
            return Answer(500, b"null")

    def _info(self, request: Any) -> Answer:
        kind, now_ms = str(request.get("type")), self._kernel.venue_us() // 1_000
        if not self._weight.spend(info_weight(kind), now_ms):
            return Answer(429, b"null")
        answer = read(self.venue, request)
        if isinstance(answer, list):
            self._weight.spend(rows_weight(kind, len(answer)), now_ms)
        return Answer(200, msgspec.json.encode(answer))

    def _exchange(self, request: Any) -> Answer:
        envelope = read_envelope(request)
        weight = action_weight(batch_length(envelope.action))
        if not self._weight.spend(weight, self._kernel.venue_us() // 1_000):
            return Answer(429, b"null")
        self.by, before = "bot", len(self._kernel.tape.orders)
        answer = perform(self.venue, envelope)
        self.by = "venue"
        self._note_refusals(request["action"], answer, before)
        return Answer(200, msgspec.json.encode(answer))

    def _note_refusals(self, action: dict[str, Any], answer: dict[str, Any], before: int) -> None:
        """Orders refused without a record at the venue."""
        if action.get("type") != "order":
            return
        said = answer["response"]
        rows = [{"error": said}] * len(action["orders"]) if isinstance(said, str) else said["data"]["statuses"]
        named = {order.client_id for order in self._kernel.tape.orders[before:]}
        for wire, row in zip(action["orders"], rows, strict=False):
            if isinstance(row, dict) and "error" in row and (wire.get("c") is None or wire["c"] not in named):
                trigger = wire["t"].get("trigger")
                size = Decimal(wire["s"])
                self._kernel.tape.orders.append(VenueOrder(
                    true_ms=self._kernel.now_us() // 1_000, symbol=self.venue.listings[wire["a"]].name, order_id=0,
                    client_id=wire.get("c"), status=OrderStatus.REJECTED, side=Side.BUY if wire["b"] else Side.SELL,
                    size=size, left=size, reduce_only=wire["r"],
                    trigger_price=None if trigger is None else Decimal(trigger["triggerPx"]),
                    whole_position=trigger is not None and size == 0,
                    is_stop=trigger is not None and trigger["tpsl"] == "sl", text=row["error"],
                ))  # fmt: skip
                self._kernel.count("orders refused")

    # --- sockets ----------------------------------------------------------------------------------------------------

    def opened(self, link: Link) -> int | None:
        peer: Any = Peer(self, link)
        link.state = peer
        self._hub.clients.add(peer)
        return None

    def received(self, link: Link, payload: bytes) -> None:
        self._hub._receive(link.state, payload.decode())

    def closed(self, link: Link) -> None:
        link.state.is_gone = True
        self._hub._forget(link.state)

    def send(self, link: Link, text: str) -> None:
        channel = text[12 : text.find('"', 12)]
        is_user = channel in USER_CHANNELS
        if is_user and self.trouble.strikes("mute_fills"):
            return
        if channel in PRICE_CHANNELS and self.trouble.strikes("mute_prices"):
            return
        if is_user and (late := self.trouble.strikes("late_user_frames")):
            delay_us = self.trouble.dice(late).randrange(int(late.args["ms"]) * 1_000)
            self._kernel.after(delay_us, lambda: link.send(text.encode()))
            return
        link.send(text.encode())

    # --- what happens -----------------------------------------------------------------------------------------------

    def step(self, elapsed_ms: int) -> None:
        now_us = self._kernel.venue_us()
        marks = now_us - self._marked_us >= MARK_US
        if marks:
            self._marked_us = now_us
        for coin in self.coins:
            self._step_market(coin, elapsed_ms, marks)
        self.venue.tend()
        if now_us - self._told_us >= CONTEXT_US:
            self._told_us = now_us
            self._hub._contexts()

    def _step_market(self, coin: str, elapsed_ms: int, marks: bool) -> None:
        rnd, source, venue = self._random, self.venue.sources[coin], self.venue
        instrument = venue.market(coin).instrument
        seconds = min(elapsed_ms, 3_600_000) / 1_000
        if rnd.random() < seconds / 8:
            self._drift[coin] = rnd.choice((-1.0, -0.4, 0.0, 0.0, 0.4, 1.0)) * 0.0003
        move = self._drift[coin] * min(seconds, 20.0) + rnd.gauss(0, SIGMA) * math.sqrt(seconds)
        price = float(venue.mid(coin) or venue.market(coin).mark) * math.exp(move)
        self.set_price(coin, Decimal(repr(round(price, 6))), mark=marks)
        source.jump(instrument.round_price(Decimal(repr(round(price, 6)))))

    def set_price(self, coin: str, mid: Decimal, mark: bool = True) -> None:
        """The book around `mid`, some trades at its touch, and the mark there."""
        rnd, venue, exchange = self._random, self.venue, self.venue.exchange
        instrument, now_ms = venue.market(coin).instrument, self._kernel.venue_us() // 1_000
        tick = instrument.tick_at(mid * Decimal("1.05"))
        bid, ask = math.ceil(mid / tick) - 1, math.floor(mid / tick) + 1
        lot = instrument.lot_size
        bids, asks = [], []
        for level in range(LEVELS):
            size = max(lot, instrument.round_size(Decimal(rnd.randrange(2_000, 30_000) * (1 + 4 * level)) / mid))
            bids.append(((bid - level * 3) * tick, size))
            asks.append(((ask + level * 3) * tick, size))
        events = exchange.set_book(coin, bids, asks, now_ms)
        for _ in range(0 if self._is_quiet else rnd.choice((0, 0, 1, 1, 2, 4))):
            side = Side.BUY if rnd.random() < 0.5 else Side.SELL
            size = max(lot, instrument.round_size(Decimal(rnd.randrange(50, 1_500)) / mid))
            events += exchange.trade(coin, (asks if side is Side.BUY else bids)[0][0], size, side, now_ms)
        if mark:
            level_price = instrument.round_price(mid)
            events += exchange.set_mark(coin, level_price, now_ms, level_price)
            self._kernel.tape.prices.append(VenuePrice(self._kernel.now_us() // 1_000, coin, level_price, is_mark=True))
        venue.record(events)

    def restarted(self) -> None:
        """Its memory is not gone, its connections are."""

    def _note(self, events: list[ExchangeEvent]) -> None:
        """Onto the tape."""
        tape, now_ms = self._kernel.tape, self._kernel.now_us() // 1_000
        for event in events:
            if isinstance(event, Printed):
                tape.prices.append(VenuePrice(now_ms, event.symbol, event.price))
            elif isinstance(event, OrderChanged):
                tape.orders.append(self._order(event, now_ms))
            elif isinstance(event, Execution):
                owner = self.owner.get(event.order_id, self.by)
                self._kernel.count("fills")
                tape.fills.append(VenueFill(
                    true_ms=now_ms, symbol=event.symbol, side=event.side, price=event.price, size=event.size,
                    order_id=event.order_id, client_id=event.client_id,
                    fill_id=f"{event.time_ms}:{event.symbol}:{trade_id(event.trade_id)}", before=event.start_position,
                    by="venue" if event.liquidation is not None else owner,
                ))  # fmt: skip

    def _order(self, event: OrderChanged, now_ms: int) -> VenueOrder:
        order: OrderState = event.order
        request = order.request
        if order.order_id not in self.owner:
            self.owner[order.order_id] = self.by
            self._kernel.count("orders")
        trigger = request.trigger
        return VenueOrder(
            true_ms=now_ms, symbol=request.symbol, order_id=order.order_id, client_id=request.client_id,
            status=order_status(event.status.value), side=request.side, size=request.size, left=order.left,
            reduce_only=request.reduce_only, trigger_price=None if trigger is None else trigger.price,
            whole_position=request.whole_position, is_stop=trigger is not None and trigger.is_stop,
            by=self.owner[order.order_id], text=event.status.value,
        )  # fmt: skip

    def held(self, coin: str) -> Decimal:
        account = self.venue.exchange.accounts.get(self.user)
        return ZERO if account is None else account.held(coin)

    # --- faults -----------------------------------------------------------------------------------------------------

    def fault_kinds(self) -> Sequence[FaultKind]:
        return KINDS

    def begin(self, fault: Fault) -> bool:
        return self.trouble.begin(fault)

    def end(self, fault: Fault) -> None:
        self.trouble.end(fault)

    def quieten(self) -> None:
        self._is_quiet = True

    def finish(self) -> None:
        self.venue.faults.clear()


def make(kernel: Kernel, seed: int) -> HyperliquidAdapter:
    return HyperliquidAdapter(kernel, seed)
