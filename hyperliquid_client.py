"""REST of Hyperliquid perpetuals: reads, signed orders, what became of an order in doubt (protocol page 2 to 8)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from core.messages import (
    AccountSnapshot,
    BarHistory,
    CancelAnswered,
    ClockOffset,
    CloseAnswered,
    CloseContract,
    Modify,
    ModifyAnswered,
    OrderSettled,
    OrderUnknown,
    PolledPrice,
    RequestBudget,
    WorkingOrders,
)
from core.model import Bar, Fill, Instrument, Order, OrderType, VenuePosition
from runtime.budget import WeightBudget
from runtime.clock import Clock
from runtime.venue import CredentialsRefused, OrderAnswer, VenueUnavailable, believed
from runtime.warm_http import NETWORK_ERRORS, checked_url, tls_context
from venues.hyperliquid import fills, info, wire
from venues.hyperliquid.rest import HyperliquidRest, Timeouts, checked, network_text
from venues.hyperliquid.settle import Settler
from venues.hyperliquid.signing import Signer, address_bytes

MAINNET_URL = "https://api.hyperliquid.xyz"
TESTNET_URL = "https://api.hyperliquid-testnet.xyz"
BOOKS_MAX = 5  # markets polled by their books, which carry a time; more are polled by allMids, which does not
MARKS_EVERY_MS = 10_000
MODE_EVERY_MS = 60_000  # the owner can change the account's mode at any time (page 2.4)
FILLS_PAGE = 2000
FILLS_PAGES_MAX = 8  # the venue reaches back 10000 fills
BARS_MAX = 5000
ROOM_MIN = 400  # weight that a glance at the positions leaves to all else: entries begin at 300
T = TypeVar("T")


class Credentials(msgspec.Struct, frozen=True):
    """What the key may do: it is the account's own, or that of an agent which ends at expires_ms, if that is known."""

    is_agent: bool
    expires_ms: int | None = None


