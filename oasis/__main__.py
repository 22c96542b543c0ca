"""``python -m oasis`` is ``oasis``."""

from oasis.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="oasis")
