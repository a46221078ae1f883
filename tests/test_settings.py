"""config.json and .env: what is accepted, and one clear line for each thing that is not."""

import copy
import json
import os
import sys
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config import settings as settings_module
from config.__main__ import SCHEMA_PATH, published_schema
from config.checks import is_loopback
from config.credentials import Secret, Secrets, account_address, load_secrets, missing_secrets
from config.faults import ConfigFault, show
from config.prop import prop_rules
from config.rules import addresses, market_rules
from config.settings import EXAMPLE_PATH, FOLDER, Settings, ensure_config, load
from core.model import Instrument
from core.rules import Distance, StrategyRules

EXAMPLES = [EXAMPLE_PATH, *sorted((FOLDER / "examples").glob("*.json"))]
BASE: dict[str, Any] = {
    "venue": "hyperliquid",
    "network": "testnet",
    "markets": [
        {
            "symbol": "BTC",
            "timeframe": "1m",
            "strategy": {"name": "ema_cross", "fast": 9, "slow": 21},
            "size": {"risk_pct": 0.5},
            "exits": {"stop_loss_pct": 1.0},
        }
    ],
    "risk": {"max_daily_loss": 200},
    "websocket": {},
}
INSTRUMENTS = {
    "BTC": Instrument("BTC", 0, D("0.00001"), min_notional=D(10), max_leverage=40),
    "ETH": Instrument("ETH", 1, D("0.0001"), min_notional=D(10), max_leverage=25),
    "kPEPE": Instrument("kPEPE", 2, D(1), min_notional=D(10), max_leverage=10),
    "MGC": Instrument("MGC", 0, D(1), tick_size=D("0.1"), multiplier=D(10), contract_id="CON.F.US.MGC.Z26"),
}
TOPSTEPX: dict[str, Any] = BASE | {
    "venue": "topstepx",
    "network": "live",
    "account": "50KTC-V2-1",
    "markets": [BASE["markets"][0] | {"symbol": "MGC", "size": {"quantity": 1}}],
    "prop_rules": {"preset": "combine_50k"},
}
MISSING = object()


def changed(path: str, value: Any, base: dict[str, Any] = BASE) -> dict[str, Any]:
    """`base` with one value replaced: `markets.0.exits.stop_loss_pct`; MISSING removes it."""
    config = copy.deepcopy(base)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = config
    for step in way:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    if value is MISSING:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return config


def write(folder: Path, content: Any) -> Path:
    path = folder / "config.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def faults(folder: Path, content: Any) -> list[str]:
    path = write(folder, content)
    with pytest.raises(ConfigFault) as caught:
        load(path)
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in caught.value.lines)
    return [text.removeprefix(f"{path}: ") for text in caught.value.lines]


# --- what is accepted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_shipped_configs_load(path: Path) -> None:
    settings = load(path)
    rules = market_rules(settings, INSTRUMENTS)
    assert list(rules.markets) == [market.symbol for market in settings.markets]
    assert settings.health.host == "127.0.0.1"
    if settings.network == "mainnet" and not settings.dry_run:  # honest starting points stay small
        assert all((m.size is None or (m.size.max_notional or 0) <= 100) for m in settings.markets)
    if settings.venue == "topstepx":
        assert all(m.size is None or m.size.quantity == m.size.max_quantity == 1 for m in settings.markets)
        assert settings.network == "simulator" or prop_rules(settings.prop_rules).own_daily_loss  # type: ignore[arg-type]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_shipped_config_that_opens_positions_is_a_rehearsal_unless_its_name_says_real(path: Path) -> None:
    """README: a copied example trades on paper first; testnet and mainnet are asked for by name."""
    settings = load(path)
    opens = any(market.strategy is not None for market in settings.markets)
    is_real = settings.network != "simulator" and not settings.dry_run
    assert not (opens and is_real) or path.stem in ("hyperliquid-testnet", "hyperliquid-mainnet")


def test_the_first_start_config_shows_a_whole_trade_within_a_minute() -> None:
    settings = load(EXAMPLE_PATH)
    market = market_rules(settings, INSTRUMENTS).markets["BTC"]
    assert settings.network == "simulator" and settings.dry_run
    assert market.timeframe_ms <= 1_000 and market.bars_from_trades
    assert market.exits.hold_ms_max is not None and market.exits.hold_ms_max <= 60_000
    assert market.exits.trailing_stop is not None and market.exits.take_profit is not None


