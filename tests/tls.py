"""The venue's end of TLS for a loopback venue, with a certificate for `localhost` made on the spot."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.test_stream import _certificate

Wrap = Callable[[socket.socket], ssl.SSLSocket]


def server_end(folder: Path) -> Wrap:
    """Its certificate is in `cert.pem`; nobody trusts it yet."""
    certificate, key = _certificate()
    (folder / "cert.pem").write_text(certificate, encoding="ascii")
    (folder / "key.pem").write_text(key, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return lambda raw: context.wrap_socket(raw, server_side=True)


def trust(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on both kinds of connection take that certificate; reads of loopback addresses heed no environment."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "cert.pem"))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(folder / "cert.pem"))
