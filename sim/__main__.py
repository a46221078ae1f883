"""Run a simulated venue by itself: `python -m sim --venue hyperliquid --port 9000`, or `--venue topstepx`.

Prints one line with its address when it is ready, and runs until SIGINT or SIGTERM (or, with --exit-with-stdin, until
its standard input ends).
"""

import argparse
import asyncio
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from sim.faults import TimedFault, read_script
from sim.harness import Server
from sim.hyperliquid_server import HyperliquidServer
from sim.hyperliquid_venue import SimConfig
from sim.market import PRESETS
from sim.topstepx_products import PRODUCTS
from sim.topstepx_server import TopstepxServer
from sim.topstepx_sessions import CHICAGO
from sim.topstepx_venue import TopstepxConfig


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _complain(text: str) -> int:
    sys.stderr.write(text + "\n")
    return 1


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sim", description="A simulated venue on a loopback port.")
    parser.add_argument("--venue", choices=["hyperliquid", "topstepx"], default="hyperliquid")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="lively")
    parser.add_argument(
        "--replay", type=Path, help="CSV of bars or trades (plain or .gz): prices of the first coin, or of --symbol"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than recorded")
    parser.add_argument("--block-ms", type=int, help="time between two moves of the market (70; topstepx 24)")
    parser.add_argument("--latency-ms", type=int, default=0, help="before every answer of /exchange, or of /api")
    parser.add_argument("--faults", type=Path, help="JSON list of {at_s, fault, args, for_s}")
    parser.add_argument("--idle-close", type=float, default=75.0, help="seconds an HTTP connection may idle")
    parser.add_argument("--paused", action="store_true", help="prices stand still")
    parser.add_argument("--no-limits", action="store_true", help="no limits of requests, connections or messages")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    hyperliquid = parser.add_argument_group("hyperliquid")
    hyperliquid.add_argument(
        "--fund", type=Decimal, default=Decimal(10_000), help="USDC of every account at first sight"
    )
    hyperliquid.add_argument("--coins", default="BTC,ETH,SOL")
    hyperliquid.add_argument("--mainnet", action="store_true", help="verify signatures as mainnet")
    topstepx = parser.add_argument_group("topstepx")
    topstepx.add_argument("--symbol", choices=sorted(PRODUCTS), default="MGC", help="whose prices --replay plays")
    topstepx.add_argument("--brackets", choices=["auto-oco", "position"], default="auto-oco")
    topstepx.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="how old market data are")
    topstepx.add_argument("--delay-what", choices=["rest", "hub", "both"], default="both")
    topstepx.add_argument(
        "--clock",
        help="the venue's time at the start: ISO (Chicago's when it has no offset) or seconds from now (+3600, +0); "
        "trading hours then follow it. Without it: real time, and hours as if it were 9:30 AM on a trading day",
    )
    return parser.parse_args(argv)


def clock_us(text: str) -> int:
    """What --clock adds to the wall clock. Raises ValueError."""
    try:
        return int(float(text) * 1e6)
    except ValueError:
        moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=CHICAGO) if moment.tzinfo is None else moment
    return int((moment - datetime.now(UTC)).total_seconds() * 1e6)


def topstepx_config(args: argparse.Namespace) -> TopstepxConfig:
    return TopstepxConfig(
        seed=args.seed,
        preset=args.preset,
        block_ms=24 if args.block_ms is None else args.block_ms,
        paused=args.paused,
        replay=args.replay,
        replay_symbol=args.symbol,
        speed=args.speed,
        latency_ms=args.latency_ms,
        limits=not args.no_limits,
        idle_close_s=args.idle_close,
        brackets=args.brackets,
        delay_s=args.delay,
        delay_what=args.delay_what,
        clock_us=0 if args.clock is None else clock_us(args.clock),
        real_hours=args.clock is not None,
    )


def hyperliquid_config(args: argparse.Namespace) -> SimConfig:
    return SimConfig(
        seed=args.seed,
        fund=args.fund,
        coins=tuple(coin for coin in args.coins.split(",") if coin),
        preset=args.preset,
        block_ms=70 if args.block_ms is None else args.block_ms,
        paused=args.paused,
        replay=args.replay,
        speed=args.speed,
        latency_ms=args.latency_ms,
        mainnet=args.mainnet,
        limits=not args.no_limits,
        idle_close_s=args.idle_close,
    )


def maker(args: argparse.Namespace) -> Callable[[], Server]:
    """Builds the server of the chosen venue, on the loop it will live on."""
    if args.venue == "topstepx":
        futures = topstepx_config(args)
        return lambda: TopstepxServer(futures)
    perpetuals = hyperliquid_config(args)
    return lambda: HyperliquidServer(perpetuals)


async def run(make: Callable[[], Server], args: argparse.Namespace, script: list[TimedFault]) -> int:
    server, stopped, port = make(), asyncio.Event(), args.port
    loop = asyncio.get_running_loop()

    def stop(*_: object) -> None:
        loop.call_soon_threadsafe(stopped.set)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        bound = await server.start(port)
    except OSError as e:
        why = "the port is in use" if e.errno == errno.EADDRINUSE else e.strerror or str(e)
        return _complain(f"cannot listen on 127.0.0.1:{port}: {why}")
    if args.exit_with_stdin:
        threading.Thread(target=_watch_stdin, args=(stop,), name="stdin", daemon=True).start()
    server.run_script(script)
    _say(f"simulated {args.venue} ready at http://127.0.0.1:{bound}")
    while not stopped.is_set():
        # Windows delivers a signal only when the loop turns: give it a turn now and then.
        try:
            await asyncio.wait_for(stopped.wait(), 0.5)
        except TimeoutError:
            continue
    await server.stop()
    return 0


def _watch_stdin(stop: Callable[[], None]) -> None:
    # Not through sys.stdin: a thread that waits inside it when the interpreter ends is a fatal error.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop()


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        script = read_script(args.faults.read_bytes()) if args.faults else []
        return asyncio.run(run(maker(args), args, script))
    except (OSError, ValueError) as e:
        return _complain(f"cannot start: {e}")


if __name__ == "__main__":
    sys.exit(main())