def test_numbers_are_exact_and_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    text = json.dumps(BASE).replace('"stop_loss_pct": 1.0', '"stop_loss_pct": 1.10000000000000000001')
    settings = load(write(tmp_path, text))
    assert settings.markets[0].exits.stop_loss_pct == D("1.10000000000000000001")
    assert (settings.dry_run, settings.check_interval, settings.is_paper) == (True, 300.0, True)
    assert settings.risk.max_price_age_s == 3 and settings.risk.max_order_errors == 5
    assert (settings.websocket.reconnect_interval, settings.websocket.max_reconnect_attempts) == (5.0, 10)  # type: ignore[union-attr]
    assert (settings.fallback.poll_interval, settings.logging.journal_max_mb) == (1.0, 2000)
    assert (settings.health.enabled, settings.health.host, settings.health.port) == (True, "127.0.0.1", 8080)


def test_no_websocket_part_means_polling(tmp_path: Path) -> None:
    assert load(write(tmp_path, BASE)).use_stream
    assert not load(write(tmp_path, changed("websocket", MISSING))).use_stream
    assert not load(write(tmp_path, changed("websocket", {"enabled": False}))).use_stream


@pytest.mark.parametrize(
    "url, ws_url",
    [
        ("http://127.0.0.1:3001", "ws://127.0.0.1:3001/ws"),
        ("http://localhost", "ws://[::1]:1/ws"),
        ("https://h", "wss://h"),
    ],
)
def test_plain_addresses_are_for_loopback(tmp_path: Path, url: str, ws_url: str) -> None:
    config = changed("api_url", url) | {"ws_url": ws_url}
    assert addresses(load(write(tmp_path, config))).ws_url == ws_url  # type: ignore[union-attr]


def test_addresses_of_the_networks(tmp_path: Path) -> None:
    testnet = addresses(load(write(tmp_path, BASE)))
    assert testnet is not None and testnet.ws_url == "wss://api.hyperliquid-testnet.xyz/ws"
    mainnet = addresses(load(write(tmp_path, changed("network", "mainnet"))))
    assert mainnet is not None and mainnet.api_url == "https://api.hyperliquid.xyz"
    assert addresses(load(write(tmp_path, changed("network", "simulator")))) is None
    proxy = addresses(load(write(tmp_path, changed("api_url", "https://proxy.example/"))))
    assert proxy is not None and proxy.ws_url == "wss://proxy.example/ws"


def test_host_names_that_only_look_local() -> None:
    assert is_loopback("127.0.0.1") and is_loopback("127.9.9.9") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("127.0.0.1.example.com") and not is_loopback("0.0.0.0") and not is_loopback("localhost.evil")


# --- what is refused ------------------------------------------------------------------------------------------------

