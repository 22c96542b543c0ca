"""The world's tables: ids exist, counters equal what they count, and both equal what events did."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.runs.verification.evidence import Evidence, json_numbers
from oasis.runs.verification.findings import Problem
from oasis.runs.verification.happenings import MAKES, Events, action
from oasis.runs.verification.whole_files import Found

__all__ = ["check_world", "check_world_events"]

I64 = npt.NDArray[np.int64]


def check_world(ev: Evidence) -> Found:
    """Ids exist and ascend, versions belong to originals, and counters equal the rows that they count."""
    users, posts, comments, follows = (ev.tables[n] for n in ("users", "posts", "comments", "follows"))
    n, p, c = users.height, posts.height, comments.height
    kind = posts["kind"].cast(pl.String).to_numpy()
    root, parent, author = (_ids(posts[name]) for name in ("root_id", "parent_id", "author_id"))
    post, above = _ids(comments["post_id"]), _ids(comments["parent_comment_id"])
    follower, followee = _ids(follows["follower_id"]), _ids(follows["followee_id"])
    order = np.arange(p)
    original, version = kind == "original", (kind == "repost") | (kind == "quote")
    found = _Wrong(ev)
    for name, column, length in (("users", "agent_id", n), ("posts", "post_id", p), ("comments", "comment_id", c)):
        found.equal(name, column, _ids(ev.tables[name][column]), np.arange(length))
    found.within("posts", "author_id", author, n)
    found.within("posts", "root_id", root, p)
    found.within("comments", "post_id", post, p)
    found.within("comments", "author_id", _ids(comments["author_id"]), n)
    found.within("follows", "follower_id", follower, n)
    found.within("follows", "followee_id", followee, n)
    found.rows("posts", "kind", ~original & ~version, "is none of original, repost and quote")
    found.rows("posts", "parent_id", version & ((parent < 0) | (parent >= order)), "is not an older post")
    found.rows("comments", "parent_comment_id", (above >= np.arange(c)) | (above < -1), "is not an older comment")
    if found.problems:
        return _about(ev), found.problems, []
    found.rows("posts", "parent_id", original & (parent >= 0), "is there, though the post is an original")
    found.equal("posts", "root_id", root, np.where(original, order, root[np.where(version, parent, order)]))
    found.rows("posts", "content", _missing(posts["content"]) & (kind != "repost"), "is missing")
    answers = np.flatnonzero(above >= 0)
    found.rows("comments", "post_id", kind[post] != "original", "is not an original")
    found.equal("comments", "post_id", post[answers], post[above[answers]], answers)
    for name, table in (("posts", posts), ("comments", comments)):
        found.rows(name, "step", _falls(_ids(table["step"]), 0), "is before the row above")
        for votes in ("likes", "dislikes"):
            base = _ids(table[f"base_{votes}"])
            found.rows(name, votes, (base < 0) | (_ids(table[votes]) < base), f"is below base_{votes}, or that below 0")
    hidden = posts["hidden"].to_numpy()
    found.equal("posts", "hidden", hidden, hidden[root])
    for label, column in (("repost", "reposts"), ("quote", "quotes")):
        rows = np.flatnonzero(kind == label)
        apart = rows[root[rows] != parent[rows]]
        found.equal("posts", column, _ids(posts[column]), _count(root[rows], p) + _count(parent[apart], p))
    found.equal("posts", "comments", _ids(posts["comments"]), _count(post, p))
    found.equal("users", "posts", _ids(users["posts"]), _count(author, n))
    found.equal("users", "following", _ids(users["following"]), _count(follower, n))
    followers = _ids(users["base_followers"]) + _count(followee, n)
    found.equal("users", "followers", _ids(users["followers"]), followers)
    found.rows("follows", "followee_id", follower == followee, "is the follower itself")
    pairs = follower << 32 | followee
    found.rows("follows", "follower_id", _falls(pairs, 1), "and followee_id are not in order")
    for name in ("users", "posts"):
        found.rows(name, "key", ev.tables[name]["key"].is_duplicated().to_numpy(), "is not unique")
    return _about(ev), found.problems, []


def check_world_events(ev: Evidence, events: Events) -> Found:
    """The world at the end is what events made of it: rows, votes, reports, follows, bans."""
    users, posts, comments = (ev.tables[n] for n in ("users", "posts", "comments"))
    found = _Wrong(ev)
    for name in ("users", "posts", "comments"):
        made = events.made(name)
        if ev.tables[name].height != len(made):
            text = f"has {ev.tables[name].height:,} rows; there were {made.base:,}, events made {len(made.rows):,}"
            found.problems.append(Problem(ev.world_file(name), text))
    if found.problems:
        return _about(ev), found.problems, []
    _made(found, events, "posts", "step", posts["step"], events.step)
    _made(found, events, "posts", "author_id", posts["author_id"], events.actor)
    version = np.isin(events.action, action("repost", "quote_post"))
    _made(found, events, "posts", "parent_id", posts["parent_id"], np.where(version, events.target, -1))
    label = np.select(
        [np.isin(events.action, action("repost")), np.isin(events.action, action("quote_post"))], [1, 2], 0
    )
    kinds = pl.Series(["original", "repost", "quote"])
    _made(found, events, "posts", "kind", _codes(posts["kind"].cast(pl.String), kinds), label)
    _made(found, events, "comments", "step", comments["step"], events.step)
    _made(found, events, "comments", "author_id", comments["author_id"], events.actor)
    _made(found, events, "users", "joined_step", users["joined_step"], events.step)
    root = events.roots
    found.equal("posts", "root_id", _ids(posts["root_id"]), root)
    for name, table in (("posts", posts), ("comments", comments)):
        _contents(found, events, name, table)
        _votes(found, events, name, table, root)
    reported = events.having(("report_post",))
    found.equal("posts", "reports", _ids(posts["reports"]), _count(root[events.target[reported]], posts.height))
    answered = np.flatnonzero(events.having(MAKES["comments"]))
    on, at = root[events.target[answered]], events.created[answered]
    found.equal("comments", "post_id", _ids(comments["post_id"])[at], on, at)
    _follows(found, ev, events)
    banned = np.flatnonzero(events.having(("ban", "unban")))
    last = _last(events.target[banned], banned)
    now = users["banned"].to_numpy()[events.target[last]]
    found.equal("users", "banned", now, np.isin(events.action[last], action("ban")), events.target[last])
    removed = events.target[events.having(("remove_post",))]
    shown = _marked(removed, posts.height) & ~posts["hidden"].to_numpy()
    found.rows("posts", "hidden", shown, "is false after remove_post")
    return _about(ev), found.problems, []


class _Wrong:
    """Collects problems of the world's tables, one per column and rule."""

    def __init__(self, ev: Evidence) -> None:
        self._ev = ev
        self.problems: list[Problem] = []

    def rows(self, table: str, column: str, wrong: npt.NDArray[np.bool_], what: str) -> None:
        """Note the rows where `wrong`."""
        at = np.flatnonzero(wrong)
        if len(at):
            value = self._ev.tables[table][column][int(at[0])]
            text = f"row {at[0]}: {column} {str(value)[:80]} {what} ({len(at):,} such rows)"
            self.problems.append(Problem(self._ev.world_file(table), text))

    def within(self, table: str, column: str, values: I64, length: int) -> None:
        """Note ids that do not exist."""
        self.rows(table, column, (values < 0) | (values >= length), f"does not exist: there are {length:,}")

    def equal(
        self, table: str, column: str, got: npt.NDArray[Any], wanted: npt.NDArray[Any], rows: I64 | None = None
    ) -> None:
        """Note where a column is not what was counted; `rows` are those that `got` is of."""
        at = np.flatnonzero(got != wanted)
        if len(at):
            row = at[0] if rows is None else rows[at[0]]
            text = f"row {row}: {column} is {got[at[0]]}, should be {wanted[at[0]]} ({len(at):,} such rows)"
            self.problems.append(Problem(self._ev.world_file(table), text))


