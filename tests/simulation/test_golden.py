"""One tiny seeded run per platform and recommender, as it was when last looked at.

A difference means that the same scenario and seed now give another run: say so in the changelog, then rewrite
the file with ``OASIS_UPDATE_GOLDEN=1 pytest tests/simulation/test_golden.py``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from oasis import Scenario, Simulation
from oasis.plugins import available
from oasis.simulation import StepResult
from oasis.world.store import digest_table

GOLDEN = Path(__file__).with_name("golden.json")
CASES = [f"{platform} {recommender}" for platform in ("x", "reddit") for recommender in available("recommenders")]


def _run(case: str) -> dict[str, Any]:
    platform, recommender = case.split()
    scenario = Scenario.from_dict(
        {
            "simulation": {"steps": 5, "seed": 11},
            "platform": {"kind": platform},
            "recsys": {"kind": recommender, "embedder": "hashed-ngrams"},
            "population": {"agents": 80, "mean_active": 0.4, "history": 2},
            "interventions": [{"step": 2, "kind": "post", "author": 1, "content": "News", "likes": 5}],
        }
    )
    results: list[StepResult] = []
    Simulation(scenario).run_sync(results.append)
    counts = {
        key: sum(int(result.metrics[key]) for result in results)
        for key in sorted(results[0].metrics)
        if key.startswith("accepted_") or key in ("active", "impressions", "rejected")
    }
    # Probabilities are left out: their last bit may be another on another machine.
    events = [digest_table(result.events.drop_columns(["probability"])).hex()[:16] for result in results]
    return {"counts": counts, "events": events}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    found = _run(case)
    if os.environ.get("OASIS_UPDATE_GOLDEN"):
        golden[case] = found
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    assert golden.get(case) == found
