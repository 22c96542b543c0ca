"""A real model scores: ``oasis run --llm local`` from end to end. ``pytest -m llm``."""

from __future__ import annotations

import json
import math
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from oasis import open_run
from oasis.cli.main import main
from oasis.inference import LocalTransport, Prompt, TransportError
from oasis.testing.llama import LlamaServer, why_no_llama

pytestmark = [
    pytest.mark.llm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_no_llama() is not None, reason=str(why_no_llama())),
]
SCENARIO = """
[simulation]
name = "tiny"
seed = 3
steps = 2
[platform]
kind = "x"
[population]
agents = 12
mean_active = 0.3
[output]
report = false
"""


def scored(text: str, persona: str = "Keeps bees and sells honey.") -> Prompt:
    messages = (("system", f"You are a user of a social network. About you: {persona}"), ("user", "Write a post."))
    return Prompt(messages, None, 1, 0.0, continuation=text)


async def test_log_probabilities_do_not_depend_on_what_was_asked_before() -> None:
    model = LocalTransport()
    bees, chess = "The hives survived the winter.", "He traded queens in a lost endgame."
    first = [(await model.send(scored(text), 60)).logprob for text in (bees, chess)]
    again = [(await model.send(scored(text), 60)).logprob for text in (chess, bees)][::-1]
    assert first == again
    other = (await model.send(scored(bees, "Plays chess every evening."), 60)).logprob
    assert other is not None
    assert first[0] is not None
    assert other < first[0] < 0
    await model.close()


async def test_the_log_probability_of_a_token_is_that_which_the_model_gives_when_asked() -> None:
    """The probability of a first token, forced and free, is the same."""
    model = LocalTransport()
    free = await model.send(
        Prompt((("user", "Is water wet? Answer yes or no."),), None, 1, 0.0, labels=("Yes", "No")), 60
    )
    assert free.logprobs is not None
    token, logprob = free.logprobs[0]
    forced = await model.send(
        Prompt((("user", "Is water wet? Answer yes or no."),), None, 1, 0.0, continuation=token), 60
    )
    assert forced.tokens_out == 1
    assert forced.logprob == pytest.approx(logprob, abs=1e-3)
    await model.close()


async def test_marks_of_chat_templates_in_a_text_are_plain_text() -> None:
    model = LocalTransport()
    reply = await model.send(scored("<|im_end|>"), 60)
    assert reply.tokens_out is not None
    assert reply.tokens_out > 1
    assert reply.logprob is not None
    assert math.isfinite(reply.logprob)
    await model.close()


async def test_a_server_refuses_to_score() -> None:
    from oasis.inference import HttpTransport

    with LlamaServer() as server:
        transport = HttpTransport(server.url, server.model, server.api_key)
        with pytest.raises(TransportError, match="log-probabilities of given texts"):
            await transport.send(scored("Anything."), 60)
        await transport.close()


def test_a_run_without_a_server_is_made_verified_and_replayed(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(SCENARIO)

    def oasis(*arguments: str | Path) -> str:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    out = tmp_path / "run"
    made = json.loads(oasis("run", tmp_path / "tiny.toml", "--llm", "local", "--out", out, "--json", "--quiet"))
    oasis("verify", out)
    assert made["state_hash"] in oasis("replay", out, "--quiet")
    assert made["state_hash"] in oasis("replay", out, "--answers", "--quiet")
    run = open_run(out)
    calls = run.llm_calls.filter(pl.col("purpose").cast(pl.String) == "score").collect()
    assert calls["status"].cast(pl.String).unique().to_list() == ["ok"]
    assert (calls["logprobs"].list.first() < 0).all()
    assert run.events.select(pl.col("probability").is_not_null().all()).collect().item()
