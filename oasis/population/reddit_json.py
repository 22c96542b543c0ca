"""Reddit personas as JSON, in the reference's format: a list of objects, one per user."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from oasis.errors import PopulationError
from oasis.population.activity import constant_activity
from oasis.population.csv_rows import read_utf8
from oasis.population.population import HistoryPosts, Population
from oasis.randomness import agent_keys, text_key

__all__ = ["Persona", "read_reddit_json"]


class Persona(BaseModel):
    """One user of the file; other keys are left alone."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    username: str
    realname: str | None = None
    bio: str | None = None
    persona: str | None = None
    age: int | None = Field(default=None, ge=0, le=150)
    gender: str | None = None
    mbti: str | None = None
    country: str | None = None
    profession: str | None = None
    interested_topics: list[str] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """Refuse what would count as a number or a text but is neither."""
        if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError("must be a text or a finite number")
        return value


class _Object(dict[str, Any]):
    """A JSON object that knows the first key given twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs] if len(self) < len(pairs) else []
        self.repeated = next((name for name in names if names.count(name) > 1), None)


def read_reddit_json(path: Path, mean_active: float) -> Population:
    """Read personas; usernames are unique, and stable keys are made of them; agents are numbered by their place.

    Raises
    ------
    PopulationError
        Naming file, place and key.
    """
    personas = [_persona(path, i, value) for i, value in enumerate(_values(path))]
    first: dict[str, int] = {}
    for i, persona in enumerate(personas):
        if not persona.username.strip():
            raise PopulationError(f"{path}, user {i}: username is empty")
        if persona.username in first:
            raise PopulationError(
                f"{path}, user {i}: username {persona.username!r} is that of user {first[persona.username]} too; "
                "usernames must be unique"
            )
        first[persona.username] = i

    def texts(key: str) -> pa.LargeStringArray:
        values = [getattr(p, key) or None for p in personas]
        return pa.array(values, pa.large_string())

    n = len(personas)
    none = np.empty(0, np.int32)
    return Population(
        username=texts("username"),
        name=texts("realname"),
        bio=texts("bio"),
        persona=texts("persona"),
        group=pa.nulls(n, pa.large_string()),
        activity=constant_activity(n, mean_active),
        stance=np.full(n, np.nan, np.float32),
        base_followers=np.zeros(n, np.int32),
        follower=none,
        followee=none.copy(),
        posts=HistoryPosts.build(none, pa.nulls(0, pa.large_string())),
        attributes=pa.table(
            {
                "age": pa.array([p.age for p in personas], pa.int32()),
                **{key: texts(key) for key in ("gender", "mbti", "country", "profession")},
                "interested_topics": pa.array(
                    [p.interested_topics or [] for p in personas], pa.list_(pa.large_string())
                ),
            }
        ),
        keys=agent_keys([text_key(name) for name in first]),
    )


def _values(path: Path) -> list[Any]:
    text = read_utf8(path)
    try:
        values = json.loads(text, object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        raise PopulationError(f"{path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise PopulationError(f"{path}: not a list of users: nested too deeply") from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise PopulationError(f"{path}: holds a number of more than 4,300 digits; shorten or remove it") from None
    if not isinstance(values, list):
        raise PopulationError(
            f"{path}: must be a list of users, got {'an object' if isinstance(values, dict) else type(values).__name__}"
        )
    if not values:
        raise PopulationError(f"{path}: has no users; a population needs at least one")
    return values


def _persona(path: Path, number: int, value: Any) -> Persona:
    if not isinstance(value, _Object):
        raise PopulationError(f"{path}, user {number}: must be an object with a username, got {value!r:.80}")
    if value.repeated is not None:
        raise PopulationError(f"{path}, user {number}: key {value.repeated!r} stands twice; remove one")
    value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))  # no lone surrogates
    try:
        return Persona.model_validate(value)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        raise PopulationError(f"{path}, user {number}: {key}: {message}, got {problem['input']!r:.80}") from None
