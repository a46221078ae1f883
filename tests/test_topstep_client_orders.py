"""TopstepX orders over real sockets: one request an order whatever happens, refusals by their reason, ends seen."""

import json
from collections.abc import Iterator
from decimal import Decimal as D
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from core.messages import CloseContract, Modify, OrderAccepted, OrderRejected, OrderUnknown, RejectReason
from core.model import ZERO, Bracket, Order, OrderStatus, OrderType, Side, TimeInForce
from runtime.clock import ManualClock
from runtime.venue import CredentialsRefused, VenueUnavailable
from tests.loopback import BOUND_S, CLOSE, DRIP, RESET, STALL, LoopbackVenue, Reply, http, loopback_venue
from tests.topstep_answers import (
    ACCOUNT_ID,
    BASICS,
    NOW_MS,
    SHORT,
    TOKENS,
    Answers,
    Http,
    client_of,
    hidden,
    no,
    ok,
)
from topstep_client import TopstepClient
from venues.topstepx.codes import CODES
from venues.topstepx.orders import CANCEL_LOOKS_S
from venues.topstepx.rest import RequestLimits

MGC = "CON.F.US.MGC.Z26"
TAG = "0x1234567890abcdef0000000000000001"
ENTRY = Order(
    client_id=TAG,
    symbol="MGC",
    side=Side.BUY,
    size=D(2),
    type=OrderType.MARKET,
    price=D("4120.0"),
    nonce=NOW_MS,
    bracket=Bracket(stop_ticks=40, target_ticks=80),
)
EXIT = msgspec.structs.replace(ENTRY, side=Side.SELL, bracket=None, expires_ms=NOW_MS + 15_000)
STOP = msgspec.structs.replace(EXIT, type=OrderType.STOP, trigger_price=D("4095.50"))
TARGET = msgspec.structs.replace(
    EXIT, type=OrderType.LIMIT, price=D("4111.1"), time_in_force=TimeInForce.GTC, expires_ms=None
)
PLACED = ok(orderId=3_425_270_858)


class Bench:
    """A client with everything read, and a gateway that answers as told."""

    def __init__(self, venue: LoopbackVenue, answers: Answers, clock: ManualClock, **options: Any) -> None:
        self.venue, self.answers, self.clock = venue, answers, clock
        self.client: TopstepClient = client_of(venue.url, clock, **options)
        self.client.check_credentials()
        self.client.instruments()
        self.forget()

    def says(self, what: str, answer: Any) -> None:
        self.answers.answers[what] = answer

    def forget(self) -> None:
        self.answers.asked.clear()
        self.venue.heads.clear()
        self.venue.connections = 0

    def sent(self) -> list[tuple[str, Any]]:
        return self.answers.asked

    def bearers(self) -> list[str]:
        lines = [line for head in self.venue.heads for line in head.split("\r\n")]
        return [line.removeprefix("Authorization: Bearer ") for line in lines if line.startswith("Authorization")]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def bench(clock: ManualClock) -> Iterator[Bench]:
    answers = Answers(Order__place=PLACED)
    with loopback_venue(answers.play) as venue:
        yield Bench(venue, answers, clock)


@pytest.fixture
def hasty(clock: ManualClock) -> Iterator[Bench]:
    """Its client does not wait long."""
    answers = Answers(Order__place=PLACED)
    with loopback_venue(answers.play) as venue:
        yield Bench(venue, answers, clock, timeouts=SHORT)


# --- the bytes ------------------------------------------------------------------------------------------------------

PLAIN = {
    "accountId": ACCOUNT_ID,
    "contractId": MGC,
    "type": 2,
    "side": 1,
    "size": 2,
    "limitPrice": None,
    "stopPrice": None,
    "trailPrice": None,
    "customTag": TAG,
}