def _made(found: _Wrong, events: Events, table: str, column: str, values: pl.Series, wanted: npt.NDArray[Any]) -> None:
    """Compare a column of what events made with what they say."""
    made = events.made(table)
    rows = made.base + np.arange(len(made.rows))
    found.equal(table, column, _ids(values)[made.base :], np.asarray(wanted)[made.rows], rows)


def _contents(found: _Wrong, events: Events, name: str, table: pl.DataFrame) -> None:
    """Compare texts that agents wrote; those from outside are arguments, which are normalised when they are used."""
    made = events.made(name)
    by_agent = np.flatnonzero(~events.outside[made.rows])
    text = table["content"].cast(pl.String)[made.base + by_agent]
    said = events.content[made.rows[by_agent]]
    wrong = np.flatnonzero(text.ne_missing(said).to_numpy())
    if len(wrong):
        mask = np.zeros(table.height, np.bool_)
        mask[made.base + by_agent[wrong]] = True
        found.rows(name, "content", mask, "is not the text of its event")


def _votes(found: _Wrong, events: Events, name: str, table: pl.DataFrame, root: I64) -> None:
    one = name[:-1]
    codes = action(f"like_{one}", f"unlike_{one}", f"dislike_{one}", f"undo_dislike_{one}")
    rows = np.flatnonzero(events.accepted & np.isin(events.action, codes))
    target = root[events.target[rows]] if name == "posts" else events.target[rows]
    last = _last(events.actor[rows] << 32 | target, np.arange(len(rows)))
    seeds = np.flatnonzero(events.having(("seed_votes",)))
    seeds = seeds[(events.kind[seeds] == 2) == (name == "comments")]
    seeded = root[events.target[seeds]] if name == "posts" else events.target[seeds]
    outside = events.makers(name)
    outside = outside[events.outside[outside] & np.isin(events.action[outside], action("post", "comment"))]
    for votes, code in (("likes", codes[0]), ("dislikes", codes[2])):
        counted = target[last][events.action[rows[last]] == code]
        base = _ids(table[f"base_{votes}"])
        found.equal(name, votes, _ids(table[votes]) - base, _count(counted, table.height))
        given = np.zeros(table.height, np.int64)
        for at, things in ((seeds, seeded), (outside, events.created[outside])):
            np.add.at(given, things, np.maximum(json_numbers(events.content[at], votes), 0))
        begin = events.made(name).base
        found.equal(name, f"base_{votes}", base[begin:], given[begin:], np.arange(begin, table.height))
        found.rows(name, f"base_{votes}", base < given, "is less than was seeded")


