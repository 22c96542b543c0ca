"""A seeded generator of populations: interests, activity, a follow graph, bios and earlier posts.

Every draw is keyed by the agent, so an agent's interests, bio, stance, age and posts are the same in a population of
any size. Its activity is the same but for the one factor that gives all agents together their mean; its follows are
drawn among all others and differ.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from oasis.grammar import TOPICS, write_bios, write_posts
from oasis.interfaces import Parameters
from oasis.kernels import population as kernels
from oasis.kernels.threads import in_parts
from oasis.population.follows import draw_follows
from oasis.population.population import HistoryPosts, Population
from oasis.population.rhythm import draw_activity
from oasis.population.stances import draw_stances
from oasis.randomness import Draws, Keys, agent_keys

__all__ = ["GenerateParameters", "generate"]


class GenerateParameters(Parameters):
    """Keys of ``[population]`` for ``source = "generate"``.

    Attributes
    ----------
    agents : int
    mean_follows : float
        Follows per agent, hit within 1%; in a population of fewer than four times as many, a quarter of all others.
        Assumed.
    follows_sigma : float
        Spread (sigma of the logarithm) of how many an agent follows that do not follow it back. Assumed.
    popularity_exponent : float
        Exponent of the power law that is the in-degree's tail; Twitter's is about 2.3 (Kwak et al. 2010, section 3.1:
        2.276).
    reciprocity : float
        Share of follows whose reverse is there. By default what Kwak et al. (2010, section 3.3) found: 22.1% of
        connected pairs are mutual, which is ``2 * 0.221 / (1 + 0.221)`` of follows.
    assortativity : float
        Newman's (2003, equation 2) coefficient of the main interest: 0 for chance, 1 for follows within it only.
        Assumed.
    triadic_closure : float
        Share of chosen follows (mutual ones count once) that are drawn among the followees of followees. Where nobody
        suitable is found there (a few percent), the follow is drawn like any other. Assumed.
    activity_sigma : float
        Spread (sigma of the logarithm) of activity across agents. With the default, and nobody above 1 in its busiest
        hour, at a mean of 0.05, a tenth of the agents does 80% of everything: Pew Research Center (2019), "Sizing Up
        Twitter Users", has 10% of users writing 80% of tweets.
    day_rhythm : float
        How much of its activity an agent loses from its busiest hour to its quietest: 0 (nothing) to 1 (all).
        Assumed.
    interests_min, interests_max : int
        Interests per agent: each number between them is as likely. Assumed.
    stance_mean, stance_sd : float
        Of the normal distribution that stances are drawn from, cut off at -1 and 1 (which moves the mean inwards and
        lowers the spread). Without them stances are uniform.
    stance_by_interest : float
        Correlation of two agents' normal scores of stance where they share their main interest: 0 for none, 1 where
        all of one main interest share a stance. The follow graph's assortativity carries it over to who follows whom.
    history : float
        Posts per agent before step 1.
    communities : bool
        Whether each topic is a community, in which its history posts stand (Reddit).
    """

    agents: int = Field(default=1000, ge=1, le=50_000_000)
    mean_follows: float = Field(default=50.0, ge=0, le=5000)
    follows_sigma: float = Field(default=1.0, ge=0, le=3)
    popularity_exponent: float = Field(default=2.3, ge=1.8, le=5)
    reciprocity: float = Field(default=0.36, ge=0, le=1)
    assortativity: float = Field(default=0.5, ge=0, le=1)
    triadic_closure: float = Field(default=0.2, ge=0, le=1)
    activity_sigma: float = Field(default=3.2, ge=0, le=5)
    day_rhythm: float = Field(default=0.9, ge=0, le=1)
    interests_min: int = Field(default=2, ge=1, le=8)
    interests_max: int = Field(default=5, ge=1, le=8)
    stance_mean: float | None = Field(default=None, ge=-1, le=1, allow_inf_nan=False)
    stance_sd: float | None = Field(default=None, ge=0.01, le=10, allow_inf_nan=False)
    stance_by_interest: float = Field(default=0.0, ge=0, le=1)
    history: float = Field(default=1.0, ge=0, le=1000)
    communities: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.interests_min > self.interests_max:
            raise ValueError(
                f"interests_min is {self.interests_min}, interests_max {self.interests_max}; give a pair in order"
            )
        if (self.stance_mean is None) != (self.stance_sd is None):
            raise ValueError(f"stance_mean is {self.stance_mean}, stance_sd {self.stance_sd}; give both or neither")
        return self


def generate(parameters: GenerateParameters, seed: int, mean_active: float) -> Population:
    """Return a population; all of it follows from `parameters`, `seed` and `mean_active` (see `scale_to_mean`)."""
    draws, n = Draws(seed), parameters.agents
    keys = agent_keys(np.arange(n))
    topics, count = _interests(draws, keys, parameters)
    offset, activity = draw_activity(draws, keys, parameters, mean_active)
    follower, followee = draw_follows(draws, keys, topics[:, 0].copy(), parameters)
    user, person, blank = (pa.scalar(text, pa.large_string()) for text in ("user_", "User ", ""))
    numbers = pc.cast(pa.array(np.arange(n)), pa.large_string())
    names = pa.array(TOPICS, pa.large_string())
    return Population(
        username=pc.binary_join_element_wise(user, numbers, blank),
        name=pc.binary_join_element_wise(person, numbers, blank),
        bio=write_bios(draws, keys, topics),
        persona=pa.nulls(n, pa.large_string()),
        group=names.take(pa.array(topics[:, 0])),
        activity=activity,
        stance=draw_stances(draws, keys, topics[:, 0], parameters),
        base_followers=np.zeros(n, np.int32),
        follower=follower,
        followee=followee,
        posts=_history(draws, keys, topics, count, parameters),
        attributes=pa.table(
            {
                "age": pa.array(_ages(draws, keys)),
                "utc_offset": pa.array(offset),
                "interests": pa.ListArray.from_arrays(
                    pa.array(np.r_[0, np.cumsum(count)].astype(np.int32)), pa.array(topics[topics >= 0])
                ),
            }
        ),
    )


def _interests(
    draws: Draws, keys: Keys, parameters: GenerateParameters
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """Return distinct topics, the strongest first, and how many; -1 beyond. Popularity is 1 / rank (Zipf; assumed)."""
    fewest, most = parameters.interests_min, parameters.interests_max
    topics = np.empty((len(keys), most), np.int16)
    weight = np.array([-math.log(rank) for rank in range(1, len(TOPICS) + 1)])
    key = draws.key("population.interests", 0)
    in_parts(len(keys), lambda part: kernels.best_items(part.start, part.stop, key, keys, weight, topics))
    count = fewest + draws.integers("population.interests.count", 0, most - fewest + 1, keys)
    topics[np.arange(most) >= count[:, None]] = -1
    return topics, count


def _history(
    draws: Draws,
    keys: Keys,
    topics: npt.NDArray[np.int16],
    interests: npt.NDArray[np.int64],
    parameters: GenerateParameters,
) -> HistoryPosts:
    count = np.floor(parameters.history + draws.uniform("population.history", 0, keys)).astype(np.int64)
    author = np.repeat(np.arange(len(keys), dtype=np.int32), count)
    index = np.arange(len(author)) - np.repeat(np.cumsum(count) - count, count)
    chosen = draws.integers("population.topic", 0, interests[author], keys[author], index.astype(np.uint64))
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
