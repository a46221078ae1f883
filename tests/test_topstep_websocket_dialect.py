"""What is asked of the hubs and what is made of their silence, without a socket: time is a number."""

import json
import logging

import pytest

from core.messages import AccountUpdate
from core.model import Quote
from runtime.clock import ManualClock
from runtime.dialect import BadFrame, Closed, Mute
from runtime.venue import CredentialsRefused, VenueUnavailable
from tests.topstep_hub import (
    ACCOUNT,
    ACCOUNT_ROW,
    CONTRACTS,
    MES,
    MGC,
    MNQ,
    NOW,
    RS,
    TOKEN,
    a_print,
    event,
    prints,
    quote,
    wrapped,
)
from venues.topstepx.dialect import MarketDialect, UserDialect
from venues.topstepx.frames import TopstepFrameReader
from venues.topstepx.hub import Timing

URL = "wss://rtc.topstepx.com/hubs/market"


class Talk:
    """One connection of a dialect: what it sends, answered by hand, at times of our choosing."""

    def __init__(self, dialect, now_s: float = 100.0) -> None:
        self.dialect, self.now_s = dialect, now_s
        self.ids: dict[str, str] = {}  # the newest call of each name
        self.is_shaken = False
        dialect.opened(now_s)

    def sent(self) -> list[str]:
        """What was queued since the last look: `handshake`, `ping`, `+Orders`, `-ContractQuotes MGC`."""
        out = []
        while self.dialect.outgoing:
            for text in self.dialect.outgoing.popleft().split(RS)[:-1]:
                out.append(self._word(json.loads(text)))
        return out

    def _word(self, record) -> str:
        if "protocol" in record:
            return "handshake"
        if record["type"] == 6:
            return "ping"
        target = record["target"]
        sign, what = ("-", target[11:]) if target.startswith("Un") else ("+", target[9:])
        names = [str(CONTRACTS.get(a, a)) for a in record["arguments"]]
        word = " ".join([sign + what, *names])
        self.ids[word] = record["invocationId"]
        return word

    def hear(self, *texts):
        return [e for t in texts for e in self.dialect.received(t.encode(), NOW, self.now_s)]

    def shake(self):
        self.hear("{}")
        self.is_shaken = True
        return self

    def answer(self, *words, error=None):
        for word in words:
            record = {"type": 3, "invocationId": self.ids[word]}
            self.hear(json.dumps(record | ({"result": 0} if error is None else {"error": error})))

    def up(self):
        self.shake()
        self.answer(*(word for word in self.sent() if word[0] == "+"))
        assert self.dialect.is_up
        return self

    def after(self, seconds: float) -> list[str]:
        """Tend in small steps, as the thread does, for `seconds`; the venue's pings come."""
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            self.now_s = min(self.now_s + 0.25, end_s)
            if self.is_shaken and int(self.now_s * 4) % 60 == 0:
                self.hear('{"type":6}')
            self.dialect.tend(self.now_s)
        return [word for word in self.sent() if word != "ping"]


class Tokens:
    """token() and refresh_token(): a new one each time it is refreshed."""

    def __init__(self) -> None:
        self.refreshed = 0
        self.error: Exception | None = None

    def __call__(self) -> str:
        if self.error:
            raise self.error
        return f"{TOKEN}{self.refreshed}"

    def refresh(self) -> None:
        self.refreshed += 1


@pytest.fixture
def tokens():
    return Tokens()


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
def market(tokens, clock):
    def make(*contracts, depth=(), is_open=lambda symbol, now_ms: True, timing=None):
        wanted = {c: CONTRACTS[c] for c in contracts or [MGC]}
        reader = TopstepFrameReader(ACCOUNT, wanted)
        return MarketDialect(URL, wanted, depth, reader, tokens, tokens.refresh, clock, is_open, timing or Timing())

    return make


@pytest.fixture
def user(tokens, clock):
    def make(is_open=lambda symbol, now_ms: True, timing=None):
        reader = TopstepFrameReader(ACCOUNT, CONTRACTS)
        return UserDialect(URL, ACCOUNT, reader, tokens, tokens.refresh, clock, is_open, ["MGC"], timing or Timing())

    return make


