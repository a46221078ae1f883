"""Bars from trades, or from the venue's own candles. Pure: state in, state and newly closed bars out."""

import msgspec

from core.model import ZERO, Bar, Trade
from core.state import MarketState

KEPT = 600  # closed bars a market keeps; strategies look back less far
MAX_FLAT = 60  # silent intervals filled with flat bars; a longer silence starts the series anew


def add_trade(market: MarketState, trade: Trade, timeframe_ms: int) -> tuple[MarketState, bool]:
    """Market with `trade` in its forming bar, and whether that closed a bar."""
    bar = market.forming
    if bar is not None and trade.time_ms <= bar.close_ms:
        if trade.time_ms < bar.open_ms:
            return market, False  # belongs to a bar the strategy has already seen
        merged = msgspec.structs.replace(
            bar,
            high=max(bar.high, trade.price),
            low=min(bar.low, trade.price),
            close=trade.price,
            volume=bar.volume + trade.size,
        )
        return msgspec.structs.replace(market, forming=merged), False
    open_ms = trade.time_ms - trade.time_ms % timeframe_ms
    fresh = Bar(open_ms, open_ms + timeframe_ms - 1, trade.price, trade.price, trade.price, trade.price, trade.size)
    if bar is None and market.bars and open_ms <= market.bars[-1].open_ms:
        return market, False  # the clock has closed that bar
    closed = close_until(market, open_ms, timeframe_ms)
    return msgspec.structs.replace(closed, forming=fresh), bar is not None


def close_until(market: MarketState, open_ms: int, timeframe_ms: int) -> MarketState:
    """Close the forming bar, if any, and fill silent intervals up to the one that begins at `open_ms`."""
    bars = market.bars if market.forming is None else (*market.bars, market.forming)
    if not bars:
        return market
    last = bars[-1]
    missing = (open_ms - last.open_ms) // timeframe_ms - 1
    if missing > MAX_FLAT:
        return msgspec.structs.replace(market, bars=(), forming=None)
    flat = tuple(
        Bar(start, start + timeframe_ms - 1, last.close, last.close, last.close, last.close, ZERO)
        for start in range(last.open_ms + timeframe_ms, open_ms, timeframe_ms)
    )
    return msgspec.structs.replace(market, bars=(*bars, *flat)[-KEPT:], forming=None)


def close_by_clock(market: MarketState, venue_now_ms: int, timeframe_ms: int) -> tuple[MarketState, bool]:
    """Close the forming bar when its time and a little grace for late prints have passed."""
    bar = market.forming
    grace_ms = min(1_000, timeframe_ms // 4)
    if bar is None or venue_now_ms <= bar.close_ms + grace_ms:
        return market, False
    return close_until(market, bar.open_ms + timeframe_ms, timeframe_ms), True


def add_venue_bar(market: MarketState, bar: Bar) -> tuple[MarketState, bool]:
    """Market after the venue's own candle: it replaces the forming bar, or closes it by being the next one."""
    forming = market.forming
    if forming is None or bar.open_ms == forming.open_ms:
        if market.bars and bar.open_ms <= market.bars[-1].open_ms:
            return market, False  # late news of a bar that the clock has closed
        return msgspec.structs.replace(market, forming=bar), False
    if bar.open_ms < forming.open_ms:
        return market, False
    bars = (*market.bars, forming)[-KEPT:]
    return msgspec.structs.replace(market, bars=bars, forming=bar), True


def load_history(
    market: MarketState, bars: tuple[Bar, ...], venue_now_ms: int, from_trades: bool = False
) -> tuple[MarketState, bool]:
    """Replace the series with the venue's; True when it holds a closed bar newer than the newest one known.

    What was built from trades that the read did not know yet (`from_trades`) stays behind it.
    """
    closed = tuple(bar for bar in bars if bar.close_ms < venue_now_ms)[-KEPT:]
    forming = bars[-1] if bars and bars[-1].close_ms >= venue_now_ms else None
    if from_trades:
        last_ms = closed[-1].open_ms if closed else 0
        forming = newest(forming, market.forming)
        if forming is not None and forming.open_ms <= last_ms:
            forming = None
        closed = (*closed, *(bar for bar in market.bars if bar.open_ms > last_ms))[-KEPT:]
    newest_known = market.bars[-1].open_ms if market.bars else 0
    is_news = bool(closed) and closed[-1].open_ms > newest_known
    return msgspec.structs.replace(market, bars=closed, forming=forming), is_news


def newest(read: Bar | None, built: Bar | None) -> Bar | None:
    """The bar that forms now, from a read and from trades that may be newer."""
    if read is None or built is None or read.open_ms != built.open_ms:
        known = [bar for bar in (read, built) if bar is not None]
        return max(known, key=lambda bar: bar.open_ms, default=None)
    return msgspec.structs.replace(
        read,
        high=max(read.high, built.high),
        low=min(read.low, built.low),
        close=built.close,
        volume=max(read.volume, built.volume),
    )
