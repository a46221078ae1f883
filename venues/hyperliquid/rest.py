"""The two connections of one thread to Hyperliquid: a requests session for reads, a warm one for everything urgent."""

import ssl
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import msgspec

from runtime.budget import WeightBudget
from runtime.clock import Clock
from runtime.read_http import ReadAnswer, ReadSession
from runtime.venue import VenueUnavailable
from runtime.warm_http import NETWORK_ERRORS, Answer, NotSent, WarmConnection
from venues.hyperliquid.info import BadAnswer, ExchangeStatus, decode
from venues.hyperliquid.wire import clean

# Page 7.1; every other read weighs 20.
WEIGHTS = {
    "l2Book": 2,
    "allMids": 2,
    "clearinghouseState": 2,
    "orderStatus": 2,
    "spotClearinghouseState": 2,
    "exchangeStatus": 2,
    "userRole": 60,
}
WEIGHT_OTHER = 20
WEIGHT_ACTION = 1
READ_TRIES = 3
BACKOFF_S = 0.25  # doubled at each try
SPENT_BEFORE = 500  # by a bot that ran until less than a minute ago: the venue counts by address, whoever asks
SPENT_BEFORE_MAX = 900  # beyond that a start could read next to nothing
MAKE_WAY_S = 3.0
RETRY_AFTER_S_MAX = 5.0  # a longer wait is the caller's business
P = ParamSpec("P")
T = TypeVar("T")


class Timeouts(msgspec.Struct, frozen=True):
    """Each bounds one request as a whole, except that connecting comes on top."""

    connect_s: float = 3.0
    order_s: float = 5.0
    bare_s: float = 1.5  # entries and stops: a position may stand without a stop until it is known (P2)
    read_s: float = 5.0
    first_read_s: float = 2.0  # all tries but the last: a lost answer is not waited for as long as a slow one
    settle_s: float = 1.5  # the reads and the noop inside settle()


