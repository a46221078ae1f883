"""Reads: single HTTP answers by `responses`, recorded answers of the real venue, slow and broken bodies by sockets."""

import json
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import responses

from core.messages import ClockOffset
from core.model import Fill, Side
from hyperliquid_client import Credentials, HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import ManualClock
from runtime.venue import CredentialsRefused, VenueUnavailable, believed
from tests.loopback import CLOSE, DRIP, RESET, STALL, Reply, http, loopback_venue
from tests.test_hyperliquid_client_network import ACCOUNT, KEY, SHORT, client_of
from tests.test_hyperliquid_client_settle import fill_row, order_row, stop_row
from venues.hyperliquid import fills, info, wire

URL = "http://127.0.0.1:9"
NOW_MS = 1_790_360_864_000
MASTER = "0x" + "a1" * 20
META = {
    "universe": [
        {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56},
        {"szDecimals": 1, "name": "MATIC", "maxLeverage": 20, "marginTableId": 20, "isDelisted": True},
        {"szDecimals": 0, "name": "kPEPE", "maxLeverage": 10, "marginTableId": 10, "onlyIsolated": True},
    ],
    "marginTables": [],
    "collateralToken": 0,
}
STATE = {  # captured, page 2.4
    "marginSummary": {
        "accountValue": "38252.7",
        "totalNtlPos": "377667.0",
        "totalRawUsd": "-339414.3",
        "totalMarginUsed": "37766.7",
    },
    "crossMarginSummary": {},
    "crossMaintenanceMarginUsed": "4720.8375",
    "withdrawable": "486.0",
    "assetPositions": [
        {
            "type": "oneWay",
            "position": {
                "coin": "BTC",
                "szi": "4.5",
                "leverage": {"type": "cross", "value": 10},
                "entryPx": "81285.0",
                "positionValue": "377667.0",
                "unrealizedPnl": "11884.306507",
                "returnOnEquity": "0.3249007326",
                "liquidationPx": "74501.802790436",
                "marginUsed": "37766.7",
                "maxLeverage": 40,
                "cumFunding": {"allTime": "982.43637", "sinceOpen": "982.43637", "sinceChange": "0.0"},
            },
        }
    ],
    "time": 1790360864964,
}


class Info:
    """Answers of `/info` by type; a list is used up to its last entry, a function is asked."""

    def __init__(self, mock: responses.RequestsMock, **answers: Any) -> None:
        self.answers, self.asked = answers, []
        mock.add_callback(responses.POST, f"{URL}/info", self._answer)

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str | bytes]:
        body = json.loads(request.body or b"")
        self.asked.append(body)
        answer = self.answers[body["type"]]
        if callable(answer):
            answer = answer(body)
        if isinstance(answer, list) and answer and isinstance(answer[0], Http):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Http):
            return answer.status, answer.headers, answer.body
        return 200, {}, json.dumps(answer)

    def kinds(self) -> list[str]:
        return [body["type"] for body in self.asked]


class Http(msgspec.Struct):
    status: int
    body: str = "null"
    headers: dict[str, str] = {}


@pytest.fixture
def mock():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def budget(clock: ManualClock) -> WeightBudget:
    return WeightBudget(clock)


@pytest.fixture
def client(clock: ManualClock, budget: WeightBudget) -> HyperliquidClient:
    return client_of(URL, clock, budget=budget)


# --- instruments ----------------------------------------------------------------------------------------------------


def test_delisted_rows_keep_their_index_and_are_left_out(mock, client: HyperliquidClient):
    Info(mock, meta=META)
    found = client.instruments()
    assert list(found) == ["BTC", "kPEPE"]
    btc, pepe = found.values()
    assert (btc.asset_id, btc.lot_size, btc.price_decimals, btc.max_leverage) == (0, D("0.00001"), 1, 40)
    assert (pepe.asset_id, pepe.lot_size, pepe.price_decimals, pepe.min_notional) == (2, D(1), 6, D(10))


