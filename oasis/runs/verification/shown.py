"""What was shown, asked and answered: impressions, calls of language models, interviews. One file at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from oasis.interfaces import Source
from oasis.runs.verification.evidence import Evidence, Part, coded, ids
from oasis.runs.verification.findings import Problem
from oasis.runs.verification.happenings import Events, packed_pairs
from oasis.runs.verification.whole_files import Found

__all__ = ["check_calls", "check_impressions", "check_interviews"]

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_SOURCES = [source.label for source in Source]
_STATUSES = ["ok", "failed", "invalid"]
_PURPOSES = ["decide", "interview", "calibrate", "score"]
_NOBODYS = (2, 3)
"""Purposes of questions that are asked in nobody's name, which agent -1 stands for."""


def check_impressions(ev: Evidence, events: Events) -> Found:
    """Agents that acted were shown posts that were there, each at its position."""
    problems: list[Problem] = []
    posts, messages = events.made("posts"), events.made("messages")
    post_step, post_outside = _when(events, posts.base, posts.rows)
    message_step, _ = _when(events, messages.base, messages.rows)
    count = 0
    for part, table in ev.rows("impressions"):
        count += table.num_rows
        step, agent, turn, position = (ids(table[n]) for n in ("step", "agent_id", "turn", "position"))
        place = {"agent": agent, "turn": turn, "position": position}
        post, message = ids(table["post_id"]), ids(table["message_id"])
        problems += _unordered(part, step, agent, turn, position)
        here = np.flatnonzero(post >= 0)
        there = post[here] < len(posts)
        early = np.zeros(len(here), np.bool_)
        shown, at = post[here[there]], step[here[there]]
        early[there] = (post_step[shown] > at) | (post_step[shown] == at) & ~post_outside[shown]
        heard = np.flatnonzero(message >= 0)
        known = message[heard] < len(messages)
        known[known] = message_step[message[heard[known]]] < step[heard[known]]
        for wrong, what in (
            (here[~there], f"shows post %(post)s; there are {len(posts):,}"),
            (here[early], "shows post %(post)s, which was not there when that step began"),
            (heard[~known], "tells message %(message)s, which was not there when that step began"),
            (np.flatnonzero((post >= 0) == (message >= 0)), "shows neither a post nor a message, or both"),
            (np.flatnonzero(coded(table["source"], _SOURCES) < 0), "has a source that is none"),
            (_strangers(step, agent, events.activations), "is of an agent without an event in that step"),
        ):
            problems += _first(part, wrong, step, what, **place, post=post, message=message)
    return f"{count:,} impressions: their agents, posts, messages and positions", problems, []


def check_calls(ev: Evidence, events: Events) -> Found:
    """Attempts to ask a language model are of agents that exist, and of decisions that were made."""
    problems: list[Problem] = []
    columns = ["step", "agent_id", "turn", "attempt", "purpose", "status", "tokens_in", "tokens_cached", "tokens_out"]
    joined = _joined_steps(events)
    count = 0
    for part in [*ev.parts["llm_calls"], *ev.dropped]:
        table = ev.read(part, columns)
        count += table.num_rows
        step, agent, attempt = (ids(table[n]) for n in ("step", "agent_id", "attempt"))
        dropped = part in ev.dropped
        purpose = coded(table["purpose"], _PURPOSES)
        tokens = {n: ids(table[f"tokens_{n}"]) for n in ("in", "cached", "out")}
        negative = [pc.less(pc.fill_null(table[f"tokens_{n}"], 0), 0).to_numpy().astype(bool) for n in tokens]
        deciding = np.flatnonzero(purpose == 0)
        idle = (
            deciding[_strangers(step[deciding], agent[deciding], events.activations)] if not dropped else deciding[:0]
        )
        exists = (agent >= 0) & (agent < len(joined))
        exists[exists] = joined[agent[exists]] <= step[exists]
        exists |= (agent == -1) & np.isin(purpose, _NOBODYS)
        for wrong, what in (
            (np.flatnonzero(~exists), "is of an agent that did not exist"),
            (idle, "decides for an agent without an event in that step"),
            (np.flatnonzero(attempt < 1), "is attempt %(attempt)s"),
            (np.flatnonzero(purpose < 0), "has a purpose that is none"),
            (np.flatnonzero(coded(table["status"], _STATUSES) < 0), "has a status that is none"),
            (np.flatnonzero(np.logical_or.reduce(negative)), "has tokens below 0"),
        ):
            problems += _first(part, wrong, step, what, dropped, agent=agent, turn=ids(table["turn"]), attempt=attempt)
    return f"{count:,} attempts to ask a language model", problems, []


