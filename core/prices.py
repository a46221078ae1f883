"""What prices do: every trade, in order, moves the price, the trail and the exits."""

from msgspec.structs import replace

from core import bars, holdings, protection, strategy
from core.exits import check_exit, follow
from core.freshness import (
    AHEAD_MS,
    feed_lag_ms,
    heard,
    newest_lag_ms,
    paced,
    price_age_ms,
    rest_verdict,
    with_verdict,
)
from core.messages import PolledPrice, RestSample
from core.model import Book, MarkPrice, Quote, Trade
from core.turn import Turn


def on_trade(turn: Turn, trade: Trade) -> None:
    """Every trade, in order: price, position, exits, bars."""
    state = turn.state
    market = state.markets.get(trade.symbol)
    if market is None:
        holdings.on_price(turn, trade)
        return
    rules = turn.rules.markets[trade.symbol]
    now_ms, price = trade.received_ms, trade.price
    feed = heard(market.trade_feed, trade.time_ms, now_ms, state.offset_ms)
    position = market.position
    is_judged = position is not None and trade.time_ms >= market.exits_from_ms
    if position is not None and is_judged:
        position = follow(position, price, rules.exits, rules.instrument)
    if trade.time_ms >= market.price_time_ms or is_ahead(turn, market.price_time_ms):
        market = replace(
            market,
            current_price=price,
            price_time_ms=trade.time_ms,
            price_received_ms=now_ms,
            price_source="websocket",
            trade_feed=feed,
            heard_ms=now_ms,
            position=position,
        )
    else:  # it comes late, behind a newer one: exits hear of it, the price is not set back
        market = replace(market, trade_feed=feed, heard_ms=now_ms, position=position)
    turn.put(market)
    if position is not None and is_judged and market.exit_reason is None:
        reason = check_exit(position, price, now_ms, rules.exits)
        if reason is not None:
            protection.begin_exit(turn, trade.symbol, reason)
        elif market.beyond_ms is not None:
            turn.change(trade.symbol, beyond_ms=None)  # back on the safe side of the venue's stop
    if rules.strategy is not None and rules.bars_from_trades and not is_ahead(turn, trade.time_ms):
        market, closed = bars.add_trade(turn.market(trade.symbol), trade, rules.timeframe_ms)
        turn.put(market)
        if closed:
            strategy.on_bar_close(turn, trade.symbol)
    if now_ms - market.noted_ms >= turn.rules.price_note_ms:
        note_price(turn, trade.symbol)


def is_ahead(turn: Turn, venue_ms: int) -> bool:
    """A time that has not come yet by the venue's clock: one such price must not make all that follow look old."""
    return venue_ms > turn.venue_now_ms + AHEAD_MS


def note_price(turn: Turn, symbol: str) -> None:
    market = turn.change(symbol, noted_ms=turn.now_ms)
    lag_ms = market.price_received_ms + turn.state.offset_ms - market.price_time_ms
    fresh = lag_ms <= turn.rules.risk.max_price_age_ms
    words = "Polled price update" if market.price_source == "rest" else "Late price update"
    if fresh and market.price_source == "websocket":
        words = "Real-time price update"
    turn.note(
        "INFO", "price", f"{words}: ${market.current_price:.2f}", symbol=symbol, price=market.current_price,
        lag_ms=lag_ms, source=market.price_source,
    )  # fmt: skip


def on_quote(turn: Turn, quote: Quote) -> None:
    market = turn.state.markets.get(quote.symbol)
    if market is None:
        holdings.on_price(turn, quote)
        return
    feed = heard(market.quote_feed, quote.time_ms, quote.received_ms, turn.state.offset_ms)
    turn.put(
        replace(
            market,
            bid=quote.bid,
            ask=quote.ask,
            quote_time_ms=quote.time_ms,
            quote_received_ms=quote.received_ms,
            quote_feed=feed,
            heard_ms=quote.received_ms,
        )
    )


