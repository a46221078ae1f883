"""A venue, and a hand on its platform, that work against the bot: at each step of an entry and of an exit."""

from collections.abc import Callable
from typing import Any

import pytest

from core.model import Side
from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import ENTER, MGC, calls, market, stops
from tests.e2e.harness import BotThread, eventually
from tests.e2e.test_topstep_day import enter
from tests.e2e.venue_watch import VenueWatch, assert_only_down, assert_sent_once

Make = Callable[..., BotThread]
Do = Callable[[TopstepxSim], object]


def is_over(gateway: TopstepxSim) -> bool:
    return gateway.position(MGC) == 0 and not gateway.orders()


# --- an entry with its bracket ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "args"),
    [
        ("late_children", {"ms": 500}),
        ("partial_fill", {"ms": 200}),
        ("fill_before_ack", {"ms": 300}),
        ("late_user_frames", {"ms": 500}),
        ("late_order", {"action": "Order/place", "ms": 300, "times": 1}),
        ("pending", {"action": "Order/place", "times": 1}),
        ("partial_json", {"action": "Order/place", "times": 1}),
        ("stall", {"hub": "user", "for_s": 2}),
        ("null_payload", {"channel": "GatewayUserOrder"}),
        ("null_payload", {"channel": "GatewayUserTrade"}),
        ("no_children", {}),
    ],
)
def test_an_entry(gateway: TopstepxSim, desk: Make, fault: str, args: dict[str, Any]) -> None:
    running = desk(markets=[market(ENTER)]).start()
    with VenueWatch(gateway) as watch:
        gateway.fault(fault, **args)
        gateway.move(MGC, "4101")
        eventually(lambda: [size for _, size in stops(gateway)] == [2], what="a stop of two")
        gateway.clear_fault()
        gateway.move(MGC, "4112")
        eventually(lambda: is_over(gateway), 8, "flat, nothing works")
    running.log.wait("market_clean", 2)
    ends_well(gateway, running, watch)


def test_brackets_refused_in_mid_session(gateway: TopstepxSim, desk: Make) -> None:
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    gateway.move(MGC, "4112")
    running.log.wait("market_clean", 2)
    gateway.fault("position_brackets")
    with VenueWatch(gateway) as watch:
        gateway.move(MGC, "4101")
        running.log.wait("brackets_refused")
        gateway.move(MGC, "4100")
        gateway.move(MGC, "4101")
        running.log.wait("protected ", 2)
        eventually(lambda: len(gateway.orders()) == 2)
        gateway.move(MGC, "4112")
        eventually(lambda: is_over(gateway), what="the target has filled, the stop is gone")
    ends_well(gateway, running, watch)


# --- while holding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "do",
    [
        pytest.param(lambda gateway: gateway.fault("venue_cancels"), id="the venue cancels everything"),
        pytest.param(lambda gateway: gateway.cancel(), id="a hand cancels everything"),
        pytest.param(lambda gateway: gateway.drop_connections(), id="both hubs drop"),
        pytest.param(lambda gateway: gateway.expire_tokens(close=True), id="the token ends"),
        pytest.param(lambda gateway: gateway.deal(MGC, Side.BUY, 3), id="a hand adds"),
        pytest.param(lambda gateway: gateway.deal(MGC, Side.SELL, 1), id="a hand takes off"),
        pytest.param(lambda gateway: gateway.deal(MGC, Side.SELL, 5), id="a hand turns it round"),
    ],
)
def test_while_holding(gateway: TopstepxSim, desk: Make, do: Do) -> None:
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    with VenueWatch(gateway) as watch:
        do(gateway)
        eventually(lambda: [size for _, size in stops(gateway)] == [abs(gateway.position(MGC))], what="one exact stop")
        price = 4090 if gateway.position(MGC) > 0 else 4112
        gateway.move(MGC, price)
        eventually(lambda: is_over(gateway), what="flat, nothing works")
    ends_well(gateway, running, watch)


# --- an exit in flight ------------------------------------------------------------------------------------------------

