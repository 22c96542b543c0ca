"""Posts, reposts and quotes."""

from __future__ import annotations

import numpy as np

from oasis.actions import Action, Outcome
from oasis.kernels import rounds as kernels
from oasis.platforms.round import Round, chain, creation_keys
from oasis.world.schemas import KIND_ORIGINAL, KIND_QUOTE, KIND_REPOST

__all__ = ["judge_posts", "make_posts"]

_WRITING = (Action.CREATE_POST, Action.REPOST, Action.QUOTE_POST)
_KIND = np.zeros(max(_WRITING) + 1, np.int8)
_KIND[[Action.CREATE_POST, Action.REPOST, Action.QUOTE_POST]] = [KIND_ORIGINAL, KIND_REPOST, KIND_QUOTE]
_INHERITED = ("community", "topic", "veracity", "label", "weight")


def judge_posts(round_: Round) -> None:
    """One repost per agent and original; a community that is named must exist."""
    rows = round_.pending(Action.CREATE_POST)
    community = round_.arg[rows]
    wrong = (community < -1) | (community >= round_.lengths["communities"])
    round_.refuse(rows, wrong, Outcome.NOT_FOUND)
    rows = round_.pending(Action.REPOST)
    round_.refuse(rows, round_.world.reposts.contains(round_.agent[rows], round_.root[rows]), Outcome.DUPLICATE)
    round_.accept(round_.pending(*_WRITING))


def make_posts(round_: Round) -> None:
    """Append what was accepted. Versions take over what was said about the original (topic, label, weight ...)."""
    rows = round_.accepted(*_WRITING)
    if not len(rows):
        return
    world, posts, users = round_.world, round_.world.posts, round_.world.users
    author, root, parent = round_.agent[rows], round_.root[rows], round_.target[rows]
    kind = _KIND[round_.action[rows]]
    version = kind != KIND_ORIGINAL
    keys = creation_keys(round_, "posts", author)
    ids = np.arange(len(posts), len(posts) + len(rows), dtype=np.int32)
    previous = chain(author, len(posts), users["last_post"])
    posts.append(
        len(rows),
        key=keys,
        author=author,
        kind=kind,
        root=np.where(version, root, ids),
        parent=np.where(version, parent, -1),
        community=np.where(version, -1, round_.arg[rows]),
        step=round_.step,
        text=round_.text[rows],
        previous_by_author=previous,
    )
    for column in _INHERITED:
        posts[column][ids[version]] = posts[column][root[version]]
    kernels.count(users["posts"], author, 1)
    for code, counter in ((KIND_REPOST, "reposts"), (KIND_QUOTE, "quotes")):
        here = kind == code
        kernels.count(posts[counter], root[here], 1)
        here &= parent != root
        kernels.count(posts[counter], parent[here], 1)
    again = kind == KIND_REPOST
    world.reposts.add(author[again], root[again], ids[again])
    round_.created[rows] = ids
