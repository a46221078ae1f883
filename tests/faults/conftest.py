import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

import wiring
from runtime.budget import WeightBudget
from tests.e2e.conftest import bot, desk, gateway, noon_gateway, own_world, sim
from tests.faults.row import Variant
from tests.faults.stand import FutureStand, PerpetualStand, Stand, Unlimited

__all__ = ["bot", "desk", "gateway", "noon_gateway", "own_world", "sim"]

MakeStand = Callable[[str, Variant], AbstractContextManager[Stand]]


@pytest.fixture
def stand_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MakeStand:
    """Makes a stand before a venue, to be used with `with`; only that venue's simulator runs.

    The faults of the venue that are given with it are there before the bot starts.
    """
    monkeypatch.setattr(wiring.topstep, "RequestLimits", Unlimited)
    monkeypatch.setattr(wiring.hyperliquid, "WeightBudget", functools.partial(WeightBudget, capacity=9_000))
    Unlimited.made.clear()

    def make(venue: str, before: Variant) -> AbstractContextManager[Stand]:
        kind: Any = PerpetualStand if venue == "hyperliquid" else FutureStand
        server, bots = ("sim", "bot") if venue == "hyperliquid" else ("gateway", "desk")
        stand: Stand = kind(request.getfixturevalue(server), request.getfixturevalue(bots), monkeypatch)
        for fault in before:
            stand.sim.fault(fault.name, **fault.args)
        return contextlib.closing(stand.start())

    return make
