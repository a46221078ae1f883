"""Signatures against the vectors of protocol page 4.7, and against the official SDK over random orders."""

import copy
import json
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgpack
import pytest
from eth_account import Account
from hyperliquid.utils import signing as sdk
from hyperliquid.utils.types import Cloid
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model import Order, OrderType, Side, TimeInForce
from venues.hyperliquid.signing import Signer, action_hash, address_of, keccak, l1_digest, parse_key, recover, sign
from venues.hyperliquid.wire import cancel_action, cancel_by_client_id_action, leverage_action, order_action

KEYS = {
    "K1": "0x0123456789012345678901234567890123456789012345678901234567890123",
    "K2": "0xe908f86dbb4d55ac876378565aafeabc187f6690f046459397b17d9b9a19688e",
}
ADDRESSES = {
    "K1": "0x14791697260e4c9a71f18484c9f997b308e59325",
    "K2": "0xcd49bbac6e85fdeb167eb7ca41a945d2b8758f6f",
}
VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parent / "hyperliquid_vectors.jsonl").read_text(encoding="utf-8").splitlines()
]


def test_all_vectors_are_here():
    assert [v["id"] for v in VECTORS] == [f"V{n}" for n in range(1, 24)]


@pytest.mark.parametrize("network", ["mainnet", "testnet"])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_vector(vector: dict[str, Any], network: str):
    action, nonce = vector["action"], vector["nonce"]
    vault, expires = vector.get("vaultAddress"), vector.get("expiresAfter")
    r, s, v = int(vector[network][0], 16), int(vector[network][1], 16), vector[network][2]

    assert msgpack.packb(action).hex() == vector["msgpack"]
    connection_id = action_hash(action, vault, nonce, expires)
    assert "0x" + connection_id.hex() == vector["hash"]
    digest = l1_digest(connection_id, network == "mainnet")
    key = KEYS[vector["key"]]
    assert sign(digest, parse_key(key)) == (r, s, v)
    assert recover(digest, r, s, v) == ADDRESSES[vector["key"]]
    signed = Signer(key, mainnet=network == "mainnet").sign_action(action, nonce, vault, expires)
    assert signed == {"r": f"0x{r:064x}", "s": f"0x{s:064x}", "v": v}


def test_keccak_is_not_sha3():
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_phantom_agent_of_the_sdk_suite():
    order = {"a": 4, "b": True, "p": "1670.1", "s": "0.0147", "r": False, "t": {"limit": {"tif": "Ioc"}}}
    action = {"type": "order", "orders": [order], "grouping": "na"}
    expected = "0fcbeda5ae3c4950a548021552a4fea2226858c4453571bf3f24ba017eac2908"
    assert action_hash(action, None, 1677777606040, None).hex() == expected


V2 = VECTORS[1]["action"]


def _with(**changes: Any) -> dict[str, Any]:
    changed = copy.deepcopy(V2)
    changed["orders"][0].update(changes)
    return changed


def _reordered() -> dict[str, Any]:
    order = V2["orders"][0]
    return {"type": "order", "orders": [{k: order[k] for k in "abspr"} | {"t": order["t"]}], "grouping": "na"}


@pytest.mark.parametrize(
    "signed, signed_as_mainnet, stranger",
    [
        (_with(p="100.0"), True, "0x72bbda4da9c3fa75f54f32714f1dd31ea2c8de8e"),  # a trailing zero
        (_reordered(), True, "0x6d825c8e18a0463846e4dd2bc8573d2fecee5048"),  # another key order
        (V2, False, "0x8c6b69dfc1edd2c046024b3b80b2168eec444ec2"),  # the other network
    ],
)
def test_negative_vectors(signed: dict[str, Any], signed_as_mainnet: bool, stranger: str):
    """The venue hashes its own canonical form, so a wrong form recovers to a stranger."""
    r, s, v = sign(l1_digest(action_hash(signed, None, 0, None), signed_as_mainnet), parse_key(KEYS["K1"]))
    assert recover(l1_digest(action_hash(V2, None, 0, None), True), r, s, v) == stranger


@pytest.mark.parametrize("text", ["", "0x", "ab" * 31, "ab" * 33, "zz" * 32, "00" * 32, "ff" * 32, "a key of mine"])
def test_bad_key_is_refused_without_being_quoted(text: str):
    with pytest.raises(ValueError, match="key") as caught:
        Signer(text, mainnet=True)
    assert not text or len(text) < 4 or text not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_key_text_may_lack_0x_and_have_spaces_around():
    assert address_of(f"  {KEYS['K1'][2:].upper()}\n") == ADDRESSES["K1"]


