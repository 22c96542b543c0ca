"""Small valid worlds and step contexts for tests, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import numpy as np
import numpy.typing as npt

from oasis.clock import Clock
from oasis.interfaces import Platform, ShowsScores, StepContext
from oasis.randomness import Draws, Lane, agent_keys, derive_keys, text_key
from oasis.world.schemas import KIND_ORIGINAL, KIND_QUOTE, KIND_REPOST
from oasis.world.world import World

__all__ = ["frozen_lengths", "small_world", "step_context"]

_TOPICS = "rain coffee match market river music train garden election vaccine film recipe holiday software football"
_WORDS = tuple(_TOPICS.split())


class _Dice:
    """Integers drawn from a seed, a new stream for each call."""

    def __init__(self, seed: int) -> None:
        self._draws, self._calls = Draws(seed), 0

    def below(self, high: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
        self._calls += 1
        return self._draws.integers("small world", self._calls, high, np.arange(count, dtype=np.uint64))


def small_world(
    agents: int = 20, posts: int = 40, seed: int = 1, *, comments: int | None = None, follows: int = 4, step: int = 0
) -> World:
    """Return a valid world: users, follows, posts (a quarter reposts, a tenth quotes), comments, votes.

    Parameters
    ----------
    agents, posts : int
        Number of rows; both may be 0, and without agents there are no posts.
    seed : int
        The same seed gives the same world.
    comments : int, optional
        Number of comments, by default half as many as posts.
    follows : int
        Mean number of accounts followed.
    step : int
        Steps done; posts and comments are spread over steps 0 to `step`.
    """
    world = World()
    world.step = step
    dice = _Dice(seed)
    posts = posts if agents else 0
    comments = posts // 2 if comments is None else comments if posts else 0
    _add_users(world, agents, dice)
    _add_follows(world, agents, agents * follows, dice)
    _add_posts(world, posts, step, dice)
    _add_comments(world, comments, step, dice)
    _add_votes(world, 3 * posts, dice)
    world.products.append(2, text=world.texts.append(["a book", "a lamp"]), seller=-1, price=[9.5, 20.0], stock=[3, -1])
    world.communities.append(2, name=world.texts.append(["news", "pictures"]))
    return world


def frozen_lengths(world: World) -> dict[str, int]:
    """Return the number of rows of each store, as a step context carries them."""
    return {name: len(store) for name, store in world.stores.items() if isinstance(store, Sized)}


def step_context(
    world: World, platform: Platform, seed: int = 1, step: int | None = None, clock: Clock | None = None
) -> StepContext:
    """Return the context of the next step (or of `step`), the world frozen as it stands."""
    return StepContext(
        world.step + 1 if step is None else step,
        clock or Clock(),
        Draws(seed),
        lambda agents, posts: platform.visible(world, agents, posts),
        platform.personal,
        frozen_lengths(world),
        platform.show_scores if isinstance(platform, ShowsScores) else True,
    )


def _sentences(numbers: npt.NDArray[np.int64]) -> Sequence[str]:
    n = len(_WORDS)
    return [f"{_WORDS[i % n]} {_WORDS[i // n % n]} and {_WORDS[i // n**2 % n]}" for i in numbers.tolist()]


def _add_users(world: World, agents: int, dice: _Dice) -> None:
    texts = world.texts
    world.add_users(
        agents,
        key=agent_keys(np.arange(agents)),
        username=texts.append([f"user{i}" for i in range(agents)]),
        name=texts.append([f"Name {i}" for i in range(agents)]),
        bio=texts.append([f"I like {s}" for s in _sentences(dice.below(8000, agents))]),
        group=texts.intern_all([("red", "blue")[i % 2] for i in range(agents)]),
        stance=np.linspace(-1, 1, agents) if agents else [],
        activity=np.float32(0.5),
        policy=0,
    )


def _add_follows(world: World, agents: int, edges: int, dice: _Dice) -> None:
    if agents < 2:
        world.follows.resize(agents)
        return
    a, b = dice.below(agents, edges), dice.below(agents, edges)
    keys = np.unique((a << 32 | b)[a != b])
    a, b = keys >> 32, keys & 0xFFFFFFFF
    world.follows.set_edges(agents, a.astype(np.int32), b.astype(np.int32))
    world.users["following"][:] = np.bincount(a, minlength=agents)
    world.users["followers"][:] = np.bincount(b, minlength=agents)


def _steps(count: int, step: int) -> npt.NDArray[np.int64]:
    return np.arange(count) * (step + 1) // max(count, 1)


def _add_posts(world: World, count: int, step: int, dice: _Dice) -> None:
    users, n = world.users, len(world.users)
    author, draw = dice.below(max(n, 1), count), dice.below(20, count)
    shown = dice.below(np.maximum(np.arange(count), 1), count)
    kind = np.where(draw < 5, KIND_REPOST, np.where(draw < 7, KIND_QUOTE, KIND_ORIGINAL))
    kind[:1] = KIND_ORIGINAL
    root, parent = np.arange(count), np.full(count, -1)
    previous, index, taken = np.full(count, -1), np.zeros(count, np.int64), set()
    for i in range(count):  # a test world is small, and each row leans on those before it
        if kind[i] != KIND_ORIGINAL:
            root[i], parent[i] = root[shown[i]], shown[i]
        if kind[i] == KIND_REPOST:
            if (author[i], root[i]) in taken:
                kind[i], root[i], parent[i] = KIND_ORIGINAL, i, -1
            else:
                taken.add((author[i], root[i]))
        previous[i] = users["last_post"][author[i]]
        users["last_post"][author[i]] = i
        index[i] = users["posts"][author[i]]
        users["posts"][author[i]] += 1
    texts = np.full(count, -1, np.int32)
    written = np.flatnonzero(kind != KIND_REPOST)
    texts[written] = world.texts.append(_sentences(dice.below(8000, len(written))))
    steps = _steps(count, step)
    keys = derive_keys(users["key"][author], 0, Lane.HISTORY, index) if count else np.empty(0, np.uint64)
    world.posts.append(
        count, key=keys, author=author, kind=kind, root=root, parent=parent, step=steps, text=texts,
        previous_by_author=previous, topic=world.texts.intern_all([_WORDS[i % 3] for i in range(count)]),
        base_likes=dice.below(3, count),
    )  # fmt: skip
    for code, counter in ((KIND_REPOST, "reposts"), (KIND_QUOTE, "quotes")):
        rows = np.flatnonzero(kind == code)
        np.add.at(world.posts[counter], root[rows], 1)
        apart = rows[root[rows] != parent[rows]]
        np.add.at(world.posts[counter], parent[apart], 1)
    rows = np.flatnonzero(kind == KIND_REPOST)
    world.reposts.add(author[rows], root[rows], rows)


def _add_comments(world: World, count: int, step: int, dice: _Dice) -> None:
    posts = world.posts
    if not count:
        return
    post = posts["root"][dice.below(len(posts), count)]
    author, answers = dice.below(len(world.users), count), dice.below(2, count)
    last = posts["last_comment"]
    previous = np.full(count, -1)
    for i, p in enumerate(post.tolist()):
        previous[i] = last[p]
        last[p] = i
    world.comments.append(
        count,
        key=derive_keys(np.full(count, text_key("comments")), 0, Lane.COMMENT, np.arange(count)),
        post=post,
        parent=np.where(answers > 0, previous, -1),
        author=author,
        step=_steps(count, step),
        text=world.texts.append(_sentences(dice.below(8000, count))),
        previous_on_post=previous,
    )
    np.add.at(posts["comments"], post, 1)


def _add_votes(world: World, count: int, dice: _Dice) -> None:
    if not count:
        return
    agent, post = dice.below(len(world.users), count), world.posts["root"][dice.below(len(world.posts), count)]
    vote = np.where(dice.below(4, count) > 0, 1, -1)
    new = world.post_reactions.add(agent, post, vote)
    np.add.at(world.posts["likes"], post[new & (vote > 0)], 1)
    np.add.at(world.posts["dislikes"], post[new & (vote < 0)], 1)
