"""Which contract month is traded under which ticker, and what other contracts are called (protocol page 2.3)."""

from collections.abc import Collection, Iterable

import msgspec

from core.model import Instrument
from runtime.venue import VenueUnavailable
from venues.topstepx import shapes
from venues.topstepx.rest import Envelope, TopstepRest, checked
from venues.topstepx.symbols import name_of_other


class _Contracts(Envelope):
    contracts: list[shapes.Contract] | None = None


class _Contract(Envelope):
    contract: shapes.Contract | None = None


class ContractBook:
    """One for all clones, without a lock: what is known only grows, and what is in use is replaced as a whole."""

    def __init__(self, configured: Collection[str], instruments: dict[str, Instrument] | None = None) -> None:
        self.configured = frozenset(configured)
        self.in_use: dict[str, Instrument] = dict(instruments or {})
        self._rows: dict[str, shapes.Contract] = {}

    def learn(self, rows: Iterable[shapes.Contract]) -> None:
        self._rows.update({row.id: row for row in rows})  # in place: two threads may learn at once

    def row(self, contract_id: str) -> shapes.Contract | None:
        return self._rows.get(contract_id)

    def use(self, instruments: Iterable[Instrument]) -> None:
        """From now on orders under these tickers go to these months."""
        self.in_use = {**self.in_use, **{instrument.symbol: instrument for instrument in instruments}}

    def traded(self, symbol: str) -> Instrument:
        """Raises ValueError."""
        if symbol not in self.in_use:
            raise ValueError(f"{symbol} is no market of this venue, or instruments() was not read")
        return self.in_use[symbol]

    def known(self, contract_id: str) -> Instrument | None:
        """Under the name the bot calls it by: the ticker for the month in use, MGCV6 for another month of the same."""
        for instrument in self.in_use.values():
            if instrument.contract_id == contract_id:
                return instrument
        row = self._rows.get(contract_id)
        if row is None:
            return None
        name = name_of_other(contract_id, self.configured or self.in_use)
        return msgspec.structs.replace(shapes.instrument_of(row), symbol=name)

    def ticker(self, contract_id: str) -> str:
        """Of a known contract, whatever its month."""
        row = self._rows.get(contract_id)
        instrument = shapes.instrument_of(row) if row is not None else self.known(contract_id)
        assert instrument is not None, "asked about known contracts only"
        return instrument.symbol


class Catalogue:
    """What the venue says of contracts, written in the book. Owned by one thread. All raise VenueUnavailable."""

    def __init__(self, rest: TopstepRest, book: ContractBook) -> None:
        self._rest, self._book = rest, book

    def active(self) -> dict[str, Instrument]:
        """By ticker. A search would not do: its pages end before MES, MGC and MNQ."""
        what = "Contract/available"
        answer = self._rest.ask(what, {"live": False}, _Contracts)
        rows = list(filter(shapes.is_usable, checked(what, shapes.present, answer.contracts, "contracts")))
        active = checked(what, shapes.active_of, rows)
        self._book.learn(rows)
        return active

    def instrument(self, contract_id: str) -> Instrument:
        """Of any contract, under the name the bot calls it by; an unknown one is asked for."""
        if (known := self._book.known(contract_id)) is None:
            self.contract(contract_id)
            known = self._book.known(contract_id)
        assert known is not None, "just learnt"
        return known

    def contract(self, contract_id: str) -> shapes.Contract:
        """Also of expired months."""
        if (row := self._book.row(contract_id)) is not None:
            return row
        what = "Contract/searchById"
        row = self._rest.ask(what, {"contractId": contract_id}, _Contract).contract
        if row is None or row.id != contract_id:
            raise VenueUnavailable(f"{what}: unexpected answer: not the contract asked for", status=200)
        checked(what, shapes.instrument_of, row)
        self._book.learn([row])
        return row

    def search(self, text: str) -> list[shapes.Contract]:
        what = "Contract/search"
        answer = self._rest.ask(what, {"searchText": text, "live": False}, _Contracts)
        return checked(what, shapes.present, answer.contracts, "contracts")