def on_book(turn: Turn, book: Book) -> None:
    market = turn.state.markets.get(book.symbol)
    if market is not None:
        turn.change(
            book.symbol,
            quote_feed=heard(market.quote_feed, book.time_ms, book.received_ms, turn.state.offset_ms),
            bid=book.bids[0][0] if book.bids else None,
            ask=book.asks[0][0] if book.asks else None,
            quote_time_ms=book.time_ms,
            quote_received_ms=book.received_ms,
            heard_ms=book.received_ms,
        )


def on_mark(turn: Turn, mark: MarkPrice) -> None:
    market = turn.state.markets.get(mark.symbol)
    if market is not None:
        turn.put(replace(market, mark=mark.mark, heard_ms=mark.received_ms))


def on_polled(turn: Turn, polled: PolledPrice) -> None:
    """A price asked for over REST: it moves exits only while it passes the age test (design section 5)."""
    market = turn.state.markets.get(polled.symbol)
    time_ms = polled.time_ms if polled.time_ms is not None else turn.venue_now_ms
    if market is None:
        return
    feed = heard(market.rest_feed, time_ms, polled.received_ms, turn.state.offset_ms)
    market = turn.change(polled.symbol, rest_feed=feed, heard_ms=polled.received_ms)
    watch_rest(turn, polled.symbol)
    is_older = time_ms < market.price_time_ms and not is_ahead(turn, market.price_time_ms)
    if is_older:  # than what the stream brought: REST comes late
        watch_verdict(turn, polled.symbol)
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


def on_sample(turn: Turn, sample: RestSample) -> None:
    """A REST price that is only looked at: were the stream to fail now, would polled prices do?"""
    market = turn.state.markets.get(sample.symbol)
    if market is None:
        return
    time_ms = sample.time_ms
    is_late = turn.venue_now_ms - time_ms > turn.rules.risk.max_price_age_ms
    if is_late and market.verdict == "real-time" and market.price_source == "websocket":
        # Where nothing trades REST has nothing newer to tell: it is as late as it is behind the stream's last trade.
        time_ms = max(time_ms, turn.venue_now_ms - max(0, market.price_time_ms - time_ms))
    feed = heard(market.rest_feed, time_ms, sample.received_ms, turn.state.offset_ms)
    turn.change(sample.symbol, rest_feed=feed)
    watch_rest(turn, sample.symbol)


def watch_verdict(turn: Turn, symbol: str) -> None:
    """On every tick and every poll: the words for the stream and for REST, and a line in the log when one changes."""
    before = turn.market(symbol)
    after = paced(with_verdict(before, turn.state, turn.now_ms, turn.rules.risk.max_price_age_ms), turn.now_ms)
    if after is before:
        return
    turn.put(after)
    if after.verdict == before.verdict:
        return
    good = after.verdict == "real-time"
    offset_ms = turn.state.offset_ms
    frozen = [n for n, f in (("trades", after.pace.frozen_trades), ("quotes", after.pace.frozen_quotes)) if f]
    turn.note(
        "INFO" if good else "WARNING", "feed_verdict", symbol=symbol, verdict=after.verdict, before=before.verdict,
        lag_ms=newest_lag_ms(after, turn.state), age_ms=price_age_ms(after, turn.state, turn.now_ms),
        source=after.price_source, trade_lag_ms=feed_lag_ms(after.trade_feed, offset_ms),
        quote_lag_ms=feed_lag_ms(after.quote_feed, offset_ms), offset_ms=offset_ms,
        frozen=",".join(frozen) or None, text="" if good else "no entries",
    )  # fmt: skip


def watch_rest(turn: Turn, symbol: str) -> None:
    market = turn.market(symbol)
    found = rest_verdict(market, turn.state, turn.rules.risk.max_price_age_ms)
    if found == market.rest_verdict:
        return
    turn.change(symbol, rest_verdict=found)
    good = found == "real-time"
    if good and market.rest_verdict is None:
        return  # as it should be
    turn.note(
        "INFO" if good else "WARNING", "rest_verdict", symbol=symbol, verdict=found, before=market.rest_verdict,
        lag_ms=feed_lag_ms(market.rest_feed, turn.state.offset_ms), stream=market.verdict,
        text="" if good else "without the stream these prices would move neither entries nor exits",
    )  # fmt: skip
