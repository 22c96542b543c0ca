"""What agents write: one of their own earlier posts, else the grammar.

Axes: ``n`` agents, ``w`` texts to write, ``k`` topics per agent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.actions import Action, ActionBatch
from oasis.agents.choice.features import content_of
from oasis.agents.choice.model import Model
from oasis.agents.choice.shown import Shown
from oasis.grammar import TOPICS, guess_topics, write_posts, write_replies
from oasis.interfaces import PolicyContext
from oasis.kernels.csr import take_rows
from oasis.randomness import Draws
from oasis.world.schemas import KIND_ORIGINAL
from oasis.world.world import World

__all__ = ["agent_topics", "earlier_texts", "fill_in"]

I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

TOPICS_PER_AGENT = 3
"""How many interests are looked at. Assumed."""
_LOOK_BACK = 256
"""How many of an agent's latest posts are searched for one from before the run."""


def agent_topics(world: World, agents: I32, draws: Draws) -> I16:
    """Return what agents write about: numbers in `TOPICS`, shape (n, k), -1 for none, at least one per agent.

    The population's column ``interests`` if it has one; else topics whose words occur in bio and persona; else
    one drawn by the agent's stable key, the same in every step.
    """
    out = _stored_topics(world, agents)
    missing = np.flatnonzero((out < 0).all(axis=1))
    if len(missing):
        users = world.users
        texts = [pc.fill_null(world.texts.take(users[name][agents[missing]]), "") for name in ("bio", "persona")]
        out[missing] = guess_topics(
            pc.binary_join_element_wise(*texts, pa.scalar(" ", pa.large_string())), out.shape[1]
        )
        unknown = missing[out[missing, 0] < 0]
        out[unknown, 0] = draws.integers("choice.topic", 0, len(TOPICS), users["key"][agents[unknown]])
    return out


def earlier_texts(world: World, agents: I32, draws: Draws, step: int) -> I32:
    """Return a text id of one of each agent's posts from before the run (step 0), -1 where there is none."""
    users, posts = world.users, world.posts
    best = np.full(len(agents), -1, np.int32)
    lowest = np.zeros(len(agents), np.uint64)
    at = users["last_post"][agents].copy()
    for _ in range(_LOOK_BACK):
        there = np.flatnonzero(at >= 0)
        if not len(there):
            break
        post = at[there]
        old = (posts["step"][post] <= 0) & (posts["kind"][post] == KIND_ORIGINAL) & ~posts["hidden"][post]
        rows, post = there[old], post[old]
        drawn = draws.bits("choice.reuse.post", step, users["key"][agents[rows]], posts["key"][post])
        better = (best[rows] < 0) | (drawn < lowest[rows])
        best[rows[better]], lowest[rows[better]] = posts["text"][post[better]], drawn[better]
        at[there] = posts["previous_by_author"][at[there]]
    return best


def fill_in(batch: ActionBatch, examined: Shown, row: I64, model: Model, ctx: PolicyContext) -> None:
    """Give every action that needs text its content, in place.

    Parameters
    ----------
    batch : ActionBatch, length a
        ``target_id`` of quotes and comments is the post.
    examined : Shown
    row : ndarray, shape (a,), int64
        The examined post that each action answers; -1 for others.
    """
    world, draws, step = ctx.world, ctx.base.draws, ctx.base.step
    content = np.full(len(batch), -1, np.int64)  # where in `written` the text of each action is
    written: list[pa.LargeStringArray] = []
    posting = np.flatnonzero(batch.action == Action.CREATE_POST)
    agents = batch.agent_id[posting]
    keys = world.users["key"][agents]
    earlier = earlier_texts(world, agents, draws, step)
    again = (earlier >= 0) & (draws.uniform("choice.reuse", step, keys) < model.reuse)
    batch.text_id = np.full(len(batch), -1, np.int32)
    batch.text_id[posting[again]] = earlier[again]
    new = posting[~again]
    topics = agent_topics(world, batch.agent_id[new], draws)
    written.append(write_posts(draws, "choice", step, world.users["key"][batch.agent_id[new]], topics))
    content[new] = np.arange(len(new))

    answering = np.flatnonzero(np.isin(batch.action, (Action.QUOTE_POST, Action.CREATE_COMMENT)))
    if len(answering):
        agents = batch.agent_id[answering]
        posts = examined.post[row[answering]]
        texts = world.posts["text"][content_of(world, posts)].copy()
        comment = _answered_comments(batch, answering, examined, row[answering], model, ctx)
        texts[comment >= 0] = world.comments["text"][comment[comment >= 0]]
        batch.arg_id = np.full(len(batch), -1, np.int32)
        batch.arg_id[answering] = comment
        topics = agent_topics(world, agents, draws)
        index = world.posts["key"][world.posts["root"][posts]]
        replies = write_replies(
            draws, "choice", step, world.users["key"][agents], topics, world.texts.take(texts), index
        )
        content[answering] = len(new) + np.arange(len(answering))
        written.append(replies)
    batch.content = pa.concat_arrays(written).take(pa.array(content, mask=content < 0))


def _answered_comments(
    batch: ActionBatch, answering: I64, examined: Shown, row: I64, model: Model, ctx: PolicyContext
) -> I32:
    """Return the comment that each new comment answers, drawn among those shown; -1 for the post itself."""
    world, draws, step = ctx.world, ctx.base.draws, ctx.base.step
    keys = world.users["key"][batch.agent_id[answering]]
    offsets, at = take_rows(examined.comment_offsets, row)
    comments = examined.comment_ids[at]
    owner = np.repeat(np.arange(len(answering)), np.diff(offsets))
    drawn = draws.bits("choice.answer.comment", step, keys[owner], world.comments["key"][comments])
    order = np.lexsort((drawn, owner))
    out = np.full(len(answering), -1, np.int32)
    out[owner[order][::-1]] = comments[order][::-1]  # the last assignment wins: the smallest draw of each owner
    root_keys = world.posts["key"][world.posts["root"][examined.post[row]]]
    wanted = draws.uniform("choice.answer", step, keys, root_keys) < model.reply_to_comment
    return np.where(wanted & (batch.action[answering] == Action.CREATE_COMMENT), out, -1).astype(np.int32)


def _stored_topics(world: World, agents: I32) -> I16:
    out = np.full((len(agents), TOPICS_PER_AGENT), -1, np.int16)
    attributes = world.attributes
    if "interests" not in attributes.column_names:
        return out
    kind = attributes.schema.field("interests").type
    if not (pa.types.is_nested(kind) and kind.num_fields == 1 and pa.types.is_integer(kind.field(0).type)):
        return out
    stored = np.flatnonzero(agents < attributes.num_rows)  # agents that signed up later have none
    column = attributes.column("interests").take(pa.array(agents[stored]))
    lists = column.combine_chunks().cast(pa.large_list(pa.int16()))
    if isinstance(lists, pa.ChunkedArray):
        lists = pa.concat_arrays(lists.chunks)
    count = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = lists.flatten().to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(stored)), count)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    kept = (place < TOPICS_PER_AGENT) & (values >= 0) & (values < len(TOPICS))
    out[stored[row[kept]], place[kept]] = values[kept]
    return out
