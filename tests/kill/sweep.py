"""One day of kills, run and judged."""

import logging
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

import strategies
from tests.kill import checks
from tests.kill.day import Day, Life
from tests.kill.places import RANDOM, Place
from tests.kill.venues import VENUES, Moment, Venue


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
    unattended: int = 0  # openings by an order left over, while no bot was there to withdraw it
    stop_moves: int = 0
    compared: int = 0  # restarts whose memory could be compared with what the dead one knew
    lines: int = 0  # of the journal
    struck: dict[str, int] = {}  # faults, by kind
    bad: list[str] = []
    folder: str = ""


def run_day(
    venue_name: str, day: int, seed: int, wanted: list[Place | None], keep: bool = False, slack_ms: int = 0
) -> Report:
    """`wanted`: as of `Day`; `slack_ms`: as of `check_protected`. The folder of a day with a violation is kept."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # clients that die in the middle of a handshake
    hidden = str(Path(__file__).resolve().parent / "strategies")
    if hidden not in strategies.__path__:
        strategies.__path__.append(hidden)
    folder = Path(tempfile.mkdtemp(prefix=f"kill-{venue_name}-"))
    one = Day(venue_name, seed, wanted, folder)
    with VENUES[venue_name](seed) as venue:
        one.run(venue)
        report = judge(one, venue, day, slack_ms)
    if report.bad or keep:
        report.folder = str(folder)
    else:
        remove(folder)
    return report


def judge(one: Day, venue: Venue, day: int, slack_ms: int) -> Report:
    record, moments, killed = checks.read(one.logs), venue.moments(), one.lives[:-1]
    naked, doubted, loose = spans(one, venue, record, moments)
    trail, moved = checks.check_trail(moments)
    memory, compared = checks.check_memory(one.lives, record)
    by_place, missed = count_places(killed)
    states = [life.death.state for life in killed if life.death and life.death.state]
    bad = [
        *checks.check_protected(naked, doubted, loose, slack_ms), *checks.check_orders(venue, record, one.lives),
        *trail, *memory,
        *checks.check_ledger(one.logs, venue, record), *checks.check_replays(one.logs),
        *checks.check_end(one.lives, one.logs, venue, record, moments[-1]),
    ]  # fmt: skip
    return Report(
        venue=one.name, day=day, naked=naked, doubted=doubted, loose=loose, kills=len(killed), by_place=by_place,
        missed=missed, open_at_kill=sum(at(moments, life.ended_ms).held != 0 for life in killed),
        in_flight_at_kill=sum(map(has_in_air, states)), orders=len(record.purposes), fills=len(venue.fills()),
        unattended=checks.count_unattended(venue, record, one.lives), stop_moves=moved, compared=compared,
        lines=record.lines, struck=venue.struck(), bad=bad,
    )  # fmt: skip


def spans(one: Day, venue: Venue, record: checks.Record, moments: list[Moment]) -> list[checks.Spans]:
    """Longest times without a stop, the same over an exit in doubt, and with an order left over."""
    tags = {order.client_id for order in venue.orders()}
    lost = [found for client_id, found in record.exits.items() if client_id not in tags]
    bare, doubted = checks.bare_times(moments, lost, one.lives[-1].ended_ms)
    loose = [(m.at_ms, m.loose) for m in moments]
    return [checks.spans_of(times, one.lives, record.started_ms) for times in (bare, doubted, loose)]


def count_places(killed: list[Life]) -> tuple[dict[str, int], dict[str, int]]:
    """Where they died, and which places did not come."""
    died = Counter(Place.parse(life.place).name if life.hit else RANDOM for life in killed)
    missed = Counter(Place.parse(life.place).name for life in killed if not life.hit and life.place != RANDOM)
    return dict(died), dict(missed)


def has_in_air(state: checks.State) -> bool:
    return any(record.is_in_air for market in state.markets.values() for record in market.orders.values())


def at(moments: list[Moment], ms: int) -> Moment:
    return next((m for m in reversed(moments) if m.at_ms <= ms), moments[0])


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