M = "markets.0."
REFUSED = [
    # a misspelt key: the likely one
    (M + "exits.stop_los_pct", 1.0, 'markets[0].exits.stop_los_pct = 1.0: unknown key, did you mean "stop_loss_pct"?'),
    ("websokcet", {}, 'websokcet = {}: unknown key, did you mean "websocket"?'),
    ("risk.zzz", 1, "risk.zzz = 1: unknown key"),
    (M + "strategy.fats", 3, 'markets[0].strategy.fats = 3: unknown key, did you mean "fast"?'),
    # wrong types
    ("dry_run", "yes", 'dry_run = "yes": must be true or false'),
    ("dry_run", 0, "dry_run = 0: must be true or false"),
    (M + "exits.stop_loss_pct", True, "markets[0].exits.stop_loss_pct = true: must be a number above 0 and below 100"),
    (M + "exits.stop_loss_pct", "1", 'markets[0].exits.stop_loss_pct = "1": must be a number above 0 and below 100'),
    ("risk.max_open_positions", 1.5, "risk.max_open_positions = 1.5: must be a whole number from 1 to 1000"),
    ("risk.max_open_positions", True, "risk.max_open_positions = true: must be a whole number"),
    ("markets", {}, "markets = {}: must be a list [...]"),
    ("markets", [], "markets: is empty, must hold at least one entry"),
    ("markets.1", 7, "markets[1] = 7: must be an object {...}"),
    ("risk", None, "risk = null: must be an object {...}"),
    ("risk", MISSING, "risk: is missing, must be an object {...}"),
    (
        "risk.max_daily_loss",
        MISSING,
        "risk.max_daily_loss: is missing, must be a number above 0 up to 1000000000000, or null",
    ),
    (M + "symbol", None, "markets[0].symbol = null: must be a text"),
    (M + "symbol", "", 'markets[0].symbol = "": must be a text'),
    # impossible values
    (M + "leverage", 0, "markets[0].leverage = 0: must be a whole number from 1 to 100, or null"),
    (M + "exits.stop_loss_pct", 0, "markets[0].exits.stop_loss_pct = 0: must be a number above 0"),
    (M + "exits.stop_loss_pct", -1, "markets[0].exits.stop_loss_pct = -1: must be a number above 0"),
    (M + "exits.stop_loss_pct", float("nan"), "markets[0].exits.stop_loss_pct = NaN: must be a number"),
    (M + "exits.stop_loss_pct", float("inf"), "markets[0].exits.stop_loss_pct = Infinity: must be a number"),
    (M + "exits.stop_loss_pct", 100, "markets[0].exits.stop_loss_pct = 100: must be a number above 0 and below 100"),
    (M + "exits.stop_loss_pct", None, "markets[0].exits.stop_loss_pct = null: must be given"),
    (M + "exits", {}, "markets[0].exits.stop_loss_pct: must be given"),
    (M + "exits.stop_loss_ticks", 5, "markets[0].exits: has stop_loss_pct and stop_loss_ticks, must have only one"),
    (M + "exits.trailing_activate_pct", 1, "markets[0].exits.trailing_activate_pct = 1: needs trailing_stop_pct"),
    (M + "exits.max_hold_minutes", 0, "markets[0].exits.max_hold_minutes = 0: must be a number from 0.05 to 525600"),
    (M + "size.risk_pct", 101, "markets[0].size.risk_pct = 101: must be a number above 0 and below 100, or null"),
    (M + "size.notional", 100, "markets[0].size: has risk_pct and notional, must have only one of them"),
    (M + "size", {}, "markets[0].size: must have one of risk_pct, notional, quantity"),
    (M + "size", MISSING, "markets[0].size: is missing, must have one of risk_pct, notional, quantity"),
    (M + "timeframe", "7x", 'markets[0].timeframe = "7x": must be one of "1s", "2s", "5s"'),
    ("health.port", 65536, "health.port = 65536: must be a whole number from 0 to 65535"),
    ("health.port", -1, "health.port = -1: must be a whole number from 0 to 65535"),
    ("fallback.poll_interval", 0, "fallback.poll_interval = 0: must be a number from 0.2 to 60"),
    (
        "logging.level",
        "info",
        'logging.level = "info": must be one of "DEBUG", "INFO", "WARNING", "ERROR", did you mean',
    ),
    (
        "venue",
        "hyperliqid",
        'venue = "hyperliqid": must be one of "hyperliquid", "topstepx", did you mean "hyperliquid"?',
    ),
    ("network", "live", 'network = "live": must be one of "simulator", "testnet", "mainnet" for venue "hyperliquid"'),
    # strategies
    (M + "strategy.name", "ema_crss", 'did you mean "ema_cross"?'),
    (M + "strategy.name", "../ema_cross", 'markets[0].strategy.name = "../ema_cross": must be one of "donchian_'),
    (M + "strategy.name", MISSING, 'markets[0].strategy.name: must be one of "donchian_breakout"'),
    (M + "strategy.slow", 5000, "markets[0].strategy.slow = 5000: must be a whole number from 2 to 200"),
    (M + "strategy.slow", "21", 'markets[0].strategy.slow = "21": must be a whole number from 2 to 200'),
    (M + "strategy.fast", 21, "markets[0].strategy: fast = 21: must be below slow = 21"),
    (M + "strategy.fast", [9], "markets[0].strategy.fast = [9]: must be"),
    # markets together
    ("markets.1", BASE["markets"][0], 'markets[1].symbol = "BTC": is configured twice'),
    # addresses
    ("api_url", "http://api.hyperliquid.xyz", 'api_url = "http://api.hyperliquid.xyz": must begin with https://'),
    ("ws_url", "ws://10.0.0.1/ws", 'ws_url = "ws://10.0.0.1/ws": must begin with wss://'),
    ("ws_url", "https://h/ws", 'ws_url = "https://h/ws": must begin with wss://'),
    ("api_url", "https://h:99999", "is not an address"),
    ("api_url", "hyperliquid.xyz", 'api_url = "hyperliquid.xyz": must be an address such as https://host'),
    ("market_hub_url", "https://h", 'market_hub_url: belongs to venue "topstepx"'),
    ("account", "0x12", 'account = "0x12": must be an address, 0x and 40 hex digits, or null'),
]


@pytest.mark.parametrize("path, value, expected", REFUSED)
def test_refused(tmp_path: Path, path: str, value: Any, expected: str) -> None:
    found = faults(tmp_path, changed(path, value))
    assert any(expected in line for line in found), found


def test_bars_of_seconds_need_the_stream(tmp_path: Path) -> None:
    config = changed("websocket", {"enabled": False})
    config["markets"][0]["timeframe"] = "1s"
    assert "needs websocket.enabled true" in faults(tmp_path, config)[0]
    config["markets"][0]["strategy"] = None  # a guardian needs no bars
    load(write(tmp_path, config))


def test_topstepx_needs_an_account(tmp_path: Path) -> None:
    config = BASE | {"venue": "topstepx", "network": "live"}
    assert any(line.startswith("account: is missing") for line in faults(tmp_path, config))
    load(write(tmp_path, config | {"account": "PRAC-V2-1"}))
    assert any('must be one of "simulator", "live"' in t for t in faults(tmp_path, config | {"network": "mainnet"}))


