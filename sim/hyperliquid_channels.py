"""The channels of `GET /ws`: which subscriptions there are, and the frames that carry a whole state (page 1.6)."""

import json
from collections.abc import Iterable
from typing import Any

from core.model import Side
from sim.candles import INTERVALS
from sim.hyperliquid_types import BadShape, address
from sim.hyperliquid_venue import HyperliquidVenue
from sim.hyperliquid_views import (
    account_state,
    active_asset_data,
    all_mids,
    book,
    fill_rows,
    frontend_orders,
    record_row,
)
from sim.hyperliquid_wire import JSON, candle_row, level_rows, spot_state
from sim.orders import Execution

USER_SNAPSHOT = 2_000  # fills in the first frame of userFills

_COIN_TYPES = {"trades", "l2Book", "bbo", "candle", "activeAssetCtx", "activeAssetData"}
_USER_TYPES = {
    "orderUpdates", "userEvents", "userFills", "userFundings", "userNonFundingLedgerUpdates", "userHistoricalOrders",
    "userTwapSliceFills", "userTwapHistory", "clearinghouseState", "openOrders", "spotState", "twapStates",
    "activeAssetData", "webData3", "notification",
}  # fmt: skip
_PLAIN_TYPES = {"allMids", "assetCtxs", "allDexsAssetCtxs"}


class WrongCoin(Exception):
    """The venue drops the connection instead of answering."""


def normalise(subscription: Any, coins: Iterable[str]) -> JSON:
    """A subscription with its defaults filled in. Raises BadShape, or WrongCoin."""
    kind = subscription.get("type") if isinstance(subscription, dict) else None
    if kind not in _COIN_TYPES | _USER_TYPES | _PLAIN_TYPES:
        raise BadShape("type")
    found: JSON = {"type": kind}
    if kind in _USER_TYPES:
        if not isinstance(subscription.get("user"), str):
            raise BadShape("user")
        found["user"] = address(subscription["user"])
    if kind in _COIN_TYPES:
        if not isinstance(subscription.get("coin"), str):
            raise BadShape("coin")
        found["coin"] = subscription["coin"]
    if kind == "candle":
        if subscription.get("interval") not in INTERVALS:
            raise BadShape("interval")
        found["interval"] = subscription["interval"]
    if kind == "l2Book":
        found |= {"nSigFigs": subscription.get("nSigFigs"), "mantissa": subscription.get("mantissa")}
        found["fast"] = bool(subscription.get("fast", False))
        figures, mantissa = found["nSigFigs"], found["mantissa"]
        wrong_mantissa = mantissa is not None and (figures != 5 or mantissa not in (2, 5))
        if figures not in (None, 2, 3, 4, 5) or wrong_mantissa:
            raise WrongCoin
    if kind == "userFills":
        found["aggregateByTime"] = bool(subscription.get("aggregateByTime", False))
    if subscription.get("dex"):
        found["dex"] = subscription["dex"]
    if "coin" in found and found["coin"] not in coins:
        raise WrongCoin
    return found


def topic(subscription: JSON) -> str:
    return json.dumps(subscription, separators=(",", ":"))


def is_account_feed(user: str, subscription: JSON) -> bool:
    return subscription.get("user") == user and subscription["type"] in ("clearinghouseState", "openOrders")


def fills_frame(user: str, fills: list[Execution], by_time: bool) -> JSON:
    return {"user": user, "fills": fill_rows(fills, by_time)}


