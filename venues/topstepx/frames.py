"""TopstepX hub records to events: pure, the same for the live streams and for a replay (page 3.4).

Quotes are partial: the reader keeps what it knows of each contract. So that a journal can be read from anywhere, a
record whose event depends on earlier ones is kept with what was known added to it (`completed`).
"""

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from core.messages import AccountUpdate, AnyEvent, OrderUpdate, PositionUpdate
from core.model import ZERO, Fill, OrderStatus, Quote, Side, Trade, VenuePosition, WorkingOrder
from runtime.dialect import BadFrame
from venues.topstepx import hub_shapes as shapes
from venues.topstepx.book import Depth
from venues.topstepx.costs import commission
from venues.topstepx.numbers import is_given, millis, not_negative, number, positive
from venues.topstepx.signalr import INVOCATION, Record, bad_json, parse
from venues.topstepx.symbols import name_of_other, ticker

__all__ = ["TopstepFrameReader", "completed", "unclaimed"]

MARKET_EVENTS = frozenset({"GatewayQuote", "GatewayTrade", "GatewayDepth"})
USER_EVENTS = frozenset({"GatewayUserAccount", "GatewayUserOrder", "GatewayUserPosition", "GatewayUserTrade"})
FROZEN_MS = 1_000  # `lastUpdated` standing still for so long of `timestamp`, while prices change, is stuck

AHEAD_MS_MAX = 24 * 3_600_000

SIDES = {0: Side.BUY, 1: Side.SELL}
_LIMIT, _STOP_LIMIT, _STOP, _TRAILING_STOP = 1, 3, 4, 5  # page 2.1
_OPEN, _PENDING, _SUSPENDED = 1, 6, 8
STATUSES = {
    1: ("Open", OrderStatus.ACCEPTED),
    2: ("Filled", OrderStatus.FILLED),
    3: ("Cancelled", OrderStatus.CANCELED),
    4: ("Expired", OrderStatus.CANCELED),
    5: ("Rejected", OrderStatus.REJECTED),
    6: ("Pending", OrderStatus.ACCEPTED),
    7: ("PendingCancellation", OrderStatus.ACCEPTED),  # it may still fill
    8: ("Suspended", OrderStatus.ACCEPTED),  # a bracket child that waits for its entry
}


_NOTHING = shapes.Known()
_encode = msgspec.json.Encoder().encode


class _Best(msgspec.Struct):
    """What is known of a contract's best prices on this connection; None: no such side, or not told yet."""

    bid: Decimal | None = None
    ask: Decimal | None = None
    time_ms: int = 0  # of the quote last made
    updated_ms: int = 0  # the newest lastUpdated
    stamped_ms: int = 0  # the timestamp that came with it
    moved: bool = False  # prices changed since, and lastUpdated did not


def unclaimed(raw: bytes) -> bytes:
    """`raw` without a key of the venue's that has the name of ours. Raises BadFrame."""
    try:
        record = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise bad_json(e) from None
    return _encode({key: value for key, value in record.items() if key != "known"})


def completed(raw: bytes, known: shapes.Known) -> bytes:
    """`raw` with what was known before it, so that a reader without that memory makes the same event of it."""
    return b'%b,"known":%b}' % (raw.rstrip()[:-1], _encode(known))


