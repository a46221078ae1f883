"""Hyperliquid signatures of L1 actions: msgpack, keccak, a fixed EIP-712 frame, secp256k1 (protocol page 4.2, 4.3).

Small on purpose: these are the only lines that ever hold the private key.
"""

import re
from typing import Any

import msgpack
from coincurve import PrivateKey, PublicKey
from Crypto.Hash import keccak as _keccak

_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def keccak(data: bytes) -> bytes:
    """Ethereum's keccak-256, which is not NIST SHA3-256."""
    return _keccak.new(digest_bits=256, data=data).digest()


_AGENT_TYPEHASH = bytes.fromhex("26f05c2f7239b6983075e58321292d77b3aa173d19b27257ac96ab362570f508")
_DOMAIN_SEPARATOR = bytes.fromhex("d79297fcdf2ffcd4ae223d01edaa2ba214ff8f401d7c9300d995d17c82aa4040")
_SOURCE_MAINNET = bytes.fromhex("3ac225168df54212a25c1c01fd35bebfea408fdac2e31ddd6f80a4bbf9a5f1cb")  # keccak("a")
_SOURCE_TESTNET = bytes.fromhex("b5553de315e0edf504d9150af82dafa5c4667fa618ed0a6f19c69b41166c5510")  # keccak("b")


def parse_key(private_key_hex: str) -> PrivateKey:
    """Raises ValueError, without the key in its text, for anything but 32 bytes of hex within the curve's order."""
    text = private_key_hex.strip()
    if not _KEY.fullmatch(text):
        raise ValueError("the private key must be 64 hexadecimal digits, with or without 0x in front")
    try:
        return PrivateKey(bytes.fromhex(text.removeprefix("0x")))
    except ValueError:
        raise ValueError("the private key is not a valid secp256k1 key") from None


def _address(public_key: PublicKey) -> str:
    return "0x" + keccak(public_key.format(compressed=False)[1:])[-20:].hex()


def address_of(private_key_hex: str) -> str:
    """Lowercase address of a private key. Raises ValueError as parse_key does."""
    return _address(parse_key(private_key_hex).public_key)


def address_bytes(address: str) -> bytes:
    """The 20 bytes of a 0x address in any case. Raises ValueError."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError("an address must be 0x and 40 hexadecimal digits")
    return bytes.fromhex(address[2:])


def action_hash(action: dict[str, Any], vault_address: str | None, nonce: int, expires_after: int | None) -> bytes:
    """connectionId of an action whose keys already stand in the canonical order of page 4.4.

    Optional keys must be absent, never None or False: the venue hashes its own canonical form.
    """
    data = msgpack.packb(action) + nonce.to_bytes(8, "big")
    data += b"\x00" if vault_address is None else b"\x01" + address_bytes(vault_address)
    if expires_after is not None:
        data += b"\x00" + expires_after.to_bytes(8, "big")
    return keccak(data)


def l1_digest(connection_id: bytes, mainnet: bool) -> bytes:
    """The 32 bytes to sign. Only `source` separates the networks; the domain is the same on both."""
    source = _SOURCE_MAINNET if mainnet else _SOURCE_TESTNET
    return keccak(b"\x19\x01" + _DOMAIN_SEPARATOR + keccak(_AGENT_TYPEHASH + source + connection_id))


def sign(digest: bytes, key: PrivateKey) -> tuple[int, int, int]:
    """(r, s, v) of a digest: RFC 6979 nonce, low s, v 27 or 28."""
    signature = key.sign_recoverable(digest, hasher=None)
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), 27 + signature[64]


def recover(digest: bytes, r: int, s: int, v: int) -> str:
    """Lowercase address of whoever signed `digest`. Raises ValueError when the signature fits no key."""
    if v not in (27, 28):
        raise ValueError("v must be 27 or 28")
    try:
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v - 27])
        return _address(PublicKey.from_signature_and_message(raw, digest, hasher=None))
    except (OverflowError, ValueError):
        raise ValueError("the signature fits no key") from None


class Signer:
    """Signs actions of one key for one network. The key is in neither repr nor str, and cannot be pickled."""

    __slots__ = ("_key", "_mainnet", "address")

    def __init__(self, private_key_hex: str, *, mainnet: bool) -> None:
        self._key = parse_key(private_key_hex)
        self._mainnet = mainnet
        self.address = _address(self._key.public_key)  # lowercase

    def __repr__(self) -> str:
        return f"Signer({'mainnet' if self._mainnet else 'testnet'})"

    def __reduce__(self) -> str:
        raise TypeError("a Signer stays where it was made")

    def sign_action(
        self, action: dict[str, Any], nonce: int, vault_address: str | None = None, expires_after: int | None = None
    ) -> dict[str, Any]:
        """The wire form {"r", "s", "v"}; r and s padded to 64 digits."""
        digest = l1_digest(action_hash(action, vault_address, nonce, expires_after), self._mainnet)
        r, s, v = sign(digest, self._key)
        return {"r": f"0x{r:064x}", "s": f"0x{s:064x}", "v": v}
