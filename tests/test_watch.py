"""The glance at the positions: asked about once a second, told when they have changed."""

import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.messages import CoreFault, PositionsSeen
from runtime.clock import SystemClock
from runtime.venue import CredentialsRefused, VenueUnavailable
from runtime.watch import PositionWatch
from tests.core.world import venue_position

CLOCK = SystemClock()
NONE: tuple[Any, ...] = ()
ONE, TWO = (venue_position("1", "100"),), (venue_position("2", "100"),)


class Client:
    """Answers one thing after the other, and the last one from then on."""

    watch_s = 0.001

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.looks: queue.Queue[Any] = queue.Queue()
        self.room = True

    def positions(self) -> tuple[Any, ...]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.looks.put(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def has_room(self) -> bool:
        return self.room

    def close(self) -> None: ...


Watching = Callable[..., "queue.Queue[Any]"]


@pytest.fixture
def watching() -> Iterator[Watching]:
    made: list[PositionWatch] = []

    def start(
        client: Client, is_open: Callable[[int], bool] = lambda now_ms: True, read_ms: Callable[[], int] = lambda: 0
    ) -> "queue.Queue[Any]":
        outbox: queue.Queue[Any] = queue.Queue()
        made.append(PositionWatch(client, is_open, read_ms, outbox, CLOCK))
        made[-1].start()
        return outbox

    yield start
    for one in made:
        one.stop()


def look(client: Client, times: int) -> None:
    for _ in range(times):
        client.looks.get(timeout=5)


def test_what_is_held_is_told_once_and_again_when_it_changes(watching: Watching) -> None:
    client = Client(NONE, NONE, ONE, ONE, TWO, NONE)
    outbox = watching(client)
    told = [outbox.get(timeout=5) for _ in range(4)]
    assert [event.positions for event in told] == [NONE, ONE, TWO, NONE]
    assert all(event.requested_ms <= event.received_ms for event in told)
    look(client, 12)
    assert outbox.empty()


@pytest.mark.parametrize("error", [VenueUnavailable("503"), CredentialsRefused("gone")])
def test_after_a_glance_that_failed_it_is_told_anew(watching: Watching, error: Exception) -> None:
    client = Client(ONE, error, ONE)
    outbox = watching(client)
    assert [outbox.get(timeout=5).positions for _ in range(2)] == [ONE, ONE]
    look(client, 6)
    assert outbox.empty()


def test_nonsense_is_not_told(watching: Watching) -> None:
    client = Client((venue_position("NaN", "100"),), ONE)
    assert watching(client).get(timeout=5).positions == ONE


def test_a_closed_market_is_not_asked(watching: Watching) -> None:
    client = Client(ONE)
    hours = iter([False] * 5)
    asked: queue.Queue[int] = queue.Queue()

    def is_open(now_ms: int) -> bool:
        asked.put(now_ms)
        return next(hours, True)

    outbox = watching(client, is_open)
    assert isinstance(outbox.get(timeout=5), PositionsSeen)
    assert asked.qsize() >= 6


def test_a_read_of_the_account_is_a_glance_too(watching: Watching) -> None:
    client = Client(ONE)
    client.watch_s = 60.0
    reads = iter([CLOCK.now_ms() - 70_000] * 2 + [CLOCK.now_ms()] * 3)
    asked: queue.Queue[int] = queue.Queue()

    def read_ms() -> int:
        asked.put(1)
        return next(reads, 0)

    outbox = watching(client, read_ms=read_ms)
    assert outbox.get(timeout=5).positions == ONE  # the account was read too long ago
    for _ in range(3):
        asked.get(timeout=5)
    assert client.looks.qsize() == 1


def test_without_room_nothing_is_asked(watching: Watching) -> None:
    client = Client(ONE)
    client.room = False
    opened: queue.Queue[int] = queue.Queue()
    outbox = watching(client, lambda now_ms: opened.put(1) or True)
    for _ in range(5):
        opened.get(timeout=5)
    assert client.looks.empty() and outbox.empty()
    client.room = True
    assert outbox.get(timeout=5).positions == ONE


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_is_told_to_the_main_thread(watching: Watching) -> None:
    client = Client(ZeroDivisionError("a bug"))
    fault = watching(client).get(timeout=5)
    assert isinstance(fault, CoreFault) and "a bug" in fault.error
