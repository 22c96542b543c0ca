"""Events in themselves: numbered without a gap, of known names, of agents and things that existed by then."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.actions import TARGETS, TargetKind
from oasis.runs.verification.evidence import Evidence
from oasis.runs.verification.findings import Problem
from oasis.runs.verification.happenings import ACTIONS, KINDS, MAKES, TARGET_KINDS, Events, action
from oasis.runs.verification.whole_files import Found

__all__ = ["check_creations", "check_events", "check_references", "check_repetitions"]

Bool = npt.NDArray[np.bool_]

_KIND_OF = {a.label: kind.label for a, kind in TARGETS.items()}


def check_events(ev: Evidence, events: Events) -> Found:
    """Events are numbered from 0 in each step, in order, and their names are known."""
    problems: list[Problem] = []
    if len(events):
        begins = np.r_[True, events.step[1:] != events.step[:-1]]
        wanted = np.where(begins, 0, np.r_[0, events.seq[:-1] + 1])
        wrong = np.flatnonzero(events.seq != wanted)
        if len(wrong):
            row = wrong[0]
            got, before = events.seq[row], wanted[row] - 1
            what = "begins with" if before < 0 else f"has after seq {before} the"
            text = f"step {events.step[row]} {what} seq {got}, not {wanted[row]}: rows are missing, twice or moved"
            problems.append(ev.problem("events", int(events.step[row]), text))
    policies = events.policies
    outside = policies.index("outside") if "outside" in policies else -3
    for wrong_rows, what in (
        (events.action < 0, "an action that is none"),
        (events.outcome < 0, "an outcome that is none"),
        (events.kind == -2, "a target_kind that is none"),
        (events.agent < -1, "an agent_id below -1"),
        (events.turn < 0, "a turn below 0"),
        ((events.policy == outside) != events.outside, "a policy that is not that of its agent"),
    ):
        problems += _each(ev, events, wrong_rows, f"has {what}")
    active = np.unique(events.step[~events.outside])
    return f"{len(events):,} events, {len(active):,} of {ev.steps_done:,} steps with an active agent", problems, []


def check_creations(ev: Evidence, events: Events) -> Found:
    """Ids of what was made ascend by one, and whatever makes something says what."""
    problems: list[Problem] = []
    total, makes = 0, np.zeros(len(events), np.bool_)
    for kind in MAKES:
        rows = events.makers(kind)
        makes[rows] = True
        total += len(rows)
        base = events.base(kind)
        wanted = base + np.arange(len(rows))
        wrong = np.flatnonzero(events.created[rows] != wanted)
        if len(wrong):
            row, expected = rows[wrong[0]], wanted[wrong[0]]
            got = events.created[row]
            what = f"made {kind[:-1]} {got}" if got >= 0 else "has no created_id"
            text = f"{_name(events, row)} {what}; the next one is {expected} ({len(wrong):,} of {len(rows):,} wrong)"
            problems.append(ev.problem("events", int(events.step[row]), text))
    problems += _each(ev, events, ~makes & (events.created >= 0), "has a created_id, but makes nothing")
    return f"{total:,} things made: users, posts, comments, groups, messages, products, purchases", problems, []


def check_references(ev: Evidence, events: Events) -> Found:
    """Agents and targets of accepted actions existed when they were named, and are of the right kind."""
    users = events.made("users")
    problems = _late(ev, events, np.flatnonzero(~events.outside), "users", events.agent, "is by agent", own=False)
    accepted = events.accepted
    kind_of = np.array([KINDS.index(_KIND_OF.get(name, "none")) for name in ACTIONS])
    wanted = np.where(events.action >= 0, kind_of[events.action], -1)
    wanted[wanted == TargetKind.NONE] = -1
    seeded = np.isin(events.action, action("seed_votes")) & (events.kind == TargetKind.COMMENT)
    problems += _each(
        ev, events, accepted & ~seeded & (events.kind != wanted), "has a target of a kind that its action does not take"
    )
    checked = len(users)
    for label, table in TARGET_KINDS.items():
        rows = np.flatnonzero(accepted & (events.kind == KINDS.index(label)))
        checked += len(rows)
        problems += _late(ev, events, rows, table, events.target, f"is done to {label}")
    answers = np.flatnonzero(events.having(MAKES["comments"]) & (events.arg >= 0))
    problems += _late(ev, events, answers, "comments", events.arg, "answers comment")
    in_name = np.flatnonzero(accepted & events.outside & ~np.isin(events.action, _nobody()))
    problems += _late(ev, events, in_name, "users", events.actor, "is done in the name of agent", own=False)
    selfish = events.having(("follow", "mute")) & (events.actor == events.target)
    problems += _each(ev, events, selfish, "was accepted, though it is done to oneself")
    return f"agents, and targets of {int(accepted.sum()):,} accepted actions", problems, []


def check_repetitions(ev: Evidence, events: Events) -> Found:
    """No action was accepted that had been done already, or that takes back what was not done."""
    problems: list[Problem] = []
    target = events.target.copy()
    on_post = events.accepted & (events.kind == TargetKind.POST)
    target[on_post] = events.roots[target[on_post]]
    for name, vote, undo in (("post", "like_post", "unlike_post"), ("comment", "like_comment", "unlike_comment")):
        against = {"like_post": "dislike_post", "like_comment": "dislike_comment"}[vote]
        back = {"like_post": "undo_dislike_post", "like_comment": "undo_dislike_comment"}[vote]
        state = {vote: 1, against: -1, undo: 0, back: 0}
        needs = {undo: 1, back: -1}
        problems += _states(ev, events, target, state, needs, f"{name} votes")
    problems += _states(ev, events, target, {"mute": 1, "unmute": 0}, {"unmute": 1}, "mutes")
    problems += _states(ev, events, target, {"join_group": 1, "leave_group": 0}, {}, "group members")
    problems += _states(ev, events, target, {"report_post": 1}, {}, "reports")
    problems += _states(ev, events, target, {"repost": 1}, {}, "reposts")
    problems += _states(ev, events, target, {"follow": 1, "unfollow": 0}, {}, "follows")
    return "votes, follows, mutes, reports, reposts and group members, each done once", problems, []


def _states(
    ev: Evidence, events: Events, target: npt.NDArray[np.int64], state: dict[str, int], needs: dict[str, int], what: str
) -> list[Problem]:
    """Return accepted actions that do not change the state between their actor and their target.

    What holds before the first of a pair is not known where `needs` does not say that nothing does.
    """
    rows = np.flatnonzero(events.having(list(state)))
    code = np.full(len(ACTIONS), 9, np.int8)
    need = np.full(len(ACTIONS), 9, np.int8)
    done = events.action[rows]
    code[action(*state)] = list(state.values())
    need[action(*needs)] = list(needs.values())
    frame = pl.DataFrame(
        {"a": events.actor[rows], "b": target[rows], "now": code[done], "need": need[done]}
    ).with_columns(before=pl.col("now").shift(1).over("a", "b"))
    unknown = 0 if needs else 9
    before = frame["before"].fill_null(unknown).to_numpy()
    now, wanted = frame["now"].to_numpy(), frame["need"].to_numpy()
    wrong = (before == now) & (wanted == 9) | (wanted != 9) & (before != wanted)
    mask = np.zeros(len(events), np.bool_)
    mask[rows[wrong]] = True
    return _each(ev, events, mask, f"was accepted, though it changes nothing ({what})")


def _late(
    ev: Evidence,
    events: Events,
    rows: npt.NDArray[np.int64],
    table: str,
    values: npt.NDArray[np.int64],
    what: str,
    own: bool = True,
) -> list[Problem]:
    """Return events that name something that was not there yet.

    With `own`, what was made in the same step must be the agent's own, or from outside: nobody sees what others do
    meanwhile.
    """
    made = events.made(table)
    named = values[rows]
    exists = (named >= 0) & (named < len(made))
    maker = np.full(len(rows), np.iinfo(np.int64).max)
    maker[exists] = made.row_of(named[exists])
    bad = maker >= rows
    if own:
        at = np.flatnonzero(exists & (maker >= 0) & ~bad & ~events.outside[rows])
        by = maker[at]
        together = (events.step[by] == events.step[rows[at]]) & ~events.outside[by]
        meanwhile = together & (events.actor[by] != events.actor[rows[at]])
        bad[at[meanwhile]] = True
    wrong = np.flatnonzero(bad)
    if not len(wrong):
        return []
    row, thing = rows[wrong[0]], named[wrong[0]]
    if exists[wrong[0]]:
        when = f"was made in step {events.step[maker[wrong[0]]]}, seq {events.seq[maker[wrong[0]]]}"
    else:
        when = f"does not exist: there are {len(made):,} {table}"
    text = f"{_name(events, row)} {what} {thing}, which {when} ({len(wrong):,} such rows)"
    return [ev.problem("events", int(events.step[row]), text)]


def _each(ev: Evidence, events: Events, wrong: Bool, what: str) -> list[Problem]:
    """Return one problem for all rows that are wrong, naming the first."""
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return []
    text = f"{_name(events, rows[0])} {what} ({len(rows):,} such rows)"
    return [ev.problem("events", int(events.step[rows[0]]), text)]


def _name(events: Events, row: int) -> str:
    """Return an event's place and what it is."""
    done = ACTIONS[events.action[row]] if events.action[row] >= 0 else "?"
    return f"step {events.step[row]}, seq {events.seq[row]}: {done} of agent {events.agent[row]}"


def _nobody() -> list[int]:
    """Return codes of outside actions that are in nobody's name."""
    names = ("sign_up", "interview", "seed_votes", "ban", "unban", "label_post", "demote_post", "remove_post")
    return action(*names, "edit_profile", "swap_recommender", "add_product")
