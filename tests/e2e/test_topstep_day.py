"""The story of a day on TopstepX: enter with a bracket, trail in place, leave, clean up; and what gets in the way."""

from collections.abc import Callable
from decimal import Decimal as D

import pytest

from core.model import Side
from sim.topstepx_sim import TopstepxSim
from tests.e2e.futures import ENTER, MGC, calls, executed, market, stops, targets
from tests.e2e.harness import BotThread, eventually, field

Make = Callable[..., BotThread]


def enter(gateway: TopstepxSim, running: BotThread, times: int = 1) -> None:
    """A long of two, its stop known to work. A bar that closes before the bot may enter is followed by another."""
    for _ in range(4):
        gateway.move(MGC, "4101")
        if running.log.comes("protected ", times, within_s=2.5):
            break
        gateway.move(MGC, "4100")
    running.log.wait("protected ", times)
    eventually(lambda: gateway.position(MGC) == 2)


def test_enters_with_a_bracket_trails_in_place_and_the_venues_stop_closes_it(gateway: TopstepxSim, desk: Make) -> None:
    rules = market(ENTER, trailing_stop_ticks=20, trailing_activate_ticks=20, trailing_step_ticks=5)
    running = desk(markets=[rules]).start()
    enter(gateway, running)
    entry = D(field(running.log.wait("position_opened"), "entry_price"))  # as the order's own news has it
    assert entry == D(field(running.log.wait("fill symbol"), "price"))
    assert stops(gateway) == [(entry - 5, 2)] and targets(gateway) == [(entry + 10, 2)]

    gateway.move(MGC, "4106")
    eventually(lambda: stops(gateway) == [(4104, 2)], what="the stop has followed, in place")
    assert calls(gateway, "Order/place", "Order/modify", "Order/cancel") == ["Order/place", "Order/modify"]

    gateway.move(MGC, "4103.9")
    running.log.wait("market_clean", 2)
    assert executed(gateway) == [(0, 2), (1, 2)] and gateway.orders() == []
    assert field(running.log.wait("position_closed"), "reason") == "VENUE_STOP"
    assert running.stop() == 0


def test_the_next_trade_follows_the_last_one_s_target(gateway: TopstepxSim, desk: Make) -> None:
    """Each entry waits for its own bracket: no second stop, however soon after the last trade."""
    running = desk(markets=[market(ENTER)]).start()
    for number in (1, 2):
        enter(gateway, running, number)
        gateway.move(MGC, "4112")
        running.log.wait("market_clean", number + 1)
    assert executed(gateway) == [(0, 2), (1, 2), (0, 2), (1, 2)] and gateway.orders() == []
    assert calls(gateway, "Order/place") == ["Order/place"] * 2


def test_leaving_by_its_own_decision_clears_the_way_first(gateway: TopstepxSim, desk: Make) -> None:
    """Page 2.11: children first, then the position as the venue states it, then the close, then proof."""
    running = desk(markets=[market(ENTER, max_hold_minutes=0.05)]).start()
    enter(gateway, running)
    running.log.wait("market_clean", 2)
    assert executed(gateway) == [(0, 2), (1, 2)] and gateway.orders() == []
    told = calls(gateway, "Order/place", "Order/cancel", "Position/searchOpen")
    leaving = told[told.index("Order/cancel") :]
    assert leaving[:2] == ["Order/cancel", "Order/cancel"]
    assert leaving.index("Position/searchOpen") < leaving.index("Order/place")
    assert field(running.log.wait("position_closed"), "reason") == "TIME_LIMIT"


@pytest.mark.parametrize("late_ms", [0, 30, 200])
def test_the_venues_stop_and_our_exit_in_the_same_instant(gateway: TopstepxSim, desk: Make, late_ms: int) -> None:
    running = desk(markets=[market(ENTER, max_hold_minutes=0.05)]).start()
    enter(gateway, running)
    if late_ms:
        gateway.fault("slow_answer", action="Order/cancel", ms=late_ms)
    running.log.wait("cancel_sent")
    gateway.trade(MGC, "4095", side=Side.SELL)  # through the stop, while its cancel is under way
    running.log.wait("market_clean", 2)
    assert gateway.position(MGC) == 0 and gateway.orders() == []
    net = sum((1 if side == 0 else -1) * size for side, size in executed(gateway))
    assert net == 0


def test_a_child_that_fills_after_the_close_is_repaired(gateway: TopstepxSim, desk: Make) -> None:
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    gateway.move(MGC, "4112")
    running.log.wait("market_clean", 2)
    gateway.deal(MGC, Side.SELL, 2)  # as an orphan would: a position that nobody wanted
    running.log.wait("protected ", 2)  # a hand's, as far as anybody can know: adopted and protected at once
    assert stops(gateway)[0][1] == 2


