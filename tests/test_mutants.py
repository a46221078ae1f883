"""The runner of planted bugs, in short; `make mutants` plants them all."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.hunt import hunt
from tests.mutants.patches import PROMISES, ROOT, Mutant, PatchFault, patched, read, read_all

MUTANTS = read_all()
NEEDED = ("core", "tests/__init__.py", "tests/conftest.py", "tests/core/__init__.py", "tests/core/world.py")
ROUNDS_UP = next(mutant for mutant in MUTANTS if mutant.name == "rounding-that-exceeds-the-size")
HARMLESS = """# A comment that says something else.
# Breaks: P2
# Tests: tests/core/test_risk.py
--- a/core/risk.py
+++ b/core/risk.py
@@ -1,1 +1,1 @@
-    return level if level > 0 else None
+    return level if level > 0 else None  # out of reach
"""


def test_every_patch_fits_the_tree_and_compiles() -> None:
    faults = [fault for mutant in MUTANTS for fault in faults_of(mutant)]
    assert not faults, "\n".join(faults)


def faults_of(mutant: Mutant) -> Iterator[str]:
    try:
        texts = patched(mutant, ROOT)
    except PatchFault as e:
        yield str(e)
        return
    for path, text in texts.items():
        compile(text, path, "exec")
    for test in mutant.tests:
        if not (ROOT / test.partition("::")[0]).is_file():
            yield f"{mutant.name}: there is no {test}"


def test_every_promise_is_broken_by_some() -> None:
    assert len(MUTANTS) >= 30
    assert {promise for mutant in MUTANTS for promise in mutant.promises} == set(PROMISES)


def test_a_planted_bug_is_caught(tmp_path: Path) -> None:
    for name in (*NEEDED, "tests/core/test_risk.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name)
        else:
            shutil.copy2(ROOT / name, tmp_path / name)
    verdict = hunt(tmp_path, ROUNDS_UP, wide=False)
    assert verdict.caught_by.startswith("tests/core/test_risk.py::test_an_entry_is_no_larger_than_asked_for")


@pytest.mark.parametrize(("line", "trouble"), [
    ("    return 1 + 1", ""),  # as good as before: it survives
    ("    return return", "Interrupted: 1 error"),  # does not even start: nobody has caught it
])  # fmt: skip
def test_what_is_not_caught(tmp_path: Path, line: str, trouble: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "two.py").write_text("def two():\n    return 2\n")
    (tmp_path / "tests" / "test_two.py").write_text("import two\n\n\ndef test_two():\n    assert two.two() == 2\n")
    before = (tmp_path / "two.py").read_text()
    head = "# A change.\n# Breaks: P2\n# Tests: tests/test_two.py\n--- a/two.py\n+++ b/two.py\n@@ -2 +2 @@\n"
    text = f"{head}-    return 2\n+{line}\n"
    verdict = hunt(tmp_path, read("change", text), wide=False)
    assert verdict.caught_by == "" and trouble in verdict.trouble and bool(trouble) is bool(verdict.trouble)
    assert (tmp_path / "two.py").read_text() == before, "taken out again"


@pytest.mark.parametrize("change", [
    ("level if level > 0", "level if level > 1"),  # the line has changed since
    ("--- a/core/risk.py\n+++ b/core/risk.py", "--- a/core/gone.py\n+++ b/core/gone.py"),
    ("# Breaks: P2", "# Breaks: P13"),
    ("# Breaks: P2\n", ""),
    ("# Tests: tests/core/test_risk.py\n", ""),
    ("+    return level if level > 0 else None  # out of reach", "+    return level if level > 0 else None"),
    ("-    return level if level > 0 else None\n+    return level if level > 0 else None  # out of reach",
     "-\n+# anywhere"),
])  # fmt: skip
def test_a_patch_that_does_not_fit_is_named(change: tuple[str, str]) -> None:
    assert change[0] in HARMLESS
    with pytest.raises(PatchFault, match="harmless"):
        patched(read("harmless", HARMLESS.replace(*change)), ROOT)
