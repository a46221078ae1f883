"""One round of `flatten`, when the account is no longer what was read a moment ago (P4)."""

from collections.abc import Callable, Iterator
from decimal import Decimal as D

import pytest

from core.model import Side
from hyperliquid_client import HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import SystemClock
from sim.server import SimServer
from venues.hyperliquid.signing import Signer
from wiring.flatten import HyperliquidFlattener

SIGNER = Signer("0x" + "7c" * 32, mainnet=False)
ACCOUNT = SIGNER.address


@pytest.fixture
def sim() -> Iterator[SimServer]:
    with SimServer(seed=1) as sim:
        sim.fund(ACCOUNT)
        sim.set_price("BTC", "50000")
        yield sim


def by_hand(sim: SimServer) -> None:
    sim.deal(ACCOUNT, "BTC", Side.SELL, "0.02")


def by_its_stop(sim: SimServer) -> None:
    sim.move("BTC", "49400")


@pytest.mark.parametrize("close", [by_hand, by_its_stop])
def test_what_has_closed_meanwhile_is_not_closed_again(sim: SimServer, close: Callable[[SimServer], None]) -> None:
    """Between the read and the close the position goes: the close must not open the other side."""
    clock = SystemClock()
    client = HyperliquidClient(sim.url, SIGNER, ACCOUNT, clock=clock, budget=WeightBudget(clock))
    flattener = HyperliquidFlattener(client, client.instruments(), clock)
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.02")
    sim.place(ACCOUNT, "BTC", Side.SELL, trigger="49500")
    account, said = client.account(), []
    assert account.positions and account.orders
    close(sim)
    assert sim.position(ACCOUNT, "BTC") == 0
    flattener.round(account, said.append)
    assert sim.position(ACCOUNT, "BTC") == 0 and said == ["close BTC 0.02: OrderRejected"]
    flattener.round(client.account(), said.append)
    assert sim.orders(ACCOUNT) == [] and sim.position(ACCOUNT, "BTC") == D(0)
    client.close()
