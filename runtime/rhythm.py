"""How long something is usually silent, learned from its own pauses."""


class Rhythm:
    """A silence far beyond the longest recent pause is suspicious. Times are monotonic seconds.

    The longest pause fades within minutes, so that a market that wakes up is held to its new rhythm.
    """

    FACTOR = 4.0
    FADE_S = 180.0

    __slots__ = ("cap_s", "floor_s", "heard_s", "pause_s")

    def __init__(self, now_s: float, *, floor_s: float, cap_s: float, pause_s: float) -> None:
        self.floor_s, self.cap_s = floor_s, cap_s  # bounds of limit_s
        self.pause_s = pause_s  # longest recent pause; what is assumed before anything was heard
        self.heard_s = now_s

    def heard(self, now_s: float) -> None:
        pause_s = now_s - self.heard_s
        self.heard_s = now_s
        faded_s = self.pause_s * (1.0 - pause_s / self.FADE_S)
        self.pause_s = pause_s if pause_s > faded_s else faded_s

    def restart(self, now_s: float) -> None:
        """Begin to listen anew; what was learned stays."""
        self.heard_s = now_s

    @property
    def limit_s(self) -> float:
        return min(self.cap_s, max(self.floor_s, self.FACTOR * self.pause_s))

    def silent_s(self, now_s: float) -> float:
        return now_s - self.heard_s
