"""Hyperliquid WebSocket frames to events: pure, the same for the live stream and for a replay (protocol page 1.3, 1.6).

`decode_frame` reads one frame; `FrameReader` adds the memory that drops what the venue sends twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from core.messages import AnyEvent, BarUpdate, OrderUpdate
from core.model import Bar, Book, Fill, MarkPrice, OrderStatus, Quote, Side, Trade
from runtime.dialect import BadFrame
from venues.hyperliquid.numbers import AHEAD_MS_MAX, any_sign, not_negative, positive, timely
from venues.hyperliquid.shapes import (
    CHANNELS,
    AckFrame,
    BboFrame,
    BookFrame,
    CandleFrame,
    CtxFrame,
    ErrorFrame,
    OrderUpdatesFrame,
    PongFrame,
    PostFrame,
    TradesFrame,
    UserFillsFrame,
    UserFrame,
    WireCandle,
    WireFill,
    decode_any,
    decode_envelope,
)

BAR_MS_MAX = 8 * AHEAD_MS_MAX  # the longest are of a week

GREETING = b"Websocket connection established."  # page 1.1: plain text, before any JSON


# --- answers that are not events ------------------------------------------------------------------------------------


class Ack(msgspec.Struct, frozen=True):
    """The venue echoes a (un)subscription, defaults filled in: match it by subset."""

    method: str
    subscription: dict[str, Any]


class Pong(msgspec.Struct, frozen=True):
    pass


class FillsSnapshot(msgspec.Struct, frozen=True):
    """History of the user's fills, sent after a subscribe; it may be empty."""

    count: int


class VenueError(msgspec.Struct, frozen=True):
    """Channel `error`. `subscription` is the request echoed in the text, None where it echoes none."""

    text: str
    subscription: dict[str, Any] | None

    @property
    def is_success(self) -> bool:
        """The venue already is where we wanted it (page 1.3)."""
        return self.text.startswith(("Already subscribed", "Already unsubscribed"))


Control = Ack | Pong | FillsSnapshot | VenueError
Decoded = tuple[tuple[AnyEvent, ...], Control | None]

SIDES = {"B": Side.BUY, "A": Side.SELL}


# --- frame by frame -------------------------------------------------------------------------------------------------


def _trades(frame: TradesFrame, now_ms: int, user: str | None) -> Decoded:
    limit_ms = now_ms + AHEAD_MS_MAX
    events = []
    for t in frame.data:
        if t.time > limit_ms:
            timely(t.time, now_ms)
        events.append(Trade(t.coin, positive(t.px), positive(t.sz), SIDES[t.side], t.tid, t.time, now_ms))
    return tuple(events), None


def _bbo(frame: BboFrame, now_ms: int, user: str | None) -> Decoded:
    data = frame.data
    bid, ask = data.bbo
    quote = Quote(
        data.coin,
        None if bid is None else positive(bid.px),
        None if bid is None else positive(bid.sz),
        None if ask is None else positive(ask.px),
        None if ask is None else positive(ask.sz),
        timely(data.time, now_ms),
        now_ms,
    )
    return (quote,), None


def _book(frame: BookFrame, now_ms: int, user: str | None) -> Decoded:
    data = frame.data
    bids, asks = (tuple((positive(v.px), positive(v.sz)) for v in side) for side in data.levels)
    return (Book(data.coin, bids, asks, timely(data.time, now_ms), now_ms),), None


def _candle(frame: CandleFrame, now_ms: int, user: str | None) -> Decoded:
    rows = frame.data if isinstance(frame.data, list) else [frame.data]
    return tuple(BarUpdate(symbol=row.s, bar=_bar(row, now_ms), received_ms=now_ms) for row in rows), None


def _bar(row: WireCandle, now_ms: int) -> Bar:
    timely(row.t, now_ms)
    bar = Bar(row.t, row.T, positive(row.o), positive(row.h), positive(row.low), positive(row.c), not_negative(row.v))
    is_ordered = bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
    if not is_ordered or not row.t <= row.T <= row.t + BAR_MS_MAX:
        raise BadFrame("bad_bar", "its prices or times contradict each other")
    return bar


def _ctx(frame: CtxFrame, now_ms: int, user: str | None) -> Decoded:
    ctx = frame.data.ctx
    oracle = None if ctx.oraclePx is None else positive(ctx.oraclePx)
    mid = None if ctx.midPx is None else positive(ctx.midPx)
    return (MarkPrice(frame.data.coin, positive(ctx.markPx), oracle, mid, now_ms),), None


