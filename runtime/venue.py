"""What the bot asks of a venue: two Protocols. The venue files implement them; nobody inherits."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol, TypeVar

from core.messages import (
    AccountSnapshot,
    AnyEvent,
    CancelAnswered,
    ClockOffset,
    CloseAnswered,
    CloseContract,
    Modify,
    ModifyAnswered,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    PolledPrice,
    RequestBudget,
    WorkingOrders,
)
from core.model import Bar, Fill, Instrument, Order, VenuePosition
from core.sane import nonsense
from core.state import State

OrderAnswer = OrderAccepted | OrderRejected | OrderUnknown


class VenueUnavailable(Exception):
    """A read got no usable answer. `str()` says what was asked and what came back; no URL, no key, no address."""

    def __init__(self, message: str, *, status: int | None = None, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status  # HTTP status, if there was one
        self.retry_s = retry_s  # how long the venue asks to wait, if it said


class CredentialsRefused(Exception):
    """The venue does not accept this key or account: exit code 3. The text is for the user."""


T = TypeVar("T", bound=AnyEvent)


def believed(event: T, offset_ms: int) -> T:
    """`event`, as a read has made it. Raises VenueUnavailable when it cannot be true, before anybody acts on it."""
    why = nonsense(State(offset_ms=offset_ms), event)
    if why is None:
        return event
    raise VenueUnavailable(f"{type(event).__name__}: unexpected answer: {why} beyond any sense", status=200)


class VenueClient(Protocol):
    """REST of one venue, for one thread: it owns a warm connection and is not shared."""

    watch_s: float  # how long to wait between two reads of the positions, in what the venue lets us ask

    def clone(self) -> "VenueClient":
        """The same for another thread, with connections of its own."""

    def instruments(self) -> dict[str, Instrument]:
        """Every tradable instrument by symbol. Raises VenueUnavailable."""

    def account(self) -> AccountSnapshot:
        """Raises VenueUnavailable when any part of the round is missing: never half an account."""

    def has_room(self) -> bool:
        """Whether the venue's window has room for reads that nothing waits for."""

    def positions(self) -> Sequence[VenuePosition]:
        """What is held, in one cheap read. Raises VenueUnavailable."""

    def working_orders(self) -> WorkingOrders: ...

    def hurry(self, on: bool) -> None:
        """While on, reads may use what the request budget keeps for orders."""

    def fills_since(self, time_ms: int) -> Sequence[Fill]:
        """Fills from time_ms (venue clock) on, oldest first, marked is_snapshot. One try: others wait behind it."""

    def bars(self, symbol: str, timeframe_ms: int, count: int) -> tuple[Bar, ...]:
        """The newest `count` bars, oldest first; the last may be forming. () where the venue offers none."""

    def polled_prices(self, symbols: Sequence[str]) -> Sequence[PolledPrice]: ...

    def remember_left(self, left: int | None, at_ms: int) -> None:
        """A bot of this account ran until `at_ms` (our clock; 0: never), and last knew `left` of the venue's window."""

    def request_budget(self) -> RequestBudget | None: ...

    def measure_clock(self) -> ClockOffset:
        """A cheap read that also keeps the connection warm."""

    def set_leverage(self, symbol: str, leverage: int, nonce: int) -> None:
        """Raises VenueUnavailable or ValueError with the venue's text."""

    def presign(self, order: Order) -> bytes:
        """The complete request body for `order`."""

    def submit(self, order: Order, presigned: bytes | None = None) -> OrderAnswer:
        """Send once. Never raises for what the network or the venue does: that is OrderUnknown."""

    def cancel(self, symbol: str, order_id: int, nonce: int) -> CancelAnswered:
        """Send it, unless `begin_cancel` has, and see what comes of it."""

    def begin_cancel(self, order_id: int) -> bool:
        """Write a cancellation without waiting. True: `cancel` must be called next. False: nothing was written."""

    def modify(self, action: Modify) -> ModifyAnswered:
        """Change a working order in place. Only where the venue has no gap-free other way (TopstepX)."""

    def close_outside(self, action: CloseContract) -> CloseAnswered:
        """Cancel what works in a contract outside the config, then close it. Only where a guard asks (TopstepX)."""

    def settle(self, order: Order, noops_sent: int) -> OrderSettled | OrderUnknown:
        """Make sure `order` cannot go live later, and say what became of it; OrderUnknown: ask again."""

    def rehearse(self) -> bool:
        """Look at the connection without waiting, so that `begin` soon after need not. False: it must be opened."""

    def begin(self, presigned: bytes) -> bool:
        """Write an order's bytes without waiting. True: `finish` must be called next. False: nothing was written."""

    def finish(self, order: Order) -> OrderAnswer:
        """The answer to what `begin` wrote; as `submit`, never raises for what the network or the venue does."""

    def close(self) -> None: ...


class VenueStream(Protocol):
    """A background thread that holds the socket and puts Frames and stream events on the inbox."""

    def start(self) -> None: ...

    def reconnect(self, reason: str, name: str | None = None) -> None:
        """Drop the connection (of the stream of this name, or all) and connect again at once; safe from any thread."""

    def watch(self, contract_ids: Sequence[str]) -> None:
        """Bring the prices of these as well; safe from any thread."""

    def stay_keen(self, on: bool) -> None:
        """While on, the thread keeps its reading path warm; safe from any thread."""

    def stop(self, timeout_s: float = 5.0) -> None: ...


def notional(price: Decimal, size: Decimal, instrument: Instrument) -> Decimal:
    """Value of `size` at `price`, account currency."""
    return abs(size) * price * instrument.multiplier
