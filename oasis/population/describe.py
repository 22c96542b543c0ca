"""What a population is like, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from oasis.population.population import Population
from oasis.population.power_law import fit_tail
from oasis.population.structure import Graph

__all__ = ["describe"]


def describe(population: Population) -> dict[str, Any]:
    """Return counts and statistics of a population; null where they are not defined.

    ``in_degree_exponent`` and ``out_degree_exponent`` are of the tails (`oasis.population.power_law`), with
    ``_error`` their standard error, ``_x_min`` where the tail begins and ``_tail`` how many agents are in it.
    ``reciprocity`` is the share of edges that are returned, ``mutual_pairs`` that of connected pairs; ``same_group``
    the share of edges within a group, beside ``same_group_by_chance`` if the same in- and out-degrees met at random,
    ``group_assortativity`` the excess over chance as a share of the greatest possible (Newman 2003, equation 2);
    ``clustering`` the mean local coefficient of sampled agents (`oasis.population.structure`); ``weak_components`` and
    ``strong_components`` are counted, ``weakly_`` and ``strongly_connected`` the share of agents in the largest;
    ``top_tenth_activity`` what the most active tenth have of all activity; ``activity_by_hour`` the mean chance to act
    in each UTC hour.
    """
    n, edges = len(population), len(population.follower)
    texts = population.posts.text
    level = np.sort(population.activity.mean(axis=1, dtype=np.float64))[::-1]
    total = float(level.sum())
    reasons = [row["reason"] for row in population.refused_rows]
    bios = population.bio.drop_null()
    return {
        "agents": n,
        "follows": edges,
        "history_posts": len(population.posts),
        "distinct_history_texts": pc.count_distinct(texts).as_py() if len(texts) else 0,
        "empty_bios": int(pc.sum(pc.equal(pc.utf8_length(population.bio.fill_null("")), 0)).as_py()),
        "distinct_bios": pc.count_distinct(bios).as_py() / len(bios) if len(bios) else None,
        "mean_follows": edges / n,
        **_degrees("in_degree", np.bincount(population.followee, minlength=n)),
        **_degrees("out_degree", np.bincount(population.follower, minlength=n)),
        **_structure(population),
        "mean_activity": total / n,
        "top_tenth_activity": float(level[: max(1, n // 10)].sum()) / total if total else None,
        "activity_by_hour": population.activity.mean(axis=0, dtype=np.float64).tolist(),
        "refused_rows": len(reasons),
        "refused_by_reason": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    }


def _degrees(name: str, degrees: npt.NDArray[np.integer]) -> dict[str, Any]:
    law = fit_tail(degrees)
    return {
        f"{name}_median": float(np.median(degrees)),
        f"{name}_max": int(degrees.max()),
        f"{name}_exponent": None if law is None else law.exponent,
        f"{name}_error": None if law is None else law.error,
        f"{name}_x_min": None if law is None else law.x_min,
        f"{name}_tail": None if law is None else law.tail,
    }


def _structure(population: Population) -> dict[str, Any]:
    n = len(population)
    graph = Graph.of(n, population.follower, population.followee)
    returned = graph.reciprocity()
    same, chance = _groups(population, graph)
    apart = same is None or chance is None or chance >= 1.0
    clustering, error = graph.clustering(population.keys)
    (weak, weakly), (strong, strongly) = graph.components("weak"), graph.components("strong")
    return {
        "reciprocity": returned,
        "mutual_pairs": None if returned is None else returned / (2.0 - returned),
        "same_group": same,
        "same_group_by_chance": chance,
        "group_assortativity": None if apart else (same - chance) / (1.0 - chance),  # type: ignore[operator]
        "clustering": clustering,
        "clustering_error": error,
        "weak_components": weak,
        "weakly_connected": weakly,
        "strong_components": strong,
        "strongly_connected": strongly,
    }


def _groups(population: Population, graph: Graph) -> tuple[float | None, float | None]:
    encoded = population.group.dictionary_encode()
    names, edges = len(encoded.dictionary), len(graph.indices)
    if not edges or not names:
        return None, None
    group = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    known = group >= 0
    sent, received = (np.bincount(ids, minlength=len(group)) for ids in (population.follower, population.followee))
    out, into = (np.bincount(group[known], count[known], names) / edges for count in (sent, received))
    return graph.alike(group), float((out * into).sum())
