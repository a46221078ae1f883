"""A refusal that the stream tells of before its answer comes: the next try waits all the same."""

import pytest

from core.messages import ReadAccount, RejectReason
from core.model import Order, OrderStatus
from core.signals import Signal
from tests.core.world import Desk


@pytest.fixture
def desk() -> Desk:
    one = Desk()
    one.start()
    one.protected()
    return one


def leave(desk: Desk) -> Order:
    desk.signal = Signal.FLAT
    [order] = desk.exits(desk.trade("50001", after_ms=1_000))
    desk.signal = None
    return order


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.CANCELED])
def test_an_exit_is_not_sent_again_at_once(desk: Desk, status: OrderStatus) -> None:
    """Else it went out again with each news of the last one: some forty a second, and no read was ever believed."""
    order = leave(desk)
    actions = desk.update(900, status, order)
    assert desk.sent(actions) == [] and any(isinstance(action, ReadAccount) for action in actions)
    assert desk.sent(desk.trade("50000")) == []
    assert desk.sent(desk.reject(order, RejectReason.WOULD_INCREASE)) == []  # its answer, late
    [again] = desk.exits(desk.wait(600))
    assert again.client_id != order.client_id


def test_each_refused_exit_waits_longer(desk: Desk) -> None:
    order, sent = leave(desk), 1
    began_ms = desk.now_ms
    while desk.now_ms - began_ms < 10_000:
        desk.update(900 + sent, OrderStatus.REJECTED, order)
        if again := desk.exits(desk.wait(200)):
            order, sent = again[0], sent + 1
    assert 4 <= sent <= 6  # after 0.5, 1, 2, 4 seconds


def test_a_read_in_between_settles_it(desk: Desk) -> None:
    """It was refused because there is nothing to close any more."""
    order = leave(desk)
    desk.update(900, OrderStatus.REJECTED, order)
    desk.snapshot()
    assert desk.market.position is None
    assert desk.exits(desk.wait(3_000)) == []


def test_a_stop_is_not_sent_again_at_once(desk: Desk) -> None:
    fresh = Desk()
    fresh.start()
    stop = fresh.enter()
    assert fresh.sent(fresh.update(900, OrderStatus.REJECTED, stop)) == []
    [again] = fresh.sent(fresh.wait(600))
    assert again.trigger_price == stop.trigger_price and again.client_id != stop.client_id
