"""The rules of the simulated exchange, both sides of each edge. Protocol page 3.3, 6 and 8."""

from decimal import Decimal as D

import pytest

from core.model import Instrument, Side, TimeInForce
from sim.accounts import Leverage, MarginTable, Tier
from sim.exchange import Exchange, ExchangeRules
from sim.margin import account_value, liquidation_price
from sim.orders import Execution, OrderChanged, Placed, Printed, Refused, Request, Status, Trigger

BUY, SELL = Side.BUY, Side.SELL
GTC, IOC, ALO = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.ALO
BTC = Instrument("BTC", 0, D("0.00001"), price_decimals=1, min_notional=D(10), max_leverage=40)


def levels(*rows):
    return [(D(price), D(size)) for price, size in rows]


@pytest.fixture
def exchange():
    return make()


def make(balance="10000", **rules):
    exchange = Exchange([BTC], ExchangeRules(**rules))
    for name in ("me", "you"):
        exchange.open_account(name, D(balance))
    exchange.set_mark("BTC", D(50000), 0)
    exchange.set_book("BTC", levels((49999, 1), (49990, 2)), levels((50001, 1), (50010, 2)), 0)
    return exchange


def order(side, size, price, tif=GTC, **more):
    return Request("BTC", side, D(size), D(price), tif, **more)


def stop(side, level, size="0", is_stop=True, price=None, is_market=True, reduce_only=True):
    worst = D(price) if price else (D(level) * (D("0.9") if side is SELL else D("1.1"))).to_integral_value()
    trigger = Trigger(D(level), is_stop, is_market)
    return Request(
        "BTC", side, D(size), worst, GTC, reduce_only, None, trigger, whole_position=D(size) == 0 and reduce_only
    )


def send(exchange, request, account="me", **more):
    answer, events = exchange.submit(account, request, 1, **more)
    return answer, events


def enter(exchange, side=BUY, size="0.1"):
    """Hold a position of `size`, bought or sold from the book."""
    answer, _ = send(exchange, order(side, size, "55000" if side is BUY else "45000", IOC))
    assert answer.filled == D(size)
    exchange.set_book("BTC", levels((49999, 1), (49990, 2)), levels((50001, 1), (50010, 2)), 1)


def statuses(events, order_id):
    return [e.status for e in events if isinstance(e, OrderChanged) and e.order.order_id == order_id]


def held(exchange, account="me"):
    return exchange.accounts[account].held("BTC")


def live(exchange, account="me"):
    return [o.order_id for o in exchange.orders_of(account)]


# --- static checks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, price, expected",
    [
        ("0.001", "50000", None),
        ("0.001", "8414.3", Status.BAND),  # a good price, but more than 80 % from the mark
        ("0.001", "50000.5", Status.TICK),  # six figures
        ("0.001", "117366", None),  # six figures, but an integer
        ("0.001", "0", Status.TICK),
        ("0.00001", "50000", None),
        ("0.000001", "50000", Status.LOT),
        ("0", "50000", Status.ZERO_SIZE),
        ("0.001", "10000", Status.BAND),  # exactly 80 % below
        ("0.001", "10001", None),
        ("0.001", "250000", None),  # five times the mark
        ("0.001", "250001", Status.BAND),
    ],
)
def test_static_check(exchange, size, price, expected):
    assert exchange.check(order(BUY, size, price)) is expected


def test_a_trigger_price_has_ticks_too(exchange):
    assert exchange.check(stop(SELL, "49000.5", price="45000")) is Status.TICK
    assert exchange.check(stop(SELL, "49000")) is None


# --- matching -------------------------------------------------------------------------------------------------------


def test_ioc_walks_the_book_and_drops_the_rest(exchange):
    answer, events = send(exchange, order(BUY, "4.1", "50010", IOC))
    assert isinstance(answer, Refused) and answer.status is Status.MARGIN
    exchange.set_leverage("me", "BTC", Leverage(40))
    answer, events = send(exchange, order(BUY, "4", "50010", IOC))
    assert (answer.status, answer.filled, answer.average) == (Status.FILLED, D(3), D(150021) / 3)
    fills = [e for e in events if isinstance(e, Execution)]
    assert [(f.price, f.size, f.crossed) for f in fills] == [(D(50001), D(1), True), (D(50010), D(2), True)]
    assert fills[0].fee == D(50001) * D("0.00045")
    assert not live(exchange)


