"""The built-in kinds of experiments: one phenomenon each, with its declared design in ``experiments/designs``."""