STEPS = ("Order/cancel", "Position/searchOpen", "Order/place")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "do",
    [
        pytest.param(lambda gateway: gateway.deal(MGC, Side.SELL, 1), id="a hand takes off"),
        pytest.param(lambda gateway: gateway.deal(MGC, Side.SELL, 2), id="a hand closes"),
        pytest.param(lambda gateway: gateway.deal(MGC, Side.BUY, 1), id="a hand adds"),
        pytest.param(lambda gateway: gateway.expire_tokens(), id="the token ends"),
        pytest.param(lambda gateway: gateway.drop_connections(), id="both hubs drop"),
        pytest.param(lambda gateway: gateway.close_hubs("bye", None, "user"), id="the user hub closes"),
        pytest.param(lambda gateway: gateway.fault("venue_cancels"), id="the venue cancels everything"),
        pytest.param(lambda gateway: gateway.fault("http_429", times=6), id="429"),
    ],
)
def test_while_leaving(gateway: TopstepxSim, desk: Make, do: Do, step: str) -> None:
    """A step's answer is held back while something else happens. What a hand holds after that is protected."""
    running = desk().start()
    with VenueWatch(gateway) as watch:
        gateway.deal(MGC, Side.BUY, 2)
        running.log.wait("protected ")
        eventually(lambda: len(calls(gateway, "Trade/search")) > 0)
        before = len(calls(gateway, step))
        gateway.fault("slow_answer", action=step, ms=300, times=1)
        gateway.move(MGC, "4110.5")
        eventually(lambda: len(calls(gateway, step)) > before, what=f"it is at {step}")
        do(gateway)
        eventually(lambda: is_settled(gateway), 8, "flat, or what a hand holds has its stop")
        gateway.clear_fault()
        if gateway.position(MGC):
            gateway.move(MGC, 4080 if gateway.position(MGC) > 0 else 4150)
        eventually(lambda: is_over(gateway), 8, "flat, nothing works")
    assert watch.naked_s < 7.5 and watch.loose_s < 2
    assert_sent_once(gateway)
    assert running.stop() == 0
    tags = [order["customTag"] for order in gateway.history() if order["type"] == 2 and order["customTag"]]
    assert len(tags) <= 3, "as many closes as it takes"


def is_settled(gateway: TopstepxSim) -> bool:
    held = abs(gateway.position(MGC))
    return [size for _, size in stops(gateway)] == ([held] if held else [])


# --- the account ------------------------------------------------------------------------------------------------------


def test_an_account_that_is_replaced_is_not_followed(gateway: TopstepxSim, desk: Make) -> None:
    """No other account is traded in its place (page 2.2), now or after a restart."""
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    new = gateway.replace_account()
    running.log.wait("halted")
    running.log.wait("market_clean", 2)
    gateway.move(MGC, "4100")
    gateway.move(MGC, "4101")
    assert "locked" in running.log.wait("order_denied")
    running.stop()
    again = desk(markets=[market(ENTER)])
    again.begin()
    again.log.wait("account_locked", 2)
    assert gateway.history(new) == []


def test_a_stop_that_is_asked_for_while_it_starts(gateway: TopstepxSim, desk: Make) -> None:
    gateway.fault("http_slow", ms=200, times=3)
    running = desk()
    running.begin()
    assert running.stop() == 0


@pytest.mark.parametrize("hub", ["market", "user", None])
def test_hubs_away_while_holding(gateway: TopstepxSim, desk: Make, hub: str | None) -> None:
    """Prices and fills come over REST: the stop is kept, the exit works, and what a hand opens is protected."""
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    args = {} if hub is None else {"hub": hub}
    with VenueWatch(gateway) as watch:
        gateway.fault("refuse_sockets", status=503, **args)
        gateway.drop_connections(hub)
        running.log.wait("WebSocket connection closed")
        gateway.move(MGC, "4112")
        eventually(lambda: is_over(gateway), what="the target has filled")
        running.log.wait("market_clean", 2, timeout_s=8)
    gateway.clear_fault()
    running.log.wait("stream_up", 3 if hub else 4, timeout_s=8)
    ends_well(gateway, running, watch)


def ends_well(gateway: TopstepxSim, running: BotThread, watch: VenueWatch) -> None:
    assert watch.naked_s < 2.3 and watch.loose_s < 2, (watch.naked_s, watch.loose_s)
    assert_sent_once(gateway)
    assert_only_down(gateway, running.log)
    assert running.stop() == 0
