"""What the bot may show, to whom, and over what: secrets in any spelling, file modes, addresses, TLS, pinned packages.

Whole runs with planted secrets: `tests/e2e/test_secrets.py`. The health server's hosts, methods and headers:
`tests/test_health.py`.
"""

import base64
import logging
import os
import re
import ssl
import stat
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

import wiring
from config.credentials import NAMES
from config.faults import ConfigFault
from config.settings import load
from runtime import journal
from runtime.clock import ManualClock
from runtime.ledger import Ledger, equity_row
from runtime.private import check_files, open_to_others
from runtime.read_http import ReadSession
from runtime.redaction import Redactor
from runtime.venue import VenueUnavailable
from runtime.warm_http import NotSent, WarmConnection, checked_url
from tests.loopback import http, loopback_venue
from tests.test_settings import BASE, changed, write
from tests.test_stream import _certificate

ROOT = Path(__file__).resolve().parents[1]
HEX = "5ec4e7" + "c0ffee" * 9 + "abcd"
API_KEY = "cAnAry+key/of=topstep"
posix = pytest.mark.skipif(os.name == "nt", reason="file modes are POSIX")
PROGRAM = [
    path
    for folder in ("core", "runtime", "venues", "wiring", "config", "strategies", "scripts", "sim")
    for path in (ROOT / folder).rglob("*.py")
] + list(ROOT.glob("*.py"))


# --- spellings of a secret --------------------------------------------------------------------------------------------


def spelt(secret: str) -> dict[str, str]:
    raw = bytes.fromhex(secret) if re.fullmatch("[0-9a-f]{64}", secret) else secret.encode()
    return {
        "plain": secret,
        "upper": secret.upper(),
        "0x": f"0x{secret}",
        "0X upper": f"0X{secret.upper()}",
        "url": quote(secret, safe=""),
        "base64": base64.b64encode(secret.encode()).decode(),
        "base64 for addresses": base64.urlsafe_b64encode(secret.encode()).decode(),
        "base64 of the bytes": base64.b64encode(raw).decode(),
        "base64 after user:": base64.b64encode(b"jane:" + secret.encode()).decode(),
        "base64 inside": base64.b64encode(b"ab" + secret.encode() + b"c").decode(),
        "url of base64": quote(base64.b64encode(secret.encode()).decode(), safe=""),
    }


@pytest.mark.parametrize("secret", [HEX, API_KEY])
@pytest.mark.parametrize("how", list(spelt("x")))
def test_a_known_secret_is_hidden_however_it_is_spelt(secret: str, how: str) -> None:
    text = spelt(secret)[how]
    shown = Redactor([secret])(f"error at {text}, again")
    rest = shown.replace("<hidden>", "").replace("error at ", "").replace(", again", "")
    assert len(rest) <= 14, shown  # what lies on base64's grid with its neighbours: a few characters
    assert "error at" in shown and "again" in shown


