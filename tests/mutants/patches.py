"""Planted bugs as files: read, checked, put into a copy of the tree, taken out again."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
PROMISES = tuple(f"P{number}" for number in range(1, 13))
_HUNK = re.compile(r"@@ -\d+(,\d+)? \+\d+(,\d+)? @@")


class PatchFault(Exception):
    """A patch that says nothing, or no longer fits the tree. The text names it."""


class Hunk(msgspec.Struct, frozen=True):
    """Whole lines of one file, as they are and as the mistake has them."""

    path: str  # relative to the root
    before: str
    after: str


class Mutant(msgspec.Struct, frozen=True):
    name: str
    mistake: str
    promises: tuple[str, ...]
    tests: tuple[str, ...]  # for pytest, relative to the root
    hunks: tuple[Hunk, ...]


def read_all(folder: Path = FOLDER) -> list[Mutant]:
    """Every patch, by name. Raises PatchFault."""
    return [read(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.patch"))]


def read(name: str, text: str) -> Mutant:
    """Raises PatchFault."""
    head, _, _ = text.partition("\n--- ")
    notes = [line.removeprefix("#").strip() for line in head.splitlines()]
    fields = {key: value.split() for key, _, value in (note.partition(": ") for note in notes)}
    promises, tests = tuple(fields.get("Breaks", ())), tuple(fields.get("Tests", ()))
    mistake = " ".join(note for note in notes if not note.startswith(("Breaks: ", "Tests: ")))
    hunks = tuple(_hunks(name, text[len(head) :].splitlines()))
    if not (mistake and tests and hunks and promises and set(promises) <= set(PROMISES)):
        raise PatchFault(f"{name}: needs a sentence, 'Breaks: P..', 'Tests: ...' and a change")
    return Mutant(name, mistake, promises, tests, hunks)


def _hunks(name: str, lines: list[str]) -> Iterator[Hunk]:
    path, before, after = "", [], []
    for line in [*lines, "@@ -0 +0 @@"]:
        if _HUNK.match(line) or line.startswith("--- a/"):
            if before != after:
                yield Hunk(path, "".join(before), "".join(after))
            before, after = [], []
        if line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/")
        elif line[:1] in (" ", "-", "+") and not line.startswith(("--- a/", "+++ b/")):
            if line[0] != "+":
                before.append(line[1:] + "\n")
            if line[0] != "-":
                after.append(line[1:] + "\n")
        elif line == "":
            before.append("\n")  # an editor has cut the space of an empty line
            after.append("\n")


def patched(mutant: Mutant, root: Path) -> dict[str, str]:
    """The changed files of the tree under `root`, by path. Raises PatchFault where lines are missing or ambiguous."""
    texts: dict[str, str] = {}
    for hunk in mutant.hunks:
        path = root / hunk.path
        if not path.is_file():
            raise PatchFault(f"{mutant.name}: there is no {hunk.path}")
        text = texts.get(hunk.path) or "\n" + path.read_text(encoding="utf-8")
        count = text.count("\n" + hunk.before)
        if count != 1:
            raise PatchFault(f"{mutant.name}: its lines stand {count} times in {hunk.path}:\n{hunk.before}")
        texts[hunk.path] = text.replace("\n" + hunk.before, "\n" + hunk.after)
    return {path: text[1:] for path, text in texts.items()}


class Planted:
    """A mutant inside a copy of the tree, as long as the context lasts."""

    _moment = 0  # compiled files are told apart by the source's time in whole seconds, and by its length

    def __init__(self, mutant: Mutant, copy: Path) -> None:
        self._texts, self._copy = patched(mutant, copy), copy
        self._originals: dict[str, str] = {}

    def __enter__(self) -> None:
        for path, text in self._texts.items():
            self._originals[path] = (self._copy / path).read_text(encoding="utf-8")
            self._write(path, text)

    def __exit__(self, *_: object) -> None:
        for path, text in self._originals.items():
            self._write(path, text)

    def _write(self, path: str, text: str) -> None:
        target = self._copy / path
        target.write_text(text, encoding="utf-8")
        Planted._moment += 1
        second = int(target.stat().st_mtime) + Planted._moment
        os.utime(target, (second, second))
