"""How fast a stream may come back, and how fast it may talk."""

RECONNECT_S_MAX = 60.0


def reconnect_delay_s(failures: int, first_s: float, jitter: float) -> float:
    """Wait before the next try after `failures` (>= 1) in a row; `jitter` is random in [0, 1).

    The first wait is exact, later ones are doubled and spread by a quarter, never above a minute.
    """
    if failures <= 1:
        return min(first_s, RECONNECT_S_MAX)
    doubled_s = min(first_s * 2.0 ** min(failures - 1, 30), RECONNECT_S_MAX)
    return min(doubled_s * (0.75 + 0.5 * jitter), RECONNECT_S_MAX)


class SendBudget:
    """Token bucket over all connections of a stream: at most 500 + 20 a second, 1700 in any minute."""

    def __init__(self, burst: int = 500, per_s: float = 20.0) -> None:
        self._burst, self._per_s = float(burst), per_s
        self._tokens, self._then_s = float(burst), 0.0

    def take(self, now_s: float) -> bool:
        self._tokens = min(self._burst, self._tokens + max(0.0, now_s - self._then_s) * self._per_s)
        self._then_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
