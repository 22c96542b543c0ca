"""Prompts: what an agent is told, what it may answer, and how texts of others are kept apart from instructions."""
