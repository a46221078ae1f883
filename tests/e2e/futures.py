"""The bot on the simulated TopstepX: its config, and what a test asks the venue."""

from typing import Any

from sim.topstepx_sim import TopstepxSim

MGC = "MGC"
ENTER = {"name": "enter_at", "long": 4101, "short": 4099}  # at the close of a bar of one second
EXITS = {"stop_loss_ticks": 50, "take_profit_ticks": 100}  # 5.0 and 10.0 away


def config(sim: TopstepxSim, **changes: Any) -> dict[str, Any]:
    """A guardian of MGC on the practice account, quick in everything, unless `changes` say otherwise."""
    return {
        "venue": "topstepx",
        "network": "simulator",
        "api_url": sim.url,
        "markets": [market()],
        "risk": {"max_daily_loss": None, "max_price_age_s": 10},
        "websocket": {"enabled": True, "reconnect_interval": 0.1, "max_reconnect_attempts": 3},
        "fallback": {"poll_interval": 0.2},
        "health": {"enabled": False},
        "logging": {"level": "INFO", "price_every_s": 0},
    } | changes


def market(strategy: dict[str, Any] | None = None, symbol: str = MGC, **exits: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "timeframe": "1s" if strategy else "1m",
        "strategy": strategy,
        "size": {"quantity": 2},
        "exits": EXITS | exits,
    }


def stops(sim: TopstepxSim) -> list[tuple[Any, int]]:
    """Level and size of each working stop."""
    return [(order["stopPrice"], order["size"]) for order in sim.orders() if order["type"] == 4]


def targets(sim: TopstepxSim) -> list[tuple[Any, int]]:
    return [(order["limitPrice"], order["size"]) for order in sim.orders() if order["type"] == 1]


def executed(sim: TopstepxSim) -> list[tuple[int, int]]:
    """Side (0 buy, 1 sell) and size of every half-turn, oldest first."""
    return [(row["side"], row["size"]) for row in sim.trades()]


def calls(sim: TopstepxSim, *kinds: str) -> list[str]:
    """The requests of these kinds, in the order they came."""
    return [received.kind for received in sim.received() if received.kind in kinds]
