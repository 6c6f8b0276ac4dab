"""The metadata of a cube at rest, as other programs read it. Renew on purpose: `python -m tests.golden.test_cube_metadata`."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.stores.cubes import CubeStore
from tests.feeds import START, Row, build, make_place, observe

GOLDEN = Path(__file__).with_name("cube_metadata.json")


def found(folder: Path) -> dict[str, Any]:
    place = make_place(folder)
    rows = [
        Row(n, START + k * 600, START + k * 600 + 60, {"speed": (50.0 + k, 0), "count": (float(k), 0)}) for n in "ab" for k in range(12)
    ]
    observe(place, "road", [*rows, Row("a", START, START + 9000, {"speed": (1.0, 0), "count": (2.0, 0)})])
    observe(place, "shares", [Row("X", START - 4 * 3600, START - 4 * 3600 + 900, {"close": (100.0, 0)})])
    build(place, START + 7200)
    store = CubeStore(place.settings.store, "little")
    return {
        domain: {path: _plain(array) for path, array in _arrays(store._group(domain))} | {"": _book(store, domain)}
        for domain in store.state().domains
    }


def _arrays(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    inner = [item for name, child in group.groups() for item in _arrays(child, f"{prefix}{name}/")]
    return sorted([(prefix + name, array) for name, array in group.arrays()] + inner, key=lambda pair: pair[0])


def _plain(array: Any) -> dict[str, Any]:
    content = json.loads(
        json.dumps(array.metadata.to_dict(), default=lambda value: value.item() if isinstance(value, np.generic) else str(value))
    )
    return {k: content[k] for k in ("shape", "data_type", "chunk_grid", "fill_value", "codecs", "dimension_names", "attributes")}


def _book(store: CubeStore, domain: str) -> dict[str, Any]:
    attributes = dict(json.loads(json.dumps(store._group(domain).attrs.asdict())))
    for name in ("digest", "recipe"):
        assert len(attributes["cubecast"].pop(name)) == 64
    assert all(len(proof) == 64 for proof in attributes["proofs"].values())
    return attributes | {"proofs": list(attributes["proofs"])}


def test_the_metadata_of_a_cube_is_the_golden_one(tmp_path: Path) -> None:
    flat = {f"{domain}/{path}": content for domain, arrays in found(tmp_path).items() for path, content in arrays.items()}
    assert json.loads(json.dumps(flat)) == json.loads(GOLDEN.read_text())


if __name__ == "__main__":
    lines = [
        f"  {json.dumps(f'{domain}/{path}')}: {json.dumps(content, sort_keys=True)}"
        for domain, arrays in found(Path(tempfile.mkdtemp())).items()
        for path, content in arrays.items()
    ]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
