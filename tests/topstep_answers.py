"""A TopstepX gateway of single answers, for `responses` and for sockets, and a client that asks it."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import requests
import responses

from runtime.clock import SystemClock
from tests.loopback import Reply, http
from topstep_client import TopstepClient
from venues.topstepx.rest import Timeouts

URL = "http://127.0.0.1:9"
NOW_MS = 1_790_360_864_000
USER, KEY = "jane.doe", "s3cr3tKeyOfTheUser0123456789abcdef="
ACCOUNT, ACCOUNT_ID = "PRAC-V2-100001-12345678", 20000001
SECRETS = (USER, KEY, ACCOUNT, str(ACCOUNT_ID), "eyJ", "127.0.0.1")
DAY_MS = 86_400_000
PATIENT = Timeouts(order_s=10.0, read_s=10.0, look_s=10.0)  # for answers that do come, on a busy machine too
SHORT = Timeouts(connect_s=2.0, order_s=0.3, read_s=0.3, look_s=0.3)


def jwt(mark: str = "a", **claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(claims)}.signature-{mark}"


def ok(**payload: Any) -> dict[str, Any]:
    return {"success": True, "errorCode": 0, "errorMessage": None, **payload}


def no(code: int, message: str | None = None, **payload: Any) -> dict[str, Any]:
    return {"success": False, "errorCode": code, "errorMessage": message, **payload}


ACCOUNT_ROW = {
    "id": ACCOUNT_ID,
    "name": ACCOUNT,
    "balance": 149831.92,
    "canTrade": True,
    "isVisible": True,
    "simulated": True,
}
CONTRACTS = [
    {"id": "CON.F.US.MGC.Z26", "name": "MGCZ6", "description": "Micro Gold: December 2026", "tickSize": 0.1,
     "tickValue": 1, "activeContract": True, "symbolId": "F.US.MGC"},
    {"id": "CON.F.US.ENQ.Z26", "name": "NQZ6", "description": "E-mini NASDAQ-100: December 2026", "tickSize": 0.25,
     "tickValue": 5, "activeContract": True, "symbolId": "F.US.ENQ"},
    {"id": "CON.F.US.MNQ.Z26", "name": "MNQZ6", "description": "Micro NASDAQ-100: December 2026", "tickSize": 0.25,
     "tickValue": 0.5, "activeContract": True, "symbolId": "F.US.MNQ"},
    {"id": "CON.F.US.ZT.X26", "name": "BADX6", "description": "nobody trades it", "tickSize": 0, "tickValue": 5,
     "activeContract": True, "symbolId": "F.US.BAD"},
]  # fmt: skip
TOKENS = [jwt(str(number), exp=NOW_MS // 1000 + 10 * 86_400, iat=NOW_MS // 1000 + 9 * 86_400) for number in range(50)]
BASICS: dict[str, Any] = {
    "Account/search": ok(accounts=[ACCOUNT_ROW]),
    "Contract/available": ok(contracts=CONTRACTS),
    "Position/searchOpen": ok(positions=[]),
    "Order/searchOpen": ok(orders=[]),
    "Order/search": ok(orders=[]),
    "Trade/search": ok(trades=[]),
}


class Http(msgspec.Struct):
    status: int
    body: Any = ""
    headers: dict[str, str] = {}


class Answers:
    """What the gateway answers by endpoint: a value, a function of the body, or a list used up to its last entry."""

    def __init__(self, **answers: Any) -> None:
        self.logins = iter(TOKENS)
        self.answers = {**BASICS, "Auth/loginKey": lambda body: ok(token=next(self.logins))}
        self.answers |= {what.replace("__", "/"): answer for what, answer in answers.items()}
        self.asked: list[tuple[str, Any]] = []
        self.bearers: list[str] = []  # of each request; "" without

    def next(self, what: str, body: Any) -> Any:
        self.asked.append((what, body))
        answer = self.answers[what]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer(body) if callable(answer) else answer

    def play(self, path: str, body: Any) -> Reply:
        """For a loopback venue."""
        answer = self.next(path.removeprefix("/api/"), body)
        if isinstance(answer, Http):
            header = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            return http(answer.body.encode() if isinstance(answer.body, str) else answer.body, answer.status, header)
        return http(answer) if isinstance(answer, dict) else answer

    def answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        """For `responses`."""
        self.bearers.append(str(request.headers.get("Authorization", "")).removeprefix("Bearer "))
        assert request.url is not None
        answer = self.next(request.url.removeprefix(f"{URL}/api/"), json.loads(request.body or b"null"))
        if isinstance(answer, Http):
            body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            return answer.status, answer.headers, body
        return 200, {}, json.dumps(answer)

    def kinds(self) -> list[str]:
        return [what for what, _ in self.asked]


def answering() -> Iterator[Callable[..., Answers]]:
    """For a fixture: makes Answers that `responses` gives at URL."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:

        def make(**answers: Any) -> Answers:
            made = Answers(**answers)
            mock.add_callback(responses.POST, re.compile(rf"{URL}/api/.*"), made.answer)
            return made

        yield make


def client_of(url: str = URL, clock: Any = None, account: str = ACCOUNT, **options: Any) -> TopstepClient:
    options.setdefault("timeouts", PATIENT)
    return TopstepClient(url, USER, KEY, account, clock=clock or SystemClock(), **options)


def hidden(text: str) -> bool:
    return not any(secret in text for secret in SECRETS)