def test_ioc_without_a_match(exchange):
    answer, events = send(exchange, order(BUY, "1", "50000", IOC))
    assert isinstance(answer, Refused) and answer.status is Status.NO_MATCH
    assert statuses(events, answer.order_id) == [Status.NO_MATCH]  # it left a record


def test_gtc_fills_partly_and_rests(exchange):
    exchange.set_leverage("me", "BTC", Leverage(40))
    answer, _ = send(exchange, order(BUY, "1.5", "50001"))
    assert (answer.status, answer.filled) == (Status.OPEN, D(1))
    (resting,) = exchange.orders_of("me")
    assert resting.left == D("0.5")


@pytest.mark.parametrize("price, expected", [("50000", Status.OPEN), ("50001", Status.WOULD_CROSS)])
def test_post_only(exchange, price, expected):
    answer, _ = send(exchange, order(BUY, "0.1", price, ALO))
    assert answer.status is expected
    if expected is Status.WOULD_CROSS:
        assert (answer.best_bid, answer.best_ask) == (D(49999), D(50001))


def test_price_goes_before_time_and_time_before_size(exchange):
    first, _ = send(exchange, order(BUY, "0.1", "50000"), "me")
    second, _ = send(exchange, order(BUY, "0.5", "50000"), "you")
    better, _ = send(exchange, order(BUY, "0.1", "50000.0"), "you")
    _, events = send(exchange, order(SELL, "0.15", "49000", IOC), "me")  # first is its own and goes
    makers = [e.order_id for e in events if isinstance(e, Execution) and not e.crossed]
    assert statuses(events, first.order_id) == [Status.SELF_TRADE]
    assert makers == [second.order_id]
    assert exchange.orders[second.order_id].left == D("0.35") and better.order_id in exchange.orders


def test_an_outside_trade_fills_by_queue(exchange):
    answer, _ = send(exchange, order(BUY, "0.1", "49999"))  # behind 1 BTC of outside liquidity
    events = exchange.trade("BTC", D(49999), D("0.9"), SELL, 2)
    assert held(exchange) == 0 and len(events) == 1
    exchange.trade("BTC", D(49999), D("0.15"), SELL, 3)
    assert held(exchange) == D("0.05")
    events = exchange.trade("BTC", D(49998), D("0.02"), SELL, 4)  # through its price: it fills there, as maker
    (fill,) = (e for e in events if isinstance(e, Execution))
    assert (fill.price, fill.crossed, fill.fee) == (D(49999), False, D("0.02") * 49999 * D("0.00015"))
    events = exchange.trade("BTC", D(49998), D(1), SELL, 5)
    assert statuses(events, answer.order_id) == [Status.FILLED]
    assert [e.size for e in events if isinstance(e, Printed)] == [D("0.03"), D("0.97")]


def test_outside_liquidity_queued_first_trades_first(exchange):
    answer, _ = send(exchange, order(BUY, "0.1", "49999"))  # behind 1 BTC
    _, events = send(exchange, order(SELL, "1.05", "49999", IOC), "you")
    assert [e.size for e in events if isinstance(e, Printed)] == [D(1), D("0.05")]
    assert exchange.orders[answer.order_id].left == D("0.05")
    exchange.set_book("BTC", levels((49999, 5)), levels((50001, 1)), 2)  # newcomers stand behind it
    _, events = send(exchange, order(SELL, "0.05", "49999", IOC), "you")
    assert statuses(events, answer.order_id) == [Status.FILLED]


def test_the_queue_shrinks_with_the_book(exchange):
    send(exchange, order(BUY, "0.1", "49999"))  # behind 1 BTC
    exchange.set_book("BTC", levels((49999, "0.2")), levels((50001, 1)), 2)
    exchange.trade("BTC", D(49999), D("0.25"), SELL, 3)
    assert held(exchange) == D("0.05")
    book = exchange.markets["BTC"].book
    assert book.top(BUY) == book.levels(BUY)[0] and book.top(SELL) == book.levels(SELL)[0]


def test_a_book_that_crosses_a_resting_order_fills_it_at_its_price(exchange):
    send(exchange, order(BUY, "0.1", "49995"))
    exchange.set_book("BTC", levels((49980, 1)), levels((49990, "0.04")), 2)
    assert held(exchange) == D("0.04")
    assert exchange.accounts["me"].positions["BTC"].entry_price == D(49995)


