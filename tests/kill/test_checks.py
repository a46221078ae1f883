"""The judge of the kill sweep, judged: each check sees the fault it is there for."""

from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from core.model import Order, OrderStatus, OrderType, Purpose, Side
from core.state import ExitReason, MarketState, OrderRecord, Position, State
from runtime.journal import Journal
from tests.kill import checks, victim
from tests.kill.__main__ import KILLS_A_DAY, plan, share_out
from tests.kill.day import Life
from tests.kill.places import MOMENTS, WITHOUT_BRACKETS, Place, all_places
from tests.kill.venues import Moment, VenueFill, VenueOrder

LIVES = [Life(1, "random", "fair", 1_000, 5_000), Life(2, "random", "fair", 6_000, 12_000)]
STARTED = [1_500, 7_000]


def test_time_without_a_stop_is_counted_by_who_was_there() -> None:
    spans = checks.spans_of([(0, False), (4_000, True), (7_800, False)], LIVES, STARTED)
    assert (spans.alive, spans.with_start, spans.in_all) == (1_000, 1_800, 3_800)
    assert checks.spans_of([(0, False), (9_000, True)], LIVES, STARTED).alive == 3_000  # to the end of the last life
    assert checks.spans_of([(0, False)], LIVES, STARTED) == checks.Spans()


def test_bounds() -> None:
    fine = checks.Spans(alive=1_000)
    late = checks.Spans(alive=20_000)
    assert checks.check_protected(fine, fine, fine, 0) == []
    for spans in ((late, fine, fine), (fine, late, fine), (fine, fine, late)):
        assert len(checks.check_protected(*spans, 0)) == 1


def test_a_bare_time_over_an_exit_in_doubt_is_another() -> None:
    moments = [Moment(0, D(0), None, False), Moment(100, D(2), None, False), Moment(900, D(2), D(5), False)]
    bare, doubted = checks.bare_times(moments, [checks.Exit(300, 700)], 1_000)
    assert [at for at, on in bare if on] == [100, 700] and [at for at, on in doubted if on] == [300]


def fill(number: int, order_id: int, side: str, size: str) -> VenueFill:
    return VenueFill(str(number), order_id, side, D(100), D(size), D(0), D(0))


@pytest.mark.parametrize(("fills", "bad"), [
    ([fill(1, 1, "BUY", "2"), fill(2, 9, "SELL", "2")], ""),
    ([fill(1, 1, "BUY", "1"), fill(2, 1, "BUY", "1"), fill(3, 9, "SELL", "2")], ""),  # in two parts
    ([fill(1, 1, "BUY", "2"), fill(2, 2, "BUY", "2")], "P3"),  # a second entry
    ([fill(1, 1, "BUY", "4")], "P3"),
    ([fill(1, 1, "BUY", "2"), fill(2, 9, "SELL", "4")], "P4"),  # turned round
    ([fill(1, 9, "SELL", "2")], "P4"),  # opened by an exit
])  # fmt: skip
def test_only_entries_open(fills: list[VenueFill], bad: str) -> None:
    record = checks.Record(purposes={"a": Purpose.ENTRY, "b": Purpose.ENTRY, "x": Purpose.EXIT})
    orders = [VenueOrder(1, "a", None, ""), VenueOrder(2, "b", None, ""), VenueOrder(9, "x", None, "")]
    found = checks.check_only_down(fills, orders, record, D(2))
    assert bool(found) == bool(bad) and all(text.startswith(bad) for text in found)


def test_an_order_may_open_while_nobody_is_there() -> None:
    orders, record = [VenueOrder(9, "x", None, "")], checks.Record(purposes={"x": Purpose.TARGET})
    assert checks.check_only_down([fill(1, 9, "BUY", "2")], orders, record, D(2), {"1"}) == []
    assert len(checks.check_only_down([fill(1, 9, "BUY", "2")], orders, record, D(2), {"2"})) == 1
    record.started_ms = [1_500]
    assert checks.is_attended(12_000, [Life(1, "random", "fair", 1_000, 20_000)], record)
    assert not checks.is_attended(2_000, [Life(1, "random", "fair", 1_000, 20_000)], record)
    assert not checks.is_attended(21_000, [Life(1, "random", "fair", 1_000, 20_000)], record)


