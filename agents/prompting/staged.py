"""One action by stages: what to do, to which line, and, for actions that need one, a text."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from oasis.actions import TEXT_ACTIONS, Action, Outcome
from oasis.agents.prompting.choosing import WHAT, WHERE, Chooser, Question
from oasis.agents.prompting.conversation import Conversation
from oasis.agents.prompting.options import Choice, Options
from oasis.agents.prompting.scoring import Scorer
from oasis.interfaces import InferenceRequest, Schema

__all__ = ["FAILURES", "act_by_stages"]

FAILURES = {"failed": Outcome.LLM_FAILED, "invalid": Outcome.LLM_INVALID}


async def act_by_stages(
    chooser: Chooser | Scorer,
    conversations: Sequence[Conversation],
    turn: int,
    max_content: int,
    max_tokens: int | None,
    temperature: float | None,
) -> list[Choice | Outcome | None]:
    """Return each agent's action: an outcome where its text could not be had, None where odds could not.

    How likely the action was is left in the conversation.
    """
    out: list[Choice | Outcome | None] = [None] * len(conversations)
    for c in conversations:
        c.probability = math.nan  # of an earlier turn
    possible = [sorted(_options(c).numbers) for c in conversations]
    picked = await chooser.pick(
        [
            Question(c, "", [a.label for a in actions], [int(a) for a in actions], WHAT)
            for c, actions in zip(conversations, possible, strict=True)
        ],
        turn,
    )
    actions = {i: possible[i][found.place] for i, found in enumerate(picked) if found is not None}
    aiming = [i for i, action in actions.items() if _options(conversations[i]).numbers[action]]
    where = await chooser.pick([_where(conversations[i], actions[i]) for i in aiming], turn)
    lines = dict(zip(aiming, where, strict=True))
    writing: list[tuple[int, Choice]] = []
    for i, action in actions.items():
        c, first = conversations[i], picked[i]
        assert first is not None
        number, probability = None, first.probability
        if i in lines:
            line = lines[i]
            if line is None:
                continue
            probability *= line.probability
            number = _options(c).numbers[action][line.place]
        c.probability = probability
        choice = _options(c).choice(action, number)
        if action in TEXT_ACTIONS:
            writing.append((i, choice))
        else:
            out[i] = choice
    requests = [
        _text(conversations[i], choice, chooser, turn, max_content, max_tokens, temperature) for i, choice in writing
    ]
    written = await chooser.client.complete(requests) if requests else []
    for (i, choice), completion in zip(writing, written, strict=True):
        c = conversations[i]
        if completion.status == "ok":
            out[i] = _options(c).choice(choice.action, choice.number, completion.value)
        else:
            out[i] = FAILURES[completion.status]
    return out


def _where(c: Conversation, action: Action) -> Question:
    numbers = _options(c).numbers[action]
    return Question(c, f"You {action.label} which line? ", [str(n) for n in numbers], numbers, WHERE)


def _text(
    c: Conversation, choice: Choice, chooser: Chooser | Scorer, turn: int, max_content: int, max_tokens: int | None,
    temperature: float | None,
) -> InferenceRequest:  # fmt: skip
    options, action = _options(c), choice.action

    def check(text: str) -> str:
        value = json.loads(text.strip())
        if not isinstance(value, dict) or set(value) != {"content"} or not isinstance(value["content"], str):
            raise ValueError('the answer is not {"content":"..."}')
        return options.text(action, value["content"])

    line = "" if choice.number is None else f" on line {choice.number}"
    ask = f'Write your {action.label}{line}, at most {max_content} characters, as {{"content":"..."}}'
    _, *before, (role, last) = c.messages
    messages = (("system", chooser.system), *before, (role, f"{last}\n{ask}"))
    return InferenceRequest(
        chooser.step, c.agent_id, turn, "decide", messages, check, _content(max_content), max_tokens, temperature, c.cut
    )


def _content(max_content: int) -> dict[str, Any]:
    content = {"type": "string", "minLength": 1, "maxLength": max_content}
    return Schema(type="object", properties={"content": content}, required=["content"], additionalProperties=False)


def _options(c: Conversation) -> Options:
    assert c.options is not None
    return c.options
