"""Order records, and the questions to the venue: what `orders.py` and `positions.py` both need."""

import msgspec

from core.messages import ReadAccount, ReadOrders
from core.state import MarketState, OrderRecord
from core.turn import Turn


def put_record(turn: Turn, record: OrderRecord) -> OrderRecord:
    """Keep `record`, stamped when it is final; returns it as kept."""
    market = turn.market(record.order.symbol)
    if record.status.is_final and record.final_ms is None:
        record = msgspec.structs.replace(record, final_ms=turn.now_ms)
    turn.change(market.symbol, orders={**market.orders, record.order.client_id: record})
    return record


def find_record(market: MarketState, client_id: str | None, order_id: int | None) -> OrderRecord | None:
    if client_id is not None and client_id in market.orders:
        return market.orders[client_id]
    if order_id is None:
        return None
    return next((record for record in market.orders.values() if record.order_id == order_id), None)


def read_orders(turn: Turn, reason: str) -> None:
    turn.set(read_orders_ms=turn.now_ms)
    turn.act(ReadOrders(reason))


def read_account(turn: Turn, reason: str, with_fills: bool = False) -> None:
    """Ask for the account; requests pile up to one: the shell runs one at a time and remembers that another is due.

    With the fills since the last one known when the stream may have missed some: each read costs IP weight (page 7.1).
    """
    turn.set(read_account_ms=turn.now_ms)
    turn.act(ReadAccount(turn.state.last_fill_ms if with_fills else None, reason))
