"""Log-probabilities out of replies: of labels, from those of first tokens, and of a given text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from oasis.inference.transport import Reply

__all__ = ["NO_LOGPROBS", "NO_SCORES", "continuation_logprob", "label_logprobs"]

NO_LOGPROBS = "refused: the server gives no log-probabilities"
"""Error of an attempt whose answer has none: final, for the next would have none either."""
NO_SCORES = "refused: servers give no log-probabilities of given texts; a model in this process does (--llm local)"
"""Error of an attempt to score at one that cannot: final."""
_AROUND = " \t\n\u2581\u0120\u010a\"'*(."
"""What tokens put before or after a label: white space in its disguises, and marks."""


def label_logprobs(reply: Reply, labels: Sequence[str]) -> tuple[float, ...] | None:
    """Return the log-probability of each label, as float32 holds it; -inf for one that is not among the likeliest.

    A label is all tokens that say it: ``A``, `` A``, ``"A"``, and so on. None where the server gave nothing.
    """
    if reply.logprobs is None:
        return None
    mass = dict.fromkeys(labels, 0.0)
    for token, logprob in reply.logprobs:
        label = token.strip(_AROUND)
        if label in mass and not math.isnan(logprob):
            mass[label] += math.exp(logprob)
    return tuple(float(np.float32(math.log(p))) if p > 0 else -math.inf for p in mass.values())


def continuation_logprob(reply: Reply) -> float | None:
    """Return the log-probability of the text that was given, as float32 holds it; None where there is none."""
    if reply.logprob is None or not math.isfinite(reply.logprob):
        return None
    return float(np.float32(reply.logprob))
