"""Orders, cancels and modifies of signed actions, and the venue's exact answers to them (protocol page 3.2 to 3.5)."""

from decimal import Decimal
from typing import Any

import msgspec

from core.model import Side, TimeInForce
from sim.hyperliquid_types import Limit, ModifyWire, OrderAction, OrderWire, Priority, TriggerSpec
from sim.hyperliquid_venue import HyperliquidVenue
from sim.hyperliquid_wire import JSON, num, plain
from sim.orders import Answer, LiveOrder, Placed, Refused, Request, Status, Trigger

MISSING = "Order was never placed, already canceled, or filled."
ORDER_ERRORS = {
    Status.TICK: "Price must be divisible by tick size.",
    Status.LOT: "Order has invalid size.",
    Status.ZERO_SIZE: "Order has zero size.",
    Status.BAND: "Order price cannot be more than 80% away from the reference price",
    Status.MIN_NOTIONAL: "Order must have minimum value of $10.",
    Status.MARGIN: "Insufficient margin to place order.",
    Status.REDUCE_ONLY: "Reduce only order would increase position.",
    Status.NO_MATCH: "Order could not immediately match against any resting orders.",
    Status.BAD_TRIGGER: "Invalid TP/SL price.",
    Status.NO_LIQUIDITY: "No liquidity available for market order.",
    Status.TOO_MANY: "Too many open orders.",
}


class Refusal(Exception):
    """The whole action is refused: `{"status": "err"}` with this text."""


# --- orders ---------------------------------------------------------------------------------------------------------


def place(venue: HyperliquidVenue, account: str, action: OrderAction) -> list[Any]:
    if not action.orders:
        return [{"error": "Orders are empty."}]
    if any(order.a >= 10_000 for order in action.orders):
        raise Refusal("Invalid spot")
    requests = []
    for order in action.orders:
        listing = venue.listings[order.a] if 0 <= order.a < len(venue.listings) else None
        if listing is None or listing.is_delisted:
            raise Refusal(f"Asset {order.a} is not tradable.")
        requests.append(_request(venue, order, action))
    if fault := _static_fault(venue, action, requests):
        return [{"error": fault}]
    if action.grouping == "normalTpsl":
        return _place_bracket(venue, account, requests)
    group = venue.exchange.new_group() if action.grouping == "positionTpsl" else 0
    return [_place_one(venue, account, r, group, action.grouping == "positionTpsl") for r in requests]


def _request(venue: HyperliquidVenue, order: OrderWire, action: OrderAction | None) -> Request:
    size, price = Decimal(order.s), Decimal(order.p)
    trigger, is_market, tif = None, False, TimeInForce.GTC
    if isinstance(order.t.trigger, TriggerSpec):
        spec = order.t.trigger
        trigger = Trigger(Decimal(spec.triggerPx), spec.tpsl == "sl", spec.isMarket)
    elif isinstance(order.t.limit, Limit):
        is_market = order.t.limit.tif == "FrontendMarket"
        tif = TimeInForce.IOC if is_market else TimeInForce(order.t.limit.tif.upper())
    return Request(
        venue.listings[order.a].name,
        Side.BUY if order.b else Side.SELL,
        size,
        price,
        tif,
        order.r,
        order.c if isinstance(order.c, str) else None,
        trigger,
        whole_position=trigger is not None and order.r and size == 0,
        is_market=is_market,
    )


def _static_fault(venue: HyperliquidVenue, action: OrderAction, requests: list[Request]) -> str | None:
    """What is wrong with the batch as such; one answer for all of it, and nothing executes (page 3.9)."""
    for request in requests:
        if status := venue.exchange.check(request):
            return f"{ORDER_ERRORS[status]} asset={venue.market(request.symbol).instrument.asset_id}"
    triggers = [r.trigger for r in requests if r.trigger is not None]
    if isinstance(action.grouping, Priority) or action.grouping == "na":
        return None
    kinds = [t.is_stop for t in triggers]
    if action.grouping == "normalTpsl":
        if requests[0].trigger is not None:
            return "Main order cannot be trigger order."
        if len(triggers) != len(requests) - 1 or len(set(kinds)) != len(kinds):
            return "Invalid TP/SL price."
        children = requests[1:]
        if any(not r.reduce_only or r.side is requests[0].side for r in children):
            return "Trigger order has unexpected side."
        return None
    if len(triggers) != len(requests) or any(not r.reduce_only for r in requests):
        return "Invalid TP/SL price."
    if len({r.side for r in requests}) > 1 or len({r.symbol for r in requests}) > 1 or len(set(kinds)) != len(kinds):
        return "Trigger order has unexpected side."
    return None


def _place_one(venue: HyperliquidVenue, account: str, request: Request, group: int, is_position_stop: bool) -> Any:
    if error := _gate(venue, request):
        return {"error": f"{error} asset={venue.market(request.symbol).instrument.asset_id}"}
    thin = venue.faults.take("thin_book", coin=request.symbol) if request.time_in_force is TimeInForce.IOC else None
    venue.exchange.rules.ioc_fraction = Decimal(str(thin.get("fraction", "0.5"))) if thin else None
    answer, events = venue.exchange.submit(account, request, venue.now_ms(), group)
    venue.exchange.rules.ioc_fraction = None
    venue.record(events)
    if isinstance(answer, Placed) and is_position_stop:
        return "waitingForTrigger"
    return _answer_row(venue, request, answer)


