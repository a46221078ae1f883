"""The read-only window into the bot: `/` for people, `/health` and `/metrics` for programs, logs/status.json for both.

Two threads, neither of which the bot waits for: `health` answers HTTP, `status` writes the file. They read the
published snapshot and nothing else.
"""

import ipaddress
import logging
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.clock import Clock
from runtime.logs import NAME, line
from runtime.snapshot import HealthSnapshot, Published, encode, grown_older, write_status

if TYPE_CHECKING:
    from flask import Flask, Response

log = logging.getLogger(NAME)

WRITE_EVERY_S = 1.0
HTTP_THREADS = 2


class StatusWriter:
    """Writes logs/status.json every second, so that `status` works without the port."""

    def __init__(self, published: Published, path: Path, clock: Clock) -> None:
        self._published, self._path, self._clock = published, path, clock
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write once more, so that the file tells how it ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._clock.wait(self._stop, WRITE_EVERY_S):
            self._write()
        self._write()

    def _write(self) -> None:
        snapshot = self._published.latest()
        if snapshot is None:
            return
        try:
            write_status(grown_older(snapshot, self._clock.now_ms()), self._path)
            self._failing = False
        except OSError as e:
            if not self._failing:
                log.warning(line("status_write_failed", {"error": e.strerror or e}))
            self._failing = True


class HealthServer:
    """HTTP on `host:port` in its own thread. A port that is taken costs the page, not the bot."""

    def __init__(self, published: Published, host: str, port: int, clock: Clock) -> None:
        self._published, self._host, self._port, self._clock = published, host, port, clock
        self._server: Any = None  # waitress has no types
        self._bound_port = port
        self._sockets: dict[int, Any] = {}  # what the server's loop looks at; it ends when there is nothing
        self._unwatched: dict[int, Any] = {}  # what it looked at before stop()
        self._woken = threading.Event()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def url(self, timeout_s: float = 5.0) -> str | None:
        """Where it answers, once it does; None when it could not start."""
        self._ready.wait(timeout_s)
        if self._server is None:
            return None
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._bound_port}"

    def stop(self, timeout_s: float = 2.0) -> None:
        self._stopping.set()
        if not self._thread.is_alive():
            return
        if self._ready.wait(timeout_s) and self._server is not None:
            self._server.trigger.pull_trigger(self._leave_loop)
            self._woken.set()
        self._thread.join(timeout_s)

    def _leave_loop(self) -> None:
        """On the server's own thread: its sockets stay open until nobody can be using them any more."""
        self._unwatched.update(self._sockets)
        self._sockets.clear()

    def _run(self) -> None:
        try:
            server = self._bind()
        except (OSError, ValueError) as e:
            fields = {"host": self._host, "port": self._port, "error": getattr(e, "strerror", None) or e}
            log.warning(line("health_unavailable", fields, "no status page; the bot goes on, see logs/status.json"))
            self._ready.set()
            return
        self._server = server
        self._ready.set()
        log.info(line("health_started", {"url": self.url()}))
        if not self._stopping.is_set():
            server.run()
        self._woken.wait()  # stop() and the workers write to the trigger, whose number may soon be another file's
        server.task_dispatcher.shutdown()
        server.asyncore.close_all(self._unwatched | self._sockets, ignore_all=True)

    def _bind(self) -> Any:
        import waitress  # here, not at the top: start-up does not wait for the web libraries

        family, _, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0]
        # ours, because waitress would share a port on Windows with the program that has it already
        listener = socket.create_server(address[:2], family=family)
        self._bound_port = listener.getsockname()[1]
        app = make_app(self._published, self._clock, only_loopback=is_local(self._host))
        return waitress.create_server(app, map=self._sockets, sockets=[listener], threads=HTTP_THREADS, ident="")


def make_app(published: Published, clock: Clock, *, only_loopback: bool = True) -> "Flask":
    """The three pages. With `only_loopback`, a foreign Host header is refused: a web page elsewhere can make a
    browser call 127.0.0.1 under its own name, and must not read positions that way."""
    from flask import Flask, Response, abort, request

    from runtime import metrics, status_page

    app = Flask("health", static_folder=None)

    @app.before_request
    def check_host() -> None:
        if only_loopback and not is_local(request.host):
            abort(403)

    @app.after_request
    def add_headers(response: "Response") -> "Response":
        response.headers.update(status_page.HEADERS)
        return response

    def now() -> HealthSnapshot | None:
        snapshot = published.latest()
        return None if snapshot is None else grown_older(snapshot, clock.now_ms())

    @app.get("/health")
    def health() -> Response:
        snapshot = now()
        body = b'{"status":"starting"}' if snapshot is None else encode(snapshot)
        code = 200 if snapshot is not None and snapshot.status == "ok" else 503
        return Response(body, code, content_type="application/json")

    @app.get("/metrics")
    def prometheus() -> Response:
        snapshot = now()
        text = b"" if snapshot is None else metrics.render(snapshot, clock.now_ms())
        return Response(text, content_type=metrics.CONTENT_TYPE)

    @app.get("/")
    def page() -> Response:
        return Response(status_page.render(now(), clock.now_ms()), content_type="text/html; charset=utf-8")

    return app


def is_local(host: str) -> bool:
    """Whether `name`, `name:port`, `[v6]:port` or a bare address can only mean this machine."""
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host if host.count(":") > 1 else host.partition(":")[0]
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
