"""The posts most similar to each agent's interests, out of a pool: exact products, then selection.

Axes: ``n`` agents, ``w`` places in each agent's list, ``r`` rows (versions of posts); see `oasis.kernels.feeds` for
what is common to all selections.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel
from oasis.kernels.csr import holds
from oasis.kernels.lists import allowed, place
from oasis.kernels.products import products

__all__ = ["similar", "similar_to"]

F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
Acted = tuple[I64, ...]

_BLOCK = 64  # texts looked at together: wide enough for SIMD, narrow enough to skip often
_SPARE = 2  # times as many texts as places are looked at first: some may not be shown
_AGENTS = 24  # whose products are held at a time: 1 MB with 10,000 texts


@kernel()
def _reached(dots: npt.NDArray[np.number], bound: F64, most: npt.NDArray[np.number], reach: F64) -> None:
    """Fill ``most`` with the largest product of each block, and ``reach`` with a score that a text of it reaches.

    That is the largest product times the smallest bound.
    """
    for b in range(len(most)):
        block = dots[b * _BLOCK : min((b + 1) * _BLOCK, len(bound))]
        largest = block[0]
        for t in range(len(block)):  # no branch: this loop becomes SIMD
            largest = max(largest, block[t])
        most[b] = largest
        reach[b] = largest * bound[min((b + 1) * _BLOCK, len(bound)) - 1]


@kernel()
def similar(
    dots: npt.NDArray[np.number], bound: F64,
    text_ptr: I64, root_end: I64,
    row_post: I32, row_root: I32, row_author: I32, row_root_author: I32, row_factor: F64, row_tie: U64,
    follow_ptr: I64, follows: I32,
    own: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool, acted: Acted,
    posts: I32, roots: I32, scores: F64, ties: U64, counts: I64,
) -> None:  # fmt: skip
    """Fill each list with the rows of authors not followed with the largest positive ``dots[i, text] * row_factor``.

    ``dots`` has shape (n, texts or more) and holds exact integers. Text t has the rows ``text_ptr[t]`` to
    ``text_ptr[t + 1]``, those of a root together (``root_end[r]`` is the end of its rows), roots by their falling
    largest factor, the rows of a root by falling factor; ``bound[t]`` is the largest of all. Texts stand by falling
    bound.

    Of each agent the texts above a score that about twice as many reach as there are places are looked at; if they do
    not fill its list, twice as many, and so on.
    """
    width, texts = posts.shape[1], len(bound)
    blocks = (texts + _BLOCK - 1) // _BLOCK
    most, reach = np.empty(blocks, dots.dtype), np.empty(blocks)
    for i in range(len(own)):
        posts_i, roots_i, scores_i, ties_i, seen_i = posts[i], roots[i], scores[i], ties[i], seen[i]
        me, low, high = own[i], mute_ptr[i], mute_ptr[i + 1]
        _reached(dots[i], bound, most, reach)
        likely = _SPARE * width
        while True:
            begin = 0.0
            if likely <= blocks and not want_seen:
                begin = np.partition(reach, blocks - likely)[blocks - likely]
            threshold = max(begin, 5e-324)  # the smallest positive number: scores of zero leave
            count = 0
            for b in range(blocks):
                start, end = b * _BLOCK, min((b + 1) * _BLOCK, texts)
                if most[b] * bound[start] < threshold:
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
                        if not allowed(root_author, root_author, root, me, mutes, low, high, seen_i, want_seen, acted):
                            continue
                        chosen = 0.0
                        for v in range(first, r):  # the best version by an author who is neither followed nor barred
                            score, author = dot * row_factor[v], row_author[v]
                            if score < max(threshold, chosen):
                                break
                            if author == me or holds(mutes, low, high, author):
                                continue
                            if holds(follows, follow_ptr[i], follow_ptr[i + 1], author):
                                continue
                            chosen = score
                            count = place(
                                row_post[v], root, score, row_tie[v], count, posts_i, roots_i, scores_i, ties_i
                            )  # fmt: skip
                        if count == width:
                            threshold = scores_i[width - 1]
            if count == width or begin <= 0.0:
                break
            posts_i[:], roots_i[:] = -1, -1
            likely *= _SPARE
        counts[i] = count


@kernel()
def similar_to(
    vectors: U8, panels: I8, starts: I32, bound: F64,
    text_ptr: I64, root_end: I64,
    row_post: I32, row_root: I32, row_author: I32, row_root_author: I32, row_factor: F64, row_tie: U64,
    follow_ptr: I64, follows: I32,
    own: I32, mute_ptr: I64, mutes: I32, seen: I32, want_seen: bool, acted: Acted,
    posts: I32, roots: I32, scores: F64, ties: U64, counts: I64,
) -> None:  # fmt: skip
    """Multiply and select as `similar` does, a few agents at a time, so that products stay in the cache.

    ``vectors`` are the agents', `oasis.kernels.products.shifted`, padded to a multiple of `ROWS` rows.
    """
    dots = np.empty((_AGENTS, starts.size), np.int32)
    for a in range(0, len(own), _AGENTS):
        b, padded = min(a + _AGENTS, len(own)), min(a + _AGENTS, len(vectors))
        products(vectors[a:padded], panels, starts, dots)
        similar(
            dots, bound, text_ptr, root_end,
            row_post, row_root, row_author, row_root_author, row_factor, row_tie, follow_ptr[a : b + 1], follows,
            own[a:b], mute_ptr[a : b + 1], mutes, seen[a:b], want_seen, acted,
            posts[a:b], roots[a:b], scores[a:b], ties[a:b], counts[a:b],
        )  # fmt: skip
