"""Reads over a requests session: whole answers within a bound, faults without the address in their text."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import requests
import urllib3

from runtime.venue import VenueUnavailable
from runtime.warm_http import ANSWER_BYTES_MAX, NETWORK_ERRORS, checked_url, is_loopback

LATE = "no answer in time"


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


class _Adapter(requests.adapters.HTTPAdapter):
    """Knows the connection that is in use, so that a bound over the whole answer can end it.

    A session's own timeout begins anew with every byte: a head that drips in would hold the reader for hours.
    """

    def __init__(self) -> None:
        self.latest: Any = None  # the connection opened last
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        self._watch(manager)
        return manager

    def _watch(self, manager: Any) -> None:
        adapter = self

        def watched(connection_class: Callable[..., Any]) -> Callable[..., Any]:
            def make(*args: Any, **kwargs: Any) -> Any:
                adapter.latest = connection_class(*args, **kwargs)
                return adapter.latest

            return make

        class Pool(urllib3.HTTPConnectionPool):
            ConnectionCls = staticmethod(watched(urllib3.HTTPConnectionPool.ConnectionCls))  # type: ignore[assignment]

        class TlsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = staticmethod(watched(urllib3.HTTPSConnectionPool.ConnectionCls))  # type: ignore[assignment]

        manager.pool_classes_by_scheme = {"http": Pool, "https": TlsPool}

    def hang_up(self) -> None:
        """Make a blocking read return; from any thread."""
        sock = getattr(self.latest, "sock", None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class ReadSession:
    """Owned by one thread; one connection, kept alive. Nothing is repeated here, no redirect is followed."""

    def __init__(self, base_url: str, *, connect_s: float = 3.0) -> None:
        """Raises ValueError for an address that may not be used."""
        url = checked_url(base_url)
        self._base_url, self._connect_s = base_url.rstrip("/"), connect_s
        self._session = requests.Session()
        self._session.headers.update({"Content-Type": "application/json", "Accept": "application/json"})
        self._session.trust_env = not is_loopback(url.hostname or "")  # a proxy cannot reach this machine
        self._adapter = _Adapter()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

    def close(self) -> None:
        self._session.close()

    def post(self, what: str, path: str, body: bytes, timeout_s: float, token: str | None = None) -> ReadAnswer:
        """Raises VenueUnavailable, which names `what`, when no whole answer came in time."""
        deadline = time.monotonic() + self._connect_s + timeout_s
        try:
            with (
                self._bounded(deadline),
                self._session.post(
                    self._base_url + path,
                    data=body,
                    auth=_Bearer(token) if token else _no_auth,
                    timeout=(self._connect_s, timeout_s),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                content = _content(response, min(deadline, time.monotonic() + timeout_s))
                return ReadAnswer(response.status_code, content, retry_after_s(response.headers.get("Retry-After")))
        except (requests.RequestException, urllib3.exceptions.HTTPError, *NETWORK_ERRORS) as e:
            late = time.monotonic() >= deadline
            raise VenueUnavailable(
                f"{what}: {LATE if late else _kind(e)}"
            ) from None  # its text would quote the address

    @contextlib.contextmanager
    def _bounded(self, deadline: float) -> Iterator[None]:
        overdue = threading.Timer(deadline - time.monotonic(), self._adapter.hang_up)
        overdue.daemon = True
        overdue.start()
        try:
            yield
        finally:
            overdue.cancel()
        if time.monotonic() >= deadline:  # a head that was cut short reads like a whole one
            raise requests.Timeout(LATE)


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
        return LATE
    return f"connection failed ({type(e).__name__})"
