"""`POST /exchange`: what a signed action does, and the venue's exact answer (protocol page 3, 5 and 7.2)."""

from decimal import Decimal
from typing import Any

import msgspec

from core.model import Side, TimeInForce
from sim.accounts import Leverage
from sim.hyperliquid_types import (
    Action,
    ApproveAgentAction,
    ApproveBuilderFeeAction,
    BatchModifyAction,
    CancelAction,
    CancelByCloidAction,
    Envelope,
    Limit,
    ModifyAction,
    ModifyWire,
    OrderAction,
    OrderWire,
    Priority,
    ReserveRequestWeightAction,
    ScheduleCancelAction,
    TriggerSpec,
    UpdateIsolatedMarginAction,
    UpdateLeverageAction,
    UsdClassTransferAction,
    UserSigned,
    address,
    is_user_signed,
    signer_of,
)
from sim.hyperliquid_venue import AGENT_LIFE_MS, Agent, HyperliquidVenue
from sim.hyperliquid_wire import JSON, num, plain
from sim.margin import leverage_of, withdrawable
from sim.orders import Answer, LiveOrder, Placed, Refused, Request, Status, Trigger

WEIGHT_LIMIT = 200
DAY_MS = 86_400_000
NAMED_AGENTS = 3
CANCEL_VOLUME = Decimal(1_000_000)
CANCEL_LEAD_MS = 5_000
CANCELS_A_DAY = 10
EXPIRED_COST = 5
MISSING = "Order was never placed, already canceled, or filled."
DEFAULT: JSON = {"status": "ok", "response": {"type": "default"}}

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


def perform(venue: HyperliquidVenue, envelope: Envelope) -> JSON:
    """Check and execute an action. Order of checks (page 5): signer, budget, nonce, expiry, action."""
    venue.apply_switches()
    try:
        account = _admit(venue, envelope)
    except Refusal as refusal:
        return _refused(refusal)
    try:
        return _execute(venue, account, envelope.action)
    except Refusal as refusal:
        venue.memory(account).budget.used -= _cost(envelope.action)  # a refused action costs nothing
        return _refused(refusal)


def _refused(refusal: Refusal) -> JSON:
    return {"status": "err", "response": str(refusal)}


def _admit(venue: HyperliquidVenue, envelope: Envelope) -> str:
    action, now = envelope.action, venue.now_ms()
    try:
        signer = signer_of(envelope, venue.config.mainnet)
    except ValueError:
        raise Refusal("Unable to recover signer.") from None
    account = _account_for(venue, envelope, signer)
    budget = venue.memory(account).budget
    is_cancel = isinstance(action, CancelAction | CancelByCloidAction)
    volume = venue.exchange.accounts[account].volume
    cap = venue.budget_cap(account)
    if refusal := budget.spend(_cost(action), volume, now, is_cancel=is_cancel, cap=cap):
        raise Refusal(refusal)
    if refusal := venue.nonces.admit(signer, envelope.nonce, now):
        budget.used -= _cost(action)  # a refused action costs nothing
        raise Refusal(refusal)
    if envelope.expiresAfter is not None and now > envelope.expiresAfter:
        budget.used += EXPIRED_COST - _cost(action)
        raise Refusal("Action already expired")
    return account


def _account_for(venue: HyperliquidVenue, envelope: Envelope, signer: str) -> str:
    action, vault = envelope.action, envelope.vaultAddress
    if is_user_signed(action):
        assert isinstance(action, UserSigned)
        if vault is not None:
            raise Refusal("Vault may not perform this action.")
        if envelope.expiresAfter is not None:
            raise Refusal("Action does not support expires_after")
        if getattr(action, "nonce", None) != envelope.nonce:
            raise Refusal("Nonce mismatch.")
        network = "Mainnet" if venue.config.mainnet else "Testnet"
        if (
            action.hyperliquidChain != network
            or venue.agent(signer)
            or venue.account_of_signer(signer, envelope.nonce) is None
        ):
            raise Refusal(f"Must deposit before performing actions. User: {signer}")
        return signer
    account = venue.account_of_signer(signer, envelope.nonce)
    if account is None:
        raise Refusal(f"User or API Wallet {signer} does not exist.")
    if vault is not None:
        raise Refusal(f"Vault not registered: {vault}")
    return account


