"""The window into the bot: /health, /metrics, the page, logs/status.json, and notifications. Real sockets, port 0."""

import http.server
import io
import json
import logging
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from commands import status_table
from runtime import snapshot as snapshot_module
from runtime import status_page
from runtime.clock import ManualClock
from runtime.health import HealthServer, StatusWriter, is_local
from runtime.notify import QUEUE_MAX, Notifier
from runtime.snapshot import (
    HealthSnapshot,
    JournalHealth,
    MarketHealth,
    OrdersHealth,
    PositionHealth,
    PropHealth,
    Published,
    RequestsHealth,
    RoomHealth,
    SourceHealth,
    StreamHealth,
    encode,
    grown_older,
    overall,
    read_status,
    write_status,
)

NOW_MS = 1_790_000_000_000
LONG = PositionHealth(
    side="BUY", size=D("0.01"), entry_price=D(49900), unrealized_pnl=D("1.00"), stop=D(49401), protected_at_venue=True
)
SOURCES = {
    "trades": SourceHealth(lag_ms=85, age_s=0.2, per_s=12.5, verdict="real-time"),
    "quotes": SourceHealth(lag_ms=9_000, age_s=1.0, per_s=0.0, verdict="lagging", frozen=True),
    "rest": SourceHealth(),
}
BTC = MarketHealth(
    current_price=D("50000.0"), price_source="websocket", price_age_s=0.2, lag_ms=85, verdict="real-time",
    position=LONG, sources=SOURCES,
)  # fmt: skip

PROP = PropHealth(
    preset="combine_50k", balance=D(50_000), equity=D("49990.08"), locked="own_daily_loss", excess="MGC 4 of 3",
    limits={
        "max_loss_limit": RoomHealth(level=D("48000.00"), dollars=D("1990.08"), ticks=D(995)),
        "own_daily_loss": RoomHealth(level=D("49800.00"), dollars=None, ticks=None),
    },
    best_day=D(100), target_needed=D(3000), target_total=D(-10),
)  # fmt: skip


def snap(**changes: Any) -> HealthSnapshot:
    whole = HealthSnapshot(
        status="ok",
        venue="hyperliquid",
        network="mainnet",
        dry_run=False,
        uptime_s=5400,
        websocket=StreamHealth(
            mode="websocket",
            connected=True,
            subscriptions=3,
            last_message_time="2026-11-21T22:41:07.120Z",
            last_message_age_s=0.2,
            reconnects=1,
        ),
        markets={"BTC": BTC},
        orders=OrdersHealth(open=1, by_status={"FILLED": 4, "REJECTED": 1}),
        equity=D("10001.00"),
        daily_pnl=D("1.00"),
        published_ms=NOW_MS,
    )
    return msgspec.structs.replace(whole, **changes)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def url(published: Published, clock: ManualClock) -> Iterator[str]:
    server = HealthServer(published, "127.0.0.1", 0, clock)
    server.start()
    found = server.url()
    assert found is not None
    yield found
    server.stop()
    assert not server._thread.is_alive()


def test_a_stop_that_is_slow_to_wake_the_loop_finds_the_waker_open(published: Published, clock: ManualClock) -> None:
    """A worker wakes the loop as well: it may have ended before our own byte is written, to a number that may by then
    be another file's."""
    server = HealthServer(published, "127.0.0.1", 0, clock)
    server.start()
    assert server.url() is not None
    trigger = server._server.trigger
    wake = trigger._physical_pull

    def wake_twice() -> None:
        wake()
        deadline = time.monotonic() + 5
        while server._sockets and time.monotonic() < deadline:
            time.sleep(0.001)
        wake()

    trigger._physical_pull = wake_twice
    server.stop()
    assert not server._thread.is_alive()
    with pytest.raises(OSError):
        wake()  # closed in the end


# --- the snapshot ---------------------------------------------------------------------------------------------------


