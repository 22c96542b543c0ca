"""Write docs/commands.md from the commands' own help: ``python docs/build_commands.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from oasis.cli import main

TARGET = Path(__file__).with_name("commands.md")
_HEAD = """# Command line

Data goes to standard output, progress to standard error. Exit status: 0 done, 1 the run failed or stopped, 2 bad usage
or input. `--json` prints one JSON object instead of a table.

The tab key completes commands and options with this line in `~/.bashrc` (for zsh: `zsh_source`, in `~/.zshrc`):

```sh
eval "$(_OASIS_COMPLETE=bash_source oasis)"
```

This page is made from the commands' `--help` by `python docs/build_commands.py`.
"""


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its path, groups first."""
    if path:
        yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from commands(child, (*path, name))


def render() -> str:
    """Return the page."""
    parts = [_HEAD]
    for path, command in commands(main):
        context = click.Context(
            command,
            info_name=f"oasis {' '.join(path)}",
            terminal_width=100,
            max_content_width=100,
            help_option_names=main.context_settings["help_option_names"],
        )
        parts.append(f"## oasis {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(render(), "utf-8")
