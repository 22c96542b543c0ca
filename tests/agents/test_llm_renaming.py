"""Runs in which a model is shown other names: nothing it is asked holds the real ones, and the world keeps them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from oasis import Scenario, Simulation, branch, open_run, replay, resume
from oasis.actions import USER_ACTIONS, Action
from oasis.agents.llm import LLM
from oasis.errors import InputError, RunStoppedError, ScenarioError
from oasis.inference import Client, MockTransport, Prompt, Reply
from oasis.inference_config import LLMConfig
from oasis.interfaces import Applied, Decisions, Question
from oasis.platforms.x import X
from oasis.runs.verification import verify
from oasis.testing.answers import answer_from_schema, logprob_of, odds_of_letters
from oasis.testing.policy import observations_of, policy_context, policy_world
from oasis.testing.servers import StubServer
from oasis.world.world import World

NAMES = {"Whole Foods": "Green Barn", "Amazon": "Norvex", "Jeff Bezos": "Martin Hale"}
SUBSTITUTES = {"norvex", "green barn", "green_barn", "greenbarn", "martin hale"}


def told(prompt: Prompt) -> str:
    """Return all that a model is told by a prompt, in small letters."""
    return json.dumps([prompt.messages, prompt.schema, prompt.continuation], ensure_ascii=False).lower()


def holds_a_name(text: str) -> bool:
    return any(name in text.lower() for name in ("whole foods", "whole_foods", "wholefoods", "amazon", "jeff", "bezos"))


def named_world() -> World:
    """Return a world each of whose texts holds names, with a group and a message, and agents with a persona."""
    world = policy_world()
    texts = world.texts.to_arrow()["text"].to_pylist()
    names = ["Amazon", "JEFF BEZOS", "whole_foods", "#WholeFoods"]
    texts = [f"{names[i % 4]} {text}" if text[:4] != "user" else f"amazon_{text}" for i, text in enumerate(texts)]
    world.texts.load(pa.table({"text": pa.array(texts, pa.large_string())}))
    world.users["persona"][:] = world.texts.append(["I was with Amazon."] * len(world.users))
    world.posts["label"][:5] = world.texts.append(["Amazon says no"])
    world.groups.append(1, name=world.texts.append(["Amazon watchers"]), members=1, last_message=0)
    world.group_members.add([0], [3])
    world.messages.append(1, group=0, author=4, text=world.texts.append(["ask Jeff\nBezos"]), previous_in_group=-1)
    return world


def by_schema(prompt: Prompt) -> Reply | str | float:
    if prompt.continuation is not None:
        return logprob_of([], "x" * len(prompt.continuation))
    if prompt.labels:
        return Reply("A", logprobs=tuple(odds_of_letters(prompt.messages[-1][1], "", 0.001)))
    return answer_from_schema(prompt.schema, prompt.messages[-1][1])


def asked(
    world: World, answer: Callable[[Prompt], Any] = by_schema, **parameters: Any
) -> tuple[list[Prompt], Decisions, LLM]:
    transport = MockTransport(answer)
    ctx = policy_context(world, allowed=tuple(USER_ACTIONS), inference=Client([transport], LLMConfig(model="m")))
    policy = LLM.from_parameters(parameters)
    agents = np.arange(8, dtype=np.int32)
    return transport.prompts, asyncio.run(policy.decide(observations_of(world, agents), ctx)), policy


@pytest.mark.parametrize("decoding", ["json", "choice", "score"])
def test_no_prompt_holds_a_name(decoding: str) -> None:
    parameters = {"decoding": decoding, "max_turns": 3, "feed_tokens": 2000, "memory_tokens": 500}
    plain, _, _ = asked(named_world(), **parameters)
    assert all(holds_a_name(told(p)) for p in plain if p.messages[-1][1][:3] != "N/A")
    prompts, _, _ = asked(named_world(), **parameters, rename=NAMES)
    assert len(prompts) >= 8
    assert not [p for p in prompts if holds_a_name(told(p))]
    everything = " ".join(map(told, prompts))
    assert all(name in everything for name in ("norvex", "green_barn", "martin hale"))
    assert decoding == "score" or 'group \\"norvex watchers\\"' in everything
    assert decoding == "score" or 'labelled \\"norvex says no\\"' in everything


def test_looking_around_and_memory_hold_no_name() -> None:
    def look(action: str) -> Callable[[Prompt], str]:
        def answer(prompt: Prompt) -> str:
            if len(prompt.messages) > 2:
                return '{"actions":[{"action":"create_post","content":"Norvex!"}]}'
            return json.dumps({"actions": [{"action": action, "content": "#GreenBarn"}]})

        return answer

    world = named_world()
    for action in ("search_posts", "search_user"):
        prompts, decisions, policy = asked(world, look(action), max_turns=2, rename=NAMES, memory_tokens=900)
        assert set(decisions.actions.content.to_pylist()) == {"#WholeFoods", "Amazon!"}
        assert len([p for p in prompts if "#greenbarn" in told(p)]) >= 8  # what it looked for is repeated as it said it
        assert not [p for p in prompts if holds_a_name(told(p))]
    rows = decisions.actions.take(np.flatnonzero(decisions.actions.action == Action.CREATE_POST))
    created = np.arange(8, dtype=np.int32)
    policy.committed(world, Decisions(rows), Applied(np.zeros(8, np.int16), created))
    world.step += 1
    transport = MockTransport(lambda prompt: '{"actions":[{"action":"do_nothing"}]}')
    ctx = policy_context(world, inference=Client([transport], LLMConfig(model="m")))
    asyncio.run(policy.decide(observations_of(world, created), ctx))
    assert all("you remember:" in told(p) for p in transport.prompts)
    assert not [p for p in transport.prompts if holds_a_name(told(p))]


def test_messages_of_groups_hold_no_name() -> None:
    def listen(prompt: Prompt) -> str:
        line = re.search(r"^(\d+) group .* you are a member", prompt.messages[1][1], re.MULTILINE)
        if line is None or len(prompt.messages) > 2:
            return '{"actions":[{"action":"do_nothing"}]}'
        return f'{{"actions":[{{"action":"listen_from_group","n":{line[1]}}}]}}'

    world, transport = named_world(), MockTransport(listen)
    platform = X.from_parameters(tuple(USER_ACTIONS), {})
    client = Client([transport], LLMConfig(model="m"))
    ctx = policy_context(world, allowed=tuple(USER_ACTIONS), inference=client)
    ctx = replace(ctx, ask=lambda requests: platform.read(world, requests, ctx.base))
    policy = LLM.from_parameters({"rename": NAMES, "max_turns": 2})
    asyncio.run(policy.decide(observations_of(world, np.array([3], np.int32)), ctx))
    assert 'user4: "ask Martin Hale"' in transport.prompts[1].messages[-1][1]
    assert not [p for p in transport.prompts if holds_a_name(told(p))]


def test_a_text_is_cut_after_names_are_replaced_so_that_no_half_of_one_is_left() -> None:
    world = policy_world()
    texts = world.texts.append(["x" * 13 + " Whole Foods is sold", "x" * 13 + " Whole \u200bFoods is sold"])
    world.posts["text"][:], world.comments["text"][:], world.users["bio"][:] = texts[0], texts[1], texts[0]
    for limit in range(20, 26):
        shown, _, _ = asked(world, max_text=limit, max_profile=limit, rename=NAMES)
        assert not [p for p in shown if " who" in told(p).replace("for who", "")]
        assert all("x " + "Green Barn"[: limit - 15] in json.dumps(p.messages) for p in shown)


def test_the_first_message_and_the_shared_feed_stay_shared() -> None:
    prompts, _, _ = asked(named_world(), rename={**NAMES, "X": "Chirper"})
    assert len({p.messages[0] for p in prompts}) == 1
    assert prompts[0].messages[0][1].startswith("You are one user of Chirper.")
    assert len({id(p.schema) for p in prompts}) == len({json.dumps(p.schema) for p in prompts})


def test_templates_of_ones_own_are_renamed_too(tmp_path: Path) -> None:
    (tmp_path / "rules.j2").write_text("{{ example }} Everybody speaks of\nAMAZON. {# Amazon #}", "utf-8")
    prompts, _, _ = asked(named_world(), templates_path=str(tmp_path), rename=NAMES)
    assert {p.messages[0][1].partition("} ")[2] for p in prompts} == {"Everybody speaks of\nNORVEX."}


def test_the_length_of_a_text_is_what_the_model_wrote() -> None:
    world = named_world()
    for content, kept in (("q" * 16 + " qr", "q" * 16 + " Amazon Prime"), ("q" * 17 + " qr", None)):
        answer = json.dumps({"actions": [{"action": "create_post", "content": content}]})
        _, decisions, _ = asked(world, lambda p, a=answer: a, max_content=19, rename={"Amazon Prime": "qr"})  # type: ignore[misc]
        assert set(decisions.actions.content.to_pylist()) == {kept}


QUESTIONS = [
    (Question("q", "Is Amazon good?", scale=(1, 7)), '{"answer":4}', 4.0, "4"),
    (
        Question("q", "Who wins?", options=("AMAZON", "Whole Foods", "no one")),
        '{"answer":"Green Barn"}',
        1,
        "Whole Foods",
    ),
    (Question("q", "Say something of Amazon."), '{"answer":"I like Norvex."}', None, "I like Amazon."),
]


@pytest.mark.parametrize(("question", "answer", "value", "text"), QUESTIONS)
def test_interviews(question: Question, answer: str, value: float | None, text: str) -> None:
    world, transport = named_world(), MockTransport(lambda prompt: answer)
    ctx = policy_context(world, inference=Client([transport], LLMConfig(model="m")))
    policy = LLM.from_parameters({"rename": NAMES})
    (found,) = asyncio.run(policy.interview(np.array([3], np.int32), question, ctx))
    assert found.text == text
    assert np.isnan(found.value) if value is None else found.value == value
    assert not [p for p in transport.prompts if holds_a_name(told(p))]
    with pytest.raises(InputError, match="'Norvex' is in the question 'r' already"):
        asyncio.run(policy.interview(np.array([3], np.int32), Question("r", "Norvex?"), ctx))


def scenario(url: str, rename: dict[str, str], **changes: Any) -> Scenario:
    def post(author: int, content: str) -> dict[str, Any]:
        return {"step": 1, "kind": "post", "author": author, "content": content}

    values: dict[str, Any] = {
        "simulation": {"steps": 4, "seed": 3},
        "population": {"agents": 24, "mean_active": 0.6, "mean_follows": 6},
        "policies": [{"kind": "llm", "parameters": {"rename": rename, "max_turns": 2, **changes}}],
        "llm": {"endpoints": [url], "model": "stub", "timeout_s": 10},
        "interventions": [
            *[post(author, f"Amazon buys #WholeFoods, says Jeff Bezos ({author})") for author in range(24)],
            {"step": 1, "kind": "edit_profile", "agents": {"share": 0.5}, "persona": "I work for AMAZON."},
            {"step": 3, "kind": "interview", "agents": {"share": 1.0}, "question_id": "who",
             "question": "Who wins?", "options": ["Amazon", "nobody"]},
        ],
        "output": {"prompts": "all", "checkpoint_steps": 2, "sync": False},
    }  # fmt: skip
    return Scenario.from_dict(values)


def blind(body: dict[str, Any], nth: int) -> str | None:
    """Answer by what does not hold names; speak of the firm by the name that it has in the prompt."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema is None:
        return None
    firm = "Norvex" if "norvex" in json.dumps(body).lower() else "Amazon"
    shape = json.dumps(schema).replace("Norvex", "Amazon")
    answer = answer_from_schema(json.loads(shape), shape)
    spoken = json.loads(answer)
    for action in spoken.get("actions", ()):
        if "content" in action:
            action["content"] = f"{action['content']} #{firm} and {firm}'s"[-60:]
    if "answer" in spoken:
        spoken["answer"] = firm
    return json.dumps(spoken)


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer(script=blind) as server:
        yield server


