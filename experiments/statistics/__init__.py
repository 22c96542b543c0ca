"""Statistics over replicates: effects, families of tests, equivalence, spread, components of variance.

The run is the unit. What happens within a run (agents, posts, steps) is never counted as independent.
"""

from oasis.experiments.statistics.agreement import cohens_kappa, intraclass_correlation, jackknife
from oasis.experiments.statistics.effects import EFFECTS, Contrast, effects_table
from oasis.experiments.statistics.equivalence import EQUIVALENCES, Claim, Equivalence, equivalence, equivalence_table
from oasis.experiments.statistics.families import benjamini_hochberg, within_families
from oasis.experiments.statistics.intervals import MIN_REPLICATES, Interval, bootstrap_t, mean_t, paired_t
from oasis.experiments.statistics.pairs import VALUES, paired_values
from oasis.experiments.statistics.rejection import IDENTIFIED, Posterior, cross_validated, nearest, posterior
from oasis.experiments.statistics.spread import Spread, spread
from oasis.experiments.statistics.variance import COMPONENTS, variance_components

__all__ = [
    "COMPONENTS",
    "EFFECTS",
    "EQUIVALENCES",
    "IDENTIFIED",
    "MIN_REPLICATES",
    "VALUES",
    "Claim",
    "Contrast",
    "Equivalence",
    "Interval",
    "Posterior",
    "Spread",
    "benjamini_hochberg",
    "bootstrap_t",
    "cohens_kappa",
    "cross_validated",
    "effects_table",
    "equivalence",
    "equivalence_table",
    "intraclass_correlation",
    "jackknife",
    "mean_t",
    "nearest",
    "paired_t",
    "paired_values",
    "posterior",
    "spread",
    "variance_components",
    "within_families",
]