def _user_fills(frame: UserFillsFrame, now_ms: int, user: str | None) -> Decoded:
    data = frame.data
    if user is not None and data.user.lower() != user.lower():
        raise BadFrame("other_user", "fills of another account")
    is_snapshot = bool(data.isSnapshot)
    fills = chain_fills(_fill(f, now_ms, data.user, is_snapshot) for f in data.fills)
    return fills, FillsSnapshot(len(fills)) if is_snapshot else None


def _user_events(frame: UserFrame, now_ms: int, user: str | None) -> Decoded:
    return chain_fills(_fill(f, now_ms, user, False) for f in frame.data.fills or ()), None


def _fill(fill: WireFill, now_ms: int, user: str | None, is_snapshot: bool) -> Fill:
    liquidated = fill.liquidation.liquidatedUser if fill.liquidation else None  # also set when we were the other side
    return Fill(
        symbol=fill.coin,
        side=SIDES[fill.side],
        price=positive(fill.px),
        size=positive(fill.sz),
        fee=any_sign(fill.fee),
        closed_pnl=any_sign(fill.closedPnl),
        order_id=fill.oid,
        client_id=fill.cloid,
        fill_id=f"{fill.time}:{fill.coin}:{fill.tid}",
        time_ms=timely(fill.time, now_ms),
        received_ms=now_ms,
        start_position=None if fill.startPosition is None else any_sign(fill.startPosition),
        is_snapshot=is_snapshot,
        is_liquidation=liquidated is not None and user is not None and liquidated.lower() == user.lower(),
    )


def chain_fills(fills: Iterable[Fill]) -> tuple[Fill, ...]:
    """Oldest first; fills of one millisecond and coin, which come in no order, chained by the position before each."""
    groups: dict[tuple[int, str], list[Fill]] = {}
    for fill in fills:
        groups.setdefault((fill.time_ms, fill.symbol), []).append(fill)
    in_time = sorted(groups.items(), key=lambda item: item[0][0])
    return tuple(fill for _, group in in_time for fill in (_chain(group) if len(group) > 1 else group))


def _chain(group: list[Fill]) -> list[Fill]:
    """Start where no other fill ends, follow the positions; begin anew where the chain breaks."""
    by_start: dict[Decimal | None, list[Fill]] = {}
    for fill in reversed(group):
        by_start.setdefault(fill.start_position, []).append(fill)
    ends = {_end(fill) for fill in group}
    chained: list[Fill] = []
    for head in sorted(group, key=lambda f: f.start_position in ends):
        at = head.start_position
        while by_start.get(at):
            chained.append(by_start[at].pop())
            at = _end(chained[-1])
    return chained


def _end(fill: Fill) -> Decimal | None:
    return None if fill.start_position is None else fill.start_position + fill.side.sign * fill.size


def _order_updates(frame: OrderUpdatesFrame, now_ms: int, user: str | None) -> Decoded:
    return tuple(
        OrderUpdate(
            symbol=row.order.coin,
            order_id=row.order.oid,
            client_id=row.order.cloid,
            status=order_status(row.status),
            venue_status=row.status[:64],
            size_left=not_negative(row.order.sz),
            time_ms=timely(row.statusTimestamp, now_ms),
            received_ms=now_ms,
        )
        for row in frame.data
    ), None


def order_status(venue_status: str) -> OrderStatus:
    """The venue's vocabulary (page 2.9) in ours; a word nobody knows is UNKNOWN, to be looked up."""
    if venue_status in ("open", "triggered"):
        return OrderStatus.ACCEPTED
    if venue_status == "filled":
        return OrderStatus.FILLED
    if venue_status == "canceled" or venue_status.endswith(("Canceled", "Cancel")):  # scheduledCancel, internalCancel
        return OrderStatus.CANCELED
    if venue_status == "rejected" or venue_status.endswith("Rejected"):
        return OrderStatus.REJECTED
    return OrderStatus.UNKNOWN


def _ack(frame: AckFrame, now_ms: int, user: str | None) -> Decoded:
    return (), Ack(frame.data.method, frame.data.subscription)


def _error(frame: ErrorFrame, now_ms: int, user: str | None) -> Decoded:
    return (), VenueError(frame.data, _echo(frame.data))


