"""Scratch space for one event: the state as it changes, and the actions as they come. Gone when `decide` returns."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from msgspec.structs import replace

from core.messages import Action, AnyAction, Note
from core.model import Bar
from core.rules import MarketRules, Rules
from core.signals import Signal
from core.state import MarketState, State


class StrategyFunction(Protocol):
    def __call__(self, bars: Sequence[Bar]) -> Signal | None: ...


NONCE_AHEAD_MS_MAX = 60_000


def shown_as(value: object) -> str:
    """Decimals without the zeros that depend on who sent them: 50455.0 and 50455 are one level."""
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


def note(level: str, name: str, text: str = "", notify: bool = False, **fields: object) -> Note:
    """One log line; a field that is None is left out."""
    shown = {key: shown_as(value) for key, value in fields.items() if value is not None}
    return Note(level, name, shown, text, notify)


Strategies = Mapping[str, StrategyFunction]  # by symbol; a market without one is guarded only


class Turn:
    __slots__ = ("actions", "now_ms", "rules", "state", "strategies")

    def __init__(self, state: State, rules: Rules, strategies: Strategies, now_ms: int) -> None:
        self.state = state
        self.rules = rules
        self.strategies = strategies
        self.now_ms = now_ms
        self.actions: list[AnyAction] = []

    @property
    def venue_now_ms(self) -> int:
        return self.now_ms + self.state.offset_ms

    def market(self, symbol: str) -> MarketState:
        return self.state.markets[symbol]

    def market_rules(self, symbol: str) -> MarketRules:
        return self.rules.markets[symbol]

    def put(self, market: MarketState) -> MarketState:
        self.state = replace(self.state, markets={**self.state.markets, market.symbol: market})
        return market

    def change(self, symbol: str, **changes: Any) -> MarketState:
        return self.put(replace(self.state.markets[symbol], **changes))

    def dirty(self, symbol: str, **changes: Any) -> MarketState:
        """Change a market in a way that reads asked for before now cannot know of."""
        before = self.state.markets[symbol]
        return self.change(symbol, dirty_ms=max(before.dirty_ms, self.now_ms), confirmed=False, **changes)

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def act(self, action: Action) -> None:
        self.actions.append(action)  # type: ignore[arg-type]  # every Action class is in AnyAction

    def note(self, level: str, name: str, text: str = "", notify: bool = False, **fields: object) -> None:
        """One log line; a field that is None is left out."""
        self.actions.append(note(level, name, text, notify, **fields))

    def next_client_id(self) -> str:
        """Unique for ever: the run's 64 random bits, then a counter."""
        number = self.state.last_id + 1
        self.set(last_id=number)
        return f"0x{self.state.run_id:016x}{number:016x}"

    def next_nonce(self) -> int:
        """Milliseconds by the venue's clock, never the same twice (page 5).

        They rise, unless the last ones came from a clock that was ahead: those would be refused as too high for days.
        """
        last = self.state.last_nonce
        if last > self.venue_now_ms + NONCE_AHEAD_MS_MAX:
            last = 0
        nonce = max(self.venue_now_ms, last + 1)
        self.set(last_nonce=nonce)
        return nonce