@pytest.mark.parametrize(
    "size, price, expected",
    [
        ("0.0002", "50000", Status.OPEN),  # exactly $10
        ("0.00019", "50000", Status.MIN_NOTIONAL),
    ],
)
def test_minimum_value(exchange, size, price, expected):
    answer, _ = send(exchange, order(BUY, size, price))
    assert answer.status is expected


@pytest.mark.parametrize("size, expected", [("0.0003", Status.FILLED), ("0.00015", Status.MIN_NOTIONAL)])
def test_only_a_full_close_is_exempt_from_the_minimum(size, expected):
    exchange = make()
    enter(exchange, size="0.0003")
    exchange.set_book("BTC", levels((20000, 1)), levels((20001, 1)), 1)
    answer, _ = send(exchange, order(SELL, size, "20000", IOC, reduce_only=True))
    assert answer.status is expected


# --- reduce-only ----------------------------------------------------------------------------------------------------


def test_reduce_only_needs_something_to_reduce(exchange):
    answer, _ = send(exchange, order(SELL, "0.1", "49000", IOC, reduce_only=True))
    assert answer.status is Status.REDUCE_ONLY
    enter(exchange)
    answer, _ = send(exchange, order(BUY, "0.1", "51000", IOC, reduce_only=True))
    assert answer.status is Status.REDUCE_ONLY


def test_reduce_only_is_clamped_or_refused_by_switch():
    exchange = make()
    enter(exchange)
    answer, _ = send(exchange, order(SELL, "0.3", "49000", IOC, reduce_only=True))
    assert (answer.status, answer.filled, held(exchange)) == (Status.FILLED, D("0.1"), 0)
    exchange = make(reject_oversize=True)
    enter(exchange)
    answer, _ = send(exchange, order(SELL, "0.3", "49000", IOC, reduce_only=True))
    assert (answer.status, held(exchange)) == (Status.REDUCE_ONLY, D("0.1"))


def test_resting_reduce_only_shrinks_and_ends_with_the_position(exchange):
    enter(exchange)
    answer, _ = send(exchange, order(SELL, "0.3", "51000", reduce_only=True))
    resting = exchange.orders[answer.order_id]
    assert (resting.left, resting.request.size) == (D("0.1"), D("0.3"))
    send(exchange, order(SELL, "0.04", "49000", IOC))
    assert resting.left == D("0.06")
    _, events = send(exchange, order(SELL, "0.06", "49000", IOC))
    assert statuses(events, answer.order_id) == [Status.REDUCE_ONLY_CANCELED]


# --- position arithmetic --------------------------------------------------------------------------------------------


def test_netting_average_and_profit_before_fees(exchange):
    exchange.deal("me", "BTC", BUY, D("0.1"), D(50000), 1)
    exchange.deal("me", "BTC", BUY, D("0.1"), D(51000), 1)
    assert exchange.accounts["me"].positions["BTC"].entry_price == D(50500)
    (fill,) = (e for e in exchange.deal("me", "BTC", SELL, D("0.3"), D(51500), 2) if isinstance(e, Execution))
    assert (fill.start_position, fill.closed_pnl) == (D("0.2"), D(200))  # only 0.2 were closed
    position = exchange.accounts["me"].positions["BTC"]
    assert (position.size, position.entry_price) == (D("-0.1"), D(51500))
    fees = D("0.00045") * (D(5000) + D(5100) + D(15450))
    assert exchange.accounts["me"].balance == D(10200) - fees
    assert account_value(exchange.accounts["me"], exchange.markets) == D(10200) - fees + D("0.1") * 1500


def test_funding_is_paid_by_longs_on_the_oracle(exchange):
    exchange.deal("me", "BTC", BUY, D(1), D(50000), 1)
    exchange.deal("you", "BTC", SELL, D(1), D(50000), 1)
    exchange.set_mark("BTC", D(50000), 1, D(40000))
    before = exchange.accounts["me"].balance
    paid = exchange.settle_funding("BTC", D("0.0001"), 2)
    assert [(p.account, p.amount) for p in paid] == [("me", D(-4)), ("you", D(4))]
    assert exchange.accounts["me"].balance == before - 4


# --- margin ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size, expected", [("4", Status.OPEN), ("4.00001", Status.MARGIN)])
def test_initial_margin_of_a_resting_order(exchange, size, expected):
    answer, _ = send(exchange, order(BUY, size, "49000"))  # 20x of 10,000 at a mark of 50,000
    assert answer.status is expected


