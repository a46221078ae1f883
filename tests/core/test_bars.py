"""A history read over REST meets bars built from trades: neither may lose what only it knows."""

from decimal import Decimal as D

import pytest

from core.bars import load_history
from core.model import Bar
from core.state import MarketState

S = 1_000


def bar(second: int, close: str, high: str | None = None, low: str | None = None, volume: str = "1") -> Bar:
    return Bar(second * S, second * S + 999, D(close), D(high or close), D(low or close), D(close), D(volume))


def market(*closed: Bar, forming: Bar | None = None) -> MarketState:
    return MarketState("MGC", bars=closed, forming=forming)


@pytest.mark.parametrize(
    ("ours", "read", "now_s", "closed", "forming"),
    [
        # the read was answered before the trade of second 5
        (market(bar(4, "7"), forming=bar(5, "8")), (bar(3, "6"), bar(4, "7")), 5.4, [3, 4], bar(5, "8")),
        # and before second 4 had closed
        (
            market(bar(3, "6"), bar(4, "7"), forming=bar(5, "8")), (bar(2, "5"), bar(3, "6")), 5.4, [2, 3, 4],
            bar(5, "8"),
        ),
        # both know second 5: the trades are newer, the read has seen its beginning
        (
            market(forming=bar(5, "8", "8", "8", "1")), (bar(4, "7"), bar(5, "9", "9", "6", "3")), 5.4, [4],
            Bar(5_000, 5_999, D(9), D(9), D(6), D(8), D(3)),
        ),
        # a forming bar that the read knows as closed
        (market(forming=bar(3, "6")), (bar(3, "6"), bar(4, "7")), 5.4, [3, 4], None),
        (market(), (bar(3, "6"), bar(4, "7")), 5.4, [3, 4], None),
        (market(forming=bar(5, "8")), (), 5.4, [], bar(5, "8")),
    ],
)  # fmt: skip
def test_what_was_built_from_trades_stays(
    ours: MarketState, read: tuple[Bar, ...], now_s: float, closed: list[int], forming: Bar | None
) -> None:
    after, _ = load_history(ours, read, int(now_s * S), from_trades=True)
    assert [b.open_ms // S for b in after.bars] == closed and after.forming == forming


def test_the_venues_own_candles_are_the_last_word() -> None:
    after, _ = load_history(market(bar(4, "7"), forming=bar(5, "8")), (bar(3, "6"),), 5_400)
    assert [b.open_ms // S for b in after.bars] == [3] and after.forming is None
