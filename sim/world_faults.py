"""The world's own faults, how a seed's list of them is drawn, and the shape of a day."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from sim.world_types import Fault, FaultKind

HOUR_MS = 3_600_000
CALM_MS = 1_500  # at the beginning of an episode
GAPS = ("asleep", "stopped", "killed")  # how the hours between two episodes pass


def _latency(rnd: random.Random) -> dict[str, Any]:
    return {"ms": rnd.choice((500, 2_000, 6_000, 20_000)), "p": rnd.choice((0.2, 0.5, 1.0))}


def _chance(rnd: random.Random) -> dict[str, Any]:
    return {"p": rnd.choice((0.15, 0.4, 1.0))}


def _few(rnd: random.Random) -> dict[str, Any]:
    return {"p": rnd.choice((0.05, 0.2, 0.5))}


def _error(rnd: random.Random) -> dict[str, Any]:
    return {"how": rnd.choice(("429", "500", "502", "503", "html", "empty")), "p": rnd.choice((0.3, 0.7, 1.0))}


def _death(rnd: random.Random) -> dict[str, Any]:
    return {"how": rnd.choice(("before", "torn", "after")), "steps": rnd.randrange(12), "down_ms": rnd.randrange(9_000)}


def _jump(rnd: random.Random) -> dict[str, Any]:
    return {"ms": rnd.choice((-90_000, -3_000, 3_000, 20_000, 90_000))}


KINDS = (
    FaultKind("slow_requests", 0.4, (1_000, 12_000), _latency),
    FaultKind("slow_answers", 0.4, (1_000, 12_000), _latency),
    FaultKind("lost_requests", 0.5, (500, 8_000), _chance),
    FaultKind("lost_answers", 0.8, (500, 8_000), _chance),
    FaultKind("cut_answers", 0.3, (500, 8_000), _chance),
    FaultKind("http_error", 0.4, (500, 8_000), _error),
    FaultKind("no_connection", 0.3, (500, 8_000), lambda rnd: {"how": rnd.choice(("refused", "silent"))}),
    FaultKind("cut_stream", 0.6),
    FaultKind("stream_refused", 0.3, (1_000, 12_000), lambda rnd: {"status": rnd.choice((429, 502, 503))}),
    FaultKind("mute_stream", 0.4, (1_000, 14_000)),
    FaultKind("late_frames", 0.4, (1_000, 12_000), _latency),
    FaultKind("duplicate_frames", 0.4, (2_000, 15_000), _few),
    FaultKind("reorder_frames", 0.4, (2_000, 15_000), _few),
    FaultKind("half_frames", 0.3, (2_000, 15_000), _few),
    FaultKind("bad_frames", 0.3, (1_000, 8_000), _few),
    FaultKind("bot_killed", 1.0, draw=_death),
    FaultKind("bot_stopped", 0.2, draw=lambda rnd: {"down_ms": rnd.randrange(500, 9_000)}),
    FaultKind("asleep", 0.3, (2_000, 600_000)),
    FaultKind("clock_jump", 0.4, draw=_jump),
    FaultKind("venue_restart", 0.3, (1_000, 15_000)),
    FaultKind("disk_full", 0.3, (500, 8_000)),
    FaultKind("flatten", 0.1),
)
SPANS = {
    "slow_requests": "slow", "slow_answers": "slow", "lost_requests": "rest_down", "lost_answers": "rest_down",
    "cut_answers": "rest_down", "http_error": "rest_down", "no_connection": "rest_down", "mute_stream": "mute",
    "disk_full": "disk_full",
}  # fmt: skip


class Episode(msgspec.Struct, frozen=True):
    """True time since the beginning of the day, and how the hours after it pass (the last one has none)."""

    from_ms: int
    to_ms: int
    then: str | None
    wall_ms: int  # the machine's clock is this far off when it begins


class Shape(msgspec.Struct, frozen=True):
    """What a day holds."""

    stretches: int
    watched_ms: tuple[int, int]  # how long the market is watched at a stretch
    settle_ms: int  # at the end of the day: no faults, the bot has to agree with the venue
    quiet_ms: int  # the end of that: nobody trades any more, so nothing new is begun


WHOLE = Shape(3, (18_000, 30_000), 34_000, 12_000)
SHORT = Shape(1, (9_000, 14_000), 15_000, 8_000)


class Day(msgspec.Struct, frozen=True):
    episodes: tuple[Episode, ...]
    faults: tuple[Fault, ...]
    end_ms: int
    quiet_ms: int


def draw_day(seed: int, more: Sequence[FaultKind], shape: Shape = WHOLE) -> Day:
    """The day of a seed: a few stretches of market spread over some 20 hours, and what goes wrong in them."""
    rnd = random.Random(f"{seed}/day")
    stretches: list[Episode] = []
    at_ms = 0
    for number in range(shape.stretches):
        to_ms = at_ms + rnd.randrange(*shape.watched_ms)
        is_last = number == shape.stretches - 1
        wall_ms = rnd.choice((0, 0, 0, -90_000, -2_000, 700, 90_000))
        stretches.append(Episode(at_ms, to_ms, None if is_last else rnd.choice(GAPS), wall_ms))
        at_ms = to_ms + rnd.randrange(HOUR_MS, 10 * HOUR_MS)
    faults = tuple(_draw_faults(rnd, stretches, [*KINDS, *more]))
    return Day(tuple(stretches), faults, stretches[-1].to_ms + shape.settle_ms, shape.quiet_ms)


def _draw_faults(rnd: random.Random, stretches: Sequence[Episode], kinds: Sequence[FaultKind]) -> list[Fault]:
    drawn: list[Fault] = []
    density = rnd.choice((0.2, 0.5, 1.0, 1.0)) * (1 + len(stretches)) / 4
    for kind in kinds:
        wanted = kind.per_day * density
        count = int(wanted) + (rnd.random() < wanted % 1)
        for _ in range(count):
            stretch = rnd.choice(stretches)
            at_ms = rnd.randrange(stretch.from_ms + CALM_MS, stretch.to_ms)
            for_ms = rnd.randrange(*kind.for_ms) if kind.for_ms[1] else 0
            if kind.name != "asleep" or stretch is stretches[-1]:
                for_ms = min(for_ms, max(200, stretch.to_ms - at_ms))
            drawn.append(Fault(0, kind.name, at_ms, for_ms, kind.draw(rnd)))
    drawn.sort(key=lambda fault: fault.at_ms)
    return [msgspec.structs.replace(fault, number=number) for number, fault in enumerate(drawn)]