def test_resting_orders_share_the_margin_and_closing_needs_none(exchange):
    send(exchange, order(BUY, "3", "49000"))
    assert send(exchange, order(BUY, "1.1", "49000"))[0].status is Status.MARGIN
    assert send(exchange, order(SELL, "3", "51000"))[0].status is Status.OPEN  # only one side can be the worst
    exchange.deal("you", "BTC", BUY, D(4), D(50000), 1)
    exchange.set_mark("BTC", D(49000), 2)
    assert send(exchange, order(SELL, "0.5", "49000", IOC), "you")[0].status is Status.FILLED


def test_isolated_margin_moves_with_the_position(exchange):
    exchange.set_leverage("me", "BTC", Leverage(10, False))
    exchange.deal("me", "BTC", BUY, D("0.1"), D(50000), 1)
    account = exchange.accounts["me"]
    assert account.positions["BTC"].isolated_margin == D(500)
    assert account.balance == D(10000) - D(500) - D("2.25")
    exchange.deal("me", "BTC", SELL, D("0.05"), D(50000), 1)
    assert account.positions["BTC"].isolated_margin == D(250)
    exchange.deal("me", "BTC", SELL, D("0.05"), D(50000), 1)
    assert account.balance == D(10000) - D("4.5")


def test_maintenance_has_tiers():
    table = MarginTable([Tier(D(0), 40), Tier(D(150_000_000), 20)])
    assert table.maintenance(D(377667)) == D("4720.8375")  # the sample of page 2.4
    assert table.maintenance(D(150_000_000)) == D(1_875_000)
    assert table.maintenance(D(160_000_000)) == D(1_875_000) + D(250_000)  # the excess at the next rate


def test_liquidation_at_the_price_that_is_shown():
    exchange = make(balance="1000")
    exchange.set_leverage("me", "BTC", Leverage(40))
    exchange.deal("me", "BTC", BUY, D("0.5"), D(50000), 1)
    price = liquidation_price(exchange.accounts["me"], exchange.markets, "BTC")
    exchange.set_book("BTC", levels((48000, 5)), levels((51000, 5)), 2)
    exchange.set_mark("BTC", price + 1, 3)
    assert held(exchange) == D("0.5")
    events = exchange.set_mark("BTC", price - 1, 4)
    (fill,) = (e for e in events if isinstance(e, Execution))
    assert held(exchange) == 0 and fill.liquidation.account == "me" and not fill.liquidation.is_backstop


def test_liquidation_takes_a_fifth_first_and_everything_within_the_cooldown():
    exchange = make(balance="5000")
    exchange.set_leverage("me", "BTC", Leverage(40))
    exchange.deal("me", "BTC", BUY, D(3), D(50000), 1)
    price = liquidation_price(exchange.accounts["me"], exchange.markets, "BTC")
    exchange.set_book("BTC", levels((49000, 9)), levels((51000, 9)), 2)
    exchange.set_mark("BTC", price - 1, 3)
    assert held(exchange) == D("2.4")
    price = liquidation_price(exchange.accounts["me"], exchange.markets, "BTC")
    exchange.set_mark("BTC", price - 1, 20_000)
    assert held(exchange) == 0


def test_backstop_below_two_thirds_of_maintenance():
    exchange = make(balance="1000")
    exchange.deal("me", "BTC", BUY, D("0.3"), D(50000), 1)
    resting, _ = send(exchange, order(BUY, "0.01", "40000"))
    events = exchange.set_mark("BTC", D("46500"), 3)
    (fill,) = (e for e in events if isinstance(e, Execution))
    assert fill.liquidation.is_backstop and exchange.accounts["me"].balance == 0
    assert statuses(events, resting.order_id) == [Status.LIQUIDATED]


# --- triggers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "side, is_stop, level, not_yet, met",
    [
        (SELL, True, "49500", "49501", "49500"),  # stop of a long
        (SELL, False, "50500", "50499", "50500"),  # take of a long
        (BUY, True, "50500", "50499", "50500"),  # stop of a short
        (BUY, False, "49500", "49501", "49500"),  # take of a short
    ],
)
def test_triggers_fire_on_the_mark(exchange, side, is_stop, level, not_yet, met):
    enter(exchange, side.opposite)
    answer, _ = send(exchange, stop(side, level, is_stop=is_stop))
    assert answer.status is Status.OPEN
    exchange.trade("BTC", D(met), D(1), side, 2)
    exchange.set_mark("BTC", D(not_yet), 3)
    assert held(exchange) != 0
    events = exchange.set_mark("BTC", D(met), 4)
    assert held(exchange) == 0
    assert statuses(events, answer.order_id) == [Status.TRIGGERED, Status.FILLED]
    assert {e.order_id for e in events if isinstance(e, Execution)} == {answer.order_id}  # the stop's own id


