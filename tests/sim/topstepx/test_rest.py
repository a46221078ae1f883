"""REST of the simulated TopstepX: protocol page 1, 2.2 to 2.5 and 8."""

import base64
import itertools
import json
import time
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from sim.topstepx_products import PRODUCTS, active_contract, next_contract, parse_contract
from sim.topstepx_sim import TopstepxSim
from tests.sim.topstepx.conftest import LONG_AGO, Gateway

RECORDED = Path(__file__).resolve().parents[4] / "shared/data/topstepx"
OK = {"success": True, "errorCode": 0, "errorMessage": None}


def plain(sim, path, **kw):
    return requests.post(f"{sim.url}/api/{path}", timeout=5, **kw)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_login_gives_a_token_with_an_end(sim):
    answer = plain(sim, "Auth/loginKey", json={"userName": "DEMO", "apiKey": "demo"}).json()
    token = answer.pop("token")
    assert answer == OK
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["exp"] - time.time() == pytest.approx(86_400, abs=5)


@pytest.mark.parametrize("user, key", [("demo", "wrong"), ("nobody", "demo")])
def test_a_wrong_key_is_code_3(sim, user, key):
    answer = plain(sim, "Auth/loginKey", json={"userName": user, "apiKey": key})
    assert answer.status_code == 200
    assert answer.json() == {"token": None, "success": False, "errorCode": 3, "errorMessage": None}


def test_a_login_without_a_field_is_400(sim):
    answer = plain(sim, "Auth/loginKey", json={"userName": "demo"})
    assert answer.status_code == 400 and answer.headers["Content-Type"].startswith("application/problem+json")
    assert "'apiKey'" in answer.json()["errors"]["$"][0]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic demo"}])
def test_no_or_bad_token_is_401_with_an_empty_body(sim, headers):
    answer = plain(sim, "Account/search", json={"onlyActiveAccounts": True}, headers=headers)
    assert (answer.status_code, answer.content) == (401, b"")


def test_tokens_end_by_the_venues_clock_and_validate_gives_a_new_one(sim, user):
    sim.advance(86_300_000)
    new = user.post("Auth/validate").json()
    assert new.keys() == {"newToken", *OK} and new["newToken"] != user.token
    sim.advance(200_000)
    assert user.post("Account/search", {"onlyActiveAccounts": True}).status_code == 401
    user.session.headers["Authorization"] = "Bearer " + new["newToken"]
    assert user.call("Account/search", onlyActiveAccounts=True)["success"]
    assert user.post("Auth/logout").json() == OK
    assert user.post("Account/search", {"onlyActiveAccounts": True}).status_code == 401
    user.login()
    sim.expire_tokens()
    assert user.post("Auth/validate").status_code == 401


# --- transport --------------------------------------------------------------------------------------------------------


def test_ping_needs_no_token(sim):
    answer = requests.get(f"{sim.url}/api/Status/ping", timeout=5)
    assert (answer.status_code, answer.text) == (200, "pong")


@pytest.mark.parametrize("verb, path, status", [("GET", "Order/place", 405), ("POST", "Order/nope", 404)])
def test_wrong_verbs_and_routes(user, verb, path, status):
    answer = user.session.request(verb, f"{user.sim.url}/api/{path}", timeout=5)
    assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize(
    "path, body, where",
    [
        ("History/retrieveBars", {"contractId": "x"}, "$"),
        ("Order/place", {"contractId": "x", "type": 2, "side": 0, "size": 1}, "$"),
        ("Order/place", {"accountId": "7", "contractId": "x", "type": 2, "side": 0, "size": 1}, "$.accountId"),
        ("Order/cancel", {"accountId": 2**31, "orderId": 1}, "$.accountId"),
        ("Order/v2/query", {"accountId": 1, "statuses": [1]}, "$"),  # fields at the root instead of under filter
        ("Order/search", {"accountId": 20000101, "startTimestamp": "yesterday"}, "$"),
        ("Account/search", [], "$"),
        ("Account/search", None, "$"),
    ],
)
def test_what_does_not_fit_the_body_is_a_problem(user, path, body, where):
    answer = user.post(path, body)
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["title"] == "One or more validation errors occurred." and where in problem["errors"]


def test_unknown_fields_are_ignored_and_letter_case_of_the_route_too(user):
    answer = user.post("account/SEARCH", {"onlyActiveAccounts": True, "isAutomated": True})
    assert answer.json()["success"]


def test_date_follows_the_venues_clock(sim):
    sim.advance(90_000)
    answer = requests.get(f"{sim.url}/api/Status/ping", timeout=5)
    ahead = parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)
    assert ahead.total_seconds() == pytest.approx(90, abs=2)


def test_both_rate_limits():
    with TopstepxSim(limits=True) as sim:
        user = Gateway(sim)  # one of the 200
        bars = {"contractId": sim.contract("MGC"), "live": False, "startTime": LONG_AGO, "endTime": LONG_AGO}
        bars |= {"unit": 2, "unitNumber": 1, "limit": 1, "includePartialBar": False}
        codes = [user.post("History/retrieveBars", bars).status_code for _ in range(51)]
        assert codes == [200] * 50 + [429]
        answers = [user.post("Account/search", {"onlyActiveAccounts": True}) for _ in range(200)]
        assert [a.status_code for a in answers] == [200] * 199 + [429] and answers[-1].content == b""


# --- accounts and contracts -------------------------------------------------------------------------------------------