@pytest.mark.parametrize(
    "universe",
    [[], [{"name": "X", "szDecimals": 7, "maxLeverage": 5}], [{"name": "X", "szDecimals": 1, "maxLeverage": 0}]],
)
def test_an_impossible_meta_is_no_answer(mock, client: HyperliquidClient, universe: list[Any]):
    Info(mock, meta={"universe": universe})
    with pytest.raises(VenueUnavailable, match="meta"):
        client.instruments()


# --- account --------------------------------------------------------------------------------------------------------

ORDERS = [stop_row(oid=3), order_row(oid=2, children=[stop_row(oid=3)]), stop_row(oid=3), order_row(oid=4, coin="@107")]


@pytest.mark.parametrize("mode", ["disabled", "default", "dexAbstraction", "something new"])
def test_a_classic_account(mock, client: HyperliquidClient, mode: str):
    asked = Info(mock, userAbstraction=mode, clearinghouseState=STATE, frontendOpenOrders=ORDERS)
    account = client.account()
    assert (account.equity, account.available, account.time_ms) == (D("38252.7"), D("486.0"), 1790360864964)
    (position,) = account.positions
    assert (position.symbol, position.size, position.entry_price) == ("BTC", D("4.5"), D("81285.0"))
    assert (position.leverage, position.is_cross, position.liquidation_price) == (10, True, D("74501.802790436"))
    assert [order.order_id for order in account.orders] == [3, 2]  # each once, no spot
    assert all(body["user"] == ACCOUNT for body in asked.asked)


@pytest.mark.parametrize("pnl, equity, available", [("12.5", "977.60", "901.68"), ("-12.5", "965.10", "889.18")])
@pytest.mark.parametrize("mode", ["unifiedAccount", "portfolioMargin"])
def test_a_unified_account_counts_its_dollars_and_open_losses(
    mock, client: HyperliquidClient, mode: str, pnl: str, equity: str, available: str
):
    position = {**STATE["assetPositions"][0]["position"], "unrealizedPnl": pnl}
    state = {
        **STATE,
        "marginSummary": {"accountValue": "25.92", "totalMarginUsed": "25.92"},
        "assetPositions": [{"type": "oneWay", "position": position}],
    }
    spot = {
        "balances": [
            {"coin": "USDC", "token": 0, "total": "977.60", "hold": "50.0", "entryNtl": "0.0"},
            {"coin": "HYPE", "token": 150, "total": "5.2", "hold": "0.0", "entryNtl": "75.4"},
        ]
    }
    Info(mock, userAbstraction=mode, clearinghouseState=state, spotClearinghouseState=spot, frontendOpenOrders=[])
    account = client.account()
    assert (account.equity, account.available) == (D(equity), D(available))
    assert len(account.positions) == 1


def test_the_account_mode_is_read_again_every_minute(mock, client: HyperliquidClient, clock: ManualClock):
    asked = Info(mock, userAbstraction="default", clearinghouseState=STATE, frontendOpenOrders=[])
    for _ in range(3):
        client.account()
    assert asked.kinds().count("userAbstraction") == 1
    clock.advance(60_000)
    client.account()
    assert asked.kinds().count("userAbstraction") == 2


@pytest.mark.parametrize(
    "missing", ["userAbstraction", "clearinghouseState", "frontendOpenOrders", "spotClearinghouseState"]
)
def test_never_half_an_account(mock, client: HyperliquidClient, missing: str):
    answers: dict[str, Any] = {
        "userAbstraction": "unifiedAccount",
        "clearinghouseState": STATE,
        "frontendOpenOrders": [],
        "spotClearinghouseState": {"balances": []},
    }
    Info(mock, **{**answers, missing: Http(500)})
    with pytest.raises(VenueUnavailable, match=missing):
        client.account()


@pytest.mark.parametrize(
    "change",
    [{"withdrawable": "NaN"}, {"withdrawable": None}, {"assetPositions": {}}, {"time": "1"}, {"marginSummary": {}}],
)
def test_a_senseless_account_is_no_answer(mock, client: HyperliquidClient, change: dict[str, Any]):
    Info(mock, userAbstraction="default", clearinghouseState={**STATE, **change}, frontendOpenOrders=[])
    with pytest.raises(VenueUnavailable):
        client.account()


# --- orders, fills --------------------------------------------------------------------------------------------------