def _echo(text: str) -> dict[str, Any] | None:
    """The subscription inside an error text, bare or within the request that held it."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        request = msgspec.json.decode(text[start:].encode(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None  # not an echo; the text is logged all the same
    subscription = request.get("subscription", request)
    return subscription if isinstance(subscription, dict) else None


def _pong(frame: PongFrame, now_ms: int, user: str | None) -> Decoded:
    return (), Pong()


def _nothing(frame: PostFrame, now_ms: int, user: str | None) -> Decoded:
    return (), None


_HANDLERS: Mapping[type, Callable[[Any, int, str | None], Decoded]] = {
    TradesFrame: _trades,
    BboFrame: _bbo,
    BookFrame: _book,
    CandleFrame: _candle,
    CtxFrame: _ctx,
    UserFillsFrame: _user_fills,
    UserFrame: _user_events,
    OrderUpdatesFrame: _order_updates,
    AckFrame: _ack,
    ErrorFrame: _error,
    PongFrame: _pong,
    PostFrame: _nothing,
}


def decode(raw: bytes, received_ms: int, user: str | None = None) -> Decoded:
    """The events of one frame in the venue's order, and the answer it holds, if any. Raises only BadFrame.

    A frame with one bad row is bad as a whole. `user` tells our own fills and liquidations from others'.
    """
    try:
        frame = decode_any(raw)
    except msgspec.ValidationError as e:
        raise _misfit(raw, str(e)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        if raw.strip() == GREETING:
            return (), None
        raise BadFrame("truncated" if "truncated" in str(e) else "not_json", str(e)[:80]) from None
    except RecursionError:
        raise BadFrame("too_deep", "nested beyond any sense") from None
    return _HANDLERS[type(frame)](frame, received_ms, user)


def _misfit(raw: bytes, why: str) -> BadFrame:
    try:
        channel = decode_envelope(raw).channel
    except RecursionError:
        return BadFrame("too_deep", "nested beyond any sense")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return BadFrame("no_channel", why[:80])
    if channel not in CHANNELS:
        return BadFrame("unknown_channel", repr(channel[:40]))
    return BadFrame("wrong_type", f"{channel}: {why[:80]}")


def decode_frame(raw: bytes, received_ms: int, user: str | None = None) -> tuple[AnyEvent, ...]:
    """The events of one frame, repeats included; () for acks, pongs and errors. Raises only BadFrame."""
    return decode(raw, received_ms, user)[0]


# --- memory ---------------------------------------------------------------------------------------------------------


class _Recent:
    """Remembers the newest `size` to `2 * size` different keys; asking about a known one changes nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[object] = set()
        self._old: set[object] = set()

    def is_new(self, key: object) -> bool:
        if key in self._new or key in self._old:
            return False
        if len(self._new) >= self._size:
            self._old, self._new = self._new, set()
        self._new.add(key)
        return True


class Deduper:
    """Drops trades and fills that were passed on before: replays after a subscribe, histories, doubled frames.

    It depends on the frames alone, and a frame that it empties leaves it unchanged: a replay of the frames that were
    kept drops the same ones.
    """

    def __init__(self, trades_kept: int = 4096, fills_kept: int = 8192) -> None:
        self._trades: defaultdict[str, _Recent] = defaultdict(lambda: _Recent(trades_kept))  # by coin
        self._fills = _Recent(fills_kept)

    def fresh(self, events: tuple[AnyEvent, ...]) -> tuple[AnyEvent, ...]:
        """`events` of one frame without repeats, in order."""
        kind = type(events[0]) if events else None
        seen = self._trades
        if kind is Trade:  # its tid alone repeats (page 1.6)
            return tuple(
                [e for e in events if type(e) is Trade and seen[e.symbol].is_new(e.time_ms << 64 | e.trade_id)]
            )
        if kind is Fill:
            return tuple([e for e in events if type(e) is Fill and self._fills.is_new((e.fill_id, e.order_id))])
        return events


class FrameReader:
    """Frames to events for one run, live or from its journal: decode, then drop repeats."""

    def __init__(self, user: str | None) -> None:
        self._user = user
        self._deduper = Deduper()

    def read(self, raw: bytes, received_ms: int) -> tuple[AnyEvent, ...]:
        """Raises only BadFrame."""
        return self._deduper.fresh(decode(raw, received_ms, self._user)[0])
