"""Strategies: one small pure file each, found by its name in the config.

To add one, write `strategies/my_idea.py` with three things and name it in the config as `{"name": "my_idea"}`:

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        period: Annotated[int, msgspec.Meta(ge=2, le=500)] = 20     # checked before the bot connects

    def warmup(params: Params) -> int:                              # closed bars it cannot do without
        return params.period + 1

    def signal(bars: Sequence[Bar], params: Params) -> Signal | None:
        ...                                                         # called at every bar close

`bars` are closed bars, oldest first, the newest just closed: at least `warmup`, at most WINDOWS times as many.
The answer is Signal.LONG or SHORT (be in that direction from here on), FLAT (leave a position) or None (nothing new).
Risk, sizing and exits are not its business. It must be pure: the same bars give the same answer, no clock, no files,
no memory between calls, for a recorded day is played again and must come out the same. And it must be quick:
it runs on the thread that watches the exits, so stay well under a millisecond (ema_cross takes 0.1 ms at 9/21).
Parameters may be int, float, bool or text; a Params.__post_init__ that raises ValueError checks them together.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from core.model import Bar
from core.rules import StrategyRules
from core.signals import Signal

WINDOWS = 3  # times warmup: enough for an average to forget how it began, and a bounded cost


class SignalFunction(Protocol):
    def __call__(self, bars: Sequence[Bar]) -> Signal | None: ...


class Strategy(msgspec.Struct, frozen=True):
    """A strategy file, checked for what it must have."""

    name: str
    params_type: type[Any]  # a msgspec.Struct
    warmup: Callable[[Any], int]  # (params) -> closed bars needed
    signal: Callable[[Sequence[Bar], Any], Signal | None]

    def params(self, raw: Mapping[str, Any]) -> Any:
        """`raw` as the strategy's Params. Raises ValueError that says what is wrong."""
        try:
            return msgspec.convert(dict(raw), self.params_type)
        except msgspec.ValidationError as e:  # also what __post_init__ raised
            raise ValueError(str(e)) from None


def names() -> list[str]:
    """The strategies there are: the files in this folder, except those that begin with an underscore."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def find(name: str) -> Strategy:
    """The strategy of that name. Raises ValueError for one that is not there or not complete."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        advice = f', did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'there is no strategy "{name}"; there are {", ".join(names())}{advice}')
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except Exception as e:  # a user's file may fail in any way; the answer is the same
        raise ValueError(f"strategies/{name}.py cannot be loaded: {type(e).__name__}: {e}") from e
    params_type = getattr(module, "Params", None)
    if not (isinstance(params_type, type) and issubclass(params_type, msgspec.Struct)):
        raise ValueError(f"strategies/{name}.py has no class Params(msgspec.Struct)")
    for function in ("warmup", "signal"):
        if not callable(getattr(module, function, None)):
            raise ValueError(f"strategies/{name}.py has no function {function}()")
    return Strategy(name, params_type, module.warmup, module.signal)


def load_strategy(rules: StrategyRules) -> SignalFunction:
    """The function that a bar close asks: closed bars, oldest first, to a signal or None. Raises ValueError.

    It answers None until there are enough bars, and looks at a bounded number of the newest ones.
    """
    strategy = find(rules.name)
    params = strategy.params(rules.params)
    needed = strategy.warmup(params)

    def signal(bars: Sequence[Bar]) -> Signal | None:
        if len(bars) < needed:
            return None
        answer = strategy.signal(bars[-needed * WINDOWS :], params)
        if answer is not None and not isinstance(answer, Signal):
            raise TypeError(f"strategy {rules.name} answered {answer!r}, must be a Signal or None")
        return answer

    return signal


def warmup(rules: StrategyRules) -> int:
    """Closed bars the strategy needs before it can answer."""
    strategy = find(rules.name)
    return strategy.warmup(strategy.params(rules.params))


def window(rules: StrategyRules) -> int:
    """Closed bars worth reading at start: the strategy never looks back further."""
    return warmup(rules) * WINDOWS
