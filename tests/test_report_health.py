"""The health snapshot as it is built from the state, without a bot around it."""

import msgspec
import pytest

from core.messages import RequestBudget
from core.model import Side
from runtime.report_health import QUIET_S, address_budget, build, iso, protection_text, stream_health
from runtime.snapshot import HealthSnapshot, PropHealth, RoomHealth
from tests.core import test_prop_guard as guarded
from tests.core.world import D, Desk, rules_with, venue_position


class Status(msgspec.Struct):
    """What a stream says of itself."""

    connected: bool = True
    subscriptions: int = 5
    last_message_ms: int | None = None
    reconnects: int = 2


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.start()
    return desk


def shown(desk: Desk | guarded.Desk, after_ms: int = 0, **changes: object) -> HealthSnapshot:
    given = {
        "now_ms": desk.now_ms + after_ms, "started_ms": desk.now_ms - 60_000, "stream_status": None,
        "order_counts": {}, "weight_used": 0, "weight_limit": 1200, "journal_bytes": 0,
    }  # fmt: skip
    return build(desk.state, desk.rules, **(given | changes))  # type: ignore[arg-type]


# --- the one word ---------------------------------------------------------------------------------------------------


def test_before_the_first_price_it_is_starting(desk: Desk) -> None:
    health = shown(desk)
    assert (health.status, health.uptime_s) == ("starting", 60.0)
    market = health.markets["BTC"]
    assert (market.current_price, market.price_age_s, market.position) == (None, None, None)
    assert (market.timeframe, market.strategy) == ("1s", "scripted")


def test_a_quiet_market_is_ok_until_it_has_been_silent_too_long(desk: Desk) -> None:
    desk.trade("50000")
    desk.trade("50000")
    assert shown(desk, int(QUIET_S * 1000)).status == "ok"
    late = shown(desk, int(QUIET_S * 1000) + 1)
    assert late.status == "stale" and late.markets["BTC"].price_age_s == QUIET_S + 0.001


def test_a_halt_outranks_stale_prices_and_an_end_outranks_both(desk: Desk) -> None:
    desk.state = msgspec.structs.replace(desk.state, halted="order errors")
    assert (shown(desk).status, shown(desk).halted) == ("halted", "order errors")
    stopped = shown(desk, word="stopped")
    assert (stopped.status, stopped.halted) == ("stopped", None)


# --- positions ------------------------------------------------------------------------------------------------------


def test_a_protected_position(desk: Desk) -> None:
    listed = desk.protected("50000")
    desk.trade("50100")
    position = shown(desk).markets["BTC"].position
    assert position is not None
    assert (position.side, position.size, position.entry_price) == ("BUY", D("0.01"), D("50000"))
    assert position.unrealized_pnl == D("1.00") and position.target == D("51000")
    assert position.protected_at_venue and position.stop == listed.trigger_price == D("49500")
    assert not position.trailing and not position.adopted
    assert (position.exit_reason, position.unprotected_s) == (None, 0)
    assert shown(desk).protection == "BTC BUY 0.01: venue stop at 49500"


def test_a_naked_position_says_for_how_long(desk: Desk) -> None:
    desk.enter("50000")
    position = shown(desk, 1_500).markets["BTC"].position
    assert position is not None and not position.protected_at_venue
    assert position.stop == D("49500")  # where it is going to be
    assert 1.5 <= position.unprotected_s < 1.6
    assert shown(desk).protection == "BTC BUY 0.01: NOTHING at the venue"


def test_an_exit_under_way_names_its_reason(desk: Desk) -> None:
    desk.protected("50000")
    desk.trade("51000")
    position = shown(desk).markets["BTC"].position
    assert position is not None and position.exit_reason == "TAKE_PROFIT"


def test_an_adopted_position_says_so(desk: Desk) -> None:
    desk.trade("50000")
    desk.snapshot(positions=(venue_position("-0.02", "50000"),))
    position = shown(desk).markets["BTC"].position
    assert position is not None and position.adopted
    assert (position.side, position.size) == (Side.SELL.value, D("0.02"))


def test_positions_of_others_are_named(desk: Desk) -> None:
    desk.snapshot(positions=(msgspec.structs.replace(venue_position("1", "2000"), symbol="ETH"),))
    assert shown(desk).unmanaged == ("ETH",)
    assert protection_text(desk.state) == "ETH: not managed by this bot"


# --- orders, money, requests ----------------------------------------------------------------------------------------


def test_orders_are_counted(desk: Desk) -> None:
    desk.unknown(desk.send_entry())
    orders = shown(desk, order_counts={"sent": 1, "unknown": 1}).orders
    assert (orders.open, orders.unknown, orders.by_status) == (1, 1, {"sent": 1, "unknown": 1})


def test_resting_stops_are_open_orders(desk: Desk) -> None:
    desk.protected()
    assert (shown(desk).orders.open, shown(desk).orders.unknown) == (1, 0)


def test_money_is_rounded_to_cents_and_unknown_before_the_first_read() -> None:
    desk = Desk()
    assert (shown(desk).equity, shown(desk).daily_pnl) == (None, None)
    desk.start(equity="10000.12345")
    assert (shown(desk).equity, shown(desk).daily_pnl) == (D("10000.12"), D("0.00"))


def test_the_address_budget_is_unknown_until_it_has_been_read(desk: Desk) -> None:
    assert address_budget(desk.state) == (None, None)
    desk.feed(RequestBudget(used=300, cap=10_000, received_ms=desk.now_ms))
    requests = shown(desk, weight_used=41).requests
    assert (requests.address_used, requests.address_cap) == (300, 10_000)
    assert (requests.weight_used, requests.weight_limit) == (41, 1200)


