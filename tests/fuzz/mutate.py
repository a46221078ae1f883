"""Ways to break a message: its bytes, its values, its shape. Every kind has a name, so that it can be counted."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw


def wild(text: str) -> Raw:
    """Text that is written as it is, where a JSON value belongs."""
    return Raw(text.encode())


RAW_NUMBERS = tuple(
    wild(text)
    for text in (
        *("NaN", "Infinity", "-Infinity", "1e999999", "-1e400", "1E-400", "1e5", "0", "-0", "-1", "1e15", "1.0", "01"),
        *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" * 400, "0." + "0" * 300 + "1"),
        *("99999999999999", "100000000000000", "4102444800000", "0.1e1", "1e12", "1e-12", "2147483648", "0x10", "1_0"),
    )
)
TEXTS = (
    *("", " ", "NaN", "sNaN", "Infinity", "-Infinity", "-1", "0", "0.0", "1e5", "1E+999999", "-0", "+1", "1_000", ".5"),
    *("1" * 400, "٣", "\u2212" + "1", "1\n", "null", "true", "A", "B", "BTC\x00", "€💥", "\u202e", "a" * 3_000),
    *("9999-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "2026-08-19T25:00:00+00:00", "2026-08-19T20:51:31+99:99"),
    *("0001-01-01T00:00:00+00:00", "2026-08-19 20:51:31", "2026-08-19T20:51:31.99999999999Z", "2099-12-31T23:59:59Z"),
)
DEEP = wild("[" * 3_000 + "]" * 3_000)
DEEPER = wild('{"a":' * 3_000 + "1" + "}" * 3_000)


def simple(rng: random.Random) -> Any:
    """A small value of some type."""
    return rng.choice(SIMPLE)()


SIMPLE: tuple[Callable[[], Any], ...] = (
    *(lambda: None, lambda: True, lambda: False, list, dict, lambda: [[]], lambda: [None], lambda: {"a": 1}),
    *(lambda: "x", lambda: 1, lambda: -1, lambda: 1.5),
)


# --- places -----------------------------------------------------------------------------------------------------------


def places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key or index) below `value`."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found.append((value, key))
        places(item, found)
    return found


Place = tuple[Any, Any]
Change = Callable[[random.Random, Any, Any], Any]


def as_other(rng: random.Random, box: Any, key: Any) -> None:
    box[key] = simple(rng)


def as_null(rng: random.Random, box: Any, key: Any) -> None:
    box[key] = None


def as_number(rng: random.Random, box: Any, key: Any) -> None:
    """A text becomes the number it spells, anything else a wild number."""
    value = box[key]
    plain = isinstance(value, str) and value.replace(".", "", 1).isdigit() and value.isascii()
    box[key] = wild(value) if plain and rng.random() < 0.5 else rng.choice(RAW_NUMBERS)


def as_text(rng: random.Random, box: Any, key: Any) -> None:
    """A number becomes its spelling, anything else a wild text."""
    value = box[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    box[key] = str(value) if is_number and rng.random() < 0.5 else rng.choice(TEXTS)


def scaled(rng: random.Random, box: Any, key: Any) -> None:
    """The same kind of value, far too large, too small, or of the other sign."""
    value = box[key]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        box[key] = not value
        return
    if isinstance(value, str):
        box[key] = rng.choice(("-" + value, value + "0" * 12, "0" * 5 + value, value + ".000000001", value[:-1]))
        return
    factor = rng.choice((-1, 0, 2, 10, 1_000, 10**6, 10**12, 10**20))
    box[key] = value * factor if isinstance(value, int) or abs(factor) < 10**12 else wild(f"{value:f}e12")


def nested(rng: random.Random, box: Any, key: Any) -> None:
    box[key] = rng.choice((DEEP, DEEPER))


def removed(rng: random.Random, box: Any, key: Any) -> None:
    del box[key]


def added(rng: random.Random, box: Any, key: Any) -> None:
    if isinstance(box, dict):
        box[rng.choice(("extra", "", "€", "known", "type", "data", "channel"))] = simple(rng)
    else:
        box.insert(rng.randrange(len(box) + 1), box[key])


def renamed(rng: random.Random, box: Any, key: Any) -> None:
    if isinstance(box, dict):
        box[rng.choice((key.upper(), key + " ", key[:-1], "x"))] = box.pop(key)
    else:
        box.reverse()


def swapped(rng: random.Random, box: Any, key: Any) -> None:
    """Two values of one object or list change places."""
    other = rng.choice(list(box) if isinstance(box, dict) else range(len(box)))
    box[key], box[other] = box[other], box[key]


CHANGES: dict[str, Change] = {
    "type swapped": as_other,
    "null": as_null,
    "wild number": as_number,
    "wild text": as_text,
    "scaled": scaled,
    "deep": nested,
    "removed": removed,
    "added": added,
    "renamed": renamed,
    "swapped": swapped,
}


# --- bytes ------------------------------------------------------------------------------------------------------------


def flipped(rng: random.Random, raw: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(raw))
        raw[at] ^= 1 << rng.randrange(8)


def truncated(rng: random.Random, raw: bytearray) -> None:
    del raw[rng.randrange(len(raw)) :]


def cut(rng: random.Random, raw: bytearray) -> None:
    at = rng.randrange(len(raw))
    del raw[at : at + rng.randint(1, 8)]


def inserted(rng: random.Random, raw: bytearray) -> None:
    at = rng.randrange(len(raw) + 1)
    raw[at:at] = rng.choice(
        (b"\xff", b"\x00", b'"', b"{", b"]", b"\x1e", b"\\u0000", b"\xed\xa0\x80", b"\n", b" " * 50)
    )


def repeated(rng: random.Random, raw: bytearray) -> None:
    at = rng.randrange(len(raw))
    raw[at:at] = raw[at : at + 20]


def two(rng: random.Random, raw: bytearray) -> None:
    raw += bytes(raw)


BYTES: dict[str, Callable[[random.Random, bytearray], None]] = {
    "bytes flipped": flipped,
    "truncated": truncated,
    "bytes cut": cut,
    "bytes inserted": inserted,
    "bytes repeated": repeated,
    "two in one": two,
}
DOABLE = (*CHANGES, "doubled key")
KINDS = (*DOABLE, *BYTES)


def mutated(rng: random.Random, sound: bytes) -> tuple[bytes, list[str]]:
    """The JSON text `sound`, broken in one to three ways, and their names; one in ten times as it is."""
    if rng.random() < 0.1:
        return sound, []
    kinds: list[str] = []
    root = [msgspec.json.decode(sound)]  # so that the outermost value has a holder too
    if rng.random() < 0.75:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            kinds += _changed(rng, root)
    raw = bytearray(msgspec.json.encode(root[0]))
    if raw and (not kinds or rng.random() < 0.05):
        name = rng.choice(list(BYTES))
        BYTES[name](rng, raw)
        kinds.append(name)
    return bytes(raw), kinds


def _changed(rng: random.Random, root: list[Any]) -> list[str]:
    spots = places(root, [])
    box, key = rng.choice(spots)
    kind = rng.choice(DOABLE)
    if box is root and kind in ("removed", "added", "renamed", "swapped"):
        return []
    if kind == "deep" and rng.random() < 0.9:  # each costs as much as hundreds of others
        kind = "wild number"
    if kind != "doubled key":
        CHANGES[kind](rng, box, key)
        return [kind]
    if not isinstance(box, dict):
        return []
    holder, at = next((outer, name) for outer, name in spots if outer[name] is box)
    twice = b"{%b:%b," % (msgspec.json.encode(key), msgspec.json.encode(simple(rng)))
    holder[at] = Raw(twice + msgspec.json.encode(box)[1:])
    return [kind]
