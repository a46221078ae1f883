"""The published health snapshot, built from the state (design 4.4). Runs on the main thread: small and quick."""

import datetime
import os
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from core import prop_account
from core.exits import stop_level
from core.freshness import feed_lag_ms, feed_verdict, newest_lag_ms, price_age_ms, rest_verdict
from core.holdings import dearest_tick, holdings
from core.model import OrderStatus
from core.protection import tightest
from core.risk import daily_pnl, equity_now
from core.rules import MarketRules, Rules
from core.state import Feed, MarketState, State, open_pnl
from runtime.snapshot import (
    HealthSnapshot,
    JournalHealth,
    MarketHealth,
    OrdersHealth,
    PositionHealth,
    PropHealth,
    RequestsHealth,
    RoomHealth,
    SourceHealth,
    StreamHealth,
    overall,
)

QUIET_S = 10.0  # a market may be quiet for so long before the whole bot counts as stale; entries are stricter (P1)
CENT = Decimal("0.01")


def stream_health(state: State, status: object | None, now_ms: int) -> StreamHealth:
    """`status` is the stream's own (connected, subscriptions, last_message_ms, reconnects), None without a stream."""
    last_ms = getattr(status, "last_message_ms", None)
    return StreamHealth(
        mode=state.stream_mode,
        connected=state.stream_up,
        subscriptions=getattr(status, "subscriptions", 0),
        last_message_time=None if last_ms is None else iso(last_ms),
        last_message_age_s=None if last_ms is None else max(0, now_ms - last_ms) / 1000,
        reconnects=getattr(status, "reconnects", 0),
        attempt=state.stream_attempt,
    )


