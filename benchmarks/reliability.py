"""Run one of the attacks on the promises and keep what it said in `docs/reliability.md`.

    python -m benchmarks.reliability kill-topstepx -- python -m tests.kill --venue topstepx --kills 500

What a command prints behind its first empty line is its summary (all of it, where there is no empty line). It stands in
the page as printed, also when a promise did not hold. The exit code is the command's.
"""

import datetime
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import machine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
SECTIONS = {
    "simulate-hyperliquid": "1. Simulated days, Hyperliquid",
    "simulate-topstepx": "2. Simulated days, TopstepX",
    "faults": "3. Faults on real sockets",
    "kill-hyperliquid": "4. Kills, Hyperliquid",
    "kill-topstepx": "5. Kills, TopstepX",
    "fuzz-frames": "6. Mutated frames",
    "fuzz-answers": "7. Mutated answers",
    "fuzz-decide": "8. Arbitrary events",
    "fuzz-configs": "9. Mutated configs",
    "mutants": "10. Planted bugs",
    "soak-hyperliquid": "11. Soak, Hyperliquid",
    "soak-topstepx": "12. Soak, TopstepX",
    "audit": "13. Audit of what is installed",
}
HEAD = """# Reliability

How the promises P1 to P12 are attacked, and what came of it. Each section is what its command printed, as printed.

| to reach | where |
|---|---|
| 1,000 simulated days without a violation, each venue, in at most ten minutes on two cores | 1, 2: `make simulate SEEDS=1000` |
| every fault, on both venues, flat, holding, and with an exit in flight | 3: `make faults`; the table is `tests/faults/README.md` |
| at most 2 s without protection while the venue is reachable, at most 2 s without any price after a cut, mute streams noticed within 5 s (TopstepX 15 s), in agreement again within 30 s | 3 |
| 500 of 500 kills survived, each venue | 4, 5: `make kill N=500` |
| a million mutated frames and answers, ten thousand configs: no crash, no action from nonsense | 6 to 9: `make fuzz` |
| every planted bug caught, at least 30 | 10: `make mutants` |
| an hour at 1,000 messages a second with a disconnect a minute: memory grows by at most 2 MB, all else flat | 11, 12: `make soak HOURS=1` |

Short forms of all of it but the soak are part of `make test`.
"""  # noqa: E501


def main(argv: list[str]) -> int:
    if len(argv) < 3 or argv[0] not in SECTIONS or argv[1] != "--":
        print(f"usage: python -m benchmarks.reliability SECTION -- COMMAND ...\nsections: {', '.join(SECTIONS)}")
        return 2
    began_s = time.monotonic()
    lines, code = run(argv[2:])
    section = written(SECTIONS[argv[0]], argv[2:], lines, code, time.monotonic() - began_s)
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(section, before), encoding="utf-8")
    return code


def run(command: list[str]) -> tuple[list[str], int]:
    """What it printed, shown as it comes, and its exit code."""
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    return lines, process.returncode


def written(title: str, command: list[str], lines: list[str], code: int, took_s: float) -> str:
    summary = lines[lines.index("") + 1 :] if "" in lines else lines
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    words = " ".join([Path(command[0]).name, *command[1:]])
    end = "ended well" if code == 0 else f"ended with exit code {code}"
    stamp = f"`{words}`, {today}, {machine()}, Python {sys.version.split()[0]}; took {took_s:.0f} s and {end}."
    return "\n".join([f"## {title}", "", stamp, "", "```", *summary, "```"])


def page(section: str, before: str) -> str:
    """The whole page; the sections of the page `before` that were not run this time are kept as they are."""
    parts = {part.partition("\n")[0]: f"## {part.strip()}" for part in before.split("\n## ")[1:]}
    parts[section.partition("\n")[0].removeprefix("## ")] = section
    order = sorted(parts, key=lambda title: int(title.partition(".")[0]))
    return "\n\n".join([HEAD.strip(), *(parts[title] for title in order)]) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
