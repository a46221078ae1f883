"""The rules a run plays by: the config with its units settled, and the instruments as the venue states them."""

from decimal import Decimal

import msgspec

from core.model import Instrument
from core.prop_values import PropRules
from core.sessions import Sessions, is_open


class Distance(msgspec.Struct, frozen=True):
    """A price distance: a percentage of a price, or a number of ticks at that price. Exactly one is set."""

    pct: Decimal | None = None
    ticks: Decimal | None = None

    def at(self, price: Decimal, instrument: Instrument) -> Decimal:
        """The distance in price units."""
        if self.pct is not None:
            return price * self.pct / 100
        assert self.ticks is not None, "settings make one or the other"
        return instrument.tick_at(price) * self.ticks


class ExitRules(msgspec.Struct, frozen=True):
    stop_loss: Distance
    take_profit: Distance | None = None
    trailing_stop: Distance | None = None
    trailing_activate: Distance | None = None  # gain needed before the trail counts; None: at once
    trailing_step: Distance = Distance(pct=Decimal("0.1"))  # least improvement worth moving the venue's stop for
    hold_ms_max: int | None = None


class SizeRules(msgspec.Struct, frozen=True):
    """Exactly one of the first three is set; the caps apply to all."""

    risk_pct: Decimal | None = None  # of equity, lost when the stop is hit
    notional: Decimal | None = None  # account currency
    quantity: Decimal | None = None  # units
    max_notional: Decimal | None = None
    max_quantity: Decimal | None = None


class StrategyRules(msgspec.Struct, frozen=True):
    """Which strategy runs, with its parameters as plain JSON values (checked by the strategy's own Params)."""

    name: str
    params: dict[str, int | float | str | bool] = {}


class MarketRules(msgspec.Struct, frozen=True):
    instrument: Instrument
    timeframe_ms: int
    strategy: StrategyRules | None  # None: guardian
    size: SizeRules
    leverage: int | None
    exits: ExitRules
    bars_from_trades: bool = False  # the venue offers no bars this short


class RiskRules(msgspec.Struct, frozen=True):
    max_daily_loss: Decimal | None  # account currency, realised and open, since 00:00 UTC
    max_open_positions: int
    max_price_age_ms: int
    max_order_errors: int  # rejections in a row before entries halt
    entry_slippage_pct: Decimal = Decimal("0.5")  # worst price of an entry, from the price it was decided on
    exit_slippage_pct: Decimal = Decimal("5")  # the same for an exit, where getting out matters more


class Rules(msgspec.Struct, frozen=True):
    venue: str
    network: str
    dry_run: bool  # orders are matched on this machine
    markets: dict[str, MarketRules]
    risk: RiskRules
    use_stream: bool = True
    max_reconnect_attempts: int = 10
    account_tag: str = ""  # tells accounts apart without naming one: a journal of another account is not ours
    price_note_ms: int = 10_000  # at most one price line a market in this time
    check_interval_ms: int = 300_000  # between strategy checks while bars come from REST
    can_reduce_only: bool = True  # TopstepX cannot
    prop: PropRules | None = None  # limits of a prop-firm account
    hours: Sessions | None = None  # when the venue takes orders; None: always
    entry_brackets: bool = False  # the venue hangs stop and target on an entry (TopstepX, Auto OCO)
    price_stream: str | None = None  # name of the stream that brings prices; None: they are polled
    fill_stream: str | None = None  # name of the one that brings fills and order news; None: they are polled
    position_stops: bool = True  # a stop of size 0 covers whatever is held (Hyperliquid positionTpsl)

    def is_open(self, venue_ms: int) -> bool:
        """Whether anything can be traded at `venue_ms`, or positions change otherwise."""
        return any(self.takes_orders(symbol, venue_ms) for symbol in self.markets)

    def takes_orders(self, symbol: str, venue_ms: int) -> bool:
        """Whether the venue takes orders in this market at `venue_ms` (its clock)."""
        return self.hours is None or is_open(self.hours, symbol, venue_ms)
