"""What the simulated TopstepX answers to each POST: bodies, envelopes, error codes (protocol page 1 and 2).

`ROUTES` is the table; login, validate and logout live with the tokens in the server.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sim.candles import Candle
from sim.topstepx_bars import UNIT_MS
from sim.topstepx_bodies import (
    MAX_PAGE,
    AccountBody,
    AccountsBody,
    AvailableBody,
    BarsBody,
    Body,
    BracketBody,
    CloseBody,
    ContractBody,
    ModifyBody,
    OrderBody,
    PartialCloseBody,
    PlaceBody,
    QueryBody,
    SearchContracts,
    TradesBody,
    WindowBody,
)
from sim.topstepx_checks import MODIFY_REJECTED
from sim.topstepx_products import Contract
from sim.topstepx_types import TERMINAL, Account, Bracket, Order, Request, Status
from sim.topstepx_venue import TopstepxVenue
from sim.topstepx_wire import (
    JSON,
    account_row,
    bar_row,
    contract_row,
    order_row,
    parse_time,
    position_row,
    trade_row,
)

MAX_BARS, MAX_FOUND = 20_000, 20
HOUR_UNIT = 3  # expired months keep bars from here on (page 2.4)


def ok(**payload: Any) -> JSON:
    return {**payload, "success": True, "errorCode": 0, "errorMessage": None}


def no(code: int, message: str | None = None, **payload: Any) -> JSON:
    return {**payload, "success": False, "errorCode": code, "errorMessage": message}


# --- accounts, contracts, bars ----------------------------------------------------------------------------------------


def _accounts(venue: TopstepxVenue, body: AccountsBody) -> JSON:
    rows = [a for a in venue.book.accounts.values() if a.is_visible or not body.only_active_accounts]
    return ok(accounts=[account_row(account) for account in rows])


def _search_contracts(venue: TopstepxVenue, body: SearchContracts) -> JSON:
    text = (body.search_text or "").upper()
    found = (
        [] if body.live else [c for c in venue.active.values() if text in f"{c.id} {c.name} {c.description}".upper()]
    )
    found.sort(key=lambda c: c.product.root)
    return ok(contracts=[contract_row(c, True) for c in found[:MAX_FOUND]])


def _contract(venue: TopstepxVenue, body: ContractBody) -> JSON:
    contract = venue.find(body.contract_id)
    if contract is None:
        return no(1, contract=None)
    return ok(contract=contract_row(contract, contract.id in venue.book.active))


def _available(venue: TopstepxVenue, body: AvailableBody) -> JSON:
    found = [] if body.live else sorted(venue.active.values(), key=lambda c: c.id)
    return ok(contracts=[contract_row(c, True) for c in found])


def _bars(venue: TopstepxVenue, body: BarsBody) -> JSON:
    contract = venue.find(body.contract_id)
    if contract is None or body.live:
        return no(1, bars=None)
    if body.unit not in UNIT_MS:
        return no(2, bars=None)
    if body.unit_number <= 0:
        return no(3, bars=None)
    if not 0 < body.limit <= MAX_BARS:
        return no(4, bars=None)
    start_ms, end_ms = parse_time(body.start_time) // 1000, parse_time(body.end_time) // 1000
    rows = _read_bars(venue, contract, body, start_ms, end_ms)
    return ok(bars=[bar_row(row) for row in rows[::-1][: body.limit]])


def _read_bars(
    venue: TopstepxVenue, contract: Contract, body: BarsBody, start_ms: int, end_ms: int
) -> Sequence[Candle]:
    if contract.id not in venue.markets and contract.id not in venue.book.active and body.unit < HOUR_UNIT:
        return []
    market = venue.market(contract)
    rows = market.bars.read(body.unit, body.unit_number, start_ms, end_ms)
    frozen = venue.faults.on("frozen_bars")
    now_ms = venue.now_us() // 1000 - (int(frozen.get("ms", 4_500_000)) if frozen else 0)
    data_ms = now_ms - venue.delay_us("rest") // 1000
    rows = [row for row in rows if row.open_ms <= data_ms]
    return rows if body.include_partial_bar else [row for row in rows if row.open_ms + row.span_ms <= data_ms]


# --- orders -----------------------------------------------------------------------------------------------------------


def _bracket(body: BracketBody | None) -> Bracket | None:
    return None if body is None else Bracket(body.ticks, body.type)


def _place(venue: TopstepxVenue, body: PlaceBody) -> JSON:
    account = venue.book.accounts.get(body.account_id)
    if account is None or not account.is_visible:
        return no(1, orderId=None)
    request = Request(
        body.account_id,
        body.contract_id,
        body.type,
        body.side,
        body.size,
        body.limit_price,
        body.stop_price,
        body.trail_price,
        body.custom_tag,
        _bracket(body.stop_loss_bracket),
        _bracket(body.take_profit_bracket),
    )
    contract = venue.find(body.contract_id)
    answer = venue.place(request, contract)
    if answer.code:
        return no(answer.code, answer.message, orderId=answer.order_id)
    return ok(orderId=answer.order_id)


def _find_order(venue: TopstepxVenue, account_id: int, order_id: int) -> Order | None:
    order = venue.book.orders.get(order_id)
    return order if order is not None and order.account_id == account_id else None


def _modify(venue: TopstepxVenue, body: ModifyBody) -> JSON:
    if body.account_id not in venue.book.accounts:
        return no(1)
    order = _find_order(venue, body.account_id, body.order_id)
    if order is None or order.status in TERMINAL:
        return no(2)
    if body.size is not None and body.size <= 0:
        return no(MODIFY_REJECTED, f"Invalid order size ({body.size}).")
    refusal = venue.book.modify(order, body.size, body.limit_price, body.stop_price, body.trail_price, venue.now_us())
    venue.flush()
    return ok() if refusal is None else no(refusal.code, refusal.message)


def _cancel(venue: TopstepxVenue, body: OrderBody) -> JSON:
    if body.account_id not in venue.book.accounts:
        return no(1)
    order = _find_order(venue, body.account_id, body.order_id)
    is_taken = order is not None and venue.book.cancel(order, venue.now_us())
    venue.flush()
    return ok() if is_taken else no(2)


def _window(start: str | None, end: str | None) -> Callable[[int], bool]:
    """Whether a time in microseconds lies in it. Raises ValueError."""
    first = parse_time(start) if start is not None else 0
    last = parse_time(end) if end is not None else 2**63
    return lambda time_us: first <= time_us <= last


def _orders(venue: TopstepxVenue, body: WindowBody) -> JSON:
    """Oldest first; suspended children were never seen in it (page 2.5)."""
    if body.account_id not in venue.book.accounts:
        return no(1, orders=None)
    is_inside = _window(body.start_timestamp, body.end_timestamp)
    orders = [o for o in venue.book.orders_of(body.account_id) if o.status is not Status.SUSPENDED]
    return ok(orders=[order_row(o) for o in orders if is_inside(o.created_us)])


def _open_orders(venue: TopstepxVenue, body: AccountBody) -> JSON:
    if body.account_id not in venue.book.accounts:
        return no(1, orders=None)
    return ok(orders=[order_row(o) for o in venue.book.live(body.account_id) if o.status is Status.OPEN])


def _order(venue: TopstepxVenue, body: OrderBody) -> JSON:
    order = _find_order(venue, body.account_id, body.order_id)
    return no(1, order=None) if order is None else ok(order=order_row(order))


def _query(venue: TopstepxVenue, body: QueryBody) -> JSON:
    wanted = body.filter
    if wanted.account_id not in venue.book.accounts:
        return no(1, orders=None, totalCount=None)
    is_inside = _window(wanted.created_after, wanted.created_before)
    rows = [
        order
        for order in venue.book.orders_of(wanted.account_id)
        if (wanted.statuses is None or order.status in wanted.statuses) and is_inside(order.created_us)
    ]
    rows.sort(key=lambda o: o.id if body.sort_by == 1 else (o.created_us, o.id), reverse=body.sort_direction == 1)
    first = max(0, body.page_offset)
    page = rows[first : first + min(MAX_PAGE, max(1, body.page_size))]
    return ok(orders=[order_row(o) for o in page], totalCount=len(rows) if body.include_total_count else None)


# --- positions and trades ---------------------------------------------------------------------------------------------


def _positions(venue: TopstepxVenue, body: AccountBody) -> JSON:
    account = venue.book.accounts.get(body.account_id)
    if account is None:
        return no(1, positions=None)
    return ok(positions=[position_row(account.id, p) for p in account.positions.values()])


def _closable(venue: TopstepxVenue, body: CloseBody | PartialCloseBody) -> Account | JSON:
    """The account, or why it cannot close that contract."""
    account, contract = venue.book.accounts.get(body.account_id), venue.find(body.contract_id)
    if account is None:
        return no(1)
    if contract is None:
        return no(3)
    return account if contract.id in account.positions else no(2)


def _is_shut(venue: TopstepxVenue, contract_id: str) -> bool:
    contract = venue.contract(contract_id)
    return venue.closed(contract) is not None or venue.book.prices_of(contract_id).last is None


def _close(venue: TopstepxVenue, body: CloseBody) -> JSON:
    account = _closable(venue, body)
    if isinstance(account, dict):
        return account
    if _is_shut(venue, body.contract_id):
        return no(5)
    venue.book.close(account, body.contract_id, abs(account.held(body.contract_id)), venue.now_us())
    venue.flush()
    return ok()


def _close_part(venue: TopstepxVenue, body: PartialCloseBody) -> JSON:
    account = _closable(venue, body)
    if isinstance(account, dict):
        return account
    if not 0 < body.size <= abs(account.held(body.contract_id)):
        return no(5)
    if _is_shut(venue, body.contract_id):
        return no(6)
    venue.book.close(account, body.contract_id, body.size, venue.now_us())
    venue.flush()
    return ok()


def _trades(venue: TopstepxVenue, body: TradesBody) -> JSON:
    """Newest first."""
    if body.account_id not in venue.book.accounts:
        return no(1, trades=None)
    is_inside = _window(body.start_timestamp, body.end_timestamp)
    has_commissions = venue.faults.on("no_commissions") is None
    rows = [
        trade_row(row, has_commissions=has_commissions)
        for row in reversed(venue.book.executions)
        if row.account_id == body.account_id and is_inside(row.time_us)
    ]
    return ok(trades=rows)


Handler = Callable[[TopstepxVenue, Any], JSON]
ROUTES: dict[str, tuple[type[Body], Handler]] = {
    "Account/search": (AccountsBody, _accounts),
    "Contract/search": (SearchContracts, _search_contracts),
    "Contract/searchById": (ContractBody, _contract),
    "Contract/available": (AvailableBody, _available),
    "History/retrieveBars": (BarsBody, _bars),
    "Order/place": (PlaceBody, _place),
    "Order/modify": (ModifyBody, _modify),
    "Order/cancel": (OrderBody, _cancel),
    "Order/search": (WindowBody, _orders),
    "Order/searchOpen": (AccountBody, _open_orders),
    "Order/searchById": (OrderBody, _order),
    "Order/v2/query": (QueryBody, _query),
    "Position/searchOpen": (AccountBody, _positions),
    "Position/closeContract": (CloseBody, _close),
    "Position/partialCloseContract": (PartialCloseBody, _close_part),
    "Trade/search": (TradesBody, _trades),
}
