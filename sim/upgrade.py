"""From a request to a WebSocket, for both simulated venues."""

import asyncio

from aiohttp import web


async def upgrade(request: web.Request, ws: web.WebSocketResponse) -> asyncio.Transport | None:
    """The transport of the opened socket; None: the client has hung up meanwhile, as one does that is stopped."""
    try:
        await ws.prepare(request)
    except ConnectionResetError:
        return None
    return request.transport if isinstance(request.transport, asyncio.Transport) else None
