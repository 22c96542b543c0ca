"""A seeded generator of populations: interests, activity, a follow graph, bios and earlier posts.

Every draw is keyed by the agent, so an agent's interests, bio, stance, age and posts are the same in a population of
any size. Its activity is the same but for the one factor that gives all agents together their mean; its follows are
drawn among all others and differ.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from oasis.grammar import TOPICS, write_bios, write_posts
from oasis.interfaces import Parameters
from oasis.kernels import population as kernels
from oasis.population.activity import HOURS, scale_to_mean
from oasis.population.follows import draw_follows
from oasis.population.population import HistoryPosts, Population
from oasis.randomness import Draws, agent_keys

__all__ = ["GenerateParameters", "generate"]

Keys = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]


class GenerateParameters(Parameters):
    """Keys of ``[population]`` for ``source = "generate"``.

    Attributes
    ----------
    agents : int
    mean_follows : float
        Follows per agent that it chooses; repeats drop out and returned follows come on top (21 to 24 in all
        at the defaults). Assumed.
    follows_sigma : float
        Spread (sigma of the logarithm) of how many others an agent follows. Assumed.
    popularity_exponent : float
        Exponent of the power law of popularity, and so of the in-degree's tail; Twitter's is about 2.3
        (Kwak et al. 2010, section 3.1: 2.276).
    homophily : float
        Share of follows that are drawn within the agent's main interest. Assumed.
    follow_back : float
        Probability that a follow is returned by somebody of usual popularity; the popular return fewer. The default
        makes 22% of connected pairs mutual at 100,000 agents, as Kwak et al. (2010, section 3.3) found: 22.1%.
    activity_sigma : float
        Spread (sigma of the logarithm) of activity across agents. With the default, and probabilities clipped to 1 at
        a mean of 0.05, a tenth of the agents does 80% of everything: Pew Research Center (2019), "Sizing Up Twitter
        Users", has 10% of users writing 80% of tweets.
    day_rhythm : float
        Depth of the daily rhythm, 0 (none) to 1 (silent at night); its phase differs by agent. Assumed.
    interests : int
        Interests per agent.
    history : float
        Posts per agent before step 1.
    communities : bool
        Whether each topic is a community, in which its history posts stand (Reddit).
    """

    agents: int = Field(default=1000, ge=1, le=50_000_000)
    mean_follows: float = Field(default=20.0, ge=0, le=5000)
    follows_sigma: float = Field(default=1.0, ge=0, le=3)
    popularity_exponent: float = Field(default=2.3, gt=1.5, le=10)
    homophily: float = Field(default=0.5, ge=0, le=1)
    follow_back: float = Field(default=0.35, ge=0, le=1)
    activity_sigma: float = Field(default=2.7, ge=0, le=4)
    day_rhythm: float = Field(default=0.6, ge=0, le=1)
    interests: int = Field(default=2, ge=1, le=8)
    history: float = Field(default=1.0, ge=0, le=1000)
    communities: bool = False


def generate(parameters: GenerateParameters, seed: int, mean_active: float) -> Population:
    """Return a population; all of it follows from `parameters`, `seed` and `mean_active` (see `scale_to_mean`)."""
    draws, n = Draws(seed), parameters.agents
    keys = agent_keys(np.arange(n))
    topics = _interests(draws, keys, parameters.interests)
    follower, followee = draw_follows(draws, keys, topics[:, 0], parameters)
    user, person, blank = (pa.scalar(text, pa.large_string()) for text in ("user_", "User ", ""))
    numbers = pc.cast(pa.array(np.arange(n)), pa.large_string())
    names = pa.array(TOPICS, pa.large_string())
    return Population(
        username=pc.binary_join_element_wise(user, numbers, blank),
        name=pc.binary_join_element_wise(person, numbers, blank),
        bio=write_bios(draws, keys, topics),
        persona=pa.nulls(n, pa.large_string()),
        group=names.take(pa.array(topics[:, 0])),
        activity=_activity(draws, keys, parameters, mean_active),
        stance=(2.0 * draws.uniform("population.stance", 0, keys) - 1.0).astype(np.float32),
        base_followers=np.zeros(n, np.int32),
        follower=follower,
        followee=followee,
        posts=_history(draws, keys, topics, parameters),
        attributes=pa.table(
            {
                "age": pa.array(_ages(draws, keys)),
                "interests": pa.ListArray.from_arrays(
                    pa.array(np.arange(n + 1, dtype=np.int32) * parameters.interests), pa.array(topics.ravel())
                ),
            }
        ),
    )


def _interests(draws: Draws, keys: Keys, count: int) -> npt.NDArray[np.int16]:
    """Return distinct topics, the strongest first: Gumbel-top-k with popularity 1 / rank (Zipf; assumed)."""
    items = np.arange(len(TOPICS), dtype=np.uint64)
    top = np.empty((len(keys), count), np.int16)
    weight = np.array([-math.log(rank) for rank in range(1, len(TOPICS) + 1)])
    for start in range(0, len(keys), 100_000):
        part = keys[start : start + 100_000]
        utility = draws.gumbel("population.interests", 0, part[:, None], items[None, :]).reshape(len(part), -1) + weight
        top[start : start + len(part)] = np.argsort(-utility, axis=1, kind="stable")[:, :count]
    return top


def _activity(draws: Draws, keys: Keys, parameters: GenerateParameters, mean_active: float) -> npt.NDArray[np.float32]:
    level = _exp(parameters.activity_sigma * _normal(draws, "population.activity", keys))
    peak = 20.0 + 3.0 * _normal(draws, "population.peak", keys)  # evening, with a spread of three hours; assumed
    chances = np.empty((len(keys), HOURS))
    kernels.day_rhythm(level, peak, parameters.day_rhythm, chances)
    return scale_to_mean(chances, mean_active, "population")


def _history(draws: Draws, keys: Keys, topics: npt.NDArray[np.int16], parameters: GenerateParameters) -> HistoryPosts:
    count = np.floor(parameters.history + draws.uniform("population.history", 0, keys)).astype(np.int64)
    author = np.repeat(np.arange(len(keys), dtype=np.int32), count)
    index = np.arange(len(author)) - np.repeat(np.cumsum(count) - count, count)
    chosen = draws.integers("population.topic", 0, parameters.interests, keys[author], index.astype(np.uint64))
    topic = topics[author, chosen]
    names = pa.array(TOPICS, pa.large_string()).take(pa.array(topic))
    posts = HistoryPosts.build(author, write_posts(draws, "history", 0, keys[author], topic, index), names)
    if parameters.communities:
        posts.community = names
    return posts


def _ages(draws: Draws, keys: Keys) -> npt.NDArray[np.int16]:
    """Return ages from 16 to 79, most of them young: the smaller of two uniform draws (assumed)."""
    u = np.minimum(draws.uniform("population.age", 0, keys, 0), draws.uniform("population.age", 0, keys, 1))
    return (16 + u * 64).astype(np.int16)


def _normal(draws: Draws, stream: str, keys: Keys) -> F64:
    """Return standard normal draws."""
    out = np.empty(len(keys))
    kernels.normal(draws.uniform(stream, 0, keys, 0), draws.uniform(stream, 0, keys, 1), out)
    return out


def _exp(values: F64) -> F64:
    out = np.empty(len(values))
    kernels.exp(values, out)
    return out
