"""What the simulated TopstepX refuses, in its own words: protocol page 2.6 to 2.8. Pure."""

from decimal import Decimal

import msgspec

from sim.topstepx_types import Account, Bracket, Order, OrderType, Refused, Request

PLACE_REJECTED, PLACE_VIOLATION, PLACE_NO_CONTRACT, PLACE_NOT_ACTIVE = 2, 4, 8, 9
MODIFY_REJECTED = 3
MIN_BRACKET_TICKS = 4
MAX_TRAIL_TICKS = 1000
NEEDS_OCO = "Brackets cannot be used with Position Brackets. You must enable Auto OCO Brackets."
TAG_USED = "Specified custom tag is already in use"
FAR_AWAY = "Invalid price. Price is outside allowed range."
BAD_STOP = "Invalid stop price"
BAD_LIMIT = "Invalid limit price"  # the wording is ours
BAD_TRAIL = "Invalid trail price. Price is not aligned to tick size."
LOCKED = "Account is not allowed to trade."  # the wording is ours


class Prices(msgspec.Struct):
    """What the market shows of one contract; None: nothing yet."""

    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None

    def touch(self, sign: int) -> Decimal | None:
        """What a market order pays: the ask for a buy (+1), the bid for a sell."""
        return self.ask if sign > 0 else self.bid


def check_account(account: Account, request: Request, tags: set[str], closed: str | None) -> Refused | None:
    """`closed`: why the market takes nothing at the moment, if so."""
    if not account.can_trade:
        return Refused(PLACE_VIOLATION, LOCKED)
    if request.tag is not None and request.tag in tags:
        return _rejected(TAG_USED)
    if not 1 <= request.type <= 7 or request.side not in (0, 1):
        return _rejected(f"Invalid order type ({request.type})." if request.side in (0, 1) else "Invalid order side")
    if request.size <= 0:
        return _rejected(f"Invalid order size ({request.size}).")
    return _rejected(closed) if closed else None


def _rejected(text: str) -> Refused:
    return Refused(PLACE_REJECTED, text)


def check_prices(order: Order, request: Request, prices: Prices, band: Decimal) -> Refused | None:
    """Alignment, the side of the market, and the distance from it (`band`: a fraction of the last price)."""
    if order.type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        if request.limit_price is None or not order.contract.is_aligned(request.limit_price):
            return _rejected(BAD_LIMIT)
        if _is_far(request.limit_price, prices, band):
            return _rejected(FAR_AWAY)
    if order.type in (OrderType.STOP, OrderType.STOP_LIMIT):
        if is_bad_stop(order, request.stop_price, prices):
            return _rejected(BAD_STOP)
        assert request.stop_price is not None
        if _is_far(request.stop_price, prices, band):
            return _rejected(FAR_AWAY)
    if order.type is OrderType.TRAILING_STOP:
        return check_trail(order, request.trail_price, prices)
    return None


def is_bad_stop(order: Order, price: Decimal | None, prices: Prices) -> bool:
    """Absent, misaligned, or already reached by the market: a sell stop at the bid or above, a buy stop at the ask or
    below."""
    if price is None or not order.contract.is_aligned(price):
        return True
    market = prices.touch(order.sign)
    return market is not None and order.sign * (price - market) <= 0


def _is_far(price: Decimal, prices: Prices, band: Decimal) -> bool:
    reference = prices.bid or prices.last
    return reference is not None and abs(price - reference) > reference * band


def check_trail(order: Order, level: Decimal | None, prices: Prices) -> Refused | None:
    if level is None:
        return _rejected("Trail Distance not set.")
    if not order.contract.is_aligned(level):
        return _rejected(BAD_TRAIL)
    if prices.last is None:
        return _rejected("Cannot trail without a last price")
    if trail_ticks(order, level, prices) > MAX_TRAIL_TICKS:
        return _rejected(f"Trail Distance exceeds maximum ({MAX_TRAIL_TICKS})")
    return None


def trail_ticks(order: Order, level: Decimal, prices: Prices) -> int:
    """floor(|last - level| / tick) (page 2.7)."""
    assert prices.last is not None
    return int(abs(prices.last - level) // order.contract.tick)


def check_brackets(account: Account, request: Request) -> Refused | None:
    """Mode, signs, distance and types of the pair."""
    stop, target = request.stop_loss, request.take_profit
    if stop is None and target is None:
        return None
    if not account.is_auto_oco:
        return _rejected(NEEDS_OCO)
    if stop is not None and stop.type not in (OrderType.STOP, OrderType.TRAILING_STOP):
        return _rejected(f"Invalid stop loss type ({_type_name(stop)})")
    if target is not None and target.type != OrderType.LIMIT:
        return _rejected(f"Invalid take profit type ({_type_name(target)})")
    sign = 1 if request.side == 0 else -1
    for bracket, what, side in ((stop, "stop loss", -sign), (target, "take profit", sign)):
        if bracket is not None and (text := _ticks_fault(bracket.ticks, what, side, request.side)):
            return _rejected(text)
    return None


def _type_name(bracket: Bracket) -> str:
    known = bracket.type in OrderType.__members__.values()
    return OrderType(bracket.type).name.title().replace("_", "") if known else str(int(bracket.type))


def _ticks_fault(ticks: int, what: str, wanted: int, side: int) -> str | None:
    if ticks * wanted < 0:
        less = "less" if wanted < 0 else "greater"
        going = "longing." if side == 0 else "going short."
        return f"Invalid {what} ticks ({ticks}). Ticks should be {less} than zero when {going}"
    if abs(ticks) < MIN_BRACKET_TICKS:
        return f"Invalid {what} ticks ({ticks}). Price should be at least {MIN_BRACKET_TICKS} ticks away."
    return None
