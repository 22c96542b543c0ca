"""Reddit: one list for all."""

from __future__ import annotations

from typing import ClassVar

from oasis.actions import Action
from oasis.platforms.base import SocialPlatform

__all__ = ["Reddit"]


class Reddit(SocialPlatform):
    """A forum: all agents are shown one list; flags say what is the agent's own or already voted on."""

    name: ClassVar[str] = "reddit"
    personal: ClassVar[bool] = False
    default_recommender: ClassVar[str] = "hot"
    default_actions: ClassVar[tuple[Action, ...]] = (
        Action.LIKE_POST,
        Action.DISLIKE_POST,
        Action.CREATE_POST,
        Action.CREATE_COMMENT,
        Action.LIKE_COMMENT,
        Action.DISLIKE_COMMENT,
        Action.SEARCH_POSTS,
        Action.SEARCH_USER,
        Action.TREND,
        Action.REFRESH,
        Action.DO_NOTHING,
        Action.FOLLOW,
        Action.MUTE,
    )