def test_the_format_is_the_documented_one() -> None:
    shown = json.loads(encode(snap()))
    assert list(shown)[:12] == [
        *("status", "venue", "network", "dry_run", "uptime_s", "websocket", "markets", "orders", "equity", "daily_pnl"),
        *("halted", "requests"),
    ]
    assert shown["websocket"] == {
        "mode": "websocket",
        "connected": True,
        "subscriptions": 3,
        "last_message_time": "2026-11-21T22:41:07.120Z",
        "last_message_age_s": 0.2,
        "reconnects": 1,
        "attempt": 0,
    }
    market = shown["markets"]["BTC"]
    assert market["current_price"] == "50000.0" and (market["price_age_s"], market["lag_ms"]) == (0.2, 85)
    documented = {"side": "BUY", "size": "0.01", "entry_price": "49900", "unrealized_pnl": "1.00", "stop": "49401"}
    assert market["position"].items() >= (documented | {"protected_at_venue": True}).items()
    assert (shown["orders"]["open"], shown["equity"], shown["halted"]) == (1, "10001.00", None)


@pytest.mark.parametrize(
    "halted, ages, expected",
    [
        (None, [0.1, 3.0], "ok"),
        (None, [0.1, 3.1], "stale"),
        (None, [None], "starting"),
        ("order errors", [0.1], "halted"),
        (None, [], "ok"),
    ],
)
def test_overall(halted: str | None, ages: list[float | None], expected: str) -> None:
    markets = [MarketHealth(current_price=None if age is None else D(1), price_age_s=age) for age in ages]
    assert overall(halted, markets, 3.0) == expected


def test_ages_grow_and_a_silent_main_thread_is_stalled() -> None:
    later = grown_older(snap(), NOW_MS + 5_000)
    assert (later.status, later.uptime_s) == ("ok", 5405)
    assert later.markets["BTC"].sources["trades"].age_s == 5.2 and later.markets["BTC"].sources["rest"].age_s is None
    assert (later.markets["BTC"].price_age_s, later.websocket.last_message_age_s) == (5.2, 5.2)
    hung = grown_older(snap(), NOW_MS + 5_001)
    assert hung.status == "stalled" and hung.markets["BTC"].verdict == "silent"
    ended = grown_older(snap(status="stopped"), NOW_MS + 60_000)
    assert ended.status == "stopped" and ended.markets["BTC"].verdict == "silent"
    assert grown_older(snap(), NOW_MS - 500).uptime_s == 5400  # a clock that was set back


