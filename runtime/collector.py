"""Memory: the garbage collector runs when the main loop says so, not between a price and its order.

Left to itself it starts when some hundred objects were made, which is while something happens: 0.1 to 1 ms in the
middle of an exit. Reference counts free nearly everything at once; what is left are circles, made by the libraries.
"""

import ctypes
import gc
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of mallopt(3), glibc
LARGE_BYTES = 64 * 1024
SAFETY_NET = 100_000  # new objects that start a pass after all, should the main loop not come round


def settle() -> None:
    """Once, when everything is built: it lives as long as the bot, and no pass walks it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(SAFETY_NET)


def keep_lean() -> None:
    """Large blocks go back to the system when they are freed, and all threads share one heap. Only with glibc.

    Left to itself it raises that limit with each block freed, and what its heap gives instead leaves holes: an hour
    at 1,000 messages a second with a disconnect a minute had grown by 2 to 3 MB. Heaps of their own for threads that
    come and go cost another 1.7 MB now and then, and save waits that the interpreter's lock makes impossible anyway.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
            mallopt(M_TRIM_THRESHOLD, LARGE_BYTES)
            mallopt(M_ARENA_MAX, 1)


def sweep() -> None:
    """What was made since the last pass: 0.1 to 0.3 ms. Every second."""
    gc.collect(1)


def sweep_all() -> None:
    """All of it: some milliseconds. Every half a minute."""
    gc.collect()
