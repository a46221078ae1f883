"""Both streams against the simulated gateway: a day's events, and its faults one by one."""

import json
import queue
import time
from decimal import Decimal as D

import pytest

from core.messages import AccountUpdate, Frame, OrderUpdate, PositionUpdate, StreamDown, StreamUp
from core.model import Book, Fill, OrderStatus, Quote, Side, Trade
from runtime import journal
from runtime.clock import SystemClock
from sim.topstepx_sim import TopstepxSim
from topstep_client import TopstepClient
from topstep_websocket import MARKET_STREAM, USER_STREAM, Timing, TopstepFrameReader, TopstepWebSocketClient

WAIT_S = 20.0


@pytest.fixture
def sim():
    with TopstepxSim(ping_s=0.2) as sim:
        sim.set_price("MGC", "4100.0")
        sim.set_price("MES", "7700.0")
        yield sim


class Impatient(SystemClock):
    """The right time, and no waits."""

    def wait(self, stop, delay_s):
        return super().wait(stop, min(delay_s, 0.001))


class Listener:
    """Both streams of the practice account, and what they brought."""

    def __init__(self, sim: TopstepxSim, **options) -> None:
        clock = Impatient()
        self.rest = TopstepClient(
            sim.url, sim.user, sim.api_key, str(sim.practice_id), clock=clock, symbols=["MGC", "MES"]
        )
        self.rest.check_credentials()
        self.provider = self.rest.token_provider()
        self.inbox: queue.Queue = queue.Queue()
        self.contracts = {sim.contract("MGC"): "MGC", sim.contract("MES"): "MES"}
        self.frames: list[Frame] = []
        options = {"connect_spacing_s": 0.0, "poll_s": 0.02} | options
        self.client = TopstepWebSocketClient(
            sim.market_hub_url,
            sim.user_hub_url,
            self.contracts,
            self.rest.account_id,
            self.provider,
            self.provider.refused,
            self.inbox,
            clock,
            **options,
        )

    def wait_for(self, kind, check=lambda event: True):
        """The next event of this kind that passes; frames are unpacked and kept."""
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            heard = self.inbox.get(timeout=WAIT_S)
            if isinstance(heard, Frame):
                self.frames.append(heard)
            for event in heard.events if isinstance(heard, Frame) else (heard,):
                if isinstance(event, kind) and check(event):
                    return event
        raise TimeoutError(f"no {kind}")

    def up(self):
        assert {self.wait_for(StreamUp).stream for _ in range(2)} == {MARKET_STREAM, USER_STREAM}
        return self

    def come_back(self, sim):
        """After the StreamDowns, where one hub may be up again before the other is down."""
        sim.wait_until(lambda: self.client.status().connected)

    def close(self):
        self.client.stop()
        self.provider.close()
        self.rest.close()


@pytest.fixture
def listen(sim, request):
    def _listen(**options):
        listener = Listener(sim, **options)
        request.addfinalizer(listener.close)
        listener.client.start()
        return listener.up()

    return _listen


def test_a_bracketed_trade_from_entry_to_stop(sim, listen):
    heard = listen()
    order_id = sim.place("MGC", Side.BUY, tag="0xabc", stop_ticks=-40, target_ticks=80)
    entry = heard.wait_for(Fill, lambda f: f.order_id == order_id)
    assert (entry.symbol, entry.side, entry.size) == ("MGC", Side.BUY, D(1))
    stop = heard.wait_for(OrderUpdate, lambda u: u.working is not None and u.working.is_stop)
    assert (stop.client_id, stop.working.parent_id) == ("0xabc-SL", order_id)
    assert stop.working.trigger_price == entry.price - 40 * D("0.1")
    sim.wait_until(lambda: sim.position("MGC") == 1)
    sim.move("MGC", stop.working.trigger_price - 1)
    out = heard.wait_for(Fill, lambda f: f.side is Side.SELL)
    assert (out.order_id, out.closed_pnl < 0) == (stop.order_id, True)
    sim.wait_until(lambda: sim.position("MGC") == 0)
    target = heard.wait_for(OrderUpdate, lambda u: u.client_id == "0xabc-TP" and u.status.is_final)
    assert target.status is OrderStatus.CANCELED
    kinds = {type(e) for frame in heard.frames for e in frame.events}
    assert {OrderUpdate, Fill, PositionUpdate, AccountUpdate, Quote, Trade} <= kinds
    closed = [e.position for f in heard.frames for e in f.events if isinstance(e, PositionUpdate)]
    assert [p.size for p in closed][-1:] == [0]


def test_fills_are_the_same_over_rest(sim, listen):
    heard = listen()
    heard.rest.instruments()
    before_ms = heard.rest.measure_clock().received_ms - 60_000
    sim.deal("MGC", Side.SELL, 2)
    sim.deal("MGC", Side.BUY, 2)
    live = [heard.wait_for(Fill) for _ in range(2)]
    again = heard.rest.fills_since(before_ms)
    what = ("fill_id", "symbol", "side", "price", "size", "fee", "closed_pnl", "order_id", "time_ms")
    assert [[getattr(f, n) for n in what] for f in again] == [[getattr(f, n) for n in what] for f in live]


