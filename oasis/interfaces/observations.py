"""What an agent is shown, what it looked up, and what came of what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Self

import numpy as np
import numpy.typing as npt

from oasis.clock import Clock
from oasis.randomness import Draws

__all__ = [
    "Applied",
    "Feeds",
    "Observations",
    "RowFlag",
    "Source",
    "StepContext",
    "Views",
]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]


class Source(IntEnum):
    """Where a shown post came from. Values are stored; append, never renumber."""

    RANDOM = 0
    FOLLOWED = 1
    POPULAR = 2
    INTEREST = 3
    COLLABORATIVE = 4
    TRENDING = 5
    EXPLORE = 6
    SEARCH = 7
    TREND = 8
    REFRESH = 9
    GROUP = 10

    @property
    def label(self) -> str:
        """The name used in files."""
        return self.name.lower()


class RowFlag(IntFlag):
    """What an agent has to do with a post that it is shown."""

    OWN = 1
    LIKED = 2
    DISLIKED = 4
    REPOSTED = 8
    SEEN = 16
    IN_NETWORK = 32
    WARNED = 64
    """Reported more often than the platform's threshold."""


@dataclass(frozen=True)
class StepContext:
    """What is the same for everybody in a step.

    Attributes
    ----------
    step : int
        The step being computed, from 1; the world stands at ``step - 1``.
    clock : Clock
    draws : Draws
    visible : callable
        ``visible(agents: int32[m], posts: int32[m]) -> bool[m]``: may this agent see this post at all (the
        platform's rule: not removed, author neither muted nor banned)?
    personal : bool
        Whether feeds leave out what the agent wrote or acted on, and lower what it has seen (X), or stay one
        list for all (Reddit).
    frozen : mapping
        Number of rows of each table (``frozen["posts"]`` ...) when the world was frozen for this step: after its
        interventions, before its decisions. A target with a smaller id existed then.
    show_scores : bool
        Whether agents see numbers of likes, dislikes, reposts and comments. Where not, a policy must not look at them
        in the world's columns.
    active : ndarray, shape (n,), int32
        The agents that act in the step, sorted; empty until they are known.
    """

    step: int
    clock: Clock
    draws: Draws
    visible: Callable[[I32, I32], Bool]
    personal: bool = True
    frozen: Mapping[str, int] = field(default_factory=dict)
    show_scores: bool = True
    active: I32 = field(default_factory=lambda: np.empty(0, np.int32), compare=False)

    @property
    def history_steps(self) -> int:
        """Steps in 24 hours."""
        return self.clock.steps_in(24)


@dataclass(slots=True)
class Feeds:
    """Ordered posts per agent, in CSR form.

    Attributes
    ----------
    offsets : ndarray, shape (n + 1,), int64
    post_ids : ndarray, shape (m,), int32
        At most one row per root in each feed.
    scores : ndarray, shape (m,), float32
    sources : ndarray, shape (m,), uint8
        `Source` codes.
    shared : bool
        Whether every agent was given the same list.
    """

    offsets: I64
    post_ids: I32
    scores: F32
    sources: npt.NDArray[np.uint8]
    shared: bool = False

    @property
    def rows(self) -> I64:
        """Index of the agent of each row, shape (m,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @property
    def positions(self) -> npt.NDArray[np.int16]:
        """Position of each row in its feed, from 0, shape (m,)."""
        return (np.arange(len(self.post_ids)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))).astype(np.int16)

    @classmethod
    def empty(cls, agents: int) -> Self:
        """Return an empty feed for each of `agents` agents."""
        nothing = np.empty(0, np.int32)
        return cls(np.zeros(agents + 1, np.int64), nothing, nothing.astype(np.float32), nothing.astype(np.uint8))

    def keep(self, mask: Bool) -> Feeds:
        """Return feeds of the rows where `mask`."""
        offsets = np.zeros_like(self.offsets)
        np.cumsum(np.bincount(self.rows[mask], minlength=len(offsets) - 1), out=offsets[1:])
        return Feeds(offsets, self.post_ids[mask], self.scores[mask], self.sources[mask], self.shared)


@dataclass(slots=True)
class Observations:
    """What agents see when they decide.

    Attributes
    ----------
    agent_ids : ndarray, shape (n,), int32, sorted
    feeds : Feeds
        What is shown, after the platform removed what an agent may not see.
    flags : ndarray, shape (m,), uint8
        `RowFlag` bits.
    comment_offsets : ndarray, shape (m + 1,), int64
    comment_ids : ndarray, int32
        The comments shown under each row.
    """

    agent_ids: I32
    feeds: Feeds
    flags: npt.NDArray[np.uint8]
    comment_offsets: I64
    comment_ids: I32

    def take(self, rows: npt.NDArray[np.integer]) -> Observations:
        """Return the observations of a subset of agents, given by their row."""
        from oasis.kernels.csr import take_rows

        offsets, at = take_rows(self.feeds.offsets, rows)
        comment_offsets, comments_at = take_rows(self.comment_offsets, at)
        f = self.feeds
        return Observations(
            self.agent_ids[rows],
            Feeds(offsets, f.post_ids[at], f.scores[at], f.sources[at], f.shared),
            self.flags[at],
            comment_offsets,
            self.comment_ids[comments_at],
        )


@dataclass(slots=True)
class Views:
    """Answers to read-only actions, one per request, in request order.

    Attributes
    ----------
    feeds : Feeds
        Posts found (search_posts, trend, refresh); one "agent" per request.
    user_offsets : ndarray, shape (n_requests + 1,), int64
    user_ids : ndarray, int32
        Users found (search_user).
    message_offsets : ndarray, shape (n_requests + 1,), int64
    message_ids : ndarray, int32
        Messages heard (listen_from_group), oldest first.
    outcomes : ndarray, shape (n_requests,), int16
        `Outcome` codes: accepted, or why the request was refused.
    """

    feeds: Feeds
    user_offsets: I64
    user_ids: I32
    message_offsets: I64
    message_ids: I32
    outcomes: npt.NDArray[np.int16]


@dataclass(slots=True)
class Applied:
    """What a platform did with a batch of actions.

    Attributes
    ----------
    outcome : ndarray, shape (a,), int16
        `Outcome` codes.
    created_id : ndarray, shape (a,), int32
        Id of the post, comment, group, message or purchase made; -1 for none.
    """

    outcome: npt.NDArray[np.int16]
    created_id: I32
