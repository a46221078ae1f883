"""How old is what we believe? By the venue's clock and by ours (P1). Pure."""

import msgspec

from core.state import MarketState, State

SILENT_MS = 10_000  # nothing at all heard of a market: contexts come about every second (page 1.6)
DELAYED_MS = 60_000  # a lag no network explains: data sold with a delay, or a clock that is wrong


def price_age_ms(market: MarketState, state: State, now_ms: int) -> int | None:
    """Age of the newest trade or quote: the worse of the venue's clock (offset corrected) and ours.

    None: there is no price yet.
    """
    if market.current_price is None:
        return None
    by_ours = now_ms - max(market.price_received_ms, market.quote_received_ms)
    by_venue = now_ms + state.offset_ms - max(market.price_time_ms, market.quote_time_ms)
    return max(by_ours, by_venue)


def verdict(market: MarketState, now_ms: int, max_age_ms: int) -> str:
    """`real-time`, `lagging`, `delayed` or `silent`, from the newest price's lag and the time since anything came."""
    if market.lag_ms is None or now_ms - market.heard_ms > SILENT_MS:
        return "silent"
    if market.lag_ms >= DELAYED_MS:
        return "delayed"
    if market.lag_ms > max_age_ms:
        return "lagging"
    return "real-time"


def with_verdict(market: MarketState, now_ms: int, max_age_ms: int) -> MarketState:
    found = verdict(market, now_ms, max_age_ms)
    return market if found == market.verdict else msgspec.structs.replace(market, verdict=found)
