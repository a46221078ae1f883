"""The bot itself: start, stream, fallback, clock, what time alone brings, and the end."""

import msgspec

from core import account, bars, orders, positions, prices, protection, records, strategy
from core.exits import reprice
from core.messages import (
    ClockOffset,
    CoreFault,
    FlattenRequested,
    JournalFailed,
    JournalRestored,
    PollPrices,
    Started,
    Stop,
    StopRequested,
    StreamDown,
    StreamFailed,
    StreamUp,
    Tick,
)
from core.model import ZERO, OrderStatus
from core.risk import is_daily_loss_hit
from core.rules import Rules
from core.state import ExitReason, MarketState, Position
from core.turn import Turn

GAP_MS = 5_000  # ticks come every second: a longer gap means the machine was away
ODD_OFFSET_MS = 3_600_000

# --- stream ---------------------------------------------------------------------------------------------------------


def brings_prices(rules: Rules, stream: str) -> bool:
    """One stream may bring both. Rules from before streams had names: there was one."""
    if rules.price_stream is None and rules.fill_stream is None:
        return rules.use_stream
    return stream == rules.price_stream


def brings_fills(rules: Rules, stream: str) -> bool:
    if rules.price_stream is None and rules.fill_stream is None:
        return rules.use_stream
    return stream == rules.fill_stream


def on_stream_up(turn: Turn, event: StreamUp) -> None:
    prices, fills = brings_prices(turn.rules, event.stream), brings_fills(turn.rules, event.stream)
    was_polling = turn.state.polling
    if prices:
        turn.set(stream_up=True, stream_attempt=0, stream_mode="websocket", polling=False)
        if was_polling:
            turn.act(PollPrices(False, "stream is back"))
            turn.note("INFO", "fallback_off", "WebSocket restored, REST polling stopped")
    if fills:
        turn.set(fills_up=True)
        records.mark_gap(turn)
        records.read_account(turn, "stream up", with_fills=True)
    if prices:
        for symbol in turn.rules.markets:
            strategy.read_bars(turn, symbol)


def on_stream_down(turn: Turn, event: StreamDown) -> None:
    if brings_fills(turn.rules, event.stream):
        lose_fills(turn, event.stream)
    if not brings_prices(turn.rules, event.stream):
        return
    attempts = turn.rules.max_reconnect_attempts
    declared = event.attempt >= attempts
    mode = "rest_fallback" if declared else "reconnecting"
    if declared and turn.state.stream_mode != "rest_fallback":
        turn.note(
            "WARNING", "fallback_declared", attempts=event.attempt, notify=True,
            text="the stream stays away; prices come from REST, and it keeps trying",
        )  # fmt: skip
    turn.set(stream_up=False, stream_attempt=event.attempt, stream_mode=mode)
    start_polling(turn, event.error)


def start_polling(turn: Turn, reason: str) -> None:
    """At once when the stream is gone: prices must not stop, however long the reconnect takes."""
    if turn.state.polling:
        return
    turn.set(polling=True, account_due_ms=turn.now_ms)
    turn.act(PollPrices(True, reason))
    turn.note("WARNING", "fallback_on", "Falling back to REST polling", reason=reason)


def lose_fills(turn: Turn, stream: str) -> None:
    """Fills and orders are read over REST until their stream is back, at once and then every few seconds."""
    if turn.state.fills_up and not brings_prices(turn.rules, stream):
        turn.note("WARNING", "fills_polled", stream=stream, text="fills and orders come from REST until it is back")
    records.mark_gap(turn)
    turn.set(fills_up=False, account_due_ms=turn.now_ms if turn.state.fills_up else turn.state.account_due_ms)


def on_stream_failed(turn: Turn, event: StreamFailed) -> None:
    if brings_fills(turn.rules, event.stream):
        lose_fills(turn, event.stream)
    if brings_prices(turn.rules, event.stream):
        turn.set(stream_up=False, stream_mode="rest_fallback")
        start_polling(turn, event.error)
    fault(turn, f"stream thread ended: {event.error}")


# --- the bot itself -------------------------------------------------------------------------------------------------


