"""The whole bot as its own process, which kills itself at a chosen write of its journal: run by `python -m tests.kill`.

It is `python trading_bot.py` with two methods wrapped, and no memory of the requests that the run before has made. What
it remembered when it began, and what it knew when it died, is left in two notes: what the next run remembers must be
what this one knew.

    python -m tests.kill.victim PLACE NOTES -- --config FILE --logs FOLDER      PLACE "random": killed from outside
"""

import os
import signal
import sys
from pathlib import Path

import msgspec

import strategies
import trading_bot
import wiring
from core.state import State
from runtime.bot import Bot
from runtime.journal import Journal
from tests.kill.places import ACTED, AFTER, BEFORE, RANDOM, TORN, Place

HERE = Path(__file__).resolve().parent
die = os.kill


class Death(msgspec.Struct):
    """What a killed process leaves behind, in NOTES.died."""

    state: State | None  # None: it had none of its own yet
    ahead: bool  # something whole stands in the journal that it had not decided on


class Killer:
    def __init__(self, place: Place, note: Path) -> None:
        self._place, self._note = place, note
        self._left = place.number
        self._is_due = False
        self._is_alone = True  # the last events written were one, so that what is decided is all that is written
        self.bot: Bot | None = None

    def write(self, journal: Journal, lines: bytes) -> None:
        """Stands before `Journal.write`."""
        is_event = lines.startswith((b'{"event"', b'{"frame"'))
        if self._is_due:
            self._die(ahead=not (is_event or self._is_alone))
        if is_event:
            self._is_alone = lines.startswith(b'{"event"') and lines.count(b"\n") == 1
        at = self._find(lines)
        if at is None:
            genuine_write(journal, lines)
            return
        begin, end = at
        if self._place.moment == ACTED:
            self._is_due = True
            genuine_write(journal, lines)
            return
        upto = {BEFORE: begin, TORN: begin + (end - begin) // 2, AFTER: len(lines)}[self._place.moment]
        if upto:
            genuine_write(journal, lines[:upto])
        self._die(ahead=b"\n" in lines[:upto] if is_event else not self._is_alone)

    def _find(self, lines: bytes) -> tuple[int, int] | None:
        """Where the chosen line begins and ends in this write."""
        begin = 0
        while begin < len(lines):
            end = lines.index(b"\n", begin) + 1
            if self._place.is_in(lines[begin:end]):
                self._left -= 1
                if self._left == 0:
                    return begin, end
            begin = end
        return None

    def _die(self, ahead: bool) -> None:
        state = None if self.bot is None else self.bot.state
        self._note.write_bytes(msgspec.json.encode(Death(state, ahead)))
        die(os.getpid(), signal.SIGKILL)


genuine_write = Journal.write
genuine_run = Bot.run


def main(argv: list[str]) -> int:
    place, notes, _, *arguments = argv
    strategies.__path__.append(str(HERE / "strategies"))
    killer = None if place == RANDOM else Killer(Place.parse(place), Path(f"{notes}.died"))

    def run(bot: Bot, until_ms: int | None = None) -> int:
        Path(f"{notes}.began").write_bytes(msgspec.json.encode(bot.state))
        if killer is not None:
            killer.bot = bot
        return genuine_run(bot, until_ms)

    # Twenty starts a minute spend the venue's window of requests: it would enter nothing, and die flat and idle.
    wiring.remember_left = lambda client, state: None
    Bot.run = run  # type: ignore[method-assign,assignment]
    if killer is not None:
        Journal.write = lambda journal, lines: killer.write(journal, lines)  # type: ignore[method-assign,assignment]
    return trading_bot.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
