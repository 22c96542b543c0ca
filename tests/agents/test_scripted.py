"""The scripted policy: what the table says, and clear words about what it may not say."""

import asyncio

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oasis import Scenario, Simulation
from oasis.actions import Action
from oasis.agents.script_table import COLUMNS
from oasis.agents.scripted import Scripted
from oasis.errors import ScenarioError
from oasis.testing.policy import PolicyTests, observations_of, policy_context, policy_world

ROWS = [
    {"step": 4, "agent_id": 2, "action": "create_post", "content": "first"},
    {"step": 4, "agent_id": 0, "action": "like_post", "target_id": 1},
    {"step": 4, "agent_id": 2, "action": "search_posts", "content": "rain"},
    {"step": 4, "agent_id": 2, "action": "like_post", "target_id": -2},
    {"step": 5, "agent_id": 1, "action": "follow", "target_id": 3},
    {"step": 4, "agent_id": 7, "action": "do_nothing"},
]


def make(rows):
    return Scripted.from_parameters({"actions": rows})


def decide(policy, world=None):
    world = world or policy_world()
    agents = np.arange(len(world.users), dtype=np.int32)
    return asyncio.run(policy.decide(observations_of(world, agents), policy_context(world))).actions


class TestConformance(PolicyTests):
    acts_on_what_it_sees = False

    def make(self):
        return make([r | {"target_id": 2} if r.get("target_id") == -2 else r for r in ROWS])


class TestNoScript(PolicyTests):
    def make(self):
        return make([])


def test_rows_of_the_step_in_their_order():
    actions = decide(make(ROWS))
    mine = actions.agent_id == 2
    assert actions.action[mine].tolist() == [Action.CREATE_POST, Action.SEARCH_POSTS, Action.LIKE_POST]
    assert actions.target_id[mine].tolist() == [-1, -1, -2]
    assert actions.turn[mine].tolist() == [0, 0, 1]
    assert actions.outcome[mine].tolist() == [-1, 0, -1]
    assert actions.content.take(pa.array(np.flatnonzero(mine))).to_pylist() == ["first", "rain", None]
    assert actions.action[actions.agent_id == 1].tolist() == [Action.DO_NOTHING]
    assert actions.action[actions.agent_id == 7].tolist() == [Action.DO_NOTHING]


def test_csv_and_parquet_give_the_same(tmp_path):
    csv = tmp_path / "script.csv"
    csv.write_text(
        "step,agent_id,action,target_id,content\n4,2,create_post,,first\n4,0,like_post,1,\n"
        "4,2,search_posts,,rain\n4,2,like_post,-2,\n5,1,follow,3,\n4,7,do_nothing,,\n"
    )
    parquet = tmp_path / "script.parquet"
    pq.write_table(pa.table({name: [row.get(name) for row in ROWS] for name in COLUMNS}), parquet)
    wanted = decide(make(ROWS))
    for path in (csv, parquet):
        got = decide(Scripted.from_parameters({"path": str(path)}))
        assert np.array_equal(got.action, wanted.action)
        assert np.array_equal(got.target_id, wanted.target_id)
        assert got.content.equals(wanted.content)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"step": 0, "agent_id": 1, "action": "trend"}, "row 2: step must be a whole number from 1, got 0"),
        ({"step": 1.5, "agent_id": 1, "action": "trend"}, "row 2: step must be a whole number from 1, got 1.5"),
        ({"step": True, "agent_id": 1, "action": "trend"}, "row 2: step must be"),
        ({"step": 1, "agent_id": -1, "action": "trend"}, "row 2: agent_id must be a whole number from 0, got -1"),
        ({"step": 1, "agent_id": "x", "action": "trend"}, "row 2: agent_id must be"),
        ({"step": 1, "agent_id": 1, "action": "like_pst"}, "unknown action 'like_pst' .did you mean 'like_post'"),
        ({"step": 1, "agent_id": 1, "action": "ban"}, "unknown action 'ban'"),
        ({"step": 1, "agent_id": 1, "action": "like_post"}, "row 2: like_post needs target_id, the id of a post"),
        ({"step": 1, "agent_id": 1, "action": "trend", "target_id": 3}, "trend takes no target_id"),
        ({"step": 1, "agent_id": 1, "action": "create_post"}, "row 2: create_post needs content"),
        ({"step": 1, "agent_id": 1, "action": "create_post", "content": " "}, "create_post needs content"),
        ({"step": 1, "agent_id": 1, "action": "follow", "target_id": 2, "content": "x"}, "follow takes no content"),
        ({"step": 1, "agent_id": 1, "action": "follow", "target_id": -1}, "target_id is -1"),
        ({"step": 1, "agent_id": 1, "action": "like_post", "target_id": -2}, "row 2: target_id -2 means"),
        ({"step": 1, "agent_id": 1, "acton": "trend"}, "unknown column 'acton' .did you mean 'action'"),
        ({"step": 1, "agent_id": 1}, "row 2: action is missing"),
    ],
)
def test_bad_rows_are_named(row, message):
    with pytest.raises(ScenarioError, match=message):
        make([ROWS[0], row])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("step,agent_id,action\n1,2,trend\n1,2\n", r"row 2 \(line 3\) has 2 cells, the header has 3"),
        ("step,agent_id,action\n1,--2,trend\n", "row 1: agent_id must be a whole number from 0, got '--2'"),
        ('step,agent_id,action\n1,2,"trend\n', r"row 1 \(up to line 2\): not a CSV row"),
        ("step,agent_id,step,action\n1,2,1,trend\n", "line 1: column 'step' stands twice"),
    ],
)
def test_malformed_files_are_named(tmp_path, text, message):
    path = tmp_path / "script.csv"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=message):
        Scripted.from_parameters({"path": str(path)})


