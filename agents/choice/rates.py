"""What the model expects agents to do, in closed form: the numbers of ``docs/choice-model.md``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.actions import Action
from oasis.agents.choice.model import FEATURES, Menu, Model
from oasis.kernels import choice as kernel

__all__ = ["REFERENCE_COMMENT", "REFERENCE_POST", "expected_rates"]

F64 = npt.NDArray[np.float64]

REFERENCE_POST = {
    "interest": 0.2,
    "in_network": 0.5,
    "log_author_followers": float(np.log1p(20)),
    "log1p_likes": float(np.log1p(2)),
    "log1p_reposts": float(np.log1p(1)),
    "log1p_score": float(np.log1p(2)),
    "age": float(np.log1p(1)),
}
"""A post as agents typically meet it: half from followed authors (20 followers), an hour old, 2 likes, 1 repost,
not seen before; a cosine of 0.2 (the built-in embedder gives 0.23 on average between two posts of one topic of the
grammar, and 0.06 between bios and posts of other topics)."""
REFERENCE_COMMENT = {"in_network": 0.1, "log1p_score": float(np.log1p(1))}
"""A comment with one like, one in ten from a followed author."""


def expected_rates(
    model: Model,
    feed_size: int = 10,
    comments: int = 0,
    post: dict[str, float] | None = None,
    comment: dict[str, float] | None = None,
) -> dict[Action, float]:
    """Return the expected number of each action per 1,000 impressions.

    Feeds hold `feed_size` posts with the features `post`, each with `comments` comments; nobody has acted on
    anything yet; following is open on posts from outside the network only. Neither the limit of actions per activation
    is counted nor what read-only actions find. Actions not tied to a post are divided by an activation's impressions.
    """
    features = _row(REFERENCE_POST | (post or {}))
    examined = float(model.examination(np.arange(feed_size), model.first).sum()) / feed_size
    rates: dict[Action, float] = {}

    def add(menu: Menu, row: F64, occasions: float, closed: tuple[Action, ...] = ()) -> None:
        available = np.asarray([[a not in closed for a in menu.actions]])
        utility = np.empty((1, len(menu.actions)))
        kernel.utilities(row[None, :], menu.coefficients, available, utility)
        weight = np.exp(utility[0])
        for action, share in zip(menu.actions[1:], (weight / weight.sum())[1:], strict=True):
            rates[action] = rates.get(action, 0.0) + 1000.0 * occasions * float(share)

    followed = float(features[FEATURES.index("in_network")])
    for in_network, share in ((1.0, followed), (0.0, 1.0 - followed)):
        row = features.copy()
        row[FEATURES.index("in_network")] = in_network
        add(model.post, row, examined * share, (Action.UNLIKE_POST, Action.UNDO_DISLIKE_POST))
        add(model.author, row, examined * share, (Action.FOLLOW,) if in_network else (Action.UNFOLLOW,))
    shown = float(model.examination(np.arange(comments), model.comments).sum()) if comments else 0.0
    undo = (Action.UNLIKE_COMMENT, Action.UNDO_DISLIKE_COMMENT)
    add(model.comment, _row(REFERENCE_COMMENT | (comment or {})), examined * shown, undo)
    add(model.write, _row({}), 1.0 / feed_size)
    add(model.read, _row({}), 1.0 / feed_size)
    return rates


def _row(values: dict[str, float]) -> F64:
    return np.asarray([1.0, *(values.get(name, 0.0) for name in FEATURES[1:])])
