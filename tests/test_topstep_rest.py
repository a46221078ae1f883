"""Token, limits, envelopes and faults of TopstepX reads: answers by `responses`, bodies that break by sockets."""

import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest
import responses

from runtime.clock import ManualClock
from runtime.venue import CredentialsRefused, VenueUnavailable
from tests.loopback import CLOSE, DRIP, RESET, STALL, Reply, http, loopback_venue
from tests.topstep_answers import (
    ACCOUNT,
    ACCOUNT_ID,
    BASICS,
    DAY_MS,
    KEY,
    NOW_MS,
    SHORT,
    TOKENS,
    USER,
    Answers,
    Http,
    answering,
    client_of,
    hidden,
    jwt,
    no,
    ok,
)
from topstep_client import TopstepClient
from venues.topstepx.codes import CODES, LOGIN_ADVICE, code_name
from venues.topstepx.rest import Refusal, RequestLimits
from venues.topstepx.token import Hider, TokenKeeper


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def mocked():
    yield from answering()


# --- login ----------------------------------------------------------------------------------------------------------


def test_one_login_then_the_bearer_with_every_read(mocked, clock: ManualClock):
    answers = mocked()
    client = client_of(clock=clock)
    client.account()
    client.clone().account()
    assert answers.kinds().count("Auth/loginKey") == 1
    assert answers.asked[0] == ("Auth/loginKey", {"userName": USER, "apiKey": KEY})
    assert answers.bearers == [""] + [TOKENS[0]] * (len(answers.bearers) - 1)


@pytest.mark.parametrize("code", sorted(CODES["Auth/loginKey"]))
def test_a_refused_login_says_why_and_what_to_do(mocked, clock: ManualClock, code: int):
    name = CODES["Auth/loginKey"][code]
    answers = mocked(Auth__loginKey=no(code, f"user {USER} with {KEY}: sign here", token=None))
    client = client_of(clock=clock)
    if name == "UnknownError":
        with pytest.raises(VenueUnavailable, match=r"UnknownError \(8\)") as fault:
            client.check_credentials()
        assert answers.kinds() == ["Auth/loginKey"] * 3  # it may pass
    else:
        with pytest.raises(CredentialsRefused, match=name) as fault:
            client.check_credentials()
        assert LOGIN_ADVICE[name] in str(fault.value)
        assert answers.kinds() == ["Auth/loginKey"]
    assert "sign here" in str(fault.value) and hidden(str(fault.value))


@pytest.mark.parametrize(
    "answer",
    [no(77), ok(token=None), ok(token=""), ok(token="two\r\nlines"), {"token": TOKENS[0]}, Http(500), Http(400, "{}"),
     Http(502, "<html>"), Http(200, "<html>"), Http(200, ""), Http(401)],
)  # fmt: skip
def test_a_login_without_a_usable_answer_is_unavailable(mocked, clock: ManualClock, answer: Any):
    mocked(Auth__loginKey=answer)
    with pytest.raises(VenueUnavailable, match="Auth/loginKey") as fault:
        client_of(clock=clock).check_credentials()
    assert hidden(str(fault.value))


def test_a_refused_login_is_not_tried_again_at_once(mocked, clock: ManualClock):
    """Guessing locks users out; a fault of the user does not go away within seconds."""
    answers = mocked(Auth__loginKey=no(3))
    client = client_of(clock=clock)
    for expected in (1, 1, 2):
        with pytest.raises(CredentialsRefused, match="InvalidCredentials"):
            client.check_credentials()
        assert answers.kinds().count("Auth/loginKey") == expected
        clock.advance(15_000)


def test_a_key_that_is_revoked_at_run_time_is_a_fault_like_others(mocked, clock: ManualClock):
    """No thread may die of it: reads fail by name, and succeed when the key works again."""
    answers = mocked()
    client = client_of(clock=clock)
    client.account()
    answers.answers["Account/search"] = [Http(401)]
    answers.answers["Auth/loginKey"] = no(9)
    with pytest.raises(VenueUnavailable, match="ApiSubscriptionNotFound"):
        client.account()
    answers.answers |= {"Account/search": BASICS["Account/search"], "Auth/loginKey": ok(token=TOKENS[9])}
    clock.advance(30_000)
    client.account()