def check_interviews(ev: Evidence, events: Events) -> Found:
    """Every accepted interview has an answer, and answers are of agents that exist."""
    problems: list[Problem] = []
    joined = _joined_steps(events)
    answered = [np.empty(0, np.int64)]
    for part, table in ev.rows("interviews", ["step", "agent_id"]):
        step, agent = ids(table["step"]), ids(table["agent_id"])
        exists = (agent >= 0) & (agent < len(joined))
        exists[exists] = joined[agent[exists]] <= step[exists]
        problems += _first(part, np.flatnonzero(~exists), step, "is of an agent that did not exist", agent=agent)
        answered.append(packed_pairs(step, agent))
    asked = events.having(("interview",))
    wanted, times = np.unique(packed_pairs(events.step[asked], events.target[asked]), return_counts=True)
    got, found = np.unique(np.concatenate(answered), return_counts=True)
    at = np.searchsorted(got, wanted)
    there = np.zeros(len(wanted), np.int64)
    inside = at < len(got)
    inside[inside] = got[at[inside]] == wanted[inside]
    there[inside] = found[at[inside]]
    short = np.flatnonzero(there < times)
    if len(short):
        when, who = divmod(int(wanted[short[0]]), 1 << 32)
        text = f"step {when}: agent {who} was asked {times[short[0]]} times, {there[short[0]]} answers are there"
        problems.append(ev.problem("interviews", when, text))
    return f"{int(found.sum()):,} answers to {int(asked.sum()):,} interviews", problems, []


def _when(events: Events, base: int, rows: I64) -> tuple[I64, Bool]:
    """Return, by id, the step in which each thing was made, and whether from outside."""
    return (
        np.r_[np.zeros(base, np.int64), events.step[rows]],
        np.r_[np.ones(base, np.bool_), events.outside[rows]],
    )


def _joined_steps(events: Events) -> I64:
    users = events.made("users")
    return _when(events, users.base, users.rows)[0]


def _strangers(step: I64, agent: I64, active: I64) -> I64:
    """Return the rows whose (step, agent) is not among `active`."""
    packed = packed_pairs(step, agent)
    begins = np.flatnonzero(np.r_[True, packed[1:] != packed[:-1]][: len(packed)])  # rows of an agent are adjacent
    at = np.searchsorted(active, packed[begins])
    known = at < len(active)
    known[known] = active[at[known]] == packed[begins[known]]
    return begins[~known]


def _unordered(part: Part, step: I64, agent: I64, turn: I64, position: I64) -> list[Problem]:
    """Return where positions do not count from 0 within a turn, or turns, agents and steps do not ascend."""
    if not len(step):
        return []
    key = [np.diff(values) for values in (step, agent, turn)]
    same = (key[0] == 0) & (key[1] == 0) & (key[2] == 0)
    ascends = (key[0] > 0) | (key[0] == 0) & ((key[1] > 0) | (key[1] == 0) & (key[2] >= 0))
    wanted = np.where(same, position[:-1] + 1, 0)
    wrong = np.flatnonzero(np.r_[position[0] != 0, (position[1:] != wanted) | ~ascends])
    text = "breaks the order of positions: rows are missing, twice or moved"
    return _first(part, wrong, step, text, agent=agent, turn=turn, position=position)


def _first(part: Part, wrong: I64, step: I64, what: str, dropped: bool = False, /, **columns: I64) -> list[Problem]:
    """Return one problem for all rows that are wrong, naming the first; ``%(name)s`` is its value in a column."""
    if not len(wrong):
        return []
    row = int(wrong[0])
    values = {name: int(column[row]) for name, column in columns.items()}
    place = ", ".join(f"{name} {values[name]}" for name in ("agent", "turn", "position") if name in values)
    text = f"step {step[row]}, {place}: {what % values} ({len(wrong):,} such rows)"
    return [Problem(part.file, text, None if dropped else int(step[row]))]
