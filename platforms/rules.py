"""The numbers that a scenario may set in ``[platform.rules]``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from oasis.interfaces import Parameters

__all__ = ["Rules"]


class Rules(Parameters):
    """Rules of a platform. Every default is assumed unless it names a source.

    Attributes
    ----------
    report_warning_threshold : int
        A post reported more often than this carries a warning.
    report_hide_threshold : int
        A post reported more often than this is hidden from everybody; 0 never hides.
    comments_per_post : int
        Comments shown under a post, the first ones in this order:
    comment_order : str
        ``top``: by likes minus dislikes, of the newest 16; ``new``: newest first; ``old``: oldest first. Ties drawn.
    show_scores : bool
        Whether agents see numbers of likes, dislikes, reposts and comments.
    show_written : bool
        Whether agents are shown what agents write during the run, or only what was there before or came from outside.
    search_size : int
        Posts or users that a search returns.
    trend_size : int
        Posts in the trend list.
    trend_hours : float
        The trend list is of posts of the last so many hours (reference implementation: 7 days).
    messages_size : int
        Messages heard when listening to a group, the newest ones.
    """

    report_warning_threshold: int = Field(default=3, ge=0)
    report_hide_threshold: int = Field(default=0, ge=0)
    comments_per_post: int = Field(default=3, ge=0, le=16)
    comment_order: Literal["top", "new", "old"] = "top"
    show_scores: bool = True
    show_written: bool = True
    search_size: int = Field(default=10, ge=1, le=1000)
    trend_size: int = Field(default=10, ge=1, le=1000)
    trend_hours: float = Field(default=168.0, gt=0)
    messages_size: int = Field(default=20, ge=1, le=1000)
