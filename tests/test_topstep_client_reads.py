"""What TopstepX reads become: account, contracts, orders, fills, bars, prices; recorded answers of the real venue."""

import json
from decimal import Decimal as D
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.model import Bar, OrderStatus, Side
from runtime.clock import ManualClock
from runtime.venue import CredentialsRefused, VenueUnavailable
from runtime.warm_http import Answer
from tests.topstep_answers import (
    ACCOUNT,
    ACCOUNT_ID,
    ACCOUNT_ROW,
    CONTRACTS,
    NOW_MS,
    Answers,
    Http,
    answering,
    client_of,
    hidden,
    no,
    ok,
)
from topstep_client import TopstepClient
from venues.topstepx import bars as venue_bars
from venues.topstepx import shapes, wire
from venues.topstepx.accounts import AccountRow, pick, shortened

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data" / "topstepx"
MGC, MGC_OLD, NQ = "CON.F.US.MGC.Z26", "CON.F.US.MGC.V26", "CON.F.US.ENQ.Z26"
OLD_MONTH = {**CONTRACTS[0], "id": MGC_OLD, "name": "MGCV6", "activeContract": False}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def mocked():
    yield from answering()


def ready(mocked: Any, clock: ManualClock, symbols: tuple[str, ...] = ("MGC",), **answers: Any):
    made = mocked(**answers)
    client = client_of(clock=clock, symbols=symbols)
    client.check_credentials()
    client.instruments()
    made.asked.clear()
    return client, made


def position(contract_id: str = MGC, **changes: Any) -> dict[str, Any]:
    row = {
        "id": 825245547,
        "accountId": ACCOUNT_ID,
        "contractId": contract_id,
        "contractDisplayName": "MGCZ6",
        "creationTimestamp": "2026-08-19T14:15:48.611387+00:00",
        "type": 2,
        "size": 1,
        "averagePrice": 4098.5,
    }
    return {**row, **changes}


def order(**changes: Any) -> dict[str, Any]:
    """A bracket's target, as recorded (page 2.5)."""
    row = {
        "id": 3346888859,
        "accountId": ACCOUNT_ID,
        "contractId": MGC,
        "symbolId": "F.US.MGC",
        "creationTimestamp": "2026-07-31T13:26:11.391386+00:00",
        "updateTimestamp": "2026-07-31T13:26:27.64922+00:00",
        "status": 1,
        "type": 1,
        "side": 0,
        "size": 3,
        "limitPrice": 4101.5,
        "stopPrice": None,
        "fillVolume": 1,
        "filledPrice": None,
        "customTag": "0x00000000000000010000000000000002-TP",
        "parentOrderId": 3346888857,
        "linkedOrderId": 3346888858,
    }
    return {**row, **changes}


def trade(**changes: Any) -> dict[str, Any]:
    row = {
        "id": 2934165836,
        "accountId": ACCOUNT_ID,
        "contractId": MGC,
        "creationTimestamp": "2026-07-31T13:38:24.362562+00:00",
        "price": 4101.5,
        "profitAndLoss": 42.5,
        "fees": 0.71,
        "side": 0,
        "size": 1,
        "voided": False,
        "orderId": 3347111157,
    }
    return {**row, **changes}


# --- which account --------------------------------------------------------------------------------------------------

ROWS = [
    AccountRow(20000002, "50KTC-V2-DLL-100001-87654321", D(1), True),
    AccountRow(20000001, "PRAC-V2-100001-12345678", D(2), True),
    AccountRow(20000003, "PRAC-V2-100001-12345600", D(3), False, False),
    AccountRow(4, "twin", D(4), True),
    AccountRow(5, "TWIN", D(4), True),
    AccountRow(6, "20000002", D(4), True),
]


@pytest.mark.parametrize(
    "wanted, account_id",
    [
        ("PRAC-V2-100001-12345678", 20000001),
        (" prac-v2-100001-12345678 ", 20000001),
        ("20000001", 20000001),
        ("PRAC-V2-100001-12345600", 20000003),  # locked and hidden, and still the one
        ("20000002", 6),  # a name before an id
    ],
)
def test_the_account_is_the_configured_one(wanted: str, account_id: int):
    assert pick(ROWS, wanted).id == account_id