P = "prop_rules."
REFUSED_ON_TOPSTEPX = [
    (M + "leverage", 3, 'markets[0].leverage = 3: must be null for venue "topstepx"'),
    (M + "size.quantity", 1.5, "markets[0].size.quantity = 1.5: must be whole contracts, 1 or more"),
    (M + "size.quantity", 0.9, "markets[0].size.quantity = 0.9: must be whole contracts, 1 or more"),
    (M + "size.max_quantity", 2.5, "markets[0].size.max_quantity = 2.5: must be whole contracts"),
    (M + "symbol", "MGCZ6", 'markets[0].symbol = "MGCZ6": must be the ticker without its month: "MGC"'),
    (M + "symbol", "CON.F.US.MGC.Z26", "must be the ticker without its month"),
    (M + "symbol", "MGCC", 'is not a product that prop_rules permits, did you mean "MGC"?'),
    ("prop_rules", MISSING, 'prop_rules: is missing, must be an object such as {"preset": "combine_50k"}, or null'),
    ("prop_rules", {}, "prop_rules.preset: is missing, must be one of"),
    (P + "preset", "combine_50", 'must be one of "combine_50k", "combine_100k", "combine_150k", "xfa_50k"'),
    (P + "max_los_limit", 1, 'prop_rules.max_los_limit = 1: unknown key, did you mean "max_loss_limit"?'),
    (P + "max_loss_limit", 0, "prop_rules.max_loss_limit = 0: must be a number above 0"),
    (P + "trailing", "eod", 'prop_rules.trailing = "eod": must be one of "end_of_day", "intraday", "static"'),
    (P + "start_balance", None, "prop_rules.start_balance = null: must be a number"),
    (P + "safety_buffer", 1000, "prop_rules.safety_buffer = 1000: must be below daily_loss_limit = 1000"),
    (P + "safety_buffer", 401, "prop_rules.entry_buffer = 400: must not be below safety_buffer = 401"),
    (P + "entry_buffer", 199, "prop_rules.entry_buffer = 199: must not be below safety_buffer = 200"),
    (P + "own_daily_loss", 1001, "prop_rules.own_daily_loss = 1001: must not be above daily_loss_limit = 1000"),
    (P + "highest_eod_balance", 49999, "prop_rules.highest_eod_balance = 49999: must not be below start_balance"),
    (P + "payout_taken", True, "prop_rules.payout_taken = true: only Express accounts (xfa_...) pay out"),
    (P + "flat_by", "15:5", 'prop_rules.flat_by = "15:5": must be a time in Chicago such as "15:05", or null'),
    (P + "flat_by", "24:00", 'prop_rules.flat_by = "24:00": must be a time'),
    (P + "flat_by", "15:06", 'prop_rules.flat_by = "15:06": must not be after 15:05; flat_lead_minutes = 5'),
    (P + "no_entries_after", "15:01", 'prop_rules.no_entries_after = "15:01": must not be after 15:00'),
    ("prop_rules", {"preset": "practice", "flat_by": "14:00", "no_entries_after": "14:01"}, "not be after flat_by"),
    (P + "product_caps", {"MGCC": 1}, 'prop_rules.product_caps: "MGCC" is no known ticker, did you mean "MGC"?'),
    (P + "product_caps", {"MGC": -1}, "prop_rules.product_caps.MGC = -1: must be a whole number from 0"),
    (P + "mini_weights", {"MGC": 0}, "prop_rules.mini_weights.MGC = 0: must be a number above 0"),
    (
        P + "holidays",
        [{"date": "2026-02-30", "flat_by": None}],
        'holidays[0].date = "2026-02-30": there is no such day',
    ),
    (P + "holidays", [{"date": "2026-12-07"}], "prop_rules.holidays[0].flat_by: is missing"),
    (P + "holidays_until", "2026-13-01", 'prop_rules.holidays_until = "2026-13-01": there is no such day'),
    (P + "news_blackouts", [{"at": "7:30"}], 'prop_rules.news_blackouts[0].at = "7:30": must be a time in Chicago'),
    (P + "news_blackouts", [{"at": "2026-02-29 07:30"}], 'news_blackouts[0].at = "2026-02-29": there is no such day'),
    (
        P + "news_blackouts",
        [{"at": "07:30", "products": ["metal"]}],
        'is no known ticker or group, did you mean "metals"',
    ),
    (P + "hours", [{"products": ["MGC"], "opens": "17:00", "flat_by": "15:10", "pauses": ["9-10"]}], "must be a pause"),
    ("hubs", {"markets": False}, 'hubs.markets = false: unknown key, did you mean "market"?'),
    ("brackets", "oco", 'brackets = "oco": must be one of "auto_oco", "own"'),
    ("ws_url", "wss://h/ws", 'ws_url: belongs to venue "hyperliquid"'),
]


