"""Hub records to events: every shape of page 3.4, and every way to break one."""

import json
from decimal import Decimal as D
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages import AccountUpdate, OrderUpdate, PositionUpdate
from core.model import Book, Fill, OrderStatus, Quote, Side, Trade
from runtime.dialect import BadFrame
from tests.topstep_hub import (
    ACCOUNT,
    ACCOUNT_ROW,
    CONTRACTS,
    FILL_ROW,
    MES,
    MGC,
    MNQ,
    NOW,
    ORDER_ROW,
    POSITION_ROW,
    a_print,
    event,
    level,
    prints,
    quote,
    without,
    wrapped,
)
from venues.topstepx.frames import TopstepFrameReader, completed
from venues.topstepx.numbers import millis, number

RECORDED = Path(__file__).resolve().parents[2] / "shared/data/topstepx/hub_frames.jsonl"


@pytest.fixture
def reader():
    return TopstepFrameReader(ACCOUNT, CONTRACTS)


def read(reader, text):
    return reader.read(text.encode() if isinstance(text, str) else text, NOW)


def one(reader, text):
    (found,) = read(reader, text)
    return found


def bad(reader, text):
    with pytest.raises(BadFrame) as e:
        read(reader, text)
    return e.value.kind


# --- quotes -----------------------------------------------------------------------------------------------------------


def test_a_whole_quote(reader):
    found = one(reader, quote(MGC, lastPrice=4100.1, bestBid=4100.0, bestAsk=4100.2, change=12.3, volume=120345))
    assert found == Quote("MGC", D("4100.0"), None, D("4100.2"), None, 1_787_172_691_434, NOW)
    assert str(found.bid) == "4100.0"  # every character as received


def test_partial_quotes_are_merged_by_contract(reader):
    one(reader, quote(MGC, bestBid=4100.0, bestAsk=4100.2))
    one(reader, quote(MNQ, bestBid=29547, bestAsk=29547.5))
    found = one(reader, quote(MGC, "2026-08-19T20:51:31.5Z", bestBid=4100.1))
    assert (found.bid, found.ask, found.time_ms) == (D("4100.1"), D("4100.2"), 1_787_172_691_500)
    found = one(reader, quote(MGC, "2026-08-19T20:51:32Z", volume=7))  # nothing of interest, and yet news: unchanged
    assert (found.bid, found.ask, found.time_ms) == (D("4100.1"), D("4100.2"), 1_787_172_692_000)


def test_a_reader_that_starts_in_the_middle_yields_what_it_knows(reader):
    assert read(reader, quote(MGC, lastPrice=4100.1)) == ()
    found = one(reader, quote(MGC, "2026-08-19T20:51:31.5Z", bestAsk=4100.2))
    assert (found.bid, found.ask) == (None, D("4100.2"))


def test_a_side_the_other_has_run_through_is_no_longer_known(reader):
    one(reader, quote(MGC, bestBid=4100.0, bestAsk=4100.2))
    found = one(reader, quote(MGC, "2026-08-19T20:51:31.5Z", bestBid=4100.3))
    assert (found.bid, found.ask) == (D("4100.3"), None)
    found = one(reader, quote(MGC, "2026-08-19T20:51:31.6Z", bestAsk=4100.3))  # locked is not crossed
    assert (found.bid, found.ask) == (D("4100.3"), D("4100.3"))
    found = one(reader, quote(MGC, "2026-08-19T20:51:31.7Z", bestAsk=4100.2))
    assert (found.bid, found.ask) == (None, D("4100.2"))


def test_null_is_an_empty_side(reader):
    one(reader, quote(MGC, bestBid=4100.0, bestAsk=4100.2))
    assert one(reader, quote(MGC, "2026-08-19T20:51:31.5Z", bestBid=None)).bid is None


def test_a_new_connection_knows_nothing(reader):
    one(reader, quote(MGC, bestBid=4100.0, bestAsk=4100.2))
    reader.begin()
    assert one(reader, quote(MGC, bestAsk=4100.5)).bid is None


def test_a_quote_that_comes_late_changes_nothing(reader):
    one(reader, quote(MGC, bestBid=4100.0, bestAsk=4100.2))
    late = event(
        "GatewayQuote",
        MGC,
        {"bestBid": 4000, "lastUpdated": "2026-08-19T20:51:30Z", "timestamp": "2026-08-19T20:51:30Z"},
    )
    assert read(reader, late) == ()
    assert one(reader, quote(MGC, "2026-08-19T20:51:31.5Z", volume=7)).bid == D("4100.0")


