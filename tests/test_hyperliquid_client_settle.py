"""What became of an order in doubt: the table of protocol page 3.8, row by row, over a loopback venue."""

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from core.messages import OrderSettled, OrderUnknown
from core.model import Order, OrderStatus, OrderType, Side
from runtime.clock import ManualClock
from tests.loopback import CLOSE, STALL, LoopbackVenue, Reply, http, loopback_venue
from tests.test_hyperliquid_client_network import ACCOUNT, ORDER, PATIENT, SHORT, client_of
from venues.hyperliquid.settle import LEFT_NO_RECORD, LOOKUP_WAITS_S, NOT_LIVE, NOT_PLACED

OTHER_CLOID = "0x" + "9" * 32
STOP = msgspec.structs.replace(
    ORDER,
    type=OrderType.STOP,
    size=D(0),
    trigger_price=D("71"),
    price=D("64"),
    whole_position=True,
    expires_ms=None,
)
UNKNOWN = {"status": "unknownOid"}
DEFAULT = {"status": "ok", "response": {"type": "default"}}
DUPLICATE = {"status": "err", "response": f"Invalid nonce: duplicate nonce {ORDER.nonce}"}
TOO_LOW = {"status": "err", "response": f"Invalid nonce: nonce too low {ORDER.nonce} < 1790000000001"}


def order_row(**changes: Any) -> dict[str, Any]:
    row = {
        "coin": "BTC",
        "side": "A",
        "limitPx": "43250.5",
        "sz": "0.0",
        "oid": 77,
        "timestamp": ORDER.nonce + 10,
        "triggerCondition": "N/A",
        "isTrigger": False,
        "triggerPx": "0.0",
        "children": [],
        "isPositionTpsl": False,
        "reduceOnly": True,
        "orderType": "Limit",
        "origSz": "0.02",
        "tif": "Ioc",
        "cloid": ORDER.client_id,
    }
    return {**row, **changes}


def stop_row(**changes: Any) -> dict[str, Any]:
    stop = {"isTrigger": True, "triggerPx": "71.0", "isPositionTpsl": True, "orderType": "Stop Market", "origSz": "0.0"}
    return order_row(**{**stop, "tif": None, "cloid": None, **changes})


def known(status: str, **changes: Any) -> dict[str, Any]:
    return {"status": "order", "order": {"order": order_row(**changes), "status": status, "statusTimestamp": 1}}


