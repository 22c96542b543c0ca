"""Decisions by scores: how much likelier an agent is to have written a line's text than anybody is.

The score of a text is log P(text | profile) - log P(text | nobody), each the model's log-probability of the text as the
answer to "Write a post." It is the pointwise mutual information of text and profile (Church & Hanks 1990); the second
term, of texts that are likely whoever writes, is asked once and shared by all agents. A line is drawn with odds
exp(score_scale x score). With a scale of 1 that is Bayes' rule with an even prior over the lines' authors: nothing to
tune. What to do is drawn by given rates: a model too small to choose by instruction does not know how often people like
or comment. Two wordings of the question were compared on the tuned cases of ``benchmarks/scoring_cases.toml``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from oasis.actions import Action, TargetKind
from oasis.agents.llm_parameters import LLMParameters
from oasis.agents.prompting.choosing import WHAT, Picked, Question, draw, uniforms
from oasis.agents.prompting.conversation import Conversation
from oasis.agents.prompting.quoting import clean
from oasis.agents.prompting.renaming import NOTHING_RENAMED, Renaming
from oasis.agents.prompting.templates import Templates
from oasis.interfaces import Completion, InferenceClient, InferenceRequest, StepContext
from oasis.world.world import World

__all__ = ["Scorer"]

F64 = npt.NDArray[np.float64]
Messages = tuple[tuple[str, str], ...]
_QUESTION = "Write a post."


class Scorer:
    """Draws actions by rates and lines by scores.

    Parameters
    ----------
    client : InferenceClient
    world : World
    base : StepContext
        Draws ``llm.choice``, keyed by agent, turn and stage.
    system : str
        The first message of questions for texts.
    templates : Templates
        ``score.j2`` tells who writes.
    parameters : LLMParameters
    renaming : Renaming
        Names that are shown as others.
    """

    def __init__(
        self, client: InferenceClient, world: World, base: StepContext, system: str, templates: Templates,
        parameters: LLMParameters, renaming: Renaming = NOTHING_RENAMED,
    ) -> None:  # fmt: skip
        self.client, self._world, self._base, self.system = client, world, base, system
        self.step = base.step
        self._templates, self._p, self._renaming = templates, parameters, renaming

    async def pick(self, questions: Sequence[Question], turn: int) -> list[Picked | None]:
        """Return what was drawn for each question, all of one stage; None where a score could not be had."""
        if not questions:
            return []
        drawn = uniforms(self._base, self._world, questions, turn)
        what = questions[0].stage == WHAT
        odds = [self._rates(q) for q in questions] if what else await self.odds(questions, turn)
        return [None if each is None else draw(each, u) for each, u in zip(odds, drawn, strict=True)]

    def _rates(self, q: Question) -> F64:
        rates = np.array([self._p.action_rates.get(name, 0.0) for name in q.names])
        return rates if rates.sum() > 0 else np.array([float(code == Action.DO_NOTHING) for code in q.codes])

    async def odds(self, questions: Sequence[Question], turn: int) -> list[F64 | None]:
        """Return the odds of each question's lines. Lines that say the same are asked about once."""
        texts = self._texts(questions)
        profiles = self._profiles([q.conversation.agent_id for q in questions])
        nobody = self._messages(None)
        neutral: dict[str, None] = {}
        own: list[InferenceRequest] = []
        for q, lines, profile in zip(questions, texts, profiles, strict=True):
            if profile and len(set(lines)) > 1:
                messages = self._messages(profile)
                said = {text: code for text, code in zip(lines[::-1], q.codes[::-1], strict=True) if text}
                own += [self._request(q.conversation, turn, messages, text, code) for text, code in said.items()]
                neutral |= dict.fromkeys(said)
        if not own:
            return [np.ones(len(lines)) for lines in texts]
        asked = [self._request(None, 0, nobody, text, None) for text in neutral] + own
        found = {
            (done.request.agent_id, done.request.continuation): _logprob(done)
            for done in await self.client.complete(asked)
        }
        return [
            self._softmax([_difference(found, q.conversation.agent_id, text) for text in lines])
            for q, lines in zip(questions, texts, strict=True)
        ]

    def _softmax(self, scores: Sequence[float | None]) -> F64 | None:
        if None in scores:
            return None
        scaled = self._p.score_scale * np.array(scores, np.float64)
        odds: F64 = np.exp(scaled - scaled.max())
        return odds

    def _request(
        self, c: Conversation | None, turn: int, messages: Messages, text: str, code: int | None
    ) -> InferenceRequest:
        return InferenceRequest(
            self.step, -1 if c is None else c.agent_id, turn, "score", messages, _no_check, max_tokens=1,
            temperature=0.0, options=() if code is None else (code,), continuation=text,
        )  # fmt: skip

    def _messages(self, profile: str | None) -> Messages:
        return ("system", self._templates.render("score.j2", persona=profile)), ("user", _QUESTION)

    def _profiles(self, agents: Sequence[int]) -> list[str]:
        """Return each agent's persona, else its bio; empty where it has neither."""
        users, at = self._world.users, np.array(agents, np.int64)
        texts = self._world.texts
        columns = [self._renaming.shown(texts.take(users[name][at]).to_pylist()) for name in ("persona", "bio")]
        return [clean(persona or bio, self._p.max_profile) for persona, bio in zip(*columns, strict=True)]

    def _texts(self, questions: Sequence[Question]) -> list[list[str]]:
        """Return what each line says, cut: of a repost the original, of a user the bio, of a group the name."""
        world = self._world
        kinds = np.array([q.conversation.shown.kinds[n - 1] for q in questions for n in q.codes], np.int64)
        ids = np.array([q.conversation.shown.ids[n - 1] for q in questions for n in q.codes], np.int64)
        rows = np.full(len(ids), -1, np.int64)
        for kind, column in (
            (TargetKind.POST, world.posts["text"]),
            (TargetKind.COMMENT, world.comments["text"]),
            (TargetKind.USER, world.users["bio"]),
            (TargetKind.GROUP, world.groups["name"]),
            (TargetKind.PRODUCT, world.products["text"]),
        ):
            at = np.flatnonzero(kinds == kind)
            rows[at] = column[ids[at]]
        bare = np.flatnonzero((kinds == TargetKind.POST) & (rows < 0))
        rows[bare] = world.posts["text"][world.posts["root"][ids[bare]]]
        lines = iter(self._renaming.shown(world.texts.take(rows.astype(np.int32)).to_pylist()))
        return [[" ".join((next(lines) or "").split())[: self._p.score_characters] for _ in q.codes] for q in questions]


def _logprob(done: Completion) -> float | None:
    return done.value if done.status == "ok" else None


def _difference(found: dict[tuple[int, str | None], float | None], agent: int, text: str) -> float | None:
    """Return a text's score: 0 where it is empty or the agent has no profile, None where the model did not answer."""
    if (agent, text) not in found:
        return 0.0
    own, neutral = found[agent, text], found[-1, text]
    return None if own is None or neutral is None else own - neutral


def _no_check(text: str) -> str:
    return text
