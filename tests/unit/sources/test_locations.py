"""Only the data folder and relative paths are opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.sources.locations import find_files


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "a").mkdir()
    for name in ("a/2.csv", "a/1.csv", "a/.hidden.csv", "b.csv"):
        (tmp_path / name).write_text("x")
    return Settings(store="", data=tmp_path, dask=None)


def test_wildcards_match_one_level_sorted_and_skip_hidden_files(settings: Settings) -> None:
    assert [p.name for p in find_files("data://a/*.csv", settings)] == ["1.csv", "2.csv"]
    assert [p.name for p in find_files("data://*/2.csv", settings)] == ["2.csv"]
    assert [p.name for p in find_files("data://b.csv", settings)] == ["b.csv"]


def test_a_relative_path_starts_at_the_current_folder(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_files("a/1.csv", settings) == [Path("a/1.csv")]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "http://127.0.0.1/x",
        "simplecache::data://b.csv",
        "s3://bucket/x",
        "/etc/passwd",
        "data:///etc/passwd",
        "data://../x",
        "data://a/../../x",
        "data://",
        "",
    ],
)
def test_anything_else_is_refused(settings: Settings, location: str) -> None:
    with pytest.raises(ConfigError, match="location"):
        find_files(location, settings)


def test_a_file_that_is_not_there_may_come_later(settings: Settings) -> None:
    for location in ("data://c.csv", "data://c/*.csv", "data://*.parquet"):
        with pytest.raises(NotYetAvailable, match="no file"):
            find_files(location, settings)


def test_without_a_data_folder_the_mend_names_the_variable() -> None:
    with pytest.raises(ConfigError, match="CUBECAST_DATA"):
        find_files("data://x", Settings(store="", data=None, dask=None))
