"""Orders over real sockets: one request an order whatever happens, and a connection that stays warm."""

import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from core.messages import OrderAccepted, OrderRejected, OrderUnknown
from core.model import Instrument, Order, OrderType, Side
from core.state import State
from hyperliquid_client import HyperliquidClient
from runtime.budget import WeightBudget
from runtime.clock import ManualClock, SystemClock
from runtime.venue import CredentialsRefused, VenueUnavailable
from runtime.warm_http import WarmConnection, checked_url, tls_context
from tests.loopback import BOUND_S, CLOSE, DRIP, RESET, STALL, LoopbackVenue, Reply, http, loopback_venue
from venues.hyperliquid.rest import MAKE_WAY_S, SPENT_BEFORE, SPENT_BEFORE_MAX, Timeouts
from venues.hyperliquid.signing import Signer, action_hash, l1_digest, recover
from wiring import remember_left

NOW_MS = 1_790_000_000_000
KEY = "0x0123456789012345678901234567890123456789012345678901234567890123"
ACCOUNT = "0x14791697260e4c9a71f18484c9f997b308e59325"
BTC = {"BTC": Instrument("BTC", 3, D("0.00001"), price_decimals=1)}
ORDER = Order(
    client_id="0x1234567890abcdef1234567890abcdef",
    symbol="BTC",
    side=Side.SELL,
    size=D("0.02"),
    type=OrderType.MARKET,
    price=D("43250.5"),
    reduce_only=True,
    nonce=1_790_000_000_000,
    expires_ms=1_790_000_015_000,
)
FILLED = http(
    {
        "status": "ok",
        "response": {
            "type": "order",
            "data": {"statuses": [{"filled": {"totalSz": "0.02", "avgPx": "43251.0", "oid": 5}}]},
        },
    }
)
PATIENT = Timeouts(order_s=10.0, read_s=10.0, settle_s=10.0)  # for answers that do come, on a busy machine too
SHORT = Timeouts(connect_s=2.0, order_s=0.3, read_s=0.3, settle_s=0.3)
Play = Callable[[str, dict[str, Any]], Reply]


def client_of(url: str, clock: Any = None, **options: Any) -> HyperliquidClient:
    clock = clock or SystemClock()
    options.setdefault("signer", Signer(KEY, mainnet=False))
    signer = options.pop("signer")
    return HyperliquidClient(
        url,
        signer,
        ACCOUNT,
        clock=clock,
        budget=options.pop("budget", WeightBudget(clock)),
        instruments=BTC,
        timeouts=options.pop("timeouts", PATIENT),
        **options,
    )


@pytest.fixture
def venue() -> Iterator[LoopbackVenue]:
    with loopback_venue(lambda path, body: FILLED) as venue:
        yield venue


def test_an_order_arrives_whole_and_signed(venue: LoopbackVenue):
    client = client_of(venue.url)
    said = client.submit(ORDER)
    assert isinstance(said, OrderAccepted)
    assert (said.order_id, said.filled_size, said.average_price) == (5, D("0.02"), D("43251"))
    ((path, body),) = venue.requests
    assert path == "/exchange"
    assert list(body) == ["action", "nonce", "signature", "vaultAddress", "expiresAfter"]
    assert body["action"]["orders"][0]["a"] == 3
    assert (body["nonce"], body["expiresAfter"], body["vaultAddress"]) == (ORDER.nonce, ORDER.expires_ms, None)
    signature = body["signature"]
    digest = l1_digest(action_hash(body["action"], None, ORDER.nonce, ORDER.expires_ms), mainnet=False)
    assert recover(digest, int(signature["r"], 16), int(signature["s"], 16), signature["v"]) == ACCOUNT


def test_a_presigned_order_is_the_same_bytes(venue: LoopbackVenue):
    client = client_of(venue.url)
    presigned = client.presign(ORDER)
    client.submit(ORDER, presigned)
    client.submit(ORDER)
    assert venue.requests[0][1] == venue.requests[1][1] == json.loads(presigned)


def test_vault_address_is_signed_and_sent_but_not_with_a_noop():
    vault = "0x1719884EB866CB12B2287399B15F7DB5E7D775EA"
    replies = iter([FILLED, http({"status": "unknownOid"}), http(b"null", 500)])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        client = client_of(venue.url, vault_address=vault)
        client.submit(ORDER)
        client.settle(ORDER, 0)
    order, noop = (body for path, body in venue.requests if path == "/exchange")
    assert order["vaultAddress"] == vault.lower()
    digest = l1_digest(action_hash(order["action"], vault.lower(), ORDER.nonce, ORDER.expires_ms), mainnet=False)
    signature = order["signature"]
    assert recover(digest, int(signature["r"], 16), int(signature["s"], 16), signature["v"]) == ACCOUNT
    assert (noop["action"], noop["nonce"], noop["vaultAddress"], noop["expiresAfter"]) == (
        {"type": "noop"},
        ORDER.nonce,
        None,
        None,
    )


