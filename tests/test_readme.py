"""README.md names every log event, every key of the config and every prop rule, and none that is not there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.prop_settings import PropSettings
from config.settings import Settings, schema

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PARTS = ("core", "runtime", "venues", "wiring")  # a log line of the bot begins here, or in a file at the top
EVENT = re.compile(r"[a-z]+(?:_[a-z]+)*")
WORDS = re.compile(r"`([^`]+)`")


def table(head: str) -> str:
    """The rows of the table that begins with this line."""
    assert README.count(head) == 1, head
    return README.split(head)[1].split("\n\n")[0]


# --- the log --------------------------------------------------------------------------------------------------------


def names_in(node: ast.expr) -> Iterator[str]:
    """First words of the texts an event's name may come from; a name made of pieces yields none."""
    if isinstance(node, (ast.JoinedStr, ast.Call)):  # a call inside is looked at by itself
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value.split(" ")[0]
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) and not isinstance(node, ast.Compare):
            yield from names_in(child)


def name_argument(call: ast.Call) -> ast.expr | None:
    """Where a call says what it logs: `line(name, ...)`, `log.info(text, ...)`, `note(level, name, ...)`."""
    function = call.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    is_log = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "log"
    at = {"line": 0, "note": 1, "Note": 1, "say_at": 1}.get(called)
    if is_log:
        at = 1 if called == "log" else 0
    return None if at is None or len(call.args) <= at else call.args[at]


def logged() -> dict[str, str]:
    """Every event name in the code, and a place where it stands."""
    found: dict[str, str] = {}
    paths = [*ROOT.glob("*.py"), *(path for part in PARTS for path in (ROOT / part).rglob("*.py"))]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            argument = name_argument(node) if isinstance(node, ast.Call) else None
            if argument is not None:
                place = f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"  # type: ignore[attr-defined]
                found |= {name: place for name in names_in(argument) if EVENT.fullmatch(name)}
    return found


def test_every_log_event_is_in_the_table() -> None:
    told = set(WORDS.findall(table("| about | events |")))
    missing = {name: place for name, place in logged().items() if name not in told}
    assert len(told) > 100 and not missing


def test_no_log_event_of_the_table_is_gone() -> None:
    paths = [*ROOT.glob("*.py"), *(path for part in PARTS for path in (ROOT / part).rglob("*.py"))]
    source = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    pieces = set(re.findall(r"f\"\{\w+\}(_\w+)\"", source))  # f"{kind}_fired"
    for name in WORDS.findall(table("| about | events |")):
        made = any(name.endswith(piece) for piece in pieces)
        assert made or re.search(rf"\b{name}\b", source), f"{name} is logged nowhere"


# --- the config -----------------------------------------------------------------------------------------------------


def told_keys() -> set[str]:
    """Every key that stands in the first cell of a row of the section on the config."""
    section = README.split("## Configuration")[1].split("\n## ")[0]
    cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| ")]
    twins = re.findall(r"`(\w+_ticks)`", section.split("has a twin in ticks")[1].split("\n\n")[0])
    return {key for cell in cells for key in WORDS.findall(cell)} | {f"exits.{key}" for key in twins}


def keys_of(name: str, prefix: str) -> list[str]:
    return [prefix + key for key in schema()["$defs"][name]["properties"]]


CONFIG_KEYS = [
    *(key for key in Settings.__struct_encode_fields__ if key not in ("fallback", "health", "logging", "hubs")),
    *(key for key in keys_of("MarketSettings", "") if key not in ("size", "exits")),
    *keys_of("SizeSettings", "size."),
    *keys_of("ExitSettings", "exits."),
    *keys_of("RiskSettings", "risk."),
    *keys_of("WebSocketSettings", "websocket."),
    *keys_of("HubSettings", "hubs."),
    *keys_of("FallbackSettings", "fallback."),
    *keys_of("HealthSettings", "health."),
    *keys_of("LoggingSettings", "logging."),
    *(key for key in PropSettings.__struct_encode_fields__ if key != "preset"),  # that has a sentence of its own
]


@pytest.mark.parametrize("key", CONFIG_KEYS)
def test_every_key_of_the_config_is_told(key: str) -> None:
    assert key in told_keys()


def test_no_key_is_told_that_is_none() -> None:
    parts = {"key", "fallback", "health", "logging", "hubs"}
    assert told_keys() - set(CONFIG_KEYS) - parts == set()


def test_every_default_is_the_one_the_code_has() -> None:
    """Numbers and words of the third column, where the row is about one key."""
    defaults = {
        f"{part}.{key}": field.get("default")
        for part, name in [("risk", "RiskSettings"), ("websocket", "WebSocketSettings"), ("logging", "LoggingSettings")]
        for key, field in schema()["$defs"][name]["properties"].items()
    }
    checked = 0
    for row in README.split("## Configuration")[1].split("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) < 5 or cells[1].strip("`") not in defaults or not cells[3]:
            continue
        found = defaults[cells[1].strip("`")]
        shown = str(found).lower() if isinstance(found, bool) else str(found)
        assert cells[3].strip("`") in (shown, shown.removesuffix(".0")), row
        checked += 1
    assert checked > 8
