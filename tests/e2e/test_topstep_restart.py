"""Killed at each step of an entry and of an exit: the next run finds out what became of it (P3, P6, P7)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.model import Side
from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import ENTER, MGC, calls, config, market, stops
from tests.e2e.harness import BotProcess, BotThread, eventually
from tests.e2e.venue_watch import VenueWatch, assert_only_down, assert_sent_once

Make = Callable[..., BotThread]
Fault = tuple[str, dict[str, Any]]
KILLED = {
    "the order is not answered": ("Order/place", ("slow_answer", {"action": "Order/place", "ms": 3000, "times": 1})),
    "the order never arrives": ("Order/place", ("lost_request", {"action": "Order/place", "times": 1})),
    "the order arrives after all": ("Order/place", ("late_order", {"action": "Order/place", "ms": 800, "times": 1})),
}
LEAVING = KILLED | {
    "the cancel is not answered": ("Order/cancel", ("slow_answer", {"action": "Order/cancel", "ms": 3000, "times": 1})),
    "the cancel never arrives": ("Order/cancel", ("lost_request", {"action": "Order/cancel", "times": 1})),
}


@pytest.fixture
def process(gateway: TopstepxSim, tmp_path: Path) -> Iterator[Callable[..., BotProcess]]:
    made: list[BotProcess] = []

    def make(**changes: Any) -> BotProcess:
        made.append(BotProcess(tmp_path, config(gateway, **changes)))
        return made[-1]

    yield make
    for one in made:
        one.close()
        one.log.check()


def has_come(gateway: TopstepxSim, what: str, before: int) -> Callable[[], bool]:
    return lambda: len(calls(gateway, what)) > before


@pytest.mark.parametrize(("what", "fault"), KILLED.values(), ids=KILLED)
def test_killed_while_it_protects(
    gateway: TopstepxSim, process: Callable[..., BotProcess], desk: Make, what: str, fault: Fault
) -> None:
    first = process().start()
    gateway.fault(fault[0], **fault[1])
    gateway.deal(MGC, Side.BUY, 2)
    eventually(has_come(gateway, what, 0))
    first.kill()
    second = desk().start(until="account_synced")
    if fault[0] == "lost_request":  # for two seconds it may still come, then the position goes (P2)
        second.log.wait("unprotected ")
    else:
        eventually(lambda: gateway.position(MGC) == 2 and [size for _, size in stops(gateway)] == [2])
        gateway.move(MGC, "4110.5")
    eventually(lambda: gateway.position(MGC) == 0 and gateway.orders() == [], 8, "flat")
    ends_well(gateway, second)


@pytest.mark.parametrize(("what", "fault"), LEAVING.values(), ids=LEAVING)
def test_killed_while_it_leaves(
    gateway: TopstepxSim, process: Callable[..., BotProcess], desk: Make, what: str, fault: Fault
) -> None:
    first = process().start()
    gateway.deal(MGC, Side.BUY, 2)
    first.log.wait("protected ")
    before = len(calls(gateway, what))
    gateway.fault(fault[0], **fault[1])
    gateway.move(MGC, "4110.5")
    eventually(has_come(gateway, what, before))
    first.kill()
    gateway.move(MGC, "4105")  # what was wanted is wanted still
    second = desk().start(until="account_synced")
    eventually(lambda: gateway.position(MGC) == 0 and gateway.orders() == [], 8, "flat")
    ends_well(gateway, second)


@pytest.mark.parametrize(("what", "fault"), KILLED.values(), ids=KILLED)
def test_killed_while_it_enters(
    gateway: TopstepxSim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desk: Make, what: str, fault: Fault
) -> None:
    """The run that is cut off here is a thread whose journal ends with the order that was sent."""
    first = desk(markets=[market(ENTER)]).start()
    gateway.fault(fault[0], **fault[1])
    gateway.move(MGC, "4101")
    eventually(has_come(gateway, what, 0))
    first.stop()
    gateway.move(MGC, "4102")
    with VenueWatch(gateway) as watch:
        second = desk(markets=[market(ENTER)]).start(until="account_synced")
        second.log.wait("order_settled" if fault[0] == "lost_request" else "account_synced", timeout_s=20)
        opened = 0 if fault[0] == "lost_request" else 2
        eventually(lambda: gateway.position(MGC) == opened and len(gateway.orders()) == opened)
        gateway.move(MGC, "4112")
        eventually(lambda: gateway.position(MGC) == 0 and gateway.orders() == [], 8, "flat")
    assert watch.naked_s < 2.3
    ends_well(gateway, second)


def ends_well(gateway: TopstepxSim, running: BotThread) -> None:
    assert running.stop() == 0
    assert sum(row["size"] * (1 if row["side"] == 0 else -1) for row in gateway.trades()) == 0
    assert gateway.orders() == []
    assert_sent_once(gateway)
    assert_only_down(gateway, running.log)
