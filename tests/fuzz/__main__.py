"""Fuzz in bulk: `python -m tests.fuzz --what frames|answers|decide|configs|all --count 1000000 [--seed N]`.

Prints what was done, by kind, and how fast; exit code 1 when something broke, or when a kind never came up.
A failure prints the seed and the size of its run: the same command with that seed, and the same count, plays it again.
"""

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable

from tests.fuzz import answers, brain, configs, frames
from tests.fuzz.brain import Nonsense
from tests.fuzz.expected import missing

VENUES = ("hyperliquid", "topstepx")
Play = Callable[[random.Random, int], Counter[str]]
say = print
PART = {"decide": 250, "frames": 2_000, "answers": 2_000, "configs": 200}


def player(what: str, venue: str) -> Play:
    plays: dict[str, Play] = {
        "decide": lambda rng, count: brain.play(venue, rng, count),
        "frames": lambda rng, count: frames.play(venue, rng, count),
        "answers": lambda rng, count: answers.play(venue, rng, count),
        "configs": configs.play,
    }
    return plays[what]


def run(what: str, venue: str, count: int, seed: int) -> bool:
    """In parts of their own seeds. True when all went well."""
    play, counts, done, began = player(what, venue), Counter[str](), 0, time.perf_counter()
    while done < count:
        part = min(PART[what], count - done)
        try:
            counts += play(random.Random(seed), part)
        except Nonsense as e:
            say(f"FAILED {what} {venue} --seed {seed} --count {part}\n{e}")
            traceback.print_exception(e.__cause__)
            return False
        done, seed = done + part, seed + 1
    took_s = time.perf_counter() - began
    say(f"{what} {venue}: {done} in {took_s:.0f} s, {done / took_s:.0f} a second")
    for name, number in sorted(counts.items()):
        say(f"  {number:>10}  {name}")
    lacking = missing(what, venue, counts)
    for name in lacking:
        say(f"  NEVER  {name}")
    return not lacking


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--what", choices=[*PART, "all"], default="all")
    parser.add_argument("--count", type=int, default=20_000, help="events, frames or answers of both venues; configs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    fine = True
    for what in PART if options.what == "all" else [options.what]:
        venues = ("both",) if what == "configs" else VENUES
        for venue in venues:
            fine = run(what, venue, options.count // len(venues), options.seed) and fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
