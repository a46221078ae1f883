"""The two connections of one thread to TopstepX: a requests session for reads, a warm one for everything urgent."""

import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import msgspec

from runtime.budget import WeightBudget
from runtime.clock import Clock
from runtime.logs import line
from runtime.read_http import ReadAnswer, ReadSession, retry_after_s
from runtime.venue import CredentialsRefused, VenueUnavailable
from runtime.warm_http import NETWORK_ERRORS, Answer, NotSent, WarmConnection
from venues.topstepx import shapes
from venues.topstepx.codes import CODES, LOGIN_ADVICE, code_name
from venues.topstepx.offset import OffsetBounds, date_ms
from venues.topstepx.token import TokenKeeper

log = logging.getLogger("venue")

LOGIN, VALIDATE, BARS = "Auth/loginKey", "Auth/validate", "History/retrieveBars"
PING_PATH = "/api/Status/ping"
READ_TRIES = 3
BACKOFF_S = 0.25  # doubled at each try
RETRY_AFTER_S_MAX = 5.0  # a longer wait is the caller's business
P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound="Envelope")


class Envelope(msgspec.Struct):
    """Every POST answers with it; the payload is null when success is false (page 1.3)."""

    success: bool
    errorCode: int = 0
    errorMessage: str | None = None


class _Login(Envelope):
    token: str | None = None


class _Validated(Envelope):
    newToken: str | None = None


