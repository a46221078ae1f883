"""The figures of a feed as a table for people."""

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from scripts.feed_samples import STREAM, MarketFigures, Report, SourceFigures
from scripts.feed_words import duration

NAMES = {"trades": "trades", "quotes": "quotes", "rest": "REST"}


def show(console: Console, report: Report, venue: str) -> None:
    """Table, remarks, and the verdict as the last line. It fits 80 columns."""
    console.print(table_of(report, venue))
    for market in report.markets:
        for remark in remarks(market):
            console.print(f"{market.symbol}: {remark}", soft_wrap=True)
    if report.clock_offset_ms is not None:
        console.print(f"clock offset to the venue: {report.clock_offset_ms} ms")
    for trouble in report.troubles:
        console.print(f"trouble: {trouble}", soft_wrap=True, markup=False)
    style = "bold green" if report.verdict == "real-time" else "bold red"
    console.print(f"VERDICT {report.line}", style=style, soft_wrap=True, markup=False, highlight=False)


def table_of(report: Report, venue: str) -> Table:
    table = Table(title=f"{venue}, {report.seconds:.0f} s", box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for name in ("market", "source", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in ("per s", "p50", "p95", "p99", "silence"):
        table.add_column(name, justify="right", no_wrap=True)
    for market in report.markets:
        for number, (name, source) in enumerate(market.sources.items()):
            table.add_row("" if number else market.symbol, NAMES[name], *cells(source))
    return table


def cells(source: SourceFigures) -> Iterator[str]:
    lags = source.lag_ms
    yield source.verdict or ("nothing" if source.count == 0 else "unjudged")
    yield f"{source.per_s:g}"
    yield from ("", "", "") if lags is None else (duration(lags.p50), duration(lags.p95), duration(lags.p99))
    yield f"{source.silence_s:.1f} s"


def remarks(market: MarketFigures) -> Iterator[str]:
    age_s = market.bar_age_s
    if age_s is None:
        yield "no REST bar"
    else:
        yield f"newest REST bar closed {duration(int(age_s * 1000))} ago" if age_s else "newest REST bar still forms"
    gap = market.price_gap
    if gap is not None:
        yield f"stream and REST differ by {gap.median} (median), {gap.max} at most ({gap.max_pct:.3f} %)"
    for name in STREAM:
        if market.sources[name].replayed:
            yield f"{market.sources[name].replayed} old {name} came after the subscribe (a replay, not in the lags)"
        if market.sources[name].frozen:
            yield f"the venue's time in {name} stood still while they kept coming"
