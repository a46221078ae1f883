"""The faces of the deterministic world: what happened (`Tape`), what goes wrong (`Fault`), how a venue is plugged in.

Three clocks. *True* time is the world's own and the one of the whole tape. The bot's clock and the venue's clock are
true time plus an offset each, which faults move. All are UTC; `_us` are microseconds, `_ms` milliseconds.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from random import Random
from typing import Any, Protocol

import msgspec

from core.model import Instrument, OrderStatus, Side
from core.rules import Rules
from core.turn import Strategies
from runtime.clock import Clock
from runtime.dialect import Dialect
from runtime.heartbeat import Heartbeat
from runtime.poller import Seldom
from runtime.recovery import Decode
from runtime.venue import VenueClient
from runtime.warm_http import Answer

# --- faults ---------------------------------------------------------------------------------------------------------


class Fault(msgspec.Struct, frozen=True):
    """One line of a seed's fault list. The list is drawn before the day begins, so a shrinker can cut it down.

    `number` is the place in the whole list of this seed: `--faults 3,7` keeps only those two.
    """

    number: int
    kind: str
    at_ms: int  # true time since the beginning of the day
    for_ms: int = 0  # 0: it strikes once
    args: dict[str, Any] = {}


class FaultKind(msgspec.Struct, frozen=True):
    """A kind of fault and how it is drawn: about `per_day` of them, each lasting between the two bounds."""

    name: str
    per_day: float
    for_ms: tuple[int, int] = (0, 0)
    draw: Callable[[Random], dict[str, Any]] = lambda rnd: {}


# --- what happened --------------------------------------------------------------------------------------------------


class VenueOrder(msgspec.Struct, frozen=True):
    """The venue's own word about an order of the account, each time it changes."""

    true_ms: int
    symbol: str
    order_id: int
    client_id: str | None  # ours; None: a hand's, the venue's own, or one that names none (position stops)
    status: OrderStatus  # REJECTED also for what left no record at the venue
    side: Side
    size: Decimal  # whole; 0 with whole_position
    left: Decimal
    reduce_only: bool
    trigger_price: Decimal | None
    whole_position: bool = False
    is_stop: bool = False  # would close at a loss level; False for targets, entries, exits
    by: str = "bot"  # bot, hand, venue
    text: str = ""  # the venue's spelling or reason


class VenueFill(msgspec.Struct, frozen=True):
    """One execution of the account, as the venue did it, whether or not anybody was told."""

    true_ms: int
    symbol: str
    side: Side
    price: Decimal
    size: Decimal
    order_id: int
    client_id: str | None
    fill_id: str  # spelt as `core.model.Fill.fill_id` is
    before: Decimal  # signed position before it
    by: str = "bot"  # bot, hand, venue (a liquidation, a flatten of the platform)

    @property
    def after(self) -> Decimal:
        return self.before + self.side.sign * self.size


class VenuePrice(msgspec.Struct, frozen=True):
    """A price at which the venue traded or that it marks by: what would trigger a stop there."""

    true_ms: int
    symbol: str
    price: Decimal
    is_mark: bool = False


class Exchange(msgspec.Struct):
    """One HTTP request of the bot and its fate; filled in as it travels."""

    number: int
    run: int
    path: str
    body: bytes
    sent_ms: int  # true time
    journal_bytes: int  # written by this run (header of the tape's `journal`) when it left: P6
    arrived_ms: int | None = None  # at the venue; None: it never did
    answer: Answer | None = None  # what the venue answered, whoever has heard it
    heard_ms: int | None = None  # when the bot had the answer; None: it never did
    fate: str = ""  # answered, lost, answer_lost, refused (no connection), cut (the bot died), timeout, http_error


class Written(msgspec.Struct, frozen=True):
    """One write to the journal, whole lines (the last of a run may be torn)."""

    true_ms: int
    bot_ms: int
    run: int
    lines: bytes
    torn: bool = False


