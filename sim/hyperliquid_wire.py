"""How Hyperliquid spells things: listed coins, and the exchange's values as JSON rows (protocol page 1.6, 2)."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import msgspec

from core.model import ZERO, Instrument, Side, TimeInForce
from sim.accounts import Account, MarginTable, Position, Tier
from sim.candles import Candle
from sim.margin import (
    Markets,
    account_value,
    cross_maintenance,
    cross_value,
    liquidation_price,
    margin_used,
    total_notional,
    withdrawable,
)
from sim.orders import Execution, OrderState, Printed, Request, Status

JSON = dict[str, Any]
NO_HASH = "0x" + "0" * 64
OUTSIDER = "0x" + "00" * 19 + "01"  # whoever trades against users
ZERO_ADDRESS = "0x" + "00" * 20
TEN_BILLIONTH = Decimal("1e-10")
SIDE = {Side.BUY: "B", Side.SELL: "A"}
TIF = {TimeInForce.GTC: "Gtc", TimeInForce.IOC: "Ioc", TimeInForce.ALO: "Alo"}
PERP_DECIMALS = 6


class Listing(msgspec.Struct, frozen=True):
    """A row of meta.universe, and where its made-up price starts."""

    name: str
    size_decimals: int
    max_leverage: int
    table_id: int
    start: Decimal
    is_delisted: bool = False


CATALOGUE = (
    Listing("BTC", 5, 40, 56, Decimal(50_000)),
    Listing("ETH", 4, 25, 55, Decimal(2_500)),
    Listing("ATOM", 2, 5, 5, Decimal("4.2")),
    Listing("MATIC", 1, 20, 20, Decimal("0.38"), is_delisted=True),
    Listing("DYDX", 1, 5, 5, Decimal("0.62")),
    Listing("SOL", 2, 20, 54, Decimal(150)),
    Listing("HYPE", 2, 10, 52, Decimal(38)),
    Listing("DOGE", 0, 10, 52, Decimal("0.21")),
    Listing("kPEPE", 0, 10, 52, Decimal("0.0113")),
)
TABLES: dict[int, tuple[str, tuple[tuple[str, int], ...]]] = {
    56: ("tiered 40x", (("0.0", 40), ("150000000.0", 20))),
    55: ("tiered 25x", (("0.0", 25), ("100000000.0", 15))),
    54: ("tiered 20x", (("0.0", 20), ("70000000.0", 10))),
    52: ("tiered 10x", (("0.0", 10), ("3000000.0", 5))),
}


def listings(coins: Sequence[str]) -> tuple[Listing, ...]:
    """The universe: the catalogue's coins of that name and its delisted ones, in its order; then unknown names."""
    known = {row.name for row in CATALOGUE}
    new = tuple(Listing(name, 2, 10, 52, Decimal(10)) for name in dict.fromkeys(coins) if name not in known)
    return tuple(row for row in CATALOGUE if row.name in coins or row.is_delisted) + new


def instrument_of(row: Listing, asset_id: int) -> Instrument:
    return Instrument(
        row.name,
        asset_id,
        Decimal(1).scaleb(-row.size_decimals),
        price_decimals=PERP_DECIMALS - row.size_decimals,
        min_notional=Decimal(10),
        max_leverage=row.max_leverage,
    )


def margin_table(row: Listing) -> MarginTable:
    if row.table_id not in TABLES:
        return MarginTable([Tier(ZERO, row.max_leverage)])
    return MarginTable([Tier(Decimal(bound), leverage) for bound, leverage in TABLES[row.table_id][1]])


def meta(rows: Iterable[Listing]) -> JSON:
    universe = []
    for row in rows:
        entry: JSON = {"szDecimals": row.size_decimals, "name": row.name, "maxLeverage": row.max_leverage}
        entry["marginTableId"] = row.table_id
        if row.is_delisted:
            entry["isDelisted"] = True
        universe.append(entry)
    tables = [
        [i, {"description": text, "marginTiers": [{"lowerBound": b, "maxLeverage": x} for b, x in tiers]}]
        for i, (text, tiers) in TABLES.items()
    ]
    return {"universe": universe, "marginTables": tables, "collateralToken": 0}


def spot_meta() -> JSON:
    tokens = [
        {"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054",
         "isCanonical": True, "evmContract": None, "fullName": None},
        {"name": "PURR", "szDecimals": 0, "weiDecimals": 5, "index": 1, "tokenId": "0xc1fb593aeffbeb02f85e0308e9956a90",
         "isCanonical": True, "evmContract": None, "fullName": None},
    ]  # fmt: skip
    return {"tokens": tokens, "universe": [{"tokens": [1, 0], "name": "PURR/USDC", "index": 0, "isCanonical": True}]}


# --- numbers --------------------------------------------------------------------------------------------------------


