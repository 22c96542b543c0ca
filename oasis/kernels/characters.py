"""UTF-8 bytes of texts: is there any character that texts may not hold."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["DROPPED", "any_dropped", "any_dropped_numpy"]

U8 = npt.NDArray[np.uint8]

# C0 and C1 controls except tab and newline, the bidirectional controls (U+061C, U+200E-F, U+202A-E,
# U+2066-9), the line and paragraph separators, the byte order mark and U+FFFC.
DROPPED = "\\x00-\\x08\\x0B-\\x1F\\x7F-\\x9F\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffc"
"""The characters that are dropped, as the inside of a class of a regular expression."""

_BLOCK = 64  # bytes looked at together; most blocks are plain ASCII


@kernel()
def any_dropped(data: U8) -> bool:
    """Return whether any character of valid UTF-8 is in `DROPPED`."""
    n = len(data)
    for start in range(0, n, _BLOCK):
        end = min(start + _BLOCK, n)
        odd = False
        for i in range(start, end):
            odd |= (data[i] < 0x20) | (data[i] > 0x7E)
        if not odd:
            continue
        for i in range(start, end):
            a = data[i]
            if np.uint8(32) <= a < np.uint8(0x7F) or a == 9 or a == 10:
                continue
            if a < 32 or a == 0x7F:
                return True
            if a == 0xC2 and data[i + 1] < 0xA0 or a == 0xD8 and data[i + 1] == 0x9C:  # U+0080-9F, U+061C
                return True
            if a == 0xE2 and data[i + 1] == 0x80 and 0x8E <= data[i + 2] <= 0x8F:  # U+200E-F
                return True
            if a == 0xE2 and data[i + 1] == 0x80 and 0xA8 <= data[i + 2] <= 0xAE:  # U+2028-E
                return True
            if a == 0xE2 and data[i + 1] == 0x81 and 0xA6 <= data[i + 2] <= 0xA9:  # U+2066-9
                return True
            if a == 0xEF and (
                data[i + 1] == 0xBB and data[i + 2] == 0xBF or data[i + 1] == 0xBF and data[i + 2] == 0xBC
            ):
                return True
    return False


def any_dropped_numpy(data: U8) -> bool:
    """Return what `any_dropped` does, by a regular expression."""
    return re.search(f"[{DROPPED}]", data.tobytes().decode()) is not None
