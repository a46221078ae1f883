"""decide(state, event, rules, strategies) -> (state, actions): the one junction of live, dry run, backtest and replay.

Pure: the same values in give the same values out. The only clock is the event's `received_ms`.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from core import bars, orders, positions, protection, reconcile
from core.exits import check_exit, follow, reprice
from core.freshness import price_age_ms, with_verdict
from core.messages import (
    AccountSnapshot,
    AnyAction,
    AnyEvent,
    BarHistory,
    BarUpdate,
    CancelAnswered,
    ClockOffset,
    CoreFault,
    FlattenRequested,
    JournalFailed,
    JournalRestored,
    KeyExpiry,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    OrderUpdate,
    PolledPrice,
    PollPrices,
    ReadBars,
    ReadFailed,
    RejectReason,
    RequestBudget,
    Started,
    Stop,
    StopRequested,
    StreamDown,
    StreamFailed,
    StreamUp,
    Tick,
    WorkingOrders,
)
from core.model import ZERO, Book, Fill, MarkPrice, OrderStatus, Purpose, Quote, Side, Trade
from core.risk import entry_size, equity_now, is_daily_loss_hit, refusal, size_refusal
from core.rules import Rules
from core.signals import Signal
from core.state import ExitReason, MarketState, Position, State
from core.turn import Strategies, Turn

KEY_DAYS_MIN = 14
GAP_MS = 5_000  # ticks come every second: a longer gap means the machine was away
ODD_OFFSET_MS = 3_600_000
WISH_MS = 5_000  # how long a reversal waits for the market to be flat and clean
EXIT_RETRY_MS = 500  # after a refused exit, doubled each time
EXIT_RETRY_MS_MAX = 8_000


def decide(state: State, event: AnyEvent, rules: Rules, strategies: Strategies) -> tuple[State, list[AnyAction]]:
    """The state after `event`, and what is to be done, in order."""
    turn = Turn(state, rules, strategies, event.received_ms)
    handler = HANDLERS.get(type(event))
    assert handler is not None, f"no handler for {type(event).__name__}"
    handler(turn, event)
    return turn.state, turn.actions


# --- prices ---------------------------------------------------------------------------------------------------------


def on_trade(turn: Turn, trade: Trade) -> None:
    """Every trade, in order: price, position, exits, bars."""
    state = turn.state
    market = state.markets.get(trade.symbol)
    if market is None:
        return
    rules = turn.rules.markets[trade.symbol]
    now_ms, price = trade.received_ms, trade.price
    position = market.position
    is_judged = position is not None and trade.time_ms >= market.exits_from_ms
    if position is not None and is_judged:
        position = follow(position, price, rules.exits, rules.instrument)
    if trade.time_ms >= market.price_time_ms:
        market = msgspec.structs.replace(
            market,
            current_price=price,
            price_time_ms=trade.time_ms,
            price_received_ms=now_ms,
            price_source="websocket",
            lag_ms=now_ms + state.offset_ms - trade.time_ms,
            heard_ms=now_ms,
            position=position,
        )
    else:  # it comes late, behind a newer one: exits hear of it, the price is not set back
        market = msgspec.structs.replace(market, heard_ms=now_ms, position=position)
    turn.put(market)
    if position is not None and is_judged and market.exit_reason is None:
        reason = check_exit(position, price, now_ms, rules.exits)
        if reason is not None:
            protection.begin_exit(turn, trade.symbol, reason)
    if rules.strategy is not None and rules.bars_from_trades:
        market, closed = bars.add_trade(turn.market(trade.symbol), trade, rules.timeframe_ms)
        turn.put(market)
        if closed:
            on_bar_close(turn, trade.symbol)
    if now_ms - market.noted_ms >= turn.rules.price_note_ms:
        note_price(turn, trade.symbol)


def note_price(turn: Turn, symbol: str) -> None:
    market = turn.change(symbol, noted_ms=turn.now_ms)
    fresh = market.lag_ms is not None and market.lag_ms <= turn.rules.risk.max_price_age_ms
    words = "Polled price update" if market.price_source == "rest" else "Late price update"
    if fresh and market.price_source == "websocket":
        words = "Real-time price update"
    turn.note(
        "INFO", "price", f"{words}: ${market.current_price:.2f}", symbol=symbol, price=market.current_price,
        lag_ms=market.lag_ms, source=market.price_source,
    )  # fmt: skip


def on_quote(turn: Turn, quote: Quote) -> None:
    market = turn.state.markets.get(quote.symbol)
    if market is None:
        return
    lag_ms = quote.received_ms + turn.state.offset_ms - quote.time_ms
    turn.put(
        msgspec.structs.replace(
            market,
            bid=quote.bid,
            ask=quote.ask,
            quote_time_ms=quote.time_ms,
            quote_received_ms=quote.received_ms,
            heard_ms=quote.received_ms,
            lag_ms=lag_ms,
        )
    )


def on_book(turn: Turn, book: Book) -> None:
    if book.symbol in turn.state.markets:
        turn.change(
            book.symbol,
            bid=book.bids[0][0] if book.bids else None,
            ask=book.asks[0][0] if book.asks else None,
            quote_time_ms=book.time_ms,
            quote_received_ms=book.received_ms,
            heard_ms=book.received_ms,
        )


def on_mark(turn: Turn, mark: MarkPrice) -> None:
    market = turn.state.markets.get(mark.symbol)
    if market is not None:
        turn.put(msgspec.structs.replace(market, mark=mark.mark, heard_ms=mark.received_ms))


def on_polled(turn: Turn, polled: PolledPrice) -> None:
    """A price asked for over REST: it moves exits only while it passes the age test (design section 5)."""
    market = turn.state.markets.get(polled.symbol)
    time_ms = polled.time_ms if polled.time_ms is not None else turn.venue_now_ms
    if market is None or time_ms < market.price_time_ms:
        return
    rules = turn.market_rules(polled.symbol)
    lag_ms = turn.venue_now_ms - time_ms
    market = turn.change(
        polled.symbol,
        current_price=polled.price,
        bid=polled.bid,
        ask=polled.ask,
        quote_time_ms=time_ms,
        quote_received_ms=polled.received_ms,
        mark=polled.mark if polled.mark is not None else market.mark,
        price_time_ms=time_ms,
        price_received_ms=polled.received_ms,
        price_source="rest",
        lag_ms=lag_ms,
        heard_ms=polled.received_ms,
    )
    position = market.position
    if position is not None and lag_ms <= turn.rules.risk.max_price_age_ms:
        position = follow(position, polled.price, rules.exits, rules.instrument)
        turn.change(polled.symbol, position=position)
        reason = check_exit(position, polled.price, turn.now_ms, rules.exits)
        if reason is not None:
            protection.begin_exit(turn, polled.symbol, reason)
    if turn.now_ms - market.noted_ms >= turn.rules.price_note_ms:
        note_price(turn, polled.symbol)
    watch_verdict(turn, polled.symbol)


# --- bars and the strategy ------------------------------------------------------------------------------------------


def on_bar(turn: Turn, update: BarUpdate) -> None:
    market = turn.state.markets.get(update.symbol)
    if market is None or turn.market_rules(update.symbol).bars_from_trades:
        return
    market, closed = bars.add_venue_bar(market, update.bar)
    turn.put(market)
    if closed:
        on_bar_close(turn, update.symbol)


def on_history(turn: Turn, history: BarHistory) -> None:
    """Bars read over REST: a fresh series after a start or a gap; without a stream also the strategy's clock."""
    market = turn.state.markets.get(history.symbol)
    if market is None:
        return
    first = not market.bars
    market, is_news = bars.load_history(market, history.bars, turn.venue_now_ms)
    turn.put(market)
    if is_news and not first:
        on_bar_close(turn, history.symbol)


