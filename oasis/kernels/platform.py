"""What an observation needs of each shown post: was its root seen before, and is it the best version in its feed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from oasis.kernels.compiled import kernel

__all__ = ["best_version", "best_version_numpy", "seen_before", "seen_before_numpy"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


@kernel()
def seen_before(offsets: I64, roots: I32, remembered: I32, out: Bool) -> None:
    """Fill `out` with whether the root of a row is among what its agent remembers.

    Parameters
    ----------
    offsets : shape (n + 1,)
        Feeds in CSR form.
    roots : shape (m,)
    remembered : shape (n, w)
        Roots seen by each agent, -1 where there is none.
    """
    for i in range(len(offsets) - 1):
        for row in range(offsets[i], offsets[i + 1]):
            out[row] = False
            for j in range(remembered.shape[1]):
                if remembered[i, j] == roots[row]:
                    out[row] = True
                    break


def seen_before_numpy(offsets: I64, roots: I32, remembered: I32) -> Bool:
    """Return what `seen_before` fills in, with NumPy alone."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.asarray((remembered[row] == roots[:, None]).any(axis=1))


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
