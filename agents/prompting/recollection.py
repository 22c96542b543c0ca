"""Memory as text: the newest first until the budget is used, then told in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from oasis.actions import Action, Outcome, TargetKind
from oasis.agents.prompting.pages import Pages
from oasis.agents.prompting.quoting import quote
from oasis.world.world import World

__all__ = ["CHARACTERS_PER_TOKEN", "concealed", "read_memories", "recollect"]

CHARACTERS_PER_TOKEN = 3
"""A cautious estimate: English text has about 4 characters per token in common vocabularies."""
_TEXT_LIMIT = 80
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
    pages: Pages, memory: Columns, hidden: npt.NDArray[np.bool_], row: int, seen: list[int], tokens: int
) -> list[str]:
    """Return what an agent remembers, oldest first, in at most `tokens` (estimated).

    Parameters
    ----------
    hidden : ndarray, shape (n, width), bool
        See `concealed`.
    row : int
        The agent's row in `memory`.
    seen : list of int
        Posts to mention as seen, newest first; what was done comes before them when room is short.
    """
    entry = {name: column[row].tolist() for name, column in memory.items()}
    room = tokens * CHARACTERS_PER_TOKEN
    done: list[str] = []
    for i in reversed(range(len(entry["step"]))):
        if entry["step"][i] < 0:
            break
        line = _deed(pages, {name: values[i] for name, values in entry.items()}, bool(hidden[row, i]))
        if len(line) > room:
            break
        room -= len(line)
        done.append(line)
    saw: list[str] = []
    for post_id in seen:
        post = pages.post(post_id)
        line = f"you saw post {post_id} of {pages.user(post.root_author)}: {quote(post.root_text, _TEXT_LIMIT)}"
        if len(line) > room:
            break
        room -= len(line)
        saw.append(line)
    return [*reversed(saw), *reversed(done)]


def _deed(pages: Pages, entry: dict[str, int], hidden: bool) -> str:
    action, target, created = Action(entry["action"]), entry["target"], entry["created"]
    line = f"{pages.age(entry['step'])}: {action.label}"
    if target >= 0:
        kind = TargetKind(entry["target_kind"])
        if kind is TargetKind.POST:
            post = pages.post(target)
            line += f" {target} of {pages.user(post.root_author)}"
            line += "" if hidden else f" {quote(post.root_text, _TEXT_LIMIT)}"
        elif kind is TargetKind.COMMENT:
            comment = pages.comment(target)
            line += f" {target} of {pages.user(comment.author)}"
            line += "" if hidden else f" {quote(comment.text, _TEXT_LIMIT)}"
        elif kind is TargetKind.USER:
            line += f" {pages.user(target)}"
        else:
            line += f" {kind.label} {target}"
    if created >= 0 and action in _WRITES_POST:
        line += f", you wrote {quote(pages.post(created).text, _TEXT_LIMIT)}"
    elif created >= 0 and action is Action.CREATE_COMMENT:
        line += f", you wrote {quote(pages.comment(created).text, _TEXT_LIMIT)}"
    if entry["outcome"] != Outcome.ACCEPTED:
        line += f" (refused: {Outcome(entry['outcome']).label})"
    return line