# --- the server -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status, code", [("ok", 200), ("stale", 503), ("halted", 503), ("starting", 503), ("stopping", 503)]
)
def test_health_answers(url: str, published: Published, status: str, code: int) -> None:
    published.publish(snap(status=status))
    answer = requests.get(url + "/health", timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (code, "application/json")
    assert answer.json()["status"] == status and answer.json()["markets"]["BTC"]["current_price"] == "50000.0"


def test_health_before_the_first_snapshot_and_after_the_last(
    url: str, published: Published, clock: ManualClock
) -> None:
    assert requests.get(url + "/health", timeout=5).json() == {"status": "starting"}
    assert requests.get(url + "/", timeout=5).status_code == 200
    assert requests.get(url + "/metrics", timeout=5).text == ""
    published.publish(snap())
    clock.advance(6_000)
    answer = requests.get(url + "/health", timeout=5)
    assert (answer.status_code, answer.json()["status"]) == (503, "stalled")


def test_metrics(url: str, published: Published, clock: ManualClock) -> None:
    published.publish(
        snap(
            markets={"BTC": BTC, "ETH": MarketHealth(position=msgspec.structs.replace(LONG, side="SELL"))},
            requests=RequestsHealth(weight_used=41, weight_limit=1200),
            journal=JournalHealth(bytes=77),
            prop=PROP,
        )
    )
    clock.advance(1_000)
    text = requests.get(url + "/metrics", timeout=5).text
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found[("bot_ok",)] == 1 and found[("bot_equity",)] == 10001
    assert found[("bot_price_age_seconds", "BTC")] == 1.2 and ("bot_price_age_seconds", "ETH") not in found
    assert found[("bot_price_lag_seconds", "BTC")] == 0.085
    assert (found[("bot_real_time", "BTC")], found[("bot_real_time", "ETH")]) == (1, 0)
    assert found[("bot_source_lag_seconds", "quotes", "BTC")] == 9
    assert found[("bot_source_updates_per_second", "trades", "BTC")] == 12.5
    assert found[("bot_source_age_seconds", "trades", "BTC")] == 1.2
    assert ("bot_source_lag_seconds", "rest", "BTC") not in found  # nothing came: no figure
    assert (found[("bot_position_size", "BTC")], found[("bot_position_size", "ETH")]) == (0.01, -0.01)
    assert found[("bot_unrealized_pnl", "BTC")] == 1 and found[("bot_unprotected_seconds", "BTC")] == 0
    assert found[("bot_websocket_reconnects_total",)] == 1 and found[("bot_orders_total", "FILLED")] == 4
    assert found[("bot_request_weight_used",)] == 41 and found[("bot_journal_bytes",)] == 77
    assert found[("bot_snapshot_age_seconds",)] == 1
    room = {unit: found[(f"bot_prop_room_{unit}", "max_loss_limit")] for unit in ("dollars", "ticks")}
    assert room == {"dollars": 1990.08, "ticks": 995} and found[("bot_prop_locked",)] == 1
    assert ("bot_prop_room_dollars", "own_daily_loss") not in found  # the equity is unknown: no figure


def test_the_page(url: str, published: Published) -> None:
    position = msgspec.structs.replace(LONG, target=D(50900), exit_reason="TIME_LIMIT")
    published.publish(
        snap(
            markets={"BTC": msgspec.structs.replace(BTC, position=position)},
            protection="a stop rests",
            recent=("<b>one",),
        )
    )
    answer = requests.get(url + "/", timeout=5)
    page = answer.text
    for text in (
        "50,000.0",
        "10,001.00",
        "+1.00",
        "stop rests at the venue",
        "target 50,900",
        "real money",
        "&lt;b&gt;one",
        '<td>trades</td><td class="good">real-time</td><td>85 ms</td><td>12.5</td><td>0.2 s</td>',
        '<td class="warn">lagging, frozen</td><td>9,000 ms</td><td>0</td><td>1.0 s</td>',
    ):
        assert text in page
    assert "<td>REST</td>" not in page, "nothing came from there"
    assert "http" not in page.replace('http-equiv="refresh"', ""), "nothing from elsewhere"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"halted": "3 <orders> rejected", "status": "halted"}, "Halted: 3 &lt;orders&gt; rejected."),
        ({"status": "stale"}, "Prices are stale"),
        ({"status": "stalled"}, "has not reported for a while"),
        (
            {"websocket": StreamHealth(mode="rest_fallback", connected=False)},
            "The price stream is down (REST polling).",
        ),
        ({"orders": OrdersHealth(unknown=2)}, "2 order(s) without a known outcome"),
        ({"journal": JournalHealth(ok=False, error="disk full")}, "The journal cannot be written: disk full."),
        ({"unmanaged": ("SOL",)}, "positions in SOL"),
        ({"dry_run": True}, "paper orders"),
        ({"network": "testnet"}, "test money"),
        ({"equity": None, "daily_pnl": D("-3.5")}, "−3.50"),
        ({"markets": {"BTC": MarketHealth()}}, "no price yet"),
        ({"prop": PROP}, '<span class="label">max loss limit</span><b class="push">1,990.08 away</b>'),
        ({"prop": PROP}, "995 ticks, at an equity of 48,000.00"),
        ({"prop": PROP}, '<span class="label">own daily loss</span><b class="push">unknown</b>'),
        ({"prop": PROP}, "Locked by own daily loss: no entries until the next trading day."),
        ({"prop": PROP}, "Too much: MGC 4 of 3."),
        ({"prop": PROP}, '<b class="push">-10.00 of 3,000.00</b>'),
    ],
)
def test_the_page_says_what_is_wrong(changes: dict[str, Any], expected: str) -> None:
    assert expected in status_page.render(snap(**changes), NOW_MS)


@pytest.mark.parametrize(
    "dollars, line",
    [
        (2500, '<line class="gain" x1="2%" x2="98.0%"'),  # more than the whole: still full
        (1000, '<line class="gain" x1="2%" x2="50.0%"'),
        (999, '<line class="care" x1="2%"'),
        (400, '<line class="care" x1="2%" x2="21.2%"'),
        (399, '<line class="loss" x1="2%"'),
        (0, 'y2="6"/></svg>'),
        (-5, 'y2="6"/></svg>'),
    ],
)
def test_the_bar_shows_what_is_left_of_the_room(dollars: int, line: str) -> None:
    room = RoomHealth(level=D(48_000), dollars=D(dollars), ticks=None, whole=D(2_000))
    (found,) = re.findall(r"<svg.*?</svg>", "".join(status_page._room("max_loss_limit", room)))
    assert line in found and found.count("<line") == (1 if dollars <= 0 else 2)


