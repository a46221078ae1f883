"""The venue's stop and the bot's exit in the same moment, at a gateway where both execute whatever is held."""

import pytest

from core.messages import Cancel, FlattenRequested, Submit
from core.model import Purpose
from tests.core.gateway import TICK
from tests.core.test_oco_properties import TICK_MS, World, check_settled


def open_world(brackets: bool) -> World:
    """A long of two, protected; the price stands where it was entered."""
    world = World(brackets=brackets)
    for _ in range(8):
        world.bar(0)
        world.flush(0)
        if world.venue.position:
            break
    for _ in range(3):
        world.pass_time(TICK_MS)
        world.flush(0)
    assert world.venue.position == 2 and world.market.stops and len(world.venue.working()) == 2
    return world


def wants(world: World, kind: type) -> int:
    """How many requests of a kind are on their way."""
    return sum(isinstance(action, kind) for action in world.requests)


def closing(world: World) -> bool:
    return any(isinstance(a, Submit) and a.purpose is Purpose.EXIT for a in world.requests)


@pytest.mark.parametrize("brackets", [True, False])
@pytest.mark.parametrize("served", range(6))
def test_the_stop_fires_somewhere_between_the_steps_of_an_exit(served: int, brackets: bool) -> None:
    """After each step of cancel, cancel, read, close: never more than one of the two executes."""
    world = open_world(brackets)
    world.feed(FlattenRequested(received_ms=world.now_ms))
    assert wants(world, Cancel) == 2 and not closing(world)
    for _ in range(served):
        world.serve(0)
        while world.mail:
            world.deliver(0)
    world.venue.move(world.venue.price - 41 * TICK, world.now_ms)
    world.collect()
    world.tell_price()
    world.flush(0)
    for _ in range(5):
        world.pass_time(TICK_MS)
        world.flush(0)
    assert world.venue.position == 0 and not world.venue.turned
    assert not [order for order in world.venue.working() if order.tag is not None]
    check_settled(world)


@pytest.mark.parametrize("brackets", [True, False])
def test_what_turns_round_all_the_same_is_closed_within_two_seconds(brackets: bool) -> None:
    """The venue is deaf to cancels for more than a second; the close goes out, and then the stop fires too."""
    world = open_world(brackets)
    world.feed(FlattenRequested(received_ms=world.now_ms))
    while not closing(world):
        world.pass_time(TICK_MS)
    assert world.notes >= {"exit_unconfirmed"}
    index = next(i for i, a in enumerate(world.requests) if isinstance(a, Submit))
    world.serve(index)
    world.venue.move(world.venue.price - 41 * TICK, world.now_ms)
    world.collect()
    assert world.venue.position == -2 and world.venue.turned == 1
    turned_ms = world.now_ms
    while world.venue.position != 0:
        world.flush(0)
        world.pass_time(TICK_MS)
        assert world.now_ms - turned_ms <= 2_000
    assert "position_flipped" in world.notes
    check_settled(world)


@pytest.mark.parametrize("brackets", [True, False])
@pytest.mark.parametrize("ticks", [-41, 81])
def test_whichever_fires_takes_the_other_with_it(ticks: int, brackets: bool) -> None:
    world = open_world(brackets)
    world.venue.move(world.venue.price + ticks * TICK, world.now_ms)
    world.collect()
    world.flush(0)
    assert world.venue.position == 0 and not world.venue.working()
    world.venue.move(world.venue.price - ticks * 3 * TICK, world.now_ms)
    assert world.venue.position == 0
    check_settled(world)
