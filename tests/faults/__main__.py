"""`python -m tests.faults`: every fault, at both venues, in every state, over real sockets; writes README.md here.

`--workers N` cases at once (most of the time they wait); `--only WORDS` as pytest's -k. `--record FILE` keeps what was
measured, a line a case, so that a whole run can be made in pieces: the table is of the newest line of each. Exit code 1
when a promise was broken; the table is written all the same, with what failed. A part of the cases alone writes none.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.faults.case import SLACK_S
from tests.faults.row import Row
from tests.faults.table import ABSENT, TABLE

HERE = Path(__file__).resolve().parent
HEAD = """# Faults

Made by `python -m tests.faults` ({when}; {machine}).
{cases} cases, {variants} variants, {strikes} strikes of {kinds} kinds; {failed}

Every fault strikes a guardian of one position over real sockets, in three states: *flat* (a hand opens a position
under the fault), *holding* (a hand changes it), *leaving* (the price has crossed the take-profit, the exit is on its
way). What must hold in each case: no intent twice (P3), exits only down (P4), a stop of exactly the size within the
bound (P2), a price within the bound while REST answers, the book as it must be within 30 s, a clean log, no secret in
any file, and a replay of the journal that comes out the same. It is asked of the venue's own book, which is read every
5 ms, and of the files. A fault that never struck fails its case.

*Unprotected*: longest time in a row with a position and without a stop while the venue could be asked. *No price*:
longest time without a new price while REST could be asked. *Well again*: from the fault to a book that is as it must
be, the walk through the state included, without the time for which a fault was made to last. Worst of all variants,
in seconds, as measured. A promise holds when it is within its bound and {slack} s, which a loaded machine may add.

| fault | venue | state | variants | must hold | unprotected | no price | well again |
|---|---|---|---|---|---|---|---|
"""
NOTES = """
## Where the bound for a price is wider, and why

* Streams that stay open and say nothing: 5 s without a price on Hyperliquid, 15 s on TopstepX. Silence has to be
  noticed first, then REST is asked. What a hand opens meanwhile is protected within 2 s all the same.
* Garbage between frames: the same. What follows may look like the rest of a long frame: it is noticed as silence.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--only", default="")
    parser.add_argument("--record", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = asked.record or Path(folder) / "results.jsonl"
        code = run(record, asked.workers, asked.only)
        results = newest(record)
    show(results)
    if asked.record or not asked.only:
        (HERE / "README.md").write_text(table(results), encoding="utf-8")
    return code


def newest(record: Path) -> list[Any]:
    """What was measured last of each case."""
    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()] if record.exists() else []
    return list({(line["name"], line["venue"], line["state"]): line for line in lines}.values())


def run(record: Path, workers: int, only: str) -> int:
    words = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "worksteal", "--tb=short"]
    words += [str(HERE), "--show-capture=no", "-k", only or "test_"]
    return subprocess.run(words, env=os.environ | {"FAULTS_ROUND": "all", "FAULTS_RECORD": str(record)}).returncode


def show(results: list[Any]) -> None:
    strikes: Counter[str] = Counter()
    for result in results:
        strikes.update(result["struck"])
    text = ", ".join(f"{name} {count}" for name, count in sorted(strikes.items()))
    Console().print(f"{len(results)} cases; strikes: {text}")


def table(results: list[Any]) -> str:
    found = {(result["name"], result["venue"], result["state"]): result for result in results}
    wanted = [(row, state) for row in TABLE for state in row.states]
    missing = [one for one in wanted if (one[0].name, one[0].venue, one[1]) not in found]
    head = HEAD.format(
        when=time.strftime("%Y-%m-%d", time.gmtime()), machine=machine(), cases=len(found),
        variants=sum(r["variants"] for r in results), strikes=sum(sum(r["struck"].values()) for r in results),
        kinds=len({name for r in results for name in r["struck"]}), slack=SLACK_S,
        failed=f"{len(missing)} failed or were not run." if missing else "none failed.",
    )  # fmt: skip
    lines = [line(row, state, found.get((row.name, row.venue, state))) for row, state in wanted]
    absent = [f"| {one.name} | {one.venue} | | | {one.why} | | | |" for one in ABSENT]
    return head + "\n".join(lines + absent) + "\n" + NOTES


def line(row: Row, state: str, result: Any) -> str:
    if result is None:
        return f"| {row.name} | {row.venue} | {state} | | {row.must} | **no result** | | |"
    values = (result[key] for key in ("naked_s", "blind_s", "agree_s"))
    numbers = " | ".join("not asked" if value is None else f"{value:.2f}" for value in values)
    return f"| {row.name} | {row.venue} | {state} | {result['variants']} | {row.must} | {numbers} |"


def machine() -> str:
    load = f", load average {os.getloadavg()[2]:.0f}" if hasattr(os, "getloadavg") else ""  # of a quarter of an hour
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{load}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