def _gate(venue: HyperliquidVenue, request: Request) -> str | None:
    """Faults that refuse an order before the exchange sees it."""
    if refused := venue.faults.take("reject", coin=request.symbol, status=None, trigger=request.trigger is not None):
        return str(refused.get("error", ORDER_ERRORS[Status.NO_MATCH]))
    is_plain = request.trigger is None and request.time_in_force is not TimeInForce.ALO
    if is_plain and venue.faults.take("post_only"):
        return "Only post-only orders allowed immediately after network upgrade"
    return None


def _place_bracket(venue: HyperliquidVenue, account: str, requests: list[Request]) -> list[Any]:
    if error := _gate(venue, requests[0]):
        return [{"error": f"{error} asset={venue.market(requests[0].symbol).instrument.asset_id}"}]
    answer, children, events = venue.exchange.submit_bracket(account, requests[0], requests[1:], venue.now_ms())
    venue.record(events)
    filled = isinstance(answer, Placed) and answer.status is Status.FILLED
    waiting = "waitingForTrigger" if filled else "waitingForFill"
    return [_answer_row(venue, requests[0], answer), *(waiting for _ in children)]


def _answer_row(venue: HyperliquidVenue, request: Request, answer: Answer) -> JSON:
    if isinstance(answer, Refused):
        if answer.status is Status.WOULD_CROSS:
            bbo = "@".join(plain(p) if p is not None else "" for p in (answer.best_bid, answer.best_ask))
            text = f"Post only order would have immediately matched, bbo was {bbo}."
        else:
            text = ORDER_ERRORS.get(answer.status, ORDER_ERRORS[Status.NO_MATCH])
        return {"error": f"{text} asset={venue.market(request.symbol).instrument.asset_id}"}
    named: JSON = {} if answer.client_id is None else {"cloid": answer.client_id}
    if answer.status is Status.FILLED:
        assert answer.average is not None
        average = answer.average.quantize(Decimal(1).scaleb(answer.average.adjusted() - 7))
        return {"filled": {"totalSz": num(answer.filled), "avgPx": num(average), "oid": answer.order_id} | named}
    return {"resting": {"oid": answer.order_id} | named}


# --- cancel and modify ----------------------------------------------------------------------------------------------


def cancel(venue: HyperliquidVenue, account: str, order_id: int, asset: int, fast: bool = False) -> Any:
    order = venue.exchange.orders.get(order_id)
    missing = {"error": f"{MISSING} asset={asset}"}
    if order is None or order.account != account:
        return missing
    if venue.market(order.request.symbol).instrument.asset_id != asset:
        return missing
    if fast and order.is_waiting_trigger:
        return {"error": f"Fast cancel is not allowed for trigger orders. asset={asset}"}
    venue.record(venue.exchange.cancel(account, order_id, venue.now_ms()))
    return "success"


def cancel_by_cloid(venue: HyperliquidVenue, account: str, cloid: str, asset: int, fast: bool) -> Any:
    record = venue.find_order(account, cloid)
    return cancel(venue, account, record.order.order_id if record else 0, asset, fast)


def modify(venue: HyperliquidVenue, account: str, wire: ModifyWire, always: bool) -> Any:
    """Cancel and replace: the new order has a new oid. If it is refused the old one stays gone (page 3.5)."""
    if not 0 <= wire.order.a < len(venue.listings):
        return {"error": f"Invalid asset. asset={wire.order.a}"}
    request = _request(venue, wire.order, None)
    asset = wire.order.a
    record = venue.find_order(account, wire.oid)
    old = venue.exchange.orders.get(record.order.order_id) if record else None
    if error := _modify_fault(venue, request, old, always):
        return {"error": f"{error} asset={asset}"}
    if not always and request.trigger is None:
        request = _as_post_only(request)
        if venue.exchange.would_cross(request):
            return {"error": f"{ORDER_ERRORS[Status.NO_MATCH]} asset={asset}"}
    group = old.group if old is not None else 0
    if old is not None:
        venue.record(venue.exchange.cancel(account, old.order_id, venue.now_ms()))
    answer, events = venue.exchange.submit(account, request, venue.now_ms(), group)
    venue.record(events)
    return _answer_row(venue, request, answer)


def _modify_fault(venue: HyperliquidVenue, request: Request, old: LiveOrder | None, always: bool) -> str | None:
    if status := venue.exchange.check(request):
        return ORDER_ERRORS[status]
    if old is None:
        return None if always else "Cannot modify canceled or filled order"
    if old.request.side is not request.side or old.request.reduce_only != request.reduce_only:
        return "Cannot modify side or reduce only."
    if request.trigger is not None and not always and venue.faults.on("modify_needs_a"):
        return "Cannot modify trigger order without always place."
    if request.trigger is None and not always and request.time_in_force is TimeInForce.IOC:
        return "Cannot modify to an executable order without always place."
    return None


def _as_post_only(request: Request) -> Request:
    """A GTC replacement is silently made post-only (page 3.5)."""
    return msgspec.structs.replace(request, time_in_force=TimeInForce.ALO)