def _cost(action: Action) -> int:
    """Requests of the address budget: one for each order, cancel or modify."""
    for key in ("orders", "cancels", "modifies"):
        if (items := getattr(action, key, None)) is not None:
            return max(1, len(items))
    return 1


def batch_length(action: Action) -> int:
    return _cost(action)


def _execute(venue: HyperliquidVenue, account: str, action: Action) -> JSON:
    if _cost(action) > WEIGHT_LIMIT:
        raise Refusal(f"Signed action over weight limit of {WEIGHT_LIMIT}.")
    refused = venue.faults.on("reject")
    if refused is not None and refused.get("status") == "err" and venue.faults.take("reject", action=_name(action)):
        raise Refusal(refused.get("error", "Trading is halted."))
    if isinstance(action, OrderAction):
        return _statuses("order", _place(venue, account, action))
    if isinstance(action, CancelAction):
        return _statuses("cancel", [_cancel(venue, account, c.o, c.a, action.f is True) for c in action.cancels])
    if isinstance(action, CancelByCloidAction):
        return _statuses(
            "cancel", [_cancel_cloid(venue, account, c.cloid, c.asset, action.f is True) for c in action.cancels]
        )
    if isinstance(action, BatchModifyAction):
        return _statuses("order", [_modify(venue, account, m, action.a is True) for m in action.modifies])
    if isinstance(action, ModifyAction):
        status = _modify(venue, account, ModifyWire(action.oid, action.order), action.a is True)
        if isinstance(status, dict) and "error" in status:
            raise Refusal(status["error"])
        return DEFAULT
    if isinstance(action, UpdateLeverageAction):
        _update_leverage(venue, account, action)
    elif isinstance(action, UpdateIsolatedMarginAction):
        _update_isolated_margin(venue, account, action)
    elif isinstance(action, ScheduleCancelAction):
        _schedule_cancel(venue, account, action)
    elif isinstance(action, ReserveRequestWeightAction):
        _reserve(venue, account, action)
    elif isinstance(action, ApproveAgentAction):
        _approve_agent(venue, account, action)
    elif isinstance(action, ApproveBuilderFeeAction):
        venue.memory(account).builder_fees[address(action.builder)] = action.maxFeeRate
    elif isinstance(action, UsdClassTransferAction):
        _class_transfer(venue, account, action)
    return DEFAULT


def _name(action: Action) -> str:
    return str(action.__struct_config__.tag)


