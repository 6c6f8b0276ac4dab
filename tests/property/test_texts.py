"""Documents: a window sees those that were known, no later one, in training as live, however often the cube was built."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.contracts.times import from_seconds
from pipeline.contracts.windows import Scaler, Texts, WindowSet
from pipeline.cube.tokens import hashed_tokens
from pipeline.stores.cubes import CubeStore
from pipeline.telemetry import QUIET
from pipeline.windows.reader import build_windows
from tests.feeds import START, Place, Row, build, make_place, observe

HOURS, REACH = 20, 3 * 3600
END = START + HOURS * 3600
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a smaller seed is no simpler case
WORDS = ("rain", "sun", "jam", "closed", "open", "Strøget", "$gold", "again")

WORLD = """
name = "little"
title = "A little world"
start = "2025-10-24T00:00Z"
[sources.road]
adapter = "csv"
latency = "10min"
nodes = { rows = [["a", 56.0, 10.0], ["b", 56.01, 10.0], ["c", 57.0, 10.0]] }
[sources.road.variables]
speed = { unit = "km/h" }
[sources.news]
adapter = "json"
latency = "1min"
text = { column = "text" }
nodes = { rows = [["a", 56.0, 10.0], ["hall", 56.005, 10.0], ["far", 40.0, 10.0]] }
[texts.news]
source = "news"
reach = "3h"
buckets = 64
links = { traffic = { by = "distance", metres = 2000.0 }, same = { by = "id" } }
[domains.traffic]
title = "Roads"
clock = { step = "30min" }
context = 4
horizon = 2
[domains.traffic.variables]
speed = { source = "road" }
[domains.same]
title = "Roads by the hour"
clock = { step = "1h" }
context = 2
horizon = 2
[domains.same.variables]
speed = { source = "road" }
"""
NODES = ("a", "b", "c")


def road_rows() -> list[Row]:
    return [Row(n, t, t + 60, {"speed": (float(k), 0)}) for n in NODES for k, t in enumerate(range(START, END + 1, 1800))]


def documents(rng: np.random.Generator) -> list[Row]:
    """Documents about places that are heard of one after the other; some late, two at one instant."""
    rows = []
    for k in range(60):
        valid = START + int(rng.integers(-3600, HOURS * 3600))
        place = str(rng.choice(["a", "hall", "far"] if valid > END - 9 * 3600 else ["a", "far"]))
        text = " ".join(rng.choice(WORDS, size=int(rng.integers(1, 6)))) + f" {k}"
        rows.append(Row(place, valid, valid + int(rng.choice([60, 60, 700, 20000])), text=text))
    return [*rows, replace(rows[0], text="at the same instant")]


def place_with(news: list[Row]) -> Place:
    place = make_place(Path(tempfile.mkdtemp()), WORLD)
    observe(place, "road", road_rows())
    observe(place, "news", news)
    return place


def windows_at(place: Place, as_of: int, scalers: dict[str, Scaler] | None = None, *, read: int | None = None) -> WindowSet:
    """The windows of training, or with scalers the live one; from cubes as of `as_of`, or of a later instant."""
    store, moment = CubeStore(place.settings.store, "little"), from_seconds(read or as_of)
    cubes = {name: store.open(moment, name) for name in ("traffic", "same")}
    texts = {"news": store.open_texts(moment, "news", since=None if scalers is None or read else as_of - REACH)}
    nodes = dict.fromkeys(cubes, NODES)
    return build_windows(place.world, cubes, as_of=as_of, scalers=scalers, live=scalers is not None, texts=texts, nodes=nodes)


def seen(texts: Texts, issue: int, domain: str) -> tuple[list[tuple[int, int, str, tuple[int, ...]]], set[tuple[int, str, float]]]:
    """What a window sees: documents in order, and the links of their places."""
    rows = np.flatnonzero((texts.available_time_D > issue - texts.reach) & (texts.available_time_D <= issue))
    found = []
    for d in rows.tolist():
        tokens = tuple(texts.token[texts.token_start_D[d] : texts.token_start_D[d + 1]].tolist())
        found.append((int(texts.available_time_D[d]), int(texts.valid_time_D[d]), texts.place_ids[texts.place_D[d]], tokens))
    pairs, weight = texts.links[domain]
    about = {place for _, _, place, _ in found}
    named = [(int(n), texts.place_ids[p], float(w)) for (n, p), w in zip(pairs.T.tolist(), weight, strict=True)]
    return found, {link for link in named if link[1] in about}


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_window_sees_what_was_known_in_its_reach_in_training_as_live(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = documents(rng)
    place = place_with(rows)
    build(place, END)
    training = windows_at(place, END)
    scalers = {name: domain.scaler for name, domain in training.domains.items()}
    total = 0
    for issue in rng.choice(training.domains["traffic"].issue_time_W, size=6).tolist():
        live = windows_at(place, issue, scalers)
        assert windows_at(place, issue, scalers, read=END).digest == live.digest
        for domain in ("traffic", "same"):
            then, now = seen(training.texts["news"], issue, domain), seen(live.texts["news"], issue, domain)
            assert then == now
            known = sorted((r for r in rows if issue - REACH < r.available_time <= issue), key=lambda r: r.available_time)
            assert sorted((a, v, p) for a, v, p, _ in then[0]) == sorted((r.available_time, r.valid_time, r.node) for r in known)
        tokens = {r.text: tuple(hashed_tokens([r.text], buckets=64, words=2, longest=256)[1].tolist()) for r in known}
        assert sorted(t for *_, t in then[0]) == sorted(tokens.values())
        total += len(known)
    assert total > 0


def test_places_speak_to_the_nodes_of_their_name_or_nearby() -> None:
    place = place_with([Row(p, END - 600, END - 540, text="x") for p in ("hall", "a", "far")])
    build(place, END)
    texts = windows_at(place, END).texts["news"]
    assert texts.place_ids == ("a", "far", "hall")
    pairs, weight = texts.links["same"]
    assert (pairs.tolist(), weight.tolist()) == ([[0], [0]], [1.0])
    pairs, weight = texts.links["traffic"]
    assert pairs.T.tolist() == [[0, 0], [0, 2], [1, 0], [1, 2]]
    np.testing.assert_allclose(weight, [1.0, np.exp(-(0.556**2)), np.exp(-(1.112**2)), np.exp(-(0.556**2))], rtol=1e-3)


@settings(max_examples=3, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), hour=st.integers(6, HOURS - 1))
def test_no_document_known_after_the_cut_off_changes_a_byte(seed: int, hour: int) -> None:
    rows, as_of = documents(np.random.default_rng(seed)), START + hour * 3600 + 420
    clean = place_with(rows)
    poisoned = place_with([replace(r, text="poison " * 9, node="hall") if r.available_time > as_of else r for r in rows])
    for place in (clean, poisoned):
        build(place, END)
    first, second = windows_at(clean, as_of), windows_at(poisoned, as_of)
    assert first.digest == second.digest
    scalers = {name: domain.scaler for name, domain in first.domains.items()}
    assert windows_at(clean, as_of, scalers).digest == windows_at(poisoned, as_of, scalers).digest


@settings(max_examples=3, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, HOURS * 3600))
def test_documents_built_in_pieces_are_those_built_at_once(seed: int, cut: int) -> None:
    rows = documents(np.random.default_rng(seed))
    at_once, pieces = place_with(rows), make_place(Path(tempfile.mkdtemp()), WORLD)
    observe(pieces, "road", road_rows())
    for batch in ([r for r in rows if r.available_time > START + cut], [r for r in rows if r.available_time <= START + cut]):
        observe(pieces, "news", batch)
        build(pieces, END)
    first, second = build(at_once, END), build(pieces, END)
    assert first.ids["digest.texts.news"] == second.ids["digest.texts.news"]
    assert (first.counts["documents"], second.outcome) == (len(rows), "unchanged")
    assert windows_at(at_once, END).texts["news"].token.tobytes() == windows_at(pieces, END).texts["news"].token.tobytes()
    assert set(CubeStore(pieces.settings.store, "little").verify(QUIET)) == {"traffic", "same", "texts.news"}


def test_a_set_since_an_instant_holds_the_same_documents_however_far_back_they_were_read() -> None:
    place = place_with(documents(np.random.default_rng(3)))
    build(place, END)
    training = windows_at(place, END)
    scalers = {name: domain.scaler for name, domain in training.domains.items()}
    store, moment = CubeStore(place.settings.store, "little"), from_seconds(END)
    cubes = {name: store.open(moment, name) for name in ("traffic", "same")}
    nodes = dict.fromkeys(cubes, NODES)
    for issue in training.domains["traffic"].issue_time_W[-12:].tolist():
        wide, narrow = (
            build_windows(place.world, cubes, as_of=END, scalers=scalers, live=False, texts={"news": read}, nodes=nodes, since=issue)
            for read in (store.open_texts(moment, "news"), store.open_texts(moment, "news", since=issue - REACH))
        )
        assert wide.digest == narrow.digest