def _clocks(bid, updated, stamped):
    return event("GatewayQuote", MGC, {"bestBid": bid, "bestAsk": 4200, "lastUpdated": updated, "timestamp": stamped})


def test_a_frozen_timestamp_is_of_no_account(reader):
    for second in range(10):
        found = one(reader, _clocks(4100 + second, f"2026-08-19T20:51:0{second}Z", "2026-08-18T22:00:00Z"))
        assert found.time_ms == millis(f"2026-08-19T20:51:0{second}Z")


def test_a_frozen_last_updated_gives_way_to_the_other_clock(reader):
    times = []
    for second in range(4):
        found = one(reader, _clocks(4100 + second, "2026-08-19T20:51:00Z", f"2026-08-19T20:51:0{second}Z"))
        times.append(found.time_ms - millis("2026-08-19T20:51:00Z"))
    assert times == [0, 1000, 2000, 3000]


def test_a_last_updated_that_stands_still_with_its_prices_is_believed(reader):
    for second in range(4):
        found = one(reader, _clocks(4100, "2026-08-19T20:51:00Z", f"2026-08-19T20:51:0{second}Z"))
        assert found.time_ms == millis("2026-08-19T20:51:00Z")


def test_without_last_updated_the_other_clock_counts(reader):
    row = {"bestBid": 4100, "bestAsk": 4101, "timestamp": "2026-08-19T20:51:31.348+00:00"}
    assert one(reader, event("GatewayQuote", MGC, row)).time_ms == 1_787_172_691_348


def test_without_any_time_there_is_no_quote(reader):
    assert read(reader, quote(MGC, "", bestBid=4100.0, bestAsk=4100.2)) == ()
    assert one(reader, quote(MGC, lastPrice=4100.1)).bid == D("4100.0")  # but its prices are known


@pytest.mark.parametrize(
    "fields",
    [
        {"bestBid": -1},
        {"bestBid": 0},
        {"bestBid": "4100.0"},
        {"bestBid": "NaN"},
        {"bestAsk": True},
        {"bestAsk": [4100]},
        {"bestAsk": {}},
        {"bestAsk": 1e12},
        {"bestAsk": 10**40},
    ],
)
def test_a_quote_with_an_absurd_price_is_a_bad_frame_and_leaves_no_trace(reader, fields):
    one(reader, quote(MGC, bestBid=4100.0, bestAsk=4100.2))
    assert bad(reader, quote(MGC, "2026-08-19T20:51:31.5Z", **fields)) == "bad_number"
    found = one(reader, quote(MGC, "2026-08-19T20:51:31.6Z", volume=7))
    assert (found.bid, found.ask) == (D("4100.0"), D("4100.2"))


def test_a_time_in_the_far_future_would_make_all_later_ones_old(reader):
    assert bad(reader, quote(MGC, "2096-01-01T00:00:00Z", bestBid=4100)) == "bad_time"
    assert bad(reader, prints(a_print(timestamp="2026-08-21T20:51:31Z"))) == "bad_time"
    assert one(reader, prints(a_print(timestamp="2026-08-20T20:51:31Z")))  # a clock of ours that is a day wrong


# --- what the journal keeps -----------------------------------------------------------------------------------------


def _live(records):
    """Events of a live reader, and what it keeps: as the dialect does."""
    reader, kept, events = TopstepFrameReader(ACCOUNT, CONTRACTS, {MNQ: D(2)}), [], []
    for text in records:
        if text is None:
            reader.begin()
            continue
        raw = text.encode()
        found = reader.read(raw, NOW)
        if found:
            events.append(found)
            kept.append(raw if reader.known is None else completed(raw, reader.known))
    return events, kept


QUOTE_TEXTS = st.builds(
    lambda contract, second, fields, times: event(
        "GatewayQuote", contract, fields | {name: f"2026-08-19T20:51:{second:02}.{second}Z" for name in times}
    ),
    st.sampled_from([MGC, MNQ]),
    st.integers(0, 30),
    st.dictionaries(st.sampled_from(["bestBid", "bestAsk", "lastPrice"]), st.sampled_from([4100, 4100.5, 4101, None])),
    st.sampled_from([["lastUpdated", "timestamp"], ["lastUpdated"], ["timestamp"], []]),
)
DEPTH_TEXTS = st.builds(
    lambda *rows: event("GatewayDepth", MGC, [level(*row) for row in rows]),
    *[st.tuples(st.sampled_from([1, 2, 3, 4, 6, 9, 10, 5]), st.integers(1, 9), st.integers(0, 2)) for _ in range(2)],
)


