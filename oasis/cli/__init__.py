"""The command line: each command is a thin call of a library function."""

from oasis.cli.main import main

__all__ = ["main"]
