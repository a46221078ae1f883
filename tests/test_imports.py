"""Imports point inward: the brain knows nobody, the shell knows the brain, only the top knows all."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VALUES = {
    *("__future__", "abc", "bisect", "collections", "contextlib", "dataclasses", "datetime", "decimal", "enum"),
    *("fractions", "functools", "heapq", "itertools", "math", "operator", "re", "statistics", "string", "types"),
    *("typing", "zoneinfo", "msgspec"),
}
NUMERIC = {"talipp", "numpy"}
VENUES = {"hyperliquid": "hyperliquid", "topstep": "topstepx"}  # beginning of a file's name: its package in venues/
OURS = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}


def imports(path: Path) -> set[str]:
    """Dotted names of everything the file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {f"{n.module or '.'}.{a.name}" for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names}


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def files(pattern: str) -> list[Path]:
    return sorted(path for path in ROOT.glob(pattern) if path.is_file())


def family(path: Path) -> str | None:
    """The venue whose own file this is."""
    if path.parent.parent == ROOT / "venues":
        return path.parent.name
    return next((venue for start, venue in VENUES.items() if path.stem.startswith(start + "_")), None)


def refuse(path: Path, found: set[str]) -> None:
    assert not found, f"{path.relative_to(ROOT).as_posix()} must not import {', '.join(sorted(found))}"


@pytest.mark.parametrize("path", files("core/**/*.py"), ids=str)
def test_core_is_pure(path: Path) -> None:
    refuse(path, tops(path) - VALUES - {"core"})


@pytest.mark.parametrize("path", files("strategies/*.py"), ids=str)
def test_strategies_are_pure(path: Path) -> None:
    loader = {"importlib", "pkgutil", "difflib"} if path.name == "__init__.py" else set()
    refuse(path, tops(path) - VALUES - NUMERIC - {"core"} - loader)


def test_the_shell_knows_only_the_brain() -> None:
    for path in files("runtime/**/*.py"):
        refuse(path, tops(path) & OURS - {"core", "runtime"})
    for path in files("config/**/*.py"):
        refuse(path, tops(path) & OURS - {"core", "strategies", "config"})


def test_venue_files_do_not_know_each_other() -> None:
    venue_files = [path for path in [*files("*.py"), *files("venues/*/*.py")] if family(path)]
    assert {family(path) for path in venue_files} == set(VENUES.values())
    for path in venue_files:
        own = {name for name in OURS if family(ROOT / f"{name}.py") == family(path)}
        refuse(path, tops(path) & OURS - own - {"core", "runtime", "venues"})
        packages = {name for name in imports(path) if name.startswith("venues.")}
        refuse(path, {name for name in packages if name.split(".")[1] != family(path)})


def test_the_parts_do_not_know_the_whole() -> None:
    """What a venue's package holds is used by its client and stream, never the other way round."""
    for path in files("venues/*/*.py"):
        refuse(path, {name for name in tops(path) if family(ROOT / f"{name}.py")})


def test_matching_is_pure() -> None:
    """sim/exchange.py and whatever of sim it uses import only core: dry run and backtest share it."""
    waiting, seen = [ROOT / "sim/exchange.py"], set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        refuse(path, tops(path) - VALUES - {"core", "sim"})
        used = {ROOT / "sim" / f"{name.split('.')[1]}.py" for name in imports(path) if name.startswith("sim.")}
        waiting += [other for other in used - seen if other.is_file()]


def test_only_the_top_starts_the_simulator() -> None:
    allowed = {"sim", "tests", "benchmarks", "trading_bot", "wiring"}
    for name in OURS - allowed:
        for path in [*files(f"{name}.py"), *files(f"{name}/**/*.py")]:
            refuse(path, tops(path) & {"sim"})


def test_the_standard_library_modules_that_act_are_not_values() -> None:
    assert not VALUES & {"time", "random", "logging", "threading", "os", "socket", "pathlib", "subprocess"}
    assert VALUES - {"msgspec"} <= set(sys.stdlib_module_names)
