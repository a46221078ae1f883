"""Rebuild the state from the journal (P7), and play a journal again (P12)."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from core.decide import decide
from core.messages import AnyAction, AnyEvent, JournalRestored, Note, Started, Submit
from core.model import OrderStatus, Purpose
from core.rules import Rules
from core.state import ExitReason, OrderRecord, State
from core.turn import Strategies
from runtime import journal, ledger
from runtime.logs import line

log = logging.getLogger("bot")
REBUILDING = 0  # no run has this id: runs draw 64 random bits
Decode = Callable[[bytes, int], tuple[AnyEvent, ...]]
DecoderFactory = Callable[[Rules], Decode]


class Restored(msgspec.Struct, frozen=True):
    state: State
    events: int  # read after the newest snapshot
    why_fresh: str | None  # why nothing was taken over, in words
    rows: tuple[ledger.Row, ...] = ()  # what the ledger should hold of it; the last run may have died before it did


def restore(folder: Path, rules: Rules, decode: Decode) -> Restored:
    """State as the last run left it, from the newest snapshot and the events after it.

    Orders come from the journal's own actions, not from deciding again: what was written may have been sent, and
    nothing else can have been.
    """
    try:
        state, old_rules, records = journal.read_tail(folder, rules.account_tag)
    except msgspec.ValidationError as e:
        return Restored(State(), 0, f"the journal was written by another version ({e})")
    if state is None or old_rules is None:
        return Restored(State(), 0, "this account has no journal yet")
    return rebuild(state, old_rules, records, decode)


def rebuild(state: State, old_rules: Rules, records: Iterable[journal.Record], decode: Decode) -> Restored:
    """`state` of a snapshot brought forward by the records after it."""
    rows: list[ledger.Row] = []
    tag, count, now_ms = old_rules.account_tag, 0, 0
    for record in records:
        if record.rules is not None:
            old_rules = record.rules
        if isinstance(record.action, Submit | Note):
            rows += ledger.rows_of(record.action, tag, now_ms)
        if isinstance(record.action, Submit):
            order = record.action.order  # an armed one has an older nonce; without an event, its own is all there is
            state = with_submitted(state, record.action, now_ms or order.nonce - state.offset_ms)
        for event in events_of(record, decode):
            count, now_ms = count + 1, event.received_ms
            rows += ledger.rows_of(event, tag, now_ms)
            if isinstance(event, Started):
                old_rules = event.rules
            # ids made here must not meet those that were written: this run's own begin with another number
            state = msgspec.structs.replace(state, run_id=REBUILDING)
            try:
                state, actions = decide(state, event, old_rules, {})
            except Exception as e:  # noqa: BLE001  # it failed then too, and ended the run: the venue is asked anyway
                log.warning(line("restore_skipped", {"event": type(event).__name__, "error": repr(e)}))
                continue
            state = without(state, {action.order.client_id for action in actions if isinstance(action, Submit)})
    return Restored(state, count, None, tuple(rows))


def with_submitted(state: State, action: Submit, sent_ms: int) -> State:
    """A journalled Submit may have been sent: its order exists, whatever deciding again would say.

    And what was asked for before it does not know of it (`orders.send`).
    """
    order = action.order
    market = state.markets.get(order.symbol)
    if market is None or order.client_id in market.orders:
        return state
    record = OrderRecord(order, action.purpose, OrderStatus.SENT, sent_ms, action.reason)
    reason = market.exit_reason
    if action.purpose is Purpose.EXIT and market.position is not None and reason is None:
        reason = ExitReason(action.reason)  # a strategy's: strategies are not asked again
    market = msgspec.structs.replace(
        market, orders={**market.orders, order.client_id: record}, exit_reason=reason, confirmed=False,
        dirty_ms=max(market.dirty_ms, sent_ms),
    )  # fmt: skip
    return msgspec.structs.replace(
        state,
        markets={**state.markets, order.symbol: market},
        last_nonce=max(state.last_nonce, order.nonce),
    )


def without(state: State, invented: set[str]) -> State:
    """Without orders that deciding again has invented: not written so far, so never sent. What was sent follows.

    All others stay: a bracket's child is an order of ours, and nobody here has ever submitted it.
    """
    if not invented:
        return state
    markets = {
        symbol: msgspec.structs.replace(market, orders={k: r for k, r in market.orders.items() if k not in invented})
        for symbol, market in state.markets.items()
    }
    return msgspec.structs.replace(state, markets=markets)


def events_of(record: journal.Record, decode: Decode) -> tuple[AnyEvent, ...]:
    if record.event is not None:
        return (record.event,)
    if bytes(record.frame):
        return decode(bytes(record.frame), record.ms)
    return ()


# --- replay ---------------------------------------------------------------------------------------------------------


def nothing(raw: bytes, received_ms: int) -> tuple[AnyEvent, ...]:
    """Before the first rules are read there is nothing to decode by."""
    return ()


class Difference(msgspec.Struct, frozen=True):
    """Where a replay left the recorded path."""

    at_event: int
    recorded: AnyAction | None
    replayed: AnyAction | None


class Replayed(msgspec.Struct, frozen=True):
    events: int
    actions: int
    difference: Difference | None


def replay(path: Path, make_decoder: DecoderFactory, load_strategies: Callable[[Rules], Strategies]) -> Replayed:
    """Play a journal file through `decide` and compare every action, in order.

    Raises ValueError when it has no beginning, or another version wrote it.
    """
    return replay_records(journal.read_records(path), make_decoder, load_strategies)


def replay_records(
    records: Iterable[journal.Record], make_decoder: DecoderFactory, load_strategies: Callable[[Rules], Strategies]
) -> Replayed:
    """As `replay`, for records from wherever."""
    state: State | None = None
    rules: Rules | None = None
    strategies: Strategies = {}
    decode: Decode = nothing
    recorded: deque[AnyAction] = deque()
    replayed: deque[AnyAction] = deque()
    events = actions = 0
    # False: lines are missing here (a full disk), until the next start. The snapshot that comes first tells the state
    # anew, but not which frames the stream had seen: what the venue repeats would pass for news.
    follows = True
    for record, follower in with_next(records):
        kinds = (Started, JournalRestored) if follows else Started
        begins = follower is not None and isinstance(follower.event, kinds)
        if record.gap:
            follows = False
            recorded.clear()
            replayed.clear()
        if record.snapshot is not None and (state is None or begins):
            follows = True
            state, rules = record.snapshot, record.rules
            assert rules is not None
            strategies = load_strategies(rules)
            recorded.clear()
            replayed.clear()
            if decode is nothing:
                decode = make_decoder(rules)
        if not follows or state is None or rules is None:
            continue
        if record.action is not None:
            recorded.append(record.action)
        for event in events_of(record, decode):
            events += 1
            if isinstance(event, Started):
                rules, strategies = event.rules, load_strategies(event.rules)
                decode = make_decoder(rules)
            state, out = decide(state, event, rules, strategies)
            replayed.extend(out)
        while recorded and replayed:
            actions += 1
            ours, theirs = replayed.popleft(), recorded.popleft()
            if ours != theirs:
                return Replayed(events, actions, Difference(events, theirs, ours))
    if state is None:
        raise ValueError("the file holds no snapshot to begin from")
    if recorded or replayed:
        left = Difference(events, recorded[0] if recorded else None, replayed[0] if replayed else None)
        return Replayed(events, actions, left)
    return Replayed(events, actions, None)


def with_next(records: Iterable[journal.Record]) -> Iterator[tuple[journal.Record, journal.Record | None]]:
    previous: journal.Record | None = None
    for record in records:
        if previous is not None:
            yield previous, record
        previous = record
    if previous is not None:
        yield previous, None
