"""Each judge with a day that keeps its promise and with days that break it; no bot and no venue, only the record."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.messages import AccountSnapshot, Cancel, CoreFault, Note, Started, Stop, Submit, Tick
from core.model import Order, OrderStatus, OrderType, Purpose, Side, Trade
from core.state import State
from runtime import journal
from runtime.warm_http import Answer
from sim.invariants import CHECKERS, JUDGES, check, verdicts
from sim.world_read import Times
from sim.world_types import Ending, Exchange, Health, LogLine, Span, Tape, VenueFill, VenueOrder, Violation, Written
from tests.core.gateway import MGC, RULES

D = Decimal
T0 = 1_790_000_000_000
RUN = 7
ENTRY, EXIT, STOP = (f"0x{RUN:016x}{number:016x}" for number in (1, 2, 3))


def ours(client_id: str, side: Side = Side.BUY, size: int = 2) -> Order:
    return Order(client_id, "MGC", side, D(size), OrderType.MARKET, D(4100))


class Day:
    """A tape in the making; `at` are ms since the beginning of the day."""

    def __init__(self) -> None:
        self.tape = Tape("topstepx", 1, RULES, T0, T0 + 100_000)
        self.tape.spans.append(Span("bot_up", T0, None, "1"))
        self.held = D(0)
        self.stops = 0
        self.length = 0

    def span(self, kind: str, begin: int, end: int) -> "Day":
        self.tape.spans.append(Span(kind, T0 + begin, T0 + end))
        return self

    # --- the venue ----------------------------------------------------------------------------------------------------

    def fill(
        self, at: int, client_id: str | None, side: Side, size: int, by: str = "bot", price: str = "4100"
    ) -> "Day":
        number = len(self.tape.fills) + 1
        row = VenueFill(T0 + at, "MGC", side, D(price), D(size), number, client_id, str(number), self.held, by)
        self.tape.fills.append(row)
        self.tape.ledger_fills.append(("tag", row.fill_id, "MGC", side.value, price, str(size)))
        self.held = row.after
        return self

    def order(self, at: int, status: OrderStatus, size: int = 2, side: Side = Side.SELL, **more: Any) -> "Day":
        values: dict[str, Any] = {"level": "4096", "tag": f"{ENTRY}-SL", "order_id": 50, "by": "bot"} | more
        self.tape.orders.append(
            VenueOrder(
                T0 + at, "MGC", values["order_id"], values["tag"], status, side, D(size), D(size), False,
                D(values["level"]), is_stop=True, by=values["by"],
            )
        )  # fmt: skip
        return self

    # --- the bot ------------------------------------------------------------------------------------------------------

    def write(self, at: int, *items: Any, run: int = 1) -> "Day":
        lines = b"".join(
            journal.event_line(item) if hasattr(item, "received_ms") else journal.action_line(item) for item in items
        )
        self.tape.written.append(Written(T0 + at, T0 + at, run, lines))
        self.length += len(lines)
        return self

    def begin(self, at: int = 0, run: int = 1) -> "Day":
        snapshot = b'{"snapshot":%b,"rules":%b}\n' % (msgspec.json.encode(State()), msgspec.json.encode(RULES))
        self.tape.written.append(Written(T0 + at, T0 + at, run, snapshot))
        self.length += len(snapshot)
        return self.write(at, Started(run_id=RUN, rules=RULES, received_ms=T0 + at), run=run)

    def account(self, at: int) -> "Day":
        return self.write(at, AccountSnapshot(
            equity=D(1), available=D(1), positions=(), orders=(), requested_ms=T0 + at, time_ms=T0 + at,
            received_ms=T0 + at,
        ))  # fmt: skip

    def trade(self, at: int, price: str = "4100", made: int | None = None) -> "Day":
        made_ms = T0 + (at if made is None else made)
        return self.write(at, Trade("MGC", D(price), D(1), Side.BUY, 1, made_ms, T0 + at))

    def submit(self, at: int, client_id: str, purpose: Purpose, side: Side = Side.BUY, size: int = 2) -> "Day":
        self.write(at, Tick(received_ms=T0 + at), Submit(ours(client_id, side, size), purpose, "why"))
        return self.send(at, client_id)

    def send(self, at: int, client_id: str, status: int = 200, **more: Any) -> "Day":
        body = msgspec.json.encode({"customTag": client_id, "type": 2})
        values: dict[str, Any] = {"journal_bytes": self.length, "arrived_ms": T0 + at, "fate": "answered"} | more
        self.tape.requests.append(Exchange(
            number=len(self.tape.requests), run=1, path="/api/Order/place", body=body, sent_ms=T0 + at,
            answer=Answer(status, b""), **values,
        ))  # fmt: skip
        return self

    def health(self, at: int, size: int = 0, protected: bool = True, unknown: int = 0) -> "Day":
        position = {"side": "BUY", "size": str(size), "protected_at_venue": protected} if size else None
        body = {"markets": {"MGC": {"position": position}}, "orders": {"unknown": unknown}}
        self.tape.health.append(Health(T0 + at, 1, body))
        return self

    def says(self, name: str) -> list[Violation]:
        return list(CHECKERS[name](self.tape))


def entered(protected_at: int = 1_500) -> Day:
    """A start, an entry, its fill, its stop."""
    day = Day().begin().account(10).trade(900).submit(1_000, ENTRY, Purpose.ENTRY)
    return day.fill(1_100, ENTRY, Side.BUY, 2).order(protected_at, OrderStatus.ACCEPTED)


def left(day: Day, at: int = 5_000) -> Day:
    """The stop is canceled, the exit fills."""
    day.order(at - 100, OrderStatus.CANCELED).submit(at, EXIT, Purpose.EXIT, Side.SELL)
    return day.fill(at + 50, EXIT, Side.SELL, 2)


def test_a_good_day_breaks_nothing():
    day = left(entered().trade(3_000)).health(4_000, 2).health(9_000)
    found = {verdict.name: verdict for verdict in verdicts(day.tape) if verdict.name != "P12_one_brain"}
    assert [text for verdict in found.values() for text in verdict.violations] == []
    assert all(verdict.looked_at for verdict in found.values() if verdict.not_judged is None)


def test_what_cannot_be_seen_is_no_pass():
    blind = {verdict.name for verdict in verdicts(Day().tape) if verdict.not_judged is not None}
    assert blind == {"P5_never_waits", "P10_silent_about_secrets", "P11_one_bot"}


def test_all_twelve_are_there():
    assert [name.split("_")[0] for name in JUDGES] == [f"P{number}" for number in range(1, 13)]
    assert set(CHECKERS) == set(JUDGES)


# --- P1 ---------------------------------------------------------------------------------------------------------------


def entry_on(day: Day, at: int = 10_000) -> list[Violation]:
    return day.submit(at, ENTRY, Purpose.ENTRY).says("P1_fresh")


def test_p1_fresh():
    assert not entry_on(Day().begin().trade(8_000))
    assert "P1 Fresh" in entry_on(Day().begin().trade(6_000))[0].text  # silence
    assert entry_on(Day().begin().trade(9_900, made=2_000))  # delayed data
    assert entry_on(Day().begin())  # nothing at all
    assert entry_on(Day().begin().trade(8_000).begin(9_000))  # prices of the run before do not count


def test_p1_goes_by_the_real_clocks():
    late = Day().begin().trade(9_900, made=-80_100)
    assert entry_on(late)
    ahead = Day().begin().trade(9_900, made=-80_100)
    ahead.tape.bot_offsets.append((T0, 90_000))  # the bot's clock is that much ahead: the price is fresh
    assert not entry_on(ahead)


# --- P2 ---------------------------------------------------------------------------------------------------------------


def test_p2_a_stop_in_time():
    assert not left(entered(3_000)).says("P2_protected")
    late = left(entered(6_000), 20_000).says("P2_protected")
    assert "MGC after a fill of order 1" in late[0].text and "4900 ms without a stop" in late[0].text


def test_p2_the_way_out_counts():
    day = Day().begin().account(10).trade(900).submit(1_000, ENTRY, Purpose.ENTRY).fill(1_100, ENTRY, Side.BUY, 2)
    assert not day.submit(3_200, EXIT, Purpose.EXIT, Side.SELL).fill(9_000, EXIT, Side.SELL, 2).says("P2_protected")
    stuck = Day().begin().submit(1_000, ENTRY, Purpose.ENTRY).fill(1_100, ENTRY, Side.BUY, 2)
    stuck.submit(3_200, EXIT, Purpose.EXIT, Side.SELL)
    assert "no further exit" in stuck.says("P2_protected")[0].text


def test_p2_the_whole_size():
    assert entered().order(1_600, OrderStatus.PARTIAL, size=1).says("P2_protected")
    assert entered().order(1_600, OrderStatus.ACCEPTED, side=Side.BUY).says("P2_protected")


@pytest.mark.parametrize("kind", ["rest_down", "venue_down", "asleep", "slow", "hand"])
def test_p2_counts_only_what_the_bot_can_do(kind):
    assert not left(entered(6_000), 20_000).span(kind, 1_100, 5_000).says("P2_protected")


def test_p2_a_false_word():
    day = Day().begin().submit(1_000, ENTRY, Purpose.ENTRY).fill(1_100, ENTRY, Side.BUY, 2).health(40_000, 2)
    assert any("health says MGC is protected" in found.text for found in day.says("P2_protected"))


# --- P3 ---------------------------------------------------------------------------------------------------------------


def test_p3_nothing_is_sent_twice():
    again = entered().send(2_000, ENTRY)
    assert "was sent again" in again.says("P3_once")[0].text
    unheard = Day().begin().submit(1_000, ENTRY, Purpose.ENTRY)
    unheard.tape.requests[0].arrived_ms = None
    assert not unheard.send(2_000, ENTRY).says("P3_once")
    refused = Day().begin().submit(1_000, ENTRY, Purpose.ENTRY)
    refused.tape.requests[0].answer = Answer(401, b"")
    assert not refused.send(2_000, ENTRY).says("P3_once")


def test_p3_one_order_a_client_id():
    day = entered().order(2_000, OrderStatus.ACCEPTED, order_id=51)
    assert "is two orders" in day.says("P3_once")[0].text


def test_p3_no_more_than_was_asked_for():
    assert "has filled 3" in entered().fill(2_000, ENTRY, Side.BUY, 1).says("P3_once")[0].text


def test_p3_one_entry_a_position():
    day = entered().submit(2_000, STOP, Purpose.ENTRY).fill(2_100, STOP, Side.BUY, 2)
    assert "filled into the position of" in day.says("P3_once")[0].text


def test_p3_nothing_stays_in_doubt():
    assert not entered().health(20_000, 2, unknown=1).health(60_000, 2).says("P3_once")
    doubted = entered().health(20_000, 2, unknown=1).health(60_000, 2, unknown=1)
    assert "1 orders have been in doubt since" in doubted.says("P3_once")[0].text


# --- P4 ---------------------------------------------------------------------------------------------------------------


def flipped(day: Day) -> Day:
    """The stop fires, and the exit fills too."""
    day.fill(4_000, f"{ENTRY}-SL", Side.SELL, 2).order(4_000, OrderStatus.FILLED)
    return day.submit(4_010, EXIT, Purpose.EXIT, Side.SELL).fill(4_050, EXIT, Side.SELL, 2)


def test_p4_an_exit_opens():
    found = flipped(entered()).says("P4_only_down")
    assert "EXIT" in found[0].text and "took 0 to -2" in found[0].text


def test_p4_an_exit_turns_round():
    """What is held afterwards is less than before, and on the other side."""
    day = entered().order(4_900, OrderStatus.CANCELED).submit(5_000, EXIT, Purpose.EXIT, Side.SELL, size=3)
    assert "took 2 to -1" in day.fill(5_050, EXIT, Side.SELL, 3).says("P4_only_down")[0].text


def test_p4_after_a_word_of_warning_it_must_be_repaired():
    day = flipped(entered())
    day.tape.log.append(LogLine(T0 + 4_000, 1, "WARNING", "exit_unconfirmed", ""))
    assert "not closed again" in day.says("P4_only_down")[0].text
    assert not day.fill(6_000, STOP, Side.BUY, 2, by="bot").says("P4_only_down")


@pytest.mark.parametrize(("apart_ms", "count"), [(50, 0), (51, 1)])
def test_p4_nobody_comes_between_two_fills_at_once(apart_ms: int, count: int):
    """A target and a stop that no venue links, and a price that whips through both."""
    day = entered().fill(4_000, f"{ENTRY}-TP", Side.SELL, 2).fill(4_000 + apart_ms, f"{ENTRY}-SL", Side.SELL, 2)
    day.fill(6_000, STOP, Side.BUY, 2, by="bot")
    assert sum(" took " in found.text for found in day.says("P4_only_down")) == count


def test_p4_a_hand_was_faster():
    day = entered().fill(4_000, None, Side.SELL, 2, by="hand").order(4_005, OrderStatus.CANCELED)
    assert not day.submit(4_010, EXIT, Purpose.EXIT, Side.SELL).fill(4_050, EXIT, Side.SELL, 2).says("P4_only_down")


def test_p4_orders_that_could_open():
    orphan = entered().fill(3_000, None, Side.SELL, 2, by="hand")
    assert "order 50 could open" in orphan.says("P4_only_down")[0].text
    assert not entered().fill(3_000, None, Side.SELL, 2).order(5_000, OrderStatus.CANCELED).says("P4_only_down")
    twice = entered().order(2_000, OrderStatus.ACCEPTED, tag=STOP, order_id=51)
    assert "stops could open" in twice.says("P4_only_down")[0].text


# --- P5, P10, P11 -----------------------------------------------------------------------------------------------------


def test_p5_p10_p11():
    day = Day()
    day.tape.counts |= {"main_thread_longest_ms": 20, "second_bots_started": 1, "second_bots_refused": 1}
    day.tape.secrets = ("canary",)
    assert not check(day.tape) and all(v.not_judged is None for v in verdicts(day.tape))
    day.tape.counts |= {"main_thread_longest_ms": 4_000, "second_bots_refused": 0}
    day.tape.log.append(LogLine(T0, 1, "INFO", "hello", "hello canary"))
    assert {found.name for found in check(day.tape)} == {"P5_never_waits", "P10_silent_about_secrets", "P11_one_bot"}


# --- P6 ---------------------------------------------------------------------------------------------------------------


def test_p6_written_before_it_is_sent():
    assert not entered().says("P6_written_first")
    unwritten = entered().send(2_000, STOP)
    assert "never stood in the journal" in unwritten.says("P6_written_first")[0].text
    late = entered()
    late.tape.requests[0].journal_bytes -= 1
    assert "before it stood" in late.says("P6_written_first")[0].text


def test_p6_a_full_disk_keeps_nobody_in_a_position():
    day = entered().send(4_000, EXIT).span("disk_full", 3_000, 9_000)
    assert not day.says("P6_written_first")


def test_p6_cancellations_too():
    day = entered().write(2_000, Cancel("MGC", 50, 1, "why"))
    for order_id in (50, 51):
        body = msgspec.json.encode({"orderId": order_id})
        day.tape.requests.append(Exchange(9, 1, "/api/Order/cancel", body, T0 + 2_000, day.length))
    assert [found.text.split(" left")[0] for found in day.says("P6_written_first")] == ["P6 Written first: cancel 51"]


def test_p6_the_ledger_is_the_venues():
    lost = entered()
    lost.tape.ledger_fills.clear()
    assert "is not in the ledger" in lost.says("P6_written_first")[0].text
    made_up = entered()
    made_up.tape.ledger_fills.append(("tag", "99", "MGC", "BUY", "1", "1"))
    assert "that the venue has not" in made_up.says("P6_written_first")[0].text
    twice = entered()
    twice.tape.ledger_fills *= 2
    assert "twice" in twice.says("P6_written_first")[0].text


# --- P7 ---------------------------------------------------------------------------------------------------------------


def test_p7_reads_before_it_enters():
    day = Day().begin().trade(900).submit(1_000, ENTRY, Purpose.ENTRY)
    assert "before the account was read" in day.says("P7_restart_is_start")[0].text


def test_p7_a_stop_never_loosens():
    assert not entered().order(3_000, OrderStatus.ACCEPTED, level="4097").says("P7_restart_is_start")
    day = entered().order(3_000, OrderStatus.ACCEPTED, level="4097").order(9_000, OrderStatus.ACCEPTED, level="4096")
    assert "from 4097 back to 4096" in day.says("P7_restart_is_start")[0].text
    by_hand = entered().order(3_000, OrderStatus.ACCEPTED, level="4097")
    assert not by_hand.order(9_000, OrderStatus.ACCEPTED, level="4096", by="hand").says("P7_restart_is_start")


def test_p7_the_venue_is_right():
    assert not entered().health(2_000, 0).health(10_000, 2).says("P7_restart_is_start")
    long = entered().health(2_000, 0).health(40_000, 0)
    assert "health says 0, the venue holds 2" in long.says("P7_restart_is_start")[0].text
    assert entered().health(90_000, 1).says("P7_restart_is_start")  # the last word


# --- P8 ---------------------------------------------------------------------------------------------------------------


def test_p8_a_touch_that_came_back():
    touched = entered().trade(5_000, "4094.9").trade(5_001, "4101")  # the stop lies 40 ticks, 4.0, below 4100
    assert "was told of 4094.9" in touched.says("P8_no_missed_touch")[0].text
    assert not entered().trade(5_000, "4095.6").says("P8_no_missed_touch")
    assert not left(entered().trade(5_000, "4094.9"), 6_000).says("P8_no_missed_touch")
    assert not entered().trade(5_000, "4094.9", made=500).says("P8_no_missed_touch")  # from before the entry


# --- P9 ---------------------------------------------------------------------------------------------------------------


def test_p9_after_a_fault():
    fault = CoreFault(error="impossible", received_ms=T0 + 2_000)
    loud = Note("CRITICAL", "halted", {}, notify=True)
    good = Day().begin().write(2_000, fault, loud, Stop(1, "fault"))
    assert ["bug in itself" in found.text for found in good.says("P9_safe_side")] == [True]
    polite = Day().begin().write(2_000, fault, loud, Stop(0, "fault")).says("P9_safe_side")
    assert any("led to exit code 0" in found.text for found in polite)
    quiet = Day().begin().write(2_000, fault).submit(3_000, ENTRY, Purpose.ENTRY)
    texts = " ".join(found.text for found in quiet.says("P9_safe_side"))
    assert "after a fault" in texts and "not told loudly" in texts and "exit code None" in texts


def test_p9_a_crash():
    day = Day().begin()
    day.tape.endings.append(Ending(T0 + 9, 1, "crashed", None, "KeyError()"))
    assert "run 1 crashed: KeyError()" in day.says("P9_safe_side")[0].text


# --- P12 --------------------------------------------------------------------------------------------------------------


def test_p12_the_same_again():
    day = Day().begin()
    assert "replayed differs" in day.says("P12_one_brain")[0].text  # the start's own actions are not written
    day.tape.endings.append(Ending(T0 + 9, 1, "killed", None))
    assert not day.says("P12_one_brain")  # unless the run was killed before they were
    assert day.submit(20, ENTRY, Purpose.ENTRY).says("P12_one_brain")  # an order that nothing asks for


# --- time -------------------------------------------------------------------------------------------------------------


def test_times():
    times = Times([(10, 20), (15, 30), (50, 60)]).minus(Times([(12, 14), (55, 99)]))
    assert times.parts == [(10, 12), (14, 30), (50, 55)]
    assert times.within(11, 52) == 1 + 16 + 2
    assert times.after(11, 1) == 12 and times.after(11, 2) == 15 and times.after(50, 6) > 1_000_000
    assert [moment in times for moment in (9, 10, 12, 29, 30, 54)] == [False, True, False, True, False, True]
    assert MGC.tick_size == D("0.1")
