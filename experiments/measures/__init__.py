"""Measures of runs: cascades, exposure, opinions, herding, news; `docs/measures.md` lists them with their formulas.

All are pure: tables or arrays in, tables or numbers out. A number that is not defined is null in tables, NaN in arrays.
"""

from oasis.experiments.measures.amplification import amplification
from oasis.experiments.measures.attribution import followed_cascades
from oasis.experiments.measures.cascades import cascade_growth, cascade_measures
from oasis.experiments.measures.diversity import feed_diversity
from oasis.experiments.measures.exposure import cross_group_share, exposure_table, gini, post_labels
from oasis.experiments.measures.generations import branching, generations
from oasis.experiments.measures.held_out import held_out, related
from oasis.experiments.measures.herding import SEEDED_VOTES, herding_values, net_scores
from oasis.experiments.measures.news import news_labels, news_pairs, posts_over_time, reach_over_time
from oasis.experiments.measures.opinions import (
    ashmans_d,
    assortativity,
    bimodality_coefficient,
    opinion_panel,
    polarization,
)
from oasis.experiments.measures.real import (
    Saturating,
    fit_saturating,
    held,
    normalized_rmse,
    read_real_cascades,
    read_real_minutes,
    step_functions,
)
from oasis.experiments.measures.sensitivity import (
    jaccard,
    rank_biased_overlap,
    rank_list_sensitivity,
    rank_lists,
)
from oasis.experiments.measures.shapes import Shapes, SizeWindow, shape_distances
from oasis.experiments.measures.timing import burstiness, half_times

__all__ = [
    "SEEDED_VOTES",
    "Saturating",
    "Shapes",
    "SizeWindow",
    "amplification",
    "ashmans_d",
    "assortativity",
    "bimodality_coefficient",
    "branching",
    "burstiness",
    "cascade_growth",
    "cascade_measures",
    "cross_group_share",
    "exposure_table",
    "feed_diversity",
    "fit_saturating",
    "followed_cascades",
    "generations",
    "gini",
    "half_times",
    "held",
    "held_out",
    "herding_values",
    "jaccard",
    "net_scores",
    "news_labels",
    "news_pairs",
    "normalized_rmse",
    "opinion_panel",
    "polarization",
    "post_labels",
    "posts_over_time",
    "rank_biased_overlap",
    "rank_list_sensitivity",
    "rank_lists",
    "reach_over_time",
    "read_real_cascades",
    "read_real_minutes",
    "related",
    "shape_distances",
    "step_functions",
]
