"""What goes wrong at Hyperliquid alone, beside the world's own faults: refusals, thin books, reads that lag, hands."""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from core.model import Side, TimeInForce
from sim.orders import Request, Trigger
from sim.world_types import Fault, FaultKind, Kernel

if TYPE_CHECKING:
    from sim.world_hyperliquid import HyperliquidAdapter

KNOWN_US = 5_000_000  # an honest bot knows by then what a hand has done, if it can ask
REFUSALS = (
    "Insufficient margin to place order.",
    "Order could not immediately match against any resting orders.",
    "Order has invalid price.",
    "Too many open orders.",
    "Something nobody has read before.",
)


def _one_of(key: str, *values: Any) -> Callable[[random.Random], dict[str, Any]]:
    return lambda rnd: {key: rnd.choice(values)}


def _hand(rnd: random.Random) -> dict[str, Any]:
    return {"how": rnd.choice(("open", "add", "reduce", "close", "flip")), "value": rnd.randrange(60, 900)}


def _gap(rnd: random.Random) -> dict[str, Any]:
    return {"pct": round(rnd.choice((-1, 1)) * rnd.choice((0.3, 0.5, 0.8, 1.5, 4.0)) * rnd.uniform(0.7, 1.3), 3)}


KINDS = (
    FaultKind("thin_book", 0.5, (2_000, 15_000), _one_of("fraction", "0.2", "0.5", "0.9")),
    FaultKind("refuse_stops", 0.4, (300, 5_000), _one_of("error", "Invalid TP/SL price.", *REFUSALS)),
    FaultKind("refuse_orders", 0.4, (300, 5_000), _one_of("error", *REFUSALS)),
    FaultKind("halted", 0.3, (300, 4_000), _one_of("error", "Trading is halted.", "Some text")),
    FaultKind("post_only", 0.3, (500, 5_000)),
    FaultKind("budget", 0.3, (1_000, 12_000)),
    FaultKind("unknown_oid", 0.4, (5_000, 20_000), _one_of("ms", 100, 400, 900)),
    FaultKind("hide_triggers", 0.4, (5_000, 20_000), _one_of("ms", 100, 400, 1_000)),
    FaultKind("keep_stops_on_close", 0.4, (15_000, 30_000)),
    FaultKind("reject_oversize", 0.3, (15_000, 30_000)),
    FaultKind("fire_met_trigger", 0.3, (15_000, 30_000)),
    FaultKind("trigger_price_binds", 0.3, (15_000, 30_000)),
    FaultKind("mute_fills", 0.4, (2_000, 15_000)),
    FaultKind("mute_prices", 0.4, (2_000, 10_000)),
    FaultKind("late_user_frames", 0.5, (3_000, 20_000), _one_of("ms", 300, 1_500, 4_000)),
    FaultKind("hand_trade", 1.0, draw=_hand),
    FaultKind("hand_cancels", 0.4),
    FaultKind("hand_order", 0.4, draw=_one_of("kind", "stop", "limit", "target")),
    FaultKind("gap", 0.8, draw=_gap),
)
SWITCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "refuse_stops": ("reject", {"trigger": True}),
    "refuse_orders": ("reject", {"trigger": False}),
    "halted": ("reject", {"status": "err"}),
    "budget": ("budget", {"cap": 0}),
    **{
        name: (name, {})
        for name in (
            "thin_book", "post_only", "unknown_oid", "hide_triggers", "keep_stops_on_close", "reject_oversize",
            "fire_met_trigger", "trigger_price_binds",
        )
    },
}  # fmt: skip
SPANS = {
    "refuse_stops": "stops_refused", "refuse_orders": "orders_refused", "halted": "orders_refused",
    "post_only": "orders_refused", "budget": "orders_refused", "mute_fills": "mute", "mute_prices": "mute",
}  # fmt: skip


