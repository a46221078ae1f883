"""May this entry be sent, and how large? Every reason on its own: where several hold, the others must not hide one."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.messages import Started
from core.model import Instrument, OrderStatus, Purpose, Side
from core.risk import entry_size, refusal, size_refusal
from core.rules import MarketRules, Rules, SizeRules
from core.sessions import Hours, Sessions
from core.signals import Signal
from core.state import MarketState, OrderRecord, State
from core.turn import Turn
from tests.core.world import BTC, MARKET, RULES, T0, D, Desk, listed_stop, rules_with

ETH = MarketState("ETH")


@pytest.fixture
def ready() -> Desk:
    """Flat, clean and with a fresh price: nothing is against an entry."""
    desk = Desk()
    desk.start()
    desk.listing()
    desk.trade("50000")
    desk.wait(200)
    assert refused(desk) is None
    return desk


def refused(desk: Desk, rules: Rules = RULES, after_ms: int = 0, **market: Any) -> str | None:
    changed = msgspec.structs.replace(desk.market, **market)
    return refusal(changed, Side.BUY, desk.state, rules, desk.now_ms + after_ms)


def entry_of(symbol: str) -> OrderRecord:
    desk = Desk()
    desk.start()
    order = msgspec.structs.replace(desk.send_entry(), symbol=symbol)
    return OrderRecord(order, Purpose.ENTRY, OrderStatus.SENT, T0, "test")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"halted": "by hand"}, "halted: by hand"),
        ({"journal_ok": False}, "the journal cannot be written"),
        ({"synced": False}, "the account has not been read yet"),
        ({"day_realized": D("-99.99")}, None),
        ({"day_realized": D(-100)}, "daily loss limit reached"),  # RULES allow 100
        ({"rolled": ("BTC",)}, "another month"),
        ({"budget_left": 20}, None),
        ({"budget_left": 19}, "only 19 requests left"),
        ({"window_left": 300}, None),
        ({"window_left": 299}, "only 299 left of what the venue answers in a minute"),
        ({"unmanaged": ("ETH",)}, None),
        ({"unmanaged": ("ETH", "SOL")}, "2 positions are open"),  # RULES allow two
    ],
)
def test_reasons_of_the_account(ready: Desk, changes: dict[str, Any], words: str | None) -> None:
    ready.state = msgspec.structs.replace(ready.state, **changes)
    said = refused(ready)
    assert said is None if words is None else words in str(said)


def test_the_day_of_the_loss_stays_closed_though_the_figures_have_recovered(ready: Desk) -> None:
    ready.state = msgspec.structs.replace(ready.state, loss_day=ready.state.day)
    assert "daily loss" in str(refused(ready))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "delayed"}, "data are delayed"),
        ({"current_price": None}, "price is missing"),
        ({"clean": False}, "leftover orders"),
        ({"foreign": (listed_stop(entry_of("BTC").order, 77),)}, "order 77 works here"),
        ({"orders": {"x": entry_of("BTC")}}, "an order is in flight"),
    ],
)
def test_reasons_of_the_market(ready: Desk, changes: dict[str, Any], words: str) -> None:
    assert words in str(refused(ready, **changes))


def test_an_entry_counts_from_the_moment_it_is_sent(ready: Desk) -> None:
    """Two markets, one position allowed: the second entry must not slip through while the first is on its way."""
    rules = rules_with(max_open_positions=1)
    assert refused(ready, rules) is None
    other = msgspec.structs.replace(ETH, orders={"x": entry_of("ETH")})
    ready.state = msgspec.structs.replace(ready.state, markets={**ready.state.markets, "ETH": other})
    assert refused(ready, rules) == "1 positions are open"


def test_no_entry_while_the_session_is_closed(ready: Desk) -> None:
    shut = Sessions(hours={"BTC": Hours(0, 0)}, groups={"BTC": "BTC"})
    assert refused(ready, msgspec.structs.replace(RULES, hours=shut)) == "the session is closed"


# --- the age of a price (P1) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lag_ms", "pause_ms", "may"), [
    (0, 3_000, True),
    (0, 3_001, False),  # by our clock: nothing came
    (2_000, 1_000, True),
    (2_000, 1_001, False),  # by the venue's: it was two seconds old when it came
    (-2_000, 3_001, False),  # a venue whose clock is ahead: ours counts
])  # fmt: skip
def test_the_worse_of_both_clocks_counts(lag_ms: int, pause_ms: int, may: bool) -> None:
    desk = Desk()
    desk.start()
    desk.listing()
    desk.state = msgspec.structs.replace(desk.state, offset_ms=lag_ms)  # trades of the desk bear our own time
    desk.trade("50000")
    desk.wait(1)
    assert desk.market.verdict == "real-time"
    assert (refused(desk, after_ms=pause_ms - 1) is None) is may


def test_a_bar_that_ends_in_silence_is_no_reason_to_enter() -> None:
    """The mark keeps the market alive, the price is nearly five seconds old, and the strategy wants in."""
    desk = Desk(rules_with(timeframe_ms=5_000))
    desk.start()
    desk.listing()
    desk.trade("50000")
    desk.signal = Signal.LONG
    for _ in range(8):
        desk.mark("50000")
        assert not desk.sent(desk.wait(1_000))
    assert desk.market.bars and desk.market.verdict == "real-time"
    denied = [note.fields["reason"] for note in desk.log if note.name == "order_denied"]
    assert denied and all("ms old" in reason for reason in denied)


# --- size -------------------------------------------------------------------------------------------------------------


def sized(instrument: Instrument = BTC, **size: Any) -> MarketRules:
    return msgspec.structs.replace(MARKET, instrument=instrument, size=SizeRules(**size))


@pytest.mark.parametrize(("size", "expected"), [
    ({"quantity": D("0.01")}, "0.01"),
    ({"quantity": D("0.0000199")}, "0.00001"),  # down, never up
    ({"quantity": D("0.0000099")}, "0"),
    ({"notional": D(1_000)}, "0.02"),
    ({"notional": D("1000.99")}, "0.02001"),  # 0.0200198
    ({"risk_pct": D(1)}, "0.2"),  # 100 of 10,000 are lost when 500 of price are
    ({"risk_pct": D(1), "max_notional": D(999)}, "0.01998"),
    ({"risk_pct": D(1), "max_quantity": D("0.05")}, "0.05"),
])  # fmt: skip
def test_an_entry_is_no_larger_than_asked_for(size: dict[str, Any], expected: str) -> None:
    assert entry_size(D(50_000), Side.BUY, sized(**size), D(10_000)) == D(expected)


def test_without_an_equity_nothing_can_be_risked() -> None:
    assert entry_size(D(50_000), Side.BUY, sized(risk_pct=D(1)), None) == 0


@pytest.mark.parametrize(("size", "available", "words"), [
    ("0.0002", "10000", None),  # 10.00: exactly the venue's minimum
    ("0.00019", "10000", "order value 9.50 is below the venue's minimum 10"),
    ("0", "10000", "the size rounds to zero"),
    ("0.1", "500", None),  # ten times leverage
    ("0.1", "499.99", "margin 500.00 exceeds the available 499.99"),
])  # fmt: skip
def test_an_order_the_venue_would_refuse_is_not_sent(size: str, available: str, words: str | None) -> None:
    assert size_refusal(D(size), D(50_000), Side.BUY, MARKET, D(10_000), D(available)) == words


@pytest.mark.parametrize(("side", "equity", "may"), [
    (Side.BUY, "5000", True),
    (Side.BUY, "500", False),
    (Side.SELL, "5000", True),
    (Side.SELL, "500", False),
])  # fmt: skip
def test_no_entry_whose_stop_lies_beyond_its_liquidation(side: Side, equity: str, may: bool) -> None:
    said = size_refusal(D("0.5"), D(50_000), side, MARKET, D(equity), D(1_000_000))
    assert (said is None) is may
    assert may or "beyond the estimated liquidation price" in str(said)


# --- numbers that are used once (P3) ----------------------------------------------------------------------------------


def test_no_nonce_and_no_client_id_comes_twice() -> None:
    """Several orders and cancels of one event, and of the events of one millisecond."""
    desk = Desk()
    desk.feed(Started(run_id=7, rules=RULES, received_ms=T0))
    state: State = desk.state
    nonces, ids = [], []
    for _ in range(3):
        turn = Turn(state, RULES, {}, T0)
        nonces += [turn.next_nonce(), turn.next_nonce()]
        ids += [turn.next_client_id(), turn.next_client_id()]
        state = turn.state
    assert nonces == sorted(set(nonces)) and len(set(ids)) == len(ids) == 6
    assert nonces[0] >= T0


@pytest.mark.parametrize(("price", "tick"), [
    ("0.00012345", "0.000001"), ("1.23456", "0.0001"), ("12345.6", "1"), ("123456", "1"), ("99999.5", "1"),
])  # fmt: skip
def test_prices_have_five_figures_and_integers_are_free(price: str, tick: str) -> None:
    instrument = msgspec.structs.replace(BTC, price_decimals=6)
    assert instrument.tick_at(Decimal(price)) == D(tick)
