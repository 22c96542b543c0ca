"""The best posts of each agent: selection of a few rows out of many, with what an agent must not be shown left out.

Axes: ``n`` agents, ``w`` places in each agent's list, ``r`` candidate rows (versions of posts).

All lists hold distinct roots and are ordered by (score falling, tie draw rising, post id rising). The tie draw is
one of the root's, so the versions of a root with equal scores stand together, the earliest first. Lists grow by
insertion: a list is at any time the best of what was looked at, whatever the order of looking.

`posts`, `roots`, `scores`, `ties` are the lists, shape (n, w); posts and roots are -1 beyond `counts`.
`own`, `mute_ptr`, `mutes`, `seen` say what agent i must not get: rows by ``own[i]`` or by the sorted
``mutes[mute_ptr[i]:mute_ptr[i + 1]]`` (as author of the version or of its root), and, with `want_seen` False,
roots in the sorted ``seen[i]``; with `want_seen` True only those.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["best_numpy", "co_engaged", "followed", "merge", "similar", "walk"]

Bool = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

_BLOCK = 64  # columns looked at together in `similar`: wide enough for SIMD, narrow enough to skip often


@kernel(nogil=True)
def _holds(values: I32, low: int, high: int, wanted: int) -> bool:
    """Whether the sorted part of `values` holds `wanted`."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return bool(low < end and values[low] == wanted)


@kernel(nogil=True)
def _allowed(
    author: int, root_author: int, root: int, me: int, mutes: I32, low: int, high: int, seen: I32, want_seen: bool
) -> bool:
    if author == me or root_author == me:
        return False
    if low < high and (_holds(mutes, low, high, author) or _holds(mutes, low, high, root_author)):
        return False
    return bool(_holds(seen, 0, len(seen), root) == want_seen)


@kernel(nogil=True)
def _before(score: float, tie: np.uint64, post: int, score2: float, tie2: np.uint64, post2: int) -> bool:
    if score != score2:
        return score > score2
    if tie != tie2:
        return bool(tie < tie2)
    return post < post2


@kernel(nogil=True)
def _place(
    post: int, root: int, score: float, tie: np.uint64, count: int, posts: I32, roots: I32, scores: F64, ties: U64
) -> int:
    """Insert a row into one list of distinct roots; return its new length."""
    width = len(posts)
    at = count
    for j in range(count):
        if roots[j] == root:
            at = j
            break
    if at < count:  # another version of this root is there: the better one stays
        if not _before(score, tie, post, scores[at], ties[at], posts[at]):
            return count
    elif count == width:
        at = width - 1
        if not _before(score, tie, post, scores[at], ties[at], posts[at]):
            return count
    else:
        count += 1
    while at > 0 and _before(score, tie, post, scores[at - 1], ties[at - 1], posts[at - 1]):
        posts[at], roots[at], scores[at], ties[at] = posts[at - 1], roots[at - 1], scores[at - 1], ties[at - 1]
        at -= 1
    posts[at], roots[at], scores[at], ties[at] = post, root, score, tie
    return count


def best_numpy(posts: I32, roots: I32, scores: F64, ties: U64, width: int) -> I64:
    """Return which rows are an agent's list of at most `width`, in order, with NumPy alone.

    What every selecting kernel here fills in, given the rows that the agent may be shown.
    """
    order = np.lexsort((posts, ties, -scores))
    _, first = np.unique(roots[order], return_index=True)
    return order[np.sort(first)[:width]]


@kernel(nogil=True)
def walk(
    row_post: I32, row_root: I32, row_author: I32, row_root_author: I32, row_score: F64,
    own: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool,
    posts: I32, roots: I32, scores: F64, counts: I64, ended: Bool,
) -> None:  # fmt: skip
    """Fill each list with the first allowed rows, one per root, of rows that stand in order already.

    `ended` says whether the rows ran out before the list was full.
    """
    width = posts.shape[1]
    for i in range(len(own)):
        roots_i, seen_i = roots[i], seen[i]
        me, low, high = own[i], mute_ptr[i], mute_ptr[i + 1]
        count = 0
        ended[i] = True
        for r in range(len(row_post)):
            if count == width:
                ended[i] = False
                break
            root = row_root[r]
            taken = False
            for j in range(count):
                if roots_i[j] == root:
                    taken = True
                    break
            if taken or not _allowed(row_author[r], row_root_author[r], root, me, mutes, low, high, seen_i, want_seen):
                continue
            posts[i, count], roots[i, count], scores[i, count] = row_post[r], root, row_score[r]
            count += 1
        counts[i] = count


