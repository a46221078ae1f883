"""The status page: one snapshot as HTML, without anything from elsewhere. Many small strings, no template engine:
the interpreter is shared with the exits, so no step may hold it for long."""

import base64
import hashlib
from collections.abc import Iterator
from decimal import Decimal
from html import escape
from pathlib import Path

from runtime.logs import utc
from runtime.snapshot import (
    HealthSnapshot,
    MarketHealth,
    PositionHealth,
    PropHealth,
    RoomHealth,
    SourceHealth,
    shown_rate,
)

_FOLDER = Path(__file__).resolve().parent
_CSS = (_FOLDER / "status_page.css").read_text(encoding="utf-8")
_JS = (_FOLDER / "status_page.js").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src {_hash(_CSS)}; script-src {_hash(_JS)}; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_TONES = {"ok": "good", "starting": "warn", "stopping": "warn", "real-time": "good", "websocket": "good"}
_TONES |= {"lagging": "warn", "reconnecting": "warn", "rest_fallback": "warn"}
_MODES = {"websocket": "streaming", "reconnecting": "reconnecting", "rest_fallback": "REST polling"}
HALF_LEFT, LITTLE_LEFT = Decimal("0.5"), Decimal("0.2")  # of the room to a limit
_HEALTH = {
    "starting": "Starting: no prices yet.",
    "stopping": "Stopping.",
    "stale": "Prices are stale: no new entries until they are fresh again.",
    "stalled": "The bot has not reported for a while: its main thread hangs, or the machine slept.",
}


def render(s: HealthSnapshot | None, now_ms: int) -> str:
    """The whole page; `s` aged to now, None before the first snapshot."""
    title = "Trading bot" if s is None else f"{s.status} · {', '.join(s.markets)} · {s.venue}"
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title><style>{_CSS}</style>",
            '<noscript><meta http-equiv="refresh" content="5"></noscript></head><body><main>',
            '<p id="offline" class="banner bad">The bot does not answer. What follows is old.</p><div class="live">',
            *(_body(s, now_ms) if s is not None else ["<header><h1>Trading bot</h1></header><p>Starting.</p>"]),
            f"</div></main><script>{_JS}</script></body></html>",
        )
    )


def _body(s: HealthSnapshot, now_ms: int) -> Iterator[str]:
    yield from _header(s)
    yield from _banners(s)
    yield from _tiles(s)
    yield "<h2>Markets</h2>"
    for symbol, market in s.markets.items():
        yield from _market(symbol, market)
    if s.prop is not None:
        yield from _prop(s.prop)
    if s.protection:
        yield f'<h2>If the bot dies now</h2><div class="card">{escape(s.protection)}</div>'
    if s.recent:
        yield '<h2>Latest events</h2><div class="card"><ol>'
        yield from (f"<li>{escape(text)}</li>" for text in reversed(s.recent))
        yield "</ol></div>"
    yield from _footer(s, now_ms)


def _header(s: HealthSnapshot) -> Iterator[str]:
    money = {"simulator": "simulated money", "testnet": "test money", "live": "the firm's account"}
    yield "<header><h1>Trading bot</h1>"
    yield pill(s.status, _TONES.get(s.status, "bad")) + pill(f"{s.venue} {s.network}")
    yield (pill("paper orders") if s.dry_run else pill(money.get(s.network, "real money"))) + "</header>"


def _banners(s: HealthSnapshot) -> Iterator[str]:
    if s.halted is not None:
        yield banner(f"Halted: {s.halted}. No new entries until a restart; positions stay protected.", "bad")
    if text := _HEALTH.get(s.status):
        yield banner(text, "warn" if s.status in ("starting", "stopping") else "bad")
    if s.websocket.mode != "websocket" and s.status != "starting":
        yield banner(f"The price stream is down ({_MODES.get(s.websocket.mode, s.websocket.mode)}).", "warn")
    if s.orders.unknown:
        yield banner(f"{s.orders.unknown} order(s) without a known outcome: being looked up.", "warn")
    if not s.journal.ok:
        yield banner(f"The journal cannot be written: {s.journal.error or 'unknown error'}. No new entries.", "bad")
    if s.unmanaged:
        yield banner(f"Not managed by this bot: positions in {', '.join(s.unmanaged)}.", "warn")


def _tiles(s: HealthSnapshot) -> Iterator[str]:
    held = [market.position for market in s.markets.values() if market.position is not None]
    stream = s.websocket
    seen = f"heard {seconds(stream.last_message_age_s)} ago" if stream.last_message_age_s is not None else ""
    yield '<div class="tiles">'
    yield tile("Equity", money(s.equity))
    yield tile("Today", signed(s.daily_pnl), "since 00:00 UTC", tone_of(s.daily_pnl))
    yield tile("Positions", str(len(held)), f"in {count(len(s.markets), 'market')}")
    yield tile("Orders", f"{s.orders.open} open", f"{s.orders.unknown} unknown")
    yield tile(
        "Prices",
        _MODES.get(stream.mode, stream.mode),
        seen,
        "" if s.status == "stalled" else _TONES.get(stream.mode, ""),
    )
    yield tile("Running for", duration(s.uptime_s), count(stream.reconnects, "reconnect"))
    yield "</div>"


