"""Exit rules: both sides of each edge."""

import pytest

from core.exits import check_exit, follow, inside_liquidation, open_position, reprice, stop_level
from core.model import Side
from core.rules import Distance, ExitRules
from core.state import ExitReason
from tests.core.world import BTC, EXITS, D

RULES = ExitRules(
    stop_loss=Distance(pct=D(1)), take_profit=Distance(pct=D(2)), trailing_stop=Distance(pct=D("0.5")),
    trailing_activate=Distance(pct=D("0.5")), hold_ms_max=60_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("side", "best", "price", "age_ms", "expected"),
    [
        (Side.BUY, "50000", "49500", 0, ExitReason.STOP_LOSS),  # exactly on the stop
        (Side.BUY, "50000", "49501", 0, None),  # one tick inside it
        (Side.SELL, "50000", "50500", 0, ExitReason.STOP_LOSS),
        (Side.SELL, "50000", "50499", 0, None),
        (Side.BUY, "50000", "51000", 0, ExitReason.TAKE_PROFIT),
        (Side.BUY, "50000", "50999", 0, None),
        (Side.SELL, "50000", "49000", 0, ExitReason.TAKE_PROFIT),
        (Side.BUY, "50300", "50049", 0, ExitReason.TRAILING_STOP),  # 50300 * 0.995 = 50048.5, rounded up
        (Side.BUY, "50300", "50050", 0, None),
        (Side.BUY, "50249", "50010", 0, None),  # a tick short of activation: no trail
        (Side.BUY, "50250", "49999", 0, ExitReason.TRAILING_STOP),  # exactly activated: 49998.75, rounded up
        (Side.SELL, "49700", "49948", 0, ExitReason.TRAILING_STOP),
        (Side.SELL, "49700", "49947", 0, None),
        (Side.BUY, "50000", "50000", 59_999, None),
        (Side.BUY, "50000", "50000", 60_000, ExitReason.TIME_LIMIT),
        (Side.BUY, "50000", "49500", 60_000, ExitReason.STOP_LOSS),  # the stop outranks the clock
    ],
)
def test_check_exit(side, best, price, age_ms, expected):
    position = open_position(side, D("0.01"), D(50000), 1_000, RULES, BTC, adopted=False)
    position = follow(position, D(best), RULES, BTC)
    position = follow(position, D(price), RULES, BTC)
    assert check_exit(position, D(price), 1_000 + age_ms, RULES) is expected


def test_trail_never_loosens():
    position = open_position(Side.BUY, D(1), D(50000), 0, RULES, BTC, adopted=False)
    levels = []
    for price in ("50300", "50200", "50400", "50100", "50400"):
        position = follow(position, D(price), RULES, BTC)
        levels.append(stop_level(position))
    assert levels == sorted(levels)
    assert levels[-1] == D(50148)


def test_a_trade_that_improves_nothing_changes_nothing():
    position = follow(open_position(Side.BUY, D(1), D(50000), 0, RULES, BTC, adopted=False), D(50300), RULES, BTC)
    assert follow(position, D(50200), RULES, BTC) is position


def test_without_activation_the_trail_counts_at_once():
    rules = ExitRules(stop_loss=Distance(pct=D(1)), trailing_stop=Distance(pct=D("0.5")))
    position = open_position(Side.BUY, D(1), D(50000), 0, rules, BTC, adopted=False)
    assert stop_level(position) == D(49750)


def test_distances_in_ticks_are_steps_of_the_venue_grid():
    rules = ExitRules(stop_loss=Distance(ticks=D(100)))
    assert open_position(Side.BUY, D(1), D(50000), 0, rules, BTC, adopted=False).stop_price == D(49900)
    assert open_position(Side.BUY, D(1), D(5000), 0, rules, BTC, adopted=False).stop_price == D(4990)


def test_a_further_fill_moves_the_stop_and_keeps_the_trail():
    position = follow(open_position(Side.BUY, D(1), D(50000), 0, EXITS, BTC, adopted=False), D(50400), EXITS, BTC)
    changed = reprice(position, D(2), D(50100), EXITS, BTC)
    assert (changed.size, changed.stop_price, changed.trail_price) == (D(2), D(49599), position.trail_price)


@pytest.mark.parametrize(("side", "best", "average"), [(Side.BUY, "50300", "50100"), (Side.SELL, "49700", "49900")])
def test_a_further_fill_does_not_take_the_trail_back(side, best, average):
    """By the new average the gain is no longer enough to begin trailing; the venue's stop sits there already."""
    position = follow(open_position(side, D(1), D(50000), 0, EXITS, BTC, adopted=False), D(best), EXITS, BTC)
    assert position.trail_price is not None
    changed = reprice(position, D(2), D(average), EXITS, BTC)
    assert changed.trail_price == position.trail_price and stop_level(changed) == stop_level(position)


@pytest.mark.parametrize(
    ("side", "level", "liquidation", "expected"),
    [
        (Side.BUY, "49500", None, "49500"),
        (Side.BUY, "49500", "49000", "49500"),  # inside
        (Side.BUY, "49500", "49600", "49640"),  # beyond: a tenth of the way back to the entry
        (Side.BUY, "49500", "49490", "49541"),  # inside by a hair is beyond the tenth
        (Side.SELL, "50500", "50400", "50360"),
    ],
)
def test_a_stop_beyond_liquidation_is_brought_inside(side, level, liquidation, expected):
    position = open_position(side, D(1), D(50000), 0, EXITS, BTC, adopted=False)
    price = None if liquidation is None else D(liquidation)
    assert inside_liquidation(D(level), position, price, BTC) == D(expected)
