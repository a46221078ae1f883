"""The files of config/topstep/: what the venue's help pages say, each with its source and the day it was read."""

from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import msgspec

from config.faults import ConfigFault
from config.prop_settings import Date, NewsSettings, Preset, Time
from core.prop_values import ScalingStep

FOLDER = Path(__file__).resolve().parent / "topstep"
T = TypeVar("T")
Size = Literal["50k", "100k", "150k"]


class DataFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    source: list[str]
    captured: str  # the day its sources were last read
    notes: list[str]


def _complete(rows: Iterable[str], choices: Any) -> None:
    missing = sorted(set(get_args(choices)) - set(rows))
    if missing:
        raise ValueError(f"no row for {', '.join(missing)}")


class PresetRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    size: Size
    start_balance: Decimal
    max_loss_limit: Decimal | None
    trailing: str
    daily_loss_limit: Decimal | None
    profit_target: Decimal | None
    consistency_pct: Decimal | None
    max_position: Decimal | None
    safety_buffer: Decimal
    entry_buffer: Decimal
    scaling: bool


class PresetsFile(DataFile, frozen=True):
    presets: dict[Preset, PresetRow]

    def __post_init__(self) -> None:
        _complete(self.presets, Preset)


class ScalingFile(DataFile, frozen=True):
    steps: dict[Size, tuple[ScalingStep, ...]]

    def __post_init__(self) -> None:
        _complete(self.steps, Size)


class ProductsFile(DataFile, frozen=True):
    groups: dict[str, list[str]]
    weights: dict[str, Decimal]
    families: dict[str, str]

    @property
    def symbols(self) -> list[str]:
        return [symbol for group in self.groups.values() for symbol in group]


class CapsFile(DataFile, frozen=True):
    caps: dict[str, dict[Size, Decimal]]

    def __post_init__(self) -> None:
        for by_size in self.caps.values():
            _complete(by_size, Size)


class HoursRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    opens: Time
    flat_by: Time
    pauses: list[tuple[Time, Time]] = []


class SessionsFile(DataFile, frozen=True):
    hours: dict[str, HoursRow]


class HolidayRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    flat_by: Time | None
    products: dict[str, Time | None] = {}


class HolidaysFile(DataFile, frozen=True):
    until: Date
    days: dict[Date, HolidayRow]


class FeesFile(DataFile, frozen=True):
    commission_mini: Decimal  # of a round turn, contained in it
    commission_micro: Decimal
    default_mini: Decimal
    default_micro: Decimal
    round_turn: dict[str, Decimal]


class NewsFile(DataFile, frozen=True):
    blackouts: list[NewsSettings]


@cache
def read(name: str, kind: type[T]) -> T:
    """A data file as typed values. Raises ConfigFault: the user may have edited it."""
    path = FOLDER / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, OSError, UnicodeError) as e:
        raise ConfigFault([f"{path}: {e}"]) from None
