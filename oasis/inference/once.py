"""Questions of odds are asked once in a step, whoever asks them; those of nobody once in a run."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from oasis.inference.accounting import Account
from oasis.inference.questions import Question
from oasis.interfaces import Completion, InferenceRequest

__all__ = ["Once", "is_once"]


def is_once(request: InferenceRequest) -> bool:
    """Return whether everybody who asks this in a step is given the same answer."""
    return bool(request.labels) or request.continuation is not None


class Once:
    """Who asks what for all, and what was answered.

    Parameters
    ----------
    account : Account
        Told of each answer that was somebody else's.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._step, self._asked = -1, dict[tuple[int, str, int], asyncio.Future[Completion]]()
        self._of_nobody: dict[int, float] = {}  # log-probabilities, by the hash of the question

    def asked(self, question: Question) -> bool:
        """Return whether somebody has asked the same in this step."""
        return self._asked_by(question) is not None

    def known(self, question: Question) -> bool:
        """Return whether `share` has the answer, now or when it has come."""
        return self._asked_by(question) is not None or (
            question.request.agent_id < 0 and question.hashed in self._of_nobody
        )

    async def share(self, question: Question) -> Completion:
        """Return what somebody else is answered; it is written down for this one too."""
        request, asked = question.request, self._asked_by(question)
        if asked is not None:
            answer = replace(await asyncio.shield(asked), request=request)
            if request.agent_id < 0:
                return answer
        else:
            answer = Completion(request, "ok", value=self._of_nobody[question.hashed])
            self._asked[_key(question)] = _settled(answer)
        answer.attempts = question.done.attempts + 1
        self._account.record(answer, None, question.hashed, answer.attempts, None, 0.0)
        return answer

    def promise(self, question: Question) -> None:
        """Let others who ask the same wait for this one."""
        self._asked_by(question)
        question.asked = self._asked[_key(question)] = asyncio.get_running_loop().create_future()

    def answered(self, question: Question) -> None:
        """Tell others the answer of a question of odds, promised or recorded."""
        if not is_once(question.request):
            return
        if question.asked is not None:
            question.asked.set_result(question.done)
        elif self._asked_by(question) is None:
            self._asked[_key(question)] = _settled(question.done)
        request, done = question.request, question.done
        if request.agent_id < 0 and request.continuation is not None and done.status == "ok":
            self._of_nobody[question.hashed] = done.value

    def failed(self, question: Question, error: BaseException) -> None:
        """Tell others who wait for a question that there will be no answer."""
        if question.asked is not None and not question.asked.done():
            self._asked.pop(_key(question), None)
            question.asked.set_exception(error)
            question.asked.exception()  # nobody may have waited for it

    def _asked_by(self, question: Question) -> asyncio.Future[Completion] | None:
        if self._step != question.request.step:
            self._step, self._asked = question.request.step, {}
        return self._asked.get(_key(question))


def _settled(done: Completion) -> asyncio.Future[Completion]:
    future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
    future.set_result(done)
    return future


def _key(question: Question) -> tuple[int, str, int]:
    return question.request.turn, question.request.purpose, question.hashed