def iso(ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def market_health(market: MarketState, rules: MarketRules, state: State, now_ms: int, max_age_ms: int) -> MarketHealth:
    age_ms = price_age_ms(market, state, now_ms)
    minutes, rest = divmod(rules.timeframe_ms, 60_000)
    return MarketHealth(
        current_price=market.current_price,
        price_source=market.price_source,
        price_age_s=None if age_ms is None else max(0, age_ms) / 1000,
        lag_ms=newest_lag_ms(market, state),
        verdict=market.verdict,
        sources=sources_health(market, state, now_ms, max_age_ms),
        position=position_health(market, rules, now_ms),
        mark=market.mark,
        timeframe=f"{minutes}m" if not rest else f"{rules.timeframe_ms // 1000}s",
        strategy=None if rules.strategy is None else rules.strategy.name,
    )


def sources_health(market: MarketState, state: State, now_ms: int, max_age_ms: int) -> dict[str, SourceHealth]:
    pace, offset_ms = market.pace, state.offset_ms

    def source(feed: Feed, word: str | None, per_s: float | None, frozen: bool) -> SourceHealth:
        age_s = max(0, now_ms - feed.received_ms) / 1000 if feed.count else None
        return SourceHealth(lag_ms=feed_lag_ms(feed, offset_ms), age_s=age_s, per_s=per_s, verdict=word, frozen=frozen)

    trades, quotes, rest = market.trade_feed, market.quote_feed, market.rest_feed
    return {
        "trades": source(trades, feed_verdict(trades, offset_ms, max_age_ms), pace.trades_per_s, pace.frozen_trades),
        "quotes": source(quotes, feed_verdict(quotes, offset_ms, max_age_ms), pace.quotes_per_s, pace.frozen_quotes),
        "rest": source(rest, rest_verdict(market, state, max_age_ms), None, False),
    }


def position_health(market: MarketState, rules: MarketRules, now_ms: int) -> PositionHealth | None:
    position = market.position
    if position is None:
        return None
    at_venue = tightest(market, position)
    return PositionHealth(
        side=position.side.value,
        size=position.size,
        entry_price=position.entry_price,
        unrealized_pnl=open_pnl(market, rules.instrument.multiplier).quantize(CENT),
        stop=stop_level(position) if at_venue is None else at_venue.trigger_price,
        protected_at_venue=at_venue is not None,
        target=position.target_price,
        trailing=position.trail_price is not None,
        held_s=(now_ms - position.entry_ms) / 1000,
        unprotected_s=0.0 if market.naked_since_ms is None else (now_ms - market.naked_since_ms) / 1000,
        adopted=position.adopted,
        exit_reason=None if market.exit_reason is None else market.exit_reason.value,
    )


def protection_text(state: State) -> str:
    """What protects the positions if the bot dies now, in one sentence."""
    parts = []
    for symbol, market in state.markets.items():
        position = market.position
        if position is None:
            continue
        stop = tightest(market, position)
        held = f"{symbol} {position.side.value} {position.size}"
        parts.append(f"{held}: NOTHING at the venue" if stop is None else f"{held}: venue stop at {stop.trigger_price}")
    parts += [f"{symbol}: not managed by this bot" for symbol in state.unmanaged]
    return "; ".join(parts) or "flat, nothing to protect"


def address_budget(state: State) -> tuple[int | None, int | None]:
    """(used, cap). None until the venue has been asked in this run: what the last run knew is history."""
    if not state.synced or state.budget_used is None or state.budget_left is None:
        return None, None
    return state.budget_used, state.budget_used + state.budget_left


def prop_health(state: State, rules: Rules, now_ms: int) -> PropHealth | None:
    """None without prop rules, or before the account has been seen."""
    prop, guarded = state.prop, rules.prop
    if guarded is None or not prop.day:
        return None
    held = holdings(state, rules)
    valuation = prop_account.equity(guarded, prop.balance, held, now_ms)
    target = prop_account.consistency(guarded, prop, prop.balance)
    return PropHealth(
        preset=guarded.preset,
        balance=prop.balance,
        equity=cents(None if valuation is None else valuation.in_hand),
        limits={
            room.name: RoomHealth(
                level=room.level.quantize(CENT),
                dollars=cents(room.dollars),
                ticks=room.ticks,
                whole=getattr(guarded, room.name),
            )
            for room in prop_account.distances(guarded, prop, valuation, held, dearest_tick(rules))
        },
        locked=prop.lock_reason if prop_account.is_locked(prop, now_ms + state.offset_ms) else None,
        excess=state.prop_excess or None,
        best_day=cents(None if target is None else target.best_day),
        target_needed=cents(None if target is None else target.needed),
        target_total=cents(None if target is None else target.total),
    )


def cents(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(CENT)


def build(
    state: State,
    rules: Rules,
    *,
    now_ms: int,
    started_ms: int,
    stream_status: object | None,
    order_counts: "Counter[str]",
    weight_used: int,
    weight_limit: int,
    journal_bytes: int,
    journal_error: str | None = None,
    word: str | None = None,
    recent: Iterable[str] = (),
) -> HealthSnapshot:
    """`word` overrides the status: stopping, stopped."""
    markets = {
        symbol: market_health(state.markets[symbol], market_rules, state, now_ms, rules.risk.max_price_age_ms)
        for symbol, market_rules in rules.markets.items()
        if symbol in state.markets
    }
    records = [record for market in state.markets.values() for record in market.live_orders()]
    stops = {stop.order_id for market in state.markets.values() for stop in market.stops}
    others = [record for record in records if record.order_id not in stops]
    equity = equity_now(state, rules)
    address_used, address_cap = address_budget(state)
    return HealthSnapshot(
        status=word or overall(state.halted, markets.values(), max(QUIET_S, rules.risk.max_price_age_ms / 1000)),
        venue=rules.venue,
        network=rules.network,
        dry_run=rules.dry_run,
        uptime_s=(now_ms - started_ms) / 1000,
        websocket=stream_health(state, stream_status, now_ms),
        markets=markets,
        orders=OrdersHealth(
            open=len(stops) + len(others),
            unknown=sum(record.status is OrderStatus.UNKNOWN for record in records),
            by_status=dict(order_counts),
        ),
        equity=None if equity is None else equity.quantize(CENT),
        daily_pnl=None if not state.synced else daily_pnl(state, rules).quantize(CENT),
        halted=None if word is not None else state.halted,
        requests=RequestsHealth(
            weight_used=weight_used,
            weight_limit=weight_limit,
            address_used=address_used,
            address_cap=address_cap,
        ),
        journal=JournalHealth(
            ok=state.journal_ok, bytes=journal_bytes, error=None if state.journal_ok else journal_error
        ),
        protection=protection_text(state),
        clock_offset_ms=state.offset_ms,
        unmanaged=state.unmanaged,
        prop=prop_health(state, rules, now_ms),
        recent=tuple(recent),
        pid=os.getpid(),
        published_ms=now_ms,
    )
