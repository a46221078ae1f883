"""What the simulated TopstepX trades: products, their ticks and costs, and which month is active on a day.

Ticks: protocol page 7.2; roots: 2.3; costs: 6.9 (those not published follow their like). Months and roll days are
chosen so that the recorded catalogue of 19 August 2026 comes out. Pure.
"""

from datetime import date
from decimal import Decimal as D

import msgspec

MONTHS = "FGHJKMNQUVXZ"
NAMES = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
         "November", "December")  # fmt: skip


class Roll(msgspec.Struct, frozen=True):
    """Months that trade, and the last day on which one is active: a day of its own month, or of the one before."""

    months: str
    day: int
    is_month_before: bool = True


QUARTERLY = Roll("HMUZ", 9, False)
RATES = Roll("HMUZ", 27)
GOLD = Roll("GJMQZ", 27)
BASE_METAL = Roll("HKNUZ", 27)
OIL = Roll(MONTHS, 17)
GAS = Roll(MONTHS, 24)
CRYPTO = Roll(MONTHS, 25, False)


class Product(msgspec.Struct, frozen=True):
    ticker: str
    root: str
    title: str
    tick: D
    tick_value: D
    start: D  # a price to begin with
    roll: Roll
    fees: D  # of one contract, one side
    commission: D
    lead: str = ""  # the product whose price it shares; "": its own
    hours: str = "globex"  # a key of sim.topstepx_sessions.HOURS
    trades_per_s: float = 4.0

    @property
    def price_name(self) -> str:
        return self.lead or self.ticker


class Contract(msgspec.Struct, frozen=True):
    """One month of a product."""

    product: Product
    month: int  # 1 to 12
    year: int

    @property
    def id(self) -> str:
        return f"CON.F.US.{self.product.root}.{MONTHS[self.month - 1]}{self.year % 100:02d}"

    @property
    def symbol_id(self) -> str:
        return f"F.US.{self.product.root}"

    @property
    def name(self) -> str:
        return f"{self.product.ticker}{MONTHS[self.month - 1]}{self.year % 10}"

    @property
    def display_name(self) -> str:
        return f"{self.product.ticker}{MONTHS[self.month - 1]}{self.year % 100:02d}"

    @property
    def description(self) -> str:
        return f"{self.product.title}: {NAMES[self.month - 1]} {self.year}"

    @property
    def tick(self) -> D:
        return self.product.tick

    def is_aligned(self, price: D) -> bool:
        return price > 0 and price % self.tick == 0


def _p(
    ticker: str, root: str, title: str, tick: str, value: str, start: str, roll: Roll, fees: str, **more: object
) -> Product:
    """A row of the table. A micro pays 0.25 commission a side, a mini 0.50 (6.9)."""
    commission = D("0.25") if more.pop("micro", False) else D("0.50")
    return Product(ticker, root, title, D(tick), D(value), D(start), roll, D(fees), commission, **more)  # type: ignore[arg-type]


