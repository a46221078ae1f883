"""decide(state, event, rules, strategies) -> (state, actions): the one junction of live, dry run, backtest and replay.

Pure: the same values in give the same values out. The only clock is the event's `received_ms`.
"""

from collections.abc import Callable
from typing import Any

from core import (
    account,
    guard,
    lifecycle,
    oco,
    orders,
    positions,
    prices,
    prop_guard,
    protection,
    reconcile,
    records,
    sane,
    strategy,
    working,
)
from core.messages import (
    AccountSnapshot,
    AccountUpdate,
    AnyAction,
    AnyEvent,
    BarHistory,
    BarUpdate,
    CancelAnswered,
    ClockOffset,
    CloseAnswered,
    ContractRolled,
    CoreFault,
    FlattenRequested,
    JournalFailed,
    JournalRestored,
    KeyExpiry,
    ModifyAnswered,
    OrderAccepted,
    OrderRejected,
    OrderSettled,
    OrderUnknown,
    OrderUpdate,
    PolledPrice,
    PositionsSeen,
    PositionUpdate,
    ReadFailed,
    RejectReason,
    RequestBudget,
    RestSample,
    Started,
    StopRequested,
    StreamDown,
    StreamFailed,
    StreamUp,
    Tick,
    WorkingOrders,
)
from core.model import Book, Fill, MarkPrice, OrderStatus, Purpose, Quote, Trade
from core.rules import Rules
from core.state import ExitReason, OrderRecord, State
from core.turn import Strategies, Turn

KEY_DAYS_MIN = 14
NEWS = (Fill, OrderUpdate, PositionUpdate, PositionsSeen, AccountUpdate, AccountSnapshot, WorkingOrders)
# After a read of the account that failed: a position opened meanwhile waits for its stop. Each may be three requests.
ACCOUNT_AGAIN_MS = 1_500
REFUSED_MS = 1_000
# Between two reads over a book that has nothing to match an exit: nothing has happened, and one for each attempt would
# spend the venue's window of requests within half a minute, the attempts' part of it too.
THIN_READ_MS = 5_000
NO_ORDERS = "its contract takes no orders"
DEAD_MONTH_MS = 500  # who has cancelled the stop may be closing the position: two closes at once would open one


def decide(state: State, event: AnyEvent, rules: Rules, strategies: Strategies) -> tuple[State, list[AnyAction]]:
    """The state after `event`, and what is to be done, in order."""
    turn = Turn(state, rules, strategies, event.received_ms)
    why = sane.nonsense(state, event)
    if why is not None:
        refuse(turn, event, why)
        return turn.state, turn.actions
    handler = HANDLERS.get(type(event))
    assert handler is not None, f"no handler for {type(event).__name__}"
    handler(turn, event)
    prop_guard.after(turn, event, state)
    return turn.state, turn.actions


def refuse(turn: Turn, event: AnyEvent, why: str) -> None:
    """Nothing is believed of an event that cannot be true; where it was an answer, or news of ours, the venue is asked.

    Said and asked once a second at most: a feed that has gone mad sends hundreds.
    """
    if turn.now_ms not in sane.CLOCK_MS:
        return  # nothing can even be dated
    symbol: str | None = getattr(event, "symbol", None)
    if isinstance(event, OrderAccepted | OrderSettled) and symbol in turn.state.markets:
        on_unknown(turn, OrderUnknown(
            client_id=event.client_id, symbol=event.symbol, error=f"an answer that cannot be: {why}",
            received_ms=event.received_ms,
        ))  # fmt: skip
    if abs(turn.now_ms - turn.state.refused_ms) < REFUSED_MS:
        return
    turn.set(refused_ms=turn.now_ms)
    turn.note("WARNING", "event_refused", kind=type(event).__name__, symbol=symbol, why=why)
    if isinstance(event, NEWS):
        records.read_account(turn, "news that cannot be true", with_fills=True)


# --- orders and account ---------------------------------------------------------------------------------------------


def on_accepted(turn: Turn, event: OrderAccepted) -> None:
    orders.on_accepted(turn, event)
    protection.protect(turn, event.symbol)


