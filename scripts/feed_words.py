"""The verdict on a feed in words."""

from collections.abc import Sequence

from scripts.feed_samples import STREAM, Listening, MarketFigures, SourceFigures


def why(word: str, sources: dict[str, SourceFigures], listening: Listening) -> str:
    """What stands behind the verdict of the stream, and what REST is worth beside it."""
    if word == "silent":
        text = "nothing current is heard" if listening.was_up else "the stream did not come up"
    elif word == "delayed":
        text = f"data come {duration(lag_ms_of(word, sources))} late"
    else:
        text = f"lag {duration(lag_ms_of(word, sources))}"
    frozen = [name for name in STREAM if sources[name].frozen]
    if frozen:
        text += f"; the venue's time in {' and '.join(frozen)} stands still"
    rest = sources["rest"]
    if rest.lag_ms is None:
        return f"{text}; REST gave no price with a time"
    if rest.verdict == "real-time":
        return f"{text}; REST real-time"
    return f"{text}; REST {rest.verdict}, {duration(rest.lag_ms.p95)}: no fallback for entries or exits"


def lag_ms_of(word: str, sources: dict[str, SourceFigures]) -> int:
    """p95 of the stream's source that has earned it this word, trades before quotes; else of any."""
    heard = [source for name in STREAM if (source := sources[name]).lag_ms is not None]
    lags = [source.lag_ms for source in sorted(heard, key=lambda source: source.verdict != word)]
    return 0 if not lags or lags[0] is None else lags[0].p95


def sentence(word: str, markets: Sequence[MarketFigures], listening: Listening) -> str:
    parts = [f"{market.symbol} {market.verdict} ({market.why})" for market in markets]
    offset_ms = listening.offset_ms
    if offset_ms is None:
        parts.append("the venue's clock could not be read, so lags are by this machine's clock alone")
    elif abs(offset_ms) > 1_000:
        side = "behind" if offset_ms > 0 else "ahead of"
        parts.append(f"this machine's clock is {duration(abs(offset_ms))} {side} the venue's, which is corrected for")
    return f"{word}: " + "; ".join(parts) if parts else f"{word}: nothing was heard"


def duration(ms: int) -> str:
    """`85 ms`, `42.0 s`, `15.0 min`, `47.0 h`."""
    size = abs(ms)
    for limit_ms, unit_ms, unit in ((10_000, 1, "ms"), (120_000, 1_000, "s"), (7_200_000, 60_000, "min")):
        if size < limit_ms:
            return f"{ms} ms" if unit_ms == 1 else f"{ms / unit_ms:.1f} {unit}"
    return f"{ms / 3_600_000:.1f} h"