def _follows(found: _Wrong, ev: Evidence, events: Events) -> None:
    """Compare who follows whom since a step with the last event of each pair that has one."""
    rows = np.flatnonzero(events.having(("follow", "unfollow")))
    pairs = events.actor[rows] << 32 | events.target[rows]
    last = rows[_last(pairs, np.arange(len(rows)))]
    said = pl.DataFrame({"a": events.actor[last], "b": events.target[last], "said": events.step[last]})
    follow = pl.Series(np.isin(events.action[last], action("follow")))
    table = ev.tables["follows"]
    columns = {"a": "follower_id", "b": "followee_id", "since": "step"}
    there = pl.DataFrame({name: _ids(table[column]) for name, column in columns.items()})
    both = there.join(said.filter(follow), on=["a", "b"], how="full", coalesce=True)
    unsaid = pl.col("said").is_null() & (pl.col("since") > 0)
    otherwise = pl.col("said").is_not_null() & pl.col("since").ne_missing(pl.col("said"))
    gone = there.join(said.filter(~follow), on=["a", "b"]).filter(pl.col("since") <= pl.col("said"))
    for frame, what in ((both.filter(unsaid | otherwise), "is not what events did"), (gone, "is there after unfollow")):
        if frame.height:
            a, b, since, step = frame.select("a", "b", "since", "said").row(0)
            text = f"agent {a} following {b} {what}: in the table since step {since}, by events {step}"
            found.problems.append(Problem(ev.world_file("follows"), f"{text} ({frame.height:,} such rows)"))


def _about(ev: Evidence) -> str:
    sizes = ", ".join(f"{ev.tables[n].height:,} {n}" for n in ("users", "posts", "comments", "follows"))
    return sizes if ev.ended else f"{sizes} where the process began"


def _ids(column: pl.Series) -> I64:
    return np.asarray(column.cast(pl.Int64).fill_null(-1).to_numpy(), np.int64)


def _codes(column: pl.Series, names: pl.Series) -> pl.Series:
    return column.replace_strict(names, pl.Series(range(len(names))), default=-1)


def _missing(column: pl.Series) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_null().to_numpy())


def _falls(values: I64, by: int) -> npt.NDArray[np.bool_]:
    """Return the rows that do not exceed the row above by at least `by`."""
    return np.r_[False, np.diff(values) < by][: len(values)]


def _count(values: I64, length: int) -> I64:
    return np.bincount(values, minlength=length)


def _marked(values: I64, length: int) -> npt.NDArray[np.bool_]:
    out = np.zeros(length, np.bool_)
    out[values] = True
    return out


def _last(key: I64, rows: I64) -> I64:
    """Return the last of `rows` (ascending) for each distinct key."""
    order = np.argsort(key, kind="stable")
    ends = np.r_[key[order][1:] != key[order][:-1], True][: len(key)]
    return rows[order[ends]]