def test_the_address_budget_of_an_earlier_run_is_not_shown_as_todays(desk: Desk) -> None:
    desk.feed(RequestBudget(used=300, cap=10_000, received_ms=desk.now_ms))
    again = Desk(state=msgspec.structs.replace(desk.state, synced=False))
    assert again.state.budget_left == 9_700
    assert address_budget(again.state) == (None, None)


def test_an_overdrawn_address_budget_keeps_its_cap(desk: Desk) -> None:
    desk.feed(RequestBudget(used=10_010, cap=10_000, received_ms=desk.now_ms))
    assert address_budget(desk.state) == (10_010, 10_000)


@pytest.mark.parametrize("ok", [True, False])
def test_the_journals_error_is_shown_while_it_lasts(desk: Desk, ok: bool) -> None:
    desk.state = msgspec.structs.replace(desk.state, journal_ok=ok)
    journal = shown(desk, journal_bytes=77, journal_error="No space left on device").journal
    assert (journal.ok, journal.bytes) == (ok, 77)
    assert journal.error == (None if ok else "No space left on device")


# --- the prop-firm guard --------------------------------------------------------------------------------------------


def guard(desk: guarded.Desk) -> PropHealth:
    prop = shown(desk).prop
    assert prop is not None
    return prop


def test_without_prop_rules_there_is_no_guard_to_show(desk: Desk) -> None:
    assert shown(desk).prop is None


def test_before_the_account_has_been_seen_no_limit_is_shown() -> None:
    desk = guarded.Desk(guarded.rules())
    assert shown(desk).prop is None
    desk.account("50000")
    assert guard(desk).preset == "combine_50k"


def test_distances_while_flat_are_in_ticks_of_one_contract() -> None:
    found = guard(guarded.ready("50100.005", own_daily_loss=300))
    assert (found.balance, found.equity) == (D("50100.005"), D("50100.00"))
    level, room = D("49800.00"), D("300.00")
    assert found.limits["own_daily_loss"] == RoomHealth(level=level, dollars=room, ticks=D(300), whole=D(300))
    assert found.limits["max_loss_limit"].level == D("48100.00")  # it may have been as high at an end of day
    assert (found.locked, found.excess) == (None, None)
    assert (found.target_total, found.target_needed) == (D("100.00"), D("3000.00"))


def test_distances_with_a_position_are_what_leaving_now_would_keep() -> None:
    desk = guarded.ready()
    desk.account("50000", guarded.held(size="2"))
    desk.price("3999")
    room = guard(desk).limits["daily_loss_limit"]
    # 22 lost at the bid, 1.92 of costs, 8 for the way out; a tick of both contracts is 2
    assert (room.level, room.dollars, room.ticks) == (D("49000.00"), D("968.08"), D(484))


def test_an_equity_nobody_knows_is_not_shown_as_the_last_one() -> None:
    desk = guarded.ready()
    desk.account("50000", guarded.held(symbol="MES", contract_id=guarded.MES, multiplier="5"))
    found = guard(desk)
    assert found.equity is None and found.balance == D(50000)
    assert (found.limits["max_loss_limit"].dollars, found.limits["max_loss_limit"].ticks) == (None, None)


def test_a_locked_day_and_what_is_above_a_cap_are_named() -> None:
    desk = guarded.ready(own_daily_loss=50, product_caps={"MGC": 1})
    desk.account("50000", guarded.held(size="2"))
    desk.price("4000")
    desk.tick()
    assert "MGC" in str(guard(desk).excess)
    desk.price("3997")
    assert guard(desk).locked == "own_daily_loss"
    assert shown(desk, after_ms=24 * 3_600_000).prop.locked is None  # type: ignore[union-attr]


# --- the stream -----------------------------------------------------------------------------------------------------


def test_the_stream_of_a_bot_without_one(desk: Desk) -> None:
    desk.state = msgspec.structs.replace(desk.state, stream_mode="rest_fallback", stream_up=False)
    health = stream_health(desk.state, None, desk.now_ms)
    assert (health.mode, health.connected, health.subscriptions) == ("rest_fallback", False, 0)
    assert (health.last_message_time, health.last_message_age_s) == (None, None)


def test_the_streams_last_message(desk: Desk) -> None:
    health = stream_health(desk.state, Status(last_message_ms=1_790_000_000_120), 1_790_000_002_620)
    assert (health.last_message_time, health.last_message_age_s) == ("2026-09-21T14:13:20.120Z", 2.5)
    assert (health.subscriptions, health.reconnects) == (5, 2)
    early = stream_health(desk.state, Status(last_message_ms=2_000), 1_000)  # a clock that was set back
    assert early.last_message_age_s == 0


@pytest.mark.parametrize("ms, text", [(0, "1970-01-01T00:00:00.000Z"), (1_790_000_000_007, "2026-09-21T14:13:20.007Z")])
def test_iso(ms: int, text: str) -> None:
    assert iso(ms) == text


@pytest.mark.parametrize("timeframe_ms, text", [(15_000, "15s"), (60_000, "1m"), (90_000, "90s"), (3_600_000, "60m")])
def test_timeframes(timeframe_ms: int, text: str) -> None:
    desk = Desk(rules_with(timeframe_ms=timeframe_ms))
    desk.start()
    assert shown(desk).markets["BTC"].timeframe == text