def test_a_stop_that_loosens_is_seen() -> None:
    def moments(*levels: str | None) -> list[Moment]:
        return [Moment(i, D(-2), None if level is None else D(level), False) for i, level in enumerate(levels)]

    assert checks.check_trail(moments("105", "104", None, "104", "103")) == ([], 2)
    assert len(checks.check_trail(moments("105", "104", None, "105"))[0]) == 1
    flat = Moment(9, D(0), None, False)
    assert checks.check_trail([*moments("104"), flat, *moments("105")]) == ([], 0)  # another position


POSITION = Position(Side.BUY, D(2), D(100), 1_000, D(110), D(95), None, D(104))
ORDER = Order("0x1", "MGC", Side.SELL, D(2), OrderType.STOP, D(95))
DIED = State(markets={"MGC": MarketState("MGC", position=POSITION, orders={
    "0x1-SL": OrderRecord(ORDER.__class__("0x1-SL", "MGC", Side.SELL, D(2), OrderType.STOP, D(95)), Purpose.STOP,
                          OrderStatus.ACCEPTED, 1_000, "bracket"),
})}, fill_ids={"7": 1}, day_realized=D(5))  # fmt: skip


def test_what_is_forgotten_is_seen() -> None:
    def found(ahead: bool = False, **changes: object) -> list[str]:
        market = msgspec.structs.replace(DIED.markets["MGC"], **changes)
        return checks.differences(DIED, msgspec.structs.replace(DIED, markets={"MGC": market}), {"0x1"}, ahead)

    assert found() == []
    assert "orders forgotten" in found(orders={})[0]
    assert "position" in found(position=None)[0]
    assert "to be kept" in found(exit_reason=ExitReason.UNPROTECTED)[0]
    loosened = msgspec.structs.replace(POSITION, trail_price=D(103))
    assert "trail" in found(ahead=True, position=loosened)[0]
    assert found(ahead=True, position=None) == []  # it may have been told so
    assert checks.differences(DIED, msgspec.structs.replace(DIED, fill_ids={}), set(), True)
    assert checks.differences(DIED, msgspec.structs.replace(DIED, day_realized=D(4)), set(), False)


# --- the knife ------------------------------------------------------------------------------------------------------

LINES = b'{"event":{"type":"Tick"}}\n{"event":{"type":"AccountSnapshot","x":1}}\n'
NEXT = b'{"event":{"type":"Tick"}}\n'


class Killed(Exception):
    pass


@pytest.mark.parametrize(("moment", "written"), [
    ("before", LINES[:26]), ("torn", LINES[: 26 + 21]), ("after", LINES), ("acted", LINES),
])  # fmt: skip
def test_it_dies_where_it_was_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, written: bytes
) -> None:
    out: list[bytes] = []

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(victim, "die", die)
    monkeypatch.setattr(victim, "genuine_write", lambda journal, lines: out.append(lines))
    killer = victim.Killer(Place("account", moment), tmp_path / "1.died")
    journal = Journal(tmp_path, "abc", 1)
    killer.write(journal, NEXT)
    with pytest.raises(Killed):
        killer.write(journal, LINES)
        killer.write(journal, NEXT)
    assert b"".join(out[1:]) == written
    death = msgspec.json.decode((tmp_path / "1.died").read_bytes(), type=victim.Death)
    assert death.ahead is (moment != "acted")


def test_the_plan_has_every_place() -> None:
    for venue in ("hyperliquid", "topstepx"):
        wanted = plan(venue, 500, 3)
        days = share_out(wanted)
        assert sum(map(len, days)) == 500 and max(map(len, days)) == KILLS_A_DAY
        named = [place for day in days for place in day if place is not None]
        for place in all_places(venue):
            assert sum(place.name == p.name for p in named) >= 3
        assert 500 - len(named) >= 50
        bare = {p.kind for day in days[::2] for p in day if p is not None} & WITHOUT_BRACKETS
        assert not bare or venue == "hyperliquid"
    assert {place.moment for place in all_places("topstepx")} == set(MOMENTS)
