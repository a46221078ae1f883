"""Both hubs of the simulated TopstepX without sockets: the world carries the bytes (protocol page 3, 4)."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from sim.topstepx_events import Topic, first_quote, quote_row, topic_of, trade_rows, twist_user_event, user_topic
from sim.topstepx_market import Quote, Record
from sim.topstepx_types import BookEvent
from sim.topstepx_venue import TopstepxVenue
from sim.topstepx_wire import JSON, encode, user_event
from sim.world_types import Kernel, Link

RS = b"\x1e"
PING = {"type": 6}
PING_US = 15_000_000
FAILED = "Failed to invoke '{0}' due to an error on the server."


class Session(msgspec.Struct):
    """What the venue knows of one socket."""

    hub: str  # market or user
    topics: set[Topic] = set()
    unread: bytes = b""
    is_shaken: bool = False
    spoke_us: int = 0
    told: dict[str, Quote] = {}  # the last quote it was sent of each contract


class WorldHubs:
    def __init__(
        self, kernel: Kernel, venue: TopstepxVenue, is_good: Callable[[str], bool], rnd: random.Random
    ) -> None:
        self._kernel, self._venue, self._is_good, self._random = kernel, venue, is_good, rnd
        self._latest: dict[str, Record] = {}
        self.shuffles_ms = 0  # user events come up to so much late, each for itself: out of order
        self.silent: set[str] = set()  # hubs that send pings and answers, and no events

    # --- one connection -----------------------------------------------------------------------------------------------

    def opened(self, link: Link) -> int | None:
        """An HTTP status refuses the upgrade."""
        path, _, query = link.url.partition("?")
        if not self._is_good(query.removeprefix("access_token=")):
            return 401
        link.state = Session("market" if path.endswith("market") else "user", spoke_us=self._kernel.venue_us())
        return None

    def received(self, link: Link, payload: bytes) -> None:
        session: Session = link.state
        *records, session.unread = (session.unread + payload).split(RS)
        for raw in records:
            record = msgspec.json.decode(raw)
            if not session.is_shaken:
                session.is_shaken = True
                self._say(link, {})
            elif record["type"] == 1:
                self._invoke(link, session, record)

    def _invoke(self, link: Link, session: Session, record: JSON) -> None:
        target, arguments = record["target"], record.get("arguments") or []
        found = topic_of(session.hub, target)
        answer: JSON = {"type": 3, "invocationId": record["invocationId"]}
        if found is None:
            self._say(link, answer | {"error": FAILED.format(target)})
            return
        self._say(link, answer | {"result": 0})
        kind, _, is_on = found
        topic = (kind, arguments[0] if arguments else None)
        if not is_on:
            session.topics.discard(topic)
            return
        session.topics.add(topic)
        self._greet(link, session, topic)

    def _greet(self, link: Link, session: Session, topic: Topic) -> None:
        """A quote subscription begins with a whole quote (page 3.3)."""
        contract = self._venue.find(str(topic[1])) if session.hub == "market" else None
        if contract is None:
            return
        self._venue.market(contract)
        record = self._latest.get(contract.id)
        if topic[0] == "GatewayQuote" and record is not None:
            self._event(link, topic[0], [contract.id, first_quote(record, self._shift_us())])

    def close_all(self, hub: str | None) -> int:
        """A Close record to each socket of the hub (or of both), then the end; returns how many there were."""
        gone = 0
        for link in list(self._kernel.links()):
            session: Session | None = link.state
            if session is not None and hub in (None, session.hub):
                self._say(link, {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True})
                link.close()
                gone += 1
        return gone

    # --- what the venue says ------------------------------------------------------------------------------------------

    def _say(self, link: Link, record: JSON) -> None:
        link.state.spoke_us = self._kernel.venue_us()
        link.send(encode(record) + RS)

    def _event(self, link: Link, target: str, arguments: list[Any]) -> None:
        session: Session = link.state
        if session.hub not in self.silent:
            self._kernel.count(f"hub {target}")
            self._say(link, {"type": 1, "target": target, "arguments": arguments})

    def _listening(self, target: str, value: Any) -> list[Link]:
        links = self._kernel.links()
        return [link for link in links if link.state is not None and (target, value) in link.state.topics]

    def _shift_us(self) -> int:
        fault = self._venue.faults.on("delayed_data")
        return 0 if fault is None else -int(fault["ms"]) * 1_000

    def on_record(self, record: Record) -> None:
        """A moment of one contract: the quote's changes, and the prints."""
        contract_id, shift_us = record.contract.id, self._shift_us()
        self._latest[contract_id] = record
        frozen = self._venue.faults.on("frozen_timestamp")
        stands = (None, False) if frozen is None else (int(frozen["at_us"]), bool(frozen.get("last_updated")))
        for link in self._listening("GatewayQuote", contract_id):
            row = quote_row(link.state.told.get(contract_id), record, shift_us, stands)
            link.state.told[contract_id] = record.quote
            if row is not None:
                self._event(link, "GatewayQuote", [contract_id, row])
        if record.prints:
            for link in self._listening("GatewayTrade", contract_id):
                self._event(link, "GatewayTrade", [contract_id, trade_rows(record, shift_us)])

    def on_events(self, events: list[BookEvent]) -> None:
        """News of accounts; they may overtake each other when `shuffles_ms` is set."""
        for event in events:
            account = self._venue.book.accounts[user_topic(event)]
            target, row = user_event(event, account)
            value = None if target == "GatewayUserAccount" else account.id
            for link in self._listening(target, value):
                for changed in twist_user_event(self._venue.faults, target, row):
                    self._deliver(link, target, changed)

    def _deliver(self, link: Link, target: str, row: Any) -> None:
        if not self.shuffles_ms:
            self._event(link, target, [row])
            return

        def later() -> None:
            if link in self._kernel.links():
                self._event(link, target, [row])

        self._kernel.after(self._random.randint(0, self.shuffles_ms * 1_000), later)

    def keep_alive(self) -> None:
        now_us = self._kernel.venue_us()
        for link in self._kernel.links():
            session: Session | None = link.state
            if session is not None and session.is_shaken and not 0 <= now_us - session.spoke_us < PING_US:
                self._say(link, PING)
