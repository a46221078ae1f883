"""When to ping a peer, and when its silence means that it is gone."""

import pytest

from runtime.dialect import Mute
from runtime.heartbeat import Heartbeat


@pytest.fixture
def heart():
    heart = Heartbeat(every_s=4.0, answer_s=3.0)
    heart.begin(100.0)
    return heart


def test_a_ping_every_four_seconds(heart):
    assert [s for s in range(100, 117) if heart.is_due(float(s)) and not heart.answered()] == [104, 108, 112, 116]


def test_a_peer_that_never_answered_is_not_held_to_it(heart):
    assert [s for s in range(100, 160) if heart.is_due(float(s))] == list(range(104, 160, 4))


def test_one_that_did_is(heart):
    assert heart.is_due(104.0)
    heart.answered()
    assert heart.is_due(108.0)
    assert not heart.is_due(111.0)
    with pytest.raises(Mute, match="3s"):
        heart.is_due(111.1)


def test_a_slow_answer_is_waited_for_before_the_next_ping():
    heart = Heartbeat(every_s=1.0, answer_s=3.0)
    heart.begin(0.0)
    assert heart.is_due(1.0)
    heart.answered()
    assert heart.is_due(2.0)
    assert not heart.is_due(4.5)
    heart.answered()
    assert heart.is_due(4.5)


def test_a_new_connection_owes_nothing_and_is_held_to_it_again(heart):
    assert heart.is_due(104.0)
    heart.answered()
    assert heart.is_due(108.0)
    heart.begin(200.0)
    assert not heart.is_due(203.0)
    assert heart.is_due(204.0)
    with pytest.raises(Mute):
        heart.is_due(208.0)
