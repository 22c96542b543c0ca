"""X: personal feeds."""

from __future__ import annotations

from typing import ClassVar

from oasis.actions import Action
from oasis.platforms.base import SocialPlatform

__all__ = ["X"]


class X(SocialPlatform):
    """Microblogging: each agent has a feed of its own, without its own posts and those it already acted on."""

    name: ClassVar[str] = "x"
    personal: ClassVar[bool] = True
    default_recommender: ClassVar[str] = "interest"
    default_actions: ClassVar[tuple[Action, ...]] = (
        Action.CREATE_POST,
        Action.REPOST,
        Action.QUOTE_POST,
        Action.LIKE_POST,
        Action.CREATE_COMMENT,
        Action.FOLLOW,
        Action.DO_NOTHING,
    )
