"""What holds in every valid world, whatever happened to it: counters equal the sets they count, ids exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from oasis.world.schemas import KIND_ORIGINAL, KIND_QUOTE, KIND_REPOST
from oasis.world.table import Table
from oasis.world.world import World

__all__ = ["check_invariants"]

I32 = npt.NDArray[np.int32]


def check_invariants(world: World) -> None:
    """Assert every invariant of the social tables.

    Raises
    ------
    AssertionError
        Naming the table and the column that is wrong.
    """
    _ids_exist(world)
    _posts(world)
    _comments(world)
    _relations(world)
    _groups(world)
    _purchases(world)
    for table, key in ((world.users, "users"), (world.posts, "posts"), (world.comments, "comments")):
        assert len(np.unique(table["key"])) == len(table), f"{key}.key repeats"


def _equal(got: npt.NDArray[Any], wanted: npt.NDArray[Any], what: str) -> None:
    wrong = np.flatnonzero(got != wanted)
    assert not len(wrong), f"{what}: row {wrong[0]} is {got[wrong[0]]}, counted {wanted[wrong[0]]} ({len(wrong)} wrong)"


def _within(ids: I32, length: int, what: str, none: bool = True) -> None:
    low = -1 if none else 0
    wrong = np.flatnonzero((ids < low) | (ids >= length))
    assert not len(wrong), f"{what}: row {wrong[0]} names {ids[wrong[0]]}, there are {length}"


def _count(ids: npt.NDArray[Any], length: int) -> npt.NDArray[np.int64]:
    return np.bincount(ids, minlength=length)


def _ids_exist(world: World) -> None:
    n, texts = len(world.users), len(world.texts)
    p, c = len(world.posts), len(world.comments)
    g, m, k = len(world.groups), len(world.messages), len(world.products)
    optional: tuple[tuple[Table, str, str, int], ...] = (
        *((world.users, "users", name, texts) for name in ("username", "name", "bio", "persona", "group")),
        *((world.posts, "posts", name, texts) for name in ("text", "topic", "label")),
        (world.users, "users", "last_post", p),
        (world.posts, "posts", "parent", p),
        (world.posts, "posts", "previous_by_author", p),
        (world.posts, "posts", "last_comment", c),
        (world.posts, "posts", "community", len(world.communities)),
        (world.comments, "comments", "parent", c),
        (world.comments, "comments", "previous_on_post", c),
        (world.groups, "groups", "last_message", m),
        (world.messages, "messages", "previous_in_group", m),
        (world.products, "products", "seller", n),
    )
    for table, name, column, length in optional:
        _within(table[column], length, f"{name}.{column}")
    needed: tuple[tuple[Table, str, str, int], ...] = (
        (world.posts, "posts", "author", n),
        (world.posts, "posts", "root", p),
        (world.comments, "comments", "author", n),
        (world.comments, "comments", "post", p),
        (world.comments, "comments", "text", texts),
        (world.groups, "groups", "creator", n),
        (world.groups, "groups", "name", texts),
        (world.messages, "messages", "group", g),
        (world.messages, "messages", "author", n),
        (world.messages, "messages", "text", texts),
        (world.purchases, "purchases", "agent", n),
        (world.purchases, "purchases", "product", k),
    )
    for table, name, column, length in needed:
        _within(table[column], length, f"{name}.{column}", none=False)


def _posts(world: World) -> None:
    posts, n = world.posts, len(world.users)
    ids = np.arange(len(posts), dtype=np.int32)
    kind, root, parent, author = (posts[name] for name in ("kind", "root", "parent", "author"))
    original = kind == KIND_ORIGINAL
    assert (np.diff(posts["step"]) >= 0).all(), "posts.step: not in order"
    _equal(root[original], ids[original], "posts.root of originals")
    assert (parent[original] == -1).all(), "posts.parent: an original has one"
    version = ~original
    assert (kind[root[version]] == KIND_ORIGINAL).all(), "posts.root: not an original"
    assert (parent[version] >= 0).all(), "posts.parent: a version has none"
    assert (parent[version] < ids[version]).all(), "posts.parent: not before its child"
    _equal(root[parent[version]], root[version], "posts.root of the parent")
    assert (posts["text"][kind != KIND_REPOST] >= 0).all(), "posts.text: missing"
    _equal(posts["hidden"][version], posts["hidden"][root[version]], "posts.hidden of versions")
    for code, counter in ((KIND_REPOST, "reposts"), (KIND_QUOTE, "quotes")):
        rows = np.flatnonzero(kind == code)
        apart = rows[root[rows] != parent[rows]]
        _equal(posts[counter], _count(root[rows], len(posts)) + _count(parent[apart], len(posts)), f"posts.{counter}")
    rows = np.flatnonzero(kind == KIND_REPOST)
    a, b, value = world.reposts.items()
    order = np.lexsort((root[rows], author[rows]))
    for got, wanted, name in ((a, author, "agent"), (b, root, "root"), (value, ids, "post")):
        assert np.array_equal(got, wanted[rows][order]), f"reposts.{name}: not the reposts there are"
    _equal(world.users["posts"], _count(author, n), "users.posts")
    _list(author, posts["previous_by_author"], world.users["last_post"], "posts.previous_by_author")


def _list(owner: I32, previous: I32, head: I32, what: str) -> None:
    """Check a linked list per owner: newest first, each row once."""
    ids = np.arange(len(owner), dtype=np.int32)
    order = np.argsort(owner, kind="stable")
    same = np.r_[False, owner[order][1:] == owner[order][:-1]][: len(order)]
    wanted = np.full(len(owner), -1, np.int32)
    wanted[order] = np.where(same, np.r_[-1, ids[order][:-1]][: len(order)], -1)
    _equal(previous, wanted, what)
    last = np.full(len(head), -1, np.int32)
    last[owner] = ids  # the last assignment wins, and ids ascend
    _equal(head, last, f"the head of {what}")


def _comments(world: World) -> None:
    comments, posts = world.comments, world.posts
    post, parent = comments["post"], comments["parent"]
    assert (posts["kind"][post] == KIND_ORIGINAL).all(), "comments.post: not an original"
    answers = np.flatnonzero(parent >= 0)
    assert (parent[answers] < answers).all(), "comments.parent: not before its child"
    _equal(post[parent[answers]], post[answers], "comments.post of the parent")
    _equal(posts["comments"], _count(post, len(posts)), "posts.comments")
    _list(post, comments["previous_on_post"], posts["last_comment"], "comments.previous_on_post")


def _relations(world: World) -> None:
    users, posts, n = world.users, world.posts, len(world.users)
    follower, followee, _ = world.follows.edges()
    assert (follower != followee).all(), "follows: somebody follows themselves"
    _equal(users["following"], _count(follower, n), "users.following")
    _equal(users["followers"], _count(followee, n), "users.followers")
    muter, muted, _ = world.mutes.items()
    _within(muter, n, "mutes.muter_id", none=False)
    _within(muted, n, "mutes.muted_id", none=False)
    assert (muter != muted).all(), "mutes: somebody muted themselves"
    tables: tuple[tuple[str, Table], ...] = (("post_reactions", posts), ("comment_reactions", world.comments))
    for name, table in tables:
        agent, target, vote = world[name].items()  # type: ignore[attr-defined]
        _within(agent, n, f"{name}.agent_id", none=False)
        _within(target, len(table), f"{name}.target", none=False)
        assert np.isin(vote, (-1, 1)).all(), f"{name}.vote: not 1 or -1"
        _equal(table["likes"], _count(target[vote > 0], len(table)), f"{name}: likes")
        _equal(table["dislikes"], _count(target[vote < 0], len(table)), f"{name}: dislikes")
        assert (table["base_likes"] >= 0).all(), f"{name}: base_likes below 0"
        assert (table["base_dislikes"] >= 0).all(), f"{name}: base_dislikes below 0"
    _, target, _ = world.post_reactions.items()
    assert (posts["kind"][target] == KIND_ORIGINAL).all(), "post_reactions: not on the root"
    agent, target, _ = world.reports.items()
    _within(agent, n, "reports.agent_id", none=False)
    assert (posts["kind"][target] == KIND_ORIGINAL).all(), "reports: not on the root"
    _equal(posts["reports"], _count(target, len(posts)), "posts.reports")


def _groups(world: World) -> None:
    group, agent, _ = world.group_members.items()
    _within(group, len(world.groups), "group_members.group_id", none=False)
    _within(agent, len(world.users), "group_members.agent_id", none=False)
    _equal(world.groups["members"], _count(group, len(world.groups)), "groups.members")
    messages = world.messages
    _list(messages["group"], messages["previous_in_group"], world.groups["last_message"], "messages.previous_in_group")


def _purchases(world: World) -> None:
    products = world.products
    _equal(products["sold"], _count(world.purchases["product"], len(products)), "products.sold")
    limited = products["stock"] >= 0
    assert (products["sold"][limited] <= products["stock"][limited]).all(), "products.sold: more than the stock"
