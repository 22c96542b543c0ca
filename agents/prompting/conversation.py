"""One agent's activation as a conversation: what it was shown, what it may answer, the messages so far.

The first message is the same for all agents of a policy. The second begins with what many share, the feed of a
platform that shows everybody the same list, and ends with what is the agent's own. Results of read-only actions
are further messages, so whatever was sent before stays a prefix. Lines are numbered from 1 in each prompt: small
numbers are few tokens, and prompts and schemas of agents that see the same are the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from oasis.actions import READ_ACTIONS, Action, Outcome, TargetKind
from oasis.agents.memory import Memory
from oasis.agents.prompting.options import Choice, Options, said
from oasis.agents.prompting.pages import Pages
from oasis.agents.prompting.quoting import quote
from oasis.agents.prompting.recollection import CHARACTERS_PER_TOKEN, concealed, read_memories, recollect
from oasis.agents.prompting.renaming import NOTHING_RENAMED, Renaming
from oasis.agents.prompting.standing import Shown, candidates
from oasis.agents.prompting.templates import Templates
from oasis.interfaces import Observations, PolicyContext, RowFlag, Views
from oasis.world.world import World

__all__ = ["Conversation", "Limits", "Stage"]

I32 = npt.NDArray[np.int32]

SEEN_MENTIONED = 5
GROUPS_SHOWN = PRODUCTS_SHOWN = 20
SHORTEST_TEXT = 6
AROUND_POST, AROUND_COMMENT = 14, 5
"""Tokens of a line besides its text: number, author, age and counts; number and marks. `SHORTEST_TEXT` is of a text."""
_GROUP_ACTIONS = {Action.JOIN_GROUP, Action.LEAVE_GROUP, Action.SEND_TO_GROUP, Action.LISTEN_FROM_GROUP}

_STANDINGS = (
    (RowFlag.OWN, "Written by you"),
    (RowFlag.LIKED, "Liked by you"),
    (RowFlag.DISLIKED, "Disliked by you"),
    (RowFlag.REPOSTED, "Reposted by you"),
)


@dataclass(frozen=True)
class Limits:
    """How much of each kind of text a prompt may hold.

    Attributes
    ----------
    text, profile, content : int
        Characters of a shown text, of bio and persona each, and of what the agent may write.
    shared_tokens, feed_tokens, memory_tokens : int
        Estimated tokens of a feed that all see, of one that is an agent's own, and of memory.
    max_actions, max_turns : int
    """

    text: int
    profile: int
    content: int
    shared_tokens: int
    feed_tokens: int
    memory_tokens: int
    max_actions: int
    max_turns: int


@dataclass
class Conversation:
    """One agent's turns."""

    agent_id: int
    messages: tuple[tuple[str, str], ...]
    shown: Shown
    cut: int = 0
    """Characters of shown texts that the messages leave out."""
    options: Options | None = None
    reads: list[tuple[int, Choice, int]] = field(default_factory=list)
    """Turn, choice and outcome of each read-only action so far."""
    choices: list[Choice] | None = None
    failure: Outcome | None = None
    turn: int = 0
    probability: float = math.nan
    """Of the choice, where the model gave its odds."""

    @property
    def open(self) -> bool:
        """Whether the agent has still to decide."""
        return self.choices is None and self.failure is None


