"""Run a simulated venue by itself: `python -m sim --venue hyperliquid --port 9000`.

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
from decimal import Decimal
from pathlib import Path

from sim.faults import TimedFault, read_script
from sim.hyperliquid_server import HyperliquidServer
from sim.hyperliquid_venue import SimConfig
from sim.market import PRESETS


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _complain(text: str) -> int:
    sys.stderr.write(text + "\n")
    return 1


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sim", description="A simulated venue on a loopback port.")
    parser.add_argument("--venue", choices=["hyperliquid"], default="hyperliquid")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fund", type=Decimal, default=Decimal(10_000), help="USDC of every account at first sight")
    parser.add_argument("--coins", default="BTC,ETH,SOL")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="lively")
    parser.add_argument("--replay", type=Path, help="CSV of bars or trades (plain or .gz): prices of the first coin")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than recorded")
    parser.add_argument("--block-ms", type=int, default=70)
    parser.add_argument("--latency-ms", type=int, default=0, help="before every answer of /exchange")
    parser.add_argument("--faults", type=Path, help="JSON list of {at_s, fault, args, for_s}")
    parser.add_argument("--mainnet", action="store_true", help="verify signatures as mainnet")
    parser.add_argument("--idle-close", type=float, default=75.0, help="seconds an HTTP connection may idle")
    parser.add_argument("--paused", action="store_true", help="prices stand still")
    parser.add_argument("--no-limits", action="store_true", help="no request weight, connection or message limits")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    return parser.parse_args(argv)


def config_of(args: argparse.Namespace) -> SimConfig:
    return SimConfig(
        seed=args.seed,
        fund=args.fund,
        coins=tuple(coin for coin in args.coins.split(",") if coin),
        preset=args.preset,
        block_ms=args.block_ms,
        paused=args.paused,
        replay=args.replay,
        speed=args.speed,
        latency_ms=args.latency_ms,
        mainnet=args.mainnet,
        limits=not args.no_limits,
        idle_close_s=args.idle_close,
    )


async def run(config: SimConfig, port: int, script: list[TimedFault], exit_with_stdin: bool) -> int:
    server, stopped = HyperliquidServer(config), asyncio.Event()
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
    if exit_with_stdin:
        threading.Thread(target=_watch_stdin, args=(stop,), name="stdin", daemon=True).start()
    server.run_script(script)
    _say(f"simulated hyperliquid ready at http://127.0.0.1:{bound}")
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
        config = config_of(args)
        return asyncio.run(run(config, args.port, script, args.exit_with_stdin))
    except (OSError, ValueError) as e:
        return _complain(f"cannot start: {e}")


if __name__ == "__main__":
    sys.exit(main())
