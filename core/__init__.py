"""The brain: values and pure functions. No I/O, no clock, no logger, no globals that change."""
