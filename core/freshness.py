"""How old is what we believe? By the venue's clock and by ours, source by source (P1). Pure.

A lag is what lies between the venue's time in an update and our receipt of it, corrected by the measured offset of the
clocks; it is worked out anew when asked for, so that a late measurement also corrects what came before it.
"""

import msgspec

from core.model import Side
from core.state import Feed, MarketState, Pace, State

SILENT_MS = 10_000  # nothing at all heard of a market: contexts come about every second (page 1.6)
DELAYED_MS = 60_000  # a lag no network explains: data sold with a delay, or a clock that is wrong
LATE_MS = 3_000  # so far behind, an update may be a replay, as venues send after a subscribe
SURE_MS = 1_000  # late updates that have kept coming for so long are none
ALONE_MS = 3_000  # nothing but one old quote for so long: that is how late this market is
ALONE_LAG_MS_MAX = 3_600_000  # unless it is older than this: the last quote of a market that has closed
AHEAD_MS = 5_000  # updates from the future, beyond any error of measurement: a clock is wrong
PACE_MS = 5_000  # updates a second are counted over windows this long
FROZEN_COUNT = 3  # so many in a window without the venue's time moving forward: its clock stands still


def heard(feed: Feed, time_ms: int, received_ms: int, offset_ms: int) -> Feed:
    """`feed` after an update that the venue stamped `time_ms`. It runs on every trade: keep it short."""
    if received_ms + offset_ms - time_ms > LATE_MS:
        return Feed(feed.count + 1, time_ms, received_ms, feed.late_since_ms or received_ms)
    return Feed(feed.count + 1, time_ms, received_ms)


def feed_lag_ms(feed: Feed, offset_ms: int) -> int | None:
    """Lag of its newest update; below 0 when the venue seems ahead. None: there was none."""
    return feed.received_ms + offset_ms - feed.time_ms if feed.count else None


def word_for(lag_ms: int, max_age_ms: int) -> str:
    if lag_ms >= DELAYED_MS:
        return "delayed"
    return "lagging" if lag_ms > max_age_ms or lag_ms < -AHEAD_MS else "real-time"


def feed_verdict(feed: Feed, offset_ms: int, max_age_ms: int) -> str | None:
    """The word for one source; None: nothing came, or nothing yet but what may be a replay of the past."""
    lag_ms = feed_lag_ms(feed, offset_ms)
    if lag_ms is None:
        return None
    if lag_ms > LATE_MS and feed.received_ms - (feed.late_since_ms or feed.received_ms) < SURE_MS:
        return None
    return word_for(lag_ms, max_age_ms)


def rest_verdict(market: MarketState, state: State, max_age_ms: int) -> str | None:
    """The word for prices asked for over REST, which replay nothing; None: none was asked for yet."""
    lag_ms = feed_lag_ms(market.rest_feed, state.offset_ms)
    return None if lag_ms is None else word_for(lag_ms, max_age_ms)


def verdict(market: MarketState, state: State, now_ms: int, max_age_ms: int) -> str:
    """`real-time`, `lagging`, `delayed` or `silent`, of the source that prices come from now."""
    if now_ms - market.heard_ms > SILENT_MS:
        return "silent"
    trades, quotes = market.trade_feed, market.quote_feed
    if state.polling and market.rest_feed.received_ms > max(trades.received_ms, quotes.received_ms):
        return rest_verdict(market, state, max_age_ms) or "silent"
    traded = feed_verdict(trades, state.offset_ms, max_age_ms)
    # Trades move the exits: late ones are not made good by fresh quotes, however long ago the last one was.
    if traded == "delayed" or (traded is not None and now_ms - trades.received_ms <= SILENT_MS):
        return traded
    quoted = quote_verdict(quotes, state, now_ms, max_age_ms)
    if quoted is not None and (traded is None or quotes.received_ms >= trades.received_ms):
        return quoted
    return traded or "silent"


def quote_verdict(quotes: Feed, state: State, now_ms: int, max_age_ms: int) -> str | None:
    """As feed_verdict, but one old quote after which nothing comes is believed after ALONE_MS."""
    word = feed_verdict(quotes, state.offset_ms, max_age_ms)
    lag_ms = feed_lag_ms(quotes, state.offset_ms)
    if word is None and lag_ms is not None and lag_ms <= ALONE_LAG_MS_MAX:
        return word_for(lag_ms, max_age_ms) if now_ms - quotes.received_ms >= ALONE_MS else None
    return word


def newest_lag_ms(market: MarketState, state: State) -> int | None:
    """Lag of what prices come from now: the newest trade or quote, or the newest poll."""
    feeds = (market.trade_feed, market.quote_feed, market.rest_feed if state.polling else Feed())
    return feed_lag_ms(max(feeds, key=lambda feed: feed.received_ms), state.offset_ms)


def price_age_ms(market: MarketState, state: State, now_ms: int) -> int | None:
    """Age of the newest trade or quote: the worse of the venue's clock (offset corrected) and ours.

    None: there is no price yet.
    """
    if market.current_price is None:
        return None
    by_ours = now_ms - max(market.price_received_ms, market.quote_received_ms)
    by_venue = now_ms + state.offset_ms - max(market.price_time_ms, market.quote_time_ms)
    return max(by_ours, by_venue)


def reference_age_ms(market: MarketState, side: Side, state: State, now_ms: int) -> int | None:
    """Age of the very price that an order on `side` would be measured from, as `price_age_ms` tells it.

    A quote whose other side is empty is news of the market, and makes no old trade young.
    """
    if market.current_price is None:
        return None
    if market.is_quoted(side):
        return max(now_ms - market.quote_received_ms, now_ms + state.offset_ms - market.quote_time_ms)
    return max(now_ms - market.price_received_ms, now_ms + state.offset_ms - market.price_time_ms)


def with_verdict(market: MarketState, state: State, now_ms: int, max_age_ms: int) -> MarketState:
    found = verdict(market, state, now_ms, max_age_ms)
    return market if found == market.verdict else msgspec.structs.replace(market, verdict=found)


def paced(market: MarketState, now_ms: int) -> MarketState:
    """`market` with the updates of the last window counted, when it is over."""
    pace, trades, quotes = market.pace, market.trade_feed, market.quote_feed
    if pace.since_ms == 0:
        return msgspec.structs.replace(market, pace=Pace(now_ms, trades, quotes))
    elapsed_ms = now_ms - pace.since_ms
    if elapsed_ms < PACE_MS:
        return market
    counted = Pace(
        since_ms=now_ms,
        trades=trades,
        quotes=quotes,
        trades_per_s=round((trades.count - pace.trades.count) * 1000 / elapsed_ms, 2),
        quotes_per_s=round((quotes.count - pace.quotes.count) * 1000 / elapsed_ms, 2),
        frozen_trades=is_frozen(pace.trades, trades),
        frozen_quotes=is_frozen(pace.quotes, quotes),
    )
    return msgspec.structs.replace(market, pace=counted)


def is_frozen(before: Feed, now: Feed) -> bool:
    """Whether updates came and the venue's time in them stood still all the while (seen on TopstepX, page 3.4)."""
    return now.count - before.count >= FROZEN_COUNT and now.time_ms <= before.time_ms and before.count > 0
