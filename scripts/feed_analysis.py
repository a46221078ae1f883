"""Is a feed real-time? From what was heard of it to figures and one word. Pure.

The word is the bot's own: what was heard is put through `core.freshness` again, second by second.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec

from core.freshness import SURE_MS, feed_verdict, heard, quote_verdict, verdict, word_for
from core.state import MarketState, State
from scripts.feed_samples import (
    STREAM,
    BarRead,
    Lags,
    Listening,
    MarketFigures,
    PriceGap,
    Report,
    SourceFigures,
    Update,
)
from scripts.feed_words import sentence, why

WORST_FIRST = ("silent", "delayed", "lagging", "real-time")
WARM_MS = 3_000  # from the first data on: until then a replay and the present cannot always be told apart
MOST = 0.95  # of the seconds must be real-time for the whole to be
FROZEN_MS = 3_000
STEP_MS = 1_000
OFFSET_ERROR_MS = 1_000  # of a measurement by Date headers


def analyse(listening: Listening, markets: dict[str, tuple[Sequence[Update], Sequence[BarRead]]]) -> Report:
    """`markets`: what was heard of each, in the order received, and the reads of its bars."""
    found = tuple(market_figures(symbol, updates, bars, listening) for symbol, (updates, bars) in markets.items())
    word = min((market.verdict for market in found), key=WORST_FIRST.index, default="silent")
    return Report(
        verdict=word,
        line=sentence(word, found, listening),
        seconds=round((listening.ended_ms - listening.began_ms) / 1000, 1),
        clock_offset_ms=listening.offset_ms,
        markets=found,
        troubles=listening.troubles,
    )


def market_figures(
    symbol: str, updates: Sequence[Update], bars: Sequence[BarRead], listening: Listening
) -> MarketFigures:
    word = stream_word(updates, listening)
    sources = {source: stream_figures(source, updates, listening) for source in STREAM}
    sources["rest"] = rest_figures(updates, bars, listening)
    return MarketFigures(
        symbol=symbol,
        verdict=word,
        why=why(word, sources, listening),
        sources=sources,
        bar_age_s=bar_age_s(bars, listening),
        price_gap=price_gap(updates),
    )


# --- the stream -------------------------------------------------------------------------------------------------------


def stream_word(updates: Sequence[Update], listening: Listening) -> str:
    """The bot's word at the end, unless that is real-time and too many of the seconds before were not."""
    words = list(words_by_second([u for u in updates if u.source != "rest"], listening))
    if not words or words[-1] != "real-time":
        return words[-1] if words else "silent"
    others = [word for word in words if word != "real-time"]
    if len(others) <= (1 - MOST) * len(words):
        return "real-time"
    return max(sorted(set(others)), key=others.count)


def words_by_second(updates: Sequence[Update], listening: Listening) -> Iterable[str]:
    """What the bot would have said each second, from shortly after the first data to the end."""
    if not updates:
        return
    offset_ms = listening.offset_ms or 0
    state, market, at = State(offset_ms=offset_ms), MarketState(""), 0
    moment_ms = min(updates[0].received_ms + WARM_MS, listening.ended_ms)
    while moment_ms <= listening.ended_ms:
        while at < len(updates) and updates[at].received_ms <= moment_ms:
            market = after(market, updates[at], offset_ms)
            at += 1
        yield verdict(market, state, moment_ms, listening.max_age_ms)
        moment_ms += STEP_MS


def after(market: MarketState, update: Update, offset_ms: int) -> MarketState:
    change = msgspec.structs.replace
    if update.time_ms is not None and update.source == "trades":
        feed = heard(market.trade_feed, update.time_ms, update.received_ms, offset_ms)
        market = change(market, trade_feed=feed)
    elif update.time_ms is not None and update.source == "quotes":
        feed = heard(market.quote_feed, update.time_ms, update.received_ms, offset_ms)
        market = change(market, quote_feed=feed)
    return change(market, heard_ms=update.received_ms)


def stream_figures(source: str, updates: Sequence[Update], listening: Listening) -> SourceFigures:
    mine = [update for update in updates if update.source == source]
    offset_ms = listening.offset_ms or 0
    market = MarketState("")
    for update in mine:
        market = after(market, update, offset_ms)
    if source == "trades":
        word = feed_verdict(market.trade_feed, offset_ms, listening.max_age_ms)
    else:
        state = State(offset_ms=offset_ms)
        word = quote_verdict(market.quote_feed, state, listening.ended_ms, listening.max_age_ms)
    lags = lags_of(mine, offset_ms)
    replayed = len(mine) if word is None else count_replayed(mine, listening)
    return SourceFigures(
        count=len(mine),
        per_s=rate(len(mine), listening),
        verdict=word,
        lag_ms=percentiles(lags[replayed:]),
        silence_s=longest_silence_s(mine, listening),
        replayed=replayed,
        frozen=stood_still(mine),
    )