class Span(msgspec.Struct):
    """A stretch of true time. `to_ms` None: it lasts until the end.

    Kinds every venue has: `bot_up` (a process lives; detail is the run's number), `asleep` (it does, and does not
    run), `rest_down` (requests get no answer, or an error), `venue_down` (nothing does), `slow` (answers may take more
    than a second), `stream_up` (detail is the stream's name), `mute` (a stream that looks alive and is not; detail as
    before), `disk_full`, `hand` (a position was changed by hand, up to when an honest bot must know), `no_prices`.
    """

    kind: str
    from_ms: int
    to_ms: int | None = None
    detail: str = ""


class LogLine(msgspec.Struct, frozen=True):
    true_ms: int
    run: int
    level: str
    name: str
    text: str  # the whole line as it stands in bot.log, time aside
    notify: bool = False


class Health(msgspec.Struct, frozen=True):
    """What `/health` would have answered (`runtime.snapshot`), taken now and then."""

    true_ms: int
    run: int
    body: dict[str, Any]


class Ending(msgspec.Struct, frozen=True):
    """How a run of the bot ended: `kind` is killed, stopped (asked to, or by a Stop) or crashed (an exception)."""

    true_ms: int
    run: int
    kind: str
    exit_code: int | None
    error: str = ""


class Tape(msgspec.Struct):
    """Everything that happened in a day, in true time. The invariants read this and nothing else."""

    venue: str
    seed: int
    rules: Rules
    begin_ms: int  # true time
    end_ms: int = 0
    faults: list[Fault] = []  # as declared
    fired: list[tuple[int, Fault]] = []  # true time at which each really struck
    orders: list[VenueOrder] = []
    fills: list[VenueFill] = []
    prices: list[VenuePrice] = []
    requests: list[Exchange] = []
    written: list[Written] = []
    spans: list[Span] = []
    log: list[LogLine] = []
    health: list[Health] = []
    endings: list[Ending] = []
    ledger_fills: list[tuple[Any, ...]] = []  # rows of the ledger's table `fills` at the end, all runs
    ledger_orders: list[tuple[Any, ...]] = []
    venue_offsets: list[tuple[int, int]] = []  # (true ms, venue clock minus true time) from then on
    bot_offsets: list[tuple[int, int]] = []
    counts: dict[str, int] = {}  # messages, frames, ticks, orders, fills, restarts, ...
    secrets: tuple[str, ...] = ()  # texts that may be in no line of the log, journal, health or error

    def journal(self, run: int | None = None) -> bytes:
        """All bytes of one run's journal, or of the whole day's."""
        return b"".join(part.lines for part in self.written if run is None or part.run == run)


class Violation(msgspec.Struct, frozen=True):
    """A promise that did not hold. `name` is that of the checker, `P2_protected` for example."""

    name: str
    true_ms: int
    text: str


Checker = Callable[[Tape], Iterable[Violation]]  # sim/invariants.py: CHECKERS: dict[str, Checker]

# --- a venue in the world -------------------------------------------------------------------------------------------


class Link(Protocol):
    """The venue's end of one WebSocket. What is sent arrives in order, late, or never if the link breaks first."""

    name: str  # of the stream, as its Dialect's
    url: str
    state: Any  # the adapter's own: subscriptions, ...

    def send(self, payload: bytes) -> None: ...

    def close(self) -> None:
        """The venue hangs up."""

    def break_off(self, last: bytes = b"") -> None:
        """The connection is gone for both, without a word but `last`."""


class Wire(Protocol):
    """What the real clients get in place of their connections (`runtime.warm_http`, `runtime.read_http`)."""

    def warm(self) -> Any:
        """Stands in for a WarmConnection."""

    def reads(self) -> Any:
        """Stands in for a ReadSession."""


