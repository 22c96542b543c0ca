"""Every deliberate error of OASIS.

::

    OasisError                     exit 1
    ├── InputError                 exit 2   something the user gave is wrong
    │   ├── ScenarioError                   a scenario file, table, key or value
    │   ├── PopulationError                 a population file, row or graph
    │   ├── PluginError                     a platform, recommender, policy ... that is not there
    │   └── RunDirectoryError               a run directory that is missing, damaged or in the way
    ├── ReplayError                exit 1   a run executed again is not the run that was recorded
    ├── InferenceError             exit 1   a language model or its server
    │   └── NoEndpointError                 no endpoint is alive
    └── RunStoppedError            exit 1   the run ended before its last step; what was done is on disk
        ├── BudgetError                     a limit of the scenario's [budget] is reached
        └── FailureLimitError               more decisions failed than the scenario allows

A message says what was got, where, what is allowed and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "BudgetError",
    "FailureLimitError",
    "InferenceError",
    "InputError",
    "NoEndpointError",
    "OasisError",
    "PluginError",
    "PopulationError",
    "ReplayError",
    "RunDirectoryError",
    "RunStoppedError",
    "ScenarioError",
    "nearest",
]


class OasisError(Exception):
    """Base of all errors that OASIS raises on purpose."""

    exit_code = 1


class InputError(OasisError, ValueError):
    """Something the user gave is wrong; nothing was written."""

    exit_code = 2


class ScenarioError(InputError):
    """A scenario file is missing, malformed or contradicts itself."""


class PopulationError(InputError):
    """A population file is missing, malformed or inconsistent."""


class PluginError(InputError):
    """A named component does not exist."""


class RunDirectoryError(InputError):
    """A run directory is missing, damaged, or already there."""


class ReplayError(OasisError):
    """A run executed again is not the run that was recorded."""


class InferenceError(OasisError):
    """A language model could not be used."""


class NoEndpointError(InferenceError):
    """No inference endpoint is alive."""


class RunStoppedError(OasisError):
    """The run ended before its last planned step; what was done is on disk."""


class BudgetError(RunStoppedError):
    """A limit of the scenario's ``[budget]`` is reached."""


class FailureLimitError(RunStoppedError):
    """A larger share of decisions failed than the scenario allows."""


def nearest(got: str, allowed: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the allowed name closest to `got`, or an empty string."""
    matches = get_close_matches(got, sorted(allowed), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