class TopstepFrameReader:
    """Records to events for one run, live or from its journal.

    `contracts` names the symbol of each configured contract, others are named by `symbols`. Events of other
    accounts than `account_id` are dropped (None: of none, for a journal that holds no others). `multipliers` (by
    contract, account currency per 1.0 of price) go into positions; 1 where the caller knows none.
    """

    def __init__(
        self, account_id: int | None, contracts: Mapping[str, str], multipliers: Mapping[str, Decimal] | None = None
    ) -> None:
        self._account_id, self._contracts = account_id, dict(contracts)
        self._multipliers = multipliers or {}
        self._quotes: dict[str, _Best] = {}
        self._books: dict[str, Depth] = {}
        self._told = _NOTHING  # what stands on a kept record
        self.contract_id = ""  # of the market record last read
        self.known: shapes.Known | None = None  # to keep with the record last read; None: it speaks for itself
        self._handlers: dict[str, Callable[[Record, int], tuple[AnyEvent, ...]]] = {
            "GatewayQuote": self._quote,
            "GatewayTrade": self._prints,
            "GatewayDepth": self._depth,
            "GatewayUserAccount": self._account,
            "GatewayUserOrder": self._order,
            "GatewayUserPosition": self._position,
            "GatewayUserTrade": self._fill,
        }

    def begin(self) -> None:
        """A new connection: what the last one told is no longer known."""
        self._quotes.clear()
        self._books.clear()

    def symbol_of(self, contract_id: str) -> str:
        """What the core calls it."""
        known = self._contracts.get(contract_id)
        return name_of_other(contract_id, self._contracts.values()) if known is None else known

    def _multiplier(self, contract_id: str) -> Decimal:
        if self._told.multiplier is not None:
            return positive(self._told.multiplier.encode())
        multiplier = self._multipliers.get(contract_id, Decimal(1))
        self._keep().multiplier = f"{multiplier:f}"
        return multiplier

    def _keep(self) -> shapes.Known:
        if self.known is None:
            self.known = shapes.Known()
        return self.known

    def read(self, raw: bytes, received_ms: int) -> tuple[AnyEvent, ...]:
        """The events of one record as it was kept, () if it holds none. Raises only BadFrame."""
        return self.events(parse(raw), received_ms)

    def events(self, record: Record, received_ms: int) -> tuple[AnyEvent, ...]:
        """The second half of read(), for who has parsed already. A record with one bad row is bad as a whole."""
        self.known, self._told = None, _NOTHING
        handler = self._handlers.get(record.target)
        if record.type != INVOCATION or handler is None:
            return ()
        try:
            if bytes(record.known):
                self._told = shapes.decode_known(record.known)
            return handler(record, received_ms)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            bad = bad_json(e)
            raise BadFrame(bad.kind, f"{record.target}: {bad.why}") from None

    def rehearse(self, raw: bytes) -> None:
        """Read a record that was read before, remember nothing of it."""
        TopstepFrameReader(self._account_id, self._contracts).read(raw, AHEAD_MS_MAX * 100_000)

    # --- market hub ---

    def _quote(self, record: Record, received_ms: int) -> tuple[AnyEvent, ...]:
        arguments = shapes.decode_quote(record.arguments)
        contract_id, wire = arguments.contract_id, arguments.quote
        self.contract_id = contract_id
        before = self._quotes.get(contract_id)
        told = self._told
        if told.quote is not None:
            bid, ask, time_ms = told.quote
            known = _Best(_price(bid), _price(ask), time_ms)
        else:
            known = _merged(before or _Best(), wire, received_ms)
        if known is before:
            return ()  # it comes late, behind a newer one
        has_all = is_given(wire.best_bid) and is_given(wire.best_ask)
        if not (before and has_all and known.updated_ms > before.updated_ms):
            self._keep().quote = _json(known.bid), _json(known.ask), known.time_ms
        self._quotes[contract_id] = known
        if known.time_ms == 0 or (known.bid is None and known.ask is None):
            return ()
        symbol = self.symbol_of(contract_id)
        return (Quote(symbol, known.bid, None, known.ask, None, known.time_ms, received_ms),)

    def _prints(self, record: Record, received_ms: int) -> tuple[AnyEvent, ...]:
        """In the order of the array; the venue gives prints no ids, so nothing tells a repeat from a twin."""
        arguments = shapes.decode_prints(record.arguments)
        self.contract_id = arguments.contract_id
        symbol = self.symbol_of(arguments.contract_id)
        return tuple([_print(symbol, row, received_ms) for row in shapes.rows(arguments.prints)])

    def _depth(self, record: Record, received_ms: int) -> tuple[AnyEvent, ...]:
        arguments = shapes.decode_levels(record.arguments)
        self.contract_id = contract_id = arguments.contract_id
        book = self._books.get(contract_id)
        begins = book is None or self._told.begins
        if book is None or begins:
            book = Depth()
        book.apply(shapes.rows(arguments.levels), lambda text: _market_ms(text, received_ms))
        events = book.events(self.symbol_of(contract_id), received_ms)
        if begins and events:  # not before: a record that is not kept cannot tell a replay where the book begins
            self._books[contract_id] = book
            self._keep().begins = True
        return events

    # --- user hub ---

    def _is_ours(self, account_id: int) -> bool:
        return self._account_id in (None, account_id)

    def _account(self, record: Record, received_ms: int) -> tuple[AnyEvent, ...]:
        wire = shapes.decode_account(shapes.unwrapped(record.arguments))
        if not self._is_ours(wire.id):
            return ()
        return (AccountUpdate(balance=number(wire.balance), can_trade=wire.can_trade, received_ms=received_ms),)

    def _order(self, record: Record, received_ms: int) -> tuple[AnyEvent, ...]:
        wire = shapes.decode_order(shapes.unwrapped(record.arguments))
        if not self._is_ours(wire.account_id):
            return ()
        return (order_update(wire, self.symbol_of(wire.contract_id), received_ms),)

    def _position(self, record: Record, received_ms: int) -> tuple[AnyEvent, ...]:
        wire = shapes.decode_position(shapes.unwrapped(record.arguments))
        if not self._is_ours(wire.account_id):
            return ()
        position = VenuePosition(
            symbol=self.symbol_of(wire.contract_id),
            size=_signed_size(wire),
            entry_price=not_negative(wire.average_price) if is_given(wire.average_price) else ZERO,
            unrealized_pnl=ZERO,  # the venue names none (page 2.9)
            liquidation_price=None,
            leverage=1,
            is_cross=True,
            multiplier=self._multiplier(wire.contract_id),
            contract_id=wire.contract_id,
        )
        if position.size and not position.entry_price:
            raise BadFrame("bad_number", "a position without an average price")
        return (PositionUpdate(position=position, received_ms=received_ms),)

    def _fill(self, record: Record, received_ms: int) -> tuple[AnyEvent, ...]:
        wire = shapes.decode_fill(shapes.unwrapped(record.arguments))
        if not self._is_ours(wire.account_id) or wire.voided:
            return ()
        if wire.size == 0:
            raise BadFrame("bad_number", "a fill of nothing")
        fill = Fill(
            symbol=self.symbol_of(wire.contract_id),
            side=_side_of(wire.side),
            price=positive(wire.price),
            size=Decimal(wire.size),
            fee=_fee(wire),
            closed_pnl=number(wire.profit_and_loss) if is_given(wire.profit_and_loss) else ZERO,
            order_id=wire.order_id,
            client_id=None,
            fill_id=str(wire.id),
            time_ms=_market_ms(wire.creation_timestamp, received_ms),
            received_ms=received_ms,
        )
        return (fill,)


