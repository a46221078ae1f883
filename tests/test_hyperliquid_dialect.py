"""What is asked of Hyperliquid and what is made of its answers, without a socket: time is a number."""

import json

import pytest

from runtime.dialect import BadFrame, Mute
from tests.hyperliquid_frames import (
    CTX,
    FILL,
    NOW,
    SNAPSHOT,
    USER,
    swap,
)
from tests.wsserver import ctx, trade, trades
from venues.hyperliquid.dialect import HyperliquidDialect, Timing


class Talk:
    """One connection of a dialect: what it sends, answered by hand, at times of our choosing."""

    def __init__(self, dialect: HyperliquidDialect, now_s: float = 100.0) -> None:
        self.dialect, self.now_s = dialect, now_s
        dialect.opened(now_s)

    def sent(self) -> list[str]:
        """What was queued since the last look: `ping`, `+trades:BTC`, `-userFills`."""
        out = []
        while self.dialect.outgoing:
            request = json.loads(self.dialect.outgoing.popleft())
            sub = request.get("subscription", {})
            sign = {"subscribe": "+", "unsubscribe": "-"}.get(request["method"], "")
            name = ":".join(v for v in (sub.get("type"), sub.get("coin")) if v)
            out.append(f"{sign}{name}" if sign else request["method"])
        return out

    def hear(self, *messages):
        return [e for m in messages for e in self.dialect.received(_raw(m), NOW, self.now_s)]

    def ack(self, *names):
        for name in names:
            channel, _, coin = name.partition(":")
            sub = {"type": channel, "coin": coin} if coin else {"type": channel, "user": USER, "aggregateByTime": False}
            self.hear({"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": sub}})

    def up(self):
        """Acknowledge all that was asked for."""
        self.ack(*(name[1:] for name in self.sent() if name[0] == "+"))
        self.hear(PONG)
        assert self.dialect.is_up
        return self

    def after(self, seconds: float):
        """Tend in small steps, as the thread does, for `seconds`."""
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self.now_s = min(self.now_s + 0.25, end_s)
            self.dialect.tend(self.now_s)
        return self.sent()


PONG = {"channel": "pong"}


def _raw(message):
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def _dialect(*coins, user=None, candles=None, books=(), timing=None):
    return HyperliquidDialect("ws://127.0.0.1/ws", coins, user, candles or {}, books, timing or Timing())


def test_what_is_asked_for():
    talk = Talk(_dialect("BTC", "ETH", user=USER, candles={"BTC": "1m"}, books=["ETH"]))
    assert talk.sent() == [
        "ping",
        "+userFills",
        "+orderUpdates",
        "+activeAssetCtx:BTC",
        "+trades:BTC",
        "+bbo:BTC",
        "+candle:BTC",
        "+activeAssetCtx:ETH",
        "+trades:ETH",
        "+bbo:ETH",
        "+l2Book:ETH",
    ]
    assert not talk.dialect.is_up


def test_more_than_the_venue_allows_is_refused():
    with pytest.raises(ValueError, match="1002"):
        _dialect(*(f"C{i}" for i in range(334)))


def test_up_when_all_is_acknowledged_in_any_spelling():
    dialect = _dialect("BTC", user=USER.upper().replace("X", "x"), books=["BTC"])
    talk = Talk(dialect)
    talk.ack("userFills", "orderUpdates", "activeAssetCtx:BTC", "trades:BTC")
    assert not dialect.is_up
    talk.hear({"channel": "error", "data": 'Already subscribed: {"type":"bbo","coin":"BTC"}'})
    assert not dialect.is_up
    echo = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False}
    talk.hear({"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": echo}})
    assert dialect.is_up
    assert dialect.subscriptions == 6


def test_data_is_as_good_as_an_acknowledgement():
    talk = Talk(_dialect("BTC"))
    talk.ack("trades:BTC", "bbo:BTC")
    talk.hear(CTX)
    assert talk.dialect.is_up


def test_a_price_nobody_asked_for_is_a_bad_frame():
    with pytest.raises(BadFrame, match="not_asked_for"):
        Talk(_dialect("BTC")).hear(ctx("DOGE"))