@pytest.mark.parametrize(
    "order, changes",
    [
        (EXIT, {}),
        (STOP, {"type": 4, "stopPrice": 4095.5}),
        (TARGET, {"type": 1, "limitPrice": 4111.1}),
        (
            ENTRY,
            {"side": 0, "stopLossBracket": {"ticks": -40, "type": 4}, "takeProfitBracket": {"ticks": 80, "type": 1}},
        ),
        (
            msgspec.structs.replace(ENTRY, side=Side.SELL),
            {"side": 1, "stopLossBracket": {"ticks": 40, "type": 4}, "takeProfitBracket": {"ticks": -80, "type": 1}},
        ),
        (msgspec.structs.replace(ENTRY, bracket=Bracket(4)), {"side": 0, "stopLossBracket": {"ticks": -4, "type": 4}}),
    ],
)
def test_an_order_is_what_the_page_says(bench: Bench, order: Order, changes: dict[str, Any]):
    said = bench.client.submit(order)
    assert isinstance(said, OrderAccepted)
    assert (said.status, said.order_id, said.filled_size) == (OrderStatus.ACCEPTED, 3_425_270_858, ZERO)
    ((what, body),) = bench.sent()
    assert (what, body) == ("Order/place", PLAIN | changes)
    assert bench.bearers() == [TOKENS[0]]


def test_a_presigned_order_is_the_same_bytes(bench: Bench):
    presigned = bench.client.presign(STOP)
    assert json.loads(presigned)["stopPrice"] == 4095.5 and b'"stopPrice":4095.50' in presigned
    bench.client.submit(STOP, presigned)
    bench.client.submit(STOP)
    assert bench.sent()[0] == bench.sent()[1]