def test_an_orphan_that_opens_a_position_is_closed_at_once(gateway: TopstepxSim, desk: Make) -> None:
    """Its cancel is refused, so it works on while the account is flat, and fires (page 2.7)."""
    running = desk(markets=[market(ENTER, max_hold_minutes=0.05)]).start()
    enter(gateway, running)
    gateway.fault("refuse", action="Order/cancel", code=5, for_s=30)
    running.log.wait("position_closed")
    eventually(lambda: gateway.position(MGC) == 0 and gateway.orders(), what="flat, and a child works on")
    gateway.fault("orphan_fills")
    running.log.wait("position_flipped")
    gateway.call(lambda server: server.clear_fault("refuse"))
    eventually(lambda: gateway.position(MGC) == 0 and gateway.orders() == [], 8, "flat again, nothing works")
    bought = sum(size for side, size in executed(gateway) if side == 0)
    assert bought == sum(size for side, size in executed(gateway) if side == 1)


def test_a_hand_that_turns_the_position_round_is_protected_on_the_other_side(gateway: TopstepxSim, desk: Make) -> None:
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    gateway.deal(MGC, Side.SELL, 5)
    eventually(lambda: [size for _, size in stops(gateway)] == [3], what="a stop for the short of three")
    assert all(order["side"] == 0 for order in gateway.orders()), "what guarded the long would add to the short"
    assert gateway.position(MGC) == -3 and stops(gateway)[0][0] > 4101
    gateway.move(MGC, "4112")
    running.log.wait("market_clean", 2)
    assert gateway.position(MGC) == 0 and gateway.orders() == []


def test_position_brackets_are_learned_from_the_refusal(gateway: TopstepxSim, desk: Make) -> None:
    """Stop and target of the bot's own, and its own one-cancels-other."""
    gateway.set_brackets("position")
    running = desk(markets=[market(ENTER)]).start()
    gateway.move(MGC, "4101")
    assert "Auto OCO" in running.log.wait("brackets_refused")
    gateway.move(MGC, "4100")
    gateway.move(MGC, "4101")
    running.log.wait("protected ")
    eventually(lambda: len(gateway.orders()) == 2, what="a stop and a target")
    stop, target = stops(gateway)[0], targets(gateway)[0]
    assert stop[1] == target[1] == 2 and stop[0] < 4101 < target[0]
    gateway.move(MGC, "4095")
    eventually(lambda: gateway.position(MGC) == 0 and gateway.orders() == [], what="flat, and the target gone")
    assert int(field(running.log.wait("protected "), "unprotected_ms")) < 2_000


def test_a_guardian_protects_what_is_opened_by_hand(gateway: TopstepxSim, desk: Make) -> None:
    running = desk().start()
    gateway.deal(MGC, Side.BUY, 1)
    running.log.wait("protected ")
    assert [size for _, size in stops(gateway)] == [1]
    gateway.deal(MGC, Side.BUY, 2)
    eventually(lambda: [size for _, size in stops(gateway)] == [3], what="the stop grows with the position")
    gateway.deal(MGC, Side.SELL, 2)
    eventually(lambda: [size for _, size in stops(gateway)] == [1], what="and shrinks with it")
    gateway.deal(MGC, Side.SELL, 1)
    running.log.wait("market_clean", 2)
    assert gateway.orders() == [] and gateway.position(MGC) == 0


def test_a_lost_answer_is_looked_up_and_never_sent_again(gateway: TopstepxSim, desk: Make) -> None:
    running = desk(markets=[market(ENTER)]).start()
    gateway.fault("drop_answer", action="Order/place", times=1)
    enter(gateway, running)
    assert calls(gateway, "Order/place") == ["Order/place"]
    assert executed(gateway) == [(0, 2)]


def test_a_lost_request_opens_nothing_and_is_never_sent_again(gateway: TopstepxSim, desk: Make) -> None:
    running = desk(markets=[market(ENTER)]).start()
    gateway.fault("lost_request", action="Order/place", times=1)
    gateway.move(MGC, "4101")
    assert "REJECTED" in running.log.wait("order_settled", timeout_s=20)
    assert executed(gateway) == [] and len(calls(gateway, "Order/place")) == 1


def test_the_account_locked_by_the_venue_halts(gateway: TopstepxSim, desk: Make) -> None:
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    gateway.lock()
    assert "locked" in running.log.wait("halted")
    eventually(lambda: gateway.position(MGC) == 0 and running.status().get("halted"))


def test_a_rolled_contract_starts_the_bot_anew(
    gateway: TopstepxSim, desk: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiring.topstep.ROLL_EVERY_MS", 300)
    running = desk(markets=[market(ENTER)]).start()
    enter(gateway, running)
    before = gateway.contract(MGC)
    after = gateway.roll(MGC)
    running.log.wait("contract_rolled", timeout_s=20)
    assert before in str(gateway.account()["positions"]) and stops(gateway)  # not with a position open
    gateway.call(lambda server: server.venue.clear_account(server.venue.book.accounts[gateway.practice_id]))
    running.log.wait(" starting ", 2, timeout_s=20)
    running.log.wait("account_synced", 2)
    assert running.is_running
    eventually(lambda: ["GatewayTrade", after] in gateway.subscriptions(), what="the new month's prices")