FLOWS = ["+ContractQuotes MGC", "+ContractTrades MGC"]
USER_CALLS = ["+Accounts", f"+Orders {ACCOUNT}", f"+Positions {ACCOUNT}", f"+Trades {ACCOUNT}"]


# --- the beginning ----------------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_the_handshake_is_answered(market):
    talk = Talk(market(MGC, MNQ, depth=[MNQ]))
    assert talk.sent() == ["handshake"]
    talk.shake()
    wanted = [*FLOWS, "+ContractQuotes MNQ", "+ContractTrades MNQ", "+ContractMarketDepth MNQ"]
    assert talk.sent() == ["ping", *wanted]
    talk.answer(*wanted[:-1])
    assert not talk.dialect.is_up
    talk.answer(wanted[-1])
    assert talk.dialect.is_up
    assert talk.dialect.subscriptions == 5


def test_what_is_asked_of_the_user_hub(user):
    talk = Talk(user()).shake()
    assert talk.sent() == ["handshake", "ping", *USER_CALLS]


def test_ids_are_never_used_twice(market):
    dialect = market()
    seen = set()
    for _ in range(3):
        talk = Talk(dialect).up()
        assert not seen & set(talk.ids.values())
        seen |= set(talk.ids.values())
        dialect.closed(talk.now_s, dropped=True)


def test_completions_come_in_any_order_and_between_events(market):
    talk = Talk(market()).shake()
    talk.sent()
    talk.answer(FLOWS[1])
    assert talk.hear(quote(bestBid=1, bestAsk=2))  # and data is as good as an answer
    assert talk.dialect.is_up
    talk.answer(FLOWS[0], error="too late to matter")
    assert talk.dialect.is_up


def test_a_completion_with_result_and_error_is_an_error(market):
    talk = Talk(market()).shake()
    talk.sent()
    talk.hear(json.dumps({"type": 3, "invocationId": talk.ids[FLOWS[0]], "result": 0, "error": "no"}))
    talk.answer(FLOWS[1])
    assert not talk.dialect.is_up


def test_a_completion_nobody_waits_for(market):
    talk = Talk(market()).up()
    assert talk.hear('{"type":3,"invocationId":"999","error":"x"}', '{"type":3}') == []


def test_a_refused_handshake(market):
    with pytest.raises(Closed, match="The protocol 'xml' is not supported"):
        Talk(market()).hear('{"error":"The protocol \'xml\' is not supported."}')


@pytest.mark.parametrize("raw", ['{"type":6}', "HTTP/1.1 200 OK", event("GatewayQuote", MGC, {})])
def test_what_is_no_answer_to_the_handshake_is_not_waited_on_for_ever(market, raw):
    talk = Talk(market())
    with pytest.raises(BadFrame):
        talk.hear(raw)
    talk.after(5.0)
    with pytest.raises(Mute, match="handshake"):
        talk.after(0.5)


def test_a_close_instead_of_an_answer(market):
    with pytest.raises(Closed, match="the hub closed"):
        Talk(market()).hear('{"type":7}')


# --- pings ------------------------------------------------------------------------------------------------------------


def test_a_ping_every_fifteen_seconds(user):
    talk = Talk(user()).up()
    talk.sent()
    pings = 0
    for _ in range(240):
        talk.now_s += 0.25
        talk.hear('{"type":6}')
        talk.dialect.tend(talk.now_s)
        pings += talk.sent().count("ping")
    assert pings == 4


def test_any_record_counts_as_life_and_none_for_thirty_seconds_is_the_end(user):
    talk = Talk(user()).up()
    for record in ['{"type":6}', '{"type":99}', wrapped("GatewayUserAccount", ACCOUNT_ROW), '{"type":3}']:
        talk.now_s += 29.0
        talk.dialect.tend(talk.now_s)
        talk.hear(record)
    with pytest.raises(BadFrame):
        talk.hear("rubbish")
    talk.now_s += 30.25
    with pytest.raises(Mute, match="no record in 30s"):
        talk.dialect.tend(talk.now_s)


def test_a_user_hub_that_only_pings_is_alive(user):
    talk = Talk(user()).up()
    assert talk.after(3600.0) == []


# --- calls that fail --------------------------------------------------------------------------------------------------

