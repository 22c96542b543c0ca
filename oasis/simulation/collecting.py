"""When Python looks for garbage: seldom while a step is made, whose many small objects live until its end."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["seldom_collected"]

_THRESHOLDS = (100_000, 20, 100)
"""New objects until the youngest are looked at, and how often that is done until older ones are. With the usual
(700, 10, 10) a third of the time of decisions by a language model went there (2,000 agents, measured)."""


@contextmanager
def seldom_collected() -> Generator[None]:
    """Raise the collector's thresholds, and put them back."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
