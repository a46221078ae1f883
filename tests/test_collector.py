"""The garbage collector on a short lead: it starts when told, and still finds every circle."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from runtime import collector


class Node:
    other: "Node"


@pytest.fixture(autouse=True)
def settings_put_back() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)
    gc.collect()


def circle() -> "weakref.ref[Node]":
    """Two that hold each other, and nobody else does: reference counts alone never free them."""
    one, two = Node(), Node()
    one.other, two.other = two, one
    return weakref.ref(one)


def test_what_was_built_before_is_never_walked_again() -> None:
    dead = circle()
    collector.settle()
    assert dead() is None, "rubbish of the start is not kept for ever"
    assert gc.get_freeze_count() > 1_000
    assert gc.get_threshold()[0] == collector.SAFETY_NET


def test_it_does_not_start_by_itself_while_something_happens() -> None:
    collector.settle()
    alive = circle()
    kept = [Node() for _ in range(20_000)]  # Python's own threshold is below a thousand
    assert alive() is not None and len(kept) == 20_000
    collector.sweep()
    assert alive() is None


def test_a_circle_that_has_grown_old_is_found_in_the_end() -> None:
    collector.settle()
    one, two = Node(), Node()
    one.other, two.other = two, one
    reference = weakref.ref(one)
    for _ in range(3):  # survives into the oldest generation
        collector.sweep()
    del one, two
    collector.sweep()
    assert reference() is not None, "a quick pass leaves the oldest alone"
    collector.sweep_all()
    assert reference() is None
