"""Sessions, the cut-off, lock-outs, rolls and limits of the simulated TopstepX: protocol page 6."""

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from core.model import Side
from sim.topstepx_guard import Programme, breach, end_of_day
from sim.topstepx_sessions import NOT_ACTIVE, OUTSIDE, chicago, closed, is_flatten_time, morning_of, trading_day
from sim.topstepx_sim import TopstepxSim
from tests.sim.topstepx.conftest import Gateway


def us(text):
    return int(datetime.fromisoformat(text).timestamp() * 1e6)


@pytest.mark.parametrize(
    "moment, hours, expected",
    [
        ("2026-11-20T09:30-06:00", "globex", None),
        ("2026-11-20T15:09:59-06:00", "globex", None),
        ("2026-11-19T15:10-06:00", "globex", NOT_ACTIVE),
        ("2026-11-19T16:59:59-06:00", "globex", NOT_ACTIVE),
        ("2026-11-19T17:00-06:00", "globex", None),
        ("2026-07-01T15:09:59-05:00", "globex", None),  # daylight saving
        ("2026-07-01T15:10-05:00", "globex", NOT_ACTIVE),
        ("2026-11-20T16:00-06:00", "globex", OUTSIDE),  # Friday
        ("2026-11-20T17:00-06:00", "globex", OUTSIDE),
        ("2026-11-21T12:00-06:00", "globex", OUTSIDE),
        ("2026-11-22T16:59-06:00", "globex", OUTSIDE),
        ("2026-11-22T17:00-06:00", "globex", None),  # Sunday evening
        ("2026-11-26T11:44-06:00", "globex", None),  # Thanksgiving
        ("2026-11-26T11:45-06:00", "globex", NOT_ACTIVE),
        ("2026-11-26T17:00-06:00", "globex", None),
        ("2026-12-24T12:00-06:00", "globex", NOT_ACTIVE),
        ("2026-12-24T17:00-06:00", "globex", OUTSIDE),
        ("2026-12-25T10:00-06:00", "globex", OUTSIDE),
        ("2026-11-20T08:00-06:00", "grains", OUTSIDE),
        ("2026-11-20T13:20-06:00", "grains", OUTSIDE),
        ("2026-11-20T13:19-06:00", "grains", None),
        ("2026-11-20T08:29-06:00", "livestock", OUTSIDE),
        ("2026-11-20T13:04-06:00", "livestock", None),
    ],
)
def test_what_is_open(moment, hours, expected):
    assert closed(us(moment), hours) == expected


@pytest.mark.parametrize(
    "moment, hours, expected",
    [
        ("2026-11-20T15:09:49-06:00", "globex", False),
        ("2026-11-20T15:09:51-06:00", "globex", True),
        ("2026-11-20T07:50-06:00", "grains", False),  # a pause, not the end of the day
        ("2026-11-20T13:19:51-06:00", "grains", True),
    ],
)
def test_when_the_platform_flattens(moment, hours, expected):
    assert is_flatten_time(us(moment), hours) is expected


@pytest.mark.parametrize(
    "now, morning",
    [
        ("2026-11-20T22:00+00:00", "2026-11-20T09:30-06:00"),
        ("2026-11-22T03:00+00:00", "2026-11-20T09:30-06:00"),  # Saturday in Chicago
        ("2026-11-27T18:00+00:00", "2026-11-25T09:30-06:00"),  # two short days before it
        ("2026-07-04T18:00+00:00", "2026-07-02T09:30-05:00"),
    ],
)
def test_the_session_clock_starts_on_an_ordinary_morning(now, morning):
    assert morning_of(us(now)) == us(morning)


def test_a_trading_day_begins_at_five():
    assert trading_day(us("2026-11-19T16:59-06:00")).day == 19 and trading_day(us("2026-11-19T17:00-06:00")).day == 20


def test_a_newcomer_can_trade_at_any_hour_with_true_timestamps():
    with TopstepxSim() as sim:
        user = Gateway(sim)
        row = user.look(user.order()["orderId"])
        apart = datetime.now(UTC) - datetime.fromisoformat(row["creationTimestamp"])
        assert abs(apart.total_seconds()) < 5
        assert chicago(sim.call(lambda server: server.venue.session_us())).hour == 9


def test_the_clock_can_be_set():
    at = us("2026-11-21T12:00-06:00") - int(datetime.now(UTC).timestamp() * 1e6)
    with TopstepxSim(clock_us=at, real_hours=True) as sim:
        user = Gateway(sim)
        answer = user.order()
        assert (answer["errorCode"], answer["errorMessage"]) == (2, OUTSIDE)
        assert user.look(answer["orderId"])["creationTimestamp"].startswith("2026-11-21T18:00")
        assert sim.contract("MGC").endswith("Z26")