class Kernel(Protocol):
    """What an adapter may ask of the world."""

    tape: Tape
    bot_clock: Clock  # `wait` lets the world go on
    random: Random  # of the venue's side; faults and latencies draw from generators of their own

    def now_us(self) -> int:
        """True time."""

    def venue_us(self) -> int:
        """The venue's clock."""

    def bot_ms(self) -> int: ...

    def monotonic_s(self) -> float:
        """Of the bot's machine: stands still while it sleeps."""

    def after(self, delay_us: int, call: Callable[[], None]) -> None:
        """Call it at the venue `delay_us` from now."""

    def strikes(self, kind: str, default: float = 1.0, **facts: Any) -> Fault | None:
        """The fault of this kind that is on, fits the facts (its args of those names), and whose dice (`p`) say so.

        What is returned counts as fired.
        """

    def dice(self, fault: Fault) -> Random:
        """The generator of this fault alone."""

    def fired(self, fault: Fault) -> None:
        """It has struck (for those that neither `strikes` nor `begin` tells of)."""

    def links(self) -> Sequence[Link]:
        """Those that are open at the venue."""

    def count(self, what: str, number: int = 1) -> None: ...

    def open_span(self, kind: str, detail: str = "") -> None: ...

    def close_span(self, kind: str, detail: str = "") -> None: ...


class StreamPlan(msgspec.Struct):
    """One stream of the bot: the real dialect, and how its ReconnectingStream is set up."""

    name: str
    dialect: Dialect
    heartbeat: Heartbeat | None = None
    reconnect_interval: float = 5.0


class Adapter(Protocol):
    """One venue: real clients and dialects for the bot's side, the pure simulated exchange for the other.

    Made by `Callable[[Kernel, int], Adapter]` (the seed), once a day; see `sim.world_director.ADAPTERS`. It writes the
    tape's `orders`, `fills` and `prices`. Everything random in it comes from `kernel.random` or generators seeded by
    the seed.
    """

    # the bot's side; called anew at each start of the bot unless said otherwise

    def rules(self, instruments: dict[str, Instrument]) -> Rules:
        """As the bot's start makes them; `instruments` were just read by the client."""

    def strategies(self, rules: Rules) -> Strategies: ...

    def client(self, wire: Wire) -> VenueClient:
        """The real client over the world's connections; clones go over `wire` too."""

    def prepare(self, client: VenueClient, rules: Rules) -> None:
        """What `Kit.prepare` does; it may wait for the venue."""

    def streams(self, client: VenueClient, rules: Rules) -> Sequence[StreamPlan]: ...

    def seldom(self, client: VenueClient, rules: Rules) -> Sequence[Seldom]:
        """As `Kit.seldom`."""

    def decoder(self, rules: Rules) -> Decode:
        """Reads the journal's frames, as `wiring` does."""

    # the venue's side

    def answer(self, path: str, body: bytes, headers: bytes) -> Answer:
        """Act on a request that has just arrived. Not called while the venue is down."""

    def opened(self, link: Link) -> int | None:
        """A stream connects; an HTTP status refuses the upgrade."""

    def received(self, link: Link, payload: bytes) -> None: ...

    def closed(self, link: Link) -> None:
        """The bot's end is gone, or the link is broken."""

    def step(self, elapsed_ms: int) -> None:
        """A block: prices move as after `elapsed_ms`, orders match, links are told (if anybody listens)."""

    def restarted(self) -> None:
        """The venue comes back after a restart: connections are gone, its memory is not."""

    # faults of this venue alone, beside the world's own (sim/world_faults.py)

    def fault_kinds(self) -> Sequence[FaultKind]: ...

    def begin(self, fault: Fault) -> bool:
        """Strike. False: there was nothing to strike now (it is then not counted as fired)."""

    def end(self, fault: Fault) -> None:
        """Its time is over (only those that last)."""

    def quieten(self) -> None:
        """From now on nobody else trades: books and marks stay, no bar closes, so no strategy speaks."""

    def finish(self) -> None:
        """The day is over and all faults are past: whatever the venue still had in mind is done (late fills told)."""
