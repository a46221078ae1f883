"""What a judge says about one promise: what broke it, how much was looked at, or that it cannot be seen here."""

import msgspec

from sim.world_types import Violation


class Bounds(msgspec.Struct, frozen=True):
    """How much is asked. All in ms of time in which the bot could act, unless said otherwise."""

    naked_ms: int = 2_000  # P2
    slack_ms: int = 700  # a look at the clock (200), a round trip, a fill
    retry_ms: int = 12_000  # between two tries to leave what cannot be protected
    loose_ms: int = 6_000  # an order that would open a position may work for so long
    repair_ms: int = 6_000  # P4: until a position that was turned round is gone again
    race_ms: int = 5_000  # after a hand's or the venue's doing the bot may be at cross-purposes with it for so long
    late_ms: int = 10_000  # P4: an answer is waited for 5 s, then the order is looked for 5 s (page 2.6 of TopstepX)
    agree_ms: int = 30_000  # P7
    touch_ms: int = 4_000  # P8: from a touch to the way out
    touch_ticks: int = 6  # so far beyond a level a trade must be, before it counts as a touch for certain
    offset_ms: int = 1_500  # P1: how well the venue's clock can be known (a Date header has whole seconds)
    offset_news_ms: int = 90_000  # true time: a clock that has jumped is measured again within this


class Verdict(msgspec.Struct):
    """`not_judged` says why nothing could be seen; such a verdict is no pass."""

    name: str
    looked_at: int = 0
    not_judged: str | None = None
    violations: list[Violation] = []

    def say(self, true_ms: int, text: str) -> None:
        self.violations.append(Violation(self.name, true_ms, text))