class HyperliquidRest:
    """Owned by one thread; close() alone may come from another."""

    def __init__(
        self, api_url: str, clock: Clock, budget: WeightBudget, timeouts: Timeouts, context: ssl.SSLContext | None
    ) -> None:
        self._clock, self._budget, self._timeouts = clock, budget, timeouts
        self._stop = threading.Event()
        self.is_urgent = False  # what is read may use what the budget keeps for actions
        self.warm = WarmConnection(api_url, clock, connect_s=timeouts.connect_s, context=context)
        self._reads = ReadSession(api_url, connect_s=timeouts.connect_s)

    def close(self) -> None:
        self._stop.set()
        self.warm.close()
        self._reads.close()

    def pause(self, delay_s: float) -> None:
        self._clock.wait(self._stop, delay_s)

    # --- reads ------------------------------------------------------------------------------------------------------

    def info(
        self, request: dict[str, Any], shape: type[T], tries_max: int = READ_TRIES, *, with_reserve: bool = False
    ) -> T:
        """One answer of `/info`, tried up to `tries_max` times with growing pauses.

        `with_reserve`: it may use the weight that other reads leave to orders.
        Raises VenueUnavailable, naming what was asked and what came.
        """
        what, body = request["type"], msgspec.json.encode(request)
        for tries in range(1, tries_max + 1):
            weight = WEIGHTS.get(what, WEIGHT_OTHER)
            self._budget.take(weight, self._stop, urgent=self.is_urgent, with_reserve=with_reserve)
            try:
                wait_s = self._timeouts.first_read_s if tries < tries_max else self._timeouts.read_s
                answer = self._fetch(what, body, wait_s)
                self._budget.answered()
                return checked(what, decode, answer, shape)
            except VenueUnavailable as e:
                failure = e
            if tries == tries_max or not _may_pass(failure):
                break
            delay_s = failure.retry_s if failure.retry_s is not None else BACKOFF_S * 2 ** (tries - 1)
            if delay_s > RETRY_AFTER_S_MAX or self._clock.wait(self._stop, delay_s):
                break
        raise failure

    def info_now(self, request: dict[str, Any], shape: type[T], timeout_s: float) -> T:
        """One try over the warm connection, without asking the budget for leave. Raises VenueUnavailable."""
        what = request["type"]
        self._budget.charge(WEIGHTS.get(what, WEIGHT_OTHER))
        try:
            answer = self.warm.post("/info", msgspec.json.encode(request), timeout_s)
        except NETWORK_ERRORS as e:
            raise VenueUnavailable(f"{what}: {network_text(e)}") from None
        self._make_way(answer)
        if answer.status != 200:
            raise VenueUnavailable(f"{what}: HTTP {answer.status} {_start_of(answer.body)}", status=answer.status)
        return checked(what, decode, answer.body, shape)

    def venue_time(self) -> tuple[int, int, int]:
        """(our ms before, the venue's ms, our ms after), over the warm connection, which it keeps warm.

        Raises VenueUnavailable.
        """
        for _ in range(2):  # a read: trying again does no harm
            try:
                self.warm.connect()  # so that a handshake is not measured
                before_ms = self._clock.now_ms()
                status = self.info_now({"type": "exchangeStatus"}, ExchangeStatus, self._timeouts.read_s)
                return before_ms, status.time, self._clock.now_ms()
            except NotSent as e:
                failure = VenueUnavailable(f"exchangeStatus: {network_text(e)}")
            except VenueUnavailable as e:
                failure = e
                if e.status is not None:
                    break
        raise failure

    def suppose_spent(self, left: int | None, until_ms: int) -> None:
        """A bot from this address ran until then (our clock): what it asked in its last minute is spent.

        `left` by its last read of the account. It counts what that bot supposed of the one before it: a row of short
        runs adds up, and stops at SPENT_BEFORE_MAX.
        """
        capacity = self._budget.capacity
        spent = SPENT_BEFORE if left is None else max(SPENT_BEFORE, min(capacity - left, SPENT_BEFORE_MAX))
        self._budget.remember(capacity - spent, until_ms)

    def charge_rows(self, rows: int, rows_each: int) -> None:
        """The surcharge that a long answer cost."""
        self._budget.charge(rows // rows_each)

    def _fetch(self, what: str, body: bytes, timeout_s: float) -> bytes:
        answer = self._reads.post(what, "/info", body, timeout_s)
        if answer.status != 200:
            raise self._http_failure(what, answer)
        return answer.body

    def _http_failure(self, what: str, answer: ReadAnswer) -> VenueUnavailable:
        if answer.status == 429:
            self._budget.hold(min(answer.retry_s or 1.0, RETRY_AFTER_S_MAX))
        words = f"{what}: HTTP {answer.status} {_start_of(answer.body)}"
        return VenueUnavailable(words, status=answer.status, retry_s=answer.retry_s)

    # --- actions ----------------------------------------------------------------------------------------------------

    def exchange(self, body: bytes, *, timeout_s: float | None = None) -> Answer:
        """Send one action, once. Raises NotSent or another of NETWORK_ERRORS (outcome open)."""
        self._budget.charge(WEIGHT_ACTION)
        return self._make_way(
            self.warm.post("/exchange", body, self._timeouts.order_s if timeout_s is None else timeout_s)
        )

    def begin_exchange(self, body: bytes) -> bool:
        """Write one action without waiting; False: nothing was written (no live connection)."""
        if not self.warm.begin("/exchange", body):
            return False
        self._budget.charge(WEIGHT_ACTION)
        return True

    def finish_exchange(self) -> Answer:
        """The answer to what was begun. Raises NETWORK_ERRORS (outcome open)."""
        return self._make_way(self.warm.finish(self._timeouts.order_s))

    def _make_way(self, answer: Answer) -> Answer:
        """An action was turned away, for somebody else has spent the weight (a bot before this one, say): reads pause.

        Each of them would take what comes free before the action could be tried again.
        """
        if answer.status == 429:
            self._budget.hold(MAKE_WAY_S)
        return answer


def checked(what: str, convert: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `convert`, which raises BadAnswer for an answer that cannot be. Raises VenueUnavailable then."""
    try:
        return convert(*args, **kwargs)
    except BadAnswer as e:
        raise VenueUnavailable(f"{what}: unexpected answer: {clean(str(e))}", status=200) from None


def network_text(e: Exception) -> str:
    return clean(f"{type(e).__name__}: {e}")


def _start_of(content: bytes) -> str:
    return clean(content[:200].decode("utf-8", "replace"))


def _may_pass(failure: VenueUnavailable) -> bool:
    """Worth asking again: the network, an overload, half an answer; not a refusal of the question itself."""
    return failure.status is None or failure.status in (200, 429) or failure.status >= 500
