"""Posts, comments and users as lines of a prompt.

Lines are read from the frozen world in batches and kept by id, so a post in a thousand feeds is rendered once.
A line depends on nothing but the world, the step and its limit: never on who else is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.agents.prompting.quoting import name_of, quote
from oasis.world.schemas import KIND_QUOTE, KIND_REPOST
from oasis.world.world import World

__all__ = ["Comment", "Pages", "Post"]

_LABEL_LIMIT = 40


@dataclass(frozen=True, slots=True)
class Post:
    """What prompts say of a post; counts are those of its original."""

    post_id: int
    root: int
    kind: int
    author: int
    root_author: int
    step: int
    text: str | None
    root_text: str | None
    label: str | None
    likes: int
    dislikes: int
    reposts: int
    comments: int


@dataclass(frozen=True, slots=True)
class Comment:
    """What prompts say of a comment."""

    comment_id: int
    post: int
    author: int
    step: int
    text: str | None
    likes: int
    dislikes: int


class Pages:
    """A step's posts, comments and users, read when first needed.

    Parameters
    ----------
    world : World
        Frozen.
    step : int
        The step that is being decided; ages are counted to it.
    step_minutes : float
    """

    def __init__(self, world: World, step: int, step_minutes: float) -> None:
        self._world, self._step, self._minutes = world, step, step_minutes
        self._posts: dict[int, Post] = {}
        self._comments: dict[int, Comment] = {}
        self._names: dict[int, str] = {}
        self._lines: dict[tuple[int, int, bool], str] = {}

    def read_posts(self, ids: npt.NDArray[np.integer]) -> None:
        """Read posts and the names of their authors."""
        new = _new(ids, self._posts)
        if not len(new):
            return
        table = self._world.posts
        root = table["root"][new]
        columns = {
            "root": root,
            "kind": table["kind"][new],
            "author": table["author"][new],
            "root_author": table["author"][root],
            "step": table["step"][new],
            "text": self._texts(table["text"][new]),
            "root_text": self._texts(table["text"][root]),
            "label": self._texts(table["label"][root]),
            "likes": table["likes"][root] + table["base_likes"][root],
            "dislikes": table["dislikes"][root] + table["base_dislikes"][root],
            "reposts": table["reposts"][root] + table["quotes"][root],
            "comments": table["comments"][root],
        }
        for post_id, *values in zip(new.tolist(), *(_list(c) for c in columns.values()), strict=True):
            self._posts[post_id] = Post(post_id, *values)
        self.read_users(np.concatenate([columns["author"], columns["root_author"]]))

    def read_comments(self, ids: npt.NDArray[np.integer]) -> None:
        """Read comments and the names of their authors."""
        new = _new(ids, self._comments)
        if not len(new):
            return
        table = self._world.comments
        columns = {
            "post": table["post"][new],
            "author": table["author"][new],
            "step": table["step"][new],
            "text": self._texts(table["text"][new]),
            "likes": table["likes"][new] + table["base_likes"][new],
            "dislikes": table["dislikes"][new] + table["base_dislikes"][new],
        }
        for comment_id, *values in zip(new.tolist(), *(_list(c) for c in columns.values()), strict=True):
            self._comments[comment_id] = Comment(comment_id, *values)
        self.read_users(columns["author"])

    def read_users(self, ids: npt.NDArray[np.integer]) -> None:
        """Read names of users."""
        new = _new(ids, self._names)
        if len(new):
            names = self._texts(self._world.users["username"][new])
            self._names.update((i, name_of(n, i)) for i, n in zip(new.tolist(), names, strict=True))

    def post(self, post_id: int) -> Post:
        """Return a post that was read."""
        return self._posts[post_id]

    def comment(self, comment_id: int) -> Comment:
        """Return a comment that was read."""
        return self._comments[comment_id]

    def name(self, user_id: int) -> str:
        """Return the name of a user that was read."""
        return self._names[user_id]

    def user(self, user_id: int) -> str:
        """Return how a user is named in lines: ``alice (user 5)``."""
        return f"{self._names[user_id]} (user {user_id})"

    def post_line(self, post_id: int, limit: int, warned: bool = False) -> str:
        """Return a post on one line, its texts cut to `limit` characters."""
        line = self._lines.get((post_id, limit, warned))
        if line is None:
            line = self._lines[(post_id, limit, warned)] = self._post_line(self._posts[post_id], limit, warned)
        return line

    def comment_line(self, comment_id: int, limit: int) -> str:
        """Return a comment on one line."""
        c = self._comments[comment_id]
        counts = _counts((c.likes, "like"), (c.dislikes, "dislike"))
        return " | ".join([f"  - comment {comment_id}", self.user(c.author), *counts, quote(c.text, limit)])

    def age(self, step: int) -> str:
        """Return how long ago a step was."""
        minutes = (self._step - step) * self._minutes
        if minutes < 60:
            return f"{minutes:.0f} min ago"
        if minutes < 48 * 60:
            return f"{minutes / 60:.0f} h ago"
        return f"{minutes / 1440:.0f} days ago"

    def _post_line(self, post: Post, limit: int, warned: bool) -> str:
        who = self.user(post.author)
        if post.kind == KIND_REPOST:
            who = f"{self.user(post.root_author)}, reposted by {who}"
        parts = [f"- post {post.post_id}", who, self.age(post.step)]
        parts += _counts(
            (post.likes, "like"), (post.dislikes, "dislike"), (post.reposts, "repost"), (post.comments, "comment")
        )
        if post.label:
            parts.append(f"labelled {quote(post.label, _LABEL_LIMIT)}")
        if warned:
            parts.append("reported by several users")
        if post.kind == KIND_QUOTE:
            parts.append(f"{quote(post.text, limit)} on a post of {self.user(post.root_author)}")
        return " | ".join([*parts, quote(post.root_text, limit)])

    def _texts(self, ids: npt.NDArray[np.int32]) -> list[str | None]:
        texts: list[str | None] = self._world.texts.take(ids).to_pylist()
        return texts


def _new(ids: npt.NDArray[np.integer], known: Iterable[int]) -> npt.NDArray[np.int64]:
    wanted = np.unique(np.asarray(ids, np.int64))
    wanted = wanted[wanted >= 0]
    return wanted[[i not in known for i in wanted.tolist()]] if len(wanted) else wanted


def _list(column: Any) -> list[Any]:
    return column if isinstance(column, list) else column.tolist()


def _counts(*pairs: tuple[int, str]) -> Sequence[str]:
    shown = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in pairs if n)
    return [shown] if shown else []
