"""REST of TopstepX futures (ProjectX gateway): reads, orders, what became of one in doubt (protocol page 1, 2)."""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

from core import working
from core.messages import (
    AccountSnapshot,
    CancelAnswered,
    ClockOffset,
    CloseAnswered,
    CloseContract,
    ContractRolled,
    Modify,
    ModifyAnswered,
    OrderSettled,
    OrderUnknown,
    PolledPrice,
    RejectReason,
    RequestBudget,
    WorkingOrders,
)
from core.model import Bar, Fill, Instrument, Order, VenuePosition
from runtime.clock import Clock
from runtime.venue import CredentialsRefused, OrderAnswer, VenueUnavailable, believed
from runtime.warm_http import checked_url, tls_context
from venues.topstepx import shapes, wire
from venues.topstepx.accounts import AccountRow, pick
from venues.topstepx.contracts import Catalogue, ContractBook
from venues.topstepx.offset import OffsetBounds
from venues.topstepx.orders import SEARCH_OPEN, Closed, OrderDesk, OrdersAnswer
from venues.topstepx.prices import PriceReader
from venues.topstepx.provider import TokenProvider
from venues.topstepx.rest import Envelope, RequestLimits, Timeouts, TopstepRest, checked
from venues.topstepx.settle import Settler
from venues.topstepx.token import TokenKeeper

POSITIONS = "Position/searchOpen"
LIVE_URL = "https://api.topstepx.com"
ROOM_MIN = 120  # requests a minute that a glance at the positions leaves to all else: entries begin at 100
GONE_AGAIN_S = 1.0  # an account that is missing is looked for once more before the bot is stopped over it


class _Accounts(Envelope):
    accounts: list[AccountRow] | None = None


class _Positions(Envelope):
    positions: list[shapes.PositionRow] | None = None


class _Trades(Envelope):
    trades: list[shapes.TradeRow] | None = None


