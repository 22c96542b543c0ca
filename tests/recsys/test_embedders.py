"""Embedders: one vector per text whatever is embedded with it, no noise, each text once in its life."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from oasis.plugins import load
from oasis.recsys.embedders import SCALE, HashedNgramEmbedder, WordLlamaEmbedder, quantise, unit
from oasis.testing.recommender import feed_context, feed_world
from oasis.world.embeddings import Embedder

TEXTS = [
    "A short one",
    "x",
    "",
    "much longer, " * 60 + "the end",
    "日本語 и кириллица \U0001f600",
    "A short one",
    "\n\t \n",
]


def arrow(texts: list[str | None]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


@pytest.fixture(scope="module", params=["wordllama", "hashed-ngrams"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    made: Embedder = load("embedders", request.param)()
    return made


def test_a_vector_does_not_depend_on_the_batch(embedder: Embedder) -> None:
    together = embedder.embed(arrow(list(TEXTS)))
    assert together.shape == (len(TEXTS), embedder.dimensions)
    assert together.dtype == np.int8
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.array_equal(embedder.embed(arrow([text]))[0], vector)
    assert np.array_equal(embedder.embed(arrow(list(TEXTS[::-1])))[::-1], together)


def test_vectors_are_unit_vectors_on_one_scale(embedder: Embedder) -> None:
    vectors = embedder.embed(arrow(["the weather is fine today", "completely different words"])).astype(np.int64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(SCALE, rel=0.05)
    assert np.abs(vectors).max() <= 127


def test_empty_and_null_are_zero(embedder: Embedder) -> None:
    assert not embedder.embed(arrow(["", None])).any()
    assert embedder.embed(arrow([])).shape == (0, embedder.dimensions)
    assert embedder.embed(arrow(["", "abc def", None]).slice(1, 1)).any()


def test_names_and_versions(embedder: Embedder) -> None:
    assert embedder.name in ("wordllama", "hashed-ngrams")
    assert "int8x127" in embedder.version
    assert embedder.dimensions <= 1040


def test_meaning_and_spelling() -> None:
    texts = arrow(["doctors and vaccines", "hospital medicine", "football league results", "footbal leage resluts"])
    for made, near in ((WordLlamaEmbedder(), (0, 1)), (HashedNgramEmbedder(), (2, 3))):
        vectors = made.embed(texts).astype(np.int64)
        products = vectors @ vectors.T
        np.fill_diagonal(products, -1)
        assert products[near] == products.max()


def test_wordllama_is_loaded_once_for_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    import wordllama

    WordLlamaEmbedder().embed(pa.array(["a text"], pa.large_string()))

    def load_again(*args: object, **kwargs: object) -> None:
        raise AssertionError("loaded again; each tokenizer leaves 11 MB in every thread that used it")

    monkeypatch.setattr(wordllama.WordLlama, "load", load_again)
    assert WordLlamaEmbedder().embed(pa.array(["a text"], pa.large_string())).any()


def test_wordllama_equals_the_package() -> None:
    import wordllama

    texts = [t for t in TEXTS if t.strip()]
    made = WordLlamaEmbedder()
    from pathlib import Path

    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    theirs = model.embed(texts, norm=True)
    assert np.abs(made.unit_vectors(arrow(list(texts))) - theirs).max() < 1e-5


def test_quantising_by_hand() -> None:
    assert quantise(unit(np.array([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.0]]))).tolist() == [[76, 102], [0, 0], [-127, 0]]


def test_no_noise_and_no_network() -> None:
    code = (
        "import logging, socket, warnings; warnings.simplefilter('error')\n"
        "def refuse(*a, **k): raise OSError('network')\n"
        "socket.socket.connect = refuse\n"
        "import pyarrow as pa\n"
        "from oasis.recsys.embedders import WordLlamaEmbedder\n"
        "e = WordLlamaEmbedder(); e.embed(pa.array(['hello'], pa.large_string()))\n"
        "assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_text_is_embedded_once() -> None:
    world = feed_world(agents=30, posts=150)

    class Counting(HashedNgramEmbedder):
        asked = 0

        def embed(self, texts: pa.LargeStringArray) -> np.ndarray:  # type: ignore[type-arg]
            self.asked += len(texts)
            return super().embed(texts)

    counting = Counting()
    world.attach_embedder(counting)
    recommender = load("recommenders", "interest").from_parameters({})
    agents = np.arange(30, dtype=np.int32)
    for step in (21, 22, 23):
        ctx = feed_context(world, step=step)
        recommender.prepare(world, ctx)
        recommender.recommend(world, ctx, agents[:20], 10)
    bios = world.users["bio"][:20]
    texts = np.unique(np.r_[world.posts["text"], bios])
    assert 0 < counting.asked <= (texts >= 0).sum()
    assert counting.asked == world.embeddings.texts_embedded
    world.posts["text"][3] = world.texts.append(["something quite new"])[0]
    before = counting.asked
    recommender.prepare(world, ctx)
    recommender.recommend(world, ctx, agents[:20], 10)
    assert counting.asked <= before + 1


def test_logging_is_left_alone() -> None:
    handlers = logging.getLogger().handlers[:]
    WordLlamaEmbedder().embed(arrow(["hello"]))
    assert logging.getLogger().handlers == handlers


def test_what_int8_costs() -> None:
    """The loss that docs/decisions/int8-embeddings.md records, on a smaller sample."""
    words = "rain coffee match market river music train garden election film recipe software".split()  # noqa: SIM905
    posts = [f"{a} {verb} {b} in {c}" for a in words for b in words for c in words for verb in ("beats", "follows")]
    queries = [f"I like {a} and {b}" for a in words for b in words]
    made = WordLlamaEmbedder()
    exact = [made.unit_vectors(arrow(list(t))).astype(np.float32) for t in (queries, posts)]
    small = [made.embed(arrow(list(t))).astype(np.float64) for t in (queries, posts)]
    small = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in small]
    best = [np.argsort(-(q @ p.T), axis=1, kind="stable")[:, :10] for q, p in (exact, small)]
    recall = np.mean([len(np.intersect1d(a, b)) for a, b in zip(*best, strict=True)]) / 10
    assert 0.93 < recall < 1
