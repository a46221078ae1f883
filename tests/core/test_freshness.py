"""P1: which prices may be believed. Tables for the rules, then the same through `decide`."""

from decimal import Decimal as D

import msgspec
import pytest

from core import freshness
from core.freshness import heard, is_frozen, paced, rest_verdict, verdict
from core.messages import ClockOffset, PolledPrice, RestSample, StreamDown
from core.model import MarkPrice, Quote, Side, Trade
from core.signals import Signal
from core.state import Feed, MarketState, State
from tests.core.world import T0, Desk

QUARTER_MS = 900_000
MAX_AGE_MS = 3_000
FEEDS = {"trade": "trade_feed", "quote": "quote_feed", "rest": "rest_feed"}


def market_after(updates, offset_ms=0):
    """A market that has heard `updates`: (kind, when it was received, ms from T0; its lag, ms)."""
    market = MarketState("BTC", current_price=D(1))
    for kind, at_ms, lag_ms in updates:
        received_ms = T0 + at_ms
        if kind == "other":  # a context: it carries no time of the venue
            market = msgspec.structs.replace(market, heard_ms=received_ms)
            continue
        name = FEEDS[kind]
        feed = heard(getattr(market, name), received_ms + offset_ms - lag_ms, received_ms, offset_ms)
        market = msgspec.structs.replace(market, heard_ms=received_ms, **{name: feed})
    return market


def live(kind, lag_ms, until_ms=5_000, every_ms=500):
    return [(kind, at_ms, lag_ms) for at_ms in range(0, until_ms + 1, every_ms)]


def merged(*parts):
    return sorted((update for part in parts for update in part), key=lambda update: update[1])


REPLAY = [("trade", 0, lag_ms) for lag_ms in (800_000, 300_000, 61_000)]  # one frame: the last trades of a quiet market