def test_a_position_stop_of_size_zero_is_a_working_order(mock, client: HyperliquidClient):
    Info(mock, frontendOpenOrders=[stop_row(), order_row(oid=78, side="B", sz="0.01", reduceOnly=False)])
    stop, limit = client.working_orders().orders
    assert (stop.size, stop.trigger_price, stop.is_stop, stop.whole_position) == (D(0), D("71"), True, True)
    assert (stop.client_id, stop.side, stop.reduce_only) == (None, Side.SELL, True)
    assert (limit.size, limit.trigger_price, limit.is_stop, limit.whole_position) == (D("0.01"), None, False, False)
    assert (limit.client_id, limit.side, limit.reduce_only) == (order_row()["cloid"], Side.BUY, False)


@pytest.mark.parametrize(
    ("kind", "protects"),
    [("Stop Market", True), ("Stop Limit", False), ("Take Profit Market", False), ("Take Profit Limit", False)],
)
def test_only_a_stop_market_is_a_stop(mock, client: HyperliquidClient, kind: str, protects: bool):
    """A stop-limit may be left behind by a gap (page 8.1)."""
    Info(mock, frontendOpenOrders=[stop_row(orderType=kind)])
    assert client.working_orders().orders[0].is_stop is protects


@pytest.mark.parametrize("change", [{"side": "X"}, {"sz": "-1"}, {"triggerPx": "0.0"}, {"oid": "77"}, {"limitPx": "x"}])
def test_a_senseless_order_is_no_answer(mock, client: HyperliquidClient, change: dict[str, Any]):
    Info(mock, frontendOpenOrders=[stop_row(**change)])
    with pytest.raises(VenueUnavailable, match="frontendOpenOrders"):
        client.working_orders()


def test_fills(mock, client: HyperliquidClient):
    liquidated = {"liquidatedUser": ACCOUNT.upper().replace("X", "x"), "markPx": "1.0", "method": "market"}
    theirs = {"liquidatedUser": MASTER, "markPx": "1.0", "method": "market"}
    rows = [
        fill_row(tid=1),
        fill_row(tid=2, time=NOW_MS, liquidation=liquidated),
        fill_row(tid=3, time=NOW_MS + 1, liquidation=theirs, cloid=None, side="B", fee="-0.1"),
        fill_row(tid=4, coin="@107"),
    ]
    asked = Info(mock, userFillsByTime=rows)
    first, second, third = client.fills_since(5)
    assert first.fill_id == f"{first.time_ms}:BTC:1"
    assert (first.price, first.size, first.fee, first.closed_pnl) == (D("43251"), D("0.01"), D("0.1"), D(1))
    assert (first.side, first.client_id, first.order_id) == (Side.SELL, fill_row()["cloid"], 78)
    assert (first.is_snapshot, first.is_liquidation, first.start_position) == (True, False, D("0.02"))
    assert (second.is_liquidation, third.is_liquidation) == (True, False)
    assert (third.side, third.client_id, third.fee) == (Side.BUY, None, D("-0.1"))
    assert asked.asked == [
        {"type": "userFillsByTime", "user": ACCOUNT, "startTime": 5, "aggregateByTime": False},
    ]


