"""What Topstep itself enforces on a Combine: protocol page 6.2 and 6.3. Pure."""

from decimal import Decimal

import msgspec


class Programme(msgspec.Struct):
    """A Combine's limits and its memory of the days."""

    start: Decimal
    max_loss: Decimal
    daily_loss: Decimal | None = None
    highest: Decimal = Decimal(-1)  # end-of-day balance; -1: no day has ended yet
    day_start: Decimal = Decimal(-1)
    is_broken: bool = False

    @property
    def floor(self) -> Decimal:
        """Rises at the end of a day, never falls, stops at the starting balance."""
        return min(self.start, max(self.start, self.highest) - self.max_loss)


def breach(programme: Programme, equity: Decimal) -> str | None:
    """Which limit is touched: a touch is enough."""
    if equity <= programme.floor:
        return "maximum loss limit"
    day_start = programme.start if programme.day_start < 0 else programme.day_start
    if programme.daily_loss is not None and equity - day_start <= -programme.daily_loss:
        return "daily loss limit"
    return None


def end_of_day(programme: Programme, balance: Decimal) -> bool:
    """Close the day's books; True: a locked account may trade again (its floor holds)."""
    programme.highest = max(programme.highest, balance)
    programme.day_start = balance
    return balance > programme.floor