def num(value: Decimal) -> str:
    """As the venue prints numbers: never an exponent, at least one decimal, at most ten."""
    if not value:
        return "0.0"  # never "-0.0"
    text = str(value)
    if "." not in text or "E" in text or text.endswith("0"):
        text = format(value.normalize(), "f")
    if len(text) - text.find(".") > 11 and "." in text:
        text = format(value.quantize(TEN_BILLIONTH).normalize(), "f")
    return text if "." in text else text + ".0"


def plain(value: Decimal) -> str:
    """Without padding, as in texts such as "Price below 71"."""
    return format(value.normalize(), "f")


# --- market data ----------------------------------------------------------------------------------------------------


def trade_row(trade: Printed, shift_ms: int = 0) -> JSON:
    return {
        "coin": trade.symbol,
        "side": SIDE[trade.side],
        "px": num(trade.price),
        "sz": num(trade.size),
        "time": trade.time_ms + shift_ms,
        "hash": NO_HASH,
        "tid": trade_id(trade.trade_id),
        "users": [trade.buyer or OUTSIDER, trade.seller or OUTSIDER],
    }


def trade_id(count: int) -> int:
    """A 50-bit number that looks like no counter, one for each count."""
    return count * 0x2545F4914F6CD1D % (1 << 50)


def level_rows(levels: Iterable[tuple[Decimal, Decimal, int]], count: int) -> list[JSON]:
    return [{"px": num(p), "sz": num(s), "n": n} for p, s, n in list(levels)[:count]]


def aggregate(
    levels: Iterable[tuple[Decimal, Decimal, int]], side: Side, figures: int, mantissa: int
) -> list[tuple[Decimal, Decimal, int]]:
    """Levels summed into steps of `figures` significant digits: bids rounded down, asks up."""
    rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
    rows: dict[Decimal, tuple[Decimal, int]] = {}
    for price, size, count in levels:
        step = Decimal(mantissa).scaleb(price.adjusted() - figures + 1)
        rounded = (price / step).quantize(Decimal(1), rounding=rounding) * step
        before = rows.get(rounded, (ZERO, 0))
        rows[rounded] = (before[0] + size, before[1] + count)
    return [(price, size, count) for price, (size, count) in rows.items()]


def candle_row(candle: Candle, coin: str, interval: str) -> JSON:
    return {
        "t": candle.open_ms,
        "T": candle.open_ms + candle.span_ms - 1,
        "s": coin,
        "i": interval,
        "o": num(candle.open),
        "c": num(candle.close),
        "h": num(candle.high),
        "l": num(candle.low),
        "v": num(candle.volume),
        "n": candle.trades,
    }


# --- orders and fills -----------------------------------------------------------------------------------------------


def order_type(request: Request) -> str:
    if request.trigger is None:
        return "Market" if request.is_market else "Limit"
    return (
        f"{'Stop' if request.trigger.is_stop else 'Take Profit'} {'Market' if request.trigger.is_market else 'Limit'}"
    )


def trigger_condition(request: Request) -> str:
    trigger = request.trigger
    if trigger is None:
        return "N/A"
    above = (request.side is Side.BUY) == trigger.is_stop
    return f"Price {'above' if above else 'below'} {plain(trigger.price)}"


def basic_order(order: OrderState) -> JSON:
    """The row of `openOrders` and `orderUpdates`."""
    request = order.request
    row: JSON = {
        "coin": request.symbol,
        "side": SIDE[request.side],
        "limitPx": num(request.price),
        "sz": num(order.left),
        "oid": order.order_id,
        "timestamp": order.time_ms,
        "origSz": num(request.size),
    }
    if request.client_id is not None:
        row["cloid"] = request.client_id
    if request.reduce_only:
        row["reduceOnly"] = True
    return row


def frontend_order(order: OrderState, children: Iterable[OrderState] = ()) -> JSON:
    """The row of `frontendOpenOrders`, `orderStatus` and `historicalOrders`."""
    request, trigger = order.request, order.request.trigger
    tif: str | None = "FrontendMarket" if request.is_market else TIF[request.time_in_force]
    return {
        "coin": request.symbol,
        "side": SIDE[request.side],
        "limitPx": num(request.price),
        "sz": num(order.left),
        "oid": order.order_id,
        "timestamp": order.time_ms,
        "triggerCondition": trigger_condition(request),
        "isTrigger": trigger is not None,
        "triggerPx": num(trigger.price) if trigger else "0.0",
        "children": [frontend_order(child) for child in children],
        "isPositionTpsl": request.whole_position,
        "reduceOnly": request.reduce_only,
        "orderType": order_type(request),
        "origSz": num(request.size),
        "tif": None if trigger else tif,
        "cloid": request.client_id,
    }


def direction(fill: Execution) -> str:
    start, size = fill.start_position, fill.size * fill.side.sign
    end = start + size
    if start * end < 0:
        return "Long > Short" if start > 0 else "Short > Long"
    if start * size >= 0:
        return "Open Long" if fill.side is Side.BUY else "Open Short"
    return "Close Long" if start > 0 else "Close Short"


