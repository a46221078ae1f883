"""The parts of a bot that trades TopstepX, made from its settings."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec

from config.credentials import Secrets
from config.faults import ConfigFault
from config.prop import doubt, preset_of, round_turn_costs, sessions
from config.settings import Settings
from core import prop_account
from core.holdings import dearest_tick
from core.messages import AnyEvent
from core.model import Instrument
from core.rules import MarketRules, Rules
from core.sessions import CHICAGO, chicago_ms, is_open
from core.state import State
from runtime.clock import Clock
from runtime.poller import Seldom
from runtime.recovery import Decode
from runtime.venue import CredentialsRefused, VenueClient, VenueStream
from sim.exchange import ExchangeRules
from topstep_client import LIVE_URL, TopstepClient
from topstep_websocket import TopstepWebSocketClient, always_open
from venues.topstepx.frames import TopstepFrameReader
from venues.topstepx.hub import IsOpen
from venues.topstepx.provider import TokenProvider
from venues.topstepx.rest import RequestLimits
from wiring.flatten import TopstepFlattener
from wiring.kit import Row

ROLL_EVERY_MS = 3_600_000
SIMULATED_MINUTE = 9 * 60 + 30  # of the Chicago day, where the embedded gateway begins with prop rules
DAYS_BACK = 10
PAPER_FUND = Decimal(50_000)
LIVE_HUBS = "https://rtc.topstepx.com"  # not api.topstepx.com (page 3.1)
SIMULATED = ("demo", "demo")  # user name and key that the simulated gateway knows (page 8)
SIMULATED_ACCOUNT = "PRAC-V2-100001-10000101"


class Addresses(msgspec.Struct, frozen=True):
    api_url: str
    market_hub_url: str
    user_hub_url: str


def addresses_of(settings: Settings, simulator_url: str | None) -> Addresses:
    """Where the gateway is. With `api_url` alone the hubs are taken to be on the same host. Page 0.

    Raises ConfigFault when the network has no address.
    """
    api_url = simulator_url or settings.api_url or (LIVE_URL if settings.network == "live" else None)
    if api_url is None:
        raise ConfigFault([f"network = {settings.network}: has no address"])
    api_url = api_url.rstrip("/")
    hubs = LIVE_HUBS if urlsplit(api_url) == urlsplit(LIVE_URL) else api_url
    return Addresses(
        api_url, settings.market_hub_url or f"{hubs}/hubs/market", settings.user_hub_url or f"{hubs}/hubs/user"
    )


class HubTokens:
    """Access tokens for the hubs: each stream's thread fetches its own, over connections of its own."""

    def __init__(self, client: TopstepClient) -> None:
        self._client, self._mine = client, threading.local()

    def _provider(self) -> TokenProvider:
        if not hasattr(self._mine, "provider"):
            self._mine.provider = self._client.token_provider()
        provider: TokenProvider = self._mine.provider
        return provider

    def token(self) -> str:
        """Raises VenueUnavailable."""
        return self._provider()()

    def refused(self) -> None:
        self._provider().refused()


