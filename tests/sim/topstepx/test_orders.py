"""Orders, brackets, positions and trades of the simulated TopstepX: protocol page 2.5 to 2.10 and 8."""

import itertools
from datetime import datetime, timedelta
from decimal import Decimal as D

import pytest

from core.model import Side
from sim.control import ControlError
from sim.topstepx_checks import NEEDS_OCO
from tests.sim.topstepx.conftest import LONG_AGO

REFUSED = {"success": False, "errorMessage": None}


def refusal(answer):
    assert answer["success"] is False
    return answer["errorCode"], answer["errorMessage"]


# --- placing ----------------------------------------------------------------------------------------------------------


def test_a_market_order_is_taken_then_fills_at_the_touch(user, events):
    answer = user.order(customTag="one")
    order_id = answer.pop("orderId")
    assert answer == {"success": True, "errorCode": 0, "errorMessage": None} and order_id > 2**31
    states = [events.until("GatewayUserOrder")[0]["data"] for _ in range(2)]
    assert [s["status"] for s in states] == [6, 2] and states[1]["filledPrice"] == 4100.1
    row = user.look(order_id)
    assert (row["status"], row["fillVolume"], row["filledPrice"], row["customTag"]) == (2, 1, 4100.1, "one")
    assert row["limitPrice"] is None and row["updateTimestamp"] == row["creationTimestamp"]
    assert not {"parentOrderId", "linkedOrderId", "trailPrice", "trailDistance"} & row.keys()
    fill = events.until("GatewayUserTrade")[0]["data"]
    waited = datetime.fromisoformat(fill["creationTimestamp"]) - datetime.fromisoformat(row["creationTimestamp"])
    assert timedelta(milliseconds=8) <= waited <= timedelta(milliseconds=30)


def test_ids_ascend_and_brackets_take_two_more(user):
    ids = [user.order()["orderId"] for _ in range(30)]
    steps = {b - a for a, b in itertools.pairwise(ids)}
    assert 1 in steps and max(steps) > 1 and min(steps) == 1  # an occasional gap
    entry = user.bracketed()["orderId"]
    stop, target = user.children(entry)
    assert entry < stop["id"] < target["id"]


@pytest.mark.parametrize(
    "fields, code, text",
    [
        ({"size": 0}, 2, "Invalid order size (0)."),
        ({"kind": 9}, 2, "Invalid order type (9)."),
        ({"kind": 1, "limitPrice": 4000.05}, 2, "Invalid limit price"),
        ({"kind": 1}, 2, "Invalid limit price"),
        ({"kind": 1, "limitPrice": 4000}, 2, "Invalid price. Price is outside allowed range."),
        ({"kind": 4, "side": 1, "stopPrice": 4057}, 2, "Invalid price. Price is outside allowed range."),
        ({"kind": 4, "side": 1, "stopPrice": 4099.9}, 2, "Invalid stop price"),
        ({"kind": 4, "side": 1, "stopPrice": 4090.05}, 2, "Invalid stop price"),
        ({"kind": 4, "side": 0, "stopPrice": 4100.1}, 2, "Invalid stop price"),
        ({"kind": 5, "side": 1}, 2, "Trail Distance not set."),
        ({"kind": 5, "side": 1, "trailPrice": 4090.05}, 2, "Invalid trail price. Price is not aligned to tick size."),
        ({"kind": 5, "side": 1, "trailPrice": 3999.9}, 2, "Trail Distance exceeds maximum (1000)"),
    ],
)
def test_a_refused_order_is_stored_with_an_id_and_status_5(user, events, fields, code, text):
    answer = user.order(customTag="bad", **fields)
    assert refusal(answer) == (code, text)
    row = user.look(answer["orderId"])
    assert (row["status"], row["customTag"]) == (5, "bad")
    assert events.until("GatewayUserOrder")[0]["data"]["status"] == 5
    assert refusal(user.order(customTag="bad")) == (2, "Specified custom tag is already in use")


def test_a_tag_is_used_up_for_ever(user):
    first = user.order(customTag="t")["orderId"]
    again = user.order(customTag="t")
    assert refusal(again)[0] == 2 and again["orderId"] != first and user.status(again["orderId"]) == 5
    user.account = user.sim.combine_id
    assert user.order(customTag="t")["success"]  # unique per account


def test_unknown_contract_account_and_month(user):
    assert user.order() and user.ask("Order/place", contractId="CON.F.US.XX.Z26", type=2, side=0, size=1) == {
        "orderId": None,
        "errorCode": 8,
        **REFUSED,
    }
    old = user.sim.contract("MGC")
    user.sim.roll("MGC")
    assert refusal(user.ask("Order/place", contractId=old, type=2, side=0, size=1)) == (9, None)
    user.account = 1
    assert refusal(user.order()) == (1, None)