class HyperliquidClient:
    """A VenueClient for one thread. clone() makes another for another thread, sharing what never changes.

    `account` is the master or sub-account that is traded, never the agent. Read instruments() before cloning.
    """

    watch_s = 1.0  # 120 of the 1,200 of weight a minute (page 7.1)

    def __init__(
        self,
        api_url: str,
        signer: Signer | None,
        account: str | None,
        *,
        clock: Clock,
        budget: WeightBudget,
        instruments: dict[str, Instrument] | None = None,
        vault_address: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        for address in (account, vault_address):
            if address is not None:
                address_bytes(address)
        self._api_url = api_url
        self._signer = signer
        self._account = account.lower() if account else None
        self._vault_address = vault_address.lower() if vault_address else None
        self._clock, self._budget = clock, budget
        self._timeouts = timeouts or Timeouts()
        self._instruments = instruments or {}
        self._isolated_only: frozenset[str] = frozenset()
        self._context = tls_context() if checked_url(api_url).scheme == "https" else None
        self._start()

    def _start(self) -> None:
        """What belongs to this thread alone."""
        self._rest = HyperliquidRest(self._api_url, self._clock, self._budget, self._timeouts, self._context)
        self._offset_ms = 0  # venue clock minus ours, as last measured by this thread
        self._mode: str | None = None
        self._mode_ms = 0
        self._marks_ms = 0

    def clone(self) -> "HyperliquidClient":
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._start()
        return other

    def close(self) -> None:
        self._rest.close()

    @property
    def handshakes(self) -> int:
        """How often the connection for orders was opened."""
        return self._rest.warm.connects

    # --- reads ------------------------------------------------------------------------------------------------------

    def instruments(self) -> dict[str, Instrument]:
        meta = self._rest.info({"type": "meta"}, info.Meta)
        self._instruments = checked("meta", info.instruments_of, meta)
        self._isolated_only = info.isolated_only_of(meta)
        return self._instruments

    def account(self) -> AccountSnapshot:
        """Positions, orders and equity; of a unified account equity is a lower bound (info.unified_equity)."""
        requested_ms = self._clock.now_ms()
        state = self._ask("clearinghouseState", info.Clearinghouse)  # the cheapest first: a venue that is away says so
        unified = self._account_mode() in info.UNIFIED
        spot = self._ask("spotClearinghouseState", info.SpotState) if unified else None
        orders = self.working_orders().orders
        if spot is None:
            equity, available = checked("clearinghouseState", info.classic_equity, state)
        else:
            equity, available = checked("spotClearinghouseState", info.unified_equity, state, spot)
        snapshot = AccountSnapshot(
            received_ms=self._clock.now_ms(),
            equity=equity,
            available=available,
            positions=checked("clearinghouseState", info.positions_of, state),
            orders=orders,
            requested_ms=requested_ms,
            time_ms=state.time,
            requests_left=max(0, self._budget.capacity - self._budget.used()),
        )
        return believed(snapshot, self._offset_ms)

    def has_room(self) -> bool:
        return self._budget.capacity - self._budget.used() >= ROOM_MIN

    def positions(self) -> tuple[VenuePosition, ...]:
        state = self._ask("clearinghouseState", info.Clearinghouse)
        return checked("clearinghouseState", info.positions_of, state)

    def working_orders(self) -> WorkingOrders:
        requested_ms = self._clock.now_ms()
        rows = self._ask("frontendOpenOrders", list[info.OrderRow])
        orders = checked("frontendOpenOrders", info.working_orders_of, rows)
        listing = WorkingOrders(received_ms=self._clock.now_ms(), orders=orders, requested_ms=requested_ms)
        return believed(listing, self._offset_ms)

    def hurry(self, on: bool) -> None:
        """While on, reads may use what the budget keeps for actions: an exit or a stop waits for them."""
        self._rest.is_urgent = on

    def fills_since(self, time_ms: int) -> Sequence[Fill]:
        rows: dict[tuple[str, int], fills.FillRow] = {}
        start_ms = time_ms
        for _ in range(FILLS_PAGES_MAX):
            span = {"startTime": start_ms, "aggregateByTime": False}
            request = {"type": "userFillsByTime", "user": self._user(), **span}
            page = self._rest.info(request, list[fills.FillRow], 1)
            self._rest.charge_rows(len(page), 20)
            rows.update((fills.fill_key(row), row) for row in page)
            if len(page) < FILLS_PAGE:
                perps = [row for row in rows.values() if info.is_first_dex_perp(row.coin)]
                return checked("userFillsByTime", self._fills, perps)
            newest_ms = max(row.time for row in page)
            if newest_ms <= start_ms:
                break
            start_ms = newest_ms
        raise VenueUnavailable("userFillsByTime: more fills than the venue hands out")

    def _fills(self, rows: list[fills.FillRow]) -> tuple[Fill, ...]:
        received_ms = self._clock.now_ms()
        found = [fills.fill_of(row, self._user(), received_ms) for row in rows]
        return fills.in_order([believed(fill, self._offset_ms) for fill in found])

    def bars(self, symbol: str, timeframe_ms: int, count: int) -> tuple[Bar, ...]:
        interval = info.INTERVALS.get(timeframe_ms)
        if interval is None:
            return ()
        now_ms = self._clock.now_ms() + self._offset_ms
        start_ms = now_ms - (min(count, BARS_MAX) + 1) * timeframe_ms  # one to spare for a clock that is off
        span = {"startTime": max(0, start_ms), "endTime": now_ms + timeframe_ms}
        request = {"type": "candleSnapshot", "req": {"coin": symbol, "interval": interval, **span}}
        rows = self._rest.info(request, list[info.Candle])
        self._rest.charge_rows(len(rows), 60)
        bars = {row.t: checked("candleSnapshot", info.bar_of, row) for row in rows}
        newest = tuple(bars[open_ms] for open_ms in sorted(bars))[-count:]
        return believed(BarHistory(symbol=symbol, bars=newest, received_ms=now_ms), 0).bars

    def polled_prices(self, symbols: Sequence[str]) -> Sequence[PolledPrice]:
        """Up to BOOKS_MAX markets with venue time and both sides; more by their mids alone, which carry no time.

        A market without a price (one side of its book is empty, no mid) is left out.
        """
        if len(symbols) <= BOOKS_MAX:
            return [price for symbol in symbols if (price := self._polled_book(symbol)) is not None]
        mids = self._rest.info({"type": "allMids"}, dict[str, Decimal])
        received_ms = self._clock.now_ms()
        marks = self._polled_marks()
        return [
            PolledPrice(
                received_ms=received_ms,
                symbol=symbol,
                price=checked("allMids", info.above_zero, mids[symbol], "a mid"),
                bid=None,
                ask=None,
                mark=marks.get(symbol),
                time_ms=None,
            )
            for symbol in symbols
            if symbol in mids
        ]

    def _polled_book(self, symbol: str) -> PolledPrice | None:
        book = self._rest.info({"type": "l2Book", "coin": symbol}, info.BookAnswer, with_reserve=True)
        bid, ask = checked("l2Book", info.best_prices, book, symbol)
        if bid is None or ask is None:
            return None
        polled = PolledPrice(
            received_ms=self._clock.now_ms(),
            symbol=symbol,
            price=(bid + ask) / 2,
            bid=bid,
            ask=ask,
            mark=None,
            time_ms=book.time,
        )
        return believed(polled, self._offset_ms)

    def _polled_marks(self) -> dict[str, Decimal]:
        """Marks every MARKS_EVERY_MS, {} between: at 20 a read they would eat the budget, and old ones mislead."""
        if 0 <= self._clock.now_ms() - self._marks_ms < MARKS_EVERY_MS:
            return {}
        both = self._rest.info({"type": "metaAndAssetCtxs"}, info.MetaAndContexts)
        self._marks_ms = self._clock.now_ms()
        return checked("metaAndAssetCtxs", info.marks_of, both)

    def remember_left(self, left: int | None, at_ms: int) -> None:
        self._rest.suppose_spent(left, at_ms)

    def request_budget(self) -> RequestBudget:
        limit = self._ask("userRateLimit", info.RateLimit)
        return RequestBudget(received_ms=self._clock.now_ms(), used=limit.nRequestsUsed, cap=limit.nRequestsCap)

    def measure_clock(self) -> ClockOffset:
        before_ms, venue_ms, after_ms = self._rest.venue_time()
        offset_ms = venue_ms - (before_ms + after_ms) // 2
        measured = ClockOffset(received_ms=after_ms, offset_ms=offset_ms, round_trip_ms=after_ms - before_ms)
        self._offset_ms = believed(measured, 0).offset_ms
        return measured

    def _ask(self, what: str, shape: type[T], **keys: object) -> T:
        """A read about our account."""
        return self._rest.info({"type": what, "user": self._user(), **keys}, shape)

    def _user(self) -> str:
        if self._account is None:
            raise CredentialsRefused("no account address is configured: set HYPERLIQUID_ACCOUNT_ADDRESS")
        return self._account

    def _account_mode(self) -> str:
        if self._mode is None or not 0 <= self._clock.now_ms() - self._mode_ms < MODE_EVERY_MS:
            self._mode = self._ask("userAbstraction", str)
            self._mode_ms = self._clock.now_ms()
        return self._mode

    # --- credentials ------------------------------------------------------------------------------------------------

    def check_credentials(self) -> Credentials:
        """Raises CredentialsRefused unless the key may trade for the account, VenueUnavailable if nobody can say."""
        if self._signer is None:
            raise CredentialsRefused("no private key is configured: set HYPERLIQUID_PRIVATE_KEY")
        account, key = self._user(), self._signer.address
        role = self._role(account)
        if role.role == "agent":
            raise CredentialsRefused("the account address is an agent's: use the address of its master account")
        if role.role == "missing":
            raise CredentialsRefused("the venue does not know the account: deposit first, or check the network")
        master = account
        if role.role == "subAccount" and role.data and role.data.master:
            master = role.data.master.lower()
        if master != account and self._vault_address != account:
            raise CredentialsRefused("the account is a sub-account: it must also be set as the vault address")
        if key in (account, master):
            return Credentials(is_agent=False)
        return self._check_agent(master, key)

    def _check_agent(self, master: str, key: str) -> Credentials:
        named = {agent.address.lower(): agent for agent in self._agents(master)}
        if key in named:
            expires_ms = named[key].validUntil
            if expires_ms is not None and expires_ms <= self._clock.now_ms() + self._offset_ms:
                raise CredentialsRefused("the agent key has expired: approve a new one")
            return Credentials(is_agent=True, expires_ms=expires_ms)
        role = self._role(key)  # the unnamed agent is in no list
        if role.role == "agent" and role.data and (role.data.user or "").lower() == master:
            return Credentials(is_agent=True)
        raise CredentialsRefused("the private key is neither the account's own nor that of an agent it has approved")

    def _role(self, address: str) -> info.UserRole:
        return self._rest.info({"type": "userRole", "user": address}, info.UserRole)

    def _agents(self, master: str) -> list[info.ExtraAgent]:
        return self._rest.info({"type": "extraAgents", "user": master}, list[info.ExtraAgent])

    # --- actions ----------------------------------------------------------------------------------------------------

    def presign(self, order: Order) -> bytes:
        """Raises ValueError for an order that must not be sent, CredentialsRefused without a key."""
        action = wire.order_action(order, self._asset_id(order.symbol))
        return self._signed(action, order.nonce, order.expires_ms)

    def submit(self, order: Order, presigned: bytes | None = None) -> OrderAnswer:
        body = presigned if presigned is not None else self.presign(order)
        is_exit = order.reduce_only and order.type is not OrderType.STOP
        try:
            answer = self._rest.exchange(body, timeout_s=None if is_exit else self._timeouts.bare_s)
        except NETWORK_ERRORS as e:
            return wire.unknown(order, network_text(e), self._clock.now_ms())
        return wire.order_answer(order, answer.status, answer.body, self._clock.now_ms())

    def rehearse(self) -> bool:
        return self._rest.warm.rehearse()

    def begin(self, presigned: bytes) -> bool:
        return self._rest.begin_exchange(presigned)

    def finish(self, order: Order) -> OrderAnswer:
        try:
            answer = self._rest.finish_exchange()
        except NETWORK_ERRORS as e:
            return wire.unknown(order, network_text(e), self._clock.now_ms())
        return wire.order_answer(order, answer.status, answer.body, self._clock.now_ms())

    def begin_cancel(self, order_id: int) -> bool:
        """No: it would have to be signed, and no exit begins with one."""
        return False

    def cancel(self, symbol: str, order_id: int, nonce: int) -> CancelAnswered:
        return self._cancel(symbol, order_id, wire.cancel_action(self._asset_id(symbol), order_id), nonce)

    def cancel_by_client_id(self, symbol: str, client_id: str, nonce: int) -> CancelAnswered:
        """As cancel, with order_id 0 in the answer. "Gone" does not bind an order that is still under way."""
        return self._cancel(symbol, 0, wire.cancel_by_client_id_action(self._asset_id(symbol), client_id), nonce)

    def _cancel(self, symbol: str, order_id: int, action: dict[str, Any], nonce: int) -> CancelAnswered:
        try:
            answer = self._rest.exchange(self._signed(action, nonce))
        except NETWORK_ERRORS as e:
            return CancelAnswered(
                received_ms=self._clock.now_ms(), symbol=symbol, order_id=order_id, gone=False, error=network_text(e)
            )
        return wire.cancel_answer(symbol, order_id, answer.status, answer.body, self._clock.now_ms())

    def modify(self, action: Modify) -> ModifyAnswered:
        raise AssertionError("a stop is moved by placing the tighter one and canceling the other (page 8.4)")

    def close_outside(self, action: CloseContract) -> CloseAnswered:
        raise AssertionError("no guard closes markets outside the config here")

    def set_leverage(self, symbol: str, leverage: int, nonce: int) -> None:
        """Keeps the market's margin mode as the user set it; asks the venue for nothing when nothing changes."""
        asset_id = self._asset_id(symbol)
        now = self._ask("activeAssetData", info.ActiveAsset, coin=symbol)
        if now.leverage.value == leverage:
            return
        is_cross = now.leverage.type == "cross" and symbol not in self._isolated_only
        try:
            answer = self._rest.exchange(self._signed(wire.leverage_action(asset_id, is_cross, leverage), nonce))
        except NETWORK_ERRORS as e:
            raise VenueUnavailable(f"updateLeverage: {network_text(e)}") from None
        said = wire.default_answer(answer.status, answer.body)
        if isinstance(said, wire.Refused):
            raise ValueError(f"leverage {leverage} for {symbol}: {said.text}")
        if said is not None:
            raise VenueUnavailable(f"updateLeverage: {said.text}", status=answer.status)

    def settle(self, order: Order, noops_sent: int) -> OrderSettled | OrderUnknown:
        noop = self._signed(wire.NOOP, order.nonce)  # the nonce belongs to the signer: no vault, no expiry
        settler = Settler(self._rest, self._user(), self._clock, self._timeouts.settle_s, self._offset_ms)
        return settler.settle(order, noop, noops_sent)

    def _signed(self, action: dict[str, Any], nonce: int, expires_after: int | None = None) -> bytes:
        if self._signer is None:
            raise CredentialsRefused("no private key is configured: set HYPERLIQUID_PRIVATE_KEY")
        vault_address = None if action is wire.NOOP else self._vault_address
        signature = self._signer.sign_action(action, nonce, vault_address, expires_after)
        return wire.request_body(action, nonce, signature, vault_address, expires_after)

    def _asset_id(self, symbol: str) -> int:
        if symbol not in self._instruments:
            raise ValueError(f"{symbol} is no market of this venue, or instruments() was not read")
        return self._instruments[symbol].asset_id
