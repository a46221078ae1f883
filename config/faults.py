"""Reading a JSON file and naming everything that is wrong with it, one line a fault.

Values are checked against the JSON schema that the structs of `settings.py` generate: the editor and the bot read
the same rules, and a fault can say what is allowed because the schema does.
"""

import difflib
import json
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

# A secret in the wrong place must not be echoed into a terminal or a log.
_SECRET_NAME = re.compile(r"key|secret|token|passw|mnemonic|seed", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"[0-9a-fA-F]{56,}|://[^/\s@]*@|(?:^|\W)(?:token|key|secret|password)=", re.IGNORECASE)
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "starts with a byte order mark; save it as plain UTF-8 (without BOM)",
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
}


class ConfigFault(Exception):
    """What is wrong with the configuration, one line a fault, safe to print: exit code 2."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class JsonObject(dict[str, Any]):
    """A decoded object that remembers keys written twice: JSON keeps the last one and says nothing."""

    doubled: tuple[str, ...] = ()


def read_text(path: Path) -> str:
    """The file's text. Raises ConfigFault for a file that is missing, unreadable or not UTF-8."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigFault([f"{path}: no such file"]) from None
    except IsADirectoryError:
        raise ConfigFault([f"{path}: is a directory, must be a file"]) from None
    except OSError as e:
        reason = "is a directory, must be a file" if path.is_dir() else f"cannot be read ({e.strerror})"
        raise ConfigFault([f"{path}: {reason}"]) from None
    for mark, complaint in _BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            raise ConfigFault([f"{path}: {complaint}"])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ConfigFault([f"{path}: line {line} is not UTF-8; save the file as UTF-8"]) from None


def read_json(path: Path) -> JsonObject:
    """The file's top-level object; numbers with a point are Decimal, NaN and Infinity too. Raises ConfigFault."""
    text = read_text(path)
    if not text.strip():
        raise ConfigFault([f"{path}: is empty; copy config.example.json over it"])
    try:
        value = json.loads(text, parse_float=_number, parse_constant=Decimal, object_pairs_hook=_object)
    except json.JSONDecodeError as e:
        hint = _json_hint(text, e.pos)
        raise ConfigFault([f"{path}: line {e.lineno} column {e.colno}: {e.msg}{hint}"]) from None
    except RecursionError:
        raise ConfigFault([f"{path}: nested too deeply"]) from None
    except ValueError:  # Python refuses to read integers of thousands of digits
        raise ConfigFault([f"{path}: holds a number with too many digits"]) from None
    if not isinstance(value, JsonObject):
        raise ConfigFault([f"{path}: must be an object {{...}}, not {show(value)}"])
    return value


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond what Decimal can hold
        return Decimal("NaN")


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = JsonObject(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        found.doubled = tuple(dict.fromkeys(key for key in keys if keys.count(key) > 1))
    return found


def _json_hint(text: str, at: int) -> str:
    """What most often causes a JSON error at this place, or nothing."""
    here, before = text[at:].lstrip(), text[:at].rstrip()
    if here.startswith(("//", "/*", "#")):
        return " (JSON has no comments: remove them)"
    if here.startswith(("}", "]")) and before.endswith(","):
        return " (a comma after the last entry: remove it)"
    if before.endswith(",") and here.startswith(","):
        return " (two commas)"
    if here.startswith("'"):
        return ' (use double quotes: "...")'
    if here.startswith(("True", "False", "None")):
        return " (JSON writes true, false and null)"
    return ""


def check(value: Any, schema: Schema, path: str, defs: dict[str, Schema]) -> list[str]:
    """Every way in which `value` breaks `schema`, each a line that begins with its dotted path."""
    schema = _resolve(schema, defs)
    if "anyOf" in schema and not _is_scalar_choice(schema):
        if value is None and any(option.get("type") == "null" for option in schema["anyOf"]):
            return []
        option = next(option for option in schema["anyOf"] if option.get("type") != "null")
        return check(value, _resolve(option, defs) | {"x-nullable": len(schema["anyOf"]) > 1}, path, defs)
    if schema.get("type") == "object" and isinstance(value, dict):
        return _check_object(value, schema, path, defs)
    if schema.get("type") == "array" and isinstance(value, list):
        faults = [] if len(value) >= schema.get("minItems", 0) else [f"{path}: is empty, must hold at least one entry"]
        for index, item in enumerate(value):
            faults += check(item, schema["items"], f"{path}[{index}]", defs)
        return faults
    if _is_allowed(value, schema):
        return []
    shown = "<not shown>" if schema.get("writeOnly") else show(value, path)
    near = did_you_mean(value, schema["enum"]) if isinstance(value, str) and "enum" in schema else ""
    return [f"{path} = {shown}: must be {describe(schema)}{near}"]


def _check_object(value: dict[str, Any], schema: Schema, path: str, defs: dict[str, Schema]) -> list[str]:
    prefix = f"{path}." if path else ""
    known: dict[str, Schema] = schema.get("properties", {})
    other = schema.get("additionalProperties", True)
    faults = [f"{prefix}{_safe_key(key)}: is given twice" for key in getattr(value, "doubled", ())]
    for key, item in value.items():
        if key in known:
            faults += check(item, known[key], prefix + key, defs)
        elif isinstance(other, dict):
            faults += check(item, other, prefix + _safe_key(key), defs)
        elif other is False:
            faults.append(unknown_key(prefix, key, item, known))
    for key in schema.get("required", ()):
        if key not in value:
            faults.append(f"{prefix}{key}: is missing, must be {describe(_resolve(known[key], defs))}")
    return faults


def unknown_key(prefix: str, key: str, value: Any, known: Iterable[str]) -> str:
    advice = did_you_mean(key, known)
    if not advice and _SECRET_NAME.search(key):
        advice = "; secrets belong in .env"
    return f"{prefix}{_safe_key(key)} = {show(value, key)}: unknown key{advice}"


def _safe_key(key: str) -> str:
    """In one line of ASCII, however it is spelt in the file."""
    if _SECRET_VALUE.search(key):
        return "<hidden>"
    ascii_key = key.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in ascii_key)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`, did you mean "right"?`, or nothing when no known name is close."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wrong.lower(), names, n=1, cutoff=0.6)
    return f', did you mean "{names[near[0]]}"?' if near else ""


