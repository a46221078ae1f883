"""Secrets from .env: read, checked, and kept from every log, repr and traceback."""

import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from config.checks import ADDRESS
from config.faults import ConfigFault, did_you_mean
from config.settings import FOLDER, Settings

DEFAULT_ENV_PATH = FOLDER.parent / ".env"
NAMES = ("HYPERLIQUID_PRIVATE_KEY", "HYPERLIQUID_ACCOUNT_ADDRESS", "TOPSTEPX_USERNAME", "TOPSTEPX_API_KEY")
_OURS = re.compile(r"(?:HYPERLIQUID|TOPSTEPX?)_[A-Z_]{1,40}")
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # secp256k1


class Secret:
    """A value that shows itself only when asked by name, so that no log line or traceback can leak it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "<hidden>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not written anywhere")


class Secrets(msgspec.Struct, frozen=True):
    hyperliquid_private_key: Secret | None = None  # 64 hex digits, no 0x
    hyperliquid_account_address: str | None = None  # 0x and 40 hex digits, lower case
    topstepx_username: str | None = None
    topstepx_api_key: Secret | None = None

    def values(self) -> tuple[str, ...]:
        """Every secret there is, for the log's redaction."""
        return tuple(s.reveal() for s in (self.hyperliquid_private_key, self.topstepx_api_key) if s is not None)


def load_secrets(path: Path = DEFAULT_ENV_PATH, environ: Mapping[str, str] | None = None) -> Secrets:
    """Secrets of the environment and of `path`, which need not exist; the environment wins.

    Raises ConfigFault, whose lines name the key and never show its value.
    """
    environ = os.environ if environ is None else environ
    text = _read(path)
    faults = list(_line_faults(text, path))
    found = {name: value for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items() if value}
    found |= {name: environ[name] for name in NAMES if environ.get(name)}
    values = {name: found[name].strip() for name in NAMES if found.get(name)}
    faults += _value_faults(values)
    if faults:
        raise ConfigFault(faults)
    key = values.get("HYPERLIQUID_PRIVATE_KEY")
    address = values.get("HYPERLIQUID_ACCOUNT_ADDRESS")
    api_key = values.get("TOPSTEPX_API_KEY")
    return Secrets(
        hyperliquid_private_key=Secret(_bare(key)) if key else None,
        hyperliquid_account_address=address.lower() if address else None,
        topstepx_username=values.get("TOPSTEPX_USERNAME"),
        topstepx_api_key=Secret(api_key) if api_key else None,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise ConfigFault([f"{path}: is not UTF-8; save the file as UTF-8"]) from None
    except OSError as e:
        reason = "is a directory, must be a file" if path.is_dir() else f"cannot be read ({e.strerror})"
        raise ConfigFault([f"{path}: {reason}"]) from None


def _line_faults(text: str, path: Path) -> Iterator[str]:
    seen: dict[str, str | None] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = f"{path}: line {binding.original.line}"
        if binding.error:
            yield f"{line}: is not of the form NAME=value"
        elif binding.key is None:
            continue  # a comment, an empty line
        elif binding.value is None:
            yield f"{line}: has no value, must be of the form NAME=value"
        elif _OURS.fullmatch(binding.key) and binding.key not in NAMES:
            yield f"{line}: {binding.key} is not known{did_you_mean(binding.key, NAMES)}"
        elif binding.key in NAMES and seen.setdefault(binding.key, binding.value) != binding.value:
            yield f"{line}: {binding.key} is given twice with different values"


def _value_faults(values: Mapping[str, str]) -> Iterator[str]:
    key = values.get("HYPERLIQUID_PRIVATE_KEY")
    address = values.get("HYPERLIQUID_ACCOUNT_ADDRESS")
    if key is not None and (fault := _key_fault(_bare(key))):
        yield f"HYPERLIQUID_PRIVATE_KEY {fault}"
    if address is not None and not ADDRESS.fullmatch(address):
        hint = "; that is as long as a private key" if len(_bare(address)) == 64 else ""
        yield f"HYPERLIQUID_ACCOUNT_ADDRESS must be an address, 0x and 40 hex digits{hint}"


def _bare(key: str) -> str:
    return key[2:] if key[:2] in ("0x", "0X") else key


def _key_fault(key: str) -> str | None:
    if not re.fullmatch(r"[0-9a-fA-F]*", key):
        return "must be 64 hex digits, holds something else"
    if len(key) == 40:
        return "must be 64 hex digits, has 40: that is an address, not a private key"
    if len(key) != 64:
        return f"must be 64 hex digits, has {len(key)}"
    if not 0 < int(key, 16) < _CURVE_ORDER:
        return "is not a private key of secp256k1"
    return None


def missing_secrets(settings: Settings, secrets: Secrets) -> list[str]:
    """What this configuration needs and .env does not give, or gives differently; one line each.

    Paper trading on Hyperliquid reads public data and needs no key; TopstepX asks for a login even to read.
    """
    faults = []
    if settings.venue == "hyperliquid" and settings.network != "simulator":
        if secrets.hyperliquid_private_key is None and not settings.is_paper:
            faults.append(
                "HYPERLIQUID_PRIVATE_KEY is missing in .env (dry_run is false); .env.example tells how to get one"
            )
        in_env, in_config = secrets.hyperliquid_account_address, settings.account
        if in_env and in_config and in_env != in_config.lower():
            faults.append("HYPERLIQUID_ACCOUNT_ADDRESS in .env and account in the config are different addresses")
    if settings.venue == "topstepx" and settings.network != "simulator":
        given = {"TOPSTEPX_USERNAME": secrets.topstepx_username, "TOPSTEPX_API_KEY": secrets.topstepx_api_key}
        faults += [
            f"{name} is missing in .env; .env.example tells how to get it" for name, v in given.items() if v is None
        ]
    return faults


def account_address(settings: Settings, secrets: Secrets) -> str | None:
    """The Hyperliquid account to read and trade, lower case; None: the key's own."""
    return settings.account.lower() if settings.account else secrets.hyperliquid_account_address
