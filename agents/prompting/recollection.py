"""Memory as text: the newest first until the budget is used, then told in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from oasis.actions import Action, Outcome, TargetKind
from oasis.agents.prompting.pages import Pages
from oasis.agents.prompting.quoting import quote
from oasis.world.world import World

__all__ = ["CHARACTERS_PER_TOKEN", "TOLD", "concealed", "read_memories", "recollect"]

CHARACTERS_PER_TOKEN = 3.6
"""Of English texts, by Llama 2's tokenizer; newer ones have about a twentieth more."""
_MOST, _SHORTEST = 60, 16
AROUND_MEMORY = 9
"""Tokens of a memory besides its text: what, and whose."""
_DEEDS: Mapping[Action, str] = {
    Action.CREATE_POST: "posted",
    Action.CREATE_COMMENT: "commented",
    Action.QUOTE_POST: "quoted",
    Action.REPOST: "reposted",
    Action.LIKE_POST: "liked",
    Action.LIKE_COMMENT: "liked",
    Action.DISLIKE_POST: "disliked",
    Action.DISLIKE_COMMENT: "disliked",
    Action.FOLLOW: "followed",
    Action.MUTE: "muted",
}
"""One token each; other deeds are told by their names."""
_WORDS: Mapping[int, str] = {int(action): _DEEDS.get(action, action.label) for action in Action}
_POST, _ACCEPTED = int(TargetKind.POST), int(Outcome.ACCEPTED)
TOLD = ("step", "action", "target_kind", "target", "created", "outcome")
"""Columns of `oasis.agents.memory.Memory` that are told."""
_WRITES_POST = (Action.CREATE_POST, Action.QUOTE_POST)

Columns = Mapping[str, npt.NDArray[np.integer]]
Visible = Callable[[npt.NDArray[np.int32], npt.NDArray[np.int32]], npt.NDArray[np.bool_]]


def concealed(world: World, visible: Visible, agents: npt.NDArray[np.int32], memory: Columns) -> npt.NDArray[np.bool_]:
    """Return where a memory's target may not be seen any more: removed, hidden, or its author banned or muted.

    What was done to it is remembered, its text is not told again. Shape (n, width).

    Parameters
    ----------
    visible : callable
        ``visible(agents, posts)``, of `oasis.interfaces.StepContext`.
    agents : ndarray, shape (n,)
    memory : mapping
        Columns of `oasis.agents.memory.Memory`, each of shape (n, width).
    """
    kind, target = memory["target_kind"], memory["target"]
    out = np.zeros(target.shape, np.bool_)
    for which, comments in ((TargetKind.POST, False), (TargetKind.COMMENT, True)):
        rows, columns = np.nonzero((kind == which) & (target >= 0))
        if not len(rows):
            continue
        who, ids = agents[rows].astype(np.int32), target[rows, columns].astype(np.int32)
        post = world.comments["post"][ids] if comments else ids
        gone = ~visible(who, post)
        if comments:
            author = world.comments["author"][ids]
            gone |= world.comments["hidden"][ids] | world.users["banned"][author] | world.mutes.contains(who, author)
        out[rows, columns] = gone
    return out


def read_memories(pages: Pages, memory: Columns, seen: npt.NDArray[np.int32]) -> None:
    """Read at once all that memories name.

    Parameters
    ----------
    memory : mapping
        Columns of `oasis.agents.memory.Memory`, each of shape (n, width).
    seen : ndarray, shape (n, s)
        Posts seen, -1 for none.
    """
    kind, target, created = memory["target_kind"], memory["target"], memory["created"]
    wrote_post = np.isin(memory["action"], _WRITES_POST)
    wrote_comment = memory["action"] == Action.CREATE_COMMENT
    pages.read_posts(np.concatenate([target[kind == TargetKind.POST], created[wrote_post], seen.ravel()]))
    pages.read_comments(np.concatenate([target[kind == TargetKind.COMMENT], created[wrote_comment]]))
    pages.read_users(target[kind == TargetKind.USER])


def recollect(
    pages: Pages, memory: Sequence[Sequence[int]], hidden: Sequence[bool], seen: Sequence[int], tokens: int
) -> list[str]:
    """Return what an agent remembers, oldest first, in at most `tokens` (estimated).

    Texts are as short as it takes for all of it to have room, from 16 characters to 60.

    Parameters
    ----------
    memory : sequence of sequences
        The agent's row of each of the columns `TOLD` of `oasis.agents.memory.Memory`.
    hidden : sequence of bool
        Its row of `concealed`.
    seen : sequence of int
        Posts to mention as seen, newest first; what was done comes before them when room is short.
    """
    steps = memory[0]
    count = len(steps) - steps.count(-1)  # the newest come last
    fits = tokens // (AROUND_MEMORY + int(_SHORTEST / CHARACTERS_PER_TOKEN))
    told = max(min(count, fits), 1)
    limit = min(_MOST, max(_SHORTEST, int((tokens / told - AROUND_MEMORY) * CHARACTERS_PER_TOKEN)))
    mentions = pages.mentions(limit)
    first = len(steps) - min(count, fits)
    done = [
        f"{_WORDS[action]} {mentions[target]}"
        if kind == _POST and created < 0 <= target and outcome == _ACCEPTED and not gone
        else _deed(pages, action, kind, target, created, outcome, gone, limit)
        for action, kind, target, created, outcome, gone in zip(
            *(column[first:] for column in memory[1:]), hidden[first:], strict=True
        )
    ]
    fits = min(fits, int(tokens // (AROUND_MEMORY + limit / CHARACTERS_PER_TOKEN)))
    saw = [f"saw {mentions[post]}" for post in seen[: max(0, fits - len(done))]]
    saw.reverse()
    return saw + done


def _deed(
    pages: Pages, action: int, kind: int, target: int, created: int, outcome: int, hidden: bool, limit: int
) -> str:
    wrote = None
    if created >= 0 and action in _WRITES_POST:
        wrote = pages.post(created).text
    elif created >= 0 and action == Action.CREATE_COMMENT:
        wrote = pages.comment(created).text
    tells_target = wrote is None and not hidden  # of two texts the agent's own is told
    line = _WORDS[action]
    if target >= 0:
        if kind == TargetKind.POST:
            line += f" {pages.mentions(limit)[target] if tells_target else pages.name(pages.post(target).root_author)}"
        elif kind == TargetKind.COMMENT:
            comment = pages.comment(target)
            line += f" {pages.name(comment.author)}"
            line += f" {quote(comment.text, limit)}" if tells_target else ""
        elif kind == TargetKind.USER:
            line += f" {pages.name(target)}"
        else:
            line += f" {TargetKind(kind).label} {target}"
    if wrote is not None:
        line += f" {quote(wrote, limit)}"
    if outcome != Outcome.ACCEPTED:
        line += f" (refused: {Outcome(outcome).label})"
    return line
