"""The parts of a bot that trades Hyperliquid, made from its settings."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from config.credentials import Secrets, account_address
from config.faults import ConfigFault
from config.rules import Addresses, addresses
from config.settings import Settings
from core.messages import AnyEvent, KeyExpiry
from core.model import Instrument
from core.rules import MarketRules, Rules
from core.state import State
from hyperliquid_client import HyperliquidClient
from hyperliquid_websocket import HyperliquidWebSocketClient
from runtime.budget import WeightBudget
from runtime.clock import Clock
from runtime.logs import line
from runtime.poller import Seldom
from runtime.recovery import Decode
from runtime.venue import CredentialsRefused, VenueClient, VenueStream, VenueUnavailable
from venues.hyperliquid.frames import FrameReader
from venues.hyperliquid.signing import Signer, keccak
from wiring.flatten import HyperliquidFlattener
from wiring.kit import Row

log = logging.getLogger("bot")

DAY_MS = 86_400_000

CANDLES = {60_000: "1m", 180_000: "3m", 300_000: "5m", 900_000: "15m", 1_800_000: "30m", 3_600_000: "1h",
           7_200_000: "2h", 14_400_000: "4h", 28_800_000: "8h", 43_200_000: "12h", 86_400_000: "1d"}  # fmt: skip


class Account(msgspec.Struct, frozen=True):
    """Whose positions, and what signs for them."""

    address: str | None  # lower case; None: nobody's (a dry run without an address)
    signer: Signer | None


def account_of(settings: Settings, secrets: Secrets) -> Account:
    """The account and key this run uses; the embedded simulator funds a made-up one."""
    if settings.network == "simulator":
        made_up = Signer(keccak(b"trading bot, simulator account").hex(), mainnet=False)
        return Account(made_up.address, made_up)
    if settings.is_paper:
        return Account(None, None)
    key = secrets.hyperliquid_private_key
    assert key is not None, "missing_secrets() refuses a live run without a key"
    signer = Signer(key.reveal(), mainnet=settings.network == "mainnet")
    return Account(account_address(settings, secrets) or signer.address, signer)


def addresses_of(settings: Settings, simulator_url: str | None) -> Addresses:
    """The addresses to use. Raises ConfigFault when there are none."""
    if simulator_url is not None:
        return Addresses(simulator_url, "ws" + simulator_url.removeprefix("http") + "/ws")
    found = addresses(settings)
    if found is None:
        raise ConfigFault([f"network = {settings.network}: has no address"])
    return found


class HyperliquidKit:
    """A `wiring.Kit`."""

    def __init__(self, settings: Settings, secrets: Secrets, simulator_url: str | None, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._where = addresses_of(settings, simulator_url)
        self._account = account_of(settings, secrets)
        self._budget = WeightBudget(clock)
        self._client: HyperliquidClient | None = None

    @property
    def tag(self) -> str:
        settings = self._settings
        text = f"{settings.venue}:{settings.network}:{settings.is_paper}:{self._account.address}"
        if settings.network == "simulator":
            text += f":{settings.api_url}"  # each simulated venue has accounts of its own
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def has_account(self) -> bool:
        return self._account.address is not None

    def client(self) -> HyperliquidClient:
        if self._client is None:
            account = self._account
            try:
                self._client = HyperliquidClient(
                    self._where.api_url, account.signer, account.address, clock=self._clock, budget=self._budget
                )
            except ValueError as e:
                raise ConfigFault([f"api_url: {e}"]) from None
        return self._client

    def instruments(self) -> dict[str, Instrument]:
        return self.client().instruments()

    def prepare(self, rules: Rules) -> None:
        """Credentials, then leverage. An entry checks margin by itself, so a leverage that is not set is only said."""
        try:
            self.prepare_flatten()
        except VenueUnavailable as e:
            log.warning(line("credentials_unchecked", {"error": str(e)}))
        if rules.dry_run:
            return
        for number, (symbol, market) in enumerate(rules.markets.items()):
            if market.leverage is None:
                continue
            try:
                self.client().set_leverage(symbol, market.leverage, nonce=self._clock.now_ms() - 1_000 + number)
            except (VenueUnavailable, ValueError) as e:
                log.warning(line("leverage_not_set", text=f"{symbol}: {e}"))

    def stream(self, rules: Rules, inbox: Any) -> VenueStream | None:
        websocket = self._settings.websocket
        if websocket is None or not websocket.enabled:
            return None
        candles = {
            symbol: CANDLES[market.timeframe_ms]
            for symbol, market in rules.markets.items()
            if market.strategy is not None and not market.bars_from_trades
        }
        return HyperliquidWebSocketClient(
            self._where.ws_url,
            list(rules.markets),
            None if rules.dry_run else self._account.address,
            inbox,
            self._clock,
            reconnect_interval=websocket.reconnect_interval,
            max_reconnect_attempts=websocket.max_reconnect_attempts,
            candles=candles,
        )

    def decoder(self, rules: Rules) -> Decode:
        return decoder(rules, self._account.address)

    def seldom(self, client: VenueClient, rules: Rules) -> Sequence[Seldom]:
        """A key that ends with a position open must not come as a surprise."""
        if self._settings.is_paper or self._settings.network == "simulator":
            return ()
        assert isinstance(client, HyperliquidClient)

        def key_expiry() -> Sequence[AnyEvent]:
            expires_ms = client.check_credentials().expires_ms
            return () if expires_ms is None else (KeyExpiry(expires_ms=expires_ms, received_ms=self._clock.now_ms()),)

        return (Seldom("key expiry", DAY_MS, key_expiry),)

    def usage(self) -> tuple[int, int]:
        return self._budget.used(), self._budget.capacity

    def prepare_flatten(self) -> None:
        if not (self._settings.is_paper or self._settings.network == "simulator"):  # those need no key
            self.client().check_credentials()

    def flattener(self, instruments: dict[str, Instrument]) -> HyperliquidFlattener:
        return HyperliquidFlattener(self.client(), instruments, self._clock)

    # --- check ------------------------------------------------------------------------------------------------------

    def credentials_row(self) -> Row:
        if self._settings.is_paper or self._settings.network == "simulator":
            return Row("credentials", True, "none needed here")
        try:
            found = self.client().check_credentials()
        except CredentialsRefused as e:
            return Row("credentials", False, str(e), is_credential=True)
        kind = "agent key" if found.is_agent else "the account's own key (an agent key is safer)"
        days = ""
        if found.expires_ms is not None:
            days = f", expires in {(found.expires_ms - self._clock.now_ms()) / DAY_MS:.0f} days"
        return Row("credentials", True, kind + days)

    def own_rows(self, rules: Rules, state: State) -> Iterator[Row]:
        if self.has_account:
            budget = self.client().request_budget()
            detail = f"{budget.used} of {budget.cap} actions used"
            yield Row("request budget", budget.cap - budget.used > 200, detail)

    def protection(self, market: MarketRules) -> str:
        moved = ", moved behind the price" if market.exits.trailing_stop else ""
        return f"leverage up to {market.instrument.max_leverage}; a stop at the venue for the whole position{moved}"


def decoder(rules: Rules, account_address: str | None = None) -> Decode:
    """Frames of a journal back into events, with the same dropping of duplicates as the stream does."""
    reader = FrameReader(account_address)

    def decode(raw: bytes, received_ms: int) -> tuple[AnyEvent, ...]:
        return reader.read(raw, received_ms)

    return decode
