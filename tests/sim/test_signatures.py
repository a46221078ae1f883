"""Who signed what: the negative vectors of page 4.7, canonical form, nonces, expiry."""

import copy
import time

import pytest

from sim.hyperliquid_types import ApproveAgentAction, BadShape, read_envelope, signer_of, user_digest
from sim.limits import DAY_MS, SLACK_MS, AddressBudget, Nonces
from sim.server import SimServer
from tests.sim.conftest import KEY, USER, Venue, limit
from venues.hyperliquid.signing import Signer

V2 = {
    "type": "order",
    "orders": [{"a": 1, "b": True, "p": "100", "s": "100", "r": False, "t": {"limit": {"tif": "Gtc"}}}],
    "grouping": "na",
}
PADDED = copy.deepcopy(V2)
PADDED["orders"][0]["p"] = "100.0"
REORDERED = copy.deepcopy(V2)
REORDERED["orders"][0] = {k: V2["orders"][0][k] for k in ("a", "b", "s", "p", "r", "t")}


@pytest.mark.parametrize(
    "signed, mainnet_key, recovered",
    [
        (V2, True, USER),
        (PADDED, True, "0x72bbda4da9c3fa75f54f32714f1dd31ea2c8de8e"),
        (REORDERED, True, "0x6d825c8e18a0463846e4dd2bc8573d2fecee5048"),
        (V2, False, "0x8c6b69dfc1edd2c046024b3b80b2168eec444ec2"),
    ],
)
def test_negative_vectors(signed, mainnet_key, recovered):
    """The server hashes the canonical form, whatever the client signed."""
    signature = Signer(KEY, mainnet=mainnet_key).sign_action(signed, 0)
    body = {"action": signed, "nonce": 0, "signature": signature}
    assert signer_of(read_envelope(body), mainnet=True) == recovered
    with SimServer(mainnet=True) as sim:
        sim.fund("0x" + "11" * 20)
        answer = Venue(sim).post("/exchange", body).json()
        if recovered != USER:
            assert answer == {"status": "err", "response": f"User or API Wallet {recovered} does not exist."}


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o.update(p="100.000"),  # padding, up to eight decimals
        lambda o: o.update(c=None),
        lambda o: o.update(extra=1),  # ignored inside an order
        lambda o: [o.update({k: o.pop(k)}) for k in ("a", "p")],  # another key order
    ],
)
def test_the_canonical_form_counts(change):
    signature = Signer(KEY, mainnet=False).sign_action(V2, 7)
    received = copy.deepcopy(V2)
    change(received["orders"][0])
    body = {"nonce": 7, "signature": signature, "action": {k: received[k] for k in ("grouping", "orders", "type")}}
    assert signer_of(read_envelope(body), mainnet=False) == USER


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.update(extra=1),
        lambda b: b["action"].update(extra=1),
        lambda b: b["action"].update(type="nope"),
        lambda b: b["action"]["orders"][0].update(p=100),  # a number is no decimal string
        lambda b: b["action"]["orders"][0].update(p="1e2"),
        lambda b: b["action"]["orders"][0].update(p="100.000000001"),
        lambda b: b["action"]["orders"][0].update(s="-1"),
        lambda b: b["action"]["orders"][0].update(a=1.0),
        lambda b: b["action"]["orders"][0].update(t={}),
        lambda b: b["action"]["orders"][0].update(t={"limit": {"tif": "Fok"}}),
        lambda b: b["action"]["orders"][0].update(c="0x12"),
        lambda b: b.update(nonce="7"),
        lambda b: b.update(vaultAddress="0x12"),
        lambda b: b.pop("signature"),
    ],
)
def test_wrong_shapes(change, venue):
    body = venue.body(copy.deepcopy(V2))
    change(body)
    with pytest.raises(BadShape):
        read_envelope(body)
    answer = venue.post("/exchange", body)
    assert (answer.status_code, answer.text) == (422, "Failed to deserialize the JSON body into the target type")


def test_approve_agent_digest():
    """The vector of page 4.7, both networks."""
    for network, r in (
        ("Mainnet", "0xcd1d7e2ad957566223e31f06fcc9e5201a7e14ed594814bcf3a6dc008c4334eb"),
        ("Testnet", "0xddacf7c2b2716413ab1a5f1ed7d2e12ddcf081c3f893e1aa5e09de10bf70d43e"),
    ):
        s = {
            "Mainnet": "0x39c59a8d1b0746cb00c0cd4abcd8e36f7550c4ae7a2a4fc1f1ca438f1b41169a",
            "Testnet": "0x779ef777d5f0ba3f9e224b3212cb6878b9767bf84e239ba0149c9e0a510acca5",
        }[network]
        action = {
            "type": "approveAgent",
            "signatureChainId": "0x66eee",
            "hyperliquidChain": network,
            "agentAddress": "0x5e9ee1089755c3435139848e47e6635505d5a13a",
            "agentName": "bot1",
            "nonce": 1700000000000,
        }
        body = {"action": action, "nonce": 1700000000000, "signature": {"r": r, "s": s, "v": 27}}
        envelope = read_envelope(body)
        assert isinstance(envelope.action, ApproveAgentAction) and len(user_digest(envelope.action)) == 32
        assert signer_of(envelope, mainnet=network == "Mainnet") == USER


