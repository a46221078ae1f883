"""A begun order whose TLS connection breaks before its answer, and certificates that prove nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.messages import OrderAccepted, OrderSettled, OrderUnknown
from core.model import OrderStatus
from runtime.clock import ManualClock
from runtime.venue import VenueUnavailable
from tests.loopback import CLOSE, RESET, STALL, LoopbackVenue, Reply, http, loopback_venue
from tests.test_topstep_client_orders import ENTRY, PLACED, Bench, row
from tests.tls import Wrap, server_end, trust
from tests.topstep_answers import NOW_MS, SHORT, Answers, client_of, hidden, ok


class Secure(Bench):
    """The same client over TLS, whose first order has opened the connection."""

    def __init__(self, venue: LoopbackVenue, answers: Answers) -> None:
        venue.url = f"https://localhost:{venue.port}"
        super().__init__(venue, answers, ManualClock(NOW_MS), timeouts=SHORT)
        assert isinstance(self.client.submit(ENTRY), OrderAccepted)
        self.forget()

    def begins(self) -> None:
        assert self.client.begin(self.client.presign(ENTRY))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Secure]:
    wrap: Wrap = server_end(tmp_path)
    trust(tmp_path, monkeypatch)
    answers = Answers(Order__place=PLACED)
    with loopback_venue(answers.play, wrap=wrap) as venue:
        yield Secure(venue, answers)


YES = http(PLACED)


@pytest.mark.parametrize(
    "reply",
    [CLOSE, RESET, STALL, (YES[:40], CLOSE), (YES[:-9], CLOSE), (YES[:-9], RESET), http(b"", 200)],
    ids=["closed", "torn", "no answer", "half a head", "half a body", "torn in the body", "an empty body"],
)
def test_an_answer_that_does_not_come_whole_leaves_it_in_doubt(bench: Secure, reply: Reply) -> None:
    bench.says("Order/place", reply)
    bench.begins()
    said = bench.client.finish(ENTRY)
    assert isinstance(said, OrderUnknown) and said.error and hidden(said.error)
    assert [what for what, _ in bench.sent()] == ["Order/place"], "sent once"
    assert bench.venue.connections == 0, "on the connection that was there"


def test_it_is_looked_up_on_a_connection_of_its_own(bench: Secure) -> None:
    """The order was executed and its answer torn away."""
    bench.says("Order/place", RESET)
    bench.says("Order/search", ok(orders=[row(2, customTag=ENTRY.client_id, side=0, size=2, fillVolume=2)]))
    bench.begins()
    assert isinstance(bench.client.finish(ENTRY), OrderUnknown)
    settled = bench.client.settle(ENTRY, 0)
    assert isinstance(settled, OrderSettled) and settled.status is OrderStatus.FILLED
    assert [what for what, _ in bench.sent()] == ["Order/place", "Order/search"]
    assert bench.venue.connections == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_that_proves_nothing_does_not_get_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Nobody vouches for it; or it is a good one, of another name. The login carries the API key."""
    stranger = server_end(tmp_path)
    if host == "127.0.0.1":
        trust(tmp_path, monkeypatch)
    answers = Answers(Order__place=PLACED)
    with loopback_venue(answers.play, wrap=stranger) as venue:
        client = client_of(f"https://{host}:{venue.port}", ManualClock(NOW_MS), timeouts=SHORT)
        with pytest.raises(VenueUnavailable, match="SSLError"):
            client.check_credentials()
        with pytest.raises(VenueUnavailable):
            client.measure_clock()
        client.close()
        assert venue.connections >= 2 and venue.requests == []
