"""The best posts of each agent: selection of a few rows out of many, with what an agent must not be shown left out.

Axes: ``n`` agents, ``w`` places in each agent's list, ``r`` candidate rows (versions of posts).

All lists hold distinct roots and are ordered by (score falling, tie draw rising, post id rising). The tie draw is
one of the root's, so the versions of a root with equal scores stand together, the earliest first. Lists grow by
insertion: a list is at any time the best of what was looked at, whatever the order of looking.

`posts`, `roots`, `scores`, `ties` are the lists, shape (n, w); posts and roots are -1 beyond `counts`.
`own`, `mute_ptr`, `mutes`, `seen` say what agent i must not get: rows by ``own[i]`` or by the sorted
``mutes[mute_ptr[i]:mute_ptr[i + 1]]`` (as author of the version or of its root), and, with `want_seen` False,
roots in the sorted ``seen[i]``; with `want_seen` True only those. Nor what it acted on: `acted` are the slots of sets
of (agent, root), see `oasis.kernels.pairs`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels import pairs
from oasis.kernels.compiled import kernel
from oasis.kernels.csr import holds
from oasis.kernels.lists import allowed, may_look, place

__all__ = ["co_engaged", "followed", "merge", "walk"]

Bool = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Acted = tuple[I64, ...]

_NOTES = 1024  # a power of two: 8 KB
_TOGETHER = 16  # look-ups that are waited for together


@kernel()
def walk(
    row_post: I32, row_root: I32, row_author: I32, row_root_author: I32, row_score: F64,
    own: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool, acted: Acted,
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
            if taken or not allowed(
                row_author[r], row_root_author[r], root, me, mutes, low, high, seen_i, want_seen, acted
            ):
                continue
            posts[i, count], roots[i, count], scores[i, count] = row_post[r], root, row_score[r]
            count += 1
        counts[i] = count


@kernel()
def followed(
    author_ptr: I64, rows: I64, row_score: F64, follow_ptr: I64, follows: I32,
    own: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool, acted: Acted,
    posts: I32, roots: I32, scores: F64, ties: U64, counts: I64,
) -> None:  # fmt: skip
    """Fill each list with the best rows of followed authors; an author's rows are as in `oasis.kernels.author_rows`.

    Candidates wait until there are some whose look-ups in `acted` are made together.
    """
    width = posts.shape[1]
    most = 0
    for i in range(len(own)):
        most = max(most, follow_ptr[i + 1] - follow_ptr[i])
    begin, end, best = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most)
    refused = np.full(_NOTES, -1, np.int64)  # roots that an agent may not be given: many follow reposts of the same
    waiting, waiting_root = np.empty(_TOGETHER, np.int64), np.empty(_TOGETHER, np.int64)
    first, done = np.empty(_TOGETHER, np.int64), np.empty(_TOGETHER, np.bool_)
    for i in range(len(own)):
        posts_i, roots_i, scores_i, ties_i, seen_i = posts[i], roots[i], scores[i], ties[i], seen[i]
        me, low, high = own[i], mute_ptr[i], mute_ptr[i + 1]
        count, many = 0, follow_ptr[i + 1] - follow_ptr[i]
        # authors lie anywhere in memory: loads that do not wait for each other come first
        for f in range(many):
            author = follows[follow_ptr[i] + f]
            begin[f], end[f] = author_ptr[author], author_ptr[author + 1]
        for f in range(many):
            best[f] = row_score[begin[f], 0] if begin[f] < end[f] else -np.inf
        if not want_seen:
            for root in seen_i:
                if root >= 0:
                    refused[root % _NOTES] = np.int64(i) << 32 | np.int64(root)
        f, r, last, waits = -1, 0, 0, 0
        while f < many:
            if r == last:
                f += 1
                if f < many and (count < width or best[f] >= scores_i[width - 1]):
                    author = follows[follow_ptr[i] + f]
                    if author != me and not holds(mutes, low, high, author):
                        r, last = begin[f], end[f]
            else:
                score, root = row_score[r, 0], rows[r, 2] >> 32
                if count == width and score < scores_i[width - 1]:
                    r = last
                    continue
                behind = count == width and score == scores_i[width - 1] and np.uint64(rows[r, 1]) > ties_i[width - 1]
                note = np.int64(i) << 32 | root
                if not behind and refused[root % _NOTES] != note:
                    root_author = rows[r, 3]
                    if may_look(root_author, root_author, root, me, mutes, low, high, seen_i, want_seen):
                        waiting[waits], waiting_root[waits] = r, root
                        waits += 1
                    else:
                        refused[root % _NOTES] = note
                r += 1
            if waits == _TOGETHER or (f == many and waits):
                pairs.hold_any(acted, me, waiting_root, waits, first, done)
                for w in range(waits):
                    row, root = waiting[w], waiting_root[w]
                    if done[w]:
                        refused[root % _NOTES] = np.int64(i) << 32 | root
                    else:
                        post, tie = rows[row, 2] & 0x7FFFFFFF, np.uint64(rows[row, 1])
                        count = place(post, root, row_score[row, 0], tie, count, posts_i, roots_i, scores_i, ties_i)
                waits = 0
        counts[i] = count


@kernel()
def co_engaged(
    mine: I32, engager_ptr: I64, engagers: I32, ring_ptr: I64, ring_items: I32,
    item_post: I32, item_author: I32, item_weight: F64, item_tie: U64,
    own: I32, me: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool, acted: Acted,
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
            if allowed(author, author, item_post[item], me_i, mutes, low, high, seen_i, want_seen, acted):
                count = place(
                    item_post[item], item_post[item], score, item_tie[item],
                    count, posts_i, roots_i, scores_i, ties_i,
                )  # fmt: skip
        counts[i] = count


@kernel()
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
