"""The templates in ``agents/prompts``, and the parts of prompts that are the same for all agents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.lexer
import jinja2.meta
from jinja2.runtime import Context

from oasis.actions import READ_ACTIONS, TEXT_ACTIONS, Action
from oasis.agents.prompting.options import ALONE, takes_number
from oasis.agents.prompting.renaming import NOTHING_RENAMED, Renaming
from oasis.errors import ScenarioError, nearest

__all__ = ["Templates", "choice_rules", "interview_rules", "rules"]


_NAMES = {"x": "X", "reddit": "Reddit"}
_HINTS: Mapping[Action, str] = {
    Action.CREATE_GROUP: "a name",
}
"""What an action's name does not say by itself."""


class _Renamed(jinja2.ext.Extension):
    """Names in what templates say between their tags."""

    def filter_stream(self, stream: jinja2.lexer.TokenStream) -> Iterator[jinja2.lexer.Token]:
        renaming: Renaming = self.environment.renaming  # type: ignore[attr-defined]
        for token in stream:
            said = token.type == jinja2.lexer.TOKEN_DATA
            yield jinja2.lexer.Token(token.lineno, token.type, renaming.forward(token.value)) if said else token


class Templates:
    """The packaged templates, or those of a folder in their places.

    Parameters
    ----------
    folder : str or Path, optional
        Holds files named as those in ``agents/prompts``; what is not there is taken from the package.
    renaming : Renaming
        Names that stand as others in what the templates themselves say. What is filled in is the caller's.

    Raises
    ------
    ScenarioError
        Naming the file, for a folder that is none, a name that no prompt has, a syntax error, or a variable that is
        not filled in.
    """

    def __init__(self, folder: str | Path | None = None, renaming: Renaming = NOTHING_RENAMED) -> None:
        packaged = jinja2.PackageLoader("oasis.agents", "prompts")
        own = [] if folder is None else [jinja2.FileSystemLoader(folder)]
        # Plain text, not HTML: what agents wrote is quoted by `oasis.agents.prompting.quoting` before it comes here.
        self._environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader([*own, packaged]),
            autoescape=False,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._renaming = renaming
        if renaming:
            self._environment.add_extension(_Renamed)
            self._environment.extend(renaming=renaming)
        self._found: dict[str, tuple[Callable[[Context], Iterator[str]], Context, dict[str, Any]]] = {}
        if folder is not None:
            self._check(Path(folder), packaged)

    def render(self, template: str, **values: Any) -> str:
        """Return a template filled in, without white space at its ends."""
        found = self._found.get(template)
        if found is None:
            made = self._environment.get_template(template)
            found = self._found[template] = made.root_render_func, made.new_context(), dict(made.globals)
        render, context, names = found  # made once, instead of for each prompt as `jinja2.Template.render` does
        context.parent = {**names, **values}
        text = "".join(render(context)).strip()
        if context.vars:  # what the template has set
            context.vars.clear()
            context.exported_vars.clear()
        return text

    def platform(self, name: str) -> str:
        """Return what a platform is called in prompts."""
        return self._renaming.forward(_NAMES.get(name, name))

    def sources(self) -> dict[str, str]:
        """Return the text of every template by its name."""
        environment = self._environment
        assert environment.loader is not None
        return {name: environment.loader.get_source(environment, name)[0] for name in environment.list_templates()}

    def _check(self, folder: Path, packaged: jinja2.PackageLoader) -> None:
        where = f"templates_path: {folder}"
        known = packaged.list_templates()
        if not folder.is_dir():
            raise ScenarioError(f"{where}: no such folder; it holds any of {', '.join(known)}")
        for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
            if path.name not in known:
                raise ScenarioError(
                    f"{path}: no prompt is made of it{nearest(path.name, known)}; allowed: {', '.join(known)}"
                )
            try:
                used = _variables(self._environment, path.read_text("utf-8"))
            except jinja2.TemplateSyntaxError as error:
                raise ScenarioError(f"{path}, line {error.lineno}: {error.message}") from None
            except (OSError, UnicodeDecodeError) as error:
                raise ScenarioError(f"{path}: cannot be read: {error}") from None
            filled = _variables(self._environment, packaged.get_source(self._environment, path.name)[0])
            if unknown := sorted(used - filled):
                raise ScenarioError(
                    f"{path}: nothing is filled in for {unknown[0]!r}{nearest(unknown[0], sorted(filled))}; "
                    f"allowed: {', '.join(sorted(filled))}"
                )


def _variables(environment: jinja2.Environment, source: str) -> set[str]:
    return jinja2.meta.find_undeclared_variables(environment.parse(source))


def interview_rules(templates: Templates, platform: str, question: str, form: str) -> str:
    """Return the system message of an interview: a quoted question, and the form of its answer."""
    return templates.render("interview.j2", platform=templates.platform(platform), question=question, form=form)


def choice_rules(templates: Templates, platform: str, counts: bool = True) -> str:
    """Return the system message of choices among letters; `counts`: whether lines say how many liked."""
    return templates.render("choose.j2", platform=templates.platform(platform), counts=counts)


def rules(
    templates: Templates,
    platform: str,
    allowed: Sequence[Action],
    max_actions: int,
    max_turns: int,
    max_content: int,
    counts: bool = True,
) -> str:
    """Return the system message: the same bytes for every agent and step of a policy.

    `counts`: whether lines say how many liked.
    """
    acts = [a for a in sorted(allowed) if a not in ALONE]
    reads = [a for a in sorted(allowed) if a in READ_ACTIONS] if max_turns > 1 else []
    example = min(acts, key=lambda a: (a != Action.CREATE_COMMENT, not takes_number(a)), default=Action.DO_NOTHING)
    return templates.render(
        "rules.j2",
        platform=templates.platform(platform),
        example=_example(example),
        acts=_by_form([*acts, Action.DO_NOTHING]),
        reads=_by_form(reads),
        max_actions=max_actions,
        max_turns=max_turns,
        max_content=max_content,
        counts=counts,
    )


def _by_form(actions: Sequence[Action]) -> dict[str, list[str]]:
    """Return the names of actions with their hints, by what they need: nothing, ``n``, ``content``, both."""
    found: dict[str, list[str]] = {}
    for action in actions:
        needs = ["n"] * takes_number(action) + ["content"] * (action in TEXT_ACTIONS)
        hint = f" ({_HINTS[action]})" if action in _HINTS else ""
        found.setdefault(", ".join(needs), []).append(f"{action.label}{hint}")
    return found


def _example(action: Action) -> str:
    item: dict[str, Any] = {"action": action.label}
    if takes_number(action):
        item["n"] = 4
    if action in TEXT_ACTIONS:
        item["content"] = "..."
    return json.dumps({"actions": [item]}, separators=(",", ":"))