# --- brackets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side, stop, target, prices", [(0, -40, 80, (4096.1, 4108.1)), (1, 40, -80, (4103.9, 4091.9))])
def test_life_of_a_bracket(user, events, side, stop, target, prices):
    entry = user.bracketed(stop, target, side=side, customTag="b")["orderId"]
    first, second = user.children(entry)
    seen = []
    while len(seen) < 6:
        row = events.until("GatewayUserOrder")[0]["data"]
        seen.append((row["id"], row["status"], row.get("stopPrice"), row.get("limitPrice")))
    assert seen == [
        (entry, 6, None, None),
        (first["id"], 8, None, None),
        (second["id"], 8, None, None),
        (entry, 2, None, None),
        (first["id"], 1, prices[0], None),
        (second["id"], 1, None, prices[1]),
    ]
    loss, gain = user.children(entry)
    assert (loss["type"], loss["customTag"], loss["parentOrderId"]) == (4, "b-SL", entry) and loss["side"] == 1 - side
    assert (gain["type"], gain["customTag"], gain["linkedOrderId"]) == (1, "b-TP", loss["id"])
    assert "linkedOrderId" not in loss and "trailPrice" not in loss


@pytest.mark.parametrize(
    "fields, text",
    [
        ({"stop": 40}, "Invalid stop loss ticks (40). Ticks should be less than zero when longing."),
        ({"target": -30}, "Invalid take profit ticks (-30). Ticks should be greater than zero when longing."),
        ({"side": 1, "stop": 40, "target": 30}, "Invalid take profit ticks (30). Ticks should be less than zero when "),
        ({"side": 1, "stop": -40, "target": -30}, "Invalid stop loss ticks (-40). Ticks should be greater than zero"),
        ({"stop": -3}, "Invalid stop loss ticks (-3). Price should be at least 4 ticks away."),
        ({"stop": 0}, "Invalid stop loss ticks (0). Price should be at least 4 ticks away."),
        ({"target": 3}, "Invalid take profit ticks (3). Price should be at least 4 ticks away."),
    ],
)
def test_wrong_ticks(user, fields, text):
    answer = user.bracketed(**fields)
    assert refusal(answer)[0] == 2 and answer["errorMessage"].startswith(text)
    assert user.status(answer["orderId"]) == 5 and user.children(answer["orderId"]) == []


def test_types_of_brackets(user):
    wrong = user.order(stopLossBracket={"ticks": -40, "type": 1})
    assert refusal(wrong) == (2, "Invalid stop loss type (Limit)")
    alone = user.order(stopLossBracket={"ticks": -4, "type": 5})["orderId"]
    user.settle(alone, 2)
    (child,) = user.sim.wait_until(lambda: [c for c in user.children(alone) if c["status"] == 1])
    assert (child["type"], child["trailDistance"], child["trailPrice"]) == (5, -4, D("-0.4"))


def test_position_brackets_refuse_the_pair(user):
    user.sim.set_brackets("position")
    answer = user.bracketed()
    assert refusal(answer) == (2, NEEDS_OCO) and user.status(answer["orderId"]) == 5
    assert user.order()["success"]
    user.sim.set_brackets("auto-oco")
    user.sim.fault("position_brackets", times=1)
    assert refusal(user.bracketed()) == (2, NEEDS_OCO)
    assert user.bracketed()["success"]


@pytest.mark.parametrize("price, fills, dies", [("4096.1", "stop", "target"), ("4108.2", "target", "stop")])
def test_one_child_fills_the_other_goes_a_moment_later(user, price, fills, dies):
    _, stop, target = user.open_bracket()
    pair = {"stop": stop["id"], "target": target["id"]}
    user.sim.trade("MGC", price)
    filled = user.look(pair[fills])
    assert filled["status"] == 2 and filled["filledPrice"] == (filled["stopPrice"] or filled["limitPrice"])
    gone = user.settle(pair[dies], 3)
    trade = user.sim.trades()[-1]
    waited = datetime.fromisoformat(gone["updateTimestamp"]) - datetime.fromisoformat(trade["creationTimestamp"])
    assert timedelta(milliseconds=11) <= waited <= timedelta(milliseconds=14)
    assert user.sim.position("MGC") == 0 and user.sim.orders() == []