@given(st.lists(st.one_of(QUOTE_TEXTS, QUOTE_TEXTS, DEPTH_TEXTS, st.none()), max_size=30), st.integers(0, 30))
def test_a_journal_read_again_gives_the_same_quotes_from_anywhere(records, start):
    events, kept = _live(records)
    again = TopstepFrameReader(ACCOUNT, CONTRACTS)
    replayed = [again.read(raw, NOW) for raw in kept[start:]]
    with_books = [e for e in events[start:]]
    if start:  # a book is only known from its first record on; quotes speak for themselves
        replayed = [r for r in replayed if not isinstance(r[0], Book)]
        with_books = [e for e in with_books if not isinstance(e[0], Book)]
    assert replayed == with_books


def test_a_record_that_says_it_all_is_kept_as_it_came(reader):
    read(reader, quote(MGC, bestBid=4100.0, bestAsk=4100.2))
    read(reader, quote(MGC, "2026-08-19T20:51:32Z", bestBid=4100.0, bestAsk=4100.2))
    assert reader.known is None
    read(reader, prints(a_print()))
    assert reader.known is None


def test_what_is_kept_is_one_json_object_with_the_venues_bytes_in_front():
    text = quote(MGC, bestAsk=4100.2) + "  "
    _, (kept,) = _live([text])
    assert kept.startswith(text.strip()[:-1].encode())
    assert json.loads(kept)["known"] == {"quote": [None, 4100.2, 1_787_172_691_434]}


def test_where_a_book_begins_is_kept():
    texts = [event("GatewayDepth", MGC, [level(2, price, 1)]) for price in (99, 98)]
    events, kept = _live([texts[0], None, texts[1]])  # a new connection between them
    assert [len(e[0].bids) for e in events] == [1, 1]
    again = TopstepFrameReader(ACCOUNT, CONTRACTS)
    assert [again.read(raw, NOW) for raw in kept] == events


def test_a_multiplier_is_kept_with_its_position():
    events, kept = _live([wrapped("GatewayUserPosition", POSITION_ROW)])
    assert events[0][0].position.multiplier == D(2)
    assert [TopstepFrameReader(ACCOUNT, CONTRACTS).read(raw, NOW) for raw in kept] == events


# --- prints -----------------------------------------------------------------------------------------------------------


def test_prints_keep_their_order(reader):
    rows = [a_print(4100.2, type=0, volume=3), a_print(4100.1), a_print(4100.1)]
    found = read(reader, prints(*rows))
    assert found[0] == Trade("MGC", D("4100.2"), D(3), Side.BUY, 0, 1_787_172_690_052, NOW)
    assert [t.price for t in found] == [D("4100.2"), D("4100.1"), D("4100.1")]  # twins are not repeats
    assert found[1].side is Side.SELL


def test_a_single_print_as_the_docs_have_it(reader):
    assert one(reader, event("GatewayTrade", MGC, a_print())).price == D("4100.2")


def test_no_prints_are_no_events(reader):
    assert read(reader, prints()) == ()


@pytest.mark.parametrize(
    "row, kind",
    [
        (a_print(0), "bad_number"),
        (a_print(-5.5), "bad_number"),
        (a_print("4100"), "bad_number"),
        (a_print(None), "bad_number"),
        (a_print(volume=0), "bad_number"),
        (a_print(volume=None), "bad_number"),
        (a_print(type=2), "unknown_enum"),
        (a_print(type="1"), "wrong_type"),
        (a_print(type=None), "wrong_type"),
        (a_print(timestamp="yesterday"), "bad_time"),
        (a_print(timestamp=None), "wrong_type"),
        (without(a_print(), "price"), "wrong_type"),
        (without(a_print(), "timestamp"), "wrong_type"),
        (without(a_print(), "type"), "wrong_type"),
        (without(a_print(), "volume"), "wrong_type"),
        (None, "wrong_type"),
        ("print", "wrong_type"),
        ([a_print()], "wrong_type"),
    ],
)
def test_one_bad_print_makes_the_record_bad(reader, row, kind):
    assert bad(reader, prints(a_print(), row)) == kind


@pytest.mark.parametrize("target", ["GatewayQuote", "GatewayTrade", "GatewayDepth"])
@pytest.mark.parametrize(
    "arguments",
    [[], [MGC], [None, {}], [5, {}], ["", {}], ["x" * 65, {}], [MGC, None], [MGC, 5], [{}, MGC], [[MGC], {}]],
)
def test_market_records_of_a_wrong_shape(reader, target, arguments):
    assert bad(reader, event(target, *arguments)) == "wrong_type"