def show(value: Any, key: str = "") -> str:
    """`value` for a fault line: short, ASCII, and never a secret."""
    text = json.dumps(value, default=_plain_number)
    if _SECRET_VALUE.search(text) or (isinstance(value, str) and _SECRET_NAME.search(key)):
        return "<hidden>"
    return text if len(text) <= 60 else text[:57] + "..."


def _plain_number(value: Decimal) -> float | str:
    return float(value)


def describe(schema: Schema) -> str:
    """What the schema allows, in words."""
    return _words(schema) + (", or null" if schema.get("x-nullable") else "")


def _words(schema: Schema) -> str:
    if "anyOf" in schema:
        options = [describe(option) for option in schema["anyOf"] if option.get("type") != "null"]
        words = " or ".join(dict.fromkeys(options))
        return words + (", or null" if any(option.get("type") == "null" for option in schema["anyOf"]) else "")
    if "enum" in schema:
        return "one of " + ", ".join(f'"{choice}"' for choice in schema["enum"])
    if "$ref" in schema or schema.get("type") == "object":
        return "an object {...}"
    match schema.get("type"):
        case "array":
            return "a list [...]"
        case "boolean":
            return "true or false"
        case "string":
            return schema.get("x-allowed", "a text")
        case "integer":
            return "a whole number" + _limits(schema)
        case "number":
            return "a number" + _limits(schema)
    return "null" if schema.get("type") == "null" else "a plain value"


def _limits(schema: Schema) -> str:
    low, above, high, below = (schema.get(k) for k in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"))
    lower = f"from {low}" if low is not None else f"above {above}" if above is not None else ""
    upper = f"to {high}" if high is not None else f"below {below}" if below is not None else ""
    joint = " and " if above is not None and below is not None else " "
    if lower and upper and above is not None and high is not None:
        upper = f"up to {high}"
    text = joint.join(part for part in (lower, upper) if part)
    return f" {text}" if text else ""


def _is_allowed(value: Any, schema: Schema) -> bool:
    if "anyOf" in schema:
        return any(_is_allowed(value, option) for option in schema["anyOf"])
    if "enum" in schema:
        return isinstance(value, str) and value in schema["enum"]
    match schema.get("type"):
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str) and re.search(schema.get("pattern", ""), value) is not None
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool) and _is_within(Decimal(value), schema)
        case "number":
            is_number = isinstance(value, int | Decimal | float) and not isinstance(value, bool)
            return is_number and _is_within(Decimal(value), schema)
    return False


def _is_within(number: Decimal, schema: Schema) -> bool:
    if not number.is_finite():
        return False
    return not (
        ("minimum" in schema and number < Decimal(str(schema["minimum"])))
        or ("maximum" in schema and number > Decimal(str(schema["maximum"])))
        or ("exclusiveMinimum" in schema and number <= Decimal(str(schema["exclusiveMinimum"])))
        or ("exclusiveMaximum" in schema and number >= Decimal(str(schema["exclusiveMaximum"])))
    )


def _resolve(schema: Schema, defs: dict[str, Schema]) -> Schema:
    while "$ref" in schema:
        schema = defs[schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def _is_scalar_choice(schema: Schema) -> bool:
    """Several plain types (a strategy's parameter), as opposed to one type or null."""
    return sum(option.get("type") != "null" for option in schema["anyOf"]) > 1
