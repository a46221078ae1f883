"""config.json as typed values, and how it is read. The structs are the one place where a key is defined:
the schema for editors, the faults and the defaults all come from here."""

import shutil
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from config.faults import ConfigFault, JsonObject, Schema, check, read_json
from config.prop_settings import Preset, PropSettings, Trailing
from config.values import Amount, Minutes, NotifyUrl, Part, Pct, TargetPct, Ticks, Url, number, text

FOLDER = Path(__file__).resolve().parent
DEFAULT_PATH = FOLDER / "config.json"
EXAMPLE_PATH = FOLDER / "config.example.json"

Timeframe = Literal[
    "1s", "2s", "5s", "10s", "15s", "20s", "30s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d"
]  # fmt: skip
UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Network = Literal["simulator", "testnet", "mainnet", "live"]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Brackets = Literal["auto_oco", "own"]


class SizeSettings(Part, frozen=True, kw_only=True):
    """How much to trade: exactly one of risk_pct, notional and quantity; the caps apply to all."""

    risk_pct: Annotated[Pct | None, text("Percent of equity lost when the stop is hit")] = None
    notional: Annotated[Amount | None, text("Position value in account currency")] = None
    quantity: Annotated[Amount | None, text("Units of the base asset, or contracts")] = None
    max_notional: Annotated[Amount | None, text("Largest position value in account currency")] = None
    max_quantity: Annotated[Amount | None, text("Largest position in units or contracts")] = None


class ExitSettings(Part, frozen=True, kw_only=True):
    """When to leave. Each distance as _pct of the price or as _ticks, not both; the stop-loss may not be missing."""

    stop_loss_pct: Annotated[Pct | None, text("Stop-loss distance from entry, percent")] = None
    stop_loss_ticks: Annotated[Ticks | None, text("Stop-loss distance from entry, ticks")] = None
    take_profit_pct: Annotated[TargetPct | None, text("Target distance from entry, percent")] = None
    take_profit_ticks: Annotated[Ticks | None, text("Target distance from entry, ticks")] = None
    trailing_stop_pct: Annotated[Pct | None, text("Trail behind the best price since entry, percent")] = None
    trailing_stop_ticks: Annotated[Ticks | None, text("Trail behind the best price since entry, ticks")] = None
    trailing_activate_pct: Annotated[Pct | None, text("Gain needed before the trail counts, percent")] = None
    trailing_activate_ticks: Annotated[Ticks | None, text("Gain needed before the trail counts, ticks")] = None
    trailing_step_pct: Annotated[
        Pct | None, text("Least improvement worth moving the venue's stop for, percent; 0.1 when neither is given")
    ] = None
    trailing_step_ticks: Annotated[Ticks | None, text("Least improvement worth moving the venue's stop for, ticks")] = (
        None
    )
    max_hold_minutes: Annotated[Minutes | None, text("Longest time in a position; null: no limit")] = None


class MarketSettings(Part, frozen=True, kw_only=True):
    """One market: what runs there, how much, and how it is left."""

    symbol: Annotated[str, msgspec.Meta(pattern=r"^\S{1,40}$", description="As the venue spells it: BTC, kPEPE")]
    timeframe: Annotated[Timeframe, text("Length of a bar; below 1m, bars are built from the streamed trades")] = "1m"
    strategy: Annotated[
        dict[str, int | float | str | bool] | None,
        text("Name of a file in strategies/ with its parameters; null: guardian, which only protects positions"),
    ]
    size: Annotated[SizeSettings | None, text("How much to trade; only a guardian may leave it out")] = None
    leverage: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=100)] | None, text("Set at start; null: as it is at the venue")
    ] = None
    exits: Annotated[ExitSettings, text("When to leave")]