def test_arguments_that_are_none(reader):
    assert bad(reader, '{"type":1,"target":"GatewayTrade","arguments":null}') == "wrong_type"
    assert bad(reader, '{"type":1,"target":"GatewayTrade"}') == "truncated"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "contract, symbol",
    [
        (MGC, "MGC"),
        ("CON.F.US.MGC.V26", "MGCV6"),  # another month must not pass for the one that is traded
        ("CON.F.US.ENQ.U26", "NQ"),
        ("CON.F.US.EP.Z26", "ES"),
        ("CON.F.US.TYA.U26", "ZN"),
        ("CON.F.US.NEW.U27", "NEW"),
        ("whatever", "whatever"),
        ("CON.F.US.MGC", "MGC"),
    ],
)
def test_what_contracts_are_called(reader, contract, symbol):
    if contract == "CON.F.US.MGC":
        symbol = contract  # of no known form: its own name, and not that of a market
    assert one(reader, prints(a_print(), contract=contract)).symbol == symbol


# --- the book -------------------------------------------------------------------------------------------------------


def test_a_book_is_built_level_by_level(reader):
    rows = [level(2, 99, 5), level(2, 98, 7), level(1, 101, 4), level(1, 102, 1), level(5, 100, 3), level(7, 1, 1)]
    found = one(reader, event("GatewayDepth", MGC, rows))
    assert found == Book(
        "MGC", ((D(99), D(5)), (D(98), D(7))), ((D(101), D(4)), (D(102), D(1))), 1_787_172_691_417, NOW
    )
    found = one(reader, event("GatewayDepth", MGC, [level(2, 99, 0), level(1, 101, 9)]))
    assert (found.bids, found.asks) == (((D(98), D(7)),), ((D(101), D(9)), (D(102), D(1))))


@pytest.mark.parametrize("best_bid, best_ask", [(4, 3), (9, 10)])
def test_a_best_level_ends_what_lies_beyond(reader, best_bid, best_ask):
    rows = [level(2, 99, 5), level(2, 98, 7), level(1, 101, 4), level(1, 102, 1)]
    one(reader, event("GatewayDepth", MGC, rows))
    found = one(reader, event("GatewayDepth", MGC, level(best_bid, 98, 2)))  # a single object
    assert found.bids == ((D(98), D(2)),)
    found = one(reader, event("GatewayDepth", MGC, [level(best_bid, 101, 2)]))
    assert (found.bids[0], found.asks) == ((D(101), D(2)), ((D(102), D(1)),))
    found = one(reader, event("GatewayDepth", MGC, [level(best_ask, 97, 2)]))
    assert (found.bids, found.asks[0]) == ((), (D(97), D(2)))


def test_a_reset_clears_the_book(reader):
    one(reader, event("GatewayDepth", MGC, [level(2, 99, 5)]))
    found = one(reader, event("GatewayDepth", MGC, [level(6, 0, 0), level(1, 101, 4)]))
    assert (found.bids, found.asks) == ((), ((D(101), D(4)),))


def test_a_book_shows_ten_levels_and_keeps_a_thousand(reader):
    rows = [level(2, price, 1) for price in range(1, 3000)]
    found = one(reader, event("GatewayDepth", MGC, rows))
    assert [price for price, _ in found.bids] == list(range(2999, 2989, -1))
    assert len(reader._books[MGC]._bids) == 1000


@pytest.mark.parametrize(
    "row, kind",
    [
        (level(2, -1, 1), "bad_number"),
        (level(2, 99, -1), "bad_number"),
        (level(2, None, 1), "bad_number"),
        (level(2, 99, "1"), "bad_number"),
        (level("2", 99, 1), "wrong_type"),
        (level(2, 99, 1, timestamp="?"), "bad_time"),
        (None, "wrong_type"),
    ],
)
def test_one_bad_level_leaves_the_book_alone(reader, row, kind):
    before = one(reader, event("GatewayDepth", MGC, [level(2, 99, 5)]))
    assert bad(reader, event("GatewayDepth", MGC, [level(2, 98, 5), row])) == kind
    assert one(reader, event("GatewayDepth", MGC, [level(11, 1, 1)])).bids == before.bids


# --- accounts ---------------------------------------------------------------------------------------------------------

BOTH_FORMS = pytest.mark.parametrize("form", [wrapped, event])


