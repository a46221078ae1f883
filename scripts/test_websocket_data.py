"""Is this feed real-time? Listens to the stream and to REST of the configured venue, compares them, and says one word.

    python scripts/test_websocket_data.py [--config FILE] [--seconds 30] [--symbol SYMBOL ...] [--json]

Places no orders. On TopstepX run it before the bot, not beside it: both share one login's limits.
Exit codes: 0 real-time; 1 not; 2 bad config or usage; 3 credentials refused.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, Python looks for modules beside it only

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from config.credentials import load_secrets, missing_secrets
from config.faults import ConfigFault
from config.settings import DEFAULT_PATH, Settings, ensure_config, load
from runtime.clock import Clock, SystemClock
from runtime.venue import CredentialsRefused, VenueUnavailable
from scripts.feed_analysis import analyse
from scripts.feed_listen import listen
from scripts.feed_report import show
from scripts.feed_samples import Report

EXIT_REAL_TIME, EXIT_NOT, EXIT_USAGE, EXIT_CREDENTIALS = 0, 1, 2, 3
SECONDS_MAX = 86_400


def main(argv: list[str] | None = None) -> int:
    arguments = parse(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a Windows console with an old code page
            stream.reconfigure(encoding="utf-8", errors="replace")
    logging.getLogger().addHandler(logging.NullHandler())  # troubles are part of the report
    try:
        settings = settings_of(arguments.config, arguments.symbol)
        report = measure(settings, arguments.seconds, SystemClock())
    except ConfigFault as e:
        for fault in e.lines:
            print(f"config: {fault}", file=sys.stderr)
        return EXIT_USAGE
    except CredentialsRefused as e:
        print(f"credentials refused: {e}", file=sys.stderr)
        return EXIT_CREDENTIALS
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        show(Console(), report, f"{settings.venue} {settings.network}")
    return EXIT_REAL_TIME if report.verdict == "real-time" else EXIT_NOT


def parse(argv: list[str]) -> argparse.Namespace:
    """Usage faults end with exit code 2, argparse's own."""
    parser = argparse.ArgumentParser(
        prog="test_websocket_data.py", description="Is this feed real-time? Stream against REST, one verdict."
    )
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, help="config file (default config/config.json)")
    parser.add_argument("--seconds", type=seconds, default=30.0, help="how long to listen (default 30)")
    parser.add_argument("--symbol", action="append", default=[], help="instead of the config's; may be repeated")
    parser.add_argument("--json", action="store_true", help="the same figures for programs")
    return parser.parse_args(argv)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, at most {SECONDS_MAX}")
    return value


def settings_of(path: Path, symbols: list[str]) -> Settings:
    """The config with `symbols` in place of its markets, if there are any. Raises ConfigFault."""
    if ensure_config(path):
        print(f"created {path} for the simulator: no real money is involved", file=sys.stderr)
    settings = load(path)
    missing = missing_secrets(settings, load_secrets())
    if missing:
        raise ConfigFault(missing)
    if not symbols:
        return settings
    like = settings.markets[0]
    markets = [msgspec.structs.replace(like, symbol=symbol) for symbol in dict.fromkeys(symbols)]
    return msgspec.structs.replace(settings, markets=markets)


def measure(settings: Settings, seconds: float, clock: Clock) -> Report:
    """Listen, with a bar on a terminal, and judge. A venue that cannot be reached is silent."""
    console = Console(stderr=True)
    columns = TextColumn("listening"), BarColumn(), TextColumn("{task.fields[heard]} updates"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=seconds, heard=0)

        def progress(elapsed_s: float, updates: int) -> None:
            bar.update(task, completed=elapsed_s, heard=updates)

        try:
            listening, heard = listen(settings, load_secrets(), seconds, clock, progress)
        except VenueUnavailable as e:
            text = f"the venue cannot be reached: {e}"
            return Report("silent", f"silent: {text}", 0.0, None, (), (text,))
    return analyse(listening, {symbol: (updates, bars) for symbol, (updates, bars) in heard.items()})


if __name__ == "__main__":
    sys.exit(main())
