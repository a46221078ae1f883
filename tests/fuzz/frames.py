"""Broken frames and hub records through the real dialects, and what comes out of them through the brain."""

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec

from core.messages import AnyEvent, Frame
from runtime.clock import ManualClock
from runtime.dialect import BadFrame, Closed, Dialect, Mute
from runtime.journal import decode_line, frame_line
from tests import hyperliquid_frames, topstep_hub
from tests.fuzz import seeds
from tests.fuzz.absurd import absurd
from tests.fuzz.brain import Brain, Nonsense, hushed
from tests.fuzz.mutate import mutated
from venues.hyperliquid.dialect import HyperliquidDialect
from venues.hyperliquid.dialect import Timing as HyperliquidTiming
from venues.hyperliquid.frames import decode
from venues.topstepx.dialect import MarketDialect, UserDialect
from venues.topstepx.frames import TopstepFrameReader
from venues.topstepx.hub import Timing as TopstepTiming

encode = msgspec.json.encode
FRAMES_A_RUN = 400  # after so many frames brain and connection begin anew
CONTRACTS = {topstep_hub.MGC: "MGC", topstep_hub.MNQ: "MNQ"}
MULTIPLIERS = {topstep_hub.MGC: Decimal(10), topstep_hub.MNQ: Decimal(2)}


class Ears:
    """One venue's dialects, the sound messages they hear, and what a replay makes of what is kept."""

    now_ms: int

    def __init__(self) -> None:
        self.dialects: list[Dialect] = []
        self.messages: list[tuple[int, bytes]] = []  # dialect, message
        self.begin()

    def begin(self) -> None:
        raise NotImplementedError

    def again(self, kept: bytes) -> tuple[AnyEvent, ...]:
        """What a reader without memory makes of a kept frame."""
        raise NotImplementedError


class HyperliquidEars(Ears):
    now_ms = hyperliquid_frames.NOW

    def __init__(self) -> None:
        super().__init__()
        self.messages = [(0, encode(message)) for message in seeds.hyperliquid_frames()]

    def begin(self) -> None:
        user, candles = hyperliquid_frames.USER, {"BTC": "1m"}
        dialect = HyperliquidDialect(
            "ws://127.0.0.1/ws", ["BTC", "ETH"], user, candles, ["BTC", "ETH"], HyperliquidTiming()
        )
        dialect.opened(0.0)
        self.dialects = [dialect]

    def again(self, kept: bytes) -> tuple[AnyEvent, ...]:
        return decode(kept, self.now_ms, hyperliquid_frames.USER.lower())[0]


class TopstepEars(Ears):
    now_ms = topstep_hub.NOW

    def __init__(self) -> None:
        self.reread = TopstepFrameReader(topstep_hub.ACCOUNT, CONTRACTS)  # one for all connections, as a replay has
        super().__init__()
        found = seeds.topstepx_records()
        self.messages = [(int("User" in record.get("target", "User")), encode(record)) for record in found]

    def begin(self) -> None:
        contracts = CONTRACTS
        clock = ManualClock(self.now_ms)
        readers = [TopstepFrameReader(topstep_hub.ACCOUNT, contracts, MULTIPLIERS) for _ in range(2)]
        common: dict[str, Any] = {"clock": clock, "is_open": lambda symbol, now_ms: True, "timing": TopstepTiming()}
        tokens: dict[str, Any] = {"token": lambda: topstep_hub.TOKEN, "refresh_token": lambda: None}
        market = MarketDialect("wss://h", contracts, list(contracts), readers[0], **tokens, **common)
        user = UserDialect(
            "wss://h", topstep_hub.ACCOUNT, readers[1], **tokens, symbols=list(contracts.values()), **common
        )
        for dialect in (market, user):
            dialect.opened(0.0)
            dialect.received(b"{}", self.now_ms, 0.0)
        self.dialects = [market, user]

    def again(self, kept: bytes) -> tuple[AnyEvent, ...]:
        """Depth is told level by level: its reader must have read what was kept before."""
        if b"GatewayDepth" in kept:
            return self.reread.read(kept, self.now_ms)
        return TopstepFrameReader(topstep_hub.ACCOUNT, CONTRACTS).read(kept, self.now_ms)


EARS = {"hyperliquid": HyperliquidEars, "topstepx": TopstepEars}


def play(venue: str, rng: random.Random, frames: int) -> Counter[str]:
    """Raises Nonsense, with the frame in its text."""
    ears, counts = EARS[venue](), Counter[str]()
    brain: Brain | None = None
    for number in range(frames):
        if brain is None or number % FRAMES_A_RUN == 0:
            if brain is not None:
                counts += brain.counts
            ears.begin()
            ears.now_ms = type(ears).now_ms
            brain = Brain(venue, rng, oddity=0.0, now_ms=ears.now_ms)
        which, message = rng.choice(ears.messages)
        raw, kinds = mutated(rng, message)
        for kind in kinds:
            counts[f"mutation {kind}"] += 1
        try:
            with hushed("stream"):
                _hear(ears, which, raw, brain, counts)
        except Exception as e:
            raise Nonsense(f"{type(e).__name__}: {e}\n  on frame {number}: {raw[:1_500]!r}") from e
    return counts + (brain.counts if brain is not None else Counter())


def _hear(ears: Ears, which: int, raw: bytes, brain: Brain, counts: Counter[str]) -> None:
    counts["frames"] += 1
    dialect = ears.dialects[which]
    if not raw:
        return
    try:
        events = dialect.received(raw, ears.now_ms, 0.0)
    except BadFrame as e:
        counts[f"refused {e.kind}"] += 1
        return
    except (Closed, Mute):
        counts["connections ended"] += 1
        ears.begin()
        return
    counts["frames with events" if events else "frames without"] += 1
    for event in events:
        why = absurd(event, ears.now_ms)
        assert why is None, f"an absurd event: {why}"
    if events:
        _keep(ears, dialect.kept or raw, events)
    for event in events:
        brain.feed(event)
    if brain.rng.random() < 0.15:  # time goes on, the venue answers: what was opened is protected and left
        brain.step()
        ears.now_ms = brain.maker.now_ms


def _keep(ears: Ears, kept: bytes, events: tuple[AnyEvent, ...]) -> None:
    """P12: what the journal keeps of the frame makes the same events again; those seen before are left out."""
    record = decode_line(frame_line(Frame(kept, ears.now_ms, events)))
    assert record is not None, "the journal cannot give the frame back"
    again = ears.again(bytes(record.frame))
    assert set(map(repr, events)) <= set(map(repr, again)), f"a replay makes {again} of it"