def _market(symbol: str, market: MarketHealth) -> Iterator[str]:
    age = "no price yet" if market.price_age_s is None else f"{seconds(market.price_age_s)} old"
    lag = "" if market.lag_ms is None else f", {market.lag_ms} ms from the venue"
    runs = f"{market.strategy} {market.timeframe}" if market.strategy else "guardian"
    yield '<div class="card market"><div class="row">'
    yield f'<span class="symbol">{escape(symbol)}</span><span class="price">{number(market.current_price)}</span>'
    yield f'<span class="note">{age}{lag}</span><span class="push">{pill(runs)} '
    yield f"{pill(market.verdict, _TONES.get(market.verdict, 'bad'))}</span></div>"
    if market.position is not None:
        yield from _position(market.position, market.current_price)
    yield from _sources(market.sources)
    yield "</div>"


def _sources(sources: dict[str, SourceHealth]) -> Iterator[str]:
    """Where prices come from, and how good each source is; one that has brought nothing is left out."""
    heard = {name: source for name, source in sources.items() if source.age_s is not None}
    if not heard:
        return
    yield "<table><tr><th>source</th><th></th><th>lag</th><th>a second</th><th>age</th></tr>"
    for name, source in heard.items():
        verdict = source.verdict or "not judged yet"
        tone = "" if source.verdict is None else _TONES.get(verdict, "bad")
        frozen = ", frozen" if source.frozen else ""  # its time stands still
        lag = "–" if source.lag_ms is None else f"{source.lag_ms:,} ms"
        rate = "–" if source.per_s is None else shown_rate(source.per_s)
        yield f"<tr><td>{'REST' if name == 'rest' else escape(name)}</td>"
        yield f'<td class="{tone}">{escape(verdict + frozen)}</td>'
        yield f"<td>{lag}</td><td>{rate}</td><td>{seconds(source.age_s)}</td></tr>"
    yield "</table>"


def _position(p: PositionHealth, price: Decimal | None) -> Iterator[str]:
    side = "Long" if p.side == "BUY" else "Short"
    if p.protected_at_venue:
        shield = pill("stop rests at the venue", "good")
    else:
        shield = pill(f"no stop at the venue for {seconds(p.unprotected_s)}", "bad")
    yield f'<div class="position"><div class="row"><b>{side} {number(p.size)}</b>'
    yield f'<span class="dim">from {number(p.entry_price)} {"(adopted)" if p.adopted else ""}</span>'
    yield f'<b class="push {tone_of(p.unrealized_pnl)}">{signed(p.unrealized_pnl)}</b></div>'
    if price is not None and p.stop is not None:
        yield from _ruler(p, price, p.stop)
    yield f'<div class="row">{shield}'
    if p.exit_reason is not None:
        yield pill(f"leaving: {p.exit_reason}", "warn")
    if p.held_s is not None:
        yield f'<span class="note push">held {duration(p.held_s)}</span>'
    yield "</div></div>"


def _ruler(p: PositionHealth, price: Decimal, stop: Decimal) -> Iterator[str]:
    """Stop, entry, price and target on one line; loss is always left, gain right."""
    sign = 1 if p.side == "BUY" else -1
    points = [sign * x for x in (stop, p.entry_price, price, p.target) if x is not None]
    low, span = min(points), (max(points) - min(points)) or Decimal(1)

    def at(x: Decimal) -> float:
        return round(float((sign * x - low) / span) * 96 + 2, 2)

    entry, now, tone = at(p.entry_price), at(price), "gain" if sign * (price - p.entry_price) >= 0 else "loss"
    label = f"stop {stop}, entry {p.entry_price}, price {price}" + (
        f", target {p.target}" if p.target is not None else ""
    )
    yield f'<svg role="img" aria-label="{label}"><line class="track" x1="2%" x2="98%" y1="10" y2="10"/>'
    yield f'<line class="{tone}" x1="{min(entry, now)}%" x2="{max(entry, now)}%" y1="10" y2="10"/>'
    for x in (at(stop), entry, *([at(p.target)] if p.target is not None else [])):
        yield f'<line class="mark" x1="{x}%" x2="{x}%" y1="3" y2="17"/>'
    yield f'<circle class="now" cx="{now}%" cy="10" r="6"/>'
    yield _label(at(stop), f"{'trailing stop' if p.trailing else 'stop'} {number(stop)}")
    if p.target is not None:
        yield _label(at(p.target), f"target {number(p.target)}")
    yield "</svg>"