@pytest.mark.parametrize(
    "rows, wanted, said",
    [
        (ROWS, "PRAC-V2-100001-12345679", "PRAC-V2-…001-…678"),
        (ROWS, "PRAC", "no account PRAC; it has"),  # never by its beginning
        (ROWS, "2000000", "no account …000"),
        (ROWS, "", "no account ; it has"),
        (ROWS, "twin", "several accounts"),
        ([], "PRAC-V2-100001-12345678", "none at all"),
        (ROWS[:1], "PRAC-V2-100001-12345678", "50KTC-V2-DLL-…001-…321"),  # not the only one there is
    ],
)
def test_no_other_account_is_taken_and_the_near_ones_are_named(rows: list[AccountRow], wanted: str, said: str):
    with pytest.raises(CredentialsRefused, match=said) as fault:
        pick(rows, wanted)
    assert not any(row.name in str(fault.value) for row in rows if len(row.name) > 10)


@pytest.mark.parametrize(
    "name, kind",
    [("PRAC-V2-1-2", "practice"), ("50KTC-V2-1", "combine"), ("150KTC-V2-DLL-1", "combine"),
     ("EXPRESS-V2-CT-1", "express funded"), ("S1-X", "unknown")],
)  # fmt: skip
def test_what_kind_of_account_a_name_tells(name: str, kind: str):
    assert AccountRow(1, name, D(0), True).kind == kind


def test_shortened_names_keep_what_the_owner_knows():
    assert shortened("50KTC-V2-DLL-100001-87654321") == "50KTC-V2-DLL-…001-…321"


def test_an_account_that_vanishes_stops_the_bot_and_no_other_takes_its_place(mocked, clock):
    client, answers = ready(mocked, clock)
    reset = {**ACCOUNT_ROW, "id": ACCOUNT_ID + 9}  # the same name again, reset: another account
    answers.answers["Account/search"] = ok(accounts=[reset])
    with pytest.raises(CredentialsRefused, match="no other is traded instead") as fault:
        client.account()
    assert answers.kinds() == ["Account/search"] * 2 and clock.waits == [1.0]
    assert hidden(str(fault.value))


def test_one_odd_list_does_not_stop_the_bot(mocked, clock):
    client, answers = ready(mocked, clock)
    answers.answers["Account/search"] = [ok(accounts=[]), ok(accounts=[ACCOUNT_ROW])]
    assert client.account().can_trade


def test_the_id_of_the_account_goes_with_every_question(mocked, clock):
    client, answers = ready(mocked, clock)
    client.account()
    client.fills_since(NOW_MS)
    assert answers.asked[0] == ("Account/search", {"onlyActiveAccounts": False})
    assert all(body["accountId"] == ACCOUNT_ID for _, body in answers.asked[1:])
    assert client.clone().account_id == ACCOUNT_ID


# --- the snapshot ---------------------------------------------------------------------------------------------------


def test_an_account_has_a_balance_and_no_open_profit(mocked, clock):
    client, answers = ready(mocked, clock, Position__searchOpen=ok(positions=[position(), position(NQ, type=1)]))
    answers.answers["Order/searchOpen"] = ok(orders=[order()])
    account = client.account()
    assert account.equity == account.available == account.balance == D("149831.92")
    assert (account.has_open_pnl, account.can_trade) == (False, True)
    assert (account.requested_ms, account.time_ms) == (NOW_MS, NOW_MS)
    short, long = account.positions
    assert (short.symbol, short.size, short.entry_price) == ("MGC", D(-1), D("4098.5"))
    assert (short.multiplier, short.contract_id, short.liquidation_price) == (D(10), MGC, None)
    assert (long.symbol, long.size, long.multiplier, long.contract_id) == ("NQ", D(1), D(20), NQ)
    assert [row.order_id for row in account.orders] == [3346888859]


