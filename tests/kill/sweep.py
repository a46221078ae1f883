"""One day of kills, run and judged."""

import logging
import tempfile
from pathlib import Path

import msgspec

import strategies
from tests.kill import checks
from tests.kill.day import Day
from tests.kill.places import RANDOM, Place
from tests.kill.venues import VENUES, Moment


class Report(msgspec.Struct):
    """What a day did, and what was wrong with it."""

    venue: str
    day: int
    naked: checks.Spans
    doubted: checks.Spans
    loose: checks.Spans
    kills: int = 0
    by_place: dict[str, int] = {}  # "random" too
    missed: dict[str, int] = {}
    open_at_kill: int = 0
    in_flight_at_kill: int = 0  # an order of ours had no final answer yet
    orders: int = 0
    fills: int = 0
    stop_moves: int = 0
    compared: int = 0  # restarts whose memory could be compared with what the dead one knew
    lines: int = 0  # of the journal
    struck: dict[str, int] = {}  # faults, by kind
    bad: list[str] = []
    folder: str = ""


def run_day(venue_name: str, day: int, seed: int, wanted: list[Place | None], keep: bool = False) -> Report:
    """`wanted`: as of `Day`. The folder of a day with a violation is kept."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # clients that die in the middle of a handshake
    hidden = str(Path(__file__).resolve().parent / "strategies")
    if hidden not in strategies.__path__:
        strategies.__path__.append(hidden)
    folder = Path(tempfile.mkdtemp(prefix=f"kill-{venue_name}-"))
    one = Day(venue_name, seed, wanted, folder)
    with VENUES[venue_name](seed) as venue:
        one.run(venue)
        report = judge(one, venue, day)
    if report.bad or keep:
        report.folder = str(folder)
    else:
        remove(folder)
    return report


def judge(one: Day, venue: checks.Venue, day: int) -> Report:
    record = checks.read(one.logs)
    moments = venue.moments()
    tags = {order.client_id for order in venue.orders()}
    lost = [found for client_id, found in record.exits.items() if client_id not in tags]
    bare, doubted_bare = checks.bare_times(moments, lost, one.lives[-1].ended_ms)
    naked = checks.spans_of(bare, one.lives, record.started_ms)
    doubted = checks.spans_of(doubted_bare, one.lives, record.started_ms)
    loose = checks.spans_of([(m.at_ms, m.loose) for m in moments], one.lives, record.started_ms)
    trail, moved = checks.check_trail(moments)
    memory, compared = checks.check_memory(one.lives, record)
    killed = one.lives[:-1]
    by_place: dict[str, int] = {}
    missed: dict[str, int] = {}
    for life in killed:
        name = RANDOM if not life.hit else Place.parse(life.place).name
        by_place[name] = by_place.get(name, 0) + 1
        if not life.hit and life.place != RANDOM:
            name = Place.parse(life.place).name
            missed[name] = missed.get(name, 0) + 1
    in_flight = [life for life in killed if life.death and life.death.state and has_in_air(life.death.state)]
    return Report(
        venue=one.name, day=day, kills=len(killed), by_place=by_place, missed=missed,
        open_at_kill=sum(at(moments, life.ended_ms).held != 0 for life in killed),
        in_flight_at_kill=len(in_flight), orders=len(record.purposes), fills=len(venue.fills()), stop_moves=moved,
        compared=compared, lines=record.lines, struck=venue.struck(), naked=naked, doubted=doubted, loose=loose,
        bad=[
            *checks.check_protected(naked, doubted, loose), *checks.check_orders(venue, record), *trail, *memory,
            *checks.check_ledger(one.logs, venue, record), *checks.check_replays(one.logs),
            *checks.check_end(one.lives, one.logs, venue, record, moments[-1]),
        ],
    )  # fmt: skip


def has_in_air(state: checks.State) -> bool:
    return any(record.is_in_air for market in state.markets.values() for record in market.orders.values())


def at(moments: list[Moment], ms: int) -> Moment:
    return next((m for m in reversed(moments) if m.at_ms <= ms), moments[0])


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