def _label(x: float, text: str) -> str:
    anchor = "start" if x < 34 else "end" if x > 66 else "middle"
    return f'<text x="{x}%" y="34" text-anchor="{anchor}">{text}</text>'


def _prop(prop: PropHealth) -> Iterator[str]:
    """The room to each limit of the prop firm: dollars, ticks, and a bar of what is left of it."""
    yield f"<h2>Prop-firm limits ({escape(prop.preset)})</h2>"
    if prop.locked is not None:
        yield banner(f"Locked by {words(prop.locked)}: no entries until the next trading day.", "bad")
    if prop.excess is not None:
        yield banner(f"Too much: {prop.excess}.", "bad")
    yield '<div class="limits">'
    for name, room in prop.limits.items():
        yield from _room(name, room)
    if prop.target_needed is not None and prop.target_total is not None:
        yield '<div class="card"><div class="row"><span class="label">profit target</span>'
        yield f'<b class="push">{money(prop.target_total)} of {money(prop.target_needed)}</b></div>'
        yield bar(prop.target_total / prop.target_needed if prop.target_needed else Decimal(1), "gain")
        yield f'<div class="note">best day {money(prop.best_day)}</div></div>'
    yield "</div>"


def _room(name: str, room: RoomHealth) -> Iterator[str]:
    far = "unknown" if room.dollars is None else f"{money(room.dollars)} away"
    ticks = "" if room.ticks is None else f"{number(room.ticks)} ticks, "
    yield f'<div class="card"><div class="row"><span class="label">{escape(words(name))}</span>'
    yield f'<b class="push">{far}</b></div>'
    if room.dollars is not None and room.whole:
        left = room.dollars / room.whole
        is_good = left >= HALF_LEFT or name == "own_daily_profit"  # to come near that one is no harm
        yield bar(left, "gain" if is_good else "care" if left >= LITTLE_LEFT else "loss")
    yield f'<div class="note">{ticks}at an equity of {money(room.level)}</div></div>'


def _footer(s: HealthSnapshot, now_ms: int) -> Iterator[str]:
    parts = [f"{utc(now_ms / 1000)[:19].replace('T', ' ')} UTC", f"process {s.pid}"]
    if s.requests.weight_limit:
        parts.append(f"request weight {s.requests.weight_used}/{s.requests.weight_limit} a minute")
    if s.requests.address_cap is not None:
        parts.append(f"account requests {s.requests.address_used:,}/{s.requests.address_cap:,}")
    elif s.venue == "hyperliquid" and not s.dry_run:
        parts.append("account requests unknown")
    parts.append(f"journal {s.journal.bytes / 1_000_000:.1f} MB")
    if s.clock_offset_ms is not None:
        parts.append(f"clock offset {s.clock_offset_ms} ms")
    yield f"<footer>{escape(' · '.join(parts))} · "
    yield '<a href="/health">health</a> · <a href="/metrics">metrics</a></footer>'


# --- small pieces ---------------------------------------------------------------------------------------------------


def pill(text: str, tone: str = "") -> str:
    return f'<span class="pill {tone}">{escape(text)}</span>'


def banner(text: str, tone: str) -> str:
    return f'<p class="banner {tone}">{escape(text)}</p>'


def tile(label: str, value: str, note: str = "", tone: str = "") -> str:
    return (
        f'<div class="card"><div class="label">{escape(label)}</div><div class="value {tone}">{escape(value)}</div>'
        f'<div class="note">{escape(note)}</div></div>'
    )


def bar(part: Decimal, tone: str) -> str:
    """`part` of a whole; more than that, and less than nothing, fill it and leave it empty."""
    end = round(float(min(max(part, Decimal(0)), Decimal(1))) * 96 + 2, 2)
    filled = f'<line class="{tone}" x1="2%" x2="{end}%" y1="6" y2="6"/>' if part > 0 else ""
    return f'<svg class="bar"><line class="track" x1="2%" x2="98%" y1="6" y2="6"/>{filled}</svg>'


def words(name: str) -> str:
    return name.replace("_", " ")


def number(value: Decimal | None) -> str:
    return "–" if value is None else f"{value:,f}"


def money(value: Decimal | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def signed(value: Decimal | None) -> str:
    return "–" if value is None else f"{value:+,.2f}".replace("-", "−")


def tone_of(value: Decimal | None) -> str:
    return "" if not value else "good" if value > 0 else "bad"


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s" if value < 60 else duration(value)


def duration(total_s: float) -> str:
    """`42 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    minutes, rest_s = divmod(int(total_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min" if minutes else f"{rest_s} s"