def lags_of(updates: Iterable[Update], offset_ms: int) -> list[int]:
    return [u.received_ms + offset_ms - u.time_ms for u in updates if u.time_ms is not None]


def count_replayed(updates: Sequence[Update], listening: Listening) -> int:
    """How many of the first are the past, sent at once after the subscribe: older than it, and newer ones follow."""
    began_ms = listening.began_ms + (listening.offset_ms or 0) - OFFSET_ERROR_MS
    for number, update in enumerate(updates):
        if update.time_ms is not None and update.time_ms >= began_ms:
            return number
        if update.received_ms - updates[0].received_ms >= SURE_MS:
            break
    return 0


def stood_still(updates: Sequence[Update]) -> bool:
    """Whether updates came for FROZEN_MS or longer, three at least, without the venue's time moving forward."""
    newest_ms, since_ms, count = 0, 0, 0
    for update in updates:
        if update.time_ms is None or update.time_ms > newest_ms:
            newest_ms, since_ms, count = update.time_ms or newest_ms, update.received_ms, 0
        count += 1
        if count >= 3 and update.received_ms - since_ms >= FROZEN_MS:
            return True
    return False


def longest_silence_s(updates: Sequence[Update], listening: Listening) -> float:
    moments = [listening.began_ms, *(update.received_ms for update in updates), listening.ended_ms]
    return round(max(later - earlier for earlier, later in pairwise(moments)) / 1000, 2)


def rate(count: int, listening: Listening) -> float:
    return round(count * 1000 / max(1, listening.ended_ms - listening.began_ms), 2)


def percentiles(lags: Iterable[int]) -> Lags | None:
    ordered = sorted(lags)
    if not ordered:
        return None

    def at(share: int) -> int:
        return ordered[max(0, -(-share * len(ordered) // 100) - 1)]  # nearest rank

    return Lags(at(50), at(95), at(99), ordered[-1])


# --- REST -------------------------------------------------------------------------------------------------------------


def rest_figures(updates: Sequence[Update], bars: Sequence[BarRead], listening: Listening) -> SourceFigures:
    """Where nothing trades REST has nothing newer to tell: it is no later than it is behind the stream's trades."""
    mine = [update for update in updates if update.source == "rest"]
    lags = behind_the_stream(updates, listening) or bars_behind(updates, bars, listening)
    found = percentiles(lags)
    return SourceFigures(
        count=len(mine),
        per_s=rate(len(mine), listening),
        verdict=None if found is None else word_for(found.p95, listening.max_age_ms),
        lag_ms=found,
        silence_s=longest_silence_s(mine, listening),
    )


def behind_the_stream(updates: Iterable[Update], listening: Listening) -> list[int]:
    """Lag of each polled price that carries a time."""
    lags, traded_ms = [], None
    offset_ms = listening.offset_ms or 0
    for update in updates:
        if update.time_ms is None:
            continue
        lag_ms = update.received_ms + offset_ms - update.time_ms
        if update.source == "trades" and lag_ms <= listening.max_age_ms:
            traded_ms = max(traded_ms or 0, update.time_ms)
        elif update.source == "rest":
            if traded_ms is not None and lag_ms > listening.max_age_ms:
                lag_ms = min(lag_ms, max(0, traded_ms - update.time_ms))
            lags.append(lag_ms)
    return lags


def bars_behind(updates: Iterable[Update], bars: Iterable[BarRead], listening: Listening) -> list[int]:
    """The same by the newest bar, where polled prices carry no time."""
    as_prices = [Update("rest", bar.received_ms, bar.close_ms + 1) for bar in bars]
    both = [*(update for update in updates if update.source == "trades"), *as_prices]
    lags = behind_the_stream(sorted(both, key=lambda update: update.received_ms), listening)
    return [max(0, lag_ms) for lag_ms in lags]


def bar_age_s(bars: Sequence[BarRead], listening: Listening) -> float | None:
    if not bars:
        return None
    newest = bars[-1]
    return round(max(0, newest.received_ms + (listening.offset_ms or 0) - newest.close_ms - 1) / 1000, 1)


def price_gap(updates: Iterable[Update]) -> PriceGap | None:
    """Against the nearer of last trade and middle of the quote, for REST gives either."""
    known: dict[str, Decimal] = {}
    gaps: list[tuple[Decimal, Decimal]] = []
    for update in updates:
        if update.price is None:
            continue
        if update.source in STREAM:
            known[update.source] = update.price
        elif update.source == "rest" and known:
            gaps.append((min(abs(update.price - price) for price in known.values()), update.price))
    if not gaps:
        return None
    ordered = sorted(gap for gap, _ in gaps)
    largest, price = max(gaps)
    return PriceGap(ordered[len(ordered) // 2], largest, round(float(largest / price * 100), 4))