@BOTH_FORMS
def test_an_account(reader, form):
    expected = AccountUpdate(balance=D("149848.64"), can_trade=True, received_ms=NOW)
    assert one(reader, form("GatewayUserAccount", ACCOUNT_ROW)) == expected
    locked = one(reader, form("GatewayUserAccount", ACCOUNT_ROW | {"canTrade": False, "balance": -12.5}))
    assert (locked.balance, locked.can_trade) == (D("-12.5"), False)


@pytest.mark.parametrize(
    "target, row",
    [
        ("GatewayUserAccount", ACCOUNT_ROW | {"id": 20000002}),
        ("GatewayUserOrder", ORDER_ROW | {"accountId": 20000002}),
        ("GatewayUserPosition", POSITION_ROW | {"accountId": 20000002}),
        ("GatewayUserTrade", FILL_ROW | {"accountId": 20000002}),
    ],
)
def test_other_accounts_are_not_ours(reader, target, row):
    assert read(reader, wrapped(target, row)) == ()


@pytest.mark.parametrize("action", [0, 1, 2, 17])
def test_action_says_nothing(reader, action):
    assert one(reader, wrapped("GatewayUserPosition", POSITION_ROW, action)).position.size == D(-2)


ROWS = {
    "GatewayUserAccount": (ACCOUNT_ROW, ["id", "balance", "canTrade"]),
    "GatewayUserOrder": (
        ORDER_ROW,
        ["id", "accountId", "contractId", "creationTimestamp", "status", "type", "side", "size"],
    ),
    "GatewayUserPosition": (POSITION_ROW, ["accountId", "contractId", "type", "size"]),
    "GatewayUserTrade": (
        FILL_ROW,
        ["id", "accountId", "contractId", "creationTimestamp", "price", "side", "size", "orderId"],
    ),
}
EVERY_FIELD = [(target, name) for target, (_, names) in ROWS.items() for name in names]


@pytest.mark.parametrize("target, name", EVERY_FIELD)
@BOTH_FORMS
def test_a_missing_field_is_a_bad_frame(reader, form, target, name):
    assert bad(reader, form(target, without(ROWS[target][0], name))) == "wrong_type"


@pytest.mark.parametrize("value", [None, "x", [], {}, 1.5, True, 10**30])
@pytest.mark.parametrize("target, name", EVERY_FIELD)
def test_a_field_of_a_wrong_type_is_never_an_event(reader, target, name, value):
    row = without(ROWS[target][0], "updateTimestamp") | {name: value}
    if (name, value) in [("canTrade", True), ("price", 1.5), ("balance", 1.5)] or (
        name == "contractId" and value == "x"
    ):
        assert read(reader, wrapped(target, row))  # that is the right type
    else:
        assert bad(reader, wrapped(target, row)) in ("wrong_type", "bad_number", "bad_time")


@pytest.mark.parametrize("target", list(ROWS))
@pytest.mark.parametrize("argument", [None, 5, "x", [], {}, {"action": 1}, {"action": 1, "data": None}, {"data": []}])
def test_null_payloads_and_other_nonsense(reader, target, argument):
    assert bad(reader, event(target, argument)) == "wrong_type"
    assert bad(reader, event(target)) == "wrong_type"


def test_a_reader_of_no_account_reads_all():
    for target, (row, _) in ROWS.items():
        assert read(TopstepFrameReader(None, CONTRACTS), wrapped(target, row | {"accountId": 1}))


def test_further_arguments_are_skipped(reader):
    for text in (quote(bestBid=1, bestAsk=2), prints(a_print()), wrapped("GatewayUserTrade", FILL_ROW)):
        assert read(reader, text.removesuffix("]}") + ',{"new":1},5]}')


def test_extra_fields_are_skipped(reader):
    for target, (row, _) in ROWS.items():
        assert read(reader, wrapped(target, row | {"new": {"a": [1]}, "trailDistance": 101, "trailPrice": 25.25}))


# --- orders -----------------------------------------------------------------------------------------------------------


@BOTH_FORMS
def test_an_order(reader, form):
    assert one(reader, form("GatewayUserOrder", ORDER_ROW)) == OrderUpdate(
        symbol="MNQ",
        order_id=3425270858,
        client_id="bot-42",
        status=OrderStatus.REJECTED,
        venue_status="Rejected",
        size_left=D(1),
        time_ms=1_787_172_565_396,
        working=None,
        received_ms=NOW,
    )


