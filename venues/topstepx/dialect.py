"""Talking to TopstepX's two hubs: what to subscribe, what silence means on each (page 3.3, 3.5)."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from runtime.clock import Clock
from runtime.dialect import BadFrame, Mute
from runtime.rhythm import Rhythm
from venues.topstepx.frames import MARKET_EVENTS, USER_EVENTS, TopstepFrameReader
from venues.topstepx.hub import HubDialect, IsOpen, Subscription, Timing, TokenSource

__all__ = ["MarketDialect", "Timing", "UserDialect"]

log = logging.getLogger("stream")

QUOTES, TRADES, DEPTH = "GatewayQuote", "GatewayTrade", "GatewayDepth"
_FLOWS = {
    QUOTES: ("ContractQuotes", "quotes"),
    TRADES: ("ContractTrades", "trades"),
    DEPTH: ("ContractMarketDepth", "depth"),
}


class UserDialect(HubDialect):
    """Accounts, orders, positions and trades of one account. Silence means nothing here: pings prove it alive."""

    kind = "user"
    needs_all = True  # news of orders without news of fills would be worse than none

    def __init__(
        self,
        url: str,
        account_id: int,
        reader: TopstepFrameReader,
        token: TokenSource,
        refresh_token: Callable[[], None],
        clock: Clock,
        is_open: IsOpen,
        symbols: Sequence[str],
        timing: Timing,
    ) -> None:
        subs = [
            Subscription("Accounts", "GatewayUserAccount", name="account"),
            Subscription("Orders", "GatewayUserOrder", account_id, name="orders"),
            Subscription("Positions", "GatewayUserPosition", account_id, name="positions"),
            Subscription("Trades", "GatewayUserTrade", account_id, name="fills"),
        ]
        super().__init__(url, subs, reader, token, refresh_token, clock, is_open, symbols, timing)

    def _knows(self, target: str) -> bool:
        return target in USER_EVENTS


class Flow(Subscription):
    """One kind of event of one contract, with its rhythm."""

    def __init__(self, target: str, contract_id: str, symbol: str, timing: Timing) -> None:
        what, word = _FLOWS[target]
        super().__init__(what, target, contract_id, name=f"{word} for {symbol}")
        self.contract_id, self.symbol = contract_id, symbol
        first_s = timing.market_s_max if target == TRADES else timing.market_s_first  # trades may be rare
        self.rhythm = Rhythm(0.0, floor_s=timing.market_s, cap_s=timing.market_s_max, pause_s=first_s / Rhythm.FACTOR)

    def reset(self) -> None:
        super().reset()
        self.renewed_s: float | None = None  # asked for again after a silence, data still to come
        self.quiet_since_s = 0.0  # a renewal without effect is not repeated before its limit has passed again


class MarketDialect(HubDialect):
    """Quotes and trades of `contracts` (id: symbol), the book too of those in `depth` (ids)."""

    kind = "market"
    needs_all = False

    def __init__(
        self,
        url: str,
        contracts: Mapping[str, str],
        depth: Collection[str],
        reader: TopstepFrameReader,
        token: TokenSource,
        refresh_token: Callable[[], None],
        clock: Clock,
        is_open: IsOpen,
        timing: Timing,
    ) -> None:
        self._timing, self._depth = timing, set(depth)
        self._configured = frozenset(contracts)
        self._wished = self._granted = frozenset[str]()  # contracts that other threads ask for
        self._left: set[str] = set()  # asked for once: what is still on its way is no fault
        self._mutes: dict[str, int] = {}  # by contract: reconnects it did not answer
        self._flows: dict[tuple[str, str], Flow] = {}
        flows = [flow for contract_id, symbol in contracts.items() for flow in self._wanted(contract_id, symbol)]
        super().__init__(url, flows, reader, token, refresh_token, clock, is_open, list(contracts.values()), timing)

    def _wanted(self, contract_id: str, symbol: str) -> list[Flow]:
        targets = [QUOTES, TRADES, *([DEPTH] if contract_id in self._depth else [])]
        flows = [Flow(target, contract_id, symbol, self._timing) for target in targets]
        self._flows |= {(flow.target, contract_id): flow for flow in flows}
        return flows

    def watch(self, contract_ids: Collection[str]) -> None:
        """These besides the configured ones, and no others. From any thread; seen within a fraction of a second."""
        self._wished = frozenset(contract_ids)

    def opened(self, now_s: float) -> None:
        super().opened(now_s)
        for flow in self._flows.values():
            flow.rhythm.restart(now_s)

    def _knows(self, target: str) -> bool:
        return target in MARKET_EVENTS

    def _wants(self, target: str, now_s: float) -> bool:
        flow = self._flows.get((target, self._reader.contract_id))
        if flow is None:
            if self._reader.contract_id in self._left:
                return False
            raise BadFrame("not_asked_for", repr(self._reader.contract_id))
        flow.rhythm.heard(now_s)
        if not flow.acked or flow.renewed_s is not None or self._mutes:
            flow.renewed_s = None
            self._mutes.pop(flow.contract_id, None)
            if not flow.acked and flow.asked_s is not None:  # data is as good as an answer
                self._accepted(flow, now_s)
        return True

    # --- timers ---

    def tend(self, now_s: float) -> None:
        super().tend(now_s)
        if self._shaken and self._granted != self._wished:
            self._grant(self._wished, now_s)

    def _grant(self, wished: frozenset[str], now_s: float) -> None:
        for contract_id in wished - self._granted - self._configured:
            flows = self._wanted(contract_id, self._reader.symbol_of(contract_id))
            for flow in flows:
                flow.rhythm.restart(now_s)
            self._subs += flows
        gone = self._granted - wished - self._configured
        for flow in [f for f in self._flows.values() if f.contract_id in gone]:
            del self._flows[flow.target, flow.contract_id]
            self._subs.remove(flow)
            if flow.asked_s is not None:
                self._invoke(f"Unsubscribe{flow.what}", flow)
        self._left |= gone
        self._granted = wished
        self._ask(now_s)

    def _tend_second(self, now_s: float) -> None:
        super()._tend_second(now_s)
        now_ms = self._clock.now_ms()
        for flow in self._flows.values():
            if not self._is_open(flow.symbol, now_ms):
                flow.rhythm.restart(now_s)  # nothing is expected of it; its silence counts from the opening
                flow.renewed_s = None
            elif flow.acked:
                self._tend_flow(flow, now_s)

    def _tend_flow(self, flow: Flow, now_s: float) -> None:
        """Far beyond its rhythm: subscribe anew. If the whole contract stays silent then: connect anew."""
        rhythm = flow.rhythm
        if flow.renewed_s is None:
            if now_s - max(rhythm.heard_s, flow.quiet_since_s) > rhythm.limit_s:
                log.warning("market_silent name='%s' silent_s=%.1f asking again", flow.name, rhythm.silent_s(now_s))
                self._invoke(f"Unsubscribe{flow.what}", flow)
                flow.tries = 0
                self._call(flow, now_s)
                flow.renewed_s = now_s
            return
        if now_s - flow.renewed_s <= self._timing.repair_s:
            return
        rhythm.pause_s = max(rhythm.pause_s, rhythm.silent_s(now_s))  # if it is no fault, it is its rhythm
        since_s, flow.renewed_s, flow.quiet_since_s = flow.renewed_s, None, now_s
        siblings = [f for f in self._flows.values() if f.contract_id == flow.contract_id]
        if flow.target != QUOTES or any(f.rhythm.heard_s >= since_s for f in siblings):
            return  # a market without trades is no dead one
        mutes = self._mutes[flow.contract_id] = self._mutes.get(flow.contract_id, 0) + 1
        if mutes == 1:
            raise Mute(f"{flow.symbol} is silent for {rhythm.silent_s(now_s):.1f}s")
        if mutes == 2:  # it did not come back with a new connection: the others are not to suffer for it
            log.error("market_mute symbol=%s subscribed, and says nothing", flow.symbol)
