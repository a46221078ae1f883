"""The guard of a prop-firm account: the worked examples of the protocol page, both sides of each edge."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from config.prop import prop_rules
from config.prop_settings import PropSettings
from core import prop_account, prop_size
from core.prop_account import equity, floor, roll
from core.prop_rules import must_flatten, refusal
from core.prop_values import Entry, Flatten, PropRules, PropState, Valuation
from tests.core.test_sessions import ct

D = Decimal
DAY = "2026-11-24"  # a Tuesday
NOON = ct(f"{DAY} 12:00")
MGC_STOP = Entry("MGC", D(1), stop_value=D(50), tick_value=D(1))  # 50 ticks
MGC_LOSS = D(50) + D("1.92") + 4  # with both sides' costs and four ticks of slippage


class Held(msgspec.Struct, frozen=True):
    symbol: str = "MGC"
    size: Decimal = D(1)
    entry_price: Decimal = D(4000)
    bid: Decimal | None = D("3999.9")
    ask: Decimal | None = D("4000.1")
    last: Decimal | None = D(4000)
    price_received_ms: int = NOON
    multiplier: Decimal = D(10)
    tick_size: Decimal | None = D("0.1")
    contract_id: str = "CON.F.US.MGC.Z26"


def rules(preset: str = "combine_50k", **keys: Any) -> PropRules:
    return prop_rules(msgspec.convert({"preset": preset} | keys, PropSettings))


def seen(guard: PropRules, balance: Any, now_ms: int = NOON, **changes: Any) -> PropState:
    """A state in which this day has begun with `balance` and nothing is in doubt."""
    state = roll(PropState(), guard, D(balance), now_ms)
    return msgspec.structs.replace(state, **{"highest_known": True} | changes)


def flat(in_hand: Any) -> Valuation:
    return Valuation(D(in_hand), D(0), D(0), D(0), D(0))


# --- days and the floor (page 6.2) ----------------------------------------------------------------------------------


def test_the_page_s_example_of_a_50k_combine() -> None:
    guard = rules()
    state = roll(PropState(), guard, D(50000), ct("2026-11-16 09:00"))
    assert floor(guard, state) == 48000
    for day, closing, before, after in (
        ("2026-11-16", 51200, 48000, 49200),
        ("2026-11-17", 50700, 49200, 49200),
        ("2026-11-18", 52300, 49200, 50000),
        ("2026-11-19", 60000, 50000, 50000),  # it stops at the start
    ):
        state = roll(state, guard, D(closing), ct(f"{day} 15:09"))
        assert floor(guard, state) == before  # nothing moves during the day
        state = roll(state, guard, D(closing), ct(f"{day} 17:00"))
        assert floor(guard, state) == after


@pytest.mark.parametrize(
    "preset, highest, expected",
    [
        ("combine_50k", 50000, 48000),
        ("combine_100k", 100000, 97000),
        ("combine_150k", 150000, 145500),
        ("combine_100k", 102999, 99999),
        ("combine_100k", 103000, 100000),
        ("combine_100k", 103001, 100000),
        ("xfa_50k", 0, -2000),
        ("xfa_100k", 0, -3000),
        ("xfa_150k", 0, -4500),
        ("xfa_150k", 4499, -1),
        ("xfa_150k", 4501, 0),
    ],
)
def test_floor(preset: str, highest: int, expected: int) -> None:
    assert floor(rules(preset), PropState(highest_balance=D(highest))) == expected


def test_floors_of_other_kinds() -> None:
    assert floor(rules("practice"), PropState()) is None
    assert floor(rules(max_loss_limit=None), PropState()) is None
    assert floor(rules("xfa_50k", payout_taken=True), PropState(highest_balance=D(500))) == 0
    assert floor(rules(trailing="static"), PropState(highest_balance=D(51000))) == 48000
    high = PropState(highest_balance=D(50500), equity_high=D(51000))
    assert floor(rules(), high) == 48500  # end of day: the equity in between does not count
    assert floor(rules(trailing="intraday"), high) == 49000


def test_intraday_equity_raises_the_floor_by_its_best_marks() -> None:
    guard = rules(trailing="intraday")
    state, valuation = seen(guard, 50000), equity(guard, D(50000), [Held(size=D(10))], NOON)
    assert valuation is not None
    higher = prop_account.watch_high(state, guard, valuation)
    assert higher.equity_high == 50010  # the ask
    assert prop_account.watch_high(higher, guard, valuation) is higher
    assert prop_account.watch_high(state, rules(), valuation) is state


def test_a_day_ends_at_five() -> None:
    guard = rules()
    state = seen(guard, 50000)
    state = roll(state, guard, D(50400), ct(f"{DAY} 16:59:59.999"))
    assert (state.day, state.day_start_balance, state.highest_balance) == (DAY, 50000, 50000)
    state = roll(state, guard, D(50400), ct(f"{DAY} 17:00"))
    assert (state.day, state.day_start_balance, state.highest_balance) == ("2026-11-25", 50400, 50400)
    assert state.best_day == 400


def test_an_overtaken_balance_is_dropped_and_a_wrong_clock_forgiven() -> None:
    guard = rules()
    state = seen(guard, 50000)
    assert roll(state, guard, D(1), NOON - 1) is state
    assert roll(state, guard, D(1), NOON - 59_999) is state
    assert roll(state, guard, D(49000), NOON - 60_000).balance == 49000
    assert roll(state, guard, D(49000), NOON).balance == 49000
    ahead = roll(state, guard, D(50000), ct("2026-12-24 11:00"))  # the clock was a month ahead, and is right again
    back = roll(ahead, guard, D(50000), NOON)
    assert (back.day, back.day_ends_ms, back.highest_known) == (DAY, ct(f"{DAY} 17:00"), True)


def test_a_first_start_at_noon_finds_how_the_day_began() -> None:
    guard, state = rules(), PropState()
    state = prop_account.book(state, D(-900), ct("2026-11-23 12:00"))  # yesterday's
    state = prop_account.book(state, D(-100), ct(f"{DAY} 09:00"))
    state = prop_account.book(state, D(-60), ct(f"{DAY} 10:00"))
    state = prop_account.book(state, D(-500), ct("2026-11-23 16:59"))  # told late
    state = roll(state, guard, D(49840), NOON)
    assert (state.day_start_balance, state.balance) == (50000, 49840)


@pytest.mark.parametrize(
    "away, balance, known",
    [
        ("2026-11-25 12:00", 50900, True),  # one end of day, seen through today's start
        ("2026-11-27 12:00", 50500, True),  # many, and nothing has moved
        ("2026-11-27 12:00", 50501, False),  # one of them may have been higher
        ("2026-11-25 17:00", 50501, False),
    ],
)
def test_days_that_nobody_saw(away: str, balance: int, known: bool) -> None:
    guard = rules()
    state = roll(seen(guard, 50500), guard, D(balance), ct(away))
    assert state.highest_known is known
    assert state.highest_balance == max(50500, balance)


def test_what_nobody_knows_does_not_become_known_by_waiting() -> None:
    guard = rules()
    state = roll(PropState(), guard, D(49000), NOON)
    assert not roll(state, guard, D(49000), ct(f"{DAY} 17:00")).highest_known


def test_the_highest_balance_is_known_or_told() -> None:
    assert roll(PropState(), rules(), D(50000), NOON).highest_known  # nothing has happened on this account
    unknown = roll(PropState(), rules(), D(49000), NOON)
    assert not unknown.highest_known and unknown.highest_balance == 50000
    told = rules(highest_eod_balance=51000)
    state = roll(unknown, told, D(49000), NOON)  # a restart on the same day
    assert state.highest_known and floor(told, state) == 49000
    state = roll(msgspec.structs.replace(state, highest_known=False), told, D(49000), NOON)
    assert not state.highest_known  # an old word does not count twice
    state = roll(state, rules(highest_eod_balance=50500), D(49000), NOON)
    assert state.highest_known and state.highest_balance == 51000  # and nothing lowers it


# --- what the account is worth (page 6.11) --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "held, profit",
    [
        (Held(), -1),  # at the bid
        (Held(last=D("3999.5")), -5),  # at the last trade when that is worse
        (Held(size=D(-1)), -1),  # at the ask
        (Held(size=D(-1), last=D("4000.5")), -5),
        (Held(size=D(3), bid=D("4001")), 0),
        (Held(bid=None), 0),
        (Held(last=None), -1),
        (Held(size=D(-2), entry_price=D(4010), ask=D("4000")), 200),
    ],
)
def test_marks_are_cautious(held: Held, profit: int) -> None:
    valuation = equity(rules(), D(50000), [held], NOON)
    assert valuation is not None and valuation.open_profit == profit
    assert valuation.equity == 50000 + profit
    assert valuation.in_hand == valuation.equity - abs(held.size) * (D("0.96") + 4)


def test_every_position_counts() -> None:
    mes = Held("MES", D(2), D(6000), D(5999), D("5999.25"), D(5999), multiplier=D(5), tick_size=D("0.25"))
    valuation = equity(rules(slippage_ticks=2), D(50000), [Held(), mes], NOON)
    assert valuation == Valuation(D(50000), D(-11), D("-6.5"), D("0.96") + D("1.22"), D(2) + D(5))


@pytest.mark.parametrize(
    "held, age_ms, is_known",
    [
        (Held(), 4_999, True),
        (Held(), 5_000, False),
        (Held(price_received_ms=0), 0, False),
        (Held(bid=None, last=None), 0, False),  # an ask says nothing of where a long gets out
        (Held(size=D(-1), ask=None, last=None), 0, False),
        (Held(bid=None, ask=None, last=None), 0, False),
    ],
)
def test_no_price_is_unknown_not_unchanged(held: Held, age_ms: int, is_known: bool) -> None:
    assert (equity(rules(), D(50000), [held], NOON + age_ms) is not None) is is_known
    assert (equity(rules(), D(50000), [Held(), held], NOON + age_ms) is not None) is is_known


def test_an_unknown_tick_costs_more_than_a_known_one() -> None:
    known, unknown = (equity(rules(), D(50000), [Held(tick_size=tick)], NOON) for tick in (D("0.1"), None))
    assert known is not None and unknown is not None and unknown.slippage > known.slippage


# --- limits ---------------------------------------------------------------------------------------------------------

REACHED = [
    # combine_50k: floor 48 000, daily limit at 49 000 when the day began with 50 000; buffer 200
    ({}, 50000, "49200.01", None),
    ({}, 50000, "49200", "daily_loss_limit"),
    ({"daily_loss_limit": None}, 50000, "48200.01", None),
    ({"daily_loss_limit": None}, 50000, "48200", "max_loss_limit"),
    ({}, 48900, "48200", "max_loss_limit"),
    ({"safety_buffer": 0}, 50000, "49000.01", None),
    ({"safety_buffer": 0}, 50000, "49000", "daily_loss_limit"),
    ({"own_daily_loss": 300}, 50000, "49700.01", None),
    ({"own_daily_loss": 300}, 50000, "49700", "own_daily_loss"),
    ({"own_daily_profit": 500}, 50000, "50499.99", None),
    ({"own_daily_profit": 500}, 50000, "50500", "own_daily_profit"),
]


@pytest.mark.parametrize("keys, start, in_hand, expected", REACHED)
def test_must_flatten_at_limits(keys: dict[str, Any], start: int, in_hand: str, expected: str | None) -> None:
    guard = rules(**keys)
    found = must_flatten(guard, seen(guard, start), flat(in_hand), [Held()], NOON)
    assert (found and found.name) == expected
    assert found is None or (found.symbols == ("MGC",) and found.locks)


def test_a_limit_reached_while_flat_ends_the_day_once() -> None:
    guard = rules()
    state = seen(guard, 50000)
    found = must_flatten(guard, state, flat(49100), [], NOON)
    assert found is not None and found.symbols == () and found.locks
    state = prop_account.lock(state, found, NOON)
    assert must_flatten(guard, state, flat(49100), [], NOON) is None
    again = must_flatten(guard, state, None, [Held()], NOON)  # somebody trades on by hand
    assert again == Flatten("locked", "locked for the day: daily_loss_limit", ("MGC",), locks=False)
    end = ct(f"{DAY} 17:00")
    assert prop_account.is_locked(state, end - 1) and not prop_account.is_locked(state, end)


def test_unknown_equity_leaves_only_the_clock() -> None:
    guard = rules()
    state = prop_account.moved(seen(guard, 50000), NOON + 1)
    assert must_flatten(guard, state, flat(1), [Held()], NOON) is None  # balance and position disagree
    assert must_flatten(guard, seen(guard, 50000), None, [Held()], NOON) is None
    late = must_flatten(guard, state, None, [Held()], ct(f"{DAY} 15:05"))
    assert late is not None and late.name == "flat_by"
    told = roll(state, guard, D(49000), NOON + 1)
    assert prop_account.is_settled(told)


@pytest.mark.parametrize(
    "instant, expected",
    [
        (f"{DAY} 13:14:59.999", ()),
        (f"{DAY} 13:15:00", ("ZC",)),  # the grains go first
        (f"{DAY} 15:04:59.999", ("ZC",)),
        (f"{DAY} 15:05:00", ("MGC", "ZC")),
        (f"{DAY} 16:30:00", ("MGC", "ZC")),
        ("2026-11-21 12:00:00", ("MGC", "ZC")),  # nothing is held over a weekend
        ("2026-11-22 17:00:00", ("ZC",)),
        ("2026-11-22 19:00:00", ()),
        ("2026-11-26 11:39:59.999", ("ZC",)),  # Thanksgiving
        ("2026-11-26 11:40:00", ("MGC", "ZC")),
    ],
)
def test_flat_by(instant: str, expected: tuple[str, ...]) -> None:
    guard = rules()
    found = must_flatten(guard, seen(guard, 50000), None, [Held(), Held("ZC")], ct(instant))
    assert (found.symbols if found else ()) == expected
    assert found is None or not found.locks


@pytest.mark.parametrize(
    "instant, is_late",
    [
        ("2026-11-20 17:00:00", True),  # the weekend
        ("2026-11-22 16:59:59.999", True),
        ("2026-11-22 17:00:00", False),  # it may trade at night: nobody told us
        (f"{DAY} 12:59:59.999", False),
        (f"{DAY} 13:00:00", True),
    ],
)
def test_a_product_nobody_told_us_of_must_leave_early(instant: str, is_late: bool) -> None:
    guard = rules()
    found = must_flatten(guard, seen(guard, 50000), None, [Held("CON.F.US.XYZ.Z26")], ct(instant))
    assert (found is not None) is is_late


def test_distances_in_dollars_and_ticks() -> None:
    guard = rules(own_daily_loss=500, own_daily_profit=1000)
    state = seen(guard, 50000)
    valuation = equity(guard, D(50000), [Held(size=D(3))], NOON)
    assert valuation is not None and valuation.in_hand == D("49982.12")
    found = {room.name: (room.level, room.dollars, room.ticks) for room in
             prop_account.distances(guard, state, valuation, [Held(size=D(3))])}  # fmt: skip
    assert found == {
        "max_loss_limit": (48000, D("1982.12"), 660),
        "daily_loss_limit": (49000, D("982.12"), 327),
        "own_daily_loss": (49500, D("482.12"), 160),
        "own_daily_profit": (51000, D("1017.88"), 339),
    }
    flat_rooms = prop_account.distances(guard, state, flat(50000), [], tick_value=D(1))
    assert flat_rooms[0].ticks == 2000
    assert prop_account.distances(guard, state, flat(50000), [])[0].ticks is None
    assert prop_account.distances(guard, state, None, [Held()])[0].dollars is None
    assert prop_account.distances(guard, state, flat(50000), [Held(), Held(tick_size=None)])[0].ticks is None
    assert prop_account.distances(rules("practice"), state, flat(1), []) == ()


@pytest.mark.parametrize(
    "best, needed",
    [(0, 3000), (1650, 3000), (D("1650.55"), 3001), (2200, 4000)],
)
def test_consistency_by_the_page_s_formula(best: Any, needed: int) -> None:
    guard = rules()
    state = seen(guard, 52000, best_day=D(best))
    found = prop_account.consistency(guard, state, D(52000))
    assert found is not None and (found.total, found.best_day, found.needed) == (2000, best, needed)
    at, above = (prop_account.consistency(guard, state, D(50000) + needed + more) for more in (D("0.99"), 1))
    assert at is not None and above is not None
    if best == 2200:
        assert not at.is_met and above.is_met  # a dollar to spare


def test_consistency_counts_today_and_the_days_before_the_bot() -> None:
    guard = rules(best_day_profit=2000)
    found = prop_account.consistency(guard, seen(guard, 51000), D(53500))
    assert found is not None and found.best_day == 2500
    found = prop_account.consistency(guard, seen(guard, 51000), D(51100))
    assert found is not None and found.best_day == 2000
    assert prop_account.consistency(rules("practice"), seen(guard, 1), D(1)) is None


# --- entries --------------------------------------------------------------------------------------------------------


def refused(
    guard: PropRules, in_hand: Any = 50000, entry: Entry = MGC_STOP, at: str = f"{DAY} 12:00", **changes: Any
) -> str | None:
    held, pending = changes.pop("held", []), changes.pop("pending", [])
    start = changes.pop("start", guard.start_balance)
    state = seen(guard, start, ct(at), **changes)
    return refusal(guard, state, entry, None if in_hand is None else flat(in_hand), held, ct(at), pending)


def test_an_entry_that_nothing_speaks_against() -> None:
    assert refused(rules()) is None


@pytest.mark.parametrize(
    "keys, expected",
    [
        ({"in_hand": None}, "the equity is unknown"),
        ({"balance_ms": 0, "moved_ms": 1}, "the equity is unknown"),
        ({"highest_known": False}, "highest end-of-day balance is not known"),
        ({"day": ""}, "start of the day is not known"),
        ({"day_ends_ms": NOON}, "start of the day is not known"),
        ({"locked_until_ms": NOON + 1, "lock_reason": "own_daily_loss"}, "locked until the next trading day: own_"),
        ({"locked_until_ms": NOON}, None),
        ({"entry": Entry("ES=F", D(1), D(1), D(1))}, "ES=F is not a permitted product"),
        ({"entry": Entry("SI", D(1), D(1), D(1))}, "size 1 is above 0: temporary cap of SI"),
        ({"at": f"{DAY} 14:59:59.999"}, None),
        ({"at": f"{DAY} 15:00"}, "too late in the session"),
        ({"at": f"{DAY} 15:10"}, "the session is closed"),
        ({"at": "2026-11-21 12:00"}, "the session is closed"),
        ({"at": f"{DAY} 07:24:59.999"}, None),
        ({"at": f"{DAY} 07:25"}, "news: American releases"),
        ({"at": f"{DAY} 07:35"}, "news: American releases"),
        ({"at": f"{DAY} 07:35:00.001"}, None),
        ({"at": "2028-01-04 12:00"}, "the holidays are known until 2027-12-31 only"),
        ({"in_hand": "49400.01"}, None),  # entries stop 400 above the daily limit, 200 before everything is closed
        ({"in_hand": "49400"}, "daily_loss_limit: 400.00 left"),
        ({"in_hand": "48400.01", "start": 48500}, None),
        ({"in_hand": "48400", "start": 48500}, "max_loss_limit: 400.00 left"),
    ],
)
def test_refusals(keys: dict[str, Any], expected: str | None) -> None:
    found = refused(rules(), **keys)
    assert (expected is None and found is None) or (expected is not None and found is not None and expected in found)


def test_own_limits_stop_entries_where_they_are_reached() -> None:
    guard = rules(own_daily_loss=300, own_daily_profit=500)
    assert refused(guard, "49760") is None  # one stop of room
    assert "own_daily_loss" in str(refused(guard, "49740"))  # the stop would go beyond
    assert refused(guard, "49700") == "own_daily_loss: 0.00 left"
    assert refused(guard, "50499.99") is None
    assert refused(guard, "50500") == "own_daily_profit is reached"


def test_news_for_some_products_only() -> None:
    guard = rules(news_blackouts=[{"at": "2026-11-24 12:00", "products": ["metals"], "name": "gold"}])
    assert refused(guard) == "news: gold"
    assert refused(guard, entry=Entry("MES", D(1), D(50), D("1.25"))) is None
    assert refused(guard, at=f"{DAY} 07:30") is None  # the list replaces the file's
    assert refused(rules(news_blackouts=None), at=f"{DAY} 07:30") is None


def test_the_daily_limit_can_be_switched_off() -> None:
    assert refused(rules(daily_loss_limit=None), "49300") is None


def test_a_product_list_of_the_config() -> None:
    assert refused(rules(products=["MES"])) == "MGC is not a permitted product"
    assert refused(rules(products=None)) is None


# --- how much -------------------------------------------------------------------------------------------------------


def cap(guard: PropRules, entry: Entry, held: Any = (), pending: Any = (), in_hand: Any = 1_000_000) -> Decimal:
    start = guard.start_balance
    return prop_size.size_cap(guard, seen(guard, start), entry, flat(in_hand), held, pending)


def tiny(symbol: str) -> Entry:
    """An entry whose possible loss is next to nothing: only the caps speak."""
    return Entry(symbol, D(1), D("0.01"), D(0))


@pytest.mark.parametrize(
    "preset, symbol, expected",
    [
        ("combine_50k", "ES", 5),
        ("combine_100k", "ES", 10),
        ("combine_150k", "ES", 15),
        ("combine_50k", "MES", 50),
        ("combine_150k", "MES", 150),
        ("combine_50k", "MBT", 5),  # counts like a mini
        ("combine_50k", "MET", 5),
        ("combine_50k", "SIL", 2),  # two micros each, capped at 2 for now
        ("combine_50k", "MGC", 30),
        ("combine_100k", "MGC", 60),
        ("combine_150k", "MGC", 90),
        ("combine_150k", "GC", 9),
        ("combine_150k", "PL", 0),
        ("practice", "MGC", 30),
        ("xfa_50k", "ES", 2),  # the scaling plan
        ("xfa_150k", "MES", 30),
    ],
)
def test_caps_of_the_presets(preset: str, symbol: str, expected: int) -> None:
    assert cap(rules(preset), tiny(symbol)) == expected


@pytest.mark.parametrize(
    "symbol, held, expected",
    [
        ("MES", [Held("ES", D(3))], 20),  # mixed pro rata
        ("ES", [Held("MES", D(1))], 4),  # 4.9 minis
        ("ES", [Held("MES", D(-40))], 1),  # short counts as much
        ("ES", [Held("MES", D(41))], 0),
        ("MES", [Held("MGC", D(30)), Held("NQ", D(1))], 10),
        ("MES", [Held("SIL", D(2))], 46),
        ("MES", [Held("XYZ", D(2))], 30),  # an unknown product is taken for a mini
        ("MES", [Held("MES", D(45))], 5),
        ("MES", [Held("MES", D(60))], 0),
        ("MGC", [Held("MGC", D(12))], 18),
        ("MGC", [Held("GC", D(1))], 20),  # gold is gold
        ("GC", [Held("MGC", D(11))], 1),
        ("SIL", [Held("SI", D(1))], 0),
        ("MGC", [Held("SIL", D(1))], 30),
    ],
)
def test_all_positions_of_the_account_count(symbol: str, held: list[Held], expected: int) -> None:
    assert cap(rules(), tiny(symbol), held) == expected
    waiting = [Entry(other.symbol, abs(other.size), D("0.01"), D(0)) for other in held]
    assert cap(rules(), tiny(symbol), (), waiting) == expected  # as do entries on their way


@pytest.mark.parametrize(
    "preset, balance, lots",
    [
        ("xfa_50k", "0", 2),
        ("xfa_50k", "1500", 2),  # the exact figure gets the smaller number
        ("xfa_50k", "1500.01", 3),
        ("xfa_50k", "2000", 3),
        ("xfa_50k", "2000.01", 5),
        ("xfa_100k", "1500", 3),
        ("xfa_100k", "1500.01", 4),
        ("xfa_100k", "2000", 4),
        ("xfa_100k", "2000.01", 5),
        ("xfa_100k", "3000", 5),
        ("xfa_100k", "3000.01", 10),
        ("xfa_150k", "-100", 3),
        ("xfa_150k", "2000.01", 5),
        ("xfa_150k", "3000.01", 10),
        ("xfa_150k", "4500", 10),
        ("xfa_150k", "4500.01", 15),
        ("combine_50k", "50000", 5),
    ],
)
def test_scaling_plan(preset: str, balance: str, lots: int) -> None:
    guard = rules(preset)
    state = seen(guard, balance)
    assert prop_size.position_limit(guard, state) == lots
    risen = roll(state, guard, D(balance) + 10_000, NOON)
    assert prop_size.position_limit(guard, risen) == lots  # from the next day on only


def test_scaling_by_a_payout_and_by_the_config() -> None:
    guard = rules("xfa_50k")
    assert prop_size.position_limit(guard, roll(seen(guard, 2500), guard, D(500), NOON)) == 2
    own = rules("xfa_50k", scaling=[{"above": 1000, "lots": 4}, {"above": None, "lots": 1}])  # in any order
    assert prop_size.position_limit(own, seen(own, 1000)) == 1
    assert prop_size.position_limit(own, seen(own, 1001)) == 4
    assert prop_size.position_limit(rules("xfa_50k", scaling=None), PropState()) == 5
    gap = rules("xfa_50k", scaling=[{"above": 1000, "lots": 4}])
    assert prop_size.position_limit(gap, seen(gap, 1000)) == 0
    assert prop_size.position_limit(rules(max_position=None), PropState()) is None


@pytest.mark.parametrize(
    "in_hand, expected",
    [
        (D(49200) + MGC_LOSS, 0),  # its loss would touch the buffer
        (D(49200) + MGC_LOSS + D("0.01"), 1),
        (D(49200) + 3 * MGC_LOSS, 2),
        (D(49200) + 3 * MGC_LOSS + D("0.01"), 3),
        (D(49000), 0),
        (D(40000), 0),
    ],
)
def test_the_loss_at_the_stop_leaves_every_limit_alone(in_hand: Decimal, expected: int) -> None:
    assert cap(rules(), MGC_STOP, in_hand=in_hand) == expected


def test_size_caps_of_other_kinds() -> None:
    assert cap(rules(max_order_size=2), MGC_STOP) == 2
    assert cap(rules(product_caps={"MGC": 4}), tiny("MGC")) == 4
    assert cap(rules(mini_weights={"MES": 1}), tiny("MES")) == 5
    waiting = [Entry("MES", D(2), D(100), D("1.25"))]
    assert cap(rules(), MGC_STOP, (), waiting, in_hand=49500) < cap(rules(), MGC_STOP, in_hand=49500)
    state = seen(rules(), 50000)
    assert prop_size.size_cap(rules(), state, MGC_STOP, None, []) == 0
    assert prop_size.size_cap(rules(), state, Entry("MGC", D(1), D(-9), D(1)), flat(50000), []) == 0
    free = rules("practice", max_position=None, product_caps={"MGC": 1000})
    assert prop_size.size_cap(free, state, tiny("MES"), None, []) == prop_size.FOR_EVER


def test_a_size_above_its_cap_is_refused_with_the_cap_s_words() -> None:
    thirty = msgspec.structs.replace(tiny("MGC"), size=D(30))
    assert refused(rules(), entry=thirty) is None
    assert refused(rules(), entry=msgspec.structs.replace(thirty, size=D(31))) == (
        "size 31 is above 30: temporary cap of MGC"
    )
    five = Entry("ES", D(5), D(1), D("0.1"))
    assert refused(rules(), entry=five) is None
    assert "5 mini lots" in str(refused(rules(), entry=five, held=[Held("MES", D(1))]))


def test_what_is_held_above_a_cap_is_said() -> None:
    guard, state = rules(), seen(rules(), 50000)
    assert prop_size.excess(guard, state, [Held("MES", D(50))]) is None
    assert prop_size.excess(guard, state, [Held("MES", D(51))]) == "5.1 mini lots are held, 5 are allowed"
    assert prop_size.excess(guard, state, [Held("MGC", D(-31))]) == "31 MGC are held, 30 are allowed"
    assert prop_size.excess(guard, state, [Held("XYZ", D(1))]) == "XYZ is held and not permitted"


# --- restarts -------------------------------------------------------------------------------------------------------


def test_rules_and_state_survive_the_journal() -> None:
    guard = rules("xfa_100k", holidays=[{"date": "2026-12-07", "flat_by": None, "products": ["MGC"]}])
    assert msgspec.json.decode(msgspec.json.encode(guard), type=PropRules) == guard
    state = seen(guard, "12.50", equity_high=D("99.5"), best_day=D(7), locked_until_ms=5, lock_reason="x")
    assert msgspec.json.decode(msgspec.json.encode(state), type=PropState) == state
