"""Bars and polled prices of TopstepX: there is no quote call, so the newest bar is the price (protocol page 2.4)."""

from collections.abc import Sequence

from core.messages import BarHistory, PolledPrice
from core.model import Bar, Instrument
from runtime.clock import Clock
from runtime.venue import believed
from venues.topstepx import bars as venue_bars
from venues.topstepx import shapes
from venues.topstepx.offset import OffsetBounds
from venues.topstepx.rest import BARS, Envelope, TopstepRest, checked

PAGE = 5_000  # the venue gives 20000, which would hold up other threads
PAGES_MAX = 8
AHEAD_MS = 120_000  # of endTime, for a clock of ours that is behind
POLL_GAP_MS = 900  # between price reads of all markets together: 33 of the 50 bar requests in 30 s
POLL_SPAN_MS = 3_600_000  # how far back a polled price may lie, so that old data are seen to be old
POLL_BARS = 5


class _Bars(Envelope):
    bars: list[shapes.BarRow] | None = None


class PriceReader:
    """Owned by one thread."""

    def __init__(self, rest: TopstepRest, clock: Clock, offset: OffsetBounds) -> None:
        self._rest, self._clock, self._offset = rest, clock, offset
        self._poll_ms: int | None = None  # our clock, of the last price read
        self._polled_ms: dict[str, int] = {}

    def bars(self, instrument: Instrument, timeframe_ms: int, count: int) -> tuple[Bar, ...]:
        """The newest `count`, oldest first; () where the venue offers nothing to make them of."""
        asked_ms = venue_bars.asked_ms(timeframe_ms)
        if asked_ms is None:
            return ()
        needed = count * (timeframe_ms // asked_ms)
        end_ms = self._venue_now_ms() + AHEAD_MS
        start_ms = end_ms - AHEAD_MS - 2 * needed * asked_ms - venue_bars.CLOSED_MS
        found: dict[int, Bar] = {}
        for _ in range(PAGES_MAX):
            limit = min(PAGE, needed - len(found))
            page = {bar.open_ms: bar for bar in self._page(instrument, asked_ms, start_ms, end_ms, limit)}
            if not page.keys() - found.keys():
                break
            found |= page
            if len(found) >= needed:
                break
            end_ms = min(found) - 1
        return venue_bars.merged(found.values(), timeframe_ms)[-count:]

    def _page(self, instrument: Instrument, timeframe_ms: int, start_ms: int, end_ms: int, limit: int) -> list[Bar]:
        """In any order. Raises VenueUnavailable."""
        unit, number = venue_bars.unit_of(timeframe_ms)
        body = {
            "contractId": instrument.contract_id,
            "live": False,  # true gives nothing at all on simulated accounts (page 2.3)
            "startTime": shapes.time_text(start_ms),
            "endTime": shapes.time_text(end_ms),
            "unit": unit,
            "unitNumber": number,
            "limit": limit,
            "includePartialBar": True,
        }
        rows = self._rest.ask(BARS, body, _Bars).bars or []
        bars = tuple(checked(BARS, shapes.bar_of, row, timeframe_ms) for row in rows)
        history = BarHistory(symbol=instrument.symbol, bars=bars, received_ms=self._clock.now_ms())
        return list(believed(history, self._offset.middle_ms).bars)

    def polled(self, instruments: Sequence[Instrument]) -> Sequence[PolledPrice]:
        """The newest close of the one-second bars of those that may be asked for now.

        `time_ms` is the opening of that second, so a price is never thought younger than it is. A market without a
        trade in the last hour is left out.
        """
        prices = []
        for instrument in self._due(instruments):
            now_ms = self._venue_now_ms()
            bars = self._page(instrument, venue_bars.SECOND_MS, now_ms - POLL_SPAN_MS, now_ms + AHEAD_MS, POLL_BARS)
            if bars:
                prices.append(self._polled(instrument.symbol, max(bars, key=lambda bar: bar.open_ms)))
        return prices

    def _due(self, instruments: Sequence[Instrument]) -> list[Instrument]:
        """As many as the time since the last read allows, longest unasked first."""
        now_ms, count = self._clock.now_ms(), len(instruments)
        if self._poll_ms is not None and now_ms >= self._poll_ms:
            count = min(count, (now_ms - self._poll_ms) // POLL_GAP_MS)
        if count == 0:
            return []
        self._poll_ms = now_ms
        due = sorted(instruments, key=lambda instrument: self._polled_ms.get(instrument.symbol, 0))[:count]
        self._polled_ms |= dict.fromkeys((instrument.symbol for instrument in due), now_ms)
        return due

    def _polled(self, symbol: str, bar: Bar) -> PolledPrice:
        return PolledPrice(
            received_ms=self._clock.now_ms(),
            symbol=symbol,
            price=bar.close,
            bid=None,
            ask=None,
            mark=None,
            time_ms=bar.open_ms,
        )

    def _venue_now_ms(self) -> int:
        return self._clock.now_ms() + self._offset.middle_ms