def read_bars(turn: Turn, symbol: str) -> None:
    if turn.market_rules(symbol).strategy is not None:
        turn.change(symbol, bars_read_ms=turn.now_ms)
        turn.act(ReadBars(symbol))


def on_bar_close(turn: Turn, symbol: str) -> None:
    market = turn.market(symbol)
    strategy = turn.strategies.get(symbol)
    if strategy is None or not market.bars or market.signal_bar_ms == market.bars[-1].open_ms:
        return
    turn.change(symbol, signal_bar_ms=market.bars[-1].open_ms)
    signal = strategy(market.bars)
    if signal is None:
        return
    turn.change(symbol, wish=None)  # the newest word counts
    turn.note("INFO", "signal", symbol=symbol, signal=signal.value, close=market.bars[-1].close)
    position = market.position
    if signal is Signal.FLAT:
        protection.begin_exit(turn, symbol, ExitReason.SIGNAL)
        return
    side = Side.BUY if signal is Signal.LONG else Side.SELL
    if position is None:
        try_entry(turn, symbol, side)
    elif position.side is not side:
        turn.change(symbol, wish=side, wish_until_ms=turn.now_ms + WISH_MS)
        protection.begin_exit(turn, symbol, ExitReason.SIGNAL)


def try_entry(turn: Turn, symbol: str, side: Side) -> None:
    """Send an entry if every rule agrees; a refusal is one line in the log."""
    state, rules = turn.state, turn.market_rules(symbol)
    market = with_verdict(turn.market(symbol), turn.now_ms, turn.rules.risk.max_price_age_ms)
    reason = refusal(market, side, state, turn.rules, turn.now_ms)
    size = ZERO
    if reason is None:
        price = market.reference_price(side)
        assert price is not None, "a fresh price is a price"
        equity = equity_now(state, turn.rules)
        size = entry_size(price, side, rules, equity)
        reason = size_refusal(size, price, side, rules, equity, state.available)
    if reason is not None:
        turn.note("INFO", "order_denied", symbol=symbol, side=side.value, reason=reason)
        return
    order = orders.aggressive_order(turn, symbol, side, size, Purpose.ENTRY)
    strategy = rules.strategy.name if rules.strategy is not None else "none"
    orders.send(turn, order, Purpose.ENTRY, strategy)


