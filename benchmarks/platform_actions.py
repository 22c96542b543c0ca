"""Platform actions applied per second, observation and reading times, as JSON on stdout.

``python benchmarks/platform_actions.py [--agents 10000] [--rounds 30]``

Actions are those of agents that behave: a third votes, a fifth writes, the rest repost, follow, mute, search or do
nothing. A round is one action of every agent. Recording is not part of it (see the run's own benchmarks).
"""

from __future__ import annotations

import argparse
import json
import platform as machine
import time
from collections.abc import Callable

import numpy as np

from oasis.actions import USER_ACTIONS, Action, ActionBatch, Outcome
from oasis.interfaces import Feeds
from oasis.platforms.x import X
from oasis.simulation.commit import commit
from oasis.testing.invariants import check_invariants
from oasis.testing.worlds import small_world, step_context
from oasis.world.world import World

MIX = {
    Action.LIKE_POST: 30,
    Action.DISLIKE_POST: 5,
    Action.UNLIKE_POST: 2,
    Action.CREATE_POST: 8,
    Action.CREATE_COMMENT: 10,
    Action.QUOTE_POST: 3,
    Action.REPOST: 12,
    Action.FOLLOW: 8,
    Action.UNFOLLOW: 1,
    Action.MUTE: 1,
    Action.REPORT_POST: 1,
    Action.LIKE_COMMENT: 6,
    Action.DISLIKE_COMMENT: 1,
    Action.CREATE_GROUP: 1,
    Action.JOIN_GROUP: 1,
    Action.SEND_TO_GROUP: 1,
    Action.DO_NOTHING: 9,
}


def batch_of(world: World, rng: np.random.Generator) -> ActionBatch:
    """Return one action per agent on targets that exist, popular ones more often."""
    n = len(world.users)
    action = rng.choice(np.array(list(MIX), np.int16), n, p=np.array(list(MIX.values())) / sum(MIX.values()))
    target = np.full(n, -1, np.int32)
    batch = ActionBatch.build(np.arange(n), action, content=[f"what I think of number {i} today" for i in range(n)])
    for kind, length in ((1, len(world.posts)), (2, len(world.comments)), (3, n), (5, len(world.groups))):
        rows = np.flatnonzero(batch.target_kind == kind)
        target[rows] = (length * rng.random(len(rows)) ** 2).astype(np.int32)
    batch.target_id = target
    return batch


def best_of(times: int, work: Callable[[], object]) -> float:
    """Return the shortest wall-clock time of several calls, in seconds."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--posts", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--observe-agents", type=int, default=50_000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    platform = X(USER_ACTIONS)
    world = small_world(arguments.agents, arguments.posts, 1)

    seconds, accepted = [], 0
    for _ in range(arguments.rounds + 3):
        ctx = step_context(world, platform)
        batch = batch_of(world, rng)
        start = time.perf_counter()
        _, applied, _ = commit(world, platform, batch, ctx)
        seconds.append(time.perf_counter() - start)
        accepted += int(np.count_nonzero(applied.outcome == Outcome.ACCEPTED))
        world.step += 1
    check_invariants(world)
    steady = seconds[3:]

    ctx = step_context(world, platform)
    n = min(arguments.observe_agents, 5 * arguments.agents)
    agents = np.sort(rng.integers(0, len(world.users), n)).astype(np.int32)
    shown = rng.integers(0, len(world.posts), 10 * n).astype(np.int32)
    feeds = Feeds(np.arange(0, 10 * n + 1, 10), shown, rng.random(10 * n, np.float32), np.zeros(10 * n, np.uint8))
    words = ["rain", "coffee garden", "number", "election vaccine"]
    requests = ActionBatch.build(
        agents[:1000], int(Action.SEARCH_POSTS), content=[words[i % 4] for i in range(len(agents[:1000]))]
    )
    platform.read(world, requests, ctx)
    result = {
        "benchmark": "platform_actions",
        "agents": arguments.agents,
        "rounds": arguments.rounds,
        "actions": arguments.agents * arguments.rounds,
        "accepted_share": accepted / (arguments.agents * (arguments.rounds + 3)),
        "actions_per_s": arguments.agents * arguments.rounds / sum(steady),
        "median_round_s": float(np.median(steady)),
        "posts_at_end": len(world.posts),
        "observe_agents": n,
        "observe_rows": 10 * n,
        "observe_s": best_of(3, lambda: platform.observe(world, agents, feeds, ctx)),
        "search_1000_requests_s": best_of(3, lambda: platform.read(world, requests, ctx)),
        "python": machine.python_version(),
        "processor": machine.machine(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