# --- quotes -----------------------------------------------------------------------------------------------------------


def _merged(before: _Best, wire: shapes.WireQuote, received_ms: int) -> _Best:
    """What is known after `wire`; `before` itself when both clocks call `wire` older.

    A side that the other one has run through is no longer known.
    """
    updated_ms = before.updated_ms if wire.last_updated is None else _market_ms(wire.last_updated, received_ms)
    stamped_ms = 0 if wire.timestamp is None else _market_ms(wire.timestamp, received_ms)
    if updated_ms < before.updated_ms and stamped_ms <= before.stamped_ms:
        return before
    bid = _price(wire.best_bid) if bytes(wire.best_bid) else before.bid
    ask = _price(wire.best_ask) if bytes(wire.best_ask) else before.ask
    if bid is not None and ask is not None and bid > ask:
        if not bytes(wire.best_ask):
            ask = None
        elif not bytes(wire.best_bid):
            bid = None
    changed = (bid, ask) != (before.bid, before.ask)
    if updated_ms > before.updated_ms:
        return _Best(bid, ask, updated_ms, updated_ms, stamped_ms)
    known = _Best(bid, ask, before.time_ms, before.updated_ms, before.stamped_ms, before.moved or changed)
    is_stuck = known.moved and known.stamped_ms > 0 and stamped_ms - known.stamped_ms >= FROZEN_MS
    if updated_ms == 0 or is_stuck:
        known.time_ms = max(known.time_ms, stamped_ms)  # the other clock, when this one is missing or stuck
    return known


