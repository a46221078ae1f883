"""What a trade costs on TopstepX, account currency, by ticker (page 6.9, help centre, September and October 2026)."""

from decimal import Decimal

# Exchange, NFA and commission together, both sides of one contract. MGC, MES, MNQ, ES, NQ and MCL were confirmed by a
# second capture (13 September 2026), the others rest on one.
ROUND_TURN = {
    ticker: Decimal(cost)
    for cost, tickers in {
        "1.22": ("MES", "MNQ", "M2K", "MYM"),
        "3.78": ("ES", "NQ", "RTY", "YM"),
        "1.92": ("MGC", "MHG"),
        "4.32": ("GC", "SI", "HG"),
        "2.72": ("SIL",),
        "1.72": ("MCL",),  # 1.52 until 30 September 2026
        "4.02": ("CL",),
        "4.22": ("NG", "6E"),
        "1.00": ("M6E",),
        "2.62": ("ZN",),
        "2.76": ("ZB",),
        "2.82": ("MBT",),
    }.items()
    for ticker in tickers
}
MICROS = frozenset({"MES", "MNQ", "M2K", "MYM", "MGC", "MHG", "SIL", "MCL", "MNG", "M6E", "M6A", "M6B", "MBT", "MET"})
MICRO_COMMISSION, MINI_COMMISSION = Decimal("0.25"), Decimal("0.50")  # a side: half of $0.50 and $1.00 a round turn


def commission(ticker: str) -> Decimal:
    """Topstep's own part, one side of one contract: the `commissions` that some trade rows leave out (2.10)."""
    return MICRO_COMMISSION if ticker in MICROS else MINI_COMMISSION


def side_cost(ticker: str) -> Decimal | None:
    """All costs of one side of one contract; None for a product the page gives no figure for."""
    cost = ROUND_TURN.get(ticker)
    return None if cost is None else cost / 2
