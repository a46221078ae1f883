"""A type that several threads decode for the first time at the same moment."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import sys, threading
from decimal import Decimal
import msgspec
from runtime.decoding import decode

sys.setswitchinterval(1e-6)
BODY = b'{"x":"1","inner":[{"a":"2"},{"a":"3","b":4}],"y":"text","more":{"a":"1"}}'

def ask(shape, gate, out):
    gate.wait()
    out.append(decode(BODY, shape))

for number in range(ROUNDS):
    inner = msgspec.defstruct(f"Inner{number}", [("a", Decimal), ("b", int | None, None)])
    fields = [("x", Decimal), ("inner", list[inner]), ("y", str | None, None), ("more", inner | None, None)]
    shape = msgspec.defstruct(f"Outer{number}", fields)
    gate, out = threading.Barrier(4), []
    threads = [threading.Thread(target=ask, args=(shape, gate, out)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(out) == 4 and all(found.inner[1].b == 4 for found in out)
"""


def test_threads_may_meet_a_type_together() -> None:
    """In a process of its own: what goes wrong here is a segmentation fault."""
    program = PROGRAM.replace("ROUNDS", "150")
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, f"{ended.returncode}\n{ended.stderr}"
