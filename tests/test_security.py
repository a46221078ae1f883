"""What the bot may show, to whom, and over what: secrets in any spelling, file modes, addresses, TLS, pinned packages.

Whole runs with planted secrets: `tests/e2e/test_secrets.py`. The health server's hosts, methods and headers:
`tests/test_health.py`.
"""

import base64
import contextlib
import json
import logging
import os
import re
import ssl
import stat
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from packaging.requirements import Requirement

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
from scripts import audit_dependencies as audit
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


# --- packages ---------------------------------------------------------------------------------------------------------


def test_every_package_is_pinned_with_its_hashes() -> None:
    assert audit.check_pins() == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_pins_are_complete_and_come_from_no_named_place(lock: str) -> None:
    """Whatever a pinned package itself needs, here and now, is pinned too."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    pins, faults = audit.read_lock(text)
    assert faults == [] and "://" not in text and "--index" not in text and len(pins) > 30
    for name in pins:
        with contextlib.suppress(metadata.PackageNotFoundError):  # for another system
            for text in metadata.requires(name) or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    assert audit.normal(needed.name) in pins, f"{name} needs {needed.name}"


def test_the_lock_files_keep_to_the_ranges() -> None:
    for source, lock in audit.LOCKS.items():
        pins, _ = audit.read_lock((ROOT / lock).read_text(encoding="utf-8"))
        for line in (ROOT / source).read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith(("#", "-r")):
                needed = Requirement(line.split(" #")[0])
                assert needed.specifier.contains(pins[audit.normal(needed.name)].version), line


@pytest.mark.parametrize(
    "line", ["rich>=13", "rich==15.0.0", "rich @ https://x/y --hash=sha256:" + "0" * 64, "rich==1 --hash=md5:00"]
)
def test_a_pin_that_is_none(line: str) -> None:
    assert audit.read_lock(line)[1] != []


def test_an_audit_that_reached_nothing_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """pip-audit itself calls a package it knows nothing of a success."""
    skipped = json.dumps({"dependencies": [{"name": "rich", "version": "15", "skip_reason": "not found"}]})
    known = json.dumps({"dependencies": [{"name": "rich", "version": "1", "vulns": [{"id": "PYSEC-1"}]}]})
    fine = json.dumps({"dependencies": [{"name": "rich", "version": "15", "vulns": []}]})
    assert audit.read_audit(fine, "") == ([], None)
    assert audit.read_audit(known, "") == (["rich 1: PYSEC-1"], None)
    for out, err in ((skipped, ""), ("", "Traceback\nConnectionError: no"), ("{}", "")):
        monkeypatch.setattr(audit, "audit", lambda command, out=out, err=err: audit.read_audit(out, err))
        assert audit.main([]) == 0 and "NOT AUDITED" in capsys.readouterr().out
        assert audit.main(["--strict"]) == 1
    monkeypatch.setattr(audit, "audit", lambda command: audit.read_audit(known, ""))
    assert audit.main([]) == 1 and "VULNERABLE  rich 1" in capsys.readouterr().out
