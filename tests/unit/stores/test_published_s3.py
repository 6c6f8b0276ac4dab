"""What is published on S3 is found, appended to, and mended as in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipeline.serving.shelf import WorldShelf
from pipeline.stores.forecast_arrays import ForecastArrays
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from tests.browser.demo import ISSUE_TIME, demo_world
from tests.s3 import s3_store
from tests.unit.stores.published_demo import FORECAST, publish


@pytest.fixture
def bucket() -> Iterator[str]:
    with s3_store() as root:
        yield root


def test_two_issue_times_on_s3_are_appended_found_and_served(bucket: str) -> None:
    objects, small = ObjectStore(bucket), replace(FORECAST, domains={"weather": FORECAST.domains["weather"]})
    assert objects.children("forecasts/demo/published/issues") == []
    shelf = WorldShelf(demo_world(), bucket)
    assert shelf.renew() is False
    record = publish(objects, small)
    assert publish(objects, small) == record
    assert shelf.renew() is True
    publish(objects, replace(small, issue_time=ISSUE_TIME + 86400 * 40))
    published = PublishedStore(objects, "demo")
    assert objects.children("forecasts/demo/published/issues") == ["2014-09", "2014-11"]
    assert published.newest() == [ISSUE_TIME + 86400 * 40]
    assert published.issue_times() == [ISSUE_TIME, ISSUE_TIME + 86400 * 40]
    found = ForecastArrays(bucket, "demo").open("weather")
    assert found.sizes["issue_time"] == 2
    assert np.array_equal(found.temperature.values[1], FORECAST.domains["weather"].quantiles_LNVQ[:, :, 0])
    assert (shelf.renew(), shelf.latest().forecast.issue_time) == (True, ISSUE_TIME + 86400 * 40)
    key = record["parquet"]["weather"]
    objects.replace(key, b"half")
    assert not published.is_whole(key, record["sha256"][key])
    publish(objects, small)
    assert published.is_whole(key, record["sha256"][key])
