"""What a key alone cannot show: keys that contradict each other, strategies and their parameters, addresses.

Works on the raw JSON and looks only at parts that have the right shape: the schema has already named the others.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

import strategies
from config.faults import check, did_you_mean, show
from config.settings import tidy
from config.topstep_checks import topstep_faults

NETWORKS = {"hyperliquid": ("simulator", "testnet", "mainnet"), "topstepx": ("simulator", "live")}
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
SIZE_KINDS = ("risk_pct", "notional", "quantity")
DISTANCES = ("stop_loss", "take_profit", "trailing_stop", "trailing_activate", "trailing_step")


def cross_faults(raw: dict[str, Any]) -> list[str]:
    return [*_venue_faults(raw), *topstep_faults(raw), *_url_faults(raw), *_health_faults(raw), *_market_faults(raw)]


def _venue_faults(raw: dict[str, Any]) -> Iterator[str]:
    venue, network, account = raw.get("venue"), raw.get("network"), raw.get("account")
    if not isinstance(venue, str) or venue not in NETWORKS:
        return
    allowed = NETWORKS[venue]
    if isinstance(network, str) and any(network in names for names in NETWORKS.values()) and network not in allowed:
        names = ", ".join(f'"{name}"' for name in allowed)
        yield f"network = {show(network)}: must be one of {names} for venue {show(venue)}"
    if venue == "topstepx" and not account and network != "simulator":
        yield "account: is missing, must be the name or id of the TopstepX account (practice: PRAC-...)"
    if venue == "hyperliquid" and isinstance(account, str) and not ADDRESS.fullmatch(account):
        yield f"account = {show(account)}: must be an address, 0x and 40 hex digits, or null"
    for key in ("market_hub_url", "user_hub_url") if venue == "hyperliquid" else ("ws_url",):
        if raw.get(key) is not None:
            other = "topstepx" if venue == "hyperliquid" else "hyperliquid"
            yield f"{key}: belongs to venue {show(other)}, must be left out for {show(venue)}"


def _url_faults(raw: dict[str, Any]) -> Iterator[str]:
    for key, scheme in (("api_url", "http"), ("ws_url", "ws"), ("market_hub_url", "http"), ("user_hub_url", "http")):
        url = raw.get(key)
        if isinstance(url, str) and re.match(r"[a-z]+://\S", url):
            # the hubs of TopstepX are written both ways, as https:// and as wss://
            schemes = ("http", "ws") if key.endswith("hub_url") else (scheme,)
            yield from _address_faults(key, url, schemes)


def _address_faults(key: str, url: str, schemes: tuple[str, ...]) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as e:
        yield f"{key} = {show(url)}: is not an address ({e})"
        return
    secure = [scheme + "s" for scheme in schemes]
    if parts.username is not None or parts.password is not None:
        yield f"{key} = <hidden>: must not hold a user name or password"
    elif not host:
        yield f"{key} = {show(url)}: names no host"
    elif parts.scheme not in (*schemes, *secure):
        yield f"{key} = {show(url)}: must begin with {' or '.join(s + '://' for s in secure)}"
    elif parts.scheme in schemes and not is_loopback(host):
        allowed = " or ".join(s + "://" for s in secure)
        yield f"{key} = {show(url)}: must begin with {allowed}; unencrypted is for this machine (127.0.0.1) only"


def _health_faults(raw: dict[str, Any]) -> Iterator[str]:
    health = raw.get("health")
    host = health.get("host") if isinstance(health, dict) else None
    if isinstance(host, str) and not is_loopback(host):
        yield f"health.host = {show(host)}: must be 127.0.0.1, ::1 or localhost; a tunnel (ssh -L) shows it elsewhere"


def is_loopback(host: str) -> bool:
    """Whether `host` (no brackets) can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _market_faults(raw: dict[str, Any]) -> Iterator[str]:
    markets = raw.get("markets")
    seen: set[str] = set()
    for index, market in enumerate(markets if isinstance(markets, list) else []):
        if not isinstance(market, dict):
            continue
        path = f"markets[{index}]"
        symbol = market.get("symbol")
        if isinstance(symbol, str):
            if symbol in seen:
                yield f"{path}.symbol = {show(symbol)}: is configured twice"
            seen.add(symbol)
        yield from _size_faults(market, path)
        if isinstance(market.get("exits"), dict):
            yield from _exit_faults(market["exits"], path + ".exits")
        if isinstance(market.get("strategy"), dict):
            yield from _strategy_faults(market["strategy"], path + ".strategy")
        if str(market.get("timeframe", "")).endswith("s") and market.get("strategy") and not _streams(raw):
            shown = show(market["timeframe"])
            yield f"{path}.timeframe = {shown}: is built from streamed trades, which needs websocket.enabled true"


def _streams(raw: dict[str, Any]) -> bool:
    websocket = raw.get("websocket")
    return isinstance(websocket, dict) and websocket.get("enabled", True) is not False


def _size_faults(market: dict[str, Any], path: str) -> Iterator[str]:
    size = market.get("size")
    choice = "must have one of " + ", ".join(SIZE_KINDS)
    if size is None and market.get("strategy") is not None:
        yield f"{path}.size: is missing, {choice}"
    if not isinstance(size, dict):
        return
    kinds = [kind for kind in SIZE_KINDS if size.get(kind) is not None]
    if len(kinds) > 1:
        yield f"{path}.size: has {' and '.join(kinds)}, must have only one of them"
    if not kinds and market.get("strategy") is not None:
        yield f"{path}.size: {choice}"


def _exit_faults(exits: dict[str, Any], path: str) -> Iterator[str]:
    given = {name: [u for u in ("pct", "ticks") if exits.get(f"{name}_{u}") is not None] for name in DISTANCES}
    for name, units in given.items():
        if len(units) == 2:
            yield f"{path}: has {name}_pct and {name}_ticks, must have only one of them"
    if not given["stop_loss"]:
        shown = " = null" if "stop_loss_pct" in exits or "stop_loss_ticks" in exits else ""
        yield f"{path}.stop_loss_pct{shown}: must be given, here or as stop_loss_ticks: no position without a stop"
    if given["trailing_activate"] and not given["trailing_stop"]:
        key = f"trailing_activate_{given['trailing_activate'][0]}"
        yield f"{path}.{key} = {show(exits[key])}: needs trailing_stop_pct or trailing_stop_ticks"


def _strategy_faults(raw: dict[str, Any], path: str) -> Iterator[str]:
    name = raw.get("name")
    known = strategies.names()
    if not isinstance(name, str):
        yield f"{path}.name: must be one of " + ", ".join(f'"{known_name}"' for known_name in known)
        return
    if name not in known:
        choices = ", ".join(f'"{known_name}"' for known_name in known)
        yield f"{path}.name = {show(name)}: must be one of {choices}{did_you_mean(name, known)}"
        return
    try:
        strategy = strategies.find(name)
    except ValueError as e:
        yield f"{path}.name = {show(name)}: {e}"
        return
    params = {key: value for key, value in raw.items() if key != "name"}
    schema = tidy(msgspec.json.schema(strategy.params_type))
    faults = check(params, schema, path, schema.get("$defs", {}))
    yield from faults
    if not faults:
        try:
            strategy.params(params)
        except ValueError as e:
            yield f"{path}: {e}"
