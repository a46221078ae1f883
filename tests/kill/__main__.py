"""The kill sweep: the real bot on a simulated venue, killed without warning, started again, until the day is over.

    python -m tests.kill --venue hyperliquid --kills 500
    python -m tests.kill --venue topstepx --seed 7 --day 3          one day again
    python -m tests.kill --venue topstepx --place stop:torn:1       one kill, at one place

Places are the journal writes around orders (`tests/kill/places.py`), each at four moments; a fifth of the kills come
at a random moment. The venue runs in real time, so that the same seed gives the same plan and market, not the same
milliseconds. Needs SIGKILL: not on Windows. Exit codes: 0 all held; 1 something did not; 2 usage.
"""

import argparse
import functools
import multiprocessing
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.kill.places import OFTEN, WITHOUT_BRACKETS, Place, all_places
from tests.kill.sweep import Report, run_day
from tests.kill.venues import VENUES

say = functools.partial(print, flush=True)
KILLS_A_DAY = 20
RANDOM_SHARE = 5  # one kill of so many


def plan(venue: str, kills: int, seed: int) -> list[Place | None]:
    """Every place in turn, in an order that the seed shuffles; the second or third line of its kind now and then."""
    rnd = random.Random(f"{venue}/{seed}/plan")
    wanted: list[Place | None] = []
    while len(wanted) < kills:
        places: list[Place | None] = [
            place._replace(number=rnd.choice((1, 2, 3)) if place.kind in OFTEN else 1) for place in all_places(venue)
        ]
        places += [None] * (len(places) // (RANDOM_SHARE - 1))
        rnd.shuffle(places)
        wanted += places
    return wanted[:kills]


def share_out(wanted: list[Place | None]) -> list[list[Place | None]]:
    """A list for each day. What needs an account without brackets goes to the days that have one (every other)."""
    days: list[list[Place | None]] = [[] for _ in range(-(-len(wanted) // KILLS_A_DAY))]
    numbers = range(1, len(days) + 1)
    for place in sorted(wanted, key=lambda p: p is None or p.kind not in WITHOUT_BRACKETS):
        bare = place is not None and place.kind in WITHOUT_BRACKETS
        fitting = [n for n in numbers if len(days[n - 1]) < KILLS_A_DAY and (n % 2 == 0 or not bare)]
        number = min(fitting or [n for n in numbers if len(days[n - 1]) < KILLS_A_DAY], key=lambda n: len(days[n - 1]))
        days[number - 1].append(place)
    for number, day in enumerate(days, 1):
        random.Random(number).shuffle(day)
    return days


def main(argv: list[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if sys.platform == "win32":
        say("the kill sweep needs SIGKILL, which Windows does not have")
        return 2
    if arguments.place is not None:
        days = [(1, [arguments.place])]
    else:
        wanted = plan(arguments.venue, arguments.kills, arguments.seed)
        slices = share_out(wanted)
        days = [(i, part) for i, part in enumerate(slices, 1) if arguments.day in (None, i)]
    say(f"{arguments.venue}: {sum(len(part) for _, part in days)} kills in {len(days)} days, seed {arguments.seed}")
    began_s = time.monotonic()
    reports = run(arguments, days)
    must_occur = (
        arguments.place is None and arguments.day is None and arguments.kills >= 2 * len(all_places("topstepx"))
    )
    return show(reports, arguments, time.monotonic() - began_s, must_occur)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description="Kill the bot at every journal write.")
    parser.add_argument("--venue", choices=sorted(VENUES), required=True)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--day", type=int, default=None, help="only this day of the plan")
    parser.add_argument("--place", type=Place.parse, default=None, metavar="KIND:MOMENT:NUMBER", help="only one kill")
    parser.add_argument("--jobs", type=int, default=2, help="days side by side")
    parser.add_argument("--keep", action="store_true", help="keep the files of every day")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace, days: list[tuple[int, list[Place | None]]]) -> list[Report]:
    reports: list[Report] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=context) as pool:
        running = {
            pool.submit(run_day, arguments.venue, day, arguments.seed * 1_000 + day, wanted, arguments.keep): day
            for day, wanted in days
        }
        for done in as_completed(running):
            report = done.result()
            reports.append(report)
            say(
                f"day {report.day}: {report.kills} kills, {report.open_at_kill} with a position, {report.fills} fills,"
                f" at most {report.naked.alive} ms without a stop; {'NOT OK' if report.bad else 'ok'} {report.folder}",
            )
            for text in report.bad:
                say(f"  {text}")
    return reports


def show(reports: list[Report], arguments: argparse.Namespace, took_s: float, must_occur: bool) -> int:
    """What was done and what was measured; the exit code."""
    places: Counter[str] = sum((Counter(r.by_place) for r in reports), Counter())
    missed: Counter[str] = sum((Counter(r.missed) for r in reports), Counter())
    struck: Counter[str] = sum((Counter(r.struck) for r in reports), Counter())
    kills = sum(r.kills for r in reports)
    say(f"\n{'kills by place':24}{'before':>8}{'torn':>8}{'after':>8}{'acted':>8}")
    kinds = dict.fromkeys(place.kind for place in all_places(arguments.venue))
    for kind in kinds:
        say(f"{kind:24}" + "".join(f"{places[f'{kind}:{m}']:8}" for m in ("before", "torn", "after", "acted")))
    say(f"{'at a random moment':24}{places['random']:8}  (of them {missed.total()} whose place did not come in time)")
    rows = {
        "kills": kills,
        "restarts": kills,
        "killed with a position open": sum(r.open_at_kill for r in reports),
        "killed with an order in flight": sum(r.in_flight_at_kill for r in reports),
        "orders written": sum(r.orders for r in reports),
        "fills at the venue": sum(r.fills for r in reports),
        "positions opened by a left-over order while no bot was there": sum(r.unattended for r in reports),
        "moves of a stop at the venue": sum(r.stop_moves for r in reports),
        "restarts whose memory was compared": sum(r.compared for r in reports),
        "journal lines": sum(r.lines for r in reports),
        "faults struck": ", ".join(f"{name} {count}" for name, count in sorted(struck.items())),
        "worst time without a stop, bot running, ms": max(r.naked.alive for r in reports),
        "the same, its start included, ms": max(r.naked.with_start for r in reports),
        "the same, time without a bot included, ms": max(r.naked.in_all for r in reports),
        "worst time without a stop over an exit in doubt, bot running, ms": max(r.doubted.alive for r in reports),
        "worst time with an order left over while flat, bot running, ms": max(r.loose.alive for r in reports),
        "took, s": round(took_s),
    }
    for name, value in rows.items():
        say(f"{name:70}{value}")
    never = [p.name for p in all_places(arguments.venue) if not places[p.name]] if must_occur else []
    if never:
        say(f"NEVER OCCURRED: {', '.join(never)}")
    bad = [report for report in reports if report.bad]
    for report in bad:
        say(
            f"again: python -m tests.kill --venue {report.venue} --seed {arguments.seed} "
            + (f"--place {arguments.place}" if arguments.place else f"--kills {arguments.kills} --day {report.day}")
            + f"    (files: {report.folder})"
        )
    kept = sum(r.kills for r in reports if not r.bad)
    word = "FAILED" if bad or never else "all held"
    say(f"{word}: {kept} of {kills} kills in {len(reports) - len(bad)} of {len(reports)} days without a violation")
    return 1 if bad or never else 0


if __name__ == "__main__":
    sys.exit(main())