def test_a_stranger_walks_in_only_while_nobody_is_known():
    with SimServer() as sim:
        assert "resting" in Venue(sim).order(limit())[0]
        other = Venue(sim)
        other.signer = Signer("0x" + "ab" * 32, mainnet=False)
        refused = other.act({"type": "noop"})
        assert refused["response"] == f"User or API Wallet {other.signer.address} does not exist."
        other.info("clearinghouseState", user=other.signer.address)
        assert other.act({"type": "noop"})["status"] == "ok"


def test_a_tampered_order_is_not_known(venue):
    body = venue.body({"type": "order", "orders": [limit()], "grouping": "na"})
    body["action"]["orders"][0]["s"] = "0.02"
    answer = venue.post("/exchange", body).json()
    assert answer["status"] == "err" and answer["response"].endswith(" does not exist.")
    assert USER not in answer["response"]


def test_an_unrecoverable_signature(venue):
    body = venue.body({"type": "noop"})
    body["signature"] = {"r": "0x0", "s": "0x0", "v": 27}
    assert venue.post("/exchange", body).json() == {"status": "err", "response": "Unable to recover signer."}


# --- nonces and expiry ----------------------------------------------------------------------------------------------

NOW = 1_800_000_000_000


@pytest.mark.parametrize(
    "nonce, expected",
    [
        (NOW, None),
        (NOW - 2 * DAY_MS + SLACK_MS, None),
        (NOW - 2 * DAY_MS + SLACK_MS - 1, "too low"),
        (NOW + DAY_MS - SLACK_MS, None),
        (NOW + DAY_MS - SLACK_MS + 1, "too high"),
    ],
)
def test_nonce_window(nonce, expected):
    refusal = Nonces().admit("a", nonce, NOW)
    assert refusal is None if expected is None else expected in refusal


def test_nonce_floor_and_duplicates():
    nonces = Nonces()
    assert nonces.admit("a", NOW - 1000, NOW) is None
    for i in range(100):
        assert nonces.admit("a", NOW + 2 * i, NOW) is None
    assert nonces.admit("a", NOW + 1, NOW) is None  # unused and above the floor
    assert nonces.admit("a", NOW - 1, NOW) == f"Invalid nonce: nonce too low {NOW - 1} < {NOW + 1}"
    assert nonces.admit("a", NOW - 1000, NOW) == f"Invalid nonce: duplicate nonce {NOW - 1000}"
    assert nonces.admit("b", NOW - 1, NOW) is None  # per signer


def test_a_noop_burns_the_nonce_of_a_lost_order(venue):
    order = {"type": "order", "orders": [limit()], "grouping": "na"}
    nonce = int(time.time() * 1000) + 50_000
    assert venue.act({"type": "noop"}, nonce=nonce)["response"] == {"type": "default"}
    duplicate = {"status": "err", "response": f"Invalid nonce: duplicate nonce {nonce}"}
    assert venue.act(order, nonce=nonce) == duplicate == venue.act({"type": "noop"}, nonce=nonce)
    assert venue.info("openOrders", user=USER) == []


def test_a_business_refusal_uses_up_the_nonce_and_a_stranger_does_not(venue):
    nonce = int(time.time() * 1000) + 60_000
    assert "error" in venue.order(limit(price="40000", tif="Ioc"), nonce=nonce)[0]
    assert "duplicate" in venue.act({"type": "noop"}, nonce=nonce)["response"]


def test_expiry_comes_after_the_nonce(venue):
    nonce, past = int(time.time() * 1000) + 70_000, int(time.time() * 1000) - 1_000
    used = venue.info("userRateLimit", user=USER)["nRequestsUsed"]
    expired = venue.act({"type": "noop"}, nonce=nonce, expires=past)
    assert expired == {"status": "err", "response": "Action already expired"}
    assert venue.info("userRateLimit", user=USER)["nRequestsUsed"] == used + 5
    assert "duplicate" in venue.act({"type": "noop"}, nonce=nonce)["response"]
    assert venue.act({"type": "noop"}, expires=int(time.time() * 1000) + 60_000)["status"] == "ok"


def test_vault_address_is_refused(venue):
    refused = venue.act({"type": "noop"}, vault=USER)
    assert refused == {"status": "err", "response": f"Vault not registered: {USER}"}


def test_address_budget():
    budget = AddressBudget()
    assert budget.cap(0) == 10_000
    assert budget.spend(10_000, 0, NOW, is_cancel=False) is None
    assert budget.spend(1, 0, NOW, is_cancel=False) is None  # one in ten seconds
    assert "Too many cumulative requests sent (10002 > 10000)" in budget.spend(1, 0, NOW + 9_999, is_cancel=False)
    assert budget.spend(1, 0, NOW + 9_999, is_cancel=True) is None  # cancels have a larger cap
    assert budget.spend(1, 0, NOW + 10_000, is_cancel=False) is None
    assert AddressBudget().spend(10_001, 1, NOW, is_cancel=False) is None  # one more for one USDC traded