def test_prices_come_in_order_and_the_journal_reads_the_same(sim, listen):
    heard = listen(depth=[sim.contract("MES")])
    for i in range(50):
        sim.move("MGC", D(4100) + D(i % 7) / 10)
        sim.move("MES", D(7700) + D(i % 5) / 4)
    sim.trade("MGC", "4200")
    heard.wait_for(Trade, lambda t: t.price == 4200)
    trades = [e.price for f in heard.frames for e in f.events if isinstance(e, Trade) and e.symbol == "MGC"]
    assert trades == [D(4100) + D(i % 7) / 10 for i in range(50)] + [D(4200)]
    reader = TopstepFrameReader(heard.rest.account_id, heard.contracts)
    records = [journal.decode_line(journal.frame_line(frame)) for frame in heard.frames]
    assert [reader.read(bytes(r.frame), r.ms) for r in records] == [f.events for f in heard.frames]
    assert any(isinstance(e, Book) for f in heard.frames for e in f.events)
    assert heard.client.status().bad_frames == 0


def test_seventeen_server_closes_in_a_row(sim, listen):
    heard = listen()
    for turn in range(17):
        sim.close_hubs("Connection closed with an error." if turn % 2 else None, allow_reconnect=bool(turn % 3))
        assert {heard.wait_for(StreamDown).stream for _ in range(2)} == {MARKET_STREAM, USER_STREAM}
        heard.come_back(sim)
    sim.move("MGC", "4111")
    heard.wait_for(Trade, lambda t: t.price == 4111)
    sim.deal("MGC", Side.BUY)
    heard.wait_for(Fill)
    status = heard.client.status()
    assert (status.connected, status.reconnects, status.quarantined) == (True, 34, ())


def test_resets_and_reconnects_lose_no_subscription(sim, listen):
    heard = listen()
    sim.drop_connections()
    for _ in range(2):
        heard.wait_for(StreamDown)
    heard.come_back(sim)
    subscriptions = sorted(map(str, sim.subscriptions()))
    assert len(subscriptions) == 8
    heard.client.reconnect("because")
    for _ in range(2):
        heard.wait_for(StreamDown)
    heard.come_back(sim)
    assert sorted(map(str, sim.subscriptions())) == subscriptions


def test_expired_tokens_lead_to_a_new_login(sim, listen, caplog):
    heard = listen()
    before = len(sim.received("Auth/loginKey"))
    sim.expire_tokens(close=True)
    for _ in range(2):
        heard.wait_for(StreamDown)
    heard.come_back(sim)
    assert len(sim.received("Auth/loginKey")) - before == 1  # one for both hubs


def test_a_401_out_of_the_blue(sim, listen):
    heard = listen()
    sim.fault("refuse_sockets", status=401, times=2)
    sim.drop_connections("market")
    downs = [heard.wait_for(StreamDown, lambda d: d.stream == MARKET_STREAM) for _ in range(3)]
    assert [d.error for d in downs[1:]] == ["the venue refused the upgrade with HTTP 401"] * 2
    assert heard.wait_for(StreamUp).stream == MARKET_STREAM


@pytest.mark.parametrize(
    "fault, args",
    [
        ("two_records", {}),
        ("fragment_frames", {}),
        ("split_records", {}),
        ("ws_ping", {}),
        ("bare_events", {}),
        ("extra_fields", {}),
        ("unknown_enum", {"field": "action"}),
        ("duplicate_frames", {}),
        ("large_depth", {}),
    ],
)
def test_oddities_that_change_nothing(sim, listen, fault, args):
    sim.fault(fault, **args)
    heard = listen(depth=[sim.contract("MGC")])
    sim.move("MGC", "4123.4")
    assert heard.wait_for(Trade, lambda t: t.price == D("4123.4")).symbol == "MGC"
    sim.deal("MGC", Side.BUY)
    fill = heard.wait_for(Fill)
    assert (fill.symbol, fill.size) == ("MGC", 1)
    assert heard.wait_for(AccountUpdate).can_trade
    assert heard.client.status().bad_frames == 0


@pytest.mark.parametrize(
    "fault, args",
    [
        ("null_payload", {"channel": "GatewayUserTrade"}),
        ("missing_fields", {"channel": "GatewayUserTrade", "fields": ["price"]}),
        ("unknown_enum", {"channel": "GatewayUserTrade", "field": "side"}),
    ],
)
def test_a_fill_that_cannot_be_read_is_no_fill(sim, listen, fault, args):
    heard = listen()
    sim.fault(fault, times=1, **args)
    sim.deal("MGC", Side.BUY)
    sim.deal("MGC", Side.BUY, 2)
    assert heard.wait_for(Fill).size == 2
    assert heard.client.status().bad_frames == 1


