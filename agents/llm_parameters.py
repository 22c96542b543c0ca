"""What a scenario may set of agents that a language model decides for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from oasis.actions import READ_ACTIONS, USER_ACTIONS
from oasis.agents.prompting.renaming import Renaming
from oasis.errors import nearest
from oasis.interfaces import Parameters

__all__ = ["ACTION_RATES", "LLMParameters"]

ACTION_RATES = {
    "do_nothing": 0.33,
    "like_post": 0.40,
    "create_comment": 0.08,
    "like_comment": 0.06,
    "repost": 0.06,
    "create_post": 0.04,
    "follow": 0.02,
    "quote_post": 0.01,
}
"""Assumed. The order like > repost > quote is that of Belli et al. (2020), arXiv 2004.13715."""


class LLMParameters(Parameters):
    """Parameters of ``kind = "llm"``. Defaults without a source are assumed.

    Attributes
    ----------
    max_actions : int
        Most actions per activation.
    max_turns : int
        Most questions per activation; all but the last may be answered with a read-only action (a search, say), whose
        result is shown before the next. With 1 nobody looks around, and a decision is one call.
    memory : int
        Things an agent remembers having done.
    shared_tokens, feed_tokens, memory_tokens : int
        Estimated tokens in a prompt: of a feed that all agents see, of one that is an agent's own, of memory.
    max_text, max_profile : int
        Characters of one shown text, and of bio and persona each.
    max_content : int
        Characters of a text that an agent may write (X's limit for posts).
    max_tokens, temperature : optional
        Instead of those in ``[llm]``.
    decoding : str
        ``json``: the model writes its actions. ``choice``: it gives the odds of lettered options, and the run draws;
        one action per activation. Needs a server that returns log-probabilities. ``score``: the run draws what to do
        by `action_rates` and to which line by how much likelier the agent is to have written its text than anybody;
        the model only scores, and writes texts. One action per activation. Needs a model in this process.
    max_outside : float
        Probability of anything but the letters above which a choice is asked again as JSON.
    templates_path : str, optional
        A folder of Jinja2 templates that take the places of those in ``agents/prompts``, by name.
    calibrate : bool
        Whether the odds are divided by those of the letters without content (Zhao et al. 2021).
    action_rates : dict of str to float
        For ``score``: how often each action is drawn, relative to the others that are possible; those not named are
        not done. None of them comes from the model.
    score_scale : float
        For ``score``: exponent of the odds (P(text | profile) / P(text | nobody)); 0 makes all lines alike. 1 is what
        Bayes' rule says of who wrote a text, and was tuned on nothing.
    score_characters : int
        For ``score``: characters of a text that are scored, from its begin.
    rename : dict of str to str
        Names that the model is not to see, to what it sees instead: in all texts of its prompts, and back in what it
        writes (`oasis.agents.prompting.renaming`).
    """

    decoding: Literal["json", "choice", "score"] = "json"
    max_outside: float = Field(default=0.01, ge=0, le=1, allow_inf_nan=False)
    calibrate: bool = True
    templates_path: str | None = None
    action_rates: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = ACTION_RATES
    score_scale: float = Field(default=1.0, ge=0, le=100, allow_inf_nan=False)
    score_characters: int = Field(default=200, ge=10, le=10_000)
    rename: dict[str, str] = {}

    max_actions: int = Field(default=3, ge=1, le=10)
    max_turns: int = Field(default=1, ge=1, le=10)
    memory: int = Field(default=5, ge=0, le=1000)
    shared_tokens: int = Field(default=330, ge=50, le=1_000_000)
    feed_tokens: int = Field(default=185, ge=50, le=1_000_000)
    memory_tokens: int = Field(default=70, ge=0, le=100_000)
    max_text: int = Field(default=500, ge=20, le=10_000)
    max_profile: int = Field(default=600, ge=20, le=10_000)
    max_content: int = Field(default=280, ge=10, le=10_000)
    max_tokens: int | None = Field(default=None, ge=1, le=100_000)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)

    @field_validator("rename")
    @classmethod
    def _reversible(cls, value: dict[str, str]) -> dict[str, str]:
        Renaming(value)
        return value

    @field_validator("action_rates")
    @classmethod
    def _drawable(cls, value: dict[str, float]) -> dict[str, float]:
        known = [action.label for action in USER_ACTIONS if action not in READ_ACTIONS]
        for name in value:
            if name not in known:
                raise ValueError(f"no action {name!r} to draw{nearest(name, known)}; allowed: {', '.join(known)}")
        if not sum(value.values()) > 0:
            raise ValueError("no rate is above 0; name at least one action that is done")
        return value
