"""``python -m oasis`` is ``oasis``."""

from oasis.cli import main

main(prog_name="oasis")
