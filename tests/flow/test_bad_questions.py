"""What people ask for that is not there: each command names it beside what there is, with the way on, and changes nothing."""

import json
import shutil

import pytest

from pipeline.serving.app import create_app
from pipeline.serving.shelf import Shelf

LATER = "2031-01-01T00:00Z"
UNKNOWN = [
    (75, f"forecasts show --issue-time {LATER}", ["issued at 2031-01-01T00:00:00Z", "1 other issue times", "2025-10-30T12:00:00Z"]),
    (75, "forecasts show --revision 7", ["revision 7", "revisions 0 to 0"]),
    (75, f"forecasts warnings --issue-time {LATER}", ["issued at 2031-01-01T00:00:00Z", "nearest 2025-10-30T12:00:00Z"]),
    (78, "forecasts export --domain trafic --to never.nc", ["--domain trafic", "did you mean 'traffic'"]),
    (78, "cube export --domain trafic --to never.nc", ["--domain trafic", "did you mean 'traffic'"]),
    (78, "plot fan --node y000x00 --to never.png", ["--node y000x00", "16 others", "did you mean 'y000x0"]),
    (78, "plot fan --domain trafic --to never.png", ["--domain trafic", "did you mean 'traffic'"]),
    (78, "plot explanation --lead 99 --to never.png", ["--lead 99", "leads 1 to 4 of domain weather"]),
    (75, f"plot maps --issue-time {LATER} --to never.png", ["issued at 2031-01-01T00:00:00Z", "1 other issue times"]),
    (75, f"scores show --from {LATER}", ["issued from 2031-01-01T00:00:00Z", "what was verified was issued from 2025-10-30T12:00:00Z"]),
    (78, "scores show --by nonsense", ["--by nonsense", "one of all, lead, region"]),
    (75, f"scores fast --from {LATER}", ["issued from 2031-01-01T00:00:00Z", "another period"]),
    (75, "lanes show nothing", ["lane nothing", "none yet", "cubecast replay"]),
    (75, "models show nothing", ["model nothing of world tiny", "there are: "]),
    (78, f"inputs --as-of {LATER}", ["later than it reaches", "2025-10-22T00:00:00Z .. 2025-10-31T00:00:00Z"]),
    (78, f"build-cube --as-of {LATER}", ["later than it reaches", "2025-10-22T00:00:00Z .. 2025-10-31T00:00:00Z"]),
    (78, f"cube plan --as-of {LATER}", ["later than it reaches", "2025-10-22T00:00:00Z .. 2025-10-31T00:00:00Z"]),
    (78, f"monitor --as-of {LATER}", ["the world's time is 2025-10-22T00:00:00Z .. 2025-10-31T00:00:00Z"]),
    (78, "monitor --as-of 2020-01-01T00:00Z", ["the world's time is 2025-10-22T00:00:00Z"]),
    (75, f"cube export --domain traffic --to never.nc --as-of {LATER}", ["built as of 2025-10-31T00:00:00Z", "cubecast build-cube"]),
    (75, f"verify --issue-time {LATER}", ["issued at 2031-01-01T00:00:00Z", "1 published issue times"]),
    (78, "replay --from 2025-10-01T00:00Z --to 2025-10-02T00:00Z", ["outside the world's time", "2025-10-22T00:00:00Z"]),
    (75, "replay --from 2025-10-29T00:00Z --to 2025-10-29T03:00Z", ["no champion yet at 3 of 3", "--retrain daily"]),
    (78, "replay --from 2025-10-30T12:00Z --to 2025-10-30T13:00Z --workers 0", ["workers", "greater than or equal to 1"]),
]
NEVER_TRAINED = [
    ("predict", ["the world was never trained", "cubecast run"]),
    ("promote", ["0 models", "cubecast train"]),
    ("publish", ["none, at no instant yet", "cubecast predict"]),
    ("forecasts show", ["none yet", "cubecast run"]),
    ("plot fan --to never.png", ["none yet", "cubecast run"]),
    ("scores show", ["nothing was ever verified", "cubecast verify"]),
    ("replay --from 2025-10-28T00:00Z --to 2025-10-28T03:00Z", ["never trained", "--retrain daily"]),
    ("replay --from 2025-10-28T00:00Z --to 2025-10-28T03:00Z --mode reforecast", ["never trained", "cubecast run"]),
]