@pytest.mark.parametrize(
    "status, filled, expected, word, left",
    [
        (0, 0, OrderStatus.UNKNOWN, "status 0", 4),
        (1, 0, OrderStatus.ACCEPTED, "Open", 4),
        (1, 3, OrderStatus.PARTIAL, "Open", 1),
        (2, 4, OrderStatus.FILLED, "Filled", 0),
        (2, 0, OrderStatus.FILLED, "Filled", 0),  # its word is final, the count may lag
        (3, 1, OrderStatus.CANCELED, "Cancelled", 3),
        (4, 0, OrderStatus.CANCELED, "Expired", 4),
        (5, 0, OrderStatus.REJECTED, "Rejected", 4),
        (6, 0, OrderStatus.ACCEPTED, "Pending", 4),
        (7, 0, OrderStatus.ACCEPTED, "PendingCancellation", 4),
        (8, 0, OrderStatus.ACCEPTED, "Suspended", 4),
        (9, 0, OrderStatus.UNKNOWN, "status 9", 4),
        (-1, 0, OrderStatus.UNKNOWN, "status -1", 4),
    ],
)
def test_order_statuses(reader, status, filled, expected, word, left):
    found = one(reader, wrapped("GatewayUserOrder", ORDER_ROW | {"status": status, "size": 4, "fillVolume": filled}))
    assert (found.status, found.venue_status, found.size_left) == (expected, word, D(left))


CHILD = ORDER_ROW | {"side": 1, "size": 2, "customTag": "0xab-SL", "parentOrderId": 3425270857}


@pytest.mark.parametrize(
    "fields, is_stop, trigger, price",
    [
        ({"type": 4, "stopPrice": 4095.5}, True, "4095.5", "4095.5"),
        ({"type": 5, "stopPrice": 4095.5, "trailPrice": 3}, True, "4095.5", "4095.5"),
        ({"type": 1, "limitPrice": 4110}, False, None, "4110"),
        ({"type": 1, "limitPrice": 4110, "stopPrice": 1, "trailPrice": -24.75}, False, None, "4110"),
        ({"type": 3, "limitPrice": 4095, "stopPrice": 4095.5}, False, "4095.5", "4095"),  # a stop-limit is no stop
    ],
)
@pytest.mark.parametrize("status", [1, 6, 8])
def test_orders_that_work(reader, status, fields, is_stop, trigger, price):
    working = one(reader, wrapped("GatewayUserOrder", CHILD | fields | {"status": status, "fillVolume": 1})).working
    assert (working.symbol, working.side, working.order_id) == ("MNQ", Side.SELL, 3425270858)
    assert (working.client_id, working.parent_id, working.size) == ("0xab-SL", 3425270857, D(1))
    assert (working.is_stop, working.price) == (is_stop, D(price))
    assert working.trigger_price == (None if trigger is None else D(trigger))
    assert not working.reduce_only and not working.whole_position


@pytest.mark.parametrize(
    "fields",
    [
        {"type": 4, "status": 8},  # suspended, without a price yet
        {"type": 4, "status": 8, "stopPrice": None},
        {"type": 4, "status": 2, "stopPrice": 4095.5},
        {"type": 4, "status": 3, "stopPrice": 4095.5},
        {"type": 4, "status": 5, "stopPrice": 4095.5},
        {"type": 4, "status": 7, "stopPrice": 4095.5},
        {"type": 4, "status": 1, "stopPrice": 4095.5, "fillVolume": 2},
        {"type": 2, "status": 6},
        {"type": 2, "status": 6, "limitPrice": 4110},
        {"type": 6, "status": 1, "limitPrice": 4110},
        {"type": 77, "status": 1, "limitPrice": 4110, "stopPrice": 4110},
        {"type": 1, "status": 99, "limitPrice": 4110},
    ],
)
def test_orders_that_do_not(reader, fields):
    assert one(reader, wrapped("GatewayUserOrder", CHILD | fields)).working is None


@pytest.mark.parametrize(
    "fields, kind",
    [
        ({"side": 2}, "unknown_enum"),
        ({"fillVolume": 2}, "contradiction"),
        ({"fillVolume": -1}, "wrong_type"),
        ({"size": -1}, "wrong_type"),
        ({"status": 1, "type": 4, "stopPrice": -4}, "bad_number"),
        ({"status": 1, "type": 4, "stopPrice": 0}, "bad_number"),
        ({"status": 1, "type": 1, "limitPrice": "4110"}, "bad_number"),
        ({"updateTimestamp": "2026-13-01T00:00:00Z"}, "bad_time"),
        ({"customTag": 5}, "wrong_type"),
        ({"id": 0}, "wrong_type"),
        ({"id": 2**63}, "wrong_type"),
    ],
)
def test_orders_that_make_no_sense(reader, fields, kind):
    assert bad(reader, wrapped("GatewayUserOrder", ORDER_ROW | fields)) == kind


