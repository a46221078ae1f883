"""What rests at a venue without reduce-only: our stops and targets, the children of our brackets, and what is not ours.

Every resting order of ours has a record, also a bracket's child, which the venue places (TopstepX page 2.7): its fills,
its end and its cancellation go the way of any order. A record's `order` follows the venue's word: level and whole size.
"""

import re
from decimal import Decimal

import msgspec

from core import orders, records
from core.messages import Cancel, CancelAnswered, OrderUpdate, RejectReason
from core.model import Order, OrderStatus, OrderType, Purpose, TimeInForce, WorkingOrder
from core.positions import raise_filled
from core.state import MarketState, OrderRecord, Position
from core.turn import Turn

TAG = re.compile(r"0x[0-9a-f]{32}(-SL|-TP)?")
LISTING_MS = 1_500  # an order that was accepted may be absent from the list for so long
LOOK_MS = 300
REASON_MS = 1_000  # the stream says rejected, and the answer that says why is given so long
CANCEL_AGAIN_MS = 600  # doubled each time: every cancellation takes up to eight of 200 requests a minute
CANCEL_AGAIN_MS_MAX = 5_000


def resting(market: MarketState) -> list[OrderRecord]:
    """Orders of ours that may close, or open, something by themselves; targets first."""
    found = [record for record in market.live_orders() if record.rests]
    if len(found) > 1:
        found.sort(key=lambda record: record.purpose is Purpose.STOP)
    return found


def is_ours(market: MarketState, order: WorkingOrder) -> bool:
    """By tag, else by parent; the same contract alone proves nothing (page 2.11)."""
    if order.client_id is not None and TAG.fullmatch(order.client_id):
        return True
    parent, known = order.parent_id, market.orders.values()
    return any(r.order_id in (order.order_id, parent) for r in known if r.order_id is not None)


# --- learning ---------------------------------------------------------------------------------------------------------


def learn(turn: Turn, order: WorkingOrder, listed: bool) -> None:
    """The venue shows an order of ours working. `listed`: in a list newer than all we know, which may wake the dead."""
    market = turn.market(order.symbol)
    record = records.find_record(market, order.client_id, order.order_id)
    if record is None:
        _adopt(turn, market, order)
        return
    if record.status.is_final and not listed:
        if record.status is OrderStatus.REJECTED and turn.now_ms - turn.state.read_orders_ms >= LOOK_MS:
            records.read_orders(turn, "an order that had never arrived works", hurry=True)
        return
    if not record.rests:  # a market order caught on its way
        if record.order_id is None:
            records.put_record(turn, msgspec.structs.replace(record, order_id=order.order_id))
        return
    if record.status.is_final or record.seen_ms is None:
        turn.note(
            "INFO", "stop_confirmed" if record.purpose is Purpose.STOP else "target_confirmed", symbol=order.symbol,
            client_id=record.order.client_id, order_id=order.order_id, price=order.price, size=order.size,
            after_ms=turn.now_ms - record.sent_ms,
        )  # fmt: skip
    _follow(turn, record, order, listed)


def _adopt(turn: Turn, market: MarketState, listed: WorkingOrder) -> None:
    """A child of a bracket, or an order that an earlier run left."""
    purpose = Purpose.STOP if listed.is_stop else Purpose.TARGET
    suffix = "-SL" if listed.is_stop else "-TP"
    order = Order(
        client_id=listed.client_id or f"{listed.parent_id}{suffix}",
        symbol=listed.symbol,
        side=listed.side,
        size=listed.size,
        type=OrderType.STOP if listed.is_stop else OrderType.LIMIT,
        price=listed.price,
        time_in_force=TimeInForce.GTC,
        trigger_price=listed.trigger_price,
    )
    record = OrderRecord(
        order, purpose, OrderStatus.ACCEPTED, turn.now_ms, "bracket", order_id=listed.order_id,
        accepted_ms=turn.now_ms, seen_ms=turn.now_ms, parent_id=listed.parent_id,
    )  # fmt: skip
    records.put_record(turn, record)
    turn.change(market.symbol, clean=False)
    turn.note(
        "INFO", "stop_confirmed" if listed.is_stop else "target_confirmed", symbol=listed.symbol,
        client_id=order.client_id, order_id=listed.order_id, price=listed.price, size=listed.size,
    )  # fmt: skip


