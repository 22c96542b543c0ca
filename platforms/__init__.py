"""Platforms: which actions exist, what each does to the world, what a feed looks like, what an agent may see."""
