"""The built-in recommenders: each a `Pipeline` of sources and scorers; formulas are in `oasis.recsys.scorers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from oasis.interfaces import Parameters, Source, StepContext
from oasis.plugins import parse_parameters
from oasis.recsys import scorers
from oasis.recsys.cooccurrence import CoEngaged
from oasis.recsys.frame import PostFrame
from oasis.recsys.interests import Similar
from oasis.recsys.pipeline import Pipeline
from oasis.recsys.recent_likes import RecentLikes
from oasis.recsys.sources import Drawn, Everyone, Followed, Scorer
from oasis.world.store import Store
from oasis.world.world import World

__all__ = [
    "Chronological",
    "ChronologicalParameters",
    "Collaborative",
    "CollaborativeParameters",
    "Hot",
    "HotParameters",
    "Interest",
    "InterestParameters",
    "Random",
    "RandomParameters",
    "Trending",
    "TrendingParameters",
]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_WHERE = "recsys.parameters"
_AT_ONCE = 1 << 15  # posts whose numbers stay in the cache


def _steps(frame: PostFrame, hours: float | None) -> int | None:
    return None if hours is None else frame.ctx.clock.steps_in(hours)


def _any(hours: float | None) -> Scorer:
    """Score nothing: shown posts of the last `hours`."""

    def score(frame: PostFrame) -> tuple[I64, F64]:
        rows = frame.recent(_steps(frame, hours))
        return rows, np.zeros(len(rows))

    return score


def _newest(hours: float | None) -> Scorer:
    def score(frame: PostFrame) -> tuple[I64, F64]:
        rows = frame.recent(_steps(frame, hours))
        return rows, scorers.demoted(scorers.newest(frame.ctx.step - frame.step[rows]), frame.weight[rows])

    return score


def _hot(score_weight: float) -> Scorer:
    def score(frame: PostFrame) -> tuple[I64, F64]:
        rows = frame.recent(None)
        steps, at = np.unique(frame.step[rows], return_inverse=True)
        seconds = np.array([frame.ctx.clock.epoch_seconds(int(s)) for s in steps], np.float64)[at]
        scores = scorers.hot(frame.total("likes", rows), frame.total("dislikes", rows), seconds, score_weight)
        return rows, scorers.demoted(scores, frame.weight[rows])

    return score


def _engagement(hours: float | None) -> Scorer:
    def score(frame: PostFrame) -> tuple[I64, F64]:
        rows = frame.recent(_steps(frame, hours))
        roots = frame.root[rows]
        first = int(roots.min(initial=len(frame)))
        by_post = np.empty(len(frame) - first)  # each root is scored once, however often it is reposted
        for start in range(first, len(frame), _AT_ONCE):
            counts = (frame.shown(name, start, start + _AT_ONCE) for name in ("likes", "reposts", "comments"))
            by_post[start - first : start - first + _AT_ONCE] = scorers.engagement(*counts)
        return rows, scorers.demoted(by_post[roots - first], frame.weight[rows])

    return score


class RandomParameters(Parameters):
    """Parameters of `random`."""

    window_hours: float | None = Field(None, gt=0, description="age limit of posts; none by default")


class Random(Pipeline):
    """Posts drawn with equal chances."""

    needs_embeddings: ClassVar[bool] = False

    def __init__(self, parameters: RandomParameters) -> None:
        self.parameters = parameters
        super().__init__(Drawn(_any(parameters.window_hours)))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        return cls(parse_parameters(RandomParameters, parameters, _WHERE))


class ChronologicalParameters(Parameters):
    """Parameters of `chronological`."""

    window_hours: float | None = Field(None, gt=0, description="age limit of posts; none by default")
    fill: bool = Field(True, description="fill short feeds with the newest posts of others")


class Chronological(Pipeline):
    """Followed authors, newest first; then, unless told otherwise, everybody else's newest."""

    needs_embeddings: ClassVar[bool] = False

    def __init__(self, parameters: ChronologicalParameters) -> None:
        self.parameters = parameters
        score = _newest(parameters.window_hours)
        self._common_source = Everyone(score, Source.EXPLORE)
        super().__init__(Followed(score), self._common_source if parameters.fill else None)

    def _shared(self) -> Everyone:
        return self._common_source

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        return cls(parse_parameters(ChronologicalParameters, parameters, _WHERE))


