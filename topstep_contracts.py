"""Which contract month is traded under which ticker, and what other contracts are called (protocol page 2.3).

One book for all clones. Its dictionaries are replaced as a whole, so that other threads read them without a lock.
"""

from collections.abc import Collection, Iterable

import msgspec

from core.model import Instrument
from topstep_shapes import Contract, instrument_of
from topstep_symbols import name_of_other


class ContractBook:
    def __init__(self, configured: Collection[str], instruments: dict[str, Instrument] | None = None) -> None:
        self.configured = frozenset(configured)
        self.in_use: dict[str, Instrument] = dict(instruments or {})
        self._rows: dict[str, Contract] = {}

    def learn(self, rows: Iterable[Contract]) -> None:
        self._rows = {**self._rows, **{row.id: row for row in rows}}

    def row(self, contract_id: str) -> Contract | None:
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
        return msgspec.structs.replace(instrument_of(row), symbol=name)

    def ticker(self, contract_id: str) -> str:
        """Of a known contract, whatever its month."""
        row = self._rows.get(contract_id)
        instrument = instrument_of(row) if row is not None else self.known(contract_id)
        assert instrument is not None, "asked about known contracts only"
        return instrument.symbol
