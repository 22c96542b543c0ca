"""Personas that change hands: the baseline in which who one is has nothing to do with whom one knows."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from oasis.population.population import Population
from oasis.randomness import Draws

__all__ = ["shuffled_personas"]

_ACTIVITY = ("utc_offset",)  # attributes that say when an agent is awake


def shuffled_personas(population: Population, draws: Draws) -> Population:
    """Return the population with everybody's bio, persona and attributes given to another agent.

    Names, groups, stances, follows, activity and earlier posts stay. Nobody keeps its own, and an agent more changes
    one other's. Stored vectors of bios are not used: these texts are embedded when they are needed.
    """
    giver = pa.array(draws.next_in_circle("baseline.persona", 0, population.keys))
    attributes = population.attributes
    for place, name in enumerate(attributes.column_names):
        if name not in _ACTIVITY:
            attributes = attributes.set_column(place, attributes.field(name), attributes.column(name).take(giver))
    return replace(
        population,
        bio=population.bio.take(giver),
        persona=population.persona.take(giver),
        attributes=attributes,
        bio_vectors=None,
    )