class Stage:
    """Everything that the prompts of a batch of agents need from the frozen world.

    Nothing here depends on which agents share a batch: it is read together and rendered for each alone.
    """

    def __init__(
        self,
        ctx: PolicyContext,
        memory: Memory,
        limits: Limits,
        templates: Templates,
        renaming: Renaming = NOTHING_RENAMED,
    ) -> None:
        self._renaming = renaming
        self._ctx, self._memory, self._limits, self._render = ctx, memory, limits, templates.render
        self._world: World = ctx.world
        self._groups_exist = bool(_GROUP_ACTIONS & set(ctx.allowed)) and len(ctx.world.groups) > 0
        self._shop_exists = Action.PURCHASE_PRODUCT in ctx.allowed
        self._pages = Pages(ctx.world, ctx.base.step, ctx.base.clock.step_minutes, ctx.base.show_scores, renaming)
        self._feeds: dict[tuple[tuple[int, ...], ...] | None, _Feed] = {}

    def begin(self, observations: Observations, system: str) -> list[Conversation]:
        """Return a conversation for each observed agent."""
        agents, feeds = observations.agent_ids, observations.feeds
        self._pages.read_posts(feeds.post_ids)
        self._pages.read_comments(observations.comment_ids)
        abouts = self.abouts(agents, observations)
        time = self._ctx.base.clock.time(self._ctx.base.step).strftime("It is %A, %H:%M UTC.")
        heading = f"{time}\n{'FRONT PAGE:' if feeds.shared else 'YOUR FEED:'}"
        rules = "system", system
        marks = _marks(observations)
        rows = _Rows(observations)
        out = []
        for i, agent in enumerate(agents.tolist()):
            feed = self._feed(rows, i, heading)
            shown = feed.shown.copy() if feeds.shared else feed.shown
            own = self._own_part(agent, marks[i], shown)
            about, cut = abouts[i]
            parts = [feed.text, about, own]
            user = "\n\n".join([*(p for p in parts if p), "What do you do?"])
            out.append(Conversation(agent, (rules, ("user", user)), shown, feed.cut + cut))
        return out

    def set_options(self, conversations: Sequence[Conversation], last_turn: bool) -> None:
        """Give each conversation the options of its next turn."""
        allowed = {a for a in self._ctx.allowed if not (last_turn and a in READ_ACTIONS)}
        agents = np.array([c.agent_id for c in conversations], np.int32)
        found = candidates(self._world, agents, [c.shown for c in conversations], allowed)
        for c, numbers in zip(conversations, found, strict=True):
            c.options = Options(numbers, c.shown, self._limits.max_actions, self._limits.content, self._renaming)

    def show(self, conversations: Sequence[Conversation], choices: Sequence[Choice], views: Views) -> None:
        """Append to each conversation what its read-only action found; one request per conversation in `views`."""
        world = self._world
        self._pages.read_posts(views.feeds.post_ids)
        self._pages.read_users(views.user_ids)
        messages = world.messages
        self._pages.read_users(messages["author"][views.message_ids])
        texts = self._pages.texts(messages["text"][views.message_ids])
        bios = self._pages.texts(world.users["bio"][views.user_ids])
        for i, (c, choice) in enumerate(zip(conversations, choices, strict=True)):
            outcome = Outcome(int(views.outcomes[i]))
            posts = views.feeds.post_ids[views.feeds.offsets[i] : views.feeds.offsets[i + 1]].tolist()
            room = Room(self._limits.feed_tokens, self._limits.text, len(posts), 0)
            lines = []
            for post_id in posts:
                line, cut, user = self._pages.post_line(post_id, room.post)
                lines.append(f"{c.shown.add(TargetKind.POST, post_id, user)} {line}")
                c.cut += cut
            for at in range(int(views.user_offsets[i]), int(views.user_offsets[i + 1])):
                user_id = int(views.user_ids[at])
                number = c.shown.add(TargetKind.USER, user_id, user_id)
                lines.append(f"{number} {self._pages.name(user_id)}: {quote(bios[at], self._limits.text // 2)}")
            for at in range(int(views.message_offsets[i]), int(views.message_offsets[i + 1])):
                author = int(messages["author"][views.message_ids[at]])
                lines.append(f"- {self._pages.name(author)}: {quote(texts[at], self._limits.text)}")
            heading = "RESULT:" if outcome is Outcome.ACCEPTED else f"REFUSED: {outcome.label}"
            standing = self._standing(c.agent_id, posts, c.shown)
            result = self._render("feed.j2", heading=heading, lines=[*lines, *standing])
            c.messages = (
                *c.messages,
                ("assistant", said(choice, self._renaming)),
                ("user", f"{result}\n\nWhat do you do?"),
            )

    def abouts(self, agents: I32, feeds: Observations | None = None) -> list[tuple[str, int]]:
        """Return who each agent is and what it remembers, and how many characters of its profile are left out.

        Posts in its feed are not named as seen before.
        """
        world, users = self._world, self._world.users
        texts = {name: self._pages.texts(users[name][agents]) for name in ("bio", "persona")}
        self._pages.read_users(agents)
        memory = self._memory.get(agents)
        told = {name: column.tolist() for name, column in memory.items()}
        seen = self._seen(agents, feeds)
        hidden = concealed(world, self._ctx.base.visible, agents, memory).tolist()
        read_memories(self._pages, memory, np.array([p for each in seen for p in each], np.int32))
        followers = (users["followers"][agents] + users["base_followers"][agents]).tolist()
        following = users["following"][agents].tolist()
        limit, tokens = self._limits.profile, self._limits.memory_tokens
        out = []
        names = list(told)
        memories = [dict(zip(names, row, strict=True)) for row in zip(*told.values(), strict=True)]
        for i, agent in enumerate(agents.tolist()):
            bio, persona = texts["bio"][i], texts["persona"][i]
            about = self._render(
                "agent.j2",
                name=self._pages.name(agent),
                followers=followers[i],
                following=following[i],
                bio=quote(bio, limit) if bio else None,
                persona=quote(persona, limit) if persona else None,
                memory=recollect(self._pages, memories[i], hidden[i], seen[i], tokens),
            )
            out.append((about, max(0, len(persona or bio or "") - limit)))
        return out

    def _seen(self, agents: I32, feeds: Observations | None) -> list[list[int]]:
        """Return posts seen lately and not in the feed, newest first, that the agent may still see."""
        world = self._world
        recent = world.seen.recent(agents)[:, : 4 * SEEN_MENTIONED]
        row = np.repeat(np.arange(len(agents)), recent.shape[1])
        posts = recent.ravel()
        known = posts >= 0
        row, posts = row[known], posts[known]
        visible = self._ctx.base.visible(agents[row], posts) if len(posts) else np.zeros(0, np.bool_)
        out: list[dict[int, None]] = [{} for _ in range(len(agents))]
        current: list[set[int]] = [set() for _ in range(len(agents))]
        if feeds is not None:
            roots, bounds = world.posts["root"][feeds.feeds.post_ids].tolist(), feeds.feeds.offsets.tolist()
            current = [set(roots[a:b]) for a, b in pairwise(bounds)]
        for i, post_id in zip(row[visible].tolist(), posts[visible].tolist(), strict=True):
            if post_id not in current[i] and len(out[i]) < SEEN_MENTIONED:
                out[i][post_id] = None
        return [list(each) for each in out]

    def _feed(self, rows: _Rows, i: int, heading: str) -> _Feed:
        """Return an agent's feed as text; one that many see is made once."""
        posts, warned, under, comments = rows.of(i)
        key = (tuple(posts), tuple(warned), tuple(under), tuple(comments)) if rows.shared else None
        if key in self._feeds:
            return self._feeds[key]
        tokens = self._limits.shared_tokens if rows.shared else self._limits.feed_tokens
        room = Room(tokens, self._limits.text, len(posts), max(under, default=0))
        found = [self._pages.post_line(p, room.post, warns) for p, warns in zip(posts, warned, strict=True)]
        cut = sum(lost for _, lost, _ in found)
        shown = Shown()
        if comments or len(set(posts)) < len(posts):
            lines = []
            at = 0
            for post_id, (line, _, user), count in zip(posts, found, under, strict=True):
                lines.append(f"{shown.add(TargetKind.POST, post_id, user)} {line}")
                for comment_id in comments[at : at + min(count, room.comments)]:
                    comment = self._pages.comment(comment_id)
                    line, lost = self._pages.comment_line(comment_id, room.comment)
                    lines.append(f"{shown.add(TargetKind.COMMENT, comment_id, comment.author, comment.post)} {line}")
                    cut += lost
                at += count
        else:
            numbers = shown.add_all(TargetKind.POST, posts, [user for _, _, user in found])
            lines = [f"{n} {line}" for n, (line, *_) in zip(numbers, found, strict=True)]
        feed = _Feed(self._render("feed.j2", heading=heading, lines=lines), shown, cut)
        if key is not None:
            self._feeds[key] = feed
        return feed

    def _own_part(self, agent: int, marks: Sequence[tuple[str, list[int]]], shown: Shown) -> str:
        """Return what the agent has to do with the posts shown, its groups, and what is on sale."""
        lines: list[str] = []
        for words, posts in marks:
            lines += _posts(words, posts, shown)
        if self._groups_exist:
            lines += self._groups(agent, shown)
        if self._shop_exists:
            lines += self._products(shown)
        return "\n".join(lines)

    def _standing(self, agent: int, posts: list[int], shown: Shown) -> list[str]:
        """Return which of the posts found are the agent's own or voted on, as `_own_part` does of the feed."""
        world, ids = self._world, np.array(posts, np.int32)
        root = world.posts["root"][ids]
        vote = world.post_reactions.values(np.full(len(ids), agent, np.int32), root)
        own = (world.posts["author"][ids] == agent) | (world.posts["author"][root] == agent)
        about = (("Written by you", own), ("Liked by you", vote > 0), ("Disliked by you", vote < 0))
        lines: list[str] = []
        for words, mask in about:
            lines += _posts(words, ids[mask].tolist(), shown)
        return lines

    def _groups(self, agent: int, shown: Shown) -> list[str]:
        world = self._world
        ids = np.arange(len(world.groups), dtype=np.int32)
        member = world.group_members.contains(ids, np.full(len(ids), agent, np.int32))
        others = ids[~member][::-1]
        chosen = np.sort(np.concatenate([ids[member][::-1][:GROUPS_SHOWN], others])[:GROUPS_SHOWN])
        names = self._pages.texts(world.groups["name"][chosen])
        lines = []
        for group, name in zip(chosen.tolist(), names, strict=True):
            number = shown.add(TargetKind.GROUP, group)
            yours = ", you are a member" if member[group] else ""
            lines.append(f"{number} group {quote(name, 60)} ({world.groups['members'][group]} members{yours})")
        return lines

    def _products(self, shown: Shown) -> list[str]:
        products = self._world.products
        chosen = np.flatnonzero(products["stock"] != 0)[:PRODUCTS_SHOWN].astype(np.int32)
        names = self._pages.texts(products["text"][chosen])
        return [
            f"{shown.add(TargetKind.PRODUCT, product)} product {quote(name, 60)} for {products['price'][product]:.2f}"
            for product, name in zip(chosen.tolist(), names, strict=True)
        ]


