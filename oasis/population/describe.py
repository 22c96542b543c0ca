"""What a population is like, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from oasis.kernels.csr import in_row
from oasis.population.population import Population

__all__ = ["describe", "tail_exponent"]

_TAIL_SHARE = 0.05  # the tail is what the 5% most followed have; assumed: small enough to be past the bend


def describe(population: Population) -> dict[str, Any]:
    """Return counts and statistics of a population; null where they are not defined.

    ``in_degree_exponent`` is the maximum-likelihood exponent of the in-degree's tail; ``reciprocity`` the share of
    edges that are returned, ``mutual_pairs`` that of connected pairs; ``same_group`` the share of edges within a
    group, beside ``same_group_by_chance`` if the same in- and out-degrees met at random, ``group_assortativity`` the
    excess over chance as a share of the greatest possible (Newman 2003, equation 2); ``top_tenth_activity`` what the
    most active tenth have of all activity.
    """
    n, edges = len(population), len(population.follower)
    received = np.bincount(population.followee, minlength=n)
    sent = np.bincount(population.follower, minlength=n)
    same, chance = _assortativity(population, sent, received)
    returned = _reciprocity(population) if edges else None
    level = np.sort(population.activity.mean(axis=1, dtype=np.float64))[::-1]
    total = float(level.sum())
    texts = population.posts.text
    reasons = [row["reason"] for row in population.refused_rows]
    return {
        "agents": n,
        "follows": edges,
        "history_posts": len(population.posts),
        "distinct_history_texts": pc.count_distinct(texts).as_py() if len(texts) else 0,
        "empty_bios": int(pc.sum(pc.equal(pc.utf8_length(population.bio.fill_null("")), 0)).as_py()),
        "mean_follows": edges / n,
        "most_followed": int(received.max()),
        "in_degree_exponent": tail_exponent(received),
        "reciprocity": returned,
        "mutual_pairs": None if returned is None else returned / (2.0 - returned),
        "same_group": same,
        "same_group_by_chance": chance,
        "group_assortativity": None
        if same is None or chance is None or chance == 1
        else (same - chance) / (1 - chance),
        "mean_activity": total / n,
        "top_tenth_activity": float(level[: max(1, n // 10)].sum()) / total if total else None,
        "refused_rows": len(reasons),
        "refused_by_reason": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    }


def tail_exponent(degrees: npt.NDArray[np.integer]) -> float | None:
    """Return the exponent of a power-law tail, ``1 + m / sum(ln(x / (x_min - 1/2)))`` (Clauset, Shalizi and Newman
    2009, equation 3.7); x_min is the smallest of the largest 5%. None for fewer than 50 in the tail."""
    ordered = np.sort(degrees[degrees > 0])[::-1]
    tail = ordered[: int(len(ordered) * _TAIL_SHARE)]
    if len(tail) < 50 or tail[-1] < 2:
        return None
    return float(1.0 + len(tail) / np.log(tail / (tail[-1] - 0.5)).sum())


def _reciprocity(population: Population) -> float:
    """Return the share of edges whose reverse is there: looked up in sorted rows, one per follower."""
    follower, followee = population.follower, population.followee
    packed = np.sort(follower.astype(np.int64) << 32 | followee)
    indptr = np.r_[0, np.cumsum(np.bincount(follower, minlength=len(population)))]
    place = np.empty(len(packed), np.int64)
    in_row(indptr, (packed & 0xFFFFFFFF).astype(np.int32), followee.astype(np.int64), follower.astype(np.int64), place)
    return float((place >= 0).mean())


def _assortativity(
    population: Population, sent: npt.NDArray[np.intp], received: npt.NDArray[np.intp]
) -> tuple[float | None, float | None]:
    encoded = population.group.dictionary_encode()
    group = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    edges = len(population.follower)
    if not edges or not len(encoded.dictionary):
        return None, None
    mine, theirs = group[population.follower], group[population.followee]
    same = float(((mine == theirs) & (mine >= 0)).mean())
    known = group >= 0
    out = np.bincount(group[known], weights=sent[known], minlength=len(encoded.dictionary)) / edges
    into = np.bincount(group[known], weights=received[known], minlength=len(encoded.dictionary)) / edges
    return same, float((out * into).sum())