class RiskSettings(Part, frozen=True, kw_only=True):
    """Limits over all markets. They stop entries, never exits."""

    max_daily_loss: Annotated[
        Amount | None, text("Account currency, realised and open, since 00:00 UTC; null: no limit")
    ]
    max_open_positions: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Positions at the same time")] = 3
    max_price_age_s: Annotated[
        Decimal, number("Oldest price an entry may be based on, seconds", minimum=0.1, maximum=60)
    ] = Decimal(3)
    max_order_errors: Annotated[
        int, msgspec.Meta(ge=1, le=100, description="Rejected orders in a row before entries halt")
    ] = 5
    entry_slippage_pct: Annotated[
        Decimal, number("Worst price of an entry, from the price it was decided on", exclusiveMinimum=0, maximum=20)
    ] = Decimal("0.5")
    exit_slippage_pct: Annotated[
        Decimal, number("The same for an exit, where getting out matters more", exclusiveMinimum=0, maximum=50)
    ] = Decimal(5)


class WebSocketSettings(Part, frozen=True, kw_only=True):
    """The price stream. Without this part, or with enabled false, prices are polled over REST."""

    enabled: Annotated[bool, text("false: REST polling only")] = True
    reconnect_interval: Annotated[
        float, number("First wait before a reconnect, seconds; doubled with jitter up to 60", minimum=0.1, maximum=60)
    ] = 5.0
    max_reconnect_attempts: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="Failures in a row before REST polling takes over")
    ] = 10


class FallbackSettings(Part, frozen=True, kw_only=True):
    """REST polling, when the stream is down or switched off."""

    poll_interval: Annotated[float, number("Seconds between two price reads", minimum=0.2, maximum=60)] = 1.0


class HubSettings(Part, frozen=True, kw_only=True):
    """topstepx: which of the two hubs are used. What is off is polled over REST."""

    market: Annotated[bool, text("Prices; false: they are polled")] = True
    user: Annotated[bool, text("Fills, orders, positions and account; false: they are polled")] = True


class HealthSettings(Part, frozen=True, kw_only=True):
    """The read-only status page, /health and /metrics."""

    enabled: Annotated[bool, text("false: no port is opened; logs/status.json is still written")] = True
    host: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^\S+$",
            description="Address of this machine to listen on (loopback): the page shows positions",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535, description="0: any free port, named in the log")] = 8080


class LoggingSettings(Part, frozen=True, kw_only=True):
    """What goes to logs/."""

    level: Annotated[Level, text("Least level written to logs/bot.log")] = "INFO"
    price_every_s: Annotated[
        float, number("At most one price line a market in this time, seconds", minimum=0, maximum=86_400)
    ] = 10.0
    journal_max_mb: Annotated[
        int, msgspec.Meta(ge=10, le=10_000_000, description="The journal's files together, megabytes")
    ] = 2000