def fill_row(fill: Execution) -> JSON:
    row: JSON = {
        "coin": fill.symbol,
        "px": num(fill.price),
        "sz": num(fill.size),
        "side": SIDE[fill.side],
        "time": fill.time_ms,
        "startPosition": num(fill.start_position),
        "dir": direction(fill),
        "closedPnl": num(fill.closed_pnl),
        "hash": NO_HASH,
        "oid": fill.order_id,
        "crossed": fill.crossed,
        "fee": num(fill.fee),
        "tid": trade_id(fill.trade_id),
        "feeToken": "USDC",
        "twapId": None,
    }
    if fill.client_id is not None:
        row["cloid"] = fill.client_id
    if fill.liquidation is not None:
        row["liquidation"] = {
            "liquidatedUser": fill.liquidation.account,
            "markPx": num(fill.liquidation.mark),
            "method": "backstop" if fill.liquidation.is_backstop else "market",
        }
    return row


def status_text(status: Status) -> str:
    return status.value


# --- accounts -------------------------------------------------------------------------------------------------------


def clearinghouse(account: Account, markets: Markets, initial_margin: Decimal, now_ms: int, unified: bool) -> JSON:
    """`initial_margin`: what positions and resting orders need. A unified account shows only what perps hold (2.4)."""
    positions = account.positions.values()
    used = sum((margin_used(p, markets[p.symbol].mark) for p in positions), ZERO)
    cross_used = sum((margin_used(p, markets[p.symbol].mark) for p in positions if p.leverage.is_cross), ZERO)
    total, cross = account_value(account, markets), cross_value(account, markets)
    free = withdrawable(account, markets, initial_margin)
    if unified:
        total, cross, free = used, cross_used, ZERO
    return {
        "marginSummary": _summary(total, positions, markets, used),
        "crossMarginSummary": _summary(cross, [p for p in positions if p.leverage.is_cross], markets, cross_used),
        "crossMaintenanceMarginUsed": num(cross_maintenance(account, markets)),
        "withdrawable": num(free),
        "assetPositions": [{"type": "oneWay", "position": position_row(account, p, markets)} for p in positions],
        "time": now_ms,
    }


def _summary(value: Decimal, positions: Iterable[Position], markets: Markets, used: Decimal) -> JSON:
    rows = list(positions)
    notional = sum((p.notional(markets[p.symbol].mark) for p in rows), ZERO)
    raw = value - sum((p.size * markets[p.symbol].mark for p in rows), ZERO)
    return {
        "accountValue": num(value),
        "totalNtlPos": num(notional),
        "totalRawUsd": num(raw),
        "totalMarginUsed": num(used),
    }


def position_row(account: Account, position: Position, markets: Markets) -> JSON:
    market = markets[position.symbol]
    value, profit = position.notional(market.mark), position.pnl(market.mark)
    posted = position.entry_price * abs(position.size) / position.leverage.value
    liquidation = liquidation_price(account, markets, position.symbol)
    leverage: JSON = {"type": "cross" if position.leverage.is_cross else "isolated", "value": position.leverage.value}
    if not position.leverage.is_cross:
        leverage["rawUsd"] = num(position.isolated_margin - position.entry_price * position.size)
    return {
        "coin": position.symbol,
        "szi": num(position.size),
        "leverage": leverage,
        "entryPx": num(_five_figures(position.entry_price)),
        "positionValue": num(value),
        "unrealizedPnl": num(profit),
        "returnOnEquity": num(profit / posted) if posted else "0.0",
        "liquidationPx": None if liquidation is None else num(liquidation),
        "marginUsed": num(margin_used(position, market.mark)),
        "maxLeverage": market.instrument.max_leverage,
        "cumFunding": {
            "allTime": num(account.funding_ever.get(position.symbol, ZERO)),
            "sinceOpen": num(position.funding),
            "sinceChange": num(position.funding),
        },
    }


def _five_figures(price: Decimal) -> Decimal:
    """Entry prices are averages: shown to a few decimals more than the market's own prices."""
    return price.quantize(Decimal(1).scaleb(price.adjusted() - 7)) if price else price


def spot_state(account: Account, markets: Markets, unified: bool) -> JSON:
    """A unified account holds all its collateral here; whether open profit belongs in `total` is not known (2.4)."""
    total, hold = account.spot_balance, ZERO
    if unified:
        total += account_value(account, markets)
        hold = sum((margin_used(p, markets[p.symbol].mark) for p in account.positions.values()), ZERO)
    return {"balances": [{"coin": "USDC", "token": 0, "total": num(total), "hold": num(hold), "entryNtl": "0.0"}]}


def notional_of(account: Account, markets: Markets) -> Decimal:
    return total_notional(account, markets)