def test_a_signer_shows_and_hands_out_nothing():
    signer = Signer(KEYS["K1"], mainnet=True)
    assert signer.address == ADDRESSES["K1"]
    for text in (repr(signer), str(signer), f"{signer}"):
        assert KEYS["K1"][2:10] not in text
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(signer)


@pytest.mark.parametrize(
    "r, s, v", [(0, 0, 27), (1, 1, 26), (2**256, 1, 27), (2**256 - 1, 2**256 - 1, 28), (-1, 1, 27)]
)
def test_recover_refuses_what_no_key_made(r: int, s: int, v: int):
    with pytest.raises(ValueError):
        recover(keccak(b"x"), r, s, v)


@pytest.mark.parametrize("address", ["", "0x", "0x12", "14791697260e4c9a71f18484c9f997b308e59325", "0x" + "g" * 40])
def test_a_bad_vault_address_is_refused(address: str):
    with pytest.raises(ValueError):
        action_hash({"type": "noop"}, address, 1, None)


# --- against the official SDK ---------------------------------------------------------------------------------------

WALLET = Account.from_key(KEYS["K1"])
ADDRESS = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"
# The SDK speaks floats with 8 decimals: above 2**53 / 10**8 it says 99999999.90000001 for 99999999.9.
prices = st.integers(1, 9 * 10**7).flatmap(lambda n: st.integers(0, 6).map(lambda places: Decimal(n).scaleb(-places)))
nonces = st.integers(0, 2**53)
cloids = st.integers(0, 2**128 - 1)
maybe_vault = st.sampled_from([None, ADDRESS])


def same_signature(action: dict[str, Any], nonce: int, vault: str | None, expires: int | None, mainnet: bool) -> None:
    theirs = sdk.sign_l1_action(WALLET, action, vault, nonce, expires, mainnet)
    ours = Signer(KEYS["K1"], mainnet=mainnet).sign_action(action, nonce, vault, expires)
    assert (int(ours["r"], 16), int(ours["s"], 16), ours["v"]) == (
        int(theirs["r"], 16),
        int(theirs["s"], 16),
        theirs["v"],
    )


@settings(max_examples=80, deadline=None)
@given(
    asset=st.integers(0, 110_500),
    side=st.sampled_from(Side),
    price=prices,
    size=prices,
    kind=st.sampled_from(OrderType),
    tif=st.sampled_from(TimeInForce),
    trigger=prices,
    cloid=cloids,
    nonce=nonces,
    expires=st.none() | nonces,
    vault=maybe_vault,
    mainnet=st.booleans(),
)
def test_random_orders_are_signed_as_the_sdk_signs_them(
    asset, side, price, size, kind, tif, trigger, cloid, nonce, expires, vault, mainnet
):
    is_trigger = kind in (OrderType.STOP, OrderType.TAKE_PROFIT)
    order = Order(
        client_id=f"0x{cloid:032x}",
        symbol="BTC",
        side=side,
        size=size,
        type=kind,
        price=price,
        time_in_force=tif,
        trigger_price=trigger if is_trigger else None,
        reduce_only=is_trigger,
    )
    their_tif = "Ioc" if kind is OrderType.MARKET else {"GTC": "Gtc", "IOC": "Ioc", "ALO": "Alo"}[tif.value]
    tpsl = "sl" if kind is OrderType.STOP else "tp"
    their_type = (
        {"trigger": {"isMarket": True, "triggerPx": float(trigger), "tpsl": tpsl}}
        if is_trigger
        else {"limit": {"tif": their_tif}}
    )
    request = {
        "coin": "BTC",
        "is_buy": side is Side.BUY,
        "sz": float(size),
        "limit_px": float(price),
        "order_type": their_type,
        "reduce_only": is_trigger,
        "cloid": Cloid.from_int(cloid),
    }
    theirs = sdk.order_wires_to_order_action([sdk.order_request_to_order_wire(request, asset)])
    ours = order_action(order, asset)
    assert ours == theirs
    assert msgpack.packb(ours) == msgpack.packb(theirs)  # the order of keys too
    same_signature(ours, nonce, vault, expires, mainnet)


@settings(max_examples=30, deadline=None)
@given(asset=st.integers(0, 110_500), oid=st.integers(1, 2**48), cloid=cloids, nonce=nonces, vault=maybe_vault)
def test_other_random_actions_are_signed_as_the_sdk_signs_them(asset, oid, cloid, nonce, vault):
    same_signature(cancel_action(asset, oid), nonce, vault, None, True)
    same_signature(cancel_by_client_id_action(asset, f"0x{cloid:032x}"), nonce, vault, None, True)
    same_signature(leverage_action(asset, bool(oid % 2), oid % 50 + 1), nonce, vault, None, False)