@pytest.mark.parametrize("path, value, expected", REFUSED_ON_TOPSTEPX)
def test_refused_on_topstepx(tmp_path: Path, path: str, value: Any, expected: str) -> None:
    config = changed(path, value, TOPSTEPX) | {"dry_run": False}
    found = faults(tmp_path, config)
    assert any(expected in line for line in found), found
    assert len(found) == (2 if value == 1000 else 1), found  # that buffer is also above the entries' one


@pytest.mark.parametrize("key, value", [("hubs", {}), ("brackets", "own"), ("prop_rules", {"preset": "practice"})])
def test_what_only_topstepx_has(tmp_path: Path, key: str, value: Any) -> None:
    assert faults(tmp_path, BASE | {key: value}) == [
        f'{key}: belongs to venue "topstepx", must be left out for "hyperliquid"'
    ]
    load(write(tmp_path, BASE | {key: None} if key == "prop_rules" else BASE))


@pytest.mark.parametrize(
    "path, value",
    [
        (M + "leverage", None),
        (M + "size", {"quantity": 2.0, "max_quantity": 3, "max_notional": 50000.5}),
        (M + "size", {"risk_pct": 0.5}),
        ("prop_rules", None),
        (P + "daily_loss_limit", None),
        (P + "safety_buffer", 400),
        (P + "own_daily_loss", 1000),
        (P + "highest_eod_balance", 50000),
        (P + "flat_by", "15:05"),
        (P + "no_entries_after", "15:00"),
        (P + "news_blackouts", [{"at": "2026-12-10 07:30", "products": ["metals", "MES"]}]),
        (P + "products", ["MGC", "XYZ"]),
        ("prop_rules", {"preset": "xfa_50k", "payout_taken": True}),
        (P + "products", None),
    ],
)
def test_accepted_on_topstepx(tmp_path: Path, path: str, value: Any) -> None:
    load(write(tmp_path, changed(path, value, TOPSTEPX) | {"dry_run": False}))


def test_a_dry_run_and_the_simulator_need_no_guard(tmp_path: Path) -> None:
    config = changed("prop_rules", MISSING, TOPSTEPX)
    assert load(write(tmp_path, config)).prop_rules is None
    settings = load(write(tmp_path, config | {"network": "simulator", "dry_run": False, "account": None}))
    assert (settings.hubs.market, settings.hubs.user, settings.brackets) == (True, True, "auto_oco")


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    config = changed("dry_run", 1)
    config["markets"][0]["exits"] = {"stop_loss_pct": None, "take_profit_pct": -2}
    config["markets"][0]["leverage"] = 0
    config["api_url"] = "http://example.com"
    config["notify"] = ["ntfy://topic", "nonsense"]
    found = "\n".join(faults(tmp_path, config))
    for key in ("dry_run", "take_profit_pct", "stop_loss_pct", "leverage", "api_url", "notify[1]"):
        assert key in found
    assert len(found.splitlines()) == 6


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"[]", "must be an object {...}, not []"),
        (b"null", "must be an object"),
        (b'{"venue": "hyperliquid",}', "line 1 column"),
        (b'{"venue": 1,\n}', "a comma after the last entry"),
        (b'{\n  // my bot\n  "venue": 1}', "line 2 column 3: "),
        (b'{\n  // my bot\n  "venue": 1}', "JSON has no comments"),
        (b'{"dry_run": True}', "JSON writes true, false and null"),
        (b"{'venue': 1}", 'use double quotes: "..."'),
        (b'{"venue": "hyperliquid"', "line 1 column"),
        (b'\xef\xbb\xbf{"venue": 1}', "starts with a byte order mark"),
        ('{"venue": 1}'.encode("utf-16"), "is UTF-16"),
        (b'{"venue":\n "\xe4"}', "line 2 is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"check_interval": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"check_interval": 1e999999999999999999999}', "check_interval = NaN: must be a number"),
        (b'{"risk": {"max_daily_loss": 1, "max_daily_loss": 9}}', "risk.max_daily_loss: is given twice"),
        (b'{"\\ud800": "\\ud800"}', '\\ud800 = "\\ud800": unknown key'),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, expected: str) -> None:
    assert expected in "\n".join(faults(tmp_path, content))


def test_missing_file_and_directory(tmp_path: Path) -> None:
    for path, expected in ((tmp_path / "none.json", "no such file"), (tmp_path, "is a directory, must be a file")):
        with pytest.raises(ConfigFault, match=expected):
            load(path)


SECRET = "0x" + "ab" * 32


