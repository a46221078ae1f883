"""The shapes of Hyperliquid's WebSocket frames (protocol page 1.3, 1.6): only what is read; unknown keys are skipped.

One decoder for all: msgspec finds the shape by `channel` and checks every type in the same pass.
"""

from typing import Annotated, Any, Literal

import msgspec

Millis = Annotated[int, msgspec.Meta(gt=0, lt=10**14)]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Number = Annotated[str, msgspec.Meta(max_length=34)]  # 12 digits, a point, 20 places, and a sign
Coin = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class WireTrade(msgspec.Struct, gc=False):
    coin: Coin
    side: Literal["A", "B"]
    px: Number
    sz: Number
    time: Millis
    tid: Id


class WireLevel(msgspec.Struct, gc=False):
    px: Number
    sz: Number


class WireBbo(msgspec.Struct):
    coin: Coin
    time: Millis
    bbo: tuple[WireLevel | None, WireLevel | None]


class WireBook(msgspec.Struct):
    coin: Coin
    time: Millis
    levels: tuple[list[WireLevel], list[WireLevel]]


class WireCandle(msgspec.Struct, gc=False):
    t: Millis
    T: Millis
    s: Coin
    o: Number
    h: Number
    low: Number = msgspec.field(name="l")
    c: Number
    v: Number


class WireCtx(msgspec.Struct, gc=False):
    markPx: Number
    oraclePx: Number | None = None
    midPx: Number | None = None


class WireAssetCtx(msgspec.Struct):
    coin: Coin
    ctx: WireCtx


class WireLiquidation(msgspec.Struct, gc=False):
    liquidatedUser: str | None = None


class WireFill(msgspec.Struct):
    coin: Coin
    px: Number
    sz: Number
    side: Literal["A", "B"]
    time: Millis
    closedPnl: Number
    oid: Id
    fee: Number
    tid: Id
    startPosition: Number | None = None
    cloid: str | None = None
    liquidation: WireLiquidation | None = None


class WireUserFills(msgspec.Struct):
    user: str
    fills: list[WireFill]
    isSnapshot: bool | None = None  # later frames leave the key out


class WireUserEvents(msgspec.Struct):
    fills: list[WireFill] | None = None  # the other variants (funding, liquidation, ...) hold nothing we decide on


class WireOrder(msgspec.Struct):
    coin: Coin
    sz: Number
    oid: Id
    cloid: str | None = None


class WireOrderUpdate(msgspec.Struct):
    order: WireOrder
    status: str
    statusTimestamp: Millis


class WireAck(msgspec.Struct):
    method: str
    subscription: dict[str, Any]


class WireFrame(msgspec.Struct, tag_field="channel"):
    pass


class TradesFrame(WireFrame, tag="trades"):
    data: list[WireTrade]


class BboFrame(WireFrame, tag="bbo"):
    data: WireBbo


class BookFrame(WireFrame, tag="l2Book"):
    data: WireBook


class CandleFrame(WireFrame, tag="candle"):
    data: WireCandle | list[WireCandle]  # one object live, an array in the docs


class CtxFrame(WireFrame, tag="activeAssetCtx"):
    data: WireAssetCtx


class UserFillsFrame(WireFrame, tag="userFills"):
    data: WireUserFills


class UserFrame(WireFrame, tag="user"):
    data: WireUserEvents


class OrderUpdatesFrame(WireFrame, tag="orderUpdates"):
    data: list[WireOrderUpdate]


class AckFrame(WireFrame, tag="subscriptionResponse"):
    data: WireAck


class ErrorFrame(WireFrame, tag="error"):
    data: str


class PongFrame(WireFrame, tag="pong"):
    pass


class PostFrame(WireFrame, tag="post"):
    pass


class Envelope(msgspec.Struct):
    channel: str


_FRAMES = (
    TradesFrame
    | BboFrame
    | BookFrame
    | CandleFrame
    | CtxFrame
    | UserFillsFrame
    | UserFrame
    | OrderUpdatesFrame
    | AckFrame
    | ErrorFrame
    | PongFrame
    | PostFrame
)
CHANNELS = frozenset(f.__struct_config__.tag for f in _FRAMES.__args__)
decode_any = msgspec.json.Decoder(_FRAMES).decode
decode_envelope = msgspec.json.Decoder(Envelope).decode