CASES = {
    "both real-time": (merged(live("trade", 80), live("quote", 60)), 5_000, "real-time"),
    "both late": (merged(live("trade", QUARTER_MS), live("quote", QUARTER_MS)), 5_000, "delayed"),
    "late, and slow: one quote in three seconds": (live("quote", QUARTER_MS, 3_000, 3_000), 3_000, "delayed"),
    "as old as may be": (live("trade", 3_000), 5_000, "real-time"),
    "a little older": (live("trade", 3_001), 5_000, "lagging"),
    "what a network might explain": (live("trade", 59_999), 5_000, "lagging"),
    "what no network explains": (live("trade", 60_000), 5_000, "delayed"),
    "within the error of the clocks": (live("trade", -5_000), 5_000, "real-time"),
    "from the future": (live("trade", -5_001), 5_000, "lagging"),
    "quotes fresh, trades late": (merged(live("trade", QUARTER_MS), live("quote", 60)), 5_000, "delayed"),
    "the last late trade long ago": (
        merged(live("trade", QUARTER_MS, 2_000), live("quote", 60, 60_000)), 60_000, "delayed"
    ),
    "a burst of slow trades long ago": (merged(live("trade", 8_000, 2_000), live("quote", 60, 60_000)), 60_000,
                                        "real-time"),
    "quotes late, trades fresh": (merged(live("trade", 80), live("quote", QUARTER_MS)), 5_000, "real-time"),
    "quotes late, no trade for a minute": (
        merged(live("trade", 80, 1_000), live("quote", QUARTER_MS, 60_000)), 60_000, "delayed"
    ),
    "no trade for minutes, quotes fresh": (merged([("trade", 0, 80)], live("quote", 60, 300_000)), 300_000,
                                           "real-time"),
    "neither for a while, but contexts": ([("trade", 0, 80), *live("other", 0, 60_000)], 60_000, "real-time"),
    "late quotes, then a trade, then contexts": (
        merged(live("quote", QUARTER_MS, 2_000), [("trade", 3_000, 80)], live("other", 0, 60_000)), 60_000, "real-time"
    ),
    "a replay, then fresh quotes": (merged(REPLAY, live("quote", 60)), 500, "real-time"),
    "a replay, and one fresh trade": ([*REPLAY, ("trade", 400, 80)], 500, "real-time"),
    "nothing but a replay": ([*REPLAY, *live("other", 0)], 5_000, "silent"),
    "a replay that goes on": ([*REPLAY, ("trade", 999, QUARTER_MS)], 1_000, "silent"),
    "a replay that goes on too long for one": ([*REPLAY, ("trade", 1_000, QUARTER_MS)], 1_000, "delayed"),
    "one old quote, just now": ([("quote", 0, QUARTER_MS)], 2_999, "silent"),
    "one old quote, and nothing since": ([("quote", 0, QUARTER_MS)], 3_000, "delayed"),
    "the last quote of a market that is closed": ([("quote", 0, 3_600_001)], 5_000, "silent"),
    "just heard": ([("trade", 0, 80)], 10_000, "real-time"),
    "not heard any more": ([("trade", 0, 80)], 10_001, "silent"),
    "never heard": ([], 0, "silent"),
    "time stands still since 20 seconds": ([("quote", ms, ms) for ms in range(0, 20_001, 500)], 20_000, "lagging"),
    "time stands still since two minutes": ([("quote", ms, ms) for ms in range(0, 120_001, 500)], 120_000, "delayed"),
    "quotes' time stands still, trades go on": (
        merged([("quote", ms, ms) for ms in range(0, 20_001, 500)], live("trade", 80, 20_000)), 20_000, "real-time"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("updates", "at_ms", "expected"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("offset_ms", [0, 90_000, -90_000])  # this machine's clock is right, late, early
def test_verdict(updates, at_ms, expected, offset_ms):
    market = market_after(updates, offset_ms)
    assert verdict(market, State(offset_ms=offset_ms), T0 + at_ms, MAX_AGE_MS) == expected


@pytest.mark.parametrize("polling, expected", [(True, "delayed"), (False, "real-time")])
def test_polled_prices_are_judged_by_themselves(polling, expected):
    """After the stream has gone its last word stays good until REST has said something, and no longer."""
    updates = live("trade", 80)
    state = State(polling=polling)
    assert verdict(market_after(updates), state, T0 + 6_000, MAX_AGE_MS) == "real-time"
    assert verdict(market_after([*updates, ("rest", 6_000, QUARTER_MS)]), state, T0 + 6_000, MAX_AGE_MS) == expected


@pytest.mark.parametrize("lag_ms, expected", [(3_000, "real-time"), (3_001, "lagging"), (QUARTER_MS, "delayed")])
def test_one_late_answer_of_rest_is_enough(lag_ms, expected):
    """It answers what is asked and replays nothing."""
    assert rest_verdict(market_after([("rest", 0, lag_ms)]), State(), MAX_AGE_MS) == expected
    assert rest_verdict(market_after([]), State(), MAX_AGE_MS) is None


def test_a_late_measurement_corrects_what_came_before_it():
    """A clock 90 s ahead of the venue's: everything seems late until it has been measured."""
    market = market_after(live("trade", 90_080))
    assert verdict(market, State(), T0 + 5_000, MAX_AGE_MS) == "delayed"
    assert verdict(market, State(offset_ms=-90_000), T0 + 5_000, MAX_AGE_MS) == "real-time"


def test_before_the_first_measurement_nothing_bad_is_said_for_a_second():
    assert verdict(market_after(live("trade", 90_080, 500)), State(), T0 + 900, MAX_AGE_MS) == "silent"


# --- updates a second -------------------------------------------------------------------------------------------------


def test_updates_are_counted_over_full_windows():
    market = paced(market_after([]), T0)
    market = msgspec.structs.replace(market, trade_feed=Feed(40, T0, T0), quote_feed=Feed(5, T0, T0))
    assert paced(market, T0 + freshness.PACE_MS - 1) is market
    counted = paced(market, T0 + 8_000).pace
    assert (counted.trades_per_s, counted.quotes_per_s, counted.since_ms) == (5.0, 0.62, T0 + 8_000)


@pytest.mark.parametrize(
    "before, now, frozen",
    [
        (Feed(10, 500, 600), Feed(13, 500, 5_600), True),
        (Feed(10, 500, 600), Feed(13, 501, 5_600), False),
        (Feed(10, 500, 600), Feed(12, 500, 5_600), False),  # too few to tell
        (Feed(10, 500, 600), Feed(10, 500, 600), False),  # quiet
        (Feed(), Feed(9, 500, 600), False),
    ],
)
def test_a_clock_that_stands_still(before, now, frozen):
    assert is_frozen(before, now) is frozen


# --- through `decide` -------------------------------------------------------------------------------------------------


class Feeder(Desk):
    """A desk whose market data come `lag_ms` late by the venue's clock, which is `offset_ms` from ours."""

    def __init__(self):
        super().__init__()
        self.offset_ms = 0
        self.start()
        self.listing()

    def print(self, lag_ms=0, price="50000"):
        self._trade_id += 1
        time_ms = self.now_ms + self.offset_ms - lag_ms
        return self.feed(Trade("BTC", D(price), D("0.1"), Side.BUY, self._trade_id, time_ms, self.now_ms))

    def show(self, lag_ms=0, bid="50000", ask="50001"):
        return self.feed(Quote("BTC", D(bid), D(1), D(ask), D(1), self.now_ms + self.offset_ms - lag_ms, self.now_ms))

    def run(self, seconds, trades=None, quotes=None):
        """Trades and quotes, this late each, twice a second; None: none."""
        for _ in range(2 * seconds):
            if trades is not None:
                self.print(trades)
            if quotes is not None:
                self.show(quotes)
            self.wait(500)

    def notes(self, name):
        return [note for note in self.log if note.name == name]


@pytest.fixture
def desk():
    return Feeder()


@pytest.mark.parametrize("trades, quotes", [(QUARTER_MS, QUARTER_MS), (QUARTER_MS, 50), (None, QUARTER_MS)])
def test_fifteen_minutes_are_recognised_within_five_seconds(desk, trades, quotes):
    began_ms = desk.now_ms
    while desk.market.verdict != "delayed":
        desk.run(1, trades, quotes)
        assert desk.now_ms - began_ms <= 5_000
    note = desk.notes("feed_verdict")[-1]
    assert (note.level, note.fields["verdict"], note.text) == ("WARNING", "delayed", "no entries")


def test_late_trades_refuse_entries_although_quotes_are_fresh(desk):
    """The price passes the age test, by the quotes; exits would be decided on trades of a quarter of an hour ago."""
    desk.run(3, QUARTER_MS, 50)
    desk.signal = Signal.LONG
    desk.run(2, QUARTER_MS, 50)
    assert desk.sent() == []
    assert desk.notes("order_denied")[-1].fields["reason"] == "data are delayed"


def test_a_wrong_clock_is_no_delay(desk):
    desk.offset_ms = -90_000
    desk.run(1, 50, 50)
    desk.feed(ClockOffset(offset_ms=-90_000, round_trip_ms=20, received_ms=desk.now_ms))
    desk.run(2, 50, 50)
    assert [note.fields["verdict"] for note in desk.notes("feed_verdict")] == ["real-time"]


def test_a_measurement_that_jumps_is_felt_both_ways(desk):
    """Whichever way it is wrong, nothing is called real-time by it; the next good one heals everything."""
    desk.run(2, 50, 50)
    for wrong_ms, word in ((QUARTER_MS, "delayed"), (-QUARTER_MS, "lagging")):
        desk.feed(ClockOffset(offset_ms=wrong_ms, round_trip_ms=20, received_ms=desk.now_ms))
        desk.run(2, 50, 50)
        assert desk.market.verdict == word
        desk.feed(ClockOffset(offset_ms=0, round_trip_ms=20, received_ms=desk.now_ms))
        desk.run(1, 50, 50)
        assert desk.market.verdict == "real-time"


def test_a_standing_clock_is_named_in_the_log(desk):
    stands_ms = desk.now_ms
    for _ in range(40):
        desk.feed(Quote("BTC", D(50000), D(1), D(50001), D(1), stands_ms, desk.now_ms))
        desk.wait(500)
    assert desk.market.pace.frozen_quotes and not desk.market.pace.frozen_trades
    assert desk.market.verdict == "lagging"
    desk.wait(11_000)
    desk.show(QUARTER_MS)
    assert desk.notes("feed_verdict")[-1].fields["verdict"] == "silent"


def sample(desk, lag_ms, price="50000"):
    time_ms = desk.now_ms + desk.offset_ms - lag_ms
    return desk.feed(RestSample(symbol="BTC", price=D(price), time_ms=time_ms, received_ms=desk.now_ms))


def test_late_rest_prices_are_said_once_and_touch_nothing(desk):
    desk.run(2, 50, 50)
    before = desk.market
    for _ in range(3):
        sample(desk, QUARTER_MS, price="40000")
    assert (desk.market.current_price, desk.market.verdict) == (before.current_price, "real-time")
    assert desk.market.rest_verdict == "delayed"
    [note] = desk.notes("rest_verdict")
    assert (note.level, note.fields["verdict"], note.fields["stream"]) == ("WARNING", "delayed", "real-time")
    sample(desk, 200)
    assert [note.fields["verdict"] for note in desk.notes("rest_verdict")] == ["delayed", "real-time"]


def test_good_rest_prices_are_no_news(desk):
    desk.run(2, 50, 50)
    sample(desk, 200)
    assert desk.market.rest_verdict == "real-time" and desk.notes("rest_verdict") == []
    assert freshness.feed_lag_ms(desk.market.rest_feed, desk.state.offset_ms) == 200


def test_rest_is_not_late_where_nothing_has_traded(desk):
    """Its newest price is the last trade's, minutes ago; the stream knows no newer one."""
    desk.print(50)
    desk.run(300, None, 50)
    sample(desk, 300_050)
    assert desk.market.rest_verdict == "real-time"


def test_late_rest_prices_stop_entries_and_move_no_exit_in_a_fallback(desk):
    desk.print(50)
    desk.protected()
    desk.feed(StreamDown(stream="market", error="gone", retry_s=1.0, attempt=1, received_ms=desk.now_ms))
    desk.wait(1_000)
    polled = PolledPrice(
        symbol="BTC", price=D(40000), bid=D(39999), ask=D(40001), mark=None, time_ms=desk.now_ms - QUARTER_MS,
        received_ms=desk.now_ms,
    )  # fmt: skip
    assert desk.sent(desk.feed(polled)) == [] and desk.market.exit_reason is None
    assert desk.market.verdict == "delayed"


def test_contexts_alone_do_not_make_prices_real_time(desk):
    for _ in range(10):
        desk.feed(MarkPrice("BTC", D(50000), None, None, desk.now_ms))
        desk.wait(1_000)
    assert desk.market.verdict == "silent"