@kernel(nogil=True)
def followed(
    author_ptr: I64, row_post: I32, row_root: I32, row_author: I32, row_root_author: I32, row_score: F64, row_tie: U64,
    follow_ptr: I64, follows: I32,
    own: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool,
    posts: I32, roots: I32, scores: F64, ties: U64, counts: I64,
) -> None:  # fmt: skip
    """Fill each list with the best rows of followed authors; an author's rows stand by falling score."""
    width = posts.shape[1]
    for i in range(len(own)):
        posts_i, roots_i, scores_i, ties_i, seen_i = posts[i], roots[i], scores[i], ties[i], seen[i]
        me, low, high = own[i], mute_ptr[i], mute_ptr[i + 1]
        count = 0
        for f in range(follow_ptr[i], follow_ptr[i + 1]):
            author = follows[f]
            for r in range(author_ptr[author], author_ptr[author + 1]):
                if count == width and row_score[r] < scores_i[width - 1]:
                    break
                if _allowed(author, row_root_author[r], row_root[r], me, mutes, low, high, seen_i, want_seen):
                    count = _place(
                        row_post[r], row_root[r], row_score[r], row_tie[r],
                        count, posts_i, roots_i, scores_i, ties_i,
                    )  # fmt: skip
        counts[i] = count


@kernel(nogil=True)
def similar(
    dots: F32, bound: F64,
    text_ptr: I64, root_end: I64,
    row_post: I32, row_root: I32, row_author: I32, row_root_author: I32, row_factor: F64, row_tie: U64,
    follow_ptr: I64, follows: I32,
    own: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool,
    posts: I32, roots: I32, scores: F64, ties: U64, counts: I64,
) -> None:  # fmt: skip
    """Fill each list with the rows of authors not followed with the largest positive ``dots[i, text] * row_factor``.

    ``dots`` has shape (n, texts) and holds exact integers. Text t has the rows ``text_ptr[t]`` to
    ``text_ptr[t + 1]``, those of a root together (``root_end[r]`` is the end of its rows), roots by their falling
    largest factor, the rows of a root by falling factor; ``bound[t]`` is the largest of all.
    """
    width = posts.shape[1]
    texts = dots.shape[1]
    for i in range(len(own)):
        posts_i, roots_i, scores_i, ties_i, seen_i = posts[i], roots[i], scores[i], ties[i], seen[i]
        me, low, high = own[i], mute_ptr[i], mute_ptr[i + 1]
        count = 0
        threshold = 5e-324  # the smallest positive number: scores of zero leave
        for start in range(0, texts, _BLOCK):
            end = min(start + _BLOCK, texts)
            block, bounds = dots[i, start:end], bound[start:end]
            hits = np.int64(0)
            for t in range(len(block)):  # no branch: this loop becomes SIMD
                hits += np.int64(np.float64(block[t]) * bounds[t] >= threshold)
            if hits == 0:
                continue
            for t in range(start, end):
                dot = np.float64(dots[i, t])
                if dot * bound[t] < threshold:
                    continue
                r = text_ptr[t]
                while r < text_ptr[t + 1]:
                    first, r = r, root_end[r]
                    best, root, root_author = dot * row_factor[first], row_root[first], row_root_author[first]
                    if best < threshold:
                        break
                    if count == width and best == threshold and row_tie[first] > ties_i[width - 1]:
                        continue
                    if not _allowed(root_author, root_author, root, me, mutes, low, high, seen_i, want_seen):
                        continue
                    chosen = 0.0
                    for v in range(first, r):  # the best version by an author who is neither followed nor barred
                        score, author = dot * row_factor[v], row_author[v]
                        if score < max(threshold, chosen):
                            break
                        if author == me or _holds(mutes, low, high, author):
                            continue
                        if _holds(follows, follow_ptr[i], follow_ptr[i + 1], author):
                            continue
                        chosen = score
                        count = _place(
                            row_post[v], root, score, row_tie[v], count, posts_i, roots_i, scores_i, ties_i
                        )  # fmt: skip
                    if count == width:
                        threshold = scores_i[width - 1]
        counts[i] = count