@pytest.mark.parametrize("changes", [{"canTrade": False}, {"canTrade": False, "isVisible": False}])
def test_a_locked_account_is_still_the_account(mocked, clock, changes: dict[str, Any]):
    client, answers = ready(mocked, clock)
    answers.answers["Account/search"] = ok(accounts=[{**ACCOUNT_ROW, **changes, "newField": []}])
    assert client.account().can_trade is False


@pytest.mark.parametrize("missing", ["Account/search", "Position/searchOpen", "Order/searchOpen"])
def test_never_half_an_account(mocked, clock, missing: str):
    client, answers = ready(mocked, clock)
    answers.answers[missing] = Http(500)
    with pytest.raises(VenueUnavailable, match=missing):
        client.account()


def test_a_position_in_another_month_has_its_own_name(mocked, clock):
    """Its price must never pass for that of the month in use, nor an exit of one go to the other."""
    client, answers = ready(mocked, clock)
    answers.answers["Contract/searchById"] = ok(contract=OLD_MONTH)
    answers.answers["Position/searchOpen"] = ok(positions=[position(), position(MGC_OLD)])
    answers.answers["Order/searchOpen"] = ok(orders=[order(contractId=MGC_OLD)])
    account = client.account()
    assert [row.symbol for row in account.positions] == ["MGC", "MGCV6"]
    assert [row.symbol for row in account.orders] == ["MGCV6"]
    client.clone().account()
    assert answers.kinds().count("Contract/searchById") == 1, "asked once for all clones"


def test_a_contract_that_cannot_be_read_is_no_account(mocked, clock):
    client, answers = ready(mocked, clock, Position__searchOpen=ok(positions=[]))
    answers.answers["Position/searchOpen"] = ok(positions=[position(MGC_OLD)])
    for answer in (no(1, contract=None), ok(contract=CONTRACTS[0]), ok(contract={**OLD_MONTH, "tickSize": 0})):
        answers.answers["Contract/searchById"] = answer
        with pytest.raises(VenueUnavailable, match="Contract/searchById"):
            client.account()


@pytest.mark.parametrize(
    "row",
    [position(type=0), position(type=7), position(size=-1), position(averagePrice=None), position(averagePrice="NaN"),
     position(size="one"), {"id": 1}],
)  # fmt: skip
def test_a_position_nobody_can_read_is_no_account(mocked, clock, row: dict[str, Any]):
    client, answers = ready(mocked, clock)
    answers.answers["Position/searchOpen"] = ok(positions=[row])
    with pytest.raises(VenueUnavailable, match="Position/searchOpen"):
        client.account()


# --- working orders -------------------------------------------------------------------------------------------------


def working(client: TopstepClient, answers: Answers, **changes: Any) -> Any:
    answers.answers["Order/searchOpen"] = ok(orders=[order(**changes)])
    return client.working_orders().orders


def test_a_target_is_a_limit_of_its_entry(mocked, clock):
    client, answers = ready(mocked, clock)
    (row,) = working(client, answers)
    assert (row.symbol, row.side, row.size, row.price) == ("MGC", Side.BUY, D(2), D("4101.5"))
    assert (row.trigger_price, row.is_stop, row.reduce_only, row.whole_position) == (None, False, False, False)
    assert (row.client_id, row.parent_id) == ("0x00000000000000010000000000000002-TP", 3346888857)
    assert row.time_ms == 1785504371391


@pytest.mark.parametrize(
    "changes, price, trigger, is_stop",
    [
        ({"type": 4, "limitPrice": None, "stopPrice": 4095.5}, "4095.5", "4095.5", True),
        ({"type": 5, "limitPrice": None, "stopPrice": 4095.5, "trailPrice": 2.5}, "4095.5", "4095.5", True),
        ({"type": 5, "limitPrice": None, "trailDistance": 25}, "0", None, False),  # where it stands, nobody knows
        ({"type": 3, "limitPrice": 4094, "stopPrice": 4095.5}, "4094", "4095.5", False),  # a gap jumps over it
        ({"type": 1, "trailPrice": -24.75, "trailDistance": -99}, "4101.5", None, False),  # go by type (page 2.5)
        ({"type": 4, "status": 8, "limitPrice": None}, "0", None, False),  # suspended: no price yet
        ({"type": 2, "status": 6, "limitPrice": None}, "0", None, False),
        ({"type": 6}, "4101.5", None, False),
        ({"type": 99, "status": 77}, "4101.5", None, False),  # new numbers: an order all the same
    ],
)
def test_kinds_of_orders(mocked, clock, changes: dict[str, Any], price: str, trigger: str | None, is_stop: bool):
    client, answers = ready(mocked, clock)
    (row,) = working(client, answers, **changes)
    assert (row.price, row.is_stop) == (D(price), is_stop)
    assert row.trigger_price == (None if trigger is None else D(trigger))


