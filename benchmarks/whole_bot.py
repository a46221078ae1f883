"""The whole bot as its own process, with its files in a folder of the benchmark's: run by `python -m benchmarks`.

It is `python trading_bot.py` with two differences: `logs/` lies elsewhere, and the request budget is so large that 200
round trips in a few minutes do not have to wait for their turn (the venues allow about a dozen a minute).
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import trading_bot
import wiring
import wiring.hyperliquid
import wiring.topstep
from runtime.budget import WeightBudget
from venues.topstepx import rest


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


def futures_config(url: str) -> dict[str, Any]:
    """A guardian whose venue stop stays where it was placed (the step is large): the bot leaves by its own trail."""
    exits = {
        "stop_loss_ticks": 100,
        "trailing_stop_ticks": 20,
        "trailing_activate_ticks": 20,
        "trailing_step_ticks": 1_000,
        "max_hold_minutes": 100_000,
    }
    return config(url) | {
        "venue": "topstepx",
        "markets": [{"symbol": "MGC", "timeframe": "1m", "strategy": None, "exits": exits}],
    }


class LargeLimits(rest.RequestLimits):
    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.rest = WeightBudget(clock, capacity=1_000_000, reserve=80)


def run(settings: dict[str, Any], folder: Path) -> int:
    """`python trading_bot.py` with these settings, its files in `folder`."""
    path = folder / "config.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    wiring.LOGS = folder / "logs"
    wiring.LOGS.mkdir(exist_ok=True)
    return trading_bot.main(["--config", str(path)])


def main(venue: str, url: str, folder: Path) -> int:
    budget = functools.partial(wiring.hyperliquid.WeightBudget, capacity=1_000_000)
    wiring.hyperliquid.WeightBudget = budget  # type: ignore[assignment,misc]
    wiring.topstep.RequestLimits = LargeLimits  # type: ignore[misc]
    return run(futures_config(url) if venue == "topstepx" else config(url), folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