def first_frames(venue: HyperliquidVenue, subscription: JSON) -> list[tuple[str, Any]]:
    """What follows an acknowledgement at once."""
    kind = subscription["type"]
    if kind == "trades":
        trades = list(venue.trades[subscription["coin"]])[-30:]
        return [("trades", venue.trade_rows(trades))] if trades else []
    if kind == "userFills":
        newest = list(venue.memory(subscription["user"]).fills)[-USER_SNAPSHOT:]
        rows = fill_rows(newest[::-1], subscription["aggregateByTime"])
        return [(kind, {"user": subscription["user"], "isSnapshot": True, "fills": rows})]
    if kind == "userFundings":
        return [(kind, _snapshot(subscription, "fundings", []))]
    if kind == "userNonFundingLedgerUpdates":
        rows = venue.memory(subscription["user"]).ledger
        return [(kind, _snapshot(subscription, "nonFundingLedgerUpdates", rows))]
    if kind == "userHistoricalOrders":
        rows = [record_row(r) for r in reversed(venue.memory(subscription["user"]).history)]
        return [(kind, _snapshot(subscription, "orderHistory", rows))]
    if kind == "userTwapSliceFills":
        return [(kind, _snapshot(subscription, "twapSliceFills", []))]
    if kind == "userTwapHistory":
        return [(kind, _snapshot(subscription, "history", []))]
    frame = state_frame(venue, subscription)
    return [] if frame is None else [frame]


def _snapshot(subscription: JSON, key: str, rows: list[JSON]) -> JSON:
    return {"user": subscription["user"], "isSnapshot": True, key: rows}


def state_frame(venue: HyperliquidVenue, subscription: JSON) -> tuple[str, Any] | None:
    """The frame of a channel that always sends the whole state; None for event channels."""
    kind, user = subscription["type"], subscription.get("user", "")
    if kind == "l2Book":
        fast = subscription["fast"]
        data = book(venue, subscription["coin"], subscription["nSigFigs"], subscription["mantissa"], 5 if fast else 20)
        return kind, data | {"fast": True} if fast else data
    if kind == "bbo":
        return kind, best(venue, subscription["coin"])
    if kind == "candle":
        candles = venue.candles.get(subscription["coin"])
        candle = candles.forming(subscription["interval"]) if candles else None
        return None if candle is None else (kind, candle_row(candle, subscription["coin"], subscription["interval"]))
    if kind == "activeAssetCtx":
        return kind, {"coin": subscription["coin"], "ctx": venue.context(subscription["coin"])}
    if kind == "allMids":
        dex = subscription.get("dex")
        return kind, {"dex": dex, "mids": {}} if dex else {"mids": all_mids(venue)}
    if kind in ("assetCtxs", "allDexsAssetCtxs"):
        contexts = [venue.context(row.name) for row in venue.listings]
        return kind, {"dex": "", "ctxs": contexts} if kind == "assetCtxs" else {"ctxs": [["", contexts]]}
    if kind == "clearinghouseState":
        return kind, {"dex": "", "user": user, "clearinghouseState": account_state(venue, user)}
    if kind == "openOrders":
        return kind, {"dex": "", "user": user, "orders": frontend_orders(venue, user)}
    if kind == "spotState":
        state = spot_state(venue.read_account(user), venue.exchange.markets, venue.is_unified())
        return kind, {"user": user, "spotState": state}
    if kind == "twapStates":
        return kind, {"dex": "", "user": user, "states": []}
    if kind == "activeAssetData":
        return kind, active_asset_data(venue, user, subscription["coin"])
    if kind == "webData3":
        return kind, _web_data(venue, user)
    return None


def _web_data(venue: HyperliquidVenue, user: str) -> JSON:
    mode = "unifiedAccount" if venue.is_unified() else "disabled"
    state = {"agentAddress": None, "agentValidUntil": None, "cumLedger": "0.0", "serverTime": venue.now_ms()}
    state |= {"isVault": False, "user": user, "abstraction": mode}
    return {"userState": state, "perpDexStates": [{"totalVaultEquity": "0.0"}]}


def best(venue: HyperliquidVenue, coin: str) -> JSON:
    tops = [venue.market(coin).book.top(side) for side in (Side.BUY, Side.SELL)]
    rows = [level_rows([top], 1)[0] if top else None for top in tops]
    return {"coin": coin, "time": venue.now_ms() + venue.time_shift_ms(), "bbo": rows}