@pytest.mark.parametrize("status", [2, 3, 4, 5])
def test_orders_that_have_ended_do_not_work(mocked, clock, status: int):
    client, answers = ready(mocked, clock)
    assert working(client, answers, status=status) == ()


def test_newer_fields_may_be_left_out(mocked, clock):
    client, answers = ready(mocked, clock)
    optional = ("parentOrderId", "linkedOrderId", "updateTimestamp", "customTag", "fillVolume", "filledPrice")
    row = {key: value for key, value in order().items() if key not in optional}
    answers.answers["Order/searchOpen"] = ok(orders=[row])
    (found,) = client.working_orders().orders
    assert (found.client_id, found.parent_id, found.size) == (None, None, D(3))


@pytest.mark.parametrize("changes", [{"side": 2}, {"creationTimestamp": "now"}, {"size": None}, {"limitPrice": "x"}])
def test_an_order_nobody_can_read_is_no_list(mocked, clock, changes: dict[str, Any]):
    client, answers = ready(mocked, clock)
    with pytest.raises(VenueUnavailable, match="Order/searchOpen"):
        working(client, answers, **changes)


@pytest.mark.parametrize(
    "number, volume, status",
    [(0, 0, "ACCEPTED"), (1, 0, "ACCEPTED"), (1, 1, "PARTIAL"), (2, 3, "FILLED"), (3, 0, "CANCELED"),
     (3, 1, "CANCELED"), (4, 0, "CANCELED"), (5, 0, "REJECTED"), (6, None, "ACCEPTED"), (7, 0, "ACCEPTED"),
     (8, 0, "ACCEPTED"), (9, 0, None)],
)  # fmt: skip
def test_order_statuses(number: int, volume: int | None, status: str | None):
    row = shapes.decode(json.dumps(order(status=number, fillVolume=volume)).encode(), shapes.OrderRow)
    assert shapes.order_status(row) is (None if status is None else OrderStatus(status))


# --- fills ----------------------------------------------------------------------------------------------------------


def test_fills_come_oldest_first_once_each_and_without_voided_ones(mocked, clock):
    client, answers = ready(mocked, clock)
    rows = [
        trade(id=9, creationTimestamp="2026-07-31T13:38:25Z", side=1, voided=None),
        trade(id=8, voided=True),
        trade(id=7),
        trade(id=6, profitAndLoss=None),
        trade(id=7),
    ]
    answers.answers["Trade/search"] = ok(trades=rows)
    fills = client.fills_since(1_785_504_000_123)
    assert [fill.fill_id for fill in fills] == ["6", "7", "9"]
    assert [fill.closed_pnl for fill in fills] == [D(0), D("42.5"), D("42.5")]
    assert [fill.side for fill in fills] == [Side.BUY, Side.BUY, Side.SELL]
    assert answers.asked[-1][1]["startTimestamp"] == "2026-07-31T13:20:00.123+00:00"
    first = fills[0]
    assert (first.symbol, first.price, first.size, first.order_id) == ("MGC", D("4101.5"), D(1), 3347111157)
    assert (first.client_id, first.start_position, first.is_snapshot) == (None, None, True)
    assert first.time_ms == 1785505104362


