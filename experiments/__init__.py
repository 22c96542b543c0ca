"""Phenomena: what is measured in runs, and how arms are compared over replicates."""