def on_rejected(turn: Turn, event: OrderRejected) -> None:
    if event.reason is RejectReason.DUPLICATE_ID:  # the order exists, and this is not its answer: look what it did
        doubt = OrderUnknown(
            client_id=event.client_id, symbol=event.symbol, error=event.text, received_ms=event.received_ms
        )
        on_unknown(turn, doubt)
        return
    record = orders.on_rejected(turn, event)
    if record is None:
        return
    if event.reason is RejectReason.BRACKETS and not turn.state.brackets_refused:
        turn.set(brackets_refused=True)
        turn.note(
            "ERROR", "brackets_refused", symbol=event.symbol, error=event.text, notify=True,
            text="enable Auto OCO Brackets in the venue's risk settings; until tomorrow (UTC) the bot places stop and "
            "target by itself, which leaves a moment without a stop after each entry",
        )  # fmt: skip
    market = turn.market(event.symbol)
    if event.reason in (RejectReason.NO_LIQUIDITY, RejectReason.NOT_SENT):
        # A thin book can fill again at any moment, a venue come back: keep trying.
        market = turn.change(event.symbol, exit_refusals=0)
    if record.purpose is Purpose.EXIT:
        if event.reason is RejectReason.HALTED and not turn.rules.can_reduce_only:
            oco.close_at_venue(turn, event.symbol, NO_ORDERS)
        hold_back(turn, record)
        if event.reason is not RejectReason.NO_LIQUIDITY or turn.now_ms - turn.state.read_account_ms >= THIN_READ_MS:
            records.read_account(turn, "exit rejected")
    elif record.purpose is Purpose.STOP:
        hold_back(turn, record)
        if event.reason is RejectReason.NOT_SENT:
            turn.change(event.symbol, stop_retry_ms=turn.now_ms + orders.EXIT_RETRY_MS)
        elif event.reason is RejectReason.RATE_LIMIT:
            retry_ms = min(turn.market(event.symbol).stop_retry_ms, turn.now_ms + orders.LIMITED_MS_MAX)
            turn.change(event.symbol, stop_retry_ms=retry_ms)
        bare_ms = turn.now_ms - (market.naked_since_ms or turn.now_ms)
        if event.reason is RejectReason.HALTED and not turn.rules.can_reduce_only and bare_ms >= DEAD_MONTH_MS:
            oco.close_at_venue(turn, event.symbol, NO_ORDERS)
        records.read_account(turn, "stop rejected")
        if event.reason is RejectReason.BAD_TRIGGER and protection.unprotected_side(market) is not None:
            protection.begin_exit(turn, event.symbol, ExitReason.STOP_LOSS)
    elif record.purpose is Purpose.TARGET:
        turn.change(event.symbol, target_retry_ms=turn.now_ms + guard.TARGET_RETRY_MS)
    protection.protect(turn, event.symbol)


def hold_back(turn: Turn, refused: OrderRecord) -> None:
    """The next one of its kind waits, each time longer: the account is read meanwhile, and may know better."""
    symbol = refused.order.symbol
    if refused.purpose is Purpose.EXIT:
        orders.delay_exit(turn, symbol)
    elif refused.purpose is Purpose.STOP and refused.status is OrderStatus.REJECTED:
        turn.change(symbol, stop_retry_ms=turn.now_ms + protection.retry_wait_ms(turn.market(symbol)))


def on_unknown(turn: Turn, event: OrderUnknown) -> None:
    orders.on_unknown(turn, event)
    orders.settle_due(turn, event.symbol)
    protection.protect(turn, event.symbol)


def on_settled(turn: Turn, event: OrderSettled) -> None:
    record = orders.on_settled(turn, event)
    if record is not None and record.purpose is Purpose.STOP and event.status is OrderStatus.ACCEPTED:
        records.read_orders(turn, "confirm stop")
    protection.protect(turn, event.symbol)


def on_update(turn: Turn, event: OrderUpdate) -> None:
    if event.symbol not in turn.state.markets:
        return
    if not turn.rules.can_reduce_only:
        working.on_update(turn, event)
    else:
        ended = orders.on_update(turn, event)
        if ended is not None:
            hold_back(turn, ended)
    protection.protect(turn, event.symbol)


