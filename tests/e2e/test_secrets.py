"""P10 in whole runs: canaries in `.env` come out nowhere, in no spelling, with everything logged that can be."""

import base64
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from core.model import Side
from sim.server import SimServer
from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import MGC
from tests.e2e.harness import ACCOUNT, KEY, BotProcess, BotThread, field

NOTIFY_CANARY = "canary9hook"


def spellings(secret: str) -> list[str]:
    """What to look for: as it is, in other cases, in addresses, in base64."""
    found = {secret, secret.lower(), secret.upper(), quote(secret, safe="")}
    found |= {base64.b64encode(before + secret.encode()).decode()[4:-4] for before in (b"", b":", b"::")}
    return sorted(found)


class Messages:
    """An HTTP service that takes notifications and keeps them."""

    def __init__(self) -> None:
        self.came: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                outer.came.append(self.rfile.read(length).decode())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"json://127.0.0.1:{self.server.server_port}/{NOTIFY_CANARY}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def messages() -> Iterator[Messages]:
    service = Messages()
    yield service
    service.stop()


def pages(running: BotThread) -> str:
    """Everything the health server says, refusals too, with its headers."""
    url = field(running.log.wait("health_started"), "url")
    said = []
    for path in ("/", "/health", "/metrics", "/nothing", "/.env", "/../.env", "/%2e%2e/.env"):
        answer = requests.get(url + path, timeout=10)
        said.append(answer.text + str(answer.headers))
    for method in ("post", "put", "delete", "patch"):
        answer = getattr(requests, method)(url + "/health", data=b"x", timeout=10)
        assert answer.status_code == 405 and answer.headers["X-Content-Type-Options"] == "nosniff"
        said.append(answer.text)
    foreign = requests.get(url + "/health", headers={"Host": "evil.example"}, timeout=10)
    assert foreign.status_code == 403 and "BTC" not in foreign.text + "".join(said[3:])
    return "\n".join(said)


def assert_nowhere(secrets: list[str], folder: Path, texts: dict[str, str]) -> int:
    """Returns how many texts and files were looked through."""
    wanted = [form for secret in secrets for form in spellings(secret) if len(form) >= 6]
    for name, text in texts.items():
        assert not [form for form in wanted if form in text], name
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in (".env", "config.json")]
    for path in files:
        content = path.read_bytes()
        assert not [form for form in wanted if form.encode() in content], path.name
    assert {path.suffix for path in files} >= {".log", ".jsonl", ".db", ".json"}
    return len(files) + len(texts)


LOUD = {"level": "DEBUG", "price_every_s": 0}
OPEN = {"enabled": True, "port": 0}


def test_hyperliquid(sim: SimServer, bot: Callable[..., BotThread], messages: Messages, tmp_path: Path) -> None:
    """Through fills, refusals, torn connections and answers that quote the request back."""
    running = bot(logging=LOUD, health=OPEN, notify=[messages.url]).start()
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    running.log.wait("protected ")
    said = pages(running)
    bare = KEY.removeprefix("0x")
    sim.fault("reject", error=f"User or API Wallet 0x{bare.upper()} does not exist, key={bare} url={quote(KEY)}")
    sim.fault("raw_frame", text=f'{{"channel":"error","data":"bad signature, private_key: {KEY}"}}')
    sim.drop_connections()
    running.log.wait("stream_up", 2)
    sim.deal(ACCOUNT, "BTC", Side.BUY, "0.01")
    sim.move("BTC", "49480")
    running.log.wait("order_rejected")
    sim.clear_fault()
    texts = {"pages": said + pages(running)}
    running.stop()
    texts |= {"console": running.console.getvalue(), "messages": "\n".join(messages.came)}
    texts["environment"] = str(dict(os.environ))
    assert messages.came, "nobody was notified of anything"
    looked = assert_nowhere([bare, KEY, NOTIFY_CANARY], tmp_path / "logs", texts)
    assert looked >= 8 and "<hidden>" in running.log.text()


def test_topstepx(gateway: TopstepxSim, desk: Callable[..., BotThread], messages: Messages, tmp_path: Path) -> None:
    """Through logins, refused tokens and closed hubs."""
    env = f"TOPSTEPX_USERNAME={gateway.user}\nTOPSTEPX_API_KEY={gateway.api_key}\n"
    (tmp_path / ".env").write_text(env, encoding="utf-8")
    running = desk(
        network="live", dry_run=False, account=str(gateway.practice_id), prop_rules=None, logging=LOUD, health=OPEN,
        notify=[messages.url],
    ).start()  # fmt: skip
    gateway.deal(MGC, Side.BUY, 1)
    running.log.wait("protected ")
    said = pages(running)
    gateway.expire_tokens(close=True)
    running.log.wait("stream_up", 4)
    running.stop()
    tokens = gateway.call(lambda server: {part for token in server.tokens._known for part in token.split(".")[1:]})
    texts = {"console": running.console.getvalue(), "pages": said, "messages": "\n".join(messages.came)}
    texts["environment"] = str(dict(os.environ))
    assert len(tokens) >= 3 and messages.came
    assert assert_nowhere([gateway.api_key, NOTIFY_CANARY, *tokens], tmp_path / "logs", texts) >= 8


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads the process list of Linux")
def test_the_process_list_shows_no_secret(tmp_path: Path) -> None:
    """Neither the bot's own command line, nor anything of the simulator it starts."""
    config = {
        "venue": "hyperliquid", "network": "simulator",
        "markets": [{"symbol": "BTC", "timeframe": "1m", "strategy": None, "exits": {"stop_loss_pct": 1}}],
        "health": {"enabled": False}, "risk": {"max_daily_loss": None}, "websocket": {"enabled": True},
    }  # fmt: skip
    running = BotProcess(tmp_path, config, KEY)
    try:
        running.start()
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(running.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        lists = [Path(f"/proc/{pid}/{what}").read_bytes() for pid in children for what in ("cmdline", "environ")]
        lists.append(Path(f"/proc/{running.pid}/cmdline").read_bytes())
    finally:
        running.close()
    assert len(lists) >= 3, "the simulator is a process of its own"
    assert not [text for text in lists if re.search(KEY[2:].encode(), text, re.IGNORECASE)]
    assert sys.executable.encode() in lists[-1]