# --- trouble after the request was read -----------------------------------------------------------------------------

HALF = FILLED[:-20]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TROUBLE: dict[str, Reply] = {
    "reset": RESET,
    "closed without a word": CLOSE,
    "stalls": STALL,
    "drips its header": DRIP,
    "drips its body": (FILLED[:-40], DRIP),
    "half a header": (FILLED[:20], CLOSE),
    "half a body": (HALF, CLOSE),
    "half a body, reset": (HALF, RESET),
    "half a body, stalls": (HALF, STALL),
    "half a chunk": (CHUNKED + b'20\r\n{"status":"ok"', CLOSE),
    "a bad chunk": (CHUNKED + b"zz\r\n", CLOSE),
    "not HTTP": (b"hello there\r\n\r\n", CLOSE),
    "a wild status line": (b"HTTP/1.1 abc\r\n\r\n", CLOSE),
    "endless header": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, CLOSE),
    "HTML": http(b"<html><body>Bad Gateway</body></html>", 502),
    "HTML with 200": http(b"<html></html>"),
    "an empty body": http(b""),
    "null": http(b"null", 429),
    "a redirect": http(b"", 307, "Location: /elsewhere\r\n"),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_is_unknown_and_the_order_is_sent_once(trouble: Reply):
    with loopback_venue(lambda path, body: trouble) as venue:
        client = client_of(venue.url, timeouts=SHORT)
        said = client.submit(ORDER)
        assert isinstance(said, OrderUnknown)
        assert said.error
        assert KEY[2:] not in said.error and "127.0.0.1" not in said.error
        client.close()
        assert len(venue.requests) == 1


def test_trouble_on_a_used_connection_is_not_repeated_either():
    """A torn keep-alive connection is where HTTP libraries like to send again."""
    replies = iter([FILLED, CLOSE])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        client = client_of(venue.url)
        assert isinstance(client.submit(ORDER), OrderAccepted)
        assert isinstance(client.submit(ORDER), OrderUnknown)
        assert (len(venue.requests), venue.connections) == (2, 1)


def test_an_answer_that_comes_late_is_not_taken_for_the_next_orders():
    late = threading.Event()

    def play(path: str, body: dict[str, Any]) -> Reply:
        if body["nonce"] == ORDER.nonce:
            late.wait(BOUND_S)
            return FILLED
        return http({"status": "err", "response": "Action already expired"})

    with loopback_venue(play) as venue:
        client = client_of(venue.url, timeouts=msgspec.structs.replace(PATIENT, order_s=1.0))
        assert isinstance(client.submit(ORDER), OrderUnknown)
        late.set()
        said = client.submit(msgspec.structs.replace(ORDER, nonce=ORDER.nonce + 1))
        assert isinstance(said, OrderRejected)
        assert venue.connections == 2


def test_two_answers_to_one_request_spoil_the_connection():
    replies = iter([FILLED + FILLED, http({"status": "err", "response": "Action already expired"})])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        client = client_of(venue.url)
        assert isinstance(client.submit(ORDER), OrderAccepted)
        assert isinstance(client.submit(ORDER), OrderRejected)
        assert venue.connections == 2


def test_nobody_there_is_unknown_and_says_not_sent():
    with loopback_venue(lambda path, body: FILLED) as venue:
        url = venue.url
    said = client_of(url).submit(ORDER)
    assert isinstance(said, OrderUnknown)
    assert said.error.startswith("NotSent")


# --- warmth ---------------------------------------------------------------------------------------------------------


def test_orders_reads_of_the_clock_and_cancels_share_one_connection():
    def play(path: str, body: dict[str, Any]) -> Reply:
        return http({"time": 1_790_000_000_500, "specialStatuses": None}) if path == "/info" else FILLED

    with loopback_venue(play) as venue:
        client = client_of(venue.url)
        client.measure_clock()
        for _ in range(3):
            assert isinstance(client.submit(ORDER), OrderAccepted)
        client.cancel("BTC", 5, 1)
        client.measure_clock()
        assert venue.connections == client.handshakes == 1


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_connection_closed_while_idle_is_replaced_before_sending(end: str):
    replies = iter([(FILLED, end), FILLED])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        client = client_of(venue.url)
        assert isinstance(client.submit(ORDER), OrderAccepted)
        assert venue.closed.acquire(timeout=BOUND_S)
        assert isinstance(client.submit(ORDER), OrderAccepted)
        assert (len(venue.requests), venue.connections) == (2, 2)


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_after_a_begun_order_is_unknown_and_it_is_sent_once(trouble: Reply):
    replies = iter([FILLED, trouble])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        client = client_of(venue.url, timeouts=SHORT)
        client.submit(ORDER)
        assert client.begin(client.presign(ORDER))
        said = client.finish(ORDER)
        assert isinstance(said, OrderUnknown) and said.error
        client.close()
        assert len(venue.requests) == 2


