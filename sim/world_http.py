"""HTTP between the bot and the venue: late, lost, refused, answered by somebody else, or as it should be.

`WorldWarm` and `WorldReads` stand in for `runtime.warm_http.WarmConnection` and `runtime.read_http.ReadSession`.
"""

from typing import Any

from runtime.read_http import LATE, ReadAnswer, retry_after_s
from runtime.venue import VenueUnavailable
from runtime.warm_http import IDLE_MS_MAX, Answer, NotSent
from sim.world_fibres import Fibre
from sim.world_kernel import TIMEOUT, World
from sim.world_types import Adapter, Exchange

CONNECT_S = 3.0
HTML = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
UNHEARD = {  # what stands in the way and answers instead of the venue: the request never gets there
    "429": Answer(429, b"null", retry_after="1"),
    "500": Answer(500, b"null"),
    "502": Answer(502, HTML),
    "503": Answer(503, b""),
    "html": Answer(200, HTML),
    "empty": Answer(200, b""),
}


class Call:
    """One request under way."""

    def __init__(self, record: Exchange) -> None:
        self.record = record
        self.answer: Answer | None = None
        self.error: str | None = None
        self.waiting: tuple[Fibre, int] | None = None

    @property
    def is_over(self) -> bool:
        return self.answer is not None or self.error is not None


class Network:
    """Carries the requests of one process."""

    def __init__(self, world: World, process: Any, adapter: Adapter) -> None:
        self.world, self.process, self._adapter = world, process, adapter

    def handshake(self) -> None:
        """In a fibre. Raises NotSent."""
        world = self.world
        world.wait(self._latency_us() * 2)
        fault = world.strikes("no_connection")
        if fault is not None and fault.args.get("how") == "silent":
            world.wait(int(CONNECT_S * 1e6))
        if fault is not None or not world.venue_up:
            raise NotSent("no connection (ConnectionRefusedError)")

    def send(self, path: str, body: bytes, headers: bytes) -> Call:
        """From anywhere: the request is on its way."""
        world, process = self.world, self.process
        number = len(world.tape.requests) + 1
        record = Exchange(number, process.run, path, body, world.now_ms, process.journal.total)
        world.tape.requests.append(record)
        world.counts["requests"] += 1
        call = Call(record)
        delay_us = self._latency_us()
        if slow := world.strikes("slow_requests", 0.5):
            delay_us += world.dice(slow).randrange(200_000, int(slow.args.get("ms", 4_000)) * 1_000)
        if lost := world.strikes("lost_requests", 0.5):
            self._lose(call, delay_us, "lost", loud=world.dice(lost).random() < 0.5)
        elif error := world.strikes("http_error", 0.7):
            self._heard(call, UNHEARD[error.args["how"]], delay_us * 2, "http_error")
        else:
            world.after(delay_us, lambda: self._arrive(call, path, body, headers))
        return call

    def wait(self, call: Call, timeout_s: float) -> Answer:
        """In a fibre: the answer. Raises OSError, the outcome open."""
        if not call.is_over:
            fibre = self.world.crew.current
            assert fibre is not None, "only a fibre may wait"
            call.waiting = fibre, fibre.ticket
            if self.world.wait(int(timeout_s * 1e6)) is TIMEOUT:
                call.waiting = None
                call.record.fate = call.record.fate or "timeout"
                raise TimeoutError("no answer in time")
        if call.answer is None:
            raise ConnectionResetError(call.error)
        return call.answer

    def _latency_us(self) -> int:
        return self.world.net.randrange(300, 9_000)

    def _arrive(self, call: Call, path: str, body: bytes, headers: bytes) -> None:
        world = self.world
        if not world.venue_up:
            self._lose(call, self._latency_us(), "refused", loud=True)
            return
        call.record.arrived_ms = world.now_ms
        answer = call.record.answer = self._adapter.answer(path, body, headers)
        delay_us = self._latency_us()
        if slow := world.strikes("slow_answers", 0.5):
            delay_us += world.dice(slow).randrange(200_000, int(slow.args.get("ms", 4_000)) * 1_000)
        if lost := world.strikes("lost_answers", 0.5):
            self._lose(call, delay_us, "answer_lost", loud=world.dice(lost).random() < 0.5)
        elif cut := world.strikes("cut_answers", 0.5):
            size = world.dice(cut).randrange(len(answer.body) + 1)
            self._heard(call, Answer(answer.status, answer.body[:size]), delay_us, "http_error")
        else:
            self._heard(call, answer, delay_us, "answered")

    def _heard(self, call: Call, answer: Answer, delay_us: int, fate: str) -> None:
        def hear() -> None:
            call.answer = answer
            call.record.heard_ms = self.world.now_ms
            call.record.fate = fate
            self._over(call)

        self.process.later(delay_us, hear, otherwise=lambda: self._unheard(call))

    def _lose(self, call: Call, delay_us: int, fate: str, loud: bool) -> None:
        """`loud`: the connection breaks, else nothing ever comes."""
        call.record.fate = fate
        if not loud:
            return

        def reset() -> None:
            call.error = "Connection reset by peer"
            self._over(call)

        self.process.later(delay_us, reset)

    def _unheard(self, call: Call) -> None:
        call.record.fate = call.record.fate or "cut"

    def _over(self, call: Call) -> None:
        if call.waiting is not None:
            fibre, ticket = call.waiting
            call.waiting = None
            self.world.resume(fibre, ticket)


