"""What choice agents write, and what they answer."""

import asyncio

import numpy as np
import pyarrow as pa
import pytest

from oasis.actions import Action, Outcome
from oasis.agents.choice import Choice
from oasis.agents.choice.content import agent_topics, earlier_texts
from oasis.agents.choice.model import _ACTIONS
from oasis.grammar import TOPICS, guess_topics
from oasis.interfaces import Answer, AnswerSource, Question
from oasis.randomness import Draws
from oasis.testing.policy import observations_of, policy_context, policy_world

LIVELY = {action: {"intercept": 0.5} for action in _ACTIONS}
ASTRONOMY, COOKING = TOPICS.index("astronomy"), TOPICS.index("cooking")


def decide(world, **parameters):
    policy = Choice.from_parameters({"coefficients": LIVELY, "max_actions": 50, **parameters})
    agents = np.arange(len(world.users), dtype=np.int32)
    return asyncio.run(policy.decide(observations_of(world, agents), policy_context(world))).actions


def texts(actions, action):
    return actions.content.take(np.flatnonzero(actions.action == action)).to_pylist()


def test_own_posts_from_before_the_run_are_reused():
    world = policy_world(posts=80, step=0)
    actions = decide(world, reuse=1.0)
    wrote = np.flatnonzero(actions.action == Action.CREATE_POST)
    again = wrote[actions.text_id[wrote] >= 0]
    assert len(again) > 5
    owner = dict(zip(world.posts["text"].tolist(), world.posts["author"].tolist(), strict=True))
    assert [owner[t] for t in actions.text_id[again].tolist()] == actions.agent_id[again].tolist()
    assert actions.content.take(again).null_count == len(again)
    new = np.setdiff1d(wrote, again)
    assert actions.content.take(new).null_count == 0
    assert not (decide(world, reuse=0.0).text_id >= 0).any()


def test_later_and_hidden_posts_are_not_reused():
    world = policy_world(posts=80, step=0)
    agents = np.arange(len(world.users), dtype=np.int32)
    before = earlier_texts(world, agents, Draws(1), 1)
    assert (before >= 0).any()
    chosen = np.isin(world.posts["text"], before[before >= 0])
    world.posts["hidden"][chosen] = True
    after = earlier_texts(world, agents, Draws(1), 1)
    assert not np.isin(after[after >= 0], before).any()
    world.posts["step"][:] = 1
    assert (earlier_texts(world, agents, Draws(1), 1) == -1).all()


def test_each_earlier_post_has_the_same_chance():
    world = policy_world(agents=1, posts=12, step=0)
    counts: dict[int, int] = {}
    for step in range(3000):
        text = int(earlier_texts(world, np.asarray([0], np.int32), Draws(1), step)[0])
        counts[text] = counts.get(text, 0) + 1
    options = int(((world.posts["kind"] == 0) & (world.posts["author"] == 0)).sum())
    assert len(counts) == options
    assert max(counts.values()) - min(counts.values()) < 6 * np.sqrt(3000 / options)


def test_stored_interests_then_bio_then_a_draw():
    world = policy_world(agents=5)
    world.users["bio"][:] = world.texts.append(["", "", "I love telescopes and planets", "", "nothing"])
    world.users["persona"][3] = world.texts.append(["A chef who writes recipes"])[0]
    world.attributes = pa.table({"interests": pa.array([[3, 5, 7, 9], [-4, 99, 2], None, []], pa.list_(pa.int16()))})
    topics = agent_topics(world, np.arange(5, dtype=np.int32), Draws(1))
    assert topics[0].tolist() == [3, 5, 7]
    assert 2 in topics[1]
    assert topics[2, 0] == ASTRONOMY
    assert topics[3, 0] == COOKING
    assert topics[4, 0] >= 0
    assert np.array_equal(topics[[4, 2]], agent_topics(world, np.asarray([4, 2], np.int32), Draws(1)))


