"""What a strategy may say at a bar close."""

import enum


class Signal(enum.Enum):
    LONG = "LONG"  # be long from here on
    SHORT = "SHORT"
    FLAT = "FLAT"  # leave a position, if there is one