class TopstepKit:
    """A `wiring.Kit`."""

    has_account = True  # the gateway asks for a login even to read

    def __init__(self, settings: Settings, secrets: Secrets, simulator_url: str | None, clock: Clock) -> None:
        self._settings, self._secrets, self._clock = settings, secrets, clock
        self._where = addresses_of(settings, simulator_url)
        self._limits = RequestLimits(clock)
        self._client: TopstepClient | None = None

    @property
    def tag(self) -> str:
        """By the account's id, for a config may name it either way. Ask after `instruments`."""
        settings = self._settings
        text = f"{settings.venue}:{settings.network}:{settings.is_paper}:{self.client().account_id}"
        if settings.network == "simulator":
            text += f":{settings.api_url}"  # each simulated venue has accounts of its own
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def client(self) -> TopstepClient:
        if self._client is None:
            settings = self._settings
            username, api_key = self._login()
            symbols = [market.symbol for market in settings.markets]
            try:
                self._client = TopstepClient(
                    self._where.api_url, username, api_key, settings.account or SIMULATED_ACCOUNT, clock=self._clock,
                    budget=self._limits, symbols=symbols,
                )  # fmt: skip
            except ValueError as e:
                raise ConfigFault([f"api_url: {e}"]) from None
        return self._client

    def _login(self) -> tuple[str, str]:
        if self._settings.network == "simulator":
            return SIMULATED
        username, key = self._secrets.topstepx_username, self._secrets.topstepx_api_key
        assert username is not None and key is not None, "missing_secrets() refuses a run without them"
        return username, key.reveal()

    def instruments(self) -> dict[str, Instrument]:
        self.client().check_credentials()
        return self.client().instruments()

    def prepare(self, rules: Rules) -> None:
        """Nothing: the login has been tried, and futures have no leverage."""

    def stream(self, rules: Rules, inbox: Any) -> VenueStream | None:
        websocket, client = self._settings.websocket, self.client()
        if rules.price_stream is None and rules.fill_stream is None:
            return None
        assert websocket is not None
        tokens = HubTokens(client)
        has_user = rules.fill_stream is not None and not rules.dry_run  # a dry run's fills are made here
        return TopstepWebSocketClient(
            None if rules.price_stream is None else self._where.market_hub_url,
            self._where.user_hub_url if has_user else None,
            {market.instrument.contract_id: symbol for symbol, market in rules.markets.items()},
            client.account_id,
            tokens.token,
            tokens.refused,
            inbox,
            self._clock,
            reconnect_interval=websocket.reconnect_interval,
            max_reconnect_attempts=websocket.max_reconnect_attempts,
            is_open=self._market_hours(rules),
        )

    def _market_hours(self, rules: Rules) -> IsOpen:
        """When silence is to be expected."""
        hours = rules.hours
        return always_open if hours is None else lambda symbol, now_ms: is_open(hours, symbol, now_ms)

    def decoder(self, rules: Rules) -> Decode:
        return decoder(rules, self.client().account_id)

    def seldom(self, client: VenueClient, rules: Rules) -> Sequence[Seldom]:
        """The venue rolls by its own calendar, overnight (page 2.3)."""
        assert isinstance(client, TopstepClient)
        return (Seldom("active contracts", ROLL_EVERY_MS, lambda: client.rolled(list(rules.markets))),)

    def usage(self) -> tuple[int, int]:
        return self._limits.rest.used(), self._limits.rest.capacity

    # --- flatten and check ------------------------------------------------------------------------------------------

    def prepare_flatten(self) -> None:
        """Nothing: who has read the instruments has logged in."""

    def flattener(self, instruments: dict[str, Instrument]) -> TopstepFlattener:
        return TopstepFlattener(self.client(), self._clock)

    def credentials_row(self) -> Row:
        try:
            account = self.client().check_credentials()
        except CredentialsRefused as e:
            return Row("credentials", False, str(e), is_credential=True)
        kind = "simulated" if account.simulated else "LIVE FUNDED: the API is not allowed there"
        return Row("credentials", account.simulated, f"account {account.name}, {kind}, balance {account.balance}")

    def own_rows(self, rules: Rules, state: State) -> Iterator[Row]:
        for symbol, market in rules.markets.items():
            yield Row(f"{symbol} contract", True, market.instrument.contract_id)
        yield bracket_row(rules, state)
        yield from self._prop_rows(rules, state)
        yield Row("this device", True, "orders must come from your own device: no VPS, no VPN, no remote server")

    def _prop_rows(self, rules: Rules, state: State) -> Iterator[Row]:
        """Distances as they stand by the venue's balance now and what the last run remembered."""
        settings = self._settings.prop_rules
        if rules.prop is None or settings is None:
            kind = preset_of(self.client().check_credentials().name)
            advice = f': this looks like "{kind}"' if kind is not None else ""
            yield Row("prop rules", kind in (None, "practice"), f"none are set{advice}")
            return
        account = self.client().account()
        now_ms = self._clock.now_ms() + self.client().measure_clock().offset_ms  # the trading day is the venue's
        assert account.balance is not None
        prop = prop_account.roll(state.prop, rules.prop, account.balance, now_ms)
        doubts = doubt(settings, self.client().check_credentials().name)
        yield Row("prop rules", doubts is None, doubts or f"{rules.prop.preset}, balance {account.balance}")
        if account.positions:
            yield Row("distances", True, "a position is open: /health shows them with its price")
            return
        valuation = prop_account.equity(rules.prop, account.balance, (), now_ms)
        for room in prop_account.distances(rules.prop, prop, valuation, (), dearest_tick(rules)):
            far = f"{room.dollars} away, {room.ticks} ticks of one contract, at an equity of {room.level}"
            yield Row(room.name, room.dollars is not None and room.dollars > 0, far)

    def protection(self, market: MarketRules) -> str:
        moved = ", moved behind the price" if market.exits.trailing_stop else ""
        return f"a stop at the venue for the size held{moved}"


def simulator_arguments(settings: Settings, now_ms: int) -> tuple[str, ...]:
    """With prop rules the gateway's clock must show trading hours, or they would refuse every entry at night."""
    if settings.prop_rules is None:
        return ()
    hours = sessions(settings.prop_rules)
    day = datetime.fromtimestamp(now_ms / 1000, CHICAGO).date()
    for _ in range(DAYS_BACK):
        opening_ms = chicago_ms(day.isoformat(), SIMULATED_MINUTE)
        if all(is_open(hours, market.symbol, opening_ms) for market in settings.markets):
            moment = datetime.fromtimestamp(opening_ms / 1000, UTC)
            return ("--clock", moment.isoformat())
        day -= timedelta(days=1)
    return ()


def paper_terms(rules: Rules) -> tuple[ExchangeRules, Decimal]:
    """How a dry run matches, and what its account begins with. One fee for all contracts: the dearest market's."""
    costs = round_turn_costs()
    fee = max(costs.get(symbol, max(costs.values())) for symbol in rules.markets) / 2
    start = rules.prop.start_balance if rules.prop is not None else PAPER_FUND
    return ExchangeRules(fee_per_unit=fee, has_margin=False, triggers_on_last=True), start or PAPER_FUND


def bracket_row(rules: Rules, state: State) -> Row:
    """The mode is a setting of the platform that no answer tells: the first entry shows it (page 2.7)."""
    if not rules.entry_brackets:
        return Row("brackets", True, "stop and target are orders of the bot's own")
    if state.brackets_refused:
        text = "refused by the venue lately: enable Auto OCO Brackets in its Risk Settings; until then own orders"
        return Row("brackets", False, text)
    return Row("brackets", True, "stop and target come with each entry (needs Auto OCO Brackets in Risk Settings)")


def decoder(rules: Rules, account_id: int | None = None) -> Decode:
    """Records of a journal back into events, with the quotes merged as the stream merges them."""
    contracts = {market.instrument.contract_id: symbol for symbol, market in rules.markets.items()}
    multipliers = {market.instrument.contract_id: market.instrument.multiplier for market in rules.markets.values()}
    reader = TopstepFrameReader(account_id, contracts, multipliers)

    def decode(raw: bytes, received_ms: int) -> tuple[AnyEvent, ...]:
        return reader.read(raw, received_ms)

    return decode