NO_METHOD = "Failed to invoke 'X' due to an error on the server. HubException: Method does not exist."


def test_a_refused_call_is_made_again_then_given_up_and_the_others_live(market, caplog):
    talk = Talk(market(MGC, MNQ)).shake()
    words = [w for w in talk.sent() if w[0] == "+"]
    talk.answer(*words[1:])
    talk.answer(words[0], error=NO_METHOD)
    assert not talk.dialect.is_up
    assert talk.after(2.5) == [FLOWS[0]]
    talk.answer(FLOWS[0], error=NO_METHOD)
    assert talk.dialect.is_up
    assert talk.dialect.quarantined == ("quotes for MGC",)
    assert talk.dialect.subscriptions == 3
    (error,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert error == f"subscription_refused name='quotes for MGC' why='{NO_METHOD}'"


def test_what_was_given_up_is_asked_for_again_each_minute_and_not_reported_again(market, caplog):
    talk = Talk(market(MGC, MNQ)).shake()
    talk.answer(*[w for w in talk.sent() if w[0] == "+" and w != FLOWS[0]])
    asked = 1
    for _ in range(300):
        talk.hear(*[quote(c, f"2026-08-19T21:{_ // 60:02}:{_ % 60:02}Z", bestBid=1, bestAsk=2) for c in [MNQ]])
        talk.hear(prints(a_print()), prints(a_print(), contract=MNQ))
        asked += talk.after(1.0).count(FLOWS[0])
    assert 5 <= asked <= 7
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1
    while FLOWS[0] not in talk.after(1.0):
        talk.hear(prints(a_print(), contract=MNQ))
    talk.answer(FLOWS[0])
    assert talk.dialect.quarantined == ()


def test_silence_is_a_refusal(market):
    talk = Talk(market()).shake()
    talk.sent()
    talk.answer(FLOWS[1])
    assert talk.after(8.0) == [FLOWS[0]]
    talk.after(5.5)
    assert talk.dialect.quarantined == ("quotes for MGC",)


def test_a_market_hub_that_takes_nothing_is_of_no_use(market):
    talk = Talk(market()).shake()
    talk.sent()
    with pytest.raises(Closed, match="no answer"):
        talk.after(30.0)


@pytest.mark.parametrize("word", USER_CALLS)
def test_a_user_hub_without_one_of_its_calls_is_of_no_use(user, word):
    talk = Talk(user()).shake()
    talk.sent()
    talk.answer(*[w for w in USER_CALLS if w != word])
    talk.answer(word, error="nope")
    assert not talk.dialect.is_up
    assert talk.after(2.5) == [word]
    with pytest.raises(Closed, match="nope"):
        talk.answer(word, error="nope")


def test_events_before_the_answers_are_passed_on_and_prove_nothing(user):
    talk = Talk(user()).shake()
    (found,) = talk.hear(wrapped("GatewayUserAccount", ACCOUNT_ROW))
    assert isinstance(found, AccountUpdate)
    assert not talk.dialect.is_up


def test_a_hub_that_ends_the_connection_at_one_call_is_narrowed_down(market, caplog):
    dialect = market(MGC, MNQ)
    for _ in range(3):  # everything at once: nobody is to blame
        talk = Talk(dialect).shake()
        assert len(talk.sent()) > 4
        dialect.closed(talk.now_s, dropped=True)
    for _ in range(3):
        talk = Talk(dialect).shake()
        talk.sent()
        while (words := talk.after(0.75)) != ["+ContractTrades MGC"]:
            talk.answer(*words)  # one at a time now
            assert len(words) <= 1
        dialect.closed(talk.now_s, dropped=True)
    assert dialect.quarantined == ("trades for MGC",)
    talk = Talk(dialect).shake()
    while not dialect.is_up:
        talk.answer(*(w for w in talk.after(0.75) if w[0] == "+"))
    assert dialect.subscriptions == 3
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1


def test_closes_while_subscribing_make_nobody_a_suspect(market, user):
    for dialect in (market(), user()):
        for _ in range(17):
            talk = Talk(dialect).shake()
            talk.sent()
            dialect.closed(talk.now_s, dropped=True)
        assert dialect.quarantined == ()
        talk = Talk(dialect).shake()
        while not dialect.is_up:
            talk.answer(*(w for w in talk.after(0.75) if w[0] == "+"))


# --- the end, and tokens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record, refreshed",
    [
        ('{"type":7,"error":"Connection closed with an error.","allowReconnect":true}', 0),
        ('{"type":7,"allowReconnect":true}', 0),
        ('{"type":7}', 1),
        ('{"type":7,"error":"Connection closed with an error."}', 1),
        ('{"type":7,"allowReconnect":false}', 1),
        ('{"type":7,"allowReconnect":null}', 1),
    ],
)
def test_a_close_without_leave_to_return_needs_a_fresh_token(market, tokens, record, refreshed):
    dialect = market()
    before = dialect.url()
    talk = Talk(dialect).up()
    with pytest.raises(Closed, match="the hub closed"):
        talk.hear(record)
    assert (dialect.url() != before, tokens.refreshed) == (bool(refreshed), refreshed)
    dialect.url()
    assert tokens.refreshed == refreshed  # once