@kernel(nogil=True)
def co_engaged(
    mine: I32, engager_ptr: I64, engagers: I32, ring_ptr: I64, ring_items: I32,
    item_post: I32, item_author: I32, item_weight: F64, item_tie: U64,
    own: I32, me: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool,
    posts: I32, roots: I32, scores: F64, ties: U64, counts: I64,
) -> None:  # fmt: skip
    """Fill each list with the items most often engaged with together with the agent's own, `mine`.

    The score is the number of pairs (an item of mine, another agent who engaged with both it and the candidate) times
    the candidate's weight. ``mine`` has shape (n, ring width), -1 for none; `engagers` lists, per item, rows of
    `ring_ptr`; `me` is the agent's own row there or -1.
    """
    width = posts.shape[1]
    times = np.zeros(len(item_post), np.int64)
    touched = np.empty(len(item_post), np.int64)
    for i in range(len(own)):
        posts_i, roots_i, scores_i, ties_i, seen_i = posts[i], roots[i], scores[i], ties[i], seen[i]
        me_i, low, high = own[i], mute_ptr[i], mute_ptr[i + 1]
        many = 0
        for a in range(mine.shape[1]):
            item = mine[i, a]
            if item < 0:
                continue
            for e in range(engager_ptr[item], engager_ptr[item + 1]):
                other = engagers[e]
                if other == me[i]:
                    continue
                for b in range(ring_ptr[other], ring_ptr[other + 1]):
                    candidate = ring_items[b]
                    if times[candidate] == 0:
                        touched[many] = candidate
                        many += 1
                    times[candidate] += 1
        for a in range(mine.shape[1]):  # what I engaged with is no candidate
            if mine[i, a] >= 0:
                times[mine[i, a]] = 0
        count = 0
        for a in range(many):
            item = touched[a]
            score = times[item] * item_weight[item]
            times[item] = 0
            if score <= 0.0 or (count == width and score < scores_i[width - 1]):
                continue
            author = item_author[item]
            if _allowed(author, author, item_post[item], me_i, mutes, low, high, seen_i, want_seen):
                count = _place(
                    item_post[item], item_post[item], score, item_tie[item],
                    count, posts_i, roots_i, scores_i, ties_i,
                )  # fmt: skip
        counts[i] = count


@kernel(nogil=True)
def merge(
    first: I32, first_roots: I32, second: I32, second_roots: I32, share: int, size: int, out: I32, out_list: I32
) -> None:
    """Interleave two lists per agent: `share` places for the first, the rest for the second; one fills the other.

    Entries of -1 are skipped. A root that the first list takes is skipped in the second, and in what fills up after.
    Fills `out` (n, size) with places: the column in its list, and `out_list` with 0 or 1, both -1 beyond the end.
    """
    taken_first = np.empty(size, np.int64)
    taken_second = np.empty(size, np.int64)
    for i in range(len(first)):
        a = b = j = 0
        while j < first.shape[1] and a < share:
            if first[i, j] >= 0:
                taken_first[a] = j
                a += 1
            j += 1
        for s in range(second.shape[1]):
            if a + b == size:
                break
            fresh = second[i, s] >= 0
            for t in range(a):
                if fresh and first_roots[i, taken_first[t]] == second_roots[i, s]:
                    fresh = False
            if fresh:
                taken_second[b] = s
                b += 1
        while j < first.shape[1] and a + b < size:
            fresh = first[i, j] >= 0
            for t in range(b):
                if fresh and second_roots[i, taken_second[t]] == first_roots[i, j]:
                    fresh = False
            if fresh:
                taken_first[a] = j
                a += 1
            j += 1
        x = y = at = 0
        while x < a or y < b:
            if x < a:
                out[i, at], out_list[i, at] = taken_first[x], 0
                x += 1
                at += 1
            if y < b:
                out[i, at], out_list[i, at] = taken_second[y], 1
                y += 1
                at += 1
        for t in range(at, size):
            out[i, t], out_list[i, t] = -1, -1
