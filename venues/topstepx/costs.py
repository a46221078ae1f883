"""Topstep's own part of what a trade costs (page 6.9). What all of it comes to: config/topstep/fees.json."""

from decimal import Decimal

MICROS = frozenset({"MES", "MNQ", "M2K", "MYM", "MGC", "MHG", "SIL", "MCL", "MNG", "M6E", "M6A", "M6B", "MBT", "MET"})
MICRO_COMMISSION, MINI_COMMISSION = Decimal("0.25"), Decimal("0.50")  # a side: half of $0.50 and $1.00 a round turn


def commission(ticker: str) -> Decimal:
    """One side of one contract, account currency: the `commissions` that some trade rows leave out (2.10)."""
    return MICRO_COMMISSION if ticker in MICROS else MINI_COMMISSION