def test_empty_lines_are_no_rows(tmp_path):
    path = tmp_path / "script.csv"
    path.write_text("step,agent_id,action\n\n1,2,trend\n\n")
    assert Scripted.from_parameters({"path": str(path)}).script.agent_id.tolist() == [2]


def test_missing_file_and_missing_table():
    with pytest.raises(ScenarioError, match="nowhere.csv: no such file"):
        Scripted.from_parameters({"path": "nowhere.csv"})
    with pytest.raises(ScenarioError, match="give either actions"):
        Scripted.from_parameters({})
    with pytest.raises(ScenarioError, match="unknown key .did you mean 'actions'"):
        Scripted.from_parameters({"acions": []})


def test_agents_that_are_not_there_or_not_scripted():
    with pytest.raises(ScenarioError, match="row 1: there is no agent 99 at step 4, ids are 0 to 29"):
        decide(make([{"step": 4, "agent_id": 99, "action": "trend"}]))
    world = policy_world()
    world.users["policy"][2] = 1
    with pytest.raises(ScenarioError, match="row 1: agent 2 has another policy"):
        decide(make(ROWS), world)


def test_agents_are_checked_before_a_run(tmp_path):
    def simulation(row, **further):
        row = {"step": 2, "action": "trend", **row}
        policies = [{"kind": "scripted", "select": [0], "parameters": {"actions": [row]}}, {"kind": "choice"}]
        tables = {"simulation": {"steps": 3}, "population": {"agents": 5}, "recsys": {"kind": "random"}}
        return Simulation(Scenario.from_dict({**tables, "policies": policies, **further}), out=tmp_path / "run")

    with pytest.raises(ScenarioError, match=r"policies.0 .scripted.: .*row 1: there is no agent 9 at step 2"):
        simulation({"agent_id": 9})
    with pytest.raises(ScenarioError, match=r"row 1: agent 3 has another policy"):
        simulation({"agent_id": 3})
    assert not (tmp_path / "run").exists()
    simulation({"agent_id": 9}, interventions=[{"step": 1, "kind": "sign_up", "username": "new"}])
    simulation({"agent_id": 0})


async def test_interviews_have_no_value():
    world = policy_world()
    answers = await make(ROWS).interview(np.asarray([3], np.int32), PolicyTests.questions[0], policy_context(world))
    assert np.isnan(answers[0].value)
    assert "script" in answers[0].text
