from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.times import from_seconds
from pipeline.errors import ConfigError
from pipeline.stores.cubes import CubeStore
from tests.feeds import START, build, make_place, observe, random_rows
from tests.s3 import s3_store

END = START + 6 * 3600


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3_store() as root:
        yield root


def test_a_cube_on_s3_holds_the_same_content_as_one_in_a_folder(bucket: str, tmp_path: Path) -> None:
    local = make_place(tmp_path)
    remote = replace(local, settings=replace(local.settings, store=bucket))
    for place in (local, remote):
        observe(place, "road", random_rows(np.random.default_rng(6), hours=6))
    first, second = build(local, END), build(remote, END)
    assert {k: v for k, v in first.ids.items() if k != "snapshot"} == {k: v for k, v in second.ids.items() if k != "snapshot"}
    a, b = (CubeStore(p.settings.store, "little").open(from_seconds(END - 3600), "traffic") for p in (local, remote))
    assert a.values_TNV.tobytes() == b.values_TNV.tobytes()
    assert build(remote, END).outcome == "unchanged"


def test_a_store_of_another_scheme_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither a folder nor s3://"):
        CubeStore("gs://bucket", "little").state()
