"""One warm HTTP connection for requests that must reach the venue at most once.

Nothing here repeats a request. A connection that is known to be dead before the first byte is written is replaced;
whatever goes wrong afterwards is raised, and the caller must treat the request as possibly delivered.
Compared with a session's pool: one packet a request, no per-request objects, a deadline over the whole answer.
"""

import base64
import http.client
import io
import ipaddress
import os
import socket
import ssl
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import certifi

from runtime.clock import Clock

ANSWER_BYTES_MAX = 32 * 1024 * 1024
IDLE_MS_MAX = 55_000  # venues and routers close quiet connections after about a minute, some without a word
REHEARSED_MS_MAX = 50  # a connection seen alive so lately is not looked at again

NETWORK_ERRORS = (OSError, http.client.HTTPException)  # all that post() raises for what the network does


class NotSent(OSError):
    """No connection: not one byte of the request has left."""


class Answer(NamedTuple):
    status: int
    body: bytes
    date: str = ""  # the header, as sent
    retry_after: str = ""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_url(url: str) -> SplitResult:
    """Raises ValueError, without the address in its text, unless it is https, or http on this machine."""
    parts = urlsplit(url)
    try:
        parts.port  # noqa: B018 - raises for a number that is no port
    except ValueError:
        raise ValueError("the port of the address must be a number up to 65535") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address must start with https:// and name a host")
    if parts.username or parts.password:
        raise ValueError("the address must not contain a user name or password")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("plain http:// is for this machine only (127.0.0.1, ::1, localhost): use https://")
    return parts


def tls_context() -> ssl.SSLContext:
    """Verification on, with the same roots that requests uses."""
    roots = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    if Path(roots).is_dir():
        return ssl.create_default_context(capath=roots)
    return ssl.create_default_context(cafile=roots)


class WarmConnection:
    """Owned by one thread. `connects` counts handshakes."""

    def __init__(
        self, base_url: str, clock: Clock, *, connect_s: float = 3.0, context: ssl.SSLContext | None = None
    ) -> None:
        self._url = checked_url(base_url)
        self._clock = clock
        self._connect_s = connect_s
        self._context = context
        if self._url.scheme == "https" and context is None:
            self._context = tls_context()
        self._sock: socket.socket | None = None
        self._unwritten = b""  # of a request that was begun
        self._rehearsed_ms = 0  # our clock: the connection was seen alive then
        self._used_ms = 0  # our clock; wall time, for a sleeping laptop stops the monotonic one
        self._heads: dict[str, bytes] = {}  # by verb and path
        self.connects = 0

    def post(self, path: str, body: bytes, timeout_s: float, headers: bytes = b"") -> Answer:
        """Send once and read the whole answer within `timeout_s`. `headers` are whole lines, each with its CRLF.

        Raises NotSent when no byte was written, else one of NETWORK_ERRORS when the outcome is open.
        """
        sock = self.connect()
        return self._exchange(sock, self._request(path, body, headers), timeout_s)

    def get(self, path: str, timeout_s: float) -> Answer:
        """As post, without a body."""
        sock = self.connect()
        return self._exchange(sock, self._head("GET", path) + b"\r\n", timeout_s)

    def _exchange(self, sock: socket.socket, unwritten: bytes, timeout_s: float) -> Answer:
        deadline = time.monotonic() + timeout_s
        try:
            sock.settimeout(timeout_s)
            if unwritten:
                sock.sendall(unwritten)
            answer, reusable = _read_answer(sock, deadline)
        except BaseException:
            self.close()  # a late answer must never be taken for the next one's
            raise
        if not reusable:
            self.close()
        self._used_ms = self._clock.now_ms()
        return answer

    def connect(self) -> socket.socket:
        """The open connection, replaced if it is dead or too long idle. Raises NotSent."""
        sock = self._alive()
        if sock is not None:
            return sock
        try:
            self._sock = self._open()
        except NETWORK_ERRORS as e:
            raise NotSent(f"no connection ({type(e).__name__})") from None
        self._used_ms = self._clock.now_ms()
        self.connects += 1
        return self._sock

    def _alive(self) -> socket.socket | None:
        """The open connection, unless it is dead or too long idle: then it is closed. Never waits."""
        if self._sock is None:
            return None
        now_ms = self._clock.now_ms()
        if 0 <= now_ms - self._rehearsed_ms <= REHEARSED_MS_MAX:
            return self._sock
        if 0 <= now_ms - self._used_ms <= IDLE_MS_MAX and not _is_dead(self._sock):
            return self._sock
        self.close()
        return None

    def rehearse(self) -> bool:
        """Look at the connection now, so that what comes within REHEARSED_MS_MAX need not. False: there is none alive.

        Never waits.
        """
        self._rehearsed_ms = 0
        if self._alive() is None:
            return False
        self._rehearsed_ms = self._clock.now_ms()
        return True

    def begin(self, path: str, body: bytes, headers: bytes = b"") -> bool:
        """Write a request as far as the socket takes it without waiting; `finish` writes the rest and reads the answer.

        False: there is no live connection and nothing was written.
        """
        sock = self._alive()
        if sock is None:
            return False
        request = self._request(path, body, headers)
        try:
            sock.settimeout(0)
            written = sock.send(request)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            written = 0  # `finish` writes the same bytes again, as TLS wants it
        except OSError:  # the first byte was refused
            self.close()
            return False
        self._unwritten = request[written:]
        return True

    def finish(self, timeout_s: float) -> Answer:
        """The answer to what was begun. Raises one of NETWORK_ERRORS: the outcome is open."""
        sock = self._sock
        assert sock is not None, "begin() said True"
        return self._exchange(sock, self._unwritten, timeout_s)

    def close(self) -> None:
        self._rehearsed_ms = 0
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _open(self) -> socket.socket:
        host, port = self._url.hostname, self._url.port
        assert host, "checked_url"
        proxy = _proxy_of(self._url)
        to_host, to_port = (proxy.hostname or "", proxy.port) if proxy else (host, port)
        opener: http.client.HTTPConnection
        if self._context is not None:
            opener = http.client.HTTPSConnection(to_host, to_port, timeout=self._connect_s, context=self._context)
        else:
            opener = http.client.HTTPConnection(to_host, to_port, timeout=self._connect_s)
        if proxy:
            opener.set_tunnel(host, port or 443, headers=_proxy_headers(proxy))
        opener.connect()  # sets TCP_NODELAY
        return opener.sock

    def _request(self, path: str, body: bytes, headers: bytes) -> bytes:
        return self._head("POST", path) + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def _head(self, verb: str, path: str) -> bytes:
        head = self._heads.get(verb + path)
        if head is None:
            content = "Content-Type: application/json\r\n" if verb == "POST" else ""
            head = self._heads[verb + path] = (
                f"{verb} {self._url.path.rstrip('/')}{path} HTTP/1.1\r\nHost: {self._url.netloc}\r\n"
                f"User-Agent: trading-bot\r\nAccept: */*\r\nAccept-Encoding: identity\r\n{content}"
            ).encode("ascii")
        return head


