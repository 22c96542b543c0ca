"""Write bios, posts and replies: phrases drawn by stable keys, joined by Arrow, never row by row.

Axes: ``n`` texts, ``k`` topics per agent. A text is ``opener core closer``; the core has slots for phrases of a
topic. One 64-bit draw per text, keyed by (stream, step, agent key, index), is split into the number of each part.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oasis.grammar.phrases import TOPICS, Form, form, tags_of_topics, topic_phrases, unknown_subjects
from oasis.grammar.topics import guess_topics, subjects_of
from oasis.randomness import Draws, Keys

__all__ = ["write_bios", "write_posts", "write_replies"]

I64 = npt.NDArray[np.int64]


def write_bios(draws: Draws, keys: Keys, topics: npt.NDArray[np.integer]) -> pa.LargeStringArray:
    """Return one bio per agent.

    Parameters
    ----------
    keys : ndarray, shape (n,), uint64
        Stable keys of the agents.
    topics : ndarray, shape (n, k) or (n,), integer
        Interests (numbers in `TOPICS`), the strongest first; -1 for none. The first two are named.
    """
    table = _table(topics, len(keys))
    first = table[:, 0]
    second = table[:, 1] if table.shape[1] > 1 else first
    second = np.where(second >= 0, second, first)
    dice = _Dice(draws, "grammar.bio", 0, keys, 0)
    shape = form("bios")
    opener, core, closer = dice.roll(len(shape.openers)), dice.roll(shape.cores), dice.roll(len(shape.closers))
    slots = (_names(first, dice), _phrases("a", first, dice), _phrases("b", second, dice))
    return _join(shape, opener, core, closer, slots)


def write_posts(
    draws: Draws, stream: str, step: int, keys: Keys, topics: npt.NDArray[np.integer], index: npt.ArrayLike = 0
) -> pa.LargeStringArray:
    """Return one post per row.

    Parameters
    ----------
    stream : str
        Name of the draws, such as ``history`` or ``choice``.
    step : int
    keys : ndarray, shape (n,), uint64
        Stable keys of the authors.
    topics : ndarray, shape (n,) or (n, k), integer
        The topic of each post, or its author's interests, of which one is drawn; -1 for none.
    index : array_like of integers, broadcast to (n,)
        Tells texts of one author and step apart.
    """
    dice = _Dice(draws, f"grammar.post.{stream}", step, keys, index)
    topic = _one(_table(topics, len(keys)), dice)
    shape = form("posts")
    opener, core, closer = dice.roll(len(shape.openers)), dice.roll(shape.cores), dice.roll(len(shape.closers))
    slots = (_phrases("a", topic, dice), _phrases("b", topic, dice))
    tagged = (topic >= 0) & (dice.roll(2) == 1)  # half of the posts end with their topic as a hashtag; assumed
    tags = tags_of_topics().take(pa.array(np.where(tagged, topic, len(TOPICS))))
    return _join(shape, opener, core, closer, slots, tags)


def write_replies(
    draws: Draws,
    stream: str,
    step: int,
    keys: Keys,
    topics: npt.NDArray[np.integer],
    answered: pa.LargeStringArray,
    index: npt.ArrayLike = 0,
) -> pa.LargeStringArray:
    """Return one reply (comment or quote) per row: about what was answered, seen from the author's interests.

    Parameters
    ----------
    answered : pyarrow.LargeStringArray, length n
        The texts answered; a reply takes up a phrase or a word of it, and with even chance its topic
        rather than its author's. Nulls are answered in general terms.

    Others as in `write_posts`.
    """
    dice = _Dice(draws, f"grammar.reply.{stream}", step, keys, index)
    own = _one(_table(topics, len(keys)), dice)
    theirs = guess_topics(answered)[:, 0].astype(np.int64)
    shape = form("replies")
    opener, core, closer = dice.roll(len(shape.openers)), dice.roll(shape.cores), dice.roll(len(shape.closers))
    topic = np.where((dice.roll(2) == 1) & (theirs >= 0) | (own < 0), theirs, own)
    subject = pc.coalesce(subjects_of(answered), _phrases("b", theirs, dice))
    mine, other = _phrases("a", topic, dice), _phrases("b", topic, dice)
    same = pc.equal(pc.utf8_lower(mine), subject)  # "I would trade inflation for inflation" says nothing
    return _join(shape, opener, core, closer, (subject, pc.if_else(same, other, mine)))


class _Dice:
    """Successive small numbers out of one 64-bit draw per row (the parts multiply to less than 2^56)."""

    def __init__(self, draws: Draws, stream: str, step: int, keys: Keys, index: npt.ArrayLike) -> None:
        items = np.broadcast_to(np.asarray(index, np.uint64), keys.shape)
        self._left = draws.bits(stream, step, keys, items)

    def roll(self, sides: int) -> I64:
        """Return numbers in [0, sides)."""
        self._left, number = np.divmod(self._left, np.uint64(sides))
        return number.astype(np.int64)


def _table(topics: npt.NDArray[np.integer], n: int) -> I64:
    table = np.asarray(topics, np.int64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != n or not table.shape[1]:
        raise ValueError(f"topics must have shape ({n},) or ({n}, k), got {np.shape(topics)}")
    if table.size and (table.max() >= len(TOPICS) or table.min() < -1):
        raise ValueError(f"topics must be -1 to {len(TOPICS) - 1}, got {table.min()} to {table.max()}")
    return table


def _one(table: I64, dice: _Dice) -> I64:
    """Return one of each row's topics, drawn among those given; -1 where there is none."""
    there = table >= 0
    count = there.sum(axis=1)
    wanted = dice.roll(5040) % np.maximum(count, 1)  # 5040 = 7!: even for up to 7 interests, and for 8, 9 and 10
    rank = np.cumsum(there, axis=1) - 1
    column = np.argmax(there & (rank == wanted[:, None]), axis=1)
    return np.where(count > 0, np.take_along_axis(table, column[:, None], axis=1)[:, 0], -1)


def _phrases(slot: str, topic: I64, dice: _Dice) -> pa.LargeStringArray:
    """Return a drawn phrase of each topic, of all topics where it is -1."""
    known = topic_phrases()
    phrases = known.a if slot == "a" else known.b
    number = dice.roll(len(phrases))
    at = np.where(topic >= 0, topic * known.per_topic + number % known.per_topic, number)
    return phrases.take(pa.array(at))


def _names(topic: I64, dice: _Dice) -> pa.LargeStringArray:
    names, unknown = topic_phrases().names, unknown_subjects()
    number = dice.roll(len(unknown))
    return pa.concat_arrays([names, unknown]).take(pa.array(np.where(topic >= 0, topic, len(names) + number)))


def _join(
    shape: Form,
    opener: I64,
    core: I64,
    closer: I64,
    slots: tuple[pa.LargeStringArray, ...],
    *further: pa.LargeStringArray,
) -> pa.LargeStringArray:
    empty = pa.array(np.full(len(core), ""), pa.large_string())
    pieces = [piece.take(pa.array(core)) for piece in shape.pieces]
    parts = [shape.openers.take(pa.array(opener)), pieces[0]]
    choices = (empty, *slots)
    for place, after in enumerate(pieces[1:]):
        parts += [pc.choose(pa.array(shape.slots[core, place] + 1), *choices), after]
    parts += [shape.closers.take(pa.array(closer)), *further, pa.scalar("", pa.large_string())]
    return pc.binary_join_element_wise(*parts)
