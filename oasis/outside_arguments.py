"""The JSON objects that outside actions carry in `content`, one model each; anything else is a bad argument."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oasis.actions import USER_ACTIONS, Action

__all__ = [
    "ARGUMENTS",
    "AgentArguments",
    "Arguments",
    "CommentArguments",
    "DemoteArguments",
    "EditArguments",
    "InterviewArguments",
    "LabelArguments",
    "NoArguments",
    "PostArguments",
    "ProductArguments",
    "SeedVotesArguments",
    "SignUpArguments",
    "SwapArguments",
    "UserActionArguments",
    "parse",
]

Votes = Annotated[int, Field(ge=0, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Stance = Annotated[float, Field(allow_inf_nan=False, ge=-(10.0**30), le=10.0**30)]


class Arguments(BaseModel):
    """Base: exact types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NoArguments(Arguments):
    """Ban, unban, remove_post."""


class InterviewArguments(Arguments):
    """What agents are asked: freely, on a scale from low to high, or for one of several answers."""

    question: str
    question_id: str | None = None
    scale: Annotated[list[Finite], Field(min_length=2, max_length=2)] | None = None
    options: Annotated[list[str], Field(min_length=2)] | None = None


class SwapArguments(Arguments):
    """The recommender from now on."""

    recommender: str
    parameters: dict[str, Any] = {}


class SignUpArguments(Arguments):
    """A new agent; `activity` is one probability for all hours or 24."""

    username: str
    name: str | None = None
    bio: str | None = None
    persona: str | None = None
    group: str | None = None
    stance: Stance | None = None
    activity: Share | Annotated[list[Share], Field(min_length=24, max_length=24)] | None = None


class EditArguments(Arguments):
    """What is to change in a profile; null clears it, what is not named stays."""

    name: str | None = None
    bio: str | None = None
    persona: str | None = None
    group: str | None = None
    stance: Stance | None = None


class PostArguments(Arguments):
    """A post; the target is its author."""

    text: str
    topic: str | None = None
    veracity: bool | Literal[-1, 0, 1] | None = None
    community: int | str | None = None
    likes: Votes = 0
    dislikes: Votes = 0


class CommentArguments(Arguments):
    """A comment by `agent`; the target is the post."""

    agent: int
    text: str
    parent: int | None = None
    likes: Votes = 0
    dislikes: Votes = 0


class SeedVotesArguments(Arguments):
    """Votes from before or from elsewhere, shown beside those that are counted here."""

    likes: Votes = 0
    dislikes: Votes = 0


class AgentArguments(Arguments):
    """Who is made to follow or mute the target."""

    agent: int


class LabelArguments(Arguments):
    """A label; null takes it off."""

    label: str | None = None


class DemoteArguments(Arguments):
    """The factor on the post's scores."""

    weight: Share


class ProductArguments(Arguments):
    """A product to be bought; a stock of -1 never ends. `seller` is an agent."""

    text: str
    price: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    stock: Annotated[int, Field(ge=-1, le=10**9)] = -1
    seller: int | None = None


class UserActionArguments(Arguments):
    """Who is made to do a user action, and with which words."""

    agent: int
    text: str | None = None
    community: int | str | None = None
    parent: int | None = None


ARGUMENTS: dict[Action, type[BaseModel]] = {
    **dict.fromkeys(USER_ACTIONS, UserActionArguments),
    Action.SIGN_UP: SignUpArguments,
    Action.INTERVIEW: InterviewArguments,
    Action.POST: PostArguments,
    Action.COMMENT: CommentArguments,
    Action.SEED_VOTES: SeedVotesArguments,
    Action.OUTSIDE_FOLLOW: AgentArguments,
    Action.OUTSIDE_MUTE: AgentArguments,
    Action.BAN: NoArguments,
    Action.UNBAN: NoArguments,
    Action.LABEL_POST: LabelArguments,
    Action.DEMOTE_POST: DemoteArguments,
    Action.REMOVE_POST: NoArguments,
    Action.EDIT_PROFILE: EditArguments,
    Action.SWAP_RECOMMENDER: SwapArguments,
    Action.ADD_PRODUCT: ProductArguments,
}


def parse(action: Action, content: str | None) -> BaseModel | None:
    """Return the arguments of an outside action, None for what is malformed."""
    try:
        return ARGUMENTS[action].model_validate_json("{}" if content is None else content)
    except ValidationError:
        return None