@pytest.mark.parametrize(
    "path, value",
    [
        ("HYPERLIQUID_PRIVATE_KEY", SECRET),
        ("api_key", "short-but-secret"),
        ("account", SECRET),
        (M + "symbol", SECRET),
        ("api_url", "https://user:hunter2secret@example.com"),
        ("notify", ["discord/hunter2secret"]),
        (SECRET, 1),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_echoed(tmp_path: Path, path: str, value: Any) -> None:
    found = "\n".join(faults(tmp_path, changed(path, value)))
    assert "abab" not in found and "hunter2" not in found and "short-but" not in found


def test_notify_addresses_are_not_in_the_repr(tmp_path: Path) -> None:
    settings = load(write(tmp_path, changed("notify", ["ntfy://hunter2"])))
    assert settings.notify == ["ntfy://hunter2"]
    assert "hunter2" not in repr(settings) and "hunter2" not in f"{settings}"


def test_shown_values_are_short_and_ascii() -> None:
    assert show("é" * 100).isascii() and len(show("x" * 500)) <= 60


# --- the first start, the schema ------------------------------------------------------------------------------------


def test_first_start_copies_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    monkeypatch.setattr(settings_module, "DEFAULT_PATH", path)
    assert ensure_config(path) is True
    assert path.read_bytes() == EXAMPLE_PATH.read_bytes()
    path.write_text("mine", encoding="utf-8")
    assert ensure_config(path) is False and path.read_text(encoding="utf-8") == "mine"
    monkeypatch.chdir(tmp_path)
    path.unlink()
    assert ensure_config(Path("config.json")) is True  # the same file, named otherwise
    assert ensure_config(tmp_path / "other.json") is False and not (tmp_path / "other.json").exists()


def test_schema_file_is_up_to_date() -> None:
    text = SCHEMA_PATH.read_text(encoding="utf-8")
    strategy = json.loads(text)["$defs"]["MarketSettings"]["properties"]["strategy"]["anyOf"][0]
    names = strategy["properties"]["name"]["examples"]
    assert {"donchian_breakout", "ema_cross", "rsi_reversion"} <= set(names)
    assert text == published_schema(names), "run: python -m config"


def test_every_key_in_the_schema_is_described() -> None:
    for name, part in json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))["$defs"].items():
        for key, schema in part["properties"].items():
            assert schema.get("description"), f"{name}.{key}"


# --- rules ----------------------------------------------------------------------------------------------------------


def test_market_rules_settle_the_units(tmp_path: Path) -> None:
    config = changed(
        "markets.1", copy.deepcopy(BASE["markets"][0]) | {"symbol": "ETH", "timeframe": "1s", "leverage": 25}
    )
    exits = {"stop_loss_ticks": 50, "trailing_stop_pct": 0.8, "trailing_step_ticks": 3, "max_hold_minutes": 1.5}
    config["markets"][1]["exits"] = exits
    config["risk"]["max_price_age_s"] = 0.25
    rules = market_rules(load(write(tmp_path, config)), INSTRUMENTS)
    btc, eth = rules.markets["BTC"], rules.markets["ETH"]
    assert (btc.timeframe_ms, btc.bars_from_trades, btc.leverage) == (60_000, False, None)
    assert (eth.timeframe_ms, eth.bars_from_trades, eth.leverage) == (1_000, True, 25)
    assert btc.strategy == StrategyRules("ema_cross", {"fast": 9, "slow": 21})
    assert (btc.exits.stop_loss, btc.exits.trailing_step) == (Distance(pct=D("1.0")), Distance(pct=D("0.1")))
    assert (eth.exits.stop_loss, eth.exits.trailing_step) == (Distance(ticks=D(50)), Distance(ticks=D(3)))
    assert (btc.exits.hold_ms_max, eth.exits.hold_ms_max) == (None, 90_000)
    assert btc.size.risk_pct == D("0.5") and btc.size.quantity is None
    assert (rules.risk.max_price_age_ms, rules.risk.max_daily_loss) == (250, D(200))
    assert (rules.dry_run, rules.use_stream, rules.price_note_ms) == (True, True, 10_000)


def test_dry_run_is_ignored_on_the_simulator(tmp_path: Path) -> None:
    assert not market_rules(load(write(tmp_path, changed("network", "simulator"))), INSTRUMENTS).dry_run
    assert market_rules(load(write(tmp_path, changed("network", "mainnet"))), INSTRUMENTS).dry_run
    assert not market_rules(load(write(tmp_path, changed("dry_run", False))), INSTRUMENTS).dry_run


def test_guardian_rules(tmp_path: Path) -> None:
    config = changed(M + "strategy", None)
    del config["markets"][0]["size"]
    assert market_rules(load(write(tmp_path, config)), INSTRUMENTS).markets["BTC"].strategy is None


