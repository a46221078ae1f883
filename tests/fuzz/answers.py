"""Broken REST answers through the real clients, and what comes out of them through the brain.

A million answers take no socket: the two connections of a client are replaced by ones that answer from memory.
"""

import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from core import messages as m
from core.model import Instrument, Order, OrderType, Side, TimeInForce
from hyperliquid_client import HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import ManualClock
from runtime.read_http import ReadAnswer
from runtime.venue import CredentialsRefused, VenueUnavailable
from runtime.warm_http import Answer, NotSent
from tests import hyperliquid_frames, topstep_answers
from tests.fuzz import seeds
from tests.fuzz.absurd import absurd
from tests.fuzz.brain import Brain, Nonsense
from tests.fuzz.mutate import mutated
from topstep_client import TopstepClient
from venues.hyperliquid.signing import Signer

ANSWERS_A_RUN = 400
PLENTY = 10**9  # requests: else most reads would end at our own budget
KEY = "0x" + "11" * 32
ADDRESS = "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"  # of KEY
TAG = "0x" + "1" * 32
BODIES = (b"", b"<html><body>502 Bad Gateway</body></html>", b"null", b"upstream error", b"\xff\xfe", b"[]", b"{}")
STATUSES = (*(400, 401, 403, 404, 405, 415, 422, 429, 500, 502, 503, 504), 200, 204, 302, 418)
DATES = (
    "Wed, 25 Nov 2026 12:00:00 GMT",
    "",
    "yesterday",
    "Wed, 25 Nov 9999 12:00:00 -2400",
    "1",
    "0001-01-01T00:00:00Z",
)
D = Decimal


