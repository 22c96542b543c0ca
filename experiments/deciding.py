"""Which arms have agents that a language model decides for: as the design says, or all where it says nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from oasis.experiments.cells import points_of
from oasis.experiments.design import Design
from oasis.scenario import Scenario

__all__ = ["llm_agents", "said_llm_agents", "says_who_asks"]


def says_who_asks(design: Design, changes: Mapping[str, Any], fixed: Collection[str] = ()) -> bool:
    """Return whether any arm, at any point of the sweep, says itself which agents are ``llm``.

    A language model that is named from outside then decides for these alone, in all arms. Arms that are there only
    where one decides for all agents (``deciders = "llm"``) are not asked.

    Parameters
    ----------
    changes : mapping
        Keys of the scenario, of all arms, to values.
    fixed : collection of str
        Keys that are not swept over.
    """
    arms = [arm for arm in design.arms if arm.deciders != "llm"]
    return any(
        policy.kind == "llm"
        for point in points_of(design, fixed)
        for arm in arms
        for policy in design.arm_scenario(arm, {**changes, **point}).policies
    )


def llm_agents(scenario: Scenario) -> str | None:
    """Return, in words, which agents of a scenario are ``llm``; None where none is."""
    found = []
    for number, policy in enumerate(scenario.policies):
        if policy.kind != "llm":
            continue
        if policy.share is not None:
            found.append(f"a drawn {100 * policy.share:g}%")
        elif policy.select is not None:
            found.append("selected agents")
        else:
            found.append("the rest" if number else "all agents")
    return " and ".join(found) or None


def said_llm_agents(arms: Mapping[str, Iterable[str | None]]) -> str | None:
    """Return which arms have ``llm`` agents, in one line; None where no arm has any.

    Parameters
    ----------
    arms : mapping
        Name to what `llm_agents` said at each point of the sweep.
    """
    by_words: dict[str, list[str]] = {}
    for arm, said in arms.items():
        words = dict.fromkeys(each or "none" for each in said)
        by_words.setdefault(" or ".join(words), []).append(arm)
    if set(by_words) <= {"none"}:
        return None
    ordered = sorted(by_words.items(), key=lambda item: item[0] == "none")
    return "; ".join(f"{words} in {', '.join(names)}" for words, names in ordered)
