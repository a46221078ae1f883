"""A begun order whose TLS connection breaks before its answer: in doubt, and never sent again."""

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from core.messages import OrderAccepted, OrderSettled, OrderUnknown
from core.model import OrderStatus
from hyperliquid_client import HyperliquidClient
from runtime.venue import VenueUnavailable
from tests.loopback import BOUND_S, CLOSE, DRIP, RESET, STALL, LoopbackVenue, Reply, http, loopback_venue
from tests.test_hyperliquid_client_network import FILLED, ORDER, PATIENT, SHORT, client_of
from tests.test_hyperliquid_client_settle import known
from tests.tls import Wrap, server_end, trust


@pytest.fixture
def wrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wrap:
    """The venue's end of TLS, with a certificate that the client trusts."""
    wrapped = server_end(tmp_path)
    trust(tmp_path, monkeypatch)
    return wrapped


def client_at(venue: LoopbackVenue, **options: Any) -> HyperliquidClient:
    return client_of(f"https://localhost:{venue.port}", **options)


def begun(venue: LoopbackVenue, **options: Any) -> HyperliquidClient:
    """A client that has had one answer over TLS, and has begun an order on the same connection."""
    client = client_at(venue, **options)
    assert isinstance(client.submit(ORDER), OrderAccepted)
    assert client.begin(client.presign(ORDER))
    return client


@pytest.mark.parametrize(
    "reply",
    [CLOSE, RESET, STALL, DRIP, (FILLED[:40], CLOSE), (FILLED[:-9], CLOSE), (FILLED[:-9], RESET), http(b"", 200)],
    ids=["closed", "torn", "no answer", "drips", "half a head", "half a body", "torn in the body", "an empty body"],
)
def test_an_answer_that_does_not_come_whole_leaves_it_in_doubt(wrap: Wrap, reply: Reply) -> None:
    replies = iter([FILLED, reply])
    with loopback_venue(lambda path, body: next(replies), wrap=wrap) as venue:
        client = begun(venue, timeouts=SHORT if reply in (STALL, DRIP) else PATIENT)
        said = client.finish(ORDER)
        client.close()
        assert isinstance(said, OrderUnknown) and said.error
        assert (len(venue.requests), venue.connections) == (2, 1)


class Plain:
    """TLS that the other end leaves in the middle: what it sends after `break_off` is not encrypted."""

    def __init__(self, wrap: Wrap) -> None:
        self._wrap = wrap
        self.raw: list[socket.socket] = []

    def __call__(self, raw: socket.socket) -> ssl.SSLSocket:
        self.raw.append(raw.dup())
        return self._wrap(raw)


def test_bytes_that_are_no_tls_leave_it_in_doubt(wrap: Wrap) -> None:
    """A proxy in the way that answers by itself: its words must not pass for the venue's."""
    plain, seen = Plain(wrap), threading.Event()
    replies = iter([FILLED, STALL])

    def play(path: str, body: dict[str, Any]) -> Reply:
        reply = next(replies)
        if reply == STALL:
            seen.set()
        return reply

    with loopback_venue(play, wrap=plain) as venue:
        client = begun(venue)
        assert seen.wait(BOUND_S)
        plain.raw[0].sendall(FILLED)
        assert isinstance(client.finish(ORDER), OrderUnknown)
        client.close()
        plain.raw[0].close()
        assert (len(venue.requests), venue.connections) == (2, 1)


def test_a_connection_that_died_unseen_leaves_it_in_doubt(wrap: Wrap) -> None:
    """It was looked at a moment ago, so the order is written; nobody is there to read it."""
    with loopback_venue(lambda path, body: FILLED, wrap=wrap) as venue:
        client = client_at(venue)
        client.submit(ORDER)
        assert client.rehearse()
        venue.hang_up()
        if client.begin(client.presign(ORDER)):  # or TLS saw the end: then not a byte has left
            assert isinstance(client.finish(ORDER), OrderUnknown)
        client.close()
        assert (len(venue.requests), venue.connections) == (1, 1)


def test_it_is_looked_up_on_a_connection_of_its_own(wrap: Wrap) -> None:
    """The order was executed and its answer torn away."""
    orders = iter([FILLED, RESET])

    def play(path: str, body: dict[str, Any]) -> Reply:
        return next(orders) if path == "/exchange" else http(known("filled"))

    with loopback_venue(play, wrap=wrap) as venue:
        client = begun(venue)
        assert isinstance(client.finish(ORDER), OrderUnknown)
        settled = client.settle(ORDER, 0)
        client.close()
        assert isinstance(settled, OrderSettled) and settled.status is OrderStatus.FILLED
        assert venue.actions() == ["order", "order"], "the one before, and this one once"
        assert venue.connections == 2


def test_the_next_order_opens_a_new_connection(wrap: Wrap) -> None:
    replies = iter([FILLED, RESET, FILLED])
    with loopback_venue(lambda path, body: next(replies), wrap=wrap) as venue:
        client = begun(venue)
        client.finish(ORDER)
        assert not client.begin(client.presign(ORDER)), "no handshake on the main thread"
        assert isinstance(client.submit(ORDER), OrderAccepted)
        client.close()
        assert (len(venue.requests), venue.connections) == (3, 2)


# --- whom we talk to --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_that_proves_nothing_gets_no_order_and_no_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Nobody vouches for it; or it is a good one, of another name. Not a byte of a request leaves."""
    stranger = server_end(tmp_path)
    if host == "127.0.0.1":
        trust(tmp_path, monkeypatch)
    with loopback_venue(lambda path, body: FILLED, wrap=stranger) as venue:
        client = client_of(f"https://{host}:{venue.port}")
        said = client.submit(ORDER)
        assert isinstance(said, OrderUnknown) and "NotSent" in said.error
        assert not client.begin(client.presign(ORDER))
        with pytest.raises(VenueUnavailable, match="SSLError"):
            client.instruments()
        client.close()
        assert venue.connections >= 2 and venue.requests == []


def test_a_certificate_that_is_trusted_is_read_from_too(wrap: Wrap) -> None:
    with loopback_venue(lambda path, body: http({"universe": []}), wrap=wrap) as venue:
        client = client_at(venue)
        with pytest.raises(VenueUnavailable, match="universe is empty"):
            client.instruments()
        client.close()