class Script:
    """Answers by request type: each list is used up to its last entry, which repeats."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = {
            "noop": [DEFAULT],
            "orderStatus": [UNKNOWN],
            "frontendOpenOrders": [[]],
            "userFillsByTime": [[]],
            "historicalOrders": [[]],
            **answers,
        }

        self.stalls = any(STALL in replies for replies in self.answers.values())

    def __call__(self, path: str, body: dict[str, Any]) -> Reply:
        answers = self.answers[body["action"]["type"] if path == "/exchange" else body["type"]]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, bytes | str) else http(answer)


def settle(
    order: Order, script: Script, noops_sent: int = 0
) -> tuple[OrderSettled | OrderUnknown, LoopbackVenue, ManualClock]:
    clock = ManualClock(ORDER.nonce + 1_000)
    with loopback_venue(script) as venue:
        client = client_of(venue.url, clock, timeouts=SHORT if script.stalls else PATIENT)
        said = client.settle(order, noops_sent)
        client.close()
    assert (said.client_id, said.symbol) == (order.client_id, order.symbol)
    return said, venue, clock


def kinds(venue: LoopbackVenue) -> list[str]:
    return [body["action"]["type"] if path == "/exchange" else body["type"] for path, body in venue.requests]


# --- found at once: no noop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "venue_status, row, status, filled",
    [
        ("open", {"sz": "0.02"}, OrderStatus.ACCEPTED, "0"),
        ("open", {"sz": "0.015"}, OrderStatus.PARTIAL, "0.005"),
        ("triggered", {"sz": "0.02"}, OrderStatus.ACCEPTED, "0"),
        ("filled", {"sz": "0.0"}, OrderStatus.FILLED, "0.02"),
        ("filled", {"sz": "0.005"}, OrderStatus.FILLED, "0.015"),  # an IOC that filled partly
        ("filled", {"sz": "0.02"}, OrderStatus.FILLED, "0.02"),  # rows that were never brought up to date
        ("canceled", {"sz": "0.02"}, OrderStatus.CANCELED, "0"),
        ("canceled", {"sz": "0.015"}, OrderStatus.CANCELED, "0.005"),
        ("reduceOnlyCanceled", {"sz": "0.02"}, OrderStatus.CANCELED, "0"),
        ("scheduledCancel", {"sz": "0.02"}, OrderStatus.CANCELED, "0"),
        ("iocCancelRejected", {"sz": "0.02"}, OrderStatus.REJECTED, "0"),
        ("rejected", {"sz": "0.0"}, OrderStatus.REJECTED, "0"),
    ],
)
def test_a_known_order_needs_no_noop(venue_status: str, row: dict[str, Any], status: OrderStatus, filled: str):
    said, venue, _ = settle(ORDER, Script(orderStatus=[known(venue_status, **row)]))
    assert isinstance(said, OrderSettled)
    assert (said.status, said.filled_size, said.order_id) == (status, D(filled), 77)
    assert venue_status in said.text
    assert kinds(venue) == ["orderStatus"]
    assert venue.requests[0][1] == {"type": "orderStatus", "user": ACCOUNT, "oid": ORDER.client_id}


# --- the table ------------------------------------------------------------------------------------------------------


def test_noop_ok_means_not_placed():
    said, venue, clock = settle(ORDER, Script())
    assert isinstance(said, OrderSettled)
    assert (said.status, said.order_id, said.text) == (OrderStatus.REJECTED, None, NOT_PLACED)
    assert kinds(venue) == ["orderStatus", "noop", "orderStatus"]  # one look-up as a cross-check
    assert venue.requests[1][1]["nonce"] == ORDER.nonce
    assert clock.waits == []


def test_noop_ok_is_overruled_by_an_order_that_is_there():
    said, _, _ = settle(ORDER, Script(orderStatus=[UNKNOWN, known("filled")]))
    assert isinstance(said, OrderSettled)
    assert said.status is OrderStatus.FILLED


def test_noop_ok_without_the_cross_check_stays_unknown():
    said, _, _ = settle(ORDER, Script(orderStatus=[UNKNOWN, http(b"null", 500)]))
    assert isinstance(said, OrderUnknown)


@pytest.mark.parametrize("noops_sent", [0, 1])
@pytest.mark.parametrize("used", [DUPLICATE, TOO_LOW])
def test_a_used_nonce_is_decided_by_the_look_up(used: dict[str, Any], noops_sent: int):
    said, venue, clock = settle(
        ORDER, Script(noop=[used], orderStatus=[UNKNOWN, UNKNOWN, UNKNOWN, known("filled")]), noops_sent
    )
    assert isinstance(said, OrderSettled)
    assert (said.status, said.filled_size) == (OrderStatus.FILLED, D("0.02"))
    assert kinds(venue) == ["orderStatus", "noop"] + ["orderStatus"] * 3  # found while the index caught up
    assert clock.waits == list(LOOKUP_WAITS_S[:3])


@pytest.mark.parametrize("used", [DUPLICATE, TOO_LOW])
@pytest.mark.parametrize("noops_sent, text", [(0, LEFT_NO_RECORD), (1, NOT_LIVE), (7, NOT_LIVE)])
def test_a_lasting_unknown_oid_after_a_used_nonce(used: dict[str, Any], noops_sent: int, text: str):
    """Only the first noop ever sent proves that the order itself was admitted."""
    said, venue, clock = settle(ORDER, Script(noop=[used]), noops_sent)
    assert isinstance(said, OrderSettled)
    assert (said.status, said.text) == (OrderStatus.REJECTED, text)
    looks = ["orderStatus"] * len(LOOKUP_WAITS_S)
    assert kinds(venue) == ["orderStatus", "noop", *looks, "frontendOpenOrders", "userFillsByTime"]
    assert sum(clock.waits) <= 1.0


def test_the_cross_checks_find_what_the_look_up_does_not():
    rows = [order_row(cloid=OTHER_CLOID, oid=1), order_row(sz="0.02", oid=2)]
    said, _, _ = settle(ORDER, Script(noop=[DUPLICATE], frontendOpenOrders=[rows]))
    assert isinstance(said, OrderSettled)
    assert (said.status, said.order_id) == (OrderStatus.ACCEPTED, 2)


def fill_row(**changes: Any) -> dict[str, Any]:
    row = {
        "coin": "BTC",
        "px": "43251.0",
        "sz": "0.01",
        "side": "A",
        "time": ORDER.nonce + 10,
        "startPosition": "0.02",
        "dir": "Close Long",
        "closedPnl": "1.0",
        "hash": "0x0",
        "oid": 78,
        "crossed": True,
        "fee": "0.1",
        "tid": 1,
        "cloid": ORDER.client_id,
        "feeToken": "USDC",
    }
    return {**row, **changes}


def test_fills_with_our_id_decide_last():
    fills = [fill_row(tid=1), fill_row(tid=2), fill_row(tid=3, cloid=OTHER_CLOID)]
    said, _, _ = settle(ORDER, Script(noop=[DUPLICATE], userFillsByTime=[fills]))
    assert isinstance(said, OrderSettled)
    assert (said.status, said.filled_size, said.order_id) == (OrderStatus.FILLED, D("0.02"), 78)


@pytest.mark.parametrize(
    "noop",
    [
        CLOSE,
        STALL,
        http(b"null", 429),
        http(b"<html>", 502),
        http(b"{"),
        {"status": "err", "response": "Too many cumulative requests sent (2 > 1) for cumulative volume traded $0."},
        {"status": "err", "response": "User or API Wallet 0x14791697260e4c9a71f18484c9f997b308e59325 does not exist."},
        {"status": "err", "response": "Invalid nonce: nonce too high 9 > 8"},
    ],
)
@pytest.mark.parametrize("order", [ORDER, STOP])
def test_a_noop_that_proves_nothing_leaves_it_unknown(order: Order, noop: Any):
    said, venue, _ = settle(order, Script(noop=[noop]))
    assert isinstance(said, OrderUnknown)
    assert said.error.startswith("noop: ")
    assert kinds(venue)[-1] == "noop"  # sent once; sending it again is the caller's decision


@pytest.mark.parametrize("trouble", [http(b"null", 429), http(b"<html>", 500), http(b"{"), STALL, CLOSE])
def test_reads_that_fail_leave_it_unknown_and_do_not_stop_the_noop(trouble: Reply):
    said, venue, _ = settle(ORDER, Script(noop=[DUPLICATE], orderStatus=[trouble]))
    assert isinstance(said, OrderUnknown)
    assert kinds(venue) == ["orderStatus", "noop", "orderStatus"]


@pytest.mark.parametrize("kind", ["frontendOpenOrders", "userFillsByTime"])
def test_a_failed_cross_check_leaves_it_unknown(kind: str):
    said, _, _ = settle(ORDER, Script(noop=[DUPLICATE], **{kind: [http(b"null", 500)]}))
    assert isinstance(said, OrderUnknown)
    assert kind in said.error


@pytest.mark.parametrize(
    "answer",
    [
        known("somethingNew"),
        known("filled", coin="ETH"),
        known("filled", side="B"),
        {"status": "order"},
        {"status": "later"},
    ],
)
def test_an_order_nobody_can_read_is_unknown(answer: dict[str, Any]):
    said, _, _ = settle(ORDER, Script(noop=[DUPLICATE], orderStatus=[answer]))
    assert isinstance(said, OrderUnknown)


# --- position stops: no cloid to look up by -------------------------------------------------------------------------


def test_a_position_stop_whose_nonce_was_free_is_not_placed():
    said, venue, _ = settle(STOP, Script(frontendOpenOrders=[[stop_row(oid=5)]]))
    assert isinstance(said, OrderSettled)
    assert (said.status, said.text) == (OrderStatus.REJECTED, NOT_PLACED)
    assert kinds(venue) == ["noop"]


def test_a_position_stop_is_found_by_what_it_is_even_late():
    others = [
        stop_row(oid=1, coin="ETH"),
        stop_row(oid=2, side="B"),
        stop_row(oid=3, triggerPx="70.0"),
        stop_row(oid=4, orderType="Take Profit Market"),
        stop_row(oid=5, isPositionTpsl=False, sz="0.02"),
    ]
    twins = [stop_row(oid=6, timestamp=1), stop_row(oid=7)]
    script = Script(noop=[DUPLICATE], frontendOpenOrders=[[], others, others + twins])
    said, venue, clock = settle(STOP, script)
    assert isinstance(said, OrderSettled)
    assert (said.status, said.order_id) == (OrderStatus.ACCEPTED, 7)
    assert kinds(venue) == ["noop"] + ["frontendOpenOrders"] * 3
    assert clock.waits == list(LOOKUP_WAITS_S[:3])


@pytest.mark.parametrize(
    "venue_status, timestamp, status",
    [
        ("filled", ORDER.nonce + 10, OrderStatus.FILLED),
        ("badTriggerPxRejected", ORDER.nonce - 4_000, OrderStatus.REJECTED),
        ("canceled", ORDER.nonce + 10, OrderStatus.CANCELED),
    ],
)
def test_a_position_stop_that_is_gone_is_found_in_the_history(venue_status: str, timestamp: int, status: OrderStatus):
    history = [
        {"order": stop_row(timestamp=1), "status": "open", "statusTimestamp": 9},
        {"order": stop_row(timestamp=timestamp), "status": "open", "statusTimestamp": 3},
        {"order": stop_row(timestamp=timestamp), "status": venue_status, "statusTimestamp": 5},
    ]
    said, _, _ = settle(STOP, Script(noop=[DUPLICATE], historicalOrders=[history]))
    assert isinstance(said, OrderSettled)
    assert (said.status, said.order_id) == (status, 77)


@pytest.mark.parametrize("noops_sent, text", [(0, LEFT_NO_RECORD), (2, NOT_LIVE)])
def test_a_position_stop_without_a_trace_is_rejected(noops_sent: int, text: str):
    old = [{"order": stop_row(timestamp=ORDER.nonce - 6_000), "status": "filled", "statusTimestamp": 9}]
    said, _, clock = settle(STOP, Script(noop=[DUPLICATE], historicalOrders=[old]), noops_sent)
    assert isinstance(said, OrderSettled)
    assert (said.status, said.text) == (OrderStatus.REJECTED, text)
    assert sum(clock.waits) <= 1.0


@pytest.mark.parametrize("kind", ["frontendOpenOrders", "historicalOrders"])
def test_a_position_stop_that_cannot_be_looked_for_stays_unknown(kind: str):
    said, _, _ = settle(STOP, Script(noop=[DUPLICATE], **{kind: [http(b"null", 500)]}))
    assert isinstance(said, OrderUnknown)


def test_a_stop_for_a_short_is_a_buy():
    buy = msgspec.structs.replace(STOP, side=Side.BUY)
    said, _, _ = settle(
        buy, Script(noop=[DUPLICATE], frontendOpenOrders=[[stop_row(oid=1), stop_row(oid=2, side="B")]])
    )
    assert isinstance(said, OrderSettled)
    assert said.order_id == 2
