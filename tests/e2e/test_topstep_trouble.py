"""What goes wrong at TopstepX while a position is open, and how the bot comes through."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.model import Side
from sim.__main__ import clock_us
from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import ENTER, MGC, calls, config, executed, market, stops
from tests.e2e.harness import BotThread, eventually, field
from tests.e2e.test_topstep_day import enter

Make = Callable[..., BotThread]
UP = "stream_up"


def test_tokens_that_end_with_a_position_open(gateway: TopstepxSim, desk: Make) -> None:
    """Both hubs are closed and every token refused: a new login, both streams back, the exit still works."""
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    logins = len(calls(gateway, "Auth/loginKey"))
    gateway.expire_tokens(close=True)
    running.log.wait(UP, 4)
    assert logins < len(calls(gateway, "Auth/loginKey")) <= logins + 3
    assert stops(gateway) and gateway.position(MGC) == 2
    gateway.move(MGC, "4112")
    running.log.wait("market_clean", 2)
    assert executed(gateway) == [(0, 2), (1, 2)] and gateway.orders() == []


def test_seventeen_closes_of_the_hubs(gateway: TopstepxSim, desk: Make) -> None:
    """As one recorded hour had them (page 3.5): each is survived, nothing is sent because of it."""
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    for number in range(17):
        gateway.move(MGC, "4102")
        gateway.set_balance(150_000 + number)  # each hub has said something: the backoff begins anew
        gateway.close_hubs("Connection closed with an error.", allow_reconnect=number % 2 == 0)
        running.log.wait(UP, 2 * number + 4)
    assert stops(gateway) and executed(gateway) == [(0, 2)]
    assert calls(gateway, "Order/place", "Order/cancel") == ["Order/place"]
    gateway.move(MGC, "4112")
    running.log.wait("market_clean", 2)
    assert gateway.position(MGC) == 0 and gateway.orders() == []


def test_a_restart_with_an_open_bracket(gateway: TopstepxSim, desk: Make) -> None:
    """The stop rests while the bot is away; back, it knows both children and its trail, and sends nothing."""
    rules = market(ENTER, trailing_stop_ticks=20, trailing_activate_ticks=20, trailing_step_ticks=5)
    first = desk(markets=[rules]).start()
    enter(gateway, first)
    gateway.move(MGC, "4106")
    eventually(lambda: stops(gateway) == [(4104, 2)])
    assert first.stop() == 0
    assert "venue keeps this stop" in first.log.wait("left_protected")

    before = calls(gateway, "Order/place", "Order/modify", "Order/cancel")
    second = desk(markets=[rules]).start(until="account_synced")
    second.log.wait("position_remembered")
    gateway.move(MGC, "4105")  # a price below the best one must not loosen the trail
    eventually(lambda: second.log.lines("price=4105"))
    assert stops(gateway) == [(4104, 2)]
    assert calls(gateway, "Order/place", "Order/modify", "Order/cancel") == before
    gateway.move(MGC, "4103.9")
    second.log.wait("position_closed")
    eventually(lambda: gateway.orders() == [] and gateway.position(MGC) == 0)


def test_what_happened_while_it_was_away_is_found(gateway: TopstepxSim, desk: Make) -> None:
    first = desk(markets=[market(ENTER)]).start()
    enter(gateway, first)
    first.stop()
    gateway.move(MGC, "4090")  # the stop fires with nobody there
    assert gateway.position(MGC) == 0
    second = desk(markets=[market(ENTER)]).start()
    second.log.wait("position_closed")
    assert gateway.orders() == [] and executed(gateway) == [(0, 2), (1, 2)]


def test_prices_are_polled_while_the_market_hub_is_away(gateway: TopstepxSim, desk: Make) -> None:
    running = desk(markets=[market(ENTER)]).start()
    gateway.fault("refuse_sockets", status=503)
    gateway.drop_connections()
    running.log.wait("Falling back to REST polling")
    running.log.wait("fallback_declared")
    gateway.server
    gateway.call(lambda server: server.clear_fault("refuse_sockets"))
    running.log.wait("WebSocket restored, REST polling stopped")


def test_a_hub_that_is_switched_off_is_polled(gateway: TopstepxSim, desk: Make) -> None:
    """hubs.user false: fills and orders come over REST, and the position is protected all the same."""
    running = desk(markets=[market(ENTER)], hubs={"market": True, "user": False}).start()
    gateway.move(MGC, "4101")
    running.log.wait("protected ", timeout_s=20)
    assert len(stops(gateway)) == 1 and not calls(gateway, "SubscribeOrders")
    gateway.move(MGC, "4112")
    running.log.wait("market_clean", 2, timeout_s=20)
    assert gateway.orders() == [] and gateway.position(MGC) == 0


@pytest.mark.parametrize("user", [True, False])
def test_without_the_market_hub_a_hand_is_protected_all_the_same(gateway: TopstepxSim, desk: Make, user: bool) -> None:
    """hubs.market false: prices are polled; with both off so are fills, orders and the position."""
    running = desk(hubs={"market": False, "user": user})
    running.begin()
    running.log.wait("market_clean")
    gateway.deal(MGC, Side.BUY, 1)
    running.log.wait("protected ", timeout_s=20)
    assert len(stops(gateway)) == 1 and not calls(gateway, "SubscribeContractQuotes", "SubscribeContractTrades")
    assert bool(calls(gateway, "SubscribeOrders")) is user
    gateway.move(MGC, "4088")
    running.log.wait("market_clean", 2, timeout_s=20)
    assert gateway.position(MGC) == 0 and gateway.orders() == []


def test_data_a_quarter_of_an_hour_old_are_named_within_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TopstepxSim(seed=1, delay_s=900, delay_what="both", paused=False) as late:
        running = BotThread(tmp_path, config(late, markets=[market(ENTER)]), monkeypatch)
        running.begin()
        running.log.wait("verdict=delayed", timeout_s=20)
        assert not late.trades()
        running.stop()
        running.log.check()


def test_two_positions_one_of_them_not_in_the_config(gateway: TopstepxSim, desk: Make) -> None:
    running = desk(markets=[market(ENTER)]).start()
    gateway.deal("MES", Side.BUY, 1)
    assert "MES" in running.log.wait("position_unmanaged")
    mes = gateway.contract("MES")
    eventually(lambda: ["GatewayQuote", mes] in gateway.subscriptions(), what="its prices are watched")


def denied_entry(gateway: TopstepxSim, running: BotThread) -> str:
    """The line of an entry that the bot refuses itself, once prices ask for one."""
    count = len(running.log.lines("order_denied")) + 1
    for _ in range(4):  # a bar of a second may be cut short by a clock that is known to half a second
        gateway.move(MGC, "4100")
        gateway.move(MGC, "4101")
        if running.log.comes("order_denied", count, within_s=2.5):
            break
    return running.log.wait("order_denied", count)


def test_the_prop_rules_close_before_the_venue_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Combine account at noon in Chicago, a daily limit of our own: everything goes, and the day is over."""
    noon_us = clock_us("2026-11-24T12:00:00-06:00")
    with TopstepxSim(seed=1, clock_us=noon_us, real_hours=True) as gateway:
        gateway.move(MGC, "4100")
        changes = {
            "account": str(gateway.combine_id),
            "markets": [market(ENTER, stop_loss_ticks=200, take_profit_ticks=None)],
            "prop_rules": {"preset": "combine_50k", "own_daily_loss": 60},
        }
        running = BotThread(tmp_path, config(gateway, **changes), monkeypatch).start()
        running.log.wait("clock_offset")
        gateway.deal(MGC, Side.BUY, 2, price="4101", account=gateway.combine_id)  # by hand, larger than the room left
        running.log.wait("protected ")
        gateway.move(MGC, "4098.4")  # two contracts, 2.7 each: 54, and the way out
        assert field(running.log.wait("prop_limit"), "limit") == "own_daily_loss"
        running.log.wait("market_clean", 2)
        assert gateway.position(MGC, gateway.combine_id) == 0 and gateway.orders(gateway.combine_id) == []
        assert "locked" in denied_entry(gateway, running)
        status = eventually(lambda: (running.status().get("prop") or {}).get("locked") and running.status())
        assert status["prop"]["locked"] == "own_daily_loss" and status["prop"]["limits"]["max_loss_limit"]["dollars"]
        running.stop()
        again = BotThread(tmp_path, config(gateway, **changes), monkeypatch).start()  # a restart forgets none of it
        eventually(lambda: (again.status().get("prop") or {}).get("locked") == "own_daily_loss")
        assert "locked" in denied_entry(gateway, again)
        assert gateway.position(MGC, gateway.combine_id) == 0
        again.stop()
        again.log.check()


