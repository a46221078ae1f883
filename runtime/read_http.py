"""Reads over a requests session: whole answers within a bound, faults without the address in their text."""

import time
from collections.abc import Callable
from typing import NamedTuple

import requests
import urllib3

from runtime.venue import VenueUnavailable
from runtime.warm_http import ANSWER_BYTES_MAX, NETWORK_ERRORS, checked_url, is_loopback


class ReadAnswer(NamedTuple):
    status: int
    body: bytes
    retry_s: float | None  # how long the venue asks to wait, if it said


class _Bearer(requests.auth.AuthBase):
    """Not a plain header: the session would put a .netrc entry in its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class ReadSession:
    """Owned by one thread; one connection, kept alive. Nothing is repeated here, no redirect is followed."""

    def __init__(self, base_url: str, *, connect_s: float = 3.0) -> None:
        """Raises ValueError for an address that may not be used."""
        url = checked_url(base_url)
        self._base_url, self._connect_s = base_url.rstrip("/"), connect_s
        self._session = requests.Session()
        self._session.headers.update({"Content-Type": "application/json", "Accept": "application/json"})
        self._session.trust_env = not is_loopback(url.hostname or "")  # a proxy cannot reach this machine
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=1))

    def close(self) -> None:
        self._session.close()

    def post(self, what: str, path: str, body: bytes, timeout_s: float, token: str | None = None) -> ReadAnswer:
        """Raises VenueUnavailable, which names `what`, when no whole answer came in time."""
        try:
            with self._session.post(
                self._base_url + path,
                data=body,
                auth=_Bearer(token) if token else _no_auth,
                timeout=(self._connect_s, timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                content = _content(response, time.monotonic() + timeout_s)
                return ReadAnswer(response.status_code, content, retry_after_s(response.headers.get("Retry-After")))
        except (requests.RequestException, urllib3.exceptions.HTTPError, *NETWORK_ERRORS) as e:
            raise VenueUnavailable(f"{what}: {_kind(e)}") from None  # its own text would quote the address


def retry_after_s(text: str | None) -> float | None:
    """The header's seconds; its other form, a date, is not read."""
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _content(response: requests.Response, deadline: float) -> bytes:
    """The whole body; a session's own timeout starts again with every byte that drips in."""
    parts: list[bytes] = []
    size = 0
    read: Callable[..., bytes] = response.raw.read1
    while part := read(65_536, decode_content=True):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline or size > ANSWER_BYTES_MAX:
            raise requests.Timeout("the answer is too slow or too long")
    return b"".join(parts)


def _kind(e: Exception) -> str:
    if isinstance(e, requests.Timeout | TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return f"connection failed ({type(e).__name__})"
