"""One round of `flatten` at each venue: a step towards an account without positions and orders. Rounds are repeated."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from core.messages import AccountSnapshot, OrderUnknown
from core.model import Instrument, Order, OrderType, Side, TimeInForce
from hyperliquid_client import HyperliquidClient
from runtime.clock import Clock
from runtime.venue import OrderAnswer, VenueUnavailable
from topstep_client import TopstepClient

SLIPPAGE = Decimal("0.05")
CLOSING_MS = 3_000  # a close that was taken fills within 30 ms; only long after may another one be sent
Say = Callable[[str], None]


class Flattener(Protocol):
    yields_to_bot: bool  # a running bot closes first: two that close at once would open the other side

    def round(self, account: AccountSnapshot, say: Say) -> None:
        """The next step from `account` as just read. Raises VenueUnavailable."""


class HyperliquidFlattener:
    """Positions first, while their stops still stand: reduce-only, so that nothing can be turned round."""

    yields_to_bot = False

    def __init__(self, client: HyperliquidClient, instruments: dict[str, Instrument], clock: Clock) -> None:
        self._client, self._instruments, self._clock = client, instruments, clock
        self._nonce = clock.now_ms()

    def round(self, account: AccountSnapshot, say: Say) -> None:
        for position in account.positions:
            if position.symbol not in self._instruments:
                say(f"{position.symbol} cannot be traded any more: the venue settles it")
                continue
            answer = self._close(self._instruments[position.symbol], position.size)
            say(f"close {position.symbol} {position.size}: {type(answer).__name__}")
        if not account.positions:
            for order in account.orders:
                self._client.cancel(order.symbol, order.order_id, self._next_nonce())

    def _next_nonce(self) -> int:
        self._nonce = max(self._nonce + 1, self._clock.now_ms())
        return self._nonce

    def _close(self, instrument: Instrument, size: Decimal) -> OrderAnswer:
        """Reduce-only IOC for exactly what is held; an unknown outcome is settled before the next round."""
        side = Side.SELL if size > 0 else Side.BUY
        prices = self._client.polled_prices([instrument.symbol])
        if not prices:
            raise VenueUnavailable(f"{instrument.symbol} has no price: one side of its book is empty")
        price, nonce = prices[0].price, self._next_nonce()
        order = Order(
            client_id=f"0x{nonce:032x}",
            symbol=instrument.symbol,
            side=side,
            size=abs(size),
            type=OrderType.MARKET,
            price=instrument.round_away(price * (1 + side.sign * SLIPPAGE), side),
            time_in_force=TimeInForce.IOC,
            reduce_only=True,
            nonce=nonce,
            expires_ms=nonce + 60_000,
        )
        answer = self._client.submit(order)
        if isinstance(answer, OrderUnknown):
            self._clock.wait(threading.Event(), 0.5)
            self._client.settle(order, 0)
        return answer


class TopstepFlattener:
    """Orders first: a stop that outlives its position opens another (page 2.7). Then each contract is closed once."""

    yields_to_bot = True

    def __init__(self, client: TopstepClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._closed_ms: dict[str, int] = {}  # by contract: when its close was sent

    def round(self, account: AccountSnapshot, say: Say) -> None:
        for order in account.orders:
            answer = self._client.cancel(order.symbol, order.order_id, 0)
            say(f"cancel {order.symbol} {order.order_id}: {'gone' if answer.gone else answer.error}")
        if account.orders:
            return  # read again: one of them may have filled
        for position in account.positions:
            now_ms = self._clock.now_ms()
            if now_ms - self._closed_ms.get(position.contract_id, -CLOSING_MS) < CLOSING_MS:
                continue
            self._closed_ms[position.contract_id] = now_ms
            answer_close = self._client.close_contract(position.contract_id)
            say(f"close {position.symbol} {position.size}: {answer_close}")
