"""Posts and comments whose first vote is assigned: from the grammar, or the real items of a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from oasis.errors import InputError
from oasis.grammar.phrases import TOPICS
from oasis.grammar.texts import write_posts, write_replies
from oasis.randomness import Draws

__all__ = ["ITEMS", "Item", "assigned", "drawn_items", "real_items"]

ITEMS = "counterfactual_36.json"
_AUTHORS = 36
"""Agents of the real personas, among whom authors are drawn."""


@dataclass(frozen=True)
class Item:
    """A post and the comments under it, with their authors.

    Attributes
    ----------
    comments : sequence of (int, str)
        Author and text.
    """

    author: int
    text: str
    comments: Sequence[tuple[int, str]]


class _Post(BaseModel):
    selftext: str


class _Comment(BaseModel):
    body: str


class _Pair(BaseModel):
    RS: _Post
    RC_1: _Comment


def drawn_items(draws: Draws, posts: int, comments: int, agents: int) -> list[Item]:
    """Return posts of the grammar with `comments` replies each, all by drawn authors of `agents`.

    Nothing but chance tells the comments under a post apart: they are about the same, in the same grammar.
    """
    keys = np.arange(posts, dtype=np.uint64)
    topics = draws.integers("herd.topic", 0, len(TOPICS), keys)
    texts = write_posts(draws, "herd.post", 0, keys, topics)
    authors = draws.integers("herd.author", 0, agents, keys)
    under, index = np.repeat(np.arange(posts), comments), np.tile(np.arange(comments), posts)
    replies = write_replies(draws, "herd.comment", 0, keys[under], topics[under], texts.take(under), index).to_pylist()
    writers = draws.integers("herd.writer", 0, agents, np.arange(posts * comments, dtype=np.uint64)).tolist()
    below = list(zip(writers, replies, strict=True))
    return [
        Item(int(author), text, below[i * comments : (i + 1) * comments])
        for i, (author, text) in enumerate(zip(authors, texts.to_pylist(), strict=True))
    ]


def real_items(draws: Draws, posts: int, folder: Path) -> list[Item]:
    """Return `posts` of the file's items, drawn, in a drawn order, by drawn authors.

    The file's own groups (up, control, down) are one assignment and are not used.

    Raises
    ------
    InputError
        If the file is missing, has another form, or fewer items.
    """
    path = folder / ITEMS
    try:
        pairs = TypeAdapter(list[_Pair]).validate_python(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; --data is a folder with {ITEMS}") from None
    except (ValueError, ValidationError) as error:
        raise InputError(
            f"{path}: not a list of posts (RS.selftext) with a comment (RC_1.body): {_first(error)}"
        ) from None
    if posts > len(pairs):
        raise InputError(f"parameters.posts: {posts} are more than the {len(pairs)} items of {path}")
    order = np.argsort(draws.bits("herd.order", 0, np.arange(len(pairs), dtype=np.uint64)), kind="stable")[:posts]
    keys = np.arange(posts, dtype=np.uint64)
    authors = draws.integers("herd.author", 0, _AUTHORS, keys)
    others = draws.integers("herd.writer", 0, _AUTHORS - 1, keys)
    writers = others + (others >= authors)  # nobody answers himself
    return [
        Item(int(authors[n]), pairs[i].RS.selftext, [(int(writers[n]), pairs[i].RC_1.body)])
        for n, i in enumerate(order.tolist())
    ]


def assigned(draws: Draws, items: int, up: float, down: float) -> list[str]:
    """Return a treatment for each item: `up`, `control` or `down`, in exact shares (rounded), in a drawn order.

    Raises
    ------
    InputError
        If the shares are not shares, or leave a treatment, or the control, without an item.
    """
    if min(up, down) <= 0 or up + down >= 1:
        raise InputError(f"parameters.up, parameters.down: must be above 0, and below 1 together; got {up:g}, {down:g}")
    ups, downs = round(up * items), round(down * items)
    if min(ups, downs, items - ups - downs) < 1:
        raise InputError(f"parameters: {items} items are too few for shares of {up:g} up and {down:g} down")
    order = np.argsort(draws.bits("herd.assign", 0, np.arange(items, dtype=np.uint64)), kind="stable")
    treatment = np.full(items, "control", dtype=object)
    treatment[order[:ups]] = "up"
    treatment[order[ups : ups + downs]] = "down"
    return [str(name) for name in treatment]


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found: Any = error.errors()[0]
        return f"entry {'.'.join(map(str, found['loc']))}: {found['msg']}"
    return str(error)[:150]