def test_the_url_carries_the_token_escaped(market, tokens):
    assert market().url() == f"{URL}?access_token={TOKEN}0"


@pytest.mark.parametrize("status, refreshed", [(401, 1), (403, 1), (404, 0), (429, 0), (502, 0)])
def test_a_refused_upgrade(market, tokens, status, refreshed):
    dialect = market()
    dialect.url()
    dialect.refused(status)
    dialect.url()
    assert tokens.refreshed == refreshed


def test_one_login_is_enough_for_both_hubs(market, user, tokens):
    both = [market(), user()]
    for dialect in both:
        dialect.url()
    for dialect in both:
        dialect.refused(401)
    assert both[0].url() == both[1].url()
    assert tokens.refreshed == 1


@pytest.mark.parametrize("error", [VenueUnavailable("login timed out"), CredentialsRefused("wrong key")])
def test_no_token_is_a_failed_connection_like_others(market, tokens, error):
    dialect = market()
    dialect.url()
    dialect.refused(401)
    tokens.error = error
    for _ in range(2):
        with pytest.raises(VenueUnavailable, match=str(error)):
            dialect.url()
    tokens.error = None
    dialect.url()
    assert tokens.refreshed == 1  # what was refused is not forgotten by a login that failed


def test_a_logout_is_named_and_costs_the_token_with_the_connection(market, tokens, caplog):
    dialect = market()
    dialect.url()
    talk = Talk(dialect).up()
    assert talk.hear(event("GatewayLogout", {"any": "thing"}), quote(bestBid=1, bestAsk=2))
    assert "hub_logout" in caplog.text
    dialect.url()
    assert tokens.refreshed == 1


def test_a_venue_that_repeats_our_token_puts_it_in_no_text(market, tokens, caplog):
    caplog.set_level(logging.DEBUG)
    tokens.error = None
    dialect = market(MGC, MNQ)
    token = dialect.url().partition("=")[2]
    talk = Talk(dialect).shake()
    words = [w for w in talk.sent() if w[0] == "+"]
    talk.answer(words[0], error=f"no {token}")
    with pytest.raises(Closed) as e:
        talk.hear(json.dumps({"type": 7, "error": f"bye {token}"}))
    assert token not in str(e.value) + caplog.text


def test_old_connections_are_made_anew_while_markets_are_closed(market, user, tokens, clock):
    closed = [False]
    for make in (market, user):
        tokens.refreshed = 0
        closed[0] = False
        dialect = make(is_open=lambda symbol, now_ms: not closed[0], timing=Timing(renew_s=600.0, market_s_max=1e9))
        dialect.url()
        talk = Talk(dialect).up()
        for _ in range(200):
            talk.hear('{"type":6}')
            talk.now_s += 4.0
            talk.dialect._tend_second(talk.now_s) if make is user else None
        closed[0] = True
        with pytest.raises(Mute, match="fresh token"):
            talk.now_s += 4.0
            talk.dialect.tend(talk.now_s)
        dialect.url()
        assert tokens.refreshed == 1


def test_a_young_connection_outlives_the_break(user):
    talk = Talk(user(is_open=lambda symbol, now_ms: False)).up()
    talk.after(3600.0)


# --- records ----------------------------------------------------------------------------------------------------------