def test_a_met_trigger_is_refused_or_fires_by_switch():
    for rules, expected in (({}, "refused"), ({"fire_met_trigger": True}, "fired")):
        exchange = make(**rules)
        enter(exchange)
        answer, _ = send(exchange, stop(SELL, "50000"))
        assert isinstance(answer, Refused) is (expected == "refused")
        assert (held(exchange) == 0) is (expected == "fired")
    assert send(make(), stop(SELL, "49999"))[0].status is Status.OPEN  # one tick further is fine


def test_price_on_the_wrong_side_of_the_trigger():
    assert send(make(), stop(SELL, "49000", price="49001"))[0].status is Status.BAD_TRIGGER
    assert send(make(), stop(SELL, "49000", price="49000"))[0].status is Status.OPEN
    assert send(make(), stop(BUY, "51000", price="50999"))[0].status is Status.BAD_TRIGGER
    assert send(make(allow_wrong_side_price=True), stop(SELL, "49000", price="49001"))[0].status is Status.OPEN


@pytest.mark.parametrize(
    "rules, bid, price, is_filled",
    [
        ({}, "44551", "49500", True),  # within 10 % of the trigger, whatever the order's price
        ({}, "44549", "40000", False),
        ({"trigger_price_binds": True}, "49499", "49500", False),
        ({"trigger_price_binds": True}, "44549", "40000", True),
    ],
)
def test_how_far_a_market_trigger_reaches(rules, bid, price, is_filled):
    exchange = make(**rules)
    enter(exchange)
    answer, _ = send(exchange, stop(SELL, "49500", price=price))
    exchange.set_book("BTC", levels((bid, 5)), levels((50001, 1)), 2)
    events = exchange.set_mark("BTC", D(49500), 3)
    assert (held(exchange) == 0) is is_filled
    last = Status.FILLED if is_filled else Status.NO_LIQUIDITY
    assert statuses(events, answer.order_id)[-1] is last
    assert not live(exchange)  # without liquidity the protection is gone


def test_a_limit_trigger_rests_after_firing(exchange):
    enter(exchange)
    answer, _ = send(exchange, stop(SELL, "49500", size="0.1", price="50500", is_market=False))
    exchange.set_mark("BTC", D(49500), 2)
    assert exchange.orders[answer.order_id].is_triggered and held(exchange) == D("0.1")
    exchange.trade("BTC", D(50501), D(1), BUY, 3)
    assert held(exchange) == 0


def test_a_position_stop_covers_what_is_held_when_it_fires(exchange):
    send(exchange, stop(SELL, "49000"))
    exchange.set_mark("BTC", D(48000), 1)  # flat: it waits, though its level is met
    exchange.set_mark("BTC", D(50000), 1)
    enter(exchange)
    enter(exchange, size="0.2")
    events = exchange.set_mark("BTC", D(49000), 2)
    assert sum(e.size for e in events if isinstance(e, Execution)) == D("0.3") and held(exchange) == 0


def test_a_leftover_stop_takes_hold_of_the_next_position(exchange):
    left, _ = send(exchange, stop(SELL, "49000"))
    exchange.set_mark("BTC", D(48000), 1)
    assert live(exchange) == [left.order_id]
    enter(exchange)  # its level is already met
    exchange.set_mark("BTC", D(48000), 2)
    assert held(exchange) == 0


def test_siblings_go_when_one_fills(exchange):
    enter(exchange)
    group = exchange.new_group()
    low, _ = send(exchange, stop(SELL, "49000"), group=group)
    high, _ = send(exchange, stop(SELL, "51000", is_stop=False), group=group)
    events = exchange.set_mark("BTC", D(51000), 2)
    assert statuses(events, high.order_id) == [Status.TRIGGERED, Status.FILLED]
    assert statuses(events, low.order_id) == [Status.SIBLING_FILLED]


@pytest.mark.parametrize("keep", [False, True])
def test_a_full_close_removes_the_stops_of_both_sides(keep):
    exchange = make(keep_stops_on_close=keep)
    enter(exchange)
    for request in (stop(SELL, "49000"), stop(BUY, "51000"), stop(SELL, "48000", size="0.1")):
        send(exchange, request)
    send(exchange, order(SELL, "0.05", "49000", IOC, reduce_only=True))
    assert len(live(exchange)) == 3
    send(exchange, order(SELL, "0.05", "49000", IOC, reduce_only=True))
    assert len(live(exchange)) == (3 if keep else 0)


