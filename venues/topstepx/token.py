"""The session token that REST and both hubs share (protocol page 1.4), and what must never stand in any text."""

import base64
import binascii
import re
import threading

import msgspec

from runtime import decoding
from runtime.clock import Clock
from runtime.redaction import HIDDEN, Redactor
from runtime.venue import CredentialsRefused, VenueUnavailable

TEXT_LENGTH_MAX = 200
LIFE_MS = 86_400_000  # page 1.4, for a token that does not say
RENEW_AT = 0.9  # of its life: 21.6 hours, the page advises 20 to 23
RENEW_AGAIN_MS = 60_000
REFUSED_MS = 30_000  # after a refusal nobody asks again for so long: guessing locks users out
KNOWN_CHARS_MIN = 3  # what is shorter would blank out innocent words
_SENDABLE = re.compile(r"[\x21-\x7e]+")  # fit for a header line


class Hider:
    """Makes of a venue's text one short printable line without the secrets it was told of, or what looks like one."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._redact = Redactor()

    def add(self, *secrets: str) -> None:
        self._known |= {secret for secret in secrets if len(secret) >= KNOWN_CHARS_MIN}
        longest_first = sorted(self._known, key=len, reverse=True)
        if longest_first:
            joined = "|".join(re.escape(secret) for secret in longest_first)
            self._pattern = re.compile(rf"(?<!\w)(?:{joined})(?!\w)", re.IGNORECASE)

    def __call__(self, text: str) -> str:
        line = "".join(c if c.isprintable() else " " for c in text[: 20 * TEXT_LENGTH_MAX])
        if self._pattern is not None:
            line = self._pattern.sub(HIDDEN, line)
        return self._redact(line)[:TEXT_LENGTH_MAX]


class LoginRefused(VenueUnavailable):
    """The venue refuses a key that it has taken before."""


class _Held(msgspec.Struct, frozen=True):
    token: str
    renew_ms: int  # our clock
    pause_ms: int  # between tries to renew

    def __repr__(self) -> str:
        return "_Held(<hidden>)"


class _Claims(msgspec.Struct):
    exp: float
    iat: float | None = None


class TokenKeeper:
    """Shared by every client of this process. It asks nobody anything: who needs a token fetches it and puts it here.

    Reading `token` never waits. `_lock` is held for microseconds; `login_turn` is for reads only, so that
    one of them logs in for all: an order that needs a token fetches its own, which leaves earlier ones valid.
    """

    def __init__(self, username: str, api_key: str, clock: Clock) -> None:
        self.login_body = msgspec.json.encode({"userName": username, "apiKey": api_key})
        self.hide = Hider()
        self.hide.add(username, api_key)
        self._clock = clock
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._renewable_ms = 0  # our clock: nobody tries to renew before
        self._refusal: tuple[int, str] | None = None  # our ms, text
        self.login_turn = threading.Lock()
        self._has_worked = False  # a login was accepted once: a later refusal is a fault at run time

    @property
    def token(self) -> str | None:
        held = self._held
        return held.token if held else None

    def put(self, token: str, offset_ms: int) -> None:
        """Keep a token that the venue has just given. Raises ValueError for one that no header can carry."""
        if not _SENDABLE.fullmatch(token):
            raise ValueError("a token with characters that no header can carry")
        self.hide.add(token)
        now_ms = self._clock.now_ms()
        with self._lock:
            self._refusal = None
            self._has_worked = True
            self._renewable_ms = 0
            if self._held is not None and self._held.token == token:
                return  # as old as it was
            life_ms = _life_ms(token, now_ms + offset_ms)
            pause_ms = max(1_000, min(RENEW_AGAIN_MS, life_ms // 20))
            self._held = _Held(token, now_ms + int(life_ms * RENEW_AT), pause_ms)

    def claim_renewal(self) -> bool:
        """True for one thread at a time, when the token nears its end."""
        held, now_ms = self._held, self._clock.now_ms()
        if held is None or now_ms < held.renew_ms:
            return False
        with self._lock:
            if now_ms < self._renewable_ms:
                return False
            self._renewable_ms = now_ms + held.pause_ms
            return True

    def refusal(self, text: str) -> CredentialsRefused | VenueUnavailable:
        """Note that the venue refused a login. At run time it is a fault like others: threads go on, and try again."""
        with self._lock:
            self._refusal = self._clock.now_ms(), text
        return LoginRefused(text, status=200) if self._has_worked else CredentialsRefused(text)

    def raise_refusal(self) -> None:
        """Raises what refusal() made, when that was a moment ago."""
        refusal = self._refusal
        if refusal is not None and 0 <= self._clock.now_ms() - refusal[0] < REFUSED_MS:
            raise LoginRefused(refusal[1]) if self._has_worked else CredentialsRefused(refusal[1])


def _life_ms(token: str, venue_now_ms: int) -> int:
    """How long a token just given lives; by its own two times where it has both, which needs no clock."""
    payload = token.split(".")[1:2]
    try:
        padded = payload[0] + "=" * (-len(payload[0]) % 4)
        claims = decoding.decode(base64.urlsafe_b64decode(padded), _Claims)
        start_s = claims.iat if claims.iat is not None else venue_now_ms / 1000
        return max(0, min(LIFE_MS, int((claims.exp - start_s) * 1000)))
    except (IndexError, binascii.Error, ValueError, OverflowError, msgspec.DecodeError):
        return LIFE_MS