class _Rows:
    """The rows of observations as lists, which are faster to take apart than arrays.

    Attributes
    ----------
    shared : bool
        Whether all see the same list.
    """

    def __init__(self, observations: Observations) -> None:
        feeds = observations.feeds
        self.shared = feeds.shared
        self._bounds, self._posts = feeds.offsets.tolist(), feeds.post_ids.tolist()
        self._warned = ((observations.flags & RowFlag.WARNED) != 0).tolist()
        self._under = np.diff(observations.comment_offsets).tolist()
        self._first_comment, self._comments = observations.comment_offsets.tolist(), observations.comment_ids.tolist()

    def of(self, i: int) -> tuple[list[int], list[bool], list[int], list[int]]:
        """Return the posts of a feed, whether each is warned of, how many comments are under each, and these."""
        first, last = self._bounds[i], self._bounds[i + 1]
        comments = self._comments[self._first_comment[first] : self._first_comment[last]] if self._comments else []
        return self._posts[first:last], self._warned[first:last], self._under[first:last], comments


@dataclass(frozen=True, slots=True)
class _Feed:
    """A feed as text, what its numbers stand for, and how many characters it leaves out."""

    text: str
    shown: Shown
    cut: int


class Room:
    """How long the texts of a feed may be: posts get twice a comment's share.

    Comments are left out, from the last under each post, rather than that a text gets less than `SHORTEST_TEXT`.

    Parameters
    ----------
    tokens : int
        Estimated, of the whole feed.
    most : int
        Characters of a text at most.
    posts, comments : int
        Posts of the feed, and comments under one of them at most.

    Attributes
    ----------
    post, comment : int
        Characters of a text.
    comments : int
        Comments shown under a post.
    """

    def __init__(self, tokens: int, most: int, posts: int, comments: int) -> None:
        room = tokens / max(posts, 1) - AROUND_POST
        fits = int((room - 2 * SHORTEST_TEXT) // (AROUND_COMMENT + SHORTEST_TEXT))
        self.comments = max(0, min(comments, fits))
        share = (room - self.comments * AROUND_COMMENT) / (2 + self.comments)
        self.comment = min(most, int(max(SHORTEST_TEXT, share) * CHARACTERS_PER_TOKEN))
        self.post = min(most, int(max(SHORTEST_TEXT, 2 * share) * CHARACTERS_PER_TOKEN))


def _marks(observations: Observations) -> list[list[tuple[str, list[int]]]]:
    """Return what each agent has to do with the posts of its feed: words and posts."""
    offsets, posts = observations.feeds.offsets, observations.feeds.post_ids
    found: list[list[tuple[str, list[int]]]] = [[] for _ in observations.agent_ids]
    for flag, words in _STANDINGS:
        at = np.flatnonzero(observations.flags & flag)
        agent = np.searchsorted(offsets, at, side="right") - 1
        who, begins = np.unique(agent, return_index=True)
        for i, part in zip(who.tolist(), np.split(posts[at], begins[1:]), strict=True) if len(who) else ():
            found[i].append((words, part.tolist()))
    return found


def _posts(words: str, posts: Sequence[int], shown: Shown) -> list[str]:
    """Return a line about posts by their numbers, none where there are none."""
    return [f"{words}: {', '.join(str(shown.line(TargetKind.POST, p)) for p in posts)}."] if posts else []