# --- 401 and renewal ------------------------------------------------------------------------------------------------


def test_after_401_one_login_and_one_repeat(mocked, clock: ManualClock):
    answers = mocked(Account__search=[Http(401), BASICS["Account/search"]])
    client_of(clock=clock).check_credentials()
    assert answers.kinds() == ["Auth/loginKey", "Account/search", "Auth/loginKey", "Account/search"]
    assert answers.bearers == ["", TOKENS[0], "", TOKENS[1]]


def test_401_to_a_fresh_token_is_not_repeated(mocked, clock: ManualClock):
    answers = mocked(Account__search=Http(401))
    with pytest.raises(VenueUnavailable, match="Account/search: HTTP 401") as fault:
        client_of(clock=clock).check_credentials()
    assert fault.value.status == 401
    assert answers.kinds().count("Account/search") == 2


def test_a_token_that_another_thread_has_renewed_is_taken(mocked, clock: ManualClock):
    answers = mocked()
    client = client_of(clock=clock)
    client.account()
    other = client.clone()

    def expired(body: Any) -> Any:
        client._keeper.put(TOKENS[7], 0)  # the other thread was faster
        answers.answers["Account/search"] = BASICS["Account/search"]
        return Http(401)

    answers.answers["Account/search"] = expired
    other.account()
    assert answers.kinds().count("Auth/loginKey") == 1
    assert answers.bearers[-1] == TOKENS[7]


LIFE_S = 86_400


@pytest.mark.parametrize("age, renews", [(0.0, False), (0.89, False), (0.91, True)])
def test_the_token_is_renewed_near_its_end(mocked, clock: ManualClock, age: float, renews: bool):
    answers = mocked(Auth__validate=ok(newToken=TOKENS[5]))
    client = client_of(clock=clock)
    client.account()
    clock.advance(int(age * LIFE_S * 1000))
    client.account()
    assert ("Auth/validate" in answers.kinds()) is renews
    assert answers.bearers[-1] == (TOKENS[5] if renews else TOKENS[0])
    assert answers.kinds().count("Auth/loginKey") == 1


@pytest.mark.parametrize("answer", [no(3), Http(401), Http(500), ok(), ok(newToken=""), ok(newToken=TOKENS[0])])
def test_validate_that_gives_no_new_token_is_followed_by_a_login(mocked, clock: ManualClock, answer: Any):
    answers = mocked(Auth__validate=answer)
    client = client_of(clock=clock)
    client.account()
    clock.advance(22 * 3_600_000)
    client.account()
    assert answers.kinds().count("Auth/loginKey") == 2
    assert answers.bearers[-1] == TOKENS[1]


@pytest.mark.parametrize("login", [Http(502, "<html>"), no(3)])
def test_a_renewal_that_fails_leaves_the_old_token_in_use(mocked, clock: ManualClock, caplog, login: Any):
    answers = mocked(Auth__validate=no(3))
    client = client_of(clock=clock)
    client.account()
    answers.answers["Auth/loginKey"] = login
    clock.advance(22 * 3_600_000)
    with caplog.at_level(logging.DEBUG):
        client.account()
        client.account()
    assert answers.kinds().count("Auth/validate") == 1, "the next try comes a minute later"
    assert answers.bearers[-1] == TOKENS[0]
    assert "token_not_renewed" in caplog.text and hidden(caplog.text)
    clock.advance(61_000)
    client.account()
    assert answers.kinds().count("Auth/validate") == 2


