"""Who there is before step 1: readers, the generator, and installation into a world."""

from oasis.population.describe import describe
from oasis.population.generate import GenerateParameters, generate
from oasis.population.load import SOURCES, load_population
from oasis.population.parquet import read_population, write_population
from oasis.population.population import HistoryPosts, Population

__all__ = [
    "SOURCES",
    "GenerateParameters",
    "HistoryPosts",
    "Population",
    "describe",
    "generate",
    "load_population",
    "read_population",
    "write_population",
]