def test_two_accounts_and_the_practice_one_is_not_first(user):
    answer = user.call("Account/search", onlyActiveAccounts=True)
    combine, practice = answer["accounts"]
    assert combine["name"].startswith("50KTC-") and combine["balance"] == 50_000
    assert practice["name"].startswith("PRAC-") and practice["balance"] == 150_000
    assert practice.keys() == {"id", "name", "balance", "canTrade", "isVisible", "simulated"}


def test_contracts_have_their_true_ticks(user):
    rows = {row["name"][:-2]: row for row in user.call("Contract/available", live=False)["contracts"]}
    assert len(rows) == 51
    for ticker, tick, value in (("MGC", 0.1, 1), ("MES", 0.25, 1.25), ("MNQ", 0.25, 0.5), ("6J", 5e-7, 6.25)):
        assert (rows[ticker]["tickSize"], rows[ticker]["tickValue"]) == (tick, value)
    assert rows["NQ"]["symbolId"] == "F.US.ENQ" and rows["ES"]["id"].startswith("CON.F.US.EP.")
    assert user.call("Contract/available", live=True)["contracts"] == []


def test_search_is_fuzzy_and_short(user):
    def found(text, live=False):
        return [row["name"][:-2] for row in user.call("Contract/search", searchText=text, live=live)["contracts"]]

    assert set(found("NQ")) == {"NQ", "MNQ", "QG", "QM"}
    everything = found("")
    assert len(everything) == 20 and not {"MES", "MGC", "MNQ"} & set(everything)
    assert found("MGC", live=True) == []


def test_search_by_id_knows_other_months(user):
    def row(contract_id):
        return user.call("Contract/searchById", contractId=contract_id)

    assert row(user.sim.contract("MGC"))["contract"]["activeContract"] is True
    assert row("CON.F.US.MGC.G24")["contract"]["activeContract"] is False
    assert row("CON.F.US.MGC.F24") == {"contract": None, "success": False, "errorCode": 1, "errorMessage": None}


@pytest.mark.skipif(not RECORDED.is_dir(), reason="needs the recorded answers")
def test_the_catalogue_of_the_recorded_day():
    recorded = json.loads((RECORDED / "Contract_available.json").read_text())["contracts"]
    ours = {c.id: c for c in (active_contract(p, date(2026, 8, 19)) for p in PRODUCTS.values())}
    assert ours.keys() == {row["id"] for row in recorded}
    for row in recorded:
        contract = ours[row["id"]]
        assert (contract.name, contract.symbol_id) == (row["name"], row["symbolId"])
        assert (float(contract.tick), float(contract.product.tick_value)) == (row["tickSize"], row["tickValue"])


@pytest.mark.parametrize(
    "ticker, day, month",
    [
        ("MGC", date(2026, 11, 27), "Z26"),
        ("MGC", date(2026, 11, 28), "G27"),
        ("MES", date(2026, 10, 7), "Z26"),
        ("MES", date(2026, 12, 10), "H27"),
        ("MCL", date(2026, 8, 17), "U26"),
        ("MCL", date(2026, 8, 18), "V26"),
    ],
)
def test_months_roll(ticker, day, month):
    contract = active_contract(PRODUCTS[ticker], day)
    assert contract.id.endswith(month) and parse_contract(contract.id) == contract
    following = next_contract(contract)
    assert (following.year, following.month) > (contract.year, contract.month)


# --- bars -------------------------------------------------------------------------------------------------------------


def bars(user, symbol="MGC", **fields):
    body = {"contractId": user.sim.contract(symbol), "live": False, "startTime": LONG_AGO}
    body |= {"endTime": "2099-01-01T00:00:00+00:00", "unit": 2, "unitNumber": 1, "limit": 5, "includePartialBar": True}
    return user.call("History/retrieveBars", **(body | fields))


def test_bars_newest_first_with_the_forming_one(user):
    user.sim.trade("MGC", "4105")
    rows = bars(user)["bars"]
    whole = [row["t"] for row in bars(user, includePartialBar=False, limit=4)["bars"]]
    if whole[0] == rows[0]["t"]:  # a bar has ended in between: this one has its whole length before it
        rows = bars(user)["bars"]
    times = [datetime.fromisoformat(row["t"]) for row in rows]
    assert len(rows) == 5 and times == sorted(times, reverse=True) and rows[0].keys() == {*"tohlcv"}
    assert (rows[0]["c"], rows[0]["h"]) == (4105, 4105)
    assert whole == [r["t"] for r in rows[1:]]
    assert [row["t"] for row in bars(user, endTime=rows[2]["t"], limit=2)["bars"]] == [r["t"] for r in rows[2:4]]


@pytest.mark.parametrize("unit, number, span_s", [(1, 15, 15), (2, 5, 300), (3, 4, 14_400), (4, 1, 86_400)])
def test_bars_of_every_unit(user, unit, number, span_s):
    rows = bars(user, unit=unit, unitNumber=number)["bars"]
    times = [datetime.fromisoformat(row["t"]).timestamp() for row in rows]
    assert [a - b for a, b in itertools.pairwise(times)] == [span_s] * 4


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"contractId": "CON.F.US.NOPE.Z26"}, 1),
        ({"live": True}, 1),
        ({"unit": 0}, 2),
        ({"unitNumber": 0}, 3),
        ({"limit": 20_001}, 4),
        ({"limit": 0}, 4),
    ],
)
def test_bars_refuse(user, fields, code):
    answer = bars(user, **fields)
    assert (answer["success"], answer["errorCode"], answer["bars"]) == (False, code, None)


def test_expired_months_keep_hours_only(user):
    assert bars(user, contractId="CON.F.US.MGC.G25")["bars"] == []
    assert len(bars(user, contractId="CON.F.US.MGC.G25", unit=3)["bars"]) == 5
