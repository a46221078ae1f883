"""What a bot may ask of a venue that says no to everything: 200 requests a minute, and orders ask nobody's leave."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.messages import AnyAction, Cancel, Modify, ReadAccount, ReadFailed, RejectReason, Settle, Submit
from core.model import OrderStatus, OrderType, Side
from tests.core.futures import ENTRY, STOP, TARGET, Pit, children, exits, sent

MINUTE_MS = 60_000
REQUESTS = {Submit: 1, Modify: 1, Cancel: 8, Settle: 9}  # the most that each one takes; reads have a bound of their own


@pytest.fixture
def pit() -> Iterator[Pit]:
    pit = Pit()
    pit.start()
    yield pit


def minute(pit: Pit, actions: list[AnyAction], answer: Callable[[AnyAction], list[AnyAction]]) -> list[AnyAction]:
    """Let a minute pass in which every action gets its answer at once; all that was done in it."""
    seen: list[AnyAction] = []
    end_ms = pit.now_ms + MINUTE_MS
    while pit.now_ms < end_ms:
        while actions:
            action = actions.pop(0)
            seen.append(action)
            actions += answer(action)
        actions = pit.wait(100)
    return seen


def cost(actions: list[AnyAction]) -> int:
    return sum(REQUESTS.get(type(action), 0) for action in actions)


def test_where_no_order_is_taken_stop_and_exit_are_tried_ever_more_seldom(pit: Pit) -> None:
    def refuse(action: AnyAction) -> list[AnyAction]:
        if not isinstance(action, Submit):
            return []
        return pit.reject(action.order, RejectReason.OUTSIDE_HOURS) + pit.snapshot("2")

    actions = minute(pit, pit.snapshot("2"), refuse)  # a position opened by hand
    stops = [order for order in sent(actions) if order.type is OrderType.STOP]
    assert 10 < len(stops) < 25 and 5 < len(exits(actions)) < 15
    assert cost(actions) < 60


def test_a_market_order_that_stays_open_is_asked_about_ever_more_seldom() -> None:
    pit = Pit()
    pit.start(streams=("topstepx-market",))
    entry = pit.send_entry()

    def still_open(action: AnyAction) -> list[AnyAction]:
        if isinstance(action, ReadAccount):
            return pit.snapshot()
        return pit.settled(entry, OrderStatus.ACCEPTED, "0", ENTRY) if isinstance(action, Settle) else []

    actions = minute(pit, pit.accept(entry, ENTRY), still_open)
    asked = [action for action in actions if isinstance(action, Settle)]
    assert 10 < len(asked) < 20
    assert sum(isinstance(action, ReadAccount) for action in actions) < 40  # nothing they tell could be believed


def test_a_cancellation_that_does_not_come_true_is_asked_for_ever_more_seldom(pit: Pit) -> None:
    entry = pit.enter()
    actions = pit.fill(99, Side.SELL, "2", "4101")  # by hand: stop and target are left over

    def works_on(action: AnyAction) -> list[AnyAction]:
        return pit.canceled(action.order_id, gone=False) if isinstance(action, Cancel) else []

    actions = minute(pit, actions, works_on)
    assert {a.order_id for a in actions if isinstance(a, Cancel)} == {STOP, TARGET}
    assert 10 < sum(isinstance(a, Cancel) for a in actions) < 32
    assert entry.client_id in pit.market.orders or not pit.market.clean


def test_a_cancellation_turned_away_by_the_limiter_is_tried_at_a_steady_pace(pit: Pit) -> None:
    """There may be room at any moment, and nobody tells: pauses that grow would leave the position bare for longer."""
    pit.enter()
    actions = pit.fill(99, Side.SELL, "2", "4101")

    def limited(action: AnyAction) -> list[AnyAction]:
        return pit.canceled(action.order_id, False, RejectReason.RATE_LIMIT) if isinstance(action, Cancel) else []

    actions = minute(pit, actions, limited)
    asked = [action.order_id for action in actions if isinstance(action, Cancel)]
    assert 40 < asked.count(STOP) < 55 and 40 < asked.count(TARGET) < 55


def test_a_change_that_is_refused_is_asked_for_ever_more_seldom(pit: Pit) -> None:
    entry = pit.enter()
    actions = pit.fill(99, Side.SELL, "1", "4101")
    stop, target = children(entry, "1")

    def refuse(action: AnyAction) -> list[AnyAction]:
        if not isinstance(action, Modify):
            return []
        done: Any = action.order_id == STOP
        return pit.modified(action.order_id, done=done, reason=None if done else RejectReason.OTHER)

    actions = minute(pit, actions + pit.works(stop), refuse)
    asked = [a for a in actions if isinstance(a, Modify) and a.order_id == TARGET]
    assert 5 < len(asked) < 15
    assert pit.market.naked_since_ms is None and pit.market.position is not None
    assert target.size == 1


def test_an_account_that_could_not_be_read_is_asked_for_again_soon(pit: Pit) -> None:
    """A position that was opened while the venue was away waits for its stop."""
    pit.wait(1_000)
    pit.feed(ReadFailed(what="account (regular)", error="no way", received_ms=pit.later()))
    assert not [a for a in pit.wait(1_300) if isinstance(a, ReadAccount)]
    assert [a for a in pit.wait(300) if isinstance(a, ReadAccount)]
    pit.feed(ReadFailed(what="bars of MGC", error="no way", received_ms=pit.later()))
    assert not [a for a in pit.wait(3_000) if isinstance(a, ReadAccount)]