class WorldWarm:
    """One warm connection: what is begun on it is finished or lost."""

    def __init__(self, network: Network) -> None:
        self._network, self._world = network, network.world
        self._is_open = False
        self._epoch = 0
        self._used_us = 0
        self._begun: Call | None = None
        self.connects = 0

    def connect(self) -> None:
        if self._alive():
            return
        self._network.handshake()
        self._is_open, self._epoch, self._used_us = True, self._world.http_epoch, self._world.now_us()
        self.connects += 1

    def _alive(self) -> bool:
        idle_us = self._world.now_us() - self._used_us
        self._is_open = self._is_open and self._epoch == self._world.http_epoch and idle_us < IDLE_MS_MAX * 1_000
        return self._is_open

    def post(self, path: str, body: bytes, timeout_s: float, headers: bytes = b"") -> Answer:
        self.connect()
        return self._finish(self._network.send(path, body, headers), timeout_s)

    def get(self, path: str, timeout_s: float) -> Answer:
        return self.post(path, b"", timeout_s)

    def begin(self, path: str, body: bytes, headers: bytes = b"") -> bool:
        if not self._alive():
            return False
        self._begun = self._network.send(path, body, headers)
        return True

    def finish(self, timeout_s: float) -> Answer:
        call, self._begun = self._begun, None
        assert call is not None, "begin() said True"
        return self._finish(call, timeout_s)

    def _finish(self, call: Call, timeout_s: float) -> Answer:
        try:
            answer = self._network.wait(call, timeout_s)
        except OSError:
            self.close()
            raise
        self._used_us = self._world.now_us()
        return answer

    def rehearse(self) -> bool:
        return self._alive()

    def close(self) -> None:
        self._is_open = False


class WorldReads:
    """A session for reads."""

    def __init__(self, network: Network) -> None:
        self._warm = WorldWarm(network)

    def post(self, what: str, path: str, body: bytes, timeout_s: float, token: str | None = None) -> ReadAnswer:
        headers = b"" if token is None else b"Authorization: Bearer " + token.encode() + b"\r\n"
        try:
            answer = self._warm.post(path, body, timeout_s, headers)
        except TimeoutError:
            raise VenueUnavailable(f"{what}: {LATE}") from None
        except OSError as e:
            raise VenueUnavailable(f"{what}: connection failed ({type(e).__name__})") from None
        return ReadAnswer(answer.status, answer.body, retry_after_s(answer.retry_after))

    def close(self) -> None:
        self._warm.close()