def test_a_flip_removes_the_old_sides_stop_only(exchange):
    enter(exchange)
    old, _ = send(exchange, stop(SELL, "49000"))
    new, _ = send(exchange, stop(BUY, "51000"))
    send(exchange, order(SELL, "0.2", "49000", IOC))
    assert held(exchange) == D("-0.1") and live(exchange) == [new.order_id]
    exchange.set_mark("BTC", D(51000), 2)
    assert held(exchange) == 0 and old.order_id not in exchange.orders


def test_a_trigger_that_does_not_reduce_opens_a_position(exchange):
    send(exchange, stop(BUY, "50500", size="0.1", reduce_only=False))
    exchange.set_mark("BTC", D(50500), 2)
    assert held(exchange) == D("0.1")


def test_a_sized_stop_without_a_position_ends_when_it_fires(exchange):
    answer, _ = send(exchange, stop(SELL, "49000", size="0.1"))
    events = exchange.set_mark("BTC", D(49000), 2)
    assert statuses(events, answer.order_id) == [Status.TRIGGERED, Status.REDUCE_ONLY]


@pytest.mark.parametrize(
    "entry, expected",
    [
        (order(BUY, "0.1", "50001", IOC), {"live": 2, "held": D("0.1")}),  # filled at once: the children are live
        (order(BUY, "0.1", "49000"), {"live": 3, "held": 0}),  # rests: they wait
        (order(BUY, "1.5", "50001", IOC), {"live": 0, "held": D(1)}),  # filled partly: no protection
        (order(BUY, "0.1", "49000", IOC), {"live": 0, "held": 0}),
    ],
)
def test_children_of_an_entry(exchange, entry, expected):
    size = str(entry.size)
    children = [stop(SELL, "48000", size=size), stop(SELL, "52000", size=size, is_stop=False)]
    exchange.set_leverage("me", "BTC", Leverage(40))
    exchange.submit_bracket("me", entry, children, 1)
    assert (len(live(exchange)), held(exchange)) == (expected["live"], expected["held"])


def test_children_go_with_their_canceled_parent(exchange):
    answer, children, _ = exchange.submit_bracket(
        "me", order(BUY, "0.1", "49000"), [stop(SELL, "48000", size="0.1")], 1
    )
    exchange.set_mark("BTC", D(47000), 2)  # a waiting child does not fire
    assert len(live(exchange)) == 2
    events = exchange.cancel("me", answer.order_id, 3)
    assert isinstance(children[0], Placed) and statuses(events, children[0].order_id) == [Status.CANCELED]
    assert not live(exchange)


def test_cancel_is_for_the_owner_alone(exchange):
    answer, _ = send(exchange, order(BUY, "0.1", "49000"))
    assert exchange.cancel("you", answer.order_id, 2) == []
    assert len(exchange.cancel("me", answer.order_id, 2)) == 1
    assert exchange.cancel("me", answer.order_id, 2) == []


def test_the_same_requests_give_the_same_events():
    def play():
        exchange = make()
        enter(exchange)
        send(exchange, stop(SELL, "49500"))
        return exchange.set_mark("BTC", D(49000), 9)

    assert play() == play()


def test_fixed_fees_and_last_price_triggers_for_futures():
    future = Instrument("MNQ", 0, D(1), tick_size=D("0.25"), multiplier=D(2))
    rules = ExchangeRules(fee_per_unit=D("0.37"), has_margin=False, triggers_on_last=True, price_band=None)
    exchange = Exchange([future], rules)
    exchange.open_account("me", D(50000))
    exchange.set_book("MNQ", levels((20000, 5)), levels(("20000.25", 5)), 0)
    exchange.submit("me", Request("MNQ", BUY, D(2), D(21000), IOC), 1)
    exchange.submit("me", Request("MNQ", SELL, D(2), D(19000), GTC, trigger=Trigger(D(19990), True)), 1)
    exchange.set_book("MNQ", levels(("19989.75", 5)), levels((19990, 5)), 2)
    events = exchange.trade("MNQ", D(19990), D(1), SELL, 3)
    (fill,) = (e for e in events if isinstance(e, Execution))
    assert (fill.closed_pnl, fill.fee) == (D("-10.5") * 2 * 2, D("0.74"))