def on_started(turn: Turn, event: Started) -> None:
    """A start is a restart: what was in flight is in doubt, what we held is hearsay until the venue has been asked."""
    state = turn.state
    markets = {symbol: restarted(state.markets.get(symbol, MarketState(symbol)), turn) for symbol in turn.rules.markets}
    day = max(state.day, turn.venue_now_ms // positions.DAY_MS)
    turn.state = msgspec.structs.replace(
        state,
        markets=markets,
        run_id=event.run_id,
        last_id=0,
        synced=False,
        halted=None,
        journal_ok=True,
        order_errors=0,
        stream_up=False,
        fills_up=False,
        stream_attempt=0,
        stream_mode="reconnecting" if awaits_prices(turn.rules) else "rest_fallback",
        polling=False,
        day=day,
        day_realized=state.day_realized if state.day == day else ZERO,
        last_fill_ms=state.last_fill_ms or day * positions.DAY_MS,
        history_from_ms=min(state.last_fill_ms or day * positions.DAY_MS, day * positions.DAY_MS),
        flatten=False,
        tick_ms=turn.now_ms,
        odd_offset_ms=None,
        read_orders_ms=0,
        account_due_ms=0,
        unmanaged=(),
        balance=None,
        can_trade=True,
        rolled=(),
        outside={},
    )
    for symbol, old in state.markets.items():
        if symbol not in markets and old.position is not None:
            turn.note(
                "WARNING", "market_dropped", symbol=symbol, size=old.position.size, text="no longer in the config"
            )
    for symbol, market in markets.items():
        if market.position is not None:
            turn.note(
                "INFO", "position_remembered", symbol=symbol, side=market.position.side.value,
                size=market.position.size, trail_price=market.position.trail_price,
            )  # fmt: skip
    records.mark_gap(turn)
    records.read_account(turn, "start", with_fills=True)
    for symbol in turn.rules.markets:
        strategy.read_bars(turn, symbol)
        orders.settle_due(turn, symbol)
    if not awaits_prices(turn.rules):
        start_polling(turn, "websocket is switched off in the config")


def awaits_prices(rules: Rules) -> bool:
    """Whether a stream is to bring prices; the other one may still bring fills."""
    return rules.use_stream and (rules.price_stream is not None or rules.fill_stream is None)


def restarted(market: MarketState, turn: Turn) -> MarketState:
    """Position with its trailing level and unfinished orders survive; prices, bars and listings do not.

    What became of an entry or exit nobody may ever tell, also of one that was taken: it is asked about.
    """
    doubted = {
        client_id: msgspec.structs.replace(record, status=OrderStatus.UNKNOWN, settle_ms=turn.now_ms)
        if record.status in (OrderStatus.SENT, OrderStatus.UNKNOWN) or not record.rests
        else msgspec.structs.replace(record, seen_ms=None, cancel_ms=None, wanted=None, modify_again_ms=0, tries=0)
        for client_id, record in market.orders.items()
        if record.is_live
    }
    return MarketState(
        symbol=market.symbol,
        position=relevelled(market, turn),
        moved_ms=market.moved_ms,
        orders=doubted,
        exit_reason=market.exit_reason,
        liquidation_price=market.liquidation_price,
        dirty_ms=turn.now_ms,
        exits_from_ms=max(market.exits_from_ms, market.price_time_ms + 1),
    )


def relevelled(market: MarketState, turn: Turn) -> Position | None:
    """The remembered position under today's rules; a trail that was tighter stays."""
    old = market.position
    if old is None:
        return None
    rules = turn.market_rules(market.symbol)
    new = reprice(old, old.size, old.entry_price, rules.exits, rules.instrument)
    if rules.exits.trailing_stop is None or old.trail_price is None:
        return new
    if new.trail_price is None or old.side.sign * (old.trail_price - new.trail_price) > 0:
        return msgspec.structs.replace(new, trail_price=old.trail_price)
    return new


def on_tick(turn: Turn, event: Tick) -> None:
    """What time alone brings: bars that end, answers that never came, data that fall silent, a new day."""
    state = turn.state
    positions.roll_day(turn, turn.venue_now_ms // positions.DAY_MS)
    if turn.now_ms - state.tick_ms > GAP_MS:
        wake_up(turn)
    turn.set(tick_ms=turn.now_ms)
    for symbol, rules in turn.rules.markets.items():
        orders.settle_due(turn, symbol)
        if rules.strategy is not None and state.stream_up:
            market, closed = bars.close_by_clock(turn.market(symbol), turn.venue_now_ms, rules.timeframe_ms)
            turn.put(market)
            if closed:
                strategy.on_bar_close(turn, symbol)
        elif turn.now_ms - turn.market(symbol).bars_read_ms >= turn.rules.check_interval_ms:
            strategy.read_bars(turn, symbol)
        prices.watch_verdict(turn, symbol)
        account.check_hint(turn, symbol)
        watch_time_limit(turn, symbol)
        protection.protect(turn, symbol)
        orders.ask_missing_fills(turn, symbol)
        orders.drop_old_records(turn, symbol)
    if is_daily_loss_hit(turn.state, turn.rules) and state.loss_day != turn.state.day:
        turn.set(loss_day=turn.state.day)
        turn.note("ERROR", "daily_loss", limit=turn.rules.risk.max_daily_loss, notify=True,
                  text="closing everything; no entries until 00:00 UTC")  # fmt: skip
    if turn.state.loss_day == turn.state.day:
        leave_all(turn, ExitReason.DAILY_LOSS)
    if turn.state.flatten:
        leave_all(turn, ExitReason.FLATTEN)
    again_ms = records.read_again_ms(turn.state, turn.now_ms)
    is_due = again_ms is not None or turn.now_ms >= turn.state.account_due_ms
    if is_due and turn.now_ms - turn.state.read_account_ms >= (again_ms or 1_000):
        turn.set(account_due_ms=turn.now_ms + 5_000)  # if the answer never comes
        records.read_account(turn, "regular", with_fills=not turn.state.fills_up)
    account.leave_for_roll(turn)


def wake_up(turn: Turn) -> None:
    """Nothing was looked at for a while (a lid that was closed): read first, and give protection its time anew."""
    turn.note("WARNING", "woke_up", after_ms=turn.now_ms - turn.state.tick_ms)
    for symbol, market in turn.state.markets.items():
        if market.naked_since_ms is not None:
            turn.change(symbol, naked_since_ms=turn.now_ms)
        if market.leaving_ms is not None or market.beyond_ms is not None:
            turn.change(symbol, leaving_ms=None, beyond_ms=None)
        for record in market.orders.values():
            if record.accepted_ms is not None and record.is_live:
                records.put_record(turn, msgspec.structs.replace(record, accepted_ms=turn.now_ms))
    records.mark_gap(turn)
    records.read_account(turn, "woke up", with_fills=True)


def watch_time_limit(turn: Turn, symbol: str) -> None:
    """The holding time ends by the clock, not by the next trade."""
    market, rules = turn.market(symbol), turn.market_rules(symbol)
    limit_ms = rules.exits.hold_ms_max
    if market.position is not None and limit_ms is not None and turn.now_ms - market.position.entry_ms >= limit_ms:
        protection.begin_exit(turn, symbol, ExitReason.TIME_LIMIT)


def leave_all(turn: Turn, reason: ExitReason) -> None:
    for symbol, market in turn.state.markets.items():
        if market.position is not None and market.exit_reason is None:
            turn.note("WARNING", "leaving", symbol=symbol, reason=reason.value, notify=True)
            protection.begin_exit(turn, symbol, reason)


def on_flatten(turn: Turn, event: FlattenRequested) -> None:
    orders.halt(turn, "flatten was asked for")
    turn.set(flatten=True)  # also what an order in flight may still open
    leave_all(turn, ExitReason.FLATTEN)


def on_journal_failed(turn: Turn, event: JournalFailed) -> None:
    if turn.state.journal_ok:
        turn.set(journal_ok=False)
        turn.note("CRITICAL", "journal_failed", error=event.error, text="no new entries; exits go on", notify=True)


def on_journal_restored(turn: Turn, event: JournalRestored) -> None:
    turn.set(journal_ok=True)
    turn.note("INFO", "journal_restored", notify=True)


def on_stop_requested(turn: Turn, event: StopRequested) -> None:
    """No entry may start while the bot is on its way out; what is in the air is brought to its end."""
    if turn.state.halted is None:
        turn.set(halted="stopping")


def on_clock(turn: Turn, event: ClockOffset) -> None:
    before = turn.state.offset_ms
    odd = turn.state.odd_offset_ms
    if abs(event.offset_ms - before) > ODD_OFFSET_MS and (odd is None or abs(event.offset_ms - odd) > ODD_OFFSET_MS):
        turn.set(odd_offset_ms=event.offset_ms)
        return  # an hour off: believed only when it is measured again
    turn.set(odd_offset_ms=None)
    if abs(event.offset_ms - before) <= event.round_trip_ms:
        return  # within the error of the measurement: a steady offset is worth more than a fresh one
    turn.set(offset_ms=event.offset_ms)
    if abs(event.offset_ms - before) > 1_000:
        turn.note(
            "WARNING", "clock_offset", offset_ms=event.offset_ms, round_trip_ms=event.round_trip_ms,
            text="this machine's clock differs from the venue's; ages are corrected by it",
        )  # fmt: skip
    for symbol in turn.state.markets:
        forget_the_future(turn, symbol)


def forget_the_future(turn: Turn, symbol: str) -> None:
    """What was found while our clock had jumped is dated ahead: no trade would move its exits until then (P8)."""
    if turn.market(symbol).exits_from_ms > turn.venue_now_ms + positions.READ_AHEAD_MS_MAX:
        turn.change(symbol, exits_from_ms=turn.venue_now_ms)


def on_core_fault(turn: Turn, event: CoreFault) -> None:
    fault(turn, event.error)


def fault(turn: Turn, error: str) -> None:
    """P9: no new entries, positions stay protected, a loud line, and a non-zero exit once every stop is confirmed."""
    orders.halt(turn, f"internal fault: {error}")
    for symbol in turn.state.markets:
        protection.protect(turn, symbol)
    turn.act(Stop(1, f"internal fault: {error}"))