class Settings(Part, frozen=True, kw_only=True):
    """Configuration of the trading bot. Secrets are not here: they belong in .env."""

    schema_: Annotated[str | None, text("Where editors find the completion")] = msgspec.field(
        name="$schema", default=None
    )
    venue: Annotated[Literal["hyperliquid", "topstepx"], text("Where to trade")]
    network: Annotated[
        Network,
        text("hyperliquid: simulator, testnet, mainnet; topstepx: simulator, live"),
    ]
    api_url: Annotated[Url | None, text("Overrides the REST address (a proxy, a test server)")] = None
    ws_url: Annotated[Url | None, text("Overrides the WebSocket address")] = None
    market_hub_url: Annotated[Url | None, text("topstepx: overrides the market hub")] = None
    user_hub_url: Annotated[Url | None, text("topstepx: overrides the user hub")] = None
    dry_run: Annotated[
        bool, text("true: real prices, orders matched on this machine; real orders need an explicit false")
    ] = True
    account: Annotated[
        str | None,
        text("hyperliquid: master address when the key is an agent's; topstepx: account name or id, required"),
    ] = None
    check_interval: Annotated[
        float, number("Seconds between strategy checks when bars come from REST", minimum=1, maximum=86_400)
    ] = 300.0
    markets: Annotated[list[MarketSettings], msgspec.Meta(min_length=1, description="One entry a market")]
    risk: Annotated[RiskSettings, text("Limits over all markets")]
    websocket: Annotated[WebSocketSettings | None, text("The price stream; absent: REST polling only")] = None
    hubs: Annotated[HubSettings, text("topstepx: switch one hub on before the other")] = HubSettings()
    brackets: Annotated[
        Brackets,
        text(
            "topstepx: auto_oco: the venue hangs stop and target on an entry (account in Auto OCO mode); own: the bot"
            " places them as orders of its own"
        ),
    ] = "auto_oco"
    prop_rules: Annotated[
        PropSettings | None, text("topstepx: the limits of the account, kept by the bot; null: no guard")
    ] = None
    fallback: Annotated[FallbackSettings, text("REST polling")] = FallbackSettings()
    health: Annotated[HealthSettings, text("Status page and metrics")] = HealthSettings()
    logging: Annotated[LoggingSettings, text("Log and journal")] = LoggingSettings()
    notify: Annotated[list[NotifyUrl], text("apprise addresses that get the important events")] = []

    def __repr__(self) -> str:
        """Without `notify`, whose addresses hold tokens."""
        symbols = ",".join(market.symbol for market in self.markets)
        return f"Settings({self.venue} {self.network} dry_run={self.dry_run} markets={symbols})"

    @property
    def is_paper(self) -> bool:
        """Orders are matched on this machine. The simulator gets real ones, over the wire."""
        return self.dry_run and self.network != "simulator"

    @property
    def use_stream(self) -> bool:
        return self.websocket is not None and self.websocket.enabled


def timeframe_ms(timeframe: str) -> int:
    return int(timeframe[:-1]) * UNIT_MS[timeframe[-1]]


@cache
def schema() -> Schema:
    """JSON schema of config.json. Decimal is a number there: msgspec itself would have it as text."""
    tidied: Schema = tidy(msgspec.json.schema(Settings))
    return tidied


_CHOICES = (Timeframe, Network, Level, Brackets, Preset, Trailing)
_DECLARED_ORDER = {frozenset(get_args(choice)): list(get_args(choice)) for choice in _CHOICES}


def tidy(node: Any) -> Any:
    """`node` of a generated schema with Decimal as a number, choices in their declared order, and no titles."""
    if isinstance(node, list):
        return [tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: tidy(item) for key, item in node.items() if key != "title" or not isinstance(item, str)}
    if "enum" in node:
        node["enum"] = _DECLARED_ORDER.get(frozenset(node["enum"]), node["enum"])
    if node.get("format") == "decimal":
        del node["format"]
        node["type"] = "number"
        if isinstance(node.get("default"), str):
            node["default"] = float(node["default"])
    return node


def ensure_config(path: Path = DEFAULT_PATH) -> bool:
    """Copy the example to the default path when nothing is there: True then. Other paths are the user's to make."""
    if path.resolve() != DEFAULT_PATH.resolve() or path.exists():
        return False
    try:
        shutil.copyfile(EXAMPLE_PATH, path)
    except OSError as e:
        raise ConfigFault([f"{path}: cannot be created from {EXAMPLE_PATH.name} ({e.strerror})"]) from None
    return True


def load(path: Path = DEFAULT_PATH) -> Settings:
    """The configuration in `path`. Raises ConfigFault with every fault there is."""
    raw = read_json(path)
    faults = find_faults(raw)
    if faults:
        raise ConfigFault(f"{path}: {fault}" for fault in faults)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except (msgspec.DecodeError, UnicodeError, OSError) as e:  # the file changed, or a rule the schema does not know
        raise ConfigFault([f"{path}: {e}"]) from None


def find_faults(raw: JsonObject) -> list[str]:
    from config.checks import cross_faults  # it knows the strategies, which this module need not

    defs = schema()["$defs"]
    return check(raw, defs["Settings"], "", defs) + cross_faults(raw)
