"""Turn what happened in a step into rows of the recorded tables."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oasis.actions import Action, ActionBatch, Outcome, TargetKind
from oasis.interfaces import Answer, Applied, Feeds, Question, Source
from oasis.records import EVENTS, IMPRESSIONS, INTERVIEWS
from oasis.world.text import TextPool

__all__ = ["event_rows", "impression_rows", "interview_rows", "message_rows"]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

OUTSIDE_POLICY = "outside"


class _Labels:
    """Codes of an enumeration to a dictionary column of their names."""

    def __init__(self, members: type[IntEnum]) -> None:
        names = [member.label for member in members]  # type: ignore[attr-defined]
        distinct = list(dict.fromkeys(names))
        self._dictionary = pa.array(distinct, pa.string())
        self._index = np.zeros(max(members) + 1, np.int16)
        for member, name in zip(members, names, strict=True):
            self._index[member] = distinct.index(name)

    def column(self, codes: npt.NDArray[np.integer], null: npt.NDArray[np.bool_] | None = None) -> pa.DictionaryArray:
        indices = pa.array(self._index[codes], pa.int16(), mask=null)
        return pa.DictionaryArray.from_arrays(indices, self._dictionary)


_ACTIONS, _OUTCOMES, _KINDS, _SOURCES = _Labels(Action), _Labels(Outcome), _Labels(TargetKind), _Labels(Source)


def _optional(values: npt.NDArray[np.int32]) -> pa.Array:
    return pa.array(values, pa.int32(), mask=values == -1)


def event_rows(
    step: int, seq: int, batch: ActionBatch, applied: Applied, policies: Sequence[str], texts: TextPool
) -> pa.Table:
    """Return event rows in batch order, numbered from `seq`."""
    m = len(batch)
    content = batch.content
    reused = np.flatnonzero(batch.text_id >= 0)
    if len(reused):
        source = np.where(batch.text_id >= 0, np.cumsum(batch.text_id >= 0) - 1 + m, np.arange(m))
        content = pa.concat_arrays([content, texts.take(batch.text_id[reused])]).take(pa.array(source))
    names = pa.array([*policies, OUTSIDE_POLICY], pa.string())
    who = np.where(batch.policy < 0, len(policies), batch.policy).astype(np.int16)
    return pa.table(
        [
            pa.array(np.full(m, step, np.int32)),
            pa.array(np.arange(seq, seq + m, dtype=np.int32)),
            pa.array(batch.agent_id),
            pa.array(batch.turn),
            pa.DictionaryArray.from_arrays(pa.array(who), names),
            _ACTIONS.column(batch.action),
            _KINDS.column(batch.target_kind, batch.target_kind == TargetKind.NONE),
            _optional(batch.target_id),
            _optional(batch.arg_id),
            _OUTCOMES.column(applied.outcome),
            _optional(applied.created_id),
            pa.array(batch.probability, pa.float32(), mask=np.isnan(batch.probability)),
            content,
        ],
        schema=EVENTS,
    )


def impression_rows(
    step: int, agent_ids: npt.NDArray[np.int32], turns: npt.NDArray[np.int16], feeds: Feeds
) -> pa.Table:
    """Return one row per post shown; `agent_ids` and `turns` are per feed."""
    rows = feeds.rows
    m = len(rows)
    return pa.table(
        [
            pa.array(np.full(m, step, np.int32)),
            pa.array(agent_ids[rows]),
            pa.array(turns[rows]),
            pa.array(feeds.positions),
            pa.array(feeds.post_ids),
            pa.nulls(m, pa.int32()),
            _SOURCES.column(feeds.sources),
            pa.array(feeds.scores),
            pa.nulls(m, pa.int32()),
        ],
        schema=IMPRESSIONS,
    )


def message_rows(
    step: int, agent_ids: npt.NDArray[np.int32], turns: npt.NDArray[np.int16], offsets: I64, message_ids: I32
) -> pa.Table:
    """Return one row per group message heard; `agent_ids`, `turns` and `offsets` are per request."""
    messages = Feeds(
        offsets, message_ids, np.zeros(len(message_ids), np.float32), np.full(len(message_ids), Source.GROUP, np.uint8)
    )
    table = impression_rows(step, agent_ids, turns, messages)
    names = table.column_names
    table = table.set_column(names.index("message_id"), IMPRESSIONS.field("message_id"), table["post_id"])
    return table.set_column(names.index("post_id"), IMPRESSIONS.field("post_id"), pa.nulls(len(table), pa.int32()))


def interview_rows(
    step: int, question: Question, answers: Sequence[Answer], policies: Sequence[str], policy_of: npt.NDArray[np.int32]
) -> pa.Table:
    """Return one row per answer."""
    return pa.Table.from_pylist(
        [
            {
                "step": step,
                "agent_id": a.agent_id,
                "question_id": question.question_id,
                "question": question.text,
                "value": None if np.isnan(a.value) else a.value,
                "text": a.text,
                "probabilities": None if a.probabilities is None else list(a.probabilities),
                "policy": policies[policy_of[a.agent_id]],
                "outcome": a.outcome.label,
                "source": a.source,
            }
            for a in answers
        ],
        schema=INTERVIEWS,
    )