class HotParameters(Parameters):
    """Parameters of `hot`."""

    score_weight: float = Field(1.0, ge=0, le=100, description="factor on the votes' part; 0 is newest first")


class Hot(Pipeline):
    """Reddit's hot order."""

    needs_embeddings: ClassVar[bool] = False

    def __init__(self, parameters: HotParameters) -> None:
        self.parameters = parameters
        super().__init__(Everyone(_hot(parameters.score_weight), Source.POPULAR))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        return cls(parse_parameters(HotParameters, parameters, _WHERE))


class InterestParameters(Parameters):
    """Parameters of `interest`."""

    in_network_share: float = Field(0.5, ge=0, le=1, description="part of the feed from followed authors")
    window_hours: float = Field(24, gt=0, description="age limit of in-network posts")
    pool_size: int = Field(10_000, ge=1, description="out-of-network posts kept by recency and fame")
    exploration_share: float = Field(
        0.05, ge=0, le=1, description="further posts drawn from the rest, as a share of pool_size"
    )


class Interest(Pipeline):
    """X: part of the feed from followed authors by engagement, the rest from others by similarity, recency and fame."""

    needs_embeddings: ClassVar[bool] = True

    def __init__(self, parameters: InterestParameters) -> None:
        self.parameters = p = parameters
        super().__init__(
            Followed(_engagement(p.window_hours)), Similar(p.pool_size, p.exploration_share), share=p.in_network_share
        )

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        return cls(parse_parameters(InterestParameters, parameters, _WHERE))


class CollaborativeParameters(Parameters):
    """Parameters of `collaborative`."""

    neighbours: int = Field(100, ge=1, description="agents looked at per post engaged with, drawn where more")
    window_hours: float = Field(24, gt=0, description="age limit of posts")
    fill: bool = Field(True, description="fill short feeds with the most engaged posts of the window")


class Collaborative(Pipeline):
    """What those who engaged with the same posts engaged with; then, unless told otherwise, what is popular."""

    needs_embeddings: ClassVar[bool] = False

    def __init__(self, parameters: CollaborativeParameters) -> None:
        self.parameters = p = parameters
        fill = Everyone(_engagement(p.window_hours), Source.POPULAR) if p.fill else None
        super().__init__(CoEngaged(p.neighbours, p.window_hours), fill)

    def _shared(self) -> None:
        return None

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        return cls(parse_parameters(CollaborativeParameters, parameters, _WHERE))


class TrendingParameters(Parameters):
    """Parameters of `trending`."""

    window_hours: float = Field(6, gt=0, description="how far back engagement counts")


class Trending(Pipeline):
    """Posts by the engagement that they received in the last hours, whatever their age."""

    needs_embeddings: ClassVar[bool] = False

    def __init__(self, parameters: TrendingParameters) -> None:
        self.parameters = parameters
        self._likes = RecentLikes(parameters.window_hours)
        super().__init__(Everyone(self._score, Source.TRENDING))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Build from parameters; unknown ones are errors."""
        return cls(parse_parameters(TrendingParameters, parameters, _WHERE))

    def tables(self) -> Mapping[str, Store]:
        """Return the likes of the window: the world keeps no times of likes."""
        return {"likes": self._likes.table}

    def prepare(self, world: World, ctx: StepContext) -> None:
        """Score what all agents share."""
        self._likes.prepare(ctx)
        super().prepare(world, ctx)

    def update(self, world: World, events: pa.Table, impressions: pa.Table) -> None:
        """Count the step's likes."""
        self._likes.update(world, events)

    def _score(self, frame: PostFrame) -> tuple[I64, F64]:
        rows = frame.recent(None)
        likes, reposts, comments = self._likes.counts(frame)
        scores = scorers.engagement(likes, reposts, comments)[frame.root[rows]]
        return rows, scorers.demoted(scores, frame.weight[rows])