class TopstepClient:
    """A VenueClient for one thread. clone() makes another for another thread; token, limits and contracts are shared.

    `account` is a name or an id, and no other account is ever traded. `symbols` are the configured tickers: a position
    held in an old month keeps that month in use. Read check_credentials() and instruments() before cloning.
    """

    watch_s = 1.2  # 50 of 200 requests a minute (page 1.6)

    def __init__(
        self,
        api_url: str,
        username: str,
        api_key: str,
        account: str,
        *,
        clock: Clock,
        budget: RequestLimits | None = None,
        token: TokenKeeper | None = None,
        symbols: Collection[str] = (),
        instruments: dict[str, Instrument] | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Raises ValueError for an address that may not be used."""
        self._api_url, self._wanted, self._clock = api_url, account, clock
        self._limits = budget or RequestLimits(clock)
        self._keeper = token or TokenKeeper(username, api_key, clock)
        self._keeper.hide.add(account)
        self._timeouts = timeouts or Timeouts()
        self._offset = OffsetBounds()
        self._book = ContractBook(symbols, instruments)
        self._chosen: list[int] = []  # the id of the account, once it is known; one list for all clones
        self._context = tls_context() if checked_url(api_url).scheme == "https" else None
        self._start()

    def _start(self) -> None:
        """What belongs to this thread alone."""
        self._rest = self._make_rest()
        self._catalogue = Catalogue(self._rest, self._book)
        self._prices = PriceReader(self._rest, self._clock, self._offset)
        self._desk = OrderDesk(self._rest, self._clock, self._keeper.hide)

    def _make_rest(self) -> TopstepRest:
        return TopstepRest(
            self._api_url, self._clock, self._limits, self._keeper, self._offset, self._timeouts, self._context
        )

    def clone(self) -> "TopstepClient":
        other = object.__new__(TopstepClient)
        other.__dict__.update(self.__dict__)
        other._start()
        return other

    def close(self) -> None:
        self._rest.close()

    def token_provider(self) -> TokenProvider:
        """With a connection of its own; `refused` is what the hubs call after a 401."""
        return TokenProvider(self._make_rest())

    @property
    def handshakes(self) -> int:
        """How often the connection for orders was opened."""
        return self._rest.warm.connects

    # --- the account ------------------------------------------------------------------------------------------------

    def check_credentials(self) -> AccountRow:
        """Log in and find the account. Raises CredentialsRefused for a login or an account that is refused."""
        return self._account_row()

    @property
    def account_id(self) -> int:
        """For the user hub. Raises CredentialsRefused, VenueUnavailable where it must first be asked for."""
        if not self._chosen:
            self._account_row()
        return self._chosen[0]

    def _account_row(self) -> AccountRow:
        """Raises CredentialsRefused when the account is gone: nobody may trade another one in its place (page 2.2)."""
        try:
            return self._find_account()
        except CredentialsRefused:
            if not self._chosen:
                raise
            self._rest.pause(GONE_AGAIN_S)  # one odd answer must not end a bot
            return self._find_account()

    def _find_account(self) -> AccountRow:
        """Locked accounts are listed too, when asked for more than the active ones."""
        what = "Account/search"
        answer = self._rest.ask(what, {"onlyActiveAccounts": False}, _Accounts)
        rows = checked(what, shapes.present, answer.accounts, "accounts")
        if self._chosen:
            row = next((row for row in rows if row.id == self._chosen[0]), None)
            if row is None:
                raise CredentialsRefused("the venue no longer lists the configured account: no other is traded instead")
            return row
        row = pick(rows, self._wanted)
        self._keeper.hide.add(row.name, str(row.id))
        self._chosen.append(row.id)
        return row

    def account(self) -> AccountSnapshot:
        """Positions, orders and balance. Raises CredentialsRefused when the account is gone: that must stop the bot."""
        requested_ms = self._clock.now_ms()
        row = self._account_row()
        time_ms = self._clock.now_ms() + self._offset.low_ms  # positions are not older than this
        positions = self.positions()
        orders = self.working_orders().orders
        balance = checked("Account/search", shapes.finite, row.balance, "balance")
        snapshot = AccountSnapshot(
            received_ms=self._clock.now_ms(),
            equity=balance,
            available=balance,
            positions=positions,
            orders=orders,
            requested_ms=requested_ms,
            time_ms=time_ms,
            balance=balance,
            has_open_pnl=False,
            can_trade=row.canTrade,
            requests_left=self._limits.left(),
        )
        return believed(snapshot, self._offset.middle_ms)

    def has_room(self) -> bool:
        return self._limits.left() >= ROOM_MIN

    def positions(self) -> tuple[VenuePosition, ...]:
        """Of every contract of the account, configured or not."""
        found = []
        for row in self._position_rows():
            instrument = self._catalogue.instrument(row.contractId)
            position = checked(POSITIONS, shapes.position_of, row, instrument.symbol, instrument.multiplier)
            if position.size != 0:
                found.append(position)
        return tuple(found)

    def _position_rows(self) -> list[shapes.PositionRow]:
        answer = self._rest.ask(POSITIONS, {"accountId": self.account_id}, _Positions)
        return checked(POSITIONS, shapes.present, answer.positions, "positions")

    def working_orders(self) -> WorkingOrders:
        """Suspended bracket children are not among them (page 2.5)."""
        requested_ms = self._clock.now_ms()
        rows = self._open_rows()
        orders = tuple(
            checked(SEARCH_OPEN, shapes.working_order, row, self._catalogue.instrument(row.contractId).symbol)
            for row in rows
            if row.status not in shapes.TERMINAL
        )
        listing = WorkingOrders(received_ms=self._clock.now_ms(), orders=orders, requested_ms=requested_ms)
        return believed(listing, self._offset.middle_ms)

    def _open_rows(self) -> list[shapes.OrderRow]:
        answer = self._rest.ask(SEARCH_OPEN, {"accountId": self.account_id}, OrdersAnswer)
        return checked(SEARCH_OPEN, shapes.present, answer.orders, "orders")

    def hurry(self, on: bool) -> None:
        """While on, reads may use what the limits keep for orders: an exit or a stop waits for them."""
        self._rest.is_urgent = on

    def fills_since(self, time_ms: int) -> Sequence[Fill]:
        what = "Trade/search"
        body = {"accountId": self.account_id, "startTimestamp": shapes.time_text(time_ms)}
        trades = checked(what, shapes.present, self._rest.ask(what, body, _Trades, 1).trades, "trades")
        rows = {row.id: row for row in trades if not row.voided}
        received_ms = self._clock.now_ms()
        fills = []
        for row in rows.values():
            symbol = self._catalogue.instrument(row.contractId).symbol
            fills.append(checked(what, shapes.fill_of, row, symbol, self._book.ticker(row.contractId), received_ms))
        for fill in fills:
            believed(fill, self._offset.middle_ms)
        return sorted(fills, key=lambda fill: (fill.time_ms, int(fill.fill_id)))

    # --- contracts --------------------------------------------------------------------------------------------------

    def instruments(self) -> dict[str, Instrument]:
        """The active month of every product by ticker; of a configured one the month with something still in it."""
        active = self._catalogue.active()
        held = self._held_months(active) if self._book.configured else []
        self._book.use([*active.values(), *held])
        return dict(self._book.in_use)

    def _held_months(self, active: dict[str, Instrument]) -> list[Instrument]:
        """Months traded no longer with something in them, unless there is in the active one as well.

        An order of ours that was left there would open a position nobody watches: in use, it is found and withdrawn.
        """
        ids = [row.contractId for row in self._position_rows() if row.size]
        ids += [row.contractId for row in self._open_rows() if working.TAG.fullmatch(row.customTag or "")]
        held = {contract_id: shapes.instrument_of(self._catalogue.contract(contract_id)) for contract_id in ids}
        return [
            instrument
            for instrument in held.values()
            if instrument.symbol in self._book.configured
            and (instrument.symbol not in active or active[instrument.symbol].contract_id not in held)
        ]

    def use(self, instruments: Iterable[Instrument]) -> None:
        """Orders under these tickers go to these months from now on, for all clones: after a roll, when flat."""
        self._book.use(instruments)

    def rolled(self, symbols: Sequence[str]) -> list[ContractRolled]:
        """Those of `symbols` whose active month is not the one in use; ask once a day. Nothing is switched here."""
        active = self._catalogue.active()
        return [
            ContractRolled(received_ms=self._clock.now_ms(), symbol=symbol, instrument=active[symbol])
            for symbol in symbols
            if symbol in active and active[symbol].contract_id != self._book.traded(symbol).contract_id
        ]

    def instrument_of(self, contract_id: str) -> Instrument:
        """Of any contract, under the name the bot calls it by. Raises VenueUnavailable."""
        return self._catalogue.instrument(contract_id)

    def search_contracts(self, text: str) -> list[shapes.Contract]:
        """At most 20, and more than `text` alone: NQ finds ENQ and MNQ. For people, not for choosing a month."""
        return self._catalogue.search(text)

    # --- prices, clock, limits --------------------------------------------------------------------------------------

    def bars(self, symbol: str, timeframe_ms: int, count: int) -> tuple[Bar, ...]:
        return self._prices.bars(self._book.traded(symbol), timeframe_ms, count)

    def polled_prices(self, symbols: Sequence[str]) -> Sequence[PolledPrice]:
        """Those that may be asked for now, longest unasked first; () when it is too early to ask again."""
        return self._prices.polled([self._book.traded(symbol) for symbol in symbols])

    def measure_clock(self) -> ClockOffset:
        """By the Date header, in whole seconds: `round_trip_ms` is twice the error, up to 1000 more than the trip's."""
        after_ms, low_ms, high_ms = self._rest.measure_clock()
        self._rest.renew_when_due()
        offset_ms = (low_ms + high_ms) // 2
        measured = ClockOffset(received_ms=after_ms, offset_ms=offset_ms, round_trip_ms=high_ms - low_ms)
        return believed(measured, 0)

    def remember_left(self, left: int | None, at_ms: int) -> None:
        if left is not None:
            self._limits.rest.remember(left, at_ms)

    def request_budget(self) -> RequestBudget | None:
        """None: the venue counts requests in a window, which RequestLimits keeps, and orders are not used up."""
        return None

    def set_leverage(self, symbol: str, leverage: int, nonce: int) -> None:
        raise ValueError("futures have no leverage to set: remove it from the config")

    # --- orders -----------------------------------------------------------------------------------------------------

    def presign(self, order: Order) -> bytes:
        """Raises ValueError for an order that must not be sent."""
        return wire.order_body(order, self.account_id, self._book.traded(order.symbol))

    def submit(self, order: Order, presigned: bytes | None = None) -> OrderAnswer:
        until_ms, now_ms = self._until_ms(order), self._clock.now_ms()
        if until_ms is not None and now_ms > until_ms:
            return wire.rejected(order, RejectReason.EXPIRED, "not sent: it had waited too long", now_ms)
        try:
            body = presigned if presigned is not None else self.presign(order)
        except (VenueUnavailable, CredentialsRefused) as e:  # the account is not known yet, and cannot be asked for
            return self._desk.not_executed(order, e)
        return self._desk.submit(order, body, until_ms)

    def rehearse(self) -> bool:
        return self._keeper.token is not None and self._rest.warm.rehearse()

    def begin(self, presigned: bytes) -> bool:
        return self._rest.begin(wire.PLACE, presigned)

    def finish(self, order: Order) -> OrderAnswer:
        return self._desk.finish(order, self._until_ms(order))

    def _until_ms(self, order: Order) -> int | None:
        """Our clock: later than this the order is not sent. The venue has no expiry to leave that to."""
        return None if order.expires_ms is None else order.expires_ms - self._offset.low_ms

    def begin_cancel(self, order_id: int) -> bool:
        return bool(self._chosen) and self._desk.begin_cancel(self._chosen[0], order_id)

    def cancel(self, symbol: str, order_id: int, nonce: int) -> CancelAnswered:
        """Waits about a second for the order's end. `gone` also when a fill was faster, or nobody knows the order."""
        try:
            return self._desk.cancel(self.account_id, symbol, order_id)
        except (VenueUnavailable, CredentialsRefused) as e:
            return CancelAnswered(
                received_ms=self._clock.now_ms(), symbol=symbol, order_id=order_id, gone=False, error=str(e)
            )

    def modify(self, action: Modify) -> ModifyAnswered:
        """Raises ValueError for a price off the tick."""
        instrument = self._book.traded(action.symbol)
        try:
            return self._desk.modify(self.account_id, action, instrument)
        except (VenueUnavailable, CredentialsRefused) as e:
            return ModifyAnswered(
                received_ms=self._clock.now_ms(),
                symbol=action.symbol,
                order_id=action.order_id,
                done=None,
                reason=None,
                error=str(e),
            )

    def settle(self, order: Order, noops_sent: int) -> OrderSettled | OrderUnknown:
        """Takes 5 s to say that an order never arrived. There is no noop here: `noops_sent` means nothing."""
        try:
            return Settler(self._rest, self.account_id, self._clock).settle(order)
        except (VenueUnavailable, CredentialsRefused) as e:
            return wire.unknown(order, str(e), self._clock.now_ms())

    def close_outside(self, action: CloseContract) -> CloseAnswered:
        """Takes about a second for each order that does not end at once."""
        try:
            return self._desk.close_outside(self.account_id, action)
        except (VenueUnavailable, CredentialsRefused) as e:
            return CloseAnswered(
                received_ms=self._clock.now_ms(),
                symbol=action.symbol,
                contract_id=action.contract_id,
                done=None,
                error=str(e),
            )

    def close_contract(self, contract_id: str) -> Closed:
        """Flatten one contract at market, whatever is held: for emergencies (page 2.9). Names no order.

        It does NOT cancel stops and targets (page 2.7): one that fires afterwards opens a position. Cancel them before,
        or sweep at once. Raises VenueUnavailable when the account is not known yet.
        """
        return self._desk.close(self.account_id, contract_id, None)

    def partial_close(self, contract_id: str, size: Decimal) -> Closed:
        """As close_contract, for part of it; children stay at their size, so shrink them before (page 2.7)."""
        return self._desk.close(self.account_id, contract_id, size)