def test_an_order_never_touched_has_its_first_time(reader):
    found = one(reader, wrapped("GatewayUserOrder", without(ORDER_ROW, "updateTimestamp", "customTag", "fillVolume")))
    assert (found.time_ms, found.client_id, found.size_left) == (1_787_172_565_393, None, D(1))


# --- positions and fills --------------------------------------------------------------------------------------------


@BOTH_FORMS
@pytest.mark.parametrize(
    "fields, size",
    [
        ({"type": 1, "size": 3}, 3),
        ({"type": 2, "size": 3}, -3),
        ({"type": 0, "size": 0}, 0),
        ({"type": 1, "size": 0}, 0),  # closed is size 0, not type 0
        ({"type": 9, "size": 0}, 0),
    ],
)
def test_positions(reader, form, fields, size):
    found = one(reader, form("GatewayUserPosition", POSITION_ROW | fields))
    assert isinstance(found, PositionUpdate)
    position = found.position
    assert (position.symbol, position.contract_id, position.size) == ("MNQ", MNQ, D(size))
    assert (position.entry_price, position.multiplier) == (D("29398.5"), D(1))


def test_a_closed_position_without_a_price(reader):
    closed = without(POSITION_ROW, "averagePrice") | {"size": 0}
    assert one(reader, wrapped("GatewayUserPosition", closed)).position.entry_price == 0


@pytest.mark.parametrize(
    "fields, kind",
    [
        ({"type": 0}, "unknown_enum"),
        ({"type": 3}, "unknown_enum"),
        ({"size": -2}, "wrong_type"),
        ({"averagePrice": None}, "bad_number"),
        ({"averagePrice": 0}, "bad_number"),
        ({"averagePrice": -1}, "bad_number"),
    ],
)
def test_positions_that_make_no_sense(reader, fields, kind):
    assert bad(reader, wrapped("GatewayUserPosition", POSITION_ROW | fields)) == kind


@BOTH_FORMS
def test_a_fill(reader, form):
    assert one(reader, form("GatewayUserTrade", FILL_ROW)) == Fill(
        symbol="MNQ",
        side=Side.BUY,
        price=D(29423),
        size=D(1),
        fee=D("0.61"),
        closed_pnl=D(-49),
        order_id=3423462488,
        client_id=None,
        fill_id="3004518356",
        time_ms=1_787_148_961_406,
        received_ms=NOW,
    )


@pytest.mark.parametrize(
    "fields, fee, pnl",
    [
        ({"commissions": None}, "0.61", -49),  # a micro: 0.25 from the table
        ({"commissions": None, "size": 3, "fees": 1.08}, "1.83", -49),
        ({"commissions": None, "contractId": "CON.F.US.ENQ.U26", "fees": 1.39}, "1.89", -49),  # a mini
        ({"commissions": 0}, "0.36", -49),
        ({"fees": None}, "0.25", -49),
        ({"profitAndLoss": None}, "0.61", 0),
    ],
)
def test_costs_and_profit_that_are_left_out(reader, fields, fee, pnl):
    given = {k: v for k, v in (FILL_ROW | fields).items() if v is not None}
    for row in (given, FILL_ROW | fields):  # left out live, null on REST
        found = one(reader, wrapped("GatewayUserTrade", row))
        assert (found.fee, found.closed_pnl) == (D(fee), D(pnl))


def test_a_voided_fill_does_not_count(reader):
    assert read(reader, wrapped("GatewayUserTrade", FILL_ROW | {"voided": True})) == ()


@pytest.mark.parametrize(
    "fields, kind",
    [
        ({"size": 0}, "bad_number"),
        ({"price": 0}, "bad_number"),
        ({"side": 7}, "unknown_enum"),
        ({"fees": "1"}, "bad_number"),
    ],
)
def test_fills_that_make_no_sense(reader, fields, kind):
    assert bad(reader, wrapped("GatewayUserTrade", FILL_ROW | fields)) == kind


# --- other records, numbers and times -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        '{"type":6}',
        '{"type":7}',
        '{"type":3,"invocationId":"1"}',
        event("GatewayLogout"),
        event("New", 1),
        '{"type":42}',
    ],
)
def test_records_without_events(reader, raw):
    assert read(reader, raw) == ()


