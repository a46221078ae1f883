"""What a venue brings to a bot, and a row of `check`."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from core.model import Instrument
from core.rules import MarketRules, Rules
from core.state import State
from runtime.poller import Seldom
from runtime.recovery import Decode
from runtime.venue import VenueClient, VenueStream
from wiring.flatten import Flattener


class Row(msgspec.Struct):
    """One question of `check` and its answer."""

    name: str
    passed: bool
    detail: str
    is_credential: bool = False


class Kit(Protocol):
    """What differs between venues when a bot is put together. One for each run; nothing is asked before `client`."""

    @property
    def tag(self) -> str:
        """Tells accounts apart without naming one."""

    @property
    def has_account(self) -> bool:
        """False: a dry run that nobody's account belongs to."""

    def client(self) -> VenueClient:
        """The client of the main thread; others clone it. Raises ConfigFault for an address that may not be used."""

    def instruments(self) -> dict[str, Instrument]:
        """What may be traded, by symbol. Raises VenueUnavailable, CredentialsRefused."""

    def prepare(self, rules: Rules) -> None:
        """What the venue must be told or asked before trading. Raises CredentialsRefused."""

    def stream(self, rules: Rules, inbox: Any) -> VenueStream | None:
        """Prices and fills, or None when the config switches the stream off."""

    def decoder(self, rules: Rules) -> Decode:
        """Reads this account's journal."""

    def seldom(self, client: VenueClient, rules: Rules) -> Sequence[Seldom]:
        """What is worth asking once in a long while, on the reader's thread and with its client."""

    def usage(self) -> tuple[int, int]:
        """Requests (or their weight) of the last minute, and how many are allowed."""

    def credentials_row(self) -> Row:
        """Whether the venue takes this key for this account. Raises VenueUnavailable."""

    def prepare_flatten(self) -> None:
        """Raises CredentialsRefused, VenueUnavailable unless the key may close what the account holds."""

    def flattener(self, instruments: dict[str, Instrument]) -> Flattener:
        """Closes and cancels, by this venue's order of steps."""

    def own_rows(self, rules: Rules, state: State) -> Iterator[Row]:
        """What is worth checking at this venue only. `state` is what the last run has left. Raises VenueUnavailable."""

    def protection(self, market: MarketRules) -> str:
        """What protects a position in this market, in words."""