def _statuses(kind: str, statuses: list[Any]) -> JSON:
    return {"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}


# --- orders ---------------------------------------------------------------------------------------------------------


def _place(venue: HyperliquidVenue, account: str, action: OrderAction) -> list[Any]:
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
    if refused := venue.faults.take("reject", coin=request.symbol, status=None):
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


def _cancel(venue: HyperliquidVenue, account: str, order_id: int, asset: int, fast: bool = False) -> Any:
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


def _cancel_cloid(venue: HyperliquidVenue, account: str, cloid: str, asset: int, fast: bool) -> Any:
    record = venue.find_order(account, cloid)
    return _cancel(venue, account, record.order.order_id if record else 0, asset, fast)


def _modify(venue: HyperliquidVenue, account: str, modify: ModifyWire, always: bool) -> Any:
    """Cancel and replace: the new order has a new oid. If it is refused the old one stays gone (page 3.5)."""
    if not 0 <= modify.order.a < len(venue.listings):
        return {"error": f"Invalid asset. asset={modify.order.a}"}
    request = _request(venue, modify.order, None)
    asset = modify.order.a
    record = venue.find_order(account, modify.oid)
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


# --- account --------------------------------------------------------------------------------------------------------


def _coin(venue: HyperliquidVenue, asset: int) -> str:
    if not 0 <= asset < len(venue.listings):
        raise Refusal(f"Invalid asset {asset}")
    return venue.listings[asset].name


def _update_leverage(venue: HyperliquidVenue, account: str, action: UpdateLeverageAction) -> None:
    coin = _coin(venue, action.asset)
    market, held = venue.market(coin), venue.exchange.accounts[account]
    if not 1 <= action.leverage <= market.instrument.max_leverage:
        raise Refusal("Invalid leverage value")
    position, old = held.positions.get(coin), leverage_of(held, market)
    if position is not None:
        if position.leverage.is_cross != action.isCross:
            raise Refusal("Cannot switch leverage type with open position.")
        needed = position.notional(market.mark) / action.leverage
        if not action.isCross and action.leverage < old.value and position.isolated_margin < needed:
            raise Refusal(
                "Isolated position does not have sufficient margin available to decrease leverage. "
                "To decrease leverage, add margin to the position."
            )
    venue.exchange.set_leverage(account, coin, Leverage(action.leverage, action.isCross))


def _update_isolated_margin(venue: HyperliquidVenue, account: str, action: UpdateIsolatedMarginAction) -> None:
    held, coin = venue.exchange.accounts[account], _coin(venue, action.asset)
    position = held.positions.get(coin)
    if position is None or position.leverage.is_cross:
        raise Refusal("Cannot update isolated margin of a position that is not isolated.")
    amount = Decimal(action.ntli) / 1_000_000
    mark = venue.market(coin).mark
    floor = max(position.notional(mark) / position.leverage.value, position.notional(mark) / 10)
    if amount > withdrawable(held, venue.exchange.markets, venue.exchange.initial_margin(account)):
        raise Refusal("Insufficient margin to add.")
    if amount < 0 and position.isolated_margin + position.pnl(mark) + amount < floor:
        raise Refusal("Insufficient margin to remove.")
    held.balance -= amount
    position.isolated_margin += amount


def _schedule_cancel(venue: HyperliquidVenue, account: str, action: ScheduleCancelAction) -> None:
    memory, now, volume = venue.memory(account), venue.now_ms(), venue.exchange.accounts[account].volume
    if volume < CANCEL_VOLUME and not venue.faults.on("no_volume_gate"):
        raise Refusal(
            "Cannot set scheduled cancel time until enough volume traded. "
            f"Required: $1000000. Traded: ${plain(round(volume, 2)) if volume else 0}."
        )
    if not isinstance(action.time, int):
        memory.cancel_all_ms = None
        return
    if action.time < now + CANCEL_LEAD_MS:
        raise Refusal("Scheduled cancel time must be at least 5 seconds in the future.")
    today = [t for t in memory.cancel_all_fired if t // DAY_MS == now // DAY_MS]
    if len(today) >= CANCELS_A_DAY:
        raise Refusal("Too many scheduled cancels triggered today.")
    memory.cancel_all_ms = action.time


def _reserve(venue: HyperliquidVenue, account: str, action: ReserveRequestWeightAction) -> None:
    cost, held = Decimal(action.weight) * Decimal("0.0005"), venue.exchange.accounts[account]
    if action.weight <= 0 or cost > held.balance:
        raise Refusal("Insufficient balance to reserve request weight.")
    held.balance -= cost
    venue.memory(account).budget.reserved += action.weight


def _approve_agent(venue: HyperliquidVenue, account: str, action: ApproveAgentAction) -> None:
    new, now = address(action.agentAddress), venue.now_ms()
    name, _, expiry = (action.agentName or "").partition(" valid_until ")
    if len(name) > 16:
        raise Refusal("Agent name too long.")
    valid_until = int(expiry) if expiry.isdigit() else now + AGENT_LIFE_MS
    if new in venue.memories or new in venue.agents:
        raise Refusal("Extra agent already used.")
    named = {a.name for a in venue.agents.values() if a.master == account and a.name}
    if name and name not in named and len(named) >= NAMED_AGENTS:
        raise Refusal(f"Too many extra agents for cumulative volume traded. Current limit is {NAMED_AGENTS}")
    for agent in venue.agents.values():
        if agent.master == account and agent.name == name:
            agent.valid_until_ms = min(agent.valid_until_ms, now)  # replaced
    venue.agents[new] = Agent(account, name, min(valid_until, now + AGENT_LIFE_MS))


def _class_transfer(venue: HyperliquidVenue, account: str, action: UsdClassTransferAction) -> None:
    if venue.is_unified():
        raise Refusal("Action disabled when unified account is active")
    held = venue.exchange.accounts[account]
    amount = Decimal(action.amount.partition(" ")[0])
    free = withdrawable(held, venue.exchange.markets, venue.exchange.initial_margin(account))
    if amount > (held.spot_balance if action.toPerp else free):
        raise Refusal("Insufficient balance for the transfer.")
    held.balance += amount if action.toPerp else -amount
    held.spot_balance -= amount if action.toPerp else -amount
