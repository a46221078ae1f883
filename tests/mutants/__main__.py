"""`python -m tests.mutants [NAME ...]`: plant every bug in turn and print which test caught it.

Exit code 1 when one survives, a patch no longer fits, or the tree as it is does not pass the hinted tests.
"""

import argparse
import queue
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.hunt import Outcome, Verdict, copy_tree, hunt, passes, run_tests
from tests.mutants.patches import PROMISES, ROOT, Mutant, PatchFault, patched, read_all

BASELINE_S, BASELINE_TRIES = 600.0, 3


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="copies hunted in at a time")
    parser.add_argument("--hints-only", action="store_true", help="do not try the whole quick suite on survivors")
    options = parser.parse_args(argv)
    began = time.monotonic()
    try:
        mutants = chosen(options.names)
    except PatchFault as e:
        say(str(e))
        return 1
    with tempfile.TemporaryDirectory(prefix="trading-bot-mutants-") as folder:
        copy = copy_tree(ROOT, Path(folder) / "0")
        outcome = baseline(copy, mutants)
        if not outcome.passed:
            say(f"the tree as it is does not pass the hinted tests: {outcome.failed_test or outcome.trouble}")
            return 1
        copies = [copy, *(copy_tree(copy, Path(folder) / str(n)) for n in range(1, options.jobs))]
        verdicts = hunt_all(copies, mutants, wide=not options.hints_only)
    return report(verdicts, time.monotonic() - began)


def chosen(names: Sequence[str]) -> list[Mutant]:
    """Raises PatchFault, also for a patch that does not fit the tree."""
    mutants = read_all()
    unknown = set(names) - {mutant.name for mutant in mutants}
    if unknown:
        raise PatchFault(f"no such mutant: {', '.join(sorted(unknown))}")
    mutants = [mutant for mutant in mutants if not names or mutant.name in names]
    for mutant in mutants:
        patched(mutant, ROOT)
    return mutants


def baseline(copy: Path, mutants: Sequence[Mutant]) -> Outcome:
    """Whether all hinted tests pass where nothing was planted: else whatever fails later proves nothing."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    outcome = Outcome(False)
    for _ in range(BASELINE_TRIES):
        outcome = run_tests(copy, tests, workers=2, timeout_s=BASELINE_S)
        if outcome.passed or not outcome.failed_test or not passes(copy, outcome.failed_test):
            break
        say(f"fails among others and passes alone, once more: {outcome.failed_test}")  # a machine that is very busy
    return outcome


def hunt_all(copies: Sequence[Path], mutants: Sequence[Mutant], wide: bool) -> list[Verdict]:
    """Each copy takes the next mutant when it is done with one; the verdicts, by name."""
    waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in mutants:
        waiting.put(mutant)
    verdicts: list[Verdict] = []

    def work(copy: Path) -> None:
        while True:
            try:
                mutant = waiting.get_nowait()
            except queue.Empty:
                return
            verdict = hunt(copy, mutant, wide)
            say(row(verdict))
            verdicts.append(verdict)

    threads = [threading.Thread(target=work, args=(copy,)) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(verdicts, key=lambda verdict: verdict.mutant.name)


def row(verdict: Verdict) -> str:
    mutant = verdict.mutant
    who = verdict.caught_by or (f"DOES NOT COUNT: {verdict.trouble}" if verdict.trouble else "SURVIVED")
    late = "" if verdict.by_hint else "  (not by its hint)"
    return f"{mutant.name:<50} {' '.join(mutant.promises):<8} {verdict.seconds:6.1f} s  {who}{late}"


def report(verdicts: Sequence[Verdict], seconds: float) -> int:
    say(f"\n{'mutant':<50} {'breaks':<8} {'time':>8}  caught by")
    for verdict in verdicts:
        say(row(verdict))
    alive = [verdict.mutant.name for verdict in verdicts if not verdict.caught_by]
    counts = Counter(promise for verdict in verdicts for promise in verdict.mutant.promises)
    say("\nby promise: " + ", ".join(f"{promise} {counts[promise]}" for promise in PROMISES))
    say(f"{len(verdicts) - len(alive)} of {len(verdicts)} mutants caught in {seconds:.0f} s")
    for name in alive:
        say(f"not caught: {name}")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
