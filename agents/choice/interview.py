"""Answers of agents that have no language model: from their stance and interests, never from memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import Outcome
from oasis.agents.choice.content import agent_topics
from oasis.grammar import TOPICS, guess_topics
from oasis.interfaces import Answer, AnswerSource, PolicyContext, Question
from oasis.kernels import choice as kernel
from oasis.randomness import text_key

__all__ = ["answer"]

I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]

FIT = 4.0
"""How strongly stance orders the options of a question (utility lost at the far end). Assumed."""
TOPIC_BONUS = 2.0
"""Utility of an option that names one of the agent's interests. Assumed."""


def answer(agents: I32, question: Question, ctx: PolicyContext) -> list[Answer]:
    """Return one answer per agent, in the order given. Pure: nothing changes, no draw of the run is used.

    On a scale: the stance (-1 to 1) mapped linearly onto it, without a text; where the scale's numbers are whole, the
    nearest one (of two the even one). An agent without a stance has no answer, and the outcome says so. Of options,
    read as ordered from stance -1 to 1: a multinomial logit of the distance to the stance and of whether the option
    names one of the agent's interests; its noise is keyed by agent and question, so an agent asked twice answers alike
    unless its stance changed. An open question is answered by naming the interests.
    """
    world, source = ctx.world, AnswerSource.MODEL
    stance = world.users["stance"][agents].astype(np.float64)
    place = np.clip((stance + 1.0) / 2.0, 0.0, 1.0)
    ids = agents.tolist()
    if question.scale is not None:
        low, high = question.scale
        values = low * (1.0 - place) + high * place
        values = np.rint(values) if question.whole else np.clip(values, low, high)  # off by an ulp at most
        return [
            Answer(a, v, None, source, Outcome.NO_STANCE if np.isnan(v) else Outcome.ACCEPTED)
            for a, v in zip(ids, values.tolist(), strict=True)
        ]
    topics = agent_topics(world, agents, ctx.base.draws)
    if question.options is not None:
        keys, item = world.users["key"][agents], text_key(f"{question.question_id}\x1f{question.text}")
        chosen, probabilities = _options(question.options, place, topics, keys, item, ctx)
        return [
            Answer(a, float(c), question.options[c], source, probabilities=tuple(p.tolist()))
            for a, c, p in zip(ids, chosen, probabilities, strict=True)
        ]
    about = [" and ".join(TOPICS[t] for t in row if t >= 0) for row in topics]
    return [Answer(a, float("nan"), f"What I care about is {t}.", source) for a, t in zip(ids, about, strict=True)]


def _options(
    options: tuple[str, ...],
    place: F64,
    topics: npt.NDArray[np.int16],
    keys: npt.NDArray[np.uint64],
    item: np.uint64,
    ctx: PolicyContext,
) -> tuple[npt.NDArray[np.int64], F64]:
    count = len(options)
    spots = np.arange(count) / max(count - 1, 1)
    distance = np.abs(place[:, None] - spots[None, :])
    utility = -FIT * np.where(np.isnan(distance), 0.0, distance)
    named = guess_topics(pa.array(options, pa.large_string()))[:, 0]
    interested = ((named[None, :, None] == topics[:, None, :]) & (named >= 0)[None, :, None]).any(axis=2)
    utility += TOPIC_BONUS * interested
    items = np.asarray([item ^ np.uint64(j) for j in range(count)], np.uint64)
    noise = ctx.base.draws.gumbel("interview.option", 0, keys[:, None], items[None, :]).reshape(utility.shape)
    chosen, probability, first = np.empty(len(keys), np.int64), np.empty(len(keys)), np.empty(len(keys))
    probabilities = np.empty(utility.shape)
    for j in range(count):  # each option once in the first column, whose probability the kernel returns
        kernel.choose(np.roll(utility, -j, axis=1), np.roll(noise, -j, axis=1), chosen, probability, first)
        probabilities[:, j] = first
    kernel.choose(utility, noise, chosen, probability, first)
    return chosen, probabilities
