"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("oasis", deadline=None, derandomize=True)  # no wall-clock time in tests; the same cases
settings.load_profile("oasis")
