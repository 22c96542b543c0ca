"""Platform actions applied per second, observation and reading times, as JSON on stdout.

``python benchmarks/platform_actions.py [--agents 10000] [--rounds 12] [--batch 50000]``

Actions are those of agents that behave: a third votes, a fifth writes, the rest repost, follow, mute, search or do
nothing. Applied is: judged, counted, its text stored. Measured are rounds of one action of every agent, rounds of
`--batch` agents of all (a step of a run; five times as many), and both with X's default actions only. The tables
grow all the while.
Recording is not part of it (see the run's own benchmarks).
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
from oasis.kernels.threads import available
from oasis.platforms.x import X
from oasis.runs.provenance import code_revision
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


def batch_of(world: World, rng: np.random.Generator, n: int, mix: dict[Action, int]) -> ActionBatch:
    """Return one action each of `n` agents on targets that exist, popular ones more often."""
    registered = len(world.users)
    agents = np.arange(n) if n == registered else np.sort(rng.choice(registered, n, replace=False))
    action = rng.choice(np.array(list(mix), np.int16), n, p=np.array(list(mix.values())) / sum(mix.values()))
    target = np.full(n, -1, np.int32)
    batch = ActionBatch.build(agents, action, content=[f"what I think of number {i} today" for i in range(n)])
    for kind, length in ((1, len(world.posts)), (2, len(world.comments)), (3, registered), (5, len(world.groups))):
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


def apply_rounds(world: World, n: int, mix: dict[Action, int], rounds: int) -> dict[str, object]:
    """Return how fast rounds of `n` actions were applied, three rounds to warm up not counted."""
    rng = np.random.default_rng(1)
    platform = X(tuple(mix))
    seconds, cpu, outcomes, kinds = [], [], [], []
    for _ in range(rounds + 3):
        ctx = step_context(world, platform)
        batch = batch_of(world, rng, n, mix)
        start, start_cpu = time.perf_counter(), time.process_time()
        batch, applied, _ = commit(world, platform, batch, ctx)
        cpu.append(time.process_time() - start_cpu)
        seconds.append(time.perf_counter() - start)
        outcomes.append(applied.outcome)
        kinds.append(batch.action)
        world.step += 1
    accepted = np.concatenate(outcomes) == Outcome.ACCEPTED
    by_kind = np.bincount(np.concatenate(kinds)[accepted], minlength=max(Action) + 1)
    steady = seconds[3:]
    return {
        "actions_a_round": n,
        "rounds": rounds,
        "actions_per_s": n * rounds / sum(steady),
        "best_actions_per_s": n / min(steady),
        "median_actions_per_s": n / float(np.median(steady)),
        "median_round_s": float(np.median(steady)),
        "actions_per_cpu_s": n * rounds / sum(cpu[3:]),
        "accepted_share": float(accepted.mean()),
        "accepted": {Action(code).label: int(by_kind[code]) for code in np.flatnonzero(by_kind)},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--posts", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batch", type=int, default=50_000, help="actions of a round in which not all agents act")
    parser.add_argument("--observe-agents", type=int, default=50_000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    world = small_world(arguments.agents, arguments.posts, 1)
    mixes = {"all kinds": MIX, "x defaults": {kind: MIX[kind] for kind in X.default_actions}}
    sizes = {arguments.agents: arguments.rounds, min(arguments.batch, arguments.agents): 5 * arguments.rounds}
    applied = [
        {"actions": name, **apply_rounds(world, n, mix, rounds)}
        for name, mix in mixes.items()
        for n, rounds in sizes.items()
    ]
    check_invariants(world)

    platform = X(USER_ACTIONS)
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
        "revision": code_revision(),
        "machine": machine.processor() or machine.machine(),
        "threads": available(),
        "python": machine.python_version(),
        "applied": applied,
        "posts_at_end": len(world.posts),
        "observe_agents": n,
        "observe_rows": 10 * n,
        "observe_s": best_of(3, lambda: platform.observe(world, agents, feeds, ctx)),
        "search_1000_requests_s": best_of(3, lambda: platform.read(world, requests, ctx)),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