def test_columns_of_another_kind_are_left_alone():
    world = policy_world(agents=2)
    for column in (pa.array(["a", "b"]), pa.array([["a"], ["b"]])):
        world.attributes = pa.table({"interests": column})
        assert (agent_topics(world, np.asarray([0, 1], np.int32), Draws(1))[:, 0] >= 0).all()


def test_posts_are_about_the_interests():
    world = policy_world()
    world.attributes = pa.table({"interests": pa.array([[ASTRONOMY]] * 30, pa.list_(pa.int16()))})
    written = texts(decide(world, reuse=0.0), Action.CREATE_POST)
    assert len(written) > 5
    assert (guess_topics(pa.array(written, pa.large_string()))[:, 0] == ASTRONOMY).mean() > 0.9


def test_replies_take_up_what_they_answer():
    world = policy_world()
    world.posts["text"][:] = world.texts.append(["nobody expects heirloom seeds in this thread"])[0]
    actions = decide(world, reply_to_comment=0.0)
    written = texts(actions, Action.CREATE_COMMENT) + texts(actions, Action.QUOTE_POST)
    assert len(written) > 20
    assert all("heirloom seeds" in text for text in written)
    assert len(set(written)) == len(written)


def test_replies_to_comments_name_a_comment_shown():
    world = policy_world()
    actions = decide(world, reply_to_comment=1.0)
    rows = np.flatnonzero((actions.action == Action.CREATE_COMMENT) & (actions.arg_id >= 0))
    assert len(rows) > 3
    on = world.posts["root"][actions.target_id[rows]]
    assert np.array_equal(world.comments["post"][actions.arg_id[rows]], on)
    assert (actions.arg_id[actions.action != Action.CREATE_COMMENT] == -1).all()
    assert (decide(world, reply_to_comment=0.0).arg_id == -1).all()


async def ask(question, stance, agents=400):
    world = policy_world(agents=agents)
    world.users["stance"][:] = stance
    return await Choice().interview(np.arange(agents, dtype=np.int32), question, policy_context(world))


@pytest.mark.parametrize(
    ("scale", "stance", "value"),
    [
        ((1.0, 5.0), -1.0, 1.0),
        ((1.0, 5.0), 0.26, 4.0),
        ((1.0, 5.0), 0.25, 4.0),  # 3.5: to the even one
        ((1.0, 10.0), 0.0, 6.0),  # 5.5
        ((1.0, 5.0), -0.25, 2.0),  # 2.5
        ((1.0, 5.0), 1.0, 5.0),
        ((0.0, 0.7), 0.5, 0.525),
        ((-1.0, 200.0), -0.5, 49.25),  # too long for whole numbers
        ((0.1, 0.7), 1.0, 0.7),
    ],
)
async def test_answers_on_a_scale_are_the_stance(scale, stance, value):
    (answer,) = await ask(Question("q", "How far do you agree?", scale=scale), stance, agents=1)
    assert answer == Answer(0, pytest.approx(value, rel=1e-7), None, AnswerSource.MODEL)
    assert scale[0] <= answer.value <= scale[1]


async def test_who_has_no_stance_has_no_answer_on_a_scale():
    (answer,) = await ask(Question("q", "How far do you agree?", scale=(1.0, 5.0)), np.nan, agents=1)
    assert np.isnan(answer.value)
    assert answer.text is None
    assert answer.outcome == Outcome.NO_STANCE


async def test_option_answers_have_the_probabilities_they_say():
    question = Question("q", "Which?", options=("no", "maybe", "yes"))
    answers = await ask(question, 1.0, agents=2000)
    shares = np.bincount([int(a.value) for a in answers], minlength=3) / 2000
    assert answers[0].probabilities == pytest.approx(np.exp([-4, -2, 0]) / np.exp([-4, -2, 0]).sum())
    assert shares == pytest.approx(answers[0].probabilities, abs=0.04)
    assert answers[0].text == question.options[int(answers[0].value)]


async def test_an_open_question_names_the_interests():
    answers = await ask(Question("q", "What matters?"), 0.0, agents=3)
    assert all(np.isnan(a.value) and any(t in a.text for t in TOPICS) for a in answers)
