"""Reads over requests: a bound over the whole answer, head and body, however slowly either comes."""

import threading
import time

import pytest

from runtime.read_http import LATE, ReadSession
from runtime.venue import VenueUnavailable
from tests.loopback import CLOSE, DRIP, STALL, Reply, http, loopback_venue

BOUND_S = 0.3


@pytest.mark.parametrize(
    "reply",
    [DRIP, (b"HTTP/1.1 2", DRIP), (b"HTTP/1.1 200 OK\r\nX: ", DRIP), (http(b"1" * 9_000)[:-8_000], DRIP), STALL],
    ids=["head", "status line", "header", "body", "nothing"],
)
def test_an_answer_that_never_ends_is_given_up(reply: Reply) -> None:
    with loopback_venue(lambda path, body: reply) as venue:
        session = ReadSession(venue.url, connect_s=0.1)
        begun = time.monotonic()
        with pytest.raises(VenueUnavailable, match=f"prices: {LATE}"):
            session.post("prices", "/info", b"{}", BOUND_S)
        assert time.monotonic() - begun < 5.0  # it would drip for ever
        session.close()


def test_the_connection_of_a_read_given_up_is_not_used_again() -> None:
    replies = iter([(b"HTTP/1.1 200 OK\r\nX: ", DRIP), http({"good": 1})])
    with loopback_venue(lambda path, body: next(replies)) as venue:
        session = ReadSession(venue.url, connect_s=0.1)
        with pytest.raises(VenueUnavailable):
            session.post("prices", "/info", b"{}", BOUND_S)
        assert session.post("prices", "/info", b"{}", 5.0).body == b'{"good": 1}'
        assert venue.connections == 2
        session.close()


def test_a_good_answer_keeps_the_connection_and_leaves_no_timer() -> None:
    with loopback_venue(lambda path, body: http({"good": 1})) as venue:
        session = ReadSession(venue.url)
        for _ in range(3):
            assert session.post("prices", "/info", b"{}", 60.0).status == 200
        assert venue.connections == 1
        for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
            timer.join(5.0)  # canceled, it ends at once
            assert not timer.is_alive()
        session.close()


def test_a_closed_connection_says_so_at_once() -> None:
    with loopback_venue(lambda path, body: CLOSE) as venue:
        session = ReadSession(venue.url)
        with pytest.raises(VenueUnavailable, match="connection failed"):
            session.post("prices", "/info", b"{}", 60.0)
        session.close()
