"""From a config to what the venue can do, and which stream brings what."""

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from config.rules import market_rules
from config.settings import Settings
from core.model import Instrument
from core.rules import Rules

MGC = Instrument("MGC", 0, D(1), tick_size=D("0.1"), multiplier=D(10), has_margin=False, contract_id="C")


def rules(**changes: Any) -> Rules:
    raw = {
        "venue": "topstepx",
        "network": "live",
        "account": "PRAC-1",
        "dry_run": False,
        "markets": [{"symbol": "MGC", "strategy": None, "exits": {"stop_loss_ticks": 40}}],
        "risk": {"max_daily_loss": None},
        "websocket": {"enabled": True},
    } | changes
    return market_rules(msgspec.convert(raw, Settings), {"MGC": MGC})


@pytest.mark.parametrize(
    ("changes", "streams", "bars_from_trades"),
    [
        ({}, (True, "topstepx-market", "topstepx-user"), True),
        ({"hubs": {"user": False}}, (True, "topstepx-market", None), True),
        ({"hubs": {"market": False}}, (True, None, "topstepx-user"), False),
        ({"hubs": {"market": False, "user": False}}, (False, None, None), False),
        ({"websocket": None}, (False, None, None), False),
        ({"websocket": {"enabled": False}}, (False, None, None), False),
        ({"dry_run": True}, (True, "topstepx-market", "topstepx-market"), True),  # its fills are made here
        ({"dry_run": True, "hubs": {"market": False}}, (False, None, None), False),
    ],
)
def test_which_stream_brings_what(changes: dict[str, Any], streams: tuple[Any, ...], bars_from_trades: bool) -> None:
    made = rules(**changes)
    assert (made.use_stream, made.price_stream, made.fill_stream) == streams
    assert made.markets["MGC"].bars_from_trades is bars_from_trades


def test_what_the_venue_can_do() -> None:
    assert (rules().can_reduce_only, rules().position_stops, rules().entry_brackets) == (False, False, True)
    assert rules(brackets="own").entry_brackets is False
    paper = rules(dry_run=True)  # matched here, where a stop may be reduce-only
    assert (paper.can_reduce_only, paper.position_stops, paper.entry_brackets) == (True, True, False)
    assert rules().prop is None
    guarded = rules(prop_rules={"preset": "combine_50k"}).prop
    assert guarded is not None and guarded.max_loss_limit == 2000