class Trouble:
    def __init__(self, kernel: Kernel, adapter: "HyperliquidAdapter") -> None:
        self._kernel, self._adapter = kernel, adapter
        self._struck: dict[int, int] = {}  # how often the venue's switch had struck before this fault

    def strikes(self, kind: str) -> Fault | None:
        return self._kernel.strikes(kind)

    def dice(self, fault: Fault) -> random.Random:
        return self._kernel.dice(fault)

    def apply(self) -> None:
        self._adapter.venue.apply_switches()

    def begin(self, fault: Fault) -> bool:
        if span := SPANS.get(fault.kind):
            self._kernel.open_span(span, f"{fault.kind} {fault.number}")
        if fault.kind in SWITCHES:
            name, args = SWITCHES[fault.kind]
            faults = self._adapter.venue.faults
            if not faults.seen(name):
                faults.set(name, args | fault.args)
                self._struck[fault.number] = faults.struck.get(name, 0)
            return False  # it is counted when it is over, if it has struck
        strike = {"hand_trade": self._trade, "hand_cancels": self._cancel, "hand_order": self._order, "gap": self._gap}
        return strike[fault.kind](fault) if fault.kind in strike else False

    def end(self, fault: Fault) -> None:
        if span := SPANS.get(fault.kind):
            self._kernel.close_span(span, f"{fault.kind} {fault.number}")
        if fault.number in self._struck:
            name = SWITCHES[fault.kind][0]
            faults = self._adapter.venue.faults
            if faults.struck.get(name, 0) > self._struck[fault.number]:
                self._kernel.fired(fault)
            faults.clear(name)
            self.apply()

    # --- hands ------------------------------------------------------------------------------------------------------

    def _by_hand(self, fault: Fault, act: Callable[[], None]) -> None:
        adapter, kernel = self._adapter, self._kernel
        adapter.by = "hand"
        act()
        adapter.by = "venue"
        kernel.open_span("hand", str(fault.number))
        kernel.after(KNOWN_US, lambda: kernel.close_span("hand", str(fault.number)))

    def _trade(self, fault: Fault) -> bool:
        adapter, how = self._adapter, fault.args["how"]
        coin = self._kernel.dice(fault).choice(adapter.coins)
        held, price = adapter.held(coin), adapter.venue.market(coin).mark
        instrument = adapter.venue.market(coin).instrument
        size = max(instrument.round_size(Decimal(fault.args["value"]) / price), instrument.lot_size)
        side = self._kernel.dice(fault).choice((Side.BUY, Side.SELL))
        if how == "open" and held:
            return False
        if how != "open":
            if not held:
                return False
            against = Side.SELL if held > 0 else Side.BUY
            side = against.opposite if how == "add" else against
            size = {"add": size, "reduce": min(size, abs(held)), "close": abs(held)}.get(how, abs(held) + size)
        now_ms = self._kernel.venue_us() // 1_000
        venue = adapter.venue
        self._by_hand(fault, lambda: venue.record(venue.exchange.deal(adapter.user, coin, side, size, price, now_ms)))
        return True

    def _cancel(self, fault: Fault) -> bool:
        adapter, venue = self._adapter, self._adapter.venue
        orders = venue.exchange.orders_of(adapter.user)
        now_ms = self._kernel.venue_us() // 1_000

        def act() -> None:
            for order in orders:
                venue.record(venue.exchange.cancel(adapter.user, order.order_id, now_ms))

        if orders:
            self._by_hand(fault, act)
        return bool(orders)

    def _order(self, fault: Fault) -> bool:
        """A stop or target for the whole position, or a limit order a little away."""
        adapter, venue = self._adapter, self._adapter.venue
        dice, kind = self._kernel.dice(fault), fault.args["kind"]
        coin = dice.choice(adapter.coins)
        held, market = adapter.held(coin), venue.market(coin)
        instrument = market.instrument
        if kind != "limit" and not held:
            return False
        side = dice.choice((Side.BUY, Side.SELL)) if kind == "limit" else Side.SELL if held > 0 else Side.BUY
        away = Decimal(str(round(dice.uniform(0.001, 0.006), 5)))
        level = market.mark * (1 + (side.sign if kind == "stop" else -side.sign) * away)
        level = instrument.round_price(level)
        if kind == "limit":
            size = max(instrument.round_size(Decimal(dice.randrange(50, 500)) / level), instrument.lot_size)
            request = Request(coin, side, size, level, TimeInForce.GTC)
        else:
            worst = instrument.round_away(level * (1 + side.sign * Decimal("0.1")), side)
            request = Request(
                coin, side, Decimal(0), worst, TimeInForce.GTC, True, None, Trigger(level, kind == "stop"),
                whole_position=True,
            )  # fmt: skip
        if venue.exchange.check(request) is not None:
            return False
        now_ms = self._kernel.venue_us() // 1_000
        self._by_hand(fault, lambda: venue.record(venue.exchange.submit(adapter.user, request, now_ms)[1]))
        return True

    def _gap(self, fault: Fault) -> bool:
        adapter = self._adapter
        coin = self._kernel.dice(fault).choice(adapter.coins)
        mid = adapter.venue.mid(coin) or adapter.venue.market(coin).mark
        adapter.set_price(coin, mid * (1 + Decimal(str(fault.args["pct"])) / 100))
        return True