def test_records_of_no_use_are_let_go(market):
    talk = Talk(market()).up()
    others = ['{"type":2,"invocationId":"3","item":42}', '{"type":5,"invocationId":"3"}', '{"type":8,"sequenceId":1}']
    assert talk.hear(*others, '{"type":9,"sequenceId":1}', '{"type":42,"new":{}}') == []


@pytest.mark.parametrize(
    "text, kind",
    [
        (event("GatewayNews", 1), "unknown_target"),
        (event("gatewayquote", MGC, {}), "unknown_target"),
        (wrapped("GatewayUserAccount", ACCOUNT_ROW), "unknown_target"),  # not on this hub
        (quote(MES, bestBid=1, bestAsk=2), "not_asked_for"),
        (prints(a_print(), contract="CON.F.US.MGC.V26"), "not_asked_for"),
        ('{"type":1,"target":"GatewayQuote"}', "truncated"),
        ("[]", "wrong_type"),
    ],
)
def test_market_records_that_are_dropped(market, text, kind):
    talk = Talk(market()).up()
    with pytest.raises(BadFrame) as e:
        talk.hear(text)
    assert e.value.kind == kind


def test_market_data_are_not_for_the_user_hub(user):
    with pytest.raises(BadFrame, match="unknown_target"):
        Talk(user()).up().hear(quote(bestBid=1, bestAsk=2))


def test_known_from_the_venue_is_not_believed(market):
    talk = Talk(market()).up()
    (found,) = talk.hear(quote(bestBid=1, bestAsk=2).removesuffix("}") + ',"known":{"quote":[7,8,9]}}')
    assert (found.bid, found.ask) == (1, 2)
    assert TopstepFrameReader(ACCOUNT, {MGC: "MGC"}).read(talk.dialect.kept, NOW) == (found,)


def test_what_is_rehearsed_leaves_no_trace(market):
    talk = Talk(market()).up()
    talk.dialect.rehearse()
    talk.hear(quote(bestBid=1, bestAsk=2))
    for _ in range(3):
        talk.dialect.rehearse()
    (found,) = talk.hear(quote(updated="2026-08-19T20:51:32Z", bestBid=1.5))
    assert isinstance(found, Quote)
    assert (found.bid, found.ask) == (1.5, 2)


# --- silence of a market ----------------------------------------------------------------------------------------------


class Market:
    """Quotes of some contracts at a pace, with growing times."""

    def __init__(self, talk: Talk) -> None:
        self.talk, self.count = talk, 0

    def quote(self, contract):
        self.count += 1
        minutes, seconds = divmod(self.count, 60)
        self.talk.hear(
            quote(contract, f"2026-08-20T{minutes // 60:02}:{minutes % 60:02}:{seconds:02}Z", bestBid=1, bestAsk=2)
        )

    def run(self, seconds, *contracts, every_s=1.0):
        """What was sent meanwhile."""
        sent, left_s = [], seconds
        while left_s > 0:
            for contract in contracts:
                self.quote(contract)
            sent += self.talk.after(every_s)
            left_s -= every_s
        return sent


RENEWED = ["-ContractQuotes MGC", "+ContractQuotes MGC"]


@pytest.fixture
def both(market):
    return Market(Talk(market(MGC, MNQ)).up())


def test_a_silent_contract_is_asked_for_again_within_fifteen_seconds_then_costs_the_connection(both):
    assert both.run(15, MNQ) == []
    assert both.run(3, MNQ)[:2] == RENEWED  # nothing was heard of MGC yet: 15 s (page 3.5)
    with pytest.raises(Mute, match="MGC is silent"):
        both.run(8, MNQ)


def test_a_lively_contract_is_missed_sooner(both):
    assert RENEWED[1] not in both.run(900, MGC, MNQ)
    assert both.run(7, MNQ) == RENEWED
    with pytest.raises(Mute, match="MGC is silent"):
        both.run(7, MNQ)


def test_a_contract_that_answers_when_asked_is_quiet_not_dead(both):
    renewals = 0
    for _ in range(900):
        if RENEWED[1] in both.run(1, MNQ):
            both.quote(MGC)
            renewals += 1
    assert 3 <= renewals <= 20  # it learns


