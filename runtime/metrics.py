"""The snapshot in Prometheus's words."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from runtime.snapshot import HealthSnapshot, MarketHealth, PropHealth, SourceHealth

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Number = float | int | None


class _Snapshot(Collector):
    def __init__(self, snapshot: HealthSnapshot, now_ms: int) -> None:
        self._snapshot, self._now_ms = snapshot, now_ms

    def collect(self) -> Iterator[Metric]:
        yield from _bot(self._snapshot, self._now_ms)
        yield from _markets(self._snapshot.markets)
        yield from _orders(self._snapshot)
        if self._snapshot.prop is not None:
            yield from _prop(self._snapshot.prop)


def render(snapshot: HealthSnapshot, now_ms: int) -> bytes:
    """The text for /metrics; `snapshot` aged to now."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(snapshot, now_ms))
    return generate_latest(registry)


def _bot(s: HealthSnapshot, now_ms: int) -> Iterator[Metric]:
    labels = {"venue": s.venue, "network": s.network, "dry_run": str(s.dry_run).lower()}
    yield InfoMetricFamily("bot", "What is running", value=labels)
    yield _gauge("bot_ok", "1 when /health answers 200", float(s.status == "ok"))
    yield _gauge("bot_halted", "1 when entries are off until a restart", float(s.halted is not None))
    yield _gauge("bot_uptime_seconds", "Since the start", s.uptime_s)
    yield _gauge("bot_snapshot_age_seconds", "Since the main thread last reported", (now_ms - s.published_ms) / 1000)
    yield _gauge("bot_websocket_connected", "1 while the stream is up", float(s.websocket.connected))
    yield _gauge("bot_websocket_message_age_seconds", "Since the last frame", s.websocket.last_message_age_s)
    yield _counter("bot_websocket_reconnects", "Reconnects since the start", s.websocket.reconnects)
    yield _gauge("bot_equity", "Account currency, open profit included", _float(s.equity))
    yield _gauge("bot_daily_pnl", "Account currency, since 00:00 UTC", _float(s.daily_pnl))
    offset_s = None if s.clock_offset_ms is None else s.clock_offset_ms / 1000
    yield _gauge("bot_clock_offset_seconds", "Venue clock minus ours", offset_s)
    yield _gauge("bot_request_weight_used", "Request weight used in the last minute", s.requests.weight_used)
    yield _gauge("bot_request_weight_limit", "Request weight allowed a minute", s.requests.weight_limit)
    yield _gauge("bot_address_requests_used", "Actions this account has sent", s.requests.address_used)
    yield _gauge("bot_address_requests_cap", "Actions this account may send", s.requests.address_cap)
    yield _gauge("bot_journal_bytes", "Size of today's journal", s.journal.bytes)
    yield _gauge("bot_journal_ok", "0 when the disk refuses the journal", float(s.journal.ok))


def _markets(markets: dict[str, MarketHealth]) -> Iterator[Metric]:
    yield _by_symbol("bot_price", "Newest price", ((s, _float(m.current_price)) for s, m in markets.items()))
    yield _by_symbol("bot_price_age_seconds", "Age of it", ((s, m.price_age_s) for s, m in markets.items()))
    yield _by_symbol(
        "bot_price_lag_seconds",
        "From the venue to us",
        ((s, _seconds(m.lag_ms)) for s, m in markets.items()),
    )
    yield _by_symbol("bot_real_time", "1: entries may use it", ((s, _real_time(m.verdict)) for s, m in markets.items()))
    yield _by_source("bot_source_lag_seconds", "From the venue to us", markets, lambda s: _seconds(s.lag_ms))
    yield _by_source("bot_source_age_seconds", "Since the newest update", markets, lambda s: s.age_s)
    yield _by_source("bot_source_updates_per_second", "Lately", markets, lambda s: s.per_s)
    yield _by_symbol("bot_position_size", "Signed: + long, - short", ((s, _signed(m)) for s, m in markets.items()))
    held = {symbol: market.position for symbol, market in markets.items() if market.position is not None}
    yield _by_symbol("bot_unrealized_pnl", "Account currency", ((s, _float(p.unrealized_pnl)) for s, p in held.items()))
    yield _by_symbol("bot_stop_price", "Where the stop stands", ((s, _float(p.stop)) for s, p in held.items()))
    yield _by_symbol(
        "bot_position_protected",
        "1 when a stop for the full size rests at the venue",
        ((s, float(p.protected_at_venue)) for s, p in held.items()),
    )
    yield _by_symbol(
        "bot_unprotected_seconds", "Without such a stop, in a row", ((s, p.unprotected_s) for s, p in held.items())
    )


def _orders(s: HealthSnapshot) -> Iterator[Metric]:
    yield _gauge("bot_orders_open", "Orders that rest or wait at the venue", s.orders.open)
    yield _gauge("bot_orders_unknown", "Orders whose outcome nobody knows yet", s.orders.unknown)
    by_status = CounterMetricFamily("bot_orders", "Orders since the start, by status", labels=["status"])
    for status, count in s.orders.by_status.items():
        by_status.add_metric([status], count)
    yield by_status


def _prop(prop: PropHealth) -> Iterator[Metric]:
    yield _gauge(
        "bot_prop_locked", "1 when no entries are taken until the next trading day", float(prop.locked is not None)
    )
    for unit in ("dollars", "ticks"):
        family = GaugeMetricFamily(f"bot_prop_room_{unit}", "Distance to a limit of the prop firm", labels=["limit"])
        for name, room in prop.limits.items():
            distance = getattr(room, unit)
            if distance is not None:
                family.add_metric([name], float(distance))
        yield family


def _gauge(name: str, text: str, value: Number) -> Metric:
    """A gauge; without a sample while the value is not known."""
    family = GaugeMetricFamily(name, text)
    if value is not None:
        family.add_metric([], value)
    return family


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _by_symbol(name: str, text: str, values: Iterable[tuple[str, Number]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["symbol"])
    for symbol, value in values:
        if value is not None:
            family.add_metric([symbol], value)
    return family


def _by_source(
    name: str, text: str, markets: dict[str, MarketHealth], value_of: Callable[[SourceHealth], Number]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["symbol", "source"])
    for symbol, market in markets.items():
        for source, health in market.sources.items():
            value = value_of(health)
            if value is not None:
                family.add_metric([symbol, source], value)
    return family


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _real_time(verdict: str) -> float:
    return float(verdict == "real-time")


def _float(value: object) -> float | None:
    return None if value is None else float(str(value))


def _signed(market: MarketHealth) -> float:
    position = market.position
    if position is None:
        return 0.0
    return float(position.size) if position.side == "BUY" else -float(position.size)
