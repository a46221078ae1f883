"""The tables of `benchmarks/results.md`, from measured figures. Nothing here measures."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec

PACKAGES = ("websocket-client", "requests", "urllib3", "msgspec", "coincurve")


class Table(msgspec.Struct):
    title: str
    notes: str  # how it was measured, in a sentence or two
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = []


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    if value is None or value != value:
        return "not measured"
    return f"{value:.{digits}f}{unit}"


def verdict(ok: bool) -> str:
    return "met" if ok else "NOT met"


def markdown(table: Table) -> str:
    lines = [f"## {table.title}", "", table.notes, ""]
    lines.append("| " + " | ".join(table.head) + " |")
    lines.append("|" + "|".join("---" if i == 0 else "---:" for i in range(len(table.head))) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def text(table: Table) -> str:
    """The same for a terminal."""
    rows: Sequence[tuple[str, ...]] = [table.head, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.head))]
    lines = ["  ".join(_cell(row, i, widths[i]) for i in range(len(row))) for row in rows]
    return "\n".join([f"\n{table.title}", *(f"  {line.rstrip()}" for line in lines)])


def _cell(row: tuple[str, ...], index: int, width: int) -> str:
    return row[index].rjust(width) if index else row[index].ljust(width)


def machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [row.partition(":")[2].strip() for row in info.read_text().splitlines() if row.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def page(tables: list[Table], rivals: Sequence[str], command: str, before: str = "") -> str:
    """The whole page; of the page `before`, the parts that were not measured this time are kept as they are."""
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    stamp = f"\nMeasured on {today}{load}: `{command}`\n"
    head = [
        "# Speed and size",
        "",
        "Written by `make bench`. Every figure is as measured, beside its rivals in the same run, on one small",
        "loopback venue (`benchmarks/venue.py`, for TopstepX `benchmarks/gateway.py`) that believes every signature",
        "and token and fills every order at once.",
        "",
        f"- machine: {machine()}",
        f"- versions: {', '.join([versions(), *rivals])}",
    ]
    sections = {part.partition("\n")[0]: part for part in before.split("\n## ")[1:]}
    sections |= {table.title: markdown(table).removeprefix("## ") + stamp for table in tables}
    parts = [
        f"## {sections[title].strip()}" for title in sorted(sections, key=lambda title: int(title.partition(".")[0]))
    ]
    return "\n\n".join(["\n".join(head), *parts]) + "\n"
