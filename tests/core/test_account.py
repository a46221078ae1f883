"""Two streams, news of the account, positions outside the config, and a contract that rolls."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.holdings import Holding, holdings
from core.messages import (
    RESTART,
    AccountUpdate,
    ContractRolled,
    FlattenRequested,
    PollPrices,
    PositionsSeen,
    PositionUpdate,
    ReadAccount,
    ReadBars,
    ReadFailed,
    Reconnect,
    Started,
    Stop,
    StreamDown,
    StreamUp,
    Watch,
)
from core.model import OrderStatus, OrderType, Quote, Side, Trade
from core.risk import daily_pnl, equity_now
from core.signals import Signal
from tests.core.futures import ENTRY, STOP, TARGET, Pit, children, position, sent
from tests.core.gateway import MGC, RULES
from tests.core.world import RULES as PLAIN
from tests.core.world import D, Desk, of

MARKET_HUB, USER_HUB = "topstepx-market", "topstepx-user"
ES = position("-1", "6700", "ES", "CON.F.US.EP.Z26")


@pytest.fixture
def pit() -> Pit:
    pit = Pit()
    pit.start()
    return pit


def down(pit: Pit, stream: str, attempt: int = 1) -> list:
    return pit.feed(StreamDown(stream=stream, error="reset", retry_s=1.0, attempt=attempt, received_ms=pit.later()))


def up(pit: Pit, stream: str) -> list:
    return pit.feed(StreamUp(stream=stream, subscriptions=2, received_ms=pit.later()))


# --- streams ----------------------------------------------------------------------------------------------------------


def test_prices_are_polled_while_their_stream_is_down(pit: Pit) -> None:
    assert of(PollPrices, down(pit, MARKET_HUB)) == [PollPrices(True, "reset")]
    assert (pit.state.stream_up, pit.state.fills_up) == (False, True)
    actions = up(pit, MARKET_HUB)
    assert of(PollPrices, actions) == [PollPrices(False, "stream is back")]
    assert of(ReadBars, actions) and not of(ReadAccount, actions)


def test_the_account_is_read_while_the_fill_stream_is_down(pit: Pit) -> None:
    actions = down(pit, USER_HUB)
    assert of(PollPrices, actions) == [] and "fills_polled" in pit.names()
    assert (pit.state.stream_up, pit.state.fills_up, pit.state.stream_mode) == (True, False, "websocket")
    reads = of(ReadAccount, pit.wait(1_500))
    assert 2 <= len(reads) <= 4 and all(read.fills_since_ms is not None for read in reads)  # nobody answers
    pit.snapshot()
    reads = of(ReadAccount, pit.wait(5_100))
    assert [read.fills_since_ms is not None for read in reads] == [True]
    [read] = of(ReadAccount, up(pit, USER_HUB))
    assert read.fills_since_ms is not None


@pytest.mark.parametrize("streams", [(MARKET_HUB, USER_HUB), (USER_HUB, MARKET_HUB)])
def test_they_come_in_any_order(streams: tuple[str, str]) -> None:
    pit = Pit()
    pit.start(streams=streams)
    assert pit.state.stream_up and pit.state.fills_up


@pytest.mark.parametrize(("fills_up", "read_ms"), [(True, 10_000), (False, 5_000)])
def test_the_net_under_the_fill_stream(pit: Pit, fills_up: bool, read_ms: int) -> None:
    if not fills_up:
        down(pit, USER_HUB)
        pit.wait(1_200)
    pit.snapshot()
    assert of(ReadAccount, pit.wait(read_ms - 100)) == []
    assert len(of(ReadAccount, pit.wait(200))) == 1


@pytest.mark.parametrize(("left", "read_ms"), [(None, 5_000), (400, 5_000), (399, 10_000), (0, 10_000)])
def test_reads_without_a_stream_leave_weight_to_prices(left: int | None, read_ms: int) -> None:
    """With its fills an account weighs 42: every 5 s that is more than half of what all reads of a minute may."""
    desk = Desk(msgspec.structs.replace(PLAIN, price_stream="hyperliquid", fill_stream="hyperliquid"))
    desk.feed(Started(run_id=1, rules=desk.rules, received_ms=desk.now_ms))
    desk.snapshot(requests_left=left)
    assert not desk.state.fills_up
    assert of(ReadAccount, desk.wait(read_ms - 100)) == []
    assert len(of(ReadAccount, desk.wait(200))) == 1


@pytest.mark.parametrize(("prices", "fills", "polls"), [
    (None, USER_HUB, True),
    (MARKET_HUB, None, False),
])  # fmt: skip
def test_one_of_the_hubs_switched_off(prices: str | None, fills: str | None, polls: bool) -> None:
    pit = Pit(msgspec.structs.replace(RULES, price_stream=prices, fill_stream=fills))
    actions = pit.feed(Started(run_id=1, rules=pit.rules, received_ms=pit.later()))
    assert bool(of(PollPrices, actions)) is polls
    actions = up(pit, fills or prices or "")
    assert of(PollPrices, actions) == []
    assert (pit.state.stream_up, pit.state.fills_up) == (prices is not None, fills is not None)


@pytest.mark.parametrize("name", ["hyperliquid", None])
def test_one_stream_brings_both(name: str | None) -> None:
    """Also where the rules of an old journal name none."""
    desk = Desk(msgspec.structs.replace(PLAIN, price_stream=name, fill_stream=name))
    desk.feed(Started(run_id=1, rules=desk.rules, received_ms=desk.now_ms))
    actions = desk.feed(StreamUp(stream=name or "market", subscriptions=1, received_ms=desk.now_ms))
    assert desk.state.stream_up and desk.state.fills_up and of(ReadAccount, actions)
    down_ = StreamDown(stream=name or "market", error="reset", retry_s=1.0, attempt=1, received_ms=desk.now_ms)
    assert of(PollPrices, desk.feed(down_))
    assert not desk.state.stream_up and not desk.state.fills_up and "fills_polled" not in desk.names()


@pytest.mark.parametrize("is_up", [True, False])
def test_missing_fills_reconnect_the_stream_that_should_have_brought_them(pit: Pit, is_up: bool) -> None:
    pit.wait(11_000)
    pit.snapshot()
    assert pit.state.gap_from_ms is None
    entry = pit.send_entry()
    pit.update(ENTRY, OrderStatus.FILLED, entry.client_id)
    pit.fill(77, Side.BUY, "1", "4100")  # a newer fill is known
    if not is_up:
        down(pit, USER_HUB)
    actions = pit.wait(6_000)
    assert bool(of(Reconnect, actions)) is is_up
    since = [read.fills_since_ms for read in of(ReadAccount, actions) if read.reason == "fills missing"]
    assert since and all(ms is not None and ms < entry.nonce for ms in since)


def test_a_read_that_is_overdue_may_use_what_is_kept_for_orders(pit: Pit) -> None:
    pit.wait(11_000)
    pit.snapshot()  # the gap before the streams came is closed
    assert [read.is_urgent for read in of(ReadAccount, pit.wait(10_200))] == [False]
    urgent = [read.is_urgent for read in of(ReadAccount, pit.wait(10_000))]  # nobody has answered
    assert urgent[-1]


# --- the account ------------------------------------------------------------------------------------------------------


def account(pit: Pit, balance: str = "50000", can_trade: bool = True) -> list:
    return pit.feed(AccountUpdate(balance=D(balance), can_trade=can_trade, received_ms=pit.later()))


@pytest.mark.parametrize("fill_first", [True, False])
def test_the_balance_is_the_equity_and_no_fill_is_added_to_it(pit: Pit, fill_first: bool) -> None:
    pit.enter()
    steps: list[Any] = [lambda: pit.fill(99, Side.SELL, "2", "4101", closed_pnl=D(20)), lambda: account(pit, "50018")]
    for step in steps if fill_first else reversed(steps):
        step()
    assert equity_now(pit.state, pit.rules) == D(50_018)


def test_open_profit_is_added_by_us(pit: Pit) -> None:
    pit.enter()
    pit.trade("4101")
    assert equity_now(pit.state, pit.rules) == D(50_000 + 2 * 10)


@pytest.mark.parametrize("by_read", [True, False])
def test_a_locked_account_halts_loudly_once(pit: Pit, by_read: bool) -> None:
    for _ in range(2):
        pit.snapshot(can_trade=False) if by_read else account(pit, can_trade=False)
    assert pit.state.halted == "the venue has locked the account"
    assert [note.notify for note in pit.log if note.name == "account_locked"] == [True]
    account(pit)
    assert "account_unlocked" in pit.names() and pit.state.halted is not None


def told(pit: Pit, size: str) -> list:
    return pit.feed(PositionUpdate(position=position(size, "4100"), received_ms=pit.later()))


def test_flat_by_the_venues_word_is_read_at_once(pit: Pit) -> None:
    pit.enter()
    assert of(ReadAccount, told(pit, "0"))


@pytest.mark.parametrize(("size", "reads"), [("2", 0), ("1", 1), ("-2", 1)])
def test_another_size_is_read_when_it_stays(pit: Pit, size: str, reads: int) -> None:
    pit.enter()
    assert of(ReadAccount, told(pit, size) + pit.wait(400)) == []
    assert len(of(ReadAccount, pit.wait(200))) == reads


def test_news_that_a_fill_explains_is_none(pit: Pit) -> None:
    pit.enter()
    told(pit, "3")
    pit.fill(99, Side.BUY, "1", "4100")
    pit.wait(1_000)
    assert "position_unclear" not in pit.names()


def glance(pit: Pit, size: str, asked_ms: int | None = None) -> list:
    held = (position(size, "4100"),) if size != "0" else ()
    now_ms = pit.later()
    seen = PositionsSeen(positions=held, requested_ms=now_ms if asked_ms is None else asked_ms, received_ms=now_ms)
    return pit.feed(seen)


@pytest.mark.parametrize(("size", "reads"), [("2", 0), ("1", 1), ("-2", 1), ("0", 1)])
def test_what_a_glance_sees_otherwise_is_read_at_once(pit: Pit, size: str, reads: int) -> None:
    pit.enter()
    pit.snapshot("2")
    assert len(of(ReadAccount, glance(pit, size))) == reads


def test_a_hand_that_no_stream_tells_of_is_protected_by_the_next_glance(pit: Pit) -> None:
    [read] = of(ReadAccount, glance(pit, "2"))
    assert read.is_urgent and read.fills_since_ms is not None
    pit.trade("4100")
    assert [order.type for order in sent(pit.snapshot("2"))] == [OrderType.STOP]


def test_a_glance_from_before_an_order_is_no_news_until_it_stays(pit: Pit) -> None:
    before_ms = pit.now_ms
    entry = pit.send_entry()
    assert of(ReadAccount, glance(pit, "2", before_ms) + glance(pit, "2") + pit.wait(400)) == []
    pit.update(ENTRY, OrderStatus.FILLED, entry.client_id)
    pit.fill(ENTRY, Side.BUY, "2", "4100")
    pit.wait(1_000)
    assert "position_unclear" not in pit.names()


def test_a_glance_before_the_account_was_ever_read_is_left_alone() -> None:
    pit = Pit()
    pit.feed(Started(run_id=1, rules=pit.rules, received_ms=pit.later()))
    assert of(ReadAccount, glance(pit, "2")) == []


def test_a_gap_stays_open_until_its_fills_were_read(pit: Pit) -> None:
    down(pit, USER_HUB)
    up(pit, USER_HUB)
    pit.wait(11_000)
    pit.feed(ReadFailed(what="fills (regular)", error="503", received_ms=pit.later()))
    pit.snapshot(missed_fills=True)
    assert pit.state.gap_from_ms is not None
    [read] = of(ReadAccount, pit.wait(5_200))
    assert read.fills_since_ms is not None and read.is_urgent
    pit.snapshot()
    assert pit.state.gap_from_ms is None


# --- outside the config -----------------------------------------------------------------------------------------------


def test_positions_elsewhere_are_watched_and_counted(pit: Pit) -> None:
    assert of(Watch, pit.snapshot(more=(ES,))) == [Watch(("CON.F.US.EP.Z26",))]
    assert of(Watch, pit.snapshot(more=(ES,))) == []
    assert equity_now(pit.state, pit.rules) == D(50_000)  # no price yet
    pit.feed(Quote("ES", D(6689), None, D(6690), None, pit.later(), pit.now_ms))
    assert equity_now(pit.state, pit.rules) == D(50_000 + 10 * 10)  # a short is bought back at the ask
    pit.feed(Trade("ES", D(6691), D(1), Side.BUY, 1, pit.later(), pit.now_ms))
    assert daily_pnl(pit.state, pit.rules) == D(90)  # the worse of the two
    assert of(Watch, pit.snapshot()) == [Watch(())]
    assert holdings(pit.state, pit.rules) == ()


def test_another_month_under_our_symbol_is_not_ours(pit: Pit) -> None:
    old = position("1", "4000", "MGC", "CON.F.US.MGC.Q26")
    actions = pit.snapshot(more=(old,))
    assert sent(actions) == [] and pit.market.position is None
    assert of(Watch, actions) == [Watch(("CON.F.US.MGC.Q26",))]
    assert pit.state.unmanaged == ("MGC",)


def test_holdings_are_all_of_the_account(pit: Pit) -> None:
    pit.enter()
    pit.quote("4100.9", "4101.1")
    pit.snapshot("2", more=(ES,))
    quoted_ms = pit.market.quote_received_ms
    assert holdings(pit.state, pit.rules) == (
        Holding("MGC", MGC.contract_id, D(2), D(4100), D(10), D("0.1"), D("4100.9"), D("4101.1"), D(4100), quoted_ms),
        Holding("ES", "CON.F.US.EP.Z26", D(-1), D(6700), D(10), None, None, None, None, 0),
    )


def test_after_a_restart_they_are_watched_again(pit: Pit) -> None:
    pit.snapshot(more=(ES,))
    pit.feed(Started(run_id=9, rules=pit.rules, received_ms=pit.later()))
    assert of(Watch, pit.snapshot(more=(ES,))) == [Watch(("CON.F.US.EP.Z26",))]


# --- roll -------------------------------------------------------------------------------------------------------------


def roll(pit: Pit, contract_id: str = "CON.F.US.MGC.G27") -> list:
    new = msgspec.structs.replace(MGC, contract_id=contract_id)
    return pit.feed(ContractRolled(symbol="MGC", instrument=new, received_ms=pit.later()))


def test_flat_and_clean_the_shell_starts_anew(pit: Pit) -> None:
    assert pit.market.clean
    assert of(Stop, roll(pit)) == [Stop(RESTART, "contract rolled")]
    assert "contract_rolled" in pit.names() and of(Stop, pit.wait(1_000)) == []


def test_not_with_an_open_position_nor_before_it_is_verified_flat(pit: Pit) -> None:
    entry = pit.enter()
    actions = roll(pit) + roll(pit) + pit.wait(2_000)
    assert pit.names().count("contract_rolled") == 1
    actions += pit.fill(99, Side.SELL, "2", "4101")
    assert of(Stop, actions) == []
    pit.canceled(11)
    pit.canceled(12)
    assert of(Stop, pit.snapshot()) == [Stop(RESTART, "contract rolled")]
    assert entry.symbol not in pit.state.rolled


OLD = position("3", "4109", "MGCV6", "CON.F.US.MGC.V26")


def test_a_position_that_comes_up_in_another_month_brings_a_start_with_that_month(pit: Pit) -> None:
    assert of(Stop, pit.snapshot(more=(ES,))) == []  # another product
    assert of(Stop, pit.snapshot(more=(ES, OLD))) == [Stop(RESTART, "contract rolled")]
    assert [note.notify for note in pit.log if note.name == "other_month"] == [True]


def test_it_waits_until_every_market_is_flat_and_is_said_once(pit: Pit) -> None:
    resting = children(pit.enter())
    seen = [pit.snapshot("2", orders=resting, more=(OLD,)) for _ in range(2)]
    assert of(Stop, seen[0] + seen[1]) == []
    assert pit.names().count("other_month") == 1
    pit.fill(99, Side.SELL, "2", "4101")
    actions = pit.canceled(STOP) + pit.canceled(TARGET) + pit.snapshot(more=(OLD,))
    assert of(Stop, actions + pit.wait(300) + pit.snapshot(more=(OLD,))) == [Stop(RESTART, "contract rolled")]


def test_what_a_start_has_not_taken_up_brings_no_other_start() -> None:
    pit = Pit()
    pit.feed(Started(run_id=1, rules=pit.rules, received_ms=pit.later()))
    assert of(Stop, pit.snapshot(more=(OLD,)) + pit.snapshot(more=(OLD,)) + pit.wait(12_000)) == []
    assert "other_month" not in pit.names() and "position_unmanaged" in pit.names()


def test_a_halted_bot_does_not_start_anew_and_so_take_entries_up_again(pit: Pit) -> None:
    pit.feed(FlattenRequested(received_ms=pit.later()))
    assert of(Stop, roll(pit) + pit.snapshot() + pit.wait(2_000)) == []
    assert pit.state.halted == "flatten was asked for" and "contract_rolled" in pit.names()


def test_no_entries_in_a_month_that_has_rolled(pit: Pit) -> None:
    pit.enter()
    roll(pit)
    pit.fill(99, Side.SELL, "2", "4101")
    pit.signal = Signal.LONG
    assert sent(pit.trade("4100", after_ms=1_000)) == []


def test_the_same_month_is_no_roll(pit: Pit) -> None:
    assert of(Stop, roll(pit, MGC.contract_id)) == [] and pit.state.rolled == ()


def test_the_equity_of_a_venue_that_counts_open_profit_stays_as_it_is() -> None:
    desk = Desk()
    desk.start()
    eth = msgspec.structs.replace(position("1", "2000", "ETH", ""), multiplier=Decimal(1))
    assert of(Watch, desk.snapshot(positions=(eth,))) == []
    assert desk.state.outside == {} and desk.state.unmanaged == ("ETH",)


def test_a_read_for_missed_fills_may_use_the_reserve_of_the_budget() -> None:
    """A hand may have opened a position while the stream was away, and reads may have used up what they are allowed."""
    desk = Desk()
    desk.start()
    desk.now_ms += 60_000
    desk.feed(StreamDown(stream="market", error="gone", retry_s=0.0, attempt=1, received_ms=desk.now_ms))
    asked = of(ReadAccount, desk.feed(StreamUp(stream="market", subscriptions=5, received_ms=desk.now_ms + 500)))
    assert [(read.reason, read.is_urgent) for read in asked] == [("stream up", True)]