def _follow(turn: Turn, record: OrderRecord, order: WorkingOrder, listed: bool) -> None:
    now = msgspec.structs.replace(
        record.order,
        size=record.filled_size + order.size,
        price=order.price,
        trigger_price=order.trigger_price,
    )
    wanted = record.wanted
    if wanted is not None and (listed or (wanted.size, wanted.price) == (now.size, now.price)):
        wanted = None
    elif wanted is None and order.size < record.size_left:
        records.look(turn, "an order has less left than we know of")  # filled in part, or changed by a hand
    records.put_record(
        turn,
        msgspec.structs.replace(
            record, order=now, wanted=wanted, status=OrderStatus.ACCEPTED, order_id=order.order_id, final_ms=None,
            settle_ms=None, seen_ms=record.seen_ms or turn.now_ms, accepted_ms=record.accepted_ms or turn.now_ms,
            parent_id=order.parent_id or record.parent_id,
            cancel_ms=None if record.status.is_final else record.cancel_ms,
        ),
    )  # fmt: skip


def apply_listing(turn: Turn, symbol: str, listed: tuple[WorkingOrder, ...], requested_ms: int) -> None:
    """The venue's list of working orders becomes what we believe rests there for this market."""
    market = turn.market(symbol)
    if requested_ms < market.dirty_ms:
        return  # asked before our latest order, fill or news: it cannot know
    mine = tuple(order for order in listed if order.symbol == symbol)
    ours = tuple(order for order in mine if is_ours(market, order))
    for order in ours:
        learn(turn, order, listed=True)
    _end_absent(turn, symbol, {order.order_id for order in mine})
    meet_foreign(turn, symbol, tuple(order for order in mine if order not in ours))
    market = turn.market(symbol)
    if market.position is not None:
        return
    if market.live_orders():
        turn.change(symbol, clean=False)
    elif market.flat_seen and not market.clean:
        turn.change(symbol, clean=True, clean_tries=0)
        turn.note("INFO", "market_clean", symbol=symbol)


def _end_absent(turn: Turn, symbol: str, listed_ids: set[int]) -> None:
    """A list newer than the order does not name it: it has ended, filled or not; fills and positions tell which."""
    for record in resting(turn.market(symbol)):
        if record.order_id is None or record.order_id in listed_ids:
            continue
        since_ms = turn.now_ms - (record.accepted_ms or record.sent_ms)
        if record.seen_ms is None and 0 <= since_ms <= LISTING_MS:  # below 0: the clock was set back since
            continue  # accepted a moment ago
        end(turn, record, OrderStatus.CANCELED, "not listed")


def covers(order: WorkingOrder, position: Position) -> bool:
    """Whether it is a stop for exactly what is held: at a venue without reduce-only nothing else protects."""
    return order.is_stop and (order.side, order.size) == (position.side.opposite, position.size)


def meet_foreign(turn: Turn, symbol: str, foreign: tuple[WorkingOrder, ...]) -> None:
    """Orders that are not ours are named once and never touched: two stops that nothing links would open a position."""
    market = turn.market(symbol)
    known = {order.order_id for order in market.foreign}
    for order in foreign:
        if order.order_id in known:
            continue
        protects = market.position is not None and covers(order, market.position)
        turn.note(
            "WARNING", "foreign_stop" if protects else "foreign_order", symbol=symbol, order_id=order.order_id,
            side=order.side.value, size=order.size, price=order.price, notify=True,
            text="set by hand: it protects the position, and the bot places none of its own" if protects
            else "not of this bot: it is left alone, and nothing is entered here while it works",
        )  # fmt: skip
    if known - {order.order_id for order in foreign}:
        turn.dirty(symbol, gone_ms=turn.now_ms)  # it may have filled: look before a stop takes its place
    if foreign != market.foreign:
        turn.change(symbol, foreign=foreign)


# --- news and answers -------------------------------------------------------------------------------------------------


def on_update(turn: Turn, event: OrderUpdate) -> None:
    """News of an order from the user stream, in any order with answers and fills."""
    symbol = event.symbol
    working = None if event.status.is_final else event.working
    if working is not None and not is_ours(turn.market(symbol), working):
        others = tuple(o for o in turn.market(symbol).foreign if o.order_id != event.order_id)
        meet_foreign(turn, symbol, (*others, working))
        turn.dirty(symbol)
        return
    if working is not None:
        before = turn.market(symbol).orders
        learn(turn, working, listed=False)
        if turn.market(symbol).orders != before:
            turn.dirty(symbol)  # lists from before do not know it
    market = turn.market(symbol)
    record = records.find_record(market, event.client_id, event.order_id)
    if record is None:
        if event.status.is_final and any(o.order_id == event.order_id for o in market.foreign):
            left = tuple(order for order in market.foreign if order.order_id != event.order_id)
            turn.dirty(symbol, foreign=left, gone_ms=turn.now_ms)
            records.look(turn, "an order that is not ours has ended")
        return
    if record.order_id is None:
        record = records.put_record(turn, msgspec.structs.replace(record, order_id=event.order_id))
    if event.status.is_final:
        _on_final(turn, record, event)


