"""Prices of a soak, for each venue: what is held, what is sent, what the bot has done with its stops."""

import random
from typing import Any, ClassVar, Protocol

from benchmarks import futures
from benchmarks.contestants import HYPERLIQUID, READY_S, TOPSTEPX, HyperliquidRun, TopstepRun
from benchmarks.exchange import ms_now
from benchmarks.gateway import channel
from benchmarks.server import frame
from benchmarks.venue import trade_frames

QUOTES_PART = 42 / 62  # of quotes and trades together (TopstepX page 3.5)
SWING_TICKS = 15  # around a level that rises; the trails are far behind


class Feed(Protocol):
    """One venue's side of a soak."""

    what: ClassVar[str]  # what is sent, in words
    positions: ClassVar[int]

    def hold(self) -> None:
        """A position opened by hand in each market, each with its stop at the venue."""

    def send(self, elapsed_s: float) -> bool:
        """The next message; False when nobody listens to it."""

    def is_back(self) -> bool:
        """Whether every subscription stands."""

    def stops_set(self) -> int:
        """Stops placed or moved so far."""

    def still_open(self) -> int:
        """Positions held."""


class Walk:
    """A level that rises by a tick now and then, so that stops are moved, and a price that swings around it."""

    def __init__(self, start: float, tick: float, rise_s: float, dice: random.Random) -> None:
        self._start, self._tick, self._rise_s, self._dice = start, tick, rise_s, dice
        self._swing = 0

    def next(self, elapsed_s: float) -> float:
        self._swing = max(-SWING_TICKS, min(SWING_TICKS, self._swing + self._dice.choice((-1, 0, 1))))
        return round(self._start + (int(elapsed_s / self._rise_s) + self._swing) * self._tick, 2)


class TopstepFeed:
    what = "quotes and trades (42 to 20) of MGC and MNQ"
    positions = 2
    ticks: ClassVar[dict[str, float]] = {futures.MGC: 0.1, futures.MNQ: 0.25}

    def __init__(self, contest: TopstepRun, dice: random.Random) -> None:
        self._contest, self._venue, self._dice = contest, contest.venue, dice
        self._walks = {c: Walk(futures.START_PRICE[c], tick, 10.0, dice) for c, tick in self.ticks.items()}
        self._venue.has_own_quotes = True

    def hold(self) -> None:
        contest, gateway, account = self._contest, self._venue, self._venue.futures
        contest.wait_until(self.is_back, "every subscription")
        contest.wait_until(lambda: account.seen_clean, "a clean account")
        gateway.settle(0.3, READY_S)
        for contract, price in futures.START_PRICE.items():
            gateway.tell(account.buy_by_hand(contract, price))
        contest.wait_until(lambda: account.stops_placed == self.positions, "a stop for each position")
        gateway.pause(1.0)

    def send(self, elapsed_s: float) -> bool:
        contract = self._dice.choice(list(self.ticks))
        tick, price = self.ticks[contract], self._walks[contract].next(elapsed_s)
        if self._dice.random() < QUOTES_PART:
            record = futures.quote_record(contract, round(price - tick, 2), round(price + tick, 2))
            name = channel("GatewayQuote", contract)
        else:
            record, name = futures.trade_record(contract, price), channel("GatewayTrade", contract)
        self._venue.futures.last[contract] = price
        self._venue.publish(name, frame(record))
        return self._venue.listens(name)

    def is_back(self) -> bool:
        return self._venue.listens("GatewayUserTrade") and all(
            self._venue.listens(channel("GatewayTrade", contract)) for contract in self.ticks
        )

    def stops_set(self) -> int:
        return sum(received.action.what == "Order/modify" for received in self._venue.actions)

    def still_open(self) -> int:
        return len(self._venue.futures.held)


class HyperliquidFeed:
    what = "best prices and trades (42 to 20) of BTC"
    positions = 1

    def __init__(self, contest: HyperliquidRun, dice: random.Random) -> None:
        self._contest, self._venue, self._dice = contest, contest.venue, dice
        self._walk = Walk(50_000.0, 1.0, 1.0, dice)
        self._trade_id = 1_000_000

    def hold(self) -> None:
        self._contest.get_ready()

    def send(self, elapsed_s: float) -> bool:
        price = self._walk.next(elapsed_s)
        self._venue.exchange.mark = f"{price:.1f}"
        if self._dice.random() < QUOTES_PART:
            name, frames = "bbo", frame(best_prices(price))
        else:
            self._trade_id += 1
            name, frames = "trades", trade_frames([f"{price:.1f}"], self._trade_id)
        self._venue.publish(name, frames)
        return self._venue.listens(name)

    def is_back(self) -> bool:
        return all(self._venue.listens(name) for name in ("trades", "bbo", "userFills", "orderUpdates"))

    def stops_set(self) -> int:
        return self._venue.exchange.stops_placed

    def still_open(self) -> int:
        return int(self._venue.exchange.is_open)


def best_prices(price: float) -> bytes:
    bid, ask = f"{price - 1:.1f}", f"{price + 1:.1f}"
    return (
        b'{"channel":"bbo","data":{"coin":"BTC","time":%d,"bbo":[{"px":"%b","sz":"1.2","n":3},{"px":"%b","sz":"0.8","n":2}]}}'
        % (ms_now(), bid.encode(), ask.encode())
    )


FEEDS: dict[str, Any] = {HYPERLIQUID: HyperliquidFeed, TOPSTEPX: TopstepFeed}
