"""Where compiled kernels are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from numba import config

from oasis.kernels import compiled
from oasis.kernels.compiled import cache_folder, kernel


def _twice(x: int) -> int:
    return 2 * x


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    cache_folder.cache_clear()
    yield
    cache_folder.cache_clear()


def test_cache_lies_in_the_users_folder_and_leaves_nothing_beside_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernel()(_twice)(4) == 8
    assert list(tmp_path.rglob("*_twice*.nbi"))
    assert config.CACHE_DIR == ""  # other people's functions keep their own place
    for folder in (Path(compiled.__file__).parent, Path(__file__).parent):
        assert not list(folder.glob("__pycache__/*_twice*"))


def test_an_unwritable_folder_means_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder() is None
    assert kernel()(_twice)(4) == 8


def test_numbas_own_variable_is_kept_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert kernel()(_twice)(4) == 8
    assert list(tmp_path.rglob("*_twice*.nbi"))
    assert str(tmp_path) == config.CACHE_DIR
