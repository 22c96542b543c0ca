"""What the model expects agents to do, in closed form: the numbers of ``docs/choice-model.md``."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from oasis.actions import Action
from oasis.agents.choice.model import FEATURES, Menu, Model
from oasis.kernels import choice as kernel

__all__ = ["REFERENCE_COMMENT", "REFERENCE_POSTS", "expected_rates"]

F64 = npt.NDArray[np.float64]

REFERENCE_POSTS: Final[dict[str, dict[str, float]]] = {
    "x": {
        "interest": 0.4,
        "in_network": 0.4,
        "seen": 0.0,
        "log_author_followers": 3.1,
        "log1p_likes": 0.6,
        "log1p_reposts": 0.3,
        "log1p_score": 0.6,
        "age": 0.6,
    },
    "reddit": {
        "interest": 0.15,
        "in_network": 0.0,
        "seen": 0.8,
        "log_author_followers": 3.0,
        "log1p_likes": 2.5,
        "log1p_score": 2.5,
        "age": 0.8,
    },
}
"""Posts as agents typically meet them: about the means over 60 steps of 3,000 generated agents with the default
recommender of each platform (`interest` on X, whose feed leaves out what was seen; `hot` on Reddit, one list for all).
The interest is the cosine of equal effect under a coefficient of 3."""
REFERENCE_COMMENT: Final = {"log_author_followers": 2.5, "log1p_likes": 1.4, "log1p_score": 1.4, "age": 0.7}
"""A comment with three likes."""


def expected_rates(
    model: Model,
    post: Mapping[str, float],
    feed_size: int = 10,
    comments: int = 0,
    comment: Mapping[str, float] = REFERENCE_COMMENT,
) -> dict[Action, float]:
    """Return the expected number of each action per 1,000 impressions.

    Feeds hold `feed_size` posts with the features `post`, of which ``in_network`` and ``seen`` are shares, each with
    `comments` comments; nobody has acted on anything yet, and followed are exactly the authors in the network. Neither
    the limit of actions per activation is counted nor what read-only actions find. Actions not tied to a post are
    divided by an activation's impressions.
    """
    examined = float(model.examination(np.arange(feed_size), model.first).sum()) / feed_size
    rates: dict[Action, float] = {}

    def add(menu: Menu, row: F64, occasions: float, closed: tuple[Action, ...] = ()) -> None:
        available = np.asarray([[a not in closed for a in menu.actions]])
        utility = np.empty((1, len(menu.actions)))
        kernel.utilities(row[None, :], menu.coefficients, available, utility)
        weight = np.exp(utility[0])
        for action, share in zip(menu.actions[1:], (weight / weight.sum())[1:], strict=True):
            rates[action] = rates.get(action, 0.0) + 1000.0 * occasions * float(share)

    for in_network, seen in product((0.0, 1.0), repeat=2):
        share = 1.0
        for name, value in (("in_network", in_network), ("seen", seen)):
            given = post.get(name, 0.0)
            share *= given if value else 1.0 - given
        row = _row({**post, "in_network": in_network, "seen": seen})
        add(model.post, row, examined * share, (Action.UNLIKE_POST, Action.UNDO_DISLIKE_POST))
        add(model.author, row, examined * share, (Action.FOLLOW,) if in_network else (Action.UNFOLLOW,))
    shown = float(model.examination(np.arange(comments), model.comments).sum()) if comments else 0.0
    undo = (Action.UNLIKE_COMMENT, Action.UNDO_DISLIKE_COMMENT)
    add(model.comment, _row(comment), examined * shown, undo)
    add(model.write, _row({}), 1.0 / feed_size)
    add(model.read, _row({}), 1.0 / feed_size)
    return rates


def _row(values: Mapping[str, float]) -> F64:
    return np.asarray([1.0, *(values.get(name, 0.0) for name in FEATURES[1:])])