_ROWS = [
    _p("MES", "MES", "Micro E-mini S&P 500", "0.25", "1.25", "6800", QUARTERLY, "0.36", micro=True, lead="ES",
       trades_per_s=18.0),
    _p("ES", "EP", "E-Mini S&P 500", "0.25", "12.5", "6800", QUARTERLY, "1.39", trades_per_s=22.0),
    _p("MNQ", "MNQ", "Micro E-mini Nasdaq-100", "0.25", "0.5", "25000", QUARTERLY, "0.36", lead="NQ", micro=True,
       trades_per_s=27.0),
    _p("NQ", "ENQ", "E-mini NASDAQ-100", "0.25", "5", "25000", QUARTERLY, "1.39", trades_per_s=24.0),
    _p("M2K", "M2K", "Micro E-mini Russell 2000", "0.1", "0.5", "2400", QUARTERLY, "0.36", lead="RTY", micro=True),
    _p("RTY", "RTY", "E-mini Russell 2000", "0.1", "5", "2400", QUARTERLY, "1.39"),
    _p("MYM", "MYM", "Micro E-mini Dow $0.50", "1", "0.5", "47000", QUARTERLY, "0.36", lead="YM", micro=True),
    _p("YM", "YM", "E-mini Dow ($5)", "1", "5", "47000", QUARTERLY, "1.39"),
    _p("NKD", "NKD", "Nikkei 225 (Globex)", "5", "25", "50000", QUARTERLY, "1.66", trades_per_s=1.0),
    _p("MGC", "MGC", "Micro Gold", "0.1", "1", "4100", GOLD, "0.71", lead="GC", micro=True, trades_per_s=12.0),
    _p("GC", "GCE", "Gold (Globex)", "0.1", "10", "4100", GOLD, "1.66", trades_per_s=10.0),
    _p("SIL", "SIL", "Micro Silver", "0.005", "5", "52", BASE_METAL, "1.11", lead="SI", micro=True),
    _p("SI", "SIE", "Silver (Globex)", "0.005", "25", "52", BASE_METAL, "1.66"),
    _p("MHG", "MHG", "Micro Copper", "0.0005", "1.25", "5.1", BASE_METAL, "0.71", lead="HG", micro=True),
    _p("HG", "CPE", "Copper (Globex)", "0.0005", "12.5", "5.1", BASE_METAL, "1.66"),
    _p("PL", "PLE", "Platinum (Globex)", "0.1", "5", "1600", Roll("FJNV", 27), "1.66", trades_per_s=1.0),
    _p("MCL", "MCLE", "Micro WTI Crude Oil", "0.01", "1", "59", OIL, "0.51", lead="CL", micro=True, trades_per_s=8.0),
    _p("CL", "CLE", "Crude Light (Globex)", "0.01", "10", "59", OIL, "1.51", trades_per_s=10.0),
    _p("QM", "NQM", "E-Mini Crude Oil", "0.025", "12.5", "59", OIL, "1.51", lead="CL", trades_per_s=1.0),
    _p("MNG", "MNG", "Micro Henry Hub Natural Gas", "0.001", "1", "4.5", GAS, "0.51", lead="NG", micro=True),
    _p("NG", "NGE", "Natural Gas (Globex)", "0.001", "10", "4.5", GAS, "1.61"),
    _p("QG", "NQG", "E-Mini Natural Gas", "0.005", "12.5", "4.5", GAS, "1.61", lead="NG", trades_per_s=1.0),
    _p("HO", "HOE", "NY Harbor ULSD (Globex)", "0.0001", "4.2", "2.4", OIL, "1.51"),
    _p("RB", "RBE", "RBOB Gasoline (Globex)", "0.0001", "4.2", "1.9", OIL, "1.51"),
    _p("M6E", "M6E", "E-Micro EUR/USD", "0.0001", "1.25", "1.16", QUARTERLY, "0.25", lead="6E", micro=True),
    _p("6E", "EU6", "Euro FX (Globex)", "0.00005", "6.25", "1.16", QUARTERLY, "1.61"),
    _p("E7", "EEU", "E-mini Euro FX", "0.0001", "6.25", "1.16", QUARTERLY, "1.61", lead="6E", trades_per_s=1.0),
    _p("M6A", "M6A", "E-Micro AUD/USD", "0.0001", "1", "0.65", QUARTERLY, "0.25", lead="6A", micro=True),
    _p("6A", "DA6", "Australian Dollar (Globex)", "0.00005", "5", "0.65", QUARTERLY, "1.61"),
    _p("M6B", "M6B", "E-Micro GBP/USD", "0.0001", "0.625", "1.31", QUARTERLY, "0.25", lead="6B", micro=True),
    _p("6B", "BP6", "British Pound (Globex)", "0.0001", "6.25", "1.31", QUARTERLY, "1.61"),
    _p("6J", "JY6", "Japanese Yen (Globex)", "0.0000005", "6.25", "0.0064", QUARTERLY, "1.61"),
    _p("6C", "CA6", "Canadian Dollar (Globex)", "0.00005", "5", "0.71", QUARTERLY, "1.61"),
    _p("6S", "SF6", "Swiss Franc (Globex)", "0.00005", "6.25", "1.24", QUARTERLY, "1.61"),
    _p("6N", "NE6", "New Zealand Dollar (Globex)", "0.00005", "5", "0.57", QUARTERLY, "1.61"),
    _p("6M", "MX6", "Mexican Peso (Globex)", "0.00001", "5", "0.054", QUARTERLY, "1.61"),
    _p("ZT", "TUA", "2 Year US Treasury Note (Globex)", "0.00390625", "7.8125", "104", RATES, "0.81"),
    _p("ZF", "FVA", "5 Year US Treasury Notes (Globex)", "0.0078125", "7.8125", "109.5", RATES, "0.81"),
    _p("ZN", "TYA", "10yr US Treasury Notes (Globex)", "0.015625", "15.625", "113", RATES, "0.81"),
    _p("TN", "TNA", "Ultra 10yr Treasury Note (Globex)", "0.015625", "15.625", "115.5", RATES, "0.88"),
    _p("ZB", "USA", "30yr US Treasury Bonds (Globex)", "0.03125", "31.25", "117", RATES, "0.88"),
    _p("UB", "ULA", "Ultra T-Bond (Globex)", "0.03125", "31.25", "121", RATES, "0.88"),
    _p("MBT", "MBT", "Micro Bitcoin", "5", "0.5", "88000", CRYPTO, "1.16", micro=True),
    _p("MET", "GMET", "Micro Ether", "0.5", "0.05", "3000", CRYPTO, "0.25", micro=True),
    _p("ZC", "ZCE", "Corn (Globex)", "0.25", "12.5", "430", Roll("HKNZ", 15), "1.61", hours="grains"),
    _p("ZW", "ZWA", "Wheat (Globex)", "0.25", "12.5", "540", Roll("HKNUZ", 15), "1.61", hours="grains"),
    _p("ZS", "ZSE", "Soybeans (Globex)", "0.25", "12.5", "1130", Roll("FHKNX", 15), "1.61", hours="grains"),
    _p("ZL", "ZLE", "Soybean Oil (Globex)", "0.01", "6", "51", Roll("FHKNZ", 15), "1.61", hours="grains"),
    _p("ZM", "ZME", "Soybean Meal (Globex)", "0.1", "10", "320", Roll("FHKNZ", 15), "1.61", hours="grains"),
    _p("HE", "HE", "Lean Hogs (Globex)", "0.025", "10", "80", Roll("GJMNQVZ", 5, False), "1.61", hours="livestock"),
    _p("LE", "GLE", "Live Cattle (Globex)", "0.025", "10", "210", Roll("GJMQVZ", 5, False), "1.61", hours="livestock"),
]  # fmt: skip
PRODUCTS = {product.ticker: product for product in _ROWS}
_BY_ROOT = {product.root: product for product in _ROWS}


def active_contract(product: Product, day: date) -> Contract:
    """The first listed month whose last active day is not before `day`."""
    roll = product.roll
    months = day.year * 12 + day.month - 1
    while True:
        year, month = divmod(months, 12)
        last_year, last_month = divmod(months - roll.is_month_before, 12)
        if MONTHS[month] in roll.months and day <= date(last_year, last_month + 1, roll.day):
            return Contract(product, month + 1, year)
        months += 1


def next_contract(contract: Contract) -> Contract:
    """The listed month after this one."""
    months = contract.year * 12 + contract.month
    while MONTHS[months % 12] not in contract.product.roll.months:
        months += 1
    return Contract(contract.product, months % 12 + 1, months // 12)


def parse_contract(contract_id: str) -> Contract | None:
    """The contract of an id, whatever its month; None when no product lists such a one."""
    parts = contract_id.split(".")
    if len(parts) != 5 or parts[:3] != ["CON", "F", "US"] or parts[3] not in _BY_ROOT:
        return None
    product, month = _BY_ROOT[parts[3]], parts[4]
    if len(month) != 3 or month[0] not in product.roll.months or not month[1:].isdecimal():
        return None
    return Contract(product, MONTHS.index(month[0]) + 1, 2000 + int(month[1:]))