def test_the_simulator_is_started_without_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child inherits the environment, and process lists show it."""
    seen: dict[str, str] = {}

    class Started(Exception):
        pass

    def popen(*args: object, env: dict[str, str], **options: object) -> None:
        seen.update(env)
        raise Started(args)

    for name in NAMES:
        monkeypatch.setenv(name, HEX)
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(Started) as caught:
        wiring.Simulator("hyperliquid")
    assert "PATH" in seen and HEX not in str(seen) + str(caught.value.args)


# --- files ------------------------------------------------------------------------------------------------------------


@posix
def test_journal_and_ledger_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    from core.state import State
    from tests.core.world import RULES, T0

    before = os.umask(0o022)
    try:
        recorder = journal.Journal(tmp_path, "tag", 10)
        recorder.rotate(T0, State(), RULES)
        recorder.close()
        ledger = Ledger(tmp_path / "ledger.db")
        ledger.start()
        ledger.book([equity_row("tag", T0, "1", "0")])
        ledger.stop()
        journal.tidy(tmp_path, "journal-99991231-tag.jsonl", 10**9)
    finally:
        os.umask(before)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert any(name.endswith(".jsonl.gz") for name in made) and "ledger.db" in made
    assert {name: oct(open_to_others(tmp_path / name) or 0) for name in made} == dict.fromkeys(made, "0o0")


@posix
def test_file_modes_are_looked_at_when_the_bot_starts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    env, logs = tmp_path / ".env", tmp_path / "logs"
    logs.mkdir()
    for path in (env, logs / "ledger.db", logs / "journal-20260101-a.jsonl", logs / "bot.log"):
        path.write_text("x", encoding="utf-8")
        path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        check_files(logs, env)
    assert [m for m in caplog.messages if m.startswith("file_mode path=.env mode=0644") and "chmod 600" in m]
    assert stat.S_IMODE(env.stat().st_mode) == 0o644  # the user's: only spoken of
    assert open_to_others(logs / "ledger.db") is None and open_to_others(logs / "journal-20260101-a.jsonl") is None
    assert open_to_others(logs / "bot.log") == 0o644
    caplog.clear()
    env.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        check_files(logs, env)
    assert caplog.messages == []


def test_windows_has_no_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("x", encoding="utf-8")
    monkeypatch.setattr("runtime.private.os.name", "nt")
    assert open_to_others(tmp_path / ".env") is None


def test_ignored_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert ".env" in ignored and any(line.startswith("logs") or line.startswith("/logs") for line in ignored)


# --- addresses and TLS ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["api_url", "ws_url", "market_hub_url", "user_hub_url"])
@pytest.mark.parametrize(
    "host", ["example.com", "10.0.0.1", "127.0.0.1.evil.com", "0.0.0.0", "localhost.evil", "[::2]"]
)
def test_plain_text_leaves_this_machine_by_no_key(tmp_path: Path, key: str, host: str) -> None:
    scheme = "http" if key == "api_url" else "ws"
    with pytest.raises(ConfigFault) as caught:
        load(write(tmp_path, changed(key, f"{scheme}://{host}/x")))
    assert any(key in line for line in caught.value.lines)


@pytest.mark.parametrize("make", [
    checked_url, ReadSession, lambda url: WarmConnection(url, ManualClock()),
])  # fmt: skip
@pytest.mark.parametrize(
    "url", ["http://example.com", "http://127.0.0.1.example.com", "ftp://127.0.0.1", "http://a:b@127.0.0.1"]
)
def test_plain_text_leaves_this_machine_by_no_client(make: object, url: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(url)  # type: ignore[operator]
    assert "example.com" not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", "localhost.evil"])
def test_the_status_page_is_for_this_machine(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        load(write(tmp_path, changed("health", {"host": host})))
    assert caught.value.lines[0].endswith("must be 127.0.0.1, ::1 or localhost; a tunnel (ssh -L) shows it elsewhere")
    for fine in ("127.0.0.1", "::1", "localhost"):
        assert load(write(tmp_path, BASE | {"health": {"host": fine}})).health.host == fine


UNSAFE = re.compile(r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified|trust_all|NO_VERIFY")


def test_nothing_in_the_program_switches_verification_off() -> None:
    assert len(PROGRAM) > 100
    assert [path.name for path in PROGRAM if UNSAFE.search(path.read_text(encoding="utf-8"))] == []


def test_a_certificate_that_nobody_vouches_for_is_refused(self_signed: ssl.SSLContext) -> None:
    """By both ways of asking over REST; the stream's own: tests/test_stream.py."""
    with loopback_venue(
        lambda path, body: http({}), wrap=lambda sock: self_signed.wrap_socket(sock, server_side=True)
    ) as venue:
        url = venue.url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(VenueUnavailable, match="SSLError"):
            ReadSession(url).post("meta", "/info", b"{}", 5.0)
        with pytest.raises(NotSent, match="SSLCertVerificationError"):
            WarmConnection(url, ManualClock()).post("/info", b"{}", 5.0)
        assert venue.requests == []


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    texts = _certificate()
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    return context
