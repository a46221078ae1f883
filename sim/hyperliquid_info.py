"""`POST /info`: every read, as a function of the venue and the request (protocol page 2)."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sim.candles import INTERVALS
from sim.exchange import state_of
from sim.hyperliquid_types import BadShape, address
from sim.hyperliquid_venue import HyperliquidVenue
from sim.hyperliquid_views import (
    account_state,
    active_asset_data,
    all_mids,
    book,
    fill_rows,
    frontend_orders,
    funding_row,
    newest_first,
    record_row,
)
from sim.hyperliquid_wire import JSON, basic_order, candle_row, meta, num, spot_meta, spot_state

MAX_ROWS = 2_000
MAX_FUNDING_ROWS = 500


# --- reading requests -----------------------------------------------------------------------------------------------


def _user(request: JSON, key: str = "user") -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise BadShape(f"{key} is missing")
    return address(value)


def _int(request: JSON, key: str, default: int | None = None) -> int:
    value = request.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadShape(f"{key} is no integer")
    return value


def _text(request: JSON, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str):
        raise BadShape(f"{key} is no text")
    return value


def _is_first_dex(request: JSON) -> bool:
    return not request.get("dex")


# --- markets --------------------------------------------------------------------------------------------------------


def _meta(venue: HyperliquidVenue, request: JSON) -> Any:
    return meta(venue.listings) if _is_first_dex(request) else None


def _meta_and_contexts(venue: HyperliquidVenue, request: JSON) -> Any:
    return [meta(venue.listings), [venue.context(row.name) for row in venue.listings]]


def _spot_meta_and_contexts(venue: HyperliquidVenue, request: JSON) -> Any:
    context = {"prevDayPx": "0.2", "dayNtlVlm": "0.0", "markPx": "0.2", "midPx": None, "circulatingSupply": "1.0"}
    return [spot_meta(), [context | {"coin": "PURR/USDC", "totalSupply": "1.0", "dayBaseVlm": "0.0"}]]


def _all_mids(venue: HyperliquidVenue, request: JSON) -> Any:
    return all_mids(venue) if _is_first_dex(request) else {}


def _book(venue: HyperliquidVenue, request: JSON) -> Any:
    return book(venue, _text(request, "coin"), request.get("nSigFigs"), request.get("mantissa"))


def _recent_trades(venue: HyperliquidVenue, request: JSON) -> Any:
    trades = venue.trades.get(_text(request, "coin"))
    return None if trades is None else venue.trade_rows(list(trades)[:-31:-1])


def _candles(venue: HyperliquidVenue, request: JSON) -> Any:
    wanted = request.get("req")
    if not isinstance(wanted, dict) or wanted.get("interval") not in INTERVALS:
        raise BadShape("req")
    coin, interval = _text(wanted, "coin"), wanted["interval"]
    if coin not in venue.candles:
        return [] if coin in venue.exchange.markets else None
    end_ms = _int(wanted, "endTime", venue.now_ms())
    rows = venue.candles[coin].read(interval, _int(wanted, "startTime"), end_ms)
    return [candle_row(row, coin, interval) for row in rows]


def _exchange_status(venue: HyperliquidVenue, request: JSON) -> Any:
    return {"time": venue.now_ms(), "specialStatuses": None}


def _funding_history(venue: HyperliquidVenue, request: JSON) -> Any:
    coin, start = _text(request, "coin"), _int(request, "startTime")
    end = _int(request, "endTime", venue.now_ms())
    rows = [(t + 15, rate) for t, rate in venue.fundings.get(coin, []) if start <= t + 15 <= end]
    return [
        {"coin": coin, "fundingRate": num(rate), "premium": "0.0", "time": time_ms}
        for time_ms, rate in rows[:MAX_FUNDING_ROWS]
    ]


# --- accounts -------------------------------------------------------------------------------------------------------


def _clearinghouse(venue: HyperliquidVenue, request: JSON) -> Any:
    return account_state(venue, _user(request))


def _spot_state(venue: HyperliquidVenue, request: JSON) -> Any:
    return spot_state(venue.read_account(_user(request)), venue.exchange.markets, venue.is_unified())


def _active_asset_data(venue: HyperliquidVenue, request: JSON) -> Any:
    return active_asset_data(venue, _user(request), _text(request, "coin"))


def _open_orders(venue: HyperliquidVenue, request: JSON) -> Any:
    user = _user(request)
    venue.read_account(user)
    return [basic_order(state_of(o)) for o in newest_first(venue.exchange.orders_of(user))]


def _frontend_orders(venue: HyperliquidVenue, request: JSON) -> Any:
    return frontend_orders(venue, _user(request)) if _is_first_dex(request) else []


def _order_status(venue: HyperliquidVenue, request: JSON) -> Any:
    oid = request.get("oid")
    if not isinstance(oid, int | str) or isinstance(oid, bool):
        raise BadShape("oid")
    user = _user(request)
    venue.read_account(user)
    record = venue.find_order(user, oid.lower() if isinstance(oid, str) else oid)
    lag = venue.faults.on("unknown_oid")
    is_fresh = lag is not None and record is not None and venue.wall_ms() - record.placed_ms < lag.get("ms", 300)
    if record is None or is_fresh:
        return {"status": "unknownOid"}
    return {"status": "order", "order": record_row(record)}


def _historical_orders(venue: HyperliquidVenue, request: JSON) -> Any:
    return [record_row(record) for record in reversed(venue.memory(_user(request)).history)][:MAX_ROWS]


def _user_fills(venue: HyperliquidVenue, request: JSON) -> Any:
    fills = list(venue.memory(_user(request)).fills)[::-1]
    return fill_rows(fills, bool(request.get("aggregateByTime")))[:MAX_ROWS]


def _user_fills_by_time(venue: HyperliquidVenue, request: JSON) -> Any:
    start, end = _int(request, "startTime"), _int(request, "endTime", venue.now_ms())
    fills = [f for f in venue.memory(_user(request)).fills if start <= f.time_ms <= end]
    fills = fills[::-1] if request.get("reversed") else fills
    return fill_rows(fills, bool(request.get("aggregateByTime")))[:MAX_ROWS]


def _user_funding(venue: HyperliquidVenue, request: JSON) -> Any:
    start, end = _int(request, "startTime"), _int(request, "endTime", venue.now_ms())
    rows = []
    for paid in venue.memory(_user(request)).fundings:
        if start <= paid.time_ms <= end:
            delta = funding_row(paid.time_ms, paid.symbol, paid.amount, paid.size, paid.rate)
            del delta["time"]
            rows.append({"time": paid.time_ms, "hash": "0x" + "0" * 64, "delta": {"type": "funding"} | delta})
    return rows[:MAX_FUNDING_ROWS]


def _ledger(venue: HyperliquidVenue, request: JSON) -> Any:
    start, end = _int(request, "startTime"), _int(request, "endTime", venue.now_ms())
    return [row for row in venue.memory(_user(request)).ledger if start <= row["time"] <= end]


def _user_fees(venue: HyperliquidVenue, request: JSON) -> Any:
    venue.touch(_user(request))
    rules = venue.exchange.rules
    cross, add = num(rules.taker_rate), num(rules.maker_rate)
    tiers = {
        "vip": [
            {"ntlCutoff": "5000000.0", "cross": "0.0004", "add": "0.00012", "spotCross": "0.0006", "spotAdd": "0.0003"}
        ],
        "mm": [{"makerFractionCutoff": "0.005", "add": "-0.00001"}],
    }
    schedule: JSON = {"cross": cross, "add": add, "spotCross": "0.0007", "spotAdd": "0.0004", "tiers": tiers}
    none = {"bpsOfMaxSupply": "0.0", "discount": "0.0"}
    schedule |= {"referralDiscount": "0.04", "stakingDiscountTiers": [none]}
    return {
        "dailyUserVlm": [],
        "feeSchedule": schedule,
        "userCrossRate": cross,
        "userAddRate": add,
        "userSpotCrossRate": "0.0007",
        "userSpotAddRate": "0.0004",
        "activeReferralDiscount": "0.0",
        "trial": None,
        "feeTrialEscrow": "0.0",
        "nextTrialAvailableTimestamp": None,
        "stakingLink": None,
        "activeStakingDiscount": none,
    }


def _rate_limit(venue: HyperliquidVenue, request: JSON) -> Any:
    user = _user(request)
    volume, budget = venue.touch(user).volume, venue.memory(user).budget
    return {
        "cumVlm": num(volume),
        "nRequestsUsed": budget.used,
        "nRequestsCap": venue.budget_cap(user),
        "nRequestsSurplus": 0,
    }


def _extra_agents(venue: HyperliquidVenue, request: JSON) -> Any:
    user = _user(request)
    venue.read_account(user)
    return [
        {"name": agent.name, "address": key, "validUntil": agent.valid_until_ms}
        for key, agent in venue.agents.items()
        if agent.master == user and agent.name and venue.agent(key)
    ]


def _user_role(venue: HyperliquidVenue, request: JSON) -> Any:
    user = _user(request)
    if agent := venue.agent(user):
        return {"role": "agent", "data": {"user": agent.master}}
    venue.touch(user)
    return {"role": "user"}


def _abstraction(venue: HyperliquidVenue, request: JSON) -> Any:
    venue.read_account(_user(request))
    return "unifiedAccount" if venue.is_unified() else "disabled"


def _max_builder_fee(venue: HyperliquidVenue, request: JSON) -> Any:
    rate = venue.memory(_user(request)).builder_fees.get(_user(request, "builder"), "0%")
    return int(Decimal(rate.removesuffix("%")) * 1000)  # tenths of a basis point


Reader = Callable[[HyperliquidVenue, JSON], Any]
READERS: dict[str, Reader] = {
    "meta": _meta,
    "metaAndAssetCtxs": _meta_and_contexts,
    "spotMeta": lambda venue, request: spot_meta(),
    "spotMetaAndAssetCtxs": _spot_meta_and_contexts,
    "perpDexs": lambda venue, request: [None],
    "allMids": _all_mids,
    "l2Book": _book,
    "recentTrades": _recent_trades,
    "candleSnapshot": _candles,
    "exchangeStatus": _exchange_status,
    "fundingHistory": _funding_history,
    "clearinghouseState": _clearinghouse,
    "spotClearinghouseState": _spot_state,
    "activeAssetData": _active_asset_data,
    "openOrders": _open_orders,
    "frontendOpenOrders": _frontend_orders,
    "orderStatus": _order_status,
    "historicalOrders": _historical_orders,
    "userFills": _user_fills,
    "userFillsByTime": _user_fills_by_time,
    "userFunding": _user_funding,
    "userNonFundingLedgerUpdates": _ledger,
    "userFees": _user_fees,
    "userRateLimit": _rate_limit,
    "extraAgents": _extra_agents,
    "userRole": _user_role,
    "userAbstraction": _abstraction,
    "maxBuilderFee": _max_builder_fee,
    "subAccounts": lambda venue, request: None,
    "userVaultEquities": lambda venue, request: [],
}


def read(venue: HyperliquidVenue, request: Any) -> Any:
    """The answer to an info request. Raises BadShape (422) or Unsupported (500)."""
    if not isinstance(request, dict) or request.get("type") not in READERS:
        raise BadShape("type")
    return READERS[request["type"]](venue, request)
