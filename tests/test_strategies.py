"""Strategies: their signals on small made-up markets, their parameters, and how a new file is found."""

import math
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from core.model import Bar
from core.rules import StrategyRules
from core.signals import Signal

LONG, SHORT, FLAT = Signal.LONG, Signal.SHORT, Signal.FLAT


def bars(closes: Sequence[float], spread: str = "0") -> list[Bar]:
    half = Decimal(spread)
    rows = [(index, Decimal(str(close))) for index, close in enumerate(closes)]
    return [Bar(i * 1000, i * 1000 + 999, c, c + half, c - half, c, Decimal(1)) for i, c in rows]


def ask(name: str, closes: Sequence[float], **params: int | float | str) -> Signal | None:
    return strategies.load_strategy(StrategyRules(name, params))(bars(closes))


@pytest.mark.parametrize(
    "closes, direction, expected",
    [
        ([10, 9, 8, 7, 12], "both", LONG),
        ([10, 9, 8, 7, 12], "long", LONG),
        ([10, 9, 8, 7, 12], "short", FLAT),
        ([10, 11, 12, 13, 8], "both", SHORT),
        ([10, 11, 12, 13, 8], "long", FLAT),
        ([10, 9, 8, 7, 12, 13], "both", None),  # crossed a bar ago: no news
        ([10, 9, 8, 7, 6], "both", None),
        ([10, 10, 10, 10, 10], "both", None),
        ([10, 10, 10, 10, 11], "both", LONG),  # from exactly equal
        ([10, 10, 10, 10, 9], "both", SHORT),
        ([10, 9, 8], "both", None),  # one bar short of warm
    ],
)
def test_ema_cross(closes: list[float], direction: str, expected: Signal | None) -> None:
    assert ask("ema_cross", closes, fast=2, slow=3, direction=direction) is expected


def test_ema_cross_touching_is_not_crossing() -> None:
    assert ask("ema_cross", [9, 12, 15, 12], fast=1, slow=3) is None  # both at 12
    assert ask("ema_cross", [15, 12, 9, 12], fast=1, slow=3) is None
    assert ask("ema_cross", [9, 12, 15, 11.9], fast=1, slow=3) is SHORT


@pytest.mark.parametrize(
    "last, direction, expected",
    [
        (12.1, "both", LONG),
        (12.0, "both", None),  # at the high is not above it
        (9.0, "both", None),
        (8.9, "both", SHORT),
        (12.1, "short", FLAT),
        (8.9, "long", FLAT),
        (12.1, "long", LONG),
    ],
)
def test_donchian_breakout(last: float, direction: str, expected: Signal | None) -> None:
    assert ask("donchian_breakout", [50, 10, 12, 9, last], period=3, direction=direction) is expected


def test_donchian_uses_highs_and_lows_not_closes() -> None:
    signal = strategies.load_strategy(StrategyRules("donchian_breakout", {"period": 3}))
    assert signal(bars([10, 10, 10, 10.5], spread="1")) is None
    assert signal(bars([10, 10, 10, 11.5], spread="1")) is LONG


@pytest.mark.parametrize(
    "closes, direction, expected",
    [
        ([10, 9, 8, 7, 6, 6.9], "both", LONG),  # fell, then back up through 30, not as far as 50
        ([10, 9, 8, 7, 6, 6.9], "short", None),
        ([10, 9, 8, 7, 6, 5], "both", None),  # still falling
        ([10, 9, 8, 7, 6, 20], "both", FLAT),  # past the middle in one go: the stretch has gone
        ([10, 11, 12, 13, 14, 13.1], "both", SHORT),
        ([10, 11, 12, 13, 14, 13.1], "long", None),
        ([10, 9, 8, 7, 6, 6.9, 9], "both", FLAT),
    ],
)
def test_rsi_reversion(closes: list[float], direction: str, expected: Signal | None) -> None:
    assert ask("rsi_reversion", closes, period=3, direction=direction) is expected