@pytest.mark.parametrize(
    "changes, fee",
    [
        ({}, "0.96"),  # MGC: 0.71 and the 0.25 that REST leaves out (page 2.10)
        ({"commissions": 0.3}, "1.01"),
        ({"commissions": None, "fees": None}, "0.25"),
        ({"size": 3, "fees": 2.13}, "2.88"),
        ({"contractId": NQ, "fees": 1.39}, "1.89"),  # 3.78 both ways (page 6.9)
        ({"contractId": MGC_OLD}, "0.96"),  # a micro in every month
    ],
)
def test_fees_are_with_commission(mocked, clock, changes: dict[str, Any], fee: str):
    client, answers = ready(mocked, clock)
    answers.answers |= {"Trade/search": ok(trades=[trade(**changes)]), "Contract/searchById": ok(contract=OLD_MONTH)}
    assert client.fills_since(0)[0].fee == D(fee)


@pytest.mark.parametrize("changes", [{"side": 5}, {"size": 0}, {"price": None}, {"creationTimestamp": ""}])
def test_a_fill_nobody_can_read_is_not_skipped(mocked, clock, changes: dict[str, Any]):
    client, answers = ready(mocked, clock)
    answers.answers["Trade/search"] = ok(trades=[trade(**changes)])
    with pytest.raises(VenueUnavailable, match="Trade/search"):
        client.fills_since(0)


# --- contracts ------------------------------------------------------------------------------------------------------


def test_instruments_are_active_months_by_ticker(mocked, clock):
    later = {**CONTRACTS[0], "id": "CON.F.US.MGC.G27", "name": "MGCG7"}
    answers = mocked(Contract__available=ok(contracts=[later, OLD_MONTH, *CONTRACTS]))
    found = client_of(clock=clock).instruments()
    assert sorted(found) == ["MGC", "MNQ", "NQ"]  # what has no ticks is left out
    mgc = found["MGC"]
    assert (mgc.contract_id, mgc.tick_size, mgc.multiplier, mgc.lot_size) == (MGC, D("0.1"), D(10), D(1))
    assert (found["NQ"].contract_id, found["NQ"].multiplier) == (NQ, D(20))
    assert answers.asked == [answers.asked[0], ("Contract/available", {"live": False})]


def test_nothing_active_is_no_answer(mocked, clock):
    mocked(Contract__available=ok(contracts=[OLD_MONTH]))
    with pytest.raises(VenueUnavailable, match="no active contract"):
        client_of(clock=clock).instruments()


@pytest.mark.parametrize(
    "held, symbols, used",
    [
        ([MGC_OLD], ("MGC",), MGC_OLD),  # it is still held: no roll with an open position
        ([MGC_OLD, MGC], ("MGC",), MGC),
        ([MGC, MGC_OLD], ("MGC",), MGC),
        ([MGC_OLD], ("MNQ",), MGC),
        ([MGC_OLD], (), MGC),  # nobody said what is traded
        ([], ("MGC",), MGC),
    ],
)
def test_a_position_keeps_its_month_in_use(mocked, clock, held: list[str], symbols: tuple[str, ...], used: str):
    rows = [position(contract_id) for contract_id in held] + [position(MGC_OLD, size=0, type=0)] * (not held)
    answers = mocked(Position__searchOpen=ok(positions=rows), Contract__searchById=ok(contract=OLD_MONTH))
    client = client_of(clock=clock, symbols=symbols)
    assert client.instruments()["MGC"].contract_id == used
    answers.answers["History/retrieveBars"] = ok(bars=[])
    client.bars("MGC", 60_000, 5)
    assert answers.asked[-1][1]["contractId"] == used


def test_a_roll_is_told_and_not_done(mocked, clock):
    client, answers = ready(mocked, clock)
    assert client.rolled(["MGC", "NQ"]) == []
    new = {**CONTRACTS[0], "id": "CON.F.US.MGC.G27", "name": "MGCG7"}
    answers.answers["Contract/available"] = ok(contracts=[new, CONTRACTS[1]])
    (event,) = client.rolled(["MGC", "NQ", "MNQ"])  # of what is listed no more, nothing is known
    assert (event.symbol, event.instrument.contract_id) == ("MGC", "CON.F.US.MGC.G27")
    other = client.clone()
    assert other.instrument_of(MGC).symbol == "MGC"
    assert other.instrument_of("CON.F.US.MGC.G27").symbol == "MGCG7"
    client.use([event.instrument])
    assert other.instrument_of("CON.F.US.MGC.G27").symbol == "MGC"
    assert other.instrument_of(MGC).symbol == "MGCZ6"


