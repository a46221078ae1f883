"""The simulated TopstepX behind its sockets: the floor, and what the platform does to accounts and their orders.

Lives on the server's loop alone; nothing in here is shared between threads.
"""

from decimal import Decimal

from sim.topstepx_checks import NEEDS_OCO
from sim.topstepx_floor import Floor, TopstepxConfig
from sim.topstepx_guard import Programme, breach, end_of_day
from sim.topstepx_products import Contract
from sim.topstepx_sessions import is_flatten_time, trading_day
from sim.topstepx_types import Account, AccountChanged, OrderType, Placed, Refused, Request, Status

__all__ = ["COMBINE_ID", "PRACTICE_ID", "TopstepxConfig", "TopstepxVenue"]
PRACTICE_ID, COMBINE_ID = 20_000_101, 20_000_102


class TopstepxVenue(Floor):
    def __init__(self, config: TopstepxConfig) -> None:
        super().__init__(config)
        self.programmes: dict[int, Programme] = {}
        self._day = trading_day(self.session_us())
        self._open_accounts()

    # --- orders -----------------------------------------------------------------------------------------------------

    def place(self, request: Request, contract: Contract | None) -> Placed:
        """An order for a known account, through whatever is wrong at the moment."""
        now = self.now_us()
        if contract is not None and contract.id in self.book.active:
            self.market(contract)
            brackets = request.stop_loss is not None or request.take_profit is not None
            if brackets and self.faults.take("position_brackets"):
                return self._done(self.book.reject(request, contract, Refused(2, NEEDS_OCO), now))
            if refused := self.faults.take("reject", coin=contract.product.ticker):
                why = Refused(int(refused.get("code", 2)), refused.get("error"))
                return self._done(self.book.reject(request, contract, why, now))
            return self._done(self.book.place(request, contract, now, self.closed(contract)))
        return self.book.place(request, contract, now)

    def _done(self, answer: Placed) -> Placed:
        self.flush()
        return answer

    def apply_switches(self) -> None:
        """Bring the book's rules in line with the faults."""
        rules, on = self.book.rules, self.faults.on
        part, late = on("partial_fill"), on("late_children")
        rules.part = Decimal(str(part.get("fraction", "0.5"))) if part else None
        rules.part_us = int(part.get("ms", 300)) * 1_000 if part else 0
        rules.opens_children = on("no_children") is None
        rules.children_late_us = int(late.get("ms", 1000)) * 1_000 if late else 0
        rules.races_cancel = on("fill_beats_cancel") is not None

    # --- accounts ---------------------------------------------------------------------------------------------------

    def _open_accounts(self) -> None:
        practice = Account(PRACTICE_ID, "PRAC-V2-100001-10000101", Decimal(150_000))
        combine = Account(COMBINE_ID, "50KTC-V2-100001-10000102", Decimal(50_000))
        for account in (combine, practice):
            account.is_auto_oco = self.config.brackets == "auto-oco"
            self.book.accounts[account.id] = account
        self.programmes[combine.id] = Programme(combine.balance, Decimal(2_000))

    def replace_account(self, account_id: int) -> Account:
        """A reset: the old one turns invisible, a new one with another id and name takes its place (page 2.2)."""
        old = self.book.accounts[account_id]
        programme = self.programmes.pop(old.id, None)
        balance = programme.start if programme else Decimal(150_000)
        new_id = max(self.book.accounts) + 1
        name = old.name.rsplit("-", 1)[0] + f"-{new_id - 10_000_000}"
        new = Account(new_id, name, balance, is_auto_oco=old.is_auto_oco)
        self.book.accounts[new_id] = new
        if programme:
            self.programmes[new_id] = Programme(programme.start, programme.max_loss, programme.daily_loss)
        self.clear_account(old)
        old.can_trade = old.is_visible = False
        self.book.tell(AccountChanged(old.id))
        self.book.tell(AccountChanged(new_id))
        self.flush()
        return new

    def lock(self, account: Account, locked: bool = True) -> None:
        """Lock out: orders go, positions are closed at market, nothing more is taken (or: unlock)."""
        if locked:
            self.clear_account(account)
        account.can_trade = not locked
        self.book.tell(AccountChanged(account.id))
        self.flush()

    def clear_account(self, account: Account, contract_id: str | None = None) -> None:
        """Cancel and flatten, as the platform does at the cut-off."""
        now = self.now_us()
        closing = {o.contract.id for o in self.book.live(account.id) if self.book.is_closing(o)}
        for order in self.book.live(account.id, contract_id):
            if not self.book.is_closing(order):
                self.book.cancel_now(order, now)
        for held in list(account.positions):
            if contract_id in (None, held) and held not in closing:
                self.book.close(account, held, abs(account.held(held)), now)
        self.flush()

    def set_balance(self, account: Account, balance: Decimal) -> None:
        account.balance = balance
        self.book.tell(AccountChanged(account.id))
        self.flush()

    def deal(self, account: Account, contract: Contract, side: int, size: int, price: Decimal | None) -> None:
        """A trade by hand, filled at once at `price` (None: the touch)."""
        self.market(contract)
        touch = self.book.prices_of(contract.id).touch(1 if side == 0 else -1)
        at = touch if price is None else price
        if at is None:
            raise ValueError("there is no price")
        self.book.deal(Request(account.id, contract.id, OrderType.MARKET, side, size), contract, at, self.now_us())
        self.flush()

    def fill_children(self, account_id: int | None) -> None:
        """The bracket children that work without a position to guard fill, as if the market had come by."""
        for account in self.book.accounts.values():
            if account_id in (None, account.id):
                for order in self.book.live(account.id):
                    is_child = order.parent_id is not None and order.status is Status.OPEN
                    price = order.stop_price or order.limit_price
                    if is_child and price is not None and not account.held(order.contract.id):
                        self.book.fill(order, price, order.left, self.now_us())
        self.flush()

    def equity(self, account: Account) -> Decimal:
        """Balance and open profit, longs marked at the bid, shorts at the ask."""
        profit = Decimal(0)
        for contract_id, position in account.positions.items():
            mark = self.book.prices_of(contract_id).touch(-position.sign)
            profit += position.profit(mark) if mark is not None else Decimal(0)
        return account.balance + profit

    # --- what the clock brings --------------------------------------------------------------------------------------

    def tend(self) -> None:
        """Besides what the floor does: the cut-off, a new day, broken limits."""
        self.apply_switches()
        super().tend()
        self._keep_hours()
        self._keep_limits()
        self.flush()

    def _keep_hours(self) -> None:
        session = self.session_us()
        for account in self.book.accounts.values():
            busy = {o.contract.id: o.contract for o in self.book.live(account.id)}
            busy |= {p.contract.id: p.contract for p in account.positions.values()}
            for contract in busy.values():
                if is_flatten_time(session, contract.product.hours):
                    self.clear_account(account, contract.id)
        day = trading_day(session)
        if day != self._day:
            self._day = day
            for market in self.markets.values():
                market.new_session()
            for account_id, programme in self.programmes.items():
                account = self.book.accounts[account_id]
                if end_of_day(programme, account.balance) and not account.can_trade and account.is_visible:
                    self.lock(account, False)

    def _keep_limits(self) -> None:
        if not self.config.guards:
            return
        for account_id, programme in self.programmes.items():
            account = self.book.accounts[account_id]
            if account.can_trade and breach(programme, self.equity(account)):
                programme.is_broken = True
                self.lock(account)