def test_an_unknown_status_is_to_be_looked_up(sim, listen):
    heard = listen()
    sim.fault("unknown_enum", field="status", times=1)
    order_id = sim.place("MGC", Side.BUY)
    assert heard.wait_for(OrderUpdate, lambda u: u.order_id == order_id).status is OrderStatus.UNKNOWN


def test_an_old_first_quote_has_its_old_time(sim, listen):
    sim.fault("old_first_quote", times=1)
    heard = listen()
    first = heard.frames[0].events[0]
    assert isinstance(first, Quote)
    assert 890_000 < first.received_ms - first.time_ms < 910_000


@pytest.mark.parametrize("last_updated", [False, True])
def test_clocks_that_stand_still(sim, listen, last_updated):
    heard = listen()
    sim.fault("frozen_timestamp", last_updated=last_updated)
    sim.move("MGC", "4101")
    first = heard.wait_for(Quote, lambda q: q.bid == D("4100.9"))
    sim.advance(60_000)
    sim.move("MGC", "4102")
    second = heard.wait_for(Quote, lambda q: q.bid == D("4101.9"))
    assert (second.time_ms - first.time_ms >= 60_000) is not last_updated  # never newer than the venue says


def test_delayed_prices_carry_their_delay(sim, listen):
    sim.fault("delayed_data", ms=900_000)
    heard = listen()
    sim.move("MGC", "4101")
    trade = heard.wait_for(Trade)
    assert 890_000 < trade.received_ms - trade.time_ms < 910_000


def test_a_refused_handshake(sim, listen):
    heard = listen()
    sim.fault("handshake_error", error="Handshake failed.", times=1, hub="market")
    sim.drop_connections("market")
    assert "Handshake failed." in heard.wait_for(StreamDown, lambda d: "handshake" in d.error).error
    assert heard.wait_for(StreamUp).stream == MARKET_STREAM


def test_silence_with_the_socket_open(sim, listen):
    heard = listen(timing=Timing(ping_s=0.1, server_s=0.6, answer_s=0.3, retry_s=0.1))
    sim.fault("stall")
    downs = {heard.wait_for(StreamDown).stream for _ in range(2)}
    assert downs == {MARKET_STREAM, USER_STREAM}  # pings are missing
    sim.clear_fault()
    heard.come_back(sim)


def test_data_that_stop_while_pings_go_on(sim, listen):
    heard = listen(timing=Timing(market_s=1.0, market_s_first=1.0, repair_s=0.3))
    sim.move("MGC", "4101")
    heard.wait_for(Trade)
    sim.fault("silent_data", hub="market")
    down = heard.wait_for(StreamDown)
    assert (down.stream, down.error.startswith("mute: M")) == (MARKET_STREAM, True)
    sim.clear_fault()
    assert heard.wait_for(StreamUp).stream == MARKET_STREAM  # the user hub may be silent as long as it likes


def test_a_lock_out_is_seen(sim, listen):
    heard = listen()
    sim.deal("MGC", Side.BUY)
    heard.wait_for(Fill)
    sim.lock()
    assert not heard.wait_for(AccountUpdate, lambda a: not a.can_trade).can_trade
    assert heard.wait_for(PositionUpdate, lambda p: p.position.size == 0).position.symbol == "MGC"


def test_watch(sim, listen):
    heard = listen()
    mnq = sim.contract("MNQ")
    heard.client.watch([mnq])
    sim.wait_until(lambda: ["GatewayTrade", mnq] in sim.subscriptions())
    sim.move("MNQ", "29000")
    assert heard.wait_for(Trade, lambda t: t.symbol == "MNQ").price == 29000
    heard.client.watch([])
    sim.wait_until(lambda: ["GatewayTrade", mnq] not in sim.subscriptions())
    assert len(sim.subscriptions()) == 8


def test_what_the_other_account_does_is_not_our_business(sim, listen):
    heard = listen()
    sim.deal("MGC", Side.BUY, account=sim.combine_id)
    sim.deal("MGC", Side.BUY, 2)
    assert heard.wait_for(Fill).size == 2
    balances = [e for f in heard.frames for e in f.events if isinstance(e, AccountUpdate)]
    assert all(b.balance > 140_000 for b in balances)


def test_no_token_in_any_line_or_byte(sim, listen, caplog):
    caplog.set_level("DEBUG")
    heard = listen()
    token = heard.provider()
    sim.fault("refuse_sockets", status=401, times=1)
    sim.fault("raw_frame", text=json.dumps({"type": 7, "error": token}) + "\x1e")
    for _ in range(3):
        heard.wait_for(StreamDown)
    heard.come_back(sim)
    sim.deal("MGC", Side.BUY)
    heard.wait_for(Fill)
    heard.client.stop()
    events = [e for f in heard.frames for e in f.events]
    lines = b"".join([*map(journal.frame_line, heard.frames), *map(journal.event_line, events)])
    for secret in (token, heard.provider()):
        assert secret not in caplog.text
        assert secret.encode() not in lines
