"""One case: a row of the table in one state, from the first sign of trouble to the last look at the book."""

import json
import os
import time
from collections import Counter
from pathlib import Path

import msgspec

from tests.e2e.harness import eventually
from tests.faults.row import FLAT, HOLDING, LEAVING, Row, Variant
from tests.faults.stand import AGREE_S, Stand

RECORD = "FAULTS_RECORD"  # a file to which each case adds a line
SLACK_S = 0.5  # what reading the book and a machine with other work may add to a bound
STRIKE_S = 8.0
MODIFY = "Order/modify"
LOOK_UP = "orderStatus"  # the first order after flat is a stop, which is looked for in the list


class Result(msgspec.Struct, frozen=True):
    """What one case has measured, the worst of its variants."""

    name: str
    venue: str
    state: str
    variants: int
    struck: dict[str, int]
    naked_s: float
    blind_s: float | None  # None: prices were not to be had, or not looked for
    agree_s: float

    def record(self) -> None:
        if os.environ.get(RECORD):
            with Path(os.environ[RECORD]).open("a", encoding="utf-8") as out:
                out.write(json.dumps(msgspec.to_builtins(self)) + "\n")


def fit(row: Row, state: str) -> tuple[Variant, ...]:
    """The variants that can strike in this state: a request that is not made there cannot be spoilt."""
    never = {FLAT: {LOOK_UP}, HOLDING: set[str](), LEAVING: {MODIFY}}[state]
    return tuple(v for v in row.variants if not any({f.args.get("action"), f.args.get("type")} & never for f in v))


def run(stand: Stand, row: Row, state: str, variants: tuple[Variant, ...]) -> Result:
    """Raises AssertionError for a broken promise, and for a fault that never struck."""
    blind_s = agree_s = 0.0
    struck: Counter[str] = Counter()
    for variant in variants:
        before, prices, began_s = stand.struck(), len(stand.price_times()), time.monotonic()
        (outlast if row.dwell_s else pass_through)(stand, row, state, variant, before)
        agree_s = max(agree_s, time.monotonic() - began_s - row.dwell_s)
        blind_s = max(blind_s, stand.blind_s(prices))
        struck += times_struck(stand, variant, before)
    result = Result(row.name, row.venue, state, len(variants), struck, stand.watch.naked_s, blind_s, agree_s)
    assert result.naked_s <= row.naked_s + SLACK_S, f"{result.naked_s:.2f} s without protection"
    assert stand.watch.loose_s <= 2.0 + SLACK_S, f"{stand.watch.loose_s:.2f} s with orders left over"
    assert blind_s <= row.blind_s + SLACK_S, f"{blind_s:.2f} s without a price"
    assert agree_s <= AGREE_S, f"{agree_s:.1f} s until all was well"
    stand.check(may_halt=row.may_halt)
    result.record()
    return result


def times_struck(stand: Stand, variant: Variant, before: dict[str, int]) -> Counter[str]:
    """Raises AssertionError when one of them never took effect: the case would have looked away."""
    now = stand.struck()
    times = Counter({f.counter: now.get(f.counter, 0) - before.get(f.counter, 0) for f in variant})
    missing = [name for name, count in times.items() if count <= 0]
    assert not missing, f"{missing} never struck in {variant}"
    return times


def pass_through(stand: Stand, row: Row, state: str, variant: Variant, before: dict[str, int]) -> None:
    """The fault begins in the state and goes on, or strikes its few times, until the position is gone."""
    cleaned = len(stand.running.log.lines("market_clean"))
    if state != FLAT:
        stand.hold(2)
    if not row.from_start:
        strike(stand, row, variant)
    if not row.ends_it and state == FLAT:
        stand.hold(2)
        if stand.is_holding:
            stand.hold(1)
    elif not row.ends_it and state == HOLDING:
        stand.hold(1)
        if stand.is_holding:
            stand.hold(-2)
    elif row.ends_it and state == FLAT and not row.may_halt:
        stand.deal(2)
    if not any(f.name == "whip" for f in variant) and (state == LEAVING or not row.ends_it):
        stand.move(stand.target)
    stand.await_settled()
    finish(stand, state, cleaned, row)
    await_strikes(stand, variant, before)
    if not row.from_start:
        stand.clear()


def outlast(stand: Stand, row: Row, state: str, variant: Variant, before: dict[str, int]) -> None:
    """The fault lasts; a hand acts or the price crosses meanwhile; when it is over all must be well again."""
    cleaned = len(stand.running.log.lines("market_clean"))
    if state != FLAT:
        stand.hold(2)
    strike(stand, row, variant)
    if state == LEAVING:
        stand.move(stand.target)
    else:
        stand.deal(2 if state == FLAT else 1)
    time.sleep(row.dwell_s)
    times_struck(stand, variant, before)
    stand.clear()
    stand.hide(False)
    if state != LEAVING:
        stand.await_settled()  # protected, or closed when nothing would protect it
        stand.move(stand.target)
    stand.await_settled()
    finish(stand, state, cleaned, row)


def finish(stand: Stand, state: str, cleaned: int, row: Row) -> None:
    """Flat by the book, clean by the bot's own word, and the price back home."""
    if stand.watch.now().held and row.ends_it:
        stand.move(stand.far())  # what a hand has made of it has another take-profit
    eventually(stand.is_over, AGREE_S, "flat, and nothing works")
    if state != FLAT or not row.may_halt:
        stand.running.log.wait("market_clean", cleaned + 1, AGREE_S)
    stand.move(stand.home)


def strike(stand: Stand, row: Row, variant: Variant) -> None:
    if row.hides:
        stand.hide(True)
    for fault in variant:
        if fault.at == "venue":
            stand.sim.fault(fault.name, **fault.args)
        elif fault.at == "wire":
            stand.wire.fault(fault.name, **fault.args)
        else:
            getattr(stand, f"{fault.at}_{fault.name}")(**fault.args)


def await_strikes(stand: Stand, variant: Variant, before: dict[str, int]) -> None:
    """Until each has struck: a request that the bot makes only now and then may take its time."""

    def have() -> bool:
        now = stand.struck()
        return all(now.get(f.counter, 0) > before.get(f.counter, 0) for f in variant)

    eventually(have, STRIKE_S, f"{variant} has struck")
