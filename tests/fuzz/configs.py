"""Broken config.json and .env files at the door: a fault line, or a run that is possible; never a traceback."""

import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from config.checks import is_loopback
from config.credentials import load_secrets, missing_secrets
from config.faults import ConfigFault
from config.rules import market_rules
from config.settings import EXAMPLE_PATH, FOLDER, Settings, load
from core.model import Instrument
from core.rules import Rules
from tests.fuzz.brain import D, Nonsense, hushed
from tests.fuzz.mutate import mutated, places

EXAMPLES = [EXAMPLE_PATH, *sorted((FOLDER / "examples").glob("*.json"))]
WORDS = ("mainnet", "live", "topstepx", "hyperliquid", "simulator", "1m", "7m", "btc", "MGC", "null", "combine_50k",
         "0.0.0.0", "http://example.com", "https://example.com", "ws://127.0.0.1:1", "ema_cros",
         "0x" + "1" * 40)  # fmt: skip
NUMBERS = (0, -1, 1, 2, 100, 10**9, 1e-9, 0.5, 65_536)
ENV_LINES = (
    *(
        "HYPERLIQUID_PRIVATE_KEY=",
        "HYPERLIQUID_PRIVATE_KEY=0x",
        "HYPERLIQUID_PRIVATE_KEY=zz",
        "=",
        "export",
        "#",
        "\x00",
    ),
    *("HYPERLIQUID_PRIVATE_KEY='0x" + "11" * 32, "HYPERLIQUID_PRIVATE_KEY=" + "11" * 32, "A" * 10_000),
    *("HYPERLIQUID_PRIVATE_KEY=0x" + "0" * 64, "HYPERLIQUID_PRIVATE_KEY=0x" + "f" * 64, "TOPSTEPX_USERNAME=jane"),
    *("HYPERLIQUID_ACCOUNT_ADDRESS=0x" + "1" * 40, "HYPERLIQUID_ACCOUNT_ADDRESS=0x12", "TOPSTEPX_API_KEY=k\tey"),
    *("TOPSTEPX_API_KEY=" + "k" * 44, "TOPSTEPX_API_KEY=${HOME}", "TOPSTEPX_USERNAME=${TOPSTEPX_USERNAME}", "€=💥"),
)
SECRETS = ("11" * 32, "f" * 64, "k" * 44, "k\tey")
SETTINGS = tuple(load(path) for path in EXAMPLES)
KIND_WORDS = (  # of a fault line; the first that fits
    ("unknown key", "unknown key"), ("is given twice", "given twice"), ("is missing", "missing"),
    ("UTF-", "no UTF-8"), (": line ", "no JSON"), ("nested too deeply", "too deep"), ("must be", "wrong value"),
    ("", "other rule"),
)  # fmt: skip
INSTRUMENTS = {
    symbol: Instrument(symbol, number, D("0.00001"), tick_size=D("0.1"), min_notional=D(10), max_leverage=40,
                       contract_id=f"CON.F.US.{symbol}.Z26")
    for number, symbol in enumerate(("BTC", "ETH", "SOL", "MGC", "MNQ", "MES", "NQ", "ES", "GC"))
}  # fmt: skip


def play(rng: random.Random, files: int) -> Counter[str]:
    """Raises Nonsense, with the file in its text."""
    counts, sound = Counter[str](), [path.read_bytes() for path in EXAMPLES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(files):
            raw = broken(rng, rng.choice(sound), counts)
            try:
                _door(folder, raw, counts)
                with hushed("dotenv.main"):  # its warnings come on top of our faults
                    _secrets(rng, folder, counts)
            except Exception as e:
                raise Nonsense(f"{type(e).__name__}: {e}\n  on {raw[:2_000]!r}") from e
    return counts


def broken(rng: random.Random, sound: bytes, counts: Counter[str]) -> bytes:
    """Half of them by the general ways, half with values that the door knows."""
    counts["configs"] += 1
    if rng.random() < 0.5:
        raw, kinds = mutated(rng, sound)
        for kind in kinds:
            counts[f"mutation {kind}"] += 1
        return raw
    root = [json.loads(sound)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        box, key = rng.choice(places(root, [])[1:])
        box[key] = rng.choice(WORDS) if isinstance(box[key], str) or rng.random() < 0.2 else rng.choice(NUMBERS)
    counts["mutation known values"] += 1
    return json.dumps(root[0]).encode()


def _door(folder: Path, raw: bytes, counts: Counter[str]) -> None:
    path = folder / "config.json"
    path.write_bytes(raw)
    try:
        settings = load(path)
        rules = market_rules(settings, INSTRUMENTS)
    except ConfigFault as e:
        counts["refused"] += 1
        assert e.lines, "a refusal without a word"
        for line in e.lines:
            assert line.isprintable() and len(line) < 1_000, f"not a line for people: {line[:300]!r}"
            counts[f"fault {kind_of(line)}"] += 1
        return
    counts["accepted"] += 1
    _possible(settings, rules)


def kind_of(line: str) -> str:
    return next(kind for words, kind in KIND_WORDS if words in line)


def _possible(settings: Settings, rules: Rules) -> None:
    """A config that is let in makes rules that the journal can hold, and none that lose more than a person wrote."""
    again = msgspec.json.decode(msgspec.json.encode(rules), type=Rules)
    assert again == rules, "the journal would give back other rules"
    for market in rules.markets.values():
        stop = market.exits.stop_loss
        assert (stop.pct or stop.ticks or 0) > 0, "a stop without a distance"
        wanted = [
            value for value in (market.size.risk_pct, market.size.notional, market.size.quantity) if value is not None
        ]
        assert market.strategy is None or (len(wanted) == 1 and wanted[0] > 0)
    assert rules.risk.max_price_age_ms > 0 and rules.risk.max_open_positions >= 1
    for url in (settings.api_url, settings.ws_url, settings.market_hub_url, settings.user_hub_url):
        plain = url is not None and url.startswith(("http:", "ws:"))
        assert not plain or is_loopback(urlsplit(url).hostname or ""), "P10: plain text to another machine"


def _secrets(rng: random.Random, folder: Path, counts: Counter[str]) -> None:
    """The .env file beside it: read, or refused with exit code 3 in words that do not quote it."""
    lines = [rng.choice(ENV_LINES) for _ in range(rng.randint(0, 4))]
    raw = "\n".join(lines).encode()
    if rng.random() < 0.3 and raw:
        spoilt = bytearray(raw)
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        raw = bytes(spoilt)
    path = folder / ".env"
    path.write_bytes(raw)
    counts["env files"] += 1
    try:
        secrets = load_secrets(path, environ={})
    except ConfigFault as e:
        counts["env refused"] += 1
        for line in e.lines:
            assert line.isprintable() and len(line) < 1_000, f"not a line for people: {line[:300]!r}"
            assert not any(text in line for text in SECRETS), "a secret in a fault line"
        return
    counts["env accepted"] += 1
    assert not any(text in repr(secrets) for text in SECRETS), "a secret in a repr"
    for settings in SETTINGS:
        for line in missing_secrets(settings, secrets):
            counts["env incomplete"] += 1
            assert not any(text in line for text in SECRETS), "a secret in a fault line"
