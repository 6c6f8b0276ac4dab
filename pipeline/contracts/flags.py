"""Quality flags: one bit per rule; a flagged value is kept, and masked."""

from __future__ import annotations

from enum import IntFlag


class Flag(IntFlag):
    """Why a value must not be used; 0 means good. Stored as uint16."""

    MISSING = 1
    OUT_OF_RANGE = 2
    SPIKE = 4
    STUCK = 8
    DUPLICATE = 16
    FUTURE = 32
    UNIT_SUSPECT = 64
    FILL_CODE = 128
    CADENCE = 256


FLAG_MEANINGS: dict[Flag, str] = {
    Flag.MISSING: "no value was delivered",
    Flag.OUT_OF_RANGE: "outside the variable's physical bounds",
    Flag.SPIKE: "a jump that the next reading takes back",
    Flag.STUCK: "the same reading for longer than is credible",
    Flag.DUPLICATE: "another reading carries the same node and stamp",
    Flag.FUTURE: "stamped later than it was received",
    Flag.UNIT_SUSPECT: "it reads as if in another unit",
    Flag.FILL_CODE: "the source's code for no measurement, or, out of bounds, a usual one",
    Flag.CADENCE: "sooner after the last reading than the source's cadence allows",
}