@pytest.mark.parametrize(
    "order, changes",
    [
        (EXIT, {"reduce_only": True}),
        (EXIT, {"whole_position": True, "size": ZERO}),
        (EXIT, {"size": ZERO}),
        (EXIT, {"size": D("0.5")}),
        (EXIT, {"size": D("NaN")}),
        (EXIT, {"size": D(-1)}),
        (EXIT, {"client_id": TAG + "-SL"}),
        (EXIT, {"client_id": TAG + "-TP"}),
        (EXIT, {"client_id": ""}),
        (EXIT, {"client_id": "two words"}),
        (EXIT, {"symbol": "XYZ"}),
        (EXIT, {"type": OrderType.TAKE_PROFIT, "trigger_price": D(4100)}),
        (STOP, {"trigger_price": None}),
        (STOP, {"trigger_price": D("4095.55")}),
        (STOP, {"trigger_price": D("NaN")}),
        (TARGET, {"price": D("4111.11")}),
        (TARGET, {"time_in_force": TimeInForce.IOC}),  # it would rest
        (TARGET, {"time_in_force": TimeInForce.ALO}),
        (ENTRY, {"bracket": Bracket(3)}),
        (ENTRY, {"bracket": Bracket(4, 3)}),
        (ENTRY, {"bracket": Bracket(-40)}),
        (ENTRY, {"type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC}),
    ],
)
def test_orders_that_must_never_be_sent(bench: Bench, order: Order, changes: dict[str, Any]):
    with pytest.raises(ValueError):
        bench.client.presign(msgspec.structs.replace(order, **changes))


# --- refusals -------------------------------------------------------------------------------------------------------

TEXTS = [  # page 2.6
    ("Brackets cannot be used with Position Brackets. You must enable Auto OCO Brackets.", RejectReason.BRACKETS),
    ("Invalid stop loss ticks (40). Ticks should be less than zero when longing.", RejectReason.MALFORMED),
    ("Invalid take profit ticks (30). Ticks should be less than zero when going short", RejectReason.MALFORMED),
    ("Invalid stop loss ticks (-1). Price should be at least 4 ticks away.", RejectReason.BAD_TRIGGER),
    ("Invalid price. Price is outside allowed range.", RejectReason.BAD_PRICE),
    ("Invalid stop price", RejectReason.BAD_TRIGGER),
    ("Invalid stop loss type (Limit)", RejectReason.MALFORMED),
    ("Outside of trading hours.", RejectReason.OUTSIDE_HOURS),
    ("MGC is not in an active trading status", RejectReason.OUTSIDE_HOURS),
    ("Invalid order size (0)", RejectReason.BAD_SIZE),
    ("Invalid order type (7)", RejectReason.MALFORMED),
    ("Trail Distance not set.", RejectReason.MALFORMED),
    ("Invalid trail price. Price is not aligned to tick size.", RejectReason.BAD_PRICE),
    ("something nobody has seen", RejectReason.OTHER),
    (None, RejectReason.OTHER),
]


@pytest.mark.parametrize("text, reason", TEXTS)
def test_a_refusal_is_read_by_its_text(bench: Bench, text: str | None, reason: RejectReason):
    bench.says("Order/place", no(2, text, orderId=9057))
    said = bench.client.submit(ENTRY)
    assert isinstance(said, OrderRejected)
    assert said.reason is reason
    assert said.text.startswith("OrderRejected (2)") and (text or "") in said.text
    assert said.text.endswith("[order 9057]"), "a refused order exists all the same"
    assert len(bench.sent()) == 1


@pytest.mark.parametrize(
    "code, reason",
    [
        (1, RejectReason.ACCOUNT),
        (3, RejectReason.MARGIN),
        (4, RejectReason.ACCOUNT),
        (5, RejectReason.OUTSIDE_HOURS),
        (8, RejectReason.HALTED),
        (9, RejectReason.HALTED),
        (10, RejectReason.ACCOUNT),
    ],
)
@pytest.mark.parametrize("order_id", [None, 9057])
def test_a_refusal_is_read_by_its_code(bench: Bench, code: int, reason: RejectReason, order_id: int | None):
    bench.says("Order/place", no(code, None, orderId=order_id))
    said = bench.client.submit(ENTRY)
    assert isinstance(said, OrderRejected)
    assert said.reason is reason and said.text.startswith(f"{CODES['Order/place'][code]} ({code})")


@pytest.mark.parametrize(
    "answer",
    [
        no(6, None, orderId=9057),  # taken, and no final answer in time
        no(7, "UnknownError"),
        no(11, "a code of tomorrow"),  # perhaps another "pending"
        no(0),
        no(2, "Specified custom tag is already in use", orderId=9057),  # what is under our tag may be ours
        ok(),
        ok(orderId=None),
        {"success": True, "errorCode": 2, "errorMessage": None, "orderId": 5},
        {"orderId": 5, "errorCode": 0},
        ok(orderId="five"),
    ],
)
def test_what_does_not_tell_leaves_the_order_in_doubt(bench: Bench, answer: dict[str, Any]):
    bench.says("Order/place", answer)
    said = bench.client.submit(ENTRY)
    assert isinstance(said, OrderUnknown)
    assert said.error and len(bench.sent()) == 1


PROBLEM = {
    "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
    "title": "One or more validation errors occurred.",
    "status": 400,
    "errors": {"request": ["The request field is required."]},
}


@pytest.mark.parametrize(
    "answer, reason",
    [
        (Http(400, json.dumps(PROBLEM)), RejectReason.MALFORMED),
        (Http(404), RejectReason.MALFORMED),
        (Http(405), RejectReason.MALFORMED),
        (Http(429), RejectReason.RATE_LIMIT),
        (Http(429, "<html>"), RejectReason.RATE_LIMIT),
    ],
)
def test_refused_before_it_was_an_order(bench: Bench, answer: Http, reason: RejectReason):
    bench.says("Order/place", answer)
    said = bench.client.submit(ENTRY)
    assert isinstance(said, OrderRejected)
    assert said.reason is reason and said.text.startswith(f"HTTP {answer.status}")


HALF = http(PLACED)[:-20]
TROUBLE: dict[str, Reply | Http] = {
    "reset": RESET,
    "closed without a word": CLOSE,
    "stalls": STALL,
    "drips its header": DRIP,
    "drips its body": (HALF, DRIP),
    "half a header": (HALF[:20], CLOSE),
    "half a body": (HALF, CLOSE),
    "half a body, reset": (HALF, RESET),
    "half a body, stalls": (HALF, STALL),
    "not HTTP": (b"hello there\r\n\r\n", CLOSE),
    "400 of somebody else": Http(400, "<html>"),
    "400 without a word": Http(400),
    "403": Http(403, "<html>"),
    "404 of a proxy": Http(404, "<html><body>no such host</body></html>"),
    "500": Http(500),
    "502": Http(502, "<html><body>Bad Gateway</body></html>"),
    "503": Http(503, "maintenance"),
    "a redirect": Http(307, "", {"Location": "/elsewhere"}),
    "HTML with 200": Http(200, "<html></html>"),
    "an empty body": Http(200, ""),
    "null": Http(200, "null"),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_is_unknown_and_the_order_is_sent_once(hasty: Bench, trouble: Reply | Http):
    hasty.says("Order/place", trouble)
    said = hasty.client.submit(ENTRY)
    assert isinstance(said, OrderUnknown)
    assert said.error and hidden(said.error)
    hasty.client.close()
    assert len(hasty.sent()) == 1


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_after_a_begun_order_is_unknown_and_it_is_sent_once(hasty: Bench, trouble: Reply | Http):
    hasty.says("Order/place", [PLACED, trouble])
    hasty.client.submit(EXIT)
    assert hasty.client.begin(hasty.client.presign(EXIT))
    assert isinstance(hasty.client.finish(EXIT), OrderUnknown)
    hasty.client.close()
    assert len(hasty.sent()) == 2


def test_nobody_there_is_no_doubt_for_nothing_was_sent(clock: ManualClock):
    answers = Answers()
    with loopback_venue(answers.play) as venue:
        client = Bench(venue, answers, clock).client
    said = client.submit(EXIT)
    assert isinstance(said, OrderRejected) and said.reason is RejectReason.NOT_SENT
    assert said.text.startswith("NotSent")


# --- the token ------------------------------------------------------------------------------------------------------


def test_401_is_followed_by_a_login_and_one_repeat_on_the_same_connection(bench: Bench):
    """The authentication refused the request, so it was not executed: page 1.5."""
    bench.says("Order/place", [Http(401), PLACED])
    assert isinstance(bench.client.submit(EXIT), OrderAccepted)
    assert [what for what, _ in bench.sent()] == ["Order/place", "Auth/loginKey", "Order/place"]
    assert bench.sent()[0] == bench.sent()[2]
    assert bench.bearers() == [TOKENS[0], TOKENS[1]]
    assert bench.venue.connections == 1


def test_a_begun_order_gets_the_same_repeat(bench: Bench):
    bench.says("Order/place", [PLACED, Http(401), PLACED])
    bench.client.submit(EXIT)
    bench.forget()
    assert bench.client.begin(bench.client.presign(EXIT))
    assert isinstance(bench.client.finish(EXIT), OrderAccepted)
    assert bench.bearers() == [TOKENS[0], TOKENS[1]]
    assert bench.sent()[0] == bench.sent()[2]


def test_401_twice_is_a_refusal(bench: Bench):
    bench.says("Order/place", Http(401))
    said = bench.client.submit(EXIT)
    assert isinstance(said, OrderRejected) and said.reason is RejectReason.CREDENTIALS
    assert [what for what, _ in bench.sent()].count("Order/place") == 2


@pytest.mark.parametrize(
    ("login", "reason"),
    [
        (no(9), RejectReason.CREDENTIALS),  # which ends entries at once
        (Http(502, "<html>"), RejectReason.OTHER),  # an outage says nothing about the key
        (Http(200, ""), RejectReason.OTHER),
        (CLOSE, RejectReason.OTHER),
    ],
)
def test_without_a_login_nothing_was_executed(bench: Bench, login: Any, reason: RejectReason):
    bench.says("Order/place", Http(401))
    bench.says("Auth/loginKey", login)
    said = bench.client.submit(EXIT)
    assert isinstance(said, OrderRejected)
    assert said.reason is reason and said.text.startswith("not executed: ") and hidden(said.text)
    assert [what for what, _ in bench.sent()].count("Order/place") == 1


def test_a_login_that_took_too_long_does_not_send_an_old_order(bench: Bench, clock: ManualClock):
    def slow(body: Any) -> Any:
        clock.advance(15_001)
        return ok(token=TOKENS[9])

    bench.says("Order/place", Http(401))
    bench.says("Auth/loginKey", slow)
    said = bench.client.submit(EXIT)
    assert isinstance(said, OrderRejected) and "too long" in said.text
    assert [what for what, _ in bench.sent()].count("Order/place") == 1


def test_orders_log_in_by_themselves_while_a_read_is_at_it(bench: Bench):
    """They never wait for another thread's network; a second login leaves earlier tokens valid (page 1.4)."""
    bench.says("Order/place", [Http(401), PLACED])
    with bench.client._keeper.login_turn:
        assert isinstance(bench.client.submit(EXIT), OrderAccepted)


def test_nothing_begins_without_a_token_or_a_live_connection(clock: ManualClock):
    answers = Answers(Order__place=[(http(PLACED), CLOSE), PLACED])
    with loopback_venue(answers.play) as venue:
        client = client_of(venue.url, clock)
        assert not client.begin(b"{}") and not client.begin_cancel(5) and not client.rehearse()
        bench = Bench(venue, answers, clock)
        assert not bench.client.begin(b"{}") and not bench.client.begin_cancel(5) and not bench.client.rehearse()
        bench.client.submit(EXIT)
        assert venue.closed.acquire(timeout=BOUND_S)
        assert not bench.client.begin(bench.client.presign(EXIT))
        assert isinstance(bench.client.submit(EXIT), OrderAccepted)


def test_the_first_order_of_a_client_may_log_in_itself(clock: ManualClock):
    answers = Answers(Order__place=PLACED)
    with loopback_venue(answers.play) as venue:
        bench = Bench(venue, answers, clock)
        other = client_of(venue.url, clock, instruments=bench.client.instruments())
        assert isinstance(other.submit(EXIT), OrderAccepted)
        assert other.account_id == ACCOUNT_ID


@pytest.mark.parametrize("fault", [Http(500), ok(accounts=[])])
def test_without_the_account_nothing_is_sent(clock: ManualClock, fault: Any):
    answers = Answers(Order__place=PLACED)
    with loopback_venue(answers.play) as venue:
        instruments = Bench(venue, answers, clock).client.instruments()
        answers.answers["Account/search"] = fault
        client = client_of(venue.url, clock, instruments=instruments)
        said = client.submit(EXIT)
        assert isinstance(said, OrderRejected) and said.text.startswith("not executed")
        assert not client.cancel("MGC", 5, 1).gone
        assert client.modify(Modify("MGC", 5, None, D(4100), None, "")).done is None
        assert client.close_outside(OUTSIDE).done is None
        assert isinstance(client.settle(EXIT, 0), OrderUnknown)
        with pytest.raises((VenueUnavailable, CredentialsRefused)):
            client.close_contract(MGC)
        assert not [what for what, _ in answers.asked if what in ("Order/place", "Order/cancel", "Order/modify")]


# --- warmth, limits, expiry -----------------------------------------------------------------------------------------


def ping(answers: Answers) -> None:
    answers.answers["Status/ping"] = Http(200, '"pong"', {"Date": formatdate(NOW_MS / 1000, usegmt=True)})


def warm_up(bench: Bench) -> None:
    ping(bench.answers)
    bench.client.measure_clock()
    bench.forget()


def test_orders_cancels_looks_and_the_clock_share_one_connection(bench: Bench):
    ping(bench.answers)
    bench.says("Order/cancel", ok())
    bench.says("Order/modify", ok())
    bench.says("Order/searchById", ok(order=row(3)))
    bench.client.measure_clock()
    bench.client.submit(EXIT)
    bench.client.cancel("MGC", 5, 1)
    bench.client.modify(Modify("MGC", 5, D(1), None, None, ""))
    assert bench.venue.connections == bench.client.handshakes == 1
    assert bench.venue.heads[0].startswith("GET /api/Status/ping HTTP/1.1\r\n") and len(bench.bearers()) == 4


def test_clones_have_connections_of_their_own_and_share_token_and_limits(clock: ManualClock):
    answers, limits = Answers(Order__place=PLACED), RequestLimits(clock)
    with loopback_venue(answers.play) as venue:
        bench = Bench(venue, answers, clock, budget=limits)
        used = limits.rest.used()
        other = bench.client.clone()
        bench.client.submit(EXIT)
        other.submit(EXIT)
        assert venue.connections == 2
        assert limits.rest.used() == used + 2
        assert set(bench.bearers()) == {TOKENS[0]}
        other.close()
        assert isinstance(bench.client.submit(EXIT), OrderAccepted)


def test_orders_go_even_when_the_limits_are_used_up(clock: ManualClock):
    answers, limits = Answers(Order__place=PLACED, Order__cancel=ok()), RequestLimits(clock)
    with loopback_venue(answers.play) as venue:
        bench = Bench(venue, answers, clock, budget=limits)
        bench.says("Order/searchById", ok(order=row(3)))
        limits.rest.charge(500)
        assert isinstance(bench.client.submit(EXIT), OrderAccepted)
        assert bench.client.cancel("MGC", 5, 1).gone
        with pytest.raises(VenueUnavailable, match="budget"):
            bench.client.working_orders()


def test_429_to_an_order_holds_the_reads(bench: Bench):
    bench.says("Order/place", Http(429))
    bench.client.submit(EXIT)
    with pytest.raises(VenueUnavailable, match="budget"):
        bench.client.working_orders()


@pytest.mark.parametrize("late_ms, sent", [(0, 1), (1, 0)])
def test_an_order_that_waited_too_long_is_not_sent(bench: Bench, clock: ManualClock, late_ms: int, sent: int):
    """The venue has no expiry to leave that to."""
    clock.advance(15_000 + late_ms)
    said = bench.client.submit(EXIT)
    assert len(bench.sent()) == sent
    if not sent:
        assert isinstance(said, OrderRejected) and said.reason is RejectReason.EXPIRED


# --- cancel ---------------------------------------------------------------------------------------------------------


def row(status: int, order_id: int = 5, **changes: Any) -> dict[str, Any]:
    return {
        "id": order_id,
        "accountId": ACCOUNT_ID,
        "contractId": MGC,
        "creationTimestamp": "2026-11-24T15:00:00.391386+00:00",
        "status": status,
        "type": 4,
        "side": 1,
        "size": 2,
        "stopPrice": 4095.5,
        "fillVolume": 0,
        "customTag": TAG,
        **changes,
    }


@pytest.mark.parametrize("status", [2, 3, 4, 5])
def test_a_cancel_is_done_when_the_order_has_ended(bench: Bench, status: int):
    """A fill may win the race; then it cannot fill any more either."""
    bench.says("Order/cancel", ok())
    bench.says("Order/searchById", [ok(order=row(1)), ok(order=row(7)), ok(order=row(status))])
    said = bench.client.cancel("MGC", 5, 1)
    assert (said.symbol, said.order_id, said.gone, said.error) == ("MGC", 5, True, None)
    assert bench.sent()[0] == ("Order/cancel", {"accountId": ACCOUNT_ID, "orderId": 5})
    assert bench.sent()[1:] == [("Order/searchById", {"accountId": ACCOUNT_ID, "orderId": 5})] * 3
    assert bench.clock.waits == list(CANCEL_LOOKS_S[:3])


def test_accepted_is_not_gone(bench: Bench):
    bench.says("Order/cancel", ok())
    bench.says("Order/searchById", ok(order=row(7)))
    said = bench.client.cancel("MGC", 5, 1)
    assert (said.gone, said.error) == (False, "accepted; venue status 7")
    assert sum(bench.clock.waits) < 1.2


@pytest.mark.parametrize("answer", [no(4), no(5), no(99), Http(500), CLOSE, Http(200, "<html>")])
@pytest.mark.parametrize("status, gone", [(3, True), (1, False)])
def test_whatever_the_answer_the_order_tells(bench: Bench, answer: Any, status: int, gone: bool):
    bench.says("Order/cancel", answer)
    bench.says("Order/searchById", ok(order=row(status)))
    said = bench.client.cancel("MGC", 5, 1)
    assert said.gone is gone and bool(said.error) is not gone
    assert [what for what, _ in bench.sent()].count("Order/cancel") == 1


@pytest.mark.parametrize("code", [1, 2, 3, 6])
def test_a_refused_cancel_of_a_working_order_says_why_at_once(bench: Bench, code: int):
    bench.says("Order/cancel", no(code, "Follower accounts cannot cancel orders"))
    bench.says("Order/searchById", ok(order=row(1)))
    said = bench.client.cancel("MGC", 5, 1)
    assert said.gone is False and said.error is not None and "Follower accounts" in said.error
    assert len(bench.sent()) == 2


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancel_turned_away_by_the_limiter_is_not_looked_after(bench: Bench, begun: bool):
    bench.says("Order/cancel", Http(429))
    if begun:
        warm_up(bench)
        assert bench.client.begin_cancel(5)
    said = bench.client.cancel("MGC", 5, 1)
    assert (said.gone, said.reason) == (False, RejectReason.RATE_LIMIT) and "429" in str(said.error)
    assert [what for what, _ in bench.sent()].count("Order/searchById") == 0


@pytest.mark.parametrize("code, gone", [(2, True), (3, False)])
def test_an_order_that_nobody_knows_is_gone_when_two_calls_agree(bench: Bench, code: int, gone: bool):
    bench.says("Order/cancel", no(code))
    bench.says("Order/searchById", no(1, order=None))
    assert bench.client.cancel("MGC", 5, 1).gone is gone


@pytest.mark.parametrize("look", [Http(500), ok(order=None), ok(order=row(3, 6)), ok(order=row(99)), no(7), CLOSE])
def test_a_cancel_whose_end_cannot_be_seen_is_not_gone(bench: Bench, look: Any):
    bench.says("Order/cancel", ok())
    bench.says("Order/searchById", look)
    said = bench.client.cancel("MGC", 5, 1)
    assert not said.gone and said.error and hidden(said.error)
    assert len(bench.sent()) <= 1 + len(CANCEL_LOOKS_S)


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancel_after_401_is_sent_again_after_a_login(bench: Bench, begun: bool):
    bench.says("Order/cancel", [Http(401), ok()])
    bench.says("Order/searchById", ok(order=row(3)))
    if begun:
        warm_up(bench)
        assert bench.client.begin_cancel(5)
    assert bench.client.cancel("MGC", 5, 1).gone
    assert [what for what, _ in bench.sent()].count("Order/cancel") == 2


@pytest.mark.parametrize("answer", [ok(), no(4), no(5), Http(500), CLOSE, Http(200, "<html>")])
def test_a_begun_cancel_is_sent_once_whatever_its_answer(bench: Bench, answer: Any):
    bench.says("Order/cancel", answer)
    bench.says("Order/searchById", ok(order=row(3)))
    warm_up(bench)
    assert bench.client.rehearse() and bench.client.begin_cancel(5)
    assert bench.client.cancel("MGC", 5, 1).gone
    assert bench.sent()[0] == ("Order/cancel", {"accountId": ACCOUNT_ID, "orderId": 5})
    assert [what for what, _ in bench.sent()].count("Order/cancel") == 1
    bench.says("Order/cancel", ok())
    assert bench.client.cancel("MGC", 6, 1).gone is False, "the next one is one of its own"
    assert ("Order/cancel", {"accountId": ACCOUNT_ID, "orderId": 6}) in bench.sent()


# --- modify and close -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action, body",
    [
        (Modify("MGC", 5, None, D("4095.50"), None, ""), {"stopPrice": 4095.5}),
        (Modify("MGC", 5, D(3), None, D("4111.1"), ""), {"size": 3, "limitPrice": 4111.1}),
    ],
)
def test_a_modify_names_only_what_changes(bench: Bench, action: Modify, body: dict[str, Any]):
    bench.says("Order/modify", ok())
    said = bench.client.modify(action)
    assert (said.symbol, said.order_id, said.done, said.reason, said.error) == ("MGC", 5, True, None, None)
    unchanged = {"size": None, "limitPrice": None, "stopPrice": None, "trailPrice": None}
    assert bench.sent() == [("Order/modify", {"accountId": ACCOUNT_ID, "orderId": 5} | unchanged | body)]


@pytest.mark.parametrize(
    "answer, done, reason",
    [
        (no(3, "Invalid stop price"), False, RejectReason.BAD_TRIGGER),
        (no(3), False, RejectReason.OTHER),
        (no(2), False, RejectReason.OTHER),
        (no(6), False, RejectReason.ACCOUNT),
        (no(7), False, RejectReason.HALTED),
        (Http(429), False, RejectReason.RATE_LIMIT),
        (no(4), None, None),
        (no(5), None, None),
        (no(44), None, None),
        (Http(500), None, None),
        (CLOSE, None, None),
    ],
)
def test_what_a_modify_is_answered(bench: Bench, answer: Any, done: bool | None, reason: RejectReason | None):
    bench.says("Order/modify", answer)
    said = bench.client.modify(Modify("MGC", 5, None, D(4095), None, ""))
    assert (said.done, said.reason) == (done, reason)
    assert said.error and len(bench.sent()) == 1


def test_a_modify_off_the_tick_is_not_sent(bench: Bench):
    with pytest.raises(ValueError, match="tick"):
        bench.client.modify(Modify("MGC", 5, None, D("4095.55"), None, ""))
    assert bench.sent() == []


def test_closing_a_contract_names_no_size_and_part_of_it_does(bench: Bench):
    bench.says("Position/closeContract", ok())
    bench.says("Position/partialCloseContract", no(5, None))
    assert bench.client.close_contract(MGC).done is True
    said = bench.client.partial_close(MGC, D(2))
    assert (said.done, said.text) == (False, "InvalidCloseSize (5)")
    assert bench.sent() == [
        ("Position/closeContract", {"accountId": ACCOUNT_ID, "contractId": MGC}),
        ("Position/partialCloseContract", {"accountId": ACCOUNT_ID, "contractId": MGC, "size": 2}),
    ]
    with pytest.raises(ValueError):
        bench.client.partial_close(MGC, D("0.5"))


@pytest.mark.parametrize(
    "answer, done", [(no(6), None), (no(7), None), (no(2), False), (CLOSE, None), (Http(502), None)]
)
def test_a_close_without_a_clear_answer_is_open(bench: Bench, answer: Any, done: bool | None):
    bench.says("Position/closeContract", answer)
    assert bench.client.close_contract(MGC).done is done
    assert len(bench.sent()) == 1


OUTSIDE = CloseContract("CL", "CON.F.US.CLE.Z26", "MAXIMUM_LOSS")


def outside(order_id: int, **changes: Any) -> dict[str, Any]:
    return row(1, order_id, contractId=OUTSIDE.contract_id, **changes)


def test_a_contract_outside_the_config_is_cleared_and_closed_in_this_order(bench: Bench):
    ended: set[int] = set()

    def cancel(body: Any) -> Any:
        ended.add(body["orderId"])
        return ok()

    bench.says("Order/searchOpen", ok(orders=[outside(7), row(1, 8), outside(9)]))
    bench.says("Order/cancel", cancel)
    bench.says("Order/searchById", lambda body: ok(order=outside(body["orderId"]) | {"status": 3}))
    bench.says("Position/closeContract", ok())
    said = bench.client.close_outside(OUTSIDE)
    assert (said.symbol, said.contract_id, said.done, said.error) == ("CL", OUTSIDE.contract_id, True, None)
    assert ended == {7, 9}, "what works in other contracts is left alone"
    assert [what for what, _ in bench.sent()][-1] == "Position/closeContract"


def test_a_stop_that_filled_meanwhile_has_closed_it(bench: Bench):
    bench.says("Position/closeContract", no(2))
    assert bench.client.close_outside(OUTSIDE).done is True


@pytest.mark.parametrize("listing", [Http(500), ok(orders=None), ok(orders=[outside(7)])])
def test_orders_that_will_not_go_do_not_keep_it_from_being_closed_and_are_swept_again(bench: Bench, listing: Any):
    bench.says("Order/searchOpen", listing)
    bench.says("Order/cancel", ok())
    bench.says("Order/searchById", ok(order=outside(7)))
    bench.says("Position/closeContract", ok())
    said = bench.client.close_outside(OUTSIDE)
    assert said.done is True and said.error
    kinds = [what for what, _ in bench.sent()]
    assert kinds.count("Position/closeContract") == 1 and kinds.count("Order/searchOpen") == 2


@pytest.mark.parametrize("answer, done", [(no(5, "no"), False), (no(6), None), (CLOSE, None), (Http(401), False)])
def test_what_closing_outside_is_answered(bench: Bench, answer: Any, done: bool | None):
    bench.says("Position/closeContract", answer)
    said = bench.client.close_outside(OUTSIDE)
    assert said.done is done and said.error


def test_basics_are_whole():
    assert all(answer["success"] for answer in BASICS.values())
