"""The strategy of the deterministic world: it wants something often, and always the same of the same bar. Pure."""

from collections.abc import Sequence

from core.model import Bar
from core.rules import Rules
from core.signals import Signal
from core.turn import Strategies

WORDS = (Signal.LONG, None, Signal.SHORT, None, Signal.LONG, Signal.FLAT, Signal.SHORT, None)


def signal(bars: Sequence[Bar]) -> Signal | None:
    """By the time of the bar, scrambled, so that a replay and a restart hear the same."""
    number = bars[-1].open_ms // 1_000
    return WORDS[(number * 2_654_435_761 >> 16) % len(WORDS)]


def load(rules: Rules) -> Strategies:
    """Of every market that has a strategy at all; one without is a guardian's."""
    return {symbol: signal for symbol, market in rules.markets.items() if market.strategy is not None}
