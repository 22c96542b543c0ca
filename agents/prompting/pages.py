"""Posts, comments and users as lines of a prompt.

Lines are read from the frozen world in batches and kept by id, so a post in a thousand feeds is rendered once.
A line depends on nothing but the world, the step and its limit: never on who else is asked.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from oasis.agents.prompting.quoting import name_of, quote
from oasis.agents.prompting.renaming import NOTHING_RENAMED, Renaming
from oasis.world.schemas import KIND_QUOTE, KIND_REPOST
from oasis.world.world import World

__all__ = ["Comment", "Pages", "Post"]

_LABEL_LIMIT = 40

T = TypeVar("T")
Line = tuple[str, int, int]


class Post(NamedTuple):
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


class Comment(NamedTuple):
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
    counts : bool
        Whether lines say how many liked, disliked, reposted and commented.
    renaming : Renaming
        Names that are shown as others.
    """

    def __init__(
        self, world: World, step: int, step_minutes: float, counts: bool = True, renaming: Renaming = NOTHING_RENAMED
    ) -> None:
        self._renaming = renaming
        self._world, self._step, self._minutes, self._shows_counts = world, step, step_minutes, counts
        self._posts: dict[int, Post] = {}
        self._comments: dict[int, Comment] = {}
        self._names: dict[int, str] = {}
        self._lines: dict[tuple[int, bool], _Kept[Line]] = {}
        self._mentions: dict[int, _Kept[str]] = {}

    def read_posts(self, ids: npt.NDArray[np.integer]) -> None:
        """Read posts and the names of their authors."""
        new = _new(ids, self._posts)
        if not len(new):
            return
        table = self._world.posts
        root = table["root"][new]
        texts, n = self.texts(np.concatenate([table["text"][new], table["text"][root], table["label"][root]])), len(new)
        columns = {
            "root": root,
            "kind": table["kind"][new],
            "author": table["author"][new],
            "root_author": table["author"][root],
            "step": table["step"][new],
            "text": texts[:n],
            "root_text": texts[n : 2 * n],
            "label": texts[2 * n :],
            "likes": table["likes"][root] + table["base_likes"][root],
            "dislikes": table["dislikes"][root] + table["base_dislikes"][root],
            "reposts": table["reposts"][root] + table["quotes"][root],
            "comments": table["comments"][root],
        }
        ids_ = new.tolist()
        rows = zip(ids_, *(_list(c) for c in columns.values()), strict=True)
        self._posts.update(zip(ids_, map(Post._make, rows), strict=True))
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
            "text": self.texts(table["text"][new]),
            "likes": table["likes"][new] + table["base_likes"][new],
            "dislikes": table["dislikes"][new] + table["base_dislikes"][new],
        }
        ids_ = new.tolist()
        rows = zip(ids_, *(_list(c) for c in columns.values()), strict=True)
        self._comments.update(zip(ids_, map(Comment._make, rows), strict=True))
        self.read_users(columns["author"])

    def read_users(self, ids: npt.NDArray[np.integer]) -> None:
        """Read names of users."""
        new = _new(ids, self._names)
        if len(new):
            names = self.texts(self._world.users["username"][new])
            self._names.update((i, name_of(n, i)) for i, n in zip(new.tolist(), names, strict=True))

    def texts(self, ids: npt.NDArray[np.integer]) -> list[str | None]:
        """Return texts of the world as they are shown; None for -1."""
        # As objects by way of NumPy, which takes a tenth of the time of `to_pylist`.
        return self._renaming.shown(self._world.texts.take(ids).to_numpy(zero_copy_only=False).tolist())

    def post(self, post_id: int) -> Post:
        """Return a post that was read."""
        return self._posts[post_id]

    def comment(self, comment_id: int) -> Comment:
        """Return a comment that was read."""
        return self._comments[comment_id]

    def name(self, user_id: int) -> str:
        """Return the name of a user that was read."""
        return self._names[user_id]

    def post_lines(self, limit: int, warned: bool = False) -> Mapping[int, Line]:
        """Return posts as lines by their ids, made when first looked up: a post on one line, its texts cut to `limit`
        characters, how many characters were left out, and whom it is about: its author, of a repost the original's."""
        lines = self._lines.get((limit, warned))
        if lines is None:
            pages = weakref.proxy(self)  # else they would hold each other, and all texts, until garbage is collected

            def make(post_id: int) -> Line:
                post = pages._posts[post_id]
                user = post.root_author if post.kind == KIND_REPOST else post.author
                return *pages._post_line(post, limit, warned), user

            lines = self._lines[limit, warned] = _Kept(make)
        return lines

    def mentions(self, limit: int) -> Mapping[int, str]:
        """Return posts as memories tell them by their ids, made when first looked up: whose, and its text."""
        mentions = self._mentions.get(limit)
        if mentions is None:
            posts, names = self._posts, self._names

            def make(post_id: int) -> str:
                post = posts[post_id]
                return f"{names[post.root_author]} {quote(post.root_text, limit)}"

            mentions = self._mentions[limit] = _Kept(make)
        return mentions

    def comment_line(self, comment_id: int, limit: int) -> tuple[str, int]:
        """Return a comment on one line, and how many characters were left out."""
        c = self._comments[comment_id]
        return f"{self._counts(c.likes, c.dislikes)}{quote(c.text, limit)}", _cut(c.text, limit)

    def age(self, step: int) -> str:
        """Return how long ago a step was: nothing in the last hour, then ``5h ``, ``2d ``."""
        minutes = (self._step - step) * self._minutes
        if minutes < 60:
            return ""
        return f"{minutes / 60:.0f}h " if minutes < 48 * 60 else f"{minutes / 1440:.0f}d "

    def _post_line(self, post: Post, limit: int, warned: bool) -> tuple[str, int]:
        name = self._names[post.author]
        root_name = self._names[post.root_author]
        who = f"{root_name} (by {name})" if post.kind == KIND_REPOST else name
        line = f"{who} {self.age(post.step)}{self._counts(post.likes, post.dislikes, post.reposts, post.comments)}"
        if post.label:
            line += f"labelled {quote(post.label, _LABEL_LIMIT)} "
        if warned:
            line += "(reported by several users) "
        if post.kind != KIND_QUOTE:
            return f"{line}{quote(post.root_text, limit)}", _cut(post.root_text, limit)
        half = limit // 2
        line += f"{quote(post.text, half)} on {root_name} {quote(post.root_text, half)}"
        return line, _cut(post.text, half) + _cut(post.root_text, half)

    def _counts(self, likes: int, dislikes: int, reposts: int = 0, comments: int = 0) -> str:
        """Return ``+3-1r2c5 ``; what is 0 is left out."""
        if not self._shows_counts:
            return ""
        pairs = (("+", likes), ("-", dislikes), ("r", reposts), ("c", comments))
        counts = "".join(f"{mark}{n}" for mark, n in pairs if n)
        return f"{counts} " if counts else ""


class _Kept(dict[int, T]):
    """Values by id, each made when it is first looked up."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make

    def __missing__(self, key: int) -> T:
        value = self[key] = self._make(key)
        return value


def _new(ids: npt.NDArray[np.integer], known: Collection[int]) -> npt.NDArray[np.int64]:
    wanted = set(ids.tolist()).difference(known)
    wanted.discard(-1)
    return np.fromiter(wanted, np.int64, len(wanted))


def _list(column: Any) -> list[Any]:
    return column if isinstance(column, list) else column.tolist()


def _cut(text: str | None, limit: int) -> int:
    return max(0, len(text) - limit) if text else 0
