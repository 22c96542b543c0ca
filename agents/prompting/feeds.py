"""A feed as numbered lines, its texts as long as its tokens allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from oasis.actions import TargetKind
from oasis.agents.prompting.pages import Pages
from oasis.agents.prompting.recollection import CHARACTERS_PER_TOKEN
from oasis.agents.prompting.standing import Shown
from oasis.interfaces import Observations, RowFlag

__all__ = ["Feed", "FeedRows", "FeedWriter", "Room"]

SHORTEST_TEXT = 6
AROUND_POST, AROUND_COMMENT = 14, 5
"""Tokens of a line besides its text: number, author, age and counts; number and marks. `SHORTEST_TEXT` is of a text."""


@dataclass(slots=True)
class Feed:
    """A feed as text, what its numbers stand for, and how many characters it leaves out."""

    text: str
    shown: Shown
    cut: int


class FeedRows:
    """The rows of observations as lists, which are faster to take apart than arrays.

    Attributes
    ----------
    shared : bool
        Whether all see the same list.
    """

    def __init__(self, observations: Observations) -> None:
        feeds = observations.feeds
        self.shared = feeds.shared
        self._bounds, self._posts = feeds.offsets.tolist(), feeds.post_ids.tolist()
        warned = (observations.flags & RowFlag.WARNED) != 0
        self._warned = warned.tolist() if warned.any() else None
        self._comments = observations.comment_ids.tolist()
        self._under = np.diff(observations.comment_offsets).tolist()
        self._first_comment = observations.comment_offsets.tolist()

    def posts(self, i: int) -> list[int]:
        """Return the posts of a feed."""
        return self._posts[self._bounds[i] : self._bounds[i + 1]]

    def warned(self, i: int) -> list[bool] | None:
        """Return whether each of its posts is warned of; None where no post of any feed is."""
        return None if self._warned is None else self._warned[self._bounds[i] : self._bounds[i + 1]]

    def comments(self, i: int) -> tuple[list[int], list[int]]:
        """Return how many comments are under each of its posts, and these."""
        first, last = self._bounds[i], self._bounds[i + 1]
        return self._under[first:last], self._comments[self._first_comment[first] : self._first_comment[last]]


class FeedWriter:
    """Makes feeds, of which one that many see is made once.

    Parameters
    ----------
    pages : Pages
        That have read all posts and comments.
    render : callable
        Of `oasis.agents.prompting.templates.Templates`.
    text : int
        Characters of a text at most.
    shared_tokens, own_tokens : int
        Estimated, of a feed that all see and of one that is an agent's own.
    """

    def __init__(
        self, pages: Pages, render: Callable[..., str], text: int, shared_tokens: int, own_tokens: int
    ) -> None:
        self._pages, self._render, self._text = pages, render, text
        self._shared_tokens, self._own_tokens = shared_tokens, own_tokens
        self._shared: dict[tuple[tuple[int, ...], ...] | None, Feed] = {}
        self._rooms: dict[tuple[int, int, bool], Room] = {}

    def room(self, posts: int, comments: int = 0, shared: bool = False) -> Room:
        """Return how long texts may be."""
        key = posts, comments, shared
        if key not in self._rooms:
            tokens = self._shared_tokens if shared else self._own_tokens
            self._rooms[key] = Room(tokens, self._text, posts, comments)
        return self._rooms[key]

    def feed(self, rows: FeedRows, i: int, heading: str) -> Feed:
        """Return the feed of the agent in row `i`."""
        posts, warned = rows.posts(i), rows.warned(i)
        under, comments = rows.comments(i)
        key = (tuple(posts), tuple(warned or ()), tuple(under), tuple(comments)) if rows.shared else None
        if key in self._shared:
            return self._shared[key]
        room = self.room(len(posts), max(under, default=0), rows.shared)
        made = self._pages.post_lines(room.post)
        if warned is None:
            found = [made[post] for post in posts]
        else:
            alarming = self._pages.post_lines(room.post, warned=True)
            found = [(alarming if warns else made)[post] for post, warns in zip(posts, warned, strict=True)]
        cut = sum([lost for _, lost, _ in found])
        if comments or len(set(posts)) < len(posts):
            shown = Shown()
            lines = []
            at = 0
            for post_id, (line, _, user), count in zip(posts, found, under, strict=True):
                lines.append(f"{shown.add(TargetKind.POST, post_id, user)} {line}")
                for comment_id in comments[at : at + min(count, room.comments)]:
                    comment = self._pages.comment(comment_id)
                    line, lost = self._pages.comment_line(comment_id, room.comment)
                    lines.append(f"{shown.add(TargetKind.COMMENT, comment_id, comment.author, comment.post)} {line}")
                    cut += lost
                at += count
        else:
            shown = Shown.of_posts(posts, [user for _, _, user in found])
            lines = [f"{n} {line}" for n, (line, _, _) in enumerate(found, 1)]
        feed = Feed(self._render("feed.j2", heading=heading, lines=lines), shown, cut)
        if key is not None:
            self._shared[key] = feed
        return feed


class Room:
    """How long the texts of a feed may be: posts get twice a comment's share.

    Comments are left out, from the last under each post, rather than that a text gets less than `SHORTEST_TEXT`.

    Parameters
    ----------
    tokens : int
        Estimated, of the whole feed.
    most : int
        Characters of a text at most.
    posts, comments : int
        Posts of the feed, and comments under one of them at most.

    Attributes
    ----------
    post, comment : int
        Characters of a text.
    comments : int
        Comments shown under a post.
    """

    def __init__(self, tokens: int, most: int, posts: int, comments: int) -> None:
        room = tokens / max(posts, 1) - AROUND_POST
        fits = int((room - 2 * SHORTEST_TEXT) // (AROUND_COMMENT + SHORTEST_TEXT))
        self.comments = max(0, min(comments, fits))
        share = (room - self.comments * AROUND_COMMENT) / (2 + self.comments)
        self.comment = min(most, int(max(SHORTEST_TEXT, share) * CHARACTERS_PER_TOKEN))
        self.post = min(most, int(max(SHORTEST_TEXT, 2 * share) * CHARACTERS_PER_TOKEN))