def _proxy_of(url: SplitResult) -> SplitResult | None:
    """The user's proxy for https, as requests would take it from the environment or the system's settings."""
    assert url.hostname, "checked_url"
    if url.scheme != "https" or is_loopback(url.hostname) or urllib.request.proxy_bypass(url.hostname):
        return None
    address = urllib.request.getproxies().get("https")
    return urlsplit(address if "//" in address else f"//{address}") if address else None


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _is_dead(sock: socket.socket) -> bool:
    """True when the other end has closed, or sent bytes that nobody asked for."""
    try:
        sock.settimeout(0)
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):  # nothing to read, or a TLS ticket only
        return False
    except OSError:
        return True
    return True


class _Incoming(io.RawIOBase):
    """The socket's bytes, until the deadline or too many of them; `ended` stops reading ahead."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline
        self._left = ANSWER_BYTES_MAX
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.ended:
            return 0
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left_s)
        count = self._sock.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise OSError("the answer is too long")
        return count


class _Buffered(io.BufferedReader):
    def close(self) -> None:
        """HTTPResponse closes its file at the end of the body; what lies behind it must still be seen."""

    def makefile(self, mode: str) -> "_Buffered":
        """HTTPResponse asks its socket for this."""
        return self


def _read_answer(sock: socket.socket, deadline: float) -> tuple[Answer, bool]:
    """The answer, and whether the connection may be used again."""
    incoming = _Incoming(sock, deadline)
    reader = _Buffered(incoming)
    response = http.client.HTTPResponse(reader, method="POST")  # type: ignore[arg-type]
    response.begin()
    body = response.read()  # raises IncompleteRead for half a body
    incoming.ended = True
    answer = Answer(response.status, body, response.getheader("Date") or "", response.getheader("Retry-After") or "")
    return answer, not response.will_close and not reader.peek(1)
