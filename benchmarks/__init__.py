"""Speed and size of the bot beside its rivals, on one loopback venue: `python -m benchmarks`."""