@pytest.mark.parametrize(
    "text, fraction_ms",
    [
        ("2026-08-19T20:51:31Z", 0),
        ("2026-08-19T20:51:31+00:00", 0),
        ("2026-08-19T20:51:31.4+00:00", 400),
        ("2026-08-19T20:51:31.41Z", 410),
        ("2026-08-19T20:51:31.417+00:00", 417),
        ("2026-08-19T20:51:31.4173+00:00", 417),
        ("2026-08-19T20:51:31.41736+00:00", 417),
        ("2026-08-19T20:51:31.417369+00:00", 417),
        ("2026-08-19T20:51:31.4179999+00:00", 417),
        ("2026-08-19T15:51:31.417-05:00", 417),
        ("2026-08-20T02:21:31.417+05:30", 417),
    ],
)
def test_times(text, fraction_ms):
    assert millis(text) == 1_787_172_691_000 + fraction_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-08-19",
        "2026-08-19T20:51:31",  # of no zone
        "2026-08-19T20:51:31.Z",
        "2026-08-19T20:51:31.12345678Z",
        "2026-13-19T20:51:31Z",
        "2026-02-30T20:51:31Z",
        "2026-08-19T25:51:31Z",
        "2026-08-19T20:51:60Z",
        "2026-08-19T20:51:31+99:00",
        "0001-01-01T00:00:00+00:00",
        "1970-01-01T00:00:00Z",
        "2026-08-19 20:51:31Z",
        "２026-08-19T20:51:31Z",
        " 2026-08-19T20:51:31Z",
    ],
)
def test_bad_times(text):
    with pytest.raises(BadFrame, match="bad_time"):
        millis(text)


@pytest.mark.parametrize(
    "text, value",
    [
        (b"28564.5", "28564.5"),
        (b"28589", "28589"),
        (b"0.36", "0.36"),
        (b"-0.5", "-0.5"),
        (b"6.5E-05", "0.000065"),
        (b"5e-7", "0.0000005"),
        (b"0", "0"),
    ],
)
def test_numbers(text, value):
    assert f"{number(text):f}" == value


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"true", b'"1"', b"NaN", b"Infinity", b"1e5", b"1E+5", b"1e-10", b"01", b"1.", b".5", b"+1",
     b"12345678901", b"1" * 500, b"0." + b"0" * 20 + b"1", b"[1]", b"{}", "١".encode()],
)  # fmt: skip
def test_what_is_no_number(text):
    with pytest.raises(BadFrame, match="bad_number"):
        number(text)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(), st.lists, max_leaves=6)
)
def test_nothing_but_bad_frames_is_raised(value):
    reader = TopstepFrameReader(ACCOUNT, CONTRACTS)
    for target in [*ROWS, "GatewayQuote", "GatewayTrade", "GatewayDepth"]:
        for raw in (event(target, value), event(target, MES, value), event(target, {"data": value})):
            try:
                assert read(reader, raw) == () or target == "GatewayQuote"
            except BadFrame:
                pass


@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded frames here")
def test_recorded_frames():
    reader = TopstepFrameReader(ACCOUNT, CONTRACTS)
    kinds = [type(e) for raw in RECORDED.read_bytes().splitlines() for e in reader.read(raw, NOW)]
    assert kinds == [AccountUpdate, Book, Trade, OrderUpdate, PositionUpdate, Quote, Fill]


# --- what must not mislead a replay -----------------------------------------------------------------------------------


def test_a_time_that_has_not_come_is_no_time() -> None:
    """Of an order, a fill, a level of the book: each would make what follows look old."""
    reader, at = TopstepFrameReader(ACCOUNT, CONTRACTS), "2026-08-21T20:51:31Z"
    for text in (
        event("GatewayDepth", MNQ, [level(4, 29547, 2, timestamp=at)]),
        wrapped("GatewayUserOrder", ORDER_ROW | {"updateTimestamp": at}),
        wrapped("GatewayUserTrade", FILL_ROW | {"creationTimestamp": at}),
    ):
        with pytest.raises(BadFrame, match="bad_time"):
            reader.read(text.encode(), NOW)


def test_a_book_that_began_with_a_bad_record_begins_with_the_next_for_a_replay_too() -> None:
    live, replay = TopstepFrameReader(ACCOUNT, CONTRACTS), TopstepFrameReader(ACCOUNT, CONTRACTS)

    def hear(*levels) -> None:
        raw = event("GatewayDepth", MNQ, list(levels)).encode()
        events = live.read(raw, NOW)
        if events:
            kept = raw if live.known is None else completed(raw, live.known)
            assert replay.read(kept, NOW) == events

    hear(level(2, 29540, 1))
    live.begin()  # a new connection, which a replay does not see
    with pytest.raises(BadFrame):
        hear(level(2, -1, 1))
    hear()
    hear(level(2, 29547, 2))