def test_a_begun_order_is_the_same_bytes_on_the_same_connection(venue: LoopbackVenue):
    client = client_of(venue.url)
    client.submit(ORDER)
    assert client.begin(client.presign(ORDER))
    assert isinstance(client.finish(ORDER), OrderAccepted)
    assert venue.requests[0] == venue.requests[1]
    assert venue.connections == 1


def test_nothing_begins_without_a_live_connection():
    """The main thread must not wait for a handshake: the lane opens the connection and sends."""
    replies = iter([(FILLED, CLOSE), FILLED])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        client = client_of(venue.url)
        assert not client.begin(b"{}") and not client.rehearse()
        client.submit(ORDER)
        assert venue.closed.acquire(timeout=BOUND_S)
        assert not client.begin(client.presign(ORDER)) and not client.rehearse()
        assert isinstance(client.submit(ORDER), OrderAccepted)
        assert (len(venue.requests), venue.connections) == (2, 2)


def test_a_rehearsed_connection_that_dies_since_leaves_the_order_in_doubt():
    """It was seen alive a moment ago and is written to: no answer comes, and nothing is sent again."""
    with loopback_venue(lambda path, body: FILLED) as venue:
        clock = ManualClock()
        client = client_of(venue.url, clock)
        client.submit(ORDER)
        assert client.rehearse()
        venue.hang_up()
        assert client.begin(client.presign(ORDER)), "no look so soon after the last"
        assert isinstance(client.finish(ORDER), OrderUnknown)
        assert len(venue.requests) == 1

        client.submit(ORDER)
        assert client.rehearse()
        venue.hang_up()
        clock.advance(51)
        assert not client.begin(client.presign(ORDER)), "later it looks again"


def test_what_the_socket_does_not_take_at_once_is_written_by_finish(venue: LoopbackVenue):
    """More than any send buffer holds: begin() comes back all the same, and the request arrives whole."""
    warm = WarmConnection(venue.url, SystemClock())
    warm.connect()
    body = b'{"padding": "' + b"x" * 30_000_000 + b'"}'
    assert warm.begin("/exchange", body)
    assert warm.finish(BOUND_S).status == 200
    assert len(venue.requests[0][1]["padding"]) == 30_000_000
    warm.close()


def test_connection_close_is_honoured():
    answer = FILLED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with loopback_venue(lambda path, body: answer) as venue:
        client = client_of(venue.url)
        assert isinstance(client.submit(ORDER), OrderAccepted)
        assert isinstance(client.submit(ORDER), OrderAccepted)
        assert venue.connections == 2


@pytest.mark.parametrize("ms, connections", [(54_000, 1), (56_000, 2), (8 * 3_600_000, 2), (-1_000, 2)])
def test_a_connection_too_long_idle_is_not_trusted(venue: LoopbackVenue, ms: int, connections: int):
    """A laptop that slept for hours hears of no closing; a clock set back says nothing about idleness."""
    clock = ManualClock()
    client = client_of(venue.url, clock)
    client.submit(ORDER)
    clock.advance(ms)
    client.submit(ORDER)
    assert venue.connections == connections


def test_clones_have_connections_of_their_own_and_one_budget(venue: LoopbackVenue):
    clock = ManualClock()
    budget = WeightBudget(clock)
    client = client_of(venue.url, clock, budget=budget)
    other = client.clone()
    client.submit(ORDER)
    other.submit(ORDER)
    assert venue.connections == 2
    assert budget.used() == 2
    other.close()
    assert isinstance(client.submit(ORDER), OrderAccepted)


def test_orders_go_even_when_the_budget_is_spent(venue: LoopbackVenue):
    clock = ManualClock()
    budget = WeightBudget(clock)
    budget.charge(5_000)
    client = client_of(venue.url, clock, budget=budget)
    assert isinstance(client.submit(ORDER), OrderAccepted)
    with pytest.raises(VenueUnavailable, match="budget"):
        client.working_orders()
    assert venue.paths() == ["/exchange"]


