"""What is asked of each shown post: may the agent see it, did it see the root before, is it its feed's best version."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel
from oasis.kernels.pairs import holds

__all__ = [
    "best_version",
    "best_version_numpy",
    "pick_comments",
    "pick_comments_numpy",
    "seen_before",
    "seen_before_numpy",
    "visible",
    "visible_numpy",
]

I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@kernel()
def visible(
    agents: I32,
    posts: I32,
    author: I32,
    root: I32,
    parent: I32,
    kind: I8,
    hidden: Bool,
    reports: I32,
    banned: Bool,
    muted: I64,
    quote: int,
    most_reports: int,
    out: Bool,
) -> None:
    """Fill `out` with whether each agent may see each post; the rule is that of `posts_visible` on platforms.

    Parameters
    ----------
    agents, posts : shape (m,)
    author, root, parent, kind, hidden, reports
        Columns of posts.
    banned
        Column of users.
    muted
        Slots of the set of (agent, muted user).
    quote
        The kind of posts that show their parent too.
    most_reports
        Above it, an original is hidden.
    """
    for i in range(len(posts)):
        post = posts[i]
        first = root[post]
        shown, original = author[post], author[first]
        if hidden[post] | hidden[first] | banned[shown] | banned[original] | (reports[first] > most_reports):
            out[i] = False
            continue
        out[i] = not holds(muted, agents[i], shown)
        if original != shown and holds(muted, agents[i], original):
            out[i] = False
        middle = parent[post]
        if middle < 0 or middle == first or kind[middle] != quote:
            continue
        if banned[author[middle]] or holds(muted, agents[i], author[middle]):
            out[i] = False


def visible_numpy(
    agents: I32,
    posts: I32,
    author: I32,
    root: I32,
    parent: I32,
    kind: I8,
    hidden: Bool,
    reports: I32,
    banned: Bool,
    muted: I64,
    quote: int,
    most_reports: int,
) -> Bool:
    """Return what `visible` fills in, with NumPy alone; `muted` holds packed pairs, in any order."""
    first, middle = root[posts], parent[posts]
    shown_with = [author[posts], author[first], author[first]]
    nested = (middle >= 0) & (middle != first)
    nested[nested] = kind[middle[nested]] == quote
    shown_with[2] = np.where(nested, author[middle], author[first])
    seen = ~hidden[posts] & ~hidden[first] & (reports[first] <= most_reports)
    for user in shown_with:
        seen &= ~banned[user] & ~np.isin(agents.astype(np.int64) << 32 | user, muted)
    return np.asarray(seen)


@kernel()
def seen_before(offsets: I64, roots: I32, remembered: I32, root: I32, out: Bool) -> None:
    """Fill `out` with whether the root of a row is among what its agent remembers.

    Parameters
    ----------
    offsets : shape (n + 1,)
        Feeds in CSR form.
    roots : shape (m,)
    remembered : shape (n, w)
        Posts seen by each agent, -1 where there is none.
    root
        Column of posts.
    """
    seen = np.empty(remembered.shape[1], np.int32)
    for i in range(len(offsets) - 1):
        for j in range(remembered.shape[1]):
            seen[j] = root[remembered[i, j]] if remembered[i, j] >= 0 else -1
        for row in range(offsets[i], offsets[i + 1]):
            out[row] = False
            for j in range(remembered.shape[1]):
                if seen[j] == roots[row]:
                    out[row] = True
                    break


def seen_before_numpy(offsets: I64, roots: I32, remembered: I32, root: I32) -> Bool:
    """Return what `seen_before` fills in, with NumPy alone."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    seen = np.where(remembered >= 0, root[remembered], -1)
    return np.asarray((seen[row] == roots[:, None]).any(axis=1))


@kernel()
def best_version(offsets: I64, roots: I32, posts: I32, scores: F32, out: Bool) -> None:
    """Fill `out` with whether a row is the one to keep of its root in its feed: highest score, then earliest post.

    Feeds are short (tens of rows), so every pair in a feed is compared.
    """
    for i in range(len(offsets) - 1):
        for row in range(offsets[i], offsets[i + 1]):
            out[row] = True
            for other in range(offsets[i], offsets[i + 1]):
                if other == row or roots[other] != roots[row]:
                    continue
                if (
                    scores[other] > scores[row]
                    or scores[other] == scores[row]
                    and (posts[other] < posts[row] or (posts[other] == posts[row] and other < row))
                ):
                    out[row] = False


def best_version_numpy(offsets: I64, roots: I32, posts: I32, scores: F32) -> Bool:
    """Return what `best_version` fills in, with NumPy alone."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((np.arange(len(posts)), posts, -scores, roots, row))
    same = (row[order][1:] == row[order][:-1]) & (roots[order][1:] == roots[order][:-1])
    out = np.ones(len(posts), np.bool_)
    out[order[1:][same]] = False
    return out


@kernel()
def pick_comments(
    place: I64, agents: I32, ranked: I32, author: I32, banned: Bool, muted: I64, picked: I32, taken: I64
) -> None:
    """Fill `picked` with the first comments of each row's post whose authors are neither banned nor muted.

    Parameters
    ----------
    place, agents : shape (m,)
        The post's row in `ranked`, and who looks.
    ranked : shape (p, c)
        Comments of each post, best first; -1 after the last.
    author
        Column of comments.
    banned
        Column of users.
    muted
        Slots of the set of (agent, muted user).
    picked : shape (m, most)
        -1 after the last.
    taken : shape (m,)
        Filled with how many there are.
    """
    for i in range(len(place)):
        n = 0
        for column in range(ranked.shape[1]):
            comment = ranked[place[i], column]
            if comment < 0 or n == picked.shape[1]:
                break
            if not banned[author[comment]] and not holds(muted, agents[i], author[comment]):
                picked[i, n] = comment
                n += 1
        picked[i, n:] = -1
        taken[i] = n


def pick_comments_numpy(
    place: I64, agents: I32, ranked: I32, author: I32, banned: Bool, muted: I64, most: int
) -> tuple[I32, I64]:
    """Return the (picked, taken) that `pick_comments` fills in; `muted` holds packed pairs, in any order."""
    comments = ranked[place]
    user = author[comments]
    seen = (comments >= 0) & ~banned[user] & ~np.isin(agents.astype(np.int64)[:, None] << 32 | user, muted)
    seen &= np.cumsum(seen, axis=1) <= most
    taken = seen.sum(axis=1)
    picked = np.full((len(place), most), -1, np.int32)
    picked[np.arange(most) < taken[:, None]] = comments[seen]
    return picked, taken
