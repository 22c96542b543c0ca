"""Compare runs: arms and pairs, differences with intervals, where runs part."""

from oasis.runs.comparison.comparison import Comparison, Pair, compare

__all__ = ["Comparison", "Pair", "compare"]