def grant_wish(turn: Turn, symbol: str) -> None:
    """The reversal a strategy asked for, once the old position is gone and nothing of it is left."""
    market = turn.market(symbol)
    if market.wish is None or market.position is not None or not market.clean:
        return
    turn.change(symbol, wish=None)
    if turn.now_ms <= market.wish_until_ms:
        try_entry(turn, symbol, market.wish)


# --- orders and account ---------------------------------------------------------------------------------------------


def on_accepted(turn: Turn, event: OrderAccepted) -> None:
    orders.on_accepted(turn, event)
    protection.protect(turn, event.symbol)


def on_rejected(turn: Turn, event: OrderRejected) -> None:
    record = orders.on_rejected(turn, event)
    if record is None:
        return
    market = turn.market(event.symbol)
    if event.reason is RejectReason.NO_LIQUIDITY:
        market = turn.change(event.symbol, exit_refusals=0)  # a thin book can fill again at any moment: keep trying
    if record.purpose is Purpose.EXIT:
        wait_ms = min(EXIT_RETRY_MS * 2**market.exit_refusals, EXIT_RETRY_MS_MAX)
        refusals = min(market.exit_refusals + 1, 10)
        turn.change(event.symbol, exit_retry_ms=turn.now_ms + wait_ms, exit_refusals=refusals)
        orders.read_account(turn, "exit rejected")
    elif record.purpose is Purpose.STOP:
        turn.change(event.symbol, stop_retry_ms=turn.now_ms + protection.RETRY_MS)
        orders.read_account(turn, "stop rejected")
        if event.reason is RejectReason.BAD_TRIGGER and protection.unprotected_side(market) is not None:
            protection.begin_exit(turn, event.symbol, ExitReason.STOP_LOSS)
    protection.protect(turn, event.symbol)


def on_unknown(turn: Turn, event: OrderUnknown) -> None:
    orders.on_unknown(turn, event)
    orders.settle_due(turn, event.symbol)
    protection.protect(turn, event.symbol)


def on_settled(turn: Turn, event: OrderSettled) -> None:
    record = orders.on_settled(turn, event)
    if record is not None and record.purpose is Purpose.STOP and event.status is OrderStatus.ACCEPTED:
        orders.read_orders(turn, "confirm stop")
    protection.protect(turn, event.symbol)


def on_update(turn: Turn, event: OrderUpdate) -> None:
    if event.symbol in turn.state.markets:
        orders.on_update(turn, event)
        protection.protect(turn, event.symbol)


def on_cancel_answered(turn: Turn, event: CancelAnswered) -> None:
    orders.on_cancel_answered(turn, event)
    protection.protect(turn, event.symbol)


def on_fill(turn: Turn, fill: Fill) -> None:
    if fill.symbol in turn.state.markets:
        positions.on_fill(turn, fill)
        protection.protect(turn, fill.symbol)


def on_working_orders(turn: Turn, event: WorkingOrders) -> None:
    for symbol in turn.state.markets:
        protection.apply_listing(turn, symbol, event.orders, event.requested_ms)
        protection.protect(turn, symbol)
        grant_wish(turn, symbol)


def on_account(turn: Turn, event: AccountSnapshot) -> None:
    reconcile.on_account(turn, event)
    for symbol in turn.state.markets:
        grant_wish(turn, symbol)


def on_budget(turn: Turn, event: RequestBudget) -> None:
    left = event.cap - event.used
    before = turn.state.budget_left
    turn.set(budget_left=left, budget_used=event.used)
    if left < 500 and (before is None or before >= 500):
        turn.note("WARNING", "request_budget_low", left=left, cap=event.cap, notify=True)


def on_key_expiry(turn: Turn, event: KeyExpiry) -> None:
    days = (event.expires_ms - turn.venue_now_ms) // positions.DAY_MS
    if days < KEY_DAYS_MIN:
        turn.note(
            "WARNING" if days > 1 else "CRITICAL",
            "key_expires",
            days=days,
            notify=True,
            text="approve a new agent key and restart: without one the bot can neither protect nor close",
        )


def on_read_failed(turn: Turn, event: ReadFailed) -> None:
    turn.note("WARNING", "read_failed", what=event.what, error=event.error)


# --- stream ---------------------------------------------------------------------------------------------------------


