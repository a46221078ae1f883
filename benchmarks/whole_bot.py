"""The whole bot as its own process, with its files in a folder of the benchmark's: run by `python -m benchmarks`.

It is `python trading_bot.py` with two differences: `logs/` lies elsewhere, and the weight budget is so large that 200
round trips in a few minutes do not have to wait for their turn (the venue allows about a dozen a minute).
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import trading_bot
import wiring
import wiring.hyperliquid


def config(url: str) -> dict[str, Any]:
    """A guardian: it protects what is opened by hand. One percent to the stop, as every contestant."""
    return {
        "venue": "hyperliquid",
        "network": "simulator",
        "api_url": url,
        "dry_run": False,
        "markets": [
            {
                "symbol": "BTC",
                "timeframe": "1m",
                "strategy": None,
                "exits": {
                    "stop_loss_pct": 1.0,
                    "take_profit_pct": 5.0,
                    "trailing_stop_pct": 0.8,
                    "trailing_activate_pct": 0.5,
                    "max_hold_minutes": 100_000,
                },
            }
        ],
        "risk": {"max_daily_loss": 1_000_000},
        "websocket": {"enabled": True, "reconnect_interval": 1.0},
        "health": {"enabled": True, "port": 0},
    }


def main(url: str, folder: Path) -> int:
    path = folder / "config.json"
    path.write_text(json.dumps(config(url)), encoding="utf-8")
    wiring.LOGS = folder / "logs"
    wiring.LOGS.mkdir(exist_ok=True)
    budget = functools.partial(wiring.hyperliquid.WeightBudget, capacity=1_000_000)
    wiring.hyperliquid.WeightBudget = budget  # type: ignore[assignment,misc]
    return trading_bot.main(["--config", str(path)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