@pytest.mark.parametrize(
    "token, life_ms",
    [
        (jwt(exp=1_000_600, iat=1_000_000), 600_000),  # by its own two times, whatever our clock says
        (jwt(exp=NOW_MS // 1000 + 60), 60_000),
        (jwt(exp=NOW_MS // 1000 - 60), 0),
        (jwt(exp=NOW_MS // 1000 + 90 * 86_400), DAY_MS),
        (jwt(exp="soon"), DAY_MS),
        (jwt(), DAY_MS),
        ("no.jwt.at-all", DAY_MS),
        ("opaque", DAY_MS),
        ("a." + base64.urlsafe_b64encode(b'{"exp": 1e400}').decode() + ".c", DAY_MS),
    ],
)
def test_how_long_a_token_lives(clock: ManualClock, token: str, life_ms: int):
    keeper = TokenKeeper(USER, KEY, clock)
    keeper.put(token, 0)
    clock.advance(int(life_ms * 0.9) - 1)
    assert life_ms == 0 or not keeper.claim_renewal()
    clock.advance(1)
    assert keeper.claim_renewal()
    assert not keeper.claim_renewal(), "one thread at a time"


def test_the_same_token_again_is_as_old_as_it_was(clock: ManualClock):
    keeper = TokenKeeper(USER, KEY, clock)
    keeper.put("opaque", 0)
    clock.advance(DAY_MS - 1)
    keeper.put("opaque", 0)
    assert keeper.claim_renewal()


def test_the_hubs_get_the_same_token_and_a_new_one_after_401(mocked, clock: ManualClock):
    answers = mocked()
    client = client_of(clock=clock)
    client.account()
    provider = client.token_provider()
    assert provider() == provider() == TOKENS[0]
    provider.refused()
    assert provider() == TOKENS[1]
    assert answers.kinds().count("Auth/loginKey") == 2
    answers.answers["Auth/loginKey"] = no(7, "log in to the platform")
    provider.refused()
    with pytest.raises(VenueUnavailable, match="AgreementsNotSigned"):
        provider()
    provider.close()


def test_a_provider_says_unavailable_even_when_no_login_ever_worked(mocked, clock: ManualClock):
    mocked(Auth__loginKey=no(3))
    with pytest.raises(VenueUnavailable, match="InvalidCredentials"):
        client_of(clock=clock).token_provider()()


def test_a_netrc_entry_does_not_take_the_place_of_the_bearer(monkeypatch, tmp_path, clock: ManualClock):
    """requests reads .netrc for addresses that are not this machine's, and would send it instead of our header."""
    (tmp_path / "netrc").write_text("machine gateway.example login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    url = "https://gateway.example"
    with responses.RequestsMock() as mock:
        mock.post(f"{url}/api/Auth/loginKey", json=ok(token=TOKENS[0]))
        mock.post(f"{url}/api/Account/search", json=BASICS["Account/search"])
        client_of(url, clock).check_credentials()
        assert "Authorization" not in mock.calls[0].request.headers
        assert mock.calls[1].request.headers["Authorization"] == f"Bearer {TOKENS[0]}"


# --- envelopes and HTTP ---------------------------------------------------------------------------------------------

READS: dict[str, Callable[[TopstepClient], Any]] = {
    "Account/search": lambda client: client.account(),
    "Position/searchOpen": lambda client: client.account(),
    "Order/searchOpen": lambda client: client.working_orders(),
    "Trade/search": lambda client: client.fills_since(0),
    "Contract/available": lambda client: client.instruments(),
    "Contract/searchById": lambda client: client.instrument_of("CON.F.US.MGC.V26"),
    "Contract/search": lambda client: client.search_contracts("NQ"),
    "History/retrieveBars": lambda client: client.bars("MGC", 60_000, 5),
}
PAYLOADS = {
    "Account/search": "accounts",
    "Position/searchOpen": "positions",
    "Order/searchOpen": "orders",
    "Trade/search": "trades",
    "Contract/available": "contracts",
    "Contract/searchById": "contract",
    "Contract/search": "contracts",
}


def ready(mocked: Any, clock: ManualClock) -> tuple[TopstepClient, Answers]:
    answers = mocked()
    client = client_of(clock=clock)
    client.check_credentials()
    client.instruments()
    answers.asked.clear()
    return client, answers


@pytest.mark.parametrize("what", READS)
@pytest.mark.parametrize("code", [1, 2, 77])
def test_a_refused_read_says_its_code_by_name_and_is_not_repeated(mocked, clock: ManualClock, what: str, code: int):
    client, answers = ready(mocked, clock)
    answers.answers[what] = no(code, f"for {ACCOUNT} {ACCOUNT_ID}", **{PAYLOADS.get(what, "bars"): None})
    with pytest.raises(Refusal, match="for <hidden> <hidden>") as fault:
        READS[what](client)
    assert str(fault.value).startswith(f"{what}: {code_name(what, code)}")
    assert fault.value.code == code
    assert answers.kinds().count(what) == 1


@pytest.mark.parametrize("what", PAYLOADS)
@pytest.mark.parametrize("null", [True, False])
def test_success_without_its_payload_is_no_answer(mocked, clock: ManualClock, what: str, null: bool):
    """Above all it does not mean: no position, no orders."""
    client, answers = ready(mocked, clock)
    answers.answers[what] = ok(**({PAYLOADS[what]: None} if null else {}))
    with pytest.raises(VenueUnavailable, match=f"{what}: unexpected answer"):
        READS[what](client)


BAD: dict[str, Http] = {
    "400": Http(400, {"title": "One or more validation errors occurred.", "status": 400}),
    "403": Http(403, "<html>forbidden</html>"),
    "404": Http(404),
    "405": Http(405),
    "429": Http(429),
    "500": Http(500),
    "502": Http(502, "<html><body>Bad Gateway</body></html>"),
    "503": Http(503, "maintenance"),
    "a redirect": Http(307, "", {"Location": "https://elsewhere.example"}),
    "HTML with 200": Http(200, "<html></html>"),
    "an empty body": Http(200, ""),
    "half a body": Http(200, '{"success": true, "accou'),
    "a list": Http(200, []),
    "null": Http(200, "null"),
    "no success": Http(200, {"errorCode": 0}),
    "success is a word": Http(200, {"success": "yes"}),
    "success is null": Http(200, {"success": None}),
}


@pytest.mark.parametrize("what", READS)
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_envelope_is_unavailable(mocked, clock: ManualClock, what: str, kind: str):
    client, answers = ready(mocked, clock)
    answers.answers[what] = BAD[kind]
    with pytest.raises(VenueUnavailable, match=what) as fault:
        READS[what](client)
    assert hidden(str(fault.value)) and "elsewhere" not in str(fault.value)
    assert not isinstance(fault.value, Refusal)
    tries = {"400": 1, "403": 1, "404": 1, "405": 1, "a redirect": 1, "429": 1}.get(kind, 3)
    assert answers.kinds().count(what) == (1 if what == "Trade/search" else tries)  # an account waits behind fills


def test_what_passes_is_asked_again_with_growing_pauses(mocked, clock: ManualClock):
    mocked(Account__search=[Http(500), Http(200, "<html>"), BASICS["Account/search"]])
    client_of(clock=clock).check_credentials()
    assert clock.waits == [0.25, 0.5]


@pytest.mark.parametrize("headers, held_s", [({}, 60), ({"Retry-After": "7"}, 7), ({"Retry-After": "soon"}, 60)])
def test_429_holds_every_read_for_the_window(mocked, clock: ManualClock, headers: dict[str, str], held_s: int):
    client, answers = ready(mocked, clock)
    answers.answers["Order/searchOpen"] = Http(429, "", headers)
    with pytest.raises(VenueUnavailable, match="429"):
        client.working_orders()
    answers.answers["Order/searchOpen"] = BASICS["Order/searchOpen"]
    clock.advance((held_s - 6) * 1000)
    with pytest.raises(VenueUnavailable, match="request budget"):
        client.clone().working_orders()
    clock.advance(6_000)
    client.working_orders()


def test_a_429_during_the_hold_makes_it_no_longer(mocked, clock: ManualClock):
    """What an exit waits for is asked all the same, and refused: the window passes nevertheless."""
    client, answers = ready(mocked, clock)
    answers.answers["Order/searchOpen"] = Http(429)
    client.hurry(True)
    for _ in range(3):
        with pytest.raises(VenueUnavailable, match="429"):
            client.working_orders()
        clock.advance(15_000)
    client.hurry(False)
    answers.answers["Order/searchOpen"] = BASICS["Order/searchOpen"]
    clock.advance(15_000)
    client.working_orders()


def test_429_on_bars_holds_bars_alone(mocked, clock: ManualClock):
    client, answers = ready(mocked, clock)
    answers.answers["History/retrieveBars"] = Http(429)
    with pytest.raises(VenueUnavailable, match="429"):
        client.bars("MGC", 60_000, 5)
    client.account()
    with pytest.raises(VenueUnavailable, match="request budget"):
        client.bars("MGC", 60_000, 5)


def test_reads_leave_a_reserve_and_wait_for_their_turn(mocked, clock: ManualClock):
    limits = RequestLimits(clock)
    answers = mocked()
    client = client_of(clock=clock, budget=limits)
    client.check_credentials()
    while limits.rest.used() < 120:
        client.working_orders()
    assert clock.waits == []
    with pytest.raises(VenueUnavailable, match="request budget: 120 of 200 in 60 s"):
        client.working_orders()
    clock.advance(56_000)
    client.working_orders()
    assert sum(clock.waits) >= 3.9, "it waited until the window had room"
    assert answers.kinds().count("Order/searchOpen") == 119


LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{"


@pytest.mark.parametrize(("count", "has_room"), [(80, True), (81, False)])
def test_a_glance_leaves_room_for_entries_and_waits_after_a_429(clock: ManualClock, count: int, has_room: bool):
    limits = RequestLimits(clock)
    client = client_of(clock=clock, budget=limits)
    limits.rest.charge(count)
    assert client.has_room() is has_room
    clock.advance(60_000)
    assert client.has_room()
    limits.hold("Order/place", 5.0)
    assert not client.has_room()


@pytest.mark.parametrize("trouble", [CLOSE, RESET, STALL, (http(ok())[:-5], STALL), (LONG, DRIP)])
def test_a_body_that_does_not_come_is_unavailable_within_its_bound(clock: ManualClock, trouble: Reply):
    answers = Answers(Account__search=trouble)
    with loopback_venue(answers.play) as venue, pytest.raises(VenueUnavailable, match="Account/search") as fault:
        client_of(venue.url, clock, timeouts=SHORT).check_credentials()
    assert hidden(str(fault.value))


def test_nobody_there_is_unavailable(clock: ManualClock):
    with loopback_venue(lambda path, body: CLOSE) as venue:
        url = venue.url
    with pytest.raises(VenueUnavailable, match="connection failed"):
        client_of(url, clock).check_credentials()


@pytest.mark.parametrize("url", ["http://api.topstepx.com", "ftp://127.0.0.1", "https://me:pw@host", "https://"])
def test_addresses_that_may_not_be_used(url: str):
    with pytest.raises(ValueError) as fault:
        client_of(url)
    assert "pw" not in str(fault.value)


# --- secrets --------------------------------------------------------------------------------------------------------


def test_texts_of_the_venue_lose_what_is_secret():
    hide = Hider()
    hide.add("demo", "k" * 40, "20000001", "no")
    text = hide("Demo may not:\nkey " + "k" * 40 + ", account 20000001, no demolition, Bearer abcdefgh12345")
    assert text == "<hidden> may not: key <hidden>, account <hidden>, no demolition, Bearer <hidden>"
    assert len(hide("x" * 1000)) == 200


def test_nothing_shows_itself(mocked, clock: ManualClock):
    mocked()
    client = client_of(clock=clock)
    shown = [client.check_credentials(), client, client._keeper, client._keeper._held, client._rest]
    assert hidden(" ".join(map(repr, shown)))