def test_a_search_is_for_people(mocked, clock):
    client, answers = ready(mocked, clock)
    answers.answers["Contract/search"] = ok(contracts=CONTRACTS[1:3])
    assert [row.name for row in client.search_contracts("NQ")] == ["NQZ6", "MNQZ6"]
    assert answers.asked[-1] == ("Contract/search", {"searchText": "NQ", "live": False})


@pytest.mark.parametrize(
    "name, ticker",
    [("MGCZ6", "MGC"), ("M2KU6", "M2K"), ("6EZ26", "6E"), ("E7H7", "E7"), ("ZNZ6", "ZN"), ("MES", "MES"), ("", "")],
)
def test_tickers(name: str, ticker: str):
    assert shapes.ticker_of(name) == ticker


# --- bars and prices ------------------------------------------------------------------------------------------------


def bar(open_ms: int, close: float = 4100.4, **changes: Any) -> dict[str, Any]:
    return {"t": shapes.time_text(open_ms), "o": 4100, "h": 4101, "l": 4099.5, "c": close, "v": 7, "k": None, **changes}


MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
START_MS = NOW_MS // HOUR_MS * HOUR_MS


def test_bars_are_asked_for_as_the_page_says_and_sorted(mocked, clock):
    client, answers = ready(mocked, clock)
    rows = [bar(START_MS + minute * MINUTE_MS, 4100 + minute) for minute in (2, 1, 0)]
    answers.answers["History/retrieveBars"] = ok(bars=rows)
    bars = client.bars("MGC", MINUTE_MS, 3)
    assert [row.close for row in bars] == [D(4100), D(4101), D(4102)]
    assert (bars[0].open_ms, bars[0].close_ms, bars[0].volume) == (START_MS, START_MS + 59_999, D(7))
    ((what, body),) = answers.asked
    assert what == "History/retrieveBars"
    assert {key: body[key] for key in ("contractId", "live", "unit", "unitNumber", "limit", "includePartialBar")} == {
        "contractId": MGC,
        "live": False,
        "unit": 2,
        "unitNumber": 1,
        "limit": 3,
        "includePartialBar": True,
    }
    assert shapes.time_of(body["startTime"]) < NOW_MS - 3 * DAY_MS, "a weekend has no bars"
    assert shapes.time_of(body["endTime"]) > NOW_MS, "our clock may be behind"


@pytest.mark.parametrize(
    "timeframe_ms, unit, number",
    [(1_000, 1, 1), (15_000, 1, 15), (60_000, 2, 1), (900_000, 2, 15), (3_600_000, 3, 1), (14_400_000, 3, 1),
     (DAY_MS, 3, 1)],
)  # fmt: skip
def test_units(mocked, clock, timeframe_ms: int, unit: int, number: int):
    client, answers = ready(mocked, clock)
    answers.answers["History/retrieveBars"] = ok(bars=[])
    assert client.bars("MGC", timeframe_ms, 5) == ()
    body = answers.asked[-1][1]
    assert (body["unit"], body["unitNumber"]) == (unit, number)


@pytest.mark.parametrize("timeframe_ms", [0, 500, 1_500, 7 * MINUTE_MS, 90 * MINUTE_MS])
def test_no_bars_where_the_venue_offers_none_that_fit(mocked, clock, timeframe_ms: int):
    client, answers = ready(mocked, clock)
    assert client.bars("MGC", timeframe_ms, 5) == ()
    assert answers.asked == []


def history(body: dict[str, Any], have: list[int], most: int) -> dict[str, Any]:
    """The venue keeps the newest of the window, newest first, `most` at a time."""
    start_ms, end_ms = shapes.time_of(body["startTime"]), shapes.time_of(body["endTime"])
    inside = [open_ms for open_ms in have if start_ms <= open_ms <= end_ms]
    return ok(bars=[bar(open_ms) for open_ms in sorted(inside, reverse=True)[: min(most, body["limit"])]])


