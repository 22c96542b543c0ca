"""What an agent has to do with what it is shown: its own posts, its votes, its groups, and what is on sale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oasis.actions import Action, TargetKind
from oasis.agents.prompting.pages import Pages
from oasis.agents.prompting.quoting import quote
from oasis.agents.prompting.standing import Shown
from oasis.interfaces import Observations, PolicyContext, RowFlag

__all__ = ["Own", "marks"]

GROUPS_SHOWN = PRODUCTS_SHOWN = 20
_GROUP_ACTIONS = {Action.JOIN_GROUP, Action.LEAVE_GROUP, Action.SEND_TO_GROUP, Action.LISTEN_FROM_GROUP}
_STANDINGS = (
    (RowFlag.OWN, "Written by you"),
    (RowFlag.LIKED, "Liked by you"),
    (RowFlag.DISLIKED, "Disliked by you"),
    (RowFlag.REPOSTED, "Reposted by you"),
)


class Own:
    """Lines about agents, whose numbers are those of the lines that they were shown."""

    def __init__(self, ctx: PolicyContext, pages: Pages) -> None:
        self._world, self._pages = ctx.world, pages
        self._groups_exist = bool(_GROUP_ACTIONS & set(ctx.allowed)) and len(ctx.world.groups) > 0
        self._shop_exists = Action.PURCHASE_PRODUCT in ctx.allowed

    def of_feed(self, agent: int, marks: Sequence[tuple[str, list[int]]], shown: Shown) -> str:
        """Return what the agent has to do with the posts shown, its groups, and what is on sale."""
        lines: list[str] = []
        for words, posts in marks:
            lines += _posts(words, posts, shown)
        if self._groups_exist:
            lines += self._groups(agent, shown)
        if self._shop_exists:
            lines += self._products(shown)
        return "\n".join(lines)

    def of_found(self, agent: int, posts: list[int], shown: Shown) -> list[str]:
        """Return which of the posts found are the agent's own or voted on, as `of_feed` does of the feed."""
        world, ids = self._world, np.array(posts, np.int32)
        root = world.posts["root"][ids]
        vote = world.post_reactions.values(np.full(len(ids), agent, np.int32), root)
        own = (world.posts["author"][ids] == agent) | (world.posts["author"][root] == agent)
        about = (("Written by you", own), ("Liked by you", vote > 0), ("Disliked by you", vote < 0))
        lines: list[str] = []
        for words, mask in about:
            lines += _posts(words, ids[mask].tolist(), shown)
        return lines

    def _groups(self, agent: int, shown: Shown) -> list[str]:
        world = self._world
        ids = np.arange(len(world.groups), dtype=np.int32)
        member = world.group_members.contains(ids, np.full(len(ids), agent, np.int32))
        others = ids[~member][::-1]
        chosen = np.sort(np.concatenate([ids[member][::-1][:GROUPS_SHOWN], others])[:GROUPS_SHOWN])
        names = self._pages.texts(world.groups["name"][chosen])
        lines = []
        for group, name in zip(chosen.tolist(), names, strict=True):
            number = shown.add(TargetKind.GROUP, group)
            yours = ", you are a member" if member[group] else ""
            lines.append(f"{number} group {quote(name, 60)} ({world.groups['members'][group]} members{yours})")
        return lines

    def _products(self, shown: Shown) -> list[str]:
        products = self._world.products
        chosen = np.flatnonzero(products["stock"] != 0)[:PRODUCTS_SHOWN].astype(np.int32)
        names = self._pages.texts(products["text"][chosen])
        return [
            f"{shown.add(TargetKind.PRODUCT, product)} product {quote(name, 60)} for {products['price'][product]:.2f}"
            for product, name in zip(chosen.tolist(), names, strict=True)
        ]


def marks(observations: Observations) -> list[list[tuple[str, list[int]]]]:
    """Return what each agent has to do with the posts of its feed: words and posts."""
    offsets, posts = observations.feeds.offsets, observations.feeds.post_ids
    found: list[list[tuple[str, list[int]]]] = [[] for _ in observations.agent_ids]
    for flag, words in _STANDINGS:
        at = np.flatnonzero(observations.flags & flag)
        agent = np.searchsorted(offsets, at, side="right") - 1
        who, begins = np.unique(agent, return_index=True)
        for i, part in zip(who.tolist(), np.split(posts[at], begins[1:]), strict=True) if len(who) else ():
            found[i].append((words, part.tolist()))
    return found


def _posts(words: str, posts: Sequence[int], shown: Shown) -> list[str]:
    """Return a line about posts by their numbers, none where there are none."""
    return [f"{words}: {', '.join([str(shown.line(TargetKind.POST, p)) for p in posts])}."] if posts else []