@pytest.mark.parametrize(
    "name, params, expected",
    [
        ("ema_cross", {"fast": 21, "slow": 21}, "fast = 21: must be below slow = 21"),
        ("ema_cross", {"fast": 0}, "fast"),
        ("ema_cross", {"slow": 201}, "slow"),
        ("ema_cross", {"fast": "9"}, "fast"),
        ("ema_cross", {"quick": 9}, "quick"),
        ("donchian_breakout", {"period": 1}, "period"),
        ("donchian_breakout", {"direction": "up"}, "direction"),
        ("rsi_reversion", {"oversold": 70, "overbought": 30}, "must rise in this order"),
    ],
)
def test_bad_parameters(name: str, params: dict[str, int | float | str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        strategies.find(name).params(params)


def test_misspelt_name() -> None:
    with pytest.raises(ValueError, match='did you mean "donchian_breakout"'):
        strategies.find("donchian_brakout")


SHIPPED = ["donchian_breakout", "ema_cross", "rsi_reversion"]


@given(
    name=st.sampled_from(SHIPPED),
    closes=st.lists(st.floats(0.0001, 1e6).map(lambda x: round(x, 4)), min_size=0, max_size=80),
)
def test_any_prices_give_an_answer_and_always_the_same(name: str, closes: list[float]) -> None:
    first = ask(name, closes)
    assert first in (None, LONG, SHORT, FLAT)
    assert ask(name, closes) is first


@pytest.mark.parametrize("name", SHIPPED)
def test_only_the_newest_bars_count(name: str) -> None:
    rules = StrategyRules(name)
    signal, window = strategies.load_strategy(rules), strategies.window(rules)
    assert window == strategies.warmup(rules) * strategies.WINDOWS
    wave = [100 + 10 * math.sin(i / 5) + 3 * math.sin(i / 2) for i in range(300)]
    answers = [signal(bars(wave[:end])) for end in range(window, len(wave))]
    assert answers == [signal(bars(wave[end - window : end])) for end in range(window, len(wave))]
    assert {*answers} - {None}, "a wave this big must say something"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bar_close_costs_little(name: str) -> None:
    """It runs on the thread that watches the exits. Typical: 0.03 to 0.1 ms; the bound is for busy machines."""
    signal, many = strategies.load_strategy(StrategyRules(name)), bars([100 + i % 7 for i in range(600)])
    signal(many)
    costs = []
    for _ in range(20):
        begun = time.perf_counter()
        signal(many)
        costs.append(time.perf_counter() - begun)
    assert min(costs) < 0.002


# --- a user's own file ----------------------------------------------------------------------------------------------

GOOD = """
import msgspec
from core.signals import Signal

class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    every: int = 2

def warmup(params):
    return params.every

def signal(bars, params):
    return Signal.LONG if len(bars) % params.every == 0 else None
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])
    return tmp_path


def test_a_new_file_is_found_by_its_name(folder: Path) -> None:
    (folder / "my_first_idea.py").write_text(GOOD, encoding="utf-8")
    (folder / "_helper.py").write_text("", encoding="utf-8")
    assert "my_first_idea" in strategies.names() and "_helper" not in strategies.names()
    signal = strategies.load_strategy(StrategyRules("my_first_idea", {"every": 3}))
    assert signal(bars([1, 2])) is None and signal(bars([1, 2, 3])) is LONG


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("broken_syntax", "def signal(:", r"broken_syntax.py cannot be loaded: SyntaxError"),
        ("broken_import", "import no_such_module_here", "cannot be loaded: ModuleNotFoundError"),
        (
            "no_params",
            GOOD.replace("class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True)", "class P"),
            "no class Params",
        ),
        ("no_signal", GOOD.replace("def signal", "def sign"), r"has no function signal\(\)"),
        ("no_warmup", GOOD.replace("def warmup", "def warm"), r"has no function warmup\(\)"),
    ],
)
def test_an_incomplete_file_is_named(folder: Path, name: str, text: str, expected: str) -> None:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=expected):
        strategies.find(name)


def test_an_answer_that_is_no_signal_is_a_fault(folder: Path) -> None:
    (folder / "says_text.py").write_text(GOOD.replace("Signal.LONG", '"LONG"'), encoding="utf-8")
    with pytest.raises(TypeError, match="must be a Signal or None"):
        strategies.load_strategy(StrategyRules("says_text"))(bars([1, 2]))