@pytest.mark.parametrize("most, calls", [(100, 1), (4, 3), (10, 1)])
def test_pages_go_back_until_there_are_enough(mocked, clock, most: int, calls: int):
    client, answers = ready(mocked, clock)
    have = [START_MS - minute * MINUTE_MS for minute in range(50)]
    answers.answers["History/retrieveBars"] = lambda body: history(body, have, most)
    bars = client.bars("MGC", MINUTE_MS, 10)
    assert [row.open_ms for row in bars] == sorted(have)[-10:]
    assert len(answers.asked) == calls


def test_a_short_history_is_all_there_is(mocked, clock):
    client, answers = ready(mocked, clock)
    have = [START_MS, START_MS - 2 * DAY_MS]
    answers.answers["History/retrieveBars"] = lambda body: history(body, have, 100)
    assert [row.open_ms for row in client.bars("MGC", MINUTE_MS, 10)] == sorted(have)
    assert len(answers.asked) == 2


def test_long_bars_are_made_of_hours(mocked, clock):
    """The venue's days do not start at midnight; ours do, like the bars made from trades."""
    client, answers = ready(mocked, clock)
    day_ms = NOW_MS // DAY_MS * DAY_MS
    have = [day_ms + hour * HOUR_MS for hour in range(-26, 3)]
    answers.answers["History/retrieveBars"] = lambda body: history(body, have, 100)
    bars = client.bars("MGC", DAY_MS, 2)
    assert [row.open_ms for row in bars] == [day_ms - DAY_MS, day_ms]
    assert [row.volume for row in bars] == [D(24 * 7), D(3 * 7)]


def test_merging_keeps_open_high_low_close():
    def made(open_ms: int, *numbers: int) -> Bar:
        return Bar(open_ms, open_ms + 999, *map(D, numbers))

    bars = [
        made(61_000, 5, 9, 4, 6, 1),
        made(60_000, 3, 7, 2, 5, 2),
        made(119_000, 6, 6, 1, 8, 3),
        made(0, 1, 1, 1, 1, 1),
    ]
    assert venue_bars.merged(bars, 60_000) == (
        Bar(0, 59_999, *map(D, (1, 1, 1, 1, 1))),
        Bar(60_000, 119_999, *map(D, (3, 9, 1, 8, 6))),
    )


@pytest.mark.parametrize("changes", [{"t": "yesterday"}, {"o": None}, {"v": "NaN"}, {"c": "Infinity"}])
def test_a_bar_nobody_can_read_is_no_answer(mocked, clock, changes: dict[str, Any]):
    client, answers = ready(mocked, clock)
    answers.answers["History/retrieveBars"] = ok(bars=[bar(START_MS, **changes)])
    with pytest.raises(VenueUnavailable, match="History/retrieveBars"):
        client.bars("MGC", MINUTE_MS, 5)


@pytest.mark.parametrize("age_ms", [0, 15 * MINUTE_MS])
def test_a_polled_price_is_as_old_as_its_second(mocked, clock, age_ms: int):
    client, answers = ready(mocked, clock)
    newest_ms = (NOW_MS - age_ms) // 1000 * 1000
    answers.answers["History/retrieveBars"] = ok(bars=[bar(newest_ms - 4_000, 1), bar(newest_ms, 4100.4)])
    (price,) = client.polled_prices(["MGC"])
    assert (price.symbol, price.price, price.bid, price.ask, price.mark) == ("MGC", D("4100.4"), None, None, None)
    assert price.time_ms == newest_ms
    body = answers.asked[-1][1]
    assert (body["unit"], body["unitNumber"], body["limit"], body["includePartialBar"]) == (1, 1, 5, True)
    assert shapes.time_of(body["startTime"]) <= NOW_MS - 3_600_000, "old data must be seen to be old"


def test_a_market_without_trades_has_no_polled_price(mocked, clock):
    client, answers = ready(mocked, clock)
    answers.answers["History/retrieveBars"] = ok(bars=[])
    assert client.polled_prices(["MGC"]) == []


