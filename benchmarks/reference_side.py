"""The reference's side of `reference.py`, run by the Python that has `camel-oasis`: the script through its public API.

``python benchmarks/reference_side.py SCRIPT agents|direct ROWS`` in an empty folder; JSON on the last line of stdout.

`agents` is what its documentation shows: `SocialAgent`s whose `ManualAction`s are performed by ``env.step``. `direct`
calls the methods of its `Platform`, without agents, channel and loop. Both keep its SQLite database on disk. The
language model is the stub of `camel-ai`, which nobody asks; the recommender is the one that does least, `random`.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import sys
import time
from typing import Any

from camel.models.stub_model import StubModel
from camel.types import ModelType

from oasis import ActionType, AgentGraph, ManualAction, Platform, SocialAgent, UserInfo, make
from oasis.social_platform.channel import Channel

ROWS_BETWEEN_TIMES = 200
DATABASE = "reference.db"
Row = tuple[int, str, int, str]  # agent, kind, number of a post of the setup or of a user, text


def arguments_of(kind: str, target: int, text: str) -> dict[str, Any]:
    """Return the arguments of an action, by its names; posts are numbered from 1 there."""
    return {
        "create_post": {"content": text},
        "like_post": {"post_id": target + 1},
        "repost": {"post_id": target + 1},
        "create_comment": {"post_id": target + 1, "content": text},
        "follow": {"followee_id": target},
    }[kind]


def message_of(kind: str, target: int, text: str) -> Any:
    """Return the one argument beside the agent that a method of `Platform` takes."""
    values = tuple(arguments_of(kind, target, text).values())
    return values if len(values) > 1 else values[0]


def counts(platform: Platform) -> dict[str, int]:
    """Return how many actions of each kind its trace holds: those that it accepted."""
    platform.db_cursor.execute("SELECT action, COUNT(*) FROM trace GROUP BY action")
    return dict(platform.db_cursor.fetchall())


def column(platform: Platform, query: str) -> list[int]:
    """Return the one column of a query."""
    platform.db_cursor.execute(query)
    return [row[0] for row in platform.db_cursor.fetchall()]


async def set_up(platform: Platform, first: int, agents: int, posts: int) -> None:
    """Sign up the agents from `first` on, and let the first ones write a post each."""
    for agent in range(first, agents):
        await platform.sign_up(agent, (f"user{agent}", f"Name {agent}", "I like rain"))
    for agent in range(posts):
        await platform.create_post(agent, f"post {agent}")


class Times:
    """Wall and CPU seconds so far, after so many rows."""

    def __init__(self) -> None:
        self.marks: list[tuple[int, float, float]] = []
        self.mark(0)

    def mark(self, rows: int) -> None:
        """Note the time."""
        self.marks.append((rows, time.perf_counter(), time.process_time()))

    def rate(self, first: int, last: int) -> float:
        """Return rows a second between two marks."""
        (rows, start, _), (until, end, _) = self.marks[first], self.marks[last]
        return (until - rows) / (end - start)


async def direct(platform: Platform, rows: list[Row]) -> Times:
    """Call the platform's methods one after another."""
    calls = [(getattr(platform, kind), agent, message_of(kind, target, text)) for agent, kind, target, text in rows]
    times = Times()
    for number, (method, agent, message) in enumerate(calls, 1):
        await method(agent, message)
        if number % ROWS_BETWEEN_TIMES == 0 or number == len(calls):
            times.mark(number)
    return times


async def through_agents(environment: Any, rows: list[Row]) -> Times:
    """Perform steps of some agents each, all their actions in one step."""
    agents = dict(environment.agent_graph.get_agents())
    steps: list[dict[Any, list[ManualAction]]] = []
    for start in range(0, len(rows), ROWS_BETWEEN_TIMES):
        step: dict[Any, list[ManualAction]] = {}
        for agent, kind, target, text in rows[start : start + ROWS_BETWEEN_TIMES]:
            step.setdefault(agents[agent], []).append(ManualAction(ActionType(kind), arguments_of(kind, target, text)))
        steps.append(step)
    times, done = Times(), 0
    for step in steps:
        await environment.step(step)
        done += sum(map(len, step.values()))
        times.mark(done)
    return times


async def run(script: dict[str, Any], way: str, rows: list[Row]) -> dict[str, Any]:
    """Set up, perform the rows, and return what they took and did."""
    channel = Channel()
    platform = Platform(DATABASE, channel, recsys_type="random", allow_self_rating=True)
    recommending = 0.0
    start = time.perf_counter()
    if way == "direct":
        await set_up(platform, 0, script["agents"], script["posts"])
        prepared = time.perf_counter() - start
        before = counts(platform)
        times = await direct(platform, rows)
    else:
        graph, model = AgentGraph(), StubModel(model_type=ModelType.STUB)
        acting = max(row[0] for row in rows) + 1
        for agent in range(acting):
            info = UserInfo(user_name=f"user{agent}", name=f"Name {agent}", description="", recsys_type="twitter")
            graph.add_agent(SocialAgent(agent, info, model=model, agent_graph=graph, channel=channel))
        environment = make(agent_graph=graph, platform=platform, database_path=DATABASE)
        await environment.reset()
        await set_up(platform, acting, script["agents"], script["posts"])
        prepared = time.perf_counter() - start
        before = counts(platform)
        update = platform.update_rec_table

        async def timed() -> None:
            nonlocal recommending
            began = time.perf_counter()
            await update()
            recommending += time.perf_counter() - began

        platform.update_rec_table = timed
        times = await through_agents(environment, rows)
    accepted = {kind: number - before.get(kind, 0) for kind, number in counts(platform).items()}
    posts = script["posts"]
    result = {
        "rows": len(rows),
        "prepared_s": prepared,
        "wall_s": times.marks[-1][1] - times.marks[0][1],
        "cpu_s": times.marks[-1][2] - times.marks[0][2],
        "recommending_s": recommending,
        "first_rate": times.rate(0, max(1, len(times.marks) // 10)),
        "last_rate": times.rate(-1 - max(1, len(times.marks) // 10), -1),
        "accepted": {kind: number for kind, number in accepted.items() if number},
        "likes": column(platform, f"SELECT num_likes FROM post WHERE post_id <= {posts} ORDER BY post_id"),
        "reposts": column(platform, f"SELECT num_shares FROM post WHERE post_id <= {posts} ORDER BY post_id"),
        "followers": column(platform, "SELECT num_followers FROM user ORDER BY user_id"),
        "versions": {name: importlib.metadata.version(name) for name in ("camel-oasis", "camel-ai")},
        "python": sys.version.split()[0],
    }
    if way == "agents":
        await environment.close()
    return result


def main() -> None:
    """Measure one way and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script")
    parser.add_argument("way", choices=["agents", "direct"])
    parser.add_argument("rows", type=int)
    arguments = parser.parse_args()
    with open(arguments.script, encoding="utf-8") as file:
        script = json.load(file)
    rows = [tuple(row) for row in script["rows"][: arguments.rows]]
    print(json.dumps(asyncio.run(run(script, arguments.way, rows))))


if __name__ == "__main__":
    main()
