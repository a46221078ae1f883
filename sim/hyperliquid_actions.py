"""`POST /exchange`: what a signed action does, and the venue's exact answer (protocol page 3, 5 and 7.2)."""

from decimal import Decimal
from typing import Any

from sim.accounts import Leverage
from sim.hyperliquid_orders import Refusal, cancel, cancel_by_cloid, modify, place
from sim.hyperliquid_types import (
    Action,
    ApproveAgentAction,
    ApproveBuilderFeeAction,
    BatchModifyAction,
    CancelAction,
    CancelByCloidAction,
    Envelope,
    ModifyAction,
    ModifyWire,
    OrderAction,
    ReserveRequestWeightAction,
    ScheduleCancelAction,
    UpdateIsolatedMarginAction,
    UpdateLeverageAction,
    UsdClassTransferAction,
    UserSigned,
    address,
    is_user_signed,
    signer_of,
)
from sim.hyperliquid_venue import AGENT_LIFE_MS, Agent, HyperliquidVenue
from sim.hyperliquid_wire import JSON, plain
from sim.margin import leverage_of, withdrawable

WEIGHT_LIMIT = 200
DAY_MS = 86_400_000
NAMED_AGENTS = 3
CANCEL_VOLUME = Decimal(1_000_000)
CANCEL_LEAD_MS = 5_000
CANCELS_A_DAY = 10
EXPIRED_COST = 5
DEFAULT: JSON = {"status": "ok", "response": {"type": "default"}}


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
    refused = venue.faults.seen("reject")
    if refused is not None and refused.get("status") == "err" and venue.faults.take("reject", action=_name(action)):
        raise Refusal(refused.get("error", "Trading is halted."))
    if isinstance(action, OrderAction):
        return _statuses("order", place(venue, account, action))
    if isinstance(action, CancelAction):
        return _statuses("cancel", [cancel(venue, account, c.o, c.a, action.f is True) for c in action.cancels])
    if isinstance(action, CancelByCloidAction):
        return _statuses(
            "cancel", [cancel_by_cloid(venue, account, c.cloid, c.asset, action.f is True) for c in action.cancels]
        )
    if isinstance(action, BatchModifyAction):
        return _statuses("order", [modify(venue, account, m, action.a is True) for m in action.modifies])
    if isinstance(action, ModifyAction):
        status = modify(venue, account, ModifyWire(action.oid, action.order), action.a is True)
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