def test_polls_are_spread_over_the_markets_within_the_limit(mocked, clock):
    """Fifty bar requests in 30 s, however many markets and however often somebody asks."""
    client, answers = ready(mocked, clock)
    answers.answers["History/retrieveBars"] = ok(bars=[bar(NOW_MS // 1000 * 1000)])
    asked = []
    for _ in range(300):  # 30 s
        asked += [price.symbol for price in client.polled_prices(["MGC", "NQ", "MNQ"])]
        clock.advance(100)
    assert 30 <= len(asked) <= 40
    assert asked[:6] == ["MGC", "NQ", "MNQ"] * 2
    assert max(map(asked.count, asked)) - min(map(asked.count, asked)) <= 1


def test_futures_have_no_leverage_and_no_request_count(mocked, clock):
    client, _ = ready(mocked, clock)
    with pytest.raises(ValueError, match="leverage"):
        client.set_leverage("MGC", 3, 1)
    assert client.request_budget() is None


@pytest.mark.parametrize("read", [lambda c: c.bars("XYZ", 60_000, 5), lambda c: c.polled_prices(["XYZ"])])
def test_a_market_that_is_none(mocked, clock, read: Any):
    client, _ = ready(mocked, clock)
    with pytest.raises(ValueError, match="XYZ is no market"):
        read(client)


# --- recorded answers -----------------------------------------------------------------------------------------------

recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded answers here")


def recording(name: str) -> Any:
    return json.loads((RECORDED / name).read_text(encoding="utf-8"))


@recorded
def test_recorded_accounts_and_contracts(mocked, clock):
    mocked(Account__search=recording("Account_search.json"), Contract__available=recording("Contract_available.json"))
    client = client_of(clock=clock, account=ACCOUNT)
    assert client.check_credentials().balance == D("149831.92")
    found = client.instruments()
    assert len(found) == 51
    table = {  # page 7.2
        "MGC": ("0.1", 10), "MES": ("0.25", 5), "NQ": ("0.25", 20), "6J": ("0.0000005", 12_500_000),
        "ZT": ("0.00390625", 2000), "NKD": ("5", 5), "ZC": ("0.25", 50), "MET": ("0.5", D("0.1")),
        "E7": ("0.0001", 62_500),
    }  # fmt: skip
    for symbol, (tick, multiplier) in table.items():
        assert (found[symbol].tick_size, found[symbol].multiplier) == (D(tick), multiplier), symbol


@recorded
def test_recorded_bars(mocked, clock):
    answer = recording("History_retrieveBars_MNQ_1m.json")
    client, _ = ready(mocked, clock, History__retrieveBars=answer)
    bars = client.bars("MNQ", 60_000, len(answer["bars"]))
    assert len(bars) == len(answer["bars"])
    assert bars[-1].close == D("29547.25") and bars[-1].open_ms == 1787172660000
    assert all(before.open_ms < after.open_ms for before, after in pairwise(bars))


# --- what no venue can mean -------------------------------------------------------------------------------------------


def test_an_answer_nested_beyond_any_sense_is_a_bad_answer():
    deep = b"[" * 5_000 + b"]" * 5_000
    with pytest.raises(shapes.BadAnswer):
        shapes.decode(deep, list[shapes.OrderRow])
    answer = Answer(200, b'{"success":true,"orderId":' + deep + b"}")
    assert wire.read_answer(wire.PLACE, answer, str).verdict is wire.Verdict.OPEN
    assert wire.read_answer(wire.PLACE, Answer(400, deep), str).verdict is wire.Verdict.OPEN


@pytest.mark.parametrize("changes", [{"h": 0}, {"o": -1}, {"c": 1e16}, {"v": -3}])
def test_a_bar_with_a_price_that_is_none_is_a_bad_answer(changes):
    row = {"t": "2026-08-19T20:51:00+00:00", "o": 1, "h": 2, "l": 1, "c": 1, "v": 1} | changes
    with pytest.raises(shapes.BadAnswer):
        shapes.bar_of(shapes.decode(json.dumps(row).encode(), shapes.BarRow), 60_000)
