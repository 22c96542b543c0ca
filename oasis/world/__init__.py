"""The world: the state of platform and agents between steps, as columns."""

from oasis.world.world import World

__all__ = ["World"]
