"""The same scripted actions applied by `camel-oasis` and by us: rates, ratio, and that it was the same; JSON on stdout.

``python benchmarks/reference.py --reference-python PATH [--agents 10000] [--actions 20000] [--agent-actions 4000]``

`camel-oasis` lives in an environment of its own, since its package is named `oasis` too:

    python3 -m venv camel
    camel/bin/pip install torch==2.13.0 camel-oasis==0.2.5 'mcp<2'

Then PATH is ``camel/bin/python``. (`mcp` 2 breaks its import; torch is named so that an index of CPU builds can serve
it.) One seed makes one script: turns of four actions of each agent, likes, comments, reposts, posts and follows, some
of them repeated, which both must refuse. The reference performs the first `--agent-actions` of it through agents, as
its users do, and the first `--actions` by direct calls of its platform (`reference_side.py`); we commit the same rows.
Counts of accepted actions by kind and the likes, reposts and followers of each post and user must be equal; else the
exit code is 1. Sign-ups, first posts and making agents are not in any rate. Takes under three minutes.
"""

from __future__ import annotations

import argparse
import json
import platform as machine
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from oasis.actions import Action, ActionBatch, Outcome
from oasis.kernels.threads import available
from oasis.platforms.x import X
from oasis.runs.provenance import code_revision
from oasis.simulation.commit import commit
from oasis.testing.invariants import check_invariants
from oasis.testing.worlds import small_world, step_context
from oasis.world.world import World

TURN = 4
"""Actions that an agent takes at a time."""
STEP = 10_000
"""Rows that we commit at a time."""
MIX = {"like_post": 44, "create_comment": 15, "repost": 15, "create_post": 14, "follow": 12}
REPEATED = 0.03
INSTALL = "python3 -m venv camel && camel/bin/pip install torch==2.13.0 camel-oasis==0.2.5 'mcp<2'"
SIDE = Path(__file__).with_name("reference_side.py")


def make_script(agents: int, actions: int, posts: int, seed: int) -> dict[str, Any]:
    """Return ``{"agents", "posts", "rows"}``; a row is (agent, kind, target, text).

    Targets are posts of the setup (post i is by agent i) or agents, popular ones more often, so that the order in which
    agents come changes no outcome.
    """
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(MIX), actions, p=np.array(list(MIX.values())) / sum(MIX.values()))
    skewed = rng.random(actions) ** 2
    rows: list[tuple[int, str, int, str]] = []
    for i, kind in enumerate(kinds.tolist()):
        agent = i // TURN % agents
        target = int(skewed[i] * (agents if kind == "follow" else posts))
        if kind == "follow" and target == agent:
            target = (agent + 1) % agents
        text = f"what I think of number {i} today" if kind.startswith("create") else ""
        again = i % TURN and rng.random() < REPEATED
        rows.append(rows[-1] if again else (agent, kind, target, text))
    return {"agents": agents, "posts": posts, "rows": rows}


def our_world(script: dict[str, Any]) -> tuple[World, X, np.ndarray]:
    """Return a world after the setup, and the ids of its posts by author."""
    world, platform, posts = small_world(script["agents"], 0, follows=0), X(), script["posts"]
    first = ActionBatch.build(np.arange(posts), int(Action.CREATE_POST), content=[f"post {i}" for i in range(posts)])
    batch, applied, _ = commit(world, platform, first, step_context(world, platform))
    world.step += 1
    ids = np.empty(posts, np.int32)
    ids[batch.agent_id] = applied.created_id
    return world, platform, ids


def our_batches(rows: list[Any], ids: np.ndarray) -> list[ActionBatch]:
    """Return the rows as batches of a step each."""
    batches = []
    for start in range(0, len(rows), STEP):
        agents, kinds, targets, texts = zip(*rows[start : start + STEP], strict=True)
        codes = np.array([Action[kind.upper()] for kind in kinds])
        target = np.array(targets)
        on_post = np.isin(codes, [Action.LIKE_POST, Action.REPOST, Action.CREATE_COMMENT])
        target[on_post] = ids[target[on_post]]
        target[codes == Action.CREATE_POST] = -1
        content = [text or None for text in texts]
        batches.append(ActionBatch.build(agents, codes, target_id=target, content=content))
    return batches


