"""What must have come up in a run that is long enough: a suite that never reached something proves nothing about it."""

from collections import Counter

from core.messages import AnyEvent
from core.model import Purpose
from tests.fuzz.configs import KIND_WORDS
from tests.fuzz.mutate import KINDS

EVENTS = tuple(kind.__name__ for kind in AnyEvent.__args__)
ACTIONS = ("Submit", "Cancel", "Settle", "ReadOrders", "ReadAccount", "ReadBars", "PollPrices", "Note", "Stop")
OF_VENUE = {"hyperliquid": ("Arm", "Reconnect"), "topstepx": ("Modify", "Watch")}
NOTES = ("event_refused", "order_denied", "position_opened", "position_closed", "reconcile_difference", "unprotected")
FRAME_FAULTS = ("bad_number", "bad_time", "wrong_type", "not_json", "truncated", "too_deep", "not_asked_for")
ANSWERED = {
    "hyperliquid": ("account", "fills_since", "bars", "polled_prices", "submit", "cancel", "settle", "instruments"),
    "topstepx": ("account", "fills_since", "bars", "polled_prices", "submit", "cancel", "settle", "modify"),
}


def missing(what: str, venue: str, counts: Counter[str]) -> list[str]:
    """Names of what never came up. Asks for less of `decide` and `frames` where a run is short."""
    return [name for name in _wanted(what, venue) if not counts[name]]


def _wanted(what: str, venue: str) -> list[str]:
    if what == "decide":
        purposes = [purpose.value for purpose in Purpose if purpose is not Purpose.TARGET]
        return [
            *(f"event {name}" for name in EVENTS),
            *(f"action {name}" for name in (*ACTIONS, *OF_VENUE[venue])),
            *(f"order {name}" for name in purposes),
            *(f"note {name}" for name in NOTES),
            "state restored",
        ]
    if what == "configs":
        refused = [f"fault {kind}" for _, kind in KIND_WORDS]
        return ["accepted", *refused, "env accepted", "env refused", "env incomplete", "mutation known values",
                *(f"mutation {kind}" for kind in KINDS)]  # fmt: skip
    broken = [f"mutation {kind}" for kind in KINDS]
    if what == "frames":
        orders = ["order STOP", "order EXIT"] if venue == "hyperliquid" else ["order STOP"]
        return [*broken, *(f"refused {kind}" for kind in FRAME_FAULTS), "frames with events", *orders]
    names = [f"{name}: answered" for name in ANSWERED[venue]]
    return [*broken, *names, "torn", "other status", "account: VenueUnavailable", "order STOP"]
