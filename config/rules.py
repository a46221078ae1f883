"""From settings to the rules of a run: units settled, symbols and sizes checked against the venue's instruments."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from config.faults import ConfigFault, did_you_mean, show
from config.prop import prop_rules, sessions
from config.prop_settings import PropSettings
from config.settings import ExitSettings, MarketSettings, Settings, SizeSettings, timeframe_ms
from core.model import Instrument
from core.rules import Distance, ExitRules, MarketRules, RiskRules, Rules, SizeRules, StrategyRules
from core.sessions import Sessions

MINUTE_MS = 60_000


class Addresses(msgspec.Struct, frozen=True):
    """Where the venue is. Hyperliquid: protocol page 0."""

    api_url: str
    ws_url: str


_HYPERLIQUID = {
    "testnet": Addresses("https://api.hyperliquid-testnet.xyz", "wss://api.hyperliquid-testnet.xyz/ws"),
    "mainnet": Addresses("https://api.hyperliquid.xyz", "wss://api.hyperliquid.xyz/ws"),
}


def addresses(settings: Settings) -> Addresses | None:
    """The addresses to use on Hyperliquid; None: the simulator, which has to be started first.

    With `api_url` alone the WebSocket is taken to be at `/ws` of the same host.
    """
    api_url, ws_url = settings.api_url, settings.ws_url
    if api_url is None:
        known = _HYPERLIQUID.get(settings.network)
        return None if known is None else Addresses(known.api_url, ws_url or known.ws_url)
    api_url = api_url.rstrip("/")
    return Addresses(api_url, ws_url or "ws" + api_url.removeprefix("http") + "/ws")


def market_rules(settings: Settings, instruments: Mapping[str, Instrument]) -> Rules:
    """The rules of this run. Raises ConfigFault for symbols the venue lacks and for what its instruments forbid."""
    faults = [
        f"markets[{index}].{fault}"
        for index, market in enumerate(settings.markets)
        for fault in _instrument_faults(market, instruments)
    ]
    if faults:
        raise ConfigFault(faults)
    risk = settings.risk
    return Rules(
        venue=settings.venue,
        network=settings.network,
        dry_run=settings.is_paper,
        markets={market.symbol: _market(settings, market, instruments[market.symbol]) for market in settings.markets},
        risk=RiskRules(
            max_daily_loss=risk.max_daily_loss,
            max_open_positions=risk.max_open_positions,
            max_price_age_ms=int(risk.max_price_age_s * 1000),
            max_order_errors=risk.max_order_errors,
            entry_slippage_pct=risk.entry_slippage_pct,
            exit_slippage_pct=risk.exit_slippage_pct,
        ),
        max_reconnect_attempts=settings.websocket.max_reconnect_attempts if settings.websocket else 1,
        price_note_ms=int(settings.logging.price_every_s * 1000),
        **_venue_ways(settings),
    )


def _venue_ways(settings: Settings) -> dict[str, Any]:
    """What the venue can do, and which streams bring what. A dry run matches orders here, reduce-only too."""
    if settings.venue == "hyperliquid":
        stream = "hyperliquid" if settings.use_stream else None
        return {"use_stream": settings.use_stream, "price_stream": stream, "fill_stream": stream}
    prices = "topstepx-market" if settings.use_stream and settings.hubs.market else None
    if settings.is_paper:
        return {"use_stream": prices is not None, "price_stream": prices, "fill_stream": prices}
    fills = "topstepx-user" if settings.use_stream and settings.hubs.user else None
    return {
        "use_stream": prices is not None or fills is not None,
        "price_stream": prices,
        "fill_stream": fills,
        "can_reduce_only": False,
        "position_stops": False,
        "entry_brackets": settings.brackets == "auto_oco",
        "prop": None if settings.prop_rules is None else prop_rules(settings.prop_rules),
        "hours": _hours(settings),
    }


def _hours(settings: Settings) -> Sessions | None:
    """The simulated gateway trades at any hour, unless prop rules ask for real ones."""
    if settings.prop_rules is None and settings.network == "simulator":
        return None
    return sessions(settings.prop_rules or PropSettings(preset="practice"))


def _market(settings: Settings, market: MarketSettings, instrument: Instrument) -> MarketRules:
    bar_ms = timeframe_ms(market.timeframe)
    strategy = None
    if market.strategy is not None:
        params = {key: value for key, value in market.strategy.items() if key != "name"}
        strategy = StrategyRules(str(market.strategy["name"]), params)
    return MarketRules(
        instrument=instrument,
        timeframe_ms=bar_ms,
        strategy=strategy,
        size=_size(market.size or SizeSettings()),
        leverage=market.leverage,
        exits=_exits(market.exits),
        # TopstepX streams no bars; Hyperliquid's shortest are of a minute
        bars_from_trades=bar_ms < MINUTE_MS
        if settings.venue == "hyperliquid"
        else settings.use_stream and settings.hubs.market,
    )


def _size(size: SizeSettings) -> SizeRules:
    return SizeRules(size.risk_pct, size.notional, size.quantity, size.max_notional, size.max_quantity)


def _exits(exits: ExitSettings) -> ExitRules:
    stop_loss = _distance(exits.stop_loss_pct, exits.stop_loss_ticks)
    assert stop_loss is not None, "load() refuses exits without a stop"
    hold = exits.max_hold_minutes
    rules = ExitRules(
        stop_loss=stop_loss,
        take_profit=_distance(exits.take_profit_pct, exits.take_profit_ticks),
        trailing_stop=_distance(exits.trailing_stop_pct, exits.trailing_stop_ticks),
        trailing_activate=_distance(exits.trailing_activate_pct, exits.trailing_activate_ticks),
        hold_ms_max=None if hold is None else int(hold * MINUTE_MS),
    )
    step = _distance(exits.trailing_step_pct, exits.trailing_step_ticks)
    return rules if step is None else msgspec.structs.replace(rules, trailing_step=step)


def _distance(pct: Decimal | None, ticks: int | None) -> Distance | None:
    if pct is None and ticks is None:
        return None
    return Distance(pct=pct, ticks=None if ticks is None else Decimal(ticks))


def _instrument_faults(market: MarketSettings, instruments: Mapping[str, Instrument]) -> Iterator[str]:
    instrument = instruments.get(market.symbol)
    if instrument is None:
        yield f"symbol = {show(market.symbol)}: the venue has no such market{_near_symbol(market.symbol, instruments)}"
        return
    if market.leverage is not None and market.leverage > instrument.max_leverage:
        yield f"leverage = {market.leverage}: {market.symbol} allows 1 to {instrument.max_leverage}"
    size = market.size
    if size is None:
        return
    for key, quantity in (("quantity", size.quantity), ("max_quantity", size.max_quantity)):
        if quantity is not None and quantity < instrument.lot_size:
            yield f"size.{key} = {quantity}: {market.symbol} trades in steps of {instrument.lot_size}"
    for key, notional in (("notional", size.notional), ("max_notional", size.max_notional)):
        if notional is not None and notional < instrument.min_notional:
            yield f"size.{key} = {notional}: the smallest {market.symbol} order is worth {instrument.min_notional}"


def _near_symbol(symbol: str, instruments: Mapping[str, Instrument]) -> str:
    """Near names, also for the habits of other venues: BTC-USD, BTCUSDT, BTC-PERP, btc."""
    names = {name.upper(): name for name in instruments}
    stem = symbol.upper()
    for ending in ("-PERP", "/USDC:USDC", "/USDT", "/USDC", "/USD", "-USDT", "-USDC", "-USD", "USDT", "USDC", "USD"):
        if stem.removesuffix(ending) in names:
            return f', did you mean "{names[stem.removesuffix(ending)]}"?'
    return did_you_mean(symbol, instruments)
