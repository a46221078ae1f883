"""Rows of `userFillsByTime` to fills, in the order in which they happened. Pure; protocol page 1.6, 2.7."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from core.model import Fill
from venues.hyperliquid.info import Id, Millis, above_zero, finite, side_of


class _Liquidation(msgspec.Struct):
    liquidatedUser: str | None = None


class FillRow(msgspec.Struct):
    coin: str
    px: Decimal
    sz: Decimal
    side: str
    time: Millis
    startPosition: Decimal
    closedPnl: Decimal
    oid: Id
    fee: Decimal
    hash: str = ""
    tid: Id | None = None  # rows of 2023 have none
    cloid: str | None = None
    liquidation: _Liquidation | None = None


def fill_key(row: FillRow) -> tuple[str, int]:
    """(fill id, oid): a tid is shared by both sides of a trade."""
    trade_id = str(row.tid) if row.tid is not None else f"{row.oid}/{row.startPosition}"
    return f"{row.time}:{row.coin}:{trade_id}", row.oid


def fill_of(row: FillRow, account: str, received_ms: int) -> Fill:
    return Fill(
        symbol=row.coin,
        side=side_of(row.side),
        price=above_zero(row.px, "px"),
        size=above_zero(row.sz, "sz"),
        fee=finite(row.fee, "fee"),
        closed_pnl=finite(row.closedPnl, "closedPnl"),
        order_id=row.oid,
        client_id=row.cloid.lower() if row.cloid else None,
        fill_id=fill_key(row)[0],
        time_ms=row.time,
        received_ms=received_ms,
        start_position=finite(row.startPosition, "startPosition"),
        is_snapshot=True,
        is_liquidation=row.liquidation is not None and (row.liquidation.liquidatedUser or "").lower() == account,
    )


def in_order(fills: Sequence[Fill]) -> tuple[Fill, ...]:
    """Oldest first. Within one millisecond the venue promises no order: chain each market by its start positions."""
    groups: dict[tuple[int, str], list[Fill]] = {}
    for fill in sorted(fills, key=lambda fill: fill.time_ms):
        groups.setdefault((fill.time_ms, fill.symbol), []).append(fill)
    return tuple(fill for group in groups.values() for fill in _chained(group))


def _chained(group: list[Fill]) -> list[Fill]:
    """Each fill starts where the one before it ended; what cannot be chained keeps the venue's order, at the end."""
    if len(group) == 1:
        return group
    ends = [_end(fill) for fill in group]
    left = list(group)
    first = next((fill for fill in group if fill.start_position not in ends), group[0])
    chain: list[Fill] = []
    following: Fill | None = first
    while following is not None:
        chain.append(following)
        left.remove(following)
        end = _end(following)
        following = next((fill for fill in left if fill.start_position == end), None)
    return chain + left


def _end(fill: Fill) -> Decimal:
    assert fill.start_position is not None, "fill_of sets it"
    return fill.start_position + fill.side.sign * fill.size
