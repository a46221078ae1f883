"""The command line's promises that need no venue to speak of."""

import functools
import json
from pathlib import Path

import pytest

import trading_bot
from config.credentials import load_secrets
from tests.e2e.harness import process_settings
from tests.loopback import http, loopback_venue

CANARY = "canary-9-sings-in-no-log"
NOTIFY = "json://127.0.0.1:9/canary-of-the-notifier"


def test_a_secret_is_hidden_whoever_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It looks like no secret; the venue repeats it in a fault, and that fault is logged (P10)."""
    (tmp_path / ".env").write_text(f"TOPSTEPX_API_KEY={CANARY}\n", encoding="utf-8")
    monkeypatch.setattr(trading_bot, "load_secrets", functools.partial(load_secrets, tmp_path / ".env", {}))
    text = f"who is {CANARY} of {NOTIFY}?".encode()
    with loopback_venue(lambda path, body: http(text, 400)) as venue, process_settings():
        path = tmp_path / "config.json"
        path.write_text(
            json.dumps(
                {
                    "venue": "hyperliquid",
                    "network": "simulator",
                    "api_url": venue.url,
                    "ws_url": venue.url.replace("http", "ws"),
                    "markets": [{"symbol": "BTC", "strategy": None, "exits": {"stop_loss_pct": 1}}],
                    "risk": {"max_daily_loss": None},
                    "health": {"enabled": False},
                    "logging": {"level": "DEBUG"},
                    "notify": [NOTIFY],
                }
            ),
            encoding="utf-8",
        )
        assert trading_bot.run(path, tmp_path / "logs", 0.2) == trading_bot.EXIT_FAULT
        assert venue.requests
    log = (tmp_path / "logs" / "bot.log").read_text(encoding="utf-8")
    assert "who is <hidden> of <hidden>" in log, "the fault itself is told"
    for said in (log, *capsys.readouterr()):
        assert "canary" not in said