def test_what_is_unknown_or_outside_the_data_is_named_beside_what_there_is(tiny):
    place, wrong = tiny("done"), []
    for code, line, words in UNKNOWN:
        said = place.fails(code, *line.split())
        wrong += [(line, word, said) for word in words if word not in said]
    assert wrong == []
    assert {step: place.ids(step) for step in ("predict", "publish")} == {step: tiny.ids[step] for step in ("predict", "publish")}


def test_a_world_never_trained_says_so_whatever_is_asked_of_it(tiny):
    place, wrong = tiny("train"), []
    for line, words in NEVER_TRAINED:
        said = place.fails(75, *line.split())
        wrong += [(line, word, said) for word in words if word not in said]
    assert wrong == []


def test_a_damaged_champion_is_named_with_the_ways_on_and_what_was_published_stays(tiny):
    place = tiny("done")
    [weights] = (p for p in place.store.glob("registry/tiny/files/*joint.safetensors") if p.is_file())
    good = weights.read_bytes()
    weights.write_bytes(good[: len(good) // 2])
    said = place.fails(74, "predict")
    assert [word for word in ["champion ", str(weights), "cubecast models rollback", "backup"] if word not in said] == []
    for line in ("forecasts show", "scores show", "publish", "verify"):
        assert place.do(*line.split())[0] == 0, line
    weights.write_bytes(good)
    assert place.ids("predict") == tiny.ids["predict"]


def test_a_damaged_replay_hinders_neither_promotion_nor_publication_and_is_named_by_each(tiny):
    place = tiny("publish")
    lane = place.store / "replays" / "tiny" / "lanes" / "0123456789ab.json"
    lane.parent.mkdir(parents=True)
    lane.write_text("{")
    code, out, err = place.do("publish", "--json")
    assert code == 0, err
    [note] = json.loads(out)["notes"]
    assert [word for word in ["replay 0123456789ab is left out", str(lane), "run cubecast replay again"] if word not in note] == []
    assert {k: v for k, v in json.loads(out)["ids"].items() if k != "snapshot"} == tiny.ids["publish"]
    assert str(lane) in place.fails(74, "lanes", "list")


@pytest.mark.parametrize(
    ("state", "path", "status", "words"),
    [
        ("done", "/worlds/tiny/forecasts/latest/traffic/nowhere", 404, ["node", "nowhere"]),
        ("done", "/worlds/tiny/forecasts/2031-01-01T00:00Z", 404, ["1 other issue times", "2025-10-30T12:00:00Z"]),
        ("done", "/worlds/tyni/forecasts/latest", 404, ["tyni", "tiny"]),
        ("train", "/worlds/tiny/forecasts/latest", 404, ["never trained", "cubecast run"]),
    ],
)
def test_over_http_the_same_is_answered(tiny, state, path, status, words):
    from starlette.testclient import TestClient

    from pipeline.contracts.world_files import load_world

    place = tiny(state)
    world = load_world(str(place.world))
    with TestClient(create_app(Shelf({"tiny": world}, str(place.store), lambda w: w.recorded.end))) as client:
        answer = client.get(path)
    assert answer.status_code == status
    assert [word for word in words if word not in answer.text] == []


def test_a_forecast_that_arrived_by_half_is_not_served_as_whole(tiny):
    place = tiny("done")
    [arrays] = place.store.glob("forecasts/tiny/artefacts/*.safetensors")
    shutil.move(arrays, place.store / "aside")
    assert str(arrays) in place.fails(74, "forecasts", "show")
    shutil.move(place.store / "aside", arrays)
    assert place.do("forecasts", "show")[0] == 0
