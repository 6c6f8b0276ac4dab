from __future__ import annotations

from pipeline.publishing.page_pairs import pairs


def test_nested_content_sizes_and_instants_are_told_as_people_write_them() -> None:
    card = {
        "as_of": "2025-11-01T12:00:00Z",
        "best": {"traffic": {"epoch": 20, "relative_to_anchor": 0.48558193}, "weather": {"epoch": 24}},
        "memory": {"activations": 24379392, "place": "memory"},
        "sizes": {"joint_bytes": 757220, "nodes": {"market": 3}},
        "issue_time": 1412092800,
        "licences": {"roads": ""},
        "notes": [],
        "initial": None,
        "seed": 0,
    }
    assert pairs(card, skip=("seed",)) == [
        ("As of", "2025-11-01 12:00 UTC"),
        ("Best", "traffic: epoch 20, relative to anchor 0.485582; weather: epoch 24"),
        ("Memory", "activations 24.4 MB, place memory"),
        ("Sizes", "joint 757 kB; nodes: market 3"),
        ("Issue time", "2014-09-30 16:00 UTC"),
    ]


def test_a_long_value_is_cut() -> None:
    [(_, text)] = pairs({"note": "x" * 400})
    assert text == "x" * 300 + " …"