class Refusal(VenueUnavailable):
    """A read was answered `success: false`."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, status=200)
        self.code = code


class Timeouts(msgspec.Struct, frozen=True):
    """Each bounds one request as a whole, except that connecting comes on top."""

    connect_s: float = 3.0
    order_s: float = 5.0
    read_s: float = 5.0
    first_read_s: float = 2.0  # all tries but the last: a lost answer is not waited for as long as a slow one
    look_s: float = 1.5  # the reads that follow a cancel, and those inside settle()


class RequestLimits:
    """Both windows of page 1.6, for the whole process. Orders always go; reads leave them a reserve.

    The page advises to plan for half: reads of a bot that trades need a third of the large window, and bars, which
    orders never need, may use most of the small one, for prices are polled from it while the hub is away.
    """

    def __init__(self, clock: Clock) -> None:
        self.rest = WeightBudget(clock, capacity=200, reserve=80, window_ms=60_000)
        self.bars = WeightBudget(clock, capacity=50, reserve=10, window_ms=30_000)

    def of(self, what: str) -> WeightBudget:
        return self.bars if what == BARS else self.rest

    def left(self) -> int:
        """Requests that the large window still takes, as far as we know: none while the venue says 429."""
        return 0 if self.rest.is_held() else max(0, self.rest.capacity - self.rest.used())

    def hold(self, what: str, retry_s: float | None) -> float:
        """The venue said 429: no reads for as long as it asks, or for the length of the window (page 1.5).

        Orders and urgent reads go on meanwhile; that they are refused too is no news, and makes it no longer.
        """
        window_s = 30.0 if what == BARS else 60.0
        held_s = min(retry_s or window_s, window_s)
        if not self.of(what).is_held():
            self.of(what).hold(held_s)
        return held_s


class TopstepRest:
    """Owned by one thread; close() alone may come from another."""

    def __init__(
        self,
        api_url: str,
        clock: Clock,
        limits: RequestLimits,
        keeper: TokenKeeper,
        offset: OffsetBounds,
        timeouts: Timeouts,
        context: ssl.SSLContext | None,
    ) -> None:
        self._clock, self._limits, self._keeper, self._offset = clock, limits, keeper, offset
        self._timeouts, self._hide = timeouts, keeper.hide
        self._stop = threading.Event()
        self.warm = WarmConnection(api_url, clock, connect_s=timeouts.connect_s, context=context)
        self._session = ReadSession(api_url, connect_s=timeouts.connect_s)
        self._begun: tuple[str, bytes, str] | None = None  # what, body, token
        self.is_urgent = False  # what is read may use what the limits keep for orders

    def close(self) -> None:
        self._stop.set()
        self.warm.close()
        self._session.close()

    def pause(self, delay_s: float) -> None:
        self._clock.wait(self._stop, delay_s)

    # --- reads ------------------------------------------------------------------------------------------------------

    def ask(self, what: str, body: dict[str, Any], shape: type[E], tries_max: int = READ_TRIES) -> E:
        """One answer of `/api/<what>`, tried up to `tries_max` times with growing pauses.

        Raises VenueUnavailable, naming what was asked and what came; Refusal when that was `success: false`;
        CredentialsRefused when no login has worked yet.
        """
        content = msgspec.json.encode(body)
        self.renew_when_due()
        for tries in range(1, tries_max + 1):
            self._limits.of(what).take(1, self._stop, urgent=self.is_urgent)
            try:
                wait_s = self._timeouts.first_read_s if tries < tries_max else self._timeouts.read_s
                answer = self._read(what, content, wait_s)
                self._limits.of(what).answered()
                return accepted(what, self._decoded(what, answer, shape), self._hide)
            except Refusal:
                raise
            except VenueUnavailable as e:
                failure = e
            if tries == tries_max or not _may_pass(failure):
                break
            delay_s = failure.retry_s if failure.retry_s is not None else BACKOFF_S * 2 ** (tries - 1)
            if delay_s > RETRY_AFTER_S_MAX or self._clock.wait(self._stop, delay_s):
                break
        raise failure

    def _read(self, what: str, content: bytes, timeout_s: float) -> bytes:
        token = self._keeper.token or self._fresh_token(None)
        answer = self._fetch(what, content, token, timeout_s)
        if answer.status == 401:
            answer = self._fetch(what, content, self._fresh_token(token), timeout_s)
        if answer.status != 200:
            raise self._http_failure(what, answer)
        return answer.body

    def _fetch(self, what: str, content: bytes, token: str | None, timeout_s: float) -> ReadAnswer:
        return self._session.post(what, f"/api/{what}", content, timeout_s, token)

    def _http_failure(self, what: str, answer: ReadAnswer) -> VenueUnavailable:
        retry_s = self._limits.hold(what, answer.retry_s) if answer.status == 429 else answer.retry_s
        text = self._hide(f"{what}: HTTP {answer.status} {answer.body[:1000].decode('utf-8', 'replace')}")
        return VenueUnavailable(text.rstrip(), status=answer.status, retry_s=retry_s)

    def _decoded(self, what: str, content: bytes, shape: type[E]) -> E:
        return checked(what, shapes.decode, content, shape)

    def ask_now(self, what: str, body: dict[str, Any], shape: type[E]) -> E:
        """One try over the warm connection, without asking the budget for leave. Raises VenueUnavailable."""
        try:
            answer = self.act(what, msgspec.json.encode(body), self._timeouts.look_s)
        except CredentialsRefused as e:
            raise VenueUnavailable(f"{what}: {e}") from None
        except NETWORK_ERRORS as e:
            raise VenueUnavailable(f"{what}: {network_text(e)}") from None
        if answer.status != 200:
            raise self._http_failure(what, ReadAnswer(answer.status, answer.body, retry_after_s(answer.retry_after)))
        return accepted(what, self._decoded(what, answer.body, shape), self._hide)

    def measure_clock(self) -> tuple[int, int, int]:
        """(our ms after, lowest and highest offset), over the warm connection, which it keeps warm.

        Raises VenueUnavailable.
        """
        for _ in range(2):  # a read: trying again does no harm
            try:
                self.warm.connect()  # so that a handshake is not measured
                self._limits.rest.charge(1)
                before_ms = self._clock.now_ms()
                answer = self.warm.get(PING_PATH, self._timeouts.read_s)
            except NETWORK_ERRORS as e:
                failure = VenueUnavailable(f"Status/ping: {network_text(e)}")
                continue
            after_ms = self._clock.now_ms()
            self._note_limit("Status/ping", answer)
            date = date_ms(answer.date) if answer.status == 200 and b"pong" in answer.body[:20].lower() else None
            if date is None:
                raise VenueUnavailable(f"Status/ping: HTTP {answer.status} without a time", status=answer.status)
            return after_ms, *self._offset.narrow(before_ms, date, after_ms)
        raise failure

    # --- writes -----------------------------------------------------------------------------------------------------

    def act(self, what: str, body: bytes, timeout_s: float | None = None, *, until_ms: int | None = None) -> Answer:
        """Send one request over the warm connection; after a 401, which means it was not executed, once more.

        `until_ms` (our clock): after a login that took longer than this nothing is sent. Raises CredentialsRefused or
        VenueUnavailable when nothing was executed; NotSent or another of NETWORK_ERRORS (outcome open).
        """
        token = self._keeper.token or self._token_until(None, until_ms)
        answer = self._post(what, body, token, timeout_s)
        if answer.status == 401:
            answer = self._post(what, body, self._token_until(token, until_ms), timeout_s)
        return answer

    def _token_until(self, refused: str | None, until_ms: int | None) -> str:
        token = self._fresh_token(refused, urgent=True)
        if until_ms is not None and self._clock.now_ms() > until_ms:
            raise VenueUnavailable("the login took too long")
        return token

    def _post(self, what: str, body: bytes, token: str, timeout_s: float | None) -> Answer:
        self._limits.of(what).charge(1)
        answer = self.warm.post(f"/api/{what}", body, timeout_s or self._timeouts.order_s, _bearer(token))
        self._note_limit(what, answer)
        return answer

    def _note_limit(self, what: str, answer: Answer) -> None:
        if answer.status == 429:
            self._limits.hold(what, retry_after_s(answer.retry_after))

    def begin(self, what: str, body: bytes) -> bool:
        """Write one request without waiting; False: nothing was written (no live connection, or no token)."""
        token = self._keeper.token
        if token is None or not self.warm.begin(f"/api/{what}", body, _bearer(token)):
            return False
        self._begun = what, body, token
        return True

    @property
    def has_begun(self) -> bool:
        """A request was begun whose answer nobody has awaited."""
        return self._begun is not None

    def finish(self, until_ms: int | None = None) -> Answer:
        """The answer to what was begun; raises as act()."""
        assert self._begun is not None, "begin() said True"
        (what, body, token), self._begun = self._begun, None
        self._limits.of(what).charge(1)
        answer = self.warm.finish(self._timeouts.order_s)
        self._note_limit(what, answer)
        if answer.status == 401:
            answer = self._post(what, body, self._token_until(token, until_ms), None)
        return answer

    # --- the token --------------------------------------------------------------------------------------------------

    def token(self, refused: str | None = None) -> str:
        """A token other than `refused`. Raises CredentialsRefused, VenueUnavailable."""
        self.renew_when_due()
        token = self._keeper.token
        return token if token is not None and token != refused else self._fresh_token(refused)

    def renew_when_due(self) -> None:
        """Renew the token near its end, by validate, else by a login (page 1.4). A failure waits for the next time."""
        if not self._keeper.claim_renewal():
            return
        try:
            if not self._validate():
                self._log_in(self._login_answer(urgent=False))
            log.info(line("token_renewed"))
        except (VenueUnavailable, CredentialsRefused) as e:
            log.warning(line("token_not_renewed", {"error": str(e)}))

    def _validate(self) -> bool:
        token = self._keeper.token
        assert token is not None, "claim_renewal() said True"
        self._limits.rest.charge(1)
        answer = self._fetch(VALIDATE, b"{}", token, self._timeouts.read_s)
        if answer.status != 200:
            return False
        said = self._decoded(VALIDATE, answer.body, _Validated)
        if not said.success or not said.newToken or said.newToken == token:
            return False
        self._keep(VALIDATE, said.newToken)
        return True

    def _fresh_token(self, refused: str | None, *, urgent: bool = False) -> str:
        """Log in, unless another thread has done so since. Orders do not wait for that thread, reads do."""
        turn = self._keeper.login_turn
        if not urgent and not turn.acquire(timeout=self._timeouts.connect_s + self._timeouts.read_s):
            raise VenueUnavailable(f"{LOGIN}: another thread is still at it")
        try:
            token = self._keeper.token
            if token is not None and token != refused:
                return token
            return self._log_in(self._login_answer(urgent))
        finally:
            if not urgent:
                turn.release()

    def _login_answer(self, urgent: bool) -> ReadAnswer:
        """Raises VenueUnavailable, CredentialsRefused when a login was refused a moment ago."""
        self._keeper.raise_refusal()
        self._limits.rest.charge(1)
        if not urgent:
            return self._fetch(LOGIN, self._keeper.login_body, None, self._timeouts.read_s)
        try:
            answer = self.warm.post(f"/api/{LOGIN}", self._keeper.login_body, self._timeouts.order_s)
        except NETWORK_ERRORS as e:
            raise VenueUnavailable(f"{LOGIN}: {network_text(e)}") from None
        return ReadAnswer(answer.status, answer.body, retry_after_s(answer.retry_after))

    def _log_in(self, answer: ReadAnswer) -> str:
        """Raises CredentialsRefused by name and with what to do; VenueUnavailable once a login has worked before."""
        if answer.status != 200:
            raise self._http_failure(LOGIN, answer)
        said = self._decoded(LOGIN, answer.body, _Login)
        if said.success and said.token:
            self._keep(LOGIN, said.token)
            return said.token
        name = CODES[LOGIN].get(said.errorCode, "")
        text = refusal_text(LOGIN, said, self._hide)
        if name not in LOGIN_ADVICE:  # UnknownError, or a code nobody knows: perhaps not about the key
            raise VenueUnavailable(text, status=200)
        raise self._keeper.refusal(f"login refused: {text}: {LOGIN_ADVICE[name]}")

    def _keep(self, what: str, token: str) -> None:
        try:
            self._keeper.put(token, self._offset.middle_ms)
        except ValueError as e:
            raise VenueUnavailable(f"{what}: {e}", status=200) from None


def accepted(what: str, said: E, hide: Callable[[str], str]) -> E:
    """Raises Refusal unless the envelope says success."""
    if said.success:
        return said
    raise Refusal(refusal_text(what, said, hide), said.errorCode)


def refusal_text(what: str, said: Envelope, hide: Callable[[str], str]) -> str:
    message = f": {said.errorMessage}" if said.errorMessage else ""
    return hide(f"{what}: {code_name(what, said.errorCode)}{message}")


def checked(what: str, convert: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `convert`, which raises BadAnswer for an answer that cannot be. Raises VenueUnavailable then."""
    try:
        return convert(*args, **kwargs)
    except shapes.BadAnswer as e:
        raise VenueUnavailable(f"{what}: unexpected answer: {str(e)[:200]}", status=200) from None


def network_text(e: Exception) -> str:
    return f"{type(e).__name__}: {e}"[:200] if isinstance(e, NotSent | TimeoutError) else type(e).__name__


def _bearer(token: str) -> bytes:
    return b"Authorization: Bearer " + token.encode("ascii") + b"\r\n"


def _may_pass(failure: VenueUnavailable) -> bool:
    """Worth asking again: the network, an overload, half an answer; not a refusal of the question itself."""
    return failure.status is None or failure.status in (200, 429) or failure.status >= 500
