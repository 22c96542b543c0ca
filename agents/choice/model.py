"""Options, features and coefficients of the choice model.

Axes: ``f`` features, ``o`` options of an occasion, of which the first is "nothing" (utility 0).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from oasis.actions import USER_ACTIONS, Action
from oasis.agents.choice.stance_rules import OpinionParameters
from oasis.errors import nearest
from oasis.interfaces import Parameters

__all__ = ["AUTHOR", "COMMENT", "FEATURES", "POST", "READ", "WRITE", "ChoiceParameters", "Menu", "Model", "defaults"]

F64 = npt.NDArray[np.float64]

FEATURES: Final[tuple[str, ...]] = (
    "intercept",
    "interest",  # cosine of the agent's interest vector and the text, -1 to 1
    "in_network",  # 1 where the agent follows who put the post before it
    "log_author_followers",  # log(1 + followers)
    "log1p_likes",
    "log1p_reposts",
    "log1p_score",  # sign(s) log(1 + |s|), s = likes - dislikes
    "seen",  # 1 where the agent was shown it before
    "age",  # log(1 + hours)
    "reports",  # log(1 + reports)
    "labelled",  # 1 where a label was put on it
    "warned",  # 1 where it carries the platform's warning
    "veracity",  # 1 true, -1 false, 0 unknown
    "stance_distance",  # |own stance - author's stance|, 0 where either is unknown
)

POST: Final = (
    Action.LIKE_POST,
    Action.REPOST,
    Action.QUOTE_POST,
    Action.CREATE_COMMENT,
    Action.DISLIKE_POST,
    Action.REPORT_POST,
    Action.UNLIKE_POST,
    Action.UNDO_DISLIKE_POST,
)
AUTHOR: Final = (Action.FOLLOW, Action.UNFOLLOW, Action.MUTE)
COMMENT: Final = (
    Action.LIKE_COMMENT,
    Action.DISLIKE_COMMENT,
    Action.UNLIKE_COMMENT,
    Action.UNDO_DISLIKE_COMMENT,
)
WRITE: Final = (Action.CREATE_POST,)
READ: Final = (Action.SEARCH_POSTS, Action.SEARCH_USER, Action.TREND, Action.REFRESH)

_ACTIONS: Final = tuple(a.label for a in (*POST, *AUTHOR, *COMMENT, *WRITE, *READ))
_BOUND = 100.0  # exp(100) is far beyond any odds; keeps every utility finite

Coefficient = Annotated[float, Field(strict=True, ge=-_BOUND, le=_BOUND, allow_inf_nan=False)]
Probability = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]


class ChoiceParameters(Parameters):
    """Parameters of the ``choice`` policy; what is None comes from ``coefficients.toml``.

    Attributes
    ----------
    coefficients : dict of dict of float
        ``{action: {feature: value}}``, replacing defaults one by one; values from -100 to 100.
    max_actions : int
        At most so many rows per activation, read-only actions among them.
    first, persistence, comments : float
        A post at position p (from 0) is examined with probability ``first * persistence ** p``, a comment under an
        examined post with ``comments * persistence ** p``.
    reuse, reply_to_comment : float
        Share of new posts that repeat a post from before the run; share of comments that answer a comment.
    opinion : OpinionParameters, optional
        The rule by which stances move; without one they stay.
    rates : dict of float, optional
        ``{action: number per activation}``, instead of coefficients and examination: see `oasis.agents.choice.rated`.
        Actions that the model does not know are left out.
    """

    coefficients: dict[str, dict[str, Coefficient]] = {}
    max_actions: int = Field(default=3, strict=True, ge=1, le=100)
    first: Probability | None = None
    persistence: Probability | None = None
    comments: Probability | None = None
    reuse: Probability | None = None
    reply_to_comment: Probability | None = None
    opinion: OpinionParameters | None = None
    rates: dict[str, Annotated[float, Field(strict=True, ge=0.0, le=100.0)]] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = {"coefficients", "first", "persistence", "comments"} & self.model_fields_set
        if self.rates is not None and given:
            raise ValueError(f"rates take the place of {sorted(given)[0]}; give one of them")
        return self

    @field_validator("rates")
    @classmethod
    def _actions(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        names = [a.label for a in USER_ACTIONS]
        for name in value or {}:
            if name not in names:
                raise ValueError(f"unknown action {name!r}{nearest(name, names)}; allowed: {', '.join(names)}")
        return value

    @field_validator("coefficients", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table of actions, each a table of features, got {value!r:.200}")
        for action, features in value.items():
            if action not in _ACTIONS:
                raise ValueError(
                    f"unknown action {action!r}{nearest(action, _ACTIONS)}; allowed: {', '.join(_ACTIONS)}"
                )
            for feature in features if isinstance(features, Mapping) else ():
                if feature not in FEATURES:
                    hint = nearest(feature, FEATURES)
                    raise ValueError(f"unknown feature {action}.{feature!s}{hint}; allowed: {', '.join(FEATURES)}")
        return value


@dataclass(frozen=True)
class Menu:
    """The options of one kind of occasion.

    Attributes
    ----------
    actions : tuple of Action
        What can be chosen, "nothing" (`Action.DO_NOTHING`) first.
    coefficients : ndarray, shape (o, f), float64
        Zeros for nothing.
    rates : ndarray, shape (o,), float64, optional
        Numbers per activation, which take the place of utilities.
    """

    actions: tuple[Action, ...]
    coefficients: F64
    rates: F64 | None = None

    @property
    def codes(self) -> npt.NDArray[np.uint64]:
        """Action codes, shape (o,): what the noise of each option is keyed by."""
        return np.asarray(self.actions, np.uint64)

    def column(self, action: Action) -> int | None:
        """Return the column of `action`, None where it is not on the menu."""
        return self.actions.index(action) if action in self.actions else None


@dataclass(frozen=True)
class Model:
    """Everything that `Choice` computes with, for one platform and one set of allowed actions."""

    post: Menu
    author: Menu
    comment: Menu
    write: Menu
    read: Menu
    first: float
    persistence: float
    comments: float
    reuse: float
    reply_to_comment: float

    @classmethod
    def build(cls, platform: str, allowed: tuple[Action, ...], parameters: ChoiceParameters) -> Self:
        """Return the model of a platform: defaults, then the platform's, then the parameters' coefficients."""
        data = defaults()
        table: dict[str, dict[str, float]] = {}
        for source in (data["actions"], data["platforms"].get(platform, {})):
            for action, features in source.items():
                table.setdefault(action, {}).update({name: float(entry[0]) for name, entry in features.items()})
        for action, changed in parameters.coefficients.items():
            table.setdefault(action, {}).update(changed)

        def menu(options: tuple[Action, ...]) -> Menu:
            actions = (Action.DO_NOTHING, *(a for a in options if a in allowed))
            rows = [[table.get(a.label, {}).get(name, 0.0) for name in FEATURES] for a in actions]
            given = parameters.rates
            rates = None if given is None else np.asarray([given.get(a.label, 0.0) for a in actions])
            return Menu(actions, np.asarray(rows, np.float64), rates)

        def number(group: str, name: str) -> float:
            given = 1.0 if group == "examination" and parameters.rates is not None else getattr(parameters, name)
            return float(data[group][name][0]) if given is None else float(given)

        return cls(
            menu(POST),
            menu(AUTHOR),
            menu(COMMENT),
            menu(WRITE),
            menu(READ),
            *(number("examination", name) for name in ("first", "persistence", "comments")),
            *(number("content", name) for name in ("reuse", "reply_to_comment")),
        )

    def examination(self, positions: npt.NDArray[np.integer], first: float) -> F64:
        """Return ``first * persistence ** position`` by repeated multiplication, shape of `positions`."""
        steps = np.full(int(positions.max(initial=0)) + 1, self.persistence)
        steps[0] = first
        return np.multiply.accumulate(steps)[positions]


@cache
def defaults() -> dict[str, Any]:
    """Return ``coefficients.toml``: tables of ``[value, source]``."""
    return tomllib.loads((files("oasis.agents") / "coefficients.toml").read_text("utf-8"))
