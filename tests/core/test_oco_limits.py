"""Where the venue itself sets a limit: a window of requests that is nearly spent, a month that takes no orders."""

import pytest

from core.messages import AnyAction, CloseAnswered, CloseContract, FlattenRequested, RejectReason
from core.model import Order, OrderStatus, OrderType, Side
from tests.core.futures import STOP, TARGET, Pit, exits, sent
from tests.core.gateway import MGC
from tests.core.world import of


@pytest.fixture
def pit() -> Pit:
    pit = Pit()
    pit.start()
    return pit


@pytest.mark.parametrize(("left", "enters"), [(200, True), (100, True), (99, False), (0, False)])
def test_no_entry_where_the_window_leaves_nothing_for_the_way_out(pit: Pit, left: int, enters: bool) -> None:
    """Seen in a simulated day: two busy markets spent the window, and then exits and stops were answered 429."""
    pit.snapshot(requests_left=left)
    if enters:
        assert pit.send_entry().side is Side.BUY
        return
    with pytest.raises(ValueError):  # nothing was sent
        pit.send_entry()
    denied = [note.fields["reason"] for note in pit.log if note.name == "order_denied"]
    assert denied == [f"only {left} left of what the venue answers in a minute"]


def test_a_read_that_counts_nothing_keeps_what_is_known(pit: Pit) -> None:
    pit.snapshot(requests_left=99)
    pit.snapshot()
    assert pit.state.window_left == 99


def test_a_month_that_takes_no_orders_is_closed_by_contract(pit: Pit) -> None:
    """Seen in a simulated day: rolled with a position open, every stop and every exit was refused (code 9)."""
    pit.enter()
    pit.feed(FlattenRequested(received_ms=pit.later()))
    pit.canceled(TARGET)
    pit.update(STOP, OrderStatus.CANCELED)
    [close] = exits(pit.snapshot("2"))
    actions = pit.reject(close, RejectReason.HALTED)
    [asked] = of(CloseContract, actions)
    assert sent(actions) == []
    assert (asked.symbol, asked.contract_id, asked.reason) == ("MGC", MGC.contract_id, "FLATTEN")
    pit.feed(CloseAnswered(
        symbol="MGC", contract_id=MGC.contract_id, done=True, error=None, received_ms=pit.later()
    ))  # fmt: skip
    pit.fill(77, Side.SELL, "2", "4099")  # an order of the venue's own
    pit.snapshot()
    assert pit.market.position is None and pit.market.clean


def test_other_refusals_are_no_reason_to(pit: Pit) -> None:
    pit.enter()
    pit.feed(FlattenRequested(received_ms=pit.later()))
    pit.canceled(TARGET)
    pit.update(STOP, OrderStatus.CANCELED)
    [close] = exits(pit.snapshot("2"))
    assert not of(CloseContract, pit.reject(close, RejectReason.OTHER))


def close_while_nothing_leaves(pit: Pit, actions: list[AnyAction], ms: int) -> Order | None:
    """The next exit, if one comes within `ms`; the stops before it never leave either."""
    for _ in range(ms // 100):
        for order in sent(actions):
            if order.type is OrderType.MARKET:
                return order
            pit.reject(order, RejectReason.NOT_SENT)
        actions = pit.wait(100)
    return None


def test_what_never_left_is_in_no_doubt_and_is_tried_again_soon(pit: Pit) -> None:
    """Seen in a simulated day: the venue away for three seconds, then five more spent on looking for the exit (P2)."""
    pit.trade("4100")
    [stop] = sent(pit.fill(99, Side.BUY, "2", "4100"))
    for _ in range(2):
        pit.reject(stop, RejectReason.NOT_SENT)
        pit.snapshot("2")
        [stop] = sent(pit.wait(700))
    close = close_while_nothing_leaves(pit, pit.reject(stop, RejectReason.NOT_SENT), 1_600)
    for _ in range(3):
        assert close is not None, "the wait does not grow: the venue may be back at any moment"
        actions = pit.reject(close, RejectReason.NOT_SENT)
        assert not [order for order in pit.market.live_orders() if order.order is close]
        close = close_while_nothing_leaves(pit, actions + pit.snapshot("2"), 1_600)
    assert pit.state.halted is None and "order_unknown" not in pit.names()
