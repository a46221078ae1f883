"""Where simulated prices come from."""

import gzip
from decimal import Decimal as D
from itertools import islice, pairwise
from pathlib import Path

import pytest

from core.model import Instrument, Side
from sim.candles import DAY_MS, HOUR_MS, INTERVALS, MINUTE_MS, Candles
from sim.market import PRESETS, PricePath, Replay, read_replay

BTC = Instrument("BTC", 0, D("0.00001"), price_decimals=1, min_notional=D(10), max_leverage=40)
RECORDED = Path(__file__).resolve().parents[2] / "../shared/data/btc_perp_1m_2022-01.csv.gz"
NOW = 1_800_000_000_000


def path(seed=1, preset="lively"):
    return PricePath(BTC, D(50000), seed, PRESETS[preset], 70)


def take(source, seconds):
    return [source.step() for _ in range(int(seconds / 0.07))]


def test_the_same_seed_gives_the_same_steps():
    assert take(path(), 30) == take(path(), 30)
    assert take(path(), 30) != take(path(seed=2), 30)


def test_every_price_and_size_is_valid_and_the_book_is_in_order():
    for step in take(path(), 60):
        bids, asks = [p for p, _ in step.bids], [p for p, _ in step.asks]
        assert bids == sorted(bids, reverse=True) and asks == sorted(asks) and bids[0] < asks[0]
        assert len(bids) == len(asks) == 20
        prices = [*bids, *asks, *(t.price for t in step.prints)]
        assert all(BTC.round_price(p) == p for p in prices)
        sizes = [s for _, s in step.bids + step.asks] + [t.size for t in step.prints]
        assert all(s > 0 and BTC.round_size(s) == s for s in sizes)
        assert all(t.price == (asks if t.side is Side.BUY else bids)[0] for t in step.prints)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_lively_market_moves_within_a_minute(seed):
    marks = [float(s.mark or 0) for s in take(path(seed), 300)]
    prices = [p for p in marks if p]
    minutes = [prices[i : i + 20] for i in range(0, len(prices) - 20, 20)]  # a mark every three seconds
    ranges = sorted((max(m) - min(m)) / m[0] for m in minutes)
    assert 0.003 < ranges[len(ranges) // 2] < 0.012 and ranges[-1] < 0.05


def test_a_calm_market_moves_less():
    def span(preset):
        """The middle one of five minutes' ranges."""
        source = path(preset=preset)
        minutes = [[float(s.bids[0][0]) for s in take(source, 60)] for _ in range(5)]
        return sorted(max(prices) - min(prices) for prices in minutes)[2]

    assert span("calm") * 2 < span("lively")


def test_mark_and_oracle_move_every_three_seconds():
    steps = take(path(), 30)
    moved = [i for i, s in enumerate(steps) if s.mark is not None]
    assert {b - a for a, b in pairwise(moved)} == {42, 43}
    assert all((s.mark is None) == (s.oracle is None) for s in steps)


def test_a_jump_goes_on_from_there():
    source = path()
    source.jump(D(60000))
    assert abs(source.step().bids[0][0] - 60000) < 60


def test_trades_are_played_at_their_time(tmp_path):
    file = tmp_path / "trades.csv"
    file.write_text("time_ms,price,size,side\n1000,50000,0.1,BUY\n1065,50001,0.2,SELL\n1210,50002,0.3,B\n", "utf-8")
    source = Replay(BTC, read_replay(file, BTC), 1.0, 70)
    assert [[t.price for t in source.step().prints] for _ in range(4)] == [[D(50000), D(50001)], [], [D(50002)], []]
    twice = Replay(BTC, read_replay(file, BTC), 2.0, 70)
    assert [len(twice.step().prints) for _ in range(2)] == [2, 1]


def test_bars_are_walked_through_their_four_prices(tmp_path):
    file = tmp_path / "bars.csv.gz"
    rows = "timestamp,open,high,low,close,volume\n2022-01-01 00:00:00.000000,100.0,110.0,90.0,105.0,600\n"
    file.write_bytes(gzip.compress(rows.encode()))
    trades = list(read_replay(file, BTC))
    prices = [t.price for _, t in trades]
    assert (prices[0], min(prices), max(prices), prices[-1]) == (D(100), D(90), D(110), D(105))
    assert prices.index(min(prices)) < prices.index(max(prices))  # a rising bar falls first
    assert trades[0][0] == 1_640_995_200_000 and 58_000 < trades[-1][0] - trades[0][0] < 60_000


def test_a_file_that_is_neither(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match=r"x\.csv: neither trades nor bars"):
        next(read_replay(file, BTC))
    file.write_text("time_ms,price,size,side\n", "utf-8")
    with pytest.raises(ValueError, match="no rows"):
        Replay(BTC, read_replay(file, BTC), 1.0, 70)


@pytest.mark.skipif(not RECORDED.exists(), reason="recorded data is not here")
def test_a_recorded_file_plays():
    trades = [t for _, t in islice(read_replay(RECORDED, BTC), 120)]
    assert all(40_000 < t.price < 50_000 and t.size > 0 for t in trades)


# --- candles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", INTERVALS)
def test_history_leads_up_to_the_first_price(interval):
    rows = Candles(BTC, D(50000), NOW, 1).read(interval, 0, NOW)
    spans = {b.open_ms - a.open_ms for a, b in pairwise(rows)}
    assert spans == {INTERVALS[interval]} and rows[-1].close == 50000
    assert all(row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high for row in rows)


def test_trades_make_the_forming_candle():
    candles = Candles(BTC, D(50000), NOW, 1)
    open_ms = NOW // MINUTE_MS * MINUTE_MS
    for price, late_ms in ((50010, 1), (50030, 2), (49990, 3), (50020, MINUTE_MS)):
        candles.add(D(price), D(1), open_ms + late_ms)
    first, second = candles.read("1m", open_ms, open_ms + MINUTE_MS)
    assert (first.open, first.high, first.low, first.close, first.trades) == (50010, 50030, 49990, 49990, 3)
    assert candles.forming("1m") == second and second.close == 50020
    hour = candles.forming("1h")
    assert hour.open_ms % HOUR_MS == 0 and hour.close == 50020 and hour.high >= 50030
    assert len(candles.read("1m", open_ms - 500 * MINUTE_MS, open_ms)) == 501
    assert candles.day_ago(NOW) == candles.read("1m", NOW - DAY_MS, NOW - DAY_MS + MINUTE_MS)[0].open
