"""The garbage collector runs when the main loop says so, not between a price and its order.

Left to itself it starts when some hundred objects were made, which is while something happens: 0.1 to 1 ms in the
middle of an exit. Reference counts free nearly everything at once; what is left are circles, made by the libraries.
"""

import gc

SAFETY_NET = 100_000  # new objects that start a pass after all, should the main loop not come round


def settle() -> None:
    """Once, when everything is built: it lives as long as the bot, and no pass walks it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(SAFETY_NET)


def sweep() -> None:
    """What was made since the last pass: 0.1 to 0.3 ms. Every second."""
    gc.collect(1)


def sweep_all() -> None:
    """All of it: some milliseconds. Every half a minute."""
    gc.collect()
