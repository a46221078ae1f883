"""What cannot be true is not believed, whoever says it; and one wild time does not poison what follows."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.messages import (
    AccountSnapshot,
    BarUpdate,
    CancelAnswered,
    ClockOffset,
    OrderAccepted,
    PolledPrice,
    PositionUpdate,
    ReadAccount,
    RequestBudget,
    Settle,
    WorkingOrders,
)
from core.model import Bar, Book, Fill, MarkPrice, OrderStatus, Purpose, Quote, Side, Trade, WorkingOrder
from core.sane import nonsense
from core.signals import Signal
from core.state import State
from tests.core.world import T0, D, Desk, of, venue_position

WILD = ("NaN", "sNaN", "Infinity", "-Infinity", "0", "-1", "1E+400", "1E-400", "1E+999999")
DAY_MS = 86_400_000
TRADE = Trade("BTC", D(50000), D(1), Side.BUY, 1, T0, T0)
QUOTE = Quote("BTC", D(50000), D(1), D(50001), D(1), T0, T0)
FILL = Fill(
    symbol="BTC", side=Side.BUY, price=D(50000), size=D(1), fee=D(0), closed_pnl=D(0), order_id=1, client_id=None,
    fill_id="1", time_ms=T0, received_ms=T0,
)  # fmt: skip
BAR = Bar(T0, T0 + 999, D(1), D(1), D(1), D(1), D(0))
ROW = WorkingOrder("BTC", Side.SELL, 1, None, D(1), D(1), D(1), True, True, False, T0)
LISTING = WorkingOrders(orders=(ROW,), requested_ms=T0, received_ms=T0)
ACCOUNT = AccountSnapshot(
    equity=D(1), available=D(1), positions=(venue_position("1", "50000"),), orders=(ROW,), requested_ms=T0, time_ms=T0,
    received_ms=T0,
)  # fmt: skip


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.start()
    return desk


def but(value: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(value, **changes)


@pytest.mark.parametrize("text", WILD)
def test_a_number_that_is_no_price_is_refused(text: str) -> None:
    wild, state = Decimal(text), State()
    events = [
        but(TRADE, price=wild), but(TRADE, size=wild), but(QUOTE, bid=wild), but(QUOTE, ask=wild),
        Book("BTC", ((wild, D(1)),), (), T0, T0), MarkPrice("BTC", wild, None, None, T0), but(FILL, price=wild),
        but(FILL, size=wild), BarUpdate(symbol="BTC", bar=but(BAR, low=wild), received_ms=T0),
        PolledPrice(symbol="BTC", price=D(1), bid=wild, ask=D(1), mark=None, time_ms=T0, received_ms=T0),
        but(ACCOUNT, positions=(but(venue_position("1", "1"), entry_price=wild),)),
    ]  # fmt: skip
    assert [event for event in events if nonsense(state, event) is None] == []


@pytest.mark.parametrize("text", [text for text in WILD if text not in ("0", "-1")])
def test_a_number_that_is_no_money_is_refused(text: str) -> None:
    if text == "1E-400":
        return  # little, but money
    for name in ("equity", "available", "balance"):
        assert nonsense(State(), but(ACCOUNT, **{name: Decimal(text)})) == "money"
    assert nonsense(State(), but(FILL, fee=Decimal(text))) is not None


@pytest.mark.parametrize(
    "event",
    [
        but(TRADE, time_ms=T0 + DAY_MS + 1),
        but(TRADE, time_ms=-1),
        but(TRADE, received_ms=10**14),
        but(FILL, order_id=2**63),
        but(LISTING, requested_ms=T0 + 1),
        but(LISTING, orders=(but(ROW, trigger_price=D(0)),)),
        ClockOffset(offset_ms=10**15, round_trip_ms=1, received_ms=T0),
        RequestBudget(used=-1, cap=1, received_ms=T0),
        PositionUpdate(position=venue_position("NaN", "1"), received_ms=T0),
        CancelAnswered(symbol="DOGE", order_id=1, gone=True, error=None, received_ms=T0),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_cannot_be(event: Any) -> None:
    assert nonsense(State(), event) is not None


@pytest.mark.parametrize("event", [TRADE, QUOTE, FILL, LISTING, ACCOUNT, but(QUOTE, bid=None), but(TRADE, time_ms=0)])
def test_what_can_be(event: Any) -> None:
    assert nonsense(State(), event) is None


def test_nothing_is_believed_of_it_and_it_is_said_once_a_second(desk: Desk) -> None:
    desk.trade("50000")
    before = desk.market
    for _ in range(5):
        desk.feed(but(TRADE, price=D("NaN"), time_ms=desk.now_ms, received_ms=desk.now_ms))
    assert desk.market == before and desk.names().count("event_refused") == 1
    desk.now_ms += 1_000
    desk.feed(but(TRADE, price=D("NaN"), time_ms=desk.now_ms, received_ms=desk.now_ms))
    assert desk.names().count("event_refused") == 2


def test_news_that_cannot_be_makes_the_bot_look(desk: Desk) -> None:
    actions = desk.feed(but(FILL, size=D("Infinity"), time_ms=desk.now_ms, received_ms=desk.now_ms))
    assert of(ReadAccount, actions) and desk.market.position is None


@pytest.mark.parametrize("filled", ["NaN", "-1", "0.02", "1E+400"])
def test_an_answer_that_cannot_be_is_none_so_the_order_is_looked_up(desk: Desk, filled: str) -> None:
    """0.02: twice what was asked for."""
    order = desk.send_entry()
    actions = desk.feed(OrderAccepted(
        client_id=order.client_id, symbol="BTC", order_id=1, status=OrderStatus.FILLED, filled_size=D(filled),
        average_price=D(50000), received_ms=desk.now_ms,
    ))  # fmt: skip
    assert of(Settle, actions) and desk.market.orders[order.client_id].status is OrderStatus.UNKNOWN
    assert desk.market.position is None


# --- P1: what an entry leans on ---------------------------------------------------------------------------------------


def test_a_quote_without_the_side_we_need_makes_no_old_trade_young(desk: Desk) -> None:
    desk.listing()
    desk.trade("50000")
    desk.now_ms += 3_500
    desk.feed(but(QUOTE, bid=None, time_ms=desk.now_ms, received_ms=desk.now_ms))
    desk.signal = Signal.SHORT  # would sell at the bid
    desk.wait(1_500)
    assert "signal" in desk.names() and not [r for r in desk.market.orders.values() if r.purpose is Purpose.ENTRY]
    assert "ms old" in next(n for n in reversed(desk.log) if n.name == "order_denied").fields["reason"]


def test_one_trade_from_the_future_does_not_freeze_price_or_bars(desk: Desk) -> None:
    desk.trade("50000")
    desk.feed(but(TRADE, price=D(50100), time_ms=desk.now_ms + DAY_MS - 1, received_ms=desk.now_ms, trade_id=99))
    desk.trade("50010", after_ms=10)
    assert desk.market.current_price == D(50010) and desk.market.price_time_ms == desk.now_ms
    assert desk.market.forming is not None and desk.market.forming.open_ms <= desk.now_ms


def test_a_fill_from_the_future_moves_no_day_and_blocks_no_account_read(desk: Desk) -> None:
    day = desk.state.day
    ahead_ms = desk.now_ms + DAY_MS - 100
    desk.feed(but(FILL, size=D("0.01"), start_position=D(0), time_ms=ahead_ms, received_ms=desk.now_ms))
    assert desk.state.day == day
    desk.snapshot(positions=(venue_position("0.03", "50000"),))
    assert desk.position.size == D("0.03")


# --- prices near nothing ----------------------------------------------------------------------------------------------


def test_no_order_is_sent_at_a_price_of_nothing(desk: Desk) -> None:
    actions = desk.snapshot(positions=(venue_position("1", "0.1"),))
    actions += desk.trade("0.1") + desk.wait(3_000)
    orders = desk.sent(actions)
    assert desk.exits(actions) and all(order.price > 0 and (order.trigger_price or 1) > 0 for order in orders)
