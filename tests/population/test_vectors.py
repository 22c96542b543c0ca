"""Embeddings stored with a population: used where they fit, named where they do not, and never seen in results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from oasis import Scenario, Simulation
from oasis.cli.main import main
from oasis.errors import PopulationError
from oasis.population import generate, load_population, read_population, vectors, write_population
from oasis.population.generate import GenerateParameters
from oasis.recsys.embedders import HashedNgramEmbedder
from oasis.world.embeddings import EMBEDDER
from oasis.world.world import World


class Counting(HashedNgramEmbedder):
    """Counts the texts that it embeds."""

    def __init__(self) -> None:
        self.texts = 0

    def embed(self, texts: pa.LargeStringArray) -> np.ndarray:
        self.texts += len(texts)
        return super().embed(texts)


class Later(Counting):
    version = "2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    population = generate(GenerateParameters(agents=100), 1, 0.05)
    bios = population.bio.to_pylist()
    bios[3], bios[4], bios[5] = None, "", "a \u202e b\x00"  # the world drops the last one's control characters
    population.bio = pa.array(bios, pa.large_string())
    write_population(population, tmp_path / "p", HashedNgramEmbedder())
    return tmp_path / "p"


def _installed(folder: Path, embedder: HashedNgramEmbedder) -> tuple[World, list[str]]:
    world = World()
    world.attach_embedder(embedder)
    return world, read_population(folder).install(world)


def test_what_is_stored_is_not_embedded_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_BLOCK", 7)  # of rows read at a time
    embedder = Counting()
    world, notes = _installed(folder, embedder)
    for texts in (world.users["bio"], world.posts["text"]):
        stored = world.embeddings.vectors(texts)
        np.testing.assert_array_equal(stored, HashedNgramEmbedder().embed(world.texts.take(texts)))
    assert (notes, embedder.texts) == ([], 0)
    bios = world.embeddings.vectors(world.users["bio"])
    assert not bios[3].any()
    assert bios[5].any()


def test_posts_that_are_added_are_embedded_when_they_are_needed(folder: Path, tmp_path: Path) -> None:
    pl.DataFrame({"author_id": [3], "content": ["one more"]}).write_parquet(tmp_path / "more.parquet")
    embedder = Counting()
    world = World()
    world.attach_embedder(embedder)
    population = load_population("parquet", str(folder), history=str(tmp_path / "more.parquet"))
    assert population.install(world) == []
    world.embeddings.ensure(world.posts["text"])
    assert embedder.texts == 1


@pytest.mark.parametrize("block", [3, 50, 1000])
def test_blocks_change_nothing(folder: Path, tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "_BLOCK", block)
    write_population(read_population(folder), tmp_path / "again", HashedNgramEmbedder())
    for name in (vectors.BIO_VECTORS, vectors.POST_VECTORS):
        one, two = (pq.read_table(path / name) for path in (folder, tmp_path / "again"))
        assert one.equals(two, check_metadata=True)


def test_the_metadata_names_the_embedder(folder: Path) -> None:
    metadata = pq.read_schema(folder / vectors.POST_VECTORS).metadata
    assert metadata[EMBEDDER] == f"hashed-ngrams {HashedNgramEmbedder.version} 256".encode()


def test_those_of_others_are_left_alone_and_named(folder: Path) -> None:
    embedder = Later()
    world, notes = _installed(folder, embedder)
    assert len(notes) == 2
    assert HashedNgramEmbedder.version in notes[0]
    assert "'hashed-ngrams' (2 256 dimensions)" in notes[0]
    world.embeddings.ensure(world.users["bio"])
    assert embedder.texts == 99


def test_those_of_other_bios_are_left_alone(folder: Path) -> None:
    users = pq.read_table(folder / "users.parquet")
    bios = ["new", *users.column("bio").to_pylist()[1:]]
    users = users.set_column(users.column_names.index("bio"), "bio", pa.array(bios, pa.large_string()))
    pq.write_table(users, folder / "users.parquet")
    world, notes = _installed(folder, HashedNgramEmbedder())
    assert ["bio_embeddings.parquet: embeddings of other texts" in note for note in notes] == [True]
    assert len(world.embeddings.matrix) == len(world.posts)


def test_a_world_without_an_embedder_reads_none(folder: Path) -> None:
    world = World()
    population = read_population(folder)
    for name in (vectors.BIO_VECTORS, vectors.POST_VECTORS):
        (folder / name).unlink()
    assert population.install(world) == []


@pytest.mark.parametrize("name", [vectors.BIO_VECTORS, vectors.POST_VECTORS])
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "not a Parquet file"),
        (pa.table({"vector": [b"x"] * 100}), "no vectors of a named embedder"),
        (pa.table({"vector": pa.array([b"xy"], pa.binary(2))}).replace_schema_metadata(
            {EMBEDDER: b"a 1 2", b"oasis.texts": b""}), "has 1 rows for 100"),
        (pa.table({"vector": pa.array([b"xy"] * 100, pa.binary(2))}).replace_schema_metadata(
            {EMBEDDER: b"a 1 3", b"oasis.texts": b""}), "no vectors of a named embedder"),
    ],
)  # fmt: skip
def test_files_that_are_no_vectors(folder: Path, name: str, table: pa.Table | None, message: str) -> None:
    path = folder / name
    if table is None:
        path.write_bytes(b"x")
    else:
        pq.write_table(table, path)
    with pytest.raises(PopulationError, match=message):
        read_population(folder)


def _scenario(path: Path) -> Scenario:
    return Scenario.from_dict(
        {
            "simulation": {"steps": 3, "seed": 1},
            "population": {"source": "parquet", "path": str(path)},
            "recsys": {"kind": "interest", "embedder": "hashed-ngrams"},
        }
    )


def test_runs_are_the_same_without_them(folder: Path) -> None:
    def state() -> tuple[str, int]:
        simulation = Simulation(_scenario(folder))
        simulation.run_sync()
        return simulation.world.state_hash(), simulation.world.embeddings.texts_embedded

    with_them, embedded = state()
    (folder / vectors.BIO_VECTORS).unlink()
    (folder / vectors.POST_VECTORS).unlink()
    without, more = state()
    assert with_them == without
    assert more > embedded


def test_a_run_says_that_it_does_not_use_them(folder: Path, tmp_path: Path) -> None:
    write_population(load_population("generate", agents=20), tmp_path / "q", Later())
    tables = """simulation = {steps = 1}
    population = {source = "parquet", path = "q"}
    recsys = {kind = "interest", embedder = "hashed-ngrams"}"""
    (tmp_path / "s.toml").write_text(tables, "utf-8")
    result = CliRunner().invoke(main, ["run", str(tmp_path / "s.toml"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.stderr
    assert "are not used, as the run's embedder is 'hashed-ngrams'" in result.stderr