def on_cancel_answered(turn: Turn, event: CancelAnswered) -> None:
    (orders if turn.rules.can_reduce_only else working).on_cancel_answered(turn, event)
    protection.protect(turn, event.symbol)


def on_modify_answered(turn: Turn, event: ModifyAnswered) -> None:
    reason = guard.on_modify_answered(turn, event)
    if reason is not None:
        protection.begin_exit(turn, event.symbol, reason)
    protection.protect(turn, event.symbol)


def on_fill(turn: Turn, fill: Fill) -> None:
    if fill.symbol in turn.state.markets:
        positions.on_fill(turn, fill)
        protection.protect(turn, fill.symbol)


def on_working_orders(turn: Turn, event: WorkingOrders) -> None:
    for symbol in turn.state.markets:
        protection.apply_listing(turn, symbol, event.orders, event.requested_ms)
        protection.protect(turn, symbol)
        strategy.grant_wish(turn, symbol)


def on_close_answered(turn: Turn, event: CloseAnswered) -> None:
    oco.on_close_answered(turn, event)
    prop_guard.on_close_answered(turn, event)


def on_account(turn: Turn, event: AccountSnapshot) -> None:
    reconcile.on_account(turn, event)
    for symbol in turn.state.markets:
        strategy.grant_wish(turn, symbol)
    account.leave_for_roll(turn)


def on_budget(turn: Turn, event: RequestBudget) -> None:
    left = event.cap - event.used
    before = turn.state.budget_left
    turn.set(budget_left=left, budget_used=event.used)
    if left < 500 and (before is None or before >= 500):
        turn.note("WARNING", "request_budget_low", left=left, cap=event.cap, notify=True)


def on_key_expiry(turn: Turn, event: KeyExpiry) -> None:
    days = (event.expires_ms - turn.venue_now_ms) // positions.DAY_MS
    if days < KEY_DAYS_MIN:
        turn.note(
            "WARNING" if days > 1 else "CRITICAL",
            "key_expires",
            days=days,
            notify=True,
            text="approve a new agent key and restart: without one the bot can neither protect nor close",
        )


def on_read_failed(turn: Turn, event: ReadFailed) -> None:
    turn.note("WARNING", "read_failed", what=event.what, error=event.error)
    if event.what.startswith("fills"):
        turn.set(swept_ms=0)
    if event.what.startswith("account"):
        turn.set(account_due_ms=min(turn.state.account_due_ms, turn.now_ms + ACCOUNT_AGAIN_MS))


HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    Trade: prices.on_trade,
    Quote: prices.on_quote,
    Book: prices.on_book,
    MarkPrice: prices.on_mark,
    PolledPrice: prices.on_polled,
    RestSample: prices.on_sample,
    BarUpdate: strategy.on_bar,
    BarHistory: strategy.on_history,
    Fill: on_fill,
    OrderAccepted: on_accepted,
    OrderRejected: on_rejected,
    OrderUnknown: on_unknown,
    OrderSettled: on_settled,
    OrderUpdate: on_update,
    CancelAnswered: on_cancel_answered,
    ModifyAnswered: on_modify_answered,
    WorkingOrders: on_working_orders,
    AccountSnapshot: on_account,
    AccountUpdate: account.on_update,
    CloseAnswered: on_close_answered,
    PositionUpdate: account.on_position,
    PositionsSeen: account.on_glance,
    ContractRolled: account.on_rolled,
    RequestBudget: on_budget,
    KeyExpiry: on_key_expiry,
    ReadFailed: on_read_failed,
    StreamUp: lifecycle.on_stream_up,
    StreamDown: lifecycle.on_stream_down,
    StreamFailed: lifecycle.on_stream_failed,
    Started: lifecycle.on_started,
    Tick: lifecycle.on_tick,
    FlattenRequested: lifecycle.on_flatten,
    JournalFailed: lifecycle.on_journal_failed,
    JournalRestored: lifecycle.on_journal_restored,
    StopRequested: lifecycle.on_stop_requested,
    ClockOffset: lifecycle.on_clock,
    CoreFault: lifecycle.on_core_fault,
}