def test_fills_are_paged_by_time_and_deduplicated(mock, client: HyperliquidClient, budget: WeightBudget):
    everything = [fill_row(tid=n, time=1_000 + n // 3) for n in range(4_500)]

    def page(body: dict[str, Any]) -> list[Any]:
        return [row for row in everything if row["time"] >= body["startTime"]][:2_000]

    asked = Info(mock, userFillsByTime=page)
    found = client.fills_since(0)
    assert len(found) == len({fill.fill_id for fill in found}) == 4_500
    assert len(asked.asked) == 3
    assert budget.used() == 3 * 20 + 100 + 100 + 25  # and one for every 20 rows


def test_a_page_that_leads_nowhere_is_an_error_not_an_endless_loop(mock, client: HyperliquidClient):
    asked = Info(mock, userFillsByTime=[fill_row(tid=n, time=1_000) for n in range(2_000)])
    with pytest.raises(VenueUnavailable):
        client.fills_since(1_000)
    assert len(asked.asked) == 1


def fill(start: str, size: str, side: Side, time_ms: int = 1, symbol: str = "BTC", n: int = 0) -> Fill:
    return Fill(symbol, side, D(1), D(size), D(0), D(0), 1, None, f"{n}", time_ms, 1, D(start))


def test_fills_of_one_millisecond_are_chained_by_start_position():
    chain = [
        fill("0", "1", Side.BUY),
        fill("1", "2", Side.BUY),
        fill("3", "5", Side.SELL),
        fill("-2", "0.5", Side.SELL),
        fill("-2.5", "1", Side.BUY, time_ms=2),
    ]
    for shuffled in (chain[::-1], [chain[2], chain[0], chain[4], chain[3], chain[1]]):
        assert list(fills.in_order(shuffled)) == chain


def test_fills_that_come_back_to_where_they_started_are_all_kept():
    round_trip = [fill("0", "1", Side.BUY, n=1), fill("1", "1", Side.SELL, n=2)]
    assert sorted(fills.in_order(round_trip), key=lambda f: f.fill_id) == round_trip
    gap = [fill("0", "1", Side.BUY, n=1), fill("7", "1", Side.SELL, n=2), fill("1", "1", Side.BUY, n=3)]
    assert {f.fill_id for f in fills.in_order(gap)} == {"1", "2", "3"}


# --- prices ---------------------------------------------------------------------------------------------------------


def book(coin: str, bid: str | None = "99.0", ask: str | None = "101.0") -> dict[str, Any]:
    levels = [[{"px": px, "sz": "1.0", "n": 1}] if px else [] for px in (bid, ask)]
    return {"coin": coin, "time": NOW_MS - 300, "levels": levels}


def test_a_few_markets_are_polled_by_their_books(mock, client: HyperliquidClient, budget: WeightBudget):
    asked = Info(mock, l2Book=lambda body: book(body["coin"], ask=None if body["coin"] == "EMPTY" else "101.0"))
    prices = client.polled_prices(["BTC", "EMPTY", "ETH"])
    assert [price.symbol for price in prices] == ["BTC", "ETH"]
    assert (prices[0].price, prices[0].bid, prices[0].ask, prices[0].time_ms) == (D(100), D(99), D(101), NOW_MS - 300)
    assert len(asked.asked) == 3
    assert budget.used() == 6
    budget.charge(budget.capacity - 200 - 6)  # what is left is for orders, and for prices where no stream brings them
    assert client.polled_prices(["BTC"]) and budget.used() == budget.capacity - 198


def test_many_markets_are_polled_by_mids_and_marks_now_and_then(mock, client, clock: ManualClock, budget: WeightBudget):
    meta = {"universe": [{"name": f"C{n}", "szDecimals": 1, "maxLeverage": 5} for n in range(7)]}
    contexts = [{"markPx": f"{n + 1}.5"} for n in range(6)] + [{"markPx": None}]
    asked = Info(mock, allMids={f"C{n}": f"{n + 1}.0" for n in range(6)}, metaAndAssetCtxs=[meta, contexts])
    symbols = [f"C{n}" for n in range(7)]
    first = client.polled_prices(symbols)
    assert [(p.symbol, p.price, p.mark, p.time_ms) for p in first[:2]] == [
        ("C0", D(1), D("1.5"), None),
        ("C1", D(2), D("2.5"), None),
    ]
    assert len(first) == 6  # C6 has no mid
    assert client.polled_prices(symbols)[0].mark is None  # an old mark is not shown as a new one
    clock.advance(10_000)
    assert client.polled_prices(symbols)[0].mark == D("1.5")
    assert asked.kinds().count("metaAndAssetCtxs") == 2
    assert budget.used() == 3 * 2 + 2 * 20


@pytest.mark.parametrize("answer", [None, book("ETH"), book("BTC", bid="-1"), book("BTC", bid="NaN"), {"levels": []}])
def test_a_senseless_book_is_no_answer(mock, client: HyperliquidClient, answer: Any):
    Info(mock, l2Book=answer)
    with pytest.raises(VenueUnavailable, match="l2Book"):
        client.polled_prices(["BTC"])


def candle(open_ms: int, **changes: Any) -> dict[str, Any]:
    row = {"t": open_ms, "T": open_ms + 59_999, "s": "BTC", "i": "1m", "o": "1.0", "c": "2.0", "h": "3.0", "l": "0.5"}
    return {**row, "v": "14.3", "n": 114, **changes}


def test_bars(mock, client: HyperliquidClient):
    asked = Info(mock, candleSnapshot=[candle(NOW_MS + n * 60_000) for n in range(-4, 1)])
    bars = client.bars("BTC", 60_000, 3)
    assert [bar.open_ms for bar in bars] == [NOW_MS - 120_000, NOW_MS - 60_000, NOW_MS]
    assert (bars[0].open, bars[0].high, bars[0].low, bars[0].close) == (D(1), D(3), D("0.5"), D(2))
    assert (bars[0].close_ms, bars[0].volume) == (NOW_MS - 60_001, D("14.3"))
    assert asked.asked[0]["req"] == {
        "coin": "BTC",
        "interval": "1m",
        "startTime": NOW_MS - 240_000,
        "endTime": NOW_MS + 60_000,
    }


def test_bars_shorter_than_the_venue_has_are_none(client: HyperliquidClient):
    assert client.bars("BTC", 1_000, 10) == ()


@pytest.mark.parametrize("change", [{"o": "0"}, {"v": "-1"}, {"c": None}, {"t": "1"}])
def test_a_senseless_candle_is_no_answer(mock, client: HyperliquidClient, change: dict[str, Any]):
    Info(mock, candleSnapshot=[candle(1, **change)])
    with pytest.raises(VenueUnavailable, match="candleSnapshot"):
        client.bars("BTC", 60_000, 3)


@pytest.mark.parametrize(("weight", "has_room"), [(800, True), (801, False)])
def test_a_glance_leaves_room_for_entries(client: HyperliquidClient, budget: WeightBudget, weight: int, has_room: bool):
    budget.charge(weight - budget.used())
    assert client.has_room() is has_room


def test_request_budget(mock, client: HyperliquidClient):
    Info(mock, userRateLimit={"cumVlm": "58293.48", "nRequestsUsed": 846, "nRequestsCap": 68293, "nRequestsSurplus": 0})
    said = client.request_budget()
    assert (said.used, said.cap) == (846, 68293)


# --- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_overloaded_venue_is_asked_again(mock, client: HyperliquidClient, clock: ManualClock, status: int):
    asked = Info(mock, frontendOpenOrders=[Http(status), Http(status, "<html>"), Http(200, "[]")])
    assert client.working_orders().orders == ()
    assert len(asked.asked) == 3
    assert 0 < sum(clock.waits) < 10


@pytest.mark.parametrize("status", [429, 500, 502])
def test_patience_ends(mock, client: HyperliquidClient, clock: ManualClock, status: int):
    asked = Info(mock, frontendOpenOrders=[Http(status, "<html>busy</html>")])
    with pytest.raises(VenueUnavailable, match=f"frontendOpenOrders: HTTP {status}") as caught:
        client.working_orders()
    assert caught.value.status == status
    assert len(asked.asked) == 3
    assert sum(clock.waits) < 10


@pytest.mark.parametrize("status", [301, 307, 400, 403, 404, 415, 422])
def test_a_refused_question_is_not_asked_again(mock, client: HyperliquidClient, status: int):
    asked = Info(mock, frontendOpenOrders=Http(status, "Failed to deserialize", {"Location": "http://127.0.0.1:9/x"}))
    with pytest.raises(VenueUnavailable, match=str(status)):
        client.working_orders()
    assert len(asked.asked) == 1


def test_retry_after_is_honoured(mock, client: HyperliquidClient, clock: ManualClock):
    Info(mock, frontendOpenOrders=[Http(429, headers={"Retry-After": "3"}), Http(200, "[]")])
    client.working_orders()
    assert sum(clock.waits) == 3


def test_a_long_retry_after_is_the_callers_business(mock, client: HyperliquidClient, clock: ManualClock):
    asked = Info(mock, frontendOpenOrders=[Http(429, headers={"Retry-After": "120"})])
    with pytest.raises(VenueUnavailable) as caught:
        client.working_orders()
    assert caught.value.retry_s == 120
    assert (len(asked.asked), clock.waits) == (1, [])


@pytest.mark.parametrize("text", ["soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "", "²"])
def test_a_retry_after_nobody_can_read_is_ignored(mock, client: HyperliquidClient, text: str):
    Info(mock, frontendOpenOrders=[Http(429, headers={"Retry-After": text}), Http(200, "[]")])
    assert client.working_orders().orders == ()


def test_a_429_holds_the_reads_of_all_threads(
    mock, client: HyperliquidClient, budget: WeightBudget, clock: ManualClock
):
    Info(mock, frontendOpenOrders=[Http(429, headers={"Retry-After": "120"})], meta=META)
    with pytest.raises(VenueUnavailable):
        client.working_orders()
    client.clone().instruments()
    assert sum(clock.waits) == 5.0


@pytest.mark.parametrize("body", ["", "null", "{}", "[", "[{}]", "<html></html>", '{"a":1}', "\x00", "[1]"])
def test_a_body_that_is_no_answer_is_said_to_be_none(mock, client: HyperliquidClient, body: str):
    Info(mock, frontendOpenOrders=Http(200, body))
    with pytest.raises(VenueUnavailable, match="frontendOpenOrders: unexpected answer"):
        client.working_orders()


TROUBLE: dict[str, Reply] = {
    "reset": RESET,
    "closed": CLOSE,
    "stalls": STALL,
    "drips its body": (http(b"[]")[:-1].replace(b"h: 2", b"h: 9999"), DRIP),
    "half a body": (http([order_row()])[:-20], CLOSE),
    "not HTTP": (b"hello\r\n\r\n", CLOSE),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE.keys())
def test_network_trouble_is_unavailable_and_names_no_address(clock: ManualClock, trouble: Reply):
    with loopback_venue(lambda path, body: trouble) as venue:
        with pytest.raises(VenueUnavailable, match="frontendOpenOrders: ") as caught:
            client_of(venue.url, clock, timeouts=SHORT).working_orders()
        assert len(venue.requests) == 3
        for secret in (str(venue.port), "127.0.0.1", ACCOUNT, KEY[2:]):
            assert secret not in str(caught.value)


def test_a_read_recovers_by_itself(clock: ManualClock):
    replies = iter([CLOSE, http([])])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        assert client_of(venue.url, clock).working_orders().orders == ()


def test_reads_keep_their_connection(clock: ManualClock):
    with loopback_venue(lambda path, body: http([])) as venue:
        client = client_of(venue.url, clock)
        for _ in range(3):
            client.working_orders()
        assert venue.connections == 1


def test_close_ends_a_pause(mock, client: HyperliquidClient, clock: ManualClock):
    asked = Info(mock, frontendOpenOrders=Http(500))
    client.close()
    with pytest.raises(VenueUnavailable):
        client.working_orders()
    assert len(asked.asked) == 1


# --- leverage -------------------------------------------------------------------------------------------------------

DEFAULT = {"status": "ok", "response": {"type": "default"}}


def leverage_venue(mode: str, value: int, reply: Reply):
    return loopback_venue(
        lambda path, body: reply if path == "/exchange" else http({"leverage": {"type": mode, "value": value}})
    )


@pytest.mark.parametrize("mode, is_cross", [("cross", True), ("isolated", False)])
def test_leverage_keeps_the_margin_mode(clock: ManualClock, mode: str, is_cross: bool):
    with leverage_venue(mode, 20, http(DEFAULT)) as venue:
        client_of(venue.url, clock).set_leverage("BTC", 5, 9)
        assert venue.requests[-1][1]["action"] == {
            "type": "updateLeverage",
            "asset": 3,
            "isCross": is_cross,
            "leverage": 5,
        }


def test_a_market_without_cross_margin_gets_isolated_leverage(clock: ManualClock):
    def play(path: str, body: dict[str, Any]) -> Reply:
        if path == "/exchange":
            return http(DEFAULT)
        return http(META if body["type"] == "meta" else {"leverage": {"type": "cross", "value": 20}})

    with loopback_venue(play) as venue:
        client = client_of(venue.url, clock)
        client.instruments()
        client.clone().set_leverage("kPEPE", 5, 9)
        assert venue.requests[-1][1]["action"]["isCross"] is False


def test_the_same_leverage_costs_no_action(clock: ManualClock):
    with leverage_venue("cross", 5, http(DEFAULT)) as venue:
        client_of(venue.url, clock).set_leverage("BTC", 5, 9)
        assert venue.paths() == ["/info"]


@pytest.mark.parametrize(
    "reply, error",
    [
        (http({"status": "err", "response": "Invalid leverage value"}), ValueError),
        (http({"status": "err", "response": "Cannot switch leverage type with open position."}), ValueError),
        (http({"status": "err", "response": "Invalid nonce: duplicate nonce 9"}), VenueUnavailable),
        (http(b"null", 429), VenueUnavailable),
        (http(b"<html>"), VenueUnavailable),
        (CLOSE, VenueUnavailable),
    ],
)
def test_refused_leverage(clock: ManualClock, reply: Reply, error: type[Exception]):
    with leverage_venue("cross", 20, reply) as venue:
        with pytest.raises(error):
            client_of(venue.url, clock).set_leverage("BTC", 5, 9)
        assert len(venue.requests) == 2


# --- credentials ----------------------------------------------------------------------------------------------------


def with_account(account: str | None, clock: ManualClock, vault: str | None = None) -> HyperliquidClient:
    client = client_of(URL, clock, vault_address=vault)
    client._account = account
    return client


def roles(**by_address: dict[str, Any]):
    return lambda body: by_address.get("A" + body["user"][2:6], {"role": "missing"})


USER, AGENT = {"role": "user"}, {"role": "agent", "data": {"user": MASTER}}
SUB = {"role": "subAccount", "data": {"master": MASTER}}
SUB_ADDRESS = "0x" + "5b" * 20


def agents(*rows: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"name": "bot1", "address": address, "validUntil": until} for address, until in rows]


def test_the_accounts_own_key(mock, clock: ManualClock):
    Info(mock, userRole=roles(A1479=USER))
    assert with_account(ACCOUNT, clock).check_credentials() == Credentials(is_agent=False)


def test_a_named_agents_key_and_when_it_ends(mock, clock: ManualClock):
    Info(mock, userRole=roles(Aa1a1=USER), extraAgents=agents((SUB_ADDRESS, 1), (ACCOUNT, NOW_MS + 1)))
    assert with_account(MASTER, clock).check_credentials() == Credentials(is_agent=True, expires_ms=NOW_MS + 1)


def test_the_unnamed_agents_key(mock, clock: ManualClock):
    Info(mock, userRole=roles(Aa1a1=USER, A1479=AGENT), extraAgents=[])
    assert with_account(MASTER, clock).check_credentials() == Credentials(is_agent=True)


def test_an_agent_of_the_master_may_trade_the_sub_account(mock, clock: ManualClock):
    Info(mock, userRole=roles(A5b5b=SUB, A1479=AGENT), extraAgents=[])
    assert with_account(SUB_ADDRESS, clock, vault=SUB_ADDRESS).check_credentials().is_agent


@pytest.mark.parametrize(
    "account, answers, sentence",
    [
        (MASTER, {"userRole": roles(Aa1a1=USER), "extraAgents": agents((ACCOUNT, NOW_MS))}, "has expired"),
        (MASTER, {"userRole": roles(Aa1a1=USER), "extraAgents": []}, "neither the account's own"),
        (MASTER, {"userRole": roles(Aa1a1=USER, A1479=USER), "extraAgents": []}, "neither the account's own"),
        (
            MASTER,
            {"userRole": roles(Aa1a1=USER, A1479={"role": "agent", "data": {"user": SUB_ADDRESS}}), "extraAgents": []},
            "neither the account's own",
        ),
        (MASTER, {"userRole": roles(Aa1a1=AGENT)}, "is an agent's"),
        (MASTER, {"userRole": roles()}, "does not know the account"),
        (SUB_ADDRESS, {"userRole": roles(A5b5b=SUB)}, "vault address"),
        (None, {}, "HYPERLIQUID_ACCOUNT_ADDRESS"),
    ],
)
def test_refused_credentials_say_why_in_one_sentence(
    mock, clock: ManualClock, account: str | None, answers: dict[str, Any], sentence: str
):
    Info(mock, **answers)
    with pytest.raises(CredentialsRefused, match=sentence) as caught:
        with_account(account, clock).check_credentials()
    assert "\n" not in str(caught.value)
    assert KEY[2:] not in str(caught.value)


def test_no_word_from_the_venue_is_not_a_refusal(mock, clock: ManualClock):
    Info(mock, userRole=Http(503))
    with pytest.raises(VenueUnavailable):
        with_account(ACCOUNT, clock).check_credentials()


@pytest.mark.parametrize("account", ["0x12", "hello", ACCOUNT[:-1] + "g"])
def test_an_address_that_is_none_is_refused(account: str, clock: ManualClock):
    with pytest.raises(ValueError):
        HyperliquidClient(URL, None, account, clock=clock, budget=WeightBudget(clock))


# --- what the real venue sent ---------------------------------------------------------------------------------------

RECORDED = Path(__file__).resolve().parents[2] / "shared/data/hyperliquid"
SHAPES: dict[str, Any] = {
    "meta": info.Meta,
    "allMids": dict[str, D],
    "candleSnapshot": list[info.Candle],
    "extraAgents": list[info.ExtraAgent],
    "frontendOpenOrders": list[info.OrderRow],
    "l2Book": info.BookAnswer,
    "userFills": list[fills.FillRow],
    "userRateLimit": info.RateLimit,
}


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded answers here")
@pytest.mark.parametrize("kind", SHAPES)
def test_recorded_answers_parse(kind: str):
    exchanges = json.loads((RECORDED / f"info_{kind}.json").read_text(encoding="utf-8"))
    for exchange in exchanges:
        what = exchange["request"]["type"]
        parsed: Any = info.decode(json.dumps(exchange["response"]).encode(), SHAPES[what])
        match what:
            case "meta":
                assert info.instruments_of(parsed)["BTC"].asset_id == 0
            case "candleSnapshot":
                assert [info.bar_of(row) for row in parsed]
            case "frontendOpenOrders":
                orders = info.working_orders_of(parsed)
                assert [(o.order_id, o.is_stop) for o in orders] == [
                    (3184595907, False),
                    (3184595906, True),
                    (3184595905, False),
                ]
            case "l2Book":
                bid, ask = info.best_prices(parsed, exchange["request"]["coin"])
                assert bid is not None and ask is not None and bid < ask
            case "userFills":
                found = fills.in_order([fills.fill_of(row, ACCOUNT, 1) for row in parsed])
                assert len({(fill.fill_id, fill.size, fill.price) for fill in found}) == len(found) == len(parsed)
            case _:
                assert parsed


# --- what no venue can mean -------------------------------------------------------------------------------------------

DEEP = b"[" * 5_000 + b"]" * 5_000


@pytest.mark.parametrize("shape", [info.Meta, info.BookAnswer, list[info.OrderRow]])
def test_an_answer_nested_beyond_any_sense_is_a_bad_answer(shape):
    with pytest.raises(info.BadAnswer):
        info.decode(DEEP, shape)
    assert isinstance(wire.read_answer(200, b'{"status":"ok","response":' + DEEP + b"}"), wire.Unclear)


@pytest.mark.parametrize("text", ["sNaN", "NaN", "Infinity", "1E+999999", "-1E+400"])
def test_numbers_that_cannot_be_worked_with_are_bad_answers(text):
    wild = D(text)
    for value in (info.finite, info.above_zero):
        with pytest.raises(info.BadAnswer):
            value(wild, "it")
    leverage = info._Leverage("cross", 5)
    row = info._AssetPosition(info._Position("BTC", wild, leverage, D(0), D(1)))
    state = info.Clearinghouse(info._Summary(D(1), D(0)), D(1), [row], 1)
    with pytest.raises(info.BadAnswer):
        info.positions_of(state)


def test_a_time_beyond_any_sense_is_an_unusable_answer():
    bad = ClockOffset(received_ms=1_790_000_000_000, offset_ms=10**15, round_trip_ms=1)
    with pytest.raises(VenueUnavailable, match="beyond any sense"):
        believed(bad, 0)
