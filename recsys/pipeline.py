"""The pipeline that every built-in recommender is: candidate sources -> scorers -> filters -> re-rankers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.interfaces import Feeds, StepContext
from oasis.recsys.filters import ActedOn, Filter, Visible
from oasis.recsys.frame import AgentFrame, Candidates, PostFrame
from oasis.recsys.rerankers import interleave, stack
from oasis.recsys.sources import CandidateSource, Drawn, Everyone
from oasis.world.store import Store
from oasis.world.world import World

__all__ = ["Pipeline"]

I32 = npt.NDArray[np.int32]

_MARGIN = 2  # candidates beyond the feed's size, since filters take some
_LONGER = 4  # how many more are asked for when filters took too many


class Pipeline:
    """One or two sources, filters, and the re-rankers "seen last" and "take turns".

    A subclass is a recommender: it calls this in ``__init__``, and adds ``from_parameters`` and ``needs_embeddings``.

    Parameters
    ----------
    first : CandidateSource
    second : CandidateSource or None
        Where the rest of the feed comes from, and what fills it when `first` is short.
    share : float
        Part of the feed that `first` has (rounded to whole places, half up); 1 means that `second` only fills.
    filters : sequence of Filter or None
        Of personal feeds; None means acted-on posts and what the platform hides from the agent.
    """

    def __init__(
        self,
        first: CandidateSource,
        second: CandidateSource | None = None,
        share: float = 1.0,
        filters: Sequence[Filter] | None = None,
    ) -> None:
        self.first, self.second, self.share = first, second, share
        self.filters: tuple[Filter, ...] = tuple(filters) if filters is not None else (Visible(), ActedOn())
        self._frame: PostFrame | None = None

    def tables(self) -> Mapping[str, Store]:
        """Return no stores."""
        return {}

    def prepare(self, world: World, ctx: StepContext) -> None:
        """Score what all agents share."""
        frame = PostFrame(world, ctx)
        self._frame = frame
        if ctx.personal:
            for one in self.filters:
                one.prepare(frame)
        for source in self._sources(ctx):  # in turn: each uses all threads itself
            source.prepare(frame)

    def recommend(self, world: World, ctx: StepContext, agent_ids: I32, k: int) -> Feeds:
        """Return feeds of at most `k` posts.

        Raises
        ------
        RuntimeError
            If `prepare` was not called for this world and step.
        """
        frame = self._frame
        if frame is None or frame.world is not world or frame.ctx.step != ctx.step:
            raise RuntimeError(
                f"recommend: step {ctx.step} of this world was not prepared; call prepare(world, ctx) first"
            )
        shared = self._shared()
        if not ctx.personal and shared is not None:
            return self._common(shared, len(agent_ids), k)
        agents = frame.agents(agent_ids)
        if not len(agents) or k <= 0:
            return Feeds.empty(len(agents))
        chosen = self._choose(agents, k, seen=False)
        short = np.flatnonzero(chosen.lengths < k)
        if ctx.personal and len(short):
            again = self._choose(agents.take(short), k, seen=True)
            part = Candidates(chosen.posts[short], chosen.scores[short], chosen.sources[short], chosen.complete[short])
            chosen = chosen.replace(short, stack(part, again, k))
        there = chosen.posts >= 0
        offsets = np.zeros(len(agents) + 1, np.int64)
        np.cumsum(there.sum(axis=1), out=offsets[1:])
        return Feeds(offsets, chosen.posts[there], chosen.scores[there].astype(np.float32), chosen.sources[there])

    def update(self, world: World, events: pa.Table, impressions: pa.Table) -> None:
        """Learn nothing."""

    def _shared(self) -> Everyone | Drawn | None:
        """Return the source of the one list of impersonal feeds, None where lists differ by their nature."""
        for source in (self.first, self.second):
            if isinstance(source, Everyone | Drawn):
                return source
        return None

    def _sources(self, ctx: StepContext) -> list[CandidateSource]:
        shared = None if ctx.personal else self._shared()
        return [shared] if shared is not None else [s for s in (self.first, self.second) if s is not None]

    @staticmethod
    def _common(source: Everyone | Drawn, agents: int, k: int) -> Feeds:
        posts, scores = source.shared(max(k, 0))
        posts, scores = posts[: max(k, 0)], scores[: max(k, 0)]
        return Feeds(
            np.arange(agents + 1, dtype=np.int64) * len(posts),
            np.tile(posts, agents),
            np.tile(scores.astype(np.float32), agents),
            np.full(agents * len(posts), source.source, np.uint8),
            shared=True,
        )

    def _choose(self, agents: AgentFrame, k: int, seen: bool) -> Candidates:
        places = int(np.floor(self.share * k + 0.5))
        first = self._filtered(self.first, agents, k, seen)
        if self.second is None:
            return interleave(agents, first, Candidates.none(len(agents), 1), k, k)
        second = Candidates.none(len(agents), 1)
        rows = np.flatnonzero(first.lengths < k) if places >= k else np.arange(len(agents))
        if len(rows):
            part = agents if len(rows) == len(agents) else agents.take(rows)
            # k are enough: each root that the first list takes from it fills a place as well
            second = second.replace(rows, self._filtered(self.second, part, k, seen))
        return interleave(agents, first, second, places, k)

    def _filtered(self, source: CandidateSource, agents: AgentFrame, need: int, seen: bool) -> Candidates:
        """Return candidates that passed the filters: `need` of them for each agent, if there are so many."""
        want = need + (_MARGIN if agents.posts.ctx.personal else 0)
        out = self._pass(agents, source.best(agents, want, seen))
        while True:
            short = np.flatnonzero((out.lengths < need) & ~out.complete)
            if not len(short):
                return out
            want *= _LONGER
            part = agents.take(short)
            out = out.replace(short, self._pass(part, source.best(part, want, seen)))

    def _pass(self, agents: AgentFrame, lists: Candidates) -> Candidates:
        if not agents.posts.ctx.personal:
            return lists
        for one in self.filters:
            row, column = np.nonzero(lists.posts >= 0)
            keep = one.keep(agents.posts, agents.ids[row], lists.posts[row, column])
            lists.drop(row[~keep], column[~keep])
        return lists
