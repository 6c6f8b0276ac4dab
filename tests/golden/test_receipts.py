"""The shape of every step's receipt on the tiny world. Renew on purpose: `python -m tests.golden.test_receipts`."""

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.flow.chain import run_chain, settings_for
from tests.world import tiny_world

GOLDEN = Path(__file__).with_name("receipts.json")


def found(folder: Path) -> dict[str, Any]:
    """Per step the keys of its receipt as JSON, and what kind of thing lies under each."""
    world = tiny_world(folder)
    options = 'recipe = "tiny"\nrecipe_options = { epochs = 1, steps = 12 }\n'
    world.write_text(world.read_text().replace('recipe = "tiny"\n', options))
    receipts = run_chain(world, settings_for(folder / "store"))
    return {step: shape(json.loads(receipt.model_dump_json())) for step, receipt in receipts.items()}


def shape(content: Any) -> Any:
    """The same content with the name of its type in place of each value; a list by what it first holds."""
    if isinstance(content, dict):
        return {key: shape(value) for key, value in sorted(content.items())}
    if isinstance(content, list):
        return [shape(content[0])] if content else []
    return "null" if content is None else {bool: "bool", int: "int", float: "float", str: "str"}[type(content)]


def test_the_receipts_of_the_nine_steps_have_the_golden_shape(tmp_path: Path) -> None:
    golden, receipts = json.loads(GOLDEN.read_text()), found(tmp_path)
    assert list(receipts) == list(golden)
    for step, receipt in receipts.items():
        assert receipt == golden[step], step


if __name__ == "__main__":
    lines = [f"  {json.dumps(step)}: {json.dumps(receipt)}" for step, receipt in found(Path(tempfile.mkdtemp())).items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
