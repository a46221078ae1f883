"""What goes wrong at TopstepX itself in the deterministic world: orders, hubs, the market, hands, the platform."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from core.messages import AccountSnapshot
from runtime import journal
from sim.topstepx_bodies import ModifyBody, PlaceBody
from sim.topstepx_products import Contract
from sim.topstepx_rest import no
from sim.topstepx_types import Account, Order, OrderType, Request, Status
from sim.topstepx_venue import PRACTICE_ID
from sim.topstepx_wire import JSON
from sim.world_types import Fault, FaultKind, Span, Tape

if TYPE_CHECKING:
    from sim.world_topstepx import TopstepxAdapter

Args = dict[str, Any]
REFUSALS = (
    (2, "Invalid stop price"),
    (2, "Invalid price. Price is outside allowed range."),
    (2, "Outside of trading hours."),
    (2, "something that nobody has seen before"),
    (2, None),
)


def ms_of(low: int, high: int) -> Callable[[random.Random], Args]:
    return lambda rnd: {"ms": rnd.randint(low, high)}


def some_side(rnd: random.Random) -> Args:
    return {"buys": rnd.random() < 0.5, "size": rnd.randint(1, 3), "ticks": rnd.randint(8, 60)}


def refusals(rnd: random.Random) -> Args:
    code, error = rnd.choice(REFUSALS)
    return {"times": rnd.randint(1, 3), "code": code, "error": error}


def gap(rnd: random.Random) -> Args:
    return {"ticks": rnd.choice((-1, 1)) * rnd.randint(20, 250)}


def hub(rnd: random.Random) -> Args:
    return {"hub": rnd.choice(("market", "user", None))}


KINDS = (
    FaultKind("ts_partial_fills", 2.0, (5_000, 40_000), ms_of(20, 1_500)),
    FaultKind("ts_late_children", 1.5, (5_000, 40_000), ms_of(50, 900)),  # thirty times what was ever seen
    FaultKind("ts_no_children", 0.7, (3_000, 20_000)),
    FaultKind("ts_fill_beats_cancel", 1.0),
    FaultKind("ts_stop_refused", 1.0, (500, 8_000)),
    FaultKind("ts_modify_refused", 1.0, (500, 10_000)),
    FaultKind("ts_position_brackets", 0.5, (5_000, 40_000)),
    FaultKind("ts_shuffled_news", 1.5, (5_000, 60_000), ms_of(20, 900)),
    FaultKind("ts_silent_user_hub", 0.7, (2_000, 20_000)),
    FaultKind("ts_silent_market_hub", 0.7, (2_000, 20_000)),
    FaultKind("ts_delayed_data", 0.7, (5_000, 30_000), ms_of(5_000, 900_000)),
    FaultKind("ts_frozen_time", 0.5, (5_000, 30_000)),
    FaultKind("ts_quiet_market", 0.7, (5_000, 40_000)),
    FaultKind("ts_busy_market", 1.0, (3_000, 15_000)),
    FaultKind("ts_lock_out", 0.2, (5_000, 20_000)),
    FaultKind("ts_outside_position", 0.3, (5_000, 40_000), some_side),
    FaultKind("ts_reject", 2.0, draw=refusals),
    FaultKind("ts_pending", 1.0, draw=lambda rnd: {"times": rnd.randint(1, 2)}),
    FaultKind("ts_null_answer", 1.0, draw=lambda rnd: {"times": rnd.randint(1, 3)}),
    FaultKind("ts_gap", 2.0, draw=gap),
    FaultKind("ts_hand_trade", 1.5, draw=some_side),
    FaultKind("ts_hand_flat", 0.7),
    FaultKind("ts_hand_stop", 0.6, draw=some_side),
    FaultKind("ts_hand_cancel", 1.0),
    FaultKind("ts_venue_cancels", 0.5),
    FaultKind("ts_venue_flattens", 0.5),
    FaultKind("ts_roll", 0.3),
    FaultKind("ts_expire_tokens", 0.7),
    FaultKind("ts_hub_close", 1.0, draw=hub),
)


class TopstepxFaults:
    def __init__(self, adapter: "TopstepxAdapter") -> None:
        self._adapter = adapter
        self._lasting: dict[str, Args] = {}
        self._pending = self._nulls = 0
        self._races = False
        self.in_use: dict[str, str] = {}  # symbol: contract id, of the bot's newest start
        self._strikes: dict[str, Callable[[Args], bool]] = {
            "ts_reject": self._reject,
            "ts_pending": self._leave_pending,
            "ts_null_answer": self._null_answer,
            "ts_fill_beats_cancel": self._fill_beats_cancel,
            "ts_gap": self._gap,
            "ts_hand_trade": self._hand_trade,
            "ts_hand_flat": self._hand_flat,
            "ts_hand_stop": self._hand_stop,
            "ts_hand_cancel": self._hand_cancel,
            "ts_venue_cancels": self._venue_cancels,
            "ts_venue_flattens": self._venue_flattens,
            "ts_lock_out": self._lock_out,
            "ts_roll": self._roll,
            "ts_expire_tokens": self._expire_tokens,
            "ts_hub_close": self._hub_close,
            "ts_outside_position": self._outside_position,
        }

    # --- striking -----------------------------------------------------------------------------------------------------

    def begin(self, fault: Fault) -> bool:
        if fault.for_ms:
            self._lasting[fault.kind] = fault.args
            if fault.kind == "ts_silent_user_hub":
                self._adapter.kernel.open_span("mute", "user hub")
        strike = self._strikes.get(fault.kind)
        struck = strike is None or strike(fault.args)
        if not struck:
            self._lasting.pop(fault.kind, None)
        self._apply()
        return struck

    def end(self, fault: Fault) -> None:
        if self._lasting.pop(fault.kind, None) is None:
            return
        if fault.kind == "ts_silent_user_hub":
            self._adapter.kernel.close_span("mute", "user hub")
        if fault.kind == "ts_lock_out":
            self._adapter.venue.lock(self._account, False)
        elif fault.kind == "ts_outside_position":
            self._leave_outside()
        self._apply()

    def _apply(self) -> None:
        """The lasting ones as the book, the venue and the hubs know them."""
        venue, hubs, on = self._adapter.venue, self._adapter.hubs, self._lasting
        names = {
            "ts_partial_fills": "partial_fill", "ts_late_children": "late_children", "ts_no_children": "no_children",
            "ts_position_brackets": "position_brackets",
            "ts_delayed_data": "delayed_data", "ts_frozen_time": "frozen_timestamp",
        }  # fmt: skip
        for ours, theirs in names.items():
            if ours not in on:
                venue.faults.clear(theirs)
            elif venue.faults.on(theirs) is None:
                venue.faults.set(theirs, {"at_us": venue.now_us()} | on[ours])
        hubs.shuffles_ms = int(on.get("ts_shuffled_news", {}).get("ms", 0))
        hubs.silent = {hub for hub in ("user", "market") if f"ts_silent_{hub}_hub" in on}
        venue.apply_switches()

    @property
    def _account(self) -> Account:
        return self._adapter.venue.book.accounts[PRACTICE_ID]

    def _contract(self) -> Contract:
        """The month that the bot trades, of one of its markets."""
        symbol = self._adapter.kernel.random.choice(self._adapter.symbols)
        found = self._adapter.venue.find(self.in_use.get(symbol, ""))
        return found or self._adapter.venue.contract(symbol)

    @contextmanager
    def _by(self, doer: str) -> Iterator[None]:
        with self._adapter.tape.doing(doer):
            yield
            self._adapter.venue.flush()

    # --- requests -----------------------------------------------------------------------------------------------------

    def refusal(self, action: str, request: Any) -> JSON | None:
        """An answer in place of acting; a stop to be refused is kept by the book, as every refused order."""
        if action == "Order/cancel" and self._races:
            closing = {o.id for o in self._resting() if o.sign * self._account.held(o.contract.id) < 0}
            if request.order_id in closing:
                self._races = False  # one of a pair: the other one is then canceled by the venue
                self._adapter.venue.book.rules.races_cancel = True
        if isinstance(request, ModifyBody) and "ts_modify_refused" in self._lasting:
            self._adapter.kernel.count("modify refused")
            return no(3, "Invalid stop price")
        if isinstance(request, PlaceBody) and "ts_stop_refused" in self._lasting and request.type == OrderType.STOP:
            self._adapter.kernel.count("stop refused")
            self._adapter.venue.faults.set("reject", {"times": 1, "code": 2, "error": "Invalid stop price"})
        return None

    def bend(self, action: str, said: JSON) -> JSON:
        """The answer to something that has been done, as it goes out."""
        self._adapter.venue.book.rules.races_cancel = False
        if action == "Order/place" and self._pending and said["success"]:
            self._pending -= 1
            return no(6, orderId=None)
        if self._nulls and action.endswith(("search", "searchOpen")):
            self._nulls -= 1
            kept = ("success", "errorCode", "errorMessage")
            return {key: value if key in kept else None for key, value in said.items()}
        return said

    def prints(self, rnd: random.Random) -> int:
        """How many trades a block has."""
        if "ts_quiet_market" in self._lasting:
            return 0
        if "ts_busy_market" in self._lasting:
            return rnd.randint(1, 8)
        return 1 if rnd.random() < 0.7 else 0

    # --- kinds that do something when they begin ----------------------------------------------------------------------

    def _reject(self, args: Args) -> bool:
        self._adapter.venue.faults.set("reject", args)
        return True

    def _leave_pending(self, args: Args) -> bool:
        self._pending = int(args["times"])
        return True

    def _null_answer(self, args: Args) -> bool:
        self._nulls = int(args["times"])
        return True

    def _fill_beats_cancel(self, args: Args) -> bool:
        self._races = True
        return True

    def _gap(self, args: Args) -> bool:
        contract = self._contract()
        path = self._adapter.path(contract)
        path.ticks += int(args["ticks"])
        self._adapter.print(self._adapter.venue.market(contract), path.mid, 1)
        return True

    def _hand_trade(self, args: Args) -> bool:
        with self._by("hand"):
            self._adapter.venue.deal(self._account, self._contract(), 0 if args["buys"] else 1, args["size"], None)
        return True

    def _hand_flat(self, args: Args) -> bool:
        held = [p for p in self._account.positions.values() if p.contract.id in self.in_use.values()]
        if not held:
            return False
        with self._by("hand"):
            self._adapter.venue.deal(self._account, held[0].contract, 1 if held[0].sign > 0 else 0, held[0].size, None)
        return True

    def _hand_stop(self, args: Args) -> bool:
        """Of the position's size where there is one: a stop that is not the bot's."""
        contract = self._contract()
        held = self._account.held(contract.id)
        sells = held > 0 if held else not args["buys"]
        touch = self._adapter.venue.book.prices_of(contract.id).touch(-1 if sells else 1)
        if touch is None:
            return False
        level = touch + (-1 if sells else 1) * int(args["ticks"]) * contract.tick
        size = abs(held) or int(args["size"])
        request = Request(PRACTICE_ID, contract.id, OrderType.STOP, 1 if sells else 0, size, stop_price=level)
        with self._by("hand"):
            return self._adapter.venue.place(request, contract).code == 0

    def _resting(self) -> list[Order]:
        return [o for o in self._adapter.venue.book.live(PRACTICE_ID) if o.status is Status.OPEN]

    def _hand_cancel(self, args: Args) -> bool:
        resting = self._resting()
        if not resting:
            return False
        with self._by("hand"):
            chosen = self._adapter.kernel.random.choice(resting)
            self._adapter.venue.book.cancel_now(chosen, self._adapter.venue.now_us())
        return True

    def _venue_cancels(self, args: Args) -> bool:
        resting = self._resting()
        with self._by("venue"):
            for order in resting:
                self._adapter.venue.book.cancel_now(order, self._adapter.venue.now_us())
        return bool(resting)

    def _venue_flattens(self, args: Args) -> bool:
        is_busy = bool(self._account.positions) or bool(self._resting())
        with self._by("venue"):
            self._adapter.venue.clear_account(self._account)
        return is_busy

    def _lock_out(self, args: Args) -> bool:
        with self._by("venue"):
            self._adapter.venue.lock(self._account)
        return True

    def _roll(self, args: Args) -> bool:
        symbol = self._adapter.kernel.random.choice(self._adapter.symbols)
        contract = self._adapter.venue.roll(symbol)
        self._adapter.venue.market(contract)
        return True

    def _expire_tokens(self, args: Args) -> bool:
        self._adapter.tokens.revoke()
        return True

    def _hub_close(self, args: Args) -> bool:
        return self._adapter.hubs.close_all(args["hub"]) > 0

    def _outside_position(self, args: Args) -> bool:
        contract = self._adapter.venue.contract("MES")
        self._adapter.path(contract)
        request = Request(PRACTICE_ID, contract.id, OrderType.MARKET, 0 if args["buys"] else 1, int(args["size"]))
        with self._by("hand"):
            price = self._adapter.venue.book.prices_of(contract.id).touch(1)
            self._adapter.venue.book.deal(request, contract, price or Decimal(6800), self._adapter.venue.now_us())
        return True

    def _leave_outside(self) -> None:
        contract = self._adapter.venue.contract("MES")
        held = self._account.held(contract.id)
        if held:
            with self._by("hand"):
                self._adapter.venue.deal(self._account, contract, 1 if held > 0 else 0, abs(held), None)

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Until when a hand's or the venue's doing could be unknown: the first account read since that the bot has."""
        tape = self._adapter.kernel.tape
        reads = list(account_reads(tape))
        for true_ms, kind in self._adapter.tape.doings:
            told = (heard_ms for heard_ms, asked_ms in reads if asked_ms >= true_ms)
            tape.spans.append(Span("hand", true_ms, next(told, None), kind))


def account_reads(tape: Tape) -> Iterator[tuple[int, int]]:
    """When the bot had each account read, and when it had asked for it; true time, by its journal."""
    for part in tape.written:
        for line in part.lines.split(b"\n") if b'"AccountSnapshot"' in part.lines else ():
            record = journal.decode_line(line) if line else None
            if record is not None and isinstance(record.event, AccountSnapshot):
                yield part.true_ms, record.event.requested_ms - (part.bot_ms - part.true_ms)
