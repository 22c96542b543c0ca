"""Comments: always on the original, perhaps as an answer to another comment on it."""

from __future__ import annotations

from oasis.actions import Action, Outcome
from oasis.kernels import rounds as kernels
from oasis.platforms.round import Round, chain, creation_keys
from oasis.platforms.visibility import comments_visible

__all__ = ["judge_comments", "make_comments"]


def judge_comments(round_: Round) -> None:
    """A comment that is answered must exist, be on the same post, and be visible to the agent."""
    rows = round_.pending(Action.CREATE_COMMENT)
    answers = rows[round_.arg[rows] != -1]
    known = round_.exists(answers, round_.arg[answers], "comments", "author")
    answers = round_.refuse(answers, ~known, Outcome.NOT_FOUND)
    parent = round_.arg[answers]
    elsewhere = round_.world.comments["post"][parent] != round_.root[answers]
    answers = round_.refuse(answers, elsewhere, Outcome.BAD_ARGUMENT)
    seen = comments_visible(round_.world, round_.agent[answers], round_.arg[answers])
    round_.refuse(answers, ~seen, Outcome.REMOVED)
    round_.accept(round_.pending(Action.CREATE_COMMENT))


def make_comments(round_: Round) -> None:
    """Append what was accepted."""
    rows = round_.accepted(Action.CREATE_COMMENT)
    if not len(rows):
        return
    posts, comments = round_.world.posts, round_.world.comments
    author, root = round_.agent[rows], round_.root[rows]
    keys = creation_keys(round_, "comments", author)
    previous = chain(root, len(comments), posts["last_comment"])
    round_.created[rows] = comments.append(
        len(rows),
        key=keys,
        post=root,
        parent=round_.arg[rows],
        author=author,
        step=round_.step,
        text=round_.text[rows],
        previous_on_post=previous,
    )
    kernels.count(posts["comments"], root, 1)