def _market_ms(text: str, received_ms: int) -> int:
    """Raises BadFrame for a time beyond any error of our clock: everything after it would look old."""
    time_ms = millis(text)
    if time_ms > received_ms + AHEAD_MS_MAX:
        raise BadFrame("bad_time", f"{text[:40]!r} is in the future")
    return time_ms


def _price(text: msgspec.Raw) -> Decimal | None:
    return positive(text) if is_given(text) else None


def _json(value: Decimal | None) -> msgspec.Raw:
    return msgspec.Raw(b"null" if value is None else f"{value:f}".encode())


def _print(symbol: str, row: shapes.WirePrint, received_ms: int) -> Trade:
    time_ms = _market_ms(row.timestamp, received_ms)
    return Trade(symbol, positive(row.price), positive(row.volume), _side_of(row.type), 0, time_ms, received_ms)


# --- orders, positions, fills ---------------------------------------------------------------------------------------


def _side_of(code: int) -> Side:
    side = SIDES.get(code)
    if side is None:
        raise BadFrame("unknown_enum", f"side {code}")
    return side


def order_update(wire: shapes.WireOrder, symbol: str, received_ms: int) -> OrderUpdate:
    filled = wire.fill_volume or 0
    if filled > wire.size:
        raise BadFrame("contradiction", f"{filled} of {wire.size} filled")
    name, status = STATUSES.get(wire.status, (f"status {wire.status}", OrderStatus.UNKNOWN))
    if status is OrderStatus.ACCEPTED and filled:
        status = OrderStatus.PARTIAL
    left = Decimal(0 if status is OrderStatus.FILLED else wire.size - filled)
    moment = wire.creation_timestamp if wire.update_timestamp is None else wire.update_timestamp
    time_ms = _market_ms(moment, received_ms)
    return OrderUpdate(
        symbol=symbol,
        order_id=wire.id,
        client_id=wire.custom_tag,
        status=status,
        venue_status=name,
        size_left=left,
        time_ms=time_ms,
        average_price=_price(wire.filled_price),
        working=_working(wire, symbol, left, time_ms),
        received_ms=received_ms,
    )


def _working(wire: shapes.WireOrder, symbol: str, left: Decimal, time_ms: int) -> WorkingOrder | None:
    """The order as it rests now; None when it does not, or has no price yet (a suspended bracket child)."""
    side = _side_of(wire.side)
    is_stop = wire.type in (_STOP, _TRAILING_STOP)
    trigger = wire.stop_price if is_stop or wire.type == _STOP_LIMIT else shapes.NONE
    price = trigger if is_stop else wire.limit_price
    rests = wire.status in (_OPEN, _PENDING, _SUSPENDED) and wire.type in (_LIMIT, _STOP_LIMIT, _STOP, _TRAILING_STOP)
    if not rests or not left or not is_given(price):
        return None
    return WorkingOrder(
        symbol=symbol,
        side=side,
        order_id=wire.id,
        client_id=wire.custom_tag,
        size=left,
        price=positive(price),
        trigger_price=positive(trigger) if is_given(trigger) else None,
        is_stop=is_stop,
        reduce_only=False,
        whole_position=False,
        time_ms=time_ms,
        parent_id=wire.parent_order_id,
    )


def _signed_size(wire: shapes.WirePosition) -> Decimal:
    """Closed is size 0, whatever the type says (page 3.4)."""
    if wire.size == 0:
        return ZERO
    sign = {1: 1, 2: -1}.get(wire.type)
    if sign is None:
        raise BadFrame("unknown_enum", f"position type {wire.type}")
    return Decimal(sign * wire.size)


def _fee(wire: shapes.WireFill) -> Decimal:
    """Both parts for the row; the commission from the table where the row leaves it out (page 2.10)."""
    fees = number(wire.fees) if is_given(wire.fees) else ZERO
    if is_given(wire.commissions):
        return fees + number(wire.commissions)
    return fees + commission(ticker(wire.contract_id)) * wire.size