def test_a_walk_to_the_venues_own_floor_ends_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Combine as the venue guards it: a touch of its maximum loss limit would end the account for good."""
    noon_us = clock_us("2026-11-24T12:00:00-06:00")
    with TopstepxSim(seed=1, clock_us=noon_us, real_hours=True) as gateway:
        gateway.move(MGC, "4100")
        changes = {
            "account": str(gateway.combine_id),
            "markets": [market(stop_loss_ticks=250, take_profit_ticks=None)],
            "prop_rules": {"preset": "combine_50k", "daily_loss_limit": None},
            "risk": {"max_daily_loss": None, "max_price_age_s": 10},
        }
        running = BotThread(tmp_path, config(gateway, **changes), monkeypatch).start()
        running.log.wait("clock_offset")
        gateway.deal(MGC, Side.BUY, 10, price="4100", account=gateway.combine_id)
        running.log.wait("protected ")
        price = 41_000  # tenths
        while gateway.position(MGC, gateway.combine_id) and price > 40_800:
            price -= 4  # as much as the guard allows for between two looks
            gateway.move(MGC, f"{price / 10:.1f}")
            shown = f"price={price / 10:.1f}".removesuffix(".0")
            eventually(
                lambda shown=shown: running.log.lines(shown) or not gateway.position(MGC, gateway.combine_id),  # type: ignore[misc]
                what=shown,
            )
            if running.log.lines("prop_limit"):
                running.log.wait("market_clean", 2)
        assert field(running.log.wait("prop_limit"), "limit") == "max_loss_limit"
        assert gateway.balance(gateway.combine_id) > 48_000 and gateway.account(gateway.combine_id)["canTrade"]
        assert executed(gateway) == [] and gateway.orders(gateway.combine_id) == []
        running.stop()
        running.log.check()
