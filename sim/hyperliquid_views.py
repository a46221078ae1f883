"""What `POST /info` and the channels of `GET /ws` tell alike: books, accounts, orders, fills (pages 1 and 2)."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from core.model import ZERO, Side
from sim.exchange import state_of
from sim.hyperliquid_types import BadShape
from sim.hyperliquid_venue import HyperliquidVenue, OrderRecord
from sim.hyperliquid_wire import JSON, aggregate, clearinghouse, fill_row, frontend_order, level_rows, num
from sim.margin import leverage_of, withdrawable
from sim.orders import Execution, LiveOrder


class Unsupported(Exception):
    """A number outside a supported set: 500 with `null`."""


# --- markets --------------------------------------------------------------------------------------------------------


def all_mids(venue: HyperliquidVenue) -> JSON:
    return {coin: num(mid) for coin in venue.live if (mid := venue.mid(coin)) is not None}


def check_aggregation(figures: Any, mantissa: Any) -> None:
    """Raises Unsupported for numbers the venue does not serve."""
    if figures is None and mantissa is None:
        return
    if figures not in (2, 3, 4, 5) or mantissa not in (None, 2, 5) or (mantissa is not None and figures != 5):
        raise Unsupported


def book(venue: HyperliquidVenue, coin: str, figures: Any = None, mantissa: Any = None, depth: int = 20) -> Any:
    """The `l2Book` object, or None for a coin nobody lists."""
    check_aggregation(figures, mantissa)
    if coin not in venue.exchange.markets:
        return None
    levels = []
    for side in (Side.BUY, Side.SELL):
        rows = venue.market(coin).book.levels(side)
        levels.append(rows if figures is None else aggregate(rows, side, figures, mantissa or 1))
    answer: JSON = {"coin": coin, "time": venue.now_ms() + venue.time_shift_ms()}
    answer["levels"] = [level_rows(rows, depth) for rows in levels]
    if figures is not None and levels[0] and levels[1]:
        answer["spread"] = num(levels[1][0][0] - levels[0][0][0])
    return answer


# --- accounts -------------------------------------------------------------------------------------------------------


def account_state(venue: HyperliquidVenue, user: str) -> JSON:
    account = venue.read_account(user)
    known = user in venue.exchange.accounts and not venue.agent(user)
    margin = venue.exchange.initial_margin(user) if known else ZERO
    return clearinghouse(account, venue.exchange.markets, margin, venue.now_ms(), venue.is_unified())


def active_asset_data(venue: HyperliquidVenue, user: str, coin: str) -> JSON:
    account = venue.read_account(user)
    if coin not in venue.exchange.markets:
        raise BadShape("coin")
    market, leverage = venue.market(coin), leverage_of(account, venue.market(coin))
    margin = venue.exchange.initial_margin(user) if user in venue.exchange.accounts else ZERO
    free = withdrawable(account, venue.exchange.markets, margin)
    size = market.instrument.round_size(free * leverage.value / market.mark) if market.mark else ZERO
    kind: JSON = {"type": "cross" if leverage.is_cross else "isolated", "value": leverage.value}
    answer: JSON = {"user": user, "coin": coin, "leverage": kind, "maxTradeSzs": [num(size), num(size)]}
    return answer | {"availableToTrade": [num(free), num(free)], "markPx": num(market.mark)}


def newest_first(orders: Iterable[LiveOrder]) -> list[LiveOrder]:
    return sorted(orders, key=lambda order: order.order_id, reverse=True)


def frontend_orders(venue: HyperliquidVenue, user: str) -> list[JSON]:
    venue.read_account(user)
    hidden = venue.faults.on("hide_triggers")
    now = venue.wall_ms()
    rows = []
    for order in newest_first(venue.exchange.orders_of(user)):
        age_ms = now - venue.records[order.order_id].placed_ms
        if hidden is not None and order.is_waiting_trigger and age_ms < hidden.get("ms", 300):
            continue
        waiting = [venue.exchange.orders[i] for i in order.children if i in venue.exchange.orders]
        rows.append(frontend_order(state_of(order), [state_of(child) for child in waiting if child.parent is not None]))
    return rows


def record_row(record: OrderRecord) -> JSON:
    return {
        "order": frontend_order(record.order),
        "status": record.status.value,
        "statusTimestamp": record.status_ms,
    }


def fill_rows(fills: Iterable[Execution], aggregate_by_time: bool) -> list[JSON]:
    """Rows of fills; aggregated, the partial fills of one crossing order in one millisecond become one."""
    rows: list[JSON] = []
    for fill in fills:
        row = fill_row(fill)
        last = rows[-1] if rows else None
        same = last is not None and all(last[key] == row[key] for key in ("oid", "time", "crossed"))
        if aggregate_by_time and same and fill.crossed and last is not None:
            size = Decimal(last["sz"]) + fill.size
            last["px"] = num((Decimal(last["px"]) * Decimal(last["sz"]) + fill.price * fill.size) / size)
            last["sz"] = num(size)
            for key, value in (("fee", fill.fee), ("closedPnl", fill.closed_pnl)):
                last[key] = num(Decimal(last[key]) + value)
        else:
            rows.append(row)
    return rows


def funding_row(time_ms: int, coin: str, amount: Decimal, size: Decimal, rate: Decimal) -> JSON:
    return {
        "time": time_ms,
        "coin": coin,
        "usdc": num(amount),
        "szi": num(size),
        "fundingRate": num(rate),
        "nSamples": None,
    }
