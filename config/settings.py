"""config.json as typed values, and how it is read. The structs are the one place where a key is defined:
the schema for editors, the faults and the defaults all come from here."""

import shutil
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from config.faults import ConfigFault, JsonObject, Schema, check, read_json

FOLDER = Path(__file__).resolve().parent
DEFAULT_PATH = FOLDER / "config.json"
EXAMPLE_PATH = FOLDER / "config.example.json"

Timeframe = Literal[
    "1s", "2s", "5s", "10s", "15s", "20s", "30s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d"
]  # fmt: skip
UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Network = Literal["simulator", "testnet", "mainnet", "live"]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Url = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z]+://[^\s/]+\S*$",
        extra_json_schema={"x-allowed": "an address such as https://host or wss://host/ws"},
    ),
]
NotifyUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://\S+$",
        extra_json_schema={"x-allowed": 'an apprise address such as "ntfy://topic"', "writeOnly": True},
    ),
]


def _number(description: str, **limits: float) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra_json_schema={"type": "number", **limits})


def _text(description: str) -> msgspec.Meta:
    return msgspec.Meta(description=description)


Pct = Annotated[Decimal, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "exclusiveMaximum": 100})]
TargetPct = Annotated[Decimal, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 1000})]
Ticks = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Amount = Annotated[Decimal, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": 1_000_000_000_000})]
Minutes = Annotated[Decimal, msgspec.Meta(extra_json_schema={"minimum": 0.05, "maximum": 525_600})]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the configuration: unknown keys are refused."""


class SizeSettings(Part, frozen=True, kw_only=True):
    """How much to trade: exactly one of risk_pct, notional and quantity; the caps apply to all."""

    risk_pct: Annotated[Pct | None, _text("Percent of equity lost when the stop is hit")] = None
    notional: Annotated[Amount | None, _text("Position value in account currency")] = None
    quantity: Annotated[Amount | None, _text("Units of the base asset, or contracts")] = None
    max_notional: Annotated[Amount | None, _text("Largest position value in account currency")] = None
    max_quantity: Annotated[Amount | None, _text("Largest position in units or contracts")] = None


class ExitSettings(Part, frozen=True, kw_only=True):
    """When to leave. Each distance as _pct of the price or as _ticks, not both; the stop-loss may not be missing."""

    stop_loss_pct: Annotated[Pct | None, _text("Stop-loss distance from entry, percent")] = None
    stop_loss_ticks: Annotated[Ticks | None, _text("Stop-loss distance from entry, ticks")] = None
    take_profit_pct: Annotated[TargetPct | None, _text("Target distance from entry, percent")] = None
    take_profit_ticks: Annotated[Ticks | None, _text("Target distance from entry, ticks")] = None
    trailing_stop_pct: Annotated[Pct | None, _text("Trail behind the best price since entry, percent")] = None
    trailing_stop_ticks: Annotated[Ticks | None, _text("Trail behind the best price since entry, ticks")] = None
    trailing_activate_pct: Annotated[Pct | None, _text("Gain needed before the trail counts, percent")] = None
    trailing_activate_ticks: Annotated[Ticks | None, _text("Gain needed before the trail counts, ticks")] = None
    trailing_step_pct: Annotated[
        Pct | None, _text("Least improvement worth moving the venue's stop for, percent; 0.1 when neither is given")
    ] = None
    trailing_step_ticks: Annotated[
        Ticks | None, _text("Least improvement worth moving the venue's stop for, ticks")
    ] = None
    max_hold_minutes: Annotated[Minutes | None, _text("Longest time in a position; null: no limit")] = None


class MarketSettings(Part, frozen=True, kw_only=True):
    """One market: what runs there, how much, and how it is left."""

    symbol: Annotated[str, msgspec.Meta(pattern=r"^\S{1,40}$", description="As the venue spells it: BTC, kPEPE")]
    timeframe: Annotated[Timeframe, _text("Length of a bar; below 1m, bars are built from the streamed trades")] = "1m"
    strategy: Annotated[
        dict[str, int | float | str | bool] | None,
        _text("Name of a file in strategies/ with its parameters; null: guardian, which only protects positions"),
    ]
    size: Annotated[SizeSettings | None, _text("How much to trade; only a guardian may leave it out")] = None
    leverage: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=100)] | None, _text("Set at start; null: as it is at the venue")
    ] = None
    exits: Annotated[ExitSettings, _text("When to leave")]


class RiskSettings(Part, frozen=True, kw_only=True):
    """Limits over all markets. They stop entries, never exits."""

    max_daily_loss: Annotated[
        Amount | None, _text("Account currency, realised and open, since 00:00 UTC; null: no limit")
    ]
    max_open_positions: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Positions at the same time")] = 3
    max_price_age_s: Annotated[
        Decimal, _number("Oldest price an entry may be based on, seconds", exclusiveMinimum=0, maximum=60)
    ] = Decimal(3)
    max_order_errors: Annotated[
        int, msgspec.Meta(ge=1, le=100, description="Rejected orders in a row before entries halt")
    ] = 5
    entry_slippage_pct: Annotated[
        Decimal, _number("Worst price of an entry, from the price it was decided on", exclusiveMinimum=0, maximum=20)
    ] = Decimal("0.5")
    exit_slippage_pct: Annotated[
        Decimal, _number("The same for an exit, where getting out matters more", exclusiveMinimum=0, maximum=50)
    ] = Decimal(5)


class WebSocketSettings(Part, frozen=True, kw_only=True):
    """The price stream. Without this part, or with enabled false, prices are polled over REST."""

    enabled: Annotated[bool, _text("false: REST polling only")] = True
    reconnect_interval: Annotated[
        float, _number("First wait before a reconnect, seconds; doubled with jitter up to 60", minimum=0.1, maximum=60)
    ] = 5.0
    max_reconnect_attempts: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="Failures in a row before REST polling takes over")
    ] = 10


class FallbackSettings(Part, frozen=True, kw_only=True):
    """REST polling, when the stream is down or switched off."""

    poll_interval: Annotated[float, _number("Seconds between two price reads", minimum=0.2, maximum=60)] = 1.0


class HealthSettings(Part, frozen=True, kw_only=True):
    """The read-only status page, /health and /metrics."""

    enabled: Annotated[bool, _text("false: no port is opened; logs/status.json is still written")] = True
    host: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^\S+$",
            description="Address to listen on; anything but loopback shows your positions to the network",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535, description="0: any free port, named in the log")] = 8080


class LoggingSettings(Part, frozen=True, kw_only=True):
    """What goes to logs/."""

    level: Annotated[Level, _text("Least level written to logs/bot.log")] = "INFO"
    price_every_s: Annotated[
        float, _number("At most one price line a market in this time, seconds", minimum=0, maximum=86_400)
    ] = 10.0
    journal_max_mb: Annotated[
        int, msgspec.Meta(ge=10, le=10_000_000, description="The journal's files together, megabytes")
    ] = 2000


class Settings(Part, frozen=True, kw_only=True):
    """Configuration of the trading bot. Secrets are not here: they belong in .env."""

    schema_: Annotated[str | None, _text("Where editors find the completion")] = msgspec.field(
        name="$schema", default=None
    )
    venue: Annotated[Literal["hyperliquid", "topstepx"], _text("Where to trade")]
    network: Annotated[
        Network,
        _text("hyperliquid: simulator, testnet, mainnet; topstepx: simulator, live"),
    ]
    api_url: Annotated[Url | None, _text("Overrides the REST address (a proxy, a test server)")] = None
    ws_url: Annotated[Url | None, _text("Overrides the WebSocket address")] = None
    market_hub_url: Annotated[Url | None, _text("topstepx: overrides the market hub")] = None
    user_hub_url: Annotated[Url | None, _text("topstepx: overrides the user hub")] = None
    dry_run: Annotated[
        bool, _text("true: real prices, orders matched on this machine; real orders need an explicit false")
    ] = True
    account: Annotated[
        str | None,
        _text("hyperliquid: master address when the key is an agent's; topstepx: account name or id, required"),
    ] = None
    check_interval: Annotated[
        float, _number("Seconds between strategy checks when bars come from REST", minimum=1, maximum=86_400)
    ] = 300.0
    markets: Annotated[list[MarketSettings], msgspec.Meta(min_length=1, description="One entry a market")]
    risk: Annotated[RiskSettings, _text("Limits over all markets")]
    websocket: Annotated[WebSocketSettings | None, _text("The price stream; absent: REST polling only")] = None
    fallback: Annotated[FallbackSettings, _text("REST polling")] = FallbackSettings()
    health: Annotated[HealthSettings, _text("Status page and metrics")] = HealthSettings()
    logging: Annotated[LoggingSettings, _text("Log and journal")] = LoggingSettings()
    notify: Annotated[list[NotifyUrl], _text("apprise addresses that get the important events")] = []

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


_DECLARED_ORDER = {frozenset(get_args(choice)): list(get_args(choice)) for choice in (Timeframe, Network, Level)}


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