@pytest.mark.parametrize("side, stop, price", [("BUY", 90, 110), ("SELL", 110, 90)])
def test_the_ruler_has_loss_left_and_gain_right(side: str, stop: int, price: int) -> None:
    position = PositionHealth(side=side, size=D(1), entry_price=D(100), stop=D(stop))
    page = status_page.render(snap(markets={"X": MarketHealth(current_price=D(price), position=position)}), NOW_MS)
    assert '<line class="gain" x1="50.0%" x2="98.0%"' in page and '<circle class="now" cx="98.0%"' in page


@pytest.mark.parametrize(
    "total_s, expected", [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_900, "1 h 05 min"), (187_200, "2 d 4 h")]
)
def test_durations(total_s: float, expected: str) -> None:
    assert status_page.duration(total_s) == expected


def test_read_only(url: str, published: Published) -> None:
    published.publish(snap())
    for method in ("post", "put", "delete", "patch"):
        for path in ("/", "/health", "/metrics"):
            assert getattr(requests, method)(url + path, timeout=5).status_code == 405
    assert requests.get(url + "/flatten", timeout=5).status_code == 404


@pytest.mark.parametrize(
    "host, code",
    [("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:8080", 200), ("evil.example", 403), ("10.0.0.1:80", 403)],
)
def test_a_foreign_name_is_refused(url: str, published: Published, host: str, code: int) -> None:
    published.publish(snap())
    assert requests.get(url + "/health", headers={"Host": host}, timeout=5).status_code == code


def test_local_names() -> None:
    assert all(is_local(host) for host in ("localhost", "127.0.0.1:8080", "::1", "[::1]", "[::1]:1"))
    assert not any(is_local(host) for host in ("", "0.0.0.0", "localhost.evil", "127.0.0.1.evil:80", "[::2]:1"))