@pytest.mark.parametrize(
    "path, value, expected",
    [
        (M + "symbol", "btc", 'markets[0].symbol = "btc": the venue has no such market, did you mean "BTC"?'),
        (M + "symbol", "BTC-USD", 'did you mean "BTC"?'),
        (M + "symbol", "PEPE", 'did you mean "kPEPE"?'),
        (M + "symbol", "ZZZZZZ", 'markets[0].symbol = "ZZZZZZ": the venue has no such market'),
        (M + "leverage", 41, "markets[0].leverage = 41: BTC allows 1 to 40"),
        (M + "size", {"quantity": 0.000001}, "markets[0].size.quantity = 0.000001: BTC trades in steps of 0.00001"),
        (M + "size", {"notional": 5}, "markets[0].size.notional = 5: the smallest BTC order is worth 10"),
    ],
)
def test_what_the_instruments_forbid(tmp_path: Path, path: str, value: Any, expected: str) -> None:
    settings = load(write(tmp_path, changed(path, value)))
    with pytest.raises(ConfigFault) as caught:
        market_rules(settings, INSTRUMENTS)
    assert len(caught.value.lines) == 1 and expected in caught.value.lines[0]


def test_the_edges_the_instruments_allow(tmp_path: Path) -> None:
    for path, value in ((M + "leverage", 40), (M + "size", {"quantity": 0.00001}), (M + "size", {"notional": 10})):
        market_rules(load(write(tmp_path, changed(path, value))), INSTRUMENTS)


# --- .env -----------------------------------------------------------------------------------------------------------

KEY = "0123456789" * 6 + "0123"
ADDRESS = "0x14791697260E4c9A71f18484C9f997B308e59325"


def env(folder: Path, content: str | bytes) -> Path:
    path = folder / ".env"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_secrets_are_read_and_never_shown(tmp_path: Path) -> None:
    text = (
        f'# mine\nexport HYPERLIQUID_PRIVATE_KEY="0x{KEY}"\nHYPERLIQUID_ACCOUNT_ADDRESS={ADDRESS}\nTOPSTEPX_API_KEY=\n'
    )
    secrets = load_secrets(env(tmp_path, text), {})
    assert secrets.hyperliquid_private_key is not None and secrets.hyperliquid_private_key.reveal() == KEY
    assert secrets.hyperliquid_account_address == ADDRESS.lower() and secrets.topstepx_api_key is None
    assert secrets.values() == (KEY,)
    for shown in (repr(secrets), str(secrets), f"{secrets}", f"{secrets.hyperliquid_private_key}", repr([secrets])):
        assert KEY not in shown
    with pytest.raises(TypeError):
        msgspec.json.encode(secrets)


def test_a_missing_file_is_no_fault_and_the_environment_wins(tmp_path: Path) -> None:
    assert load_secrets(tmp_path / ".env", {}) == Secrets()
    path = env(tmp_path, f"HYPERLIQUID_PRIVATE_KEY={KEY}\n")
    other = "1" * 64
    assert load_secrets(path, {"HYPERLIQUID_PRIVATE_KEY": other}).hyperliquid_private_key == Secret(other)
    assert load_secrets(path, {"HYPERLIQUID_PRIVATE_KEY": ""}).hyperliquid_private_key == Secret(KEY)


def test_windows_files_are_read(tmp_path: Path) -> None:
    secrets = load_secrets(env(tmp_path, b"\xef\xbb\xbfHYPERLIQUID_PRIVATE_KEY=" + KEY.encode() + b"\r\n"), {})
    assert secrets.hyperliquid_private_key == Secret(KEY)


