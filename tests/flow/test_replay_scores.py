"""What a replay has shown: every cell counted, as of its maturity, in tables that open as a user would open them."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

from pipeline.contracts.times import from_seconds, parse_instant, to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.steps import replayed
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.stores.scores import ScoreStore
from pipeline.verification.statistics import Statistics
from tests.flow.chain import settings_for
from tests.flow.replays import LIVED, digests, run


def one_by_one(lane, moment):
    """The statistics of a lane that were mature at an instant, added record by record."""
    scores, total = ScoreStore(ObjectStore(lane), "tiny"), Statistics.zero()
    for found in map(scores.newest, scores.issue_times()):
        mature = frozenset(d for d, since in found["mature_time"].items() if parse_instant(since) <= moment)
        total = total + Statistics.from_json(found["statistics"]).only(mature)
    return total


def test_the_scorecard_counts_every_cell_and_evidence_as_of_an_instant_holds_only_what_was_mature(walked):
    world_file, settings, lane, receipt, _ = walked
    world = load_world(str(world_file))
    content = json.loads(LaneStore(settings, "tiny").scorecard(receipt.ids["lane"]))
    overall = [row for row in content["scorecard"]["rows"] if row["lead"] == 0 and row["model"] == "published"]
    forecast = ForecastStore(ObjectStore(lane), "tiny").read(to_seconds(LIVED[0]))
    for row in overall:
        domain = forecast.domains[row["domain"]]
        assert row["expected"] == 6 * len(domain.valid_time_L) * len(domain.node_ids)
    assert {row["variable"] for row in overall} == {"temperature", "rain", "speed", "count", "price"}
    assert content["counts"]["pending"] == 0
    second = from_seconds(sorted(digests(lane))[1])
    traffic = second + timedelta(hours=1, seconds=300)
    for moment, whole in ((traffic, 2), (traffic - timedelta(seconds=1), 1)):
        found = replayed.replay_evidence(settings, world, moment).replay
        assert len(found.issue_times["traffic"]) == whole
        assert len(found.issue_times["weather"]) == 1
        assert parse_instant(found.as_of) <= moment
        assert found.statistics == one_by_one(lane, moment)
        assert {row.windows.get("traffic") for row in [found.scorecard()]} == {whole}


def test_scores_are_those_of_their_maturity_whenever_the_replay_is_run(walked, tmp_path):
    _, settings, lane, receipt, request = walked
    shutil.copytree(settings.store, tmp_path / "store")
    other = settings_for(tmp_path / "store")
    early = request.model_copy(update={"as_of": LIVED[1] + timedelta(hours=8, minutes=30), "last": LIVED[1] + timedelta(hours=9)})
    shutil.rmtree(Path(LaneStore(other, "tiny").url(receipt.ids["lane"])) / "scores")
    run(early, other)
    ours = ScoreStore(ObjectStore(LaneStore(other, "tiny").url(receipt.ids["lane"])), "tiny")
    theirs = ScoreStore(ObjectStore(lane), "tiny")
    times = ours.issue_times()
    assert [ours.newest(t)["final"] for t in times] == [True] * 4 + [False]
    assert ours.newest(times[-1])["counts"]["all"]["pending"] > 0
    run(request, other)
    assert all(ours.newest(t) == theirs.newest(t) for t in theirs.issue_times())


def test_published_parquet_opens_as_a_user_would(walked):
    import pandas as pd

    _, _, lane, _, _ = walked
    published = PublishedStore(ObjectStore(lane), "tiny")
    table = pd.read_parquet(published.url("parquet"))
    assert table["cutoff"].nunique() == 6
    assert table.groupby("domain", observed=True).size().to_dict() == {
        d: 6 * n for d, n in {"market": 8, "traffic": 48, "weather": 128}.items()
    }