def ours(script: dict[str, Any], count: int, repeats: int = 5) -> dict[str, Any]:
    """Apply the first `count` rows; return the median of several worlds (the first, which compiles, is left out)."""
    times = []
    for _ in range(repeats + 1):
        world, platform, ids = our_world(script)
        batches = our_batches(script["rows"][:count], ids)
        accepted = np.zeros(max(Action) + 1, np.int64)
        wall, cpu = 0.0, 0.0
        for batch in batches:
            ctx = step_context(world, platform)
            start, start_cpu = time.perf_counter(), time.process_time()
            batch, applied, _ = commit(world, platform, batch, ctx)
            wall += time.perf_counter() - start
            cpu += time.process_time() - start_cpu
            world.step += 1
            accepted += np.bincount(batch.action[applied.outcome == Outcome.ACCEPTED], minlength=len(accepted))
        times.append((wall, cpu))
    check_invariants(world)
    wall, cpu = np.median(times[1:], axis=0).tolist()
    return {
        "rows": count,
        "wall_s": wall,
        "cpu_s": cpu,
        "accepted": {Action(code).label: int(accepted[code]) for code in np.flatnonzero(accepted)},
        "likes": world.posts["likes"][ids].tolist(),
        "reposts": world.posts["reposts"][ids].tolist(),
        "followers": world.users["followers"].tolist(),
    }


def reference(python: str, script: Path, way: str, count: int) -> dict[str, Any]:
    """Run `reference_side.py` in an empty folder and return what it measured."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, str(SIDE.resolve()), str(script), way, str(count)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"HOME": folder})
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compared(theirs: dict[str, Any], our: dict[str, Any]) -> dict[str, Any]:
    """Return the rates of both sides, their ratio, and whether they did the same."""
    acting = theirs["wall_s"] - theirs["recommending_s"]
    same = all(theirs[name] == our[name] for name in ("accepted", "likes", "reposts", "followers"))
    return {
        "actions": theirs["rows"],
        "same": same,
        "accepted": our["accepted"],
        "accepted_by_reference": theirs["accepted"],
        "reference_per_s": theirs["rows"] / acting,
        "reference_per_s_with_recommending": theirs["rows"] / theirs["wall_s"],
        "reference_per_cpu_s": theirs["rows"] / theirs["cpu_s"],
        "reference_first_tenth_per_s": theirs["first_rate"],
        "reference_last_tenth_per_s": theirs["last_rate"],
        "reference_prepared_s": theirs["prepared_s"],
        "ours_per_s": our["rows"] / our["wall_s"],
        "ours_per_cpu_s": our["rows"] / our["cpu_s"],
        "ratio": acting / our["wall_s"],
        "ratio_of_cpu": theirs["cpu_s"] / our["cpu_s"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference-python", metavar="PATH", help="the Python that has camel-oasis")
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--actions", type=int, default=20_000, help="rows by direct calls")
    parser.add_argument("--agent-actions", type=int, default=4_000, help="rows through agents")
    parser.add_argument("--posts", type=int, default=2_000, help="posts that exist before")
    arguments = parser.parse_args()
    if not arguments.reference_python:
        parser.error(f"--reference-python PATH is needed: the Python of an environment made so:\n  {INSTALL}")
    script = make_script(arguments.agents, max(arguments.actions, arguments.agent_actions), arguments.posts, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "script.json"
        path.write_text(json.dumps(script), "utf-8")
        ways = {"through agents": ("agents", arguments.agent_actions), "direct calls": ("direct", arguments.actions)}
        theirs = {name: reference(arguments.reference_python, path, way, count) for name, (way, count) in ways.items()}
    results = {name: compared(side, ours(script, side["rows"])) for name, side in theirs.items()}
    whole = {
        "benchmark": "reference",
        "machine": machine.processor() or machine.machine(),
        "python": machine.python_version(),
        "revision": code_revision(),
        "threads": available(),
        "reference": theirs["through agents"]["versions"] | {"python": theirs["through agents"]["python"]},
        "agents": arguments.agents,
        "same": all(result["same"] for result in results.values()),
        "ratio": results["through agents"]["ratio"],
        **results,
    }
    print(json.dumps(whole, indent=2))
    sys.exit(0 if whole["same"] else 1)


if __name__ == "__main__":
    main()
