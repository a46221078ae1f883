"""When the venue takes no orders, none is sent, and none that protects is canceled."""

import msgspec

from config.prop import sessions
from config.prop_settings import PropSettings
from core.messages import Cancel, CloseContract, FlattenRequested, Submit
from core.model import Side
from core.signals import Signal
from core.state import ExitReason
from tests.core.futures import Pit, sent
from tests.core.gateway import RULES
from tests.core.test_sessions import ct
from tests.core.world import of

HOURS = sessions(PropSettings(preset="practice"))
OPEN_MS, CLOSED_MS = ct("2026-11-24 15:09"), ct("2026-11-24 15:10")  # Chicago: the venue closes at ten past three


def pit(now_ms: int) -> Pit:
    made = Pit(msgspec.structs.replace(RULES, hours=HOURS))
    made.now_ms = now_ms
    made.start()
    return made


def test_an_exit_in_a_closed_market_leaves_the_stop_where_it_is() -> None:
    held = pit(OPEN_MS)
    held.enter()
    held.now_ms = CLOSED_MS
    actions = held.feed(FlattenRequested(received_ms=held.now_ms)) + held.wait(5_000)
    assert held.market.exit_reason is ExitReason.FLATTEN
    assert not [a for a in actions if isinstance(a, Cancel | Submit)] and held.market.stops
    held.now_ms = ct("2026-11-24 17:00")  # it opens: now it goes
    assert [a.order_id for a in held.wait(400) if isinstance(a, Cancel)]


def test_an_exit_that_has_begun_goes_on() -> None:
    held = pit(CLOSED_MS - 3_000)
    held.enter()
    held.wait(CLOSED_MS - held.now_ms - 100)
    assert [a for a in held.feed(FlattenRequested(received_ms=held.now_ms)) if isinstance(a, Cancel)]
    assert [a for a in held.wait(2_000) if isinstance(a, Submit)]  # without its stop, it had better be out


def test_a_closed_market_is_not_asked_to_close_what_an_order_in_doubt_leaves_bare() -> None:
    """The venue would cancel what rests there first and then refuse: bare at the opening, whatever had been placed."""
    held = pit(CLOSED_MS - 1_000)
    held.trade("4100")
    [stop] = sent(held.fill(99, Side.BUY, "2", "4100"))
    held.unknown(stop)
    held.now_ms = CLOSED_MS
    assert of(CloseContract, held.wait(8_000)) == []
    held.now_ms = ct("2026-11-24 17:00")
    assert of(CloseContract, held.wait(4_000))


def test_no_entry_in_a_closed_market() -> None:
    flat = pit(CLOSED_MS)
    flat.trade("4100")
    flat.signal = Signal.LONG
    assert not [a for a in flat.trade("4100", after_ms=1_000) + flat.wait(1_500) if isinstance(a, Submit)]
    assert [n for n in flat.log if n.name == "order_denied" and n.fields["reason"] == "the session is closed"]