def test_a_close_leaves_the_children_and_one_of_them_opens_again(user):
    _, stop, target = user.open_bracket()
    answer = user.ask("Position/closeContract", contractId=user.sim.contract("MGC"))
    assert answer == {"success": True, "errorCode": 0, "errorMessage": None}
    user.sim.wait_until(lambda: user.sim.position("MGC") == 0)
    assert [user.status(o["id"]) for o in (stop, target)] == [1, 1]
    user.sim.trade("MGC", "4096")
    assert user.sim.position("MGC") == -1
    assert user.settle(target["id"], 3)


def test_suspended_children_show_in_v2_only(user):
    entry = user.bracketed(kind=1, limitPrice=4095)["orderId"]
    assert [row["id"] for row in user.ask("Order/searchOpen")["orders"]] == [entry]
    assert [row["id"] for row in user.ask("Order/search", startTimestamp=LONG_AGO)["orders"]] == [entry]
    found = user.call("Order/v2/query", filter={"accountId": user.account, "statuses": [8]})["orders"]
    assert [row["status"] for row in found] == [8, 8]
    user.ask("Order/cancel", orderId=entry)
    user.settle(entry, 3)
    assert [c["status"] for c in user.children(entry)] == [3, 3]


def test_canceling_one_child_leaves_the_other(user):
    _, stop, target = user.open_bracket()
    user.ask("Order/cancel", orderId=stop["id"])
    user.settle(stop["id"], 3)
    assert user.status(target["id"]) == 1


# --- other types ------------------------------------------------------------------------------------------------------


def test_a_limit_fills_on_trade_through_at_its_price(user):
    order = user.order(kind=1, limitPrice=4098)["orderId"]
    user.sim.trade("MGC", "4098")
    assert user.status(order) == 1  # a touch is not enough
    user.sim.trade("MGC", "4097.9")
    assert user.look(order)["filledPrice"] == 4098


def test_a_limit_that_crosses_fills_at_the_touch(user):
    order = user.order(kind=1, limitPrice=4105)["orderId"]
    assert user.settle(order, 2)["filledPrice"] == 4100.1


def test_a_stop_fills_at_market_and_slips(user):
    user.sim.call(lambda server: setattr(server.venue.book.rules, "slip_ticks", (2,)))
    order = user.order(kind=4, side=1, stopPrice=4095)["orderId"]
    user.sim.trade("MGC", "4095.1")
    assert user.status(order) == 1
    user.sim.trade("MGC", "4095")
    assert user.look(order)["filledPrice"] == 4094.8
    gapped = user.order(kind=4, side=1, stopPrice=4095)["orderId"]
    user.sim.move("MGC", "4080")
    assert user.look(gapped)["filledPrice"] == 4079.9  # the bid after the gap


def test_a_trailing_stop_follows_and_never_goes_back(user):
    order = user.order(kind=5, side=1, trailPrice=4095)["orderId"]
    row = user.look(order)
    assert (row["trailDistance"], row["trailPrice"], row["stopPrice"]) == (-50, -5, 4095)
    user.sim.trade("MGC", "4110")
    user.sim.trade("MGC", "4105.1")
    assert user.look(order)["stopPrice"] == 4105
    user.sim.trade("MGC", "4105")
    assert user.status(order) == 2


@pytest.mark.parametrize("kind, price", [(6, 4099.9), (7, 4100.1)])
def test_join_rests_at_the_touch(user, kind, price):
    assert user.look(user.order(kind=kind, side=kind - 6)["orderId"])["limitPrice"] == price


def test_a_stop_limit_becomes_a_limit(user):
    order = user.order(kind=3, side=1, stopPrice=4095, limitPrice=4094)["orderId"]
    user.sim.quote("MGC", "4093.9", "4094.1")
    user.sim.trade("MGC", "4094.9")
    assert user.look(order)["type"] == 1 and user.status(order) == 1
    user.sim.trade("MGC", "4094.1")
    assert user.look(order)["filledPrice"] == 4094


# --- modify and cancel ------------------------------------------------------------------------------------------------


def test_modify_in_place(user, events):
    _, stop, target = user.open_bracket()
    assert user.ask("Order/modify", orderId=stop["id"], stopPrice=4098)["success"]
    assert user.look(stop["id"])["stopPrice"] == 4098 and user.look(target["id"])["limitPrice"] == 4108.1
    while (row := events.until("GatewayUserOrder")[0]["data"])["id"] != stop["id"] or row.get("stopPrice") != 4098:
        pass
    assert row["status"] == 1
    assert user.ask("Order/modify", orderId=target["id"], limitPrice=4111, size=1, stopPrice=None)["success"]
    assert user.look(target["id"])["limitPrice"] == 4111


