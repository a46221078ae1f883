"""Hands each action to the thread that carries it out. Nothing here waits."""

from core.messages import (
    AnyAction,
    AnyEvent,
    Arm,
    Cancel,
    CloseContract,
    Modify,
    PollPrices,
    ReadAccount,
    ReadBars,
    ReadOrders,
    Reconnect,
    Settle,
    Submit,
    Watch,
)
from runtime.orders import OrderLanes
from runtime.poller import AccountReader, ListingReader, PricePoller
from runtime.venue import VenueStream


class LiveExecutor:
    def __init__(
        self,
        lanes: OrderLanes | None,
        listing: ListingReader,
        reader: AccountReader,
        poller: PricePoller,
        stream: VenueStream | None,
    ) -> None:
        self._lanes, self._listing, self._reader, self._poller, self._stream = lanes, listing, reader, poller, stream

    def act(self, action: AnyAction, body: bytes | None) -> None:
        match action:
            case Submit() | Arm() | Cancel() | Modify() | CloseContract() | Settle():
                assert self._lanes is not None, "a dry run keeps its orders to itself"
                self._lanes.dispatch(action, body)
            case ReadOrders():
                self._listing.ask(action.is_urgent)
            case ReadAccount() | ReadBars():
                self._reader.ask(action)
            case PollPrices():
                self._poller.switch(action)
            case Reconnect():
                if self._stream is not None:
                    self._stream.reconnect(action.reason, action.stream)
            case Watch():
                if self._stream is not None:
                    self._stream.watch(action.contract_ids)
            case _:
                raise AssertionError(f"not for an executor: {action!r}")

    def on_market_data(self, event: AnyEvent) -> None:
        """Nothing to do: the venue matches."""

    def stay_keen(self, on: bool) -> None:
        if self._stream is not None:
            self._stream.stay_keen(on)

    def rehearse(self) -> None:
        if self._lanes is not None:
            self._lanes.rehearse()
