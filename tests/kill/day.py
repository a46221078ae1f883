"""A day of a bot that is killed again and again, and started again, until the day is over."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import msgspec

from core.state import State
from tests.kill.market import Market
from tests.kill.places import RANDOM, Place
from tests.kill.venues import KEY, WEATHERS, WEATHERS_FOR, Venue
from tests.kill.victim import Death

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0  # until a bot has begun, on a machine with much else to do
PATIENCE_S = 8.0  # so long it may then live until its place comes; after that it is killed where it is
LAST_S = 3.0  # how long the last run is left alone, in a market that stands still
STOP_S = 15.0
TRIES = 3  # a place that has not come so often is given up on this day


class Life(msgspec.Struct):
    """One process: from its start to its end. Times are of the wall clock, milliseconds."""

    number: int
    place: str  # where it was to be killed
    weather: str
    spawned_ms: int
    ended_ms: int = 0
    hit: bool = False  # it was killed there
    exit_code: int = 0
    began: State | None = None  # what it remembered, if it came so far
    death: Death | None = None


class Day:
    def __init__(self, venue: str, seed: int, wanted: list[Place | None], folder: Path) -> None:
        """`wanted`: where to kill, one after the other; None: at a random moment."""
        self.name, self.seed, self.folder = venue, seed, folder
        self.logs = folder / "logs"
        self.lives: list[Life] = []
        self._wanted = wanted
        self._random = random.Random(f"{venue}/{seed}/lives")
        self._missed: dict[str, int] = {}

    def run(self, venue: Venue) -> None:
        """All kills, then one run to the end. Raises what went wrong with the day itself."""
        (self.folder / "config.json").write_text(json.dumps(venue.config()), encoding="utf-8")
        market = Market(venue.move, f"{self.name}/{self.seed}/market", venue.set_price)
        market.start()
        waiting = deque(self._wanted)
        for _ in range(len(self._wanted)):
            place = waiting.popleft() if waiting else None
            weather = self._random.choice(WEATHERS if place is None else WEATHERS_FOR.get(place.kind, WEATHERS))
            venue.weather(weather)
            life = self._live(place, weather)
            if place is not None and not life.hit:
                self._missed[place.name] = self._missed.get(place.name, 0) + 1
                if self._missed[place.name] < TRIES:
                    waiting.insert(self._random.randint(0, len(waiting)), place)
            time.sleep(self._random.choice((0, 0, 0, 0.3, 1.5)))  # what happens to the position while nobody is there
        market.stop()
        venue.weather("fair")
        self._live_on()

    def _start(self, place: str, weather: str) -> tuple[Life, "subprocess.Popen[bytes]"]:
        number = len(self.lives) + 1
        own = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(self.folder)) | {"HYPERLIQUID_PRIVATE_KEY": KEY}
        places = ["--config", str(self.folder / "config.json"), "--logs", str(self.logs)]
        with (self.folder / "console.txt").open("ab") as console:
            life = Life(number, place, weather, now_ms())
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.kill.victim", place, str(self.folder / str(number)), "--", *places],
                cwd=ROOT, env=os.environ | own, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=console,
            )  # fmt: skip
        self.lives.append(life)
        return life, process

    def _live(self, place: Place | None, weather: str) -> Life:
        life, process = self._start(RANDOM if place is None else str(place), weather)
        rnd = self._random
        if place is None and rnd.random() < 0.3:
            time.sleep(rnd.uniform(0, 1.5))  # perhaps while it is still being put together
        else:
            self._await_begin(life, process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rnd.uniform(0, 5) if place is None else PATIENCE_S)
        process.kill()
        self._bury(life, process, STOP_S)
        return life

    def _await_begin(self, life: Life, process: "subprocess.Popen[bytes]") -> None:
        began, deadline = self.folder / f"{life.number}.began", time.monotonic() + START_S
        while not began.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)

    def _live_on(self) -> None:
        """The last one: it finds its way back, and is then asked to stop."""
        synced = self.count("account_synced")
        life, process = self._start(RANDOM, "fair")
        deadline = time.monotonic() + START_S
        while self.count("account_synced") == synced and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(LAST_S)
        process.terminate()
        self._bury(life, process, STOP_S)

    def _bury(self, life: Life, process: "subprocess.Popen[bytes]", within_s: float) -> None:
        try:
            life.exit_code = process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(within_s)
            raise AssertionError(f"life {life.number} did not end when it was asked to") from None
        life.ended_ms = now_ms()
        began, died = self.folder / f"{life.number}.began", self.folder / f"{life.number}.died"
        life.began = msgspec.json.decode(began.read_bytes(), type=State) if began.exists() else None
        if died.exists() and life.exit_code == -signal.SIGKILL:
            life.hit, life.death = True, msgspec.json.decode(died.read_bytes(), type=Death)

    def count(self, name: str) -> int:
        log = self.logs / "bot.log"
        return log.read_text(encoding="utf-8").count(f" {name} ") if log.exists() else 0


def now_ms() -> int:
    return time.time_ns() // 1_000_000
