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

from oasis.actions import READ_ACTIONS, Outcome, TargetKind
from oasis.agents.memory import Memory
from oasis.agents.prompting.feeds import FeedRows, FeedWriter
from oasis.agents.prompting.options import Choice, Options, said
from oasis.agents.prompting.own import Own, marks
from oasis.agents.prompting.pages import Pages
from oasis.agents.prompting.quoting import quote
from oasis.agents.prompting.recollection import TOLD, concealed, read_memories, recollect
from oasis.agents.prompting.renaming import NOTHING_RENAMED, Renaming
from oasis.agents.prompting.standing import Shown, candidates
from oasis.agents.prompting.templates import Templates
from oasis.interfaces import Observations, PolicyContext, Views
from oasis.world.world import World

__all__ = ["Conversation", "Limits", "Stage"]

I32 = npt.NDArray[np.int32]

SEEN_MENTIONED = 5


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
        self._pages = Pages(ctx.world, ctx.base.step, ctx.base.clock.step_minutes, ctx.base.show_scores, renaming)
        self._feeds = FeedWriter(self._pages, templates.render, limits.text, limits.shared_tokens, limits.feed_tokens)
        self._own = Own(ctx, self._pages)

    def begin(self, observations: Observations, system: str) -> list[Conversation]:
        """Return a conversation for each observed agent."""
        agents, feeds = observations.agent_ids, observations.feeds
        self._pages.read_posts(feeds.post_ids)
        self._pages.read_comments(observations.comment_ids)
        abouts = self.abouts(agents, observations)
        time = self._ctx.base.clock.time(self._ctx.base.step).strftime("It is %A, %H:%M UTC.")
        heading = f"{time}\n{'FRONT PAGE:' if feeds.shared else 'YOUR FEED:'}"
        rules = "system", system
        rows, marked = FeedRows(observations), marks(observations)
        out = []
        for i, agent in enumerate(agents.tolist()):
            feed = self._feeds.feed(rows, i, heading)
            shown = feed.shown.copy() if feeds.shared else feed.shown
            own = self._own.of_feed(agent, marked[i], shown)
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
            room = self._feeds.room(len(posts))
            lines = []
            made = self._pages.post_lines(room.post)
            for post_id in posts:
                line, cut, user = made[post_id]
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
            standing = self._own.of_found(c.agent_id, posts, c.shown)
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
        texts, n = self._pages.texts(np.concatenate([users["bio"][agents], users["persona"][agents]])), len(agents)
        self._pages.read_users(agents)
        memory = self._memory.get(agents)
        memories = list(zip(*(memory[name].tolist() for name in TOLD), strict=True))
        seen = self._seen(agents, feeds)
        hidden = concealed(world, self._ctx.base.visible, agents, memory).tolist()
        read_memories(self._pages, memory, np.array([p for each in seen for p in each], np.int32))
        followers = (users["followers"][agents] + users["base_followers"][agents]).tolist()
        following = users["following"][agents].tolist()
        limit, tokens = self._limits.profile, self._limits.memory_tokens
        out = []
        for i, agent in enumerate(agents.tolist()):
            bio, persona = texts[i], texts[n + i]
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
        row, column = np.nonzero((recent >= 0) & ~_in_feed(recent, feeds, world.posts["root"]))
        posts = recent[row, column]
        visible = self._ctx.base.visible(agents[row], posts) if len(posts) else np.zeros(0, np.bool_)
        seen, ends = posts[visible].tolist(), np.searchsorted(row[visible], np.arange(len(agents) + 1)).tolist()
        return [list(dict.fromkeys(seen[a:b]))[:SEEN_MENTIONED] for a, b in pairwise(ends)]


def _in_feed(recent: I32, observations: Observations | None, roots: I32) -> npt.NDArray[np.bool_]:
    """Return which posts, shape (n, width), each agent's feed holds too, as themselves or reposted."""
    if observations is None:
        return np.zeros(recent.shape, np.bool_)
    offsets, posts = observations.feeds.offsets, observations.feeds.post_ids
    lengths = np.diff(offsets)
    column = np.arange(len(posts)) - np.repeat(offsets[:-1], lengths)
    shown = np.full((len(recent), int(lengths.max(initial=0))), -1, np.int32)
    shown[np.repeat(np.arange(len(recent)), lengths), column] = roots[posts]
    found: npt.NDArray[np.bool_] = (recent[:, :, None] == shown[:, None, :]).any(axis=2)
    return found
