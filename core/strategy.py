"""Bars, and what a strategy makes of them: at each bar close one question, perhaps one entry."""

import msgspec

from core import bars, orders, prop_guard, protection
from core.exits import bracket_at
from core.freshness import with_verdict
from core.messages import BarHistory, BarUpdate, ReadBars
from core.model import ZERO, Purpose, Side
from core.risk import entry_size, equity_now, refusal, size_refusal
from core.signals import Signal
from core.state import ExitReason
from core.turn import Turn

SIDES = {Signal.LONG: Side.BUY, Signal.SHORT: Side.SELL, Signal.FLAT: None}
WISH_MS = 5_000  # how long a reversal waits for the market to be flat and clean


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
    market, is_news = bars.load_history(
        market, history.bars, turn.venue_now_ms, turn.market_rules(history.symbol).bars_from_trades
    )
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
    position, side = market.position, SIDES[signal]
    is_so = (None if position is None else position.side) is side  # a strategy may say the same at every bar
    level = "DEBUG" if is_so else "INFO"
    turn.note(level, "signal", symbol=symbol, signal=signal.value, close=market.bars[-1].close)
    if side is None:
        protection.begin_exit(turn, symbol, ExitReason.SIGNAL)
        return
    if position is None:
        try_entry(turn, symbol, side)
    elif position.side is not side:
        turn.change(symbol, wish=side, wish_until_ms=turn.now_ms + WISH_MS)
        protection.begin_exit(turn, symbol, ExitReason.SIGNAL)


def try_entry(turn: Turn, symbol: str, side: Side) -> None:
    """Send an entry if every rule agrees; a refusal is one line in the log."""
    state, rules = turn.state, turn.market_rules(symbol)
    market = with_verdict(turn.market(symbol), state, turn.now_ms, turn.rules.risk.max_price_age_ms)
    reason = refusal(market, side, state, turn.rules, turn.now_ms)
    size = price = ZERO
    if reason is None:
        price = market.reference_price(side) or ZERO
        assert price, "a fresh price is a price"
        equity = equity_now(state, turn.rules)
        size = entry_size(price, side, rules, equity)
        size, reason = prop_guard.allow(turn, symbol, size, price)
        reason = reason or size_refusal(size, price, side, rules, equity, state.available)
    if reason is not None:
        turn.note("INFO", "order_denied", symbol=symbol, side=side.value, reason=reason)
        return
    order = orders.aggressive_order(turn, symbol, side, size, Purpose.ENTRY)
    if turn.rules.entry_brackets and not state.brackets_refused:
        order = msgspec.structs.replace(order, bracket=bracket_at(price, rules.exits, rules.instrument))
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