@pytest.mark.parametrize("price", [4099.9, 4101, 4095.05])
def test_a_stop_on_the_wrong_side_keeps_its_old_price(user, price):
    _, stop, _ = user.open_bracket()
    assert refusal(user.ask("Order/modify", orderId=stop["id"], stopPrice=price)) == (3, "Invalid stop price")
    assert user.look(stop["id"])["stopPrice"] == 4096.1 and user.status(stop["id"]) == 1


def test_modify_and_cancel_of_what_is_not_there(user):
    entry, _, _ = user.open_bracket()
    for path in ("Order/modify", "Order/cancel"):
        assert refusal(user.ask(path, orderId=17)) == (2, None)
        assert refusal(user.ask(path, orderId=entry["id"])) == (2, None)
        assert refusal(user.call(path, accountId=1, orderId=17)) == (1, None)
    assert user.ask("Order/searchById", orderId=17) == {"order": None, "errorCode": 1, **REFUSED}


def test_a_target_moved_into_the_market_fills(user):
    _, stop, target = user.open_bracket()
    user.ask("Order/modify", orderId=target["id"], limitPrice=4090)
    assert user.settle(target["id"], 2)["filledPrice"] == 4099.9
    assert user.settle(stop["id"], 3)


def test_a_fill_wins_the_race_against_a_cancel(user):
    _, stop, target = user.open_bracket()
    user.sim.fault("fill_beats_cancel", times=1)
    assert refusal(user.ask("Order/cancel", orderId=stop["id"]))[0] == 2
    assert user.status(stop["id"]) == 2 and user.sim.position("MGC") == 0
    assert user.settle(target["id"], 3)


# --- queries ----------------------------------------------------------------------------------------------------------


def test_pages_of_v2_query(user):
    ids = [user.order(kind=1, limitPrice=4090)["orderId"] for _ in range(120)]

    def query(**fields):
        wanted = {"accountId": user.account} | fields.pop("filter", {})
        return user.call("Order/v2/query", filter=wanted, **fields)

    page = query(includeTotalCount=True)
    assert [row["id"] for row in page["orders"]] == ids[:19:-1] and page["totalCount"] == 120
    assert [row["id"] for row in query(pageOffset=115, pageSize=500)["orders"]] == ids[4::-1]  # rows, not pages
    assert len(query(pageSize=500)["orders"]) == 100
    assert len(query(filter={"contractId": "CON.F.US.MES.Z26"})["orders"]) == 100  # it does not filter
    assert query(filter={"statuses": [2]}) == {
        "orders": [],
        "totalCount": None,
        "success": True,
        "errorCode": 0,
        "errorMessage": None,
    }
    assert [row["id"] for row in query(sortBy=1, sortDirection=0, pageSize=2)["orders"]] == ids[:2]
    assert query(filter={"createdAfter": "2099-01-01T00:00:00Z"})["orders"] == []
    assert [row["id"] for row in user.ask("Order/search", startTimestamp=LONG_AGO)["orders"]] == ids  # oldest first


@pytest.mark.parametrize(
    "path, payload",
    [("Order/search", "orders"), ("Order/searchOpen", "orders"), ("Position/searchOpen", "positions")],
)
def test_foreign_accounts(user, path, payload):
    answer = user.call(path, accountId=1, startTimestamp=LONG_AGO)
    assert answer == {payload: None, "errorCode": 1, **REFUSED}


# --- positions and trades ---------------------------------------------------------------------------------------------


def test_position_rows(user):
    user.sim.deal("MGC", Side.SELL, 1, "4100")
    user.sim.deal("MGC", Side.SELL, 3, "4102")
    (row,) = user.ask("Position/searchOpen")["positions"]
    assert (row["type"], row["size"], row["averagePrice"]) == (2, 4, 4101.5)
    assert row["contractDisplayName"] == "MGC" + user.sim.contract("MGC")[-3:]
    user.sim.deal("MGC", Side.SELL, 2, "4102")
    assert user.ask("Position/searchOpen")["positions"][0]["averagePrice"] == 4101.6666666667
    user.sim.deal("MGC", Side.BUY, 6)
    assert user.ask("Position/searchOpen")["positions"] == []


def test_lots_are_matched_first_in_first_out_in_split_rows(user):
    user.sim.deal("MGC", Side.BUY, 1, "4100")
    user.sim.deal("MGC", Side.BUY, 2, "4110")
    user.sim.deal("MGC", Side.SELL, 2, "4120")
    newest, older, *opening = user.ask("Trade/search")["trades"]  # newest first
    assert [row["profitAndLoss"] for row in opening] == [None, None]
    assert (older["profitAndLoss"], newest["profitAndLoss"]) == (200, 100)
    assert older["orderId"] == newest["orderId"] and newest["id"] == older["id"] + 1
    apart = datetime.fromisoformat(newest["creationTimestamp"]) - datetime.fromisoformat(older["creationTimestamp"])
    assert apart == timedelta(microseconds=25)
    assert user.sim.account()["positions"][0]["averagePrice"] == 4110