def test_a_contract_that_is_slow_at_night_is_left_in_peace(both):
    both.run(60, MGC, MNQ)
    sent = []
    for pause_s in [2, 3, 5, 8, 12, 20, *[30] * 20, 60, 60]:  # evening
        both.quote(MGC)
        sent += both.run(pause_s, MNQ)
    assert RENEWED[1] not in sent


def test_a_contract_that_never_speaks_costs_the_others_one_reconnect(both, caplog):
    dialect = both.talk.dialect
    with pytest.raises(Mute, match="MGC"):
        both.run(40, MNQ)
    dialect.closed(both.talk.now_s, dropped=False)
    both.talk = Talk(dialect, both.talk.now_s).up()
    both.run(3600, MNQ)
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert errors == ["market_mute symbol=MGC subscribed, and says nothing"]


def test_trades_that_stop_are_asked_for_again_while_quotes_go_on(both):
    sent = []
    for _ in range(1200):
        both.talk.hear(prints(a_print()))
        sent += both.run(1, MGC, MNQ)
    assert "+ContractTrades MGC" not in sent
    assert "+ContractTrades MGC" in both.run(60, MGC, MNQ)
    both.run(600, MGC, MNQ)  # and no connection is given up for it


def test_a_closed_market_may_be_silent_and_counts_from_its_opening(market):
    opens_s = 100.0 + 7200.0
    talk = None
    dialect = market(is_open=lambda symbol, now_ms: talk is not None and talk.now_s >= opens_s)
    talk = Talk(dialect).up()
    assert talk.after(7200.0) == []
    assert talk.after(14.0) == []
    assert talk.after(3.0) == RENEWED
    talk.hear(quote(bestBid=1, bestAsk=2))


# --- more contracts --------------------------------------------------------------------------------------------------

OTHER = "CON.F.US.ENQ.Z26"


def test_contracts_to_watch_are_asked_for_now_and_after_a_reconnect(market, caplog):
    caplog.set_level(logging.INFO)
    dialect = market()
    dialect.watch([OTHER])
    talk = Talk(dialect)
    talk.after(1.0)  # not connected yet
    talk.up()
    wanted = [f"+ContractQuotes {OTHER}", f"+ContractTrades {OTHER}"]
    dialect.watch([OTHER, MGC])
    assert talk.after(1.0) == wanted
    talk.answer(*wanted)
    assert "Subscribed to WebSocket quotes for NQ" in caplog.text
    (found,) = talk.hear(quote(OTHER, bestBid=1, bestAsk=2))
    assert found.symbol == "NQ"
    dialect.watch([OTHER])
    assert talk.after(1.0) == []
    dialect.closed(talk.now_s, dropped=True)
    again = Talk(dialect).shake()
    assert [w for w in again.sent() if w[0] == "+"] == [*FLOWS, *wanted]


def test_contracts_no_longer_held_are_let_go(market):
    dialect = market()
    talk = Talk(dialect).up()
    dialect.watch([OTHER, MGC])
    assert talk.after(0.5) == [f"+ContractQuotes {OTHER}", f"+ContractTrades {OTHER}"]
    dialect.watch([])
    assert talk.after(0.5) == [f"-ContractQuotes {OTHER}", f"-ContractTrades {OTHER}"]
    assert talk.hear(quote(OTHER, bestBid=1, bestAsk=2)) == []  # was still on its way
    assert talk.hear(quote(MGC, bestBid=1, bestAsk=2))
    dialect.watch([OTHER])
    assert talk.after(0.5) == [f"+ContractQuotes {OTHER}", f"+ContractTrades {OTHER}"]
    assert talk.hear(quote(OTHER, "2026-08-19T20:51:32Z", bestBid=1, bestAsk=2))


def test_a_key_of_the_venue_with_the_name_of_ours_misleads_no_replay(user):
    talk = Talk(user()).up()
    text = wrapped("GatewayUserAccount", ACCOUNT_ROW)
    for claim in ("null", "[[]]", '{"multiplier":"7"}'):
        raw = f'{text[:-1]},"known":{claim}}}'
        events = talk.hear(raw)
        kept = talk.dialect.kept or raw.encode()
        assert events and TopstepFrameReader(ACCOUNT, CONTRACTS).read(kept, NOW) == tuple(events)
