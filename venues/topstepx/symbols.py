"""What the market calls a contract that the venue names by its vendor's root (page 2.3)."""

from collections.abc import Collection

PREFIX = "CON.F.US."

# Root: ticker, where they differ (catalogue of August 2026, page 2.3). All other roots are the ticker.
TICKERS = {
    "EP": "ES", "ENQ": "NQ",
    "GCE": "GC", "SIE": "SI", "CPE": "HG", "PLE": "PL",
    "CLE": "CL", "MCLE": "MCL", "NQM": "QM", "NGE": "NG", "NQG": "QG", "HOE": "HO", "RBE": "RB",
    "GMET": "MET",
    "EU6": "6E", "JY6": "6J", "BP6": "6B", "DA6": "6A", "CA6": "6C", "SF6": "6S", "NE6": "6N", "MX6": "6M",
    "EEU": "E7",
    "TYA": "ZN", "FVA": "ZF", "TUA": "ZT", "USA": "ZB", "ULA": "UB", "TNA": "TN",
    "GLE": "LE", "ZCE": "ZC", "ZWA": "ZW", "ZSE": "ZS", "ZLE": "ZL", "ZME": "ZM",
}  # fmt: skip


def ticker(contract_id: str) -> str:
    """`CON.F.US.ENQ.Z26`: `NQ`. An id of another form is its own ticker."""
    parts = contract_id.removeprefix(PREFIX).split(".")
    if len(parts) != 2 or not parts[0]:
        return contract_id
    return TICKERS.get(parts[0], parts[0])


def name_of_other(contract_id: str, taken: Collection[str]) -> str:
    """What to call a contract outside the config: its ticker, or with its month where the ticker is `taken`.

    `CON.F.US.MGC.V26` while MGC trades another month: `MGCV6`, as the venue names it. Prices of one month must never
    pass for those of another.
    """
    short = ticker(contract_id)
    if short not in taken or short == contract_id:
        return short
    month = contract_id.rpartition(".")[2]
    return f"{short}{month[:1]}{month[-1:]}"
