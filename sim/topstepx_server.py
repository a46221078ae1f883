"""The simulated TopstepX on one port: `POST /api/…`, both `/hubs/…`, and `/sim/*` for tests.

Protocol page 1 (transport, tokens, limits, status codes) and 8.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import web

from sim.faults import TimedFault
from sim.topstepx_auth import Budgets, Tokens
from sim.topstepx_bodies import BadBody, Body, read_body
from sim.topstepx_control import ControlError, control
from sim.topstepx_events import bent, salted
from sim.topstepx_hub import CLOSED, Hubs
from sim.topstepx_rest import ROUTES, no, ok
from sim.topstepx_venue import TopstepxConfig, TopstepxVenue
from sim.topstepx_wire import JSON, encode

HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
REQUESTS_KEPT = 5_000
OWN_ROUTES = ("Auth/loginKey", "Auth/validate", "Auth/logout")
SPELLINGS = {name.lower(): name for name in (*ROUTES, *OWN_ROUTES)}  # ASP.NET ignores letter case


class LoginBody(Body):
    user_name: str
    api_key: str


class Received(msgspec.Struct, frozen=True):
    """One REST request or hub call as it came in."""

    received_ns: int  # time.perf_counter_ns(), when the whole body was here
    time_ms: int  # venue clock
    kind: str  # "Order/place"; of a hub call its method
    body: Any  # decoded; of a hub call its arguments


class TopstepxServer:
    """Owns the venue and its sockets, on one loop. `changed` is called after everything that a test may wait for."""

    def __init__(self, config: TopstepxConfig, changed: Callable[[], None] = lambda: None) -> None:
        self.config = config
        self.venue = TopstepxVenue(config)
        self.changed = changed
        self.tokens = Tokens(secrets.token_bytes(32), config.token_s)
        self.hubs = Hubs(self.venue, self._has_token, changed, self._note)
        self.requests: dict[str, int] = {}
        self.received: list[Received] = []  # the newest
        self.http_connections = 0  # ever opened, as far as they carried a request
        self._budgets = Budgets(config.limits)
        self._connections: set[tuple[int, Any]] = set()
        self._tasks: set[asyncio.Task] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._runner: web.AppRunner | None = None
        self.venue.on_due = self._arm

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Listen; return the port. Raises OSError when it is in use."""
        app = web.Application(client_max_size=1 << 20, middlewares=[self._dress])
        app.router.add_post("/hubs/{hub:market|user}/negotiate", self.hubs.negotiate)
        app.router.add_get("/hubs/{hub:market|user}", self.hubs.serve)
        app.router.add_post("/sim/control", self._control)
        app.router.add_post("/sim/faults", self._faults)
        app.router.add_route("*", "/api/{name:.*}", self._api)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=self.config.idle_close_s, shutdown_timeout=0.2
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.hubs.start()
        self.spawn(self._run_blocks())
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        await self.hubs.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_blocks(self) -> None:
        """A block of the market every block_ms, on a steady beat; while paused only the clock is looked after."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self.config.block_ms / 1000, loop.time() - 1)
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self.venue.paused:
                self.venue.tend()
            else:
                self.venue.step()

    def _arm(self) -> None:
        """Wake up when the book wants to act: fills and cancels happen to the millisecond, not to the block."""
        due_us = self.venue.book.next_due_us()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_us is not None:
            wait_s = max(0, due_us - self.venue.now_us()) / 1e6
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.venue.tend)

    async def play(self, script: list[TimedFault]) -> None:
        """Strike with each fault at its time."""
        start = asyncio.get_running_loop().time()
        for line in script:
            await asyncio.sleep(max(0.0, start + line.at_s - asyncio.get_running_loop().time()))
            self.fault(line.fault, line.args | ({} if line.for_s is None else {"for_s": line.for_s}))

    def run_script(self, script: list[TimedFault]) -> None:
        self.spawn(self.play(script))

    def fault(self, name: str, args: dict[str, Any]) -> None:
        """Start a fault of `sim.faults.FAULTS`, or strike once for those that last no time."""
        if name in _INSTANT:
            self.venue.faults.count(name)
            _INSTANT[name](self, args)
        else:
            self.venue.faults.set(name, args)
        self.venue.apply_switches()

    def clear_fault(self, name: str | None) -> None:
        self.venue.faults.clear(name)
        self.venue.apply_switches()

    # --- every answer -----------------------------------------------------------------------------------------------

    @web.middleware
    async def _dress(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """The venue's clock in `Date`; no texts of aiohttp's own on 404 and 405."""
        try:
            response = await handler(request)
        except web.HTTPException as e:
            response = web.Response(status=e.status)
        if not response.prepared:
            response.headers["Date"] = formatdate(self.venue.now_us() / 1e6, usegmt=True)
        return response

    def _token(self, request: web.Request) -> str | None:
        header = request.headers.get("Authorization", "")
        return header[7:] if header.lower().startswith("bearer ") else None

    def _has_token(self, request: web.Request) -> bool:
        """In the query (hubs) or the header."""
        now = self.venue.now_us()
        query = request.query.get("access_token") if request.path.startswith("/hubs/") else None
        return self.tokens.is_good(query, now) or self.tokens.is_good(self._token(request), now)

    def _note(self, hub: str, kind: str, body: Any) -> None:
        self.requests[kind] = self.requests.get(kind, 0) + 1
        now_ms = self.venue.now_us() // 1_000
        self.received.append(Received(time.perf_counter_ns(), now_ms, kind, body))
        del self.received[:-REQUESTS_KEPT]
        self.changed()

    # --- REST -------------------------------------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name.lower() == "status/ping":
            return web.Response(text="pong") if request.method == "GET" else web.Response(status=405)
        action = SPELLINGS.get(name.lower())
        self._count_connection(request)
        raw = await request.read()
        fault = await self._http_fault(request, action or name)
        if fault is not None:
            return fault
        if action is None:
            return web.Response(status=404)
        if request.method != "POST":
            return web.Response(status=405)
        if action != "Auth/loginKey" and not self._has_token(request):
            return web.Response(status=401)
        if not self._budgets.spend(action == "History/retrieveBars", time.time_ns() // 1_000_000):
            return web.Response(status=429)
        return await self._answer(request, action, raw)

    def _count_connection(self, request: web.Request) -> None:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        connection = (id(request.protocol), peer)
        if connection not in self._connections:
            self._connections.add(connection)
            self.http_connections += 1

    async def _http_fault(self, request: web.Request, action: str) -> web.StreamResponse | None:
        faults, facts = self.venue.faults, {"path": request.path, "action": action}
        if slow := faults.take("http_slow", **facts):
            await asyncio.sleep(float(slow.get("ms", 1000)) / 1000)
        if faults.take("http_drop", **facts):
            return self._reset(request)
        if limited := faults.take("http_429", **facts):
            after = limited.get("retry_after")
            return web.Response(status=429, headers={} if after is None else {"Retry-After": str(after)})
        if error := faults.take("http_error", **facts):
            status = int(error.get("status", 502))
            return web.Response(status=status, text=HTML.format(f"{status} Bad Gateway"), content_type="text/html")
        if faults.take("html_200", **facts):
            return web.Response(text=HTML.format("Just a moment..."), content_type="text/html")
        if faults.take("empty_body", **facts):
            return _json(b"")
        return None

    @staticmethod
    def _reset(request: web.Request) -> web.StreamResponse:
        """Cut the connection; the response is never seen."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _answer(self, request: web.Request, action: str, raw: bytes) -> web.StreamResponse:
        """Execute a request that has got past the door, and whatever goes wrong on its way back."""
        faults = self.venue.faults
        try:
            self._note("", action, msgspec.json.decode(raw) if raw else None)
        except msgspec.DecodeError:
            self._note("", action, raw.decode("utf-8", "replace"))
        if self.config.latency_ms:
            await asyncio.sleep(self.config.latency_ms / 1000)
        if faults.take("lost_request", action=action):
            return self._reset(request)
        if late := faults.take("late_order", action=action):
            delay_s = float(late.get("ms", 500)) / 1000
            asyncio.get_running_loop().call_later(delay_s, self._perform, request, action, raw)
            return self._reset(request)
        try:
            answer = self._refusal(action, raw) or self._perform(request, action, raw)
        except BadBody as e:
            body = encode(e.problem)
            return web.Response(status=400, body=body, content_type="application/problem+json")
        self.changed()
        slow = faults.take("slow_answer", action=action) or faults.take("fill_before_ack", action=action)
        if slow is not None:
            await asyncio.sleep(float(slow.get("ms", 500)) / 1000)
        if faults.take("drop_answer", action=action):
            return self._reset(request)
        if error := faults.take("error_answer", action=action):
            return web.Response(status=int(error.get("status", 500)))
        return self._finish(action, answer)

    def _finish(self, action: str, answer: JSON) -> web.StreamResponse:
        faults = self.venue.faults
        if waiting := faults.take("pending", action=action):
            answer = no(int(waiting.get("code", 6)))
        if odd := faults.take("unknown_enum", action=action, channel=None):
            answer = bent(answer, odd.get("field", "status"))
        if faults.on("extra_fields"):
            answer = salted(answer)
        if faults.take("null_payload", action=action, channel=None):
            answer = {k: v if k in ("success", "errorCode", "errorMessage") else None for k, v in answer.items()}
        body = encode(answer)
        return _json(body[: len(body) // 2] if faults.take("partial_json", action=action) else body)

    def _refusal(self, action: str, raw: bytes) -> JSON | None:
        """`success: false` without anything done (fault `refuse`)."""
        if self.venue.faults.seen("refuse", action=action) is None:
            return None
        body = msgspec.json.decode(raw) if raw else None
        fault = self.venue.faults.take(
            "refuse", action=action, type=body.get("type") if isinstance(body, dict) else None
        )
        return None if fault is None else no(int(fault.get("code", 1)), fault.get("message"))

    def _perform(self, request: web.Request, action: str, raw: bytes) -> JSON:
        """Raises BadBody."""
        if action == "Auth/loginKey":
            return self._login(read_body(raw, LoginBody))
        if action == "Auth/validate":
            return ok(newToken=self.tokens.issue(self.config.user, self.venue.now_us()))
        if action == "Auth/logout":
            self.tokens.revoke(self._token(request))
            return ok()
        kind, handler = ROUTES[action]
        body = read_body(raw, kind)
        try:
            return handler(self.venue, body)
        except ValueError as e:  # a time that is none
            raise BadBody({"$": [f"The JSON value could not be converted to System.DateTimeOffset: {e}"]}) from e

    def _login(self, body: LoginBody) -> JSON:
        is_known = body.user_name.lower() == self.config.user.lower() and body.api_key == self.config.api_key
        if not is_known:
            return no(3, token=None)
        return ok(token=self.tokens.issue(self.config.user, self.venue.now_us()))

    # --- for tests --------------------------------------------------------------------------------------------------

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """`{"do": name, …}`: a command of `sim.topstepx_control`."""
        try:
            return _json(encode(control(self, msgspec.json.decode(await request.read()))))
        except (ControlError, msgspec.DecodeError) as e:
            return _json(encode({"error": str(e)}), 400)

    async def _faults(self, request: web.Request) -> web.StreamResponse:
        """`{"fault": name, "args": {…}}` starts one, `{"clear": name or null}` ends one or all; a list is a script."""
        try:
            body = msgspec.json.decode(await request.read())
            if isinstance(body, list):
                self.run_script(sorted(msgspec.convert(body, list[TimedFault]), key=lambda line: line.at_s))
            elif "clear" in body:
                self.clear_fault(body["clear"])
            else:
                self.fault(body["fault"], body.get("args", {}))
        except (ValueError, KeyError, TypeError, msgspec.DecodeError) as e:
            return _json(encode({"error": str(e)}), 400)
        return _json(encode({"active": [f.args for f in self.venue.faults]}))


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


# --- faults that last no time -----------------------------------------------------------------------------------------

Args = dict[str, Any]


def _drop(server: TopstepxServer, args: Args) -> None:
    server.hubs.drop_all(args.get("hub"))


def _raw(server: TopstepxServer, args: Args) -> None:
    server.hubs.send_raw(str(args.get("text", "")), args.get("hub"))


def _hub_close(server: TopstepxServer, args: Args) -> None:
    server.hubs.close(args.get("error", CLOSED), args.get("allow_reconnect", True), args.get("hub"))


def _expire_tokens(server: TopstepxServer, args: Args) -> None:
    server.tokens.revoke()
    if args.get("close"):
        server.hubs.close(CLOSED, None)


def _roll(server: TopstepxServer, args: Args) -> None:
    server.venue.roll(str(args["symbol"]))


def _lock_out(server: TopstepxServer, args: Args) -> None:
    for account in list(server.venue.book.accounts.values()):
        if args.get("account") in (None, account.id):
            server.venue.lock(account)


def _venue_cancels(server: TopstepxServer, args: Args) -> None:
    venue = server.venue
    for account in venue.book.accounts.values():
        if args.get("account") in (None, account.id):
            for order in venue.book.live(account.id):
                venue.book.cancel_now(order, venue.now_us())
    venue.flush()


def _orphan_fills(server: TopstepxServer, args: Args) -> None:
    server.venue.fill_children(args.get("account"))


def _replace_account(server: TopstepxServer, args: Args) -> None:
    server.venue.replace_account(int(args["account"]))


_INSTANT: dict[str, Callable[[TopstepxServer, Args], None]] = {
    "drop_connections": _drop,
    "raw_frame": _raw,
    "hub_close": _hub_close,
    "expire_tokens": _expire_tokens,
    "roll": _roll,
    "lock_out": _lock_out,
    "venue_cancels": _venue_cancels,
    "orphan_fills": _orphan_fills,
    "replace_account": _replace_account,
}