class Memory:
    """Answers by what is asked: sound, broken, another status, or a torn connection. Stands for both connections."""

    connects = 0

    def __init__(self, rng: random.Random, answers: dict[str, Any], what_of: Callable[[str, Any], str]) -> None:
        self.rng, self.what_of, self.counts = rng, what_of, Counter[str]()
        self.sound = {what: msgspec.json.encode(answer) for what, answer in answers.items()}
        self.begun: tuple[str, bytes] | None = None
        self.last = b""

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Raises OSError at times: the connection is torn."""
        rng, what = self.rng, self.what_of(path, msgspec.json.decode(body) if body else {})
        self.counts["answers"] += 1
        self.counts[f"asked {what}"] += 1
        luck = rng.random()
        if luck < 0.02:
            self.counts["torn"] += 1
            raise NotSent("no connection") if luck < 0.01 else ConnectionResetError("torn")
        sound = self.sound.get(what, b"null")
        if luck < 0.06:
            self.counts["other status"] += 1
            self.last = rng.choice((*BODIES, sound))
            return rng.choice(STATUSES), self.last
        if luck < 0.6:
            self.last = sound
            return 200, sound
        self.last, kinds = mutated(rng, sound)
        for kind in kinds:
            self.counts[f"mutation {kind}"] += 1
        return 200, self.last

    # --- as a reading session ---

    def post(self, *args: Any) -> Any:
        if isinstance(args[1], str):  # what, path, body, timeout, token
            try:
                status, body = self.answer(args[1], args[2])
            except OSError as e:
                raise VenueUnavailable(f"{args[0]}: connection failed ({type(e).__name__})") from None
            return ReadAnswer(status, body, self.rng.choice((None, 1.0, 100.0)))
        return self._whole(*self.answer(args[0], args[1]))  # path, body, timeout, headers

    # --- as a warm connection ---

    def get(self, path: str, timeout_s: float) -> Answer:
        return self._whole(*self.answer(path, b""))

    def _whole(self, status: int, body: bytes) -> Answer:
        return Answer(status, body, self.rng.choice(DATES), self.rng.choice(("", "3", "never", "٣")))

    def connect(self) -> None:
        pass

    def rehearse(self) -> bool:
        return True

    def begin(self, path: str, body: bytes, headers: bytes = b"") -> bool:
        self.begun = path, body
        return True

    def finish(self, timeout_s: float) -> Answer:
        assert self.begun is not None
        return self._whole(*self.answer(*self.begun))

    def close(self) -> None:
        pass


def order(symbol: str, whole: bool = False, **changes: Any) -> Order:
    base = Order(
        client_id=TAG, symbol=symbol, side=Side.BUY, size=D("0.01") if symbol == "BTC" else D(1), type=OrderType.MARKET,
        price=D(50_000), time_in_force=TimeInForce.IOC, nonce=hyperliquid_frames.NOW,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


Call = Callable[[], Any]


class Asker:
    """A client, everything it can be asked, and what each of these may raise."""

    now_ms: int
    memory: Memory
    symbol: str

    def calls(self) -> dict[str, tuple[Call, tuple[type[Exception], ...]]]:
        raise NotImplementedError


class HyperliquidAsker(Asker):
    now_ms, symbol = hyperliquid_frames.NOW, "BTC"

    def __init__(self, rng: random.Random) -> None:
        clock = ManualClock(self.now_ms)
        instruments = {"BTC": Instrument("BTC", 0, D("0.00001"), price_decimals=1, min_notional=D(10))}
        self.client = HyperliquidClient(
            "http://127.0.0.1:9", Signer(KEY, mainnet=True), ADDRESS, clock=clock,
            budget=WeightBudget(clock, capacity=PLENTY), instruments=instruments,
        )  # fmt: skip
        self.clock = clock
        self.memory = Memory(rng, seeds.retimed(seeds.hyperliquid_answers(), self.now_ms), _info_kind)
        self.client._rest.warm = self.client._rest._reads = self.memory  # type: ignore[assignment]

    def calls(self) -> dict[str, tuple[Call, tuple[type[Exception], ...]]]:
        c, down, said_no = self.client, (VenueUnavailable,), (VenueUnavailable, CredentialsRefused)
        stop = order("BTC", type=OrderType.STOP, trigger_price=D(49_000), reduce_only=True, whole_position=True)
        return {
            "account": (c.account, down),
            "working_orders": (c.working_orders, down),
            "fills_since": (lambda: c.fills_since(self.now_ms - 1_000), down),
            "bars": (lambda: c.bars("BTC", 60_000, 3), down),
            "polled_prices": (lambda: c.polled_prices(["BTC"]), down),
            "polled mids": (lambda: c.polled_prices(["BTC", "ETH", "A", "B", "C", "D"]), down),
            "request_budget": (c.request_budget, down),
            "measure_clock": (c.measure_clock, down),
            "check_credentials": (c.check_credentials, said_no),
            "instruments": (self._instruments, down),
            "set_leverage": (lambda: c.set_leverage("BTC", 3, self.now_ms), (*down, ValueError)),
            "submit": (lambda: c.submit(order("BTC")), ()),
            "submit stop": (lambda: c.submit(stop), ()),
            "cancel": (lambda: c.cancel("BTC", 5, self.now_ms), ()),
            "settle": (lambda: c.settle(order("BTC"), 0), ()),
            "settle stop": (lambda: c.settle(stop, 1), ()),
        }

    def _instruments(self) -> list[Instrument]:
        kept = self.client._instruments
        try:
            return list(self.client.instruments().values())
        finally:
            self.client._instruments = kept


def _info_kind(path: str, body: Any) -> str:
    if path == "/exchange":
        return str(body["action"]["type"])
    return str(body["type"])


class TopstepAsker(Asker):
    now_ms, symbol = topstep_answers.NOW_MS, "MGC"

    def __init__(self, rng: random.Random) -> None:
        self.clock = ManualClock(self.now_ms)
        self.memory = Memory(rng, seeds.topstepx_answers(), lambda path, body: path.removeprefix("/api/"))
        self.client = self._client()

    def _client(self) -> TopstepClient:
        client = TopstepClient(
            "http://127.0.0.1:9", topstep_answers.USER, topstep_answers.KEY, topstep_answers.ACCOUNT, clock=self.clock,
            symbols=["MGC", "MNQ"],
        )  # fmt: skip
        client._limits.rest = client._limits.bars = WeightBudget(self.clock, capacity=PLENTY)
        client._rest.warm = client._rest._session = self.memory  # type: ignore[assignment]
        for row in topstep_answers.CONTRACTS[:3]:
            client._book.learn([msgspec.convert(row, _contract(), strict=False)])
        client._book.use([_mgc(), _mnq()])
        client._chosen.append(topstep_answers.ACCOUNT_ID)
        return client

    def calls(self) -> dict[str, tuple[Call, tuple[type[Exception], ...]]]:
        c, said_no = self.client, (VenueUnavailable, CredentialsRefused)
        entry, stop = order("MGC"), order("MGC", type=OrderType.STOP, trigger_price=D("4090.0"))
        stop = msgspec.structs.replace(stop, time_in_force=TimeInForce.GTC)
        close = m.CloseContract("MES", "CON.F.US.MES.Z26", "test")
        return {
            "account": (c.account, said_no),
            "working_orders": (c.working_orders, said_no),
            "fills_since": (lambda: c.fills_since(self.now_ms - 1_000), said_no),
            "bars": (lambda: c.bars("MGC", 60_000, 3), said_no),
            "polled_prices": (lambda: c.polled_prices(["MGC", "MNQ"]), said_no),
            "measure_clock": (c.measure_clock, said_no),
            "check_credentials": (self._log_in, said_no),
            "instruments": (self._instruments, said_no),
            "rolled": (lambda: c.rolled(["MGC"]), said_no),
            "search": (lambda: [row.id for row in c.search_contracts("MGC")], said_no),
            "submit": (lambda: c.submit(entry), ()),
            "submit stop": (lambda: c.submit(stop), ()),
            "cancel": (lambda: c.cancel("MGC", 5, 1), ()),
            "modify": (lambda: c.modify(m.Modify("MGC", 5, D(1), D("4091.0"), None, "trail")), ()),
            "close": (lambda: c.close_outside(close), ()),
            "settle": (lambda: c.settle(entry, 0), ()),
        }

    def _instruments(self) -> list[Instrument]:
        """Read, and forgotten: what a broken catalogue says must not colour what comes after it."""
        client = self._client()
        return list(client.instruments().values())

    def _log_in(self) -> int:
        """With a new client each time: a refused key is not tried again for a while."""
        return self._client().check_credentials().id


def _contract() -> Any:
    from venues.topstepx.shapes import Contract

    return Contract


def _mgc() -> Instrument:
    return Instrument("MGC", 0, D(1), tick_size=D("0.1"), multiplier=D(10), contract_id="CON.F.US.MGC.Z26")


def _mnq() -> Instrument:
    return Instrument("MNQ", 0, D(1), tick_size=D("0.25"), multiplier=D(2), contract_id="CON.F.US.MNQ.Z26")


ASKERS = {"hyperliquid": HyperliquidAsker, "topstepx": TopstepAsker}


def play(venue: str, rng: random.Random, answers: int) -> Counter[str]:
    """Until so many answers were given. Raises Nonsense, with the last answer in its text."""
    counts = Counter[str]()
    while counts["answers"] < answers:
        asker = ASKERS[venue](rng)
        brain = Brain(venue, rng, oddity=0.0, now_ms=asker.now_ms)
        part = min(ANSWERS_A_RUN, answers - counts["answers"])
        calls = asker.calls()
        while asker.memory.counts["answers"] < part:
            name = rng.choice(list(calls))
            try:
                _ask(asker, name, *calls[name], brain, counts)
            except Exception as e:
                raise Nonsense(f"{type(e).__name__}: {e}\n  on {name}: {asker.memory.last[:1_500]!r}") from e
        counts += asker.memory.counts + brain.counts
    return counts


def _ask(
    asker: Asker, name: str, call: Call, may_raise: tuple[type[Exception], ...], brain: Brain, counts: Counter[str]
) -> None:
    try:
        said = call()
    except may_raise as e:
        counts[f"{name}: {type(e).__name__}"] += 1
        assert len(str(e)) < 2_000 and str(e).isprintable(), "not fit for a log"
        return
    counts[f"{name}: answered"] += 1
    for event in said if isinstance(said, list | tuple) else [said]:
        now_ms = asker.clock.now_ms()  # type: ignore[attr-defined]
        why = absurd(event, now_ms)
        assert why is None, f"an absurd answer: {why}"
        if isinstance(event, msgspec.Struct) and hasattr(event, "received_ms"):
            brain.maker.now_ms = max(brain.maker.now_ms, now_ms)
            brain.feed(event)
    if brain.rng.random() < 0.15:  # time goes on, the venue answers: what was opened is protected and left
        brain.step()