@pytest.mark.parametrize(
    "content, expected",
    [
        (f"HYPERLIQUID_PRIVATE_KEY={KEY[:-1]}z", "HYPERLIQUID_PRIVATE_KEY must be 64 hex digits, holds something else"),
        (f"HYPERLIQUID_PRIVATE_KEY={KEY[:-1]}", "HYPERLIQUID_PRIVATE_KEY must be 64 hex digits, has 63"),
        (f"HYPERLIQUID_PRIVATE_KEY={ADDRESS}", "has 40: that is an address, not a private key"),
        ("HYPERLIQUID_PRIVATE_KEY=" + "0" * 64, "is not a private key of secp256k1"),
        ("HYPERLIQUID_PRIVATE_KEY=" + "f" * 64, "is not a private key of secp256k1"),
        ("HYPERLIQUID_ACCOUNT_ADDRESS=0x12", "HYPERLIQUID_ACCOUNT_ADDRESS must be an address, 0x and 40 hex digits"),
        (f"HYPERLIQUID_ACCOUNT_ADDRESS={KEY}", "that is as long as a private key"),
        (f"HYPERLIQUID_PRIVATE_KYE={KEY}", 'is not known, did you mean "HYPERLIQUID_PRIVATE_KEY"?'),
        (f"A=1\n{KEY}\n", "line 2: has no value"),
        (f'HYPERLIQUID_PRIVATE_KEY="{KEY}\n', "line 1: is not of the form NAME=value"),
        (f"HYPERLIQUID_PRIVATE_KEY={KEY}\nHYPERLIQUID_PRIVATE_KEY={'1' * 64}", "is given twice with different values"),
        (b"HYPERLIQUID_PRIVATE_KEY=\xff\xfe", "is not UTF-8"),
        (f"TOPSTEPX_API_KYE={KEY}", 'is not known, did you mean "TOPSTEPX_API_KEY"?'),
        ("TOPSTEP_USERNAME=trader", 'is not known, did you mean "TOPSTEPX_USERNAME"?'),
        (f"TOPSTEPX_API_KEY={KEY}\nTOPSTEPX_API_KEY={'1' * 64}", "is given twice with different values"),
        (f"TOPSTEPX_API_KEY\nTOPSTEPX_USERNAME={KEY}", "line 1: has no value"),
    ],
)
def test_env_faults_name_the_key_and_not_the_value(tmp_path: Path, content: str | bytes, expected: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        load_secrets(env(tmp_path, content), {})
    text = "\n".join(caught.value.lines)
    assert expected in text
    assert KEY[:20] not in text and ADDRESS[4:20] not in text and "1111" not in text


def test_an_env_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="is a directory"):
        load_secrets(tmp_path, {})
    if sys.platform != "win32" and os.geteuid() != 0:
        path = env(tmp_path, "A=1")
        path.chmod(0)
        with pytest.raises(ConfigFault, match="cannot be read"):
            load_secrets(path, {})


@pytest.mark.parametrize(
    "network, dry_run, key, expected",
    [
        ("simulator", False, False, 0),
        ("mainnet", True, False, 0),  # public data is enough
        ("mainnet", False, False, 1),
        ("mainnet", False, True, 0),
    ],
)
def test_who_needs_a_key(tmp_path: Path, network: str, dry_run: bool, key: bool, expected: int) -> None:
    settings = load(write(tmp_path, BASE | {"network": network, "dry_run": dry_run}))
    assert len(missing_secrets(settings, Secrets(Secret(KEY) if key else None))) == expected


@pytest.mark.parametrize("network, dry_run", [("live", False), ("live", True)])
def test_topstepx_asks_for_a_login_even_to_read(tmp_path: Path, network: str, dry_run: bool) -> None:
    settings = load(write(tmp_path, TOPSTEPX | {"network": network, "dry_run": dry_run}))
    whole = "TOPSTEPX_USERNAME=trader\nTOPSTEPX_API_KEY=some key=\n"
    given = load_secrets(env(tmp_path, whole), {})
    assert missing_secrets(settings, given) == [] and given.topstepx_username == "trader"
    assert given.topstepx_api_key == Secret("some key=") and given.values() == ("some key=",)
    for name in ("TOPSTEPX_USERNAME", "TOPSTEPX_API_KEY"):
        without = "\n".join(line for line in whole.splitlines() if not line.startswith(name))
        [fault] = missing_secrets(settings, load_secrets(env(tmp_path, without), {}))
        assert fault.startswith(f"{name} is missing in .env")
    assert len(missing_secrets(settings, Secrets())) == 2
    simulated = load(write(tmp_path, TOPSTEPX | {"network": "simulator", "account": None}))
    assert missing_secrets(simulated, Secrets()) == []


def test_two_different_accounts_are_refused(tmp_path: Path) -> None:
    settings = load(write(tmp_path, changed("account", ADDRESS)))
    assert account_address(settings, Secrets()) == ADDRESS.lower()
    assert missing_secrets(settings, Secrets(None, ADDRESS.lower())) == []
    assert len(missing_secrets(settings, Secrets(None, "0x" + "1" * 40))) == 1


def test_env_example_holds_no_value() -> None:
    assert load_secrets(FOLDER.parent / ".env.example", {}) == Secrets()


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings: Settings = load(write(tmp_path, BASE))
    with pytest.raises(AttributeError):
        settings.dry_run = False  # type: ignore[misc]


def test_a_key_with_characters_nobody_sees_is_named_in_one_line(tmp_path: Path) -> None:
    (text,) = faults(tmp_path, json.dumps(BASE | {"net\x7f\nwork\x00": 1}))
    assert text.startswith(r"net\x7f\x0awork\x00 = 1: unknown key")


def test_an_age_that_rounds_to_nothing_is_refused(tmp_path: Path) -> None:
    """0 ms: no price would ever be young enough."""
    (text,) = faults(tmp_path, changed("risk.max_price_age_s", 1e-9))
    assert "max_price_age_s = 1e-09: must be a number from 0.1 to 60" in text