def _on_final(turn: Turn, record: OrderRecord, event: OrderUpdate) -> None:
    fired = event.status is OrderStatus.FILLED
    if record.status.is_final:
        if not fired or record.status is OrderStatus.FILLED or record.filled_size >= record.order.size:
            return
        record = msgspec.structs.replace(record, status=OrderStatus.CANCELED)  # a cancel that lost its race
    elif event.status is OrderStatus.REJECTED and record.seen_ms is None and record.accepted_ms is None:
        # The answer says why, and may come second (page 3.4); without it, ask.
        settle_ms = turn.now_ms + REASON_MS
        records.put_record(turn, msgspec.structs.replace(record, status=OrderStatus.UNKNOWN, settle_ms=settle_ms))
        return
    end(turn, record, event.status, event.venue_status, event.average_price)


def end(turn: Turn, record: OrderRecord, status: OrderStatus, word: str, average: Decimal | None = None) -> None:
    """An order has ended. When it says filled (at `average`), the position follows at once; its fills count once."""
    order, symbol = record.order, record.order.symbol
    filled = status is OrderStatus.FILLED
    asked = record.cancel_ms is not None and not filled
    record = msgspec.structs.replace(record, status=status, settle_ms=None, wanted=None)
    record = records.put_record(turn, record)
    turn.dirty(symbol, **({} if asked or not record.rests else {"gone_ms": turn.now_ms}))
    kind = "stop" if record.purpose is Purpose.STOP else "target"
    if filled and not record.rests:
        turn.note(
            "INFO", "order_filled", client_id=order.client_id, symbol=symbol, order_id=record.order_id,
            filled=order.size, of=order.size, average_price=average,
        )  # fmt: skip
    else:
        name = (f"{kind}_fired" if filled else f"{kind}_gone") if record.rests else "order_ended"
        turn.note(
            "DEBUG" if asked else "INFO", name, symbol=symbol, client_id=order.client_id, order_id=record.order_id,
            price=order.price if record.rests else None, status=word,
        )  # fmt: skip
    if filled:
        raise_filled(turn, record, order.size, average or _likely_price(turn, record))
    elif record.purpose is Purpose.EXIT:
        orders.delay_exit(turn, symbol)
    records.look(turn, "order ended")


def _likely_price(turn: Turn, record: OrderRecord) -> Decimal:
    order = record.order
    if record.rests:
        return order.price
    return turn.market(order.symbol).reference_price(order.side) or order.price


def on_cancel_answered(turn: Turn, event: CancelAnswered) -> None:
    record = records.find_record(turn.market(event.symbol), None, event.order_id)
    if not event.gone:
        if record is not None and event.reason is RejectReason.RATE_LIMIT:
            records.put_record(turn, msgspec.structs.replace(record, limited=True))
        turn.note("WARNING", "cancel_failed", symbol=event.symbol, order_id=event.order_id, error=event.error)
        return
    turn.note("DEBUG", "order_canceled", symbol=event.symbol, order_id=event.order_id)
    if record is not None and record.is_live:
        end(turn, record, OrderStatus.CANCELED, "canceled")


def cancel(turn: Turn, record: OrderRecord, reason: str) -> None:
    """Ask for its end, and again when nothing came of it; an order that has no id yet must be answered first."""
    pause_ms_max = orders.LIMITED_MS_MAX if record.limited else CANCEL_AGAIN_MS_MAX
    pause_ms = min(CANCEL_AGAIN_MS * 2 ** max(record.tries - 1, 0), pause_ms_max)
    asked_lately = record.cancel_ms is not None and turn.now_ms - record.cancel_ms < pause_ms
    if record.order_id is None or asked_lately or not record.is_live:
        return
    records.put_record(
        turn, msgspec.structs.replace(record, cancel_ms=turn.now_ms, tries=record.tries + 1, limited=False)
    )
    turn.act(Cancel(record.order.symbol, record.order_id, turn.next_nonce(), reason))
    turn.note(
        "INFO", "cancel_sent", symbol=record.order.symbol, client_id=record.order.client_id,
        order_id=record.order_id, reason=reason,
    )  # fmt: skip