def on_stream_up(turn: Turn, event: StreamUp) -> None:
    was_polling = turn.state.polling
    turn.set(stream_up=True, stream_attempt=0, stream_mode="websocket", polling=False)
    if was_polling:
        turn.act(PollPrices(False, "stream is back"))
        turn.note("INFO", "fallback_off", "WebSocket restored, REST polling stopped")
    orders.read_account(turn, "stream up", with_fills=True)
    for symbol in turn.rules.markets:
        read_bars(turn, symbol)


def on_stream_down(turn: Turn, event: StreamDown) -> None:
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


def on_stream_failed(turn: Turn, event: StreamFailed) -> None:
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
        stream_attempt=0,
        stream_mode="reconnecting" if turn.rules.use_stream else "rest_fallback",
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
    orders.read_account(turn, "start", with_fills=True)
    for symbol in turn.rules.markets:
        read_bars(turn, symbol)
        orders.settle_due(turn, symbol)
    if not turn.rules.use_stream:
        start_polling(turn, "websocket is switched off in the config")


def restarted(market: MarketState, turn: Turn) -> MarketState:
    """Position with its trailing level and unfinished orders survive; prices, bars and listings do not."""
    doubted = {
        client_id: msgspec.structs.replace(record, status=OrderStatus.UNKNOWN, settle_ms=turn.now_ms)
        if record.status in (OrderStatus.SENT, OrderStatus.UNKNOWN)
        else record
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
                on_bar_close(turn, symbol)
        elif turn.now_ms - turn.market(symbol).bars_read_ms >= turn.rules.check_interval_ms:
            read_bars(turn, symbol)
        watch_verdict(turn, symbol)
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
    if turn.now_ms >= turn.state.account_due_ms and turn.now_ms - turn.state.read_account_ms >= 1_000:
        turn.set(account_due_ms=turn.now_ms + 5_000)  # if the answer never comes
        orders.read_account(turn, "regular", with_fills=not turn.state.stream_up)


def wake_up(turn: Turn) -> None:
    """Nothing was looked at for a while (a lid that was closed): read first, and give protection its time anew."""
    turn.note("WARNING", "woke_up", after_ms=turn.now_ms - turn.state.tick_ms)
    for symbol, market in turn.state.markets.items():
        if market.naked_since_ms is not None:
            turn.change(symbol, naked_since_ms=turn.now_ms)
        for record in market.orders.values():
            if record.accepted_ms is not None and record.is_live:
                orders.put_record(turn, msgspec.structs.replace(record, accepted_ms=turn.now_ms))
    orders.read_account(turn, "woke up", with_fills=True)


def watch_verdict(turn: Turn, symbol: str) -> None:
    before = turn.market(symbol)
    after = with_verdict(before, turn.now_ms, turn.rules.risk.max_price_age_ms)
    if after is before:
        return
    turn.put(after)
    good = after.verdict == "real-time"
    turn.note(
        "INFO" if good else "WARNING", "feed_verdict", symbol=symbol, verdict=after.verdict, before=before.verdict,
        lag_ms=after.lag_ms, age_ms=price_age_ms(after, turn.state, turn.now_ms), source=after.price_source,
        text="" if good else "no entries",
    )  # fmt: skip


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


def on_core_fault(turn: Turn, event: CoreFault) -> None:
    fault(turn, event.error)


def fault(turn: Turn, error: str) -> None:
    """P9: no new entries, positions stay protected, a loud line, and a non-zero exit once every stop is confirmed."""
    orders.halt(turn, f"internal fault: {error}")
    for symbol in turn.state.markets:
        protection.protect(turn, symbol)
    turn.act(Stop(1, f"internal fault: {error}"))


HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    Trade: on_trade,
    Quote: on_quote,
    Book: on_book,
    MarkPrice: on_mark,
    PolledPrice: on_polled,
    BarUpdate: on_bar,
    BarHistory: on_history,
    Fill: on_fill,
    OrderAccepted: on_accepted,
    OrderRejected: on_rejected,
    OrderUnknown: on_unknown,
    OrderSettled: on_settled,
    OrderUpdate: on_update,
    CancelAnswered: on_cancel_answered,
    WorkingOrders: on_working_orders,
    AccountSnapshot: on_account,
    RequestBudget: on_budget,
    KeyExpiry: on_key_expiry,
    ReadFailed: on_read_failed,
    StreamUp: on_stream_up,
    StreamDown: on_stream_down,
    StreamFailed: on_stream_failed,
    Started: on_started,
    Tick: on_tick,
    FlattenRequested: on_flatten,
    JournalFailed: on_journal_failed,
    JournalRestored: on_journal_restored,
    StopRequested: on_stop_requested,
    ClockOffset: on_clock,
    CoreFault: on_core_fault,
}