@pytest.mark.parametrize(
    ("state", "used"),
    [
        (State(), 0),  # the first start of all
        (State(tick_ms=NOW_MS - 59_000), SPENT_BEFORE),
        (State(read_account_ms=NOW_MS - 59_000, window_left=900), SPENT_BEFORE),
        (State(read_account_ms=NOW_MS - 59_000, tick_ms=NOW_MS - 5_000, window_left=520), 680),
        (State(tick_ms=NOW_MS - 5_000, window_left=10), SPENT_BEFORE_MAX),
        (State(tick_ms=NOW_MS - 60_000, read_account_ms=NOW_MS - 65_000, window_left=100), 0),
        (State(tick_ms=NOW_MS + 5_000), SPENT_BEFORE),  # the clock was set back: nobody knows
    ],
)
def test_a_start_within_a_minute_of_the_last_run_supposes_what_that_has_spent(state: State, used: int):
    """The venue counts by address. After a longer pause nothing is spent, and five markets without a stream need it."""
    clock = ManualClock(NOW_MS)
    budget = WeightBudget(clock)
    remember_left(client_of("http://127.0.0.1:9", clock, budget=budget), state)
    assert budget.used() == used


# --- clock ----------------------------------------------------------------------------------------------------------


def test_the_clock_offset_is_against_the_middle_of_the_request():
    clock = ManualClock(1_790_000_000_000)

    def play(path: str, body: dict[str, Any]) -> Reply:
        clock.advance(80)
        return http({"time": 1_790_000_000_540})

    with loopback_venue(play) as venue:
        offset = client_of(venue.url, clock).measure_clock()
    assert (offset.offset_ms, offset.round_trip_ms) == (500, 80)


def test_the_clock_is_asked_again_once_when_the_connection_breaks():
    replies = iter([CLOSE, http({"time": SystemClock().now_ms()})])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        client_of(venue.url).measure_clock()
        assert len(venue.requests) == 2


@pytest.mark.parametrize("reply", [http(b"null", 429), http(b"null"), http(b"<html>"), http({"time": "soon"}), CLOSE])
def test_no_clock_is_unavailable(reply: Reply):
    with loopback_venue(lambda path, body: reply) as venue, pytest.raises(VenueUnavailable, match="exchangeStatus"):
        client_of(venue.url).measure_clock()


# --- addresses, keys, TLS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://api.hyperliquid.xyz",
        "http://192.168.1.10:3001",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "ws://127.0.0.1",
        "ftp://127.0.0.1",
        "https://",
        "",
        "api.hyperliquid.xyz",
        "https://user:secret@api.hyperliquid.xyz",
        "http://user@127.0.0.1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
    ],
)
def test_unsafe_addresses_are_refused(url: str):
    with pytest.raises(ValueError) as caught:
        client_of(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://api.hyperliquid.xyz", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost"]
)
def test_safe_addresses_are_taken(url: str):
    assert checked_url(url)


def test_tls_verification_is_on():
    context = tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_without_a_key_nothing_is_signed(venue: LoopbackVenue):
    client = client_of(venue.url, signer=None)
    with pytest.raises(CredentialsRefused):
        client.submit(ORDER)
    assert venue.requests == []


def test_an_unknown_market_is_refused(venue: LoopbackVenue):
    with pytest.raises(ValueError, match="NOPE"):
        client_of(venue.url).submit(msgspec.structs.replace(ORDER, symbol="NOPE"))
    assert venue.requests == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_tls_connections_stay_warm_and_strangers_are_refused(tmp_path):
    """TLS 1.3 tickets make a living socket readable: they must not pass for an end of the connection."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {cert}".split(),
        check=True,
        capture_output=True,
        timeout=30,
    )
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(cert, key)
    with loopback_venue(
        lambda path, body: FILLED, wrap=lambda sock: server_side.wrap_socket(sock, server_side=True)
    ) as venue:
        url = f"https://127.0.0.1:{venue.port}"
        warm = WarmConnection(url, SystemClock(), context=ssl.create_default_context(cafile=cert))
        for _ in range(3):
            warm.connect()
            assert warm.post("/exchange", b"{}", 5.0).status == 200
        assert warm.rehearse() and warm.begin("/exchange", b"{}")
        assert warm.finish(5.0).status == 200
        assert warm.connects == 1
        warm.close()
        assert isinstance(client_of(url).submit(ORDER), OrderUnknown)  # not signed by anybody we trust
        assert len(venue.requests) == 4


def test_an_order_that_is_turned_away_makes_reads_wait():
    """The weight of the address is spent, perhaps by a bot before this one: a read would take what comes free."""
    clock = ManualClock()

    def busy(path: str, body: Any) -> Reply:
        return http(b"null", 429) if path == "/exchange" else http([])

    with loopback_venue(busy) as venue:
        client = client_of(venue.url, clock)
        said = client.submit(ORDER)
        assert isinstance(said, OrderUnknown)
        assert clock.waits == []
        client.working_orders()
        client.close()
    assert sum(clock.waits) == MAKE_WAY_S