def run(path: Path, made: Scenario) -> str:
    return str(Simulation(made, path).run_sync().state_hash)


def test_a_run_is_the_same_but_for_what_the_model_sees(server: StubServer, tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", scenario(server.url, {}))
    assert holds_a_name(json.dumps(server.requests))
    server.requests.clear()
    renamed = run(tmp_path / "renamed", scenario(server.url, NAMES))
    assert len(server.requests) > 40
    assert not holds_a_name(json.dumps(server.requests))
    assert renamed == plain
    runs = open_run(tmp_path / "plain"), open_run(tmp_path / "renamed")
    for name in ("events", "impressions", "interviews"):
        frames = [getattr(r, name).collect() for r in runs]
        assert frames[0].equals(frames[1]), name
    texts = " ".join(runs[1].posts.collect()["content"].drop_nulls())
    assert texts.count("#Amazon and Amazon's") > 3
    assert not any(word in texts.lower() for word in SUBSTITUTES)
    calls = runs[1].llm_calls.collect()
    assert not holds_a_name(" ".join(calls["prompt"].drop_nulls()))
    assert "norvex" in " ".join(calls["response"].drop_nulls()).lower()
    assert "Amazon" in runs[1].interviews.collect()["text"].to_list()
    assert runs[1].manifest.scenario["policies"][0]["parameters"]["rename"] == NAMES
    assert verify(tmp_path / "renamed").ok


def test_choices_are_the_same_draws(tmp_path: Path) -> None:
    def answer(prompt: Prompt) -> Reply | str:
        if prompt.labels:
            return Reply("A", logprobs=tuple(odds_of_letters(prompt.messages[-1][1], "", 0.001)))
        asked = str(
            blind({"messages": prompt.messages, "response_format": {"json_schema": {"schema": prompt.schema}}}, 0)
        )
        return (
            asked if "answer" in asked else json.dumps({"content": "Norvex" if "norvex" in told(prompt) else "Amazon"})
        )

    hashes, told_all = [], []
    for number, names in enumerate(({}, NAMES)):
        transport = MockTransport(answer)
        made = scenario("http://127.0.0.1:9", names, decoding="choice")
        client = Client([transport], made.llm)
        hashes.append(Simulation(made, tmp_path / str(number), inference=client).run_sync().state_hash)
        told_all.append(" ".join(map(told, transport.prompts)))
    assert hashes[0] == hashes[1]
    assert holds_a_name(told_all[0])
    assert not holds_a_name(told_all[1])
    posts = [open_run(tmp_path / str(i)).posts.collect() for i in range(2)]
    assert posts[0].equals(posts[1])
    assert posts[1]["content"].to_list().count("Amazon") > 1


def test_replay_and_resume_end_in_the_same_state(server: StubServer, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", scenario(server.url, NAMES))
    assert replay(tmp_path / "whole") == replay(tmp_path / "whole", by_answers=True) == whole
    limited = scenario(server.url, NAMES).with_changes(budget={"max_calls": 50})
    with pytest.raises(RunStoppedError):
        run(tmp_path / "part", limited)
    assert 0 < open_run(tmp_path / "part").steps_done < 4
    assert resume(tmp_path / "part", ["budget.max_calls=100000"]).run_sync().state_hash == whole


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"interventions": [{"step": 2, "kind": "post", "author": 1, "content": "I saw a NORVEX."}]}, "I saw a NORVEX"),
        (
            {
                "interventions": [
                    {"step": 2, "kind": "interview", "id": "q", "question": "?", "options": ["norvex", "b"]}
                ]
            },
            "norvex",
        ),
        ({"policies": [{"kind": "llm", "parameters": {"rename": {"Amazon": "music"}}}]}, "music"),
    ],
)
def test_a_substitute_that_is_there_already_is_refused_before_the_run(
    tmp_path: Path, change: dict[str, Any], where: str
) -> None:
    values = {**scenario("http://127.0.0.1:9", NAMES).to_dict(), **change}
    with pytest.raises(ScenarioError, match=rf"(?s)policies\.0 \(llm\): rename: the substitute .*{where}"):
        Simulation(Scenario.from_dict(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_branch_may_hide_names_from_some_step_on(server: StubServer, tmp_path: Path) -> None:
    whole = run(tmp_path / "plain", scenario(server.url, {}))
    server.requests.clear()
    change = (
        'policies.0.parameters.rename={"Amazon" = "%s", "Whole Foods" = "Green Barn", "Jeff Bezos" = "Martin Hale"}'
    )
    with pytest.raises(ScenarioError, match="substitute 'Work' is in a text"):
        branch(tmp_path / "plain", 2, tmp_path / "other", [change % "Work"])
    assert not (tmp_path / "other").exists()
    assert branch(tmp_path / "plain", 2, tmp_path / "hidden", [change % "Norvex"]).run_sync().state_hash == whole
    assert server.requests
    assert not holds_a_name(json.dumps(server.requests))
    assert replay(tmp_path / "hidden") == whole


def test_calls_are_of_what_was_really_asked(server: StubServer, tmp_path: Path) -> None:
    run(tmp_path / "run", scenario(server.url, NAMES))
    kept = set(open_run(tmp_path / "run").llm_calls.filter(pl.col("status") == "ok").collect()["prompt"])
    sent = {json.dumps(body["messages"], ensure_ascii=False, separators=(",", ":")) for body in server.requests}
    assert kept == sent
