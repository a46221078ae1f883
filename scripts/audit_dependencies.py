"""Are the pinned packages known to be unsafe? `python scripts/audit_dependencies.py [--strict]`.

First the pins themselves: each exact, hashed, none missing. Then pip-audit (of this Python, or `--pip-audit PATH`) asks
the advisory data about them. Where it is not installed or cannot reach its data, that is said in so many words:
NOT AUDITED. Exit code 0: pins in order, nothing known against them, or not audited; 1: a fault in the pins, a known
vulnerability, or not audited with --strict.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {"requirements.txt": "requirements.lock", "requirements-dev.txt": "requirements-dev.lock"}
AUDIT_S = 300
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)(?: ; (.+))?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


class Pin(NamedTuple):
    version: str
    marker: str | None
    hashes: int


def normal(name: str) -> str:
    """As package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> tuple[dict[str, Pin], list[str]]:
    """The pins by name, and what is wrong with the file."""
    pins: dict[str, Pin] = {}
    faults: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        head = line.split(" --hash")[0].strip()
        found = _PIN.fullmatch(head)
        hashes = len(_HASH.findall(line))
        if found is None or "://" in line:
            faults.append(f"not an exact version: {head[:80]}")
        elif not hashes or hashes != line.count("--hash"):
            faults.append(f"without a sha256: {head[:80]}")
        else:
            pins[normal(found[1])] = Pin(found[2], found[3], hashes)
    return pins, faults


def wanted(path: Path) -> set[str]:
    """Names in a requirements file, and in those it includes."""
    names: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            names |= wanted(path.parent / line[3:].strip())
        elif line:
            names.add(normal(re.split(r"[<>=!~;\[ ]", line)[0]))
    return names


def check_pins() -> list[str]:
    """What is wrong with the lock files; [] when they are in order."""
    faults = []
    for source, lock in LOCKS.items():
        pins, wrong = read_lock((ROOT / lock).read_text(encoding="utf-8"))
        faults += [f"{lock}: {fault}" for fault in wrong]
        faults += [f"{lock}: {name} of {source} is missing" for name in sorted(wanted(ROOT / source) - pins.keys())]
    return faults


def audit(command: list[str]) -> tuple[list[str], str | None]:
    """(known vulnerabilities, why it was not audited or None)."""
    arguments = ["-r", str(ROOT / LOCKS["requirements-dev.txt"]), "--require-hashes", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(
            [*command, *arguments, "--progress-spinner", "off"], capture_output=True, encoding="utf-8", timeout=AUDIT_S,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as e:
        return [], f"pip-audit did not run ({type(e).__name__})"
    return read_audit(done.stdout, done.stderr)


def read_audit(out: str, err: str) -> tuple[list[str], str | None]:
    try:
        rows = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (err.strip().splitlines() or ["no output"])[-1]
        return [], f"pip-audit gave no result ({last[:160]})"
    known = [f"{row['name']} {row.get('version')}: {vuln['id']}" for row in rows for vuln in row.get("vulns", ())]
    skipped = [row["name"] for row in rows if "skip_reason" in row]
    if skipped or not rows:  # it calls that a success
        return known, f"nothing is known of {len(skipped)} of {len(rows)} packages: the advisory data were not reached"
    return known, None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="audit_dependencies")
    parser.add_argument("--strict", action="store_true", help="not audited is a failure")
    parser.add_argument("--pip-audit", metavar="PATH", help="the program, where it is not in this environment")
    options = parser.parse_args(argv)
    faults = check_pins()
    for fault in faults:
        print(f"PIN FAULT  {fault}")
    if not faults:
        print("pins: exact, hashed, none missing")
    known, why = audit([options.pip_audit] if options.pip_audit else [sys.executable, "-m", "pip_audit"])
    for vulnerability in known:
        print(f"VULNERABLE  {vulnerability}")
    if why is not None:
        print(f"NOT AUDITED  {why}. Only the pins were checked.")
    elif not known:
        print("audited: nothing known against any of them")
    return 1 if faults or known or (why is not None and options.strict) else 0


if __name__ == "__main__":
    sys.exit(main())
