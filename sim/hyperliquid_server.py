"""The simulated Hyperliquid on one port: `POST /info`, `POST /exchange`, `GET /ws`, and `/sim/*` for tests."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from sim.control import ControlError, control
from sim.faults import INSTANT, TimedFault
from sim.hyperliquid_actions import batch_length, perform
from sim.hyperliquid_info import read
from sim.hyperliquid_outbox import Client
from sim.hyperliquid_socket import Hub
from sim.hyperliquid_types import BadShape, Envelope, read_envelope, read_json
from sim.hyperliquid_venue import HyperliquidVenue, SimConfig
from sim.hyperliquid_views import Unsupported
from sim.limits import WeightLimit, action_weight, info_weight, rows_weight

IP_WEIGHT = 1200
NO_JSON = "Expected request with `Content-Type: application/json`"
BAD_JSON = "Failed to parse the request body as JSON"
BAD_SHAPE = "Failed to deserialize the JSON body into the target type"
HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
REQUESTS_KEPT = 2_000
_encode = msgspec.json.encode


class Received(msgspec.Struct, frozen=True):
    """One action as it came in."""

    received_ns: int  # time.perf_counter_ns(), when the whole body was here
    time_ms: int  # venue clock
    kind: str  # action type
    action: Any
    nonce: Any


class Counters(msgspec.Struct):
    http_connections: int = 0  # ever opened, as far as they carried a request
    requests: dict[str, int] = {}  # info and action types
    received: list[Received] = []  # the newest actions


class HyperliquidServer:
    """Owns the venue and its sockets, on one loop. `changed` is called after everything that a test may wait for."""

    def __init__(self, config: SimConfig, changed: Callable[[], None] = lambda: None) -> None:
        self.config = config
        self.venue = HyperliquidVenue(config)
        self.counters = Counters()
        self.changed = changed
        self.hub = Hub(self.venue, self._post, changed)
        self._weights: dict[str, WeightLimit] = {}
        self._connections: set[tuple[int, Any]] = set()
        self._tasks: set[asyncio.Task] = set()
        self._runner: web.AppRunner | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Listen; return the port. Raises OSError when it is in use."""
        app = web.Application(client_max_size=4 << 20)
        app.router.add_post("/info", self._info)
        app.router.add_post("/exchange", self._exchange)
        app.router.add_get("/ws", self.hub.serve)
        app.router.add_post("/sim/control", self._control)
        app.router.add_post("/sim/faults", self._faults)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=self.config.idle_close_s, shutdown_timeout=0.2
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.hub.start()
        self._spawn(self._run_blocks())
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await self.hub.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    def _spawn(self, work: Any) -> None:
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

    async def play(self, script: list[TimedFault]) -> None:
        """Strike with each fault at its time."""
        start = asyncio.get_running_loop().time()
        for line in script:
            await asyncio.sleep(max(0.0, start + line.at_s - asyncio.get_running_loop().time()))
            self.fault(line.fault, line.args | ({} if line.for_s is None else {"for_s": line.for_s}))

    def run_script(self, script: list[TimedFault]) -> None:
        self._spawn(self.play(script))

    def fault(self, name: str, args: dict[str, Any]) -> None:
        """Start a fault of `sim.faults.FAULTS`, or strike once for those that last no time."""
        if name in INSTANT:
            self.venue.faults.count(name)
        if name == "drop_connections":
            self.hub.drop_all()
        elif name == "raw_frame":
            self.hub.send_raw(str(args.get("text", "")))
        elif name == "expire_agent":
            for key, agent in self.venue.agents.items():
                if args.get("address") in (None, key):
                    agent.valid_until_ms = 0
        else:
            self.venue.faults.set(name, args)
        self.venue.apply_switches()

    def clear_fault(self, name: str | None) -> None:
        self.venue.faults.clear(name)
        self.venue.apply_switches()

    # --- requests ---------------------------------------------------------------------------------------------------

    def _count(self, kind: str) -> None:
        self.counters.requests[kind] = self.counters.requests.get(kind, 0) + 1

    async def _open(self, request: web.Request) -> tuple[Any, web.StreamResponse | None]:
        """The JSON of a request, or the answer that it does not get past."""
        peer = request.transport.get_extra_info("peername") if request.transport else None
        connection = (id(request.protocol), peer)
        if connection not in self._connections:
            self._connections.add(connection)
            self.counters.http_connections += 1
        raw = await request.read()
        try:
            body = read_json(raw)
        except (ValueError, BadShape) as e:
            body = e
        fault = await self._http_fault(request, body)
        if fault is not None:
            return None, fault
        if not request.headers.get("Content-Type", "").lower().startswith("application/json"):
            return None, web.Response(status=415, text=NO_JSON)
        if isinstance(body, BadShape):
            return None, web.Response(status=422, text=BAD_SHAPE)
        if isinstance(body, ValueError):
            return None, web.Response(status=400, text=BAD_JSON)
        return body, None

    async def _http_fault(self, request: web.Request, body: Any) -> web.StreamResponse | None:
        faults = self.venue.faults
        facts = {"path": request.path, "type": body.get("type") if isinstance(body, dict) else None}
        if slow := faults.take("http_slow", **facts):
            await asyncio.sleep(float(slow.get("ms", 1000)) / 1000)
        if faults.take("http_drop", **facts):
            return self._reset(request)
        if faults.take("http_429", **facts):
            return _json(b"null", 429)
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

    def _spend(self, request: web.Request, weight: int) -> bool:
        caller = request.remote or ""
        limit = self._weights.setdefault(caller, WeightLimit(IP_WEIGHT if self.config.limits else None))
        return limit.spend(weight, self.venue.wall_ms())

    def _finish(self, request: web.Request, kind: Any, body: bytes) -> web.StreamResponse:
        if self.venue.faults.take("partial_json", path=request.path, type=kind):
            body = body[: len(body) // 2]
        return _json(body)

    async def _info(self, request: web.Request) -> web.StreamResponse:
        body, refused = await self._open(request)
        if refused is not None:
            return refused
        kind = body.get("type") if isinstance(body, dict) else None
        self._count(str(kind))
        if not self._spend(request, info_weight(str(kind))):
            return _json(b"null", 429)
        try:
            answer = read(self.venue, body)
        except BadShape:
            return web.Response(status=422, text=BAD_SHAPE)
        except Unsupported:
            return _json(b"null", 500)
        if isinstance(answer, list):
            self._spend(request, rows_weight(str(kind), len(answer)))
        self.changed()
        return self._finish(request, kind, _encode(answer))

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        received_ns = time.perf_counter_ns()
        body, refused = await self._open(request)
        if refused is not None:
            return refused
        try:
            envelope = read_envelope(body)
        except BadShape:
            return web.Response(status=422, text=BAD_SHAPE)
        if not self._spend(request, action_weight(batch_length(envelope.action))):
            return _json(b"null", 429)
        answer = await self._act(envelope, body, received_ns)
        if answer is None:
            return self._reset(request)
        return self._finish(request, body["action"]["type"], _encode(answer))

    async def _act(self, envelope: Envelope, body: Any, received_ns: int) -> Any:
        """Execute an action; None: the connection is to be cut."""
        faults, kind = self.venue.faults, body["action"]["type"]
        self._count(kind)
        received = Received(received_ns, self.venue.now_ms(), kind, body["action"], body["nonce"])
        self.counters.received.append(received)
        del self.counters.received[:-REQUESTS_KEPT]
        self.changed()
        if self.config.latency_ms:
            await asyncio.sleep(self.config.latency_ms / 1000)
        if faults.take("lost_request", action=kind):
            return None
        if late := faults.take("late_order", action=kind):
            delay_s = float(late.get("ms", 500)) / 1000
            asyncio.get_running_loop().call_later(delay_s, perform, self.venue, envelope)
            return None
        answer = perform(self.venue, envelope)
        slow = faults.take("slow_answer", action=kind) or faults.take("fill_before_ack", action=kind)
        if slow is not None:
            await asyncio.sleep(float(slow.get("ms", 500)) / 1000)
        return None if faults.take("drop_answer", action=kind) else answer

    async def _post(self, client: Client, request: Any) -> Any:
        """A `post` over the socket; None is returned after its connection was cut."""
        received_ns = time.perf_counter_ns()
        try:
            payload: Any = request["payload"]
            if request.get("type") == "info":
                self._count(str(payload.get("type")))
                return {"type": "info", "payload": {"type": payload["type"], "data": read(self.venue, payload)}}
            if request.get("type") != "action":
                raise BadShape("type")
            answer = await self._act(read_envelope(payload), payload, received_ns)
        except Unsupported:
            return {"type": "error", "payload": "500 Internal Server Error: null"}
        except (BadShape, AttributeError, KeyError, TypeError):
            return {"type": "error", "payload": f"422 Unprocessable Entity: {BAD_SHAPE}"}
        if answer is None:
            client.transport.abort()
        return {"type": "action", "payload": answer}

    # --- for tests --------------------------------------------------------------------------------------------------

    async def _control(self, request: web.Request) -> web.StreamResponse:
        """`{"do": name, …}`: a command of `sim.control`."""
        try:
            args = msgspec.json.decode(await request.read())
            return _json(_encode(control(self, args)))
        except (ControlError, msgspec.DecodeError) as e:
            return _json(_encode({"error": str(e)}), 400)

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
            return _json(_encode({"error": str(e)}), 400)
        return _json(_encode({"active": [f.args for f in self.venue.faults]}))


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