def test_a_reversal_closes_first_then_opens_the_rest(user, events):
    user.sim.deal("MGC", Side.BUY, 1, "4100")
    user.sim.deal("MGC", Side.SELL, 3, "4101")
    trades = [events.until("GatewayUserTrade")[0]["data"] for _ in range(3)]
    assert [(t.get("profitAndLoss"), t["size"]) for t in trades] == [(None, 1), (10, 1), (None, 2)]
    assert user.sim.position("MGC") == -2


def test_costs_are_in_the_balance_and_commissions_may_be_missing(user, events):
    user.sim.deal("MGC", Side.BUY, 2, "4100")
    fill = events.until("GatewayUserTrade")[0]
    assert fill["action"] == 0 and (fill["data"]["fees"], fill["data"]["commissions"]) == (1.42, 0.5)
    assert "profitAndLoss" not in fill["data"]  # null fields are left out
    assert events.until("GatewayUserPosition")[0]["action"] == 1
    assert events.until("GatewayUserAccount")[0]["data"]["balance"] == 149_998.08
    user.sim.deal("MGC", Side.SELL, 2, "4101")
    closed = events.until("GatewayUserPosition")[0]
    assert closed["action"] == 2 and (closed["data"]["type"], closed["data"]["size"]) == (0, 0)
    assert closed["data"]["averagePrice"] == 4100
    assert user.sim.balance() == D("150000") + 20 - D("3.84")
    assert user.ask("Trade/search")["trades"][0]["commissions"] == 0.5
    user.sim.fault("no_commissions")
    assert "commissions" not in user.ask("Trade/search")["trades"][0]


def test_partial_close(user):
    contract = user.sim.contract("MGC")

    def close(size):
        return user.ask("Position/partialCloseContract", contractId=contract, size=size)

    assert refusal(close(1)) == (2, None)
    user.sim.deal("MGC", Side.BUY, 3)
    assert [refusal(close(size)) for size in (0, -1, 4)] == [(5, None)] * 3
    assert close(2)["success"]
    user.sim.wait_until(lambda: user.sim.position("MGC") == 1)
    user.sim.set_session("2026-11-20T15:30:00-06:00")
    user.sim.wait_until(lambda: user.sim.position("MGC") == 0)  # the cut-off


@pytest.mark.parametrize("path, code", [("closeContract", 3), ("partialCloseContract", 3)])
def test_closing_what_does_not_exist(user, path, code):
    assert refusal(user.ask(f"Position/{path}", contractId="CON.F.US.XX.Z26", size=1)) == (code, None)
    assert refusal(user.ask(f"Position/{path}", contractId=user.sim.contract("MGC"), size=1)) == (2, None)


def test_partial_fills_and_a_pair_that_covers_what_has_filled(user):
    user.sim.fault("partial_fill", fraction="0.4", ms=150)
    entry = user.bracketed(size=5)["orderId"]
    row = user.sim.wait_until(lambda: (r := user.look(entry))["fillVolume"] == 2 and r)
    assert row["status"] == 1 and user.sim.position("MGC") == 2
    pair = user.sim.wait_until(lambda: [c for c in user.children(entry) if c["status"] == 1])
    assert [c["size"] for c in pair] == [2, 2]
    user.settle(entry, 2)
    user.sim.wait_until(lambda: [c["size"] for c in user.children(entry)] == [5, 5])


def test_a_target_that_fills_in_parts_keeps_the_stop_until_the_last(user):
    _, stop, target = user.open_bracket(size=4)
    user.sim.fault("partial_fill", ms=60_000)
    user.sim.trade("MGC", "4108.2")
    assert user.look(target["id"])["fillVolume"] == 2 and user.sim.position("MGC") == 2
    user.sim.advance(1_000)
    assert (user.status(stop["id"]), user.look(stop["id"])["size"]) == (1, 4)
    user.sim.advance(60_000)
    assert user.status(target["id"]) == 2 and user.settle(stop["id"], 3)


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_orders_by_hand(user):
    order = user.sim.place("MGC", Side.SELL, type=4, stop="4090", tag="hand")
    assert [o["id"] for o in user.sim.orders()] == [order]
    with pytest.raises(ControlError, match="already in use"):
        user.sim.place("MGC", Side.SELL, tag="hand")
    assert user.sim.cancel() == 1 and user.sim.orders() == []