def test_a_port_in_use_is_one_log_line(
    published: Published, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = HealthServer(published, "127.0.0.1", other.getsockname()[1], clock)
        server.start()
        assert server.url() is None
        server.stop()
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert record.getMessage().startswith("health_unavailable host=127.0.0.1 port=")


def test_stop_does_not_wait_for_a_kept_connection(published: Published, clock: ManualClock) -> None:
    server = HealthServer(published, "127.0.0.1", 0, clock)
    server.start()
    session = requests.Session()
    session.get(f"{server.url()}/health", timeout=5)  # stays open
    server.stop()
    assert not server._thread.is_alive()


def test_stop_before_start_is_harmless(tmp_path: Path, published: Published, clock: ManualClock) -> None:
    HealthServer(published, "127.0.0.1", 0, clock).stop()
    StatusWriter(published, tmp_path / "status.json", clock).stop()


# --- logs/status.json -----------------------------------------------------------------------------------------------


def test_the_file_holds_the_same_object(tmp_path: Path) -> None:
    write_status(snap(), tmp_path / "status.json")
    assert read_status(tmp_path / "status.json") == snap()
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


class SteppedClock(ManualClock):
    """Waits until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__(NOW_MS)
        self.steps: queue.Queue[None] = queue.Queue()
        self.waiting: queue.Queue[float] = queue.Queue()

    def wait(self, stop: threading.Event, delay_s: float) -> bool:
        self.waiting.put(delay_s)
        self.steps.get(timeout=5)
        return super().wait(stop, delay_s)


def test_the_file_is_written_every_second_and_once_more_at_the_end(tmp_path: Path, published: Published) -> None:
    clock, path = SteppedClock(), tmp_path / "status.json"
    writer = StatusWriter(published, path, clock)
    writer.start()
    assert clock.waiting.get(timeout=5) == 1.0
    clock.steps.put(None)
    assert clock.waiting.get(timeout=5) == 1.0
    assert not path.exists()  # nothing published yet
    published.publish(snap())
    clock.steps.put(None)
    assert clock.waiting.get(timeout=5) == 1.0
    assert read_status(path).uptime_s == 5402
    published.publish(snap(status="stopping"))
    clock.steps.put(None)
    writer._stop.set()
    writer.stop()
    assert read_status(path).status == "stopping"


def test_a_refusing_disk_is_one_log_line(
    tmp_path: Path, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    writer = StatusWriter(published, tmp_path / "missing" / "status.json", ManualClock(NOW_MS))
    published.publish(snap())
    for _ in range(3):
        writer._write()
    assert [r.getMessage().split()[0] for r in caplog.records] == ["status_write_failed"]
    (tmp_path / "missing").mkdir()
    writer._write()
    assert read_status(tmp_path / "missing" / "status.json").status == "ok"


def test_a_reader_in_the_way_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to replace a file that somebody reads."""
    refusals, waits = [PermissionError(), PermissionError()], []
    replace = Path.replace

    def sometimes(self: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", sometimes)
    monkeypatch.setattr(snapshot_module.time, "sleep", waits.append)
    write_status(snap(), tmp_path / "status.json")
    assert read_status(tmp_path / "status.json") == snap() and len(waits) == 2
    refusals.extend([PermissionError()] * 99)
    with pytest.raises(PermissionError):
        write_status(snap(), tmp_path / "status.json")


def test_a_foreign_file_is_not_a_status(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="is not a status file"):
        read_status(tmp_path / "status.json")


def test_the_status_command_shows_every_source() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(status_table(snap(), 0.5))
    text = console.export_text()
    assert "50000.0 (real-time, 0.2 s old)" in text
    assert "trades real-time, lag 85 ms, 12.5 a second, 0.2 s ago" in text
    assert "quotes lagging, lag 9000 ms" in text and "REST" not in text


def test_the_status_command_shows_the_prop_firm_limits() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(status_table(snap(prop=PROP), 0.5))
    lines = [" ".join(line.strip(" │|").split()) for line in console.export_text().splitlines()]
    for wanted in (
        "max_loss_limit │ 1990.08 away, 995 ticks (at an equity of 48000.00)",
        "own_daily_loss │ unknown (at an equity of 49800.00)",
        "profit target │ -10 of 3000, best day 100",
        "LOCKED │ own_daily_loss: no entries until the next trading day",
        "TOO MUCH │ MGC 4 of 3",
    ):
        assert wanted in lines, lines


# --- notifications --------------------------------------------------------------------------------------------------


@pytest.fixture
def channel() -> Iterator[tuple[str, "queue.Queue[dict[str, Any]]", dict[str, int]]]:
    """An HTTP service that apprise can post JSON to: its address, what came, and the status it answers with."""
    came: queue.Queue[dict[str, Any]] = queue.Queue()
    answer = {"code": 200}

    class Service(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answer["code"])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/hunter2token", came, answer
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_a_message_arrives(channel: tuple[str, "queue.Queue[dict[str, Any]]", dict[str, int]]) -> None:
    notifier = Notifier([channel[0]])
    notifier.start()
    notifier.send("halted", "3 orders rejected in a row")
    message = channel[1].get(timeout=10)
    assert (message["title"], message["message"]) == ("halted", "3 orders rejected in a row")
    notifier.stop()
    assert not notifier._thread.is_alive()


def test_failures_are_logged_once_a_kind_and_without_the_address(
    channel: tuple[str, "queue.Queue[dict[str, Any]]", dict[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    channel[2]["code"] = 500
    notifier = Notifier(["nonsense-hunter2", channel[0]])
    notifier.start()
    for index in range(3):
        notifier.send("title", str(index))
    for _ in range(3):
        channel[1].get(timeout=10)
    notifier.stop()
    texts = [record.getMessage() for record in caplog.records]
    assert [text.split()[0] for text in texts] == ["notify_refused", "notify_failed"]
    assert "hunter2" not in "\n".join(texts)


def test_a_channel_that_hangs_makes_nobody_wait(caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(["json://127.0.0.1:1/"])  # not started: nothing is ever taken off the queue
    for index in range(QUEUE_MAX + 50):
        notifier.send("title", str(index))
    assert [r.getMessage() for r in caplog.records] == [f"notify_dropped waiting={QUEUE_MAX}"]


def test_without_addresses_there_is_no_thread() -> None:
    notifier = Notifier([])
    notifier.start()
    notifier.send("title", "body")
    notifier.stop()
    assert notifier._thread.ident is None
