"""The promises P1 to P12 as code: each judge reads what happened (a `Tape`) and nothing of the bot's insides.

What cannot be seen in a setting is `not_judged`, which is no pass. Bounds: `sim.verdict`. The judges: P2, P3, P4 from
the venue's record (`invariants_venue`), P1, P6, P8, P9, P12 from the journal (`invariants_journal`), P7 from both
(`invariants_restart`).
"""

from collections.abc import Callable

from sim import invariants_journal as by_journal
from sim import invariants_restart as over_restarts
from sim import invariants_venue as by_venue
from sim.verdict import Bounds, Verdict
from sim.world_read import Reading, clock
from sim.world_types import Checker, Tape, Violation

__all__ = ["CHECKERS", "JUDGES", "Bounds", "Verdict", "check", "verdicts"]

Judge = Callable[[Reading, Bounds], Verdict]


def p5_never_waits(reading: Reading, bounds: Bounds) -> Verdict:
    """The longest the main thread was away; where no real threads run there is none to wait."""
    verdict = Verdict("P5_never_waits")
    longest_ms = reading.tape.counts.get("main_thread_longest_ms")
    if longest_ms is None:
        verdict.not_judged = "no real threads run here"
        return verdict
    verdict.looked_at = 1
    if longest_ms > WAIT_MS_MAX:
        verdict.say(reading.tape.end_ms, f"P5 Never waits: the main thread was away for {longest_ms} ms")
    return verdict


WAIT_MS_MAX = 500  # on a loaded machine; a request that nobody answers takes seconds


def p7_restart_is_start(reading: Reading, bounds: Bounds) -> Verdict:
    verdict = Verdict("P7_restart_is_start")
    by_journal.judge_starts(reading, verdict)
    over_restarts.judge_levels(reading, verdict)
    over_restarts.judge_agreement(reading, bounds, verdict)
    return verdict


def p10_silent(reading: Reading, bounds: Bounds) -> Verdict:
    """None of the day's secrets in journal, log, health or an error that got out."""
    tape = reading.tape
    verdict = Verdict("P10_silent_about_secrets")
    if not tape.secrets:
        verdict.not_judged = "no secrets were given out here"
        return verdict
    texts = [("journal", part.true_ms, part.lines) for part in tape.written]
    texts += [("log", line.true_ms, line.text.encode()) for line in tape.log]
    texts += [("health", health.true_ms, repr(health.body).encode()) for health in tape.health]
    texts += [("error", ending.true_ms, ending.error.encode()) for ending in tape.endings]
    wanted = [secret.encode() for secret in tape.secrets]
    verdict.looked_at = len(texts)
    for what, true_ms, text in texts:
        if any(secret in text for secret in wanted):
            verdict.say(true_ms, f"P10 Silent about secrets: one stands in the {what} at {clock(tape, true_ms)}")
    return verdict


def p11_one_bot(reading: Reading, bounds: Bounds) -> Verdict:
    """Two runs are never up at once; that a second process is refused can be seen among real processes only."""
    verdict = Verdict("P11_one_bot")
    refused = reading.tape.counts.get("second_bots_refused")
    if refused is None:
        verdict.not_judged = "one process at a time by construction"
        return verdict
    verdict.looked_at = started = reading.tape.counts.get("second_bots_started", 0)
    if refused != started:
        verdict.say(reading.tape.end_ms, f"P11 One bot: {started - refused} of {started} second bots were let in")
    return verdict


JUDGES: dict[str, Judge] = {
    "P1_fresh": by_journal.p1_fresh,
    "P2_protected": by_venue.p2_protected,
    "P3_once": by_venue.p3_once,
    "P4_only_down": by_venue.p4_only_down,
    "P5_never_waits": p5_never_waits,
    "P6_written_first": by_journal.p6_written_first,
    "P7_restart_is_start": p7_restart_is_start,
    "P8_no_missed_touch": by_journal.p8_no_missed_touch,
    "P9_safe_side": by_journal.p9_safe_side,
    "P10_silent_about_secrets": p10_silent,
    "P11_one_bot": p11_one_bot,
    "P12_one_brain": by_journal.p12_one_brain,
}


def verdicts(tape: Tape, bounds: Bounds | None = None) -> list[Verdict]:
    """All twelve, in order."""
    reading = Reading(tape)
    return [judge(reading, bounds or Bounds()) for judge in JUDGES.values()]


def check(tape: Tape) -> list[Violation]:
    """What did not hold, earliest first."""
    found = [violation for verdict in verdicts(tape) for violation in verdict.violations]
    return sorted(found, key=lambda violation: violation.true_ms)


def _checker(judge: Judge) -> Checker:
    return lambda tape: judge(Reading(tape), Bounds()).violations


CHECKERS: dict[str, Checker] = {name: _checker(judge) for name, judge in JUDGES.items()}