def test_the_cut_off_cancels_flattens_and_refuses(user, events):
    sim = user.sim
    _, stop, target = user.open_bracket()
    sim.set_session("2026-11-19T15:09:45-06:00")
    assert sim.position("MGC") == 1 and user.order(kind=1, limitPrice=4090)["success"]
    sim.set_session("2026-11-19T15:09:51-06:00")
    sim.wait_until(lambda: sim.position("MGC") == 0)
    assert [user.status(o["id"]) for o in (stop, target)] == [3, 3] and sim.orders() == []
    sim.set_session("2026-11-19T15:10:00-06:00")
    answer = user.order()
    assert (answer["errorCode"], answer["errorMessage"]) == (2, NOT_ACTIVE) and user.status(answer["orderId"]) == 5
    sim.set_session("2026-11-19T17:00:01-06:00")
    assert user.order()["success"]


def test_grains_stop_earlier(user):
    user.sim.deal("ZC", Side.BUY)
    user.sim.deal("MGC", Side.BUY)
    user.sim.set_session("2026-11-19T13:20:00-06:00")
    user.sim.wait_until(lambda: user.sim.position("ZC") == 0)
    assert user.sim.position("MGC") == 1 and user.order()["success"]
    assert user.order("ZC")["errorMessage"] == OUTSIDE


def test_quotes_stand_still_in_the_break(sim):
    def quote():
        return sim.call(lambda server: server.venue.market(server.venue.contract("MGC")).quote)

    sim.set_session("2026-11-19T16:30:00-06:00")
    before = quote()
    sim.step(50)
    assert quote() == before
    sim.set_session("2026-11-19T15:30:00-06:00")  # orders fail, quotes flow
    sim.step(50)
    assert quote() != before


def test_lock_out(user, events):
    sim = user.sim
    _, stop, _ = user.open_bracket()
    sim.fault("lock_out", account=sim.practice_id)
    while (row := events.until("GatewayUserAccount")[0]["data"])["canTrade"]:
        pass
    sim.wait_until(lambda: sim.position("MGC") == 0)
    assert user.status(stop["id"]) == 3
    accounts = {a["id"]: a for a in user.call("Account/search", onlyActiveAccounts=True)["accounts"]}
    assert (accounts[row["id"]]["canTrade"], accounts[sim.combine_id]["canTrade"]) == (False, True)
    answer = user.order()
    assert answer["errorCode"] == 4 and user.status(answer["orderId"]) == 5
    sim.lock(locked=False)
    assert user.order()["success"]


def test_a_replaced_account(user):
    sim = user.sim
    new = sim.replace_account(sim.combine_id)
    active = {a["id"]: a for a in user.call("Account/search", onlyActiveAccounts=True)["accounts"]}
    assert active.keys() == {sim.practice_id, new} and active[new]["balance"] == 50_000
    everything = {a["id"]: a for a in user.call("Account/search", onlyActiveAccounts=False)["accounts"]}
    old = everything[sim.combine_id]
    assert (old["canTrade"], old["isVisible"]) == (False, False) and old["name"] != active[new]["name"]
    user.account = sim.combine_id
    assert user.order()["errorCode"] == 1


def test_a_roll(user):
    sim, old = user.sim, user.sim.contract("MGC")
    _, stop, _ = user.open_bracket()
    new = sim.roll("MGC")
    ids = [c["id"] for c in user.call("Contract/available", live=False)["contracts"] if c["symbolId"] == "F.US.MGC"]
    assert ids == [new] != [old]
    assert user.call("Contract/searchById", contractId=old)["contract"]["activeContract"] is False
    assert user.order()["success"]  # on the new month
    sim.trade(old, "4096")  # the old one still trades, its stop still works
    assert user.status(stop["id"]) == 2
    assert user.ask("Position/closeContract", contractId=old)["errorCode"] == 2


# --- the programme's limits -------------------------------------------------------------------------------------------


def test_the_floor_of_a_combine():
    programme = Programme(D(50_000), D(2_000))
    floors = []
    for balance in (51_200, 50_700, 52_300, 53_000):
        end_of_day(programme, D(balance))
        floors.append(programme.floor)
    assert floors == [49_200, 49_200, 50_000, 50_000]


@pytest.mark.parametrize(
    "equity, daily, expected",
    [
        ("48000.01", None, None),
        ("48000", None, "maximum loss limit"),
        ("49000.01", "1000", None),
        ("49000", "1000", "daily loss limit"),
    ],
)
def test_a_touch_is_enough(equity, daily, expected):
    programme = Programme(D(50_000), D(2_000), None if daily is None else D(daily))
    assert breach(programme, D(equity)) == expected


def test_the_venue_liquidates_a_combine_at_its_floor(user):
    sim = user.sim
    user.account = sim.combine_id
    sim.deal("MGC", Side.BUY, 10, "4100", account=sim.combine_id)
    sim.move("MGC", "4081")  # 1910 down with the bid
    assert sim.position("MGC", sim.combine_id) == 10
    sim.move("MGC", "4080")
    sim.wait_until(lambda: sim.position("MGC", sim.combine_id) == 0)
    assert sim.account(sim.combine_id)["canTrade"] is False and sim.balance(sim.combine_id) < 48_000
    assert user.order()["errorCode"] == 4
    sim.set_session("2026-11-19T17:00:01-06:00")
    assert user.order()["errorCode"] == 4  # failed for good