def test_a_missing_acknowledgement_is_asked_for_once_more_then_named(caplog):
    talk = Talk(_dialect("BTC", "ETH"))
    talk.sent()
    talk.ack("activeAssetCtx:BTC", "bbo:BTC", "activeAssetCtx:ETH", "trades:ETH", "bbo:ETH")
    sent = []
    for _ in range(12):
        talk.hear(PONG, CTX, ctx("ETH"))
        sent += [s for s in talk.after(1.0) if s != "ping"]
    assert sent == ["+trades:BTC"]
    assert talk.dialect.is_up  # the others live
    (error,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert "trades for BTC" in error and "no acknowledgement" in error


def test_no_acknowledgement_at_all_is_a_mute_socket():
    talk = Talk(_dialect("BTC"))
    with pytest.raises(Mute, match="activeAssetCtx for BTC"):
        for _ in range(10):
            talk.hear(PONG)
            talk.after(1.0)


def test_a_refused_coin_is_named_once_and_the_others_live(caplog):
    dialect = _dialect("BTC", "NOPE")
    for turn in range(2):
        talk = Talk(dialect)
        talk.ack("activeAssetCtx:BTC", "trades:BTC", "bbo:BTC")
        for channel in ("activeAssetCtx", "trades", "bbo"):
            text = f'Invalid subscription {{"type":"{channel}","coin":"NOPE"}}'
            talk.hear({"channel": "error", "data": text})
        assert dialect.is_up
        assert dialect.subscriptions == 3
        errors = [r for r in caplog.records if r.levelname == "ERROR"]
        assert len(errors) == 3, turn  # each once, not again after the reconnect
        dialect.closed(talk.now_s, dropped=True)


def test_a_drop_while_subscribing_is_narrowed_down_and_quarantined(caplog):
    dialect = _dialect("NOPE", "BTC")
    first = Talk(dialect)
    first.sent()
    first.hear(PONG)
    dialect.closed(first.now_s, dropped=True)  # first unanswered: activeAssetCtx of NOPE
    second = Talk(dialect)
    assert second.sent() == ["ping"]  # one at a time now, and only once it lives
    second.hear(PONG)
    asked = []
    while (sent := second.sent()) and "NOPE" not in sent[0]:
        asked += sent
        second.ack(sent[0][1:])
    assert asked == ["+activeAssetCtx:BTC", "+trades:BTC", "+bbo:BTC"]  # the suspect comes last
    assert sent == ["+activeAssetCtx:NOPE"]
    dialect.closed(second.now_s, dropped=True)
    assert set(dialect.quarantined) == {"activeAssetCtx for NOPE", "trades for NOPE", "bbo for NOPE"}
    third = Talk(dialect)
    third.hear(PONG)
    while sent := third.sent():
        for name in sent:
            assert "NOPE" not in name
            if name[0] == "+":
                third.ack(name[1:])
    assert dialect.is_up
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1


def test_a_venue_that_only_hangs_up_makes_nobody_a_suspect():
    dialect = _dialect("BTC")
    for _ in range(10):
        talk = Talk(dialect)
        talk.sent()
        dialect.closed(talk.now_s, dropped=True)  # it never said a word
    assert dialect.quarantined == ()


def test_a_drop_without_a_word_proves_nothing():
    dialect = _dialect("BTC")
    Talk(dialect).sent()
    dialect.closed(100.0, dropped=True)
    talk = Talk(dialect)
    talk.hear(PONG)
    assert talk.sent() == ["ping", "+activeAssetCtx:BTC"]
    dialect.closed(100.0, dropped=True)  # the first drop that points at anything
    assert dialect.quarantined == ()


def test_our_own_reconnects_make_nobody_a_suspect():
    dialect = _dialect("BTC")
    for _ in range(10):
        talk = Talk(dialect)
        talk.hear(PONG)
        dialect.closed(talk.now_s, dropped=False)
    assert dialect.quarantined == ()


# --- silence --------------------------------------------------------------------------------------------------------


def test_a_mute_socket_is_asked_and_then_given_up_within_five_seconds():
    talk = Talk(_dialect("BTC")).up()
    talk.hear(CTX)
    assert talk.after(2.5) == ["ping"]
    with pytest.raises(Mute, match="no frame"):
        talk.after(2.5)


def test_a_socket_that_answers_pings_is_not_mute():
    talk = Talk(_dialect("BTC")).up()
    for _ in range(40):
        assert talk.after(0.5) in ([], ["ping"])
        talk.hear(PONG, CTX)


def test_a_ping_every_twenty_seconds_must_be_answered():
    talk = Talk(_dialect("BTC")).up()
    sent = []
    for _ in range(21):
        talk.hear(CTX)
        sent += talk.after(1.0)
    assert sent == ["ping"]
    with pytest.raises(Mute, match="pong"):
        for _ in range(6):
            talk.hear(CTX)
            talk.after(1.0)


def _both_speak(talk, seconds, *, silent=()):
    """Contexts of BTC and ETH once a second, less those in `silent`; returns what was sent besides pings."""
    sent = []
    for _ in range(seconds):
        talk.hear(*(ctx(coin) for coin in ("BTC", "ETH") if coin not in silent), PONG)
        sent += [s for s in talk.after(1.0) if s != "ping"]
    return sent


def test_a_mute_market_is_asked_for_again_within_five_seconds_and_then_costs_the_connection():
    talk = Talk(_dialect("BTC", "ETH")).up()
    assert _both_speak(talk, 30) == []
    assert _both_speak(talk, 4, silent=["BTC"]) == ["-activeAssetCtx:BTC", "+activeAssetCtx:BTC"]
    with pytest.raises(Mute, match="BTC is silent"):
        _both_speak(talk, 2, silent=["BTC"])


def test_a_market_that_answers_when_asked_is_quiet_not_mute():
    talk = Talk(_dialect("BTC", "ETH")).up()
    renewals = 0
    for _ in range(300):
        if "+activeAssetCtx:BTC" in _both_speak(talk, 1, silent=["BTC"]):
            talk.hear(ctx("BTC"))  # a context follows every subscribe
            renewals += 1
    assert 5 <= renewals <= 9  # it learns: once a minute in the end


def test_a_market_that_woke_up_is_held_to_its_new_rhythm():
    talk = Talk(_dialect("BTC", "ETH")).up()
    for _ in range(300):
        if "+activeAssetCtx:BTC" in _both_speak(talk, 1, silent=["BTC"]):
            talk.hear(ctx("BTC"))
    assert "+activeAssetCtx:BTC" not in _both_speak(talk, 10, silent=["BTC"])
    _both_speak(talk, 900)
    assert _both_speak(talk, 4, silent=["BTC"]) == ["-activeAssetCtx:BTC", "+activeAssetCtx:BTC"]


def test_a_coin_that_never_speaks_does_not_cost_the_others_more_than_one_reconnect(caplog):
    dialect = _dialect("BTC", "ETH")
    talk = Talk(dialect).up()
    with pytest.raises(Mute, match="BTC"):
        _both_speak(talk, 10, silent=["BTC"])
    dialect.closed(talk.now_s, dropped=False)
    talk = Talk(dialect, talk.now_s).up()
    _both_speak(talk, 600, silent=["BTC"])  # acknowledged, and silent for ever: the third form of an unknown coin
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert errors == ["market_mute coin=BTC acknowledged, and says nothing"]


def test_one_silent_channel_is_renewed_and_does_not_cost_the_connection():
    talk = Talk(_dialect("BTC", "ETH")).up()
    for i in range(900):  # trades every second, long enough to learn their rhythm
        talk.hear(trades(trade("BTC", i)))
        assert _both_speak(talk, 1) in ([], ["-bbo:BTC", "+bbo:BTC"], ["-bbo:ETH", "+bbo:ETH"]) or i > 50
    assert "+trades:BTC" in _both_speak(talk, 15)
    assert _both_speak(talk, 300).count("+trades:BTC") <= 8  # no answer: perhaps nobody trades; once a minute will do


# --- the fill stream ------------------------------------------------------------------------------------------------


def _user_talk():
    talk = Talk(_dialect("BTC", user=USER))
    talk.up()
    talk.hear(SNAPSHOT)
    return talk


def _pass(talk, seconds):
    """Time passes, prices flow; returns what was sent besides pings."""
    sent = []
    for _ in range(seconds):
        talk.hear(CTX, PONG)
        sent += [s for s in talk.after(1.0) if s != "ping"]
    return sent


def test_the_fill_stream_is_asked_to_prove_itself():
    talk = _user_talk()
    assert _pass(talk, 3) == ["-userFills", "+userFills"]
    assert talk.hear(SNAPSHOT) == []  # word for word what we know
    other = swap(swap(SNAPSHOT, b"246814713305894", b"7"), b"[", b"[" + FILL + b",")
    assert _pass(talk, 3) == ["-userFills", "+userFills"]
    (fill,) = talk.hear(other)  # one more than before: that one is news
    assert fill.fill_id == "1790357129742:BTC:7"


def test_a_mute_fill_stream_is_noticed_within_seconds():
    talk = _user_talk()
    for _ in range(12):
        if _pass(talk, 1):
            talk.hear(SNAPSHOT)
    with pytest.raises(Mute, match="fill stream"):
        _pass(talk, 6)


def test_already_subscribed_is_an_answer():
    talk = _user_talk()
    for _ in range(30):
        if _pass(talk, 1):
            text = f'Already subscribed: {{"type":"userFills","user":"{USER}","aggregateByTime":false}}'
            talk.hear({"channel": "error", "data": text})


def test_a_venue_without_a_second_history_is_believed_by_its_acknowledgement():
    talk = _user_talk()
    for _ in range(30):
        if _pass(talk, 1):
            talk.ack("userFills")


def test_a_long_history_is_asked_for_less_often():
    talk = Talk(_dialect("BTC", user=USER)).up()
    rows = b",".join(swap(FILL, b"246814713305894", str(i).encode()) for i in range(1000))
    history = swap(SNAPSHOT, FILL, rows)
    assert len(talk.hear(history)) == 1000
    assert _pass(talk, len(history) // 20_000) == []
    assert _pass(talk, 2) == ["-userFills", "+userFills"]
