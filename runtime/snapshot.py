"""What the bot shows of itself: the object of /health, of logs/status.json and of the status page (design 4.4).

The main thread builds a fresh HealthSnapshot about once a second and publishes it; everybody else only reads.
Decimals become text in JSON, as on the wire.
"""

import time
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec

STALLED_S = 5.0  # a main thread that has published nothing for so long hangs
_REPLACE_TRIES = 5  # Windows: a reader that holds the file open blocks the replacement for a moment
_REPLACE_WAIT_S = 0.02


class StreamHealth(msgspec.Struct, frozen=True, kw_only=True):
    mode: str  # websocket, reconnecting, rest_fallback
    connected: bool
    subscriptions: int = 0
    last_message_time: str | None = None  # UTC, ISO 8601
    last_message_age_s: float | None = None
    reconnects: int = 0
    attempt: int = 0  # failures in a row


class PositionHealth(msgspec.Struct, frozen=True, kw_only=True):
    side: str  # BUY: long, SELL: short
    size: Decimal
    entry_price: Decimal
    unrealized_pnl: Decimal | None = None
    stop: Decimal | None = None  # where the stop stands now
    protected_at_venue: bool = False
    target: Decimal | None = None
    trailing: bool = False  # the stop has followed the price
    held_s: float | None = None
    unprotected_s: float = 0.0  # without a stop at the venue, in a row
    adopted: bool = False  # opened by hand, or found at start
    exit_reason: str | None = None  # an exit is under way


class SourceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a market's prices: trades and quotes of the stream, or REST."""

    lag_ms: int | None = None  # venue to us in the newest update, clock offset corrected
    age_s: float | None = None  # since it came; None: nothing has come
    per_s: float | None = None  # updates a second, lately; None: not counted (yet)
    verdict: str | None = None  # real-time, lagging, delayed; None: nothing came, or what may be a replay of the past
    frozen: bool = False  # the venue's time in its updates stands still


class MarketHealth(msgspec.Struct, frozen=True, kw_only=True):
    current_price: Decimal | None = None
    price_source: str = "none"  # websocket, rest
    price_age_s: float | None = None
    lag_ms: int | None = None
    verdict: str = "silent"  # real-time, lagging, delayed, silent
    sources: dict[str, SourceHealth] = {}  # trades, quotes, rest
    position: PositionHealth | None = None
    mark: Decimal | None = None
    timeframe: str = ""
    strategy: str | None = None  # None: guardian


class OrdersHealth(msgspec.Struct, frozen=True, kw_only=True):
    open: int = 0
    unknown: int = 0
    by_status: dict[str, int] = {}  # since the start of this run


class RequestsHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Request budgets of the venue."""

    weight_used: int = 0  # by this machine in the last minute
    weight_limit: int = 0
    address_used: int | None = None  # by this account; None: unknown, or the venue counts nothing of the kind
    address_cap: int | None = None


class JournalHealth(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool = True
    bytes: int = 0
    error: str | None = None  # why the disk refuses it


class RoomHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Distance to one limit of the prop firm; None: the equity is unknown at the moment."""

    level: Decimal  # the equity at which it is reached
    dollars: Decimal | None
    ticks: Decimal | None  # of all that is held, together; flat: of one contract, the dearest of the config
    whole: Decimal | None = None  # dollars from where the limit is measured: the distance when nothing is lost yet


class PropHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The prop-firm guard: what it knows, and how far its limits are."""

    preset: str
    balance: Decimal
    equity: Decimal | None  # after closing everything now, costs and slippage taken off; None: unknown
    limits: dict[str, RoomHealth]
    locked: str | None = None  # why no entries are taken until the next trading day
    excess: str | None = None  # what is above a cap
    best_day: Decimal | None = None
    target_needed: Decimal | None = None  # total profit, as the consistency rule moves it
    target_total: Decimal | None = None


class HealthSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    status: str  # ok, starting, stale, halted, stopping, stopped; `overall` works it out
    venue: str
    network: str
    dry_run: bool
    uptime_s: float
    websocket: StreamHealth
    markets: dict[str, MarketHealth]
    orders: OrdersHealth
    equity: Decimal | None = None
    daily_pnl: Decimal | None = None
    halted: str | None = None  # why entries are off
    requests: RequestsHealth = RequestsHealth()
    journal: JournalHealth = JournalHealth()
    protection: str = ""  # what protects the positions if the bot dies now
    clock_offset_ms: int | None = None
    unmanaged: tuple[str, ...] = ()  # positions in markets that are not configured
    prop: PropHealth | None = None
    recent: tuple[str, ...] = ()  # newest log lines for people, oldest first
    pid: int = 0
    published_ms: int = 0  # our clock


class Published:
    """The newest snapshot. The main thread replaces it; assignment is atomic, so nobody needs a lock."""

    def __init__(self) -> None:
        self._latest: HealthSnapshot | None = None

    def publish(self, snapshot: HealthSnapshot) -> None:
        self._latest = snapshot

    def latest(self) -> HealthSnapshot | None:
        return self._latest


def overall(halted: str | None, markets: Iterable[MarketHealth], max_price_age_s: float, stopping: bool = False) -> str:
    """The one word for the whole bot, worst first."""
    if halted is not None:
        return "halted"
    if stopping:
        return "stopping"
    markets = list(markets)
    if any(market.current_price is None for market in markets):
        return "starting"
    if any(market.price_age_s is None or market.price_age_s > max_price_age_s for market in markets):
        return "stale"
    if any(market.verdict == "delayed" for market in markets):
        return "stale"
    return "ok"


def source_lines(market: MarketHealth) -> list[str]:
    """What is known of each source that has brought something, a line each, for people."""
    return [_source_line(name, source) for name, source in market.sources.items() if source.age_s is not None]


def _source_line(name: str, source: SourceHealth) -> str:
    parts = [f"{'REST' if name == 'rest' else name} {source.verdict or 'not judged yet'}"]
    if source.lag_ms is not None:
        parts.append(f"lag {source.lag_ms} ms")
    if source.per_s is not None:
        parts.append(f"{shown_rate(source.per_s)} a second")
    if source.age_s is not None:
        parts.append(f"{source.age_s:.1f} s ago")
    if source.frozen:
        parts.append("their time stands still")
    return ", ".join(parts)


def shown_rate(per_s: float) -> str:
    return f"{round(per_s, 1):g}"


def grown_older(snapshot: HealthSnapshot, now_ms: int) -> HealthSnapshot:
    """`snapshot` as it reads now: ages have grown since it was published, and a silent main thread is `stalled`, unless
    it has said that it ends there."""
    elapsed_s = max(0, now_ms - snapshot.published_ms) / 1000
    silent = elapsed_s > STALLED_S
    stalled = silent and snapshot.status != "stopped"
    change = msgspec.structs.replace
    markets = {
        symbol: change(
            market,
            price_age_s=_plus(market.price_age_s, elapsed_s),
            verdict="silent" if silent else market.verdict,
            sources={
                name: change(source, age_s=_plus(source.age_s, elapsed_s)) for name, source in market.sources.items()
            },
        )
        for symbol, market in snapshot.markets.items()
    }
    stream = snapshot.websocket
    return change(
        snapshot,
        status="stalled" if stalled else snapshot.status,
        uptime_s=round(snapshot.uptime_s + elapsed_s, 3),
        websocket=change(stream, last_message_age_s=_plus(stream.last_message_age_s, elapsed_s)),
        markets=markets,
    )


def _plus(age_s: float | None, elapsed_s: float) -> float | None:
    return None if age_s is None else round(age_s + elapsed_s, 3)


def prop_lines(prop: PropHealth) -> list[tuple[str, str]]:
    """What people want to know of the guard, a name and a text a line."""
    lines = []
    for name, room in prop.limits.items():
        far = "unknown" if room.dollars is None else f"{room.dollars} away"
        ticks = "" if room.ticks is None else f", {room.ticks} ticks"
        lines.append((name, f"{far}{ticks} (at an equity of {room.level})"))
    if prop.target_needed is not None:
        lines.append(("profit target", f"{prop.target_total} of {prop.target_needed}, best day {prop.best_day}"))
    if prop.locked:
        lines.append(("LOCKED", f"{prop.locked}: no entries until the next trading day"))
    if prop.excess:
        lines.append(("TOO MUCH", prop.excess))
    return lines


def encode(snapshot: HealthSnapshot) -> bytes:
    return msgspec.json.encode(snapshot)


def write_status(snapshot: HealthSnapshot, path: Path) -> None:
    """Replace the file in one step, so that a reader never sees half of it. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(encode(snapshot))
    for attempt in range(1, _REPLACE_TRIES + 1):
        try:
            draft.replace(path)
            return
        except PermissionError:
            if attempt == _REPLACE_TRIES:
                raise
            time.sleep(_REPLACE_WAIT_S)


def read_status(path: Path) -> HealthSnapshot:
    """What the bot last wrote. Raises OSError, or ValueError for a file that is something else."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=HealthSnapshot)
    except msgspec.MsgspecError as e:
        raise ValueError(f"{path} is not a status file: {e}") from None
