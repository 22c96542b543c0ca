"""Logical time. Wall-clock time never enters the simulation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["Clock"]


@dataclass(frozen=True)
class Clock:
    """Turns steps into simulated time.

    Parameters
    ----------
    start : datetime
        Simulated time at step 0, aware (UTC).
    step_minutes : float
        Length of a step; the reference paper's is 3 (arXiv 2411.11581, section 2.4).
    """

    start: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    step_minutes: float = 3.0

    def time(self, step: int) -> datetime:
        """Return the simulated time at which `step` begins its decisions."""
        return self.start + timedelta(minutes=self.step_minutes * step)

    def hour(self, step: int) -> int:
        """Return the UTC hour of `step`, 0 to 23."""
        return self.time(step).astimezone(UTC).hour

    def epoch_seconds(self, step: int) -> float:
        """Return seconds of simulated time since 1970-01-01 UTC."""
        return self.time(step).timestamp()

    def steps_in(self, hours: float) -> int:
        """Return how many whole steps fit into `hours`, at least 1."""
        return max(1, int(hours * 60 / self.step_minutes))
